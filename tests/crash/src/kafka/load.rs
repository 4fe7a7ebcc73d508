//! The load through Kafka: connections that produce, commit, read their cursors and fetch, until the broker is killed under them.
//!
//! Requests are on the way all the time. An idempotent producer has five of them at most, since a broker remembers five batches.

use std::collections::{HashMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use braid_wire_kafka::batch::{BatchHead, BatchWriter, Compression, RecordDraft};
use braid_wire_kafka::error_code;
use braid_wire_kafka::messages::{
    Message, heartbeat, init_producer_id, join_group, leave_group, offset_commit, produce, sync_group,
};
use bytes::Bytes;

use super::client::{Client, answer, expect};
use super::verify::{self, OFFSET_FETCH_VERSION, fetch_from, fetched, group, key, metadata_of};
use crate::body::{self, Value};
use crate::ledger::{Ledger, Offset, Queue, Violation};
use crate::load::{Log, Owned, Protocol, Shared};
use crate::random::Random;

/// Connections, each of which owns the cursors of an eighth of the queues.
pub(crate) const CONNECTIONS: usize = 8;
/// The first of them are idempotent producers.
const IDEMPOTENT_CONNECTIONS: usize = 4;
/// Produce requests that an idempotent producer has on the way.
const IDEMPOTENT_WINDOW: usize = 5;
/// Requests on the way per connection.
const WINDOW: usize = 24;
/// Records in a batch, and batches in a request.
const BATCH_RECORDS_MAX: u64 = 12;
const REQUEST_BATCHES_MAX: u64 = 3;
/// One producer in so many with nothing unanswered begins anew with another id.
const NEW_PRODUCER_ONE_IN: u64 = 4;
/// One member in so many leaves its group and joins it again.
const NEW_MEMBER_ONE_IN: u64 = 4;
/// One produce request in so many of the others asks for no answer.
const UNANSWERED_ONE_IN: u64 = 16;
/// One batch in so many goes to a queue that RocketMQ's connections write to as well.
const MIXED_ONE_IN: u64 = 8;
const FETCH_BYTES: i32 = 64 << 10;
const TIMESTAMP_MS: i64 = 1_700_000_000_000;
const TIMEOUT_MS: i32 = 20_000;

/// Versions by connection: with classic and with compact forms. Older ones of Fetch don't know zstd.
const PRODUCE_VERSIONS: [i16; 4] = [3, 7, 9, 11];
const FETCH_VERSIONS: [i16; 4] = [10, 11, 12, 12];
/// The first version of Produce that knows zstd.
const PRODUCE_ZSTD_VERSION: i16 = 7;
const COMMIT_VERSIONS: [i16; 4] = [2, 5, 7, 8];
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const JOIN_GROUP_VERSION: i16 = 3;
const SYNC_GROUP_VERSION: i16 = 2;
const HEARTBEAT_VERSION: i16 = 2;
const LEAVE_GROUP_VERSION: i16 = 2;
/// How long a broker's disk may be busy, and how often it is asked again.
const BUSY_MAX: Duration = Duration::from_secs(20);
const BUSY_POLL: Duration = Duration::from_millis(5);
/// Longer than a cycle, so that no heartbeat is due.
const SESSION_TIMEOUT_MS: i32 = 120_000;

/// A batch that was sent, in a way that it can be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Batch {
    queue: Queue,
    values: Vec<Value>,
    compression: Compression,
    /// -1 for one that is not sent again.
    first_sequence: i32,
}

/// An idempotent producer.
#[derive(Debug, Default)]
struct Producer {
    identity: Option<(i64, i16)>,
    next_sequence: HashMap<Queue, i32>,
    /// In the order in which they were sent.
    unanswered: Vec<Batch>,
}

/// What a connection keeps while the broker is killed and started again.
#[derive(Debug, Default)]
pub(crate) struct Lasting {
    producer: Producer,
    /// Generation and member id, where it is a member of its group.
    member: Option<(i32, String)>,
}

/// A request on the way.
enum Pending {
    Produce(Vec<Batch>),
    Commit {
        queue: Queue,
        offset: Offset,
    },
    /// The answer must be at least `floor`, the highest commit answered when it was asked.
    Cursor {
        queue: Queue,
        floor: Option<Offset>,
    },
    Fetch {
        queue: Queue,
        from: Offset,
    },
}

/// A connection before, in and after its load.
pub(crate) struct Worker<'a> {
    client: Client,
    index: usize,
    shared: &'a Shared,
    random: Random,
    producer: Producer,
    member: Option<(i32, String)>,
    owned: Vec<Owned>,
    pending: VecDeque<(i32, Pending)>,
    produces_pending: usize,
    log: Log,
}

