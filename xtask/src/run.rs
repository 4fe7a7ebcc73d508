//! Runs commands with their output in a file, so that it can be shown when it matters.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How much of a failed command's output is shown; all of it is in the file.
const LINES_SHOWN_MAX: usize = 150;
/// How often a command with a time limit is asked whether it has ended.
const END_POLL: Duration = Duration::from_millis(20);

/// A command that has ended, and where its output is.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) output: String,
    pub(crate) log: PathBuf,
}

/// A command that runs, stdout and stderr going to one file.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

/// Starts `command`; its output replaces what `log` held.
///
/// # Errors
/// The file can't be made or the program can't be started.
pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Running> {
    fs::create_dir_all(log.parent().context("a log file lies in a directory")?)?;
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    Ok(Running { child, log: log.into() })
}

impl Running {
    /// Waits for the end and reads the output.
    pub(crate) fn end(mut self) -> Result<Ended> {
        let success = self.child.wait()?.success();
        let output = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        Ok(Ended { success, output, log: self.log })
    }
}

impl Running {
    /// As [`Running::end`], but one that goes on for longer than `limit` is killed, and has failed.
    pub(crate) fn end_within(mut self, limit: Duration) -> Result<Ended> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                let ended = self.end()?;
                let output = format!("{}\nkilled after {} s", ended.output, limit.as_secs());
                return Ok(Ended { success: false, output, ..ended });
            }
            thread::sleep(END_POLL);
        }
        self.end()
    }
}

/// Starts a command and waits for its end.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<Ended> {
    start(command, log)?.end()
}

impl Ended {
    /// The end of the output, and where the rest is.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<_> = self.output.lines().collect();
        let from = lines.len().saturating_sub(LINES_SHOWN_MAX);
        let more = if from > 0 { format!("({from} lines before) ") } else { String::new() };
        format!("{}\n{more}all of it: {}", lines[from..].join("\n"), self.log.display())
    }
}

/// Whether a program of this name is found on the path.
pub(crate) fn on_path(program: impl AsRef<OsStr>) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program.as_ref()).is_file())
}
