//! The threads of a running store: one flushes, one keeps house. Tests of the logic never start them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::options::FlushMode;
use crate::shard::Shard;
use crate::store::{FlushOutcome, Store};

/// How often an asynchronous flush is looked at while something waits for it.
const ASYNC_LOOK: Duration = Duration::from_millis(50);

/// The running threads; [`stop`](Self::stop), or dropping it, ends them.
pub struct Driver {
    shard: Arc<Shard>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Driver {
    /// Starts the flush thread and the housekeeping thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Store) -> io::Result<Self> {
        Self::start_with(&store, true)
    }

    /// As [`start`](Self::start), but the log is pre-written ahead only after [`serving`](Self::serving): until then
    /// room is made when an append wants it, and the disk is left to what the start itself needs.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_before_serving(store: Store) -> io::Result<Self> {
        Self::start_with(&store, false)
    }

    fn start_with(store: &Store, prewrites: bool) -> io::Result<Self> {
        let shard = store.shard();
        shard.prewrites.store(prewrites, Ordering::Release);
        let mut driver =
            Self { shard: shard.clone(), stopping: Arc::default(), threads: Vec::with_capacity(2) };
        let (flushed, stopping) = (shard.clone(), driver.stopping.clone());
        let flush = Builder::new().name("braid-flush".to_owned());
        driver.threads.push(flush.spawn(move || flush_until(&flushed, &stopping))?);
        let stopping = driver.stopping.clone();
        let house = Builder::new().name("braid-house".to_owned());
        driver.threads.push(house.spawn(move || keep_house_until(&shard, &stopping))?);
        Ok(driver)
    }

    /// Tells the flush thread that something was written: called by whoever did a `write_turn`.
    pub fn written(&self) {
        self.shard.flush_signal.raise();
    }

    /// Says that clients are served now: pre-writing begins.
    pub fn serving(&self) {
        self.shard.prewrites.store(true, Ordering::Release);
        self.shard.house_signal.raise();
    }

    /// Ends both threads and waits for them. The store stays open.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.shard.flush_signal.raise();
        self.shard.house_signal.raise();
        for thread in self.threads.drain(..) {
            // A panic inside a turn was caught there and has closed the log.
            let _ = thread.join();
        }
    }
}

fn flush_until(shard: &Shard, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        while shard.flush_is_due() && matches!(shard.flush_turn(), FlushOutcome::Flushed(_)) {}
        let dirty = shard.watermarks.written() > shard.watermarks.flushed();
        let look_again = shard.mode() == FlushMode::Async && dirty;
        shard.flush_signal.wait(look_again.then_some(ASYNC_LOOK));
    }
}

fn keep_house_until(shard: &Shard, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        let pause_ms = shard.housekeeping();
        shard.house_signal.wait(Some(Duration::from_millis(pause_ms.max(1))));
    }
}
