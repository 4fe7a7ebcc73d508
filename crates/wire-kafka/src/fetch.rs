//! Fetch on the broker's side: the request borrows from the receive buffer, the response leaves slices of the log between its heads.
//!
//! ```text
//!   response  │ length, header, topics … head of partition 0 │ slices of the log │ … head of partition 1 │ slices │ … end │
//!                                head                               pieces                head            pieces    head
//! ```
//!
//! The pieces are never copied, unless one is so small that a copy costs less than to hand it to the socket by itself.
//! A client's side, and a test's, is [`crate::messages::fetch`].

use bytes::Bytes;

use crate::input::{DecodeError, Input};
use crate::output::{put_i16, put_i32, put_i64, put_length, put_tag, put_uvarint};
pub use crate::place::{Leader, NodeEndpoint, TopicRef};
use crate::place::{Promised, put_endpoints};
use crate::walk::{Item, Walk};
use crate::{frame, header, keys};

/// The lowest version: the first with record batches of version 2.
pub const VERSION_MIN: i16 = 4;
/// The highest version.
pub const VERSION_MAX: i16 = 18;

const FLEXIBLE: i16 = 12;
const LOG_START: i16 = 5;
const SESSIONS: i16 = 7;
const LEADER_EPOCH: i16 = 9;
const RACKS: i16 = 11;
const TOPIC_IDS: i16 = 13;
const REPLICA_STATE: i16 = 15;
const ENDPOINTS: i16 = 16;

/// The tag of the replica's id and epoch, from version 15.
const REPLICA_STATE_TAG: u32 = 1;

/// Pieces of up to so many bytes are copied into the head.
pub const COPIED_BYTES_MAX: usize = 1024;

/// A request, of which everything was read once and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// -1 for consumers.
    pub replica_id: i32,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How many bytes are worth an answer before the wait ends.
    pub min_bytes: i32,
    /// The most record bytes wanted, but for the first batch.
    pub max_bytes: i32,
    /// 0: everything; 1: only what belongs to no open or aborted transaction.
    pub isolation_level: i8,
    /// The fetch session, 0 for none.
    pub session_id: i32,
    /// The place in the session: -1 for none, 0 to begin one.
    pub session_epoch: i32,
    /// What is to be read.
    pub topics: Walk<'a, Topic<'a>>,
    /// What leaves the session.
    pub forgotten: Walk<'a, ForgottenTopic<'a>>,
    /// The client's rack, or empty.
    pub rack_id: &'a str,
}

/// A topic of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic<'a> {
    /// Which.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: Walk<'a, Partition>,
}

/// What is to be read of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The partition's number.
    pub index: i32,
    /// The leader's epoch as the client knows it, or -1.
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record that the client has, or -1.
    pub last_fetched_epoch: i32,
    /// A follower's first offset; -1 from consumers.
    pub log_start_offset: i64,
    /// The most record bytes wanted of this partition, but for the first batch.
    pub max_bytes: i32,
}

/// A topic of which partitions leave the session.
#[derive(Debug, Clone, PartialEq)]
pub struct ForgottenTopic<'a> {
    /// Which.
    pub topic: TopicRef<'a>,
    /// The partitions' numbers.
    pub partitions: Walk<'a, i32>,
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
        let (flexible, sessions) = (version >= FLEXIBLE, version >= SESSIONS);
        let mut request = Self {
            replica_id: if version < REPLICA_STATE { input.i32()? } else { -1 },
            max_wait_ms: input.i32()?,
            min_bytes: input.i32()?,
            max_bytes: input.i32()?,
            isolation_level: input.i8()?,
            session_id: if sessions { input.i32()? } else { 0 },
            session_epoch: if sessions { input.i32()? } else { -1 },
            topics: Walk::read(version, flexible, input)?,
            forgotten: if sessions { Walk::read(version, flexible, input)? } else { Walk::empty() },
            rack_id: if version >= RACKS { input.str(flexible)? } else { "" },
        };
        if flexible {
            request.tags(version, input)?;
        }
        Ok(request)
    }

    fn tags(&mut self, version: i16, input: &mut Input<'a>) -> Result<(), DecodeError> {
        for _ in 0..input.tags()? {
            let (tag, end) = input.tag()?;
            if tag == REPLICA_STATE_TAG && version >= REPLICA_STATE {
                self.replica_id = input.i32()?;
                let _epoch = input.i64()?;
                input.skip_tags()?;
                input.tag_end(end)?;
            } else {
                input.skip_tag(end);
            }
        }
        Ok(())
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

impl<'a> Item<'a> for Partition {
    fn read(version: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let partition = Self {
            index: input.i32()?,
            current_leader_epoch: if version >= LEADER_EPOCH { input.i32()? } else { -1 },
            fetch_offset: input.i64()?,
            last_fetched_epoch: if version >= FLEXIBLE { input.i32()? } else { -1 },
            log_start_offset: if version >= LOG_START { input.i64()? } else { -1 },
            max_bytes: input.i32()?,
        };
        if flexible {
            // A follower's directory and high watermark: there are no Kafka followers here.
            input.skip_tags()?;
        }
        Ok(partition)
    }
}

impl<'a> Item<'a> for ForgottenTopic<'a> {
    fn read(version: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let topic = TopicRef::read(version >= TOPIC_IDS, flexible, input)?;
        let partitions = Walk::read(version, flexible, input)?;
        if flexible {
            input.skip_tags()?;
        }
        Ok(Self { topic, partitions })
    }
}

