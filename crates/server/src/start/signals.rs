//! SIGTERM and SIGINT: the first ends the broker in order, the second at once.

use std::io;
use std::process;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A thread that watches for signals from the moment it is made.
pub struct Signals {
    first: Receiver<&'static str>,
    /// Told when the end begins, with how long it may take.
    ending: oneshot::Sender<Duration>,
}

impl Signals {
    /// Begins to watch. A signal that comes before [`wait`](Self::wait) is not lost.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut term, mut int) = {
            let _guard = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let (told, first) = channel();
        let (ending, begun) = oneshot::channel();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let name = next(&runtime, &mut term, &mut int);
            if told.send(name).is_err() {
                return;
            }
            runtime.block_on(async {
                tokio::select! {
                    () = second() => exit("a second signal came"),
                    () = too_late(begun) => exit("it took too long to end"),
                }
            });
        })?;
        Ok(Self { first, ending })
    }

    /// Waits for the first signal; gives its name. From then on the process ends at once when a second one comes, or after `limit`.
    pub fn wait(self, limit: Duration) -> &'static str {
        // The thread lives until it has told us.
        let name = self.first.recv().unwrap_or("no signal");
        // The thread ends only with the process.
        let _ = self.ending.send(limit);
        name
    }
}

fn next(runtime: &Runtime, term: &mut Signal, int: &mut Signal) -> &'static str {
    runtime.block_on(async {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}

/// Signals that come so soon after the first are the same wish: `timeout` and others signal a process and then its group.
const SAME_WISH: Duration = Duration::from_millis(500);

/// Returns when a second signal came.
async fn second() {
    tokio::time::sleep(SAME_WISH).await;
    // Fresh receivers have not seen what came meanwhile. Both could be made before, so they can be made now.
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Returns when the end has begun and its time is over.
async fn too_late(begun: oneshot::Receiver<Duration>) {
    match begun.await {
        Ok(limit) => tokio::time::sleep(limit).await,
        // Nobody is going to end in order: the process has failed to start and ends by itself.
        Err(_) => std::future::pending().await,
    }
}

/// The exit code of a process that did not end in order.
const KILLED: i32 = 1;

fn exit(why: &str) {
    tracing::error!("{why}: ending without order; the next start recovers");
    process::exit(KILLED);
}
