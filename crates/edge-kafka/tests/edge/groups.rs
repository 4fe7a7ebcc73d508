//! Groups: who is in them, how far they have come, what administrators see.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use braid_broker::{
    Channel, ChannelId, Client as Member, ConsumeFrom, ConsumeType, ConsumerRegistration, Delivery, Notice,
};
use braid_wire_kafka::consumer_protocol::{Subscription, encode_subscription};
use braid_wire_kafka::messages::{
    delete_groups, describe_groups, find_coordinator, heartbeat, join_group, leave_group, list_groups,
    offset_commit, offset_delete, offset_fetch, sync_group,
};

use crate::support::{Client, Server, ask, batch, decode, to};

/// What a consumer of these topics says of itself.
fn subscription(topics: &[&'static str]) -> Vec<u8> {
    let topics = topics.iter().map(|topic| (*topic).into()).collect();
    let mut out = Vec::new();
    encode_subscription(&Subscription { topics, ..Default::default() }, 0, &mut out);
    out
}

fn wants(group: &'static str, member_id: &str) -> join_group::Request<'static> {
    join_group::Request {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned().into(),
        protocol_type: "consumer".into(),
        protocols: vec![join_group::RequestProtocol {
            name: "range".into(),
            metadata: subscription(&["T"]).into(),
        }],
        ..Default::default()
    }
}

fn share(member_id: &str, assignment: &'static [u8]) -> sync_group::RequestAssignment<'static> {
    sync_group::RequestAssignment { member_id: member_id.to_owned().into(), assignment: assignment.into() }
}

fn syncs(
    group: &'static str,
    joined: &join_group::Response<'_>,
    assignments: Vec<sync_group::RequestAssignment<'static>>,
) -> sync_group::Request<'static> {
    sync_group::Request {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.to_string().into(),
        protocol_type: Some("consumer".into()),
        protocol_name: joined.protocol_name.as_deref().map(|name| name.to_string().into()),
        assignments,
        ..Default::default()
    }
}

/// A stable group of one member, of an old client.
fn stable(client: &mut Client, group: &'static str) -> join_group::Response<'static> {
    let joined = ask!(&mut *client, join_group, 3, wants(group, ""));
    assert_eq!(joined.error_code, 0);
    let synced =
        ask!(&mut *client, sync_group, 3, syncs(group, &joined, vec![share(&joined.member_id, b"all")]));
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
    joined
}

fn beat(client: &mut Client, group: &'static str, joined: &join_group::Response<'_>) -> i16 {
    let request = heartbeat::Request {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.to_string().into(),
        group_instance_id: None,
    };
    send_beat(client, 4, &request)
}

/// The answer to a heartbeat.
fn send_beat(client: &mut Client, version: i16, request: &heartbeat::Request<'_>) -> i16 {
    let correlation_id = client.send(version, request);
    let body = client.answer(heartbeat::KEY, version, correlation_id);
    decode::<heartbeat::Response>(version, &body).error_code
}

fn leave(client: &mut Client, group: &'static str, member_id: &str) {
    let request = leave_group::Request {
        group_id: group.into(),
        member_id: member_id.to_owned().into(),
        ..Default::default()
    };
    assert_eq!(ask!(client, leave_group, 1, request).error_code, 0);
}

#[test]
fn this_node_coordinates_every_group_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let port = i32::from(server.address.port());
    for version in 0..=3 {
        let request = find_coordinator::Request { key: "g".into(), ..Default::default() };
        let found = ask!(&mut client, find_coordinator, version, request);
        assert_eq!((found.error_code, found.node_id, &*found.host, found.port), (0, 0, "127.0.0.1", port));
    }
    for version in 4..=6 {
        let coordinator_keys = vec!["g".into(), "h".into()];
        let request = find_coordinator::Request { coordinator_keys, ..Default::default() };
        let found = ask!(&mut client, find_coordinator, version, request);
        let keys: Vec<_> =
            found.coordinators.iter().map(|c| (&*c.key, c.error_code, c.node_id, c.port)).collect();
        assert_eq!(keys, [("g", 0, 0, port), ("h", 0, 0, port)]);
    }
    for key_type in [1, 2] {
        let request =
            find_coordinator::Request { key_type, coordinator_keys: vec!["t".into()], ..Default::default() };
        let found = ask!(&mut client, find_coordinator, 6, request);
        assert_eq!((found.coordinators[0].error_code, found.coordinators[0].node_id), (42, -1));
        let request = find_coordinator::Request { key: "t".into(), key_type, ..Default::default() };
        assert_eq!(ask!(&mut client, find_coordinator, 3, request).error_code, 42);
    }
}

#[test]
fn every_version_joins_and_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    for version in 0..=9 {
        let mut joined = ask!(&mut client, join_group, version, wants("g", ""));
        if version >= 4 {
            assert_eq!((joined.error_code, joined.generation_id, &*joined.leader), (79, -1, ""));
            assert_eq!(joined.protocol_name.as_deref(), (version < 7).then_some(""));
            joined = ask!(&mut client, join_group, version, wants("g", &joined.member_id));
        }
        assert_eq!(joined.error_code, 0, "{version}");
        assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
        assert!(joined.member_id.starts_with("test-"), "{}", joined.member_id);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        assert_eq!(&*joined.members[0].metadata, subscription(&["T"]));
        let mut request = syncs("g", &joined, vec![share(&joined.member_id, b"all")]);
        if version >= 5 {
            request.protocol_type = Some("consumer".into());
            request.protocol_name = Some("sticky".into());
            assert_eq!(ask!(&mut client, sync_group, 5, request.clone()).error_code, 23);
            request.protocol_name = Some("range".into());
        }
        let synced = ask!(&mut client, sync_group, version.min(5), request);
        assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]), "{version}");
        assert_eq!(beat(&mut client, "g", &joined), 0);
        leave(&mut client, "g", &joined.member_id);
        assert_eq!(beat(&mut client, "g", &joined), 25);
    }
}

