//! Mutated frames of official clients: nothing that a socket delivers may panic, and what is read must survive being written.
//!
//! A plain test with a bounded mutator over the recorded frames. `BRAIDMQ_TEST_SCALE` scales its time: 30 s at 1.0, 0.05 if unset.
//! `BRAIDMQ_TEST_SEED` replays a seed that a failure printed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use braid_wire_rocketmq::body::*;
use braid_wire_rocketmq::frame::{self, Limits};
use braid_wire_rocketmq::header::{self, Scratch};
use braid_wire_rocketmq::pull::PullHeader;
use braid_wire_rocketmq::send::{SendHeader, parse_message_id};
use braid_wire_rocketmq::{Command, Frame, Serialization, batch, command, fastjson};
use bytes::BytesMut;

const FULL_SECONDS: f64 = 30.0;
const SCALE_UNSET: f64 = 0.05;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Pieces that parsers trip over.
const TOKENS: [&[u8]; 20] = [
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"\\u0001",
    b"\\ud83d",
    b"-1",
    b"1e400",
    b"9223372036854775808",
    b"{\"$ref\":\"$\"}",
    b"{\"$ref\":\"..\"}",
    b"\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = at + random.below((bytes.len() - at).min(40) + 1);
        match random.below(7) {
            0 => drop(bytes.drain(at..until)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            3 => drop(bytes.splice(at..until, TOKENS[random.below(TOKENS.len())].iter().copied())),
            4 => {
                let piece = bytes[at..until].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            5 => {
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

/// Cuts `wire` into frames that arrive in two pieces.
fn frames(wire: &[u8], random: &mut Random) -> Vec<Frame> {
    let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
    let (first, second) = wire.split_at(random.below(wire.len() + 1));
    for piece in [first, second] {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match frame::next(&mut buffer, &Limits::default()) {
                Ok(Some(frame)) => {
                    assert_eq!(before - buffer.len(), 8 + frame.header.len() + frame.body.len());
                    out.push(frame);
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "an incomplete frame consumes nothing");
                    break;
                }
                Err(_) => return out,
            }
        }
    }
    out
}

fn headers(frame: &Frame) -> bool {
    let _ = command::peek_code(frame);
    let mut scratches = [Scratch::default(), Scratch::default()];
    let [for_send, for_pull] = &mut scratches;
    let (send, pull) = (SendHeader::scan(frame, for_send), PullHeader::scan(frame, for_pull));
    // The fast readers don't resolve escapes of what they pass over, so they may accept more; where both read, they read the same.
    let Ok(command) = Command::decode(frame) else { return false };
    let field = |name: &str| command.ext_fields.get(name);
    if let Ok(send) = send {
        assert!(
            field("topic") == Some(send.topic) || field("b") == Some(send.topic),
            "{} in {command:?}",
            send.topic
        );
        assert_eq!(send.head, command.head());
    }
    if let Ok(pull) = pull {
        assert_eq!((field("topic"), field("consumerGroup")), (Some(pull.topic), Some(pull.consumer_group)));
        assert_eq!(pull.head, command.head());
    }
    assert_eq!(command::peek_head(frame).as_ref(), Ok(&command.head()));
    let mut wire = BytesMut::new();
    if command.encode(&mut wire).is_ok() {
        let again = frame::next(&mut wire, &Limits::default()).unwrap().expect("a whole frame");
        assert_eq!(Command::decode(&again).as_ref(), Ok(&command));
    }
    let fields = &command.ext_fields;
    let _ = header::SendMessage::from_ext_fields(fields);
    let _ = header::CreateTopic::from_ext_fields(fields);
    let _ = header::RegisterBroker::from_ext_fields(fields);
    for (_, value) in fields.iter() {
        let _ = parse_message_id(value);
    }
    true
}

fn survives<T: Body + PartialEq + std::fmt::Debug>(body: &[u8]) {
    if let Ok(value) = T::decode(body) {
        assert_eq!(T::decode(&value.encode()).as_ref(), Ok(&value));
    }
}

fn bodies(body: &[u8]) {
    let _ = fastjson::parse(body);
    survives::<HeartbeatData>(body);
    survives::<TopicRouteData>(body);
    survives::<LockBatch>(body);
    survives::<ResetOffsetBody>(body);
    survives::<RegisterBrokerBody>(body);
    survives::<SubscriptionGroupTable>(body);
    let _ = RegisterBrokerBody::decode_compressed(body, VERSION_TOPIC_MAPPINGS);
    let entries = batch::entries(body);
    let whole: usize = entries
        .flatten()
        .map(|entry| batch::ENTRY_OVERHEAD_BYTES + entry.body.len() + entry.properties.len())
        .sum();
    assert!(whole <= body.len());
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for recorded in common::recorded() {
        let wire = recorded.wire();
        let mut command = Command::decode(&common::one_frame(&wire)).unwrap();
        command.serialization = Serialization::Rocketmq;
        let mut binary = BytesMut::new();
        command.encode(&mut binary).unwrap();
        corpus.extend([wire, binary.to_vec(), recorded.body]);
    }
    let reset = ResetOffsetBody { offset_table: [(MessageQueue::default(), 1)].into() };
    corpus.push(reset.encode().to_vec());
    let mut register = RegisterBrokerBody::default();
    register.topic_config_serialize_wrapper.topic_config_table.insert("T".into(), TopicConfig::default());
    corpus.push(register.encode_compressed(VERSION_TOPIC_MAPPINGS).to_vec());
    corpus.push(br#"{"a":{"b":[1,{"c":2}]},"d":{"$ref":"$.a.b[1]"},3:{"$ref":"$.a"}}"#.to_vec());
    corpus.retain(|bytes| !bytes.is_empty());
    corpus
}

#[test]
fn mutated_traffic_never_panics() {
    let seed = variable("BRAIDMQ_TEST_SEED").unwrap_or(0x6272_6169_646d_7121);
    let seconds = FULL_SECONDS * variable("BRAIDMQ_TEST_SCALE").unwrap_or(SCALE_UNSET);
    let (corpus, end) = (corpus(), Instant::now() + Duration::from_secs_f64(seconds));
    let (mut runs, mut read, mut random) = (0u64, 0u64, Random(seed));
    println!("seed {seed}, {} inputs, {seconds} s", corpus.len());
    while Instant::now() < end || runs < 1000 {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        mutate(&mut bytes, other, &mut random);
        bodies(&bytes);
        for frame in frames(&bytes, &mut random) {
            read += u64::from(headers(&frame));
            bodies(&frame.body);
        }
        // The prefix is nearly always wrong after a mutation; the header deserves a look whatever it says.
        let header = bytes.get(8..).unwrap_or(&bytes).to_vec();
        let serialization =
            if bytes.get(4) == Some(&1) { Serialization::Rocketmq } else { Serialization::Json };
        read += u64::from(headers(&Frame { serialization, header: header.into(), body: Default::default() }));
        runs += 1;
    }
    println!("{runs} runs, {read} headers still readable");
    assert!(read * 1000 > runs, "mutations that leave almost nothing readable test only the first byte");
}
