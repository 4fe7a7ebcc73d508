//! What the edge counts, since its start.

use std::sync::atomic::{AtomicU64, Ordering};

use braid_crossing::Crossing;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The highest of many numbers.
#[derive(Debug, Default)]
pub(crate) struct Highest(AtomicU64);

impl Highest {
    pub(crate) fn see(&self, value: u64) {
        // Most are not the highest: nothing is written then.
        if value > self.0.load(Ordering::Relaxed) {
            self.0.fetch_max(value, Ordering::Relaxed);
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: Counter,
    pub(crate) batches_stored: Counter,
    pub(crate) batches_refused: Counter,
    pub(crate) fetches_parked: Counter,
    pub(crate) fetched_bytes: Counter,
    pub(crate) fetches_cold: Counter,
    pub(crate) fetches_without_room: Counter,
    pub(crate) fetch_bytes_most: Highest,
    pub(crate) looked_inside: Counter,
}

/// Counts since the start of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests of all kinds.
    pub requests: u64,
    /// Record batches that were stored.
    pub batches_stored: u64,
    /// Record batches that were refused.
    pub batches_refused: u64,
    /// Fetches that waited for records.
    pub fetches_parked: u64,
    /// Bytes of records that fetches were given.
    pub fetched_bytes: u64,
    /// Fetches that had to ask the disk.
    pub fetches_cold: u64,
    /// How often a fetch had to wait for room in memory.
    pub fetches_without_room: u64,
    /// The most bytes that fetches and waiting answers of one reactor ever held together.
    pub fetch_bytes_most: u64,
    /// Compressed batches that were looked into when they were produced because their topic limits the times of records, and
    /// questions for a time.
    pub looked_inside: u64,
    /// Kafka's batches that were opened for readers of another protocol.
    pub decoded_batches: u64,
    /// Batches that were made for Kafka's readers out of messages of another protocol.
    pub packed_batches: u64,
}

impl Metrics {
    pub(crate) fn counts(&self, crossing: &Crossing) -> Counts {
        Counts {
            requests: self.requests.value(),
            batches_stored: self.batches_stored.value(),
            batches_refused: self.batches_refused.value(),
            fetches_parked: self.fetches_parked.value(),
            fetched_bytes: self.fetched_bytes.value(),
            fetches_cold: self.fetches_cold.value(),
            fetches_without_room: self.fetches_without_room.value(),
            fetch_bytes_most: self.fetch_bytes_most.0.load(Ordering::Relaxed),
            looked_inside: self.looked_inside.value(),
            decoded_batches: crossing.decoded_batches(),
            packed_batches: crossing.packed_batches(),
        }
    }
}
