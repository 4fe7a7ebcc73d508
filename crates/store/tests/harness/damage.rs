//! How a seed ends: what was durable is damaged while the store is closed. Damage may be repaired from what is left, or
//! reported, or refuse the start; it is never served and never cut away in silence.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use braid_io::Disk;
use braid_io::sim::{FaultKind, Faults};
use braid_store::tool::{repair, verify};
use braid_store::{
    AppendError, GroupBuilder, Health, OpenError, QueueKey, ReadRequest, ReadStatus, RecoveryReport, Store,
    StoreError,
};

use super::message::Message;
use super::oracle::{read, request};
use super::world::{DIR, End, World, nothing_new, row_name};

/// Bytes of one superblock slot.
const SLOT_BYTES: u64 = 4096;

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A bit of some record flips.
    Rot,
    /// As `Rot`, and the indexes are gone too, so that the start has to read the whole log.
    RotAndNoIndex,
    /// The log's last part is as if it had never been written.
    RolledBack,
    /// The last file is gone.
    LastFileGone,
    /// A file in the middle is gone.
    MiddleFileGone,
    /// Neither slot of the superblock is readable.
    NoSuperblock,
    /// One slot of the superblock is not readable.
    OneSlot,
    /// Bits of what is derived flip.
    DerivedRot,
    /// A bit of the snapshot flips.
    SnapshotRot,
    /// A sector was written to the wrong place, some time before the end.
    Misdirected,
}

const KINDS: [Kind; 10] = [
    Kind::Rot,
    Kind::RotAndNoIndex,
    Kind::RolledBack,
    Kind::LastFileGone,
    Kind::MiddleFileGone,
    Kind::NoSuperblock,
    Kind::OneSlot,
    Kind::DerivedRot,
    Kind::SnapshotRot,
    Kind::Misdirected,
];

/// Damages a closed store in a way drawn from the seed, and looks at what the next start makes of it.
pub fn end_in_damage(world: &mut World) {
    world.faults = Faults::default();
    world.restart(End::Close);
    let kind = KINDS[world.rng.below(KINDS.len() as u64) as usize];
    world.note(format!("the end is {kind:?}"));
    if kind == Kind::Misdirected {
        misdirect(world);
    }
    world.end(End::Close);
    let superblock = braid_file("superblock");
    let seen = match kind {
        Kind::Rot => rot_record(world, false),
        Kind::RotAndNoIndex => {
            world.drop_derived();
            rot_record(world, true)
        }
        Kind::RolledBack => {
            if world.rng.one_in(2) {
                world.drop_derived();
            }
            roll_back(world)
        }
        Kind::LastFileGone => remove_file(world, true),
        Kind::MiddleFileGone => remove_file(world, false),
        Kind::NoSuperblock => {
            spoil(world, &superblock, 0);
            spoil(world, &superblock, SLOT_BYTES);
            Seen::Refused
        }
        Kind::OneSlot => {
            let slot = world.rng.below(2);
            spoil(world, &superblock, slot * SLOT_BYTES);
            Seen::Healed
        }
        Kind::DerivedRot => rot_derived(world),
        Kind::SnapshotRot => rot_file(world, &braid_file("snapshot")),
        Kind::Misdirected => {
            world.disk.crash();
            Seen::Perhaps
        }
    };
    match world.try_open() {
        Err(OpenError::Format(sentence)) => {
            assert!(matches!(seen, Seen::Refused | Seen::Perhaps), "{kind:?} refused the start: {sentence}");
            if kind == Kind::NoSuperblock {
                world.coverage.count(&row_name(&braid_store::RecoveryRow::NoSuperblock));
            }
        }
        Err(error) => panic!("{kind:?}: {error}"),
        Ok((store, report)) => {
            assert_ne!(seen, Seen::Refused, "{kind:?} did not refuse the start");
            let read_only = judge(world, &store, &report);
            match seen {
                Seen::Reported => assert!(read_only, "{kind:?} was not seen: {report:?}"),
                Seen::Healed => {
                    assert!(!read_only, "{kind:?}: {report:?}");
                    world.oracle.start = store.log_range().0.0;
                    world.oracle.check_all(&store, &mut world.rng);
                }
                Seen::Refused | Seen::Perhaps => {}
            }
            drop(store);
            if read_only {
                repair_and_go_on(world);
            }
        }
    }
}

