//! The APIs that a Kafka 4.3 broker has: number, name, versions.
//!
//! These are facts of the protocol. Which of them a broker advertises, and up to which version, is its own decision: a client takes the
//! highest version that both have and relies on all that it means.

/// What the protocol says about an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKey {
    /// The number that requests carry.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest version that Kafka 4.3 can read.
    pub min: i16,
    /// The highest stable version.
    pub max: i16,
    /// The first version with compact lengths, tagged fields and the longer headers; None if there is none.
    pub flexible: Option<i16>,
}

impl ApiKey {
    /// Whether a version has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible.is_some_and(|first| version >= first)
    }

    /// Whether Kafka 4.3 can read a version.
    pub fn has(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// The API with this number.
pub fn find(key: i16) -> Option<&'static ApiKey> {
    KEYS.binary_search_by_key(&key, |api| api.key).ok().map(|at| &KEYS[at])
}

/// Defines a constant with the number of each API, and the table.
macro_rules! keys {
    ($($name:ident = $key:literal $text:literal $min:literal..=$max:literal $flexible:expr;)*) => {
        $(
            #[doc = concat!($text, ".")]
            pub const $name: i16 = $key;
        )*

        /// Every API of a 4.3 broker's listener for clients, by number.
        pub const KEYS: &[ApiKey] = &[
            $(ApiKey { key: $key, name: $text, min: $min, max: $max, flexible: $flexible },)*
        ];
    };
}

