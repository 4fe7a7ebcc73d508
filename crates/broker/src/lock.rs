//! Queue locks: one member of a group reads a queue in order, as long as it renews its lock.

use braid_store::QueueKey;

use crate::broker::Broker;

impl Broker {
    /// Locks queues for a member, or renews its locks; gives those that it holds now. A lock lives
    /// [`lock_life_ms`](crate::BrokerOptions::lock_life_ms) from here.
    pub fn lock_queues(&self, _group: &str, _client_id: &str, _queues: &[QueueKey]) -> Vec<QueueKey> {
        unimplemented!()
    }

    /// Gives locks back; those that the member does not hold are left alone.
    pub fn unlock_queues(&self, _group: &str, _client_id: &str, _queues: &[QueueKey]) {
        unimplemented!()
    }

    /// The member that holds a queue now.
    pub fn lock_owner(&self, _group: &str, _queue: QueueKey) -> Option<String> {
        unimplemented!()
    }

    /// True when any queue of the group is locked now.
    pub fn has_live_locks(&self, _group: &str) -> bool {
        unimplemented!()
    }
}
