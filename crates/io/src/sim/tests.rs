use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::disk::{Disk, File, OpenMode};

/// Enough seeds that every outcome of a draw among eight comes up.
const SEEDS: u64 = 200;

fn made(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(Path::new(path), OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// A file of `bytes` that is durable with its name.
fn durable(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = made(disk, path, bytes);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file
}

fn bytes(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.bytes(Path::new(path)).ok()
}

fn exists(disk: &SimDisk, path: &str) -> bool {
    bytes(disk, path).is_some()
}

#[test]
fn what_is_synced_survives_every_crash() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let file = durable(&disk, "/d/f", &[7; 3000]);
        // Unsynced bytes behind and in the same sector must not take synced ones with them.
        file.write_all_at(&[9; 5000], 2900).unwrap();
        disk.crash();
        let after = bytes(&disk, "/d/f").unwrap();
        assert!(after.len() >= 3000);
        assert!(after[..2900].iter().all(|&b| b == 7), "seed {seed}");
    }
}

#[test]
fn what_is_not_synced_fares_in_every_way() {
    let mut coverage = Coverage::default();
    let (mut old, mut new, mut shorter) = (0, 0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable(&disk, "/other", &[3; 8192]);
        let file = durable(&disk, "/f", &[1; 8192]);
        file.write_all_at(&[2; 8192], 4096).unwrap();
        disk.crash();
        let after = bytes(&disk, "/f").unwrap();
        assert!(after[..4096].iter().all(|&b| b == 1), "seed {seed}");
        assert!((8192..=12288).contains(&after.len()), "seed {seed}");
        old += u32::from(after[4096..8192].iter().all(|&b| b == 1));
        new += u32::from(after.len() == 12288 && after[4096..].iter().all(|&b| b == 2));
        shorter += u32::from(after.len() == 8192);
        coverage.merge(&disk.coverage());
    }
    let kinds = [
        FaultKind::SectorKept,
        FaultKind::SectorLost,
        FaultKind::SectorTorn,
        FaultKind::SectorGarbage,
        FaultKind::SectorStale,
        FaultKind::LengthKept,
        FaultKind::LengthLost,
        FaultKind::LengthBetween,
    ];
    assert_eq!(coverage.missing(kinds.map(FaultKind::name)), Vec::<&str>::new());
    assert!(old > 0 && new > 0 && shorter > 0, "{old} old, {new} new, {shorter} shorter");
}

#[test]
fn a_stale_sector_holds_the_bytes_of_a_removed_file() {
    let stale = (0..SEEDS).filter(|&seed| {
        let disk = SimDisk::new(seed);
        drop(durable(&disk, "/gone", &[0xAB; 4096]));
        disk.remove_file(Path::new("/gone")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let file = durable(&disk, "/f", &[0; 4096]);
        file.write_all_at(&[1; 4096], 0).unwrap();
        disk.crash();
        let after = bytes(&disk, "/f").unwrap();
        after.as_chunks::<SECTOR>().0.contains(&[0xAB; SECTOR])
    });
    assert!(stale.count() > 0);
}

#[test]
fn a_name_is_volatile_until_its_directory_is_synced() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        made(&disk, "/f", b"x").sync_data().unwrap();
        disk.crash();
        match bytes(&disk, "/f") {
            Some(content) => {
                assert_eq!(content, b"x");
                kept += 1;
            }
            None => lost += 1,
        }
    }
    assert!(kept > 0 && lost > 0);
}

#[test]
fn a_file_under_an_unsynced_directory_can_be_lost_though_both_were_synced() {
    let lost = (0..SEEDS).filter(|&seed| {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/a/b")).unwrap();
        durable(&disk, "/a/b/f", b"x");
        disk.crash();
        !exists(&disk, "/a/b/f")
    });
    assert!(lost.count() > 0);
}

#[test]
fn directory_operations_survive_in_any_subset() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable(&disk, "/old", b"old");
        disk.remove_file(Path::new("/old")).unwrap();
        made(&disk, "/new", b"new").sync_data().unwrap();
        disk.crash();
        seen.insert((exists(&disk, "/old"), exists(&disk, "/new")));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_rename_is_the_old_or_the_new_name_and_never_both_contents_mixed() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable(&disk, "/state", b"one");
        made(&disk, "/state.tmp", b"two").sync_data().unwrap();
        disk.rename(Path::new("/state.tmp"), Path::new("/state")).unwrap();
        assert_eq!(bytes(&disk, "/state").unwrap(), b"two");
        assert!(!exists(&disk, "/state.tmp"));
        disk.crash();
        match bytes(&disk, "/state").unwrap().as_slice() {
            b"one" => before += 1,
            b"two" => after += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(before > 0 && after > 0);
}

#[test]
fn a_rename_between_directories_is_kept_whole_or_lost_whole_when_neither_is_synced() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/a")).unwrap();
        disk.create_dir_all(Path::new("/b")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        durable(&disk, "/a/f", b"x");
        disk.rename(Path::new("/a/f"), Path::new("/b/f")).unwrap();
        disk.crash();
        match (exists(&disk, "/a/f"), exists(&disk, "/b/f")) {
            (true, false) => before += 1,
            (false, true) => after += 1,
            both => panic!("seed {seed}: {both:?}"),
        }
    }
    assert!(before > 0 && after > 0);
}

