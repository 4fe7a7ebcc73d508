//! Finding records and handing them out: by (queue, offset), by time, by key, by name.
//!
//! A record is found through an index and then checked to be what the index says: its own topic, queue, offset and
//! place, and its checksum when it came from the disk. Nobody gets bytes that are not.

use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use braid_record::{Peek, RecordView, peek};
use bytes::Bytes;

use crate::append::derive;
use crate::catalog::{QueueKey, TopicNumber};
use crate::files::LogFile;
use crate::index::Entry;
use crate::keys::key_hash;
use crate::progress::SLOT_BYTES;
use crate::read::{
    Boundary, ColdRead, Limits, QueueOffsets, Read, ReadRequest, ReadResult, ReadStatus, Timed,
};
use crate::report::StoreError;
use crate::shard::Shard;

/// Unwanted bytes between two wanted records that are read along rather than begun anew: copying more than that costs
/// more than another system call.
const GAP_BYTES_MAX: u64 = 2 << 10;
/// Bytes that one read of the disk fetches, unless a single record is longer.
const RUN_BYTES_MAX: u64 = 1 << 20;
/// Index entries that are looked at in one go when a filter picks among them.
const FILTERED_STEP: usize = 256;
/// Positions that are asked of the key index in one go.
const KEY_STEP: usize = 64;

/// What a read that must not wait found out.
enum Fetched {
    /// The records, up to the first that is damaged: the offset of that one, if there is one.
    Records(Vec<Bytes>, Option<u64>),
    WouldWait,
}

/// Records that one read of the disk serves: `count` from the `first` on, `len` bytes to `at` in the buffer.
struct Run {
    first: usize,
    count: usize,
    at: usize,
    len: usize,
}

/// A record that was found by its name.
pub(crate) struct Found {
    pub(crate) bytes: Bytes,
    pub(crate) topic: TopicNumber,
    /// Its messages in its own queue, by index, without those before the queue's start.
    left: Range<u32>,
}

/// What the index gave for a request.
struct Picked {
    entries: Vec<Entry>,
    next_offset: u64,
}

impl Shard {
    pub(crate) fn visible_offsets(&self, queue: QueueKey) -> Option<QueueOffsets> {
        self.catalog().live(queue.topic)?;
        self.queues.offsets(queue)
    }

    pub(crate) fn read(self: &Arc<Self>, request: &ReadRequest<'_>) -> Result<Read, StoreError> {
        let queue = request.queue;
        let Some(QueueOffsets { min, max }) = self.visible_offsets(queue) else {
            return Ok(Read::Ready(empty_result(ReadStatus::Empty, 0, QueueOffsets::default())));
        };
        let offsets = QueueOffsets { min, max };
        let ended = |status, next| Ok(Read::Ready(empty_result(status, next, offsets)));
        match request.offset {
            offset if offset < min => return ended(ReadStatus::BelowStart, min),
            offset if offset == max => return ended(ReadStatus::AtEnd, max),
            offset if offset > max => return ended(ReadStatus::BeyondEnd, max),
            _ => {}
        }
        let result = empty_result(ReadStatus::NoMatch, request.offset, offsets);
        let Some(picked) = self.pick(request, false)? else {
            let limits = request.filter.is_none().then_some(Limits {
                records_max: request.records_max,
                bytes_max: request.bytes_max,
                entries_max: request.entries_max,
            });
            return Ok(Read::Cold(ColdRead {
                shard: self.clone(),
                queue,
                picked: Vec::new(),
                limits,
                result,
            }));
        };
        let result = ReadResult { next_offset: picked.next_offset, ..result };
        Ok(match self.fetch(queue, &picked.entries, false)? {
            Fetched::Records(records, bad) => Read::Ready(result.with(records, bad)),
            Fetched::WouldWait => {
                let shard = self.clone();
                Read::Cold(ColdRead { shard, queue, picked: picked.entries, limits: None, result })
            }
        })
    }

