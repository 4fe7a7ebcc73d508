//! One seed: disk, clock, broker and oracle; how the broker is opened and ended, and what every step ends with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use braid_broker::{Broker, BrokerOptions, ClassicOptions, Policy, PropertyNames, TopicConfig};
use braid_io::sim::{Coverage, Faults, SimClock, SimDisk};
use braid_io::{Clock, Rng};
use braid_store::{
    Facts, FlushMode, Health, Level, Promise, QueueKey, RecoveryRow, Store, StoreOptions, TopicNumber,
};

use super::batch::{self, Numbers};
use super::clients::{Answer, Client, clients};
use super::oracle::{KEEP_MS, Oracle, look_at_cursor, visible};
use super::state::{Change, Cursor, CursorKey, Topic};

const DIR: &str = "/data";
/// Wall time at which every world begins.
const WALL_MS: i64 = 1_790_000_000_000;
/// Steps that a failure shows.
const STEPS_SHOWN: usize = 60;
/// Opening may fail because the power goes off; this often in a row it may not.
const OPENS_MAX: u32 = 10;
/// More than one step appends.
const STEP_BYTES_MAX: u64 = 12 << 10;
/// How long cursors of clients that are gone are kept.
pub const CURSOR_LIFE_MS: i64 = 2 * KEEP_MS;
/// Groups whose clients join.
pub const CLASSIC_GROUPS: [&str; 3] = ["classic-a", "classic-b", "classic-c"];
/// A group whose readers commit without joining.
pub const OTHER_GROUP: &str = "reader-only";

/// How a run of the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power goes off: what is not flushed is in doubt.
    Crash,
    /// The process is killed: what is written stays.
    Kill,
    /// The broker stops in order.
    Close,
}

/// What an answer tells beside that it came.
pub enum Told {
    Nothing,
    ProducerId(i64),
    /// A member's share: group, member, the assignment, and the generation.
    Share(String, String, Vec<u8>, i32),
}

/// An answer that waits, with the events that it tells of.
pub struct Waiting {
    pub promise: Promise<Told>,
    pub events: Vec<usize>,
}

/// A producer: an id that was given, and its epoch.
#[derive(Debug, Clone, Copy)]
pub struct ProducerClient {
    pub id: i64,
    pub epoch: i16,
}

