//! The journal's files: blocks are appended to a buffer, written in large pieces, and read one by one.
//!
//! A block's place is fixed when it enters the buffer, so the directory can name it at once; until it is written, the
//! cache holds it. Writing happens under the writer's lock, syncing outside it, so that the dispatcher never waits for
//! a sync.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use braid_io::{Disk, File, OpenMode};

use super::block::{self, Body, Kind, Link};
use super::cache::{BlockCache, Place};
use super::compact::Merging;
use super::entry::{Packed, Run};
use super::queue::Extent;
use super::replay::Loaded;
use super::{Limits, lock, read, write};
use crate::catalog::QueueKey;

/// Where a file's blocks are counted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FileCount {
    /// Its length, what is still in the buffer included.
    pub(super) bytes: u64,
    /// Bytes of blocks that the directory names.
    pub(super) live: u64,
}

/// Bytes of one file that are not written yet.
struct Pending {
    file: u32,
    at: u64,
    bytes: Vec<u8>,
}

/// What only the holder of the writer's lock may touch. It is taken before any shard's lock.
pub(super) struct Writer {
    /// By sequence, without holes; the last one grows.
    pub(super) files: BTreeMap<u32, FileCount>,
    /// The sequence of the first file, when there is none yet. Names are not used again after a loss.
    next_file: u32,
    /// Extents that the directory names, in all files.
    pub(super) extents: usize,
    pub(super) merging: Merging,
    previous_crc: u32,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Blocks in `pending`, and whether readers want them afterwards.
    pinned: Vec<(Place, bool)>,
    /// Files written to since their last sync.
    unsynced: BTreeSet<u32>,
    new_names: bool,
    /// The last write failed, and that was logged.
    warned: bool,
    /// A sync failed: what it should have made durable may be lost, so nothing may build on it.
    failed: Option<String>,
    /// The newest durable checkpoint (or the one that was loaded), and the first file that it needs.
    pub(super) checkpoint: Option<(u64, u64)>,
}

pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limits: Limits,
    files: RwLock<BTreeMap<u32, Arc<dyn File>>>,
    pub(super) cache: BlockCache,
    writer: Mutex<Writer>,
}

/// The name of a journal file.
pub(super) fn file_name(file: u64) -> String {
    format!("{file:020}")
}

