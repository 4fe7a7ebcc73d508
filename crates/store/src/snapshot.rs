//! The snapshot: the sum of all state up to a position of the log, replaced atomically.
//!
//! Replaying the log from that position gives the state of now. The snapshot also keeps what the log forgets when
//! its head is cut: the next offset of queues that have no record left, the lives of topics, and when the files'
//! last records were stored. The byte table is in `docs/format/snapshot.md`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use braid_io::{Disk, OpenMode};

use crate::bytes::{Reader, put_u16, put_u32, put_u64, put_u128};
use crate::catalog::{Catalog, Incarnation, QueueKey, TopicId, TopicNumber};
use crate::producers::{self, Producer, ProducerKey};
use crate::state::{StateChange, StateKind, StateMap};

const MAGIC: &[u8; 8] = b"BRAIDSN1";
const VERSION: u32 = 1;
const ALIVE: u64 = u64::MAX;

/// What a snapshot says.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// State records below are contained, none at or above.
    pub(crate) position: u64,
    /// Where the last group below begins (the position itself if there is none): a start reads from there at the
    /// latest, so that a log whose end is gone does not pass for one that was stopped in order.
    pub(crate) last_group: u64,
    /// Store time of the newest record below.
    pub(crate) store_ms: i64,
    pub(crate) catalog: Catalog,
    pub(crate) state: StateMap,
    /// Idempotent producers, in the order of their keys; those that appended above the position may be newer than it.
    pub(crate) producers: Vec<(ProducerKey, Producer)>,
    /// Next offset of every queue, as far as is durable; a replay may find higher ones.
    pub(crate) queues: BTreeMap<QueueKey, u64>,
    /// Store time of the last record of each sealed file, by the file's first position.
    pub(crate) sealed: BTreeMap<u64, i64>,
}

impl Snapshot {
    /// What a log says before its first record.
    pub(crate) fn empty(position: u64) -> Self {
        Self {
            position,
            last_group: position,
            store_ms: 0,
            catalog: Catalog::new(),
            state: StateMap::default(),
            producers: Vec::new(),
            queues: BTreeMap::new(),
            sealed: BTreeMap::new(),
        }
    }

    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.position);
        put_u64(&mut out, self.last_group);
        put_u64(&mut out, self.store_ms as u64);
        put_u32(&mut out, self.catalog.next_number().0);
        let topics: Vec<_> = self.catalog.incarnations().filter(|i| i.number.0 != 0).collect();
        put_u32(&mut out, topics.len() as u32);
        for topic in topics {
            put_u32(&mut out, topic.number.0);
            put_u128(&mut out, topic.id.0);
            put_u64(&mut out, topic.created);
            put_u64(&mut out, topic.deleted.unwrap_or(ALIVE));
            put_u16(&mut out, topic.name.len() as u16);
            out.extend_from_slice(topic.name.as_bytes());
            put_u32(&mut out, topic.config.len() as u32);
            out.extend_from_slice(&topic.config);
        }
        put_u32(&mut out, (self.state.iter().len() + self.producers.len()) as u32);
        let is_before = |kind: &StateKind| *kind < StateKind::PRODUCER;
        for (kind, key, value) in self.state.iter().filter(|(kind, ..)| is_before(kind)) {
            put_entry(&mut out, kind, key, value);
        }
        for (key, producer) in &self.producers {
            put_entry(&mut out, StateKind::PRODUCER, &producers::encode_key(key), &producer.encode());
        }
        for (kind, key, value) in self.state.iter().filter(|(kind, ..)| !is_before(kind)) {
            put_entry(&mut out, kind, key, value);
        }
        put_u32(&mut out, self.queues.len() as u32);
        for (queue, &next) in &self.queues {
            put_u32(&mut out, queue.topic.0);
            put_u32(&mut out, queue.queue_id);
            put_u64(&mut out, next);
        }
        put_u32(&mut out, self.sealed.len() as u32);
        for (&base, &store_ms) in &self.sealed {
            put_u64(&mut out, base);
            put_u64(&mut out, store_ms as u64);
        }
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        out
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
        if !body.starts_with(MAGIC) || crc32fast::hash(body).to_be_bytes() != *crc {
            return Err("its checksum does not match".to_owned());
        }
        let mut reader = Reader::new(&body[MAGIC.len()..]);
        match reader.u32() {
            Some(VERSION) => decode_sections(&mut reader).ok_or_else(|| "it ends inside an entry".to_owned()),
            version => Err(format!("it has version {}, this program knows {VERSION}", version.unwrap_or(0))),
        }
    }
}

