//! The key index: from the hash of (topic, key) to the positions of records that may carry the key. Derived: the log
//! can rebuild it. Hashes collide, so the caller checks the record it finds.
//!
//! ```text
//!  insert ──► table ──full──► frozen tables ──checkpoint──► run ──four of a size──► longer run
//! ```
//!
//! * [`table`]: keys in memory, found by a chain per hash.
//! * [`run`]: keys of a range of the log in a sorted file, found by binary search. Each checkpoint writes the keys since
//!   the one before; runs of like size are merged, so that their number grows with the logarithm of the log.
//!
//! Look-ups go through memory first and the runs then: what moves meanwhile is seen twice and given once.

mod run;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use braid_io::Disk;

use crate::catalog::TopicNumber;
use run::{Pair, Run, RunWriter};
use table::Table;

/// The bounds of an index; tests shrink them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyLimits {
    /// Entries of a table; a longer one would hold up the dispatcher while a checkpoint copies it.
    pub(crate) table_entries_max: usize,
    /// Entries in memory from which a checkpoint is wanted.
    pub(crate) memory_entries_wanted: usize,
    /// Entries in memory from which the oldest are given up, when checkpoints fail.
    pub(crate) memory_entries_max: usize,
    /// Runs up to this many entries are of the smallest size.
    pub(crate) small_run_entries: u64,
    /// Runs are not merged into one of more entries.
    pub(crate) run_entries_max: u64,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            table_entries_max: 1 << 16,
            memory_entries_wanted: 1 << 18,
            memory_entries_max: 1 << 21,
            small_run_entries: 1 << 14,
            run_entries_max: 1 << 24,
        }
    }
}

/// Runs of one size that are merged: fewer means more writing, more means slower look-ups.
const MERGE_RUNS: usize = 4;

struct Memory {
    table: Table,
    /// Full tables, oldest first.
    frozen: VecDeque<Arc<Table>>,
    /// Keys of records in this range were given up.
    lost: Option<Range<u64>>,
}

/// Positions of the records that carry a key.
///
/// One thread at a time inserts (the dispatcher, in log order), one at a time trims and checkpoints; any thread reads.
pub(crate) struct KeyIndex {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limits: KeyLimits,
    memory: Mutex<Memory>,
    /// In log order, each beginning where the one before ends.
    runs: RwLock<Vec<Arc<Run>>>,
    /// Held while files change.
    upkeep: Mutex<Upkeep>,
}

struct Upkeep {
    /// The log is covered up to here.
    covered: u64,
    log_start: u64,
}

