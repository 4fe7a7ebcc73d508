//! RocketMQ's remoting protocol as bytes in, values out.
//!
//! No socket is opened, no clock is read and nothing is spawned here: the broker, the command line and the tests drive these codecs with
//! bytes that they got elsewhere. Semantics (what a request does) live in the edge; this crate only knows shapes.
//!
//! ```text
//!            ┌────────┬───────────────┬───────────┬───────────┐
//!   a frame  │ L (4)  │ type 1, len 3 │  header   │   body    │     all integers big-endian
//!            └────────┴───────────────┴───────────┴───────────┘
//!   frame ──► cuts it out of the stream      (L = 4 + header + body)
//!   command ► the header, JSON or binary ──► code, opaque, flag, remark, ext fields
//!   send, pull ► the two hot headers, read without allocation, and their answers
//!   header ─► ext fields as one struct per request code
//!   body ───► JSON bodies (fastjson's dialect) as structs; batch: the entries of a batch send
//! ```
//!
//! Three kinds of failure, three consequences: [`frame::FrameError`] and [`command::DecodeError`] mean that the connection can't be
//! trusted any more and is closed; [`header::FieldError`] and [`body::BodyError`] are answered with a code.

pub mod batch;
pub mod body;
pub mod codes;
pub mod command;
pub mod fastjson;
pub mod frame;
pub mod header;
pub mod pull;
mod scan;
pub mod send;

pub use command::{Command, ExtFields, FrameWriter, Language, RequestHead};
pub use frame::{Frame, Serialization};
