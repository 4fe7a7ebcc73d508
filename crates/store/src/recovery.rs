//! Opening a directory: finding the log's end, telling a tear from damage, rebuilding what is derived.
//!
//! [`walk`](crate::walk) finds the log's end and its damage; here is what is done about it. A damaged log is opened for
//! reading, and nothing on disk is changed. Any other log is cut where it ends, made durable, and goes on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use braid_io::{Clock, DirLock, Disk, File, OpenMode, disk::replace_file};

use crate::appender::Appender;
use crate::catalog::{Catalog, QueueKey};
use crate::epoch::Epochs;
use crate::files::{self, Layout, LogFile, LogFiles, PrepareError, parse_log_file_name, sync_dir};
use crate::housekeeping::House;
use crate::index::QueueIndex;
use crate::keys::KeyIndex;
use crate::options::StoreOptions;
use crate::producers::Producers;
use crate::replay::{Covered, Replay};
use crate::report::{Damage, Health, OpenError, RecoveryReport, RecoveryRow};
use crate::rescue::{self, Rescue};
use crate::scan::LogScan;
use crate::shard::{Ids, Parts, Shard};
use crate::snapshot::{self, Snapshot};
use crate::state::StateMap;
use crate::superblock::{self, Superblock, SuperblockError, SuperblockFile};
use crate::walk::{LogEnd, Walk};

/// Bytes of zeros that one write of a cut writes.
const CUT_STEP_BYTES: u64 = 1 << 20;

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

