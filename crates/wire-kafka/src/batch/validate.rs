//! What a broker demands of a batch that a client sends.
//!
//! The rules and their error codes are those of Apache Kafka 4.3 (`ProduceRequest.validateRecords`, `UnifiedLog`,
//! `LogValidator`), in its order, and a little stricter where nothing sound is lost: the delete-horizon bit is refused,
//! and so is everything transactional, which is not served.
//!
//! Kafka decompresses every batch to look at its records' offsets. Here an uncompressed batch is walked (a few
//! nanoseconds a record, less than its checksum costs), while a compressed one is looked into only when
//! [`Rules::look_inside`] asks: its checksum holds, and what a producer put in is what its own consumers get.

use super::{
    BatchView, CONTROL, Compression, DECOMPRESSED_BYTES_MAX, DELETE_HORIZON, LOG_APPEND_TIME, Record,
    RecordError, ShapeError, TRANSACTIONAL,
};
use crate::error_code;

/// What a topic and a request demand of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Longest batch, compressed as it is (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// The broker's time, in milliseconds.
    pub now: i64,
    /// How far behind `now` a record's time may lie (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far ahead of `now` a record's time may lie (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
    /// The topic replaces the records' times by its own (`message.timestamp.type=LogAppendTime`), so they may be
    /// anything.
    pub log_append_time: bool,
    /// The request's version knows zstd (Produce 7 and later).
    pub zstd_known: bool,
    /// Compressed batches are decompressed and walked, too. At most [`DECOMPRESSED_BYTES_MAX`] bytes each.
    pub look_inside: bool,
}

impl Rules {
    /// Kafka's defaults: 1 MiB and the length of a batch's first part, any past, one hour of future.
    pub fn new(now: i64) -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            now,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            log_append_time: false,
            zstd_known: true,
            look_inside: false,
        }
    }
}

/// What an append needs to know of a batch that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSummary {
    /// Records, and so offsets, at least 1.
    pub count: u32,
    /// The newest time, in milliseconds; -1 for none.
    pub max_timestamp: i64,
    /// The codec.
    pub compression: Compression,
    /// The idempotent producer, if there is one.
    pub producer: Option<ProducerSpan>,
}

/// Which sequence numbers of which producer a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerSpan {
    /// The producer, not negative.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The first record's number, not negative.
    pub first_sequence: i32,
    /// The last record's number; below the first when the numbers wrapped behind `i32::MAX`.
    pub last_sequence: i32,
}

/// Why a batch is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A partition without a batch.
    #[error("a produce request has exactly one batch per partition, here is none")]
    Empty,
    /// No batch at all.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// More than one batch, or garbage behind it.
    #[error("a produce request has exactly one batch per partition, here {0} bytes follow it")]
    Trailing(usize),
    /// zstd in a request whose version does not know it.
    #[error("zstd needs produce version 7 or later")]
    ZstdUnknown,
    /// A base offset from a client.
    #[error("the base offset of a client's batch is 0, not {0}")]
    BaseOffset(i64),
    /// Longer than the topic takes.
    #[error("the batch has {len} bytes, the topic takes {max}")]
    TooLarge {
        /// Bytes of the batch.
        len: usize,
        /// The topic's limit.
        max: usize,
    },
    /// The checksum differs.
    #[error("the batch's checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// No record, or another number than the offsets say.
    #[error("the batch says {count} records, and {last_offset_delta} as the distance to the last one")]
    Count {
        /// Records that the batch says that it has.
        count: i32,
        /// Its last offset delta.
        last_offset_delta: i32,
    },
    /// A marker, which only brokers write.
    #[error("clients can't write control batches")]
    Control,
    /// An attribute that only compaction sets.
    #[error("clients can't set the delete horizon")]
    DeleteHorizon,
    /// A transaction's batch.
    #[error("transactions are not served")]
    Transactional,
    /// An idempotent producer without a sequence, or below zero.
    #[error("producer {producer_id} sent epoch {epoch} and sequence {sequence}")]
    Sequence {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The sequence, negative unless the epoch is.
        sequence: i32,
    },
    /// The client claims the broker's times.
    #[error("clients can't set the append time")]
    AppendTime,
    /// A time too far from the broker's.
    #[error("timestamp {timestamp} is not within [{oldest}, {newest}]")]
    Timestamp {
        /// The record, when it is known; else the batch's newest.
        index: Option<u32>,
        /// Its time.
        timestamp: i64,
        /// The oldest time that is taken.
        oldest: i64,
        /// The newest time that is taken.
        newest: i64,
    },
    /// A record does not have the offset of its place.
    #[error("record {index} has the offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record, from 0.
        index: u32,
        /// What it says.
        offset_delta: i32,
    },
    /// The records can't be read.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl BatchError {
    /// Kafka's code for the answer.
    pub fn code(&self) -> i16 {
        match self {
            Self::Shape(ShapeError::Length(_)) | Self::Checksum { .. } => error_code::CORRUPT_MESSAGE,
            Self::TooLarge { .. } => error_code::MESSAGE_TOO_LARGE,
            Self::ZstdUnknown => error_code::UNSUPPORTED_COMPRESSION_TYPE,
            Self::AppendTime | Self::Timestamp { .. } => error_code::INVALID_TIMESTAMP,
            // A batch that ends early is, to Kafka, no batch at all.
            Self::Empty
            | Self::Shape(ShapeError::Truncated { .. } | ShapeError::Magic(_))
            | Self::Trailing(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::DeleteHorizon
            | Self::Transactional
            | Self::Sequence { .. }
            | Self::OffsetDelta { .. }
            | Self::Records(_) => error_code::INVALID_RECORD,
        }
    }

    /// The record that is to blame, counted from 0, when it is one of them (RecordErrors of Produce 8 and later).
    pub fn record_index(&self) -> Option<u32> {
        match self {
            Self::Timestamp { index, .. } => *index,
            Self::OffsetDelta { index, .. } | Self::Records(RecordError::Malformed { index, .. }) => {
                Some(*index)
            }
            _ => None,
        }
    }
}

