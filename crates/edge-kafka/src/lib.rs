//! Kafka's protocol on the broker, over tokio.
//!
//! ```text
//!  listener ──► reactors (one per core) ──► connections ──► dispatch ──► handlers ──► broker, store
//!                    ▲                                                                  │
//!                    └────────────── progress: watermarks, dispatched records ──────────┘
//! ```
//!
//! Clients see a cluster of one node, which leads every partition and coordinates every group. A connection lives on one reactor; its
//! requests are handled strictly in order, and only Produce is pipelined (see `connection`). Record batches are stored and
//! handed out as they are. What this crate does not do: decide what a request means below the protocol (that is
//! `braid-broker`), keep records (`braid-store`), know bytes on the wire (`braid-wire-kafka`), or turn other protocols'
//! messages into batches (`braid-crossing`).
//!
//! * [`Edge`], [`RunningEdge`]: bind, serve, shut down.
//! * [`EdgeOptions`]: addresses, names, switches; all bounds are constants of [`options`].
//! * [`derive()`]: what the store must be told of Kafka's batches before it is opened.

mod admin;
mod connection;
mod dispatch;
mod edge;
mod error;
mod fetch;
mod groups;
mod metadata;
mod metrics;
mod names;
mod offsets;
pub mod options;
mod outbox;
mod policy;
mod produce;
mod producers;
mod reactor;
mod reply;
mod shared;
mod topics;

pub use braid_wire_kafka::batch::PAYLOAD_KIND;
pub use edge::{BindError, Edge, RunningEdge};
pub use metrics::Counts;
pub use names::cluster_id;
pub use options::EdgeOptions;
pub use policy::derive;
