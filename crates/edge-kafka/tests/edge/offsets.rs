//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords, producers, and what RocketMQ's producers sent.

use braid_broker::{Message, SendRequest};
use braid_wire_kafka::batch::{BatchHead, BatchView, Compression};
use braid_wire_kafka::messages::{
    delete_records, describe_producers, fetch, init_producer_id, list_offsets, offset_for_leader_epoch,
    produce,
};
use braid_wire_kafka::{error_code, keys};

use crate::support::{
    Client, PATIENCE, Server, ask, batch, batch_with, decode, from, numbered, options, records, to,
};

fn store(client: &mut Client, topic: &str, batch: &[u8]) -> produce::ResponsePartition<'static> {
    let mut response = ask!(client, produce, 9, to(topic, 0, -1, batch));
    response.responses.remove(0).partition_responses.remove(0)
}

/// (error, offset, timestamp) of one question.
fn list(client: &mut Client, version: i16, topic: &str, timestamp: i64) -> (i16, i64, i64) {
    let partition = list_offsets::RequestPartition { partition_index: 0, timestamp, ..Default::default() };
    let topic = list_offsets::RequestTopic { name: topic.into(), partitions: vec![partition] };
    let request = list_offsets::Request { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = ask!(client, list_offsets, version, request);
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset, partition.timestamp)
}

fn fetched(client: &mut Client, topic: &str, offset: i64) -> fetch::ResponsePartition<'static> {
    let mut response = ask!(client, fetch, 12, from(topic, &[(0, offset)]));
    response.responses.remove(0).partitions.remove(0)
}

#[test]
fn ends_and_times_are_found_exact_to_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    assert_eq!(list(&mut client, 7, "T", -1), (0, 0, -1));
    assert_eq!(list(&mut client, 7, "T", 5), (0, -1, -1));
    assert_eq!(list(&mut client, 7, "T", -3), (0, -1, -1));
    // Times 1,000,000 to 1,000,002; then, compressed, 1,000,000 to 1,000,004.
    store(&mut client, "T", &batch(&[b"a", b"b", b"c"]));
    let head = BatchHead { compression: Compression::Lz4, ..BatchHead::default() };
    store(&mut client, "T", &batch_with(head, &[b"d", b"e", b"f", b"g", b"h"]));
    store(&mut client, "T", &batch(&[b"i"]));
    for version in 1..=11 {
        assert_eq!(list(&mut client, version, "T", -1), (0, 9, -1), "{version}");
        assert_eq!(list(&mut client, version, "T", -2), (0, 0, -1), "{version}");
        for (time, offset, found) in [
            (0, 0, 1_000_000),
            (1_000_000, 0, 1_000_000),
            (1_000_001, 1, 1_000_001),
            (1_000_002, 2, 1_000_002),
            (1_000_003, 6, 1_000_003),
            (1_000_004, 7, 1_000_004),
            (1_000_005, -1, -1),
        ] {
            assert_eq!(list(&mut client, version, "T", time), (0, offset, found), "{version} {time}");
        }
        let newest = list(&mut client, version, "T", -3);
        let unsupported = (error_code::UNSUPPORTED_VERSION, -1, -1);
        assert_eq!(newest, if version >= 7 { (0, 7, 1_000_004) } else { unsupported });
        assert_eq!(list(&mut client, version, "T", -4), if version >= 8 { (0, 0, -1) } else { unsupported });
        assert_eq!(list(&mut client, version, "T", -5), if version >= 9 { (0, -1, -1) } else { unsupported });
        assert_eq!(
            list(&mut client, version, "T", -6),
            if version >= 11 { (0, -1, -1) } else { unsupported }
        );
        assert_eq!(list(&mut client, version, "T", -7), unsupported);
    }
    assert_eq!(list(&mut client, 7, "absent", -1), (3, -1, -1));
    let counts = server.edge().counts();
    assert!(counts.looked_inside > 0);
    assert_eq!(counts.decoded_batches, 0, "nobody read for another protocol");
}

#[test]
fn the_beginning_moves_up_to_the_end_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    store(&mut client, "T", &batch(&[b"a", b"b", b"c"]));
    store(&mut client, "T", &batch(&[b"d", b"e"]));
    let cut = |client: &mut Client, topic: &str, partition_index, offset| {
        let partition = delete_records::RequestPartition { partition_index, offset };
        let topic =
            delete_records::RequestTopic { name: topic.to_owned().into(), partitions: vec![partition] };
        let request = delete_records::Request { topics: vec![topic], timeout_ms: 1_000 };
        let response = ask!(client, delete_records, 2, request);
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    assert_eq!(cut(&mut client, "T", 0, 1), (0, 1));
    assert_eq!(fetched(&mut client, "T", 0).error_code, error_code::OFFSET_OUT_OF_RANGE);
    let inside = fetched(&mut client, "T", 1);
    assert_eq!((inside.error_code, inside.log_start_offset), (0, 1));
    assert_eq!(records(inside.records.as_deref().unwrap()).len(), 5, "batches stay whole");
    assert_eq!(list(&mut client, 7, "T", -2), (0, 1, -1));
    assert_eq!(list(&mut client, 7, "T", 0), (0, 1, 1_000_001), "what is deleted is not found");
    assert_eq!(cut(&mut client, "T", 0, 0), (0, 1), "never back");
    assert_eq!(cut(&mut client, "T", 0, 6), (error_code::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(cut(&mut client, "T", 7, 0), (3, -1));
    assert_eq!(cut(&mut client, "T", 0, -1), (0, 5));
    server.stop();
    let server = Server::start_with(dir.path(), options());
    let mut client = server.client();
    assert_eq!(list(&mut client, 7, "T", -2), (0, 5, -1));
    assert_eq!(store(&mut client, "T", &batch(&[b"f"])).base_offset, 5);
}

#[test]
fn epochs_end_where_the_log_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    store(&mut client, "T", &batch(&[b"a", b"b", b"c"]));
    let epoch = server.broker.store().epoch() as i32;
    let asked = |client: &mut Client, version, partition, leader_epoch| {
        use offset_for_leader_epoch::{Request, RequestPartition, RequestTopic};
        let partition = RequestPartition { partition, leader_epoch, ..Default::default() };
        let topic = RequestTopic { topic: "T".into(), partitions: vec![partition] };
        let request = Request { topics: vec![topic], ..Default::default() };
        let response = ask!(client, offset_for_leader_epoch, version, request);
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.leader_epoch, partition.end_offset)
    };
    for version in 2..=4 {
        assert_eq!(asked(&mut client, version, 0, epoch), (0, epoch, 3));
        assert_eq!(asked(&mut client, version, 0, epoch + 1), (0, -1, -1));
        assert_eq!(asked(&mut client, version, 0, -1), (0, -1, -1));
        assert_eq!(asked(&mut client, version, 9, epoch), (3, -1, -1));
    }
}

