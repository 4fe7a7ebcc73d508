//! `braidmq produce`: sends with a window of requests in flight.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::net::UdpSocket;
use std::time::Instant;

use braid_record::property;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;
use bytes::Bytes;
use serde::Serialize;

use super::progress::Progress;
use crate::cli::ProduceArgs;
use crate::client::{Arrival, Client, Event, Queue, answer_error, no_topic, write_queues};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Format, Out, Row};
use crate::time;

/// Requests that wait for their answer.
const WINDOW: usize = 64;
/// The longest message that is read: what fits into a frame with its header.
const MESSAGE_BYTES_MAX: u64 = 15 << 20;
/// The topic whose settings a topic made on first use copies, and how many queues it gets: what RocketMQ's own clients say.
const TEMPLATE: (&str, i32) = ("TBW102", 4);
/// The group that we send as.
const GROUP: &str = "BRAIDMQ_CLI";
const DELAY: &str = "DELAY";

/// A message that was sent.
#[derive(Debug, Serialize)]
struct SentRow {
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
    id: String,
    unique_key: String,
    /// `SEND_OK`, or how the message is less safe than asked.
    status: &'static str,
}

impl Row for SentRow {
    const COLUMNS: &'static [&'static str] = &["QUEUE", "OFFSET", "STATUS", "ID"];

    fn cells(&self) -> Vec<String> {
        vec![self.queue.to_string(), self.offset.to_string(), self.status.to_owned(), self.id.clone()]
    }
}

/// A request in flight.
struct Waiting {
    queue: Queue,
    unique_key: String,
    deadline: Instant,
}

/// Runs `produce`.
pub fn run(args: &ProduceArgs, client: &mut Client, out: &mut Out) -> CliResult {
    let producer = Producer::new(args, client)?;
    let total = (!args.messages.is_empty()).then(|| args.messages.len() as u64 * args.count);
    let progress = Progress::new(total, out.is_terminal() && !args.quiet);
    let mut sender = Sender {
        producer,
        client,
        progress,
        waiting: HashMap::new(),
        sent: 0,
        unsafe_sent: 0,
        failure: None,
    };
    if args.quiet && out.format() == Format::Table {
        let mut nothing = |_: SentRow| Ok(());
        sender.send_all(args, &mut nothing)?;
    } else {
        let mut stream = out.stream();
        let is_terminal = stream.is_terminal();
        let mut print = |row: SentRow| {
            stream.row(&row)?;
            if is_terminal { stream.flush() } else { Ok(()) }
        };
        sender.send_all(args, &mut print)?;
        stream.end()?;
    }
    sender.end(args.quiet)
}

/// What all messages of one call share.
struct Producer {
    topic: String,
    queues: Vec<Queue>,
    properties: Vec<u8>,
    ids: UniqueKeys,
    next_queue: usize,
}

impl Producer {
    fn new(args: &ProduceArgs, client: &mut Client) -> CliResult<Self> {
        let mut properties = Vec::new();
        let text = |what: &str, value: &str| {
            if value.contains(['\u{1}', '\u{2}']) || value.is_empty() {
                return Err(CliError::new(
                    Code::Usage,
                    format!("{what} is empty or has the characters 1 or 2 in it"),
                ));
            }
            Ok(())
        };
        for setting in &args.properties {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                CliError::new(Code::Usage, format!("--property {setting}: there is no `=`"))
            })?;
            text("--property", name)?;
            text("--property", value)?;
            property::set(&mut properties, name, value);
        }
        if !args.keys.is_empty() {
            let keys = args.keys.join(" ");
            text("--key", &keys)?;
            property::set(&mut properties, property::KEYS, &keys);
        }
        if let Some(tag) = &args.tag {
            text("--tag", tag)?;
            property::set(&mut properties, property::TAGS, tag);
        }
        if args.delay_level > 0 {
            property::set(&mut properties, DELAY, &args.delay_level.to_string());
        }
        let queues = queues(args, client)?;
        Ok(Producer { topic: args.topic.clone(), queues, properties, ids: UniqueKeys::new(), next_queue: 0 })
    }

    fn request(&mut self, body: Bytes) -> (Command, Waiting) {
        let queue = self.queues[self.next_queue % self.queues.len()].clone();
        self.next_queue = self.next_queue.wrapping_add(1);
        let unique_key = self.ids.next();
        let mut properties = self.properties.clone();
        property::set(&mut properties, property::UNIQ_KEY, &unique_key);
        let mut ask = Command::request(request::SEND_MESSAGE_V2);
        ask.ext_fields = header::SendMessageV2 {
            producer_group: GROUP.to_owned(),
            topic: self.topic.clone(),
            default_topic: TEMPLATE.0.to_owned(),
            default_topic_queue_nums: TEMPLATE.1,
            queue_id: queue.id,
            sys_flag: 0,
            born_timestamp: time::now_ms(),
            flag: 0,
            // Everything in it came as text from the command line.
            properties: Some(String::from_utf8_lossy(&properties).into_owned()),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            batch: Some(false),
            broker_name: Some(queue.broker.clone()),
        }
        .to_ext_fields();
        ask.body = body;
        (ask, Waiting { queue, unique_key, deadline: Instant::now() })
    }
}

