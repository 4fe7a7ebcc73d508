//! What members ask and what they are answered.

use std::sync::Arc;

use braid_store::Promise;

use crate::classic::{GroupError, JoinRefusal};

/// A member wants to be in the next generation.
#[derive(Debug, Clone, Copy)]
pub struct JoinRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// The member's id; empty when it has none yet.
    pub member_id: &'a str,
    /// The id that it keeps over its restarts; `None` (or empty) for a dynamic member.
    pub instance_id: Option<&'a str>,
    /// What its client calls itself; new ids begin with it.
    pub client_id: &'a str,
    /// Where it comes from, for people.
    pub client_host: &'a str,
    /// Milliseconds of silence after which it is gone.
    pub session_ms: i32,
    /// Milliseconds that the others wait for it when the group rebalances; negative counts as 0.
    pub rebalance_ms: i32,
    /// What kind of group it takes this for.
    pub protocol_type: &'a str,
    /// Protocols that it speaks and what it says in each, its favourite first.
    pub protocols: &'a [(&'a str, &'a [u8])],
    /// True when a new dynamic member is only given an id, with which it joins again.
    pub id_first: bool,
    /// True when a leader that comes back may be told that the assignment stands.
    pub may_skip_assignment: bool,
}

/// A member of a generation as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub id: String,
    /// Its instance id, when it is static.
    pub instance_id: Option<String>,
    /// What it said in the protocol that was chosen.
    pub metadata: Arc<[u8]>,
}

/// A member is in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member_id: String,
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: String,
    /// The protocol that was chosen.
    pub protocol: String,
    /// The leader's id.
    pub leader: String,
    /// Everybody, for the leader alone; empty for others.
    pub members: Vec<JoinedMember>,
    /// True when the leader need not assign anew.
    pub skip_assignment: bool,
}

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Debug, Clone, Copy)]
pub struct SyncRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// The member.
    pub member_id: &'a str,
    /// Its instance id, when it is static.
    pub instance_id: Option<&'a str>,
    /// The generation that it is in.
    pub generation: i32,
    /// The protocol type that it believes in, if it says so.
    pub protocol_type: Option<&'a str>,
    /// The protocol that it believes in, if it says so.
    pub protocol: Option<&'a str>,
    /// Assignments by member id; only the leader's count.
    pub assignments: &'a [(&'a str, &'a [u8])],
}

/// A member's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: String,
    /// The protocol in use.
    pub protocol: String,
    /// Its assignment; empty when the leader named none.
    pub assignment: Arc<[u8]>,
}

/// A callback that takes one answer, called with no lock held on whatever thread has it. It must not block and must not
/// call the broker or the store.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// Takes the answer to a join.
pub type JoinAnswer = Answer<Result<Joined, JoinRefusal>>;

/// Takes the answer to a sync; the promise waits until the generation is written, so that a killed process knows it again.
pub type SyncAnswer = Answer<Result<Promise<Synced>, GroupError>>;

/// Names a call that may be parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedCall {
    pub(crate) group: String,
    pub(crate) member_id: String,
    pub(crate) number: u64,
}

/// One member to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving<'a> {
    /// Its id; empty when it is named by its instance id alone.
    pub member_id: &'a str,
    /// Its instance id, when it is static.
    pub instance_id: Option<&'a str>,
}

/// What became of one of them.
pub type LeaveResult = Result<(), GroupError>;
