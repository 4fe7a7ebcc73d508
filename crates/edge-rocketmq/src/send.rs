//! Sends (10, 310, 320): checks with Apache's codes and wording, the properties that a broker adds, and the answer that
//! waits for the disk.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use braid_broker::{Message, Resend, SendRequest, Topic};
use braid_record::{property, sysflag};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::command::DecodeError;
use braid_wire_rocketmq::header::{MSG_REGION, ScanError, TRACE_ON};
use braid_wire_rocketmq::send::{SendHeader, SendResponse, encode_send_response, push_message_id};
use braid_wire_rocketmq::{Frame, batch};

use crate::connection::Connection;
use crate::error;
use crate::names::{self, DLQ_PREFIX, RETRY_PREFIX};
use crate::policy::{DELAY, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS};
use crate::reactor::{Answer, Reactor, Ticket};
use crate::reply::Reply;
use crate::shared::Shared;
use crate::unique;

/// The most messages of one batch.
const BATCH_MESSAGES_MAX: usize = 65_536;

/// A stored message (or batch), as its producer is told.
pub(crate) struct Sent {
    message_id: String,
    queue_id: i32,
    queue_offset: i64,
    transaction_id: Option<String>,
}

impl Sent {
    /// Writes the answer: SUCCESS, or FLUSH_DISK_TIMEOUT when the flush took too long.
    pub(crate) fn answer(&self, reactor: &Reactor, ticket: &Ticket, timed_out: bool) {
        if ticket.head.is_oneway() {
            return;
        }
        let options = &reactor.shared.options;
        let answer = SendResponse {
            code: if timed_out { response::FLUSH_DISK_TIMEOUT } else { response::SUCCESS },
            remark: None,
            message_id: &self.message_id,
            queue_id: self.queue_id,
            queue_offset: self.queue_offset,
            transaction_id: self.transaction_id.as_deref(),
            region_id: &options.region,
            trace_on: options.trace_on,
        };
        ticket.connection.push(reactor, |out| {
            if let Err(error) = encode_send_response(out, &ticket.head, &answer) {
                Reply::system_error(format!("stored, but the answer can not be sent: {error}"))
                    .encode(&ticket.head, out);
            }
        });
    }
}

/// Handles one send.
///
/// # Errors
/// When the header is unreadable and the connection must be closed.
pub(crate) fn handle(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    frame: &Frame,
) -> Result<(), DecodeError> {
    let mut text = reactor.text.borrow_mut();
    let (head, stored) = match SendHeader::scan(frame, &mut text) {
        Ok(header) if header.head.is_response() => return crate::dispatch::answered(connection, frame),
        Ok(header) => (header.head, store(reactor, connection, &header, frame)),
        Err(ScanError::Field { head, error }) => (head, Err(error.into())),
        Err(ScanError::Unreadable(error)) => return Err(error),
    };
    drop(text);
    if let Err(refusal) = stored {
        if refusal.busy {
            if reactor.hold(connection, frame) {
                return Ok(());
            }
            reactor.shared.metrics.send_failed();
        }
        let refusal = marked(&reactor.shared, refusal);
        reactor.answer(&Ticket { connection: Rc::clone(connection), head }, &refusal);
    }
    Ok(())
}

/// Refusals of sends carry region and trace switch too.
fn marked(shared: &Shared, mut refusal: Reply) -> Reply {
    refusal.fields.insert(TRACE_ON, shared.options.trace_on.to_string());
    refusal.fields.insert(MSG_REGION, shared.options.region.clone());
    refusal
}

