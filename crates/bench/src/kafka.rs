//! Produce and fetch of Kafka's protocol, at a version that clients in the field use.
//!
//! A request is encoded once by the broker's own codec; what differs from one to the next (correlation id, offset, the records' marks and
//! with them the batch's checksum) is written over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use braid_wire_kafka::batch::{BATCH_HEAD_BYTES, BatchHead, BatchView, BatchWriter, RecordDraft};
use braid_wire_kafka::messages::{Message, create_topics, fetch, list_offsets, produce};
use braid_wire_kafka::{Input, RequestHeader, error_code, frame, header, keys};
use bytes::{Bytes, BytesMut};

use crate::error::{BenchError, Doing, Result};
use crate::floor;
use crate::generator::{Load, Span, drive};
use crate::protocol::{Answer, Protocol, Sampler};

/// The first version with compact lengths; later ones differ in what only a cluster needs.
const PRODUCE_VERSION: i16 = 9;
/// The last version that names topics and has no tags.
const FETCH_VERSION: i16 = 11;
const CREATE_TOPICS_VERSION: i16 = 4;
const LIST_OFFSETS_VERSION: i16 = 2;
/// Where a frame's correlation id lies.
const CORRELATION_AT: usize = 8;
/// Where a batch's checksum lies.
const BATCH_CRC_AT: usize = 17;
const TIMEOUT_MS: i32 = 10_000;
/// How long an acknowledged record may take until it can be read: until the broker's next turn.
const READABLE_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of a fetch for a single batch, at most.
const BATCH_BYTES_MAX: i32 = 1 << 20;

fn unreadable(error: impl std::fmt::Display) -> BenchError {
    BenchError::Answer(error.to_string())
}

fn refused(code: i16, remark: &str) -> BenchError {
    BenchError::Refused { code: code.into(), remark: remark.to_owned() }
}

/// A frame that asks this.
fn request<'a, M: Message<'a>>(api_key: i16, version: i16, message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out);
    let head =
        RequestHeader { api_key, api_version: version, correlation_id: 0, client_id: Some("braidmq-bench") };
    header::encode(&head, &mut out);
    message.encode(version, &mut out);
    frame::finish(&mut out, start, 0);
    out
}

/// Length and tag of the whole frame at the front of `input`.
fn head(input: &[u8]) -> Result<Option<(usize, u32)>> {
    let Some((prefix, _)) = input.split_first_chunk::<8>() else { return Ok(None) };
    let [l0, l1, l2, l3, tag @ ..] = *prefix;
    let bytes = frame::PREFIX_BYTES + u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if bytes > frame::FRAME_BYTES_MAX {
        return Err(unreadable(format!("a frame of {bytes} bytes")));
    }
    Ok((input.len() >= bytes).then_some((bytes, u32::from_be_bytes(tag))))
}

/// A blocking connection for what is not measured.
struct Asker {
    stream: TcpStream,
    input: BytesMut,
}

