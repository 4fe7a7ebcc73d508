//! Clients of classic groups: they join, lead, ask for their share, and come back as they please.

use std::sync::Arc;

use braid_broker::{GroupError, JoinRefusal, JoinRequest, Joined, Leaving, ParkedCall, SyncRequest, Synced};
use braid_store::Promise;

use super::oracle::{Seen, look_at_group};
use super::state::{Change, Generation};
use super::world::{CLASSIC_GROUPS, Told, Waiting, World};

/// Clients of each group; the last one is static.
pub const CLIENTS: usize = 4;
const SESSION_MS: i32 = 30_000;
const REBALANCE_MS: i32 = 20_000;

/// An answer that a group gave: the client's number, and for a share the member that asked.
pub enum Answer {
    Join(usize, Result<Joined, JoinRefusal>),
    Sync(usize, String, i32, Result<Promise<Synced>, GroupError>),
}

#[derive(Debug)]
pub struct Client {
    pub group: &'static str,
    pub instance_id: Option<&'static str>,
    pub member_id: String,
    /// The generation that it was told; negative when none.
    pub generation: i32,
    /// Everybody, when it leads.
    pub led: Vec<String>,
    parked: Option<ParkedCall>,
}

impl Client {
    /// The broker is gone, and who waits with it.
    pub fn lose_calls(&mut self) {
        self.parked = None;
    }

    fn forget(&mut self) {
        self.member_id.clear();
        self.leave_generation();
    }

    fn leave_generation(&mut self) {
        self.generation = -1;
        self.led.clear();
    }

    fn refused(&mut self, error: GroupError) {
        match error {
            GroupError::UnknownMember | GroupError::FencedInstance => self.forget(),
            GroupError::IllegalGeneration | GroupError::RebalanceInProgress => self.leave_generation(),
            GroupError::NotAvailable => {}
            other => panic!("a client of a group was refused: {other}"),
        }
    }
}

/// The clients of all groups.
pub fn clients() -> Vec<Client> {
    let client = |group, at| Client {
        group,
        instance_id: (at == CLIENTS - 1).then_some("instance"),
        member_id: String::new(),
        generation: -1,
        led: Vec::new(),
        parked: None,
    };
    CLASSIC_GROUPS.into_iter().flat_map(|group| (0..CLIENTS).map(move |at| client(group, at))).collect()
}

impl World {
    /// One client does something.
    pub fn client_step(&mut self) {
        let at = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(20) {
            0..=5 => self.join(at),
            6..=11 => self.sync(at),
            12..=15 => self.beat(at),
            16 => self.leave(at),
            17 => self.take_back(at),
            18 => {
                // It starts anew, and has forgotten who it was.
                self.coverage.count("client-restarted");
                self.clients[at].forget();
                self.join(at);
            }
            _ => self.kick_static(at),
        }
    }

    /// Clients of one group join, and go on until they have their shares, if nobody is in their way.
    pub fn rebalance(&mut self) {
        let first = self.rng.below(CLASSIC_GROUPS.len() as u64) as usize * CLIENTS;
        for round in 0..3 {
            for at in first..first + CLIENTS {
                self.beat(at);
                if self.clients[at].generation < 0 && (round > 0 || !self.rng.one_in(4)) {
                    self.join(at);
                }
            }
            self.clock.advance(3_000);
            self.turn();
            for at in first..first + CLIENTS {
                self.sync(at);
            }
        }
        for at in first..first + CLIENTS {
            self.beat(at);
        }
    }

    pub fn join(&mut self, at: usize) {
        self.make_room();
        let after = self.appended();
        let (word, id_first) = (self.rng.below(3) as u8, self.rng.one_in(3));
        let client = &self.clients[at];
        let (group, member_id, instance_id) = (client.group, client.member_id.clone(), client.instance_id);
        let metadata = vec![word; 20];
        let request = JoinRequest {
            group,
            member_id: &member_id,
            instance_id,
            client_id: "client",
            client_host: "/127.0.0.1",
            session_ms: SESSION_MS,
            rebalance_ms: REBALANCE_MS,
            protocol_type: "consumer",
            protocols: &[("range", &metadata)],
            id_first,
            may_skip_assignment: self.rng.one_in(2),
        };
        let inbox = Arc::clone(&self.inbox);
        let answer =
            move |result| inbox.lock().expect("nobody panics with it").push(Answer::Join(at, result));
        self.note(format!("{group}: client {at} joins as {member_id:?}"));
        self.clients[at].leave_generation();
        let parked = self.broker().join_group(&request, Box::new(answer));
        if parked.is_some() {
            self.coverage.count("join-parked");
        }
        self.clients[at].parked = parked;
        self.after_call(after);
    }

