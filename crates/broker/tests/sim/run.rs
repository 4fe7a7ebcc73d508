//! Whole seeds: what a seed goes through, many of them on all cores, and the line that replays one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use braid_io::sim::Coverage;

use super::world::{End, World};

/// Seeds of a full run (`BRAIDMQ_TEST_SCALE=1`).
const SEEDS_FULL: f64 = 10_000.0;
/// Part of it that runs when nothing is said.
const SCALE_DEFAULT: f64 = 0.2;
/// How the runs of a seed end.
const ENDS: [End; 6] = [End::Crash, End::Kill, End::Crash, End::Close, End::Kill, End::Crash];
/// Steps of a run at least, and how many more there may be.
const STEPS: (u64, u64) = (30, 60);

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

/// The life of a broker: several runs that end in different ways.
fn live(world: &mut World) {
    world.open(End::Kill);
    for end in ENDS {
        steps(world);
        if end != End::Close && world.rng.one_in(2) {
            world.go_on_until_the_power_fails();
        }
        world.restart(end);
        if world.rng.one_in(2) {
            world.retry_unanswered();
        }
        world.unanswered.clear();
        if world.rng.one_in(12) {
            world.grow_old();
        }
    }
}

/// One run, up to its end.
pub fn steps(world: &mut World) {
    let count = STEPS.0 + world.rng.below(STEPS.1);
    (0..count).for_each(|_| world.step());
    if world.rng.one_in(3) {
        world.settle();
        world.redeem();
        world.see_starts();
    }
}

/// Runs one seed through `life`; gives its trace and what it saw.
pub fn run(seed: u64, life: impl FnOnce(&mut World)) -> Result<(u64, Coverage), Failure> {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| life(&mut world))) {
        Ok(()) => Ok((world.trace(), world.coverage)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without a message".to_owned());
            let steps = world.steps().map(str::to_owned).collect();
            Err(Failure { seed, message, steps })
        }
    }
}

/// Runs one seed.
pub fn run_seed(seed: u64) -> Result<(u64, Coverage), Failure> {
    run(seed, live)
}

/// Runs all seeds on all cores; after a failure no new seed is begun.
///
/// # Panics
/// When a seed failed; the line `seed N` replays it.
pub fn run_seeds(seeds: &[u64]) -> Coverage {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Coverage::default());
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
                        Ok((_, coverage)) => sum.lock().expect("no thread panics with it").merge(&coverage),
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
    failures.iter().for_each(print_failure);
    assert!(failures.is_empty(), "{} seeds failed", failures.len());
    sum.into_inner().expect("no thread panics with it")
}

/// Prints the last steps of a seed and the line that replays it.
pub fn print_failure(failure: &Failure) {
    println!("the last steps of seed {}:", failure.seed);
    failure.steps.iter().for_each(|step| println!("  {step}"));
    println!("{}", failure.message);
    println!(
        "seed {}: BRAIDMQ_SEED={} cargo test --profile ci -p braid-broker --test sim",
        failure.seed, failure.seed
    );
}
