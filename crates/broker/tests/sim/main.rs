//! The broker over a simulated disk: batches, producers, cursors and groups through kills and power cuts. After each start
//! everything that was acknowledged must be there, and nothing that never was.
//!
//! `BRAIDMQ_TEST_SCALE` scales the number of seeds (10,000 at 1.0), `BRAIDMQ_SEED` runs one.
//!
//! * [`state`]: what a broker knows, and how a change alters it; [`batch`]: the batches of the seeds.
//! * [`oracle`]: every change in the order of the log, what was told of it, and the comparison after a start.
//! * [`world`]: one seed, from opening to end; [`steps`] and [`clients`]: what happens in between.
//! * [`run`]: whole seeds, in parallel; [`lies`]: the oracle must notice what is not true.
#![allow(unreachable_pub, reason = "one test binary in several files")]

mod batch;
mod clients;
mod lies;
mod oracle;
mod run;
mod state;
mod steps;
mod world;

use run::{named_seed, print_failure, run_seed, run_seeds, seeds};

/// Every kind of operation and outcome.
const SEEN: [&str; 55] = [
    "answered",
    "batch",
    "beat",
    "beat-refused",
    "call-vanished",
    "client-restarted",
    "clock",
    "close",
    "commit-above-end",
    "commit-durable",
    "commit-ignored",
    "commit-marked",
    "commit-member",
    "commit-refused",
    "commit-stranger",
    "crash",
    "cursors-expired",
    "cursors-flushed",
    "duplicate",
    "duplicate-after-start",
    "files-deleted",
    "group-deleted",
    "group-empty",
    "group-gone",
    "group-stable",
    "id-block",
    "id-given",
    "id-unreserved",
    "join-parked",
    "join-refused",
    "joined",
    "kill",
    "leave",
    "looked",
    "out-of-order",
    "power-cut-in-a-turn",
    "records-deleted",
    "reopened",
    "reset",
    "reset-taken",
    "retried-after-loss",
    "retried-and-there",
    "send",
    "share-told",
    "stable-after-start",
    "stale-epoch",
    "start-by-limit",
    "start-interrupted",
    "static-removed",
    "static-replaced",
    "sync-parked",
    "sync-refused",
    "topic-deleted",
    "topic-made",
    "unacknowledged-lost",
];

#[test]
fn nothing_acknowledged_is_lost_by_a_broker() {
    let seeds = seeds();
    let coverage = run_seeds(&seeds);
    println!("{} seeds\n{coverage}", seeds.len());
    if named_seed().is_none() {
        assert_eq!(coverage.missing(SEEN), Vec::<&str>::new(), "what no seed has seen");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in named_seed().map_or(vec![1, 2, 3, 4], |seed| vec![seed]) {
        let trace = |seed| match run_seed(seed) {
            Ok((trace, _)) => trace,
            Err(failure) => {
                print_failure(&failure);
                panic!("seed {seed} failed");
            }
        };
        assert_eq!(trace(seed), trace(seed), "seed {seed} ran in two ways");
    }
}
