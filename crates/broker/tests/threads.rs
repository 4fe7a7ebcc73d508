//! With real threads, the system's clock and disk: no wake-up is lost between append and park, members are told, and
//! the driver delivers.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::drop_non_drop, reason = "an answer that a test does not wait for")]

mod rig;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use braid_broker::driver::Driver;
use braid_broker::{
    Broker, BrokerOptions, Channel, ChannelId, ClassicOptions, Client, Committer, ConsumeFrom, ConsumeType,
    ConsumerRegistration, DelayTable, Delivery, GroupError, JoinRequest, Leaving, NotedCommit, Notice, Park,
    SendRequest, SyncRequest, Topic, Waiter, Wake,
};
use braid_io::{Clock, OsDisk, SystemClock};
use braid_store::{FlushMode, QueueKey, Store, StoreOptions};

use rig::{Rig, TEMPLATE, host, message, policy, properties};

/// Nothing takes this long; a lost wake-up does.
const LONG: Duration = Duration::from_secs(60);

struct Bell(Sender<Wake>);

impl Waiter for Bell {
    fn wake(self: Arc<Self>, wake: Wake) {
        // A test that has seen enough has gone.
        let _ = self.0.send(wake);
    }
}

fn bell() -> (Arc<Bell>, Receiver<Wake>) {
    let (sender, receiver) = channel();
    (Arc::new(Bell(sender)), receiver)
}

fn real_broker(dir: &tempfile::TempDir, options: BrokerOptions) -> Arc<Broker> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut store_options = StoreOptions::new(dir.path());
    store_options.file_bytes = 16 << 20;
    store_options.prewrite_bytes = 1 << 20;
    store_options.flush = FlushMode::Async;
    let (store, _) = Store::open(store_options, Arc::new(OsDisk), Arc::clone(&clock)).unwrap();
    let broker = Broker::open(store, clock, options, policy()).unwrap();
    broker.store().write_turn();
    broker
}

/// As a reactor would: append and end the turn.
fn send(broker: &Broker, topic: &Arc<Topic>, queue_id: u32, properties: &[u8]) {
    let messages = &[message(b"m", properties)];
    let request = SendRequest { topic, queue_id, messages, store_host: host(), wait: true };
    loop {
        match broker.send(&request) {
            Ok(promise) => drop(promise),
            Err(braid_broker::Error::Busy(_)) => {
                broker.store().flush_turn();
                continue;
            }
            Err(other) => panic!("{other}"),
        }
        broker.store().write_turn();
        return;
    }
}

/// 10,000 races of append against park, each on two real threads that start at one barrier.
#[test]
fn ten_thousand_races_of_append_against_park_lose_no_wake_up() {
    const RACES: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let broker = real_broker(&dir, BrokerOptions::default());
    let topic = broker.topic_or_create("T", TEMPLATE, 1, 0).unwrap();
    let (start, over) = (Barrier::new(2), AtomicBool::new(false));
    let (mut seen, mut woken, mut lost) = (0, 0, None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for race in 0.. {
                start.wait();
                if over.load(Ordering::Acquire) {
                    break;
                }
                send(&broker, &topic, 0, b"");
                if race % 1_000 == 0 {
                    broker.store().flush_turn();
                }
            }
        });
        for offset in 0..RACES {
            let (waiter, rung) = bell();
            start.wait();
            // Moves the race to and fro.
            (0..(offset % 16) * 50).for_each(|_| std::hint::spin_loop());
            match broker.park(topic.queue(0), offset, None, u64::MAX, waiter) {
                Ok(Park::Arrived) => seen += 1,
                Ok(Park::Parked(_)) if rung.recv_timeout(LONG) == Ok(Wake::Arrived) => woken += 1,
                other => {
                    lost = Some((offset, other));
                    break;
                }
            }
            if broker.store().offsets(topic.queue(0)).is_none_or(|offsets| offsets.max <= offset) {
                lost = Some((offset, Ok(Park::Arrived)));
                break;
            }
        }
        over.store(true, Ordering::Release);
        start.wait();
    });
    println!("{RACES} races: {seen} seen at the second look, {woken} woken");
    assert!(lost.is_none(), "not woken, or woken for what is not visible: {lost:?}");
    assert_eq!((seen + woken, broker.waiters()), (RACES, 0));
}

