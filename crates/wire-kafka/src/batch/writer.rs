//! Making batches, and the few bytes that a broker changes in one.

use super::varint::{put_varint, put_varlong, varlong_len};
use super::{
    ATTRIBUTES_AT, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, BATCH_HEAD_BYTES, COUNT_AT, CRC_AT, Compression,
    Header, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, LENGTH_FIELD_END, LOG_APPEND_TIME, MAGIC, MAGIC_AT,
    MAX_TIMESTAMP_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, be16, compress,
};

/// What a batch has besides its records. The default is a producer's batch without idempotence.
#[derive(Debug, Clone, Copy)]
pub struct BatchHead {
    /// The first record's offset.
    pub base_offset: i64,
    /// The leader's epoch; -1 for none.
    pub leader_epoch: i32,
    /// The codec.
    pub compression: Compression,
    /// The idempotent producer; -1 for none.
    pub producer_id: i64,
    /// Its epoch; -1 for none.
    pub producer_epoch: i16,
    /// The first record's sequence; -1 for none.
    pub base_sequence: i32,
}

impl Default for BatchHead {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct RecordDraft<'a> {
    /// Milliseconds.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
}

/// Packs records into one batch. The same records give the same bytes.
#[derive(Debug, Clone)]
pub struct BatchWriter {
    head: BatchHead,
    /// Room for the head, then the records, plain.
    bytes: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchWriter {
    /// A batch without records.
    pub fn new(head: BatchHead) -> Self {
        let bytes = vec![0; BATCH_HEAD_BYTES];
        Self { head, bytes, count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Records so far.
    pub fn count(&self) -> u32 {
        self.count as u32
    }

    /// Bytes of the batch so far, if it is not compressed.
    #[allow(clippy::len_without_is_empty, reason = "a batch has a head, see count")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds one record.
    ///
    /// # Panics
    /// When a part of the record, or the record, has 2 GiB or more.
    pub fn push(&mut self, record: &RecordDraft<'_>) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        // A distance of more than 64 bits comes back right, because the reader's sum wraps as well.
        let timestamp = record.timestamp.wrapping_sub(self.base_timestamp);
        let len = body_len(record, timestamp, self.count);
        let out = &mut self.bytes;
        put_varint(out, i32::try_from(len).expect("a record is shorter than 2 GiB"));
        let body_at = out.len();
        out.push(0);
        put_varlong(out, timestamp);
        put_varint(out, self.count);
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        put_varint(out, record.headers.len() as i32);
        for header in record.headers {
            put_nullable(out, Some(header.key));
            put_nullable(out, header.value);
        }
        assert_eq!(out.len() - body_at, len, "the length was computed from the same record");
        self.count += 1;
    }

    /// The batch.
    ///
    /// # Panics
    /// When the batch has no record, or 2 GiB.
    pub fn finish(mut self) -> Vec<u8> {
        assert!(self.count > 0, "a batch without records is not written");
        if self.head.compression != Compression::None {
            let packed = compress(self.head.compression, &self.bytes[BATCH_HEAD_BYTES..]);
            self.bytes.truncate(BATCH_HEAD_BYTES);
            self.bytes.extend_from_slice(&packed);
        }
        let length =
            i32::try_from(self.bytes.len() - LENGTH_FIELD_END).expect("a batch is shorter than 2 GiB");
        let bytes = self.bytes.as_mut_slice();
        put(bytes, 0, self.head.base_offset.to_be_bytes());
        put(bytes, 8, length.to_be_bytes());
        put(bytes, LEADER_EPOCH_AT, self.head.leader_epoch.to_be_bytes());
        put(bytes, MAGIC_AT, MAGIC.to_be_bytes());
        put(bytes, ATTRIBUTES_AT, self.head.compression.bits().to_be_bytes());
        put(bytes, LAST_OFFSET_DELTA_AT, (self.count - 1).to_be_bytes());
        put(bytes, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(bytes, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(bytes, PRODUCER_ID_AT, self.head.producer_id.to_be_bytes());
        put(bytes, PRODUCER_EPOCH_AT, self.head.producer_epoch.to_be_bytes());
        put(bytes, BASE_SEQUENCE_AT, self.head.base_sequence.to_be_bytes());
        put(bytes, COUNT_AT, self.count.to_be_bytes());
        put_crc(bytes);
        self.bytes
    }
}

/// Sets the base offset; the checksum does not cover it.
///
/// # Panics
/// When `batch` is no batch that was parsed before.
pub fn patch_base_offset(batch: &mut [u8], base_offset: i64) {
    put(batch, 0, base_offset.to_be_bytes());
}

/// Sets the leader's epoch; the checksum does not cover it.
///
/// # Panics
/// When `batch` is no batch that was parsed before.
pub fn patch_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    put(batch, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}

/// Gives all records the broker's time: sets the attribute and the newest time, and the checksum, which covers both.
/// The records themselves stay as they are; readers take the newest time for each.
///
/// # Panics
/// When `batch` is not exactly a batch that was parsed before.
pub fn set_log_append_time(batch: &mut [u8], now: i64) {
    let attributes = be16(batch, ATTRIBUTES_AT) | LOG_APPEND_TIME;
    put(batch, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP_AT, now.to_be_bytes());
    put_crc(batch);
}

fn put_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    put(batch, CRC_AT, crc.to_be_bytes());
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn body_len(record: &RecordDraft<'_>, timestamp: i64, offset_delta: i32) -> usize {
    let nullable = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => varlong_len(bytes.len() as i64) + bytes.len(),
        None => 1,
    };
    let headers = record.headers.iter().map(|header| nullable(Some(header.key)) + nullable(header.value));
    1 + varlong_len(timestamp)
        + varlong_len(i64::from(offset_delta))
        + nullable(record.key)
        + nullable(record.value)
        + varlong_len(record.headers.len() as i64)
        + headers.sum::<usize>()
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return put_varint(out, -1) };
    put_varint(out, i32::try_from(bytes.len()).expect("a part of a record is shorter than 2 GiB"));
    out.extend_from_slice(bytes);
}