/// Opens a directory for use.
pub(crate) fn open(
    options: StoreOptions,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<(Shard, RecoveryReport), OpenError> {
    options.check().map_err(OpenError::Options)?;
    let mut directory = Directory::enter(&options, &*disk)?;
    let mut report = RecoveryReport::default();
    let files = open_files(&*disk, &directory.layout, &directory.superblock, OpenMode::Write)?;
    write_back_rescue(&*disk, &directory.layout, &directory.superblock, &files)
        .map_err(io_error("writing back the log's end"))?;
    let snapshot = load_snapshot(&*disk, &directory.layout, &directory.superblock, &mut report)?;
    let mut outcome = recover(&options, &disk, &directory, &snapshot, files)?;
    report.rows = if directory.is_new { vec![RecoveryRow::New] } else { std::mem::take(&mut outcome.rows) };
    report.scanned_records = outcome.scanned;
    report.damage = std::mem::take(&mut outcome.damage);
    report.notes.append(&mut outcome.notes);

    let end = outcome.end.end;
    let (settled, files) = if report.damage.is_empty() {
        directory.settle(&options, &*disk, outcome.scan, outcome.end, outcome.clean)?
    } else {
        let files = known_files(&directory.superblock, outcome.scan, end);
        (Settled::read_only(describe_damage(&report.damage)), files)
    };
    report.cut_bytes = settled.cut_bytes;
    if let Health::ReadOnly(why) = &settled.health {
        report.notes.push(format!("the log is open for reading only: {why}"));
    }

    let Outcome { queues, keys, catalog, state, producers, last_group, store_ms, sealed, .. } = outcome;
    queues.retain_topics(&|topic| catalog.live(topic).is_some());
    settle_queues(&queues, &catalog, &state, &snapshot);
    let superblock = &directory.superblock;
    let appender = Appender::new(
        superblock.file_bytes,
        end,
        last_group,
        store_ms,
        state,
        producers,
        queues.next_offsets(),
    );
    let house = House::new(superblock, snapshot.position, sealed, store_ms, &*clock);
    tell(&report, end);
    let shard = Shard::new(Parts {
        first: superblock.first_position,
        epochs: Epochs::new(superblock.epoch, &superblock.epochs),
        layout: directory.layout,
        lock: directory.lock,
        ids: directory.ids,
        health: settled.health,
        superblock: settled.superblock,
        options,
        disk,
        clock,
        files,
        appender,
        catalog,
        queues,
        keys,
        house,
    });
    Ok((shard, report))
}

/// A directory under its lock, with its superblock.
struct Directory {
    layout: Layout,
    lock: Box<dyn DirLock>,
    superblock: Superblock,
    is_new: bool,
    boot: u128,
    ids: Ids,
}

/// A log that goes on, or that is open for reading.
struct Settled {
    health: Health,
    superblock: Option<SuperblockFile>,
    cut_bytes: u64,
}

impl Settled {
    fn read_only(why: String) -> Self {
        Self { health: Health::ReadOnly(why), superblock: None, cut_bytes: 0 }
    }
}

impl Directory {
    /// Takes the lock and reads the superblock, or makes both.
    fn enter(options: &StoreOptions, disk: &dyn Disk) -> Result<Self, OpenError> {
        let layout = Layout::new(&options.dir);
        let lock = take_lock(disk, &layout)?;
        let mut ids = Ids::new(options.id_seed);
        let boot = ids.draw();
        make_directories(disk, &layout).map_err(io_error("making the data directory"))?;
        let (superblock, is_new) = match superblock::read(disk, &layout.superblock) {
            Ok(superblock) => (superblock, false),
            Err(SuperblockError::Missing) => {
                (make_superblock(options, disk, &layout, ids.draw(), boot)?, true)
            }
            Err(error) => return Err(refuse_superblock(error)),
        };
        check_options(options, &superblock)?;
        Ok(Self { layout, lock, superblock, is_new, boot, ids })
    }

    /// Makes the log's end what it was found to be, durably, and says so in the superblock: after this it may be
    /// appended to. A disk that has no room for the copies that this takes leaves a log to read from.
    fn settle(
        &mut self,
        options: &StoreOptions,
        disk: &dyn Disk,
        mut scan: LogScan,
        log_end: LogEnd,
        clean: bool,
    ) -> Result<(Settled, LogFiles), OpenError> {
        let layout = &self.layout;
        let end = log_end.end;
        let unclean = !clean && !self.is_new;
        // First of all, because it makes room.
        remove_unused(disk, layout, &mut scan, end).map_err(io_error("removing unused log files"))?;
        let mut cut_bytes = 0;
        if unclean {
            cut_bytes = cut(&scan, log_end).map_err(io_error("cutting the log's torn end"))?;
        }
        let written = if unclean { make_durable(disk, layout, &scan, &self.superblock, end) } else { Ok(()) };
        let renewed = written.map_err(|error| ("syncing the log", error)).and_then(|()| {
            SuperblockFile::renew(disk, &layout.superblock, self.superblock.clone(), self.is_new)
                .map_err(|error| ("writing the superblock", error))
        });
        let mut file = match renewed {
            Ok(file) => file,
            Err((what, error)) if is_full(&error) && !self.is_new => {
                // What readers are given should outlive a power cut, as far as a sync alone can see to that.
                if let Some(file) = scan.file(scan.base_of(end.saturating_sub(1))) {
                    file.sync_data().map_err(io_error("syncing the log"))?;
                }
                let settled = Settled { cut_bytes, ..Settled::read_only(describe_full_disk(what)) };
                return Ok((settled, known_files(&self.superblock, scan, end)));
            }
            Err((what, error)) => return Err(io_error(what)(error)),
        };

        let log_files = known_files(&self.superblock, scan, end);
        let mut health = Health::Serving;
        if log_files.holding(end).is_none()
            && let Err(PrepareError::Full(error) | PrepareError::Tail(error)) =
                make_file(disk, layout, &log_files, end)
        {
            health = Health::DiskFull(format!("no room for the log: {error}"));
        }
        log_files.refresh_room(end);
        if !self.is_new {
            file.update(|s| {
                if unclean {
                    s.raise_epoch(end);
                }
                s.clean = false;
                s.boot = self.boot;
                s.durable = s.durable.max(end);
                // Files that were made ahead have been made anew: what was known of them no longer holds.
                s.prewritten = log_files.zeroed_end(end);
                s.unflushed_bytes_max = options.unflushed_bytes_max;
            })
            .map_err(io_error("writing the superblock"))?;
            rescue::remove(disk, &layout.rescue).map_err(io_error("removing the copy of the log's end"))?;
        }
        self.superblock = file.current().clone();
        Ok((Settled { health, superblock: Some(file), cut_bytes }, log_files))
    }
}

/// Tells the queue index what is not in the log's records: the next offsets of queues that have no record left, which are
/// in the snapshot alone, and where queues begin that were cut. To be called when the log has been scanned.
pub(crate) fn settle_queues(queues: &QueueIndex, catalog: &Catalog, state: &StateMap, snapshot: &Snapshot) {
    let is_live = |queue: &QueueKey| catalog.live(queue.topic).is_some();
    for (&queue, &next) in snapshot.queues.iter().filter(|(queue, _)| is_live(queue)) {
        queues.set_next(queue, next);
    }
    for (queue, start) in state.starts().filter(|(queue, _)| is_live(queue)) {
        // A repair may have given up the records below, whose offsets are not given twice.
        queues.set_next(queue, start);
        queues.raise_min(queue, start);
    }
}

/// Finds the log's end and rebuilds what is not covered.
fn recover(
    options: &StoreOptions,
    disk: &Arc<dyn Disk>,
    directory: &Directory,
    snapshot: &Snapshot,
    files: BTreeMap<u64, Arc<dyn File>>,
) -> Result<Outcome, OpenError> {
    let attempt = |log_end| Attempt {
        options,
        disk,
        layout: &directory.layout,
        superblock: &directory.superblock,
        snapshot,
        log_end,
    };
    let outcome = attempt(u64::MAX).run(files.clone())?;
    let end = outcome.end.end;
    if end >= outcome.covered.queues.max(outcome.covered.keys) {
        return Ok(outcome);
    }
    // An index that covers more than the log has is loaded again without what is not there.
    drop(outcome);
    attempt(end).run(files)
}

/// The log's files, with as much pre-written as is known of each.
fn known_files(superblock: &Superblock, scan: LogScan, end: u64) -> LogFiles {
    let file_bytes = superblock.file_bytes;
    let piece = files::PREWRITE_STEP_BYTES.min(file_bytes);
    let known = |base: u64| (base + piece).max(superblock.prewritten.max(end).clamp(base, base + file_bytes));
    LogFiles::new(file_bytes, scan.into_files(known))
}

fn tell(report: &RecoveryReport, end: u64) {
    tracing::info!(rows = ?report.rows, end, scanned = report.scanned_records, cut = report.cut_bytes, "log opened");
    for note in &report.notes {
        tracing::warn!("{note}");
    }
    for damage in &report.damage {
        tracing::error!(from = damage.from.0, to = damage.to.0, reason = damage.reason, lost = ?damage.lost, "damage");
    }
}

pub(crate) fn take_lock(disk: &dyn Disk, layout: &Layout) -> Result<Box<dyn braid_io::DirLock>, OpenError> {
    disk.create_dir_all(&layout.dir).map_err(io_error("making the data directory"))?;
    match disk.lock(&layout.lock) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(OpenError::Locked(layout.dir.clone())),
        other => other.map_err(io_error("taking the data directory's lock")),
    }
}