#[test]
fn members_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (mut one, mut two) = (server.client(), server.client());
    let first = stable(&mut one, "g");
    let waiting = two.send(5, &wants("g", ""));
    // Version 5 gives an id first.
    let body = two.answer(join_group::KEY, 5, waiting);
    let given: join_group::Response<'_> = decode(5, &body);
    let second = two.send(5, &wants("g", &given.member_id));
    until(|| beat(&mut one, "g", &first) == 27);
    let again = ask!(&mut one, join_group, 5, wants("g", &first.member_id));
    assert_eq!((again.error_code, again.generation_id, again.members.len()), (0, 2, 2));
    let body = two.answer(join_group::KEY, 5, second);
    let second: join_group::Response<'_> = decode(5, &body);
    assert_eq!((second.generation_id, &second.leader, second.members.len()), (2, &first.member_id, 0));

    let waiting = two.send(3, &syncs("g", &second, Vec::new()));
    let shares = vec![share(&first.member_id, b"one"), share(&second.member_id, b"two")];
    let synced = ask!(&mut one, sync_group, 3, syncs("g", &again, shares));
    assert_eq!(&*synced.assignment, b"one");
    let body = two.answer(sync_group::KEY, 3, waiting);
    let synced: sync_group::Response<'_> = decode(3, &body);
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"two"[..]));
}

/// Waits for what an event elsewhere brings about.
fn until(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < end, "it did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_member_that_goes_away_while_it_waits_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut one = server.client();
    let first = stable(&mut one, "g");
    let mut two = server.client();
    two.send(3, &wants("g", ""));
    until(|| beat(&mut one, "g", &first) == 27);
    drop(two);
    server.await_connections(1);
    let again = ask!(&mut one, join_group, 3, wants("g", &first.member_id));
    assert_eq!((again.error_code, again.members.len()), (0, 1));
}

