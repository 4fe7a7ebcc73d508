//! Who is connected: producers, and consumers with what they subscribed to.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::broker::Broker;
use crate::error::Error;

/// A connection's number, never used twice in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

/// What a member is told without having asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Members of this group came or went: share the queues anew.
    MembersChanged {
        /// The group.
        group: String,
    },
}

/// A member's connection, as its edge knows it.
pub trait Channel: Send + Sync {
    /// Its number.
    fn id(&self) -> ChannelId;
    /// The other end.
    fn remote_address(&self) -> SocketAddr;
    /// Tells the member something, in its own protocol. Called with no lock held; must not block, and may drop the
    /// notice when the connection is closing or too slow.
    fn notify(&self, notice: &Notice);
    /// Closes the connection; called when the member has been silent for too long.
    fn close(&self);
    /// The edge's own type, for what only it can say.
    fn as_any(&self) -> &dyn Any;
}

/// One client on one connection.
#[derive(Clone)]
pub struct Client {
    /// The id that it gave itself.
    pub client_id: String,
    /// The protocol's number of its language.
    pub language: u8,
    /// The protocol's number of its version.
    pub version: i32,
    /// Its connection.
    pub channel: Arc<dyn Channel>,
}

/// How a group consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeType {
    /// The application asks for messages.
    Actively,
    /// The client hands messages to the application.
    Passively,
    /// The broker hands out leases.
    Leases,
}

/// Whether members share the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Each message goes to one member.
    Clustering,
    /// Each message goes to every member.
    Broadcasting,
}

/// Where a group without cursors begins. The client acts on it; the broker only tells others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// The end.
    LastOffset,
    /// The end, and the start at the first boot. Deprecated.
    LastOffsetAndMinAtFirstBoot,
    /// The smallest offset. Deprecated.
    MinOffset,
    /// The largest offset. Deprecated.
    MaxOffset,
    /// The start.
    FirstOffset,
    /// A time.
    Timestamp,
}

/// What a group wants of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// The expression as the client wrote it (`*`, `a || b`).
    pub expression: String,
    /// The language of the expression (`TAG`).
    pub expression_kind: String,
    /// The client's version of it; a newer one replaces an older one.
    pub version: i64,
    /// Tags that the expression names.
    pub tags: Vec<String>,
    /// Hashes of the tags; empty takes every message.
    pub codes: Vec<i64>,
    /// The protocol's class filter flag, untouched.
    pub class_filter: bool,
}

impl Subscription {
    /// True when a record with this index word (the tag hash) is wanted.
    pub fn wants(&self, index_word: i64) -> bool {
        self.codes.is_empty() || self.codes.contains(&index_word)
    }
}

/// What a consumer says in a heartbeat.
#[derive(Debug, Clone)]
pub struct ConsumerRegistration {
    /// The group.
    pub group: String,
    /// How it consumes.
    pub consume_type: ConsumeType,
    /// Whether members share.
    pub delivery: Delivery,
    /// Where it begins without a cursor.
    pub consume_from: ConsumeFrom,
    /// Its subscriptions; `None` when the heartbeat leaves them out because they did not change.
    pub subscriptions: Option<Vec<Subscription>>,
    /// The client's hash over what it would have said; 0 when it keeps none.
    pub fingerprint: i32,
}

/// What a registration changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerChange {
    /// A member came, or came back on another connection.
    pub members: bool,
    /// A subscription came, went or got another version.
    pub subscriptions: bool,
    /// Another member of the group said something different (its fingerprint differs), or this one is not known with
    /// subscriptions: the client should send its full heartbeat.
    pub fingerprint: bool,
}

/// A member as administrators see it.
#[derive(Clone)]
pub struct Member {
    /// The client.
    pub client: Client,
    /// Wall milliseconds of its last heartbeat.
    pub last_heartbeat_ms: i64,
}

/// A group's members and what they agreed on (the last one's word counts).
#[derive(Clone)]
pub struct GroupMembers {
    /// How it consumes.
    pub consume_type: ConsumeType,
    /// Whether members share.
    pub delivery: Delivery,
    /// Where it begins without a cursor.
    pub consume_from: ConsumeFrom,
    /// Its subscriptions, by topic.
    pub subscriptions: Vec<Arc<Subscription>>,
    /// Its members, by client id.
    pub members: Vec<Member>,
}

impl Broker {
    /// Notes that a producer is alive. True when it is new, or on another connection.
    ///
    /// # Errors
    /// `Limit` when the group has too many.
    pub fn register_producer(&self, _group: &str, _client: &Client) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Notes that a consumer is alive and what it wants. Members of a group whose configuration says so are told of a
    /// change, the new one included, before this returns.
    ///
    /// # Errors
    /// `Limit` when the group has too many members or subscriptions. The group need not be configured.
    pub fn register_consumer(
        &self,
        _registration: ConsumerRegistration,
        _client: &Client,
    ) -> Result<ConsumerChange, Error> {
        unimplemented!()
    }

    /// Forgets a producer, if it is known on that connection.
    pub fn unregister_producer(&self, _group: &str, _client_id: &str, _channel: ChannelId) {
        unimplemented!()
    }

    /// Forgets a consumer, if it is known on that connection; the others are told.
    pub fn unregister_consumer(&self, _group: &str, _client_id: &str, _channel: ChannelId) {
        unimplemented!()
    }

    /// Forgets everyone on a connection that is closed; gives the groups whose consumers changed, who have been told.
    pub fn channel_closed(&self, _channel: ChannelId) -> Vec<String> {
        unimplemented!()
    }

    /// Forgets members that were silent for too long, closes their connections and tells the others; gives the groups
    /// whose consumers changed. Called by [`Broker::turn`].
    pub fn expire_members(&self) -> Vec<String> {
        unimplemented!()
    }

    /// The ids of a group's consumers, sorted; empty when nobody is there.
    pub fn member_ids(&self, _group: &str) -> Vec<String> {
        unimplemented!()
    }

    /// A group's consumers; `None` when nobody is there.
    pub fn members(&self, _group: &str) -> Option<GroupMembers> {
        unimplemented!()
    }

    /// Groups that have consumers now, by name.
    pub fn consuming_groups(&self) -> Vec<String> {
        unimplemented!()
    }

    /// A group's producers, by client id.
    pub fn producers(&self, _group: &str) -> Vec<Member> {
        unimplemented!()
    }

    /// Groups that have producers now, by name.
    pub fn producing_groups(&self) -> Vec<String> {
        unimplemented!()
    }

    /// What a group that is there wants of a topic: the last writer's word.
    pub fn subscription(&self, _group: &str, _topic: &str) -> Option<Arc<Subscription>> {
        unimplemented!()
    }

    /// True when the group has consumers now.
    pub fn is_group_online(&self, _group: &str) -> bool {
        unimplemented!()
    }

    /// Groups whose consumers subscribe to a topic now, or that have a cursor on it; by name.
    pub fn groups_of_topic(&self, _topic: &str) -> Vec<String> {
        unimplemented!()
    }

    /// Topics that a group subscribes to now or has a cursor on; by name.
    pub fn topics_of_group(&self, _group: &str) -> Vec<String> {
        unimplemented!()
    }
}
