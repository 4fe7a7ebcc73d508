//! Batches and idempotent producers: through appends, restarts, cuts and deletions.

use braid_record::RecordView;

use super::*;
use crate::append::Target;
use crate::options::LOOK_INSIDE;
use crate::progress::Level;
use crate::snapshot::Snapshot;

/// A batch of `count` messages with a producer's numbers.
fn numbered(
    builder: &mut GroupBuilder,
    topic: &TopicInfo,
    (producer_id, epoch, first, last): (i64, i16, i32, i32),
    count: u32,
) {
    let properties = format!("P\u{1}{producer_id} {epoch} {first} {last}\u{2}");
    let draft = Draft {
        properties: properties.as_bytes(),
        kind: Some("numbered"),
        batch: Some(count),
        ..draft(&topic.name, 0, b"01234567 a batch")
    };
    builder.record(NewRecord { draft, topic: topic.number, count, more_targets: &[] });
}

fn try_batch(
    store: &Store,
    topic: &TopicInfo,
    numbers: (i64, i16, i32, i32),
    count: u32,
) -> Result<Appended, AppendError> {
    let mut builder = GroupBuilder::new();
    numbered(&mut builder, topic, numbers, count);
    store.append(store.group(builder)?)
}

/// Appends and makes durable.
fn batch(store: &Store, topic: &TopicInfo, numbers: (i64, i16, i32, i32), count: u32) -> Appended {
    let appended = try_batch(store, topic, numbers, count).unwrap();
    drain(store);
    appended
}

fn drain(store: &Store) {
    store.write_turn();
    while store.flush_is_due() {
        store.flush_turn();
    }
}

fn expected(store: &Store, topic: &TopicInfo, numbers: (i64, i16, i32, i32)) -> Option<i32> {
    match try_batch(store, topic, numbers, 1) {
        Err(AppendError::OutOfOrderSequence { expected, .. }) => Some(expected),
        Err(other) => panic!("{other}"),
        Ok(appended) => {
            assert!(!appended.duplicate);
            None
        }
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.options.derivers = vec![(None, derive), (Some("numbered"), derive_numbered)];
    bench
}

fn derive_numbered(view: &RecordView<'_>) -> Facts {
    Facts { index_word: LOOK_INSIDE, newest_time: Some(view.store_timestamp() + 5), ..derive(view) }
}

#[test]
fn a_batch_takes_its_offsets_and_says_so_in_every_place() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    send(&store, &t, 0, b"one");
    let spanning = batch(&store, &t, (1, 0, 0, 49), 50);
    let after = send(&store, &t, 0, b"other");
    assert_eq!((spanning.records[0].offset, after.records[0].offset), (1, 51));
    assert_eq!(store.log_end(queue(&t, 0)), 52);
    assert_eq!(store.log_end(queue(&t, 1)), 0);
    drop(store);
    // From the index, and rebuilt from the log alone.
    for rebuilt in [false, true] {
        if rebuilt {
            bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
        }
        let (store, report) = bench.open();
        assert!(report.damage.is_empty() && report.notes.is_empty(), "{report:?}");
        for offset in [1, 30, 50] {
            let found = read(&store, queue(&t, 0), offset, 1);
            let view = RecordView::parse(&found.records[0]).unwrap();
            assert_eq!((found.next_offset, view.queue_offset()), (51, 1));
            assert_eq!(view.batch_count(), Ok(Some(50)));
            assert_eq!(&view.body()[..8], 1u64.to_be_bytes());
            assert_eq!(braid_record::crc31(view.body()), view.body_crc());
        }
        assert_eq!(store.log_end(queue(&t, 0)), 52);
        drop(store);
    }
}

#[test]
fn a_batch_may_stand_anywhere_in_a_group() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let mut builder = GroupBuilder::new();
    numbered(&mut builder, &t, (1, 0, 0, 1), 2);
    builder.record(record(&t, 0, b"between"));
    numbered(&mut builder, &t, (1, 0, 2, 40_001), 40_000);
    let appended = store.append(store.group(builder).unwrap()).unwrap();
    drain(&store);
    let offsets: Vec<u64> = appended.records.iter().map(|placed| placed.offset).collect();
    assert_eq!(offsets, [0, 2, 3]);
    drop(store);
    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    let (store, _) = bench.open();
    assert_eq!(store.offsets(queue(&t, 0)).unwrap().max, 40_003);
    assert_eq!(read(&store, queue(&t, 0), 40_000, 1).next_offset, 40_003);
    assert_eq!(read(&store, queue(&t, 0), 1, 1).next_offset, 2);
}

