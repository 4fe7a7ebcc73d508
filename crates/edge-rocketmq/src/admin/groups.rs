//! Groups as administrators make, see and delete them (200, 201, 203, 204, 207, 208, 307, 352).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use braid_broker::{
    ConsumeFrom, ConsumeType, Delivery, Error, GroupConfig, GroupError, Member, Subscription,
};
use braid_store::{Promise, StoreError};
use braid_wire_rocketmq::Language;
use braid_wire_rocketmq::body::{
    self, Body, Connection, ConsumeFromWhere, ConsumeStats, ConsumerConnection, MessageModel, MessageQueue,
    OffsetWrapper, ProducerConnection, SubscriptionData, SubscriptionGroupConfig, SubscriptionGroupTable,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::command::Command;
use braid_wire_rocketmq::fastjson::Value;
use braid_wire_rocketmq::header;

use super::{data_version, page};
use crate::clients::EdgeChannel;
use crate::dispatch::Call;
use crate::error;
use crate::names;
use crate::reply::{Outcome, Reply};

/// How long a client may take to answer a question that is passed on to it.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients from V3_1_8_SNAPSHOT on can tell how they run.
const VERSION_RUNNING_INFO: i32 = 62;

fn invalid(text: impl Into<String>) -> Reply {
    Reply::error(response::INVALID_PARAMETER, text.into())
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200).
pub(crate) fn put(call: &Call<'_>) -> Result<Outcome, Reply> {
    let bean = SubscriptionGroupConfig::decode(&call.command.body)?;
    names::check_group(&bean.group_name, names::GROUP_CHARS_MAX).map_err(invalid)?;
    if !bean.attributes.is_empty() {
        return Err(Reply::system_error(
            "group attributes are not supported, so that none is kept without being enforced",
        ));
    }
    if let Some(policy) = bean.group_retry_policy.as_ref().filter(|policy| !is_default_policy(policy)) {
        return Err(Reply::system_error(format!(
            "groupRetryPolicy {policy:?} is not supported, so that none is kept without being followed: the delays of \
             tries are those of the delay levels ({CUSTOMIZED})"
        )));
    }
    let number = |value: i64, what: &str| {
        u64::try_from(value).map_err(|_| invalid(format!("{what} must not be negative")))
    };
    let small = |value: i32, what: &str| number(value.into(), what).map(|value| value as u32);
    let existing = call.shared().broker.group(&bean.group_name);
    let config = GroupConfig {
        consume_enable: bean.consume_enable,
        consume_from_min_enable: bean.consume_from_min_enable,
        broadcast_enable: bean.consume_broadcast_enable,
        orderly: bean.consume_message_orderly,
        retry_queues: small(bean.retry_queue_nums, "retryQueueNums")?,
        retry_max: small(bean.retry_max_times, "retryMaxTimes")?,
        broker_id: number(bean.broker_id, "brokerId")?,
        broker_id_when_slow: number(bean.which_broker_when_consume_slowly, "whichBrokerWhenConsumeSlowly")?,
        notify_members_changed: bean.notify_consumer_ids_changed_enable,
        sys_flag: bean.group_sys_flag,
        consume_timeout_minutes: small(bean.consume_timeout_minute, "consumeTimeoutMinute")?,
        attributes: existing.map(|group| group.attributes.clone()).unwrap_or_default(),
        name: bean.group_name,
    };
    let promise = call.shared().broker.put_group(config)?;
    call.reactor.appended();
    Ok(Outcome::Promised(promise.map(|_| Reply::ok())))
}

/// The type of the one policy that there is: the delay levels, one after the other.
const CUSTOMIZED: &str = "CUSTOMIZED";

/// Whether a policy says nothing, or only what holds for every group.
fn is_default_policy(policy: &Value) -> bool {
    match policy {
        Value::Null => true,
        Value::Map(members) => members.iter().all(|(key, value)| match value {
            Value::Null => true,
            Value::Text(kind) => matches!(key, Value::Text(key) if key == "type") && kind == CUSTOMIZED,
            _ => false,
        }),
        _ => false,
    }
}

fn bean(config: &GroupConfig) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        attributes: config.attributes.clone(),
        broker_id: config.broker_id as i64,
        consume_broadcast_enable: config.broadcast_enable,
        consume_enable: config.consume_enable,
        consume_from_min_enable: config.consume_from_min_enable,
        consume_message_orderly: config.orderly,
        consume_timeout_minute: config.consume_timeout_minutes as i32,
        group_name: config.name.clone(),
        group_retry_policy: Some(Value::Map(vec![(
            Value::Text("type".into()),
            Value::Text(CUSTOMIZED.into()),
        )])),
        group_sys_flag: config.sys_flag,
        notify_consumer_ids_changed_enable: config.notify_members_changed,
        retry_max_times: config.retry_max as i32,
        retry_queue_nums: config.retry_queues as i32,
        which_broker_when_consume_slowly: config.broker_id_when_slow as i64,
    }
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
pub(crate) fn all(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::GetAllSubscriptionGroupConfig::from_ext_fields(&call.command.ext_fields)?;
    let broker = &call.shared().broker;
    let mut groups = broker.groups();
    // Groups that only another protocol has used are configured as any new group would be.
    let others = broker.classic_groups().into_iter().filter(|other| broker.group(&other.name).is_none());
    groups.extend(others.map(|other| Arc::new(GroupConfig::new(other.name))));
    groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let total_group_num = groups.len() as i32;
    let subscription_group_table = page(groups, header.group_seq, header.max_group_num)
        .into_iter()
        .map(|group| (group.name.clone(), bean(&group)))
        .collect();
    let table = SubscriptionGroupTable {
        data_version: data_version(broker.groups_version()),
        forbidden_table: BTreeMap::new(),
        subscription_group_table,
    };
    let fields = header::GetAllSubscriptionGroupConfigResponse { total_group_num }.to_ext_fields();
    Ok(Reply::body(table.encode()).with_fields(fields).into())
}

