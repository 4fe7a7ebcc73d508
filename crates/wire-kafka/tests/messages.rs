//! Every message in every version: what an interpreter of the schema wrote is read, and written again byte for byte.
//!
//! `BRAIDMQ_TEST_SEED` replays a seed that a failure printed. With `BRAIDMQ_TEST_DUMP` set, the bodies are printed, one a line, so that
//! another implementation can be asked what it thinks of them; `data/kafka-clients-4.3.1.txt` holds some that Kafka's own classes
//! read and wrote again unchanged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Debug;

use braid_wire_kafka::messages::{self, Message};
use braid_wire_kafka::{DecodeError, Input, fetch, keys, produce};
use bytes::Bytes;
use common::{Body, Check, MODULES, Random, bodies, dispatch, hex, unhex};

/// Random bodies of each message and version.
const BODIES_EACH: usize = 30;

fn random() -> Random {
    let seed = std::env::var("BRAIDMQ_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4_3_1);
    println!("seed {seed}");
    Random(seed)
}

fn decode<'a, M: Message<'a>>(version: i16, bytes: &'a [u8]) -> Result<M, DecodeError> {
    let mut input = Input::new(bytes);
    let message = M::decode(version, &mut input)?;
    input.end()?;
    Ok(message)
}

fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(version, &mut out);
    out
}

/// What was read is written again byte for byte, and no shorter piece of it is a body.
struct Same;

impl Check for Same {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]) {
        let read = decode::<M>(version, bytes);
        let message = read.unwrap_or_else(|error| panic!("{} {version}: {error}: {}", M::NAME, hex(bytes)));
        assert_eq!(hex(&encode(&message, version)), hex(bytes), "{} {version}: {message:?}", M::NAME);
        let early = (0..bytes.len()).find(|end| decode::<M>(version, &bytes[..*end]).is_ok());
        assert_eq!(early, None, "{} {version} ends early: {}", M::NAME, hex(bytes));
    }
}

/// What was read in one version can be written in every other; what those have of it is read again.
struct InOtherVersions;

impl Check for InOtherVersions {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]) {
        let message = decode::<M>(version, bytes).unwrap();
        for other in M::MIN..=M::MAX {
            survives(&message, other, M::NAME);
        }
    }
}

/// Defaults survive every version; those beside the range do not exist.
struct Defaults;

impl Check for Defaults {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, _: i16, _: &'a [u8]) {
        for version in M::MIN..=M::MAX {
            survives(&M::default(), version, M::NAME);
        }
        for version in [M::MIN - 1, M::MAX + 1, i16::MIN, i16::MAX] {
            assert_eq!(decode::<M>(version, &[]), Err(DecodeError::Version(version)), "{}", M::NAME);
        }
        let key = keys::find(M::KEY.unwrap()).unwrap();
        assert!(M::NAME.starts_with(key.name));
        assert_eq!((M::MIN, M::MAX, M::FLEXIBLE), (key.min, key.max, key.flexible), "{}", M::NAME);
    }
}

fn survives<'a, M: Message<'a> + PartialEq + Debug>(message: &M, version: i16, name: &str) {
    // Leaked: `M` borrows for as long as the body it was made from, and a test's bodies are small.
    let written: &'static [u8] = encode(message, version).leak();
    let read = decode::<M>(version, written).unwrap_or_else(|error| panic!("{name} {version}: {error}"));
    assert_eq!(hex(&encode(&read, version)), hex(written), "{name} {version}: {message:?}");
}

/// The first body of two is read as the second, which has no tags of the future.
struct Alike<'b>(&'b [u8]);

impl Check for Alike<'_> {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]) {
        let plain: &'static [u8] = self.0.to_vec().leak();
        assert_eq!(decode::<M>(version, bytes), decode::<M>(version, plain), "{} {version}", M::NAME);
    }
}

fn check_all(mut check: impl FnMut(&Body)) {
    let mut random = random();
    for module in MODULES {
        bodies(module, BODIES_EACH, &mut random).iter().for_each(&mut check);
    }
}

#[test]
fn every_schema_is_tested() {
    assert_eq!(common::modules(), MODULES);
}

