//! The steps of a seed: what clients of the broker and its own turns do, each with what must come of it.

use std::collections::BTreeMap;

use braid_broker::{
    BatchRequest, Committer, Error, GroupError, Message, NotedCommit, SendRequest, Sent, TopicConfig, limits,
};
use braid_io::Clock;
use braid_store::{Placed, Promise, QueueKey};

use super::batch::{self, Numbers};
use super::oracle::{KEEP_MS, Seen, TOPIC_PREFIX, look_at_group};
use super::state::{Change, Cursor, CursorKey, Queue, Record, Topic, Verdict};
use super::world::{CLASSIC_GROUPS, CURSOR_LIFE_MS, ProducerClient, Told, Waiting, World};

/// Topics that exist at a time.
const TOPICS_MAX: usize = 4;
/// Producers that write at a time; older ones are gone.
const PRODUCERS_MAX: usize = 4;
/// Bytes that a topic with a limit of its own keeps in a queue.
const LIMIT_BYTES: &str = "6000";
const HOST: ([u8; 4], u16) = ([127, 0, 0, 1], 10_911);

/// An answer that tells nothing more.
fn nothing<T>(promise: Promise<T>) -> Promise<Told> {
    promise.map(|_| Told::Nothing)
}

impl World {
    /// One random step.
    pub fn step(&mut self) {
        self.make_room();
        if self.oracle.live.topics.is_empty() {
            self.create_topic();
        }
        match self.rng.below(100) {
            0..=17 => self.append_batch(),
            18..=23 => self.send(),
            24..=33 => self.commit_noted(),
            34..=38 => self.commit(true),
            39..=44 => self.commit(false),
            45..=46 => self.reset_cursor(),
            47..=48 => self.take_reset(),
            49..=58 => self.client_step(),
            59..=61 => self.rebalance(),
            62..=63 => self.new_producer_id(),
            64 => self.create_topic(),
            65 if self.rng.one_in(2) => self.delete_topic(),
            65..=67 => self.delete_records(),
            68..=76 => self.write_turn(),
            77..=84 => self.flush_turn(),
            85..=87 => self.flush_cursors(),
            88..=91 => self.turn(),
            92..=94 => self.housekeeping(),
            95..=97 => self.move_clock(),
            98 if self.rng.one_in(2) => self.delete_group(),
            _ => self.look(),
        }
        self.redeem();
    }

    // --- messages -------------------------------------------------------------------------------------------------

    fn append_batch(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        if self.producers.is_empty() {
            return self.new_producer_id();
        }
        let at = self.rng.below(self.producers.len() as u64) as usize;
        let ProducerClient { id, epoch } = self.producers[at];
        let mut numbers = Numbers { producer_id: id, epoch, first: 0 };
        let mut count = 1 + self.rng.below(12) as u32;
        let known = self.oracle.live.queues.get(&queue).and_then(|known| known.producer(id));
        if let Some(known) = known {
            let next = known.batches.last().map_or(0, |(_, last, _)| last + 1);
            numbers.first = if known.epoch == epoch { next } else { 0 };
            match self.rng.below(12) {
                0..=6 => {}
                7..=9 => {
                    let (first, last, _) = known.batches[self.rng.below(known.batches.len() as u64) as usize];
                    (numbers.first, count) = (first, (last - first + 1) as u32);
                }
                10 => numbers.first += 1 + self.rng.below(5) as i32,
                _ if self.rng.one_in(2) => {
                    numbers.epoch += 1;
                    numbers.first = self.rng.below(2) as i32;
                    self.producers[at].epoch = numbers.epoch;
                }
                _ => numbers.epoch -= 1,
            }
        }
        self.append(queue, numbers, count);
    }

    /// Producers that had no answer when the broker ended send again what may be there or not.
    pub fn retry_unanswered(&mut self) {
        for (name, queue, numbers, count) in std::mem::take(&mut self.unanswered) {
            let lives = self.oracle.live.topics.get(&queue.topic).is_some_and(|topic| topic.name == name);
            let is_given = self.oracle.given.contains(&numbers.producer_id);
            if !lives || !is_given || queue.queue_id >= self.oracle.live.topics[&queue.topic].queues {
                continue;
            }
            let known = self.oracle.live.queues.get(&queue);
            match known.map_or(Verdict::New, |known| known.judge(&numbers, count)) {
                Verdict::New => self.coverage.count("retried-after-loss"),
                Verdict::Duplicate(_) => self.coverage.count("retried-and-there"),
                Verdict::OutOfOrder | Verdict::Stale => {}
            }
            self.append(queue, numbers, count);
        }
    }