fn put_entry(out: &mut Vec<u8>, kind: StateKind, key: &[u8], value: &[u8]) {
    out.push(kind.0);
    put_u16(out, key.len() as u16);
    out.extend_from_slice(key);
    put_u32(out, value.len() as u32);
    out.extend_from_slice(value);
}

fn decode_sections(reader: &mut Reader<'_>) -> Option<Snapshot> {
    let position = reader.u64()?;
    let last_group = reader.u64()?;
    let store_ms = reader.u64()? as i64;
    let next_number = reader.u32()?;
    let mut catalog = Catalog::new();
    for _ in 0..reader.u32()? {
        let number = TopicNumber(reader.u32()?);
        let id = TopicId(reader.u128()?);
        let created = reader.u64()?;
        let deleted = Some(reader.u64()?).filter(|&end| end != ALIVE);
        let name_len = usize::from(reader.u16()?);
        let name = std::str::from_utf8(reader.take(name_len)?).ok()?.into();
        let config_len = reader.u32()? as usize;
        let config = reader.take(config_len)?.to_vec();
        catalog.insert(Incarnation { name, number, id, created, deleted, config });
    }
    catalog.used_below(next_number);
    let mut state = StateMap::default();
    let mut known = Vec::new();
    for _ in 0..reader.u32()? {
        let kind = StateKind(reader.u8()?);
        let key_len = usize::from(reader.u16()?);
        let key = reader.take(key_len)?.to_vec();
        let value_len = reader.u32()? as usize;
        let value = reader.take(value_len)?;
        if kind == StateKind::PRODUCER {
            known.push((producers::decode_key(&key)?, Producer::decode(value)?));
        } else {
            state.apply(&StateChange { kind, key, value: Some(value.to_vec()) });
        }
    }
    let mut queues = BTreeMap::new();
    for _ in 0..reader.u32()? {
        let queue = QueueKey { topic: TopicNumber(reader.u32()?), queue_id: reader.u32()? };
        queues.insert(queue, reader.u64()?);
    }
    let mut sealed = BTreeMap::new();
    for _ in 0..reader.u32()? {
        sealed.insert(reader.u64()?, reader.u64()? as i64);
    }
    reader.is_empty().then_some(Snapshot {
        position,
        last_group,
        store_ms,
        catalog,
        state,
        producers: known,
        queues,
        sealed,
    })
}

/// What lies at the snapshot's path.
pub(crate) enum Found {
    Whole(Box<Snapshot>),
    Missing,
    /// A sentence.
    Damaged(String),
}

/// Reads the snapshot.
///
/// # Errors
/// The disk's.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Found> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        other => other?,
    };
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(match Snapshot::decode(&bytes) {
        Ok(snapshot) => Found::Whole(Box::new(snapshot)),
        Err(sentence) => Found::Damaged(sentence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let mut catalog = Catalog::new();
        catalog.insert(Incarnation {
            name: "T".into(),
            number: TopicNumber(1),
            id: TopicId(0x0A),
            created: 0x10,
            deleted: Some(0x20),
            config: vec![7],
        });
        catalog.used_below(3);
        let mut state = StateMap::default();
        state.apply(&StateChange { kind: StateKind(16), key: b"k".to_vec(), value: Some(b"v".to_vec()) });
        Snapshot {
            position: 0x1234,
            last_group: 0x1111,
            store_ms: 0x5678,
            catalog,
            state,
            producers: Vec::new(),
            queues: [(QueueKey { topic: TopicNumber(1), queue_id: 2 }, 4)].into(),
            sealed: [(0, 5)].into(),
        }
    }

    /// The bytes of `docs/format/snapshot.md`.
    #[test]
    fn a_snapshot_has_the_documented_bytes() {
        let bytes = sample().encode();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let expected = "4252414944534e31 00000001 0000000000001234 0000000000001111 0000000000005678 00000003 \
             00000001 00000001 0000000000000000000000000000000a 0000000000000010 0000000000000020 0001 54 \
             00000001 07 \
             00000001 10 0001 6b 00000001 76 \
             00000001 00000001 00000002 0000000000000004 \
             00000001 0000000000000000 0000000000000005";
        assert_eq!(hex[..hex.len() - 8], expected.replace(' ', ""));
        assert_eq!(Snapshot::decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn a_torn_snapshot_is_never_taken_for_a_whole_one() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(Snapshot::decode(&flipped).is_err(), "flipped at {at}");
        }
    }
}