impl Asker {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).doing("connect to the broker")?;
        stream.set_read_timeout(Some(ANSWER_MAX)).doing("set a time limit")?;
        stream.set_nodelay(true).doing("set TCP_NODELAY")?;
        Ok(Asker { stream, input: BytesMut::new() })
    }

    /// The body of the answer.
    fn ask<'a, M: Message<'a>>(&mut self, api_key: i16, version: i16, message: &M) -> Result<Bytes> {
        self.stream.write_all(&request(api_key, version, message)).doing("send to the broker")?;
        let mut piece = [0; 16 << 10];
        loop {
            if let Some(frame) = frame::next(&mut self.input, frame::FRAME_BYTES_MAX).map_err(unreadable)? {
                let (_, body) = header::decode_response(&frame, api_key, version).map_err(unreadable)?;
                return Ok(frame.slice(body..));
            }
            match self.stream.read(&mut piece).doing("wait for the broker's answer")? {
                0 => return Err(unreadable("the broker closed the connection")),
                bytes => self.input.extend_from_slice(&piece[..bytes]),
            }
        }
    }

    fn create_topic(&mut self, topic: &str, partitions: u32) -> Result<()> {
        let ask = create_topics::Request {
            topics: vec![create_topics::RequestTopic {
                name: topic.into(),
                num_partitions: partitions as i32,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        let body = self.ask(keys::CREATE_TOPICS, CREATE_TOPICS_VERSION, &ask)?;
        let answer = create_topics::Response::decode(CREATE_TOPICS_VERSION, &mut Input::new(&body));
        let answer = answer.map_err(unreadable)?;
        match answer.topics.first() {
            Some(made) if made.error_code == error_code::NONE => Ok(()),
            Some(made) => Err(refused(made.error_code, made.error_message.as_deref().unwrap_or_default())),
            None => Err(unreadable("an answer about no topic")),
        }
    }

    /// The batch that holds `offset`, if it can be read now.
    fn batch(&mut self, topic: &str, partition: u32, offset: u64) -> Result<Option<Bytes>> {
        let ask = fetch_request(topic, partition, offset, BATCH_BYTES_MAX);
        let body = self.ask(keys::FETCH, FETCH_VERSION, &ask)?;
        let answer = fetch::Response::decode(FETCH_VERSION, &mut Input::new(&body)).map_err(unreadable)?;
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
        let records = partition
            .filter(|partition| partition.error_code == error_code::NONE)
            .and_then(|partition| partition.records.as_deref())
            .filter(|records| !records.is_empty());
        Ok(records.map(Bytes::copy_from_slice))
    }

    /// How many records the partition ever took.
    fn length(&mut self, topic: &str, partition: u32) -> Result<u64> {
        let ask = list_offsets::Request {
            replica_id: -1,
            topics: vec![list_offsets::RequestTopic {
                name: topic.into(),
                partitions: vec![list_offsets::RequestPartition {
                    partition_index: partition as i32,
                    timestamp: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let body = self.ask(keys::LIST_OFFSETS, LIST_OFFSETS_VERSION, &ask)?;
        let answer = list_offsets::Response::decode(LIST_OFFSETS_VERSION, &mut Input::new(&body));
        let answer = answer.map_err(unreadable)?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        let partition = partition.ok_or_else(|| unreadable("an answer about no partition"))?;
        u64::try_from(partition.offset).map_err(unreadable)
    }
}

fn fetch_request(topic: &str, partition: u32, offset: u64, bytes: i32) -> fetch::Request<'_> {
    fetch::Request {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: bytes,
        session_id: 0,
        session_epoch: -1,
        topics: vec![fetch::RequestTopic {
            topic: topic.into(),
            partitions: vec![fetch::RequestPartition {
                partition: partition as i32,
                current_leader_epoch: -1,
                fetch_offset: offset as i64,
                partition_max_bytes: bytes,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a record's value begins with: tag, and place in the batch.
fn mark(tag: u32, index: u32) -> [u8; 8] {
    let mut mark = [0; 8];
    mark[..4].copy_from_slice(&tag.to_be_bytes());
    mark[4..].copy_from_slice(&index.to_be_bytes());
    mark
}

/// A produce request whose tag is written over.
struct Template {
    bytes: Vec<u8>,
    /// Where the batch lies.
    batch: std::ops::Range<usize>,
    /// Where each value begins.
    values_at: Vec<usize>,
}

impl Template {
    fn new(topic: &str, partition: u32, records: u32, value_bytes: usize) -> Result<Self> {
        let mut writer = BatchWriter::new(BatchHead::default());
        let mut ends = Vec::new();
        let value = vec![b'k'; value_bytes];
        for _ in 0..records {
            writer.push(&RecordDraft {
                timestamp: 1_700_000_000_000,
                key: None,
                value: Some(&value),
                headers: &[],
            });
            ends.push(writer.len());
        }
        let batch = writer.finish();
        let ask = produce::Request {
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![produce::RequestTopic {
                name: topic.into(),
                partition_data: vec![produce::RequestPartition {
                    index: partition as i32,
                    records: Some((&batch[..]).into()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let bytes = request(keys::PRODUCE, PRODUCE_VERSION, &ask);
        let at = memchr::memmem::find(&bytes, &batch)
            .ok_or_else(|| unreadable("an encoded request does not hold its batch"))?;
        // Behind each value stands the count of its headers, one byte.
        let values_at = ends.iter().map(|end| at + end - 1 - value_bytes).collect();
        Ok(Template { bytes, batch: at..at + batch.len(), values_at })
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        let request = &mut out[at..];
        request[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&tag.to_be_bytes());
        for (index, value_at) in self.values_at.iter().enumerate() {
            request[*value_at..value_at + 8].copy_from_slice(&mark(tag, index as u32));
        }
        let batch = &mut request[self.batch.clone()];
        let crc = BatchView::parse(batch).map_or(0, |view| view.computed_crc());
        batch[BATCH_CRC_AT..BATCH_CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Produce requests of one batch, to all partitions in turn.
pub struct Produce {
    topic: String,
    partitions: u32,
    records: u32,
    value_bytes: usize,
    templates: Vec<Template>,
    acknowledged: Sampler<Sent>,
    acknowledged_records: u64,
}

/// An acknowledged request.
#[derive(Debug, Clone, Copy)]
struct Sent {
    tag: u32,
    partition: u32,
    offset: u64,
}

impl Produce {
    /// Requests of `records` records with values of `value_bytes` each to a topic of so many partitions.
    pub fn new(topic: &str, partitions: u32, records: u32, value_bytes: usize) -> Self {
        Produce {
            topic: topic.to_owned(),
            partitions,
            records,
            value_bytes,
            templates: Vec::new(),
            acknowledged: Sampler::default(),
            acknowledged_records: 0,
        }
    }

    /// Where an answer about one partition of our topic has its partition; the error code and the offset follow it.
    fn partition_at(&self) -> usize {
        // Length, correlation id, no tags; one topic, its name; one partition.
        frame::PREFIX_BYTES + 4 + 1 + 1 + 1 + self.topic.len() + 1
    }
}

/// The number of `N` bytes at `at`.
fn number<const N: usize>(input: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = input.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or_else(|| unreadable("it ends early"))
}

impl Protocol for Produce {
    fn create_topic(&mut self, address: SocketAddr) -> Result<()> {
        Asker::connect(address)?.create_topic(&self.topic, self.partitions)?;
        let templates = (0..self.partitions)
            .map(|partition| Template::new(&self.topic, partition, self.records, self.value_bytes));
        self.templates = templates.collect::<Result<_>>()?;
        Ok(())
    }

    fn handshake(&mut self, _: usize, _: &mut TcpStream) -> Result<()> {
        Ok(())
    }

    fn encode(&mut self, _: usize, tag: u32, out: &mut Vec<u8>) {
        self.templates[(tag % self.partitions) as usize].write(tag, out);
    }

    fn decode(&mut self, _: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some((bytes, tag)) = head(input)? else { return Ok(None) };
        let (answer, at) = (&input[..bytes], self.partition_at());
        let partition = u32::from_be_bytes(number(answer, at)?);
        let code = i16::from_be_bytes(number(answer, at + 4)?);
        let offset = u64::from_be_bytes(number(answer, at + 6)?);
        if partition != tag % self.partitions || code != error_code::NONE {
            return Err(refused(code, "a produce request"));
        }
        self.acknowledged_records += u64::from(self.records);
        if self.acknowledged.is_wanted() {
            self.acknowledged.keep(Sent { tag, partition, offset });
        }
        Ok(Some(Answer { bytes, tag, messages: self.records }))
    }

    /// Reads a spread of the acknowledged batches, and compares the partitions' lengths with the number of all.
    fn verify(&mut self, address: SocketAddr) -> Result<u64> {
        let mut asker = Asker::connect(address)?;
        let mut verified = 0;
        for sent in self.acknowledged.take() {
            let begun = Instant::now();
            let batch = loop {
                match asker.batch(&self.topic, sent.partition, sent.offset)? {
                    Some(batch) => break Some(batch),
                    None if begun.elapsed() > READABLE_MAX => break None,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            let is_right = batch.is_some_and(|batch| {
                is_batch(&batch, sent.offset, self.value_bytes, self.records, |index| mark(sent.tag, index))
            });
            if !is_right {
                let (topic, Sent { tag, partition, offset }) = (&self.topic, sent);
                return Err(BenchError::Lost(format!(
                    "{topic}, partition {partition}, offset {offset}: request {tag}"
                )));
            }
            verified += u64::from(self.records);
        }
        let lengths = (0..self.partitions).map(|partition| asker.length(&self.topic, partition));
        let stored: u64 = lengths.sum::<Result<u64>>()?;
        if stored != self.acknowledged_records {
            return Err(BenchError::Lost(format!(
                "{} records of {} were acknowledged and {stored} stored",
                self.acknowledged_records, self.topic
            )));
        }
        Ok(verified)
    }
}

/// Whether `bytes` begin with a whole batch that has these offsets and values.
fn is_batch(
    bytes: &[u8],
    offset: u64,
    value_bytes: usize,
    records: u32,
    mark: impl Fn(u32) -> [u8; 8],
) -> bool {
    let Some(bytes) = braid_wire_kafka::batch::batch_len(bytes).and_then(|len| bytes.get(..len)) else {
        return false;
    };
    let Ok(view) = BatchView::parse(bytes) else { return false };
    let Ok(payload) = view.payload(bytes.len()) else { return false };
    let values: Vec<_> = view.records(&payload).map(|record| record.ok().and_then(|r| r.value)).collect();
    view.base_offset() == offset as i64
        && view.stored_crc() == view.computed_crc()
        && values.len() == records as usize
        && values.iter().enumerate().all(|(index, value)| {
            value.is_some_and(|value| value.len() == value_bytes && value.starts_with(&mark(index as u32)))
        })
}

/// Fetches of a topic whose batches lie in the log in the order of partitions, so that no two of a partition are neighbours.
pub struct Fetch {
    topic: String,
    partitions: u32,
    per_partition: u32,
    value_bytes: usize,
    /// One for each connection, with the place of the offset.
    templates: Vec<(Vec<u8>, usize)>,
    cursors: Vec<u64>,
    checked: Sampler<()>,
    verified: u64,
}

/// What stands in a template where the offset goes.
const OFFSET_MARK: u64 = 0x7a7a_7a7a_7a7a_7a7a;

impl Fetch {
    /// Answers of four batches of 16 records from a topic of so many partitions with `per_partition` records of `value_bytes` each.
    pub fn new(topic: &str, partitions: u32, per_partition: u32, value_bytes: usize) -> Self {
        Fetch {
            topic: topic.to_owned(),
            partitions,
            per_partition,
            value_bytes,
            templates: Vec::new(),
            cursors: Vec::new(),
            checked: Sampler::default(),
            verified: 0,
        }
    }

    fn partition(&self, connection: usize) -> u32 {
        connection as u32 % self.partitions
    }

    /// Bytes of one of the batches.
    fn batch_bytes(&self) -> Result<usize> {
        Ok(Template::new(&self.topic, 0, BATCH_RECORDS, self.value_bytes)?.batch.len())
    }

    /// The records of an answer from `cursor` on; all of them are compared when `thoroughly`.
    fn records(&self, partition: u32, cursor: u64, mut batches: &[u8], thoroughly: bool) -> Option<u32> {
        let mut next = cursor;
        while !batches.is_empty() {
            let len = braid_wire_kafka::batch::batch_len(batches)?;
            let batch = batches.get(..len).filter(|batch| batch.len() >= BATCH_HEAD_BYTES)?;
            if u64::from_be_bytes(*batch.first_chunk()?) != next {
                return None;
            }
            // The batches of a partition were sent with tags that lie as far apart as there are partitions.
            let tag = (next / u64::from(BATCH_RECORDS)) as u32 * self.partitions + partition;
            if thoroughly && !is_batch(batch, next, self.value_bytes, BATCH_RECORDS, |index| mark(tag, index))
            {
                return None;
            }
            next += u64::from(BATCH_RECORDS);
            batches = &batches[len..];
        }
        Some((next - cursor) as u32)
    }
}

const BATCH_RECORDS: u32 = floor::BATCH_RECORDS as u32;
/// Batches of an answer.
const BATCHES: usize = floor::RECORDS / floor::BATCH_RECORDS;

impl Protocol for Fetch {
    /// Makes the topic and sends its batches, over one connection so that they come in order.
    fn create_topic(&mut self, address: SocketAddr) -> Result<()> {
        let mut produce = Produce::new(&self.topic, self.partitions, BATCH_RECORDS, self.value_bytes);
        produce.create_topic(address)?;
        let load = Load { connections: 1, window: 16 };
        let requests = Span::Requests(self.partitions * self.per_partition / BATCH_RECORDS);
        drive(&mut produce, address, std::process::id(), load, requests, &mut 0)?;
        produce.verify(address)?;
        Ok(())
    }

    fn handshake(&mut self, connection: usize, _: &mut TcpStream) -> Result<()> {
        if connection == self.cursors.len() {
            let bytes = (BATCHES * self.batch_bytes()?) as i32;
            let ask = fetch_request(&self.topic, self.partition(connection), OFFSET_MARK, bytes);
            let template = request(keys::FETCH, FETCH_VERSION, &ask);
            let offset_at = memchr::memmem::find(&template, &OFFSET_MARK.to_be_bytes())
                .ok_or_else(|| unreadable("an encoded request does not hold its offset"))?;
            self.templates.push((template, offset_at));
            self.cursors.push(0);
        }
        Ok(())
    }

    fn encode(&mut self, connection: usize, tag: u32, out: &mut Vec<u8>) {
        let (template, offset_at) = &self.templates[connection];
        let at = out.len();
        out.extend_from_slice(template);
        out[at + CORRELATION_AT..at + CORRELATION_AT + 4].copy_from_slice(&tag.to_be_bytes());
        let offset = self.cursors[connection].to_be_bytes();
        out[at + offset_at..at + offset_at + 8].copy_from_slice(&offset);
    }

    fn decode(&mut self, connection: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some((bytes, tag)) = head(input)? else { return Ok(None) };
        let (partition, cursor) = (self.partition(connection), self.cursors[connection]);
        let body = input.get(frame::PREFIX_BYTES + 4..bytes).unwrap_or_default();
        let answer = fetch::Response::decode(FETCH_VERSION, &mut Input::new(body)).map_err(unreadable)?;
        let given = answer.responses.first().and_then(|topic| topic.partitions.first());
        let given = given.ok_or_else(|| unreadable("an answer about no partition"))?;
        if given.error_code != error_code::NONE {
            return Err(refused(given.error_code, "a fetch"));
        }
        let thoroughly = self.checked.is_wanted();
        let records =
            self.records(partition, cursor, given.records.as_deref().unwrap_or_default(), thoroughly);
        let records = records.filter(|records| *records > 0).ok_or_else(|| {
            BenchError::Lost(format!(
                "{}, partition {partition}: other records than those from {cursor} on",
                self.topic
            ))
        })?;
        if thoroughly {
            self.verified += u64::from(records);
            self.checked.keep(());
        }
        let next = cursor + u64::from(records);
        self.cursors[connection] = if next >= u64::from(self.per_partition) { 0 } else { next };
        Ok(Some(Answer { bytes, tag, messages: records }))
    }

    /// Deliveries are checked as they come: here is how many.
    fn verify(&mut self, _: SocketAddr) -> Result<u64> {
        self.checked.take();
        Ok(std::mem::take(&mut self.verified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_template_is_a_request_with_a_whole_batch() {
        let template = Template::new("T", 3, 5, 100).unwrap();
        let mut out = vec![9];
        template.write(77, &mut out);
        let (head, at) = header::decode(&out[1 + frame::PREFIX_BYTES..]).unwrap();
        assert_eq!((head.api_key, head.api_version, head.correlation_id), (keys::PRODUCE, 9, 77));
        let body = &out[1 + frame::PREFIX_BYTES + at..];
        let ask = produce::Request::decode(9, &mut Input::new(body)).unwrap();
        let partition = &ask.topic_data[0].partition_data[0];
        assert_eq!((partition.index, ask.acks), (3, -1));
        let batch = partition.records.as_deref().unwrap();
        assert!(is_batch(batch, 0, 100, 5, |index| mark(77, index)));
        assert!(!is_batch(batch, 0, 100, 5, |index| mark(78, index)));
        assert!(!is_batch(&batch[..batch.len() - 1], 0, 100, 5, |index| mark(77, index)));
    }

    fn produced(offset: i64, error_code: i16) -> Vec<u8> {
        let answer = produce::Response {
            responses: vec![produce::ResponseTopic {
                name: "T".into(),
                partition_responses: vec![produce::ResponsePartition {
                    index: 1,
                    error_code,
                    base_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut out = Vec::new();
        let start = frame::begin(&mut out);
        header::encode_response(5, keys::PRODUCE, PRODUCE_VERSION, &mut out);
        answer.encode(PRODUCE_VERSION, &mut out);
        frame::finish(&mut out, start, 0);
        out
    }

    #[test]
    fn an_answer_to_a_produce_request_is_read_where_it_must_be() {
        let mut produce = Produce::new("T", 2, 3, 100);
        let answer = produced(42, 0);
        for length in 0..answer.len() {
            assert_eq!(produce.decode(0, &answer[..length]).unwrap(), None);
        }
        let expected = Answer { bytes: answer.len(), tag: 5, messages: 3 };
        assert_eq!(produce.decode(0, &answer).unwrap(), Some(expected));
        let sent = produce.acknowledged.take()[0];
        assert_eq!((sent.tag, sent.partition, sent.offset), (5, 1, 42));
        let refused = produce.decode(0, &produced(-1, error_code::CORRUPT_MESSAGE));
        assert!(matches!(refused, Err(BenchError::Refused { code: 2, .. })));
    }

    #[test]
    fn fetched_batches_must_follow_each_other() {
        let fetch = Fetch::new("T", 4, 64, 100);
        let batch = |offset: u64, tag: u32| {
            let template = Template::new("T", 0, BATCH_RECORDS, 100).unwrap();
            let mut out = Vec::new();
            template.write(tag, &mut out);
            let mut batch = out[template.batch.clone()].to_vec();
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            batch
        };
        // Partition 1 has tags 1, 5, 9, ...
        let two = [batch(16, 5), batch(32, 9)].concat();
        assert_eq!(fetch.records(1, 16, &two, true), Some(32));
        assert_eq!(fetch.records(1, 0, &two, false), None, "it begins elsewhere");
        assert_eq!(fetch.records(1, 16, &two[..two.len() - 1], false), None, "it ends early");
        let other = [batch(16, 5), batch(32, 8)].concat();
        assert_eq!(
            (fetch.records(1, 16, &other, false), fetch.records(1, 16, &other, true)),
            (Some(32), None)
        );
    }
}
