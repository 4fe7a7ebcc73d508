//! Membership in a group: heartbeats, the list of members, and which queues are ours.

use std::time::{Duration, Instant};

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ConsumeFromWhere, ConsumeType, ConsumerData, ConsumerList, HeartbeatData, MessageModel,
    SubscriptionData,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;

use crate::client::{Client, Queue, answer_error, body};
use crate::commands::place::offset_of;
use crate::error::CliResult;
use crate::time;

/// How often a client tells brokers that it lives; they forget it after 120 s.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// How often the members are looked at, in case a notice was lost.
const REBALANCE_EVERY: Duration = Duration::from_secs(20);

/// One member of one group.
pub struct Membership {
    group: String,
    topic: String,
    tags: String,
    client_id: String,
    sub_version: i64,
    heartbeat_due: Instant,
    rebalance_due: Instant,
    brokers: Vec<String>,
}

impl Membership {
    /// A member that nobody knows yet.
    pub fn new(group: &str, topic: &str, tags: &str) -> Self {
        let now = Instant::now();
        Membership {
            group: group.to_owned(),
            topic: topic.to_owned(),
            tags: tags.to_owned(),
            client_id: format!("braidmq-cli@{}#{}", std::process::id(), time::now_ms()),
            sub_version: time::now_ms(),
            heartbeat_due: now,
            rebalance_due: now,
            brokers: Vec::new(),
        }
    }

    /// A broker said that the members changed.
    pub fn members_changed(&mut self) {
        self.rebalance_due = Instant::now();
    }

    /// A server closed its connection. A broker forgets the member with it, so it is told anew at once.
    pub fn connection_ended(&mut self, server: &str) {
        if self.brokers.iter().any(|broker| broker == server) {
            self.heartbeat_due = Instant::now();
            self.rebalance_due = self.heartbeat_due;
        }
    }

    /// Does what is due; gives our queues when they were worked out anew.
    pub fn turn(&mut self, client: &mut Client, all: &[Queue]) -> CliResult<Option<Vec<Queue>>> {
        let now = Instant::now();
        if self.heartbeat_due <= now {
            self.brokers = all.iter().map(|queue| queue.address.clone()).collect();
            self.brokers.sort();
            self.brokers.dedup();
            for broker in self.brokers.clone() {
                self.heartbeat(client, &broker)?;
            }
            self.heartbeat_due = now + HEARTBEAT_EVERY;
        }
        if self.rebalance_due > now {
            return Ok(None);
        }
        self.rebalance_due = now + REBALANCE_EVERY;
        let Some(broker) = self.brokers.first().cloned() else { return Ok(Some(Vec::new())) };
        let members = self.members(client, &broker)?;
        Ok(Some(share(all, &members, &self.client_id)))
    }

