//! At the bound and one past it.

use braid_record::{BLANK_HEAD_BYTES, MAGIC_BLANK};

use super::*;
use crate::append::Target;
use crate::progress::Position;
use crate::report::RecoveryRow;
use crate::state::{StateChange, StateKind};

const BLANK: usize = BLANK_HEAD_BYTES;

/// Appends state until the log's end is `left` bytes before the end of its file.
fn leave(bench: &Bench, store: &Store, topic: &TopicInfo, left: u64) {
    let end = store.watermarks().appended().0;
    let body = FILE_BYTES - end % FILE_BYTES - left - OVERHEAD as u64;
    let appended = send(store, topic, 9, &vec![1; body as usize]);
    assert_eq!(appended.end.0 % FILE_BYTES, FILE_BYTES - left);
    let _ = bench;
}

#[test]
fn a_group_fits_when_the_filler_fits_behind_it() {
    for (more, next_file) in [(0, false), (1, true)] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        leave(&bench, &store, &t, 1000);
        let body = vec![2; 1000 - BLANK - OVERHEAD + more];
        let placed = send(&store, &t, 0, &body).records[0].position.0;
        assert_eq!(placed >= FILE_BYTES, next_file, "{more} more bytes");
        // The next one ends the file: with a filler of exactly its head where the record before just fitted.
        let next = send(&store, &t, 0, b"next").records[0].position.0;
        assert!(next >= FILE_BYTES);
        let file = bench.disk.bytes(&bench.log_file(0)).unwrap();
        let left = if next_file { 1000 } else { BLANK };
        let blank = &file[FILE_BYTES as usize - left..];
        assert_eq!(blank[..4], (left as u32).to_be_bytes());
        assert_eq!(blank[4..8], MAGIC_BLANK.to_be_bytes());
        assert!(blank[8..].iter().all(|&b| b == 0));
        drop(store);
        let (store, report) = bench.open();
        assert_eq!(report.rows, [RecoveryRow::CleanEnd]);
        assert_eq!(all(&store, queue(&t, 0)), [body, b"next".to_vec()]);
    }
}

#[test]
fn the_longest_group_fits_and_one_byte_more_is_refused() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let longest = FILE_BYTES as usize - BLANK - OVERHEAD;
    assert_eq!(
        append(&store, &t, 0, &vec![3; longest + 1]),
        Err(AppendError::TooLarge {
            bytes: FILE_BYTES - BLANK as u64 + 1,
            file_bytes: FILE_BYTES - BLANK as u64
        })
    );
    let mut placed = append(&store, &t, 0, &vec![3; longest]);
    // Behind other records it must wait for them: both together are above the bound on unflushed bytes.
    for _ in 0..3 {
        if placed.is_err() {
            store.flush_turn();
            placed = append(&store, &t, 0, &vec![3; longest]);
        }
    }
    assert_eq!(placed.unwrap().records[0].position.0 % FILE_BYTES, 0);
    store.write_turn();
    while store.flush_is_due() {
        store.flush_turn();
    }
    send(&store, &t, 0, b"behind it");
    drop(store);
    let (store, _) = bench.open();
    assert_eq!(all(&store, queue(&t, 0)), [vec![3; longest], b"behind it".to_vec()]);
}

#[test]
fn a_full_pipe_says_busy_until_the_flush() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let bound = bench.options.unflushed_bytes_max;
    let mut count = 0;
    let unflushed = loop {
        match append(&store, &t, 0, &[4; 4000]) {
            Ok(_) => count += 1,
            Err(AppendError::Busy { unflushed }) => break unflushed,
            Err(other) => panic!("{other}"),
        }
        assert!(store.watermarks().appended().0 - store.watermarks().flushed().0 <= bound);
    };
    assert!(
        unflushed <= bound && unflushed + 4000 + OVERHEAD as u64 + 4096 > bound,
        "{unflushed} of {bound}"
    );
    assert!(store.flush_is_due());
    store.write_turn();
    while store.flush_is_due() {
        store.flush_turn();
    }
    append(&store, &t, 0, &[4; 4000]).unwrap();
    assert_eq!(store.offsets(queue(&t, 0)).unwrap().max, count);
}

