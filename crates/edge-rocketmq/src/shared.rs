//! What all reactors share: the broker, the name server's tables, the way to each other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use braid_broker::{Broker, ChannelId, Topic};
use braid_crossing::Crossing;
use braid_io::{Clock, Disk};
use braid_store::Store;
use braid_store::driver::Driver;

use crate::connection::{Connection, ConnectionId};
use crate::listen::Addresses;
use crate::metrics::Metrics;
use crate::names;
use crate::namesrv::NameServer;
use crate::options::EdgeOptions;
use crate::reactor::ReactorHandle;

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: EdgeOptions,
    pub(crate) addresses: Addresses,
    pub(crate) broker: Arc<Broker>,
    pub(crate) store: Store,
    pub(crate) driver: Arc<Driver>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reactors: Vec<Arc<ReactorHandle>>,
    pub(crate) nameserver: NameServer,
    pub(crate) metrics: Metrics,
    /// Between the formats of messages.
    pub(crate) crossing: Arc<Crossing>,
    /// Open connections.
    pub(crate) connections: AtomicUsize,
    /// No further requests are served.
    pub(crate) stopping: AtomicBool,
    /// Wall milliseconds of the start.
    pub(crate) started_ms: i64,
}

impl Shared {
    /// The topic that a client means by this name: its own, or the alias of one that RocketMQ can't spell.
    pub(crate) fn topic(&self, shown: &str) -> Option<Arc<Topic>> {
        self.broker.topic(shown).or_else(|| self.broker.topic(&names::of_alias(shown)?))
    }

    /// The host and port of the broker as a client on `connection` is told: the configured ones, else where it reached us.
    pub(crate) fn advertised(&self, connection: &Connection) -> String {
        let port = self.options.advertised_port.unwrap_or(self.addresses.main.port());
        match &self.options.advertised_host {
            Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
            Some(host) => format!("{host}:{port}"),
            None => SocketAddr::new(connection.local.ip(), port).to_string(),
        }
    }

    /// STOREHOST of what arrives on `connection`: the advertised address if it is one, else where the producer reached us,
    /// with the main port.
    pub(crate) fn store_host(&self, connection: &Connection) -> SocketAddr {
        let configured = self.options.advertised_host.as_ref().and_then(|host| host.parse::<IpAddr>().ok());
        let port = self.options.advertised_port.unwrap_or(self.addresses.main.port());
        SocketAddr::new(configured.unwrap_or(connection.local.ip()), port)
    }

    /// A connection is closed: its clients are gone, and the brokers that it registered too.
    pub(crate) fn connection_closed(&self, connection: ConnectionId) {
        self.broker.channel_closed(connection.into());
        self.nameserver.connection_closed(connection);
    }

    /// Once a second, on one reactor.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.nameserver.expire(now_ms);
    }
}

/// Bits of a channel's number that are the connection's; the rest is the reactor's.
const NUMBER_BITS: u32 = 48;

impl From<ConnectionId> for ChannelId {
    fn from(id: ConnectionId) -> Self {
        ChannelId(u64::from(id.reactor) << NUMBER_BITS | id.number)
    }
}
