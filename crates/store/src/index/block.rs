//! The blocks of a journal file, byte for byte; written down in `docs/format/queue-index.md`.
//!
//! ```text
//!  0 MAGIC 4 │ VERSION 1 │ KIND 1 │ zero 2 │ LENGTH 4 │ FILE 8 │ AT 8 │ PREVIOUS CRC 4
//! 32 body by kind │ CRC32 4 over all before it
//! ```
//!
//! A block names its own place and the block before it, so that a block of an older file in the same sectors, or one
//! that a disk put elsewhere, is never taken for part of the journal.

use crate::catalog::{QueueKey, TopicNumber};

use super::entry::{Packed, Shape, be32, be64};

/// `BQIX`.
const MAGIC: u32 = 0x4251_4958;
const VERSION: u8 = 1;
/// Bytes before a block's body.
const HEAD_BYTES: usize = 32;
/// Bytes between an extent's head and its entries.
const EXTENT_HEAD_BYTES: usize = 44;
const CRC_BYTES: usize = 4;
/// Bytes of an extent's block besides its entries.
pub(super) const EXTENT_OVERHEAD_BYTES: usize = HEAD_BYTES + EXTENT_HEAD_BYTES + CRC_BYTES;
/// Longest block.
pub(super) const BLOCK_BYTES_MAX: usize = 16 << 10;

const KIND_FILE: u8 = 1;
const KIND_DENSE: u8 = 2;
const KIND_WIDE: u8 = 3;
const KIND_CHECKPOINT: u8 = 4;
const KIND_CUT: u8 = 5;
const KIND_DROPPED: u8 = 6;

/// Where a block lies, and the checksum of the one before it (0 before the first of all).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) file: u64,
    pub(super) at: u64,
    pub(super) previous_crc: u32,
}

/// What an extent's block says before its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtentHead {
    pub(super) queue: QueueKey,
    pub(super) first_offset: u64,
    /// The first offset behind the last entry.
    pub(super) next_offset: u64,
    /// The log positions of the first and the last entry.
    pub(super) first_position: u64,
    pub(super) last_position: u64,
}

/// A block's meaning.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    /// The first block of every file.
    File,
    /// Entries; they replace what the queue had in their range of offsets.
    Extent(ExtentHead, Packed<'a>),
    /// All before holds for the log below `covered`; files before `first_file` are not needed.
    Checkpoint { covered: u64, first_file: u64 },
    /// Entries at or above `position` that stand before are void.
    Cut { position: u64 },
    /// Entries of the topic that stand before are void.
    Dropped { topic: TopicNumber },
}

/// A block that was read and checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) link: Link,
    pub(super) body: Body<'a>,
    pub(super) crc: u32,
    /// Its bytes.
    pub(super) len: usize,
}

/// Appends a block; `entries` writes an extent's entries behind its head. Gives the block's checksum.
pub(super) fn write(out: &mut Vec<u8>, link: Link, kind: Kind, entries: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let start = out.len();
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&[VERSION, kind.number(), 0, 0]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&link.file.to_be_bytes());
    out.extend_from_slice(&link.at.to_be_bytes());
    out.extend_from_slice(&link.previous_crc.to_be_bytes());
    match kind {
        Kind::File => {}
        Kind::Extent { head, count, .. } => {
            out.extend_from_slice(&head.queue.topic.0.to_be_bytes());
            out.extend_from_slice(&head.queue.queue_id.to_be_bytes());
            out.extend_from_slice(&head.first_offset.to_be_bytes());
            out.extend_from_slice(&(count as u32).to_be_bytes());
            out.extend_from_slice(&head.next_offset.to_be_bytes());
            out.extend_from_slice(&head.first_position.to_be_bytes());
            out.extend_from_slice(&head.last_position.to_be_bytes());
            entries(out);
        }
        Kind::Checkpoint { covered, first_file } => {
            out.extend_from_slice(&covered.to_be_bytes());
            out.extend_from_slice(&first_file.to_be_bytes());
        }
        Kind::Cut { position } => out.extend_from_slice(&position.to_be_bytes()),
        Kind::Dropped { topic } => out.extend_from_slice(&topic.0.to_be_bytes()),
    }
    let len = out.len() + CRC_BYTES - start;
    assert_eq!(len, kind.block_bytes(), "a block has the length that its place was chosen for");
    assert!(len <= BLOCK_BYTES_MAX, "a block of {len} bytes");
    out[start + 8..start + 12].copy_from_slice(&(len as u32).to_be_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
    crc
}

