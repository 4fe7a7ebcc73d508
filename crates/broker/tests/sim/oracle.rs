//! The oracle: every append in the order of the log, what was told of it, and what must therefore be there after a start.
//!
//! What survives an end is a front part of the log. The oracle is told where a start found the log's end, demands that
//! nothing that was acknowledged lies behind it, and compares everything before it with the broker, value by value.

use std::collections::BTreeSet;

use braid_broker::{Broker, GroupOverview, GroupState};
use braid_store::{Level, QueueKey, Read, ReadRequest};

use super::batch;
use super::state::{Change, Cursor, CursorKey, Generation, Queue, Record, Share, State};

/// How long log files are kept.
pub const KEEP_MS: i64 = 3_600_000;
/// Topics of the simulation begin so; the others are the system's.
pub const TOPIC_PREFIX: &str = "sim-";

/// One change, and where in the log it lies.
#[derive(Debug, Clone)]
pub struct Event {
    /// The log's end before the call that made it.
    pub after: u64,
    /// The log's end behind that call.
    pub end: u64,
    /// The level at which somebody was told.
    pub told: Option<Level>,
    pub change: Change,
}

#[derive(Debug, Default)]
pub struct Oracle {
    /// What the last start found: durable.
    pub base: State,
    /// What was appended since, in the order of the log.
    pub events: Vec<Event>,
    /// Both together.
    pub live: State,
    /// Producer ids that somebody was given.
    pub given: BTreeSet<i64>,
    /// The highest time that the wall clock has shown.
    pub newest_ms: i64,
}

/// What the broker says of a group, as it would be kept; `None` while it moves.
pub enum Seen {
    Absent,
    Empty,
    Moving,
    Stable(Vec<Share>),
}

/// Looks at a group.
pub fn look_at_group(broker: &Broker, group: &str) -> Seen {
    let Some(GroupOverview { state, protocol_type, members, .. }) = broker.classic_group(group) else {
        return Seen::Absent;
    };
    let share = |member: braid_broker::MemberOverview| Share {
        id: member.id,
        instance_id: member.instance_id,
        assignment: member.assignment.to_vec(),
    };
    match state {
        // A name that has cursors alone, or somebody who was given an id.
        GroupState::Empty if protocol_type.is_empty() => Seen::Absent,
        GroupState::Empty => {
            assert!(members.is_empty(), "an empty group has members: {members:?}");
            Seen::Empty
        }
        GroupState::Stable => Seen::Stable(members.into_iter().map(share).collect()),
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Dead => Seen::Moving,
    }
}

/// A group's cursor as the broker has it.
pub fn look_at_cursor(broker: &Broker, (group, queue): &CursorKey) -> Option<Cursor> {
    let committed = broker.committed(group, *queue)?;
    Some(Cursor {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata,
        reset: broker.has_reset(group, *queue),
        noted_ms: None,
    })
}

/// The same cursor as far as anybody can see.
pub fn visible(cursor: &Cursor) -> Cursor {
    Cursor { noted_ms: None, ..cursor.clone() }
}

impl Oracle {
    /// Notes a change; gives its number.
    pub fn append(&mut self, after: u64, end: u64, change: Change) -> usize {
        self.live.apply(&change, true);
        self.events.push(Event { after, end, told: None, change });
        self.events.len() - 1
    }

    /// Somebody was told of a change.
    pub fn tell(&mut self, event: usize, level: Level) {
        let told = &mut self.events[event].told;
        *told = (*told).max(Some(level));
    }

    /// A producer was given this id.
    pub fn give(&mut self, id: i64) {
        assert!(self.given.insert(id), "TWICE: the producer id {id} was given before");
        let used = |record: &Record| record.numbers.is_some_and(|numbers| numbers.producer_id == id);
        let mut records = self.live.queues.values().flat_map(|queue| &queue.records);
        assert!(!records.any(used), "TWICE: batches of the producer id {id} are there already");
    }

    /// A start found the log's end here; acknowledged is what was told at `level` or above. Gives the producer ids whose
    /// reservation is gone: nobody promised them.
    ///
    /// # Panics
    /// When something acknowledged lies behind the end.
    pub fn recover(&mut self, log_end: u64, level: Level) -> Vec<i64> {
        let mut gone = Vec::new();
        for event in std::mem::take(&mut self.events) {
            if event.end <= log_end {
                self.base.apply(&event.change, true);
                continue;
            }
            assert!(
                event.told < Some(level),
                "LOST: the log ends at {log_end}, but a change that ends at {} was acknowledged at {:?}: {:?}",
                event.end,
                event.told,
                event.change,
            );
            if event.after < log_end && matches!(event.change, Change::Cursors(_) | Change::Group(..)) {
                self.base.apply(&event.change, false);
            } else if let Change::ProducerId(id) = event.change {
                self.given.remove(&id);
                gone.push(id);
            }
        }
        self.live = self.base.clone();
        gone
    }

    /// Compares all that a broker has after a start, and settles what could not be known.
    ///
    /// # Panics
    /// When anything is there that should not be, or the other way round.
    pub fn check(&mut self, broker: &Broker, groups: &[String]) {
        self.check_topics(broker);
        for queue in self.base.all_queues() {
            self.check_queue(broker, queue);
            // A start makes durable what it found.
            let min = broker.store().offsets(queue).unwrap_or_default().min;
            self.base.apply(&Change::Start(queue, min), true);
        }
        for group in groups {
            for queue in self.base.all_queues() {
                self.check_cursor(broker, (group.clone(), queue));
            }
            self.check_group(broker, group);
        }
        self.live = self.base.clone();
    }

