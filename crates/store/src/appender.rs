//! The append section: where a group gets its offsets, its position and its time.
//!
//! One thread at a time is in here, for as long as it takes to stamp and copy a group; nothing in here waits for a
//! disk. What comes out is a sequence of [`Piece`]s: bytes that lie contiguously in one file.
//!
//! ```text
//!  file A                                   file B
//!  …─ piece ─┬─ piece ─ BLANK ┊ zeros ──────┬─ piece ─ …
//!            start            end of bytes  end of piece = start of the next
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use braid_record::{BLANK_HEAD_BYTES, MAGIC_BLANK};
use bytes::{Bytes, BytesMut};

use crate::append::{AppendError, Appended, Group, Placed};
use crate::catalog::{Catalog, QueueKey, STATE_TOPIC_NUMBER};
use crate::dispatch::{Entries, Visible};
use crate::index::Entry;
use crate::options::ProducerFacts;
use crate::producers::{Batch, Producers, Verdict, judge, out_of_order};
use crate::progress::Position;
use crate::state::{StateKind, StateMap, decode_start};

/// The arena grows by this many bytes at least; readers of any slice keep its whole chunk in memory.
const ARENA_CHUNK_BYTES: usize = 256 << 10;

/// Bytes that lie contiguously in one file, and what becomes visible with them.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
    /// Where the log goes on: behind the bytes, or in the next file when they end in a filler.
    pub(crate) end: u64,
    pub(crate) visible: Vec<Visible>,
}

/// What bounds an append at this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) flushed: u64,
    pub(crate) unflushed_bytes_max: u64,
    /// End of the pre-written room.
    pub(crate) room_end: u64,
}

/// Why a group was not appended now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    For(AppendError),
    /// Too much waits for the flush.
    Unflushed,
    /// Room must be made up to here first.
    Room(u64),
}

/// State of the append section.
pub(crate) struct Appender {
    file_bytes: u64,
    /// Where the next record goes, unless the file must end before.
    next: u64,
    /// Where the newest group begins.
    last_group: u64,
    /// Time of the newest record.
    store_ms: i64,
    next_offsets: HashMap<QueueKey, u64, BuildHasherDefault<QueueHasher>>,
    /// Bytes appended since the last take, in the file that holds `next`.
    arena: BytesMut,
    arena_start: u64,
    visible: Vec<Visible>,
    /// Finished pieces of earlier files, since the last take.
    sealed: Vec<Piece>,
    /// Times of the last records of files that were sealed since the last look.
    seals: Vec<(u64, i64)>,
    pub(crate) state: StateMap,
    pub(crate) producers: Producers,
    /// First offsets of the record that is being placed; kept to save an allocation.
    offsets: Vec<u64>,
}

impl Appender {
    pub(crate) fn new(
        file_bytes: u64,
        next: u64,
        last_group: u64,
        store_ms: i64,
        state: StateMap,
        producers: Producers,
        next_offsets: impl IntoIterator<Item = (QueueKey, u64)>,
    ) -> Self {
        Self {
            file_bytes,
            next,
            last_group,
            store_ms,
            next_offsets: next_offsets.into_iter().collect(),
            arena: BytesMut::new(),
            arena_start: next,
            visible: Vec::new(),
            sealed: Vec::new(),
            seals: Vec::new(),
            state,
            producers,
            offsets: Vec::new(),
        }
    }

    /// End of what is appended.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// The offset that a queue's next record gets.
    pub(crate) fn next_offset(&self, queue: QueueKey) -> u64 {
        self.next_offsets.get(&queue).copied().unwrap_or(0)
    }

    /// Where the newest group begins.
    pub(crate) fn last_group(&self) -> u64 {
        self.last_group
    }

    /// Time of the newest record.
    pub(crate) fn store_ms(&self) -> i64 {
        self.store_ms
    }

    /// Files that were sealed since the last call, with the times of their last records.
    pub(crate) fn take_seals(&mut self) -> Vec<(u64, i64)> {
        std::mem::take(&mut self.seals)
    }

