//! The broker under siege: started in a temporary directory, measured and stopped by its process id.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(5);

pub(crate) struct Broker {
    child: Child,
    dir: tempfile::TempDir,
    /// Where the broker role listens.
    pub(crate) address: SocketAddr,
    /// Where Kafka clients are served.
    pub(crate) kafka: SocketAddr,
}

impl Broker {
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ready = dir.path().join("ready.json");
        let log = fs::File::create(dir.path().join("log"))?;
        let mut child = Command::new(binary)
            .arg("start")
            .arg("--data")
            .arg(dir.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(["--set", "listen.nameserver=127.0.0.1:0", "--set", "listen.rocketmq=127.0.0.1:0"])
            .args(["--set", "listen.rocketmq_fast=off", "--set", "listen.kafka=127.0.0.1:0"])
            .args(["--set", "store.file_bytes=16777216"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the broker")?;
        let began = Instant::now();
        while !ready.exists() {
            if let Some(status) = child.try_wait()? {
                bail!("the broker ended at once: {status}\n{}", fs::read_to_string(dir.path().join("log"))?);
            }
            if began.elapsed() > START_DEADLINE {
                let _ = child.kill();
                bail!("the broker was not ready in time");
            }
            std::thread::sleep(POLL);
        }
        let ready: serde_json::Value = serde_json::from_slice(&fs::read(&ready)?)?;
        let listener = |name: &str| -> Result<SocketAddr> {
            let address = ready["listeners"][name].as_str();
            Ok(address.with_context(|| format!("the ready file names no {name} listener"))?.parse()?)
        };
        Ok(Self { child, dir, address: listener("rocketmq")?, kafka: listener("kafka")? })
    }

    /// Resident memory, from the kernel's own account.
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib << 10)
    }

    /// Ends the broker as an operator does, and gives what it logged.
    pub(crate) fn stop(&mut self) -> Result<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the broker ended with {status}");
                return Ok(fs::read_to_string(self.dir.path().join("log"))?);
            }
            ensure!(began.elapsed() < STOP_DEADLINE, "the broker did not end in time");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Already gone after `stop`; then both calls fail, and that is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