/// Makes the directories, durably: a superblock that survives must not lie in a directory that does not.
fn make_directories(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    disk.create_dir_all(&layout.commitlog)?;
    disk.create_dir_all(&layout.braid)?;
    if let Err(error) = sync_dir(disk, &layout.dir) {
        // Names whose sync failed may never reach the device. While nothing lies in them, the next start can make them
        // anew; what cannot be removed now is no worse than before.
        let is_empty = |dir| disk.list(dir).is_ok_and(|names| names.is_empty());
        if is_empty(&layout.commitlog) && is_empty(&layout.braid) {
            let _ = disk.remove_dir_all(&layout.commitlog);
            let _ = disk.remove_dir_all(&layout.braid);
        }
        return Err(error);
    }
    match layout.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // Whoever cannot read the parent has not made the data directory in it.
        Some(parent) => match sync_dir(disk, parent) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
            other => other,
        },
        None => Ok(()),
    }
}

fn make_superblock(
    options: &StoreOptions,
    disk: &dyn Disk,
    layout: &Layout,
    directory: u128,
    boot: u128,
) -> Result<Superblock, OpenError> {
    let has_log = !disk.list(&layout.commitlog).map_err(io_error("listing the log"))?.is_empty();
    let has_snapshot = disk
        .list(&layout.braid)
        .map_err(io_error("listing the data directory"))?
        .iter()
        .any(|entry| layout.snapshot.file_name().is_some_and(|name| name == entry.name.as_str()));
    if has_log || has_snapshot {
        return Err(OpenError::Format(format!(
            "{} has a log and no superblock: it was not made by this program, or braid/superblock is lost; restore it \
             from a backup",
            layout.dir.display()
        )));
    }
    let superblock = Superblock {
        sequence: 1,
        required_features: 0,
        optional_features: 0,
        directory,
        shard: options.shard,
        first_position: options.first_position,
        file_bytes: options.file_bytes,
        boot,
        clean: false,
        durable: options.first_position,
        unflushed_bytes_max: options.unflushed_bytes_max,
        checksum_from: options.first_position,
        prewritten: options.first_position,
        epoch: 1,
        epochs: vec![(1, options.first_position)],
    };
    replace_file(disk, &layout.superblock, &superblock::new_file(&superblock))
        .map_err(io_error("making the superblock"))?;
    Ok(superblock)
}

