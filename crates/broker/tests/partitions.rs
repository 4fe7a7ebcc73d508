//! Thousands of queues: making them costs one record, and asking for all their offsets takes no lock for long.
//!
//! The times are bounds that a busy machine keeps, far above what is measured; each run prints what it took.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod rig;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use braid_broker::TopicConfig;

use rig::{Rig, message};

/// What a topic of 5,000 queues, or 5,000 topics, may take.
const MAKING_MAX: Duration = Duration::from_secs(1);

fn took(what: &str, started: Instant) -> Duration {
    let took = started.elapsed();
    println!("{what}: {took:?}");
    took
}

#[test]
fn five_thousand_queues_are_made_in_a_second() {
    let rig = Rig::new();
    let started = Instant::now();
    let promise = rig.broker.create_topic(TopicConfig::new("Wide", 5_000)).unwrap();
    rig.settle();
    let wide = promise.redeem(rig.broker.store().watermarks()).unwrap();
    assert!(took("one topic of 5,000 queues", started) < MAKING_MAX);
    assert_eq!(wide.config.queues(), 5_000);

    let started = Instant::now();
    let promises: Vec<_> = (0..5_000)
        .map(|n| rig.broker.create_topic(TopicConfig::new(format!("topic-{n}"), 1)).unwrap())
        .collect();
    rig.settle();
    let marks = rig.broker.store().watermarks();
    assert!(promises.into_iter().all(|promise| promise.redeem(marks).is_ok()));
    assert!(took("5,000 topics of one queue", started) < MAKING_MAX);
}

/// Senders go on while queues are made, and none waits for all of them.
#[test]
fn making_queues_stalls_no_sender() {
    let rig = Rig::new();
    rig.topic("T");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (mut sent, mut longest) = (0_u64, Duration::ZERO);
            while !done.load(Ordering::Acquire) || sent == 0 {
                let started = Instant::now();
                drop(rig.append("T", 0, message(b"a", b"")).unwrap());
                longest = longest.max(started.elapsed());
                sent += 1;
                // The bound on what waits for the flush is not what is tested here.
                rig.broker.store().write_turn();
                rig.broker.store().flush_turn();
            }
            (sent, longest)
        });
        let started = Instant::now();
        for n in 0..2_000 {
            drop(rig.broker.create_topic(TopicConfig::new(format!("Wide-{n}"), 5_000)).unwrap());
        }
        took("2,000 topics of 5,000 queues beside a sender", started);
        done.store(true, Ordering::Release);
        let (sent, longest) = sender.join().unwrap();
        println!("the sender's longest append of {sent}: {longest:?}");
        assert!(longest < MAKING_MAX);
    });
}

#[test]
fn the_offsets_of_ten_thousand_queues_are_read_at_once() {
    let rig = Rig::new();
    let promise = rig.broker.create_topic(TopicConfig::new("Wide", 10_000)).unwrap();
    rig.settle();
    let wide = promise.redeem(rig.broker.store().watermarks()).unwrap();
    for queue_id in (0..10_000).step_by(2) {
        drop(rig.append("Wide", queue_id, message(b"a", b"")).unwrap());
    }
    rig.settle();
    let started = Instant::now();
    let offsets = (0..10_000).map(|queue_id| rig.broker.store().offsets(wide.queue(queue_id)));
    let sum: u64 = offsets.map(|offsets| offsets.map_or(0, |offsets| offsets.max)).sum();
    assert_eq!(sum, 5_000);
    assert!(took("offsets of 10,000 queues", started) < MAKING_MAX);
    let started = Instant::now();
    let ends: u64 = (0..10_000).map(|queue_id| rig.broker.store().log_end(wide.queue(queue_id))).sum();
    assert_eq!(ends, 5_000);
    assert!(took("log ends of 10,000 queues", started) < MAKING_MAX);
    let started = Instant::now();
    assert_eq!(rig.broker.store().queues(wide.number).len(), 5_000);
    assert!(took("all queues of the topic", started) < MAKING_MAX);
}
