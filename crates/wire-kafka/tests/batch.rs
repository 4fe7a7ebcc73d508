//! Batches that real clients made, and batches that come back as they were written.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

use braid_wire_kafka::batch::{
    BatchHead, BatchView, BatchWriter, Compression, DECOMPRESSED_BYTES_MAX, Header, Record, RecordDraft,
    Rules, patch_base_offset, patch_leader_epoch, set_log_append_time, validate,
};
use proptest::prelude::*;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

const NOW: i64 = 1_700_000_000_500;

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn owned(record: &Record<'_>) -> OwnedRecord {
    let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let headers = record.headers.into_iter().map(|header| (header.key.to_vec(), bytes(header.value)));
    (record.timestamp, bytes(record.key), bytes(record.value), headers.collect())
}

fn read(batch: &[u8]) -> Vec<OwnedRecord> {
    let view = BatchView::parse(batch).unwrap();
    let payload = view.payload(DECOMPRESSED_BYTES_MAX).unwrap();
    view.records(&payload).map(|record| owned(&record.unwrap())).collect()
}

fn write(head: BatchHead, records: &[OwnedRecord]) -> Vec<u8> {
    let mut writer = BatchWriter::new(head);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let (key, value) = (key.as_deref(), value.as_deref());
        writer.push(&RecordDraft { timestamp: *timestamp, key, value, headers: &headers });
    }
    writer.finish()
}

/// What the clients were given; only kafka-python takes a header without a name.
fn clients_records(client: &str) -> Vec<OwnedRecord> {
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let headers =
        vec![(b"h1".to_vec(), some("x")), (b"h1".to_vec(), Some(vec![0xFF, 0])), (b"nul".to_vec(), None)];
    let nameless = if client.starts_with("kafka-python") { vec![(Vec::new(), some(""))] } else { Vec::new() };
    vec![
        (1_700_000_000_000, some("k0"), some("v0"), Vec::new()),
        (1_700_000_000_007, None, some(&"a longer value, ".repeat(20)), headers),
        (1_699_999_999_990, some(""), None, nameless),
        (1_700_000_000_001, some("k3"), some(""), Vec::new()),
    ]
}

#[test]
fn batches_of_real_clients_are_taken_in_and_read() {
    let mut seen = Vec::new();
    for line in include_str!("batches/clients.txt").lines().filter(|line| !line.starts_with('#')) {
        let [client, codec, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes = unhex(hex);
        let rules = Rules { look_inside: true, ..Rules::new(NOW) };
        let summary = validate(&bytes, &rules).unwrap_or_else(|error| panic!("{client} {codec}: {error}"));
        assert_eq!((summary.count, summary.compression.name()), (4, codec), "{client}");
        assert_eq!(summary.max_timestamp, 1_700_000_000_007, "{client} {codec}");
        assert_eq!(summary.producer.is_some(), client.ends_with("idempotent"), "{client}");
        assert_eq!(read(&bytes), clients_records(client), "{client} {codec}");
        if codec == "none" {
            // Uncompressed, there is one way to write a batch.
            let view = BatchView::parse(&bytes).unwrap();
            let head = BatchHead {
                leader_epoch: view.leader_epoch(),
                producer_id: view.producer_id(),
                producer_epoch: view.producer_epoch(),
                base_sequence: view.base_sequence(),
                ..BatchHead::default()
            };
            assert_eq!(write(head, &clients_records(client)), bytes, "{client}");
        }
        seen.push((client, summary.compression));
    }
    for client in ["kafka-python", "librdkafka"] {
        for codec in Compression::ALL {
            assert!(seen.contains(&(client, codec)), "no batch of {client} in {codec:?}");
        }
    }
}

#[test]
fn what_a_broker_patches_leaves_the_records_alone() {
    let mut bytes = write(BatchHead::default(), &clients_records("kafka-python"));
    let crc = BatchView::parse(&bytes).unwrap().computed_crc();
    patch_base_offset(&mut bytes, 7_000_000_000);
    patch_leader_epoch(&mut bytes, 9);
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!((view.base_offset(), view.leader_epoch()), (7_000_000_000, 9));
    assert_eq!((view.stored_crc(), view.computed_crc()), (crc, crc));

    set_log_append_time(&mut bytes, NOW);
    let view = BatchView::parse(&bytes).unwrap();
    assert_ne!(view.stored_crc(), crc);
    assert_eq!(view.stored_crc(), view.computed_crc());
    assert!(view.is_log_append_time());
    let expected: Vec<_> = clients_records("kafka-python")
        .into_iter()
        .map(|record| (NOW, record.1, record.2, record.3))
        .collect();
    assert_eq!(read(&bytes), expected);
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..200)
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let header = (any_bytes(), proptest::option::of(any_bytes()));
    let headers = proptest::collection::vec(header, 0..5);
    (any::<i64>(), proptest::option::of(any_bytes()), proptest::option::of(any_bytes()), headers)
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_in_every_codec(
        records in proptest::collection::vec(any_record(), 1..20),
        codec in proptest::sample::select(&Compression::ALL[..]),
        base_offset in 0..i64::MAX / 2,
        leader_epoch: i32,
    ) {
        let bytes = write(BatchHead { base_offset, leader_epoch, compression: codec, ..BatchHead::default() }, &records);
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(view.stored_crc(), view.computed_crc());
        prop_assert_eq!((view.base_offset(), view.leader_epoch()), (base_offset, leader_epoch));
        prop_assert_eq!((view.compression(), view.count()), (Some(codec), records.len() as i32));
        prop_assert_eq!(view.max_timestamp(), records.iter().map(|record| record.0).max().unwrap());
        prop_assert_eq!(read(&bytes), records);
    }
}
