//! Queues that are made to begin later than they did.

use std::path::Path;

use braid_io::Disk;

use super::*;
use crate::append::Target;
use crate::read::{Boundary, QueueOffsets, ReadStatus};
use crate::report::StoreError;
use crate::tool;

/// Makes a queue begin at `offset`, and gives where it begins then.
fn cut(store: &Store, queue: QueueKey, offset: u64) -> u64 {
    let promise = store.cut_queue(queue, offset).unwrap();
    store.write_turn();
    store.flush_turn();
    promise.redeem(store.watermarks()).unwrap()
}

fn offsets(store: &Store, queue: QueueKey) -> (u64, u64) {
    let QueueOffsets { min, max } = store.offsets(queue).unwrap();
    (min, max)
}

#[test]
fn a_start_survives_every_kind_of_restart() {
    for (clean, without_derived, without_snapshot) in [
        (false, false, false),
        (true, false, false),
        (true, true, false),
        (true, false, true),
        (false, true, true),
    ] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        for n in 0..10 {
            send(&store, &t, 0, &[n]);
            send(&store, &t, 1, &[n]);
        }
        assert_eq!(cut(&store, queue(&t, 0), 4), 4);
        assert_eq!(cut(&store, queue(&t, 1), 10), 10);
        keep_house(&store, 5);
        if clean {
            store.close().unwrap();
        }
        drop(store);
        bench.disk.crash();
        if without_derived {
            bench.disk.remove_dir_all(Path::new("/data/braid/derived")).unwrap();
        }
        if without_snapshot {
            // It may not be there yet.
            let _ = bench.disk.remove_file(Path::new("/data/braid/snapshot"));
        }
        let (store, _) = bench.open();
        assert_eq!(offsets(&store, queue(&t, 0)), (4, 10));
        assert_eq!(all(&store, queue(&t, 0)), (4..10).map(|n| vec![n]).collect::<Vec<_>>());
        assert_eq!(read(&store, queue(&t, 0), 3, 1).status, ReadStatus::BelowStart);
        assert_eq!(offsets(&store, queue(&t, 1)), (10, 10));
        assert_eq!(read(&store, queue(&t, 1), 10, 1).status, ReadStatus::AtEnd);
        assert_eq!(send(&store, &t, 1, b"goes on").records[0].offset, 10);
        assert_eq!(all(&store, queue(&t, 1)), [b"goes on".to_vec()]);
    }
}

#[test]
fn a_start_moves_forward_only_and_never_behind_what_is_visible() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let q = queue(&t, 0);
    assert_eq!(cut(&store, q, 7), 0, "a queue without a record begins at 0");
    assert_eq!(store.offsets(q), None);
    for n in 0..10 {
        send(&store, &t, 0, &[n]);
    }
    assert_eq!(cut(&store, q, 5), 5);
    let before = store.watermarks().appended();
    assert_eq!(cut(&store, q, 3), 5);
    assert_eq!(cut(&store, q, 5), 5);
    assert_eq!(store.watermarks().appended(), before, "nothing changes, so nothing is appended");
    append(&store, &t, 0, b"not visible yet").unwrap();
    assert_eq!(store.cut_queue(q, u64::MAX).unwrap().value, 10);
    // What is appended counts, though it is not visible yet; the answer waits for it.
    let promise = store.cut_queue(q, 8).unwrap();
    assert_eq!((promise.value, promise.end()), (10, store.watermarks().appended()));
    assert_eq!(offsets(&store, q), (5, 10), "a cut is visible when it is safe");
    store.write_turn();
    store.flush_turn();
    assert_eq!(offsets(&store, q), (10, 11));
    let unknown = QueueKey { topic: crate::TopicNumber(99), queue_id: 0 };
    assert!(matches!(store.cut_queue(unknown, 1), Err(StoreError::NoTopic)));
}

#[test]
fn a_cut_that_a_crash_took_has_never_been() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for n in 0..10 {
        send(&store, &t, 0, &[n]);
    }
    let promise = store.cut_queue(queue(&t, 0), 5).unwrap();
    assert!(!promise.is_due(store.watermarks()));
    assert_eq!(offsets(&store, queue(&t, 0)), (0, 10));
    drop(store);
    bench.disk.crash();
    let (store, _) = bench.open();
    assert_eq!(offsets(&store, queue(&t, 0)), (0, 10));
    assert_eq!(cut(&store, queue(&t, 0), 5), 5);
}

