//! Pulls (11, 361): reading a queue, and waiting for what is not there yet.
//!
//! ```text
//!  pull ──► read ──► found, moved, nothing for these tags ──► answer
//!             ▲ └──► nothing there, and the client waits ──► park ──► woken by dispatch, deadline or stop ─┐
//!             └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The broker looks at the queue again after it has noted the waiter, so that no record comes in between unseen; what it
//! wakes reads again. The records go out as they lie in the log.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use braid_broker::{Broker, Delivery, Park, Subscription, Topic, Waiter, Wake};
use braid_record::id::tags_code;
use braid_store::{LOOK_INSIDE, QueueKey, Read, ReadRequest, ReadResult, ReadStatus};
use braid_wire_rocketmq::Frame;
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::command::DecodeError;
use braid_wire_rocketmq::header::ScanError;
use braid_wire_rocketmq::pull::{
    PullHeader, PullResponse, SYS_FLAG_COMMIT_OFFSET, SYS_FLAG_SUBSCRIPTION, SYS_FLAG_SUSPEND,
    encode_pull_response_head,
};

use crate::connection::{Connection, ConnectionId};
use crate::error;
use crate::inside::Wish;
use crate::options::{
    EXPRESSION_BYTES_MAX, OUT_BYTES_MAX, PARKED_BYTES_ALL_MAX, PARKED_MS_MAX, PARKED_PULLS_MAX,
    PARKED_PULLS_PER_CONNECTION_MAX, TAGS_MAX,
};
use crate::reactor::{Reactor, ReactorHandle, Ticket};
use crate::reply::Reply;
use crate::shared::Shared;

/// The most records of one answer, whatever the client asks for.
const RECORDS_MAX: usize = 1_024;
/// The most bytes of one answer (a longer first record is given all the same): Apache's 256 KiB.
const BYTES_MAX: usize = 256 * 1024;
/// How many index entries one pull looks at, at least: Apache scans 16,000 bytes of 20-byte entries.
const ENTRIES_MIN: usize = 800;

/// A pull with all that is needed to read, and to read again.
struct Pull {
    group: String,
    topic: Arc<Topic>,
    queue: QueueKey,
    offset: u64,
    records_max: usize,
    bytes_max: usize,
    /// Whose tags are wanted; `None` takes all.
    subscription: Option<Arc<Subscription>>,
    /// Until when the client waits; `None` when it does not.
    deadline_ms: Option<u64>,
    group_sys_flag: i32,
    suggested_broker: i64,
}

/// Handles one pull.
///
/// # Errors
/// When the header is unreadable and the connection must be closed.
pub(crate) fn handle(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    frame: &Frame,
) -> Result<(), DecodeError> {
    let mut text = reactor.text.borrow_mut();
    let (head, pull) = match PullHeader::scan(frame, &mut text) {
        Ok(header) if header.head.is_response() => return crate::dispatch::answered(connection, frame),
        Ok(header) => (header.head, begin(reactor, &header)),
        Err(ScanError::Field { head, error }) => (head, Err(error.into())),
        Err(ScanError::Unreadable(error)) => return Err(error),
    };
    drop(text);
    let ticket = Ticket { connection: Rc::clone(connection), head };
    match pull {
        Ok(pull) => serve(reactor, ticket, pull),
        Err(refusal) => reactor.answer(&ticket, &refusal),
    }
    Ok(())
}

