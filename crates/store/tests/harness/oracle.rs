//! What must be there: every append in order, the model that follows from them, and the comparison with a store.
//!
//! The log is a sequence, so whatever a crash does, what is left is a prefix of the appends. The oracle finds the
//! prefix by the log's end, checks that it holds all that was claimed to be safe, and that queues, topics and state are
//! exactly what that prefix makes.

use std::collections::{BTreeMap, VecDeque};

use braid_io::Rng;
use braid_store::{
    Boundary, Level, Placed, Position, ProducerFacts, QueueKey, Read, ReadRequest, ReadResult, ReadStatus,
    StateChange, StateKind, Store, StoreError, TopicInfo, TopicNumber,
};
use bytes::Bytes;

/// Names of the store's own topics.
const INTERNAL_PREFIX: &str = "BRAID_SYS_";
/// Batches that the store remembers of each producer.
const REMEMBERED: usize = 5;

/// A record as it must lie in the log.
#[derive(Debug, Clone)]
pub struct Record {
    pub position: u64,
    /// Queue, first offset and count of each target.
    pub targets: Vec<(QueueKey, u64, u32)>,
    pub bytes: Bytes,
    pub key: Option<String>,
    pub word: i64,
    pub time: i64,
    /// The newest time inside it.
    pub newest: i64,
    pub producer: Option<ProducerFacts>,
}

impl Record {
    /// Where the store said that it put the record.
    pub fn placed(&self) -> Placed {
        Placed {
            position: Position(self.position),
            size: self.bytes.len() as u32,
            offset: self.targets[0].1,
            more_offsets: Vec::new(),
            store_timestamp: self.time,
        }
    }
}

/// What one append changed.
#[derive(Debug, Clone)]
pub enum Change {
    Group {
        records: Vec<Record>,
        state: Vec<StateChange>,
    },
    Create(TopicInfo),
    Configure(TopicNumber, Vec<u8>),
    Delete(TopicNumber),
    /// The queue begins at this offset.
    Cut(QueueKey, u64),
}

/// One append.
#[derive(Debug, Clone)]
pub struct Event {
    pub end: u64,
    pub change: Change,
    /// The highest level at which the store claimed it to be safe.
    pub claimed: Option<Level>,
}

/// One index entry that must be there.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub first: u64,
    pub count: u32,
    pub event: usize,
    pub record: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub next: u64,
    pub entries: Vec<Entry>,
    /// Where the queue was cut: event and start.
    pub cuts: Vec<(usize, u64)>,
}

impl Queue {
    /// Where the queue was made to begin by the first `visible` events.
    pub fn start(&self, visible: usize) -> u64 {
        self.cuts.iter().rfind(|(event, _)| *event < visible).map_or(0, |(_, start)| *start)
    }
}

/// A producer in a queue: the numbers of its newest batches, and event and record of each.
#[derive(Debug, Clone, Default)]
pub struct Producer {
    pub epoch: i16,
    pub batches: VecDeque<(i32, i32, usize, usize)>,
}

/// What the store has to say to a batch, or to a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    New,
    /// Event and record of each original.
    Duplicate(Vec<(usize, usize)>),
    OutOfOrder,
    Stale,
}

impl Producer {
    pub fn next(&self) -> i32 {
        let (_, last, ..) = self.batches.back().expect("no producer without a batch");
        (i64::from(*last) + 1).rem_euclid(1 << 31) as i32
    }

    fn judge(&self, facts: &ProducerFacts) -> Verdict {
        let numbers = (facts.first_sequence, facts.last_sequence);
        if facts.epoch < self.epoch {
            Verdict::Stale
        } else if facts.epoch > self.epoch {
            if facts.first_sequence == 0 { Verdict::New } else { Verdict::OutOfOrder }
        } else if let Some(known) = self.batches.iter().find(|(first, last, ..)| (*first, *last) == numbers) {
            Verdict::Duplicate(vec![(known.2, known.3)])
        } else if facts.first_sequence == self.next() {
            Verdict::New
        } else {
            Verdict::OutOfOrder
        }
    }

    fn take(&mut self, facts: &ProducerFacts, event: usize, record: usize) {
        if facts.epoch > self.epoch {
            self.batches.clear();
        }
        self.epoch = facts.epoch;
        self.batches.push_back((facts.first_sequence, facts.last_sequence, event, record));
        if self.batches.len() > REMEMBERED {
            self.batches.pop_front();
        }
    }
}

