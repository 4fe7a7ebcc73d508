//! What administrators are shown of the edge itself: how long sends take, and how far groups have read.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use braid_store::QueueKey;

/// The most pairs of queue and group whose reading is remembered.
const PULLED_MAX: usize = 1_000_000;

/// Upper bounds of Apache's classes of send times, in milliseconds, and their names; the last class has no bound.
const CLASSES: [(u64, &str); 13] = [
    (0, "<=0ms"),
    (10, "0~10ms"),
    (50, "10~50ms"),
    (100, "50~100ms"),
    (200, "100~200ms"),
    (500, "200~500ms"),
    (1_000, "500ms~1s"),
    (2_000, "1~2s"),
    (3_000, "2~3s"),
    (4_000, "3~4s"),
    (5_000, "4~5s"),
    (10_000, "5~10s"),
    (u64::MAX, "10s~"),
];

/// See the module. Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    send_classes: [AtomicU64; CLASSES.len()],
    send_ms_max: AtomicU64,
    read_ms_max: AtomicU64,
    reads_missed: AtomicU64,
    sends_failed: AtomicU64,
    pulled: Mutex<Pulled>,
}

/// The offset behind what a group was last given, by queue and group.
#[derive(Debug, Default)]
struct Pulled {
    queues: HashMap<QueueKey, HashMap<String, u64>>,
    pairs: usize,
}

impl Metrics {
    /// A send was answered this long after it was stored in memory.
    pub(crate) fn sent(&self, ms: u64) {
        let class = CLASSES.iter().position(|(bound, _)| ms <= *bound).unwrap_or(CLASSES.len() - 1);
        self.send_classes[class].fetch_add(1, Ordering::Relaxed);
        self.send_ms_max.fetch_max(ms, Ordering::Relaxed);
    }

    /// A send could not be stored.
    pub(crate) fn send_failed(&self) {
        self.sends_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A read took this long.
    pub(crate) fn read(&self, ms: u64) {
        self.read_ms_max.fetch_max(ms, Ordering::Relaxed);
    }

    /// A pull was answered without a message.
    pub(crate) fn read_missed(&self) {
        self.reads_missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reads_missed(&self) -> u64 {
        self.reads_missed.load(Ordering::Relaxed)
    }

    pub(crate) fn sends_failed(&self) -> u64 {
        self.sends_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn send_ms_max(&self) -> u64 {
        self.send_ms_max.load(Ordering::Relaxed)
    }

    pub(crate) fn read_ms_max(&self) -> u64 {
        self.read_ms_max.load(Ordering::Relaxed)
    }

    /// The bound in milliseconds below which this part of all sends was answered; as exact as the classes are.
    pub(crate) fn send_ms_quantile(&self, part: f64) -> u64 {
        let counts: Vec<u64> = self.counts().collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (count, (bound, _)) in counts.iter().zip(CLASSES) {
            seen += count;
            if seen >= wanted {
                return bound.min(self.send_ms_max());
            }
        }
        self.send_ms_max()
    }

    /// How many sends fell into each class, as Apache writes it.
    pub(crate) fn send_distribution(&self) -> String {
        let mut text = String::new();
        for (count, (_, name)) in self.counts().zip(CLASSES) {
            let _ = write!(text, "[{name}]:{count} ");
        }
        text
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.send_classes.iter().map(|count| count.load(Ordering::Relaxed))
    }

    /// A group was given what lies below `offset`.
    pub(crate) fn pulled(&self, group: &str, queue: QueueKey, offset: u64) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        let Pulled { queues, pairs } = &mut *pulled;
        if let Some(known) = queues.get_mut(&queue).and_then(|groups| groups.get_mut(group)) {
            *known = offset;
        } else if *pairs < PULLED_MAX {
            queues.entry(queue).or_default().insert(group.to_owned(), offset);
            *pairs += 1;
        }
    }

    /// The offset behind what a group was last given of a queue.
    pub(crate) fn pull_offset(&self, group: &str, queue: QueueKey) -> Option<u64> {
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.queues.get(&queue)?.get(group).copied()
    }

    /// Forgets queues of a topic that was deleted, or what a group read that was.
    pub(crate) fn forget_pulled(&self, gone: impl Fn(QueueKey, &str) -> bool) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.queues.retain(|queue, groups| {
            groups.retain(|group, _| !gone(*queue, group));
            !groups.is_empty()
        });
        pulled.pairs = pulled.queues.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use braid_store::TopicNumber;

    use super::*;

    #[test]
    fn send_times_fall_into_classes() {
        let metrics = Metrics::default();
        assert_eq!(metrics.send_ms_quantile(0.99), 0);
        (0..99).for_each(|_| metrics.sent(0));
        metrics.sent(7);
        metrics.sent(20_000);
        let text = metrics.send_distribution();
        assert!(
            text.starts_with("[<=0ms]:99 [0~10ms]:1 [10~50ms]:0 ") && text.ends_with("[10s~]:1 "),
            "{text}"
        );
        assert_eq!((metrics.send_ms_quantile(0.5), metrics.send_ms_quantile(0.99)), (0, 10));
        assert_eq!((metrics.send_ms_quantile(1.0), metrics.send_ms_max()), (20_000, 20_000));
    }

    #[test]
    fn what_was_read_is_forgotten_with_its_topic_or_group() {
        let metrics = Metrics::default();
        let queue = |topic| QueueKey { topic: TopicNumber(topic), queue_id: 0 };
        for (group, topic) in [("a", 1), ("b", 1), ("a", 2)] {
            metrics.pulled(group, queue(topic), 5);
        }
        metrics.pulled("a", queue(1), 9);
        assert_eq!(metrics.pull_offset("a", queue(1)), Some(9));
        metrics.forget_pulled(|queue, _| queue.topic == TopicNumber(2));
        metrics.forget_pulled(|_, group| group == "b");
        assert_eq!(metrics.pull_offset("a", queue(2)), None);
        assert_eq!(metrics.pull_offset("b", queue(1)), None);
        assert_eq!(metrics.pull_offset("a", queue(1)), Some(9));
    }
}
