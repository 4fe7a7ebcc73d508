//! Starts, pins and ends the servers.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{BenchError, Doing, Result};
use crate::floor::Mode;
use crate::rows::Durability;

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A core for the server and one for the generator; the same one if there is no other.
///
/// # Errors
/// When the system does not say where we may run.
pub fn cores() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(None).doing("look at the cores")?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next().unwrap_or(0);
    Ok([first, cores.next().unwrap_or(first)])
}

/// Keeps this thread, and what it starts, on a core.
///
/// # Errors
/// When the system does not let it.
pub fn pin(core: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).doing("pin a thread to a core")
}

/// A running server. Dropping it kills it.
pub struct Server {
    name: &'static str,
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Where servers come from, and where they run.
pub struct Launcher {
    /// The binary `braidmq`.
    pub binary: PathBuf,
    /// The core for servers.
    pub core: usize,
}

impl Launcher {
    /// Starts the floor with its log in `dir`, which is made.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn floor(&self, mode: Mode, dir: &Path, log_bytes: u64) -> Result<Server> {
        let mut command = Command::new(&self.binary);
        command.args(["bench", "--floor", mode.name(), "--floor-log-bytes", &log_bytes.to_string()]);
        command.arg("--dir").arg(dir).arg("--floor-ready-file").arg(ready_file(dir));
        self.start("the floor", "floor", command, dir)
    }

    /// Starts the broker with its data in `dir`, which is made, and with these further keys of its configuration. Its
    /// address is that of the listener of this name.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn broker(
        &self,
        listener: &str,
        durability: Durability,
        sets: &[String],
        dir: &Path,
    ) -> Result<Server> {
        let mut command = Command::new(&self.binary);
        command.arg("start").arg("--data").arg(dir.join("data")).arg("--ready-file").arg(ready_file(dir));
        let flush = format!("store.flush={}", durability.name());
        for setting in [
            "listen.nameserver=127.0.0.1:0",
            "listen.rocketmq=127.0.0.1:0",
            "listen.rocketmq_fast=off",
            "listen.kafka=127.0.0.1:0",
            "listen.kafka=127.0.0.1:0",
            // One core, one thread that serves.
            "listen.threads=1",
            "log.level=warn",
            &flush,
        ] {
            command.args(["--set", setting]);
        }
        for setting in sets {
            command.args(["--set", setting]);
        }
        self.start("braidmq", listener, command, dir)
    }

    fn start(&self, name: &'static str, listener: &str, mut command: Command, dir: &Path) -> Result<Server> {
        fs::create_dir_all(dir).doing("make a server's directory")?;
        let log = File::create(dir.join("log.txt")).doing("make a server's log")?;
        // A pipe whose end tells the floor that we are gone.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        // A child begins where the thread that starts it runs; no thread of it ever runs elsewhere.
        let core = self.core;
        let started = thread::scope(|scope| {
            let starter = scope.spawn(|| {
                pin(core)?;
                command.spawn().doing("start a server")
            });
            starter.join()
        });
        let child =
            started.map_err(|_| BenchError::Start { server: name, reason: "a panic".to_owned() })??;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { name, child, address: nowhere };
        server.address = server.await_ready(&ready_file(dir), listener, dir)?;
        Ok(server)
    }
}

fn ready_file(dir: &Path) -> PathBuf {
    dir.join("ready.json")
}

impl Server {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn await_ready(&mut self, path: &Path, listener: &str, dir: &Path) -> Result<SocketAddr> {
        let begun = Instant::now();
        let failed = |reason: String| BenchError::Start { server: self.name, reason };
        while begun.elapsed() < START_MAX {
            if let Ok(text) = fs::read_to_string(path) {
                let address = serde_json::from_str::<serde_json::Value>(&text)
                    .ok()
                    .and_then(|ready| ready["listeners"][listener].as_str()?.parse().ok());
                return address.ok_or_else(|| failed(format!("its ready file says {text}")));
            }
            if let Some(status) = self.child.try_wait().doing("look at a server")? {
                let log = fs::read_to_string(dir.join("log.txt")).unwrap_or_default();
                return Err(failed(format!("it ended with {status}: {}", log.trim())));
            }
            thread::sleep(LOOK_EVERY);
        }
        Err(failed(format!("nothing after {} s", START_MAX.as_secs())))
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it does not end, or complains.
    pub fn stop(mut self) -> Result<()> {
        let failed = |reason: String| BenchError::Start { server: self.name, reason };
        if self.name == "the floor" {
            drop(self.child.stdin.take());
        } else if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).doing("stop a server")?;
        }
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait().doing("look at a server")? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(failed(format!("it ended with {status}")))
                };
            }
            thread::sleep(LOOK_EVERY);
        }
        Err(failed(format!("it goes on {} s after it was told to stop", STOP_MAX.as_secs())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
