//! Members, cursors, locks, returned messages, resets.

use braid_record::RecordView;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ConsumerData, ConsumerList, HeartbeatData, LockBatch, LockedBatch, MessageQueue, ResetOffsetBody,
    SubscriptionData,
};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::command::{ExtFields, FLAG_ONEWAY};

use crate::support::{Server, heartbeat, number, pull, records, remark, request, request_with, until};

fn ids(client: &mut crate::support::Client, group: &str) -> Command {
    client.ask(request(request::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", group)]))
}

#[test]
fn members_come_and_go_and_the_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut first, mut second) = (server.client(), server.client());
    assert_eq!(ids(&mut first, "g").code, 1);
    let opaque = first.send(heartbeat("c1", "g", &[("T", "*")], 1));
    let told = first.next().unwrap();
    assert_eq!((told.code, told.is_oneway()), (request::NOTIFY_CONSUMER_IDS_CHANGED, true));
    assert_eq!(told.ext_fields.get("consumerGroup"), Some("g"));
    let answer = first.next().unwrap();
    assert_eq!((answer.opaque, answer.code), (opaque, 0), "the notice comes before the answer");
    assert_eq!(answer.ext_fields.get("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));

    second.ask(heartbeat("c2", "g", &[("T", "*")], 1));
    first.told(request::NOTIFY_CONSUMER_IDS_CHANGED);
    let list = ConsumerList::decode(&ids(&mut second, "g").body).unwrap();
    assert_eq!(list.consumer_id_list, ["c1", "c2"]);
    // The group's retry topic is there by now, and has its route.
    let route = server.name_server().ask(request(105, &[("topic", "%RETRY%g")]));
    assert_eq!(route.code, 0);

    drop(second);
    first.told(request::NOTIFY_CONSUMER_IDS_CHANGED);
    assert_eq!(ConsumerList::decode(&ids(&mut first, "g").body).unwrap().consumer_id_list, ["c1"]);
    let bye = request(request::UNREGISTER_CLIENT, &[("clientID", "c1"), ("consumerGroup", "g")]);
    assert_eq!(first.ask(bye).code, 0);
    assert_eq!(ids(&mut first, "g").code, 1);
}

#[test]
fn a_subscription_that_is_not_of_tags_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let sql = || SubscriptionData {
        topic: "T".into(),
        expression_type: "SQL92".into(),
        sub_string: "a > 1".into(),
        ..SubscriptionData::default()
    };
    let mut data =
        braid_wire_rocketmq::body::HeartbeatData::decode(&heartbeat("c1", "g", &[("T", "*")], 1).body)
            .unwrap();
    data.consumer_data_set[0].subscription_data_set.push(sql());
    let answer = client.ask(request_with(request::HEART_BEAT, ExtFields::new(), data.encode()));
    assert_eq!(answer.code, 1);
    assert!(remark(&answer).contains("SQL92"));
    assert_eq!(ids(&mut client, "g").code, 1, "nothing was registered");
    let check = braid_wire_rocketmq::body::CheckClient {
        client_id: "c1".into(),
        group: "g".into(),
        subscription_data: Some(sql()),
        ..Default::default()
    };
    assert_eq!(
        client.ask(request_with(request::CHECK_CLIENT_CONFIG, ExtFields::new(), check.encode())).code,
        1
    );
}

#[test]
fn a_young_topic_starts_at_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let query = |queue: &str, zero: Option<&str>| {
        let mut command = request(
            request::QUERY_CONSUMER_OFFSET,
            &[("consumerGroup", "g"), ("topic", "T"), ("queueId", queue)],
        );
        if let Some(zero) = zero {
            command.ext_fields.insert("setZeroIfNotFound", zero);
        }
        command
    };
    let commit = |flag: i32, offset: &str| Command {
        flag,
        ..request(
            request::UPDATE_CONSUMER_OFFSET,
            &[("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", offset)],
        )
    };
    assert_eq!(number(&client.ask(query("0", None)), "offset"), 0);
    assert_eq!(client.ask(query("0", Some("false"))).code, 22);
    assert_eq!(client.ask(query("1", None)).code, 22, "an empty queue");
    assert_eq!(client.ask(commit(0, "1")).code, 0);
    assert_eq!(number(&client.ask(query("0", Some("false"))), "offset"), 1);
    assert_eq!(client.ask(commit(0, "-1")).code, 1);
    client.send(commit(FLAG_ONEWAY, "0"));
    assert_eq!(number(&client.ask(query("0", None)), "offset"), 0);
    // A pull takes a cursor along.
    let mut taking = pull("g", "T", 0, 0, "*", 0);
    taking.ext_fields.insert("sysFlag", "5");
    taking.ext_fields.insert("commitOffset", "1");
    client.ask(taking);
    assert_eq!(number(&client.ask(query("0", None)), "offset"), 1);
}

