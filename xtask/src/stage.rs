//! The stages of `cargo xtask test`, in the order in which they run: what is quick to fail comes first.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo::Workspace;
use crate::counts::Counts;
use crate::interop::{self, Against};
use crate::polyglot::{self, GO, KCAT, NODE, PYTHON, Tools};
use crate::{layers, mem, run};

/// A run never counts less than a fifth of what a full one does.
const SCALE_MIN: f64 = 0.2;
/// Kills of a full run, by the mode in which the broker acknowledges.
const CRASH_CYCLES_SYNC: f64 = 80.0;
const CRASH_CYCLES_ASYNC: f64 = 20.0;
/// Kills within which a planted defect has to show.
const MUTANT_CYCLES_MAX: &str = "10";
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
    needs: Needs,
    run: fn(&Workspace) -> Result<Outcome>,
}

/// What a stage uses beside the sources and the Rust toolchain.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// The release binary.
    Binary,
    /// The release binary, a JDK and Maven.
    BinaryAndJava,
    /// The release binary and what these clients run with.
    BinaryAnd(&'static Tools),
}

impl Stage {
    const fn new(
        name: &'static str,
        what: &'static str,
        needs: Needs,
        run: fn(&Workspace) -> Result<Outcome>,
    ) -> Self {
        Self { name, what, needs, run }
    }
}

/// Builds what [`Needs::Binary`] stands for.
const RELEASE: &str = "release";

