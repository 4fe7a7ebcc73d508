//! Routes, foreign brokers, key-value configuration.

use std::collections::BTreeMap;

use braid_broker::TopicConfig as OwnTopic;
use braid_edge_rocketmq::EdgeOptions;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ClusterInfo, DataVersion, KvTable, RegisterBrokerBody, TopicConfig, TopicList, TopicRouteData,
    body_crc32,
};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::header::{QueryDataVersionResponse, RegisterBroker};

use crate::support::{Server, number, remark, request, request_with, until};

fn route(topic: &str) -> Command {
    request(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)])
}

fn registration(topics: &[&str], compressed: bool) -> Command {
    let mut body = RegisterBrokerBody::default();
    for topic in topics {
        let config = TopicConfig { topic_name: topic.to_string(), ..TopicConfig::default() };
        body.topic_config_serialize_wrapper.topic_config_table.insert(topic.to_string(), config);
    }
    body.topic_config_serialize_wrapper.data_version.counter = 7;
    let body = if compressed { body.encode_compressed(493) } else { body.encode() };
    let header = RegisterBroker {
        broker_name: "foreign".into(),
        broker_addr: "10.0.0.1:10911".into(),
        cluster_name: "Elsewhere".into(),
        ha_server_addr: Some("10.0.0.1:10912".into()),
        compressed: Some(compressed),
        body_crc32: Some(body_crc32(&body)),
        ..RegisterBroker::default()
    };
    request_with(request::REGISTER_BROKER, header.to_ext_fields(), body)
}

#[test]
fn a_topic_has_its_route_when_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut names = server.name_server();
    let missing = names.ask(route("Fresh"));
    assert_eq!(missing.code, 17);
    assert!(remark(&missing).starts_with("No topic route info in name server for the topic: Fresh"));
    server.client().produce("Fresh", 0, "m", "");
    let answer = names.ask(route("Fresh"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let main = server.addresses.main;
    assert_eq!(
        text,
        format!(
            "{{\"brokerDatas\":[{{\"brokerAddrs\":{{\"0\":\"{main}\"}},\"brokerName\":\"braidmq\",\"cluster\":\
             \"DefaultCluster\",\"enableActingMaster\":false}}],\"filterServerTable\":{{}},\"queueDatas\":[{{\
             \"brokerName\":\"braidmq\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}}]}}"
        )
    );
    let old = names.ask(Command { version: 300, ..route("Fresh") });
    assert!(String::from_utf8_lossy(&old.body).contains("{0:\""), "old clients get bare keys");
    let template = TopicRouteData::decode(&names.ask(route("TBW102")).body).unwrap();
    assert_eq!((template.queue_datas[0].perm, template.queue_datas[0].write_queue_nums), (7, 8));
    assert_eq!(names.ask(route("BRAID_SYS_STATE")).code, 17);
    assert_eq!(names.ask(request(request::SEND_MESSAGE_V2, &[])).code, 3, "a name server stores nothing");
}

#[test]
fn the_advertised_address_can_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = EdgeOptions {
        advertised_host: Some("broker.example".into()),
        advertised_port: Some(12_345),
        ..crate::support::options()
    };
    let server = Server::start_with(dir.path(), options);
    let data = TopicRouteData::decode(&server.name_server().ask(route("TBW102")).body).unwrap();
    assert_eq!(data.broker_datas[0].broker_addrs[&0], "broker.example:12345");
}

#[test]
fn a_foreign_broker_registers_and_goes_with_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut names, mut broker) = (server.name_server(), server.name_server());
    let single = broker.ask(registration(&["T"], false));
    assert_eq!((single.code, remark(&single)), (1, "register broker failed"));
    let mut damaged = registration(&["T", "U"], true);
    damaged.ext_fields.insert("bodyCrc32", "1");
    let damaged = broker.ask(damaged);
    assert_eq!((damaged.code, remark(&damaged)), (1, "crc32 not match"));
    let taken = broker.ask({
        let mut command = registration(&["T", "U"], false);
        command.ext_fields.insert("brokerName", "braidmq");
        command
    });
    assert_eq!(taken.code, 1);
    for compressed in [true, false] {
        let registered = broker.ask(registration(&["T", "U"], compressed));
        assert_eq!((registered.code, registered.ext_fields.len(), registered.body.len()), (0, 0, 0));
    }
    let data = TopicRouteData::decode(&names.ask(route("U")).body).unwrap();
    assert_eq!(data.broker_datas[0].broker_addrs, BTreeMap::from([(0, "10.0.0.1:10911".to_owned())]));
    let info =
        ClusterInfo::decode(&names.ask(Command::request(request::GET_BROKER_CLUSTER_INFO)).body).unwrap();
    assert_eq!(info.cluster_addr_table["Elsewhere"], ["foreign"]);
    assert_eq!(info.cluster_addr_table["DefaultCluster"], ["braidmq"]);
    let version = |counter| {
        let fields = [
            ("brokerName", "foreign"),
            ("brokerAddr", "10.0.0.1:10911"),
            ("clusterName", "Elsewhere"),
            ("brokerId", "0"),
        ];
        let body = DataVersion { counter, ..DataVersion::default() }.encode();
        Command { body, ..request(request::QUERY_DATA_VERSION, &fields) }
    };
    for (counter, changed) in [(7, false), (8, true)] {
        let answer = broker.ask(version(counter));
        let header = QueryDataVersionResponse::from_ext_fields(&answer.ext_fields).unwrap();
        assert_eq!(header.changed, changed);
    }
    drop(broker);
    until("forgetting", || names.ask(route("U")).code == 17);
}

