//! The load: eight connections that send, commit cursors, read them and pull, until the broker is killed under them.
//!
//! Every connection keeps [`WINDOW`] requests on the way, so the kill always meets some. Messages go to any queue from any connection;
//! a queue's cursor is moved by one connection alone and only forward, with one commit at a time, so that "the highest answered commit"
//! means something.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use braid_wire_rocketmq::batch::{self, Entry};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header::{SendMessage, SendMessageResponse, SendMessageV2, UpdateConsumerOffset};
use braid_wire_rocketmq::{Command, Serialization};
use bytes::Bytes;

use crate::body::{self, Value};
use crate::broker::Broker;
use crate::client::Client;
use crate::kafka;
use crate::kafka::load::Lasting;
use crate::ledger::{Ledger, Offset, Queue, Violation};
use crate::random::Random;
use crate::verify::{self, GROUP};

const CONNECTIONS: usize = 8;
/// Requests on the way per connection.
const WINDOW: usize = 24;
/// Messages in a batch.
const BATCH_MESSAGES_MAX: u64 = 8;
/// A load that has not reached its target by then has failed.
const LOAD_MAX: Duration = Duration::from_secs(60);

/// When to kill.
pub(crate) struct Plan {
    /// So many acknowledged sends must have been counted.
    pub(crate) target: u64,
    /// And so much time must have gone by since.
    pub(crate) delay: Duration,
    /// Decides what is sent where.
    pub(crate) seed: u64,
}

/// What is counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Totals {
    /// Send requests answered with SEND_OK.
    pub(crate) acknowledged: u64,
    /// Of them, batches.
    pub(crate) batches: u64,
    /// Sends and commits answered with an error: the broker may be busy, and promises nothing then.
    pub(crate) refused: u64,
    /// Cursor commits answered.
    pub(crate) commits: u64,
    /// Cursors read.
    pub(crate) cursors: u64,
    /// Messages pulled or fetched.
    pub(crate) pulled: u64,
    /// Batches sent again because a kill had swallowed the answer.
    pub(crate) sent_again: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.batches += other.batches;
        self.refused += other.refused;
        self.commits += other.commits;
        self.cursors += other.cursors;
        self.pulled += other.pulled;
        self.sent_again += other.sent_again;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sends acknowledged ({} batches), {} refused, {} commits, {} cursors read, {} messages pulled",
            self.acknowledged, self.batches, self.refused, self.commits, self.cursors, self.pulled
        )?;
        if self.sent_again > 0 { write!(f, ", {} batches sent again", self.sent_again) } else { Ok(()) }
    }
}

/// Through which protocol a connection loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    RocketMq,
    Kafka,
}

/// What the connections did and saw.
pub(crate) struct Load {
    rocketmq: Vec<Log>,
    kafka: Vec<Log>,
    /// What Kafka's connections keep for the next load.
    pub(crate) lasting: Vec<Lasting>,
}

impl Load {
    fn logs(&self, protocol: Protocol) -> &[Log] {
        match protocol {
            Protocol::RocketMq => &self.rocketmq,
            Protocol::Kafka => &self.kafka,
        }
    }

    pub(crate) fn totals(&self, protocol: Protocol) -> Totals {
        self.logs(protocol).iter().fold(Totals::default(), |mut sum, log| {
            sum += log.totals;
            sum
        })
    }

    /// Send requests that the kill left without an answer.
    pub(crate) fn unanswered(&self, protocol: Protocol) -> usize {
        self.logs(protocol).iter().map(|log| log.unanswered).sum()
    }

    /// Enters everything into the books.
    pub(crate) fn record(self, ledger: &mut Ledger) -> Vec<Violation> {
        let mut violations = Vec::new();
        let logs: Vec<_> = self.rocketmq.into_iter().chain(self.kafka).collect();
        // All that was sent comes first: one connection may have been shown what another one sent.
        for log in &logs {
            log.sent.iter().for_each(|&(queue, value)| ledger.sent(queue, value));
            log.sent_again.iter().for_each(|&value| ledger.sent_again(value));
            violations.extend(log.producer_ids.iter().filter_map(|&id| ledger.producer_id_given(id)));
        }
        for log in logs {
            violations.extend(
                log.stored
                    .into_iter()
                    .filter_map(|(queue, offset, value)| ledger.stored(queue, offset, value)),
            );
            log.commits_sent.into_iter().for_each(|(queue, offset)| ledger.cursor_sent(queue, offset));
            log.commits_stored.into_iter().for_each(|(queue, offset)| ledger.cursor_stored(queue, offset));
            violations.extend(log.violations);
        }
        violations
    }
}