/// The sequence of a journal file's name.
pub(super) fn file_of(name: &str) -> Option<u32> {
    (name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

impl Journal {
    /// A journal that goes on behind what was loaded.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, limits: Limits, loaded: &Loaded) -> Self {
        let files = &loaded.files;
        Self {
            disk,
            dir: dir.to_path_buf(),
            limits,
            files: RwLock::new(files.iter().map(|(file, (handle, _))| (*file, Arc::clone(handle))).collect()),
            cache: BlockCache::new(limits.cache_bytes_max),
            writer: Mutex::new(Writer {
                files: files.iter().map(|(file, (_, count))| (*file, *count)).collect(),
                next_file: loaded.next_file,
                extents: loaded.queues.values().map(Vec::len).sum(),
                merging: Merging::default(),
                previous_crc: loaded.previous_crc,
                pending: VecDeque::new(),
                pending_bytes: 0,
                pinned: Vec::new(),
                // Nobody knows what the process before has synced.
                unsynced: files.keys().copied().collect(),
                new_names: !files.is_empty(),
                warned: false,
                failed: None,
                checkpoint: loaded.checkpoint,
            }),
        }
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// The handle of a file; `None` before its first byte is written, when the cache has all of it.
    pub(super) fn handle(&self, file: u32) -> Option<Arc<dyn File>> {
        read(&self.files).get(&file).cloned()
    }

    /// Appends an extent's block and gives its place. `kept`: readers may want it once it is written.
    pub(super) fn append_run(
        &self,
        writer: &mut Writer,
        queue: QueueKey,
        run: &Run,
        range: std::ops::Range<usize>,
        kept: bool,
    ) -> (Place, block::ExtentHead) {
        let (first, last) = (run.get(range.start), run.get(range.end - 1));
        let head = block::ExtentHead {
            queue,
            first_offset: first.first_offset,
            next_offset: last.next_offset(),
            first_position: first.position,
            last_position: last.position,
        };
        let kind = Kind::Extent { head, shape: run.shape(), count: range.len() };
        (self.append(writer, kind, kept, |out| run.encode(range, out)), head)
    }

    /// Appends a block whose entries are already bytes.
    pub(super) fn append_packed(
        &self,
        writer: &mut Writer,
        head: block::ExtentHead,
        packed: &Packed<'_>,
    ) -> Place {
        let kind = Kind::Extent { head, shape: packed.shape, count: packed.len() };
        self.append(writer, kind, false, |out| out.extend_from_slice(packed.bytes))
    }

    /// Appends a block without entries.
    pub(super) fn append_mark(&self, writer: &mut Writer, kind: Kind) {
        self.append(writer, kind, false, |_| {});
    }

    fn append(
        &self,
        writer: &mut Writer,
        kind: Kind,
        kept: bool,
        entries: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let len = kind.block_bytes() as u64;
        let current = writer.files.last_key_value().map(|(file, count)| (*file, count.bytes));
        let file = match current {
            Some((file, bytes)) if bytes + len <= self.limits.file_bytes => file,
            // The journal's number of files in all its life fits: 2^32 files of a MiB are 4 PiB.
            Some((file, _)) => self.begin_file(writer, file.checked_add(1).expect("fewer than 2^32 files")),
            None => self.begin_file(writer, writer.next_file),
        };
        let at = self.push(writer, file, kind, entries);
        let place = (file, u32::try_from(at).expect("a journal file is far below 4 GiB"));
        if matches!(kind, Kind::Extent { .. }) {
            let bytes = &writer.pending.back().expect("just pushed").bytes;
            self.cache.insert(place, bytes[bytes.len() - len as usize..].into(), true);
            writer.pinned.push((place, kept));
            writer.count(file).live += len;
            writer.extents += 1;
        }
        place
    }

    fn begin_file(&self, writer: &mut Writer, file: u32) -> u32 {
        writer.files.insert(file, FileCount::default());
        writer.pending.push_back(Pending { file, at: 0, bytes: Vec::new() });
        self.push(writer, file, Kind::File, |_| {});
        file
    }

    /// Puts a block into the buffer; gives its place in the file.
    fn push(&self, writer: &mut Writer, file: u32, kind: Kind, entries: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let at = writer.count(file).bytes;
        if writer.pending.back().is_none_or(|pending| pending.file != file) {
            writer.pending.push_back(Pending { file, at, bytes: Vec::new() });
        }
        let pending = writer.pending.back_mut().expect("made above");
        assert_eq!(pending.at + pending.bytes.len() as u64, at, "the buffer ends where the file ends");
        let link = Link { file: u64::from(file), at, previous_crc: writer.previous_crc };
        writer.previous_crc = block::write(&mut pending.bytes, link, kind, entries);
        writer.pending_bytes += kind.block_bytes();
        writer.count(file).bytes += kind.block_bytes() as u64;
        at
    }

    /// Writes the buffer when it is large. An error keeps it: the next call tries again.
    pub(super) fn write_if_large(&self, writer: &mut Writer) {
        if writer.pending_bytes < self.limits.write_bytes {
            return;
        }
        match self.write(writer) {
            Ok(()) => writer.warned = false,
            Err(_) if writer.warned => {}
            Err(error) => {
                writer.warned = true;
                tracing::warn!(%error, dir = %self.dir.display(), "the queue index stays in memory: no write");
            }
        }
    }

    /// Writes the buffer. An error keeps it: the same bytes go to the same places at the next call.
    pub(super) fn write(&self, writer: &mut Writer) -> io::Result<()> {
        while let Some(pending) = writer.pending.front() {
            let handle = match self.handle(pending.file) {
                Some(handle) => handle,
                None => {
                    // Left-overs of a first try that failed are of no use.
                    let path = self.dir.join(file_name(pending.file.into()));
                    let handle = self.disk.open(&path, OpenMode::CreateTruncate)?;
                    write(&self.files).insert(pending.file, Arc::clone(&handle));
                    writer.new_names = true;
                    handle
                }
            };
            handle.write_all_at(&pending.bytes, pending.at)?;
            writer.unsynced.insert(pending.file);
            writer.pending_bytes -= pending.bytes.len();
            writer.pending.pop_front();
        }
        for (place, kept) in writer.pinned.drain(..) {
            self.cache.unpin(place, kept);
        }
        Ok(())
    }

    /// Makes durable what is written. The lock is let go while the disk works.
    ///
    /// # Errors
    /// The disk's; the journal takes no checkpoint any more after that.
    fn sync(&self) -> io::Result<()> {
        let (files, new_names) = {
            let mut writer = self.writer();
            writer.check()?;
            let files: Vec<u32> = std::mem::take(&mut writer.unsynced).into_iter().collect();
            (files, std::mem::take(&mut writer.new_names))
        };
        let mut handles = files.iter().filter_map(|file| self.handle(*file));
        let synced = handles
            .try_for_each(|handle| handle.sync_data())
            .and_then(|()| if new_names { self.disk.sync_dir(&self.dir) } else { Ok(()) });
        if let Err(error) = &synced {
            self.writer().failed = Some(error.to_string());
            tracing::warn!(
                %error,
                dir = %self.dir.display(),
                "a sync failed: the queue index on disk stays behind until the next start, which reads the log instead"
            );
        }
        synced
    }

    /// Appends a checkpoint and makes it durable with all before it. It needs no sync of its own: replay believes it
    /// only when every block before it is whole.
    pub(super) fn checkpoint(&self, covered: u64) -> io::Result<()> {
        let first_file = {
            let mut writer = self.writer();
            writer.check()?;
            let first_file = u64::from(writer.first_needed());
            self.append_mark(&mut writer, Kind::Checkpoint { covered, first_file });
            self.write(&mut writer)?;
            first_file
        };
        self.sync()?;
        self.writer().checkpoint = Some((covered, first_file));
        Ok(())
    }

    /// Removes the files before the first one that the newest checkpoint needs.
    pub(super) fn remove_unneeded(&self) -> io::Result<()> {
        let unneeded: Vec<u32> = {
            let writer = self.writer();
            let Some((_, first_file)) = writer.checkpoint else { return Ok(()) };
            writer.files.keys().copied().take_while(|file| u64::from(*file) < first_file).collect()
        };
        for file in &unneeded {
            self.disk.remove_file(&self.dir.join(file_name((*file).into())))?;
            self.writer().files.remove(file);
            write(&self.files).remove(file);
        }
        if unneeded.is_empty() { Ok(()) } else { self.disk.sync_dir(&self.dir) }
    }

    /// An extent's block, from memory or from `handle`, and then kept in memory; checked to be the one that is meant.
    /// `None` when that would wait and `may_wait` does not allow it.
    pub(super) fn block(
        &self,
        queue: QueueKey,
        extent: &Extent,
        handle: Option<&dyn File>,
        may_wait: bool,
    ) -> io::Result<Option<Arc<[u8]>>> {
        if let Some(block) = self.cache.get(extent.place()) {
            return Ok(Some(block));
        }
        // A handle was missing when the block was still in the buffer; it may have been written since.
        let late = if handle.is_none() { self.handle(extent.place().0) } else { None };
        let handle = handle.or(late.as_deref()).ok_or_else(|| damaged(extent.place()))?;
        let Some(bytes) = load(handle, queue, extent, may_wait)? else { return Ok(None) };
        let block: Arc<[u8]> = bytes.into();
        self.cache.insert(extent.place(), Arc::clone(&block), false);
        Ok(Some(block))
    }

    /// An extent's block, which readers need not want: it is not kept in memory.
    pub(super) fn read_block(&self, queue: QueueKey, extent: &Extent) -> io::Result<Arc<[u8]>> {
        if let Some(block) = self.cache.get(extent.place()) {
            return Ok(block);
        }
        let handle = self.handle(extent.place().0).ok_or_else(|| damaged(extent.place()))?;
        let bytes = load(&*handle, queue, extent, true)?.ok_or_else(|| damaged(extent.place()))?;
        Ok(bytes.into())
    }

    /// Bytes of memory that the journal holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.cache.bytes()
            + self.writer().pending.iter().map(|pending| pending.bytes.capacity()).sum::<usize>()
    }

    /// Reads a whole file, in order to copy what is live in it.
    pub(super) fn read_file(&self, file: u32) -> io::Result<Vec<u8>> {
        let handle = self.handle(file).ok_or(io::ErrorKind::NotFound)?;
        let len = self.writer().files.get(&file).map_or(0, |count| count.bytes);
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?];
        handle.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl Writer {
    fn count(&mut self, file: u32) -> &mut FileCount {
        self.files.get_mut(&file).expect("a file that the directory or the buffer names is counted")
    }

    /// A block is no longer named by the directory.
    pub(super) fn dead(&mut self, file: u32, bytes: usize) {
        let count = self.count(file);
        assert!(count.live >= bytes as u64, "file {file} has {} live bytes, {bytes} died", count.live);
        count.live -= bytes as u64;
        self.extents -= 1;
    }

    /// The first file that holds something live; the last one when none does.
    pub(super) fn first_needed(&self) -> u32 {
        let live = self.files.iter().find(|(_, count)| count.live > 0).map(|(file, _)| *file);
        live.or_else(|| self.files.last_key_value().map(|(file, _)| *file)).unwrap_or(0)
    }

    /// True when a checkpoint of the same position would say the same, and is durable.
    pub(super) fn is_settled(&self, covered: u64) -> bool {
        let is_covered = self.checkpoint.is_some_and(|(newest, _)| newest == covered);
        is_covered && !self.has_unneeded() && self.unsynced.is_empty()
    }

    /// True when files can go that the newest checkpoint still names.
    pub(super) fn has_unneeded(&self) -> bool {
        self.files.first_key_value().is_some_and(|(file, _)| *file < self.first_needed())
    }

    /// True when a sync failed: no checkpoint succeeds any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.failed.is_some()
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!("the queue index could not be synced: {reason}"))),
        }
    }
}

