//! Who is connected: heartbeats (34), goodbyes (35), member lists (38), configuration checks (46), and what clients are told
//! without having asked (40).

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use braid_broker::{
    Channel, ChannelId, Client, ConsumeFrom, ConsumeType, ConsumerRegistration, Delivery, Error, GroupConfig,
    Notice, Subscription,
};
use braid_record::id::tags_code;
use braid_wire_rocketmq::body::{
    self, Body, CheckClient, ConsumeFromWhere, ConsumerData, ConsumerList, HeartbeatData, MessageModel,
    SubscriptionData,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::command::{Command, FLAG_ONEWAY};
use braid_wire_rocketmq::header::{self, IS_SUB_CHANGE, IS_SUPPORT_HEART_BEAT_V2};
use bytes::BytesMut;

use crate::connection::{Connection, ConnectionId};
use crate::dispatch::Call;
use crate::error;
use crate::names;
use crate::options::{CLIENT_ID_BYTES_MAX, SUBSCRIPTION_BYTES_ALL_MAX, SUBSCRIPTIONS_MAX};
use crate::pull::{check_tags, subscription_bytes, tag_subscription, unsupported_expression};
use crate::reactor::{Mail, Reactor, ReactorHandle};
use crate::reply::{Outcome, Reply};
use crate::shared::Shared;

/// The most groups of one heartbeat.
const HEARTBEAT_GROUPS_MAX: usize = 1_024;

/// A connection as the broker knows it.
pub(crate) struct EdgeChannel {
    pub(crate) id: ConnectionId,
    remote: SocketAddr,
    reactor: Arc<ReactorHandle>,
}

impl Channel for EdgeChannel {
    fn id(&self) -> ChannelId {
        self.id.into()
    }

    fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Dropped when the reactor's mailbox is full: the client shares the queues anew every 20 s anyway.
    fn notify(&self, notice: &Notice) {
        let Notice::MembersChanged { group } = notice;
        let fields = header::ConsumerGroup { consumer_group: group.clone() }.to_ext_fields();
        self.push(&Command {
            flag: FLAG_ONEWAY,
            ext_fields: fields,
            ..Command::request(request::NOTIFY_CONSUMER_IDS_CHANGED)
        });
    }

    fn close(&self) {
        let _ = self.reactor.post(Mail::Close(self.id));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl EdgeChannel {
    /// Sends a request of ours that wants no answer.
    pub(crate) fn push(&self, command: &Command) {
        let mut frame = BytesMut::new();
        match command.encode(&mut frame) {
            Ok(()) => {
                let _ = self.reactor.post(Mail::Push(self.id, frame.freeze()));
            }
            Err(error) => tracing::warn!(%error, "a request to a client could not be written"),
        }
    }

    /// Sends a request of ours; gives where its answer will come, or an error when there will be none.
    pub(crate) fn call(&self, command: Command) -> tokio::sync::oneshot::Receiver<Command> {
        let (answer, receiver) = tokio::sync::oneshot::channel();
        let _ = self.reactor.post(Mail::Call(self.id, Box::new(command), answer));
        receiver
    }
}

fn channel_of(shared: &Shared, connection: &Connection) -> Arc<dyn Channel> {
    let reactor = Arc::clone(&shared.reactors[usize::from(connection.id.reactor)]);
    Arc::new(EdgeChannel { id: connection.id, remote: connection.remote, reactor })
}

/// The group, made when missing and allowed; with the configuration of a new group, and not kept, when the log takes
/// nothing: readers go on without it.
///
/// # Errors
/// Apache's refusals of bad and unknown groups.
pub(crate) fn group_of_reader(reactor: &Reactor, group: &str) -> Result<Arc<GroupConfig>, Reply> {
    make_group(reactor, group).or_else(|refusal| match refusal.unwritable {
        true => Ok(Arc::new(GroupConfig::new(group))),
        false => Err(refusal),
    })
}

/// The group as it is, or as [`make_group`] would make it, which nothing is kept of yet.
///
/// # Errors
/// Apache's refusals of bad and unknown groups.
pub(crate) fn group_or_default(shared: &Shared, group: &str) -> Result<Arc<GroupConfig>, Reply> {
    if let Some(known) = shared.broker.group(group) {
        return Ok(known);
    }
    check_new_group(group)?;
    if !shared.options.auto_create_group {
        return Err(error::no_group(group));
    }
    Ok(Arc::new(GroupConfig::new(group)))
}

fn check_new_group(group: &str) -> Result<(), Reply> {
    names::check_group(group, names::FIRST_USE_GROUP_CHARS_MAX)
        .map_err(|text| Reply::error(response::INVALID_PARAMETER, text))
}

/// The group, made when missing and allowed.
///
/// # Errors
/// Apache's refusals of bad and unknown groups.
pub(crate) fn make_group(reactor: &Reactor, group: &str) -> Result<Arc<GroupConfig>, Reply> {
    if let Some(known) = reactor.shared.broker.group(group) {
        return Ok(known);
    }
    check_new_group(group)?;
    let made = reactor.shared.broker.group_or_create(group).map_err(|error| match error {
        braid_broker::Error::NoGroup(_) => error::no_group(group),
        other => other.into(),
    })?;
    reactor.appended();
    Ok(made)
}

/// HEART_BEAT (34), both versions.
pub(crate) fn heartbeat(call: &Call<'_>) -> Result<Outcome, Reply> {
    let heartbeat = HeartbeatData::decode(&call.command.body)?;
    if heartbeat.client_id.is_empty() {
        return Err(Reply::system_error("the heartbeat has no clientID"));
    }
    if heartbeat.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Reply::system_error(format!("a clientID has at most {CLIENT_ID_BYTES_MAX} bytes")));
    }
    let groups = heartbeat.consumer_data_set.len() + heartbeat.producer_data_set.len();
    if groups > HEARTBEAT_GROUPS_MAX {
        return Err(Reply::system_error(format!("a heartbeat names at most {HEARTBEAT_GROUPS_MAX} groups")));
    }
    // Nothing is registered when anything is refused.
    let mut registrations = Vec::new();
    let mut bytes = 0;
    for consumer in &heartbeat.consumer_data_set {
        let registration = registration(&heartbeat, consumer)?;
        bytes += registration.subscriptions.iter().flatten().map(subscription_bytes).sum::<usize>();
        registrations.push(registration);
    }
    if bytes > SUBSCRIPTION_BYTES_ALL_MAX {
        return Err(Reply::system_error(format!(
            "the subscriptions of a heartbeat take at most {SUBSCRIPTION_BYTES_ALL_MAX} bytes"
        )));
    }
    for producer in &heartbeat.producer_data_set {
        if producer.group_name.len() > names::FIRST_USE_GROUP_CHARS_MAX {
            return Err(Reply::system_error(format!(
                "a producer group's name has at most {} bytes",
                names::FIRST_USE_GROUP_CHARS_MAX
            )));
        }
    }
    let broker = &call.shared().broker;
    let client = Client {
        client_id: heartbeat.client_id.clone(),
        language: call.command.language.code(),
        version: call.command.version,
        channel: channel_of(call.shared(), call.connection),
    };
    let mut changed = false;
    let mut members_changed = false;
    for registration in registrations {
        let group = group_of_reader(call.reactor, &registration.group)?;
        // Its route must be there before the answer: some clients ask for it right away.
        if group.retry_queues > 0 {
            match broker.retry_topic(&registration.group) {
                Ok(_) => call.reactor.appended(),
                // Readers go on without it, and nothing can come back to it; the next heartbeat tries again.
                Err(braid_broker::Error::DiskFull(_) | braid_broker::Error::Closed(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        let group = registration.group.clone();
        match broker.register_consumer(registration, &client) {
            Ok(change) => {
                changed |= change.fingerprint;
                members_changed |= change.members;
            }
            // It stays out until they are gone, and comes in with the first heartbeat after that. What it does
            // meanwhile is refused; its other groups have nothing to do with it.
            Err(error @ Error::Group(_)) => {
                tracing::info!(group, client = client.client_id, %error, "a member stays out of its group");
            }
            Err(other) => return Err(other.into()),
        }
    }
    for producer in &heartbeat.producer_data_set {
        if !producer.group_name.is_empty() {
            broker.register_producer(&producer.group_name, &client)?;
        }
    }
    let fields =
        [(IS_SUPPORT_HEART_BEAT_V2, "true"), (IS_SUB_CHANGE, if changed { "true" } else { "false" })];
    let reply = Reply::fields(fields.into_iter().collect());
    if members_changed {
        return Ok(behind_notices(call, &reply));
    }
    Ok(reply.into())
}

/// The notice of its own arrival reaches a new member before its heartbeat's answer: both go through the mailbox.
fn behind_notices(call: &Call<'_>, reply: &Reply) -> Outcome {
    let head = call.command.head();
    if head.is_oneway() {
        return Outcome::Taken;
    }
    let mut frame = BytesMut::new();
    reply.encode(&head, &mut frame);
    match call.reactor.handle_of_this().post(Mail::Push(call.connection.id, frame.freeze())) {
        Ok(()) => Outcome::Taken,
        Err(_) => reply.clone().into(),
    }
}

fn registration(heartbeat: &HeartbeatData, consumer: &ConsumerData) -> Result<ConsumerRegistration, Reply> {
    if consumer.subscription_data_set.len() > SUBSCRIPTIONS_MAX {
        return Err(Reply::system_error(format!(
            "a heartbeat names at most {SUBSCRIPTIONS_MAX} subscriptions of a group"
        )));
    }
    let subscriptions = if heartbeat.is_without_sub {
        None
    } else {
        Some(consumer.subscription_data_set.iter().map(subscription).collect::<Result<Vec<_>, _>>()?)
    };
    Ok(ConsumerRegistration {
        group: consumer.group_name.clone(),
        consume_type: match consumer.consume_type {
            Some(body::ConsumeType::Actively) => ConsumeType::Actively,
            Some(body::ConsumeType::Pop) => ConsumeType::Leases,
            Some(body::ConsumeType::Passively) | None => ConsumeType::Passively,
        },
        delivery: match consumer.message_model {
            Some(MessageModel::Broadcasting) => Delivery::Broadcasting,
            Some(MessageModel::Clustering) | None => Delivery::Clustering,
        },
        consume_from: match consumer.consume_from_where {
            Some(ConsumeFromWhere::LastOffset) | None => ConsumeFrom::LastOffset,
            Some(ConsumeFromWhere::LastOffsetAndFromMinWhenBootFirst) => {
                ConsumeFrom::LastOffsetAndMinAtFirstBoot
            }
            Some(ConsumeFromWhere::MinOffset) => ConsumeFrom::MinOffset,
            Some(ConsumeFromWhere::MaxOffset) => ConsumeFrom::MaxOffset,
            Some(ConsumeFromWhere::FirstOffset) => ConsumeFrom::FirstOffset,
            Some(ConsumeFromWhere::Timestamp) => ConsumeFrom::Timestamp,
        },
        subscriptions,
        fingerprint: heartbeat.heartbeat_fingerprint,
    })
}

/// A client's subscription. The hashes are made here: some clients leave theirs out.
fn subscription(data: &SubscriptionData) -> Result<Subscription, Reply> {
    if !data.expression_type.is_empty() && data.expression_type != "TAG" {
        return Err(unsupported_expression(&data.expression_type));
    }
    if data.tags_set.is_empty() {
        let class_filter = data.class_filter_mode;
        let parsed = tag_subscription(&data.topic, &data.sub_string, data.sub_version)?;
        return Ok(Subscription { class_filter, ..parsed });
    }
    check_tags(&data.sub_string, &data.tags_set)?;
    Ok(Subscription {
        topic: data.topic.clone(),
        expression: data.sub_string.clone(),
        expression_kind: "TAG".to_owned(),
        version: data.sub_version,
        tags: data.tags_set.clone(),
        codes: data.tags_set.iter().map(|tag| tags_code(tag)).collect(),
        class_filter: data.class_filter_mode,
    })
}

/// UNREGISTER_CLIENT (35).
pub(crate) fn unregister(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::UnregisterClient::from_ext_fields(&call.command.ext_fields)?;
    let (broker, channel) = (&call.shared().broker, call.connection.id.into());
    if let Some(group) = &header.producer_group {
        broker.unregister_producer(group, &header.client_id, channel);
    }
    if let Some(group) = &header.consumer_group {
        broker.unregister_consumer(group, &header.client_id, channel);
    }
    Ok(Reply::ok().into())
}

/// GET_CONSUMER_LIST_BY_GROUP (38).
pub(crate) fn consumer_ids(call: &Call<'_>) -> Result<Outcome, Reply> {
    let group = header::ConsumerGroup::from_ext_fields(&call.command.ext_fields)?.consumer_group;
    call.shared().broker.check_no_classic_members(&group)?;
    let consumer_id_list = call.shared().broker.member_ids(&group);
    if consumer_id_list.is_empty() {
        return Err(Reply::system_error(format!("no consumer for this group, {group}")));
    }
    Ok(Reply::body(ConsumerList { consumer_id_list }.encode()).into())
}

/// CHECK_CLIENT_CONFIG (46): whether a subscription can be served.
pub(crate) fn check(call: &Call<'_>) -> Result<Outcome, Reply> {
    let check = CheckClient::decode(&call.command.body)?;
    if let Some(data) = &check.subscription_data {
        subscription(data)?;
    }
    Ok(Reply::ok().into())
}
