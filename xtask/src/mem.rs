//! What an idle broker costs: milliseconds until it serves, resident memory, threads, milliseconds until it has stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::Workspace;

/// The project's bound for an empty directory; the anchor, nats-server, has about 15 MiB.
const RSS_BYTES_MAX: u64 = 20 << 20;
/// The project's bound from the start of the process to the ready file.
const START_MAX: Duration = Duration::from_millis(50);
/// A broker that is told to stop has stopped after this long.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Starts that are measured. The fastest is held against the bound: what else runs on the machine can only add to it.
const STARTS: usize = 10;
/// Memory is read this long after the broker serves, when its start-up work is over.
const SETTLE: Duration = Duration::from_millis(500);
const START_DEADLINE: Duration = Duration::from_secs(20);

struct Sample {
    start: Duration,
    stop: Duration,
    rss_bytes: u64,
    threads: u64,
}

/// Builds the release binary, measures it and prints the figures; `false` when a bound does not hold.
pub(crate) fn print() -> Result<bool> {
    let workspace = Workspace::load(false)?;
    let status = workspace.cargo(&["build", "--release", "--package", "braidmq"]).status()?;
    ensure!(status.success(), "the release build failed");
    let (report, good) = measure(&workspace)?;
    println!("{report}");
    Ok(good)
}

/// The figures as a sentence, and whether the bounds hold.
pub(crate) fn measure(workspace: &Workspace) -> Result<(String, bool)> {
    let directory = workspace.target.join("xtask/mem");
    let mut samples = Vec::new();
    for _ in 0..STARTS {
        samples.push(sample(&workspace.release_binary(), &directory)?);
    }
    samples.sort_by_key(|sample| sample.start);
    let (fastest, median) = (samples[0].start, samples[STARTS / 2].start);
    let stop = samples.iter().map(|sample| sample.stop).max().unwrap_or_default();
    let rss_bytes = samples.iter().map(|sample| sample.rss_bytes).max().unwrap_or_default();
    let threads = samples.iter().map(|sample| sample.threads).max().unwrap_or_default();
    let report = format!(
        "start {:.1} ms (fastest of {STARTS}, at most {} ms; median {:.1}), idle {:.1} MiB resident (at most {}), \
         {threads} threads, stop {:.1} ms (slowest)",
        milliseconds(fastest),
        START_MAX.as_millis(),
        milliseconds(median),
        rss_bytes as f64 / f64::from(1 << 20),
        RSS_BYTES_MAX >> 20,
        milliseconds(stop),
    );
    Ok((report, fastest <= START_MAX && rss_bytes <= RSS_BYTES_MAX))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One broker from start to stop in an empty directory.
fn sample(binary: &Path, directory: &Path) -> Result<Sample> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let ready = directory.join("ready.json");
    let started = Instant::now();
    let mut broker = Stopper(start(binary, directory, &ready)?);
    let start = await_ready(&mut broker.0, &ready, started)?;
    thread::sleep(SETTLE);
    let status = PathBuf::from(format!("/proc/{}/status", broker.0.id()));
    let status = fs::read_to_string(status).context("read the broker's /proc status")?;
    let rss_bytes = field(&status, "VmRSS:")? << 10;
    let threads = field(&status, "Threads:")?;
    Ok(Sample { start, stop: stop(&mut broker.0)?, rss_bytes, threads })
}

fn start(binary: &Path, directory: &Path, ready: &Path) -> Result<Child> {
    let mut command = Command::new(binary);
    command.arg("start").arg("--data").arg(directory.join("data")).arg("--ready-file").arg(ready);
    for setting in [
        "listen.nameserver=127.0.0.1:0",
        "listen.rocketmq=127.0.0.1:0",
        "listen.rocketmq_fast=off",
        "listen.kafka=127.0.0.1:0",
    ] {
        command.args(["--set", setting]);
    }
    let log = fs::File::create(directory.join("broker.log"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

fn await_ready(broker: &mut Child, ready: &Path, started: Instant) -> Result<Duration> {
    while started.elapsed() < START_DEADLINE {
        if ready.exists() {
            return Ok(started.elapsed());
        }
        if let Some(status) = broker.try_wait()? {
            bail!(
                "braidmq ended with {status} instead of serving; see broker.log beside {}",
                ready.display()
            );
        }
        thread::sleep(Duration::from_micros(200));
    }
    bail!("braidmq does not serve after {} s", START_DEADLINE.as_secs())
}

fn stop(broker: &mut Child) -> Result<Duration> {
    let told = Instant::now();
    let status = Command::new("kill").args(["-TERM", &broker.id().to_string()]).status()?;
    ensure!(status.success(), "kill -TERM failed");
    while told.elapsed() < STOP_MAX {
        if let Some(status) = broker.try_wait()? {
            ensure!(status.success(), "braidmq stopped with {status}");
            return Ok(told.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("braidmq goes on {} s after SIGTERM", STOP_MAX.as_secs())
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in /proc status"))
}

/// Leaves no broker behind when a measurement fails.
struct Stopper(Child);

impl Drop for Stopper {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
