//! Epochs over restarts, and where they end in a queue.

use std::path::Path;

use braid_io::Disk;

use super::*;

/// What an unclean stop leaves, with or without its indexes.
fn crash(bench: &Bench, store: Store, without_derived: bool) -> Store {
    drop(store);
    bench.disk.crash();
    if without_derived {
        bench.disk.remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    }
    bench.open().0
}

#[test]
fn the_epoch_rises_at_each_unclean_start_and_never_falls() {
    let bench = Bench::new();
    let (mut store, _) = bench.open();
    assert_eq!(store.epoch(), 1);
    for expected in 2..5 {
        store = crash(&bench, store, false);
        assert_eq!(store.epoch(), expected);
        store.close().unwrap();
        drop(store);
        store = bench.open().0;
        assert_eq!(store.epoch(), expected, "a clean stop keeps it");
    }
}

#[test]
fn an_epoch_ends_where_the_next_one_begins_in_each_queue() {
    for without_derived in [false, true] {
        let bench = Bench::new();
        let (mut store, _) = bench.open();
        let t = topic(&store, "T");
        let q = |id| queue(&t, id);
        // Epoch n appends n records to queue 0; queue 1 only gets some in the first and the third.
        for epoch in 1..=4u32 {
            assert_eq!(store.epoch(), epoch);
            for _ in 0..epoch {
                send(&store, &t, 0, b"zero");
                if epoch % 2 == 1 {
                    send(&store, &t, 1, b"one");
                }
            }
            // Lost with the crash.
            append(&store, &t, 0, b"never written").unwrap();
            store = crash(&bench, store, without_derived);
        }
        let ends = |queue| (0..7).map(|e| store.epoch_end(queue, e).unwrap()).collect::<Vec<_>>();
        let all =
            |ends: [u64; 6]| (0..).zip(ends).map(Some).chain([None]).collect::<Vec<Option<(u32, u64)>>>();
        assert_eq!(ends(q(0)), all([0, 1, 3, 6, 10, 10]));
        assert_eq!(ends(q(1)), all([0, 1, 1, 4, 4, 4]));
        assert_eq!(ends(q(2)), all([0; 6]), "a queue without a record");
        append(&store, &t, 0, b"not visible").unwrap();
        assert_eq!(store.log_end(q(0)), 11);
        assert_eq!(store.epoch_end(q(0), 5).unwrap(), Some((5, 11)), "as appended");
        assert_eq!(store.epoch_end(q(0), 4).unwrap(), Some((4, 10)));
        let unknown = QueueKey { topic: crate::TopicNumber(77), queue_id: 0 };
        assert_eq!(store.epoch_end(unknown, 1).unwrap(), None);
    }
}

#[test]
fn what_was_cut_ends_where_the_queue_begins() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    (0..5).for_each(|n| drop(send(&store, &t, 0, &[n])));
    let store = crash(&bench, store, false);
    (0..5).for_each(|n| drop(send(&store, &t, 0, &[n])));
    let promise = store.cut_queue(queue(&t, 0), 7).unwrap();
    store.write_turn();
    store.flush_turn();
    assert!(promise.is_due(store.watermarks()));
    assert_eq!(store.epoch_end(queue(&t, 0), 1).unwrap(), Some((1, 7)));
    assert_eq!(store.epoch_end(queue(&t, 0), 2).unwrap(), Some((2, 10)));
}
