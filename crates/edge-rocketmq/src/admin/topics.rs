//! Topics as administrators make, see and delete them (17, 21, 202, 215, 300, 351).

use std::collections::BTreeMap;

use braid_broker::TopicConfig;
use braid_wire_rocketmq::body::{
    self, Body, GroupList, MessageQueue, TopicConfigTable, TopicOffset, TopicStatsTable,
};
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header;

use super::{data_version, page};
use crate::dispatch::Call;
use crate::error;
use crate::names;
use crate::namesrv::handlers::perm;
use crate::reply::{Outcome, Reply};

/// Permission bits that a topic may have: read, write, inherit.
const PERM_BITS: i32 = 7;

fn invalid(text: impl Into<String>) -> Reply {
    Reply::error(response::INVALID_PARAMETER, text.into())
}

fn topic_of(call: &Call<'_>) -> Result<String, Reply> {
    Ok(header::Topic::from_ext_fields(&call.command.ext_fields)?.topic)
}

/// UPDATE_AND_CREATE_TOPIC (17).
pub(crate) fn put(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::CreateTopic::from_ext_fields(&call.command.ext_fields)?;
    let existing = call.shared().topic(&header.topic);
    if existing.is_none() {
        names::check_topic(&header.topic).map_err(invalid)?;
    }
    if names::is_system_topic(&header.topic) {
        return Err(invalid(format!("The topic[{}] is conflict with system topic.", header.topic)));
    }
    if let Some(attributes) = header.attributes.as_deref().filter(|text| !text.trim().is_empty()) {
        return Err(Reply::system_error(format!(
            "topic attributes are not supported, so that none is kept without being enforced: {attributes}"
        )));
    }
    let queues = |nums: i32, what: &str| {
        u32::try_from(nums)
            .ok()
            .filter(|nums| *nums > 0)
            .ok_or_else(|| invalid(format!("{what} must be above 0")))
    };
    if header.perm & !PERM_BITS != 0 {
        return Err(invalid(format!(
            "perm {} has bits other than 4 (read), 2 (write) and 1 (inherit)",
            header.perm
        )));
    }
    let config = TopicConfig {
        read_queues: queues(header.read_queue_nums, "readQueueNums")?,
        write_queues: queues(header.write_queue_nums, "writeQueueNums")?,
        readable: header.perm & 4 != 0,
        writable: header.perm & 2 != 0,
        inherited: header.perm & 1 != 0,
        order: header.order == Some(true),
        sys_flag: header.topic_sys_flag.unwrap_or(0),
        attributes: existing.as_ref().map(|topic| topic.config.attributes.clone()).unwrap_or_default(),
        name: existing.map_or(header.topic, |topic| topic.name().to_owned()),
    };
    let promise = call.shared().broker.put_topic(config)?;
    call.reactor.appended();
    Ok(Outcome::Promised(promise.map(|_| Reply::ok())))
}

/// DELETE_TOPIC_IN_BROKER (215). A topic that is not there needs no deletion.
pub(crate) fn delete(call: &Call<'_>) -> Result<Outcome, Reply> {
    let topic = topic_of(call)?;
    if names::is_system_topic(&topic) || call.shared().broker.is_system_topic(&topic) {
        return Err(invalid(format!("The topic[{topic}] is conflict with system topic.")));
    }
    let found = call.shared().topic(&topic);
    let number = found.as_ref().map(|topic| topic.number);
    match call.shared().broker.delete_topic(found.as_ref().map_or(&topic, |topic| topic.name())) {
        Ok(promise) => {
            call.reactor.appended();
            call.shared().metrics.forget_pulled(|queue, _| Some(queue.topic) == number);
            Ok(Outcome::Promised(promise.map(|()| Reply::ok())))
        }
        Err(braid_broker::Error::NoTopic(_)) => Ok(Reply::ok().into()),
        Err(other) => Err(other.into()),
    }
}