/// The hash under which a topic's key is entered and looked up: FNV-1a over the number (4 bytes, big endian) and the
/// key, finished by SplitMix64's mix. Part of the format.
pub(crate) fn key_hash(topic: TopicNumber, key: &str) -> u64 {
    let bytes = topic.0.to_be_bytes();
    let fnv = bytes
        .iter()
        .chain(key.as_bytes())
        .fold(0xCBF2_9CE4_8422_2325_u64, |h, &byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let mut z = fnv;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl KeyIndex {
    /// Loads what is on disk in `dir` (made when missing), and gives the position up to which the log is covered; the
    /// caller inserts from there on. 0 when nothing usable is there. Files that cover more than `log_end` are removed.
    /// Should the caller's scan then end below the position given, it opens again with the real end.
    ///
    /// # Errors
    /// The disk's. Missing or damaged files are no error: they cover less.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_start: u64,
        log_end: u64,
    ) -> io::Result<(Self, u64)> {
        Self::open_with(disk, dir, log_start, log_end, KeyLimits::default())
    }

    /// As [`open`](Self::open), with other bounds.
    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_start: u64,
        log_end: u64,
        limits: KeyLimits,
    ) -> io::Result<(Self, u64)> {
        crate::index::make_dir(&*disk, dir)?;
        let runs = load(&*disk, dir, log_start, log_end)?;
        let covered = runs.last().map(|run| run.to);
        let index = Self {
            disk,
            dir: dir.to_path_buf(),
            limits,
            memory: Mutex::new(Memory { table: Table::default(), frozen: VecDeque::new(), lost: None }),
            runs: RwLock::new(runs.into_iter().map(Arc::new).collect()),
            upkeep: Mutex::new(Upkeep { covered: covered.unwrap_or(log_start), log_start }),
        };
        Ok((index, covered.unwrap_or(0)))
    }

    /// Enters keys, as (hash, position), in log order.
    ///
    /// # Panics
    /// When a position is below one that was entered before.
    pub(crate) fn insert(&self, entries: &[(u64, u64)]) {
        let mut memory = lock(&self.memory);
        for &(hash, position) in entries {
            if memory.table.len() >= self.limits.table_entries_max {
                memory.freeze(self.limits.memory_entries_max);
            }
            memory.table.insert(hash, position);
        }
    }

    /// The positions inside `range` that were entered under `hash`, newest first, at most `positions_max`: go on with
    /// a range that ends at the last position given. May wait for the disk.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a page on disk is damaged (the next opening covers less then), or when keys of
    /// the range were given up because no checkpoint succeeded.
    pub(crate) fn lookup(&self, hash: u64, range: Range<u64>, positions_max: usize) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        lock(&self.memory).lookup(hash, &range, positions_max, &mut found)?;
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner).clone();
        for run in runs.iter().rev().filter(|run| run.from < range.end && range.start < run.to) {
            if found.len() >= positions_max {
                break;
            }
            if let Err(error) = run.lookup(hash, &range, positions_max, &mut found) {
                self.give_up(run, &error);
                return Err(error);
            }
        }
        Ok(found)
    }

    /// A damaged run loses its name, so that the next opening covers less and has it rebuilt.
    fn give_up(&self, run: &Run, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            tracing::warn!(%error, "a restart rebuilds the key index from position {}", run.from);
            // Gone already, or not to be removed: then the next look-up meets it again.
            let _ = self.disk.remove_file(run.path());
        }
    }

    /// Forgets positions below `log_start`, as far as whole files hold nothing else.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn trim(&self, log_start: u64) -> io::Result<()> {
        let mut upkeep = lock(&self.upkeep);
        upkeep.log_start = upkeep.log_start.max(log_start);
        let gone: Vec<Arc<Run>> = {
            let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
            let gone = runs.partition_point(|run| run.to <= log_start);
            runs.drain(..gone).collect()
        };
        self.remove(&gone)
    }

    /// Removes files that others stand for. Should a crash bring them back, opening removes them again, so the
    /// directory needs no sync.
    fn remove(&self, runs: &[Arc<Run>]) -> io::Result<()> {
        for run in runs {
            match self.disk.remove_file(run.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the index durable up to `covered`, a record boundary up to which the log is flushed and dispatched.
    ///
    /// # Errors
    /// The disk's; the index still answers from memory, and covers what it covered before. Also when keys were given
    /// up, until a restart.
    ///
    /// # Panics
    /// When `covered` is below what is covered already.
    pub(crate) fn checkpoint(&self, covered: u64) -> io::Result<()> {
        let mut upkeep = lock(&self.upkeep);
        assert!(upkeep.covered <= covered, "covered {} already, now {covered}", upkeep.covered);
        if upkeep.covered == covered {
            return Ok(());
        }
        let pairs = self.pairs_in(&(upkeep.covered..covered), upkeep.log_start)?;
        let mut writer = RunWriter::new(&*self.disk, &self.dir, upkeep.covered, covered)?;
        pairs.into_iter().try_for_each(|pair| writer.push(pair))?;
        let run = Arc::new(writer.finish()?);
        self.runs.write().unwrap_or_else(PoisonError::into_inner).push(run);
        upkeep.covered = covered;
        lock(&self.memory).forget_below(covered);
        self.merge(&upkeep)
    }

    /// What memory holds of a range, sorted.
    fn pairs_in(&self, range: &Range<u64>, log_start: u64) -> io::Result<Vec<Pair>> {
        let (frozen, mut pairs) = {
            let memory = lock(&self.memory);
            memory.check(range)?;
            (memory.frozen.clone(), memory.table.in_range(range).collect::<Vec<_>>())
        };
        frozen.iter().for_each(|table| pairs.extend(table.in_range(range)));
        pairs.retain(|(_, position)| *position >= log_start);
        pairs.sort_unstable();
        pairs.dedup();
        Ok(pairs)
    }

    /// Merges the newest runs when enough of them are of one size; once for each checkpoint.
    fn merge(&self, upkeep: &Upkeep) -> io::Result<()> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(from) = self.merge_from(&runs) else { return Ok(()) };
        let merged = match self.merge_runs(&runs[from..], upkeep.log_start) {
            Ok(run) => Arc::new(run),
            Err(error) => {
                runs[from..].iter().for_each(|run| self.give_up(run, &error));
                return Err(error);
            }
        };
        self.runs.write().unwrap_or_else(PoisonError::into_inner).splice(from.., [merged]);
        self.remove(&runs[from..])
    }

    /// The first of the runs to be merged with all behind it.
    fn merge_from(&self, runs: &[Arc<Run>]) -> Option<usize> {
        let mut limit = self.limits.small_run_entries;
        while limit <= self.limits.run_entries_max {
            let newest = runs.iter().rev().take_while(|run| run.count <= limit);
            let (number, entries) =
                newest.fold((0, 0), |(number, entries), run| (number + 1, entries + run.count));
            if number >= MERGE_RUNS && entries <= self.limits.run_entries_max {
                return Some(runs.len() - number);
            }
            limit *= MERGE_RUNS as u64;
        }
        None
    }

    fn merge_runs(&self, runs: &[Arc<Run>], log_start: u64) -> io::Result<Run> {
        let (from, to) = (runs[0].from, runs[runs.len() - 1].to);
        let mut writer = RunWriter::new(&*self.disk, &self.dir, from, to)?;
        let mut sources = Vec::new();
        for run in runs {
            let mut pairs = run.pairs();
            if let Some(first) = pairs.next()? {
                sources.push((first, pairs));
            }
        }
        while let Some(least) = (0..sources.len()).min_by_key(|&at| sources[at].0) {
            let (pair, pairs) = &mut sources[least];
            if pair.1 >= log_start {
                writer.push(*pair)?;
            }
            match pairs.next()? {
                Some(next) => *pair = next,
                None => drop(sources.swap_remove(least)),
            }
        }
        writer.finish()
    }

    /// True when memory holds so much that a checkpoint should come soon.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        lock(&self.memory).len() >= self.limits.memory_entries_wanted
    }

    /// Bytes of memory that the index holds.
    #[allow(dead_code, reason = "a figure for tests and the cost example")]
    pub(crate) fn memory_bytes(&self) -> u64 {
        let memory = lock(&self.memory);
        let tables = memory.table.bytes() + memory.frozen.iter().map(|table| table.bytes()).sum::<usize>();
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner).len() * 256;
        (tables + runs) as u64
    }
}

