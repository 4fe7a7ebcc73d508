//! Delay levels: messages that wait in the delay topic, one queue per level, until they are due.
//!
//! Store times never go back along the log, so within a level the first message is the next one due, and one look per
//! level tells when to wake. A message is due when its store time and its level's *current* delay have passed: a table
//! that changes holds for what waits already. Progress (a state record, first) and copy are one append, so a kill finds
//! both or neither.
//!
//! A wall clock that is set back makes what was stored before wait longer by as much; nothing is ever early.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use braid_record::{Draft, RecordView, property};
use braid_store::{
    AppendError, GroupBuilder, NewRecord, QueueKey, Read, ReadRequest, ReadResult, ReadStatus, StateChange,
    TopicNumber,
};

use crate::broker::Broker;
use crate::codec::{DELAY_PROGRESS, Reader, Writer};
use crate::error::Error;
use crate::produce::{Message, draft};
use crate::sync::lock;
use crate::topic::Topic;

/// Most delay levels: one bit each says whether the level sleeps.
pub const LEVELS_MAX: u32 = 64;

/// Most milliseconds that a level may wait: 366 days.
const DELAY_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Most records and bytes of one read.
const READ_RECORDS: usize = 32;
const READ_BYTES: usize = 1 << 20;

const PROGRESS_VERSION: u8 = 1;

/// How long each level waits; the first level is number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayTable {
    milliseconds: Vec<u64>,
}

impl Default for DelayTable {
    /// `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`
    fn default() -> Self {
        let seconds = [1, 5, 10, 30].into_iter();
        let minutes = (1..=10).chain([20, 30, 60, 120]).map(|minutes| minutes * 60);
        Self { milliseconds: seconds.chain(minutes).map(|seconds| seconds * 1000).collect() }
    }
}

impl DelayTable {
    /// Reads a table like `1s 5s 2m 1h 1d`.
    ///
    /// # Errors
    /// A sentence that names the wrong word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let milliseconds = text.split_ascii_whitespace().map(parse_delay).collect::<Result<Vec<_>, _>>()?;
        match milliseconds.len() {
            0 => Err("a delay table has at least one level".to_owned()),
            levels if levels > LEVELS_MAX as usize => {
                Err(format!("a delay table has at most {LEVELS_MAX} levels, this one has {levels}"))
            }
            _ => Ok(Self { milliseconds }),
        }
    }

    /// The number of levels, which is the highest level; at least 1.
    pub fn levels(&self) -> u32 {
        self.milliseconds.len() as u32
    }

    /// How long a level waits; a level above the highest waits as long as the highest.
    ///
    /// # Panics
    /// For level 0, which is none.
    pub fn milliseconds(&self, level: u32) -> u64 {
        assert!(level > 0, "the first delay level is 1");
        self.milliseconds[level.min(self.levels()) as usize - 1]
    }
}

fn parse_delay(word: &str) -> Result<u64, String> {
    let wrong = || format!("`{word}` is no delay: a whole number and s, m, h or d is one");
    let unit_at = word.len().checked_sub(1).filter(|&at| word.is_char_boundary(at)).ok_or_else(wrong)?;
    let (number, unit) = word.split_at(unit_at);
    let unit_ms: u64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit_ms)
        .filter(|&ms| ms <= DELAY_MS_MAX)
        .ok_or_else(|| format!("the delay `{word}` is longer than 366 days"))
}

/// How far each queue of the delay topic is delivered.
#[derive(Debug)]
pub(crate) struct DelayQueues {
    /// By queue id. Held by whoever delivers.
    heads: Mutex<Vec<Head>>,
    /// The next offset to deliver, by queue id: written under the lock, read by anyone.
    progress: Vec<AtomicU64>,
    /// The queue that the next turn begins with, so that a busy level does not starve the others.
    first: AtomicUsize,
}

/// What is known of the first message of a queue that is not delivered yet.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// Its store time, once it was read.
    stored_ms: Option<i64>,
}

