//! Damaged files cover less, or say that they are damaged; they never give a wrong entry and never panic.

use std::collections::BTreeMap;

use braid_io::sim::{FaultKind, SimDisk};
use braid_io::{Disk, OpenMode, Rng};

use super::super::{Limits, QueueIndex};
use super::{Log, NamedBytes, TINY, Twist, copy_files, dir, files, fresh, key, path, plain};

/// A journal of several files with many checkpoints, and what the log held at each of them.
fn journal() -> (Vec<NamedBytes>, BTreeMap<u64, Log>) {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk, TINY).unwrap();
    let mut history = BTreeMap::from([(0, Log::default())]);
    let mut rng = Rng::new(5);
    for round in 0..24 {
        for _ in 0..12 {
            let twist = if rng.one_in(5) { Twist::Span(3) } else { Twist::Plain };
            let queue = log.queue(rng.below(6) as u32);
            index.insert(queue, log.append(queue, twist));
        }
        index.checkpoint(log.end).unwrap();
        history.insert(log.end, log.clone());
        if round == 18 {
            log.start = log.boundaries[80];
            index.trim(log.start).unwrap();
        }
    }
    let files = files(&disk).into_iter().map(|(name, _)| (name.clone(), disk.bytes(&path(&name)).unwrap()));
    (files.collect(), history)
}

/// Opens what was damaged; gives what it covers.
fn check(files: &[NamedBytes], history: &BTreeMap<u64, Log>) -> u64 {
    let disk = copy_files(files);
    let last = &history.last_key_value().unwrap().1;
    let (index, covered) = last_open(&disk, last);
    let mut then = history.get(&covered).unwrap_or_else(|| panic!("{covered} was no checkpoint")).clone();
    then.start = last.start;
    then.next = index.next_offsets().into_iter().collect();
    then.check(&index, &mut Rng::new(covered));
    covered
}

fn last_open(disk: &SimDisk, last: &Log) -> (QueueIndex, u64) {
    QueueIndex::open_with(std::sync::Arc::new(disk.clone()), &dir(), last.start, last.end, TINY).unwrap()
}

#[test]
fn a_flipped_bit_anywhere_covers_less_and_gives_nothing_wrong() {
    let (files, history) = journal();
    assert!(files.len() >= 3, "{} files", files.len());
    let end = *history.last_key_value().unwrap().0;
    assert_eq!(check(&files, &history), end);
    for file in 0..files.len() {
        for at in 0..files[file].1.len() {
            let mut bad = files.clone();
            bad[file].1[at] ^= 1 << (at % 8);
            assert!(check(&bad, &history) < end, "file {file} byte {at}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_covers_less_and_gives_nothing_wrong() {
    let (files, history) = journal();
    let end = *history.last_key_value().unwrap().0;
    for file in 0..files.len() {
        for len in 0..files[file].1.len() {
            let mut bad = files.clone();
            bad[file].1.truncate(len);
            assert!(check(&bad, &history) < end, "file {file} cut to {len}");
        }
        let mut bad = files.clone();
        bad.remove(file);
        assert!(check(&bad, &history) < end, "file {file} missing");
    }
}

#[test]
fn bytes_behind_the_last_checkpoint_are_ignored_and_removed() {
    let (mut files, history) = journal();
    let end = *history.last_key_value().unwrap().0;
    let len = files.last().unwrap().1.len();
    let again = files.last().unwrap().1.clone();
    files.last_mut().unwrap().1.extend_from_slice(&again);
    files.push((format!("{:020}", 999), again));
    assert_eq!(check(&files, &history), end);
    let disk = copy_files(&files);
    last_open(&disk, history.last_key_value().unwrap().1);
    let left = super::files(&disk);
    assert_eq!(left.last().unwrap().1, len as u64);
    assert_eq!(left.len(), files.len() - 1);
}

#[test]
fn a_file_under_another_name_covers_nothing() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    (0..500).for_each(|n| index.insert(key(1, 0), plain(n, n * 100)));
    index.checkpoint(50_000).unwrap();
    index.trim(50_000).unwrap();
    let (name, _) = files(&disk)[0].clone();
    assert!(files(&disk).len() == 1 && name > format!("{:020}", 2));
    for other in [1, 900] {
        let moved = copy_files(&[(format!("{other:020}"), disk.bytes(&path(&name)).unwrap())]);
        fresh(&moved, TINY);
        assert_eq!(files(&moved), []);
    }
}

/// Rot that happens while the index is open is found when the block is read.
#[test]
fn a_block_that_rots_is_an_error_and_no_wrong_entry() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, Limits { cache_bytes_max: 0, ..TINY });
    (0..40).for_each(|n| index.insert(key(1, 0), plain(n, n * 100)));
    index.checkpoint(4000).unwrap();
    let (name, len) = files(&disk)[0].clone();
    for at in 0..len {
        disk.rot(&path(&name), at).unwrap();
    }
    let error = index.lookup(key(1, 0), 0, 5, true).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn a_write_error_keeps_entries_in_memory_and_is_tried_again() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    disk.fail_next(FaultKind::NoSpace, "queues");
    (0..50).for_each(|n| index.insert(key(1, 0), plain(n, n * 100)));
    disk.fail_next(FaultKind::WriteError, "queues");
    index.checkpoint(5000).unwrap_err();
    assert_eq!(index.lookup(key(1, 0), 0, 99, true).unwrap().unwrap().len(), 50);
    index.checkpoint(5000).unwrap();
    disk.crash();
    let (_, covered) =
        QueueIndex::open_with(std::sync::Arc::new(disk.clone()), &dir(), 0, 5000, TINY).unwrap();
    assert_eq!(covered, 5000);
}

