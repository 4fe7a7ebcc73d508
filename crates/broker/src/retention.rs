//! Retention by topic: moving the starts of queues whose topic has limits of its own, and deleting records on request.
//!
//! The store deletes whole log files by their age. A topic that keeps its messages longer, shorter, or up to a size is
//! named to it: files stay while a queue of such a topic begins in them, and here is who moves where they begin.

use std::collections::{HashMap, HashSet, VecDeque};

use braid_store::{Boundary, Promise, QueueKey, QueueOffsets, TopicNumber};

use crate::broker::Broker;
use crate::error::Error;
use crate::limits::Bound;
use crate::sync::lock;
use crate::topic::Topic;

/// Queues that one turn looks at; each may read the disk a few times, and the broker's thread has other work.
const QUEUES_PER_TURN: usize = 64;

/// Where a round over the queues stands. Owned by the broker's thread.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// Queues that this round has still to look at.
    left: VecDeque<QueueKey>,
    /// When a queue's first record comes of age, in wall milliseconds; it is not looked at by time before.
    of_age_ms: HashMap<QueueKey, i64>,
}

impl Broker {
    /// Deletes the records of a queue below `offset`, at most up to its visible end. The promise gives the queue's first
    /// offset, which never goes back.
    ///
    /// # Errors
    /// `NoQueue`, `OffsetOutOfRange` above the visible end, `NoTopic`, or why nothing could be appended.
    pub fn delete_records(&self, topic: &Topic, queue_id: u32, offset: u64) -> Result<Promise<u64>, Error> {
        let queues = topic.config.queues();
        if queue_id >= queues {
            return Err(Error::NoQueue { topic: topic.name().to_owned(), queue_id, queues });
        }
        let queue = topic.queue(queue_id);
        let max = self.store.offsets(queue).map_or(0, |offsets| offsets.max);
        if offset > max {
            return Err(Error::OffsetOutOfRange { offset, max });
        }
        Ok(self.store.cut_queue(queue, offset)?)
    }

    /// Tells the store that a topic came, changed or is gone.
    pub(crate) fn pin_if_limited(&self, topic: &Topic) {
        self.store.pin_topic(topic.number, topic.limits.has_own_retention());
    }

    /// Begins a round over the queues of topics with limits of their own, unless one is going on.
    pub(crate) fn begin_retention(&self) {
        let mut keeper = lock(&self.keeper);
        if !keeper.left.is_empty() {
            return;
        }
        let topics = self.topics();
        let limited: HashSet<TopicNumber> = topics
            .iter()
            .filter(|topic| topic.limits.has_own_retention())
            .map(|topic| topic.number)
            .collect();
        if limited.is_empty() {
            *keeper = Keeper::default();
            return;
        }
        let queues = self.store.queues_of(|topic| limited.contains(&topic)).into_iter();
        keeper.left =
            queues.filter(|(_, QueueOffsets { min, max })| min < max).map(|(queue, _)| queue).collect();
        let known: HashSet<QueueKey> = keeper.left.iter().copied().collect();
        keeper.of_age_ms.retain(|queue, _| known.contains(queue));
    }

    /// Goes on with a round; gives true when there is more to do.
    ///
    /// # Errors
    /// Of the queue that it ended at, which is looked at again in the next round.
    pub(crate) fn go_on_with_retention(&self, wall_ms: i64) -> Result<bool, Error> {
        let mut keeper = lock(&self.keeper);
        for _ in 0..QUEUES_PER_TURN {
            let Some(queue) = keeper.left.pop_front() else { return Ok(false) };
            // What is gone meanwhile needs no cut.
            let Some(topic) = self.topic_numbered(queue.topic) else { continue };
            self.cut_by_limits(&mut keeper, &topic, queue, wall_ms)?;
        }
        Ok(!keeper.left.is_empty())
    }

    fn cut_by_limits(
        &self,
        keeper: &mut Keeper,
        topic: &Topic,
        queue: QueueKey,
        wall_ms: i64,
    ) -> Result<(), Error> {
        let Some(QueueOffsets { min, .. }) = self.store.offsets(queue) else { return Ok(()) };
        let mut start = min;
        if let Some(Bound::UpTo(bytes_max)) = topic.limits.retention_bytes {
            start = start.max(self.store.offset_of_size(queue, bytes_max)?);
        }
        if let Some(keep_ms) = self.keep_ms(topic) {
            start = start.max(self.start_by_age(keeper, queue, min, wall_ms.saturating_sub(keep_ms))?);
        }
        if start > min {
            tracing::debug!(
                topic = topic.name(),
                queue_id = queue.queue_id,
                min,
                start,
                "retention moves a start"
            );
            // Nobody waits for it: a cut that a crash takes is made again.
            drop(self.store.cut_queue(queue, start)?);
        }
        Ok(())
    }

    /// Milliseconds for which a topic with limits of its own keeps its messages; `None` without end. One that only
    /// limits its size keeps them as long as the log its files.
    fn keep_ms(&self, topic: &Topic) -> Option<i64> {
        match topic.limits.retention_ms {
            Some(Bound::UpTo(ms)) => Some(i64::try_from(ms).unwrap_or(i64::MAX)),
            Some(Bound::None) => None,
            None => Some(self.store.keep_ms()),
        }
    }

    /// The first offset that was stored at `since_ms` or later.
    fn start_by_age(
        &self,
        keeper: &mut Keeper,
        queue: QueueKey,
        min: u64,
        since_ms: i64,
    ) -> Result<u64, Error> {
        if keeper.of_age_ms.get(&queue).is_some_and(|&first_ms| first_ms >= since_ms) {
            return Ok(min);
        }
        let start = self.store.offset_at(queue, since_ms, Boundary::FirstAtOrAfter)?;
        // Store times never go back along a queue, so until the first record that is left is too old, none is.
        match self.store.store_time(queue, start)? {
            Some(first_ms) => keeper.of_age_ms.insert(queue, first_ms),
            None => keeper.of_age_ms.remove(&queue),
        };
        Ok(start)
    }
}