pub(crate) fn refuse_superblock(error: SuperblockError) -> OpenError {
    match error {
        SuperblockError::Missing => {
            OpenError::Format("there is no braid/superblock: this is no data directory of this program".to_owned())
        }
        SuperblockError::Damaged => OpenError::Format(
            "neither slot of braid/superblock is whole: restore the file from a backup, or replace the directory"
                .to_owned(),
        ),
        SuperblockError::Unknown(sentence) => OpenError::Format(sentence),
        SuperblockError::Io(source) => OpenError::Io { what: "reading the superblock".to_owned(), source },
    }
}

fn check_options(options: &StoreOptions, superblock: &Superblock) -> Result<(), OpenError> {
    if options.file_bytes != superblock.file_bytes {
        return Err(OpenError::Options(format!(
            "the directory has log files of {} bytes, the configuration says {}: a directory keeps the length it was \
             made with",
            superblock.file_bytes, options.file_bytes
        )));
    }
    if options.shard != superblock.shard {
        return Err(OpenError::Options(format!(
            "the directory holds shard {}, the configuration says {}",
            superblock.shard, options.shard
        )));
    }
    Ok(())
}

/// Opens all files of the log, and removes those that retention had given up before it was interrupted.
pub(crate) fn open_files(
    disk: &dyn Disk,
    layout: &Layout,
    superblock: &Superblock,
    mode: OpenMode,
) -> Result<BTreeMap<u64, Arc<dyn File>>, OpenError> {
    let mut files = BTreeMap::new();
    let mut removed = false;
    for entry in disk.list(&layout.commitlog).map_err(io_error("listing the log"))? {
        let base = parse_log_file_name(&entry.name)
            .filter(|base| !entry.is_dir && base.is_multiple_of(superblock.file_bytes));
        let Some(base) = base else {
            return Err(OpenError::Format(format!(
                "{} is no log file of this directory: commitlog/ holds nothing else, move it away",
                layout.commitlog.join(&entry.name).display()
            )));
        };
        let path = layout.log_file(base);
        if base < superblock.first_position {
            if mode == OpenMode::Write {
                disk.remove_file(&path).map_err(io_error("removing a file below the log's start"))?;
                removed = true;
            }
            continue;
        }
        if entry.len != superblock.file_bytes {
            return Err(OpenError::Format(format!(
                "{} has {} bytes, every log file of this directory has {}",
                path.display(),
                entry.len,
                superblock.file_bytes
            )));
        }
        files.insert(base, disk.open(&path, mode).map_err(io_error(format!("opening {}", path.display())))?);
    }
    if removed {
        sync_dir(disk, &layout.commitlog).map_err(io_error("syncing the log's directory"))?;
    }
    Ok(files)
}

