//! What readers of a damaged log meet.

use std::sync::atomic::{AtomicU32, Ordering};

use braid_io::sim::{FaultKind, Faults};
use braid_record::{Stamp, encode};
use tracing::span;

use super::*;
use crate::read::ReadStatus;
use crate::report::{Health, RecoveryRow, StoreError};
use crate::tool::repair;

/// Counts the errors that are logged.
#[derive(Clone, Default)]
struct Errors(Arc<AtomicU32>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn try_read(store: &Store, queue: QueueKey, offset: u64) -> Result<ReadResult, StoreError> {
    let request =
        ReadRequest { queue, offset, records_max: 32, bytes_max: 1 << 20, entries_max: 100, filter: None };
    match store.read(&request)? {
        Read::Ready(result) => Ok(result),
        Read::Cold(cold) => cold.complete(),
    }
}

/// A bit flips below what the indexes cover, so that the start, which does not read it, says that all is well.
#[test]
fn a_rotten_record_hides_no_other_and_is_logged_once() {
    for cold in [false, true] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        let positions: Vec<u64> =
            (0..5).map(|n| send(&store, &t, 0, &[n; 100]).records[0].position.0).collect();
        store.close().unwrap();
        drop(store);
        bench.disk.rot(&bench.log_file(0), positions[3] + 95).unwrap();
        let (store, report) = bench.open();
        assert_eq!(report.rows, [RecoveryRow::Clean]);
        if cold {
            bench.disk.set_faults(Faults { cold_read: 1_000_000, ..Faults::default() });
        }
        let errors = Errors::default();
        tracing::subscriber::with_default(errors.clone(), || {
            let before = try_read(&store, queue(&t, 0), 0).unwrap();
            assert_eq!(bodies(&before.records), [[0; 100], [1; 100], [2; 100]]);
            assert_eq!((before.status, before.next_offset), (ReadStatus::Found, 3));
            for _ in 0..3 {
                let at = try_read(&store, queue(&t, 0), 3);
                assert!(matches!(at, Err(StoreError::Damaged { position, .. }) if position == positions[3]));
            }
            let behind = try_read(&store, queue(&t, 0), 4).unwrap();
            assert_eq!((bodies(&behind.records), behind.next_offset), (vec![vec![4; 100]], 5));
        });
        assert_eq!(errors.0.load(Ordering::Relaxed), 1, "told once, however often it is asked for");
        assert_eq!(bench.disk.coverage().of(FaultKind::ColdRead.name()) > 0, cold);
    }
}

#[test]
fn a_store_that_was_opened_on_damage_closes_in_order() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let positions: Vec<u64> = (0..5).map(|n| send(&store, &t, 0, &[n; 100]).records[0].position.0).collect();
    store.close().unwrap();
    drop(store);
    bench.disk.rot(&bench.log_file(0), positions[4] + 95).unwrap();
    let (store, report) = bench.open();
    assert!(!report.damage.is_empty());
    let health = store.health();
    assert!(matches!(health, Health::ReadOnly(_)));
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(store.health(), health, "it still says why");
    drop(store);
    assert!(!bench.open().1.damage.is_empty(), "nothing was written");
}

/// The process is killed on a full disk. What was made ahead may be given back; with no room left even so, readers are
/// served all the same, and the start after space was freed goes on as if nothing had been.
#[test]
fn a_full_disk_keeps_no_reader_out_after_an_unclean_stop() {
    for made_ahead in [true, false] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        // All of the log's end is unproved: the superblock was written when the log was new.
        (0..9).for_each(|n| drop(send(&store, &t, 0, &[n; 3000])));
        if made_ahead {
            keep_house(&store, 3);
        }
        assert_eq!(bench.disk.bytes(&bench.log_file(FILE_BYTES)).is_ok(), made_ahead);
        drop(store);
        bench.disk.kill();
        let space = bench.disk.space(Path::new(DIR)).unwrap();
        let full = Faults { capacity: Some(space.total - space.free), ..Faults::default() };
        bench.disk.set_faults(full);
        let sent: Vec<Vec<u8>> = (0..9).map(|n| vec![n; 3000]).collect();
        for _ in 0..2 {
            let (store, report) = bench.open();
            assert!(report.damage.is_empty(), "{report:?}");
            assert_eq!(all(&store, queue(&t, 0)), sent);
            if made_ahead {
                break;
            }
            let Health::ReadOnly(why) = store.health() else { panic!("{:?}", store.health()) };
            assert!(why.contains("the disk is full") && why.contains("start again"), "{why}");
            assert!(report.notes.iter().any(|note| note.contains(&why)), "{report:?}");
            assert!(matches!(append(&store, &t, 0, b"no"), Err(AppendError::Closed(_))));
            keep_house(&store, 5);
            assert!(
                matches!(store.health(), Health::ReadOnly(_)),
                "house is not kept in a log that is not settled"
            );
            store.close().unwrap();
        }
        bench.disk.set_faults(Faults::default());
        bench.disk.crash();
        let (store, _) = bench.open();
        assert_eq!(store.health(), Health::Serving);
        let left = all(&store, queue(&t, 0));
        assert_eq!(left, sent);
        assert_eq!(send(&store, &t, 0, b"on").records[0].offset, 9);
    }
}

