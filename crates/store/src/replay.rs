//! What a scan's records mean: state, topics, index entries, keys. The same as the append section gave them.

use std::collections::BTreeMap;

use braid_record::RecordView;

use crate::append::derive;
use crate::catalog::{Catalog, LOST_TOPIC, QueueKey, STATE_TOPIC_NUMBER, TopicNumber};
use crate::dispatch::enter_keys;
use crate::index::{Entry, QueueIndex};
use crate::keys::{KeyIndex, key_hash};
use crate::options::{Deriver, ProducerFacts};
use crate::producers::{Batch, Producers};
use crate::state::{StateChange, StateKind, StateMap, decode_body, decode_start};

/// Positions from which on each kind of knowledge must be taken from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) state: u64,
    pub(crate) queues: u64,
    pub(crate) keys: u64,
}

impl Covered {
    pub(crate) fn least(&self) -> u64 {
        self.state.min(self.queues).min(self.keys)
    }

    pub(crate) fn most(&self) -> u64 {
        self.state.max(self.queues).max(self.keys)
    }
}

/// Looks at what a replay finds.
pub(crate) trait Watch {
    fn record(
        &mut self,
        position: u64,
        view: &RecordView<'_>,
        entries: &[(QueueKey, Entry)],
        key_hashes: &[u64],
    );
}

/// Takes records in log order.
pub(crate) struct Replay<'a> {
    pub(crate) covered: Covered,
    pub(crate) derivers: &'a [(Option<&'static str>, Deriver)],
    pub(crate) catalog: Catalog,
    pub(crate) state: StateMap,
    pub(crate) producers: Producers,
    pub(crate) queues: &'a QueueIndex,
    pub(crate) keys: &'a KeyIndex,
    /// Where the newest complete group begins.
    pub(crate) last_group: u64,
    /// Time of the newest record.
    pub(crate) store_ms: i64,
    /// Time of the record that was taken last.
    last_ms: i64,
    /// Time of each sealed file's last record.
    pub(crate) sealed: BTreeMap<u64, i64>,
    pub(crate) records: u64,
    pub(crate) notes: Vec<String>,
    /// Set behind a damaged range: gaps in queues are told from here on.
    pub(crate) damaged: bool,
    pub(crate) lost: Vec<Lost>,
    /// Finds the gaps where no index is filled.
    pub(crate) gaps: Option<Gaps>,
    /// Told of every record of a topic that lived, with its entries.
    pub(crate) watch: Option<&'a mut dyn Watch>,
    /// Records of a group that is not complete yet.
    group: Vec<(u64, Vec<u8>)>,
    /// Producers whose records are taken wait for the end of their group.
    numbered: Vec<(QueueKey, ProducerFacts, Batch)>,
}

/// Offsets that no record has.
pub(crate) struct Lost {
    /// Of the record that showed it; `u64::MAX` when no record follows and the snapshot did.
    pub(crate) shown_at: u64,
    /// (topic name, queue id, first, count)
    pub(crate) offsets: (String, u32, u64, u64),
}

/// The next offset of each queue as the records themselves tell it.
pub(crate) struct Gaps {
    next: BTreeMap<QueueKey, u64>,
    /// The log begins with its first record ever, so every queue begins at 0.
    is_whole: bool,
}

impl Gaps {
    pub(crate) fn new(is_whole: bool) -> Self {
        Self { next: BTreeMap::new(), is_whole }
    }

    /// Takes an entry; gives the offset at which a gap before it begins.
    fn take(&mut self, queue: QueueKey, entry: &Entry) -> Option<u64> {
        let known = self.next.get(&queue).copied().or(self.is_whole.then_some(0));
        let next = known.unwrap_or(entry.first_offset);
        self.next.insert(queue, next.max(entry.next_offset()));
        (entry.first_offset > next).then_some(next)
    }
}

/// Notes of one opening that are kept; a damaged log could have millions.
const NOTES_MAX: usize = 32;