/// Reads the snapshot. Without one, the log's first byte must still be there: then all state is in the log.
pub(crate) fn load_snapshot(
    disk: &dyn Disk,
    layout: &Layout,
    superblock: &Superblock,
    report: &mut RecoveryReport,
) -> Result<Snapshot, OpenError> {
    let what = match snapshot::read(disk, &layout.snapshot).map_err(io_error("reading the snapshot"))? {
        snapshot::Found::Whole(snapshot) => return Ok(*snapshot),
        snapshot::Found::Missing => "is missing".to_owned(),
        snapshot::Found::Damaged(sentence) => {
            report.notes.push(format!("braid/snapshot is damaged ({sentence}); state is read from the log"));
            format!("is damaged: {sentence}")
        }
    };
    if superblock.first_position != superblock.checksum_from {
        return Err(OpenError::Format(format!(
            "braid/snapshot {what}, and the log's first files are gone, so its state is lost with it: restore the file \
             from a backup"
        )));
    }
    Ok(Snapshot::empty(superblock.first_position))
}

/// One pass over the log.
pub(crate) struct Attempt<'a> {
    pub(crate) options: &'a StoreOptions,
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) layout: &'a Layout,
    pub(crate) superblock: &'a Superblock,
    pub(crate) snapshot: &'a Snapshot,
    /// Nothing derived is taken from above.
    pub(crate) log_end: u64,
}

/// What a pass found.
pub(crate) struct Outcome {
    pub(crate) scan: LogScan,
    pub(crate) queues: QueueIndex,
    pub(crate) keys: KeyIndex,
    pub(crate) covered: Covered,
    pub(crate) catalog: Catalog,
    pub(crate) state: StateMap,
    producers: Producers,
    pub(crate) last_group: u64,
    store_ms: i64,
    pub(crate) sealed: BTreeMap<u64, i64>,
    pub(crate) end: LogEnd,
    /// The run before stopped in order, and nothing contradicts it.
    pub(crate) clean: bool,
    pub(crate) rows: Vec<RecoveryRow>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) notes: Vec<String>,
    pub(crate) scanned: u64,
}

impl Attempt<'_> {
    pub(crate) fn run(&self, files: BTreeMap<u64, Arc<dyn File>>) -> Result<Outcome, OpenError> {
        let s = self.superblock;
        let upper = files.keys().next_back().map_or(s.first_position, |last| last + s.file_bytes);
        let log_end = self.log_end.min(upper);
        let (queues, queues_from) =
            QueueIndex::open(self.disk.clone(), &self.layout.queues, s.first_position, log_end)
                .map_err(io_error("opening the queue index"))?;
        let (keys, keys_from) =
            KeyIndex::open(self.disk.clone(), &self.layout.keys, s.first_position, log_end)
                .map_err(io_error("opening the key index"))?;
        let first = s.first_position;
        let covered = Covered {
            state: self.snapshot.position.max(first),
            queues: queues_from.max(first),
            keys: keys_from.max(first),
        };
        let producers = Producers::new(self.options.producers_max).with(&self.snapshot.producers);
        let mut replay = Replay::new(covered, &self.options.derivers, &queues, &keys, producers);
        replay.catalog = self.snapshot.catalog.clone();
        replay.state = self.snapshot.state.clone();
        replay.last_group = self.snapshot.last_group;
        replay.store_ms = self.snapshot.store_ms;
        replay.sealed = self.snapshot.sealed.clone();
        let mut walk = Walk {
            scan: LogScan::new(files, s.file_bytes, s.checksum_from),
            replay,
            durable: s.durable.max(covered.most()),
            stopped_at: (s.clean && s.durable >= covered.most()).then_some(s.durable),
            unflushed_bytes_max: s.unflushed_bytes_max,
            rows: Vec::new(),
            damage: Vec::new(),
        };
        walk.check_files(first)?;
        let end = walk.run(covered.least().min(self.snapshot.last_group).max(first))?;
        let clean = walk.rows == [RecoveryRow::Clean];
        let damage = walk.take_damage();
        let Walk { scan, replay, mut rows, .. } = walk;
        rows.dedup();
        let Replay { catalog, state, mut producers, last_group, store_ms, sealed, notes, records, .. } =
            replay;
        producers.cut(end.end, |topic| catalog.live(topic).is_some());
        Ok(Outcome {
            scan,
            queues,
            keys,
            covered,
            catalog,
            state,
            producers,
            last_group,
            store_ms,
            sealed,
            end,
            clean,
            rows,
            damage,
            notes,
            scanned: records,
        })
    }
}

