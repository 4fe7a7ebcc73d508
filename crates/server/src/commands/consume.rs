//! `braidmq consume`: reads queues with pulls that wait, alone or as a member of a group.
//!
//! One loop: every queue that is ours and has no pull in flight gets one; then the next arrival is looked at. A member of a group also
//! heartbeats and looks at who else is in the group; queues are shared as RocketMQ's clients share them by default.

mod format;
mod membership;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, Instant};

use braid_record::RecordView;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;
use braid_wire_rocketmq::pull::{SYS_FLAG_SUBSCRIPTION, SYS_FLAG_SUSPEND};

use super::place::{Place, max_offset};
use super::progress::Progress;
use crate::cli::ConsumeArgs;
use crate::client::{Arrival, Client, Event, Message, Queue, answer_error, read_queues, records};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, Row, Stream};
use format::Template;
use membership::Membership;

/// The group of a reader that is in none: the one that RocketMQ's own tools read with.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// How long a pull waits for messages at the end of a queue.
const SUSPEND: Duration = Duration::from_secs(15);
/// The longest that the loop sleeps, so that heartbeats are not late.
const TURN: Duration = Duration::from_secs(1);
/// Messages that one pull asks for.
const PULL_MESSAGES: i32 = 32;
/// How long a queue rests after a broker was busy.
const REST: Duration = Duration::from_millis(200);

impl Row for Message {
    const COLUMNS: &'static [&'static str] = &["QUEUE", "OFFSET", "STORED", "TAG", "KEYS", "BODY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.queue.to_string(),
            self.offset.to_string(),
            self.stored.clone(),
            self.tag.clone().unwrap_or_default(),
            self.keys.join(" "),
            self.body_text(),
        ]
    }
}

/// Where messages go.
enum Sink<'a> {
    Rows(Stream<'a, Message>),
    Template(Template, &'a mut Out),
}

impl Sink<'_> {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        match self {
            Sink::Rows(stream) => stream.row(message),
            Sink::Template(template, out) => out.raw(&template.fill(message)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Rows(stream) => stream.flush(),
            Sink::Template(_, out) => out.flush(),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Sink::Rows(stream) => stream.end(),
            Sink::Template(_, out) => out.flush(),
        }
    }
}

/// A queue that is being read.
struct Reading {
    next: u64,
    /// Where a reader that does not follow ends.
    end: Option<u64>,
    /// The pull in flight, and when it must be answered.
    pull: Option<(i32, Instant)>,
    /// Not to be pulled before.
    rests_until: Option<Instant>,
}

impl Reading {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// Runs `consume`.
pub fn run(args: &ConsumeArgs, client: &mut Client, out: &mut Out) -> CliResult {
    let from = args.from.as_deref().map(Place::parse).transpose()?;
    let tags = Tags::parse(&args.tag)?;
    let template = args.format.as_deref().map(Template::parse).transpose()?;
    let route = client.route_of(&args.topic)?;
    let mut all = read_queues(&route);
    if !args.queues.is_empty() {
        all.retain(|queue| args.queues.iter().any(|wanted| u32::try_from(queue.id) == Ok(*wanted)));
        if all.is_empty() {
            return Err(CliError::new(
                Code::NotFound,
                format!("topic {} has none of these queues", args.topic),
            ));
        }
    }
    let membership = args.group.as_ref().map(|group| Membership::new(group, &args.topic, &args.tag));
    let progress = Progress::new(args.max, out.is_terminal());
    let sink = match template {
        Some(template) => Sink::Template(template, out),
        None => Sink::Rows(out.stream()),
    };
    let mut consumer = Consumer {
        args,
        client,
        sink,
        tags,
        from,
        all,
        membership,
        progress,
        reading: BTreeMap::new(),
        in_flight: HashMap::new(),
        printed: 0,
        commits: HashMap::new(),
    };
    let result = consumer.run();
    let left = consumer.leave();
    consumer.sink.end()?;
    result.and(left)
}

struct Consumer<'a> {
    args: &'a ConsumeArgs,
    client: &'a mut Client,
    sink: Sink<'a>,
    tags: Tags,
    from: Option<Place>,
    /// Every queue of the topic.
    all: Vec<Queue>,
    membership: Option<Membership>,
    progress: Progress,
    /// The queues that are ours.
    reading: BTreeMap<Queue, Reading>,
    /// Pulls by opaque.
    in_flight: HashMap<i32, Queue>,
    printed: u64,
    /// Commits in flight, by opaque.
    commits: HashMap<i32, Queue>,
}