/// GET_SUBSCRIPTIONGROUP_CONFIG (352).
pub(crate) fn one(call: &Call<'_>) -> Result<Outcome, Reply> {
    let group = header::Group::from_ext_fields(&call.command.ext_fields)?.group;
    let broker = &call.shared().broker;
    if let Some(found) = broker.group(&group) {
        return Ok(Reply::body(bean(&found).encode()).into());
    }
    match broker.classic_group(&group) {
        Some(_) => Ok(Reply::body(bean(&GroupConfig::new(group)).encode()).into()),
        None => Err(error::no_group(&group)),
    }
}

/// DELETE_SUBSCRIPTIONGROUP (207). A group that is not there needs no deletion.
pub(crate) fn delete(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::DeleteSubscriptionGroup::from_ext_fields(&call.command.ext_fields)?;
    if names::is_system_group(&header.group_name) {
        return Err(invalid(format!("the group[{}] belongs to the system", header.group_name)));
    }
    let with_cursors = header.clean_offset == Some(true);
    let broker = &call.shared().broker;
    error::check_cursors_are_ours(broker, &header.group_name)?;
    match broker.delete_group(&header.group_name, with_cursors) {
        Ok(promise) => {
            call.reactor.appended();
            call.shared().metrics.forget_pulled(|_, group| group == header.group_name);
            if with_cursors {
                // What another protocol has left of it; its promise stands behind this one's.
                return delete_remains(call, &header.group_name, promise);
            }
            Ok(Outcome::Promised(promise.map(|()| Reply::ok())))
        }
        Err(Error::NoGroup(_)) if with_cursors => {
            delete_remains(call, &header.group_name, broker.promise_of_all_appended(()))
        }
        Err(Error::NoGroup(_)) => Ok(Reply::ok().into()),
        Err(other) => Err(other.into()),
    }
}

