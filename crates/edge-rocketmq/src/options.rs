//! What the edge is told when it is made, and the bounds that it keeps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Milliseconds after which an append that is not flushed is answered FLUSH_DISK_TIMEOUT: Apache's `syncFlushTimeout`.
pub const SYNC_FLUSH_TIMEOUT_MS: u64 = 5_000;
/// Milliseconds without a byte in either direction after which a connection is closed, as Apache's server does.
pub const IDLE_MS: u64 = 120_000;
/// Milliseconds that a peer may take none of the bytes that wait for it, or leave a frame unfinished.
pub const STALLED_MS: u64 = 60_000;
/// Bytes of answers that may wait for one connection; its requests are not read while there are more.
pub const OUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of answers that may wait for all connections of a reactor; above, no connection that has answers waiting is read.
pub const OUT_BYTES_ALL_MAX: usize = 128 << 20;
/// Bytes of unfinished frames that a reactor holds for all its connections; the one that asks for more is closed.
pub const PARTIAL_BYTES_ALL_MAX: usize = 128 << 20;
/// Connections at the same time, over all reactors; further ones are closed at once.
pub const CONNECTIONS_MAX: usize = 60_000;
/// Pulls that wait for messages, over all connections of a reactor; further ones are answered "nothing there" at once.
pub const PARKED_PULLS_MAX: usize = 100_000;
/// Pulls of one connection that wait for messages; further ones are answered "nothing there" at once.
pub const PARKED_PULLS_PER_CONNECTION_MAX: usize = 4_096;
/// Bytes that all waiting pulls of a reactor hold, their subscriptions included; further ones are answered "nothing there" at
/// once.
pub const PARKED_BYTES_ALL_MAX: usize = 32 << 20;
/// Bytes of a tag expression, or of a list of tags; longer ones are refused.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;
/// Tags of one subscription; more are refused.
pub const TAGS_MAX: usize = 256;
/// Subscriptions of one group in one heartbeat; more are refused.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Bytes of all subscriptions in one heartbeat; more are refused.
pub const SUBSCRIPTION_BYTES_ALL_MAX: usize = 1 << 20;
/// Bytes of a client's id, which every group that it is a member of keeps; longer ones are refused.
pub const CLIENT_ID_BYTES_MAX: usize = 1_024;
/// The longest wait of a pull, whatever the client asks for, in milliseconds.
pub const PARKED_MS_MAX: u64 = 60_000;
/// Questions that wait for the disk, per reactor; further ones are answered "busy".
pub const COLD_JOBS_MAX: usize = 1_024;
/// Milliseconds that a request waits while the log can take nothing (the next file is being made, or the disk is slower than
/// the writers), its connection unread; then it is answered SYSTEM_BUSY. Below the clients' own timeout of 3 s.
pub const HELD_MS_MAX: u64 = 2_000;
/// Bytes of requests that wait for the log, per reactor; a request that finds no room among them is answered SYSTEM_BUSY at once.
pub const HELD_BYTES_ALL_MAX: usize = 64 << 20;
/// Threads that wait for the disk, per reactor.
pub const COLD_THREADS_MAX: usize = 4;
/// Requests of ours to one client that wait for its answer.
pub const CALLS_MAX: usize = 64;
/// Messages between reactors that wait to be looked at; a push that finds no room is dropped, the clients ask again on their own.
pub const MAIL_MAX: usize = 65_536;
/// Clients that are known at the same time, over all groups.
pub const CLIENTS_MAX: usize = 100_000;

/// Addresses, names and switches of the RocketMQ edge.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// Where the name server listens; `None` serves no name server.
    pub nameserver: Option<SocketAddr>,
    /// Where the broker listens.
    pub main: SocketAddr,
    /// Whether the broker also listens on the main port less two. With port 0 a free pair is taken.
    pub fast: bool,
    /// The host that routes name, if it is not the one at which the client reached us.
    pub advertised_host: Option<String>,
    /// The port that routes name, if it is not the main listener's.
    pub advertised_port: Option<u16>,
    /// The cluster's name.
    pub cluster_name: String,
    /// The broker's (shard's) name.
    pub broker_name: String,
    /// 0: the master.
    pub broker_id: i64,
    /// The region that stored messages and answers to sends carry.
    pub region: String,
    /// Whether answers to sends tell clients that they may trace.
    pub trace_on: bool,
    /// Whether a send may create its topic.
    pub auto_create_topic: bool,
    /// Whether a heartbeat may create its group.
    pub auto_create_group: bool,
    /// Queues of a topic made on first use, at most.
    pub default_topic_queue_nums: u32,
    /// The longest body of a message (or of a batch), in bytes.
    pub message_bytes_max: usize,
    /// Whether routes name the queues of ordered topics (`orderMessageEnable`).
    pub order_message_enable: bool,
    /// Threads that serve connections; at least 1.
    pub reactors: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// See [`IDLE_MS`].
    pub idle_ms: u64,
    /// See [`STALLED_MS`].
    pub stalled_ms: u64,
    /// See [`SYNC_FLUSH_TIMEOUT_MS`].
    pub sync_flush_timeout_ms: u64,
    /// The data directory, as brokerStatus and getBrokerConfig show it.
    pub data_dir: PathBuf,
    /// `key=value` lines that getBrokerConfig shows beside our own.
    pub shown_config: Vec<(String, String)>,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            nameserver: Some(loopback(9876)),
            main: loopback(10911),
            fast: true,
            advertised_host: None,
            advertised_port: None,
            cluster_name: "DefaultCluster".into(),
            broker_name: "braidmq".into(),
            broker_id: 0,
            region: "DefaultRegion".into(),
            trace_on: true,
            auto_create_topic: true,
            auto_create_group: true,
            default_topic_queue_nums: 8,
            message_bytes_max: 4 << 20,
            order_message_enable: false,
            reactors: std::thread::available_parallelism().map_or(1, |n| n.get()),
            connections_max: CONNECTIONS_MAX,
            idle_ms: IDLE_MS,
            stalled_ms: STALLED_MS,
            sync_flush_timeout_ms: SYNC_FLUSH_TIMEOUT_MS,
            data_dir: PathBuf::from("data"),
            shown_config: Vec::new(),
        }
    }
}
