//! `braidmq message`.

use braid_crossing::names::to_rocketmq;
use braid_record::{RecordView, property};
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;

use crate::cli::MessageCommand;
use crate::client::{Client, Message, answer_error, read_queues, records};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, facts};
use crate::time;

/// Runs a `message` command.
pub fn run(command: &MessageCommand, client: &mut Client, out: &mut Out) -> CliResult {
    match command {
        MessageCommand::Get { id } => get(id, client, out),
        MessageCommand::Find { topic, key, unique_key, max, from, to } => {
            let find = Find {
                topic,
                key: key.as_deref().or(unique_key.as_deref()).unwrap_or_default(),
                is_unique: unique_key.is_some(),
                max: *max,
                from_ms: time_of(from.as_deref(), 0)?,
                to_ms: time_of(to.as_deref(), i64::MAX)?,
            };
            find.run(client, out)
        }
    }
}

fn time_of(text: Option<&str>, default: i64) -> CliResult<i64> {
    let Some(text) = text else { return Ok(default) };
    time::parse(text, time::now_ms()).ok_or_else(|| {
        CliError::new(Code::Usage, format!("`{text}` is no time"))
            .hint("write 2026-01-31T12:00:00Z, milliseconds since 1970, or -10m")
    })
}

fn get(id: &str, client: &mut Client, out: &mut Out) -> CliResult {
    let (host, position) = braid_record::id::parse_message_id(id).ok_or_else(|| {
        CliError::new(Code::Usage, format!("`{id}` is no message id")).hint(
            "an id has 32 or 56 hexadecimal digits; `braidmq message find TOPIC --key KEY` looks for keys",
        )
    })?;
    let not_found = || {
        CliError::new(Code::NotFound, format!("no message has the id {id}")).hint(
            "an id of the producer (Java: getMsgId) is found by `braidmq message find TOPIC --unique-key ID`",
        )
    };
    // The id names the broker's address, which may not be the one that we reach it at.
    let masters = client.masters()?;
    let host = host.to_string();
    let (broker, address) = match &masters[..] {
        [only] => only.clone(),
        _ => masters.iter().find(|(_, address)| *address == host).cloned().ok_or_else(not_found)?,
    };
    let mut ask = Command::request(request::VIEW_MESSAGE_BY_ID);
    let offset = i64::try_from(position).map_err(|_| not_found())?;
    ask.ext_fields = header::ViewMessage { topic: None, offset }.to_ext_fields();
    let answer = client.ask(&address, ask)?;
    if answer.code != response::SUCCESS {
        // Apache's broker says SYSTEM_ERROR for a position that holds nothing.
        let is_absent = matches!(answer.code, response::SYSTEM_ERROR | response::QUERY_NOT_FOUND);
        return Err(if is_absent {
            not_found()
        } else {
            answer_error(&answer).context(format!("message {id}"))
        });
    }
    let record = RecordView::parse(&answer.body).map_err(|error| {
        CliError::new(Code::Failure, format!("the server's answer is no message: {error}"))
    })?;
    let message = Message::of(&record, &broker);
    out.object(&message, || describe(&message))?;
    Ok(())
}

/// A search for a key.
struct Find<'a> {
    topic: &'a str,
    key: &'a str,
    is_unique: bool,
    max: u32,
    from_ms: i64,
    to_ms: i64,
}

impl Find<'_> {
    fn run(&self, client: &mut Client, out: &mut Out) -> CliResult {
        let route = client.route_of(self.topic)?;
        let mut brokers: Vec<(String, String)> =
            read_queues(&route).into_iter().map(|queue| (queue.broker, queue.address)).collect();
        brokers.dedup();
        let mut found = Vec::new();
        for (broker, address) in brokers {
            self.ask(&broker, &address, client, &mut found)?;
        }
        if found.is_empty() {
            let what = if self.is_unique { "unique key" } else { "key" };
            return Err(CliError::new(
                Code::NotFound,
                format!("no message of {} has the {what} {}", self.topic, self.key),
            ));
        }
        out.list(&found)?;
        Ok(())
    }

    fn ask(&self, broker: &str, address: &str, client: &mut Client, found: &mut Vec<Message>) -> CliResult {
        let mut ask = Command::request(request::QUERY_MESSAGE);
        ask.ext_fields = header::QueryMessage {
            topic: self.topic.to_owned(),
            key: self.key.to_owned(),
            max_num: self.max as i32,
            begin_timestamp: self.from_ms,
            end_timestamp: self.to_ms,
            unique_key_query: Some(self.is_unique),
            index_type: None,
            last_key: None,
        }
        .to_ext_fields();
        let answer = client.ask(address, ask)?;
        match answer.code {
            response::SUCCESS => {}
            response::QUERY_NOT_FOUND => return Ok(()),
            _ => return Err(answer_error(&answer).context(format!("looking for {} on {broker}", self.key))),
        }
        let records = records(&answer.body).map_err(|error| CliError::new(Code::Failure, error))?;
        // A broker's index knows hashes of keys; the keys themselves are compared here.
        found.extend(
            records.iter().filter(|record| self.is_meant(record)).map(|record| Message::of(record, broker)),
        );
        Ok(())
    }

    fn is_meant(&self, record: &RecordView<'_>) -> bool {
        if self.is_unique {
            return record.property(property::UNIQ_KEY) == Some(self.key);
        }
        let keys = record.property(property::KEYS).unwrap_or("");
        // The broker may spell the topic as RocketMQ does, whoever made it.
        let same_topic = to_rocketmq(record.topic()) == to_rocketmq(self.topic);
        same_topic && keys.split(' ').any(|key| key == self.key)
    }
}

fn describe(message: &Message) -> String {
    let mut pairs = vec![
        ("topic", message.topic.clone()),
        ("broker", message.broker.clone()),
        ("queue", message.queue.to_string()),
        ("offset", message.offset.to_string()),
        ("id", message.id.clone()),
        ("unique key", message.unique_key.clone().unwrap_or_default()),
        ("tag", message.tag.clone().unwrap_or_default()),
        ("keys", message.keys.join(" ")),
        ("born", format!("{} at {}", message.born, message.born_host)),
        ("stored", message.stored.clone()),
        ("came back", format!("{} times", message.reconsume_times)),
    ];
    let properties: Vec<String> =
        message.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.push(("properties", properties.join(", ")));
    pairs.push(("body", message.body_text()));
    facts(&pairs)
}
