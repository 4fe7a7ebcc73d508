//! Sends and pulls of the RocketMQ protocol, in JSON headers as its clients write them.
//!
//! A request is encoded once by the broker's own codec; what differs from one to the next (opaque, offset, tag) has a fixed width in
//! the template and is written over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use braid_record::RecordView;
use braid_wire_rocketmq::batch::{self, Entry};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header::{
    CreateTopic, PullMessage, PullMessageResponse, SendMessageResponse, SendMessageV2,
};
use braid_wire_rocketmq::{Command, frame, pull};
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::error::{BenchError, Doing, Result};
use crate::generator::{Load, Span, drive};
use crate::protocol::{Answer, Protocol, Sampler};

/// Opaque of tag 0: all opaques have ten digits and fit an `i32`.
const OPAQUE_BASE: i32 = 1_000_000_000;
/// Digits of an offset in a pull's template.
const OFFSET_DIGITS: usize = 10;
const GROUP: &str = "BRAIDMQ_BENCH";
/// How long an acknowledged message may take until it can be read: until the broker's next turn.
const READABLE_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A request whose opaque is written over.
struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    body_at: usize,
}

impl Template {
    fn of(command: &Command) -> Result<Self> {
        let mut command = command.clone();
        command.opaque = OPAQUE_BASE;
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes).map_err(|error| BenchError::Answer(format!("a request: {error}")))?;
        let bytes = bytes.to_vec();
        let body_at = bytes.len() - command.body.len();
        let opaque_at = place(&bytes[..body_at], &format!("\"opaque\":{OPAQUE_BASE}"))? + "\"opaque\":".len();
        Ok(Template { bytes, opaque_at, body_at })
    }

    /// Appends the request with this tag; where it begins in `out`.
    fn write(&self, tag: u32, out: &mut Vec<u8>) -> usize {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        digits(OPAQUE_BASE as u64 + u64::from(tag), &mut out[at + self.opaque_at..at + self.opaque_at + 10]);
        at
    }
}

/// Where `text` lies in a header.
fn place(header: &[u8], text: &str) -> Result<usize> {
    memchr::memmem::find(header, text.as_bytes())
        .ok_or_else(|| BenchError::Answer(format!("an encoded request does not hold {text}")))
}

/// Writes the number's last digits over all of `place`.
fn digits(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Finds what every answer has, without reading all of its header.
struct AnswerScanner {
    code: Finder<'static>,
    opaque: Finder<'static>,
}

/// The front of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    code: i32,
    tag: u32,
    /// Bytes of the frame, and where its body begins.
    bytes: usize,
    body_at: usize,
}

impl AnswerScanner {
    fn new() -> Self {
        AnswerScanner { code: Finder::new("\"code\":"), opaque: Finder::new("\"opaque\":") }
    }

    fn head(&self, input: &[u8]) -> Result<Option<Head>> {
        let Some((prefix, rest)) = input.split_first_chunk::<8>() else { return Ok(None) };
        let [l0, l1, l2, l3, kind, h1, h2, h3] = *prefix;
        let bytes = 4 + u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if kind != 0 || bytes > frame::FRAME_BYTES_MAX {
            return Err(BenchError::Answer(format!("a frame of {bytes} bytes whose header has type {kind}")));
        }
        let header_bytes = u32::from_be_bytes([0, h1, h2, h3]) as usize;
        if input.len() < bytes {
            return Ok(None);
        }
        let header = rest.get(..header_bytes).filter(|_| 8 + header_bytes <= bytes);
        let number = |finder: &Finder<'_>| {
            let header = header?;
            number(&header[finder.find(header)? + finder.needle().len()..])
        };
        match (number(&self.code), number(&self.opaque)) {
            (Some(code), Some(opaque)) if opaque >= i64::from(OPAQUE_BASE) => Ok(Some(Head {
                code: code as i32,
                tag: (opaque - i64::from(OPAQUE_BASE)) as u32,
                bytes,
                body_at: 8 + header_bytes,
            })),
            _ => Err(BenchError::Answer("a header without code or opaque".to_owned())),
        }
    }
}

