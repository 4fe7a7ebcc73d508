//! What the command line does with a directory that no broker has open: look at it, check it, repair it.
//!
//! Each takes the directory's lock for as long as it runs. [`inspect`] and [`verify`] change nothing of the log;
//! [`repair`] gives up what is damaged, and nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use braid_io::{Disk, File, OpenMode};
use braid_record::{BLANK_HEAD_BYTES, Draft, MAGIC_BLANK, RecordView, Stamp, encode};

use crate::catalog::{LOST_TOPIC, QueueKey, TopicInfo};
use crate::files::{self, Layout, PrepareError, sync_dir};
use crate::index::{Entry, QueueIndex};
use crate::keys::KeyIndex;
use crate::options::StoreOptions;
use crate::producers::Producers;
use crate::progress::Position;
use crate::read::QueueOffsets;
use crate::recovery::{
    Attempt, cut, io_error, load_snapshot, open_files, refuse_superblock, settle_queues, take_lock,
};
use crate::replay::{Covered, Gaps, Replay, Watch};
use crate::report::{Damage, OpenError, RecoveryReport, RecoveryRow};
use crate::rescue;
use crate::scan::{At, LogScan};
use crate::snapshot::Snapshot;
use crate::superblock::{self, Superblock, SuperblockFile};
use crate::walk::{LogEnd, Walk};

/// Longest filler record that a repair writes; longer damage takes several.
const FILLER_BYTES_MAX: u64 = 16 << 20;
/// Sentences about derived files that are kept; all are counted.
const FINDINGS_MAX: usize = 100;

/// What a directory says of itself.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The directory's own id.
    pub directory: u128,
    /// Which shard's log it is.
    pub shard: u32,
    /// Version of the format.
    pub format_version: u32,
    /// Length of a log file.
    pub file_bytes: u64,
    /// First position that is kept.
    pub first: Position,
    /// Where the log ends, as far as can be told without cutting it.
    pub end: Position,
    /// All below was promised to be durable.
    pub durable: Position,
    /// True when the last run stopped in order.
    pub clean: bool,
    /// The epoch, and the first position of each.
    pub epochs: Vec<(u32, Position)>,
    /// Bound on unflushed bytes that was in force.
    pub unflushed_bytes_max: u64,
    /// What the snapshot covers.
    pub snapshot: Position,
    /// First positions of the log files that are there.
    pub files: Vec<Position>,
    /// Topics that exist, with their queues.
    pub topics: Vec<(TopicInfo, Vec<(u32, QueueOffsets)>)>,
    /// Which rows of the recovery table a start would take.
    pub rows: Vec<RecoveryRow>,
    /// Damage that a start would find; a start does not read what the indexes cover, [`verify`] does.
    pub damage: Vec<Damage>,
}

/// What a whole reading of the log found.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// Log files read.
    pub files: u64,
    /// Records whose place and checksum were checked.
    pub records: u64,
    /// Bytes from the log's first position to its end.
    pub bytes: u64,
    /// Where the log ends.
    pub end: Position,
    /// Rows of the recovery table that a start would take for the log's end.
    pub rows: Vec<RecoveryRow>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// How often a derived file contradicts the log. Deleting `braid/derived` cures that.
    pub derived_findings: u64,
    /// The first of them, as sentences.
    pub derived: Vec<String>,
    /// Other sentences.
    pub notes: Vec<String>,
}

impl Verification {
    /// True when nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.derived_findings == 0
    }
}

/// What a repair gave up.
#[derive(Debug, Clone, Default)]
pub struct Repair {
    /// Damaged ranges, overwritten by fillers or cut.
    pub damage: Vec<Damage>,
    /// Where the log ends now.
    pub end: Position,
    /// Sentences.
    pub notes: Vec<String>,
}

/// A stopped directory, under its lock.
struct Stopped {
    layout: Layout,
    superblock: Superblock,
    snapshot: Snapshot,
    files: BTreeMap<u64, Arc<dyn File>>,
    notes: Vec<String>,
    _lock: Box<dyn braid_io::DirLock>,
}

