//! State that is not messages: changes are records of an internal topic, the sum of them is a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bytes::{Reader, put_u16, put_u32, put_u64};
use crate::catalog::{QueueKey, TopicNumber};

/// What a state entry is about. Numbers below 16 are the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKind(pub u8);

impl StateKind {
    /// Topics: created, changed, deleted. Written by the store alone.
    pub const TOPIC: Self = Self(1);
    /// Where queues begin whose oldest records were deleted on request. Written by the store alone.
    pub const START: Self = Self(2);
    /// What idempotent producers appended last; in snapshots alone, since the log's records tell it.
    pub(crate) const PRODUCER: Self = Self(3);
    /// First kind that is free for `broker`.
    pub const FIRST_FREE: Self = Self(16);
}

/// One change of state: an entry set, or removed when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// What it is about.
    pub kind: StateKind,
    /// The entry's key inside its kind; at most 512 bytes.
    pub key: Vec<u8>,
    /// Its new value, or `None` when it goes.
    pub value: Option<Vec<u8>>,
}

/// Longest key of a state entry.
pub const STATE_KEY_BYTES_MAX: usize = 512;
/// Version of the state record's body.
const BODY_VERSION: u8 = 1;
/// The entry goes.
const FLAG_REMOVED: u8 = 1;
/// A reader that does not know the kind may pass the entry over.
const FLAG_SKIPPABLE: u8 = 2;

/// The body of a state record: `version u8`, then entries `{kind u8, flags u8, key len u16, key, value len u32, value}`.
pub(crate) fn encode_body(changes: &[StateChange]) -> Vec<u8> {
    let bytes: usize = changes.iter().map(|c| 8 + c.key.len() + c.value.as_ref().map_or(0, Vec::len)).sum();
    let mut out = Vec::with_capacity(1 + bytes);
    out.push(BODY_VERSION);
    for change in changes {
        assert!(change.key.len() <= STATE_KEY_BYTES_MAX, "keys are checked when the group is built");
        let value = change.value.as_deref();
        out.push(change.kind.0);
        out.push(if value.is_none() { FLAG_REMOVED } else { 0 });
        put_u16(&mut out, change.key.len() as u16);
        out.extend_from_slice(&change.key);
        put_u32(&mut out, value.map_or(0, <[u8]>::len) as u32);
        out.extend_from_slice(value.unwrap_or_default());
    }
    out
}

/// Reads the body of a state record.
///
/// # Errors
/// A sentence, when the body is malformed, of another version, or has an entry that must be known and is not.
pub(crate) fn decode_body(body: &[u8]) -> Result<Vec<StateChange>, String> {
    let mut reader = Reader::new(body);
    match reader.u8() {
        Some(BODY_VERSION) => {}
        Some(other) => {
            return Err(format!("a state record has version {other}, this program knows {BODY_VERSION}"));
        }
        None => return Err("a state record is empty".to_owned()),
    }
    let mut changes = Vec::new();
    while !reader.is_empty() {
        let (kind, flags, change) = decode_entry(&mut reader).ok_or("a state record ends inside an entry")?;
        if kind.is_known() {
            changes.push(change);
        } else if flags & FLAG_SKIPPABLE == 0 {
            return Err(format!(
                "a state record has an entry of kind {} that this program does not know: use the program that made \
                 the directory, or a newer one",
                kind.0
            ));
        }
    }
    Ok(changes)
}

fn decode_entry(reader: &mut Reader<'_>) -> Option<(StateKind, u8, StateChange)> {
    let kind = StateKind(reader.u8()?);
    let flags = reader.u8()?;
    let key_len = usize::from(reader.u16()?);
    let key = reader.take(key_len)?.to_vec();
    let value_len = reader.u32()? as usize;
    let value = reader.take(value_len)?;
    let value = (flags & FLAG_REMOVED == 0).then(|| value.to_vec());
    Some((kind, flags, StateChange { kind, key, value }))
}

impl StateKind {
    /// Kinds from [`FIRST_FREE`](Self::FIRST_FREE) on are opaque and always kept.
    fn is_known(self) -> bool {
        matches!(self, Self::TOPIC | Self::START) || self >= Self::FIRST_FREE
    }
}

/// The entry that moves a queue's start.
pub(crate) fn start_change(queue: QueueKey, offset: u64) -> StateChange {
    let (key, mut value) = (start_key(queue), Vec::with_capacity(8));
    put_u64(&mut value, offset);
    StateChange { kind: StateKind::START, key, value: Some(value) }
}

fn start_key(queue: QueueKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(8);
    put_u32(&mut key, queue.topic.0);
    put_u32(&mut key, queue.queue_id);
    key
}

/// The queue and its start; `None` when the entry is malformed.
pub(crate) fn decode_start(key: &[u8], value: &[u8]) -> Option<(QueueKey, u64)> {
    let (mut key, mut value) = (Reader::new(key), Reader::new(value));
    let queue = QueueKey { topic: TopicNumber(key.u32()?), queue_id: key.u32()? };
    let offset = value.u64()?;
    (key.is_empty() && value.is_empty()).then_some((queue, offset))
}

/// The sum of all changes: kinds that are opaque to the store. (Topics are the catalog's.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateMap {
    entries: BTreeMap<EntryKey, Arc<[u8]>>,
}

