//! Groups as administrators see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::GroupState;
use super::machine::Machine;
use crate::broker::Broker;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub name: String,
    /// Where it is; a group that has only cursors is `Empty`.
    pub state: GroupState,
    /// What kind of group its members take it for; empty when nobody said.
    pub protocol_type: String,
    /// True when members that heartbeats announce share its queues now.
    pub has_other_members: bool,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOverview {
    /// Where it is.
    pub state: GroupState,
    /// What kind of group its members take it for; empty when nobody said.
    pub protocol_type: String,
    /// The protocol in use; empty unless it is stable.
    pub protocol: String,
    /// Its members, in the order in which they came.
    pub members: Vec<MemberOverview>,
    /// True when members that heartbeats announce share its queues now.
    pub has_other_members: bool,
}

/// A member of a classic group. What it says is empty unless the group is stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOverview {
    /// Its id.
    pub id: String,
    /// Its instance id, when it is static.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// What it says in the protocol in use.
    pub metadata: Arc<[u8]>,
    /// Its assignment; that of the generation before while the group rebalances.
    pub assignment: Arc<[u8]>,
}

fn overview(machine: &Machine, has_other_members: bool) -> GroupOverview {
    let is_stable = machine.state == GroupState::Stable;
    let protocol = if is_stable { machine.protocol.clone() } else { String::new() };
    let members = machine.by_order().map(|(id, member)| MemberOverview {
        id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if is_stable { member.metadata(&protocol) } else { Arc::default() },
        assignment: Arc::clone(&member.assignment),
    });
    let members = members.collect();
    let (state, protocol_type) = (machine.state, machine.protocol_type.clone());
    GroupOverview { state, protocol_type, protocol, members, has_other_members }
}

impl Broker {
    /// All groups that have members of either kind, a generation, or cursors; by name.
    pub fn classic_groups(&self) -> Vec<GroupListing> {
        let mut groups: BTreeMap<String, (GroupState, String)> = BTreeMap::new();
        let names = self.groups_with_cursors().into_iter().chain(self.consuming_groups());
        groups.extend(names.map(|name| (name, (GroupState::Empty, String::new()))));
        for slot in self.classic.slots() {
            let state = slot.look(|machine| (machine.state, machine.protocol_type.clone()));
            groups.insert(slot.name.clone(), state);
        }
        let listing = |(name, (state, protocol_type)): (String, (GroupState, String))| {
            let has_other_members = self.shares_queues(&name);
            GroupListing { name, state, protocol_type, has_other_members }
        };
        groups.into_iter().map(listing).collect()
    }

    /// A group in full; `None` when there is none of this name.
    pub fn classic_group(&self, name: &str) -> Option<GroupOverview> {
        let has_other_members = self.shares_queues(name);
        if let Some(slot) = self.classic.slot(name) {
            return Some(slot.look(|machine| overview(machine, has_other_members)));
        }
        let is_there = has_other_members || self.has_cursors(name) || self.is_group_online(name);
        is_there.then(|| GroupOverview {
            state: GroupState::Empty,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
            has_other_members,
        })
    }
}