impl Memory {
    fn len(&self) -> usize {
        self.table.len() + self.frozen.iter().map(|table| table.len()).sum::<usize>()
    }

    /// Begins a new table; gives up the oldest one when there are too many.
    fn freeze(&mut self, entries_max: usize) {
        self.frozen.push_back(Arc::new(std::mem::take(&mut self.table)));
        while self.len() > entries_max {
            let Some(oldest) = self.frozen.pop_front() else { return };
            if let (Some(first), Some(last)) = (oldest.first_position(), oldest.last_position()) {
                let from = self.lost.as_ref().map_or(first, |lost| lost.start);
                if self.lost.is_none() {
                    tracing::warn!("keys from position {from} on are given up: no checkpoint succeeds");
                }
                self.lost = Some(from..last + 1);
            }
        }
    }

    fn lookup(&self, hash: u64, range: &Range<u64>, max: usize, found: &mut Vec<u64>) -> io::Result<()> {
        self.check(range)?;
        let tables = std::iter::once(&self.table).chain(self.frozen.iter().rev().map(|table| &**table));
        for position in tables.flat_map(|table| table.positions(hash)) {
            if found.len() >= max || position < range.start {
                break;
            }
            if position < range.end && found.last() != Some(&position) {
                found.push(position);
            }
        }
        Ok(())
    }

    /// An error when keys of the range were given up.
    fn check(&self, range: &Range<u64>) -> io::Result<()> {
        match &self.lost {
            Some(lost) if lost.start < range.end && range.start < lost.end => {
                let text = format!("keys of positions {} to {} were given up: restart", lost.start, lost.end);
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            _ => Ok(()),
        }
    }

    /// Forgets tables that are on disk whole.
    fn forget_below(&mut self, covered: u64) {
        let is_below = |table: &Table| table.last_position().is_none_or(|last| last < covered);
        while self.frozen.front().is_some_and(|table| is_below(table)) {
            self.frozen.pop_front();
        }
        if self.table.len() > 0 && is_below(&self.table) {
            self.table = Table::default();
        }
    }
}

/// The runs that cover the log from its start without a hole. All other files are removed, so that none can come in
/// the way of runs to be written: a log that became shorter may hold other records there.
fn load(disk: &dyn Disk, dir: &Path, log_start: u64, log_end: u64) -> io::Result<Vec<Run>> {
    let mut there = Vec::new();
    let mut others = Vec::new();
    for entry in disk.list(dir)? {
        match run::run_of(&entry.name) {
            Some(range) => match Run::open(disk, dir.join(&entry.name), range) {
                Ok(run) if run.to <= log_end => there.push(run),
                _ => others.push(dir.join(&entry.name)),
            },
            None if entry.name.ends_with(run::TEMPORARY) => others.push(dir.join(&entry.name)),
            None => {}
        }
    }
    let mut chain: Vec<Run> = Vec::new();
    // Of runs that were merged and came back, the longest one is the newest.
    while let Some(at) = longest_from(&there, chain.last().map(|run| run.to), log_start) {
        chain.push(there.swap_remove(at));
    }
    others.extend(there.iter().map(|run| run.path().to_path_buf()));
    for path in &others {
        disk.remove_file(path)?;
    }
    if !others.is_empty() {
        disk.sync_dir(dir)?;
    }
    Ok(chain)
}

/// The longest run that begins at `end`; for the first one, that holds the log's start.
fn longest_from(runs: &[Run], end: Option<u64>, log_start: u64) -> Option<usize> {
    let begins = |run: &Run| match end {
        Some(end) => run.from == end,
        None => run.from <= log_start && log_start < run.to,
    };
    let at = (0..runs.len()).filter(|&at| begins(&runs[at])).max_by_key(|&at| runs[at].to)?;
    Some(at)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
