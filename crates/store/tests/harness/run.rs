//! Whole seeds: what a seed goes through, many of them on all cores, and the line that replays one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use braid_io::sim::Coverage;

use super::damage::end_in_damage;
use super::world::{End, Tally, World};

/// Seeds of a full run (`BRAIDMQ_TEST_SCALE=1`).
const SEEDS_FULL: f64 = 2_000.0;
/// Part of it that runs when nothing is said.
const SCALE_DEFAULT: f64 = 0.2;
/// Steps of a seed at least, and how many more there may be.
const STEPS: (u64, u64) = (300, 60);
/// Steps after which a power cut in the middle has come for sure.
const STEPS_TO_CUT_MAX: u32 = 60;

/// What a seed showed.
#[derive(Debug)]
pub struct Outcome {
    pub trace: u64,
    pub coverage: Coverage,
    pub tally: Tally,
}

/// A seed that failed.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub message: String,
    pub steps: Vec<String>,
}

/// How many seeds to run; one when `BRAIDMQ_SEED` names it.
pub fn seeds() -> Vec<u64> {
    if let Some(seed) = named_seed() {
        return vec![seed];
    }
    let scale = std::env::var("BRAIDMQ_TEST_SCALE").ok().and_then(|text| text.parse().ok());
    let count = (SEEDS_FULL * scale.unwrap_or(SCALE_DEFAULT)).ceil().max(1.0) as u64;
    (1..=count).collect()
}

/// The seed that the environment asks for.
pub fn named_seed() -> Option<u64> {
    let text = std::env::var("BRAIDMQ_SEED").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("BRAIDMQ_SEED={text} is not a number")))
}

/// Runs one seed.
pub fn run_seed(seed: u64) -> Result<Outcome, Failure> {
    run_world(seed, World::new(seed))
}

/// Runs one seed and judges by what crashes leave alone, not by asking the device when something is acknowledged.
pub fn run_seed_blind(seed: u64) -> Result<Outcome, Failure> {
    let mut world = World::new(seed);
    world.asks_device = false;
    run_world(seed, world)
}

fn run_world(seed: u64, mut world: World) -> Result<Outcome, Failure> {
    let ran = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let steps = world.steps().map(str::to_owned).collect();
    match ran {
        Ok(()) => {
            let mut coverage = world.disk.coverage();
            coverage.merge(&world.coverage);
            Ok(Outcome { trace: world.trace(), coverage, tally: world.tally })
        }
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without a message".to_owned());
            Err(Failure { seed, message, steps })
        }
    }
}

/// The life of a store: six runs that end in different ways, a topic that comes and goes, a cut by retention, and
/// damage in the end.
fn live(world: &mut World) {
    world.open(End::Kill);
    world.ensure_topics();
    let steps = STEPS.0 + world.rng.below(STEPS.1);
    let ends = [End::Crash, End::Kill, End::Crash, End::Close, End::Crash, End::Crash];
    for (run, end) in ends.into_iter().enumerate() {
        for _ in 0..steps / ends.len() as u64 + 1 {
            world.step();
        }
        match run {
            1 => delete_and_make_again(world),
            3 => cut(world),
            _ => {}
        }
        if end != End::Close && world.rng.one_in(2) {
            go_on_until_the_power_fails(world);
        }
        if world.rng.one_in(3) {
            world.end(end);
            world.drop_derived();
            world.open(end);
        } else {
            world.restart(end);
        }
        world.ensure_topics();
    }
    end_in_damage(world);
    let tally = &world.tally;
    assert!(tally.operations >= STEPS.0 && tally.crashes >= 3, "{tally:?}");
    assert!(tally.rolls >= 1 && tally.cuts >= 1 && tally.deletions >= 1, "{tally:?}");
}

fn delete_and_make_again(world: &mut World) {
    let deletions = world.tally.deletions;
    while world.tally.deletions == deletions {
        world.ensure_topics();
        let before = world.log_file();
        world.delete_topic();
        world.housekeeping();
        world.after_step(before);
    }
    for _ in 0..10 {
        world.ensure_topics();
        world.step();
    }
}

fn cut(world: &mut World) {
    let cuts = world.tally.cuts;
    while world.tally.cuts == cuts {
        world.try_cut();
    }
}

fn go_on_until_the_power_fails(world: &mut World) {
    let changes = world.rng.below(25);
    world.disk.power_off_after(changes);
    for _ in 0..STEPS_TO_CUT_MAX {
        if world.disk.is_off() {
            return;
        }
        world.step();
        if !world.disk.is_off() && world.rng.one_in(3) {
            world.write_turn();
            world.flush_turn();
        }
    }
}

/// Runs all seeds on all cores; after a failure no new seed is begun.
///
/// # Panics
/// When a seed failed; the line `seed N` replays it.
pub fn run_seeds(seeds: &[u64]) -> (Coverage, Tally) {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new((Coverage::default(), Tally::default()));
    let failures = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) else {
                        return;
                    };
                    match run_seed(seed) {
                        Ok(outcome) => {
                            let mut sum = sum.lock().expect("no thread panics with it");
                            sum.0.merge(&outcome.coverage);
                            add(&mut sum.1, &outcome.tally);
                        }
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            failures.lock().expect("no thread panics with it").push(failure);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics with it");
    for failure in &failures {
        print_failure(failure);
    }
    assert!(failures.is_empty(), "{} seeds failed", failures.len());
    sum.into_inner().expect("no thread panics with it")
}

fn add(sum: &mut Tally, tally: &Tally) {
    sum.operations += tally.operations;
    sum.crashes += tally.crashes;
    sum.kills += tally.kills;
    sum.rolls += tally.rolls;
    sum.cuts += tally.cuts;
    sum.deletions += tally.deletions;
    sum.records += tally.records;
}

/// Prints the last steps of a seed and the line that replays it.
pub fn print_failure(failure: &Failure) {
    println!("the last steps of seed {}:", failure.seed);
    for step in &failure.steps {
        println!("  {step}");
    }
    println!("{}", failure.message);
    println!(
        "seed {}: BRAIDMQ_SEED={} cargo test --profile ci -p braid-store --test simulation",
        failure.seed, failure.seed
    );
}
