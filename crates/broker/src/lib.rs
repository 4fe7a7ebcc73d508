//! The meaning of the broker, without any protocol's words and without sockets: topics, groups, members, classic
//! groups, cursors, queue locks, parked readers, delay levels, retry and dead letters, idempotent producers.
//!
//! ```text
//!  edge ── send ──────────► Broker ── Group ──► Store ── dispatch ──► Waiters ── wake ──► edge
//!  edge ── read, park ────►    │                  ▲
//!                              └── deliver_due ───┘  (progress and copy: one append)
//! ```
//!
//! Everything is synchronous and safe to call from several threads. A call that appends only appends: whoever called
//! it ends its turn with [`Store::write_turn`](braid_store::Store::write_turn), and an answer waits in a
//! [`Promise`](braid_store::Promise). Time comes from the [`Clock`](braid_io::Clock) that the broker was opened with.
//! Names that belong to a protocol (the retry topic of a group, the delay topic, property names) are a [`Policy`] which
//! the edge hands down.
//!
//! Deliberately absent: sockets, tokio, request codes, and threads other than the one of [`driver`].

mod broker;
mod classic;
mod codec;
mod cursor;
mod delay;
pub mod driver;
mod error;
mod group;
mod idempotence;
pub mod limits;
mod lock;
mod member;
mod options;
mod policy;
mod produce;
mod retention;
mod retry;
mod statistics;
mod sync;
mod topic;
mod waiter;

pub use broker::{Broker, Turn};
pub use classic::{
    Answer, ClassicOptions, Committer, GroupError, GroupListing, GroupOverview, GroupState, JoinAnswer,
    JoinRefusal, JoinRequest, Joined, JoinedMember, LeaveResult, Leaving, MemberOverview, ParkedCall,
    ReadSubscriptions, SyncAnswer, SyncRequest, Synced,
};
pub use cursor::{CURSOR_METADATA_BYTES_MAX, Committed, NotedCommit, QueueCursor};
pub use delay::{DelayTable, LEVELS_MAX};
pub use error::Error;
pub use group::GroupConfig;
pub use limits::{Bound, TimestampType, TopicLimits};
pub use member::{
    Channel, ChannelId, Client, ConsumeFrom, ConsumeType, ConsumerChange, ConsumerRegistration, Delivery,
    GroupMembers, Member, Notice, Subscription,
};
pub use options::BrokerOptions;
pub use policy::{Policy, PropertyNames, TwinOf};
pub use produce::{BatchRequest, Message, SendRequest, Sent};
pub use retry::{Resend, SendBack, SentBack};
pub use statistics::{Meter, Rates, Statistics, Totals};
pub use topic::{DataVersion, Topic, TopicConfig};
pub use waiter::{IndexFilter, ManyTicket, Park, ParkMany, Ticket, Waiter, Wake};
