//! One queue: where its extents lie in the journal, and its newest entries.

use super::block::{self, ExtentHead};
use super::cache::Place;
use super::entry::{Run, Shape, Sum};

/// A run of one queue's entries in the journal: what the directory keeps of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first_offset: u64,
    /// Log position of the first entry.
    pub(super) first_position: u64,
    /// Log position of the last entry that is used, or above it.
    pub(super) last_position: u64,
    /// The newest time that an entry has of its own, as in [`Sum`].
    pub(super) newest_time: i64,
    /// Bytes of the records of all entries that count.
    pub(super) bytes: u64,
    /// Offsets from the first to behind the last used one.
    span: u32,
    file: u32,
    at: u32,
    /// Entries in the block, which decide its length; the top bit says that some have no time of their own.
    entries: u16,
    /// Entries that count, fewer after a cut; the top bit says that they are wide.
    used: u16,
}

/// Where the first record at or above a position is.
#[derive(Debug)]
pub(super) enum FirstAt {
    Offset(u64),
    /// Somewhere in here, or right behind it.
    In(Extent),
}

/// Whether a queue's first entry lies below a position.
#[derive(Debug)]
pub(super) enum StartsBelow {
    Known(bool),
    /// In here is the first entry, and nothing else tells where.
    In(Extent),
}

const WIDE_BIT: u16 = 1 << 15;
const UNTIMED_BIT: u16 = 1 << 15;

impl Extent {
    pub(super) fn new(place: Place, head: &ExtentHead, shape: Shape, count: usize, sum: Sum) -> Self {
        let entries = u16::try_from(count).expect("a block's length bounds its entries");
        assert!((1..WIDE_BIT).contains(&entries), "{entries} entries");
        let wide = if shape == Shape::Wide { WIDE_BIT } else { 0 };
        let untimed = if sum.has_untimed { UNTIMED_BIT } else { 0 };
        Self {
            first_offset: head.first_offset,
            first_position: head.first_position,
            last_position: head.last_position,
            newest_time: sum.newest_time,
            bytes: sum.bytes,
            span: u32::try_from(head.next_offset - head.first_offset).expect("a run's span is bounded"),
            file: place.0,
            at: place.1,
            entries: entries | untimed,
            used: entries | wide,
        }
    }

    pub(super) fn place(&self) -> Place {
        (self.file, self.at)
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.first_offset + u64::from(self.span)
    }

    pub(super) fn shape(&self) -> Shape {
        if self.used & WIDE_BIT == 0 { Shape::Dense } else { Shape::Wide }
    }

    pub(super) fn used(&self) -> usize {
        usize::from(self.used & !WIDE_BIT)
    }

    pub(super) fn block_bytes(&self) -> usize {
        block::extent_bytes(self.shape(), (self.entries & !UNTIMED_BIT).into())
    }

    pub(super) fn has_untimed(&self) -> bool {
        self.entries & UNTIMED_BIT != 0
    }

    /// Only the first `used` entries count, which end at `next_offset`, lie below `position`, and have this sum.
    pub(super) fn cut(&mut self, used: usize, next_offset: u64, position: u64, sum: Sum) {
        assert!(
            (1..=self.used()).contains(&used) && next_offset <= self.next_offset(),
            "{self:?} cut to {used}"
        );
        self.used = used as u16 | (self.used & WIDE_BIT);
        self.span = u32::try_from(next_offset - self.first_offset).expect("it shrinks");
        self.last_position = self.last_position.min(position - 1);
        let untimed = if sum.has_untimed { UNTIMED_BIT } else { 0 };
        self.entries = self.entries & !UNTIMED_BIT | untimed;
        (self.newest_time, self.bytes) = (sum.newest_time, sum.bytes);
    }
}

