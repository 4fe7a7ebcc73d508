//! Settings of topics and groups.

use std::collections::BTreeMap;

use super::{DataVersion, bean};
use crate::fastjson::Value;

bean! {
    /// A topic's settings (`TopicConfig`).
    TopicConfig {
        /// `message.type` and the like.
        attributes: BTreeMap<String, String> = "attributes",
        /// Whether it is an ordered topic.
        order: bool = "order",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm" or 6,
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums" or 16,
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: String = "topicFilterType" or "SINGLE_TAG".to_owned(),
        /// The topic.
        topic_name: String = "topicName",
        /// Unit bits.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums" or 16,
    }
}

bean! {
    /// All topics of a broker: the answer of GET_ALL_TOPIC_CONFIG (21) and the main part of a registration
    /// (`TopicConfigAndMappingSerializeWrapper`).
    TopicConfigTable {
        /// Of the topics.
        data_version: DataVersion = "dataVersion",
        /// Of the static topics.
        mapping_data_version: Option<DataVersion> = "mappingDataVersion",
        /// By name.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable",
        /// Static topics in full; kept as they came.
        topic_queue_mapping_detail_map: Option<Value> = "topicQueueMappingDetailMap",
        /// Static topics in short; kept as they came.
        topic_queue_mapping_info_map: Option<Value> = "topicQueueMappingInfoMap",
    }
}

bean! {
    /// GET_TOPICS_BY_CLUSTER, GET_ALL_TOPIC_LIST_FROM_NAMESERVER and the other lists.
    #[derive(Eq)]
    TopicList {
        /// Some broker, in the list of system topics.
        broker_addr: Option<String> = "brokerAddr",
        /// The topics.
        topic_list: Vec<String> = "topicList",
    }
}

bean! {
    /// A consumer group's settings (`SubscriptionGroupConfig`): the body of 200.
    SubscriptionGroupConfig {
        /// `lite.bind.topic` and the like.
        attributes: BTreeMap<String, String> = "attributes",
        /// The broker it reads from by default.
        broker_id: i64 = "brokerId",
        /// Whether it may broadcast.
        consume_broadcast_enable: bool = "consumeBroadcastEnable" or true,
        /// Whether it may consume.
        consume_enable: bool = "consumeEnable" or true,
        /// Whether it may begin at the start.
        consume_from_min_enable: bool = "consumeFromMinEnable" or true,
        /// Whether it consumes in order.
        consume_message_orderly: bool = "consumeMessageOrderly",
        /// Minutes.
        consume_timeout_minute: i32 = "consumeTimeoutMinute" or 15,
        /// The group.
        group_name: String = "groupName",
        /// When it retries; kept as it came.
        group_retry_policy: Option<Value> = "groupRetryPolicy",
        /// Unit bits.
        group_sys_flag: i32 = "groupSysFlag",
        /// Whether its members are told of changes.
        notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable" or true,
        /// How often a message is retried.
        retry_max_times: i32 = "retryMaxTimes" or 16,
        /// Queues of its retry topic.
        retry_queue_nums: i32 = "retryQueueNums" or 1,
        /// The broker it reads from when it lags.
        which_broker_when_consume_slowly: i64 = "whichBrokerWhenConsumeSlowly" or 1,
    }
}

bean! {
    /// The answer of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
    SubscriptionGroupTable {
        /// Of the groups.
        data_version: DataVersion = "dataVersion",
        /// What groups may not do, by group and topic.
        forbidden_table: BTreeMap<String, BTreeMap<String, i32>> = "forbiddenTable",
        /// By name.
        subscription_group_table: BTreeMap<String, SubscriptionGroupConfig> = "subscriptionGroupTable",
    }
}
