//! Messages inside records of another protocol: a Kafka batch is one record of many messages, which RocketMQ's clients read
//! one by one.
//!
//! ```text
//!  what the store gave      │ message 7 │  a batch of 8 to 12  │ message 13 │
//!  a pull at 10 is given                        │ 10 │ 11 │ 12 │    13      │
//! ```
//!
//! The index knows a batch as a whole and nothing of its tags, so a filter passes it ([`LOOK_INSIDE`](braid_store::LOOK_INSIDE)), and is
//! asked here about each message. Opening a batch may decompress it: small ones on the reactor, large ones on a thread that may take its
//! time. What each part becomes is `docs/mapping.md`.

use std::ops::Range;
use std::sync::Arc;

use braid_broker::{Broker, Subscription, Topic};
use braid_crossing::{Batch, CrossError, Crossing, Seen};
use braid_record::{RecordView, sysflag};
use braid_store::{Named, Position, ReadResult, ReadStatus};
use bytes::Bytes;

use crate::names;

/// Messages that one pull looks at inside batches, wanted or not; after that the client asks again behind them.
const LOOKED_AT_MAX: usize = 32_768;

/// Where SYSFLAG lies in a record.
const SYS_FLAG_AT: usize = 36;

/// Whether a record holds anything but a message of RocketMQ's own.
pub(crate) fn is_foreign(record: &[u8]) -> bool {
    // Cheaper than its kind, and never absent with one. Apache's own batches have the bit too, but no kind.
    let flag =
        record.get(SYS_FLAG_AT..).and_then(<[u8]>::first_chunk).map_or(0, |word| i32::from_be_bytes(*word));
    flag & sysflag::INNER_BATCH != 0 && RecordView::parse(record).is_ok_and(|view| view.kind().is_some())
}

/// A pull's wish, to be met from what the store gave it. Owns what it needs: it may be met on another thread.
pub(crate) struct Wish {
    pub(crate) crossing: Arc<Crossing>,
    pub(crate) topic: Arc<Topic>,
    pub(crate) offset: u64,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    /// Whose tags are wanted; `None` takes all.
    pub(crate) subscription: Option<Arc<Subscription>>,
}

/// A message of the answer.
enum Piece {
    /// A record of the log.
    Record(Bytes),
    /// Bytes of the buffer that messages are written to.
    Written(Range<usize>),
}

/// An answer that is being filled.
#[derive(Default)]
struct Filling {
    pieces: Vec<Piece>,
    written: Vec<u8>,
    bytes: usize,
    looked_at: usize,
    /// The offset of the first message that found no room.
    stopped_at: Option<u64>,
}

impl Wish {
    /// Whether meeting it would keep a reactor from its other work.
    pub(crate) fn is_heavy(&self, records: &[Bytes]) -> bool {
        records.iter().any(|record| is_foreign(record) && self.crossing.is_heavy(record))
    }

    /// Replaces batches by those of their messages that are wanted and fit, and moves the next offset to the first that is not given.
    pub(crate) fn meet(&self, result: ReadResult) -> ReadResult {
        if !result.records.iter().any(|record| is_foreign(record)) {
            return result;
        }
        let mut filling = Filling::default();
        for record in &result.records {
            if is_foreign(record) {
                self.take_inside(record, &mut filling);
            } else {
                self.take_record(record, &mut filling);
            }
            if filling.stopped_at.is_some() {
                break;
            }
        }
        let next_offset = filling.stopped_at.unwrap_or(result.next_offset);
        let status = if filling.pieces.is_empty() { ReadStatus::NoMatch } else { result.status };
        ReadResult { status, next_offset, records: filling.finish(), ..result }
    }

    fn take_record(&self, record: &Bytes, filling: &mut Filling) {
        if self.fits(filling, record.len()) {
            filling.bytes += record.len();
            filling.pieces.push(Piece::Record(record.clone()));
        } else {
            filling.stopped_at = RecordView::parse(record).ok().map(|view| view.queue_offset());
        }
    }

