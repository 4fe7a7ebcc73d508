//! A sorted run of keys on disk; written down in `docs/format/key-index.md`.
//!
//! ```text
//!  head page:  MAGIC 4 │ VERSION 1 │ zero 3 │ FROM 8 │ TO 8 │ COUNT 8 │ CRC32 4 │ zeros to 4096
//!  data page:  255 × (HASH 8 │ POSITION 8) │ NUMBER 4 │ USED 4 │ RUN 4 │ CRC32 4
//! ```
//!
//! A run holds the keys of every record in `[from, to)`, sorted by hash and then position. It gets its name when it is
//! durable, and never changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use braid_io::{Disk, File, OpenMode};

/// `BKEY`.
const MAGIC: u32 = 0x424B_4559;
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 36;
pub(super) const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
/// Entries of a page.
pub(super) const PAGE_ENTRIES: usize = 255;
const PAGE_FOOT: usize = PAGE_ENTRIES * ENTRY_BYTES;
/// Pages that are collected before they are written.
const WRITE_PAGES: usize = 64;

/// Hash and position.
pub(super) type Pair = (u64, u64);

/// A run that is there.
pub(super) struct Run {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) count: u64,
    path: PathBuf,
    file: Arc<dyn File>,
}

/// The name of a run.
pub(super) fn run_name(from: u64, to: u64) -> String {
    format!("{from:020}-{to:020}")
}

/// First and end position of a run's name.
pub(super) fn run_of(name: &str) -> Option<(u64, u64)> {
    let (from, to) = name.split_once('-')?;
    let is_number = |text: &str| text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(from) || !is_number(to) {
        return None;
    }
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// What a page must say of its run, so that a page of another run is not taken for it.
fn run_tag(from: u64, to: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&from.to_be_bytes());
    hasher.update(&to.to_be_bytes());
    hasher.finalize()
}

impl Run {
    /// Opens a run and checks its head and its length; the pages are checked when they are read.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when it is not the run of its name.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf, (from, to): (u64, u64)) -> io::Result<Self> {
        let file = disk.open(&path, OpenMode::Read)?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let count = be64(&head, 24);
        let is_it = head == head_of(from, to, count)[..]
            && from < to
            && pages(count).checked_add(1).and_then(|pages| pages.checked_mul(PAGE_BYTES as u64))
                == Some(file.len()?);
        if !is_it {
            return Err(damaged(&path));
        }
        Ok(Self { from, to, count, path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds positions of `hash` inside `range`, newest first, to `found`, until it holds `max`. Positions not below
    /// the last one found are known already.
    pub(super) fn lookup(
        &self,
        hash: u64,
        range: &std::ops::Range<u64>,
        max: usize,
        found: &mut Vec<u64>,
    ) -> io::Result<()> {
        let end = found.last().map_or(range.end, |last| range.end.min(*last));
        let mut page = Page::new();
        // Pages whose first pair lies below (hash, end): the last of them has the newest position.
        let (mut low, mut high) = (0, pages(self.count));
        while low < high {
            let middle = low + (high - low) / 2;
            page.load(self, middle)?;
            if page.pair(0) < (hash, end) { low = middle + 1 } else { high = middle }
        }
        for number in (0..low).rev() {
            page.load(self, number)?;
            for at in (0..page.used()).rev() {
                let (other, position) = page.pair(at);
                if (other, position) >= (hash, end) {
                    continue;
                }
                if other != hash || position < range.start || found.len() >= max {
                    return Ok(());
                }
                if found.last() != Some(&position) {
                    found.push(position);
                }
            }
        }
        Ok(())
    }

    /// All pairs in order.
    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs { run: self, page: Page::new(), number: 0, at: 0, loaded: false }
    }
}

/// A walk over a run.
pub(super) struct Pairs<'a> {
    run: &'a Run,
    page: Page,
    number: u64,
    at: usize,
    loaded: bool,
}

impl Pairs<'_> {
    /// The next pair; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Pair>> {
        while self.number < pages(self.run.count) {
            if !self.loaded {
                self.page.load(self.run, self.number)?;
                self.loaded = true;
            }
            if self.at < self.page.used() {
                self.at += 1;
                return Ok(Some(self.page.pair(self.at - 1)));
            }
            (self.number, self.at, self.loaded) = (self.number + 1, 0, false);
        }
        Ok(None)
    }
}

/// One page in memory, checked.
struct Page {
    bytes: Box<[u8]>,
}

impl Page {
    fn new() -> Self {
        Self { bytes: vec![0; PAGE_BYTES].into() }
    }

