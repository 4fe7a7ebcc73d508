//! The key index against a list, against damage, and against a disk that loses what was not synced.

use std::path::PathBuf;
use std::sync::Arc;

use braid_io::Rng;
use braid_io::sim::{Coverage, FaultKind, Faults, SimDisk};
use braid_io::{Disk, OpenMode};
use proptest::prelude::*;

use super::run::{self, PAGE_BYTES, PAGE_ENTRIES, Run, RunWriter};
use super::{KeyIndex, KeyLimits, key_hash};
use crate::catalog::TopicNumber;

const TINY: KeyLimits = KeyLimits {
    table_entries_max: 16,
    memory_entries_wanted: 40,
    memory_entries_max: 1 << 20,
    small_run_entries: 8,
    run_entries_max: 1000,
};

fn dir() -> PathBuf {
    PathBuf::from("/braid/derived/keys")
}

/// What the log knows: the keys of its records.
#[derive(Debug, Clone, Default)]
struct Log {
    /// Hash and position, in log order.
    keys: Vec<(u64, u64)>,
    start: u64,
    end: u64,
    flushed: u64,
    /// What the newest checkpoint that succeeded covers.
    durable: u64,
    boundaries: Vec<u64>,
}

impl Log {
    fn append(&mut self, hashes: &[u64]) -> Vec<(u64, u64)> {
        let keys: Vec<_> = hashes.iter().map(|hash| (*hash, self.end)).collect();
        self.keys.extend(&keys);
        self.end += 100;
        self.boundaries.push(self.end);
        keys
    }

    fn cut(&mut self, end: u64) {
        self.keys.retain(|(_, position)| *position < end);
        self.boundaries.retain(|boundary| *boundary <= end);
        (self.end, self.flushed) = (end, end);
    }

    fn open(&self, disk: &SimDisk) -> (KeyIndex, u64) {
        let (index, covered) =
            KeyIndex::open_with(Arc::new(disk.clone()), &dir(), self.start, self.end, TINY).unwrap();
        assert!(covered <= self.end, "covers {covered} of {}", self.end);
        let rest: Vec<_> = self.keys.iter().copied().filter(|key| key.1 >= covered.max(self.start)).collect();
        index.insert(&rest);
        (index, covered)
    }

    fn wanted(&self, hash: u64, range: &std::ops::Range<u64>, max: usize) -> Vec<u64> {
        let mut positions: Vec<u64> =
            self.keys.iter().filter(|key| key.0 == hash && range.contains(&key.1)).map(|key| key.1).collect();
        positions.dedup();
        positions.into_iter().rev().take(max).collect()
    }

    fn check(&self, index: &KeyIndex, rng: &mut Rng) {
        for hash in 0..HASHES {
            let all = self.start..u64::MAX;
            assert_eq!(
                index.lookup(hash, all.clone(), usize::MAX).unwrap(),
                self.wanted(hash, &all, usize::MAX)
            );
            let from = self.start + rng.below(self.end - self.start + 1);
            let (part, max) = (from..from + rng.below(3000), rng.below(6) as usize);
            assert_eq!(
                index.lookup(hash, part.clone(), max).unwrap(),
                self.wanted(hash, &part, max),
                "{part:?}"
            );
        }
    }
}

const HASHES: u64 = 9;

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<u64>, u32),
    Flush,
    Checkpoint,
    Trim(f64),
    Reopen,
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (prop::collection::vec(0..HASHES, 0..4), 1..20u32).prop_map(|(hashes, times)| Op::Append(hashes, times)),
        2 => Just(Op::Flush),
        4 => Just(Op::Checkpoint),
        1 => (0.0..1.0).prop_map(Op::Trim),
        1 => Just(Op::Reopen),
        1 => Just(Op::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_a_list(ops in prop::collection::vec(op(), 1..150)) {
        let disk = SimDisk::new(1);
        let mut rng = Rng::new(ops.len() as u64);
        let mut log = Log::default();
        let (mut index, _) = log.open(&disk);
        for op in &ops {
            match op {
                Op::Append(hashes, times) => (0..*times).for_each(|_| index.insert(&log.append(hashes))),
                Op::Flush => log.flushed = log.end,
                Op::Checkpoint => index.checkpoint(log.flushed).unwrap(),
                Op::Trim(part) => {
                    let wanted = (log.flushed as f64 * part) as u64 / 100 * 100;
                    log.start = log.start.max(wanted);
                    index.trim(log.start).unwrap();
                }
                Op::Reopen => {
                    drop(index);
                    index = log.open(&disk).0;
                }
                Op::Check => log.check(&index, &mut rng),
            }
        }
        log.check(&index, &mut rng);
        index.checkpoint(log.end).unwrap();
        let (index, covered) = log.open(&disk);
        assert!(covered == log.end || log.start == log.end);
        log.check(&index, &mut rng);
    }
}

