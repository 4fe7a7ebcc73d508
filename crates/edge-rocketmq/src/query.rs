//! Looking messages up: by key (12) and by position (33).

use std::ops::Range;
use std::sync::Arc;

use braid_broker::{Broker, Topic};
use braid_crossing::Crossing;
use braid_record::RecordView;
use braid_store::{
    Boundary, LOOK_INSIDE, Position, QueueKey, Read, ReadRequest, ReadResult, Store, StoreError,
};
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header::{self, QueryMessageResponse};
use bytes::{Bytes, BytesMut};

use crate::dispatch::Call;
use crate::error;
use crate::inside;
use crate::reply::{Outcome, Reply};

/// The most messages of one answer: Apache's `maxMsgsNumBatch`.
const RECORDS_MAX: usize = 64;
/// The most bytes of one answer.
const BYTES_MAX: usize = 8 << 20;
/// The most batches that one question by key looks through: their keys are in no index.
const SCANNED_BATCHES_MAX: usize = 4_096;
/// The most bytes of such batches.
const SCANNED_BYTES_MAX: usize = 128 << 20;
/// Batches, and bytes of them, that are read in one go.
const SCANNED_AT_ONCE: usize = 64;
const SCANNED_BYTES_AT_ONCE: usize = 4 << 20;
/// Offsets of one step back from the newest.
const SCAN_STEP: u64 = 8_192;

/// QUERY_MESSAGE (12), by KEYS or UNIQ_KEY; newest first.
pub(crate) fn by_key(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::QueryMessage::from_ext_fields(&call.command.ext_fields)?;
    let shared = call.shared();
    let topic = shared.topic(&header.topic).ok_or_else(|| error::no_topic(&header.topic))?;
    let unique = header.unique_key_query == Some(true);
    // As Apache: a look-up by unique key takes as many as there may be, whatever its number says.
    let records_max =
        if unique { RECORDS_MAX } else { usize::try_from(header.max_num).unwrap_or(0).clamp(1, RECORDS_MAX) };
    let question = Question {
        store: shared.store.clone(),
        broker: Arc::clone(&shared.broker),
        crossing: Arc::clone(&shared.crossing),
        topic,
        key: header.key,
        from_ms: header.begin_timestamp,
        to_ms: header.end_timestamp,
        records_max,
    };
    let found = call.reactor.ask_disk(move || question.answer(unique));
    Ok(Outcome::wait(async move {
        let records = found.await?.map_err(braid_broker::Error::from)?;
        let newest = records.first().and_then(|record| RecordView::parse(record).ok());
        let fields = QueryMessageResponse {
            index_last_update_timestamp: newest.map_or(0, |record| record.store_timestamp()),
            index_last_update_phyoffset: newest.map_or(0, |record| record.position() as i64),
        }
        .to_ext_fields();
        if records.is_empty() {
            let refusal =
                Reply::error(response::QUERY_NOT_FOUND, "can not find message, maybe time range not correct");
            return Err(refusal.with_fields(fields));
        }
        Ok(Reply::body(joined(&records)).with_fields(fields).into())
    }))
}

/// A look-up by key. May wait for the disk.
struct Question {
    store: Store,
    broker: Arc<Broker>,
    crossing: Arc<Crossing>,
    topic: Arc<Topic>,
    key: String,
    from_ms: i64,
    to_ms: i64,
    records_max: usize,
}

/// How much of a topic's batches one question may still look through.
struct Budget {
    batches: usize,
    bytes: usize,
}

