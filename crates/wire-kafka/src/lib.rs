//! Kafka's protocol as bytes in, values out.
//!
//! No socket is opened, no clock is read and nothing is spawned here: the broker, the bench tool and the tests drive these codecs with
//! bytes that they got elsewhere. Semantics (what a request does) live in the edge; this crate only knows shapes.
//!
//! ```text
//!            ┌────────┬──────────────────────────────────────────────┬───────────┐
//!   a frame  │ L (4)  │ header: key, version, correlation id, client │   body    │     all integers big-endian
//!            └────────┴──────────────────────────────────────────────┴───────────┘
//!   frame ───► cuts it out of the stream      (L = header + body)
//!   header ──► the request's and the response's header, whose shapes depend on key and version
//!   messages ► the control plane, generated from schema/*.kschema
//!   produce, fetch ► the data path, by hand: requests that borrow, responses between slices of the log
//!   batch ───► the record batch, the unit of producing, storing and fetching
//!   keys, error_code ► the protocol's numbers
//! ```

pub mod batch;
pub mod consumer_protocol;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod input;
pub mod keys;
pub mod messages;
pub mod output;
mod place;
pub mod produce;
pub mod walk;

pub use header::RequestHeader;
pub use input::{DecodeError, Input};
