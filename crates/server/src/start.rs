//! `braidmq start`: opens store, broker and edge in this order, serves, and ends them in the opposite one.
//!
//! ```text
//!  configuration ─► store (recovery) ─► broker ─► listeners ─► threads ─► ready file, banner
//!                                                                   │ SIGTERM, SIGINT
//!  store closed  ◄─ cursors written ◄─ broker ends ◄─ clients told, answers sent ◄─┘
//! ```

mod banner;
mod limits;
mod ready;
mod signals;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use braid_broker::{Broker, BrokerOptions, ClassicOptions};
use braid_edge_rocketmq::{Edge, EdgeOptions, RunningEdge};
use braid_io::{Clock, Disk, OsDisk, SystemClock};
use braid_store::driver::Driver;
use braid_store::{Deriver, OpenError, RecoveryReport, RetentionOptions, Store, StoreOptions};

use crate::cli::StartArgs;
use crate::commands::config::load;
use crate::config::Config;
use crate::error::{CliError, CliResult, Code};
use crate::output::Out;
use banner::Banner;
use limits::OpenFiles;
use ready::Listeners;
use signals::Signals;

/// How long clients have to take their last answers. What follows is short, so that the whole end stays within 5 s.
const EDGE_SHUTDOWN: Duration = Duration::from_millis(3_500);
/// The whole end; a process that is not done by then ends at once.
const SHUTDOWN_MAX: Duration = Duration::from_millis(4_900);

/// Starts a broker and serves until a signal says to end.
pub fn run(args: &StartArgs, out: &mut Out) -> CliResult {
    let started = Instant::now();
    let signals = Signals::watch().map_err(|error| failed("signals can't be watched", &error))?;
    let loaded = load(&args.config.sources())?;
    log_to_stderr(&loaded.config);
    choose_mutant()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(path) = &args.ready_file {
        ready::remove_stale(path)
            .map_err(|error| failed(format!("the ready file {}", path.display()), &error))?;
    }
    let files = limits::raise_open_files();
    let running = Running::start(&loaded.config, files)?;
    let banner = Banner::new(&loaded, &running, files, started.elapsed());
    if let Some(path) = &args.ready_file
        && let Err(error) =
            ready::write(path, &Listeners::of(&running.edge.addresses(), running.kafka_address()))
    {
        running.stop()?;
        return Err(failed(format!("the ready file {}", path.display()), &error));
    }
    // A broker serves on whether or not somebody reads its banner.
    if let Err(error) = banner.print(out) {
        tracing::warn!("the banner was not printed: {}", error.message);
    }
    let signal = signals.wait(SHUTDOWN_MAX);
    tracing::info!(signal, "ending; a second signal ends at once");
    running.stop()
}

fn failed(what: impl std::fmt::Display, error: &dyn std::error::Error) -> CliError {
    CliError::new(Code::Failure, format!("{what}: {error}"))
}

