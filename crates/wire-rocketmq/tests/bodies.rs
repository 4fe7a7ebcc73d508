//! Bodies that no recording holds, in the form that Apache's tools and clients read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use braid_wire_rocketmq::Language;
use braid_wire_rocketmq::body::*;
use braid_wire_rocketmq::fastjson::{NumberKeys, Value};

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { broker_name: "b".into(), queue_id, topic: "T".into() }
}

/// `body` is written as `text`, and read back from it.
fn check<T: Body + PartialEq + std::fmt::Debug>(body: &T, text: &str) {
    assert_eq!(str::from_utf8(&body.encode()).unwrap(), text);
    assert_eq!(&T::decode(text.as_bytes()).unwrap(), body);
}

#[test]
fn beans_are_written_as_fastjson_writes_them() {
    check(
        &DataVersion { counter: 2, state_version: 0, timestamp: 1 },
        r#"{"counter":2,"stateVersion":0,"timestamp":1}"#,
    );
    check(&ConsumerList { consumer_id_list: vec!["c1".into()] }, r#"{"consumerIdList":["c1"]}"#);
    check(&GroupList { group_list: vec!["g".into(), "h".into()] }, r#"{"groupList":["g","h"]}"#);
    check(&TopicList { broker_addr: None, topic_list: vec!["T".into()] }, r#"{"topicList":["T"]}"#);
    check(&KvTable { table: BTreeMap::from([("k".into(), "v\n".into())]) }, r#"{"table":{"k":"v\n"}}"#);
    check(
        &LockBatch {
            client_id: "c".into(),
            consumer_group: "g".into(),
            mq_set: vec![queue(1)],
            only_this_broker: false,
        },
        r#"{"clientId":"c","consumerGroup":"g","mqSet":[{"brokerName":"b","queueId":1,"topic":"T"}],"onlyThisBroker":false}"#,
    );
    check(
        &ResetOffsetBodyForC {
            offset_table: vec![MessageQueueOffset {
                broker_name: "b".into(),
                offset: 9,
                queue_id: 1,
                topic: "T".into(),
            }],
        },
        r#"{"offsetTable":[{"brokerName":"b","offset":9,"queueId":1,"topic":"T"}]}"#,
    );
    check(
        &ClusterInfo {
            broker_addr_table: BTreeMap::from([("b".into(), broker())]),
            cluster_addr_table: BTreeMap::from([("C".into(), vec!["b".into()])]),
        },
        concat!(
            r#"{"brokerAddrTable":{"b":{"brokerAddrs":{"0":"h:1","1":"h:2"},"brokerName":"b","cluster":"C","#,
            r#""enableActingMaster":false}},"clusterAddrTable":{"C":["b"]}}"#
        ),
    );
    check(
        &ProducerConnection {
            connection_set: vec![Connection {
                client_addr: "h:9".into(),
                client_id: "c".into(),
                language: Language::Go,
                version: 317,
            }],
        },
        r#"{"connectionSet":[{"clientAddr":"h:9","clientId":"c","language":"GO","version":317}]}"#,
    );
}

fn broker() -> BrokerData {
    BrokerData {
        broker_addrs: BTreeMap::from([(0, "h:1".into()), (1, "h:2".into())]),
        broker_name: "b".into(),
        cluster: "C".into(),
        ..Default::default()
    }
}

#[test]
fn queues_are_keys_as_they_are() {
    check(
        &ResetOffsetBody { offset_table: BTreeMap::from([(queue(0), 5), (queue(1), 6)]) },
        concat!(
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,"#,
            r#"{"brokerName":"b","queueId":1,"topic":"T"}:6}}"#
        ),
    );
    check(
        &TopicStatsTable {
            offset_table: BTreeMap::from([(
                queue(0),
                TopicOffset { last_update_timestamp: 3, max_offset: 2, min_offset: 1 },
            )]),
            topic_put_tps: 0.0,
        },
        concat!(
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:"#,
            r#"{"lastUpdateTimestamp":3,"maxOffset":2,"minOffset":1}},"topicPutTps":0.0}"#
        ),
    );
    check(
        &ConsumeStats {
            consume_tps: 1.5,
            offset_table: BTreeMap::from([(
                queue(0),
                OffsetWrapper { broker_offset: 4, consumer_offset: 3, last_timestamp: 2, pull_offset: 1 },
            )]),
        },
        concat!(
            r#"{"consumeTps":1.5,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:"#,
            r#"{"brokerOffset":4,"consumerOffset":3,"lastTimestamp":2,"pullOffset":1}}}"#
        ),
    );
    // A strict JSON writer turns the key into a string.
    let strict = br#"{"offsetTable":{"{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}":5}}"#;
    assert_eq!(ResetOffsetBody::decode(strict).unwrap().offset_table, BTreeMap::from([(queue(0), 5)]));
}

#[test]
fn a_route_in_both_forms() {
    let route = TopicRouteData {
        broker_datas: vec![broker()],
        queue_datas: vec![QueueData {
            broker_name: "b".into(),
            perm: 6,
            read_queue_nums: 8,
            topic_sys_flag: 0,
            write_queue_nums: 8,
        }],
        ..Default::default()
    };
    check(
        &route,
        concat!(
            r#"{"brokerDatas":[{"brokerAddrs":{"0":"h:1","1":"h:2"},"brokerName":"b","cluster":"C","enableActingMaster":false}],"#,
            r#""filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":8,"topicSysFlag":0,"#,
            r#""writeQueueNums":8}]}"#
        ),
    );
    let bare = route.encode_with(TopicRouteData::number_keys(400, false));
    assert!(str::from_utf8(&bare).unwrap().contains(r#""brokerAddrs":{0:"h:1",1:"h:2"}"#));
    assert_eq!(TopicRouteData::decode(&bare).unwrap(), route);
    assert_eq!(TopicRouteData::number_keys(401, false), NumberKeys::Quoted);
    assert_eq!(TopicRouteData::number_keys(0, true), NumberKeys::Quoted);
}

#[test]
fn settings_take_java_s_defaults() {
    let topic = TopicConfig::decode(br#"{"topicName":"T","readQueueNums":4,"attributes":null}"#).unwrap();
    assert_eq!(
        topic,
        TopicConfig {
            topic_name: "T".into(),
            read_queue_nums: 4,
            write_queue_nums: 16,
            perm: 6,
            ..Default::default()
        }
    );
    let group =
        SubscriptionGroupConfig::decode(br#"{"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"}}"#)
            .unwrap();
    assert!(
        group.consume_enable && group.consume_broadcast_enable && group.notify_consumer_ids_changed_enable
    );
    assert_eq!((group.retry_max_times, group.retry_queue_nums, group.consume_timeout_minute), (16, 1, 15));
    assert!(str::from_utf8(&group.encode()).unwrap().contains(r#""groupRetryPolicy":{"type":"CUSTOMIZED"}"#));
    assert_eq!(HeartbeatData::decode(b"").unwrap(), HeartbeatData::default());
    assert_eq!(HeartbeatData::decode(b"null").unwrap(), HeartbeatData::default());
}

#[test]
fn wrong_members_are_named() {
    let error = |body: &str| HeartbeatData::decode(body.as_bytes()).unwrap_err().to_string();
    assert_eq!(error("[]"), "the body's value is not a HeartbeatData");
    assert_eq!(error(r#"{"clientID":[]}"#), "the body's clientID is not a string");
    assert_eq!(
        error(r#"{"consumerDataSet":[{},{"subscriptionDataSet":[{"subVersion":"x"}]}]}"#),
        "the body's consumerDataSet.[1].subscriptionDataSet.[0].subVersion is not a whole number"
    );
    assert_eq!(
        error(r#"{"consumerDataSet":[{"consumeType":9}]}"#),
        "the body's consumerDataSet.[0].consumeType is not a ConsumeType"
    );
    assert_eq!(error("{"), "the body is not JSON at byte 1");
}

#[test]
fn registrations_plain_and_compressed() {
    let topic = |name: &str, attributes: &[(&str, &str)]| TopicConfig {
        topic_name: name.into(),
        read_queue_nums: 4,
        write_queue_nums: 2,
        perm: 7,
        attributes: attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Default::default()
    };
    let table = TopicConfigTable {
        data_version: DataVersion { counter: 5, state_version: 1, timestamp: 9 },
        topic_config_table: BTreeMap::from([
            ("A".into(), topic("A", &[])),
            ("B".into(), topic("B", &[("message.type", "FIFO and more")])),
        ]),
        topic_queue_mapping_info_map: Some(Value::Map(vec![(
            Value::Text("S".into()),
            Value::Map(vec![(Value::Text("topic".into()), Value::Text("S".into()))]),
        )])),
        ..Default::default()
    };
    let body =
        RegisterBrokerBody { filter_server_list: vec!["f:1".into()], topic_config_serialize_wrapper: table };
    assert_eq!(RegisterBrokerBody::decode(&body.encode()).unwrap(), body);

    let compressed = body.encode_compressed(VERSION_TOPIC_MAPPINGS);
    assert_eq!(RegisterBrokerBody::decode_compressed(&compressed, VERSION_TOPIC_MAPPINGS).unwrap(), body);
    let mut older = body.clone();
    older.topic_config_serialize_wrapper.topic_queue_mapping_info_map = None;
    let version = VERSION_TOPIC_MAPPINGS - 1;
    assert_eq!(
        RegisterBrokerBody::decode_compressed(&body.encode_compressed(version), version).unwrap(),
        older
    );

    for end in 0..compressed.len() {
        let cut = RegisterBrokerBody::decode_compressed(&compressed[..end], VERSION_TOPIC_MAPPINGS);
        assert!(matches!(cut, Err(BodyError::Compressed { .. })), "cut at {end}: {cut:?}");
    }
    assert_eq!(body_crc32(b"hello"), 0x3610_a686);
}
