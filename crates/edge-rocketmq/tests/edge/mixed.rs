//! Groups in which members of another protocol live.

use std::sync::mpsc::channel;

use braid_broker::{Committer, GroupError, JoinRefusal, JoinRequest, Joined, Leaving};
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::{
    Body, ConsumerData, ConsumerList, HeartbeatData, LockBatch, MessageModel, SubscriptionGroupTable,
};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::command::{ExtFields, FLAG_ONEWAY};

use crate::support::{Client, Server, heartbeat, number, pull, records, remark, request, request_with};

/// A member of the other protocol joins.
fn join(server: &Server, group: &str) -> Result<Joined, JoinRefusal> {
    let (give, answer) = channel();
    let wants = JoinRequest {
        group,
        member_id: "",
        instance_id: None,
        client_id: "other",
        client_host: "/127.0.0.1",
        session_ms: 60_000,
        rebalance_ms: 60_000,
        protocol_type: "consumer",
        protocols: &[("range", b"")],
        id_first: false,
        may_skip_assignment: false,
    };
    server.broker.join_group(&wants, Box::new(move |result| give.send(result).unwrap()));
    answer.recv().unwrap()
}

fn leave(server: &Server, group: &str, member_id: &str) {
    let left = server.broker.leave_group(group, &[Leaving { member_id, instance_id: None }]).unwrap();
    assert_eq!(left, [Ok(())]);
}

fn members(client: &mut Client) -> Command {
    client.ask(request(request::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", "g")]))
}

fn commit(offset: &str, flag: i32) -> Command {
    let fields = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", offset)];
    Command { flag, ..request(request::UPDATE_CONSUMER_OFFSET, &fields) }
}

/// Everything that a member would do in its group, each with its code.
fn what_members_do(client: &mut Client) -> Vec<(i32, i32)> {
    let lock = LockBatch { client_id: "c1".into(), consumer_group: "g".into(), ..LockBatch::default() };
    let reset = [("topic", "T"), ("group", "g"), ("timestamp", "0"), ("isForce", "true")];
    let lite = Command { code: request::LITE_PULL_MESSAGE, ..pull("g", "T", 0, 0, "*", 0) };
    let asked = [
        request(request::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", "g")]),
        pull("g", "T", 0, 0, "*", 0),
        lite,
        request_with(request::LOCK_BATCH_MQ, ExtFields::new(), lock.encode()),
        commit("1", 0),
        request(request::INVOKE_BROKER_TO_RESET_OFFSET, &reset),
    ];
    let mut codes = Vec::new();
    for command in asked {
        let code = command.code;
        let answer = client.ask(command);
        if answer.code == 16 {
            assert_eq!(remark(&answer), "members of another protocol are in the group");
        }
        codes.push((code, answer.code));
    }
    codes
}

#[test]
fn members_stay_out_until_those_of_another_protocol_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    (0..3).for_each(|_| drop(client.produce("T", 0, "m", "")));
    let other = join(&server, "g").unwrap();

    // The heartbeat is answered: it carries other groups too. But the member is not in.
    assert_eq!(client.ask(heartbeat("c1", "g", &[("T", "*")], 1)).code, 0);
    assert!(!server.broker.is_group_online("g"));
    let refused: Vec<_> = [38, 11, 361, 41, 15, 222].map(|code| (code, 16)).to_vec();
    assert_eq!(what_members_do(&mut client), refused);
    let queue = server.broker.topic("T").unwrap().queue(0);
    assert_eq!(server.broker.cursor("g", queue), None);

    leave(&server, "g", &other.member_id);
    assert_eq!(client.ask(heartbeat("c1", "g", &[("T", "*")], 1)).code, 0);
    let done: Vec<_> = [38, 11, 361, 41, 15, 222].map(|code| (code, 0)).to_vec();
    assert_eq!(what_members_do(&mut client), done);
    assert_eq!(ConsumerList::decode(&members(&mut client).body).unwrap().consumer_id_list, ["c1"]);
}

#[test]
fn commits_that_nobody_waits_for_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    (0..3).for_each(|_| drop(client.produce("T", 0, "m", "")));
    let other = join(&server, "g").unwrap();
    client.send(commit("2", FLAG_ONEWAY));
    let mut with_commit = pull("g", "T", 0, 0, "*", 0);
    let flags: i32 = with_commit.ext_fields.get("sysFlag").unwrap().parse().unwrap();
    with_commit.ext_fields.insert("sysFlag", (flags | 1).to_string());
    with_commit.ext_fields.insert("commitOffset", "2");
    // Answers come in order: when this one is here, the commit before it was looked at.
    assert_eq!(client.ask(with_commit.clone()).code, 16);
    let queue = server.broker.topic("T").unwrap().queue(0);
    assert_eq!(server.broker.cursor("g", queue), None);
    leave(&server, "g", &other.member_id);
    assert_eq!(client.ask(with_commit).code, 0);
    assert_eq!(server.broker.cursor("g", queue), Some(2));
}

#[test]
fn another_protocols_members_stay_out_until_ours_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.heartbeat("g", &[("T", "*")]);
    assert_eq!(join(&server, "g").unwrap_err().error, GroupError::OtherMembers);
    let bye = request(request::UNREGISTER_CLIENT, &[("clientID", "client-1"), ("consumerGroup", "g")]);
    assert_eq!(client.ask(bye).code, 0);
    assert!(join(&server, "g").is_ok());
}