/// Deletes what another protocol has left of a group; without anything, what is `done` already is the answer.
fn delete_remains(call: &Call<'_>, group: &str, done: Promise<()>) -> Result<Outcome, Reply> {
    let promise = match call.shared().broker.delete_classic_group(group) {
        Ok(promise) => promise,
        Err(Error::Group(GroupError::NoGroup)) => done,
        Err(other) => return Err(other.into()),
    };
    call.reactor.appended();
    Ok(Outcome::Promised(promise.map(|()| Reply::ok())))
}

fn connection(member: &Member) -> Connection {
    let client = &member.client;
    Connection {
        client_addr: client.channel.remote_address().to_string(),
        client_id: client.client_id.clone(),
        language: Language::from_code(client.language).unwrap_or(Language::Other),
        version: client.version,
    }
}

fn subscription_data(subscription: &Subscription) -> SubscriptionData {
    SubscriptionData {
        class_filter_mode: subscription.class_filter,
        code_set: subscription.codes.iter().map(|code| *code as i32).collect(),
        expression_type: subscription.expression_kind.clone(),
        sub_string: subscription.expression.clone(),
        sub_version: subscription.version,
        tags_set: subscription.tags.clone(),
        topic: subscription.topic.clone(),
    }
}

/// GET_CONSUMER_CONNECTION_LIST (203).
pub(crate) fn consumers(call: &Call<'_>) -> Result<Outcome, Reply> {
    let group = header::ConsumerGroup::from_ext_fields(&call.command.ext_fields)?.consumer_group;
    let members = call.shared().broker.members(&group).ok_or_else(|| {
        Reply::error(response::CONSUMER_NOT_ONLINE, format!("the consumer group[{group}] not online"))
    })?;
    let body = ConsumerConnection {
        connection_set: members.members.iter().map(connection).collect(),
        consume_from_where: Some(match members.consume_from {
            ConsumeFrom::LastOffset => ConsumeFromWhere::LastOffset,
            ConsumeFrom::LastOffsetAndMinAtFirstBoot => ConsumeFromWhere::LastOffsetAndFromMinWhenBootFirst,
            ConsumeFrom::MinOffset => ConsumeFromWhere::MinOffset,
            ConsumeFrom::MaxOffset => ConsumeFromWhere::MaxOffset,
            ConsumeFrom::FirstOffset => ConsumeFromWhere::FirstOffset,
            ConsumeFrom::Timestamp => ConsumeFromWhere::Timestamp,
        }),
        consume_type: Some(match members.consume_type {
            ConsumeType::Actively => body::ConsumeType::Actively,
            ConsumeType::Passively => body::ConsumeType::Passively,
            ConsumeType::Leases => body::ConsumeType::Pop,
        }),
        message_model: Some(match members.delivery {
            Delivery::Broadcasting => MessageModel::Broadcasting,
            Delivery::Clustering => MessageModel::Clustering,
        }),
        subscription_table: members
            .subscriptions
            .iter()
            .map(|subscription| (subscription.topic.clone(), subscription_data(subscription)))
            .collect(),
    };
    Ok(Reply::body(body.encode()).into())
}

/// GET_PRODUCER_CONNECTION_LIST (204).
pub(crate) fn producers(call: &Call<'_>) -> Result<Outcome, Reply> {
    let group = header::ProducerGroup::from_ext_fields(&call.command.ext_fields)?.producer_group;
    let producers = call.shared().broker.producers(&group);
    if producers.is_empty() {
        return Err(Reply::system_error(format!("the producer group[{group}] not exist")));
    }
    let connection_set = producers.iter().map(connection).collect();
    Ok(Reply::body(ProducerConnection { connection_set }.encode()).into())
}

