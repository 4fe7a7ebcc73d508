//! Cargo: what the workspace consists of, where it builds to, and how to ask it for more.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Every test that counts seeds, kills or seconds multiplies them by this variable.
pub(crate) const SCALE_VARIABLE: &str = "BRAIDMQ_TEST_SCALE";
const SCALE_DEFAULT: f64 = 0.2;

/// The workspace as `cargo metadata` describes it.
pub(crate) struct Workspace {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Where Cargo builds to, and below which everything of ours goes too.
    pub(crate) target: PathBuf,
    /// The whole answer, every package of the lock file included.
    pub(crate) metadata: Value,
    /// By how much seeds, kills and fuzz seconds are scaled; 1 is the full count.
    pub(crate) scale: f64,
    /// Whether older versions of clients are tried too, which a scale of 1 asks for.
    pub(crate) full: bool,
}

impl Workspace {
    /// Asks Cargo. A lock file that no longer fits is an error.
    pub(crate) fn load(full: bool) -> Result<Self> {
        let output = cargo(&["metadata", "--format-version", "1", "--locked"])
            .output()
            .context("run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
        let path = |key: &str| -> Result<PathBuf> {
            Ok(metadata[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?.into())
        };
        let scale = scale(full)?;
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            metadata,
            scale,
            full: scale >= 1.0,
        })
    }

    /// The binary that users run.
    pub(crate) fn release_binary(&self) -> PathBuf {
        self.target.join("release/braidmq")
    }

    /// The same, built for tests with planted defects that an environment variable wakes; nobody ships it.
    pub(crate) fn mutant_binary(&self) -> PathBuf {
        self.target.join("ci/braidmq")
    }

    /// Where a stage's output goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.target.join("xtask").join(format!("{name}.log"))
    }

    /// `cargo` with these arguments, told the scale.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo(args);
        command.current_dir(&self.root).env(SCALE_VARIABLE, self.scale.to_string());
        command
    }
}

fn scale(full: bool) -> Result<f64> {
    match std::env::var(SCALE_VARIABLE) {
        _ if full => Ok(1.0),
        Ok(given) => given.parse().with_context(|| format!("{SCALE_VARIABLE}={given} is no number")),
        Err(_) => Ok(SCALE_DEFAULT),
    }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}