/// The number at the front of `text`.
fn number(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-').unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// Reads the command at the front of `input`.
fn command(input: &[u8]) -> Result<Command> {
    let unreadable = |error: String| BenchError::Answer(error);
    let frame = frame::next(&mut BytesMut::from(input), &frame::Limits::default());
    let frame = frame.map_err(|error| unreadable(error.to_string()))?;
    let frame = frame.ok_or_else(|| unreadable("it ends early".to_owned()))?;
    Command::decode(&frame).map_err(|error| unreadable(error.to_string()))
}

fn refused(answer: &Command) -> BenchError {
    BenchError::Refused { code: answer.code, remark: answer.remark.clone().unwrap_or_default() }
}

/// A blocking connection for what is not measured.
struct Asker {
    stream: TcpStream,
    input: BytesMut,
}

impl Asker {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).doing("connect to the broker")?;
        stream.set_read_timeout(Some(ANSWER_MAX)).doing("set a time limit")?;
        stream.set_nodelay(true).doing("set TCP_NODELAY")?;
        Ok(Asker { stream, input: BytesMut::new() })
    }

    fn ask(&mut self, ask: &Command) -> Result<Command> {
        let mut out = BytesMut::new();
        ask.encode(&mut out).map_err(|error| BenchError::Answer(format!("a request: {error}")))?;
        self.stream.write_all(&out).doing("send to the broker")?;
        let mut piece = [0; 16 << 10];
        loop {
            let next = frame::next(&mut self.input, &frame::Limits::default());
            if let Some(frame) = next.map_err(|error| BenchError::Answer(error.to_string()))? {
                let answer = Command::decode(&frame);
                return answer.map_err(|error| BenchError::Answer(error.to_string()));
            }
            match self.stream.read(&mut piece).doing("wait for the broker's answer")? {
                0 => return Err(BenchError::Answer("the broker closed the connection".to_owned())),
                bytes => self.input.extend_from_slice(&piece[..bytes]),
            }
        }
    }

    fn create_topic(&mut self, topic: &str, queues: u32) -> Result<()> {
        let mut ask = Command::request(request::UPDATE_AND_CREATE_TOPIC);
        ask.ext_fields = CreateTopic {
            topic: topic.to_owned(),
            default_topic: Some("TBW102".to_owned()),
            read_queue_nums: queues as i32,
            write_queue_nums: queues as i32,
            perm: 6,
            topic_filter_type: Some("SINGLE_TAG".to_owned()),
            topic_sys_flag: Some(0),
            order: Some(false),
            ..CreateTopic::default()
        }
        .to_ext_fields();
        let answer = self.ask(&ask)?;
        if answer.code == response::SUCCESS { Ok(()) } else { Err(refused(&answer)) }
    }

    /// The body of the message at `offset`, if it can be read now.
    fn body(&mut self, topic: &str, queue: u32, offset: u64) -> Result<Option<Bytes>> {
        let answer = self.ask(&pull_request(topic, queue, offset, 1, 1 << 20))?;
        if answer.code != response::SUCCESS {
            return Ok(None);
        }
        let record = RecordView::parse(&answer.body)
            .and_then(|record| RecordView::check(&answer.body, record.position(), false))
            .map_err(|error| BenchError::Lost(format!("{topic}, queue {queue}, offset {offset}: {error}")))?;
        let is_it = record.queue_id() == queue && record.queue_offset() == offset;
        Ok(is_it.then(|| Bytes::copy_from_slice(record.body())))
    }

    /// How many messages the queue ever took.
    fn length(&mut self, topic: &str, queue: u32) -> Result<u64> {
        let answer = self.ask(&pull_request(topic, queue, 0, 1, 1 << 20))?;
        let header = PullMessageResponse::from_ext_fields(&answer.ext_fields);
        let header = header.map_err(|error| BenchError::Answer(error.to_string()))?;
        Ok(u64::try_from(header.max_offset).unwrap_or(0))
    }
}

