//! The first request of real clients, recorded from a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use braid_wire_kafka::messages::api_versions;
use braid_wire_kafka::{Input, frame, header, keys};
use bytes::BytesMut;
use common::unhex;

/// Client, version of ApiVersions, client id, and what it calls its software.
const FIRST_REQUESTS: [(&str, i16, &str, &str, &str); 6] = [
    (
        "00000021001200000000000100176b61666b612d707974686f6e2d70726f64756365722d31",
        0,
        "kafka-python-producer-1", // 2.0.2
        "",
        "",
    ),
    (
        "00000037001200040000000100176b61666b612d707974686f6e2d70726f64756365722d31000d6b61666b612d707974686f6e07332e302e313200",
        4,
        "kafka-python-producer-1",
        "kafka-python",
        "3.0.12",
    ),
    ("0000001d0012000000000001001361696f6b61666b612d70726f64756365722d31", 0, "aiokafka-producer-1", "", ""),
    (
        "000000400012000300000001000772646b61666b610017636f6e666c75656e742d6b61666b612d707974686f6e16322e31362e312d72646b61666b612d322e31362e3000",
        3,
        "rdkafka",
        "confluent-kafka-python",
        "2.16.1-rdkafka-2.16.0",
    ),
    ("0000000d00120002000000000003617070", 2, "app", "", ""), // KafkaJS 2.2.4
    (
        "000000270012000400000000000361707000126170616368652d6b61666b612d6a61766106342e332e3100",
        4,
        "app",
        "apache-kafka-java",
        "4.3.1",
    ),
];

#[test]
fn first_requests_of_clients() {
    for (wire, version, client_id, name, software_version) in FIRST_REQUESTS {
        let mut buffer = BytesMut::from(unhex(wire).as_slice());
        let request = frame::next(&mut buffer, frame::FRAME_BYTES_MAX).unwrap().expect("a whole frame");
        assert!(buffer.is_empty());
        let (head, at) = header::decode(&request).unwrap();
        assert_eq!((head.api_key, head.api_version), (keys::API_VERSIONS, version));
        assert_eq!(head.client_id, Some(client_id));
        let mut input = Input::new(&request[at..]);
        let body = api_versions::Request::decode(version, &mut input).unwrap();
        input.end().unwrap();
        assert_eq!((&*body.client_software_name, &*body.client_software_version), (name, software_version));

        let mut written = Vec::new();
        let start = frame::begin(&mut written);
        header::encode(&head, &mut written);
        body.encode(version, &mut written);
        frame::finish(&mut written, start, 0);
        assert_eq!(written, unhex(wire));
    }
}
