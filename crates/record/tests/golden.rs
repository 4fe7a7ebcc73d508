//! Bytes of the real broker, and what we make of the same messages.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

use braid_record::{
    DecodeError, Draft, EncodeError, Peek, RecordView, Stamp, TargetSlot, encode, encoded_len, peek, property,
};
use proptest::prelude::*;

/// `rocketmq-store.md` section 6: topic T, queue 0, KEYS=k, body `hello`, written by Apache RocketMQ 5.4.0.
const GOLDEN: &str = "0000007cdaa320a73610a68600000000000000000000000000000000000000000000000000000000\
    00000000000000017f0000010000000100000000000000027f00000100000002000000000000000000000000\
    0000000568656c6c6f0154001b4b455953016b025f5f43524333322301363936393735333630310 2";

fn golden() -> Vec<u8> {
    let hex: String = GOLDEN.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn draft<'a>() -> Draft<'a> {
    Draft {
        topic: "T",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:2".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"hello",
        properties: b"KEYS\x01k\x02",
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    }
}

fn record(draft: &Draft<'_>, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = encode(draft, &mut bytes).unwrap();
    assert_eq!(encoded_len(draft).unwrap(), bytes.len());
    encoded.stamp(&mut bytes, stamp);
    bytes
}

const STAMP: Stamp<'static> = Stamp { queue_offset: 0, position: 0, store_timestamp: 2, slot_offsets: &[] };

#[test]
fn our_record_is_the_real_brokers_record_byte_for_byte() {
    assert_eq!(record(&draft(), &STAMP), golden());
    // The separator that a client left out is put in, and makes the same bytes.
    assert_eq!(record(&Draft { properties: b"KEYS\x01k", ..draft() }, &STAMP), golden());
}

#[test]
fn every_single_flipped_bit_is_found() {
    let good = golden();
    assert!(RecordView::check(&good, 0, true).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordView::check(&bad, 0, true).is_err(), "bit {bit}");
    }
}

#[test]
fn a_long_topic_makes_a_v2_record_and_long_tails_are_summed_ahead() {
    let topic = "t".repeat(128);
    let body = vec![7; 40_000];
    let bytes = record(&Draft { topic: &topic, body: &body, ..draft() }, &Stamp { position: 99, ..STAMP });
    let view = RecordView::check(&bytes, 99, true).unwrap();
    assert_eq!((view.topic(), view.body()), (topic.as_str(), &body[..]));
    assert!(matches!(RecordView::check(&bytes, 98, true), Err(DecodeError::Misplaced(99))));
}

#[test]
fn targets_of_1000_queues_fit_and_are_stamped() {
    let slots: Vec<_> =
        (0..1000).map(|i| TargetSlot { topic: i, queue_id: 0, first_offset: 0, count: 1 + i % 3 }).collect();
    let offsets: Vec<u64> = (0..1000).map(|i| i * 1_000_003).collect();
    let bytes = record(
        &Draft { targets: &slots, kind: Some("k"), group_goes_on: true, ..draft() },
        &Stamp { slot_offsets: &offsets, ..STAMP },
    );
    let view = RecordView::check(&bytes, 0, true).unwrap();
    let read = view.targets().unwrap();
    assert!(read.iter().zip(&offsets).all(|(slot, &offset)| slot.first_offset == offset));
    assert_eq!(read.len(), 1000);
    assert!(view.group_goes_on());
    assert_eq!(view.kind(), Some(&b"k"[..]));
}

const BATCH: Draft<'static> = Draft {
    topic: "T",
    queue_id: 3,
    flag: 0,
    sys_flag: 0x40,
    born_timestamp: 1,
    born_host: std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1)),
    store_host: std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 2)),
    reconsume_times: 0,
    prepared_transaction_offset: 0,
    body: b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFbatch",
    properties: b"",
    kind: Some("kafka"),
    targets: &[TargetSlot { topic: 9, queue_id: 3, first_offset: 0, count: 50 }],
    group_goes_on: false,
    batch: Some(50),
};

fn batch_stamp(offset: &u64) -> Stamp<'_> {
    Stamp {
        queue_offset: *offset,
        position: 0x1000,
        store_timestamp: 2,
        slot_offsets: std::slice::from_ref(offset),
    }
}