fn pull_request(topic: &str, queue: u32, offset: u64, messages: i32, bytes: i32) -> Command {
    let mut ask = Command::request(request::PULL_MESSAGE);
    ask.ext_fields = PullMessage {
        consumer_group: GROUP.to_owned(),
        topic: topic.to_owned(),
        queue_id: queue as i32,
        queue_offset: offset as i64,
        max_msg_nums: messages,
        sys_flag: pull::SYS_FLAG_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some("*".to_owned()),
        sub_version: 0,
        expression_type: Some("TAG".to_owned()),
        max_msg_bytes: Some(bytes),
        broker_name: None,
    }
    .to_ext_fields();
    ask
}

/// Sends of single messages or of batches, to all queues in turn.
pub struct Send {
    topic: String,
    queues: u32,
    /// Messages in a request.
    messages: u32,
    message_bytes: usize,
    /// One for each queue.
    templates: Vec<Template>,
    /// Where each message of a request has its first byte, from the request's body on.
    bodies_at: Vec<usize>,
    scanner: AnswerScanner,
    acknowledged: Sampler<Sent>,
    acknowledged_messages: u64,
}

/// An acknowledged request.
#[derive(Debug, Clone, Copy)]
struct Sent {
    tag: u32,
    queue: u32,
    offset: u64,
}

/// What a message's body begins with: tag, and place in the batch.
fn mark(tag: u32, index: u32) -> [u8; 8] {
    let mut mark = [0; 8];
    mark[..4].copy_from_slice(&tag.to_be_bytes());
    mark[4..].copy_from_slice(&index.to_be_bytes());
    mark
}

impl Send {
    /// Requests of `messages` messages of `message_bytes` each (more than one: a batch) to a topic of so many queues.
    pub fn new(topic: &str, queues: u32, messages: u32, message_bytes: usize) -> Self {
        Send {
            topic: topic.to_owned(),
            queues,
            messages,
            message_bytes,
            templates: Vec::new(),
            bodies_at: Vec::new(),
            scanner: AnswerScanner::new(),
            acknowledged: Sampler::default(),
            acknowledged_messages: 0,
        }
    }

    fn request(&mut self, queue: u32) -> Command {
        let is_batch = self.messages > 1;
        let code = if is_batch { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
        let mut ask = Command::request(code);
        // What a client sends: 32 digits of a unique key and the wait flag.
        let properties = "UNIQ_KEY\u{1}7F0000010001000000000000000000FF\u{2}WAIT\u{1}true\u{2}";
        ask.ext_fields = SendMessageV2 {
            producer_group: GROUP.to_owned(),
            topic: self.topic.clone(),
            default_topic: "TBW102".to_owned(),
            default_topic_queue_nums: 4,
            queue_id: queue as i32,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            flag: 0,
            properties: Some(if is_batch { String::new() } else { properties.to_owned() }),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: Some(0),
            batch: Some(is_batch),
            broker_name: Some("braidmq".to_owned()),
        }
        .to_ext_fields();
        let message = vec![b'b'; self.message_bytes];
        let mut body = Vec::new();
        self.bodies_at.clear();
        for _ in 0..self.messages {
            if is_batch {
                let entry = Entry { flag: 0, body: &message, properties: properties.as_bytes() };
                self.bodies_at.push(body.len() + 20);
                batch::push_entry(&mut body, &entry);
            } else {
                self.bodies_at.push(0);
                body.extend_from_slice(&message);
            }
        }
        ask.body = body.into();
        ask
    }
}

impl Protocol for Send {
    fn create_topic(&mut self, address: SocketAddr) -> Result<()> {
        Asker::connect(address)?.create_topic(&self.topic, self.queues)?;
        self.templates =
            (0..self.queues).map(|queue| Template::of(&self.request(queue))).collect::<Result<_>>()?;
        Ok(())
    }

