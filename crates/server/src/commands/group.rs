//! `braidmq group`.

use std::collections::BTreeMap;

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ConsumeStats, ConsumerConnection, OffsetWrapper, SubscriptionGroupConfig,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;
use serde::Serialize;

use super::confirm;
use super::place::{Place, max_offset, min_offset};
use super::topic::{Done, in_part};
use crate::cli::GroupCommand;
use crate::client::{Client, Queue, answer_error, body, is_system_group, no_group, read_queues};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, Row, aligned, facts, tabbed};
use crate::time;

/// Topics whose name begins so hold a group's messages that came back.
const RETRY_PREFIX: &str = "%RETRY%";

/// A group at a broker.
#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    broker: String,
    retry_max: i32,
    consume: bool,
    broadcast: bool,
    orderly: bool,
}

impl Row for GroupRow {
    const COLUMNS: &'static [&'static str] =
        &["GROUP", "BROKER", "RETRY MAX", "CONSUME", "BROADCAST", "ORDERLY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.broker.clone(),
            self.retry_max.to_string(),
            self.consume.to_string(),
            self.broadcast.to_string(),
            self.orderly.to_string(),
        ]
    }
}

impl GroupRow {
    fn of(broker: &str, config: &SubscriptionGroupConfig) -> Self {
        GroupRow {
            group: config.group_name.clone(),
            broker: broker.to_owned(),
            retry_max: config.retry_max_times,
            consume: config.consume_enable,
            broadcast: config.consume_broadcast_enable,
            orderly: config.consume_message_orderly,
        }
    }
}

/// A member of a group.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MemberRow {
    client_id: String,
    address: String,
    language: String,
    version: i32,
}

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] = &["MEMBER", "ADDRESS", "LANGUAGE", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![self.client_id.clone(), self.address.clone(), self.language.clone(), self.version.to_string()]
    }
}

#[derive(Debug, Serialize)]
struct GroupDetail {
    group: String,
    brokers: Vec<GroupRow>,
    /// Topic to subscription, of the members that are there now.
    subscriptions: BTreeMap<String, String>,
    members: Vec<MemberRow>,
}

/// How far a group is behind in a queue.
#[derive(Debug, Serialize)]
struct LagRow {
    topic: String,
    broker: String,
    queue: i32,
    committed: i64,
    end: i64,
    lag: i64,
    /// When the message before the cursor was stored, RFC 3339; empty if there is none.
    last_consumed: String,
}

impl Row for LagRow {
    const COLUMNS: &'static [&'static str] =
        &["TOPIC", "BROKER", "QUEUE", "COMMITTED", "END", "LAG", "LAST CONSUMED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.broker.clone(),
            self.queue.to_string(),
            self.committed.to_string(),
            self.end.to_string(),
            self.lag.to_string(),
            self.last_consumed.clone(),
        ]
    }
}

#[derive(Debug, Serialize)]
struct Lag {
    group: String,
    lag: i64,
    queues: Vec<LagRow>,
}

/// What a reset does to a queue.
#[derive(Debug, Serialize)]
struct ResetRow {
    topic: String,
    broker: String,
    queue: i32,
    /// The cursor before; none if the group has none.
    from: Option<u64>,
    to: u64,
    /// Messages that are consumed again (negative) or passed over.
    delta: Option<i64>,
}

impl Row for ResetRow {
    const COLUMNS: &'static [&'static str] = &["BROKER", "QUEUE", "FROM", "TO", "DELTA"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.broker.clone(),
            self.queue.to_string(),
            self.from.map_or("-".to_owned(), |from| from.to_string()),
            self.to.to_string(),
            self.delta.map_or("-".to_owned(), |delta| format!("{delta:+}")),
        ]
    }
}