    /// Places a group. State changes of topics must fit the catalog: whoever makes them has checked that under the
    /// same lock.
    ///
    /// # Errors
    /// Nothing was appended then; at most the file was ended early, so that the next try finds another one.
    pub(crate) fn append(
        &mut self,
        mut group: Group,
        now_ms: i64,
        catalog: &mut impl CatalogAccess,
        limits: Limits,
    ) -> Result<Appended, Refused> {
        check_topics(&group, catalog.get())?;
        if group.is_numbered
            && let Some(original) = self.check_producers(&group).map_err(Refused::For)?
        {
            return Ok(original);
        }
        let start = self.place(group.len(), limits)?;
        let end = start + group.len();
        let store_ms = now_ms.max(self.store_ms);
        let mut placed = Vec::with_capacity(group.records.len());
        for index in 0..group.records.len() {
            self.take_offsets(&group, index);
            group.stamp(index, start, &self.offsets, store_ms);
            let record = &mut group.records[index];
            let position = start + record.start();
            let size = record.size();
            let entries = Entries::of(record.targets.as_slice().iter().zip(&self.offsets).map(
                |(target, &first_offset)| {
                    let entry = Entry {
                        first_offset,
                        count: target.count,
                        position,
                        size,
                        word: record.word,
                        newest_time: record.newest_time,
                    };
                    (target.queue, entry)
                },
            ));
            if index > 0 || group.changes.is_empty() {
                placed.push(Placed {
                    position: Position(position),
                    size,
                    offset: self.offsets[0],
                    more_offsets: self.offsets[1..].to_vec(),
                    store_timestamp: store_ms,
                });
            }
            if let Some(facts) = record.producer {
                let batch = Batch {
                    first_sequence: facts.first_sequence,
                    last_sequence: facts.last_sequence,
                    offset: self.offsets[0],
                    position,
                    size,
                    group_end: end,
                    store_ms,
                };
                self.producers.take(record.targets.own().queue, &facts, batch);
            }
            let key_hashes = std::mem::take(&mut record.key_hashes);
            self.visible.push(Visible::Record { position, entries, key_hashes });
        }
        self.apply_changes(&group, start, catalog);
        self.arena_put(&group.buf);
        self.store_ms = store_ms;
        self.last_group = start;
        self.next = end;
        assert_eq!(self.arena_start + self.arena.len() as u64, end, "the arena ends where the log ends");
        Ok(Appended { end: Position(end), records: placed, duplicate: false })
    }

    /// Checks the numbers of a group's producers; gives where the group went when it was appended before.
    fn check_producers(&self, group: &Group) -> Result<Option<Appended>, AppendError> {
        let numbered =
            group.records.iter().filter_map(|record| Some((record.targets.own().queue, record.producer?)));
        let mut original = Appended { end: Position(0), records: Vec::new(), duplicate: true };
        // Batches of one producer and queue may follow one another inside a group.
        let mut new: Vec<(QueueKey, ProducerFacts)> = Vec::new();
        for (queue, facts) in numbered {
            let is_same =
                |(q, f): &&(QueueKey, ProducerFacts)| *q == queue && f.producer_id == facts.producer_id;
            let verdict = match new.iter().rev().find(is_same) {
                Some((_, before)) => judge(before.epoch, before.last_sequence, &facts)?,
                None => self.producers.judge(queue, &facts)?,
            };
            match verdict {
                Verdict::New => new.push((queue, facts)),
                Verdict::Duplicate(batch) => {
                    original.end = original.end.max(Position(batch.group_end));
                    original.records.push(batch.placed());
                }
            }
        }
        match new.first() {
            None => Ok(Some(original)),
            Some(_) if original.records.is_empty() => Ok(None),
            // A group stands or falls together: a part of one was never a group of its own.
            Some((_, facts)) => Err(out_of_order(facts, facts.first_sequence)),
        }
    }

    /// Finds the place for a group, ending the file before it when it does not fit behind what is there.
    fn place(&mut self, len: u64, limits: Limits) -> Result<u64, Refused> {
        let blank = BLANK_HEAD_BYTES as u64;
        let file_end = self.next - self.next % self.file_bytes + self.file_bytes;
        assert!(len + blank <= self.file_bytes, "groups that fit no file are refused earlier");
        let rolls = self.next + len + blank > file_end;
        let start = if rolls { file_end } else { self.next };
        if start + len > limits.room_end {
            return Err(Refused::Room(start + len));
        }
        if start + len - limits.flushed > limits.unflushed_bytes_max {
            // The filler alone may still fit under the bound. Without it, a group near the bound's size could find the
            // rest of the file in its way for ever.
            if rolls && file_end - limits.flushed <= limits.unflushed_bytes_max {
                self.end_file(file_end);
            }
            return Err(Refused::Unflushed);
        }
        if rolls {
            self.end_file(file_end);
        }
        Ok(start)
    }