#[test]
fn a_committed_cursor_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let fields = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(request(request::UPDATE_CONSUMER_OFFSET, &fields)).code, 0);
    server.stop();
    drop(server);
    let server = Server::start(dir.path());
    let answer = server.client().ask(request(request::QUERY_CONSUMER_OFFSET, &fields[..3]));
    assert_eq!(number(&answer, "offset"), 1);
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m0", "");
    client.produce("T", 0, "m1", "");
    let queue = [("topic", "T"), ("queueId", "0")];
    assert_eq!(number(&client.ask(request(request::GET_MAX_OFFSET, &queue)), "offset"), 2);
    assert_eq!(number(&client.ask(request(request::GET_MIN_OFFSET, &queue)), "offset"), 0);
    let earliest = number(&client.ask(request(request::GET_EARLIEST_MSG_STORETIME, &queue)), "timestamp");
    assert!(earliest > 1_700_000_000_000);
    let empty = [("topic", "T"), ("queueId", "1")];
    assert_eq!(number(&client.ask(request(request::GET_EARLIEST_MSG_STORETIME, &empty)), "timestamp"), -1);
    for (time, boundary, offset) in
        [("0", "lower", 0), ("9000000000000", "lower", 2), ("9000000000000", "UPPER", 1)]
    {
        let fields = [("topic", "T"), ("queueId", "0"), ("timestamp", time), ("boundaryType", boundary)];
        let answer = client.ask(request(request::SEARCH_OFFSET_BY_TIMESTAMP, &fields));
        assert_eq!(number(&answer, "offset"), offset, "{time} {boundary}");
    }
    assert_eq!(client.ask(request(request::GET_MAX_OFFSET, &[("topic", "None"), ("queueId", "0")])).code, 17);
}

fn lock(client_id: &str, queues: &[i32]) -> Command {
    let queue = |queue_id: &i32| MessageQueue {
        broker_name: "braidmq".into(),
        queue_id: *queue_id,
        topic: "T".into(),
    };
    let body = LockBatch {
        client_id: client_id.into(),
        consumer_group: "g".into(),
        mq_set: queues.iter().map(queue).collect(),
        ..LockBatch::default()
    };
    request_with(request::LOCK_BATCH_MQ, ExtFields::new(), body.encode())
}

#[test]
fn a_locked_queue_is_its_owners_until_it_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let held = |answer: Command| {
        assert_eq!(answer.code, 0);
        let locked = LockedBatch::decode(&answer.body).unwrap();
        locked.lock_ok_mq_set.iter().map(|queue| queue.queue_id).collect::<Vec<_>>()
    };
    assert_eq!(held(client.ask(lock("c1", &[0, 1, 99]))), [0, 1], "there is no queue 99");
    assert_eq!(held(client.ask(lock("c2", &[0, 1, 2]))), [2]);
    let give_back = Command { code: request::UNLOCK_BATCH_MQ, ..lock("c1", &[0]) };
    assert_eq!(client.ask(give_back).code, 0);
    assert_eq!(held(client.ask(lock("c2", &[0, 1]))), [0]);
}

#[test]
fn a_message_that_came_back_is_tried_again_and_then_dead() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "hard", "TAGS\u{1}A\u{2}UNIQ_KEY\u{1}U\u{2}");
    let got = client.ask(pull("g", "T", 0, 0, "*", 0));
    let position = RecordView::parse(&got.body).unwrap().position().to_string();
    let back = |level: &str, position: &str| {
        let fields = [
            ("offset", position),
            ("group", "g"),
            ("delayLevel", level),
            ("originTopic", "T"),
            ("maxReconsumeTimes", "16"),
        ];
        request(request::CONSUMER_SEND_MSG_BACK, &fields)
    };
    assert_eq!(client.ask(back("1", &position)).code, 0);
    let again = client.ask(pull("g", "%RETRY%g", 0, 0, "*", 15_000));
    let record = RecordView::parse(&again.body).unwrap();
    assert_eq!((record.body(), record.reconsume_times()), (&b"hard"[..], 1));
    assert_eq!((record.property("RETRY_TOPIC"), record.property("TAGS")), (Some("T"), Some("A")));
    assert_eq!(client.ask(back("-1", &position)).code, 0);
    // It is answered when written, as Apache stores it with WAIT=false, and visible when flushed.
    let dead = client.ask(pull("d", "%DLQ%g", 0, 0, "*", 15_000));
    assert_eq!(records(&dead.body), [(0, "hard".to_owned())], "{dead:?}");
    let missing = client.ask(back("0", "7"));
    assert_eq!(missing.code, 1);
    assert_eq!(remark(&missing), "look message by offset failed, 7");
}

