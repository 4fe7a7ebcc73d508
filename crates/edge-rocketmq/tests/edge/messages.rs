//! Sends and pulls: the message path.

use std::time::Instant;

use braid_record::{RecordView, property};
use braid_wire_rocketmq::batch::{self, Entry};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::command::FLAG_ONEWAY;
use braid_wire_rocketmq::header::SendMessageV2;
use braid_wire_rocketmq::{Command, Serialization};

use crate::support::{Server, heartbeat, message, number, pull, records, remark, request};

#[test]
fn a_message_is_stored_and_read_back_as_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let sent = client.produce(
        "Gold",
        2,
        "hello",
        "KEYS\u{1}k1\u{2}CLUSTER\u{1}another\u{2}TAGS\u{1}TagA\u{2}UNIQ_KEY\u{1}U1\u{2}WAIT\u{1}true\u{2}",
    );
    assert_eq!((number(&sent, "queueId"), number(&sent, "queueOffset")), (2, 0));
    assert_eq!(sent.ext_fields.get("transactionId"), Some("U1"));
    assert_eq!(sent.ext_fields.get("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(sent.ext_fields.get("TRACE_ON"), Some("true"));
    let id = sent.ext_fields.get("msgId").unwrap();
    assert_eq!((id.len(), &id[..8]), (32, "7F000001"));

    let got = client.ask(pull("g", "Gold", 2, 0, "*", 0));
    assert_eq!((got.code, remark(&got)), (0, "FOUND"));
    assert_eq!(
        (number(&got, "nextBeginOffset"), number(&got, "minOffset"), number(&got, "maxOffset")),
        (1, 0, 1)
    );
    let record = RecordView::parse(&got.body).unwrap();
    assert_eq!((record.topic(), record.queue_id(), record.flag()), ("Gold", 2, 7));
    assert_eq!(record.born_timestamp(), 1_700_000_000_000);
    assert_eq!(record.born_host(), client.stream.local_addr().unwrap());
    assert_eq!(record.store_host(), server.addresses.main);
    let mut properties: Vec<(String, String)> = property::iter(record.properties())
        .map(|(name, value)| (String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()))
        .collect();
    assert_eq!(properties.pop().unwrap().0, "__CRC32#");
    properties.sort();
    let expected = [
        ("CLUSTER", "DefaultCluster"),
        ("KEYS", "k1"),
        ("MSG_REGION", "DefaultRegion"),
        ("TAGS", "TagA"),
        ("TRACE_ON", "true"),
        ("UNIQ_KEY", "U1"),
        ("WAIT", "true"),
    ];
    assert_eq!(properties, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn pipelined_sends_are_all_answered_and_dense() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "first", "");
    let opaques: Vec<i32> =
        (0..500).map(|i| client.send(message("T", 0, format!("m{i}").as_bytes(), ""))).collect();
    let mut offsets = Vec::new();
    for _ in &opaques {
        let answer = client.next().unwrap();
        assert_eq!(answer.code, 0);
        offsets.push((answer.opaque, number(&answer, "queueOffset")));
    }
    offsets.sort_unstable();
    assert_eq!(offsets, opaques.iter().copied().zip(1..).collect::<Vec<_>>());
    let mut next = 0;
    while next < 501 {
        let got = client.ask(pull("g", "T", 0, next, "*", 0));
        for (offset, _) in records(&got.body) {
            assert_eq!(offset as i64, next);
            next += 1;
        }
    }
}

#[test]
fn refused_sends_carry_apaches_codes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "there", "");
    let long = "x".repeat(33_000);
    let with = |command: Command, name: &'static str, value: &str| {
        let mut command = command;
        command.ext_fields.insert(name, value);
        command
    };
    let cases: Vec<(&str, Command, i32, &str)> = vec![
        ("bad name", message("a b", 0, b"x", ""), 29, "illegal characters"),
        ("long name", message(&"t".repeat(128), 0, b"x", ""), 29, "longer than topic max length"),
        ("bad queue", message("T", 4, b"x", ""), 29, "queueId[4] is illegal"),
        ("unknown template", with(message("New", 0, b"x", ""), "c", "Nothing"), 17, "not exist, apply first"),
        ("empty body", message("T", 0, b"", ""), 1, "empty"),
        ("long body", message("T", 0, &vec![0; (4 << 20) + 1], ""), 13, "the message is illegal"),
        ("long properties", message("T", 0, b"x", &format!("a\u{1}{long}")), 13, "the message is illegal"),
        ("delay topic", message("SCHEDULE_TOPIC_XXXX", 0, b"x", ""), 16, "forbidden"),
        ("own topic", message("BRAID_SYS_STATE", 0, b"x", ""), 16, "forbidden"),
        ("half message", message("T", 0, b"x", "TRAN_MSG\u{1}true"), 16, "transaction"),
        ("prepared bit", with(message("T", 0, b"x", ""), "f", "4"), 16, "transaction"),
        ("timer", message("T", 0, b"x", "TIMER_DELAY_SEC\u{1}5"), 1, "timer"),
        ("missing field", with(message("T", 0, b"x", ""), "e", ""), 1, "queueId"),
    ];
    for (what, command, code, text) in cases {
        let answer = client.ask(command);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        assert!(remark(&answer).contains(text), "{what}: {answer:?}");
        assert_eq!(answer.ext_fields.get("MSG_REGION"), Some("DefaultRegion"), "{what}");
    }
    assert_eq!(number(&client.produce("T", 0, "next", ""), "queueOffset"), 1, "nothing was stored");
}

