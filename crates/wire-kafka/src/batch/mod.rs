//! Record batches, version 2: what producers send, what the log keeps, what consumers get.
//!
//! ```text
//!  0 base offset 8 │ length 4 │ leader epoch 4 │ magic 1 = 2 │ crc 4 │ attributes 2 │ last offset delta 4
//! 27 base timestamp 8 │ max timestamp 8 │ producer id 8 │ producer epoch 2 │ base sequence 4 │ count 4 │ 61 records
//!                                                         └── the CRC-32C covers everything from 21 on ──►
//!    a record: varint length │ attributes 1 │ varlong Δtimestamp │ varint Δoffset
//!              │ varint len, key │ varint len, value │ varint count, headers: varint len, key, varint len, value
//! ```
//!
//! The base offset and the leader epoch lie outside the checksum: a broker patches these twelve bytes and keeps all
//! others. A length of -1 is null (a value, a key, a header's value).
//!
//! * [`BatchView`]: a borrowed reader that trusts no length. [`validate`]: the rules of a broker that takes a batch in.
//! * [`BatchView::payload`] and [`BatchView::records`]: the records, decompressed with a limit.
//! * [`patch_base_offset`], [`patch_leader_epoch`], [`set_log_append_time`]: what a broker changes.
//! * [`BatchWriter`]: new batches.
//!
//! Messages of magic 0 and 1 are recognised and refused; nothing reads or writes them.

mod compression;
mod records;
mod validate;
pub mod varint;
mod writer;

use std::borrow::Cow;

pub use compression::{
    Compression, DECOMPRESSED_BYTES_MAX, DecompressError, compress, compress_raw_snappy, decompress,
};
pub use records::{Header, Headers, Record, RecordError, Records};
pub use validate::{BatchError, BatchSummary, ProducerSpan, Rules, validate};
pub use writer::{
    BatchHead, BatchWriter, RecordDraft, patch_base_offset, patch_leader_epoch, set_log_append_time,
};

/// The payload kind of a record whose body is a batch.
pub const PAYLOAD_KIND: &str = "kafka";
/// Bytes before the first record.
pub const BATCH_HEAD_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
pub const LENGTH_FIELD_END: usize = 12;
/// The only magic that is read and written.
pub const MAGIC: i8 = 2;
/// The attribute that says that all records have the time at which the broker appended them.
pub const LOG_APPEND_TIME: i16 = 1 << 3;
/// The attribute of a batch that belongs to a transaction.
pub const TRANSACTIONAL: i16 = 1 << 4;
/// The attribute of a batch with a marker in it, which consumers do not see.
pub const CONTROL: i16 = 1 << 5;
/// The attribute that makes the base timestamp a compaction's horizon.
pub const DELETE_HORIZON: i16 = 1 << 6;

const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// Why bytes have not even the shape of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The bytes end inside the batch.
    #[error("{have} bytes are not the {need} of a batch")]
    Truncated {
        /// Bytes that were given.
        have: usize,
        /// Bytes that the batch has, as far as that is known.
        need: usize,
    },
    /// Another magic than 2.
    #[error("magic {0} is not served, only version 2 batches are")]
    Magic(i8),
    /// The length field is too small for a batch's head.
    #[error("a batch length of {0} has no room for the head")]
    Length(i32),
}

/// The size of the batch that begins at `bytes[0]`, its first twelve bytes included; `None` when fewer than twelve bytes
/// are given or the length is negative. Nothing else is looked at.
pub fn batch_len(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    usize::try_from(length).ok().map(|length| LENGTH_FIELD_END + length)
}