/// Runs a `group` command.
pub fn run(command: &GroupCommand, client: &mut Client, out: &mut Out) -> CliResult {
    match command {
        GroupCommand::List { all } => list(*all, client, out),
        GroupCommand::Get { group } => get(group, client, out),
        GroupCommand::Set { group, retry_max, consume, broadcast, orderly } => {
            let change = |config: &mut SubscriptionGroupConfig| {
                config.retry_max_times = retry_max.unwrap_or(config.retry_max_times);
                config.consume_enable = consume.unwrap_or(config.consume_enable);
                config.consume_broadcast_enable = broadcast.unwrap_or(config.consume_broadcast_enable);
                config.consume_message_orderly = orderly.unwrap_or(config.consume_message_orderly);
            };
            set(group, &change, client, out)
        }
        GroupCommand::Delete { group, yes, keep_cursors } => delete(group, *yes, *keep_cursors, client, out),
        GroupCommand::Lag { group, topic } => lag(group, topic.as_deref(), client, out),
        GroupCommand::Reset { group, topic, to, queues, dry_run, yes } => {
            let to = Place::parse(to)?;
            let reset = Reset { group, topic, to, wanted: queues };
            reset.run(*dry_run, *yes, client, out)
        }
    }
}

fn list(all: bool, client: &mut Client, out: &mut Out) -> CliResult {
    let rows: Vec<GroupRow> = client
        .groups()?
        .values()
        .flatten()
        .filter(|(_, config)| all || !is_system_group(&config.group_name))
        .map(|(broker, config)| GroupRow::of(broker, config))
        .collect();
    out.list(&rows)?;
    Ok(())
}

fn get(group: &str, client: &mut Client, out: &mut Out) -> CliResult {
    let configs = client.groups()?.remove(group).ok_or_else(|| no_group(group))?;
    let brokers = configs.iter().map(|(broker, config)| GroupRow::of(broker, config)).collect();
    let (members, subscriptions) = members(group, client)?;
    let detail = GroupDetail { group: group.to_owned(), brokers, subscriptions, members };
    out.object(&detail, || describe(&detail))?;
    Ok(())
}

/// Everybody who is in the group at any broker, and what they subscribe to.
fn members(group: &str, client: &mut Client) -> CliResult<(Vec<MemberRow>, BTreeMap<String, String>)> {
    let (mut members, mut subscriptions) = (Vec::new(), BTreeMap::new());
    for (_, address) in client.masters()? {
        let mut ask = Command::request(request::GET_CONSUMER_CONNECTION_LIST);
        ask.ext_fields = header::ConsumerGroup { consumer_group: group.to_owned() }.to_ext_fields();
        let answer = client.ask(&address, ask)?;
        match answer.code {
            response::SUCCESS => {}
            // Nobody is there, or never was at this broker.
            response::CONSUMER_NOT_ONLINE => continue,
            _ => return Err(answer_error(&answer).context(format!("members of group {group}"))),
        }
        let connection = body::<ConsumerConnection>(&answer)?;
        members.extend(connection.connection_set.into_iter().map(|member| MemberRow {
            client_id: member.client_id,
            address: member.client_addr,
            language: member.language.to_string(),
            version: member.version,
        }));
        let subscribed = connection.subscription_table.into_iter();
        subscriptions.extend(subscribed.map(|(topic, subscription)| (topic, subscription.sub_string)));
    }
    members.sort();
    members.dedup_by(|a, b| a.client_id == b.client_id);
    Ok((members, subscriptions))
}

fn describe(detail: &GroupDetail) -> String {
    let subscribed: Vec<String> =
        detail.subscriptions.iter().map(|(topic, tags)| format!("{topic} ({tags})")).collect();
    let each = |what: &dyn Fn(&GroupRow) -> String| {
        let mut values: Vec<String> = detail.brokers.iter().map(what).collect();
        values.dedup();
        values.join(", ")
    };
    let head = facts(&[
        ("group", detail.group.clone()),
        ("brokers", each(&|row| row.broker.clone())),
        ("retry max", each(&|row| row.retry_max.to_string())),
        ("consume", each(&|row| row.consume.to_string())),
        ("broadcast", each(&|row| row.broadcast.to_string())),
        ("orderly", each(&|row| row.orderly.to_string())),
        ("subscribes to", subscribed.join(", ")),
        ("members", detail.members.len().to_string()),
    ]);
    if detail.members.is_empty() {
        return head;
    }
    let cells: Vec<_> = detail.members.iter().map(Row::cells).collect();
    format!("{head}\n{}", aligned(MemberRow::COLUMNS, &cells))
}