#[test]
fn replacing_a_file_survives_a_power_cut_at_every_step() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let path = Path::new("/state");
        crate::disk::replace_file(&disk, path, b"one").unwrap();
        disk.power_off_after(seed % 8);
        let done = crate::disk::replace_file(&disk, path, b"two").is_ok();
        disk.crash();
        let now = bytes(&disk, "/state").unwrap();
        assert!(now == b"two" || (!done && now == b"one"), "seed {seed}: {now:?}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let file = made(&disk, "/f", &[5; 2000]);
        let process = disk.process();
        let lock = process.lock(Path::new("/lock")).unwrap();
        assert_eq!(disk.lock(Path::new("/lock")).err().unwrap().kind(), ErrorKind::WouldBlock);
        disk.kill();
        assert_eq!(bytes(&disk, "/f").unwrap(), [5; 2000]);
        assert!(file.write_at(b"x", 0).is_err(), "a handle outlived its process");
        assert!(process.list(Path::new("/")).is_err(), "a process outlived itself");
        let again = disk.lock(Path::new("/lock")).unwrap();
        drop(lock);
        assert!(disk.lock(Path::new("/lock")).is_err(), "a dead process gave a lock of the new one back");
        drop(again);
        assert!(disk.lock(Path::new("/lock")).is_ok());
    }
}

#[test]
fn after_a_failed_sync_the_bytes_are_gone_though_the_next_sync_succeeds() {
    let lost = (0..SEEDS).filter(|&seed| {
        let disk = SimDisk::new(seed);
        let file = durable(&disk, "/f", &[1; 2048]);
        file.write_all_at(&[2; 2048], 0).unwrap();
        disk.fail_next(FaultKind::SyncError, "/f");
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
        file.sync_data().unwrap();
        assert!(disk.is_synced());
        assert_eq!(bytes(&disk, "/f").unwrap(), [2; 2048], "the cache still shows the bytes");
        disk.crash();
        bytes(&disk, "/f").unwrap().contains(&1)
    });
    assert!(lost.count() > 0);
}

#[test]
fn a_failed_directory_sync_may_lose_the_name_for_ever() {
    let lost = (0..SEEDS).filter(|&seed| {
        let disk = SimDisk::new(seed);
        made(&disk, "/f", b"x").sync_data().unwrap();
        disk.fail_next(FaultKind::DirSyncError, "/");
        assert!(disk.sync_dir(Path::new("/")).is_err());
        disk.crash();
        !exists(&disk, "/f")
    });
    assert!(lost.count() > 0);
}

#[test]
fn rates_take_each_fault_and_count_it() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "/log", &[0; 4096]);
    let half = 500_000;
    disk.set_faults(Faults {
        read_error: half,
        write_error: half,
        sync_error: half,
        dir_sync_error: half,
        no_space: half,
        short_read: half,
        short_write: half,
        cold_read: half,
        slow: half,
        misdirected_write: half,
        ..Faults::default()
    });
    let mut buf = [0; 100];
    for _ in 0..100 {
        let _ = file.read_at(&mut buf, 0);
        let _ = file.read_at_cached(&mut buf, 0);
        let _ = file.write_at(&buf, 0);
        let _ = file.sync_data();
        let _ = disk.sync_dir(Path::new("/"));
    }
    let rated = &FaultKind::ALL[..10];
    assert_eq!(disk.coverage().missing(rated.iter().map(|kind| kind.name())), Vec::<&str>::new());
    assert!(disk.delay_ms() > 0);

    let calm = SimDisk::new(1);
    calm.set_faults(Faults { write_error: 1_000_000, only: "log".into(), ..Faults::default() });
    made(&calm, "/else", b"x");
    let log = calm.open(Path::new("/log"), OpenMode::CreateNew).unwrap();
    assert!(log.write_at(b"x", 0).is_err());
}

#[test]
fn a_full_disk_takes_what_fits_and_is_free_again_after_a_removal() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { capacity: Some(16 * 1024), ..Faults::default() });
    let file = disk.open(Path::new("/a"), OpenMode::CreateNew).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 16 * 1024, "a length takes no room");
    let error = file.write_all_at(&[1; 20 * 1024], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 0);
    file.write_all_at(&[2; 16 * 1024], 0).unwrap();
    disk.remove_file(Path::new("/a")).unwrap();
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 0, "an open file keeps its room");
    drop(file);
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 16 * 1024);
    made(&disk, "/b", &[1; 5000]);
    disk.set_faults(Faults::default());
    let space = disk.space(Path::new("/")).unwrap();
    assert_eq!(space.total - space.free, 8192, "a disk without a capacity counts what is used too");
}

