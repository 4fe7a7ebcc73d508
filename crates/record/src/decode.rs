//! Reading a record that may be torn, rotten or forged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::target::{self, TargetSlot};
use crate::{
    BLANK_HEAD_BYTES, BODY_CRC_AT, BORN_HOST_AT, BORN_TIMESTAMP_AT, CRC_PROPERTY_BYTES, INNER_NUM_MAX,
    MAGIC_BLANK, MAGIC_V1, MAGIC_V2, POSITION_AT, QUEUE_ID_AT, QUEUE_OFFSET_AT, RECORD_BYTES_MIN,
    SYS_FLAG_AT, crc31, property, sysflag,
};

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record says, or than any record has.
    #[error("{have} bytes are not the {need} that the record has")]
    Truncated {
        /// Bytes that were given.
        have: usize,
        /// Bytes that the record has, as far as that is known.
        need: usize,
    },
    /// The second word is no magic of a record.
    #[error("magic {0:#010x} is none of a record")]
    Magic(u32),
    /// The lengths inside do not add up to the record's own.
    #[error("the lengths inside the record do not add up to its size of {0}")]
    Lengths(usize),
    /// A topic that is not UTF-8, or a host's port above 65,535.
    #[error("the record's {0} is not valid")]
    Field(&'static str),
    /// The record has no checksum property where one is required.
    #[error("the record carries no checksum")]
    NoChecksum,
    /// The checksum over the whole record differs.
    #[error("the record's checksum is {stored}, its bytes give {computed}")]
    Checksum {
        /// What the record says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The body's checksum differs.
    #[error("the body's checksum does not match")]
    BodyChecksum,
    /// The record was written for another place of the log.
    #[error("the record belongs at position {0}")]
    Misplaced(u64),
    /// The targets property is not a list of slots, or its first slot is not the record's own queue offset.
    #[error("the record's targets are not valid")]
    Targets,
    /// What a batch says of its first offset or its number of messages contradicts the record's own span.
    #[error("the record's batch contradicts its offsets")]
    Batch,
}

/// What the first eight bytes of something in the log say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// A record of this many bytes, if the rest agrees.
    Record(usize),
    /// Filler: nothing follows in this file. The number is the length that it says.
    Blank(usize),
    /// Zeros: nothing was ever written here.
    Zeros,
    /// Neither.
    Unknown,
}

/// Looks at the first bytes of what lies at some place of the log; `None` when fewer than eight are given.
pub fn peek(bytes: &[u8]) -> Option<Peek> {
    let head = bytes.get(..BLANK_HEAD_BYTES)?;
    let size = be32(head, 0) as usize;
    Some(match be32(head, 4) {
        MAGIC_V1 | MAGIC_V2 if size >= RECORD_BYTES_MIN => Peek::Record(size),
        MAGIC_BLANK => Peek::Blank(size),
        0 if size == 0 => Peek::Zeros,
        _ => Peek::Unknown,
    })
}

/// A record's bytes with its parts found. Cheap to make: nothing is copied and no checksum is computed.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    store_timestamp_at: usize,
    reconsume_times_at: usize,
    body: (usize, usize),
    topic: (usize, usize),
    properties: (usize, usize),
}