const STAGES: &[Stage] = &[
    Stage::new("fmt", "formatting", Needs::Nothing, fmt),
    Stage::new("layers", "dependencies point downward, none is banned", Needs::Nothing, check_layers),
    Stage::new("clippy", "lints", Needs::Nothing, clippy),
    Stage::new("docs", "the documentation builds without a warning", Needs::Nothing, docs),
    Stage::new("unit", "cargo test: units, models, simulated disk, fuzzing", Needs::Nothing, unit),
    Stage::new("mutants", "the simulated disk catches planted defects", Needs::Nothing, mutants),
    Stage::new(RELEASE, "the binary that users run", Needs::Nothing, release),
    Stage::new("mem", "idle memory and start time", Needs::Binary, memory),
    Stage::new("rocketmq-java", "Apache's Java client, two versions", Needs::BinaryAndJava, rocketmq_java),
    Stage::new("mqadmin", "mqadmin prints what it prints against Apache", Needs::BinaryAndJava, mqadmin),
    Stage::new("kafka-java", "Kafka's Java client", Needs::BinaryAndJava, kafka_java),
    Stage::new(
        "kafka-crossing",
        "one protocol's clients read the other's messages",
        Needs::BinaryAndJava,
        kafka_crossing,
    ),
    Stage::new("kafka-tools", "the programs that come with Kafka", Needs::BinaryAndJava, kafka_tools),
    Stage::new("kafka-diff", "raw answers compared with Apache Kafka's", Needs::BinaryAndJava, kafka_diff),
    Stage::new(
        "kafka-python",
        "confluent-kafka and kafka-python",
        Needs::BinaryAnd(&PYTHON),
        polyglot::kafka_python,
    ),
    Stage::new("kafka-go", "franz-go", Needs::BinaryAnd(&GO), polyglot::kafka_go),
    Stage::new("kafka-js", "KafkaJS", Needs::BinaryAnd(&NODE), polyglot::kafka_js),
    Stage::new("kcat", "Debian's kcat", Needs::BinaryAnd(&KCAT), polyglot::kcat),
    Stage::new("crash", "kill -9 loses nothing that was acknowledged", Needs::Binary, crash),
    Stage::new("crash-mutant", "the crash rig catches a planted defect", Needs::Nothing, crash_mutant),
    Stage::new("siege", "thousands of connections, garbage, deaf clients", Needs::Binary, siege),
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

/// Whether a stage is asked for, or builds the binary for one that is.
fn chosen(options: &Options, name: &str) -> bool {
    let named = |list: &[String], name| list.iter().any(|listed| listed == name);
    let asked = |name| (options.only.is_empty() || named(&options.only, name)) && !named(&options.skip, name);
    let used = STAGES.iter().any(|stage| !matches!(stage.needs, Needs::Nothing) && asked(stage.name));
    asked(name) || (name == RELEASE && used && !named(&options.skip, RELEASE))
}

/// How a stage ends that lacks a program.
fn missing(stage: &Stage, options: &Options) -> Option<Outcome> {
    let (missing, install) = match stage.needs {
        Needs::Nothing | Needs::Binary => return None,
        Needs::BinaryAndJava => {
            let absent = interop::TOOLS.iter().copied().filter(|tool| !run::on_path(tool)).collect();
            (absent, interop::INSTALL_TOOLS)
        }
        Needs::BinaryAnd(tools) => (tools.absent(), tools.install),
    };
    let reason = format!("{} not found; to un-skip: {install}", missing.join(", "));
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
    cargo_test(workspace, "unit", &["--workspace"])
}

fn mutants(workspace: &Workspace) -> Result<Outcome> {
    let args = ["--package", "braid-store", "--features", "mutants", "--test", "mutants"];
    cargo_test(workspace, "mutants", &args)
}

fn cargo_test(workspace: &Workspace, name: &str, args: &[&str]) -> Result<Outcome> {
    let mut command = workspace.cargo(&["test", "--locked", "--profile", "ci", "--no-fail-fast"]);
    let ended = run::run(command.args(args), &workspace.log(name))?;
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

fn kafka_java(workspace: &Workspace) -> Result<Outcome> {
    interop::kafka_java(workspace, &Against::Binary(workspace.release_binary()))
}

fn kafka_crossing(workspace: &Workspace) -> Result<Outcome> {
    interop::kafka_crossing(workspace, workspace.release_binary())
}

fn kafka_tools(workspace: &Workspace) -> Result<Outcome> {
    interop::kafka_tools(workspace, &Against::Binary(workspace.release_binary()))
}

fn kafka_diff(workspace: &Workspace) -> Result<Outcome> {
    interop::kafka_diff(workspace, workspace.release_binary())
}

fn crash(workspace: &Workspace) -> Result<Outcome> {
    let scaled = |cycles: f64| (cycles * workspace.scale.max(SCALE_MIN)).ceil().to_string();
    let args = ["--cycles", &scaled(CRASH_CYCLES_SYNC), "--async-cycles", &scaled(CRASH_CYCLES_ASYNC)];
    crash_rig(workspace, "crash", &workspace.release_binary(), &args)
}

/// A broker that acknowledges before it has written: the rig passes when it finds that out. The mode is `async`, since a
/// broker that has to flush writes what it held back before it answers.
fn crash_mutant(workspace: &Workspace) -> Result<Outcome> {
    let args = ["build", "--locked", "--profile", "ci", "--package", "braidmq", "--features", "mutants"];
    let built = run::run(&mut workspace.cargo(&args), &workspace.log("crash-mutant"))?;
    if !built.success {
        return Ok(checked(built));
    }
    let args = ["--cycles", "0", "--async-cycles", MUTANT_CYCLES_MAX, "--mutant", "ack-before-write"];
    crash_rig(workspace, "crash-mutant", &workspace.mutant_binary(), &args)
}

fn crash_rig(workspace: &Workspace, name: &str, binary: &Path, args: &[&str]) -> Result<Outcome> {
    let binary = binary.display().to_string();
    rig(workspace, name, "crash", &[&["--binary", &binary, "--seed", CRASH_SEED], args].concat())
}

fn siege(workspace: &Workspace) -> Result<Outcome> {
    rig(workspace, "siege", "siege", &["--binary", &workspace.release_binary().display().to_string()])
}

/// One of our own programs below `tests/`, which closes with its counts.
fn rig(workspace: &Workspace, name: &str, package: &str, args: &[&str]) -> Result<Outcome> {
    let cargo = ["run", "--locked", "--quiet", "--profile", "ci", "--package", package, "--"];
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