/// Zeroes what lies behind the log's end, durably, so that it is never taken for a part of what is appended next. A
/// crash inside leaves a bad place where one was before: the next start cuts again.
pub(crate) fn cut(scan: &LogScan, LogEnd { end, nonzero_end }: LogEnd) -> io::Result<u64> {
    let mut at = end;
    while at < nonzero_end {
        let base = scan.base_of(at);
        let stop = scan.file_end(at).min(nonzero_end);
        if let Some(file) = scan.file(base) {
            let mut from = at;
            while from < stop {
                let len = CUT_STEP_BYTES.min(stop - from);
                file.write_all_at(&vec![0; len as usize], from - base)?;
                from += len;
            }
            file.sync_data()?;
        }
        at = stop;
    }
    Ok(nonzero_end.saturating_sub(end))
}

/// What may have been unsynced is written again: a killed process leaves bytes in the page cache alone, and one whose
/// sync failed leaves bytes there that will never be written. See [`rescue`].
fn make_durable(
    disk: &dyn Disk,
    layout: &Layout,
    scan: &LogScan,
    superblock: &Superblock,
    end: u64,
) -> io::Result<()> {
    // All unflushed bytes lie in one file, and are at most so many.
    let file_start = scan.base_of(end.saturating_sub(1));
    let from = superblock.durable.max(end.saturating_sub(superblock.unflushed_bytes_max)).max(file_start);
    if from < end
        && let Some(file) = scan.file(file_start).cloned()
    {
        let mut bytes = vec![0; (end - from) as usize];
        file.read_exact_at(&mut bytes, from - file_start)?;
        let copy = Rescue { directory: superblock.directory, position: from, bytes };
        copy.write(disk, &layout.rescue)?;
        copy.apply(&*file, file_start)?;
    }
    sync_dir(disk, &layout.commitlog)?;
    sync_dir(disk, &layout.braid)
}

/// Writes back the copy of a start that was interrupted while it wrote the log's end again.
fn write_back_rescue(
    disk: &dyn Disk,
    layout: &Layout,
    superblock: &Superblock,
    files: &BTreeMap<u64, Arc<dyn File>>,
) -> io::Result<()> {
    let Some(copy) = rescue::read(disk, &layout.rescue)? else { return Ok(()) };
    let base = copy.position - copy.position % superblock.file_bytes;
    let is_ours = copy.directory == superblock.directory
        && copy.end() > superblock.durable
        && copy.end() <= base + superblock.file_bytes;
    match files.get(&base) {
        Some(file) if is_ours => copy.apply(&**file, base),
        _ => Ok(()),
    }
}

/// Files that were made ahead hold nothing. Their names may be in the cache alone, after a sync of the directory that
/// failed, so they are made anew when they are needed. The last goes first, durably: a power cut must not leave a gap.
fn remove_unused(disk: &dyn Disk, layout: &Layout, scan: &mut LogScan, end: u64) -> io::Result<()> {
    for (base, file) in scan.take_from(end).into_iter().rev() {
        // Room is free when nobody holds the file.
        drop(file);
        disk.remove_file(&layout.log_file(base))?;
        sync_dir(disk, &layout.commitlog)?;
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn make_file(disk: &dyn Disk, layout: &Layout, log_files: &LogFiles, end: u64) -> Result<(), PrepareError> {
    assert!(end.is_multiple_of(log_files.file_bytes), "a log that ends inside a file has that file");
    let file: LogFile = files::create(disk, layout, end, log_files.file_bytes)?;
    log_files.insert(file);
    Ok(())
}

fn describe_full_disk(what: &str) -> String {
    format!(
        "the disk is full, so what an unclean stop left could not be made durable ({what}); nothing is lost: free space \
         and start again"
    )
}

fn describe_damage(damage: &[Damage]) -> String {
    let ranges: Vec<String> =
        damage.iter().map(|d| format!("positions {} to {} ({})", d.from.0, d.to.0, d.reason)).collect();
    format!(
        "the log is damaged below its durable watermark, at {}; nothing was changed. `braidmq store verify` lists what \
         is lost, `braidmq store repair --accept-loss` gives it up",
        ranges.join(", ")
    )
}
