//! Idempotent producers: which batches of a producer a queue has already, so that a retry is not appended again.
//!
//! A producer numbers its messages, per queue. The check of the numbers and the append are one step of the append
//! section: two copies of one batch, on two connections, cannot both pass. Per (queue, producer) the newest
//! [`REMEMBERED`] batches are known, because a client has no more in flight. The rules are Kafka's:
//!
//! | a batch comes with | answer |
//! | --- | --- |
//! | an epoch below the known one | stale |
//! | the known epoch, first and last number of a remembered batch | a duplicate: where the original went |
//! | the known epoch, the number that follows | appended |
//! | the known epoch, another number | out of order |
//! | a higher epoch, number 0 | appended; what was known is forgotten |
//! | a higher epoch, another number | out of order |
//! | a producer that is not known here | appended, whatever the number: its state may have expired |
//!
//! All of this is derived: the log's records say it again. A snapshot keeps what records below its position told, and a
//! replay goes on from there; a record that the table knows already changes nothing, so that a snapshot may be copied in
//! pages while appends go on. What recovery cut from the log's end leaves nothing here.

use std::collections::BTreeMap;

use crate::append::{AppendError, Placed};
use crate::bytes::{Reader, put_u16, put_u32, put_u64};
use crate::catalog::{QueueKey, TopicNumber};
use crate::options::ProducerFacts;
use crate::progress::Position;

/// Batches that are known of each producer in each queue, as Kafka has it.
pub(crate) const REMEMBERED: usize = 5;
/// Entries that one hold of the append lock looks at, for work that is on no message's path.
pub(crate) const PAGE: usize = 256;

/// A queue, and the id of a producer that writes to it.
pub(crate) type ProducerKey = (QueueKey, i64);

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Batch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) offset: u64,
    pub(crate) position: u64,
    pub(crate) size: u32,
    /// Where its atomic group ends: an answer waits for that.
    pub(crate) group_end: u64,
    pub(crate) store_ms: i64,
}

impl Batch {
    pub(crate) fn placed(&self) -> Placed {
        Placed {
            position: Position(self.position),
            size: self.size,
            offset: self.offset,
            more_offsets: Vec::new(),
            store_timestamp: self.store_ms,
        }
    }
}

/// What is known of a producer in a queue: at least one batch, the newest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    epoch: i16,
    len: u8,
    batches: [Batch; REMEMBERED],
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Duplicate(Batch),
}

