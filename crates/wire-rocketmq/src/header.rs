//! Custom headers: the ext fields of each request and answer as a struct.
//!
//! Every struct reads itself with `from_ext_fields` and writes itself with `to_ext_fields`, so that the broker and a client use the same
//! definition. A field of type `Option` may be absent; any other must be there. Apache does not validate required fields when it
//! decodes and then fails with a NullPointerException's text; we name the field.

use std::fmt::Display;

use crate::command::{DecodeError, ExtFields, RequestHead};
use crate::scan::parse_truth;

/// Any request may name the broker it means (`RpcRequestHeader`).
pub const BROKER_NAME: &str = "bname";
/// Marks a QUERY_MESSAGE that looks for a unique key.
pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";
/// On a heartbeat's answer: this broker knows heartbeats without subscriptions.
pub const IS_SUPPORT_HEART_BEAT_V2: &str = "IS_SUPPORT_HEART_BEAT_V2";
/// On a heartbeat's answer: another member of the group subscribes differently, send everything again.
pub const IS_SUB_CHANGE: &str = "IS_SUB_CHANGE";
/// The zone of a client or broker.
pub const ZONE_NAME: &str = "__ZONE_NAME";
/// Whether a route is to be narrowed to [`ZONE_NAME`].
pub const ZONE_MODE: &str = "__ZONE_MODE";
/// On a send's answer, errors included: the broker's region.
pub const MSG_REGION: &str = "MSG_REGION";
/// On a send's answer, errors included: whether clients may trace.
pub const TRACE_ON: &str = "TRACE_ON";

/// The most characters of a bad value that an error text repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// Why a custom header can't be used. The request can be answered: the text is for the answer's remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A required field is absent.
    #[error("the request header has no field {field}")]
    Missing {
        /// Its name on the wire.
        field: &'static str,
    },
    /// A field's text is not of the field's type.
    #[error("the request header's field {field} has the invalid value '{value}'")]
    Invalid {
        /// Its name on the wire.
        field: &'static str,
        /// The beginning of its text.
        value: String,
    },
}

impl FieldError {
    pub(crate) fn invalid(field: &'static str, value: &str) -> Self {
        FieldError::Invalid { field, value: value.chars().take(SHOWN_CHARS_MAX).collect() }
    }
}

/// Why a hot header ([`crate::send`], [`crate::pull`]) can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The header can't be read at all: close the connection.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// A field is missing or wrong: answer with an error.
    #[error("{error}")]
    Field {
        /// What is needed to answer.
        head: RequestHead,
        /// What is wrong.
        error: FieldError,
    },
}

/// Memory that the hot headers' readers put unescaped text into; kept by the caller so that it is allocated once.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) text: String,
}

/// A type that an ext field can have.
pub trait FieldValue: Sized {
    /// Reads field `name`.
    ///
    /// # Errors
    /// See [`FieldError`].
    fn read(fields: &ExtFields, name: &'static str) -> Result<Self, FieldError>;
    /// Writes field `name`.
    fn write(&self, fields: &mut ExtFields, name: &'static str);
}

fn required<T: FieldValue>(fields: &ExtFields, name: &'static str) -> Result<T, FieldError>
where
    Option<T>: FieldValue,
{
    Option::<T>::read(fields, name)?.ok_or(FieldError::Missing { field: name })
}

fn write_text(value: &impl Display, fields: &mut ExtFields, name: &'static str) {
    fields.insert(name, value.to_string());
}

/// Implements a field type for itself (required) and inside an `Option` (may be absent).
macro_rules! field_value {
    ($type:ty, $parse:expr) => {
        impl FieldValue for $type {
            fn read(fields: &ExtFields, name: &'static str) -> Result<Self, FieldError> {
                required(fields, name)
            }
            fn write(&self, fields: &mut ExtFields, name: &'static str) {
                write_text(self, fields, name);
            }
        }

        impl FieldValue for Option<$type> {
            fn read(fields: &ExtFields, name: &'static str) -> Result<Self, FieldError> {
                let parse: fn(&str) -> Option<Option<$type>> = $parse;
                match fields.get(name) {
                    None => Ok(None),
                    Some(text) => parse(text).ok_or_else(|| FieldError::invalid(name, text)),
                }
            }
            fn write(&self, fields: &mut ExtFields, name: &'static str) {
                if let Some(value) = self {
                    write_text(value, fields, name);
                }
            }
        }
    };
}

// A number without text counts as absent; a text without text is an empty text.
field_value!(String, |text| Some(Some(text.to_owned())));
field_value!(i32, |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) });
field_value!(i64, |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) });
field_value!(bool, |text| if text.is_empty() { Some(None) } else { parse_truth(text).map(Some) });