#[test]
fn a_stop_answers_members_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let (mut one, mut two) = (server.client(), server.client());
    let first = stable(&mut one, "g");
    let waiting = two.send(3, &wants("g", ""));
    until(|| beat(&mut one, "g", &first) == 27);
    server.stop();
    let body = two.answer(join_group::KEY, 3, waiting);
    let response: join_group::Response<'_> = decode(3, &body);
    assert_eq!(response.error_code, 15);
}

#[test]
fn joins_are_refused_with_kafkas_codes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    stable(&mut client, "g");
    let cases = [
        (wants("", ""), 24, ""),
        (join_group::Request { session_timeout_ms: 5_999, ..wants("g", "m") }, 26, "m"),
        (wants("g", "ghost"), 25, "ghost"),
        (wants("absent", "ghost"), 25, "ghost"),
        (join_group::Request { protocol_type: "connect".into(), ..wants("g", "") }, 23, ""),
        (join_group::Request { protocols: Vec::new(), ..wants("g", "") }, 23, ""),
    ];
    for (request, code, id) in cases {
        for version in [2, 6, 9] {
            let refused = ask!(&mut client, join_group, version, request.clone());
            assert_eq!((refused.error_code, &*refused.member_id), (code, id), "{version}");
        }
    }
}

#[test]
fn static_members_are_replaced_without_a_rebalance_and_removed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let fixed = || join_group::Request { group_instance_id: Some("i".into()), ..wants("g", "") };
    let joined = ask!(&mut client, join_group, 9, fixed());
    assert_eq!(joined.error_code, 0, "static members are let in at once");
    assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("i"));
    let unnamed = sync_group::Request { protocol_type: None, ..syncs("g", &joined, Vec::new()) };
    assert_eq!(
        ask!(&mut client, sync_group, 5, unnamed).error_code,
        23,
        "from version 5 on the protocol is named"
    );
    ask!(&mut client, sync_group, 5, syncs("g", &joined, vec![share(&joined.member_id, b"all")]));
    let back = ask!(&mut client, join_group, 9, fixed());
    assert_eq!((back.error_code, back.generation_id, back.skip_assignment), (0, 1, true));
    assert_ne!(back.member_id, joined.member_id);
    let zombie = heartbeat::Request {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id,
        group_instance_id: Some("i".into()),
    };
    assert_eq!(send_beat(&mut client, 3, &zombie), 82);

    let member = |member_id: &'static str, instance: Option<&'static str>| leave_group::RequestMember {
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        reason: None,
    };
    for version in 3..=5 {
        let members = vec![member("", Some("i")), member("ghost", None), member("", Some("j"))];
        let request = leave_group::Request { group_id: "g".into(), members, ..Default::default() };
        let left = ask!(&mut client, leave_group, version, request);
        let codes: Vec<_> = left
            .members
            .iter()
            .map(|m| (&*m.member_id, m.group_instance_id.as_deref(), m.error_code))
            .collect();
        let first = if version == 3 { 0 } else { 25 };
        assert_eq!(codes, [("", Some("i"), first), ("ghost", None, 25), ("", Some("j"), 25)]);
        assert_eq!(left.error_code, 0);
    }
    let one = leave_group::Request { group_id: "g".into(), member_id: "ghost".into(), ..Default::default() };
    assert_eq!(ask!(&mut client, leave_group, 2, one).error_code, 25);
    let nowhere = leave_group::Request { members: vec![member("m", None)], ..Default::default() };
    assert_eq!(ask!(&mut client, leave_group, 3, nowhere).error_code, 24);
}

fn commits(
    group: &'static str,
    who: Option<&join_group::Response<'_>>,
    topics: Vec<offset_commit::RequestTopic<'static>>,
) -> offset_commit::Request<'static> {
    offset_commit::Request {
        group_id: group.into(),
        generation_id_or_member_epoch: who.map_or(-1, |joined| joined.generation_id),
        member_id: who.map(|joined| joined.member_id.to_string()).unwrap_or_default().into(),
        topics,
        ..Default::default()
    }
}

