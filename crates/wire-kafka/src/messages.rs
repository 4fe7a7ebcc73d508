//! The control plane's messages: a module per API with its `Request` and `Response`, generated from `schema/*.kschema`.
//!
//! One struct serves every version. Reading borrows text and bytes from the body and gives fields that the version lacks their
//! default; writing leaves out what the version does not have. Fields that may be null are None by default.

use crate::input::{DecodeError, Input};

/// What all requests and responses can do, for code that is about any of them.
pub trait Message<'a>: Sized {
    /// Kafka's name, as in "MetadataRequest".
    const NAME: &'static str;
    /// The API key; None for data inside other messages.
    const KEY: Option<i16>;
    /// The lowest version.
    const MIN: i16;
    /// The highest version.
    const MAX: i16;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE: Option<i16>;

    /// Reads a body, and leaves what follows it in `input`.
    ///
    /// # Errors
    /// What [`DecodeError`] says.
    fn decode(version: i16, input: &mut Input<'a>) -> Result<Self, DecodeError>;

    /// Appends the body.
    ///
    /// # Panics
    /// With a version outside of `MIN..=MAX`.
    fn encode(&self, version: i16, out: &mut Vec<u8>);
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
