//! Who is connected: producers, and consumers with what they subscribed to. Memory only: clients say it all again in
//! each heartbeat.
//!
//! The members of a group must want the same. As in RocketMQ the last heartbeat's word counts for the whole group, by
//! topic; a subscription with an older version does not replace a newer one.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use crate::broker::Broker;
use crate::classic::GroupError;
use crate::error::Error;
use crate::options::BrokerOptions;
use crate::sync::{read, write};

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

/// Everyone who is connected.
#[derive(Default)]
pub(crate) struct Members {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    consumers: HashMap<String, Consumers>,
    producers: HashMap<String, BTreeMap<String, Alive>>,
    /// What each connection registered, so that its end is cheap.
    by_channel: HashMap<ChannelId, HashSet<(Role, String, String)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Producer,
    Consumer,
}

struct Consumers {
    consume_type: ConsumeType,
    delivery: Delivery,
    consume_from: ConsumeFrom,
    subscriptions: BTreeMap<String, Arc<Subscription>>,
    /// Of the last heartbeat that had one; 0 before.
    fingerprint: i32,
    members: BTreeMap<String, Alive>,
}

struct Alive {
    client: Client,
    /// Monotonic, for expiry.
    seen_ms: u64,
    /// Wall time, for people.
    seen_wall_ms: i64,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic_ms: u64,
    pub(crate) wall_ms: i64,
}

/// Notes that `client` is alive in `members`: true when it is new or comes on another connection.
/// `None` when there is no room.
fn keep_alive(
    members: &mut BTreeMap<String, Alive>,
    client: &Client,
    now: Moment,
    max: usize,
) -> Option<(bool, Option<ChannelId>)> {
    let alive = Alive { client: client.clone(), seen_ms: now.monotonic_ms, seen_wall_ms: now.wall_ms };
    if let Some(known) = members.get_mut(&client.client_id) {
        let before = known.client.channel.id();
        *known = alive;
        let moved = before != client.channel.id();
        return Some((moved, moved.then_some(before)));
    }
    if members.len() >= max {
        return None;
    }
    members.insert(client.client_id.clone(), alive);
    Some((true, None))
}

impl State {
    fn register_producer(
        &mut self,
        group: &str,
        client: &Client,
        now: Moment,
        options: &BrokerOptions,
    ) -> Result<bool, Error> {
        let groups_max = options.groups_max;
        if !self.producers.contains_key(group) && self.producers.len() >= groups_max {
            return Err(Error::Limit { what: "producer groups", max: groups_max });
        }
        let max = options.members_per_group_max;
        let members = self.producers.entry(group.to_owned()).or_default();
        let (new, moved_from) = keep_alive(members, client, now, max)
            .ok_or(Error::Limit { what: "producers in this group", max })?;
        self.bind(Role::Producer, group, client, moved_from);
        Ok(new)
    }

    fn register_consumer(
        &mut self,
        registration: ConsumerRegistration,
        client: &Client,
        now: Moment,
        options: &BrokerOptions,
    ) -> Result<ConsumerChange, Error> {
        let ConsumerRegistration { group, consume_type, delivery, consume_from, subscriptions, fingerprint } =
            registration;
        let groups_max = options.groups_max;
        if !self.consumers.contains_key(&group) && self.consumers.len() >= groups_max {
            return Err(Error::Limit { what: "consumer groups", max: groups_max });
        }
        let subscriptions_max = options.subscriptions_per_group_max;
        if subscriptions.as_ref().is_some_and(|wanted| wanted.len() > subscriptions_max) {
            return Err(Error::Limit { what: "subscriptions in this group", max: subscriptions_max });
        }
        let consumers = self.consumers.entry(group.clone()).or_insert_with(|| Consumers {
            consume_type,
            delivery,
            consume_from,
            subscriptions: BTreeMap::new(),
            fingerprint: 0,
            members: BTreeMap::new(),
        });
        let max = options.members_per_group_max;
        let (members, moved_from) = keep_alive(&mut consumers.members, client, now, max)
            .ok_or(Error::Limit { what: "consumers in this group", max })?;
        consumers.consume_type = consume_type;
        consumers.delivery = delivery;
        consumers.consume_from = consume_from;
        let must_tell_all = subscriptions.is_none() && consumers.subscriptions.is_empty();
        let subscriptions = subscriptions.is_some_and(|wanted| consumers.subscribe(&group, wanted));
        let differs = consumers.fingerprint != 0 && consumers.fingerprint != fingerprint;
        if fingerprint != 0 {
            consumers.fingerprint = fingerprint;
        }
        self.bind(Role::Consumer, &group, client, moved_from);
        Ok(ConsumerChange {
            members,
            subscriptions,
            fingerprint: fingerprint != 0 && (differs || must_tell_all),
        })
    }

