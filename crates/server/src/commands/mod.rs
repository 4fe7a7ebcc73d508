//! One module for each command.

pub mod bench;
pub mod completion;
pub mod config;
pub mod consume;
pub mod group;
pub mod health;
pub mod message;
pub mod place;
pub mod produce;
pub mod progress;
pub mod store;
pub mod topic;

use std::io::{self, IsTerminal, Write};

use crate::error::{CliError, CliResult, Code};

/// Asks before something is destroyed. Without a terminal there is nobody to ask, and `--yes` is needed.
pub fn confirm(question: &str, yes: bool) -> CliResult {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::new(Code::Usage, format!("{question}: nobody is there to say yes"))
            .hint("--yes does it"));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::new(Code::Failure, "nothing was done"))
    }
}
