//! `braidmq bench`: the broker beside a server that does nothing but append.

use braid_bench::floor::{self, Mode};
use braid_bench::stats::Spread;
use braid_bench::{BenchError, Options, RowReport};

use crate::cli::BenchArgs;
use crate::error::{CliError, CliResult, Code};
use crate::output::{Format, Out, Row};

impl Row for RowReport {
    const COLUMNS: &'static [&'static str] = &[
        "ROW",
        "WORK",
        "ACK",
        "CPU/MSG",
        "FLOOR",
        "RATIO",
        "TARGET",
        "MSG/S",
        "FLOOR",
        "RATIO",
        "TARGET",
        "P50",
        "FLOOR",
        "RATIO",
        "TARGET",
        "P99",
        "RSS",
        "WRITTEN/MSG",
        "SWITCHES/MSG",
        "READ BACK",
        "CALM",
        "VERDICT",
    ];

    fn cells(&self) -> Vec<String> {
        let us = |spread: Option<Spread>| spread.map_or("-".to_owned(), |s| format!("{:.2} us", s.median));
        let rate = |spread: Option<Spread>| spread.map_or("-".to_owned(), |s| format!("{:.0}", s.median));
        let ratio = |spread: Option<Spread>| {
            spread.map_or("-".to_owned(), |s| format!("{:.2} [{:.2}..{:.2}]", s.median, s.min, s.max))
        };
        let each = |spread: Option<Spread>, digits: usize| {
            spread.map_or("-".to_owned(), |s| format!("{:.digits$}", s.median))
        };
        let target =
            |sign: &str, target: Option<f64>| target.map_or("-".to_owned(), |t| format!("{sign} {t}"));
        let (ours, floor) = (&self.ours, &self.floor_figures);
        let mut verdict = self.verdict.name().to_owned();
        if self.generator_bound {
            verdict += ", generator bound";
        }
        if self.one_core {
            verdict += ", one core for both";
        }
        vec![
            self.row.to_owned(),
            self.about.to_owned(),
            self.durability.to_owned(),
            us(ours.cpu_us),
            us(floor.cpu_us),
            ratio(self.cpu_ratio),
            target("<=", self.targets[0]),
            rate(ours.messages_per_second),
            rate(floor.messages_per_second),
            ratio(self.rate_ratio),
            target(">=", self.targets[1]),
            us(ours.p50_us),
            us(floor.p50_us),
            ratio(self.p50_ratio),
            target("<=", self.targets[2]),
            us(ours.p99_us),
            format!("{:.1} MiB", ours.rss_bytes as f64 / f64::from(1 << 20)),
            each(ours.written_bytes, 0),
            each(ours.switches, 3),
            self.verified.to_string(),
            format!("{}/{}", self.calm_groups, self.groups.len()),
            verdict,
        ]
    }
}

/// Runs `bench`, or the floor for one that runs.
pub fn run(args: &BenchArgs, out: &mut Out) -> CliResult {
    if let Some(mode) = &args.floor {
        return serve_floor(mode, args);
    }
    let options = Options {
        rows: args.rows.clone(),
        seconds: args.seconds,
        repetitions: args.repetitions as usize,
        dir: args.dir.clone(),
        sets: args.sets.clone(),
        floor_without_log: args.floor_without_log,
    };
    if out.format() == Format::Table {
        let mut rows = Vec::new();
        braid_bench::run(&options, &mut |row| {
            eprintln!("{} done", row.row);
            rows.push(row);
            Ok(())
        })
        .map_err(failed)?;
        out.list(&rows)?;
    } else {
        let mut stream = out.stream();
        let printed = |source| BenchError::Io { what: "standard output".to_owned(), source };
        let print = &mut |row: RowReport| {
            stream.row(&row).map_err(printed)?;
            stream.flush().map_err(printed)
        };
        braid_bench::run(&options, print).map_err(failed)?;
        stream.end()?;
    }
    Ok(())
}

fn serve_floor(mode: &str, args: &BenchArgs) -> CliResult {
    let mode = Mode::from_name(mode)
        .ok_or_else(|| CliError::new(Code::Usage, format!("--floor {mode}: there is no such floor")))?;
    let ready_file = args.floor_ready_file.clone().unwrap_or_else(|| args.dir.join("ready.json"));
    floor::serve(&floor::Options { mode, dir: args.dir.clone(), ready_file, log_bytes: args.floor_log_bytes })
        .map_err(failed)
}

fn failed(error: BenchError) -> CliError {
    let code = match &error {
        BenchError::NoRow { .. } => Code::Usage,
        _ => Code::Failure,
    };
    CliError::new(code, error.to_string())
}