    /// Notes on which connection a member is, and that it is not on the one before any more.
    fn bind(&mut self, role: Role, group: &str, client: &Client, moved_from: Option<ChannelId>) {
        if let Some(before) = moved_from {
            self.unbind(role, group, &client.client_id, before);
        }
        let entry = (role, group.to_owned(), client.client_id.clone());
        self.by_channel.entry(client.channel.id()).or_default().insert(entry);
    }

    fn unbind(&mut self, role: Role, group: &str, client_id: &str, channel: ChannelId) {
        if let Some(bound) = self.by_channel.get_mut(&channel) {
            bound.remove(&(role, group.to_owned(), client_id.to_owned()));
            if bound.is_empty() {
                self.by_channel.remove(&channel);
            }
        }
    }

    /// Forgets a member if it is on that connection.
    fn remove(&mut self, role: Role, group: &str, client_id: &str, channel: ChannelId) -> bool {
        let members = match role {
            Role::Producer => self.producers.get_mut(group),
            Role::Consumer => self.consumers.get_mut(group).map(|consumers| &mut consumers.members),
        };
        let Some(members) = members else { return false };
        if members.get(client_id).is_none_or(|alive| alive.client.channel.id() != channel) {
            return false;
        }
        members.remove(client_id);
        if members.is_empty() {
            match role {
                Role::Producer => drop(self.producers.remove(group)),
                Role::Consumer => drop(self.consumers.remove(group)),
            }
        }
        self.unbind(role, group, client_id, channel);
        true
    }

    /// Forgets all on a connection; gives the groups whose consumers changed.
    fn remove_channel(&mut self, channel: ChannelId) -> BTreeSet<String> {
        let bound = self.by_channel.remove(&channel).unwrap_or_default();
        bound
            .into_iter()
            .filter(|(role, group, client_id)| {
                self.remove(*role, group, client_id, channel) && *role == Role::Consumer
            })
            .map(|(_, group, _)| group)
            .collect()
    }

    /// Forgets who was last seen before `before_ms`; gives the changed groups and the connections to close.
    fn expire(&mut self, before_ms: u64) -> (BTreeSet<String>, Vec<Arc<dyn Channel>>) {
        let consumers = self.consumers.iter().map(|(group, c)| (Role::Consumer, group, &c.members));
        let producers = self.producers.iter().map(|(group, p)| (Role::Producer, group, p));
        let old: Vec<_> = consumers
            .chain(producers)
            .flat_map(|(role, group, members)| {
                let old = members.values().filter(move |alive| alive.seen_ms < before_ms);
                old.map(move |alive| (role, group.clone(), alive.client.clone()))
            })
            .collect();
        let mut changed = BTreeSet::new();
        let mut channels: BTreeMap<ChannelId, Arc<dyn Channel>> = BTreeMap::new();
        for (role, group, client) in old {
            self.remove(role, &group, &client.client_id, client.channel.id());
            if role == Role::Consumer {
                changed.insert(group);
            }
            channels.insert(client.channel.id(), client.channel);
        }
        // A connection that carries another living member stays open.
        channels.retain(|id, _| !self.by_channel.contains_key(id));
        (changed, channels.into_values().collect())
    }

    fn channels_of(&self, group: &str) -> Vec<Arc<dyn Channel>> {
        let members = self.consumers.get(group).into_iter().flat_map(|consumers| consumers.members.values());
        members.map(|alive| Arc::clone(&alive.client.channel)).collect()
    }
}

