//! How many sends per second does a broker acknowledge, and after how long, when `connections` clients each keep `window`
//! sends in flight?
//!
//! ```text
//! load ADDRESS [connections 16] [window 1] [body bytes 1024] [seconds 5]
//! ```
//!
//! Speaks RocketMQ's frames and nothing else, so it measures Apache's broker as well. It shares the machine with the broker:
//! quote its numbers together with the broker's durability mode and the processor time that both took.
#![allow(clippy::unwrap_used, reason = "a measurement that can not go on ends")]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::frame::{self, Limits};
use braid_wire_rocketmq::header::SendMessageV2;
use bytes::BytesMut;

const TOPIC: &str = "LoadTopic";
const QUEUES: i32 = 4;

#[derive(Clone)]
struct Plan {
    address: String,
    window: usize,
    body: Vec<u8>,
    until: Instant,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(default, |text| text.parse().unwrap());
    let (connections, window, bytes, seconds) = (number(1, 16), number(2, 1), number(3, 1_024), number(4, 5));
    let address = args.first().expect("the first argument is the broker's address").clone();
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds as u64);
    let plan = Plan { address, window, body: vec![b'x'; bytes], until };
    let clients: Vec<_> = (0..connections)
        .map(|index| {
            let plan = plan.clone();
            thread::spawn(move || run(&plan, index as i32 % QUEUES))
        })
        .collect();
    let (mut micros, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (times, busy) = client.join().unwrap();
        micros.extend(times);
        refused += busy;
    }
    let elapsed = start.elapsed().as_secs_f64();
    micros.sort_unstable();
    let quantile = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize];
    println!(
        "{connections} connections, {window} in flight each, {bytes} B: {:.0} acknowledged/s, {refused} refused as busy, us p50 {} p99 {} p999 {} max {}",
        micros.len() as f64 / elapsed,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
}

/// Keeps the window full until the time is over; gives each acknowledged send's microseconds, and how many were refused
/// because the disk is slower than the clients.
fn run(plan: &Plan, queue_id: i32) -> (Vec<u64>, usize) {
    let mut stream = TcpStream::connect(&plan.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let header = SendMessageV2 {
        producer_group: "load".into(),
        topic: TOPIC.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: QUEUES,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        properties: Some("UNIQ_KEY\u{1}7F0000016B00518A52617B78DC8B0011\u{2}WAIT\u{1}true\u{2}".into()),
        ..SendMessageV2::default()
    };
    let command = Command {
        ext_fields: header.to_ext_fields(),
        body: plan.body.clone().into(),
        ..Command::request(request::SEND_MESSAGE_V2)
    };
    let mut encoded = BytesMut::new();
    command.encode(&mut encoded).unwrap();
    let (mut sent, mut micros, mut refused) = (VecDeque::new(), Vec::new(), 0);
    let (mut received, mut bytes) = (BytesMut::new(), vec![0; 64 * 1024]);
    let mut out = Vec::new();
    loop {
        let now = Instant::now();
        if now < plan.until {
            out.clear();
            while sent.len() < plan.window {
                out.extend_from_slice(&encoded);
                sent.push_back(now);
            }
            stream.write_all(&out).unwrap();
        } else if sent.is_empty() {
            return (micros, refused);
        }
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the broker closed the connection");
        received.extend_from_slice(&bytes[..count]);
        let now = Instant::now();
        while let Some(frame) = frame::next(&mut received, &Limits::default()).unwrap() {
            let answer = Command::decode(&frame).unwrap();
            let started: Instant = sent.pop_front().unwrap();
            match answer.code {
                response::SUCCESS => micros.push(now.duration_since(started).as_micros() as u64),
                response::SYSTEM_BUSY => refused += 1,
                _ => panic!("{answer:?}"),
            }
        }
    }
}