impl Stopped {
    fn open(options: &StoreOptions, disk: &dyn Disk, mode: OpenMode) -> Result<Self, OpenError> {
        let layout = Layout::new(&options.dir);
        if let Err(error) = disk.list(&layout.braid) {
            let what = format!("{} is no data directory", options.dir.display());
            return Err(OpenError::Io { what, source: error });
        }
        let lock = take_lock(disk, &layout)?;
        let superblock = superblock::read(disk, &layout.superblock).map_err(refuse_superblock)?;
        let files = open_files(disk, &layout, &superblock, mode)?;
        let mut report = RecoveryReport::default();
        let snapshot = load_snapshot(disk, &layout, &superblock, &mut report)?;
        Ok(Self { layout, superblock, snapshot, files, notes: report.notes, _lock: lock })
    }

    /// The indexes as they lie on disk, and what they cover.
    fn derived(&self, disk: &Arc<dyn Disk>) -> Result<(QueueIndex, KeyIndex, Covered), OpenError> {
        let first = self.superblock.first_position;
        let end = self.files.keys().next_back().map_or(first, |last| last + self.superblock.file_bytes);
        let (queues, queues_from) = QueueIndex::open(disk.clone(), &self.layout.queues, first, end)
            .map_err(io_error("opening the queue index"))?;
        let (keys, keys_from) = KeyIndex::open(disk.clone(), &self.layout.keys, first, end)
            .map_err(io_error("opening the key index"))?;
        let covered = Covered {
            state: self.snapshot.position.max(first),
            queues: queues_from.max(first),
            keys: keys_from.max(first),
        };
        Ok((queues, keys, covered))
    }

    fn scan(&self) -> LogScan {
        LogScan::new(self.files.clone(), self.superblock.file_bytes, self.superblock.checksum_from)
    }

    /// A walk over the whole log that takes state only, and leaves the indexes alone.
    fn walk<'a>(
        &self,
        options: &'a StoreOptions,
        queues: &'a QueueIndex,
        keys: &'a KeyIndex,
        covered: Covered,
    ) -> Walk<'a> {
        let untouched = Covered { queues: u64::MAX, keys: u64::MAX, ..covered };
        let producers = Producers::new(options.producers_max).with(&self.snapshot.producers);
        let mut replay = Replay::new(untouched, &options.derivers, queues, keys, producers);
        replay.catalog = self.snapshot.catalog.clone();
        replay.state = self.snapshot.state.clone();
        replay.last_group = self.snapshot.last_group;
        replay.sealed = self.snapshot.sealed.clone();
        // As for a missing snapshot: nothing was deleted from a log whose first byte is there.
        let is_whole = self.superblock.first_position == self.superblock.checksum_from;
        replay.gaps = Some(Gaps::new(is_whole));
        Walk {
            scan: self.scan(),
            replay,
            durable: self.superblock.durable.max(covered.most()),
            stopped_at: None,
            unflushed_bytes_max: self.superblock.unflushed_bytes_max,
            rows: Vec::new(),
            damage: Vec::new(),
        }
    }
}

/// Says what a directory holds, as a start would find it, and changes nothing of the log. Of `options`, the directory
/// and the derivers count.
///
/// # Errors
/// See [`OpenError`].
pub fn inspect(options: &StoreOptions, disk: Arc<dyn Disk>) -> Result<Inspection, OpenError> {
    let stopped = Stopped::open(options, &*disk, OpenMode::Read)?;
    let outcome = Attempt {
        options,
        disk: &disk,
        layout: &stopped.layout,
        superblock: &stopped.superblock,
        snapshot: &stopped.snapshot,
        log_end: u64::MAX,
    }
    .run(stopped.files.clone())?;
    settle_queues(&outcome.queues, &outcome.catalog, &outcome.state, &stopped.snapshot);
    let topics = outcome.catalog.infos().into_iter().map(|topic| {
        let ids = outcome.queues.queues(topic.number);
        let queues = ids.into_iter().map(|queue_id| {
            let queue = QueueKey { topic: topic.number, queue_id };
            (queue_id, outcome.queues.offsets(queue).unwrap_or_default())
        });
        (topic.clone(), queues.collect())
    });
    let s = &stopped.superblock;
    Ok(Inspection {
        directory: s.directory,
        shard: s.shard,
        format_version: superblock::FORMAT_VERSION,
        file_bytes: s.file_bytes,
        first: Position(s.first_position),
        end: Position(outcome.end.end),
        durable: Position(s.durable),
        clean: s.clean,
        epochs: s.epochs.iter().map(|&(epoch, first)| (epoch, Position(first))).collect(),
        unflushed_bytes_max: s.unflushed_bytes_max,
        snapshot: Position(stopped.snapshot.position),
        files: stopped.files.keys().map(|&base| Position(base)).collect(),
        topics: topics.collect(),
        rows: outcome.rows,
        damage: outcome.damage,
    })
}

