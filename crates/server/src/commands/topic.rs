//! `braidmq topic`.

use std::collections::BTreeMap;

use braid_crossing::names::to_rocketmq;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{TopicConfig, TopicStatsTable};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;
use serde::Serialize;

use super::confirm;
use crate::cli::{TopicCommand, TopicSettings};
use crate::client::{Client, PERM_READ, PERM_WRITE, answer_error, body, is_system_topic, no_topic};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, Row, aligned, facts};
use crate::time;

/// Queues of a new topic on each broker: what mqadmin gives it.
const QUEUES: u32 = 8;
/// The topic that new topics name as their template.
const TEMPLATE: &str = "TBW102";

/// A topic at a broker.
#[derive(Debug, Serialize)]
struct TopicRow {
    topic: String,
    broker: String,
    read_queues: i32,
    write_queues: i32,
    perm: String,
    order: bool,
}

impl Row for TopicRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "BROKER", "QUEUES", "PERM", "ORDER"];

    fn cells(&self) -> Vec<String> {
        let queues = if self.read_queues == self.write_queues {
            self.read_queues.to_string()
        } else {
            format!("{} to read, {} to write", self.read_queues, self.write_queues)
        };
        vec![self.topic.clone(), self.broker.clone(), queues, self.perm.clone(), self.order.to_string()]
    }
}

impl TopicRow {
    fn of(broker: &str, config: &TopicConfig) -> Self {
        TopicRow {
            topic: config.topic_name.clone(),
            broker: broker.to_owned(),
            read_queues: config.read_queue_nums,
            write_queues: config.write_queue_nums,
            perm: perm_text(config.perm),
            order: config.order,
        }
    }
}

/// A queue of a topic.
#[derive(Debug, Serialize)]
struct QueueRow {
    broker: String,
    queue: i32,
    min_offset: i64,
    max_offset: i64,
    /// RFC 3339; empty if the queue never had a message.
    last_message: String,
}

impl Row for QueueRow {
    const COLUMNS: &'static [&'static str] = &["BROKER", "QUEUE", "MIN", "MAX", "LAST MESSAGE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.broker.clone(),
            self.queue.to_string(),
            self.min_offset.to_string(),
            self.max_offset.to_string(),
            self.last_message.clone(),
        ]
    }
}

#[derive(Debug, Serialize)]
struct TopicDetail {
    topic: String,
    messages: i64,
    brokers: Vec<TopicRow>,
    queues: Vec<QueueRow>,
}

/// What was done to a topic or group.
#[derive(Debug, Serialize)]
pub struct Done {
    /// `created`, `changed`, `deleted`, `exists`, `absent`.
    pub action: &'static str,
    /// Its name.
    pub name: String,
    /// The brokers that did it.
    pub brokers: Vec<String>,
}

impl Done {
    /// Prints it.
    pub fn print(&self, kind: &str, out: &mut Out) -> CliResult {
        let brokers =
            if self.brokers.is_empty() { String::new() } else { format!(" on {}", self.brokers.join(", ")) };
        let sentence = match self.action {
            "exists" => format!("{kind} {} exists already", self.name),
            "absent" => format!("{kind} {} does not exist", self.name),
            action => format!("{kind} {} {action}{brokers}", self.name),
        };
        out.object(self, || sentence)?;
        Ok(())
    }
}

/// Runs a `topic` command. A topic of Kafka's whose name RocketMQ cannot spell is listed under its alias, and known by both.
pub fn run(command: &TopicCommand, client: &mut Client, out: &mut Out) -> CliResult {
    match command {
        TopicCommand::List { all } => list(*all, client, out),
        TopicCommand::Get { topic } => get(&to_rocketmq(topic), client, out),
        TopicCommand::Create { topic, settings, if_not_exists } => {
            create(topic, settings, *if_not_exists, client, out)
        }
        TopicCommand::Set { topic, settings } => set(&to_rocketmq(topic), settings, client, out),
        TopicCommand::Delete { topic, yes, if_exists } => {
            delete(&to_rocketmq(topic), *yes, *if_exists, client, out)
        }
    }
}

fn list(all: bool, client: &mut Client, out: &mut Out) -> CliResult {
    let cluster = client.cluster()?;
    let rows: Vec<TopicRow> = client
        .topics()?
        .values()
        .flatten()
        .filter(|(_, config)| all || !is_system_topic(&config.topic_name, &cluster))
        .map(|(broker, config)| TopicRow::of(broker, config))
        .collect();
    out.list(&rows)?;
    Ok(())
}

