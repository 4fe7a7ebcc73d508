//! Members that leave, are removed, or whose connection ends; syncs and heartbeats that are refused.

use super::*;

#[test]
fn members_leave_one_by_one_and_each_gets_its_own_result() {
    let (mut lab, ids) = Lab::stable(&[new(), fixed("i"), new()]);
    lab.join("p", Who { id_first: true, ..new() });
    lab.said();
    let leaving = [
        Leaving { member_id: "", instance_id: Some("i") },
        Leaving { member_id: "", instance_id: Some("ghost") },
        Leaving { member_id: "", instance_id: None },
        Leaving { member_id: "c-4", instance_id: None },
        Leaving { member_id: &ids[0], instance_id: None },
        Leaving { member_id: &ids[2], instance_id: Some("i") },
    ];
    let results = lab.act(|machine, act| machine.leave(&leaving, act));
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(results, [Ok(()), unknown, unknown, Ok(()), Ok(()), unknown]);
    assert_eq!(lab.machine.members.keys().collect::<Vec<_>>(), [&ids[2]]);
    assert_eq!(lab.machine.state, GroupState::PreparingRebalance, "once for all of them");
    assert_eq!(lab.machine.leader.as_deref(), Some(ids[2].as_str()));
    let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
    assert_eq!(lab.leave(&ids[0], Some("i")), Err(GroupError::FencedInstance));
    assert_eq!(lab.machine.state, GroupState::Stable);
}

#[test]
fn the_last_one_to_leave_empties_the_group() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    assert_eq!(lab.leave(&ids[0], None), Ok(()));
    assert_eq!((lab.machine.state, lab.machine.generation, lab.kept), (GroupState::Empty, 2, 2));
    assert_eq!(lab.leave(&ids[0], None), Err(GroupError::UnknownMember));
    assert_eq!(lab.beat(&ids[0], 2), Err(GroupError::UnknownMember));
    lab.sync("x", &ids[0], 2, &[]);
    assert_eq!(lab.said(), [Said::Sync("x", Err(GroupError::UnknownMember))]);
}

#[test]
fn a_member_that_leaves_is_waited_for_no_more() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("a", known(&ids[0]));
    assert_eq!(lab.leave(&ids[1], None), Ok(()));
    assert_eq!(lab.joined().unwrap().members.len(), 1);
    // It leaves while it waits itself.
    lab.join("n", new());
    lab.join("a", known(&ids[0]));
    lab.said();
    let id = lab.machine.members.keys().find(|id| **id != ids[0]).unwrap().clone();
    assert!(lab.sync("n", &id, 3, &[]).is_some());
    assert_eq!(lab.leave(&id, None), Ok(()));
    assert_eq!(lab.said(), [Said::Sync("n", Err(GroupError::UnknownMember))]);
}

/// Refusals of syncs and heartbeats in a group whose generation 2 waits for its leader.
#[test]
fn refusals_of_syncs_and_heartbeats() {
    let completing = || {
        let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
        lab.join("a", known(&ids[0]));
        lab.join("b", known(&ids[1]));
        lab.said();
        lab
    };
    let cases = [
        (asks("ghost", 2), GroupError::UnknownMember),
        (asks("c-1", 1), GroupError::IllegalGeneration),
        (asks("c-1", 3), GroupError::IllegalGeneration),
        (SyncRequest { instance_id: Some("i"), ..asks("c-1", 2) }, GroupError::FencedInstance),
        (SyncRequest { instance_id: Some("x"), ..asks("c-1", 2) }, GroupError::UnknownMember),
        (SyncRequest { protocol_type: Some("connect"), ..asks("c-1", 2) }, GroupError::InconsistentProtocol),
        (SyncRequest { protocol: Some("sticky"), ..asks("c-1", 2) }, GroupError::InconsistentProtocol),
    ];
    for (request, error) in cases {
        let mut lab = completing();
        assert_eq!(lab.sync_as("x", request), None);
        assert_eq!(lab.said(), [Said::Sync("x", Err(error))], "{request:?}");
    }
    let mut lab = completing();
    let right = SyncRequest { protocol_type: Some("consumer"), protocol: Some("range"), ..asks("i-2", 2) };
    assert!(lab.sync_as("x", right).is_some());
    assert_eq!(lab.beat("c-1", 2), Ok(()), "heartbeats are fine before the assignment");
    assert_eq!(lab.beat("c-1", 1), Err(GroupError::IllegalGeneration));
    assert_eq!(lab.beat("ghost", 2), Err(GroupError::UnknownMember));
    lab.join("n", new());
    lab.said();
    lab.sync("x", "c-1", 2, &[]);
    assert_eq!(lab.said(), [Said::Sync("x", Err(GroupError::RebalanceInProgress))]);
}

