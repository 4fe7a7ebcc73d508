//! Who is let in, how, and what the others notice.

use super::*;

#[test]
fn a_first_member_leads_and_gets_its_own_assignment() {
    let mut lab = Lab::new(3_000);
    assert!(lab.join("a", new()).is_some());
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
    lab.wait(2_999);
    assert!(lab.said().is_empty(), "others may come");
    lab.wait(1);
    let joined = lab.joined().unwrap();
    assert_eq!((joined.member_id.as_str(), joined.generation, joined.leader.as_str()), ("c-1", 1, "c-1"));
    assert_eq!((joined.protocol.as_str(), joined.protocol_type.as_str()), ("range", "consumer"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(*joined.members[0].metadata, *b"r");
    assert_eq!(lab.machine.state, GroupState::CompletingRebalance);
    lab.sync("a", "c-1", 1, &[("c-1", b"all")]);
    let share =
        Synced { protocol_type: "consumer".into(), protocol: "range".into(), assignment: b"all"[..].into() };
    assert_eq!(lab.said(), [Said::Sync("a", Ok(share.clone()))]);
    assert_eq!((lab.machine.state, lab.kept), (GroupState::Stable, 1));
    lab.sync("again", "c-1", 1, &[("c-1", b"other")]);
    assert_eq!(lab.said(), [Said::Sync("again", Ok(share))], "a stable group repeats what it said");
    assert_eq!(lab.beat("c-1", 1), Ok(()));
}

#[test]
fn without_a_delay_the_first_join_is_answered_at_once() {
    let mut lab = Lab::new(0);
    assert_eq!(lab.join("a", new()), None);
    assert_eq!(lab.joined().unwrap().generation, 1);
}

#[test]
fn only_the_leader_is_told_who_is_there_and_in_the_order_of_arrival() {
    let mut lab = Lab::new(3_000);
    for (call, client) in [("z", "z"), ("a", "a"), ("m", "m")] {
        lab.join(call, Who { instance: Some(client), ..new() });
    }
    lab.wait(3_000);
    lab.wait(3_000);
    let said = lab.said();
    assert_eq!(said.len(), 3);
    for said in &said {
        let Said::Join(call, Ok(joined)) = said else { panic!("{said:?}") };
        assert_eq!(joined.leader, "z-1");
        let ids: Vec<_> = joined.members.iter().map(|member| member.id.as_str()).collect();
        let all = ["z-1", "a-2", "m-3"];
        assert_eq!(ids, if *call == "z" { &all[..] } else { &[] });
    }
}

#[test]
fn a_new_dynamic_member_of_a_newer_client_gets_its_id_first() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    let two_steps = Who { id_first: true, ..new() };
    assert_eq!(lab.join("b", two_steps), None);
    assert_eq!(lab.joined(), refused(GroupError::MemberIdRequired, "c-2"));
    assert_eq!(lab.machine.state, GroupState::Stable, "nobody is disturbed yet");
    assert!(lab.join("b", Who { id: "c-2", ..two_steps }).is_some());
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
    assert_eq!(lab.beat(&ids[0], 1), Err(GroupError::RebalanceInProgress));
    lab.join("a", known(&ids[0]));
    assert_eq!(lab.said().len(), 2);
    assert_eq!(lab.machine.generation, 2);
}

#[test]
fn an_id_that_was_given_counts_among_those_who_are_waited_for() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("c", Who { id_first: true, ..new() });
    assert_eq!(lab.joined(), refused(GroupError::MemberIdRequired, "c-3"));
    lab.join("leader", known(&ids[0]));
    lab.join("follower", known(&ids[1]));
    assert!(lab.said().is_empty(), "c-3 is on its way");
    lab.join("c", known("c-3"));
    assert_eq!(lab.said().len(), 3);

    lab.settle(&[ids[0].clone(), ids[1].clone(), "c-3".to_owned()]);
    lab.join("d", Who { id_first: true, ..new() });
    lab.said();
    for id in [&ids[0], &ids[1], "c-3"] {
        lab.join("again", known(id));
    }
    assert!(lab.said().is_empty());
    lab.wait(10_000);
    assert_eq!(lab.said().len(), 3, "and forgotten once its session is over");
}

