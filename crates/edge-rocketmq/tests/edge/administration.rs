//! What mqadmin asks.

use std::collections::BTreeMap;

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ConsumeStats, ConsumerConnection, GroupList, HeartbeatData, KvTable, ProducerConnection,
    ProducerData, SubscriptionGroupConfig, SubscriptionGroupTable, TopicConfigTable, TopicStatsTable,
};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::command::ExtFields;

use crate::support::{Server, message, number, pull, remark, request, request_with};

fn topic(name: &str, queues: &str, perm: &str) -> Command {
    let fields = [
        ("topic", name),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", perm),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    request(request::UPDATE_AND_CREATE_TOPIC, &fields)
}

#[test]
fn topics_are_made_changed_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut admin = server.client();
    assert_eq!(admin.ask(topic("T", "3", "6")).code, 0);
    assert_eq!(admin.ask(message("T", 3, b"x", "")).code, 29);
    assert_eq!(admin.ask(topic("T", "5", "4")).code, 0);
    assert_eq!(admin.ask(message("T", 3, b"x", "")).code, 16, "it is read-only now");
    assert_eq!(admin.ask(topic("T", "5", "6")).code, 0);
    admin.produce("T", 3, "x", "");
    for (what, command, code) in [
        ("bad name", topic("a b", "1", "6"), 29),
        ("system topic", topic("TBW102", "1", "6"), 29),
        ("no queues", topic("U", "0", "6"), 29),
        ("bad perm", topic("U", "1", "99"), 29),
    ] {
        assert_eq!(admin.ask(command).code, code, "{what}");
    }
    let mut with_attributes = topic("U", "1", "6");
    with_attributes.ext_fields.insert("attributes", "+message.type=FIFO");
    let refused = admin.ask(with_attributes);
    assert!(refused.code == 1 && remark(&refused).contains("message.type"));

    let all = admin.ask(Command::request(request::GET_ALL_TOPIC_CONFIG));
    let table = TopicConfigTable::decode(&all.body).unwrap().topic_config_table;
    assert_eq!((table["T"].read_queue_nums, table["T"].perm), (5, 6));
    assert_eq!(number(&all, "totalTopicNum") as usize, table.len());
    assert!(!table.contains_key("U"));

    let stats = admin.ask(request(request::GET_TOPIC_STATS_INFO, &[("topic", "T")]));
    let stats = TopicStatsTable::decode(&stats.body).unwrap().offset_table;
    let maxima: Vec<i64> = stats.values().map(|queue| queue.max_offset).collect();
    assert_eq!(maxima, [0, 0, 0, 1, 0]);
    assert!(stats.values().nth(3).unwrap().last_update_timestamp > 0);

    let delete = |name: &str| request(request::DELETE_TOPIC_IN_BROKER, &[("topic", name)]);
    assert_eq!(admin.ask(delete("T")).code, 0);
    assert_eq!(admin.ask(delete("T")).code, 0, "it is gone already");
    assert_eq!(admin.ask(delete("SCHEDULE_TOPIC_XXXX")).code, 29);
    assert_eq!(admin.ask(request(request::GET_TOPIC_STATS_INFO, &[("topic", "T")])).code, 17);
    assert_eq!(number(&admin.produce("T", 0, "anew", ""), "queueOffset"), 0);
    assert_eq!(admin.ask(pull("g", "T", 3, 0, "*", 0)).code, 19, "the old messages are dead");
}

#[test]
fn groups_are_made_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut admin = server.client();
    let put = |name: &str, retry: i32| {
        let config = SubscriptionGroupConfig {
            group_name: name.into(),
            retry_max_times: retry,
            ..SubscriptionGroupConfig::default()
        };
        request_with(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, ExtFields::new(), config.encode())
    };
    assert_eq!(admin.ask(put("g", 3)).code, 0);
    assert_eq!(admin.ask(put("a b", 3)).code, 29);
    let all = admin.ask(Command::request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG));
    let table = SubscriptionGroupTable::decode(&all.body).unwrap().subscription_group_table;
    assert_eq!((table["g"].retry_max_times, table["g"].consume_timeout_minute), (3, 15));
    assert!(table.contains_key("TOOLS_CONSUMER"));
    let delete = request(request::DELETE_SUBSCRIPTIONGROUP, &[("groupName", "g"), ("cleanOffset", "true")]);
    assert_eq!(admin.ask(delete).code, 0);
    assert_eq!(admin.ask(request(request::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "g")])).code, 26);
}

#[test]
fn a_retry_policy_that_nobody_follows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut admin = server.client();
    let with = |policy: &str| {
        let body = format!("{{\"groupName\":\"g\"{policy}}}");
        request_with(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, ExtFields::new(), body)
    };
    let one = || request(request::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "g")]);
    for policy in [
        r#","groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000}}"#,
        r#","groupRetryPolicy":{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000]}}"#,
        r#","groupRetryPolicy":"EXPONENTIAL""#,
    ] {
        let refused = admin.ask(with(policy));
        assert_eq!(refused.code, 1, "{policy}");
        assert!(remark(&refused).contains("groupRetryPolicy"), "{refused:?}");
        assert_eq!(admin.ask(one()).code, 26, "nothing was made");
    }
    for policy in ["", r#","groupRetryPolicy":null"#, r#","groupRetryPolicy":{"type":"CUSTOMIZED"}"#] {
        assert_eq!(admin.ask(with(policy)).code, 0, "{policy}");
    }
}

