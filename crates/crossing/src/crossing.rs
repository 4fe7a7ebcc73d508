//! What the edges hold: packs, unpacks, remembers and counts.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use braid_record::{DecodeError, EncodeError, RecordView, TOPIC_BYTES_MAX, target};
use braid_wire_kafka::batch::{
    BatchHead, BatchView, BatchWriter, DECOMPRESSED_BYTES_MAX, PAYLOAD_KIND, Record, ShapeError,
};
use bytes::Bytes;

use crate::cache::Cache;
use crate::message::{Message, Origin};
use crate::rocketmq::{self, Envelope, UNREADABLE};
use crate::{kafka, unique};

/// The bytes that [`Crossing::default`] may remember, in each direction half.
pub const CACHE_BYTES_MAX: usize = 64 << 20;
/// A compressed batch of more bytes than this is better opened where a reactor does not wait for it.
pub const HEAVY_BYTES: usize = 256 << 10;

/// Why a record does not cross.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrossError {
    /// The bytes are no record.
    #[error("the record can't be read: {0}")]
    Record(#[from] DecodeError),
    /// A payload kind that nobody here reads.
    #[error("records of kind {0:?} do not cross")]
    Kind(String),
    /// A record of Kafka's kind whose body is no batch.
    #[error("the record's body is no batch: {0}")]
    Batch(#[from] ShapeError),
    /// The batch does not have the offsets that the record takes.
    #[error("the record takes {record} offsets, its batch has {batch}")]
    Span {
        /// What the record says.
        record: u32,
        /// What the batch says.
        batch: i64,
    },
    /// A queue or an offset that no record of a log has.
    #[error("queue {queue_id}, offset {offset} is out of range")]
    Place {
        /// The queue.
        queue_id: u32,
        /// The offset.
        offset: u64,
    },
    /// A message that fits into no record.
    #[error("the message fits into no record: {0}")]
    Encode(#[from] EncodeError),
    /// Nothing to pack.
    #[error("there is nothing to pack")]
    Nothing,
}

/// Whether a record holds RocketMQ's own message.
pub fn is_rocketmq(record: &RecordView<'_>) -> bool {
    record.kind().is_none()
}

/// Whether a record holds a Kafka batch.
pub fn is_kafka(record: &RecordView<'_>) -> bool {
    record.kind() == Some(PAYLOAD_KIND.as_bytes())
}

/// That the record's queue and offset, and the offsets behind it, are such as the log gives.
fn check_place(record: &RecordView<'_>) -> Result<(), CrossError> {
    let (queue_id, offset) = (record.queue_id(), record.queue_offset());
    if queue_id > target::QUEUE_ID_MAX || offset > target::OFFSET_MAX {
        return Err(CrossError::Place { queue_id, offset });
    }
    Ok(())
}

/// See the module. One for all edges of a process; all threads share it.
#[derive(Debug)]
pub struct Crossing {
    plans: Cache<Plan>,
    packs: Cache<Packed>,
    decoded_batches: AtomicU64,
    packed_batches: AtomicU64,
}

impl Default for Crossing {
    fn default() -> Self {
        Self::new(CACHE_BYTES_MAX)
    }
}

impl Crossing {
    /// Remembers at most `cache_bytes_max` bytes, and always the newest batch of each direction.
    pub fn new(cache_bytes_max: usize) -> Self {
        Self {
            plans: Cache::new(cache_bytes_max / 2),
            packs: Cache::new(cache_bytes_max / 2),
            decoded_batches: AtomicU64::new(0),
            packed_batches: AtomicU64::new(0),
        }
    }

    /// How many Kafka batches were looked into for a reader of another protocol.
    pub fn decoded_batches(&self) -> u64 {
        self.decoded_batches.load(Ordering::Relaxed)
    }

    /// How many batches were made for Kafka out of messages of another protocol.
    pub fn packed_batches(&self) -> u64 {
        self.packed_batches.load(Ordering::Relaxed)
    }

    /// Bytes that are remembered.
    pub fn cache_bytes(&self) -> usize {
        self.plans.bytes() + self.packs.bytes()
    }
}

/// How messages are packed into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Most messages of the batch.
    pub records_max: usize,
    /// Most bytes of the batch; the first message goes in whatever its size.
    pub bytes_max: usize,
    /// The epoch of the leader that appended them.
    pub leader_epoch: i32,
}

/// A batch made of messages of another protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The batch: version 2, uncompressed, with base offset, leader epoch and checksum in place.
    pub batch: Bytes,
    /// The first message's offset.
    pub first_offset: u64,
    /// How many messages are in it, and how many records it was made of.
    pub count: u32,
    /// True when it ended at a limit or before what does not fit behind it, false when there was nothing more.
    pub closed: bool,
    packing: Packing,
}

