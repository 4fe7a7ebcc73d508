//! What crosses, and what comes back.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

mod support;

use braid_crossing::rocketmq::{Envelope, TOMBSTONE};
use braid_crossing::{CrossError, Crossing, Message, Origin, Packing, Seen, kafka, keys, rocketmq, unique};
use braid_record::{Draft, PROPERTIES_BYTES_MAX, RecordView, id, property, sysflag};
use braid_wire_kafka::batch::{BatchView, Compression, DECOMPRESSED_BYTES_MAX, compress};
use bytes::Bytes;
use proptest::prelude::*;
use support::{BORN, KafkaRecord, QUEUE, STORED, batch, draft, host, stored, stored_batch};

const TOPIC_ID: [u8; 16] = *b"\x01\x02\x03\x04aaaabbbbcccc";
const PACKING: Packing = Packing { records_max: 100, bytes_max: 1 << 20, leader_epoch: 7 };

fn seen(topic: &str) -> Seen<'_> {
    Seen { topic, topic_id: &TOPIC_ID }
}

fn record(key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> KafkaRecord {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    KafkaRecord {
        timestamp: BORN + 5,
        key: bytes(key),
        value: bytes(value),
        headers: headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), bytes(*value))).collect(),
    }
}

/// The only record of a batch, as RocketMQ gets it.
fn cross(record: &KafkaRecord) -> Vec<u8> {
    let stored = stored_batch(&batch(std::slice::from_ref(record), Compression::None), 1, 40);
    let mut out = Vec::new();
    Crossing::default().open(&stored).unwrap().write_rocketmq(0, 77, &seen("Orders"), &mut out).unwrap();
    out
}

fn text<'r>(view: &RecordView<'r>, name: &str) -> Option<&'r str> {
    view.property(name)
}

/// The records of a packed batch.
fn unpack(packed: &[u8]) -> Vec<KafkaRecord> {
    let view = BatchView::parse(packed).unwrap();
    assert_eq!(view.stored_crc(), view.computed_crc());
    assert_eq!((view.producer_id(), view.leader_epoch(), view.len()), (-1, 7, packed.len()));
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    view.records(view.stored_payload())
        .map(|record| record.unwrap())
        .map(|record| KafkaRecord {
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.into_iter().map(|h| (h.key.to_vec(), owned(h.value))).collect(),
        })
        .collect()
}

#[test]
fn each_record_of_a_batch_is_a_whole_message() {
    let records: Vec<_> = (0..3)
        .map(|i| KafkaRecord { timestamp: BORN + i, ..record(Some("k"), Some("value"), &[("h", Some("x"))]) })
        .collect();
    for compression in Compression::ALL {
        let crossing = Crossing::default();
        let log = stored_batch(&batch(&records, compression), 3, 40);
        let opened = crossing.open(&log).unwrap();
        assert_eq!((opened.base_offset(), opened.count(), opened.next_offset()), (40, 3, 43));
        assert_eq!((opened.index_of(42), opened.index_of(43), opened.index_of(39)), (Some(2), None, None));
        for index in 0..3 {
            let mut out = b"before".to_vec();
            let name = 1 << 62 | u64::from(index);
            opened.write_rocketmq(index, name, &seen("a%2Eb"), &mut out).unwrap();
            // Its place and both of its checksums are right.
            let view = RecordView::check(&out[6..], name, true).unwrap();
            assert_eq!(braid_record::crc31(b"value"), view.body_crc());
            assert_eq!((view.topic(), view.queue_id(), view.body()), ("a%2Eb", QUEUE, &b"value"[..]));
            assert_eq!(view.queue_offset(), 40 + u64::from(index));
            assert_eq!((view.born_timestamp(), view.store_timestamp()), (BORN + i64::from(index), STORED));
            assert_eq!((view.born_host(), view.store_host(), view.sys_flag()), (host(), host(), 0));
            assert_eq!((text(&view, "KEYS"), text(&view, "h"), view.kind()), (Some("k"), Some("x"), None));
            let key = text(&view, "UNIQ_KEY").unwrap();
            assert_eq!(unique::parse(key, &TOPIC_ID), Some((QUEUE, 40 + u64::from(index))));
        }
        // Opened once more, it is remembered.
        crossing.open(&log).unwrap();
        assert_eq!(crossing.decoded_batches(), 1);
    }
}

