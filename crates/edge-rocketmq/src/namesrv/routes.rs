//! The tables of brokers that registered from elsewhere: pure logic, time and connections come in as values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use braid_wire_rocketmq::body::{BrokerData, DataVersion, QueueData, TopicConfig, TopicConfigTable};
use braid_wire_rocketmq::header::RegisterBroker;

use crate::connection::ConnectionId;

/// Milliseconds without a sign of life after which a broker is unregistered, unless it says otherwise.
pub(crate) const BROKER_LIFE_MS: u64 = 120_000;
/// The most brokers (addresses) that may be registered.
pub(crate) const BROKERS_MAX: usize = 10_000;
/// The most pairs of topic and broker.
pub(crate) const TOPICS_MAX: usize = 1_000_000;
/// The id of a master.
const MASTER: i64 = 0;
/// The permission bit that lets producers write.
pub(crate) const PERM_WRITE: i32 = 2;
/// Read and write.
pub(crate) const PERM_READ_WRITE: i32 = 6;

/// One broker name: a master and its slaves.
#[derive(Debug, Clone, Default)]
struct Broker {
    cluster: String,
    enable_acting_master: bool,
    zone_name: Option<String>,
    addresses: BTreeMap<i64, String>,
}

/// One address that registered.
#[derive(Debug, Clone)]
struct Live {
    broker: String,
    seen_ms: u64,
    life_ms: u64,
    version: DataVersion,
    ha_address: String,
    connection: ConnectionId,
}

/// What a registration is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// For a slave: where its master's slaves connect to.
    pub(crate) ha_address: Option<String>,
    /// For a slave: its master.
    pub(crate) master_address: Option<String>,
}

/// Why a registration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Apache's sentence: an unknown broker that brings a single topic is taken for a partial update.
    #[error("register broker failed")]
    SingleTopic,
    /// A bound.
    #[error("{0} are registered already, no more are allowed")]
    Full(&'static str),
}

type Address = (String, String);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    brokers: BTreeMap<String, Broker>,
    live: HashMap<Address, Live>,
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
    pairs: usize,
    /// Whether our own broker's topics are shown without write permission.
    own_write_wiped: bool,
}

impl Routes {
    /// Enters a broker and its topics, or renews them.
    pub(crate) fn register(
        &mut self,
        header: &RegisterBroker,
        table: &TopicConfigTable,
        connection: ConnectionId,
        now_ms: u64,
    ) -> Result<Registered, Refused> {
        let address = (header.cluster_name.clone(), header.broker_addr.clone());
        let known = self.live.contains_key(&address);
        if !known && self.live.len() >= BROKERS_MAX {
            return Err(Refused::Full("brokers"));
        }
        if !known && table.topic_config_table.len() == 1 {
            return Err(Refused::SingleTopic);
        }
        if self.pairs + table.topic_config_table.len() > TOPICS_MAX {
            return Err(Refused::Full("topics"));
        }
        if self.is_older_rival(header, table) {
            return Ok(Registered::default());
        }
        let first = self.enter_address(header);
        let changed = self.live.get(&address).is_none_or(|live| live.version != table.data_version);
        if self.updates_topics(header) {
            self.enter_topics(header, table, changed || first);
        }
        let life_ms = header
            .heartbeat_timeout_millis
            .and_then(|millis| u64::try_from(millis).ok())
            .filter(|millis| *millis > 0)
            .unwrap_or(BROKER_LIFE_MS);
        let live = Live {
            broker: header.broker_name.clone(),
            seen_ms: now_ms,
            life_ms,
            version: table.data_version.clone(),
            ha_address: header.ha_server_addr.clone().unwrap_or_default(),
            connection,
        };
        self.live.insert(address, live);
        Ok(self.answer_for(header))
    }

    /// Another address holds this id and has the newer state.
    fn is_older_rival(&self, header: &RegisterBroker, table: &TopicConfigTable) -> bool {
        let Some(broker) = self.brokers.get(&header.broker_name) else { return false };
        let Some(rival) =
            broker.addresses.get(&header.broker_id).filter(|rival| **rival != header.broker_addr)
        else {
            return false;
        };
        let rival = self.live.get(&(header.cluster_name.clone(), rival.clone()));
        rival.is_some_and(|rival| rival.version.state_version > table.data_version.state_version)
    }