impl Packed {
    /// The offset behind the last message.
    pub fn next_offset(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

impl Crossing {
    /// Packs the first of `records`, and those behind it as long as they are RocketMQ's messages, have the next offsets and
    /// fit. The same records give the same bytes.
    ///
    /// # Errors
    /// When there is no record or the first is not RocketMQ's.
    pub fn pack(&self, records: &[Bytes], packing: &Packing) -> Result<Arc<Packed>, CrossError> {
        let first = RecordView::parse(records.first().ok_or(CrossError::Nothing)?)?;
        if !is_rocketmq(&first) {
            return Err(CrossError::Kind(
                String::from_utf8_lossy(first.kind().unwrap_or_default()).into_owned(),
            ));
        }
        check_place(&first)?;
        let remembered = self.packs.find(first.position()).filter(|packed| {
            packed.packing == *packing
                && packed.first_offset == first.queue_offset()
                && (packed.closed || packed.count as usize >= records.len())
        });
        if let Some(packed) = remembered {
            return Ok(packed);
        }
        let packed = Arc::new(pack(&first, records, packing));
        self.packed_batches.fetch_add(1, Ordering::Relaxed);
        self.packs.enter(first.position(), Arc::clone(&packed), packed.batch.len());
        Ok(packed)
    }
}

fn pack(first: &RecordView<'_>, records: &[Bytes], packing: &Packing) -> Packed {
    let first_offset = first.queue_offset();
    let mut batch = BatchWriter::new(BatchHead {
        base_offset: first_offset as i64,
        leader_epoch: packing.leader_epoch,
        ..BatchHead::default()
    });
    let mut closed = false;
    for record in records {
        let view = RecordView::parse(record).ok().filter(is_rocketmq);
        let next = view.filter(|view| view.queue_offset() == first_offset + u64::from(batch.count()));
        let Some(view) = next.filter(|_| batch.count() as usize != packing.records_max.max(1)) else {
            closed = true;
            break;
        };
        // The record's own bytes are about those that it takes in the batch, decompressed bodies aside.
        if batch.count() > 0 && batch.len() + view.len() > packing.bytes_max {
            closed = true;
            break;
        }
        kafka::write(&rocketmq::read(&view), &mut batch);
    }
    let count = batch.count();
    Packed { batch: batch.finish().into(), first_offset, count, closed, packing: *packing }
}

/// What was found out about a batch.
#[derive(Debug)]
enum Plan {
    Readable {
        /// The records' plain bytes, when they are compressed in the log.
        plain: Option<Vec<u8>>,
        /// Where each record begins in them.
        starts: Vec<u32>,
    },
    Unreadable(String),
}

/// A Kafka batch of the log, opened for a reader of another protocol. Holds on to the record's bytes.
#[derive(Debug, Clone)]
pub struct Batch {
    record: Bytes,
    plan: Arc<Plan>,
    base_offset: u64,
    count: u32,
}

/// How a reader sees the topic of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The topic's name in the reader's protocol; longer than a record's can be, the name inside is given instead.
    pub topic: &'a str,
    /// The topic's id.
    pub topic_id: &'a [u8; 16],
}

impl Crossing {
    /// True when [`open`](Self::open) would decompress much: a reactor lets another thread do that.
    pub fn is_heavy(&self, record: &[u8]) -> bool {
        let Ok(view) = RecordView::parse(record) else { return false };
        let Ok(batch) = BatchView::parse(view.body()) else { return false };
        view.body().len() > HEAVY_BYTES
            && batch.attributes() & 7 != 0
            && self.plans.find(view.position()).is_none()
    }

    /// Opens the batch in a record of the log.
    ///
    /// # Errors
    /// When the record holds no batch, or not as many offsets as it takes. A batch whose inside cannot be read is opened, see
    /// [`Batch::unreadable`].
    pub fn open(&self, record: &Bytes) -> Result<Batch, CrossError> {
        let view = RecordView::parse(record)?;
        if !is_kafka(&view) {
            return Err(CrossError::Kind(
                String::from_utf8_lossy(view.kind().unwrap_or_default()).into_owned(),
            ));
        }
        check_place(&view)?;
        let batch = BatchView::parse(view.body())?;
        let count = view.targets()?.first().map_or(1, |own| own.count);
        let offsets = i64::from(batch.last_offset_delta()) + 1;
        if offsets != i64::from(count) || batch.count() != batch.last_offset_delta() + 1 {
            return Err(CrossError::Span { record: count, batch: offsets });
        }
        let plan = self.plans.find(view.position()).unwrap_or_else(|| {
            let plan = Arc::new(plan(&batch));
            self.decoded_batches.fetch_add(1, Ordering::Relaxed);
            self.plans.enter(view.position(), Arc::clone(&plan), plan.bytes());
            plan
        });
        Ok(Batch { record: record.slice(..view.len()), plan, base_offset: view.queue_offset(), count })
    }
}

fn plan(batch: &BatchView<'_>) -> Plan {
    match starts(batch) {
        Ok((Cow::Owned(plain), starts)) => Plan::Readable { plain: Some(plain), starts },
        Ok((Cow::Borrowed(_), starts)) => Plan::Readable { plain: None, starts },
        Err(reason) => Plan::Unreadable(reason.replace(|char: char| char.is_ascii_control(), " ")),
    }
}

/// The plain records and where each begins.
fn starts<'b>(batch: &BatchView<'b>) -> Result<(Cow<'b, [u8]>, Vec<u32>), String> {
    let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut records = batch.records(&payload);
    let mut starts = Vec::with_capacity(records.count_max());
    loop {
        let at = payload.len() - records.rest_len();
        let Some(record) = records.next() else { break };
        let record = record.map_err(|error| error.to_string())?;
        if usize::try_from(record.offset_delta) != Ok(starts.len()) {
            return Err(format!("record {} has the offset delta {}", starts.len(), record.offset_delta));
        }
        // A payload is at most DECOMPRESSED_BYTES_MAX, or the body of a record, long.
        starts.push(at as u32);
    }
    Ok((payload, starts))
}

