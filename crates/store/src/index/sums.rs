//! Look-ups by time and by size. Each extent's newest time and bytes are in memory, so that what cannot hold the answer
//! is skipped, and at most a few blocks are read however long the queue is.
//!
//! An entry has a time of its own, or the store time of its record counts, which the index does not know: it never goes
//! back along a queue, so whoever asks finds it by bisection. The two kinds are looked up apart.

use std::io;
use std::sync::Arc;

use braid_io::File;

use super::entry::{Entry, NO_TIME};
use super::queue::{Extent, Queue};
use super::{QueueIndex, entries_of};
use crate::catalog::QueueKey;

/// An extent that must be read, with its file.
type Unread = (Extent, Option<Arc<dyn File>>);

impl QueueIndex {
    /// The first entry whose own time is `time` or later; entries without one are passed over. May wait for the disk, as
    /// all look-ups here.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a block on disk is damaged.
    pub(crate) fn first_timed(&self, key: QueueKey, time: i64) -> io::Result<Option<Entry>> {
        let is_wanted = |entry: &Entry| entry.newest_time.is_some_and(|own| own >= time);
        self.first(key, 0, &|extent| extent.newest_time >= time.max(NO_TIME + 1), &is_wanted)
    }

    /// The first entry that ends behind offset `from` and has no time of its own.
    pub(crate) fn first_untimed(&self, key: QueueKey, from: u64) -> io::Result<Option<Entry>> {
        self.first(key, from, &Extent::has_untimed, &|entry| entry.newest_time.is_none())
    }

    /// The last entry that has no time of its own.
    pub(crate) fn last_untimed(&self, key: QueueKey) -> io::Result<Option<Entry>> {
        let mut end = u64::MAX;
        loop {
            let (unread, min) = {
                let shard = self.shard(key);
                let Some(queue) = shard.queues.get(&key) else { return Ok(None) };
                let mut in_tail =
                    queue.tail.entries().rev().take_while(|entry| entry.next_offset() > queue.min);
                if end == u64::MAX
                    && let Some(entry) = in_tail.find(|entry| entry.newest_time.is_none())
                {
                    return Ok(Some(entry));
                }
                let mut left = queue.settled(end).iter().rev().take_while(|e| e.next_offset() > queue.min);
                let Some(extent) = left.find(|extent| extent.has_untimed()) else { return Ok(None) };
                (self.unread(extent), queue.min)
            };
            let block = self.read(key, &unread)?;
            let packed = entries_of(Some(&block))?;
            let mut entries = packed.entries(unread.0.used()).rev();
            let is_wanted = |entry: &Entry| {
                entry.newest_time.is_none() && entry.first_offset < end && entry.next_offset() > min
            };
            if let Some(entry) = entries.find(is_wanted) {
                return Ok(Some(entry));
            }
            end = unread.0.first_offset;
        }
    }