/// The number behind `sequence`: they go on at 0 behind the highest.
fn following(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

/// The verdict on a batch that comes behind another one of its producer, without a look at older ones.
pub(crate) fn judge(epoch: i16, last_sequence: i32, facts: &ProducerFacts) -> Result<Verdict, AppendError> {
    if facts.epoch < epoch {
        return Err(AppendError::StaleProducerEpoch {
            producer_id: facts.producer_id,
            epoch: facts.epoch,
            known_epoch: epoch,
        });
    }
    let expected = if facts.epoch > epoch { 0 } else { following(last_sequence) };
    if facts.first_sequence == expected { Ok(Verdict::New) } else { Err(out_of_order(facts, expected)) }
}

pub(crate) fn out_of_order(facts: &ProducerFacts, expected: i32) -> AppendError {
    AppendError::OutOfOrderSequence {
        producer_id: facts.producer_id,
        first_sequence: facts.first_sequence,
        expected,
    }
}

impl Producer {
    fn new(epoch: i16, batch: Batch) -> Self {
        let mut batches = [Batch::default(); REMEMBERED];
        batches[0] = batch;
        Self { epoch, len: 1, batches }
    }

    fn known(&self) -> &[Batch] {
        &self.batches[..usize::from(self.len)]
    }

    fn newest(&self) -> &Batch {
        &self.batches[usize::from(self.len) - 1]
    }

    fn push(&mut self, batch: Batch) {
        if usize::from(self.len) == REMEMBERED {
            self.batches.copy_within(1.., 0);
            self.len -= 1;
        }
        self.batches[usize::from(self.len)] = batch;
        self.len += 1;
    }

    fn judge(&self, facts: &ProducerFacts) -> Result<Verdict, AppendError> {
        let is_same = |batch: &&Batch| {
            batch.first_sequence == facts.first_sequence && batch.last_sequence == facts.last_sequence
        };
        match self.known().iter().rev().find(is_same) {
            Some(batch) if facts.epoch == self.epoch => Ok(Verdict::Duplicate(*batch)),
            _ => judge(self.epoch, self.newest().last_sequence, facts),
        }
    }

    /// Takes a batch that the log has behind the known ones.
    fn take(&mut self, facts: &ProducerFacts, batch: Batch) {
        let goes_on =
            facts.epoch == self.epoch && facts.first_sequence == following(self.newest().last_sequence);
        if goes_on {
            self.push(batch);
        } else {
            *self = Self::new(facts.epoch, batch);
        }
    }

    /// Forgets batches that end above `end`; `None` when none is left.
    fn below(mut self, end: u64) -> Option<Self> {
        self.len = self.known().iter().take_while(|batch| batch.group_end <= end).count() as u8;
        (self.len > 0).then_some(self)
    }

    /// The value of a snapshot's entry; the table is in `docs/format/snapshot.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 + REMEMBERED * 44);
        put_u16(&mut out, self.epoch as u16);
        out.push(self.len);
        for batch in self.known() {
            put_u32(&mut out, batch.first_sequence as u32);
            put_u32(&mut out, batch.last_sequence as u32);
            put_u64(&mut out, batch.offset);
            put_u64(&mut out, batch.position);
            put_u32(&mut out, batch.size);
            put_u64(&mut out, batch.group_end);
            put_u64(&mut out, batch.store_ms as u64);
        }
        out
    }

    /// Reads the value of a snapshot's entry.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let epoch = reader.u16()? as i16;
        let len = reader.u8().filter(|&len| (1..=REMEMBERED).contains(&usize::from(len)))?;
        let mut batches = [Batch::default(); REMEMBERED];
        for batch in &mut batches[..usize::from(len)] {
            *batch = Batch {
                first_sequence: reader.u32()? as i32,
                last_sequence: reader.u32()? as i32,
                offset: reader.u64()?,
                position: reader.u64()?,
                size: reader.u32()?,
                group_end: reader.u64()?,
                store_ms: reader.u64()? as i64,
            };
        }
        reader.is_empty().then_some(Self { epoch, len, batches })
    }
}

/// The key of a snapshot's entry.
pub(crate) fn encode_key((queue, producer_id): &ProducerKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    put_u32(&mut key, queue.topic.0);
    put_u32(&mut key, queue.queue_id);
    put_u64(&mut key, *producer_id as u64);
    key
}

pub(crate) fn decode_key(key: &[u8]) -> Option<ProducerKey> {
    let mut reader = Reader::new(key);
    let queue = QueueKey { topic: TopicNumber(reader.u32()?), queue_id: reader.u32()? };
    let producer_id = reader.u64()? as i64;
    reader.is_empty().then_some((queue, producer_id))
}

/// A producer, as [`Store::producers_of`](crate::Store::producers_of) lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// The number of the last message that it appended to the queue.
    pub last_sequence: i32,
    /// The store's milliseconds of its last append.
    pub last_timestamp: i64,
}

/// All producers that are known, bounded. Owned by the append section.
#[derive(Debug, Clone)]
pub(crate) struct Producers {
    by_key: BTreeMap<ProducerKey, Box<Producer>>,
    /// By the place of the newest batch, so that the first is the one that was idle for longest.
    by_age: BTreeMap<u64, ProducerKey>,
    max: usize,
}

impl Producers {
    pub(crate) fn new(max: usize) -> Self {
        Self { by_key: BTreeMap::new(), by_age: BTreeMap::new(), max: max.max(1) }
    }

    /// Takes over what a snapshot has.
    pub(crate) fn with(mut self, entries: &[(ProducerKey, Producer)]) -> Self {
        for &(key, producer) in entries {
            self.by_age.insert(producer.newest().position, key);
            self.by_key.insert(key, Box::new(producer));
        }
        while self.by_key.len() > self.max {
            self.forget_oldest();
        }
        self
    }

    /// What becomes of a batch; changes nothing.
    ///
    /// # Errors
    /// `OutOfOrderSequence`, `StaleProducerEpoch`.
    pub(crate) fn judge(&self, queue: QueueKey, facts: &ProducerFacts) -> Result<Verdict, AppendError> {
        if facts.first_sequence < 0 || facts.last_sequence < 0 {
            return Err(out_of_order(facts, 0));
        }
        match self.by_key.get(&(queue, facts.producer_id)) {
            Some(producer) => producer.judge(facts),
            None => Ok(Verdict::New),
        }
    }

