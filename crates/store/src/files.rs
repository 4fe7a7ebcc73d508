//! The files that lie in the data directory, and how a log file comes into being.
//!
//! A log file is made under another name, gets its full length and its first zeros, is synced, and only then renamed
//! into `commitlog/`: whatever has a log file's name is whole. Zeros are written ahead of the tail in pieces
//! ("pre-writing"), so that appending changes no block map and costs no journal commit.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use braid_io::{Disk, File, OpenMode};

use crate::health::lock;

/// Bytes of zeros that one step of pre-writing writes and syncs.
pub(crate) const PREWRITE_STEP_BYTES: u64 = 1 << 20;
/// Bytes of zeros that one step writes when appends wait for it.
const URGENT_STEP_BYTES: u64 = 4 << 20;

/// How a step of pre-writing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Ahead of need: zeros are synced, so that later flushes find their blocks made.
    Ahead,
    /// Writers are about to wait: zeros are written and not synced. That claims the room, so that no record meets a full
    /// disk; a flush of so many bytes pays for its blocks easily, and most of the zeros never reach the device.
    Urgent,
}

/// Paths below the data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) commitlog: PathBuf,
    pub(crate) braid: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) superblock: PathBuf,
    pub(crate) snapshot: PathBuf,
    pub(crate) queues: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) derived: PathBuf,
    pub(crate) rescue: PathBuf,
    next: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        let braid = dir.join("braid");
        let derived = braid.join("derived");
        Self {
            dir: dir.to_owned(),
            commitlog: dir.join("commitlog"),
            lock: dir.join("lock"),
            superblock: braid.join("superblock"),
            snapshot: braid.join("snapshot"),
            queues: derived.join("queues"),
            keys: derived.join("keys"),
            rescue: braid.join("rescue"),
            next: braid.join("next-log-file.tmp"),
            derived,
            braid,
        }
    }

    pub(crate) fn log_file(&self, base: u64) -> PathBuf {
        self.commitlog.join(log_file_name(base))
    }
}

/// 20 digits.
pub(crate) fn log_file_name(base: u64) -> String {
    format!("{base:020}")
}

/// The first position that a log file's name says.
pub(crate) fn parse_log_file_name(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok())?
}

/// Makes the names of a directory durable.
pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    #[cfg(feature = "mutants")]
    if crate::mutant::is(crate::mutant::Mutant::SkipDirectorySync) {
        return Ok(());
    }
    disk.sync_dir(dir)
}

/// One log file.
pub(crate) struct LogFile {
    /// First position.
    pub(crate) base: u64,
    pub(crate) file: Arc<dyn File>,
    /// Position up to which zeros were written, or records were.
    prewritten: AtomicU64,
    /// Position up to which they were synced.
    zeroed: AtomicU64,
}

impl LogFile {
    pub(crate) fn new(base: u64, file: Arc<dyn File>, prewritten: u64) -> Self {
        assert!(prewritten >= base, "a file begins at its base");
        Self { base, file, prewritten: AtomicU64::new(prewritten), zeroed: AtomicU64::new(prewritten) }
    }

