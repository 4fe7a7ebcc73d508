//! The suites of Kafka clients that are not Java: pytest, Go and Node projects below `tests/interop`, each against a broker that
//! is started for it. `BRAIDMQ_INTEROP_KAFKA=HOST:PORT` points them at one that runs already, which proves the suites.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::cargo::{SCALE_VARIABLE, Workspace};
use crate::counts::Counts;
use crate::run::{self, Ended, Running};
use crate::stage::{Outcome, Report};

/// A broker that runs already, instead of one of our own.
const FOREIGN_VARIABLE: &str = "BRAIDMQ_INTEROP_KAFKA";
/// Groups of the suites form at once, as they do in Kafka's own tests.
const SETTINGS: &[&str] = &["kafka.initial_rebalance_delay_ms=0"];

/// A run of pytest that takes longer hangs: it knows no limit of its own, as Go's and Node's runners do.
const PYTEST_MAX: Duration = Duration::from_secs(400);

/// Programs that a suite needs, and how to get them. Of several names for one program any will do.
pub(crate) struct Tools {
    pub(crate) programs: &'static [&'static [&'static str]],
    pub(crate) install: &'static str,
}

impl Tools {
    /// The programs that are not on the path.
    pub(crate) fn absent(&self) -> Vec<&'static str> {
        let is_absent = |names: &&[&str]| !names.iter().any(run::on_path);
        self.programs.iter().copied().filter(|names| is_absent(names)).map(|names| names[0]).collect()
    }
}

pub(crate) const PYTHON: Tools =
    Tools { programs: &[&["python3"]], install: "apt-get install python3 python3-venv" };
pub(crate) const GO: Tools = Tools { programs: &[&["go"]], install: "install Go 1.26 or newer" };
pub(crate) const NODE: Tools =
    Tools { programs: &[&["node"], &["npm"]], install: "install Node.js 20 or newer" };
pub(crate) const KCAT: Tools = Tools {
    programs: &[&["kcat", "kafkacat"], &["python3"]],
    install: "apt-get install kcat python3 python3-venv",
};

/// The newest Python for which confluent-kafka 1.9 has a wheel, and the oldest that runs the suite.
const OLD_PYTHONS: &[&str] = &["3.10", "3.9"];
/// The Go client, whose own tests are run against us in the version of the suite.
const FRANZ_GO: &str = "github.com/twmb/franz-go";
/// Its tests of transactions, which we do not have, and one that looks for the topic in which Kafka keeps its groups. (Those of
/// other groups than classic ones look for them first.)
const FRANZ_GO_SKIPPED: &str = "^(TestTxnEtl|TestConsumeRegex)$";
/// How many records its chains of groups copy.
const FRANZ_GO_RECORDS: &str = "20000";

/// The broker under test.
struct Target {
    address: String,
    /// The binary, for tests that kill a broker of their own.
    binary: Option<PathBuf>,
    broker: Option<Broker>,
}

impl Target {
    fn start(workspace: &Workspace, stage: &str) -> Result<Self> {
        if let Ok(address) = std::env::var(FOREIGN_VARIABLE) {
            return Ok(Self { address, binary: None, broker: None });
        }
        let directory = workspace.target.join("interop").join(stage).join("broker");
        let mut broker = Broker::start(&workspace.release_binary(), &directory, SETTINGS)?;
        broker.await_ready()?;
        let address = broker.listener("kafka")?;
        Ok(Self { address, binary: Some(workspace.release_binary()), broker: Some(broker) })
    }

    /// Kafka's clients alone were here, so no batch may have been looked into for another protocol's readers.
    fn nothing_was_decoded(&self) -> Result<Outcome> {
        let Some(broker) = &self.broker else {
            return Ok(Outcome::Skipped("a broker that is not ours is not asked".to_owned()));
        };
        Ok(match broker.runtime_number("decodedBatches")? {
            0 => Outcome::Passed(Counts::one(true), String::new()),
            batches => Outcome::Failed(Counts::one(false), format!("{batches} batches were decoded")),
        })
    }