/// The record of `docs/format/record.md`.
#[test]
fn a_batch_has_the_documented_bytes() {
    let bytes = record(&BATCH, &batch_stamp(&123));
    let properties = b"__BRAIDK\x01kafka\x02INNER_NUM\x0100050\x02INNER_BASE\x0100000000000000000123\x02\
        __BRAIDT\x01AAAAJAADAAAAAAAB7AAAAy\x02__CRC32#\x01";
    let mut expected = Vec::new();
    let (size, body_crc) = (91 + 13 + 1 + properties.len() as u32 + 11, 0x50b8_1e49_u32);
    for word in [size, 0xDAA3_20A7, body_crc, 3, 0, 0, 123, 0, 0x1000, 0x80, 0, 1, 0x7F00_0001, 1, 0, 2] {
        expected.extend_from_slice(&word.to_be_bytes());
    }
    for word in [0x7F00_0001_u32, 2, 0, 0, 0, 13, 0, 123] {
        expected.extend_from_slice(&word.to_be_bytes());
    }
    expected.extend_from_slice(b"batch\x01T");
    expected.extend_from_slice(&(properties.len() as u16 + 11).to_be_bytes());
    expected.extend_from_slice(properties);
    assert_eq!(bytes[..expected.len()], expected);
    assert_eq!(&bytes[expected.len()..], b"1917189951\x02");
    let view = RecordView::check(&bytes, 0x1000, true).unwrap();
    assert_eq!(view.batch_count(), Ok(Some(50)));
    assert_eq!(braid_record::crc31(view.body()), view.body_crc());
}

#[test]
fn a_batch_above_what_apache_can_be_told_has_its_span_alone() {
    for (count, is_told) in [(1, true), (32_767, true), (32_768, false), (1 << 29, false)] {
        let targets = [TargetSlot { topic: 9, queue_id: 3, first_offset: 0, count }];
        let targets = if count == 1 { &[][..] } else { &targets };
        let draft = Draft { targets, batch: Some(count), ..BATCH };
        let offset = 1 << 40;
        let stamp = if count == 1 {
            Stamp { slot_offsets: &[], ..batch_stamp(&offset) }
        } else {
            batch_stamp(&offset)
        };
        let bytes = record(&draft, &stamp);
        let view = RecordView::check(&bytes, 0x1000, true).unwrap();
        assert_eq!(view.batch_count(), Ok(Some(count)));
        assert_eq!(view.property("INNER_NUM").is_some(), is_told, "{count}");
        assert_eq!(view.property("INNER_BASE").is_some(), is_told, "{count}");
        assert_eq!(view.sys_flag(), 0x80);
        assert_eq!(view.body()[..8], offset.to_be_bytes());
    }
}

