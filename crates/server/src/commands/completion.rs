//! `braidmq completion`: a script for the shell.

use clap::CommandFactory;
use serde::Serialize;

use crate::cli::Cli;
use crate::error::CliResult;
use crate::output::Out;

#[derive(Serialize)]
struct Completion {
    shell: String,
    script: String,
}

/// Prints the script.
pub fn run(shell: clap_complete::Shell, out: &mut Out) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "braidmq", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let completion = Completion { shell: shell.to_string(), script };
    out.object(&completion, || completion.script.clone())?;
    Ok(())
}