#[test]
fn a_duplicate_is_answered_with_its_original_and_waits_with_it() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let first = try_batch(&store, &t, (7, 0, 0, 9), 10).unwrap();
    let other = try_batch(&store, &t, (8, 0, 0, 0), 1).unwrap();
    bench.clock.advance(1000);
    let again = try_batch(&store, &t, (7, 0, 0, 9), 10).unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.end, &again.records), (first.end, &first.records));
    assert_eq!(store.watermarks().appended(), other.end, "nothing was appended");
    let promise = again.promise(Level::Flushed, ());
    assert!(!promise.is_due(store.watermarks()));
    drain(&store);
    assert!(promise.is_due(store.watermarks()));
    assert_eq!(store.log_end(queue(&t, 0)), 11);
    let known: Vec<_> =
        store.producers_of(queue(&t, 0)).iter().map(|p| (p.producer_id, p.last_sequence)).collect();
    assert_eq!(known, [(7, 9), (8, 0)]);
    assert_eq!(store.producers_of(queue(&t, 1)), []);
}

#[test]
fn numbers_that_do_not_follow_and_old_epochs_append_nothing() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    batch(&store, &t, (7, 3, 100, 109), 10);
    let end = store.watermarks().appended();
    assert_eq!(expected(&store, &t, (7, 3, 111, 111)), Some(110));
    assert_eq!(expected(&store, &t, (7, 4, 110, 110)), Some(0));
    assert_eq!(
        try_batch(&store, &t, (7, 2, 110, 110), 1),
        Err(AppendError::StaleProducerEpoch { producer_id: 7, epoch: 2, known_epoch: 3 })
    );
    assert_eq!((store.watermarks().appended(), store.log_end(queue(&t, 0))), (end, 10));
    assert_eq!(expected(&store, &t, (7, 4, 0, 0)), None);
}

#[test]
fn a_group_is_a_duplicate_as_a_whole_or_not_at_all() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let group = |parts: &[(i64, i16, i32, i32)]| {
        let mut builder = GroupBuilder::new();
        for &part in parts {
            numbered(&mut builder, &t, part, 1);
        }
        builder.record(record(&t, 1, b"without numbers"));
        store.append(store.group(builder).unwrap())
    };
    let whole = group(&[(7, 0, 0, 0), (7, 0, 1, 1), (8, 0, 5, 5)]).unwrap();
    let again = group(&[(7, 0, 0, 0), (7, 0, 1, 1), (8, 0, 5, 5)]).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.end, &again.records[..]), (whole.end, &whole.records[..3]));
    let out_of_order = |answer| matches!(answer, Err(AppendError::OutOfOrderSequence { .. }));
    assert!(out_of_order(group(&[(7, 0, 1, 1), (7, 0, 2, 2)])), "a part of it is there already");
    assert!(out_of_order(group(&[(7, 0, 2, 2), (7, 0, 4, 4)])), "a gap inside the group");
    assert!(out_of_order(group(&[(7, 0, 2, 2), (7, 0, 2, 2)])), "the same batch twice in one group");
    assert!(!group(&[(7, 0, 2, 2), (7, 0, 3, 3)]).unwrap().duplicate);
    assert_eq!(store.log_end(queue(&t, 1)), 2);
}

/// Whatever the start reads: the snapshot, the log, or the log alone with nothing derived.
#[test]
fn producers_are_known_again_after_a_restart() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let originals: Vec<_> = (0..7).map(|i| batch(&store, &t, (7, 1, 3 * i, 3 * i + 2), 3)).collect();
    let check = |store: &Store, next: i32| {
        // Five are remembered, so each batch that came later pushed one out.
        for (original, first) in
            originals.iter().zip((0..).step_by(3)).filter(|(_, first)| first + 15 >= next)
        {
            let again = try_batch(store, &t, (7, 1, first, first + 2), 3).unwrap();
            assert!(again.duplicate);
            assert_eq!((&again.records, again.end), (&original.records, original.end));
        }
        assert_eq!(expected(store, &t, (7, 1, 0, 2)), Some(next), "the first is forgotten");
        assert_eq!(expected(store, &t, (7, 1, next + 1, next + 1)), Some(next));
    };
    check(&store, 21);
    // Replay only: no snapshot was taken.
    drop(store);
    bench.disk.crash();
    let (store, _) = bench.open();
    check(&store, 21);
    // Snapshot only: a clean stop leaves nothing to replay.
    store.close().unwrap();
    drop(store);
    let (store, report) = bench.open();
    assert!(report.scanned_records <= 1, "{report:?}");
    check(&store, 21);
    // Both: one more batch behind the snapshot.
    batch(&store, &t, (7, 1, 21, 23), 3);
    drop(store);
    bench.disk.crash();
    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    let (store, _) = bench.open();
    check(&store, 24);
    // The log alone.
    drop(store);
    bench.disk.process().remove_file(Path::new("/data/braid/snapshot")).unwrap();
    let (store, _) = bench.open();
    check(&store, 24);
    assert_eq!(expected(&store, &t, (7, 1, 24, 24)), None);
}