    /// Appends a batch, and wants of it what its numbers say.
    pub fn append(&mut self, queue: QueueKey, numbers: Numbers, count: u32) {
        self.make_room();
        let verdict =
            self.oracle.live.queues.get(&queue).map_or(Verdict::New, |known| known.judge(&numbers, count));
        let value = self.new_value();
        let bytes = batch::encode(&numbers, count, value, self.rng.below(400) as usize);
        let broker = self.broker();
        let topic = broker.topic_numbered(queue.topic).expect("the oracle knows it");
        let after = self.appended();
        let result = broker.append_batch(&BatchRequest {
            topic: &topic,
            queue_id: queue.queue_id,
            kind: batch::KIND,
            batch: &bytes,
            properties: b"",
            count,
            born_timestamp: 5,
            born_host: HOST.into(),
            store_host: HOST.into(),
            wait: true,
        });
        let name = match (&result, verdict) {
            (Ok(_), Verdict::New) => "batch",
            (Ok(_), Verdict::Duplicate(_)) => "duplicate",
            (Err(Error::OutOfOrderSequence(_)), Verdict::OutOfOrder) => "out-of-order",
            (Err(Error::StaleProducerEpoch(_)), Verdict::Stale) => "stale-epoch",
            (result, verdict) => panic!("{numbers:?} in {queue:?} is {verdict:?}, and {result:?} came of it"),
        };
        self.coverage.count(name);
        self.note(format!("{name}: {numbers:?} x {count} in {queue:?}"));
        match verdict {
            Verdict::New => {
                let promise = result.expect("matched above");
                self.sent(queue, after, promise, count, value, Some(numbers));
            }
            Verdict::Duplicate(offset) => {
                self.duplicate(queue, after, result.expect("matched above"), offset)
            }
            Verdict::OutOfOrder | Verdict::Stale => {
                assert_eq!(self.appended(), after, "a refused batch was appended");
            }
        }
    }

    /// A retry is told where its original is, when that is safe.
    fn duplicate(&mut self, queue: QueueKey, after: u64, promise: Promise<Sent>, offset: u64) {
        assert_eq!(self.appended(), after, "TWICE: a duplicate was appended");
        let mut told = None;
        let promise = promise.map(|sent| {
            assert!(sent.duplicate, "a duplicate says that it is one");
            told = Some(sent.records[0].offset);
        });
        assert_eq!(told, Some(offset), "TWICE: a retry in {queue:?} is told another place");
        let is_it = |change: &Change| matches!(change, Change::Record(q, record) if *q == queue && record.offset == offset);
        let event = self.oracle.events.iter().position(|event| is_it(&event.change));
        if event.is_none() {
            self.coverage.count("duplicate-after-start");
        }
        if let Some(event) = event {
            let end = self.oracle.events[event].end;
            assert!(promise.end().0 >= end, "EARLY: a retry is answered before its original is safe");
        }
        let waiting = Waiting { promise: nothing(promise), events: event.into_iter().collect() };
        self.waiting.push(waiting);
    }

    fn sent(
        &mut self,
        queue: QueueKey,
        after: u64,
        promise: Promise<Sent>,
        count: u32,
        value: u64,
        numbers: Option<Numbers>,
    ) {
        let mut placed: Vec<Placed> = Vec::new();
        let promise = promise.map(|sent| {
            assert!(!sent.duplicate, "TWICE: a new batch in {queue:?} is taken for a retry");
            placed = sent.records;
        });
        let offset = placed[0].offset;
        let next = self.oracle.live.queues.get(&queue).map_or(0, Queue::end);
        assert_eq!(offset, next, "the next offset of {queue:?}");
        let record = Record { offset, count, value, numbers, time_ms: placed[0].store_timestamp };
        self.promised(after, nothing(promise), vec![Change::Record(queue, record)]);
    }

