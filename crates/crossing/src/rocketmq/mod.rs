//! RocketMQ's stored message: one reader, one writer.

mod read;
pub mod system;
mod write;

pub use read::{BODY_BYTES_MAX, read};
pub(crate) use write::keys;
pub use write::{DROPPED, Envelope, TOMBSTONE, UNREADABLE, has_key, tag, write};
