//! The log held against a list in memory: whatever is appended, read, looked up, deleted, dropped and opened again, the
//! store answers as the list would. No disk fails here; `simulation.rs` is for that.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod harness;

use std::path::Path;
use std::sync::Arc;

use braid_io::sim::{SimClock, SimDisk};
use braid_io::{Disk, OsDisk, Rng};
use braid_store::{
    AppendError, FlushMode, Group, GroupBuilder, Health, Level, QueueKey, StateChange, StateKind, Store,
    StoreError, StoreOptions, Target, TopicInfo, WriteOutcome,
};
use proptest::collection::vec;
use proptest::prelude::*;

use harness::message::{BATCH_KIND, Message, SPAN_KIND, derive};
use harness::oracle::{Change, Oracle, read, request};

const FILE_BYTES: u64 = 64 << 10;
const KEEP_MS: i64 = 3_600_000;
/// Cases of a full run, and the part of it that runs when nothing is said.
const CASES_FULL: f64 = 320.0;
const SCALE_DEFAULT: f64 = 0.2;

/// A store and the list that says what is in it.
struct Bench {
    disk: Arc<dyn Disk>,
    clock: SimClock,
    options: StoreOptions,
    store: Store,
    oracle: Oracle,
    rng: Rng,
    next_value: u64,
}

impl Bench {
    fn new(disk: Arc<dyn Disk>, dir: &Path, flush: FlushMode) -> Self {
        let mut options = StoreOptions::for_simulation(dir, FILE_BYTES, 1);
        options.flush = flush;
        options.retention.keep_ms = KEEP_MS;
        options.tail_bytes_max = 16 << 10;
        options.derivers = vec![(None, derive), (Some(SPAN_KIND), derive), (Some(BATCH_KIND), derive)];
        let clock = SimClock::new(1_790_000_000_000);
        let (store, _) = open(&options, &disk, &clock);
        let oracle = Oracle::default();
        Self { disk, clock, options, store, oracle, rng: Rng::new(7), next_value: 0 }
    }

    fn simulated() -> Self {
        Self::new(Arc::new(SimDisk::new(1)), Path::new("/data"), FlushMode::Sync)
    }

    fn create(&mut self, name: &str) -> TopicInfo {
        let promise = self.when_there_is_room(|store| store.create_topic(name, b"some config"));
        let (end, mut made) = (promise.end(), None);
        let _ = promise.map(|info| made = Some(info));
        let info: TopicInfo = made.unwrap();
        self.oracle.append(end, Change::Create(info.clone()));
        info
    }

    fn delete(&mut self, topic: &TopicInfo) {
        let promise = self.when_there_is_room(|store| store.delete_topic(topic.number));
        self.oracle.append(promise.end(), Change::Delete(topic.number));
    }

    /// Asks again once the log has made room for the change.
    fn when_there_is_room<T>(&self, change: impl Fn(&Store) -> Result<T, StoreError>) -> T {
        match change(&self.store) {
            Err(StoreError::Append(AppendError::Busy { .. })) => {
                self.turn();
                self.store.housekeeping();
                change(&self.store).unwrap()
            }
            other => other.unwrap(),
        }
    }

    fn message(&mut self, topic: &TopicInfo, queue_id: u32, len: usize) -> Message {
        self.next_value += 1;
        let queue = QueueKey { topic: topic.number, queue_id };
        Message::new(&topic.name, queue, self.next_value, len, &mut self.rng)
    }

    fn append(&mut self, messages: Vec<Message>, state: Vec<StateChange>) {
        let appended = match self.store.append(self.group(&messages, &state)) {
            // The bound on unflushed bytes is smaller than what some cases append.
            Err(AppendError::Busy { .. } | AppendError::DiskFull(_)) => {
                self.turn();
                self.store.housekeeping();
                self.store.append(self.group(&messages, &state)).unwrap()
            }
            other => other.unwrap(),
        };
        let last = messages.len().saturating_sub(1);
        let records = messages.iter().zip(&appended.records).enumerate();
        let records = records.map(|(at, (message, placed))| message.stored(placed, at < last)).collect();
        self.oracle.append(appended.end, Change::Group { records, state });
    }