/// Checks the bytes that a produce request has for one partition.
///
/// # Errors
/// The first rule that they break.
pub fn validate(bytes: &[u8], rules: &Rules) -> Result<BatchSummary, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let batch = BatchView::parse(bytes)?;
    let compression = check_request(&batch, bytes, rules)?;
    check_whole(&batch, rules)?;
    let count = check_head(&batch)?;
    check_times(&batch, rules)?;
    if compression == Compression::None || rules.look_inside {
        check_records(&batch, rules)?;
    }
    Ok(BatchSummary {
        count,
        max_timestamp: batch.max_timestamp(),
        compression,
        producer: producer(&batch, count)?,
    })
}

/// One batch, in a codec that the request's version has.
fn check_request(batch: &BatchView<'_>, bytes: &[u8], rules: &Rules) -> Result<Compression, BatchError> {
    let compression = batch.compression().ok_or(RecordError::UnknownCodec(batch.attributes() & 7))?;
    if compression == Compression::Zstd && !rules.zstd_known {
        return Err(BatchError::ZstdUnknown);
    }
    match bytes.len() - batch.len() {
        0 => Ok(compression),
        more => Err(BatchError::Trailing(more)),
    }
}

fn check_whole(batch: &BatchView<'_>, rules: &Rules) -> Result<(), BatchError> {
    if batch.base_offset() != 0 {
        return Err(BatchError::BaseOffset(batch.base_offset()));
    }
    if batch.len() > rules.batch_bytes_max {
        return Err(BatchError::TooLarge { len: batch.len(), max: rules.batch_bytes_max });
    }
    let (stored, computed) = (batch.stored_crc(), batch.computed_crc());
    if stored != computed {
        return Err(BatchError::Checksum { stored, computed });
    }
    Ok(())
}

fn check_head(batch: &BatchView<'_>) -> Result<u32, BatchError> {
    let (count, last_offset_delta) = (batch.count(), batch.last_offset_delta());
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(BatchError::Count { count, last_offset_delta });
    }
    for (bit, error) in [
        (CONTROL, BatchError::Control),
        (DELETE_HORIZON, BatchError::DeleteHorizon),
        (TRANSACTIONAL, BatchError::Transactional),
    ] {
        if batch.attributes() & bit != 0 {
            return Err(error);
        }
    }
    Ok(count as u32)
}

fn producer(batch: &BatchView<'_>, count: u32) -> Result<Option<ProducerSpan>, BatchError> {
    let (id, epoch, first_sequence) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    if id < 0 {
        return Ok(None);
    }
    if epoch < 0 || first_sequence < 0 {
        return Err(BatchError::Sequence { producer_id: id, epoch, sequence: first_sequence });
    }
    // Behind i32::MAX comes 0.
    let last_sequence = (first_sequence as u32).wrapping_add(count - 1) & i32::MAX as u32;
    Ok(Some(ProducerSpan { id, epoch, first_sequence, last_sequence: last_sequence as i32 }))
}