/// The driver sleeps until something is due: a delayed message, a deadline.
#[test]
fn the_driver_delivers_and_ends_waits_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions { delay: DelayTable::parse("0s 1s").unwrap(), ..BrokerOptions::default() };
    let broker = real_broker(&dir, options);
    let topic = broker.topic_or_create("T", TEMPLATE, 1, 0).unwrap();
    broker.store().write_turn();
    let its = Arc::clone(&broker);
    let driver = Driver::start(Arc::clone(&broker), move || {
        its.store().write_turn();
    })
    .unwrap();

    for (level, offset) in [("1", 0), ("2", 1)] {
        let (waiter, rung) = bell();
        broker.park(topic.queue(0), offset, None, u64::MAX, waiter).unwrap();
        let sent_ms = broker.clock().wall_ms();
        send(&broker, &topic, 0, &properties(&[("DELAY", level)]));
        assert_eq!(rung.recv_timeout(LONG), Ok(Wake::Arrived), "level {level}");
        let late_ms = broker.clock().wall_ms() - sent_ms - if level == "2" { 1_000 } else { 0 };
        println!("level {level}: {late_ms} ms after it was due");
        assert!(late_ms >= 0, "early");
    }
    let (waiter, rung) = bell();
    let now_ms = broker.clock().monotonic_ms();
    broker.park(topic.queue(0), 2, None, now_ms + 30, waiter).unwrap();
    assert_eq!(rung.recv_timeout(LONG), Ok(Wake::Expired));
    assert!(broker.clock().monotonic_ms() >= now_ms + 30);

    let (waiter, rung) = bell();
    broker.park(topic.queue(0), 2, None, u64::MAX, waiter).unwrap();
    broker.stop_parking();
    assert_eq!(rung.recv_timeout(LONG), Ok(Wake::Stopping));
    driver.stop();
}

struct Line {
    id: u64,
    notices: Sender<(u64, String)>,
}

