//! The suites of foreign clients: Maven projects below `tests/interop`, run against our binary or against Apache itself.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cargo::Workspace;
use crate::counts::Counts;
use crate::run::{self, Running};
use crate::stage::{Outcome, Report};

/// The official Java client at its newest and as most of its users have it.
const CLIENT_VERSIONS: &[&str] = &["5.4.0", "4.9.8"];
/// Kafka's Java client as it is, and as those have it who have not touched it for years; the latter in full runs.
const KAFKA_CLIENT_VERSION: &str = "4.3.1";
const KAFKA_CLIENT_VERSION_OLD: &str = "2.8.2";
/// What the suites need beside this repository.
pub(crate) const TOOLS: &[&str] = &["java", "javac", "mvn"];
/// How to get the tools.
pub(crate) const INSTALL_TOOLS: &str = "apt-get install openjdk-17-jdk-headless maven";

/// Which broker a suite starts.
#[derive(Clone)]
pub(crate) enum Against {
    Binary(PathBuf),
    /// The jars of Apache RocketMQ are in this directory.
    Apache(PathBuf),
    /// The jars of Apache Kafka are in this directory.
    ApacheKafka(PathBuf),
}

impl Against {
    fn property(&self) -> String {
        match self {
            Self::Binary(path) => format!("-Dbraidmq.binary={}", path.display()),
            Self::Apache(lib) => format!("-Dapache.lib={}", lib.display()),
            Self::ApacheKafka(lib) => format!("-Dkafka.lib={}", lib.display()),
        }
    }
}

/// The JUnit stories, with both client versions at the same time against two brokers.
pub(crate) fn rocketmq_java(workspace: &Workspace, against: &Against) -> Result<Outcome> {
    // Compiled one after the other: that is when Maven fetches, and two of them would fetch the same things.
    for version in CLIENT_VERSIONS {
        let name = format!("rocketmq-java-{version}");
        let compile = maven(workspace, "rocketmq-java", &name, &["test-compile", &client(version)]);
        let compiled = run::run(&mut { compile }, &workspace.log(&name))?;
        if !compiled.success {
            return Ok(Outcome::Failed(Counts::one(false), compiled.tail()));
        }
    }
    let mut suites = Vec::new();
    for version in CLIENT_VERSIONS {
        let name = format!("rocketmq-java-{version}");
        let mut test =
            maven(workspace, "rocketmq-java", &name, &["test", &client(version), &against.property()]);
        suites.push((*version, run::start(&mut test, &workspace.log(&name))?));
    }
    let mut report = Report::default();
    for (version, suite) in suites {
        report.add(&format!("client {version}"), finish(suite)?);
    }
    Ok(report.outcome())
}

/// mqadmin's commands compared with what they print against Apache; with `record` that is written anew.
pub(crate) fn mqadmin(workspace: &Workspace, against: &Against, record: bool) -> Result<Outcome> {
    let record = format!("-Dmqadmin.record={record}");
    let mut test = maven(workspace, "mqadmin", "mqadmin", &["test", &against.property(), &record]);
    finish(run::start(&mut test, &workspace.log("mqadmin"))?)
}

/// Kafka's Java client: the newest version, in full runs an old one too.
pub(crate) fn kafka_java(workspace: &Workspace, against: &Against) -> Result<Outcome> {
    let old = workspace.full.then_some(KAFKA_CLIENT_VERSION_OLD);
    let mut report = Report::default();
    for version in [KAFKA_CLIENT_VERSION].into_iter().chain(old) {
        let args = ["test", &client(version), &against.property(), &scale(workspace)];
        let name = format!("kafka-java-{version}");
        let suite = run_suite(workspace, "kafka-java", &name, &args)?;
        report.add(&format!("client {version}"), suite);
    }
    Ok(report.outcome())
}

/// Both kinds of clients on one broker.
pub(crate) fn kafka_crossing(workspace: &Workspace, binary: PathBuf) -> Result<Outcome> {
    let args = ["test", &Against::Binary(binary).property(), &scale(workspace)];
    run_suite(workspace, "kafka-crossing", "kafka-crossing", &args)
}

/// The programs that come with Apache Kafka.
pub(crate) fn kafka_tools(workspace: &Workspace, against: &Against) -> Result<Outcome> {
    let args = ["test", &against.property(), &scale(workspace)];
    run_suite(workspace, "kafka-tools", "kafka-tools", &args)
}

