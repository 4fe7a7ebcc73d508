//! Messages that come back: tried again, dead, or redirected.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::drop_non_drop, reason = "an answer that a test does not wait for")]

mod rig;

use braid_broker::{Error, GroupConfig, Resend, SendBack, SentBack};
use braid_record::{RecordView, id, property};
use braid_store::Position;

use rig::{DELAY_TOPIC, Rig, host, pairs, properties, view};

fn back(position: Position, delay_level: i32) -> SendBack<'static> {
    SendBack { group: "g", position, source: None, delay_level, retry_max: None, store_host: host() }
}

fn property_of(rig: &Rig, topic: &str, name: &str) -> Option<String> {
    rig.all(topic).last().and_then(|record| view(record).property(name).map(str::to_owned))
}

/// The position of the newest record in a topic.
fn newest(rig: &Rig, topic: &str) -> Position {
    rig.all(topic).iter().map(|record| Position(view(record).position())).max().unwrap()
}

#[test]
fn a_message_comes_back_with_its_first_topic_and_id_and_later_each_time() {
    let rig = Rig::new();
    let sent = rig.send("T", 1, b"hello", &properties(&[("TAGS", "a"), ("WAIT", "true")]));
    let origin = id::message_id(host(), sent.records[0].position.0);
    let mut position = sent.records[0].position;
    for (times, level) in [(1, 3), (2, 4), (3, 5)] {
        let (became, promise) = rig.broker.send_back(&back(position, 0)).unwrap();
        assert_eq!(became, SentBack::Retried { delay_level: level });
        rig.settle();
        assert!(promise.unwrap().is_due(rig.broker.store().watermarks()));
        assert!(rig.all("RETRY-g").len() < times as usize, "it waits");
        rig.clock.advance(rig.broker.delay_table().milliseconds(level));
        rig.deliver();
        let records = rig.all("RETRY-g");
        assert_eq!(records.len(), times as usize);
        let record = records.last().unwrap();
        let level = level.to_string();
        let mut expected = vec![
            ("ORIGIN_MESSAGE_ID", &origin[..]),
            ("REAL_QID", "0"),
            ("REAL_TOPIC", "RETRY-g"),
            ("RETRY_TOPIC", "T"),
            ("TAGS", "a"),
            ("WAIT", "false"),
        ];
        expected.sort_unstable();
        let found = pairs(record);
        let found: Vec<_> = found.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(found, expected, "level {level}");
        let record = view(record);
        assert_eq!((record.reconsume_times(), record.body(), record.flag()), (times, &b"hello"[..], 7));
        assert_eq!(record.born_timestamp(), rig::START_MS - 1);
        position = newest(&rig, "RETRY-g");
    }
}

/// The checksum is the codec's and closes the record, however often the broker writes the message anew.
#[test]
fn what_is_sent_back_and_delivered_late_ends_with_its_checksum() {
    let rig = Rig::new();
    let given = properties(&[("KEYS", "k"), ("DELAY", "2")]);
    rig.send("T", 0, b"late", &given);
    rig.clock.advance(5_000);
    rig.deliver();
    let delivered = newest(&rig, "T");
    let (became, _) = rig.broker.send_back(&back(delivered, 0)).unwrap();
    assert_eq!(became, SentBack::Retried { delay_level: 3 });
    rig.settle();
    rig.clock.advance(10_000);
    rig.deliver();
    let retried = newest(&rig, "RETRY-g");
    let (became, _) = rig.broker.send_back(&back(retried, -1)).unwrap();
    assert_eq!(became, SentBack::DeadLettered);
    rig.settle();
    for (topic, count) in [(DELAY_TOPIC, 2), ("T", 1), ("RETRY-g", 1), ("DEAD-g", 1)] {
        let records = rig.all(topic);
        assert_eq!(records.len(), count, "{topic}");
        for record in &records {
            let position = view(record).position();
            let checked = RecordView::check(record, position, true).expect(topic);
            let names: Vec<&[u8]> = property::iter(checked.properties()).map(|(name, _)| name).collect();
            let crc = property::CRC32.as_bytes();
            assert_eq!(names.last(), Some(&crc), "{topic}");
            assert_eq!(names.iter().filter(|name| **name == crc).count(), 1, "{topic}");
            let mut flipped = record.to_vec();
            let last = flipped.len() - property::CRC32.len() - 13;
            flipped[last] ^= 1;
            assert!(
                RecordView::check(&flipped, position, true).is_err(),
                "{topic}: the checksum covers the record"
            );
        }
    }
}