/// Reads the whole log, checks every record, and holds the derived files against it. Changes nothing of the log.
/// `progress` is told (bytes read, bytes to read) now and then. Of `options`, the directory and the derivers count.
///
/// # Errors
/// See [`OpenError`]. Damage is no error but a finding.
pub fn verify(
    options: &StoreOptions,
    disk: Arc<dyn Disk>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OpenError> {
    let stopped = Stopped::open(options, &*disk, OpenMode::Read)?;
    let (queues, keys, covered) = stopped.derived(&disk)?;
    let first = stopped.superblock.first_position;
    let total = stopped.superblock.durable.max(covered.most()) - first;
    let mut check = Check {
        queues: &queues,
        keys: &keys,
        covered,
        findings: 0,
        sentences: Vec::new(),
        first,
        total,
        progress,
    };
    let mut walk = stopped.walk(options, &queues, &keys, covered);
    walk.replay.watch = Some(&mut check);
    walk.check_files(first)?;
    let LogEnd { end, .. } = walk.run(first)?;
    walk.replay.lose_ends(&stopped.snapshot.queues);
    let damage = walk.take_damage();
    let Walk { replay, rows, .. } = walk;
    let (records, notes) = (replay.records, replay.notes);
    Ok(Verification {
        files: stopped.files.len() as u64,
        records,
        bytes: end - first,
        end: Position(end),
        rows,
        damage,
        derived_findings: check.findings,
        derived: check.sentences,
        notes: stopped.notes.into_iter().chain(notes).collect(),
    })
}

/// Holds the indexes against every record.
struct Check<'a> {
    queues: &'a QueueIndex,
    keys: &'a KeyIndex,
    covered: Covered,
    findings: u64,
    sentences: Vec<String>,
    first: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Watch for Check<'_> {
    fn record(
        &mut self,
        position: u64,
        view: &RecordView<'_>,
        entries: &[(QueueKey, Entry)],
        key_hashes: &[u64],
    ) {
        let Covered { queues, keys, .. } = self.covered;
        for (queue, entry) in entries.iter().filter(|_| position < queues) {
            self.check_entry(*queue, entry, view.topic());
        }
        for &hash in key_hashes.iter().filter(|_| position < keys) {
            match self.keys.lookup(hash, position..position + 1, 1) {
                Ok(found) if found == [position] => {}
                Ok(_) => self.find(format!("the key index lacks a key of the record at position {position}")),
                Err(error) => self.find(format!("the key index cannot be read: {error}")),
            }
        }
        (self.progress)(position - self.first, self.total);
    }
}

impl Check<'_> {
    fn check_entry(&mut self, queue: QueueKey, entry: &Entry, topic: &str) {
        // A topic that was deleted since has no queues any more.
        if self.queues.offsets(queue).is_none() {
            return;
        }
        match self.queues.lookup(queue, entry.first_offset, 1, true) {
            Ok(Some(found)) if found.first() == Some(entry) => {}
            Ok(found) => self.find(format!(
                "the queue index has {:?} for offset {} of {topic} queue {}, the log has position {}",
                found.unwrap_or_default().first().map(|e| (e.position, e.size)),
                entry.first_offset,
                queue.queue_id,
                entry.position
            )),
            Err(error) => self.find(format!("the queue index cannot be read: {error}")),
        }
    }

    fn find(&mut self, sentence: String) {
        self.findings += 1;
        if self.sentences.len() < FINDINGS_MAX {
            self.sentences.push(sentence);
        }
    }
}