#[test]
fn topics_are_listed_by_cluster_and_deleted_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut names = server.name_server();
    server
        .broker
        .create_topic(OwnTopic::new("Mine", 2))
        .unwrap()
        .map(drop)
        .redeem(server.broker.store().watermarks())
        .ok();
    names.ask(registration(&["T", "U"], false));
    let list = |answer: Command| TopicList::decode(&answer.body).unwrap();
    let all = list(names.ask(Command::request(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER))).topic_list;
    for topic in ["Mine", "T", "U", "TBW102", "SCHEDULE_TOPIC_XXXX"] {
        assert!(all.iter().any(|other| other == topic), "{topic}");
    }
    assert!(all.iter().all(|topic| !topic.starts_with("BRAID_SYS_")));
    let of = |cluster: &str| request(request::GET_TOPICS_BY_CLUSTER, &[("cluster", cluster)]);
    assert_eq!(list(names.ask(of("Elsewhere"))).topic_list, ["T", "U"]);
    assert!(list(names.ask(of("DefaultCluster"))).topic_list.contains(&"Mine".to_owned()));
    let system = list(names.ask(Command::request(request::GET_SYSTEM_TOPIC_LIST_FROM_NS)));
    assert_eq!(system.topic_list, ["DefaultCluster", "Elsewhere", "braidmq", "foreign"]);
    assert_eq!(system.broker_addr, Some(server.addresses.main.to_string()));
    let delete = |topic: &str| request(request::DELETE_TOPIC_IN_NAMESRV, &[("topic", topic)]);
    assert_eq!(names.ask(delete("T")).code, 0);
    assert_eq!(names.ask(route("T")).code, 17);
    assert_eq!(names.ask(delete("Mine")).code, 1, "its broker has it still");
}

#[test]
fn write_permission_is_wiped_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut names = server.name_server();
    let perm = |names: &mut crate::support::Client| {
        TopicRouteData::decode(&names.ask(route("TBW102")).body).unwrap().queue_datas[0].perm
    };
    let ours = [("brokerName", "braidmq")];
    let wiped = names.ask(request(request::WIPE_WRITE_PERM_OF_BROKER, &ours));
    assert!(number(&wiped, "wipeTopicCount") > 3);
    assert_eq!(perm(&mut names), 5);
    let added = names.ask(request(request::ADD_WRITE_PERM_OF_BROKER, &ours));
    assert!(number(&added, "addTopicCount") > 3);
    assert_eq!(perm(&mut names), 7);
}

#[test]
fn what_is_put_under_a_key_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let put = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "braidmq:4")];
    assert_eq!(server.name_server().ask(request(request::PUT_KV_CONFIG, &put)).code, 0);
    server.stop();
    drop(server);
    let server = Server::start(dir.path());
    let mut names = server.name_server();
    let got = names.ask(request(request::GET_KV_CONFIG, &put[..2]));
    assert_eq!(got.ext_fields.get("value"), Some("braidmq:4"));
    let list = names.ask(request(request::GET_KVLIST_BY_NAMESPACE, &put[..1]));
    assert_eq!(KvTable::decode(&list.body).unwrap().table["T"], "braidmq:4");
    assert_eq!(names.ask(request(request::DELETE_KV_CONFIG, &put[..2])).code, 0);
    assert_eq!(names.ask(request(request::GET_KV_CONFIG, &put[..2])).code, 22);
    assert_eq!(names.ask(request(request::GET_KVLIST_BY_NAMESPACE, &put[..1])).code, 22);
}

#[test]
fn routes_name_the_queues_of_ordered_topics_when_that_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let on = EdgeOptions { order_message_enable: true, ..crate::support::options() };
    let server = Server::start_with(dir.path(), on);
    server.client().produce("T", 0, "m", "");
    server.client().produce("U", 0, "m", "");
    let mut names = server.name_server();
    let put = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "braidmq:4")];
    assert_eq!(names.ask(request(request::PUT_KV_CONFIG, &put)).code, 0);
    let mut order =
        |topic: &str| TopicRouteData::decode(&names.ask(route(topic)).body).unwrap().order_topic_conf;
    assert_eq!((order("T").as_deref(), order("U")), (Some("braidmq:4"), None));
}

/// 100,000 entries of 64 KiB would be 6 GiB.
#[test]
fn keys_and_values_are_bounded_together() {
    const VALUE_BYTES: usize = 60 << 10;
    const FIT: usize = (16 << 20) / (VALUE_BYTES + 8);
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut names = server.name_server();
    let value = "v".repeat(VALUE_BYTES);
    let mut put = |key: usize, value: &str| {
        let key = format!("{key:04}");
        names.ask(request(request::PUT_KV_CONFIG, &[("namespace", "LONG"), ("key", &key), ("value", value)]))
    };
    for key in 0..FIT {
        assert_eq!(put(key, &value).code, 0, "{key}");
    }
    let refused = put(FIT, &value);
    assert_eq!(refused.code, 1);
    assert!(remark(&refused).contains("more than 16777216 bytes"), "{refused:?}");
    assert_eq!(put(0, "short").code, 0, "what is there may be replaced");
    assert_eq!(put(FIT, &value).code, 0, "there is room now");
}
