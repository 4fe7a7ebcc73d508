//! What the index keeps of one record in one queue, and the newest entries of a queue in memory.

use super::Limits;

/// Where the record is that holds offsets `first_offset .. first_offset + count` of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The first offset that the record takes in this queue.
    pub(crate) first_offset: u64,
    /// How many offsets it takes, at least 1.
    pub(crate) count: u32,
    /// Where it starts in the log.
    pub(crate) position: u64,
    /// Its bytes there.
    pub(crate) size: u32,
    /// The 8-byte index word; what it means belongs to the queue.
    pub(crate) word: i64,
    /// The newest time inside the record in milliseconds, when that is not its store time.
    pub(crate) newest_time: Option<i64>,
}

impl Entry {
    /// The first offset behind the record.
    pub(crate) fn next_offset(&self) -> u64 {
        self.first_offset.saturating_add(u64::from(self.count))
    }

    /// True when a dense entry can hold it.
    fn is_plain(&self) -> bool {
        self.count == 1 && self.newest_time.is_none()
    }
}

/// Bytes of a dense entry: position 8, size 4, word 8, as RocketMQ's consume queue has them.
pub(super) const DENSE_BYTES: usize = 20;
/// Bytes of a wide entry: first offset 8, count 4, position 8, size 4, word 8, newest time 8.
pub(super) const WIDE_BYTES: usize = 40;
/// The newest time of a wide entry that has none.
pub(super) const NO_TIME: i64 = i64::MIN;

/// How the entries of a run or an extent are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each offset is one record; the offset follows from the place.
    Dense,
    /// Records span offsets, or offsets have gaps.
    Wide,
}

impl Shape {
    pub(super) fn entry_bytes(self) -> usize {
        match self {
            Shape::Dense => DENSE_BYTES,
            Shape::Wide => WIDE_BYTES,
        }
    }
}

/// What is known of a run's entries without looking at them; kept in memory for each extent, and computed when it is
/// read or written, so the disk need not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    /// The newest of the times that entries have of their own; [`NO_TIME`] when none has one.
    pub(super) newest_time: i64,
    /// Some entry has no time of its own.
    pub(super) has_untimed: bool,
    /// Bytes of all records.
    pub(super) bytes: u64,
}

impl Sum {
    pub(super) fn of(entries: impl Iterator<Item = Entry>) -> Self {
        let mut sum = Self { newest_time: NO_TIME, has_untimed: false, bytes: 0 };
        for entry in entries {
            sum.newest_time = sum.newest_time.max(entry.newest_time.unwrap_or(NO_TIME));
            sum.has_untimed |= entry.newest_time.is_none();
            sum.bytes += u64::from(entry.size);
        }
        sum
    }
}

/// Position, size and word in 32-bit halves, so that an entry takes 20 bytes in memory too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dense([u32; 5]);

impl Dense {
    fn new(entry: &Entry) -> Self {
        let (position, word) = (entry.position, entry.word as u64);
        Self([(position >> 32) as u32, position as u32, entry.size, (word >> 32) as u32, word as u32])
    }

    fn position(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }

    fn at(self, offset: u64) -> Entry {
        let word = u64::from(self.0[3]) << 32 | u64::from(self.0[4]);
        Entry {
            first_offset: offset,
            count: 1,
            position: self.position(),
            size: self.0[2],
            word: word as i64,
            newest_time: None,
        }
    }
}

/// An [`Entry`] in 40 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    first_offset: u64,
    position: u64,
    word: i64,
    newest_time: i64,
    count: u32,
    size: u32,
}

impl Wide {
    fn new(entry: &Entry) -> Self {
        Self {
            first_offset: entry.first_offset,
            position: entry.position,
            word: entry.word,
            newest_time: entry.newest_time.unwrap_or(NO_TIME),
            count: entry.count,
            size: entry.size,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            first_offset: self.first_offset,
            count: self.count,
            position: self.position,
            size: self.size,
            word: self.word,
            newest_time: (self.newest_time != NO_TIME).then_some(self.newest_time),
        }
    }
}

