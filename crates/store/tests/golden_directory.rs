//! A directory of format version 1, written once and kept in `tests/golden/v1`: every later version opens it and finds
//! the same records, topics, state and offsets.
//!
//! `BRAIDMQ_WRITE_GOLDEN=DIR` writes such a directory anew, for a new format version; the old ones stay.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use braid_io::OsDisk;
use braid_io::sim::SimClock;
use braid_record::{Draft, RecordView, property};
use braid_store::{
    Facts, GroupBuilder, Health, NewRecord, Position, QueueKey, Read, ReadRequest, RecoveryRow, StateChange,
    StateKind, Store, StoreOptions, Target, TopicInfo, WriteOutcome,
};

const FILE_BYTES: u64 = 16 << 10;
const START_MS: i64 = 1_700_000_000_000;
const CURSOR: StateKind = StateKind(17);
/// Messages of the topic that fills more than one file.
const MESSAGES: u64 = 60;

fn derive(record: &RecordView<'_>) -> Facts {
    let keys = record.property(property::KEYS).map(|key| vec![key.to_owned()]).unwrap_or_default();
    Facts { index_word: record.body().len() as i64, keys, ..Facts::default() }
}

fn open(dir: &Path, now_ms: i64) -> (Store, braid_store::RecoveryReport) {
    let mut options = StoreOptions::for_simulation(dir, FILE_BYTES, 7);
    options.derivers = vec![(None, derive), (Some("span"), derive)];
    Store::open(options, Arc::new(OsDisk), Arc::new(SimClock::new(now_ms))).expect("the directory opens")
}

fn draft<'a>(topic: &'a str, queue_id: u32, body: &'a [u8], properties: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        queue_id,
        flag: 7,
        sys_flag: 0,
        born_timestamp: START_MS,
        born_host: "10.1.2.3:4567".parse().unwrap(),
        store_host: "[2001:db8::1]:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 0,
        body,
        properties,
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    }
}

fn append(store: &Store, build: impl FnOnce(&mut GroupBuilder)) -> Vec<braid_store::Placed> {
    let mut builder = GroupBuilder::new();
    build(&mut builder);
    store.housekeeping();
    let appended = store.append(store.group(builder).unwrap()).expect("the directory has room");
    settle(store);
    appended.records
}

fn settle(store: &Store) {
    while store.write_turn() == WriteOutcome::NeedsFlush {
        store.flush_turn();
    }
    store.flush_turn();
}

fn topic(store: &Store, name: &str) -> TopicInfo {
    let promise = store.create_topic(name, b"config").unwrap();
    settle(store);
    promise.redeem(store.watermarks()).expect("it is flushed")
}

fn plain<'a>(draft: Draft<'a>, topic: &TopicInfo) -> NewRecord<'a> {
    NewRecord { draft, topic: topic.number, count: 1, more_targets: &[] }
}

fn long_topic() -> String {
    "Long".repeat(40)
}

/// What the golden directory holds: every kind of record, a topic that was made again, and a queue in the next file.
fn write(dir: &Path) {
    let (store, _) = open(dir, START_MS);
    let orders = topic(&store, "Orders");
    let spans = topic(&store, "Spans");
    let long = topic(&store, &long_topic());
    let gone = topic(&store, "Again");
    let key = |topic: &TopicInfo, queue_id| QueueKey { topic: topic.number, queue_id };

    append(&store, |group| {
        group.record(plain(draft("Again", 0, b"dead", b"KEYS\x01again\x02"), &gone));
    });
    store.delete_topic(gone.number).unwrap().is_due(store.watermarks());
    settle(&store);
    let again = topic(&store, "Again");
    append(&store, |group| {
        group.record(plain(draft("Again", 0, b"alive", b"KEYS\x01again\x02"), &again));
    });
    let long_name = long_topic();
    append(&store, |group| {
        group.record(plain(draft(&long_name, 3, b"v2", b""), &long));
    });
    let more = [Target { queue: key(&orders, 1), count: 1 }, Target { queue: key(&spans, 0), count: 5 }];
    append(&store, |group| {
        let draft = Draft { kind: Some("span"), ..draft("Spans", 2, b"a batch of 50", b"") };
        group.record(NewRecord { draft, topic: spans.number, count: 50, more_targets: &more });
    });
    for i in 0..MESSAGES {
        append(&store, |group| {
            let body = format!("message {i} {}", "x".repeat(300));
            let properties = format!("KEYS\x01k{i}\x02TAGS\x01even");
            if i % 10 == 0 {
                let value = Some(i.to_be_bytes().to_vec());
                group.state(&[StateChange { kind: CURSOR, key: b"g/Orders/0".to_vec(), value }]);
            }
            group.record(plain(draft("Orders", 0, body.as_bytes(), properties.as_bytes()), &orders));
        });
    }
    store.close().unwrap();
}

