//! Cursors: how far each group has come in each queue.
//!
//! A cursor is kept under the topic's number, so those of a deleted topic are dead when its name is used again. State
//! records of one group's cursors stand in the log in the order in which memory changed: they are appended while the
//! group's cursors are locked, which costs an append section and never a disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};

use braid_store::{Promise, QueueKey, StateChange, TopicNumber};

use crate::broker::Broker;
use crate::codec::{CURSOR, KEY_BYTES_MAX, Reader, Writer};
use crate::error::Error;
use crate::group::GROUP_BYTES_MAX;
use crate::sync::{lock, read, write};
use crate::topic::Topic;

/// The version of values that are written.
const CURSOR_VERSION: u8 = 2;
/// Values of this version, which have no note and no time, are still read.
const CURSOR_VERSION_1: u8 = 1;
const RESET: u8 = 1;
const NOTED: u8 = 2;
const EPOCH: u8 = 4;

/// Most bytes of a note's text.
pub const CURSOR_METADATA_BYTES_MAX: usize = 4_096;

/// Most bytes of cursors in one state record: it must fit whatever file length and flush bound a store has.
const RECORD_BYTES_MAX: usize = 32 * 1024;

/// A group's place in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next offset that the group wants.
    offset: u64,
    /// True when the place was set from outside and the group's reader has not been told yet.
    reset: bool,
    /// What a client of classic groups committed with it. Without one it was committed by a reader that heartbeats
    /// announce, or set from outside.
    note: Option<Arc<Note>>,
}

/// What comes with a commit of a classic group's client.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    /// Wall milliseconds of the commit.
    committed_ms: i64,
    leader_epoch: Option<i32>,
    metadata: Box<str>,
}

/// A commit of a classic group's client.
#[derive(Debug, Clone, Copy)]
pub struct NotedCommit<'a> {
    /// Where.
    pub queue: QueueKey,
    /// The next offset that the group wants.
    pub offset: u64,
    /// The epoch of the last record that the client read, if it knows.
    pub leader_epoch: Option<i32>,
    /// A text of the client's own, at most [`CURSOR_METADATA_BYTES_MAX`] bytes.
    pub metadata: &'a str,
}

/// A cursor with all that is kept of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset that the group wants.
    pub offset: u64,
    /// The epoch that was committed with it.
    pub leader_epoch: Option<i32>,
    /// The text that was committed with it; empty when there was none.
    pub metadata: String,
}

impl Cursor {
    fn committed(&self) -> Committed {
        Committed {
            offset: self.offset,
            leader_epoch: self.note.as_ref().and_then(|note| note.leader_epoch),
            metadata: self.note.as_ref().map(|note| note.metadata.to_string()).unwrap_or_default(),
        }
    }
}

/// A cursor with its queue, for lists.
#[derive(Debug, Clone)]
pub struct QueueCursor {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The queue inside it.
    pub queue_id: u32,
    /// The next offset that the group wants.
    pub offset: u64,
    /// All that is kept of its commit.
    pub committed: Committed,
}

/// All groups' cursors. A group that has none any more keeps its empty place: a commit that found it a moment ago must
/// not be lost. Their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    groups: RwLock<HashMap<String, Arc<GroupCursors>>>,
    /// Held by whoever locks more than one group.
    flush: Mutex<()>,
}

#[derive(Debug)]
struct GroupCursors {
    group: String,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    by_queue: BTreeMap<QueueKey, Place>,
    /// Queues whose cursor changed since it was last appended.
    changed: Vec<QueueKey>,
}

#[derive(Debug, Clone)]
struct Place {
    cursor: Cursor,
    changed: bool,
}

impl Places {
    /// Sets a cursor that is to be appended later.
    fn mark(&mut self, queue: QueueKey, cursor: Cursor) {
        let before = self.by_queue.insert(queue, Place { cursor, changed: true });
        if before.is_none_or(|before| !before.changed) {
            self.changed.push(queue);
        }
    }

    /// Sets a cursor whose record is appended.
    fn set_appended(&mut self, queue: QueueKey, cursor: Cursor) {
        // A queue that is still listed as changed is passed over by the flush.
        self.by_queue.insert(queue, Place { cursor, changed: false });
        self.changed.retain(|&other| other != queue);
    }
}

fn key(group: &str, queue: QueueKey) -> Vec<u8> {
    Writer::default().u32(queue.topic.0).u32(queue.queue_id).raw(group.as_bytes()).finish()
}