/// Gives up what is damaged, also when that is interrupted, and goes on: what was not damaged is there, and offsets that
/// can be read are not given again.
fn repair_and_go_on(world: &mut World) {
    let disk = || -> Arc<dyn Disk> { Arc::new(world.disk.process()) };
    // A start reads as little as it can; this reads everything.
    let report =
        verify(&world.options, disk(), &mut |_, _| {}).unwrap_or_else(|e| panic!("not verified: {e}"));
    assert!(!report.is_sound(), "what was read-only is sound: {report:?}");
    if world.rng.one_in(2) {
        world.disk.power_off_after(world.rng.below(12));
        let cut = repair(&world.options, disk());
        assert!(cut.is_ok() || world.disk.is_off(), "{cut:?}");
        world.disk.crash();
    }
    let repaired = repair(&world.options, disk()).unwrap_or_else(|e| panic!("not repaired: {e}"));
    let found =
        verify(&world.options, disk(), &mut |_, _| {}).unwrap_or_else(|e| panic!("not verified: {e}"));
    assert!(found.is_sound(), "repaired, and not sound: {found:?}");
    let (store, after) = world.try_open().unwrap_or_else(|e| panic!("not opened after a repair: {e}"));
    assert!(after.damage.is_empty(), "{after:?} after {repaired:?}");
    assert_eq!(store.health(), Health::Serving);

    let lost = |position: u64| {
        report.damage.iter().any(|damage| (damage.from.0..damage.to.0).contains(&position))
            || position >= repaired.end.0
    };
    let start = store.log_range().0.0;
    let mut next: Vec<(QueueKey, u64)> = Vec::new();
    for (queue, model) in &world.oracle.model.queues {
        let mut end = 0;
        let begin = model.start(usize::MAX);
        for entry in &model.entries {
            let expected = world.oracle.record(entry);
            if expected.position < start || entry.first + u64::from(entry.count) <= begin {
                continue;
            }
            let at = entry.first.max(begin);
            let found = read(&store, &ReadRequest { records_max: 1, ..request(*queue, at) });
            let found = found.ok().and_then(|result| result.records.first().cloned());
            if found.as_ref() == Some(&expected.bytes) {
                end = entry.first + u64::from(entry.count);
            } else {
                let topic_is_lost = store.topics().iter().all(|topic| topic.number != queue.topic);
                assert!(
                    lost(expected.position) || topic_is_lost,
                    "the repair gave up {queue:?} at {}, position {}: {report:?}, {repaired:?}",
                    entry.first,
                    expected.position
                );
            }
        }
        next.push((*queue, end));
    }
    for (queue, end) in next {
        let Some(topic) = store.topics().into_iter().find(|topic| topic.number == queue.topic) else {
            continue;
        };
        let message = Message::new(&topic.name, queue, 0, 100, &mut world.rng);
        let mut builder = GroupBuilder::new();
        builder.record(message.new_record(&[]));
        let mut appended = store.append(store.group(builder).expect("a small message"));
        if matches!(appended, Err(AppendError::Busy { .. })) {
            // The first one after a start may have to wait until there is room behind the log's end.
            store.flush_turn();
            let mut builder = GroupBuilder::new();
            builder.record(message.new_record(&[]));
            appended = store.append(store.group(builder).expect("a small message"));
        }
        let appended = appended.expect("a repaired log takes appends");
        assert!(appended.records[0].offset >= end, "{queue:?}: an offset was given again");
        store.write_turn();
        store.flush_turn();
        let found = read(&store, &request(queue, appended.records[0].offset)).expect("what was just flushed");
        assert_eq!(found.records.len(), 1, "{queue:?}");
    }
}

/// What must come of a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The start reports it and the store is read-only.
    Reported,
    /// The start is refused.
    Refused,
    /// Nothing is lost.
    Healed,
    /// It depends on what was hit; wrong bytes and silent loss are never allowed.
    Perhaps,
}

/// Reads every record one by one: right bytes, or an error, or a store that says that it is damaged.
fn judge(world: &mut World, store: &Store, report: &RecoveryReport) -> bool {
    let read_only = !report.damage.is_empty();
    let health = store.health();
    assert_eq!(matches!(health, Health::ReadOnly(_)), read_only, "{health:?} with {report:?}");
    if read_only {
        let mut builder = GroupBuilder::new();
        builder.state(&[nothing_new()]);
        let refused = store.group(builder).and_then(|group| store.append(group));
        assert!(matches!(refused, Err(AppendError::Closed(_))), "a damaged log took {refused:?}");
        assert!(store.create_topic("new", b"").is_err(), "a damaged log took a topic");
    }
    let mut missing = 0;
    let start = store.log_range().0.0;
    for (queue, model) in &world.oracle.model.queues {
        let begin = model.start(usize::MAX);
        for entry in &model.entries {
            let expected = world.oracle.record(entry);
            let is_cut = entry.first + u64::from(entry.count) <= begin;
            if expected.position < start.max(world.oracle.start) || is_cut {
                continue;
            }
            match read(store, &request(*queue, entry.first.max(begin))) {
                Ok(result) if result.status == ReadStatus::Found => {
                    let later = model.entries.iter().map(|entry| &world.oracle.record(entry).bytes);
                    let found = &result.records[0];
                    if *found != expected.bytes {
                        missing += 1;
                        assert!(later.into_iter().any(|bytes| bytes == found), "WRONG BYTES in {queue:?}");
                    }
                }
                Err(StoreError::Damaged { .. }) => {}
                Err(StoreError::NoTopic) | Ok(_) => missing += 1,
                Err(other) => panic!("{queue:?}: {other}"),
            }
        }
    }
    assert!(missing == 0 || read_only, "{missing} records vanished in silence: {report:?}");
    read_only
}

