//! Fetch (1): reading partitions, and waiting for what is not there yet.
//!
//! ```text
//!  fetch ──► read partition after partition ──► enough bytes, or an error ──► answer
//!              ▲    └─► cold: asked on a thread that may wait ─┐   └──► too few, and the client waits ──► park on all of them
//!              ├────────────────────────────────────────────────┘                                                  │
//!              └──────────────────────────────────────── dispatch into any of them, or the deadline ◄─────────────┘
//! ```
//!
//! Batches go out as they lie in the log, from the one on that holds the wanted offset; they are neither copied nor looked into.
//! What RocketMQ's clients sent is packed into batches on the way. The high watermark is the end of what is dispatched, and since
//! there are no transactions, the last stable offset is the same.
//!
//! What fetches hold is bounded together with the answers that wait for their connections ([`FETCH_BYTES_ALL_MAX`]). Before each read
//! it is asked what room there is, of which one read takes half at most beyond its first batch, so that a few clients that take no
//! answers do not leave the others without. Where there is none, a fetch that has found nothing yet waits for it, in line with the
//! others, until its deadline.
//!
//! There are no fetch sessions: whoever asks for one is told that there is none, which is every broker's right.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use braid_broker::{ManyTicket, ParkMany};
use braid_crossing::Packing;
use braid_record::RecordView;
use braid_store::{ColdRead, QueueKey, Read, ReadRequest, ReadResult, ReadStatus, StoreError};
use braid_wire_kafka::fetch::{Partition, Request, ResponseHead, ResponsePartition, ResponseWriter};
use braid_wire_kafka::{DecodeError, Input, error_code};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::on_its_own;
use crate::dispatch::Call;
use crate::options::{
    COLD_READS_MAX, FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, PARKED_BYTES_ALL_MAX, PARTITIONS_MAX,
};
use crate::reactor::{HeldBytes, Reactor, Ringing};
use crate::reply::{Head, Outcome, Reply};
use crate::shared::Shared;
use crate::topics;

/// Records of the log that one partition gives at most in one answer.
const RECORDS_MAX: usize = 4_096;
/// A read may be longer than what is given by this part, and by so many bytes: records are longer than the batches in them.
const ENVELOPE_PART: usize = 8;
/// See [`ENVELOPE_PART`].
const ENVELOPE_BYTES: usize = 1_024;
/// Messages of another protocol in one batch that is made of them, at most.
const PACKED_RECORDS_MAX: usize = 1_000;
/// Bytes of such a batch.
const PACKED_BYTES_MAX: usize = 256 << 10;
/// Between two looks of a fetch for which there was no place among those that are parked.
const UNPARKED_STEP: Duration = Duration::from_millis(50);
/// How long a fetch that was woken for less than it wants lets more come together before it looks again.
const GATHER_STEP: Duration = Duration::from_millis(5);
/// The place in a session of whoever wants none, or a new one.
const FULL_FETCH: [i32; 2] = [-1, 0];
/// Only what belongs to no open or aborted transaction is wanted.
const READ_COMMITTED: i8 = 1;

/// One partition's part of the answer.
struct Part {
    index: i32,
    code: i16,
    /// `None` when it can't be read.
    queue: Option<QueueKey>,
    high_watermark: u64,
    log_start_offset: u64,
    batches: Vec<Bytes>,
}

impl Part {
    fn refused(index: i32, code: i16) -> Self {
        Self { index, code, queue: None, high_watermark: 0, log_start_offset: 0, batches: Vec::new() }
    }
}

/// A read that was begun and waits for the disk.
struct Cold {
    read: ColdRead,
    partition: Partition,
    queue: QueueKey,
    /// See [`Fetch::room`], when it was begun.
    room: usize,
    /// What it will hold.
    held: HeldBytes,
}

/// Why the next partition can't be read at once.
enum Obstacle {
    Cold(Cold),
    /// There is no room for its records.
    Full,
}

