//! Classic groups on a broker: over restarts, beside members that heartbeats announce, and their cursors.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::drop_non_drop, reason = "an answer that a test does not wait for")]

mod rig;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use braid_broker::{
    BrokerOptions, CURSOR_METADATA_BYTES_MAX, Channel, ChannelId, ClassicOptions, Client, Committed,
    Committer, ConsumeFrom, ConsumeType, ConsumerRegistration, Delivery, Error, GroupError, GroupState,
    JoinRefusal, JoinRequest, Joined, Leaving, NotedCommit, Notice, ParkedCall, Subscription, SyncRequest,
    Synced,
};
use braid_store::{FlushMode, Promise, QueueKey};

use rig::Rig;

const DAY_MS: u64 = 24 * 3_600_000;

fn rig() -> Rig {
    let classic = ClassicOptions { initial_delay_ms: 0, id_seed: Some(7), ..ClassicOptions::default() };
    Rig::with(1, BrokerOptions { classic, ..BrokerOptions::default() }, FlushMode::Sync)
}

fn wants<'a>(group: &'a str, member_id: &'a str, protocols: &'a [(&'a str, &'a [u8])]) -> JoinRequest<'a> {
    JoinRequest {
        group,
        member_id,
        instance_id: None,
        client_id: "client",
        client_host: "/127.0.0.1",
        session_ms: 10_000,
        rebalance_ms: 60_000,
        protocol_type: "consumer",
        protocols,
        id_first: false,
        may_skip_assignment: false,
    }
}

const RANGE: &[(&str, &[u8])] = &[("range", b"T")];

type JoinResult = Result<Joined, JoinRefusal>;

fn join(rig: &Rig, request: &JoinRequest<'_>) -> (Option<ParkedCall>, Receiver<JoinResult>) {
    let (give, answers) = channel();
    let parked = rig.broker.join_group(request, Box::new(move |result| give.send(result).unwrap()));
    (parked, answers)
}

/// Joins a group that nobody else is in.
fn join_alone(rig: &Rig, group: &str) -> JoinResult {
    join(rig, &wants(group, "", RANGE)).1.try_recv().unwrap()
}

fn sync(
    rig: &Rig,
    group: &str,
    joined: &Joined,
    shares: &[(&str, &[u8])],
) -> Receiver<Result<Promise<Synced>, GroupError>> {
    let (give, answers) = channel();
    let request = SyncRequest {
        group,
        member_id: &joined.member_id,
        instance_id: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: shares,
    };
    rig.broker.sync_group(&request, Box::new(move |result| give.send(result).unwrap()));
    answers
}

/// A stable group of one member; gives the member.
fn stable(rig: &Rig, group: &str) -> Joined {
    let joined = join_alone(rig, group).unwrap();
    let answer = sync(rig, group, &joined, &[(&joined.member_id, b"all")]).try_recv().unwrap();
    rig.settle();
    let synced = answer.unwrap().redeem(rig.broker.store().watermarks()).unwrap();
    assert_eq!(*synced.assignment, *b"all");
    joined
}

fn beat(rig: &Rig, group: &str, joined: &Joined) -> Result<(), GroupError> {
    rig.broker.heartbeat_group(group, &joined.member_id, None, joined.generation)
}

fn leave(rig: &Rig, group: &str, member_id: &str) -> Result<(), GroupError> {
    rig.broker.leave_group(group, &[Leaving { member_id, instance_id: None }]).unwrap()[0]
}

fn member<'a>(group: &'a str, joined: &'a Joined) -> Committer<'a> {
    let Joined { member_id, generation, .. } = joined;
    Committer { group, member_id, instance_id: None, generation: *generation }
}

fn nobody(group: &str) -> Committer<'_> {
    Committer { group, member_id: "", instance_id: None, generation: -1 }
}

fn at(queue: QueueKey, offset: u64) -> NotedCommit<'static> {
    NotedCommit { queue, offset, leader_epoch: None, metadata: "" }
}