    fn handshake(&mut self, _: usize, _: &mut TcpStream) -> Result<()> {
        Ok(())
    }

    fn encode(&mut self, _: usize, tag: u32, out: &mut Vec<u8>) {
        let template = &self.templates[(tag % self.queues) as usize];
        let at = template.write(tag, out) + template.body_at;
        for (index, body_at) in self.bodies_at.iter().enumerate() {
            out[at + body_at..at + body_at + 8].copy_from_slice(&mark(tag, index as u32));
        }
    }

    fn decode(&mut self, _: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some(head) = self.scanner.head(input)? else { return Ok(None) };
        if head.code != response::SUCCESS {
            return Err(refused(&command(input)?));
        }
        self.acknowledged_messages += u64::from(self.messages);
        if self.acknowledged.is_wanted() {
            let header = SendMessageResponse::from_ext_fields(&command(input)?.ext_fields);
            let header = header.map_err(|error| BenchError::Answer(error.to_string()))?;
            let (queue, offset) = (header.queue_id as u32, header.queue_offset as u64);
            self.acknowledged.keep(Sent { tag: head.tag, queue, offset });
        }
        Ok(Some(Answer { bytes: head.bytes, tag: head.tag, messages: self.messages }))
    }

    /// Reads a spread of the acknowledged messages, and compares the queues' lengths with the number of all.
    fn verify(&mut self, address: SocketAddr) -> Result<u64> {
        let mut asker = Asker::connect(address)?;
        let mut verified = 0;
        for sent in self.acknowledged.take() {
            for index in 0..self.messages {
                let offset = sent.offset + u64::from(index);
                let begun = Instant::now();
                let body = loop {
                    match asker.body(&self.topic, sent.queue, offset)? {
                        Some(body) => break Some(body),
                        None if begun.elapsed() > READABLE_MAX => break None,
                        None => std::thread::sleep(Duration::from_millis(1)),
                    }
                };
                let is_right = body.is_some_and(|body| {
                    body.len() == self.message_bytes && body.starts_with(&mark(sent.tag, index))
                });
                if !is_right {
                    let (topic, queue, tag) = (&self.topic, sent.queue, sent.tag);
                    return Err(BenchError::Lost(format!(
                        "{topic}, queue {queue}, offset {offset}: request {tag}"
                    )));
                }
                verified += 1;
            }
        }
        let lengths = (0..self.queues).map(|queue| asker.length(&self.topic, queue));
        let stored: u64 = lengths.sum::<Result<u64>>()?;
        if stored != self.acknowledged_messages {
            return Err(BenchError::Lost(format!(
                "{} messages of {} were acknowledged and {stored} stored",
                self.acknowledged_messages, self.topic
            )));
        }
        Ok(verified)
    }
}

/// Pulls of a topic whose messages lie in the log in the order of queues, so that no two of a queue are neighbours.
pub struct Pull {
    topic: String,
    queues: u32,
    per_queue: u32,
    message_bytes: usize,
    answer_bytes: u32,
    /// One for each connection, with the place of the offset's digits.
    templates: Vec<(Template, usize)>,
    cursors: Vec<u64>,
    scanner: AnswerScanner,
    checked: Sampler<()>,
    verified: u64,
}

impl Pull {
    /// Answers of at most `answer_bytes` from a topic of so many queues with `per_queue` messages of `message_bytes` each.
    pub fn new(topic: &str, queues: u32, per_queue: u32, message_bytes: usize, answer_bytes: u32) -> Self {
        Pull {
            topic: topic.to_owned(),
            queues,
            per_queue,
            message_bytes,
            answer_bytes,
            templates: Vec::new(),
            cursors: Vec::new(),
            scanner: AnswerScanner::new(),
            checked: Sampler::default(),
            verified: 0,
        }
    }

