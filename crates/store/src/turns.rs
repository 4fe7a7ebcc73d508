//! The two turns that make appended bytes safe: writing (one `pwrite` for all that was appended meanwhile) and
//! flushing (one `fdatasync` for all that was written meanwhile).
//!
//! No byte of a file is written before the file before it is flushed to its end and the superblock says so. A bad
//! record in a file that has a written successor is therefore always below the durable watermark: damage, not a tear.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use crate::appender::Piece;
use crate::files::{LogFile, Pace, PrepareError};
use crate::health::lock;
use crate::options::FlushMode;
use crate::report::Health;
use crate::shard::Shard;
use crate::store::{FlushOutcome, WriteOutcome};

/// Rounds of one write turn; what is appended after that many is left to the flush thread, so that one reactor does not
/// write for all others for ever.
const WRITE_ROUNDS_MAX: usize = 16;
/// Rounds of one flush turn: a file's end, the next file's bytes, and once more.
const FLUSH_ROUNDS_MAX: usize = 8;
/// RocketMQ's figures for asynchronous flushing.
const FLUSH_INTERVAL_MS: u64 = 500;
const FLUSH_THOROUGH_INTERVAL_MS: u64 = 10_000;
const FLUSH_LEAST_BYTES: u64 = 4 * 4096;

/// Owned by the thread that holds the write role.
#[derive(Default)]
pub(crate) struct Writer {
    /// Taken from the appender and not written yet.
    backlog: VecDeque<Piece>,
    /// The file that was written last.
    file: Option<Arc<LogFile>>,
    /// Acknowledged and not written: the planted defect.
    #[cfg(feature = "mutants")]
    held: Vec<(Arc<LogFile>, u64, bytes::Bytes)>,
}

/// Held by the thread that flushes.
#[derive(Default)]
pub(crate) struct Flusher;

impl Shard {
    pub(crate) fn write_turn(&self) -> WriteOutcome {
        self.guarded("a write turn", || self.write_rounds(false)).unwrap_or(WriteOutcome::Closed)
    }

    /// Takes the write role and writes all that is appended. With `wait`, waits for the role.
    fn write_rounds(&self, wait: bool) -> WriteOutcome {
        for round in 0..WRITE_ROUNDS_MAX {
            if self.health.is_failed() {
                return WriteOutcome::Closed;
            }
            let Some(mut writer) = self.take_write_role(wait && round == 0) else {
                return WriteOutcome::InOtherHands;
            };
            let before = self.watermarks.written();
            let outcome = self.write_backlog(&mut writer);
            drop(writer);
            // No more than a file is ever made ahead, however small the files are.
            if self.room_left() < self.options.prewrite_bytes.min(self.options.file_bytes) / 4 {
                self.house_signal.raise();
            }
            if self.watermarks.written() > before {
                self.notify();
            }
            if outcome != WriteOutcome::Done {
                return outcome;
            }
            // Whoever appended while this thread held the role saw it taken and went away. Asking under the append lock
            // after giving the role back closes the gap: an append that comes later finds the role free.
            if lock(&self.appender).end() == self.watermarks.written().0 {
                return WriteOutcome::Done;
            }
        }
        self.needs_write.store(true, Ordering::Release);
        self.flush_signal.raise();
        WriteOutcome::InOtherHands
    }

    fn take_write_role(&self, wait: bool) -> Option<MutexGuard<'_, Writer>> {
        if wait {
            return Some(lock(&self.writer));
        }
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn write_backlog(&self, writer: &mut Writer) -> WriteOutcome {
        loop {
            let known = writer.backlog.len();
            lock(&self.appender).take(&mut writer.backlog);
            self.show_to_readers(writer.backlog.range(known..));
            if writer.backlog.is_empty() {
                return WriteOutcome::Done;
            }
            while let Some(piece) = writer.backlog.pop_front() {
                let base = self.files.base_of(piece.start);
                if base > self.proved.load(Ordering::Acquire) {
                    writer.backlog.push_front(piece);
                    self.needs_write.store(true, Ordering::Release);
                    self.flush_signal.raise();
                    return WriteOutcome::NeedsFlush;
                }
                if let Err(error) = self.write_piece(writer, base, piece) {
                    self.fail(format!("writing the log failed: {error}"));
                    return WriteOutcome::Closed;
                }
            }
        }
    }

