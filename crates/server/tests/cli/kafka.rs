//! The client commands on what Kafka clients made: they talk RocketMQ's protocol, and find the same topics and groups.

use std::io::{Read, Write};
use std::net::TcpStream;

use braid_wire_kafka::batch::{BatchHead, BatchWriter, Compression, RecordDraft};
use braid_wire_kafka::messages::{
    Message, create_topics, list_offsets, offset_commit, offset_fetch, produce,
};
use braid_wire_kafka::{Input, RequestHeader, error_code, frame, header, keys};
use bytes::{Bytes, BytesMut};
use serde_json::json;

use crate::support::Broker;

/// As much of a Kafka client as is needed.
struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.listener("kafka")).expect("it listens");
        Client { stream, received: BytesMut::new() }
    }

    /// The body of the answer.
    fn ask<'a>(&mut self, api_key: i16, api_version: i16, message: &impl Message<'a>) -> Bytes {
        let mut out = Vec::new();
        let start = frame::begin(&mut out);
        let head = RequestHeader { api_key, api_version, correlation_id: 1, client_id: Some("cli-test") };
        header::encode(&head, &mut out);
        message.encode(api_version, &mut out);
        frame::finish(&mut out, start, 0);
        self.stream.write_all(&out).expect("it takes requests");
        loop {
            if let Some(frame) = frame::next(&mut self.received, frame::FRAME_BYTES_MAX).expect("a frame") {
                let (_, body) = header::decode_response(&frame, api_key, api_version).expect("a header");
                return frame.slice(body..);
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("an answer");
            assert_ne!(count, 0, "the connection was closed");
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = create_topics::RequestTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let ask = create_topics::Request { topics: vec![topic], ..Default::default() };
        let body = self.ask(keys::CREATE_TOPICS, 4, &ask);
        let answer = create_topics::Response::decode(4, &mut Input::new(&body)).expect("an answer");
        assert_eq!(answer.topics[0].error_code, error_code::NONE);
    }

    fn produce(&mut self, topic: &str, partition: i32, records: &[(&[u8], &[u8])]) {
        let head = BatchHead { compression: Compression::Lz4, ..BatchHead::default() };
        let mut writer = BatchWriter::new(head);
        for (key, value) in records {
            writer.push(&RecordDraft {
                timestamp: 1_700_000_000_000,
                key: Some(key),
                value: Some(value),
                headers: &[],
            });
        }
        let partition = produce::RequestPartition { index: partition, records: Some(writer.finish().into()) };
        let topic = produce::RequestTopic {
            name: topic.into(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let ask =
            produce::Request { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        let body = self.ask(keys::PRODUCE, 9, &ask);
        let answer = produce::Response::decode(9, &mut Input::new(&body)).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, error_code::NONE);
    }

    fn end_offset(&mut self, topic: &str, partition: i32) -> i64 {
        let partition = list_offsets::RequestPartition {
            partition_index: partition,
            timestamp: -1,
            ..Default::default()
        };
        let topic = list_offsets::RequestTopic { name: topic.into(), partitions: vec![partition] };
        let ask = list_offsets::Request { replica_id: -1, topics: vec![topic], ..Default::default() };
        let body = self.ask(keys::LIST_OFFSETS, 2, &ask);
        let answer = list_offsets::Response::decode(2, &mut Input::new(&body)).expect("an answer");
        answer.topics[0].partitions[0].offset
    }

    /// Commits without being a member.
    fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) {
        let partition = offset_commit::RequestPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_metadata: Some("from Kafka".into()),
            ..Default::default()
        };
        let topic = offset_commit::RequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let ask = offset_commit::Request {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let body = self.ask(keys::OFFSET_COMMIT, 6, &ask);
        let answer = offset_commit::Response::decode(6, &mut Input::new(&body)).expect("an answer");
        assert_eq!(answer.topics[0].partitions[0].error_code, error_code::NONE);
    }

    fn committed(&mut self, group: &str, topic: &str, partition: i32) -> i64 {
        let topic = offset_fetch::RequestTopic { name: topic.into(), partition_indexes: vec![partition] };
        let ask =
            offset_fetch::Request { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let body = self.ask(keys::OFFSET_FETCH, 5, &ask);
        let answer = offset_fetch::Response::decode(5, &mut Input::new(&body)).expect("an answer");
        answer.topics[0].partitions[0].committed_offset
    }
}

#[test]
fn topics_of_kafka_clients_are_read_and_written() {
    let broker = Broker::start();
    let mut client = Client::connect(&broker);
    client.create_topic("orders.eu", 2);
    client.produce("orders.eu", 1, &[(b"k1", b"one"), (b"k2", b"two"), (b"k3", b"three")]);

    let topics = broker.call(&["topic", "list", "-o", "json"]).json();
    assert_eq!(
        (topics[0]["topic"].as_str(), topics[0]["read_queues"].as_i64()),
        (Some("orders%2Eeu"), Some(2))
    );
    for name in ["orders.eu", "orders%2Eeu"] {
        let read = broker.call(&["consume", name, "--from", "start", "-o", "json"]).json();
        let messages = read.as_array().expect("messages");
        let seen: Vec<_> =
            messages.iter().map(|m| json!([m["queue"], m["offset"], m["keys"], m["body"]])).collect();
        let sent =
            [json!([1, 0, ["k1"], "one"]), json!([1, 1, ["k2"], "two"]), json!([1, 2, ["k3"], "three"])];
        assert_eq!(seen, sent, "{name}");
        // A message inside a batch has a name, too.
        let id = messages[1]["id"].as_str().expect("an id");
        assert_eq!(broker.call(&["message", "get", id, "-o", "json"]).json()["body"], "two");
    }
    broker.call(&["produce", "orders.eu", "--queue", "1", "-m", "four"]).ok();
    assert_eq!(client.end_offset("orders.eu", 1), 4);
    broker.call(&["topic", "delete", "orders.eu", "--yes"]).ok();
    client.create_topic("orders.eu", 3);
}

#[test]
fn groups_of_kafka_clients_are_described_and_moved() {
    let broker = Broker::start();
    let mut client = Client::connect(&broker);
    client.create_topic("Orders", 1);
    client.produce("Orders", 0, &[(b"k", b"one"), (b"k", b"two"), (b"k", b"three")]);
    client.commit("readers", "Orders", 0, 1);

    let groups = broker.call(&["group", "list", "-o", "json"]).json();
    let names: Vec<_> = groups.as_array().expect("groups").iter().map(|g| g["group"].clone()).collect();
    assert!(names.contains(&json!("readers")), "{groups}");
    let lag = broker.call(&["group", "lag", "readers", "-o", "json"]).json();
    let queue = &lag["queues"][0];
    assert_eq!(
        json!([lag["lag"], queue["topic"], queue["queue"], queue["committed"], queue["end"]]),
        json!([2, "Orders", 0, 1, 3]),
        "{lag}"
    );
    broker.call(&["group", "reset", "readers", "--topic", "Orders", "--to", "start", "--yes"]).ok();
    assert_eq!(client.committed("readers", "Orders", 0), 0);
}
