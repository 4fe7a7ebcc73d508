//! One classic group as a state machine: it reads no clock, keeps nothing on disk and calls nobody back. Whoever drives it
//! hands in the time and takes out, in an [`Act`], the answers that are due and the wish to be kept.
//!
//! Rules are those that Apache Kafka's clients and test suites rely on; where the two differ for the better it is said
//! at the place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::member::{Member, NEVER, Parked, protocols_bytes};
use super::refusal::{GroupError, JoinRefusal};
use super::request::{
    JoinAnswer, JoinRequest, Joined, LeaveResult, Leaving, SyncAnswer, SyncRequest, Synced,
};
use super::{ClassicOptions, GroupState};
use crate::member::Moment;

/// Most bytes of a client's own word in a member's id, and of an instance id or a protocol's name.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Most protocols of one member.
pub(super) const PROTOCOLS_MAX: usize = 64;

/// An answer that is due.
pub(super) enum Given {
    Join(JoinAnswer, Result<Joined, JoinRefusal>),
    Sync(SyncAnswer, Result<Synced, GroupError>),
}

/// What one call works with and what comes of it.
pub(super) struct Act<'a> {
    pub(super) now: Moment,
    pub(super) options: &'a ClassicOptions,
    /// Gives what makes an id unique.
    pub(super) unique: &'a mut dyn FnMut() -> String,
    /// Answers that are due, in order.
    pub(super) answers: Vec<Given>,
    /// True when the group is to be kept before they are given.
    pub(super) keep: bool,
}

impl Act<'_> {
    pub(super) fn joined(&mut self, answer: JoinAnswer, result: Result<Joined, JoinRefusal>) {
        self.answers.push(Given::Join(answer, result));
    }

    pub(super) fn refuse_join(&mut self, answer: JoinAnswer, error: GroupError, member_id: &str) {
        self.joined(answer, Err(JoinRefusal { error, member_id: member_id.to_owned() }));
    }

    pub(super) fn synced(&mut self, answer: SyncAnswer, result: Result<Synced, GroupError>) {
        self.answers.push(Given::Sync(answer, result));
    }
}

/// When joining ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinTimer {
    pub(super) due_ms: u64,
    /// Of the first generation out of `Empty`: how long it waited last, and how much longer it may be prolonged.
    pub(super) initial: Option<(u64, u64)>,
}

/// A parked join: the member's id and the call's number.
pub(super) type Call = Option<(String, u64)>;

/// A classic group.
pub(super) struct Machine {
    pub(super) state: GroupState,
    /// Wall milliseconds at which the state began.
    pub(super) since_ms: i64,
    pub(super) generation: i32,
    /// Generations that are passed over by the next one: they may have been told before a power cut took them back.
    pub(super) passed_over: i32,
    /// Of the last members; empty before the first.
    pub(super) protocol_type: String,
    /// The protocol in use; empty when there is none.
    pub(super) protocol: String,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    pub(super) statics: HashMap<String, String>,
    /// Ids that were given and have not joined yet, each with the time at which it is forgotten.
    pub(super) pending: HashMap<String, u64>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) unsynced: BTreeSet<String>,
    /// How many members say each protocol.
    pub(super) support: HashMap<String, usize>,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_due_ms: Option<u64>,
    /// True when somebody came since the initial delay was set.
    pub(super) newcomers: bool,
    /// Members whose join is parked.
    pub(super) joined: usize,
    /// Bytes of metadata and assignments.
    pub(super) bytes: usize,
    pub(super) next_number: u64,
    pub(super) next_order: u64,
    /// No timer is due before.
    pub(super) earliest_ms: u64,
}