#[test]
fn hashes_are_part_of_the_format() {
    let known = [
        (0, "", 0xACA6_D6B5_4BE3_ED05),
        (7, "order-1", 0xB2A7_E511_F868_B574),
        (8, "order-1", 0x73F3_353A_D6D2_384A),
    ];
    for (topic, key, hash) in known {
        assert_eq!(key_hash(TopicNumber(topic), key), hash, "{topic} {key}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_run() {
    let disk = SimDisk::new(1);
    let at = dir();
    disk.create_dir_all(&at).unwrap();
    let mut writer = RunWriter::new(&disk, &at, 4096, 8192).unwrap();
    writer.push((1, 4096)).unwrap();
    writer.push((0xFFFF_FFFF_FFFF_FFFF, 5000)).unwrap();
    writer.finish().unwrap();
    let name = "00000000000000004096-00000000000000008192";
    assert_eq!(run::run_of(name), Some((4096, 8192)));
    let bytes = disk.bytes(&dir().join(name)).unwrap();
    assert_eq!(bytes.len(), 2 * PAGE_BYTES);
    let (head, page) = bytes.split_at(PAGE_BYTES);
    let head_hex = "424b4559 01 000000 0000000000001000 0000000000002000 0000000000000002 596051e9";
    assert_eq!(hex(&head[..36]), head_hex.replace(' ', ""));
    assert!(head[36..].iter().all(|byte| *byte == 0));
    let page_hex = "0000000000000001 0000000000001000 ffffffffffffffff 0000000000001388";
    assert_eq!(hex(&page[..32]), page_hex.replace(' ', ""));
    assert!(page[32..4080].iter().all(|byte| *byte == 0));
    assert_eq!(hex(&page[4080..]), "00000000 00000002 5e91ee1f d40af1ef".replace(' ', ""));
}

#[test]
fn names_of_runs_are_read_exactly() {
    for bad in [
        "",
        "1-2",
        "00000000000000004096",
        "00000000000000004096-0000000000000000819x",
        "99999999999999999999-00000000000000008192",
    ] {
        assert_eq!(run::run_of(bad), None, "{bad}");
    }
}

#[test]
fn long_runs_are_searched_over_pages_and_the_bounds_of_pages() {
    let disk = SimDisk::new(1);
    let at = dir();
    disk.create_dir_all(&at).unwrap();
    // Hash 5 fills exactly two pages and begins at a page's start; its neighbours share no page with it.
    let page = PAGE_ENTRIES as u64;
    let mut writer = RunWriter::new(&disk, &at, 0, 100 * page).unwrap();
    (0..page).for_each(|n| writer.push((3, n)).unwrap());
    (0..2 * page).for_each(|n| writer.push((5, n)).unwrap());
    writer.push((6, 1)).unwrap();
    let run = writer.finish().unwrap();
    let lookup = |hash, range| {
        let mut found = Vec::new();
        run.lookup(hash, &range, usize::MAX, &mut found).unwrap();
        found
    };
    let down = |range: std::ops::Range<u64>| range.rev().collect::<Vec<_>>();
    assert_eq!(lookup(3, 0..u64::MAX), down(0..page));
    assert_eq!(lookup(5, 0..u64::MAX), down(0..2 * page));
    assert_eq!(lookup(5, 10..page), down(10..page));
    assert_eq!(lookup(5, page..page + 1), [page]);
    assert_eq!(lookup(6, 0..u64::MAX), [1]);
    for hash in [0, 4, 7, u64::MAX] {
        assert_eq!(lookup(hash, 0..u64::MAX), []);
    }
    let again = Run::open(&disk, run.path().to_path_buf(), (0, 100 * page)).unwrap();
    let mut pairs = again.pairs();
    let mut count = 0;
    while pairs.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, again.count);
}

/// A directory with several runs, and the log that it is of.
fn written() -> (Vec<(String, Vec<u8>)>, Log) {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let mut rng = Rng::new(3);
    let (index, _) = log.open(&disk);
    for _ in 0..6 {
        (0..40).for_each(|_| index.insert(&log.append(&[rng.below(HASHES), rng.below(HASHES)])));
        index.checkpoint(log.end).unwrap();
    }
    let names = disk.list(&dir()).unwrap().into_iter().map(|entry| entry.name);
    (names.map(|name| (name.clone(), disk.bytes(&dir().join(&name)).unwrap())).collect(), log)
}

fn copy_files(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dir()).unwrap();
    for (name, bytes) in files {
        disk.open(&dir().join(name), OpenMode::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
    }
    disk
}

/// Looks everything up twice: the second opening has forgotten what the first one found damaged.
fn check_damaged(files: &[(String, Vec<u8>)], log: &Log) -> u64 {
    let disk = copy_files(files);
    let (index, covered) = log.open(&disk);
    let is_whole = (0..HASHES).all(|hash| match index.lookup(hash, 0..u64::MAX, usize::MAX) {
        Ok(found) => found == log.wanted(hash, &(0..u64::MAX), usize::MAX) || panic!("wrong positions"),
        Err(error) => error.kind() != std::io::ErrorKind::InvalidData && panic!("{error}"),
    });
    let (index, again) = log.open(&disk);
    log.check(&index, &mut Rng::new(1));
    assert!(is_whole || again < covered, "what was found damaged is rebuilt");
    again
}

#[test]
fn a_flipped_bit_anywhere_is_never_a_wrong_position() {
    let (files, log) = written();
    assert!(files.len() > 1);
    assert_eq!(check_damaged(&files, &log), log.end);
    for file in 0..files.len() {
        for at in 0..files[file].1.len() {
            // Padding is checked as the rest of its page is; the head's is not used.
            if !(36..PAGE_BYTES).contains(&at) {
                let mut bad = files.clone();
                bad[file].1[at] ^= 1 << (at % 8);
                assert!(check_damaged(&bad, &log) < log.end, "file {file} byte {at}");
            }
        }
    }
}

/// A whole page in the wrong place, as a disk may put it.
#[test]
fn a_page_of_another_run_is_never_taken_for_ones_own() {
    let disk = SimDisk::new(1);
    let (index, _) = Log::default().open(&disk);
    for end in [1000, 2000] {
        index.insert(&[(1, end - 500)]);
        index.checkpoint(end).unwrap();
    }
    let names: Vec<PathBuf> =
        disk.list(&dir()).unwrap().into_iter().map(|entry| dir().join(entry.name)).collect();
    let page = disk.bytes(&names[0]).unwrap().split_off(PAGE_BYTES);
    disk.overwrite(&names[1], PAGE_BYTES as u64, &page).unwrap();
    assert_eq!(index.lookup(1, 0..1000, 9).unwrap(), [500]);
    let error = index.lookup(1, 1000..2000, 9).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_run_cut_anywhere_or_missing_covers_less() {
    let (files, log) = written();
    for file in 0..files.len() {
        for len in (0..files[file].1.len()).step_by(61) {
            let mut bad = files.clone();
            bad[file].1.truncate(len);
            assert!(check_damaged(&bad, &log) < log.end, "file {file} cut to {len}");
        }
        let mut bad = files.clone();
        bad.remove(file);
        assert!(check_damaged(&bad, &log) < log.end);
    }
}

#[test]
fn runs_stay_few_and_no_larger_than_their_bound() {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk);
    for n in 0..3000 {
        index.insert(&log.append(&[n % HASHES]));
        if n % 3 == 0 {
            index.checkpoint(log.end).unwrap();
        }
    }
    let runs = index.runs.read().unwrap();
    assert!(runs.len() <= 3000 / 250 + 3 * 5, "{} runs", runs.len());
    assert!(runs.iter().all(|run| run.count <= TINY.run_entries_max));
    assert_eq!(disk.list(&dir()).unwrap().len(), runs.len(), "merged runs are removed");
    drop(runs);
    log.check(&index, &mut Rng::new(1));
    index.trim(log.end).unwrap();
    assert_eq!(disk.list(&dir()).unwrap().len(), 0);
}

#[test]
fn memory_is_bounded_when_no_checkpoint_succeeds_and_what_is_lost_is_said() {
    let disk = SimDisk::new(1);
    let limits = KeyLimits { memory_entries_max: 100, ..TINY };
    let (index, _) = KeyIndex::open_with(Arc::new(disk.clone()), &dir(), 0, 0, limits).unwrap();
    let mut log = Log::default();
    for n in 0..60 {
        index.insert(&log.append(&[n % HASHES]));
        assert_eq!(index.wants_checkpoint(), n >= 39);
    }
    disk.fail_next(FaultKind::SyncError, "keys");
    index.checkpoint(log.end).unwrap_err();
    log.check(&index, &mut Rng::new(1));
    for n in 0..300 {
        index.insert(&log.append(&[n % HASHES]));
    }
    assert!(super::lock(&index.memory).len() <= 100 + 16);
    index.lookup(1, 0..u64::MAX, 9).unwrap_err();
    index.checkpoint(log.end).unwrap_err();
    // The newest are there still.
    let range = log.end - 5000..log.end;
    assert_eq!(index.lookup(1, range.clone(), 99).unwrap(), log.wanted(1, &range, 99));
    let (index, covered) = log.open(&disk);
    assert_eq!(covered, 0);
    log.check(&index, &mut Rng::new(1));
}

#[test]
fn a_checkpoint_empties_memory_and_one_without_news_writes_nothing() {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk);
    (0..100).for_each(|n| index.insert(&log.append(&[n])));
    index.checkpoint(log.end).unwrap();
    assert_eq!(super::lock(&index.memory).len(), 0);
    let changes = disk.changes();
    index.checkpoint(log.end).unwrap();
    assert_eq!(disk.changes(), changes);
}