fn on(topic: &'static str, partition: i32, offset: i64) -> offset_commit::RequestTopic<'static> {
    let partition = offset_commit::RequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_leader_epoch: 3,
        committed_metadata: Some("note".into()),
    };
    offset_commit::RequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }
}

/// The codes of all partitions of a commit.
fn committed(client: &mut Client, version: i16, request: offset_commit::Request<'static>) -> Vec<i16> {
    let response = ask!(client, offset_commit, version, request);
    response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| p.error_code)).collect()
}

/// Offset, epoch and text of each partition that a group is asked for.
fn fetched(client: &mut Client, group: &'static str, topic: &'static str) -> Vec<(i64, i32, String)> {
    let topics = Some(vec![offset_fetch::RequestTopic { name: topic.into(), partition_indexes: vec![0, 1] }]);
    let request = offset_fetch::Request { group_id: group.into(), topics, ..Default::default() };
    let response = ask!(client, offset_fetch, 7, request);
    assert_eq!(response.error_code, 0);
    let partition = |p: &offset_fetch::ResponsePartition<'_>| {
        assert_eq!(p.error_code, 0);
        (p.committed_offset, p.committed_leader_epoch, p.metadata.as_deref().unwrap().to_owned())
    };
    response.topics.iter().flat_map(|topic| topic.partitions.iter().map(partition)).collect()
}