#[test]
fn a_queue_may_begin_inside_a_record() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let mut builder = GroupBuilder::new();
    builder.record(NewRecord { count: 10, ..record(&t, 0, b"ten") });
    let ten = store.append(store.group(builder).unwrap()).unwrap().records[0].position;
    send(&store, &t, 0, b"one");
    let (q, name) = (queue(&t, 0), |store: &Store| store.record_named(ten).unwrap().is_some());
    assert_eq!(cut(&store, q, 4), 4);
    assert_eq!(all(&store, q), [b"ten".to_vec(), b"one".to_vec()]);
    assert_eq!(read(&store, q, 3, 1).status, ReadStatus::BelowStart);
    assert_eq!(store.offset_at(q, 0, Boundary::FirstAtOrAfter).unwrap(), 4);
    assert_eq!(store.offset_at(q, 0, Boundary::LastAtOrBefore).unwrap(), 4);
    assert!(name(&store));
    assert_eq!(cut(&store, q, 9), 9);
    assert!(name(&store));
    assert_eq!(cut(&store, q, 10), 10);
    assert_eq!(all(&store, q), [b"one".to_vec()]);
    assert!(!name(&store));
}

#[test]
fn what_was_cut_has_no_name_no_key_and_no_time() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let mut places = Vec::new();
    for n in 0..6 {
        places.push(send(&store, &t, 0, &[n]).records[0].position);
        bench.clock.advance(10);
    }
    let q = queue(&t, 0);
    cut(&store, q, 4);
    let named: Vec<bool> = places.iter().map(|&p| store.record_named(p).unwrap().is_some()).collect();
    assert_eq!(named, [false, false, false, false, true, true]);
    assert_eq!(store.query_key(t.number, "key", 0, i64::MAX, 10).unwrap().len(), 2);
    assert_eq!(store.offset_at(q, 0, Boundary::FirstAtOrAfter).unwrap(), 4);
    assert_eq!(store.store_time(q, 3).unwrap(), None);
    assert!(store.store_time(q, 4).unwrap().is_some());
}

#[test]
fn another_queue_of_a_record_keeps_it() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let (t, other) = (topic(&store, "T"), topic(&store, "Other"));
    let mut builder = GroupBuilder::new();
    let more = [Target { queue: queue(&other, 2), count: 1 }];
    builder.record(NewRecord { more_targets: &more, ..record(&t, 0, b"both") });
    store.append(store.group(builder).unwrap()).unwrap();
    store.write_turn();
    store.flush_turn();
    cut(&store, queue(&t, 0), 1);
    assert_eq!(all(&store, queue(&t, 0)), Vec::<Vec<u8>>::new());
    assert_eq!(all(&store, queue(&other, 2)), [b"both".to_vec()]);
}

#[test]
fn a_topic_that_is_made_again_begins_at_0() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for n in 0..5 {
        send(&store, &t, 0, &[n]);
    }
    cut(&store, queue(&t, 0), 3);
    drop(store.delete_topic(t.number).unwrap());
    assert!(matches!(store.cut_queue(queue(&t, 0), 4), Err(StoreError::NoTopic)));
    let again = topic(&store, "T");
    assert_eq!(store.state(crate::StateKind::START), []);
    send(&store, &again, 0, b"new");
    assert_eq!(offsets(&store, queue(&again, 0)), (0, 1));
    drop(store);
    bench.disk.crash();
    let (store, _) = bench.open();
    assert_eq!(offsets(&store, queue(&again, 0)), (0, 1));
    assert_eq!(store.state(crate::StateKind::START), []);
}

#[test]
fn retention_and_cuts_each_move_the_start() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let q = queue(&t, 0);
    while store.watermarks().appended().0 < 3 * FILE_BYTES {
        send(&store, &t, 0, &[5; 3000]);
        store.housekeeping();
    }
    let max = offsets(&store, q).1;
    cut(&store, q, 2);
    bench.clock.advance(2000);
    keep_house(&store, 10);
    let (min, _) = offsets(&store, q);
    assert_eq!(store.log_range().0.0, 3 * FILE_BYTES);
    assert!(min > 2, "retention moved it further");
    assert_eq!(cut(&store, q, 3), min, "a cut below that changes nothing");
    assert_eq!(cut(&store, q, max), max.max(min));
    drop(store);
    bench.disk.crash();
    let (store, _) = bench.open();
    assert_eq!(offsets(&store, q), (max, max));
    assert_eq!(send(&store, &t, 0, b"on").records[0].offset, max);
}

#[test]
fn the_tools_know_where_queues_begin() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for n in 0..5 {
        send(&store, &t, 0, &[n]);
    }
    cut(&store, queue(&t, 0), 3);
    store.close().unwrap();
    drop(store);
    let disk = || -> Arc<dyn Disk> { Arc::new(bench.disk.process()) };
    let seen = tool::inspect(&bench.options, disk()).unwrap();
    let queues = &seen.topics.iter().find(|(info, _)| info.name == "T").unwrap().1;
    assert_eq!(queues[..], [(0, QueueOffsets { min: 3, max: 5 })]);
    assert!(tool::verify(&bench.options, disk(), &mut |_, _| {}).unwrap().is_sound());
}
