//! What is appended: groups of records that stand or fall together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use braid_record::{Draft, Encoded, RecordView, Stamp, TargetSlot, encode, target};

use crate::catalog::{QueueKey, STATE_TOPIC, STATE_TOPIC_NUMBER, TopicNumber};
use crate::keys::key_hash;
use crate::options::{Deriver, Facts, ProducerFacts};
use crate::progress::{Level, Position, Promise};
use crate::state::{STATE_KEY_BYTES_MAX, StateChange, StateKind, encode_body};

/// The payload kind of state records.
pub(crate) const STATE_PAYLOAD_KIND: &str = "braid-state";

/// One queue that a record enters, and how many offsets it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueKey,
    /// Offsets that the record takes, at least 1.
    pub count: u32,
}

/// One record of a group. `draft.targets` and `draft.group_goes_on` are filled in by the builder.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Topic, body, properties and the rest.
    pub draft: Draft<'a>,
    /// The number of the draft's topic.
    pub topic: TopicNumber,
    /// Offsets taken in the draft's own queue, at least 1; 1 for RocketMQ's messages.
    pub count: u32,
    /// Further queues that the record enters.
    pub more_targets: &'a [Target],
}

/// Collects the records of one group and encodes them, outside the append section.
#[derive(Debug, Default)]
pub struct GroupBuilder {
    buf: Vec<u8>,
    records: Vec<Prepared>,
    changes: Vec<StateChange>,
    error: Option<AppendError>,
}

/// Records that are encoded and wait for their offsets; they stand or fall together.
#[derive(Debug)]
pub struct Group {
    pub(crate) buf: Vec<u8>,
    pub(crate) records: Vec<Prepared>,
    /// What the first record changes, if it is a state record.
    pub(crate) changes: Vec<StateChange>,
    /// True when a record has a producer's numbers.
    pub(crate) is_numbered: bool,
}

/// One record of a group, with all that the append section needs of it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Where it begins in the group's bytes.
    start: usize,
    encoded: Encoded,
    pub(crate) targets: Targets,
    /// Bytes of the draft's own properties, for encoding it again.
    properties_len: usize,
    /// Where its topic's name lies in the group's bytes.
    topic: Range<usize>,
    pub(crate) word: i64,
    pub(crate) newest_time: Option<i64>,
    pub(crate) producer: Option<ProducerFacts>,
    /// Messages in the batch that it holds.
    batch: Option<u32>,
    /// Hashes of its keys.
    pub(crate) key_hashes: Vec<u64>,
}

/// The queues that a record enters; nearly always one.
#[derive(Debug)]
pub(crate) enum Targets {
    One(Target),
    Many(Vec<Target>),
}

impl Targets {
    pub(crate) fn as_slice(&self) -> &[Target] {
        match self {
            Self::One(target) => std::slice::from_ref(target),
            Self::Many(targets) => targets,
        }
    }

    /// The record's own queue.
    pub(crate) fn own(&self) -> Target {
        self.as_slice()[0]
    }

    /// A single target of one offset needs no slots on disk: the envelope's own fields say it.
    fn slots(&self) -> Vec<TargetSlot> {
        match self.as_slice() {
            [own] if own.count == 1 => Vec::new(),
            targets => targets
                .iter()
                .map(|t| TargetSlot {
                    topic: t.queue.topic.0,
                    queue_id: t.queue.queue_id,
                    first_offset: 0,
                    count: t.count,
                })
                .collect(),
        }
    }
}

/// Where one record of a group went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the log.
    pub position: Position,
    /// Its bytes.
    pub size: u32,
    /// Its offset in its own queue (the first target).
    pub offset: u64,
    /// First offsets in the further targets, in their order.
    pub more_offsets: Vec<u64>,
    /// The store's milliseconds.
    pub store_timestamp: i64,
}

/// Where a group went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// End of the group's last record. Of a duplicate, the end of what was appended the first time: its answer is given
    /// when the original's is.
    pub end: Position,
    /// Its records, in order. State changes are not listed. Of a duplicate, the originals of those that carry a producer's
    /// numbers, without offsets in further targets.
    pub records: Vec<Placed>,
    /// Nothing was appended, because every record with a producer's numbers had been before.
    pub duplicate: bool,
}