fn parse_key(key: &[u8]) -> Result<(String, QueueKey), String> {
    let mut reader = Reader::new(key);
    let queue = QueueKey { topic: TopicNumber(reader.u32()?), queue_id: reader.u32()? };
    Ok((reader.rest_as_text()?, queue))
}

fn value(cursor: &Cursor) -> Vec<u8> {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let epoch = cursor.note.as_ref().and_then(|note| note.leader_epoch);
    let flags = flag(cursor.reset, RESET) | flag(cursor.note.is_some(), NOTED) | flag(epoch.is_some(), EPOCH);
    let out = Writer::default().u8(CURSOR_VERSION).u8(flags).u64(cursor.offset);
    let Some(note) = &cursor.note else { return out.finish() };
    out.u64(note.committed_ms as u64).u32(epoch.unwrap_or(0) as u32).text(&note.metadata).finish()
}

fn parse_value(value: &[u8]) -> Result<Cursor, String> {
    let mut reader = Reader::new(value);
    let known = if value.first() == Some(&CURSOR_VERSION_1) { CURSOR_VERSION_1 } else { CURSOR_VERSION };
    reader.version(known)?;
    let flags = reader.u8()?;
    let offset = reader.u64()?;
    let note = match known == CURSOR_VERSION && flags & NOTED != 0 {
        true => Some(Arc::new(parse_note(flags, &mut reader)?)),
        false => None,
    };
    reader.end()?;
    Ok(Cursor { offset, reset: flags & RESET != 0, note })
}

fn parse_note(flags: u8, reader: &mut Reader<'_>) -> Result<Note, String> {
    let (committed_ms, epoch) = (reader.u64()? as i64, reader.u32()? as i32);
    let leader_epoch = (flags & EPOCH != 0).then_some(epoch);
    Ok(Note { committed_ms, leader_epoch, metadata: reader.text()?.into_boxed_str() })
}

fn set(group: &str, queue: QueueKey, cursor: &Cursor) -> StateChange {
    StateChange { kind: CURSOR, key: key(group, queue), value: Some(value(cursor)) }
}

fn removed(group: &str, queue: QueueKey) -> StateChange {
    StateChange { kind: CURSOR, key: key(group, queue), value: None }
}

/// About what a change takes in a state record.
fn bytes_of(change: &StateChange) -> usize {
    8 + change.key.len() + change.value.as_ref().map_or(0, Vec::len)
}

impl Cursors {
    /// Takes over what was kept as state. `next_offset` gives a queue's next offset, or `None` when its topic is gone.
    /// Gives also the changes that make the state agree: cursors of topics that are gone are removed, those above their
    /// queue's next offset are set back.
    pub(crate) fn load(
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        next_offset: impl Fn(QueueKey) -> Option<u64>,
    ) -> Result<(Self, Vec<StateChange>), Error> {
        let cursors = Self::default();
        let mut corrections = Vec::new();
        for (key, value) in entries {
            let bad = |reason| Error::State { what: format!("cursor {key:02x?}"), reason };
            let (group, queue) = parse_key(&key).map_err(bad)?;
            let mut cursor = parse_value(&value).map_err(bad)?;
            match next_offset(queue) {
                None => {
                    corrections.push(removed(&group, queue));
                    continue;
                }
                Some(next) if cursor.offset > next => {
                    let (topic, queue_id, was) = (queue.topic.0, queue.queue_id, cursor.offset);
                    tracing::warn!(
                        group,
                        topic,
                        queue_id,
                        was,
                        now = next,
                        "set back a cursor above its queue's end"
                    );
                    cursor.offset = next;
                    corrections.push(set(&group, queue, &cursor));
                }
                Some(_) => {}
            }
            let places = cursors.of_or_new(&group, usize::MAX)?;
            lock(&places.places).by_queue.insert(queue, Place { cursor, changed: false });
        }
        Ok((cursors, corrections))
    }

    fn of(&self, group: &str) -> Option<Arc<GroupCursors>> {
        read(&self.groups).get(group).cloned()
    }

    fn of_or_new(&self, group: &str, groups_max: usize) -> Result<Arc<GroupCursors>, Error> {
        if let Some(cursors) = self.of(group) {
            return Ok(cursors);
        }
        if group.is_empty() || group.len() > GROUP_BYTES_MAX.min(KEY_BYTES_MAX - 8) {
            return Err(Error::Invalid(format!("a group's name has 1 to {GROUP_BYTES_MAX} bytes")));
        }
        let mut groups = write(&self.groups);
        if !groups.contains_key(group) && groups.len() >= groups_max {
            return Err(Error::Limit { what: "groups with cursors", max: groups_max });
        }
        let new = || Arc::new(GroupCursors { group: group.to_owned(), places: Mutex::default() });
        Ok(Arc::clone(groups.entry(group.to_owned()).or_insert_with(new)))
    }

