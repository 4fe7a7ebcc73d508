//! Kafka's batches as RocketMQ's clients read them.

use braid_broker::TopicConfig;
use braid_crossing::kafka::batch::{BatchHead, BatchWriter, Compression, Header, RecordDraft};
use braid_record::{RecordView, id};
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::header::{ConsumerSendMessageBack, PullMessage};

use crate::support::{Server, number, pull, records, remark, request, request_with, until};

const BORN: i64 = 1_700_000_000_000;

/// A batch of records `0..count`: value `v<i>`, key `k<i>`, and the tag `even` or none.
fn batch(count: usize, compression: Compression) -> Vec<u8> {
    let mut writer = BatchWriter::new(BatchHead { compression, ..BatchHead::default() });
    for index in 0..count {
        let tag = [Header { key: b"rmq.TAGS", value: Some(b"even") }];
        let own = [Header { key: b"own", value: Some(b"x") }];
        writer.push(&RecordDraft {
            timestamp: BORN + index as i64,
            key: Some(format!("k{index}").as_bytes()),
            value: Some(format!("v{index}").as_bytes()),
            headers: if index % 2 == 0 { &tag } else { &own },
        });
    }
    writer.finish()
}

fn server(dir: &std::path::Path, topic: &str) -> Server {
    let server = Server::start(dir);
    let promise = server.broker.create_topic(TopicConfig::new(topic, 2)).unwrap();
    drop(promise);
    server
}

/// A pull with limits of its own.
fn limited(topic: &str, offset: i64, messages: i32, bytes: i32) -> Command {
    let header = PullMessage {
        consumer_group: "g".into(),
        topic: topic.into(),
        queue_id: 0,
        queue_offset: offset,
        max_msg_nums: messages,
        max_msg_bytes: Some(bytes),
        sys_flag: 4,
        subscription: Some("*".into()),
        ..PullMessage::default()
    };
    request_with(request::PULL_MESSAGE, header.to_ext_fields(), "")
}

fn values(range: std::ops::Range<usize>, base: u64) -> Vec<(u64, String)> {
    range.map(|index| (base + index as u64, format!("v{index}"))).collect()
}

/// The whole records of a body.
fn views(body: &[u8]) -> Vec<RecordView<'_>> {
    let mut rest = body;
    let mut views = Vec::new();
    while !rest.is_empty() {
        let view = RecordView::parse(rest).unwrap();
        rest = &rest[view.len()..];
        views.push(view);
    }
    views
}

#[test]
fn a_queue_with_messages_and_batches_is_read_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    client.produce("T", 0, "first", "");
    assert_eq!(server.append_batch("T", 0, &batch(5, Compression::Zstd)), 1);
    client.produce("T", 0, "last", "");

    let answer = client.ask(pull("g", "T", 0, 0, "*", 0));
    let mut expected = vec![(0, "first".to_owned())];
    expected.extend(values(0..5, 1));
    expected.push((6, "last".to_owned()));
    assert_eq!((answer.code, records(&answer.body)), (0, expected));
    assert_eq!((number(&answer, "nextBeginOffset"), number(&answer, "maxOffset")), (7, 7));
    for view in views(&answer.body) {
        RecordView::check(view.bytes(), view.position(), true).unwrap();
        assert_eq!((view.kind(), view.topic(), view.queue_id()), (None, "T", 0));
    }
    let view = views(&answer.body)[2];
    assert_eq!(
        (view.born_timestamp(), view.property("KEYS"), view.property("own")),
        (BORN + 1, Some("k1"), Some("x"))
    );
    assert_eq!(view.born_host(), "10.9.8.7:9092".parse().unwrap());

    // From the middle, and as many as are asked for.
    for (offset, messages, expected, next) in [
        (3, 2, values(2..4, 1), 5),
        (5, 1, values(4..5, 1), 6),
        (4, 3, [values(3..5, 1), vec![(6, "last".into())]].concat(), 7),
    ] {
        let answer = client.ask(limited("T", offset, messages, 1 << 20));
        assert_eq!(records(&answer.body), expected, "from {offset}");
        assert_eq!(number(&answer, "nextBeginOffset"), next, "from {offset}");
    }
    // The first goes out whatever its size, the next only if it fits.
    let one = client.ask(limited("T", 1, 32, 1));
    assert_eq!((records(&one.body), number(&one, "nextBeginOffset")), (values(0..1, 1), 2));
    let two = client.ask(limited("T", 1, 32, one.body.len() as i32 * 2 + 10));
    assert_eq!((records(&two.body), number(&two, "nextBeginOffset")), (values(0..2, 1), 3));
}

