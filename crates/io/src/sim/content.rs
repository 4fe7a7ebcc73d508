//! The bytes of one file: what its readers see (live) and what the device holds (durable).

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Coverage, FaultKind};
use crate::rng::Rng;

/// Bytes that a device writes as one.
pub const SECTOR: usize = 512;
/// Bytes in which room on the disk is given out.
const BLOCK: usize = 4096;

/// The bytes of a sector that unsynced writes touched, one bit each.
#[derive(Debug, Clone, Copy, Default)]
struct Mask([u64; SECTOR / 64]);

impl Mask {
    fn set(&mut self, from: usize, to: usize) {
        for (word, bits) in self.0.iter_mut().enumerate() {
            let (low, high) = (from.max(word * 64), to.min(word * 64 + 64));
            if low < high {
                let ones = high - low;
                let run = if ones == 64 { u64::MAX } else { (1 << ones) - 1 };
                *bits |= run << (low - word * 64);
            }
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
}

/// How the sectors of one file fare in a crash: real caches write back in runs as often as at random.
#[derive(Debug, Clone, Copy)]
enum Weather {
    /// Each sector draws among all outcomes.
    Mixed,
    AllKept,
    AllLost,
    /// Kept before the drawn sector, torn in it, lost after it.
    KeptBefore(usize),
    /// Lost before the drawn sector, kept from it on: a hole.
    KeptAfter(usize),
    /// Kept or stale, by runs.
    StaleRuns,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that a sync has to write, in order.
    dirty: BTreeMap<usize, Mask>,
    /// Sectors whose live bytes the device does not have and will not get: their sync failed.
    forgotten: BTreeSet<usize>,
    /// Blocks that take room, by number.
    blocks: BTreeSet<usize>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn is_synced(&self) -> bool {
        self.dirty.is_empty() && self.live.len() == self.durable.len()
    }

    /// Bytes of room taken.
    pub(super) fn room(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    /// How many of `len` bytes at `at` can be written with `free` bytes of room left.
    pub(super) fn fitting(&self, at: usize, len: usize, free: u64) -> usize {
        let mut free = free;
        for block in at / BLOCK..(at + len).div_ceil(BLOCK) {
            if !self.blocks.contains(&block) {
                if free < BLOCK as u64 {
                    return (block * BLOCK).saturating_sub(at);
                }
                free -= BLOCK as u64;
            }
        }
        len
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let Some(rest) = usize::try_from(at).ok().and_then(|at| self.live.get(at..)) else {
            return 0;
        };
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        n
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize, rng: &mut Rng) {
        let end = at + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
        }
        for sector in sectors(at, end) {
            // The kernel may write a page back before it is written to again, so that a crash brings neither the
            // synced nor the newest bytes.
            if self.dirty.contains_key(&sector) && rng.one_in(8) {
                self.write_back(sector);
            }
        }
        self.live[at..end].copy_from_slice(bytes);
        self.touch(at, end);
        self.blocks.extend(at / BLOCK..end.div_ceil(BLOCK));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let longest = self.live.len().max(self.durable.len());
        if len < self.live.len() {
            self.live.truncate(len);
            // Bytes cut off read as zeros when the file grows again, and until a sync the device still has them.
            self.touch(len, longest);
            self.blocks.retain(|block| block * BLOCK < len);
        } else {
            grow(&mut self.live, len);
        }
    }

    pub(super) fn sync(&mut self) {
        resize(&mut self.durable, self.live.len());
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            self.write_back(sector);
            self.forgotten.remove(&sector);
        }
    }

    /// A sync that failed: what was unsynced has reached the device or never will, and nobody is told which.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        if rng.one_in(2) {
            resize(&mut self.durable, self.live.len());
        }
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            if rng.one_in(2) {
                self.write_back(sector);
            } else {
                self.forgotten.insert(sector);
            }
        }
    }

    /// A sync in which one sector lands elsewhere in the file. False when nothing was unsynced.
    pub(super) fn misdirect_sync(&mut self, rng: &mut Rng) -> bool {
        let dirty: Vec<usize> = self.dirty.keys().copied().filter(|s| s * SECTOR < self.live.len()).collect();
        if dirty.is_empty() {
            self.sync();
            return false;
        }
        let from = dirty[rng.below(dirty.len() as u64) as usize];
        let to = rng.below(self.live.len().div_ceil(SECTOR) as u64) as usize;
        let before: Vec<u8> = self.sector_of(&self.durable, from).to_vec();
        self.sync();
        if to == from {
            return true;
        }
        let moved = self.sector_of(&self.durable, from).to_vec();
        put(&mut self.durable, from * SECTOR, &before);
        put(&mut self.durable, to * SECTOR, &moved);
        self.forgotten.extend([from, to]);
        true
    }

    /// The machine lost power: what readers see from now on is what the device holds.
    pub(super) fn crash(&mut self, stale: &[u8], rng: &mut Rng, coverage: &mut Coverage) {
        self.crash_length(rng, coverage);
        let weather = self.weather(rng);
        // Half of the recycled files were used in the same way, so that their old bytes are aligned as the new are.
        let shift = if rng.one_in(2) { 0 } else { rng.below(64) as usize * SECTOR };
        let mut in_stale_run = false;
        for (sector, mask) in std::mem::take(&mut self.dirty) {
            let from = sector * SECTOR;
            if from >= self.durable.len() {
                continue;
            }
            if rng.one_in(4) {
                in_stale_run = !in_stale_run;
            }
            let outcome = outcome(weather, sector, in_stale_run, !stale.is_empty(), rng);
            coverage.count(outcome.name());
            let tear = rng.below(SECTOR as u64) as usize;
            let noise = rng.next_u64();
            for at in from..(from + SECTOR).min(self.durable.len()) {
                if !mask.has(at - from) {
                    continue;
                }
                let new = self.live.get(at).copied().unwrap_or(0);
                match outcome {
                    FaultKind::SectorKept => self.durable[at] = new,
                    FaultKind::SectorTorn if at - from < tear => self.durable[at] = new,
                    FaultKind::SectorGarbage => {
                        self.durable[at] = (noise.wrapping_mul((at as u64) << 1 | 1) >> 56) as u8;
                    }
                    FaultKind::SectorStale => self.durable[at] = stale[(at + shift) % stale.len()],
                    _ => {}
                }
            }
        }
        self.forgotten.clear();
        self.live.clone_from(&self.durable);
    }

    /// The process ended and the machine went on: bytes whose sync failed may meanwhile have left the cache, and then
    /// the next reader gets what the device holds.
    pub(super) fn kill(&mut self, rng: &mut Rng) {
        for sector in std::mem::take(&mut self.forgotten) {
            if self.dirty.contains_key(&sector) || rng.one_in(2) {
                self.forgotten.insert(sector);
                continue;
            }
            let device = self.sector_of(&self.durable, sector).to_vec();
            put(&mut self.live, sector * SECTOR, &device);
        }
    }

    /// Changes bytes on both sides at once, as damage to the device does that nobody noticed.
    pub(super) fn damage(&mut self, at: usize, change: impl Fn(u8) -> u8) -> bool {
        let Some(byte) = self.live.get_mut(at) else {
            return false;
        };
        *byte = change(*byte);
        if let Some(byte) = self.durable.get_mut(at) {
            *byte = change(*byte);
        }
        true
    }

    fn crash_length(&mut self, rng: &mut Rng, coverage: &mut Coverage) {
        let (old, new) = (self.durable.len(), self.live.len());
        if old == new {
            return;
        }
        let (kind, len) = match rng.below(4) {
            0 => (FaultKind::LengthLost, old),
            1 if new > old => (FaultKind::LengthBetween, old + rng.below((new - old) as u64) as usize),
            _ => (FaultKind::LengthKept, new),
        };
        coverage.count(kind.name());
        resize(&mut self.durable, len);
    }

    fn weather(&self, rng: &mut Rng) -> Weather {
        let nth = |n: u64| self.dirty.keys().nth(n as usize).copied().unwrap_or(0);
        let count = self.dirty.len().max(1) as u64;
        match rng.below(8) {
            0 => Weather::AllKept,
            1 => Weather::AllLost,
            2 => Weather::KeptBefore(nth(rng.below(count))),
            3 => Weather::KeptAfter(nth(rng.below(count))),
            4 => Weather::StaleRuns,
            _ => Weather::Mixed,
        }
    }

    fn touch(&mut self, from: usize, to: usize) {
        for sector in sectors(from, to) {
            let start = sector * SECTOR;
            let mask = self.dirty.entry(sector).or_default();
            mask.set(from.saturating_sub(start), (to - start).min(SECTOR));
        }
    }

    /// Copies one sector to the device, as far as its length reaches. A cache writes whole sectors.
    fn write_back(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.live.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.live[from..to]);
        }
    }

    fn sector_of<'a>(&self, side: &'a [u8], sector: usize) -> &'a [u8] {
        let from = (sector * SECTOR).min(side.len());
        &side[from..(from + SECTOR).min(side.len())]
    }
}