    pub fn sync(&mut self, at: usize) {
        if self.clients[at].generation < 0 {
            return;
        }
        self.make_room();
        let after = self.appended();
        let Client { group, instance_id, generation, .. } = self.clients[at];
        let member_id = self.clients[at].member_id.clone();
        let led = self.clients[at].led.clone();
        let mut shares = Vec::new();
        for id in &led {
            let share = format!("{generation} {}", "x".repeat(self.rng.below(200) as usize)).into_bytes();
            shares.push((id.as_str(), share));
        }
        let assignments: Vec<(&str, &[u8])> = shares.iter().map(|(id, share)| (*id, &share[..])).collect();
        let request = SyncRequest {
            group,
            member_id: &member_id,
            instance_id,
            generation,
            protocol_type: Some("consumer"),
            protocol: Some("range"),
            assignments: &assignments,
        };
        let (inbox, asking) = (Arc::clone(&self.inbox), member_id.clone());
        let answer = move |result| {
            let answer = Answer::Sync(at, asking, generation, result);
            inbox.lock().expect("nobody panics with it").push(answer);
        };
        self.note(format!("{group}: client {at} syncs in {generation}, leading {}", led.len()));
        let parked = self.broker().sync_group(&request, Box::new(answer));
        if parked.is_some() {
            self.coverage.count("sync-parked");
        }
        self.clients[at].parked = parked;
        self.after_call(after);
    }

    fn beat(&mut self, at: usize) {
        let Client { group, instance_id, generation, .. } = self.clients[at];
        let member_id = self.clients[at].member_id.clone();
        if member_id.is_empty() {
            return;
        }
        let after = self.appended();
        let result = self.broker().heartbeat_group(group, &member_id, instance_id, generation);
        self.note(format!("{group}: client {at} beats in {generation}: {result:?}"));
        self.coverage.count(if result.is_ok() { "beat" } else { "beat-refused" });
        if let Err(error) = result {
            self.clients[at].refused(error);
        }
        self.after_call(after);
    }

    fn leave(&mut self, at: usize) {
        let Client { group, instance_id, .. } = self.clients[at];
        let member_id = std::mem::take(&mut self.clients[at].member_id);
        if member_id.is_empty() {
            return;
        }
        let after = self.appended();
        let leaving = [Leaving { member_id: &member_id, instance_id }];
        let results = self.broker().leave_group(group, &leaving).expect("the name is good");
        self.note(format!("{group}: client {at} leaves: {results:?}"));
        self.coverage.count("leave");
        self.clients[at].forget();
        self.after_call(after);
    }

    /// An administrator removes the static member.
    fn kick_static(&mut self, at: usize) {
        let after = self.appended();
        let group = self.clients[at].group;
        let leaving = [Leaving { member_id: "", instance_id: Some("instance") }];
        let results = self.broker().leave_group(group, &leaving).expect("the name is good");
        self.note(format!("{group}: the static member is removed: {results:?}"));
        if results[0].is_ok() {
            self.coverage.count("static-removed");
        }
        self.after_call(after);
    }

    /// The connection of a parked call ends.
    fn take_back(&mut self, at: usize) {
        let Some(parked) = self.clients[at].parked.take() else { return };
        let after = self.appended();
        self.note(format!("client {at} hangs up"));
        self.coverage.count("call-vanished");
        self.broker().group_call_vanished(&parked);
        self.after_call(after);
    }

    /// Looks at the answers that a call gave, and at what it made of the groups.
    pub fn after_call(&mut self, after: u64) {
        let answers = std::mem::take(&mut *self.inbox.lock().expect("nobody panics with it"));
        let mut syncs = Vec::new();
        for answer in answers {
            match answer {
                Answer::Join(at, result) => self.join_answered(at, result),
                Answer::Sync(at, member_id, generation, result) => {
                    syncs.push((at, member_id, generation, result));
                }
            }
        }
        CLASSIC_GROUPS.into_iter().for_each(|group| self.look_at(group, after));
        for (at, member_id, generation, result) in syncs {
            self.sync_answered(at, member_id, generation, result);
        }
        self.redeem();
    }

