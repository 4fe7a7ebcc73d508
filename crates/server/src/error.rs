//! How a command fails: what failed, why, what to do, and an exit code that a script can act on.

use std::fmt;
use std::io;

use serde_json::json;

/// Why a command did not do what it was asked, as exit codes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 1: anything that has no code of its own.
    Failure,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: the topic, group, message or directory does not exist.
    NotFound,
    /// 4: it exists already, or its state forbids the change.
    Conflict,
    /// 5: the server does not allow it.
    Unauthorised,
    /// 6: the server can not be reached, or does not answer.
    Unreachable,
    /// 7: part of it was done.
    Partial,
}

impl Code {
    /// The process's exit code.
    pub fn exit(self) -> u8 {
        match self {
            Code::Failure => 1,
            Code::Usage => 2,
            Code::NotFound => 3,
            Code::Conflict => 4,
            Code::Unauthorised => 5,
            Code::Unreachable => 6,
            Code::Partial => 7,
        }
    }

    /// The code's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Code::Failure => "failure",
            Code::Usage => "usage",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::Unauthorised => "unauthorised",
            Code::Unreachable => "unreachable",
            Code::Partial => "partial",
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub code: Code,
    /// What failed and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whoever read the results has enough of them: nothing to complain about.
    pub is_closed_pipe: bool,
}

/// What commands give.
pub type CliResult<T = ()> = Result<T, CliError>;

impl CliError {
    /// An error without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        CliError { code, message: message.into(), hint: None, is_closed_pipe: false }
    }

    /// Says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Takes the hint away, where it would be nonsense.
    pub fn without_hint(mut self) -> Self {
        self.hint = None;
        self
    }

    /// Says what was being done when it failed.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The error as one JSON document.
    pub fn json(&self) -> String {
        json!({"error": {"code": self.code.name(), "message": self.message, "hint": self.hint}}).to_string()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Standard output went away or is full.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        CliError { is_closed_pipe, ..CliError::new(Code::Failure, format!("standard output: {error}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sentences_for_people_and_a_document_for_programs() {
        let error = CliError::new(Code::NotFound, "topic T does not exist").hint("make it");
        assert_eq!(error.to_string(), "error: topic T does not exist\n  hint: make it");
        assert_eq!(
            error.json(),
            r#"{"error":{"code":"not_found","hint":"make it","message":"topic T does not exist"}}"#
        );
        assert_eq!(error.context("delete").message, "delete: topic T does not exist");
    }
}
