//! Walking through a log that may be torn, holed, rotten or cut short: what lies at a position, and what lies behind.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use braid_io::File;
use braid_record::{BLANK_HEAD_BYTES, MAGIC_V1, MAGIC_V2, Peek, RecordView, peek};

use crate::files::LogFile;

/// Bytes that one read of a scan fetches, unless a record is longer.
const WINDOW_BYTES: usize = 1 << 20;
/// Bytes of a record up to and including its own position: what tells a record of this place from noise.
const HEAD_BYTES: usize = 36;
/// Granularity in which a search looks for bytes that are not zero.
const PAGE_BYTES: usize = 4096;

/// What lies at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// A whole record of this many bytes that belongs here.
    Record(usize),
    /// Filler: the log goes on in the next file.
    Filler,
    /// The file that should hold the position does not exist.
    NoFile,
    /// None of these. Why.
    Bad(String),
}

/// What a search found behind a bad place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The nearest whole record of this log that may follow what lies before the bad place.
    pub(crate) nearest: Option<u64>,
    /// End of the farthest whole one, whether it may or not.
    pub(crate) farthest_end: Option<u64>,
    /// End of the last page with a byte that is not zero; the place where the search began if there is none.
    pub(crate) nonzero_end: u64,
}

/// Reads a log's files.
pub(crate) struct LogScan {
    files: BTreeMap<u64, Arc<dyn File>>,
    file_bytes: u64,
    checksum_from: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl LogScan {
    pub(crate) fn new(files: BTreeMap<u64, Arc<dyn File>>, file_bytes: u64, checksum_from: u64) -> Self {
        Self { files, file_bytes, checksum_from, window: Vec::new(), window_at: 0 }
    }

    pub(crate) fn base_of(&self, position: u64) -> u64 {
        position - position % self.file_bytes
    }

    pub(crate) fn file_end(&self, position: u64) -> u64 {
        self.base_of(position) + self.file_bytes
    }

    pub(crate) fn file(&self, base: u64) -> Option<&Arc<dyn File>> {
        self.files.get(&base)
    }

    pub(crate) fn bases(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.files.keys().copied()
    }

    /// Adds a file that was made just now.
    pub(crate) fn add(&mut self, base: u64, file: Arc<dyn File>) {
        self.window.clear();
        self.files.insert(base, file);
    }

    /// Takes out the files from a position on.
    pub(crate) fn take_from(&mut self, position: u64) -> BTreeMap<u64, Arc<dyn File>> {
        self.window.clear();
        self.files.split_off(&position)
    }

    /// First position of the nearest file behind the one that holds a position.
    pub(crate) fn next_base(&self, position: u64) -> Option<u64> {
        self.files.range(self.file_end(position)..).next().map(|(&base, _)| base)
    }

    /// The files as an open log holds them.
    pub(crate) fn into_files(self, prewritten: impl Fn(u64) -> u64) -> BTreeMap<u64, Arc<LogFile>> {
        self.files
            .into_iter()
            .map(|(base, file)| (base, Arc::new(LogFile::new(base, file, prewritten(base)))))
            .collect()
    }

    /// Says what lies at a position.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn at(&mut self, position: u64) -> io::Result<At> {
        let left = self.file_end(position) - position;
        if !self.files.contains_key(&self.base_of(position)) {
            return Ok(At::NoFile);
        }
        if left < BLANK_HEAD_BYTES as u64 {
            return Ok(At::Bad(format!("{left} bytes before the file's end hold nothing")));
        }
        match peek(self.bytes(position, BLANK_HEAD_BYTES)?) {
            Some(Peek::Record(size)) if (size + BLANK_HEAD_BYTES) as u64 > left => Ok(At::Bad(format!(
                "a record of {size} bytes does not end {left} bytes before the file's end"
            ))),
            Some(Peek::Record(size)) => {
                let checksum_required = position >= self.checksum_from;
                Ok(match RecordView::check(self.bytes(position, size)?, position, checksum_required) {
                    Ok(view) => At::Record(view.len()),
                    Err(error) => At::Bad(error.to_string()),
                })
            }
            Some(Peek::Blank(len)) if len as u64 == left => Ok(At::Filler),
            Some(Peek::Blank(len)) => Ok(At::Bad(format!("a filler says {len} bytes, {left} are left"))),
            Some(Peek::Zeros) => Ok(At::Bad("nothing but zeros".to_owned())),
            Some(Peek::Unknown) | None => Ok(At::Bad("neither a record nor a filler".to_owned())),
        }
    }

