//! One seed's world: disk, clock, store and oracle, and every step that can be taken in it.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use braid_io::sim::{Coverage, FaultKind, Faults, SimClock, SimDisk};
use braid_io::{Clock, Disk, Rng};
use braid_store::{
    AppendError, DispatchListener, Dispatched, FlushMode, FlushOutcome, GroupBuilder, Health, Level,
    OpenError, Position, ProducerFacts, Promise, QueueKey, RecoveryReport, RecoveryRow, StateChange,
    StateKind, Store, StoreError, StoreOptions, Target, TopicInfo, TopicNumber, WriteOutcome,
};

use super::message::{BATCH_KIND, Message, SPAN_KIND, derive};
use super::oracle::{Change, Oracle, Verdict, brief};

/// The store's directory on the simulated disk.
pub const DIR: &str = "/data";
/// Steps that a failure shows.
const STEPS_SHOWN: usize = 40;
/// Opening may fail because of a fault; this often in a row it may not.
const OPENS_MAX: u32 = 20;
/// Topics that exist at a time.
const TOPICS_MAX: usize = 5;
/// Queues of a topic that are used.
const QUEUES: u64 = 6;
/// Wall time at which every world begins.
const WALL_MS: i64 = 1_790_000_000_000;
/// How long log files are kept.
pub const KEEP_MS: i64 = 3_600_000;

/// How a run of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power went off: what was unsynced is in doubt.
    Crash,
    /// The process was killed: what was written stays.
    Kill,
    /// The store was closed.
    Close,
}

/// Notes what the store says became visible.
#[derive(Default)]
struct Listener(Mutex<Vec<Dispatched>>);

impl DispatchListener for Listener {
    fn dispatched(&self, entries: &[Dispatched]) {
        self.0.lock().expect("nobody panics with it").extend_from_slice(entries);
    }
}

/// What a seed went through, beside its coverage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub operations: u64,
    pub crashes: u64,
    pub kills: u64,
    pub rolls: u64,
    pub cuts: u64,
    pub deletions: u64,
    pub records: u64,
}