    fn all(&self) -> Vec<Arc<GroupCursors>> {
        read(&self.groups).values().cloned().collect()
    }

    /// Groups that have a cursor on a topic.
    pub(crate) fn groups_on(&self, topic: TopicNumber) -> Vec<String> {
        let has =
            |group: &GroupCursors| lock(&group.places).by_queue.keys().any(|queue| queue.topic == topic);
        self.all().iter().filter(|group| has(group)).map(|group| group.group.clone()).collect()
    }
}

impl Broker {
    /// Sets a group's cursor. With `durable` its record is appended now and the promise comes due when it is as safe as
    /// the store's mode says; otherwise the cursor is marked, and written with others within
    /// [`cursor_flush_ms`](crate::BrokerOptions::cursor_flush_ms).
    ///
    /// A commit while a reset waits for the group's reader is ignored: it names a place from before
    /// (see [`reset_cursor`](Self::reset_cursor)); the promise is `None` then too.
    ///
    /// # Errors
    /// `NoTopic`, `Limit`, `Invalid`, or (durable only) why nothing could be appended; the cursor is unchanged then.
    pub fn commit(
        &self,
        group: &str,
        queue: QueueKey,
        offset: u64,
        durable: bool,
    ) -> Result<Option<Promise<()>>, Error> {
        self.check_cursor_queue(queue)?;
        let cursors = self.cursors.of_or_new(group, self.options.groups_max)?;
        let mut places = lock(&cursors.places);
        if places.by_queue.get(&queue).is_some_and(|place| place.cursor.reset) {
            return Ok(None);
        }
        let cursor = Cursor { offset, reset: false, note: None };
        if durable {
            let appended = self.append_state(&[set(group, queue, &cursor)])?;
            places.set_appended(queue, cursor);
            return Ok(Some(appended.promise(self.level(), ())));
        }
        if places.by_queue.get(&queue).is_none_or(|place| place.cursor != cursor) {
            places.mark(queue, cursor);
        }
        Ok(None)
    }