#[test]
fn a_refused_send_makes_no_topic() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let batch_of = |elements: &[Entry<'_>]| {
        let mut body = Vec::new();
        elements.iter().for_each(|element| batch::push_entry(&mut body, element));
        let mut command = message("New", 0, &body, "");
        command.code = request::SEND_BATCH_MESSAGE;
        command.ext_fields.insert("m", "true");
        command
    };
    let element = |properties: &'static [u8]| Entry { flag: 0, body: b"b", properties };
    let mut prepared = message("New", 0, b"x", "");
    prepared.ext_fields.insert("f", "4");
    let mut cut = batch_of(&[element(b"")]);
    cut.body = cut.body.slice(..cut.body.len() - 1);
    let almost_too_long = format!("a\u{1}{}", "x".repeat(32_750));
    let cases: Vec<(&str, Command, i32)> = vec![
        ("half message", message("New", 0, b"x", "TRAN_MSG\u{1}true"), 16),
        ("prepared bit", prepared, 16),
        ("timer", message("New", 0, b"x", "TIMER_DELAY_SEC\u{1}5"), 1),
        ("empty body", message("New", 0, b"", ""), 1),
        ("long body", message("New", 0, &vec![0; (4 << 20) + 1], ""), 13),
        ("properties without room for the broker's", message("New", 0, b"x", &almost_too_long), 13),
        ("bad queue", message("New", 4, b"x", ""), 29),
        ("timer for a group", message("%RETRY%new", 0, b"x", "TIMER_DELAY_SEC\u{1}5"), 1),
        ("half message in a batch", batch_of(&[element(b""), element(b"TRAN_MSG\x01true\x02")]), 16),
        ("delay in a batch", batch_of(&[element(b""), element(b"DELAY\x011\x02")]), 13),
        ("batch cut short", cut, 13),
    ];
    for (what, command, code) in cases {
        let answer = client.ask(command);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        assert!(server.broker.topic("New").is_none(), "{what} made a topic");
    }
    assert!(server.broker.group("new").is_none() && server.broker.topic("%RETRY%new").is_none());
    assert_eq!(client.ask(batch_of(&[element(b"")])).code, 0);
}