    /// Bytes of one file, through a window that follows the scan.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let end = position + len as u64;
        assert!(end <= self.file_end(position), "a scan reads one file at a time");
        if position < self.window_at || end > self.window_at + self.window.len() as u64 {
            let want = len.max(WINDOW_BYTES).min((self.file_end(position) - position) as usize);
            let base = self.base_of(position);
            let file = self.files.get(&base).ok_or(io::ErrorKind::NotFound)?;
            self.window.resize(want, 0);
            // Should the read fail, the window must not claim to hold it.
            self.window_at = u64::MAX - want as u64;
            file.read_exact_at(&mut self.window, position - base)?;
            self.window_at = position;
        }
        let from = (position - self.window_at) as usize;
        Ok(&self.window[from..from + len])
    }

    /// Looks for whole records of this log from `from` on, and for bytes that are not zero. Ends at the files' end or
    /// where, at or behind `durable`, `zeros_max` bytes of zeros lie together; with `nearest_only`, at the first record
    /// that `may_follow`: a body can hold what looks like a record of its place.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn search(
        &mut self,
        from: u64,
        durable: u64,
        zeros_max: u64,
        nearest_only: bool,
        may_follow: &dyn Fn(u64, &RecordView<'_>) -> bool,
    ) -> io::Result<Behind> {
        let mut behind = Behind { nonzero_end: from, ..Behind::default() };
        let bases: Vec<u64> = self.files.range(self.base_of(from)..).map(|(&base, _)| base).collect();
        for base in bases {
            let mut at = from.max(base);
            let file_end = base + self.file_bytes;
            while at < file_end {
                let len = WINDOW_BYTES.min((file_end - at) as usize);
                let block = self.bytes(at, len)?.to_vec();
                note_nonzero(&block, at, &mut behind);
                self.note_records(&block, at, &mut behind, may_follow)?;
                if nearest_only && behind.nearest.is_some() {
                    return Ok(behind);
                }
                // The next block begins inside this one's last bytes, where a head may have been cut.
                let last_block = at + len as u64 == file_end;
                at = if last_block { file_end } else { at + (len - HEAD_BYTES) as u64 };
                if at.saturating_sub(behind.nonzero_end.max(durable)) >= zeros_max {
                    return Ok(behind);
                }
            }
        }
        Ok(behind)
    }

    fn note_records(
        &mut self,
        block: &[u8],
        at: u64,
        behind: &mut Behind,
        may_follow: &dyn Fn(u64, &RecordView<'_>) -> bool,
    ) -> io::Result<()> {
        // Both magics begin with this byte, four bytes behind the record's start.
        for found in memchr::memchr_iter(MAGIC_V1.to_be_bytes()[0], block) {
            let Some(start) = found.checked_sub(4) else { continue };
            let Some(head) = block.get(start..start + HEAD_BYTES) else { break };
            let word = |i: usize| u32::from_be_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
            let position = at + start as u64;
            let says = u64::from(word(28)) << 32 | u64::from(word(32));
            if !matches!(word(4), MAGIC_V1 | MAGIC_V2) || says != position {
                continue;
            }
            if let At::Record(size) = self.at(position)? {
                if behind.nearest.is_none_or(|nearest| nearest > position)
                    && RecordView::parse(self.bytes(position, size)?)
                        .is_ok_and(|view| may_follow(position, &view))
                {
                    behind.nearest = Some(position);
                }
                let end = position + size as u64;
                behind.farthest_end = Some(behind.farthest_end.map_or(end, |farthest| farthest.max(end)));
            }
        }
        Ok(())
    }
}

fn note_nonzero(block: &[u8], at: u64, behind: &mut Behind) {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    let mut page_at = at;
    for page in block.chunks(PAGE_BYTES) {
        page_at += page.len() as u64;
        if *page != ZEROS[..page.len()] {
            behind.nonzero_end = page_at;
        }
    }
}
