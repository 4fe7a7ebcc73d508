//! Writing a record: encoded before the append section, stamped inside it.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::crc::{Suffix, go_on};
use crate::target::{COUNT_MAX, SLOT_BYTES, TargetSlot};
use crate::{
    BASE_OFFSET_BYTES, BODY_CRC_AT, CRC_PROPERTY_BYTES, INNER_NUM_MAX, MAGIC_V1, MAGIC_V2, POSITION_AT,
    PROPERTIES_BYTES_MAX, QUEUE_OFFSET_AT, RECORD_BYTES_MIN, TOPIC_BYTES_MAX, TOPIC_V1_BYTES_MAX, crc31,
    property, sysflag,
};

/// Where at least so many bytes in a row are left alone by the stamp, their checksum is computed before the append
/// section and joined there: below it, summing again is cheaper (see `examples/checksum_cost.rs`).
const JOIN_FROM_BYTES: usize = 4096;

/// What a writer knows of a record before it has an offset and a place.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// 1 to [`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// The queue of the first target.
    pub queue_id: u32,
    /// The application's own flag, untouched.
    pub flag: i32,
    /// See [`sysflag`]; the two host bits are set by the encoder, and a batch's bits in a batch.
    pub sys_flag: i32,
    /// The client's milliseconds.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The address by which this broker is known.
    pub store_host: SocketAddr,
    /// How often the message was handed out and came back.
    pub reconsume_times: i32,
    /// Position of the half message that a committed message stands for.
    pub prepared_transaction_offset: i64,
    /// The payload, in its own protocol's bytes.
    pub body: &'a [u8],
    /// Property string without reserved names.
    pub properties: &'a [u8],
    /// The payload kind; `None` is RocketMQ's own message. ASCII without control characters.
    pub kind: Option<&'a str>,
    /// All targets, the first being the record's own queue; empty for that queue alone with count 1.
    pub targets: &'a [TargetSlot],
    /// True on every record of an atomic group but the last.
    pub group_goes_on: bool,
    /// The body is a batch of so many messages, whose first [`BASE_OFFSET_BYTES`] are the offset of its first message: the
    /// stamp sets them. Such a record has a kind, sysFlag 0x80 without 0x40, and (up to [`INNER_NUM_MAX`] messages) the
    /// properties by which Apache's broker knows its own batches. The span is the first target's count, as always.
    pub batch: Option<u32>,
}

/// Why a draft is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Empty or too long.
    #[error("a topic has 1 to {TOPIC_BYTES_MAX} bytes, this one has {0}")]
    TopicLength(usize),
    /// The properties and what this codec adds do not fit.
    #[error("the properties take {0} bytes, {PROPERTIES_BYTES_MAX} is the limit")]
    PropertiesTooLong(usize),
    /// A body of 2 GiB or more.
    #[error("a body of {0} bytes does not fit into a record")]
    BodyTooLong(usize),
    /// A batch that is none: the sentence says why.
    #[error("the batch {0}")]
    Batch(&'static str),
}

/// A record that waits for its stamp.
#[derive(Debug, Clone)]
pub struct Encoded {
    len: usize,
    store_timestamp_at: usize,
    /// Where the target slots begin, and how many there are.
    slots: Option<(usize, usize)>,
    batch: Option<BatchAt>,
    /// A range that the stamp leaves alone, and its checksum; when it pays. A batch's is its body behind the base offset.
    known: Option<(Range<usize>, Suffix)>,
}

/// Where the first offset of a batch is written, beside the record's own field.
#[derive(Debug, Clone)]
struct BatchAt {
    body: Range<usize>,
    /// Where the digits of [`property::INNER_BASE`] begin.
    digits: Option<usize>,
}

/// What the append section decides.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Offset in the record's own queue.
    pub queue_offset: u64,
    /// Place in the log.
    pub position: u64,
    /// Milliseconds; never goes back along the log.
    pub store_timestamp: i64,
    /// First offsets of all target slots, in their order; as many as the draft had slots.
    pub slot_offsets: &'a [u64],
}

/// The length of the record that [`encode`] would write.
///
/// # Errors
/// As [`encode`].
pub fn encoded_len(draft: &Draft<'_>) -> Result<usize, EncodeError> {
    Ok(fixed_len(draft)? + draft.body.len() + draft.topic.len() + properties_len(draft)?)
}

fn fixed_len(draft: &Draft<'_>) -> Result<usize, EncodeError> {
    if draft.topic.is_empty() || draft.topic.len() > TOPIC_BYTES_MAX {
        return Err(EncodeError::TopicLength(draft.topic.len()));
    }
    if draft.body.len() > i32::MAX as usize / 2 {
        return Err(EncodeError::BodyTooLong(draft.body.len()));
    }
    check_batch(draft)?;
    let hosts = [draft.born_host, draft.store_host].iter().filter(|host| host.is_ipv6()).count();
    Ok(RECORD_BYTES_MIN + 12 * hosts + usize::from(draft.topic.len() > TOPIC_V1_BYTES_MAX))
}

