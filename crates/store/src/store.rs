//! The handle: everything that reactors, threads and tests may ask of one shard's log.

use std::sync::Arc;

use braid_io::{Clock, Disk};
use bytes::Bytes;

use crate::append::{AppendError, Appended, Group, GroupBuilder};
use crate::catalog::{QueueKey, TopicInfo, TopicNumber};
use crate::options::{FlushMode, StoreOptions};
use crate::progress::{DispatchListener, Position, Progress, Promise, Watermarks};
use crate::read::{Boundary, QueueOffsets, Read, ReadRequest};
use crate::report::{Health, OpenError, RecoveryReport, StoreError};
use crate::state::StateKind;

/// One shard's log. A clone is another handle to the same log.
#[derive(Clone)]
pub struct Store {
    _inner: Arc<()>,
}

/// What a [`Store::write_turn`] left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All that was appended is written.
    Done,
    /// Another thread holds the write role and will write it.
    InOtherHands,
    /// The next file may only be written once the one before it is flushed: the flush thread goes on.
    NeedsFlush,
    /// The log is closed.
    Closed,
}

/// What a [`Store::flush_turn`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushOutcome {
    /// The watermark moved to here.
    Flushed(Position),
    /// Nothing was written since the last flush.
    Nothing,
    /// The log is closed.
    Closed,
}

impl Store {
    /// Opens a directory, recovers it, and takes its lock. A missing directory is made.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage is no error: the store opens read-only and reports it.
    pub fn open(
        _options: StoreOptions,
        _disk: Arc<dyn Disk>,
        _clock: Arc<dyn Clock>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        unimplemented!()
    }

    // --- writing -------------------------------------------------------------------------------------------------

    /// Encodes a group, outside the append section: derives its records' facts and checks that it fits into a file.
    ///
    /// # Errors
    /// `Encode`, `TooLarge`, `TargetRange`.
    pub fn group(&self, _builder: GroupBuilder) -> Result<Group, AppendError> {
        unimplemented!()
    }

    /// The append section: gives the group its offsets and positions, stamps its records and puts them into the tail.
    /// It is in memory then; [`write_turn`](Self::write_turn) must follow, once per reactor turn.
    ///
    /// # Errors
    /// `NoTopic`, `Busy`, `DiskFull`, `Closed`; nothing was appended then.
    pub fn append(&self, _group: Group) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// Writes what was appended with one `pwrite`, if no other thread is at it. In async mode also dispatches.
    pub fn write_turn(&self) -> WriteOutcome {
        unimplemented!()
    }

    /// Makes durable what is written, with one `fdatasync`, and dispatches it in sync mode. For the flush thread, and
    /// for a lone request on an idle reactor.
    pub fn flush_turn(&self) -> FlushOutcome {
        unimplemented!()
    }

    /// True when [`flush_turn`](Self::flush_turn) is due now: always after a write in sync mode; in async mode after
    /// 500 ms with at least 4 dirty pages, after 10 s in any case, or when half the unflushed bound is written.
    pub fn flush_is_due(&self) -> bool {
        unimplemented!()
    }

    /// Work that is not on the path of a message: superblock, pre-writing, retention, snapshots, index checkpoints.
    /// Each call does at most one bounded step of each; gives the milliseconds after which it wants to be called again.
    pub fn housekeeping(&self) -> u64 {
        unimplemented!()
    }