    /// Takes a batch that was appended, or that a replay found. One that is known already changes nothing.
    pub(crate) fn take(&mut self, queue: QueueKey, facts: &ProducerFacts, batch: Batch) {
        let key = (queue, facts.producer_id);
        if let Some(producer) = self.by_key.get_mut(&key) {
            let newest = producer.newest().position;
            if batch.position <= newest {
                return;
            }
            producer.take(facts, batch);
            self.by_age.remove(&newest);
        } else {
            if self.by_key.len() >= self.max {
                self.forget_oldest();
            }
            self.by_key.insert(key, Box::new(Producer::new(facts.epoch, batch)));
        }
        self.by_age.insert(batch.position, key);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_first() {
            self.by_key.remove(&key);
        }
    }

    /// Forgets at most [`PAGE`] producers whose last append is older than `before_ms`; true when there may be more.
    pub(crate) fn expire(&mut self, before_ms: i64) -> bool {
        for _ in 0..PAGE {
            let oldest = self.by_age.first_key_value().and_then(|(_, key)| self.by_key.get(key));
            if oldest.is_none_or(|producer| producer.newest().store_ms >= before_ms) {
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    /// Forgets at most [`PAGE`] producers of a deleted topic; true when there may be more.
    pub(crate) fn forget_topic(&mut self, topic: TopicNumber) -> bool {
        let from = (QueueKey { topic, queue_id: 0 }, i64::MIN);
        let keys: Vec<ProducerKey> = self
            .by_key
            .range(from..)
            .map(|(&key, _)| key)
            .take_while(|(q, _)| q.topic == topic)
            .take(PAGE)
            .collect();
        for key in &keys {
            if let Some(producer) = self.by_key.remove(key) {
                self.by_age.remove(&producer.newest().position);
            }
        }
        keys.len() == PAGE
    }

    /// Forgets what is not in a log that ends at `end`, and what `lives` says is deleted.
    pub(crate) fn cut(&mut self, end: u64, lives: impl Fn(TopicNumber) -> bool) {
        let kept: Vec<_> = self
            .by_key
            .iter()
            .filter(|((queue, _), _)| lives(queue.topic))
            .filter_map(|(&key, producer)| Some((key, producer.below(end)?)))
            .collect();
        *self = Self::new(self.max).with(&kept);
    }

    /// Copies at most [`PAGE`] entries behind `after` in the order of their keys; gives the last one's key, or `None` at
    /// the end.
    pub(crate) fn page(
        &self,
        after: Option<ProducerKey>,
        into: &mut Vec<(ProducerKey, Producer)>,
    ) -> Option<ProducerKey> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let known = into.len();
        into.extend(
            self.by_key.range((from, Unbounded)).take(PAGE).map(|(&key, producer)| (key, **producer)),
        );
        if into.len() - known == PAGE { into.last().map(|(key, _)| *key) } else { None }
    }

    /// All entries, in the order of their keys.
    pub(crate) fn all(&self) -> Vec<(ProducerKey, Producer)> {
        self.by_key.iter().map(|(&key, producer)| (key, **producer)).collect()
    }

    /// At most [`PAGE`] producers of a queue with ids above `after`.
    pub(crate) fn of_queue(&self, queue: QueueKey, after: Option<i64>) -> Vec<ProducerInfo> {
        use std::ops::Bound::{Excluded, Included};
        let from = after.map_or(Included((queue, i64::MIN)), |id| Excluded((queue, id)));
        self.by_key
            .range((from, Included((queue, i64::MAX))))
            .take(PAGE)
            .map(|(&(_, producer_id), producer)| ProducerInfo {
                producer_id,
                epoch: producer.epoch,
                last_sequence: producer.newest().last_sequence,
                last_timestamp: producer.newest().store_ms,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueKey = QueueKey { topic: TopicNumber(1), queue_id: 2 };

    fn facts(epoch: i16, first: i32, last: i32) -> ProducerFacts {
        ProducerFacts { producer_id: 7, epoch, first_sequence: first, last_sequence: last }
    }

    fn batch(facts: &ProducerFacts, at: u64) -> Batch {
        Batch {
            first_sequence: facts.first_sequence,
            last_sequence: facts.last_sequence,
            offset: at,
            position: at,
            size: 1,
            group_end: at + 1,
            store_ms: at as i64,
        }
    }

    /// Producers that took these batches of producer 7, at positions 0, 10, …
    fn after(batches: &[(i16, i32, i32)]) -> Producers {
        let mut producers = Producers::new(10);
        for (at, &(epoch, first, last)) in batches.iter().enumerate() {
            let facts = facts(epoch, first, last);
            assert_eq!(producers.judge(QUEUE, &facts), Ok(Verdict::New), "{facts:?}");
            producers.take(QUEUE, &facts, batch(&facts, 10 * at as u64));
        }
        producers
    }

    fn judged(producers: &Producers, epoch: i16, first: i32, last: i32) -> Result<Option<u64>, i32> {
        match producers.judge(QUEUE, &facts(epoch, first, last)) {
            Ok(Verdict::New) => Ok(None),
            Ok(Verdict::Duplicate(batch)) => Ok(Some(batch.position)),
            Err(AppendError::OutOfOrderSequence { expected, .. }) => Err(expected),
            Err(AppendError::StaleProducerEpoch { known_epoch, .. }) => Err(-1 - i32::from(known_epoch)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn five_batches_are_remembered_and_no_more() {
        let producers = after(&[(0, 0, 9), (0, 10, 19), (0, 20, 29), (0, 30, 39), (0, 40, 49), (0, 50, 59)]);
        for (first, at) in [(10, 10), (20, 20), (30, 30), (40, 40), (50, 50)] {
            assert_eq!(judged(&producers, 0, first, first + 9), Ok(Some(at)));
            // The same first number alone is another batch.
            assert_eq!(judged(&producers, 0, first, first + 8), Err(60));
        }
        assert_eq!(judged(&producers, 0, 0, 9), Err(60), "the sixth is forgotten");
        assert_eq!(judged(&producers, 0, 60, 60), Ok(None));
        assert_eq!(judged(&producers, 0, 61, 61), Err(60));
    }

    #[test]
    fn numbers_go_on_at_0_behind_the_highest() {
        let producers = after(&[(0, i32::MAX - 1, i32::MAX), (0, 0, 4)]);
        assert_eq!(judged(&producers, 0, i32::MAX - 1, i32::MAX), Ok(Some(0)));
        assert_eq!(judged(&producers, 0, 5, 5), Ok(None));
        // A batch whose own range wraps.
        let producers = after(&[(0, i32::MAX - 4, i32::MAX - 2), (0, i32::MAX - 1, 2)]);
        assert_eq!(judged(&producers, 0, i32::MAX - 1, 2), Ok(Some(10)));
        assert_eq!(judged(&producers, 0, 3, 9), Ok(None));
        assert_eq!(judged(&producers, 0, 0, 9), Err(3));
        assert_eq!(judged(&producers, 0, -1, 9), Err(0), "numbers are never negative");
    }

    #[test]
    fn a_new_epoch_begins_at_0_and_an_old_one_is_stale() {
        let producers = after(&[(3, 17, 20), (3, 21, 21)]);
        assert_eq!(judged(&producers, 2, 0, 0), Err(-1 - 3));
        assert_eq!(judged(&producers, 2, 21, 21), Err(-1 - 3), "a stale epoch is no duplicate either");
        assert_eq!(judged(&producers, 4, 1, 1), Err(0));
        assert_eq!(judged(&producers, 4, 21, 21), Err(0), "numbers of another epoch are no duplicates");
        assert_eq!(judged(&producers, 4, 0, 5), Ok(None));
        let producers = after(&[(3, 17, 20), (4, 0, 5)]);
        assert_eq!(judged(&producers, 4, 0, 5), Ok(Some(10)));
        assert_eq!(judged(&producers, 4, 17, 20), Err(6), "a new epoch forgets the old batches");
    }

    #[test]
    fn queues_and_producers_know_nothing_of_each_other() {
        let producers = after(&[(0, 0, 0)]);
        let elsewhere = QueueKey { queue_id: 3, ..QUEUE };
        assert_eq!(producers.judge(elsewhere, &facts(0, 99, 99)), Ok(Verdict::New));
        let other = ProducerFacts { producer_id: 8, ..facts(0, 99, 99) };
        assert_eq!(producers.judge(QUEUE, &other), Ok(Verdict::New));
    }

    #[test]
    fn a_replayed_batch_that_is_known_changes_nothing_and_a_jump_is_the_logs_truth() {
        let mut producers = after(&[(0, 0, 0), (0, 1, 1)]);
        producers.take(QUEUE, &facts(0, 0, 0), batch(&facts(0, 0, 0), 0));
        assert_eq!(judged(&producers, 0, 2, 2), Ok(None));
        let jump = facts(0, 50, 50);
        producers.take(QUEUE, &jump, batch(&jump, 20));
        assert_eq!(judged(&producers, 0, 51, 51), Ok(None));
        assert_eq!(judged(&producers, 0, 1, 1), Err(51));
    }

    #[test]
    fn the_one_that_was_idle_for_longest_goes_first() {
        let mut producers = Producers::new(3);
        let of = |id, at| ProducerFacts { producer_id: id, ..facts(0, at, at) };
        for (at, id) in [1, 2, 3, 1, 4].into_iter().enumerate() {
            let facts = of(id, at as i32);
            producers.take(QUEUE, &facts, batch(&facts, at as u64));
        }
        let ids = |producers: &Producers| -> Vec<i64> {
            producers.of_queue(QUEUE, None).iter().map(|info| info.producer_id).collect()
        };
        assert_eq!(ids(&producers), [1, 3, 4], "2 was idle when 4 came");
        assert!(!producers.expire(2), "3 came at 2");
        assert_eq!(ids(&producers), [1, 3, 4]);
        assert!(!producers.expire(4));
        assert_eq!(ids(&producers), [4]);
        assert!(!producers.forget_topic(QUEUE.topic));
        assert_eq!((ids(&producers), producers.by_age.len()), (vec![], 0));
    }

    #[test]
    fn a_cut_leaves_nothing_of_what_was_above_it() {
        let mut producers = after(&[(0, 0, 0), (0, 1, 1), (0, 2, 2)]);
        producers.cut(20, |_| true);
        assert_eq!(judged(&producers, 0, 2, 2), Ok(None), "batch 2 ended at 21");
        assert_eq!(judged(&producers, 0, 1, 1), Ok(Some(10)));
        assert_eq!(producers.by_age.len(), 1);
        producers.cut(0, |_| true);
        assert_eq!(judged(&producers, 0, 77, 77), Ok(None));
        let mut producers = after(&[(0, 0, 0)]);
        producers.cut(20, |_| false);
        assert!(producers.all().is_empty());
    }

    #[test]
    fn pages_give_every_entry_once() {
        let mut producers = Producers::new(3 * PAGE);
        for id in 0..(2 * PAGE + 3) as i64 {
            let facts = ProducerFacts { producer_id: id, ..facts(0, 0, 0) };
            producers.take(QUEUE, &facts, batch(&facts, id as u64));
        }
        let mut all = Vec::new();
        let mut after = None;
        for _ in 0..2 {
            after = producers.page(after, &mut all);
            assert!(after.is_some());
        }
        assert_eq!(producers.page(after, &mut all), None);
        assert_eq!(all, producers.all());
        assert!(producers.expire(i64::MAX) && producers.expire(i64::MAX) && !producers.expire(i64::MAX));
    }

    /// The bytes of `docs/format/snapshot.md`.
    #[test]
    fn an_entry_has_the_documented_bytes() {
        let producers = after(&[(0x0102, 0x0A, 0x0B)]);
        let (key, producer) = producers.all()[0];
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(encode_key(&key)), "00000001000000020000000000000007");
        let expected = "0102 01 0000000a 0000000b 0000000000000000 0000000000000000 00000001 0000000000000001 \
             0000000000000000";
        assert_eq!(hex(producer.encode()), expected.replace(' ', ""));
        assert_eq!(decode_key(&encode_key(&key)), Some(key));
        assert_eq!(Producer::decode(&producer.encode()), Some(producer));
        assert_eq!(Producer::decode(&producer.encode()[1..]), None);
        assert_eq!(Producer::decode(&[0, 0, 0]), None);
        assert_eq!(Producer::decode(&[0, 0, 6]), None);
    }
}
