//! Power cuts at every moment: what the index covers after one is right, and never more than the log has.

use std::sync::Arc;

use braid_io::Rng;
use braid_io::sim::{Coverage, Faults, SimDisk};

use super::super::QueueIndex;
use super::{Log, TINY, Twist};

const SEEDS: u64 = 600;

#[test]
fn after_any_crash_the_index_covers_a_prefix_of_the_log_and_is_right() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        coverage.merge(&run(seed));
    }
    println!("{coverage}");
    let wanted =
        ["sector-lost", "sector-torn", "sector-stale", "dir-op-lost", "length-lost", "covered", "rebuilt"];
    assert_eq!(coverage.missing(wanted), Vec::<&str>::new());
}

#[test]
fn a_seed_does_the_same_twice() {
    let trace = |seed| {
        let disk = SimDisk::new(seed);
        steps(&disk, seed);
        disk.trace_hash()
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

fn run(seed: u64) -> Coverage {
    let disk = SimDisk::new(seed);
    let mut coverage = steps(&disk, seed);
    coverage.merge(&disk.coverage());
    coverage
}

fn steps(disk: &SimDisk, seed: u64) -> Coverage {
    let mut rng = Rng::new(seed);
    let mut coverage = Coverage::default();
    let mut log = Log::default();
    for life in 0..6 {
        disk.set_faults(Faults { short_read: 20_000, short_write: 20_000, ..Faults::default() });
        let (index, covered) = log.open(&disk.process(), TINY).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(covered <= log.end, "seed {seed}: covers {covered} of {}", log.end);
        assert!(covered >= log.durable, "seed {seed}: covers {covered}, not {}", log.durable);
        if life > 0 {
            coverage.count(if covered > 0 { "covered" } else { "rebuilt" });
        }
        log.check(&index, &mut rng);
        if rng.one_in(3) {
            disk.power_off_after(rng.below(60));
        }
        live(&index, &mut log, &mut rng);
        drop(index);
        if rng.one_in(4) {
            disk.kill();
        } else {
            disk.crash();
        }
        // The log keeps what is flushed, and any part of what is not.
        let left: Vec<u64> = log.boundaries.iter().copied().filter(|end| *end >= log.flushed).collect();
        let end = if left.is_empty() { log.flushed } else { left[rng.below(left.len() as u64) as usize] };
        log.cut(end.max(log.start));
    }
    coverage
}

fn live(index: &QueueIndex, log: &mut Log, rng: &mut Rng) {
    for _ in 0..rng.below(120) {
        match rng.below(20) {
            0 | 1 => log.flushed = log.end,
            // A checkpoint that fails leaves what was.
            2 | 3 => {
                if index.checkpoint(log.flushed).is_ok() {
                    log.durable = log.flushed;
                }
            }
            4 if rng.one_in(3) => {
                let flushed: Vec<u64> =
                    log.boundaries.iter().copied().filter(|b| *b <= log.flushed).collect();
                if !flushed.is_empty() && flushed.len() < log.records.len() {
                    log.start = log.start.max(flushed[rng.below(flushed.len() as u64) as usize]);
                    drop(index.trim(log.start));
                }
            }
            _ => {
                for _ in 0..=rng.below(8) {
                    let twist = match rng.below(8) {
                        0 => Twist::Span(7),
                        1 if rng.one_in(4) => Twist::Gap(2),
                        _ => Twist::Plain,
                    };
                    let queue = log.queue(rng.below(8) as u32);
                    index.insert(queue, log.append(queue, twist));
                }
            }
        }
    }
}

/// The log lost what the index had made durable: the index must forget it for good.
#[test]
fn entries_above_a_log_that_became_shorter_never_come_back() {
    let disk = SimDisk::new(1);
    let mut rng = Rng::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk, TINY).unwrap();
    let queue = log.queue(0);
    (0..30).for_each(|_| index.insert(queue, log.append(queue, Twist::Plain)));
    index.checkpoint(log.end).unwrap();
    drop(index);
    log.cut(1250);
    log.cut(1200);
    let (index, covered) = log.open(&disk, TINY).unwrap();
    assert_eq!(covered, 1200);
    log.check(&index, &mut rng);
    drop(index);
    disk.crash();
    // The log grows over the place again, in another queue, and the index is lost before its next checkpoint.
    let other = log.queue(5);
    (0..30).map(|_| log.append(other, Twist::Plain)).for_each(|entry| assert!(entry.position >= covered));
    let (index, covered) = log.open(&disk, TINY).unwrap();
    assert_eq!(covered, 1200);
    log.check(&index, &mut rng);
}

#[test]
fn an_opened_index_writes_nothing_when_all_is_well() {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk, TINY).unwrap();
    let queue = log.queue(0);
    (0..100).for_each(|_| index.insert(queue, log.append(queue, Twist::Plain)));
    index.checkpoint(log.end).unwrap();
    drop(index);
    let before = super::files(&disk);
    assert!(disk.is_synced());
    QueueIndex::open_with(Arc::new(disk.clone()), &super::dir(), 0, log.end, TINY).unwrap();
    assert!(disk.is_synced() && super::files(&disk) == before);
}

/// Entries of records that may still be lost with a crash stay in memory, where the bounds allow it.
#[test]
fn a_checkpoint_writes_nothing_that_lies_above_it() {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk, TINY).unwrap();
    let queue = log.queue(0);
    (0..7).for_each(|_| index.insert(queue, log.append(queue, Twist::Plain)));
    index.checkpoint(300).unwrap();
    drop(index);
    let (index, covered) =
        QueueIndex::open_with(Arc::new(disk.clone()), &super::dir(), 0, log.end, TINY).unwrap();
    assert_eq!((covered, index.offsets(queue).unwrap().max), (300, 3));
    assert_eq!(index.journal.memory_bytes(), 0, "nothing had to be cut");
}