/// A queue's state. Extents and tail may overlap: the first `clean` entries of the tail are on disk too.
///
/// ```text
///  min                    tail.first_offset                    next
///   ├── extent ── extent ─┼─ extent ─ extent ─┤                  │
///                         ├──────── clean ────┼──── dirty ───────┤  tail
/// ```
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) min: u64,
    pub(super) next: u64,
    pub(super) extents: Vec<Extent>,
    pub(super) tail: Run,
    pub(super) clean: u32,
    /// Named by its shard's list of dirty queues.
    pub(super) listed: bool,
    /// Named by the eviction ring.
    pub(super) in_ring: bool,
    /// Inserted into since the ring passed last.
    pub(super) touched: bool,
}

impl Queue {
    pub(super) fn starting_at(offset: u64) -> Self {
        Self {
            min: offset,
            next: offset,
            extents: Vec::new(),
            tail: Run::EMPTY,
            clean: 0,
            listed: false,
            in_ring: false,
            touched: false,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        super::heap_bytes::<Self>(1)
            + self.tail.heap_bytes()
            + super::heap_bytes::<Extent>(self.extents.capacity())
    }

    pub(super) fn dirty(&self) -> usize {
        self.tail.len() - self.clean as usize
    }

    /// The extent that covers `offset`, or else the first one behind it.
    pub(super) fn extent_at(&self, offset: u64) -> Option<&Extent> {
        self.extents.get(self.extents.partition_point(|extent| extent.next_offset() <= offset))
    }

    /// The first offset whose record lies at or above a position, or the extent to look into. Extents that end at or
    /// below offset `passed` are known to lie before it.
    pub(super) fn first_at(&self, position: u64, passed: u64) -> FirstAt {
        let in_tail = self.tail.index_at(position);
        let is_before = |extent: &Extent| extent.last_position < position || extent.next_offset() <= passed;
        let extent = self.extents.get(self.extents.partition_point(is_before));
        match extent.filter(|_| in_tail == 0) {
            Some(extent) if extent.first_position < position => FirstAt::In(*extent),
            Some(extent) => FirstAt::Offset(extent.first_offset),
            None if in_tail < self.tail.len() => FirstAt::Offset(self.tail.get(in_tail).first_offset),
            None => FirstAt::Offset(self.next),
        }
    }

    /// Whether the queue's first entry lies below a position.
    pub(super) fn starts_below(&self, position: u64) -> StartsBelow {
        if self.min >= self.next {
            return StartsBelow::Known(false);
        }
        let in_tail = (!self.tail.is_empty() && self.min >= self.tail.first_offset())
            .then(|| self.tail.index_of(self.min))
            .filter(|&at| at < self.tail.len());
        match (in_tail, self.extent_at(self.min)) {
            (Some(at), _) => StartsBelow::Known(self.tail.position(at) < position),
            (None, Some(extent)) if extent.first_position >= position => StartsBelow::Known(false),
            (None, Some(extent)) if extent.first_offset >= self.min || extent.last_position < position => {
                StartsBelow::Known(true)
            }
            (None, Some(extent)) => StartsBelow::In(*extent),
            (None, None) => StartsBelow::Known(!self.tail.is_empty() && self.tail.position(0) < position),
        }
    }

    pub(super) fn push_extent(&mut self, extent: Extent) {
        debug_assert!(self.extents.last().is_none_or(|last| last.next_offset() <= extent.first_offset));
        super::reserve(&mut self.extents, 1, usize::MAX);
        self.extents.push(extent);
    }

    /// Log position of the first entry; `None` for a queue without any.
    pub(super) fn first_position(&self) -> Option<u64> {
        let in_tail = (!self.tail.is_empty()).then(|| self.tail.position(0));
        self.extents.first().map(|extent| extent.first_position).or(in_tail)
    }

    /// The first offset that is left, when no block must be read for it.
    pub(super) fn first_left(&self, log_start: u64) -> Option<u64> {
        match self.extents.first() {
            Some(extent) if extent.first_position < log_start => None,
            Some(extent) => Some(extent.first_offset),
            None if self.tail.is_empty() => Some(self.next),
            None => Some(self.tail.first_offset()),
        }
    }
}
