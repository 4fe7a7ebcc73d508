//! Messages between formats: what a RocketMQ client reads of a Kafka batch, and what a Kafka client reads of RocketMQ messages.
//!
//! ```text
//!   RocketMQ's stored message ──► rocketmq::read ──┐              ┌──► kafka (packed into a batch)
//!                                                  ├──► Message ──┤
//!   a record of a Kafka batch ──► kafka::read ─────┘              └──► rocketmq::write
//! ```
//!
//! Each format has one reader and one writer, and [`Message`] is the borrowed view between them: a third format needs two functions
//! and no translator for each pair. Nothing that is stored is ever rewritten. The contract is `docs/mapping.md`.
//!
//! [`Crossing`] is what the edges hold: it packs, unpacks, remembers what was dear, and counts.
//!
//! There is no I/O and no clock here; what is read was checked by the store, and still nothing in it is trusted.

mod cache;
mod crossing;
pub mod kafka;
pub mod keys;
mod message;
pub mod names;
pub mod rocketmq;
mod text;
pub mod unique;

pub use crossing::{
    Batch, CACHE_BYTES_MAX, CrossError, Crossing, HEAVY_BYTES, Packed, Packing, Seen, is_kafka, is_rocketmq,
};
pub use message::{Attribute, Message, Origin};