#[test]
fn what_recovery_cuts_leaves_no_state() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    batch(&store, &t, (7, 0, 0, 0), 1);
    // Written, not flushed; gone with the power.
    try_batch(&store, &t, (7, 0, 1, 1), 1).unwrap();
    try_batch(&store, &t, (9, 0, 5, 5), 1).unwrap();
    store.write_turn();
    assert_eq!(store.producers_of(queue(&t, 0)).len(), 2);
    drop(store);
    bench.disk.crash();
    let (store, report) = bench.open();
    assert!(report.damage.is_empty());
    let survived = store.log_end(queue(&t, 0));
    let known = store.producers_of(queue(&t, 0));
    // A simulated power cut may keep any prefix of what was written.
    let last = known.iter().find(|p| p.producer_id == 7).unwrap().last_sequence;
    assert_eq!(u64::from(survived > 1), last as u64, "{known:?}, {survived} offsets");
    assert_eq!(known.iter().any(|p| p.producer_id == 9), survived > 2);
}

#[test]
fn a_batch_whose_group_is_torn_leaves_no_state() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    batch(&store, &t, (7, 0, 0, 0), 1);
    let mut builder = GroupBuilder::new();
    numbered(&mut builder, &t, (7, 0, 1, 1), 1);
    numbered(&mut builder, &t, (9, 0, 0, 0), 1);
    let group = store.append(store.group(builder).unwrap()).unwrap();
    store.write_turn();
    drop(store);
    bench.disk.kill();
    // The second record of the group lost its last byte.
    bench.disk.overwrite(&bench.log_file(0), group.end.0 - 1, &[0]).unwrap();
    let (store, report) = bench.open();
    assert!(report.cut_bytes > 0, "{report:?}");
    assert_eq!(store.log_range().1, group.records[0].position);
    assert_eq!(store.producers_of(queue(&t, 0)).len(), 1);
    assert_eq!(expected(&store, &t, (7, 0, 1, 1)), None);
}

#[test]
fn a_deleted_topic_takes_its_producers_with_it() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    batch(&store, &t, (7, 0, 0, 0), 1);
    drop(store.delete_topic(t.number).unwrap());
    drain(&store);
    assert_eq!(store.producers_of(queue(&t, 0)), []);
    let new = topic(&store, "T");
    assert_eq!(expected(&store, &new, (7, 0, 33, 33)), None, "the new topic knows nobody");
    drain(&store);
    drop(store);
    // The records of the deleted topic are replayed, and dead.
    bench.disk.process().remove_file(Path::new("/data/braid/snapshot")).ok();
    let (store, _) = bench.open();
    assert_eq!(store.producers_of(queue(&t, 0)), []);
    assert_eq!(store.producers_of(queue(&new, 0)).len(), 1);
}

#[test]
fn an_idle_producer_is_forgotten_after_its_time_and_the_oldest_at_the_bound() {
    let mut bench = bench();
    bench.options.producers_max = 2;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let known = |store: &Store| -> Vec<i64> {
        store.producers_of(queue(&t, 0)).iter().map(|p| p.producer_id).collect()
    };
    batch(&store, &t, (1, 0, 0, 0), 1);
    batch(&store, &t, (2, 0, 0, 0), 1);
    batch(&store, &t, (1, 0, 1, 1), 1);
    assert_eq!(known(&store), [1, 2]);
    batch(&store, &t, (3, 0, 0, 0), 1);
    assert_eq!(known(&store), [1, 3]);
    assert_eq!(expected(&store, &t, (2, 0, 44, 44)), None, "no state: any number is taken");
    drain(&store);
    assert_eq!(known(&store), [2, 3]);

    let idle_ms = bench.options.producer_idle_ms as u64;
    bench.clock.advance(idle_ms - 60_000);
    keep_house(&store, 2);
    assert_eq!(known(&store), [2, 3]);
    batch(&store, &t, (3, 0, 1, 1), 1);
    bench.clock.advance(60_001);
    keep_house(&store, 2);
    assert_eq!(known(&store), [2, 3], "the log's time stands still");
    send(&store, &t, 1, b"time goes on");
    bench.clock.advance(60_000);
    keep_house(&store, 2);
    assert_eq!(known(&store), [3]);
    // A start knows no more than the bound, and those that are too old go again.
    drop(store);
    let (store, _) = bench.open();
    keep_house(&store, 2);
    assert_eq!(known(&store), [3]);
}