fn check_batch(draft: &Draft<'_>) -> Result<(), EncodeError> {
    let Some(count) = draft.batch else { return Ok(()) };
    let span = draft.targets.first().map_or(1, |own| own.count);
    let wrong = if draft.kind.is_none() {
        "has no payload kind"
    } else if draft.body.len() < BASE_OFFSET_BYTES {
        "is too short for its base offset"
    } else if !(1..=COUNT_MAX).contains(&count) {
        "has too few or too many messages"
    } else if span != count {
        "takes another number of offsets than it has messages"
    } else {
        return Ok(());
    };
    Err(EncodeError::Batch(wrong))
}

/// What Apache's broker is told of a batch; it reads the number into 16 bits with a sign.
fn inner_num(draft: &Draft<'_>) -> Option<u32> {
    draft.batch.filter(|&count| count <= INNER_NUM_MAX)
}

fn properties_len(draft: &Draft<'_>) -> Result<usize, EncodeError> {
    let pair = |name: &str, value: usize| name.len() + value + 2;
    let inner = pair(property::INNER_NUM, property::INNER_NUM_DIGITS)
        + pair(property::INNER_BASE, property::INNER_BASE_DIGITS);
    let own = draft.kind.map_or(0, |kind| pair(property::KIND, kind.len()))
        + if inner_num(draft).is_some() { inner } else { 0 }
        + if draft.targets.is_empty() {
            0
        } else {
            pair(property::TARGETS, draft.targets.len() * SLOT_BYTES)
        }
        + if draft.group_goes_on { pair(property::GROUP_GOES_ON, 1) } else { 0 };
    let separator = draft.properties.last().is_some_and(|&b| b != property::VALUE_END);
    let len = draft.properties.len() + usize::from(separator) + own + CRC_PROPERTY_BYTES;
    if len > PROPERTIES_BYTES_MAX { Err(EncodeError::PropertiesTooLong(len)) } else { Ok(len) }
}

/// Appends the record's bytes to `out`, with zeros where the stamp goes.
///
/// # Errors
/// When a length is out of range; `out` is unchanged then.
pub fn encode(draft: &Draft<'_>, out: &mut Vec<u8>) -> Result<Encoded, EncodeError> {
    let properties_len = properties_len(draft)?;
    let len = fixed_len(draft)? + draft.body.len() + draft.topic.len() + properties_len;
    let start = out.len();
    out.reserve(len);

    let v2 = draft.topic.len() > TOPIC_V1_BYTES_MAX;
    put_u32(out, len as u32);
    put_u32(out, if v2 { MAGIC_V2 } else { MAGIC_V1 });
    put_u32(out, 0); // BODYCRC, below or stamped
    put_u32(out, draft.queue_id);
    put_u32(out, draft.flag as u32);
    out.extend_from_slice(&[0; 16]); // QUEUEOFFSET and POSITION, stamped
    put_u32(out, sys_flag(draft) as u32);
    put_u64(out, draft.born_timestamp as u64);
    put_host(out, draft.born_host);
    let store_timestamp_at = out.len() - start;
    put_u64(out, 0); // STORETIMESTAMP, stamped
    put_host(out, draft.store_host);
    put_u32(out, draft.reconsume_times as u32);
    put_u64(out, draft.prepared_transaction_offset as u64);
    put_u32(out, draft.body.len() as u32);
    let body_at = out.len() - start;
    out.extend_from_slice(draft.body);
    if v2 {
        out.extend_from_slice(&(draft.topic.len() as u16).to_be_bytes());
    } else {
        out.push(draft.topic.len() as u8);
    }
    out.extend_from_slice(draft.topic.as_bytes());
    out.extend_from_slice(&(properties_len as u16).to_be_bytes());
    let Stamped { slots_at, digits_at } = put_properties(draft, out);
    assert_eq!(out.len() - start, len, "the length was computed from the same draft");

    let slots = slots_at.map(|at| (at - start, draft.targets.len()));
    let record = &mut out[start..];
    let body = body_at..body_at + draft.body.len();
    let batch = draft.batch.map(|_| {
        record[body_at..][..BASE_OFFSET_BYTES].fill(0);
        BatchAt { body: body.clone(), digits: digits_at.map(|at| at - start) }
    });
    let untouched = match (&batch, slots) {
        (Some(batch), _) => batch.body.start + BASE_OFFSET_BYTES..batch.body.end,
        (None, Some((slots_at, _))) => store_timestamp_at + 8..slots_at,
        (None, None) => store_timestamp_at + 8..len - CRC_PROPERTY_BYTES,
    };
    if batch.is_none() {
        let crc = crc31(&record[body]);
        put_body_crc(record, crc);
    }
    let known =
        (untouched.len() >= JOIN_FROM_BYTES).then(|| (untouched.clone(), Suffix::of(&record[untouched])));
    Ok(Encoded { len, store_timestamp_at, slots, batch, known })
}

/// Where stamped properties begin, in the bytes that were appended to.
struct Stamped {
    slots_at: Option<usize>,
    /// Of [`property::INNER_BASE`].
    digits_at: Option<usize>,
}

