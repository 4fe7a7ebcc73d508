//! Reads a started broker for the judge through Kafka: extents, records and cursors of every queue.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use braid_wire_kafka::batch::{BatchView, DECOMPRESSED_BYTES_MAX};
use braid_wire_kafka::error_code;
use braid_wire_kafka::messages::{create_topics, fetch, list_offsets, offset_fetch};

use super::client::{Client, answer};
use crate::body::{self, Value};
use crate::ledger::{KAFKA_TOPICS, Ledger, Offset, QUEUES_PER_TOPIC, Queue, TOPICS, Violation, topic_name};

const CREATE_TOPICS_VERSION: i16 = 5;
const LIST_OFFSETS_VERSION: i16 = 6;
pub(crate) const OFFSET_FETCH_VERSION: i16 = 5;
const FETCH_VERSION: i16 = 12;
/// Bytes asked for by one fetch of the verification.
const FETCH_BYTES: i32 = 1 << 20;
/// What ListOffsets calls the two ends.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// The group whose cursors a load connection moves: Kafka lets a group's members commit, so each has its own.
pub(crate) fn group(connection: usize) -> String {
    format!("crash-kafka-{connection}")
}

/// Checks everything, or what is newer than the last check, against the ledger. Gives the number of records read. With everything
/// goes what both protocols write to, once more, since it has been read through the other one before.
///
/// # Errors
/// If the broker does not answer as a broker does; that it answers wrongly is a violation.
pub(crate) fn verify(
    address: SocketAddr,
    ledger: &mut Ledger,
    everything: bool,
) -> Result<(u64, Vec<Violation>)> {
    let mut client = Client::connect(address)?;
    make_topics(&mut client)?;
    let (mut read, mut violations) = (0, Vec::new());
    for queue in Queue::kafka().chain(Queue::mixed().filter(|_| everything)) {
        let (min, end) = (extent(&mut client, queue, EARLIEST)?, extent(&mut client, queue, LATEST)?);
        let from = if everything { min } else { min.max(ledger.verified(queue)) };
        match records(&mut client, queue, from, end)? {
            Ok(records) => {
                read += records.len() as u64;
                violations.extend(ledger.judge(queue, min, from, end, &records));
            }
            Err(violation) => violations.push(violation),
        }
        if queue.is_kafka() {
            violations.extend(ledger.judge_cursor(queue, cursor(&mut client, queue)?));
        }
    }
    Ok((read, violations))
}

/// Makes the topics; a topic that is there already stays as it is.
fn make_topics(client: &mut Client) -> Result<()> {
    let topic = |index| create_topics::RequestTopic {
        name: topic_name(index).into(),
        num_partitions: QUEUES_PER_TOPIC as i32,
        replication_factor: 1,
        ..create_topics::RequestTopic::default()
    };
    let request = create_topics::Request {
        topics: (TOPICS..TOPICS + KAFKA_TOPICS).map(topic).collect(),
        timeout_ms: 10_000,
        ..create_topics::Request::default()
    };
    let frame = client.call(CREATE_TOPICS_VERSION, &request).context("make topics")?;
    let response: create_topics::Response<'_> = answer(CREATE_TOPICS_VERSION, &frame)?;
    for topic in response.topics {
        let code = topic.error_code;
        ensure!(
            code == error_code::NONE || code == error_code::TOPIC_ALREADY_EXISTS,
            "topic {} is refused with {code}: {:?}",
            topic.name,
            topic.error_message
        );
    }
    Ok(())
}

/// The queue's first offset, or the one that its next record gets.
fn extent(client: &mut Client, queue: Queue, timestamp: i64) -> Result<Offset> {
    let partition =
        list_offsets::RequestPartition { partition_index: queue.id(), current_leader_epoch: -1, timestamp };
    let request = list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::RequestTopic { name: queue.topic().into(), partitions: vec![partition] }],
        ..list_offsets::Request::default()
    };
    let frame = client.call(LIST_OFFSETS_VERSION, &request).with_context(|| format!("extent of {queue}"))?;
    let response: list_offsets::Response<'_> = answer(LIST_OFFSETS_VERSION, &frame)?;
    let partition = &response.topics.first().context("no topic")?.partitions;
    let partition = partition.first().context("no partition")?;
    ensure!(
        partition.error_code == error_code::NONE,
        "extent of {queue} is refused with {}",
        partition.error_code
    );
    Ok(partition.offset)
}

pub(crate) fn query_cursor(queue: Queue) -> offset_fetch::Request<'static> {
    let topic =
        offset_fetch::RequestTopic { name: queue.topic().into(), partition_indexes: vec![queue.id()] };
    offset_fetch::Request {
        group_id: group(queue.owner()).into(),
        topics: Some(vec![topic]),
        ..offset_fetch::Request::default()
    }
}