impl Machine {
    /// An empty group.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            state: GroupState::Empty,
            since_ms: now.wall_ms,
            generation: 0,
            passed_over: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: None,
            members: BTreeMap::new(),
            statics: HashMap::new(),
            pending: HashMap::new(),
            unsynced: BTreeSet::new(),
            support: HashMap::new(),
            join_timer: None,
            sync_due_ms: None,
            newcomers: false,
            joined: 0,
            bytes: 0,
            next_number: 0,
            next_order: 0,
            earliest_ms: NEVER,
        }
    }

    /// A member joins. Names the call when it is parked.
    pub(super) fn join(&mut self, request: &JoinRequest<'_>, answer: JoinAnswer, act: &mut Act<'_>) -> Call {
        let id = request.member_id;
        if let Err(error) = self.admit(request, act) {
            // An id is given back unless the member is to forget it.
            let kept = if error == GroupError::GroupFull { "" } else { id };
            act.refuse_join(answer, error, kept);
            return None;
        }
        if id.is_empty() {
            self.join_new(request, answer, act)
        } else {
            self.join_known(request, answer, act)
        }
    }

    /// What every join must pass.
    pub(super) fn admit(&mut self, request: &JoinRequest<'_>, act: &mut Act<'_>) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::NotAvailable);
        }
        if !self.has_room(request.member_id, act.options.members_max) {
            // Only when the bound was lowered is there a member that is told so.
            self.remove(request.member_id, GroupError::UnknownMember, act);
            return Err(GroupError::GroupFull);
        }
        if !self.suits(request) {
            return Err(GroupError::InconsistentProtocol);
        }
        let bytes =
            protocols_bytes(request.protocols.iter().map(|(name, metadata)| (name.len(), metadata.len())));
        let names = request.protocols.iter().map(|(name, _)| *name).chain(request.instance_id);
        let long = names.chain([request.protocol_type]).any(|name| name.len() > NAME_BYTES_MAX);
        if long || request.protocols.len() > PROTOCOLS_MAX || bytes > act.options.metadata_bytes_max {
            return Err(GroupError::TooLarge);
        }
        let before = self.members.get(request.member_id).map_or(0, Member::bytes);
        if self.bytes - before + bytes > act.options.group_bytes_max {
            return Err(GroupError::GroupFull);
        }
        Ok(())
    }

    /// True when there is room for the member, or it has its place already.
    pub(super) fn has_room(&self, id: &str, max: usize) -> bool {
        let known = self.members.get(id);
        if known.is_none() && !self.pending.contains_key(id) && self.pending.len() >= max {
            return false;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            // Who has joined counts: so a group that is above its bound loses those that join last.
            GroupState::PreparingRebalance => {
                known.is_some_and(|member| member.join.is_some()) || self.joined < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < max
            }
        }
    }

    /// True when the group can take a member of this type that says these protocols.
    pub(super) fn suits(&self, request: &JoinRequest<'_>) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        let all_say = |name: &str| self.support.get(name).copied().unwrap_or(0) == self.members.len();
        self.members.is_empty() && self.state == GroupState::Empty
            || self.protocol_type == request.protocol_type
                && request.protocols.iter().any(|(name, _)| all_say(name))
    }

    pub(super) fn join_new(
        &mut self,
        request: &JoinRequest<'_>,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> Call {
        let own_word = request.instance_id.unwrap_or(request.client_id);
        let own_word = &own_word[..own_word.floor_char_boundary(NAME_BYTES_MAX)];
        let id = format!("{own_word}-{}", (act.unique)());
        let replaced = request.instance_id.and_then(|instance| self.statics.get(instance)).cloned();
        match replaced {
            Some(old) => self.replace_static(request, &old, &id, answer, act),
            None if request.instance_id.is_none() && request.id_first => {
                let due_ms = act.now.monotonic_ms + u64::try_from(request.session_ms).unwrap_or(0);
                self.pending.insert(id.clone(), due_ms);
                self.wake_at(due_ms);
                act.refuse_join(answer, GroupError::MemberIdRequired, &id);
                None
            }
            None => self.add(request, id, answer, act),
        }
    }

    pub(super) fn join_known(
        &mut self,
        request: &JoinRequest<'_>,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> Call {
        let id = request.member_id;
        if self.pending.contains_key(id) && request.instance_id.is_none() {
            return self.add(request, id.to_owned(), answer, act);
        }
        if let Err(error) = self.check_member(id, request.instance_id) {
            act.refuse_join(answer, error, id);
            return None;
        }
        let same = self.members[id].says(request.protocols);
        let leads = self.leader.as_deref() == Some(id);
        match self.state {
            GroupState::PreparingRebalance => {}
            // It did not get its answer, or a follower asks where the group is.
            GroupState::CompletingRebalance if same => return self.tell_generation(id, answer, act),
            GroupState::Stable if same && !leads => return self.tell_generation(id, answer, act),
            // What it says changed; or the leader, who may know of changes that nobody's words show.
            GroupState::CompletingRebalance | GroupState::Stable => {}
            GroupState::Empty | GroupState::Dead => unreachable!("a group with members is in neither state"),
        }
        let number = self.update(request, id, answer, act);
        self.rebalance_or_complete(act);
        self.parked(id, number)
    }

    /// Answers a join with the generation as it is.
    pub(super) fn tell_generation(&mut self, id: &str, answer: JoinAnswer, act: &mut Act<'_>) -> Call {
        self.heard(id, act);
        let told = self.told(id);
        act.joined(answer, Ok(told));
        None
    }

    /// What a member is told of the generation.
    pub(super) fn told(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == id {
            self.by_order().map(|(id, m)| m.as_seen_by_leader(id, &self.protocol)).collect()
        } else {
            Vec::new()
        };
        Joined {
            member_id: id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            members,
            skip_assignment: false,
        }
    }

    /// Takes in a member that was none before, and parks its join.
    pub(super) fn add(
        &mut self,
        request: &JoinRequest<'_>,
        id: String,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> Call {
        if self.state == GroupState::PreparingRebalance {
            self.newcomers = true;
        }
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type.to_owned();
        }
        let mut member = Member::new(request, self.next_order);
        self.next_order += 1;
        let number = self.number();
        member.join = Some(Parked { number, answer });
        // It has no id to be heard by, or no generation, so that its session does not count yet.
        member.due_ms = act.now.monotonic_ms + act.options.newcomer_ms;
        self.wake_at(member.due_ms);
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.count(&member);
        self.joined += 1;
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        self.rebalance_or_complete(act);
        self.parked(&id, number)
    }

    /// Takes over what a member says now and parks its join.
    pub(super) fn update(
        &mut self,
        request: &JoinRequest<'_>,
        id: &str,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> u64 {
        let number = self.number();
        let mut member = self.members.remove(id).expect("the caller found it");
        self.discount(&member);
        member.update(request);
        self.count(&member);
        match member.join.replace(Parked { number, answer }) {
            // The member sent it on a connection that it has given up.
            Some(older) => act.refuse_join(older.answer, GroupError::RebalanceInProgress, id),
            None => self.joined += 1,
        }
        if !member.newcomer {
            member.due_ms = act.now.monotonic_ms + member.session_ms;
            self.wake_at(member.due_ms);
        }
        self.members.insert(id.to_owned(), member);
        number
    }

    /// A static member came back without its id: it gets a new one, and the old one is fenced.
    pub(super) fn replace_static(
        &mut self,
        request: &JoinRequest<'_>,
        old: &str,
        id: &str,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> Call {
        let mut member = self.members.remove(old).expect("instance ids name members");
        if let Some(parked) = member.join.take() {
            self.joined -= 1;
            act.refuse_join(parked.answer, GroupError::FencedInstance, old);
        }
        if let Some(parked) = member.sync.take() {
            act.synced(parked.answer, Err(GroupError::FencedInstance));
        }
        let old_leader = self.leader.clone().unwrap_or_default();
        if old_leader == old {
            self.leader = Some(id.to_owned());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.to_owned());
        }
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.to_owned());
        }
        self.discount(&member);
        member.client_id = request.client_id.to_owned();
        member.client_host = request.client_host.to_owned();
        member.update(request);
        self.count(&member);
        self.members.insert(id.to_owned(), member);
        if self.state == GroupState::Stable && self.vote() == self.protocol {
            return self.tell_replaced(request, id, old_leader, answer, act);
        }
        let number = self.update(request, id, answer, act);
        match self.state {
            GroupState::PreparingRebalance => self.complete_if_all_joined(act),
            // Also when the leader has been told the old id: its assignment would name nobody.
            _ => self.prepare(act),
        }
        self.parked(id, number)
    }

    /// A static member that came back changes nothing: it is answered at once and nobody rebalances.
    pub(super) fn tell_replaced(
        &mut self,
        request: &JoinRequest<'_>,
        id: &str,
        old_leader: String,
        answer: JoinAnswer,
        act: &mut Act<'_>,
    ) -> Call {
        act.keep = true;
        self.heard(id, act);
        let mut told = self.told(id);
        if request.may_skip_assignment {
            told.skip_assignment = told.leader == id;
        } else {
            // It must not take itself for a leader who has to assign.
            told.leader = old_leader;
            told.members = Vec::new();
        }
        act.joined(answer, Ok(told));
        None
    }

    /// A member asks for its assignment. Gives the number of the call when it is parked.
    pub(super) fn sync(
        &mut self,
        request: &SyncRequest<'_>,
        answer: SyncAnswer,
        act: &mut Act<'_>,
    ) -> Option<u64> {
        let id = request.member_id;
        if let Err(error) = self.check_sync(request, act.options) {
            act.synced(answer, Err(error));
            return None;
        }
        self.heard(id, act);
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.sync_due_ms = None;
        }
        if self.state == GroupState::Stable {
            let synced = self.share(&self.members[id]);
            act.synced(answer, Ok(synced));
            return None;
        }
        let number = self.number();
        let member = self.members.get_mut(id).expect("checked above");
        if let Some(older) = member.sync.replace(Parked { number, answer }) {
            act.synced(older.answer, Err(GroupError::RebalanceInProgress));
        }
        if self.leader.as_deref() == Some(id) {
            self.assign(request.assignments, act);
            return None;
        }
        Some(number)
    }

    pub(super) fn check_sync(
        &self,
        request: &SyncRequest<'_>,
        options: &ClassicOptions,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::NotAvailable);
        }
        self.check_member(request.member_id, request.instance_id)?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |said: Option<&str>, is: &str| said.is_some_and(|said| said != is);
        if differs(request.protocol_type, &self.protocol_type) || differs(request.protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol);
        }
        if self.state == GroupState::PreparingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        let bytes: usize = request.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if self.state == GroupState::CompletingRebalance && self.bytes + bytes > options.group_bytes_max {
            return Err(GroupError::TooLarge);
        }
        Ok(())
    }

    /// The leader's word: everybody has an assignment now, those that it does not name an empty one.
    pub(super) fn assign(&mut self, assignments: &[(&str, &[u8])], act: &mut Act<'_>) {
        let by_id: HashMap<&str, &[u8]> = assignments.iter().copied().collect();
        for (id, member) in &mut self.members {
            self.bytes -= member.assignment.len();
            member.assignment = by_id.get(id.as_str()).copied().unwrap_or_default().into();
            self.bytes += member.assignment.len();
        }
        self.set_state(GroupState::Stable, act);
        act.keep = true;
        for id in self.ids_by_order() {
            let Some(parked) = self.members.get_mut(&id).and_then(|member| member.sync.take()) else {
                continue;
            };
            let synced = self.share(&self.members[&id]);
            act.synced(parked.answer, Ok(synced));
            self.heard(&id, act);
        }
    }

    pub(super) fn share(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: Arc::clone(&member.assignment),
        }
    }

    /// A member is alive. `RebalanceInProgress` tells it to join again, and counts as a sign of life too.
    pub(super) fn heartbeat(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        act: &mut Act<'_>,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::NotAvailable);
        }
        self.check_member(id, instance_id)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.heard(id, act);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Members leave, each with its own result.
    pub(super) fn leave(&mut self, leaving: &[Leaving<'_>], act: &mut Act<'_>) -> Vec<LeaveResult> {
        let results: Vec<LeaveResult> = leaving.iter().map(|leaving| self.leave_one(leaving, act)).collect();
        if results.iter().any(Result::is_ok) {
            self.after_removal(act);
        }
        results
    }

    pub(super) fn leave_one(&mut self, leaving: &Leaving<'_>, act: &mut Act<'_>) -> LeaveResult {
        if self.state == GroupState::Dead {
            return Err(GroupError::NotAvailable);
        }
        if leaving.member_id.is_empty() {
            let id = leaving.instance_id.and_then(|instance| self.statics.get(instance)).cloned();
            let id = id.ok_or(GroupError::UnknownMember)?;
            self.remove(&id, GroupError::UnknownMember, act);
            return Ok(());
        }
        if self.pending.remove(leaving.member_id).is_some() {
            return Ok(());
        }
        self.check_member(leaving.member_id, leaving.instance_id)?;
        self.remove(leaving.member_id, GroupError::UnknownMember, act);
        Ok(())
    }

    /// Whether whoever says this may commit; a member that may is alive.
    pub(super) fn check_commit(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        act: &mut Act<'_>,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::NotAvailable);
        }
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance_id.is_none() {
            return Err(GroupError::UnknownMember);
        }
        self.check_member(id, instance_id)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.heard(id, act);
        Ok(())
    }

    /// The connection of a parked call is gone: nobody is answered. A newcomer goes with it, since nobody else knows its
    /// id; another member has its session to come back. (Kafka lets newcomers linger for five minutes.)
    pub(super) fn vanished(&mut self, id: &str, number: u64, act: &mut Act<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.join.as_ref().is_some_and(|parked| parked.number == number) {
            member.join = None;
            self.joined -= 1;
            if member.newcomer {
                self.remove(id, GroupError::UnknownMember, act);
                self.after_removal(act);
                return;
            }
        } else if member.sync.as_ref().is_some_and(|parked| parked.number == number) {
            member.sync = None;
        } else {
            return;
        }
        self.heard(id, act);
    }

    /// Answers all that is parked: the broker stops.
    pub(super) fn stop(&mut self, act: &mut Act<'_>) {
        for (id, member) in &mut self.members {
            if let Some(parked) = member.join.take() {
                self.joined -= 1;
                act.refuse_join(parked.answer, GroupError::NotAvailable, id);
            }
            if let Some(parked) = member.sync.take() {
                act.synced(parked.answer, Err(GroupError::NotAvailable));
            }
        }
    }

    /// Ends a group that is deleted. False when it has members.
    pub(super) fn end(&mut self, act: &mut Act<'_>) -> bool {
        if !self.members.is_empty() {
            return false;
        }
        self.pending.clear();
        self.join_timer = None;
        self.sync_due_ms = None;
        self.set_state(GroupState::Dead, act);
        true
    }
}
