//! The handle that edges hold.

use std::sync::Arc;

use braid_io::Clock;
use braid_store::{Level, Store};

use crate::error::Error;
use crate::options::BrokerOptions;
use crate::policy::Policy;

/// The broker of one shard. Edges share it in an `Arc`.
pub struct Broker {
    store: Store,
}

/// What a [`Broker::turn`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// True when something was appended: the store's turn must follow.
    pub appended: bool,
    /// Milliseconds after which the next turn wants to be made, unless [`Broker::wait_for_news`] returns earlier.
    pub next_in_ms: u64,
}

impl Broker {
    /// Opens the broker on a store: loads topics, groups, cursors and the progress of delayed messages, sets back
    /// cursors that lie above their queue's next offset (and logs them), makes the topics and groups that the policy
    /// names, and listens to dispatch.
    ///
    /// # Errors
    /// `State` when stored state cannot be understood, or why system topics could not be made. A store that is
    /// read-only opens without making them.
    pub fn open(
        _store: Store,
        _clock: Arc<dyn Clock>,
        _options: BrokerOptions,
        _policy: Policy,
    ) -> Result<Arc<Self>, Error> {
        unimplemented!()
    }

    /// The store, for reading and for ending a turn.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock that all times come from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        unimplemented!()
    }

    /// The policy that the edge handed down.
    pub fn policy(&self) -> &Policy {
        unimplemented!()
    }

    /// The options in force.
    pub fn options(&self) -> &BrokerOptions {
        unimplemented!()
    }

    /// The level at which state changes and sends that wait are acknowledged: `Flushed` in sync mode, else `Written`.
    pub fn level(&self) -> Level {
        unimplemented!()
    }

    /// One round of everything that happens without a request: deliver what is due, wake readers whose deadline has
    /// passed, write changed cursors, expire members and locks, take samples. For [`driver`](crate::driver) and tests.
    pub fn turn(&self) -> Turn {
        unimplemented!()
    }

    /// Waits until a turn is wanted earlier than the last one said, or until `ms` have passed.
    pub fn wait_for_news(&self, _ms: u64) {
        unimplemented!()
    }

    /// Begins to stop: parked readers are woken with [`Wake::Stopping`](crate::Wake) and nobody parks any more.
    pub fn stop_parking(&self) {
        unimplemented!()
    }
}