/// A fetch that is worked on.
struct Fetch {
    reactor: Rc<Reactor>,
    head: Head,
    body: Bytes,
    max_wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
    /// What was read so far, in the order of the request.
    parts: Vec<Part>,
    bytes: usize,
    /// What `parts` hold, with what lies around it in the log.
    held: HeldBytes,
    /// It waited for room, and now it is its turn.
    was_called: bool,
    /// It does not wait for room any more.
    is_late: bool,
    /// There is more than the limits let through, or a partition that can't be read.
    is_final: bool,
    cold_reads: usize,
}

/// See the module.
pub(crate) fn handle(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request = Request::decode(call.head.version, &mut Input::new(call.body))?;
    let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if partitions.max(request.topics.len()) > PARTITIONS_MAX {
        return Ok(Outcome::Close("a fetch with too many partitions".into()));
    }
    if !FULL_FETCH.contains(&request.session_epoch) {
        return Ok(no_session(call.head).into());
    }
    let bytes = |limit: i32| usize::try_from(limit).unwrap_or(0);
    let bytes_max = bytes(request.max_bytes).min(FETCH_BYTES_MAX);
    let max_wait = u64::try_from(request.max_wait_ms).unwrap_or(0).min(FETCH_WAIT_MS_MAX);
    let mut fetch = Fetch {
        reactor: Rc::clone(call.reactor),
        head: call.head,
        body: call.frame.slice(call.frame.len() - call.body.len()..),
        max_wait: Duration::from_millis(max_wait),
        bytes_min: bytes(request.min_bytes).min(bytes_max),
        bytes_max,
        parts: Vec::with_capacity(partitions),
        bytes: 0,
        held: HeldBytes::new(call.reactor, 0),
        was_called: false,
        is_late: max_wait == 0,
        is_final: partitions == 0 || max_wait == 0,
        cold_reads: 0,
    };
    let obstacle = fetch.go_on(&request);
    if obstacle.is_none() && fetch.is_enough() {
        return Ok(fetch.reply(&request).into());
    }
    fetch.body = on_its_own(&fetch.body);
    Ok(Outcome::wait(fetch.finish(obstacle)))
}

/// The answer to a request in a session that does not exist.
fn no_session(head: Head) -> Reply {
    let response = ResponseHead {
        throttle_time_ms: 0,
        error_code: error_code::FETCH_SESSION_ID_NOT_FOUND,
        session_id: 0,
        topics: 0,
    };
    let writer = ResponseWriter::begin(head.correlation_id, head.version, &response);
    let (bytes, slices) = writer.end_in_parts(&[]);
    Reply { bytes, slices, ..Reply::default() }
}

impl Fetch {
    fn shared(&self) -> &Shared {
        &self.reactor.shared
    }

    fn is_enough(&self) -> bool {
        self.is_final || self.bytes >= self.bytes_min
    }

    /// Reads from the first partition on that was not read yet; gives what must be waited for.
    fn go_on(&mut self, request: &Request<'_>) -> Option<Obstacle> {
        let mut skip = self.parts.len();
        for named in &request.topics {
            if skip >= named.partitions.len() {
                skip -= named.partitions.len();
                continue;
            }
            let reactor = Rc::clone(&self.reactor);
            let topic =
                topics::find(&reactor.shared, named.topic).and_then(|topic| match topic.config.readable {
                    true => Ok(topic),
                    false => Err(error_code::TOPIC_AUTHORIZATION_FAILED),
                });
            for partition in named.partitions.iter().skip(std::mem::take(&mut skip)) {
                let queue = topic.as_ref().map_err(|code| *code).and_then(|topic| {
                    topics::check_epoch(self.shared(), partition.current_leader_epoch)?;
                    topics::queue(topic, partition.index)
                });
                let queue = match queue {
                    Ok(queue) => queue,
                    Err(code) => {
                        self.refuse(partition.index, code);
                        continue;
                    }
                };
                let room = self.room(&partition);
                if room.is_none() && self.bytes == 0 && !self.is_late && self.has_records(queue, &partition) {
                    return Some(Obstacle::Full);
                }
                let Some(room) = room else {
                    // Only the offsets are told.
                    self.pass_over(queue, &partition);
                    continue;
                };
                let bytes_max = room + room / ENVELOPE_PART + ENVELOPE_BYTES;
                match self.read(queue, &partition, bytes_max) {
                    Ok(Read::Ready(result)) => self.take(queue, &partition, result, room),
                    Ok(Read::Cold(read)) if self.cold_reads < COLD_READS_MAX => {
                        self.cold_reads += 1;
                        // What is not known yet is at most what was asked for, or one batch.
                        let most = || bytes_max.max(self.shared().options.batch_bytes_max as usize);
                        let held = HeldBytes::new(&reactor, read.bytes().unwrap_or_else(most));
                        self.took_turn();
                        return Some(Obstacle::Cold(Cold { read, partition, queue, room, held }));
                    }
                    // The client asks again, for the others first.
                    Ok(Read::Cold(_)) => self.pass_over(queue, &partition),
                    Err(error) => self.fail(&partition, &error),
                }
            }
        }
        None
    }

