//! Where partitions begin and end, and where a time or an epoch lies in them: ListOffsets (2), OffsetForLeaderEpoch (23); and what
//! moves the beginning: DeleteRecords (21).

use std::collections::HashSet;
use std::sync::Arc;

use braid_record::RecordView;
use braid_store::{QueueKey, QueueOffsets, Read, ReadRequest, Store, StoreError, Timed};
use braid_wire_kafka::batch::{BatchView, DECOMPRESSED_BYTES_MAX};
use braid_wire_kafka::messages::{delete_records, list_offsets, offset_for_leader_epoch};
use braid_wire_kafka::produce::TopicRef;
use braid_wire_kafka::{DecodeError, error_code};
use bytes::Bytes;

use crate::dispatch::Call;
use crate::reply::{Head, Outcome};
use crate::shared::Shared;
use crate::{error, names, topics};

/// No offset, no time, no epoch.
const NONE: i64 = -1;
/// No epoch.
const NO_EPOCH: i32 = -1;

/// Questions that have a number in place of a time.
mod special {
    /// The end.
    pub(super) const LATEST: i64 = -1;
    /// The beginning.
    pub(super) const EARLIEST: i64 = -2;
    /// The record with the newest time.
    pub(super) const NEWEST: i64 = -3;
    /// The beginning of what is on this node: all there is.
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    /// The end of what is kept elsewhere: there is nothing.
    pub(super) const LATEST_TIERED: i64 = -5;
    /// The beginning of what is to be kept elsewhere: there is nothing.
    pub(super) const EARLIEST_PENDING: i64 = -6;
    /// The version from which each may be asked.
    pub(super) const SINCE: [(i64, i16); 6] = [
        (LATEST, 1),
        (EARLIEST, 1),
        (NEWEST, 7),
        (EARLIEST_LOCAL, 8),
        (LATEST_TIERED, 9),
        (EARLIEST_PENDING, 11),
    ];
}

/// Records that a look for a time passes over at most, behind the first one that may have it.
const SCAN_MAX: usize = 10_000;
/// Records that it reads at once.
const SCAN_STEP: usize = 256;
/// Bytes that it reads at once.
const SCAN_BYTES: usize = 1 << 20;

/// An offset, and the time of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

/// What is asked of the index and the log, which may wait for the disk.
enum Question {
    Newest(QueueKey),
    At(QueueKey, i64),
}

/// ListOffsets.
pub(crate) fn list(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: list_offsets::Request<'_> = call.decode()?;
    let shared = call.shared();
    let mut questions = Vec::new();
    let mut seen = HashSet::new();
    let mut answers = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = topics::find(shared, TopicRef::Name(&topic.name));
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let queue = found.as_ref().map_err(|code| *code).and_then(|topic| {
                topics::check_epoch(shared, partition.current_leader_epoch)?;
                topics::queue(topic, index)
            });
            let refused = |error_code| list_offsets::ResponsePartition {
                partition_index: index,
                error_code,
                timestamp: NONE,
                offset: NONE,
                leader_epoch: NO_EPOCH,
            };
            if !seen.insert((&*topic.name, index)) {
                return (refused(error_code::INVALID_REQUEST), None);
            }
            let queue = match queue {
                Ok(queue) => queue,
                Err(code) => return (refused(code), None),
            };
            match at_once(shared, call.head, queue, partition.timestamp) {
                Err(code) => (refused(code), None),
                Ok(Ok(found)) => (answered(index, found), None),
                Ok(Err(question)) => {
                    questions.push(question);
                    (answered(index, None), Some(questions.len() - 1))
                }
            }
        });
        let partitions: Vec<_> = partitions.collect();
        answers.push((topic.name.clone().into_owned(), partitions));
    }
    if questions.is_empty() {
        return Ok(listed(call.head, answers, &[]).into());
    }
    let (head, store) = (call.head, shared.store.clone());
    let reactor = Arc::clone(&call.reactor.shared);
    let asked = call
        .reactor
        .ask_disk(move || questions.iter().map(|question| answer(&store, question)).collect::<Vec<_>>());
    Ok(Outcome::wait(async move {
        let Some(found) = asked.await else {
            return Outcome::Close("too much is asked of the disk".into());
        };
        reactor.metrics.looked_inside.add(found.len() as u64);
        listed(head, answers, &found).into()
    }))
}

/// An answer's partition, and which question it waits for.
type Open = (list_offsets::ResponsePartition, Option<usize>);

