//! What the store is told when it is opened.

use std::path::PathBuf;

use braid_record::RecordView;

/// When a record becomes visible, and what an acknowledgement of [`Level::Flushed`](crate::Level) costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// Dispatched when flushed; the default.
    Sync,
    /// Dispatched when written; flushed every 500 ms (less than 16 KiB: every 10 s), and earlier when half the unflushed
    /// bound is written.
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
    /// The numbers of a producer whose retries must not be appended twice. The append section checks them.
    pub producer: Option<ProducerFacts>,
}

/// The index word of a record that holds messages with words of their own: who picks records by their word must look
/// inside.
pub const LOOK_INSIDE: i64 = i64::MIN;

/// How an idempotent producer numbered the messages of a record. Numbers are not negative and go on at 0 behind
/// `i32::MAX`; those of a record follow one another, so that `last_sequence` may be the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerFacts {
    /// The producer.
    pub producer_id: i64,
    /// Which of its lives it is; a lower one than is known is refused.
    pub epoch: i16,
    /// The number of the first message.
    pub first_sequence: i32,
    /// The number of the last message.
    pub last_sequence: i32,
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
    /// Percent of the disk in use from which files that expired while no broker ran go at once and not one a minute, from
    /// which files go regardless of age, and from which writers are refused. RocketMQ's 75, 85, 90.
    pub used_percent: [u8; 3],
    /// True when files go under disk pressure although topics with a retention of their own still need them; false (the
    /// default) refuses writers then instead.
    pub pressure_takes_all: bool,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            keep_ms: 72 * 3_600_000,
            free_bytes_min: None,
            used_percent: [75, 85, 90],
            pressure_takes_all: false,
        }
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
    /// The shard whose log this is; fixed when the directory is made.
    pub shard: u32,
    /// First position of a new log, a multiple of the file length: logs of several shards start far apart, so that
    /// their positions never collide. Default 0.
    pub first_position: u64,
    /// Seed of the ids that are drawn for directory, boot and topics; `None` takes the system's entropy. Simulations
    /// set it, so that a seed replays exactly.
    pub id_seed: Option<u64>,
    /// Bytes of log after which a snapshot is taken. Default 64 MiB.
    pub snapshot_bytes: u64,
    /// Milliseconds of store time after which a producer that appended nothing to a queue is not known there any more.
    /// Default 24 h, as Kafka's `producer.id.expiration.ms`.
    pub producer_idle_ms: i64,
    /// Pairs of queue and producer that are known at most; the one that was idle for longest is forgotten first. Each
    /// takes about 350 bytes. Default 100,000.
    pub producers_max: usize,
    /// Smallest file length that is taken; only simulations go below [`FILE_BYTES_MIN`].
    pub(crate) file_bytes_min: u64,
    /// Derivers by payload kind; the kind `None` is RocketMQ's own message.
    pub derivers: Vec<(Option<&'static str>, Deriver)>,
}

/// The smallest log file: 1 MiB. (Simulations open smaller ones through [`StoreOptions::for_simulation`].)
pub const FILE_BYTES_MIN: u64 = 1 << 20;
/// The largest log file: the BLANK filler's length is a signed 32-bit number.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// The smallest bound on unflushed bytes.
pub const UNFLUSHED_BYTES_MIN: u64 = 64 << 10;

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
            shard: 0,
            first_position: 0,
            id_seed: None,
            snapshot_bytes: 64 << 20,
            producer_idle_ms: 24 * 3_600_000,
            producers_max: 100_000,
            file_bytes_min: FILE_BYTES_MIN,
        }
    }

    /// Options of a simulated store: files of any length from 4 KiB on, small bounds, and ids drawn from a seed, so
    /// that rolls, snapshots and retention happen all the time and a seed replays exactly.
    pub fn for_simulation(dir: impl Into<PathBuf>, file_bytes: u64, id_seed: u64) -> Self {
        Self {
            file_bytes,
            id_seed: Some(id_seed),
            file_bytes_min: 4096,
            unflushed_bytes_max: UNFLUSHED_BYTES_MIN,
            tail_bytes_max: file_bytes,
            prewrite_bytes: file_bytes,
            snapshot_bytes: 2 * file_bytes,
            ..Self::new(dir)
        }
    }

    /// Checks what can be checked without the directory. Gives a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { file_bytes, file_bytes_min, .. } = *self;
        if !(file_bytes_min..=FILE_BYTES_MAX).contains(&file_bytes) || !file_bytes.is_multiple_of(4096) {
            return Err(format!(
                "a log file's length must be a multiple of 4096 from {file_bytes_min} to {FILE_BYTES_MAX} bytes, \
                 {file_bytes} is not"
            ));
        }
        if self.unflushed_bytes_max < UNFLUSHED_BYTES_MIN {
            return Err(format!(
                "the bound on unflushed bytes must be at least {UNFLUSHED_BYTES_MIN}, {} is not",
                self.unflushed_bytes_max
            ));
        }
        if !self.first_position.is_multiple_of(file_bytes) {
            return Err(format!(
                "a log starts at a multiple of the file length {file_bytes}, {} is none",
                self.first_position
            ));
        }
        Ok(())
    }

    /// The longest group: it fits into one file with a filler behind it, and under the bound on unflushed bytes.
    pub(crate) fn group_bytes_max(&self) -> u64 {
        self.file_bytes.min(self.unflushed_bytes_max) - braid_record::BLANK_HEAD_BYTES as u64
    }
}
