//! How a classic group moves: timers, the rebalance that they and members begin, and the generation that ends it.

use std::sync::Arc;

use super::GroupState;
use super::machine::{Act, JoinTimer, Machine};
use super::member::NEVER;
use super::refusal::GroupError;

/// Milliseconds between two tries to complete a generation that nobody has joined.
const NOBODY_JOINED_MS: u64 = 1_000;

impl Machine {
    /// Does what is due, and looks for the next time.
    pub(super) fn expire(&mut self, act: &mut Act<'_>) {
        let now_ms = act.now.monotonic_ms;
        if self.earliest_ms > now_ms {
            return;
        }
        let pending = self.pending.len();
        self.pending.retain(|_, due_ms| *due_ms > now_ms);
        if self.pending.len() < pending {
            self.complete_if_all_joined(act);
        }
        let due = self.members.iter().filter(|(_, member)| member.due_ms <= now_ms);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.expire_member(&id, act);
        }
        if let Some(timer) = self.join_timer
            && timer.due_ms <= now_ms
        {
            self.expire_join(timer, act);
        }
        if self.sync_due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.expire_sync(act);
        }
        let members = self.members.values().map(|member| member.due_ms);
        let timers = self.join_timer.map(|timer| timer.due_ms).into_iter().chain(self.sync_due_ms);
        self.earliest_ms = members.chain(self.pending.values().copied()).chain(timers).min().unwrap_or(NEVER);
    }

    pub(super) fn expire_member(&mut self, id: &str, act: &mut Act<'_>) {
        let now_ms = act.now.monotonic_ms;
        // What was done for another one may have removed it, or renewed its time.
        let Some(member) = self.members.get_mut(id).filter(|member| member.due_ms <= now_ms) else { return };
        if member.waits_for_us() {
            // Its time is set when it is answered.
            member.due_ms = NEVER;
            return;
        }
        self.remove(id, GroupError::UnknownMember, act);
        self.after_removal(act);
    }

    pub(super) fn expire_join(&mut self, timer: JoinTimer, act: &mut Act<'_>) {
        match timer.initial {
            Some((waited_ms, rest_ms)) if self.newcomers && rest_ms > 0 => {
                self.newcomers = false;
                let wait_ms = act.options.initial_delay_ms.min(rest_ms);
                let rest_ms = rest_ms.saturating_sub(waited_ms);
                self.set_join_timer(act.now.monotonic_ms + wait_ms, Some((wait_ms, rest_ms)));
            }
            _ => self.complete(act),
        }
    }

    /// Members that did not ask for their assignment in time are gone.
    pub(super) fn expire_sync(&mut self, act: &mut Act<'_>) {
        self.sync_due_ms = None;
        let late = std::mem::take(&mut self.unsynced);
        if late.is_empty() {
            return;
        }
        late.iter().for_each(|id| self.remove(id, GroupError::UnknownMember, act));
        self.prepare(act);
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, id: &str, act: &Act<'_>) {
        let member = self.members.get_mut(id).expect("the caller found it");
        let life_ms = if member.newcomer { act.options.newcomer_ms } else { member.session_ms };
        member.due_ms = act.now.monotonic_ms + life_ms;
        let due_ms = member.due_ms;
        self.wake_at(due_ms);
    }

    pub(super) fn wake_at(&mut self, due_ms: u64) {
        self.earliest_ms = self.earliest_ms.min(due_ms);
    }

    pub(super) fn set_join_timer(&mut self, due_ms: u64, initial: Option<(u64, u64)>) {
        self.join_timer = Some(JoinTimer { due_ms, initial });
        self.wake_at(due_ms);
    }

    pub(super) fn rebalance_or_complete(&mut self, act: &mut Act<'_>) {
        match self.state {
            GroupState::PreparingRebalance => self.complete_if_all_joined(act),
            _ => self.prepare(act),
        }
    }

    /// After members were removed.
    pub(super) fn after_removal(&mut self, act: &mut Act<'_>) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare(act),
            GroupState::PreparingRebalance => self.complete_if_all_joined(act),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Begins a rebalance: who waits for an assignment is told to join again.
    pub(super) fn prepare(&mut self, act: &mut Act<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.take_back_syncs(act);
        }
        self.sync_due_ms = None;
        self.unsynced.clear();
        let first = self.state == GroupState::Empty;
        self.set_state(GroupState::PreparingRebalance, act);
        let (now_ms, delay_ms) = (act.now.monotonic_ms, act.options.initial_delay_ms);
        if first && delay_ms > 0 {
            self.newcomers = false;
            let rest_ms = self.rebalance_ms().saturating_sub(delay_ms);
            self.set_join_timer(now_ms + delay_ms, Some((delay_ms, rest_ms)));
        } else if first || self.all_joined() {
            self.complete(act);
        } else {
            self.set_join_timer(now_ms + self.rebalance_ms(), None);
        }
    }

    /// Whoever waits for an assignment is told to join again.
    fn take_back_syncs(&mut self, act: &mut Act<'_>) {
        for id in self.ids_by_order() {
            let member = self.members.get_mut(&id).expect("its id was listed");
            // Of the generation before; the leader's word of this one will not come any more.
            self.bytes -= member.assignment.len();
            member.assignment = Arc::default();
            if let Some(parked) = member.sync.take() {
                act.synced(parked.answer, Err(GroupError::RebalanceInProgress));
                self.heard(&id, act);
            }
        }
    }

    pub(super) fn all_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }

    /// Ends joining when nobody is missing. The first generation waits for its delay, unless everybody is gone.
    pub(super) fn complete_if_all_joined(&mut self, act: &mut Act<'_>) {
        let initial = self.join_timer.is_some_and(|timer| timer.initial.is_some());
        if self.state == GroupState::PreparingRebalance
            && self.all_joined()
            && (!initial || self.members.is_empty())
        {
            self.complete(act);
        }
    }

    /// Ends joining: dynamic members that did not join are gone, static ones stay, and a generation begins.
    pub(super) fn complete(&mut self, act: &mut Act<'_>) {
        self.join_timer = None;
        let missing = self.members.iter().filter(|(_, m)| m.join.is_none() && m.instance_id.is_none());
        for id in missing.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id, GroupError::UnknownMember, act);
        }
        if self.joined == 0 && !self.members.is_empty() {
            // Static members alone, all of them away: they come, or their sessions end.
            self.set_join_timer(act.now.monotonic_ms + self.rebalance_ms().max(NOBODY_JOINED_MS), None);
            return;
        }
        self.unsynced.clear();
        let step = 1 + std::mem::take(&mut self.passed_over);
        self.generation = self.generation.checked_add(step).unwrap_or(1);
        if self.members.is_empty() {
            self.protocol.clear();
            self.leader = None;
            self.set_state(GroupState::Empty, act);
            act.keep = true;
            return;
        }
        self.elect();
        self.protocol = self.vote();
        self.set_state(GroupState::CompletingRebalance, act);
        for id in self.ids_by_order() {
            let told = self.told(&id);
            let member = self.members.get_mut(&id).expect("its id was listed");
            member.newcomer = false;
            if let Some(parked) = member.join.take() {
                self.joined -= 1;
                act.joined(parked.answer, Ok(told));
            }
            self.heard(&id, act);
            self.unsynced.insert(id);
        }
        let due_ms = act.now.monotonic_ms + self.rebalance_ms();
        self.sync_due_ms = Some(due_ms);
        self.wake_at(due_ms);
    }

    /// The leader stays when it joined; else the one that has been there longest of those that did.
    pub(super) fn elect(&mut self) {
        let there = |id: &String| self.members.get(id).is_some_and(|member| member.join.is_some());
        if !self.leader.as_ref().is_some_and(there) {
            let mut joined = self.by_order().filter(|(_, member)| member.join.is_some());
            let oldest = joined.next().map(|(id, _)| id.clone());
            drop(joined);
            self.leader = oldest;
        }
        assert!(self.leader.is_some(), "somebody joined");
    }

    /// Of the protocols that all members say, the one that most of them like best; of equals, the oldest member's.
    pub(super) fn vote(&self) -> String {
        let all_say = |name: &str| self.support.get(name).copied() == Some(self.members.len());
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for (_, member) in self.by_order() {
            let Some(best) = member.protocols.iter().find(|protocol| all_say(&protocol.name)) else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| *name == best.name) {
                Some((_, count)) => *count += 1,
                None => votes.push((&best.name, 1)),
            }
        }
        // Of equals `max_by_key` takes the last.
        votes
            .iter()
            .rev()
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| (*name).to_owned())
            .unwrap_or_default()
    }

    pub(super) fn rebalance_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_ms).max().unwrap_or(0)
    }
}