#[test]
fn commits_come_back_in_every_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.topic("T", 2);
    let id = server.broker.topic("T").unwrap().id.0.to_be_bytes();
    let mut client = server.client();
    // A restart sets back what lies above a partition's end.
    let ten = batch(&[&b"v"[..]; 10]);
    ask!(&mut client, produce, 9, to("T", 1, -1, &ten));
    let none = (-1, -1, String::new());
    assert_eq!(fetched(&mut client, "g", "T"), [none.clone(), none.clone()], "an unknown group is no error");
    assert_eq!(fetched(&mut client, "g", "unknown"), [none.clone(), none.clone()]);
    let joined = stable(&mut client, "g");
    for version in 2..=10 {
        let mut topic = on("T", 1, i64::from(version));
        if version >= 10 {
            topic.topic_id = id;
        }
        let request = commits("g", Some(&joined), vec![topic]);
        assert_eq!(committed(&mut client, version, request), [0], "{version}");
        let epoch = if version >= 6 { 3 } else { -1 };
        let expected = [none.clone(), (i64::from(version), epoch, "note".to_owned())];
        assert_eq!(fetched(&mut client, "g", "T"), expected, "{version}");
    }
    for version in 1..=7 {
        let topics = Some(vec![offset_fetch::RequestTopic { name: "T".into(), partition_indexes: vec![1] }]);
        let request = offset_fetch::Request { group_id: "g".into(), topics, ..Default::default() };
        let response = ask!(&mut client, offset_fetch, version, request);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.committed_offset, partition.metadata.as_deref()), (10, Some("note")));
        assert_eq!(partition.committed_leader_epoch, if version >= 5 { 3 } else { -1 });
    }
    for version in 2..=7 {
        let request = offset_fetch::Request { group_id: "g".into(), ..Default::default() };
        let all = ask!(&mut client, offset_fetch, version, request);
        assert_eq!((&*all.topics[0].name, all.topics[0].partitions.len()), ("T", 1), "{version}");
    }
    for version in 8..=10 {
        let named = offset_fetch::RequestGroup {
            group_id: "g".into(),
            topics: Some(vec![offset_fetch::RequestGroupTopic {
                name: "T".into(),
                topic_id: if version >= 10 { id } else { [0; 16] },
                partition_indexes: vec![1, 7],
            }]),
            ..Default::default()
        };
        let all = offset_fetch::RequestGroup { group_id: "g".into(), ..Default::default() };
        let nobody = offset_fetch::RequestGroup { group_id: "nobody".into(), ..Default::default() };
        let groups = vec![named, all, nobody];
        let response =
            ask!(&mut client, offset_fetch, version, offset_fetch::Request { groups, ..Default::default() });
        let offsets = |at: usize| -> Vec<i64> {
            let topics = response.groups[at].topics.iter();
            topics.flat_map(|topic| topic.partitions.iter().map(|p| p.committed_offset)).collect()
        };
        assert_eq!((offsets(0), offsets(1), offsets(2)), (vec![10, -1], vec![10], vec![]), "{version}");
        assert_eq!(response.groups[1].topics[0].topic_id, if version >= 10 { id } else { [0; 16] });
    }
    let ghost = offset_fetch::RequestGroup {
        group_id: "g".into(),
        topics: Some(vec![offset_fetch::RequestGroupTopic {
            topic_id: [9; 16],
            partition_indexes: vec![0],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request = offset_fetch::Request { groups: vec![ghost], ..Default::default() };
    let response = ask!(&mut client, offset_fetch, 10, request);
    assert_eq!(response.groups[0].topics[0].partitions[0].error_code, 100);

    // What was answered is there after a restart, and the member goes on.
    server.stop();
    drop(server);
    let server = Server::start(dir.path());
    let mut client = server.client();
    assert_eq!(fetched(&mut client, "g", "T")[1], (10, 3, "note".to_owned()));
    assert_eq!(beat(&mut client, "g", &joined), 0);
}

/// KafkaJS's `resetOffsets` commits -2 and -1, what ListOffsets calls the two ends, which ended its consumer when they were refused.
#[test]
fn a_commit_may_name_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    let mut client = server.client();
    let ten = batch(&[&b"v"[..]; 10]);
    ask!(&mut client, produce, 9, to("T", 1, -1, &ten));
    for (named, meant, code) in [(-2, 0, 0), (-1, 10, 0), (-3, 10, 1)] {
        assert_eq!(committed(&mut client, 8, commits("g", None, vec![on("T", 1, named)])), [code], "{named}");
        assert_eq!(fetched(&mut client, "g", "T")[1].0, meant, "{named}");
    }
}

#[test]
fn commits_are_refused_partition_by_partition_or_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    let mut client = server.client();
    let joined = stable(&mut client, "g");
    let mut long = on("T", 1, 5);
    long.partitions[0].committed_metadata = Some("x".repeat(4_097).into());
    let mut longest = on("T", 1, 5);
    longest.partitions[0].committed_metadata = Some("x".repeat(4_096).into());
    let mixed = vec![on("T", 0, 5), on("unknown", 0, 5), on("T", 2, 5), long, longest];
    assert_eq!(committed(&mut client, 8, commits("g", Some(&joined), mixed.clone())), [0, 3, 3, 12, 0]);

    // The group's refusal is about what is there; a name that is not there is not its business.
    let mut old = joined.clone();
    old.generation_id = 7;
    assert_eq!(committed(&mut client, 8, commits("g", Some(&old), mixed)), [22, 3, 3, 22, 22]);
    assert_eq!(committed(&mut client, 8, commits("g", Some(&old), vec![on("unknown", 0, 1)])), [3]);
    assert_eq!(committed(&mut client, 8, commits("g", None, vec![on("T", 0, 1)])), [25]);
    let mut ghost = joined.clone();
    ghost.member_id = "ghost".into();
    assert_eq!(committed(&mut client, 8, commits("g", Some(&ghost), vec![on("T", 0, 1)])), [25]);
    for (version, code) in [(8, 22), (9, 69)] {
        let request = commits("absent", Some(&joined), vec![on("T", 0, 1)]);
        assert_eq!(committed(&mut client, version, request), [code]);
    }
    let mut fenced = commits("g", Some(&joined), vec![on("T", 0, 1)]);
    fenced.group_instance_id = Some("i".into());
    assert_eq!(committed(&mut client, 8, fenced), [25]);
    assert_eq!(committed(&mut client, 8, commits("", None, vec![on("T", 0, 1)])), [24]);
    let unknown_id = offset_commit::RequestTopic { topic_id: [9; 16], ..on("", 0, 1) };
    assert_eq!(committed(&mut client, 10, commits("g", Some(&joined), vec![unknown_id])), [100]);

    // A rebalance whose assignment is not there yet.
    let again = ask!(&mut client, join_group, 3, wants("g", &joined.member_id));
    assert_eq!(committed(&mut client, 8, commits("g", Some(&again), vec![on("T", 0, 1)])), [27]);
    assert_eq!(fetched(&mut client, "g", "T")[0].0, 5);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let joined = stable(&mut client, "stable");
    assert_eq!(committed(&mut client, 8, commits("simple", None, vec![on("T", 0, 1)])), [0]);
    let list = |client: &mut Client, version, states: &[&'static str], types: &[&'static str]| {
        let request = list_groups::Request {
            states_filter: states.iter().map(|state| (*state).into()).collect(),
            types_filter: types.iter().map(|kind| (*kind).into()).collect(),
        };
        let response = ask!(client, list_groups, version, request);
        assert_eq!(response.error_code, 0);
        let group = |group: &list_groups::ResponseGroup<'_>| {
            [&group.group_id, &group.protocol_type, &group.group_state, &group.group_type]
                .map(|text| text.to_string())
        };
        response.groups.iter().map(group).collect::<Vec<_>>()
    };
    for version in 0..=5 {
        let state = |state: &str| if version >= 4 { state.to_owned() } else { String::new() };
        let kind = if version >= 5 { "classic" } else { "" };
        let simple = ["simple".to_owned(), String::new(), state("Empty"), kind.to_owned()];
        let stable = ["stable".to_owned(), "consumer".to_owned(), state("Stable"), kind.to_owned()];
        assert_eq!(list(&mut client, version, &[], &[]), [simple, stable], "{version}");
    }
    let names = |groups: Vec<[String; 4]>| groups.into_iter().map(|[name, ..]| name).collect::<Vec<_>>();
    assert_eq!(names(list(&mut client, 4, &["sTABLE", "Dead"], &[])), ["stable"]);
    assert_eq!(names(list(&mut client, 5, &["empty"], &["Classic"])), ["simple"]);
    assert_eq!(names(list(&mut client, 5, &[], &["consumer"])), [""; 0]);

    for version in 0..=6 {
        let request = describe_groups::Request {
            groups: vec!["stable".into(), "simple".into(), "absent".into()],
            include_authorized_operations: version >= 3,
        };
        let response = ask!(&mut client, describe_groups, version, request);
        let [stable, simple, absent] = &response.groups[..] else { panic!("{response:?}") };
        assert_eq!((stable.error_code, &*stable.group_state, &*stable.protocol_data), (0, "Stable", "range"));
        let member = &stable.members[0];
        assert_eq!((&member.member_id, &*member.client_id), (&joined.member_id, "test"));
        assert_eq!(&*member.client_host, "/127.0.0.1");
        assert_eq!(
            (&*member.member_metadata, &*member.member_assignment),
            (&*subscription(&["T"]), &b"all"[..])
        );
        let operations = if version >= 3 { 3_400 } else { i32::MIN };
        assert_eq!(stable.authorized_operations, operations);
        assert_eq!((&*simple.group_state, &*simple.protocol_type, simple.members.len()), ("Empty", "", 0));
        assert_eq!((&*absent.group_state, absent.error_code), ("Dead", if version >= 6 { 69 } else { 0 }));
        assert_eq!(absent.error_message.is_some(), version >= 6);
    }

    for version in 0..=2 {
        let request = delete_groups::Request {
            groups_names: vec!["stable".into(), "simple".into(), "absent".into(), "absent".into()],
        };
        let response = ask!(&mut client, delete_groups, version, request);
        let codes: Vec<_> =
            response.results.iter().map(|result| (&*result.group_id, result.error_code)).collect();
        let simple = if version == 0 { 0 } else { 69 };
        assert_eq!(codes, [("stable", 68), ("simple", simple), ("absent", 69)]);
    }
}