/// What a response says before its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead {
    /// How long the client is to wait.
    pub throttle_time_ms: i32,
    /// [`crate::error_code`] for the whole request; from version 7.
    pub error_code: i16,
    /// The session, 0 for none; from version 7.
    pub session_id: i32,
    /// How many topics follow.
    pub topics: usize,
}

/// What a response says about a partition, but for its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePartition<'a> {
    /// The partition's number.
    pub index: i32,
    /// [`crate::error_code`].
    pub error_code: i16,
    /// The offset after the last record that can be read; -1 if unknown.
    pub high_watermark: i64,
    /// The first offset of the oldest open transaction, or the high watermark; -1 if unknown.
    pub last_stable_offset: i64,
    /// The first offset that can be read; -1 if unknown. From version 5.
    pub log_start_offset: i64,
    /// The aborted transactions that the records touch; None if the client asked for everything.
    pub aborted: Option<&'a [AbortedTransaction]>,
    /// A node that the client should read from instead, or -1; from version 11.
    pub preferred_read_replica: i32,
    /// Where the client's records and the log part; from version 12.
    pub diverging_epoch: Option<EpochEnd>,
    /// Who leads instead; from version 12.
    pub current_leader: Option<Leader>,
}

impl ResponsePartition<'_> {
    /// The answer about a partition that can't be read.
    pub fn refused(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: None,
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
        }
    }
}

/// A transaction whose records are to be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: i64,
    /// The first offset of it.
    pub first_offset: i64,
}

/// An epoch and the offset after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: i32,
    /// The offset.
    pub end_offset: i64,
}

/// Writes a whole response frame: begin, then each topic and its partitions, then the end.
///
/// # Panics
/// In any method, if the topics and partitions are not as many as were promised.
pub struct ResponseWriter {
    head: Vec<u8>,
    /// Slices, each with the length of `head` before it.
    pieces: Vec<(usize, Bytes)>,
    piece_bytes: usize,
    version: i16,
    flexible: bool,
    promised: Promised,
}

impl ResponseWriter {
    /// Begins a frame.
    ///
    /// # Panics
    /// With a version outside of [`VERSION_MIN`] to [`VERSION_MAX`].
    pub fn begin(correlation_id: i32, version: i16, response: &ResponseHead) -> Self {
        assert!((VERSION_MIN..=VERSION_MAX).contains(&version), "Fetch response {version}");
        let flexible = version >= FLEXIBLE;
        let mut head = Vec::with_capacity(128);
        frame::begin(&mut head);
        header::encode_response(correlation_id, keys::FETCH, version, &mut head);
        put_i32(&mut head, response.throttle_time_ms);
        if version >= SESSIONS {
            put_i16(&mut head, response.error_code);
            put_i32(&mut head, response.session_id);
        }
        put_length(&mut head, Some(response.topics), flexible);
        let promised = Promised::topics(response.topics);
        Self { head, pieces: Vec::new(), piece_bytes: 0, version, flexible, promised }
    }

