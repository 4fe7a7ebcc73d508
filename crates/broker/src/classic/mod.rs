//! Classic groups: members that join, elect a leader and are handed their share by it. The broker sees opaque bytes: what
//! a member wants (its protocols' metadata) and what it gets (its assignment).
//!
//! ```text
//!            join                      all joined, or time is up            the leader's sync
//!  Empty ───────────► Preparing ──────────────────────────────► Completing ──────────────────► Stable
//!    ▲                  │  ▲  ▲                                    │                             │
//!    └──────────────────┘  │  └────────────────────────────────────┘                             │
//!      nobody is left      └─────────────────────────────────────────────────────────────────────┘
//!                            a member comes, goes, or wants something else
//! ```
//!
//! * [`machine`]: one group, a pure state machine: calls and times in, answers and a wish to be kept out;
//!   [`rebalance`] is how it moves, [`roster`] who is in it.
//! * [`kept`]: a group as state, so that its members go on after a restart as if nothing had been.
//! * [`table`]: all groups, their timers, and who may be in them beside the members that heartbeats announce.
//! * [`cursors`]: what members commit, who may, and when it is forgotten.
//! * [`overview`]: groups as administrators see them.
//!
//! A join or sync that has to wait is *parked*: its answer is a callback that is called exactly once, with no lock held,
//! or dropped when its connection is gone. The broker's one clock moves all timers, in [`Broker::turn`](crate::Broker).

mod cursors;
mod kept;
mod machine;
mod member;
mod overview;
mod rebalance;
mod refusal;
mod request;
mod roster;
mod table;
#[cfg(test)]
mod tests;

pub use cursors::Committer;
pub use overview::{GroupListing, GroupOverview, MemberOverview};
pub use refusal::{GroupError, JoinRefusal};
pub use request::{
    Answer, JoinAnswer, JoinRequest, Joined, JoinedMember, LeaveResult, Leaving, ParkedCall, SyncAnswer,
    SyncRequest, Synced,
};
pub(crate) use table::ClassicGroups;
pub use table::ReadSubscriptions;

/// Bounds and times of classic groups.
#[derive(Debug, Clone)]
pub struct ClassicOptions {
    /// Milliseconds that the first join of an empty group waits for others, prolonged while they come. Default 3,000.
    pub initial_delay_ms: u64,
    /// Shortest session timeout that a member may ask for. Default 6,000.
    pub session_ms_min: i32,
    /// Longest session timeout that a member may ask for. Default 1,800,000.
    pub session_ms_max: i32,
    /// Milliseconds after which a member that has never been in a generation gives up waiting for one. Default 300,000.
    pub newcomer_ms: u64,
    /// Most members of one group, and most ids that are given and not used yet. Default 10,000.
    pub members_max: usize,
    /// Most groups that are remembered. Default 100,000.
    pub groups_max: usize,
    /// Most bytes of metadata of one member, its protocols together. Default 1 MiB.
    pub metadata_bytes_max: usize,
    /// Most bytes of metadata and assignments of one group. Default 16 MiB.
    pub group_bytes_max: usize,
    /// Milliseconds for which a cursor that a member committed is kept once nobody uses it. Default 7 days.
    pub cursor_life_ms: i64,
    /// Milliseconds between two looks for cursors that are too old. Default 600,000.
    pub cursor_check_ms: u64,
    /// Seed of members' ids; `None` takes the system's entropy.
    pub id_seed: Option<u64>,
}

impl Default for ClassicOptions {
    fn default() -> Self {
        Self {
            initial_delay_ms: 3_000,
            session_ms_min: 6_000,
            session_ms_max: 1_800_000,
            newcomer_ms: 300_000,
            members_max: 10_000,
            groups_max: 100_000,
            metadata_bytes_max: 1 << 20,
            group_bytes_max: 16 << 20,
            cursor_life_ms: 7 * 24 * 3_600_000,
            cursor_check_ms: 600_000,
            id_seed: None,
        }
    }
}

/// Where a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Nobody is in it.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// It is deleted.
    Dead,
}
