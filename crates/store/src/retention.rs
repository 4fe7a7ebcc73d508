//! Giving up the log's oldest files: by age, and under pressure of the disk.
//!
//! A topic may have a retention of its own, longer or shorter than the files': its keeper moves the starts of its queues,
//! and a file stays as long as such a queue begins in or before it. Then disk pressure refuses writers instead of taking
//! the file, unless the options say otherwise. A file that no queue needs goes early.
//!
//! What may go is the minimum over the named holders. A file goes in an order that a crash cannot break: a snapshot that
//! covers it is durable, the superblock names the new start, readers are told, and only then its name is removed. A
//! start that finds a file below the superblock's first position removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use braid_io::Clock;

use crate::catalog::{QueueKey, STATE_TOPIC_NUMBER, TopicNumber};
use crate::health::lock;
use crate::housekeeping::{House, Job};
use crate::shard::Shard;

/// A wall clock that moved on by this much more than the monotonic one has jumped.
const JUMP_MS: i64 = 60_000;
/// While the age of files is in doubt, one goes in this time.
const DOUBT_PAUSE_MS: u64 = 60_000;
/// Files that must be free before disk pressure stops to count, when that is less than [`FREE_BYTES`].
const FREE_FILES: u64 = 4;
const FREE_BYTES: u64 = 10 << 30;
/// Pause between two looks whether some queue still needs the oldest file, which is one look at every queue.
const UNNEEDED_PAUSE_MS: u64 = 10_000;

/// A queue whose first offset rose because the disk was nearly full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutQueue {
    /// The queue.
    pub queue: QueueKey,
    /// Its first offset before.
    pub was: u64,
    /// Its first offset now: what lies between is gone before its time.
    pub min: u64,
}

/// Told when the disk's pressure deletes records before their time: who knows the groups can say which had not read.
/// Called by the housekeeping thread, which holds its own state meanwhile: must not block, nor call
/// [`Store::hold`](crate::Store::hold).
pub trait PressureListener: Send + Sync {
    /// These queues lost records.
    fn cut_under_pressure(&self, cut: &[CutQueue]);
}

/// Owned by the thread that keeps house.
pub(crate) struct Retention {
    /// State and offsets of all records below are in the snapshot on disk.
    pub(crate) snapshot_covers: u64,
    /// Who else needs the log from where on, by name.
    holders: BTreeMap<&'static str, u64>,
    wall_ms: i64,
    monotonic_ms: u64,
    /// Files that came of age in this span of wall time did so while nobody was running.
    slept: Option<(i64, i64)>,
    /// Files that came of age in this span of wall time did so by a jump of the clock in this run.
    jumped: Option<(i64, i64)>,
    doubted_next_ms: u64,
    /// The queue that needed the oldest file when that was asked last: the first to ask again.
    needed_by: Option<QueueKey>,
    /// When to look again for queues that need the oldest file.
    unneeded_next_ms: u64,
    /// The file that pressure was told to spare.
    spared: Option<u64>,
    /// Files below the log's start whose names may still be on the disk.
    unlinked: Vec<u64>,
    job: Job,
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Age,
    Pressure,
    /// No queue has a record in it.
    Unneeded,
}

impl Retention {
    /// `store_ms` is the time of the log's newest record: what came of age since then did so while nobody was running.
    pub(crate) fn new(store_ms: i64, clock: &dyn Clock) -> Self {
        let (wall_ms, monotonic_ms) = (clock.wall_ms(), clock.monotonic_ms());
        let slept = (store_ms > 0 && wall_ms - store_ms > JUMP_MS).then_some((store_ms, wall_ms));
        Self {
            snapshot_covers: 0,
            holders: BTreeMap::new(),
            wall_ms,
            monotonic_ms,
            slept,
            jumped: None,
            doubted_next_ms: monotonic_ms,
            needed_by: None,
            unneeded_next_ms: monotonic_ms,
            spared: None,
            unlinked: Vec::new(),
            job: Job::default(),
        }
    }

    /// Says that `name` needs the log from `position` on, or that it needs nothing.
    pub(crate) fn hold(&mut self, name: &'static str, position: Option<u64>) {
        match position {
            Some(position) => self.holders.insert(name, position),
            None => self.holders.remove(name),
        };
    }

