//! How far the log has come, and answers that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A byte address in the log. Outside `store` it is a name, never an address to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

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
