//! What a broker knows, as the oracle tells it from what was appended.

use std::collections::BTreeMap;

use braid_store::{QueueKey, TopicNumber};

use super::batch::Numbers;

/// Batches of a producer that a queue remembers.
const REMEMBERED: usize = 5;

/// A group's cursor in a queue.
pub type CursorKey = (String, QueueKey);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub queues: u32,
    /// True when the broker moves its starts by limits of its own.
    pub limited: bool,
}

/// A record: a plain message, or a batch with its producer's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: u64,
    pub count: u32,
    pub value: u64,
    pub numbers: Option<Numbers>,
    pub time_ms: i64,
}

#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub start: u64,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub offset: u64,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
    pub reset: bool,
    /// When a client of classic groups committed it, if it was one.
    pub noted_ms: Option<i64>,
}

/// A member with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub id: String,
    pub instance_id: Option<String>,
    pub assignment: Vec<u8>,
}

/// A generation that was reached: stable with its members, or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub number: i32,
    pub members: Vec<Share>,
}

/// A change, as one append makes it.
#[derive(Debug, Clone)]
pub enum Change {
    Create(TopicNumber, Topic),
    Delete(TopicNumber),
    Record(QueueKey, Record),
    /// The queue starts here, or further on.
    Start(QueueKey, u64),
    Cursors(Vec<(CursorKey, Option<Cursor>)>),
    Group(String, Option<Generation>),
    ProducerId(i64),
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    New,
    /// Its original begins here.
    Duplicate(u64),
    OutOfOrder,
    Stale,
}

/// What is known of a producer in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    pub epoch: i16,
    /// First and last number, and first offset, of the newest batches.
    pub batches: Vec<(i32, i32, u64)>,
}

/// A value after a crash may be one of several when a call appended more than once; the newest is last.
pub type Possible<T> = Vec<Option<T>>;

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub topics: BTreeMap<TopicNumber, Topic>,
    pub queues: BTreeMap<QueueKey, Queue>,
    pub cursors: BTreeMap<CursorKey, Possible<Cursor>>,
    pub groups: BTreeMap<String, Possible<Generation>>,
}

impl Queue {
    /// The next offset.
    pub fn end(&self) -> u64 {
        self.records.last().map_or(0, |record| record.offset + u64::from(record.count))
    }

    /// A producer, by the rules for its numbers.
    pub fn producer(&self, id: i64) -> Option<Producer> {
        let mut known: Option<Producer> = None;
        for record in &self.records {
            let Some(numbers) = record.numbers.filter(|numbers| numbers.producer_id == id) else { continue };
            let batch = (numbers.first, numbers.last(record.count), record.offset);
            match &mut known {
                Some(producer) if producer.epoch == numbers.epoch => {
                    producer.batches.push(batch);
                    if producer.batches.len() > REMEMBERED {
                        producer.batches.remove(0);
                    }
                }
                _ => known = Some(Producer { epoch: numbers.epoch, batches: vec![batch] }),
            }
        }
        known
    }

    /// What must become of a batch.
    pub fn judge(&self, numbers: &Numbers, count: u32) -> Verdict {
        let Some(known) = self.producer(numbers.producer_id) else { return Verdict::New };
        let range = (numbers.first, numbers.last(count));
        let same = known.batches.iter().rev().find(|(first, last, _)| (*first, *last) == range);
        let next = known.batches.last().map_or(0, |(_, last, _)| last + 1);
        match numbers.epoch.cmp(&known.epoch) {
            std::cmp::Ordering::Less => Verdict::Stale,
            std::cmp::Ordering::Equal => match same {
                Some((_, _, offset)) => Verdict::Duplicate(*offset),
                None if numbers.first == next => Verdict::New,
                None => Verdict::OutOfOrder,
            },
            std::cmp::Ordering::Greater if numbers.first == 0 => Verdict::New,
            std::cmp::Ordering::Greater => Verdict::OutOfOrder,
        }
    }
}

fn put<T: PartialEq>(possible: &mut Possible<T>, value: Option<T>, is_certain: bool) {
    if is_certain {
        possible.clear();
    } else if possible.is_empty() {
        possible.push(None);
    }
    possible.push(value);
}

impl State {
    /// Takes a change; one that is not certain leaves open whether it happened.
    pub fn apply(&mut self, change: &Change, is_certain: bool) {
        match change {
            Change::Create(number, topic) => {
                self.topics.insert(*number, topic.clone());
                self.queues.retain(|queue, _| queue.topic != *number);
            }
            Change::Delete(number) => {
                self.topics.remove(number);
                self.queues.retain(|queue, _| queue.topic != *number);
                self.cursors.retain(|(_, queue), _| queue.topic != *number);
            }
            Change::Record(queue, record) => {
                self.queues.entry(*queue).or_default().records.push(record.clone());
            }
            Change::Start(queue, start) => {
                let queue = self.queues.entry(*queue).or_default();
                queue.start = queue.start.max(*start);
            }
            Change::Cursors(cursors) => {
                for (key, cursor) in cursors {
                    put(self.cursors.entry(key.clone()).or_default(), cursor.clone(), is_certain);
                }
            }
            Change::Group(group, generation) => {
                put(self.groups.entry(group.clone()).or_default(), generation.clone(), is_certain);
            }
            Change::ProducerId(_) => {}
        }
    }

    /// The newest value of a cursor.
    pub fn cursor(&self, key: &CursorKey) -> Option<&Cursor> {
        self.cursors.get(key).and_then(|possible| possible.last()).and_then(Option::as_ref)
    }

    /// The newest generation of a group that was kept.
    pub fn generation(&self, group: &str) -> Option<&Generation> {
        self.groups.get(group).and_then(|possible| possible.last()).and_then(Option::as_ref)
    }

    /// All queues of topics that exist.
    pub fn all_queues(&self) -> Vec<QueueKey> {
        let queues = |(number, topic): (&TopicNumber, &Topic)| {
            let topic_number = *number;
            (0..topic.queues).map(move |queue_id| QueueKey { topic: topic_number, queue_id })
        };
        self.topics.iter().flat_map(queues).collect()
    }
}
