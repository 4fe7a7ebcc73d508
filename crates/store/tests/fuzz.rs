//! Recovery of files that something changed: whatever lies in the directory, opening it neither panics nor hangs, and
//! what is served was once appended there, byte for byte.
//!
//! A bounded mutator over a small corpus, for 30 seconds at `BRAIDMQ_TEST_SCALE=1`; `BRAIDMQ_SEED` runs one mutation.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod harness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use braid_io::sim::{Faults, SimClock, SimDisk};
use braid_io::{Disk, OpenMode, Rng};
use braid_store::{Position, QueueKey, ReadStatus, Store, StoreError, StoreOptions, tool};
use bytes::Bytes;

use harness::oracle::{read, request};
use harness::run::named_seed;
use harness::world::{DIR, End, World};

const SECONDS_FULL: f64 = 30.0;
const SCALE_DEFAULT: f64 = 0.2;
/// Directories that are mutated.
const CORPUS: u64 = 4;
/// Mutations of one directory at most.
const MUTATIONS_MAX: u64 = 6;

/// A directory, and everything that may be served from it.
struct Origin {
    disk: SimDisk,
    options: StoreOptions,
    queues: Vec<QueueKey>,
    /// Every record that was ever appended, those of deleted topics too.
    records: BTreeSet<Bytes>,
    end: u64,
}

fn origin(seed: u64) -> Origin {
    let mut world = World::new(seed);
    world.faults = Faults::default();
    world.open(End::Kill);
    world.ensure_topics();
    let first = world.log_file();
    let mut records = BTreeSet::new();
    // Some steps restart the store and lose what was appended, so the records are collected as they come.
    while world.log_file() < first + 2 {
        world.step();
        for event in 0..world.oracle.events.len() {
            records.extend(world.oracle.records_of(event).iter().map(|record| record.bytes.clone()));
        }
    }
    let queues = world.oracle.model.queues.keys().copied().collect();
    let end = world.oracle.events.last().map_or(0, |event| event.end);
    // Half of the corpus was stopped cleanly, half was not.
    world.end(if seed.is_multiple_of(2) { End::Close } else { End::Kill });
    world.disk.set_faults(Faults::default());
    Origin { disk: world.disk.clone(), options: world.options.clone(), queues, records, end }
}

#[test]
fn a_directory_that_something_changed_is_opened_or_refused_and_never_lies() {
    let corpus: Vec<Origin> = (0..CORPUS).map(origin).collect();
    if let Some(seed) = named_seed() {
        return try_one(&corpus, seed);
    }
    let scale = std::env::var("BRAIDMQ_TEST_SCALE").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs_f64(SECONDS_FULL * scale.unwrap_or(SCALE_DEFAULT));
    let mut runs = 0;
    while runs < 100 || Instant::now() < until {
        runs += 1;
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(&corpus, runs)));
        if let Err(panic) = ran {
            println!("seed {runs}: BRAIDMQ_SEED={runs} cargo test --profile ci -p braid-store --test fuzz");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{runs} mutated directories");
}

fn try_one(corpus: &[Origin], seed: u64) {
    let mut rng = Rng::new(seed);
    let origin = &corpus[rng.below(corpus.len() as u64) as usize];
    let disk = origin.disk.copy(seed);
    for _ in 0..1 + rng.below(MUTATIONS_MAX) {
        mutate(&disk, &mut rng);
    }
    sync_below(&disk, Path::new(DIR));
    let clock = Arc::new(SimClock::new(1_790_000_000_000 + rng.below(10_000_000) as i64));
    // A start does not read what its indexes cover, so damage there may show only when a later one has to read more.
    let whole = tool::verify(&origin.options, Arc::new(disk.copy(seed).process()), &mut |_, _| {});
    let damaged_before = whole.is_ok_and(|found| !found.damage.is_empty());
    let opened = Store::open(origin.options.clone(), Arc::new(disk.process()), clock);
    let Ok((store, report)) = opened else { return };
    look_at_all(origin, &store);
    // What recovery wrote must itself be recoverable.
    drop(store);
    disk.crash();
    let clock = Arc::new(SimClock::new(1_790_000_000_000));
    match Store::open(origin.options.clone(), Arc::new(disk.process()), clock) {
        Ok((store, again)) => {
            let worse = !damaged_before && report.damage.is_empty() && !again.damage.is_empty();
            assert!(!worse, "the second start sees damage that the first made: {report:?}, then {again:?}");
            look_at_all(origin, &store);
        }
        Err(error) => panic!("opened once, and then not: {error}"),
    }
}