/// Appends the property string.
fn put_properties(draft: &Draft<'_>, out: &mut Vec<u8>) -> Stamped {
    out.extend_from_slice(draft.properties);
    if draft.properties.last().is_some_and(|&b| b != property::VALUE_END) {
        out.push(property::VALUE_END);
    }
    if let Some(kind) = draft.kind {
        put_pair(out, property::KIND, kind.as_bytes());
    }
    let digits_at = inner_num(draft).map(|count| {
        let mut digits = [0; property::INNER_NUM_DIGITS];
        put_decimal(&mut digits, u64::from(count));
        put_pair(out, property::INNER_NUM, &digits);
        put_pair(out, property::INNER_BASE, &[b'0'; property::INNER_BASE_DIGITS]);
        out.len() - 1 - property::INNER_BASE_DIGITS
    });
    let slots_at = (!draft.targets.is_empty()).then(|| {
        out.extend_from_slice(property::TARGETS.as_bytes());
        out.push(property::NAME_END);
        let at = out.len();
        draft.targets.iter().for_each(|slot| slot.write(out));
        out.push(property::VALUE_END);
        at
    });
    if draft.group_goes_on {
        put_pair(out, property::GROUP_GOES_ON, b"1");
    }
    put_pair(out, property::CRC32, &[b'0'; 10]);
    Stamped { slots_at, digits_at }
}

impl Encoded {
    /// Bytes of the record.
    #[allow(clippy::len_without_is_empty, reason = "no record is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Sets offset, position, time and slots in the record's bytes, in a batch also its base offset, then the checksums.
    ///
    /// # Panics
    /// When `record` is not the bytes that [`encode`] wrote, or the slots are not as many as the draft had.
    pub fn stamp(&self, record: &mut [u8], stamp: &Stamp<'_>) {
        assert_eq!(record.len(), self.len, "the bytes are those of this record");
        record[QUEUE_OFFSET_AT..][..8].copy_from_slice(&stamp.queue_offset.to_be_bytes());
        record[POSITION_AT..][..8].copy_from_slice(&stamp.position.to_be_bytes());
        record[self.store_timestamp_at..][..8].copy_from_slice(&stamp.store_timestamp.to_be_bytes());
        let (at, count) = self.slots.unwrap_or((0, 0));
        assert_eq!(count, stamp.slot_offsets.len(), "each slot gets its offset");
        for (slot, &offset) in
            record[at..][..count * SLOT_BYTES].chunks_exact_mut(SLOT_BYTES).zip(stamp.slot_offsets)
        {
            TargetSlot::stamp(slot, offset);
        }
        if let Some(batch) = &self.batch {
            self.stamp_batch(batch, record, stamp.queue_offset);
        }
        let crc = self.checksum(record);
        put_crc_digits(&mut record[self.len - CRC_PROPERTY_BYTES + property::CRC32.len() + 1..][..10], crc);
    }

    fn stamp_batch(&self, batch: &BatchAt, record: &mut [u8], base_offset: u64) {
        let base = base_offset.to_be_bytes();
        record[batch.body.start..][..BASE_OFFSET_BYTES].copy_from_slice(&base);
        if let Some(at) = batch.digits {
            put_decimal(&mut record[at..][..property::INNER_BASE_DIGITS], base_offset);
        }
        let crc = match &self.known {
            Some((_, rest)) => rest.behind(crc32fast::hash(&base)) & 0x7FFF_FFFF,
            None => crc31(&record[batch.body.clone()]),
        };
        put_body_crc(record, crc);
    }

    fn checksum(&self, record: &[u8]) -> u32 {
        let summed = &record[..self.len - CRC_PROPERTY_BYTES];
        let Some((range, known)) = &self.known else { return crc31(summed) };
        let crc = known.behind(crc32fast::hash(&summed[..range.start]));
        go_on(crc, &summed[range.end..]) & 0x7FFF_FFFF
    }
}

fn put_body_crc(record: &mut [u8], crc: u32) {
    record[BODY_CRC_AT..][..4].copy_from_slice(&crc.to_be_bytes());
}

/// Decimal digits with leading zeros.
fn put_decimal(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    assert_eq!(value, 0, "the digits are enough for the value");
}

/// Ten decimal digits, the least significant first, as RocketMQ writes them.
fn put_crc_digits(digits: &mut [u8], mut crc: u32) {
    for digit in digits {
        *digit = b'0' + (crc % 10) as u8;
        crc /= 10;
    }
}

fn sys_flag(draft: &Draft<'_>) -> i32 {
    let mut flag = draft.sys_flag & !(sysflag::BORN_HOST_V6 | sysflag::STORE_HOST_V6);
    if draft.born_host.is_ipv6() {
        flag |= sysflag::BORN_HOST_V6;
    }
    if draft.store_host.is_ipv6() {
        flag |= sysflag::STORE_HOST_V6;
    }
    if draft.batch.is_some() {
        flag = flag & !sysflag::NEED_UNWRAP | sysflag::INNER_BATCH;
    }
    flag
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_host(out: &mut Vec<u8>, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    put_u32(out, u32::from(host.port()));
}

fn put_pair(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.push(property::NAME_END);
    out.extend_from_slice(value);
    out.push(property::VALUE_END);
}
