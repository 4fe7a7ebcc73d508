//! Who is in a classic group: looking members up, taking them in and out, and what always holds.

use super::GroupState;
use super::machine::{Act, Call, Machine};
use super::member::Member;
#[cfg(any(test, debug_assertions))]
use super::member::NEVER;
use super::refusal::GroupError;
use crate::member::Moment;

impl Machine {
    /// Whether this is a member, and the one that has its instance id.
    pub(super) fn check_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance_id {
            let owner = self.statics.get(instance).ok_or(GroupError::UnknownMember)?;
            if owner != id {
                return Err(GroupError::FencedInstance);
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// Removes a member, if it is one; what it waits for is refused.
    pub(super) fn remove(&mut self, id: &str, error: GroupError, act: &mut Act<'_>) {
        let Some(mut member) = self.members.remove(id) else { return };
        self.discount(&member);
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        self.unsynced.remove(id);
        if let Some(parked) = member.join.take() {
            self.joined -= 1;
            act.refuse_join(parked.answer, error, "");
        }
        if let Some(parked) = member.sync.take() {
            act.synced(parked.answer, Err(error));
        }
        if self.leader.as_deref() == Some(id) {
            let oldest = self.by_order().next().map(|(id, _)| id.clone());
            self.leader = oldest;
        }
    }

    pub(super) fn by_order(&self) -> impl Iterator<Item = (&String, &Member)> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_unstable_by_key(|(_, member)| member.order);
        members.into_iter()
    }

    pub(super) fn ids_by_order(&self) -> Vec<String> {
        self.by_order().map(|(id, _)| id.clone()).collect()
    }

    /// Names a join that is still parked.
    pub(super) fn parked(&self, id: &str, number: u64) -> Call {
        let parked = self.members.get(id).and_then(|member| member.join.as_ref());
        parked.filter(|parked| parked.number == number).map(|_| (id.to_owned(), number))
    }

    pub(super) fn count(&mut self, member: &Member) {
        self.bytes += member.bytes();
        for name in member.protocol_names() {
            *self.support.entry(name.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn discount(&mut self, member: &Member) {
        self.bytes -= member.bytes();
        for name in member.protocol_names() {
            let count = self.support.get_mut(name).expect("the member was counted");
            *count -= 1;
            if *count == 0 {
                self.support.remove(name);
            }
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn set_state(&mut self, state: GroupState, act: &Act<'_>) {
        tracing::debug!(
            ?state,
            generation = self.generation,
            members = self.members.len(),
            "a group changed"
        );
        self.state = state;
        self.since_ms = act.now.wall_ms;
    }

    /// True when members of another kind must stay out: somebody is in, or has been given an id to come in with.
    pub(super) fn is_live(&self) -> bool {
        !self.members.is_empty() || !self.pending.is_empty()
    }

    /// True when nothing would be lost with it: nobody is there and no generation has been.
    pub(super) fn is_nothing(&self) -> bool {
        self.state == GroupState::Empty && self.generation == 0 && !self.is_live()
    }

    /// Takes in a member that was kept, heard of now.
    pub(super) fn restore(&mut self, id: String, mut member: Member, now: Moment) {
        member.newcomer = false;
        member.order = self.next_order;
        self.next_order += 1;
        member.due_ms = now.monotonic_ms + member.session_ms;
        self.wake_at(member.due_ms);
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.count(&member);
        self.members.insert(id, member);
    }

    /// What always holds between two calls. It looks at every member, which is too much for each call of a release.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn assert_whole(&self) {
        let parked = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.joined, parked, "parked joins are counted");
        assert_eq!(self.bytes, self.members.values().map(Member::bytes).sum::<usize>(), "bytes are counted");
        assert!(self.statics.values().all(|id| self.members.contains_key(id)), "instance ids name members");
        assert!(self.unsynced.iter().all(|id| self.members.contains_key(id)), "only members can be late");
        assert!(self.pending.keys().all(|id| !self.members.contains_key(id)), "a member has its id already");
        assert_eq!(self.leader.is_some(), !self.members.is_empty(), "members have one leader");
        assert!(
            self.leader.as_ref().is_none_or(|id| self.members.contains_key(id)),
            "the leader is a member"
        );
        let is_joining = self.state == GroupState::PreparingRebalance;
        assert_eq!(self.join_timer.is_some(), is_joining, "joining ends some time");
        assert!(parked == 0 || is_joining, "joins wait only while joining");
        let syncing = self.members.values().any(|member| member.sync.is_some());
        assert!(!syncing || self.state == GroupState::CompletingRebalance, "syncs wait only for the leader");
        let nobody = matches!(self.state, GroupState::Empty | GroupState::Dead);
        assert!(self.members.is_empty() || !nobody, "a group with members is not empty");
        assert!(!self.members.is_empty() || nobody || is_joining, "a group without members is empty");
        let due = self.members.values().map(|member| member.due_ms).min().unwrap_or(NEVER);
        assert!(self.earliest_ms <= due, "no timer is forgotten");
    }
}