    fn group(&self, messages: &[Message], state: &[StateChange]) -> Group {
        let mut builder = GroupBuilder::new();
        if !state.is_empty() {
            builder.state(state);
        }
        for message in messages {
            let properties = message.properties();
            builder.record(message.new_record(&properties));
        }
        self.store.group(builder).unwrap()
    }

    fn turn(&self) {
        for _ in 0..20 {
            if self.store.write_turn() != WriteOutcome::NeedsFlush {
                self.store.flush_turn();
                if self.store.watermarks().flushed() == self.store.watermarks().appended() {
                    return;
                }
            }
            self.store.flush_turn();
            self.store.housekeeping();
        }
        panic!("the log stands still: {:?} {:?}", self.store.watermarks(), self.store.health());
    }

    fn reopen(&mut self, clean: bool, without_derived: bool) {
        self.turn();
        if clean {
            self.store.close().unwrap();
        }
        // The old handle holds the lock until it is gone; a placeholder takes its place.
        let parked = Arc::new(SimDisk::new(0)) as Arc<dyn Disk>;
        let options = StoreOptions::for_simulation("/parked", FILE_BYTES, 1);
        self.store = open(&options, &parked, &self.clock).0;
        if without_derived {
            self.disk.remove_dir_all(&self.options.dir.join("braid").join("derived")).unwrap();
        }
        self.options.id_seed = Some(self.rng.next_u64());
        let (store, report) = open(&self.options, &self.disk, &self.clock);
        assert!(report.damage.is_empty(), "{report:?}");
        self.store = store;
        self.oracle.recover(&self.store, Level::Written);
        assert_eq!(self.store.health(), Health::Serving);
    }

    fn check(&mut self) {
        self.turn();
        self.oracle.check_all(&self.store, &mut self.rng);
        let queues: Vec<QueueKey> = self.oracle.model.queues.keys().copied().collect();
        for queue in queues {
            self.oracle.check_read(&self.store, queue, &mut self.rng);
            self.oracle.check_time(&self.store, queue, &mut self.rng);
            self.oracle.check_newest(&self.store, queue, &mut self.rng);
            self.oracle.check_name(&self.store, queue, &mut self.rng);
            for key in 0..4 {
                self.oracle.check_key(&self.store, queue.topic, &format!("key-{key}"), &mut self.rng);
            }
        }
    }

    /// Cuts a queue at so many hundredths of what it has.
    fn cut(&mut self, queue: QueueKey, percent: u64) {
        self.turn();
        let Some((min, max)) = self.oracle.offsets(&self.store, queue) else {
            assert_eq!(self.store.offsets(queue), None);
            return;
        };
        let start = min + (max - min) * percent / 100;
        let promise = self.when_there_is_room(|store| store.cut_queue(queue, start));
        if min < start.min(max) {
            self.oracle.append(promise.end(), Change::Cut(queue, start.min(max)));
        }
        let told = promise.map(|told| assert_eq!(told, start.min(max)));
        self.turn();
        told.redeem(self.store.watermarks()).expect("all is flushed");
    }

    /// Lets everything sealed so far grow old, and keeps house until it is gone.
    fn cut_all_sealed(&mut self) {
        self.turn();
        let end = self.store.log_range().1.0;
        let wanted = end - end % FILE_BYTES;
        self.clock.advance(2 * KEEP_MS as u64);
        for _ in 0..200 {
            self.clock.advance(61_000);
            self.store.housekeeping();
            self.turn();
            self.oracle.start = self.store.log_range().0.0;
            if self.oracle.start >= wanted {
                return;
            }
        }
        panic!("retention stopped at {} of {wanted}", self.oracle.start);
    }
}

fn open(
    options: &StoreOptions,
    disk: &Arc<dyn Disk>,
    clock: &SimClock,
) -> (Store, braid_store::RecoveryReport) {
    Store::open(options.clone(), Arc::clone(disk), Arc::new(clock.clone())).unwrap()
}

