//! What is known about the broker's queues, and the judge of what is read from them.
//!
//! No I/O here: the load tells it what was sent, acknowledged and shown, [`crate::verify`] what a restarted broker holds. A value goes
//!
//! ```text
//!  sent ──► acknowledged or shown ──► must be at its offset for ever
//!    └────► unanswered ──► found after the next start: must stay there
//!                     └──► not found: must never appear, unless it is sent again
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::body::Value;
use crate::random::Random;

/// Topics of the rig to which RocketMQ's connections write, [`QUEUES_PER_TOPIC`] queues each.
pub(crate) const TOPICS: usize = 8;
pub(crate) const QUEUES_PER_TOPIC: usize = 8;
/// Topics behind them, to which Kafka's connections alone write.
pub(crate) const KAFKA_TOPICS: usize = 8;
/// The last of the others, to which both protocols write.
const MIXED_TOPICS: usize = 2;
const QUEUES: usize = (TOPICS + KAFKA_TOPICS) * QUEUES_PER_TOPIC;
/// Each protocol's connections share its queues' cursors.
const OWNERS: usize = 8;

/// One of the rig's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Queue(usize);

impl Queue {
    /// Those that RocketMQ's connections write to, and whose cursors they move.
    pub(crate) fn rocketmq() -> impl ExactSizeIterator<Item = Queue> {
        of_topics(0..TOPICS)
    }

    /// Of them, those that Kafka's connections write to as well.
    pub(crate) fn mixed() -> impl ExactSizeIterator<Item = Queue> {
        of_topics(TOPICS - MIXED_TOPICS..TOPICS)
    }

    /// Those that Kafka's connections alone write to, and whose cursors they move.
    pub(crate) fn kafka() -> impl ExactSizeIterator<Item = Queue> {
        of_topics(TOPICS..TOPICS + KAFKA_TOPICS)
    }

    pub(crate) fn is_kafka(self) -> bool {
        self.0 >= TOPICS * QUEUES_PER_TOPIC
    }

    /// One of `queues`, which are not none.
    pub(crate) fn any(mut queues: impl ExactSizeIterator<Item = Queue>, random: &mut Random) -> Queue {
        let at = random.below(queues.len() as u64) as usize;
        queues.nth(at).expect("a number below the length")
    }

    /// Which of its protocol's eight connections moves its cursor.
    pub(crate) fn owner(self) -> usize {
        self.0 % OWNERS
    }

    #[cfg(test)]
    fn new(index: usize) -> Self {
        Queue(index)
    }

    pub(crate) fn topic(self) -> String {
        topic_name(self.0 / QUEUES_PER_TOPIC)
    }

    pub(crate) fn id(self) -> i32 {
        (self.0 % QUEUES_PER_TOPIC) as i32
    }
}

fn of_topics(topics: std::ops::Range<usize>) -> impl ExactSizeIterator<Item = Queue> {
    (topics.start * QUEUES_PER_TOPIC..topics.end * QUEUES_PER_TOPIC).map(Queue)
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic(), self.id())
    }
}

pub(crate) fn topic_name(index: usize) -> String {
    match index.checked_sub(TOPICS) {
        None => format!("Crash{index}"),
        Some(index) => format!("CrashKafka{index}"),
    }
}

/// A position in a queue.
pub(crate) type Offset = i64;

/// What a broker must never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An acknowledged or shown message is not there any more.
    Lost { queue: Queue, offset: Offset, value: Value },
    /// Another message stands where an acknowledged or shown one stood.
    Replaced { queue: Queue, offset: Offset, value: Value, found: Value },
    /// A value that was sent once is stored twice.
    Duplicate { queue: Queue, value: Value, offsets: [Offset; 2] },
    /// A value stands in a queue that it was not sent to.
    Misplaced { queue: Queue, offset: Offset, value: Value, sent_to: Queue },
    /// A value that nobody sent.
    NeverSent { queue: Queue, offset: Offset, value: Value },
    /// A value that was not there after an earlier start.
    Resurrected { queue: Queue, offset: Offset, value: Value },
    /// An offset between the queue's first and last has no message.
    Gap { queue: Queue, expected: Offset, found: Offset },
    /// Two answers name the same offset.
    AnsweredTwice { queue: Queue, offset: Offset, values: [Value; 2] },
    /// A cursor is below a commit that was answered.
    CursorLost { queue: Queue, committed: Offset, found: Option<Offset> },
    /// A cursor is where nobody committed it to.
    CursorAhead { queue: Queue, attempted: Offset, found: Offset },
    /// A producer id that somebody had before.
    ProducerIdTwice(i64),
    /// A message or an answer that is wrong in itself.
    Malformed { queue: Queue, what: String },
    /// The broker failed the rig in some other way.
    Rig(String),
}