type EntryKey = (StateKind, Arc<[u8]>);

impl StateMap {
    pub(crate) fn apply(&mut self, change: &StateChange) {
        let key = (change.kind, Arc::from(&change.key[..]));
        match &change.value {
            Some(value) => self.entries.insert(key, Arc::from(&value[..])),
            None => self.entries.remove(&key),
        };
    }

    pub(crate) fn of_kind(&self, kind: StateKind) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.entries
            .range((kind, Arc::from(&[][..]))..)
            .take_while(|((k, _), _)| *k == kind)
            .map(|((_, key), value)| (key.to_vec(), value.to_vec()))
            .collect()
    }

    /// Where a queue was made to begin.
    pub(crate) fn start_of(&self, queue: QueueKey) -> Option<u64> {
        let value = self.entries.get(&(StateKind::START, Arc::from(start_key(queue))))?;
        decode_start(&start_key(queue), value).map(|(_, offset)| offset)
    }

    /// Queues that were made to begin somewhere, with their starts.
    pub(crate) fn starts(&self) -> impl Iterator<Item = (QueueKey, u64)> {
        self.entries
            .range((StateKind::START, Arc::from(&[][..]))..)
            .take_while(|((kind, _), _)| *kind == StateKind::START)
            .filter_map(|((_, key), value)| decode_start(key, value))
    }

    /// Forgets what is kept of a deleted topic's queues.
    pub(crate) fn forget_topic(&mut self, topic: TopicNumber) {
        let prefix = topic.0.to_be_bytes();
        let gone: Vec<EntryKey> = self
            .entries
            .range((StateKind::START, Arc::from(&prefix[..]))..)
            .take_while(|((kind, key), _)| *kind == StateKind::START && key.starts_with(&prefix))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.entries.remove(&key);
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (StateKind, &[u8], &[u8])> {
        self.entries.iter().map(|((kind, key), value)| (*kind, &key[..], &value[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: u8, key: &str, value: Option<&str>) -> StateChange {
        StateChange { kind: StateKind(kind), key: key.into(), value: value.map(Into::into) }
    }

    /// The bytes of `docs/format/state.md`.
    #[test]
    fn a_body_has_the_documented_bytes() {
        let body = encode_body(&[change(16, "key", Some("value")), change(1, "topic", None)]);
        assert_eq!(
            body,
            b"\x01\x10\x00\x00\x03key\x00\x00\x00\x05value\x01\x01\x00\x05topic\x00\x00\x00\x00"
        );
        assert_eq!(decode_body(&body).unwrap(), [change(16, "key", Some("value")), change(1, "topic", None)]);
    }

    #[test]
    fn an_empty_value_is_not_a_removal() {
        let body = encode_body(&[change(20, "k", Some(""))]);
        assert_eq!(decode_body(&body).unwrap(), [change(20, "k", Some(""))]);
    }

    #[test]
    fn unknown_kinds_refuse_unless_they_may_be_skipped() {
        assert!(decode_body(b"\x01\x0F\x00\x00\x01k\x00\x00\x00\x00").unwrap_err().contains("kind 15"));
        assert_eq!(decode_body(b"\x01\x0F\x02\x00\x01k\x00\x00\x00\x00").unwrap(), []);
        assert!(decode_body(b"\x02").unwrap_err().contains("version 2"));
        assert!(decode_body(b"").is_err());
        let body = encode_body(&[change(16, "key", Some("value"))]);
        for cut in 2..body.len() {
            assert!(decode_body(&body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_map_is_the_sum_of_the_changes() {
        let mut map = StateMap::default();
        for c in [change(16, "a", Some("1")), change(17, "a", Some("2")), change(16, "b", Some("3"))] {
            map.apply(&c);
        }
        map.apply(&change(16, "a", None));
        assert_eq!(map.of_kind(StateKind(16)), [(b"b".to_vec(), b"3".to_vec())]);
        assert_eq!(map.of_kind(StateKind(18)), []);
        assert_eq!(map.iter().len(), 2);
    }

    #[test]
    fn a_start_has_the_documented_bytes_and_goes_with_its_topic() {
        let queue = |topic, queue_id| QueueKey { topic: TopicNumber(topic), queue_id };
        let body = encode_body(&[start_change(queue(3, 7), 41)]);
        assert_eq!(
            body,
            b"\x01\x02\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x29"
        );
        let mut map = StateMap::default();
        map.apply(&change(16, "a", Some("1")));
        for (topic, queue_id, offset) in [(2, 0, 1), (3, 0, 2), (3, 7, 41), (4, 0, 3)] {
            map.apply(&start_change(queue(topic, queue_id), offset));
        }
        assert_eq!(map.start_of(queue(3, 7)), Some(41));
        assert_eq!(map.start_of(queue(3, 8)), None);
        map.forget_topic(TopicNumber(3));
        assert_eq!(map.starts().collect::<Vec<_>>(), [(queue(2, 0), 1), (queue(4, 0), 3)]);
        assert_eq!(map.iter().len(), 3);
        assert_eq!(decode_start(&[0; 8], &[0; 7]), None);
        assert_eq!(decode_start(&[0; 9], &[0; 8]), None);
    }
}