    /// Notes the address; true when the broker name was not there.
    fn enter_address(&mut self, header: &RegisterBroker) -> bool {
        let first = !self.brokers.contains_key(&header.broker_name);
        let broker = self.brokers.entry(header.broker_name.clone()).or_default();
        broker.cluster.clone_from(&header.cluster_name);
        broker.enable_acting_master = header.enable_acting_master.unwrap_or(false);
        broker.zone_name.clone_from(&header.zone_name);
        // An address has one id: a slave that became master leaves its old one.
        broker.addresses.retain(|id, address| *id == header.broker_id || *address != header.broker_addr);
        if let Some(rival) = broker.addresses.insert(header.broker_id, header.broker_addr.clone())
            && rival != header.broker_addr
        {
            self.live.remove(&(header.cluster_name.clone(), rival));
        }
        first
    }

    /// The master tells the topics; without one, the smallest id of a broker that may act for it.
    fn updates_topics(&self, header: &RegisterBroker) -> bool {
        let smallest =
            self.brokers.get(&header.broker_name).and_then(|broker| broker.addresses.keys().next());
        let acting = header.enable_acting_master == Some(true) && smallest == Some(&header.broker_id);
        header.broker_id == MASTER || acting
    }

    fn enter_topics(&mut self, header: &RegisterBroker, table: &TopicConfigTable, changed: bool) {
        for (name, config) in &table.topic_config_table {
            let brokers = self.topics.entry(name.clone()).or_default();
            if !changed && brokers.contains_key(&header.broker_name) {
                continue;
            }
            if brokers.insert(header.broker_name.clone(), queue_data(&header.broker_name, config)).is_none() {
                self.pairs += 1;
            }
        }
    }

    fn answer_for(&self, header: &RegisterBroker) -> Registered {
        if header.broker_id == MASTER {
            return Registered::default();
        }
        let broker = self.brokers.get(&header.broker_name);
        let Some(master) = broker.and_then(|broker| broker.addresses.get(&MASTER)) else {
            return Registered::default();
        };
        let live = self.live.get(&(header.cluster_name.clone(), master.clone()));
        Registered {
            ha_address: live.map(|live| live.ha_address.clone()),
            master_address: Some(master.clone()),
        }
    }

    /// Takes one address out, and its broker's topics with the last one.
    pub(crate) fn unregister(&mut self, cluster: &str, address: &str) -> bool {
        let Some(live) = self.live.remove(&(cluster.to_owned(), address.to_owned())) else { return false };
        let Some(broker) = self.brokers.get_mut(&live.broker) else { return true };
        broker.addresses.retain(|_, other| other != address);
        if broker.addresses.is_empty() {
            self.brokers.remove(&live.broker);
            let pairs = &mut self.pairs;
            self.topics.retain(|_, brokers| {
                *pairs -= usize::from(brokers.remove(&live.broker).is_some());
                !brokers.is_empty()
            });
        }
        true
    }

    /// Takes out what registered over a connection; gives the addresses.
    pub(crate) fn connection_closed(&mut self, connection: ConnectionId) -> Vec<String> {
        self.unregister_all(|live| live.connection == connection)
    }