impl Violation {
    /// Whether the broker broke its word about what is stored, as opposed to falling over or talking nonsense.
    pub(crate) fn is_broken_word(&self) -> bool {
        !matches!(self, Violation::Rig(_) | Violation::Malformed { .. })
    }

    /// The kind alone, for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Violation::Lost { .. } => "acknowledged message lost",
            Violation::Replaced { .. } => "acknowledged message replaced",
            Violation::Duplicate { .. } => "message stored twice",
            Violation::Misplaced { .. } => "message in the wrong queue",
            Violation::NeverSent { .. } => "message that nobody sent",
            Violation::Resurrected { .. } => "lost message come back",
            Violation::Gap { .. } => "gap in a queue's offsets",
            Violation::AnsweredTwice { .. } => "offset given twice",
            Violation::CursorLost { .. } => "cursor below a durable commit",
            Violation::CursorAhead { .. } => "cursor beyond every commit",
            Violation::ProducerIdTwice(_) => "producer id given twice",
            Violation::Malformed { .. } => "malformed message or answer",
            Violation::Rig(_) => "failure outside the queues",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { queue, offset, value } => {
                write!(f, "{queue} lost value {value}, which was at {offset}")
            }
            Violation::Replaced { queue, offset, value, found } => {
                write!(f, "{queue} has value {found} at {offset}, where {value} was")
            }
            Violation::Duplicate { queue, value, offsets: [first, second] } => {
                write!(f, "{queue} has value {value} at {first} and at {second}")
            }
            Violation::Misplaced { queue, offset, value, sent_to } => {
                write!(f, "{queue} has value {value} at {offset}, which was sent to {sent_to}")
            }
            Violation::NeverSent { queue, offset, value } => {
                write!(f, "{queue} has value {value} at {offset}, which was never sent")
            }
            Violation::Resurrected { queue, offset, value } => {
                write!(f, "{queue} has value {value} at {offset}, which was not there after an earlier start")
            }
            Violation::Gap { queue, expected, found } => {
                write!(f, "{queue} goes on at {found} instead of {expected}")
            }
            Violation::AnsweredTwice { queue, offset, values: [first, second] } => {
                write!(f, "{queue} promised {offset} to value {first} and to value {second}")
            }
            Violation::CursorLost { queue, committed, found } => match found {
                Some(found) => write!(f, "{queue}'s cursor is {found} after {committed} was committed"),
                None => write!(f, "{queue}'s cursor is gone after {committed} was committed"),
            },
            Violation::CursorAhead { queue, attempted, found } => {
                write!(f, "{queue}'s cursor is {found}, and at most {attempted} was committed")
            }
            Violation::ProducerIdTwice(id) => write!(f, "producer id {id} is given a second time"),
            Violation::Malformed { queue, what } => write!(f, "{queue}: {what}"),
            Violation::Rig(what) => f.write_str(what),
        }
    }
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sent, and the kill came before the answer.
    Unanswered,
    /// Stored there.
    At(Offset),
    /// Not stored, as a start has shown.
    Gone,
}

#[derive(Debug, Default, Clone)]
struct QueueLedger {
    /// What is where: acknowledged, shown or found.
    contents: BTreeMap<Offset, Value>,
    /// Everything below was found in place by a verification.
    verified: Offset,
    /// The highest cursor that was answered or found.
    cursor: Option<Offset>,
    /// The highest cursor that was asked for.
    cursor_attempted: Offset,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Ledger {
    queues: Vec<QueueLedger>,
    values: HashMap<Value, (Queue, Fate)>,
    next_value: Value,
    producer_ids: HashSet<i64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            queues: vec![QueueLedger::default(); QUEUES],
            values: HashMap::new(),
            next_value: 1,
            producer_ids: HashSet::new(),
        }
    }
}

impl Ledger {
    /// The first value that was never used.
    pub(crate) fn next_value(&self) -> Value {
        self.next_value
    }

    /// The offset behind everything verified in `queue`.
    pub(crate) fn verified(&self, queue: Queue) -> Offset {
        self.queues[queue.0].verified
    }

    /// The highest cursor answered or found.
    pub(crate) fn cursor(&self, queue: Queue) -> Option<Offset> {
        self.queues[queue.0].cursor
    }

