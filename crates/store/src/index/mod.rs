//! The queue index: from (queue, offset) to the record's place in the log. Derived: the log can rebuild it.
//!
//! ```text
//!  insert ──► tail (newest entries of a queue) ──seal, evict, checkpoint──► extent ──► journal (shared files)
//!                    │                                                        ▲
//!  lookup ───────────┴─ not there: directory of extents ── block cache ── pread
//! ```
//!
//! * [`entry`]: an entry, and a run of them: 20 bytes each where every offset is one record, 40 elsewhere.
//! * [`queue`]: a queue's directory of extents and its tail. [`block`]: the bytes of an extent and of the marks.
//! * [`journal`]: shared append-only files, never one per queue. [`replay`]: reading them at opening.
//! * [`upkeep`]: what moves entries from memory to disk: sealing, eviction, checkpoint; and trimming.
//! * [`compact`]: what keeps the journal short. [`sums`]: look-ups by time and by size, which skip whole extents.
//!
//! Locks are taken in this order: upkeep, writer of the journal, shard, and then one of the leaves (ring,
//! file handles, cache). No lock of a shard is held while the disk works, so a reader waits for nobody's I/O.
//!
//! The order of blocks in the journal is the order in which the directory changed, since both change under the
//! writer's lock. That makes replay simple: a block replaces what its queue had in its range of offsets.

mod block;
mod cache;
mod compact;
mod entry;
mod journal;
mod queue;
mod replay;
mod sums;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use braid_io::{Disk, File};

use crate::catalog::{QueueKey, TopicNumber};
use crate::read::QueueOffsets;
use block::Body;
use entry::Packed;
use journal::Journal;
use queue::{Extent, FirstAt, Queue, StartsBelow};

pub(crate) use entry::Entry;

/// Locks that queues are spread over.
const SHARDS: usize = 64;

/// The bounds of an index; tests shrink them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of newest entries in memory, all queues together.
    pub(crate) tail_bytes_max: usize,
    /// Bytes of blocks in memory, for readers of older entries.
    pub(crate) cache_bytes_max: usize,
    /// Length at which a journal file is full.
    pub(crate) file_bytes: u64,
    /// Bytes of the journal that are collected before they are written.
    pub(crate) write_bytes: usize,
    /// Entries of the longest extents; a block's length bounds them too.
    pub(crate) dense_entries_max: usize,
    pub(crate) wide_entries_max: usize,
    /// Extents that may be short; from there on they are merged, since each costs memory.
    pub(crate) short_extents_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tail_bytes_max: 64 << 20,
            cache_bytes_max: 16 << 20,
            file_bytes: 16 << 20,
            write_bytes: 1 << 20,
            dense_entries_max: 800,
            wide_entries_max: 400,
            short_extents_max: 1 << 17,
        }
    }
}

type Queues = HashMap<QueueKey, Box<Queue>, Mix>;

#[derive(Debug, Default)]
struct Shard {
    queues: Queues,
    /// Queues with entries that are not on disk, in the order in which they got them; may name queues that have none.
    dirty: Vec<QueueKey>,
}

/// Entries of every queue of one log.
///
/// One thread at a time inserts (the dispatcher, in log order), one at a time trims and checkpoints; any thread reads.
/// Readers never wait for a write or a sync.
pub(crate) struct QueueIndex {
    shards: Box<[Mutex<Shard>]>,
    /// Queues with a tail, in the order in which eviction visits them; may name queues that have none.
    ring: Mutex<VecDeque<QueueKey>>,
    journal: Journal,
    limits: Limits,
    /// Heap of all tails.
    tail_bytes: AtomicUsize,
    /// Heap of all queues, their tails left out.
    queue_bytes: AtomicUsize,
    upkeep: Mutex<()>,
}