fn store(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    header: &SendHeader<'_>,
    frame: &Frame,
) -> Result<(), Reply> {
    let shared = &reactor.shared;
    if let Some(refusal) = crate::dispatch::refused_while_stopping(shared, &header.head) {
        return Err(refusal);
    }
    let known = find_topic(shared, header)?;
    // All that can be refused is refused before a topic is made for it.
    check_lengths(shared, header, frame.body.len())?;
    check_kind(header.sys_flag, header.reconsume_times, header.properties.as_bytes())?;
    let topic = |reactor| match known {
        Some(topic) => Ok(topic),
        None => create_topic(reactor, header),
    };
    if header.batch || header.head.code == request::SEND_BATCH_MESSAGE {
        if header.topic.starts_with(RETRY_PREFIX) {
            return Err(illegal(format!("batch request does not support retry group {}", header.topic)));
        }
        let entries = batch_entries(shared, header, frame)?;
        let topic = topic(reactor)?;
        let queue_id = choose_queue(header, topic.config.write_queues);
        let target = Target { topic, queue_id, dead: false };
        store_batch(reactor, connection, header, &entries, &target)
    } else {
        let properties = completed_properties(connection, shared, header)?;
        let target = retry_or_dead_letter(reactor, header, topic(reactor)?)?;
        store_one(reactor, connection, header, frame, properties, &target)
    }
}

/// Where a message goes.
struct Target {
    topic: Arc<Topic>,
    queue_id: u32,
    /// It came back too often: it goes to the dead letters, without delay.
    dead: bool,
}

/// The topic, if it is there; its name, its permission and the queue are as they must be.
fn find_topic(shared: &Shared, header: &SendHeader<'_>) -> Result<Option<Arc<Topic>>, Reply> {
    let known = shared.topic(header.topic);
    // A topic that is there may have a name that RocketMQ could not make.
    if known.is_none() {
        names::check_topic(header.topic).map_err(|text| Reply::error(response::INVALID_PARAMETER, text))?;
    }
    if !names::may_send_to(header.topic) {
        return Err(Reply::error(
            response::NO_PERMISSION,
            format!("Sending message to topic[{}] is forbidden.", header.topic),
        ));
    }
    if let Some(topic) = &known {
        check_topic(header, topic.config.writable, topic.config.write_queues, topic.config.read_queues)?;
    }
    Ok(known)
}

/// Whether a topic like this, there already or about to be made, takes the message.
fn check_topic(
    header: &SendHeader<'_>,
    writable: bool,
    write_queues: u32,
    read_queues: u32,
) -> Result<(), Reply> {
    if !writable {
        return Err(Reply::error(
            response::NO_PERMISSION,
            format!("the topic[{}] sending message is forbidden", header.topic),
        ));
    }
    check_queue(header, write_queues, read_queues)
}

/// A topic that is not there: a group's retry topic, or one that may be made on first use.
fn create_topic(reactor: &Reactor, header: &SendHeader<'_>) -> Result<Arc<Topic>, Reply> {
    let shared = &reactor.shared;
    /// Unit mode in a topic's flags.
    const UNIT: i32 = 0x1;
    if let Some(group) = header.topic.strip_prefix(RETRY_PREFIX) {
        crate::clients::make_group(reactor, group)?;
        let topic = shared.broker.retry_topic(group)?;
        check_queue(header, topic.config.write_queues, topic.config.read_queues)?;
        return Ok(topic);
    }
    if header.topic.starts_with(DLQ_PREFIX) {
        return Err(error::no_topic(header.topic));
    }
    let flag = if header.unit_mode { UNIT } else { 0 };
    let queues = u32::try_from(header.default_topic_queue_nums).unwrap_or(0).max(1);
    if let Some(template) = shared.broker.topic(header.default_topic).filter(|topic| topic.config.inherited) {
        let queues = queues.min(template.config.write_queues).max(1);
        check_topic(header, template.config.writable, queues, queues)?;
    }
    shared.broker.topic_or_create(header.topic, header.default_topic, queues, flag).map_err(|error| {
        match error {
            braid_broker::Error::NoTopic(_) => error::no_topic(header.topic),
            other => other.into(),
        }
    })
}

/// The queue must be one that readers or writers see; which one was chosen is in [`choose_queue`].
fn check_queue(header: &SendHeader<'_>, write_queues: u32, read_queues: u32) -> Result<(), Reply> {
    let queues = write_queues.max(read_queues);
    if u32::try_from(header.queue_id).is_ok_and(|queue_id| queue_id >= queues) {
        return Err(Reply::error(
            response::INVALID_PARAMETER,
            format!(
                "request queueId[{}] is illegal, topic[{}] has {write_queues} write and {read_queues} read queues",
                header.queue_id, header.topic
            ),
        ));
    }
    Ok(())
}