#[test]
fn a_kafka_record_s_parts_are_properties_as_documented() {
    let out = cross(&record(
        Some("k 1"),
        None,
        &[("rmq.TAGS", Some("TagA")), ("TAGS", Some("no")), ("h", Some("1")), ("h", Some("2")), ("n", None)],
    ));
    let view = RecordView::parse(&out).unwrap();
    let properties: Vec<_> = property::iter(view.properties())
        .map(|(name, value)| [name, b"=", value].concat())
        .map(|pair| String::from_utf8(pair).unwrap())
        .filter(|pair| !pair.starts_with("__CRC32#"))
        .collect();
    assert_eq!(
        properties,
        [
            "UNIQ_KEY=010203044B4200000300000000000028",
            "kafka.tombstone=true",
            "TAGS=TagA",
            "x-kafka-key=ayAx",
            "kafka.TAGS=no",
            "h=1",
            "n;null=null",
        ]
    );
    assert_eq!((view.body(), view.position()), (&b""[..], 77));
    // Without a time of its own a message is born with the record that holds it.
    let out = cross(&KafkaRecord { timestamp: -1, ..record(None, Some(""), &[]) });
    let view = RecordView::parse(&out).unwrap();
    assert_eq!((view.born_timestamp(), text(&view, TOMBSTONE)), (BORN, None));
}

#[test]
fn keys_are_words_and_told_once() {
    let check = |key: Option<&str>,
                 headers: &[(&str, Option<&str>)],
                 keys: Option<&str>,
                 exact: Option<&str>| {
        let out = cross(&record(key, Some("v"), headers));
        let view = RecordView::parse(&out).unwrap();
        assert_eq!((text(&view, "KEYS"), text(&view, "x-kafka-key")), (keys, exact), "{key:?} {headers:?}");
    };
    check(None, &[], None, None);
    check(Some("k"), &[], Some("k"), None);
    check(Some(""), &[], None, Some("="));
    check(Some("a b"), &[], None, Some("YSBi"));
    check(Some("a\u{1}"), &[], None, Some("YQE="));
    check(Some("k"), &[("rmq.KEYS", Some("a b"))], Some("k a b"), None);
    check(Some("a"), &[("rmq.KEYS", Some("a b"))], Some("a b"), None);
    check(Some("s"), &[("rmq.KEYS", Some("a b")), ("rmq.__SHARDINGKEY", Some("s"))], Some("a b"), None);
    check(Some("s 1"), &[("rmq.__SHARDINGKEY", Some("s 1"))], None, None);
    check(Some("k"), &[("rmq.__SHARDINGKEY", Some("s"))], Some("k"), Some("aw=="));
}

#[test]
fn a_record_can_not_pretend_to_be_what_only_rocketmq_makes() {
    let names =
        ["DELAY", "RETRY_TOPIC", "UNIQ_KEY", "INNER_NUM", "__BRAIDK", "__CRC32#", "POP_CK", "TRAN_MSG"];
    let headers: Vec<_> = names.iter().map(|name| (*name, Some("1"))).collect();
    let prefixed: Vec<_> = names.iter().map(|name| format!("rmq.{name}")).collect();
    let all: Vec<_> =
        headers.iter().copied().chain(prefixed.iter().map(|name| (name.as_str(), Some("1")))).collect();
    let out = cross(&record(None, Some("v"), &all));
    let view = RecordView::check(&out, 77, true).unwrap();
    for name in names.iter().filter(|name| !matches!(**name, "UNIQ_KEY" | "__CRC32#")) {
        assert_eq!(text(&view, name), None);
        assert_eq!(text(&view, &format!("kafka.{name}")), Some("1"));
        assert_eq!(text(&view, &format!("rmq.{name}")), Some("1"));
    }
    assert_ne!(text(&view, "UNIQ_KEY"), Some("1"));
}

