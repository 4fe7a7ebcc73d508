//! Queue locks: one member of a group reads a queue in order, as long as it renews its lock.
//!
//! Locks are memory only, as in RocketMQ: after a restart each member locks anew.

use std::collections::HashMap;
use std::sync::Mutex;

use braid_store::QueueKey;

use crate::broker::Broker;
use crate::sync::lock;

/// Who holds what, by group.
#[derive(Debug, Default)]
pub(crate) struct QueueLocks {
    groups: Mutex<HashMap<String, HashMap<QueueKey, Held>>>,
}

#[derive(Debug)]
struct Held {
    client_id: String,
    /// Monotonic milliseconds from which anybody may take it.
    until_ms: u64,
}

impl QueueLocks {
    fn take(
        &self,
        group: &str,
        client_id: &str,
        queues: &[QueueKey],
        now_ms: u64,
        life_ms: u64,
    ) -> Vec<QueueKey> {
        let mut groups = lock(&self.groups);
        let held = groups.entry(group.to_owned()).or_default();
        let free_or_own = |held: Option<&Held>| {
            held.is_none_or(|held| held.client_id == client_id || held.until_ms <= now_ms)
        };
        let mut taken = Vec::with_capacity(queues.len());
        for &queue in queues {
            if free_or_own(held.get(&queue)) {
                held.insert(queue, Held { client_id: client_id.to_owned(), until_ms: now_ms + life_ms });
                taken.push(queue);
            }
        }
        taken
    }

    fn give_back(&self, group: &str, client_id: &str, queues: &[QueueKey]) {
        let mut groups = lock(&self.groups);
        let Some(held) = groups.get_mut(group) else { return };
        held.retain(|queue, held| held.client_id != client_id || !queues.contains(queue));
        if held.is_empty() {
            groups.remove(group);
        }
    }

    fn owner(&self, group: &str, queue: QueueKey, now_ms: u64) -> Option<String> {
        let groups = lock(&self.groups);
        groups
            .get(group)?
            .get(&queue)
            .filter(|held| held.until_ms > now_ms)
            .map(|held| held.client_id.clone())
    }

    fn any_live(&self, group: &str, now_ms: u64) -> bool {
        lock(&self.groups).get(group).is_some_and(|held| held.values().any(|held| held.until_ms > now_ms))
    }

    /// Forgets locks that nobody renewed.
    pub(crate) fn expire(&self, now_ms: u64) {
        lock(&self.groups).retain(|_, held| {
            held.retain(|_, held| held.until_ms > now_ms);
            !held.is_empty()
        });
    }
}

impl Broker {
    /// Locks queues for a member, or renews its locks; gives those that it holds now. A lock lives
    /// [`lock_life_ms`](crate::BrokerOptions::lock_life_ms) from here.
    pub fn lock_queues(&self, group: &str, client_id: &str, queues: &[QueueKey]) -> Vec<QueueKey> {
        self.locks.take(group, client_id, queues, self.clock.monotonic_ms(), self.options.lock_life_ms)
    }

    /// Gives locks back; those that the member does not hold are left alone.
    pub fn unlock_queues(&self, group: &str, client_id: &str, queues: &[QueueKey]) {
        self.locks.give_back(group, client_id, queues);
    }

    /// The member that holds a queue now.
    pub fn lock_owner(&self, group: &str, queue: QueueKey) -> Option<String> {
        self.locks.owner(group, queue, self.clock.monotonic_ms())
    }

    /// True when any queue of the group is locked now.
    pub fn has_live_locks(&self, group: &str) -> bool {
        self.locks.any_live(group, self.clock.monotonic_ms())
    }
}

#[cfg(test)]
mod tests {
    use braid_store::TopicNumber;

    use super::*;

    fn queue(queue_id: u32) -> QueueKey {
        QueueKey { topic: TopicNumber(3), queue_id }
    }

    #[test]
    fn a_queue_has_one_owner_until_its_lock_is_old() {
        let locks = QueueLocks::default();
        let both = [queue(0), queue(1)];
        assert_eq!(locks.take("g", "a", &both[..1], 0, 60), [queue(0)]);
        assert_eq!(
            locks.take("g", "b", &both, 59, 60),
            [queue(1)],
            "a holds queue 0 to the last millisecond"
        );
        assert_eq!(locks.take("other", "b", &both, 59, 60), both, "groups do not share locks");
        assert_eq!(locks.owner("g", queue(0), 59).as_deref(), Some("a"));
        assert_eq!(locks.owner("g", queue(0), 60), None);
        assert_eq!(locks.take("g", "b", &both, 60, 60), both);
        assert_eq!(locks.take("g", "a", &both, 61, 60), []);
    }

    #[test]
    fn a_renewed_lock_lives_on_and_a_returned_one_is_free() {
        let locks = QueueLocks::default();
        locks.take("g", "a", &[queue(0)], 0, 60);
        assert_eq!(locks.take("g", "a", &[queue(0)], 40, 60), [queue(0)]);
        assert_eq!(locks.take("g", "b", &[queue(0)], 99, 60), []);
        locks.give_back("g", "b", &[queue(0)]);
        assert!(locks.any_live("g", 99), "only its owner gives a lock back");
        locks.give_back("g", "a", &[queue(0)]);
        assert!(!locks.any_live("g", 99));
        locks.take("g", "a", &[queue(0)], 100, 60);
        assert!(locks.any_live("g", 159));
        locks.expire(160);
        assert!(lock(&locks.groups).is_empty(), "nothing is kept for groups without locks");
    }
}
