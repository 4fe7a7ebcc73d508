//! Planted defects, to see that the simulation sees: a store that acknowledges too early, or forgets a sync, must not
//! get through a bounded number of seeds.
#![cfg(feature = "mutants")]

mod harness;

use braid_store::mutant::{self, Mutant};

use harness::run::run_seed;

/// Seeds within which a defect has to be found.
const SEEDS_MAX: u64 = 50;

/// Words that begin the findings which a defect of durability must lead to.
const FINDINGS: [&str; 3] = ["LOST", "EARLY", "WRONG"];

fn caught(defect: Mutant) {
    let found = (1..=SEEDS_MAX).find_map(|seed| mutant::with(Some(defect), || run_seed(seed)).err());
    let found = found.unwrap_or_else(|| panic!("{} got through {SEEDS_MAX} seeds", defect.name()));
    println!("{}: caught by seed {}: {}", defect.name(), found.seed, found.message);
    let seen = FINDINGS.iter().any(|word| found.message.starts_with(word));
    assert!(seen, "{}: seed {} failed for another reason: {}", defect.name(), found.seed, found.message);
    let sound = mutant::with(None, || run_seed(found.seed));
    assert!(sound.is_ok(), "seed {} fails without the defect too: {sound:?}", found.seed);
}

#[test]
fn an_acknowledgement_before_the_flush_is_caught() {
    caught(Mutant::AckBeforeFlush);
}

#[test]
fn an_acknowledgement_before_the_write_is_caught() {
    caught(Mutant::AckBeforeWrite);
}

#[test]
fn a_directory_that_is_never_synced_is_caught() {
    caught(Mutant::SkipDirectorySync);
}
