//! The process under test.

use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Small files, so that every cycle rolls some.
const LOG_FILE_BYTES: u32 = 1024 * 1024;
/// A start that takes longer counts as failed.
const START_MAX: Duration = Duration::from_secs(30);
/// How often the ready file is looked for: it is made by another process, which sends no event.
const READY_POLL: Duration = Duration::from_micros(500);
/// How much of the broker's output an error repeats.
const OUTPUT_LINES_SHOWN: usize = 15;

/// When the broker acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    Sync,
    Async,
}

impl fmt::Display for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flush::Sync => "sync",
            Flush::Async => "async",
        })
    }
}

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    ready_file: PathBuf,
    output: PathBuf,
    /// Of RocketMQ's listener and of Kafka's.
    addresses: Option<(SocketAddr, SocketAddr)>,
}

impl Broker {
    /// Starts `binary` on `directory`/data; its output is added to `directory`/broker.log.
    pub(crate) fn spawn(binary: &Path, directory: &Path, flush: Flush, mutant: Option<&str>) -> Result<Self> {
        let (ready_file, output) = (directory.join("ready.json"), directory.join("broker.log"));
        match fs::remove_file(&ready_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("can't remove ready.json");
            }
            _ => {}
        }
        let log = File::options().create(true).append(true).open(&output).context("can't open broker.log")?;
        let mut command = Command::new(binary);
        command.arg("start").arg("--data").arg(directory.join("data")).arg("--ready-file").arg(&ready_file);
        let settings = [
            "listen.nameserver=127.0.0.1:0".to_owned(),
            "listen.rocketmq=127.0.0.1:0".to_owned(),
            "listen.rocketmq_fast=off".to_owned(),
            "listen.kafka=127.0.0.1:0".to_owned(),
            "kafka.initial_rebalance_delay_ms=0".to_owned(),
            format!("store.flush={flush}"),
            format!("store.file_bytes={LOG_FILE_BYTES}"),
        ];
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        command.env_remove("BRAIDMQ_MUTANT");
        if let Some(mutant) = mutant {
            command.env("BRAIDMQ_MUTANT", mutant);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("can't start {}", binary.display()))?;
        Ok(Broker { child, ready_file, output, addresses: None })
    }

    /// Whether it says that it serves.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready_file.exists()
    }

    /// Waits until it serves.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}:\n{}", self.last_output());
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {} s:\n{}", START_MAX.as_secs(), self.last_output());
            }
            thread::sleep(READY_POLL);
        }
        let ready = fs::read(&self.ready_file).context("can't read ready.json")?;
        let ready: serde_json::Value = serde_json::from_slice(&ready).context("ready.json is not JSON")?;
        let address = |name: &str| -> Result<SocketAddr> {
            let address = ready["listeners"][name].as_str();
            let address = address.with_context(|| format!("ready.json names no {name} listener"))?;
            address.parse().with_context(|| format!("'{address}' is no address"))
        };
        self.addresses = Some((address("rocketmq")?, address("kafka")?));
        Ok(())
    }

    /// Where it listens for RocketMQ's clients.
    ///
    /// # Panics
    /// If it is not known to be ready.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses.expect("wait_until_ready has succeeded").0
    }

    /// Where it listens for Kafka's.
    ///
    /// # Panics
    /// If it is not known to be ready.
    pub(crate) fn kafka_address(&self) -> SocketAddr {
        self.addresses.expect("wait_until_ready has succeeded").1
    }

    /// SIGKILL, and the process is gone when this returns.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.end().context("can't kill the broker")
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    fn last_output(&self) -> String {
        let output = fs::read(&self.output).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(OUTPUT_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be dead already, which is as good.
        let _ = self.end();
    }
}