#[test]
fn what_does_not_fit_into_properties_is_left_out_and_counted() {
    let long = "x".repeat(20_000);
    let out = cross(&record(
        Some("k"),
        Some("v"),
        &[("a", Some(&long)), ("b", Some(&long)), ("c", Some("small")), ("d", Some(&long))],
    ));
    let view = RecordView::check(&out, 77, true).unwrap();
    assert_eq!((text(&view, "a"), text(&view, "b"), text(&view, "d")), (Some(&*long), None, None));
    assert_eq!((text(&view, "c"), text(&view, "kafka.dropped")), (Some("small"), Some("2")));

    // To the last byte, and one byte more.
    let room = PROPERTIES_BYTES_MAX - 20 - 25 - "UNIQ_KEY".len() - 2 - 32 - "a".len() - 2;
    for (len, kept) in [(room, true), (room + 1, false)] {
        let out = cross(&record(None, Some("v"), &[("a", Some(&"x".repeat(len)))]));
        let view = RecordView::check(&out, 77, true).unwrap();
        assert_eq!(text(&view, "a").is_some(), kept, "{len}");
        assert_eq!(text(&view, "kafka.dropped").is_none(), kept, "{len}");
    }
}

#[test]
fn tags_and_keys_are_looked_up_without_a_message() {
    let records = [
        record(Some("k1"), Some("v"), &[("x", None), ("rmq.TAGS", Some("TagA")), ("rmq.TAGS", Some("TagB"))]),
        record(Some("k2"), Some("v"), &[("TAGS", Some("TagA")), ("rmq.KEYS", Some("a b"))]),
    ];
    let opened = Crossing::default().open(&stored_batch(&batch(&records, Compression::Gzip), 2, 0)).unwrap();
    assert_eq!((opened.tag(0), opened.tag(1)), (id::tags_code("TagA"), 0));
    for index in 0..2 {
        assert_eq!(opened.tag(index), rocketmq::tag(&opened.message(index)));
    }
    let found = |key: &str| (0..2).filter(|&index| opened.has_key(index, key)).collect::<Vec<_>>();
    assert_eq!((found("k1"), found("k2"), found("b"), found("a b")), (vec![0], vec![1], vec![1], vec![]));
}

#[test]
fn keys_are_indexed_when_the_record_says_so() {
    let records = [
        record(Some("k1"), None, &[("rmq.KEYS", Some("a b"))]),
        record(Some("no word"), None, &[]),
        record(Some("k1"), None, &[("rmq.KEYS", Some("b c"))]),
    ];
    let bytes = batch(&records, Compression::Zstd);
    let marked = |body: &[u8], properties: &[u8]| {
        let record = stored(&Draft { kind: Some("kafka"), ..draft(body, properties) }, 0);
        keys::indexed(&RecordView::parse(&record).unwrap())
    };
    assert_eq!(marked(&bytes, keys::MARK), ["k1", "a", "b", "c"]);
    assert_eq!(marked(&bytes, b""), [""; 0]);
    assert_eq!(marked(b"no batch", keys::MARK), [""; 0]);
    // At the bound and one past it.
    for (count, indexed) in [(keys::KEYS_MAX, keys::KEYS_MAX), (keys::KEYS_MAX + 1, keys::KEYS_MAX)] {
        let many: Vec<_> = (0..count).map(|i| record(Some(&format!("k{i}")), None, &[])).collect();
        assert_eq!(marked(&batch(&many, Compression::None), keys::MARK).len(), indexed);
    }
}

#[test]
fn a_batch_that_can_not_be_read_is_one_message() {
    let sound = batch(&[record(None, Some("v"), &[]), record(None, Some("w"), &[])], Compression::Zstd);
    let mut broken = sound.clone();
    broken[61] ^= 0xFF;
    let mut bomb = sound[..61].to_vec();
    bomb.extend(compress(Compression::Zstd, &vec![0; DECOMPRESSED_BYTES_MAX + 1]));
    let length = bomb.len() as u32 - 12;
    bomb[8..12].copy_from_slice(&length.to_be_bytes());
    for (bytes, reason) in [(broken, "zstd"), (bomb, "more than 67108864 bytes")] {
        let opened = Crossing::default().open(&stored_batch(&bytes, 2, 40)).unwrap();
        assert!(opened.unreadable().is_some_and(|text| text.contains(reason)), "{:?}", opened.unreadable());
        assert_eq!((opened.behind(0), opened.behind(1), opened.tag(1)), (2, 2, 0));
        let mut out = Vec::new();
        opened.write_rocketmq(1, 5, &seen("Orders"), &mut out).unwrap();
        let view = RecordView::check(&out, 5, true).unwrap();
        // The log's bytes: with the base offset in place.
        assert_eq!((&view.body()[..8], &view.body()[8..]), (&40u64.to_be_bytes()[..], &bytes[8..]));
        assert_eq!(view.queue_offset(), 41);
        assert!(text(&view, "kafka.unreadable").is_some_and(|text| text.contains(reason)));
        assert_eq!(view.born_timestamp(), BORN);
    }
    let opened = Crossing::default().open(&stored_batch(&sound, 2, 40)).unwrap();
    assert_eq!((opened.unreadable(), opened.behind(0), opened.behind(1)), (None, 1, 2));
}

