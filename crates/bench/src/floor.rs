//! The floor: a server that does only what no broker can avoid, and how to talk to it.
//!
//! ```text
//!  request  ┌────────────┬───────────────────────────────┐   answer  ┌──────────────┬─────────────────────┬──────┐
//!           │ length (4) │ payload; its first 8 bytes are │          │ number (8)   │ echo of 8 bytes     │ data │
//!           │            │ the tag and what it is for     │          │              │                     │      │
//!           └────────────┴───────────────────────────────┘           └──────────────┴─────────────────────┴──────┘
//! ```
//!
//! Integers are big-endian. The number is the payload's position in the log for an append, and the length of the data for a fetch.
//! No names, no topics, no index, no checksum.

mod client;
mod server;

use std::path::PathBuf;

pub use client::{Append, Fetch};
pub use server::serve;

/// What the floor does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers it.
    Nothing,
    /// Appends it; one pwrite a turn, into a log that was written before.
    Write,
    /// The same, and one fdatasync a turn before anything of the turn is answered: group commit in the serving thread.
    Sync,
    /// Answers with 64 messages of 1 KiB that lie [`STRIDE`] apart in the log, copied and written once.
    Fetch,
    /// Answers with as many bytes in 4 pieces of 16 KiB that lie [`STRIDE`] apart in the log.
    FetchBatches,
}

impl Mode {
    /// All modes.
    pub const ALL: [Mode; 5] = [Mode::Nothing, Mode::Write, Mode::Sync, Mode::Fetch, Mode::FetchBatches];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Nothing => "nothing",
            Mode::Write => "write",
            Mode::Sync => "sync",
            Mode::Fetch => "fetch",
            Mode::FetchBatches => "fetch-batches",
        }
    }

    /// Bytes of a piece of an answer to a fetch; 0 for the other modes.
    pub(crate) fn piece_bytes(self) -> usize {
        match self {
            Mode::Nothing | Mode::Write | Mode::Sync => 0,
            Mode::Fetch => RECORD_BYTES,
            Mode::FetchBatches => BATCH_RECORDS * RECORD_BYTES,
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// A floor server's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it does.
    pub mode: Mode,
    /// Where the log goes.
    pub dir: PathBuf,
    /// Written when it serves: JSON with its pid and its address, as the broker's.
    pub ready_file: PathBuf,
    /// Length of the log, written before it serves; positions beyond it begin again at its front.
    pub log_bytes: u64,
}

/// Bytes of a message of a fetch.
pub const RECORD_BYTES: usize = 1024;
/// Messages in an answer to a fetch.
pub const RECORDS: usize = 64;
/// Messages in a batch of a fetch.
pub const BATCH_RECORDS: usize = 16;
/// Distance of two pieces of one queue, in pieces: so many queues lie mixed in the log.
pub const STRIDE: usize = 64;
/// The longest payload.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES: usize = 16;
/// What a payload begins with.
const ECHO_BYTES: usize = 8;
