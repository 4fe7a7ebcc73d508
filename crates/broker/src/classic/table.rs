//! All classic groups: found by name, driven by time, kept as state, and apart from members that heartbeats announce.
//!
//! Locks, in the order in which they may be taken: a group's gate, the group, its cursors, the append section. Answers
//! are given once all of them are free.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use braid_io::Rng;
use braid_store::{Level, Position};

use super::machine::{Act, Given, Machine};
use super::member::NEVER;
use super::request::{JoinAnswer, JoinRequest, LeaveResult, Leaving, ParkedCall, SyncAnswer, SyncRequest};
use super::{ClassicOptions, GroupError, GroupState, JoinRefusal, kept};
use crate::broker::{Broker, promise_up_to};
use crate::codec::Reader;
use crate::error::Error;
use crate::group::GROUP_BYTES_MAX;
use crate::member::{Delivery, Moment};
use crate::sync::{lock, read, write};

/// Locks that keep the two kinds of members apart; groups share them by hash.
const GATES: usize = 64;
/// Milliseconds after which a group that could not be kept is tried again.
const KEEP_AGAIN_MS: u64 = 1_000;

/// All classic groups.
pub(crate) struct ClassicGroups {
    table: RwLock<HashMap<String, Arc<Slot>>>,
    /// When groups want to be looked at, by monotonic time and name. A group that is heard of stays where it is: the
    /// look finds nothing then, and sets the next one.
    timers: Mutex<BTreeSet<(u64, String)>>,
    /// Held while members of one kind are let in, so that the other kind is not let in meanwhile.
    gates: [Mutex<()>; GATES],
    ids: Mutex<Rng>,
    stopping: AtomicBool,
    /// Reads what a member subscribes to; see [`Broker::read_subscriptions_with`].
    pub(super) subscriptions: OnceLock<ReadSubscriptions>,
}

/// Topics that a member of that protocol type names in its metadata, as the broker knows them; `None` when it cannot be
/// told.
pub type ReadSubscriptions = fn(broker: &Broker, protocol_type: &str, metadata: &[u8]) -> Option<Vec<String>>;

/// A group's place.
pub(super) struct Slot {
    pub(super) name: String,
    group: Mutex<Slotted>,
}

/// A group with what its surroundings know of it.
pub(super) struct Slotted {
    pub(super) machine: Machine,
    /// When it stands in the timers; [`NEVER`] when it does not.
    timer_ms: u64,
    /// Behind the record that keeps it.
    kept_end: Position,
    /// True when its last change could not be kept: the disk is full, or slow. It goes on from memory, since readers
    /// go on too, and is kept when there is room.
    unkept: bool,
}

impl ClassicGroups {
    /// Takes over what was kept as state; members are heard of now.
    pub(crate) fn load(
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        options: &ClassicOptions,
        now: Moment,
        epoch: u32,
    ) -> Result<Self, Error> {
        let seed = |seed| Rng::new(seed);
        let groups = Self {
            table: RwLock::default(),
            timers: Mutex::default(),
            gates: std::array::from_fn(|_| Mutex::default()),
            ids: Mutex::new(options.id_seed.map_or_else(Rng::from_entropy, seed)),
            stopping: AtomicBool::new(false),
            subscriptions: OnceLock::new(),
        };
        for (key, value) in entries {
            let name = String::from_utf8_lossy(&key).into_owned();
            let machine = Reader::new(&key)
                .rest_as_text()
                .and_then(|_| kept::decode(&value, now, epoch))
                .map_err(|reason| Error::State { what: format!("classic group {name}"), reason })?;
            let slot = Slot::new(name, machine);
            groups.set_timer(&slot, &mut lock(&slot.group));
            write(&groups.table).insert(slot.name.clone(), slot);
        }
        Ok(groups)
    }