#[test]
fn every_version_is_read_and_written() {
    let dump = std::env::var_os("BRAIDMQ_TEST_DUMP").is_some();
    check_all(|Body { module, half, version, bytes, .. }| {
        if dump {
            println!("body {module} {half} {version} {}", hex(bytes));
        }
        dispatch(module, half, *version, bytes, &mut Same);
    });
}

#[test]
fn every_version_can_be_written_as_any_other() {
    check_all(|body| dispatch(&body.module, &body.half, body.version, &body.bytes, &mut InOtherVersions));
}

#[test]
fn unknown_tags_are_passed_over() {
    check_all(|body| {
        dispatch(&body.module, &body.half, body.version, &body.with_unknown_tags, &mut Alike(&body.bytes));
    });
}

#[test]
fn defaults_survive_and_versions_are_those_of_the_keys() {
    for module in MODULES {
        dispatch(module, "Request", 0, &[], &mut Defaults);
        dispatch(module, "Response", 0, &[], &mut Defaults);
    }
}

/// Kafka's own classes have read these and written them again unchanged.
#[test]
fn bodies_that_kafka_has_read() {
    let lines: Vec<_> = include_str!("data/kafka-clients-4.3.1.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .collect();
    let mut versions = 0;
    for line in &lines {
        let &[module, half, version, bytes] = line.as_slice() else { panic!("{line:?}") };
        dispatch(module, half, version.parse().unwrap(), &unhex(bytes), &mut Same);
        versions += 1;
    }
    let all: i16 = MODULES.iter().map(|module| count_versions(module)).sum();
    assert_eq!(versions, all, "one of each message and version");
}

fn count_versions(module: &str) -> i16 {
    struct Count(i16);
    impl Check for Count {
        fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, _: i16, _: &'a [u8]) {
            self.0 += M::MAX - M::MIN + 1;
        }
    }
    let mut count = Count(0);
    dispatch(module, "Request", 0, &[], &mut count);
    dispatch(module, "Response", 0, &[], &mut count);
    count.0
}

fn bodies_of(module: &str, wanted: &str) -> Vec<Body> {
    let mut found = bodies(module, BODIES_EACH, &mut random());
    found.retain(|body| body.half == wanted);
    found
}

fn topic<'a>(by_id: bool, name: &'a str, id: [u8; 16]) -> produce::TopicRef<'a> {
    if by_id { produce::TopicRef::Id(id) } else { produce::TopicRef::Name(name) }
}

#[test]
fn produce_requests_by_hand_are_those_of_the_schema() {
    for body in bodies_of("produce", "Request") {
        let generated: messages::produce::Request<'_> = decode(body.version, &body.bytes).unwrap();
        let mut input = Input::new(&body.with_unknown_tags);
        let by_hand = produce::Request::decode(body.version, &mut input).unwrap();
        input.end().unwrap();
        assert_eq!(by_hand.transactional_id, generated.transactional_id.as_deref());
        assert_eq!((by_hand.acks, by_hand.timeout_ms), (generated.acks, generated.timeout_ms));
        assert_eq!(by_hand.topics.len(), generated.topic_data.len());
        for (by_hand, generated) in by_hand.topics.iter().zip(&generated.topic_data) {
            assert_eq!(by_hand.topic, topic(body.version >= 13, &generated.name, generated.topic_id));
            let partitions = by_hand.partitions.iter().map(|partition| (partition.index, partition.records));
            let expected = generated
                .partition_data
                .iter()
                .map(|partition| (partition.index, partition.records.as_deref()));
            assert!(partitions.eq(expected), "{generated:?}");
        }
        for end in 0..body.bytes.len() {
            let read = produce::Request::decode(body.version, &mut Input::new(&body.bytes[..end]));
            assert!(read.is_err(), "{end} of {}", hex(&body.bytes));
        }
    }
    for version in [0, 2, 14] {
        let read = produce::Request::decode(version, &mut Input::new(&[0; 64]));
        assert_eq!(read, Err(DecodeError::Version(version)));
    }
}