fn bean(config: &TopicConfig) -> body::TopicConfig {
    body::TopicConfig {
        attributes: config.attributes.clone(),
        order: config.order,
        perm: perm(config),
        read_queue_nums: config.read_queues as i32,
        topic_name: names::shown(&config.name).into_owned(),
        topic_sys_flag: config.sys_flag,
        write_queue_nums: config.write_queues as i32,
        ..body::TopicConfig::default()
    }
}

/// GET_ALL_TOPIC_CONFIG (21).
pub(crate) fn all(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::GetAllTopicConfig::from_ext_fields(&call.command.ext_fields)?;
    let broker = &call.shared().broker;
    let topics = broker.topics();
    let total_topic_num = topics.len() as i32;
    let topic_config_table = page(topics, header.topic_seq, header.max_topic_num)
        .into_iter()
        .filter_map(|topic| Some((names::listed(topic.name())?.into_owned(), bean(&topic.config))))
        .collect();
    let table = TopicConfigTable {
        data_version: data_version(broker.topics_version()),
        mapping_data_version: Some(body::DataVersion::default()),
        topic_config_table,
        ..TopicConfigTable::default()
    };
    let fields = header::GetAllTopicConfigResponse { total_topic_num }.to_ext_fields();
    Ok(Reply::body(table.encode()).with_fields(fields).into())
}

/// GET_TOPIC_CONFIG (351).
pub(crate) fn one(call: &Call<'_>) -> Result<Outcome, Reply> {
    let topic = topic_of(call)?;
    let found = call.shared().topic(&topic).ok_or_else(|| {
        Reply::error(response::TOPIC_NOT_EXIST, format!("No topic in this broker. topic: {topic}"))
    })?;
    Ok(Reply::body(bean(&found.config).encode()).into())
}

/// GET_TOPIC_STATS_INFO (202): the offsets of each queue and when its last message came.
pub(crate) fn statistics(call: &Call<'_>) -> Result<Outcome, Reply> {
    let topic = topic_of(call)?;
    let shared = call.shared();
    let found = shared.topic(&topic).ok_or_else(|| error::no_topic(&topic))?;
    let broker_name = shared.options.broker_name.clone();
    let (_, rates) = shared.broker.stored_in(found.name());
    let store = shared.store.clone();
    let table = call.reactor.ask_disk(move || {
        let queues = found.config.read_queues.max(found.config.write_queues);
        let mut offset_table = BTreeMap::new();
        for queue_id in 0..queues {
            let queue = found.queue(queue_id);
            let offsets = store.offsets(queue).unwrap_or_default();
            let last = match offsets.max.checked_sub(1) {
                Some(last) => store.store_time(queue, last)?,
                None => None,
            };
            let key = MessageQueue {
                broker_name: broker_name.clone(),
                queue_id: queue_id as i32,
                topic: topic.clone(),
            };
            let value = TopicOffset {
                last_update_timestamp: last.unwrap_or(0),
                max_offset: offsets.max as i64,
                min_offset: offsets.min as i64,
            };
            offset_table.insert(key, value);
        }
        Ok(TopicStatsTable { offset_table, topic_put_tps: rates.last_10s })
    });
    Ok(Outcome::wait(async move {
        let table: Result<TopicStatsTable, braid_store::StoreError> = table.await?;
        Ok(Reply::body(table.map_err(braid_broker::Error::from)?.encode()).into())
    }))
}

/// QUERY_TOPIC_CONSUME_BY_WHO (300).
pub(crate) fn groups(call: &Call<'_>) -> Result<Outcome, Reply> {
    let (broker, topic) = (&call.shared().broker, topic_of(call)?);
    let mut group_list = broker.groups_of_topic(&topic);
    // Groups subscribe to the alias; their cursors are the topic's.
    if let Some(inside) = names::of_alias(&topic) {
        group_list.extend(broker.groups_of_topic(&inside));
        group_list.sort_unstable();
        group_list.dedup();
    }
    Ok(Reply::body(GroupList { group_list }.encode()).into())
}