    pub(super) fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        read(&self.table).get(name).cloned()
    }

    /// All groups, by name: what is done for all of them happens in one order.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = read(&self.table).values().cloned().collect();
        slots.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        slots
    }

    fn slot_or_new(&self, name: &str, now: Moment, max: usize) -> Result<Arc<Slot>, GroupError> {
        if let Some(slot) = self.slot(name) {
            return Ok(slot);
        }
        let mut table = write(&self.table);
        if !table.contains_key(name) && table.len() >= max {
            return Err(GroupError::GroupFull);
        }
        let new = || Slot::new(name.to_owned(), Machine::new(now));
        Ok(Arc::clone(table.entry(name.to_owned()).or_insert_with(new)))
    }

    /// Takes a dead group out, unless its name has been taken again.
    fn forget(&self, slot: &Arc<Slot>) {
        let mut table = write(&self.table);
        if table.get(&slot.name).is_some_and(|found| Arc::ptr_eq(found, slot)) {
            table.remove(&slot.name);
        }
    }

    /// Lets nobody in while it is held.
    pub(crate) fn gate(&self, group: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(group);
        lock(&self.gates[hash as usize % GATES])
    }

    /// True when members, or ids that are about to join, are in the group.
    pub(crate) fn is_live(&self, group: &str) -> bool {
        self.slot(group).is_some_and(|slot| lock(&slot.group).machine.is_live())
    }

    /// A text that no other id has: a random UUID.
    fn unique(&self) -> String {
        let mut ids = lock(&self.ids);
        let (high, low) = (ids.next_u64(), ids.next_u64());
        let high = high & !0xf000 | 0x4000;
        let low = low & !(0b11 << 62) | 0b10 << 62;
        let hex = format!("{high:016x}{low:016x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// Puts the group into the timers when it wants to be looked at earlier than it stands there. Gives the time then.
    fn set_timer(&self, slot: &Slot, slotted: &mut Slotted) -> Option<u64> {
        let wanted_ms = slotted.machine.earliest_ms;
        if wanted_ms >= slotted.timer_ms {
            return None;
        }
        let mut timers = lock(&self.timers);
        if slotted.timer_ms != NEVER {
            timers.remove(&(slotted.timer_ms, slot.name.clone()));
        }
        timers.insert((wanted_ms, slot.name.clone()));
        slotted.timer_ms = wanted_ms;
        Some(wanted_ms)
    }

    /// Names of groups that are due.
    fn take_due(&self, now_ms: u64) -> Vec<String> {
        let mut timers = lock(&self.timers);
        let mut due = Vec::new();
        while let Some((due_ms, _)) = timers.first()
            && *due_ms <= now_ms
        {
            due.extend(timers.pop_first().map(|(_, name)| name));
        }
        due
    }
}

fn check_name(group: &str) -> Result<(), GroupError> {
    if group.is_empty() || group.len() > GROUP_BYTES_MAX { Err(GroupError::Name) } else { Ok(()) }
}

/// An instance id that says something.
pub(super) fn instance(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty())
}

impl Broker {
    /// A member joins a classic group, which is made for a first member. The answer is given before this returns, or
    /// later, when the group's next generation begins; until then the call is parked, and
    /// [`group_call_vanished`](Self::group_call_vanished) takes it back.
    ///
    /// State may be appended: the caller ends its turn as after every append.
    pub fn join_group(&self, request: &JoinRequest<'_>, answer: JoinAnswer) -> Option<ParkedCall> {
        let request = JoinRequest { instance_id: instance(request.instance_id), ..*request };
        let refuse = |answer: JoinAnswer, error| {
            answer(Err(JoinRefusal { error, member_id: request.member_id.to_owned() }));
            None
        };
        if let Err(error) = self.check_join(&request) {
            return refuse(answer, error);
        }
        let gate = self.classic.gate(request.group);
        if self.shares_queues(request.group) {
            drop(gate);
            return refuse(answer, GroupError::OtherMembers);
        }
        let slot = match self.classic.slot(request.group) {
            Some(slot) => slot,
            None if !request.member_id.is_empty() => {
                drop(gate);
                return refuse(answer, GroupError::UnknownMember);
            }
            None => {
                let max = self.options.classic.groups_max;
                match self.classic.slot_or_new(request.group, self.moment(), max) {
                    Ok(slot) => slot,
                    Err(error) => {
                        drop(gate);
                        return refuse(answer, error);
                    }
                }
            }
        };
        let (parked, given) = self.work(&slot, |machine, act| machine.join(&request, answer, act));
        drop(gate);
        given.give();
        parked.map(|(id, number)| self.parked(request.group, id, number))
    }

