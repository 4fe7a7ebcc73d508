//! The broker's one thread: delivers what is due, wakes readers whose deadline has passed, writes cursors, expires
//! members. Tests of the logic never start it; they call [`Broker::turn`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::broker::{Broker, Turn};

/// Milliseconds after a panic in which the thread rests.
const AFTER_PANIC_MS: u64 = 1_000;

/// The running thread; [`stop`](Self::stop) ends it, and so does dropping this.
pub struct Driver {
    broker: Arc<Broker>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts the thread. `appended` is called after each turn in which something was appended: it ends the turn for the
    /// store ([`Store::write_turn`](braid_store::Store::write_turn), then
    /// [`Driver::written`](braid_store::driver::Driver::written)).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(broker: Arc<Broker>, appended: impl Fn() + Send + 'static) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (mine, its) = (Arc::clone(&stopping), Arc::clone(&broker));
        let thread = std::thread::Builder::new().name("braid-broker".to_owned()).spawn(move || {
            while !mine.load(Ordering::SeqCst) {
                let turn = turn_or_complain(&its);
                if turn.appended {
                    appended();
                }
                if turn.next_in_ms > 0 && !mine.load(Ordering::SeqCst) {
                    its.wait_for_news(turn.next_in_ms);
                }
            }
        })?;
        Ok(Self { broker, stopping, thread: Some(thread) })
    }

    /// Ends the thread and waits for it. Cursors that are not written yet are left to the caller
    /// ([`Broker::flush_cursors`]).
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.broker.ring();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the broker's thread had panicked");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// A panic in a turn is logged and the thread goes on: delivery and expiry concern everybody, and what a turn changes is
/// one append at a time.
fn turn_or_complain(broker: &Broker) -> Turn {
    catch_unwind(AssertUnwindSafe(|| broker.turn())).unwrap_or_else(|_| {
        tracing::error!("a turn of the broker panicked");
        Turn { appended: true, next_in_ms: AFTER_PANIC_MS }
    })
}