    /// The highest cursor asked for.
    pub(crate) fn cursor_attempted(&self, queue: Queue) -> Offset {
        self.queues[queue.0].cursor_attempted
    }

    /// `value` was sent to `queue`.
    ///
    /// # Panics
    /// If it was sent before: the rig repeats no value.
    pub(crate) fn sent(&mut self, queue: Queue, value: Value) {
        let before = self.values.insert(value, (queue, Fate::Unanswered));
        assert!(before.is_none(), "value {value} is sent twice");
        self.next_value = self.next_value.max(value + 1);
    }

    /// An idempotent producer sent `value` again, which was unanswered: it may be stored now if it was not before.
    ///
    /// # Panics
    /// If it was never sent.
    pub(crate) fn sent_again(&mut self, value: Value) {
        let (_, fate) = self.values.get_mut(&value).expect("what is sent again was sent before");
        if *fate == Fate::Gone {
            *fate = Fate::Unanswered;
        }
    }

    /// A producer id was given out.
    pub(crate) fn producer_id_given(&mut self, id: i64) -> Option<Violation> {
        (!self.producer_ids.insert(id)).then_some(Violation::ProducerIdTwice(id))
    }

    /// The broker said that `value` is stored at `offset`, in an answer or by showing it to a consumer.
    pub(crate) fn stored(&mut self, queue: Queue, offset: Offset, value: Value) -> Option<Violation> {
        match self.values.get(&value) {
            None => return Some(Violation::NeverSent { queue, offset, value }),
            Some((sent_to, _)) if *sent_to != queue => {
                return Some(Violation::Misplaced { queue, offset, value, sent_to: *sent_to });
            }
            Some((_, Fate::Gone)) => return Some(Violation::Resurrected { queue, offset, value }),
            Some((_, Fate::At(known))) if *known != offset => {
                return Some(Violation::Duplicate { queue, value, offsets: [*known, offset] });
            }
            Some(_) => {}
        }
        match self.queues[queue.0].contents.insert(offset, value) {
            Some(other) if other != value => {
                self.queues[queue.0].contents.insert(offset, other);
                return Some(Violation::AnsweredTwice { queue, offset, values: [other, value] });
            }
            _ => {}
        }
        self.values.insert(value, (queue, Fate::At(offset)));
        None
    }

    /// A commit of `offset` was sent.
    pub(crate) fn cursor_sent(&mut self, queue: Queue, offset: Offset) {
        let attempted = &mut self.queues[queue.0].cursor_attempted;
        *attempted = (*attempted).max(offset);
    }

    /// A commit of `offset` was answered.
    pub(crate) fn cursor_stored(&mut self, queue: Queue, offset: Offset) {
        let cursor = &mut self.queues[queue.0].cursor;
        *cursor = (*cursor).max(Some(offset));
    }

    /// Judges the messages that a started broker has in `queue` from `from` (its first offset `min`, or [`Ledger::verified`]) up to
    /// `end`, the offset that its next message gets, and takes them into the books. Nothing the rig sends is old enough to be deleted.
    pub(crate) fn judge(
        &mut self,
        queue: Queue,
        min: Offset,
        from: Offset,
        end: Offset,
        messages: &[(Offset, Value)],
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut expected = from;
        for &(offset, value) in messages {
            if offset != expected {
                violations.push(Violation::Gap { queue, expected, found: offset });
            }
            expected = offset + 1;
            violations.extend(self.found(queue, offset, value));
        }
        if expected != end {
            violations.push(Violation::Gap { queue, expected, found: end });
        }
        let read: HashMap<_, _> = messages.iter().copied().collect();
        let ledger = &mut self.queues[queue.0];
        let below = ledger.contents.range(..min);
        let missing = ledger.contents.range(from..).filter(|(offset, _)| !read.contains_key(offset));
        violations.extend(below.chain(missing).map(|(&offset, &value)| Violation::Lost {
            queue,
            offset,
            value,
        }));
        ledger.verified = ledger.verified.max(expected);
        violations
    }

    /// One message that a started broker has.
    fn found(&mut self, queue: Queue, offset: Offset, value: Value) -> Option<Violation> {
        match self.queues[queue.0].contents.get(&offset) {
            Some(&known) if known != value => {
                Some(Violation::Replaced { queue, offset, value: known, found: value })
            }
            _ => self.stored(queue, offset, value),
        }
    }