    fn watch_clock(&mut self, clock: &dyn Clock) -> i64 {
        let (wall, monotonic) = (clock.wall_ms(), clock.monotonic_ms());
        let went = wall - self.wall_ms - (monotonic - self.monotonic_ms) as i64;
        if went > JUMP_MS {
            let from = self.jumped.map_or(self.wall_ms, |(from, _)| from.min(self.wall_ms));
            tracing::warn!(
                jump_ms = went,
                "the wall clock jumped: at most one log file is deleted per minute"
            );
            self.jumped = Some((from, wall));
        }
        (self.wall_ms, self.monotonic_ms) = (wall, monotonic);
        wall
    }

    /// True when a file that came of age at `of_age_ms` may go now. `hurries`: the disk fills up, which ends the doubt
    /// about time that nobody was running, not the doubt about a clock that jumped.
    fn is_its_turn(&mut self, of_age_ms: i64, now_ms: u64, hurries: bool) -> bool {
        let is_in =
            |span: Option<(i64, i64)>| span.is_some_and(|(from, to)| (from..=to).contains(&of_age_ms));
        if !is_in(self.jumped) && (hurries || !is_in(self.slept)) {
            return true;
        }
        if now_ms < self.doubted_next_ms {
            return false;
        }
        self.doubted_next_ms = now_ms + DOUBT_PAUSE_MS;
        true
    }
}

impl Shard {
    /// Gives up at most one file. True when the disk is too full for writers.
    pub(crate) fn keep_retention(&self, house: &mut House) -> bool {
        let wall = house.retention.watch_clock(&*self.clock);
        let used_percent = self.pressing_percent();
        let refuse = u64::from(self.options.retention.used_percent[2]);
        let pressed = used_percent.is_some_and(|used| used >= refuse);
        if pressed {
            self.disk_full(format!(
                "{}% of the disk are in use, from {refuse}% on writers are refused",
                used_percent.unwrap_or(100)
            ));
        }
        let now = self.clock.monotonic_ms();
        if house.retention.job.may_run(now) {
            let done = self.give_up_oldest(house, wall, used_percent);
            house.retention.job.ended(now, "giving up the oldest log file", done);
        }
        pressed
    }

    fn give_up_oldest(&self, house: &mut House, wall: i64, used_percent: Option<u64>) -> io::Result<()> {
        // A file that is still there has given no room: none may follow it until it is gone.
        self.remove_unlinked(house)?;
        match self.head_file_goes(house, wall, used_percent)? {
            Some(reason) => self.give_up_head(house, reason),
            None => Ok(()),
        }
    }

