//! A flag that a thread can wait for. Raised twice before the wait, it wakes once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::health::lock;

#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn raise(&self) {
        let mut raised = lock(&self.raised);
        if !*raised {
            *raised = true;
            self.changed.notify_all();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_raised(&self) -> bool {
        *lock(&self.raised)
    }

    /// Waits until raised, or for `limit`, and lowers the flag.
    pub(crate) fn wait(&self, limit: Option<Duration>) {
        let mut raised = lock(&self.raised);
        match limit {
            None => {
                while !*raised {
                    raised = self.changed.wait(raised).unwrap_or_else(PoisonError::into_inner);
                }
            }
            Some(limit) if !*raised => {
                raised = self.changed.wait_timeout(raised, limit).unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(_) => {}
        }
        *raised = false;
    }
}