impl Consumers {
    /// Takes over a heartbeat's subscriptions; true when one came, went or changed.
    fn subscribe(&mut self, group: &str, wanted: Vec<Subscription>) -> bool {
        let topics: HashSet<String> = wanted.iter().map(|subscription| subscription.topic.clone()).collect();
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| topics.contains(topic));
        let mut changed = self.subscriptions.len() != before;
        for subscription in wanted {
            match self.subscriptions.get(&subscription.topic) {
                Some(known) if known.version >= subscription.version => {}
                known => {
                    if known.is_some_and(|known| known.expression != subscription.expression) {
                        tracing::info!(
                            group,
                            topic = subscription.topic,
                            expression = subscription.expression,
                            "the group's subscription changed"
                        );
                    }
                    changed |= known.is_none_or(|known| known.expression != subscription.expression);
                    self.subscriptions.insert(subscription.topic.clone(), Arc::new(subscription));
                }
            }
        }
        changed
    }
}

fn members_of(members: &BTreeMap<String, Alive>) -> Vec<Member> {
    let member =
        |alive: &Alive| Member { client: alive.client.clone(), last_heartbeat_ms: alive.seen_wall_ms };
    members.values().map(member).collect()
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<_> = names.cloned().collect();
    names.sort_unstable();
    names
}

impl Broker {
    /// Notes that a producer is alive. True when it is new, or on another connection.
    ///
    /// # Errors
    /// `Limit` when there are too many.
    pub fn register_producer(&self, group: &str, client: &Client) -> Result<bool, Error> {
        let now = self.moment();
        write(&self.members.state).register_producer(group, client, now, &self.options)
    }

    /// Notes that a consumer is alive and what it wants. Members of a group whose configuration says so are told of a
    /// change, the new one included, before this returns.
    ///
    /// # Errors
    /// `Limit` when there are too many members or subscriptions; `Group(OtherMembers)` when it wants to share the queues
    /// of a classic group that has members. The group need not be configured.
    pub fn register_consumer(
        &self,
        registration: ConsumerRegistration,
        client: &Client,
    ) -> Result<ConsumerChange, Error> {
        let now = self.moment();
        let group = registration.group.clone();
        let gate = self.classic.gate(&group);
        if registration.delivery == Delivery::Clustering && self.is_classic_group_live(&group) {
            return Err(Error::Group(GroupError::OtherMembers));
        }
        let change =
            write(&self.members.state).register_consumer(registration, client, now, &self.options)?;
        drop(gate);
        if change.members || change.subscriptions {
            self.tell_members(&group);
        }
        Ok(change)
    }

    /// Forgets a producer, if it is known on that connection.
    pub fn unregister_producer(&self, group: &str, client_id: &str, channel: ChannelId) {
        write(&self.members.state).remove(Role::Producer, group, client_id, channel);
    }

    /// Forgets a consumer, if it is known on that connection; the others are told.
    pub fn unregister_consumer(&self, group: &str, client_id: &str, channel: ChannelId) {
        if write(&self.members.state).remove(Role::Consumer, group, client_id, channel) {
            self.tell_members(group);
        }
    }

    /// Forgets everyone on a connection that is closed; gives the groups whose consumers changed, who have been told.
    pub fn channel_closed(&self, channel: ChannelId) -> Vec<String> {
        let changed = write(&self.members.state).remove_channel(channel);
        changed.iter().for_each(|group| self.tell_members(group));
        changed.into_iter().collect()
    }

    /// Forgets members that were silent for too long, closes their connections and tells the others; gives the groups
    /// whose consumers changed. Called by [`Broker::turn`].
    pub fn expire_members(&self) -> Vec<String> {
        let Some(before_ms) = self.clock.monotonic_ms().checked_sub(self.options.member_life_ms) else {
            return Vec::new();
        };
        let (changed, silent) = write(&self.members.state).expire(before_ms);
        silent.iter().for_each(|channel| channel.close());
        changed.iter().for_each(|group| self.tell_members(group));
        changed.into_iter().collect()
    }