/// The client's queue, or one in turn if it left the choice to us.
fn choose_queue(header: &SendHeader<'_>, queues: u32) -> u32 {
    thread_local! {
        static TURN: Cell<u32> = const { Cell::new(0) };
    }
    u32::try_from(header.queue_id)
        .unwrap_or_else(|_| TURN.replace(TURN.get().wrapping_add(1)) % queues.max(1))
}

fn check_lengths(shared: &Shared, header: &SendHeader<'_>, body: usize) -> Result<(), Reply> {
    if body == 0 {
        return Err(Reply::system_error("the message body is empty"));
    }
    if body > shared.options.message_bytes_max || header.properties.len() > braid_record::PROPERTIES_BYTES_MAX
    {
        return Err(too_long(shared));
    }
    Ok(())
}

/// Apache's one sentence for all lengths.
fn too_long(shared: &Shared) -> Reply {
    illegal(format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit {}B, msg \
         properties length limit 32KB.",
        shared.options.message_bytes_max
    ))
}

/// The refusal with its cause.
fn because(mut refusal: Reply, why: &str) -> Reply {
    refusal.remark = refusal.remark.map(|text| format!("{text} ({why})").into());
    refusal
}

fn illegal(text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::error(response::MESSAGE_ILLEGAL, text)
}

/// A consumer's own resend to its retry topic goes to the dead letters when it came back too often.
fn retry_or_dead_letter(
    reactor: &Reactor,
    header: &SendHeader<'_>,
    topic: Arc<Topic>,
) -> Result<Target, Reply> {
    let queue_id = choose_queue(header, topic.config.write_queues);
    let Some(group) = header.topic.strip_prefix(RETRY_PREFIX) else {
        return Ok(Target { topic, queue_id, dead: false });
    };
    /// Clients from V3_4_9 on say how often a message is to be tried.
    const VERSION_SAYS_RETRY_MAX: i32 = 121;
    let retry_max = header.max_reconsume_times.filter(|_| header.head.version >= VERSION_SAYS_RETRY_MAX);
    crate::clients::make_group(reactor, group)?;
    Ok(match reactor.shared.broker.resend(group, header.reconsume_times, retry_max)? {
        Resend::Retry(topic) => Target { topic, queue_id, dead: false },
        Resend::DeadLetter(topic) => Target { topic, queue_id: 0, dead: true },
    })
}

/// The delay level that properties name.
fn delay_level(properties: &[u8]) -> Option<i64> {
    property::find_str(properties, DELAY)?.trim().parse().ok()
}

/// Refuses what a later version will know, so that nobody believes it was understood.
fn check_kind(sys_flag: i32, reconsume_times: i32, properties: &[u8]) -> Result<(), Reply> {
    let delayed = delay_level(properties).is_some_and(|level| level > 0);
    let transactional = property::find_str(properties, "TRAN_MSG")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        && !(reconsume_times > 0 && delayed);
    if transactional || sys_flag & sysflag::TRANSACTION_PREPARED != 0 {
        return Err(Reply::error(
            response::NO_PERMISSION,
            "the broker sending transaction message is forbidden: transactions are not supported",
        ));
    }
    let timed = [TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS];
    if !delayed && timed.iter().any(|name| property::find(properties, name).is_some()) {
        return Err(Reply::system_error(
            "timer messages are not supported: use a delay level (DELAY) instead of a TIMER property",
        ));
    }
    Ok(())
}

/// Names that only a broker may write.
fn is_stripped(name: &[u8]) -> bool {
    property::is_reserved(name)
        || name.starts_with(b"__RMQ.TRANSIENT.")
        || matches!(name, b"POP_CK" | b"INNER_NUM" | b"INNER_BASE")
}