keys! {
    PRODUCE = 0 "Produce" 3..=13 Some(9);
    FETCH = 1 "Fetch" 4..=18 Some(12);
    LIST_OFFSETS = 2 "ListOffsets" 1..=11 Some(6);
    METADATA = 3 "Metadata" 0..=13 Some(9);
    OFFSET_COMMIT = 8 "OffsetCommit" 2..=10 Some(8);
    OFFSET_FETCH = 9 "OffsetFetch" 1..=10 Some(6);
    FIND_COORDINATOR = 10 "FindCoordinator" 0..=6 Some(3);
    JOIN_GROUP = 11 "JoinGroup" 0..=9 Some(6);
    HEARTBEAT = 12 "Heartbeat" 0..=4 Some(4);
    LEAVE_GROUP = 13 "LeaveGroup" 0..=5 Some(4);
    SYNC_GROUP = 14 "SyncGroup" 0..=5 Some(4);
    DESCRIBE_GROUPS = 15 "DescribeGroups" 0..=6 Some(5);
    LIST_GROUPS = 16 "ListGroups" 0..=5 Some(3);
    SASL_HANDSHAKE = 17 "SaslHandshake" 0..=1 None;
    API_VERSIONS = 18 "ApiVersions" 0..=4 Some(3);
    CREATE_TOPICS = 19 "CreateTopics" 2..=7 Some(5);
    DELETE_TOPICS = 20 "DeleteTopics" 1..=6 Some(4);
    DELETE_RECORDS = 21 "DeleteRecords" 0..=2 Some(2);
    INIT_PRODUCER_ID = 22 "InitProducerId" 0..=5 Some(2);
    OFFSET_FOR_LEADER_EPOCH = 23 "OffsetForLeaderEpoch" 2..=4 Some(4);
    ADD_PARTITIONS_TO_TXN = 24 "AddPartitionsToTxn" 0..=5 Some(3);
    ADD_OFFSETS_TO_TXN = 25 "AddOffsetsToTxn" 0..=4 Some(3);
    END_TXN = 26 "EndTxn" 0..=5 Some(3);
    WRITE_TXN_MARKERS = 27 "WriteTxnMarkers" 1..=2 Some(1);
    TXN_OFFSET_COMMIT = 28 "TxnOffsetCommit" 0..=5 Some(3);
    DESCRIBE_ACLS = 29 "DescribeAcls" 1..=3 Some(2);
    CREATE_ACLS = 30 "CreateAcls" 1..=3 Some(2);
    DELETE_ACLS = 31 "DeleteAcls" 1..=3 Some(2);
    DESCRIBE_CONFIGS = 32 "DescribeConfigs" 1..=4 Some(4);
    ALTER_CONFIGS = 33 "AlterConfigs" 0..=2 Some(2);
    ALTER_REPLICA_LOG_DIRS = 34 "AlterReplicaLogDirs" 1..=2 Some(2);
    DESCRIBE_LOG_DIRS = 35 "DescribeLogDirs" 1..=5 Some(2);
    SASL_AUTHENTICATE = 36 "SaslAuthenticate" 0..=2 Some(2);
    CREATE_PARTITIONS = 37 "CreatePartitions" 0..=3 Some(2);
    CREATE_DELEGATION_TOKEN = 38 "CreateDelegationToken" 1..=3 Some(2);
    RENEW_DELEGATION_TOKEN = 39 "RenewDelegationToken" 1..=2 Some(2);
    EXPIRE_DELEGATION_TOKEN = 40 "ExpireDelegationToken" 1..=2 Some(2);
    DESCRIBE_DELEGATION_TOKEN = 41 "DescribeDelegationToken" 1..=3 Some(2);
    DELETE_GROUPS = 42 "DeleteGroups" 0..=2 Some(2);
    ELECT_LEADERS = 43 "ElectLeaders" 0..=2 Some(2);
    INCREMENTAL_ALTER_CONFIGS = 44 "IncrementalAlterConfigs" 0..=1 Some(1);
    ALTER_PARTITION_REASSIGNMENTS = 45 "AlterPartitionReassignments" 0..=1 Some(0);
    LIST_PARTITION_REASSIGNMENTS = 46 "ListPartitionReassignments" 0..=0 Some(0);
    OFFSET_DELETE = 47 "OffsetDelete" 0..=0 None;
    DESCRIBE_CLIENT_QUOTAS = 48 "DescribeClientQuotas" 0..=1 Some(1);
    ALTER_CLIENT_QUOTAS = 49 "AlterClientQuotas" 0..=1 Some(1);
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50 "DescribeUserScramCredentials" 0..=0 Some(0);
    ALTER_USER_SCRAM_CREDENTIALS = 51 "AlterUserScramCredentials" 0..=0 Some(0);
    DESCRIBE_QUORUM = 55 "DescribeQuorum" 0..=2 Some(0);
    UPDATE_FEATURES = 57 "UpdateFeatures" 0..=2 Some(0);
    DESCRIBE_CLUSTER = 60 "DescribeCluster" 0..=2 Some(0);
    DESCRIBE_PRODUCERS = 61 "DescribeProducers" 0..=0 Some(0);
    UNREGISTER_BROKER = 64 "UnregisterBroker" 0..=0 Some(0);
    DESCRIBE_TRANSACTIONS = 65 "DescribeTransactions" 0..=0 Some(0);
    LIST_TRANSACTIONS = 66 "ListTransactions" 0..=2 Some(0);
    CONSUMER_GROUP_HEARTBEAT = 68 "ConsumerGroupHeartbeat" 0..=1 Some(0);
    CONSUMER_GROUP_DESCRIBE = 69 "ConsumerGroupDescribe" 0..=1 Some(0);
    GET_TELEMETRY_SUBSCRIPTIONS = 71 "GetTelemetrySubscriptions" 0..=0 Some(0);
    PUSH_TELEMETRY = 72 "PushTelemetry" 0..=0 Some(0);
    LIST_CONFIG_RESOURCES = 74 "ListConfigResources" 0..=1 Some(0);
    DESCRIBE_TOPIC_PARTITIONS = 75 "DescribeTopicPartitions" 0..=0 Some(0);
    SHARE_GROUP_HEARTBEAT = 76 "ShareGroupHeartbeat" 1..=1 Some(1);
    SHARE_GROUP_DESCRIBE = 77 "ShareGroupDescribe" 1..=1 Some(1);
    SHARE_FETCH = 78 "ShareFetch" 1..=2 Some(1);
    SHARE_ACKNOWLEDGE = 79 "ShareAcknowledge" 1..=2 Some(1);
    ADD_RAFT_VOTER = 80 "AddRaftVoter" 0..=1 Some(0);
    REMOVE_RAFT_VOTER = 81 "RemoveRaftVoter" 0..=0 Some(0);
    INITIALIZE_SHARE_GROUP_STATE = 83 "InitializeShareGroupState" 0..=0 Some(0);
    READ_SHARE_GROUP_STATE = 84 "ReadShareGroupState" 0..=0 Some(0);
    WRITE_SHARE_GROUP_STATE = 85 "WriteShareGroupState" 0..=1 Some(0);
    DELETE_SHARE_GROUP_STATE = 86 "DeleteShareGroupState" 0..=0 Some(0);
    READ_SHARE_GROUP_STATE_SUMMARY = 87 "ReadShareGroupStateSummary" 0..=1 Some(0);
    STREAMS_GROUP_HEARTBEAT = 88 "StreamsGroupHeartbeat" 0..=0 Some(0);
    STREAMS_GROUP_DESCRIBE = 89 "StreamsGroupDescribe" 0..=0 Some(0);
    DESCRIBE_SHARE_GROUP_OFFSETS = 90 "DescribeShareGroupOffsets" 0..=1 Some(0);
    ALTER_SHARE_GROUP_OFFSETS = 91 "AlterShareGroupOffsets" 0..=0 Some(0);
    DELETE_SHARE_GROUP_OFFSETS = 92 "DeleteShareGroupOffsets" 0..=0 Some(0);
}

/// The lowest version of Produce that brokers advertise. They read none below `KEYS`' minimum: librdkafka up to 2.10 decides by an
/// advertised 0 whether a broker knows compression. Source: KAFKA-18659.
pub const PRODUCE_ADVERTISED_MIN: i16 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_number() {
        assert!(KEYS.is_sorted_by_key(|api| api.key));
        let metadata = find(METADATA).expect("Metadata is a key");
        assert_eq!((metadata.name, metadata.max, metadata.flexible), ("Metadata", 13, Some(9)));
        assert!(metadata.has(13) && !metadata.has(14) && metadata.is_flexible(9) && !metadata.is_flexible(8));
        assert!(!find(SASL_HANDSHAKE).expect("SaslHandshake is a key").is_flexible(1));
        assert_eq!(find(4), None, "keys of brokers among themselves are gone since 4.0");
        assert_eq!((find(-1), find(i16::MAX)), (None, None));
    }
}
