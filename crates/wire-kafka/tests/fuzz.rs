//! Mutated requests and responses: nothing that a socket delivers may panic or ask for memory that it does not pay for with bytes, and
//! what is read must survive being written.
//!
//! A plain test with a bounded mutator over bodies of every message and version. `BRAIDMQ_TEST_SCALE` scales its time: 30 s at 1.0, 0.05
//! if unset. `BRAIDMQ_TEST_SEED` replays a seed that a failure printed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use braid_wire_kafka::messages::Message;
use braid_wire_kafka::{Input, RequestHeader, consumer_protocol, fetch, frame, header, keys, produce};
use bytes::BytesMut;
use common::{Body, Check, MODULES, Random, bodies, dispatch, hex};

const FULL_SECONDS: f64 = 30.0;
const SCALE_UNSET: f64 = 0.05;
/// Bodies of each message and version in the corpus.
const BODIES_EACH: usize = 3;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Pieces that parsers trip over: lengths and counts at their ends, endless varints, text that is none.
const TOKENS: [&[u8]; 14] = [
    b"\0\0\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x7f\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\x0f\xff\xff",
    b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x08",
    b"\x80\x80\x80\x80\x80\x01",
    b"\xc3",
    b"\xed\xa0\x80",
];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = at + random.below((bytes.len() - at).min(40) + 1);
        match random.below(8) {
            0 => drop(bytes.drain(at..until)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            3 | 4 => {
                let token = TOKENS[random.below(TOKENS.len())];
                drop(bytes.splice(at..bytes.len().min(at + token.len()), token.iter().copied()));
            }
            5 => {
                let piece = bytes[at..until].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            6 => {
                let from = random.below(other.len());
                let piece = &other[from..(from + 40).min(other.len())];
                drop(bytes.splice(at..until, piece.iter().copied()));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// Writes what it can read, which is never longer than what was read.
#[derive(Default)]
struct Write {
    written: Option<Vec<u8>>,
    /// How many were readable.
    count: u64,
}

impl Check for Write {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]) {
        let mut input = Input::new(bytes);
        let Ok(message) = M::decode(version, &mut input) else { return };
        let mut written = Vec::new();
        message.encode(version, &mut written);
        let read = bytes.len() - input.rest().len();
        assert!(written.len() <= read, "{} {version} grows: {}", M::NAME, hex(bytes));
        self.written = Some(written);
        self.count += 1;
    }
}

/// Reads what was written, and writes the same.
struct Same;

impl Check for Same {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]) {
        let mut input = Input::new(bytes);
        let message = M::decode(version, &mut input).unwrap();
        input.end().unwrap();
        let mut written = Vec::new();
        message.encode(version, &mut written);
        assert_eq!(hex(&written), hex(bytes), "{} {version}", M::NAME);
    }
}

fn read(module: &str, half: &str, version: i16, bytes: &[u8], write: &mut Write) {
    dispatch(module, half, version, bytes, write);
    if let Some(written) = write.written.take() {
        dispatch(module, half, version, &written, &mut Same);
    }
}

fn by_hand(version: i16, bytes: &[u8]) {
    if let Ok(request) = produce::Request::decode(version, &mut Input::new(bytes)) {
        let partitions = request.topics.iter().map(|topic| topic.partitions.iter().count()).sum::<usize>();
        assert!(partitions <= bytes.len());
        for topic in &request.topics {
            assert_eq!(topic.partitions.len(), topic.partitions.iter().count());
            let records = topic.partitions.iter().filter_map(|partition| partition.records);
            assert!(records.map(<[u8]>::len).sum::<usize>() <= bytes.len());
        }
    }
    if let Ok(request) = fetch::Request::decode(version, &mut Input::new(bytes)) {
        assert_eq!(request.topics.len(), request.topics.iter().count());
        let forgotten = request.forgotten.iter().map(|topic| topic.partitions.iter().count()).sum::<usize>();
        assert!(forgotten <= bytes.len());
    }
}