    /// Takes out what was silent for too long; gives the addresses.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<String> {
        self.unregister_all(|live| now_ms.saturating_sub(live.seen_ms) > live.life_ms)
    }

    fn unregister_all(&mut self, gone: impl Fn(&Live) -> bool) -> Vec<String> {
        let addresses: Vec<Address> =
            self.live.iter().filter(|(_, live)| gone(live)).map(|(address, _)| address.clone()).collect();
        for (cluster, address) in &addresses {
            self.unregister(cluster, address);
        }
        addresses.into_iter().map(|(_, address)| address).collect()
    }

    /// A sign of life; true when the address is known.
    pub(crate) fn heartbeat(&mut self, cluster: &str, address: &str, now_ms: u64) -> bool {
        let live = self.live.get_mut(&(cluster.to_owned(), address.to_owned()));
        live.map(|live| live.seen_ms = now_ms).is_some()
    }

    /// The version that an address registered last.
    pub(crate) fn version(&self, cluster: &str, address: &str) -> Option<&DataVersion> {
        self.live.get(&(cluster.to_owned(), address.to_owned())).map(|live| &live.version)
    }

    /// Queues of a topic, by broker.
    pub(crate) fn queues(&self, topic: &str) -> Vec<QueueData> {
        self.topics.get(topic).map(|brokers| brokers.values().cloned().collect()).unwrap_or_default()
    }

    /// A broker's addresses.
    pub(crate) fn broker(&self, name: &str) -> Option<BrokerData> {
        self.brokers.get(name).map(|broker| BrokerData {
            broker_addrs: broker.addresses.clone(),
            broker_name: name.to_owned(),
            cluster: broker.cluster.clone(),
            enable_acting_master: broker.enable_acting_master,
            zone_name: broker.zone_name.clone(),
        })
    }

    /// All brokers, by name.
    pub(crate) fn brokers(&self) -> Vec<BrokerData> {
        self.brokers.keys().filter_map(|name| self.broker(name)).collect()
    }

    /// All topics, of one cluster only if that is given.
    pub(crate) fn topics(&self, cluster: Option<&str>) -> BTreeSet<String> {
        let inside = |name: &String| {
            cluster
                .is_none_or(|cluster| self.brokers.get(name).is_some_and(|broker| broker.cluster == cluster))
        };
        let topics = self.topics.iter().filter(|(_, brokers)| brokers.keys().any(inside));
        topics.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a topic, of one cluster's brokers only if that is given; true when it was there.
    pub(crate) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) -> bool {
        let Some(brokers) = self.topics.get_mut(topic) else { return false };
        let before = brokers.len();
        brokers.retain(|name, _| {
            cluster
                .is_some_and(|cluster| self.brokers.get(name).is_none_or(|broker| broker.cluster != cluster))
        });
        let removed = before - brokers.len();
        self.pairs -= removed;
        if brokers.is_empty() {
            self.topics.remove(topic);
        }
        removed > 0
    }

    /// Changes the permission of all topics of a broker; gives how many there are. They change back when the broker
    /// registers something new.
    pub(crate) fn change_perm(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> usize {
        let queues = self.topics.values_mut().filter_map(|brokers| brokers.get_mut(broker));
        queues.map(|queue| queue.perm = change(queue.perm)).count()
    }

    pub(crate) fn own_write_wiped(&self) -> bool {
        self.own_write_wiped
    }

    pub(crate) fn wipe_own_write(&mut self, wiped: bool) {
        self.own_write_wiped = wiped;
    }
}

