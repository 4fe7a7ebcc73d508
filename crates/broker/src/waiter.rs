//! Parked readers: woken by dispatch, never by a sweep.
//!
//! A reader that found nothing registers first and looks at the tail again afterwards, so that a record which was
//! dispatched in between is not missed; and whoever takes a waiter out of its list is the only one to wake it.

use std::sync::Arc;

use braid_store::QueueKey;

use crate::broker::Broker;
use crate::error::Error;

/// Why a parked reader is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A record that it may want is visible: read again.
    Arrived,
    /// Its deadline has passed: answer that there is nothing.
    Expired,
    /// The broker stops: answer now.
    Stopping,
}

/// Someone who is parked. Woken exactly once, or never when it was taken back or `park` did not keep it.
pub trait Waiter: Send + Sync {
    /// Called on the thread that dispatches (or expires): must not block and must not call the broker or the store.
    fn wake(self: Arc<Self>, wake: Wake);
}

/// Picks records by their index word.
pub type IndexFilter = Arc<dyn Fn(i64) -> bool + Send + Sync>;

/// Names a parked waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(crate) queue: QueueKey,
    pub(crate) id: u64,
}

/// What became of an attempt to park.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Park {
    /// The waiter is kept and will be woken (it may have been already).
    Parked(Ticket),
    /// Something is there by now; the waiter was not kept and is not woken: read again.
    Arrived,
}

impl Broker {
    /// Parks a reader of `queue` who wants `offset` or later until a record comes that `filter` lets pass (all, when
    /// there is none), or until `deadline_ms` of the clock's monotonic time.
    ///
    /// # Errors
    /// `Limit` when too many are parked; answer that there is nothing. `Closed` when the broker stops.
    pub fn park(
        &self,
        _queue: QueueKey,
        _offset: u64,
        _filter: Option<IndexFilter>,
        _deadline_ms: u64,
        _waiter: Arc<dyn Waiter>,
    ) -> Result<Park, Error> {
        unimplemented!()
    }

    /// Takes a waiter back, for a connection that is closed. False when it is not parked any more.
    pub fn unpark(&self, _ticket: Ticket) -> bool {
        unimplemented!()
    }

    /// Wakes those whose deadline has passed; gives the next deadline. Called by [`Broker::turn`].
    pub fn expire_waiters(&self) -> Option<u64> {
        unimplemented!()
    }

    /// How many are parked.
    pub fn waiters(&self) -> usize {
        unimplemented!()
    }
}
