//! Where things are: routes, brokers, queues.

use std::collections::BTreeMap;

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, BrokerData, ClusterInfo, SubscriptionGroupConfig, SubscriptionGroupTable, TopicConfig,
    TopicConfigTable, TopicRouteData,
};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header;

use super::{Client, answer_error};
use crate::error::{CliError, CliResult, Code};

/// Permission bit: clients may read.
pub const PERM_READ: i32 = 4;
/// Permission bit: clients may write.
pub const PERM_WRITE: i32 = 2;
/// The broker id of a master.
const MASTER: i64 = 0;

/// A queue and the broker that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// The broker's name.
    pub broker: String,
    /// The queue's number.
    pub id: i32,
    /// The broker's address.
    pub address: String,
}

/// A body that should be there and is not what it should be.
fn bad_body(error: impl std::fmt::Display) -> CliError {
    CliError::new(Code::Failure, format!("the server's answer can't be read: {error}"))
}

/// Reads an answer's body.
pub fn body<T: Body>(answer: &Command) -> CliResult<T> {
    T::decode(&answer.body).map_err(bad_body)
}

impl Client {
    /// The route of a topic; `None` if the name server knows none.
    ///
    /// # Errors
    /// `Unreachable`, or an answer that can't be read.
    pub fn route(&mut self, topic: &str) -> CliResult<Option<TopicRouteData>> {
        let mut ask = Command::request(request::GET_ROUTEINFO_BY_TOPIC);
        ask.ext_fields = header::GetRouteInfo {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
            ..Default::default()
        }
        .to_ext_fields();
        let answer = self.ask_name_server(ask)?;
        match answer.code {
            response::SUCCESS => body(&answer).map(Some),
            response::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(answer_error(&answer).context(format!("route of topic {topic}"))),
        }
    }

    /// The route of a topic that must exist.
    ///
    /// # Errors
    /// As [`route`](Self::route), and `NotFound`.
    pub fn route_of(&mut self, topic: &str) -> CliResult<TopicRouteData> {
        self.route(topic)?.ok_or_else(|| no_topic(topic))
    }

    /// Every broker that is registered.
    ///
    /// # Errors
    /// `Unreachable`, or an answer that can't be read.
    pub fn cluster(&mut self) -> CliResult<ClusterInfo> {
        let answer = self.ask_name_server(Command::request(request::GET_BROKER_CLUSTER_INFO))?;
        match answer.code {
            response::SUCCESS => body(&answer),
            _ => Err(answer_error(&answer).context("list of brokers")),
        }
    }

    /// Name and address of every master.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster); `Unreachable` if there is no master at all.
    pub fn masters(&mut self) -> CliResult<Vec<(String, String)>> {
        let cluster = self.cluster()?;
        let masters: Vec<_> = cluster
            .broker_addr_table
            .iter()
            .filter_map(|(name, broker)| Some((name.clone(), broker.broker_addrs.get(&MASTER)?.clone())))
            .collect();
        if masters.is_empty() {
            return Err(CliError::new(Code::Unreachable, "the name server knows no broker")
                .hint("is a broker running?"));
        }
        Ok(masters)
    }

    /// Every broker's topics, by name.
    ///
    /// # Errors
    /// `Unreachable`, or what a broker answers.
    pub fn topics(&mut self) -> CliResult<BTreeMap<String, Vec<(String, TopicConfig)>>> {
        let mut topics: BTreeMap<String, Vec<(String, TopicConfig)>> = BTreeMap::new();
        for (name, address) in self.masters()? {
            let answer =
                self.ask_ok(&address, Command::request(request::GET_ALL_TOPIC_CONFIG), "list of topics")?;
            for (topic, config) in body::<TopicConfigTable>(&answer)?.topic_config_table {
                topics.entry(topic).or_default().push((name.clone(), config));
            }
        }
        Ok(topics)
    }

    /// Every broker's groups, by name.
    ///
    /// # Errors
    /// `Unreachable`, or what a broker answers.
    pub fn groups(&mut self) -> CliResult<BTreeMap<String, Vec<(String, SubscriptionGroupConfig)>>> {
        let mut groups: BTreeMap<String, Vec<(String, SubscriptionGroupConfig)>> = BTreeMap::new();
        for (name, address) in self.masters()? {
            let ask = Command::request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
            let answer = self.ask_ok(&address, ask, "list of groups")?;
            for (group, config) in body::<SubscriptionGroupTable>(&answer)?.subscription_group_table {
                groups.entry(group).or_default().push((name.clone(), config));
            }
        }
        Ok(groups)
    }
}

/// The topic is not there.
pub fn no_topic(topic: &str) -> CliError {
    CliError::new(Code::NotFound, format!("topic {topic} does not exist"))
        .hint(format!("`braidmq topic create {topic}` makes it"))
}

/// The group is not there.
pub fn no_group(group: &str) -> CliError {
    CliError::new(Code::NotFound, format!("group {group} does not exist"))
        .hint(format!("`braidmq group set {group}` makes it, and so does its first consumer"))
}

/// The queues that can be read, in order.
pub fn read_queues(route: &TopicRouteData) -> Vec<Queue> {
    queues(route, PERM_READ, |broker| {
        broker.broker_addrs.first_key_value().map(|(_, address)| address.clone())
    })
}

/// The queues that can be written, in order: those of masters.
pub fn write_queues(route: &TopicRouteData) -> Vec<Queue> {
    queues(route, PERM_WRITE, |broker| broker.broker_addrs.get(&MASTER).cloned())
}

fn queues(route: &TopicRouteData, perm: i32, address: impl Fn(&BrokerData) -> Option<String>) -> Vec<Queue> {
    let mut queues = Vec::new();
    for data in route.queue_datas.iter().filter(|data| data.perm & perm != 0) {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == data.broker_name);
        let Some(address) = broker.and_then(&address) else { continue };
        let count = if perm == PERM_READ { data.read_queue_nums } else { data.write_queue_nums };
        queues.extend((0..count).map(|id| Queue {
            broker: data.broker_name.clone(),
            id,
            address: address.clone(),
        }));
    }
    queues.sort();
    queues
}

/// Topics that brokers make for themselves. (`TopicValidator.java`, and ours.)
pub fn is_system_topic(topic: &str, cluster: &ClusterInfo) -> bool {
    const NAMES: [&str; 8] = [
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "BenchmarkTest",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "DefaultHeartBeatSyncerTopic",
        "CHECKPOINT_TOPIC",
    ];
    const PREFIXES: [&str; 3] = ["rmq_sys_", "RMQ_SYS_", "BRAID_SYS_"];
    NAMES.contains(&topic)
        || PREFIXES.iter().any(|prefix| topic.starts_with(prefix))
        || cluster.broker_addr_table.contains_key(topic)
        || cluster.cluster_addr_table.keys().any(|name| {
            topic.strip_prefix(name.as_str()).is_some_and(|rest| matches!(rest, "" | "_REPLY_TOPIC"))
        })
}

/// Groups that brokers make for themselves. (`MixAll.java`.)
pub fn is_system_group(group: &str) -> bool {
    const NAMES: [&str; 3] = ["TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP"];
    NAMES.contains(&group)
        || ["CID_ONS", "CID_RMQ_SYS_", "CID_SYS_", "SELF_TEST_"]
            .iter()
            .any(|prefix| group.starts_with(prefix))
}