/// What a failed sync lost is seen at the next opening only, so no later checkpoint may claim to stand on it.
#[test]
fn nothing_builds_on_a_failed_sync() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut log = Log::default();
        let (index, _) = log.open(&disk, TINY).unwrap();
        let mut insert = |index: &QueueIndex| {
            let queue = log.queue(0);
            index.insert(queue, log.append(queue, Twist::Plain));
        };
        insert(&index);
        index.checkpoint(100).unwrap();
        insert(&index);
        disk.fail_next(FaultKind::SyncError, "queues");
        index.checkpoint(200).unwrap_err();
        insert(&index);
        index.checkpoint(300).unwrap_err();
        assert_eq!(index.lookup(key(0, 0), 0, 9, true).unwrap().unwrap().len(), 3);
        disk.crash();
        let (index, covered) = log.open(&disk, TINY).unwrap();
        assert!(matches!(covered, 100 | 200), "{covered} with seed {seed}");
        log.check(&index, &mut Rng::new(seed));
    }
}

#[test]
fn a_reader_that_may_not_wait_is_told_so() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, Limits { cache_bytes_max: 0, ..TINY });
    (0..40).for_each(|n| index.insert(key(1, 0), plain(n, n * 100)));
    index.checkpoint(4000).unwrap();
    disk.fail_next(FaultKind::ColdRead, "queues");
    assert_eq!(index.lookup(key(1, 0), 0, 5, false).unwrap(), None);
    assert_eq!(index.lookup(key(1, 0), 0, 5, true).unwrap().unwrap().len(), 5);
    // The second block would wait: what the first one gave is given.
    disk.fail_after(1, FaultKind::ColdRead, "queues");
    assert_eq!(index.lookup(key(1, 0), 0, 40, false).unwrap().unwrap().len(), 8);
    // The newest entries are in memory whatever the disk does.
    disk.fail_next(FaultKind::ColdRead, "queues");
    assert_eq!(index.lookup(key(1, 0), 39, 5, false).unwrap().unwrap(), [plain(39, 3900)]);
}

#[test]
fn names_that_are_not_ours_are_left_alone() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dir()).unwrap();
    disk.open(&path("notes.txt"), OpenMode::CreateNew).unwrap();
    fresh(&disk, TINY).checkpoint(0).unwrap();
    assert_eq!(files(&disk).len(), 2);
}
