//! State that is not messages: changes are records of an internal topic, the sum of them is a snapshot.

/// What a state entry is about. Numbers below 16 are the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKind(pub u8);

impl StateKind {
    /// Topics: created, changed, deleted. Written by the store alone.
    pub const TOPIC: Self = Self(1);
    /// First kind that is free for `broker`.
    pub const FIRST_FREE: Self = Self(16);
}

/// One change of state: an entry set, or removed when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// What it is about.
    pub kind: StateKind,
    /// The entry's key inside its kind; at most 512 bytes.
    pub key: Vec<u8>,
    /// Its new value, or `None` when it goes.
    pub value: Option<Vec<u8>>,
}
