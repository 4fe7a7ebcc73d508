//! INVOKE_BROKER_TO_RESET_OFFSET (222): a group's cursors are set to a time or an offset.
//!
//! The cursor is kept by the broker, and the group's next pull is answered "the offset moved" with the new place. Pulls that
//! wait are answered so at once; commits from the old place are ignored until then. Clients before 5.0, whose brokers told
//! them, are told as well (220).

use std::rc::Rc;
use std::sync::Arc;

use braid_broker::{Broker, Member, Topic};
use braid_store::{Boundary, Store};
use braid_wire_rocketmq::Language;
use braid_wire_rocketmq::body::{
    Body, MessageQueue, MessageQueueOffset, ResetOffsetBody, ResetOffsetBodyForC,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::command::{Command, FLAG_ONEWAY};
use braid_wire_rocketmq::header;

use crate::clients::EdgeChannel;

use crate::dispatch::Call;
use crate::error;
use crate::reactor::Mail;
use crate::reply::{Outcome, Reply};

/// Clients from here on (V3_0_7_SNAPSHOT) can be told of a reset.
const VERSION_TOLD: i32 = 28;
/// Clients from here on (V5_0_0) follow a pull's answer at once, and their brokers tell them nothing else.
const VERSION_FOLLOWS: i32 = 413;

/// See the module. Looking a time up may wait for the disk.
pub(crate) fn reset(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::ResetOffset::from_ext_fields(&call.command.ext_fields)?;
    let shared = call.shared();
    let topic = shared.topic(&header.topic).ok_or_else(|| error::no_topic(&header.topic))?;
    let broker = &shared.broker;
    if broker.group(&header.group).is_none() && broker.classic_group(&header.group).is_none() {
        return Err(error::no_group(&header.group));
    }
    error::check_cursors_are_ours(&shared.broker, &header.group)?;
    let queue_ids = match header.queue_id {
        None => 0..topic.config.read_queues,
        Some(queue_id) if queue_id < 0 => 0..topic.config.read_queues,
        Some(queue_id) if (queue_id as u32) < topic.config.read_queues => {
            queue_id as u32..queue_id as u32 + 1
        }
        Some(queue_id) => {
            return Err(Reply::error(
                response::INVALID_PARAMETER,
                format!(
                    "queueId[{queue_id}] is illegal, topic[{}] has {} queues",
                    header.topic, topic.config.read_queues
                ),
            ));
        }
    };
    let (store, broker) = (shared.store.clone(), Arc::clone(&shared.broker));
    let (group, wanted) = (header.group.clone(), Arc::clone(&topic));
    let notice = header.to_ext_fields();
    let force = header.is_force;
    let offset = header.offset.filter(|_| header.queue_id.is_some_and(|queue_id| queue_id >= 0));
    let places = call.reactor.ask_disk(move || {
        queue_ids
            .filter_map(|queue_id| {
                place(&store, &wanted, queue_id, header.timestamp, offset)
                    .map(|place| {
                        let cursor = broker.cursor(&group, wanted.queue(queue_id));
                        let forward = cursor.is_some_and(|cursor| place > cursor);
                        (force || !forward).then_some((queue_id, place))
                    })
                    .transpose()
            })
            .collect::<Result<Vec<_>, Reply>>()
    });
    let reactor = Rc::clone(call.reactor);
    let group = header.group;
    Ok(Outcome::wait(async move {
        let places = places.await??;
        let shared = &reactor.shared;
        // They may have come while the disk was asked.
        error::check_cursors_are_ours(&shared.broker, &group)?;
        let table = body(&shared.options.broker_name, &topic, &places);
        let reply = Reply::body(table.encode());
        let promise = set(&shared.broker, &group, &topic, &places)?;
        reactor.appended();
        for other in &shared.reactors {
            let queues = places.iter().map(|(queue_id, _)| topic.queue(*queue_id)).collect();
            let _ = other.post(Mail::Recheck(group.clone(), queues));
        }
        let members = shared.broker.members(&group).map(|group| group.members).unwrap_or_default();
        members.iter().for_each(|member| tell(member, &notice, &table));
        Ok(match promise {
            Some(promise) => Outcome::Promised(promise.map(|()| reply)),
            None => reply.into(),
        })
    }))
}

/// Where one queue's cursor goes.
fn place(
    store: &Store,
    topic: &Topic,
    queue_id: u32,
    timestamp: i64,
    offset: Option<i64>,
) -> Result<u64, Reply> {
    let queue = topic.queue(queue_id);
    let offsets = store.offsets(queue).unwrap_or_default();
    match offset {
        Some(offset) if offset >= 0 => {
            let offset = offset as u64;
            if (offsets.min..=offsets.max).contains(&offset) {
                Ok(offset)
            } else {
                Err(Reply::error(
                    response::INVALID_PARAMETER,
                    format!(
                        "Target offset {offset} not in consume queue range [{}-{}]",
                        offsets.min, offsets.max
                    ),
                ))
            }
        }
        _ if timestamp < 0 => Ok(offsets.max),
        _ => Ok(store
            .offset_at(queue, timestamp, Boundary::FirstAtOrAfter)
            .map_err(braid_broker::Error::from)?),
    }
}

/// Sets the cursors; the last promise stands for all, being the last append.
fn set(
    broker: &Broker,
    group: &str,
    topic: &Topic,
    places: &[(u32, u64)],
) -> Result<Option<braid_store::Promise<()>>, Reply> {
    let mut last = None;
    for (queue_id, offset) in places {
        last = Some(broker.reset_cursor(group, topic.queue(*queue_id), *offset)?);
    }
    Ok(last)
}

/// RESET_CONSUMER_CLIENT_OFFSET (220) to one client, in the form that its language reads.
fn tell(member: &Member, notice: &braid_wire_rocketmq::ExtFields, table: &ResetOffsetBody) {
    let client = &member.client;
    let Some(channel) = client.channel.as_any().downcast_ref::<EdgeChannel>() else { return };
    if !(VERSION_TOLD..VERSION_FOLLOWS).contains(&client.version) {
        return;
    }
    let body = if client.language == Language::Cpp.code() { for_c(table).encode() } else { table.encode() };
    channel.push(&Command {
        flag: FLAG_ONEWAY,
        ext_fields: notice.clone(),
        body,
        ..Command::request(request::RESET_CONSUMER_CLIENT_OFFSET)
    });
}

fn for_c(table: &ResetOffsetBody) -> ResetOffsetBodyForC {
    let entry = |(queue, &offset): (&MessageQueue, &i64)| MessageQueueOffset {
        broker_name: queue.broker_name.clone(),
        offset,
        queue_id: queue.queue_id,
        topic: queue.topic.clone(),
    };
    ResetOffsetBodyForC { offset_table: table.offset_table.iter().map(entry).collect() }
}

fn body(broker_name: &str, topic: &Topic, places: &[(u32, u64)]) -> ResetOffsetBody {
    let entry = |(queue_id, offset): &(u32, u64)| {
        let queue = MessageQueue {
            broker_name: broker_name.to_owned(),
            queue_id: *queue_id as i32,
            topic: topic.name().to_owned(),
        };
        (queue, *offset as i64)
    };
    ResetOffsetBody { offset_table: places.iter().map(entry).collect() }
}