/// Lets one sector of what is flushed now land elsewhere, and goes on.
fn misdirect(world: &mut World) {
    world.ensure_topics();
    for _ in 0..20 {
        let message = world.message();
        world.append(vec![message], Vec::new());
    }
    world.write_turn();
    world.disk.fail_next(FaultKind::MisdirectedWrite, "");
    // The device said yes, so the store cannot know: what is claimed now is not asked of the device.
    world.asks_device = false;
    world.flush_turn();
}

fn rot_record(world: &mut World, no_index: bool) -> Seen {
    let places: Vec<(u64, usize)> = world.oracle.records().map(|r| (r.position, r.bytes.len())).collect();
    if places.is_empty() {
        return Seen::Healed;
    }
    let (position, len) = places[world.rng.below(places.len() as u64) as usize];
    let (path, at) = world.place(position);
    let at = at + world.rng.below(len as u64);
    world.disk.rot(&path, at).expect("the file of a record is there");
    if no_index { Seen::Reported } else { Seen::Perhaps }
}

fn roll_back(world: &mut World) -> Seen {
    let places: Vec<u64> = world.oracle.records().map(|record| record.position).collect();
    if places.is_empty() {
        return Seen::Healed;
    }
    let from = places[world.rng.below(places.len() as u64) as usize];
    let file_bytes = world.options.file_bytes;
    for base in files(world).into_iter().filter(|base| base + file_bytes > from) {
        let path = world.log_path(base);
        let at = from.saturating_sub(base);
        let zeros = vec![0; (file_bytes - at) as usize];
        world.disk.overwrite(&path, at, &zeros).expect("log files have their full length");
    }
    Seen::Reported
}

fn remove_file(world: &mut World, last: bool) -> Seen {
    // Files that were made ahead and hold nothing may go without loss.
    let end = world.oracle.events.last().map_or(0, |event| event.end);
    let mut files: Vec<u64> = files(world).into_iter().filter(|base| *base < end).collect();
    if files.len() < 2 {
        return Seen::Healed;
    }
    let base = if last {
        files.pop().expect("there are two")
    } else if files.len() < 3 {
        return Seen::Healed;
    } else {
        files[1 + world.rng.below(files.len() as u64 - 2) as usize]
    };
    let path = world.log_path(base);
    world.disk.remove_file(&path).expect("it is listed");
    world.disk.sync_dir(&Path::new(DIR).join("commitlog")).expect("it is there");
    Seen::Reported
}

fn rot_derived(world: &mut World) -> Seen {
    let paths = files_below(world, &Path::new(DIR).join("braid").join("derived"));
    for (path, len) in paths {
        for _ in 0..1 + world.rng.below(8) {
            if len > 0 {
                let at = world.rng.below(len);
                world.disk.rot(&path, at).expect("it is listed with this length");
            }
        }
    }
    Seen::Healed
}

fn rot_file(world: &mut World, path: &Path) -> Seen {
    let Ok(bytes) = world.disk.bytes(path) else { return Seen::Healed };
    let at = world.rng.below(bytes.len() as u64);
    world.disk.rot(path, at).expect("it is that long");
    Seen::Perhaps
}

fn spoil(world: &mut World, path: &Path, at: u64) {
    let noise: Vec<u8> = (0..64).map(|_| world.rng.next_u64() as u8).collect();
    world.disk.overwrite(path, at, &noise).expect("both slots are there");
}

fn braid_file(name: &str) -> PathBuf {
    Path::new(DIR).join("braid").join(name)
}

fn files(world: &World) -> Vec<u64> {
    let entries = world.disk.list(&Path::new(DIR).join("commitlog")).expect("it is there");
    entries.iter().filter_map(|entry| entry.name.parse().ok()).collect()
}

fn files_below(world: &World, dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in world.disk.list(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(files_below(world, &path));
        } else {
            found.push((path, entry.len));
        }
    }
    found
}