fn look_at_all(origin: &Origin, store: &Store) {
    for &queue in &origin.queues {
        let Some(offsets) = store.offsets(queue) else { continue };
        let mut at = offsets.min;
        while at < offsets.max {
            match read(store, &request(queue, at)) {
                Ok(result) => {
                    for record in &result.records {
                        assert!(origin.records.contains(record), "{queue:?} at {at}: never appended");
                    }
                    if result.status == ReadStatus::BelowStart {
                        assert!(result.min_offset > at, "{queue:?} at {at}: {result:?}");
                    }
                    at = result.next_offset.max(at + 1);
                }
                Err(StoreError::NoTopic) => break,
                Err(StoreError::Damaged { .. }) => at += 1,
                Err(other) => panic!("{queue:?} at {at}: {other}"),
            }
        }
    }
    for record in origin.records.iter().step_by(7) {
        let position = braid_record::RecordView::parse(record).unwrap().position();
        if let Ok(Some(found)) = store.record_named(Position(position)) {
            assert!(origin.records.contains(&found.record), "the record named {position} was never appended");
        }
    }
    let _ = store.record_named(Position(origin.end + 1));
    let inside = Position(origin.end / 2);
    let _ = store.record_named(Position::inside(inside, 3).expect("a small log"));
}

/// Changes one place of one file, or the files themselves.
fn mutate(disk: &SimDisk, rng: &mut Rng) {
    let files = files_below(disk, Path::new(DIR));
    let (path, len) = &files[rng.below(files.len() as u64) as usize];
    let (other, other_len) = &files[rng.below(files.len() as u64) as usize];
    let at = rng.below((*len).max(1));
    let longest = [4, 64, 512, 8192][rng.below(4) as usize];
    let run = 1 + rng.below(longest);
    let run = run.min(len - at.min(*len));
    match rng.below(10) {
        0..=2 if *len > 0 => disk.rot(path, at).unwrap(),
        3 => disk.overwrite(path, at, &vec![0; run as usize]).unwrap(),
        4 => {
            let noise: Vec<u8> = (0..run).map(|_| rng.next_u64() as u8).collect();
            disk.overwrite(path, at, &noise).unwrap();
        }
        5 | 6 if *other_len > run => {
            // Bytes of another place, as stale blocks or a misdirected write leave them; often aligned.
            let mut from = rng.below(other_len - run);
            let mut to = at;
            if rng.one_in(2) {
                (from, to) = (from / 512 * 512, to / 512 * 512);
            }
            let bytes = disk.live_bytes(other, from, run as usize).unwrap();
            disk.overwrite(path, to, &bytes).unwrap();
        }
        7 => {
            let file = disk.open(path, OpenMode::Write).unwrap();
            file.set_len(at).unwrap();
            file.sync_data().unwrap();
        }
        8 if rng.one_in(4) => disk.remove_file(path).unwrap(),
        9 if rng.one_in(4) => disk.rename(path, other).unwrap(),
        _ => {}
    }
}

/// Makes names as durable as bytes: what is tested here is damage, not a crash.
fn sync_below(disk: &SimDisk, dir: &Path) {
    disk.sync_dir(dir).unwrap();
    for entry in disk.list(dir).unwrap() {
        if entry.is_dir {
            sync_below(disk, &dir.join(&entry.name));
        }
    }
}

fn files_below(disk: &SimDisk, dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in disk.list(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(files_below(disk, &path));
        } else {
            found.push((path, entry.len));
        }
    }
    found
}
