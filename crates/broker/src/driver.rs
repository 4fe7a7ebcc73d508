//! The broker's one thread: delivers what is due, wakes readers whose deadline has passed, writes cursors, expires
//! members. Tests of the logic never start it; they call [`Broker::turn`](crate::Broker::turn).

use std::sync::Arc;

use crate::broker::Broker;

/// The running thread; [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct Driver {
    _private: (),
}

impl Driver {
    /// Starts the thread. `appended` is called after each turn that appended something: it ends the turn for the store
    /// ([`Store::write_turn`](braid_store::Store::write_turn), then
    /// [`Driver::written`](braid_store::driver::Driver::written)).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(_broker: Arc<Broker>, _appended: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        unimplemented!()
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        unimplemented!()
    }
}
