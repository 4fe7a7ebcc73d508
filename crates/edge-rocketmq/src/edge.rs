//! The RocketMQ edge as its owner sees it: bind, serve, shut down.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use braid_broker::Broker;
use braid_crossing::Crossing;
use braid_io::Disk;
use braid_store::driver::Driver;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::listen::{self, Addresses, BindError, Role};
use crate::metrics::Metrics;
use crate::namesrv::NameServer;
use crate::namesrv::kv::KvStore;
use crate::options::{COLD_THREADS_MAX, EdgeOptions, MAIL_MAX};
use crate::reactor::{self, Mail, ReactorHandle};
use crate::shared::Shared;

/// Listeners that are open but not served yet. Clients may connect and wait.
pub struct Edge {
    shared: Arc<Shared>,
    listeners: Vec<(Role, TcpListener)>,
    mail: Vec<mpsc::Receiver<Mail>>,
}

/// A served edge; [`shutdown`](Self::shutdown) ends it.
pub struct RunningEdge {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Edge {
    /// Opens all listeners. `driver` is the store's; it is told after each write.
    ///
    /// # Errors
    /// When a listener can not be opened, or the name server's file can not be read.
    pub fn bind(
        options: EdgeOptions,
        broker: Arc<Broker>,
        driver: Arc<Driver>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, BindError> {
        let opened = listen::open(&options)?;
        let kv = KvStore::open(Arc::clone(&disk), &options.data_dir).map_err(BindError::State)?;
        let (reactors, mail): (Vec<_>, Vec<_>) = (0..options.reactors.clamp(1, usize::from(u16::MAX)))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(MAIL_MAX);
                (Arc::new(ReactorHandle::new(sender)), receiver)
            })
            .unzip();
        let store = broker.store().clone();
        for reactor in &reactors {
            store.subscribe(Arc::clone(reactor) as _);
        }
        let clock = Arc::clone(broker.clock());
        let shared = Arc::new(Shared {
            addresses: opened.addresses,
            started_ms: clock.wall_ms(),
            options,
            broker,
            store,
            driver,
            disk,
            clock,
            reactors,
            nameserver: NameServer::new(kv),
            metrics: Metrics::default(),
            crossing: Arc::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        Ok(Self { shared, listeners: opened.sockets, mail })
    }

    /// The listeners' real addresses.
    pub fn addresses(&self) -> Addresses {
        self.shared.addresses
    }

    /// What messages cross through on their way to this edge's clients.
    pub fn crossing(&self) -> &Arc<Crossing> {
        &self.shared.crossing
    }

    /// Starts the reactors.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub fn serve(self) -> io::Result<RunningEdge> {
        let Self { shared, mut listeners, mail } = self;
        let mut running = RunningEdge { shared: Arc::clone(&shared), threads: Vec::new() };
        for (index, mail) in mail.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(COLD_THREADS_MAX)
                .thread_name("rocketmq-disk")
                .build()?;
            // The first reactor accepts for all.
            let listeners = std::mem::take(&mut listeners);
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("rocketmq-{index}"))
                .spawn(move || reactor::run(shared, index as u16, mail, listeners, runtime))?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl RunningEdge {
    /// The listeners' real addresses.
    pub fn addresses(&self) -> Addresses {
        self.shared.addresses
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Answers parked pulls and accepted sends, tells clients that know it to go away, closes all connections and ends the
    /// threads; what is not done by `deadline` is left. Nothing holds store or broker afterwards.
    pub fn shutdown(self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.broker.stop_parking();
        let until = Instant::now() + deadline;
        for reactor in &self.shared.reactors {
            reactor.post_blocking(Mail::Stop(until));
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a reactor ended with a panic");
            }
        }
    }
}