fn get(topic: &str, client: &mut Client, out: &mut Out) -> CliResult {
    let configs = client.topics()?.remove(topic).ok_or_else(|| no_topic(topic))?;
    let mut queues = Vec::new();
    for (broker, address) in client.masters()? {
        if !configs.iter().any(|(name, _)| *name == broker) {
            continue;
        }
        let mut ask = Command::request(request::GET_TOPIC_STATS_INFO);
        ask.ext_fields = header::Topic { topic: topic.to_owned(), cluster_name: None }.to_ext_fields();
        let answer = client.ask_ok(&address, ask, &format!("statistics of topic {topic}"))?;
        for (queue, offsets) in body::<TopicStatsTable>(&answer)?.offset_table {
            queues.push(QueueRow {
                broker: queue.broker_name,
                queue: queue.queue_id,
                min_offset: offsets.min_offset,
                max_offset: offsets.max_offset,
                last_message: time::show(offsets.last_update_timestamp),
            });
        }
    }
    let messages = queues.iter().map(|queue| queue.max_offset - queue.min_offset).sum();
    let brokers = configs.iter().map(|(broker, config)| TopicRow::of(broker, config)).collect();
    let detail = TopicDetail { topic: topic.to_owned(), messages, brokers, queues };
    out.object(&detail, || describe(&detail))?;
    Ok(())
}

fn describe(detail: &TopicDetail) -> String {
    let perms: Vec<String> =
        detail.brokers.iter().map(|row| format!("{} on {}", row.perm, row.broker)).collect();
    let orders = detail.brokers.iter().any(|row| row.order);
    let head = facts(&[
        ("topic", detail.topic.clone()),
        ("messages", detail.messages.to_string()),
        ("perm", perms.join(", ")),
        ("order", orders.to_string()),
    ]);
    let cells: Vec<_> = detail.queues.iter().map(Row::cells).collect();
    format!("{head}\n{}", aligned(QueueRow::COLUMNS, &cells))
}

fn create(
    topic: &str,
    settings: &TopicSettings,
    if_not_exists: bool,
    client: &mut Client,
    out: &mut Out,
) -> CliResult {
    if client.topics()?.contains_key(topic) {
        if if_not_exists {
            return Done { action: "exists", name: topic.to_owned(), brokers: Vec::new() }
                .print("topic", out);
        }
        return Err(CliError::new(Code::Conflict, format!("topic {topic} exists already"))
            .hint("`braidmq topic set` changes it; --if-not-exists accepts it as it is"));
    }
    let queues = settings.queues.unwrap_or(QUEUES);
    let config = TopicConfig {
        topic_name: topic.to_owned(),
        read_queue_nums: queues as i32,
        write_queue_nums: queues as i32,
        ..TopicConfig::default()
    };
    let masters = client.masters()?;
    let mut configs = BTreeMap::new();
    for (broker, _) in &masters {
        configs.insert(broker.clone(), with_settings(config.clone(), settings)?);
    }
    let brokers = put(&configs, client)?;
    Done { action: "created", name: topic.to_owned(), brokers }.print("topic", out)
}

fn set(topic: &str, settings: &TopicSettings, client: &mut Client, out: &mut Out) -> CliResult {
    if settings.queues.is_none() && settings.perm.is_none() && settings.order.is_none() {
        return Err(CliError::new(Code::Usage, "nothing to change").hint("give --queues, --perm or --order"));
    }
    let configs = client.topics()?.remove(topic).ok_or_else(|| no_topic(topic))?;
    let mut changed = BTreeMap::new();
    for (broker, config) in configs {
        changed.insert(broker, with_settings(config, settings)?);
    }
    let brokers = put(&changed, client)?;
    Done { action: "changed", name: topic.to_owned(), brokers }.print("topic", out)
}

fn with_settings(mut config: TopicConfig, settings: &TopicSettings) -> CliResult<TopicConfig> {
    if let Some(queues) = settings.queues {
        config.read_queue_nums = queues as i32;
        config.write_queue_nums = queues as i32;
    }
    if let Some(perm) = &settings.perm {
        config.perm = parse_perm(perm)?;
    }
    if let Some(order) = settings.order {
        config.order = order;
    }
    Ok(config)
}