    /// The ids of a group's consumers, sorted; empty when nobody is there.
    pub fn member_ids(&self, group: &str) -> Vec<String> {
        let state = read(&self.members.state);
        state
            .consumers
            .get(group)
            .map(|consumers| consumers.members.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// A group's consumers; `None` when nobody is there.
    pub fn members(&self, group: &str) -> Option<GroupMembers> {
        let state = read(&self.members.state);
        let consumers = state.consumers.get(group)?;
        Some(GroupMembers {
            consume_type: consumers.consume_type,
            delivery: consumers.delivery,
            consume_from: consumers.consume_from,
            subscriptions: consumers.subscriptions.values().cloned().collect(),
            members: members_of(&consumers.members),
        })
    }

    /// Groups that have consumers now, by name.
    pub fn consuming_groups(&self) -> Vec<String> {
        sorted(read(&self.members.state).consumers.keys())
    }

    /// A group's producers, by client id.
    pub fn producers(&self, group: &str) -> Vec<Member> {
        read(&self.members.state).producers.get(group).map(members_of).unwrap_or_default()
    }

    /// Groups that have producers now, by name.
    pub fn producing_groups(&self) -> Vec<String> {
        sorted(read(&self.members.state).producers.keys())
    }

    /// What a group that is there wants of a topic: the last writer's word.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        read(&self.members.state).consumers.get(group)?.subscriptions.get(topic).cloned()
    }

    /// How a group consumes, if it is there: type, and whether its members share.
    pub fn consuming(&self, group: &str) -> Option<(ConsumeType, Delivery)> {
        read(&self.members.state).consumers.get(group).map(|c| (c.consume_type, c.delivery))
    }

    /// True when the group has consumers now.
    pub fn is_group_online(&self, group: &str) -> bool {
        read(&self.members.state).consumers.contains_key(group)
    }

    /// Groups whose consumers subscribe to a topic now, or that have a cursor on it; by name.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<String> {
        let mut groups: BTreeSet<String> = read(&self.members.state)
            .consumers
            .iter()
            .filter(|(_, consumers)| consumers.subscriptions.contains_key(topic))
            .map(|(group, _)| group.clone())
            .collect();
        if let Some(topic) = self.topic(topic) {
            groups.extend(self.cursors.groups_on(topic.number));
        }
        groups.into_iter().collect()
    }

    /// Topics that a group subscribes to now or has a cursor on; by name.
    pub fn topics_of_group(&self, group: &str) -> Vec<String> {
        let mut topics: BTreeSet<String> = read(&self.members.state)
            .consumers
            .get(group)
            .map(|consumers| consumers.subscriptions.keys().cloned().collect())
            .unwrap_or_default();
        topics.extend(self.cursors_of(group).into_iter().map(|cursor| cursor.topic.name().to_owned()));
        topics.into_iter().collect()
    }

