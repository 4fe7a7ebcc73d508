//! The stages of `cargo xtask test`, in the order in which they run: what is quick to fail comes first.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo::Workspace;
use crate::counts::Counts;
use crate::interop::{self, Against};
use crate::{layers, mem, run};

/// Kills in `sync` and in `async` of a full run; a run never does less than a fifth.
const CRASH_CYCLES: (f64, f64) = (80.0, 20.0);
const CRASH_SEED: &str = "20260101";
/// A rig that passed shows this many lines of its totals.
const RIG_LINES_SHOWN: usize = 8;

/// What `cargo xtask test` was asked for.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) full: bool,
    pub(crate) no_skips: bool,
    pub(crate) list: bool,
    pub(crate) only: Vec<String>,
    pub(crate) skip: Vec<String>,
}

/// How a stage ended: its counts and what there is to say.
pub(crate) enum Outcome {
    Passed(Counts, String),
    Failed(Counts, String),
    /// Why it could not run, and the command that changes this.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn counts(&self) -> Counts {
        match self {
            Self::Passed(counts, _) | Self::Failed(counts, _) => *counts,
            Self::Skipped(_) => Counts { skipped: 1, ..Counts::default() },
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Passed(_, text) | Self::Failed(_, text) | Self::Skipped(text) => text,
        }
    }
}

/// Outcomes of several parts as one.
#[derive(Default)]
pub(crate) struct Report {
    counts: Counts,
    failed: bool,
    text: String,
}

impl Report {
    pub(crate) fn add(&mut self, part: &str, outcome: Outcome) {
        self.counts = self.counts + outcome.counts();
        self.failed |= matches!(outcome, Outcome::Failed(..));
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{part}: {}\n{}", outcome.counts(), outcome.text().trim_end());
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self.failed {
            true => Outcome::Failed(self.counts, self.text),
            false => Outcome::Passed(self.counts, self.text),
        }
    }
}

struct Stage {
    name: &'static str,
    what: &'static str,
    /// Programs without which it is skipped.
    tools: &'static [&'static str],
    run: fn(&Workspace) -> Result<Outcome>,
}

const STAGES: &[Stage] = &[
    Stage { name: "fmt", what: "formatting", tools: &[], run: fmt },
    Stage {
        name: "layers",
        what: "dependencies point downward, nothing banned is in the lock file",
        tools: &[],
        run: check_layers,
    },
    Stage { name: "clippy", what: "lints", tools: &[], run: clippy },
    Stage { name: "docs", what: "documentation builds without a warning", tools: &[], run: docs },
    Stage {
        name: "unit",
        what: "cargo test of the workspace, simulated disk and fuzz targets included",
        tools: &[],
        run: unit,
    },
    Stage {
        name: "release",
        what: "the binary that users run, which the suites below use",
        tools: &[],
        run: release,
    },
    Stage { name: "mem", what: "idle memory and start time of the release binary", tools: &[], run: memory },
    Stage {
        name: "rocketmq-java",
        what: "Apache's Java client 5.4.0 and 4.9.8",
        tools: interop::TOOLS,
        run: rocketmq_java,
    },
    Stage {
        name: "mqadmin",
        what: "mqadmin prints what it prints against Apache",
        tools: interop::TOOLS,
        run: mqadmin,
    },
    Stage {
        name: "crash",
        what: "kill -9 under load loses nothing that was acknowledged",
        tools: &[],
        run: crash,
    },
    Stage {
        name: "siege",
        what: "thousands of connections, garbage, clients that never read",
        tools: &[],
        run: siege,
    },
];

/// Prints the stages.
pub(crate) fn list() -> Result<bool> {
    for stage in STAGES {
        println!("{:14} {}", stage.name, stage.what);
    }
    Ok(true)
}

/// # Errors
/// No stage has this name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
    if names.contains(&name) { Ok(()) } else { bail!("no stage {name}; there are {}", names.join(", ")) }
}

/// Runs the chosen stages and prints the closing line; `false` when one failed.
pub(crate) fn run_all(options: &Options) -> Result<bool> {
    let workspace = Workspace::load(options.full)?;
    let mut total = Counts::default();
    let mut skips = Vec::new();
    for stage in STAGES.iter().filter(|stage| chosen(options, stage.name)) {
        println!("      {}: {}", stage.name, stage.what);
        let begun = Instant::now();
        let outcome = match missing(stage, options) {
            Some(outcome) => outcome,
            None => (stage.run)(&workspace)
                .unwrap_or_else(|error| Outcome::Failed(Counts::one(false), format!("{error:#}"))),
        };
        show(stage.name, &outcome, begun.elapsed().as_secs_f64());
        total = total + outcome.counts();
        if let Outcome::Skipped(reason) = outcome {
            skips.push(format!("{} was skipped: {reason}", stage.name));
        }
    }
    skips.iter().for_each(|skip| println!("{skip}"));
    println!("{total}");
    Ok(total.failed == 0)
}

fn chosen(options: &Options, name: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|listed| listed == name);
    (options.only.is_empty() || named(&options.only)) && !named(&options.skip)
}