/// Every refusal of a join, in a stable group with the members `c-1` (leads) and `i-2` (instance `i`).
#[test]
fn refusals() {
    let too_long = "n".repeat(256);
    let too_long: &[(&str, &[u8])] = &[(&too_long, b"")];
    let nothing: &[(&str, &[u8])] = &[];
    let other: &[(&str, &[u8])] = &[("sticky", b"s")];
    let cases = [
        (known("ghost"), GroupError::UnknownMember, "ghost"),
        (Who { kind: "connect", ..new() }, GroupError::InconsistentProtocol, ""),
        (Who { kind: "", ..new() }, GroupError::InconsistentProtocol, ""),
        (Who { says: nothing, ..new() }, GroupError::InconsistentProtocol, ""),
        (Who { says: other, ..known("c-1") }, GroupError::InconsistentProtocol, "c-1"),
        (Who { instance: Some("i"), ..known("c-1") }, GroupError::FencedInstance, "c-1"),
        (Who { instance: Some("other"), ..known("c-1") }, GroupError::UnknownMember, "c-1"),
        (Who { says: &[RANGE[0], too_long[0]], ..new() }, GroupError::TooLarge, ""),
    ];
    for (who, error, id) in cases {
        let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
        assert_eq!(ids, ["c-1", "i-2"]);
        assert_eq!(lab.join("x", who), None);
        assert_eq!(lab.joined(), refused(error, id), "{id:?} {error:?}");
        assert_eq!(lab.machine.state, GroupState::Stable, "a refused join disturbs nobody");
    }
}

#[test]
fn a_full_group_takes_nobody_and_keeps_whom_it_has() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.options.members_max = 2;
    assert_eq!(lab.join("c", new()), None);
    assert_eq!(lab.joined(), refused(GroupError::GroupFull, ""));
    lab.join("a", known(&ids[0]));
    lab.join("b", known(&ids[1]));
    assert_eq!(lab.said().len(), 2);

    lab.options.members_max = 1;
    lab.settle(&ids);
    lab.join("a", known(&ids[0]));
    lab.join("b", known(&ids[1]));
    let said = lab.said();
    assert_eq!(
        said[0],
        Said::Join("b", refused(GroupError::GroupFull, "")),
        "the last one of a bound that shrank"
    );
    assert_eq!(lab.machine.members.len(), 1);
}

#[test]
fn ids_that_are_given_and_bytes_that_are_kept_are_bounded() {
    let mut lab = Lab::new(0);
    lab.options.members_max = 2;
    let two_steps = Who { id_first: true, ..new() };
    for expected in ["c-1", "c-2"] {
        lab.join("x", two_steps);
        assert_eq!(lab.joined(), refused(GroupError::MemberIdRequired, expected));
    }
    lab.join("x", two_steps);
    assert_eq!(lab.joined(), refused(GroupError::GroupFull, ""));

    let mut lab = Lab::new(0);
    lab.options.metadata_bytes_max = 6;
    lab.join("x", new());
    assert!(lab.joined().is_ok(), "5 bytes of name and 1 of metadata");
    let long: &[(&str, &[u8])] = &[("range", b"rr")];
    lab.join("x", Who { says: long, ..known("c-1") });
    assert_eq!(lab.joined(), refused(GroupError::TooLarge, "c-1"));
    lab.options.group_bytes_max = 11;
    lab.join("y", new());
    assert_eq!(lab.joined(), refused(GroupError::GroupFull, ""));
    lab.options.group_bytes_max = 8;
    assert_eq!(lab.sync("x", "c-1", 1, &[("c-1", b"123")]), None);
    assert_eq!(lab.said(), [Said::Sync("x", Err(GroupError::TooLarge))]);
    lab.sync("x", "c-1", 1, &[("c-1", b"12")]);
    assert_eq!(lab.machine.state, GroupState::Stable);
}

