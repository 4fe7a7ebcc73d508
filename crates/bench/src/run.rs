//! Runs the rows: floor, broker, floor, and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::error::{BenchError, Doing, Result};
use crate::floor::{self, Mode};
use crate::generator::{Measured, Span, drive};
use crate::kafka::{Fetch, Produce};
use crate::protocol::Protocol;
use crate::report::{Figures, Group, RowReport};
use crate::rocketmq::{Pull, Send};
use crate::rows::{self, ROWS, Row, Work};
use crate::server::{Launcher, Server, cores, pin};

/// Length of a message's body.
pub const MESSAGE_BYTES: usize = 1024;
/// The floor's log for appends.
const APPEND_LOG_BYTES: u64 = 256 << 20;
/// Messages in each of the queues that are pulled.
const PULLED_PER_QUEUE: u32 = 1024;
/// Queues of a topic that is sent to.
const QUEUES: u32 = 8;

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of rows; all if there are none.
    pub rows: Vec<String>,
    /// How long each window is measured.
    pub seconds: f64,
    /// Windows of the broker in each row, each between two of the floor.
    pub repetitions: usize,
    /// The directory in which the servers get theirs. They are removed at the end.
    pub dir: PathBuf,
    /// Keys of the broker's configuration, as its `--set` takes them.
    pub sets: Vec<String>,
    /// Let the floor answer sends of `async` rows without any log: its price for the log shows.
    pub floor_without_log: bool,
}

/// Runs all rows; each is given to `print` when it is done.
///
/// # Errors
/// See [`BenchError`]; the rows before were given already.
pub fn run(options: &Options, print: &mut dyn FnMut(RowReport) -> Result<()>) -> Result<()> {
    let rows = rows::chosen(&options.rows).map_err(|name| BenchError::NoRow {
        name,
        known: ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
    })?;
    let [server_core, generator_core] = cores()?;
    let launcher = Launcher {
        binary: std::env::current_exe().doing("find the binary of this program")?,
        core: server_core,
    };
    let directory = Directory::make(&options.dir)?;
    for row in rows {
        let dir = directory.0.join(row.name);
        // The one thread that drives.
        let report = thread::scope(|scope| {
            let driver = scope.spawn(|| {
                pin(generator_core)?;
                run_row(&row, options, &launcher, &dir)
            });
            driver.join()
        });
        let mut report = report.map_err(|_| BenchError::Answer("a panic in the generator".to_owned()))??;
        report.one_core = server_core == generator_core;
        fs::remove_dir_all(&dir).doing("remove a server's data")?;
        print(report)?;
    }
    Ok(())
}

/// The directory of this run. Dropping it removes it.
struct Directory(PathBuf);

impl Directory {
    fn make(parent: &Path) -> Result<Self> {
        let dir = parent.join(format!("braidmq-bench.{}", std::process::id()));
        fs::create_dir_all(&dir).doing("make the directory for the servers")?;
        // The servers are told absolute paths.
        Ok(Directory(dir.canonicalize().doing("find the directory for the servers")?))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left stays under a name that says whose it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server with what drives it.
struct Side {
    server: Server,
    protocol: Box<dyn Protocol>,
    next_tag: u32,
}

impl Side {
    fn new(server: Server, mut protocol: Box<dyn Protocol>) -> Result<Self> {
        protocol.create_topic(server.address)?;
        Ok(Side { server, protocol, next_tag: 0 })
    }

    fn window(&mut self, row: &Row, span: Span) -> Result<Measured> {
        let (address, pid) = (self.server.address, self.server.pid());
        drive(&mut *self.protocol, address, pid, row.load, span, &mut self.next_tag)
    }

    /// Reads back, and ends the server.
    fn end(mut self) -> Result<u64> {
        let verified = self.protocol.verify(self.server.address)?;
        self.server.stop()?;
        Ok(verified)
    }
}

fn run_row(row: &Row, options: &Options, launcher: &Launcher, dir: &Path) -> Result<RowReport> {
    let mut mode = row.floor_mode();
    if options.floor_without_log && mode == Mode::Write {
        mode = Mode::Nothing;
    }
    let mut floor = floor_side(row, mode, launcher, &dir.join("floor"))?;
    let broker = launcher.broker(row.listener(), row.durability, &options.sets, &dir.join("braidmq"))?;
    let protocol: Box<dyn Protocol> = match row.work {
        Work::Send(messages) => Box::new(Send::new("Bench", QUEUES, messages, MESSAGE_BYTES)),
        Work::Pull => Box::new(Pull::new(
            "Bench",
            floor::STRIDE as u32,
            PULLED_PER_QUEUE,
            MESSAGE_BYTES,
            (floor::RECORDS * floor::RECORD_BYTES) as u32,
        )),
        Work::Produce { records, value_bytes } => {
            Box::new(Produce::new("Bench", QUEUES, records, value_bytes))
        }
        Work::Fetch => Box::new(Fetch::new("Bench", floor::STRIDE as u32, PULLED_PER_QUEUE, MESSAGE_BYTES)),
    };
    let mut broker = Side::new(broker, protocol)?;
    let measured = Duration::from_secs_f64(options.seconds);
    let span = Span::Time { warm_up: measured / 2, measured };
    // The first windows find cold caches and files that were never written.
    floor.window(row, span)?;
    broker.window(row, span)?;
    let mut groups = Vec::with_capacity(options.repetitions);
    for _ in 0..options.repetitions {
        let before = Figures::of(&floor.window(row, span)?);
        let ours = Figures::of(&broker.window(row, span)?);
        let after = Figures::of(&floor.window(row, span)?);
        groups.push(Group { before, ours, after });
    }
    let verified = broker.end()?;
    floor.end()?;
    Ok(RowReport::new(row, mode, groups, verified))
}

fn floor_side(row: &Row, mode: Mode, launcher: &Launcher, dir: &Path) -> Result<Side> {
    let log_bytes = match mode {
        Mode::Fetch | Mode::FetchBatches => {
            floor::STRIDE as u64 * u64::from(PULLED_PER_QUEUE) * floor::RECORD_BYTES as u64
        }
        Mode::Nothing | Mode::Write | Mode::Sync => APPEND_LOG_BYTES,
    };
    let server = launcher.floor(mode, dir, log_bytes)?;
    let protocol: Box<dyn Protocol> = match row.work {
        Work::Pull | Work::Fetch => Box::new(floor::Fetch::default()),
        Work::Send(messages) => Box::new(floor::Append::new(mode, messages, MESSAGE_BYTES, dir, log_bytes)?),
        Work::Produce { records, value_bytes } => {
            Box::new(floor::Append::new(mode, records, value_bytes, dir, log_bytes)?)
        }
    };
    Side::new(server, protocol)
}