#[test]
fn a_tag_filter_looks_inside() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    server.append_batch("T", 0, &batch(5, Compression::Gzip));
    let answer = client.ask(pull("g", "T", 0, 0, "even", 0));
    let even: Vec<_> = values(0..5, 0).into_iter().step_by(2).collect();
    assert_eq!((records(&answer.body), number(&answer, "nextBeginOffset")), (even, 5));
    let answer = client.ask(pull("g", "T", 0, 0, "odd", 0));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (20, 5));
    assert!(answer.body.is_empty());
    // Only the last is wanted, and the pull begins at one that is not.
    let answer = client.ask(pull("g", "T", 0, 3, "even", 0));
    assert_eq!(records(&answer.body), values(4..5, 0));
}

#[test]
fn a_parked_pull_is_woken_by_a_batch_and_looks_inside() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    client.produce("T", 0, "first", "");
    let opaque = client.send(pull("g", "T", 0, 1, "even", 15_000));
    // Behind it on the same connection: once this is answered, the pull is parked.
    client.ask(pull("g", "T", 1, 0, "*", 0));
    server.append_batch("T", 0, &batch(3, Compression::None));
    let answer = client.answer(opaque);
    assert_eq!(records(&answer.body), [(1, "v0".to_owned()), (3, "v2".to_owned())]);
}

#[test]
fn a_message_inside_a_batch_has_a_name_and_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    client.produce("T", 0, "first", "KEYS\u{1}k3\u{2}");
    server.append_batch("T", 0, &batch(5, Compression::Lz4));
    let answer = client.ask(pull("g", "T", 0, 0, "*", 0));
    let seen: Vec<Vec<u8>> = views(&answer.body).iter().map(|view| view.bytes().to_vec()).collect();
    for message in &seen {
        let view = RecordView::parse(message).unwrap();
        // 33: view by id.
        let offset = view.position().to_string();
        let found = client.ask(request(request::VIEW_MESSAGE_BY_ID, &[("offset", &offset)]));
        assert_eq!((found.code, &found.body[..]), (0, &message[..]));
        // 12: by unique key, whatever the time range.
        let unique = view.property("UNIQ_KEY").unwrap();
        let fields = [
            ("topic", "T"),
            ("key", unique),
            ("maxNum", "1"),
            ("beginTimestamp", "0"),
            ("endTimestamp", "9223372036854775807"),
            ("_UNIQUE_KEY_QUERY", "true"),
        ];
        let found = client.ask(request(request::QUERY_MESSAGE, &fields));
        assert_eq!((found.code, &found.body[..]), (0, &message[..]), "{unique}");
    }
    let bad = RecordView::parse(&seen[5]).unwrap().position() + 1;
    let missing = client.ask(request(request::VIEW_MESSAGE_BY_ID, &[("offset", &bad.to_string())]));
    assert_eq!((missing.code, remark(&missing).contains("can not find")), (1, true));

    // 12: by key, in the index and inside batches, newest first.
    let ask = |key: &str, begin: &str, end: &str| {
        let fields = [
            ("topic", "T"),
            ("key", key),
            ("maxNum", "10"),
            ("beginTimestamp", begin),
            ("endTimestamp", end),
        ];
        server.client().ask(request(request::QUERY_MESSAGE, &fields))
    };
    let found = ask("k3", "0", "9223372036854775807");
    let mut offsets: Vec<u64> = records(&found.body).into_iter().map(|(offset, _)| offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 4]);
    // A batch whose keys are in the index as well gives each message once.
    server.append_batch_with("T", 1, &batch(5, Compression::None), braid_crossing::keys::MARK);
    let found = ask("k2", "0", "9223372036854775807");
    let mut places: Vec<_> =
        views(&found.body).iter().map(|view| (view.queue_id(), view.queue_offset())).collect();
    places.sort_unstable();
    assert_eq!(places, [(0, 3), (1, 2)]);
    assert_eq!(ask("k9", "0", "9223372036854775807").code, 22);
    assert_eq!(ask("k4", "0", "1000").code, 22, "before anything was stored");
}

