//! The Kafka edge as its owner sees it: bind, serve, shut down.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use braid_broker::Broker;
use braid_crossing::Crossing;
use braid_store::driver::Driver;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::groups;
use crate::metrics::{Counts, Metrics};
use crate::options::{COLD_THREADS_MAX, EdgeOptions, MAIL_MAX};
use crate::reactor::{self, Mail, ReactorHandle};
use crate::shared::Shared;

/// Why the listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the Kafka listener can not listen on {address}: {source}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// What the system answered.
    pub source: io::Error,
}

/// A listener that is open but not served yet. Clients may connect and wait.
pub struct Edge {
    shared: Arc<Shared>,
    listener: TcpListener,
    mail: Vec<mpsc::Receiver<Mail>>,
}

/// A served edge; [`shutdown`](Self::shutdown) ends it.
pub struct RunningEdge {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Edge {
    /// Opens the listener. `driver` is the store's; it is told after each write. `crossing` is that of all edges.
    ///
    /// # Errors
    /// When it can not be opened.
    pub fn bind(
        options: EdgeOptions,
        broker: Arc<Broker>,
        driver: Arc<Driver>,
        crossing: Arc<Crossing>,
    ) -> Result<Self, BindError> {
        let (listener, address) = braid_reactor::listen(options.listen)
            .map_err(|source| BindError { address: options.listen, source })?;
        let (reactors, mail): (Vec<_>, Vec<_>) = (0..options.reactors.clamp(1, usize::from(u16::MAX)))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(MAIL_MAX);
                (Arc::new(ReactorHandle::new(sender)), receiver)
            })
            .unzip();
        broker.read_subscriptions_with(groups::subscriptions);
        let store = broker.store().clone();
        for reactor in &reactors {
            store.subscribe(Arc::clone(reactor) as _);
        }
        let shared = Arc::new(Shared {
            address,
            clock: Arc::clone(broker.clock()),
            options,
            broker,
            store,
            driver,
            reactors,
            metrics: Metrics::default(),
            crossing,
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        Ok(Self { shared, listener, mail })
    }

    /// The listener's real address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Starts the reactors.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub fn serve(self) -> io::Result<RunningEdge> {
        let Self { shared, listener, mail } = self;
        // The first reactor accepts for all.
        let mut listener = Some(listener);
        let mut running = RunningEdge { shared: Arc::clone(&shared), threads: Vec::new() };
        for (index, mail) in mail.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(COLD_THREADS_MAX)
                .thread_name("kafka-disk")
                .build()?;
            let (shared, listener) = (Arc::clone(&shared), listener.take());
            let thread = std::thread::Builder::new()
                .name(format!("kafka-{index}"))
                .spawn(move || reactor::run(shared, index as u16, mail, listener, runtime))?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl RunningEdge {
    /// The listener's real address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        self.shared.metrics.counts(&self.shared.crossing)
    }

    /// Answers parked fetches, joins and accepted batches, closes all connections and ends the threads; what is not done by `deadline`
    /// is left. Nothing holds store or broker afterwards.
    pub fn shutdown(self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.broker.stop_parking();
        self.shared.broker.stop_groups();
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