/// What a generated case is made of.
#[derive(Debug, Clone)]
enum Op {
    Append { queue: u32, len: usize, key: Option<u8>, tag: Option<u8> },
    Group { queues: Vec<u32>, with_state: bool },
    Span { queue: u32, count: u32, more: Vec<u32>, batch: bool },
    State { key: u8, value: Option<u8> },
    Cut { queue: u32, percent: u64 },
    Delete,
    Create,
    Turn,
    Check,
    Housekeeping,
    Clock { ms: i64 },
    Reopen { clean: bool, without_derived: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..6u32, 0..3_000usize, any::<Option<u8>>(), any::<Option<u8>>())
            .prop_map(|(queue, len, key, tag)| Op::Append { queue, len, key, tag }),
        3 => (vec(0..6u32, 1..6), any::<bool>())
            .prop_map(|(queues, with_state)| Op::Group { queues, with_state }),
        3 => (0..6u32, 1..40u32, vec(1..30u32, 0..4), any::<bool>())
            .prop_map(|(queue, count, more, batch)| Op::Span { queue, count, more, batch }),
        2 => (any::<u8>(), any::<Option<u8>>()).prop_map(|(key, value)| Op::State { key, value }),
        2 => (prop_oneof![0..6u32, 10..14u32], 0..130u64).prop_map(|(queue, percent)| Op::Cut { queue, percent }),
        1 => Just(Op::Delete),
        1 => Just(Op::Create),
        3 => Just(Op::Turn),
        2 => Just(Op::Check),
        2 => Just(Op::Housekeeping),
        2 => (-5_000..60_000i64).prop_map(|ms| Op::Clock { ms }),
        2 => (any::<bool>(), any::<bool>())
            .prop_map(|(clean, without_derived)| Op::Reopen { clean, without_derived }),
    ]
}

fn state_change(key: u8, value: Option<u8>) -> StateChange {
    StateChange {
        kind: StateKind(16 + key % 2),
        key: vec![key],
        value: value.map(|value| vec![value; usize::from(value)]),
    }
}

fn apply(bench: &mut Bench, topics: &mut Vec<TopicInfo>, at: usize, op: Op) {
    let topic = topics[at % topics.len()].clone();
    match op {
        Op::Append { queue, len, key, tag } => {
            let mut message = bench.message(&topic, queue, len);
            message.key = key.map(|key| format!("key-{}", key % 4));
            message.tag = tag.map(|tag| format!("tag-{}", tag % 3));
            bench.append(vec![message], Vec::new());
        }
        Op::Group { queues, with_state } => {
            let messages = queues.iter().map(|&queue| bench.message(&topic, queue, 200)).collect();
            let state = if with_state { vec![state_change(at as u8, Some(3))] } else { Vec::new() };
            bench.append(messages, state);
        }
        Op::Span { queue, count, more, batch } => {
            let mut message = bench.message(&topic, queue, 100);
            message.count = count;
            message.batch = batch;
            let targets = more.iter().zip(10..).map(|(&count, queue_id)| Target {
                queue: QueueKey { topic: topic.number, queue_id },
                count,
            });
            message.more = targets.collect();
            bench.append(vec![message], Vec::new());
        }
        Op::State { key, value } => bench.append(Vec::new(), vec![state_change(key, value)]),
        Op::Cut { queue, percent } => bench.cut(QueueKey { topic: topic.number, queue_id: queue }, percent),
        Op::Delete if topics.len() > 1 => {
            topics.retain(|other| other.number != topic.number);
            bench.delete(&topic);
        }
        Op::Create if topics.len() < 4 => {
            // The same few names again and again, V1 and V2.
            let names = ["a".to_owned(), "b".repeat(127), "c".repeat(128), "d".repeat(255)];
            let free = names.iter().find(|name| topics.iter().all(|topic| topic.name != **name));
            topics.push(bench.create(free.unwrap()));
        }
        Op::Turn => bench.turn(),
        Op::Check => bench.check(),
        Op::Clock { ms } if ms < 0 => bench.clock.jump_wall(ms),
        Op::Clock { ms } => bench.clock.advance(ms as u64),
        Op::Reopen { clean, without_derived } => bench.reopen(clean, without_derived),
        Op::Housekeeping | Op::Delete | Op::Create => {
            bench.store.housekeeping();
        }
    }
}