fn set(
    group: &str,
    change: &dyn Fn(&mut SubscriptionGroupConfig),
    client: &mut Client,
    out: &mut Out,
) -> CliResult {
    let known: BTreeMap<String, SubscriptionGroupConfig> =
        client.groups()?.remove(group).unwrap_or_default().into_iter().collect();
    let action = if known.is_empty() { "created" } else { "changed" };
    let mut brokers = Vec::new();
    for (broker, address) in client.masters()? {
        let mut config = known.get(&broker).cloned().unwrap_or_else(|| SubscriptionGroupConfig {
            group_name: group.to_owned(),
            ..SubscriptionGroupConfig::default()
        });
        change(&mut config);
        let mut ask = Command::request(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
        ask.body = config.encode();
        client
            .ask_ok(&address, ask, &format!("group {group} on {broker}"))
            .map_err(|error| in_part(error, &brokers))?;
        brokers.push(broker);
    }
    Done { action, name: group.to_owned(), brokers }.print("group", out)
}

fn delete(group: &str, yes: bool, keep_cursors: bool, client: &mut Client, out: &mut Out) -> CliResult {
    let known = client.groups()?.remove(group).ok_or_else(|| no_group(group).without_hint())?;
    let what = if keep_cursors { "" } else { " and its cursors" };
    confirm(&format!("Delete group {group}{what}"), yes)?;
    let mut brokers = Vec::new();
    for (broker, address) in client.masters()? {
        if !known.iter().any(|(name, _)| *name == broker) {
            continue;
        }
        let mut ask = Command::request(request::DELETE_SUBSCRIPTIONGROUP);
        ask.ext_fields = header::DeleteSubscriptionGroup {
            group_name: group.to_owned(),
            clean_offset: Some(!keep_cursors),
        }
        .to_ext_fields();
        client
            .ask_ok(&address, ask, &format!("deleting group {group} on {broker}"))
            .map_err(|error| in_part(error, &brokers))?;
        brokers.push(broker);
    }
    Done { action: "deleted", name: group.to_owned(), brokers }.print("group", out)
}

fn lag(group: &str, topic: Option<&str>, client: &mut Client, out: &mut Out) -> CliResult {
    if !client.groups()?.contains_key(group) {
        return Err(no_group(group));
    }
    let mut queues: Vec<LagRow> = Vec::new();
    for (_, address) in client.masters()? {
        queues.extend(progress(group, topic, &address, client)?.into_iter().map(
            |(topic, broker, queue, offsets)| LagRow {
                topic,
                broker,
                queue,
                committed: offsets.consumer_offset,
                end: offsets.broker_offset,
                // A Kafka client may commit what is not there yet.
                lag: (offsets.broker_offset - offsets.consumer_offset).max(0),
                last_consumed: time::show(offsets.last_timestamp),
            },
        ));
    }
    // What a group never got back has nothing to say.
    queues.retain(|row| !row.topic.starts_with(RETRY_PREFIX) || row.end > 0);
    let lag = Lag { group: group.to_owned(), lag: queues.iter().map(|row| row.lag.max(0)).sum(), queues };
    let is_terminal = out.is_terminal();
    out.object(&lag, || {
        let cells: Vec<_> = lag.queues.iter().map(Row::cells).collect();
        match is_terminal {
            true => format!("{}\nlag of group {group}: {}", aligned(LagRow::COLUMNS, &cells), lag.lag),
            false => tabbed(LagRow::COLUMNS, &cells),
        }
    })?;
    Ok(())
}

type QueueProgress = (String, String, i32, OffsetWrapper);

fn progress(
    group: &str,
    topic: Option<&str>,
    address: &str,
    client: &mut Client,
) -> CliResult<Vec<QueueProgress>> {
    let mut ask = Command::request(request::GET_CONSUME_STATS);
    ask.ext_fields = header::GetConsumeStats {
        consumer_group: group.to_owned(),
        topic: topic.map(str::to_owned),
        topic_list: None,
    }
    .to_ext_fields();
    let answer = client.ask_ok(address, ask, &format!("progress of group {group}"))?;
    let table = body::<ConsumeStats>(&answer)?.offset_table;
    Ok(table
        .into_iter()
        .map(|(queue, offsets)| (queue.topic, queue.broker_name, queue.queue_id, offsets))
        .collect())
}

/// A reset of a group's cursors in one topic.
struct Reset<'a> {
    group: &'a str,
    topic: &'a str,
    to: Place,
    wanted: &'a [u32],
}