/// The property that names the cluster which stored a message.
const CLUSTER: &str = "CLUSTER";

/// What a broker says of itself in a single message, whatever the client said.
fn is_replaced(name: &[u8]) -> bool {
    [MSG_REGION, TRACE_ON, CLUSTER].iter().any(|own| own.as_bytes() == name)
}

/// Flags that only a broker may set.
const SYS_FLAG_STRIPPED: i32 = sysflag::NEED_UNWRAP | sysflag::INNER_BATCH;

/// Whether the producer waits for the disk: it does unless it says otherwise.
fn waits(properties: &[u8]) -> bool {
    property::find_str(properties, "WAIT").is_none_or(|value| value.eq_ignore_ascii_case("true"))
}

/// A single message's properties, with what a broker adds, and its unique key.
fn completed_properties(
    connection: &Connection,
    shared: &Shared,
    header: &SendHeader<'_>,
) -> Result<(Vec<u8>, String), Reply> {
    let sent_properties = header.properties.as_bytes();
    let kept = property::without(sent_properties, |name| is_stripped(name) || is_replaced(name));
    let mut properties = kept.into_owned();
    let unique_key = match property::find_str(&properties, property::UNIQ_KEY) {
        Some(key) => key.to_owned(),
        None => {
            let key = unique::key(connection.local.ip(), shared.clock.wall_ms());
            property::push(&mut properties, property::UNIQ_KEY, &key);
            key
        }
    };
    property::push(&mut properties, MSG_REGION, &shared.options.region);
    property::push(&mut properties, TRACE_ON, if shared.options.trace_on { "true" } else { "false" });
    property::push(&mut properties, CLUSTER, &shared.options.cluster_name);
    if properties.len() > braid_record::PROPERTIES_BYTES_MAX {
        return Err(too_long(shared));
    }
    Ok((properties, unique_key))
}

fn store_one(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    header: &SendHeader<'_>,
    frame: &Frame,
    (mut properties, unique_key): (Vec<u8>, String),
    target: &Target,
) -> Result<(), Reply> {
    if target.dead {
        property::set(&mut properties, DELAY, "-1");
    }
    let message = Message {
        body: &frame.body,
        properties: &properties,
        flag: header.flag,
        sys_flag: header.sys_flag & !SYS_FLAG_STRIPPED,
        born_timestamp: header.born_timestamp,
        born_host: connection.remote,
        reconsume_times: header.reconsume_times,
    };
    let wait = waits(header.properties.as_bytes());
    append(reactor, connection, header, target, &[message], wait, Some(unique_key))
}

/// One message of a batch, without what only a broker may write.
struct BatchEntry<'a> {
    flag: i32,
    body: &'a [u8],
    properties: Cow<'a, [u8]>,
}

/// A batch's messages, each of a kind that is taken.
fn batch_entries<'a>(
    shared: &Shared,
    header: &SendHeader<'_>,
    frame: &'a Frame,
) -> Result<Vec<BatchEntry<'a>>, Reply> {
    let mut entries = Vec::new();
    let mut delayed = false;
    for entry in batch::entries(&frame.body) {
        let entry = entry.map_err(|error| illegal(error.to_string()))?;
        if entries.len() == BATCH_MESSAGES_MAX {
            return Err(illegal(format!("a batch has at most {BATCH_MESSAGES_MAX} messages")));
        }
        check_kind(0, header.reconsume_times, entry.properties)?;
        if entry.properties.len() > braid_record::PROPERTIES_BYTES_MAX {
            return Err(too_long(shared));
        }
        delayed |= delay_level(entry.properties).is_some_and(|level| level > 0);
        let properties = property::without(entry.properties, is_stripped);
        entries.push(BatchEntry { flag: entry.flag, body: entry.body, properties });
    }
    match entries.len() {
        0 => Err(illegal("the batch has no message")),
        2.. if delayed => {
            Err(because(too_long(shared), "messages that are sent together have no delay level"))
        }
        _ => Ok(entries),
    }
}