    /// Puts pieces into the tail. They are visible only once they are dispatched.
    fn show_to_readers<'a>(&self, pieces: impl Iterator<Item = &'a Piece>) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        for piece in pieces {
            tail.push(piece.start, piece.bytes.clone());
        }
        tail.evict(self.watermarks.written().0);
    }

    fn write_piece(&self, writer: &mut Writer, base: u64, piece: Piece) -> io::Result<()> {
        let written = self.watermarks.written().0;
        assert_eq!(piece.start, written, "the log is written without gaps");
        assert!(piece.end <= base + self.files.file_bytes, "a piece lies in one file");
        let file = match &writer.file {
            Some(file) if file.base == base => file.clone(),
            _ => self.files.holding(base).ok_or(io::ErrorKind::NotFound)?,
        };
        assert!(
            piece.start + piece.bytes.len() as u64 <= file.prewritten(),
            "records go to pre-written bytes only"
        );
        writer.file = Some(file.clone());
        self.put(writer, &file, piece.start - base, &piece.bytes)?;
        lock(&self.dispatcher).push(piece.end, piece.visible);
        if self.mode() == FlushMode::Async {
            self.dispatch(piece.end);
        }
        self.watermarks.written.store(piece.end, Ordering::Release);
        Ok(())
    }

    #[cfg(not(feature = "mutants"))]
    fn put(&self, _: &mut Writer, file: &Arc<LogFile>, at: u64, bytes: &bytes::Bytes) -> io::Result<()> {
        file.file.write_all_at(bytes, at)
    }

    /// As without mutants, but for the planted one that keeps bytes back until there are many.
    #[cfg(feature = "mutants")]
    fn put(&self, writer: &mut Writer, file: &Arc<LogFile>, at: u64, bytes: &bytes::Bytes) -> io::Result<()> {
        const HELD_BYTES_MAX: usize = 32 << 10;
        if !crate::mutant::is(crate::mutant::Mutant::AckBeforeWrite) {
            return file.file.write_all_at(bytes, at);
        }
        writer.held.push((file.clone(), at, bytes.clone()));
        if writer.held.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>() > HELD_BYTES_MAX {
            for (file, at, bytes) in writer.held.drain(..) {
                file.file.write_all_at(&bytes, at)?;
            }
        }
        Ok(())
    }

    pub(crate) fn flush_turn(&self) -> FlushOutcome {
        let before = self.watermarks.flushed();
        for _ in 0..FLUSH_ROUNDS_MAX {
            if self.health.is_failed() {
                return FlushOutcome::Closed;
            }
            let flushed = self.watermarks.flushed();
            let more = self.guarded("a flush turn", || self.flush_round());
            if self.watermarks.flushed() > flushed {
                self.notify();
            }
            match more {
                Some(Ok(true)) => {}
                Some(Ok(false)) => break,
                Some(Err(error)) => {
                    self.fail(format!("flushing the log failed: {error}"));
                    return FlushOutcome::Closed;
                }
                None => return FlushOutcome::Closed,
            }
        }
        match self.watermarks.flushed() {
            after if after > before => FlushOutcome::Flushed(after),
            _ => FlushOutcome::Nothing,
        }
    }

    /// One sync, and what waits for the flush thread. True when another round has something to do.
    fn flush_round(&self) -> io::Result<bool> {
        let _flusher = lock(&self.flusher);
        self.make_wanted_room();
        if self.needs_write.swap(false, Ordering::AcqRel) && self.write_rounds(true) == WriteOutcome::Closed {
            return Ok(false);
        }
        let (written, flushed) = (self.watermarks.written().0, self.watermarks.flushed().0);
        assert!(flushed <= written, "only what is written is flushed");
        if written == flushed {
            return Ok(false);
        }
        let file = self.files.holding(flushed).ok_or(io::ErrorKind::NotFound)?;
        assert!(written <= file.base + self.files.file_bytes, "unflushed bytes lie in one file");
        sync_log_file(&file)?;
        self.last_flush_ms.store(self.clock.monotonic_ms(), Ordering::Release);
        if self.mode() == FlushMode::Sync {
            self.dispatch(written);
        }
        self.watermarks.flushed.store(written, Ordering::Release);
        self.forget_ended_topics();
        if written == file.base + self.files.file_bytes {
            self.prove(written)?;
        }
        Ok(self.needs_write.load(Ordering::Acquire))
    }

    /// Writes to the superblock that the log is durable up to here.
    pub(crate) fn prove(&self, durable: u64) -> io::Result<()> {
        assert!(durable <= self.watermarks.flushed().0, "only what is flushed is durable");
        let mut superblock = lock(&self.superblock);
        let Some(superblock) = superblock.as_mut() else { return Ok(()) };
        let prewritten = self.files.zeroed_end(durable);
        if superblock.current().durable < durable || superblock.current().prewritten < prewritten {
            superblock.update(|s| {
                s.durable = s.durable.max(durable);
                s.prewritten = s.prewritten.max(prewritten);
            })?;
        }
        self.proved.fetch_max(durable, Ordering::AcqRel);
        Ok(())
    }

    /// Makes the room that an append was refused for.
    fn make_wanted_room(&self) {
        let wanted = self.room_wanted.swap(0, Ordering::AcqRel);
        if wanted == 0 {
            return;
        }
        while self.files.room_end() < wanted {
            match self.prepare_step(wanted, Pace::Urgent) {
                Prepared::More => {}
                // Someone was refused for want of this room, so writers have used up what was made ahead.
                Prepared::Full(reason) => return self.disk_full(reason),
                Prepared::Enough | Prepared::Closed => return,
            }
        }
        self.notify();
    }

    /// One step of making room up to `wanted`.
    pub(crate) fn prepare_step(&self, wanted: u64, pace: Pace) -> Prepared {
        if self.health.is_closed() {
            return Prepared::Closed;
        }
        let tail = self.watermarks.appended().0;
        match self.files.prepare_step(&*self.disk, &self.layout, tail, wanted, pace) {
            Ok(true) => Prepared::More,
            Ok(false) => Prepared::Enough,
            Err(PrepareError::Full(error)) => Prepared::Full(format!("no room for the log: {error}")),
            Err(PrepareError::Tail(error)) => {
                self.fail(format!("syncing the log failed: {error}"));
                Prepared::Closed
            }
        }
    }

    /// Bytes that can be appended before room must be made.
    pub(crate) fn room_left(&self) -> u64 {
        self.files.room_end().saturating_sub(self.watermarks.appended().0)
    }

    pub(crate) fn disk_full(&self, reason: String) {
        if self.health.worsen(Health::DiskFull(reason.clone())) {
            tracing::warn!(reason, "writers are refused until space is free");
            self.notify();
        }
    }

    pub(crate) fn flush_is_due(&self) -> bool {
        if self.health.is_failed() {
            return false;
        }
        if self.needs_write.load(Ordering::Acquire) || self.room_wanted.load(Ordering::Acquire) > 0 {
            return true;
        }
        let dirty = self.watermarks.written().0 - self.watermarks.flushed().0;
        if dirty == 0 || self.mode() == FlushMode::Sync {
            return dirty > 0;
        }
        let since = self.clock.monotonic_ms().saturating_sub(self.last_flush_ms.load(Ordering::Acquire));
        dirty >= self.options.unflushed_bytes_max / 2
            || since >= FLUSH_THOROUGH_INTERVAL_MS
            || since >= FLUSH_INTERVAL_MS && dirty >= FLUSH_LEAST_BYTES
    }

    /// Writes and flushes all that is appended; false when the log failed on the way.
    pub(crate) fn drain(&self) -> bool {
        while self.watermarks.flushed() < self.watermarks.appended() {
            self.needs_write.store(true, Ordering::Release);
            if self.flush_turn() == FlushOutcome::Closed {
                return false;
            }
        }
        true
    }
}

/// What a step of making room did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// There is more room now.
    More,
    /// There was enough.
    Enough,
    /// The disk gives no more. A sentence.
    Full(String),
    /// The log is closed.
    Closed,
}

fn sync_log_file(file: &LogFile) -> io::Result<()> {
    #[cfg(feature = "mutants")]
    if crate::mutant::is(crate::mutant::Mutant::AckBeforeFlush) {
        return Ok(());
    }
    file.sync()
}