/// Consecutive entries of one queue, of one shape.
#[derive(Debug)]
pub(super) enum Run {
    Dense { first_offset: u64, entries: Vec<Dense> },
    Wide(Vec<Wide>),
}

impl Run {
    pub(super) const EMPTY: Run = Run::Dense { first_offset: 0, entries: Vec::new() };

    pub(super) fn shape(&self) -> Shape {
        match self {
            Run::Dense { .. } => Shape::Dense,
            Run::Wide(_) => Shape::Wide,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Run::Dense { entries, .. } => entries.len(),
            Run::Wide(entries) => entries.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of heap, the allocator's own included.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Run::Dense { entries, .. } => super::heap_bytes::<Dense>(entries.capacity()),
            Run::Wide(entries) => super::heap_bytes::<Wide>(entries.capacity()),
        }
    }

    pub(super) fn get(&self, at: usize) -> Entry {
        match self {
            Run::Dense { first_offset, entries } => entries[at].at(first_offset + at as u64),
            Run::Wide(entries) => entries[at].entry(),
        }
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Of the entries in a range.
    pub(super) fn sum(&self, range: std::ops::Range<usize>) -> Sum {
        Sum::of(range.map(|at| self.get(at)))
    }

    pub(super) fn position(&self, at: usize) -> u64 {
        match self {
            Run::Dense { entries, .. } => entries[at].position(),
            Run::Wide(entries) => entries[at].position,
        }
    }

    /// The first entry's offset; 0 when empty.
    pub(super) fn first_offset(&self) -> u64 {
        if self.is_empty() { 0 } else { self.get(0).first_offset }
    }

    /// The first offset behind the last entry; 0 when empty.
    pub(super) fn next_offset(&self) -> u64 {
        match self.len() {
            0 => 0,
            len => self.get(len - 1).next_offset(),
        }
    }

    /// False when the run is full or of the wrong shape, so that it must be sealed first.
    pub(super) fn accepts(&self, entry: &Entry, limits: &Limits) -> bool {
        if self.is_empty() {
            return true;
        }
        if entry.next_offset() - self.first_offset() > u64::from(u32::MAX) {
            return false;
        }
        match self {
            Run::Dense { entries, .. } => {
                entries.len() < limits.dense_entries_max
                    && entry.is_plain()
                    && entry.first_offset == self.next_offset()
            }
            Run::Wide(entries) => entries.len() < limits.wide_entries_max,
        }
    }

    /// Adds an entry that the run [`accepts`](Self::accepts). The first one decides the shape: wide when it must be,
    /// and behind a gap, since more gaps are likely there.
    pub(super) fn push(&mut self, entry: &Entry, behind_gap: bool, limits: &Limits) {
        debug_assert!(self.accepts(entry, limits), "{entry:?} does not fit");
        if self.is_empty() {
            *self = if entry.is_plain() && !behind_gap {
                Run::Dense { first_offset: entry.first_offset, entries: Vec::new() }
            } else {
                Run::Wide(Vec::new())
            };
        }
        match self {
            Run::Dense { entries, .. } => {
                super::reserve(entries, 2, limits.dense_entries_max);
                entries.push(Dense::new(entry));
            }
            Run::Wide(entries) => {
                super::reserve(entries, 2, limits.wide_entries_max);
                entries.push(Wide::new(entry));
            }
        }
    }

    /// Index of the first entry that ends behind `offset`.
    pub(super) fn index_of(&self, offset: u64) -> usize {
        match self {
            Run::Dense { first_offset, entries } => {
                usize::try_from(offset.saturating_sub(*first_offset)).unwrap_or(usize::MAX).min(entries.len())
            }
            Run::Wide(entries) => {
                entries.partition_point(|entry| entry.first_offset + u64::from(entry.count) <= offset)
            }
        }
    }

    /// Index of the first entry whose record starts at or above `position`.
    pub(super) fn index_at(&self, position: u64) -> usize {
        match self {
            Run::Dense { entries, .. } => entries.partition_point(|entry| entry.position() < position),
            Run::Wide(entries) => entries.partition_point(|entry| entry.position < position),
        }
    }

    /// Forgets the first `n` entries.
    pub(super) fn drop_front(&mut self, n: usize) {
        match self {
            Run::Dense { first_offset, entries } => {
                *first_offset += n as u64;
                entries.drain(..n);
            }
            Run::Wide(entries) => {
                entries.drain(..n);
            }
        }
    }

    /// Gives room back that no entry uses.
    pub(super) fn shrink(&mut self) {
        match self {
            Run::Dense { entries, .. } => entries.shrink_to_fit(),
            Run::Wide(entries) => entries.shrink_to_fit(),
        }
    }

    /// Writes entries as an extent holds them.
    pub(super) fn encode(&self, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
        match self {
            Run::Dense { entries, .. } => {
                for half in entries[range].iter().flat_map(|entry| entry.0) {
                    out.extend_from_slice(&half.to_be_bytes());
                }
            }
            Run::Wide(entries) => {
                for entry in &entries[range] {
                    out.extend_from_slice(&entry.first_offset.to_be_bytes());
                    out.extend_from_slice(&entry.count.to_be_bytes());
                    out.extend_from_slice(&entry.position.to_be_bytes());
                    out.extend_from_slice(&entry.size.to_be_bytes());
                    out.extend_from_slice(&entry.word.to_be_bytes());
                    out.extend_from_slice(&entry.newest_time.to_be_bytes());
                }
            }
        }
    }
}

/// The entries of an extent as they lie on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) shape: Shape,
    /// The offset of the first entry.
    pub(super) first_offset: u64,
    /// A whole number of entries.
    pub(super) bytes: &'a [u8],
}

