//! Bugs that simulation found, each as a short story that runs.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod harness;

use std::path::Path;
use std::sync::Arc;

use braid_io::Rng;
use braid_io::sim::{FaultKind, SimClock, SimDisk};
use braid_store::tool::{repair, verify};
use braid_store::{
    FlushMode, FlushOutcome, GroupBuilder, Health, QueueKey, RecoveryReport, Store, StoreOptions, TopicInfo,
};

use harness::message::{Message, derive};
use harness::oracle::{Change, Oracle, read, request};

/// Seeds of a story: enough that every fate of a few sectors comes up.
const SEEDS: u64 = 60;
/// Time that makes every periodic duty due.
const LONG_MS: u64 = 60_000;

struct Stage {
    disk: SimDisk,
    clock: SimClock,
    options: StoreOptions,
    store: Store,
    oracle: Oracle,
    rng: Rng,
}

impl Stage {
    fn new(seed: u64, flush: FlushMode) -> Self {
        let disk = SimDisk::new(seed);
        let clock = SimClock::new(1_790_000_000_000);
        let mut options = StoreOptions::for_simulation("/data", 64 << 10, seed);
        options.flush = flush;
        options.derivers = vec![(None, derive)];
        let (store, _) = open(&options, &disk, &clock);
        Self { disk, clock, options, store, oracle: Oracle::default(), rng: Rng::new(seed) }
    }

    fn create(&mut self, name: &str) -> TopicInfo {
        let promise = self.store.create_topic(name, b"").unwrap();
        let info = self.store.topic(name).unwrap();
        self.oracle.append(promise.end(), Change::Create(info.clone()));
        info
    }

    fn append(&mut self, topic: &TopicInfo, value: u64) {
        self.append_group(topic, &[value]);
    }

    fn append_group(&mut self, topic: &TopicInfo, values: &[u64]) {
        let queue = QueueKey { topic: topic.number, queue_id: 0 };
        let mut builder = GroupBuilder::new();
        let messages: Vec<Message> =
            values.iter().map(|&value| Message::new(&topic.name, queue, value, 700, &mut self.rng)).collect();
        messages.iter().for_each(|message| {
            builder.record(message.new_record(&[]));
        });
        let appended = self.store.append(self.store.group(builder).unwrap()).unwrap();
        let places = messages.iter().zip(&appended.records).enumerate();
        let records =
            places.map(|(at, (message, placed))| message.stored(placed, at + 1 < values.len())).collect();
        self.oracle.append(appended.end, Change::Group { records, state: Vec::new() });
    }

    fn flush(&self) {
        self.store.write_turn();
        self.store.flush_turn();
        assert_eq!(self.store.watermarks().flushed(), self.store.watermarks().appended());
    }

    /// Opens again and compares all that is left with the appends.
    fn open_again(&mut self) -> RecoveryReport {
        let (store, report) = open(&self.options, &self.disk, &self.clock);
        self.store = store;
        assert!(report.damage.is_empty(), "{report:?}");
        self.oracle.recover(&self.store, braid_store::Level::Flushed);
        self.oracle.check_all(&self.store, &mut self.rng);
        report
    }
}

fn open(options: &StoreOptions, disk: &SimDisk, clock: &SimClock) -> (Store, RecoveryReport) {
    Store::open(options.clone(), Arc::new(disk.process()), Arc::new(clock.clone())).unwrap()
}

/// In async mode a deletion is visible when it is written. The queue index forgot the topic's entries at once, and wrote
/// that down at its next checkpoint; a power cut that took the unflushed deletion back left a topic without its entries.
#[test]
fn a_deletion_that_a_power_cut_takes_back_leaves_the_topic_whole() {
    let mut came_back = 0;
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed, FlushMode::Async);
        let topic = stage.create("orders");
        stage.append(&topic, 1);
        stage.append(&topic, 2);
        stage.flush();
        let promise = stage.store.delete_topic(topic.number).unwrap();
        stage.oracle.append(promise.end(), Change::Delete(topic.number));
        stage.store.write_turn();
        stage.clock.advance(LONG_MS);
        (0..5).for_each(|_| {
            stage.store.housekeeping();
        });
        stage.disk.crash();
        stage.open_again();
        came_back += u32::from(stage.store.topic("orders").is_some());
    }
    assert!(came_back > 0, "no seed took the deletion back");
}

/// After a failed sync the kernel calls the pages clean: they show the new bytes as long as they are cached, and no
/// later sync writes them. A restart that only synced what it found acknowledged bytes that the device never got.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again_before_it_counts_as_flushed() {
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed, FlushMode::Sync);
        let topic = stage.create("orders");
        stage.append(&topic, 1);
        stage.flush();
        for value in 2..8 {
            stage.append(&topic, value);
        }
        stage.store.write_turn();
        stage.disk.fail_next(FaultKind::SyncError, "");
        assert_eq!(stage.store.flush_turn(), FlushOutcome::Closed);
        assert!(matches!(stage.store.health(), Health::Failed(_)));
        // The process is killed and started, and the power fails later.
        stage.disk.kill();
        stage.open_again();
        for record in stage.oracle.records() {
            let path = Path::new("/data/commitlog/00000000000000000000");
            let held = stage.disk.durable_bytes(path, record.position, record.bytes.len());
            assert_eq!(held.as_deref(), Some(&record.bytes[..]), "seed {seed}: {}", record.position);
        }
        stage.oracle.claim(braid_store::Level::Flushed, stage.store.watermarks().flushed());
        stage.disk.crash();
        stage.open_again();
    }
}

/// Damage took the end of the log, in the middle of a group. The repair kept the group's first records and called the log
/// whole, and the next start found a group without an end below the watermark: read-only again, for ever.
#[test]
fn a_repair_ends_a_group_that_lost_its_last_record() {
    let mut stage = Stage::new(1, FlushMode::Sync);
    let topic = stage.create("orders");
    stage.append(&topic, 1);
    stage.append_group(&topic, &[2, 3, 4]);
    stage.flush();
    stage.store.close().unwrap();
    let records: Vec<_> = stage.oracle.records().cloned().collect();
    let path = Path::new("/data/commitlog/00000000000000000000");
    let last = &records[3];
    stage.disk.overwrite(path, last.position, &vec![0; last.bytes.len()]).unwrap();
    stage.disk.kill();

    let disk = || Arc::new(stage.disk.process());
    let repaired = repair(&stage.options, disk()).unwrap();
    assert_eq!(repaired.damage.len(), 1, "{repaired:?}");
    let found = verify(&stage.options, disk(), &mut |_, _| {}).unwrap();
    assert!(found.is_sound(), "{found:?}");
    let (store, report) = open(&stage.options, &stage.disk, &stage.clock);
    assert!(report.damage.is_empty(), "{report:?}");
    let queue = QueueKey { topic: topic.number, queue_id: 0 };
    let left = read(&store, &request(queue, 0)).unwrap().records;
    let kept: Vec<_> = records[..3].iter().map(|record| record.bytes.clone()).collect();
    assert_eq!(left, kept, "what verifies of the group is kept");
}
