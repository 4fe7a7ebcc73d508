//! Log files that stay, or go early, for topics with a retention of their own.

use std::path::Path;

use braid_io::Disk;
use braid_io::sim::Faults;

use super::*;
use crate::report::Health;

/// Fills log files until so many more are full.
fn fill(store: &Store, topic: &TopicInfo, files: u64) {
    let end = (store.watermarks().appended().0 / FILE_BYTES + files) * FILE_BYTES;
    while store.watermarks().appended().0 < end {
        send(store, topic, 0, &[5; 3000]);
        store.housekeeping();
    }
}

fn cut(store: &Store, queue: QueueKey, offset: u64) {
    let promise = store.cut_queue(queue, offset).unwrap();
    store.write_turn();
    store.flush_turn();
    assert!(promise.is_due(store.watermarks()));
}

fn first_file(store: &Store) -> u64 {
    store.log_range().0.0 / FILE_BYTES
}

/// A store whose files come of age in a second: one record of `long`, which is pinned, in each of four files that `plain`
/// fills.
fn four_files(bench: &mut Bench) -> (Store, TopicInfo, TopicInfo) {
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let (long, plain) = (topic(&store, "Long"), topic(&store, "Plain"));
    store.pin_topic(long.number, true);
    for _ in 0..4 {
        send(&store, &long, 0, b"kept");
        fill(&store, &plain, 1);
    }
    keep_house(&store, 5);
    (store, long, plain)
}

#[test]
fn a_file_stays_while_a_pinned_queue_begins_in_or_before_it() {
    let mut bench = Bench::new();
    let (store, long, plain) = four_files(&mut bench);
    bench.clock.advance(2000);
    keep_house(&store, 20);
    assert_eq!(first_file(&store), 0, "all are of age, and the first record is kept");
    assert_eq!(store.offsets(queue(&plain, 0)).unwrap().min, 0);
    for start in 1..=4 {
        cut(&store, queue(&long, 0), start);
        keep_house(&store, 20);
        assert_eq!(first_file(&store), start, "the queue begins in file {start}");
    }
    assert_eq!(store.health(), Health::Serving);
}

#[test]
fn a_pin_is_said_anew_at_each_start_and_ends_when_it_is_taken_back() {
    for deleted in [false, true] {
        let mut bench = Bench::new();
        let (store, long, _) = four_files(&mut bench);
        drop(store);
        bench.disk.crash();
        let (store, _) = bench.open();
        store.pin_topic(long.number, true);
        bench.clock.advance(2000);
        keep_house(&store, 20);
        assert_eq!(first_file(&store), 0);
        if deleted {
            drop(store.delete_topic(long.number).unwrap());
            store.write_turn();
            store.flush_turn();
        } else {
            store.pin_topic(long.number, false);
        }
        keep_house(&store, 20);
        assert_eq!(first_file(&store), 4);
    }
}

#[test]
fn a_pin_does_not_keep_what_comes_before_the_queue() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let (long, plain) = (topic(&store, "Long"), topic(&store, "Plain"));
    store.pin_topic(long.number, true);
    fill(&store, &plain, 2);
    send(&store, &long, 0, b"kept");
    fill(&store, &plain, 2);
    bench.clock.advance(2000);
    keep_house(&store, 20);
    assert_eq!(first_file(&store), 2);
}

/// What pressure does: files that a pinned topic needs stay, and writers are refused, unless it is told to take all.
#[test]
fn pressure_spares_pinned_topics_and_refuses_writers_instead() {
    for (takes_all, topic_ends) in [(false, false), (false, true), (true, false)] {
        let mut bench = Bench::new();
        bench.options.retention.free_bytes_min = Some(u64::MAX);
        bench.options.retention.pressure_takes_all = takes_all;
        let (store, long, plain) = four_files(&mut bench);
        fill(&store, &plain, 20);
        keep_house(&store, 5);
        let space = bench.disk.space(Path::new(DIR)).unwrap();
        let capacity = Some((space.total - space.free) * 100 / 95);
        bench.disk.set_faults(Faults { capacity, ..Faults::default() });
        keep_house(&store, 100);
        if takes_all {
            assert!(first_file(&store) > 1, "{}", first_file(&store));
            assert!(store.offsets(queue(&long, 0)).unwrap().min > 0);
        } else {
            assert_eq!(first_file(&store), 0);
            assert!(matches!(append(&store, &plain, 0, b"x"), Err(AppendError::DiskFull(_))));
            assert_eq!(store.offsets(queue(&long, 0)).unwrap().min, 0);
            // Whoever keeps the topic moves its start, which a full disk allows; then the files of others may go.
            if topic_ends {
                drop(store.delete_topic(long.number).unwrap());
                store.write_turn();
                store.flush_turn();
            } else {
                cut(&store, queue(&long, 0), 4);
            }
            assert!(matches!(append(&store, &plain, 0, b"x"), Err(AppendError::DiskFull(_))));
            keep_house(&store, 100);
            assert!(first_file(&store) > 1);
        }
        bench.clock.advance(2000);
        keep_house(&store, 5);
        assert_eq!(store.health(), Health::Serving);
    }
}

#[test]
fn a_file_that_no_queue_needs_goes_before_it_is_of_age() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let (short, plain) = (topic(&store, "Short"), topic(&store, "Plain"));
    fill(&store, &short, 3);
    let end = store.offsets(queue(&short, 0)).unwrap().max;
    let behind = send(&store, &plain, 0, b"in the last file").records[0].position.0;
    cut(&store, queue(&short, 0), end);
    let wait = || {
        for _ in 0..10 {
            bench.clock.advance(10_000);
            keep_house(&store, 5);
        }
    };
    wait();
    assert_eq!(first_file(&store), 0, "no topic has a retention of its own");
    store.pin_topic(short.number, true);
    wait();
    assert_eq!(first_file(&store), behind / FILE_BYTES);
    assert_eq!(all(&store, queue(&plain, 0)), [b"in the last file".to_vec()]);
    fill(&store, &short, 3);
    wait();
    assert_eq!(first_file(&store), behind / FILE_BYTES, "another topic's record is of no age yet");
}