#[test]
fn produce_responses_by_hand_are_those_of_the_schema() {
    for body in bodies_of("produce", "Response") {
        let version = body.version;
        let generated: messages::produce::Response<'_> = decode(version, &body.bytes).unwrap();
        let mut out = Vec::new();
        let mut writer = produce::ResponseWriter::begin(&mut out, version, generated.responses.len());
        for response in &generated.responses {
            let reference = topic(version >= 13, &response.name, response.topic_id);
            writer.topic(reference, response.partition_responses.len());
            for partition in &response.partition_responses {
                let leader = &partition.current_leader;
                let errors: Vec<_> = partition
                    .record_errors
                    .iter()
                    .map(|error| produce::RecordError {
                        batch_index: error.batch_index,
                        message: error.batch_index_error_message.as_deref(),
                    })
                    .collect();
                writer.partition(&produce::ResponsePartition {
                    index: partition.index,
                    error_code: partition.error_code,
                    base_offset: partition.base_offset,
                    log_append_time_ms: partition.log_append_time_ms,
                    log_start_offset: partition.log_start_offset,
                    record_errors: &errors,
                    error_message: partition.error_message.as_deref(),
                    current_leader: (*leader != Default::default())
                        .then_some(produce::Leader { id: leader.leader_id, epoch: leader.leader_epoch }),
                });
            }
        }
        let endpoints: Vec<_> = generated
            .node_endpoints
            .iter()
            .map(|node| produce::NodeEndpoint {
                node_id: node.node_id,
                host: &node.host,
                port: node.port,
                rack: node.rack.as_deref(),
            })
            .collect();
        writer.end(generated.throttle_time_ms, &endpoints);
        assert_eq!(hex(&out), hex(&body.bytes), "{version}: {generated:?}");
    }
}

#[test]
fn fetch_requests_by_hand_are_those_of_the_schema() {
    for body in bodies_of("fetch", "Request") {
        let generated: messages::fetch::Request<'_> = decode(body.version, &body.bytes).unwrap();
        let mut input = Input::new(&body.with_unknown_tags);
        let by_hand = fetch::Request::decode(body.version, &mut input).unwrap();
        input.end().unwrap();
        let by_id = body.version >= 13;
        let replica =
            if body.version < 15 { generated.replica_id } else { generated.replica_state.replica_id };
        assert_eq!(by_hand.replica_id, replica);
        assert_eq!(
            (by_hand.max_wait_ms, by_hand.min_bytes, by_hand.max_bytes, by_hand.isolation_level),
            (generated.max_wait_ms, generated.min_bytes, generated.max_bytes, generated.isolation_level)
        );
        assert_eq!(
            (by_hand.session_id, by_hand.session_epoch, by_hand.rack_id),
            (generated.session_id, generated.session_epoch, &*generated.rack_id)
        );
        assert_eq!(by_hand.topics.len(), generated.topics.len());
        for (by_hand, generated) in by_hand.topics.iter().zip(&generated.topics) {
            assert_eq!(by_hand.topic, topic(by_id, &generated.topic, generated.topic_id));
            let expected = generated.partitions.iter().map(|partition| fetch::Partition {
                index: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
            });
            assert!(by_hand.partitions.iter().eq(expected), "{generated:?}");
        }
        assert_eq!(by_hand.forgotten.len(), generated.forgotten_topics_data.len());
        for (by_hand, generated) in by_hand.forgotten.iter().zip(&generated.forgotten_topics_data) {
            assert_eq!(by_hand.topic, topic(by_id, &generated.topic, generated.topic_id));
            assert!(by_hand.partitions.iter().eq(generated.partitions.iter().copied()));
        }
        for end in 0..body.bytes.len() {
            let read = fetch::Request::decode(body.version, &mut Input::new(&body.bytes[..end]));
            assert!(read.is_err(), "{end} of {}", hex(&body.bytes));
        }
    }
}

