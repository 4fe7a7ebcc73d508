//! Topics, groups and cursors: what a restart finds.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::drop_non_drop, reason = "an answer that a test does not wait for")]

mod rig;

use std::collections::BTreeMap;

use braid_broker::{BrokerOptions, Error, GroupConfig, TopicConfig};
use braid_store::{FlushMode, Level, Promise};

use rig::{DELAY_TOPIC, HALF_TOPIC, Rig, TEMPLATE, message};

fn names(rig: &Rig) -> Vec<String> {
    rig.broker.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

fn is_due<T>(rig: &Rig, promise: &Promise<T>) -> bool {
    promise.is_due(rig.broker.store().watermarks())
}

#[test]
fn system_topics_and_groups_exist_from_the_first_start() {
    let mut rig = Rig::new();
    assert_eq!(names(&rig), [HALF_TOPIC, DELAY_TOPIC, TEMPLATE]);
    assert_eq!(rig.broker.topic(DELAY_TOPIC).unwrap().config.queues(), 18);
    assert!(rig.broker.group("TOOLS").is_some());
    let appended = rig.broker.store().watermarks().appended();
    rig.kill();
    assert_eq!(rig.broker.store().watermarks().appended(), appended, "nothing is made twice");
    rig.options.delay = braid_broker::DelayTable::parse(&"1s ".repeat(20)).unwrap();
    rig.kill();
    assert_eq!(rig.broker.topic(DELAY_TOPIC).unwrap().config.queues(), 20, "a queue for each level");
}

#[test]
fn topics_come_change_and_go_and_a_restart_knows() {
    let mut rig = Rig::new();
    let version = rig.broker.topics_version();
    let config = TopicConfig {
        attributes: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..TopicConfig::new("T", 3)
    };
    let promise = rig.broker.create_topic(config.clone()).unwrap();
    assert!(!is_due(&rig, &promise) && promise.level() == Level::Flushed);
    assert!(matches!(rig.broker.create_topic(config.clone()), Err(Error::TopicExists(_))));
    rig.settle();
    let topic = promise.redeem(rig.broker.store().watermarks()).unwrap();
    assert_eq!(rig.broker.topics_version().counter, version.counter + 1);

    let unchanged = rig.broker.put_topic(config.clone()).unwrap();
    assert!(is_due(&rig, &unchanged), "nothing had to be appended");
    assert_eq!(rig.broker.topics_version().counter, version.counter + 1);
    let unchanged = rig.broker.change_topic("T", |config| config.write_queues = 3).unwrap();
    assert!(is_due(&rig, &unchanged), "nothing had to be appended");
    drop(rig.broker.change_topic("T", |config| config.write_queues += 2).unwrap());
    let too_many = rig.broker.change_topic("T", |config| config.write_queues = u32::MAX);
    assert!(matches!(too_many, Err(Error::Invalid(_))));
    assert!(matches!(rig.broker.change_topic("none", |_| ()), Err(Error::NoTopic(_))));
    drop(rig.broker.put_topic(TopicConfig { write_queues: 5, ..config.clone() }).unwrap());
    rig.settle();
    rig.kill();
    let found = rig.broker.topic("T").unwrap();
    assert_eq!((found.number, found.id), (topic.number, topic.id));
    assert_eq!(found.config, TopicConfig { write_queues: 5, ..config });
    assert_eq!(rig.broker.topic_numbered(topic.number).unwrap().name(), "T");

    drop(rig.broker.delete_topic("T").unwrap());
    rig.settle();
    rig.kill();
    assert!(rig.broker.topic("T").is_none() && rig.broker.topic_numbered(topic.number).is_none());
    assert!(matches!(rig.broker.delete_topic("T"), Err(Error::NoTopic(_))));
    assert!(matches!(rig.broker.delete_topic(DELAY_TOPIC), Err(Error::SystemTopic(_))));
}

#[test]
fn a_topic_is_made_on_first_use_after_its_template() {
    let mut rig = Rig::new();
    let topic = rig.broker.topic_or_create("T", TEMPLATE, 4, 1).unwrap();
    assert_eq!((topic.config.queues(), topic.config.inherited, topic.config.sys_flag), (4, false, 1));
    assert_eq!(rig.broker.topic_or_create("U", TEMPLATE, 99, 0).unwrap().config.queues(), 8);
    assert_eq!(rig.broker.topic_or_create("V", TEMPLATE, 0, 0).unwrap().config.queues(), 1);
    for template in ["T", "unknown"] {
        assert!(matches!(rig.broker.topic_or_create("W", template, 4, 0), Err(Error::NoTopic(_))));
    }
    rig.options.auto_create_topics = false;
    rig.settle();
    rig.kill();
    assert!(rig.broker.topic_or_create("T", TEMPLATE, 4, 0).is_ok(), "what exists exists");
    assert!(matches!(rig.broker.topic_or_create("W", TEMPLATE, 4, 0), Err(Error::NoTopic(_))));
}

#[test]
fn names_and_sizes_are_bounded() {
    let options = BrokerOptions { topics_max: 4, queues_per_topic_max: 20, ..BrokerOptions::default() };
    let rig = Rig::with(1, options, FlushMode::Sync);
    let long = "t".repeat(256);
    let heavy = BTreeMap::from([("a".to_owned(), "v".repeat(16 * 1024))]);
    for wrong in [
        TopicConfig::new("", 1),
        TopicConfig::new(long, 1),
        TopicConfig::new("BRAID_SYS_X", 1),
        TopicConfig::new("T", 21),
        TopicConfig { attributes: heavy, ..TopicConfig::new("T", 1) },
    ] {
        assert!(matches!(rig.broker.create_topic(wrong), Err(Error::Invalid(_))));
    }
    assert!(rig.broker.create_topic(TopicConfig::new("t".repeat(255), 20)).is_ok());
    let full = rig.broker.create_topic(TopicConfig::new("T", 1));
    assert!(matches!(full, Err(Error::Limit { what: "topics", max: 4 })));
    assert!(matches!(rig.broker.put_group(GroupConfig::new("")), Err(Error::Invalid(_))));
    assert!(matches!(rig.broker.put_group(GroupConfig::new("g".repeat(256))), Err(Error::Invalid(_))));
    assert!(rig.broker.put_group(GroupConfig::new("g".repeat(255))).is_ok());
}

#[test]
fn groups_come_change_and_go_and_a_restart_knows() {
    let mut rig = Rig::new();
    drop(rig.broker.group_or_create("g").unwrap());
    drop(rig.broker.put_group(GroupConfig { retry_max: 3, ..GroupConfig::new("h") }).unwrap());
    drop(rig.broker.put_group(GroupConfig { retry_max: 4, ..GroupConfig::new("h") }).unwrap());
    rig.settle();
    rig.kill();
    let groups = rig.broker.groups();
    let found: Vec<_> = groups.iter().map(|group| (&group.name[..], group.retry_max)).collect();
    assert_eq!(found, [("TOOLS", 16), ("g", 16), ("h", 4)]);
    let queue = rig.topic("T").queue(0);
    drop(rig.broker.commit("g", queue, 0, true).unwrap());
    drop(rig.broker.commit("h", queue, 0, true).unwrap());
    drop(rig.broker.delete_group("g", true).unwrap());
    drop(rig.broker.delete_group("h", false).unwrap());
    rig.settle();
    rig.kill();
    assert!(rig.broker.group("g").is_none() && rig.broker.group("h").is_none());
    assert_eq!(rig.broker.groups_with_cursors(), ["h"]);
    assert!(matches!(rig.broker.delete_group("g", true), Err(Error::NoGroup(_))));
}

#[test]
fn a_durable_commit_survives_and_the_others_within_their_time() {
    let mut rig = Rig::new();
    let topic = rig.topic("T");
    (0..9).for_each(|n| drop(rig.send("T", n % 2, b"m", b"")));
    let (q0, q1) = (topic.queue(0), topic.queue(1));
    let promise = rig.broker.commit("g", q0, 3, true).unwrap().unwrap();
    assert!(!is_due(&rig, &promise));
    rig.settle();
    assert!(is_due(&rig, &promise));
    assert!(rig.broker.commit("g", q1, 2, false).unwrap().is_none());
    assert_eq!((rig.broker.cursor("g", q0), rig.broker.cursor("g", q1)), (Some(3), Some(2)));
    rig.crash();
    assert_eq!((rig.broker.cursor("g", q0), rig.broker.cursor("g", q1)), (Some(3), None));

    assert!(rig.broker.commit("g", q1, 2, false).unwrap().is_none());
    assert!(rig.broker.commit("h", q1, 1, false).unwrap().is_none());
    rig.clock.advance(500);
    assert!(rig.broker.turn().appended);
    rig.settle();
    assert_eq!(rig.broker.flush_cursors().unwrap(), 0, "nothing is left");
    rig.crash();
    assert_eq!((rig.broker.cursor("g", q1), rig.broker.cursor("h", q1)), (Some(2), Some(1)));
    let of_g: Vec<_> = rig.broker.cursors_of("g").iter().map(|c| (c.queue_id, c.offset)).collect();
    assert_eq!(of_g, [(0, 3), (1, 2)]);
    assert_eq!(rig.broker.groups_of_topic("T"), ["g", "h"]);
    assert_eq!(rig.broker.topics_of_group("g"), ["T"]);
}

#[test]
fn many_cursors_are_few_records_and_the_last_word_counts() {
    let options = BrokerOptions { queues_per_topic_max: 3_000, ..BrokerOptions::default() };
    let mut rig = Rig::with(1, options, FlushMode::Sync);
    let promise = rig.broker.create_topic(TopicConfig::new("T", 3_000)).unwrap();
    rig.settle();
    let topic = promise.redeem(rig.broker.store().watermarks()).unwrap();
    for (group, offset) in [("g", 0), ("h", 0), ("g", 0)] {
        for queue_id in 0..3_000 {
            assert!(rig.broker.commit(group, topic.queue(queue_id), offset, false).unwrap().is_none());
        }
    }
    let before = rig.broker.store().log_range().1.0;
    assert_eq!(rig.broker.flush_cursors().unwrap(), 6_000);
    let bytes = rig.broker.store().log_range().1.0 - before;
    assert!(bytes < 6_000 * 40, "{bytes} bytes for 6,000 cursors");
    rig.settle();
    rig.kill();
    assert_eq!(rig.broker.cursors_of("g").len() + rig.broker.cursors_of("h").len(), 6_000);
}

#[test]
fn a_cursor_above_its_queues_end_is_set_back() {
    let mut rig = Rig::new();
    let queue = rig.topic("T").queue(0);
    (0..3).for_each(|_| drop(rig.send("T", 0, b"m", b"")));
    drop(rig.broker.commit("g", queue, 10, true).unwrap());
    drop(rig.broker.commit("h", queue, 3, true).unwrap());
    rig.settle();
    for _ in 0..2 {
        rig.kill();
        assert_eq!((rig.broker.cursor("g", queue), rig.broker.cursor("h", queue)), (Some(3), Some(3)));
        rig.settle();
    }
}

#[test]
fn groups_that_had_not_read_what_retention_deleted_are_known() {
    let rig = Rig::new();
    let topic = rig.topic("T");
    let body = vec![b'x'; 300_000];
    (0..10).for_each(|_| drop(rig.send("T", 0, &body, b"")));
    for (group, offset) in [("behind", 1), ("done", 10)] {
        drop(rig.broker.commit(group, topic.queue(0), offset, true).unwrap());
    }
    assert!(rig.broker.unread_and_deleted().is_empty());
    rig.clock.advance(73 * 3_600_000);
    for _ in 0..10 {
        rig.settle();
        rig.clock.advance(60_000);
    }
    let first = rig.broker.store().offsets(topic.queue(0)).unwrap().min;
    assert!(first > 1, "retention deleted nothing");
    assert_eq!(rig.broker.unread_and_deleted(), [("behind".to_owned(), first - 1)]);
}

#[test]
fn a_topic_that_is_made_again_has_no_cursors() {
    let mut rig = Rig::new();
    let queue = rig.topic("T").queue(0);
    rig.send("T", 0, b"m", b"");
    drop(rig.broker.commit("g", queue, 1, true).unwrap());
    assert!(rig.broker.commit("h", queue, 1, false).unwrap().is_none());
    drop(rig.broker.delete_topic("T").unwrap());
    assert!(matches!(rig.broker.commit("g", queue, 1, true), Err(Error::NoTopic(_))));
    let again = rig.topic("T").queue(0);
    assert_ne!(queue, again);
    assert_eq!(rig.broker.flush_cursors().unwrap(), 0);
    rig.settle();
    rig.kill();
    assert_eq!(rig.broker.cursor("g", again), None);
    assert_eq!(rig.broker.groups_with_cursors(), [""; 0]);
    assert!(rig.bodies("T").is_empty());
}

#[test]
fn a_reset_is_told_once_and_commits_from_before_are_ignored() {
    let mut rig = Rig::new();
    let queue = rig.topic("T").queue(0);
    (0..9).for_each(|_| drop(rig.send("T", 0, b"m", b"")));
    drop(rig.broker.commit("g", queue, 8, true).unwrap());
    let promise = rig.broker.reset_cursor("g", queue, 2).unwrap();
    rig.settle();
    assert!(is_due(&rig, &promise));
    rig.kill();
    assert!(rig.broker.has_reset("g", queue), "a restart does not forget it");
    assert!(rig.broker.commit("g", queue, 9, true).unwrap().is_none());
    assert_eq!(rig.broker.cursor("g", queue), Some(2));
    assert_eq!(rig.broker.take_reset("g", queue), Some(2));
    assert_eq!(rig.broker.take_reset("g", queue), None);
    assert!(rig.broker.commit("g", queue, 3, true).unwrap().is_some());
    rig.settle();
    rig.kill();
    assert_eq!((rig.broker.cursor("g", queue), rig.broker.has_reset("g", queue)), (Some(3), false));
}

#[test]
fn cursors_are_only_in_queues_that_exist() {
    let rig = Rig::new();
    let topic = rig.topic("T");
    assert!(matches!(
        rig.broker.commit("g", topic.queue(4), 0, true),
        Err(Error::NoQueue { queue_id: 4, queues: 4, .. })
    ));
    assert!(rig.broker.commit("g", topic.queue(3), 0, true).is_ok());
    assert!(matches!(rig.broker.commit("", topic.queue(3), 0, true), Err(Error::Invalid(_))));
}

#[test]
fn sending_is_refused_by_permission_and_queue() {
    let rig = Rig::new();
    assert!(matches!(rig.append("T", 4, message(b"m", b"")), Err(Error::NoQueue { .. })));
    let closed = TopicConfig { writable: false, ..rig.topic("T").config.clone() };
    drop(rig.broker.put_topic(closed).unwrap());
    assert!(matches!(rig.append("T", 0, message(b"m", b"")), Err(Error::NotWritable(_))));
}

#[test]
fn levels_of_acknowledgement_follow_mode_and_wish() {
    for (flush, wait, level) in [
        (FlushMode::Sync, true, Level::Flushed),
        (FlushMode::Sync, false, Level::Written),
        (FlushMode::Async, true, Level::Written),
        (FlushMode::Async, false, Level::Written),
    ] {
        let rig = Rig::with(1, BrokerOptions::default(), flush);
        let topic = rig.topic("T");
        let messages = &[message(b"m", b""), message(b"n", b"")];
        let request =
            braid_broker::SendRequest { topic: &topic, queue_id: 0, messages, store_host: rig::host(), wait };
        let promise = rig.broker.send(&request).unwrap();
        assert_eq!(promise.level(), level, "{flush:?} {wait}");
        assert!(!is_due(&rig, &promise));
        rig.broker.store().write_turn();
        assert_eq!(is_due(&rig, &promise), level == Level::Written);
        rig.settle();
        let sent = promise.redeem(rig.broker.store().watermarks()).unwrap();
        assert_eq!(sent.records.iter().map(|placed| placed.offset).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(rig.broker.stored_in("T").0.messages, 2);
    }
}

/// Two clients of different protocols may ask in the same moment: the question is asked where topics are made.
#[test]
fn a_topic_that_could_not_be_told_from_another_is_not_made() {
    let rig = Rig::new();
    assert!(rig.broker.create_topic(TopicConfig::new("Twin of T", 1)).is_ok());
    let made = rig.broker.create_topic(TopicConfig::new("T", 1));
    assert!(matches!(made, Err(Error::TopicTwin { name, twin }) if name == "T" && twin == "Twin of T"));
    assert!(rig.broker.topic("T").is_none());
}
