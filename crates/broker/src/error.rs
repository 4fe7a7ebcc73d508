//! Why something was refused. Each edge maps this in one exhaustive `match`.

use braid_store::{AppendError, StoreError};

use crate::classic::GroupError;

/// A refusal, by cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic does not exist, and may not be made on first use.
    #[error("topic {0} does not exist")]
    NoTopic(String),
    /// A topic of this name exists.
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// A client of some protocol could not tell the topic from one that exists.
    #[error("topic {name} could not be told from topic {twin} in one of the protocols")]
    TopicTwin {
        /// The topic that was to be made.
        name: String,
        /// The topic that exists.
        twin: String,
    },
    /// The topic belongs to the system and may not be deleted.
    #[error("topic {0} belongs to the system")]
    SystemTopic(String),
    /// The topic may not be written to.
    #[error("topic {0} is not writable")]
    NotWritable(String),
    /// The topic has no such queue.
    #[error("topic {topic} has {queues} queues, there is no queue {queue_id}")]
    NoQueue {
        /// The topic.
        topic: String,
        /// The queue that was asked for.
        queue_id: u32,
        /// Queues that the topic has.
        queues: u32,
    },
    /// The queue does not reach up to this offset.
    #[error("offset {offset} lies behind the queue's end {max}")]
    OffsetOutOfRange {
        /// The offset that was asked for.
        offset: u64,
        /// The queue's visible end.
        max: u64,
    },
    /// The group does not exist, and may not be made on first use.
    #[error("group {0} does not exist")]
    NoGroup(String),
    /// There is no record of that name.
    #[error("there is no record at position {0}")]
    NoRecord(u64),
    /// A value is out of its range or contradicts another.
    #[error("{0}")]
    Invalid(String),
    /// The message is malformed, or does not fit where it must fit.
    #[error("{0}")]
    IllegalMessage(String),
    /// A bound is reached: too many topics, groups, members, subscriptions or parked readers.
    #[error("there are {max} {what} already, no more are allowed")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A producer's batch does not follow its last one; nothing was appended.
    #[error("{0}")]
    OutOfOrderSequence(String),
    /// A producer's epoch is lower than a known one; nothing was appended.
    #[error("{0}")]
    StaleProducerEpoch(String),
    /// The disk is slower than the writers: try again.
    #[error("{0}")]
    Busy(String),
    /// The disk is full; readers go on.
    #[error("{0}")]
    DiskFull(String),
    /// The log is closed for writing, until a restart.
    #[error("{0}")]
    Closed(String),
    /// Stored state cannot be understood.
    #[error("the stored state of {what} cannot be read: {reason}")]
    State {
        /// What the state is about.
        what: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A classic group refuses.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Reading the log failed, or a record is damaged.
    #[error(transparent)]
    Storage(StoreError),
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let sentence = error.to_string();
        match error {
            AppendError::Encode(_) | AppendError::TooLarge { .. } => Self::IllegalMessage(sentence),
            AppendError::NoTopic(_) => Self::NoTopic(sentence),
            AppendError::OutOfOrderSequence { .. } => Self::OutOfOrderSequence(sentence),
            AppendError::StaleProducerEpoch { .. } => Self::StaleProducerEpoch(sentence),
            AppendError::Busy { .. } => Self::Busy(sentence),
            AppendError::DiskFull(_) => Self::DiskFull(sentence),
            AppendError::Closed(_) => Self::Closed(sentence),
            AppendError::TargetRange | AppendError::StateKey(_) => Self::Invalid(sentence),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Append(error) => error.into(),
            other => Self::Storage(other),
        }
    }
}