/// Checks a pull as Apache does, in its order, and takes its cursor along. Its group is made once nothing is refused.
fn begin(reactor: &Reactor, header: &PullHeader<'_>) -> Result<Pull, Reply> {
    let shared = &reactor.shared;
    let broker = &shared.broker;
    if let Some(refusal) = crate::dispatch::refused_while_stopping(shared, &header.head) {
        return Err(refusal);
    }
    let group = crate::clients::group_or_default(shared, header.consumer_group)?;
    if !group.consume_enable {
        return Err(forbidden(2, format!("subscription group no permission, {}", header.consumer_group)));
    }
    let commits = header.has(SYS_FLAG_COMMIT_OFFSET).then_some(header.commit_offset);
    let may_commit = !broker.is_classic_group_live(header.consumer_group);
    if let Some(offset) = commits.filter(|_| !may_commit) {
        let (group, topic) = (header.consumer_group, header.topic);
        tracing::info!(
            group,
            topic,
            offset,
            "a commit to a group with members of another protocol is dropped"
        );
    }
    broker.check_no_classic_members(header.consumer_group)?;
    let topic = shared.topic(header.topic).ok_or_else(|| error::no_topic(header.topic))?;
    if !topic.config.readable {
        return Err(forbidden(3, format!("the topic[{}] pulling message is forbidden", header.topic)));
    }
    let queue_id = u32::try_from(header.queue_id)
        .ok()
        .filter(|queue_id| *queue_id < topic.config.read_queues)
        .ok_or_else(|| no_queue(header, &topic))?;
    let subscription = subscription(broker, header, group.broadcast_enable)?;
    let group = crate::clients::group_of_reader(reactor, header.consumer_group)?;
    let queue = topic.queue(queue_id);
    if may_commit && let Some(Ok(offset)) = commits.map(u64::try_from) {
        // Written with others within half a second; a reset that waits for this pull wins over it.
        let _ = broker.commit(header.consumer_group, queue, offset, false)?;
    }
    let wait_ms = u64::try_from(header.suspend_timeout_millis).unwrap_or(0).min(PARKED_MS_MAX);
    let positive = |number: i32| usize::try_from(number).ok().filter(|number| *number > 0);
    Ok(Pull {
        group: header.consumer_group.to_owned(),
        queue,
        // A negative offset is below every queue's first, which is what 0 is read as when the queue has moved on.
        offset: u64::try_from(header.queue_offset).unwrap_or(0),
        records_max: positive(header.max_msg_nums).unwrap_or(1).min(RECORDS_MAX),
        bytes_max: header.max_msg_bytes.and_then(positive).unwrap_or(BYTES_MAX).min(BYTES_MAX),
        subscription: subscription.filter(|subscription| !subscription.codes.is_empty()),
        deadline_ms: (header.has(SYS_FLAG_SUSPEND) && wait_ms > 0).then(|| reactor.now_ms() + wait_ms),
        group_sys_flag: group.sys_flag,
        suggested_broker: group.broker_id as i64,
        topic,
    })
}

fn forbidden(kind: i32, remark: String) -> Reply {
    let mut refusal = Reply::error(response::NO_PERMISSION, remark);
    refusal.fields.insert("forbiddenType", kind.to_string());
    refusal
}

fn no_queue(header: &PullHeader<'_>, topic: &Topic) -> Reply {
    Reply::error(
        response::INVALID_PARAMETER,
        format!(
            "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
            header.queue_id, header.topic, topic.config.read_queues, header.consumer_group
        ),
    )
}

/// What the pull wants of its topic: what it says itself, or what its group's heartbeat said last.
fn subscription(
    broker: &Broker,
    header: &PullHeader<'_>,
    broadcast_enable: bool,
) -> Result<Option<Arc<Subscription>>, Reply> {
    if header.has(SYS_FLAG_SUBSCRIPTION) {
        let kind = header.expression_type.filter(|kind| !kind.is_empty()).unwrap_or("TAG");
        if kind != "TAG" {
            return Err(unsupported_expression(kind));
        }
        let expression = header.subscription.unwrap_or_default();
        let parsed = tag_subscription(header.topic, expression, header.sub_version)?;
        // While it waits, only the hashes are needed.
        let hashes = Subscription { expression: String::new(), tags: Vec::new(), ..parsed };
        return Ok(Some(Arc::new(hashes)));
    }
    let Some(members) = broker.members(header.consumer_group) else {
        return Err(Reply::error(
            response::SUBSCRIPTION_NOT_EXIST,
            "the consumer's group info not exist\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
        ));
    };
    if !broadcast_enable && members.delivery == Delivery::Broadcasting {
        return Err(forbidden(
            4,
            format!("the consumer group[{}] can not consume by broadcast way", header.consumer_group),
        ));
    }
    let subscription = broker.subscription(header.consumer_group, header.topic).ok_or_else(|| {
        Reply::error(
            response::SUBSCRIPTION_NOT_EXIST,
            "the consumer's subscription not exist\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
        )
    })?;
    if subscription.version < header.sub_version {
        return Err(Reply::error(
            response::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        ));
    }
    Ok(Some(subscription))
}