pub struct World {
    pub rng: Rng,
    pub disk: SimDisk,
    pub clock: SimClock,
    pub options: StoreOptions,
    pub oracle: Oracle,
    pub coverage: Coverage,
    pub tally: Tally,
    /// The rates that this seed draws its faults by.
    pub faults: Faults,
    store: Option<Store>,
    listener: Arc<Listener>,
    /// Answers that wait, with the end of what they wait for.
    promises: Vec<(Promise<()>, Position)>,
    /// Count of faults that may end a log when the store was opened; see [`excused`](Self::excused).
    faults_at_open: u64,
    /// ENOSPC answers that came from a limited room, which must not end a log.
    pressed_answers: u64,
    /// The other ENOSPC answers, when the room was limited last.
    full_before: u64,
    /// The device is not asked what it holds: only what a crash leaves is judged.
    pub asks_device: bool,
    /// A sync of the log failed since then, so that even written bytes can vanish from the cache.
    sync_failed: bool,
    /// The room on the disk is limited now, so that retention by pressure may act.
    pressed: bool,
    next_value: u64,
    names_used: u64,
    /// The epoch of the last start that served.
    epoch: u32,
    /// Topics with a retention of their own.
    pinned: BTreeSet<TopicNumber>,
    steps: VecDeque<String>,
    /// The last group with a producer's numbers, for trying it again as a whole.
    last_numbered: Vec<Message>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.next_u64());
        let options = options(seed, &mut rng);
        let faults = draw_faults(&mut rng);
        Self {
            rng,
            disk,
            clock: SimClock::new(WALL_MS),
            options,
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            tally: Tally::default(),
            faults,
            store: None,
            listener: Arc::default(),
            promises: Vec::new(),
            faults_at_open: 0,
            pressed_answers: 0,
            full_before: 0,
            asks_device: true,
            sync_failed: false,
            pressed: false,
            next_value: 0,
            names_used: 0,
            epoch: 0,
            pinned: BTreeSet::new(),
            steps: VecDeque::new(),
            last_numbered: Vec::new(),
        }
    }

    /// The open store.
    pub fn store(&self) -> Store {
        self.store.clone().expect("a step needs an open store")
    }

    /// The last steps, for a failure's report.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(String::as_str)
    }

    /// Adds a step to the story that a failure tells.
    pub fn note(&mut self, step: impl Into<String>) {
        if self.steps.len() == STEPS_SHOWN {
            self.steps.pop_front();
        }
        self.steps.push_back(step.into());
    }

    /// A number made of all that happened: equal for two runs of one seed.
    pub fn trace(&self) -> u64 {
        self.disk.trace_hash() ^ self.oracle.events.last().map_or(0, |event| event.end)
    }

    // --- opening and ending ---------------------------------------------------------------------------------------

    /// Opens the store after `end`, trying again with another power cut while faults prevent it, and checks all.
    pub fn open(&mut self, end: End) {
        let mut level = match end {
            End::Crash => Level::Flushed,
            End::Kill if self.sync_failed => Level::Flushed,
            End::Kill | End::Close => Level::Written,
        };
        self.sync_failed = false;
        for attempt in 0.. {
            assert!(attempt < OPENS_MAX, "{attempt} starts in a row failed");
            if attempt > 4 {
                self.disk.set_faults(Faults::default());
            }
            // Some starts end in the middle, some meet an error.
            let ends_early = attempt < 3 && self.rng.one_in(4);
            if ends_early {
                let changes = self.rng.below(12);
                self.disk.power_off_after(changes);
            } else if attempt < 3 && self.rng.one_in(12) {
                self.disk.fail_next(FaultKind::ReadError, DIR);
            } else if attempt < 3 && self.rng.one_in(12) {
                let kind = [
                    FaultKind::WriteError,
                    FaultKind::SyncError,
                    FaultKind::DirSyncError,
                    FaultKind::NoSpace,
                ];
                let kind = kind[self.rng.below(4) as usize];
                self.disk.fail_next(kind, DIR);
            }
            self.faults_at_open = self.faults_taken();
            let syncs = self.coverage_of(FaultKind::SyncError);
            let opened = self.try_open();
            self.disk.power_stays_on();
            self.disk.disarm();
            let healthy = |store: &Store| !self.excused() || store.health() == Health::Serving;
            match opened {
                Ok((store, report)) if !self.disk.is_off() && healthy(&store) => {
                    self.note(format!("opened: {:?}, cut {}", report.rows, report.cut_bytes));
                    self.recovered(store, &report, level);
                    self.disk.set_faults(self.faults.clone());
                    return;
                }
                Ok(_) => self.note("opened, and ended at once"),
                Err(error) => {
                    self.note(format!("not opened: {error}"));
                    assert!(self.excused(), "the store does not open: {error}");
                }
            }
            if self.rng.one_in(2) {
                self.disk.kill();
                self.tally.kills += 1;
                if self.coverage_of(FaultKind::SyncError) != syncs {
                    level = Level::Flushed;
                }
            } else {
                self.disk.crash();
                self.tally.crashes += 1;
                level = Level::Flushed;
            }
        }
    }

    pub fn try_open(&mut self) -> Result<(Store, RecoveryReport), OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.process());
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        // The system's entropy never gives the same twice.
        self.options.id_seed = Some(self.rng.next_u64());
        let opened = Store::open(self.options.clone(), disk, clock);
        if let Ok((_, report)) = &opened {
            for row in &report.rows {
                self.coverage.count(&row_name(row));
            }
        }
        opened
    }

    fn recovered(&mut self, store: Store, report: &RecoveryReport, level: Level) {
        assert!(report.damage.is_empty(), "a crash was taken for damage: {report:?}");
        assert_eq!(store.health(), Health::Serving, "after a start: {report:?}");
        let is_clean = report.rows == [RecoveryRow::Clean];
        assert!(
            store.epoch() > self.epoch || is_clean && store.epoch() == self.epoch,
            "LOST: the epoch is {} and was {}",
            store.epoch(),
            self.epoch
        );
        self.epoch = store.epoch();
        self.oracle.recover(&store, level);
        let (_, end) = store.log_range();
        let marks = store.watermarks();
        assert_eq!(marks.appended(), end, "appended after a start");
        assert_eq!(marks.flushed(), end, "a start makes durable what it found");
        assert_eq!(marks.dispatched(), end, "all that a start found is visible");
        self.promises.clear();
        self.store = Some(store.clone());
        self.listener = Arc::default();
        store.listen(self.listener.clone());
        self.pinned.iter().for_each(|topic| store.pin_topic(*topic, true));
        self.claim(&store);
        for event in 0..self.oracle.events.len() {
            self.check_durable(event);
        }
        self.oracle.check_all(&store, &mut self.rng);
    }

    /// Ends the run as `end` says. The store's handle is gone; the disk is on again.
    pub fn end(&mut self, end: End) {
        self.note(format!("{end:?}"));
        if end == End::Close {
            self.drain();
            let store = self.store();
            let closed = store.close();
            self.claim(&store);
            if !self.excused() {
                closed.expect("a healthy store closes");
            }
        }
        self.store = None;
        if end == End::Close && !self.excused() && self.rng.one_in(4) {
            self.verify();
        }
        match end {
            End::Crash => {
                self.tally.crashes += 1;
                self.disk.crash();
            }
            End::Kill => {
                self.tally.kills += 1;
                self.disk.kill();
            }
            End::Close => {}
        }
        self.disk.disarm();
        self.promises.clear();
    }

    /// A directory that was closed in order is sound from end to end.
    fn verify(&mut self) {
        let faults = std::mem::take(&mut self.faults);
        self.disk.disarm();
        self.disk.set_faults(Faults::default());
        let disk: Arc<dyn Disk> = Arc::new(self.disk.process());
        let found = braid_store::tool::verify(&self.options, disk, &mut |_, _| {});
        let found = found.unwrap_or_else(|e| panic!("a closed directory is not verified: {e}"));
        assert!(found.is_sound(), "a closed directory is not sound: {found:?}");
        self.disk.set_faults(faults.clone());
        self.faults = faults;
    }

    /// Ends the run and starts again.
    pub fn restart(&mut self, end: End) {
        self.end(end);
        self.open(end);
    }

    // --- steps ----------------------------------------------------------------------------------------------------

    /// One random step, and what has to be checked after every step.
    pub fn step(&mut self) {
        self.tally.operations += 1;
        if self.oracle.model.topics.is_empty() {
            return self.ensure_topics();
        }
        let before = self.log_file();
        match self.rng.below(100) {
            0..=19 => self.append_one(),
            20..=27 => self.append_batch(),
            28..=33 => self.append_group(),
            34..=37 => self.append_span(),
            38..=41 => self.append_state(),
            42..=54 => self.write_turn(),
            55 => self.cut_queue(),
            56..=66 => self.flush_turn(),
            67..=76 => self.look(),
            77..=79 => self.create_topic(),
            80 => self.delete_topic(),
            81 if self.rng.one_in(2) => self.pin_topic(),
            81 => self.configure_topic(),
            82..=89 => self.housekeeping(),
            90..=94 => self.move_clock(),
            95..=96 => self.arm_fault(),
            97 => self.fill_disk(),
            98 => self.check_everything(),
            _ => self.burst(),
        }
        self.after_step(before);
    }

    pub fn after_step(&mut self, file_before: u64) {
        let store = self.store();
        self.claim(&store);
        self.redeem(&store);
        self.look_at_start(&store);
        if self.log_file() > file_before {
            self.tally.rolls += self.log_file() - file_before;
        }
        match store.health() {
            Health::Serving | Health::DiskFull(_) => {}
            Health::Failed(reason) => {
                assert!(self.excused(), "the log ended without a reason: {reason}");
                self.note(format!("the log ended: {reason}"));
                if !self.disk.is_off() {
                    self.failed_log_still_reads(&store);
                    let end = if self.rng.one_in(2) { End::Kill } else { End::Crash };
                    self.restart(end);
                }
            }
            Health::ReadOnly(reason) => panic!("the log became read-only: {reason}"),
        }
    }

    /// True when the store has a reason to end its log: the power is off, or a write or sync of this run failed.
    fn excused(&self) -> bool {
        self.disk.is_off() || self.faults_taken() > self.faults_at_open
    }

    pub fn log_file(&self) -> u64 {
        self.store().log_range().1.0 / self.options.file_bytes
    }

    fn failed_log_still_reads(&mut self, store: &Store) {
        self.quiet(|world| {
            world.oracle.check_all(store, &mut world.rng);
            let group = world.group_of(&[], &[nothing_new()]).expect("a small group is encoded");
            let refused = store.append(group);
            assert!(matches!(refused, Err(AppendError::Closed(_))), "an ended log took {refused:?}");
        });
    }

    fn append_one(&mut self) {
        let message = self.message();
        self.append(vec![message], Vec::new());
    }

    /// A batch of an idempotent producer: the next one, a retry, or one that must be refused.
    fn append_batch(&mut self) {
        if self.rng.one_in(6) {
            return self.try_again();
        }
        let mut message = self.message();
        self.number(&mut message);
        self.append(vec![message], Vec::new());
    }

    /// Sends the last group that had numbers again, if its topics live.
    fn try_again(&mut self) {
        let group = self.last_numbered.clone();
        // A crash that took a topic's creation lets the number be used again.
        let lives = |message: &Message| {
            let topic = self.oracle.model.topics.get(&message.queue.topic);
            topic.is_some_and(|topic| topic.name == message.topic)
        };
        if !group.is_empty() && group.iter().all(lives) {
            self.append(group, Vec::new());
        }
    }

    /// Makes a batch of a message, and draws its producer and numbers.
    fn number(&mut self, message: &mut Message) {
        message.batch = true;
        message.count = if self.rng.one_in(20) { 32_750 } else { 1 } + self.rng.below(40) as u32;
        let known: Vec<(QueueKey, i64)> = self.oracle.model.producers.keys().copied().collect();
        let (queue, producer_id) = match known.len() as u64 {
            count if count > 0 && !self.rng.one_in(4) => known[self.rng.below(count) as usize],
            _ => (message.queue, self.rng.below(3) as i64),
        };
        message.topic = self.oracle.model.topics[&queue.topic].name.clone();
        message.queue = queue;
        let (mut epoch, mut first);
        match self.oracle.model.producers.get(&(queue, producer_id)) {
            None => {
                epoch = self.rng.below(3) as i16;
                first = [0, 1_000, i32::MAX - 10][self.rng.below(3) as usize];
            }
            Some(producer) => {
                epoch = producer.epoch;
                first = producer.next();
                match self.rng.below(10) {
                    0..=4 => {}
                    5..=7 => {
                        let at = self.rng.below(producer.batches.len() as u64) as usize;
                        let (first_known, _, event, record) = producer.batches[at];
                        first = first_known;
                        message.count = self.oracle.records_of(event)[record].targets[0].2;
                    }
                    8 => first = (first & (i32::MAX >> 1)) + 1 + self.rng.below(5) as i32,
                    _ => {
                        epoch += if self.rng.one_in(3) { -1 } else { 1 };
                        first = if self.rng.one_in(3) { 7 } else { 0 };
                    }
                }
            }
        }
        let last = (i64::from(first) + i64::from(message.count) - 1).rem_euclid(1 << 31) as i32;
        if last < first {
            self.coverage.count("wrap");
        }
        message.producer =
            Some(ProducerFacts { producer_id, epoch, first_sequence: first, last_sequence: last });
    }

    fn append_group(&mut self) {
        let mut messages: Vec<Message> = (0..2 + self.rng.below(4)).map(|_| self.message()).collect();
        if self.rng.one_in(3) {
            let mut before: Option<Message> = None;
            for message in &mut messages {
                match &before {
                    Some(before) if self.rng.one_in(2) => message.follow(before),
                    _ if self.rng.one_in(2) => self.number(message),
                    _ => continue,
                }
                before = Some(message.clone());
            }
        }
        let changes = if self.rng.one_in(2) { self.state_changes() } else { Vec::new() };
        self.append(messages, changes);
    }

    fn append_span(&mut self) {
        let mut message = self.message();
        message.count = 1 + self.rng.below(20) as u32;
        let others = [0, 1, 1, 3, if self.rng.one_in(10) { 999 } else { 5 }];
        let others = others[self.rng.below(5) as usize];
        let topics: Vec<TopicInfo> = self.oracle.model.topics.values().cloned().collect();
        for at in 0..others {
            // A queue is a target once.
            let topic =
                if at < 3 { &topics[self.rng.below(topics.len() as u64) as usize] } else { &topics[0] };
            let queue = QueueKey { topic: topic.number, queue_id: 10 + at as u32 };
            message.more.push(Target { queue, count: 1 + self.rng.below(3) as u32 });
        }
        self.append(vec![message], Vec::new());
    }

    fn append_state(&mut self) {
        let changes = self.state_changes();
        self.append(Vec::new(), changes);
    }

    /// Many small appends with turns between, so that files fill and reads go to the disk.
    fn burst(&mut self) {
        for _ in 0..10 + self.rng.below(20) {
            if self.rng.one_in(8) {
                self.append_batch();
            } else {
                self.append_one();
            }
            if self.rng.one_in(4) {
                self.write_turn();
            }
            if self.rng.one_in(6) {
                self.flush_turn();
            }
            let store = self.store();
            self.claim(&store);
            if !matches!(store.health(), Health::Serving) {
                return;
            }
        }
    }

    /// Appends; a bound that is reached is answered by a flush, as the reactors do.
    pub fn append(&mut self, messages: Vec<Message>, state: Vec<StateChange>) {
        let store = self.store();
        let numbered: Vec<_> = messages.iter().filter_map(|m| Some((m.queue, m.producer?))).collect();
        let verdict = self.oracle.model.judge(&numbered);
        if !numbered.is_empty() {
            self.last_numbered.clone_from(&messages);
        }
        for attempt in 0..3 {
            let group = self.group_of(&messages, &state).unwrap_or_else(|e| panic!("not encoded: {e}"));
            let before = store.watermarks().appended();
            match store.append(group) {
                Ok(appended) if appended.duplicate => {
                    let Verdict::Duplicate(originals) = verdict else {
                        panic!("taken for a duplicate: {numbered:?}, which is {verdict:?}");
                    };
                    self.coverage.count("duplicate");
                    self.note(format!("duplicate: {numbered:?}"));
                    let record =
                        |&(event, record): &(usize, usize)| self.oracle.records_of(event)[record].placed();
                    assert_eq!(
                        appended.records,
                        originals.iter().map(record).collect::<Vec<_>>(),
                        "{numbered:?}"
                    );
                    let end = originals.iter().map(|&(event, _)| self.oracle.events[event].end).max();
                    assert_eq!(Some(appended.end.0), end, "{numbered:?} waits for its originals");
                    assert_eq!(store.watermarks().appended(), before, "a duplicate was appended");
                    self.promises.push((appended.promise(Level::Flushed, ()), appended.end));
                    return;
                }
                Ok(appended) => {
                    assert_eq!(verdict, Verdict::New, "TWICE: {numbered:?} was appended");
                    if !numbered.is_empty() {
                        self.coverage.count("batch");
                    }
                    assert_eq!(appended.records.len(), messages.len(), "places of all records");
                    let last = messages.len().saturating_sub(1);
                    let places = messages.iter().zip(&appended.records).enumerate();
                    let records: Vec<_> =
                        places.map(|(at, (m, placed))| m.stored(placed, at < last)).collect();
                    self.tally.records += records.len() as u64;
                    let level = if self.rng.one_in(2) { Level::Flushed } else { Level::Written };
                    self.promises.push((appended.promise(level, ()), appended.end));
                    let change = Change::Group { records, state };
                    self.note(format!("appended {}", brief(&change)));
                    self.oracle.append(appended.end, change);
                    return;
                }
                Err(AppendError::Busy { unflushed }) => {
                    assert!(attempt < 2 || self.excused(), "still busy after a flush: {unflushed}");
                    self.note("busy");
                    self.write_turn();
                    self.flush_turn();
                }
                Err(AppendError::DiskFull(reason)) => {
                    self.note(format!("full: {reason}"));
                    // Files are made ahead by housekeeping: room that is there must be found by it.
                    if !self.pressed {
                        (0..3).for_each(|_| self.housekeeping());
                        self.write_turn();
                        self.flush_turn();
                        assert!(attempt < 2 || self.excused(), "full, and the disk is not: {reason}");
                    }
                }
                Err(AppendError::Closed(reason)) => {
                    assert!(self.excused(), "closed without a reason: {reason}");
                    return;
                }
                Err(error @ AppendError::OutOfOrderSequence { .. }) => {
                    assert_eq!(verdict, Verdict::OutOfOrder, "{error}: {numbered:?}");
                    assert_eq!(store.watermarks().appended(), before, "a refused batch was appended");
                    self.coverage.count("out-of-order");
                    return;
                }
                Err(error @ AppendError::StaleProducerEpoch { .. }) => {
                    assert_eq!(verdict, Verdict::Stale, "{error}: {numbered:?}");
                    assert_eq!(store.watermarks().appended(), before, "a refused batch was appended");
                    self.coverage.count("stale-epoch");
                    return;
                }
                Err(other) => panic!("not appended: {other}"),
            }
        }
    }

    fn group_of(
        &self,
        messages: &[Message],
        state: &[StateChange],
    ) -> Result<braid_store::Group, AppendError> {
        let mut builder = GroupBuilder::new();
        if !state.is_empty() {
            builder.state(state);
        }
        for message in messages {
            let properties = message.properties();
            builder.record(message.new_record(&properties));
        }
        self.store().group(builder)
    }

    pub fn write_turn(&mut self) {
        let outcome = self.store().write_turn();
        if outcome == WriteOutcome::Closed {
            assert!(self.excused(), "closed without a reason");
        }
        assert_ne!(outcome, WriteOutcome::InOtherHands, "there is one thread here");
        self.note(format!("write turn: {outcome:?}"));
    }

    pub fn flush_turn(&mut self) {
        let syncs = self.coverage_of(FaultKind::SyncError);
        let outcome = self.store().flush_turn();
        if outcome == FlushOutcome::Closed {
            assert!(self.excused(), "closed without a reason");
        }
        self.sync_failed |= self.coverage_of(FaultKind::SyncError) != syncs;
        self.note(format!("flush turn: {outcome:?}"));
    }

    /// Writes and flushes all that was appended, if the store is healthy.
    pub fn drain(&mut self) {
        for round in 0.. {
            let store = self.store();
            let marks = store.watermarks();
            if marks.flushed() >= marks.appended() || !matches!(store.health(), Health::Serving) {
                return;
            }
            assert!(round < 20 || self.excused() || self.pressed, "{marks:?} after {round} turns");
            if round >= 20 {
                return;
            }
            self.write_turn();
            self.flush_turn();
            if round > 5 {
                self.housekeeping();
            }
        }
    }

    pub fn housekeeping(&mut self) {
        let store = self.store();
        let syncs = self.coverage_of(FaultKind::SyncError);
        let next = store.housekeeping();
        self.sync_failed |= self.coverage_of(FaultKind::SyncError) != syncs;
        self.note(format!("housekeeping, next in {next} ms"));
        self.look_at_start(&store);
    }

    pub fn create_topic(&mut self) {
        if self.oracle.model.topics.len() >= TOPICS_MAX {
            return;
        }
        // Names are used again, long ones make V2 records.
        let name = match self.rng.below(6) {
            0 => format!("long-{}", "x".repeat(130)),
            n => format!("topic-{n}"),
        };
        let config = format!("config {}", self.names_used).into_bytes();
        self.names_used += 1;
        let exists = self.oracle.model.topics.values().any(|topic| topic.name == name);
        match self.store().create_topic(&name, &config) {
            Ok(promise) => {
                assert!(!exists, "{name} was made twice");
                self.promised(promise, |info| Change::Create(info.clone()));
            }
            Err(StoreError::TopicExists) => assert!(exists, "{name} does not exist"),
            Err(error) => self.refused(&error),
        }
    }

    pub fn delete_topic(&mut self) {
        if self.oracle.model.topics.len() < 2 {
            return;
        }
        let topic = self.some_topic();
        match self.store().delete_topic(topic.number) {
            Ok(promise) => {
                self.tally.deletions += 1;
                self.promised(promise, |()| Change::Delete(topic.number));
            }
            Err(error) => self.refused(&error),
        }
    }

    /// A topic gets a retention of its own, or loses it.
    fn pin_topic(&mut self) {
        let topic = self.some_topic().number;
        let store = self.store();
        self.look_at_start(&store);
        let is_pinned = self.pinned.insert(topic) || !self.pinned.remove(&topic);
        store.pin_topic(topic, is_pinned);
        self.coverage.count("topic-pinned");
        self.note(format!("{topic:?} is pinned: {is_pinned}"));
    }

    /// Cuts a queue somewhere, also where it is cut already and behind its end.
    fn cut_queue(&mut self) {
        let queues: Vec<QueueKey> = self.oracle.model.queues.keys().copied().collect();
        let store = self.store();
        let Some(queue) = (!queues.is_empty()).then(|| queues[self.rng.below(queues.len() as u64) as usize])
        else {
            return;
        };
        let (min, max) = self.oracle.offsets(&store, queue).unwrap_or_default();
        let offset = (min + self.rng.below(max - min + 3)).saturating_sub(1);
        let known = min.max(self.oracle.model.queues[&queue].start(usize::MAX));
        let start = known.max(offset.min(max));
        match store.cut_queue(queue, offset) {
            Ok(promise) if start == known => {
                let told = promise.map(|told| assert_eq!(told, known, "{queue:?} is not cut again"));
                self.promises.push((told, store.watermarks().appended()));
            }
            Ok(promise) => {
                self.coverage.count("queue-cut");
                self.promised(promise.map(|told| assert_eq!(told, start)), |()| Change::Cut(queue, start));
            }
            Err(error) => self.refused(&error),
        }
    }

    fn configure_topic(&mut self) {
        let Some(topic) = self.oracle.model.topics.values().next().cloned() else { return };
        let config = format!("changed {}", self.rng.below(1_000)).into_bytes();
        match self.store().configure_topic(topic.number, &config) {
            Ok(promise) => self.promised(promise, |()| Change::Configure(topic.number, config.clone())),
            Err(error) => self.refused(&error),
        }
    }

    /// Takes note of a promised change; the value is looked at by way of a promise that is due at once.
    fn promised<T: Clone>(&mut self, promise: Promise<T>, change: impl FnOnce(&T) -> Change) {
        let (end, mut value) = (promise.end(), None);
        let kept = promise.map(|inner| value = Some(inner.clone()));
        let change = change(&value.expect("map looks at the value"));
        self.note(format!("appended {}", brief(&change)));
        self.promises.push((kept, end));
        self.oracle.append(end, change);
    }

    fn refused(&mut self, error: &StoreError) {
        let StoreError::Append(reason) = error else { panic!("refused: {error}") };
        match reason {
            AppendError::Busy { .. } => {
                self.write_turn();
                self.flush_turn();
            }
            AppendError::DiskFull(_) => {}
            AppendError::Closed(_) => assert!(self.excused(), "closed without a reason: {reason}"),
            other => panic!("refused: {other}"),
        }
    }

    fn move_clock(&mut self) {
        match self.rng.below(8) {
            0 => {
                let back = self.rng.below(2 * KEEP_MS as u64) as i64;
                self.clock.jump_wall(-back);
            }
            1 => {
                let forward = self.rng.below(KEEP_MS as u64 / 2) as i64;
                self.clock.jump_wall(forward);
            }
            2 => self.clock.advance(60_000),
            _ => {
                let ms = self.rng.below(2_000);
                self.clock.advance(ms);
            }
        }
        self.note("the clock moved");
    }

    /// Lets one operation of the next steps fail.
    fn arm_fault(&mut self) {
        let kinds = [
            FaultKind::WriteError,
            FaultKind::SyncError,
            FaultKind::DirSyncError,
            FaultKind::NoSpace,
            FaultKind::ShortWrite,
        ];
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        let part = ["commitlog", "braid", "superblock", "snapshot", "derived"][self.rng.below(5) as usize];
        let passes = self.rng.below(3);
        self.note(format!("armed {} below {part} after {passes}", kind.name()));
        self.disk.fail_after(passes, kind, part);
    }

    /// Takes the room away, goes on for a while, and gives it back: writers must go on without a restart.
    fn fill_disk(&mut self) {
        let space = self.disk.space(Path::new("/")).expect("room is always known");
        let left = self.rng.below(3) * self.options.file_bytes / 2;
        let capacity = Some(space.total - space.free + left);
        self.disk.disarm();
        self.disk.set_faults(Faults { capacity, no_space: 0, ..self.faults.clone() });
        let answers = self.coverage_of(FaultKind::NoSpace);
        self.full_before = answers - self.pressed_answers;
        self.pressed = true;
        self.note(format!("the disk has {left} bytes left"));
        for _ in 0..30 {
            match self.rng.below(4) {
                0 => self.housekeeping(),
                1 => self.flush_turn(),
                _ => self.burst(),
            }
            let store = self.store();
            self.claim(&store);
            if !matches!(store.health(), Health::Serving) {
                break;
            }
        }
        let store = self.store();
        if matches!(store.health(), Health::DiskFull(_)) {
            self.coverage.count("disk-full");
            self.quiet(|world| world.oracle.check_all(&store, &mut world.rng));
        }
        self.disk.set_faults(self.faults.clone());
        self.pressed = false;
        // The store asks for the room once a second.
        self.clock.advance(2_000);
        self.pressed_answers += self.coverage_of(FaultKind::NoSpace) - answers;
        if self.excused() || self.faults.no_space > 0 {
            return;
        }
        for _ in 0..10 {
            self.housekeeping();
            self.write_turn();
            self.flush_turn();
        }
        if self.excused() {
            return;
        }
        assert_eq!(store.health(), Health::Serving, "there is room again");
        let records = self.tally.records;
        self.append_one();
        assert!(self.tally.records > records || self.excused(), "no append though there is room again");
    }

    // --- looking --------------------------------------------------------------------------------------------------

    fn look(&mut self) {
        let queues: Vec<QueueKey> = self.oracle.model.queues.keys().copied().collect();
        if queues.is_empty() {
            return;
        }
        let queue = queues[self.rng.below(queues.len() as u64) as usize];
        let store = self.store();
        self.look_at_start(&store);
        if self.rng.one_in(8) {
            self.look_with_errors(&store, queue);
        }
        self.quiet(|world| match world.rng.below(6) {
            0 => world.oracle.check_queue(&store, queue, &mut world.rng),
            1 => world.oracle.check_time(&store, queue, &mut world.rng),
            2 => {
                let key = format!("key-{}", world.rng.below(8));
                world.oracle.check_key(&store, queue.topic, &key, &mut world.rng);
            }
            3 => world.oracle.check_name(&store, queue, &mut world.rng),
            4 => world.oracle.check_newest(&store, queue, &mut world.rng),
            _ => world.oracle.check_read(&store, queue, &mut world.rng),
        });
    }

    /// A device that cannot be read gives errors, and the next read is as good as ever.
    fn look_with_errors(&mut self, store: &Store, queue: QueueKey) {
        let entries = self.oracle.entries(store, queue);
        let Some((entry, (min, _))) = entries.first().zip(self.oracle.offsets(store, queue)) else { return };
        self.disk.fail_next(FaultKind::ReadError, "commitlog");
        match super::oracle::read(store, &super::oracle::request(queue, min)) {
            Ok(result) => assert_eq!(result.records[0], self.oracle.record(entry).bytes),
            Err(StoreError::Io(_)) => {}
            Err(other) => panic!("an unreadable device gave: {other}"),
        }
        self.disk.disarm_kind(FaultKind::ReadError);
    }

    fn check_everything(&mut self) {
        let store = self.store();
        self.look_at_start(&store);
        self.quiet(|world| world.oracle.check_all(&store, &mut world.rng));
        self.note("checked everything");
    }

    /// Looks while the device can be read; reads that are short or would wait stay. Nothing to see when the power is off.
    fn quiet(&mut self, look: impl FnOnce(&mut Self)) {
        if self.disk.is_off() {
            return;
        }
        self.disk.disarm_kind(FaultKind::ReadError);
        look(self);
    }

    /// Takes the watermarks as claims, and asks the disk at once whether they are true.
    pub fn claim(&mut self, store: &Store) {
        let marks = store.watermarks();
        assert!(marks.written() <= marks.appended() && marks.flushed() <= marks.written(), "{marks:?}");
        let safe = if store.flush_mode() == FlushMode::Sync { marks.flushed() } else { marks.written() };
        assert!(marks.dispatched() <= safe, "visible before it is safe: {marks:?}");
        for event in self.oracle.claim(Level::Written, marks.written()) {
            self.check_written(event);
        }
        for event in self.oracle.claim(Level::Flushed, marks.flushed()) {
            self.check_durable(event);
        }
        // Readers are told of each entry once, in log order. What was just deleted may be told or not.
        let told = std::mem::take(&mut *self.listener.0.lock().expect("nobody panics with it"));
        let new = self.oracle.newly_visible(store);
        let live = |queue: &QueueKey| self.oracle.model.topics.contains_key(&queue.topic);
        let told: Vec<_> = told.iter().map(|e| (e.queue, e.next_offset, e.index_word)).collect();
        let told: Vec<_> = told.into_iter().filter(|(queue, ..)| live(queue)).collect();
        let new: Vec<_> = new.into_iter().filter(|(queue, ..)| live(queue)).collect();
        assert_eq!(told, new, "what became visible");
    }

    fn redeem(&mut self, store: &Store) {
        for (promise, end) in std::mem::take(&mut self.promises) {
            let level = promise.level();
            match promise.redeem(store.watermarks()) {
                Ok(()) => assert!(store.watermarks().reached(level) >= end, "answered early"),
                Err(promise) => self.promises.push((promise, end)),
            }
        }
    }

    fn check_written(&self, event: usize) {
        if !self.asks_device {
            return;
        }
        for record in self.oracle.records_of(event) {
            let (path, at) = self.place(record.position);
            let found = self.disk.live_bytes(&path, at, record.bytes.len());
            assert!(
                found.as_deref() == Some(&record.bytes[..]),
                "EARLY: the record at {} is claimed to be written, and it is not in its file",
                record.position
            );
        }
    }

    pub fn check_durable(&self, event: usize) {
        if !self.asks_device {
            return;
        }
        for record in self.oracle.records_of(event).iter().filter(|r| r.position >= self.oracle.start) {
            let (path, at) = self.place(record.position);
            let found = self.disk.durable_bytes(&path, at, record.bytes.len());
            let state = if found.is_none() { "no such file" } else { "other bytes" };
            assert!(
                found.as_deref() == Some(&record.bytes[..]),
                "EARLY: the record at {} is claimed to be flushed, and the device has {state} there",
                record.position
            );
        }
    }

    /// The log file of a position, and the place inside it.
    pub fn place(&self, position: u64) -> (PathBuf, u64) {
        let inside = position % self.options.file_bytes;
        (self.log_path(position - inside), inside)
    }

    pub fn log_path(&self, base: u64) -> PathBuf {
        Path::new(DIR).join("commitlog").join(format!("{base:020}"))
    }

    /// Retention may have moved the log's start: only forward, by whole files, and only those old enough.
    pub fn look_at_start(&mut self, store: &Store) {
        let (start, end) = store.log_range();
        let before = self.oracle.start;
        if start.0 == before {
            return;
        }
        assert!(start.0 > before, "the log's start went back from {before} to {}", start.0);
        assert_eq!(start.0 % self.options.file_bytes, 0, "retention takes whole files");
        assert!(start <= end, "retention took the file that is written to");
        // With pins, a file may go early that no queue needs; a file that a pinned queue needs does not go.
        let gone = self.oracle.records().filter(|record| record.position < start.0);
        let gone: Vec<_> = gone
            .filter(|record| self.pinned.is_empty() || self.oracle.topics_of(store, record).next().is_some())
            .collect();
        for record in &gone {
            let mut topics = self.oracle.topics_of(store, record);
            let held = topics.find(|topic| self.pinned.contains(topic));
            assert_eq!(held, None, "a file went that the record at {} keeps", record.position);
        }
        let newest = gone.iter().map(|record| record.time).max().unwrap_or(0);
        let now = self.clock.wall_ms().max(self.oracle.last_time);
        let may_press = self.pressed && self.options.retention.free_bytes_min != Some(0);
        assert!(may_press || newest + KEEP_MS <= now, "a record of {newest} went at {now}");
        self.tally.cuts += (start.0 - before) / self.options.file_bytes;
        self.note(format!("retention moved the start to {}", start.0));
        self.oracle.start = start.0;
    }

    /// Fills files until there are sealed ones, lets them grow old, and keeps house until one is gone. A fault may
    /// prevent it.
    pub fn try_cut(&mut self) {
        let store = self.store();
        self.look_at_start(&store);
        for topic in std::mem::take(&mut self.pinned) {
            store.pin_topic(topic, false);
        }
        drop(store);
        let cuts = self.tally.cuts;
        let first = self.log_file();
        for round in 0.. {
            if self.log_file() >= first + 2 {
                break;
            }
            assert!(round < 100_000, "files never fill");
            self.ensure_topics();
            let before = self.log_file();
            self.append_one();
            self.write_turn();
            self.flush_turn();
            if self.rng.one_in(8) {
                self.housekeeping();
            }
            self.after_step(before);
        }
        for _ in 0..200 {
            if self.tally.cuts > cuts {
                return;
            }
            let before = self.log_file();
            self.clock.advance(KEEP_MS as u64 / 20);
            self.housekeeping();
            self.drain();
            self.after_step(before);
        }
        assert!(self.excused(), "retention never cut");
        self.restart(End::Crash);
    }

    /// Makes topics until there are two.
    pub fn ensure_topics(&mut self) {
        for _ in 0..200 {
            if self.oracle.model.topics.len() >= 2 {
                return;
            }
            let before = self.log_file();
            self.create_topic();
            self.write_turn();
            self.flush_turn();
            self.housekeeping();
            self.after_step(before);
            if self.disk.is_off() {
                return;
            }
        }
        panic!("no topic can be made");
    }

    /// Removes all that is derived, as an operator may.
    pub fn drop_derived(&mut self) {
        self.note("braid/derived/ is deleted");
        let derived = Path::new(DIR).join("braid").join("derived");
        self.disk.set_faults(Faults::default());
        self.disk.remove_dir_all(&derived).expect("removing is no error");
        self.disk.sync_dir(&Path::new(DIR).join("braid")).expect("the directory is there");
        self.disk.set_faults(self.faults.clone());
    }

    // --- drawing --------------------------------------------------------------------------------------------------

    fn some_topic(&mut self) -> TopicInfo {
        let topics: Vec<&TopicInfo> = self.oracle.model.topics.values().collect();
        topics[self.rng.below(topics.len() as u64) as usize].clone()
    }

    pub fn message(&mut self) -> Message {
        let topic = self.some_topic();
        let queue = QueueKey { topic: topic.number, queue_id: self.rng.below(QUEUES) as u32 };
        self.next_value += 1;
        // A group of five must fit into a file, and into what may be unflushed.
        let most = self.options.file_bytes.min(self.options.unflushed_bytes_max);
        let len = match self.rng.below(20) {
            0 => self.rng.below(most / 8),
            1..=4 => self.rng.below(most / 64),
            _ => self.rng.below(400),
        };
        let mut message = Message::new(&topic.name, queue, self.next_value, len as usize, &mut self.rng);
        if self.rng.one_in(3) {
            message.key = Some(format!("key-{}", self.rng.below(8)));
        }
        if self.rng.one_in(2) {
            message.tag = Some(format!("tag-{}", self.rng.below(4)));
        }
        message
    }

    fn state_changes(&mut self) -> Vec<StateChange> {
        let one = |rng: &mut Rng| StateChange {
            kind: StateKind(16 + rng.below(2) as u8),
            key: format!("cursor {}", rng.below(10)).into_bytes(),
            value: (!rng.one_in(5)).then(|| rng.next_u64().to_le_bytes().to_vec()),
        };
        (0..1 + self.rng.below(4)).map(|_| one(&mut self.rng)).collect()
    }

    // --- counting -------------------------------------------------------------------------------------------------

    fn coverage_of(&self, kind: FaultKind) -> u64 {
        self.disk.coverage().of(kind.name())
    }

    /// How many faults fell that a store may not be able to live with.
    fn faults_taken(&self) -> u64 {
        let kinds =
            [FaultKind::ReadError, FaultKind::WriteError, FaultKind::SyncError, FaultKind::DirSyncError];
        let errors: u64 = kinds.map(|kind| self.coverage_of(kind)).iter().sum();
        let full = self.coverage_of(FaultKind::NoSpace);
        errors + if self.pressed { self.full_before } else { full - self.pressed_answers }
    }
}