impl Appended {
    /// Ties an answer to this append: it can be given once `level` is proved for it.
    pub fn promise<T>(&self, level: Level, value: T) -> Promise<T> {
        Promise { end: self.end, level, value }
    }
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A record is malformed or too long.
    #[error(transparent)]
    Encode(#[from] braid_record::EncodeError),
    /// The group does not fit into one log file.
    #[error("{bytes} bytes do not fit into a log file of {file_bytes}")]
    TooLarge {
        /// Bytes of the group.
        bytes: u64,
        /// Length of a log file.
        file_bytes: u64,
    },
    /// A target names a topic that does not exist (any more).
    #[error("topic number {} does not exist", .0.0)]
    NoTopic(TopicNumber),
    /// A queue id or count is above what a target slot can hold.
    #[error("a target is out of range")]
    TargetRange,
    /// A producer's batch does not follow its last one, or repeats a part of a group. Nothing was appended.
    #[error(
        "producer {producer_id} sent sequence number {first_sequence} where {expected} would have been the next"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The number with which its batch begins.
        first_sequence: i32,
        /// The number with which it would have been taken.
        expected: i32,
    },
    /// A producer's epoch is lower than one that the queue knows: another life of the producer took its place.
    #[error("producer {producer_id} has epoch {epoch}, the queue knows its epoch {known_epoch}")]
    StaleProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// The epoch that it sent.
        epoch: i16,
        /// The newest one.
        known_epoch: i16,
    },
    /// A state entry's key is too long.
    #[error("a state entry's key has {0} bytes, {STATE_KEY_BYTES_MAX} is the limit")]
    StateKey(usize),
    /// The bound on unflushed bytes is reached; try again after [`Progress`](crate::Progress).
    #[error("the disk is slower than the writers; {unflushed} bytes wait for it")]
    Busy {
        /// Bytes that are appended and not flushed.
        unflushed: u64,
    },
    /// The disk is full; readers go on, and writers once space is free.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// The log ended on an error; a restart recovers.
    #[error("the log is closed for writing: {0}")]
    Closed(String),
}

impl GroupBuilder {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds state changes; they become one record of the internal state topic.
    ///
    /// # Panics
    /// When a kind is the store's own.
    pub fn state(&mut self, changes: &[StateChange]) -> &mut Self {
        assert!(
            changes.iter().all(|change| change.kind >= StateKind::FIRST_FREE),
            "kinds below {} are the store's own",
            StateKind::FIRST_FREE.0
        );
        self.any_state(changes)
    }

    pub(crate) fn any_state(&mut self, changes: &[StateChange]) -> &mut Self {
        if let Some(long) = changes.iter().find(|change| change.key.len() > STATE_KEY_BYTES_MAX) {
            self.error.get_or_insert(AppendError::StateKey(long.key.len()));
        }
        self.changes.extend_from_slice(changes);
        self
    }

    /// Adds a record. Its facts come from the deriver of its kind, when the group is encoded by [`Store::group`](crate::Store::group).
    pub fn record(&mut self, record: NewRecord<'_>) -> &mut Self {
        if self.error.is_none()
            && let Err(error) = self.try_record(&record)
        {
            self.error = Some(error);
        }
        self
    }

    fn try_record(&mut self, record: &NewRecord<'_>) -> Result<(), AppendError> {
        let queue = QueueKey { topic: record.topic, queue_id: record.draft.queue_id };
        let own = Target { queue, count: record.count };
        let targets = if record.more_targets.is_empty() {
            Targets::One(own)
        } else {
            Targets::Many(std::iter::once(own).chain(record.more_targets.iter().copied()).collect())
        };
        if !targets.as_slice().iter().all(is_in_range) {
            return Err(AppendError::TargetRange);
        }
        self.mark_last()?;
        self.push(&record.draft, targets, false)
    }

    fn push(&mut self, draft: &Draft<'_>, targets: Targets, group_goes_on: bool) -> Result<(), AppendError> {
        let start = self.buf.len();
        let slots = targets.slots();
        let draft = Draft { targets: &slots, group_goes_on, ..*draft };
        let encoded = encode(&draft, &mut self.buf)?;
        self.records.push(Prepared {
            start,
            encoded,
            targets,
            properties_len: draft.properties.len(),
            topic: 0..0,
            word: 0,
            newest_time: None,
            producer: None,
            batch: draft.batch,
            key_hashes: Vec::new(),
        });
        Ok(())
    }

    /// Encodes the last record again, now with the mark that another one follows. Groups of several records are rare,
    /// so a record is first encoded as if it were the only one.
    fn mark_last(&mut self) -> Result<(), AppendError> {
        let Some(last) = self.records.pop() else { return Ok(()) };
        let bytes = self.buf.split_off(last.start);
        let view = RecordView::parse(&bytes).expect("the codec reads what it wrote");
        let kind = view.kind().map(|kind| std::str::from_utf8(kind).expect("kinds come as text"));
        let draft = Draft {
            topic: view.topic(),
            queue_id: view.queue_id(),
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_timestamp: view.born_timestamp(),
            born_host: view.born_host(),
            store_host: view.store_host(),
            reconsume_times: view.reconsume_times(),
            prepared_transaction_offset: view.prepared_transaction_offset(),
            body: view.body(),
            properties: &view.properties()[..last.properties_len],
            kind,
            targets: &[],
            group_goes_on: true,
            batch: last.batch,
        };
        self.push(&draft, last.targets, true)
    }