#[test]
fn cursors_are_deleted_where_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    server.topic("U", 1);
    let mut client = server.client();
    let joined = stable(&mut client, "g");
    let both = vec![on("T", 0, 1), on("U", 0, 1)];
    assert_eq!(committed(&mut client, 8, commits("g", Some(&joined), both)), [0, 0]);
    let delete = |client: &mut Client, group: &'static str| {
        let topic = |name: &'static str, partitions: &[i32]| offset_delete::RequestTopic {
            name: name.into(),
            partitions: partitions
                .iter()
                .map(|&partition_index| offset_delete::RequestPartition { partition_index })
                .collect(),
        };
        let topics = vec![topic("T", &[0, 9]), topic("U", &[0]), topic("unknown", &[0])];
        let request = offset_delete::Request { group_id: group.into(), topics };
        let response = ask!(client, offset_delete, 0, request);
        let codes = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| p.error_code));
        (response.error_code, codes.collect::<Vec<_>>())
    };
    assert_eq!(delete(&mut client, "g"), (0, vec![86, 3, 0, 3]));
    assert_eq!((fetched(&mut client, "g", "T")[0].0, fetched(&mut client, "g", "U")[0].0), (1, -1));
    leave(&mut client, "g", &joined.member_id);
    assert_eq!(delete(&mut client, "g"), (0, vec![0, 3, 0, 3]));
    assert_eq!(fetched(&mut client, "g", "T")[0].0, -1);
    assert_eq!(delete(&mut client, "absent"), (69, vec![]));
    assert_eq!(delete(&mut client, ""), (24, vec![]));
}