impl<'a> RecordView<'a> {
    /// Finds the parts of the record that begins at `bytes[0]`; bytes behind it are left alone.
    ///
    /// # Errors
    /// When the bytes end early or the lengths do not add up. Checksums are [`check`](Self::check)'s.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let truncated = |need| DecodeError::Truncated { have: bytes.len(), need };
        if bytes.len() < RECORD_BYTES_MIN {
            return Err(truncated(RECORD_BYTES_MIN));
        }
        let size = be32(bytes, 0) as usize;
        let magic = be32(bytes, 4);
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(DecodeError::Magic(magic));
        }
        if size < RECORD_BYTES_MIN {
            return Err(DecodeError::Lengths(size));
        }
        let bytes = bytes.get(..size).ok_or(truncated(size))?;

        let sys_flag = be32(bytes, SYS_FLAG_AT) as i32;
        let host_len = |bit| if sys_flag & bit == 0 { 8 } else { 20 };
        let store_timestamp_at = BORN_HOST_AT + host_len(sysflag::BORN_HOST_V6);
        let reconsume_times_at = store_timestamp_at + 8 + host_len(sysflag::STORE_HOST_V6);
        let mut at = reconsume_times_at + 12;
        let mut part = |prefix: usize| -> Option<(usize, usize)> {
            let head = bytes.get(at..at + prefix)?;
            let len = head.iter().fold(0usize, |len, &b| len << 8 | usize::from(b));
            let start = at + prefix;
            at = start.checked_add(len)?;
            (at <= size).then_some((start, at))
        };
        let lengths = DecodeError::Lengths(size);
        let body = part(4).ok_or(lengths.clone())?;
        let topic = part(if magic == MAGIC_V1 { 1 } else { 2 }).ok_or(lengths.clone())?;
        let properties = part(2).ok_or(lengths.clone())?;
        if at != size {
            return Err(lengths);
        }
        let view = Self { bytes, store_timestamp_at, reconsume_times_at, body, topic, properties };
        if topic.0 == topic.1 || std::str::from_utf8(&bytes[topic.0..topic.1]).is_err() {
            return Err(DecodeError::Field("topic"));
        }
        for port_at in [store_timestamp_at - 4, reconsume_times_at - 4] {
            if be32(bytes, port_at) > u32::from(u16::MAX) {
                return Err(DecodeError::Field("host"));
            }
        }
        Ok(view)
    }

    /// Parses, and checks what a record of our own log must satisfy: its place and its checksum.
    /// `checksum_required` is false for a log part that Apache's broker wrote; the body's checksum counts there.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when the place or a checksum is wrong.
    pub fn check(bytes: &'a [u8], position: u64, checksum_required: bool) -> Result<Self, DecodeError> {
        let view = Self::parse(bytes)?;
        if view.position() != position {
            return Err(DecodeError::Misplaced(view.position()));
        }
        match view.stored_checksum() {
            Some(stored) => {
                let computed = crc31(&view.bytes[..view.bytes.len() - CRC_PROPERTY_BYTES]);
                if stored != computed {
                    return Err(DecodeError::Checksum { stored, computed });
                }
            }
            None if checksum_required => return Err(DecodeError::NoChecksum),
            None if !view.body().is_empty() && crc31(view.body()) != view.body_crc() => {
                return Err(DecodeError::BodyChecksum);
            }
            None => {}
        }
        Ok(view)
    }

    /// The whole record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the record.
    #[allow(clippy::len_without_is_empty, reason = "no record is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The body's checksum field.
    pub fn body_crc(&self) -> u32 {
        be32(self.bytes, BODY_CRC_AT)
    }

    /// Queue of the first target.
    pub fn queue_id(&self) -> u32 {
        be32(self.bytes, QUEUE_ID_AT)
    }

    /// The application's flag.
    pub fn flag(&self) -> i32 {
        be32(self.bytes, QUEUE_ID_AT + 4) as i32
    }

    /// Offset in the record's own queue.
    pub fn queue_offset(&self) -> u64 {
        be64(self.bytes, QUEUE_OFFSET_AT)
    }

    /// Place in the log, as the record says.
    pub fn position(&self) -> u64 {
        be64(self.bytes, POSITION_AT)
    }

    /// See [`sysflag`].
    pub fn sys_flag(&self) -> i32 {
        be32(self.bytes, SYS_FLAG_AT) as i32
    }

    /// The client's milliseconds.
    pub fn born_timestamp(&self) -> i64 {
        be64(self.bytes, BORN_TIMESTAMP_AT) as i64
    }

    /// The producer's address.
    pub fn born_host(&self) -> SocketAddr {
        host(&self.bytes[BORN_HOST_AT..self.store_timestamp_at])
    }

    /// The broker's milliseconds.
    pub fn store_timestamp(&self) -> i64 {
        be64(self.bytes, self.store_timestamp_at) as i64
    }

    /// The broker's address.
    pub fn store_host(&self) -> SocketAddr {
        host(&self.bytes[self.store_timestamp_at + 8..self.reconsume_times_at])
    }

    /// How often the message came back.
    pub fn reconsume_times(&self) -> i32 {
        be32(self.bytes, self.reconsume_times_at) as i32
    }

    /// Position of the half message that this one commits.
    pub fn prepared_transaction_offset(&self) -> i64 {
        be64(self.bytes, self.reconsume_times_at + 4) as i64
    }

    /// The payload.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.body.0..self.body.1]
    }

    /// The topic.
    pub fn topic(&self) -> &'a str {
        std::str::from_utf8(&self.bytes[self.topic.0..self.topic.1]).unwrap_or("")
    }

    /// The property string, our own properties and the checksum included.
    pub fn properties(&self) -> &'a [u8] {
        &self.bytes[self.properties.0..self.properties.1]
    }

    /// One property as text.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        property::find_str(self.properties(), name)
    }

    /// The payload kind; `None` is RocketMQ's own message.
    pub fn kind(&self) -> Option<&'a [u8]> {
        property::find(self.properties(), property::KIND)
    }

    /// True when the next record belongs to the same atomic group.
    pub fn group_goes_on(&self) -> bool {
        property::find(self.properties(), property::GROUP_GOES_ON).is_some()
    }

    /// The target slots; an empty list means the record's own queue with count 1.
    ///
    /// # Errors
    /// When the property is malformed or contradicts the record's own queue offset, or when what a batch says of itself
    /// contradicts either.
    pub fn targets(&self) -> Result<Vec<TargetSlot>, DecodeError> {
        let slots = match property::find(self.properties(), property::TARGETS) {
            Some(value) => target::parse(value).ok_or(DecodeError::Targets)?,
            None => Vec::new(),
        };
        if let Some(own) = slots.first()
            && (own.first_offset != self.queue_offset() || own.queue_id != self.queue_id())
        {
            return Err(DecodeError::Targets);
        }
        if self.is_batch() {
            self.check_batch(slots.first().map_or(1, |own| own.count))?;
        }
        Ok(slots)
    }

    /// True when the body is a batch whose messages each have an offset. (A batch of Apache's own kind is not: its reader
    /// unwraps it.)
    pub fn is_batch(&self) -> bool {
        self.sys_flag() & (sysflag::INNER_BATCH | sysflag::NEED_UNWRAP) == sysflag::INNER_BATCH
            && self.kind().is_some()
    }

    /// Messages of the batch that the body is: the offsets that the record takes in its own queue. `None` when it is no
    /// batch.
    ///
    /// # Errors
    /// As [`targets`](Self::targets).
    pub fn batch_count(&self) -> Result<Option<u32>, DecodeError> {
        if !self.is_batch() {
            return Ok(None);
        }
        Ok(Some(self.targets()?.first().map_or(1, |own| own.count)))
    }

    /// The batch's own base offset, INNER_BASE and INNER_NUM say what the record's span is.
    fn check_batch(&self, count: u32) -> Result<(), DecodeError> {
        let base = self.queue_offset();
        let in_body = self.body().first_chunk().map(|&bytes| u64::from_be_bytes(bytes));
        let says = |name, is: u64| match property::find(self.properties(), name) {
            Some(digits) => decimal(digits) == Some(is),
            None => count > INNER_NUM_MAX,
        };
        if in_body == Some(base)
            && says(property::INNER_NUM, u64::from(count))
            && says(property::INNER_BASE, base)
        {
            Ok(())
        } else {
            Err(DecodeError::Batch)
        }
    }

    /// The checksum that the record carries, if its last property is one.
    pub fn stored_checksum(&self) -> Option<u32> {
        let properties = self.properties();
        let last = properties.get(properties.len().checked_sub(CRC_PROPERTY_BYTES)?..)?;
        let digits = last.strip_prefix(property::CRC32.as_bytes())?.strip_prefix(&[property::NAME_END])?;
        let digits = digits.strip_suffix(&[property::VALUE_END])?;
        digits.iter().rev().try_fold(0u32, |crc, &digit| {
            let digit = char::from(digit).to_digit(10)?;
            crc.checked_mul(10)?.checked_add(digit)
        })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(word)
}

fn host(bytes: &[u8]) -> SocketAddr {
    let (ip, port) = bytes.split_at(bytes.len() - 4);
    let ip = match ip.len() {
        4 => IpAddr::V4(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])),
        _ => {
            let mut octets = [0; 16];
            octets.copy_from_slice(ip);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    SocketAddr::new(ip, be32(port, 0) as u16)
}