    fn check_join(&self, request: &JoinRequest<'_>) -> Result<(), GroupError> {
        check_name(request.group)?;
        let options = &self.options.classic;
        if !(options.session_ms_min..=options.session_ms_max).contains(&request.session_ms) {
            return Err(GroupError::SessionTimeout);
        }
        if self.classic.stopping.load(Ordering::SeqCst) {
            return Err(GroupError::NotAvailable);
        }
        Ok(())
    }

    fn parked(&self, group: &str, member_id: String, number: u64) -> ParkedCall {
        let call = ParkedCall { group: group.to_owned(), member_id, number };
        if self.classic.stopping.load(Ordering::SeqCst) {
            // It may have parked behind the stop's back.
            self.stop_groups();
        }
        call
    }

    /// A member asks for its assignment, and the leader brings everybody's. Answered as a join is.
    pub fn sync_group(&self, request: &SyncRequest<'_>, answer: SyncAnswer) -> Option<ParkedCall> {
        let request = SyncRequest { instance_id: instance(request.instance_id), ..*request };
        let slot = match check_name(request.group).map(|()| self.classic.slot(request.group)) {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                answer(Err(GroupError::UnknownMember));
                return None;
            }
            Err(error) => {
                answer(Err(error));
                return None;
            }
        };
        let (parked, given) = self.work(&slot, |machine, act| machine.sync(&request, answer, act));
        given.give();
        parked.map(|number| self.parked(request.group, request.member_id.to_owned(), number))
    }

    /// A member is alive, and hears whether it has to join again.
    ///
    /// # Errors
    /// `RebalanceInProgress` when it has to join again, or why it is no member.
    pub fn heartbeat_group(
        &self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        check_name(group)?;
        let slot = self.classic.slot(group).ok_or(GroupError::UnknownMember)?;
        let beat = |machine: &mut Machine, act: &mut Act<'_>| {
            machine.heartbeat(member_id, instance(instance_id), generation, act)
        };
        let (result, given) = self.work(&slot, beat);
        given.give();
        result
    }

    /// Members leave, each with its own result, in their order.
    ///
    /// # Errors
    /// `Name` when the group cannot be named so.
    pub fn leave_group(&self, group: &str, leaving: &[Leaving<'_>]) -> Result<Vec<LeaveResult>, GroupError> {
        check_name(group)?;
        let Some(slot) = self.classic.slot(group) else {
            return Ok(vec![Err(GroupError::UnknownMember); leaving.len()]);
        };
        let named = |leaving: &Leaving<'_>| {
            (leaving.member_id.to_owned(), instance(leaving.instance_id).map(str::to_owned))
        };
        let named: Vec<_> = leaving.iter().map(named).collect();
        let leaving: Vec<_> = named
            .iter()
            .map(|(member_id, instance_id)| Leaving { member_id, instance_id: instance_id.as_deref() })
            .collect();
        let (results, given) = self.work(&slot, |machine, act| machine.leave(&leaving, act));
        given.give();
        Ok(results)
    }

    /// The connection of a parked call is gone: its answer is dropped, and the group goes on without it.
    pub fn group_call_vanished(&self, call: &ParkedCall) {
        let Some(slot) = self.classic.slot(&call.group) else { return };
        let ((), given) =
            self.work(&slot, |machine, act| machine.vanished(&call.member_id, call.number, act));
        given.give();
    }

    /// Ends sessions, rebalances and waits whose time has come; gives the next time, monotonic. Called by
    /// [`Broker::turn`].
    pub fn expire_groups(&self) -> Option<u64> {
        for name in self.classic.take_due(self.clock.monotonic_ms()) {
            let Some(slot) = self.classic.slot(&name) else { continue };
            lock(&slot.group).timer_ms = NEVER;
            let ((), given) = self.work(&slot, |machine, act| machine.expire(act));
            given.give();
        }
        lock(&self.classic.timers).first().map(|(due_ms, _)| *due_ms)
    }

    /// Begins to stop: parked calls are answered `NotAvailable`, and nobody joins any more.
    pub fn stop_groups(&self) {
        self.classic.stopping.store(true, Ordering::SeqCst);
        for slot in self.classic.slots() {
            let ((), given) = self.work(&slot, |machine, act| machine.stop(act));
            given.give();
        }
    }

    /// True when a classic group of this name has members: others who would share its queues stay out.
    pub fn is_classic_group_live(&self, group: &str) -> bool {
        self.classic.is_live(group)
    }

    /// True when members that heartbeats announce share the group's queues now. Those that read everything each do not
    /// count.
    pub(super) fn shares_queues(&self, group: &str) -> bool {
        self.consuming(group).is_some_and(|(_, delivery)| delivery == Delivery::Clustering)
    }

    /// Whether somebody who would share the group's queues, or moves its cursors, must stay out because members of the
    /// classic kind live in it. Those that read everything each may stay.
    ///
    /// # Errors
    /// `Group(OtherMembers)`.
    pub fn check_no_classic_members(&self, group: &str) -> Result<(), Error> {
        let broadcasts =
            || self.consuming(group).is_some_and(|(_, delivery)| delivery == Delivery::Broadcasting);
        if self.is_classic_group_live(group) && !broadcasts() {
            return Err(Error::Group(GroupError::OtherMembers));
        }
        Ok(())
    }

    /// Works on a group and keeps it when it wants to be; the answers are to be given once no lock is held.
    pub(super) fn work<T>(
        &self,
        slot: &Arc<Slot>,
        call: impl FnOnce(&mut Machine, &mut Act<'_>) -> T,
    ) -> (T, Due) {
        let mut slotted = lock(&slot.group);
        let mut unique = || self.classic.unique();
        let mut act = Act {
            now: self.moment(),
            options: &self.options.classic,
            unique: &mut unique,
            answers: Vec::new(),
            keep: false,
        };
        let result = call(&mut slotted.machine, &mut act);
        let Act { answers, keep, now, .. } = act;
        #[cfg(debug_assertions)]
        slotted.machine.assert_whole();
        if slotted.machine.is_nothing() {
            slotted.machine.state = GroupState::Dead;
        }
        let is_dead = slotted.machine.state == GroupState::Dead;
        // What could not be kept is made good in a generation that was reached: one that is not has no shares yet, and
        // would come back with those of the one before.
        let is_reached = matches!(slotted.machine.state, GroupState::Stable | GroupState::Empty);
        if !is_dead && (keep || slotted.unkept && is_reached) {
            self.keep(slot, &mut slotted, now);
        }
        if let Some(due_ms) = self.classic.set_timer(slot, &mut slotted) {
            self.wanted_at(due_ms);
        }
        let end = slotted.kept_end;
        drop(slotted);
        if is_dead {
            self.classic.forget(slot);
        }
        (result, Due { answers, end })
    }

    fn keep(&self, slot: &Slot, slotted: &mut Slotted, now: Moment) {
        match self.append_state(&[kept::change(&slot.name, Some(&slotted.machine))]) {
            Ok(appended) => {
                slotted.kept_end = appended.end;
                slotted.unkept = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut slotted.unkept, true) {
                    tracing::warn!(group = slot.name, %error, "a group goes on from memory: it could not be kept");
                }
                let again_ms = now.monotonic_ms + KEEP_AGAIN_MS;
                slotted.machine.earliest_ms = slotted.machine.earliest_ms.min(again_ms);
            }
        }
    }
}

/// Answers that are due, and what they wait for.
#[must_use]
pub(super) struct Due {
    answers: Vec<Given>,
    end: Position,
}

impl Due {
    pub(super) fn give(self) {
        for given in self.answers {
            match given {
                Given::Join(answer, result) => answer(result),
                Given::Sync(answer, result) => {
                    // A killed process goes on where it was. A power cut may take the generation back: its members
                    // join again then, under a number that nobody has been told.
                    answer(result.map(|synced| promise_up_to(self.end, Level::Written, synced)));
                }
            }
        }
    }
}

impl Slot {
    fn new(name: String, machine: Machine) -> Arc<Self> {
        let slotted = Slotted { machine, timer_ms: NEVER, kept_end: Position(0), unkept: false };
        Arc::new(Self { name, group: Mutex::new(slotted) })
    }

    /// Looks at the group.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&lock(&self.group).machine)
    }
}
