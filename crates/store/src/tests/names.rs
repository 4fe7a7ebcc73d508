//! Names of records and of messages inside them.

use braid_record::{Stamp, encode};

use super::*;
use crate::progress::Position;

/// Appends a record that takes `count` offsets.
fn send_span(store: &Store, topic: &TopicInfo, count: u32, body: &[u8]) -> Position {
    let mut builder = GroupBuilder::new();
    builder.record(NewRecord { count, ..record(topic, 0, body) });
    let appended = store.append(store.group(builder).unwrap()).unwrap();
    store.write_turn();
    store.flush_turn();
    appended.records[0].position
}

/// The body and the index of what is named.
fn named(store: &Store, position: Position) -> Option<(Vec<u8>, Option<u32>)> {
    let found = store.record_named(position).unwrap()?;
    Some((RecordView::parse(&found.record).unwrap().body().to_vec(), found.index))
}

#[test]
fn a_name_has_these_bits() {
    let name = |position, index| Position::inside(Position(position), index).map(|p| p.0);
    assert_eq!(name(64, 1), Some(0x4000_0000_0040_0001));
    assert_eq!(name(127, 1), name(64, 1));
    assert_eq!(name((1 << 46) - 1, (1 << 22) - 1), Some(0x7FFF_FFFF_FFFF_FFFF));
    assert_eq!(name(1 << 46, 0), None);
    assert_eq!(name(0, 1 << 22), None);
    let parts = |name| Position(name).slot_and_index();
    assert_eq!(parts(0x4000_0000_0040_0001), Some((64, 1)));
    assert_eq!(parts(64), None);
    assert_eq!(parts(0xC000_0000_0040_0001), None, "no position is negative as a signed number");
}

#[test]
fn each_message_of_a_record_has_a_name_wherever_it_begins() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    // Records of all lengths, so that they begin at every place of a slot.
    let mut begun = [false; 64];
    for n in 0..200u32 {
        let body = vec![n as u8; 1 + n as usize % 67];
        let position = send_span(&store, &t, 1 + n % 7, &body);
        begun[position.0 as usize % 64] = true;
        for index in [0, n % 7] {
            let name = Position::inside(position, index).unwrap();
            assert_eq!(named(&store, name), Some((body.clone(), Some(index))), "{index} of record {n}");
        }
        let past = Position::inside(position, 1 + n % 7).unwrap();
        assert_eq!(named(&store, past), None, "one past the last of record {n}");
        assert_eq!(named(&store, position), Some((body, None)));
    }
    assert!(begun.iter().all(|&b| b), "{begun:?}");
}

#[test]
fn a_slot_without_a_record_names_nothing() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let first = send_span(&store, &t, 5, &[1; 1000]);
    let inside = |at: u64| Position::inside(Position(at), 0).unwrap();
    assert_eq!(named(&store, inside(first.0 + 640)), None, "in the middle of a record");
    let end = store.watermarks().appended().0;
    for at in [end, end + 64, end + FILE_BYTES, (1 << 46) - 1] {
        assert_eq!(named(&store, inside(at)), None, "at or behind the end");
    }
    // Neither what is not visible yet, nor what is in no queue.
    let appended = append(&store, &t, 0, b"not visible").unwrap();
    assert_eq!(named(&store, inside(appended.records[0].position.0)), None);
}

#[test]
fn a_record_inside_a_body_has_no_name() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    send(&store, &t, 0, b"honest");
    let end = store.watermarks().appended().0;
    // The body begins 88 bytes behind the record's begin: a record in it lies in the slot after the true one.
    for shift in 0..64 {
        let carrier_at = store.watermarks().appended().0;
        let forged_at = carrier_at + 88 + shift;
        let forged_draft = braid_record::Draft { body: b"forged", ..draft("T", 0, b"") };
        let mut forged = Vec::new();
        let encoded = encode(&forged_draft, &mut forged).unwrap();
        let stamp =
            Stamp { queue_offset: 0, position: forged_at, store_timestamp: NOON_MS, slot_offsets: &[] };
        encoded.stamp(&mut forged, &stamp);
        let body = [&vec![7; shift as usize][..], &forged].concat();
        send(&store, &t, 0, &body);
        let bytes = read(&store, queue(&t, 0), 1 + shift, 1).records[0].clone();
        assert_eq!(
            &bytes[(forged_at - carrier_at) as usize..][..forged.len()],
            forged,
            "the forger knew the place"
        );
        assert_eq!(named(&store, Position(forged_at)), None);
        let found = named(&store, Position::inside(Position(forged_at), 0).unwrap());
        assert!(found.is_none_or(|(found, _)| found == body), "shift {shift}");
        let found = named(&store, Position::inside(Position(carrier_at), 0).unwrap());
        assert_eq!(found, Some((body, Some(0))), "the honest one in the slot is found, shift {shift}");
    }
    assert!(end < store.watermarks().appended().0);
}

#[test]
fn what_is_deleted_has_no_name() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let (t, other) = (topic(&store, "T"), topic(&store, "Other"));
    let inside = |position, index| Position::inside(position, index).unwrap();
    let (cut, dropped) = (send_span(&store, &t, 9, b"cut"), send_span(&store, &other, 2, b"dropped"));
    let promise = store.cut_queue(queue(&t, 0), 4).unwrap();
    store.write_turn();
    store.flush_turn();
    assert!(promise.is_due(store.watermarks()));
    assert_eq!(named(&store, inside(cut, 3)), None);
    assert_eq!(named(&store, inside(cut, 4)), Some((b"cut".to_vec(), Some(4))));
    assert_eq!(named(&store, inside(cut, 9)), None);
    assert!(named(&store, inside(dropped, 1)).is_some());
    drop(store.delete_topic(other.number).unwrap());
    store.write_turn();
    store.flush_turn();
    topic(&store, "Other");
    assert_eq!(named(&store, inside(dropped, 1)), None);
    while store.watermarks().appended().0 < FILE_BYTES {
        send(&store, &t, 0, &[5; 3000]);
        store.housekeeping();
    }
    bench.clock.advance(2000);
    keep_house(&store, 10);
    assert_eq!(store.log_range().0.0, FILE_BYTES);
    assert_eq!(named(&store, inside(cut, 4)), None);
}