/// Declares a custom header: every field with its type and its name on the wire.
macro_rules! header {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $wire:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            /// Reads the fields; fields of other headers are passed over.
            ///
            /// # Errors
            /// [`FieldError`] if a required field is missing or a field has the wrong type.
            pub fn from_ext_fields(fields: &ExtFields) -> Result<Self, FieldError> {
                Ok($name { $($field: FieldValue::read(fields, $wire)?,)* })
            }

            /// Writes the fields into `fields`; those that are `None` are left out.
            pub fn write_to(&self, fields: &mut ExtFields) {
                $(self.$field.write(fields, $wire);)*
            }

            /// The fields alone.
            pub fn to_ext_fields(&self) -> ExtFields {
                let mut fields = ExtFields::new();
                self.write_to(&mut fields);
                fields
            }
        }
    };
}

// ---- messages ----

header! {
    /// SEND_MESSAGE (10) in its long names, for clients; the broker reads sends with [`crate::send::SendHeader`].
    SendMessage {
        /// The group of the producer.
        producer_group: String = "producerGroup",
        /// Where to.
        topic: String = "topic",
        /// The topic whose settings a new topic copies.
        default_topic: String = "defaultTopic",
        /// The queues of a new topic.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// The queue chosen by the client.
        queue_id: i32 = "queueId",
        /// Compression and other bits, as stored.
        sys_flag: i32 = "sysFlag",
        /// Milliseconds.
        born_timestamp: i64 = "bornTimestamp",
        /// The application's own flag.
        flag: i32 = "flag",
        /// `name 0x01 value 0x02 ...`.
        properties: Option<String> = "properties",
        /// Vain attempts so far.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// Whether the body holds batch entries.
        batch: Option<bool> = "batch",
        /// The group's limit of attempts.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// The broker meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320): the same fields in one-letter names.
    SendMessageV2 {
        /// The group of the producer.
        producer_group: String = "a",
        /// Where to.
        topic: String = "b",
        /// The topic whose settings a new topic copies.
        default_topic: String = "c",
        /// The queues of a new topic.
        default_topic_queue_nums: i32 = "d",
        /// The queue chosen by the client.
        queue_id: i32 = "e",
        /// Compression and other bits, as stored.
        sys_flag: i32 = "f",
        /// Milliseconds.
        born_timestamp: i64 = "g",
        /// The application's own flag.
        flag: i32 = "h",
        /// `name 0x01 value 0x02 ...`.
        properties: Option<String> = "i",
        /// Vain attempts so far.
        reconsume_times: Option<i32> = "j",
        /// Unit mode.
        unit_mode: Option<bool> = "k",
        /// The group's limit of attempts.
        max_reconsume_times: Option<i32> = "l",
        /// Whether the body holds batch entries.
        batch: Option<bool> = "m",
        /// The broker meant.
        broker_name: Option<String> = "n",
    }
}

header! {
    /// The answer of a send.
    SendMessageResponse {
        /// Offset message id, comma-joined for a batch.
        message_id: String = "msgId",
        /// The queue that took it.
        queue_id: i32 = "queueId",
        /// The (first) offset.
        queue_offset: i64 = "queueOffset",
        /// The UNIQ_KEY.
        transaction_id: Option<String> = "transactionId",
        /// Set when a batch is stored as one record.
        batch_uniq_id: Option<String> = "batchUniqId",
        /// Set for messages that can be recalled.
        recall_handle: Option<String> = "recallHandle",
        /// The broker's region.
        region_id: Option<String> = "MSG_REGION",
        /// Whether clients may trace.
        trace_on: Option<bool> = "TRACE_ON",
    }
}

header! {
    /// CONSUMER_SEND_MSG_BACK (36).
    ConsumerSendMessageBack {
        /// The position of the stored message.
        offset: i64 = "offset",
        /// The consumer's group.
        group: String = "group",
        /// 0 lets the broker choose, negative means dead letter at once.
        delay_level: i32 = "delayLevel",
        /// The id that the client shows.
        origin_message_id: Option<String> = "originMsgId",
        /// The topic before any retry.
        origin_topic: Option<String> = "originTopic",
        /// Unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// The group's limit of attempts.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// The broker meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361), for clients; the broker reads pulls with [`crate::pull::PullHeader`].
    PullMessage {
        /// The group that reads.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The first offset wanted.
        queue_offset: i64 = "queueOffset",
        /// The most messages wanted.
        max_msg_nums: i32 = "maxMsgNums",
        /// See [`crate::pull`].
        sys_flag: i32 = "sysFlag",
        /// The group's cursor.
        commit_offset: i64 = "commitOffset",
        /// How long to wait, in milliseconds.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// The filter expression.
        subscription: Option<String> = "subscription",
        /// The version of the subscription.
        sub_version: i64 = "subVersion",
        /// `TAG` or `SQL92`.
        expression_type: Option<String> = "expressionType",
        /// The most bytes wanted.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// The broker meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// The answer of a pull.
    PullMessageResponse {
        /// The broker id to ask next time.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Where to go on.
        next_begin_offset: i64 = "nextBeginOffset",
        /// The queue's first offset.
        min_offset: i64 = "minOffset",
        /// The offset of the queue's next message.
        max_offset: i64 = "maxOffset",
        /// The topic's sysFlag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// The group's sysFlag.
        group_sys_flag: Option<i32> = "groupSysFlag",
    }
}

header! {
    /// QUERY_MESSAGE (12). [`UNIQUE_KEY_QUERY`] is a field of its own.
    QueryMessage {
        /// The topic.
        topic: String = "topic",
        /// The key looked for.
        key: String = "key",
        /// The most messages wanted.
        max_num: i32 = "maxNum",
        /// Earliest store time, milliseconds.
        begin_timestamp: i64 = "beginTimestamp",
        /// Latest store time, milliseconds.
        end_timestamp: i64 = "endTimestamp",
        /// `true` for a look-up by unique key.
        unique_key_query: Option<bool> = "_UNIQUE_KEY_QUERY",
        /// What kind of key is meant, from 5.4 clients.
        index_type: Option<String> = "indexType",
        /// Where to go on, from 5.4 clients.
        last_key: Option<String> = "lastKey",
    }
}

header! {
    /// The answer of QUERY_MESSAGE.
    QueryMessageResponse {
        /// Store time of the newest indexed message.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Position of the newest indexed message.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }
}

header! {
    /// VIEW_MESSAGE_BY_ID (33).
    ViewMessage {
        /// The topic, from newer clients.
        topic: Option<String> = "topic",
        /// The message's position.
        offset: i64 = "offset",
    }
}

// ---- clients, groups, cursors ----

header! {
    /// UNREGISTER_CLIENT (35).
    UnregisterClient {
        /// The client.
        client_id: String = "clientID",
        /// The producer group it leaves.
        producer_group: Option<String> = "producerGroup",
        /// The consumer group it leaves.
        consumer_group: Option<String> = "consumerGroup",
    }
}

header! {
    /// GET_CONSUMER_LIST_BY_GROUP (38), NOTIFY_CONSUMER_IDS_CHANGED (40) and GET_CONSUMER_CONNECTION_LIST (203).
    ConsumerGroup {
        /// The group.
        consumer_group: String = "consumerGroup",
    }
}

header! {
    /// GET_PRODUCER_CONNECTION_LIST (204).
    ProducerGroup {
        /// The group.
        producer_group: String = "producerGroup",
    }
}

header! {
    /// QUERY_CONSUMER_OFFSET (14).
    QueryConsumerOffset {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Whether a young queue answers 0 for a group without cursor; absent means yes.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

header! {
    /// UPDATE_CONSUMER_OFFSET (15).
    UpdateConsumerOffset {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The group's next offset.
        commit_offset: i64 = "commitOffset",
    }
}

header! {
    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    SearchOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Milliseconds.
        timestamp: i64 = "timestamp",
        /// `LOWER` (also if absent) or `UPPER`.
        boundary_type: Option<String> = "boundaryType",
    }
}

header! {
    /// GET_MAX_OFFSET (30).
    GetMaxOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Whether only committed messages count; absent means yes.
        committed: Option<bool> = "committed",
    }
}

header! {
    /// GET_MIN_OFFSET (31) and GET_EARLIEST_MSG_STORETIME (32).
    TopicQueue {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
    }
}

header! {
    /// The answer of 14, 29, 30 and 31.
    OffsetResponse {
        /// The offset.
        offset: i64 = "offset",
    }
}

header! {
    /// The answer of GET_EARLIEST_MSG_STORETIME (32).
    TimestampResponse {
        /// Milliseconds.
        timestamp: i64 = "timestamp",
    }
}

header! {
    /// GET_CONSUMER_RUNNING_INFO (307).
    ConsumerRunningInfo {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The member asked.
        client_id: String = "clientId",
        /// Whether to include stack traces.
        jstack_enable: Option<bool> = "jstackEnable",
    }
}

header! {
    /// RESET_CONSUMER_CLIENT_OFFSET (220) and INVOKE_BROKER_TO_RESET_OFFSET (222).
    ResetOffset {
        /// The topic.
        topic: String = "topic",
        /// The group.
        group: String = "group",
        /// The queue; absent or -1 means all.
        queue_id: Option<i32> = "queueId",
        /// The offset, if one queue is reset to one.
        offset: Option<i64> = "offset",
        /// Milliseconds; -1 means the end.
        timestamp: i64 = "timestamp",
        /// Whether a cursor may go forward too.
        is_force: bool = "isForce",
    }
}

header! {
    /// GET_CONSUMER_STATUS_FROM_CLIENT (221) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
    ConsumerStatus {
        /// The topic.
        topic: String = "topic",
        /// The group.
        group: String = "group",
        /// One client only, if set.
        client_addr: Option<String> = "clientAddr",
    }
}

// ---- topics and groups as an administrator sees them ----

header! {
    /// Requests that name a topic and nothing else: 202, 215, 216 (with the cluster), 300, 351.
    Topic {
        /// The topic.
        topic: String = "topic",
        /// The cluster, in a name server's DELETE_TOPIC_IN_NAMESRV (216).
        cluster_name: Option<String> = "clusterName",
    }
}

header! {
    /// UPDATE_AND_CREATE_TOPIC (17).
    CreateTopic {
        /// The topic.
        topic: String = "topic",
        /// The topic whose settings count when ours are absent; not used by brokers.
        default_topic: Option<String> = "defaultTopic",
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<String> = "topicFilterType",
        /// Unit bits.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether it is an ordered topic.
        order: Option<bool> = "order",
        /// `+key=value,-key`.
        attributes: Option<String> = "attributes",
        /// Whether an existing topic of another type is replaced.
        force: Option<bool> = "force",
    }
}

header! {
    /// GET_ALL_TOPIC_CONFIG (21); all absent from older clients, which get everything.
    GetAllTopicConfig {
        /// The first topic wanted.
        topic_seq: Option<i32> = "topicSeq",
        /// The version that the caller pages through.
        data_version: Option<String> = "dataVersion",
        /// The most topics wanted.
        max_topic_num: Option<i32> = "maxTopicNum",
    }
}

header! {
    /// The answer of GET_ALL_TOPIC_CONFIG.
    GetAllTopicConfigResponse {
        /// How many topics there are.
        total_topic_num: i32 = "totalTopicNum",
    }
}

header! {
    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201); all absent from older clients, which get everything.
    GetAllSubscriptionGroupConfig {
        /// The first group wanted.
        group_seq: Option<i32> = "groupSeq",
        /// The version that the caller pages through.
        data_version: Option<String> = "dataVersion",
        /// The most groups wanted.
        max_group_num: Option<i32> = "maxGroupNum",
    }
}

header! {
    /// The answer of GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    GetAllSubscriptionGroupConfigResponse {
        /// How many groups there are.
        total_group_num: i32 = "totalGroupNum",
    }
}

header! {
    /// DELETE_SUBSCRIPTIONGROUP (207).
    DeleteSubscriptionGroup {
        /// The group.
        group_name: String = "groupName",
        /// Whether its cursors go too.
        clean_offset: Option<bool> = "cleanOffset",
    }
}

header! {
    /// Requests that name a group and nothing else: 343, 352.
    Group {
        /// The group.
        group: String = "group",
    }
}

header! {
    /// GET_CONSUME_STATS (208).
    GetConsumeStats {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// One topic only, if set and not empty.
        topic: Option<String> = "topic",
        /// Several topics, joined by `;`.
        topic_list: Option<String> = "topicList",
    }
}

header! {
    /// The answer of GET_BROKER_CONFIG (26).
    GetBrokerConfigResponse {
        /// A DataVersion as JSON.
        version: String = "version",
    }
}

// ---- name server ----

header! {
    /// GET_ROUTEINFO_BY_TOPIC (105).
    GetRouteInfo {
        /// The topic.
        topic: String = "topic",
        /// Whether numeric keys have to be quoted whatever the caller's version.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
        /// Whether only brokers of one zone are wanted.
        zone_mode: Option<bool> = "__ZONE_MODE",
        /// The zone.
        zone_name: Option<String> = "__ZONE_NAME",
    }
}

header! {
    /// REGISTER_BROKER (103).
    RegisterBroker {
        /// The broker's (shard's) name.
        broker_name: String = "brokerName",
        /// Where clients reach it.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// Where slaves reach it.
        ha_server_addr: Option<String> = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// After how long without a sign of life it counts as dead.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether slaves may act for a lost master.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is in the compressed form.
        compressed: Option<bool> = "compressed",
        /// CRC-32 of the body with the top bit cleared; 0 is unchecked.
        body_crc32: Option<i32> = "bodyCrc32",
        /// The broker's zone.
        zone_name: Option<String> = "__ZONE_NAME",
    }
}

header! {
    /// The answer of REGISTER_BROKER.
    RegisterBrokerResponse {
        /// Where the master's slaves connect to; only for slaves.
        ha_server_addr: Option<String> = "haServerAddr",
        /// The master; only for slaves.
        master_addr: Option<String> = "masterAddr",
    }
}

header! {
    /// UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322).
    BrokerIdentity {
        /// The broker's name.
        broker_name: String = "brokerName",
        /// Its address.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// The answer of QUERY_DATA_VERSION (322).
    QueryDataVersionResponse {
        /// Whether the name server's version differs.
        changed: bool = "changed",
    }
}

header! {
    /// BROKER_HEARTBEAT (904).
    BrokerHeartbeat {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// The broker's address.
        broker_addr: String = "brokerAddr",
        /// The broker's name.
        broker_name: String = "brokerName",
        /// 0 is the master.
        broker_id: Option<i64> = "brokerId",
        /// The controller's epoch.
        epoch: Option<i32> = "epoch",
        /// The log's end.
        max_offset: Option<i64> = "maxOffset",
        /// The log's confirmed end.
        confirm_offset: Option<i64> = "confirmOffset",
        /// After how long without a sign of life it counts as dead. (Misspelt on the wire.)
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills",
        /// Priority in elections.
        election_priority: Option<i32> = "electionPriority",
    }
}

header! {
    /// PUT_KV_CONFIG (100).
    PutKvConfig {
        /// The namespace, such as `ORDER_TOPIC_CONFIG`.
        namespace: String = "namespace",
        /// The key.
        key: String = "key",
        /// The value.
        value: String = "value",
    }
}

header! {
    /// GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
    KvKey {
        /// The namespace.
        namespace: String = "namespace",
        /// The key.
        key: String = "key",
    }
}

header! {
    /// The answer of GET_KV_CONFIG.
    KvValue {
        /// The value.
        value: Option<String> = "value",
    }
}

header! {
    /// GET_KVLIST_BY_NAMESPACE (219).
    KvNamespace {
        /// The namespace.
        namespace: String = "namespace",
    }
}

header! {
    /// GET_TOPICS_BY_CLUSTER (224).
    TopicsByCluster {
        /// The cluster.
        cluster: String = "cluster",
    }
}

header! {
    /// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    BrokerNameOnly {
        /// The broker.
        broker_name: String = "brokerName",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_wrong_fields_are_named() {
        let fields = |pairs: &[(&'static str, &str)]| pairs.iter().copied().collect::<ExtFields>();
        let cases: [(ExtFields, &str); 3] = [
            (fields(&[("topic", "T")]), "the request header has no field queueId"),
            (fields(&[("topic", "T"), ("queueId", "")]), "the request header has no field queueId"),
            (
                fields(&[("topic", "T"), ("queueId", "x1")]),
                "the request header's field queueId has the invalid value 'x1'",
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(TopicQueue::from_ext_fields(&fields).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn optional_fields_and_c_truth_values() {
        let fields: ExtFields = [("topic", "T"), ("queueId", "3"), ("committed", "0")].into_iter().collect();
        let header = GetMaxOffset::from_ext_fields(&fields).unwrap();
        assert_eq!(header, GetMaxOffset { topic: "T".into(), queue_id: 3, committed: Some(false) });
        assert_eq!(header.to_ext_fields().get("committed"), Some("false"));
        let absent = GetMaxOffset { committed: None, ..header };
        assert_eq!(absent.to_ext_fields().get("committed"), None);
    }

    #[test]
    fn long_values_are_shown_in_part() {
        let error = FieldError::invalid("queueId", &"é".repeat(1000));
        assert_eq!(error, FieldError::Invalid { field: "queueId", value: "é".repeat(SHOWN_CHARS_MAX) });
    }
}