impl QueueIndex {
    /// Loads what is on disk in `dir` (made when missing), and gives the position up to which the log is covered:
    /// every record below it is indexed, none at or above it, and the caller inserts from there on. 0 when nothing
    /// usable is there. Entries below `log_start` and at or above `log_end` are dropped. Should the caller's scan then
    /// end below the position given, it opens again with the real end.
    ///
    /// # Errors
    /// The disk's. Missing, torn or damaged files are no error: they cover less.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_start: u64,
        log_end: u64,
    ) -> io::Result<(Self, u64)> {
        Self::open_with(disk, dir, log_start, log_end, Limits::default())
    }

    /// As [`open`](Self::open), with other bounds.
    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_start: u64,
        log_end: u64,
        limits: Limits,
    ) -> io::Result<(Self, u64)> {
        assert!(
            block::extent_bytes(entry::Shape::Dense, limits.dense_entries_max) <= block::BLOCK_BYTES_MAX
                && block::extent_bytes(entry::Shape::Wide, limits.wide_entries_max) <= block::BLOCK_BYTES_MAX,
            "an extent fits into a block"
        );
        make_dir(&*disk, dir)?;
        let loaded = replay::load(&*disk, dir)?;
        let covered = loaded.checkpoint.map_or(0, |(covered, _)| covered);
        let journal = Journal::new(disk, dir, limits, &loaded);
        let index = Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            ring: Mutex::default(),
            journal,
            limits,
            tail_bytes: AtomicUsize::new(0),
            queue_bytes: AtomicUsize::new(0),
            upkeep: Mutex::default(),
        };
        let end = covered.min(log_end);
        index.take_over(loaded.queues, end)?;
        if end < covered {
            // The log lost what was indexed. Were that forgotten, entries of what is lost would stand for what is
            // written there next.
            index.journal.checkpoint(end)?;
        }
        index.trim(log_start)?;
        Ok((index, end))
    }

    /// Enters a record, in log order. It takes the queue's next offset, or a later one where damage left a gap.
    /// Errors of the journal come out at the next [`checkpoint`](Self::checkpoint); nothing is forgotten meanwhile.
    ///
    /// # Panics
    /// When the offset is below the queue's next, or the count is 0.
    pub(crate) fn insert(&self, queue: QueueKey, entry: Entry) {
        let mut pushed = self.push(queue, &entry);
        if !pushed {
            self.seal(queue);
            pushed = self.push(queue, &entry);
        }
        assert!(pushed, "an empty tail takes any entry");
        if self.tail_bytes.load(Ordering::Relaxed) > self.limits.tail_bytes_max {
            self.evict();
        }
    }

    /// False when the queue's tail must be sealed first.
    fn push(&self, key: QueueKey, entry: &Entry) -> bool {
        let mut shard = self.shard(key);
        let Shard { queues, dirty } = &mut *shard;
        let queue = match queues.get_mut(&key) {
            Some(queue) => queue,
            None => self.add(queues, key, entry.first_offset),
        };
        assert!(entry.first_offset >= queue.next && entry.count > 0, "{entry:?} after offset {}", queue.next);
        if !queue.tail.accepts(entry, &self.limits) {
            return false;
        }
        let before = queue.tail.heap_bytes();
        queue.tail.push(entry, entry.first_offset != queue.next, &self.limits);
        let after = queue.tail.heap_bytes();
        if queue.min == queue.next {
            // The queue was empty: a gap is no part of it.
            queue.min = entry.first_offset;
        }
        queue.next = entry.next_offset();
        if !queue.listed {
            queue.listed = true;
            dirty.push(key);
        }
        if queue.in_ring {
            queue.touched = true;
        } else {
            // One entry is no use yet: queues that get no second one soon go first.
            (queue.in_ring, queue.touched) = (true, false);
            lock(&self.ring).push_back(key);
        }
        if after != before {
            self.tail_bytes.fetch_add(after - before, Ordering::Relaxed);
        }
        true
    }

    /// First and next offset; `None` for a queue that never had a record.
    pub(crate) fn offsets(&self, queue: QueueKey) -> Option<QueueOffsets> {
        self.shard(queue).queues.get(&queue).map(|state| QueueOffsets { min: state.min, max: state.next })
    }

    /// The ids of a topic's known queues, ascending. Looks at every queue there is: not for each message.
    pub(crate) fn queues(&self, topic: TopicNumber) -> Vec<u32> {
        self.keys(|key| key.topic == topic).into_iter().map(|key| key.queue_id).collect()
    }

    /// Every known queue with its next offset, in key order: what a snapshot keeps.
    pub(crate) fn next_offsets(&self) -> Vec<(QueueKey, u64)> {
        self.keys(|_| true)
            .into_iter()
            .filter_map(|key| self.shard(key).queues.get(&key).map(|queue| (key, queue.next)))
            .collect()
    }

    /// Raises a queue's next offset to `next`, for queues whose newest records retention took. To be called when the
    /// log has been scanned, since a lower offset can't be inserted after it.
    pub(crate) fn set_next(&self, queue: QueueKey, next: u64) {
        let mut shard = self.shard(queue);
        let state = match shard.queues.get_mut(&queue) {
            Some(state) => state,
            None => self.add(&mut shard.queues, queue, next),
        };
        if next > state.next {
            if state.min == state.next {
                state.min = next;
            }
            state.next = next;
        }
    }

    /// Raises a queue's first offset to `min`, or to its next offset if that is lower. What lies below stays in the
    /// index, out of sight, until the log gives it up.
    pub(crate) fn raise_min(&self, queue: QueueKey, min: u64) {
        let mut shard = self.shard(queue);
        if let Some(state) = shard.queues.get_mut(&queue) {
            state.min = state.min.max(min.min(state.next));
        }
    }

    /// Up to `entries_max` entries from `offset` on; the one that covers `offset` comes first, even when it begins
    /// below. Empty below the queue's first offset, from its next offset on, and for unknown queues. Fewer than
    /// `entries_max` when the queue ends or, without `may_wait`, when the rest would have to wait for the device.
    ///
    /// `None` when already the first entry would have to wait: ask again with `may_wait` on a thread that may.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a block on disk is damaged.
    pub(crate) fn lookup(
        &self,
        queue: QueueKey,
        offset: u64,
        entries_max: usize,
        may_wait: bool,
    ) -> io::Result<Option<Vec<Entry>>> {
        let mut found = Vec::new();
        let mut at = offset;
        while found.len() < entries_max {
            let is_first = at == offset;
            let Some((extent, handle)) = self.find(queue, &mut at, is_first, entries_max, &mut found) else {
                break;
            };
            match self.journal.block(queue, &extent, handle.as_deref(), may_wait)? {
                Some(block) => take_entries(&block, &extent, at, entries_max, &mut found),
                None if found.is_empty() => return Ok(None),
                None => break,
            }
            at = extent.next_offset();
        }
        Ok(Some(found))
    }

    /// The first offset of a queue whose record lies at or above a position of the log; its next offset when none does.
    /// `None` for an unknown queue. May wait for the disk.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a block on disk is damaged.
    pub(crate) fn first_at(&self, key: QueueKey, position: u64) -> io::Result<Option<u64>> {
        let mut passed = 0;
        loop {
            let (extent, handle) = {
                let shard = self.shard(key);
                let Some(queue) = shard.queues.get(&key) else { return Ok(None) };
                match queue.first_at(position, passed) {
                    FirstAt::Offset(offset) => return Ok(Some(offset.max(queue.min))),
                    FirstAt::In(extent) => (extent, self.journal.handle(extent.place().0)),
                }
            };
            let block = self.journal.block(key, &extent, handle.as_deref(), true)?;
            let packed = entries_of(block.as_deref())?;
            let at = packed.index_at(position, extent.used());
            if at < extent.used() {
                let min = self.offsets(key).map_or(0, |offsets| offsets.min);
                return Ok(Some(packed.get(at).first_offset.max(min)));
            }
            // Of a cut extent only a bound of its last position is known.
            passed = extent.next_offset();
        }
    }

    /// True when the queue has an entry whose record begins below a position of the log, its own start regarded. May
    /// wait for the disk.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a block on disk is damaged.
    pub(crate) fn starts_below(&self, key: QueueKey, position: u64) -> io::Result<bool> {
        let (extent, handle, min) = {
            let shard = self.shard(key);
            let Some(queue) = shard.queues.get(&key) else { return Ok(false) };
            match queue.starts_below(position) {
                StartsBelow::Known(answer) => return Ok(answer),
                StartsBelow::In(extent) => (extent, self.journal.handle(extent.place().0), queue.min),
            }
        };
        let block = self.journal.block(key, &extent, handle.as_deref(), true)?;
        let packed = entries_of(block.as_deref())?;
        let at = packed.index_of(min, extent.used());
        Ok(at < extent.used() && packed.get(at).position < position)
    }

    /// The queues of topics that are wanted, in key order. Looks at every queue there is.
    pub(crate) fn queues_of(&self, is_wanted: impl Fn(TopicNumber) -> bool) -> Vec<QueueKey> {
        self.keys(|key| is_wanted(key.topic))
    }

    /// Takes entries from the tail and ends there, or gives the extent to read next. Moves `at` over what is gone.
    fn find(
        &self,
        key: QueueKey,
        at: &mut u64,
        is_first: bool,
        entries_max: usize,
        found: &mut Vec<Entry>,
    ) -> Option<(Extent, Option<Arc<dyn File>>)> {
        let shard = self.shard(key);
        let queue = shard.queues.get(&key)?;
        if *at >= queue.next || (is_first && *at < queue.min) {
            return None;
        }
        *at = (*at).max(queue.min);
        let in_tail = !queue.tail.is_empty() && *at >= queue.tail.first_offset();
        match queue.extent_at(*at) {
            Some(extent) if !in_tail => Some((*extent, self.journal.handle(extent.place().0))),
            _ => {
                let from = queue.tail.index_of(*at);
                let to = queue.tail.len().min(from.saturating_add(entries_max - found.len()));
                found.reserve_exact(to - from);
                found.extend((from..to).map(|at| queue.tail.get(at)));
                None
            }
        }
    }

    /// Forgets a topic and its queues.
    pub(crate) fn drop_topic(&self, topic: TopicNumber) {
        let keys = self.keys(|key| key.topic == topic);
        if keys.is_empty() {
            return;
        }
        let mut writer = self.journal.writer();
        for key in keys {
            self.forget(&mut writer, key);
        }
        self.journal.append_mark(&mut writer, block::Kind::Dropped { topic });
        self.journal.write_if_large(&mut writer);
    }

    /// Forgets the topics that are not `alive`: to be called after opening, since files may be older than a deletion.
    pub(crate) fn retain_topics(&self, alive: &dyn Fn(TopicNumber) -> bool) {
        let topics: BTreeSet<TopicNumber> = self.keys(|_| true).iter().map(|key| key.topic).collect();
        topics.into_iter().filter(|topic| !alive(*topic)).for_each(|topic| self.drop_topic(topic));
    }

    /// Bytes of memory that the index holds: the heap of tails, directory and cache, the allocator's own included.
    #[allow(dead_code, reason = "a figure for tests and the cost example")]
    pub(crate) fn memory_bytes(&self) -> u64 {
        let tables: usize = self.shards.iter().map(|shard| shard_bytes(&lock(shard))).sum();
        let ring = lock(&self.ring).capacity() * size_of::<QueueKey>();
        let counted = self.tail_bytes.load(Ordering::Relaxed) + self.queue_bytes.load(Ordering::Relaxed);
        (tables + ring + counted + self.journal.memory_bytes()) as u64
    }

    /// The known queues that are wanted, in key order.
    fn keys(&self, is_wanted: impl Fn(&QueueKey) -> bool) -> Vec<QueueKey> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            keys.extend(lock(shard).queues.keys().copied().filter(&is_wanted));
        }
        keys.sort_unstable();
        keys
    }

    fn shard(&self, key: QueueKey) -> MutexGuard<'_, Shard> {
        // The map inside the shard uses the hash's other bits.
        lock(&self.shards[(hash_of(key) >> 40) as usize % SHARDS])
    }

    fn add<'a>(&self, queues: &'a mut Queues, key: QueueKey, first_offset: u64) -> &'a mut Queue {
        let queue = Box::new(Queue::starting_at(first_offset));
        self.queue_bytes.fetch_add(queue.heap_bytes(), Ordering::Relaxed);
        queues.entry(key).or_insert(queue)
    }
}