    fn load(&mut self, run: &Run, number: u64) -> io::Result<()> {
        run.file.read_exact_at(&mut self.bytes, (number + 1) * PAGE_BYTES as u64)?;
        let used = (run.count - number * PAGE_ENTRIES as u64).min(PAGE_ENTRIES as u64);
        let is_it = be32(&self.bytes, PAGE_FOOT) == number as u32
            && u64::from(be32(&self.bytes, PAGE_FOOT + 4)) == used
            && be32(&self.bytes, PAGE_FOOT + 8) == run_tag(run.from, run.to)
            && be32(&self.bytes, PAGE_FOOT + 12) == crc32fast::hash(&self.bytes[..PAGE_FOOT + 12]);
        if is_it { Ok(()) } else { Err(damaged(&run.path)) }
    }

    fn used(&self) -> usize {
        be32(&self.bytes, PAGE_FOOT + 4) as usize
    }

    fn pair(&self, at: usize) -> Pair {
        (be64(&self.bytes, at * ENTRY_BYTES), be64(&self.bytes, at * ENTRY_BYTES + 8))
    }
}

/// Writes a run under a temporary name, pair by pair.
pub(super) struct RunWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    from: u64,
    to: u64,
    file: Arc<dyn File>,
    /// Whole pages, and the entries of the page that is being filled.
    buffer: Vec<u8>,
    in_page: usize,
    /// Pages written or in the buffer.
    pages: u64,
    written: u64,
    count: u64,
}

impl<'a> RunWriter<'a> {
    pub(super) fn new(disk: &'a dyn Disk, dir: &'a Path, from: u64, to: u64) -> io::Result<Self> {
        let file = disk.open(&temporary(dir, from, to), OpenMode::CreateTruncate)?;
        let written = PAGE_BYTES as u64;
        Ok(Self { disk, dir, from, to, file, buffer: Vec::new(), in_page: 0, pages: 0, written, count: 0 })
    }

    /// Adds a pair; pairs come in order.
    pub(super) fn push(&mut self, (hash, position): Pair) -> io::Result<()> {
        self.buffer.extend_from_slice(&hash.to_be_bytes());
        self.buffer.extend_from_slice(&position.to_be_bytes());
        self.in_page += 1;
        self.count += 1;
        if self.in_page == PAGE_ENTRIES {
            self.end_page();
        }
        if self.buffer.len() >= WRITE_PAGES * PAGE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn end_page(&mut self) {
        let start = self.buffer.len() - self.in_page * ENTRY_BYTES;
        self.buffer.resize(start + PAGE_FOOT, 0);
        for value in [self.pages as u32, self.in_page as u32, run_tag(self.from, self.to)] {
            self.buffer.extend_from_slice(&value.to_be_bytes());
        }
        let crc = crc32fast::hash(&self.buffer[start..]);
        self.buffer.extend_from_slice(&crc.to_be_bytes());
        self.pages += 1;
        self.in_page = 0;
    }

    /// Writes the whole pages of the buffer.
    fn write(&mut self) -> io::Result<()> {
        let whole = self.buffer.len() - self.in_page * ENTRY_BYTES;
        self.file.write_all_at(&self.buffer[..whole], self.written)?;
        self.written += whole as u64;
        self.buffer.drain(..whole);
        Ok(())
    }

    /// Makes the run durable and gives it its name.
    pub(super) fn finish(mut self) -> io::Result<Run> {
        if self.in_page > 0 {
            self.end_page();
        }
        self.write()?;
        let mut head = head_of(self.from, self.to, self.count);
        head.resize(PAGE_BYTES, 0);
        self.file.write_all_at(&head, 0)?;
        self.file.sync_data()?;
        let path = self.dir.join(run_name(self.from, self.to));
        self.disk.rename(&temporary(self.dir, self.from, self.to), &path)?;
        self.disk.sync_dir(self.dir)?;
        Ok(Run { from: self.from, to: self.to, count: self.count, path, file: self.file })
    }
}

/// What a left-over of an unfinished run ends with.
pub(super) const TEMPORARY: &str = ".tmp";

fn temporary(dir: &Path, from: u64, to: u64) -> PathBuf {
    dir.join(run_name(from, to) + TEMPORARY)
}

fn head_of(from: u64, to: u64, count: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(PAGE_BYTES);
    head.extend_from_slice(&MAGIC.to_be_bytes());
    head.extend_from_slice(&[VERSION, 0, 0, 0]);
    for value in [from, to, count] {
        head.extend_from_slice(&value.to_be_bytes());
    }
    let crc = crc32fast::hash(&head);
    head.extend_from_slice(&crc.to_be_bytes());
    head
}

fn pages(count: u64) -> u64 {
    count.div_ceil(PAGE_ENTRIES as u64)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("a slice of 4 bytes"))
}

fn damaged(path: &Path) -> io::Error {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    io::Error::new(io::ErrorKind::InvalidData, format!("the key index is damaged in {name}"))
}