#[test]
fn a_message_that_comes_back_comes_back_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "a.b");
    let mut client = server.client();
    server.append_batch("a.b", 0, &batch(3, Compression::Snappy));
    client.heartbeat("g", &[("a%2Eb", "*")]);
    let answer = client.ask(pull("g", "a%2Eb", 0, 0, "*", 0));
    let position = views(&answer.body)[1].position();
    let header = ConsumerSendMessageBack {
        offset: position as i64,
        group: "g".into(),
        delay_level: -1,
        origin_topic: Some("a%2Eb".into()),
        ..ConsumerSendMessageBack::default()
    };
    let back = client.ask(request_with(request::CONSUMER_SEND_MSG_BACK, header.to_ext_fields(), ""));
    assert_eq!((back.code, back.remark), (0, None));
    let store = server.broker.store();
    let dead = server.broker.topic("%DLQ%g").unwrap().queue(0);
    until("the dead letter", || store.offsets(dead).is_some_and(|offsets| offsets.max == 1));
    let answer = client.ask(pull("g", "%DLQ%g", 0, 0, "*", 0));
    assert_eq!(records(&answer.body), [(0, "v1".to_owned())]);
    let view = views(&answer.body)[0];
    assert_eq!(
        (view.property("KEYS"), view.property("own"), view.reconsume_times()),
        (Some("k1"), Some("x"), 1)
    );
    assert_eq!(view.property("RETRY_TOPIC"), Some("a%2Eb"));
    let origin = view.property("ORIGIN_MESSAGE_ID").and_then(id::parse_message_id).unwrap();
    assert_eq!(origin.1, position);
}

#[test]
fn a_topic_of_kafka_s_has_an_alias() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "a.b");
    let (mut client, mut names) = (server.client(), server.name_server());
    let route = names.ask(request(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "a%2Eb")]));
    assert_eq!(route.code, 0);
    let all = names.ask(request(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[]));
    let list = String::from_utf8_lossy(&all.body).into_owned();
    assert!(list.contains("\"a%2Eb\"") && !list.contains("a.b"), "{list}");

    client.produce("a%2Eb", 1, "mine", "TAGS\u{1}x\u{2}");
    let answer = client.ask(pull("g", "a%2Eb", 1, 0, "x", 0));
    assert_eq!(records(&answer.body), [(0, "mine".to_owned())]);
    // What lies in the log has the name inside.
    assert_eq!(views(&answer.body)[0].topic(), "a.b");
    // The name inside is understood too: the command line knows no other.
    client.produce("a.b", 1, "mine too", "");
    let fields = [("topic", "a%2Eb"), ("queueId", "1")];
    assert_eq!(number(&client.ask(request(request::GET_MAX_OFFSET, &fields)), "offset"), 2);
    assert!(server.broker.topic("a%2Eb").is_none(), "no second topic was made");

    // No topic is made that one of the protocols could not tell from another.
    drop(server.broker.create_topic(TopicConfig::new("c.25.d", 1)).unwrap());
    let fields = [("topic", "c%d"), ("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "6")];
    let fields =
        [&fields[..], &[("defaultTopic", "TBW102"), ("topicFilterType", "SINGLE_TAG"), ("order", "false")]]
            .concat();
    let refused = client.ask(request(request::UPDATE_AND_CREATE_TOPIC, &fields));
    assert!(refused.code != 0 && remark(&refused).contains("c.25.d"), "{refused:?}");
    let refused = client.ask(crate::support::message("c%d", 0, b"x", ""));
    assert!(refused.code != 0 && remark(&refused).contains("c.25.d"), "{refused:?}");
}

#[test]
fn looking_inside_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    let decoded = |client: &mut crate::support::Client| {
        let answer = client.ask(request(request::GET_BROKER_RUNTIME_INFO, &[]));
        let table: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        table["table"]["decodedBatches"].as_str().unwrap().to_owned()
    };
    server.append_batch("T", 0, &batch(3, Compression::Zstd));
    assert_eq!(decoded(&mut client), "0");
    for _ in 0..2 {
        client.ask(pull("g", "T", 0, 0, "*", 0));
    }
    assert_eq!(decoded(&mut client), "1", "the second pull found it opened");
}

#[test]
fn a_pull_looks_at_so_many_messages_and_no_more() {
    /// As many as one pull looks at inside batches.
    const LOOKED_AT_MAX: usize = 32_768;
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), "T");
    let mut client = server.client();
    let mut writer = BatchWriter::new(BatchHead { compression: Compression::Zstd, ..BatchHead::default() });
    let tag = [Header { key: b"rmq.TAGS", value: Some(b"last") }];
    for index in 0..=LOOKED_AT_MAX {
        let headers = if index == LOOKED_AT_MAX { &tag[..] } else { &[] };
        writer.push(&RecordDraft { timestamp: BORN, key: None, value: Some(b"v"), headers });
    }
    server.append_batch("T", 0, &writer.finish());
    let answer = client.ask(pull("g", "T", 0, 0, "last", 0));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (20, LOOKED_AT_MAX as i64));
    let answer = client.ask(pull("g", "T", 0, LOOKED_AT_MAX as i64, "last", 0));
    assert_eq!(records(&answer.body), [(LOOKED_AT_MAX as u64, "v".to_owned())]);
    // One message less, and the last is seen at once.
    let answer = client.ask(pull("g", "T", 0, 1, "last", 0));
    assert_eq!(records(&answer.body), [(LOOKED_AT_MAX as u64, "v".to_owned())]);
}