#[test]
fn a_misdirected_write_damages_stored_bytes_without_an_error() {
    let damaged = (0..SEEDS).filter(|&seed| {
        let disk = SimDisk::new(seed);
        let file = durable(&disk, "/f", &[1; 8192]);
        file.write_all_at(&[2; 512], 0).unwrap();
        disk.fail_next(FaultKind::MisdirectedWrite, "/f");
        file.sync_data().unwrap();
        disk.crash();
        let after = bytes(&disk, "/f").unwrap();
        after[512..].contains(&2) && after[0] == 1
    });
    assert!(damaged.count() > SEEDS as usize / 2);
}

#[test]
fn the_durable_side_can_be_asked_apart_from_the_live_one() {
    let disk = SimDisk::new(1);
    let path = Path::new("/f");
    let file = made(&disk, "/f", b"abc");
    file.sync_data().unwrap();
    assert_eq!(disk.durable_bytes(path, 0, 3), None, "the name is not durable");
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(b"XYZ", 1).unwrap();
    assert_eq!(disk.durable_bytes(path, 0, 3).unwrap(), b"abc");
    assert_eq!(disk.durable_bytes(path, 0, 4), None);
    assert_eq!(disk.live_bytes(path, 1, 3).unwrap(), b"XYZ");
    assert_eq!(disk.live_bytes(path, 1, 4), None);
    assert_eq!(bytes(&disk, "/f").unwrap(), b"aXYZ");
}

#[test]
fn a_copy_is_a_disk_of_its_own() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "/f", b"abc");
    file.write_all_at(b"X", 0).unwrap();
    let copy = disk.copy(2);
    assert_eq!(bytes(&copy, "/f").unwrap(), b"Xbc");
    assert_eq!(copy.durable_bytes(Path::new("/f"), 0, 3).unwrap(), b"abc");
    copy.remove_file(Path::new("/f")).unwrap();
    assert_eq!(bytes(&disk, "/f").unwrap(), b"Xbc");
}

#[test]
fn rot_flips_one_bit_for_readers_and_on_the_device() {
    let disk = SimDisk::new(1);
    durable(&disk, "/f", &[0; 1000]);
    disk.rot(Path::new("/f"), 700).unwrap();
    let seen = bytes(&disk, "/f").unwrap();
    assert_eq!(seen.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
    assert_ne!(seen[700], 0);
    disk.crash();
    assert_eq!(bytes(&disk, "/f").unwrap(), seen);
    assert!(disk.rot(Path::new("/f"), 1000).is_err());
}

#[test]
fn a_cut_file_reads_zeros_when_it_grows_again() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "/f", &[1; 2000]);
    file.set_len(100).unwrap();
    file.set_len(2000).unwrap();
    let mut expected = vec![1; 100];
    expected.resize(2000, 0);
    assert_eq!(bytes(&disk, "/f").unwrap(), expected);
    file.sync_data().unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/f").unwrap(), expected);
}

#[test]
fn the_power_goes_off_in_the_middle_and_comes_back_with_the_crash() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "/f", b"abc");
    disk.power_off_after(1);
    file.write_all_at(b"x", 0).unwrap();
    assert!(disk.is_off());
    assert!(file.sync_data().is_err());
    assert!(file.read_at(&mut [0; 1], 0).is_err());
    disk.crash();
    assert!(!disk.is_off());
    assert!(disk.open(Path::new("/f"), OpenMode::Read).is_ok());
}

#[test]
fn removing_a_tree_may_leave_any_part_of_it_but_synced_it_is_gone() {
    let mut left = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/d/e")).unwrap();
        durable(&disk, "/d/e/f", b"f");
        durable(&disk, "/d/g", b"g");
        disk.sync_dir(Path::new("/")).unwrap();
        disk.remove_dir_all(Path::new("/d")).unwrap();
        assert!(disk.list(Path::new("/d")).is_err());
        if seed % 2 == 0 {
            disk.sync_dir(Path::new("/")).unwrap();
        }
        disk.crash();
        let now = (exists(&disk, "/d/e/f"), exists(&disk, "/d/g"));
        assert!(seed % 2 == 1 || now == (false, false));
        left.insert(now);
    }
    assert_eq!(left.len(), 4);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.set_faults(Faults { short_write: 300_000, write_error: 100_000, ..Faults::default() });
        disk.create_dir_all(Path::new("/d")).unwrap();
        for round in 0..20u8 {
            let path = format!("/d/{}", round % 5);
            let Ok(file) = disk.open(Path::new(&path), OpenMode::CreateTruncate) else { continue };
            let _ = file.write_all_at(&[round; 3000], 100);
            if round % 3 == 0 {
                let _ = file.sync_data();
            }
            if round % 7 == 0 {
                disk.crash();
                let _ = disk.create_dir_all(Path::new("/d"));
            }
        }
        let files: Vec<_> = (0..5).map(|n| bytes(&disk, &format!("/d/{n}"))).collect();
        (disk.trace_hash(), files)
    };
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn the_clock_moves_when_told_and_only_then() {
    let clock = SimClock::new(1_000);
    clock.advance(5);
    clock.jump_wall(-500);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (505, 5));
    clock.clone().set_wall(9);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (9, 5));
}