/// Gives each broker its settings of the topic.
fn put(configs: &BTreeMap<String, TopicConfig>, client: &mut Client) -> CliResult<Vec<String>> {
    let mut done = Vec::new();
    for (broker, address) in client.masters()? {
        let Some(config) = configs.get(&broker) else { continue };
        let mut ask = Command::request(request::UPDATE_AND_CREATE_TOPIC);
        ask.ext_fields = header::CreateTopic {
            topic: config.topic_name.clone(),
            default_topic: Some(TEMPLATE.to_owned()),
            read_queue_nums: config.read_queue_nums,
            write_queue_nums: config.write_queue_nums,
            perm: config.perm,
            topic_filter_type: Some(config.topic_filter_type.clone()),
            topic_sys_flag: Some(config.topic_sys_flag),
            order: Some(config.order),
            attributes: None,
            force: None,
        }
        .to_ext_fields();
        client
            .ask_ok(&address, ask, &format!("topic {} on {broker}", config.topic_name))
            .map_err(|error| in_part(error, &done))?;
        done.push(broker);
    }
    Ok(done)
}

fn delete(topic: &str, yes: bool, if_exists: bool, client: &mut Client, out: &mut Out) -> CliResult {
    let cluster = client.cluster()?;
    if !client.topics()?.contains_key(topic) {
        if if_exists {
            return Done { action: "absent", name: topic.to_owned(), brokers: Vec::new() }
                .print("topic", out);
        }
        return Err(CliError::new(Code::NotFound, format!("topic {topic} does not exist")));
    }
    confirm(&format!("Delete topic {topic} and all its messages"), yes)?;
    let mut brokers = Vec::new();
    for (broker, address) in client.masters()? {
        let mut ask = Command::request(request::DELETE_TOPIC_IN_BROKER);
        ask.ext_fields = header::Topic { topic: topic.to_owned(), cluster_name: None }.to_ext_fields();
        client
            .ask_ok(&address, ask, &format!("deleting topic {topic} on {broker}"))
            .map_err(|error| in_part(error, &brokers))?;
        brokers.push(broker);
    }
    for cluster_name in cluster.cluster_addr_table.into_keys() {
        let mut ask = Command::request(request::DELETE_TOPIC_IN_NAMESRV);
        ask.ext_fields =
            header::Topic { topic: topic.to_owned(), cluster_name: Some(cluster_name) }.to_ext_fields();
        let answer = client.ask_name_server(ask)?;
        // The name server may have forgotten it together with its last broker.
        if !matches!(answer.code, response::SUCCESS | response::TOPIC_NOT_EXIST) {
            return Err(in_part(answer_error(&answer).context("the name server's route"), &brokers));
        }
    }
    Done { action: "deleted", name: topic.to_owned(), brokers }.print("topic", out)
}

/// The error of a broker, when others have done it already.
pub fn in_part(mut error: CliError, done: &[String]) -> CliError {
    if !done.is_empty() {
        error.code = Code::Partial;
        error.message = format!("{} (done on {})", error.message, done.join(", "));
    }
    error
}

fn perm_text(perm: i32) -> String {
    let letter = |bit, letter| if perm & bit != 0 { letter } else { "" };
    match (perm & (PERM_READ | PERM_WRITE), letter(PERM_READ, "r"), letter(PERM_WRITE, "w")) {
        (0, ..) => "none".to_owned(),
        (_, read, write) => format!("{read}{write}"),
    }
}

fn parse_perm(text: &str) -> CliResult<i32> {
    match text {
        "rw" | "wr" => Ok(PERM_READ | PERM_WRITE),
        "r" => Ok(PERM_READ),
        "w" => Ok(PERM_WRITE),
        "none" => Ok(0),
        _ => {
            Err(CliError::new(Code::Usage, format!("`{text}` is no permission"))
                .hint("write rw, r, w or none"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_letters() {
        for (perm, text) in [(6, "rw"), (7, "rw"), (4, "r"), (2, "w"), (0, "none"), (1, "none")] {
            assert_eq!(perm_text(perm), text);
            assert_eq!(parse_perm(text).ok(), Some(perm & 6));
        }
        assert!(parse_perm("x").is_err());
    }
}
