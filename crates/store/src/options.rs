//! What the store is told when it is opened.

use std::path::PathBuf;

use braid_record::RecordView;

/// When a record becomes visible, and what an acknowledgement of [`Level::Flushed`](crate::Level) costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// Dispatched when flushed; the default.
    Sync,
    /// Dispatched when written; flushed every 500 ms, and earlier when half the unflushed bound is written.
    Async,
}

/// What an index needs to know of a record, derived by its payload kind's [`Deriver`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The 8-byte index word; what it means belongs to the queue (a tag hash, a delay level).
    pub index_word: i64,
    /// Keys under which the record can be found, without the topic; hashed by the key index together with it.
    pub keys: Vec<String>,
    /// The newest time inside the record, in milliseconds; `None` is the store time.
    pub newest_time: Option<i64>,
}

/// A pure function from a record to what indexes need. Used at append and again at rebuild.
pub type Deriver = fn(&RecordView<'_>) -> Facts;

/// How long log files are kept.
#[derive(Debug, Clone)]
pub struct RetentionOptions {
    /// Milliseconds after a file's last record; default 72 h.
    pub keep_ms: i64,
    /// Bytes free on the disk above which disk pressure never deletes. Default 10 GiB, or four log files if smaller.
    pub free_bytes_min: Option<u64>,
    /// Percent of the disk in use from which old files go, from which files go regardless of age, and from which
    /// writers are refused. RocketMQ's 75, 85, 90.
    pub used_percent: [u8; 3],
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self { keep_ms: 72 * 3_600_000, free_bytes_min: None, used_percent: [75, 85, 90] }
    }
}

/// All that [`Store::open`](crate::Store::open) needs beside a disk and a clock.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory; `commitlog/`, `braid/` and `lock` lie in it.
    pub dir: PathBuf,
    /// Length of a log file in bytes, at least [`FILE_BYTES_MIN`]. Fixed when the directory is made.
    pub file_bytes: u64,
    /// See [`FlushMode`].
    pub flush: FlushMode,
    /// Bound on bytes that are appended and not flushed. Default 16 MiB.
    pub unflushed_bytes_max: u64,
    /// Bytes of the newest records that are kept in memory for readers. Default 16 MiB.
    pub tail_bytes_max: u64,
    /// Bytes of log that are pre-written ahead of the tail, in pieces. Default 64 MiB.
    pub prewrite_bytes: u64,
    /// Retention.
    pub retention: RetentionOptions,
    /// Derivers by payload kind; the kind `None` is RocketMQ's own message.
    pub derivers: Vec<(Option<&'static str>, Deriver)>,
}

/// The smallest log file: 1 MiB. (The simulation opens smaller ones through `StoreOptions::tiny_files`.)
pub const FILE_BYTES_MIN: u64 = 1 << 20;

impl StoreOptions {
    /// Defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_bytes: 1 << 30,
            flush: FlushMode::Sync,
            unflushed_bytes_max: 16 << 20,
            tail_bytes_max: 16 << 20,
            prewrite_bytes: 64 << 20,
            retention: RetentionOptions::default(),
            derivers: Vec::new(),
        }
    }
}
