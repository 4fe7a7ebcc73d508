//! Work that is on no message's path: superblock, room ahead, snapshots, checkpoints of the indexes.
//!
//! Each call does at most one bounded step of each, so that one thread (or one simulated step) does it all.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;

use braid_io::{Clock, disk::replace_file};

use crate::appender::Appender;
use crate::files::Pace;
use crate::health::lock;
use crate::producers::{self, Producer, ProducerKey};
use crate::retention::Retention;
use crate::shard::Shard;
use crate::snapshot::Snapshot;
use crate::superblock::Superblock;
use crate::turns::Prepared;

/// How often the superblock follows a log that moves.
const SUPERBLOCK_INTERVAL_MS: u64 = 1000;
/// How often the indexes follow a log that moves, and after how many bytes at the latest.
const CHECKPOINT_INTERVAL_MS: u64 = 5000;
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// Pause between two steps of pre-writing: 1 MiB each, so at most 256 MiB a second.
const PREWRITE_PAUSE_MS: u64 = 4;
/// Longest time between two calls.
const IDLE_MS: u64 = 500;
/// How often producers that were idle for too long are looked for.
const PRODUCERS_INTERVAL_MS: u64 = 60_000;
/// A snapshot waits for so many times its own size of log, so that writing it down costs little beside the log itself.
const LOG_BYTES_PER_SNAPSHOT_BYTE: u64 = 4;
/// After a failure of something that can wait.
const RETRY_MS: u64 = 1000;
/// How often a failure that stays the same is logged.
const REPEAT_MS: u64 = 600_000;

/// Owned by the thread that keeps house.
pub(crate) struct House {
    superblock_due_ms: u64,
    checkpoint_due_ms: u64,
    /// What the queue index and the key index on disk cover, as far as this run knows.
    checkpointed: u64,
    keys_checkpointed: u64,
    /// What the snapshot on disk covers.
    pub(crate) snapshot_position: u64,
    /// Bytes of the snapshot that this run wrote last.
    snapshot_len: u64,
    producers_due_ms: u64,
    snapshot_job: Job,
    queues_job: Job,
    keys_job: Job,
    /// An image of the state, to be written when the log is durable up to where it was taken.
    image: Option<Image>,
    /// Set when a snapshot is wanted whatever has been appended since the last.
    pub(crate) wants_snapshot: bool,
    /// Time of the last record of each sealed file.
    pub(crate) sealed: BTreeMap<u64, i64>,
    pub(crate) retention: Retention,
}

/// Work that may fail and is done again: not at once, and a failure is logged when it is new, and then rarely.
#[derive(Debug, Default)]
pub(crate) struct Job {
    not_before_ms: u64,
    /// The failure that was logged last, and when.
    logged: Option<(String, u64)>,
}

impl Job {
    /// False for a while after a failure, however often somebody asks.
    pub(crate) fn may_run(&self, now_ms: u64) -> bool {
        now_ms >= self.not_before_ms
    }

    /// Takes note of how it ended. `what` was done, for the log.
    pub(crate) fn ended(&mut self, now_ms: u64, what: &str, result: io::Result<()>) {
        match result {
            Ok(()) => *self = Self::default(),
            Err(error) => {
                self.not_before_ms = now_ms + RETRY_MS;
                if self.is_news(now_ms, &error.to_string()) {
                    tracing::warn!(%error, "{what} failed; it is tried again");
                }
            }
        }
    }

    fn is_news(&mut self, now_ms: u64, error: &str) -> bool {
        let is_known = self
            .logged
            .as_ref()
            .is_some_and(|(last, at_ms)| last == error && now_ms.saturating_sub(*at_ms) < REPEAT_MS);
        if !is_known {
            self.logged = Some((error.to_owned(), now_ms));
        }
        !is_known
    }
}

struct Image {
    snapshot: Snapshot,
    /// The log must be flushed up to here before the image may be written.
    durable_at: u64,
    /// Queue offsets of all records below are contained.
    covers: u64,
}

impl House {
    pub(crate) fn new(
        superblock: &Superblock,
        snapshot_position: u64,
        sealed: BTreeMap<u64, i64>,
        store_ms: i64,
        clock: &dyn Clock,
    ) -> Self {
        let now = clock.monotonic_ms();
        Self {
            superblock_due_ms: now + SUPERBLOCK_INTERVAL_MS,
            checkpoint_due_ms: now + CHECKPOINT_INTERVAL_MS,
            checkpointed: superblock.first_position,
            keys_checkpointed: superblock.first_position,
            snapshot_position,
            snapshot_len: 0,
            producers_due_ms: now,
            snapshot_job: Job::default(),
            queues_job: Job::default(),
            keys_job: Job::default(),
            image: None,
            wants_snapshot: false,
            sealed,
            retention: Retention::new(store_ms, clock),
        }
    }
}