/// The state's key and value: the delay topic's queue, and its next offset to deliver.
fn progress_change(queue: QueueKey, next_offset: u64) -> StateChange {
    let key = Writer::default().u32(queue.queue_id).finish();
    let value = Writer::default().u8(PROGRESS_VERSION).u32(queue.topic.0).u64(next_offset).finish();
    StateChange { kind: DELAY_PROGRESS, key, value: Some(value) }
}

fn parse_progress(key: &[u8], value: &[u8]) -> Result<(QueueKey, u64), String> {
    let mut key = Reader::new(key);
    let queue_id = key.u32()?;
    key.end()?;
    let mut value = Reader::new(value);
    value.version(PROGRESS_VERSION)?;
    let queue = QueueKey { topic: TopicNumber(value.u32()?), queue_id };
    let next_offset = value.u64()?;
    value.end()?;
    Ok((queue, next_offset))
}

impl DelayQueues {
    /// Takes over what was kept as state, of the delay topic that exists now.
    pub(crate) fn load(entries: Vec<(Vec<u8>, Vec<u8>)>, topic: Option<TopicNumber>) -> Result<Self, Error> {
        let progress: Vec<AtomicU64> = (0..LEVELS_MAX).map(|_| AtomicU64::new(0)).collect();
        for (key, value) in entries {
            let (queue, next_offset) = parse_progress(&key, &value)
                .map_err(|reason| Error::State { what: format!("delay queue {key:02x?}"), reason })?;
            if let Some(place) = progress.get(queue.queue_id as usize).filter(|_| Some(queue.topic) == topic)
            {
                place.store(next_offset, Ordering::Relaxed);
            }
        }
        let heads = vec![Head::default(); LEVELS_MAX as usize];
        Ok(Self { heads: Mutex::new(heads), progress, first: AtomicUsize::new(0) })
    }
}

