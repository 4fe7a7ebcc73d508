//! The index against a list, against damage, and against a disk that loses what was not synced.

mod crash;
mod damage;
mod golden;
mod limits;
mod model;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use braid_io::Rng;
use braid_io::sim::SimDisk;

use super::{Entry, Limits, QueueIndex};
use crate::catalog::{QueueKey, TopicNumber};
use crate::read::QueueOffsets;

/// Bounds so small that every path is taken after a few entries.
pub(super) const TINY: Limits = Limits {
    tail_bytes_max: 3000,
    cache_bytes_max: 2000,
    file_bytes: 3000,
    write_bytes: 700,
    dense_entries_max: 8,
    wide_entries_max: 4,
    short_extents_max: 12,
};

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/braid/derived/queues")
}

pub(super) fn key(topic: u32, queue_id: u32) -> QueueKey {
    QueueKey { topic: TopicNumber(topic), queue_id }
}

pub(super) fn plain(offset: u64, position: u64) -> Entry {
    Entry { first_offset: offset, count: 1, position, size: 100, word: -(offset as i64), newest_time: None }
}

/// An empty index on a disk without faults.
pub(super) fn fresh(disk: &SimDisk, limits: Limits) -> QueueIndex {
    let (index, covered) =
        QueueIndex::open_with(Arc::new(disk.clone()), &dir(), 0, u64::MAX, limits).unwrap();
    assert_eq!(covered, 0);
    index
}

/// Names and lengths of the journal's files.
pub(super) fn files(disk: &SimDisk) -> Vec<(String, u64)> {
    use braid_io::Disk;
    disk.list(&dir()).unwrap().into_iter().map(|entry| (entry.name, entry.len)).collect()
}

/// What the log and the snapshot know: the truth that an index must agree with.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    /// Records that live, in log order.
    pub(super) records: Vec<(QueueKey, Entry)>,
    pub(super) next: BTreeMap<QueueKey, u64>,
    pub(super) start: u64,
    /// Where queues were made to begin.
    pub(super) starts: BTreeMap<QueueKey, u64>,
    pub(super) end: u64,
    pub(super) flushed: u64,
    /// What the newest checkpoint that succeeded covers.
    pub(super) durable: u64,
    /// Positions between records.
    pub(super) boundaries: Vec<u64>,
    dead: BTreeSet<TopicNumber>,
    generation: u32,
}

/// How a record differs from a plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    Plain,
    Span(u32),
    Timed,
    Gap(u64),
}

impl Log {
    /// Four topics of two queues; topic numbers of dropped ones are never used again.
    pub(super) fn queue(&self, n: u32) -> QueueKey {
        key(n / 2 % 4 + 10 * self.generation, n % 2)
    }

    pub(super) fn append(&mut self, queue: QueueKey, twist: Twist) -> Entry {
        let next = self.next.get(&queue).copied().unwrap_or(0);
        let mut entry = plain(next, self.end);
        if twist != Twist::Plain {
            entry.size = 40 + (next * 31 % 120) as u32;
        }
        match twist {
            Twist::Plain => {}
            Twist::Span(count) => entry.count = count,
            Twist::Timed => entry.newest_time = Some((next * 7919 % 61) as i64 - 30),
            // Gaps come from damage, which a start finds before it lets queues begin anywhere.
            Twist::Gap(gap) if !self.starts.contains_key(&queue) => entry.first_offset += gap,
            Twist::Gap(_) => {}
        }
        self.next.insert(queue, entry.next_offset());
        self.records.push((queue, entry));
        self.end += u64::from(entry.size);
        self.boundaries.push(self.end);
        entry
    }

    /// A crash took what lies at and above `end`.
    pub(super) fn cut(&mut self, end: u64) {
        self.records.retain(|(_, entry)| entry.position < end);
        self.boundaries.retain(|boundary| *boundary <= end);
        (self.end, self.flushed) = (end, end);
        // The snapshot is not older than the log's start, so what was emptied before keeps its next offset.
        let mut next = BTreeMap::new();
        for (queue, entry) in &self.records {
            next.insert(*queue, entry.next_offset());
        }
        self.next = next;
    }

    pub(super) fn drop_topic(&mut self, topic: TopicNumber) {
        self.dead.insert(topic);
        self.records.retain(|(queue, _)| queue.topic != topic);
        self.next.retain(|queue, _| queue.topic != topic);
        self.generation += 1;
    }

    pub(super) fn open(&self, disk: &SimDisk, limits: Limits) -> std::io::Result<(QueueIndex, u64)> {
        let (index, covered) =
            QueueIndex::open_with(Arc::new(disk.clone()), &dir(), self.start, self.end, limits)?;
        index.retain_topics(&|topic| !self.dead.contains(&topic));
        let live = self.records.iter().filter(|(_, entry)| entry.position >= covered.max(self.start));
        live.for_each(|(queue, entry)| index.insert(*queue, *entry));
        self.next.iter().for_each(|(queue, next)| index.set_next(*queue, *next));
        self.starts.iter().for_each(|(queue, start)| index.raise_min(*queue, *start));
        Ok((index, covered))
    }

