//! Every connection is an open file, so the server takes as many as it may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files may be open, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// Before; `None` is without limit.
    pub was: Option<u64>,
    /// Now.
    pub is: Option<u64>,
}

/// Raises the soft limit to the hard one.
pub fn raise_open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    let was = limit.current;
    if was == limit.maximum {
        return OpenFiles { was, is: was };
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => OpenFiles { was, is: limit.maximum },
        Err(error) => {
            tracing::warn!("the limit of open files stays as it is: {error}");
            OpenFiles { was, is: was }
        }
    }
}