/// What a block to be written is, without its entries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    File,
    Extent { head: ExtentHead, shape: Shape, count: usize },
    Checkpoint { covered: u64, first_file: u64 },
    Cut { position: u64 },
    Dropped { topic: TopicNumber },
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::File => KIND_FILE,
            Kind::Extent { shape: Shape::Dense, .. } => KIND_DENSE,
            Kind::Extent { shape: Shape::Wide, .. } => KIND_WIDE,
            Kind::Checkpoint { .. } => KIND_CHECKPOINT,
            Kind::Cut { .. } => KIND_CUT,
            Kind::Dropped { .. } => KIND_DROPPED,
        }
    }

    /// Bytes that the block takes.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Kind::File => HEAD_BYTES + CRC_BYTES,
            Kind::Extent { shape, count, .. } => extent_bytes(shape, count),
            Kind::Checkpoint { .. } => HEAD_BYTES + 16 + CRC_BYTES,
            Kind::Cut { .. } => HEAD_BYTES + 8 + CRC_BYTES,
            Kind::Dropped { .. } => HEAD_BYTES + 4 + CRC_BYTES,
        }
    }
}

/// Bytes of the block that holds `count` entries.
pub(super) fn extent_bytes(shape: Shape, count: usize) -> usize {
    EXTENT_OVERHEAD_BYTES + count * shape.entry_bytes()
}

/// The block at the start of `bytes`; `None` when there is no whole, right one. Trusts nothing.
pub(super) fn parse(bytes: &[u8]) -> Option<Block<'_>> {
    if bytes.len() < HEAD_BYTES + CRC_BYTES || be32(bytes, 0) != MAGIC {
        return None;
    }
    if bytes[4] != VERSION || bytes[6..8] != [0, 0] {
        return None;
    }
    let len = be32(bytes, 8) as usize;
    if !(HEAD_BYTES + CRC_BYTES..=BLOCK_BYTES_MAX.min(bytes.len())).contains(&len) {
        return None;
    }
    let crc = be32(bytes, len - CRC_BYTES);
    if crc != crc32fast::hash(&bytes[..len - CRC_BYTES]) {
        return None;
    }
    let link = Link { file: be64(bytes, 12), at: be64(bytes, 20), previous_crc: be32(bytes, 28) };
    let body = parse_body(bytes[5], &bytes[HEAD_BYTES..len - CRC_BYTES])?;
    Some(Block { link, body, crc, len })
}

/// The meaning of a block that [`parse`] took once: its checksum is not computed again.
pub(super) fn parse_checked(block: &[u8]) -> Option<Body<'_>> {
    parse_body(*block.get(5)?, block.get(HEAD_BYTES..block.len().checked_sub(CRC_BYTES)?)?)
}

fn parse_body(kind: u8, body: &[u8]) -> Option<Body<'_>> {
    Some(match (kind, body.len()) {
        (KIND_FILE, 0) => Body::File,
        (KIND_DENSE, _) => parse_extent(Shape::Dense, body)?,
        (KIND_WIDE, _) => parse_extent(Shape::Wide, body)?,
        (KIND_CHECKPOINT, 16) => Body::Checkpoint { covered: be64(body, 0), first_file: be64(body, 8) },
        (KIND_CUT, 8) => Body::Cut { position: be64(body, 0) },
        (KIND_DROPPED, 4) => Body::Dropped { topic: TopicNumber(be32(body, 0)) },
        _ => return None,
    })
}

fn parse_extent(shape: Shape, body: &[u8]) -> Option<Body<'_>> {
    if body.len() <= EXTENT_HEAD_BYTES {
        return None;
    }
    let head = ExtentHead {
        queue: QueueKey { topic: TopicNumber(be32(body, 0)), queue_id: be32(body, 4) },
        first_offset: be64(body, 8),
        next_offset: be64(body, 20),
        first_position: be64(body, 28),
        last_position: be64(body, 36),
    };
    let count = be32(body, 16) as usize;
    let bytes = &body[EXTENT_HEAD_BYTES..];
    let packed = Packed { shape, first_offset: head.first_offset, bytes };
    let span = head.next_offset.checked_sub(head.first_offset)?;
    let whole = bytes.len() == count * shape.entry_bytes()
        && u32::try_from(span).is_ok_and(|span| span as usize >= count)
        && head.first_position <= head.last_position
        && (shape == Shape::Wide || span == count as u64);
    if !whole {
        return None;
    }
    let (first, last) = (packed.get(0), packed.get(count - 1));
    let agrees = first.first_offset == head.first_offset
        && first.position == head.first_position
        && last.first_offset.checked_add(u64::from(last.count)) == Some(head.next_offset)
        && last.position == head.last_position;
    agrees.then_some(Body::Extent(head, packed))
}