/// The queues to send to. A topic that does not exist yet is made by its first message, if there is a template for it.
fn queues(args: &ProduceArgs, client: &mut Client) -> CliResult<Vec<Queue>> {
    let topic = &args.topic;
    let mut queues = match client.route(topic)? {
        Some(route) => write_queues(&route),
        None => {
            let route = client.route(TEMPLATE.0)?.ok_or_else(|| no_topic(topic))?;
            write_queues(&route).into_iter().filter(|queue| queue.id < TEMPLATE.1).collect()
        }
    };
    if queues.is_empty() {
        return Err(CliError::new(
            Code::Unauthorised,
            format!("topic {topic} has no queue that can be written"),
        )
        .hint("`braidmq topic set --perm rw` opens it"));
    }
    if let Some(id) = args.queue {
        queues.retain(|queue| u32::try_from(queue.id) == Ok(id));
        if queues.is_empty() {
            return Err(CliError::new(Code::NotFound, format!("topic {topic} has no queue {id}")));
        }
    }
    Ok(queues)
}

/// Sends, and keeps account of what was answered.
struct Sender<'a> {
    producer: Producer,
    client: &'a mut Client,
    progress: Progress,
    waiting: HashMap<i32, Waiting>,
    sent: u64,
    /// Stored, but the broker says that they are less safe than asked.
    unsafe_sent: u64,
    failure: Option<CliError>,
}

type Print<'a> = dyn FnMut(SentRow) -> io::Result<()> + 'a;