fn run_case(mut bench: Bench, ops: Vec<Op>) {
    let mut topics = vec![bench.create("first"), bench.create(&"long".repeat(40))];
    for (at, op) in ops.into_iter().enumerate() {
        apply(&mut bench, &mut topics, at, op);
    }
    bench.check();
    bench.reopen(false, true);
    bench.check();
}

fn cases(full: f64) -> ProptestConfig {
    let scale = std::env::var("BRAIDMQ_TEST_SCALE").ok().and_then(|text| text.parse().ok());
    let cases = (full * scale.unwrap_or(SCALE_DEFAULT)).ceil().max(1.0) as u32;
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() }
}

#[test]
fn the_log_answers_as_a_list_would() {
    proptest!(cases(CASES_FULL), |(ops in vec(op(), 1..120), is_async in any::<bool>())| {
        let flush = if is_async { FlushMode::Async } else { FlushMode::Sync };
        run_case(Bench::new(Arc::new(SimDisk::new(1)), Path::new("/data"), flush), ops);
    });
}

#[test]
fn it_does_so_on_a_real_disk() {
    proptest!(cases(CASES_FULL / 20.0), |(ops in vec(op(), 1..60))| {
        let dir = tempfile::tempdir().unwrap();
        run_case(Bench::new(Arc::new(OsDisk), &dir.path().join("data"), FlushMode::Sync), ops);
    });
}

#[test]
fn a_record_enters_two_or_a_thousand_queues_and_the_indexes_can_be_dropped() {
    let mut bench = Bench::simulated();
    let (a, b) = (bench.create("a"), bench.create("b"));
    for (others, count) in [(1, 1), (999, 1), (1, 7), (999, 3)] {
        let mut message = bench.message(&a, 0, 500);
        message.count = count;
        let topic = if others == 1 { &b } else { &a };
        message.more = (1..=others)
            .map(|queue_id| Target { queue: QueueKey { topic: topic.number, queue_id }, count })
            .collect();
        bench.append(vec![message], Vec::new());
        bench.turn();
    }
    assert_eq!(bench.store.queues(a.number).len(), 1_000);
    bench.check();
    let own = QueueKey { topic: a.number, queue_id: 0 };
    assert_eq!(bench.store.offsets(own).unwrap().max, 1 + 1 + 7 + 3);
    bench.reopen(false, true);
    bench.check();
    bench.reopen(true, false);
    bench.check();
}

#[test]
fn a_topic_made_again_under_its_old_name_has_none_of_the_old_records() {
    for (clean, without_derived) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut bench = Bench::simulated();
        let old = bench.create("orders");
        for _ in 0..10 {
            let mut message = bench.message(&old, 0, 100);
            message.key = Some("key-0".into());
            bench.append(vec![message], Vec::new());
        }
        let named = bench.oracle.records().next().unwrap().position;
        bench.delete(&old);
        let new = bench.create("orders");
        assert_ne!((old.number, old.id), (new.number, new.id));
        let message = bench.message(&new, 0, 100);
        bench.append(vec![message], Vec::new());
        bench.reopen(clean, without_derived);
        bench.check();
        let queue = QueueKey { topic: new.number, queue_id: 0 };
        assert_eq!(read(&bench.store, &request(queue, 0)).unwrap().records.len(), 1);
        assert_eq!(
            bench.store.query_key(new.number, "key-0", 0, i64::MAX, 10).unwrap(),
            Vec::<bytes::Bytes>::new()
        );
        assert_eq!(bench.store.record_named(braid_store::Position(named)).unwrap(), None);
        assert_eq!(bench.store.topic("orders").unwrap().id, new.id);
    }
}