/// What a known member's join does, by state: an answer at once, or a rebalance.
#[test]
fn who_joins_again_rebalances_only_with_a_reason() {
    // Stable.
    for (member, says, rebalances) in
        [(0, RANGE, true), (0, OTHER_RANGE, true), (1, RANGE, false), (1, OTHER_RANGE, true)]
    {
        let (mut lab, ids) = Lab::stable(&[new(), new()]);
        let parked = lab.join("again", Who { says, ..known(&ids[member]) });
        assert_eq!(parked.is_some(), rebalances, "member {member}");
        let state = if rebalances { GroupState::PreparingRebalance } else { GroupState::Stable };
        assert_eq!(lab.machine.state, state, "member {member}");
        if !rebalances {
            let joined = lab.joined().unwrap();
            assert_eq!((joined.generation, joined.members.len()), (1, 0));
        }
    }
    // Completing: the same words mean that the answer was lost.
    for (member, says, rebalances) in
        [(0, RANGE, false), (0, OTHER_RANGE, true), (1, RANGE, false), (1, OTHER_RANGE, true)]
    {
        let (mut lab, ids) = Lab::stable(&[new(), new()]);
        lab.join("a", known(&ids[0]));
        lab.join("b", known(&ids[1]));
        lab.said();
        assert_eq!(lab.machine.state, GroupState::CompletingRebalance);
        let parked = lab.join("again", Who { says, ..known(&ids[member]) });
        assert_eq!(parked.is_some(), rebalances, "member {member}");
        if !rebalances {
            let joined = lab.joined().unwrap();
            let told = if member == 0 { 2 } else { 0 };
            assert_eq!((joined.generation, joined.members.len()), (2, told), "the leader hears who is there");
        }
    }
}

#[test]
fn a_member_that_joins_twice_is_answered_twice() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("lost", known(&ids[0]));
    lab.join("retry", known(&ids[0]));
    assert_eq!(lab.said(), [Said::Join("lost", refused(GroupError::RebalanceInProgress, &ids[0]))]);
    lab.join("other", known(&ids[1]));
    let calls: Vec<_> =
        lab.said().iter().map(|said| matches!(said, Said::Join("retry" | "other", Ok(_)))).collect();
    assert_eq!(calls, [true, true]);
}