    /// Removes the files that the log has given up, durably.
    fn remove_unlinked(&self, house: &mut House) -> io::Result<()> {
        if house.retention.unlinked.is_empty() {
            return Ok(());
        }
        for &base in &house.retention.unlinked {
            match self.disk.remove_file(&self.layout.log_file(base)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        crate::files::sync_dir(&*self.disk, &self.layout.commitlog)?;
        house.retention.unlinked.clear();
        Ok(())
    }

    /// Percent of the disk in use, when so little is free that it counts.
    /// Asked anew each time: an answer from before the last deletion would delete a file too many.
    fn pressing_percent(&self) -> Option<u64> {
        let space = self.disk.space(&self.layout.dir).ok().filter(|space| space.total > 0)?;
        let free_min = self
            .options
            .retention
            .free_bytes_min
            .unwrap_or(FREE_BYTES.min(FREE_FILES * self.options.file_bytes));
        let used = space.total - space.free.min(space.total);
        (space.free < free_min)
            .then(|| u64::try_from(u128::from(used) * 100 / u128::from(space.total)).unwrap_or(100))
    }

    /// Why the oldest file goes now; `None` when it stays. `used_percent`: of the disk, if it counts.
    fn head_file_goes(
        &self,
        house: &mut House,
        wall: i64,
        used_percent: Option<u64>,
    ) -> io::Result<Option<Reason>> {
        house.sealed.extend(lock(&self.appender).take_seals());
        let head = self.first();
        let end = head + self.options.file_bytes;
        let dispatched = self.watermarks.dispatched().0;
        let held = house.retention.holders.values().copied().min().unwrap_or(u64::MAX);
        // The file that is written, what is not visible yet and what somebody holds stays.
        if end > dispatched.min(self.watermarks.flushed().0).min(held) {
            return Ok(None);
        }
        // A file without a known time is never of age, but pressure takes it.
        let last_ms = house.sealed.get(&head).copied();
        let of_age = last_ms.map_or(i64::MAX, |ms| ms.saturating_add(self.options.retention.keep_ms));
        let [clean, force, _] = self.options.retention.used_percent.map(u64::from);
        let is_forced = used_percent.is_some_and(|used| used >= force);
        let Some(reason) = self.reason(house, is_forced, of_age < wall)? else { return Ok(None) };
        // The snapshot is the first holder: it must know the offsets of queues that end with this file.
        if house.retention.snapshot_covers < end || house.snapshot_position < end {
            house.wants_snapshot = true;
            return Ok(None);
        }
        let now = self.clock.monotonic_ms();
        let hurries = used_percent.is_some_and(|used| used >= clean);
        let goes = reason != Reason::Age || house.retention.is_its_turn(of_age, now, hurries);
        Ok(goes.then_some(reason))
    }

    /// Why the oldest file would go if nobody held it.
    fn reason(&self, house: &mut House, is_forced: bool, is_of_age: bool) -> io::Result<Option<Reason>> {
        let head = self.first();
        let end = head + self.options.file_bytes;
        if is_forced && self.options.retention.pressure_takes_all {
            return Ok(Some(Reason::Pressure));
        }
        if is_forced || is_of_age {
            let Some(queue) = self.pinned_queue_below(house, end)? else {
                return Ok(Some(if is_forced { Reason::Pressure } else { Reason::Age }));
            };
            if is_forced && house.retention.spared != Some(head) {
                house.retention.spared = Some(head);
                let topic = self.catalog().live(queue.topic).map(|topic| topic.name.clone());
                tracing::warn!(
                    head,
                    ?topic,
                    queue_id = queue.queue_id,
                    "the disk is nearly full, and the oldest log file stays: a topic's own retention needs it"
                );
            }
            return Ok(None);
        }
        Ok(self.is_unneeded(house, end)?.then_some(Reason::Unneeded))
    }

    /// A queue of a topic with a retention of its own that begins below a position.
    fn pinned_queue_below(&self, house: &mut House, position: u64) -> io::Result<Option<QueueKey>> {
        let is_pinned =
            |topic: TopicNumber| self.pinned.read().unwrap_or_else(PoisonError::into_inner).contains(&topic);
        self.queue_below(house, position, &is_pinned)
    }

    /// True when no queue begins below a position. Asked only where topics have a retention of their own, and now and then.
    fn is_unneeded(&self, house: &mut House, position: u64) -> io::Result<bool> {
        let now = self.clock.monotonic_ms();
        let has_pins = !self.pinned.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        if !has_pins || now < house.retention.unneeded_next_ms {
            return Ok(false);
        }
        // State is in the snapshot.
        let is_needed = self.queue_below(house, position, &|topic| topic != STATE_TOPIC_NUMBER)?.is_some();
        if is_needed {
            house.retention.unneeded_next_ms = now + UNNEEDED_PAUSE_MS;
        }
        Ok(!is_needed)
    }

    /// A queue that begins below a position, of a topic that is wanted.
    fn queue_below(
        &self,
        house: &mut House,
        position: u64,
        is_wanted: &dyn Fn(TopicNumber) -> bool,
    ) -> io::Result<Option<QueueKey>> {
        let is_live = |topic| self.catalog().live(topic).is_some();
        if let Some(queue) = house.retention.needed_by.take().filter(|queue| is_wanted(queue.topic))
            && is_live(queue.topic)
            && self.queues.starts_below(queue, position)?
        {
            house.retention.needed_by = Some(queue);
            return Ok(Some(queue));
        }
        for queue in self.queues.queues_of(is_wanted) {
            if is_live(queue.topic) && self.queues.starts_below(queue, position)? {
                house.retention.needed_by = Some(queue);
                return Ok(Some(queue));
            }
        }
        Ok(None)
    }

    fn give_up_head(&self, house: &mut House, reason: Reason) -> io::Result<()> {
        let head = self.first();
        let first = head + self.options.file_bytes;
        if let Some(superblock) = lock(&self.superblock).as_mut() {
            superblock.update(|s| {
                s.first_position = first;
                s.durable = s.durable.max(first);
            })?;
        }
        self.first.store(first, Ordering::Release);
        house.sealed.remove(&head);
        let before = (reason == Reason::Pressure).then(|| self.first_offsets());
        tracing::info!(head, ?reason, "the oldest log file is deleted");
        // Whatever fails from here on is made good by the next start: the file lies below the log's start. Until then
        // the file goes whatever becomes of the indexes, which only hold too much.
        self.files.take_out(head);
        house.retention.unlinked.push(head);
        self.forget_topics_below(first);
        let trimmed = (self.queues.trim(first), self.keys.trim(first));
        if let Some(before) = before {
            self.tell_pressure(head, &before);
        }
        self.remove_unlinked(house)?;
        trimmed.0.and(trimmed.1).map_err(|error| {
            io::Error::new(error.kind(), format!("it is deleted, but an index could not be trimmed: {error}"))
        })
    }

    fn first_offsets(&self) -> Vec<(QueueKey, u64)> {
        let queues = self.queues.next_offsets().into_iter();
        queues.filter_map(|(queue, _)| Some((queue, self.queues.offsets(queue)?.min))).collect()
    }

    /// Says which queues lost records before their time, to the log and to whoever knows who had not read them.
    fn tell_pressure(&self, head: u64, before: &[(QueueKey, u64)]) {
        let cut: Vec<CutQueue> = before
            .iter()
            .filter_map(|&(queue, was)| {
                let min = self.queues.offsets(queue)?.min;
                (min > was).then_some(CutQueue { queue, was, min })
            })
            .collect();
        let catalog = self.catalog();
        let topics: BTreeSet<&str> =
            cut.iter().filter_map(|cut| Some(&*catalog.live(cut.queue.topic)?.name)).collect();
        tracing::warn!(
            head,
            queues = cut.len(),
            ?topics,
            "the disk is nearly full: the oldest log file is deleted before its time"
        );
        drop(topics);
        drop(catalog);
        for listener in self.pressure_listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener.cut_under_pressure(&cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    #[derive(Default)]
    struct Hands {
        wall: AtomicI64,
        monotonic: AtomicI64,
    }

    impl Clock for Hands {
        fn wall_ms(&self) -> i64 {
            self.wall.load(Ordering::Relaxed)
        }

        fn monotonic_ms(&self) -> u64 {
            self.monotonic.load(Ordering::Relaxed) as u64
        }
    }

    #[test]
    fn after_a_jump_of_the_clock_one_file_goes_per_minute() {
        for hurries in [false, true] {
            let clock = Hands::default();
            clock.wall.store(1_000_000, Ordering::Relaxed);
            let mut retention = Retention::new(0, &clock);
            let mut is_its_turn = |of_age, now| retention.is_its_turn(of_age, now, hurries);
            assert!(is_its_turn(900_000, 0) && is_its_turn(900_001, 0));
            // A day passes on the wall within a second.
            clock.wall.store(87_400_000, Ordering::Relaxed);
            clock.monotonic.store(1000, Ordering::Relaxed);
            retention.watch_clock(&clock);
            let mut is_its_turn = |of_age, now| retention.is_its_turn(of_age, now, hurries);
            assert!(is_its_turn(2_000_000, 1000));
            assert!(!is_its_turn(2_000_001, 60_999));
            assert!(is_its_turn(2_000_001, 61_000));
            // What comes of age after the jump is not in doubt.
            assert!(is_its_turn(87_400_001, 61_000) && is_its_turn(87_400_002, 61_000));
        }
    }

    #[test]
    fn what_came_of_age_while_nobody_was_running_is_in_doubt() {
        let clock = Hands::default();
        clock.wall.store(1_000_000, Ordering::Relaxed);
        let mut retention = Retention::new(100_000, &clock);
        assert!(retention.is_its_turn(500_000, 0, false) && !retention.is_its_turn(500_000, 1, false));
        assert!(retention.is_its_turn(500_000, 1, true), "but for a disk that fills up");
    }
}