    fn queue(&self, connection: usize) -> u32 {
        connection as u32 % self.queues
    }

    /// Whether all of the records are whole, in order and what was sent.
    fn check(&self, queue: u32, mut offset: u64, mut body: &[u8]) -> Result<u64> {
        let mut records = 0;
        let wrong = |offset, what: String| {
            BenchError::Lost(format!("{}, queue {queue}, offset {offset}: {what}", self.topic))
        };
        while !body.is_empty() {
            let record = RecordView::parse(body)
                .and_then(|record| RecordView::check(body, record.position(), false))
                .map_err(|error| wrong(offset, error.to_string()))?;
            let sent = mark(offset as u32 * self.queues + queue, 0);
            let is_right = record.queue_id() == queue
                && record.queue_offset() == offset
                && record.body().len() == self.message_bytes
                && record.body().starts_with(&sent);
            if !is_right {
                return Err(wrong(offset, "another message was delivered".to_owned()));
            }
            body = &body[record.len()..];
            offset += 1;
            records += 1;
        }
        Ok(records)
    }
}

/// Counts records by their lengths, and checks that their offsets follow each other.
fn count(mut body: &[u8], first: u64) -> Option<u32> {
    let mut records = 0;
    while !body.is_empty() {
        let length = u32::from_be_bytes(*body.first_chunk()?) as usize;
        let offset = u64::from_be_bytes(*body.get(20..)?.first_chunk()?);
        if offset != first + u64::from(records) || length == 0 {
            return None;
        }
        body = body.get(length..)?;
        records += 1;
    }
    Some(records)
}

impl Protocol for Pull {
    /// Makes the topic and sends its messages, over one connection so that they come in order.
    fn create_topic(&mut self, address: SocketAddr) -> Result<()> {
        let mut send = Send::new(&self.topic, self.queues, 1, self.message_bytes);
        send.create_topic(address)?;
        let load = Load { connections: 1, window: 64 };
        let requests = Span::Requests(self.queues * self.per_queue);
        drive(&mut send, address, std::process::id(), load, requests, &mut 0)?;
        send.verify(address)?;
        Ok(())
    }

    fn handshake(&mut self, connection: usize, _: &mut TcpStream) -> Result<()> {
        if connection == self.cursors.len() {
            let mut ask =
                pull_request(&self.topic, self.queue(connection), 0, 1024, self.answer_bytes as i32);
            ask.ext_fields.insert("queueOffset", "0".repeat(OFFSET_DIGITS));
            let template = Template::of(&ask)?;
            let name = "\"queueOffset\":\"";
            let offset_at = place(&template.bytes, name)? + name.len();
            self.templates.push((template, offset_at));
            self.cursors.push(0);
        }
        Ok(())
    }

    fn encode(&mut self, connection: usize, tag: u32, out: &mut Vec<u8>) {
        let (template, offset_at) = &self.templates[connection];
        let at = template.write(tag, out) + offset_at;
        digits(self.cursors[connection], &mut out[at..at + OFFSET_DIGITS]);
    }

    fn decode(&mut self, connection: usize, input: &[u8]) -> Result<Option<Answer>> {
        let Some(head) = self.scanner.head(input)? else { return Ok(None) };
        if head.code != response::SUCCESS {
            return Err(refused(&command(input)?));
        }
        let (queue, cursor) = (self.queue(connection), self.cursors[connection]);
        let body = &input[head.body_at..head.bytes];
        let messages = count(body, cursor).filter(|messages| *messages > 0).ok_or_else(|| {
            BenchError::Lost(format!(
                "{}, queue {queue}: other messages than those from {cursor} on",
                self.topic
            ))
        })?;
        if self.checked.is_wanted() {
            self.verified += self.check(queue, cursor, body)?;
            self.checked.keep(());
        }
        let next = cursor + u64::from(messages);
        self.cursors[connection] = if next >= u64::from(self.per_queue) { 0 } else { next };
        Ok(Some(Answer { bytes: head.bytes, tag: head.tag, messages }))
    }