impl Shard {
    pub(crate) fn housekeeping(&self) -> u64 {
        self.guarded("housekeeping", || self.keep_house()).unwrap_or(IDLE_MS)
    }

    fn keep_house(&self) -> u64 {
        let mut house = lock(&self.house);
        if self.health.is_closed() {
            return IDLE_MS;
        }
        if let Err(error) = self.follow_with_superblock(&mut house) {
            self.fail(format!("writing the superblock failed: {error}"));
            return IDLE_MS;
        }
        let pressed = self.keep_retention(&mut house);
        let pause = self.make_room_ahead(pressed);
        let now = self.clock.monotonic_ms();
        if house.snapshot_job.may_run(now) {
            let done = self.keep_snapshot(&mut house);
            house.snapshot_job.ended(now, "writing a snapshot", done);
        }
        self.keep_indexes(&mut house, false);
        self.keep_producers(&mut house, now);
        pause
    }

    /// Forgets producers that were idle for too long by the log's own time: where nothing is appended nobody is forgotten,
    /// and a clock that jumped tells nothing before records have its time.
    fn keep_producers(&self, house: &mut House, now: u64) {
        if now < house.producers_due_ms {
            return;
        }
        house.producers_due_ms = now + PRODUCERS_INTERVAL_MS;
        let expire = |appender: &mut Appender| {
            let before = appender.store_ms().saturating_sub(self.options.producer_idle_ms);
            appender.producers.expire(before)
        };
        while expire(&mut lock(&self.appender)) {}
    }

    fn follow_with_superblock(&self, house: &mut House) -> io::Result<()> {
        let now = self.clock.monotonic_ms();
        if now >= house.superblock_due_ms {
            house.superblock_due_ms = now + SUPERBLOCK_INTERVAL_MS;
            self.prove(self.watermarks.flushed().0)?;
        }
        Ok(())
    }

    /// One step of making room ahead of the tail. `pressed` says that the disk is too full for writers.
    fn make_room_ahead(&self, pressed: bool) -> u64 {
        // Until then the flush thread makes what appends want. A disk that got full must be looked at in any case.
        if !self.prewrites.load(Ordering::Acquire) && self.health.is_serving() {
            return IDLE_MS;
        }
        let appended = self.watermarks.appended().0;
        // One file ahead is enough, however small the files are.
        let next_file_end = self.files.base_of(appended) + 2 * self.options.file_bytes;
        // A full disk is tried even where nothing is wanted ahead: that there was enough says nothing of it.
        let least = if self.health.is_serving() { 0 } else { TRIAL_BYTES };
        let wanted = (appended + self.options.prewrite_bytes.max(least)).min(next_file_end);
        let scarce = (wanted - appended) / 8;
        let pace = if self.room_left() < scarce { Pace::Urgent } else { Pace::Ahead };
        match self.prepare_step(wanted, pace) {
            Prepared::Full(reason) => {
                // Writers go on as long as what was made ahead lasts.
                if self.room_left() < scarce.min(PRESSED_BYTES) {
                    self.disk_full(reason);
                }
                RETRY_MS
            }
            _ if pressed => RETRY_MS,
            prepared => {
                if self.health.space_is_free() {
                    tracing::info!("space is free again; writers go on");
                    self.notify();
                }
                match (prepared, pace) {
                    (Prepared::More, Pace::Urgent) => 0,
                    (Prepared::More, Pace::Ahead) => PREWRITE_PAUSE_MS,
                    _ => IDLE_MS,
                }
            }
        }
    }

    fn keep_snapshot(&self, house: &mut House) -> io::Result<()> {
        let appended = self.watermarks.appended().0;
        let wait = self.options.snapshot_bytes.max(LOG_BYTES_PER_SNAPSHOT_BYTE * house.snapshot_len);
        let due = house.wants_snapshot || appended - house.snapshot_position >= wait;
        if house.image.is_none() && due {
            house.image = Some(self.take_image(&mut house.sealed));
        }
        self.write_image(house)
    }

    /// Writes the image if the log is durable up to it.
    fn write_image(&self, house: &mut House) -> io::Result<()> {
        let Some(image) = house.image.take() else { return Ok(()) };
        if image.durable_at > self.watermarks.flushed().0 {
            house.image = Some(image);
            return Ok(());
        }
        // A failed write leaves the old snapshot; the next call takes a new image.
        let bytes = image.snapshot.encode();
        replace_file(&*self.disk, &self.layout.snapshot, &bytes)?;
        house.snapshot_len = bytes.len() as u64;
        house.snapshot_position = image.snapshot.position;
        house.retention.snapshot_covers = image.covers;
        house.wants_snapshot = false;
        Ok(())
    }

