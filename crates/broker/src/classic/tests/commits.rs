//! Who may commit, and when.

use super::*;

/// Whether the named member may commit in each state.
#[test]
fn commits_by_state() {
    type Case = (&'static str, Option<&'static str>, i32, [Result<(), GroupError>; 4]);
    let (ok, unknown) = (Ok(()), Err(GroupError::UnknownMember));
    let (old, wait) = (Err(GroupError::IllegalGeneration), Err(GroupError::RebalanceInProgress));
    let fenced = Err(GroupError::FencedInstance);
    // Empty, Stable (generation 1), PreparingRebalance (still 1), CompletingRebalance (2).
    let cases: &[Case] = &[
        ("", None, -1, [ok, unknown, unknown, unknown]),
        ("c-1", None, -1, [ok, old, old, old]),
        ("c-1", None, 1, [unknown, ok, ok, old]),
        ("c-1", None, 2, [unknown, old, old, wait]),
        ("ghost", None, 1, [unknown, unknown, unknown, unknown]),
        ("", None, 1, [unknown, unknown, unknown, unknown]),
        ("c-1", Some("i"), 1, [unknown, fenced, fenced, fenced]),
        ("i-2", Some("i"), 1, [unknown, ok, ok, old]),
        ("", Some("i"), -1, [ok, fenced, fenced, fenced]),
    ];
    for (id, instance, generation, expected) in cases {
        let (mut lab, ids) = Lab::stable(&[new(), fixed("i")]);
        let may =
            |lab: &mut Lab| lab.act(|machine, act| machine.check_commit(id, *instance, *generation, act));
        let stable = may(&mut lab);
        lab.join("a", known(&ids[0]));
        let preparing = may(&mut lab);
        lab.join("b", known(&ids[1]));
        let completing = may(&mut lab);
        lab.leave(&ids[0], None).unwrap();
        lab.leave(&ids[1], None).unwrap();
        let empty = may(&mut lab);
        assert_eq!([empty, stable, preparing, completing], *expected, "{id:?} {instance:?} {generation}");
    }
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let (mut lab, ids) = Lab::stable(&[new()]);
    for _ in 0..4 {
        lab.wait(9_000);
        assert_eq!(lab.act(|machine, act| machine.check_commit(&ids[0], None, 1, act)), Ok(()));
    }
    assert_eq!(lab.machine.state, GroupState::Stable);
    lab.wait(10_000);
    assert_eq!(lab.machine.state, GroupState::Empty);
}
