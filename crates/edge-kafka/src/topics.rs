//! Topics and partitions as the data plane's requests name them.

use std::sync::Arc;

use braid_broker::Topic;
use braid_store::QueueKey;
use braid_wire_kafka::error_code;
use braid_wire_kafka::produce::TopicRef;

use crate::names;
use crate::shared::Shared;

/// The version of Produce from which topics are named by id.
pub(crate) const PRODUCE_BY_ID: i16 = 13;

/// The topic that a request means.
///
/// # Errors
/// Kafka's code.
pub(crate) fn find(shared: &Shared, topic: TopicRef<'_>) -> Result<Arc<Topic>, i16> {
    match topic {
        TopicRef::Name(name) => {
            names::topic(&shared.broker, name).ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)
        }
        TopicRef::Id(id) => names::topic_with_id(&shared.broker, id).ok_or(error_code::UNKNOWN_TOPIC_ID),
    }
}

/// A partition's queue.
///
/// # Errors
/// Kafka's code.
pub(crate) fn queue(topic: &Topic, partition: i32) -> Result<QueueKey, i16> {
    u32::try_from(partition)
        .ok()
        .filter(|&queue_id| queue_id < topic.config.queues())
        .map(|queue_id| topic.queue(queue_id))
        .ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Refuses a client that knows another leader.
///
/// # Errors
/// Kafka's code.
pub(crate) fn check_epoch(shared: &Shared, epoch: i32) -> Result<(), i16> {
    let ours = shared.leader_epoch();
    match epoch {
        _ if epoch < 0 || epoch == ours => Ok(()),
        _ if epoch < ours => Err(error_code::FENCED_LEADER_EPOCH),
        _ => Err(error_code::UNKNOWN_LEADER_EPOCH),
    }
}

/// The first offset that can be read.
pub(crate) fn start_offset(shared: &Shared, queue: QueueKey) -> i64 {
    shared.store.offsets(queue).map_or(0, |offsets| offsets.min as i64)
}
