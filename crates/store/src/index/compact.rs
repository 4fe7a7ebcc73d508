//! Copying what counts in the oldest file to the journal's end, so that the file can go.
//!
//! It is due when more than half of the journal is dead, and when the directory has many short extents: 100,000 queues
//! in turn leave a few dozen entries in each, and every extent costs memory. What is copied is merged with its
//! neighbours, from whatever file, as far as an extent may be long.

use std::collections::BTreeSet;
use std::io;

use super::QueueIndex;
use super::block::{self, BLOCK_BYTES_MAX, Body, ExtentHead};
use super::cache::Place;
use super::entry::{Packed, Shape, Sum};
use super::journal::Writer;
use super::queue::Extent;
use crate::catalog::QueueKey;

/// Journal files that may hold nothing but dead blocks before compaction starts, beside as many as are live.
const SLACK_FILES: u64 = 2;
/// Extents of fewer bytes than this on average are short.
const SHORT_BYTES: u64 = 2048;

/// How far the copying goes that makes short extents longer.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// Files up to this one are to be copied.
    until: Option<u32>,
    /// Extents when it ended last: most of them could not be merged.
    extents_after: usize,
}

impl QueueIndex {
    /// Copies the oldest file, if that is due. One file at a time, since it may be as much as a file's length of work.
    pub(super) fn compact(&self) -> io::Result<()> {
        let Some(file) = self.file_to_compact() else { return Ok(()) };
        self.journal.write(&mut self.journal.writer())?;
        for (queue, first_offset, place) in self.live_in(file)? {
            self.copy(queue, first_offset, place)?;
            self.journal.write_if_large(&mut self.journal.writer());
        }
        Ok(())
    }

    fn file_to_compact(&self) -> Option<u32> {
        let mut writer = self.journal.writer();
        let (bytes, live) = writer
            .files
            .values()
            .fold((0, 0), |(bytes, live), count| (bytes + count.bytes, live + count.live));
        let is_half_dead = bytes > 2 * live + SLACK_FILES * self.limits.file_bytes;
        let has_short = self.has_short_extents(&mut writer, live);
        let oldest = *writer.files.keys().next()?;
        (writer.files.len() > 1 && (is_half_dead || has_short)).then_some(oldest)
    }

    /// True while a pass over the files goes on that began because of short extents. The next one begins when there
    /// are twice as many as it left, so that queues which are short in themselves are not copied for ever.
    fn has_short_extents(&self, writer: &mut Writer, live: u64) -> bool {
        let (Some(&oldest), Some(&newest)) = (writer.files.keys().next(), writer.files.keys().next_back())
        else {
            return false;
        };
        if writer.merging.until.is_some_and(|until| until < oldest) {
            writer.merging = Merging { until: None, extents_after: writer.extents };
        }
        let extents = writer.extents;
        let begins = extents >= self.limits.short_extents_max.max(2 * writer.merging.extents_after)
            && live / (extents as u64) < SHORT_BYTES;
        if writer.merging.until.is_none() && begins {
            writer.merging.until = Some(newest);
        }
        writer.merging.until.is_some()
    }

    /// The extents of a file that the directory names.
    fn live_in(&self, file: u32) -> io::Result<BTreeSet<(QueueKey, u64, Place)>> {
        let bytes = self.journal.read_file(file)?;
        let mut live = BTreeSet::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..(at + BLOCK_BYTES_MAX).min(bytes.len())];
            let block = block::parse(rest).ok_or(io::ErrorKind::InvalidData)?;
            if let Body::Extent(head, _) = block.body {
                let place = (file, at as u32);
                if !self.neighbours(head.queue, head.first_offset, place).is_empty() {
                    live.insert((head.queue, head.first_offset, place));
                }
            }
            at += block.len;
        }
        Ok(live)
    }

    /// The extent at this place and those behind it that it can be merged with; none when it is dead.
    fn neighbours(&self, key: QueueKey, first_offset: u64, place: Place) -> Vec<Extent> {
        let shard = self.shard(key);
        let Some(queue) = shard.queues.get(&key) else { return Vec::new() };
        let from = queue.extents.partition_point(|extent| extent.first_offset < first_offset);
        let mut together: Vec<Extent> = Vec::new();
        for extent in &queue.extents[from..] {
            let is_next = match together.first().zip(together.last()) {
                None => extent.place() == place,
                Some((first, last)) => self.can_merge(first, last, &together, extent),
            };
            // What the tail still holds is written anew with it.
            let is_settled = queue.tail.is_empty() || extent.next_offset() <= queue.tail.first_offset();
            if !is_next || !(is_settled || together.is_empty()) {
                break;
            }
            together.push(*extent);
            if !is_settled {
                break;
            }
        }
        together
    }

    fn can_merge(&self, first: &Extent, last: &Extent, together: &[Extent], extent: &Extent) -> bool {
        let entries: usize = together.iter().map(Extent::used).sum();
        let (max, follows) = match extent.shape() {
            Shape::Dense => (self.limits.dense_entries_max, extent.first_offset == last.next_offset()),
            Shape::Wide => (self.limits.wide_entries_max, true),
        };
        extent.shape() == first.shape()
            && follows
            && entries + extent.used() <= max
            && extent.next_offset() - first.first_offset <= u64::from(u32::MAX)
    }

    /// Appends an extent and its neighbours as one, if they are live still, and lets the directory name that.
    fn copy(&self, key: QueueKey, first_offset: u64, place: Place) -> io::Result<()> {
        let old = self.neighbours(key, first_offset, place);
        let Some(first) = old.first() else { return Ok(()) };
        let mut bytes = Vec::new();
        for extent in &old {
            let block = self.journal.read_block(key, extent)?;
            let Some(Body::Extent(_, packed)) = block::parse_checked(&block) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            bytes.extend_from_slice(&packed.bytes[..extent.used() * extent.shape().entry_bytes()]);
        }
        let packed = Packed { shape: first.shape(), first_offset, bytes: &bytes };
        let (begin, end) = (packed.get(0), packed.get(packed.len() - 1));
        let head = ExtentHead {
            queue: key,
            first_offset,
            next_offset: end.next_offset(),
            first_position: begin.position,
            last_position: end.position,
        };
        let mut writer = self.journal.writer();
        let mut shard = self.shard(key);
        let Some(queue) = shard.queues.get_mut(&key) else { return Ok(()) };
        let from = queue.extents.partition_point(|extent| extent.first_offset < first_offset);
        // Meanwhile the dispatcher may have written a longer one in its place.
        if queue.extents.get(from..from + old.len()) != Some(&old[..]) {
            return Ok(());
        }
        old.iter().for_each(|extent| writer.dead(extent.place().0, extent.block_bytes()));
        let place = self.journal.append_packed(&mut writer, head, &packed);
        let sum = Sum::of(packed.entries(packed.len()));
        let extent = Extent::new(place, &head, packed.shape, packed.len(), sum);
        queue.extents.splice(from..from + old.len(), [extent]);
        Ok(())
    }
}