impl Consumer<'_> {
    fn run(&mut self) -> CliResult {
        if self.membership.is_none() {
            for queue in self.all.clone() {
                self.take(queue)?;
            }
        }
        loop {
            self.rebalance()?;
            if self.is_done() {
                return Ok(());
            }
            self.pull_all()?;
            match self.client.next(self.next_deadline()) {
                Some(arrival) => self.arrived(arrival)?,
                None => self.check_deadlines()?,
            }
        }
    }

    fn is_done(&self) -> bool {
        let is_enough = self.args.max.is_some_and(|max| self.printed >= max);
        // A member that has no queue yet, or none left, has nothing to wait for unless it follows.
        is_enough || !self.args.follow && self.reading.values().all(Reading::is_done)
    }

    /// Looks at who is in the group, when it is time, and takes and gives up queues accordingly.
    fn rebalance(&mut self) -> CliResult {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        let Some(ours) = membership.turn(self.client, &self.all)? else { return Ok(()) };
        let lost: Vec<Queue> = self.reading.keys().filter(|queue| !ours.contains(queue)).cloned().collect();
        for queue in lost {
            self.reading.remove(&queue);
        }
        for queue in ours {
            if !self.reading.contains_key(&queue) {
                self.take(queue)?;
            }
        }
        Ok(())
    }

    /// Begins to read a queue: at `--from`, else at the group's cursor, else at the start.
    fn take(&mut self, queue: Queue) -> CliResult {
        let topic = &self.args.topic;
        let cursor = match (&self.membership, self.from) {
            (Some(membership), None) => membership.cursor(self.client, &queue)?,
            _ => None,
        };
        let next = match cursor {
            Some(offset) => offset,
            None => self.from.unwrap_or(Place::Start).resolve(self.client, topic, &queue)?,
        };
        let end = if self.args.follow { None } else { Some(max_offset(self.client, topic, &queue)?) };
        self.reading.insert(queue, Reading { next, end, pull: None, rests_until: None });
        Ok(())
    }

    fn pull_all(&mut self) -> CliResult {
        let now = Instant::now();
        let group = self.args.group.clone().unwrap_or_else(|| TOOLS_GROUP.to_owned());
        let left = self.args.max.map_or(u64::MAX, |max| max - self.printed);
        for (queue, reading) in &mut self.reading {
            if reading.pull.is_some()
                || reading.is_done()
                || reading.rests_until.is_some_and(|until| until > now)
            {
                continue;
            }
            reading.rests_until = None;
            let mut ask = Command::request(request::PULL_MESSAGE);
            ask.ext_fields = header::PullMessage {
                consumer_group: group.clone(),
                topic: self.args.topic.clone(),
                queue_id: queue.id,
                queue_offset: reading.next as i64,
                max_msg_nums: PULL_MESSAGES.min(i32::try_from(left).unwrap_or(PULL_MESSAGES)),
                sys_flag: SYS_FLAG_SUBSCRIPTION | if self.args.follow { SYS_FLAG_SUSPEND } else { 0 },
                commit_offset: 0,
                suspend_timeout_millis: SUSPEND.as_millis() as i64,
                subscription: Some(self.args.tag.clone()),
                sub_version: 0,
                expression_type: Some("TAG".to_owned()),
                max_msg_bytes: None,
                broker_name: Some(queue.broker.clone()),
            }
            .to_ext_fields();
            let opaque = self.client.send(&queue.address, ask)?;
            reading.pull = Some((opaque, now + SUSPEND + self.client.timeout()));
            self.in_flight.insert(opaque, queue.clone());
        }
        Ok(())
    }

    fn next_deadline(&self) -> Instant {
        let pulls = self.reading.values().filter_map(|reading| Some(reading.pull?.1));
        let rests = self.reading.values().filter_map(|reading| reading.rests_until);
        pulls.chain(rests).chain([Instant::now() + TURN]).min().unwrap_or_else(Instant::now)
    }

    fn check_deadlines(&self) -> CliResult {
        let now = Instant::now();
        let late = self
            .reading
            .iter()
            .find(|(_, reading)| reading.pull.is_some_and(|(_, deadline)| deadline <= now));
        match late {
            Some((queue, _)) => {
                Err(CliError::new(Code::Unreachable, format!("{} does not answer a pull", queue.address)))
            }
            None => Ok(()),
        }
    }

    fn arrived(&mut self, arrival: Arrival) -> CliResult {
        match arrival.event {
            Event::Closed(reason) => {
                // Their answers need not be waited for in the end.
                self.commits.retain(|_, queue| queue.address != arrival.server);
                Err(CliError::new(Code::Unreachable, format!("{} is gone: {reason}", arrival.server))
                    .hint("messages that were printed are not printed again by a group that starts anew"))
            }
            // A name server's connection is closed when it was not used for a while. If it was a broker, the next request to it says so.
            Event::Ended => {
                if let Some(membership) = &mut self.membership {
                    membership.connection_ended(&arrival.server);
                }
                Ok(())
            }
            Event::Command(command) if command.is_response() => {
                if let Some(queue) = self.in_flight.remove(&command.opaque) {
                    self.pulled(&queue, &command)
                } else if let Some(queue) = self.commits.remove(&command.opaque) {
                    self.committed(&queue, &command)
                } else {
                    Ok(())
                }
            }
            Event::Command(command) => {
                if let (Some(membership), request::NOTIFY_CONSUMER_IDS_CHANGED) =
                    (&mut self.membership, command.code)
                {
                    membership.members_changed();
                }
                Ok(())
            }
        }
    }

    fn pulled(&mut self, queue: &Queue, answer: &Command) -> CliResult {
        // The queue may have gone to another member while the pull was in flight.
        let Some(reading) = self
            .reading
            .get_mut(queue)
            .filter(|reading| reading.pull.is_some_and(|(opaque, _)| opaque == answer.opaque))
        else {
            return Ok(());
        };
        reading.pull = None;
        match answer.code {
            response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED => {}
            response::SYSTEM_BUSY | response::FLOW_CONTROL => {
                reading.rests_until = Some(Instant::now() + REST);
                return Ok(());
            }
            _ => {
                return Err(answer_error(answer)
                    .context(format!("reading queue {} of {}", queue.id, self.args.topic)));
            }
        }
        let header = header::PullMessageResponse::from_ext_fields(&answer.ext_fields).map_err(|error| {
            CliError::new(Code::Failure, format!("the server's answer can't be read: {error}"))
        })?;
        let next = u64::try_from(header.next_begin_offset).unwrap_or(0);
        let from = reading.next;
        // After a reset of the cursor a broker says so once, and means the offset that was asked for.
        if answer.code == response::PULL_OFFSET_MOVED && next != from {
            eprintln!(
                "warning: queue {} of {} has no offset {from}; going on at {next}",
                queue.id, queue.broker
            );
        }
        // A broker that finds nothing and does not say where to go on is at its end.
        let at_end = answer.code == response::PULL_NOT_FOUND && next <= from;
        reading.next = if at_end && !self.args.follow { reading.end.unwrap_or(from) } else { next };
        if answer.code == response::SUCCESS {
            self.print(queue, answer, from)?;
        }
        self.commit(queue)
    }

    /// Prints an answer's messages, not more than wanted.
    fn print(&mut self, queue: &Queue, answer: &Command, from: u64) -> CliResult {
        let records = records(&answer.body).map_err(|error| CliError::new(Code::Failure, error))?;
        let end = self.reading.get(queue).and_then(|reading| reading.end).unwrap_or(u64::MAX);
        for record in &records {
            if record.queue_offset() < from || record.queue_offset() >= end {
                continue;
            }
            if self.args.max.is_some_and(|max| self.printed >= max) {
                // The cursor stays in front of what was not printed.
                if let Some(reading) = self.reading.get_mut(queue) {
                    reading.next = record.queue_offset();
                }
                break;
            }
            if self.tags.accept(record) {
                self.sink.message(&Message::of(record, &queue.broker))?;
                self.printed += 1;
            }
        }
        self.sink.flush()?;
        self.progress.at(self.printed, "messages");
        Ok(())
    }

    /// Sets the group's cursor behind what was printed.
    fn commit(&mut self, queue: &Queue) -> CliResult {
        let (Some(membership), Some(reading)) = (&self.membership, self.reading.get(queue)) else {
            return Ok(());
        };
        let ask = membership.commit(queue, reading.next);
        let opaque = self.client.send(&queue.address, ask)?;
        self.commits.insert(opaque, queue.clone());
        Ok(())
    }

    fn committed(&mut self, queue: &Queue, answer: &Command) -> CliResult {
        if answer.code == response::SUCCESS {
            return Ok(());
        }
        Err(answer_error(answer).context(format!("committing queue {} of {}", queue.id, self.args.topic)))
    }

    /// Waits for the commits in flight and leaves the group.
    fn leave(&mut self) -> CliResult {
        let deadline = Instant::now() + self.client.timeout();
        while !self.commits.is_empty() {
            match self.client.next(deadline) {
                Some(Arrival { event: Event::Command(answer), .. }) if answer.is_response() => {
                    if let Some(queue) = self.commits.remove(&answer.opaque) {
                        self.committed(&queue, &answer)?;
                    }
                }
                Some(Arrival { event: Event::Command(_) | Event::Ended, .. }) => {}
                Some(Arrival { event: Event::Closed(reason), server, .. }) => {
                    let message = format!("the last commits were not answered: {server}: {reason}");
                    return Err(CliError::new(Code::Unreachable, message));
                }
                None => return Err(CliError::new(Code::Unreachable, "the last commits were not answered")),
            }
        }
        match &self.membership {
            Some(membership) => membership.leave(self.client),
            None => Ok(()),
        }
    }
}

/// Which tags are wanted. The broker compares hashes of tags only, so a reader compares the tags themselves.
struct Tags(Option<Vec<String>>);

impl Tags {
    fn parse(expression: &str) -> CliResult<Self> {
        let expression = expression.trim();
        if matches!(expression, "" | "*") {
            return Ok(Tags(None));
        }
        let tags: Vec<String> = expression.split("||").map(|tag| tag.trim().to_owned()).collect();
        if tags.iter().any(String::is_empty) {
            return Err(CliError::new(Code::Usage, format!("--tag {expression}: a tag is empty"))
                .hint("write A || B"));
        }
        Ok(Tags(Some(tags)))
    }

    fn accept(&self, record: &RecordView<'_>) -> bool {
        match &self.0 {
            None => true,
            Some(tags) => {
                let tag = record.property(braid_record::property::TAGS).unwrap_or("");
                tags.iter().any(|wanted| wanted == tag)
            }
        }
    }
}