/// What a prefix of the appends makes.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub topics: BTreeMap<TopicNumber, TopicInfo>,
    pub queues: BTreeMap<QueueKey, Queue>,
    pub state: BTreeMap<(StateKind, Vec<u8>), Vec<u8>>,
    pub producers: BTreeMap<(QueueKey, i64), Producer>,
}

impl Model {
    /// What the store has to say to the records of one group that have a producer's numbers.
    pub fn judge(&self, numbered: &[(QueueKey, ProducerFacts)]) -> Verdict {
        let mut new: Vec<((QueueKey, i64), Producer)> = Vec::new();
        let mut originals = Vec::new();
        for (queue, facts) in numbered {
            let key = (*queue, facts.producer_id);
            let before = new.iter().rev().find(|(known, _)| *known == key).map(|(_, producer)| producer);
            let verdict = match before.or(self.producers.get(&key)) {
                Some(producer) => producer.judge(facts),
                None => Verdict::New,
            };
            match verdict {
                Verdict::New => {
                    let mut producer = Producer::default();
                    producer.take(facts, 0, 0);
                    new.push((key, producer));
                }
                Verdict::Duplicate(_) if before.is_some() => return Verdict::OutOfOrder,
                Verdict::Duplicate(original) => originals.extend(original),
                refused => return refused,
            }
        }
        match (new.is_empty(), originals.is_empty()) {
            (_, true) => Verdict::New,
            (true, false) => Verdict::Duplicate(originals),
            (false, false) => Verdict::OutOfOrder,
        }
    }

    fn apply(&mut self, number: usize, change: &Change) {
        match change {
            Change::Group { records, state } => {
                for change in state {
                    let key = (change.kind, change.key.clone());
                    match &change.value {
                        Some(value) => self.state.insert(key, value.clone()),
                        None => self.state.remove(&key),
                    };
                }
                for (at, record) in records.iter().enumerate() {
                    if let Some(facts) = &record.producer {
                        let queue = record.targets[0].0;
                        let verdict = self.judge(&[(queue, *facts)]);
                        assert_eq!(verdict, Verdict::New, "TWICE: {facts:?} was appended to {queue:?}");
                        self.producers.entry((queue, facts.producer_id)).or_default().take(facts, number, at);
                    }
                    for &(queue, first, count) in &record.targets {
                        let model = self.queues.entry(queue).or_default();
                        assert_eq!(first, model.next, "{queue:?}: the offset given is not the queue's next");
                        model.next += u64::from(count);
                        model.entries.push(Entry { first, count, event: number, record: at });
                    }
                }
            }
            Change::Create(info) => {
                let twin = self.topics.values().find(|t| t.name == info.name || t.id == info.id);
                assert!(twin.is_none(), "{info:?} was made beside {twin:?}");
                assert!(self.topics.insert(info.number, info.clone()).is_none(), "{info:?}: number in use");
                let left = self.queues.keys().find(|queue| queue.topic == info.number);
                assert!(left.is_none(), "the number of {info:?} was used before");
            }
            Change::Configure(number, config) => {
                self.topics.get_mut(number).expect("only topics that exist are configured").config =
                    config.clone();
            }
            Change::Cut(queue, start) => {
                let model = self.queues.get_mut(queue).expect("only queues with records are cut");
                assert!(model.start(usize::MAX) < *start && *start <= model.next, "{queue:?} cut at {start}");
                model.cuts.push((number, *start));
            }
            Change::Delete(number) => {
                self.topics.remove(number).expect("only topics that exist are deleted");
                self.queues.retain(|queue, _| queue.topic != *number);
                self.producers.retain(|(queue, _), _| queue.topic != *number);
            }
        }
    }
}

/// All that was appended and not cut by a crash.
#[derive(Debug, Default)]
pub struct Oracle {
    pub events: Vec<Event>,
    /// The model of all events.
    pub model: Model,
    /// Events that readers see whatever the watermark says: those that the last recovery found.
    recovered: usize,
    /// Events that were visible when it was asked last.
    told: usize,
    /// First position of the log when it was last looked at.
    pub start: u64,
    /// Store time of the last record.
    pub last_time: i64,
    /// Numbers of topics that are gone for good.
    pub dead: Vec<TopicNumber>,
}

