//! # The crash rig: what was acknowledged is there after kill -9
//!
//! It starts a `braidmq` binary, loads it through RocketMQ's protocol from 8 connections to 64 queues and through Kafka's from 8 to
//! 64 others and some of the first, kills it with SIGKILL at a moment drawn from a seed, starts it again **on the same directory** and looks at everything that it knows:
//!
//! * every acknowledged (value, queue, offset), and every one that a consumer was shown, is read back exactly there;
//! * the offsets of a queue are dense from its first one;
//! * no value that was sent once is stored twice, none appears that was never sent, and none that was lost comes back later;
//! * a batch that an idempotent producer sends again is stored once, and answered with where it has been; no producer id comes twice;
//! * a group's member goes on over a kill in its generation;
//! * no cursor is below an acknowledged commit, none beyond the highest attempted one;
//! * a body comes back as it was sent, byte for byte.
//!
//! Values are numbers that are never used twice, and nothing is ever sent again but by idempotent producers, so a second copy is the
//! broker's own. A send whose answer the kill swallowed may be stored or not, but not both in turn.
//!
//! ```text
//!  start ──► verify what earlier cycles know ──► load ──► kill ──► (sometimes: start, kill before it serves) ──► next cycle
//!    every fifth cycle: delete DIR/braid/derived first, and verify everything instead of the newest part
//! ```
//!
//! The first `--cycles` cycles acknowledge in mode `sync`, the `--async-cycles` behind them in mode `async`: a process that dies loses
//! nothing in either. (What a power cut does is the simulated disk's business.)
//!
//! `--mutant NAME` plants a defect (environment variable `BRAIDMQ_MUTANT`, in builds with the feature `mutants`) and turns the verdict
//! round: the run passes when the rig finds that the broker broke its word about what is stored. (`ack-before-write` shows best in
//! mode `async`, where the write is all that an answer rests on.) The modules: [`broker`] is the process, [`client`] a blocking remoting client,
//! [`load`] the connections, [`kafka`] the same for Kafka, [`ledger`] what is known and the judge, [`verify`] reads a broker for the judge.

mod arguments;
mod body;
mod broker;
mod client;
mod kafka;
mod ledger;
mod load;
mod random;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use arguments::Arguments;
use broker::{Broker, Flush};
use kafka::load::Lasting;
use ledger::{Ledger, Violation};
use load::{Protocol, Totals};
use random::Random;

/// Acknowledged sends that a cycle has before it may be killed.
const ACKNOWLEDGED_MIN: u64 = 1000;
/// The kill comes up to this many acknowledged sends later, as the seed has it.
const ACKNOWLEDGED_EXTRA_MAX: u64 = 1500;
/// And up to this much time later, so that it is not always an answer that triggers it.
const KILL_DELAY_MAX: Duration = Duration::from_millis(5);
/// One cycle in so many is preceded by starts that are killed before they serve.
const RECOVERY_KILL_ONE_IN: u64 = 3;
/// Every cycle of this period deletes the derived files first and verifies everything.
const DERIVED_DELETED_EVERY: u32 = 5;
/// The share of kills that must hit with sends in flight.
const IN_FLIGHT_PERCENT_MIN: u32 = 90;
/// Violations printed of one cycle.
const VIOLATIONS_SHOWN_MAX: usize = 20;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error:#}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let verdict = Rig::new(&arguments)
        .and_then(|mut rig| if arguments.mutant.is_some() { rig.hunt() } else { rig.prove() });
    match verdict {
        Ok(verdict) => {
            println!("{} passed, {} failed", verdict.passed, verdict.failed);
            if verdict.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("the rig itself failed: {error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// What is printed last.
#[derive(Default)]
struct Verdict {
    passed: u32,
    failed: u32,
}

impl Verdict {
    fn count(&mut self, good: bool, what: &str) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAILED: {what}");
        }
    }
}

/// Sums over all cycles.
#[derive(Default)]
struct Sums {
    kills: u32,
    kills_in_flight: u32,
    kafka_kills_in_flight: u32,
    recovery_kills: u32,
    recovery_kills_early: u32,
    deletions: u32,
    deletions_real: u32,
    load: Totals,
    kafka_load: Totals,
    messages_verified: u64,
    start_longest: Duration,
}

struct Rig<'a> {
    arguments: &'a Arguments,
    /// Removed at the end unless something failed or the caller named it.
    directory: PathBuf,
    temporary: Option<tempfile::TempDir>,
    random: Random,
    ledger: Ledger,
    lasting: Vec<Lasting>,
    sums: Sums,
    /// How long the last start took; the scale for kills during recovery.
    start_took: Duration,
}

