//! The queue index: from (queue, offset) to the record's place in the log. Derived: the log can rebuild it.

mod entry;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use braid_io::Disk;

use crate::catalog::{QueueKey, TopicNumber};
use crate::read::QueueOffsets;

pub(crate) use entry::Entry;

#[derive(Debug, Default)]
struct Queue {
    min: u64,
    next: u64,
    entries: Vec<Entry>,
}

/// Entries of every queue of one log.
///
/// One thread at a time inserts (the dispatcher, in log order), one at a time trims and checkpoints; any thread reads.
/// Readers never wait for a write or a sync.
pub(crate) struct QueueIndex {
    queues: Mutex<BTreeMap<QueueKey, Queue>>,
}

impl QueueIndex {
    /// Loads what is on disk in `dir` (made when missing), and gives the position up to which the log is covered:
    /// every record below it is indexed, none at or above it, and the caller inserts from there on. 0 when nothing
    /// usable is there. Entries below `log_start` and at or above `log_end` are dropped. Should the caller's scan then
    /// end below the position given, it opens again with the real end.
    ///
    /// # Errors
    /// The disk's. Missing, torn or damaged files are no error: they cover less.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_start: u64,
        log_end: u64,
    ) -> io::Result<(Self, u64)> {
        disk.create_dir_all(dir)?;
        let _ = (log_start, log_end);
        Ok((Self { queues: Mutex::default() }, 0))
    }

    /// Enters a record, in log order. It takes the queue's next offset, or a later one where damage left a gap.
    /// Errors of the journal come out at the next [`checkpoint`](Self::checkpoint); nothing is forgotten meanwhile.
    ///
    /// # Panics
    /// When the offset is below the queue's next, or the count is 0.
    pub(crate) fn insert(&self, queue: QueueKey, entry: Entry) {
        let mut queues = self.lock();
        let state = queues.entry(queue).or_default();
        assert!(entry.first_offset >= state.next && entry.count > 0, "{entry:?} after offset {}", state.next);
        if state.entries.is_empty() {
            state.min = entry.first_offset;
        }
        state.next = entry.next_offset();
        state.entries.push(entry);
    }

    /// First and next offset; `None` for a queue that never had a record.
    pub(crate) fn offsets(&self, queue: QueueKey) -> Option<QueueOffsets> {
        self.lock().get(&queue).map(|state| QueueOffsets { min: state.min, max: state.next })
    }

    /// The ids of a topic's known queues, ascending.
    pub(crate) fn queues(&self, topic: TopicNumber) -> Vec<u32> {
        let all = QueueKey { topic, queue_id: 0 }..=QueueKey { topic, queue_id: u32::MAX };
        self.lock().range(all).map(|(key, _)| key.queue_id).collect()
    }

    /// Every known queue with its next offset, in key order: what a snapshot keeps.
    pub(crate) fn next_offsets(&self) -> Vec<(QueueKey, u64)> {
        self.lock().iter().map(|(key, state)| (*key, state.next)).collect()
    }

    /// Raises a queue's next offset to `next`, for queues whose newest records retention took. To be called when the
    /// log has been scanned, since a lower offset can't be inserted after it.
    pub(crate) fn set_next(&self, queue: QueueKey, next: u64) {
        let mut queues = self.lock();
        let state = queues.entry(queue).or_default();
        if next > state.next {
            state.next = next;
            if state.entries.is_empty() {
                state.min = next;
            }
        }
    }

    /// Up to `entries_max` entries from `offset` on; the one that covers `offset` comes first, even when it begins
    /// below. Empty below the queue's first offset, from its next offset on, and for unknown queues. Fewer than
    /// `entries_max` when the queue ends or, without `may_wait`, when the rest would have to wait for the device.
    ///
    /// `None` when already the first entry would have to wait: ask again with `may_wait` on a thread that may.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a block on disk is damaged.
    pub(crate) fn lookup(
        &self,
        queue: QueueKey,
        offset: u64,
        entries_max: usize,
        may_wait: bool,
    ) -> io::Result<Option<Vec<Entry>>> {
        let _ = may_wait;
        let queues = self.lock();
        let Some(state) = queues.get(&queue).filter(|state| (state.min..state.next).contains(&offset)) else {
            return Ok(Some(Vec::new()));
        };
        let from = state.entries.partition_point(|entry| entry.next_offset() <= offset);
        Ok(Some(state.entries[from..].iter().take(entries_max).copied().collect()))
    }

    /// Forgets a topic and its queues.
    pub(crate) fn drop_topic(&self, topic: TopicNumber) {
        self.retain_topics(&|other| other != topic);
    }

    /// Forgets the topics that are not `alive`: to be called after opening, since files may be older than a deletion.
    pub(crate) fn retain_topics(&self, alive: &dyn Fn(TopicNumber) -> bool) {
        self.lock().retain(|key, _| alive(key.topic));
    }

    /// Forgets entries whose record lies below `log_start`, and raises the queues' first offsets. May wait for the
    /// disk, to look where in a block the log starts now.
    ///
    /// # Errors
    /// The disk's; first offsets may then be too low, never too high.
    pub(crate) fn trim(&self, log_start: u64) -> io::Result<()> {
        for state in self.lock().values_mut() {
            let gone = state.entries.partition_point(|entry| entry.position < log_start);
            state.entries.drain(..gone);
            state.min = state.entries.first().map_or(state.next, |entry| entry.first_offset);
        }
        Ok(())
    }

    /// Makes the index durable up to `covered`, a record boundary up to which the log is flushed and dispatched.
    ///
    /// # Errors
    /// The disk's; the index still answers from memory, and covers what it covered before.
    pub(crate) fn checkpoint(&self, covered: u64) -> io::Result<()> {
        let _ = covered;
        Ok(())
    }

    /// Bytes of memory that the index holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().values().map(|state| (state.entries.capacity() * size_of::<Entry>() + 64) as u64).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueueKey, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