impl Oracle {
    pub fn append(&mut self, end: Position, change: Change) {
        let before = self.events.last().map_or(0, |event| event.end);
        assert!(end.0 > before, "an append ends at {} and the one before it at {before}", end.0);
        if let Change::Group { records, .. } = &change {
            for record in records {
                assert!(record.time >= self.last_time, "store time went back from {}", self.last_time);
                self.last_time = record.time;
            }
        }
        if let Change::Delete(number) = &change {
            self.dead.push(*number);
        }
        self.model.apply(self.events.len(), &change);
        self.events.push(Event { end: end.0, change, claimed: None });
    }

    /// Takes the store's watermarks as claims about every append below them. Gives the numbers of the events that are
    /// newly claimed at `level`.
    pub fn claim(&mut self, level: Level, reached: Position) -> Vec<usize> {
        let mut new = Vec::new();
        for (number, event) in self.events.iter_mut().enumerate().rev() {
            if event.claimed >= Some(level) {
                break;
            }
            if event.end <= reached.0 {
                event.claimed = Some(level);
                new.push(number);
            }
        }
        new
    }

    pub fn records_of(&self, event: usize) -> &[Record] {
        match &self.events[event].change {
            Change::Group { records, .. } => records,
            _ => &[],
        }
    }

    /// The records that are in the log, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        (0..self.events.len()).flat_map(|event| self.records_of(event)).filter(|r| r.position >= self.start)
    }

    /// How many events readers see.
    fn visible(&self, store: &Store) -> usize {
        let dispatched = store.watermarks().dispatched().0;
        self.recovered.max(self.events.partition_point(|event| event.end <= dispatched))
    }

    /// Queue, next offset and index word of every entry that became visible since this was asked last.
    pub fn newly_visible(&mut self, store: &Store) -> Vec<(QueueKey, u64, i64)> {
        let visible = self.visible(store);
        let new = std::mem::replace(&mut self.told, visible)..visible;
        let records = new.flat_map(|event| self.records_of(event));
        let entries = records.flat_map(|record| {
            let told = |&(queue, first, count): &(QueueKey, u64, u32)| {
                (queue, first + u64::from(count), record.word)
            };
            record.targets.iter().map(told)
        });
        entries.collect()
    }

    /// Cuts the list to what a recovered store says it has, after checking that all that was claimed at `level` (or
    /// safer) is among it.
    pub fn recover(&mut self, store: &Store, level: Level) {
        let (start, end) = store.log_range();
        let left = self.events.partition_point(|event| event.end <= end.0);
        let lost = self.events[left..].iter().position(|event| event.claimed >= Some(level));
        if let Some(lost) = lost {
            let event = &self.events[left + lost];
            panic!(
                "LOST: the log ends at {}, but an append that ends at {} was acknowledged as {:?}: {}",
                end.0,
                event.end,
                event.claimed,
                brief(&event.change),
            );
        }
        self.events.truncate(left);
        self.recovered = left;
        self.told = left;
        self.start = start.0;
        let dead = std::mem::take(&mut self.dead);
        self.model = Model::default();
        self.last_time = 0;
        for (number, event) in self.events.iter().enumerate() {
            self.model.apply(number, &event.change);
            match &event.change {
                Change::Group { records, .. } => {
                    self.last_time = records.last().map_or(self.last_time, |record| record.time);
                }
                Change::Delete(number) if dead.contains(number) => self.dead.push(*number),
                _ => {}
            }
        }
    }

    /// Compares everything that can be asked without a key or a time.
    pub fn check_all(&self, store: &Store, rng: &mut Rng) {
        self.check_topics(store);
        self.check_state(store);
        self.check_producers(store);
        for queue in self.model.queues.keys() {
            self.check_queue(store, *queue, rng);
        }
        for number in self.model.topics.keys() {
            let expected: Vec<QueueKey> = self.seen_queues(store, *number);
            let mut found: Vec<QueueKey> =
                store.queues(*number).into_iter().map(|(queue, _)| queue).collect();
            found.sort();
            assert_eq!(found, expected, "the queues of {number:?}");
        }
        for number in &self.dead {
            self.check_dead(store, *number);
        }
    }

    fn seen_queues(&self, store: &Store, topic: TopicNumber) -> Vec<QueueKey> {
        let visible = self.visible(store);
        let of_topic = self.model.queues.iter().filter(|(queue, _)| queue.topic == topic);
        let seen =
            of_topic.filter(|(_, model)| model.entries.first().is_some_and(|entry| entry.event < visible));
        seen.map(|(queue, _)| *queue).collect()
    }

    fn check_topics(&self, store: &Store) {
        let mut found = store.topics();
        found.retain(|topic| !topic.name.starts_with(INTERNAL_PREFIX));
        found.sort_by_key(|topic| topic.number);
        let expected: Vec<TopicInfo> = self.model.topics.values().cloned().collect();
        assert_eq!(found, expected, "the topics");
        for topic in &expected {
            assert_eq!(store.topic(&topic.name).as_ref(), Some(topic));
        }
    }

    fn check_state(&self, store: &Store) {
        for kind in [StateKind(16), StateKind(17)] {
            let mut found = store.state(kind);
            found.sort();
            let of_kind = self.model.state.iter().filter(|((k, _), _)| *k == kind);
            let expected: Vec<(Vec<u8>, Vec<u8>)> =
                of_kind.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            assert_eq!(found, expected, "the state of {kind:?}");
        }
    }

    /// What is known of producers is exactly what the appends that are left say, however the store came to know it.
    fn check_producers(&self, store: &Store) {
        for queue in self.model.queues.keys() {
            let found = store.producers_of(*queue);
            let found: Vec<_> =
                found.iter().map(|p| (p.producer_id, p.epoch, p.last_sequence, p.last_timestamp)).collect();
            let known = self.model.producers.range((*queue, i64::MIN)..=(*queue, i64::MAX));
            let expected: Vec<_> = known
                .map(|((_, id), producer)| {
                    let (_, last, event, record) =
                        producer.batches.back().expect("no producer without a batch");
                    (*id, producer.epoch, *last, self.records_of(*event)[*record].time)
                })
                .collect();
            assert_eq!(found, expected, "FORGOT: the producers of {queue:?}");
        }
    }

    fn check_dead(&self, store: &Store, number: TopicNumber) {
        assert!(!self.model.topics.contains_key(&number));
        let queue = QueueKey { topic: number, queue_id: 0 };
        match read(store, &request(queue, 0)) {
            Err(StoreError::NoTopic) => {}
            Err(e) => panic!("a read of deleted {number:?} failed: {e}"),
            Ok(result) => assert!(result.records.is_empty(), "deleted {number:?} came back to life"),
        }
        assert_eq!(store.queues(number), [], "deleted {number:?} has queues");
    }

    /// The topics of which a record still has an entry, whatever the log's start is.
    pub fn topics_of<'a>(
        &'a self,
        store: &Store,
        record: &'a Record,
    ) -> impl Iterator<Item = TopicNumber> + use<'a> {
        let visible = self.visible(store);
        let is_left = move |&&(queue, first, count): &&(QueueKey, u64, u32)| {
            let model = self.model.queues.get(&queue);
            model.is_some_and(|model| first + u64::from(count) > model.start(visible))
        };
        record.targets.iter().filter(is_left).map(|(queue, ..)| queue.topic)
    }

    /// The entries of a queue that are visible and not yet given up by retention.
    pub fn entries(&self, store: &Store, queue: QueueKey) -> Vec<Entry> {
        let visible = self.visible(store);
        let Some(model) = self.model.queues.get(&queue) else { return Vec::new() };
        let start = model.start(visible);
        let there = |entry: &&Entry| {
            entry.event < visible
                && self.record(entry).position >= self.start
                && entry.first + u64::from(entry.count) > start
        };
        model.entries.iter().filter(there).copied().collect()
    }

    /// First and next offset that readers must be told; `None` for a queue without any record so far.
    pub fn offsets(&self, store: &Store, queue: QueueKey) -> Option<(u64, u64)> {
        let visible = self.visible(store);
        let seen = self.model.queues.get(&queue)?.entries.iter().rfind(|entry| entry.event < visible)?;
        let next = seen.first + u64::from(seen.count);
        let start = self.model.queues[&queue].start(visible);
        let first = self.entries(store, queue).first().map_or(next, |entry| entry.first.max(start));
        Some((first, next))
    }

    pub fn record(&self, entry: &Entry) -> &Record {
        &self.records_of(entry.event)[entry.record]
    }

    /// Reads a queue from its first offset to its end, in pieces of random size.
    pub fn check_queue(&self, store: &Store, queue: QueueKey, rng: &mut Rng) {
        let found = store.offsets(queue).map(|offsets| (offsets.min, offsets.max));
        let expected = self.offsets(store, queue);
        assert_eq!(found, expected, "{queue:?}: first and next offset");
        let Some((min, max)) = expected else { return };
        let entries = self.entries(store, queue);
        let mut left = &entries[..];
        let mut at = min;
        while at < max {
            let request = ReadRequest {
                records_max: 1 + rng.below(32) as usize,
                bytes_max: 1 + rng.below(32 * 1024) as usize,
                ..request(queue, at)
            };
            let result = read(store, &request).unwrap_or_else(|e| panic!("{queue:?} at {at}: {e}"));
            assert_eq!(result.status, ReadStatus::Found, "{queue:?} at {at} of {min}..{max}");
            assert!(result.records.len() <= request.records_max, "{queue:?}: more records than asked for");
            assert!(result.next_offset > at, "{queue:?} at {at}: a read that goes nowhere");
            let bytes: usize = result.records[1..].iter().map(Bytes::len).sum();
            assert!(bytes < request.bytes_max, "{queue:?}: more bytes than asked for");
            for found in &result.records {
                let (entry, rest) = left.split_first().expect("a record that was never appended");
                self.same(found, entry, queue);
                at = entry.first + u64::from(entry.count);
                left = rest;
            }
            assert_eq!(result.next_offset, at, "{queue:?}: where to go on");
            assert_eq!((result.min_offset, result.max_offset), (min, max), "{queue:?}: bounds in the answer");
        }
        assert!(left.is_empty(), "{queue:?}: {} records are missing at its end", left.len());
        let end = read(store, &request(queue, max)).unwrap_or_else(|e| panic!("{queue:?} at its end: {e}"));
        assert!(end.records.is_empty() && end.status == ReadStatus::AtEnd, "{queue:?} at its end: {end:?}");
        let beyond = read(store, &request(queue, max + 1)).expect("an offset beyond the end is no error");
        assert_eq!(beyond.status, ReadStatus::BeyondEnd, "{queue:?}");
        if min > 0 {
            let below = read(store, &request(queue, min - 1)).expect("an offset below the start is no error");
            assert_eq!(below.status, ReadStatus::BelowStart, "{queue:?}");
        }
    }

    fn same(&self, found: &Bytes, entry: &Entry, queue: QueueKey) {
        let expected = &self.record(entry).bytes;
        if found == expected {
            return;
        }
        let differs = found.iter().zip(expected.iter()).position(|(a, b)| a != b);
        panic!(
            "WRONG BYTES: {queue:?} at {}: {} bytes for {}, the first difference at {differs:?}",
            entry.first,
            found.len(),
            expected.len(),
        );
    }

    /// One random read, with a filter now and then.
    pub fn check_read(&self, store: &Store, queue: QueueKey, rng: &mut Rng) {
        let entries = self.entries(store, queue);
        let Some(at) = pick(&entries, rng) else {
            return self.check_queue(store, queue, rng);
        };
        let entry = entries[at];
        let (min, _) = self.offsets(store, queue).expect("a queue with entries has offsets");
        let inside = (entry.first + rng.below(u64::from(entry.count))).max(min);
        let one = ReadRequest { records_max: 1, ..request(queue, inside) };
        let result = read(store, &one).unwrap_or_else(|e| panic!("{queue:?} at {inside}: {e}"));
        assert_eq!(result.records.len(), 1, "{queue:?} at {inside}: {:?}", result.status);
        self.same(&result.records[0], &entry, queue);

        let wanted = self.record(&entry).word;
        let filter = |word| word == wanted;
        let entries_max = 1 + rng.below(64) as usize;
        let filtered = ReadRequest { entries_max, filter: Some(&filter), ..request(queue, inside) };
        let result = read(store, &filtered).unwrap_or_else(|e| panic!("{queue:?} at {inside}: {e}"));
        let looked_at = entries[at..].iter().take(entries_max);
        let matching: Vec<&Entry> =
            looked_at.filter(|entry| self.record(entry).word == wanted).take(filtered.records_max).collect();
        assert!(result.records.len() <= matching.len(), "{queue:?}: the filter let others pass");
        assert!(!result.records.is_empty(), "{queue:?}: the filter missed the first record");
        for (found, entry) in result.records.iter().zip(matching) {
            self.same(found, entry, queue);
        }
    }

    /// One look-up by time, at, before or behind some record's time.
    pub fn check_time(&self, store: &Store, queue: QueueKey, rng: &mut Rng) {
        let entries = self.entries(store, queue);
        let Some(at) = pick(&entries, rng) else { return };
        let time = self.record(&entries[at]).time + rng.below(3) as i64 - 1;
        let (min, max) = self.offsets(store, queue).expect("a queue with entries has offsets");

        let after =
            entries.iter().find(|entry| self.record(entry).time >= time).map_or(max, |e| e.first.max(min));
        let found = store.offset_at(queue, time, Boundary::FirstAtOrAfter);
        assert_eq!(found.expect("no read fails now"), after, "WRONG: {queue:?}: first at or after {time}");

        let before = entries.iter().rfind(|entry| self.record(entry).time <= time);
        let found = store.offset_at(queue, time, Boundary::LastAtOrBefore).expect("no read fails now");
        match before {
            None => assert_eq!(found, min, "WRONG: {queue:?}: none at or before {time}"),
            Some(entry) => {
                let span = entry.first..entry.first + u64::from(entry.count);
                assert!(
                    span.contains(&found),
                    "{queue:?}: last at or before {time} is {found}, not in {span:?}"
                );
            }
        }
        let stored = store.store_time(queue, entries[at].first.max(min)).expect("no read fails now");
        assert_eq!(stored, Some(self.record(&entries[at]).time), "WRONG: {queue:?}: store time");
    }

    /// Look-ups by the newest time inside records, and by size.
    pub fn check_newest(&self, store: &Store, queue: QueueKey, rng: &mut Rng) {
        let entries = self.entries(store, queue);
        let newest_of = |entry: &Entry| self.record(entry).newest;
        let max = entries.iter().map(newest_of).max();
        let newest = entries.iter().find(|entry| Some(newest_of(entry)) == max);
        let found = store.newest(queue).expect("no read fails now");
        let told = |found: &braid_store::Timed| (found.first_offset, found.count, found.newest_ms);
        let expected = |entry: &Entry| (entry.first, entry.count, newest_of(entry));
        assert_eq!(found.as_ref().map(told), newest.map(expected), "{queue:?}: the newest");
        let Some(at) = pick(&entries, rng) else { return };
        let time = newest_of(&entries[at]) + rng.below(3) as i64 - 1;
        let first = entries.iter().find(|entry| newest_of(entry) >= time);
        let found = store.first_newer(queue, time).expect("no read fails now");
        assert_eq!(found.as_ref().map(told), first.map(expected), "{queue:?}: first newer than {time}");
        if let Some((found, entry)) = found.zip(first) {
            self.same(&found.record, entry, queue);
        }

        let size = |entry: &Entry| self.record(entry).bytes.len() as u64;
        let bytes: u64 = entries.iter().map(size).sum();
        assert_eq!(store.queue_bytes(queue).expect("no read fails now"), bytes, "{queue:?}: bytes");
        let bytes_max = rng.below(bytes + 1);
        let (mut start, _) = self.offsets(store, queue).expect("a queue with entries has offsets");
        let mut left = bytes;
        for entry in &entries {
            if left <= bytes_max {
                break;
            }
            left -= size(entry);
            start = entry.first + u64::from(entry.count);
        }
        let found = store.offset_of_size(queue, bytes_max).expect("no read fails now");
        assert_eq!(found, start, "{queue:?}: {bytes_max} of {bytes} bytes");
    }

    /// One look-up by key, newest first.
    pub fn check_key(&self, store: &Store, topic: TopicNumber, key: &str, rng: &mut Rng) {
        let visible = self.visible(store);
        let named = |record: &&Record| {
            record.key.as_deref() == Some(key)
                && record.targets[0].0.topic == topic
                && record.position >= self.start
                && self.is_left(record, visible)
        };
        let mut expected: Vec<&Record> =
            (0..visible).flat_map(|event| self.records_of(event)).filter(named).collect();
        expected.reverse();
        let (mut from, mut to) = (0, i64::MAX);
        if let Some(at) = pick(&expected, rng)
            && rng.one_in(3)
        {
            (from, to) = (expected[at].time - rng.below(100_000) as i64, expected[at].time);
            expected.retain(|record| (from..=to).contains(&record.time));
        }
        let most = 1 + rng.below(64) as usize;
        expected.truncate(most);
        let found = store.query_key(topic, key, from, to, most).expect("no read fails now");
        let positions = |records: &[Bytes]| -> Vec<u64> { records.iter().map(position_in).collect() };
        let expected: Vec<Bytes> = expected.iter().map(|record| record.bytes.clone()).collect();
        assert_eq!(positions(&found), positions(&expected), "WRONG: {topic:?}: key {key} in {from}..={to}");
        assert_eq!(found, expected, "WRONG: {topic:?}: key {key}");
    }

    /// One message inside a record by its name, and one past the last.
    fn check_inside(&self, store: &Store, record: &Record, rng: &mut Rng) {
        let (queue, first, count) = record.targets[0];
        let index = rng.below(u64::from(count) + 1) as u32;
        let name = Position::inside(Position(record.position), index).expect("a small log");
        let found = store.record_named(name).expect("no read fails now");
        let start = self.model.queues.get(&queue).map_or(0, |model| model.start(self.visible(store)));
        let is_there = self.model.topics.contains_key(&queue.topic)
            && index < count
            && first + u64::from(index) >= start;
        let expected = is_there.then(|| (record.bytes.clone(), Some(index)));
        assert_eq!(
            found.map(|named| (named.record, named.index)),
            expected,
            "WRONG: the message {index} of {count} by its name"
        );
    }

    /// True when the record's own queue does not begin behind it.
    fn is_left(&self, record: &Record, visible: usize) -> bool {
        let (queue, first, count) = record.targets[0];
        let start = self.model.queues.get(&queue).map_or(0, |model| model.start(visible));
        first + u64::from(count) > start
    }

    /// One record by its name, and some names that are none.
    pub fn check_name(&self, store: &Store, queue: QueueKey, rng: &mut Rng) {
        let entries = self.entries(store, queue);
        let Some(at) = pick(&entries, rng) else { return };
        let record = self.record(&entries[at]);
        let own = record.targets[0].0;
        let found = store.record_named(Position(record.position)).expect("no read fails now");
        if self.model.topics.contains_key(&own.topic) && self.is_left(record, self.visible(store)) {
            let found = found.map(|named| (named.record, named.index));
            assert_eq!(
                found,
                Some((record.bytes.clone(), None)),
                "WRONG: the record named {}",
                record.position
            );
        } else {
            assert_eq!(found, None, "a record that was deleted was named");
        }
        self.check_inside(store, record, rng);
        let inside = record.position + 1 + rng.below(record.bytes.len() as u64 - 1);
        assert_eq!(store.record_named(Position(inside)).expect("no read fails now"), None);
        let (_, end) = store.log_range();
        assert_eq!(store.record_named(Position(end.0 + 77)).expect("no read fails now"), None);
    }
}