fn missing(stage: &Stage, options: &Options) -> Option<Outcome> {
    let missing: Vec<_> = stage.tools.iter().copied().filter(|tool| !run::on_path(tool)).collect();
    let reason = format!("{} not found; to un-skip: {}", missing.join(", "), interop::INSTALL_TOOLS);
    match (missing.is_empty(), options.no_skips) {
        (true, _) => None,
        (false, true) => Some(Outcome::Failed(Counts::one(false), reason)),
        (false, false) => Some(Outcome::Skipped(reason)),
    }
}

fn show(name: &str, outcome: &Outcome, seconds: f64) {
    let verdict = match outcome {
        Outcome::Passed(..) => "ok",
        Outcome::Failed(..) => "FAIL",
        Outcome::Skipped(_) => "skip",
    };
    let text = outcome.text().trim_end();
    if !text.is_empty() {
        println!("{text}");
    }
    println!("{verdict:5} {name} {seconds:.1} s: {}", outcome.counts());
}

fn fmt(workspace: &Workspace) -> Result<Outcome> {
    check(workspace, "fmt", &["fmt", "--all", "--check"])
}

fn check_layers(workspace: &Workspace) -> Result<Outcome> {
    let violations = layers::violations(&workspace.metadata);
    Ok(match violations.is_empty() {
        true => Outcome::Passed(Counts::one(true), String::new()),
        false => Outcome::Failed(Counts::one(false), violations.join("\n")),
    })
}

fn clippy(workspace: &Workspace) -> Result<Outcome> {
    let args =
        ["clippy", "--locked", "--workspace", "--all-targets", "--profile", "ci", "--", "-D", "warnings"];
    check(workspace, "clippy", &args)
}

fn docs(workspace: &Workspace) -> Result<Outcome> {
    let mut command = workspace.cargo(&["doc", "--locked", "--workspace", "--no-deps", "--profile", "ci"]);
    let ended = run::run(command.env("RUSTDOCFLAGS", "-D warnings"), &workspace.log("docs"))?;
    Ok(checked(ended))
}

fn unit(workspace: &Workspace) -> Result<Outcome> {
    let mut command =
        workspace.cargo(&["test", "--locked", "--workspace", "--profile", "ci", "--no-fail-fast"]);
    let ended = run::run(&mut command, &workspace.log("unit"))?;
    let counts = Counts::of_cargo_test(&ended.output).unwrap_or_default();
    Ok(match ended.success && counts.failed == 0 && counts.passed > 0 {
        true => Outcome::Passed(counts, String::new()),
        // A crate that does not compile has no line of its own.
        false => Outcome::Failed(Counts { failed: counts.failed.max(1), ..counts }, ended.tail()),
    })
}

fn release(workspace: &Workspace) -> Result<Outcome> {
    check(workspace, "release", &["build", "--locked", "--release", "--package", "braidmq"])
}

fn memory(workspace: &Workspace) -> Result<Outcome> {
    let (report, good) = mem::measure(workspace)?;
    Ok(match good {
        true => Outcome::Passed(Counts::one(true), report),
        false => Outcome::Failed(Counts::one(false), report),
    })
}

fn rocketmq_java(workspace: &Workspace) -> Result<Outcome> {
    interop::rocketmq_java(workspace, &Against::Binary(workspace.release_binary()))
}

fn mqadmin(workspace: &Workspace) -> Result<Outcome> {
    interop::mqadmin(workspace, &Against::Binary(workspace.release_binary()), false)
}

fn crash(workspace: &Workspace) -> Result<Outcome> {
    let scaled = |cycles: f64| (cycles * workspace.scale.max(0.2)).ceil().to_string();
    let (sync, not_sync) = (scaled(CRASH_CYCLES.0), scaled(CRASH_CYCLES.1));
    let binary = workspace.release_binary().display().to_string();
    rig(
        workspace,
        "crash",
        &["--binary", &binary, "--cycles", &sync, "--async-cycles", &not_sync, "--seed", CRASH_SEED],
    )
}

fn siege(workspace: &Workspace) -> Result<Outcome> {
    rig(workspace, "siege", &["--binary", &workspace.release_binary().display().to_string()])
}

/// One of our own programs below `tests/`, which closes with its counts.
fn rig(workspace: &Workspace, name: &str, args: &[&str]) -> Result<Outcome> {
    let cargo = ["run", "--locked", "--quiet", "--profile", "ci", "--package", name, "--"];
    let ended = run::run(workspace.cargo(&cargo).args(args), &workspace.log(name))?;
    let counts = Counts::of_rig(&ended.output).unwrap_or_default();
    Ok(match ended.success && counts.failed == 0 && counts.passed > 0 {
        true => Outcome::Passed(counts, last_lines(&ended.output)),
        false => Outcome::Failed(Counts { failed: counts.failed.max(1), ..counts }, ended.tail()),
    })
}

/// A rig's totals, which stand just above its closing line.
fn last_lines(output: &str) -> String {
    let lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(RIG_LINES_SHOWN + 1);
    lines[from..lines.len() - 1].iter().map(|line| format!("  {line}\n")).collect()
}

/// A Cargo command that passes or fails as one check.
fn check(workspace: &Workspace, name: &str, args: &[&str]) -> Result<Outcome> {
    Ok(checked(run::run(&mut workspace.cargo(args), &workspace.log(name))?))
}

fn checked(ended: run::Ended) -> Outcome {
    match ended.success {
        true => Outcome::Passed(Counts::one(true), String::new()),
        false => Outcome::Failed(Counts::one(false), ended.tail()),
    }
}
