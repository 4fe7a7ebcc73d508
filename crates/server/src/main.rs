//! The binary `braidmq`: starts a broker, and talks to one.
//!
//! * [`config`]: one file, `--set` and flags become a typed tree.
//! * [`start`]: wires store, broker and edge together and ends them in order.
//! * [`client`], [`commands`]: everything that speaks the RocketMQ protocol to a running server, also to Apache's.
//! * [`output`], [`error`]: tables, JSON and exit codes of all commands.

#![allow(unreachable_pub, reason = "a binary exports nothing; `pub` says what a module offers to the others")]

mod cli;
mod client;
mod commands;
mod config;
mod error;
mod output;
mod start;
mod time;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::{Cli, Command};
use client::Client;
use error::{CliError, CliResult, Code};
use output::{Format, Out};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let format = cli.global.output;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe => ExitCode::SUCCESS,
        Err(error) => fail(&error, format),
    }
}

/// Help and version are no errors; everything else is one, in JSON if that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().any(|arg| arg.ends_with("json") || arg.ends_with("jsonl"));
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let message = text.trim_start_matches("error: ").trim_end().to_owned();
        return fail(&CliError::new(Code::Usage, message), Format::Json);
    }
    // Nobody is left to tell that the help text could not be printed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Code::Usage.exit() } else { 0 })
}

fn fail(error: &CliError, format: Format) -> ExitCode {
    match format {
        Format::Table => eprintln!("{error}"),
        Format::Json | Format::Jsonl => eprintln!("{}", error.json()),
    }
    ExitCode::from(error.code.exit())
}

fn run(cli: Cli) -> CliResult {
    let Cli { global, start, command } = cli;
    if command.is_some() && start.are_given() {
        return Err(CliError::new(
            Code::Usage,
            "--config, --set, --data and --ready-file stand before the command",
        )
        .hint("put them behind it, if the command knows them"));
    }
    let mut out = Out::new(global.output);
    let out = &mut out;
    let connect = || Client::new(&global.server, Duration::from_secs(global.timeout));
    match command {
        None => start::run(&start, out),
        Some(Command::Start(args)) => start::run(&args, out),
        Some(Command::Produce(args)) => commands::produce::run(&args, &mut connect()?, out),
        Some(Command::Consume(args)) => commands::consume::run(&args, &mut connect()?, out),
        Some(Command::Topic(command)) => commands::topic::run(&command, &mut connect()?, out),
        Some(Command::Group(command)) => commands::group::run(&command, &mut connect()?, out),
        Some(Command::Message(command)) => commands::message::run(&command, &mut connect()?, out),
        Some(Command::Health(args)) => commands::health::run(&args, &mut connect()?, out),
        Some(Command::Store(command)) => commands::store::run(&command, out),
        Some(Command::Config(command)) => commands::config::run(&command, out),
        Some(Command::Bench(args)) => commands::bench::run(&args, out),
        Some(Command::Completion { shell }) => commands::completion::run(shell, out),
    }
}