    /// Sets cursors of a group with what its client says of them; durable. A reset that waits for a reader of the other
    /// kind is over: whoever commits so has read the cursor before it began. Who may commit is the caller's business.
    ///
    /// # Errors
    /// `NoTopic`, `NoQueue`, `Limit`, `Invalid`, before anything is changed; or why nothing (more) could be appended.
    pub(crate) fn commit_noted(
        &self,
        group: &str,
        commits: &[NotedCommit<'_>],
    ) -> Result<Option<Promise<()>>, Error> {
        for commit in commits {
            self.check_cursor_queue(commit.queue)?;
            if commit.metadata.len() > CURSOR_METADATA_BYTES_MAX {
                let sentence = format!("a commit's metadata has at most {CURSOR_METADATA_BYTES_MAX} bytes");
                return Err(Error::Invalid(sentence));
            }
        }
        if commits.is_empty() {
            return Ok(None);
        }
        let committed_ms = self.clock.wall_ms();
        let cursors = self.cursors.of_or_new(group, self.options.groups_max)?;
        let mut places = lock(&cursors.places);
        let mut promise = None;
        let mut rest = commits;
        while !rest.is_empty() {
            let (mut changes, mut set_now, mut bytes) = (Vec::new(), Vec::new(), 0);
            for commit in rest {
                let (leader_epoch, metadata) = (commit.leader_epoch, commit.metadata.into());
                let note = Some(Arc::new(Note { committed_ms, leader_epoch, metadata }));
                let cursor = Cursor { offset: commit.offset, reset: false, note };
                let change = set(group, commit.queue, &cursor);
                bytes += bytes_of(&change);
                if bytes > RECORD_BYTES_MAX && !changes.is_empty() {
                    break;
                }
                changes.push(change);
                set_now.push((commit.queue, cursor));
            }
            let appended = self.append_state(&changes)?;
            rest = &rest[set_now.len()..];
            set_now.into_iter().for_each(|(queue, cursor)| places.set_appended(queue, cursor));
            promise = Some(appended.promise(self.level(), ()));
        }
        Ok(promise)
    }

    /// A group's cursor in a queue.
    pub fn cursor(&self, group: &str, queue: QueueKey) -> Option<u64> {
        self.place(group, queue).map(|cursor| cursor.offset)
    }

    /// A group's cursor in a queue, with all that is kept of its commit.
    pub fn committed(&self, group: &str, queue: QueueKey) -> Option<Committed> {
        self.place(group, queue).map(|cursor| cursor.committed())
    }

    /// Sets a group's cursor from outside: durable, and the group's next read is answered with the new place
    /// ([`take_reset`](Self::take_reset)); commits are ignored until then.
    ///
    /// # Errors
    /// `NoTopic`, `Limit`, `Invalid`, or why nothing could be appended.
    pub fn reset_cursor(&self, group: &str, queue: QueueKey, offset: u64) -> Result<Promise<()>, Error> {
        self.check_cursor_queue(queue)?;
        let cursors = self.cursors.of_or_new(group, self.options.groups_max)?;
        let mut places = lock(&cursors.places);
        let cursor = Cursor { offset, reset: true, note: None };
        let appended = self.append_state(&[set(group, queue, &cursor)])?;
        places.set_appended(queue, cursor);
        Ok(appended.promise(self.level(), ()))
    }

    /// True while a reset waits for the group's reader.
    pub fn has_reset(&self, group: &str, queue: QueueKey) -> bool {
        self.place(group, queue).is_some_and(|cursor| cursor.reset)
    }

    /// The place to which the cursor was reset, given once: to be asked at the start of every read.
    pub fn take_reset(&self, group: &str, queue: QueueKey) -> Option<u64> {
        let cursors = self.cursors.of(group)?;
        let mut places = lock(&cursors.places);
        let cursor = places.by_queue.get(&queue)?.cursor.clone();
        if !cursor.reset {
            return None;
        }
        // A crash before this is written tells the reader once more, which is harmless.
        let offset = cursor.offset;
        places.mark(queue, Cursor { reset: false, ..cursor });
        Some(offset)
    }

    /// All cursors of a group on topics that exist, by topic number and queue.
    pub fn cursors_of(&self, group: &str) -> Vec<QueueCursor> {
        let Some(cursors) = self.cursors.of(group) else { return Vec::new() };
        let places = lock(&cursors.places);
        places
            .by_queue
            .iter()
            .filter_map(|(queue, place)| {
                let topic = self.topic_numbered(queue.topic)?;
                let committed = place.cursor.committed();
                Some(QueueCursor { topic, queue_id: queue.queue_id, offset: committed.offset, committed })
            })
            .collect()
    }

    /// For each group that is behind a queue's first offset: how many messages are gone that it had not read, by name.
    pub fn unread_and_deleted(&self) -> Vec<(String, u64)> {
        let first = |queue: QueueKey| self.store.offsets(queue).map_or(0, |offsets| offsets.min);
        let lost = |group: &Arc<GroupCursors>| -> (String, u64) {
            let places = lock(&group.places);
            let lost = places
                .by_queue
                .iter()
                .map(|(&queue, place)| first(queue).saturating_sub(place.cursor.offset));
            (group.group.clone(), lost.sum())
        };
        let mut groups: Vec<_> = self.cursors.all().iter().map(lost).filter(|(_, lost)| *lost > 0).collect();
        groups.sort_unstable();
        groups
    }

    /// Groups that have a cursor, by name; they need not be configured.
    pub fn groups_with_cursors(&self) -> Vec<String> {
        let has = |group: &&Arc<GroupCursors>| !lock(&group.places).by_queue.is_empty();
        let mut groups: Vec<_> =
            self.cursors.all().iter().filter(has).map(|group| group.group.clone()).collect();
        groups.sort_unstable();
        groups
    }

    /// Forgets a group's cursors, or only those on one topic; `None` when there were none.
    ///
    /// # Errors
    /// Why nothing could be appended; cursors that are not removed yet stay then.
    pub fn delete_cursors(&self, group: &str, topic: Option<&Topic>) -> Result<Option<Promise<()>>, Error> {
        self.delete_cursors_numbered(group, topic.map(|topic| topic.number))
    }

    fn delete_cursors_numbered(
        &self,
        group: &str,
        topic: Option<TopicNumber>,
    ) -> Result<Option<Promise<()>>, Error> {
        self.remove_cursors(group, |queue, _| topic.is_none_or(|topic| queue.topic == topic))
    }

    /// Forgets those of a group's cursors that are meant; `None` when there were none.
    fn remove_cursors(
        &self,
        group: &str,
        meant: impl Fn(QueueKey, &Cursor) -> bool,
    ) -> Result<Option<Promise<()>>, Error> {
        let Some(cursors) = self.cursors.of(group) else { return Ok(None) };
        let mut places = lock(&cursors.places);
        let meant = places.by_queue.iter().filter(|(queue, place)| meant(**queue, &place.cursor));
        let queues: Vec<QueueKey> = meant.map(|(queue, _)| *queue).collect();
        let mut promise = None;
        for queues in queues.chunks(RECORD_BYTES_MAX / (16 + GROUP_BYTES_MAX)) {
            let changes: Vec<_> = queues.iter().map(|&queue| removed(group, queue)).collect();
            let appended = self.append_state(&changes)?;
            places.by_queue.retain(|queue, _| !queues.contains(queue));
            promise = Some(appended.promise(self.level(), ()));
        }
        let Places { by_queue, changed } = &mut *places;
        changed.retain(|queue| by_queue.contains_key(queue));
        Ok(promise)
    }

    /// Forgets a group's cursors in these queues; `None` when there were none.
    ///
    /// # Errors
    /// Why nothing could be appended; cursors that are not removed yet stay then.
    pub(crate) fn delete_cursors_in(
        &self,
        group: &str,
        queues: &HashSet<QueueKey>,
    ) -> Result<Option<Promise<()>>, Error> {
        self.remove_cursors(group, |queue, _| queues.contains(&queue))
    }

    /// Forgets the cursors of a group that its classic members committed before a time, on topics that are meant.
    ///
    /// # Errors
    /// Why nothing could be appended; cursors that are not removed yet stay then.
    pub(crate) fn expire_noted(
        &self,
        group: &str,
        before_ms: i64,
        meant: impl Fn(TopicNumber) -> bool,
    ) -> Result<Option<Promise<()>>, Error> {
        self.remove_cursors(group, |queue, cursor| {
            cursor.note.as_ref().is_some_and(|note| note.committed_ms < before_ms) && meant(queue.topic)
        })
    }

    /// True when a group has a cursor.
    pub(crate) fn has_cursors(&self, group: &str) -> bool {
        self.cursors.of(group).is_some_and(|cursors| !lock(&cursors.places).by_queue.is_empty())
    }

    /// Forgets all groups' cursors on a topic that is deleted already. What cannot be appended is removed at the next
    /// open, where the topic's number is not found.
    pub(crate) fn forget_cursors_on(&self, topic: TopicNumber) {
        for cursors in self.cursors.all() {
            if let Err(error) = self.delete_cursors_numbered(&cursors.group, Some(topic)) {
                tracing::warn!(group = cursors.group, topic = topic.0, %error, "cursors of a deleted topic stay until the next start");
            }
        }
    }

    /// Appends the cursors that changed since the last call, many to a record; gives their number. They stay marked when
    /// nothing could be appended. Called by [`Broker::turn`] and at the end.
    ///
    /// # Errors
    /// Why nothing could be appended.
    pub fn flush_cursors(&self) -> Result<usize, Error> {
        let _flush = lock(&self.cursors.flush);
        let groups = self.cursors.all();
        // The groups that go into one record stay locked until it is appended, so that a durable commit in between
        // stands behind it in the log. No one else locks two groups.
        let (mut open, mut changes, mut bytes, mut flushed) = (Vec::new(), Vec::new(), 0, 0);
        for group in &groups {
            let places = lock(&group.places);
            for &queue in &places.changed {
                let change = set(&group.group, queue, &places.by_queue[&queue].cursor);
                bytes += bytes_of(&change);
                changes.push(change);
            }
            if !places.changed.is_empty() {
                open.push(places);
            }
            if bytes >= RECORD_BYTES_MAX {
                flushed += self.append_cursors(&mut open, &mut changes)?;
                bytes = 0;
            }
        }
        Ok(flushed + self.append_cursors(&mut open, &mut changes)?)
    }

    /// Appends the changes of the groups that are locked and lets them go.
    fn append_cursors(
        &self,
        open: &mut Vec<std::sync::MutexGuard<'_, Places>>,
        changes: &mut Vec<StateChange>,
    ) -> Result<usize, Error> {
        // One group alone may have more changes than fit into one record; what is appended twice after an error is
        // only written twice.
        let mut start = 0;
        while start < changes.len() {
            let mut bytes = 0;
            let fitting = changes[start..].iter().take_while(|change| {
                bytes += bytes_of(change);
                bytes <= RECORD_BYTES_MAX
            });
            let end = start + fitting.count().max(1);
            self.append_state(&changes[start..end])?;
            start = end;
        }
        for mut places in open.drain(..) {
            for queue in std::mem::take(&mut places.changed) {
                if let Some(place) = places.by_queue.get_mut(&queue) {
                    place.changed = false;
                }
            }
        }
        let flushed = changes.len();
        changes.clear();
        Ok(flushed)
    }

    fn place(&self, group: &str, queue: QueueKey) -> Option<Cursor> {
        let cursors = self.cursors.of(group)?;
        lock(&cursors.places).by_queue.get(&queue).map(|place| place.cursor.clone())
    }

    /// Refuses cursors in queues that do not exist, which would fill the memory.
    fn check_cursor_queue(&self, queue: QueueKey) -> Result<(), Error> {
        let topic = self
            .topic_numbered(queue.topic)
            .ok_or_else(|| Error::NoTopic(format!("number {}", queue.topic.0)))?;
        let queues = topic.config.queues();
        if queue.queue_id >= queues {
            return Err(Error::NoQueue { topic: topic.name().to_owned(), queue_id: queue.queue_id, queues });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(topic: u32, queue_id: u32) -> QueueKey {
        QueueKey { topic: TopicNumber(topic), queue_id }
    }

    fn at(offset: u64) -> Cursor {
        Cursor { offset, reset: false, note: None }
    }

    #[test]
    fn a_cursor_has_these_bytes() {
        assert_eq!(key("gé", queue(1, 2)), b"\0\0\0\x01\0\0\0\x02g\xc3\xa9");
        assert_eq!(parse_key(&key("gé", queue(1, 2))), Ok(("gé".to_owned(), queue(1, 2))));
        assert!(parse_key(&[0; 7]).is_err());
        let note = |committed_ms, leader_epoch, metadata: &str| {
            Some(Arc::new(Note { committed_ms, leader_epoch, metadata: metadata.into() }))
        };
        let cases: [(Cursor, &[u8]); 4] = [
            (at(1), b"\x02\0\0\0\0\0\0\0\0\x01"),
            (Cursor { reset: true, ..at(258) }, b"\x02\x01\0\0\0\0\0\0\x01\x02"),
            (
                Cursor { note: note(5, Some(7), "é"), ..at(1) },
                b"\x02\x06\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x07\0\x02\xc3\xa9",
            ),
            (
                Cursor { note: note(0, None, ""), ..at(1) },
                b"\x02\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
        ];
        for (cursor, bytes) in cases {
            assert_eq!(value(&cursor), bytes);
            assert_eq!(parse_value(bytes), Ok(cursor));
            (0..bytes.len()).for_each(|len| assert!(parse_value(&bytes[..len]).is_err(), "{len} bytes"));
        }
    }

    #[test]
    fn values_of_the_first_version_are_read() {
        let old = [1, 1, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(parse_value(&old), Ok(Cursor { reset: true, ..at(258) }));
        assert!(parse_value(&old[..9]).is_err());
        assert!(parse_value(&[3, 0, 0]).unwrap_err().contains("version is 3"));
    }

    #[test]
    fn loading_sets_back_what_lies_above_and_drops_what_is_gone() {
        let entry = |group: &str, q, offset| (key(group, q), value(&at(offset)));
        let entries =
            vec![entry("g", queue(1, 0), 10), entry("g", queue(1, 1), 11), entry("h", queue(2, 0), 3)];
        let next = |q: QueueKey| (q.topic.0 == 1).then_some(10);
        let (cursors, corrections) = Cursors::load(entries, next).unwrap();
        assert_eq!(corrections, [set("g", queue(1, 1), &at(10)), removed("h", queue(2, 0))]);
        let places = cursors.of("g").unwrap();
        let offsets: Vec<_> =
            lock(&places.places).by_queue.values().map(|place| place.cursor.offset).collect();
        assert_eq!(offsets, [10, 10]);
        assert!(cursors.of("h").is_none());
    }

    #[test]
    fn a_place_is_listed_once_however_often_it_changes() {
        let mut places = Places::default();
        for offset in 0..3 {
            places.mark(queue(1, 0), at(offset));
        }
        assert_eq!(places.changed, [queue(1, 0)]);
        places.set_appended(queue(1, 0), at(9));
        assert!(places.changed.is_empty());
    }
}