#[test]
fn records_that_hold_no_such_batch_do_not_cross() {
    let two = batch(&[KafkaRecord::default(), KafkaRecord::default()], Compression::None);
    let crossing = Crossing::default();
    assert!(matches!(
        crossing.open(&stored_batch(&two, 3, 0)),
        Err(CrossError::Span { record: 3, batch: 2 })
    ));
    assert!(matches!(crossing.open(&stored_batch(b"no batch", 1, 0)), Err(CrossError::Batch(_))));
    let message = stored(&draft(b"x", b""), 0);
    assert!(matches!(crossing.open(&message), Err(CrossError::Kind(_))));
    assert!(matches!(crossing.pack(&[], &PACKING), Err(CrossError::Nothing)));
    let kafka = stored_batch(&two, 2, 0);
    assert_eq!(crossing.pack(&[kafka], &PACKING), Err(CrossError::Kind("kafka".into())));
    assert!(matches!(crossing.pack(&[Bytes::from_static(b"junk")], &PACKING), Err(CrossError::Record(_))));
    assert_eq!((crossing.decoded_batches(), crossing.packed_batches()), (0, 0));
}

#[test]
fn consecutive_messages_are_one_batch_that_is_the_same_each_time() {
    let properties = b"TAGS\x01TagA\x02KEYS\x01a b\x02UNIQ_KEY\x01U\x02own\x01x\x02h;base64\x01/w==\x02";
    let records: Vec<_> = (40..43).map(|offset| stored(&draft(b"hello", properties), offset)).collect();
    let packed = Crossing::default().pack(&records, &PACKING).unwrap();
    assert_eq!((packed.first_offset, packed.count, packed.next_offset()), (40, 3, 43));
    assert!(!packed.closed);
    let view = BatchView::parse(&packed.batch).unwrap();
    assert_eq!((view.base_offset(), view.attributes(), view.max_timestamp()), (40, 0, BORN));
    let header = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), Some(value.to_vec()));
    let expected = KafkaRecord {
        timestamp: BORN,
        key: Some(b"a".to_vec()),
        value: Some(b"hello".to_vec()),
        headers: vec![
            header("rmq.TAGS", b"TagA"),
            header("rmq.KEYS", b"a b"),
            header("rmq.UNIQ_KEY", b"U"),
            header("own", b"x"),
            header("h", &[0xFF]),
        ],
    };
    assert_eq!(unpack(&packed.batch), vec![expected; 3]);
    let again = Crossing::default().pack(&records, &PACKING).unwrap();
    assert_eq!(again.batch, packed.batch);
}

#[test]
fn a_batch_ends_at_its_limits_at_a_gap_and_before_what_is_not_rocketmq_s() {
    let message = |offset| stored(&draft(&[b'x'; 1000], b""), offset);
    let records: Vec<_> = (0..4).map(message).collect();
    let count = |records: &[Bytes], packing: Packing| {
        let packed = Crossing::default().pack(records, &packing).unwrap();
        (packed.count, packed.closed)
    };
    assert_eq!(count(&records, PACKING), (4, false));
    assert_eq!(count(&records, Packing { records_max: 4, ..PACKING }), (4, false));
    assert_eq!(count(&records, Packing { records_max: 3, ..PACKING }), (3, true));
    assert_eq!(count(&records, Packing { bytes_max: 1, ..PACKING }), (1, true));
    assert_eq!(count(&records, Packing { bytes_max: 2_500, ..PACKING }), (2, true));
    assert_eq!(count(&[message(0), message(1), message(3)], PACKING), (2, true));
    let kafka = stored_batch(&batch(&[KafkaRecord::default()], Compression::None), 1, 1);
    assert_eq!(count(&[message(0), kafka], PACKING), (1, true));
}