    /// Judges the cursor that a started broker has, and takes it into the books: what a start finds, the next start must find.
    pub(crate) fn judge_cursor(&mut self, queue: Queue, found: Option<Offset>) -> Option<Violation> {
        let ledger = &mut self.queues[queue.0];
        let (committed, attempted) = (ledger.cursor, ledger.cursor_attempted);
        ledger.cursor = committed.max(found);
        match (committed, found) {
            (Some(committed), found) if found < Some(committed) => {
                Some(Violation::CursorLost { queue, committed, found })
            }
            (_, Some(found)) if found > attempted => Some(Violation::CursorAhead { queue, attempted, found }),
            _ => None,
        }
    }

    /// Every queue has been judged since the last start: what was not found is gone for good.
    pub(crate) fn settle(&mut self) {
        for (_, fate) in self.values.values_mut() {
            if *fate == Fate::Unanswered {
                *fate = Fate::Gone;
            }
        }
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let stored: usize = self.queues.iter().map(|queue| queue.contents.len()).sum();
        let gone = self.values.values().filter(|(_, fate)| *fate == Fate::Gone).count();
        format!("{} values sent, {stored} stored, {gone} unanswered and not stored", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: usize = 11;

    fn queue() -> Queue {
        Queue::new(QUEUE)
    }

    /// Values 1 to 5 sent; 1, 2, 3 acknowledged at 0, 1, 2; 4 and 5 unanswered; a cursor at 2 answered, at 3 tried.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        (1..=5).for_each(|value| ledger.sent(queue(), value));
        for (offset, value) in [(0, 1), (1, 2), (2, 3)] {
            assert_eq!(ledger.stored(queue(), offset, value), None);
        }
        ledger.cursor_sent(queue(), 2);
        ledger.cursor_stored(queue(), 2);
        ledger.cursor_sent(queue(), 3);
        ledger
    }

    fn judge(from: Offset, end: Offset, messages: &[(Offset, Value)]) -> Vec<Violation> {
        ledger().judge(queue(), from, from, end, messages)
    }

    #[test]
    fn a_good_broker_passes() {
        assert_eq!(judge(0, 3, &[(0, 1), (1, 2), (2, 3)]), [], "the unanswered ones are not stored");
        assert_eq!(judge(0, 4, &[(0, 1), (1, 2), (2, 3), (3, 5)]), [], "one of them is");
        assert_eq!(judge(0, 5, &[(0, 1), (1, 2), (2, 3), (3, 5), (4, 4)]), [], "both are, in whatever order");
    }

    #[test]
    fn a_lost_message_is_found_out() {
        let lost = |offset, value| Violation::Lost { queue: queue(), offset, value };
        assert_eq!(judge(0, 2, &[(0, 1), (1, 2)]), [lost(2, 3)]);
        assert_eq!(judge(0, 0, &[]), [lost(0, 1), lost(1, 2), lost(2, 3)]);
        assert_eq!(judge(1, 3, &[(1, 2), (2, 3)]), [lost(0, 1)], "the queue's beginning has moved over it");
        let gap = Violation::Gap { queue: queue(), expected: 1, found: 2 };
        assert_eq!(judge(0, 3, &[(0, 1), (2, 3)]), [gap, lost(1, 2)]);
    }

    #[test]
    fn a_wrong_offset_is_found_out() {
        let replaced = |offset, value, found| Violation::Replaced { queue: queue(), offset, value, found };
        assert_eq!(judge(0, 3, &[(0, 1), (1, 3), (2, 2)]), [replaced(1, 2, 3), replaced(2, 3, 2)]);
        assert_eq!(judge(0, 3, &[(0, 4), (1, 2), (2, 3)]), [replaced(0, 1, 4)]);
    }

    #[test]
    fn a_duplicate_is_found_out() {
        let duplicate = |value, offsets| Violation::Duplicate { queue: queue(), value, offsets };
        assert_eq!(
            judge(0, 4, &[(0, 1), (1, 2), (2, 3), (3, 2)]),
            [duplicate(2, [1, 3])],
            "of an acknowledged one"
        );
        let unanswered = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)];
        assert_eq!(judge(0, 5, &unanswered), [duplicate(4, [3, 4])], "of an unanswered one");
    }

    #[test]
    fn a_gap_is_found_out() {
        let gap = |expected, found| Violation::Gap { queue: queue(), expected, found };
        assert_eq!(judge(0, 5, &[(0, 1), (1, 2), (2, 3), (4, 4)]), [gap(3, 4)], "in the middle");
        assert_eq!(judge(0, 5, &[(0, 1), (1, 2), (2, 3), (3, 4)]), [gap(4, 5)], "at the end");
        assert_eq!(judge(0, 3, &[(0, 1), (1, 2), (2, 3), (3, 4)]), [gap(4, 3)], "more than the end says");
    }

    #[test]
    fn foreign_messages_are_found_out() {
        let never = Violation::NeverSent { queue: queue(), offset: 3, value: 99 };
        assert_eq!(judge(0, 4, &[(0, 1), (1, 2), (2, 3), (3, 99)]), [never]);
        let mut ledger = ledger();
        let other = Queue::new(QUEUE + 1);
        let misplaced = Violation::Misplaced { queue: other, offset: 0, value: 4, sent_to: queue() };
        assert_eq!(ledger.judge(other, 0, 0, 1, &[(0, 4)]), [misplaced]);
    }

    #[test]
    fn what_a_start_found_or_missed_stays_so() {
        let mut ledger = ledger();
        assert_eq!(ledger.judge(queue(), 0, 0, 4, &[(0, 1), (1, 2), (2, 3), (3, 4)]), []);
        ledger.settle();
        assert_eq!(ledger.verified(queue()), 4);
        assert_eq!(ledger.judge(queue(), 0, 4, 4, &[]), [], "nothing newer");
        let trimmed = Violation::Lost { queue: queue(), offset: 0, value: 1 };
        assert_eq!(
            ledger.judge(queue(), 1, 4, 4, &[]),
            [trimmed],
            "the beginning has moved over what was verified"
        );
        let found_before = Violation::Lost { queue: queue(), offset: 3, value: 4 };
        assert_eq!(ledger.judge(queue(), 0, 0, 3, &[(0, 1), (1, 2), (2, 3)]), [found_before]);
        let resurrected = Violation::Resurrected { queue: queue(), offset: 4, value: 5 };
        assert_eq!(ledger.judge(queue(), 0, 4, 5, &[(4, 5)]), [resurrected], "5 was not there");
    }

    #[test]
    fn what_is_sent_again_is_stored_once() {
        let mut ledger = ledger();
        assert_eq!(ledger.judge(queue(), 0, 0, 4, &[(0, 1), (1, 2), (2, 3), (3, 4)]), []);
        ledger.settle();
        [4, 5].into_iter().for_each(|value| ledger.sent_again(value));
        assert_eq!(ledger.stored(queue(), 3, 4), None, "where it was found");
        assert_eq!(ledger.stored(queue(), 4, 5), None, "it was not there before");
        let again = Violation::Duplicate { queue: queue(), value: 4, offsets: [3, 5] };
        assert_eq!(ledger.stored(queue(), 5, 4), Some(again));
    }

    #[test]
    fn a_producer_id_has_one_owner() {
        let mut ledger = ledger();
        assert_eq!([7, 8].map(|id| ledger.producer_id_given(id)), [None, None]);
        assert_eq!(ledger.producer_id_given(7), Some(Violation::ProducerIdTwice(7)));
    }

    #[test]
    fn contradicting_answers_are_found_out() {
        let mut ledger = ledger();
        let twice = Violation::AnsweredTwice { queue: queue(), offset: 2, values: [3, 4] };
        assert_eq!(ledger.stored(queue(), 2, 4), Some(twice));
        let again = Violation::Duplicate { queue: queue(), value: 1, offsets: [0, 7] };
        assert_eq!(ledger.stored(queue(), 7, 1), Some(again));
    }

    #[test]
    fn a_cursor_that_regressed_or_ran_ahead_is_found_out() {
        let lost = |found| Some(Violation::CursorLost { queue: queue(), committed: 2, found });
        assert_eq!(ledger().judge_cursor(queue(), Some(2)), None, "the answered commit");
        assert_eq!(ledger().judge_cursor(queue(), Some(3)), None, "the unanswered one");
        assert_eq!(ledger().judge_cursor(queue(), Some(1)), lost(Some(1)));
        assert_eq!(ledger().judge_cursor(queue(), None), lost(None));
        let ahead = Violation::CursorAhead { queue: queue(), attempted: 3, found: 4 };
        assert_eq!(ledger().judge_cursor(queue(), Some(4)), Some(ahead));
        let mut ledger = ledger();
        assert_eq!(ledger.judge_cursor(queue(), Some(3)), None);
        let found_before = Violation::CursorLost { queue: queue(), committed: 3, found: Some(2) };
        assert_eq!(ledger.judge_cursor(queue(), Some(2)), Some(found_before), "an earlier start had 3");
        assert_eq!(ledger.judge_cursor(Queue::new(0), None), None, "a queue without commits");
        assert_eq!(ledger.judge_cursor(Queue::new(0), Some(0)), None, "a young queue answers 0");
    }
}