    /// Deliveries are checked as they come: here is how many.
    fn verify(&mut self, _: SocketAddr) -> Result<u64> {
        self.checked.take();
        Ok(std::mem::take(&mut self.verified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, opaque: i32, body: &[u8]) -> Vec<u8> {
        let mut answer = Command::request(code);
        answer.opaque = opaque;
        answer.flag = 1;
        answer.body = Bytes::copy_from_slice(body);
        let mut out = BytesMut::new();
        answer.encode(&mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn a_written_template_is_the_request_with_its_tag() {
        for messages in [1, 3] {
            let mut send = Send::new("T", 2, messages, 100);
            send.templates = (0..2).map(|queue| Template::of(&send.request(queue)).unwrap()).collect();
            let mut out = Vec::new();
            send.encode(0, 999_999_999, &mut out);
            let ask = command(&out).unwrap();
            assert_eq!(ask.opaque, 1_999_999_999);
            let header = SendMessageV2::from_ext_fields(&ask.ext_fields).unwrap();
            assert_eq!((header.queue_id, header.batch), (1, Some(messages > 1)));
            let bodies: Vec<&[u8]> = if messages == 1 {
                vec![&ask.body]
            } else {
                batch::entries(&ask.body).map(|entry| entry.unwrap().body).collect()
            };
            assert_eq!(bodies.len(), messages as usize);
            for (index, body) in bodies.iter().enumerate() {
                assert_eq!((body.len(), &body[..8]), (100, &mark(999_999_999, index as u32)[..]));
            }
        }
    }

    #[test]
    fn a_pull_s_template_takes_the_offset() {
        let mut pull = Pull::new("T", 4, 10, 100, 1000);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for connection in 0..6 {
            pull.handshake(connection, &mut stream).unwrap();
        }
        pull.cursors[5] = 1_234_567_890;
        let mut out = Vec::new();
        pull.encode(5, 0, &mut out);
        let header = PullMessage::from_ext_fields(&command(&out).unwrap().ext_fields).unwrap();
        assert_eq!((header.queue_id, header.queue_offset), (1, 1_234_567_890));
    }

    #[test]
    fn heads_of_answers() {
        let scanner = AnswerScanner::new();
        let whole = answer(17, OPAQUE_BASE + 5, b"body");
        for length in 0..whole.len() {
            assert_eq!(scanner.head(&whole[..length]).unwrap(), None);
        }
        let head = scanner.head(&whole).unwrap().unwrap();
        assert_eq!((head.code, head.tag, head.bytes), (17, 5, whole.len()));
        assert_eq!(&whole[head.body_at..], b"body");
        assert!(scanner.head(&answer(0, 3, b"")).is_err(), "an opaque that we never send");
        let mut binary = whole;
        binary[4] = 1;
        assert!(scanner.head(&binary).is_err());
    }

    #[test]
    fn a_refusal_ends_the_run() {
        let mut send = Send::new("T", 1, 1, 10);
        assert!(matches!(
            send.decode(0, &answer(17, OPAQUE_BASE, b"")),
            Err(BenchError::Refused { code: 17, .. })
        ));
    }

    #[test]
    fn records_are_counted_only_when_they_follow_each_other() {
        let record = |offset: u64| {
            let mut record = vec![0; 40];
            record[3] = 40;
            record[20..28].copy_from_slice(&offset.to_be_bytes());
            record
        };
        let body = |offsets: &[u64]| offsets.iter().flat_map(|offset| record(*offset)).collect::<Vec<u8>>();
        for (body, expected) in [
            (body(&[]), Some(0)),
            (body(&[7, 8, 9]), Some(3)),
            (body(&[7, 9]), None),
            (body(&[8]), None),
            (body(&[7])[..39].to_vec(), None),
            (vec![0; 40], None),
        ] {
            assert_eq!(count(&body, 7), expected);
        }
    }
}