#[test]
fn producers_get_ids_that_nobody_had_and_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.topic("T", 1);
    let init = |client: &mut Client, version, transactional_id: Option<&'static str>| {
        let request = init_producer_id::Request {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let id = client.send(version, &request);
        let body = client.answer(keys::INIT_PRODUCER_ID, version, id);
        let response: init_producer_id::Response = decode(version, &body);
        (response.error_code, response.producer_id, response.producer_epoch)
    };
    let mut client = server.client();
    let mut ids: Vec<_> = (0..=5).map(|version| init(&mut client, version, None)).collect();
    assert_eq!(init(&mut client, 4, Some("t")).0, error_code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(init(&mut client, 4, Some("")).0, error_code::INVALID_REQUEST);
    let id = ids[0].1;
    store(&mut client, "T", &numbered(id, 0, 0, &[b"a", b"b"]));
    let topic = describe_producers::RequestTopic { name: "T".into(), partition_indexes: vec![0, 5] };
    let response =
        ask!(&mut client, describe_producers, 0, describe_producers::Request { topics: vec![topic] });
    let [known, absent] = &response.topics[0].partitions[..] else { panic!("{response:?}") };
    assert_eq!(absent.error_code, 3);
    let producer = &known.active_producers[0];
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (id, 0, 1));
    server.stop();
    let server = Server::start_with(dir.path(), options());
    let mut client = server.client();
    ids.push(init(&mut client, 5, None));
    assert!(ids.iter().all(|&(code, id, epoch)| code == 0 && id >= 0 && epoch == 0), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
    // What was stored before the restart is still known.
    assert_eq!(store(&mut client, "T", &numbered(id, 0, 0, &[b"a", b"b"])).base_offset, 0);
}

/// Sends messages as a RocketMQ producer does, and waits until they are visible.
fn send(server: &Server, topic: &str, bodies: &[&[u8]], born_timestamp: i64) {
    let topic = server.broker.topic(topic).unwrap();
    let host = "127.0.0.1:1".parse().unwrap();
    let messages: Vec<_> = bodies
        .iter()
        .map(|body| Message {
            body,
            properties: b"TAGS\x01TagA\x02KEYS\x01key\x02",
            flag: 0,
            sys_flag: 0,
            born_timestamp,
            born_host: host,
            reconsume_times: 0,
        })
        .collect();
    let request =
        SendRequest { topic: &topic, queue_id: 0, messages: &messages, store_host: host, wait: true };
    let store = server.broker.store();
    let promise = server.broker.send(&request).unwrap();
    store.write_turn();
    store.flush_turn();
    let until = std::time::Instant::now() + PATIENCE;
    while store.watermarks().dispatched() < promise.end() {
        assert!(std::time::Instant::now() < until, "it does not become visible");
        store.flush_turn();
        std::thread::yield_now();
    }
}

#[test]
fn what_rocketmq_producers_send_is_packed_between_kafkas_batches() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    store(&mut client, "T", &batch(&[b"a", b"b"]));
    send(&server, "T", &[b"c", b"d", b"e"], 2_000_000);
    store(&mut client, "T", &batch(&[b"f"]));
    let found = fetched(&mut client, "T", 0);
    let all = records(found.records.as_deref().unwrap());
    let expected: Vec<_> = (0..).zip("abcdef".bytes()).map(|(offset, byte)| (offset, vec![byte])).collect();
    assert_eq!(all, expected);
    assert_eq!(found.high_watermark, 6);
    let again = fetched(&mut client, "T", 0);
    assert_eq!(again.records, found.records, "the same bytes every time");
    let middle = fetched(&mut client, "T", 3);
    assert_eq!(records(middle.records.as_deref().unwrap()), &expected[3..]);
    let batch = BatchView::parse(middle.records.as_deref().unwrap()).unwrap();
    assert_eq!((batch.base_offset(), batch.count(), batch.producer_id()), (3, 2, -1));
    let counts = server.edge().counts();
    assert_eq!((counts.decoded_batches, counts.packed_batches > 0), (0, true));
    // By the producer's time.
    assert_eq!(list(&mut client, 7, "T", 1_500_000), (0, 2, 2_000_000));
}