/// Reads and checks a block.
fn load(handle: &dyn File, queue: QueueKey, extent: &Extent, may_wait: bool) -> io::Result<Option<Vec<u8>>> {
    let (file, at) = extent.place();
    let mut bytes = vec![0; extent.block_bytes()];
    if may_wait {
        handle.read_exact_at(&mut bytes, at.into())?;
    } else if !read_cached(handle, &mut bytes, at.into())? {
        return Ok(None);
    }
    let is_it = block::parse(&bytes).is_some_and(|block| {
        let is_here = block.link.file == u64::from(file) && block.link.at == u64::from(at);
        is_here
            && block.len == bytes.len()
            && matches!(block.body, Body::Extent(head, packed) if head.queue == queue
                && head.first_offset == extent.first_offset
                && packed.shape == extent.shape())
    });
    if is_it { Ok(Some(bytes)) } else { Err(damaged(extent.place())) }
}

/// Reads all of `buf` without waiting; false when that is impossible.
fn read_cached(handle: &dyn File, mut buf: &mut [u8], mut at: u64) -> io::Result<bool> {
    while !buf.is_empty() {
        match handle.read_at_cached(buf, at) {
            Ok(None) => return Ok(false),
            Ok(Some(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Some(n)) => {
                buf = &mut buf[n..];
                at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn damaged((file, at): Place) -> io::Error {
    let name = file_name(file.into());
    io::Error::new(io::ErrorKind::InvalidData, format!("the queue index is damaged in {name} at byte {at}"))
}
