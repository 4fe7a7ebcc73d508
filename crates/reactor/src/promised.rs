//! Answers that wait for a watermark, in the order of their appends: one line per level, so that only heads are looked at.

use std::collections::VecDeque;

use braid_store::{Level, Promise, Watermarks};

/// A promised value, who waits for it, and when patience ends.
struct Waiting<W, T> {
    promise: Promise<T>,
    who: W,
    since_ms: u64,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<T> {
    /// The watermark passed.
    Proved(T),
    /// Patience ended first: what was appended is written, and will be flushed some time.
    FlushTimedOut(T),
}

/// The lines of one reactor.
pub struct PromiseLines<W, T> {
    written: VecDeque<Waiting<W, T>>,
    flushed: VecDeque<Waiting<W, T>>,
    patience_ms: u64,
}

impl<W, T> PromiseLines<W, T> {
    /// Empty lines, whose waits for a flush last `patience_ms` at most.
    pub fn new(patience_ms: u64) -> Self {
        Self { written: VecDeque::new(), flushed: VecDeque::new(), patience_ms }
    }

    /// Puts a promise at the end of its level's line.
    pub fn push(&mut self, promise: Promise<T>, who: W, now_ms: u64) {
        let line = match promise.level() {
            Level::Written => &mut self.written,
            Level::Flushed => &mut self.flushed,
        };
        line.push_back(Waiting { promise, who, since_ms: now_ms });
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.flushed.is_empty()
    }

    /// When the first wait for a flush has lasted too long.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.flushed.front().map(|waiting| waiting.since_ms + self.patience_ms)
    }

    /// The next one who need not wait any longer, how that ended, and how long it took.
    ///
    /// A promise that was made a little out of append order (of a topic, say) holds up those behind it for as long as it
    /// takes itself, which is part of a turn.
    pub fn pop(&mut self, watermarks: &Watermarks, now_ms: u64) -> Option<(W, End<T>, u64)> {
        for line in [&mut self.written, &mut self.flushed] {
            let Some(Waiting { promise, who, since_ms }) = line.pop_front() else { continue };
            let waited_ms = now_ms.saturating_sub(since_ms);
            let promise = match promise.redeem(watermarks) {
                Ok(value) => return Some((who, End::Proved(value), waited_ms)),
                Err(promise) => promise,
            };
            let promise = if waited_ms >= self.patience_ms && promise.level() == Level::Flushed {
                match promise.lowered(Level::Written).redeem(watermarks) {
                    Ok(value) => return Some((who, End::FlushTimedOut(value), waited_ms)),
                    Err(promise) => promise,
                }
            } else {
                promise
            };
            line.push_front(Waiting { promise, who, since_ms });
        }
        None
    }

    /// Takes all who wait: the log is closed, and their watermarks will never pass.
    pub fn abandon(&mut self) -> Vec<W> {
        self.written.drain(..).chain(self.flushed.drain(..)).map(|waiting| waiting.who).collect()
    }
}