fn options(seed: u64, rng: &mut Rng) -> StoreOptions {
    let mut options = StoreOptions::for_simulation(DIR, 64 << 10, seed);
    options.file_bytes <<= [0, 0, 1, 4][rng.below(4) as usize];
    options.first_position = rng.below(3) * (options.file_bytes << 20);
    options.flush = if rng.one_in(4) { FlushMode::Async } else { FlushMode::Sync };
    options.unflushed_bytes_max <<= rng.below(3);
    options.tail_bytes_max = options.file_bytes / (1 + rng.below(16));
    options.prewrite_bytes = options.file_bytes / (1 + rng.below(4));
    options.snapshot_bytes = options.file_bytes * (1 + rng.below(6)) / 2;
    options.retention.keep_ms = KEEP_MS;
    options.retention.free_bytes_min = if rng.one_in(2) { Some(0) } else { None };
    // An hour of the store's life is a step here: nobody is forgotten, so that all can be asked for.
    options.producer_idle_ms = i64::MAX / 2;
    options.derivers = vec![(None, derive), (Some(SPAN_KIND), derive), (Some(BATCH_KIND), derive)];
    options
}

/// A change that only tests whether a log takes one.
pub fn nothing_new() -> StateChange {
    StateChange { kind: StateKind(16), key: b"never there".to_vec(), value: None }
}

/// Rates of this seed: half of the seeds have a device without errors, so that long runs happen too.
fn draw_faults(rng: &mut Rng) -> Faults {
    let mut one_of = |rates: [u32; 4]| rates[rng.below(4) as usize];
    let calm = one_of([0, 0, 1, 1]) == 0;
    let mut error = |rate| if calm { 0 } else { one_of([0, 0, 0, rate]) };
    let (write_error, sync_error, dir_sync_error, no_space) =
        (error(500), error(1_000), error(5_000), error(500));
    Faults {
        write_error,
        sync_error,
        dir_sync_error,
        no_space,
        short_read: one_of([0, 0, 20_000, 200_000]),
        short_write: one_of([0, 0, 20_000, 200_000]),
        cold_read: one_of([0, 50_000, 300_000, 1_000_000]),
        slow: one_of([0, 0, 10_000, 50_000]),
        ..Faults::default()
    }
}

/// The name under which a row of the recovery table is counted.
pub fn row_name(row: &braid_store::RecoveryRow) -> String {
    format!("row {row:?}")
}