/// Writes a response as the broker does, the records of each partition in slices of up to `slice_bytes`.
fn fetch_response(
    generated: &messages::fetch::Response<'_>,
    version: i16,
    slice_bytes: usize,
) -> fetch::Response {
    let head = fetch::ResponseHead {
        throttle_time_ms: generated.throttle_time_ms,
        error_code: generated.error_code,
        session_id: generated.session_id,
        topics: generated.responses.len(),
    };
    let mut writer = fetch::ResponseWriter::begin(77, version, &head);
    for response in &generated.responses {
        writer.topic(topic(version >= 13, &response.topic, response.topic_id), response.partitions.len());
        for partition in &response.partitions {
            let aborted = partition.aborted_transactions.as_ref().map(|list| {
                let each = list.iter().map(|aborted| fetch::AbortedTransaction {
                    producer_id: aborted.producer_id,
                    first_offset: aborted.first_offset,
                });
                each.collect::<Vec<_>>()
            });
            let (leader, diverging) = (&partition.current_leader, &partition.diverging_epoch);
            let head = fetch::ResponsePartition {
                index: partition.partition_index,
                error_code: partition.error_code,
                high_watermark: partition.high_watermark,
                last_stable_offset: partition.last_stable_offset,
                log_start_offset: partition.log_start_offset,
                aborted: aborted.as_deref(),
                preferred_read_replica: partition.preferred_read_replica,
                diverging_epoch: (*diverging != Default::default())
                    .then_some(fetch::EpochEnd { epoch: diverging.epoch, end_offset: diverging.end_offset }),
                current_leader: (*leader != Default::default())
                    .then_some(fetch::Leader { id: leader.leader_id, epoch: leader.leader_epoch }),
            };
            let records = Bytes::copy_from_slice(partition.records.as_deref().unwrap_or_default());
            let starts = (0..records.len()).step_by(slice_bytes);
            let slices = starts.map(|at| records.slice(at..records.len().min(at + slice_bytes)));
            writer.partition(&head, slices.collect::<Vec<_>>());
        }
    }
    let endpoints: Vec<_> = generated
        .node_endpoints
        .iter()
        .map(|node| fetch::NodeEndpoint {
            node_id: node.node_id,
            host: &node.host,
            port: node.port,
            rack: node.rack.as_deref(),
        })
        .collect();
    writer.end(&endpoints)
}

#[test]
fn fetch_responses_by_hand_are_those_of_the_schema() {
    for (at, body) in bodies_of("fetch", "Response").iter().enumerate() {
        let version = body.version;
        let mut generated: messages::fetch::Response<'_> = decode(version, &body.bytes).unwrap();
        let partitions = generated.responses.iter_mut().flat_map(|response| &mut response.partitions);
        let mut large = 0;
        for (number, partition) in partitions.enumerate() {
            // A broker sends no snapshots, and records that are empty, never null. Every third answer has slices that are not copied.
            partition.snapshot_id = Default::default();
            let mut records = partition.records.take().unwrap_or_default().into_owned();
            if at % 3 == 0 && number % 2 == 0 {
                records.resize(3 * fetch::COPIED_BYTES_MAX + number, number as u8);
                large += 1;
            }
            partition.records = Some(records.into());
        }
        let response = fetch_response(&generated, version, 2 * fetch::COPIED_BYTES_MAX);
        let chunks: Vec<_> = response.chunks().collect();
        assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
        assert!(chunks.len() > large, "{large} slices that are not copied, {} chunks", chunks.len());
        let wire = chunks.concat();
        assert_eq!(response.bytes(), wire.len());
        let mut expected = (wire.len() as i32 - 4).to_be_bytes().to_vec();
        expected.extend(77i32.to_be_bytes());
        expected.extend((version >= 12).then_some(0));
        expected.extend(encode(&generated, version));
        assert_eq!(hex(&wire), hex(&expected), "{version}: {generated:?}");
    }
}

#[test]
fn slices_of_the_log_are_not_copied() {
    let records = Bytes::from(vec![7; 2 * fetch::COPIED_BYTES_MAX]);
    let head = fetch::ResponseHead { throttle_time_ms: 0, error_code: 0, session_id: 0, topics: 1 };
    let mut writer = fetch::ResponseWriter::begin(1, 12, &head);
    writer.topic(fetch::TopicRef::Name("t"), 1);
    writer.partition(&fetch::ResponsePartition::refused(0, 0), [records.clone(), records.slice(..5)]);
    let response = writer.end(&[]);
    let chunks: Vec<_> = response.chunks().collect();
    assert_eq!(chunks.len(), 3, "head, the long slice, and the short one within the end");
    assert_eq!(chunks[1].as_ptr(), records.as_ptr());
}

#[test]
#[should_panic(expected = "topics and partitions that the answer lacks")]
fn an_answer_with_less_than_it_promised_is_a_bug() {
    let mut out = Vec::new();
    produce::ResponseWriter::begin(&mut out, 9, 1).end(0, &[]);
}
