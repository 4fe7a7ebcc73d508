//! Topics and their queues, as the store knows them: by number, never by name alone.
//!
//! A name may be used again after its topic was deleted, so a record belongs to the incarnation that existed at the
//! record's position: created before it, not deleted before it. A rebuild asks the same question, and the records of a
//! deleted topic stay dead.

use std::fmt;

/// A topic's number in this directory, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicNumber(pub u32);

/// A topic's identity in the world (Kafka's topic id).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({:032x})", self.0)
    }
}

/// One queue of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The topic.
    pub topic: TopicNumber,
    /// The queue inside it.
    pub queue_id: u32,
}

/// A topic that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: TopicNumber,
    /// Its id.
    pub id: TopicId,
    /// What `broker` keeps with it; opaque here.
    pub config: Vec<u8>,
}