/// The refusal of an expression that is not of tags.
pub(crate) fn unsupported_expression(kind: &str) -> Reply {
    Reply::system_error(format!("The broker does not support consumer to filter message by {kind}"))
}

fn unparsed(why: &str) -> Reply {
    Reply::error(
        response::SUBSCRIPTION_PARSE_FAILED,
        format!("parse the consumer's subscription failed: {why}"),
    )
}

/// Refuses a list of tags that nobody should have to keep.
///
/// # Errors
/// SUBSCRIPTION_PARSE_FAILED with a sentence.
pub(crate) fn check_tags(expression: &str, tags: &[String]) -> Result<(), Reply> {
    let bytes: usize = tags.iter().map(|tag| tag.len()).sum();
    if expression.len().max(bytes) > EXPRESSION_BYTES_MAX {
        return Err(unparsed(&format!("it is longer than {EXPRESSION_BYTES_MAX} bytes")));
    }
    if tags.len() > TAGS_MAX {
        return Err(unparsed(&format!("it names more than {TAGS_MAX} tags")));
    }
    Ok(())
}

/// A tag expression (`*`, `a`, `a || b`) as a subscription.
///
/// # Errors
/// SUBSCRIPTION_PARSE_FAILED with a sentence, when it is too long.
pub(crate) fn tag_subscription(topic: &str, expression: &str, version: i64) -> Result<Subscription, Reply> {
    check_tags(expression, &[])?;
    let all = expression.trim().is_empty() || expression.trim() == "*";
    let tags: Vec<String> = if all {
        Vec::new()
    } else {
        expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    };
    check_tags(expression, &tags)?;
    Ok(Subscription {
        topic: topic.to_owned(),
        expression: if all { "*".to_owned() } else { expression.to_owned() },
        expression_kind: "TAG".to_owned(),
        version,
        codes: tags.iter().map(|tag| tags_code(tag)).collect(),
        tags,
        class_filter: false,
    })
}

/// About the bytes that a subscription takes in memory.
pub(crate) fn subscription_bytes(subscription: &Subscription) -> usize {
    let tags: usize = subscription.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    let codes = size_of_val(subscription.codes.as_slice());
    size_of::<Subscription>() + subscription.topic.len() + subscription.expression.len() + tags + codes
}

/// Reads, and answers or parks.
fn serve(reactor: &Rc<Reactor>, ticket: Ticket, pull: Pull) {
    let shared = &reactor.shared;
    if let Some(offset) = shared.broker.take_reset(&pull.group, pull.queue) {
        let offsets = shared.store.offsets(pull.queue).unwrap_or_default();
        let given =
            Given::nothing(response::PULL_OFFSET_MOVED, "OFFSET_RESET", offset, offsets.min, offsets.max);
        return answer(reactor, &ticket, &pull, &given);
    }
    if ticket.connection.waiting_bytes() >= OUT_BYTES_MAX {
        // It was woken while its connection takes nothing: it may ask again once it does.
        let offsets = shared.store.offsets(pull.queue).unwrap_or_default();
        let given = Given::nothing(
            response::PULL_RETRY_IMMEDIATELY,
            "NO_MATCHED_MESSAGE",
            pull.offset,
            offsets.min,
            offsets.max,
        );
        return answer(reactor, &ticket, &pull, &given);
    }
    let since_ms = reactor.now_ms();
    match read(shared, &pull) {
        Ok(Read::Ready(result)) => {
            let wish = pull.wish(shared);
            if !wish.is_heavy(&result.records) {
                return finish(reactor, ticket, pull, wish.meet(result));
            }
            let question = reactor.ask_disk(move || wish.meet(result));
            reactor.spawn_request(Rc::clone(&ticket.connection), async move |reactor| match question.await {
                Ok(result) => finish(&reactor, ticket, pull, result),
                Err(refusal) => reactor.answer(&ticket, &refusal),
            });
        }
        Ok(Read::Cold(cold)) => {
            let wish = pull.wish(shared);
            let question = reactor.ask_disk(move || cold.complete().map(|result| wish.meet(result)));
            reactor.spawn_request(Rc::clone(&ticket.connection), async move |reactor| match question.await {
                Ok(Ok(result)) => {
                    reactor.shared.metrics.read(reactor.now_ms().saturating_sub(since_ms));
                    finish(&reactor, ticket, pull, result);
                }
                Ok(Err(error)) => reactor.answer(&ticket, &braid_broker::Error::from(error).into()),
                Err(refusal) => reactor.answer(&ticket, &refusal),
            });
        }
        Err(error) => reactor.answer(&ticket, &braid_broker::Error::from(error).into()),
    }
}