    /// What may still be given of a partition; `None` when nothing may be read. The answer's first batch is given even where it is
    /// longer.
    fn room(&self, partition: &Partition) -> Option<usize> {
        let free = self.reactor.room_for(self.was_called);
        let wanted = usize::try_from(partition.max_bytes).unwrap_or(0);
        let room = wanted.min(self.bytes_max.saturating_sub(self.bytes)).min(free / 2);
        (free > 0 && (room > 0 || self.bytes == 0)).then_some(room)
    }

    /// Lets the next one have what room there is still.
    fn took_turn(&mut self) {
        if std::mem::take(&mut self.was_called) {
            self.reactor.call_next();
        }
    }

    fn has_records(&self, queue: QueueKey, partition: &Partition) -> bool {
        let offset = u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX);
        self.offsets_only(queue, offset).status == ReadStatus::NoMatch
    }

    fn read(&self, queue: QueueKey, partition: &Partition, bytes_max: usize) -> Result<Read, StoreError> {
        self.shared().store.read(&ReadRequest {
            queue,
            offset: u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX),
            records_max: RECORDS_MAX,
            bytes_max,
            entries_max: RECORDS_MAX,
            filter: None,
        })
    }

    /// What a read without room for records would give.
    fn offsets_only(&self, queue: QueueKey, offset: u64) -> ReadResult {
        let offsets = self.shared().store.offsets(queue).unwrap_or_default();
        let status = match offset {
            _ if offset < offsets.min => ReadStatus::BelowStart,
            _ if offset > offsets.max => ReadStatus::BeyondEnd,
            _ if offset == offsets.max => ReadStatus::AtEnd,
            _ => ReadStatus::NoMatch,
        };
        ReadResult {
            status,
            records: Vec::new(),
            next_offset: offset,
            min_offset: offsets.min,
            max_offset: offsets.max,
        }
    }

    fn refuse(&mut self, index: i32, code: i16) {
        self.is_final = true;
        self.parts.push(Part::refused(index, code));
    }

    fn fail(&mut self, partition: &Partition, error: &StoreError) {
        tracing::warn!(partition = partition.index, offset = partition.fetch_offset, %error, "a partition can not be read");
        self.refuse(partition.index, error_code::KAFKA_STORAGE_ERROR);
    }

    fn pass_over(&mut self, queue: QueueKey, partition: &Partition) {
        let offset = u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX);
        let result = self.offsets_only(queue, offset);
        self.take(queue, partition, result, 0);
    }

    /// Takes over what a read gave for which there was this room.
    fn take(&mut self, queue: QueueKey, partition: &Partition, result: ReadResult, room: usize) {
        let ReadResult { status, records, next_offset, min_offset, max_offset } = result;
        let is_out_of_range = match status {
            ReadStatus::Found | ReadStatus::NoMatch | ReadStatus::AtEnd => false,
            ReadStatus::BelowStart => true,
            ReadStatus::BeyondEnd | ReadStatus::Empty => {
                // What is appended and not visible yet is nothing new to whoever sent it.
                let end = self.shared().store.log_end(queue).max(max_offset);
                u64::try_from(partition.fetch_offset).map_or(true, |offset| offset > end)
            }
        };
        if is_out_of_range {
            return self.refuse(partition.index, error_code::OFFSET_OUT_OF_RANGE);
        }
        // There is more than was read: waiting would bring nothing that is not there.
        let reads = matches!(status, ReadStatus::Found | ReadStatus::NoMatch);
        self.is_final |= reads && next_offset < max_offset;
        self.held.add(records.iter().map(Bytes::len).sum());
        if !records.is_empty() {
            self.took_turn();
        }
        let batches = self.batches(records, room);
        self.bytes += batches.iter().map(Bytes::len).sum::<usize>();
        self.parts.push(Part {
            index: partition.index,
            code: error_code::NONE,
            queue: Some(queue),
            high_watermark: max_offset,
            log_start_offset: min_offset,
            batches,
        });
    }

    /// The batches of records as far as there is room for them; the first of the whole answer is given whatever its size.
    fn batches(&mut self, records: Vec<Bytes>, room: usize) -> Vec<Bytes> {
        let mut batches = Vec::with_capacity(records.len());
        let mut bytes = 0;
        let mut rest = &records[..];
        while let Some(record) = rest.first() {
            let (batch, count) = self.batch_of(record, rest);
            rest = &rest[count..];
            let Some(batch) = batch else { continue };
            let is_first = self.bytes == 0 && bytes == 0;
            if !is_first && bytes + batch.len() > room {
                self.is_final = true;
                break;
            }
            bytes += batch.len();
            batches.push(batch);
        }
        batches
    }

    /// The first batch of these records, and of how many it is made: a slice of the first one, or messages of RocketMQ's packed
    /// together.
    fn batch_of(&self, record: &Bytes, rest: &[Bytes]) -> (Option<Bytes>, usize) {
        let Ok(view) = RecordView::parse(record) else { return (None, 1) };
        if braid_crossing::is_kafka(&view) {
            return (Some(record.slice_ref(view.body())), 1);
        }
        let packing = Packing {
            records_max: PACKED_RECORDS_MAX,
            bytes_max: PACKED_BYTES_MAX,
            leader_epoch: self.shared().leader_epoch(),
        };
        match self.shared().crossing.pack(rest, &packing) {
            Ok(packed) => (Some(packed.batch.clone()), packed.count as usize),
            Err(error) => {
                tracing::warn!(position = view.position(), %error, "a record is passed over");
                (None, 1)
            }
        }
    }

    /// Begins to read anew.
    fn begin_again(&mut self) {
        self.parts.clear();
        self.held.clear();
        self.bytes = 0;
        self.cold_reads = 0;
    }

    /// Waits for the disk and for records, then answers.
    async fn finish(mut self, mut obstacle: Option<Obstacle>) -> Outcome {
        let deadline = Instant::now() + self.max_wait;
        let parked = Counted::new(&self.reactor, self.body.len());
        let body = self.body.clone();
        let mut was_woken = false;
        loop {
            // It was read whole before.
            let request = match Request::decode(self.head.version, &mut Input::new(&body)) {
                Ok(request) => request,
                Err(error) => return Outcome::Close(error.to_string().into()),
            };
            loop {
                match obstacle.take() {
                    Some(Obstacle::Cold(cold)) => self.read_cold(cold).await,
                    Some(Obstacle::Full) => {
                        self.was_called = self.reactor.wait_for_room(deadline).await;
                        self.is_late = !self.was_called || self.is_stopping();
                    }
                    None => {}
                }
                obstacle = self.go_on(&request);
                if obstacle.is_none() {
                    break;
                }
            }
            self.took_turn();
            let is_late = Instant::now() >= deadline || parked.is_too_much();
            if self.is_enough() || is_late || self.is_stopping() {
                return self.reply(&request).into();
            }
            if was_woken {
                sleep(GATHER_STEP).await;
            }
            was_woken = self.wait(deadline).await;
            self.is_late = Instant::now() >= deadline;
        }
    }

    async fn read_cold(&mut self, cold: Cold) {
        let Cold { read, partition, queue, room, held } = cold;
        self.shared().metrics.fetches_cold.add(1);
        match self.reactor.ask_disk_keeping(held, move || read.complete()).await {
            Some((result, held)) => {
                // What was read is counted in its stead.
                drop(held);
                match result {
                    Ok(result) => self.take(queue, &partition, result, room),
                    Err(error) => self.fail(&partition, &error),
                }
            }
            None => self.pass_over(queue, &partition),
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared().stopping.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits until something comes into any of the partitions, or the deadline, holding none of what was read. True when it was
    /// woken.
    async fn wait(&mut self, deadline: Instant) -> bool {
        self.shared().metrics.fetches_parked.add(1);
        let mut wanted: Vec<_> =
            self.parts.iter().filter_map(|part| Some((part.queue?, part.high_watermark))).collect();
        wanted.sort_unstable();
        wanted.dedup_by_key(|(queue, _)| *queue);
        self.begin_again();
        let ringing = self.reactor.hang_bell();
        match self.shared().broker.park_many(&wanted, ringing.bell()) {
            Ok(ParkMany::Parked(ticket)) => {
                let parked = Parked { ringing, ticket, reactor: &self.reactor };
                timeout_at(deadline, parked.ringing.wait()).await.is_ok()
            }
            Ok(ParkMany::Arrived) => true,
            Err(_) => {
                let _ = timeout_at(deadline, sleep(UNPARKED_STEP)).await;
                false
            }
        }
    }

    fn reply(&self, request: &Request<'_>) -> Reply {
        self.shared().metrics.fetched_bytes.add(self.bytes as u64);
        let aborted = (request.isolation_level == READ_COMMITTED).then_some(&[][..]);
        let response = ResponseHead {
            throttle_time_ms: 0,
            error_code: error_code::NONE,
            session_id: 0,
            topics: request.topics.len(),
        };
        let mut writer = ResponseWriter::begin(self.head.correlation_id, self.head.version, &response);
        let mut parts = self.parts.iter();
        for topic in &request.topics {
            writer.topic(topic.topic, topic.partitions.len());
            for part in parts.by_ref().take(topic.partitions.len()) {
                let answer = match part.queue {
                    None => {
                        ResponsePartition { aborted, ..ResponsePartition::refused(part.index, part.code) }
                    }
                    Some(_) => ResponsePartition {
                        error_code: part.code,
                        high_watermark: part.high_watermark as i64,
                        last_stable_offset: part.high_watermark as i64,
                        log_start_offset: part.log_start_offset as i64,
                        aborted,
                        ..ResponsePartition::refused(part.index, part.code)
                    },
                };
                writer.partition(&answer, part.batches.iter().cloned());
            }
        }
        let (bytes, slices) = writer.end_in_parts(&[]);
        Reply { bytes, slices, ..Reply::default() }
    }
}

/// A place among the parked; given back when it is dropped.
struct Parked<'a> {
    ringing: Ringing,
    ticket: ManyTicket,
    reactor: &'a Rc<Reactor>,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.reactor.shared.broker.unpark_many(&self.ticket);
    }
}

/// What a waiting request holds, in its reactor's sum until it is dropped.
struct Counted {
    reactor: Rc<Reactor>,
    bytes: usize,
}

impl Counted {
    fn new(reactor: &Rc<Reactor>, bytes: usize) -> Self {
        let sum: &Cell<usize> = &reactor.parked_bytes;
        sum.set(sum.get() + bytes);
        Self { reactor: Rc::clone(reactor), bytes }
    }

    /// All that wait hold more than they may.
    fn is_too_much(&self) -> bool {
        self.reactor.parked_bytes.get() > PARKED_BYTES_ALL_MAX
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let sum = &self.reactor.parked_bytes;
        sum.set(sum.get() - self.bytes);
    }
}
