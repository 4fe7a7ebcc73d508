//! What all reactors share: the broker, the options, the way to each other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use braid_broker::Broker;
use braid_crossing::Crossing;
use braid_io::Clock;
use braid_store::Store;
use braid_store::driver::Driver;

use crate::connection::Connection;
use crate::metrics::Metrics;
use crate::options::EdgeOptions;
use crate::reactor::ReactorHandle;

/// The one node of the cluster that clients see.
pub(crate) const NODE_ID: i32 = 0;

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: EdgeOptions,
    /// Where the listener really is.
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    pub(crate) store: Store,
    pub(crate) driver: Arc<Driver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reactors: Vec<Arc<ReactorHandle>>,
    pub(crate) metrics: Metrics,
    /// Between the formats of messages.
    pub(crate) crossing: Arc<Crossing>,
    /// Open connections.
    pub(crate) connections: AtomicUsize,
    /// No further requests are served.
    pub(crate) stopping: AtomicBool,
}

impl Shared {
    /// Host and port of the node as a client on `connection` is told: the configured ones, else where it reached us.
    pub(crate) fn advertised(&self, connection: &Connection) -> (String, u16) {
        let host = match &self.options.advertised_host {
            Some(host) => host.clone(),
            None => connection.local.ip().to_string(),
        };
        (host, self.options.advertised_port.unwrap_or(self.address.port()))
    }

    /// The epoch of the one leader: the log's.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.store.epoch() as i32
    }

    /// The store host of what arrives on `connection`: the advertised address if it is one, else where the producer reached us,
    /// with the port for RocketMQ clients that ask for it by its id.
    pub(crate) fn store_host(&self, connection: &Connection) -> SocketAddr {
        let configured = self.options.advertised_host.as_ref().and_then(|host| host.parse::<IpAddr>().ok());
        let port = self.options.store_port.unwrap_or(self.address.port());
        SocketAddr::new(configured.unwrap_or(connection.local.ip()), port)
    }
}