/// Loads `broker` and kills it as planned.
///
/// # Errors
/// If the broker can't be connected to or killed.
pub(crate) fn run(broker: Broker, ledger: &Ledger, plan: Plan, lasting: Vec<Lasting>) -> Result<Load> {
    let shared = Shared {
        next_value: AtomicU64::new(ledger.next_value()),
        acknowledged: [AtomicU64::new(0), AtomicU64::new(0)],
        target: plan.target,
        killing: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        killer: thread::current(),
    };
    let mut seeds = Random::new(plan.seed);
    let workers =
        (0..CONNECTIONS).map(|index| Worker::connect(broker.address(), index, ledger, &shared, seeds.next()));
    let workers: Vec<_> = workers.collect::<Result<_>>()?;
    let mut seeds = Random::new(plan.seed.rotate_left(32));
    let kafka_workers = lasting.into_iter().enumerate().map(|(index, lasting)| {
        kafka::load::Worker::connect(broker.kafka_address(), index, ledger, &shared, seeds.next(), lasting)
    });
    let kafka_workers: Vec<_> = kafka_workers.collect::<Result<_>>()?;
    thread::scope(|scope| {
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || worker.run())).collect();
        let kafka_threads: Vec<_> =
            kafka_workers.into_iter().map(|worker| scope.spawn(move || worker.run())).collect();
        shared.wait_for_target();
        // The moment is the point here; no event stands for it.
        thread::sleep(plan.delay);
        shared.killing.store(true, Ordering::SeqCst);
        broker.kill()?;
        let rocketmq = threads.into_iter().map(joined).collect::<Result<_>>()?;
        let kafka: Vec<_> = kafka_threads.into_iter().map(joined).collect::<Result<_>>()?;
        let (kafka, lasting) = kafka.into_iter().unzip();
        Ok(Load { rocketmq, kafka, lasting })
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))
}

/// What the connections and the killer share.
pub(crate) struct Shared {
    next_value: AtomicU64,
    /// By protocol; each has to reach the target.
    acknowledged: [AtomicU64; 2],
    target: u64,
    /// Set before the kill: from then on a broken connection is no surprise.
    killing: AtomicBool,
    /// Set when a connection gives up before the kill.
    ended: AtomicBool,
    killer: Thread,
}

impl Shared {
    fn wait_for_target(&self) {
        let deadline = Instant::now() + LOAD_MAX;
        while !self.is_reached() && !self.ended.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn is_reached(&self) -> bool {
        self.acknowledged.iter().all(|acknowledged| acknowledged.load(Ordering::SeqCst) >= self.target)
    }

    pub(crate) fn count_acknowledged(&self, protocol: Protocol) {
        let acknowledged = &self.acknowledged[protocol as usize];
        if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == self.target {
            self.killer.unpark();
        }
    }

    pub(crate) fn is_killing(&self) -> bool {
        self.killing.load(Ordering::SeqCst)
    }

    pub(crate) fn give_up(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.killer.unpark();
    }

    /// A value that was never used, which is about to be sent to `queue`.
    pub(crate) fn new_value(&self, queue: Queue, log: &mut Log) -> Value {
        let value = self.next_value.fetch_add(1, Ordering::SeqCst);
        log.sent.push((queue, value));
        value
    }
}

/// What one connection did and saw.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) sent: Vec<(Queue, Value)>,
    pub(crate) sent_again: Vec<Value>,
    /// By an answer or a pull.
    pub(crate) stored: Vec<(Queue, Offset, Value)>,
    pub(crate) commits_sent: Vec<(Queue, Offset)>,
    pub(crate) commits_stored: Vec<(Queue, Offset)>,
    pub(crate) producer_ids: Vec<i64>,
    pub(crate) unanswered: usize,
    pub(crate) totals: Totals,
    pub(crate) violations: Vec<Violation>,
}