fn queue_data(broker: &str, config: &TopicConfig) -> QueueData {
    QueueData {
        broker_name: broker.to_owned(),
        perm: config.perm,
        read_queue_nums: config.read_queue_nums,
        topic_sys_flag: config.topic_sys_flag,
        write_queue_nums: config.write_queue_nums,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ConnectionId = ConnectionId { reactor: 0, number: 1 };
    const SECOND: ConnectionId = ConnectionId { reactor: 1, number: 1 };

    fn header(broker_name: &str, id: i64, address: &str) -> RegisterBroker {
        RegisterBroker {
            broker_name: broker_name.into(),
            broker_addr: address.into(),
            cluster_name: "c".into(),
            ha_server_addr: Some(format!("{address}-ha")),
            broker_id: id,
            ..RegisterBroker::default()
        }
    }

    fn table(version: i64, topics: &[&str]) -> TopicConfigTable {
        let config = |name: &&str| {
            (name.to_string(), TopicConfig { topic_name: name.to_string(), ..Default::default() })
        };
        TopicConfigTable {
            data_version: DataVersion { counter: version, ..DataVersion::default() },
            topic_config_table: topics.iter().map(config).collect(),
            ..TopicConfigTable::default()
        }
    }

    #[test]
    fn a_broker_comes_and_goes_with_its_topics() {
        let mut routes = Routes::default();
        let one = routes.register(&header("b", 0, "h:1"), &table(1, &["T"]), FIRST, 0);
        assert_eq!(one, Err(Refused::SingleTopic));
        routes.register(&header("b", 0, "h:1"), &table(1, &["T", "U"]), FIRST, 0).unwrap();
        assert_eq!(routes.queues("T")[0].read_queue_nums, 16);
        // Known by now: a single topic is an update.
        routes.register(&header("b", 0, "h:1"), &table(2, &["V"]), FIRST, 5).unwrap();
        assert_eq!(routes.topics(None).len(), 3);
        assert_eq!(routes.topics(Some("other")).len(), 0);
        assert!(routes.unregister("c", "h:1"));
        assert!(routes.topics(None).is_empty() && routes.brokers().is_empty() && routes.pairs == 0);
    }

    #[test]
    fn silence_and_a_closed_connection_end_a_registration() {
        let mut routes = Routes::default();
        routes.register(&header("a", 0, "h:1"), &table(1, &["T", "U"]), FIRST, 0).unwrap();
        let short = RegisterBroker { heartbeat_timeout_millis: Some(10_000), ..header("b", 0, "h:2") };
        routes.register(&short, &table(1, &["T", "U"]), SECOND, 0).unwrap();
        assert!(routes.expire(10_000).is_empty());
        assert_eq!(routes.expire(10_001), ["h:2"]);
        assert!(routes.heartbeat("c", "h:1", 100_000) && !routes.heartbeat("c", "h:2", 100_000));
        assert!(routes.expire(220_000).is_empty());
        assert!(routes.connection_closed(SECOND).is_empty());
        assert_eq!(routes.connection_closed(FIRST), ["h:1"]);
        assert!(routes.queues("T").is_empty());
    }

    #[test]
    fn a_slave_learns_its_master_and_tells_no_topics() {
        let mut routes = Routes::default();
        let alone = routes.register(&header("b", 1, "h:2"), &table(1, &["T", "U"]), SECOND, 0).unwrap();
        assert_eq!((alone, routes.queues("T").len()), (Registered::default(), 0));
        routes.register(&header("b", 0, "h:1"), &table(1, &["T", "U"]), FIRST, 0).unwrap();
        let slave = routes.register(&header("b", 1, "h:2"), &table(1, &["T", "U"]), SECOND, 1).unwrap();
        assert_eq!(slave.master_address.as_deref(), Some("h:1"));
        assert_eq!(slave.ha_address.as_deref(), Some("h:1-ha"));
        assert_eq!(routes.broker("b").unwrap().broker_addrs.len(), 2);
        // The master goes, the slave keeps the name and its topics.
        assert!(routes.unregister("c", "h:1"));
        assert_eq!(routes.queues("T").len(), 1);
    }

    #[test]
    fn a_rival_for_an_id_needs_the_newer_state() {
        let mut routes = Routes::default();
        let state = |state_version| TopicConfigTable {
            data_version: DataVersion { state_version, ..DataVersion::default() },
            ..table(0, &["T", "U"])
        };
        routes.register(&header("b", 0, "h:1"), &state(5), FIRST, 0).unwrap();
        routes.register(&header("b", 0, "h:2"), &state(4), SECOND, 0).unwrap();
        assert_eq!(routes.broker("b").unwrap().broker_addrs[&0], "h:1");
        routes.register(&header("b", 0, "h:2"), &state(6), SECOND, 0).unwrap();
        assert_eq!(routes.broker("b").unwrap().broker_addrs[&0], "h:2");
        assert!(routes.version("c", "h:1").is_none());
    }

    #[test]
    fn wiped_permissions_stay_until_something_changes() {
        let mut routes = Routes::default();
        let header = header("b", 0, "h:1");
        routes.register(&header, &table(1, &["T", "U"]), FIRST, 0).unwrap();
        assert_eq!(routes.change_perm("b", |perm| perm & !PERM_WRITE), 2);
        routes.register(&header, &table(1, &["T", "U"]), FIRST, 1).unwrap();
        assert_eq!(routes.queues("T")[0].perm, 4);
        routes.register(&header, &table(2, &["T", "U"]), FIRST, 2).unwrap();
        assert_eq!(routes.queues("T")[0].perm, 6);
    }

    #[test]
    fn a_topic_is_deleted_in_one_cluster_or_in_all() {
        let mut routes = Routes::default();
        routes.register(&header("a", 0, "h:1"), &table(1, &["T", "U"]), FIRST, 0).unwrap();
        let other = RegisterBroker { cluster_name: "d".into(), ..header("b", 0, "h:2") };
        routes.register(&other, &table(1, &["T", "U"]), SECOND, 0).unwrap();
        assert!(routes.delete_topic("T", Some("d")));
        assert_eq!(routes.queues("T").len(), 1);
        assert!(routes.delete_topic("U", None) && !routes.delete_topic("U", None));
        assert_eq!(routes.pairs, 1);
    }
}
