//! Planted defects, to see that the simulation sees: a store that acknowledges too early, or forgets a sync or a
//! producer, must not get through a bounded number of seeds.
#![cfg(feature = "mutants")]

mod harness;

use braid_store::mutant::{self, Mutant};

use harness::run::{run_seed, run_seed_blind};

/// Seeds within which a defect has to be found.
const SEEDS_MAX: u64 = 50;

/// Words of the findings to which a defect of durability must lead.
const FINDINGS: &[&str] = &["LOST", "EARLY", "WRONG", "taken for damage", "does not open"];

/// The defect must be seen by asking the device at each acknowledgement, and by what crashes leave alone.
fn caught(defect: Mutant, findings: &[&str]) {
    for run in [run_seed, run_seed_blind] {
        // A read that fails on the way to a finding is no finding.
        let is_finding = |message: &str| findings.iter().any(|word| message.contains(word));
        let failed = (1..=SEEDS_MAX).filter_map(|seed| mutant::with(Some(defect), || run(seed)).err());
        let found = failed.into_iter().find(|failure| is_finding(&failure.message));
        let found = found.unwrap_or_else(|| panic!("{} got through {SEEDS_MAX} seeds", defect.name()));
        println!("{}: caught by seed {}: {}", defect.name(), found.seed, found.message);
        let sound = mutant::with(None, || run(found.seed));
        assert!(sound.is_ok(), "seed {} fails without the defect too: {sound:?}", found.seed);
    }
}

#[test]
fn an_acknowledgement_before_the_flush_is_caught() {
    caught(Mutant::AckBeforeFlush, FINDINGS);
}

#[test]
fn an_acknowledgement_before_the_write_is_caught() {
    caught(Mutant::AckBeforeWrite, FINDINGS);
}

#[test]
fn a_directory_that_is_never_synced_is_caught() {
    caught(Mutant::SkipDirectorySync, FINDINGS);
}

#[test]
fn a_snapshot_without_producers_is_caught() {
    caught(Mutant::ForgetProducers, &["TWICE", "FORGOT"]);
}