#[test]
fn a_newcomer_whose_connection_ends_is_forgotten_at_once() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    let (id, number) = lab.join("n", new()).unwrap();
    lab.join("a", known(&ids[0]));
    lab.said();
    lab.settle(&[ids[0].clone(), id]);
    let (id, number_of_new) = lab.join("n", new()).unwrap();
    assert_ne!(number, number_of_new);
    lab.join("a", known(&ids[0]));
    lab.act(|machine, act| machine.vanished(&id, number, act));
    assert!(lab.machine.members.contains_key(&id), "another call's number");
    lab.act(|machine, act| machine.vanished(&id, number_of_new, act));
    assert!(!lab.machine.members.contains_key(&id));
    lab.wait(60_000);
    assert!(!lab.said().iter().any(|said| matches!(said, Said::Join("n", _))), "nobody is there to be told");
}

#[test]
fn a_member_whose_connection_ends_has_its_session_to_come_back() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    let (_, number) = lab.join("a", known(&ids[0])).unwrap();
    lab.wait(9_000);
    assert_eq!(lab.beat(&ids[1], 1), Err(GroupError::RebalanceInProgress));
    lab.act(|machine, act| machine.vanished(&ids[0], number, act));
    lab.wait(9_000);
    assert_eq!(lab.beat(&ids[1], 1), Err(GroupError::RebalanceInProgress));
    lab.join("a", known(&ids[0]));
    lab.join("b", known(&ids[1]));
    assert_eq!(lab.said().len(), 2);
    // The same while it waits for its share.
    let number = lab.sync("b", &ids[1], 2, &[]).unwrap();
    lab.act(|machine, act| machine.vanished(&ids[1], number, act));
    lab.sync("a", &ids[0], 2, &[(&ids[1], b"share")]);
    assert!(matches!(&lab.said()[..], [Said::Sync("a", Ok(_))]));
    lab.sync("b", &ids[1], 2, &[]);
    assert!(matches!(&lab.said()[..], [Said::Sync("b", Ok(synced))] if *synced.assignment == *b"share"));
}

#[test]
fn a_stop_answers_all_that_waits() {
    let (mut lab, ids) = Lab::stable(&[new(), new()]);
    lab.join("a", known(&ids[0]));
    lab.act(|machine, act| machine.stop(act));
    assert_eq!(lab.said(), [Said::Join("a", refused(GroupError::NotAvailable, &ids[0]))]);
    lab.join("a", known(&ids[0]));
    lab.join("b", known(&ids[1]));
    lab.said();
    let generation = lab.machine.generation;
    lab.sync("b", &ids[1], generation, &[]);
    lab.act(|machine, act| machine.stop(act));
    assert_eq!(lab.said(), [Said::Sync("b", Err(GroupError::NotAvailable))]);
}

#[test]
fn a_group_with_members_is_not_deleted_and_a_dead_one_refuses_all() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    assert!(!lab.act(|machine, act| machine.end(act)));
    lab.leave(&ids[0], None).unwrap();
    lab.join("p", Who { id_first: true, ..new() });
    lab.said();
    assert!(lab.act(|machine, act| machine.end(act)), "an id that was given is no member");
    lab.join("x", new());
    assert_eq!(lab.joined(), refused(GroupError::NotAvailable, ""));
    lab.sync("x", &ids[0], 1, &[]);
    assert_eq!(lab.said(), [Said::Sync("x", Err(GroupError::NotAvailable))]);
    assert_eq!(lab.beat(&ids[0], 1), Err(GroupError::NotAvailable));
    assert_eq!(lab.leave(&ids[0], None), Err(GroupError::NotAvailable));
}
