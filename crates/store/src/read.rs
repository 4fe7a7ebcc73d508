//! What readers ask: by (queue, offset), never by position.

use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::QueueKey;
use crate::index::Entry;
use crate::shard::Shard;

/// Limits and place of one read.
pub struct ReadRequest<'a> {
    /// The queue.
    pub queue: QueueKey,
    /// The first offset that is wanted.
    pub offset: u64,
    /// Most records to give.
    pub records_max: usize,
    /// Most bytes to give; the first record is given whatever its size.
    pub bytes_max: usize,
    /// Most index entries to look at; a filtered read that found nothing ends there.
    pub entries_max: usize,
    /// Picks records by their index word; `None` takes all.
    pub filter: Option<&'a dyn Fn(i64) -> bool>,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// At least one record.
    Found,
    /// Entries were looked at and none passed the filter (or their records are gone); go on at `next_offset`.
    NoMatch,
    /// The offset is the queue's next: nothing there yet.
    AtEnd,
    /// The offset is above the queue's next.
    BeyondEnd,
    /// The offset is below the queue's first.
    BelowStart,
    /// The queue never had a record, or does not exist.
    Empty,
}

/// What a read gave.
#[derive(Debug, Clone)]
pub struct ReadResult {
    /// How it ended.
    pub status: ReadStatus,
    /// Whole records, in offset order: reference-counted slices of the tail or of one read buffer.
    pub records: Vec<Bytes>,
    /// Where the next read goes on.
    pub next_offset: u64,
    /// The queue's first offset.
    pub min_offset: u64,
    /// The queue's next offset.
    pub max_offset: u64,
}

/// Either the result, or a ticket for a thread that may wait for the disk.
pub enum Read {
    /// Everything was in memory or in the page cache.
    Ready(ReadResult),
    /// The disk must be asked: call [`ColdRead::complete`] on a blocking thread.
    Cold(ColdRead),
}

/// A read that would have waited for the disk.
pub struct ColdRead {
    pub(crate) shard: Arc<Shard>,
    pub(crate) queue: QueueKey,
    /// What was picked from the index; empty when the index itself must be read.
    pub(crate) picked: Vec<Entry>,
    /// What bounds the read, when the index must be read and no filter picks.
    pub(crate) limits: Option<Limits>,
    /// The result without its records.
    pub(crate) result: ReadResult,
}

/// The bounds of a [`ReadRequest`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) entries_max: usize,
}

/// What a position names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The record, whole.
    pub record: Bytes,
    /// The message inside it, when the position was made by [`Position::inside`](crate::Position::inside): below the
    /// number of offsets that the record takes in its own queue. `None` names the record.
    pub index: Option<u32>,
}

/// A record that was looked up by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Its first offset in the queue; below the queue's first offset when the queue begins inside the record.
    pub first_offset: u64,
    /// Offsets that it takes there.
    pub count: u32,
    /// The newest time inside it, in milliseconds: what its kind's deriver says, or its store time.
    pub newest_ms: i64,
    /// The record, whole.
    pub record: Bytes,
}

/// First and next offset of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueOffsets {
    /// The first offset that can be read.
    pub min: u64,
    /// The offset that the next record gets (visible end: dispatched).
    pub max: u64,
}

/// Which side of a time a look-up means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first offset whose store time is at or after the time; the queue's next offset when there is none.
    FirstAtOrAfter,
    /// The last offset whose store time is at or before the time; the queue's first offset when there is none.
    LastAtOrBefore,
}