/// GET_CONSUME_STATS (208): how far a group is in each queue, of one topic, of some, or of all that it knows.
pub(crate) fn progress(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::GetConsumeStats::from_ext_fields(&call.command.ext_fields)?;
    let (broker, group) = (&call.shared().broker, header.consumer_group);
    let topics: BTreeSet<String> = match (header.topic.as_deref(), header.topic_list.as_deref()) {
        (None | Some(""), None | Some("")) => broker
            .topics_of_group(&group)
            .iter()
            .filter_map(|topic| names::listed(topic))
            .map(Cow::into_owned)
            .collect(),
        (topic, list) => topic
            .into_iter()
            .chain(list.unwrap_or_default().split(';'))
            .filter(|topic| !topic.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    // A group that is there and does not want a topic any more has no progress in it, whatever its old cursors say.
    let subscribes = |topic: &str| {
        let wants_nothing = broker.members(&group).is_none_or(|members| members.subscriptions.is_empty());
        wants_nothing || broker.subscription(&group, topic).is_some()
    };
    let mut queues = Vec::new();
    let mut consume_tps = 0.0;
    for topic in topics {
        let Some(found) = call.shared().topic(&topic).filter(|_| subscribes(&topic)) else { continue };
        consume_tps += broker.statistics().fetched_by(&group, found.name()).1.last_10s;
        for queue_id in 0..found.config.read_queues {
            let queue = found.queue(queue_id);
            let pulled = call.shared().metrics.pull_offset(&group, queue);
            queues.push((topic.clone(), queue, broker.cursor(&group, queue), pulled));
        }
    }
    let (store, broker_name) = (call.shared().store.clone(), call.shared().options.broker_name.clone());
    let table = call.reactor.ask_disk(move || {
        let mut offset_table = BTreeMap::new();
        for (topic, queue, cursor, pulled) in queues {
            let offsets = store.offsets(queue).unwrap_or_default();
            let consumed = cursor.unwrap_or(0);
            let last = match consumed.checked_sub(1) {
                Some(last) => store.store_time(queue, last)?,
                None => None,
            };
            let key =
                MessageQueue { broker_name: broker_name.clone(), queue_id: queue.queue_id as i32, topic };
            let value = OffsetWrapper {
                broker_offset: offsets.max as i64,
                consumer_offset: consumed as i64,
                last_timestamp: last.unwrap_or(0),
                // What was given and is not committed yet is in flight.
                pull_offset: pulled.unwrap_or(consumed).max(consumed) as i64,
            };
            offset_table.insert(key, value);
        }
        Ok(ConsumeStats { consume_tps, offset_table })
    });
    Ok(Outcome::wait(async move {
        let table: Result<ConsumeStats, StoreError> = table.await?;
        Ok(Reply::body(table.map_err(braid_broker::Error::from)?.encode()).into())
    }))
}

/// GET_CONSUMER_RUNNING_INFO (307): passed on to the client, whose answer is passed back as it is.
pub(crate) fn running(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::ConsumerRunningInfo::from_ext_fields(&call.command.ext_fields)?;
    let (group, client_id) = (&header.consumer_group, &header.client_id);
    let offline = || Reply::system_error(format!("The Consumer <{group}> <{client_id}> not online"));
    let members = call.shared().broker.members(group).ok_or_else(offline)?;
    let member = members.members.into_iter().find(|member| member.client.client_id == *client_id);
    let client = member.ok_or_else(offline)?.client;
    if client.version < VERSION_RUNNING_INFO {
        return Err(Reply::system_error(format!(
            "The Consumer <{client_id}> Version <{}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
            client.version
        )));
    }
    let channel = client.channel.as_any().downcast_ref::<EdgeChannel>().ok_or_else(offline)?;
    let answer = channel.call(Command {
        ext_fields: header.to_ext_fields(),
        ..Command::request(request::GET_CONSUMER_RUNNING_INFO)
    });
    let late = format!("consumer <{group}> <{client_id}> Timeout: it gave no answer");
    Ok(Outcome::wait(async move {
        match tokio::time::timeout(RELAY_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(Reply {
                code: answer.code,
                remark: answer.remark.map(Into::into),
                fields: answer.ext_fields,
                body: answer.body,
                ..Reply::default()
            }
            .into()),
            Ok(Err(_)) | Err(_) => Err(Reply::error(response::CONSUME_MSG_TIMEOUT, late)),
        }
    }))
}