fn listed(
    head: Head,
    topics: Vec<(String, Vec<Open>)>,
    found: &[Result<Option<Found>, StoreError>],
) -> crate::reply::Reply {
    let close = |(partition, question): Open| match question.map(|question| &found[question]) {
        None => partition,
        Some(Ok(found)) => answered(partition.partition_index, *found),
        Some(Err(error)) => {
            tracing::warn!(partition = partition.partition_index, %error, "a time can not be looked up");
            list_offsets::ResponsePartition { error_code: error_code::KAFKA_STORAGE_ERROR, ..partition }
        }
    };
    let topics = topics.into_iter().map(|(name, partitions)| list_offsets::ResponseTopic {
        name: name.into(),
        partitions: partitions.into_iter().map(close).collect(),
    });
    let response = list_offsets::Response { topics: topics.collect(), ..Default::default() };
    head.reply(|version, out| response.encode(version, out))
}

fn answered(partition_index: i32, found: Option<Found>) -> list_offsets::ResponsePartition {
    let Found { offset, timestamp, epoch } =
        found.unwrap_or(Found { offset: NONE, timestamp: NONE, epoch: NO_EPOCH });
    list_offsets::ResponsePartition {
        partition_index,
        error_code: error_code::NONE,
        timestamp,
        offset,
        leader_epoch: epoch,
    }
}

/// What is known without a look at records, else the question.
///
/// # Errors
/// Kafka's code, for a question that the request's version does not have.
fn at_once(
    shared: &Shared,
    head: Head,
    queue: QueueKey,
    timestamp: i64,
) -> Result<Result<Option<Found>, Question>, i16> {
    let since = special::SINCE.iter().find(|(special, _)| *special == timestamp);
    if timestamp < 0 && since.is_none_or(|(_, version)| head.version < *version) {
        return Err(error_code::UNSUPPORTED_VERSION);
    }
    let QueueOffsets { min, max } = shared.store.offsets(queue).unwrap_or_default();
    let epoch = shared.leader_epoch();
    let place = |offset: u64, epoch| Found { offset: offset as i64, timestamp: NONE, epoch };
    Ok(match timestamp {
        special::LATEST => Ok(Some(place(max, epoch))),
        special::EARLIEST | special::EARLIEST_LOCAL => Ok(Some(place(min, NO_EPOCH))),
        special::LATEST_TIERED | special::EARLIEST_PENDING => Ok(None),
        special::NEWEST => Err(Question::Newest(queue)),
        timestamp => Err(Question::At(queue, timestamp)),
    })
}

fn answer(store: &Store, question: &Question) -> Result<Option<Found>, StoreError> {
    match *question {
        Question::Newest(queue) => {
            let Some(Timed { first_offset, newest_ms, record, .. }) = store.newest(queue)? else {
                return Ok(None);
            };
            let min = store.offsets(queue).map_or(0, |offsets| offsets.min);
            let inside = first_at(&record, newest_ms, min.max(first_offset));
            // What is inside can't be read, or lies before the partition's beginning: the record itself is the answer.
            let offset = min.max(first_offset) as i64;
            Ok(Some(inside.unwrap_or(Found { offset, timestamp: newest_ms, epoch: NO_EPOCH })))
        }
        Question::At(queue, time) => at_time(store, queue, time),
    }
}

/// The first message whose time is `time` or later.
///
/// The index knows the newest time of each record: of a batch, that of its records; of a RocketMQ message, when it was stored,
/// which is later than its own time. So a record that the index finds may hold no such message, and those behind it are looked at.
fn at_time(store: &Store, queue: QueueKey, time: i64) -> Result<Option<Found>, StoreError> {
    let Some(first) = store.first_newer(queue, time)? else { return Ok(None) };
    let QueueOffsets { min, max } = store.offsets(queue).unwrap_or_default();
    if let Some(found) = first_at(&first.record, time, min) {
        return Ok(Some(found));
    }
    let mut offset = first.first_offset + u64::from(first.count);
    let mut looked_at = 1;
    while offset < max && looked_at < SCAN_MAX {
        let read = store.read(&ReadRequest {
            queue,
            offset,
            records_max: SCAN_STEP,
            bytes_max: SCAN_BYTES,
            entries_max: SCAN_STEP,
            filter: None,
        })?;
        let result = match read {
            Read::Ready(result) => result,
            Read::Cold(cold) => cold.complete()?,
        };
        if let Some(found) = result.records.iter().find_map(|record| first_at(record, time, min)) {
            return Ok(Some(found));
        }
        if result.next_offset <= offset {
            break;
        }
        looked_at += result.records.len().max(1);
        offset = result.next_offset;
    }
    Ok(None)
}

/// The first message of a record whose time is `time` or later and whose offset is `min` or above.
fn first_at(record: &Bytes, time: i64, min: u64) -> Option<Found> {
    let view = RecordView::parse(record).ok()?;
    if !braid_crossing::is_kafka(&view) {
        let offset = view.queue_offset();
        let timestamp = view.born_timestamp();
        let found = Found { offset: offset as i64, timestamp, epoch: NO_EPOCH };
        return (timestamp >= time && offset >= min).then_some(found);
    }
    let batch = BatchView::parse(view.body()).ok()?;
    let epoch = batch.leader_epoch();
    let payload = batch.payload(DECOMPRESSED_BYTES_MAX).ok()?;
    batch.records(&payload).map_while(Result::ok).find_map(|inside| {
        let offset = batch.base_offset() + i64::from(inside.offset_delta);
        let timestamp = if batch.is_log_append_time() { batch.max_timestamp() } else { inside.timestamp };
        (timestamp >= time && offset as u64 >= min).then_some(Found { offset, timestamp, epoch })
    })
}