/// The cursor in an answer to [`query_cursor`], whose metadata has to be its own.
pub(crate) fn cursor_of(frame: &[u8]) -> Result<Option<Offset>> {
    let response: offset_fetch::Response<'_> = answer(OFFSET_FETCH_VERSION, frame)?;
    let topic = response.topics.first().context("no topic")?;
    let partition = topic.partitions.first().context("no partition")?;
    ensure!(
        (response.error_code, partition.error_code) == (error_code::NONE, error_code::NONE),
        "the cursor is refused with {} and {}",
        response.error_code,
        partition.error_code
    );
    if partition.committed_offset < 0 {
        return Ok(None);
    }
    let metadata = partition.metadata.as_deref();
    ensure!(
        metadata == Some(&*metadata_of(partition.committed_offset)),
        "{} came back with the metadata {metadata:?}",
        partition.committed_offset
    );
    Ok(Some(partition.committed_offset))
}

/// What is committed beside an offset.
pub(crate) fn metadata_of(offset: Offset) -> Cow<'static, str> {
    format!("at {offset}").into()
}

fn cursor(client: &mut Client, queue: Queue) -> Result<Option<Offset>> {
    let frame = client.call(OFFSET_FETCH_VERSION, &query_cursor(queue))?;
    cursor_of(&frame).with_context(|| format!("cursor of {queue}"))
}

/// A fetch that does not wait.
pub(crate) fn fetch_from(queue: Queue, offset: Offset, bytes: i32) -> fetch::Request<'static> {
    let partition = fetch::RequestPartition {
        partition: queue.id(),
        fetch_offset: offset,
        partition_max_bytes: bytes,
        ..fetch::RequestPartition::default()
    };
    let topic = fetch::RequestTopic {
        topic: queue.topic().into(),
        partitions: vec![partition],
        ..fetch::RequestTopic::default()
    };
    fetch::Request {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: bytes,
        session_epoch: -1,
        topics: vec![topic],
        ..fetch::Request::default()
    }
}

/// All records of `queue` from `from` to `end`, or what is wrong with one of the answers.
fn records(
    client: &mut Client,
    queue: Queue,
    from: Offset,
    end: Offset,
) -> Result<Result<Vec<(Offset, Value)>, Violation>> {
    let (mut next, mut records) = (from, Vec::new());
    while next < end {
        let frame = client.call(FETCH_VERSION, &fetch_from(queue, next, FETCH_BYTES))?;
        let what = match fetched(queue, FETCH_VERSION, next, &frame) {
            Ok(found) => match found.last() {
                Some(&(last, _)) => {
                    records.extend(found);
                    next = last + 1;
                    continue;
                }
                None => format!("a fetch at {next} below {end} gives nothing"),
            },
            Err(what) => format!("a fetch at {next}: {what}"),
        };
        return Ok(Err(Violation::Malformed { queue, what }));
    }
    Ok(Ok(records))
}

/// The records in the answer of a fetch from `from` on.
pub(crate) fn fetched(
    queue: Queue,
    version: i16,
    from: Offset,
    frame: &[u8],
) -> Result<Vec<(Offset, Value)>, String> {
    let response: fetch::Response<'_> = answer(version, frame).map_err(|error| format!("{error:#}"))?;
    let topic = response.responses.first().ok_or("no topic")?;
    let partition = topic.partitions.first().ok_or("no partition")?;
    if (response.error_code, partition.error_code) != (error_code::NONE, error_code::NONE) {
        return Err(format!("answered {} and {}", response.error_code, partition.error_code));
    }
    if topic.topic != queue.topic() || partition.partition_index != queue.id() {
        return Err(format!("the answer is about {}/{}", topic.topic, partition.partition_index));
    }
    let mut records = Vec::new();
    let mut rest = partition.records.as_deref().unwrap_or_default();
    while !rest.is_empty() {
        let batch = BatchView::parse(rest).map_err(|error| error.to_string())?;
        if batch.computed_crc() != batch.stored_crc() {
            return Err(format!("the batch at {} has a wrong checksum", batch.base_offset()));
        }
        let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
        for record in batch.records(&payload) {
            let record = record.map_err(|error| error.to_string())?;
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            let value = record.value.and_then(body::value);
            let value = value.ok_or_else(|| format!("the value at {offset} is not as it was sent"))?;
            if record.key != Some(key(value).as_bytes()) {
                return Err(format!("the key at {offset} is {:?}, the value {value}", record.key));
            }
            if offset >= from {
                records.push((offset, value));
            }
        }
        rest = &rest[batch.len()..];
    }
    Ok(records)
}

/// The key of a value, which is the first of RocketMQ's keys there.
pub(crate) fn key(value: Value) -> String {
    format!("k{value}")
}