#[test]
fn a_message_dies_when_it_was_tried_enough_or_when_asked() {
    let rig = Rig::new();
    let position = rig.send("T", 0, b"m", b"").records[0].position;
    for (delay_level, retry_max, became) in [
        (-1, None, SentBack::DeadLettered),
        (0, Some(0), SentBack::DeadLettered),
        (0, Some(1), SentBack::Retried { delay_level: 3 }),
        (7, None, SentBack::Retried { delay_level: 7 }),
        (99, None, SentBack::Retried { delay_level: 18 }),
    ] {
        let request = SendBack { retry_max, ..back(position, delay_level) };
        assert_eq!(rig.broker.send_back(&request).unwrap().0, became, "{delay_level} {retry_max:?}");
    }
    rig.settle();
    assert_eq!(rig.all("DEAD-g").len(), 2);
    assert_eq!(property_of(&rig, "DEAD-g", "DELAY").as_deref(), Some("0"));
    assert_eq!(property_of(&rig, "DEAD-g", "WAIT").as_deref(), Some("false"));
    assert_eq!(property_of(&rig, "DEAD-g", "RETRY_TOPIC").as_deref(), Some("T"));
    let dead = rig.broker.topic("DEAD-g").unwrap();
    assert_eq!((dead.config.queues(), dead.config.readable, dead.config.writable), (1, true, true));
}

/// 16 tries by default: the message is handed out 17 times, and dies with the 17th return.
#[test]
fn the_sixteenth_retry_is_the_last() {
    let rig = Rig::new();
    let mut position = rig.send("T", 0, b"m", b"").records[0].position;
    for times in 0..16 {
        let (became, _) = rig.broker.send_back(&back(position, 0)).unwrap();
        assert_eq!(became, SentBack::Retried { delay_level: (3 + times).min(18) });
        rig.settle();
        rig.clock.advance(3 * 3_600_000);
        rig.deliver();
        position = newest(&rig, "RETRY-g");
    }
    assert_eq!(rig.broker.send_back(&back(position, 0)).unwrap().0, SentBack::DeadLettered);
    rig.settle();
    let dead = rig.all("DEAD-g");
    assert_eq!(dead.len(), 1);
    assert_eq!(view(&dead[0]).reconsume_times(), 17);
    assert_eq!(rig.all("RETRY-g").len(), 16);
}

#[test]
fn a_group_without_retry_queues_drops_and_a_wrong_name_is_refused() {
    let rig = Rig::new();
    let position = rig.send("T", 0, b"m", b"").records[0].position;
    let wrong = back(Position(position.0 + 1), 0);
    assert!(matches!(rig.broker.send_back(&wrong), Err(Error::NoRecord(_))));
    // A record of the store's own topics is no message: the first one of the log is state.
    assert!(matches!(rig.broker.send_back(&back(Position(0), 0)), Err(Error::NoRecord(0))));
    drop(rig.broker.put_group(GroupConfig { retry_queues: 0, ..GroupConfig::new("g") }).unwrap());
    let (became, promise) = rig.broker.send_back(&back(position, 0)).unwrap();
    assert_eq!(became, SentBack::Dropped);
    assert!(promise.is_none());
    rig.settle();
    assert!(rig.all(DELAY_TOPIC).is_empty() && rig.all("DEAD-g").is_empty());
}

#[test]
fn an_unknown_group_is_made_or_refused() {
    let mut rig = Rig::new();
    let position = rig.send("T", 0, b"m", b"").records[0].position;
    rig.options.auto_create_groups = false;
    rig.kill();
    assert!(matches!(rig.broker.send_back(&back(position, 0)), Err(Error::NoGroup(_))));
    rig.options.auto_create_groups = true;
    rig.kill();
    assert!(rig.broker.send_back(&back(position, 0)).is_ok());
    assert_eq!(rig.broker.group("g").unwrap().retry_max, 16);
}

#[test]
fn a_resend_goes_to_the_dead_beyond_the_limit_or_while_queues_are_locked() {
    let rig = Rig::new();
    let goes = |times, max| match rig.broker.resend("g", times, max).unwrap() {
        Resend::Retry(topic) | Resend::DeadLetter(topic) => topic.name().to_owned(),
    };
    assert_eq!(goes(16, None), "RETRY-g");
    assert_eq!(goes(17, None), "DEAD-g");
    assert_eq!(goes(2, Some(2)), "RETRY-g");
    assert_eq!(goes(3, Some(2)), "DEAD-g");
    let queue = rig.topic("T").queue(0);
    assert_eq!(rig.broker.lock_queues("g", "c", &[queue]), [queue]);
    assert_eq!(goes(0, None), "DEAD-g");
    rig.clock.advance(60_000);
    assert_eq!(goes(0, None), "RETRY-g");
}
