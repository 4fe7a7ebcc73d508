//! Work off the messages' path: that it fails small, and comes when it should.

use braid_io::sim::{FaultKind, Faults};

use super::*;

const QUEUES: &str = "/data/braid/derived/queues";
const KEYS: &str = "/data/braid/derived/keys";

fn names(bench: &Bench, dir: &str) -> Vec<String> {
    let mut names: Vec<String> =
        bench.disk.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names
}

/// Fills log files until so many are full.
fn fill(store: &Store, topic: &TopicInfo, files: u64) {
    let end = (store.watermarks().appended().0 / FILE_BYTES + files) * FILE_BYTES;
    while store.watermarks().appended().0 < end {
        send(store, topic, 0, &[5; 3000]);
        store.housekeeping();
    }
}

#[test]
fn a_queue_index_that_cannot_be_synced_keeps_no_keys_from_the_disk() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    send(&store, &t, 0, b"a");
    bench.disk.fail_next(FaultKind::SyncError, QUEUES);
    store.close().unwrap();
    assert_eq!(bench.disk.coverage().of("sync-error"), 1);
    assert_eq!(names(&bench, KEYS).len(), 1);
    drop(store);
    let (store, _) = bench.open();
    assert_eq!(all(&store, queue(&t, 0)), [b"a".to_vec()]);
    assert_eq!(store.query_key(t.number, "key", 0, i64::MAX, 10).unwrap().len(), 1);
}

#[test]
fn a_checkpoint_that_fails_is_not_tried_at_every_turn() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    bench.disk.set_faults(Faults { write_error: 1_000_000, only: QUEUES.to_owned(), ..Faults::default() });
    // So much that the index should follow at once.
    fill(&store, &t, (16 << 20) / FILE_BYTES + 2);
    let tries = bench.disk.coverage().of("write-error");
    assert_eq!(tries, 1);
    keep_house(&store, 100);
    assert_eq!(bench.disk.coverage().of("write-error"), tries);
    bench.clock.advance(1000);
    keep_house(&store, 100);
    assert_eq!(bench.disk.coverage().of("write-error"), tries + 1);
    bench.disk.set_faults(Faults::default());
    bench.clock.advance(1000);
    keep_house(&store, 1);
    assert_eq!(names(&bench, QUEUES).len(), 1);
}

#[test]
fn an_index_whose_sync_failed_is_left_to_the_next_start() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    bench.disk.fail_next(FaultKind::SyncError, QUEUES);
    for n in 0..3 {
        send(&store, &t, 0, &[n]);
        bench.clock.advance(5000);
        keep_house(&store, 1);
    }
    let bytes = |bench: &Bench| -> usize {
        let files = names(bench, QUEUES).into_iter();
        files.map(|name| bench.disk.bytes(&Path::new(QUEUES).join(name)).unwrap().len()).sum()
    };
    let before = bytes(&bench);
    send(&store, &t, 0, &[3]);
    bench.clock.advance(60_000);
    keep_house(&store, 10);
    assert_eq!(bytes(&bench), before, "nothing is written that nothing can be built on");
    store.close().unwrap();
    drop(store);
    bench.disk.crash();
    let (store, _) = bench.open();
    assert_eq!(all(&store, queue(&t, 0)), (0..4).map(|n| vec![n]).collect::<Vec<_>>());
    send(&store, &t, 0, &[4]);
    bench.clock.advance(5000);
    keep_house(&store, 1);
    assert!(bytes(&bench) > 0, "the index follows again");
}

#[test]
fn writers_of_small_files_do_not_wake_who_keeps_house() {
    let mut bench = Bench::new();
    bench.options.prewrite_bytes = 64 << 20;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    keep_house(&store, 10);
    let signal = &store.shard().house_signal;
    signal.wait(Some(std::time::Duration::ZERO));
    send(&store, &t, 0, b"a");
    assert!(!signal.is_raised(), "{} bytes of room are left", store.shard().room_left());
    while store.shard().room_left() >= FILE_BYTES / 4 {
        assert!(!signal.is_raised());
        send(&store, &t, 0, &[0; 1000]);
    }
    assert!(signal.is_raised(), "the room gets short");
}