/// What the head tells of the records' times: the first one's and the newest.
fn check_times(batch: &BatchView<'_>, rules: &Rules) -> Result<(), BatchError> {
    if batch.attributes() & LOG_APPEND_TIME != 0 {
        return Err(BatchError::AppendTime);
    }
    check_time(batch.max_timestamp(), None, rules)?;
    check_time(batch.base_timestamp(), Some(0), rules)
}

fn check_time(timestamp: i64, index: Option<u32>, rules: &Rules) -> Result<(), BatchError> {
    // -1 says that there is no time.
    if rules.log_append_time || timestamp == -1 {
        return Ok(());
    }
    let oldest = rules.now.saturating_sub(rules.before_max_ms);
    let newest = rules.now.saturating_add(rules.after_max_ms);
    if (oldest..=newest).contains(&timestamp) {
        return Ok(());
    }
    Err(BatchError::Timestamp { index, timestamp, oldest, newest })
}

fn check_records(batch: &BatchView<'_>, rules: &Rules) -> Result<(), BatchError> {
    let payload = batch.payload(DECOMPRESSED_BYTES_MAX)?;
    for (index, record) in (0u32..).zip(batch.records(&payload)) {
        let Record { offset_delta, timestamp, .. } = record?;
        if u32::try_from(offset_delta) != Ok(index) {
            return Err(BatchError::OffsetDelta { index, offset_delta });
        }
        check_time(timestamp, Some(index), rules)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{ATTRIBUTES_AT, COUNT_AT, CRC_AT, LAST_OFFSET_DELTA_AT, MAGIC_AT};
    use super::super::{BatchHead, BatchWriter, RecordDraft, patch_base_offset, set_log_append_time};
    use super::*;
    use crate::error_code::NONE;

    const NOW: i64 = 1_700_000_000_000;

    fn batch(head: BatchHead, times: &[i64]) -> Vec<u8> {
        let mut writer = BatchWriter::new(head);
        for &timestamp in times {
            writer.push(&RecordDraft { timestamp, key: None, value: Some(b"value"), headers: &[] });
        }
        writer.finish()
    }

    fn plain() -> Vec<u8> {
        batch(BatchHead::default(), &[NOW, NOW + 5, NOW - 5])
    }

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..][..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The batch with bytes written over it, and a checksum that fits.
    fn edited(at: usize, new: &[u8]) -> Vec<u8> {
        let mut bytes = plain();
        bytes[at..][..new.len()].copy_from_slice(new);
        with_crc(bytes)
    }

    fn code(bytes: &[u8], rules: &Rules) -> i16 {
        validate(bytes, rules).map_or_else(|error| error.code(), |_| 0)
    }

    #[test]
    fn a_sound_batch_passes_and_says_what_it_is() {
        let summary = validate(&plain(), &Rules::new(NOW)).unwrap();
        let expected =
            BatchSummary { count: 3, max_timestamp: NOW + 5, compression: Compression::None, producer: None };
        assert_eq!(summary, expected);
        let head = BatchHead {
            producer_id: 7,
            producer_epoch: 2,
            base_sequence: i32::MAX - 1,
            compression: Compression::Zstd,
            ..BatchHead::default()
        };
        let summary = validate(&batch(head, &[NOW; 4]), &Rules::new(NOW)).unwrap();
        assert_eq!(summary.compression, Compression::Zstd);
        let producer = ProducerSpan { id: 7, epoch: 2, first_sequence: i32::MAX - 1, last_sequence: 1 };
        assert_eq!(summary.producer, Some(producer));
    }

    #[test]
    fn each_rule_has_kafka_s_code() {
        let whole = plain();
        let check = |bytes: &[u8], expected: i16, what: &str| {
            assert_eq!(code(bytes, &Rules::new(NOW)), expected, "{what}");
        };
        check(&whole, NONE, "sound");
        check(b"", error_code::INVALID_RECORD, "nothing");
        check(&whole[..16], error_code::INVALID_RECORD, "less than a head");
        check(&whole[..whole.len() - 1], error_code::INVALID_RECORD, "cut");
        check(&edited(8, &48u32.to_be_bytes()), error_code::CORRUPT_MESSAGE, "length below a head");
        check(&edited(8, &[0xFF; 4]), error_code::CORRUPT_MESSAGE, "negative length");
        check(&[&whole[..], &whole].concat(), error_code::INVALID_RECORD, "two batches");
        check(&[&whole[..], b"x"].concat(), error_code::INVALID_RECORD, "a byte behind");
        for magic in [0, 1, 3, 0xFF] {
            check(&edited(MAGIC_AT, &[magic]), error_code::INVALID_RECORD, "magic");
        }
        let mut bytes = plain();
        *bytes.last_mut().unwrap() ^= 1;
        check(&bytes, error_code::CORRUPT_MESSAGE, "checksum");
        let mut bytes = plain();
        patch_base_offset(&mut bytes, 1);
        check(&bytes, error_code::INVALID_RECORD, "base offset");
        check(&edited(COUNT_AT, &0u32.to_be_bytes()), error_code::INVALID_RECORD, "count 0");
        check(&edited(COUNT_AT, &4u32.to_be_bytes()), error_code::INVALID_RECORD, "count and last delta");
        check(&edited(LAST_OFFSET_DELTA_AT, &7u32.to_be_bytes()), error_code::INVALID_RECORD, "last delta");
        for bit in [TRANSACTIONAL, CONTROL, DELETE_HORIZON, 5, 6, 7] {
            check(&edited(ATTRIBUTES_AT, &bit.to_be_bytes()), error_code::INVALID_RECORD, "attribute");
        }
        check(
            &edited(ATTRIBUTES_AT, &LOG_APPEND_TIME.to_be_bytes()),
            error_code::INVALID_TIMESTAMP,
            "append time",
        );
        let mut bytes = plain();
        set_log_append_time(&mut bytes, NOW);
        check(&bytes, error_code::INVALID_TIMESTAMP, "append time, well made");
        let no_sequence = BatchHead { producer_id: 1, producer_epoch: 0, ..BatchHead::default() };
        check(&batch(no_sequence, &[NOW]), error_code::INVALID_RECORD, "producer without a sequence");
    }

    #[test]
    fn inner_offsets_are_counted_in_plain_batches_and_in_others_on_demand() {
        let mut writer = BatchWriter::new(BatchHead::default());
        for _ in 0..2 {
            writer.push(&RecordDraft { timestamp: NOW, key: None, value: None, headers: &[] });
        }
        let mut bytes = writer.finish();
        // length 6, attributes 0, Δtimestamp 0, Δoffset: the fourth byte of each seven.
        bytes[61 + 7 + 3] = 4;
        let bytes = with_crc(bytes);
        let error = validate(&bytes, &Rules::new(NOW)).unwrap_err();
        assert_eq!(error, BatchError::OffsetDelta { index: 1, offset_delta: 2 });
        assert_eq!((error.code(), error.record_index()), (error_code::INVALID_RECORD, Some(1)));

        let mut packed = bytes[..61].to_vec();
        packed.extend(super::super::compress(Compression::Lz4, &bytes[61..]));
        packed[ATTRIBUTES_AT + 1] = Compression::Lz4.bits() as u8;
        let len = (packed.len() - 12) as u32;
        packed[8..12].copy_from_slice(&len.to_be_bytes());
        let packed = with_crc(packed);
        assert!(validate(&packed, &Rules::new(NOW)).is_ok());
        let inside = Rules { look_inside: true, ..Rules::new(NOW) };
        assert_eq!(validate(&packed, &inside).unwrap_err().record_index(), Some(1));
    }

    #[test]
    fn limits_hold_to_the_last_byte_and_millisecond() {
        let bytes = plain();
        let rules = Rules { batch_bytes_max: bytes.len(), ..Rules::new(NOW) };
        assert_eq!(code(&bytes, &rules), NONE);
        let rules = Rules { batch_bytes_max: bytes.len() - 1, ..rules };
        assert_eq!(code(&bytes, &rules), error_code::MESSAGE_TOO_LARGE);

        // Times from 5 ms before NOW to 5 ms after it.
        let rules = Rules { before_max_ms: 5, after_max_ms: 5, ..Rules::new(NOW) };
        assert_eq!(code(&bytes, &rules), NONE);
        let late = Rules { after_max_ms: 4, ..rules };
        assert_eq!(code(&bytes, &late), error_code::INVALID_TIMESTAMP);
        let early = Rules { before_max_ms: 4, ..rules };
        let error = validate(&bytes, &early).unwrap_err();
        assert_eq!((error.code(), error.record_index()), (error_code::INVALID_TIMESTAMP, Some(2)));
        assert_eq!(code(&bytes, &Rules { log_append_time: true, ..early }), NONE);
        assert_eq!(code(&batch(BatchHead::default(), &[-1]), &early), NONE);
    }

    #[test]
    fn zstd_needs_a_version_that_knows_it() {
        let head = BatchHead { compression: Compression::Zstd, ..BatchHead::default() };
        let old = Rules { zstd_known: false, ..Rules::new(NOW) };
        assert_eq!(code(&batch(head, &[NOW]), &old), error_code::UNSUPPORTED_COMPRESSION_TYPE);
        assert_eq!(code(&plain(), &old), NONE);
    }
}
