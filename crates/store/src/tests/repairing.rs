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

#[test]
fn an_index_that_lies_is_found_and_cured_by_deleting_it() {
    let (bench, _, _) = filled();
    let queues = Path::new("/data/braid/derived/queues");
    let file = bench.disk.process().list(queues).unwrap().remove(0).name;
    // Entries of the first block, behind its header: the block's checksum does not match any more.
    bench.disk.rot(&queues.join(file), 4096 + 100).ok();
    let found = verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap();
    assert!(found.damage.is_empty());
    bench.disk.process().remove_dir_all(Path::new("/data/braid/derived")).unwrap();
    assert!(verify(&bench.options, disk(&bench), &mut |_, _| {}).unwrap().is_sound());
}