/// The joined checksums of long bodies are those that summing gives, at the border and on both sides of it.
#[test]
fn long_batches_carry_the_checksums_of_their_stamped_bytes() {
    for len in [8, 9, 4103, 4104, 4105, 70_000] {
        let body: Vec<u8> = (0..len as u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let bytes = record(&Draft { body: &body, group_goes_on: true, ..BATCH }, &batch_stamp(&(1 << 33)));
        let view = RecordView::check(&bytes, 0x1000, true).unwrap();
        assert_eq!(braid_record::crc31(view.body()), view.body_crc(), "{len} bytes");
        assert_eq!(view.body()[8..], body[8..]);
    }
}

#[test]
fn a_batch_that_contradicts_itself_is_refused() {
    let refused = |draft: Draft<'_>| match encode(&draft, &mut Vec::new()) {
        Err(EncodeError::Batch(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(Draft { kind: None, ..BATCH }).contains("kind"));
    assert!(refused(Draft { body: b"1234567", ..BATCH }).contains("short"));
    assert!(refused(Draft { batch: Some(49), ..BATCH }).contains("offsets"));
    assert!(refused(Draft { batch: Some(0), targets: &[], ..BATCH }).contains("few"));

    let good = record(&BATCH, &batch_stamp(&123));
    for (what, with) in [
        (&b"\x0100050\x02"[..], &b"\x0100051\x02"[..]),
        (b"0123\x02", b"0124\x02"),
        (b"INNER_BASE", b"INNER_CASE"),
        (&[0, 0, 0, 123, b'b'], &[0, 0, 0, 122, b'b']),
        (b"AAAAy\x02", b"AAAAx\x02"),
    ] {
        let at = good.windows(what.len()).position(|window| window == what).unwrap();
        let mut bad = good.clone();
        bad[at..at + with.len()].copy_from_slice(with);
        let view = RecordView::parse(&bad).unwrap();
        assert_eq!(view.targets(), Err(DecodeError::Batch), "{what:?}");
        assert_eq!(view.batch_count(), Err(DecodeError::Batch), "{what:?}");
    }
    // RocketMQ's own batches are unwrapped by their readers: nothing of ours is in them.
    let own = record(&Draft { sys_flag: 0xC0, ..draft() }, &STAMP);
    assert_eq!(RecordView::check(&own, 0, true).unwrap().batch_count(), Ok(None));
}

#[test]
fn lengths_are_refused_one_past_their_limit() {
    let fits = vec![b'x'; braid_record::PROPERTIES_BYTES_MAX - 20 - 1];
    assert!(encode(&Draft { properties: &fits, ..draft() }, &mut Vec::new()).is_ok());
    let over = vec![b'x'; fits.len() + 1];
    let error = encode(&Draft { properties: &over, ..draft() }, &mut Vec::new()).unwrap_err();
    assert_eq!(error, EncodeError::PropertiesTooLong(32_768));
    let (longest, over) = ("t".repeat(255), "t".repeat(256));
    assert!(encode(&Draft { topic: &longest, ..draft() }, &mut Vec::new()).is_ok());
    assert_eq!(
        encode(&Draft { topic: &over, ..draft() }, &mut Vec::new()).unwrap_err(),
        EncodeError::TopicLength(256)
    );
}

#[test]
fn what_lies_in_a_log_is_told_by_eight_bytes() {
    assert_eq!(peek(&[0; 7]), None);
    assert_eq!(peek(&[0; 8]), Some(Peek::Zeros));
    assert_eq!(peek(&golden()), Some(Peek::Record(124)));
    assert_eq!(peek(&[0, 0, 1, 0, 0xCB, 0xD4, 0x31, 0x94]), Some(Peek::Blank(256)));
    assert_eq!(peek(&[0, 0, 0, 90, 0xDA, 0xA3, 0x20, 0xA7]), Some(Peek::Unknown));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        topic in "[a-zA-Z0-9_%-]{1,255}",
        body in prop::collection::vec(any::<u8>(), 0..3000),
        queue_id in 0u32..1000,
        queue_offset in 0u64..1 << 54,
        position in any::<u64>(),
        v6 in any::<bool>(),
    ) {
        let host = if v6 { "[2001:db8::1]:65535" } else { "10.1.2.3:9" };
        let draft = Draft {
            topic: &topic, body: &body, queue_id, born_host: host.parse().unwrap(), ..draft()
        };
        let bytes = record(&draft, &Stamp { queue_offset, position, store_timestamp: -5, slot_offsets: &[] });
        let view = RecordView::check(&bytes, position, true).unwrap();
        prop_assert_eq!(view.topic(), &topic);
        prop_assert_eq!(view.body(), &body[..]);
        prop_assert_eq!(view.queue_id(), queue_id);
        prop_assert_eq!(view.queue_offset(), queue_offset);
        prop_assert_eq!(view.born_host(), draft.born_host);
        prop_assert_eq!(view.store_host(), draft.store_host);
        prop_assert_eq!(view.store_timestamp(), -5);
        prop_assert_eq!(view.property(property::KEYS), Some("k"));
    }

    #[test]
    fn nothing_panics_on_noise(mut bytes in prop::collection::vec(any::<u8>(), 0..300), real in any::<bool>()) {
        if real && bytes.len() > 8 {
            let size = bytes.len() as u32;
            bytes[..4].copy_from_slice(&size.to_be_bytes());
            bytes[4..8].copy_from_slice(&braid_record::MAGIC_V1.to_be_bytes());
        }
        let _ = peek(&bytes);
        if let Ok(view) = RecordView::parse(&bytes) {
            let _ = (view.targets(), view.stored_checksum(), view.born_host(), view.store_host(), view.topic());
        }
    }
}
