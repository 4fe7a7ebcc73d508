//! Produce (0): each partition's batch is checked, appended as it is, and answered when it is as safe as was asked for.
//!
//! ```text
//!  request ──► partition by partition: topic? rules? ──► append ──► the latest promise holds the whole answer
//!                  ▲                                       │
//!                  └── the log moves on, or a moment later ◄┘ busy: the request is held where it stands, and nothing is begun behind it
//! ```
//!
//! A batch is refused on its own; the others of its request are not. What is appended has the leader's epoch, and the broker's time
//! where the topic asks for it; everything else of it is the producer's.

use std::rc::Rc;

use braid_broker::{BatchRequest, Error, TimestampType, Topic};
use braid_crossing::keys;
use braid_store::Promise;
use braid_wire_kafka::batch::{
    BatchError, BatchView, Compression, PAYLOAD_KIND, Rules, patch_leader_epoch, set_log_append_time,
    validate,
};
use braid_wire_kafka::produce::{
    Partition, RecordError, Request, ResponsePartition, ResponseWriter, TopicRef,
};
use braid_wire_kafka::{DecodeError, Input, error_code};
use bytes::Bytes;

use crate::connection::{Connection, on_its_own};
use crate::dispatch::Call;
use crate::options::PARTITIONS_MAX;
use crate::reactor::Reactor;
use crate::reply::{Head, Outcome};
use crate::shared::Shared;
use crate::{error, names, topics};

/// The version from which zstd may be used.
const ZSTD: i16 = 7;
/// Bytes of a partition's answer before its error code.
const CODE_BEHIND: usize = 4;
/// The acknowledgements that there are: all replicas, the leader, none.
const ACKS: [i16; 3] = [-1, 1, 0];
/// No answer is wanted.
const ACKS_NONE: i16 = 0;

/// What became of a partition's batch.
struct Done {
    code: i16,
    base_offset: i64,
    log_append_time_ms: i64,
    log_start_offset: i64,
    /// The record that is at fault.
    record: Option<i32>,
    message: Option<String>,
}

impl Done {
    fn refused(code: i16, message: impl Into<Option<String>>) -> Self {
        Self {
            code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record: None,
            message: message.into(),
        }
    }
}

/// How far a request has come.
#[derive(Default)]
struct Progress {
    /// Of the partitions, in order.
    done: Vec<Done>,
    /// The promise of the last append.
    promise: Option<Promise<()>>,
}

/// A request that is worked on.
struct Produce<'a> {
    reactor: &'a Rc<Reactor>,
    connection: &'a Rc<Connection>,
    head: Head,
    body: &'a Bytes,
}

/// See the module.
pub(crate) fn handle(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let body = call.frame.slice(call.frame.len() - call.body.len()..);
    let produce =
        Produce { reactor: call.reactor, connection: call.connection, head: call.head, body: &body };
    produce.go_on(Progress::default(), false)
}

