//! The command line's functions.

use super::*;
use crate::report::{Health, RecoveryRow};
use crate::tool::{inspect, repair, verify};

/// Twelve records of two queues in two files, closed.
fn filled() -> (Bench, TopicInfo, Vec<u64>) {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let positions =
        (0..12).map(|n| send(&store, &t, n % 2, &[n as u8; 8000]).records[0].position.0).collect();
    store.close().unwrap();
    (bench, t, positions)
}

fn disk(bench: &Bench) -> Arc<dyn Disk> {
    Arc::new(bench.disk.process())
}

#[test]
fn a_sound_directory_is_sound_and_inspected() {
    let (bench, t, _) = filled();
    let mut told = Vec::new();
    let found = verify(&bench.options, disk(&bench), &mut |done, total| told.push((done, total))).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.records, found.files), (13, 2));
    assert!(told.len() == 13 && told.is_sorted());
    let seen = inspect(&bench.options, disk(&bench)).unwrap();
    assert_eq!((seen.clean, seen.file_bytes, &seen.rows[..]), (true, FILE_BYTES, &[RecoveryRow::Clean][..]));
    let (info, queues) = seen.topics.iter().find(|(info, _)| info.name == "T").unwrap();
    assert_eq!(*info, t);
    assert_eq!(queues.iter().map(|(id, o)| (*id, o.min, o.max)).collect::<Vec<_>>(), [(0, 0, 6), (1, 0, 6)]);
    assert_eq!(bench.open().1.rows, [RecoveryRow::Clean], "neither changed anything");
}

#[test]
fn damage_is_told_with_its_offsets_and_given_up_by_a_repair() {
    let (bench, t, positions) = filled();
    for n in [2, 3, 10] {
        bench
            .disk
            .rot(&bench.log_file(positions[n] - positions[n] % FILE_BYTES), positions[n] % FILE_BYTES + 99)
            .unwrap();
    }
    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    let (store, report) = bench.open();
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    let lost: Vec<_> = report.damage.iter().flat_map(|d| d.lost.clone()).collect();
    assert_eq!(
        lost,
        [("T".to_owned(), 0, 1, 1), ("T".to_owned(), 1, 1, 1), ("T".to_owned(), 0, 5, 1)][..lost.len()],
        "the last one has no record behind it that would tell"
    );
    assert!(lost.len() >= 2);
    drop(store);

    let found = verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap();
    assert!(!found.is_sound() && found.damage.len() == 2, "{found:?}");
    let lost = |queue_id, first, count| ("T".to_owned(), queue_id, first, count);
    assert_eq!(found.damage[0].lost, [lost(0, 1, 1), lost(1, 1, 1)]);
    assert_eq!(found.damage[1].lost, [lost(0, 5, 1)], "the snapshot knows where the queue ended");
    let given_up = repair(&bench.options, disk(&bench)).unwrap();
    assert_eq!(given_up.damage, found.damage);
    let found = verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap();
    assert!(found.is_sound(), "{found:?}");

    let (store, report) = bench.open();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(store.health(), Health::Serving);
    let left = |id| all(&store, queue(&t, id)).iter().map(|body| body[0]).collect::<Vec<_>>();
    assert_eq!((left(0), left(1)), (vec![0, 4, 6, 8], vec![1, 5, 7, 9, 11]));
    assert_eq!(send(&store, &t, 1, b"on").records[0].offset, 6);
    assert_eq!(send(&store, &t, 0, b"on").records[0].offset, 6, "a lost offset is not given again");
    store.close().unwrap();
    drop(store);

    bench
        .disk
        .rot(&bench.log_file(positions[8] - positions[8] % FILE_BYTES), positions[8] % FILE_BYTES + 99)
        .unwrap();
    let found = verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap();
    let lost: Vec<_> = found.damage.iter().flat_map(|damage| &damage.lost).collect();
    // The gap before offset 6 is seen as one: what an older repair gave up behind the damage is not told from it.
    assert_eq!(lost, [&("T".to_owned(), 0, 4, 2)], "what was given up before the damage is not told again");
}

#[test]
fn a_missing_file_is_made_of_filler() {
    let (bench, t, positions) = filled();
    bench.disk.process().remove_file(&bench.log_file(0)).unwrap();
    let (store, report) = bench.open();
    assert_eq!(report.rows[0], RecoveryRow::MissingFile);
    drop(store);
    repair(&bench.options, disk(&bench)).unwrap();
    let (store, _) = bench.open();
    assert_eq!(store.health(), Health::Serving);
    let second_file = positions.iter().filter(|&&p| p >= FILE_BYTES).count();
    assert_eq!(all(&store, queue(&t, 0)).len() + all(&store, queue(&t, 1)).len(), second_file);
    assert_eq!(store.topic("T"), Some(t), "state is in the snapshot");
}

