//! How far the log has come, and answers that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A byte address in the log. Outside `store` it is a name, never an address to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// Bit that tells the name of a message inside a record from that of a record. No log grows this long.
const INSIDE_BIT: u64 = 1 << 62;
/// Bits of a message's index in its record.
const INDEX_BITS: u32 = 22;
/// A record that holds several messages is longer than this, so at most one begins in each such slot.
pub(crate) const SLOT_BYTES: u64 = 64;
/// Bits of a slot's number: names reach up to position 2^46 (64 TiB).
const SLOT_BITS: u32 = 40;

impl Position {
    /// The name of a message inside a record: `index` counts the offsets that the record takes in its own queue.
    ///
    /// ```text
    ///  63   62   61 ........ 22   21 .. 0
    ///   0    1   position / 64    index
    /// ```
    ///
    /// It is positive as a signed number, as RocketMQ's physical offsets are. `None` when the position or the index does
    /// not fit: 64 TiB, 4,194,304 messages.
    pub fn inside(record: Self, index: u32) -> Option<Self> {
        let slot = record.0 / SLOT_BYTES;
        let fits = slot >> SLOT_BITS == 0 && index >> INDEX_BITS == 0;
        fits.then(|| Self(INSIDE_BIT | slot << INDEX_BITS | u64::from(index)))
    }

    /// Where the slot begins in which the record begins, and the index; `None` when this names a record as a whole.
    pub(crate) fn slot_and_index(self) -> Option<(u64, u32)> {
        let slot = self.0 >> INDEX_BITS & ((1 << SLOT_BITS) - 1);
        let index = (self.0 & ((1 << INDEX_BITS) - 1)) as u32;
        (self.0 >> 62 == 1).then_some((slot * SLOT_BYTES, index))
    }
}

/// How safe an acknowledged append is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `pwrite` returned: survives a killed process.
    Written,
    /// `fdatasync` returned: survives a power cut.
    Flushed,
}

/// How far the log is appended (memory), written, flushed and dispatched; each is the end of the last record that is.
/// On one node, committed is flushed.
#[derive(Debug, Default)]
pub struct Watermarks {
    pub(crate) appended: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) flushed: AtomicU64,
    pub(crate) dispatched: AtomicU64,
}

impl Watermarks {
    /// End of what is in memory.
    pub fn appended(&self) -> Position {
        Position(self.appended.load(Ordering::Acquire))
    }

    /// End of what `pwrite` took.
    pub fn written(&self) -> Position {
        Position(self.written.load(Ordering::Acquire))
    }

    /// End of what `fdatasync` made durable.
    pub fn flushed(&self) -> Position {
        Position(self.flushed.load(Ordering::Acquire))
    }

    /// End of what readers see.
    pub fn dispatched(&self) -> Position {
        Position(self.dispatched.load(Ordering::Acquire))
    }

    /// The watermark of a level.
    pub fn reached(&self, level: Level) -> Position {
        match level {
            Level::Written => self.written(),
            Level::Flushed => self.flushed(),
        }
    }
}

/// Told whenever a watermark moved or the log's health changed. Called by writer and flush threads: must not block.
pub trait Progress: Send + Sync {
    /// Something moved; look at the watermarks.
    fn progressed(&self);
}

/// One entry that became visible: a record in one of its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    /// The queue.
    pub queue: crate::catalog::QueueKey,
    /// The queue's next offset with this entry.
    pub next_offset: u64,
    /// The entry's index word.
    pub index_word: i64,
}

/// Told what became visible, once per dispatch turn, after readers see it: `Store::offsets` and `Store::read` answer
/// with these entries already. Called by writer and flush threads: must neither block nor call back into the store.
pub trait DispatchListener: Send + Sync {
    /// These entries are visible now, in log order.
    fn dispatched(&self, entries: &[Dispatched]);
}

/// A value that may be used once a watermark proves it: the answer to a client waits in here.
#[must_use = "an answer that is never redeemed is never given"]
#[derive(Debug)]
pub struct Promise<T> {
    pub(crate) end: Position,
    pub(crate) level: Level,
    pub(crate) value: T,
}

impl<T> Promise<T> {
    /// The value, if the log has come far enough; the promise again, if not.
    ///
    /// # Errors
    /// The promise itself, to be kept until the next [`Progress`].
    pub fn redeem(self, watermarks: &Watermarks) -> Result<T, Self> {
        if watermarks.reached(self.level) >= self.end { Ok(self.value) } else { Err(self) }
    }

    /// True when [`redeem`](Self::redeem) would give the value.
    pub fn is_due(&self, watermarks: &Watermarks) -> bool {
        watermarks.reached(self.level) >= self.end
    }

    /// Turns what is promised into something else that is promised at the same watermark.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Promise<U> {
        Promise { end: self.end, level: self.level, value: f(self.value) }
    }

    /// The same value for an answer that claims no more than `level`, if that is lower: what a client is told when the
    /// flush it waited for takes too long.
    pub fn lowered(self, level: Level) -> Self {
        Self { level: self.level.min(level), ..self }
    }

    /// The end of the append that must be as safe as [`level`](Self::level).
    pub fn end(&self) -> Position {
        self.end
    }

    /// The level that is waited for.
    pub fn level(&self) -> Level {
        self.level
    }
}
