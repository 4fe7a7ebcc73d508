//! The store as a whole, on a simulated disk whose faults the tests choose.

mod closing;
mod cutting;
mod damaged;
mod epochs;
mod golden;
mod housekeeping;
mod limits;
mod modes;
mod names;
mod opening;
mod pinning;
mod producing;
mod repairing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use braid_io::Disk;
use braid_io::sim::{SimClock, SimDisk};
use braid_record::{Draft, RecordView, property};
use bytes::Bytes;

use crate::append::{AppendError, Appended, GroupBuilder, NewRecord};
use crate::catalog::{QueueKey, TopicInfo};
use crate::options::{Facts, ProducerFacts, StoreOptions};
use crate::read::{Read, ReadRequest, ReadResult};
use crate::report::{OpenError, RecoveryReport};
use crate::store::Store;

const DIR: &str = "/data";
const FILE_BYTES: u64 = 64 << 10;
const NOON_MS: i64 = 1_800_000_000_000;

/// A disk, a clock and the options of one directory.
struct Bench {
    disk: SimDisk,
    clock: SimClock,
    options: StoreOptions,
}

impl Bench {
    fn new() -> Self {
        let mut options = StoreOptions::for_simulation(DIR, FILE_BYTES, 1);
        options.derivers = vec![(None, derive)];
        Self { disk: SimDisk::new(7), clock: SimClock::new(NOON_MS), options }
    }

    fn try_open(&self) -> Result<(Store, RecoveryReport), OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.process());
        Store::open(self.options.clone(), disk, Arc::new(self.clock.clone()))
    }

    fn open(&self) -> (Store, RecoveryReport) {
        self.try_open().unwrap()
    }

    fn log_file(&self, base: u64) -> PathBuf {
        Path::new(DIR).join("commitlog").join(format!("{base:020}"))
    }
}

fn derive(view: &RecordView<'_>) -> Facts {
    Facts {
        index_word: view.body().len() as i64,
        keys: view.property(property::KEYS).map(str::to_owned).into_iter().collect(),
        newest_time: None,
        producer: view.property("P").map(numbers),
    }
}

/// The numbers of a producer, as tests write them: `id epoch first last`.
fn numbers(text: &str) -> ProducerFacts {
    let parts: Vec<i64> = text.split(' ').map(|part| part.parse().unwrap()).collect();
    ProducerFacts {
        producer_id: parts[0],
        epoch: parts[1] as i16,
        first_sequence: parts[2] as i32,
        last_sequence: parts[3] as i32,
    }
}

fn draft<'a>(topic: &'a str, queue_id: u32, body: &'a [u8]) -> Draft<'a> {
    let host: SocketAddr = "127.0.0.1:1".parse().unwrap();
    Draft {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: b"KEYS\x01key\x02",
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    }
}

fn record<'a>(topic: &'a TopicInfo, queue_id: u32, body: &'a [u8]) -> NewRecord<'a> {
    NewRecord { draft: draft(&topic.name, queue_id, body), topic: topic.number, count: 1, more_targets: &[] }
}

/// Bytes of a record of topic `T` beside its body.
const OVERHEAD: usize = 91 + 1 + 9 + 20;

fn append(store: &Store, topic: &TopicInfo, queue_id: u32, body: &[u8]) -> Result<Appended, AppendError> {
    let mut builder = GroupBuilder::new();
    builder.record(record(topic, queue_id, body));
    store.append(store.group(builder)?)
}

/// Keeps house so many times.
fn keep_house(store: &Store, times: usize) {
    for _ in 0..times {
        store.housekeeping();
    }
}

/// Appends, writes and flushes.
fn send(store: &Store, topic: &TopicInfo, queue_id: u32, body: &[u8]) -> Appended {
    let appended = match append(store, topic, queue_id, body) {
        Err(AppendError::Busy { .. }) => {
            store.flush_turn();
            append(store, topic, queue_id, body)
        }
        other => other,
    };
    store.write_turn();
    while store.flush_is_due() {
        store.flush_turn();
    }
    appended.unwrap()
}

fn topic(store: &Store, name: &str) -> TopicInfo {
    let promise = store.create_topic(name, b"config").unwrap();
    store.write_turn();
    store.flush_turn();
    promise.redeem(store.watermarks()).unwrap()
}

fn queue(topic: &TopicInfo, queue_id: u32) -> QueueKey {
    QueueKey { topic: topic.number, queue_id }
}

fn read(store: &Store, queue: QueueKey, offset: u64, records_max: usize) -> ReadResult {
    let request = ReadRequest {
        queue,
        offset,
        records_max,
        bytes_max: usize::MAX,
        entries_max: usize::MAX,
        filter: None,
    };
    match store.read(&request).unwrap() {
        Read::Ready(result) => result,
        Read::Cold(cold) => cold.complete().unwrap(),
    }
}

fn bodies(records: &[Bytes]) -> Vec<Vec<u8>> {
    records.iter().map(|bytes| RecordView::parse(bytes).unwrap().body().to_vec()).collect()
}

/// All bodies of a queue.
fn all(store: &Store, queue: QueueKey) -> Vec<Vec<u8>> {
    let Some(offsets) = store.offsets(queue) else { return Vec::new() };
    bodies(&read(store, queue, offsets.min, usize::MAX).records)
}
