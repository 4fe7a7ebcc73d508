//! Topics with a retention of their own, and records that are deleted on request.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod rig;

use braid_broker::{BrokerOptions, Error, TopicConfig, limits};
use braid_store::{FlushMode, QueueKey};

use rig::Rig;

/// A look every second.
fn rig() -> Rig {
    let options = BrokerOptions { retention_interval_ms: 1_000, ..BrokerOptions::default() };
    Rig::with(1, options, FlushMode::Sync)
}

/// Makes a topic of two queues with these attributes, or changes it.
fn put(rig: &Rig, name: &str, attributes: &[(&str, &str)]) -> QueueKey {
    let mut config = TopicConfig::new(name, 2);
    config.attributes = attributes.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
    let promise = rig.broker.put_topic(config).unwrap();
    rig.settle();
    promise.redeem(rig.broker.store().watermarks()).unwrap().queue(0)
}

fn offsets(rig: &Rig, queue: QueueKey) -> (u64, u64) {
    let offsets = rig.broker.store().offsets(queue).unwrap();
    (offsets.min, offsets.max)
}

/// Lets a round go by.
fn round(rig: &Rig) {
    rig.clock.advance(1_000);
    while rig.broker.turn().next_in_ms <= 1 {
        rig.clock.advance(1);
    }
    rig.settle();
}

#[test]
fn records_older_than_the_topic_keeps_them_are_deleted() {
    let mut rig = rig();
    let queue = put(&rig, "Short", &[(limits::RETENTION_MS, "10000")]);
    let other = put(&rig, "Plain", &[]);
    for n in 0..10u8 {
        rig.send("Short", 0, &[n], b"");
        rig.send("Plain", 0, &[n], b"");
        rig.clock.advance(2_000);
    }
    // Sent 20, 18, … 2 seconds ago; a second more when the round is over.
    round(&rig);
    assert_eq!(offsets(&rig, queue), (6, 10));
    assert_eq!(offsets(&rig, other), (0, 10), "a topic without limits keeps what the log keeps");
    round(&rig);
    assert_eq!(offsets(&rig, queue), (6, 10), "what is exactly as old stays");
    round(&rig);
    assert_eq!(offsets(&rig, queue), (7, 10));
    rig.crash();
    assert_eq!(offsets(&rig, queue), (7, 10), "a restart gives nothing back");
    rig.clock.advance(60_000);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (10, 10));
    assert_eq!(rig.send("Short", 0, b"on", b"").records[0].offset, 10);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (10, 11));
}

#[test]
fn a_queue_grows_no_larger_than_its_topic_allows() {
    let rig = rig();
    let record = {
        put(&rig, "Measure", &[]);
        rig.send("Measure", 0, &[7; 100], b"");
        rig.records(rig.topic("Measure").queue(0))[0].len() as u64
    };
    // The name is as long, so the records are.
    let size = (3 * record + 1).to_string();
    let queue = put(&rig, "Limited", &[(limits::RETENTION_BYTES, &size)]);
    for _ in 0..10 {
        rig.send("Limited", 0, &[7; 100], b"");
    }
    rig.send("Limited", 1, &[7; 100], b"");
    round(&rig);
    assert_eq!(offsets(&rig, queue), (7, 10), "three records fit");
    assert_eq!(offsets(&rig, QueueKey { queue_id: 1, ..queue }), (0, 1), "each queue has its own bound");
    put(&rig, "Limited", &[(limits::RETENTION_BYTES, "0")]);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (10, 10), "a change counts in the next round");
    put(&rig, "Limited", &[]);
    rig.send("Limited", 0, &[7; 100], b"");
    round(&rig);
    assert_eq!(offsets(&rig, queue), (10, 11));
}

#[test]
fn a_topic_without_end_keeps_everything() {
    let rig = rig();
    let queue = put(&rig, "Forever", &[(limits::RETENTION_MS, "-1"), (limits::RETENTION_BYTES, "-1")]);
    rig.send("Forever", 0, b"a", b"");
    rig.clock.advance(1_000 * 86_400_000);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (0, 1));
    // One that limits its size alone keeps its messages as long as the log keeps its files: 72 hours.
    let queue = put(&rig, "Sized", &[(limits::RETENTION_BYTES, "1000000")]);
    rig.send("Sized", 0, b"a", b"");
    rig.clock.advance(71 * 3_600_000);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (0, 1));
    rig.clock.advance(3_600_000);
    round(&rig);
    assert_eq!(offsets(&rig, queue), (1, 1));
}