    /// The entry with the newest time of its own, the first of those that share it.
    pub(crate) fn newest_timed(&self, key: QueueKey) -> io::Result<Option<Entry>> {
        // Of the extent in which the queue begins, not all entries count.
        let mut best: Option<Entry> = None;
        if let Some((unread, min, end)) = self.straddling(key) {
            let block = self.read(key, &unread)?;
            let packed = entries_of(Some(&block))?;
            let counted =
                packed.entries(unread.0.used()).filter(|e| e.next_offset() > min && e.first_offset < end);
            best = newest_of(counted);
        }
        let time_of = |entry: &Option<Entry>| entry.and_then(|entry| entry.newest_time).unwrap_or(NO_TIME);
        let unread = {
            let shard = self.shard(key);
            let Some(queue) = shard.queues.get(&key) else { return Ok(best) };
            let mut newest: Option<&Extent> = None;
            for extent in queue.settled(u64::MAX).iter().filter(|extent| extent.first_offset >= queue.min) {
                if extent.newest_time > newest.map_or(time_of(&best), |newest| newest.newest_time) {
                    newest = Some(extent);
                }
            }
            let in_tail = newest_of(queue.tail.entries().filter(|entry| entry.next_offset() > queue.min));
            if time_of(&in_tail) > newest.map_or(time_of(&best), |newest| newest.newest_time) {
                return Ok(in_tail);
            }
            let Some(newest) = newest else { return Ok(best) };
            self.unread(newest)
        };
        let block = self.read(key, &unread)?;
        let packed = entries_of(Some(&block))?;
        let mut entries = packed.entries(unread.0.used());
        let newest = entries.find(|entry| entry.newest_time == Some(unread.0.newest_time));
        newest.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// False when each entry has a time of its own; costs no look at the disk.
    pub(crate) fn may_have_untimed(&self, key: QueueKey) -> bool {
        let shard = self.shard(key);
        let Some(queue) = shard.queues.get(&key) else { return false };
        let mut left = queue.extents.iter().filter(|extent| extent.next_offset() > queue.min);
        left.any(Extent::has_untimed) || queue.tail.entries().any(|entry| entry.newest_time.is_none())
    }

    /// Bytes of the records from the queue's first offset on.
    pub(crate) fn bytes(&self, key: QueueKey) -> io::Result<u64> {
        let mut bytes = 0;
        if let Some((unread, min, end)) = self.straddling(key) {
            let block = self.read(key, &unread)?;
            let packed = entries_of(Some(&block))?;
            let counted =
                packed.entries(unread.0.used()).filter(|e| e.next_offset() > min && e.first_offset < end);
            bytes = counted.map(|entry| u64::from(entry.size)).sum();
        }
        let shard = self.shard(key);
        let Some(queue) = shard.queues.get(&key) else { return Ok(0) };
        let whole = queue.settled(u64::MAX).iter().filter(|extent| extent.first_offset >= queue.min);
        bytes += whole.map(|extent| extent.bytes).sum::<u64>();
        let in_tail = queue.tail.entries().filter(|entry| entry.next_offset() > queue.min);
        Ok(bytes + in_tail.map(|entry| u64::from(entry.size)).sum::<u64>())
    }

    /// The lowest offset at which an entry begins and from which on the records have at most `bytes_max` bytes; the
    /// queue's first offset when all have no more, its next offset when the newest alone has more.
    pub(crate) fn offset_of_size(&self, key: QueueKey, bytes_max: u64) -> io::Result<u64> {
        let (mut end, mut bytes) = (u64::MAX, 0);
        loop {
            let (unread, min) = {
                let shard = self.shard(key);
                let Some(queue) = shard.queues.get(&key) else { return Ok(0) };
                if end == u64::MAX {
                    let in_tail = queue.tail.entries().rev().take_while(|e| e.next_offset() > queue.min);
                    if let Some(offset) = fill(in_tail, &mut bytes, bytes_max) {
                        return Ok(offset.max(queue.min));
                    }
                }
                let mut next = None;
                for extent in queue.settled(end).iter().rev() {
                    let is_whole = extent.first_offset >= queue.min;
                    if extent.next_offset() <= queue.min {
                        break;
                    }
                    if !is_whole || bytes + extent.bytes > bytes_max {
                        next = Some(extent);
                        break;
                    }
                    (bytes, end) = (bytes + extent.bytes, extent.first_offset);
                }
                let Some(extent) = next else { return Ok(queue.min) };
                end = end.min(queue.tail_start());
                (self.unread(extent), queue.min)
            };
            let block = self.read(key, &unread)?;
            let packed = entries_of(Some(&block))?;
            let entries = packed.entries(unread.0.used()).rev();
            let left = entries.filter(|e| e.first_offset < end && e.next_offset() > min);
            if let Some(offset) = fill(left, &mut bytes, bytes_max) {
                return Ok(offset.max(min));
            }
            end = unread.0.first_offset;
        }
    }

    /// The first entry that ends behind offset `from`, lies in an extent that may hold one, and is wanted.
    fn first(
        &self,
        key: QueueKey,
        from: u64,
        may_hold: &dyn Fn(&Extent) -> bool,
        is_wanted: &dyn Fn(&Entry) -> bool,
    ) -> io::Result<Option<Entry>> {
        let mut at = from;
        loop {
            let unread = {
                let shard = self.shard(key);
                let Some(queue) = shard.queues.get(&key) else { return Ok(None) };
                at = at.max(queue.min);
                let settled = queue.settled(u64::MAX);
                let behind = settled.partition_point(|extent| extent.next_offset() <= at);
                match settled[behind..].iter().find(|extent| may_hold(extent)) {
                    Some(extent) => self.unread(extent),
                    None => {
                        let mut left = queue.tail.entries().skip(queue.tail.index_of(at));
                        return Ok(left.find(is_wanted));
                    }
                }
            };
            let block = self.read(key, &unread)?;
            let packed = entries_of(Some(&block))?;
            let mut left = packed.entries(unread.0.used()).skip(packed.index_of(at, unread.0.used()));
            if let Some(entry) = left.find(is_wanted) {
                return Ok(Some(entry));
            }
            at = unread.0.next_offset();
        }
    }

    /// The extent of which only a part counts, since the queue begins inside it, with the offsets between which its
    /// entries count.
    fn straddling(&self, key: QueueKey) -> Option<(Unread, u64, u64)> {
        let shard = self.shard(key);
        let queue = shard.queues.get(&key)?;
        let settled = queue.settled(u64::MAX);
        let extent = settled.get(settled.partition_point(|extent| extent.next_offset() <= queue.min))?;
        let counts = extent.first_offset < queue.min;
        counts.then(|| (self.unread(extent), queue.min, queue.tail_start()))
    }

    fn unread(&self, extent: &Extent) -> Unread {
        (*extent, self.journal.handle(extent.place().0))
    }

    fn read(&self, key: QueueKey, (extent, handle): &Unread) -> io::Result<Arc<[u8]>> {
        let block = self.journal.block(key, extent, handle.as_deref(), true)?;
        block.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Queue {
    /// Where the tail begins; above all offsets when it is empty.
    fn tail_start(&self) -> u64 {
        if self.tail.is_empty() { u64::MAX } else { self.tail.first_offset() }
    }

    /// Extents that begin before the tail and below `end`: the others hold nothing that the tail does not hold too.
    fn settled(&self, end: u64) -> &[Extent] {
        let end = end.min(self.tail_start());
        &self.extents[..self.extents.partition_point(|extent| extent.first_offset < end)]
    }
}

/// The entry with the newest time of its own, the first of those that share it.
fn newest_of(entries: impl Iterator<Item = Entry>) -> Option<Entry> {
    let timed = entries.filter(|entry| entry.newest_time.is_some());
    timed.reduce(|best, entry| if entry.newest_time > best.newest_time { entry } else { best })
}

/// Adds up sizes from the newest entry back; gives the offset behind the first entry that does not fit any more.
fn fill(newest_first: impl Iterator<Item = Entry>, bytes: &mut u64, bytes_max: u64) -> Option<u64> {
    for entry in newest_first {
        if *bytes + u64::from(entry.size) > bytes_max {
            return Some(entry.next_offset());
        }
        *bytes += u64::from(entry.size);
    }
    None
}
