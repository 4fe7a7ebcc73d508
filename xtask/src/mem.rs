//! What an idle broker costs: milliseconds until it serves, resident memory, threads, milliseconds until it has stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::cargo::Workspace;

/// The project's bound for an empty directory; the anchor, nats-server, has about 15 MiB.
const RSS_BYTES_MAX: u64 = 20 << 20;
/// The project's bound from the start of the process to the ready file.
const START_MAX: Duration = Duration::from_millis(50);
/// Starts that are measured. The fastest is held against the bound: what else runs on the machine can only add to it.
const STARTS: usize = 10;
/// Memory is read this long after the broker serves, when its start-up work is over.
const SETTLE: Duration = Duration::from_millis(500);

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
    let mut broker = Broker::start(binary, directory, &[])?;
    let start = broker.await_ready()?;
    thread::sleep(SETTLE);
    let status = PathBuf::from(format!("/proc/{}/status", broker.id()));
    let status = fs::read_to_string(status).context("read the broker's /proc status")?;
    let rss_bytes = field(&status, "VmRSS:")? << 10;
    let threads = field(&status, "Threads:")?;
    Ok(Sample { start, stop: broker.stop()?, rss_bytes, threads })
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in /proc status"))
}