fn store_batch(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    header: &SendHeader<'_>,
    entries: &[BatchEntry<'_>],
    target: &Target,
) -> Result<(), Reply> {
    let batch_properties = header.properties.as_bytes();
    let messages: Vec<Message<'_>> = entries
        .iter()
        .map(|entry| Message {
            body: entry.body,
            properties: &entry.properties,
            flag: entry.flag,
            sys_flag: header.sys_flag & !SYS_FLAG_STRIPPED,
            born_timestamp: header.born_timestamp,
            born_host: connection.remote,
            reconsume_times: header.reconsume_times,
        })
        .collect();
    let unique_key = property::find_str(batch_properties, property::UNIQ_KEY).map(str::to_owned);
    append(reactor, connection, header, target, &messages, waits(batch_properties), unique_key)
}

fn append(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    header: &SendHeader<'_>,
    target: &Target,
    messages: &[Message<'_>],
    wait: bool,
    transaction_id: Option<String>,
) -> Result<(), Reply> {
    let shared = &reactor.shared;
    let store_host = shared.store_host(connection);
    let request = SendRequest { topic: &target.topic, queue_id: target.queue_id, messages, store_host, wait };
    // One that is busy may be tried again; it has failed when nobody holds it.
    let sent = shared.broker.send(&request).inspect_err(|error| {
        if !matches!(error, braid_broker::Error::Busy(_)) {
            shared.metrics.send_failed();
        }
    });
    let promise = sent.map_err(|error| match error {
        // A delay inside a batch, properties that do not fit: Apache has one sentence for all of it.
        braid_broker::Error::IllegalMessage(why) => because(too_long(shared), &why),
        braid_broker::Error::NoTopic(_) => error::no_topic(header.topic),
        other => other.into(),
    })?;
    reactor.appended();
    let queue_id = target.queue_id as i32;
    let promise = promise.map(|sent| {
        let mut message_id = String::with_capacity(33 * sent.records.len());
        for (index, record) in sent.records.iter().enumerate() {
            if index > 0 {
                message_id.push(',');
            }
            push_message_id(&mut message_id, store_host, record.position.0);
        }
        let queue_offset = sent.records.first().map_or(0, |record| record.offset as i64);
        Answer::Sent(Sent { message_id, queue_id, queue_offset, transaction_id })
    });
    if !header.head.is_oneway() {
        reactor.promise(Ticket { connection: Rc::clone(connection), head: header.head }, promise);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_knows_is_refused() {
        let cases: [(i32, i32, &[u8], Option<i32>); 9] = [
            (0, 0, b"a\x01b\x02", None),
            (sysflag::TRANSACTION_PREPARED, 0, b"", Some(16)),
            (sysflag::TRANSACTION_ROLLBACK, 0, b"", Some(16)),
            (0, 0, b"TRAN_MSG\x01true\x02", Some(16)),
            (0, 1, b"TRAN_MSG\x01true\x02DELAY\x013\x02", None),
            (0, 0, b"TRAN_MSG\x01true\x02DELAY\x013\x02", Some(16)),
            (0, 0, b"TIMER_DELAY_SEC\x015\x02", Some(1)),
            (0, 0, b"TIMER_DELIVER_MS\x015\x02DELAY\x010\x02", Some(1)),
            (0, 0, b"TIMER_DELAY_MS\x015\x02DELAY\x011\x02", None),
        ];
        for (flag, times, properties, code) in cases {
            let result = check_kind(flag, times, properties).err().map(|reply| reply.code);
            assert_eq!(result, code, "{}", String::from_utf8_lossy(properties));
        }
    }

    #[test]
    fn names_of_the_broker_are_stripped() {
        let sent = b"POP_CK\x01x\x02a\x01b\x02INNER_NUM\x012\x02__RMQ.TRANSIENT.X\x011\x02__CRC32#\x0100\x02__BRAIDK\x01k";
        assert_eq!(&*property::without(sent, is_stripped), b"a\x01b\x02");
        assert!(waits(b"") && waits(b"WAIT\x01true\x02") && !waits(b"WAIT\x01false\x02"));
    }
}
