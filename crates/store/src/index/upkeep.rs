//! What moves entries from memory to the journal, and files away.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;

use super::block::{self, Body, Kind};
use super::cache::Place;
use super::entry::Run;
use super::journal::Writer;
use super::queue::{Extent, Queue};
use super::replay::{self, Queues};
use super::{QueueIndex, Shard, lock};
use crate::catalog::QueueKey;

/// Eviction goes on until this part of the bound is free.
const EVICT_PART: usize = 64;
/// Queues in use that one eviction may pass over; then they are evicted as others.
const EVICT_PASSES_MAX: usize = 4096;
/// Queues whose entries a checkpoint appends before it lets the dispatcher have the journal.
const CHECKPOINT_BATCH: usize = 64;
/// Which extents that overlap the tail are written anew together with its dirty part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// All of them: the tail leaves memory, and one extent shall remain.
    All,
    /// Those at most twice as long as what is written with them, so that an entry is written again only a
    /// logarithmic number of times.
    Small,
}

impl QueueIndex {
    /// Takes over what the journal holds below `end`.
    pub(super) fn take_over(&self, mut queues: Queues, end: u64) -> io::Result<()> {
        let before: BTreeSet<(Place, usize)> = live_blocks(&queues).collect();
        let any = replay::cut(&mut queues, end, &mut |queue, extent| {
            let handle = self.journal.handle(extent.place().0).ok_or(io::ErrorKind::NotFound)?;
            replay::used_below(&*handle, queue, extent, end)
        })?;
        let mut writer = self.journal.writer();
        if any {
            let after: BTreeSet<(Place, usize)> = live_blocks(&queues).collect();
            before.difference(&after).for_each(|((file, _), bytes)| writer.dead(*file, *bytes));
            self.journal.append_mark(&mut writer, Kind::Cut { position: end });
        }
        drop(writer);
        for (key, mut extents) in queues {
            extents.shrink_to_fit();
            let mut shard = self.shard(key);
            let queue = self.add(&mut shard.queues, key, extents[0].first_offset);
            queue.next = extents[extents.len() - 1].next_offset();
            let before = queue.heap_bytes();
            queue.extents = extents;
            self.queue_bytes.fetch_add(queue.heap_bytes() - before, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes a queue's tail and empties it.
    pub(super) fn seal(&self, key: QueueKey) {
        let mut writer = self.journal.writer();
        self.move_tail(&mut writer, &mut self.shard(key), key);
        self.journal.write_if_large(&mut writer);
    }

    /// Takes tails out of memory until it is below its bound: those first that got nothing since the last visit.
    pub(super) fn evict(&self) {
        let enough = self.limits.tail_bytes_max - self.limits.tail_bytes_max / EVICT_PART;
        let mut writer = self.journal.writer();
        let mut passes = 0;
        while self.tail_bytes.load(Ordering::Relaxed) > enough {
            let Some(key) = lock(&self.ring).pop_front() else { break };
            let mut shard = self.shard(key);
            let Some(queue) = shard.queues.get_mut(&key) else { continue };
            if queue.touched && passes < EVICT_PASSES_MAX {
                passes += 1;
                queue.touched = false;
                lock(&self.ring).push_back(key);
                continue;
            }
            queue.in_ring = false;
            self.move_tail(&mut writer, &mut shard, key);
            drop(shard);
            self.journal.write_if_large(&mut writer);
        }
    }

    /// Appends what is dirty and forgets the tail.
    fn move_tail(&self, writer: &mut Writer, shard: &mut Shard, key: QueueKey) {
        let Some(queue) = shard.queues.get_mut(&key) else { return };
        let len = queue.tail.len();
        self.append_tail(writer, key, queue, len, Merge::All);
        self.tail_bytes.fetch_sub(queue.tail.heap_bytes(), Ordering::Relaxed);
        queue.tail = Run::EMPTY;
        queue.clean = 0;
    }

    /// Appends the first `upto` entries of a queue's tail as far as they are not on disk, or not in one extent.
    fn append_tail(&self, writer: &mut Writer, key: QueueKey, queue: &mut Queue, upto: usize, merge: Merge) {
        let clean = queue.clean as usize;
        let (mut start, mut kept) = (clean, queue.extents.len());
        while let Some(extent) = kept.checked_sub(1).map(|last| queue.extents[last]) {
            let is_inside = start >= extent.used() && extent.first_offset >= queue.tail.first_offset();
            if !is_inside || (merge == Merge::Small && extent.used() > 2 * upto.saturating_sub(start)) {
                break;
            }
            start -= extent.used();
            kept -= 1;
            assert_eq!(
                queue.tail.get(start).first_offset,
                extent.first_offset,
                "extents follow the tail's entries"
            );
        }
        let is_whole = kept + 1 >= queue.extents.len() || merge == Merge::Small;
        if upto <= clean && is_whole {
            return;
        }
        let before = queue.heap_bytes();
        for extent in queue.extents.drain(kept..) {
            writer.dead(extent.place().0, extent.block_bytes());
        }
        let (place, head) =
            self.journal.append_run(writer, key, &queue.tail, start..upto, merge == Merge::All);
        let sum = queue.tail.sum(start..upto);
        queue.push_extent(Extent::new(place, &head, queue.tail.shape(), upto - start, sum));
        self.queue_bytes.fetch_add(queue.heap_bytes(), Ordering::Relaxed);
        self.queue_bytes.fetch_sub(before, Ordering::Relaxed);
        queue.clean = upto as u32;
    }

    /// Forgets a queue.
    pub(super) fn forget(&self, writer: &mut Writer, key: QueueKey) {
        let queue = self.shard(key).queues.remove(&key);
        if let Some(queue) = queue {
            let tail_bytes = queue.tail.heap_bytes();
            self.tail_bytes.fetch_sub(tail_bytes, Ordering::Relaxed);
            self.queue_bytes.fetch_sub(queue.heap_bytes() - tail_bytes, Ordering::Relaxed);
            queue.extents.iter().for_each(|extent| writer.dead(extent.place().0, extent.block_bytes()));
        }
    }

    /// Makes the index durable up to `covered`, a record boundary up to which the log is flushed and dispatched.
    ///
    /// # Errors
    /// The disk's; the index still answers from memory, and covers what it covered before.
    pub(crate) fn checkpoint(&self, covered: u64) -> io::Result<()> {
        let _alone = lock(&self.upkeep);
        {
            let writer = self.journal.writer();
            let newest = writer.checkpoint.map_or(0, |(newest, _)| newest);
            assert!(newest <= covered, "covered {newest} already, now {covered}");
            if writer.is_settled(covered) {
                return Ok(());
            }
        }
        self.append_dirty(covered);
        if let Err(error) = self.compact() {
            // What could not be copied stays where it is.
            tracing::warn!(%error, "a file of the queue index could not be compacted");
        }
        self.journal.checkpoint(covered)?;
        self.journal.remove_unneeded()
    }

    /// True when a sync of the journal failed: no checkpoint succeeds until the index is opened anew.
    pub(crate) fn is_given_up(&self) -> bool {
        self.journal.writer().is_given_up()
    }

    /// Appends all entries below `covered` that are not on disk.
    fn append_dirty(&self, covered: u64) {
        for shard in &self.shards {
            let keys = std::mem::take(&mut lock(shard).dirty);
            for batch in keys.chunks(CHECKPOINT_BATCH) {
                let mut writer = self.journal.writer();
                for key in batch {
                    self.append_queue(&mut writer, &mut lock(shard), *key, covered);
                }
                self.journal.write_if_large(&mut writer);
            }
        }
    }

    fn append_queue(&self, writer: &mut Writer, shard: &mut Shard, key: QueueKey, covered: u64) {
        let Some(queue) = shard.queues.get_mut(&key) else { return };
        let upto = queue.tail.index_at(covered);
        self.append_tail(writer, key, queue, upto, Merge::Small);
        if queue.dirty() > 0 {
            shard.dirty.push(key);
            return;
        }
        queue.listed = false;
        let before = queue.tail.heap_bytes();
        queue.tail.shrink();
        self.tail_bytes.fetch_sub(before - queue.tail.heap_bytes(), Ordering::Relaxed);
    }

    /// Forgets entries whose record lies below `log_start`, and raises the queues' first offsets. May wait for the
    /// disk, to look where in a block the log starts now; where a block can't be read, the first offset stays too low.
    ///
    /// # Errors
    /// The disk's, when files that are not needed any more could not be removed: the next call tries again.
    pub(crate) fn trim(&self, log_start: u64) -> io::Result<()> {
        let _alone = lock(&self.upkeep);
        for key in self.keys(|_| true) {
            if let Err(error) = self.trim_queue(key, log_start) {
                tracing::warn!(%error, ?key, "the first offset of a queue is not known exactly");
            }
        }
        let covered = {
            let writer = self.journal.writer();
            let wanted = writer.has_unneeded() && !writer.is_given_up();
            writer.checkpoint.filter(|_| wanted).map(|(covered, _)| covered)
        };
        if let Some(covered) = covered {
            self.journal.checkpoint(covered)?;
            self.journal.remove_unneeded()?;
        }
        Ok(())
    }

    fn trim_queue(&self, key: QueueKey, log_start: u64) -> io::Result<()> {
        loop {
            let Some(extent) = self.trim_whole(key, log_start) else { return Ok(()) };
            let handle = self.journal.handle(extent.place().0);
            let place = extent.place();
            let block = self.journal.block(key, &extent, handle.as_deref(), true)?;
            let Some(Body::Extent(_, packed)) = block.as_deref().and_then(block::parse_checked) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let gone = packed.index_at(log_start, extent.used());
            let mut shard = self.shard(key);
            let Some(queue) = shard.queues.get_mut(&key) else { return Ok(()) };
            match queue.extents.first_mut() {
                Some(first) if first.place() == place && gone < extent.used() => {
                    queue.min = queue.min.max(packed.get(gone).first_offset);
                    return Ok(());
                }
                // A cut extent only knows a bound of its last position; now it is known to be gone.
                Some(first) if first.place() == place => first.last_position = log_start - 1,
                // Meanwhile the dispatcher put a longer extent in the place of this one: look again.
                _ => {}
            }
        }
    }

    /// Forgets what is wholly below `log_start`; gives the extent that must be read to know the queue's first offset.
    fn trim_whole(&self, key: QueueKey, log_start: u64) -> Option<Extent> {
        if self.shard(key).queues.get(&key)?.first_position().is_none_or(|first| first >= log_start) {
            return None;
        }
        let mut writer = self.journal.writer();
        let mut shard = self.shard(key);
        let queue = shard.queues.get_mut(&key)?;
        let tail_bytes = queue.tail.heap_bytes();
        let before = queue.heap_bytes() - tail_bytes;
        let gone = queue.extents.partition_point(|extent| extent.last_position < log_start);
        for extent in queue.extents.drain(..gone) {
            writer.dead(extent.place().0, extent.block_bytes());
        }
        if gone > 0 {
            queue.extents.shrink_to_fit();
        }
        let gone = queue.tail.index_at(log_start);
        if gone > 0 {
            queue.tail.drop_front(gone);
            queue.tail.shrink();
            queue.clean = queue.clean.saturating_sub(gone as u32);
        }
        let tail_left = queue.tail.heap_bytes();
        self.tail_bytes.fetch_sub(tail_bytes - tail_left, Ordering::Relaxed);
        self.queue_bytes.fetch_sub(before - (queue.heap_bytes() - tail_left), Ordering::Relaxed);
        match queue.first_left(log_start) {
            Some(min) => {
                queue.min = queue.min.max(min);
                None
            }
            None => queue.extents.first().copied(),
        }
    }
}

/// Place and bytes of each block that the queues name.
fn live_blocks(queues: &Queues) -> impl Iterator<Item = (Place, usize)> + '_ {
    queues.values().flatten().map(|extent| (extent.place(), extent.block_bytes()))
}