pub struct World {
    pub rng: Rng,
    pub disk: SimDisk,
    pub clock: SimClock,
    pub oracle: Oracle,
    pub coverage: Coverage,
    pub producers: Vec<ProducerClient>,
    pub clients: Vec<Client>,
    /// Answers of the groups that were given and not looked at.
    pub inbox: Arc<Mutex<Vec<Answer>>>,
    pub waiting: Vec<Waiting>,
    /// Cursors that changed in memory and are not appended yet.
    pub marked: BTreeMap<CursorKey, Cursor>,
    /// The highest generation of each group that anybody heard of in this run.
    pub generations: BTreeMap<String, i32>,
    /// The highest generation of each group of which anybody was told a share, while the group was kept.
    pub shared: BTreeMap<String, i32>,
    /// Groups that were seen between two generations.
    pub moving: BTreeSet<String>,
    /// Batches that nobody had an answer for when the last run ended: topic, queue, numbers, messages.
    pub unanswered: Vec<(String, QueueKey, Numbers, u32)>,
    /// Where the log began when it was last looked at.
    pub first: u64,
    pub next_value: u64,
    store_options: StoreOptions,
    broker_options: BrokerOptions,
    broker: Option<Arc<Broker>>,
    /// The epoch of the last start.
    pub epoch: u32,
    steps: VecDeque<String>,
    trace: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.next_u64());
        let mut rate = |rates: [u32; 3]| rates[rng.below(3) as usize];
        disk.set_faults(Faults {
            short_read: rate([0, 20_000, 200_000]),
            short_write: rate([0, 20_000, 200_000]),
            cold_read: rate([0, 50_000, 300_000]),
            ..Faults::default()
        });
        let store_options = store_options(&mut rng);
        let broker_options = broker_options(&mut rng);
        Self {
            rng,
            disk,
            clock: SimClock::new(WALL_MS),
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            producers: Vec::new(),
            clients: clients(),
            inbox: Arc::default(),
            waiting: Vec::new(),
            marked: BTreeMap::new(),
            generations: BTreeMap::new(),
            shared: BTreeMap::new(),
            moving: BTreeSet::new(),
            unanswered: Vec::new(),
            first: 0,
            next_value: 0,
            store_options,
            broker_options,
            broker: None,
            epoch: 0,
            steps: VecDeque::new(),
            trace: 0,
        }
    }

    /// The open broker.
    pub fn broker(&self) -> Arc<Broker> {
        Arc::clone(self.broker.as_ref().expect("a step needs an open broker"))
    }

    /// The last steps, for a failure's report.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(String::as_str)
    }

    /// Adds a step to the story that a failure tells, and to the trace.
    pub fn note(&mut self, step: impl Into<String>) {
        let step = step.into();
        for &byte in step.as_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
        }
        if self.steps.len() == STEPS_SHOWN {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// A number made of all that happened: equal for two runs of one seed.
    pub fn trace(&self) -> u64 {
        self.trace ^ self.disk.changes()
    }

    /// The log's end as appended.
    pub fn appended(&self) -> u64 {
        self.broker().store().watermarks().appended().0
    }

    /// The level at which this world's broker acknowledges.
    fn level(&self) -> Level {
        if self.store_options.flush == FlushMode::Sync { Level::Flushed } else { Level::Written }
    }

    // --- opening and ending ---------------------------------------------------------------------------------------

    /// Opens the broker after `end`, trying again while power cuts in the middle prevent it, and checks all.
    pub fn open(&mut self, end: End) {
        let mut level = if end == End::Crash { Level::Flushed } else { Level::Written };
        for attempt in 0.. {
            assert!(attempt < OPENS_MAX, "{attempt} starts in a row failed");
            if attempt < 3 && self.rng.one_in(4) {
                let changes = self.rng.below(16);
                self.disk.power_off_after(changes);
            }
            let opened = self.try_open(level);
            self.disk.power_stays_on();
            match opened {
                Ok(broker) if !self.disk.is_off() => {
                    self.broker = Some(broker);
                    return self.opened();
                }
                Ok(_) => self.note("opened, and ended at once"),
                Err(error) => {
                    assert!(self.disk.is_off(), "the broker does not open: {error}");
                    self.note("not opened");
                }
            }
            self.coverage.count("start-interrupted");
            if self.rng.one_in(2) {
                self.disk.kill();
            } else {
                self.disk.crash();
                level = Level::Flushed;
            }
        }
    }

    fn try_open(&mut self, level: Level) -> Result<Arc<Broker>, String> {
        // The system's entropy never gives the same twice.
        self.store_options.id_seed = Some(self.rng.next_u64());
        self.broker_options.classic.id_seed = Some(self.rng.next_u64());
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let disk = Arc::new(self.disk.process());
        let (store, report) = Store::open(self.store_options.clone(), disk, Arc::clone(&clock))
            .map_err(|error| error.to_string())?;
        if self.disk.is_off() {
            return Err("the power went off".to_owned());
        }
        assert!(report.damage.is_empty(), "a crash was taken for damage: {report:?}");
        assert_eq!(store.health(), Health::Serving, "after a start: {report:?}");
        let is_clean = report.rows == [RecoveryRow::Clean];
        let epoch = store.epoch();
        assert!(
            epoch > self.epoch || is_clean && epoch == self.epoch,
            "BACK: the epoch is {epoch} and was {} ({:?})",
            self.epoch,
            report.rows
        );
        self.epoch = epoch;
        let log_end = store.log_range().1.0;
        assert_eq!(store.watermarks().flushed().0, log_end, "a start makes durable what it found");
        self.note(format!("the log ends at {log_end}: {:?}, cut {}", report.rows, report.cut_bytes));
        if self.oracle.events.iter().any(|event| event.end > log_end) {
            self.coverage.count("unacknowledged-lost");
        }
        for id in self.oracle.recover(log_end, level) {
            self.coverage.count("id-unreserved");
            self.producers.retain(|producer| producer.id != id);
        }
        Broker::open(store, clock, self.broker_options.clone(), policy()).map_err(|error| error.to_string())
    }

    fn opened(&mut self) {
        let broker = self.broker();
        self.oracle.newest_ms = self.oracle.newest_ms.max(self.clock.wall_ms());
        let groups: Vec<String> =
            CLASSIC_GROUPS.into_iter().chain([OTHER_GROUP]).map(str::to_owned).collect();
        self.oracle.check(&broker, &groups);
        self.coverage.count("reopened");
        self.generations.clear();
        for group in CLASSIC_GROUPS {
            let generation = self.oracle.base.generation(group);
            if generation.is_some_and(|generation| !generation.members.is_empty()) {
                self.coverage.count("stable-after-start");
            }
            if generation.is_none() {
                self.shared.remove(group);
            }
            self.generations.insert(group.to_owned(), generation.map_or(0, |generation| generation.number));
        }
    }

    /// Ends the run as `end` says. The disk is on again.
    pub fn end(&mut self, end: End) {
        self.note(format!("{end:?}"));
        self.coverage.count(match end {
            End::Crash => "crash",
            End::Kill => "kill",
            End::Close => "close",
        });
        let broker = self.broker();
        if end == End::Close {
            self.flush_cursors();
            let after = self.appended();
            broker.stop_groups();
            self.after_call(after);
            broker.store().close().expect("a healthy store closes");
        }
        self.redeem();
        drop(broker);
        self.broker = None;
        for event in &self.oracle.events {
            let Change::Record(queue, record) = &event.change else { continue };
            let (None, Some(numbers)) = (event.told, record.numbers) else { continue };
            if let Some(topic) = self.oracle.live.topics.get(&queue.topic) {
                self.unanswered.push((topic.name.clone(), *queue, numbers, record.count));
            }
        }
        match end {
            End::Crash => self.disk.crash(),
            End::Kill => self.disk.kill(),
            End::Close => {}
        }
        self.waiting.clear();
        self.marked.clear();
        self.moving.clear();
        self.inbox.lock().expect("nobody panics with it").clear();
        self.clients.iter_mut().for_each(Client::lose_calls);
    }

    /// Ends the run and starts again.
    pub fn restart(&mut self, end: End) {
        self.end(end);
        self.open(end);
    }

    /// Lets the power go off in the middle of the disk's work.
    pub fn go_on_until_the_power_fails(&mut self) {
        let changes = self.rng.below(12);
        self.disk.power_off_after(changes);
        let broker = self.broker();
        for _ in 0..30 {
            if self.disk.is_off() {
                self.coverage.count("power-cut-in-a-turn");
                return;
            }
            broker.store().write_turn();
            if self.rng.one_in(2) {
                broker.store().flush_turn();
            }
            if self.rng.one_in(4) {
                broker.store().housekeeping();
            }
        }
    }

    // --- what every step ends with --------------------------------------------------------------------------------

    /// Notes a change that one call appended, and the answer that waits for it.
    pub fn promised(&mut self, after: u64, promise: Promise<Told>, changes: Vec<Change>) {
        let end = self.appended();
        assert!(
            promise.end().0 >= end || changes.is_empty(),
            "EARLY: an answer waits for less than its change"
        );
        assert_eq!(promise.level(), self.level(), "the level of answers");
        assert!(end > after || changes.is_empty(), "nothing was appended for {changes:?}");
        let events = changes.into_iter().map(|change| self.oracle.append(after, end, change)).collect();
        self.waiting.push(Waiting { promise, events });
    }

    /// Gives the answers that are due, as an edge does.
    pub fn redeem(&mut self) {
        let broker = self.broker();
        for Waiting { promise, events } in std::mem::take(&mut self.waiting) {
            // Most at the store's own level; shares as soon as they are written.
            let level = promise.level();
            match promise.redeem(broker.store().watermarks()) {
                Ok(told) => {
                    events.into_iter().for_each(|event| self.oracle.tell(event, level));
                    self.told(told);
                }
                Err(promise) => self.waiting.push(Waiting { promise, events }),
            }
        }
    }

    fn told(&mut self, told: Told) {
        self.coverage.count("answered");
        match told {
            Told::Nothing => {}
            Told::ProducerId(id) => {
                self.oracle.give(id);
                self.coverage.count("id-given");
                self.producers.push(ProducerClient { id, epoch: 0 });
            }
            Told::Share(group, member, assignment, number) => {
                let told = self.shared.entry(group.clone()).or_default();
                *told = number.max(*told);
                self.coverage.count("share-told");
                self.note(format!("{group}: {member} has {} bytes", assignment.len()));
            }
        }
    }

    /// Keeps what is unflushed below the bound, as reactors that are told to wait do.
    pub fn make_room(&mut self) {
        let broker = self.broker();
        let marks = broker.store().watermarks();
        if marks.appended().0 - marks.flushed().0 > self.store_options.unflushed_bytes_max / 4 {
            self.settle();
        }
        // The next file is made in time.
        let file_bytes = self.store_options.file_bytes;
        if file_bytes - marks.appended().0 % file_bytes < STEP_BYTES_MAX {
            broker.store().write_turn();
            broker.store().flush_turn();
            broker.store().housekeeping();
            broker.store().housekeeping();
        }
    }

    /// Writes and flushes all that is appended, and makes room ahead.
    pub fn settle(&mut self) {
        let broker = self.broker();
        for _ in 0..4 {
            broker.store().write_turn();
            broker.store().flush_turn();
            broker.store().housekeeping();
        }
    }

    /// Compares what the broker says with what was done, while it runs.
    pub fn look(&mut self) {
        let broker = self.broker();
        for queue in self.oracle.live.all_queues() {
            for group in CLASSIC_GROUPS.into_iter().chain([OTHER_GROUP]) {
                let key = (group.to_owned(), queue);
                let known = self.marked.get(&key).or_else(|| self.oracle.live.cursor(&key)).map(visible);
                assert_eq!(look_at_cursor(&broker, &key), known, "the cursor {key:?}");
            }
        }
        self.coverage.count("looked");
    }

    // --- drawing --------------------------------------------------------------------------------------------------

    /// A queue of a topic that exists, if there is one.
    pub fn some_queue(&mut self) -> Option<QueueKey> {
        let queues = self.oracle.live.all_queues();
        (!queues.is_empty()).then(|| queues[self.rng.below(queues.len() as u64) as usize])
    }

    /// A topic that exists, if there is one.
    pub fn some_topic(&mut self) -> Option<(TopicNumber, Topic)> {
        let count = self.oracle.live.topics.len() as u64;
        let at = if count > 0 { self.rng.below(count) as usize } else { 0 };
        self.oracle.live.topics.iter().nth(at).map(|(&number, topic)| (number, topic.clone()))
    }

    /// A group of either kind.
    pub fn some_group(&mut self) -> &'static str {
        match self.rng.below(5) {
            at @ 0..=2 => CLASSIC_GROUPS[at as usize],
            _ => OTHER_GROUP,
        }
    }
}