/// Gives up what is damaged: a damaged range is overwritten by a filler record, a missing file is made of filler, a log
/// that ends below its durable watermark ends where it ends. State is written to a new snapshot, the indexes are dropped
/// and rebuilt at the next start. Offsets that were lost stay empty; they are not given to other records as far as a
/// snapshot knows them. Of `options`, the directory and the derivers count.
///
/// # Errors
/// See [`OpenError`]. A repair that was interrupted can be run again.
pub fn repair(options: &StoreOptions, disk: Arc<dyn Disk>) -> Result<Repair, OpenError> {
    let stopped = Stopped::open(options, &*disk, OpenMode::Write)?;
    let (queues, keys, covered) = stopped.derived(&disk)?;
    let first = stopped.superblock.first_position;
    let mut walk = stopped.walk(options, &queues, &keys, covered);
    walk.check_files(first)?;
    let LogEnd { mut end, nonzero_end } = walk.run(first)?;
    walk.replay.lose_ends(&stopped.snapshot.queues);
    let damage = walk.take_damage();
    let Walk { mut scan, replay, .. } = walk;
    let mut repair = Repair { end: Position(end), damage, notes: stopped.notes.clone() };
    repair.notes.extend(replay.notes.iter().cloned());
    if repair.damage.is_empty() {
        repair.notes.push("nothing is damaged; nothing was changed".to_owned());
        return Ok(repair);
    }

    let mender = Mender { disk: &*disk, layout: &stopped.layout, store_ms: replay.store_ms };
    let mut filled = first;
    for damage in &repair.damage {
        // A filler may have gone on over the start of the next damage.
        let from = damage.from.0.max(filled);
        let to = damage.to.0.min(end);
        if from < to {
            filled = mender.fill(&mut scan, from, to)?;
        }
    }
    end = mender.end_group(&mut scan, replay.last_group, end.max(filled))?;
    // What is given up behind the end must never be taken for a part of what is appended there.
    cut(&scan, LogEnd { end, nonzero_end }).map_err(io_error("cutting the log's end"))?;
    repair.end = Position(end);
    let mut known: BTreeMap<QueueKey, u64> = stopped.snapshot.queues.clone();
    for (queue, next) in queues.next_offsets() {
        let entry = known.entry(queue).or_insert(0);
        *entry = next.max(*entry);
    }
    let mut producers = replay.producers;
    producers.cut(end, |topic| replay.catalog.live(topic).is_some());
    let snapshot = Snapshot {
        position: end,
        last_group: replay.last_group.min(end),
        store_ms: replay.store_ms.max(stopped.snapshot.store_ms),
        catalog: replay.catalog,
        state: replay.state,
        producers: producers.all(),
        queues: known,
        sealed: replay.sealed,
    };
    let write = |what| io_error(format!("writing {what}"));
    braid_io::disk::replace_file(&*disk, &stopped.layout.snapshot, &snapshot.encode())
        .map_err(write("the snapshot"))?;
    drop((queues, keys));
    disk.remove_dir_all(&stopped.layout.derived).map_err(write("the indexes"))?;
    sync_dir(&*disk, &stopped.layout.braid).map_err(write("the indexes"))?;
    rescue::remove(&*disk, &stopped.layout.rescue).map_err(write("the copy of the log's end"))?;
    let mut superblock =
        SuperblockFile::renew(&*disk, &stopped.layout.superblock, stopped.superblock.clone(), false)
            .map_err(write("the superblock"))?;
    superblock
        .repair(|s| {
            s.durable = end;
            s.prewritten = s.prewritten.min(end);
            s.clean = false;
        })
        .map_err(write("the superblock"))?;
    Ok(repair)
}

/// Writes fillers.
struct Mender<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    store_ms: i64,
}