    /// Asks the index; `None` when it would have to wait for the disk and must not.
    fn pick(&self, request: &ReadRequest<'_>, may_wait: bool) -> Result<Option<Picked>, StoreError> {
        let mut picked = Picked { entries: Vec::new(), next_offset: request.offset };
        let mut looked_at = 0;
        let mut bytes = 0;
        while looked_at < request.entries_max.max(1) && picked.entries.len() < request.records_max {
            let step = match request.filter {
                None => request.records_max - picked.entries.len(),
                Some(_) => FILTERED_STEP,
            };
            let step = step.min(request.entries_max.max(1) - looked_at);
            let Some(entries) = self.queues.lookup(request.queue, picked.next_offset, step, may_wait)? else {
                // What was found so far is an answer; nothing at all needs the disk.
                return Ok((looked_at > 0).then_some(picked));
            };
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                looked_at += 1;
                if request.filter.is_none_or(|wanted| wanted(entry.word)) {
                    let full = picked.entries.len() >= request.records_max
                        || !picked.entries.is_empty() && bytes + entry.size as usize > request.bytes_max;
                    if full {
                        return Ok(Some(picked));
                    }
                    bytes += entry.size as usize;
                    picked.entries.push(entry);
                }
                assert!(entry.next_offset() > picked.next_offset, "the index answers in offset order");
                picked.next_offset = entry.next_offset();
            }
        }
        Ok(Some(picked))
    }

    /// The records of index entries, checked. Records whose file is gone are left out. What is not in the tail is read
    /// into one buffer, run by run. A damaged record ends the answer before it, and is the answer when it is the first.
    fn fetch(&self, queue: QueueKey, entries: &[Entry], may_wait: bool) -> Result<Fetched, StoreError> {
        let topic = {
            let catalog = self.catalog();
            let Some(topic) = catalog.live(queue.topic) else {
                return Ok(Fetched::Records(Vec::new(), None));
            };
            topic.name.clone()
        };
        let mut records = Vec::with_capacity(entries.len());
        let mut runs = Vec::new();
        let mut buffer_len = 0;
        {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            while records.len() < entries.len() {
                let rest = &entries[records.len()..];
                if let Some(bytes) = tail.get(rest[0].position, rest[0].size as usize) {
                    records.push(bytes);
                    continue;
                }
                let count = self.run_len(rest);
                let last = rest[count - 1];
                let len = (last.position + u64::from(last.size) - rest[0].position) as usize;
                runs.push(Run { first: records.len(), count, at: buffer_len, len });
                buffer_len += len;
                records.resize(records.len() + count, Bytes::new());
            }
        }
        let mut bad = None;
        for (index, record) in records.iter().enumerate().filter(|(_, record)| !record.is_empty()) {
            if let Err(error) = check_match(&RecordView::parse(record), &topic, queue, &entries[index]) {
                bad = Some((index, error));
                break;
            }
        }
        if let Some((index, _)) = bad {
            runs.retain(|run| run.first < index);
        }
        let mut buffer = vec![0; buffer_len];
        let mut read = Vec::with_capacity(runs.len());
        for run in runs {
            let position = entries[run.first].position;
            let Some(file) = self.files.holding(position) else { continue };
            if !read_into(&file, position, &mut buffer[run.at..run.at + run.len], may_wait)? {
                return Ok(Fetched::WouldWait);
            }
            read.push(run);
        }
        let buffer = Bytes::from(buffer);
        'runs: for run in read {
            let position = entries[run.first].position;
            for (index, entry) in entries.iter().enumerate().skip(run.first).take(run.count) {
                let from = run.at + (entry.position - position) as usize;
                let bytes = buffer.slice(from..from + entry.size as usize);
                let checked = RecordView::check(&bytes, entry.position, true);
                if let Err(error) = check_match(&checked, &topic, queue, entry) {
                    // Whatever was bad in the tail lies behind this run.
                    bad = Some((index, error));
                    break 'runs;
                }
                records[index] = bytes;
            }
        }
        let bad_offset = match bad {
            None => None,
            Some((index, error)) => {
                let Entry { first_offset, position, .. } = entries[index];
                if self.health.is_news_of_damage(position) {
                    let queue_id = queue.queue_id;
                    tracing::error!(position, %topic, queue_id, offset = first_offset, %error, "damage met by a reader");
                }
                if index == 0 {
                    return Err(error);
                }
                records.truncate(index);
                Some(first_offset)
            }
        };
        records.retain(|bytes| !bytes.is_empty());
        Ok(Fetched::Records(records, bad_offset))
    }

    /// How many entries one read of the disk serves.
    fn run_len(&self, entries: &[Entry]) -> usize {
        let first = entries[0];
        let base = self.files.base_of(first.position);
        let mut end = first.position + u64::from(first.size);
        let mut len = 1;
        for next in &entries[1..] {
            let next_end = next.position + u64::from(next.size);
            let fits = next.position >= end
                && next.position - end <= GAP_BYTES_MAX
                && next_end - first.position <= RUN_BYTES_MAX
                && self.files.base_of(next.position) == base;
            if !fits {
                break;
            }
            end = next_end;
            len += 1;
        }
        len
    }

    fn in_tail(&self, position: u64, size: usize) -> Option<Bytes> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner).get(position, size)
    }

    /// Bytes of the log, from memory or from the disk; `None` when their file is gone.
    fn bytes_at(&self, position: u64, len: usize) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.in_tail(position, len) {
            return Ok(Some(bytes));
        }
        let Some(file) = self.files.holding(position) else { return Ok(None) };
        let mut buffer = vec![0; len];
        read_into(&file, position, &mut buffer, true)?;
        Ok(Some(buffer.into()))
    }

    /// The visible record that begins at a position, whole and checked; `None` when none does.
    fn record_at(&self, position: u64) -> io::Result<Option<Bytes>> {
        if position < self.first() || position >= self.watermarks.dispatched().0 {
            return Ok(None);
        }
        let left = self.files.base_of(position) + self.files.file_bytes - position;
        if left < braid_record::RECORD_BYTES_MIN as u64 {
            return Ok(None);
        }
        let Some(head) = self.bytes_at(position, braid_record::BLANK_HEAD_BYTES)? else { return Ok(None) };
        let Some(Peek::Record(size)) = peek(&head) else { return Ok(None) };
        if size as u64 > left.min(self.options.file_bytes) {
            return Ok(None);
        }
        let Some(bytes) = self.bytes_at(position, size)? else { return Ok(None) };
        Ok(RecordView::check(&bytes, position, true).is_ok().then_some(bytes))
    }

    /// The record at a position, if the index maps its own topic, queue and offset back to it. A forged record inside a
    /// body passes every check but this one.
    pub(crate) fn record_named(&self, position: u64) -> Result<Option<Found>, StoreError> {
        let Some(bytes) = self.record_at(position)? else { return Ok(None) };
        let Ok(view) = RecordView::parse(&bytes) else { return Ok(None) };
        let Some(topic) = self.catalog().resolve(view.topic(), position) else { return Ok(None) };
        let queue = QueueKey { topic, queue_id: view.queue_id() };
        let Some(offsets) = self.visible_offsets(queue) else { return Ok(None) };
        // A queue may begin inside a record that spans offsets.
        let offset = view.queue_offset().max(offsets.min);
        let entries = self.queues.lookup(queue, offset, 1, true)?.unwrap_or_default();
        let own = entries.first().copied().filter(|entry| {
            entry.position == position
                && entry.first_offset == view.queue_offset()
                && entry.size as usize == bytes.len()
        });
        Ok(own.map(|entry| {
            let left = (offset - entry.first_offset) as u32..entry.count;
            Found { bytes, topic, left }
        }))
    }

    /// The record that begins in a slot, if `index` is one of its messages that are left.
    pub(crate) fn record_in_slot(&self, slot: u64, index: u32) -> Result<Option<Bytes>, StoreError> {
        let dispatched = self.watermarks.dispatched().0;
        if slot < self.first() || slot >= dispatched {
            return Ok(None);
        }
        // A slot lies in one file, the head of a record that begins in it too.
        let file_end = self.files.base_of(slot) + self.files.file_bytes;
        let end = (slot + SLOT_BYTES + braid_record::BLANK_HEAD_BYTES as u64).min(file_end).min(dispatched);
        let Some(bytes) = self.bytes_at(slot, (end - slot) as usize)? else { return Ok(None) };
        // What looks like a record may lie in the body of the one before.
        for (at, head) in bytes.windows(braid_record::BLANK_HEAD_BYTES).enumerate().take(SLOT_BYTES as usize)
        {
            if let Some(Peek::Record(_)) = peek(head)
                && let Some(found) = self.record_named(slot + at as u64)?
            {
                return Ok(found.left.contains(&index).then_some(found.bytes));
            }
        }
        Ok(None)
    }

    /// The record that covers an offset, or the next one behind a gap, with its entry.
    fn record_of(&self, queue: QueueKey, offset: u64) -> Result<Option<(Entry, Bytes)>, StoreError> {
        let entries = self.queues.lookup(queue, offset, 1, true)?.unwrap_or_default();
        let Some(&entry) = entries.first() else { return Ok(None) };
        match self.fetch(queue, &[entry], true)? {
            Fetched::Records(mut records, _) => Ok(records.pop().map(|bytes| (entry, bytes))),
            Fetched::WouldWait => unreachable!("a read that may wait does"),
        }
    }

    pub(crate) fn store_time(&self, queue: QueueKey, offset: u64) -> Result<Option<i64>, StoreError> {
        if self.visible_offsets(queue).is_none() {
            return Ok(None);
        }
        let record = self.record_of(queue, offset)?;
        Ok(record.filter(|(entry, _)| entry.first_offset <= offset).and_then(|(_, bytes)| time_of(&bytes)))
    }

    pub(crate) fn offset_at(
        &self,
        queue: QueueKey,
        time: i64,
        boundary: Boundary,
    ) -> Result<u64, StoreError> {
        let Some(QueueOffsets { min, max }) = self.visible_offsets(queue) else { return Ok(0) };
        let behind = |stored: i64| match boundary {
            Boundary::FirstAtOrAfter => stored < time,
            Boundary::LastAtOrBefore => stored <= time,
        };
        // The first offset that is not behind; store times never go back along a queue.
        let (mut low, mut high) = (min, max);
        // The last record that is behind.
        let mut last_behind = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((entry, bytes)) = self.record_of(queue, middle)? else {
                // Retention was faster than this search.
                low = middle + 1;
                continue;
            };
            let stored = time_of(&bytes).unwrap_or(i64::MIN);
            if behind(stored) {
                low = entry.next_offset();
                last_behind = Some(entry.first_offset);
            } else {
                high = middle;
            }
        }
        Ok(match boundary {
            Boundary::FirstAtOrAfter if low >= max => max,
            // A record that spans offsets is found by its first, unless the queue begins inside it.
            Boundary::FirstAtOrAfter => {
                self.record_of(queue, low)?.map_or(max, |(entry, _)| entry.first_offset.max(min))
            }
            Boundary::LastAtOrBefore => last_behind.map_or(min, |offset: u64| offset.max(min)),
        })
    }

    /// The first record in offset order whose newest time is `time` or later.
    pub(crate) fn first_newer(&self, queue: QueueKey, time: i64) -> Result<Option<Timed>, StoreError> {
        let Some(QueueOffsets { max, .. }) = self.visible_offsets(queue) else { return Ok(None) };
        let timed = self.queues.first_timed(queue, time)?;
        let mut found = timed;
        if self.queues.may_have_untimed(queue) {
            // Store times never go back along a queue.
            let from = self.offset_at(queue, time, Boundary::FirstAtOrAfter)?;
            let untimed = if from < max { self.queues.first_untimed(queue, from)? } else { None };
            found = [timed, untimed].into_iter().flatten().min_by_key(|entry| entry.first_offset);
        }
        self.timed(queue, found)
    }

    /// The record with the newest time, the first of those that share it.
    pub(crate) fn newest(&self, queue: QueueKey) -> Result<Option<Timed>, StoreError> {
        if self.visible_offsets(queue).is_none() {
            return Ok(None);
        }
        let timed = self.timed(queue, self.queues.newest_timed(queue)?)?;
        let last = self.timed(queue, self.queues.last_untimed(queue)?)?;
        let newest = [&timed, &last].into_iter().flatten().map(|found| found.newest_ms).max();
        // Others may have the same store time as the last one.
        match newest {
            Some(newest) => self.first_newer(queue, newest),
            None => Ok(None),
        }
    }

    /// An entry's record with its newest time; `None` when retention was faster.
    fn timed(&self, queue: QueueKey, entry: Option<Entry>) -> Result<Option<Timed>, StoreError> {
        let Some(entry) = entry else { return Ok(None) };
        let Fetched::Records(mut records, _) = self.fetch(queue, &[entry], true)? else {
            unreachable!("a read that may wait does")
        };
        Ok(records.pop().and_then(|record| {
            let newest_ms = entry.newest_time.or_else(|| time_of(&record))?;
            Some(Timed { first_offset: entry.first_offset, count: entry.count, newest_ms, record })
        }))
    }

    /// Bytes of the records that a queue has.
    pub(crate) fn queue_bytes(&self, queue: QueueKey) -> Result<u64, StoreError> {
        if self.visible_offsets(queue).is_none() {
            return Ok(0);
        }
        Ok(self.queues.bytes(queue)?)
    }

    pub(crate) fn offset_of_size(&self, queue: QueueKey, bytes_max: u64) -> Result<u64, StoreError> {
        if self.visible_offsets(queue).is_none() {
            return Ok(0);
        }
        Ok(self.queues.offset_of_size(queue, bytes_max)?)
    }

    pub(crate) fn query_key(
        &self,
        topic: TopicNumber,
        key: &str,
        (from_ms, to_ms): (i64, i64),
        records_max: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let hash = key_hash(topic, key);
        let mut records = Vec::new();
        let mut end = self.watermarks.dispatched().0;
        while records.len() < records_max {
            let positions = self.keys.lookup(hash, self.first()..end, KEY_STEP)?;
            let Some(&oldest) = positions.last() else { break };
            assert!(oldest < end, "each step goes further back");
            end = oldest;
            for position in positions {
                // Two keys may share a hash, so the record is asked.
                let Some(Found { bytes, topic: of, .. }) = self.record_named(position)? else { continue };
                let Ok(view) = RecordView::parse(&bytes) else { continue };
                if view.store_timestamp() < from_ms {
                    return Ok(records);
                }
                let carries =
                    of == topic && derive(&self.options.derivers, &view).keys.iter().any(|own| own == key);
                if carries && view.store_timestamp() <= to_ms && records.len() < records_max {
                    records.push(bytes);
                }
            }
        }
        Ok(records)
    }

    /// Store time of the oldest record.
    pub(crate) fn oldest_store_time(&self) -> Option<i64> {
        let bytes = self.record_at(self.first()).ok()??;
        time_of(&bytes)
    }
}

