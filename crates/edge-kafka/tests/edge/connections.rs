//! Connections, the first requests of every client, and bad input.

use std::sync::atomic::{AtomicUsize, Ordering};

use braid_wire_kafka::messages::{api_versions, metadata};
use braid_wire_kafka::{error_code, keys};

use crate::support::{ON_PURPOSE, Server, ask, decode, options};

fn all_topics() -> metadata::Request<'static> {
    metadata::Request { topics: None, ..Default::default() }
}

fn named(name: &str) -> metadata::Request<'_> {
    let topic = metadata::RequestTopic { name: Some(name.into()), ..Default::default() };
    metadata::Request { topics: Some(vec![topic]), ..Default::default() }
}

#[test]
fn every_version_of_api_versions_tells_what_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    for version in 0..=4 {
        let request = api_versions::Request {
            client_software_name: "test-suite".into(),
            client_software_version: "1.0".into(),
        };
        let response = ask!(&mut client, api_versions, version, request);
        assert_eq!(response.error_code, error_code::NONE);
        let of = |key| response.api_keys.iter().find(|api| api.api_key == key).unwrap();
        assert_eq!((of(keys::METADATA).min_version, of(keys::METADATA).max_version), (0, 13));
        assert_eq!(of(keys::API_VERSIONS).max_version, 4);
        assert!(response.api_keys.iter().all(|api| api.min_version <= api.max_version));
    }
    let bad = api_versions::Request { client_software_name: "a b".into(), ..Default::default() };
    let response = ask!(&mut client, api_versions, 3, bad);
    assert_eq!((response.error_code, response.api_keys.len()), (error_code::INVALID_REQUEST, 0));
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_the_oldest_layout() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    // What a client of the future sends behind the header is of no known shape.
    let id = client.send_raw(keys::API_VERSIONS, 77, &[9, 9, 9]);
    let body = client.answer(keys::API_VERSIONS, 0, id);
    let response: api_versions::Response<'_> = decode(0, &body);
    assert_eq!(response.error_code, error_code::UNSUPPORTED_VERSION);
    let [api] = &response.api_keys[..] else { panic!("{response:?}") };
    assert_eq!((api.api_key, api.min_version, api.max_version), (keys::API_VERSIONS, 0, 4));
    // The connection lives on.
    assert_eq!(ask!(&mut client, metadata, 0, all_topics()).brokers.len(), 1);
}

#[test]
fn what_is_not_served_and_what_is_malformed_closes_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let cases: [(&str, Vec<u8>); 7] = [
        ("a negative length", (-1i32).to_be_bytes().to_vec()),
        ("a length above the bound", (101i32 << 20).to_be_bytes().to_vec()),
        ("an empty request", 0i32.to_be_bytes().to_vec()),
        ("a short header", [&3i32.to_be_bytes()[..], &[0, 3, 0]].concat()),
        ("an unknown key", [&10i32.to_be_bytes()[..], &[0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff]].concat()),
        ("an unknown version", [&10i32.to_be_bytes()[..], &[0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]].concat()),
        (
            "an array of more than there is",
            [&14i32.to_be_bytes()[..], &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]]
                .concat(),
        ),
    ];
    for (what, bytes) in cases {
        let mut client = server.client();
        client.send_bytes(&bytes);
        assert_eq!(client.next(), None, "{what}");
    }
    assert_eq!(ask!(&mut server.client(), metadata, 1, all_topics()).brokers.len(), 1);
}

/// librdkafka 2.16 asks for all topics in Metadata 13 with three zeros too many behind the null array, so that the rest of its request
/// comes three bytes late. Kafka reads what it needs and passes over the rest; a broker that closed the connection would serve
/// none of its clients.
#[test]
fn bytes_behind_a_request_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let id = client.send_raw(keys::METADATA, 13, &[0, 0, 0, 0, 1, 0, 0]);
    let body = client.answer(keys::METADATA, 13, id);
    let response: metadata::Response<'_> = decode(13, &body);
    assert_eq!((response.error_code, response.topics.len()), (error_code::NONE, 1));
    assert_eq!(ask!(&mut client, metadata, 1, all_topics()).brokers.len(), 1);
}

#[test]
fn requests_that_come_at_once_or_in_pieces_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    // kafka-python 2.0 sends its first two requests without reading.
    let first = client.send(0, &api_versions::Request::default());
    let second = client.send(0, &all_topics());
    client.answer(keys::API_VERSIONS, 0, first);
    client.answer(keys::METADATA, 0, second);
    let frame = [&10i32.to_be_bytes()[..], &[0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff]].concat();
    for byte in &frame {
        client.send_bytes(std::slice::from_ref(byte));
    }
    client.answer(keys::API_VERSIONS, 0, 9);
}