#[test]
fn a_reset_group_is_told_at_once_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut client, mut admin) = (server.client(), server.client());
    for i in 0..5 {
        client.produce("T", 0, &format!("m{i}"), "");
    }
    client.heartbeat("g", &[("T", "*")]);
    let commit = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "5")];
    client.ask(request(request::UPDATE_CONSUMER_OFFSET, &commit));
    let waiting = client.send(pull("g", "T", 0, 5, "*", 30_000));
    until("parking", || server.broker.waiters() == 1);
    let fields = [("topic", "T"), ("group", "g"), ("timestamp", "0"), ("isForce", "true")];
    let reset = admin.ask(request(request::INVOKE_BROKER_TO_RESET_OFFSET, &fields));
    assert_eq!(reset.code, 0, "{reset:?}");
    let table = ResetOffsetBody::decode(&reset.body).unwrap().offset_table;
    let offsets: Vec<i64> = table.values().copied().collect();
    assert_eq!(offsets, [0, 0, 0, 0]);
    let moved = client.answer(waiting);
    assert_eq!((moved.code, remark(&moved), number(&moved, "nextBeginOffset")), (21, "OFFSET_RESET", 0));
    let got = client.ask(pull("g", "T", 0, 0, "*", 0));
    assert_eq!(records(&got.body).len(), 5);
    let unknown = [("topic", "T"), ("group", "nobody"), ("timestamp", "0"), ("isForce", "true")];
    assert_eq!(admin.ask(request(request::INVOKE_BROKER_TO_RESET_OFFSET, &unknown)).code, 26);
}

#[test]
fn a_client_before_5_0_is_also_told_of_a_reset() {
    const V4_9_8: i32 = 409;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut old, mut admin) = (server.client(), server.client());
    admin.produce("T", 0, "m", "");
    let beat = Command { version: V4_9_8, ..heartbeat("old", "g", &[("T", "*")], 1) };
    assert_eq!(old.ask(beat).code, 0);
    let commit = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    admin.ask(request(request::UPDATE_CONSUMER_OFFSET, &commit));
    let fields = [("topic", "T"), ("group", "g"), ("timestamp", "0"), ("isForce", "true")];
    assert_eq!(admin.ask(request(request::INVOKE_BROKER_TO_RESET_OFFSET, &fields)).code, 0);
    let told = old.told(request::RESET_CONSUMER_CLIENT_OFFSET);
    assert!(told.is_oneway());
    assert_eq!((told.ext_fields.get("topic"), told.ext_fields.get("group")), (Some("T"), Some("g")));
    let table = ResetOffsetBody::decode(&told.body).unwrap().offset_table;
    assert_eq!(table.values().copied().collect::<Vec<_>>(), [0, 0, 0, 0]);
}

#[test]
fn what_a_heartbeat_leaves_behind_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let tags = |count: usize, bytes: usize| vec!["t".repeat(bytes); count].join("||");
    let topics: Vec<String> = (0..1_001).map(|i| format!("T{i}")).collect();
    let each = |count: usize, expression: &'static str| -> Vec<(&str, &str)> {
        topics[..count].iter().map(|topic| (topic.as_str(), expression)).collect()
    };
    let (long, many) = (tags(1, (16 << 10) + 1), tags(257, 1));
    let full: &'static str = tags(100, 100).leak();
    let data = |subscription: SubscriptionData| HeartbeatData {
        client_id: "c".into(),
        consumer_data_set: vec![ConsumerData {
            group_name: "g".into(),
            subscription_data_set: vec![subscription],
            ..ConsumerData::default()
        }],
        ..HeartbeatData::default()
    };
    let listed = |tags_set: Vec<String>| {
        let subscription = SubscriptionData { topic: "T".into(), tags_set, ..SubscriptionData::default() };
        request_with(request::HEART_BEAT, ExtFields::new(), data(subscription).encode())
    };
    let cases = [
        ("a long expression", heartbeat("c", "g", &[("T", &long)], 1), 23),
        ("many tags", heartbeat("c", "g", &[("T", &many)], 1), 23),
        ("a list of many tags", listed(vec!["t".into(); 257]), 23),
        ("a list of long tags", listed(vec!["t".repeat(9_000); 2]), 23),
        ("many subscriptions", heartbeat("c", "g", &each(1_001, "*"), 1), 1),
        ("subscriptions of many bytes", heartbeat("c", "g", &each(100, full), 1), 1),
        ("a long client id", heartbeat(&"c".repeat(1_025), "g", &[("T", "*")], 1), 1),
    ];
    for (what, command, code) in cases {
        let answer = client.ask(command);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        assert!(server.broker.group("g").is_none() && server.broker.members("g").is_none(), "{what}");
    }
    assert_eq!(client.ask(heartbeat("c", "g", &each(1_000, "*"), 1)).code, 0);
    assert_eq!(client.ask(heartbeat("c", "h", &each(10, full), 1)).code, 0);
}