#[test]
fn a_batch_is_one_append_of_untouched_elements() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let mut body = Vec::new();
    batch::push_entry(&mut body, &Entry { flag: 1, body: b"b0", properties: b"TAGS\x01A\x02" });
    batch::push_entry(&mut body, &Entry { flag: 2, body: b"b1", properties: b"" });
    let batch_of = |body: &[u8]| {
        let mut command = message("B", 1, body, "UNIQ_KEY\u{1}U\u{2}");
        command.code = request::SEND_BATCH_MESSAGE;
        command.ext_fields.insert("m", "true");
        command
    };
    let sent = client.ask(batch_of(&body));
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(sent.ext_fields.get("msgId").unwrap().split(',').count(), 2);
    let got = client.ask(pull("g", "B", 1, 0, "*", 0));
    assert_eq!(records(&got.body), [(0, "b0".to_owned()), (1, "b1".to_owned())]);
    let first = RecordView::parse(&got.body).unwrap();
    let names: Vec<&[u8]> = property::iter(first.properties()).map(|(name, _)| name).collect();
    // The log's own mark: the next record belongs to the same append.
    assert_eq!(names, [&b"TAGS"[..], property::GROUP_GOES_ON.as_bytes(), b"__CRC32#"]);

    let mut delayed = Vec::new();
    batch::push_entry(&mut delayed, &Entry { flag: 0, body: b"b2", properties: b"" });
    batch::push_entry(&mut delayed, &Entry { flag: 0, body: b"b3", properties: b"DELAY\x011\x02" });
    let cut = &body[..body.len() - 1];
    for (what, body) in [("delay inside", &delayed[..]), ("cut short", cut)] {
        assert_eq!(client.ask(batch_of(body)).code, 13, "{what}");
    }
    let end = client.ask(pull("g", "B", 1, 2, "*", 0));
    assert_eq!((end.code, remark(&end)), (19, "OFFSET_OVERFLOW_ONE"));
}

#[test]
fn a_refused_pull_makes_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let mut sql = pull("new", "T", 0, 0, "a > 1", 0);
    sql.ext_fields.insert("expressionType", "SQL92");
    let mut relying = pull("new", "T", 0, 0, "*", 0);
    relying.ext_fields.insert("sysFlag", "0");
    let cases = [
        ("SQL92", sql, 1),
        ("no such topic", pull("new", "Nothing", 0, 0, "*", 0), 17),
        ("no such queue", pull("new", "T", 99, 0, "*", 0), 29),
        ("no heartbeat", relying, 24),
        ("too many tags", pull("new", "T", 0, 0, &"t||".repeat(257), 0), 23),
    ];
    for (what, command, code) in cases {
        assert_eq!(client.ask(command).code, code, "{what}");
        assert!(server.broker.group("new").is_none(), "{what} made a group");
    }
    assert_eq!(client.ask(pull("new", "T", 0, 0, "*", 0)).code, 0);
    assert!(server.broker.group("new").is_some());
}

#[test]
fn groups_are_not_made_when_that_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let off = braid_edge_rocketmq::EdgeOptions { auto_create_group: false, ..crate::support::options() };
    let server = Server::start_with(dir.path(), off);
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    for command in [pull("new", "T", 0, 0, "*", 0), heartbeat("client-1", "new", &[("T", "*")], 1)] {
        let answer = client.ask(command);
        assert_eq!(answer.code, 26);
        assert!(remark(&answer).starts_with("subscription group [new] does not exist"), "{answer:?}");
    }
}

#[test]
fn reads_outside_a_queue_say_where_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    for i in 0..3 {
        client.produce("T", 0, &format!("m{i}"), "TAGS\u{1}A\u{2}");
    }
    let cases = [
        ("beyond the end", pull("g", "T", 0, 9, "*", 0), 21, 3),
        ("at the end", pull("g", "T", 0, 3, "*", 0), 19, 3),
        ("other tags", pull("g", "T", 0, 0, "B || C", 0), 20, 3),
        ("an empty queue", pull("g", "T", 1, 0, "*", 0), 19, 0),
        ("beyond an empty queue", pull("g", "T", 1, 5, "*", 0), 21, 0),
    ];
    for (what, command, code, next) in cases {
        let answer = client.ask(command);
        assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (code, next), "{what}: {answer:?}");
    }
    assert_eq!(client.ask(pull("g", "Nothing", 0, 0, "*", 0)).code, 17);
    assert_eq!(client.ask(pull("g", "T", 99, 0, "*", 0)).code, 29);
    let got = client.ask(pull("g", "T", 0, 1, "X || A", 0));
    assert_eq!(records(&got.body).len(), 2);
}