fn log_to_stderr(config: &Config) {
    tracing_subscriber::fmt()
        .with_max_level(config.log.level.0)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// The environment variable that names a planted defect.
const MUTANT: &str = "BRAIDMQ_MUTANT";

#[cfg(feature = "mutants")]
fn choose_mutant() -> CliResult {
    let Some(name) = std::env::var_os(MUTANT) else { return Ok(()) };
    let name = name.to_string_lossy();
    if !braid_store::mutant::choose(&name) {
        return Err(CliError::new(Code::Usage, format!("{MUTANT}={name}: there is no such mutant")));
    }
    tracing::warn!(%name, "this broker has a planted defect and loses messages");
    Ok(())
}

/// A test that asks for a defect must not go on without it.
#[cfg(not(feature = "mutants"))]
fn choose_mutant() -> CliResult {
    match std::env::var_os(MUTANT) {
        None => Ok(()),
        Some(_) => Err(CliError::new(Code::Usage, format!("{MUTANT} is set, and this build has no mutants"))
            .hint("build with --features mutants, or unset it")),
    }
}

/// A broker that serves.
struct Running {
    store: Store,
    report: RecoveryReport,
    store_driver: Arc<Driver>,
    broker: Arc<Broker>,
    broker_driver: braid_broker::driver::Driver,
    edge: RunningEdge,
    kafka: Option<braid_edge_kafka::RunningEdge>,
}

impl Running {
    fn start(config: &Config, files: OpenFiles) -> CliResult<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let dir = &config.store.dir.0;
        let (store, report) = Store::open(store_options(config), Arc::clone(&disk), Arc::clone(&clock))
            .map_err(|error| open_error(error, dir))?;
        let mut options = edge_options(config);
        let protocols = 1 + u64::from(config.listen.kafka.0.is_some());
        options.connections_max = files.connections(config.listen.connections_max, protocols) as usize;
        let kafka_options = kafka_options(config, options.connections_max, &store);
        let opened = Self::serve(config, options, kafka_options, &store, report, disk, clock);
        if opened.is_err() {
            // The reason why it did not start is the one to tell; the next start recovers in any case.
            if let Err(error) = store.close() {
                tracing::error!("the store did not close: {error}");
            }
        }
        opened
    }

    fn serve(
        config: &Config,
        edge_options: EdgeOptions,
        kafka_options: Option<braid_edge_kafka::EdgeOptions>,
        store: &Store,
        report: RecoveryReport,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> CliResult<Self> {
        let options = broker_options(config);
        let policy = braid_edge_rocketmq::policy(&edge_options, options.delay.levels());
        let broker = Broker::open(store.clone(), clock, options, policy)
            .map_err(|error| failed("the broker's state can't be read", &error))?;
        let no_thread = |error: io::Error| failed("the system gives no thread", &error);
        let store_driver = Arc::new(Driver::start_before_serving(store.clone()).map_err(no_thread)?);
        // Topics and groups of the system were appended while nobody wrote.
        store.write_turn();
        store_driver.written();
        let edge = Edge::bind(edge_options, Arc::clone(&broker), Arc::clone(&store_driver), disk)
            .map_err(bind_error)?;
        let kafka = match kafka_options {
            None => None,
            Some(options) => Some(
                braid_edge_kafka::Edge::bind(
                    braid_edge_kafka::EdgeOptions {
                        store_port: Some(edge.addresses().main.port()),
                        ..options
                    },
                    Arc::clone(&broker),
                    Arc::clone(&store_driver),
                    Arc::clone(edge.crossing()),
                )
                .map_err(kafka_bind_error)?,
            ),
        };
        let (its_store, its_driver) = (store.clone(), Arc::clone(&store_driver));
        let end_turn = move || {
            its_store.write_turn();
            its_driver.written();
        };
        let broker_driver =
            braid_broker::driver::Driver::start(Arc::clone(&broker), end_turn).map_err(no_thread)?;
        let edge = edge.serve().map_err(no_thread)?;
        let kafka = kafka.map(braid_edge_kafka::Edge::serve).transpose().map_err(no_thread)?;
        store_driver.serving();
        Ok(Running { store: store.clone(), report, store_driver, broker, broker_driver, edge, kafka })
    }

    /// Where Kafka clients connect, if they may.
    fn kafka_address(&self) -> Option<SocketAddr> {
        self.kafka.as_ref().map(braid_edge_kafka::RunningEdge::address)
    }

    /// Ends everything in order: clients first, the log last.
    fn stop(self) -> CliResult {
        // Both at once, so that the clients of either have all the time that there is.
        let kafka = self.kafka.map(|kafka| std::thread::spawn(move || kafka.shutdown(EDGE_SHUTDOWN)));
        self.edge.shutdown(EDGE_SHUTDOWN);
        if kafka.is_some_and(|kafka| kafka.join().is_err()) {
            tracing::error!("the Kafka listener ended with a panic");
        }
        self.broker_driver.stop();
        if let Err(error) = self.broker.flush_cursors() {
            tracing::error!("the last cursors were not written: {error}");
        }
        self.store.write_turn();
        self.store_driver.written();
        drop(self.broker);
        match Arc::into_inner(self.store_driver) {
            Some(driver) => driver.stop(),
            None => tracing::warn!("a connection did not end in time"),
        }
        self.store.close().map_err(|error| {
            failed("the store did not close cleanly", &error)
                .hint("nothing acknowledged is lost; the next start recovers")
        })
    }
}

/// How indexes are derived from the records of each payload kind, for whoever opens a store.
pub fn derivers() -> Vec<(Option<&'static str>, Deriver)> {
    vec![
        (None, braid_edge_rocketmq::derive),
        (Some(braid_edge_kafka::PAYLOAD_KIND), braid_edge_kafka::derive),
    ]
}

fn store_options(config: &Config) -> StoreOptions {
    let (store, retention) = (&config.store, &config.retention);
    // The keys' ranges end at 100.
    let percent = |percent: u32| percent as u8;
    let mut options = StoreOptions::new(&store.dir.0);
    options.file_bytes = store.file_bytes.0;
    options.flush = store.flush;
    options.unflushed_bytes_max = store.unflushed_bytes_max.0;
    options.tail_bytes_max = store.tail_bytes_max.0;
    options.prewrite_bytes = store.prewrite_bytes.0;
    options.retention = RetentionOptions {
        keep_ms: i64::from(retention.hours) * 3_600_000,
        free_bytes_min: config.disk.free_min.0,
        used_percent: [
            percent(retention.disk_clean_percent),
            percent(retention.disk_force_percent),
            percent(retention.disk_refuse_percent),
        ],
        pressure_takes_all: retention.pressure_takes_all,
    };
    options.derivers = derivers();
    options
}

fn broker_options(config: &Config) -> BrokerOptions {
    BrokerOptions {
        delay: config.rocketmq.message_delay_level.table.clone(),
        auto_create_topics: config.rocketmq.auto_create_topic,
        auto_create_groups: config.rocketmq.auto_create_group,
        classic: ClassicOptions {
            initial_delay_ms: config.kafka.initial_rebalance_delay_ms.into(),
            cursor_life_ms: i64::from(config.kafka.offsets_retention_minutes) * 60_000,
            ..ClassicOptions::default()
        },
        ..BrokerOptions::default()
    }
}

fn edge_options(config: &Config) -> EdgeOptions {
    let (listen, rocketmq, defaults) = (&config.listen, &config.rocketmq, EdgeOptions::default());
    EdgeOptions {
        nameserver: Some(listen.nameserver),
        main: listen.rocketmq,
        fast: listen.rocketmq_fast.0,
        advertised_host: listen.advertised.0.clone(),
        cluster_name: rocketmq.cluster_name.0.clone(),
        broker_name: rocketmq.broker_name.0.clone(),
        region: rocketmq.region.0.clone(),
        auto_create_topic: rocketmq.auto_create_topic,
        auto_create_group: rocketmq.auto_create_group,
        default_topic_queue_nums: rocketmq.default_topic_queues,
        message_bytes_max: rocketmq.max_message_bytes.0 as usize,
        order_message_enable: rocketmq.order_message,
        reactors: if listen.threads == 0 { defaults.reactors } else { listen.threads as usize },
        sync_flush_timeout_ms: config.store.flush_timeout_ms.into(),
        data_dir: config.store.dir.0.clone(),
        shown_config: config.texts().map(|(key, value)| (key.name.to_owned(), value)).collect(),
        ..defaults
    }
}

/// Bytes of a log file that a record batch leaves for the rest of its record.
const RECORD_BYTES: u64 = 64 << 10;

fn kafka_options(
    config: &Config,
    connections_max: usize,
    store: &Store,
) -> Option<braid_edge_kafka::EdgeOptions> {
    let (listen, kafka) = (&config.listen, &config.kafka);
    let defaults = braid_edge_kafka::EdgeOptions::default();
    let batch_bytes_max = config.store.file_bytes.0 - RECORD_BYTES;
    let message_bytes_max = kafka.max_message_bytes.0.min(batch_bytes_max);
    Some(braid_edge_kafka::EdgeOptions {
        listen: listen.kafka.0?,
        advertised_host: listen.advertised.0.clone(),
        cluster_id: braid_edge_kafka::cluster_id(store.directory().unwrap_or_default()),
        auto_create_topics: kafka.auto_create_topics,
        default_partitions: kafka.default_partitions,
        accept_any_replication_factor: kafka.accept_any_replication_factor,
        initial_rebalance_delay_ms: kafka.initial_rebalance_delay_ms.into(),
        offsets_retention_minutes: kafka.offsets_retention_minutes,
        // The keys' ranges end far below.
        message_bytes_max: message_bytes_max as u32,
        batch_bytes_max: u32::try_from(batch_bytes_max).unwrap_or(u32::MAX).min(defaults.batch_bytes_max),
        retention_ms: i64::from(config.retention.hours) * 3_600_000,
        log_dir: config.store.dir.0.display().to_string(),
        reactors: if listen.threads == 0 { defaults.reactors } else { listen.threads as usize },
        connections_max,
        flush_timeout_ms: config.store.flush_timeout_ms.into(),
        ..defaults
    })
}

fn open_error(error: OpenError, dir: &Path) -> CliError {
    let what = format!("the data directory {} can't be opened: {error}", dir.display());
    match error {
        OpenError::Locked(_) => CliError::new(Code::Conflict, format!("{error}"))
            .hint("stop that process, or name another directory with --data"),
        OpenError::Options(_) => CliError::new(Code::Usage, what),
        OpenError::Format(_) => CliError::new(Code::Failure, what)
            .hint("name a directory of BraidMQ, or an empty one, with --data"),
        OpenError::Io { .. } => CliError::new(Code::Failure, what),
    }
}

fn bind_error(error: braid_edge_rocketmq::BindError) -> CliError {
    use braid_edge_rocketmq::BindError;
    let hint = match &error {
        BindError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "is another broker running? --set listen.nameserver=127.0.0.1:0 and --set listen.rocketmq=127.0.0.1:0 take free ports"
        }
        BindError::Listen { .. } => {
            "does the address belong to this machine? see listen in the configuration"
        }
        BindError::NoFastPort(_) | BindError::NoFreePair(_) => {
            "--set listen.rocketmq_fast=off does without the fast listener"
        }
        BindError::State(_) => "the file lies in braid/ of the data directory",
    };
    let taken =
        matches!(&error, BindError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse);
    CliError::new(if taken { Code::Conflict } else { Code::Failure }, error.to_string()).hint(hint)
}

fn kafka_bind_error(error: braid_edge_kafka::BindError) -> CliError {
    let taken = error.source.kind() == io::ErrorKind::AddrInUse;
    let (code, hint) = match taken {
        true => (
            Code::Conflict,
            "is a Kafka broker running? --set listen.kafka=127.0.0.1:0 takes a free port, --set listen.kafka=off none",
        ),
        false => (Code::Failure, "does the address belong to this machine? see listen in the configuration"),
    };
    CliError::new(code, error.to_string()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_told_whether_routes_name_the_queues_of_ordered_topics() {
        let mut config = Config::default();
        assert!(!edge_options(&config).order_message_enable);
        config.rocketmq.order_message = true;
        assert!(edge_options(&config).order_message_enable);
    }
}