/// Raw requests, sent to our binary and to Apache Kafka.
pub(crate) fn kafka_diff(workspace: &Workspace, binary: PathBuf) -> Result<Outcome> {
    let reference = Against::ApacheKafka(kafka_lib(workspace)?);
    let args = ["test", &Against::Binary(binary).property(), &reference.property()];
    run_suite(workspace, "kafka-diff", "kafka-diff", &args)
}

fn run_suite(workspace: &Workspace, project: &str, name: &str, args: &[&str]) -> Result<Outcome> {
    finish(run::start(&mut maven(workspace, project, name, args), &workspace.log(name))?)
}

fn scale(workspace: &Workspace) -> String {
    format!("-Dscale={}", workspace.scale)
}

fn client(version: &str) -> String {
    format!("-Dclient.version={version}")
}

fn maven(workspace: &Workspace, project: &str, build: &str, args: &[&str]) -> Command {
    let mut command = Command::new("mvn");
    command
        .current_dir(workspace.root.join("tests/interop").join(project))
        .args(["--batch-mode", "--no-transfer-progress"])
        .arg(format!("-Dbuild.dir={}", workspace.target.join("interop").join(build).display()))
        .arg(format!("-Dmaven.repo.local={}", workspace.target.join("interop/maven").display()))
        .args(args);
    command
}

fn finish(suite: Running) -> Result<Outcome> {
    let ended = suite.end()?;
    let Some(counts) = Counts::of_surefire(&ended.output) else {
        return Ok(Outcome::Failed(Counts::one(false), ended.tail()));
    };
    if ended.success && counts.failed == 0 && counts.passed > 0 {
        let facts = ended.output.lines().filter(|line| is_fact(line));
        return Ok(Outcome::Passed(counts, facts.map(|line| format!("{line}\n")).collect()));
    }
    let said: Vec<_> = ended.output.lines().take_while(|line| !is_maven_epilogue(line)).collect();
    let said = said.into_iter().filter(|line| !line.starts_with("[INFO]") && !is_foreign_frame(line));
    Ok(Outcome::Failed(counts, run::Ended { output: said.collect::<Vec<_>>().join("\n"), ..ended }.tail()))
}

/// The stories print what they measured indented by two blanks.
fn is_fact(line: &str) -> bool {
    line.starts_with("  ") && line.contains(": ")
}

/// A line of a stack trace that lies in neither the suites nor the client.
fn is_foreign_frame(line: &str) -> bool {
    line.trim_start().starts_with("at java.") || line.trim_start().starts_with("at org.junit.")
}

/// After Surefire's summary Maven says at length that tests have failed.
fn is_maven_epilogue(line: &str) -> bool {
    line.starts_with("[ERROR] Failed to execute goal")
}

/// Runs the suites against Apache's own broker, which proves the suites.
pub(crate) fn against_apache(record: bool) -> Result<bool> {
    ensure!(TOOLS.iter().all(run::on_path), "this needs {}: {INSTALL_TOOLS}", TOOLS.join(", "));
    let workspace = Workspace::load(false)?;
    let against = Against::Apache(apache_lib(&workspace)?);
    let mut report = Report::default();
    report.add("mqadmin", mqadmin(&workspace, &against, record)?);
    report.add("rocketmq-java", rocketmq_java(&workspace, &against)?);
    let kafka = Against::ApacheKafka(kafka_lib(&workspace)?);
    report.add("kafka-java", kafka_java(&workspace, &kafka)?);
    report.add("kafka-tools", kafka_tools(&workspace, &kafka)?);
    let outcome = report.outcome();
    println!("{}\n{}", outcome.text(), outcome.counts());
    Ok(outcome.counts().failed == 0)
}

/// Copies the jars of Apache RocketMQ's name server and broker to where the suites start them from.
fn apache_lib(workspace: &Workspace) -> Result<PathBuf> {
    copy_jars(workspace, "apache")
}

/// The same for Apache Kafka's broker.
fn kafka_lib(workspace: &Workspace) -> Result<PathBuf> {
    copy_jars(workspace, "apache-kafka")
}

fn copy_jars(workspace: &Workspace, project: &str) -> Result<PathBuf> {
    let lib = workspace.target.join("interop").join(project).join("lib");
    let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
    let output = format!("-DoutputDirectory={}", lib.display());
    let mut copy = maven(workspace, project, project, &[goal, "-DincludeScope=runtime", &output]);
    let copied = run::run(&mut copy, &workspace.log(project))?;
    ensure!(copied.success, "{}", copied.tail());
    Ok(lib)
}