    fn heartbeat(&self, client: &mut Client, broker: &str) -> CliResult {
        let tags = self.tags.trim();
        let tags_set: Vec<String> = match tags {
            "" | "*" => Vec::new(),
            tags => tags.split("||").map(|tag| tag.trim().to_owned()).collect(),
        };
        let subscription = SubscriptionData {
            code_set: tags_set.iter().map(|tag| braid_record::id::tags_code(tag) as i32).collect(),
            tags_set,
            sub_string: if tags.is_empty() { "*".to_owned() } else { tags.to_owned() },
            sub_version: self.sub_version,
            topic: self.topic.clone(),
            ..SubscriptionData::default()
        };
        let heartbeat = HeartbeatData {
            client_id: self.client_id.clone(),
            consumer_data_set: vec![ConsumerData {
                group_name: self.group.clone(),
                consume_type: Some(ConsumeType::Actively),
                message_model: Some(MessageModel::Clustering),
                consume_from_where: Some(ConsumeFromWhere::FirstOffset),
                subscription_data_set: vec![subscription],
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        };
        let mut ask = Command::request(request::HEART_BEAT);
        ask.body = heartbeat.encode();
        client.ask_ok(broker, ask, &format!("joining group {}", self.group)).map(drop)
    }

    fn members(&self, client: &mut Client, broker: &str) -> CliResult<Vec<String>> {
        let mut ask = Command::request(request::GET_CONSUMER_LIST_BY_GROUP);
        ask.ext_fields = header::ConsumerGroup { consumer_group: self.group.clone() }.to_ext_fields();
        let answer = client.ask_ok(broker, ask, &format!("members of group {}", self.group))?;
        Ok(body::<ConsumerList>(&answer)?.consumer_id_list)
    }

    /// The group's cursor in a queue, if it has one.
    pub fn cursor(&self, client: &mut Client, queue: &Queue) -> CliResult<Option<u64>> {
        let mut ask = Command::request(request::QUERY_CONSUMER_OFFSET);
        ask.ext_fields = header::QueryConsumerOffset {
            consumer_group: self.group.clone(),
            topic: self.topic.clone(),
            queue_id: queue.id,
            set_zero_if_not_found: Some(false),
        }
        .to_ext_fields();
        let answer = client.ask(&queue.address, ask)?;
        match answer.code {
            response::SUCCESS => offset_of(&answer).map(Some),
            response::QUERY_NOT_FOUND => Ok(None),
            _ => Err(answer_error(&answer)
                .context(format!("cursor of group {} in queue {}", self.group, queue.id))),
        }
    }

    /// The request that sets the group's cursor.
    pub fn commit(&self, queue: &Queue, offset: u64) -> Command {
        let mut ask = Command::request(request::UPDATE_CONSUMER_OFFSET);
        ask.ext_fields = header::UpdateConsumerOffset {
            consumer_group: self.group.clone(),
            topic: self.topic.clone(),
            queue_id: queue.id,
            commit_offset: offset as i64,
        }
        .to_ext_fields();
        ask
    }

    /// Says goodbye, so that the others need not wait for our heartbeat to fail.
    pub fn leave(&self, client: &mut Client) -> CliResult {
        for broker in &self.brokers {
            let mut ask = Command::request(request::UNREGISTER_CLIENT);
            ask.ext_fields = header::UnregisterClient {
                client_id: self.client_id.clone(),
                producer_group: None,
                consumer_group: Some(self.group.clone()),
            }
            .to_ext_fields();
            client.ask_ok(broker, ask, &format!("leaving group {}", self.group))?;
        }
        Ok(())
    }
}

/// RocketMQ's default way to share queues (`AllocateMessageQueueAveragely`): neighbouring queues, the first members get one more.
fn share(all: &[Queue], members: &[String], me: &str) -> Vec<Queue> {
    let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
    members.sort_unstable();
    members.dedup();
    let Some(at) = members.iter().position(|member| *member == me) else { return Vec::new() };
    let (each, more) = (all.len() / members.len(), all.len() % members.len());
    let first = at * each + at.min(more);
    all[first..first + each + usize::from(at < more)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_one_member_whatever_the_numbers() {
        for queues in 0..9 {
            let all: Vec<Queue> =
                (0..queues).map(|id| Queue { broker: "b".into(), id, address: "a".into() }).collect();
            for count in 1..6 {
                let members: Vec<String> = (0..count).rev().map(|n| format!("m{n}")).collect();
                let mut shared: Vec<Queue> =
                    members.iter().rev().flat_map(|member| share(&all, &members, member)).collect();
                assert_eq!(shared, all, "{queues} queues, {count} members");
                shared.dedup();
                assert_eq!(shared.len(), all.len());
            }
        }
        assert!(share(&[], &["a".to_owned()], "b").is_empty());
    }

    /// The shares that Java's own allocation gives for 5 queues and 3 members.
    #[test]
    fn shares_are_those_of_the_java_client() {
        let all: Vec<Queue> =
            (0..5).map(|id| Queue { broker: "b".into(), id, address: "a".into() }).collect();
        let members = ["x".to_owned(), "y".to_owned(), "z".to_owned()];
        let ids = |me| share(&all, &members, me).iter().map(|queue| queue.id).collect::<Vec<_>>();
        assert_eq!((ids("x"), ids("y"), ids("z")), (vec![0, 1], vec![2, 3], vec![4]));
    }
}