    /// Flushes, writes snapshot, indexes and the clean flag. Appends are refused from now on.
    ///
    /// # Errors
    /// What the disk answers; the next start is an unclean one then.
    pub fn close(&self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// How far the log is.
    pub fn watermarks(&self) -> &Watermarks {
        unimplemented!()
    }

    /// Adds someone to tell when a watermark or the health moved.
    pub fn subscribe(&self, _progress: Arc<dyn Progress>) {
        unimplemented!()
    }

    /// Adds someone to tell what became visible. For `broker`'s waiters, before the first append.
    pub fn listen(&self, _listener: Arc<dyn DispatchListener>) {
        unimplemented!()
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        unimplemented!()
    }

    /// The mode in force.
    pub fn flush_mode(&self) -> FlushMode {
        unimplemented!()
    }

    // --- topics and state ----------------------------------------------------------------------------------------

    /// Creates a topic: appended as state, and usable at once. The promise is at `Flushed` in sync mode, else `Written`.
    ///
    /// # Errors
    /// `TopicExists`, or why it could not be appended.
    pub fn create_topic(&self, _name: &str, _config: &[u8]) -> Result<Promise<TopicInfo>, StoreError> {
        unimplemented!()
    }

    /// Replaces a topic's config.
    ///
    /// # Errors
    /// `NoTopic`, or why it could not be appended.
    pub fn configure_topic(&self, _topic: TopicNumber, _config: &[u8]) -> Result<Promise<()>, StoreError> {
        unimplemented!()
    }

    /// Deletes a topic: its records are dead from here on, for readers, keys and rebuilds.
    ///
    /// # Errors
    /// `NoTopic`, or why it could not be appended.
    pub fn delete_topic(&self, _topic: TopicNumber) -> Result<Promise<()>, StoreError> {
        unimplemented!()
    }

    /// The topic of that name, if it exists now.
    pub fn topic(&self, _name: &str) -> Option<TopicInfo> {
        unimplemented!()
    }

    /// All topics that exist now, internal ones included, by name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        unimplemented!()
    }

    /// All state entries of a kind, by key, as appended so far. For `broker`'s start; it keeps its own copy afterwards.
    pub fn state(&self, _kind: StateKind) -> Vec<(Vec<u8>, Vec<u8>)> {
        unimplemented!()
    }

    // --- reading -------------------------------------------------------------------------------------------------

    /// Reads a queue. Never waits for the disk: a read that would is given as a ticket.
    ///
    /// # Errors
    /// `Damaged` when a record is not the (topic, queue, offset) that the index names.
    pub fn read(&self, _request: &ReadRequest<'_>) -> Result<Read, StoreError> {
        unimplemented!()
    }

    /// First and next visible offset of a queue; `None` when it never had a record.
    pub fn offsets(&self, _queue: QueueKey) -> Option<QueueOffsets> {
        unimplemented!()
    }

    /// All queues of a topic that ever had a record, with their offsets.
    pub fn queues(&self, _topic: TopicNumber) -> Vec<(QueueKey, QueueOffsets)> {
        unimplemented!()
    }

    /// The offset at a time, exact to the message. May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn offset_at(&self, _queue: QueueKey, _time_ms: i64, _boundary: Boundary) -> Result<u64, StoreError> {
        unimplemented!()
    }

    /// The store time of the record at an offset; `None` when there is none. May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn store_time(&self, _queue: QueueKey, _offset: u64) -> Result<Option<i64>, StoreError> {
        unimplemented!()
    }

    /// The record whose name is this position, if the index maps its own (topic, queue, offset) back to it. May wait
    /// for the disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn record_named(&self, _position: Position) -> Result<Option<Bytes>, StoreError> {
        unimplemented!()
    }

    /// Records of a topic that carry a key, newest first, stored in `[from_ms, to_ms]`. May wait for the disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn query_key(
        &self,
        _topic: TopicNumber,
        _key: &str,
        _from_ms: i64,
        _to_ms: i64,
        _records_max: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        unimplemented!()
    }

    /// First position of the log and its appended end.
    pub fn log_range(&self) -> (Position, Position) {
        unimplemented!()
    }

    /// Store time of the oldest record, if there is one. May wait for the disk.
    pub fn oldest_store_time(&self) -> Option<i64> {
        unimplemented!()
    }

    /// Part of the disk in use, 0 to 1.
    pub fn disk_ratio(&self) -> f64 {
        unimplemented!()
    }
}

impl crate::read::ColdRead {
    /// Does the read, waiting for the disk. For a bounded pool of blocking threads.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn complete(self) -> Result<crate::read::ReadResult, StoreError> {
        unimplemented!()
    }
}
