//! Stopping in order, retention, and what comes back.

use super::*;
use crate::read::{Boundary, ReadStatus};
use crate::report::{Health, RecoveryRow};
use crate::state::{StateChange, StateKind};

#[test]
fn a_closed_store_opens_clean_and_reads_one_record() {
    let bench = Bench::new();
    let (store, report) = bench.open();
    assert_eq!(report.rows, [RecoveryRow::New]);
    let t = topic(&store, "T");
    for n in 0..100 {
        send(&store, &t, n % 3, format!("{n}").as_bytes());
    }
    append(&store, &t, 9, b"not flushed yet").unwrap();
    let mut builder = GroupBuilder::new();
    builder.state(&[StateChange { kind: StateKind(20), key: b"k".to_vec(), value: Some(b"v".to_vec()) }]);
    store.append(store.group(builder).unwrap()).unwrap();
    store.close().unwrap();
    assert!(matches!(append(&store, &t, 0, b""), Err(AppendError::Closed(_))));
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    assert_eq!(all(&store, queue(&t, 9)).len(), 1, "readers go on until the last handle is gone");
    drop(store);
    bench.disk.crash();

    let (store, report) = bench.open();
    assert_eq!((&report.rows[..], report.scanned_records), (&[RecoveryRow::Clean][..], 1));
    // The one record that is read is the last: its place is where the superblock says that the log ends.
    assert_eq!(all(&store, queue(&t, 9)), [b"not flushed yet".to_vec()]);
    assert_eq!(all(&store, queue(&t, 1)).len(), 33);
    assert_eq!(store.state(StateKind(20)), [(b"k".to_vec(), b"v".to_vec())]);
    assert_eq!(store.topic("T"), Some(t.clone()));
    assert_eq!(send(&store, &t, 1, b"on").records[0].offset, 33);
    assert_eq!(store.query_key(t.number, "key", 0, i64::MAX, 1000).unwrap().len(), 102);
}

#[test]
fn retention_takes_files_of_age_and_a_queue_that_it_empties_goes_on() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for _ in 0..5 {
        send(&store, &t, 7, b"goes");
    }
    let fill = |store: &Store| {
        let file = store.watermarks().appended().0 / FILE_BYTES;
        while store.watermarks().appended().0 / FILE_BYTES == file {
            send(store, &t, 0, &[5; 3000]);
        }
    };
    fill(&store);
    bench.clock.advance(1001);
    fill(&store);
    for _ in 0..10 {
        store.housekeeping();
    }
    assert_eq!(store.log_range().0.0, FILE_BYTES, "the second file is not of age");
    assert!(bench.disk.bytes(&bench.log_file(0)).is_err());
    let emptied = store.offsets(queue(&t, 7)).unwrap();
    assert_eq!((emptied.min, emptied.max), (5, 5));
    assert_eq!(read(&store, queue(&t, 7), 2, 1).status, ReadStatus::BelowStart);
    assert_eq!(read(&store, queue(&t, 7), 5, 1).status, ReadStatus::AtEnd);
    drop(store);

    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    let (store, _) = bench.open();
    assert_eq!(store.offsets(queue(&t, 7)), Some(emptied));
    assert_eq!(send(&store, &t, 7, b"goes on").records[0].offset, 5);
}

#[test]
fn whoever_holds_the_log_keeps_its_files() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let held = send(&store, &t, 0, b"held").records[0].position;
    while store.watermarks().appended().0 < 2 * FILE_BYTES {
        send(&store, &t, 0, &[5; 3000]);
    }
    bench.clock.advance(5000);
    store.hold("a reader", Some(held));
    keep_house(&store, 10);
    assert_eq!(store.log_range().0.0, 0);
    store.hold("a reader", None);
    keep_house(&store, 10);
    assert!(store.log_range().0.0 > 0);
}

#[test]
fn times_are_found_exactly() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for _ in 0..10 {
        bench.clock.advance(10);
        send(&store, &t, 0, b"");
        send(&store, &t, 0, b"");
    }
    let q = queue(&t, 0);
    // Offsets 2n and 2n+1 were stored at NOON + 10(n+1).
    for (after, first, last) in [
        (0, 0, 0),
        (9, 0, 0),
        (10, 0, 1),
        (11, 2, 1),
        (55, 10, 9),
        (100, 18, 19),
        (101, 20, 19),
        (999, 20, 19),
    ] {
        let time = NOON_MS + after;
        assert_eq!(store.offset_at(q, time, Boundary::FirstAtOrAfter).unwrap(), first, "after {after}");
        assert_eq!(store.offset_at(q, time, Boundary::LastAtOrBefore).unwrap(), last, "before {after}");
    }
    assert_eq!(store.store_time(q, 3).unwrap(), Some(NOON_MS + 20));
    assert_eq!(store.store_time(q, 20).unwrap(), None);
}

#[test]
fn pressure_takes_files_before_their_time_and_says_whose() {
    use std::sync::Mutex;

    use braid_io::sim::Faults;

    use crate::retention::{CutQueue, PressureListener};

    struct Ear(Mutex<Vec<CutQueue>>);
    impl PressureListener for Ear {
        fn cut_under_pressure(&self, cut: &[CutQueue]) {
            self.0.lock().unwrap().extend_from_slice(cut);
        }
    }
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let ear = Arc::new(Ear(Mutex::default()));
    store.listen_for_pressure(ear.clone());
    send(&store, &t, 4, b"too early");
    while store.watermarks().appended().0 < 2 * FILE_BYTES {
        send(&store, &t, 0, &[5; 3000]);
    }
    keep_house(&store, 10);
    assert_eq!(store.log_range().0.0, 0, "there is room");
    let space = bench.disk.space(Path::new(DIR)).unwrap();
    let nearly_full = Some(space.total - space.free + 1000);
    bench.disk.set_faults(Faults { capacity: nearly_full, ..Faults::default() });
    keep_house(&store, 3);
    assert!(store.log_range().0.0 >= FILE_BYTES);
    let told = ear.0.lock().unwrap();
    assert!(told.contains(&CutQueue { queue: queue(&t, 4), was: 0, min: 1 }), "{told:?}");
}