impl ColdRead {
    /// How many bytes it will hold at most, when that is known without reading the index: records and what lies between them.
    pub fn bytes(&self) -> Option<usize> {
        let last = self.picked.last()?;
        let between = self.picked.windows(2).map(|pair| {
            let step = pair[1].position.saturating_sub(pair[0].position);
            step.clamp(u64::from(pair[0].size), u64::from(pair[0].size) + GAP_BYTES_MAX)
        });
        usize::try_from(between.sum::<u64>() + u64::from(last.size)).ok()
    }

    /// Does the read, waiting for the disk. For a bounded pool of blocking threads.
    ///
    /// When the index itself had to be read and the request had a filter (which this ticket cannot hold), the result
    /// has no records and status [`NoMatch`](ReadStatus::NoMatch) with an unchanged `next_offset`: the next read of that
    /// offset finds the index in memory.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn complete(self) -> Result<ReadResult, StoreError> {
        let Self { shard, queue, mut picked, limits, mut result } = self;
        match limits {
            Some(Limits { records_max, bytes_max, entries_max }) => {
                let offset = result.next_offset;
                let request =
                    ReadRequest { queue, offset, records_max, bytes_max, entries_max, filter: None };
                if let Some(found) = shard.pick(&request, true)? {
                    picked = found.entries;
                    result.next_offset = found.next_offset;
                }
            }
            None if picked.is_empty() => {
                shard.queues.lookup(queue, result.next_offset, FILTERED_STEP, true)?;
                return Ok(result);
            }
            None => {}
        }
        match shard.fetch(queue, &picked, true)? {
            Fetched::Records(records, bad) => Ok(result.with(records, bad)),
            Fetched::WouldWait => unreachable!("a read that may wait does"),
        }
    }
}