impl Reset<'_> {
    fn run(&self, dry_run: bool, yes: bool, client: &mut Client, out: &mut Out) -> CliResult {
        let Reset { group, topic, .. } = self;
        if !client.groups()?.contains_key(*group) {
            return Err(no_group(group));
        }
        let route = client.route_of(topic)?;
        let queues: Vec<Queue> = read_queues(&route)
            .into_iter()
            .filter(|queue| {
                self.wanted.is_empty() || self.wanted.iter().any(|id| u32::try_from(queue.id) == Ok(*id))
            })
            .collect();
        if queues.is_empty() {
            return Err(CliError::new(Code::NotFound, format!("topic {topic} has none of these queues")));
        }
        let rows = self.plan(&queues, client)?;
        if !dry_run {
            if !yes && out.is_terminal() {
                out.list(&rows)?;
            }
            confirm(&format!("Reset group {group} in topic {topic}"), yes)?;
            self.apply(&queues, &rows, client)?;
        }
        out.list(&rows)?;
        Ok(())
    }

    /// Where each cursor is and where it will be.
    fn plan(&self, queues: &[Queue], client: &mut Client) -> CliResult<Vec<ResetRow>> {
        let mut addresses: Vec<&str> = queues.iter().map(|queue| queue.address.as_str()).collect();
        addresses.dedup();
        let mut cursors = BTreeMap::new();
        for address in addresses {
            for (_, broker, queue, offsets) in progress(self.group, Some(self.topic), address, client)? {
                cursors.insert((broker, queue), offsets.consumer_offset);
            }
        }
        let mut rows = Vec::new();
        for queue in queues {
            let cursor = cursors.get(&(queue.broker.clone(), queue.id)).copied();
            let from = cursor.and_then(|offset| u64::try_from(offset).ok());
            let (min, max) = (min_offset(client, self.topic, queue)?, max_offset(client, self.topic, queue)?);
            let to = self.to.resolve(client, self.topic, queue)?.clamp(min, max.max(min));
            rows.push(ResetRow {
                topic: self.topic.to_owned(),
                broker: queue.broker.clone(),
                queue: queue.id,
                from,
                to,
                delta: from.map(|from| to as i64 - from as i64),
            });
        }
        Ok(rows)
    }

    /// Sets each cursor through the broker, so that members follow at once. An old broker refuses that for a group without members;
    /// then the cursor is committed as a member would.
    fn apply(&self, queues: &[Queue], rows: &[ResetRow], client: &mut Client) -> CliResult {
        for (done, (queue, row)) in queues.iter().zip(rows).enumerate() {
            let what = format!("resetting group {} in queue {} of {}", self.group, queue.id, queue.broker);
            self.apply_one(queue, row.to, &what, client).map_err(|mut error| {
                if done > 0 {
                    error.code = Code::Partial;
                    error.message = format!("{} ({done} queues were reset)", error.message);
                }
                error
            })?;
        }
        Ok(())
    }

    fn apply_one(&self, queue: &Queue, offset: u64, what: &str, client: &mut Client) -> CliResult {
        let mut ask = Command::request(request::INVOKE_BROKER_TO_RESET_OFFSET);
        ask.ext_fields = header::ResetOffset {
            topic: self.topic.to_owned(),
            group: self.group.to_owned(),
            queue_id: Some(queue.id),
            offset: Some(offset as i64),
            timestamp: 0,
            is_force: true,
        }
        .to_ext_fields();
        let answer = client.ask(&queue.address, ask)?;
        match answer.code {
            response::SUCCESS => return Ok(()),
            response::CONSUMER_NOT_ONLINE => {}
            _ => return Err(answer_error(&answer).context(what)),
        }
        let mut ask = Command::request(request::UPDATE_CONSUMER_OFFSET);
        ask.ext_fields = header::UpdateConsumerOffset {
            consumer_group: self.group.to_owned(),
            topic: self.topic.to_owned(),
            queue_id: queue.id,
            commit_offset: offset as i64,
        }
        .to_ext_fields();
        client.ask_ok(&queue.address, ask, what).map(drop)
    }
}
