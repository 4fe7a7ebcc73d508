//! The store over a disk that does all that a disk may do: power cuts, killed processes, errors, full disks, damage.
//! After each of them everything that was acknowledged must be there, and nothing else.
//!
//! `BRAIDMQ_TEST_SCALE` scales the number of seeds (2,000 at 1.0), `BRAIDMQ_SEED` runs one.

mod harness;

use braid_io::sim::FaultKind;
use braid_store::RecoveryRow;

use harness::run::{named_seed, print_failure, run_seed, run_seeds, seeds};
use harness::world::row_name;

/// Every row of the recovery table.
const ROWS: [RecoveryRow; 10] = [
    RecoveryRow::New,
    RecoveryRow::Clean,
    RecoveryRow::CleanEnd,
    RecoveryRow::TornTail,
    RecoveryRow::Hole,
    RecoveryRow::IncompleteGroup,
    RecoveryRow::DamageBelowWatermark,
    RecoveryRow::ShorterThanWatermark,
    RecoveryRow::MissingFile,
    RecoveryRow::NoSuperblock,
];

#[test]
fn nothing_acknowledged_is_lost_on_any_disk() {
    let seeds = seeds();
    let (coverage, tally) = run_seeds(&seeds);
    println!("{} seeds: {tally:?}\n{coverage}", seeds.len());
    if named_seed().is_some() {
        return;
    }
    let faults = FaultKind::ALL.iter().map(|kind| kind.name());
    assert_eq!(coverage.missing(faults), Vec::<&str>::new(), "faults that never fell");
    let rows: Vec<String> = ROWS.iter().map(row_name).collect();
    let missing = coverage.missing(rows.iter().map(String::as_str));
    assert_eq!(missing, Vec::<&str>::new(), "rows of the recovery table that were never taken");
    assert!(coverage.of("disk-full") > 0, "no seed filled its disk");
    assert!(coverage.of("queue-cut") > 0, "no seed cut a queue");
    for name in ["batch", "duplicate", "out-of-order", "stale-epoch", "wrap"] {
        assert!(coverage.of(name) > 0, "no seed had a {name}");
    }
    assert!(coverage.of("topic-pinned") > 0, "no seed pinned a topic");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in named_seed().map_or(vec![1, 2, 3, 4], |seed| vec![seed]) {
        let trace = |seed| match run_seed(seed) {
            Ok(outcome) => outcome.trace,
            Err(failure) => {
                print_failure(&failure);
                panic!("seed {seed} failed");
            }
        };
        assert_eq!(trace(seed), trace(seed), "seed {seed} ran in two ways");
    }
}
