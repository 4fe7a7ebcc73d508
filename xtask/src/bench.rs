//! The bench, with a release binary that is up to date.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::cargo::Workspace;

/// Builds the release binary and runs `braidmq bench` with `args`; `false` when it failed. Its data lies below the target directory.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<bool> {
    let workspace = Workspace::load(false)?;
    let status = workspace.cargo(&["build", "--release", "--package", "braidmq"]).status()?;
    ensure!(status.success(), "the release build failed");
    let directory = workspace.target.join("xtask/bench");
    fs::create_dir_all(&directory)?;
    let mut command = std::process::Command::new(workspace.release_binary());
    command.current_dir(&directory).arg("bench").args(args);
    Ok(command.status().context("start braidmq bench")?.success())
}