impl Produce<'_> {
    fn shared(&self) -> &Shared {
        &self.reactor.shared
    }

    /// Works until all is done or the log is busy. `is_own`: the body is a copy for this request alone.
    fn go_on(&self, mut progress: Progress, is_own: bool) -> Result<Outcome, DecodeError> {
        let request = Request::decode(self.head.version, &mut Input::new(self.body))?;
        let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if partitions.max(request.topics.len()) > PARTITIONS_MAX {
            return Ok(Outcome::Close("a request with too many partitions".into()));
        }
        progress.done.reserve_exact(partitions - progress.done.len());
        let mut skip = progress.done.len();
        for named in &request.topics {
            if skip >= named.partitions.len() {
                skip -= named.partitions.len();
                continue;
            }
            let topic = find_topic(self.shared(), named.topic);
            for partition in named.partitions.iter().skip(std::mem::take(&mut skip)) {
                let stored = match &topic {
                    Ok(topic) => self.store(&request, topic, &partition, &mut progress),
                    Err(code) => Ok(Done::refused(*code, None)),
                };
                match stored {
                    Ok(done) => progress.done.push(done),
                    // Nothing of this batch was appended: it is tried again, or refused in the end.
                    Err(_) if self.connection.may_hold(self.reactor, self.body.len()) => {
                        self.hold(progress, is_own);
                        return Ok(Outcome::Nothing);
                    }
                    Err(refusal) => {
                        progress.done.push(Done::refused(error::code(&refusal), refusal.to_string()));
                    }
                }
            }
        }
        Ok(self.finish(&request, progress))
    }

    /// Waits for the log.
    fn hold(&self, progress: Progress, is_own: bool) {
        let head = self.head;
        let body = if is_own { self.body.clone() } else { on_its_own(self.body) };
        let retry = move |reactor: &Rc<Reactor>, connection: &Rc<Connection>| {
            let produce = Produce { reactor, connection, head, body: &body };
            produce.go_on(progress, true).unwrap_or_else(|error| Outcome::Close(error.to_string().into()))
        };
        self.reactor.hold(self.connection, self.body.len(), Box::new(retry));
    }

    /// Checks and appends one batch.
    ///
    /// # Errors
    /// `Busy` alone.
    fn store(
        &self,
        request: &Request<'_>,
        topic: &std::sync::Arc<Topic>,
        partition: &Partition<'_>,
        progress: &mut Progress,
    ) -> Result<Done, Error> {
        let shared = self.shared();
        if !ACKS.contains(&request.acks) {
            return Ok(Done::refused(error_code::INVALID_REQUIRED_ACKS, None));
        }
        if request.transactional_id.is_some() {
            let sentence = "transactions are not served".to_owned();
            return Ok(Done::refused(error_code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, sentence));
        }
        let queue_id = u32::try_from(partition.index).ok().filter(|&id| id < topic.config.queues());
        let Some(queue_id) = queue_id else {
            return Ok(Done::refused(error_code::UNKNOWN_TOPIC_OR_PARTITION, None));
        };
        let now = shared.clock.wall_ms();
        let rules = self.rules(topic, now);
        let bytes = partition.records.unwrap_or_default();
        let summary = match validate(bytes, &rules) {
            Ok(summary) => summary,
            Err(refusal) => {
                shared.metrics.batches_refused.add(1);
                return Ok(refused(&refusal));
            }
        };
        if (rules.look_inside || topic.limits.index_keys) && summary.compression != Compression::None {
            shared.metrics.looked_inside.add(1);
        }
        let newest = if rules.log_append_time { now } else { summary.max_timestamp };
        let appended = self.with_stamps(bytes, rules.log_append_time.then_some(now), |batch| {
            shared.broker.append_batch(&BatchRequest {
                topic,
                queue_id,
                kind: PAYLOAD_KIND,
                batch,
                count: summary.count,
                properties: if topic.limits.index_keys { keys::MARK } else { b"" },
                born_timestamp: if newest < 0 { now } else { newest },
                born_host: self.connection.remote,
                store_host: shared.store_host(self.connection),
                wait: request.acks != ACKS_NONE,
            })
        });
        match appended {
            Ok(promise) => {
                shared.metrics.batches_stored.add(1);
                self.reactor.appended();
                let mut base_offset = -1;
                let promise = promise.map(|sent| {
                    base_offset = sent.records.first().map_or(-1, |record| record.offset as i64);
                });
                // Proved with the last of them are all of them.
                if progress.promise.as_ref().is_none_or(|last| last.end() < promise.end()) {
                    progress.promise = Some(promise);
                }
                Ok(Done {
                    code: error_code::NONE,
                    base_offset,
                    log_append_time_ms: if rules.log_append_time { now } else { -1 },
                    log_start_offset: topics::start_offset(shared, topic.queue(queue_id)),
                    record: None,
                    message: None,
                })
            }
            Err(Error::Busy(sentence)) => Err(Error::Busy(sentence)),
            Err(refusal) => {
                shared.metrics.batches_refused.add(1);
                let code = match &refusal {
                    // It is well-formed: what is left is that no log file can hold it.
                    Error::IllegalMessage(_) => error_code::RECORD_LIST_TOO_LARGE,
                    // It claims more records than a batch can hold.
                    Error::Invalid(_) => error_code::INVALID_RECORD,
                    Error::NoTopic(_) if self.head.version >= topics::PRODUCE_BY_ID => {
                        error_code::UNKNOWN_TOPIC_ID
                    }
                    refusal => error::code(refusal),
                };
                Ok(Done::refused(code, refusal.to_string()))
            }
        }
    }

    fn rules(&self, topic: &Topic, now: i64) -> Rules {
        let limits = &topic.limits;
        let shared = self.shared();
        let defaults = Rules::new(now);
        let milliseconds = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let (before, after) = (limits.timestamp_before_max_ms, limits.timestamp_after_max_ms);
        let log_append_time = limits.timestamp_type == TimestampType::LogAppendTime;
        Rules {
            batch_bytes_max: limits.max_message_bytes.unwrap_or(shared.options.message_bytes_max) as usize,
            before_max_ms: before.map_or(defaults.before_max_ms, milliseconds),
            after_max_ms: after.map_or(defaults.after_max_ms, milliseconds),
            log_append_time,
            zstd_known: self.head.version >= ZSTD,
            // A topic that limits the records' times wants each of them looked at.
            look_inside: !log_append_time && (before.is_some() || after.is_some()),
            ..defaults
        }
    }

    /// The batch with what only the leader knows.
    fn with_stamps<T>(&self, bytes: &[u8], append_time: Option<i64>, then: impl FnOnce(&[u8]) -> T) -> T {
        let epoch = self.shared().leader_epoch();
        let has_epoch = BatchView::parse(bytes).is_ok_and(|batch| batch.leader_epoch() == epoch);
        if has_epoch && append_time.is_none() {
            return then(bytes);
        }
        let mut stamped = self.reactor.stamped.borrow_mut();
        stamped.clear();
        stamped.extend_from_slice(bytes);
        patch_leader_epoch(&mut stamped, epoch);
        if let Some(now) = append_time {
            set_log_append_time(&mut stamped, now);
        }
        let result = then(&stamped);
        if stamped.capacity() > KEPT_BYTES_MAX {
            *stamped = Vec::new();
        }
        result
    }

    fn finish(&self, request: &Request<'_>, progress: Progress) -> Outcome {
        let Progress { done, promise } = progress;
        if request.acks == ACKS_NONE {
            return match done.iter().find(|done| done.code != error_code::NONE) {
                None => Outcome::Nothing,
                Some(done) => {
                    let name = error_code::name(done.code).unwrap_or("an error");
                    Outcome::Close(format!("{name}: a batch that nobody waits for was refused").into())
                }
            };
        }
        let mut reply = self.head.begin();
        let mut codes = Vec::new();
        let mut writer = ResponseWriter::begin(&mut reply.bytes, self.head.version, request.topics.len());
        let mut results = done.iter();
        for topic in &request.topics {
            writer.topic(topic.topic, topic.partitions.len());
            for (partition, done) in topic.partitions.iter().zip(results.by_ref()) {
                if done.code == error_code::NONE {
                    codes.push((writer.written() + CODE_BEHIND) as u32);
                }
                let record_error = done
                    .record
                    .map(|batch_index| RecordError { batch_index, message: done.message.as_deref() });
                writer.partition(&ResponsePartition {
                    index: partition.index,
                    error_code: done.code,
                    base_offset: done.base_offset,
                    log_append_time_ms: done.log_append_time_ms,
                    log_start_offset: done.log_start_offset,
                    record_errors: record_error.as_slice(),
                    error_message: done.message.as_deref(),
                    current_leader: None,
                });
            }
        }
        writer.end(0, &[]);
        reply.codes = codes;
        reply.finish();
        match promise {
            Some(promise) => Outcome::Promised(promise.map(|()| reply)),
            None => Outcome::Now(reply),
        }
    }
}

/// A buffer for stamped batches of more than this is given back.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// The topic that is produced to.
fn find_topic(shared: &Shared, topic: TopicRef<'_>) -> Result<std::sync::Arc<Topic>, i16> {
    let found = topics::find(shared, topic)?;
    // What lies in the delay topic is known by the levels of its queues, which no Kafka client could mean.
    if names::is_machinery(&shared.broker, &found) {
        return Err(error_code::INVALID_TOPIC_EXCEPTION);
    }
    Ok(found)
}

fn refused(refusal: &BatchError) -> Done {
    let record = refusal.record_index().and_then(|index| i32::try_from(index).ok());
    Done { record, ..Done::refused(refusal.code(), refusal.to_string()) }
}