#[test]
fn broadcasting_members_share_nothing_and_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let mut data = HeartbeatData::decode(&heartbeat("c1", "g", &[("T", "*")], 1).body).unwrap();
    data.consumer_data_set[0] =
        ConsumerData { message_model: Some(MessageModel::Broadcasting), ..data.consumer_data_set[0].clone() };
    let beat = request_with(request::HEART_BEAT, ExtFields::new(), data.encode());
    assert_eq!(client.ask(beat.clone()).code, 0);
    join(&server, "g").unwrap();
    assert_eq!(client.ask(beat).code, 0);
    assert_eq!(members(&mut client).code, 0);
    let got = client.ask(pull("g", "T", 0, 0, "*", 0));
    assert_eq!((got.code, records(&got.body).len(), number(&got, "nextBeginOffset")), (0, 1, 1));
    // The cursors are the others'.
    assert_eq!(client.ask(commit("1", 0)).code, 16);
}

#[test]
fn administrators_see_groups_of_another_protocol_and_set_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    (0..3).for_each(|_| drop(client.produce("T", 0, "m", "")));
    let queue = server.broker.topic("T").unwrap().queue(0);
    let other = join(&server, "g").unwrap();
    let listed = |client: &mut Client| {
        let answer = client.ask(request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[]));
        let table = SubscriptionGroupTable::decode(&answer.body).unwrap();
        assert_eq!(number(&answer, "totalGroupNum"), table.subscription_group_table.len() as i64);
        table.subscription_group_table.contains_key("g")
    };
    let one = |client: &mut Client| {
        client.ask(request(request::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "g")])).code
    };
    let delete = |client: &mut Client| {
        let fields = [("groupName", "g"), ("cleanOffset", "true")];
        client.ask(request(request::DELETE_SUBSCRIPTIONGROUP, &fields)).code
    };
    assert!(listed(&mut client));
    assert_eq!((one(&mut client), delete(&mut client)), (0, 16), "it is in use");
    leave(&server, "g", &other.member_id);
    let commit = braid_broker::NotedCommit { queue, offset: 3, leader_epoch: None, metadata: "" };
    let nobody = Committer { group: "g", member_id: "", instance_id: None, generation: -1 };
    let _promise = server.broker.commit_as(&nobody, &[commit]).unwrap();
    let reset = [("topic", "T"), ("group", "g"), ("timestamp", "0"), ("isForce", "true")];
    assert_eq!(client.ask(request(request::INVOKE_BROKER_TO_RESET_OFFSET, &reset)).code, 0);
    assert_eq!(server.broker.committed("g", queue).unwrap().offset, 0, "where its next member begins");
    assert_eq!(delete(&mut client), 0);
    assert!(!listed(&mut client) && server.broker.committed("g", queue).is_none());
    assert_eq!((one(&mut client), delete(&mut client)), (26, 0));

    // A group that both protocols have used.
    client.heartbeat("g", &[("T", "*")]);
    let bye = request(request::UNREGISTER_CLIENT, &[("clientID", "client-1"), ("consumerGroup", "g")]);
    client.ask(bye);
    let other = join(&server, "g").unwrap();
    leave(&server, "g", &other.member_id);
    assert_eq!(delete(&mut client), 0);
    assert!(!listed(&mut client));
}