impl Channel for Line {
    fn id(&self) -> ChannelId {
        ChannelId(self.id)
    }
    fn remote_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    fn notify(&self, Notice::MembersChanged { group }: &Notice) {
        self.notices.send((self.id, group.clone())).unwrap();
    }
    fn close(&self) {
        self.notices.send((self.id, "closed".to_owned())).unwrap();
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn members_are_told_of_each_change_and_silent_ones_are_closed() {
    let rig = Rig::new();
    let (notices, told) = channel();
    let told = |expected: &[(u64, &str)]| {
        let mut found: Vec<_> = told.try_iter().collect();
        found.sort();
        let expected: Vec<_> = expected.iter().map(|&(id, what)| (id, what.to_owned())).collect();
        assert_eq!(found, expected);
    };
    let client = |id: u64| Client {
        client_id: format!("c{id}"),
        language: 0,
        version: 1,
        channel: Arc::new(Line { id, notices: notices.clone() }),
    };
    let heartbeat = |id| {
        let registration = ConsumerRegistration {
            group: "g".to_owned(),
            consume_type: ConsumeType::Passively,
            delivery: Delivery::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: Some(Vec::new()),
            fingerprint: 0,
        };
        rig.broker.register_consumer(registration, &client(id)).unwrap()
    };
    assert!(heartbeat(1).members);
    told(&[(1, "g")]);
    assert!(heartbeat(2).members && !heartbeat(1).members);
    told(&[(1, "g"), (2, "g")]);
    assert_eq!(rig.broker.member_ids("g"), ["c1", "c2"]);
    assert_eq!(rig.broker.channel_closed(ChannelId(2)), ["g"]);
    told(&[(1, "g")]);
    assert!(heartbeat(3).members);
    told(&[(1, "g"), (3, "g")]);
    rig.clock.advance(120_000);
    assert!(!heartbeat(3).members);
    rig.clock.advance(1);
    rig.broker.turn();
    told(&[(1, "closed"), (3, "g")]);
    assert_eq!(rig.broker.member_ids("g"), ["c3"]);
    rig.broker.unregister_consumer("g", "c3", ChannelId(3));
    told(&[]);
    assert!(!rig.broker.is_group_online("g") && rig.broker.members("g").is_none());
}

/// A waiter that is taken back is never woken.
#[test]
fn who_is_taken_back_is_not_woken() {
    let rig = Rig::new();
    let queue = rig.topic("T").queue(0);
    let (waiter, rung) = bell();
    let Park::Parked(ticket) = rig.broker.park(queue, 0, None, 1_000, waiter).unwrap() else {
        panic!("nothing is there")
    };
    assert!(rig.broker.unpark(ticket));
    rig.send("T", 0, b"m", b"");
    rig.clock.advance(1_000);
    rig.broker.turn();
    // The broker let the bell go: its other end is closed and nothing was sent.
    assert_eq!(rung.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
}

/// One consumer of a classic group, which comes and goes `rounds` times; gives how often it was in a stable generation.
fn come_and_go(broker: &Broker, queue: QueueKey, name: &str, rounds: usize) -> usize {
    let mut stable = 0;
    for round in 0..rounds {
        let mut id = String::new();
        let mut beats = 0;
        while beats < 3 {
            let (give, answer) = channel();
            let request = JoinRequest {
                group: "g",
                member_id: &id,
                instance_id: None,
                client_id: name,
                client_host: "here",
                session_ms: 30_000,
                rebalance_ms: 30_000,
                protocol_type: "consumer",
                protocols: &[("range", b"")],
                id_first: round % 2 == 0,
                may_skip_assignment: false,
            };
            broker.join_group(&request, Box::new(move |result| drop(give.send(result))));
            let joined = match answer.recv_timeout(LONG).expect("a join is answered") {
                Ok(joined) => joined,
                Err(refusal) if refusal.error == GroupError::OtherMembers => continue,
                Err(refusal) => {
                    id = refusal.member_id;
                    continue;
                }
            };
            id.clone_from(&joined.member_id);
            let (give, answer) = channel();
            let shares: Vec<(&str, &[u8])> =
                joined.members.iter().map(|member| (member.id.as_str(), member.id.as_bytes())).collect();
            let request = SyncRequest {
                group: "g",
                member_id: &id,
                instance_id: None,
                generation: joined.generation,
                protocol_type: None,
                protocol: None,
                assignments: &shares,
            };
            broker.sync_group(&request, Box::new(move |result| drop(give.send(result))));
            broker.store().write_turn();
            let Ok(promise) = answer.recv_timeout(LONG).expect("a sync is answered") else { continue };
            drop(promise.map(|synced| assert_eq!(*synced.assignment, *id.as_bytes())));
            assert!(!broker.is_group_online("g"), "members of both kinds");
            stable += 1;
            let who =
                Committer { group: "g", member_id: &id, instance_id: None, generation: joined.generation };
            let commit = NotedCommit { queue, offset: 0, leader_epoch: None, metadata: name };
            while beats < 3 && broker.heartbeat_group("g", &id, None, joined.generation).is_ok() {
                drop(broker.commit_as(&who, &[commit]));
                broker.store().write_turn();
                beats += 1;
            }
        }
        let left = broker.leave_group("g", &[Leaving { member_id: &id, instance_id: None }]).unwrap();
        assert_eq!(left, [Ok(())]);
        std::thread::yield_now();
    }
    stable
}

/// Members of both kinds come and go, each on a thread of its own, while the driver's thread moves the timers and an
/// administrator looks on and deletes: nobody is left waiting, and the two kinds never meet.
#[test]
fn members_of_both_kinds_come_and_go_and_never_meet() {
    let dir = tempfile::tempdir().unwrap();
    let classic = ClassicOptions { initial_delay_ms: 1, ..ClassicOptions::default() };
    let broker = real_broker(&dir, BrokerOptions { classic, ..BrokerOptions::default() });
    let queue = broker.topic_or_create("T", TEMPLATE, 1, 0).unwrap().queue(0);
    let its = Arc::clone(&broker);
    let driver = Driver::start(Arc::clone(&broker), move || {
        its.store().write_turn();
    })
    .unwrap();
    let over = AtomicBool::new(false);
    let (notices, _told) = channel();
    let line = Arc::new(Line { id: 1, notices });
    let client = Client { client_id: "other".to_owned(), language: 0, version: 1, channel: line };
    let registration = ConsumerRegistration {
        group: "g".to_owned(),
        consume_type: ConsumeType::Passively,
        delivery: Delivery::Clustering,
        consume_from: ConsumeFrom::LastOffset,
        subscriptions: Some(Vec::new()),
        fingerprint: 0,
    };
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut met = 0;
            while !over.load(Ordering::Acquire) {
                if broker.register_consumer(registration.clone(), &client).is_ok() {
                    assert!(!broker.is_classic_group_live("g"), "members of both kinds");
                    broker.unregister_consumer("g", "other", ChannelId(1));
                    met += 1;
                }
                let _ = broker.delete_classic_group("g");
                let _ = (broker.classic_groups(), broker.classic_group("g"));
                std::thread::yield_now();
            }
            met
        });
        let members: Vec<_> = (0..4)
            .map(|at| {
                let broker = &broker;
                scope.spawn(move || come_and_go(broker, queue, &format!("c{at}"), 40))
            })
            .collect();
        let stable: Vec<usize> = members.into_iter().map(|member| member.join().unwrap()).collect();
        over.store(true, Ordering::Release);
        println!("stable {stable:?} times, others were in {} times", others.join().unwrap());
        assert!(stable.iter().all(|&count| count >= 40));
    });
    driver.stop();
}