#[test]
fn a_clean_stop_on_a_full_disk_says_what_the_disk_said() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    topic(&store, "T");
    let space = bench.disk.space(Path::new(DIR)).unwrap();
    bench.disk.set_faults(Faults { capacity: Some(space.total - space.free), ..Faults::default() });
    let said = store.close().unwrap_err().to_string();
    assert!(said.starts_with("the disk answered: ") && !said.contains("reading"), "{said}");
}

/// A whole record of this place, with a right checksum, as a client can put it into a body.
fn forged(topic: &str, position: u64, store_timestamp: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = encode(&draft(topic, 0, b"forged"), &mut bytes).unwrap();
    encoded.stamp(&mut bytes, &Stamp { queue_offset: 1, position, store_timestamp, slot_offsets: &[] });
    bytes
}

#[test]
fn what_a_body_forges_is_not_taken_for_the_record_behind_damage() {
    for (name, time) in [("T", NOON_MS - 1), ("no topic", NOON_MS + 1)] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        send(&store, &t, 0, b"before");
        let carrier = store.log_range().1.0;
        let mut body = vec![0xAB; 2000];
        let mut outer = Vec::new();
        encode(&draft("T", 0, &body), &mut outer).unwrap();
        let body_at = outer.windows(body.len()).position(|window| window == body).unwrap() as u64;
        let record = forged(name, carrier + body_at, time);
        body[..record.len()].copy_from_slice(&record);
        assert_eq!(send(&store, &t, 0, &body).records[0].position.0, carrier, "the forger knew the place");
        let behind = send(&store, &t, 0, b"behind").records[0].position;
        store.close().unwrap();
        drop(store);
        bench.disk.rot(&bench.log_file(0), carrier + 10).unwrap();
        bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
        let (store, report) = bench.open();
        let ranges: Vec<_> = report.damage.iter().map(|damage| (damage.from.0, damage.to)).collect();
        assert_eq!(ranges, [(carrier, behind)], "{name}: {report:?}");
        assert_eq!(report.damage[0].lost, [("T".to_owned(), 0, 1, 1)]);
        assert_eq!(all(&store, queue(&t, 0)), [b"before".to_vec(), b"behind".to_vec()]);
    }
}

/// All that is whole behind the damage is of a topic whose creation is lost with it. It proves the damage all the same:
/// nothing is cut before the operator says so, and a repair leaves nothing that would be met again.
#[test]
fn records_of_a_topic_that_is_lost_prove_damage_too() {
    let mut bench = Bench::new();
    bench.options.file_bytes = 4 * FILE_BYTES;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    send(&store, &t, 0, b"kept");
    let bad = store.log_range().1.0;
    let lost = topic(&store, "U");
    while store.watermarks().appended().0 - bad <= bench.options.unflushed_bytes_max {
        send(&store, &lost, 0, &[1; 2000]);
    }
    let end = store.log_range().1;
    drop(store);
    bench.disk.rot(&bench.log_file(0), bad + 60).unwrap();
    let (store, report) = bench.open();
    let ranges: Vec<_> = report.damage.iter().map(|damage| (damage.from.0, damage.to)).collect();
    assert_eq!(ranges, [(bad, end)], "{report:?}");
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    assert_eq!(all(&store, queue(&t, 0)), [b"kept"]);
    drop(store);
    let repaired = repair(&bench.options, Arc::new(bench.disk.process())).unwrap();
    assert_eq!(repaired.end.0, bad);
    let (store, report) = bench.open();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(all(&store, queue(&t, 0)), [b"kept"]);
    assert_eq!(send(&store, &t, 0, b"on").records[0].offset, 1);
}