    fn send(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let value = self.new_value();
        let body = format!("{value};{}", "m".repeat(self.rng.below(600) as usize));
        let message = Message {
            body: body.as_bytes(),
            properties: b"",
            flag: 0,
            sys_flag: 0,
            born_timestamp: 5,
            born_host: HOST.into(),
            reconsume_times: 0,
        };
        let broker = self.broker();
        let topic = broker.topic_numbered(queue.topic).expect("the oracle knows it");
        let after = self.appended();
        let promise = broker
            .send(&SendRequest {
                topic: &topic,
                queue_id: queue.queue_id,
                messages: &[message],
                store_host: HOST.into(),
                wait: true,
            })
            .expect("a healthy broker takes messages");
        self.coverage.count("send");
        self.note(format!("sent {value} to {queue:?}"));
        self.sent(queue, after, promise, 1, value, None);
    }

    fn new_value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    pub fn new_producer_id(&mut self) {
        if self.producers.len() >= PRODUCERS_MAX {
            self.producers.remove(0);
        }
        let after = self.appended();
        let promise = self.broker().new_producer_id().expect("a healthy broker gives ids");
        let mut id = None;
        let promise = promise.map(|given| {
            id = Some(given);
            Told::ProducerId(given)
        });
        let id = id.expect("map looks at the value");
        self.note(format!("producer id {id}"));
        if self.appended() > after {
            self.coverage.count("id-block");
        }
        // One out of a block that was reserved earlier waits for that block.
        let end = promise.end().0;
        let event = self.oracle.append(end, end, Change::ProducerId(id));
        self.waiting.push(Waiting { promise, events: vec![event] });
    }

    // --- cursors --------------------------------------------------------------------------------------------------

    /// A place in a queue: mostly inside it, seldom behind its end.
    fn some_offset(&mut self, queue: QueueKey) -> u64 {
        let end = self.oracle.live.queues.get(&queue).map_or(0, Queue::end);
        if self.rng.one_in(20) {
            self.coverage.count("commit-above-end");
            return end + 1 + self.rng.below(3);
        }
        self.rng.below(end + 1)
    }

    /// A commit of a client of classic groups: as a member, or in a group without members.
    fn commit_noted(&mut self) {
        let mut commits: BTreeMap<QueueKey, Cursor> = BTreeMap::new();
        for _ in 0..1 + self.rng.below(3) {
            let Some(queue) = self.some_queue() else { return };
            let offset = self.some_offset(queue);
            let len = if self.rng.one_in(8) { 2_000 } else { self.rng.below(30) } as usize;
            let cursor = Cursor {
                offset,
                leader_epoch: (!self.rng.one_in(3)).then(|| self.rng.below(5) as i32),
                metadata: "é".repeat(len / 2),
                reset: false,
                noted_ms: Some(self.clock.wall_ms()),
            };
            commits.insert(queue, cursor);
        }
        let at = self.rng.below(self.clients.len() as u64) as usize;
        let client = &self.clients[at];
        let (group, member_id, known) = (client.group, client.member_id.clone(), client.generation);
        let as_member = !member_id.is_empty() && !self.rng.one_in(4);
        let generation = match self.rng.below(8) {
            _ if !as_member => -1,
            0 => known - 1,
            _ => known,
        };
        let who = Committer {
            group,
            member_id: if as_member { &member_id } else { "" },
            instance_id: client.instance_id.filter(|_| as_member),
            generation,
        };
        let noted: Vec<NotedCommit<'_>> = commits
            .iter()
            .map(|(&queue, cursor)| NotedCommit {
                queue,
                offset: cursor.offset,
                leader_epoch: cursor.leader_epoch,
                metadata: &cursor.metadata,
            })
            .collect();
        let broker = self.broker();
        let seen = look_at_group(&broker, group);
        let is_free = matches!(seen, Seen::Absent | Seen::Empty);
        let after = self.appended();
        match broker.commit_as(&who, &noted) {
            Ok(promise) => {
                let is_current = as_member && generation == self.generations[group];
                assert!(is_current || is_free, "{group} took a commit of generation {generation}");
                let name = if as_member { "commit-member" } else { "commit-stranger" };
                self.coverage.count(name);
                self.note(format!("{name} in {group}: {:?}", commits.keys()));
                let promise = nothing(promise.expect("there was something to commit"));
                let cursors = |(queue, cursor)| ((group.to_owned(), queue), Some(cursor));
                self.set_cursors(after, promise, commits.into_iter().map(cursors).collect());
            }
            Err(Error::Group(error)) => {
                self.coverage.count("commit-refused");
                self.note(format!("commit in {group} is refused: {error}"));
                assert!(as_member || !is_free, "{group} refuses {error} though nobody is in it");
                assert_eq!(self.appended(), after, "a refused commit was appended");
                let expected = [
                    GroupError::UnknownMember,
                    GroupError::IllegalGeneration,
                    GroupError::RebalanceInProgress,
                    GroupError::FencedInstance,
                    GroupError::NoGroup,
                ];
                assert!(expected.contains(&error), "{group} refuses a commit: {error}");
            }
            Err(other) => panic!("not committed: {other}"),
        }
        self.after_call(after);
    }