    /// Encodes what is left to encode, and derives the records' facts.
    pub(crate) fn finish(
        mut self,
        derivers: &[(Option<&'static str>, Deriver)],
        bytes_max: u64,
        now_ms: i64,
    ) -> Result<Group, AppendError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if !self.changes.is_empty() {
            self.put_state_first(now_ms)?;
        }
        assert!(!self.records.is_empty(), "a group has at least one record or state change");
        let bytes = self.buf.len() as u64;
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, file_bytes: bytes_max });
        }
        let mut is_numbered = false;
        for record in &mut self.records {
            let view = RecordView::parse(&self.buf[record.start..]).expect("the codec reads what it wrote");
            let facts = derive(derivers, &view);
            let topic_end = record.start + view.len() - view.properties().len() - 2;
            record.topic = topic_end - view.topic().len()..topic_end;
            record.word = facts.index_word;
            record.newest_time = facts.newest_time;
            record.producer = facts.producer;
            is_numbered |= facts.producer.is_some();
            let topic = record.targets.own().queue.topic;
            record.key_hashes = facts.keys.iter().map(|key| key_hash(topic, key)).collect();
        }
        Ok(Group { buf: self.buf, records: self.records, changes: self.changes, is_numbered })
    }

    /// The state record is a group's first: a copy behind it is never there without its progress.
    fn put_state_first(&mut self, now_ms: i64) -> Result<(), AppendError> {
        let host = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let body = encode_body(&self.changes);
        let draft = Draft {
            topic: STATE_TOPIC,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now_ms,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: &[],
            kind: Some(STATE_PAYLOAD_KIND),
            targets: &[],
            group_goes_on: false,
            batch: None,
        };
        let rest = std::mem::take(&mut self.buf);
        let records = std::mem::take(&mut self.records);
        let queue = QueueKey { topic: STATE_TOPIC_NUMBER, queue_id: 0 };
        self.push(&draft, Targets::One(Target { queue, count: 1 }), !records.is_empty())?;
        let shift = self.buf.len();
        self.buf.extend_from_slice(&rest);
        self.records.extend(records.into_iter().map(|r| Prepared { start: r.start + shift, ..r }));
        Ok(())
    }
}

fn is_in_range(target: &Target) -> bool {
    target.queue.topic.0 <= target::TOPIC_NUMBER_MAX
        && target.queue.queue_id <= target::QUEUE_ID_MAX
        && (1..=target::COUNT_MAX).contains(&target.count)
}

/// The facts of a record, by its kind's deriver; a kind without one has none.
pub(crate) fn derive(derivers: &[(Option<&'static str>, Deriver)], view: &RecordView<'_>) -> Facts {
    let kind = view.kind();
    derivers
        .iter()
        .find(|(of, _)| of.map(str::as_bytes) == kind)
        .map_or_else(Facts::default, |(_, deriver)| deriver(view))
}

impl Group {
    /// True when the group only lets go of records, so that their files can: it is let in on a full disk, as far as the
    /// room goes that was made ahead.
    pub(crate) fn gives_room(&self) -> bool {
        let lets_go = |change: &StateChange| {
            change.kind == StateKind::START || change.kind == StateKind::TOPIC && change.value.is_none()
        };
        !self.changes.is_empty() && self.records.len() == 1 && self.changes.iter().all(lets_go)
    }

    /// Bytes of all records.
    pub(crate) fn len(&self) -> u64 {
        self.buf.len() as u64
    }

    /// The name that a record was encoded with.
    pub(crate) fn topic_of(&self, record: &Prepared) -> &[u8] {
        &self.buf[record.topic.clone()]
    }

    /// Stamps the record's bytes.
    pub(crate) fn stamp(&mut self, index: usize, group_position: u64, first_offsets: &[u64], store_ms: i64) {
        let record = &self.records[index];
        let own = record.targets.own();
        let plain = matches!(record.targets.as_slice(), [_] if own.count == 1);
        let stamp = Stamp {
            queue_offset: first_offsets[0],
            position: group_position + record.start as u64,
            store_timestamp: store_ms,
            slot_offsets: if plain { &[] } else { first_offsets },
        };
        record.encoded.stamp(&mut self.buf[record.start..][..record.encoded.len()], &stamp);
    }
}

impl Prepared {
    pub(crate) fn start(&self) -> u64 {
        self.start as u64
    }

    pub(crate) fn size(&self) -> u32 {
        self.encoded.len() as u32
    }
}
