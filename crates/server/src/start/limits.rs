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

/// Open files that are kept free for the log, whatever the number of connections: a log that can't open its next file ends.
const RESERVED_FILES: u64 = 1_024;

impl OpenFiles {
    /// The most connections of `wanted`, of each of so many protocols, that leave the log its files.
    pub fn connections(&self, wanted: u32, protocols: u64) -> u32 {
        let Some(limit) = self.is else { return wanted };
        let room = (limit - RESERVED_FILES.min(limit / 4)) / protocols;
        u32::try_from(room).map_or(wanted, |room| wanted.min(room))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_log_its_files() {
        for (limit, wanted, protocols, expected) in [
            (None, 60_000, 2, 60_000),
            (Some(1 << 40), 60_000, 2, 60_000),
            (Some(1_048_576), 60_000, 2, 60_000),
            (Some(20_000), 60_000, 1, 18_976),
            (Some(20_000), 60_000, 2, 9_488),
            (Some(1_024), 60_000, 1, 768),
            (Some(1_024), 10, 2, 10),
        ] {
            let files = OpenFiles { was: limit, is: limit };
            assert_eq!(files.connections(wanted, protocols), expected, "{limit:?}");
        }
    }
}
