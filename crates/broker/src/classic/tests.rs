//! The rules of a classic group, one by one, on a clock that the tests move.

mod commits;
mod joins;
mod leaving;
mod model;
mod timers;

use std::sync::{Arc, Mutex};

use braid_store::{Level, Position, Promise};

use super::machine::{Act, Call, Given, Machine};
use super::{
    ClassicOptions, GroupError, GroupState, JoinRefusal, JoinRequest, Joined, Leaving, SyncRequest, Synced,
};
use crate::broker::promise_up_to;
use crate::member::Moment;
use crate::sync::lock;

/// What a call was answered, by the name that the test gave the call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Join(&'static str, Result<Joined, JoinRefusal>),
    Sync(&'static str, Result<Synced, GroupError>),
}

/// A group with a clock, and everything that it answered.
struct Lab {
    machine: Machine,
    options: ClassicOptions,
    now_ms: u64,
    ids: u64,
    said: Arc<Mutex<Vec<Said>>>,
    /// How often the group wanted to be kept.
    kept: usize,
}

/// A member's words.
#[derive(Clone, Copy)]
struct Who<'a> {
    id: &'a str,
    instance: Option<&'a str>,
    says: &'a [(&'a str, &'a [u8])],
    session_ms: i32,
    rebalance_ms: i32,
    id_first: bool,
    may_skip: bool,
    kind: &'a str,
}

const RANGE: &[(&str, &[u8])] = &[("range", b"r")];
const OTHER_RANGE: &[(&str, &[u8])] = &[("range", b"changed")];

/// A new member of an old client, which is taken in at once.
fn new() -> Who<'static> {
    Who {
        id: "",
        instance: None,
        says: RANGE,
        session_ms: 10_000,
        rebalance_ms: 60_000,
        id_first: false,
        may_skip: false,
        kind: "consumer",
    }
}

fn known(id: &str) -> Who<'_> {
    Who { id, ..new() }
}

fn fixed(instance: &str) -> Who<'_> {
    Who { instance: Some(instance), ..new() }
}

impl Lab {
    fn new(initial_delay_ms: u64) -> Self {
        let options = ClassicOptions { initial_delay_ms, ..ClassicOptions::default() };
        let machine = Machine::new(Moment { monotonic_ms: 0, wall_ms: 0 });
        Self { machine, options, now_ms: 0, ids: 0, said: Arc::default(), kept: 0 }
    }

    fn act<T>(&mut self, call: impl FnOnce(&mut Machine, &mut Act<'_>) -> T) -> T {
        let ids = &mut self.ids;
        let mut unique = || {
            *ids += 1;
            ids.to_string()
        };
        let mut act = Act {
            now: Moment { monotonic_ms: self.now_ms, wall_ms: self.now_ms as i64 },
            options: &self.options,
            unique: &mut unique,
            answers: Vec::new(),
            keep: false,
        };
        let result = call(&mut self.machine, &mut act);
        let Act { answers, keep, .. } = act;
        self.kept += usize::from(keep);
        self.machine.assert_whole();
        for given in answers {
            match given {
                Given::Join(answer, result) => answer(result),
                Given::Sync(answer, result) => {
                    answer(result.map(|synced| promise_up_to(Position(0), Level::Written, synced)));
                }
            }
        }
        result
    }

    fn join(&mut self, call: &'static str, who: Who<'_>) -> Call {
        let said = Arc::clone(&self.said);
        let answer = Box::new(move |result| lock(&said).push(Said::Join(call, result)));
        let request = JoinRequest {
            group: "g",
            member_id: who.id,
            instance_id: who.instance,
            client_id: "c",
            client_host: "h",
            session_ms: who.session_ms,
            rebalance_ms: who.rebalance_ms,
            protocol_type: who.kind,
            protocols: who.says,
            id_first: who.id_first,
            may_skip_assignment: who.may_skip,
        };
        self.act(|machine, act| machine.join(&request, answer, act))
    }

    fn sync(
        &mut self,
        call: &'static str,
        id: &str,
        generation: i32,
        shares: &[(&str, &[u8])],
    ) -> Option<u64> {
        self.sync_as(call, SyncRequest { assignments: shares, ..asks(id, generation) })
    }

    fn sync_as(&mut self, call: &'static str, request: SyncRequest<'_>) -> Option<u64> {
        let said = Arc::clone(&self.said);
        let answer = Box::new(move |result: Result<Promise<Synced>, GroupError>| {
            let mut value = None;
            let result = result.map(|promise| promise.map(|synced| value = Some(synced)));
            let result = result.map(|_| value.expect("a promise has a value"));
            lock(&said).push(Said::Sync(call, result));
        });
        self.act(|machine, act| machine.sync(&request, answer, act))
    }

    fn beat(&mut self, id: &str, generation: i32) -> Result<(), GroupError> {
        self.act(|machine, act| machine.heartbeat(id, None, generation, act))
    }

    fn leave(&mut self, id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        self.act(|machine, act| machine.leave(&[Leaving { member_id: id, instance_id }], act))[0]
    }

    /// Moves the clock and does what is due, at every time that the group asked for.
    fn wait(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.machine.earliest_ms <= until_ms {
            self.now_ms = self.now_ms.max(self.machine.earliest_ms);
            self.act(|machine, act| machine.expire(act));
        }
        self.now_ms = until_ms;
    }

    /// What was answered since the last look.
    fn said(&self) -> Vec<Said> {
        std::mem::take(&mut lock(&self.said))
    }

    /// The only answer since the last look: a join's.
    fn joined(&self) -> Result<Joined, JoinRefusal> {
        match <[Said; 1]>::try_from(self.said()) {
            Ok([Said::Join(_, result)]) => result,
            other => panic!("one join was to be answered: {other:?}"),
        }
    }

    /// Takes members in at once and makes the group stable; gives their ids, the leader's first.
    fn stable(initial: &[Who<'_>]) -> (Self, Vec<String>) {
        let mut lab = Self::new(3_000);
        initial.iter().for_each(|who| assert!(lab.join("in", *who).is_some()));
        while lab.machine.state == GroupState::PreparingRebalance {
            lab.wait(3_000);
        }
        let ids: Vec<String> = lab
            .said()
            .into_iter()
            .map(|said| match said {
                Said::Join(_, Ok(joined)) => joined.member_id,
                other => panic!("{other:?}"),
            })
            .collect();
        lab.settle(&ids);
        (lab, ids)
    }

    /// Everybody asks for its assignment, the leader last; each gets its own id.
    fn settle(&mut self, ids: &[String]) {
        let generation = self.machine.generation;
        let shares: Vec<(&str, &[u8])> = ids.iter().map(|id| (id.as_str(), id.as_bytes())).collect();
        let leader = self.machine.leader.clone().unwrap();
        for id in ids.iter().filter(|id| **id != leader) {
            self.sync("in", id, generation, &[]);
        }
        self.sync("in", &leader, generation, &shares);
        assert_eq!(self.machine.state, GroupState::Stable);
        assert_eq!(self.said().len(), ids.len(), "everybody got its share");
    }
}

fn asks(id: &str, generation: i32) -> SyncRequest<'_> {
    SyncRequest {
        group: "g",
        member_id: id,
        instance_id: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: &[],
    }
}

fn refused(error: GroupError, id: &str) -> Result<Joined, JoinRefusal> {
    Err(JoinRefusal { error, member_id: id.to_owned() })
}