impl ReadResult {
    /// The result with its records; those from offset `bad` on are not among them.
    fn with(self, records: Vec<Bytes>, bad: Option<u64>) -> Self {
        let status = if records.is_empty() { ReadStatus::NoMatch } else { ReadStatus::Found };
        Self { status, records, next_offset: bad.unwrap_or(self.next_offset), ..self }
    }
}

fn empty_result(status: ReadStatus, next_offset: u64, offsets: QueueOffsets) -> ReadResult {
    ReadResult { status, records: Vec::new(), next_offset, min_offset: offsets.min, max_offset: offsets.max }
}

fn time_of(record: &[u8]) -> Option<i64> {
    RecordView::parse(record).ok().map(|view| view.store_timestamp())
}

/// Reads the bytes at a position of a file; false when that would wait and must not.
fn read_into(file: &LogFile, position: u64, buffer: &mut [u8], may_wait: bool) -> io::Result<bool> {
    let at = position - file.base;
    if may_wait {
        file.file.read_exact_at(buffer, at)?;
        return Ok(true);
    }
    let mut done = 0;
    while done < buffer.len() {
        match file.file.read_at_cached(&mut buffer[done..], at + done as u64)? {
            None => return Ok(false),
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(n) => done += n,
        }
    }
    Ok(true)
}

/// Checks that a record is the one that an index entry names.
fn check_match(
    view: &Result<RecordView<'_>, braid_record::DecodeError>,
    topic: &str,
    queue: QueueKey,
    entry: &Entry,
) -> Result<(), StoreError> {
    let damaged = |reason| StoreError::Damaged { position: entry.position, reason };
    let view = view.as_ref().map_err(|error| damaged(error.to_string()))?;
    let in_place = view.position() == entry.position && view.len() == entry.size as usize;
    let own = view.topic() == topic
        && view.queue_id() == queue.queue_id
        && view.queue_offset() == entry.first_offset;
    let is_target = own
        || view.targets().map_err(|error| damaged(error.to_string()))?.iter().any(|slot| {
            slot.topic == queue.topic.0
                && slot.queue_id == queue.queue_id
                && slot.first_offset == entry.first_offset
                && slot.count == entry.count
        });
    if in_place && is_target {
        return Ok(());
    }
    Err(damaged(format!(
        "it says {} queue {} offset {}, the index says {topic} queue {} offset {}",
        view.topic(),
        view.queue_id(),
        view.queue_offset(),
        queue.queue_id,
        entry.first_offset
    )))
}