    /// Cursors were appended.
    fn set_cursors(&mut self, after: u64, promise: Promise<Told>, cursors: Vec<(CursorKey, Option<Cursor>)>) {
        for (key, _) in &cursors {
            self.marked.remove(key);
        }
        self.promised(after, promise, vec![Change::Cursors(cursors)]);
    }

    /// A commit of a reader that heartbeats announce.
    fn commit(&mut self, durable: bool) {
        let Some(queue) = self.some_queue() else { return };
        let key = (self.some_group().to_owned(), queue);
        let offset = self.some_offset(queue);
        let known = self.marked.get(&key).or_else(|| self.oracle.live.cursor(&key));
        let waits_for_reset = known.is_some_and(|cursor| cursor.reset);
        let cursor =
            Cursor { offset, leader_epoch: None, metadata: String::new(), reset: false, noted_ms: None };
        let is_same = known == Some(&cursor);
        let after = self.appended();
        let promise = self.broker().commit(&key.0, queue, offset, durable).expect("the queue is there");
        self.note(format!("commit {offset}, durable {durable}: {key:?}"));
        if waits_for_reset {
            self.coverage.count("commit-ignored");
            assert!(promise.is_none() && self.appended() == after, "a commit went over a reset");
        } else if durable {
            self.coverage.count("commit-durable");
            let promise = nothing(promise.expect("a durable commit is promised"));
            self.set_cursors(after, promise, vec![(key, Some(cursor))]);
        } else {
            self.coverage.count("commit-marked");
            assert!(promise.is_none() && self.appended() == after, "a commit that is only marked");
            if !is_same {
                self.marked.insert(key, cursor);
            }
        }
    }

    fn reset_cursor(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let key = (self.some_group().to_owned(), queue);
        let offset = self.some_offset(queue);
        let after = self.appended();
        let promise = self.broker().reset_cursor(&key.0, queue, offset).expect("the queue is there");
        self.coverage.count("reset");
        self.note(format!("reset to {offset}: {key:?}"));
        let cursor =
            Cursor { offset, leader_epoch: None, metadata: String::new(), reset: true, noted_ms: None };
        self.set_cursors(after, nothing(promise), vec![(key, Some(cursor))]);
    }