#[test]
fn a_group_is_marked_and_stands_or_falls_whole() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let before = store.watermarks().appended();
    let change = StateChange { kind: StateKind(16), key: b"k".to_vec(), value: Some(b"v".to_vec()) };
    let mut builder = GroupBuilder::new();
    builder.record(record(&t, 0, b"one")).state(std::slice::from_ref(&change)).record(record(&t, 1, b"two"));
    let appended = store.append(store.group(builder).unwrap()).unwrap();
    assert_eq!(appended.records.len(), 2, "the state record is not listed");
    assert!(appended.records[0].position > before, "it comes first");
    store.write_turn();
    store.flush_turn();
    let marks: Vec<bool> = [queue(&t, 0), queue(&t, 1)]
        .map(|q| RecordView::parse(&read(&store, q, 0, 1).records[0]).unwrap().group_goes_on())
        .into();
    assert_eq!(marks, [true, false]);
    drop(store);
    // The second record's bytes are gone: the state and the first record go with them.
    let second = appended.records[1].position.0;
    let path = bench.log_file(0);
    bench.disk.overwrite(&path, second, &vec![0; appended.records[1].size as usize]).unwrap();
    let (store, report) = bench.open();
    assert_eq!(report.rows, [RecoveryRow::IncompleteGroup]);
    assert_eq!(report.cut_bytes, second - before.0);
    assert_eq!((all(&store, queue(&t, 0)).len(), store.state(StateKind(16))), (0, vec![]));
    assert_eq!(store.watermarks().appended(), before);
    let bytes = bench.disk.bytes(&path).unwrap();
    assert!(bytes[before.0 as usize..].iter().all(|&b| b == 0), "what is cut is zeroed");
}

#[test]
fn a_thousand_targets_with_spans_survive_the_loss_of_the_indexes() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let (t, other) = (topic(&store, "T"), topic(&store, "Other"));
    let more: Vec<Target> =
        (0..999).map(|id| Target { queue: queue(&other, id), count: 1 + id % 7 }).collect();
    for round in 0..2 {
        let mut builder = GroupBuilder::new();
        builder.record(NewRecord { count: 50, more_targets: &more, ..record(&t, 3, b"spread") });
        let appended = store.append(store.group(builder).unwrap()).unwrap();
        assert_eq!(appended.records[0].offset, round * 50);
        let expected: Vec<u64> = more.iter().map(|target| round * u64::from(target.count)).collect();
        assert_eq!(appended.records[0].more_offsets, expected);
        store.write_turn();
        store.flush_turn();
    }
    let check = |store: &Store| {
        assert_eq!(store.offsets(queue(&t, 3)).unwrap().max, 100);
        let inside = read(store, queue(&t, 3), 70, 10);
        assert_eq!((inside.records.len(), inside.next_offset), (1, 100));
        for (id, target) in more.iter().enumerate() {
            let result = read(store, queue(&other, id as u32), 0, 10);
            assert_eq!((result.records.len(), result.max_offset), (2, 2 * u64::from(target.count)));
        }
    };
    check(&store);
    drop(store);
    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    check(&bench.open().0);
}

#[test]
fn what_is_out_of_range_is_refused_before_anything_is_appended() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let end = store.watermarks().appended();
    let with = |count, queue_id| {
        let mut builder = GroupBuilder::new();
        builder.record(NewRecord { count, ..record(&t, queue_id, b"") });
        store.group(builder).unwrap_err()
    };
    assert_eq!(with(0, 0), AppendError::TargetRange);
    assert_eq!(with(1, 1 << 18), AppendError::TargetRange);
    let mut builder = GroupBuilder::new();
    builder.state(&[StateChange { kind: StateKind(16), key: vec![0; 513], value: None }]);
    assert_eq!(store.group(builder).unwrap_err(), AppendError::StateKey(513));
    let gone = TopicInfo { number: crate::TopicNumber(77), ..t.clone() };
    assert_eq!(append(&store, &gone, 0, b""), Err(AppendError::NoTopic(gone.number)));
    let renamed = TopicInfo { name: "U".to_owned(), ..t };
    assert_eq!(append(&store, &renamed, 0, b""), Err(AppendError::NoTopic(renamed.number)));
    assert_eq!(store.watermarks().appended(), end);
    assert_ne!(end, Position(0));
}
