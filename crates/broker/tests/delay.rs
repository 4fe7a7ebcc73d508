//! Delay levels: to the millisecond, never early, never twice.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::drop_non_drop, reason = "an answer that a test does not wait for")]

mod rig;

use std::collections::BTreeMap;

use braid_broker::{BrokerOptions, DelayTable, Error, Message, SendRequest};
use braid_io::{Clock, Rng};
use braid_record::property;
use braid_store::{FlushMode, Level};

use rig::{DELAY_TOPIC, HALF_TOPIC, Rig, host, message, pairs, properties, view};

fn delayed(level: i64) -> Vec<u8> {
    properties(&[("DELAY", &level.to_string())])
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_delayed_message_waits_with_its_real_place_in_its_properties() {
    let rig = Rig::new();
    let given = properties(&[("KEYS", "k"), ("DELAY", "3"), ("TIMER_DELAY_SEC", "9"), ("TIMER_X", "1")]);
    let sent = rig.send("T", 2, b"hello", &given);
    assert_eq!((sent.delay_level, sent.records[0].offset), (Some(3), 0));
    let level_3 = rig.broker.topic(DELAY_TOPIC).unwrap().queue(2);
    let waiting = &rig.records(level_3)[0];
    let expected = [("DELAY", "3"), ("KEYS", "k"), ("REAL_QID", "2"), ("REAL_TOPIC", "T"), ("TIMER_X", "1")];
    assert_eq!(pairs(waiting), owned(&expected));
    assert!(rig.all("T").is_empty());

    rig.clock.advance(10_000);
    rig.deliver();
    let topic = rig.broker.topic("T").unwrap();
    let copy = &rig.records(topic.queue(2))[0];
    let expected = [("KEYS", "k"), ("REAL_QID", "2"), ("REAL_TOPIC", "T"), ("TIMER_X", "1")];
    assert_eq!(pairs(copy), owned(&expected), "no mark of ours is on the copy");
    let (copy, waiting) = (view(copy), view(waiting));
    assert_eq!(copy.body(), b"hello");
    assert_eq!((copy.flag(), copy.born_timestamp()), (waiting.flag(), waiting.born_timestamp()));
    assert_eq!((copy.born_host(), copy.store_host()), (waiting.born_host(), waiting.store_host()));
    assert_eq!(copy.store_timestamp(), waiting.store_timestamp() + 10_000);
}

#[test]
fn levels_are_clamped_above_and_ignored_from_zero_down() {
    let rig = Rig::new();
    for (level, queue) in [("1", Some(0)), ("18", Some(17)), ("99", Some(17)), ("99999999999", Some(17))] {
        let sent = rig.send("T", 0, level.as_bytes(), &properties(&[("DELAY", level)]));
        assert_eq!(sent.delay_level, queue.map(|queue| queue + 1), "{level}");
    }
    let last = rig.broker.topic(DELAY_TOPIC).unwrap().queue(17);
    let levels =
        rig.records(last).iter().map(|r| view(r).property("DELAY").unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(levels, ["18"; 3], "the stored level is the clamped one");
    for level in ["0", "-1", "x", ""] {
        let sent = rig.send("T", 0, level.as_bytes(), &properties(&[("DELAY", level)]));
        assert_eq!(sent.delay_level, None, "{level}");
    }
    assert_eq!(rig.bodies("T"), ["0", "-1", "x", ""]);
}

#[test]
fn several_messages_at_once_have_no_delay_level() {
    let rig = Rig::new();
    let topic = rig.topic("T");
    let late = delayed(1);
    let messages = [message(b"a", b""), message(b"b", &late)];
    let request =
        SendRequest { topic: &topic, queue_id: 0, messages: &messages, store_host: host(), wait: true };
    assert!(matches!(rig.broker.send(&request), Err(Error::IllegalMessage(_))));
    let request = SendRequest { messages: &messages[..0], ..request };
    assert!(matches!(rig.broker.send(&request), Err(Error::IllegalMessage(_))));
    rig.settle();
    assert!(rig.all("T").is_empty() && rig.all(DELAY_TOPIC).is_empty());
}

/// The whole default table, each level with messages that were sent at odd moments: each copy is stored exactly its
/// level's delay after its message, and not one millisecond earlier is anything due.
#[test]
fn the_default_table_is_kept_to_the_millisecond() {
    let rig = Rig::new();
    let table = DelayTable::default();
    let mut rng = Rng::new(18);
    let mut due: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for round in 0..5 {
        for level in 1..=table.levels() {
            rig.clock.advance(rng.below(50));
            let body = format!("{level}/{round}");
            rig.send("T", level % 4, body.as_bytes(), &delayed(i64::from(level)));
            due.entry(rig.clock.wall_ms() + table.milliseconds(level) as i64).or_default().push(body);
        }
        rig.clock.advance(rng.below(900));
        // Level 1 waits no longer than the rounds take: deliver as a running broker would.
        let next = rig.deliver();
        assert!(next > Some(rig.clock.wall_ms()), "{next:?} is due and was not delivered");
        due.retain(|&at, _| at > rig.clock.wall_ms());
    }
    let mut seen = rig.all("T").len();
    while let Some(next) = rig.deliver() {
        let (&expected, bodies) = due.first_key_value().expect("nothing else waits");
        assert_eq!(next, expected, "the next due time");
        rig.clock.advance((next - 1 - rig.clock.wall_ms()) as u64);
        assert_eq!(rig.deliver(), Some(next));
        assert_eq!(rig.all("T").len(), seen, "a millisecond early");
        rig.clock.advance(1);
        rig.deliver();
        let copies = rig.all("T");
        seen += bodies.len();
        assert_eq!(copies.len(), seen, "all that is due at {next}, once");
        for record in copies.iter().map(view).filter(|record| record.store_timestamp() == next) {
            let body = String::from_utf8(record.body().to_vec()).unwrap();
            assert!(bodies.contains(&body), "{body} at {next}");
        }
        due.pop_first();
    }
    assert!(due.is_empty());
    assert_eq!(seen, 5 * 18);
}

#[test]
fn one_turn_delivers_a_bounded_number_and_no_level_starves() {
    let options = BrokerOptions { delay_batch_max: 10, ..BrokerOptions::default() };
    let rig = Rig::with(1, options, FlushMode::Sync);
    (0..25).for_each(|n| drop(rig.send("T", 0, format!("a{n}").as_bytes(), &delayed(1))));
    (0..5).for_each(|n| drop(rig.send("U", 0, format!("b{n}").as_bytes(), &delayed(2))));
    rig.clock.advance(60_000);
    let now = rig.clock.wall_ms();
    for total in [10, 20, 30] {
        let next = rig.deliver();
        assert_eq!(rig.all("T").len() + rig.all("U").len(), total);
        assert_eq!(next, (total < 30).then_some(now));
    }
    assert_eq!(rig.bodies("T"), (0..25).map(|n| format!("a{n}")).collect::<Vec<_>>(), "in order, once");
    assert_eq!(rig.broker.delay_progress()[..3], [(1, 25), (2, 5), (3, 0)]);
}

#[test]
fn a_changed_table_holds_for_what_waits_already() {
    let mut rig = Rig::new();
    rig.send("T", 0, b"level 2", &delayed(2));
    rig.send("T", 0, b"level 5", &delayed(5));
    rig.options.delay = DelayTable::parse("1s 2s").unwrap();
    rig.kill();
    rig.clock.advance(1_999);
    assert_eq!(rig.deliver(), Some(rig.clock.wall_ms() + 1));
    assert!(rig.all("T").is_empty());
    rig.clock.advance(1);
    assert_eq!(rig.deliver(), None);
    assert_eq!(
        rig.bodies("T"),
        ["level 2", "level 5"],
        "a level above the table waits as long as its highest"
    );

    rig.options.delay = DelayTable::parse("3s 3s 3s").unwrap();
    rig.kill();
    rig.send("T", 0, b"level 3", &delayed(3));
    rig.clock.advance(2_999);
    rig.deliver();
    assert_eq!(rig.all("T").len(), 2);
    rig.clock.advance(1);
    rig.deliver();
    assert_eq!(rig.all("T").len(), 3);
}

#[test]
fn what_can_go_nowhere_is_passed_over() {
    let rig = Rig::new();
    rig.send("GONE", 0, b"gone", &delayed(1));
    rig.send(HALF_TOPIC, 0, b"half", &delayed(1));
    rig.send("T", 3, b"fewer queues", &delayed(1));
    rig.send("T", 0, b"stays", &delayed(1));
    drop(rig.broker.delete_topic("GONE").unwrap());
    let narrow =
        braid_broker::TopicConfig { read_queues: 2, write_queues: 2, ..rig.topic("T").config.clone() };
    drop(rig.broker.put_topic(narrow).unwrap());
    rig.clock.advance(1_000);
    assert_eq!(rig.deliver(), None);
    assert_eq!(rig.bodies("T"), ["stays", "fewer queues"], "queue 3 of 2 is queue 1");
    assert!(rig.all(HALF_TOPIC).is_empty() && rig.all("GONE").is_empty());
    assert_eq!(rig.broker.delay_progress()[0], (1, 4));
}

/// The copy of a delayed message and its progress must fit into one log file, or it could never be delivered.
#[test]
fn a_message_whose_copy_would_not_fit_is_refused_when_it_is_sent() {
    let rig = Rig::new();
    let topic = rig.topic("T");
    let late = delayed(1);
    let file = 1usize << 20;
    let send = |len: usize, properties: &[u8]| {
        let body = vec![b'x'; len];
        let messages = &[message(&body, properties)];
        let request = SendRequest { topic: &topic, queue_id: 0, messages, store_host: host(), wait: true };
        rig.broker.send(&request).map(drop)
    };
    let longest = |properties: &[u8]| {
        let (mut fits, mut fails) = (file / 2, file);
        while fails - fits > 1 {
            let middle = (fits + fails) / 2;
            match send(middle, properties) {
                Ok(()) => fits = middle,
                Err(Error::IllegalMessage(_)) => fails = middle,
                Err(Error::Busy(_)) => rig.settle(),
                Err(other) => panic!("{other}"),
            }
            rig.settle();
        }
        fits
    };
    let (plain, delayed) = (longest(b""), longest(&late));
    assert!(delayed < plain, "{delayed} against {plain}");
    rig.clock.advance(1_000);
    while rig.deliver().is_some() {}
    let copies = rig.all("T");
    let longest_copy = copies.iter().map(view).filter(|record| record.property("REAL_TOPIC").is_some());
    assert_eq!(longest_copy.map(|record| record.body().len()).max(), Some(delayed), "the longest arrived");
}

#[test]
fn a_level_that_sleeps_is_woken_by_what_is_dispatched() {
    let rig = Rig::new();
    assert_eq!(rig.deliver(), None);
    let promise = rig.append("T", 0, message(b"a", &delayed(1))).unwrap();
    assert_eq!(promise.level(), Level::Flushed);
    assert_eq!(rig.deliver(), None, "it is not visible yet");
    assert_eq!(rig.deliver(), Some(rig.clock.wall_ms() + 1_000));
    // The bell rang with the dispatch: a wait ends at once, and the test with it.
    rig.broker.wait_for_news(600_000);
}

/// Sends, deliveries, turns, kills and power cuts in a random order. What was acknowledged is delivered exactly once and
/// never early; what was not is delivered at most once.
#[test]
fn no_kill_delivers_early_or_twice() {
    for seed in 0..40 {
        run_kills(seed);
    }
}

fn run_kills(seed: u64) {
    let mut rng = Rng::new(seed);
    let options = BrokerOptions { delay_batch_max: 3, ..BrokerOptions::default() };
    // Without a flush before the answer, a power cut may take back what was acknowledged: kills only.
    let flush = if seed.is_multiple_of(2) { FlushMode::Sync } else { FlushMode::Async };
    let mut rig = Rig::with(seed, options, flush);
    rig.topic("T");
    rig.settle();
    let mut pending = Vec::new();
    let mut acknowledged: BTreeMap<String, ()> = BTreeMap::new();
    let (mut kills, mut sent) = (0, 0);
    for _ in 0..300 {
        match rng.below(12) {
            0..4 => {
                let level = 1 + rng.below(4) as u32;
                let (body, late) = (format!("{level}/{sent}"), delayed(i64::from(level)));
                sent += 1;
                let promise = rig.append("T", rng.below(4) as u32, message(body.as_bytes(), &late)).unwrap();
                pending.push(promise.map(|_| body));
            }
            4..6 => drop(rig.broker.deliver_due(rig.clock.wall_ms()).unwrap()),
            6..8 => drop(rig.broker.store().write_turn()),
            8 => drop(rig.broker.store().flush_turn()),
            9..11 => rig.clock.advance(rng.below(4_000)),
            _ => {
                if flush == FlushMode::Async || rng.one_in(2) {
                    rig.kill()
                } else {
                    rig.crash()
                }
                kills += 1;
                pending.clear();
                rig.topic("T");
            }
        }
        let watermarks = rig.broker.store().watermarks();
        let waiting = std::mem::take(&mut pending);
        for promise in waiting {
            match promise.redeem(watermarks) {
                Ok(body) => drop(acknowledged.insert(body, ())),
                Err(promise) => pending.push(promise),
            }
        }
    }
    rig.settle();
    rig.clock.advance(60_000);
    while rig.deliver().is_some() {}
    assert!(kills > 0, "seed {seed} kills nobody");

    let table = DelayTable::default();
    let mut stored: BTreeMap<String, i64> = BTreeMap::new();
    for record in rig.all(DELAY_TOPIC) {
        let record = view(&record);
        let body = String::from_utf8(record.body().to_vec()).unwrap();
        assert_eq!(stored.insert(body, record.store_timestamp()), None, "seed {seed}");
    }
    let mut delivered = BTreeMap::new();
    for record in rig.all("T") {
        let record = view(&record);
        let body = String::from_utf8(record.body().to_vec()).unwrap();
        let level: u32 = body.split('/').next().unwrap().parse().unwrap();
        let due = stored[&body] + table.milliseconds(level) as i64;
        assert!(record.store_timestamp() >= due, "seed {seed}: {body} is early");
        assert_eq!(property::find(record.properties(), property::GROUP_GOES_ON), None);
        assert_eq!(delivered.insert(body.clone(), ()), None, "seed {seed}: {body} comes twice");
    }
    for body in acknowledged.keys() {
        let is_stored = stored.contains_key(body);
        assert!(
            delivered.contains_key(body),
            "seed {seed}: {body} was acknowledged and is lost (stored: {is_stored})"
        );
    }
    assert_eq!(delivered.len(), stored.len(), "seed {seed}: all that is stored is delivered");
}

#[test]
fn a_prepared_message_does_not_wait() {
    let rig = Rig::new();
    let late = delayed(2);
    let prepared = braid_record::sysflag::TRANSACTION_PREPARED;
    for (sys_flag, level) in [(prepared, None), (braid_record::sysflag::TRANSACTION_COMMIT, Some(2))] {
        let promise = rig.append("T", 0, Message { sys_flag, ..message(b"m", &late) }).unwrap();
        rig.settle();
        let sent = promise.redeem(rig.broker.store().watermarks()).unwrap();
        assert_eq!(sent.delay_level, level);
    }
}