/// The entries of a block that was read with leave to wait.
fn entries_of(block: Option<&[u8]>) -> io::Result<Packed<'_>> {
    match block.and_then(block::parse_checked) {
        Some(Body::Extent(_, packed)) => Ok(packed),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Copies entries that end behind `at` out of a checked block.
fn take_entries(block: &[u8], extent: &Extent, at: u64, entries_max: usize, found: &mut Vec<Entry>) {
    let Some(Body::Extent(_, packed)) = block::parse_checked(block) else { return };
    let from = packed.index_of(at, extent.used());
    let to = extent.used().min(from.saturating_add(entries_max - found.len()));
    found.reserve_exact(to - from);
    found.extend((from..to).map(|at| packed.get(at)));
}

/// Makes a directory with its parents, so that no crash takes away those that were missing.
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| disk.list(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    disk.create_dir_all(dir)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(|parent| disk.sync_dir(parent))
}

/// Memory of a shard's tables.
fn shard_bytes(shard: &Shard) -> usize {
    // Seven of eight buckets may be used; each has the pair and a control byte.
    let buckets = shard.queues.capacity() * 8 / 7;
    buckets * (size_of::<(QueueKey, Box<Queue>)>() + 1) + shard.dirty.capacity() * size_of::<QueueKey>()
}

/// Bytes that the allocator takes for `capacity` values: 8 of its own, in steps of 16.
fn heap_bytes<T>(capacity: usize) -> usize {
    if capacity == 0 { 0 } else { (capacity * size_of::<T>() + 8).next_multiple_of(16) }
}

/// Makes room for one more by a fifth, at least `step` and at most `max` in all: most queues are short, and doubling
/// would waste half of what they hold.
fn reserve<T>(values: &mut Vec<T>, step: usize, max: usize) {
    if values.len() == values.capacity() {
        let more = (values.len() / 5).max(step).min(max.saturating_sub(values.len())).max(1);
        values.reserve_exact(more);
    }
}

/// A hash without a random seed, so that runs repeat; finished by SplitMix64's mix.
#[derive(Debug, Default, Clone, Copy)]
struct MixHasher(u64);

type Mix = BuildHasherDefault<MixHasher>;

impl Hasher for MixHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = self.0.rotate_left(32).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(value);
    }

    fn finish(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn hash_of(key: QueueKey) -> u64 {
    let mut hasher = MixHasher::default();
    hasher.write_u32(key.topic.0);
    hasher.write_u32(key.queue_id);
    hasher.finish()
}

/// Locks; what a panicking holder left is whole, since each change under these locks is made last or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