impl Plan {
    fn bytes(&self) -> usize {
        match self {
            Self::Readable { plain, starts } => {
                plain.as_ref().map_or(0, Vec::capacity) + starts.capacity() * size_of::<u32>()
            }
            Self::Unreadable(reason) => reason.len(),
        }
    }
}

impl Batch {
    /// The first message's offset.
    pub fn base_offset(&self) -> u64 {
        self.base_offset
    }

    /// How many offsets the batch takes.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> u64 {
        self.base_offset + u64::from(self.count)
    }

    /// Which message has an offset.
    pub fn index_of(&self, offset: u64) -> Option<u32> {
        let index = offset.checked_sub(self.base_offset)?;
        u32::try_from(index).ok().filter(|&index| index < self.count)
    }

    /// Why the batch is handed on whole, as one message; `None` when its records can be read.
    pub fn unreadable(&self) -> Option<&str> {
        match &*self.plan {
            Plan::Readable { .. } => None,
            Plan::Unreadable(reason) => Some(reason),
        }
    }

    /// The index behind a message: the next one's, or the batch's end when it is handed on whole.
    pub fn behind(&self, index: u32) -> u32 {
        if self.unreadable().is_some() { self.count } else { (index + 1).min(self.count) }
    }

    /// The message at an index.
    ///
    /// # Panics
    /// When the batch has no such index.
    pub fn message(&self, index: u32) -> Message<'_> {
        match self.record_at(index) {
            Some(record) => kafka::read(&record),
            None => self.whole(),
        }
    }

    /// The hash of the message's tag, as RocketMQ's index has it; 0 without one. Cheaper than the message.
    ///
    /// # Panics
    /// As [`message`](Self::message).
    pub fn tag(&self, index: u32) -> i64 {
        let Some(record) = self.record_at(index) else { return 0 };
        let tags = record.headers.into_iter().find(|header| kafka::rocketmq_name(header) == Some(b"TAGS"));
        let tags = tags.and_then(|header| std::str::from_utf8(header.value?).ok());
        tags.map_or(0, braid_record::id::tags_code)
    }

    /// Whether a query by this key finds the message.
    ///
    /// # Panics
    /// As [`message`](Self::message).
    pub fn has_key(&self, index: u32, key: &str) -> bool {
        rocketmq::has_key(&self.message(index), key)
    }

    /// Appends the message as RocketMQ's stored message; `position` is its virtual name.
    ///
    /// # Errors
    /// When it is too large for a record; `out` is unchanged then.
    ///
    /// # Panics
    /// As [`message`](Self::message).
    pub fn write_rocketmq(
        &self,
        index: u32,
        position: u64,
        seen: &Seen<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CrossError> {
        let view = self.view();
        let offset = self.base_offset + u64::from(index);
        let unique_key = unique::key(seen.topic_id, view.queue_id(), offset);
        let fits = (1..=TOPIC_BYTES_MAX).contains(&seen.topic.len());
        let envelope = Envelope {
            topic: if fits { seen.topic } else { view.topic() },
            queue_id: view.queue_id(),
            offset,
            position,
            born_timestamp: view.born_timestamp(),
            born_host: view.born_host(),
            store_timestamp: view.store_timestamp(),
            store_host: view.store_host(),
            unique_key: &unique_key,
        };
        Ok(rocketmq::write(&self.message(index), &envelope, out)?)
    }

    /// The record that holds the batch.
    pub fn view(&self) -> RecordView<'_> {
        RecordView::parse(&self.record).expect("it was parsed when the batch was opened")
    }

    fn batch(&self) -> BatchView<'_> {
        BatchView::parse(self.view().body()).expect("it was parsed when the batch was opened")
    }

    /// `None` when the batch is handed on whole.
    fn record_at(&self, index: u32) -> Option<Record<'_>> {
        assert!(index < self.count, "message {index} of {}", self.count);
        let Plan::Readable { plain, starts } = &*self.plan else { return None };
        let batch = self.batch();
        let payload = plain.as_deref().unwrap_or(batch.stored_payload());
        batch.record_at(payload, *starts.get(index as usize)? as usize)
    }

    fn whole(&self) -> Message<'_> {
        let mut message = Message {
            timestamp: -1,
            key: None,
            body: Some(Cow::Borrowed(self.view().body())),
            attributes: Vec::new(),
        };
        let reason = self.unreadable().unwrap_or_default();
        message.push(
            Origin::RocketMq,
            Cow::Borrowed(UNREADABLE.as_bytes()),
            Some(Cow::Borrowed(reason.as_bytes())),
        );
        message
    }
}