    fn take_inside(&self, record: &Bytes, filling: &mut Filling) {
        let batch = match self.crossing.open(record) {
            Ok(batch) => batch,
            // The client goes on behind it: the read's next offset is there.
            Err(error) => return report(record, &error),
        };
        let mut index = batch.index_of(self.offset.max(batch.base_offset())).unwrap_or(batch.count());
        while index < batch.count() {
            let stop = Some(batch.base_offset() + u64::from(index));
            if filling.looked_at == LOOKED_AT_MAX {
                filling.stopped_at = stop;
                return;
            }
            filling.looked_at += 1;
            if self.wants(&batch, index) {
                let at = filling.written.len();
                if filling.pieces.len() >= self.records_max {
                    filling.stopped_at = stop;
                    return;
                }
                if let Err(error) = write(&batch, index, &self.topic, &mut filling.written) {
                    report(record, &error);
                } else if self.fits(filling, filling.written.len() - at) {
                    filling.bytes += filling.written.len() - at;
                    filling.pieces.push(Piece::Written(at..filling.written.len()));
                } else {
                    filling.written.truncate(at);
                    filling.stopped_at = stop;
                    return;
                }
            }
            index = batch.behind(index);
        }
    }

    fn wants(&self, batch: &Batch, index: u32) -> bool {
        self.subscription.as_ref().is_none_or(|subscription| {
            // Whoever filters by tags is told of what can't be read as well: it may hold any.
            batch.unreadable().is_some() || subscription.wants(batch.tag(index))
        })
    }

    fn fits(&self, filling: &Filling, len: usize) -> bool {
        filling.pieces.is_empty()
            || filling.pieces.len() < self.records_max && filling.bytes + len <= self.bytes_max
    }
}

impl Filling {
    fn finish(self) -> Vec<Bytes> {
        let written = Bytes::from(self.written);
        let bytes = |piece| match piece {
            Piece::Record(record) => record,
            Piece::Written(range) => written.slice(range),
        };
        self.pieces.into_iter().map(bytes).collect()
    }
}

/// A record that the log vouches for and that nobody here can read is passed over; that it is so should be known.
fn report(record: &[u8], error: &CrossError) {
    let position = RecordView::parse(record).map_or(0, |view| view.position());
    tracing::error!(position, %error, "a record can not be given to a RocketMQ client");
}

fn write(batch: &Batch, index: u32, topic: &Topic, out: &mut Vec<u8>) -> Result<(), CrossError> {
    let record = Position(batch.view().position());
    // Past the bounds of such names the record's own has to do.
    let name = Position::inside(record, index).unwrap_or(record);
    let seen = Seen { topic: &names::shown(topic.name()), topic_id: &topic.id.0.to_be_bytes() };
    batch.write_rocketmq(index, name.0, &seen, out)
}

/// What a position names, as RocketMQ's clients see it: a record of their own as it lies in the log, or one message of a
/// batch. `None` when its topic is gone or nobody here can read it.
pub(crate) fn named(crossing: &Crossing, broker: &Broker, named: Named) -> Option<Bytes> {
    if !is_foreign(&named.record) {
        return named.index.is_none().then_some(named.record);
    }
    message(crossing, broker, &named.record, named.index.unwrap_or(0))
}

/// One message of a batch.
pub(crate) fn message(crossing: &Crossing, broker: &Broker, record: &Bytes, index: u32) -> Option<Bytes> {
    let topic = broker.topic(RecordView::parse(record).ok()?.topic())?;
    let mut out = Vec::new();
    let written = crossing.open(record).and_then(|batch| {
        if index < batch.count() { write(&batch, index, &topic, &mut out) } else { Err(CrossError::Nothing) }
    });
    written.inspect_err(|error| report(record, error)).ok()?;
    Some(out.into())
}