impl Mender<'_> {
    /// Puts filler over `[from, to)`, file by file; gives where it ends, which may be behind `to`.
    fn fill(&self, scan: &mut LogScan, from: u64, to: u64) -> Result<u64, OpenError> {
        let mut at = from;
        while at < to {
            let base = scan.base_of(at);
            let file_end = scan.file_end(at);
            if scan.file(base).is_none() {
                let file_bytes = file_end - base;
                let made = files::create(self.disk, self.layout, base, file_bytes);
                let made = made.map_err(|error| match error {
                    PrepareError::Full(source) | PrepareError::Tail(source) => {
                        OpenError::Io { what: "making a log file".to_owned(), source }
                    }
                })?;
                scan.add(base, made.file);
                at = base;
            }
            if to >= file_end {
                self.end_file(scan, at, file_end)?;
                at = file_end;
            } else {
                at = self.fill_inside(scan, at, to)?;
            }
        }
        Ok(at)
    }

    /// Fills the rest of a file, as the append section does when a group does not fit.
    fn end_file(&self, scan: &LogScan, at: u64, file_end: u64) -> Result<(), OpenError> {
        let left = (file_end - at) as usize;
        let mut bytes = vec![0; left];
        if left >= BLANK_HEAD_BYTES {
            bytes[..4].copy_from_slice(&(left as u32).to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        }
        write(scan, at, &bytes)
    }

    /// Fills up to a record inside the same file, and over it when there is no room for a filler record.
    fn fill_inside(&self, scan: &mut LogScan, at: u64, to: u64) -> Result<u64, OpenError> {
        let least = self.filler(0, 0)?.len() as u64;
        let mut to = to;
        while to - at < least {
            match scan.at(to).map_err(io_error("reading the log"))? {
                At::Record(size) => to += size as u64,
                At::Filler | At::Bad(_) | At::NoFile => {
                    let file_end = scan.file_end(at);
                    self.end_file(scan, at, file_end)?;
                    return Ok(file_end);
                }
            }
        }
        let mut from = at;
        while from < to {
            let left = to - from;
            // The last two share what is left, so that neither is too short.
            let len = if left <= FILLER_BYTES_MAX { left } else { FILLER_BYTES_MAX.min(left - least) };
            let bytes = self.filler(from, (len - least) as usize)?;
            assert_eq!(bytes.len() as u64, len, "a filler record has the length that was asked for");
            write(scan, from, &bytes)?;
            from += len;
        }
        Ok(to)
    }

    /// Where the log ends inside a group of records, the rest of the group is lost: a filler record ends it, so that what
    /// is kept of it is whole for the next start. `last_group` is where the last whole group begins. Gives the log's end.
    fn end_group(&self, scan: &mut LogScan, last_group: u64, end: u64) -> Result<u64, OpenError> {
        let reading = || io_error("reading the log");
        let (mut at, mut open_group) = (last_group, None);
        while at < end {
            match scan.at(at).map_err(reading())? {
                At::Record(size) => {
                    let bytes = scan.bytes(at, size).map_err(reading())?;
                    let goes_on = RecordView::parse(bytes).is_ok_and(|view| view.group_goes_on());
                    open_group = goes_on.then(|| open_group.unwrap_or(at));
                    at += size as u64;
                }
                At::Filler => at = scan.file_end(at),
                At::Bad(_) | At::NoFile => return Ok(end),
            }
        }
        let Some(start) = open_group else { return Ok(end) };
        let filler = self.filler(end, 0)?;
        let (len, file_end) = (filler.len() as u64, scan.file_end(start));
        if end + len + BLANK_HEAD_BYTES as u64 <= file_end {
            write(scan, end, &filler)?;
            return Ok(end + len);
        }
        // No room for it: the file ends where the group began.
        self.end_file(scan, start, file_end)?;
        Ok(file_end)
    }

    /// A record of a topic that never exists: readers and rebuilds pass it over.
    fn filler(&self, position: u64, body_bytes: usize) -> Result<Vec<u8>, OpenError> {
        let host = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let body = vec![0; body_bytes];
        let draft = Draft {
            topic: LOST_TOPIC,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: self.store_ms,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: &[],
            kind: None,
            targets: &[],
            group_goes_on: false,
            batch: None,
        };
        let mut bytes = Vec::new();
        let encoded = encode(&draft, &mut bytes).map_err(|error| OpenError::Format(error.to_string()))?;
        let stamp = Stamp { queue_offset: 0, position, store_timestamp: self.store_ms, slot_offsets: &[] };
        encoded.stamp(&mut bytes, &stamp);
        Ok(bytes)
    }
}

fn write(scan: &LogScan, position: u64, bytes: &[u8]) -> Result<(), OpenError> {
    let base = scan.base_of(position);
    let Some(file) = scan.file(base) else {
        return Err(OpenError::Format(format!("no log file holds position {position}")));
    };
    file.write_all_at(bytes, position - base)
        .and_then(|()| file.sync_data())
        .map_err(io_error("overwriting damage"))
}
