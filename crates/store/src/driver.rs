//! The threads of a running store: one flushes, one keeps house. Tests of the logic never start them.

use crate::store::Store;

/// The running threads; [`stop`](Self::stop) ends them.
#[derive(Debug)]
pub struct Driver {
    _private: (),
}

impl Driver {
    /// Starts the flush thread and the housekeeping thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(_store: Store) -> std::io::Result<Self> {
        unimplemented!()
    }

    /// Tells the flush thread that something was written: called by whoever did a `write_turn`.
    pub fn written(&self) {
        unimplemented!()
    }

    /// Ends both threads and waits for them. The store stays open.
    pub fn stop(self) {
        unimplemented!()
    }
}