fn group_error<T: std::fmt::Debug>(result: Result<T, Error>) -> GroupError {
    match result {
        Err(Error::Group(error)) => error,
        other => panic!("a group was to refuse: {other:?}"),
    }
}

struct Line(u64, Mutex<usize>);

impl Channel for Line {
    fn id(&self) -> ChannelId {
        ChannelId(self.0)
    }
    fn remote_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    fn notify(&self, _: &Notice) {
        *self.1.lock().unwrap() += 1;
    }
    fn close(&self) {}
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A heartbeat of a member of the other kind.
fn announce(rig: &Rig, group: &str, delivery: Delivery) -> Result<(), Error> {
    let channel = Arc::new(Line(1, Mutex::default()));
    let client = Client { client_id: "other".to_owned(), language: 0, version: 1, channel };
    let subscription = Subscription {
        topic: "T".to_owned(),
        expression: "*".to_owned(),
        expression_kind: "TAG".to_owned(),
        version: 1,
        tags: Vec::new(),
        codes: Vec::new(),
        class_filter: false,
    };
    let registration = ConsumerRegistration {
        group: group.to_owned(),
        consume_type: ConsumeType::Passively,
        delivery,
        consume_from: ConsumeFrom::LastOffset,
        subscriptions: Some(vec![subscription]),
        fingerprint: 0,
    };
    rig.broker.register_consumer(registration, &client).map(drop)
}

#[test]
fn members_go_on_after_a_restart_with_sessions_of_full_length() {
    let mut rig = rig();
    let joined = stable(&rig, "g");
    rig.clock.advance(9_000);
    rig.kill();
    rig.clock.advance(9_999);
    rig.broker.turn();
    assert_eq!(beat(&rig, "g", &joined), Ok(()));
    let again = sync(&rig, "g", &joined, &[]).try_recv().unwrap().unwrap();
    let again = again.redeem(rig.broker.store().watermarks()).unwrap();
    assert_eq!((*again.assignment).to_vec(), b"all");
    rig.clock.advance(10_000);
    rig.broker.turn();
    assert_eq!(beat(&rig, "g", &joined), Err(GroupError::UnknownMember), "silence ends it as before");
    rig.settle();
    rig.kill();
    let overview = rig.broker.classic_group("g").unwrap();
    assert_eq!((overview.state, overview.protocol_type.as_str()), (GroupState::Empty, "consumer"));
    let generation = join_alone(&rig, "g").unwrap().generation;
    assert!(generation > joined.generation + 1, "generations go on");
}

#[test]
fn a_share_is_told_when_its_generation_is_written() {
    let rig = rig();
    let joined = join_alone(&rig, "g").unwrap();
    let answer = sync(&rig, "g", &joined, &[(&joined.member_id, b"all")]).try_recv().unwrap().unwrap();
    let watermarks = rig.broker.store().watermarks();
    assert!(!answer.is_due(watermarks));
    rig.broker.store().write_turn();
    assert!(answer.is_due(watermarks));
}

#[test]
fn a_generation_that_a_power_cut_took_back_is_not_told_again() {
    let mut rig = rig();
    let first = stable(&rig, "g");
    // The second one is told and not flushed.
    let second = join(&rig, &wants("g", &first.member_id, RANGE)).1.try_recv().unwrap().unwrap();
    let answer = sync(&rig, "g", &second, &[]).try_recv().unwrap().unwrap();
    rig.broker.store().write_turn();
    assert!(answer.is_due(rig.broker.store().watermarks()));
    rig.crash();
    assert_eq!(beat(&rig, "g", &second), Err(GroupError::IllegalGeneration));
    let again = join(&rig, &wants("g", &first.member_id, RANGE)).1.try_recv().unwrap().unwrap();
    assert!(again.generation > second.generation);
}

#[test]
fn timers_are_part_of_the_brokers_turn() {
    let mut rig = rig();
    rig.options.classic.initial_delay_ms = 3_000;
    rig.kill();
    let (parked, answers) = join(&rig, &wants("g", "", RANGE));
    assert!(parked.is_some());
    assert!(rig.broker.turn().next_in_ms <= 3_000);
    rig.clock.advance(2_999);
    assert!(rig.broker.turn().next_in_ms <= 1);
    assert!(answers.try_recv().is_err());
    rig.clock.advance(1);
    rig.broker.turn();
    let joined = answers.try_recv().unwrap().unwrap();
    rig.clock.advance(10_000);
    let turn = rig.broker.turn();
    assert!(turn.appended, "the end of the session emptied the group, which is kept");
    assert_eq!(beat(&rig, "g", &joined), Err(GroupError::UnknownMember));
}

#[test]
fn a_join_whose_connection_ends_is_taken_back() {
    let rig = rig();
    let first = stable(&rig, "g");
    let (parked, answers) = join(&rig, &wants("g", "", RANGE));
    assert_eq!(beat(&rig, "g", &first), Err(GroupError::RebalanceInProgress));
    rig.broker.group_call_vanished(&parked.unwrap());
    assert!(answers.recv().is_err(), "its answer is dropped");
    let again = join(&rig, &wants("g", &first.member_id, RANGE)).1.try_recv().unwrap().unwrap();
    assert_eq!(again.members.len(), 1, "nobody waits for it");
}

#[test]
fn a_stop_answers_who_waits_and_lets_nobody_in() {
    let rig = rig();
    let first = stable(&rig, "g");
    let (_, answers) = join(&rig, &wants("g", "", RANGE));
    rig.broker.stop_groups();
    let refused = |result: JoinResult| result.unwrap_err().error;
    assert_eq!(refused(answers.try_recv().unwrap()), GroupError::NotAvailable);
    let late = join(&rig, &wants("g", &first.member_id, RANGE)).1.try_recv().unwrap();
    assert_eq!(refused(late), GroupError::NotAvailable);
}

#[test]
fn joins_are_refused_before_a_group_is_made() {
    let rig = rig();
    let long = "g".repeat(256);
    let cases = [
        (wants("", "", RANGE), GroupError::Name),
        (wants(&long, "", RANGE), GroupError::Name),
        (JoinRequest { session_ms: 5_999, ..wants("g", "", RANGE) }, GroupError::SessionTimeout),
        (JoinRequest { session_ms: 1_800_001, ..wants("g", "", RANGE) }, GroupError::SessionTimeout),
        (wants("g", "ghost", RANGE), GroupError::UnknownMember),
        (wants("g", "", &[]), GroupError::InconsistentProtocol),
    ];
    for (request, error) in cases {
        let (parked, answers) = join(&rig, &request);
        assert!(parked.is_none());
        let refusal = answers.try_recv().unwrap().unwrap_err();
        assert_eq!((refusal.error, refusal.member_id.as_str()), (error, request.member_id));
    }
    assert!(rig.broker.classic_groups().is_empty(), "nothing is remembered of them");
    let given = JoinRequest { id_first: true, ..wants("g", "", RANGE) };
    let refusal = join(&rig, &given).1.try_recv().unwrap().unwrap_err();
    assert_eq!(refusal.error, GroupError::MemberIdRequired);
    assert_eq!(refusal.member_id.len(), "client-".len() + 36);
    rig.clock.advance(10_000);
    rig.broker.turn();
    assert!(rig.broker.classic_groups().is_empty(), "an id that nobody used is forgotten");
}

#[test]
fn the_number_of_groups_is_bounded() {
    let mut rig = rig();
    rig.options.classic.groups_max = 1;
    rig.kill();
    stable(&rig, "g");
    assert_eq!(join_alone(&rig, "h").unwrap_err().error, GroupError::GroupFull);
}

#[test]
fn a_log_that_takes_nothing_does_not_keep_members_apart() {
    let mut rig = rig();
    rig.topic("T");
    rig.settle();
    let body = vec![b'x'; 300_000];
    while rig.append("T", 0, rig::message(&body, b"")).is_ok() {}
    // Down to the last byte that a group takes.
    while rig.append("T", 0, rig::message(b"x", b"")).is_ok() {}
    let joined = join_alone(&rig, "g").unwrap();
    let answer = sync(&rig, "g", &joined, &[(&joined.member_id, b"all")]).try_recv().unwrap();
    assert!(answer.is_ok(), "readers go on");
    assert_eq!(rig.broker.classic_group("g").unwrap().state, GroupState::Stable);
    for _ in 0..40 {
        rig.settle();
    }
    rig.clock.advance(1_000);
    assert!(rig.broker.turn().appended, "kept as soon as there is room");
    rig.settle();
    rig.kill();
    assert_eq!(beat(&rig, "g", &joined), Ok(()));
}

#[test]
fn commits_keep_what_their_client_says_and_survive_a_power_cut() {
    let mut rig = rig();
    let topic = rig.topic("T");
    (0..9).for_each(|_| drop(rig.send("T", 0, b"m", b"")));
    let joined = stable(&rig, "g");
    let noted = NotedCommit { queue: topic.queue(0), offset: 4, leader_epoch: Some(3), metadata: "whée" };
    let promise = rig.broker.commit_as(&member("g", &joined), &[noted]).unwrap().unwrap();
    assert!(!promise.is_due(rig.broker.store().watermarks()));
    rig.settle();
    assert!(promise.is_due(rig.broker.store().watermarks()));
    rig.crash();
    let committed = Committed { offset: 4, leader_epoch: Some(3), metadata: "whée".to_owned() };
    assert_eq!(rig.broker.committed("g", topic.queue(0)), Some(committed.clone()));
    assert_eq!(rig.broker.cursors_of("g")[0].committed, committed);
    assert_eq!(rig.broker.committed("g", topic.queue(1)), None);

    // A reader of the other kind goes on from there, and takes the note away.
    leave(&rig, "g", &joined.member_id).unwrap();
    assert!(rig.broker.commit("g", topic.queue(0), 4, false).unwrap().is_none());
    let plain = Committed { offset: 4, leader_epoch: None, metadata: String::new() };
    assert_eq!(rig.broker.committed("g", topic.queue(0)), Some(plain.clone()));
    assert_eq!(rig.broker.flush_cursors().unwrap(), 1, "the same offset, but another commit");
    rig.settle();
    rig.kill();
    assert_eq!(rig.broker.committed("g", topic.queue(0)), Some(plain));
}

#[test]
fn many_commits_at_once_are_kept_whole_and_bad_ones_change_nothing() {
    let mut rig = rig();
    rig.options.queues_per_topic_max = 3_000;
    rig.kill();
    let topic = rig.broker.create_topic(braid_broker::TopicConfig::new("wide", 3_000)).unwrap();
    rig.settle();
    let topic = topic.redeem(rig.broker.store().watermarks()).unwrap();
    let text = "x".repeat(CURSOR_METADATA_BYTES_MAX);
    let commits: Vec<_> = (0..3_000)
        .map(|id| NotedCommit { metadata: &text[..(id % 40) as usize], ..at(topic.queue(id), 0) })
        .collect();
    drop(rig.broker.commit_as(&nobody("g"), &commits).unwrap().unwrap());
    rig.settle();
    rig.kill();
    assert_eq!(rig.broker.cursors_of("g").len(), 3_000);
    assert!(
        rig.broker.cursors_of("g").iter().all(|c| c.committed.metadata.len() == c.queue_id as usize % 40)
    );

    let longest = NotedCommit { metadata: &text, ..at(topic.queue(0), 0) };
    assert!(rig.broker.commit_as(&nobody("h"), &[longest]).is_ok());
    let text = format!("{text}y");
    let bad = [
        [at(topic.queue(1), 0), NotedCommit { metadata: &text, ..at(topic.queue(0), 0) }],
        [at(topic.queue(1), 0), at(topic.queue(3_000), 0)],
    ];
    for commits in bad {
        assert!(rig.broker.commit_as(&nobody("h"), &commits).is_err());
        assert_eq!(rig.broker.committed("h", topic.queue(1)), None);
    }
}

#[test]
fn who_may_commit_to_a_group() {
    let rig = rig();
    let queue = rig.topic("T").queue(0);
    let commit = |who: &Committer<'_>| rig.broker.commit_as(who, &[at(queue, 0)]);
    let ghost = Committer { group: "g", member_id: "ghost", instance_id: None, generation: 1 };
    assert_eq!(group_error(commit(&ghost)), GroupError::NoGroup);
    assert!(commit(&nobody("g")).unwrap().is_some(), "a client without a group makes a simple one");
    assert_eq!(group_error(commit(&ghost)), GroupError::UnknownMember);
    let joined = stable(&rig, "g");
    assert_eq!(group_error(commit(&nobody("g"))), GroupError::UnknownMember);
    assert!(commit(&member("g", &joined)).is_ok());
    let old = Committer { generation: 9, ..member("g", &joined) };
    assert_eq!(group_error(commit(&old)), GroupError::IllegalGeneration);
    assert_eq!(rig.broker.commit_as(&member("g", &joined), &[]).unwrap().map(drop), None);
    leave(&rig, "g", &joined.member_id).unwrap();
    assert!(commit(&nobody("g")).is_ok(), "an administrator sets back an empty group");
}

#[test]
fn a_commit_ends_a_reset_that_no_reader_was_told_of() {
    let rig = rig();
    let queue = rig.topic("T").queue(0);
    (0..9).for_each(|_| drop(rig.send("T", 0, b"m", b"")));
    drop(rig.broker.reset_cursor("g", queue, 2).unwrap());
    let joined = stable(&rig, "g");
    assert_eq!(rig.broker.committed("g", queue).unwrap().offset, 2, "it begins where it was set");
    drop(rig.broker.commit_as(&member("g", &joined), &[at(queue, 5)]).unwrap());
    assert!(!rig.broker.has_reset("g", queue));
    assert_eq!(rig.broker.cursor("g", queue), Some(5));
}

#[test]
fn the_second_kind_of_members_stays_out_until_the_first_is_gone() {
    let rig = rig();
    let queue = rig.topic("T").queue(0);
    // Classic members first.
    let joined = stable(&rig, "g");
    assert_eq!(group_error(announce(&rig, "g", Delivery::Clustering)), GroupError::OtherMembers);
    assert!(!rig.broker.is_group_online("g"), "a refused member does not count");
    assert_eq!(group_error(rig.broker.check_no_classic_members("g")), GroupError::OtherMembers);
    assert!(announce(&rig, "h", Delivery::Clustering).is_ok(), "other groups do not care");
    leave(&rig, "g", &joined.member_id).unwrap();
    assert!(rig.broker.check_no_classic_members("g").is_ok());
    assert!(announce(&rig, "g", Delivery::Clustering).is_ok());

    // And the other way round.
    assert_eq!(join_alone(&rig, "g").unwrap_err().error, GroupError::OtherMembers);
    let commit = rig.broker.commit_as(&nobody("g"), &[at(queue, 0)]);
    assert_eq!(group_error(commit), GroupError::UnknownMember);
    assert_eq!(group_error(rig.broker.delete_classic_group("g").map(drop)), GroupError::NotEmpty);
    let listed = rig.broker.classic_groups();
    assert!(listed.iter().all(|listing| listing.has_other_members), "{listed:?}");
    rig.broker.unregister_consumer("g", "other", ChannelId(1));
    assert!(rig.broker.commit_as(&nobody("g"), &[at(queue, 0)]).is_ok());
    assert!(join_alone(&rig, "g").is_ok());
}

#[test]
fn members_that_read_everything_each_do_not_count() {
    let rig = rig();
    announce(&rig, "g", Delivery::Broadcasting).unwrap();
    let joined = stable(&rig, "g");
    announce(&rig, "g", Delivery::Broadcasting).unwrap();
    assert!(rig.broker.check_no_classic_members("g").is_ok());
    let shares = announce(&rig, "g", Delivery::Clustering);
    assert_eq!(group_error(shares), GroupError::OtherMembers, "not even the same member");
    assert_eq!(beat(&rig, "g", &joined), Ok(()));
}

#[test]
fn an_id_that_was_given_keeps_the_others_out_as_a_member_does() {
    let rig = rig();
    let given = JoinRequest { id_first: true, ..wants("g", "", RANGE) };
    let id = join(&rig, &given).1.try_recv().unwrap().unwrap_err().member_id;
    assert_eq!(group_error(announce(&rig, "g", Delivery::Clustering)), GroupError::OtherMembers);
    leave(&rig, "g", &id).unwrap();
    assert!(announce(&rig, "g", Delivery::Clustering).is_ok());
}

/// Reads "T" or "T,U"; nothing else is understood.
fn topics(_: &braid_broker::Broker, protocol_type: &str, metadata: &[u8]) -> Option<Vec<String>> {
    assert_eq!(protocol_type, "consumer");
    let names = std::str::from_utf8(metadata).ok()?;
    names.starts_with('T').then(|| names.split(',').map(str::to_owned).collect())
}

#[test]
fn cursors_of_topics_that_members_read_are_not_deleted() {
    let rig = rig();
    rig.broker.read_subscriptions_with(topics);
    let (read, other) = (rig.topic("T").queue(0), rig.topic("U").queue(0));
    let delete =
        |group: &str| rig.broker.delete_group_cursors(group, &[read, other]).map(|(results, _)| results);
    assert_eq!(group_error(delete("g")), GroupError::NoGroup);
    let joined = stable(&rig, "g");
    drop(rig.broker.commit_as(&member("g", &joined), &[at(read, 0), at(other, 0)]).unwrap());
    assert_eq!(delete("g").unwrap(), [Err(GroupError::Subscribed), Ok(())]);
    assert!(rig.broker.committed("g", read).is_some() && rig.broker.committed("g", other).is_none());
    leave(&rig, "g", &joined.member_id).unwrap();
    assert_eq!(delete("g").unwrap(), [Ok(()), Ok(())]);
    assert!(rig.broker.committed("g", read).is_none());

    // Nobody knows what this member reads.
    let strange: &[(&str, &[u8])] = &[("range", b"?")];
    join(&rig, &wants("h", "", strange)).1.try_recv().unwrap().unwrap();
    assert_eq!(group_error(delete("h")), GroupError::NotEmpty);

    // Members of the other kind say it in their heartbeats.
    drop(rig.broker.commit("r", read, 0, true).unwrap());
    announce(&rig, "r", Delivery::Clustering).unwrap();
    assert_eq!(delete("r").unwrap(), [Err(GroupError::Subscribed), Ok(())]);
}

#[test]
fn a_group_is_deleted_when_it_is_empty_and_stays_deleted() {
    let mut rig = rig();
    let queue = rig.topic("T").queue(0);
    assert_eq!(group_error(rig.broker.delete_classic_group("g").map(drop)), GroupError::NoGroup);
    let joined = stable(&rig, "g");
    drop(rig.broker.commit_as(&member("g", &joined), &[at(queue, 0)]).unwrap());
    assert_eq!(group_error(rig.broker.delete_classic_group("g").map(drop)), GroupError::NotEmpty);
    leave(&rig, "g", &joined.member_id).unwrap();
    let promise = rig.broker.delete_classic_group("g").unwrap();
    rig.settle();
    assert!(promise.is_due(rig.broker.store().watermarks()));
    for _ in 0..2 {
        assert!(rig.broker.classic_group("g").is_none() && rig.broker.cursors_of("g").is_empty());
        rig.kill();
    }
    assert_eq!(join_alone(&rig, "g").unwrap().generation, 1, "a new group of that name");
    drop(rig.broker.commit_as(&nobody("simple"), &[at(queue, 0)]).unwrap());
    assert!(rig.broker.delete_classic_group("simple").is_ok());
    assert!(rig.broker.classic_group("simple").is_none());
}

#[test]
fn groups_are_listed_and_described() {
    let rig = rig();
    let queue = rig.topic("T").queue(0);
    drop(rig.broker.commit_as(&nobody("simple"), &[at(queue, 0)]).unwrap());
    let joined = stable(&rig, "stable");
    join_alone(&rig, "waiting").unwrap();
    announce(&rig, "others", Delivery::Clustering).unwrap();
    let listed: Vec<_> = rig
        .broker
        .classic_groups()
        .into_iter()
        .map(|group| (group.name, group.state, group.protocol_type, group.has_other_members))
        .collect();
    let text = str::to_owned;
    assert_eq!(
        listed,
        [
            (text("others"), GroupState::Empty, text(""), true),
            (text("simple"), GroupState::Empty, text(""), false),
            (text("stable"), GroupState::Stable, text("consumer"), false),
            (text("waiting"), GroupState::CompletingRebalance, text("consumer"), false),
        ]
    );
    let overview = rig.broker.classic_group("stable").unwrap();
    assert_eq!((overview.state, overview.protocol.as_str()), (GroupState::Stable, "range"));
    let member = &overview.members[0];
    assert_eq!((member.id.as_str(), member.client_id.as_str()), (joined.member_id.as_str(), "client"));
    assert_eq!((&*member.metadata, &*member.assignment), (&b"T"[..], &b"all"[..]));
    let waiting = rig.broker.classic_group("waiting").unwrap();
    assert_eq!((waiting.protocol.as_str(), waiting.members[0].metadata.len()), ("", 0));
    assert!(rig.broker.classic_group("nobody").is_none());

    // Who has to join again is shown with what it had.
    let (_, _answers) = join(&rig, &wants("stable", "", RANGE));
    let overview = rig.broker.classic_group("stable").unwrap();
    assert_eq!((overview.state, overview.protocol.as_str()), (GroupState::PreparingRebalance, ""));
    let shown: Vec<_> =
        overview.members.iter().map(|member| (&*member.metadata, &*member.assignment)).collect();
    assert_eq!(shown, [(&b""[..], &b"all"[..]), (&b""[..], &b""[..])]);
}

/// After `days`, which of the group's cursors are still there: on the topic that its member reads, and on another.
fn left(rig: &Rig, group: &str, days: u64) -> [bool; 2] {
    rig.clock.advance(days * DAY_MS);
    rig.broker.expire_group_cursors().unwrap();
    ["T", "U"].map(|topic| rig.broker.committed(group, rig.topic(topic).queue(0)).is_some())
}

#[test]
fn cursors_of_clients_without_a_group_live_from_their_commit() {
    let rig = rig();
    let queues = [rig.topic("T").queue(0), rig.topic("U").queue(0)];
    drop(rig.broker.commit_as(&nobody("g"), &[at(queues[0], 0)]).unwrap());
    rig.clock.advance(DAY_MS);
    drop(rig.broker.commit_as(&nobody("g"), &[at(queues[1], 0)]).unwrap());
    assert_eq!(left(&rig, "g", 6), [true, true], "to the last millisecond");
    rig.clock.advance(1);
    assert_eq!(left(&rig, "g", 0), [false, true]);
    assert_eq!(left(&rig, "g", 1), [false, false]);
    assert!(rig.broker.classic_group("g").is_none());
}

#[test]
fn cursors_of_a_group_live_from_the_end_of_its_last_member() {
    let mut rig = rig();
    let queues = [rig.topic("T").queue(0), rig.topic("U").queue(0)];
    let joined = stable(&rig, "g");
    drop(rig.broker.commit_as(&member("g", &joined), &queues.map(|queue| at(queue, 0))).unwrap());
    rig.clock.advance(30 * DAY_MS);
    rig.broker.expire_groups();
    rig.settle();
    rig.kill();
    assert_eq!(left(&rig, "g", 7), [true, true], "it is empty since today");
    rig.clock.advance(1);
    assert_eq!(left(&rig, "g", 0), [false, false]);
    assert!(rig.broker.classic_group("g").is_none(), "nothing is left of it");
    rig.settle();
    rig.kill();
    assert!(rig.broker.classic_groups().is_empty());
}

#[test]
fn members_keep_the_cursors_of_what_they_read() {
    let mut rig = rig();
    rig.options.classic.session_ms_max = i32::MAX;
    rig.kill();
    let queues = [rig.topic("T").queue(0), rig.topic("U").queue(0)];
    let request = JoinRequest { session_ms: i32::MAX, ..wants("g", "", RANGE) };
    let joined = join(&rig, &request).1.try_recv().unwrap().unwrap();
    drop(sync(&rig, "g", &joined, &[]));
    drop(rig.broker.commit_as(&member("g", &joined), &queues.map(|queue| at(queue, 0))).unwrap());
    assert_eq!(left(&rig, "g", 8), [true, true], "nobody can tell what it reads");
    rig.broker.read_subscriptions_with(topics);
    assert_eq!(left(&rig, "g", 0), [true, false]);
}

#[test]
fn cursors_of_the_other_kind_live_for_ever() {
    let rig = rig();
    let queues = [rig.topic("T").queue(0), rig.topic("U").queue(0)];
    drop(rig.broker.commit("g", queues[0], 0, true).unwrap());
    drop(rig.broker.commit_as(&nobody("g"), &[at(queues[1], 0)]).unwrap());
    announce(&rig, "g", Delivery::Broadcasting).unwrap();
    assert_eq!(left(&rig, "g", 8), [true, true], "a group with members of the other kind");
    rig.broker.unregister_consumer("g", "other", ChannelId(1));
    assert_eq!(left(&rig, "g", 0), [true, false]);
}

/// A leader that had no room to keep its generation, and has begun another one when there is room again: a restart must
/// not take the shares of the one for those of the other.
#[test]
fn only_generations_that_were_reached_are_kept() {
    let mut rig = rig();
    let first = stable(&rig, "g");
    let (_, second) = join(&rig, &wants("g", "", RANGE));
    let again = |rig: &Rig| join(rig, &wants("g", &first.member_id, RANGE)).1.try_recv().unwrap().unwrap();
    let led = again(&rig);
    let second = second.try_recv().unwrap().unwrap();
    rig.fill_room("T");
    let shares: &[(&str, &[u8])] = &[(&first.member_id, b"half"), (&second.member_id, b"other half")];
    let appended = rig.broker.store().watermarks().appended();
    drop(sync(&rig, "g", &led, shares).try_recv().unwrap().unwrap());
    assert_eq!(rig.broker.store().watermarks().appended(), appended, "there is no room to keep it");
    leave(&rig, "g", &second.member_id).unwrap();
    let alone = again(&rig);
    assert_eq!((alone.generation, alone.members.len()), (led.generation + 1, 1));
    rig.settle();
    assert_eq!(beat(&rig, "g", &alone), Ok(()), "the leader has still to assign");
    rig.settle();
    rig.kill();
    assert_eq!(beat(&rig, "g", &alone), Err(GroupError::IllegalGeneration), "nobody was ever told its share");
    let alone = again(&rig);
    let answer = sync(&rig, "g", &alone, &[(&first.member_id, b"all")]).try_recv().unwrap().unwrap();
    rig.settle();
    assert_eq!(*answer.redeem(rig.broker.store().watermarks()).unwrap().assignment, *b"all");
}