#[test]
fn a_queue_that_retention_emptied_goes_on_counting() {
    for without_derived in [false, true] {
        let mut bench = Bench::simulated();
        let (quiet, busy) = (bench.create("quiet"), bench.create("busy"));
        for _ in 0..5 {
            let message = bench.message(&quiet, 3, 100);
            bench.append(vec![message], Vec::new());
        }
        bench.append(Vec::new(), vec![state_change(2, Some(9))]);
        for _ in 0..40 {
            let message = bench.message(&busy, 0, 8_000);
            bench.append(vec![message], Vec::new());
            bench.turn();
            bench.store.housekeeping();
        }
        bench.cut_all_sealed();
        let queue = QueueKey { topic: quiet.number, queue_id: 3 };
        bench.check();
        bench.reopen(false, without_derived);
        bench.check();
        let offsets = bench.store.offsets(queue).unwrap();
        assert_eq!((offsets.min, offsets.max), (5, 5));
        let message = bench.message(&quiet, 3, 100);
        bench.append(vec![message], Vec::new());
        bench.check();
        assert_eq!(bench.store.offsets(queue).unwrap().max, 6);
    }
}

#[test]
fn a_record_inside_a_body_is_never_given_by_its_position() {
    let mut bench = Bench::simulated();
    let topic = bench.create("a");
    let honest = bench.message(&topic, 0, 100);
    bench.append(vec![honest], Vec::new());
    let honest = bench.oracle.records().next().unwrap().clone();
    // The forger knows where the body will lie: a whole record, stamped for that place, with a right checksum.
    let carrier = bench.message(&topic, 0, 2_000);
    let end = bench.oracle.events.last().unwrap().end;
    let properties = carrier.properties();
    let group_free = carrier.new_record(&properties).draft;
    let mut outer = Vec::new();
    braid_record::encode(&group_free, &mut outer).unwrap();
    let body_at = outer.windows(carrier.body.len()).position(|window| window == carrier.body).unwrap() as u64;
    let forged_position = end + body_at;
    let draft = braid_record::Draft { body: b"forged", ..group_free };
    let mut forged = Vec::new();
    let encoded = braid_record::encode(&draft, &mut forged).unwrap();
    let stamp = braid_record::Stamp {
        queue_offset: 0,
        position: forged_position,
        store_timestamp: honest.time,
        slot_offsets: &[],
    };
    encoded.stamp(&mut forged, &stamp);
    let mut carrier = carrier;
    carrier.body[..forged.len()].copy_from_slice(&forged);
    bench.append(vec![carrier], Vec::new());
    bench.turn();
    assert_eq!(bench.oracle.records().nth(1).unwrap().position, end, "the forger knew the place");
    assert_eq!(bench.store.record_named(braid_store::Position(forged_position)).unwrap(), None);
    let named = bench.store.record_named(braid_store::Position(honest.position)).unwrap();
    assert_eq!(named.map(|named| named.record), Some(honest.bytes));
    let inside = braid_store::Position::inside(braid_store::Position(forged_position), 0).unwrap();
    let named = bench.store.record_named(inside).unwrap();
    assert!(named.is_none_or(|named| named.record != forged), "a forged record got a name");
    bench.reopen(false, true);
    bench.check();
    assert_eq!(bench.store.record_named(braid_store::Position(forged_position)).unwrap(), None);
}

#[test]
fn store_times_do_not_go_back_with_the_clock() {
    let mut bench = Bench::simulated();
    let topic = bench.create("a");
    for jump in [0, -60_000, 30_000, -1, 5_000_000, -9_000_000] {
        bench.clock.jump_wall(jump);
        let message = bench.message(&topic, 0, 50);
        bench.append(vec![message], Vec::new());
        if jump == 30_000 {
            bench.reopen(false, false);
            bench.clock.jump_wall(-80_000);
        }
    }
    let times: Vec<i64> = bench.oracle.records().map(|record| record.time).collect();
    assert!(times.is_sorted(), "{times:?}");
    bench.check();
}