    /// A command that is told which broker to use, and how much of it.
    fn command(&self, workspace: &Workspace, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env("BRAIDMQ_KAFKA", &self.address)
            .env(SCALE_VARIABLE, workspace.scale.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(binary) = &self.binary {
            command.env("BRAIDMQ_BINARY", binary);
        }
        command
    }
}

fn suite(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.root.join("tests/interop").join(name)
}

/// confluent-kafka and kafka-python side by side; in full runs their old versions too.
pub(crate) fn kafka_python(workspace: &Workspace) -> Result<Outcome> {
    let mut report = Report::default();
    let python = Venv::make(workspace, "current", Path::new("python3"))?;
    kafka_python_at(workspace, &python, "current", &mut report)?;
    if workspace.full {
        match old_python() {
            Some(python) => {
                let python = Venv::make(workspace, "old", &python)?;
                kafka_python_at(workspace, &python, "old", &mut report)?;
            }
            None => report.add(
                "old clients",
                Outcome::Skipped(format!("no Python {} found to install them in", OLD_PYTHONS.join(" or "))),
            ),
        }
    }
    Ok(report.outcome())
}

fn kafka_python_at(workspace: &Workspace, python: &Venv, age: &str, report: &mut Report) -> Result<()> {
    let target = Target::start(workspace, "kafka-python")?;
    let mut suites = Vec::new();
    for (client, files) in [
        (
            "confluent-kafka",
            &[
                "test_confluent_produce.py",
                "test_confluent_groups.py",
                "test_confluent_lookup.py",
                "test_confluent_admin.py",
            ][..],
        ),
        ("kafka-python", &["test_kafka_python.py"][..]),
    ] {
        let log = workspace.log(&format!("kafka-python-{client}-{age}"));
        suites.push((client, python.pytest(workspace, &target, "kafka-python", files, &log)?));
    }
    for (client, suite) in suites {
        report.add(&format!("{age} {client}"), pytest_outcome(&suite.end_within(PYTEST_MAX)?));
    }
    report.add("batches passed through", target.nothing_was_decoded()?);
    Ok(())
}

/// Debian's kcat.
pub(crate) fn kcat(workspace: &Workspace) -> Result<Outcome> {
    let python = Venv::make(workspace, "current", Path::new("python3"))?;
    let target = Target::start(workspace, "kcat")?;
    let suite = python.pytest(workspace, &target, "kcat", &["test_kcat.py"], &workspace.log("kcat"))?;
    let mut report = Report::default();
    report.add("kcat", pytest_outcome(&suite.end_within(PYTEST_MAX)?));
    report.add("batches passed through", target.nothing_was_decoded()?);
    Ok(report.outcome())
}

/// A virtual environment with the clients of one of the requirement files.
struct Venv {
    python: PathBuf,
}

impl Venv {
    /// Makes it below the target directory, unless it is there with these requirements already.
    fn make(workspace: &Workspace, age: &str, python: &Path) -> Result<Self> {
        let requirements = suite(workspace, "kafka-python").join(format!("requirements-{age}.txt"));
        let wanted = fs::read(&requirements).context("read the requirements")?;
        let directory = workspace.target.join("interop").join(format!("venv-{age}"));
        let (made, stamp) = (Self { python: directory.join("bin/python") }, directory.join("installed.txt"));
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(made);
        }
        let log = workspace.log(&format!("venv-{age}"));
        let mut make = Command::new(python);
        let ended = run::run(make.args(["-m", "venv", "--clear"]).arg(&directory), &log)?;
        ensure!(ended.success, "no virtual environment: {}", ended.tail());
        let mut install = Command::new(&made.python);
        install.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements);
        let ended = run::run(&mut install, &log)?;
        ensure!(ended.success, "the clients can't be installed: {}", ended.tail());
        fs::write(&stamp, wanted)?;
        Ok(made)
    }

    fn pytest(
        &self,
        workspace: &Workspace,
        target: &Target,
        project: &str,
        files: &[&str],
        log: &Path,
    ) -> Result<Running> {
        let mut command = target.command(workspace, &self.python, &suite(workspace, project));
        run::start(command.args(["-m", "pytest", "-q"]).args(files), log)
    }
}

/// A Python old enough for the old clients: on the path, or among pyenv's.
fn old_python() -> Option<PathBuf> {
    let works = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", "import venv"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let on_path = OLD_PYTHONS.iter().map(|version| PathBuf::from(format!("python{version}")));
    let versions = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))
        .and_then(|root| fs::read_dir(root.join("versions")).ok());
    let of_pyenv = versions.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        OLD_PYTHONS.iter().any(|version| name.strip_prefix(version).is_some_and(|rest| rest.starts_with('.')))
    });
    on_path.chain(of_pyenv.map(|path| path.join("bin/python3"))).find(works)
}