impl<'a> Worker<'a> {
    pub(crate) fn connect(
        address: std::net::SocketAddr,
        index: usize,
        ledger: &Ledger,
        shared: &'a Shared,
        seed: u64,
        lasting: Lasting,
    ) -> Result<Self> {
        let mut worker = Worker {
            client: Client::connect(address).context("load")?,
            index,
            shared,
            random: Random::new(seed),
            producer: lasting.producer,
            member: lasting.member,
            owned: Queue::kafka()
                .filter(|queue| queue.owner() == index)
                .map(|queue| Owned::of(ledger, queue))
                .collect(),
            pending: VecDeque::new(),
            produces_pending: 0,
            log: Log::default(),
        };
        if worker.is_idempotent() {
            worker.take_producer_id()?;
        }
        if index % 2 == 1 {
            worker.be_member().context("be a member")?;
        }
        Ok(worker)
    }

    fn is_idempotent(&self) -> bool {
        self.index < IDEMPOTENT_CONNECTIONS
    }

    fn version(&self, versions: [i16; 4]) -> i16 {
        versions[self.index % versions.len()]
    }

    /// One request whose answer, with the code that `code` finds in it, says yes in the end; a broker whose disk is busy is asked again.
    fn ask<'m, Q: Message<'m>>(
        &mut self,
        version: i16,
        request: &Q,
        code: impl Fn(&[u8]) -> Result<i16>,
    ) -> Result<Bytes> {
        let deadline = Instant::now() + BUSY_MAX;
        loop {
            let frame = self.client.call(version, request)?;
            match code(&frame)? {
                error_code::NONE => return Ok(frame),
                error_code::COORDINATOR_LOAD_IN_PROGRESS | error_code::COORDINATOR_NOT_AVAILABLE
                    if Instant::now() < deadline =>
                {
                    thread::sleep(BUSY_POLL);
                }
                code => bail!("{} is refused with {code}", Q::NAME),
            }
        }
    }

    /// Asks for a producer id, which nobody may have had before, and begins anew with it, or goes on as who it was.
    fn take_producer_id(&mut self) -> Result<()> {
        let request = init_producer_id::Request {
            transaction_timeout_ms: TIMEOUT_MS,
            ..init_producer_id::Request::default()
        };
        let frame = self.ask(INIT_PRODUCER_ID_VERSION, &request, |frame| {
            let given: init_producer_id::Response = answer(INIT_PRODUCER_ID_VERSION, frame)?;
            Ok(given.error_code)
        })?;
        let given: init_producer_id::Response = answer(INIT_PRODUCER_ID_VERSION, &frame)?;
        self.log.producer_ids.push(given.producer_id);
        let begins_anew = self.producer.unanswered.is_empty() && self.random.below(NEW_PRODUCER_ONE_IN) == 0;
        if begins_anew || self.producer.identity.is_none() {
            self.producer =
                Producer { identity: Some((given.producer_id, given.producer_epoch)), ..Producer::default() };
        }
        Ok(())
    }

    /// Goes on as the only member of its group, or becomes that.
    fn be_member(&mut self) -> Result<()> {
        if let Some((generation_id, member_id)) = self.member.take() {
            self.heartbeat(generation_id, &member_id).context("a member over a kill")?;
            if self.random.below(NEW_MEMBER_ONE_IN) != 0 {
                self.member = Some((generation_id, member_id));
                return Ok(());
            }
            self.leave(&member_id)?;
        }
        let (generation_id, member_id) = self.join()?;
        self.sync(generation_id, &member_id)?;
        self.member = Some((generation_id, member_id));
        Ok(())
    }

    fn heartbeat(&mut self, generation_id: i32, member_id: &str) -> Result<()> {
        let request = heartbeat::Request {
            group_id: group(self.index).into(),
            generation_id,
            member_id: member_id.into(),
            ..heartbeat::Request::default()
        };
        self.ask(HEARTBEAT_VERSION, &request, |frame| {
            let alive: heartbeat::Response = answer(HEARTBEAT_VERSION, frame)?;
            Ok(alive.error_code)
        })?;
        Ok(())
    }

    fn leave(&mut self, member_id: &str) -> Result<()> {
        let request = leave_group::Request {
            group_id: group(self.index).into(),
            member_id: member_id.into(),
            ..leave_group::Request::default()
        };
        self.ask(LEAVE_GROUP_VERSION, &request, |frame| {
            let left: leave_group::Response<'_> = answer(LEAVE_GROUP_VERSION, frame)?;
            Ok(left.error_code)
        })?;
        Ok(())
    }

