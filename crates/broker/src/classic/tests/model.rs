//! Random events against what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use braid_io::Rng;

use super::*;

/// What a client knows of itself.
#[derive(Default, Clone)]
struct Knows {
    id: String,
    instance: Option<&'static str>,
    generation: i32,
    /// Its parked call.
    parked: Option<(String, u64)>,
}

const CALLS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
const INSTANCES: [Option<&str>; 8] = [None, None, None, None, None, Some("s"), Some("t"), Some("s")];

/// Counts answers and lets clients learn from them. Gives the calls that were answered.
fn learn(lab: &Lab, clients: &mut [Knows], open: &mut BTreeMap<&'static str, usize>, seed: u64) {
    for said in lab.said() {
        let (call, id, generation) = match &said {
            Said::Join(call, Ok(joined)) => (*call, Some(joined.member_id.clone()), joined.generation),
            Said::Join(call, Err(refusal)) => (*call, Some(refusal.member_id.clone()), 0),
            Said::Sync(call, _) => (*call, None, 0),
        };
        let count =
            open.get_mut(call).unwrap_or_else(|| panic!("seed {seed}: {call} was not asked: {said:?}"));
        *count -= 1;
        let client = &mut clients[CALLS.iter().position(|name| *name == call).unwrap()];
        if let Some(id) = id {
            assert!(generation == 0 || generation >= client.generation, "seed {seed}: generations only grow");
            client.id = id;
            client.generation = client.generation.max(generation);
        }
        if let Said::Sync(_, Err(GroupError::UnknownMember | GroupError::FencedInstance)) = said {
            client.id = String::new();
        }
        client.parked = None;
    }
}

fn run(seed: u64) -> BTreeSet<u8> {
    let mut rng = Rng::new(seed);
    let mut lab = Lab::new(if rng.one_in(2) { 0 } else { 3_000 });
    lab.options.members_max = 5;
    let mut clients: Vec<Knows> =
        INSTANCES.iter().map(|instance| Knows { instance: *instance, ..Knows::default() }).collect();
    let mut open: BTreeMap<&'static str, usize> = BTreeMap::new();
    let (mut generation, mut seen) = (0, BTreeSet::new());
    for _ in 0..400 {
        let who = rng.below(8) as usize;
        let (call, knows) = (CALLS[who], clients[who].clone());
        match rng.below(12) {
            0..=4 => {
                let says = if rng.one_in(6) { OTHER_RANGE } else { RANGE };
                let session_ms = 6_000 + rng.below(20_000) as i32;
                let parked = {
                    *open.entry(call).or_default() += 1;
                    lab.join(
                        call,
                        Who {
                            id: &knows.id,
                            instance: knows.instance,
                            says,
                            session_ms,
                            rebalance_ms: rng.below(30_000) as i32,
                            id_first: rng.one_in(2),
                            may_skip: rng.one_in(2),
                            kind: "consumer",
                        },
                    )
                };
                learn(&lab, &mut clients, &mut open, seed);
                if parked.is_some() && open[call] > 0 {
                    clients[who].parked = parked;
                }
            }
            5..=7 => {
                let ids: Vec<String> = lab.machine.members.keys().cloned().collect();
                let shares: Vec<(&str, &[u8])> = ids.iter().map(|id| (id.as_str(), id.as_bytes())).collect();
                *open.entry(call).or_default() += 1;
                let request = SyncRequest {
                    instance_id: knows.instance,
                    assignments: &shares,
                    ..asks(&knows.id, knows.generation)
                };
                let parked = lab.sync_as(call, request);
                learn(&lab, &mut clients, &mut open, seed);
                if let Some(number) = parked.filter(|_| open[call] > 0) {
                    clients[who].parked = Some((knows.id.clone(), number));
                }
            }
            8 => drop(lab.act(|m, act| m.heartbeat(&knows.id, knows.instance, knows.generation, act))),
            9 => drop(lab.leave(&knows.id, knows.instance)),
            10 => {
                if let Some((id, number)) = knows.parked.filter(|_| open.get(call) == Some(&1)) {
                    let mut parked = lab.machine.members.values().flat_map(|member| {
                        let join = member.join.as_ref().map(|parked| parked.number);
                        join.into_iter().chain(member.sync.as_ref().map(|parked| parked.number))
                    });
                    if parked.any(|other| other == number) {
                        drop(parked);
                        lab.act(|machine, act| machine.vanished(&id, number, act));
                        // Nobody is there to be answered.
                        *open.get_mut(call).unwrap() -= 1;
                        clients[who].parked = None;
                    }
                }
            }
            _ => lab.wait(rng.below(8_000)),
        }
        learn(&lab, &mut clients, &mut open, seed);
        let machine = &lab.machine;
        assert!(machine.generation >= generation, "seed {seed}: generations only grow");
        generation = machine.generation;
        seen.insert(machine.state as u8);
        let parked = machine
            .members
            .values()
            .flat_map(|member| [member.join.is_some(), member.sync.is_some()].into_iter().map(usize::from));
        assert_eq!(parked.sum::<usize>(), open.values().sum::<usize>(), "seed {seed}: no call is lost");
        if machine.state == GroupState::Stable {
            for (id, member) in &machine.members {
                let shared = *member.assignment == *id.as_bytes();
                let replaced = member.instance_id.is_some() && !member.assignment.is_empty();
                assert!(shared || replaced, "seed {seed}: {id} has its share");
            }
        }
    }
    // Left alone, everybody is gone in the end, and everybody was answered.
    lab.wait(3_600_000);
    learn(&lab, &mut clients, &mut open, seed);
    assert_eq!(lab.machine.state, GroupState::Empty, "seed {seed}");
    assert_eq!(open.values().sum::<usize>(), 0, "seed {seed}: each call is answered once");
    seen
}

#[test]
fn whatever_happens_generations_grow_and_each_call_is_answered_once() {
    let seen: BTreeSet<u8> = (0..600).flat_map(run).collect();
    assert_eq!(seen.len(), 4, "the events reach every state but the dead one: {seen:?}");
}