/// Files that are missing are seen before any record is.
#[test]
fn damage_before_a_missing_file_is_given_up_with_it() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let positions: Vec<u64> =
        (0..24).map(|n| send(&store, &t, n % 2, &[n as u8; 8000]).records[0].position.0).collect();
    store.close().unwrap();
    drop(store);
    let missing: Vec<u64> = (0..24).filter(|&n| positions[n as usize] / FILE_BYTES == 1).collect();
    let (first, last) = (missing[0], missing[missing.len() - 1]);
    assert!(first > 4 && last < 20, "records lie before and behind: {positions:?}");
    bench.disk.rot(&bench.log_file(0), positions[2] + 99).unwrap();
    bench.disk.process().remove_file(&bench.log_file(FILE_BYTES)).unwrap();

    let given_up = repair(&bench.options, disk(&bench)).unwrap();
    let places: Vec<u64> = given_up.damage.iter().map(|damage| damage.from.0).collect();
    assert_eq!(places, [positions[2], FILE_BYTES]);
    assert_eq!(given_up.damage[0].lost, [("T".to_owned(), 0, 1, 1)]);
    let lost_of = |id: u64| {
        let of_queue: Vec<u64> = missing.iter().filter(|&n| n % 2 == id).map(|n| n / 2).collect();
        ("T".to_owned(), id as u32, of_queue[0], of_queue.len() as u64)
    };
    let mut lost = given_up.damage[1].lost.clone();
    lost.sort();
    assert_eq!(lost, [lost_of(0), lost_of(1)]);

    assert!(verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap().is_sound());
    let (store, report) = bench.open();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(store.health(), Health::Serving);
    let is_left = |n: &u64| *n != 2 && !missing.contains(n);
    for id in 0..2 {
        let left: Vec<u64> = all(&store, queue(&t, id)).iter().map(|body| u64::from(body[0])).collect();
        assert_eq!(left, (0..24).filter(|n| n % 2 == u64::from(id)).filter(is_left).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_that_ends_below_its_watermark_ends_there_after_a_repair() {
    let (bench, t, positions) = filled();
    let at = positions[11];
    let base = at - at % FILE_BYTES;
    bench.disk.overwrite(&bench.log_file(base), at - base, &[0; 8200]).unwrap();
    let (store, report) = bench.open();
    assert_eq!(report.rows, [RecoveryRow::ShorterThanWatermark]);
    drop(store);
    let given_up = repair(&bench.options, disk(&bench)).unwrap();
    assert_eq!(given_up.end.0, at);
    let (store, _) = bench.open();
    assert_eq!(store.health(), Health::Serving);
    assert_eq!(all(&store, queue(&t, 1)).len(), 5);
    assert_eq!(send(&store, &t, 1, b"on").records[0].offset, 6, "the lost offset is not given again");
}

/// All files below a directory.
fn files_below(bench: &Bench, dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in bench.disk.process().list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir { found.extend(files_below(bench, &path)) } else { found.push(path) }
    }
    found
}

/// The index of another log, whole by its checksums, lies about every offset that it names another place for.
#[test]
fn an_index_that_lies_is_found_and_cured_by_deleting_it() {
    let derived = Path::new("/data/braid/derived");
    let (bench, t, positions) = filled();
    // The same log, but for the order in which the two queues got their first records.
    let other = Bench::new();
    let (store, _) = other.open();
    let its = topic(&store, "T");
    for n in 0..12u32 {
        let queue_id = if n < 2 { 1 - n } else { n % 2 };
        let placed = &send(&store, &its, queue_id, &[n as u8; 8000]).records[0];
        assert_eq!(placed.position.0, positions[n as usize], "the records of both lie at the same places");
    }
    store.close().unwrap();
    drop(store);
    bench.disk.process().remove_dir_all(derived).unwrap();
    for path in files_below(&other, derived) {
        let disk = bench.disk.process();
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.open(&path, braid_io::OpenMode::CreateNew).unwrap();
        file.write_all_at(&other.disk.bytes(&path).unwrap(), 0).unwrap();
    }

    let found = verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap();
    assert!(found.damage.is_empty() && !found.is_sound(), "{found:?}");
    assert_eq!(found.derived_findings, 2, "{found:?}");
    assert!(found.derived[0].contains("offset 0 of T queue 0"), "{found:?}");
    assert!(found.derived[1].contains("offset 0 of T queue 1"), "{found:?}");

    bench.disk.process().remove_dir_all(derived).unwrap();
    assert!(verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap().is_sound());
    let (store, _) = bench.open();
    let left = |id| all(&store, queue(&t, id)).iter().map(|body| body[0]).collect::<Vec<_>>();
    assert_eq!((left(0), left(1)), (vec![0, 2, 4, 6, 8, 10], vec![1, 3, 5, 7, 9, 11]));
}

/// What is derived has checksums of its own: a bit that flips there is not believed, and costs no record. (A run of keys is
/// checked when it is asked, and answers with an error then.)
#[test]
fn a_rotten_index_is_not_believed() {
    let derived = Path::new("/data/braid/derived");
    let paths = files_below(&filled().0, derived);
    assert!(paths.len() >= 2, "both indexes are there: {paths:?}");
    for path in paths {
        let (bench, t, _) = filled();
        let len = bench.disk.bytes(&path).unwrap().len() as u64;
        for part in 1..8 {
            bench.disk.rot(&path, len * part / 8).unwrap();
        }
        let (store, report) = bench.open();
        assert!(report.damage.is_empty(), "{path:?}: {report:?}");
        assert_eq!(all(&store, queue(&t, 0)).len() + all(&store, queue(&t, 1)).len(), 12, "{path:?}");
        match store.query_key(t.number, "key", 0, i64::MAX, 100) {
            Ok(found) => assert_eq!(found.len(), 12, "{path:?}"),
            Err(error) => assert!(error.to_string().contains("index is damaged"), "{path:?}: {error}"),
        }
    }
}
