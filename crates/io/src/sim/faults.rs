//! Which faults the disk may take, and a count of those it took.

use std::collections::BTreeMap;
use std::fmt;

/// One way in which a disk can fail its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A read answers EIO.
    ReadError,
    /// A write answers EIO, after none or some of its bytes.
    WriteError,
    /// A sync of a file answers EIO; each unsynced sector has reached the device or never will.
    SyncError,
    /// A sync of a directory answers EIO; each unsynced operation has reached the device or never will.
    DirSyncError,
    /// A write, or a new file, answers ENOSPC.
    NoSpace,
    /// A read gives fewer bytes than are there.
    ShortRead,
    /// A write takes fewer bytes than it was given.
    ShortWrite,
    /// `read_at_cached` says that it would have to wait.
    ColdRead,
    /// An operation is slow; counted in [`delay_ms`](super::SimDisk::delay_ms).
    Slow,
    /// At a sync one sector lands at another place of its file.
    MisdirectedWrite,
    /// A bit of a stored sector flips; only on request, by [`rot`](super::SimDisk::rot).
    BitRot,
    /// At a crash an unsynced sector had reached the device whole.
    SectorKept,
    /// At a crash an unsynced sector is as it was before.
    SectorLost,
    /// At a crash an unsynced sector holds the first part of the new bytes and then the old.
    SectorTorn,
    /// At a crash an unsynced sector holds noise.
    SectorGarbage,
    /// At a crash an unsynced sector holds bytes of another or an older file, as a recycled block does.
    SectorStale,
    /// At a crash an unsynced length had reached the device.
    LengthKept,
    /// At a crash a length is as it was before.
    LengthLost,
    /// At a crash a growing file has a length between the old and the new.
    LengthBetween,
    /// At a crash an unsynced directory operation had reached the device.
    DirOpKept,
    /// At a crash an unsynced directory operation never happened.
    DirOpLost,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 21] = [
        FaultKind::ReadError,
        FaultKind::WriteError,
        FaultKind::SyncError,
        FaultKind::DirSyncError,
        FaultKind::NoSpace,
        FaultKind::ShortRead,
        FaultKind::ShortWrite,
        FaultKind::ColdRead,
        FaultKind::Slow,
        FaultKind::MisdirectedWrite,
        FaultKind::BitRot,
        FaultKind::SectorKept,
        FaultKind::SectorLost,
        FaultKind::SectorTorn,
        FaultKind::SectorGarbage,
        FaultKind::SectorStale,
        FaultKind::LengthKept,
        FaultKind::LengthLost,
        FaultKind::LengthBetween,
        FaultKind::DirOpKept,
        FaultKind::DirOpLost,
    ];

    /// The name under which the kind is counted.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::ReadError => "read-error",
            FaultKind::WriteError => "write-error",
            FaultKind::SyncError => "sync-error",
            FaultKind::DirSyncError => "dir-sync-error",
            FaultKind::NoSpace => "no-space",
            FaultKind::ShortRead => "short-read",
            FaultKind::ShortWrite => "short-write",
            FaultKind::ColdRead => "cold-read",
            FaultKind::Slow => "slow",
            FaultKind::MisdirectedWrite => "misdirected-write",
            FaultKind::BitRot => "bit-rot",
            FaultKind::SectorKept => "sector-kept",
            FaultKind::SectorLost => "sector-lost",
            FaultKind::SectorTorn => "sector-torn",
            FaultKind::SectorGarbage => "sector-garbage",
            FaultKind::SectorStale => "sector-stale",
            FaultKind::LengthKept => "length-kept",
            FaultKind::LengthLost => "length-lost",
            FaultKind::LengthBetween => "length-between",
            FaultKind::DirOpKept => "dir-op-kept",
            FaultKind::DirOpLost => "dir-op-lost",
        }
    }
}

/// How often each fault is drawn, in operations per million; 0 is never. What a crash does needs no rate: it draws
/// among all outcomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Rate of [`FaultKind::ReadError`].
    pub read_error: u32,
    /// Rate of [`FaultKind::WriteError`].
    pub write_error: u32,
    /// Rate of [`FaultKind::SyncError`].
    pub sync_error: u32,
    /// Rate of [`FaultKind::DirSyncError`].
    pub dir_sync_error: u32,
    /// Rate of [`FaultKind::NoSpace`], apart from the `capacity`.
    pub no_space: u32,
    /// Rate of [`FaultKind::ShortRead`].
    pub short_read: u32,
    /// Rate of [`FaultKind::ShortWrite`].
    pub short_write: u32,
    /// Rate of [`FaultKind::ColdRead`].
    pub cold_read: u32,
    /// Rate of [`FaultKind::Slow`].
    pub slow: u32,
    /// Rate of [`FaultKind::MisdirectedWrite`], per sync of a file.
    pub misdirected_write: u32,
    /// Faults with a rate fall only on paths that contain this text; all paths when empty.
    pub only: String,
    /// Size of the disk in bytes; unlimited when `None`. A file takes room for the 4 KiB blocks written, not for its
    /// length.
    pub capacity: Option<u64>,
}

impl Faults {
    pub(super) fn rate(&self, kind: FaultKind) -> u32 {
        match kind {
            FaultKind::ReadError => self.read_error,
            FaultKind::WriteError => self.write_error,
            FaultKind::SyncError => self.sync_error,
            FaultKind::DirSyncError => self.dir_sync_error,
            FaultKind::NoSpace => self.no_space,
            FaultKind::ShortRead => self.short_read,
            FaultKind::ShortWrite => self.short_write,
            FaultKind::ColdRead => self.cold_read,
            FaultKind::Slow => self.slow,
            FaultKind::MisdirectedWrite => self.misdirected_write,
            _ => 0,
        }
    }
}

/// How often each thing happened, by name. Tests add their own names and merge the counts of many runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Counts one more of `name`.
    pub fn count(&mut self, name: &str) {
        match self.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(name.to_owned(), 1);
            }
        }
    }

    /// How often `name` was counted.
    pub fn of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Coverage) {
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// Those of `names` that were never counted.
    pub fn missing<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        names.into_iter().filter(|name| self.of(name) == 0).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in self.counts.iter().enumerate() {
            let gap = if at == 0 { "" } else { ", " };
            write!(f, "{gap}{name} {count}")?;
        }
        Ok(())
    }
}