#[test]
fn clients_and_their_progress_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut client, mut admin) = (server.client(), server.client());
    let consumers = || request(request::GET_CONSUMER_CONNECTION_LIST, &[("consumerGroup", "g")]);
    let producers = || request(request::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "pg")]);
    assert_eq!((admin.ask(consumers()).code, admin.ask(producers()).code), (206, 1));
    client.produce("T", 0, "m0", "");
    client.produce("T", 0, "m1", "");
    client.heartbeat("g", &[("T", "A || B")]);
    let producing = HeartbeatData {
        client_id: "p1".into(),
        producer_data_set: vec![ProducerData { group_name: "pg".into() }],
        ..HeartbeatData::default()
    };
    client.ask(request_with(request::HEART_BEAT, ExtFields::new(), producing.encode()));
    let seen = ConsumerConnection::decode(&admin.ask(consumers()).body).unwrap();
    let connection = &seen.connection_set[0];
    assert_eq!(connection.client_id, "client-1");
    assert_eq!(connection.client_addr, client.stream.local_addr().unwrap().to_string());
    assert_eq!(seen.subscription_table["T"].tags_set, ["A", "B"]);
    let seen = ProducerConnection::decode(&admin.ask(producers()).body).unwrap();
    assert_eq!(seen.connection_set[0].client_id, "p1");

    let commit = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    client.ask(request(request::UPDATE_CONSUMER_OFFSET, &commit));
    let stats = admin.ask(request(request::GET_CONSUME_STATS, &[("consumerGroup", "g"), ("topic", "T")]));
    let stats = ConsumeStats::decode(&stats.body).unwrap().offset_table;
    let lags: Vec<(i64, i64)> =
        stats.values().map(|queue| (queue.broker_offset, queue.consumer_offset)).collect();
    assert_eq!(lags, [(2, 1), (0, 0), (0, 0), (0, 0)]);
    assert!(stats.values().next().unwrap().last_timestamp > 0);
    let who = admin.ask(request(request::QUERY_TOPIC_CONSUME_BY_WHO, &[("topic", "T")]));
    assert_eq!(GroupList::decode(&who.body).unwrap().group_list, ["g"]);
}

#[test]
fn a_question_to_a_client_is_passed_on_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut client, mut admin) = (server.client(), server.client());
    client.heartbeat("g", &[("T", "*")]);
    let fields = [("consumerGroup", "g"), ("clientId", "client-1"), ("jstackEnable", "false")];
    let opaque = admin.send(request(request::GET_CONSUMER_RUNNING_INFO, &fields));
    let asked = client.told(request::GET_CONSUMER_RUNNING_INFO);
    assert_eq!(asked.ext_fields.get("clientId"), Some("client-1"));
    let mut answer = Command::response_to(&asked, 0, None);
    answer.body = "{\"jstack\":\"x\"}".into();
    client.send_as_it_is(&answer);
    let relayed = admin.answer(opaque);
    assert_eq!((relayed.code, &relayed.body[..]), (0, &b"{\"jstack\":\"x\"}"[..]));
    // Nobody answers when the client goes first.
    let opaque = admin.send(request(request::GET_CONSUMER_RUNNING_INFO, &fields));
    client.told(request::GET_CONSUMER_RUNNING_INFO);
    drop(client);
    assert_eq!(admin.answer(opaque).code, 207);
    let gone = admin.ask(request(request::GET_CONSUMER_RUNNING_INFO, &fields));
    assert!(gone.code == 1 && remark(&gone).contains("not online"));
}

#[test]
fn the_broker_tells_how_it_runs_and_what_is_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut admin = server.client();
    admin.produce("T", 0, "m", "");
    let runtime = admin.ask(Command::request(request::GET_BROKER_RUNTIME_INFO));
    let table = KvTable::decode(&runtime.body).unwrap().table;
    assert_eq!(
        (table["brokerVersionDesc"].as_str(), table["putMessageTimesTotal"].as_str()),
        ("V5_4_0", "1")
    );
    assert_eq!(table["putTps"].split(' ').count(), 3);
    assert!(table["putMessageDistributeTime"].starts_with("[<=0ms]:"));
    assert!(!table.contains_key("scheduleMessageOffset_1"), "no message was ever delayed");
    assert!(table["earliestMessageTimeStamp"].parse::<i64>().unwrap() > 0);
    let config = admin.ask(Command::request(request::GET_BROKER_CONFIG));
    assert!(config.ext_fields.get("version").unwrap().starts_with("{\"counter\":"));
    let text = String::from_utf8(config.body.to_vec()).unwrap();
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!((lines["brokerName"], lines["flushDiskType"]), ("braidmq", "SYNC_FLUSH"));
    assert_eq!(lines["messageDelayLevel"], "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h");
    assert_eq!(lines["listenPort"], server.addresses.main.port().to_string());
}