    /// Copies the state at the log's present end. Queue offsets and producers may be newer than the image's position,
    /// never newer than what must be durable before it is written: a replay takes the higher of the two.
    fn take_image(&self, sealed: &mut BTreeMap<u64, i64>) -> Image {
        let covers = self.watermarks.dispatched().0;
        let mut snapshot = {
            let mut appender = lock(&self.appender);
            sealed.extend(appender.take_seals());
            Snapshot {
                position: appender.end(),
                last_group: appender.last_group(),
                store_ms: appender.store_ms(),
                catalog: self.catalog().clone(),
                state: appender.state.clone(),
                producers: Vec::new(),
                queues: BTreeMap::new(),
                sealed: BTreeMap::new(),
            }
        };
        let first = self.first();
        sealed.retain(|&base, _| base >= first);
        snapshot.sealed.clone_from(sealed);
        snapshot.catalog.forget_below(first);
        snapshot.queues = self.queues.next_offsets().into_iter().collect();
        let producers_end = self.copy_producers(&mut snapshot.producers);
        let durable_at = snapshot.position.max(self.watermarks.dispatched().0).max(producers_end);
        Image { covers: covers.min(snapshot.position), snapshot, durable_at }
    }

    /// Copies the table of producers in pages, so that no append waits for more than one; gives the end of the log that
    /// was appended meanwhile.
    fn copy_producers(&self, into: &mut Vec<(ProducerKey, Producer)>) -> u64 {
        let mut after = None;
        loop {
            into.reserve(producers::PAGE);
            let appender = lock(&self.appender);
            after = appender.producers.page(after, into);
            if after.is_none() {
                #[cfg(feature = "mutants")]
                if crate::mutant::is(crate::mutant::Mutant::ForgetProducers) {
                    into.clear();
                }
                return appender.end();
            }
        }
    }

    /// Writes the indexes up to what is durable and visible. A failure of one is none of the other, and loses nothing:
    /// the next start reads more of the log instead.
    fn keep_indexes(&self, house: &mut House, now_or_never: bool) {
        let now = self.clock.monotonic_ms();
        let covered = self.watermarks.flushed().0.min(self.watermarks.dispatched().0);
        let ahead = covered.saturating_sub(house.checkpointed);
        let timely = ahead > 0 && now >= house.checkpoint_due_ms;
        let wanted = ahead >= CHECKPOINT_BYTES || timely;
        if !self.queues.is_given_up() && (now_or_never || wanted && house.queues_job.may_run(now)) {
            house.checkpoint_due_ms = now + CHECKPOINT_INTERVAL_MS;
            let done = self.queues.checkpoint(covered);
            if done.is_ok() {
                house.checkpointed = covered;
            }
            // What is given up was said so, and is not tried again.
            if !self.queues.is_given_up() {
                house.queues_job.ended(now, "writing the queue index", done);
            }
        }
        // A checkpoint of the key index makes a file, so it comes less often.
        let keys_ahead = covered.saturating_sub(house.keys_checkpointed);
        let wanted = keys_ahead >= CHECKPOINT_BYTES || self.keys.wants_checkpoint();
        if now_or_never || wanted && house.keys_job.may_run(now) {
            let done = self.keys.checkpoint(covered);
            if done.is_ok() {
                house.keys_checkpointed = covered;
            }
            house.keys_job.ended(now, "writing the key index", done);
        }
    }

    /// Writes snapshot, indexes and the clean flag; the log is flushed to its end and nothing is appended any more.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut house = lock(&self.house);
        let end = self.watermarks.appended().0;
        assert!(self.watermarks.flushed().0 == end, "a clean stop comes after the last flush");
        house.image = Some(self.take_image(&mut house.sealed));
        self.write_image(&mut house)?;
        self.keep_indexes(&mut house, true);
        let mut superblock = lock(&self.superblock);
        if let Some(superblock) = superblock.as_mut() {
            let prewritten = self.files.zeroed_end(end);
            superblock.update(|s| {
                s.durable = end;
                s.prewritten = s.prewritten.max(prewritten);
                s.clean = true;
            })?;
        }
        self.proved.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }
}

/// When so few bytes of room are left (or an eighth of what is wanted ahead, if less), a disk that gives no more counts
/// as full.
const PRESSED_BYTES: u64 = 1 << 20;
/// Room that a disk which was full must give before writers go on, at least.
const TRIAL_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_when_it_is_new_and_then_rarely() {
        let mut job = Job::default();
        assert!(job.is_news(0, "EIO") && !job.is_news(1, "EIO") && !job.is_news(REPEAT_MS - 1, "EIO"));
        assert!(job.is_news(REPEAT_MS, "EIO") && job.is_news(REPEAT_MS, "ENOSPC"));
        job.ended(5, "a test", Err(io::ErrorKind::Other.into()));
        assert!(!job.may_run(5) && !job.may_run(4 + RETRY_MS) && job.may_run(5 + RETRY_MS));
        job.ended(6 + RETRY_MS, "a test", Ok(()));
        assert!(
            job.may_run(6 + RETRY_MS) && job.is_news(REPEAT_MS, "ENOSPC"),
            "what ended well is forgotten"
        );
    }
}
