//! The handle that edges hold: what it consists of, how it is opened, and its turn.

use std::collections::HashSet;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use braid_io::Clock;
use braid_store::{
    Appended, FlushMode, GroupBuilder, Health, Level, Position, Promise, QueueKey, StateChange, Store,
    TopicNumber,
};

use crate::classic::ClassicGroups;
use crate::codec::{CLASSIC_GROUP, CURSOR, DELAY_PROGRESS, GROUP, PRODUCER_IDS};
use crate::cursor::Cursors;
use crate::delay::DelayQueues;
use crate::error::Error;
use crate::group::Groups;
use crate::idempotence::ProducerIds;
use crate::lock::QueueLocks;
use crate::member::{Members, Moment};
use crate::options::BrokerOptions;
use crate::policy::Policy;
use crate::retention::Keeper;
use crate::statistics::{SAMPLE_MS, Statistics};
use crate::sync::{News, lock};
use crate::topic::{TopicConfig, Topics};
use crate::waiter::Waiters;

/// Milliseconds between two looks for members and locks that are too old.
const EXPIRE_MS: u64 = 1_000;
/// Milliseconds after which a delivery that failed is tried again.
const RETRY_MS: u64 = 100;
/// The same when only the disk has to catch up.
const RETRY_BUSY_MS: u64 = 5;
/// The same when the store takes no writes.
const RETRY_CLOSED_MS: u64 = 5_000;
/// Milliseconds between two complaints about the same trouble.
const COMPLAIN_MS: u64 = 10_000;
/// Changes in one state record when cursors are corrected at the start.
const CORRECTIONS_PER_RECORD: usize = 200;

/// Rounds in which the store may make room for what is appended at the start.
const ROUNDS_FOR_ROOM: usize = 100;

/// The broker of one shard. Edges share it in an `Arc`.
pub struct Broker {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: BrokerOptions,
    pub(crate) policy: Policy,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) members: Members,
    pub(crate) cursors: Cursors,
    pub(crate) classic: ClassicGroups,
    pub(crate) locks: QueueLocks,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) delay: DelayQueues,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) keeper: Mutex<Keeper>,
    pub(crate) statistics: Statistics,
    /// Counts choices of a queue.
    pub(crate) turns: AtomicU32,
    news: Arc<News>,
    house: Mutex<House>,
}

/// When the next work of each kind is due, in monotonic milliseconds.
#[derive(Debug, Default)]
struct House {
    cursors_ms: u64,
    expire_ms: u64,
    sample_ms: u64,
    groups_ms: u64,
    retention_ms: u64,
    complain_ms: u64,
    /// Where the log began when it was last looked at.
    first: Position,
}

/// What a [`Broker::turn`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// True when something was appended meanwhile: the store's turn must follow.
    pub appended: bool,
    /// Milliseconds after which the next turn wants to be made, unless [`Broker::wait_for_news`] returns earlier.
    pub next_in_ms: u64,
}

/// An answer that waits until `level` is proved for what lies before `end`.
pub(crate) fn promise_up_to<T>(end: Position, level: Level, value: T) -> Promise<T> {
    Appended { end, records: Vec::new(), duplicate: false }.promise(level, value)
}

