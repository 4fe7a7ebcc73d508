//! A started broker and calls of the binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test, without anything from the environment that it would listen to.
pub fn braidmq() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_braidmq"));
    command.env_remove("BRAIDMQ_SERVER").env_remove("BRAIDMQ_MUTANT").stdin(Stdio::null());
    command
}

/// What a call gave.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        Outcome {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Standard output of a call that must have worked.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// The error document of a call with `-o json` that must have failed.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert_ne!(self.code, 0, "{self:?}");
        let document: Value =
            serde_json::from_str(self.err.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        document["error"].clone()
    }
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Outcome {
    Outcome::of(braidmq().args(args).output().expect("it starts"))
}

/// A broker on free ports. Dropping it kills it.
pub struct Broker {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it said when it was ready.
    pub banner: Value,
    dir: Option<TempDir>,
}

impl Broker {
    /// Starts one in a new directory.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut broker = Self::start_in(dir.path(), &[]);
        broker.dir = Some(dir);
        broker
    }

    /// Starts one with its data in `dir`, and waits until it serves.
    pub fn start_in(dir: &Path, args: &[&str]) -> Self {
        let mut child = Self::command(dir, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("readable");
        if line.is_empty() {
            let mut err = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut err).expect("readable");
            panic!("the broker did not start: {err}");
        }
        let banner = serde_json::from_str(&line).expect("JSON");
        // Nobody reads its log; it must not be held up by that.
        let mut stderr = child.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Broker { child, stdout, banner, dir: None }
    }

    /// The command line of a broker on free ports with small files.
    pub fn command(dir: &Path, args: &[&str]) -> Command {
        let mut command = braidmq();
        command.arg("start").arg("-o").arg("json").arg("--data").arg(dir.join("data"));
        for set in [
            "listen.nameserver=127.0.0.1:0",
            "listen.rocketmq=127.0.0.1:0",
            "listen.kafka=127.0.0.1:0",
            "store.file_bytes=1 MiB",
        ] {
            command.arg("--set").arg(set);
        }
        command.args(args);
        command
    }

    /// The directory that holds its data directory.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("made by start").path()
    }

    /// The address of a listener.
    pub fn listener(&self, name: &str) -> &str {
        self.banner["listeners"][name].as_str().expect("an address")
    }

    /// A call that talks to this broker.
    pub fn call(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command_for(args).output().expect("it starts"))
    }

    /// The same with something on standard input.
    pub fn call_with(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command_for(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // It may have ended at the first message that was refused.
            let _ = stdin.write_all(&input);
        });
        let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
        writer.join().expect("the writer ends");
        outcome
    }

    /// The command line of a call.
    pub fn command_for(&self, args: &[&str]) -> Command {
        let mut command = braidmq();
        command.args(args).arg("--server").arg(self.listener("nameserver"));
        command
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // Until it is waited for, the process is there to be signalled.
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("readable");
        assert_eq!(rest, "", "nothing but the banner is printed");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