    /// Begins a topic with so many partitions.
    ///
    /// # Panics
    /// If the version names topics in the other way.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions: usize) {
        self.promised.topic(partitions);
        topic.write(self.version >= TOPIC_IDS, self.flexible, &mut self.head);
        put_length(&mut self.head, Some(partitions), self.flexible);
        self.end_topic();
    }

    /// Appends the topic's next partition with its record batches, which may lie in several slices.
    pub fn partition(
        &mut self,
        partition: &ResponsePartition<'_>,
        records: impl IntoIterator<Item = Bytes, IntoIter: Clone>,
    ) {
        self.promised.partition();
        self.partition_head(partition);
        let records = records.into_iter();
        put_length(&mut self.head, Some(records.clone().map(|slice| slice.len()).sum()), self.flexible);
        for slice in records {
            self.piece(slice);
        }
        if self.flexible {
            self.partition_tags(partition);
        }
        self.end_topic();
    }

    fn partition_head(&mut self, partition: &ResponsePartition<'_>) {
        let (out, flexible) = (&mut self.head, self.flexible);
        put_i32(out, partition.index);
        put_i16(out, partition.error_code);
        put_i64(out, partition.high_watermark);
        put_i64(out, partition.last_stable_offset);
        if self.version >= LOG_START {
            put_i64(out, partition.log_start_offset);
        }
        put_length(out, partition.aborted.map(<[_]>::len), flexible);
        for aborted in partition.aborted.unwrap_or_default() {
            put_i64(out, aborted.producer_id);
            put_i64(out, aborted.first_offset);
            if flexible {
                put_uvarint(out, 0);
            }
        }
        if self.version >= RACKS {
            put_i32(out, partition.preferred_read_replica);
        }
    }

    fn partition_tags(&mut self, partition: &ResponsePartition<'_>) {
        let out = &mut self.head;
        let (diverging, leader) = (partition.diverging_epoch, partition.current_leader);
        put_uvarint(out, u32::from(diverging.is_some()) + u32::from(leader.is_some()));
        if let Some(end) = diverging {
            put_tag(out, 0, |out| {
                put_i32(out, end.epoch);
                put_i64(out, end.end_offset);
                put_uvarint(out, 0);
            });
        }
        if let Some(leader) = leader {
            leader.put_tag(1, out);
        }
    }

    fn piece(&mut self, slice: Bytes) {
        if slice.len() <= COPIED_BYTES_MAX {
            return self.head.extend_from_slice(&slice);
        }
        self.piece_bytes += slice.len();
        self.pieces.push((self.head.len(), slice));
    }

    fn end_topic(&mut self) {
        if self.flexible && self.promised.is_last_partition() {
            put_uvarint(&mut self.head, 0);
        }
    }

    /// Ends the frame. The endpoints, of the leaders that partitions named, are written from version 16.
    ///
    /// # Panics
    /// If the frame is longer than `i32::MAX`.
    pub fn end(mut self, endpoints: &[NodeEndpoint<'_>]) -> Response {
        self.finish(endpoints);
        Response { head: self.head.into(), pieces: self.pieces, piece_bytes: self.piece_bytes }
    }

    /// Ends the frame as [`end`](Self::end) does, and gives its parts: the heads as one, and the slices of the log, each with the
    /// place in the heads before which it stands.
    ///
    /// # Panics
    /// If the frame is longer than `i32::MAX`.
    pub fn end_in_parts(mut self, endpoints: &[NodeEndpoint<'_>]) -> (Vec<u8>, Vec<(usize, Bytes)>) {
        self.finish(endpoints);
        (self.head, self.pieces)
    }
}

impl ResponseWriter {
    fn finish(&mut self, endpoints: &[NodeEndpoint<'_>]) {
        self.promised.end();
        if self.flexible {
            put_endpoints(if self.version >= ENDPOINTS { endpoints } else { &[] }, &mut self.head);
        }
        frame::finish(&mut self.head, 0, self.piece_bytes);
    }
}

/// A whole frame: heads with slices of the log between them.
#[derive(Debug, Clone)]
pub struct Response {
    head: Bytes,
    pieces: Vec<(usize, Bytes)>,
    piece_bytes: usize,
}

impl Response {
    /// The frame's bytes, with its length.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.piece_bytes
    }

    /// The frame in order. No chunk is empty.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> {
        let starts = std::iter::once(0).chain(self.pieces.iter().map(|(at, _)| *at));
        let ends = self.pieces.iter().map(|(at, _)| *at).chain([self.head.len()]);
        let heads = starts.zip(ends).map(|(start, end)| self.head.slice(start..end));
        let slices = self.pieces.iter().map(|(_, slice)| Some(slice.clone())).chain([None]);
        heads
            .zip(slices)
            .flat_map(|(head, slice)| [Some(head), slice])
            .flatten()
            .filter(|chunk| !chunk.is_empty())
    }
}