/// A table of several pages is in the snapshot as a whole, though other threads append between the pages.
#[test]
fn a_snapshot_has_all_pages() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for id in 0..600 {
        if matches!(try_batch(&store, &t, (id, 0, 0, 0), 1), Err(AppendError::Busy { .. })) {
            drain(&store);
            try_batch(&store, &t, (id, 0, 0, 0), 1).unwrap();
        }
    }
    drain(&store);
    let before = store.producers_of(queue(&t, 0));
    assert_eq!(before.len(), 600);
    store.close().unwrap();
    drop(store);
    let (store, _) = bench.open();
    assert_eq!(store.producers_of(queue(&t, 0)), before);
}

/// Pages of the table are copied while appends go on, so a snapshot may know producers better than its position says. The
/// records behind the position are replayed, and must change nothing.
#[test]
fn a_snapshot_that_knows_more_of_producers_than_its_position_is_taken() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let mut places = Vec::new();
    for i in 0..8 {
        places.push(batch(&store, &t, (7, 0, i, i), 1).records[0].position.0);
        places.push(batch(&store, &t, (8, i as i16, 0, 4), 5).records[0].position.0);
    }
    let known = store.producers_of(queue(&t, 0));
    store.close().unwrap();
    drop(store);
    let path = Path::new("/data/braid/snapshot");
    let whole = Snapshot::decode(&bench.disk.bytes(path).unwrap()).unwrap();
    for &position in &places {
        let disk = bench.disk.copy(position);
        let older = Snapshot { position, last_group: position, ..whole.clone() };
        braid_io::disk::replace_file(&disk.process(), path, &older.encode()).unwrap();
        let bench = Bench { disk, clock: bench.clock.clone(), options: bench.options.clone() };
        let (store, report) = bench.open();
        assert!(report.damage.is_empty() && report.scanned_records > 0, "{report:?}");
        assert_eq!(store.producers_of(queue(&t, 0)), known, "from {position}");
        for i in 3..8 {
            assert!(try_batch(&store, &t, (7, 0, i, i), 1).unwrap().duplicate, "from {position}");
        }
        assert!(try_batch(&store, &t, (8, 7, 0, 4), 5).unwrap().duplicate);
        assert_eq!(expected(&store, &t, (7, 0, 9, 9)), Some(8));
        assert_eq!(expected(&store, &t, (7, 0, 8, 8)), None);
    }
}

/// Writers of several threads, and snapshots all the time: whatever page a writer falls between, a start finds the
/// producers as the log has them.
#[test]
fn snapshots_that_are_taken_between_appends_lose_no_producer() {
    const WRITERS: i64 = 2;
    const PRODUCERS: i64 = 400;
    let mut bench = bench();
    bench.options.snapshot_bytes = 4 << 10;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let left = std::sync::atomic::AtomicI64::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, t, left) = (&store, &t, &left);
            scope.spawn(move || {
                for round in 0..4 {
                    for id in 0..PRODUCERS {
                        while matches!(
                            try_batch(store, t, (writer * PRODUCERS + id, 0, round, round), 1),
                            Err(AppendError::Busy { .. })
                        ) {
                            std::thread::yield_now();
                        }
                    }
                }
                left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        while left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            store.write_turn();
            store.flush_turn();
            store.housekeeping();
        }
    });
    drain(&store);
    let known = store.producers_of(queue(&t, 0));
    assert!(known.len() as i64 == WRITERS * PRODUCERS && known.iter().all(|p| p.last_sequence == 3));
    drop(store);
    bench.disk.crash();
    let snapshot = Snapshot::decode(&bench.disk.bytes(Path::new("/data/braid/snapshot")).unwrap()).unwrap();
    assert!(!snapshot.producers.is_empty(), "a snapshot was taken");
    let (store, _) = bench.open();
    assert_eq!(store.producers_of(queue(&t, 0)), known);
}

#[test]
fn a_record_with_further_targets_keeps_its_batch_in_its_own_queue() {
    let bench = bench();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let more = [Target { queue: queue(&t, 5), count: 1 }];
    let draft = Draft {
        properties: b"P\x017 0 0 1\x02",
        kind: Some("numbered"),
        batch: Some(2),
        ..draft("T", 0, b"01234567")
    };
    let mut builder = GroupBuilder::new();
    builder.record(NewRecord { draft, topic: t.number, count: 2, more_targets: &more });
    let appended = store.append(store.group(builder).unwrap()).unwrap();
    drain(&store);
    assert_eq!((appended.records[0].offset, &appended.records[0].more_offsets[..]), (0, &[0][..]));
    assert_eq!((store.log_end(queue(&t, 0)), store.log_end(queue(&t, 5))), (2, 1));
    assert_eq!(store.producers_of(queue(&t, 5)), [], "a producer numbers the record's own queue");
    assert!(store.record_named(appended.records[0].position).unwrap().is_some());
}