    /// The generation and the member id that it is given.
    fn join(&mut self) -> Result<(i32, String)> {
        let metadata = &b"\0\0\0\0\0\0\0\0\0\0"[..];
        let request = join_group::Request {
            group_id: group(self.index).into(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: TIMEOUT_MS,
            protocol_type: "consumer".into(),
            protocols: vec![join_group::RequestProtocol { name: "range".into(), metadata: metadata.into() }],
            ..join_group::Request::default()
        };
        let frame = self.ask(JOIN_GROUP_VERSION, &request, |frame| {
            let joined: join_group::Response<'_> = answer(JOIN_GROUP_VERSION, frame)?;
            Ok(joined.error_code)
        })?;
        let joined: join_group::Response<'_> = answer(JOIN_GROUP_VERSION, &frame)?;
        ensure!(joined.leader == joined.member_id, "a group of one is led by {}", joined.leader);
        Ok((joined.generation_id, joined.member_id.into_owned()))
    }

    fn sync(&mut self, generation_id: i32, member_id: &str) -> Result<()> {
        let assignment =
            sync_group::RequestAssignment { member_id: member_id.into(), assignment: (&b"mine"[..]).into() };
        let request = sync_group::Request {
            group_id: group(self.index).into(),
            generation_id,
            member_id: member_id.into(),
            assignments: vec![assignment],
            ..sync_group::Request::default()
        };
        let frame = self.ask(SYNC_GROUP_VERSION, &request, |frame| {
            let synced: sync_group::Response<'_> = answer(SYNC_GROUP_VERSION, frame)?;
            Ok(synced.error_code)
        })?;
        let synced: sync_group::Response<'_> = answer(SYNC_GROUP_VERSION, &frame)?;
        ensure!(&*synced.assignment == b"mine", "the assignment came back as {:?}", synced.assignment);
        Ok(())
    }

    /// Goes on until the broker is gone.
    pub(crate) fn run(mut self) -> (Log, Lasting) {
        let ended = self.exchange();
        self.log.unanswered = self.produces_pending;
        if !self.shared.is_killing() {
            let why = ended.map_or_else(|error| format!("{error:#}"), |()| "the broker closed it".to_owned());
            self.log
                .violations
                .push(Violation::Rig(format!("a Kafka connection ended before the kill: {why}")));
            self.shared.give_up();
        }
        (self.log, Lasting { producer: self.producer, member: self.member })
    }

    fn exchange(&mut self) -> Result<()> {
        self.send_again();
        loop {
            while self.pending.len() < WINDOW {
                self.push();
            }
            self.client.flush()?;
            loop {
                let Some(frame) = self.client.receive()? else { return Ok(()) };
                self.take(&frame)?;
                if !self.client.has_input() {
                    break;
                }
            }
        }
    }

    /// What an earlier kill left unanswered.
    fn send_again(&mut self) {
        for batch in self.producer.unanswered.clone() {
            self.log.sent_again.extend(batch.values.iter().copied());
            self.log.totals.sent_again += 1;
            self.push_request(vec![batch], -1);
        }
    }

    /// One request, as chance has it.
    fn push(&mut self) {
        match self.random.below(100) {
            0..70 => self.push_produce(),
            70..80 => self.push_commit(),
            80..86 => self.push_query(),
            _ => self.push_fetch(),
        }
    }

    fn push_produce(&mut self) {
        if self.is_idempotent() && self.produces_pending >= IDEMPOTENT_WINDOW {
            return self.push_query();
        }
        let count = 1 + self.random.below(REQUEST_BATCHES_MAX);
        let mut batches: Vec<Batch> = Vec::new();
        for _ in 0..count {
            let queue = self.any_queue();
            if batches.iter().all(|batch| batch.queue != queue) {
                let batch = self.new_batch(queue);
                batches.push(batch);
            }
        }
        let acks = match self.random.below(UNANSWERED_ONE_IN) {
            _ if self.is_idempotent() => -1,
            0 => 0,
            more => {
                if more % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
        };
        if self.is_idempotent() {
            self.producer.unanswered.extend(batches.iter().cloned());
        }
        self.push_request(batches, acks);
    }

    fn any_queue(&mut self) -> Queue {
        match self.random.below(MIXED_ONE_IN) {
            0 => Queue::any(Queue::mixed(), &mut self.random),
            _ => Queue::any(Queue::kafka(), &mut self.random),
        }
    }

    fn new_batch(&mut self, queue: Queue) -> Batch {
        let records = 1 + self.random.below(BATCH_RECORDS_MAX);
        let values: Vec<_> = (0..records).map(|_| self.shared.new_value(queue, &mut self.log)).collect();
        let mut compression = Compression::ALL[self.random.below(Compression::ALL.len() as u64) as usize];
        if compression == Compression::Zstd && self.version(PRODUCE_VERSIONS) < PRODUCE_ZSTD_VERSION {
            compression = Compression::None;
        }
        let mut first_sequence = -1;
        if self.is_idempotent() {
            let next = self.producer.next_sequence.entry(queue).or_default();
            first_sequence = *next;
            *next += values.len() as i32;
        }
        Batch { queue, values, compression, first_sequence }
    }

    fn push_request(&mut self, batches: Vec<Batch>, acks: i16) {
        let topic = |batch: &Batch| {
            let records = Some(self.bytes(batch).into());
            produce::RequestTopic {
                name: batch.queue.topic().into(),
                partition_data: vec![produce::RequestPartition { index: batch.queue.id(), records }],
                ..produce::RequestTopic::default()
            }
        };
        let request = produce::Request {
            acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: batches.iter().map(topic).collect(),
            ..produce::Request::default()
        };
        let correlation_id = self.client.push(self.version(PRODUCE_VERSIONS), &request);
        if acks != 0 {
            self.produces_pending += 1;
            self.pending.push_back((correlation_id, Pending::Produce(batches)));
        }
    }

    /// The same bytes whenever it is sent.
    fn bytes(&self, batch: &Batch) -> Vec<u8> {
        let (producer_id, producer_epoch) = self.producer.identity.unwrap_or((-1, -1));
        let mut writer = BatchWriter::new(BatchHead {
            compression: batch.compression,
            producer_id,
            producer_epoch,
            base_sequence: batch.first_sequence,
            ..BatchHead::default()
        });
        for &value in &batch.values {
            let (key, value) = (key(value), body::of(value));
            writer.push(&RecordDraft {
                timestamp: TIMESTAMP_MS,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
            });
        }
        writer.finish()
    }

    /// One of the queues whose cursors are this connection's.
    fn any_owned(&mut self) -> usize {
        self.random.below(self.owned.len() as u64) as usize
    }

    fn push_commit(&mut self) {
        let at = self.any_owned();
        let Some(offset) = self.owned[at].next_commit(&mut self.random) else { return self.push_query() };
        let queue = self.owned[at].queue;
        self.log.commits_sent.push((queue, offset));
        let partition = offset_commit::RequestPartition {
            partition_index: queue.id(),
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(metadata_of(offset)),
        };
        let topic = offset_commit::RequestTopic {
            name: queue.topic().into(),
            partitions: vec![partition],
            ..offset_commit::RequestTopic::default()
        };
        let request = offset_commit::Request {
            group_id: group(self.index).into(),
            generation_id_or_member_epoch: self
                .member
                .as_ref()
                .map_or(-1, |(generation_id, _)| *generation_id),
            member_id: self.member.as_ref().map_or_else(String::new, |(_, id)| id.clone()).into(),
            retention_time_ms: -1,
            topics: vec![topic],
            ..offset_commit::Request::default()
        };
        let correlation_id = self.client.push(self.version(COMMIT_VERSIONS), &request);
        self.pending.push_back((correlation_id, Pending::Commit { queue, offset }));
    }

    fn push_query(&mut self) {
        let at = self.any_owned();
        let (queue, floor) = (self.owned[at].queue, self.owned[at].committed);
        let correlation_id = self.client.push(OFFSET_FETCH_VERSION, &verify::query_cursor(queue));
        self.pending.push_back((correlation_id, Pending::Cursor { queue, floor }));
    }

    fn push_fetch(&mut self) {
        let at = self.any_owned();
        let (queue, from) = (self.owned[at].queue, self.owned[at].pull_from);
        let version = self.version(FETCH_VERSIONS);
        let correlation_id = self.client.push(version, &fetch_from(queue, from, FETCH_BYTES));
        self.pending.push_back((correlation_id, Pending::Fetch { queue, from }));
    }

    fn take(&mut self, frame: &Bytes) -> Result<()> {
        let (correlation_id, pending) = self.pending.pop_front().context("an answer to nothing")?;
        expect(frame, correlation_id)?;
        match pending {
            Pending::Produce(batches) => {
                self.produces_pending -= 1;
                self.take_produce(batches, frame)?;
            }
            Pending::Commit { queue, offset } => self.take_commit(queue, offset, frame)?,
            Pending::Cursor { queue, floor } => self.take_cursor(queue, floor, frame),
            Pending::Fetch { queue, from } => self.take_fetch(queue, from, frame),
        }
        Ok(())
    }

    fn malformed(&mut self, queue: Queue, what: String) {
        self.log.violations.push(Violation::Malformed { queue, what });
    }

    fn owned(&mut self, queue: Queue) -> Option<&mut Owned> {
        self.owned.iter_mut().find(|owned| owned.queue == queue)
    }

    fn take_produce(&mut self, batches: Vec<Batch>, frame: &Bytes) -> Result<()> {
        let response: produce::Response<'_> = answer(self.version(PRODUCE_VERSIONS), frame)?;
        let mut answered = HashMap::new();
        for topic in &response.responses {
            for partition in &topic.partition_responses {
                let at = (topic.name.clone().into_owned(), partition.index);
                answered.insert(at, (partition.error_code, partition.base_offset));
            }
        }
        for batch in batches {
            let queue = batch.queue;
            match answered.remove(&(queue.topic(), queue.id())) {
                Some((error_code::NONE, base_offset)) => self.batch_is_stored(batch, base_offset),
                // A producer whose batch is refused can't go on with the next sequence: nothing here is reason enough.
                Some((code, _)) if self.is_idempotent() => self.malformed(
                    queue,
                    format!(
                        "sequence {} of {:?} is refused with {code}",
                        batch.first_sequence, self.producer.identity
                    ),
                ),
                Some(_) => self.log.totals.refused += 1,
                None => self.malformed(queue, format!("a produce request is answered with {response:?}")),
            }
        }
        Ok(())
    }

    fn batch_is_stored(&mut self, batch: Batch, base_offset: Offset) {
        let queue = batch.queue;
        if let Some(at) = self.producer.unanswered.iter().position(|unanswered| *unanswered == batch) {
            self.producer.unanswered.remove(at);
        }
        self.log.totals.acknowledged += 1;
        self.log.totals.batches += u64::from(batch.values.len() > 1);
        let end = base_offset + batch.values.len() as Offset;
        self.log
            .stored
            .extend((base_offset..).zip(batch.values).map(|(offset, value)| (queue, offset, value)));
        if let Some(owned) = self.owned(queue) {
            owned.end = owned.end.max(end);
        }
        self.shared.count_acknowledged(Protocol::Kafka);
    }

    fn take_commit(&mut self, queue: Queue, offset: Offset, frame: &Bytes) -> Result<()> {
        let response: offset_commit::Response<'_> = answer(self.version(COMMIT_VERSIONS), frame)?;
        let topic = response.topics.first().context("no topic")?;
        let code = topic.partitions.first().context("no partition")?.error_code;
        let is_stored = code == error_code::NONE;
        match code {
            error_code::NONE => {
                self.log.totals.commits += 1;
                self.log.commits_stored.push((queue, offset));
            }
            // The disk is busy; nothing is promised.
            error_code::COORDINATOR_NOT_AVAILABLE => self.log.totals.refused += 1,
            _ => self.malformed(queue, format!("the commit of {offset} is refused with {code}")),
        }
        if let Some(owned) = self.owned(queue) {
            owned.commit_ended(offset, is_stored);
        }
        Ok(())
    }

    fn take_cursor(&mut self, queue: Queue, floor: Option<Offset>, frame: &Bytes) {
        match verify::cursor_of(frame) {
            Ok(found) => {
                let attempted = self.owned(queue).map_or(0, |owned| owned.attempted);
                self.log.cursor_is_read(queue, floor, attempted, found);
            }
            Err(error) => self.malformed(queue, format!("{error:#}")),
        }
    }

    fn take_fetch(&mut self, queue: Queue, from: Offset, frame: &Bytes) {
        match fetched(queue, self.version(FETCH_VERSIONS), from, frame) {
            Ok(records) => {
                self.log.totals.pulled += records.len() as u64;
                let next = records.last().map_or(from, |(offset, _)| offset + 1);
                self.log.stored.extend(records.into_iter().map(|(offset, value)| (queue, offset, value)));
                if let Some(owned) = self.owned(queue) {
                    owned.pull_from = owned.pull_from.max(next);
                    owned.end = owned.end.max(next);
                }
            }
            Err(what) => self.malformed(queue, format!("a fetch: {what}")),
        }
    }
}
