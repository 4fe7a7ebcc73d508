//! `braidmq config`: what is in force, where it comes from, whether it may start.

use serde::Serialize;

use crate::cli::ConfigCommand;
use crate::config::{Config, KEYS, Key, Loaded, Origin, Problem, SECTIONS, Sources};
use crate::error::{CliError, CliResult, Code};
use crate::output::Out;

/// One key, as `config print` gives it in JSON.
#[derive(Serialize)]
struct KeyJson {
    key: &'static str,
    value: String,
    default: &'static str,
    origin: String,
    #[serde(rename = "type")]
    kind: &'static str,
    doc: &'static str,
}

#[derive(Serialize)]
struct CheckJson {
    valid: bool,
    warnings: Vec<String>,
}

/// Runs a `config` command.
pub fn run(command: &ConfigCommand, out: &mut Out) -> CliResult {
    match command {
        ConfigCommand::Print { is_default: true, .. } => print_defaults(out),
        ConfigCommand::Print { origin, config, .. } => print(&config.sources(), *origin, out),
        ConfigCommand::Check { file, config } => {
            let mut sources = config.sources();
            if file.is_some() {
                sources.file.clone_from(file);
            }
            check(&sources, out)
        }
    }
}

/// Reads the configuration; all its problems are one error.
pub fn load(sources: &Sources) -> CliResult<Loaded> {
    Loaded::read(sources).map_err(|problems| {
        let text = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n");
        CliError::new(Code::Usage, text)
    })
}

fn print(sources: &Sources, with_origin: bool, out: &mut Out) -> CliResult {
    let loaded = load(sources)?;
    let keys: Vec<KeyJson> = loaded
        .config
        .texts()
        .map(|(key, value)| KeyJson {
            key: key.name,
            value,
            default: key.default,
            origin: loaded.origin(key.name).to_string(),
            kind: key.kind,
            doc: key.doc,
        })
        .collect();
    out.object(&keys, || {
        document(&loaded.config, |key| {
            let origin = loaded.origin(key.name);
            if with_origin { format!("  # {origin}") } else { String::new() }
        })
    })?;
    warn(&loaded);
    Ok(())
}

fn print_defaults(out: &mut Out) -> CliResult {
    let keys: Vec<KeyJson> = KEYS
        .iter()
        .map(|key| KeyJson {
            key: key.name,
            value: key.default.to_owned(),
            default: key.default,
            origin: Origin::Default.to_string(),
            kind: key.kind,
            doc: key.doc,
        })
        .collect();
    out.object(&keys, defaults)?;
    Ok(())
}

fn check(sources: &Sources, out: &mut Out) -> CliResult {
    let loaded = load(sources)?;
    let check = CheckJson { valid: true, warnings: loaded.warnings.clone() };
    out.object(&check, || "The configuration is valid.".to_owned())?;
    warn(&loaded);
    Ok(())
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
}

/// A TOML file that sets every key to its value; `note` follows on each line.
fn document(config: &Config, note: impl Fn(&Key) -> String) -> String {
    let mut out = String::new();
    let mut section = "";
    for (key, value) in config.texts() {
        if key.section() != section {
            section = key.section();
            out += &format!("\n[{section}]\n");
        }
        out += &format!("{} = {}{}\n", key.leaf(), key.shape.toml(&value), note(key));
    }
    out
}

/// Columns of a comment in the printed defaults.
const COMMENT_CHARS: usize = 100;

/// A TOML file with every key at its default, commented out, and what it does.
fn defaults() -> String {
    let mut out = String::from("# Every key at its default.\n");
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            let about = SECTIONS.iter().find(|(name, _)| *name == section).map_or("", |(_, about)| *about);
            out += &format!("\n{}[{section}]\n", comment(about));
        }
        out += &format!("\n{}# {} = {}\n", comment(key.doc), key.leaf(), key.shape.toml(key.default));
    }
    out
}

fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() >= COMMENT_CHARS {
            out += &(std::mem::replace(&mut line, "#".to_owned()) + "\n");
        }
        line += " ";
        line += word;
    }
    out + &line + "\n"
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is printed is a configuration file that gives the same configuration.
    #[test]
    fn printed_configurations_are_read_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sets = vec!["store.dir=a \"quoted\" \\ dir".to_owned(), "listen.rocketmq_fast=off".to_owned()];
        let first = Loaded::read(&Sources { sets, ..Sources::default() }).expect("valid");
        for (name, content) in [
            ("printed.toml", document(&first.config, |_| "  # note".to_owned())),
            ("defaults.toml", defaults().replace("\n# ", "\n#")),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).expect("the file is written");
            let again = Loaded::read(&Sources { file: Some(path), ..Sources::default() }).expect("valid");
            let expected = if name == "printed.toml" { first.config.clone() } else { Config::default() };
            assert_eq!(again.config, expected, "{name}");
        }
    }

    #[test]
    fn the_default_file_sets_every_key_when_its_comment_signs_are_taken_away() {
        let uncommented: String = defaults()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if KEYS.iter().any(|key| rest.starts_with(&format!("{} = ", key.leaf()))) => {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("all.toml");
        fs::write(&path, uncommented).expect("the file is written");
        let loaded = Loaded::read(&Sources { file: Some(path), ..Sources::default() }).expect("valid");
        assert_eq!(loaded.config, Config::default());
        for key in KEYS {
            assert!(matches!(loaded.origin(key.name), Origin::File(_)), "{}", key.name);
        }
    }
}