fn read(shared: &Shared, pull: &Pull) -> Result<Read, braid_store::StoreError> {
    let wanted = |word| {
        word == LOOK_INSIDE || pull.subscription.as_ref().is_none_or(|subscription| subscription.wants(word))
    };
    shared.store.read(&ReadRequest {
        queue: pull.queue,
        offset: pull.offset,
        records_max: pull.records_max,
        bytes_max: pull.bytes_max,
        entries_max: ENTRIES_MIN.max(pull.records_max),
        filter: pull.subscription.is_some().then_some(&wanted),
    })
}

/// An answer's parts.
struct Given {
    code: i32,
    remark: &'static str,
    next: u64,
    min: u64,
    max: u64,
    records: Vec<bytes::Bytes>,
}

impl Given {
    fn nothing(code: i32, remark: &'static str, next: u64, min: u64, max: u64) -> Self {
        Self { code, remark, next, min, max, records: Vec::new() }
    }

    /// Apache's name and code of how a read ended.
    fn of(result: ReadResult, offset: u64) -> Self {
        use response::{PULL_NOT_FOUND, PULL_OFFSET_MOVED, PULL_RETRY_IMMEDIATELY, SUCCESS};
        let ReadResult { status, records, next_offset, min_offset: min, max_offset: max } = result;
        let (code, remark, next) = match status {
            ReadStatus::Found => (SUCCESS, "FOUND", next_offset),
            ReadStatus::NoMatch => (PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", next_offset),
            ReadStatus::AtEnd => (PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", offset),
            ReadStatus::BeyondEnd => (PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", max),
            ReadStatus::BelowStart => (PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", min),
            ReadStatus::Empty if offset == 0 => (PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0),
            ReadStatus::Empty => (PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0),
        };
        Self { code, remark, next, min, max, records }
    }
}

fn finish(reactor: &Rc<Reactor>, ticket: Ticket, pull: Pull, result: ReadResult) {
    let given = Given::of(result, pull.offset);
    match pull.deadline_ms {
        Some(deadline_ms) if given.code == response::PULL_NOT_FOUND && !ticket.connection.is_closed() => {
            reactor.parking.park(reactor, ticket, pull, deadline_ms, given);
        }
        _ => answer(reactor, &ticket, &pull, &given),
    }
}

fn answer(reactor: &Reactor, ticket: &Ticket, pull: &Pull, given: &Given) {
    if ticket.head.is_oneway() {
        return;
    }
    let body_bytes: usize = given.records.iter().map(bytes::Bytes::len).sum();
    let head = PullResponse {
        code: given.code,
        remark: Some(given.remark),
        suggest_which_broker_id: pull.suggested_broker,
        next_begin_offset: given.next as i64,
        min_offset: given.min as i64,
        max_offset: given.max as i64,
        topic_sys_flag: pull.topic.config.sys_flag,
        group_sys_flag: pull.group_sys_flag,
    };
    ticket.connection.push(reactor, |out| {
        match encode_pull_response_head(out, &ticket.head, &head, body_bytes) {
            Ok(()) => given.records.iter().for_each(|record| out.extend_from_slice(record)),
            Err(error) => Reply::system_error(format!("the messages can not be sent: {error}"))
                .encode(&ticket.head, out),
        }
    });
    if given.records.is_empty() {
        reactor.shared.metrics.read_missed();
    } else {
        let count = given.records.len() as u64;
        reactor.shared.metrics.pulled(&pull.group, pull.queue, given.next);
        let statistics = reactor.shared.broker.statistics();
        statistics.count_fetched(&pull.group, pull.topic.name(), count, body_bytes as u64);
    }
}

impl Pull {
    /// What it wants of records that hold many messages.
    fn wish(&self, shared: &Shared) -> Wish {
        Wish {
            crossing: Arc::clone(&shared.crossing),
            topic: Arc::clone(&self.topic),
            offset: self.offset,
            records_max: self.records_max,
            bytes_max: self.bytes_max,
            subscription: self.subscription.clone(),
        }
    }

    /// About the bytes that it holds while it waits. A subscription that others hold too is counted for each.
    fn bytes(&self) -> usize {
        let subscription = self.subscription.as_deref().map_or(0, subscription_bytes);
        size_of::<Parked>() + self.group.len() + subscription
    }
}

/// A pull that waits.
struct Parked {
    ticket: Ticket,
    pull: Pull,
    /// What it counts for in the parking's sum.
    bytes: usize,
    /// Its name with the broker, once that is known.
    waiter: Option<braid_broker::Ticket>,
}

/// The waiting pulls of one reactor.
#[derive(Default)]
pub(crate) struct Parking {
    parked: RefCell<HashMap<u64, Parked>>,
    of_connection: RefCell<HashMap<u64, Vec<u64>>>,
    made: Cell<u64>,
    /// Of all that are parked.
    bytes: Cell<usize>,
}

/// How dispatch reaches a parked pull.
struct PullWaiter {
    reactor: Arc<ReactorHandle>,
    number: u64,
}

impl Waiter for PullWaiter {
    fn wake(self: Arc<Self>, wake: Wake) {
        self.reactor.wake(self.number, wake);
    }
}

impl Parking {
    fn park(&self, reactor: &Rc<Reactor>, ticket: Ticket, pull: Pull, deadline_ms: u64, given: Given) {
        let bytes = pull.bytes();
        let connection = ticket.connection.id.number;
        let of_connection = self.of_connection.borrow().get(&connection).map_or(0, Vec::len);
        if self.parked.borrow().len() >= PARKED_PULLS_MAX
            || of_connection >= PARKED_PULLS_PER_CONNECTION_MAX
            || self.bytes.get() + bytes > PARKED_BYTES_ALL_MAX
        {
            return answer(reactor, &ticket, &pull, &given);
        }
        let shared = &reactor.shared;
        let number = self.made.replace(self.made.get() + 1);
        let waiter = Arc::new(PullWaiter {
            reactor: Arc::clone(&shared.reactors[usize::from(reactor.index)]),
            number,
        });
        let filter = pull.subscription.clone().map(|subscription| {
            let wants: braid_broker::IndexFilter = Arc::new(move |word| subscription.wants(word));
            wants
        });
        let (queue, offset) = (pull.queue, pull.offset);
        // It is entered before the broker knows it: a wake that comes at once finds it.
        self.enter(number, Parked { ticket, pull, bytes, waiter: None });
        match shared.broker.park(queue, offset, filter, deadline_ms, waiter) {
            Ok(Park::Parked(waiter)) => {
                if let Some(parked) = self.parked.borrow_mut().get_mut(&number) {
                    parked.waiter = Some(waiter);
                }
            }
            Ok(Park::Arrived) => {
                if let Some(Parked { ticket, pull, .. }) = self.leave(number) {
                    serve(reactor, ticket, pull);
                }
            }
            Err(_) => {
                if let Some(Parked { ticket, pull, .. }) = self.leave(number) {
                    answer(reactor, &ticket, &pull, &given);
                }
            }
        }
    }

    fn enter(&self, number: u64, parked: Parked) {
        let connection = parked.ticket.connection.id.number;
        self.of_connection.borrow_mut().entry(connection).or_default().push(number);
        self.bytes.set(self.bytes.get() + parked.bytes);
        self.parked.borrow_mut().insert(number, parked);
    }

    fn leave(&self, number: u64) -> Option<Parked> {
        let parked = self.parked.borrow_mut().remove(&number)?;
        self.bytes.set(self.bytes.get() - parked.bytes);
        let mut of_connection = self.of_connection.borrow_mut();
        let connection = parked.ticket.connection.id.number;
        if let Some(numbers) = of_connection.get_mut(&connection) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                of_connection.remove(&connection);
            }
        }
        Some(parked)
    }

    /// The broker woke a pull: it reads again, and waits on only if something else had come.
    pub(crate) fn woken(&self, reactor: &Rc<Reactor>, number: u64, wake: Wake) {
        let Some(Parked { ticket, mut pull, .. }) = self.leave(number) else { return };
        if wake != Wake::Arrived {
            pull.deadline_ms = None;
        }
        serve(reactor, ticket, pull);
    }

    /// A group's cursors were reset: what it waits for at the old place is answered now.
    pub(crate) fn recheck(&self, reactor: &Rc<Reactor>, group: &str, queues: &[QueueKey]) {
        let concerned = |pull: &Pull| pull.group == group && queues.contains(&pull.queue);
        let parked = self.parked.borrow();
        let numbers: Vec<u64> =
            parked.iter().filter(|(_, parked)| concerned(&parked.pull)).map(|(number, _)| *number).collect();
        drop(parked);
        for number in numbers {
            let Some(Parked { ticket, pull, waiter, .. }) = self.leave(number) else { continue };
            if let Some(waiter) = waiter {
                reactor.shared.broker.unpark(waiter);
            }
            serve(reactor, ticket, pull);
        }
    }

    /// A connection is closed: what it waits for comes to nobody.
    pub(crate) fn forget(&self, broker: &Broker, connection: ConnectionId) {
        let numbers = self.of_connection.borrow_mut().remove(&connection.number).unwrap_or_default();
        for number in numbers {
            let Some(parked) = self.parked.borrow_mut().remove(&number) else { continue };
            self.bytes.set(self.bytes.get() - parked.bytes);
            if let Some(waiter) = parked.waiter {
                broker.unpark(waiter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_expressions_become_hashes() {
        for expression in ["*", "", "  * "] {
            let subscription = tag_subscription("T", expression, 1).unwrap();
            assert!(subscription.codes.is_empty() && subscription.expression == "*", "{expression}");
        }
        let subscription = tag_subscription("T", "TagA || TagB||", 7).unwrap();
        assert_eq!(subscription.tags, ["TagA", "TagB"]);
        assert_eq!(subscription.codes, [2_598_919, 2_598_920]);
        assert!(subscription.wants(2_598_919) && !subscription.wants(0));
    }

    #[test]
    fn tag_expressions_are_bounded() {
        let tags = |count: usize| vec!["t"; count].join("||");
        let code = |expression: &str| tag_subscription("T", expression, 1).err().map(|refusal| refusal.code);
        assert_eq!((code(&tags(TAGS_MAX)), code(&tags(TAGS_MAX + 1))), (None, Some(23)));
        let long = |bytes: usize| "t".repeat(bytes);
        assert_eq!(
            (code(&long(EXPRESSION_BYTES_MAX)), code(&long(EXPRESSION_BYTES_MAX + 1))),
            (None, Some(23))
        );
    }

    #[test]
    fn reads_end_with_apaches_codes() {
        let cases = [
            (ReadStatus::Found, 3, (0, "FOUND", 5)),
            (ReadStatus::NoMatch, 3, (20, "NO_MATCHED_MESSAGE", 5)),
            (ReadStatus::AtEnd, 9, (19, "OFFSET_OVERFLOW_ONE", 9)),
            (ReadStatus::BeyondEnd, 12, (21, "OFFSET_OVERFLOW_BADLY", 9)),
            (ReadStatus::BelowStart, 1, (21, "OFFSET_TOO_SMALL", 2)),
            (ReadStatus::Empty, 0, (19, "NO_MESSAGE_IN_QUEUE", 0)),
            (ReadStatus::Empty, 4, (21, "NO_MESSAGE_IN_QUEUE", 0)),
        ];
        for (status, offset, (code, remark, next)) in cases {
            let result =
                ReadResult { status, records: Vec::new(), next_offset: 5, min_offset: 2, max_offset: 9 };
            let given = Given::of(result, offset);
            assert_eq!((given.code, given.remark, given.next), (code, remark, next), "{status:?}");
        }
    }
}
