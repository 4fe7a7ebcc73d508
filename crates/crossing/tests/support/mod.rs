//! Records of a log, made by hand.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;

use braid_record::{Draft, Stamp, TargetSlot, encode};
use braid_wire_kafka::batch::{BatchHead, BatchWriter, Compression, Header, PAYLOAD_KIND, RecordDraft};
use bytes::Bytes;

pub(crate) type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KafkaRecord {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<OwnedHeader>,
}

pub(crate) fn host() -> SocketAddr {
    "10.1.2.3:4567".parse().unwrap()
}

/// Where the record lies and what it is born with, besides its parts.
pub(crate) const POSITION: u64 = 64 * 1000;
pub(crate) const BORN: i64 = 1_700_000_000_000;
pub(crate) const STORED: i64 = 1_700_000_000_123;
pub(crate) const QUEUE: u32 = 3;

/// A stored record of queue [`QUEUE`] at [`POSITION`].
pub(crate) fn stored(draft: &Draft<'_>, queue_offset: u64) -> Bytes {
    let mut bytes = Vec::new();
    let encoded = encode(draft, &mut bytes).unwrap();
    let offsets = vec![queue_offset; draft.targets.len()];
    let stamp = Stamp { queue_offset, position: POSITION, store_timestamp: STORED, slot_offsets: &offsets };
    encoded.stamp(&mut bytes, &stamp);
    bytes.into()
}

pub(crate) fn draft<'a>(body: &'a [u8], properties: &'a [u8]) -> Draft<'a> {
    Draft {
        topic: "Orders",
        queue_id: QUEUE,
        flag: 0,
        sys_flag: 0,
        born_timestamp: BORN,
        born_host: host(),
        store_host: host(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    }
}

pub(crate) fn batch(records: &[KafkaRecord], compression: Compression) -> Vec<u8> {
    let mut writer = BatchWriter::new(BatchHead { compression, ..BatchHead::default() });
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        writer.push(&RecordDraft {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    writer.finish()
}

/// A batch as the log holds it.
pub(crate) fn stored_batch(batch: &[u8], count: u32, base: u64) -> Bytes {
    let slot = TargetSlot { topic: 1, queue_id: QUEUE, first_offset: 0, count };
    let targets = [slot];
    let draft = Draft {
        kind: Some(PAYLOAD_KIND),
        targets: if count > 1 { &targets } else { &[] },
        batch: (batch.len() >= 61).then_some(count),
        ..draft(batch, b"")
    };
    stored(&draft, base)
}