#[test]
fn a_subscription_must_be_known_and_current() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "TAGS\u{1}A\u{2}");
    client.produce("U", 0, "m", "");
    let relying = |topic: &str, version: i64| {
        let mut command = pull("g", topic, 0, 0, "*", 0);
        command.ext_fields.insert("sysFlag", "0");
        command.ext_fields.insert("subVersion", version.to_string());
        command
    };
    let answer = client.ask(relying("T", 1));
    assert_eq!(answer.code, 24);
    assert!(remark(&answer).starts_with("the consumer's group info not exist"));
    client.heartbeat("g", &[("T", "B")]);
    assert_eq!(client.ask(relying("U", 1)).code, 24);
    assert_eq!(client.ask(relying("T", 2)).code, 25);
    let filtered = client.ask(relying("T", 1));
    assert_eq!((filtered.code, number(&filtered, "nextBeginOffset")), (20, 1));
    let answer = client.ask(heartbeat("client-1", "g", &[("T", "A")], 2));
    assert_eq!(answer.code, 0);
    assert_eq!(client.ask(relying("T", 2)).code, 0);
    let mut sql = pull("g", "T", 0, 0, "a > 1", 0);
    sql.ext_fields.insert("expressionType", "SQL92");
    assert_eq!(client.ask(sql).code, 1);
}

/// One connection that asked 100 times for 1.2 MB of tags each made the broker keep a gigabyte.
#[test]
fn what_waiting_pulls_hold_is_bounded() {
    const OF_CONNECTION: usize = 4_096;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let long = client.ask(pull("g", "T", 0, 1, &"t".repeat((16 << 10) + 1), 60_000));
    assert_eq!(long.code, 23);
    assert!(remark(&long).contains("longer than 16384 bytes"), "{long:?}");
    let many = client.ask(pull("g", "T", 0, 1, &vec!["t"; 257].join("||"), 60_000));
    assert_eq!(many.code, 23);
    assert!(remark(&many).contains("more than 256 tags"), "{many:?}");
    for _ in 0..OF_CONNECTION {
        client.send(pull("g", "T", 0, 1, "*", 60_000));
    }
    let above = client.ask(pull("g", "T", 0, 1, "*", 60_000));
    assert_eq!((above.code, server.broker.waiters()), (19, OF_CONNECTION));
    // Others wait, until all that waits holds too much: 2 KiB of hashes for each of these.
    let tags = vec!["t"; 256].join("||");
    let mut parked = 0;
    let mut others = Vec::new();
    while others.len() < 8 {
        let mut other = server.client();
        let before = server.broker.waiters();
        let queue_id = 1 + others.len() as i32 % 2;
        for _ in 0..4_000 {
            other.send(pull("g", "T", queue_id, 0, &tags, 60_000));
        }
        // A request that is answered at once, after all of them.
        other.ask(Command::request(99_999));
        parked += server.broker.waiters() - before;
        others.push(other);
    }
    assert!((8_000..32_000).contains(&parked), "{parked} are parked");
    let before = server.broker.waiters();
    drop(others);
    crate::support::until("giving up", || server.broker.waiters() + parked == before);
    let mut other = server.client();
    other.send(pull("g", "T", 1, 0, &tags, 60_000));
    crate::support::until("room for others", || server.broker.waiters() + parked == before + 1);
}

