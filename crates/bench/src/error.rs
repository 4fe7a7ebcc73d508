//! Why a run gives no figures.

use std::io;

/// A run that failed. There is no figure for a row in which one of these happened.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A server ended, or does not serve in time.
    #[error("{server} does not serve: {reason}")]
    Start {
        /// Which one.
        server: &'static str,
        /// What is known.
        reason: String,
    },
    /// An answer that is none.
    #[error("an answer can't be read: {0}")]
    Answer(String),
    /// The server refused a request.
    #[error("the server refused a request with code {code}: {remark}")]
    Refused {
        /// The protocol's code.
        code: i32,
        /// The server's words.
        remark: String,
    },
    /// A message was acknowledged, and is not there.
    #[error("acknowledged, but not there: {0}")]
    Lost(String),
    /// Requests were not answered.
    #[error("{requests} requests were not answered within {seconds} s")]
    Silent {
        /// How many.
        requests: usize,
        /// How long they were waited for.
        seconds: u64,
    },
    /// No such row.
    #[error("there is no row {name}; there are {known}")]
    NoRow {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
}

/// What fallible functions of this crate give.
pub type Result<T> = std::result::Result<T, BenchError>;

/// Says what was being done when the system refused.
pub(crate) trait Doing<T> {
    /// The error, with `what`.
    fn doing(self, what: &str) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|source| BenchError::Io { what: what.to_owned(), source: source.into() })
    }
}