#[test]
fn the_protocol_that_most_members_like_best_wins_among_those_that_all_say() {
    let both: &[(&str, &[u8])] = &[("sticky", b"s"), ("range", b"r")];
    let turned: &[(&str, &[u8])] = &[("range", b"r"), ("sticky", b"s")];
    let three: &[(&str, &[u8])] = &[("mine", b"m"), ("range", b"r"), ("sticky", b"s"), ("range", b"twice")];
    for (words, expected) in [
        (&[both, turned, three][..], "range"),
        (&[both, both, three], "sticky"),
        (&[both, turned], "sticky"),
        (&[turned, both], "range"),
        (&[both, RANGE], "range"),
        (&[three, three], "mine"),
    ] {
        let mut lab = Lab::new(3_000);
        words.iter().for_each(|says| drop(lab.join("x", Who { says, ..new() })));
        lab.wait(6_000);
        let protocols: Vec<_> = lab
            .said()
            .into_iter()
            .map(|said| match said {
                Said::Join(_, Ok(joined)) => joined.protocol,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(protocols, vec![expected; words.len()]);
    }
}

#[test]
fn a_static_member_that_comes_back_disturbs_nobody() {
    for (leads, may_skip) in [(true, true), (true, false), (false, true), (false, false)] {
        let first = if leads { fixed("i") } else { new() };
        let second = if leads { new() } else { fixed("i") };
        let (mut lab, ids) = Lab::stable(&[first, second]);
        let old = ids.iter().find(|id| id.starts_with("i-")).unwrap().clone();
        assert_eq!(lab.join("back", Who { may_skip, ..fixed("i") }), None);
        let joined = lab.joined().unwrap();
        assert_eq!((joined.member_id.as_str(), joined.generation), ("i-3", 1));
        assert_eq!(joined.skip_assignment, leads && may_skip);
        let leader = match (leads, may_skip) {
            (true, true) => "i-3",
            (true, false) => &old,
            (false, _) => &ids[0],
        };
        assert_eq!(joined.leader, leader, "a client that cannot skip must not take itself for the leader");
        assert_eq!(joined.members.len(), if leads && may_skip { 2 } else { 0 });
        assert_eq!((lab.machine.state, lab.machine.generation, lab.kept), (GroupState::Stable, 1, 2));
        lab.sync("back", "i-3", 1, &[]);
        let Said::Sync(_, Ok(synced)) = &lab.said()[0] else { panic!("it has its share still") };
        assert_eq!(*synced.assignment, *old.as_bytes());
        let fenced = lab.act(|machine, act| machine.heartbeat(&old, Some("i"), 1, act));
        assert_eq!(fenced, Err(GroupError::FencedInstance));
        assert_eq!(lab.beat(&old, 1), Err(GroupError::UnknownMember));
    }
}

#[test]
fn a_static_member_that_changes_the_protocol_rebalances() {
    let both: &[(&str, &[u8])] = &[("range", b"r"), ("sticky", b"s")];
    let turned: &[(&str, &[u8])] = &[("sticky", b"s")];
    let (mut lab, ids) = Lab::stable(&[Who { says: both, ..fixed("i") }, Who { says: both, ..new() }]);
    assert!(lab.join("back", Who { says: turned, ..fixed("i") }).is_some());
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
    lab.join("other", Who { says: both, ..known(&ids[1]) });
    assert!(
        lab.said()
            .iter()
            .all(|said| matches!(said, Said::Join(_, Ok(joined)) if joined.protocol == "sticky"))
    );
}

#[test]
fn whoever_waits_under_a_replaced_id_is_fenced() {
    // While joining.
    let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
    lab.join("zombie", known(&ids[1]));
    assert!(lab.said().iter().all(|said| matches!(said, Said::Join("zombie", Ok(_)))), "no rebalance yet");
    lab.join("leader", known(&ids[0]));
    lab.join("zombie", Who { instance: Some("i"), ..known(&ids[1]) });
    lab.said();
    lab.settle(&ids);
    lab.join("n", new());
    lab.join("zombie", Who { instance: Some("i"), ..known(&ids[1]) });
    lab.join("back", fixed("i"));
    assert_eq!(lab.said(), [Said::Join("zombie", refused(GroupError::FencedInstance, &ids[1]))]);
    lab.join("leader", known(&ids[0]));
    assert_eq!(lab.said().len(), 3);

    // While waiting for the assignment: the leader would name an id that is gone, so that all join again.
    let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
    lab.join("leader", known(&ids[0]));
    lab.join("zombie", known(&ids[1]));
    lab.said();
    assert!(lab.sync("zombie", &ids[1], 2, &[]).is_some());
    assert!(lab.join("back", fixed("i")).is_some());
    assert_eq!(lab.said(), [Said::Sync("zombie", Err(GroupError::FencedInstance))]);
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance);
}

#[test]
fn a_cooperative_rebalance_is_two_generations_and_not_one_more() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    // A second member comes: the first gives something up, and both join once more.
    lab.join("new", new());
    lab.join("old", known(&ids[0]));
    let second = lab.said().iter().find_map(|said| match said {
        Said::Join("new", Ok(joined)) => Some(joined.member_id.clone()),
        _ => None,
    });
    let ids = [ids[0].clone(), second.unwrap()];
    lab.settle(&ids);
    assert_eq!(lab.machine.generation, 2);
    assert!(lab.join("old", Who { says: OTHER_RANGE, ..known(&ids[0]) }).is_some());
    assert_eq!(lab.beat(&ids[1], 2), Err(GroupError::RebalanceInProgress));
    lab.join("new", known(&ids[1]));
    assert_eq!(lab.said().len(), 2);
    lab.settle(&ids);
    assert_eq!(lab.machine.generation, 3);
    lab.wait(9_000);
    assert_eq!((lab.beat(&ids[0], 3), lab.beat(&ids[1], 3)), (Ok(()), Ok(())), "and then there is peace");
}