#[test]
fn many_queues_are_looked_at_in_several_turns() {
    let rig = rig();
    let mut config = TopicConfig::new("Wide", 300);
    config.attributes.insert(limits::RETENTION_MS.to_owned(), "1000".to_owned());
    let topic = rig.broker.create_topic(config).unwrap();
    rig.settle();
    let topic = topic.redeem(rig.broker.store().watermarks()).unwrap();
    for queue_id in 0..300 {
        rig.send("Wide", queue_id, b"a", b"");
    }
    rig.clock.advance(5_000);
    round(&rig);
    for queue_id in 0..300 {
        assert_eq!(offsets(&rig, topic.queue(queue_id)), (1, 1), "queue {queue_id}");
    }
}

#[test]
fn files_stay_as_long_as_a_topic_with_a_longer_retention_needs_them() {
    let mut rig = rig();
    let queue = put(&rig, "Long", &[(limits::RETENTION_MS, "864000000")]);
    rig.send("Long", 0, b"kept for ten days", b"");
    let fill = |rig: &Rig, files: u64| {
        let end = (rig.broker.store().log_range().1.0 >> 20) + files;
        while rig.broker.store().log_range().1.0 >> 20 < end {
            rig.send("Plain", 0, &[7; 100_000], b"");
        }
    };
    fill(&rig, 3);
    // Each start says anew which topics have limits.
    rig.kill();
    let keep_house = |rig: &Rig| (0..20).for_each(|_| rig.settle());
    let first = |rig: &Rig| rig.broker.store().log_range().0.0;
    let days = |rig: &Rig, days: u64| {
        for _ in 0..days {
            rig.clock.advance(86_400_000);
            round(rig);
            keep_house(rig);
        }
    };
    days(&rig, 9);
    assert_eq!(first(&rig), 0, "72 hours are over for all that is in there but one");
    assert_eq!(offsets(&rig, queue), (0, 1));
    days(&rig, 2);
    assert_eq!(offsets(&rig, queue), (1, 1));
    assert_eq!(first(&rig), 3 << 20);
    // A topic whose limits end, or that is deleted, holds nothing.
    for ends in [true, false] {
        rig.send("Long", 0, b"kept", b"");
        fill(&rig, 2);
        let before = first(&rig);
        days(&rig, 4);
        assert_eq!(first(&rig), before);
        if ends {
            put(&rig, "Long", &[]);
        } else {
            drop(rig.broker.delete_topic("Long").unwrap());
            rig.settle();
        }
        keep_house(&rig);
        assert!(first(&rig) > before);
        if ends {
            put(&rig, "Long", &[(limits::RETENTION_MS, "864000000")]);
        }
    }
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let mut rig = rig();
    let queue = put(&rig, "T", &[]);
    for n in 0..10u8 {
        rig.send("T", 0, &[n], b"");
    }
    let topic = rig.topic("T");
    let promise = rig.broker.delete_records(&topic, 0, 4).unwrap();
    rig.settle();
    assert_eq!(promise.redeem(rig.broker.store().watermarks()).unwrap(), 4);
    rig.kill();
    assert_eq!(offsets(&rig, queue), (4, 10));
    let promise = rig.broker.delete_records(&topic, 0, 10).unwrap();
    rig.settle();
    assert_eq!(promise.redeem(rig.broker.store().watermarks()).unwrap(), 10);
    rig.crash();
    assert_eq!(offsets(&rig, queue), (10, 10));
    assert!(rig.records(queue).is_empty());
    assert_eq!(rig.send("T", 0, b"on", b"").records[0].offset, 10);
}

#[test]
fn what_cannot_be_deleted_is_refused() {
    let rig = rig();
    put(&rig, "T", &[]);
    rig.send("T", 0, b"a", b"");
    let topic = rig.topic("T");
    let refused = rig.broker.delete_records(&topic, 0, 2);
    assert!(matches!(refused, Err(Error::OffsetOutOfRange { offset: 2, max: 1 })), "{refused:?}");
    assert!(matches!(rig.broker.delete_records(&topic, 1, 1), Err(Error::OffsetOutOfRange { max: 0, .. })));
    assert!(matches!(rig.broker.delete_records(&topic, 2, 0), Err(Error::NoQueue { .. })));
    let nothing = rig.broker.delete_records(&topic, 1, 0).unwrap();
    rig.settle();
    assert_eq!(nothing.redeem(rig.broker.store().watermarks()).unwrap(), 0);
}
