//! What the edge is told when it is made, and the bounds that it keeps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Bytes of one request; a longer one closes its connection. Kafka's `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 << 20;
/// Bytes of unfinished requests that a reactor holds for all its connections; the one that asks for more is closed.
pub const PARTIAL_BYTES_ALL_MAX: usize = 256 << 20;
/// Bytes that are read ahead of a request which must be finished first.
pub const AHEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of answers that may wait for one connection; its requests are not read while there are more.
pub const OUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of answers that may wait for all connections of a reactor; above, no connection that has answers waiting is read.
pub const OUT_BYTES_ALL_MAX: usize = 128 << 20;
/// Produce requests of one connection whose answers wait for the log; further ones wait in the socket.
pub const LINE_MAX: usize = 1_024;
/// Connections at the same time, over all reactors; further ones are closed at once.
pub const CONNECTIONS_MAX: usize = 60_000;
/// Questions that wait for the disk, per reactor; further ones are refused.
pub const COLD_JOBS_MAX: usize = 1_024;
/// Threads that wait for the disk, per reactor.
pub const COLD_THREADS_MAX: usize = 4;
/// Messages between reactors that wait to be looked at.
pub const MAIL_MAX: usize = 4_096;
/// Milliseconds that a request waits while the log can take nothing, its connection unread; then it is refused with an error
/// after which clients try again. Far below the clients' own timeout of 30 s.
pub const HELD_MS_MAX: u64 = 5_000;
/// Bytes of requests that wait for the log, per reactor; a request that finds no room among them is refused at once.
pub const HELD_BYTES_ALL_MAX: usize = 64 << 20;
/// Milliseconds without a byte in either direction after which a connection is closed: Kafka's `connections.max.idle.ms`.
pub const IDLE_MS: u64 = 600_000;
/// Milliseconds that a peer may take none of the bytes that wait for it, or leave a request unfinished.
pub const STALLED_MS: u64 = 60_000;
/// Milliseconds after which an append that is not flushed is answered REQUEST_TIMED_OUT.
pub const FLUSH_TIMEOUT_MS: u64 = 5_000;
/// Bytes of one fetch's answer, whatever the client asks for (a longer first batch is given all the same): Kafka's
/// `fetch.max.bytes`.
pub const FETCH_BYTES_MAX: usize = 55 << 20;
/// Bytes that fetches hold in a reactor (reads under way, and what was read for answers not given yet) and bytes of all answers that
/// wait for their connections, together. A fetch that finds no room waits for it; one that does is given its first batch whole, so
/// there may be one batch more.
pub const FETCH_BYTES_ALL_MAX: usize = OUT_BYTES_ALL_MAX;
/// The longest wait of a fetch, whatever the client asks for, in milliseconds.
pub const FETCH_WAIT_MS_MAX: u64 = 300_000;
/// Partitions (or topics) of one request of the data plane; one with more closes its connection.
pub const PARTITIONS_MAX: usize = 100_000;
/// Bytes of fetches that wait for records, per reactor; further ones are answered at once.
pub const PARKED_BYTES_ALL_MAX: usize = 64 << 20;
/// Reads of one fetch that may wait for the disk; the partitions behind them are answered without records.
pub const COLD_READS_MAX: usize = 64;

/// Addresses, names and switches of the Kafka edge.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The host that clients are told, if it is not the one at which they reached us.
    pub advertised_host: Option<String>,
    /// The port that clients are told, if it is not the listener's.
    pub advertised_port: Option<u16>,
    /// The port that stored batches are marked with, if it is not the listener's: the id of a RocketMQ message leads to where it
    /// is marked, and there RocketMQ has to be spoken.
    pub store_port: Option<u16>,
    /// The cluster's id, as text: stable for the life of the data.
    pub cluster_id: String,
    /// Whether Metadata may make a topic.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose maker names no number.
    pub default_partitions: u32,
    /// Whether topics may be made with a replication factor above 1, which is what there is.
    pub accept_any_replication_factor: bool,
    /// Milliseconds for which the first rebalance of a group waits for more members; to be told, the broker has it too.
    pub initial_rebalance_delay_ms: u64,
    /// Minutes for which the cursors of a group without members are kept; to be told, the broker has it too.
    pub offsets_retention_minutes: u32,
    /// The longest record batch, in bytes, of a topic without a limit of its own.
    pub message_bytes_max: u32,
    /// The longest record batch that a topic's own limit may allow, in bytes: what the log can take.
    pub batch_bytes_max: u32,
    /// Milliseconds for which a topic without a limit of its own keeps records, as clients are told.
    pub retention_ms: i64,
    /// Where the log lies, as clients are told.
    pub log_dir: String,
    /// Threads that serve connections; at least 1.
    pub reactors: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// See [`IDLE_MS`].
    pub idle_ms: u64,
    /// See [`STALLED_MS`].
    pub stalled_ms: u64,
    /// See [`FLUSH_TIMEOUT_MS`].
    pub flush_timeout_ms: u64,
    /// See [`FETCH_BYTES_ALL_MAX`].
    pub fetch_bytes_all_max: usize,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9092),
            advertised_host: None,
            advertised_port: None,
            store_port: None,
            cluster_id: "braidmq".into(),
            auto_create_topics: true,
            default_partitions: 1,
            accept_any_replication_factor: true,
            initial_rebalance_delay_ms: 3_000,
            offsets_retention_minutes: 10_080,
            message_bytes_max: 1_048_588,
            batch_bytes_max: 15 << 20,
            retention_ms: 72 * 3_600_000,
            log_dir: "data".into(),
            reactors: std::thread::available_parallelism().map_or(1, |n| n.get()),
            connections_max: CONNECTIONS_MAX,
            idle_ms: IDLE_MS,
            stalled_ms: STALLED_MS,
            flush_timeout_ms: FLUSH_TIMEOUT_MS,
            fetch_bytes_all_max: FETCH_BYTES_ALL_MAX,
        }
    }
}
