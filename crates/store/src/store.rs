//! The handle: everything that reactors, threads and tests may ask of one shard's log.

use std::fmt;
use std::sync::{Arc, PoisonError};

use braid_io::{Clock, Disk, Space};
use bytes::Bytes;

use crate::append::{AppendError, Appended, Group, GroupBuilder};
use crate::appender::Appender;
use crate::catalog::{LOST_TOPIC, QueueKey, STATE_TOPIC, TopicId, TopicInfo, TopicNumber, encode_topic};
use crate::epoch::EpochEnd;
use crate::health::lock;
use crate::options::{FlushMode, StoreOptions};
use crate::producers::ProducerInfo;
use crate::progress::{DispatchListener, Level, Position, Progress, Promise, Watermarks};
use crate::read::{Boundary, Named, QueueOffsets, Read, ReadRequest, Timed};
use crate::recovery;
use crate::report::{Health, OpenError, RecoveryReport, StoreError};
use crate::retention::PressureListener;
use crate::shard::Shard;
use crate::state::{StateChange, StateKind, start_change};

/// One shard's log. A clone is another handle to the same log.
#[derive(Clone)]
pub struct Store {
    shard: Arc<Shard>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.shard.layout.dir)
            .field("watermarks", &self.shard.watermarks)
            .finish_non_exhaustive()
    }
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
        options: StoreOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let (shard, report) = recovery::open(options, disk, clock)?;
        Ok((Self { shard: Arc::new(shard) }, report))
    }

    // --- writing -------------------------------------------------------------------------------------------------

    /// Encodes a group, outside the append section: derives its records' facts and checks that it fits into a file.
    ///
    /// # Errors
    /// `Encode`, `TooLarge`, `TargetRange`.
    pub fn group(&self, builder: GroupBuilder) -> Result<Group, AppendError> {
        self.shard.group(builder)
    }

    /// The append section: gives the group its offsets and positions, stamps its records and puts them into the tail.
    /// It is in memory then; [`write_turn`](Self::write_turn) must follow, once per reactor turn.
    ///
    /// # Errors
    /// `NoTopic`, `Busy`, `DiskFull`, `Closed`, `OutOfOrderSequence`, `StaleProducerEpoch`; nothing was appended then. That
    /// the group was appended before is no error: see [`Appended::duplicate`].
    pub fn append(&self, group: Group) -> Result<Appended, AppendError> {
        self.shard.append(group)
    }

    /// Writes what was appended with one `pwrite`, if no other thread is at it. In async mode also dispatches.
    pub fn write_turn(&self) -> WriteOutcome {
        self.shard.write_turn()
    }

    /// Makes durable what is written, with one `fdatasync`, and dispatches it in sync mode. For the flush thread, and
    /// for a lone request on an idle reactor.
    pub fn flush_turn(&self) -> FlushOutcome {
        self.shard.flush_turn()
    }

    /// True when [`flush_turn`](Self::flush_turn) is due now: always after a write in sync mode; in async mode after
    /// 500 ms with at least 4 dirty pages, after 10 s in any case, or when half the unflushed bound is written.
    pub fn flush_is_due(&self) -> bool {
        self.shard.flush_is_due()
    }

    /// Work that is not on the path of a message: superblock, pre-writing, retention, snapshots, index checkpoints.
    /// Each call does at most one bounded step of each; gives the milliseconds after which it wants to be called again.
    pub fn housekeeping(&self) -> u64 {
        self.shard.housekeeping()
    }

    /// Flushes, writes snapshot, indexes and the clean flag. Appends are refused from now on. A store that was opened for
    /// reading has nothing to write: it stays as it is.
    ///
    /// # Errors
    /// What the disk answers; the next start is an unclean one then.
    pub fn close(&self) -> Result<(), StoreError> {
        {
            // Under the append lock: no append comes between the last flush and the clean flag.
            let _appender = lock(&self.shard.appender);
            if lock(&self.shard.superblock).is_none() {
                return Ok(());
            }
            self.shard.health.admit().or_else(|why| match why {
                AppendError::DiskFull(_) => Ok(()),
                why => Err(why),
            })?;
            self.shard.health.worsen(Health::ReadOnly(CLOSED.to_owned()));
        }
        let closed = self.shard.guarded("closing", || {
            if !self.shard.drain() {
                return Err(AppendError::Closed("the last flush failed".to_owned()).into());
            }
            Ok(self.shard.finish()?)
        });
        self.shard.notify();
        closed.unwrap_or_else(|| Err(AppendError::Closed("closing panicked".to_owned()).into()))
    }

    /// How far the log is.
    pub fn watermarks(&self) -> &Watermarks {
        &self.shard.watermarks
    }

    /// Adds someone to tell when a watermark or the health moved.
    pub fn subscribe(&self, progress: Arc<dyn Progress>) {
        self.shard.subscribe(progress);
    }

    /// Adds someone to tell what became visible. For `broker`'s waiters, before the first append.
    pub fn listen(&self, listener: Arc<dyn DispatchListener>) {
        lock(&self.shard.dispatcher).listen(listener);
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        self.shard.health.get()
    }

    /// The mode in force.
    pub fn flush_mode(&self) -> FlushMode {
        self.shard.mode()
    }

    // --- topics and state ----------------------------------------------------------------------------------------

    /// Creates a topic: appended as state, and usable at once. The promise is at `Flushed` in sync mode, else `Written`.
    ///
    /// # Errors
    /// `TopicExists`, or why it could not be appended.
    pub fn create_topic(&self, name: &str, config: &[u8]) -> Result<Promise<TopicInfo>, StoreError> {
        let mut appender = lock(&self.shard.appender);
        let number = {
            let catalog = self.shard.catalog();
            if catalog.named(name).is_some() || name == LOST_TOPIC {
                return Err(StoreError::TopicExists);
            }
            if catalog.is_full() {
                return Err(StoreError::TooManyTopics);
            }
            catalog.next_number()
        };
        let id = TopicId(lock(&self.shard.ids).draw());
        let info = TopicInfo { name: name.to_owned(), number, id, config: config.to_vec() };
        let value = encode_topic(number, id, config);
        Ok(self.change_topic(&mut appender, name, Some(value))?.map(|()| info))
    }

    /// Replaces a topic's config.
    ///
    /// # Errors
    /// `NoTopic`, or why it could not be appended.
    pub fn configure_topic(&self, topic: TopicNumber, config: &[u8]) -> Result<Promise<()>, StoreError> {
        let mut appender = lock(&self.shard.appender);
        let (name, value) = {
            let catalog = self.shard.catalog();
            let topic = catalog.live(topic).ok_or(StoreError::NoTopic)?;
            (topic.name.clone(), encode_topic(topic.number, topic.id, config))
        };
        self.change_topic(&mut appender, &name, Some(value))
    }

    /// Deletes a topic: its records are dead from here on, for readers, keys and rebuilds.
    ///
    /// # Errors
    /// `NoTopic`, or why it could not be appended.
    pub fn delete_topic(&self, topic: TopicNumber) -> Result<Promise<()>, StoreError> {
        let mut appender = lock(&self.shard.appender);
        let name = {
            let catalog = self.shard.catalog();
            let topic = catalog.live(topic).filter(|topic| &*topic.name != STATE_TOPIC);
            topic.ok_or(StoreError::NoTopic)?.name.clone()
        };
        self.change_topic(&mut appender, &name, None)
    }

    /// Deletes the records of a queue below `offset`: readers, look-ups and names do not find them from the moment on
    /// at which the promise comes due, and what only they needed is given up with its log files. An offset above the
    /// visible end counts as that. A queue's start never goes back; one that lies there or behind already stays, and
    /// nothing is appended. The promise gives the start, at `Flushed` in sync mode, else `Written`.
    ///
    /// # Errors
    /// `NoTopic`, or why it could not be appended.
    pub fn cut_queue(&self, queue: QueueKey, offset: u64) -> Result<Promise<u64>, StoreError> {
        let mut appender = lock(&self.shard.appender);
        self.shard.catalog().live(queue.topic).ok_or(StoreError::NoTopic)?;
        let visible = self.shard.queues.offsets(queue).unwrap_or_default();
        let known = visible.min.max(appender.state.start_of(queue).unwrap_or(0));
        let offset = offset.min(visible.max);
        if offset <= known {
            return Ok(Promise { end: Position(appender.end()), level: self.ack_level(), value: known });
        }
        Ok(self.append_change(&mut appender, start_change(queue, offset))?.map(|()| offset))
    }

    /// Says that a topic has a retention of its own, or that it has none any more. A log file with records that a queue
    /// of such a topic still has is not deleted, however old it is; the topic's keeper moves the queues' starts by
    /// [`cut_queue`](Self::cut_queue). Under disk pressure it is deleted only if
    /// [`pressure_takes_all`](crate::RetentionOptions::pressure_takes_all). A file that no queue needs any more goes early.
    /// Not kept over a restart: to be said again before the store's threads start. Never waits for the disk.
    pub fn pin_topic(&self, topic: TopicNumber, is_pinned: bool) {
        let mut pinned = self.shard.pinned.write().unwrap_or_else(PoisonError::into_inner);
        match is_pinned {
            true => pinned.insert(topic),
            false => pinned.remove(&topic),
        };
    }

    /// Milliseconds after its newest record for which a log file is kept.
    pub fn keep_ms(&self) -> i64 {
        self.shard.options.retention.keep_ms
    }

    /// The topic of that name, if it exists now.
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.shard.catalog().info(name)
    }

    /// All topics that exist now, internal ones included, by name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        self.shard.catalog().infos()
    }

    /// All state entries of a kind, by key, as appended so far. For `broker`'s start; it keeps its own copy afterwards.
    pub fn state(&self, kind: StateKind) -> Vec<(Vec<u8>, Vec<u8>)> {
        lock(&self.shard.appender).state.of_kind(kind)
    }

    // --- reading -------------------------------------------------------------------------------------------------

    /// Reads a queue. Never waits for the disk: a read that would is given as a ticket.
    ///
    /// # Errors
    /// `Damaged` when the first record is not the (topic, queue, offset) that the index names. Damage further on ends the
    /// result before it, with `next_offset` at the damaged record.
    pub fn read(&self, request: &ReadRequest<'_>) -> Result<Read, StoreError> {
        self.shard.read(request)
    }

    /// First and next visible offset of a queue; `None` when it never had a record.
    pub fn offsets(&self, queue: QueueKey) -> Option<QueueOffsets> {
        self.shard.visible_offsets(queue)
    }

    /// The offset that a queue's next record gets: its end as appended, which readers may not see yet. 0 for an unknown
    /// queue. Takes the append section's lock for a moment.
    pub fn log_end(&self, queue: QueueKey) -> u64 {
        lock(&self.shard.appender).next_offset(queue)
    }

    /// The log's epoch: raised at every start that follows no clean stop, when acknowledged and visible is not always
    /// the same as durable. It never goes back.
    pub fn epoch(&self) -> u32 {
        self.shard.epochs.current()
    }

    /// The largest epoch up to `epoch`, and where it ends in a queue: the first offset of the next epoch, or
    /// [`log_end`](Self::log_end). `None` for an epoch that has not begun, and for a topic that does not exist. Of an
    /// epoch before those that the superblock remembers (256) the answer names it and the start of the oldest. May wait
    /// for the disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn epoch_end(&self, queue: QueueKey, epoch: u32) -> Result<Option<(u32, u64)>, StoreError> {
        if self.shard.catalog().live(queue.topic).is_none() {
            return Ok(None);
        }
        let Some((epoch, end)) = self.shard.epochs.end_of(epoch) else { return Ok(None) };
        let offset = match end {
            EpochEnd::Open => self.log_end(queue),
            EpochEnd::At(position) => self.shard.queues.first_at(queue, position)?.unwrap_or(0),
        };
        Ok(Some((epoch, offset)))
    }

    /// The idempotent producers that are known in a queue, by id, as appended so far.
    pub fn producers_of(&self, queue: QueueKey) -> Vec<ProducerInfo> {
        let mut all: Vec<ProducerInfo> = Vec::new();
        loop {
            // In pages, so that no append waits for all of them.
            let after = all.last().map(|info| info.producer_id);
            let page = lock(&self.shard.appender).producers.of_queue(queue, after);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// All queues of a topic that ever had a record, with their offsets.
    pub fn queues(&self, topic: TopicNumber) -> Vec<(QueueKey, QueueOffsets)> {
        let queues = self.shard.queues.queues(topic).into_iter().map(|queue_id| QueueKey { topic, queue_id });
        queues.filter_map(|queue| Some((queue, self.offsets(queue)?))).collect()
    }

    /// The queues of all topics that are wanted and ever had a record, with their offsets: one look at every queue there
    /// is, however many topics are wanted.
    pub fn queues_of(&self, is_wanted: impl Fn(TopicNumber) -> bool) -> Vec<(QueueKey, QueueOffsets)> {
        let queues = self.shard.queues.queues_of(is_wanted).into_iter();
        queues.filter_map(|queue| Some((queue, self.offsets(queue)?))).collect()
    }

    /// The offset at a time, exact to the message. May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn offset_at(&self, queue: QueueKey, time_ms: i64, boundary: Boundary) -> Result<u64, StoreError> {
        self.shard.offset_at(queue, time_ms, boundary)
    }

    /// The first record of a queue, in offset order, whose newest time is `time_ms` or later: the time that its kind's
    /// deriver found in it, or its store time. Whole blocks of the index are passed over, so it costs a few reads however
    /// long the queue is. May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn first_newer(&self, queue: QueueKey, time_ms: i64) -> Result<Option<Timed>, StoreError> {
        self.shard.first_newer(queue, time_ms)
    }

    /// The record of a queue with the newest time, the first of those that share it; `None` for a queue without records.
    /// May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn newest(&self, queue: QueueKey) -> Result<Option<Timed>, StoreError> {
        self.shard.newest(queue)
    }

    /// Bytes of the records that a queue has, each whole. May wait for the disk, for one block of the index at most.
    ///
    /// # Errors
    /// `Io`.
    pub fn queue_bytes(&self, queue: QueueKey) -> Result<u64, StoreError> {
        self.shard.queue_bytes(queue)
    }

    /// The lowest offset from which on a queue's records have at most `bytes_max` bytes: where the queue must begin to be
    /// no larger. May wait for the disk, for two blocks of the index at most.
    ///
    /// # Errors
    /// `Io`.
    pub fn offset_of_size(&self, queue: QueueKey, bytes_max: u64) -> Result<u64, StoreError> {
        self.shard.offset_of_size(queue, bytes_max)
    }

    /// The store time of the record at an offset; `None` when there is none. May wait for the disk.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn store_time(&self, queue: QueueKey, offset: u64) -> Result<Option<i64>, StoreError> {
        self.shard.store_time(queue, offset)
    }

    /// What this position names: a record, or a message inside one. The index must map the record's own (topic, queue,
    /// offset) back to it, so that bytes inside a body never pass for a record. What is deleted has no name. May wait for
    /// the disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn record_named(&self, position: Position) -> Result<Option<Named>, StoreError> {
        match position.slot_and_index() {
            None => {
                let found = self.shard.record_named(position.0)?;
                Ok(found.map(|found| Named { record: found.bytes, index: None }))
            }
            Some((slot, index)) => {
                let record = self.shard.record_in_slot(slot, index)?;
                Ok(record.map(|record| Named { record, index: Some(index) }))
            }
        }
    }

    /// Records of a topic that carry a key, newest first, stored in `[from_ms, to_ms]`. May wait for the disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn query_key(
        &self,
        topic: TopicNumber,
        key: &str,
        from_ms: i64,
        to_ms: i64,
        records_max: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.shard.query_key(topic, key, (from_ms, to_ms), records_max)
    }

    /// The directory's identity, which stays as long as its data does; `None` when it is read only and its superblock is lost.
    pub fn directory(&self) -> Option<u128> {
        lock(&self.shard.superblock).as_ref().map(|file| file.current().directory)
    }

    /// First position of the log and its appended end.
    pub fn log_range(&self) -> (Position, Position) {
        (Position(self.shard.first()), self.shard.watermarks.appended())
    }

    /// Store time of the oldest record, if there is one. May wait for the disk.
    pub fn oldest_store_time(&self) -> Option<i64> {
        self.shard.oldest_store_time()
    }

    /// Part of the disk in use, 0 to 1.
    pub fn disk_ratio(&self) -> f64 {
        let Ok(space) = self.disk_space() else { return 0.0 };
        if space.total == 0 { 0.0 } else { 1.0 - space.free.min(space.total) as f64 / space.total as f64 }
    }

    /// The file system that the log lies on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn disk_space(&self) -> std::io::Result<Space> {
        self.shard.disk.space(&self.shard.layout.dir)
    }

    pub(crate) fn shard(&self) -> Arc<Shard> {
        self.shard.clone()
    }

    /// Appends a change of a topic, under the append lock: it is checked against the catalog that it changes.
    fn change_topic(
        &self,
        appender: &mut Appender,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<Promise<()>, StoreError> {
        let change = StateChange { kind: StateKind::TOPIC, key: name.as_bytes().to_vec(), value };
        self.append_change(appender, change)
    }

    /// Appends a change of the store's own state, under the append lock.
    fn append_change(&self, appender: &mut Appender, change: StateChange) -> Result<Promise<()>, StoreError> {
        let mut builder = GroupBuilder::new();
        builder.any_state(&[change]);
        let group = self.shard.group(builder)?;
        let appended = self.shard.guarded("the append section", || self.shard.append_locked(appender, group));
        let appended =
            appended.unwrap_or_else(|| Err(AppendError::Closed("the append section panicked".to_owned())))?;
        Ok(appended.promise(self.ack_level(), ()))
    }

    /// The level at which this store's mode acknowledges.
    pub fn ack_level(&self) -> Level {
        match self.shard.mode() {
            FlushMode::Sync => Level::Flushed,
            FlushMode::Async => Level::Written,
        }
    }

    /// Adds someone to tell when the disk's pressure deletes records before their time.
    pub fn listen_for_pressure(&self, listener: Arc<dyn PressureListener>) {
        self.shard.listen_for_pressure(listener);
    }

    /// Says that `name` needs the log from `position` on, or that it needs nothing any more: what lies there or behind
    /// is not deleted.
    pub fn hold(&self, name: &'static str, position: Option<Position>) {
        lock(&self.shard.house).retention.hold(name, position.map(|p| p.0));
    }
}

/// What a closed store answers to writers.
const CLOSED: &str = "the store was closed";