fn store_options(rng: &mut Rng) -> StoreOptions {
    let file_bytes = (32 << 10) << rng.below(2);
    let mut options = StoreOptions::for_simulation(Path::new(DIR), file_bytes, 0);
    options.flush = if rng.one_in(4) { FlushMode::Async } else { FlushMode::Sync };
    options.unflushed_bytes_max = 1 << 20;
    options.snapshot_bytes = file_bytes * (1 + rng.below(4)) / 2;
    options.retention.keep_ms = KEEP_MS;
    options.retention.free_bytes_min = Some(0);
    // Hours of the broker's life are steps here: nobody is forgotten.
    options.producer_idle_ms = i64::MAX / 2;
    options.derivers = vec![(None, |_| Facts::default()), (Some(batch::KIND), batch::derive)];
    options
}

fn broker_options(rng: &mut Rng) -> BrokerOptions {
    let classic = ClassicOptions {
        initial_delay_ms: if rng.one_in(2) { 0 } else { 3_000 },
        cursor_life_ms: CURSOR_LIFE_MS,
        cursor_check_ms: 60_000,
        ..ClassicOptions::default()
    };
    BrokerOptions { classic, retention_interval_ms: 10_000, ..BrokerOptions::default() }
}

fn policy() -> Policy {
    Policy {
        is_reserved: |_| false,
        twin_of: |_, _| None,
        retry_topic: |group| format!("RETRY-{group}"),
        dead_letter_topic: |group| format!("DEAD-{group}"),
        delay_topic: "LATER".to_owned(),
        discarded_topics: Vec::new(),
        system_topics: vec![TopicConfig { inherited: true, ..TopicConfig::new("TEMPLATE", 8) }],
        system_groups: Vec::new(),
        properties: PropertyNames {
            delay_level: "DELAY",
            real_topic: "REAL_TOPIC",
            real_queue_id: "REAL_QID",
            retry_topic: "RETRY_TOPIC",
            origin_message_id: "ORIGIN_MESSAGE_ID",
            wait: "WAIT",
            dropped_when_delayed: &[],
            dropped_when_delivered: &["DELAY"],
        },
    }
}
