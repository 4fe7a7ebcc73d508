//! Kafka's protocol as bytes in, values out.
//!
//! No socket is opened, no clock is read and nothing is spawned here: the broker, the bench tool and the tests drive these codecs with
//! bytes that they got elsewhere. Semantics (what a request does) live in the edge; this crate only knows shapes.

pub mod batch;