fn pytest_outcome(ended: &Ended) -> Outcome {
    outcome(ended, Counts::of_pytest(&ended.output))
}

/// franz-go in our suite; in full runs also its own tests.
pub(crate) fn kafka_go(workspace: &Workspace) -> Result<Outcome> {
    let target = Target::start(workspace, "kafka-go")?;
    let directory = suite(workspace, "kafka-go");
    let mut test = target.command(workspace, "go", &directory);
    let ended = run::run(test.args(["test", "-count=1", "-v", "."]), &workspace.log("kafka-go"))?;
    let mut report = Report::default();
    report.add("franz-go", go_outcome(&ended));
    report.add("batches passed through", target.nothing_was_decoded()?);
    if workspace.full {
        report.add("franz-go's own tests", franz_go_itself(workspace)?);
    }
    Ok(report.outcome())
}

/// The tests that the client's authors wrote, from the module that the suite uses.
fn franz_go_itself(workspace: &Workspace) -> Result<Outcome> {
    let log = workspace.log("kafka-go-own");
    let mut list = Command::new("go");
    list.current_dir(suite(workspace, "kafka-go")).args(["list", "-m", "-f", "{{.Dir}}", FRANZ_GO]);
    let listed = run::run(&mut list, &log)?;
    ensure!(listed.success, "the module is not found: {}", listed.tail());
    let copy = workspace.target.join("interop/kafka-go/franz-go");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    // The module cache can't be written to, and its tests want their own module to be the main one.
    copy_tree(Path::new(listed.output.trim()), &copy)?;
    let target = Target::start(workspace, "kafka-go")?;
    let mut test = target.command(workspace, "go", &copy.join("pkg/kgo"));
    test.env("KGO_SEEDS", &target.address)
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", FRANZ_GO_RECORDS)
        .env("KGO_LOG_LEVEL", "none")
        .args(["test", "-count=1", "-timeout", "20m", "-v", "-skip", FRANZ_GO_SKIPPED, "."]);
    Ok(go_outcome(&run::run(&mut test, &log)?))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn go_outcome(ended: &Ended) -> Outcome {
    let said: Vec<_> = ended.output.lines().filter(|line| !is_go_progress(line)).collect();
    let shown = Ended { success: ended.success, output: said.join("\n"), log: ended.log.clone() };
    outcome(&shown, Counts::of_go_test(&ended.output))
}

fn is_go_progress(line: &str) -> bool {
    let line = line.trim_start();
    ["=== ", "--- PASS"].iter().any(|start| line.starts_with(start))
}

/// KafkaJS, in a copy of the suite into which npm installs.
pub(crate) fn kafka_js(workspace: &Workspace) -> Result<Outcome> {
    let (from, copy) = (suite(workspace, "kafka-js"), workspace.target.join("interop/kafka-js/suite"));
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(&from)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js" || extension == "json") {
            fs::copy(&path, copy.join(path.file_name().context("an entry has a name")?))?;
        }
    }
    let log = workspace.log("kafka-js");
    let mut install = Command::new("npm");
    install.current_dir(&copy).args(["ci", "--no-audit", "--no-fund"]);
    let installed = run::run(&mut install, &log)?;
    if !installed.success {
        return Ok(Outcome::Failed(Counts::one(false), installed.tail()));
    }
    let target = Target::start(workspace, "kafka-js")?;
    let mut test = target.command(workspace, "node", &copy);
    test.env("KAFKAJS_NO_PARTITIONER_WARNING", "1").args([
        "--test",
        "--test-reporter=tap",
        "--test-timeout=90000",
    ]);
    test.args(["produce.test.js", "group.test.js", "admin.test.js"]);
    let ended = run::run(&mut test, &log)?;
    Ok(outcome(&ended, Counts::of_node_test(&ended.output)))
}

fn outcome(ended: &Ended, counts: Option<Counts>) -> Outcome {
    let counts = counts.unwrap_or_default();
    match ended.success && counts.failed == 0 && counts.passed > 0 {
        true => Outcome::Passed(counts, String::new()),
        // A suite that does not compile has no line of its own.
        false => Outcome::Failed(Counts { failed: counts.failed.max(1), ..counts }, ended.tail()),
    }
}
