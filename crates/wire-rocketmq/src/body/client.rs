//! What clients say about themselves, and what is said about them.

use std::collections::BTreeMap;

use super::{MessageQueue, bean, named};
use crate::command::Language;

named! {
    /// How a group consumes.
    ConsumeType {
        /// The application asks for messages.
        Actively = "CONSUME_ACTIVELY",
        /// The client pushes messages to the application.
        Passively = "CONSUME_PASSIVELY",
        /// By POP.
        Pop = "CONSUME_POP",
    }
}

named! {
    /// Who of a group gets a message.
    MessageModel {
        /// Everyone.
        Broadcasting = "BROADCASTING",
        /// One.
        Clustering = "CLUSTERING",
    }
}

named! {
    /// Where a group without cursor begins.
    ConsumeFromWhere {
        /// At the end.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the start.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

bean! {
    /// What a group wants of one topic (`SubscriptionData`).
    #[derive(Eq)]
    SubscriptionData {
        /// A filter of ancient clients.
        class_filter_mode: bool = "classFilterMode",
        /// Java's hashes of the tags.
        code_set: Vec<i32> = "codeSet",
        /// `TAG` or `SQL92`.
        expression_type: String = "expressionType" or "TAG".to_owned(),
        /// The expression as written: `*`, `A || B`.
        sub_string: String = "subString",
        /// Which expression is newer: milliseconds, nanoseconds from Go.
        sub_version: i64 = "subVersion",
        /// The tags of the expression.
        tags_set: Vec<String> = "tagsSet",
        /// The topic.
        topic: String = "topic",
    }
}

bean! {
    /// A consumer group in a heartbeat (`ConsumerData`).
    #[derive(Eq)]
    ConsumerData {
        /// Where it begins without cursor.
        consume_from_where: Option<ConsumeFromWhere> = "consumeFromWhere",
        /// How it consumes.
        consume_type: Option<ConsumeType> = "consumeType",
        /// The group.
        group_name: String = "groupName",
        /// Who of it gets a message.
        message_model: Option<MessageModel> = "messageModel",
        /// What it subscribes to.
        subscription_data_set: Vec<SubscriptionData> = "subscriptionDataSet",
        /// Unit mode.
        unit_mode: bool = "unitMode",
    }
}

bean! {
    /// A producer group in a heartbeat (`ProducerData`).
    #[derive(Eq)]
    ProducerData {
        /// The group.
        group_name: String = "groupName",
    }
}

bean! {
    /// HEART_BEAT (34).
    #[derive(Eq)]
    HeartbeatData {
        /// The client.
        client_id: String = "clientID",
        /// Its consumer groups.
        consumer_data_set: Vec<ConsumerData> = "consumerDataSet",
        /// A hash of the sets; 0 from clients that don't know it.
        heartbeat_fingerprint: i32 = "heartbeatFingerprint",
        /// Its producer groups.
        producer_data_set: Vec<ProducerData> = "producerDataSet",
        /// Whether the sets are left out because they did not change.
        is_without_sub: bool = "withoutSub",
    }
}

bean! {
    /// CHECK_CLIENT_CONFIG (46).
    #[derive(Eq)]
    CheckClient {
        /// The client.
        client_id: String = "clientId",
        /// Its group.
        group: String = "group",
        /// Its namespace.
        namespace: Option<String> = "namespace",
        /// What is to be checked.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
    }
}

bean! {
    /// The answer of GET_CONSUMER_LIST_BY_GROUP (38).
    #[derive(Eq)]
    ConsumerList {
        /// The clients of the group.
        consumer_id_list: Vec<String> = "consumerIdList",
    }
}

bean! {
    /// LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
    #[derive(Eq)]
    LockBatch {
        /// The client.
        client_id: String = "clientId",
        /// Its group.
        consumer_group: String = "consumerGroup",
        /// The queues.
        mq_set: Vec<MessageQueue> = "mqSet",
        /// Whether other brokers of a group are left out.
        only_this_broker: bool = "onlyThisBroker",
    }
}

bean! {
    /// The answer of LOCK_BATCH_MQ.
    #[derive(Eq)]
    LockedBatch {
        /// The queues that the client holds now.
        lock_ok_mq_set: Vec<MessageQueue> = "lockOKMQSet",
    }
}

bean! {
    /// One connected client (`Connection`).
    #[derive(Eq)]
    Connection {
        /// Its address.
        client_addr: String = "clientAddr",
        /// Its id.
        client_id: String = "clientId",
        /// Its language.
        language: Language = "language" or Language::Other,
        /// Its version, an ordinal of Java's `MQVersion`.
        version: i32 = "version",
    }
}

bean! {
    /// The answer of GET_CONSUMER_CONNECTION_LIST (203).
    #[derive(Eq)]
    ConsumerConnection {
        /// The members.
        connection_set: Vec<Connection> = "connectionSet",
        /// Where the group begins.
        consume_from_where: Option<ConsumeFromWhere> = "consumeFromWhere",
        /// How it consumes.
        consume_type: Option<ConsumeType> = "consumeType",
        /// Who of it gets a message.
        message_model: Option<MessageModel> = "messageModel",
        /// What it subscribes to, by topic.
        subscription_table: BTreeMap<String, SubscriptionData> = "subscriptionTable",
    }
}

bean! {
    /// The answer of GET_PRODUCER_CONNECTION_LIST (204).
    #[derive(Eq)]
    ProducerConnection {
        /// The members.
        connection_set: Vec<Connection> = "connectionSet",
    }
}