#[test]
fn after_any_crash_the_index_covers_a_prefix_of_the_log_and_is_right() {
    let mut coverage = Coverage::default();
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed);
        let mut log = Log::default();
        for life in 0..6 {
            disk.set_faults(Faults { short_read: 20_000, short_write: 20_000, ..Faults::default() });
            let (index, covered) = log.open(&disk.process());
            let is_kept = covered >= log.durable || log.durable <= log.start;
            assert!(is_kept, "seed {seed}: covers {covered}, not {}", log.durable);
            if life > 0 {
                coverage.count(if covered > 0 { "covered" } else { "rebuilt" });
            }
            log.check(&index, &mut rng);
            if rng.one_in(3) {
                disk.power_off_after(rng.below(60));
            }
            live(&index, &mut log, &mut rng);
            drop(index);
            disk.crash();
            let left: Vec<u64> = log.boundaries.iter().copied().filter(|end| *end >= log.flushed).collect();
            let end = if left.is_empty() { log.flushed } else { left[rng.below(left.len() as u64) as usize] };
            log.cut(end.max(log.start));
        }
        coverage.merge(&disk.coverage());
    }
    println!("{coverage}");
    let wanted = ["sector-lost", "sector-torn", "dir-op-lost", "covered", "rebuilt"];
    assert_eq!(coverage.missing(wanted), Vec::<&str>::new());
}