    fn take_reset(&mut self) {
        let waiting = self.oracle.live.cursors.iter().filter_map(|(key, possible)| {
            let cursor = self.marked.get(key).or_else(|| possible.last().and_then(Option::as_ref))?;
            cursor.reset.then(|| (key.clone(), cursor.clone()))
        });
        let waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return;
        }
        let (key, cursor) = waiting[self.rng.below(waiting.len() as u64) as usize].clone();
        let told = self.broker().take_reset(&key.0, key.1);
        assert_eq!(told, Some(cursor.offset), "the reset of {key:?}");
        self.coverage.count("reset-taken");
        self.note(format!("reset taken: {key:?}"));
        self.marked.insert(key, Cursor { reset: false, ..cursor });
    }

    /// Marked cursors are written, as the broker's turn does.
    pub fn flush_cursors(&mut self) {
        let after = self.appended();
        let flushed = self.broker().flush_cursors().expect("a healthy broker writes cursors");
        self.note(format!("{flushed} cursors are written"));
        assert_eq!(flushed, self.marked.len(), "cursors that changed");
        if flushed > 0 {
            self.coverage.count("cursors-flushed");
            let marked = std::mem::take(&mut self.marked);
            let cursors = marked.into_iter().map(|(key, cursor)| (key, Some(cursor))).collect();
            let end = self.appended();
            assert!(end > after, "changed cursors were not appended");
            self.oracle.append(after, end, Change::Cursors(cursors));
        }
    }

    // --- topics, groups -------------------------------------------------------------------------------------------

    pub fn create_topic(&mut self) {
        let name = format!("{TOPIC_PREFIX}{}", self.rng.below(6));
        let exists = self.oracle.live.topics.values().any(|topic| topic.name == name);
        if self.oracle.live.topics.len() >= TOPICS_MAX && !exists {
            return;
        }
        let (queues, limited) = (1 + self.rng.below(3) as u32, self.rng.one_in(3));
        let mut config = TopicConfig::new(&name, queues);
        if limited {
            config.attributes.insert(limits::RETENTION_BYTES.to_owned(), LIMIT_BYTES.to_owned());
        }
        let after = self.appended();
        match self.broker().create_topic(config) {
            Ok(promise) => {
                assert!(!exists, "{name} was made twice");
                let mut number = None;
                let promise = promise.map(|topic| number = Some(topic.number));
                let number = number.expect("map looks at the value");
                self.coverage.count("topic-made");
                self.note(format!("{name} is made as {number:?}"));
                let change = Change::Create(number, Topic { name, queues, limited });
                self.promised(after, nothing(promise), vec![change]);
            }
            Err(Error::TopicExists(_)) => assert!(exists, "{name} does not exist"),
            Err(error) => panic!("not made: {error}"),
        }
    }

    fn delete_topic(&mut self) {
        let Some((number, topic)) = self.some_topic() else { return };
        if self.oracle.live.topics.len() < 2 {
            return;
        }
        let after = self.appended();
        let promise = self.broker().delete_topic(&topic.name).expect("it is there");
        self.coverage.count("topic-deleted");
        self.note(format!("{} is deleted", topic.name));
        self.marked.retain(|(_, queue), _| queue.topic != number);
        // Cursors on it are removed behind it, which nobody waits for.
        let event = self.oracle.append(after, promise.end().0, Change::Delete(number));
        self.waiting.push(Waiting { promise: nothing(promise), events: vec![event] });
    }

    fn delete_records(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let broker = self.broker();
        let visible = broker.store().offsets(queue).unwrap_or_default();
        let offset = visible.min + self.rng.below(visible.max - visible.min + 2);
        let start = self.oracle.live.queues.get(&queue).map_or(0, |known| known.start).max(visible.min);
        let topic = broker.topic_numbered(queue.topic).expect("the oracle knows it");
        let after = self.appended();
        match broker.delete_records(&topic, queue.queue_id, offset) {
            Ok(promise) => {
                assert!(offset <= visible.max, "records that nobody sees were deleted");
                let mut told = 0;
                let promise = promise.map(|start| told = start);
                // A limit may have moved it already, which nobody sees yet.
                let limited = self.oracle.live.topics[&queue.topic].limited;
                let wanted = start.max(offset);
                assert!(
                    told == wanted || limited && told > wanted,
                    "{queue:?} starts at {told}, not {wanted}"
                );
                self.note(format!("{queue:?} is cut at {offset} and starts at {told}"));
                let is_new = self.appended() > after;
                assert!(is_new || limited || offset <= start, "a cut was not appended");
                let mut changes = Vec::new();
                if is_new {
                    assert!(offset > start && told == offset, "{queue:?} was cut where it began");
                    self.coverage.count("records-deleted");
                    changes.push(Change::Start(queue, offset));
                }
                self.promised(after, nothing(promise), changes);
            }
            Err(Error::OffsetOutOfRange { .. }) => {
                assert!(offset > visible.max, "{offset} is in {visible:?}")
            }
            Err(error) => panic!("not deleted: {error}"),
        }
    }

    fn delete_group(&mut self) {
        let group = CLASSIC_GROUPS[self.rng.below(CLASSIC_GROUPS.len() as u64) as usize];
        let broker = self.broker();
        let after = self.appended();
        match broker.delete_classic_group(group) {
            Ok(promise) => {
                self.coverage.count("group-deleted");
                self.note(format!("{group} is deleted"));
                let keys: Vec<CursorKey> = self.cursors_of(group);
                self.marked.retain(|(name, _), _| name != group);
                let mut changes = Vec::new();
                if !keys.is_empty() {
                    changes.push(Change::Cursors(keys.into_iter().map(|key| (key, None)).collect()));
                }
                if self.oracle.live.generation(group).is_some() {
                    changes.push(Change::Group(group.to_owned(), None));
                    self.generations.insert(group.to_owned(), 0);
                }
                self.shared.remove(group);
                self.moving.remove(group);
                if changes.is_empty() {
                    return;
                }
                self.promised(after, nothing(promise), changes);
            }
            Err(Error::Group(error)) => {
                self.note(format!("{group} is not deleted: {error}"));
                assert!(matches!(error, GroupError::NoGroup | GroupError::NotEmpty), "{error}");
            }
            Err(error) => panic!("not deleted: {error}"),
        }
        self.after_call(after);
    }

    /// Queues in which a group has a cursor now.
    fn cursors_of(&self, group: &str) -> Vec<CursorKey> {
        let queues = self.oracle.live.all_queues().into_iter();
        let keys = queues.map(|queue| (group.to_owned(), queue));
        keys.filter(|key| self.marked.contains_key(key) || self.oracle.live.cursor(key).is_some()).collect()
    }

    // --- turns and time -------------------------------------------------------------------------------------------

    /// The broker's turn: timers of groups, cursors and groups that nobody uses, limits of topics.
    pub fn turn(&mut self) {
        self.make_room();
        self.flush_cursors();
        let broker = self.broker();
        let after = self.appended();
        broker.turn();
        let end = self.appended();
        self.note(format!("the broker's turn appended {}", end - after));
        let mut gone = Vec::new();
        for group in CLASSIC_GROUPS {
            for key in self.cursors_of(group) {
                if broker.cursor(group, key.1).is_some() {
                    continue;
                }
                let noted_ms = self.oracle.live.cursor(&key).and_then(|cursor| cursor.noted_ms);
                let age_ms = noted_ms.map(|noted_ms| self.clock.wall_ms() - noted_ms);
                assert!(age_ms > Some(CURSOR_LIFE_MS), "LOST: {key:?} was forgotten at an age of {age_ms:?}");
                gone.push((key, None));
            }
        }
        if !gone.is_empty() {
            self.coverage.count("cursors-expired");
            assert!(end > after, "cursors are forgotten in memory alone");
            self.oracle.append(after, end, Change::Cursors(gone));
        }
        self.after_call(after);
    }

    fn write_turn(&mut self) {
        let outcome = self.broker().store().write_turn();
        self.note(format!("write turn: {outcome:?}"));
    }

    fn flush_turn(&mut self) {
        let outcome = self.broker().store().flush_turn();
        self.note(format!("flush turn: {outcome:?}"));
    }

    fn housekeeping(&mut self) {
        let store = self.broker().store().clone();
        let (_, end) = store.log_range();
        let next_ms = store.housekeeping();
        if std::mem::replace(&mut self.first, store.log_range().0.0) < store.log_range().0.0 {
            self.coverage.count("files-deleted");
        }
        self.note(format!("housekeeping up to {end:?}, next in {next_ms} ms"));
    }

    fn move_clock(&mut self) {
        let ms = match self.rng.below(12) {
            0..=5 => self.rng.below(2_000),
            6..=8 => 4_000,
            9..=10 => 35_000,
            _ => 1_500_000 + self.rng.below(1_500_000),
        };
        self.clock.advance(ms);
        self.oracle.newest_ms = self.oracle.newest_ms.max(self.clock.wall_ms());
        self.note(format!("{ms} ms go by"));
        self.coverage.count("clock");
        if self.rng.one_in(2) {
            self.turn();
            self.see_starts();
        }
    }

    /// Hours go by in which nobody comes: log files and cursors grow too old.
    pub fn grow_old(&mut self) {
        self.clock.advance(3 * KEEP_MS as u64);
        self.oracle.newest_ms = self.oracle.newest_ms.max(self.clock.wall_ms());
        self.note("hours go by");
        for _ in 0..6 {
            self.turn();
            self.settle();
            self.see_starts();
            self.housekeeping();
            self.clock.advance(60_000);
        }
    }

    /// Starts that readers see never go back.
    pub fn see_starts(&mut self) {
        let broker = self.broker();
        let seen_at = broker.store().watermarks().dispatched().0;
        for queue in self.oracle.live.all_queues() {
            let min = broker.store().offsets(queue).unwrap_or_default().min;
            let known = self.oracle.live.queues.get(&queue).map_or(0, |known| known.start);
            if min > known && self.oracle.live.topics[&queue.topic].limited {
                self.coverage.count("start-by-limit");
                self.note(format!("{queue:?} starts at {min}"));
                self.oracle.append(seen_at, seen_at, Change::Start(queue, min));
            }
        }
    }
}