    /// Makes all that was written to the file durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let prewritten = self.prewritten();
        self.file.sync_data()?;
        self.zeroed.fetch_max(prewritten, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn prewritten(&self) -> u64 {
        self.prewritten.load(Ordering::Acquire)
    }
}

/// All log files, oldest first, without gaps (unless the store is read-only).
pub(crate) struct LogFiles {
    pub(crate) file_bytes: u64,
    files: RwLock<BTreeMap<u64, Arc<LogFile>>>,
    /// End of the room that appends may use: pre-written without a gap from the tail on.
    room_end: AtomicU64,
    /// Held while room is made: two threads must never write zeros over the same bytes, or one of them would come too
    /// late and hit records.
    making_room: Mutex<()>,
}

impl LogFiles {
    pub(crate) fn new(file_bytes: u64, files: BTreeMap<u64, Arc<LogFile>>) -> Self {
        Self {
            file_bytes,
            files: RwLock::new(files),
            room_end: AtomicU64::new(0),
            making_room: Mutex::new(()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<LogFile>>> {
        self.files.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<LogFile>>> {
        self.files.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// First position of the file that holds a position.
    pub(crate) fn base_of(&self, position: u64) -> u64 {
        position - position % self.file_bytes
    }

    /// The file that holds a position.
    pub(crate) fn holding(&self, position: u64) -> Option<Arc<LogFile>> {
        self.read().get(&self.base_of(position)).cloned()
    }

    pub(crate) fn insert(&self, file: LogFile) {
        let mut files = self.write();
        if let Some(&last) = files.keys().next_back() {
            assert_eq!(file.base, last + self.file_bytes, "log files have no gap between them");
        }
        files.insert(file.base, Arc::new(file));
    }

    /// Takes a file out of the list; readers that hold it go on.
    pub(crate) fn take_out(&self, base: u64) -> Option<Arc<LogFile>> {
        self.write().remove(&base)
    }

    /// End of the room for appends.
    pub(crate) fn room_end(&self) -> u64 {
        self.room_end.load(Ordering::Acquire)
    }

    /// End of the part of the room whose zeros are durable.
    pub(crate) fn zeroed_end(&self, tail: u64) -> u64 {
        self.contiguous_end(tail, |file| file.zeroed.load(Ordering::Acquire))
    }

    fn contiguous_end(&self, tail: u64, end_of: impl Fn(&LogFile) -> u64) -> u64 {
        let files = self.read();
        let mut end = tail;
        for (&base, file) in files.range(self.base_of(tail)..) {
            if end < base {
                break;
            }
            end = end.max(end_of(file));
        }
        end
    }

    /// Recomputes the room behind `tail`.
    pub(crate) fn refresh_room(&self, tail: u64) {
        // Never lower: a concurrent call with an older view must not take room back.
        self.room_end.fetch_max(self.contiguous_end(tail, LogFile::prewritten), Ordering::AcqRel);
    }

    /// One step of pre-writing behind `tail`: a piece of zeros, or the next file. False when `wanted` is there already.
    ///
    /// # Errors
    /// [`PrepareError::Full`] leaves all as it was; [`PrepareError::Tail`] means that records may be lost.
    pub(crate) fn prepare_step(
        &self,
        disk: &dyn Disk,
        layout: &Layout,
        tail: u64,
        wanted: u64,
        pace: Pace,
    ) -> Result<bool, PrepareError> {
        let _alone = lock(&self.making_room);
        self.refresh_room(tail);
        let room_end = self.room_end();
        if room_end >= wanted {
            return Ok(false);
        }
        let unfinished = {
            let files = self.read();
            // `room_end` at a file's end belongs to the next file, which may be missing.
            files.get(&self.base_of(room_end)).cloned()
        };
        match unfinished {
            Some(file) => self.prewrite_piece(&file, room_end, tail, pace)?,
            None => {
                let file = create(disk, layout, self.base_of(room_end), self.file_bytes)?;
                self.insert(file);
            }
        }
        self.refresh_room(tail);
        Ok(true)
    }

    fn prewrite_piece(&self, file: &LogFile, from: u64, tail: u64, pace: Pace) -> Result<(), PrepareError> {
        let end = file.base + self.file_bytes;
        let step = if pace == Pace::Urgent { URGENT_STEP_BYTES } else { PREWRITE_STEP_BYTES };
        let to = end.min(from - from % step + step);
        assert!(from >= tail && from < to && to <= end, "zeros are written behind the records only");
        file.file
            .write_all_at(&vec![0; (to - from) as usize], from - file.base)
            .map_err(PrepareError::Full)?;
        file.prewritten.fetch_max(to, Ordering::AcqRel);
        if pace == Pace::Ahead {
            // The file may hold records that are not synced yet: an error here may be theirs, and is told only once.
            file.sync().map_err(PrepareError::Tail)?;
        }
        Ok(())
    }
}

/// Why room could not be made.
#[derive(Debug)]
pub(crate) enum PrepareError {
    /// No space, or the disk refuses new bytes: nothing that was appended is touched.
    Full(io::Error),
    /// A sync of a file that holds records failed: the log must end.
    Tail(io::Error),
}

/// Makes a log file of full length whose first piece is zeros on the device.
///
/// # Errors
/// What the disk answers; the file does not exist then, or exists whole.
pub(crate) fn create(
    disk: &dyn Disk,
    layout: &Layout,
    base: u64,
    file_bytes: u64,
) -> Result<LogFile, PrepareError> {
    let make = || -> io::Result<LogFile> {
        let file = disk.open(&layout.next, OpenMode::CreateTruncate)?;
        file.set_len(file_bytes)?;
        let piece = PREWRITE_STEP_BYTES.min(file_bytes);
        file.write_all_at(&vec![0; piece as usize], 0)?;
        file.sync_data()?;
        disk.rename(&layout.next, &layout.log_file(base))?;
        sync_dir(disk, &layout.commitlog)?;
        sync_dir(disk, &layout.braid)?;
        Ok(LogFile::new(base, file, base + piece))
    };
    make().map_err(|e| {
        // The half-made file takes room that is needed; when it cannot go now, the next try truncates it.
        let _ = disk.remove_file(&layout.next);
        PrepareError::Full(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_twenty_digits() {
        assert_eq!(log_file_name(1 << 30), "00000000001073741824");
        assert_eq!(parse_log_file_name("00000000001073741824"), Some(1 << 30));
        for stray in
            ["", "1073741824", "0000000000107374182x", "00000000001073741824.tmp", "99999999999999999999"]
        {
            assert_eq!(parse_log_file_name(stray), None, "{stray}");
        }
    }
}