fn outcome(weather: Weather, sector: usize, in_stale_run: bool, has_stale: bool, rng: &mut Rng) -> FaultKind {
    match weather {
        Weather::AllKept => FaultKind::SectorKept,
        Weather::AllLost => FaultKind::SectorLost,
        Weather::KeptBefore(at) if sector < at => FaultKind::SectorKept,
        Weather::KeptBefore(at) if sector == at => FaultKind::SectorTorn,
        Weather::KeptBefore(_) => FaultKind::SectorLost,
        Weather::KeptAfter(at) if sector < at => FaultKind::SectorLost,
        Weather::KeptAfter(_) => FaultKind::SectorKept,
        Weather::StaleRuns if in_stale_run && has_stale => FaultKind::SectorStale,
        Weather::StaleRuns => FaultKind::SectorKept,
        Weather::Mixed => match rng.below(8) {
            0..=2 => FaultKind::SectorKept,
            3 | 4 => FaultKind::SectorLost,
            5 => FaultKind::SectorTorn,
            6 if has_stale => FaultKind::SectorStale,
            _ => FaultKind::SectorGarbage,
        },
    }
}

fn sectors(from: usize, to: usize) -> std::ops::Range<usize> {
    if from >= to { 0..0 } else { from / SECTOR..to.div_ceil(SECTOR) }
}

/// Lengthens by zeros; an empty vector is made anew, because the system hands out zeroed memory cheaply.
fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.is_empty() {
        *bytes = vec![0; len];
    } else {
        bytes.resize(len, 0);
    }
}

fn resize(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.len() { grow(bytes, len) } else { bytes.truncate(len) }
}

/// Overwrites from `at` as far as the target reaches.
fn put(target: &mut [u8], at: usize, bytes: &[u8]) {
    let from = at.min(target.len());
    let n = bytes.len().min(target.len() - from);
    target[from..from + n].copy_from_slice(&bytes[..n]);
}
