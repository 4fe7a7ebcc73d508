//! Work off the messages' path: that it fails small, and comes when it should.

use braid_io::sim::{FaultKind, Faults};

use super::*;
use crate::append::Target;
use crate::driver::Driver;
use crate::report::Health;

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

/// Sends a record to a thousand queues: much for the index, and little for the log.
fn spread(store: &Store, topic: &TopicInfo, other: &TopicInfo) {
    let more: Vec<Target> = (0..999).map(|id| Target { queue: queue(other, id), count: 1 }).collect();
    let mut builder = GroupBuilder::new();
    builder.record(NewRecord { more_targets: &more, ..record(topic, 3, b"spread") });
    store.append(store.group(builder).unwrap()).unwrap();
    store.write_turn();
    while store.flush_is_due() {
        store.flush_turn();
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
    let (t, other) = (topic(&store, "T"), topic(&store, "Other"));
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
    // More than the index collects before it writes.
    for _ in 0..20 {
        spread(&store, &t, &other);
        bench.clock.advance(5000);
        keep_house(&store, 2);
    }
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

#[test]
fn the_log_is_prewritten_only_when_clients_are_served() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let shard = store.shard();
    let driver = Driver::start_before_serving(store.clone()).unwrap();
    keep_house(&store, 10);
    assert_eq!(shard.files.room_end(), FILE_BYTES, "the first file is as it was made");
    // What is appended meanwhile gets its room all the same.
    while store.watermarks().appended().0 <= FILE_BYTES {
        if let Err(error) = append(&store, &t, 0, &[1; 3000]) {
            assert!(matches!(error, AppendError::Busy { .. }), "{error}");
            std::thread::yield_now();
        }
        store.write_turn();
        driver.written();
    }
    keep_house(&store, 10);
    assert_eq!(shard.files.room_end(), 2 * FILE_BYTES);
    driver.serving();
    while shard.files.room_end() == 2 * FILE_BYTES {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_goes_although_an_index_cannot_be_trimmed() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 3_600_000;
    let (store, _) = bench.open();
    let (t, other) = (topic(&store, "T"), topic(&store, "Other"));
    // Until the queue index has a second file.
    while names(&bench, QUEUES).len() < 2 {
        spread(&store, &t, &other);
        bench.clock.advance(5000);
        keep_house(&store, 2);
    }
    // What the first file holds dies with the log files before these.
    fill(&store, &t, 2);
    bench.clock.advance(5000);
    keep_house(&store, 5);
    bench.disk.fail_next(FaultKind::SyncError, QUEUES);
    bench.clock.advance(7_200_000);
    for _ in 0..2 * store.watermarks().appended().0 / FILE_BYTES {
        keep_house(&store, 3);
        let first = bench.log_file(store.log_range().0.0);
        let first = first.file_name().unwrap().to_str().unwrap();
        assert_eq!(names(&bench, "/data/commitlog")[0], first, "what the log gave up is gone");
        bench.clock.advance(1000);
    }
    assert_eq!(bench.disk.coverage().of("sync-error"), 1, "the index was to be trimmed");
    let (first, end) = store.log_range();
    assert_eq!(first.0, end.0 - end.0 % FILE_BYTES);
    assert_eq!(store.health(), Health::Serving);
}

#[test]
fn no_file_goes_before_the_one_ahead_of_it_is_gone() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    fill(&store, &t, 3);
    keep_house(&store, 5);
    bench.disk.fail_next(FaultKind::DirSyncError, "commitlog");
    bench.clock.advance(1001);
    keep_house(&store, 10);
    assert_eq!(bench.disk.coverage().of("dir-sync-error"), 1);
    assert_eq!(
        store.log_range().0.0,
        FILE_BYTES,
        "it is not known to be gone, and is not tried at every turn"
    );
    bench.clock.advance(1000);
    keep_house(&store, 10);
    assert_eq!(store.log_range().0.0, 3 * FILE_BYTES);
    assert_eq!(names(&bench, "/data/commitlog")[0], format!("{:020}", 3 * FILE_BYTES));
}

/// A store with thirty files on a disk that is in use to so many percent, once housekeeping looks. They come of age in a second.
fn filled_disk(percent_used: u64) -> (Bench, Store) {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    bench.options.retention.free_bytes_min = Some(u64::MAX);
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    fill(&store, &t, 30);
    keep_house(&store, 5);
    let space = bench.disk.space(Path::new(DIR)).unwrap();
    let capacity = Some((space.total - space.free) * 100 / percent_used);
    bench.disk.set_faults(Faults { capacity, ..Faults::default() });
    assert_eq!(store.log_range().0.0, 0);
    (bench, store)
}

#[test]
fn a_jump_of_the_clock_costs_one_file_a_minute_however_full_the_disk() {
    for percent_used in [70, 84] {
        let (bench, store) = filled_disk(percent_used);
        // All are of age now, if the clock is right.
        bench.clock.jump_wall(86_400_000);
        keep_house(&store, 100);
        assert_eq!(store.log_range().0.0, FILE_BYTES, "at {percent_used} %");
        bench.clock.advance(59_999);
        keep_house(&store, 100);
        assert_eq!(store.log_range().0.0, FILE_BYTES, "at {percent_used} %");
        bench.clock.advance(1);
        keep_house(&store, 100);
        assert_eq!(store.log_range().0.0, 2 * FILE_BYTES, "at {percent_used} %");
    }
}

#[test]
fn after_downtime_one_file_goes_a_minute_unless_the_disk_fills_up() {
    for (percent_used, at_once) in [(70, false), (84, true)] {
        let (bench, store) = filled_disk(percent_used);
        store.close().unwrap();
        drop(store);
        bench.clock.jump_wall(86_400_000);
        let (store, _) = bench.open();
        keep_house(&store, 100);
        let gone = store.log_range().0.0 / FILE_BYTES;
        if at_once {
            assert!(gone > 2 && gone < 10, "{gone} files went");
            // Below 75 % the rest waits again.
            bench.clock.advance(59_999);
            keep_house(&store, 100);
            assert!(store.log_range().0.0 / FILE_BYTES <= gone + 1);
        } else {
            assert_eq!(gone, 1);
        }
        bench.clock.advance(60_000);
        let before = store.log_range().0.0;
        keep_house(&store, 100);
        assert_eq!(store.log_range().0.0, before + FILE_BYTES);
    }
}
