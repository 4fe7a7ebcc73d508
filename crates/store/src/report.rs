//! What opening found, how the store is, and why something failed.

use std::io;
use std::path::PathBuf;

use crate::progress::Position;

/// A row of the recovery table (`docs/format/recovery.md`): what the end of the log looked like, and what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecoveryRow {
    /// A new directory.
    New,
    /// Stopped cleanly; the end is where the superblock says.
    Clean,
    /// The log ends in zeros or a BLANK behind its last record: nothing was torn.
    CleanEnd,
    /// A bad record above the watermark, nothing valid behind it: cut.
    TornTail,
    /// A bad record above the watermark, valid ones behind it within the unflushed bound: cut before the hole.
    Hole,
    /// The last group is incomplete: cut whole.
    IncompleteGroup,
    /// A bad record below the watermark, or a valid one further behind than the unflushed bound: damage, read-only.
    DamageBelowWatermark,
    /// The log is shorter than the watermark: damage, read-only.
    ShorterThanWatermark,
    /// A file in the middle is missing: damage, read-only.
    MissingFile,
    /// Neither superblock slot is valid: refused.
    NoSuperblock,
}

/// A range of the log that should hold records and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// First bad byte.
    pub from: Position,
    /// First good byte behind it.
    pub to: Position,
    /// What was wrong with the first record.
    pub reason: String,
    /// Offsets that are lost, where the records around tell: (topic name, queue id, first, count).
    pub lost: Vec<(String, u32, u64, u64)>,
}

/// What opening found and did.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Rows of the recovery table that were taken.
    pub rows: Vec<RecoveryRow>,
    /// Bytes cut from the end.
    pub cut_bytes: u64,
    /// Records that the scan looked at.
    pub scanned_records: u64,
    /// Damage; the store is read-only when this is not empty.
    pub damage: Vec<Damage>,
    /// Sentences for the operator.
    pub notes: Vec<String>,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Reads and writes.
    Serving,
    /// Writers are refused until space is free.
    DiskFull(String),
    /// Opened on damage: reads only.
    ReadOnly(String),
    /// A write or sync failed, or the store panicked: reads only until a restart.
    Failed(String),
}

/// Why a directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {0} is in use by another process")]
    Locked(PathBuf),
    /// Made by a newer version, or not by us.
    #[error("{0}")]
    Format(String),
    /// Options that contradict the directory or one another.
    #[error("{0}")]
    Options(String),
    /// The disk.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the disk answered.
        source: io::Error,
    },
}

/// Why a question to an open store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The topic does not exist.
    #[error("the topic does not exist")]
    NoTopic,
    /// A topic of this name exists.
    #[error("a topic of this name exists")]
    TopicExists,
    /// As many topics as a directory may have exist, or ever existed.
    #[error("there are as many topics as a directory can have")]
    TooManyTopics,
    /// The record could not be appended.
    #[error(transparent)]
    Append(#[from] crate::append::AppendError),
    /// A record on disk is not what the index says it is.
    #[error("the record at position {position} is damaged: {reason}")]
    Damaged {
        /// Where.
        position: u64,
        /// How.
        reason: String,
    },
    /// The disk.
    #[error("the disk answered: {0}")]
    Io(#[from] io::Error),
}