fn embedded(bytes: &[u8]) {
    if let Ok((version, subscription)) = consumer_protocol::decode_subscription(bytes) {
        let version = version.min(consumer_protocol::Subscription::MAX);
        let mut written = Vec::new();
        consumer_protocol::encode_subscription(&subscription, version, &mut written);
        assert_eq!(consumer_protocol::decode_subscription(&written), Ok((version, subscription)));
    }
    if let Ok((version, assignment)) = consumer_protocol::decode_assignment(bytes) {
        let version = version.min(consumer_protocol::Assignment::MAX);
        let mut written = Vec::new();
        consumer_protocol::encode_assignment(&assignment, version, &mut written);
        assert_eq!(consumer_protocol::decode_assignment(&written), Ok((version, assignment)));
    }
}

/// Frames and headers of a stream that arrives in two pieces; each request's body is read as what the header says.
fn stream(wire: &[u8], random: &mut Random, write: &mut Write) {
    let (first, second) = wire.split_at(random.below(wire.len() + 1));
    let mut buffer = BytesMut::new();
    for piece in [first, second] {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match frame::next(&mut buffer, wire.len()) {
                Ok(Some(frame)) => {
                    assert_eq!(before - buffer.len(), frame::PREFIX_BYTES + frame.len());
                    request(&frame, write);
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "an incomplete frame consumes nothing");
                    break;
                }
                Err(_) => return,
            }
        }
    }
}

fn request(frame: &[u8], write: &mut Write) {
    let Ok((head, at)) = header::decode(frame) else { return };
    let mut written = Vec::new();
    header::encode(&head, &mut written);
    assert_eq!(header::decode(&written), Ok((head, written.len())));
    let key = keys::find(head.api_key).unwrap();
    by_hand(head.api_version, &frame[at..]);
    if let Some(module) = MODULES.iter().find(|module| module.replace('_', "") == key.name.to_lowercase()) {
        read(module, "Request", head.api_version, &frame[at..], write);
        read(module, "Response", head.api_version, &frame[at..], write);
    }
}

/// A request or response as a frame with a request's header.
fn framed(body: &Body, bytes: &[u8]) -> Vec<u8> {
    let name = body.module.replace('_', "");
    let key = keys::KEYS.iter().find(|key| key.name.to_lowercase() == name).unwrap();
    let head = RequestHeader {
        api_key: key.key,
        api_version: body.version,
        correlation_id: 7,
        client_id: Some("fuzz"),
    };
    let mut out = Vec::new();
    let start = frame::begin(&mut out);
    header::encode(&head, &mut out);
    out.extend_from_slice(bytes);
    frame::finish(&mut out, start, 0);
    out
}

#[test]
fn mutated_traffic_never_panics() {
    let seed = variable("BRAIDMQ_TEST_SEED").unwrap_or(0x6b61_666b_6121);
    let seconds = FULL_SECONDS * variable("BRAIDMQ_TEST_SCALE").unwrap_or(SCALE_UNSET);
    let mut random = Random(seed);
    let corpus: Vec<_> = MODULES.iter().flat_map(|module| bodies(module, BODIES_EACH, &mut random)).collect();
    println!("seed {seed}, {} inputs, {seconds} s", corpus.len());
    let (end, mut runs, mut write) =
        (Instant::now() + Duration::from_secs_f64(seconds), 0u64, Write::default());
    while Instant::now() < end || runs < 1000 {
        let body = &corpus[random.below(corpus.len())];
        let other = &corpus[random.below(corpus.len())].bytes;
        let plain = if random.below(2) == 0 { &body.bytes } else { &body.with_unknown_tags };
        let mut mutated = plain.clone();
        mutate(&mut mutated, other, &mut random);
        read(&body.module, &body.half, body.version, &mutated, &mut write);
        by_hand(body.version, &mutated);
        embedded(&mutated);
        let mut wire = framed(body, plain);
        mutate(&mut wire, other, &mut random);
        stream(&wire, &mut random, &mut write);
        runs += 1;
    }
    println!("{runs} runs, {} bodies still readable", write.count);
    assert!(write.count * 10 > runs, "mutations that leave almost nothing readable test only the first byte");
}
