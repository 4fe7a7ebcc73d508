//! Directories that are torn, foreign, or of another make.

use super::*;
use crate::report::{Health, RecoveryRow};
use crate::superblock::SLOT_BYTES;

fn filled() -> (Bench, TopicInfo) {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    for n in 0..20 {
        send(&store, &t, 0, format!("{n}").as_bytes());
    }
    store.close().unwrap();
    (bench, t)
}

fn sentence(bench: &Bench) -> String {
    bench.try_open().map(|_| ()).unwrap_err().to_string()
}

#[test]
fn one_torn_superblock_slot_is_survived_and_two_are_refused() {
    for slot in 0..2 {
        let (bench, t) = filled();
        let path = Path::new("/data/braid/superblock");
        bench.disk.rot(path, slot * SLOT_BYTES as u64 + 20).unwrap();
        // The slot before the last says less: the log is read on from there.
        let (store, _) = bench.open();
        assert_eq!(all(&store, queue(&t, 0)).len(), 20, "slot {slot}");
        drop(store);
        for slot in 0..2 {
            bench.disk.overwrite(path, slot * SLOT_BYTES as u64, &[0xEE; 16]).unwrap();
        }
        assert!(sentence(&bench).contains("neither slot"), "{}", sentence(&bench));
    }
}

#[test]
fn a_log_without_a_superblock_is_refused() {
    let (bench, _) = filled();
    bench.disk.process().remove_file(Path::new("/data/braid/superblock")).unwrap();
    assert!(sentence(&bench).contains("no superblock"), "{}", sentence(&bench));
}

#[test]
fn a_damaged_snapshot_is_read_from_the_log_while_its_first_byte_is_there() {
    let (bench, t) = filled();
    bench.disk.rot(Path::new("/data/braid/snapshot"), 40).unwrap();
    let (store, report) = bench.open();
    assert!(report.notes[0].contains("braid/snapshot is damaged"), "{:?}", report.notes);
    assert_eq!(store.topic("T"), Some(t.clone()));
    assert_eq!(all(&store, queue(&t, 0)).len(), 20);
}

#[test]
fn a_damaged_snapshot_of_a_log_that_was_cut_is_refused() {
    let mut bench = Bench::new();
    bench.options.retention.keep_ms = 1000;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    while store.watermarks().appended().0 < 2 * FILE_BYTES {
        send(&store, &t, 0, &[5; 3000]);
    }
    bench.clock.advance(5000);
    keep_house(&store, 10);
    assert!(store.log_range().0.0 > 0);
    store.close().unwrap();
    drop(store);
    bench.disk.rot(Path::new("/data/braid/snapshot"), 40).unwrap();
    assert!(sentence(&bench).contains("braid/snapshot is damaged"), "{}", sentence(&bench));
}

#[test]
fn strays_and_files_of_another_length_are_refused_by_name() {
    let (bench, _) = filled();
    let stray = Path::new("/data/commitlog/notes.txt");
    let disk = bench.disk.process();
    disk.open(stray, braid_io::OpenMode::CreateNew).unwrap();
    assert!(sentence(&bench).contains("notes.txt is no log file"), "{}", sentence(&bench));
    disk.remove_file(stray).unwrap();
    disk.open(&bench.log_file(0), braid_io::OpenMode::Write).unwrap().set_len(100).unwrap();
    assert!(sentence(&bench).contains("has 100 bytes"), "{}", sentence(&bench));
}

#[test]
fn options_that_contradict_the_directory_are_refused() {
    let (mut bench, _) = filled();
    bench.options.file_bytes *= 2;
    assert!(matches!(bench.try_open(), Err(OpenError::Options(_))));
    bench.options.file_bytes = 5000;
    assert!(sentence(&bench).contains("multiple of 4096"), "{}", sentence(&bench));
}

#[test]
fn the_end_is_cut_where_it_is_torn() {
    for (what, row) in [("torn", RecoveryRow::TornTail), ("hole", RecoveryRow::Hole)] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        for n in 0..20 {
            send(&store, &t, 0, format!("{n}").as_bytes());
        }
        let torn = append(&store, &t, 0, &[9; 3000]).unwrap().records[0].position.0;
        if what == "hole" {
            append(&store, &t, 0, b"whole").unwrap();
        }
        store.write_turn();
        drop(store);
        bench.disk.overwrite(&bench.log_file(0), torn + 1000, &[0; 512]).unwrap();
        let (store, report) = bench.open();
        assert_eq!((&report.rows[..], report.damage.len()), (&[row][..], 0));
        assert_eq!(store.watermarks().appended().0, torn);
        assert_eq!(all(&store, queue(&t, 0)).len(), 20);
        assert_eq!(send(&store, &t, 0, b"on").records[0].offset, 20);
        drop(store);
        // Each unclean start raises the epoch.
        let epoch = crate::superblock::read(&bench.disk, Path::new("/data/braid/superblock")).unwrap().epoch;
        assert_eq!(epoch, 2);
    }
}

#[test]
fn a_record_far_behind_a_bad_one_proves_damage() {
    let mut bench = Bench::new();
    bench.options.file_bytes = 4 * FILE_BYTES;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let bad = send(&store, &t, 0, b"bad").records[0].position.0;
    // The superblock is as old as the directory, but so many bytes were never unflushed together.
    while store.watermarks().appended().0 - bad <= bench.options.unflushed_bytes_max {
        send(&store, &t, 1, &[1; 2000]);
    }
    drop(store);
    bench.disk.rot(&bench.log_file(0), bad + 60).unwrap();
    let (store, report) = bench.open();
    assert_eq!(report.rows[0], RecoveryRow::DamageBelowWatermark);
    assert_eq!(report.damage[0].from.0, bad);
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    assert!(matches!(append(&store, &t, 0, b""), Err(AppendError::Closed(_))));
    assert!(all(&store, queue(&t, 1)).len() > 10, "what verifies is served");
}

#[test]
fn a_second_process_is_told_so() {
    // The operating system's lock: one process does not lock itself out, so a simulated one asks.
    let bench = Bench::new();
    let (_store, _) = bench.open();
    assert!(matches!(bench.try_open(), Err(OpenError::Locked(_))));
}