#[test]
fn a_packed_batch_is_remembered_until_there_is_more() {
    let crossing = Crossing::default();
    let records: Vec<_> = (0..3).map(|offset| stored(&draft(b"x", b""), offset)).collect();
    assert_eq!(crossing.pack(&records[..2], &PACKING).unwrap().count, 2);
    assert_eq!(crossing.pack(&records[..2], &PACKING).unwrap().count, 2);
    assert_eq!(crossing.packed_batches(), 1);
    assert_eq!(crossing.pack(&records, &PACKING).unwrap().count, 3);
    assert_eq!(crossing.packed_batches(), 2);
    // What a larger request left behind is too much for a smaller one.
    assert_eq!(crossing.pack(&records, &Packing { records_max: 1, ..PACKING }).unwrap().count, 1);
    assert!(crossing.cache_bytes() > 0);
}

#[test]
fn bodies_that_a_client_compressed_are_plain_for_kafka() {
    let plain = b"plain ".repeat(1_000);
    let zlib = {
        use std::io::Write as _;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(5));
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = compress(Compression::Lz4, &plain);
    let zstd = compress(Compression::Zstd, &plain);
    for (bits, body) in [(0, &zlib), (0x300, &zlib), (0x100, &lz4), (0x200, &zstd)] {
        let draft = Draft { sys_flag: sysflag::COMPRESSED | bits, ..draft(body, b"") };
        let packed = Crossing::default().pack(&[stored(&draft, 0)], &PACKING).unwrap();
        assert_eq!(unpack(&packed.batch)[0].value.as_deref(), Some(&plain[..]), "{bits:#x}");
    }
    // What does not decompress is handed on, and says so.
    let draft = Draft { sys_flag: sysflag::COMPRESSED | 0x200, ..draft(b"no zstd", b"") };
    let records = unpack(&Crossing::default().pack(&[stored(&draft, 0)], &PACKING).unwrap().batch);
    assert_eq!(records[0].value.as_deref(), Some(&b"no zstd"[..]));
    assert_eq!(records[0].headers, [(b"rmq.compression".to_vec(), Some(b"zstd".to_vec()))]);
}

#[test]
fn a_rocketmq_message_s_key_and_tombstone_are_kafka_s() {
    let check = |properties: &[u8], key: Option<&str>, value: Option<&str>| {
        let records = unpack(
            &Crossing::default().pack(&[stored(&draft(b"v", properties), 0)], &PACKING).unwrap().batch,
        );
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        assert_eq!((&records[0].key, &records[0].value), (&bytes(key), &bytes(value)));
        assert!(
            records[0]
                .headers
                .iter()
                .all(|(name, _)| !name.starts_with(b"__") && !name.starts_with(b"INNER"))
        );
    };
    check(b"", None, Some("v"));
    check(b"KEYS\x01 a b\x02", Some("a"), Some("v"));
    check(b"KEYS\x01a\x02__SHARDINGKEY\x01s 1\x02", Some("s 1"), Some("v"));
    check(b"__SHARDINGKEY\x01s\x02x-kafka-key\x01=\x02", Some(""), Some("v"));
    check(b"kafka.tombstone\x01true\x02INNER_NUM\x0100005\x02", None, None);
    check(b"kafka.tombstone\x01no\x02", None, Some("v"));
}

const KNOWN: [&str; 18] = [
    "TAGS",
    "KEYS",
    "rmq.TAGS",
    "rmq.KEYS",
    "rmq.__SHARDINGKEY",
    "rmq.DELAY",
    "kafka.tombstone",
    "kafka.",
    "kafka.%41",
    "x-kafka-key",
    "x;base64",
    "x;null",
    "__CRC32#",
    "__BRAIDT",
    "INNER_NUM",
    "",
    "a%b",
    "h",
];

/// Names that mean something, and names that mean nothing.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(&KNOWN[..]).prop_map(|name| name.as_bytes().to_vec()),
        "[a-z]{1,3}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..6),
    ]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-c ]{0,4}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..20)]
}