impl Broker {
    /// Delivers delayed messages that are due at `now_ms` (wall time), a bounded number, and gives the wall time at
    /// which it wants to be called again: `now_ms` when more are due, `None` when nothing waits. A message is due when
    /// its store time and its level's current delay have passed. Copy and progress are one append.
    ///
    /// Called by [`Broker::turn`]. May wait for the disk.
    ///
    /// # Errors
    /// Why nothing could be appended or read, of the first level that failed; the others went on, nothing is lost, and
    /// the next call goes on.
    pub fn deliver_due(&self, now_ms: i64) -> Result<Option<i64>, Error> {
        let Some(&topic) = self.waiters.delay_topic.get() else { return Ok(None) };
        let mut heads = lock(&self.delay.heads);
        let first = self.delay.first.fetch_add(1, Ordering::Relaxed);
        let (mut budget, mut next, mut failed) = (self.options.delay_batch_max, None, None);
        for turn in 0..heads.len() {
            let queue_id = (first + turn) % heads.len();
            let queue = QueueKey { topic, queue_id: queue_id as u32 };
            match self.deliver_level(queue, &mut heads[queue_id], now_ms, &mut budget) {
                Ok(Some(due_ms)) => next = Some(next.map_or(due_ms, |next: i64| next.min(due_ms))),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(next), Err)
    }

    /// The delay table in force.
    pub fn delay_table(&self) -> &DelayTable {
        &self.options.delay
    }

    /// For each level: the next offset of the delay topic's queue that is to be delivered.
    pub fn delay_progress(&self) -> Vec<(u32, u64)> {
        let next = |level: u32| self.delay.progress[level as usize - 1].load(Ordering::Relaxed);
        (1..=self.options.delay.levels()).map(|level| (level, next(level))).collect()
    }

    /// Delivers what is due in one queue; gives when its first message is due that is left, if one is.
    fn deliver_level(
        &self,
        queue: QueueKey,
        head: &mut Head,
        now_ms: i64,
        budget: &mut usize,
    ) -> Result<Option<i64>, Error> {
        let delay_ms = self.options.delay.milliseconds(queue.queue_id + 1) as i64;
        let progress = &self.delay.progress[queue.queue_id as usize];
        let skip_to = |offset: u64, why: &str| {
            let (queue_id, from) = (queue.queue_id, progress.swap(offset, Ordering::Relaxed));
            tracing::warn!(queue_id, from, to = offset, "delayed messages are passed over: {why}");
        };
        if let Some(due_ms) = head.stored_ms.map(|stored_ms| stored_ms.saturating_add(delay_ms))
            && due_ms > now_ms
        {
            return Ok(Some(due_ms));
        }
        if self.is_asleep(queue) {
            return Ok(None);
        }
        loop {
            let offset = progress.load(Ordering::Relaxed);
            let result = self.read_waiting(queue, offset)?;
            match result.status {
                ReadStatus::Found => {
                    for record in &result.records {
                        let record = RecordView::parse(record).map_err(|error| Error::State {
                            what: format!("delay queue {}", queue.queue_id),
                            reason: error.to_string(),
                        })?;
                        let due_ms = record.store_timestamp().saturating_add(delay_ms);
                        if due_ms > now_ms {
                            head.stored_ms = Some(record.store_timestamp());
                            return Ok(Some(due_ms));
                        }
                        if *budget == 0 {
                            return Ok(Some(now_ms));
                        }
                        *budget -= 1;
                        self.deliver(queue, &record)?;
                        progress.store(record.queue_offset() + 1, Ordering::Relaxed);
                        head.stored_ms = None;
                    }
                }
                ReadStatus::AtEnd | ReadStatus::Empty if self.fall_asleep(queue, offset) => return Ok(None),
                ReadStatus::AtEnd | ReadStatus::Empty => {}
                ReadStatus::BelowStart => skip_to(result.min_offset, "their log files are deleted"),
                ReadStatus::NoMatch => skip_to(result.next_offset.max(offset + 1), "their records are gone"),
                ReadStatus::BeyondEnd => {
                    skip_to(result.max_offset, "the progress lay behind the queue's end")
                }
            }
        }
    }

    /// Delivers one message: progress and copy in one append, or progress alone when it can go nowhere.
    fn deliver(&self, queue: QueueKey, record: &RecordView<'_>) -> Result<(), Error> {
        let next_offset = record.queue_offset() + 1;
        let names = &self.policy.properties;
        let properties = property::without(record.properties(), |name| {
            property::is_reserved(name) || names.dropped_when_delivered.iter().any(|n| n.as_bytes() == name)
        });
        let pass_over = |why: &str| {
            let (queue_id, offset) = (queue.queue_id, record.queue_offset());
            tracing::warn!(queue_id, offset, "a delayed message is not delivered: {why}");
            self.append(self.delivery(queue, next_offset, None)).map(drop)
        };
        let (real, real_queue_id) = match self.destination(record) {
            Ok(destination) => destination,
            Err(why) => return pass_over(&why),
        };
        let message = Message {
            body: record.body(),
            properties: &properties,
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_timestamp: record.born_timestamp(),
            born_host: record.born_host(),
            reconsume_times: record.reconsume_times(),
        };
        let kind = record.kind().and_then(|kind| std::str::from_utf8(kind).ok());
        let copy = Draft { kind, ..draft(real.name(), real_queue_id, &message, record.store_host()) };
        let group = self.store.group(self.delivery(queue, next_offset, Some((&real, copy))));
        match group.and_then(|group| self.store.append(group)) {
            Ok(appended) => {
                self.count_stored(&real, appended.records.len() as u64, &appended.records);
                Ok(())
            }
            Err(error @ (AppendError::Busy { .. } | AppendError::DiskFull(_) | AppendError::Closed(_))) => {
                Err(error.into())
            }
            // Nothing that waiting would mend; the sizes were checked when it was sent, under the options of then.
            Err(error) => pass_over(&error.to_string()),
        }
    }

    /// Where a delayed message is for, or a sentence why it goes nowhere.
    fn destination(&self, record: &RecordView<'_>) -> Result<(std::sync::Arc<Topic>, u32), String> {
        let names = &self.policy.properties;
        let name = record.property(names.real_topic).ok_or("it does not say for which topic it is")?;
        if name == self.policy.delay_topic || self.policy.discarded_topics.iter().any(|other| other == name) {
            return Err(format!("it is for topic {name}, to which nothing is delivered"));
        }
        let topic = self.topic(name).ok_or_else(|| format!("topic {name} does not exist any more"))?;
        let queue_id = record
            .property(names.real_queue_id)
            .and_then(|id| id.parse::<u32>().ok())
            .ok_or("it does not say for which queue it is")?;
        // The topic may have lost queues while the message waited.
        let queue_id = queue_id.checked_rem(topic.config.queues()).ok_or("its topic has no queues")?;
        Ok((topic, queue_id))
    }

    /// The group of one delivery: progress first, so that the copy, being last, carries no mark of ours.
    pub(crate) fn delivery(
        &self,
        queue: QueueKey,
        next_offset: u64,
        copy: Option<(&Topic, Draft<'_>)>,
    ) -> GroupBuilder {
        let mut builder = GroupBuilder::new();
        builder.state(&[progress_change(queue, next_offset)]);
        if let Some((topic, draft)) = copy {
            builder.record(NewRecord { draft, topic: topic.number, count: 1, more_targets: &[] });
        }
        builder
    }

    fn read_waiting(&self, queue: QueueKey, offset: u64) -> Result<ReadResult, Error> {
        let request = ReadRequest {
            queue,
            offset,
            records_max: READ_RECORDS,
            bytes_max: READ_BYTES,
            entries_max: READ_RECORDS,
            filter: None,
        };
        Ok(match self.store.read(&request)? {
            Read::Ready(result) => result,
            Read::Cold(cold) => cold.complete()?,
        })
    }

    fn is_asleep(&self, queue: QueueKey) -> bool {
        self.waiters.asleep.load(Ordering::SeqCst) >> queue.queue_id & 1 == 1
    }

    /// Marks a queue as delivered to its end, and looks at its end again, as whoever parks does. False when something
    /// came in between.
    fn fall_asleep(&self, queue: QueueKey, offset: u64) -> bool {
        let bit = 1u64 << queue.queue_id;
        self.waiters.asleep.fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let awake = self.store.offsets(queue).is_some_and(|offsets| offsets.max > offset);
        if awake {
            self.waiters.asleep.fetch_and(!bit, Ordering::SeqCst);
        }
        !awake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_rocketmqs() {
        let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        assert_eq!(DelayTable::parse(text), Ok(DelayTable::default()));
        assert_eq!(DelayTable::default().levels(), 18);
    }

    #[test]
    fn tables_are_read_word_by_word() {
        let table = DelayTable::parse(" 0s 2d\t3h ").unwrap();
        let waits: Vec<_> = (1..=4).map(|level| table.milliseconds(level)).collect();
        assert_eq!(waits, [0, 172_800_000, 10_800_000, 10_800_000], "above the highest is the highest");
        for (text, part) in [
            ("", "at least one level"),
            ("1s 5", "`5` is no delay"),
            ("s", "`s` is no delay"),
            ("-1s", "`-1s` is no delay"),
            ("1µ", "`1µ` is no delay"),
            ("367d", "longer than 366 days"),
            ("99999999999999999d", "longer than 366 days"),
            (&"1s ".repeat(65), "at most 64 levels, this one has 65"),
        ] {
            let error = DelayTable::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(DelayTable::parse(&"1s ".repeat(64)).is_ok());
    }

    #[test]
    fn progress_has_these_bytes() {
        let queue = QueueKey { topic: TopicNumber(2), queue_id: 3 };
        let change = progress_change(queue, 4);
        let value = change.value.unwrap();
        assert_eq!(
            (&change.key[..], &value[..]),
            (&[0, 0, 0, 3][..], &[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4][..])
        );
        assert_eq!(parse_progress(&change.key, &value), Ok((queue, 4)));
        let entries = || vec![(change.key.clone(), value.clone())];
        let next = |topic| DelayQueues::load(entries(), topic).unwrap().progress[3].load(Ordering::Relaxed);
        assert_eq!(next(Some(TopicNumber(2))), 4);
        assert_eq!(next(Some(TopicNumber(9))), 0, "another topic of that name starts at its start");
    }
}