#[test]
fn a_parked_pull_is_answered_when_its_message_comes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut producer, mut consumer) = (server.client(), server.client());
    producer.produce("T", 0, "m0", "TAGS\u{1}A\u{2}");
    let waiting = consumer.send(pull("g", "T", 0, 1, "A", 15_000));
    let filtered = consumer.send(pull("g", "T", 1, 0, "B", 15_000));
    // Both are parked, also for the queue that never had a message.
    crate::support::until("parking", || server.broker.waiters() == 2);
    producer.produce("T", 1, "other tag", "TAGS\u{1}A\u{2}");
    producer.produce("T", 0, "m1", "TAGS\u{1}A\u{2}");
    let got = consumer.answer(waiting);
    assert_eq!(records(&got.body), [(1, "m1".to_owned())]);
    producer.produce("T", 1, "wanted", "TAGS\u{1}B\u{2}");
    let got = consumer.answer(filtered);
    assert_eq!(records(&got.body), [(1, "wanted".to_owned())]);
    assert_eq!(server.broker.waiters(), 0);
}

#[test]
fn a_parked_pull_ends_with_its_time_or_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut consumer = server.client();
    consumer.produce("T", 0, "m0", "");
    let start = Instant::now();
    let answer = consumer.ask(pull("g", "T", 0, 1, "*", 300));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (19, 1));
    // The broker counts whole milliseconds on its own clock.
    assert!(start.elapsed().as_millis() >= 299);
    consumer.send(pull("g", "T", 0, 1, "*", 60_000));
    crate::support::until("parking", || server.broker.waiters() == 1);
    drop(consumer);
    crate::support::until("giving up", || server.broker.waiters() == 0);
}

#[test]
fn a_delayed_message_comes_back_with_its_real_topic() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 3, "now", "");
    let before_ms = server.broker.clock().wall_ms();
    let sent = client.produce("T", 3, "later", "DELAY\u{1}1\u{2}TIMER_DELAY_SEC\u{1}9\u{2}");
    assert_eq!((number(&sent, "queueId"), number(&sent, "queueOffset")), (3, 0));
    let got = client.ask(pull("g", "T", 3, 1, "*", 15_000));
    let record = RecordView::parse(&got.body).unwrap();
    // In the broker's own milliseconds, by which it is due.
    assert!(record.store_timestamp() >= before_ms + 1_000, "it came early");
    assert_eq!((record.body(), record.queue_offset()), (&b"later"[..], 1));
    assert_eq!(record.property("REAL_TOPIC"), Some("T"));
    assert_eq!((record.property("DELAY"), record.property("TIMER_DELAY_SEC")), (None, None));
    assert!(property::iter(record.properties()).all(|(name, _)| !name.starts_with(b"__BRAID")));
}

#[test]
fn oneway_sends_are_stored_and_never_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.send(Command { flag: FLAG_ONEWAY, ..message("T", 0, b"quiet", "") });
    client.send(Command { flag: FLAG_ONEWAY, ..message("a b", 0, b"bad", "") });
    client.send(Command { flag: FLAG_ONEWAY, ..Command::request(99_999) });
    let loud = client.send(message("T", 0, b"loud", ""));
    let answer = client.next().unwrap();
    assert_eq!((answer.opaque, number(&answer, "queueOffset")), (loud, 1));
}

#[test]
fn answers_mirror_the_requests_header_form() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    for serialization in [Serialization::Json, Serialization::Rocketmq] {
        let answer = client.ask(Command { serialization, ..message("T", 0, b"x", "") });
        assert_eq!((answer.code, answer.serialization), (0, serialization));
        let answer = client.ask(Command { serialization, ..pull("g", "T", 0, 0, "*", 0) });
        assert_eq!((answer.code, answer.serialization), (0, serialization));
        let answer = client.ask(Command { serialization, ..Command::request(999) });
        assert_eq!((answer.code, answer.serialization), (3, serialization));
        assert_eq!(remark(&answer), " request type 999 not supported");
    }
}