impl<'a> Rig<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self> {
        let temporary = match arguments.data {
            None => Some(
                tempfile::Builder::new()
                    .prefix("braid-crash-")
                    .tempdir()
                    .context("can't make a directory")?,
            ),
            Some(_) => None,
        };
        let directory = match (&temporary, &arguments.data) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, data) => data.clone().unwrap_or_default(),
        };
        println!("seed {}, directory {}", arguments.seed, directory.display());
        Ok(Rig {
            arguments,
            directory,
            temporary,
            random: Random::new(arguments.seed),
            ledger: Ledger::default(),
            lasting: (0..kafka::load::CONNECTIONS).map(|_| Lasting::default()).collect(),
            sums: Sums::default(),
            start_took: Duration::from_millis(20),
        })
    }

    /// All cycles; every one has to pass.
    fn prove(&mut self) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let cycles = self.arguments.cycles + self.arguments.async_cycles;
        for cycle in 1..=cycles {
            let violations = self.cycle(cycle)?;
            verdict.count(violations.is_empty(), &format!("cycle {cycle}"));
            if !violations.is_empty() {
                show(&violations);
                self.keep();
                return Ok(verdict);
            }
        }
        let flush = if self.arguments.async_cycles > 0 { Flush::Async } else { Flush::Sync };
        let (_broker, violations) = self.start_and_verify(flush, true)?;
        show(&violations);
        verdict.count(violations.is_empty(), "everything is there in the end");
        self.judge_sums(&mut verdict);
        if verdict.failed > 0 {
            self.keep();
        }
        Ok(verdict)
    }

    /// Cycles until a violation shows; one that shows is what the run is for.
    fn hunt(&mut self) -> Result<Verdict> {
        let mutant = self.arguments.mutant.as_deref().unwrap_or_default();
        let cycles = self.arguments.cycles + self.arguments.async_cycles;
        let mut violations = Vec::new();
        let mut cycle = 0;
        // Nonsense in an answer is a lead, not a proof; a broker that fell over ends the hunt.
        let ends =
            |violation: &Violation| violation.is_broken_word() || matches!(violation, Violation::Rig(_));
        while cycle < cycles && !violations.iter().any(ends) {
            cycle += 1;
            show(&violations);
            violations = self.cycle(cycle)?;
        }
        if !violations.iter().any(ends) {
            violations = self.start_and_verify(self.flush_of(cycles), true)?.1;
        }
        show(&violations);
        let is_caught = violations.iter().any(Violation::is_broken_word);
        if is_caught {
            println!("mutant {mutant} is caught in cycle {cycle}");
        }
        let mut verdict = Verdict::default();
        verdict.count(is_caught, &format!("mutant {mutant} is not caught in {cycle} cycles"));
        Ok(verdict)
    }

    fn flush_of(&self, cycle: u32) -> Flush {
        if cycle <= self.arguments.cycles { Flush::Sync } else { Flush::Async }
    }

    /// Start, verify what is known so far, load, kill.
    fn cycle(&mut self, cycle: u32) -> Result<Vec<Violation>> {
        let flush = self.flush_of(cycle);
        let everything = cycle.is_multiple_of(DERIVED_DELETED_EVERY);
        if everything {
            self.delete_derived()?;
        }
        let recovery_kills = self.kill_during_recovery(flush)?;
        let before = self.sums.messages_verified;
        let (broker, mut violations) = self.start_and_verify(flush, everything)?;
        if !violations.is_empty() {
            return Ok(violations);
        }
        let target = ACKNOWLEDGED_MIN + self.random.below(ACKNOWLEDGED_EXTRA_MAX);
        let delay = self.random.duration(KILL_DELAY_MAX);
        let plan = load::Plan { target, delay, seed: self.random.next() };
        let mut load = load::run(broker, &self.ledger, plan, std::mem::take(&mut self.lasting))?;
        let (totals, kafka_totals) = (load.totals(Protocol::RocketMq), load.totals(Protocol::Kafka));
        let in_flight = load.unanswered(Protocol::RocketMq);
        let kafka_in_flight = load.unanswered(Protocol::Kafka);
        self.lasting = std::mem::take(&mut load.lasting);
        violations.extend(load.record(&mut self.ledger));

        self.sums.kills += 1;
        self.sums.kills_in_flight += u32::from(in_flight > 0);
        self.sums.kafka_kills_in_flight += u32::from(kafka_in_flight > 0);
        self.sums.load += totals;
        self.sums.kafka_load += kafka_totals;
        println!(
            "cycle {cycle:>3} {flush}: start {:>3} ms, {:>6} messages verified{}, {recovery_kills} kills in recovery, {totals}, \
             {in_flight} sends in flight at the kill; Kafka: {kafka_totals}, {kafka_in_flight} in flight",
            self.start_took.as_millis(),
            self.sums.messages_verified - before,
            if everything { " (all, indexes deleted)" } else { "" },
        );
        let acknowledged = totals.acknowledged.min(kafka_totals.acknowledged);
        if acknowledged < ACKNOWLEDGED_MIN {
            violations.push(Violation::Rig(format!("only {acknowledged} sends were acknowledged")));
        }
        Ok(violations)
    }

    /// Starts the broker, checks the ledger against it and lets it know the outcome.
    fn start_and_verify(&mut self, flush: Flush, everything: bool) -> Result<(Broker, Vec<Violation>)> {
        let began = Instant::now();
        let mut broker = self.spawn(flush)?;
        if let Err(error) = broker.wait_until_ready() {
            self.keep();
            return Ok((broker, vec![Violation::Rig(format!("the broker does not start: {error:#}"))]));
        }
        self.start_took = began.elapsed();
        self.sums.start_longest = self.sums.start_longest.max(self.start_took);
        let (messages, mut violations) = verify::verify(broker.address(), &mut self.ledger, everything)?;
        let (kafka_messages, more) =
            kafka::verify::verify(broker.kafka_address(), &mut self.ledger, everything)?;
        violations.extend(more);
        self.ledger.settle();
        self.sums.messages_verified += messages + kafka_messages;
        Ok((broker, violations))
    }

    fn spawn(&self, flush: Flush) -> Result<Broker> {
        Broker::spawn(&self.arguments.binary, &self.directory, flush, self.arguments.mutant.as_deref())
    }

    /// In some cycles: starts and kills again before the broker serves, once or twice.
    fn kill_during_recovery(&mut self, flush: Flush) -> Result<u32> {
        if self.random.below(RECOVERY_KILL_ONE_IN) != 0 {
            return Ok(0);
        }
        let kills = 1 + self.random.below(2) as u32;
        for _ in 0..kills {
            let broker = self.spawn(flush)?;
            // The moment is the point here; no event stands for "in the middle of it".
            thread::sleep(self.random.duration(self.start_took));
            self.sums.recovery_kills_early += u32::from(!broker.is_ready());
            broker.kill()?;
        }
        self.sums.recovery_kills += kills;
        Ok(kills)
    }

    fn delete_derived(&mut self) -> Result<()> {
        let derived = self.directory.join("data/braid/derived");
        self.sums.deletions += 1;
        match std::fs::remove_dir_all(&derived) {
            Ok(()) => self.sums.deletions_real += 1,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("can't delete {}: {error}", derived.display()),
        }
        Ok(())
    }

    /// What no single cycle can show.
    fn judge_sums(&self, verdict: &mut Verdict) {
        let sums = &self.sums;
        println!(
            "{} kills, {} with sends in flight, {} with Kafka's; {} kills in recovery, {} before the broker served; indexes deleted {} times",
            sums.kills,
            sums.kills_in_flight,
            sums.kafka_kills_in_flight,
            sums.recovery_kills,
            sums.recovery_kills_early,
            sums.deletions_real,
        );
        println!(
            "{}; {} messages verified; longest start {} ms",
            sums.load,
            sums.messages_verified,
            sums.start_longest.as_millis()
        );
        println!("Kafka: {}", sums.kafka_load);
        println!("{}", self.ledger.summary());
        verdict.count(
            sums.kills_in_flight * 100 >= sums.kills * IN_FLIGHT_PERCENT_MIN,
            &format!("{} of {} kills hit with sends in flight", sums.kills_in_flight, sums.kills),
        );
        verdict.count(
            sums.kafka_kills_in_flight * 100 >= sums.kills * IN_FLIGHT_PERCENT_MIN,
            &format!(
                "{} of {} kills hit with Kafka's sends in flight",
                sums.kafka_kills_in_flight, sums.kills
            ),
        );
        if sums.kills >= 10 {
            verdict.count(sums.kafka_load.sent_again > 0, "no idempotent producer sent anything again");
            verdict.count(sums.recovery_kills_early > 0, "no kill hit during recovery");
            verdict.count(sums.deletions_real == sums.deletions, "there were no derived files to delete");
        }
    }

    /// Leaves the directory for whoever looks into the failure.
    fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let kept = temporary.keep();
            println!("the data and the broker's output are kept in {}", kept.display());
        }
    }
}

/// Prints violations, the most frequent kinds first by number, then some of them in full.
fn show(violations: &[Violation]) {
    let mut kinds = BTreeMap::new();
    for violation in violations {
        *kinds.entry(violation.kind()).or_insert(0) += 1;
    }
    for (kind, count) in kinds {
        println!("  {count} x {kind}");
    }
    for violation in violations.iter().take(VIOLATIONS_SHOWN_MAX) {
        println!("  {violation}");
    }
}