/// OffsetForLeaderEpoch: where epochs end, by which a client sees whether what it has is still there.
pub(crate) fn for_leader_epoch(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use offset_for_leader_epoch::{Request, Response, ResponsePartition, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let mut questions = Vec::new();
    let mut answers = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = topics::find(shared, TopicRef::Name(&topic.topic));
        let partitions = topic.partitions.iter().map(|partition| {
            let queue = found.as_ref().map_err(|code| *code).and_then(|topic| {
                topics::check_epoch(shared, partition.current_leader_epoch)?;
                topics::queue(topic, partition.partition)
            });
            let asked = queue.map(|queue| {
                questions.push((queue, partition.leader_epoch));
                questions.len() - 1
            });
            (partition.partition, asked)
        });
        let partitions: Vec<_> = partitions.collect();
        answers.push((topic.topic.clone().into_owned(), partitions));
    }
    let (head, store) = (call.head, shared.store.clone());
    let asked = call.reactor.ask_disk(move || {
        let end = |&(queue, epoch): &(QueueKey, i32)| match u32::try_from(epoch) {
            Ok(epoch) => store.epoch_end(queue, epoch),
            Err(_) => Ok(None),
        };
        questions.iter().map(end).collect::<Vec<_>>()
    });
    Ok(Outcome::wait(async move {
        let Some(ends) = asked.await else {
            return Outcome::Close("too much is asked of the disk".into());
        };
        let partition = |(partition, asked): (i32, Result<usize, i16>)| {
            let refused = |error_code| ResponsePartition { error_code, partition, ..Default::default() };
            match asked.map(|question| &ends[question]) {
                Err(code) => refused(code),
                Ok(Ok(None)) => refused(error_code::NONE),
                Ok(Ok(Some((epoch, end)))) => ResponsePartition {
                    error_code: error_code::NONE,
                    partition,
                    leader_epoch: *epoch as i32,
                    end_offset: *end as i64,
                },
                Ok(Err(error)) => {
                    tracing::warn!(partition, %error, "an epoch can not be looked up");
                    refused(error_code::KAFKA_STORAGE_ERROR)
                }
            }
        };
        let topics = answers.into_iter().map(|(topic, partitions)| ResponseTopic {
            topic: topic.into(),
            partitions: partitions.into_iter().map(partition).collect(),
        });
        let response = Response { topics: topics.collect(), ..Default::default() };
        head.reply(|version, out| response.encode(version, out)).into()
    }))
}

/// The offset that stands for the end in a request to delete.
const TO_THE_END: i64 = -1;

/// DeleteRecords: moves the beginning of partitions.
pub(crate) fn delete_records(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use delete_records::{Request, Response, ResponsePartition, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let mut last: Option<braid_store::Promise<u64>> = None;
    let mut cut = |topic: &str, index: i32, offset: i64| -> Result<i64, i16> {
        let topic = topics::find(shared, TopicRef::Name(topic))?;
        if names::is_machinery(&shared.broker, &topic) {
            return Err(error_code::INVALID_TOPIC_EXCEPTION);
        }
        let queue = topics::queue(&topic, index)?;
        let max = shared.store.offsets(queue).map_or(0, |offsets| offsets.max);
        let offset = match offset {
            TO_THE_END => max,
            _ => u64::try_from(offset)
                .ok()
                .filter(|&offset| offset <= max)
                .ok_or(error_code::OFFSET_OUT_OF_RANGE)?,
        };
        let promise =
            shared.store.cut_queue(queue, offset).map_err(|refusal| error::code(&refusal.into()))?;
        call.reactor.appended();
        let mut start = 0;
        let promise = promise.map(|from| {
            start = from;
            from
        });
        if last.as_ref().is_none_or(|last| last.end() < promise.end()) {
            last = Some(promise);
        }
        Ok(start as i64)
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let start = cut(&topic.name, partition.partition_index, partition.offset);
            ResponsePartition {
                partition_index: partition.partition_index,
                low_watermark: start.unwrap_or(NONE),
                error_code: start.err().unwrap_or(error_code::NONE),
            }
        });
        ResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
    });
    let response = Response { topics: topics.collect(), ..Default::default() };
    let reply = call.reply(&response);
    Ok(match last {
        Some(promise) => Outcome::Promised(promise.map(|_| reply)),
        None => reply.into(),
    })
}
