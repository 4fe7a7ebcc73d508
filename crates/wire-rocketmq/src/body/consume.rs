//! Progress: cursors, lags, statistics, resets.

use std::collections::BTreeMap;

use super::{MessageQueue, bean};

bean! {
    /// A group's place in one queue (`OffsetWrapper`).
    #[derive(Eq)]
    OffsetWrapper {
        /// The offset of the queue's next message.
        broker_offset: i64 = "brokerOffset",
        /// The group's cursor.
        consumer_offset: i64 = "consumerOffset",
        /// Store time of the last message consumed, milliseconds.
        last_timestamp: i64 = "lastTimestamp",
        /// How far the group has pulled.
        pull_offset: i64 = "pullOffset",
    }
}

bean! {
    /// The answer of GET_CONSUME_STATS (208).
    ConsumeStats {
        /// Messages a second.
        consume_tps: f64 = "consumeTps",
        /// By queue.
        offset_table: BTreeMap<MessageQueue, OffsetWrapper> = "offsetTable",
    }
}

bean! {
    /// A queue's extent (`TopicOffset`).
    #[derive(Eq)]
    TopicOffset {
        /// Store time of the newest message, milliseconds.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// The offset of the queue's next message.
        max_offset: i64 = "maxOffset",
        /// The offset of the queue's first message.
        min_offset: i64 = "minOffset",
    }
}

bean! {
    /// The answer of GET_TOPIC_STATS_INFO (202).
    TopicStatsTable {
        /// By queue.
        offset_table: BTreeMap<MessageQueue, TopicOffset> = "offsetTable",
        /// Messages a second.
        topic_put_tps: f64 = "topicPutTps",
    }
}

bean! {
    /// RESET_CONSUMER_CLIENT_OFFSET (220) to Java and Go clients, and the answer of 222.
    #[derive(Eq)]
    ResetOffsetBody {
        /// The new cursors.
        offset_table: BTreeMap<MessageQueue, i64> = "offsetTable",
    }
}

bean! {
    /// One entry of [`ResetOffsetBodyForC`].
    #[derive(Eq)]
    MessageQueueOffset {
        /// The broker.
        broker_name: String = "brokerName",
        /// The new cursor.
        offset: i64 = "offset",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The topic.
        topic: String = "topic",
    }
}

bean! {
    /// RESET_CONSUMER_CLIENT_OFFSET (220) to C++ clients, which can't read beans as keys.
    #[derive(Eq)]
    ResetOffsetBodyForC {
        /// The new cursors.
        offset_table: Vec<MessageQueueOffset> = "offsetTable",
    }
}

bean! {
    /// The answers of GET_CONSUMER_STATUS_FROM_CLIENT (221, `messageQueueTable`) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS
    /// (223, `consumerTable`).
    #[derive(Eq)]
    ConsumerStatusBody {
        /// By client and queue.
        consumer_table: Option<BTreeMap<String, BTreeMap<MessageQueue, i64>>> = "consumerTable",
        /// By queue.
        message_queue_table: Option<BTreeMap<MessageQueue, i64>> = "messageQueueTable",
    }
}

bean! {
    /// The answer of QUERY_TOPIC_CONSUME_BY_WHO (300).
    #[derive(Eq)]
    GroupList {
        /// The groups.
        group_list: Vec<String> = "groupList",
    }
}