impl Log {
    /// A cursor was read; `floor` is the highest commit answered when it was asked for, `attempted` the highest one asked for.
    pub(crate) fn cursor_is_read(
        &mut self,
        queue: Queue,
        floor: Option<Offset>,
        attempted: Offset,
        found: Option<Offset>,
    ) {
        self.totals.cursors += 1;
        if let Some(committed) = floor.filter(|_| found < floor) {
            self.violations.push(Violation::CursorLost { queue, committed, found });
        }
        if let Some(found) = found.filter(|found| *found > attempted) {
            self.violations.push(Violation::CursorAhead { queue, attempted, found });
        }
    }
}

/// A request on the way.
enum Pending {
    Send {
        queue: Queue,
        values: Vec<Value>,
    },
    Commit {
        queue: Queue,
        offset: Offset,
    },
    /// The answer must be at least `floor`, the highest commit answered when it was asked.
    Cursor {
        queue: Queue,
        floor: Option<Offset>,
    },
    Pull {
        queue: Queue,
    },
}

/// What a connection knows of a queue whose cursor it moves.
pub(crate) struct Owned {
    pub(crate) queue: Queue,
    /// Every offset below is known to hold a message.
    pub(crate) end: Offset,
    pub(crate) attempted: Offset,
    pub(crate) committed: Option<Offset>,
    is_committing: bool,
    pub(crate) pull_from: Offset,
}

impl Owned {
    pub(crate) fn of(ledger: &Ledger, queue: Queue) -> Self {
        Owned {
            queue,
            end: ledger.verified(queue),
            attempted: ledger.cursor_attempted(queue),
            committed: ledger.cursor(queue),
            is_committing: false,
            pull_from: ledger.cursor(queue).unwrap_or(0),
        }
    }

    /// Where to commit to next, if there is something new and no commit on the way.
    pub(crate) fn next_commit(&mut self, random: &mut Random) -> Option<Offset> {
        if self.is_committing || self.end <= self.attempted {
            return None;
        }
        self.attempted += 1 + random.below((self.end - self.attempted) as u64) as Offset;
        self.is_committing = true;
        Some(self.attempted)
    }

    /// A commit was answered.
    pub(crate) fn commit_ended(&mut self, offset: Offset, is_stored: bool) {
        self.is_committing = false;
        self.committed = if is_stored { Some(offset) } else { self.committed };
    }
}

struct Worker<'a> {
    client: Client,
    /// Even connections use the long names of code 10, odd ones the short names of code 310.
    is_short: bool,
    shared: &'a Shared,
    random: Random,
    owned: Vec<Owned>,
    pending: HashMap<i32, Pending>,
    /// The last request that was written whole.
    written: i32,
    log: Log,
}

impl<'a> Worker<'a> {
    fn connect(
        address: SocketAddr,
        index: usize,
        ledger: &Ledger,
        shared: &'a Shared,
        seed: u64,
    ) -> Result<Self> {
        // Half of the connections speak the binary header form.
        let serialization =
            if index < CONNECTIONS / 2 { Serialization::Json } else { Serialization::Rocketmq };
        Ok(Worker {
            client: Client::connect(address, serialization).context("load")?,
            is_short: index % 2 == 1,
            shared,
            random: Random::new(seed),
            owned: Queue::rocketmq()
                .filter(|queue| queue.owner() == index)
                .map(|queue| Owned::of(ledger, queue))
                .collect(),
            pending: HashMap::new(),
            written: 0,
            log: Log::default(),
        })
    }

    /// Goes on until the broker is gone.
    fn run(mut self) -> Log {
        let ended = self.exchange();
        // Requests that were pushed but never written were not sent; it does no harm to expect nothing of them.
        self.log.unanswered =
            self.pending.values().filter(|pending| matches!(pending, Pending::Send { .. })).count();
        if !self.shared.is_killing() {
            let why = ended.map_or_else(|error| format!("{error:#}"), |()| "the broker closed it".to_owned());
            self.log.violations.push(Violation::Rig(format!("a connection ended before the kill: {why}")));
            self.shared.give_up();
        }
        self.log
    }