#[test]
fn metadata_names_the_address_at_which_the_client_came_and_makes_topics() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start_with(dir.path(), braid_edge_kafka::EdgeOptions { default_partitions: 3, ..options() });
    let mut client = server.client();
    let none = metadata::Request { allow_auto_topic_creation: false, ..named("Orders") };
    let response = ask!(&mut client, metadata, 12, none);
    assert_eq!(response.topics[0].error_code, error_code::UNKNOWN_TOPIC_OR_PARTITION);
    let response = ask!(&mut client, metadata, 12, named("Orders"));
    let [broker] = &response.brokers[..] else { panic!("{response:?}") };
    assert_eq!((&*broker.host, broker.port), ("127.0.0.1", i32::from(server.address.port())));
    assert_eq!((response.controller_id, broker.node_id), (0, 0));
    let [topic] = &response.topics[..] else { panic!("{response:?}") };
    assert_eq!((topic.error_code, topic.name.as_deref()), (0, Some("Orders")));
    let partitions: Vec<_> = topic.partitions.iter().map(|p| (p.partition_index, p.leader_id)).collect();
    assert_eq!(partitions, [(0, 0), (1, 0), (2, 0)]);
    assert_ne!(topic.topic_id, [0; 16]);
    // By its id, in all versions, and after it was made anew.
    let by_id = |id| metadata::Request {
        topics: Some(vec![metadata::RequestTopic { topic_id: id, name: None }]),
        ..Default::default()
    };
    let again = ask!(&mut client, metadata, 12, by_id(topic.topic_id));
    assert_eq!(again.topics[0].name.as_deref(), Some("Orders"));
    for version in 0..=13 {
        let response = ask!(&mut client, metadata, version, all_topics());
        let names: Vec<_> = response.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
        assert_eq!(names, ["Orders"], "{version}");
    }
    drop(server.broker.delete_topic("Orders").unwrap());
    let gone = ask!(&mut client, metadata, 12, by_id(topic.topic_id));
    assert_eq!(
        (gone.topics[0].error_code, gone.topics[0].name.as_deref()),
        (error_code::UNKNOWN_TOPIC_ID, None)
    );
    let anew = ask!(&mut client, metadata, 12, named("Orders"));
    assert_ne!(anew.topics[0].topic_id, topic.topic_id);
}

#[test]
fn names_that_kafka_cannot_spell_are_shown_as_aliases_and_illegal_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    drop(server.broker.create_topic(braid_broker::TopicConfig::new("%RETRY%g", 1)).unwrap());
    drop(server.broker.create_topic(braid_broker::TopicConfig::new("a_b", 1)).unwrap());
    let mut client = server.client();
    let response = ask!(&mut client, metadata, 9, all_topics());
    let names: Vec<_> =
        response.topics.iter().map(|topic| (topic.name.as_deref().unwrap(), topic.is_internal)).collect();
    assert_eq!(names, [(".25.RETRY.25.g", true), ("a_b", false)]);
    assert_eq!(ask!(&mut client, metadata, 9, named(".25.RETRY.25.g")).topics[0].error_code, 0);
    for (name, expected) in [
        ("a%b", error_code::INVALID_TOPIC_EXCEPTION),
        ("..", error_code::INVALID_TOPIC_EXCEPTION),
        ("a.b", error_code::INVALID_TOPIC_EXCEPTION),
        ("a-b", error_code::NONE),
    ] {
        assert_eq!(ask!(&mut client, metadata, 9, named(name)).topics[0].error_code, expected, "{name}");
    }
    // A system topic is there for those who ask for it.
    let delay = ask!(&mut client, metadata, 9, named("SCHEDULE_TOPIC_XXXX"));
    assert_eq!((delay.topics[0].error_code, delay.topics[0].is_internal), (0, true));
}

#[test]
fn ten_thousand_partitions_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for number in 0..10 {
        drop(
            server.broker.create_topic(braid_broker::TopicConfig::new(format!("T{number}"), 1_000)).unwrap(),
        );
    }
    let response = ask!(&mut server.client(), metadata, 12, all_topics());
    let partitions: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!((response.topics.len(), partitions), (10, 10_000));
}

#[test]
fn connections_above_the_limit_are_closed_and_places_come_free_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = braid_edge_kafka::EdgeOptions { connections_max: 2, ..options() };
    let server = Server::start_with(dir.path(), options);
    let (mut first, mut second) = (server.client(), server.client());
    ask!(&mut first, metadata, 1, all_topics());
    ask!(&mut second, metadata, 1, all_topics());
    assert_eq!(server.client().next(), None);
    drop(first);
    server.await_connections(1);
    ask!(&mut server.client(), metadata, 1, all_topics());
}

/// Panics on threads of the edge that no test wanted.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let is_ours = std::thread::current().name().is_some_and(|name| name.starts_with("kafka-"));
        if is_ours && !info.to_string().contains(ON_PURPOSE) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
}

#[test]
fn no_body_of_any_served_request_makes_the_edge_panic() {
    const SEED: u64 = 0x5eed;
    count_panics();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    let request =
        api_versions::Request { client_software_name: "test".into(), client_software_version: "1".into() };
    let served = ask!(&mut server.client(), api_versions, 4, request).api_keys;
    // xorshift64
    let mut state = SEED;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for api in served {
        for version in api.min_version..=api.max_version {
            let mut client = server.client();
            for round in 0..24 {
                // Zeros are empty arrays and nulls, which many decoders take; small numbers are short ones.
                let limit = [1, 3, 256][round % 3];
                let length = random() % 60;
                let body: Vec<u8> = (0..length).map(|_| (random() % limit) as u8).collect();
                let id = client.send_raw(api.api_key, version, &body);
                // Whatever became of it, the next request shows that this connection, or else a new one, is served.
                let probe = client.try_send_raw(keys::METADATA, 0, &[0, 0, 0, 0]);
                let is_served = probe.is_some_and(|probe| client.awaits(&[id, probe]));
                if !is_served {
                    client = server.client();
                    ask!(&mut client, metadata, 0, all_topics());
                }
            }
        }
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "seed {SEED:#x}");
}
