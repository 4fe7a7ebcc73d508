//! Cursors (14, 15) and the offsets of queues (29 to 32).

use std::sync::Arc;

use braid_broker::Topic;
use braid_store::{Boundary, QueueKey};
use braid_wire_rocketmq::ExtFields;
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header;

use crate::dispatch::Call;
use crate::error;
use crate::reply::{Outcome, Reply};

/// The queue that a request names; it must be one that readers see.
fn queue(call: &Call<'_>, topic: &str, queue_id: i32) -> Result<(Arc<Topic>, QueueKey), Reply> {
    let found = call.shared().topic(topic).ok_or_else(|| error::no_topic(topic))?;
    let queues = found.config.read_queues.max(found.config.write_queues);
    match u32::try_from(queue_id) {
        Ok(queue_id) if queue_id < queues => {
            let queue = found.queue(queue_id);
            Ok((found, queue))
        }
        _ => Err(Reply::error(
            response::INVALID_PARAMETER,
            format!("queueId[{queue_id}] is illegal, topic[{topic}] has {queues} queues"),
        )),
    }
}

fn offset(offset: u64) -> Reply {
    Reply::fields(header::OffsetResponse { offset: offset as i64 }.to_ext_fields())
}

fn fields<'a>(call: &Call<'a>) -> &'a ExtFields {
    &call.command.ext_fields
}

/// QUERY_CONSUMER_OFFSET (14). A group without cursor begins at 0 in a queue whose first message is still there, whatever
/// the client's own rule says: so Apache does it, and clients apply their rule only when there is no answer (22).
pub(crate) fn cursor(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::QueryConsumerOffset::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    if let Some(cursor) = call.shared().broker.cursor(&header.consumer_group, queue) {
        return Ok(offset(cursor).into());
    }
    let young = call.shared().store.offsets(queue).is_some_and(|offsets| offsets.min == 0 && offsets.max > 0);
    if young && header.set_zero_if_not_found != Some(false) {
        return Ok(offset(0).into());
    }
    Err(Reply::error(
        response::QUERY_NOT_FOUND,
        "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
    ))
}

/// UPDATE_CONSUMER_OFFSET (15). A request is answered when the cursor is durable; one-way, it is within half a second.
pub(crate) fn commit(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::UpdateConsumerOffset::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    let Ok(commit_offset) = u64::try_from(header.commit_offset) else {
        return Err(Reply::system_error(format!("the offset {} is negative", header.commit_offset)));
    };
    let broker = &call.shared().broker;
    let durable = !call.command.is_oneway();
    if let Err(refusal) = error::check_cursors_are_ours(broker, &header.consumer_group) {
        let (group, topic, offset) = (&header.consumer_group, &header.topic, commit_offset);
        tracing::info!(
            group,
            topic,
            offset,
            "a commit to a group with members of another protocol is dropped"
        );
        return Err(refusal);
    }
    match broker.commit(&header.consumer_group, queue, commit_offset, durable)? {
        Some(promise) => {
            call.reactor.appended();
            Ok(Outcome::Promised(promise.map(|()| Reply::ok())))
        }
        None if broker.has_reset(&header.consumer_group, queue) => {
            Ok(Reply { remark: Some("Offset has been previously reset".into()), ..Reply::ok() }.into())
        }
        None => Ok(Reply::ok().into()),
    }
}

/// SEARCH_OFFSET_BY_TIMESTAMP (29).
pub(crate) fn at_time(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::SearchOffset::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    let upper = header.boundary_type.is_some_and(|boundary| boundary.eq_ignore_ascii_case("upper"));
    let boundary = if upper { Boundary::LastAtOrBefore } else { Boundary::FirstAtOrAfter };
    let store = call.shared().store.clone();
    let found = call.reactor.ask_disk(move || store.offset_at(queue, header.timestamp, boundary));
    Ok(Outcome::wait(async move {
        let found = found.await?.map_err(braid_broker::Error::from)?;
        Ok(offset(found).into())
    }))
}

/// GET_MAX_OFFSET (30): the offset that the queue's next message gets.
pub(crate) fn max(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::GetMaxOffset::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    Ok(offset(call.shared().store.offsets(queue).unwrap_or_default().max).into())
}

/// GET_MIN_OFFSET (31): the offset of the queue's first message.
pub(crate) fn min(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::TopicQueue::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    Ok(offset(call.shared().store.offsets(queue).unwrap_or_default().min).into())
}

/// GET_EARLIEST_MSG_STORETIME (32): -1 when the queue has no message.
pub(crate) fn earliest_time(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::TopicQueue::from_ext_fields(fields(call))?;
    let (_, queue) = queue(call, &header.topic, header.queue_id)?;
    let store = call.shared().store.clone();
    let found = call.reactor.ask_disk(move || {
        let offsets = store.offsets(queue).unwrap_or_default();
        store.store_time(queue, offsets.min)
    });
    Ok(Outcome::wait(async move {
        let timestamp = found.await?.map_err(braid_broker::Error::from)?.unwrap_or(-1);
        Ok(Reply::fields(header::TimestampResponse { timestamp }.to_ext_fields()).into())
    }))
}
