//! Produce on the broker's side: the request borrows from the receive buffer, the response is written without a struct for it.
//!
//! A client's side, and a test's, is [`crate::messages::produce`].

use crate::input::{DecodeError, Input};
use crate::output::{put_i16, put_i32, put_i64, put_length, put_nullable_string, put_uvarint};
pub use crate::place::{Leader, NodeEndpoint, TopicRef};
use crate::place::{Promised, put_endpoints};
use crate::walk::{Item, Walk};

/// The lowest version: the first with record batches of version 2.
pub const VERSION_MIN: i16 = 3;
/// The highest version.
pub const VERSION_MAX: i16 = 13;

const FLEXIBLE: i16 = 9;
const LOG_START: i16 = 5;
const RECORD_ERRORS: i16 = 8;
const LEADER_TAGS: i16 = 10;
const TOPIC_IDS: i16 = 13;

/// A request, of which everything was read once and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The transaction that this belongs to.
    pub transactional_id: Option<&'a str>,
    /// -1: answer when the records are as safe as the broker makes them; 1: when they are appended; 0: not at all.
    pub acks: i16,
    /// How long the client waits.
    pub timeout_ms: i32,
    /// What is to be appended where.
    pub topics: Walk<'a, Topic<'a>>,
}

/// A topic of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic<'a> {
    /// Which.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: Walk<'a, Partition<'a>>,
}

/// What is to be appended to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition<'a> {
    /// The partition's number.
    pub index: i32,
    /// One record batch, if the client keeps to the protocol.
    pub records: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads and checks a body, and leaves what follows it in `input`.
    ///
    /// # Errors
    /// What [`DecodeError`] says; a version outside of [`VERSION_MIN`] to [`VERSION_MAX`].
    pub fn decode(version: i16, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
            return Err(DecodeError::Version(version));
        }
        let flexible = version >= FLEXIBLE;
        let request = Self {
            transactional_id: input.nullable_str(flexible)?,
            acks: input.i16()?,
            timeout_ms: input.i32()?,
            topics: Walk::read(version, flexible, input)?,
        };
        if flexible {
            input.skip_tags()?;
        }
        Ok(request)
    }
}

impl<'a> Item<'a> for Topic<'a> {
    fn read(version: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let topic = TopicRef::read(version >= TOPIC_IDS, flexible, input)?;
        let partitions = Walk::read(version, flexible, input)?;
        if flexible {
            input.skip_tags()?;
        }
        Ok(Self { topic, partitions })
    }
}

impl<'a> Item<'a> for Partition<'a> {
    fn read(_: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let partition = Self { index: input.i32()?, records: input.nullable_slice(flexible)? };
        if flexible {
            input.skip_tags()?;
        }
        Ok(partition)
    }
}

/// What became of a partition's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePartition<'a> {
    /// The partition's number.
    pub index: i32,
    /// [`crate::error_code`].
    pub error_code: i16,
    /// The offset of the first record; -1 if none was appended.
    pub base_offset: i64,
    /// The broker's time in milliseconds where it replaces the producer's; else -1.
    pub log_append_time_ms: i64,
    /// The first offset that can be read; from version 5.
    pub log_start_offset: i64,
    /// The records that made the broker refuse the batch; from version 8.
    pub record_errors: &'a [RecordError<'a>],
    /// Why the batch was refused; from version 8.
    pub error_message: Option<&'a str>,
    /// Who leads instead; from version 10.
    pub current_leader: Option<Leader>,
}

impl ResponsePartition<'_> {
    /// The answer about a partition to which nothing was appended.
    pub fn refused(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

/// A record that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError<'a> {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<&'a str>,
}

/// Writes a response's body: begin, then each topic and its partitions, then the end.
///
/// # Panics
/// In any method, if the topics and partitions are not as many as were promised.
pub struct ResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    flexible: bool,
    promised: Promised,
}

impl<'o> ResponseWriter<'o> {
    /// Begins a body with so many topics.
    ///
    /// # Panics
    /// With a version outside of [`VERSION_MIN`] to [`VERSION_MAX`].
    pub fn begin(out: &'o mut Vec<u8>, version: i16, topics: usize) -> Self {
        assert!((VERSION_MIN..=VERSION_MAX).contains(&version), "Produce response {version}");
        let flexible = version >= FLEXIBLE;
        put_length(out, Some(topics), flexible);
        Self { out, version, flexible, promised: Promised::topics(topics) }
    }

    /// Begins a topic with so many partitions, at least one.
    ///
    /// # Panics
    /// If the version names topics in the other way.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions: usize) {
        self.promised.topic(partitions);
        topic.write(self.version >= TOPIC_IDS, self.flexible, self.out);
        put_length(self.out, Some(partitions), self.flexible);
        self.end_topic();
    }

    /// Appends the topic's next partition.
    pub fn partition(&mut self, partition: &ResponsePartition<'_>) {
        self.promised.partition();
        let (out, flexible) = (&mut *self.out, self.flexible);
        put_i32(out, partition.index);
        put_i16(out, partition.error_code);
        put_i64(out, partition.base_offset);
        put_i64(out, partition.log_append_time_ms);
        if self.version >= LOG_START {
            put_i64(out, partition.log_start_offset);
        }
        if self.version >= RECORD_ERRORS {
            put_length(out, Some(partition.record_errors.len()), flexible);
            for error in partition.record_errors {
                put_i32(out, error.batch_index);
                put_nullable_string(out, error.message, flexible);
                if flexible {
                    put_uvarint(out, 0);
                }
            }
            put_nullable_string(out, partition.error_message, flexible);
        }
        if flexible {
            let leader = partition.current_leader.filter(|_| self.version >= LEADER_TAGS);
            put_uvarint(out, leader.is_some().into());
            if let Some(leader) = leader {
                leader.put_tag(0, out);
            }
        }
        self.end_topic();
    }

    /// Bytes in the buffer so far: the next partition's error code is written 4 bytes behind that.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    fn end_topic(&mut self) {
        if self.flexible && self.promised.is_last_partition() {
            put_uvarint(self.out, 0);
        }
    }

    /// Ends the body. The endpoints, of the leaders that partitions named, are written from version 10.
    pub fn end(self, throttle_time_ms: i32, endpoints: &[NodeEndpoint<'_>]) {
        self.promised.end();
        put_i32(self.out, throttle_time_ms);
        if self.flexible {
            put_endpoints(if self.version >= LEADER_TAGS { endpoints } else { &[] }, self.out);
        }
    }
}