fn read_all(store: &Store, queue: QueueKey) -> Vec<bytes::Bytes> {
    let mut offset = store.offsets(queue).unwrap_or_default().min;
    let mut records = Vec::new();
    loop {
        let request = ReadRequest {
            queue,
            offset,
            records_max: 16,
            bytes_max: 1 << 20,
            entries_max: 800,
            filter: None,
        };
        let result = match store.read(&request).unwrap() {
            Read::Ready(result) => result,
            Read::Cold(ticket) => ticket.complete().unwrap(),
        };
        if result.records.is_empty() {
            return records;
        }
        records.extend(result.records);
        offset = result.next_offset;
    }
}

fn check(store: &Store) {
    assert_eq!(store.health(), Health::Serving);
    let named = |name: &str| store.topic(name).unwrap_or_else(|| panic!("topic {name}"));
    let bodies = |name: &str, queue_id| -> Vec<String> {
        read_all(store, QueueKey { topic: named(name).number, queue_id })
            .iter()
            .map(|record| {
                let view = RecordView::parse(record).unwrap();
                let named = store.record_named(Position(view.position())).unwrap();
                assert_eq!(
                    named.map(|named| named.record).as_ref(),
                    Some(record),
                    "a position names its record"
                );
                String::from_utf8_lossy(view.body()).into_owned()
            })
            .collect()
    };
    assert_eq!(named("Orders").config, b"config");
    let expected: Vec<_> = (0..MESSAGES).map(|i| format!("message {i} {}", "x".repeat(300))).collect();
    assert_eq!(bodies("Orders", 0), expected);
    assert_eq!(bodies("Orders", 1), ["a batch of 50"]);
    assert_eq!(bodies("Spans", 2), ["a batch of 50"]);
    assert_eq!(bodies("Spans", 0), ["a batch of 50"]);
    assert_eq!(bodies(&long_topic(), 3), ["v2"]);
    assert_eq!(bodies("Again", 0), ["alive"], "the records of the deleted topic stay dead");
    for (name, queue_id, next) in
        [("Orders", 0, MESSAGES), ("Orders", 1, 1), ("Spans", 2, 50), ("Spans", 0, 5)]
    {
        let offsets = store.offsets(QueueKey { topic: named(name).number, queue_id }).unwrap();
        assert_eq!((offsets.min, offsets.max), (0, next), "{name}/{queue_id}");
    }
    assert_eq!(store.state(CURSOR), [(b"g/Orders/0".to_vec(), 50u64.to_be_bytes().to_vec())]);
    let found =
        |name: &str, key: &str| store.query_key(named(name).number, key, 0, i64::MAX, 8).unwrap().len();
    assert_eq!((found("Orders", "k33"), found("Again", "again"), found("Orders", "none")), (1, 1, 0));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_directory_of_version_1_is_opened_for_ever() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    if let Some(dir) = std::env::var_os("BRAIDMQ_WRITE_GOLDEN") {
        write(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&golden, dir.path());
    // As it was left, without what is derived, and once more after writing on.
    let (store, report) = open(dir.path(), START_MS + 1_000);
    assert_eq!(report.rows, [RecoveryRow::Clean]);
    check(&store);
    store.close().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("braid/derived")).unwrap();
    let (store, report) = open(dir.path(), START_MS + 2_000);
    assert!(report.damage.is_empty());
    check(&store);
    let orders = store.topic("Orders").unwrap();
    let placed = append(&store, |group| {
        let draft = draft("Orders", 0, b"one more", b"");
        group.record(NewRecord { draft, topic: orders.number, count: 1, more_targets: &[] });
    });
    assert_eq!(placed[0].offset, MESSAGES, "offsets go on");
    store.close().unwrap();
}
