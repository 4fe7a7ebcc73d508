//! The project's own tasks: `cargo xtask test`, `cargo xtask mem`, `cargo xtask bench`, `cargo xtask oracle`.
//!
//! A *stage* is one thing that can pass or fail (formatting, a suite, a rig); `test` runs the stages in order, shows a
//! stage's output when it failed and its summary when it passed, and ends with one line of counts.

mod bench;
mod broker;
mod cargo;
mod counts;
mod interop;
mod layers;
mod mem;
mod polyglot;
mod run;
mod stage;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use stage::Options;

const USAGE: &str = "\
cargo xtask test [options]   run every test that this machine can run
    --full           the long counts (seeds, kills, fuzzing) and older clients: BRAIDMQ_TEST_SCALE=1.0 instead of 0.2
    --only STAGE     run this stage only (repeatable)
    --skip STAGE     leave this stage out (repeatable)
    --no-skips       a suite that can't run, because a tool is missing, has failed
    --list           print the stages and stop
cargo xtask mem              resident memory and start time of the release binary on an empty directory
cargo xtask bench [options]  build the release binary and run `braidmq bench` with these options (without: about three minutes)
cargo xtask oracle [options] run the interop suites against Apache RocketMQ and Apache Kafka
    --record         and record what mqadmin prints there as what it has to print here";

fn main() -> ExitCode {
    match task() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the task's checks hold; an error means that they could not be made.
fn task() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    match task.as_deref() {
        Some("test") => {
            let options = test_options(args)?;
            if options.list { stage::list() } else { stage::run_all(&options) }
        }
        Some("mem") => mem::print(),
        Some("bench") => bench::run(args),
        Some("oracle") => match (args.next().as_deref(), args.next()) {
            (None, None) => interop::against_apache(false),
            (Some("--record"), None) => interop::against_apache(true),
            _ => bail!("oracle takes --record or nothing\n\n{USAGE}"),
        },
        _ => bail!("which task?\n\n{USAGE}"),
    }
}

fn test_options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut stage_name = || -> Result<String> {
            let name = args.next().with_context(|| format!("{arg} needs a stage"))?;
            stage::check_name(&name)?;
            Ok(name)
        };
        match arg.as_str() {
            "--full" => options.full = true,
            "--no-skips" => options.no_skips = true,
            "--list" => options.list = true,
            "--only" => options.only.push(stage_name()?),
            "--skip" => options.skip.push(stage_name()?),
            _ => bail!("unknown option {arg}\n\n{USAGE}"),
        }
    }
    Ok(options)
}