fn any_record() -> impl Strategy<Value = KafkaRecord> {
    let headers = proptest::collection::vec((any_name(), proptest::option::of(any_value())), 0..8);
    (0..i64::MAX, proptest::option::of(any_value()), proptest::option::of(any_value()), headers)
        .prop_map(|(timestamp, key, value, headers)| KafkaRecord { timestamp, key, value, headers })
}

/// The application's attributes, the first of each name.
fn firsts(message: &Message<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut kept: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    for attribute in message.attributes.iter().filter(|attribute| attribute.origin == Origin::Application) {
        if kept.iter().all(|(name, _)| *name != *attribute.name) {
            kept.push((attribute.name.to_vec(), attribute.value.as_deref().map(<[u8]>::to_vec)));
        }
    }
    kept
}

fn of_rocketmq(message: &Message<'_>, name: &str) -> Option<Vec<u8>> {
    message
        .attribute(Origin::RocketMq, name)
        .and_then(|attribute| attribute.value.as_deref().map(<[u8]>::to_vec))
}

proptest! {
    #[test]
    fn what_kafka_sent_survives_rocketmq(record in any_record()) {
        let bytes = batch(std::slice::from_ref(&record), Compression::None);
        let view = BatchView::parse(&bytes).unwrap();
        let sent = kafka::read(&view.record_at(view.stored_payload(), 0).unwrap());
        let out = cross(&record);
        let back = rocketmq::read(&RecordView::check(&out, 77, true).unwrap());
        prop_assert_eq!(back.timestamp, sent.timestamp);
        prop_assert_eq!(&back.body, &sent.body);
        prop_assert_eq!(firsts(&back), firsts(&sent));
        for name in ["TAGS", "__SHARDINGKEY"] {
            prop_assert_eq!(of_rocketmq(&back, name), of_rocketmq(&sent, name), "{}", name);
        }
        // A null key beside keys for RocketMQ gets one; every other key is exact.
        if sent.key.is_some() || of_rocketmq(&sent, "KEYS").or(of_rocketmq(&sent, "__SHARDINGKEY")).is_none() {
            prop_assert_eq!(&back.key, &sent.key);
        }
        // And once it is RocketMQ's, it is the same for ever.
        let envelope = Envelope {
            topic: "Orders", queue_id: QUEUE, offset: 40, position: 77, born_timestamp: BORN, born_host: host(),
            store_timestamp: STORED, store_host: host(), unique_key: "U",
        };
        let mut again = Vec::new();
        rocketmq::write(&back, &envelope, &mut again).unwrap();
        let again = rocketmq::read(&RecordView::check(&again, 77, true).unwrap());
        prop_assert_eq!((&again.key, &again.body, firsts(&again)), (&back.key, &back.body, firsts(&back)));
    }

    #[test]
    fn what_rocketmq_sent_survives_kafka(
        body in any_value(),
        tags in proptest::option::of("[a-zA-Z]{1,5}"),
        keys in proptest::option::of("[a-z]{1,3}( [a-z]{1,3}){0,2}"),
        sharding_key in proptest::option::of("[a-z ]{1,3}"),
        user in proptest::collection::btree_map("[a-z_]{1,6}", "[^\u{1}\u{2}]{1,8}", 0..5),
    ) {
        let mut properties = Vec::new();
        for (name, value) in [("TAGS", &tags), ("KEYS", &keys), ("__SHARDINGKEY", &sharding_key)] {
            value.iter().for_each(|value| property::push(&mut properties, name, value));
        }
        user.iter().for_each(|(name, value)| property::push(&mut properties, name, value));
        let sent = stored(&draft(&body, &properties), 0);
        let packed = Crossing::default().pack(&[sent], &PACKING).unwrap();
        let out = cross(&unpack(&packed.batch)[0]);
        let view = RecordView::check(&out, 77, true).unwrap();
        prop_assert_eq!(view.body(), &body[..]);
        prop_assert_eq!(view.born_timestamp(), BORN);
        for (name, value) in [("TAGS", &tags), ("KEYS", &keys), ("__SHARDINGKEY", &sharding_key)] {
            prop_assert_eq!(text(&view, name), value.as_deref(), "{}", name);
        }
        for (name, value) in &user {
            prop_assert_eq!(text(&view, name), Some(value.as_str()), "{}", name);
        }
    }
}