fn live(index: &KeyIndex, log: &mut Log, rng: &mut Rng) {
    for _ in 0..rng.below(80) {
        match rng.below(12) {
            0 => log.flushed = log.end,
            // A checkpoint that fails leaves what was.
            1 | 2 => {
                if index.checkpoint(log.flushed).is_ok() {
                    log.durable = log.flushed;
                }
            }
            3 if rng.one_in(4) => {
                log.start = log.start.max(rng.below(log.flushed / 100 + 1) * 100);
                drop(index.trim(log.start));
            }
            _ => {
                for _ in 0..rng.below(9) {
                    let hashes: Vec<u64> = (0..rng.below(3)).map(|_| rng.below(HASHES)).collect();
                    index.insert(&log.append(&hashes));
                }
            }
        }
    }
}

/// The log lost what the index had made durable, and grew over the place again.
#[test]
fn keys_above_a_log_that_became_shorter_never_come_back() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let mut log = Log::default();
        let (index, _) = log.open(&disk);
        for _ in 0..9 {
            (0..5).for_each(|_| index.insert(&log.append(&[1])));
            index.checkpoint(log.end).unwrap();
        }
        drop(index);
        log.cut(1700);
        drop(log.open(&disk));
        disk.crash();
        (0..60).for_each(|_| assert_eq!(log.append(&[2]).len(), 1));
        let (index, covered) = log.open(&disk);
        assert!(covered <= 1700);
        log.check(&index, &mut Rng::new(seed));
    }
}
