//! The rig's command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Shown when the arguments can't be used.
pub(crate) const USAGE: &str = "\
usage: crash --binary PATH [--cycles N] [--async-cycles M] [--seed S] [--data DIR] [--mutant NAME]
  --binary PATH       the braidmq binary under test
  --cycles N          cycles in mode sync (80)
  --async-cycles M    cycles in mode async, behind them (20)
  --seed S            decides every kill (1)
  --data DIR          a directory to keep, empty or from an earlier run that is not to be judged (a temporary one)
  --mutant NAME       plant a defect and pass when it is found";

/// What the rig is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) binary: PathBuf,
    pub(crate) cycles: u32,
    pub(crate) async_cycles: u32,
    pub(crate) seed: u64,
    pub(crate) data: Option<PathBuf>,
    pub(crate) mutant: Option<String>,
}

impl Arguments {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Arguments {
            binary: PathBuf::new(),
            cycles: 80,
            async_cycles: 20,
            seed: 1,
            data: None,
            mutant: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            let number =
                || value.parse::<u64>().with_context(|| format!("{name} needs a number, not '{value}'"));
            match name.as_str() {
                "--binary" => parsed.binary = PathBuf::from(&value),
                "--cycles" => parsed.cycles = number()?.try_into()?,
                "--async-cycles" => parsed.async_cycles = number()?.try_into()?,
                "--seed" => parsed.seed = number()?,
                "--data" => parsed.data = Some(PathBuf::from(&value)),
                "--mutant" => parsed.mutant = Some(value),
                _ => bail!("unknown argument {name}"),
            }
        }
        if parsed.binary.as_os_str().is_empty() {
            bail!("--binary is missing");
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let parse = |line: &str| Arguments::parse(line.split_whitespace().map(str::to_owned));
        let all = parse("--binary b --cycles 3 --async-cycles 0 --seed 9 --data d --mutant m").unwrap();
        assert_eq!((all.cycles, all.async_cycles, all.seed, all.mutant.as_deref()), (3, 0, 9, Some("m")));
        for (line, error) in [
            ("", "--binary is missing"),
            ("--binary", "--binary needs a value"),
            ("--binary b --cycles x", "--cycles needs a number, not 'x'"),
            ("--binary b --what 1", "unknown argument --what"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), error);
        }
    }
}