impl Sender<'_> {
    /// Sends everything, until the first failure; then waits for what is in flight.
    fn send_all(&mut self, args: &ProduceArgs, print: &mut Print<'_>) -> CliResult {
        if args.messages.is_empty() {
            let mut input = io::stdin().lock();
            while self.failure.is_none() {
                match read_line(&mut input) {
                    Ok(Some(line)) => self.send_times(&line, args.count, print)?,
                    Ok(None) => break,
                    Err(error) => self.failure = Some(error),
                }
            }
        }
        for message in &args.messages {
            self.send_times(&Bytes::copy_from_slice(message.as_bytes()), args.count, print)?;
        }
        while !self.waiting.is_empty() {
            self.take_answer(print)?;
        }
        Ok(())
    }

    fn send_times(&mut self, body: &Bytes, count: u64, print: &mut Print<'_>) -> CliResult {
        for _ in 0..count {
            while self.waiting.len() >= WINDOW && self.failure.is_none() {
                self.take_answer(print)?;
            }
            if self.failure.is_some() {
                return Ok(());
            }
            let (ask, mut waiting) = self.producer.request(body.clone());
            match self.client.send(&waiting.queue.address, ask) {
                Ok(opaque) => {
                    waiting.deadline = Instant::now() + self.client.timeout();
                    self.waiting.insert(opaque, waiting);
                }
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(())
    }

    /// Waits for one answer, or for the news that none will come.
    fn take_answer(&mut self, print: &mut Print<'_>) -> CliResult {
        let deadline =
            self.waiting.values().map(|waiting| waiting.deadline).min().unwrap_or_else(Instant::now);
        match self.client.next(deadline) {
            Some(Arrival { event: Event::Command(answer), .. }) if answer.is_response() => {
                if let Some(waiting) = self.waiting.remove(&answer.opaque) {
                    self.settle(&answer, waiting, print)?;
                }
            }
            // Requests of the broker to its clients don't concern a producer without transactions.
            Some(Arrival { event: Event::Command(_) | Event::Ended, .. }) => {}
            Some(Arrival { event: Event::Closed(reason), server, .. }) => {
                let lost = self.waiting.len();
                self.waiting.retain(|_, waiting| waiting.queue.address != server);
                self.lose(lost - self.waiting.len(), &format!("{server}: {reason}"));
            }
            None => {
                let (lost, now) = (self.waiting.len(), Instant::now());
                self.waiting.retain(|_, waiting| waiting.deadline > now);
                let seconds = self.client.timeout().as_secs();
                self.lose(lost - self.waiting.len(), &format!("no answer within {seconds} s"));
            }
        }
        Ok(())
    }

    fn settle(&mut self, answer: &Command, waiting: Waiting, print: &mut Print<'_>) -> CliResult {
        let status = match answer.code {
            response::SUCCESS => "SEND_OK",
            response::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
            response::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
            response::SLAVE_NOT_AVAILABLE => "SLAVE_NOT_AVAILABLE",
            _ => {
                let error = answer_error(answer).context(format!("sending to topic {}", self.producer.topic));
                self.failure.get_or_insert(error);
                return Ok(());
            }
        };
        let header = header::SendMessageResponse::from_ext_fields(&answer.ext_fields).map_err(|error| {
            CliError::new(Code::Failure, format!("the server's answer can't be read: {error}"))
        })?;
        self.sent += 1;
        self.unsafe_sent += u64::from(answer.code != response::SUCCESS);
        self.progress.at(self.sent, "messages");
        print(SentRow {
            topic: self.producer.topic.clone(),
            broker: waiting.queue.broker,
            queue: header.queue_id,
            offset: header.queue_offset,
            id: header.message_id,
            unique_key: waiting.unique_key,
            status,
        })?;
        Ok(())
    }

    fn lose(&mut self, lost: usize, reason: &str) {
        if lost > 0 {
            let message = format!("{lost} messages were not answered and may or may not be stored: {reason}");
            self.failure
                .get_or_insert(CliError::new(Code::Unreachable, message).hint("is the server running?"));
        }
    }

    fn end(self, is_quiet: bool) -> CliResult {
        drop(self.progress);
        match self.failure {
            Some(mut error) if self.sent > 0 => {
                error.code = Code::Partial;
                error.message = format!("{} (after {} messages were sent)", error.message, self.sent);
                Err(error)
            }
            Some(error) => Err(error),
            None if self.unsafe_sent > 0 => {
                let message =
                    format!("{} of {} messages are less safe than asked", self.unsafe_sent, self.sent);
                Err(CliError::new(Code::Partial, message).hint("the status of each message says how"))
            }
            None => {
                if is_quiet {
                    eprintln!("{} messages sent", self.sent);
                }
                Ok(())
            }
        }
    }
}

/// The next line without its end; an empty line is no message, since RocketMQ has none without a body.
fn read_line(input: &mut impl BufRead) -> CliResult<Option<Bytes>> {
    loop {
        let mut line = Vec::new();
        let failed = |error: io::Error| CliError::new(Code::Failure, format!("standard input: {error}"));
        let bytes = input.take(MESSAGE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(failed)?;
        if bytes == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() as u64 > MESSAGE_BYTES_MAX {
            return Err(CliError::new(
                Code::Usage,
                format!("a line is longer than {MESSAGE_BYTES_MAX} bytes"),
            ));
        }
        if !line.is_empty() {
            return Ok(Some(line.into()));
        }
    }
}

/// Ids as RocketMQ's clients make them: address, process, 4 bytes that differ between two processes of one number, milliseconds since
/// the process's first id was due, a counter.
struct UniqueKeys {
    prefix: String,
    started_ms: i64,
    counter: u16,
}

impl UniqueKeys {
    fn new() -> Self {
        let ip = own_address().unwrap_or([127, 0, 0, 1]);
        let process = std::process::id() as u16;
        let started_ms = time::now_ms();
        // A process with the same number started at another time.
        let salt = started_ms as u32;
        let hex: String = ip.iter().map(|byte| format!("{byte:02X}")).collect();
        UniqueKeys { prefix: format!("{hex}{process:04X}{salt:08X}"), started_ms, counter: 0 }
    }

    fn next(&mut self) -> String {
        self.counter = self.counter.wrapping_add(1);
        let since_ms = (time::now_ms() - self.started_ms) as u32;
        format!("{}{since_ms:08X}{:04X}", self.prefix, self.counter)
    }
}

/// The address that this machine would reach others from; nothing is sent.
fn own_address() -> Option<[u8; 4]> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(ip) => Some(ip.octets()),
        std::net::IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_empty_lines_are_none() {
        let mut input = &b"a\r\n\n\nb c\n\xff\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).expect("readable") {
            lines.push(line.to_vec());
        }
        assert_eq!(lines, [&b"a"[..], b"b c", b"\xff", b"last"]);
    }

    #[test]
    fn a_line_at_the_bound_is_read_and_one_past_it_is_not() {
        let at = vec![b'x'; MESSAGE_BYTES_MAX as usize];
        assert_eq!(read_line(&mut &at[..]).expect("readable").map(|line| line.len()), Some(at.len()));
        let past = vec![b'x'; MESSAGE_BYTES_MAX as usize + 1];
        assert!(read_line(&mut &past[..]).is_err());
    }

    #[test]
    fn unique_keys_are_16_bytes_of_hex_and_differ() {
        let mut ids = UniqueKeys::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert!(
            first.len() == 32
                && first.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_lowercase())
        );
    }
}