    /// Compares everything that the index says with the log.
    pub(super) fn check(&self, index: &QueueIndex, rng: &mut Rng) {
        let mut by_queue: BTreeMap<QueueKey, Vec<Entry>> =
            self.next.keys().map(|key| (*key, Vec::new())).collect();
        for (queue, entry) in self.records.iter().filter(|(_, entry)| entry.position >= self.start) {
            by_queue.get_mut(queue).unwrap().push(*entry);
        }
        let next: Vec<(QueueKey, u64)> = self.next.iter().map(|(key, next)| (*key, *next)).collect();
        assert_eq!(index.next_offsets(), next);
        for (queue, mut entries) in by_queue {
            let start = self.starts.get(&queue).copied().unwrap_or(0);
            let min = entries.first().map_or(self.next[&queue], |entry| entry.first_offset).max(start);
            entries.retain(|entry| entry.next_offset() > start);
            check_queue(index, queue, &entries, min..self.next[&queue], rng);
        }
    }
}

fn check_queue(
    index: &QueueIndex,
    queue: QueueKey,
    entries: &[Entry],
    Range { start: min, end: next }: Range<u64>,
    rng: &mut Rng,
) {
    assert_eq!(index.offsets(queue), Some(QueueOffsets { min, max: next }), "{queue:?}");
    assert!(index.queues(queue.topic).contains(&queue.queue_id));
    let all = index.lookup(queue, min, usize::MAX, true).unwrap().unwrap();
    assert_eq!(all, entries, "{queue:?}");
    for _ in 0..4 {
        let (offset, max) = (rng.below(next + 3), rng.below(20) as usize);
        let wanted: Vec<Entry> = if (min..next).contains(&offset) {
            entries.iter().filter(|entry| entry.next_offset() > offset).take(max).copied().collect()
        } else {
            Vec::new()
        };
        assert_eq!(index.lookup(queue, offset, max, true).unwrap().unwrap(), wanted, "{queue:?} at {offset}");
        check_sums(index, queue, entries, min, next, rng);
        let below = rng.below(entries.last().map_or(100, |entry| entry.position + 200));
        let starts_below = entries.first().is_some_and(|entry| entry.position < below);
        assert_eq!(index.starts_below(queue, below).unwrap(), starts_below, "{queue:?} below {below}");
        let position =
            entries.get(max).map_or(next * 100, |entry| entry.position) + rng.below(3) - 1.min(max as u64);
        let first =
            entries.iter().find(|entry| entry.position >= position).map_or(next, |e| e.first_offset.max(min));
        assert_eq!(index.first_at(queue, position).unwrap(), Some(first), "{queue:?} from {position}");
    }
}

/// Look-ups by time and size.
fn check_sums(index: &QueueIndex, queue: QueueKey, entries: &[Entry], min: u64, next: u64, rng: &mut Rng) {
    let time = rng.below(70) as i64 - 35;
    let timed = entries.iter().find(|entry| entry.newest_time.is_some_and(|own| own >= time));
    assert_eq!(index.first_timed(queue, time).unwrap().as_ref(), timed, "{queue:?} newer than {time}");
    let times = entries.iter().filter_map(|entry| entry.newest_time);
    let newest = times.max().and_then(|max| entries.iter().find(|entry| entry.newest_time == Some(max)));
    assert_eq!(index.newest_timed(queue).unwrap().as_ref(), newest, "{queue:?}: the newest");
    let untimed = || entries.iter().filter(|entry| entry.newest_time.is_none());
    assert_eq!(index.last_untimed(queue).unwrap().as_ref(), untimed().next_back());
    assert!(index.may_have_untimed(queue) || untimed().next().is_none(), "{queue:?}");
    let from = rng.below(next + 3);
    let first = untimed().find(|entry| entry.next_offset() > from);
    assert_eq!(index.first_untimed(queue, from).unwrap().as_ref(), first, "{queue:?} from {from}");

    let bytes: u64 = entries.iter().map(|entry| u64::from(entry.size)).sum();
    assert_eq!(index.bytes(queue).unwrap(), bytes, "{queue:?}: bytes");
    let bytes_max = rng.below(bytes + 300);
    let mut left = bytes;
    let mut start = min;
    for entry in entries {
        if left <= bytes_max {
            break;
        }
        left -= u64::from(entry.size);
        start = entry.next_offset();
    }
    assert_eq!(index.offset_of_size(queue, bytes_max).unwrap(), start, "{queue:?}: {bytes_max} of {bytes}");
}

/// A file of a directory.
pub(super) type NamedBytes = (String, Vec<u8>);

/// Copies a directory's files to another disk.
pub(super) fn copy_files(files: &[NamedBytes]) -> SimDisk {
    use braid_io::{Disk, OpenMode};
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dir()).unwrap();
    for (name, bytes) in files {
        let file = disk.open(&dir().join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
    disk
}

pub(super) fn path(name: &str) -> PathBuf {
    Path::new(&dir()).join(name)
}