    /// Tells a group's members that others came or went, when its configuration says so. No lock is held meanwhile.
    fn tell_members(&self, group: &str) {
        if self.group(group).is_some_and(|group| !group.notify_members_changed) {
            return;
        }
        let channels = read(&self.members.state).channels_of(group);
        let notice = Notice::MembersChanged { group: group.to_owned() };
        channels.iter().for_each(|channel| channel.notify(&notice));
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { monotonic_ms: self.clock.monotonic_ms(), wall_ms: self.clock.wall_ms() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line(u64);

    impl Channel for Line {
        fn id(&self) -> ChannelId {
            ChannelId(self.0)
        }
        fn remote_address(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
        fn notify(&self, _: &Notice) {}
        fn close(&self) {}
        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    fn client(id: &str, line: u64) -> Client {
        Client { client_id: id.to_owned(), language: 0, version: 1, channel: Arc::new(Line(line)) }
    }

    fn wants(topic: &str, expression: &str, version: i64) -> Subscription {
        Subscription {
            topic: topic.to_owned(),
            expression: expression.to_owned(),
            expression_kind: "TAG".to_owned(),
            version,
            tags: Vec::new(),
            codes: Vec::new(),
            class_filter: false,
        }
    }

    fn heartbeat(subscriptions: Option<Vec<Subscription>>, fingerprint: i32) -> ConsumerRegistration {
        ConsumerRegistration {
            group: "g".to_owned(),
            consume_type: ConsumeType::Passively,
            delivery: Delivery::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions,
            fingerprint,
        }
    }

    fn at(ms: u64) -> Moment {
        Moment { monotonic_ms: ms, wall_ms: ms as i64 }
    }

    fn change(members: bool, subscriptions: bool, fingerprint: bool) -> ConsumerChange {
        ConsumerChange { members, subscriptions, fingerprint }
    }

    fn expression(state: &State, topic: &str) -> Option<String> {
        state.consumers.get("g")?.subscriptions.get(topic).map(|s| s.expression.clone())
    }

    #[test]
    fn the_last_writer_decides_for_the_group_unless_it_is_older() {
        let (mut state, options) = (State::default(), BrokerOptions::default());
        let mut say = |id: &str, line, subscriptions| {
            let change = state.register_consumer(
                heartbeat(Some(subscriptions), 0),
                &client(id, line),
                at(0),
                &options,
            );
            (change.unwrap(), expression(&state, "T"), expression(&state, "U"))
        };
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(say("a", 1, vec![wants("T", "x", 5)]), (change(true, true, false), text("x"), None));
        assert_eq!(say("a", 1, vec![wants("T", "x", 5)]), (change(false, false, false), text("x"), None));
        assert_eq!(say("b", 2, vec![wants("T", "old", 4)]), (change(true, false, false), text("x"), None));
        assert_eq!(say("b", 2, vec![wants("T", "y", 6)]), (change(false, true, false), text("y"), None));
        assert_eq!(say("a", 1, vec![wants("U", "*", 1)]), (change(false, true, false), None, text("*")));
    }

    #[test]
    fn a_short_heartbeat_keeps_subscriptions_and_a_strange_fingerprint_asks_for_all() {
        let (mut state, options) = (State::default(), BrokerOptions::default());
        let mut say = |id: &str, line, subscriptions, fingerprint| {
            let registration = heartbeat(subscriptions, fingerprint);
            state.register_consumer(registration, &client(id, line), at(0), &options).unwrap()
        };
        assert_eq!(say("a", 1, None, 7), change(true, false, true), "the broker forgot: all is needed");
        assert_eq!(say("a", 1, Some(vec![wants("T", "x", 1)]), 7), change(false, true, false));
        assert_eq!(say("a", 1, None, 7), change(false, false, false));
        assert_eq!(say("b", 2, Some(vec![wants("T", "y", 2)]), 8), change(true, true, true));
        assert_eq!(say("a", 1, None, 7), change(false, false, true), "another member said otherwise");
        assert_eq!(expression(&state, "T").as_deref(), Some("y"));
    }

    #[test]
    fn a_member_that_moved_survives_the_end_of_its_old_connection() {
        let (mut state, options) = (State::default(), BrokerOptions::default());
        for line in [1, 2] {
            state.register_consumer(heartbeat(Some(vec![]), 0), &client("a", line), at(0), &options).unwrap();
            state.register_producer("p", &client("a", line), at(0), &options).unwrap();
        }
        assert!(state.remove_channel(ChannelId(1)).is_empty());
        assert!(!state.remove(Role::Consumer, "g", "a", ChannelId(1)), "not on that connection any more");
        assert_eq!(state.remove_channel(ChannelId(2)), BTreeSet::from(["g".to_owned()]));
        assert!(state.consumers.is_empty() && state.producers.is_empty() && state.by_channel.is_empty());
    }

    #[test]
    fn silence_ends_a_member_at_its_bound_and_not_before() {
        let (mut state, options) = (State::default(), BrokerOptions::default());
        state.register_consumer(heartbeat(Some(vec![]), 0), &client("a", 1), at(0), &options).unwrap();
        state.register_producer("p", &client("b", 2), at(5), &options).unwrap();
        state.register_producer("p", &client("c", 1), at(9), &options).unwrap();
        assert!(state.expire(0).0.is_empty());
        let (changed, closed) = state.expire(6);
        assert_eq!(changed, BTreeSet::from(["g".to_owned()]));
        let closed: Vec<_> = closed.iter().map(|channel| channel.id().0).collect();
        assert_eq!(closed, [2], "connection 1 carries a producer that is alive");
        assert_eq!(state.producers["p"].keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn bounds_hold_at_and_one_past_them() {
        let options = BrokerOptions {
            members_per_group_max: 2,
            subscriptions_per_group_max: 1,
            groups_max: 1,
            ..BrokerOptions::default()
        };
        let mut state = State::default();
        for (id, fits) in [("a", true), ("b", true), ("c", false), ("a", true)] {
            let said = state.register_producer("p", &client(id, 1), at(0), &options);
            assert_eq!(said.is_ok(), fits, "{id}");
        }
        assert!(matches!(
            state.register_producer("q", &client("a", 1), at(0), &options),
            Err(Error::Limit { what: "producer groups", max: 1 })
        ));
        let two = vec![wants("T", "*", 1), wants("U", "*", 1)];
        assert!(state.register_consumer(heartbeat(Some(two), 0), &client("a", 1), at(0), &options).is_err());
        let one = vec![wants("T", "*", 1)];
        assert!(state.register_consumer(heartbeat(Some(one), 0), &client("a", 1), at(0), &options).is_ok());
    }
}