impl<'a> Replay<'a> {
    pub(crate) fn new(
        covered: Covered,
        derivers: &'a [(Option<&'static str>, Deriver)],
        queues: &'a QueueIndex,
        keys: &'a KeyIndex,
        producers: Producers,
    ) -> Self {
        Self {
            covered,
            derivers,
            catalog: Catalog::new(),
            state: StateMap::default(),
            producers,
            last_group: 0,
            queues,
            keys,
            store_ms: 0,
            last_ms: 0,
            sealed: BTreeMap::new(),
            records: 0,
            notes: Vec::new(),
            damaged: false,
            lost: Vec::new(),
            gaps: None,
            watch: None,
            group: Vec::new(),
            numbered: Vec::new(),
        }
    }

    /// Where an incomplete group began.
    pub(crate) fn open_group(&self) -> Option<u64> {
        self.group.first().map(|(position, _)| *position)
    }

    /// Drops an incomplete group.
    pub(crate) fn drop_group(&mut self) {
        self.group.clear();
    }

    /// Takes what is there of a group whose rest is lost to damage: what was acknowledged and verifies is served.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) fn keep_group(&mut self) -> Result<(), String> {
        let end = self.group.last().map_or(0, |(position, bytes)| position + bytes.len() as u64);
        self.apply_group()?;
        self.take_producers(end);
        Ok(())
    }

    fn apply_group(&mut self) -> Result<(), String> {
        for (position, bytes) in std::mem::take(&mut self.group) {
            self.apply_bytes(position, &bytes)?;
        }
        Ok(())
    }

    /// Tells the table of producers what the records of a group said, now that its end is known.
    fn take_producers(&mut self, group_end: u64) {
        for (queue, facts, batch) in self.numbered.drain(..) {
            self.producers.take(queue, &facts, Batch { group_end, ..batch });
        }
    }

    /// Takes a record that was checked; those of a group together, when its last is there.
    ///
    /// # Errors
    /// A sentence, when state is of a kind that must be known and is not.
    pub(crate) fn record(&mut self, position: u64, bytes: &[u8]) -> Result<(), String> {
        self.records += 1;
        let view = RecordView::parse(bytes).map_err(|error| error.to_string())?;
        // A repair's filler has the repair's time, not its place's.
        if view.topic() != LOST_TOPIC {
            self.last_ms = view.store_timestamp();
        }
        if view.group_goes_on() {
            self.group.push((position, bytes.to_vec()));
            return Ok(());
        }
        self.last_group = self.open_group().unwrap_or(position);
        self.apply_group()?;
        self.apply(position, &view)?;
        self.take_producers(position + view.len() as u64);
        Ok(())
    }

    /// True when a record that was found behind a bad place may be the log's: it is not older than what was taken last,
    /// and its topic lived there.
    pub(crate) fn may_follow(&self, position: u64, view: &RecordView<'_>) -> bool {
        let is_known = view.topic() == LOST_TOPIC || self.catalog.resolve(view.topic(), position).is_some();
        is_known && view.store_timestamp() >= self.last_ms
    }

    /// Takes the end of a file.
    pub(crate) fn file_ended(&mut self, base: u64) {
        self.sealed.insert(base, self.store_ms);
    }

    fn apply_bytes(&mut self, position: u64, bytes: &[u8]) -> Result<(), String> {
        let view = RecordView::parse(bytes).map_err(|error| error.to_string())?;
        self.apply(position, &view)
    }

    fn apply(&mut self, position: u64, view: &RecordView<'_>) -> Result<(), String> {
        self.store_ms = self.store_ms.max(view.store_timestamp());
        // A repair has put a filler over damage: what builds on lost records is told, not refused.
        self.damaged |= view.topic() == LOST_TOPIC;
        let topic = self.catalog.resolve(view.topic(), position);
        if position >= self.covered.state && topic == Some(STATE_TOPIC_NUMBER) {
            self.apply_state(position, view.body())?;
        }
        let is_wanted = self.watch.is_some() || self.gaps.is_some();
        if position >= self.covered.least() || is_wanted {
            self.enter(position, topic, view);
        }
        Ok(())
    }

    fn apply_state(&mut self, position: u64, body: &[u8]) -> Result<(), String> {
        for change in decode_body(body)? {
            let applied = match change.kind {
                StateKind::TOPIC => self.apply_topic(&change, position),
                StateKind::START => self.apply_start(&change),
                _ => {
                    self.state.apply(&change);
                    Ok(())
                }
            };
            if let Err(sentence) = applied {
                // Behind damage the entry that this one builds on may be lost.
                if !self.damaged {
                    return Err(format!(
                        "the state record at position {position} is inconsistent: {sentence}"
                    ));
                }
                self.note(format!("the state record at position {position} builds on lost ones: {sentence}"));
            }
        }
        Ok(())
    }

    fn apply_topic(&mut self, change: &StateChange, position: u64) -> Result<(), String> {
        if let Some(topic) = self.catalog.apply(&change.key, change.value.as_deref(), position)? {
            self.state.forget_topic(topic);
        }
        Ok(())
    }

    fn apply_start(&mut self, change: &StateChange) -> Result<(), String> {
        let start = change.value.as_deref().and_then(|value| decode_start(&change.key, value));
        let (queue, offset) = start.ok_or("a queue's start has other bytes than it should")?;
        if self.catalog.live(queue.topic).is_none() {
            return Err(format!("a queue of topic number {} is cut, which does not exist", queue.topic.0));
        }
        if self.state.start_of(queue).is_some_and(|known| offset < known) {
            return Err(format!("a queue of topic number {} is cut at {offset} again", queue.topic.0));
        }
        self.state.apply(change);
        Ok(())
    }

    fn enter(&mut self, position: u64, own: Option<TopicNumber>, view: &RecordView<'_>) {
        let slots = match view.targets() {
            Ok(slots) => slots,
            Err(error) => {
                return self.note(format!("the record at position {position} is passed over: {error}"));
            }
        };
        let facts = derive(self.derivers, view);
        let entry = |first_offset, count| Entry {
            first_offset,
            count,
            position,
            size: view.len() as u32,
            word: facts.index_word,
            newest_time: facts.newest_time,
        };
        let mut entries = Vec::with_capacity(slots.len().max(1));
        if let (Some(topic), []) = (own, &slots[..]) {
            entries.push((QueueKey { topic, queue_id: view.queue_id() }, entry(view.queue_offset(), 1)));
        }
        for (at, slot) in slots.iter().enumerate() {
            let topic = TopicNumber(slot.topic);
            let agrees = at > 0 || own == Some(topic);
            if agrees && self.catalog.lived_at(topic, position) {
                let queue = QueueKey { topic, queue_id: slot.queue_id };
                entries.push((queue, entry(slot.first_offset, slot.count)));
            }
        }
        let hashes: Vec<u64> =
            own.map_or_else(Vec::new, |topic| facts.keys.iter().map(|key| key_hash(topic, key)).collect());
        if position >= self.covered.state
            && let Some(facts) = facts.producer
            && let Some((queue, entry)) = entries.first()
            && own == Some(queue.topic)
        {
            let batch = Batch {
                first_sequence: facts.first_sequence,
                last_sequence: facts.last_sequence,
                offset: entry.first_offset,
                position,
                size: entry.size,
                group_end: 0,
                store_ms: view.store_timestamp(),
            };
            self.numbered.push((*queue, facts, batch));
        }
        if let Some(watch) = self.watch.as_mut() {
            watch.record(position, view, &entries, &hashes);
        }
        for (queue, entry) in &entries {
            if let Some(first) = self.gaps.as_mut().and_then(|gaps| gaps.take(*queue, entry))
                && self.damaged
            {
                self.lose(*queue, first, entry.first_offset, position);
            }
        }
        if position >= self.covered.queues {
            entries.into_iter().for_each(|(queue, entry)| self.enter_queue(queue, entry));
        }
        if position >= self.covered.keys {
            enter_keys(self.keys, &hashes, position);
        }
    }

    fn enter_queue(&mut self, queue: QueueKey, entry: Entry) {
        let next = self.queues.offsets(queue).map(|offsets| offsets.max);
        match next {
            Some(next) if entry.first_offset < next => {
                return self.note(format!(
                    "the record at position {} takes offset {} of a queue that goes on at {next}; it is passed over",
                    entry.position, entry.first_offset
                ));
            }
            Some(next) if self.damaged && entry.first_offset > next => {
                self.lose(queue, next, entry.first_offset, entry.position);
            }
            _ => {}
        }
        self.queues.insert(queue, entry);
    }

    /// Told the next offsets that queues had: what no record is left of at a queue's end is lost too.
    pub(crate) fn lose_ends(&mut self, known: &BTreeMap<QueueKey, u64>) {
        let Some(gaps) = self.gaps.take().filter(|_| self.damaged) else { return };
        for (&queue, &known) in known {
            let next = gaps.next.get(&queue).copied().or(gaps.is_whole.then_some(0));
            if let Some(next) = next.filter(|&next| next < known) {
                self.lose(queue, next, known, u64::MAX);
            }
        }
    }

    /// Offsets of a topic that is deleted are no loss.
    fn lose(&mut self, queue: QueueKey, first: u64, end: u64, shown_at: u64) {
        if let Some(topic) = self.catalog.live(queue.topic) {
            let offsets = (topic.name.to_string(), queue.queue_id, first, end - first);
            self.lost.push(Lost { shown_at, offsets });
        }
    }

    fn note(&mut self, sentence: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(sentence);
        }
    }
}
