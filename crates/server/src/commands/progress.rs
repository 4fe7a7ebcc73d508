//! A progress bar on standard error, for whoever waits longer than a second and sits at a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long something may take before it needs a bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows how far something is. It leaves nothing behind when it is dropped.
pub struct Progress {
    started: Instant,
    total: Option<u64>,
    is_wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress towards `total`, if that is known. Nothing is shown when rows go to the terminal meanwhile.
    pub fn new(total: Option<u64>, rows_on_terminal: bool) -> Self {
        let is_wanted = io::stderr().is_terminal() && !rows_on_terminal;
        Progress { started: Instant::now(), total, is_wanted, bar: None }
    }

    /// So much is done.
    pub fn at(&mut self, done: u64, what: &str) {
        if self.bar.is_none() && self.is_wanted && self.started.elapsed() >= PATIENCE {
            self.bar = Some(self.new_bar(what));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn new_bar(&self, what: &str) -> ProgressBar {
        let bar = self.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match self.total {
            Some(_) => "{bar:30} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left",
            None => "{spinner} {human_pos} {msg}, {per_sec}",
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.with_message(what.to_owned()).with_elapsed(self.started.elapsed())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
