//! The name server role: where topics are.
//!
//! The tables of brokers that register from elsewhere live in [`routes`] and nowhere else: a restart forgets them, and they
//! come again with the brokers' next registration, as with Apache's name server. Our own broker is never registered: its
//! topics are read from the broker itself with each question, so a topic has its route the moment it exists.
//! What administrators put under keys ([`kv`]) is kept in a file.

pub(crate) mod handlers;
pub(crate) mod kv;
pub(crate) mod routes;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::ConnectionId;
use kv::KvStore;
use routes::Routes;

/// See the module.
pub(crate) struct NameServer {
    routes: Mutex<Routes>,
    pub(crate) kv: KvStore,
}

impl NameServer {
    pub(crate) fn new(kv: KvStore) -> Self {
        Self { routes: Mutex::default(), kv }
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brokers that registered over a connection are gone with it.
    pub(crate) fn connection_closed(&self, connection: ConnectionId) {
        for gone in self.routes().connection_closed(connection) {
            tracing::info!(broker = gone, "a broker's connection is closed, it is unregistered");
        }
    }

    /// Forgets brokers that were silent for too long.
    pub(crate) fn expire(&self, now_ms: u64) {
        for gone in self.routes().expire(now_ms) {
            tracing::warn!(broker = gone, "a broker was silent for too long, it is unregistered");
        }
    }
}