impl Broker {
    /// Opens the broker on a store: loads topics, groups, cursors and the progress of delayed messages, sets back
    /// cursors that lie above their queue's next offset (and logs them), makes the topics and groups that the policy
    /// names, and listens to dispatch. The store must not be dispatching meanwhile: open before its driver starts, and end
    /// the store's turn afterwards.
    ///
    /// # Errors
    /// `State` when stored state cannot be understood, or why system topics could not be made. A store that does not
    /// take writes opens without making them.
    pub fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        options: BrokerOptions,
        policy: Policy,
    ) -> Result<Arc<Self>, Error> {
        let now_ms = clock.wall_ms();
        let topics = Topics::load(store.topics(), now_ms)?;
        let groups = Groups::load(store.state(GROUP), now_ms)?;
        let numbers: HashSet<TopicNumber> = store.topics().iter().map(|topic| topic.number).collect();
        let next_offset = |queue: QueueKey| {
            let exists = numbers.contains(&queue.topic);
            exists.then(|| store.offsets(queue).map_or(0, |offsets| offsets.max))
        };
        let (cursors, corrections) = Cursors::load(store.state(CURSOR), next_offset)?;
        let now = Moment { monotonic_ms: clock.monotonic_ms(), wall_ms: now_ms };
        let classic = ClassicGroups::load(store.state(CLASSIC_GROUP), &options.classic, now, store.epoch())?;
        let delay_topic = store.topic(&policy.delay_topic).map(|topic| topic.number);
        let delay = DelayQueues::load(store.state(DELAY_PROGRESS), delay_topic)?;
        let producer_ids = ProducerIds::load(store.state(PRODUCER_IDS))?;
        let news = Arc::<News>::default();
        let waiters =
            Arc::new(Waiters::new(options.waiters_per_queue_max, options.waiters_max, Arc::clone(&news)));
        store.listen(Arc::clone(&waiters) as _);
        let house = House { first: store.log_range().0, ..House::default() };
        let broker = Arc::new(Self {
            store,
            clock,
            options,
            policy,
            topics,
            groups,
            members: Members::default(),
            cursors,
            classic,
            locks: QueueLocks::default(),
            waiters,
            delay,
            producer_ids,
            keeper: Mutex::default(),
            statistics: Statistics::default(),
            turns: AtomicU32::new(0),
            news,
            house: Mutex::new(house),
        });
        // Before the store's threads start: they delete files.
        broker.topics().iter().for_each(|topic| broker.pin_if_limited(topic));
        match broker.store.health() {
            Health::Serving => {
                for changes in corrections.chunks(CORRECTIONS_PER_RECORD) {
                    broker.with_room(|| broker.append_state(changes))?;
                }
                broker.with_room(|| broker.make_system_entries())?;
            }
            health => {
                tracing::warn!(?health, "the store takes no writes: system topics are not looked after")
            }
        }
        if let Some(topic) = broker.topic(&broker.policy.delay_topic) {
            // Nobody else sets it, so that a second value is not refused.
            let _ = broker.waiters.delay_topic.set(topic.number);
        }
        Ok(broker)
    }

    /// Appends at the start, when no thread of the store's makes the room that an append is refused for: a log that ends
    /// close to its file's end has the next file made here.
    fn with_room<T>(&self, mut append: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..ROUNDS_FOR_ROOM {
            match append() {
                Err(Error::Busy(_)) => {
                    self.store.write_turn();
                    self.store.flush_turn();
                    self.store.housekeeping();
                }
                done => return done,
            }
        }
        append()
    }

    /// The store, for reading and for ending a turn.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock that all times come from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The policy that the edge handed down.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The options in force.
    pub fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// The level at which state changes and sends that wait are acknowledged: `Flushed` in sync mode, else `Written`.
    pub fn level(&self) -> Level {
        match self.store.flush_mode() {
            FlushMode::Sync => Level::Flushed,
            FlushMode::Async => Level::Written,
        }
    }

    /// One round of everything that happens without a request: deliver what is due, wake readers whose deadline has
    /// passed, write changed cursors, expire members and locks, take samples. For [`driver`](crate::driver) and tests.
    pub fn turn(&self) -> Turn {
        let before = self.store.watermarks().appended();
        self.news.begin_turn();
        let now_ms = self.clock.monotonic_ms();
        let house_in_ms = self.keep_house(now_ms);
        let wall_ms = self.clock.wall_ms();
        let delivery_in_ms = match self.deliver_due(wall_ms) {
            Ok(next_ms) => next_ms.map(|next_ms| next_ms.saturating_sub(wall_ms).max(0) as u64),
            Err(Error::Busy(_)) => Some(RETRY_BUSY_MS),
            Err(error) => {
                self.complain(now_ms, "delayed messages could not be delivered", &error);
                Some(if matches!(error, Error::Closed(_)) { RETRY_CLOSED_MS } else { RETRY_MS })
            }
        };
        let deadline_in_ms = self.expire_waiters().map(|next_ms| next_ms.saturating_sub(now_ms));
        let groups_in_ms = self.expire_groups().map(|next_ms| next_ms.saturating_sub(now_ms));
        let next_in_ms =
            [delivery_in_ms, deadline_in_ms, groups_in_ms].into_iter().flatten().fold(house_in_ms, u64::min);
        self.news.planned(now_ms.saturating_add(next_in_ms));
        Turn { appended: self.store.watermarks().appended() != before, next_in_ms }
    }

    /// Waits until a turn is wanted earlier than the last one said, or until `ms` have passed.
    pub fn wait_for_news(&self, ms: u64) {
        self.news.wait(ms);
    }

    /// A turn is wanted at this monotonic time.
    pub(crate) fn wanted_at(&self, ms: u64) {
        self.news.wanted_at(ms);
    }

    /// Ends a wait for news.
    pub(crate) fn ring(&self) {
        self.news.ring();
    }

    /// Appends state changes alone.
    pub(crate) fn append_state(&self, changes: &[StateChange]) -> Result<Appended, Error> {
        let mut builder = GroupBuilder::new();
        builder.state(changes);
        self.append(builder)
    }

    pub(crate) fn append(&self, builder: GroupBuilder) -> Result<Appended, Error> {
        Ok(self.store.append(self.store.group(builder)?)?)
    }

    /// An answer for which nothing had to be appended, but which is no truer than what is appended by now.
    pub fn promise_of_all_appended<T>(&self, value: T) -> Promise<T> {
        self.promise_up_to(self.store.watermarks().appended(), value)
    }

    /// An answer that is no truer than what is appended up to a position.
    pub(crate) fn promise_up_to<T>(&self, end: Position, value: T) -> Promise<T> {
        promise_up_to(end, self.level(), value)
    }

    /// Does what is due by now; gives the milliseconds until the next work.
    fn keep_house(&self, now_ms: u64) -> u64 {
        let mut house = lock(&self.house);
        if now_ms >= house.cursors_ms {
            house.cursors_ms = now_ms + self.options.cursor_flush_ms;
            if let Err(error) = self.flush_cursors() {
                Self::complain_in(&mut house, now_ms, "cursors could not be written", &error);
            }
        }
        if now_ms >= house.expire_ms {
            house.expire_ms = now_ms + EXPIRE_MS;
            let first = self.store.log_range().0;
            if first != std::mem::replace(&mut house.first, first) {
                for (group, messages) in self.unread_and_deleted() {
                    tracing::warn!(group, messages, "log files were deleted before the group had read them");
                }
            }
            self.expire_members();
            self.locks.expire(now_ms);
        }
        if now_ms >= house.sample_ms {
            house.sample_ms = now_ms + SAMPLE_MS;
            self.sample(now_ms);
        }
        if now_ms >= house.groups_ms {
            house.groups_ms = now_ms + self.options.classic.cursor_check_ms;
            if let Err(error) = self.expire_group_cursors() {
                Self::complain_in(&mut house, now_ms, "old cursors could not be forgotten", &error);
            }
        }
        if now_ms >= house.retention_ms {
            house.retention_ms = now_ms + self.keep_retention(&mut house, now_ms);
        }
        [house.cursors_ms, house.expire_ms, house.sample_ms, house.groups_ms, house.retention_ms]
            .into_iter()
            .fold(u64::MAX, u64::min)
            - now_ms
    }

    /// Some of a round over the queues of topics with limits of their own; gives the milliseconds until it goes on.
    fn keep_retention(&self, house: &mut House, now_ms: u64) -> u64 {
        self.begin_retention();
        match self.go_on_with_retention(self.clock.wall_ms()) {
            Ok(true) => 1,
            Ok(false) => self.options.retention_interval_ms,
            Err(Error::Busy(_)) => RETRY_BUSY_MS,
            // Who writes hears of it.
            Err(Error::Closed(_)) => self.options.retention_interval_ms,
            Err(error) => {
                Self::complain_in(house, now_ms, "a queue could not be cut by its topic's limits", &error);
                RETRY_CLOSED_MS
            }
        }
    }

    fn complain(&self, now_ms: u64, what: &str, error: &Error) {
        Self::complain_in(&mut lock(&self.house), now_ms, what, error);
    }

    /// Logs trouble that comes back with every turn, once in a while.
    fn complain_in(house: &mut House, now_ms: u64, what: &str, error: &Error) {
        if now_ms >= house.complain_ms {
            house.complain_ms = now_ms + COMPLAIN_MS;
            tracing::warn!(%error, "{what}");
        }
    }

    /// Makes the topics and groups that the policy names and that are missing, and gives the delay topic a queue for
    /// each level.
    fn make_system_entries(&self) -> Result<(), Error> {
        for topic in &self.policy.system_topics {
            self.ensure_topic(topic.clone())?;
        }
        let levels = self.options.delay.levels();
        let delay_topic = self.ensure_topic(TopicConfig::new(&self.policy.delay_topic, levels))?;
        if delay_topic.config.queues() < levels {
            let more =
                TopicConfig { read_queues: levels, write_queues: levels, ..delay_topic.config.clone() };
            drop(self.put_topic(more)?);
        }
        for group in &self.policy.system_groups {
            self.ensure_group(group.clone())?;
        }
        Ok(())
    }
}
