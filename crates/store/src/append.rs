//! What is appended: groups of records that stand or fall together.

use bytes::Bytes;

use braid_record::Draft;

use crate::catalog::{QueueKey, TopicNumber};
use crate::options::Facts;
use crate::progress::{Level, Position, Promise};
use crate::state::StateChange;

/// One queue that a record enters, and how many offsets it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueKey,
    /// Offsets that the record takes, at least 1.
    pub count: u32,
}

/// One record of a group. `draft.targets` and `draft.group_goes_on` are filled in by the builder.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Topic, body, properties and the rest.
    pub draft: Draft<'a>,
    /// The number of the draft's topic.
    pub topic: TopicNumber,
    /// Offsets taken in the draft's own queue, at least 1; 1 for RocketMQ's messages.
    pub count: u32,
    /// Further queues that the record enters.
    pub more_targets: &'a [Target],
}

/// Collects the records of one group and encodes them, outside the append section.
#[derive(Debug, Default)]
pub struct GroupBuilder {
    _private: (),
}

/// Records that are encoded and wait for their offsets; they stand or fall together.
#[derive(Debug)]
pub struct Group {
    pub(crate) buf: Vec<u8>,
}

/// Where one record of a group went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the log.
    pub position: Position,
    /// Its bytes.
    pub size: u32,
    /// Its offset in its own queue (the first target).
    pub offset: u64,
    /// First offsets in the further targets, in their order.
    pub more_offsets: Vec<u64>,
    /// The store's milliseconds.
    pub store_timestamp: i64,
}

/// Where a group went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// End of the group's last record.
    pub end: Position,
    /// Its records, in order. State changes are not listed.
    pub records: Vec<Placed>,
}

impl Appended {
    /// Ties an answer to this append: it can be given once `level` is proved for it.
    pub fn promise<T>(&self, level: Level, value: T) -> Promise<T> {
        Promise { end: self.end, level, value }
    }
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A record is malformed or too long.
    #[error(transparent)]
    Encode(#[from] braid_record::EncodeError),
    /// The group does not fit into one log file.
    #[error("{bytes} bytes do not fit into a log file of {file_bytes}")]
    TooLarge {
        /// Bytes of the group.
        bytes: u64,
        /// Length of a log file.
        file_bytes: u64,
    },
    /// A target names a topic that does not exist (any more).
    #[error("topic number {} does not exist", .0.0)]
    NoTopic(TopicNumber),
    /// A queue id or count is above what a target slot can hold.
    #[error("a target is out of range")]
    TargetRange,
    /// The bound on unflushed bytes is reached; try again after [`Progress`](crate::Progress).
    #[error("the disk is slower than the writers; {unflushed} bytes wait for it")]
    Busy {
        /// Bytes that are appended and not flushed.
        unflushed: u64,
    },
    /// The disk is full; readers go on, and writers once space is free.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// The log ended on an error; a restart recovers.
    #[error("the log is closed for writing: {0}")]
    Closed(String),
}

impl GroupBuilder {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds state changes; they become one record of the internal state topic.
    pub fn state(&mut self, _changes: &[StateChange]) -> &mut Self {
        unimplemented!()
    }

    /// Adds a record. Its facts come from the deriver of its kind, when the group is encoded by [`Store::group`](crate::Store::group).
    pub fn record(&mut self, _record: NewRecord<'_>) -> &mut Self {
        unimplemented!()
    }
}

pub(crate) fn _uses(_: Facts, _: Bytes) {}