/// A batch's bytes with its head's fields. Cheap to make: nothing is copied and no checksum is computed.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Finds the batch that begins at `bytes[0]`; bytes behind it are left alone.
    ///
    /// # Errors
    /// When the bytes end early, the magic is not 2 or the length leaves no room for a head.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ShapeError> {
        let truncated = |need| ShapeError::Truncated { have: bytes.len(), need };
        // Old messages are shorter than a batch's head, but have their magic in the same place.
        let magic = *bytes.get(MAGIC_AT).ok_or(truncated(BATCH_HEAD_BYTES))? as i8;
        if magic != MAGIC {
            return Err(ShapeError::Magic(magic));
        }
        let length = be32(bytes, 8);
        match batch_len(bytes) {
            Some(len) if len >= BATCH_HEAD_BYTES => {
                Ok(Self { bytes: bytes.get(..len).ok_or(truncated(len))? })
            }
            _ => Err(ShapeError::Length(length)),
        }
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the batch.
    #[allow(clippy::len_without_is_empty, reason = "no batch is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The offset of the first record; 0 from a producer.
    pub fn base_offset(&self) -> i64 {
        be64(self.bytes, 0)
    }

    /// The epoch of the leader that appended the batch.
    pub fn leader_epoch(&self) -> i32 {
        be32(self.bytes, LEADER_EPOCH_AT)
    }

    /// The CRC-32C that the batch carries.
    pub fn stored_crc(&self) -> u32 {
        be32(self.bytes, CRC_AT) as u32
    }

    /// The CRC-32C that its bytes give.
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..])
    }

    /// Codec and flags, undivided.
    pub fn attributes(&self) -> i16 {
        be16(self.bytes, ATTRIBUTES_AT)
    }

    /// The codec; `None` for a number that no one has defined.
    pub fn compression(&self) -> Option<Compression> {
        Compression::of_attributes(self.attributes())
    }

    /// True when all records have the batch's [`max_timestamp`](Self::max_timestamp).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME != 0
    }

    /// True for a batch with a marker, which consumers do not see.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    /// The last record's offset less the base offset.
    pub fn last_offset_delta(&self) -> i32 {
        be32(self.bytes, LAST_OFFSET_DELTA_AT)
    }

    /// The time from which the records' times are counted: the first record's, in milliseconds.
    pub fn base_timestamp(&self) -> i64 {
        be64(self.bytes, BASE_TIMESTAMP_AT)
    }

    /// The newest time in the batch, in milliseconds; -1 for none.
    pub fn max_timestamp(&self) -> i64 {
        be64(self.bytes, MAX_TIMESTAMP_AT)
    }

    /// The idempotent producer; -1 for none.
    pub fn producer_id(&self) -> i64 {
        be64(self.bytes, PRODUCER_ID_AT)
    }

    /// The producer's epoch; -1 for none.
    pub fn producer_epoch(&self) -> i16 {
        be16(self.bytes, PRODUCER_EPOCH_AT)
    }

    /// The first record's sequence number; -1 for none.
    pub fn base_sequence(&self) -> i32 {
        be32(self.bytes, BASE_SEQUENCE_AT)
    }

    /// How many records the batch says that it has.
    pub fn count(&self) -> i32 {
        be32(self.bytes, COUNT_AT)
    }

    /// The records as they came: compressed, when there is a codec.
    pub fn stored_payload(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEAD_BYTES..]
    }

    /// The records' plain bytes, borrowed when they are not compressed. At most `limit` bytes are decompressed.
    ///
    /// # Errors
    /// When the codec is unknown, the bytes are not the codec's or would be too many.
    pub fn payload(&self, limit: usize) -> Result<Cow<'a, [u8]>, RecordError> {
        match self.compression().ok_or(RecordError::UnknownCodec(self.attributes() & 7))? {
            Compression::None => Ok(Cow::Borrowed(self.stored_payload())),
            codec => Ok(Cow::Owned(decompress(codec, self.stored_payload(), limit)?)),
        }
    }

    /// The record that begins at a byte of `payload`, as a walk found it; `None` when none begins there.
    pub fn record_at<'p>(&self, payload: &'p [u8], at: usize) -> Option<Record<'p>> {
        Records::new(payload.get(at..)?, 1, self.base_timestamp(), self.append_time()).next()?.ok()
    }

    /// The records in `payload`, which is this batch's own [`payload`](Self::payload).
    pub fn records<'p>(&self, payload: &'p [u8]) -> Records<'p> {
        Records::new(payload, self.count(), self.base_timestamp(), self.append_time())
    }

    /// The time of all records, when the broker gave it.
    fn append_time(&self) -> Option<i64> {
        self.is_log_append_time().then(|| self.max_timestamp())
    }
}

fn be16(bytes: &[u8], at: usize) -> i16 {
    let mut word = [0; 2];
    word.copy_from_slice(&bytes[at..at + 2]);
    i16::from_be_bytes(word)
}

fn be32(bytes: &[u8], at: usize) -> i32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(word)
}

fn be64(bytes: &[u8], at: usize) -> i64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(word)
}