    fn join_answered(&mut self, at: usize, result: Result<Joined, JoinRefusal>) {
        let group = self.clients[at].group;
        let kept = self.oracle.live.generation(group);
        match result {
            Ok(joined) => {
                // Nobody is told a generation again that was reached before, unless it goes on.
                let known = self.generations[group];
                let ended = kept.is_some_and(|kept| kept.members.is_empty() && kept.number == known);
                let least = known + i32::from(ended);
                let number = joined.generation;
                assert!(number >= least, "BACK: {group} is in generation {number}, and was in {least}");
                // A power cut may take back a generation whose shares were told; its number is not given again.
                let is_shared = self.shared.get(group) == Some(&number);
                assert!(number == known || !is_shared, "BACK: {group} is in generation {number} again");
                self.generations.insert(group.to_owned(), number);
                self.note(format!("{group}: client {at} is {} in {number}", joined.member_id));
                self.coverage.count("joined");
                let client = &mut self.clients[at];
                client.member_id = joined.member_id;
                client.generation = number;
                client.led = joined.members.into_iter().map(|member| member.id).collect();
                client.parked = None;
            }
            Err(JoinRefusal { error, member_id }) => {
                self.note(format!("{group}: client {at} does not join: {error}"));
                self.coverage.count("join-refused");
                match error {
                    GroupError::MemberIdRequired => self.clients[at].member_id = member_id,
                    // An older call of a client that has called again.
                    GroupError::RebalanceInProgress => {}
                    error => self.clients[at].refused(error),
                }
            }
        }
    }

    fn sync_answered(
        &mut self,
        at: usize,
        member_id: String,
        generation: i32,
        result: Result<Promise<Synced>, GroupError>,
    ) {
        let group = self.clients[at].group;
        let promise = match result {
            Ok(promise) => promise,
            Err(error) => {
                self.note(format!("{group}: client {at} has no share: {error}"));
                self.coverage.count("sync-refused");
                return self.clients[at].refused(error);
            }
        };
        let kept = self.oracle.live.generation(group).expect("a group that hands out shares is kept");
        assert_eq!(kept.number, generation, "{group} hands out shares of another generation");
        let share = kept.members.iter().find(|share| share.id == member_id);
        let share = share.expect("who has a share is a member").assignment.clone();
        let is_of = |change: &Change| matches!(change, Change::Group(name, _) if name == group);
        let event = self.oracle.events.iter().rposition(|event| is_of(&event.change));
        if let Some(event) = event {
            let end = self.oracle.events[event].end;
            assert!(promise.end().0 >= end, "EARLY: a share is told before {group} is kept");
        }
        let mut assignment = Vec::new();
        let promise = promise.map(|synced| assignment = synced.assignment.to_vec());
        assert_eq!(assignment, share, "the share of {member_id} in {group}");
        let promise = promise.map(|()| Told::Share(group.to_owned(), member_id, assignment, generation));
        self.waiting.push(Waiting { promise, events: event.into_iter().collect() });
    }

    /// Notes what a call made of a group, if it reached a generation.
    fn look_at(&mut self, group: &str, after: u64) {
        let broker = self.broker();
        let kept = self.oracle.live.generation(group);
        let generation = match look_at_group(&broker, group) {
            Seen::Moving => {
                self.moving.insert(group.to_owned());
                return;
            }
            Seen::Absent => None,
            Seen::Empty => {
                let stays = kept.is_some_and(|kept| kept.members.is_empty());
                let number = self.generations[group] + i32::from(!stays || self.moving.contains(group));
                Some(Generation { number, members: Vec::new() })
            }
            Seen::Stable(members) => Some(Generation { number: self.generations[group], members }),
        };
        self.moving.remove(group);
        if generation.as_ref() == kept {
            return;
        }
        if generation.is_none() {
            self.shared.remove(group);
        }
        self.generations.insert(group.to_owned(), generation.as_ref().map_or(0, |reached| reached.number));
        let end = self.appended();
        assert!(end > after, "{group} reached {generation:?} and was not kept");
        self.coverage.count(match &generation {
            None => "group-gone",
            Some(reached) if reached.members.is_empty() => "group-empty",
            Some(reached) if kept.is_some_and(|kept| kept.number == reached.number) => "static-replaced",
            Some(_) => "group-stable",
        });
        self.note(format!("{group}: {:?}", generation.as_ref().map(|g| (g.number, g.members.len()))));
        self.oracle.append(after, end, Change::Group(group.to_owned(), generation));
    }
}
