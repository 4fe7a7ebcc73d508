//! The stored-message codec: one record of the commit log, byte for byte as Apache RocketMQ 5 stores it, plus our own
//! reserved properties. No I/O, no clock.
//!
//! ```text
//!  0 TOTALSIZE 4 │ MAGIC 4 │ BODYCRC 4 │ QUEUEID 4 │ FLAG 4 │ QUEUEOFFSET 8 │ POSITION 8 │ SYSFLAG 4
//! 40 BORNTIMESTAMP 8 │ BORNHOST 8 or 20 │ STORETIMESTAMP 8 │ STOREHOST 8 or 20 │ RECONSUMETIMES 4
//!    PREPAREDTRANSACTION 8 │ BODY 4+n │ TOPIC 1+n (V1) or 2+n (V2) │ PROPERTIES 2+n, last of them __CRC32#
//! ```
//!
//! All numbers are big endian. The layout and the checksum's exact bytes are written down in `docs/format/record.md`.
//!
//! * [`Draft`] and [`encode`]: what a writer knows before the append section.
//! * [`Encoded::stamp`]: offset, position, time and checksum, set inside the append section.
//! * [`RecordView`]: a borrowed reader that trusts nothing.
//! * [`property`]: the `name 0x01 value 0x02` strings. [`target`]: the fixed-width list of queues.

mod crc;
mod decode;
mod encode;
pub mod id;
pub mod property;
pub mod sysflag;
pub mod target;

pub use decode::{DecodeError, Peek, RecordView, peek};
pub use encode::{Draft, EncodeError, Encoded, Stamp, encode, encoded_len};
pub use target::TargetSlot;

/// Magic of a record whose topic is at most [`TOPIC_V1_BYTES_MAX`] bytes long.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record with a two-byte topic length.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a log file.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;
/// Bytes of a BLANK filler that carry meaning: remaining length and magic.
pub const BLANK_HEAD_BYTES: usize = 8;

/// Longest topic of a V1 record, in bytes.
pub const TOPIC_V1_BYTES_MAX: usize = 127;
/// Longest topic of a record, in bytes.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Longest properties of a record, in bytes, the checksum property included.
pub const PROPERTIES_BYTES_MAX: usize = 32_767;
/// Bytes that a record has at least: a V1 record with IPv4 hosts and nothing else.
pub const RECORD_BYTES_MIN: usize = 91;
/// Length of the checksum property, which ends every record that we write.
pub const CRC_PROPERTY_BYTES: usize = 20;

/// Bytes at the start of a batch's body that hold the offset of its first message.
pub const BASE_OFFSET_BYTES: usize = 8;
/// Messages of the largest batch that Apache's broker can be told of.
pub const INNER_NUM_MAX: u32 = i16::MAX as u32;

/// CRC-32 (zlib) without its top bit, as RocketMQ keeps it.
pub fn crc31(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7FFF_FFFF
}

pub(crate) const BODY_CRC_AT: usize = 8;
pub(crate) const QUEUE_ID_AT: usize = 12;
pub(crate) const QUEUE_OFFSET_AT: usize = 20;
pub(crate) const POSITION_AT: usize = 28;
pub(crate) const SYS_FLAG_AT: usize = 36;
pub(crate) const BORN_TIMESTAMP_AT: usize = 40;
pub(crate) const BORN_HOST_AT: usize = 48;