    fn check_topics(&self, broker: &Broker) {
        let topics = broker.topics();
        let found = topics.iter().filter(|topic| topic.name().starts_with(TOPIC_PREFIX));
        let mut found: Vec<_> = found.map(|t| (t.number, t.name().to_owned(), t.config.queues())).collect();
        found.sort();
        let wanted = self.base.topics.iter();
        let wanted: Vec<_> = wanted.map(|(&number, t)| (number, t.name.clone(), t.queues)).collect();
        assert_eq!(found, wanted, "topics after a start");
    }

    /// Everything that is visible of a queue, and its producers.
    pub fn check_queue(&self, broker: &Broker, queue: QueueKey) {
        let nothing = Queue::default();
        let known = self.base.queues.get(&queue).unwrap_or(&nothing);
        let offsets = broker.store().offsets(queue).unwrap_or_default();
        let (min, max) = (offsets.min, offsets.max);
        assert_eq!(max, known.end(), "the end of {queue:?}");
        assert_eq!(broker.store().log_end(queue), max, "the next offset of {queue:?}");
        assert!(min >= known.start, "BACK: {queue:?} starts at {min} and started at {}", known.start);
        let limited = self.base.topics[&queue.topic].limited;
        let ends_above = |record: &&Record, at: u64| record.offset + u64::from(record.count) > at;
        for gone in known.records.iter().filter(|r| ends_above(r, known.start) && !ends_above(r, min)) {
            let age_ms = self.newest_ms - gone.time_ms;
            assert!(limited || age_ms >= KEEP_MS, "LOST: {gone:?} of {queue:?} went after {age_ms} ms");
        }
        let wanted: Vec<_> = known
            .records
            .iter()
            .filter(|record| ends_above(record, min))
            .map(|record| (record.offset, record.count, record.value, record.numbers))
            .collect();
        assert_eq!(read(broker, queue, min, max), wanted, "the records of {queue:?} from {min} on");
        let ids: BTreeSet<i64> =
            known.records.iter().filter_map(|record| Some(record.numbers?.producer_id)).collect();
        let wanted: Vec<_> = ids
            .into_iter()
            .filter_map(|id| known.producer(id).map(|producer| (id, producer)))
            .map(|(id, producer)| (id, producer.epoch, producer.batches.last().map(|batch| batch.1)))
            .collect();
        let found = broker.producers_of(queue);
        let found: Vec<_> = found.iter().map(|p| (p.producer_id, p.epoch, Some(p.last_sequence))).collect();
        assert_eq!(found, wanted, "the producers of {queue:?}");
    }

    fn check_cursor(&mut self, broker: &Broker, key: CursorKey) {
        let next = self.base.queues.get(&key.1).map_or(0, Queue::end);
        let mut possible = self.base.cursors.get(&key).cloned().unwrap_or_default();
        if possible.is_empty() {
            possible.push(None);
        }
        // A cursor above the queue's end is set back to it at the start.
        for cursor in possible.iter_mut().flatten() {
            cursor.offset = cursor.offset.min(next);
        }
        let found = look_at_cursor(broker, &key);
        let position = possible.iter().rposition(|cursor| cursor.as_ref().map(visible) == found);
        let Some(position) = position else {
            panic!("CURSOR: {key:?} is {found:?} after a start, and may be {possible:?}");
        };
        let settled = possible.swap_remove(position);
        self.base.cursors.insert(key, vec![settled]);
    }

    fn check_group(&mut self, broker: &Broker, group: &str) {
        let mut possible = self.base.groups.get(group).cloned().unwrap_or_default();
        if possible.is_empty() {
            possible.push(None);
        }
        let seen = look_at_group(broker, group);
        let fits = |generation: &Option<Generation>| match (&seen, generation) {
            (Seen::Absent, None) => true,
            (Seen::Empty, Some(generation)) => generation.members.is_empty(),
            (Seen::Stable(members), Some(generation)) => {
                *members == generation.members
                    && members.iter().all(|member| {
                        let (id, instance_id) = (&member.id, member.instance_id.as_deref());
                        broker.heartbeat_group(group, id, instance_id, generation.number) == Ok(())
                    })
            }
            _ => false,
        };
        // The number of an empty one shows at the next join alone: of several, the lowest is sure.
        let position = match seen {
            Seen::Empty => possible.iter().position(fits),
            _ => possible.iter().rposition(fits),
        };
        let Some(position) = position else {
            let found = broker.classic_group(group);
            panic!("GROUP: {group} is {found:?} after a start, and may be {possible:?}");
        };
        let settled = possible.swap_remove(position);
        self.base.groups.insert(group.to_owned(), vec![settled]);
    }
}

/// What is visible of a queue.
fn read(
    broker: &Broker,
    queue: QueueKey,
    min: u64,
    max: u64,
) -> Vec<(u64, u32, u64, Option<batch::Numbers>)> {
    let mut records = Vec::new();
    let mut offset = min;
    while offset < max {
        let request = ReadRequest {
            queue,
            offset,
            records_max: 100,
            bytes_max: 1 << 20,
            entries_max: 100,
            filter: None,
        };
        let result = match broker.store().read(&request).expect("the disk reads") {
            Read::Ready(result) => result,
            Read::Cold(cold) => cold.complete().expect("the disk reads"),
        };
        assert!(result.next_offset > offset, "{queue:?} cannot be read at {offset}: {:?}", result.status);
        offset = result.next_offset;
        let view = |bytes| braid_record::RecordView::parse(bytes).expect("a record is whole");
        records.extend(result.records.iter().map(|bytes| batch::read(&view(bytes))));
    }
    records
}
