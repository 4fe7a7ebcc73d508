//! What all threads share of one open log.
//!
//! Lock order, outermost first: `house` → `flusher` → `writer` → `appender` → `catalog`; `dispatcher`, `tail`,
//! `superblock` and the files' list are innermost and never held while another lock is taken, but for `ended_topics` →
//! `dispatcher` → the indexes. No lock that an append needs is ever held across a write or a sync.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use braid_io::{Clock, DirLock, Disk, Rng};

use crate::append::{AppendError, Appended, Group, GroupBuilder};
use crate::appender::{Appender, CatalogAccess, Limits, Refused};
use crate::catalog::{Catalog, TopicNumber};
use crate::dispatch::Dispatcher;
use crate::epoch::Epochs;
use crate::files::{Layout, LogFiles};
use crate::health::{HealthCell, lock};
use crate::housekeeping::House;
use crate::index::QueueIndex;
use crate::keys::KeyIndex;
use crate::options::{FlushMode, StoreOptions};
use crate::progress::{Progress, Watermarks};
use crate::report::Health;
use crate::retention::PressureListener;
use crate::signal::Signal;
use crate::state::StateKind;
use crate::superblock::SuperblockFile;
use crate::tail::Tail;
use crate::turns::{Flusher, Writer};

/// One open log.
pub(crate) struct Shard {
    pub(crate) options: StoreOptions,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watermarks: Watermarks,
    pub(crate) health: HealthCell,
    pub(crate) files: LogFiles,
    pub(crate) appender: Mutex<Appender>,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) tail: RwLock<Tail>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) flusher: Mutex<Flusher>,
    /// When the last flush ended, on the monotonic clock.
    pub(crate) last_flush_ms: AtomicU64,
    pub(crate) dispatcher: Mutex<Dispatcher>,
    /// Deleted topics whose queues are still in the index, and where their deletion ends.
    pub(crate) ended_topics: Mutex<Vec<(u64, TopicNumber)>>,
    pub(crate) queues: QueueIndex,
    pub(crate) keys: KeyIndex,
    /// `None` when the log was opened on damage: nothing is written then.
    pub(crate) superblock: Mutex<Option<SuperblockFile>>,
    pub(crate) house: Mutex<House>,
    pub(crate) epochs: Epochs,
    /// Topics with a retention of their own. Changed by reactors, so no lock that is held across I/O.
    pub(crate) pinned: RwLock<BTreeSet<TopicNumber>>,
    /// The log's first position; readers ask for it.
    pub(crate) first: AtomicU64,
    /// Up to here the superblock proves that the log is durable; a file is written only when its start is.
    pub(crate) proved: AtomicU64,
    /// False while the log is not pre-written ahead, since whoever waits for the start comes first.
    pub(crate) prewrites: AtomicBool,
    /// Something appended waits for the flush thread to write it.
    pub(crate) needs_write: AtomicBool,
    /// Room is wanted up to here; 0 when nobody waits for it.
    pub(crate) room_wanted: AtomicU64,
    pub(crate) ids: Mutex<Ids>,
    subscribers: RwLock<Vec<Arc<dyn Progress>>>,
    pub(crate) pressure_listeners: RwLock<Vec<Arc<dyn PressureListener>>>,
    /// For the flush thread, and for the housekeeping thread.
    pub(crate) flush_signal: Signal,
    pub(crate) house_signal: Signal,
    /// The directory's lock; released when the last handle is gone.
    pub(crate) _lock: Box<dyn DirLock>,
}

/// Draws ids that must differ from all others.
pub(crate) struct Ids(Option<Rng>);

impl Ids {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.map(Rng::new))
    }

    pub(crate) fn draw(&mut self) -> u128 {
        let mut word = || match &mut self.0 {
            Some(rng) => rng.next_u64(),
            None => Rng::from_entropy().next_u64(),
        };
        u128::from(word()) << 64 | u128::from(word())
    }
}

/// What [`Shard::new`] puts together.
pub(crate) struct Parts {
    pub(crate) options: StoreOptions,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lock: Box<dyn DirLock>,
    pub(crate) health: Health,
    pub(crate) files: LogFiles,
    pub(crate) appender: Appender,
    pub(crate) catalog: Catalog,
    pub(crate) queues: QueueIndex,
    pub(crate) keys: KeyIndex,
    pub(crate) superblock: Option<SuperblockFile>,
    pub(crate) house: House,
    pub(crate) epochs: Epochs,
    pub(crate) ids: Ids,
    pub(crate) first: u64,
}

impl Shard {
    /// A log whose bytes below the appender's end are all durable and visible.
    pub(crate) fn new(parts: Parts) -> Self {
        let end = parts.appender.end();
        assert!(parts.first <= end, "a log ends at or behind its start");
        let watermarks = Watermarks::default();
        for mark in [&watermarks.appended, &watermarks.written, &watermarks.flushed, &watermarks.dispatched] {
            mark.store(end, Ordering::Release);
        }
        let tail = Tail::new(parts.options.tail_bytes_max);
        let now = parts.clock.monotonic_ms();
        Self {
            options: parts.options,
            layout: parts.layout,
            disk: parts.disk,
            clock: parts.clock,
            watermarks,
            health: HealthCell::new(parts.health),
            files: parts.files,
            appender: Mutex::new(parts.appender),
            catalog: RwLock::new(parts.catalog),
            tail: RwLock::new(tail),
            writer: Mutex::new(Writer::default()),
            flusher: Mutex::new(Flusher),
            last_flush_ms: AtomicU64::new(now),
            dispatcher: Mutex::new(Dispatcher::new(end)),
            ended_topics: Mutex::default(),
            queues: parts.queues,
            keys: parts.keys,
            superblock: Mutex::new(parts.superblock),
            house: Mutex::new(parts.house),
            epochs: parts.epochs,
            pinned: RwLock::default(),
            first: AtomicU64::new(parts.first),
            proved: AtomicU64::new(end),
            prewrites: AtomicBool::new(true),
            needs_write: AtomicBool::new(false),
            room_wanted: AtomicU64::new(0),
            ids: Mutex::new(parts.ids),
            subscribers: RwLock::default(),
            pressure_listeners: RwLock::default(),
            flush_signal: Signal::default(),
            house_signal: Signal::default(),
            _lock: parts.lock,
        }
    }

