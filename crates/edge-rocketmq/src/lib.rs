//! RocketMQ's remoting protocol on the broker: the name server role and the broker role, over tokio.
//!
//! ```text
//!  listeners ──► reactors (one per core) ──► connections ──► dispatch ──► handlers ──► broker, store
//!                    ▲                                                                   │
//!                    └────────────── progress: watermarks, dispatched messages ──────────┘
//! ```
//!
//! A connection lives on one reactor, and its requests run there to completion; what must wait (for the disk, for messages,
//! for another client) leaves the reactor free meanwhile. Every answer to a stored message waits in a promise that only the
//! log's watermark redeems. What this crate does not do: decide what a request means below the protocol (that is
//! `braid-broker`), keep messages (that is `braid-store`), or know bytes on the wire (that is `braid-wire-rocketmq`).
//!
//! * [`Edge`], [`RunningEdge`]: bind, serve, shut down.
//! * [`EdgeOptions`]: addresses, names, switches; all bounds are constants of [`options`].
//! * [`policy()`], [`derive()`]: what broker and store must be told of RocketMQ before they are opened.

mod admin;
mod back;
mod clients;
mod connection;
mod dispatch;
mod edge;
mod error;
mod inside;
mod listen;
mod locks;
mod metrics;
mod names;
mod namesrv;
mod offsets;
pub mod options;
mod outbox;
mod policy;
mod pull;
mod query;
mod reactor;
mod reply;
mod send;
mod shared;
mod unique;

#[cfg(test)]
extern crate self as braid_edge_rocketmq;
/// The integration tests' broker and client, for tests that need something that only this crate can do.
#[cfg(test)]
#[path = "../tests/edge/support.rs"]
#[allow(dead_code, reason = "the integration tests use all of it")]
mod support;

pub use edge::{Edge, RunningEdge};
pub use listen::{Addresses, BindError, Role};
pub use options::EdgeOptions;
pub use policy::{derive, policy};