    fn exchange(&mut self) -> Result<()> {
        loop {
            while self.pending.len() < WINDOW {
                self.push()?;
            }
            self.client.flush()?;
            self.written = self.client.last_opaque();
            loop {
                let Some(answer) = self.client.receive()? else { return Ok(()) };
                self.take(answer)?;
                if !self.client.has_input() {
                    break;
                }
            }
        }
    }

    /// One request, as chance has it.
    fn push(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..75 => self.push_send(),
            75..83 => self.push_batch(),
            83..90 => self.push_commit(),
            90..94 => self.push_query(),
            _ => self.push_pull(),
        }
    }

    fn expect(&mut self, request: Command, pending: Pending) -> Result<()> {
        let opaque = self.client.push(request)?;
        self.pending.insert(opaque, pending);
        Ok(())
    }

    fn any_queue(&mut self) -> Queue {
        Queue::any(Queue::rocketmq(), &mut self.random)
    }

    fn new_value(&mut self, queue: Queue) -> Value {
        self.shared.new_value(queue, &mut self.log)
    }

    fn push_send(&mut self) -> Result<()> {
        let queue = self.any_queue();
        let value = self.new_value(queue);
        let header = send_header(queue, properties(value));
        let (code, ext_fields) = match self.is_short {
            true => (request::SEND_MESSAGE_V2, short(header).to_ext_fields()),
            false => (request::SEND_MESSAGE, header.to_ext_fields()),
        };
        let body = Bytes::from(body::of(value));
        let request = Command { body, ..verify::command(code, ext_fields) };
        self.expect(request, Pending::Send { queue, values: vec![value] })
    }

    fn push_batch(&mut self) -> Result<()> {
        let queue = self.any_queue();
        let messages = 2 + self.random.below(BATCH_MESSAGES_MAX - 1);
        let values: Vec<_> = (0..messages).map(|_| self.new_value(queue)).collect();
        let mut body = Vec::new();
        for &value in &values {
            let (message, properties) = (body::of(value), properties(value));
            batch::push_entry(
                &mut body,
                &Entry { flag: 0, body: &message, properties: properties.as_bytes() },
            );
        }
        let batch_properties = format!("UNIQ_KEY\u{1}B{:031X}\u{2}WAIT\u{1}true\u{2}", values[0]);
        let header = SendMessage { batch: Some(true), ..send_header(queue, batch_properties) };
        let request = verify::command(request::SEND_BATCH_MESSAGE, short(header).to_ext_fields());
        self.expect(Command { body: Bytes::from(body), ..request }, Pending::Send { queue, values })
    }

    /// One of the queues whose cursors are this connection's.
    fn any_owned(&mut self) -> usize {
        self.random.below(self.owned.len() as u64) as usize
    }

    fn push_commit(&mut self) -> Result<()> {
        let at = self.any_owned();
        let Some(offset) = self.owned[at].next_commit(&mut self.random) else { return self.push_query() };
        let queue = self.owned[at].queue;
        self.log.commits_sent.push((queue, offset));
        let header = UpdateConsumerOffset {
            consumer_group: GROUP.to_owned(),
            topic: queue.topic(),
            queue_id: queue.id(),
            commit_offset: offset,
        };
        let request = verify::command(request::UPDATE_CONSUMER_OFFSET, header.to_ext_fields());
        self.expect(request, Pending::Commit { queue, offset })
    }

    fn push_query(&mut self) -> Result<()> {
        let at = self.any_owned();
        let (queue, floor) = (self.owned[at].queue, self.owned[at].committed);
        self.expect(verify::query_cursor(queue), Pending::Cursor { queue, floor })
    }

    fn push_pull(&mut self) -> Result<()> {
        let at = self.any_owned();
        let (queue, offset) = (self.owned[at].queue, self.owned[at].pull_from);
        self.expect(verify::pull_from(queue, offset), Pending::Pull { queue })
    }

    fn take(&mut self, answer: Command) -> Result<()> {
        let pending = self
            .pending
            .remove(&answer.opaque)
            .with_context(|| format!("an answer to request {}", answer.opaque))?;
        match pending {
            Pending::Send { queue, values } => self.take_send(queue, values, &answer),
            Pending::Commit { queue, offset } => self.take_commit(queue, offset, &answer),
            Pending::Cursor { queue, floor } => self.take_cursor(queue, floor, answer),
            Pending::Pull { queue } => self.take_pull(queue, &answer),
        }
        Ok(())
    }

    fn malformed(&mut self, queue: Queue, what: String) {
        self.log.violations.push(Violation::Malformed { queue, what });
    }

    fn owned(&mut self, queue: Queue) -> Option<&mut Owned> {
        self.owned.iter_mut().find(|owned| owned.queue == queue)
    }

    fn take_send(&mut self, queue: Queue, values: Vec<Value>, answer: &Command) {
        if answer.code != response::SUCCESS {
            self.log.totals.refused += 1;
            return;
        }
        let header = match SendMessageResponse::from_ext_fields(&answer.ext_fields) {
            Ok(header) => header,
            Err(error) => return self.malformed(queue, format!("the answer to a send: {error}")),
        };
        if header.queue_id != queue.id() || header.message_id.split(',').count() != values.len() {
            return self.malformed(queue, format!("{} messages are answered with {header:?}", values.len()));
        }
        self.log.totals.acknowledged += 1;
        self.log.totals.batches += u64::from(values.len() > 1);
        let end = header.queue_offset + values.len() as Offset;
        self.log
            .stored
            .extend((header.queue_offset..).zip(values).map(|(offset, value)| (queue, offset, value)));
        if let Some(owned) = self.owned(queue) {
            owned.end = owned.end.max(end);
        }
        self.shared.count_acknowledged(Protocol::RocketMq);
    }

    fn take_commit(&mut self, queue: Queue, offset: Offset, answer: &Command) {
        let is_stored = answer.code == response::SUCCESS;
        if is_stored {
            self.log.totals.commits += 1;
            self.log.commits_stored.push((queue, offset));
        } else {
            self.log.totals.refused += 1;
        }
        if let Some(owned) = self.owned(queue) {
            owned.commit_ended(offset, is_stored);
        }
    }

    fn take_cursor(&mut self, queue: Queue, floor: Option<Offset>, answer: Command) {
        let found = match verify::cursor_of(answer) {
            Ok(found) => found,
            Err(error) => return self.malformed(queue, format!("{error:#}")),
        };
        let attempted = self.owned(queue).map_or(0, |owned| owned.attempted);
        self.log.cursor_is_read(queue, floor, attempted, found);
    }

    fn take_pull(&mut self, queue: Queue, answer: &Command) {
        if matches!(
            answer.code,
            response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED
        ) {
            return;
        }
        match verify::pulled(queue, answer) {
            Ok((messages, next)) => {
                self.log.totals.pulled += messages.len() as u64;
                self.log.stored.extend(messages.into_iter().map(|(offset, value)| (queue, offset, value)));
                if let Some(owned) = self.owned(queue) {
                    owned.pull_from = owned.pull_from.max(next);
                    owned.end = owned.end.max(next);
                }
            }
            Err(what) => self.malformed(queue, format!("a pull: {what}")),
        }
    }
}

fn properties(value: Value) -> String {
    format!(
        "KEYS\u{1}k{value}\u{2}UNIQ_KEY\u{1}{value:032X}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}T{}\u{2}",
        value % 5
    )
}

fn send_header(queue: Queue, properties: String) -> SendMessage {
    SendMessage {
        producer_group: "crash-producer".to_owned(),
        topic: queue.topic(),
        default_topic: "TBW102".to_owned(),
        default_topic_queue_nums: 4,
        queue_id: queue.id(),
        born_timestamp: 1_700_000_000_000,
        properties: Some(properties),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        ..SendMessage::default()
    }
}

/// The same header in one-letter names.
fn short(header: SendMessage) -> SendMessageV2 {
    SendMessageV2 {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: header.properties,
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        max_reconsume_times: header.max_reconsume_times,
        batch: header.batch,
        broker_name: header.broker_name,
    }
}