impl Question {
    /// Records with the key, newest first.
    fn answer(&self, unique: bool) -> Result<Vec<Bytes>, StoreError> {
        if unique && let Some(record) = self.computed()? {
            return Ok(vec![record]);
        }
        let Self { key, from_ms, to_ms, records_max, .. } = self;
        let found = self.store.query_key(self.topic.number, key, *from_ms, *to_ms, *records_max)?;
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            if inside::is_foreign(&record) {
                // A batch whose keys are indexed.
                self.scan_batch(&record, 0..u64::MAX, &mut records);
            } else {
                records.push(record);
            }
        }
        if !unique {
            if records.len() < *records_max {
                self.scan(&mut records)?;
            }
            let stored = |record: &Bytes| RecordView::parse(record).map_or(0, |view| view.store_timestamp());
            // Stable: of the same moment, what the index found stays before what was looked for.
            records.sort_by_key(|record| std::cmp::Reverse(stored(record)));
            records.truncate(*records_max);
        }
        Ok(records)
    }

    /// The message of a unique key that was computed from its place: it is exact, whatever time is asked for.
    fn computed(&self) -> Result<Option<Bytes>, StoreError> {
        let id = self.topic.id.0.to_be_bytes();
        let Some((queue_id, offset)) = braid_crossing::unique::parse(&self.key, &id) else { return Ok(None) };
        if queue_id >= self.topic.config.queues() {
            return Ok(None);
        }
        let records = self.read(self.topic.queue(queue_id), offset, 1)?.records;
        let Some(record) = records.first().filter(|record| inside::is_foreign(record)) else {
            return Ok(None);
        };
        let index = RecordView::parse(record).ok().and_then(|view| offset.checked_sub(view.queue_offset()));
        let Some(index) = index.and_then(|index| u32::try_from(index).ok()) else { return Ok(None) };
        Ok(inside::message(&self.crossing, &self.broker, record, index))
    }

    /// Messages of batches, which are in no key index: looked for in the time range, queue by queue from the newest back.
    fn scan(&self, found: &mut Vec<Bytes>) -> Result<(), StoreError> {
        let queues = self.topic.config.queues();
        let mut budget = Budget { batches: SCANNED_BATCHES_MAX, bytes: SCANNED_BYTES_MAX };
        for queue_id in 0..queues {
            let queue = self.topic.queue(queue_id);
            let Some(offsets) = self.store.offsets(queue) else { continue };
            let first_at = |time: i64| self.store.offset_at(queue, time, Boundary::FirstAtOrAfter);
            let low = first_at(self.from_ms)?.max(offsets.min);
            let high = first_at(self.to_ms.saturating_add(1))?.min(offsets.max);
            self.scan_queue(queue, low..high, &mut budget, found)?;
        }
        Ok(())
    }

    fn scan_queue(
        &self,
        queue: QueueKey,
        mut offsets: Range<u64>,
        budget: &mut Budget,
        found: &mut Vec<Bytes>,
    ) -> Result<(), StoreError> {
        while !offsets.is_empty() && budget.batches > 0 && budget.bytes > 0 {
            let start = offsets.start.max(offsets.end.saturating_sub(SCAN_STEP));
            let mut at = start;
            while at < offsets.end && budget.batches > 0 && budget.bytes > 0 {
                let read = self.read(queue, at, SCANNED_AT_ONCE.min(budget.batches))?;
                for record in &read.records {
                    budget.batches -= 1;
                    budget.bytes = budget.bytes.saturating_sub(record.len());
                    self.scan_batch(record, start..offsets.end, found);
                }
                if read.next_offset <= at {
                    break;
                }
                at = read.next_offset;
            }
            offsets.end = start;
        }
        Ok(())
    }

    /// The messages of a batch with the key, as far as they are in the step: a batch may lie in two.
    fn scan_batch(&self, record: &Bytes, step: Range<u64>, found: &mut Vec<Bytes>) {
        let timely = RecordView::parse(record)
            .is_ok_and(|view| (self.from_ms..=self.to_ms).contains(&view.store_timestamp()));
        let Ok(batch) = self.crossing.open(record) else { return };
        if !timely || batch.unreadable().is_some() {
            return;
        }
        // What the index found is not found again by the scan.
        let queue_id = batch.view().queue_id();
        let in_queue = found.iter().filter_map(|record| RecordView::parse(record).ok());
        let known: Vec<u64> =
            in_queue.filter(|view| view.queue_id() == queue_id).map(|view| view.queue_offset()).collect();
        for index in 0..batch.count() {
            let offset = batch.base_offset() + u64::from(index);
            let is_wanted =
                found.len() < RECORDS_MAX && step.contains(&offset) && batch.has_key(index, &self.key);
            if is_wanted && !known.contains(&offset) {
                found.extend(inside::message(&self.crossing, &self.broker, record, index));
            }
        }
    }

    /// Reads records that hold batches.
    fn read(&self, queue: QueueKey, offset: u64, records_max: usize) -> Result<ReadResult, StoreError> {
        let request = ReadRequest {
            queue,
            offset,
            records_max,
            bytes_max: SCANNED_BYTES_AT_ONCE,
            entries_max: SCAN_STEP as usize,
            filter: Some(&|word| word == LOOK_INSIDE),
        };
        match self.store.read(&request)? {
            Read::Ready(result) => Ok(result),
            Read::Cold(cold) => cold.complete(),
        }
    }
}

/// As many whole records as an answer holds, at least one.
fn joined(records: &[Bytes]) -> Bytes {
    let mut body = BytesMut::new();
    for record in records {
        if !body.is_empty() && body.len() + record.len() > BYTES_MAX {
            break;
        }
        body.extend_from_slice(record);
    }
    body.freeze()
}

/// VIEW_MESSAGE_BY_ID (33): the message whose name is this position.
pub(crate) fn by_position(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::ViewMessage::from_ext_fields(&call.command.ext_fields)?;
    let offset = header.offset;
    let missing = move || Reply::system_error(format!("can not find message by the offset, {offset}"));
    let position = u64::try_from(offset).map_err(|_| missing())?;
    let (broker, crossing) = (Arc::clone(&call.shared().broker), Arc::clone(&call.shared().crossing));
    let found = call.reactor.ask_disk(move || {
        let named = broker.store().record_named(Position(position))?;
        Ok(named.and_then(|named| inside::named(&crossing, &broker, named)))
    });
    Ok(Outcome::wait(async move {
        let found: Result<Option<Bytes>, StoreError> = found.await?;
        let record = found.map_err(braid_broker::Error::from)?.ok_or_else(missing)?;
        Ok(Reply::body(record).into())
    }))
}