impl Packed<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.shape.entry_bytes()
    }

    pub(super) fn get(&self, at: usize) -> Entry {
        let bytes = &self.bytes[at * self.shape.entry_bytes()..][..self.shape.entry_bytes()];
        match self.shape {
            Shape::Dense => Entry {
                first_offset: self.first_offset + at as u64,
                count: 1,
                position: be64(bytes, 0),
                size: be32(bytes, 8),
                word: be64(bytes, 12) as i64,
                newest_time: None,
            },
            Shape::Wide => {
                let newest_time = be64(bytes, 32) as i64;
                Entry {
                    first_offset: be64(bytes, 0),
                    count: be32(bytes, 8),
                    position: be64(bytes, 12),
                    size: be32(bytes, 20),
                    word: be64(bytes, 24) as i64,
                    newest_time: (newest_time != NO_TIME).then_some(newest_time),
                }
            }
        }
    }

    /// The first `used` entries, for a run that is not cut all.
    pub(super) fn entries(&self, used: usize) -> impl DoubleEndedIterator<Item = Entry> {
        (0..used).map(|at| self.get(at))
    }

    /// Index of the first of the first `used` entries that ends behind `offset`; `used` when there is none.
    pub(super) fn index_of(&self, offset: u64, used: usize) -> usize {
        match self.shape {
            Shape::Dense => {
                usize::try_from(offset.saturating_sub(self.first_offset)).unwrap_or(usize::MAX).min(used)
            }
            Shape::Wide => partition(used, |at| self.get(at).next_offset() <= offset),
        }
    }

    /// Index of the first of the first `used` entries whose record starts at or above `position`.
    pub(super) fn index_at(&self, position: u64, used: usize) -> usize {
        partition(used, |at| self.get(at).position < position)
    }
}

fn partition(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The big-endian number at `at`. # Panics: when it does not lie inside `bytes`.
pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
}

/// The big-endian number at `at`. # Panics: when it does not lie inside `bytes`.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("a slice of 4 bytes"))
}