    /// Fills the rest of the file and goes on in the next.
    fn end_file(&mut self, file_end: u64) {
        let left = file_end - self.next;
        assert!(left >= BLANK_HEAD_BYTES as u64, "each record leaves room for the filler behind it");
        let mut head = [0; BLANK_HEAD_BYTES];
        head[..4].copy_from_slice(&(left as u32).to_be_bytes());
        head[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        self.arena_put(&head);
        let piece = self.cut_piece(file_end);
        self.sealed.push(piece);
        self.seals.push((file_end - self.file_bytes, self.store_ms));
        self.next = file_end;
        self.arena_start = file_end;
    }

    fn cut_piece(&mut self, end: u64) -> Piece {
        let bytes = self.arena.split().freeze();
        let visible = std::mem::take(&mut self.visible);
        let start = self.arena_start;
        self.arena_start += bytes.len() as u64;
        assert!(self.arena_start <= end, "a piece ends at or behind its bytes");
        Piece { start, bytes, end, visible }
    }

    fn take_offsets(&mut self, group: &Group, index: usize) {
        self.offsets.clear();
        for target in group.records[index].targets.as_slice() {
            let next = self.next_offsets.entry(target.queue).or_insert(0);
            self.offsets.push(*next);
            *next += u64::from(target.count);
        }
    }

    fn apply_changes(&mut self, group: &Group, position: u64, catalog: &mut impl CatalogAccess) {
        for change in &group.changes {
            if change.kind == StateKind::TOPIC {
                let ended = catalog
                    .get_mut()
                    .apply(&change.key, change.value.as_deref(), position)
                    .expect("topic changes are made under this lock, from the catalog they change");
                if let Some(topic) = ended {
                    self.state.forget_topic(topic);
                    self.visible.push(Visible::TopicDeleted(topic));
                }
                continue;
            }
            if change.kind == StateKind::START {
                let start = change.value.as_deref().and_then(|value| decode_start(&change.key, value));
                let (queue, start) = start.expect("the store makes these entries itself");
                self.visible.push(Visible::QueueCut(queue, start));
            }
            self.state.apply(change);
        }
    }

    fn arena_put(&mut self, bytes: &[u8]) {
        if self.arena.capacity() - self.arena.len() < bytes.len() {
            self.arena.reserve(ARENA_CHUNK_BYTES.max(bytes.len()));
        }
        self.arena.extend_from_slice(bytes);
    }

    /// All that was appended since the last call, in log order.
    pub(crate) fn take(&mut self, into: &mut impl Extend<Piece>) -> bool {
        let mut any = !self.sealed.is_empty();
        into.extend(self.sealed.drain(..));
        if !self.arena.is_empty() {
            any = true;
            let piece = self.cut_piece(self.next);
            into.extend(std::iter::once(piece));
        }
        any
    }

    /// Forgets a deleted topic's queues.
    pub(crate) fn forget_topic(&mut self, topic: crate::catalog::TopicNumber) {
        self.next_offsets.retain(|queue, _| queue.topic != topic);
    }
}

/// The catalog, locked for reading until a change needs it for writing.
pub(crate) trait CatalogAccess {
    fn get(&self) -> &Catalog;
    /// Only called when the group changes topics.
    fn get_mut(&mut self) -> &mut Catalog;
}

fn check_topics(group: &Group, catalog: &Catalog) -> Result<(), Refused> {
    for record in &group.records {
        let own = record.targets.own().queue.topic;
        let named = catalog.live(own).is_some_and(|topic| topic.name.as_bytes() == group.topic_of(record));
        if !named {
            return Err(Refused::For(AppendError::NoTopic(own)));
        }
        for target in &record.targets.as_slice()[1..] {
            if catalog.live(target.queue.topic).is_none() {
                return Err(Refused::For(AppendError::NoTopic(target.queue.topic)));
            }
        }
    }
    assert!(
        group.changes.is_empty() || group.records[0].targets.own().queue.topic == STATE_TOPIC_NUMBER,
        "state changes are the group's first record"
    );
    Ok(())
}

/// A fixed hash for queue keys, which come from us and not from a peer (FxHash's multiplication).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct QueueHasher(u64);

impl Hasher for QueueHasher {
    fn finish(&self) -> u64 {
        // The table takes its bucket from the low bits and its tag from the high ones.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x51_7C_C1_B7_27_22_0A_95);
    }
}
