//! Time: the initial delay, sessions, and how long the others wait.

use super::*;

#[test]
fn newcomers_prolong_the_first_delay_and_its_bound_ends_it() {
    let mut lab = Lab::new(3_000);
    let hasty = Who { rebalance_ms: 8_000, ..new() };
    lab.join("a", hasty);
    lab.wait(2_000);
    lab.join("b", hasty);
    lab.wait(1_000);
    assert!(lab.said().is_empty(), "b came: 3 s more");
    lab.wait(2_000);
    lab.join("c", hasty);
    lab.wait(1_000);
    assert!(lab.said().is_empty(), "c came: what is left of 8 s, which are 2");
    lab.join("d", hasty);
    lab.wait(1_999);
    assert!(lab.said().is_empty());
    lab.wait(1);
    assert_eq!(lab.said().len(), 4, "the rebalance timeout bounds it all");
    assert_eq!(lab.now_ms, 8_000);
}

#[test]
fn a_silent_member_is_gone_after_its_session_and_not_before() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.wait(9_999);
    assert_eq!(lab.beat(&ids[0], 1), Ok(()));
    lab.wait(1);
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
    assert_eq!(lab.beat(&ids[1], 1), Err(GroupError::UnknownMember));
    assert_eq!(lab.beat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    lab.join("a", known(&ids[0]));
    assert_eq!(lab.joined().unwrap().generation, 2);
}

#[test]
fn the_last_silent_member_leaves_an_empty_group_with_its_generation() {
    let (mut lab, _) = Lab::stable(&[new()]);
    lab.wait(10_000);
    assert_eq!((lab.machine.state, lab.machine.generation), (GroupState::Empty, 2));
    assert_eq!((lab.machine.since_ms, lab.kept), (13_000, 2));
    assert!(lab.machine.protocol.is_empty());
    lab.join("b", new());
    lab.wait(3_000);
    assert_eq!(lab.joined().unwrap().generation, 3, "generations go on");
}

#[test]
fn no_session_ends_while_its_member_waits_for_us() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("a", known(&ids[0]));
    lab.wait(9_000);
    assert_eq!(lab.beat(&ids[1], 1), Err(GroupError::RebalanceInProgress));
    lab.wait(9_000);
    assert!(lab.said().is_empty() && lab.machine.members.len() == 2, "a is 18 s silent, but parked");
    lab.join("b", known(&ids[1]));
    lab.said();
    assert!(lab.sync("b", &ids[1], 2, &[]).is_some());
    lab.wait(9_000);
    assert_eq!(lab.beat(&ids[0], 2), Ok(()));
    lab.wait(9_000);
    assert_eq!(lab.beat(&ids[0], 2), Ok(()));
    assert_eq!(lab.machine.members.len(), 2, "b waits for the leader");
    lab.sync("a", &ids[0], 2, &[]);
    assert_eq!(lab.said().len(), 2);
    lab.wait(9_999);
    assert_eq!(lab.machine.state, GroupState::Stable, "sessions begin with the answer");
    lab.wait(1);
    assert_eq!((lab.machine.state, lab.machine.generation), (GroupState::Empty, 3));
}

#[test]
fn a_newcomer_waits_five_minutes_at_most() {
    let (mut lab, ids) = Lab::stable(&[Who { rebalance_ms: 1_000_000, ..new() }]);
    lab.join("n", new());
    for _ in 0..59 {
        lab.wait(5_000);
        assert_eq!(lab.beat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    }
    assert!(lab.said().is_empty());
    lab.wait(5_000);
    assert_eq!(lab.said(), [Said::Join("n", refused(GroupError::UnknownMember, ""))]);
}

#[test]
fn who_does_not_join_again_in_time_is_left_behind_unless_it_is_static() {
    fn quick(who: Who<'_>) -> Who<'_> {
        Who { rebalance_ms: 5_000, session_ms: 60_000, ..who }
    }
    let (mut lab, ids) = Lab::stable(&[quick(new()), quick(new()), quick(fixed("i"))]);
    lab.join("b", Who { says: OTHER_RANGE, ..quick(known(&ids[1])) });
    lab.wait(4_999);
    assert!(lab.said().is_empty());
    lab.wait(1);
    let joined = lab.joined().unwrap();
    assert_eq!(joined.leader, ids[1], "the old leader is gone");
    let there: Vec<_> = joined.members.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(there, [&ids[1], &ids[2]], "the static one stays, in its place");
    assert_eq!(lab.beat(&ids[0], 1), Err(GroupError::UnknownMember));
    let back = lab.act(|machine, act| machine.heartbeat(&ids[2], Some("i"), 2, act));
    assert_eq!(back, Ok(()));
}

#[test]
fn static_members_alone_are_waited_for_until_their_sessions_end() {
    let slow = Who { session_ms: 30_000, rebalance_ms: 5_000, ..fixed("i") };
    let (mut lab, ids) = Lab::stable(&[Who { session_ms: 6_000, rebalance_ms: 5_000, ..new() }, slow]);
    lab.wait(6_000);
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance, "the dynamic one was silent");
    lab.wait(20_000);
    assert_eq!((lab.machine.members.len(), lab.machine.generation), (1, 1), "nobody joined: nothing begins");
    lab.wait(4_000);
    assert_eq!((lab.machine.state, lab.machine.generation), (GroupState::Empty, 2));
    assert_eq!(lab.beat(&ids[1], 1), Err(GroupError::UnknownMember));
}

#[test]
fn who_does_not_sync_in_time_is_left_behind() {
    let quick = Who { rebalance_ms: 5_000, session_ms: 60_000, ..new() };
    // The leader never brings an assignment.
    let (mut lab, ids) = Lab::stable(&[quick, quick]);
    lab.join("a", Who { id: &ids[0], ..quick });
    lab.join("b", Who { id: &ids[1], ..quick });
    lab.said();
    assert!(lab.sync("b", &ids[1], 2, &[]).is_some());
    lab.wait(4_999);
    assert!(lab.said().is_empty());
    lab.wait(1);
    assert_eq!(lab.said(), [Said::Sync("b", Err(GroupError::RebalanceInProgress))]);
    assert_eq!(lab.machine.leader.as_deref(), Some(ids[1].as_str()));
    lab.join("b", Who { id: &ids[1], ..quick });
    assert_eq!(lab.joined().unwrap().generation, 3);

    // A follower never asks, though the group is stable.
    let (mut lab, ids) = Lab::stable(&[quick, quick]);
    lab.join("a", Who { id: &ids[0], ..quick });
    lab.join("b", Who { id: &ids[1], ..quick });
    lab.said();
    lab.sync("a", &ids[0], 2, &[]);
    assert_eq!(lab.machine.state, GroupState::Stable);
    lab.said();
    lab.wait(5_000);
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
    assert_eq!(lab.beat(&ids[1], 2), Err(GroupError::UnknownMember));
}

#[test]
fn a_rebalance_takes_back_what_waits_for_the_leader() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("a", known(&ids[0]));
    lab.join("b", known(&ids[1]));
    lab.said();
    lab.sync("b", &ids[1], 2, &[]);
    lab.join("n", new());
    assert_eq!(lab.said(), [Said::Sync("b", Err(GroupError::RebalanceInProgress))]);
    assert!(lab.machine.members[&ids[1]].assignment.is_empty());
}