    pub(crate) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets deleted topics that have no record from `first` on.
    pub(crate) fn forget_topics_below(&self, first: u64) {
        self.catalog_mut().forget_below(first);
    }

    pub(crate) fn subscribe(&self, progress: Arc<dyn Progress>) {
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(progress);
    }

    pub(crate) fn listen_for_pressure(&self, listener: Arc<dyn PressureListener>) {
        self.pressure_listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Tells all subscribers. Never called with a lock held that an append needs.
    pub(crate) fn notify(&self) {
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber.progressed();
        }
    }

    /// Ends the log: readers go on, nothing is written any more, and no promise comes due.
    pub(crate) fn fail(&self, reason: String) {
        if self.health.worsen(Health::Failed(reason.clone())) {
            tracing::error!(dir = %self.layout.dir.display(), reason, "the log is closed for writing");
            self.notify();
        }
    }

    /// Runs a turn. A panic in it ends the log: what it left half done is never acknowledged.
    pub(crate) fn guarded<T>(&self, what: &str, body: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(value) => Some(value),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                self.fail(format!("a panic in {what}: {text}"));
                None
            }
        }
    }

    pub(crate) fn group(&self, builder: GroupBuilder) -> Result<Group, AppendError> {
        builder.finish(&self.options.derivers, self.options.group_bytes_max(), self.clock.wall_ms())
    }

    pub(crate) fn append(&self, group: Group) -> Result<Appended, AppendError> {
        let appended =
            self.guarded("the append section", || self.append_locked(&mut lock(&self.appender), group));
        appended.unwrap_or_else(|| self.health.admit().and(Err(AppendError::Closed("a panic".into()))))
    }

    /// The append section proper.
    pub(crate) fn append_locked(
        &self,
        appender: &mut Appender,
        group: Group,
    ) -> Result<Appended, AppendError> {
        if let Err(why) = self.health.admit() {
            let may_pass = matches!(why, AppendError::DiskFull(_)) && group.gives_room();
            if !may_pass {
                return Err(why);
            }
        }
        let limits = Limits {
            flushed: self.watermarks.flushed.load(Ordering::Acquire),
            unflushed_bytes_max: self.options.unflushed_bytes_max,
            room_end: self.files.room_end(),
        };
        let changes_topics = group.changes.iter().any(|change| change.kind == StateKind::TOPIC);
        let mut catalog =
            if changes_topics { Access::Write(self.catalog_mut()) } else { Access::Read(self.catalog()) };
        let answer = appender.append(group, self.clock.wall_ms(), &mut catalog, limits);
        // A refused append may still have ended the file.
        self.watermarks.appended.store(appender.end(), Ordering::Release);
        answer.map_err(|refused| self.explain(refused, appender.end() - limits.flushed))
    }

    fn explain(&self, refused: Refused, unflushed: u64) -> AppendError {
        match refused {
            Refused::For(error) => return error,
            Refused::Unflushed => self.needs_write.store(true, Ordering::Release),
            Refused::Room(wanted) => {
                self.room_wanted.fetch_max(wanted, Ordering::AcqRel);
            }
        }
        self.flush_signal.raise();
        AppendError::Busy { unflushed }
    }

    /// The first position that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    pub(crate) fn mode(&self) -> FlushMode {
        self.options.flush
    }

    /// Makes what is written up to `limit` visible.
    pub(crate) fn dispatch(&self, limit: u64) {
        let mut ended = lock(&self.ended_topics);
        let mut dispatcher = lock(&self.dispatcher);
        let dispatched = dispatcher.dispatch(limit, &self.queues, &self.keys, &mut ended);
        self.watermarks.dispatched.store(dispatched, Ordering::Release);
        // Under the lock, so that listeners hear in log order.
        dispatcher.tell();
    }

    /// Forgets the queues of topics whose deletion is durable. Not earlier: the index may write down at any time that
    /// they are gone, and a deletion that is cut from the log's end has never been.
    pub(crate) fn forget_ended_topics(&self) {
        let flushed = self.watermarks.flushed().0;
        let ended: Vec<TopicNumber> = lock(&self.ended_topics)
            .extract_if(.., |(end, _)| *end <= flushed)
            .map(|(_, topic)| topic)
            .collect();
        for topic in ended {
            self.queues.drop_topic(topic);
            lock(&self.appender).forget_topic(topic);
            // In pages, so that no append waits for all of them.
            while lock(&self.appender).producers.forget_topic(topic) {}
        }
    }
}

enum Access<'a> {
    Read(RwLockReadGuard<'a, Catalog>),
    Write(RwLockWriteGuard<'a, Catalog>),
}

impl CatalogAccess for Access<'_> {
    fn get(&self) -> &Catalog {
        match self {
            Self::Read(catalog) => catalog,
            Self::Write(catalog) => catalog,
        }
    }

    fn get_mut(&mut self) -> &mut Catalog {
        match self {
            Self::Write(catalog) => catalog,
            Self::Read(_) => unreachable!("a group that changes topics was given the write lock"),
        }
    }
}
