//! Where things are: routes and clusters.

use std::collections::BTreeMap;

use super::bean;
use crate::command;
use crate::fastjson::{NumberKeys, Value};

/// The version from which Apache's name server answers with quoted number keys (V4_9_4).
pub const VERSION_QUOTED_ROUTE: i32 = 401;

bean! {
    /// One broker name and its addresses (`BrokerData`).
    #[derive(Eq)]
    BrokerData {
        /// By broker id; 0 is the master.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs",
        /// The broker (shard).
        broker_name: String = "brokerName",
        /// Its cluster.
        cluster: String = "cluster",
        /// Whether slaves may act for a lost master.
        enable_acting_master: bool = "enableActingMaster",
        /// Its zone.
        zone_name: Option<String> = "zoneName",
    }
}

bean! {
    /// A topic's queues at one broker (`QueueData`).
    #[derive(Eq)]
    QueueData {
        /// The broker.
        broker_name: String = "brokerName",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums",
        /// Unit bits.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums",
    }
}

bean! {
    /// The answer of GET_ROUTEINFO_BY_TOPIC (105).
    TopicRouteData {
        /// The brokers.
        broker_datas: Vec<BrokerData> = "brokerDatas",
        /// Filter servers of ancient brokers, by address.
        filter_server_table: BTreeMap<String, Vec<String>> = "filterServerTable",
        /// `broker:queues;broker:queues` of an ordered topic.
        order_topic_conf: Option<String> = "orderTopicConf",
        /// The queues.
        queue_datas: Vec<QueueData> = "queueDatas",
        /// Static topics; kept as it came.
        topic_queue_mapping_by_broker: Option<Value> = "topicQueueMappingByBroker",
    }
}

impl TopicRouteData {
    /// How the keys of `brokerAddrs` are written for a client of `version`.
    pub fn number_keys(version: i32, accept_standard_json_only: bool) -> NumberKeys {
        if accept_standard_json_only || version >= VERSION_QUOTED_ROUTE {
            NumberKeys::Quoted
        } else {
            NumberKeys::Bare
        }
    }
}

const _: () = assert!(command::VERSION >= VERSION_QUOTED_ROUTE, "our own clients read the quoted form");

bean! {
    /// The answer of GET_BROKER_CLUSTER_INFO (106).
    #[derive(Eq)]
    ClusterInfo {
        /// By broker name.
        broker_addr_table: BTreeMap<String, BrokerData> = "brokerAddrTable",
        /// Broker names by cluster.
        cluster_addr_table: BTreeMap<String, Vec<String>> = "clusterAddrTable",
    }
}