/// A request without limits that matter.
pub fn request(queue: QueueKey, offset: u64) -> ReadRequest<'static> {
    ReadRequest { queue, offset, records_max: 1_000, bytes_max: 1 << 30, entries_max: 10_000, filter: None }
}

/// Reads, waiting for the disk where that is needed.
pub fn read(store: &Store, request: &ReadRequest<'_>) -> Result<ReadResult, StoreError> {
    match store.read(request)? {
        Read::Ready(result) => Ok(result),
        Read::Cold(ticket) => ticket.complete(),
    }
}

fn pick<T>(of: &[T], rng: &mut Rng) -> Option<usize> {
    if of.is_empty() { None } else { Some(rng.below(of.len() as u64) as usize) }
}

fn position_in(record: &Bytes) -> u64 {
    braid_record::RecordView::parse(record).expect("the store gives records").position()
}

/// A change in one line.
pub fn brief(change: &Change) -> String {
    match change {
        Change::Group { records, state } => {
            let places: Vec<String> = records
                .iter()
                .map(|record| format!("{:?} at {}", record.targets[0], record.position))
                .collect();
            format!("a group of {} records {places:?} and {} state changes", records.len(), state.len())
        }
        Change::Create(info) => format!("the creation of {info:?}"),
        Change::Configure(number, _) => format!("the configuration of {number:?}"),
        Change::Delete(number) => format!("the deletion of {number:?}"),
        Change::Cut(queue, start) => format!("a cut of {queue:?} at {start}"),
    }
}