#[test]
fn old_clients_long_names_and_the_fast_port_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = crate::support::Client::connect(server.addresses.fast.unwrap());
    let fields = [
        ("producerGroup", "pg"),
        ("topic", "Old"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("properties", "TAGS\u{1}A"),
        ("batch", "0"),
    ];
    let answer = client.ask(Command { body: "x".into(), ..request(request::SEND_MESSAGE, &fields) });
    assert_eq!(answer.code, 0, "{answer:?}");
    // The broker made the key that the client left out, and says it.
    assert_eq!(answer.ext_fields.get("transactionId").map(str::len), Some(32));
}

#[test]
fn topics_are_not_made_when_that_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let off = braid_edge_rocketmq::EdgeOptions { auto_create_topic: false, ..crate::support::options() };
    let server = Server::start_with(dir.path(), off);
    let answer = server.client().ask(message("T", 0, b"x", ""));
    assert_eq!(answer.code, 17);
    assert!(remark(&answer).starts_with("topic[T] not exist, apply first please!"));
}

#[test]
fn a_message_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let id = server
        .client()
        .produce("T", 0, "kept", "KEYS\u{1}k\u{2}")
        .ext_fields
        .get("msgId")
        .unwrap()
        .to_owned();
    server.stop();
    drop(server);
    let server = Server::start(dir.path());
    let got = server.client().ask(pull("g", "T", 0, 0, "*", 0));
    assert_eq!(records(&got.body), [(0, "kept".to_owned())]);
    let position = u64::from_str_radix(&id[16..], 16).unwrap();
    let by_id =
        server.client().ask(request(request::VIEW_MESSAGE_BY_ID, &[("offset", &position.to_string())]));
    assert_eq!(records(&by_id.body), [(0, "kept".to_owned())]);
    let miss = server.client().ask(request(request::VIEW_MESSAGE_BY_ID, &[("offset", "999999")]));
    assert_eq!(miss.code, 1);
}

#[test]
fn messages_are_found_by_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "one", "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U1\u{2}");
    client.produce("T", 1, "two", "KEYS\u{1}k2\u{2}UNIQ_KEY\u{1}U2\u{2}");
    let query = |key: &str, unique: &str| {
        let fields = [
            ("topic", "T"),
            ("key", key),
            ("maxNum", "32"),
            ("beginTimestamp", "0"),
            ("endTimestamp", "9223372036854775807"),
            ("_UNIQUE_KEY_QUERY", unique),
        ];
        request(request::QUERY_MESSAGE, &fields)
    };
    let bodies =
        |answer: &Command| records(&answer.body).into_iter().map(|(_, body)| body).collect::<Vec<_>>();
    let both = client.ask(query("k2", "false"));
    assert_eq!(bodies(&both), ["two", "one"]);
    assert!(number(&both, "indexLastUpdateTimestamp") > 0);
    assert_eq!(bodies(&client.ask(query("U1", "true"))), ["one"]);
    let miss = client.ask(query("k3", "false"));
    assert_eq!((miss.code, miss.ext_fields.get("indexLastUpdateTimestamp")), (22, Some("0")));
}

#[test]
fn a_resend_that_came_back_too_often_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.heartbeat("g", &[("T", "*")]);
    let resend = |times: i32| {
        let command = message("%RETRY%g", 0, b"again", "RETRY_TOPIC\u{1}T\u{2}DELAY\u{1}1\u{2}");
        let mut header = SendMessageV2::from_ext_fields(&command.ext_fields).unwrap();
        header.reconsume_times = Some(times);
        header.max_reconsume_times = Some(3);
        Command { ext_fields: header.to_ext_fields(), ..command }
    };
    let sent = client.ask(resend(3));
    assert_eq!(sent.code, 0, "{sent:?}");
    let got = client.ask(pull("g", "%RETRY%g", 0, 0, "*", 15_000));
    assert_eq!(records(&got.body), [(0, "again".to_owned())]);
    assert_eq!(client.ask(resend(4)).code, 0);
    let dead = client.ask(pull("d", "%DLQ%g", 0, 0, "*", 0));
    let record = RecordView::parse(&dead.body).unwrap();
    assert_eq!((record.reconsume_times(), record.property("RETRY_TOPIC")), (4, Some("T")));
}
