//! A `braidmq` of xtask's own: in a directory below the target directory, on free ports, gone when it is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A broker that is told to stop has stopped after this long.
const STOP_MAX: Duration = Duration::from_secs(5);
const START_MAX: Duration = Duration::from_secs(20);
/// How often the ready file is looked for: it is made by another process, which sends no event.
const READY_POLL: Duration = Duration::from_micros(200);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// RocketMQ's request for a broker's runtime information, in its JSON header.
const RUNTIME_INFORMATION: &str = r#"{"code":28,"flag":0,"language":"OTHER","opaque":1,"version":0}"#;

/// A started broker.
pub(crate) struct Broker {
    child: Child,
    started: Instant,
    ready: PathBuf,
}

impl Broker {
    /// Starts `binary` with nothing but these settings (`key=value`) on the directory, which is emptied first.
    pub(crate) fn start(binary: &Path, directory: &Path, settings: &[&str]) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory)?;
        let ready = directory.join("ready.json");
        let mut command = Command::new(binary);
        command.arg("start").arg("--data").arg(directory.join("data")).arg("--ready-file").arg(&ready);
        let ports = [
            "listen.nameserver=127.0.0.1:0",
            "listen.rocketmq=127.0.0.1:0",
            "listen.rocketmq_fast=off",
            "listen.kafka=127.0.0.1:0",
        ];
        for setting in ports.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let log = fs::File::create(directory.join("broker.log"))?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        Ok(Self { child, started, ready })
    }

    /// Waits until it serves; how long that took from its start.
    pub(crate) fn await_ready(&mut self) -> Result<Duration> {
        while self.started.elapsed() < START_MAX {
            if self.ready.exists() {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "braidmq ended with {status} instead of serving; see broker.log beside {}",
                    self.ready.display()
                );
            }
            thread::sleep(READY_POLL);
        }
        bail!("braidmq does not serve after {} s", START_MAX.as_secs())
    }

    /// The address of the listener of this name, once it serves.
    pub(crate) fn listener(&self, name: &str) -> Result<String> {
        let ready = fs::read(&self.ready).with_context(|| format!("read {}", self.ready.display()))?;
        let ready: serde_json::Value = serde_json::from_slice(&ready).context("the ready file is JSON")?;
        let address = ready["listeners"][name].as_str();
        Ok(address.with_context(|| format!("the ready file names no listener {name}"))?.to_owned())
    }

    /// A number of its runtime information.
    pub(crate) fn runtime_number(&self, name: &str) -> Result<u64> {
        let mut stream = TcpStream::connect(self.listener("rocketmq")?)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let header = RUNTIME_INFORMATION.as_bytes();
        let lengths = [header.len() as u32 + 4, header.len() as u32].map(u32::to_be_bytes);
        stream.write_all(&[&lengths.concat(), header].concat())?;
        let (mut frame_bytes, mut header_bytes) = ([0; 4], [0; 4]);
        stream.read_exact(&mut frame_bytes)?;
        stream.read_exact(&mut header_bytes)?;
        let mut frame = vec![0; (u32::from_be_bytes(frame_bytes) - 4) as usize];
        stream.read_exact(&mut frame)?;
        let body =
            frame.get(u32::from_be_bytes(header_bytes) as usize..).context("the answer has no body")?;
        let body: serde_json::Value = serde_json::from_slice(body).context("runtime information is JSON")?;
        let number = body["table"][name].as_str().and_then(|text| text.parse().ok());
        number.with_context(|| format!("the runtime information has no number {name}"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop; how long it went on.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let told = Instant::now();
        let status = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        ensure!(status.success(), "kill -TERM failed");
        while told.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "braidmq stopped with {status}");
                return Ok(told.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("braidmq goes on {} s after SIGTERM", STOP_MAX.as_secs())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