struct Line;

impl Channel for Line {
    fn id(&self) -> ChannelId {
        ChannelId(1)
    }
    fn remote_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    fn notify(&self, _: &Notice) {}
    fn close(&self) {}
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn groups_of_the_other_protocol_are_seen_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let queue = server.broker.topic("T").unwrap().queue(0);
    let _promise = server.broker.commit("g", queue, 0, true).unwrap();
    let member = Member { client_id: "other".into(), language: 0, version: 1, channel: Arc::new(Line) };
    let registration = ConsumerRegistration {
        group: "g".into(),
        consume_type: ConsumeType::Passively,
        delivery: Delivery::Clustering,
        consume_from: ConsumeFrom::LastOffset,
        subscriptions: None,
        fingerprint: 0,
    };
    server.broker.register_consumer(registration, &member).unwrap();
    let mut client = server.client();
    assert_eq!(ask!(&mut client, join_group, 9, wants("g", "")).error_code, 23);
    assert_eq!(committed(&mut client, 8, commits("g", None, vec![on("T", 0, 1)])), [25]);
    let groups = ask!(&mut client, list_groups, 4, list_groups::Request::default()).groups;
    assert_eq!(
        (&*groups[0].group_id, &*groups[0].group_state, &*groups[0].protocol_type),
        ("g", "Stable", "")
    );
    let request = delete_groups::Request { groups_names: vec!["g".into()] };
    assert_eq!(ask!(&mut client, delete_groups, 2, request).results[0].error_code, 68);
    assert_eq!(fetched(&mut client, "g", "T")[0], (0, -1, String::new()), "reading is free");

    server.broker.unregister_consumer("g", "other", ChannelId(1));
    let joined = stable(&mut client, "g");
    assert_eq!(committed(&mut client, 8, commits("g", Some(&joined), vec![on("T", 0, 0)])), [0]);
    assert_eq!(server.broker.cursor("g", queue), Some(0), "one table of cursors");
}
