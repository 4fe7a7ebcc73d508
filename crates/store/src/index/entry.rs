//! What the index keeps of one record in one queue.

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
        self.first_offset + u64::from(self.count)
    }
}
