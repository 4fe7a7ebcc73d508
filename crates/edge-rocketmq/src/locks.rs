//! Queue locks of orderly consumers (41, 42).

use braid_store::QueueKey;
use braid_wire_rocketmq::body::{Body, LockBatch, LockedBatch, MessageQueue};

use crate::dispatch::Call;
use crate::reply::{Outcome, Reply};

/// The queues of a request that are ours, with their keys.
fn ours(call: &Call<'_>, queues: Vec<MessageQueue>) -> Vec<(MessageQueue, QueueKey)> {
    let shared = call.shared();
    let key = |queue: MessageQueue| {
        let topic = shared.topic(&queue.topic)?;
        let queue_id = u32::try_from(queue.queue_id).ok()?;
        let there = queue.broker_name == shared.options.broker_name && queue_id < topic.config.read_queues;
        there.then(|| (queue, topic.queue(queue_id)))
    };
    queues.into_iter().filter_map(key).collect()
}

/// LOCK_BATCH_MQ (41): answers with those queues that the client holds now; none is no error.
pub(crate) fn lock(call: &Call<'_>) -> Result<Outcome, Reply> {
    let request = LockBatch::decode(&call.command.body)?;
    call.shared().broker.check_no_classic_members(&request.consumer_group)?;
    let queues = ours(call, request.mq_set);
    let keys: Vec<QueueKey> = queues.iter().map(|(_, key)| *key).collect();
    let held = call.shared().broker.lock_queues(&request.consumer_group, &request.client_id, &keys);
    let lock_ok_mq_set =
        queues.into_iter().filter(|(_, key)| held.contains(key)).map(|(queue, _)| queue).collect();
    Ok(Reply::body(LockedBatch { lock_ok_mq_set }.encode()).into())
}

/// UNLOCK_BATCH_MQ (42).
pub(crate) fn unlock(call: &Call<'_>) -> Result<Outcome, Reply> {
    let request = LockBatch::decode(&call.command.body)?;
    let keys: Vec<QueueKey> = ours(call, request.mq_set).into_iter().map(|(_, key)| key).collect();
    call.shared().broker.unlock_queues(&request.consumer_group, &request.client_id, &keys);
    Ok(Reply::ok().into())
}
