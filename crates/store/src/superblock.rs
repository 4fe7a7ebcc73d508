//! The superblock: who this directory is, and what is proved of its log.
//!
//! `braid/superblock` has two slots of [`SLOT_BYTES`]; the one with the higher sequence counts. A write goes to the slot
//! that does not count and is synced, so a torn write costs the newest state, never both. The byte table is in
//! `docs/format/superblock.md`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use braid_io::{Disk, File, OpenMode, disk::replace_file};

use crate::bytes::{Reader, put_u32, put_u64, put_u128};

/// Bytes of one slot.
pub(crate) const SLOT_BYTES: usize = 4096;
/// Entries that the epoch table keeps; the oldest go first.
pub(crate) const EPOCHS_MAX: usize = 256;
/// The format that this program reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Feature bits without which a directory cannot be understood, as far as this program knows them.
pub(crate) const REQUIRED_KNOWN: u64 = 0;

const MAGIC: &[u8; 8] = b"BRAIDSB1";

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Counts the writes; odd ones lie in slot 1, even ones in slot 0.
    pub(crate) sequence: u64,
    /// Features that a reader must know.
    pub(crate) required_features: u64,
    /// Features that a reader may pass over.
    pub(crate) optional_features: u64,
    /// Identity of the directory.
    pub(crate) directory: u128,
    /// Which shard's log this is.
    pub(crate) shard: u32,
    /// First position of the oldest file that is kept.
    pub(crate) first_position: u64,
    /// Length of every log file.
    pub(crate) file_bytes: u64,
    /// The run that wrote this.
    pub(crate) boot: u128,
    /// True when that run stopped in order; the watermark is the log's end then.
    pub(crate) clean: bool,
    /// All below is durable.
    pub(crate) durable: u64,
    /// Unsynced bytes were at most this many when anything after this superblock was written.
    pub(crate) unflushed_bytes_max: u64,
    /// From here on every record carries its checksum; the first position of a log that we made.
    pub(crate) checksum_from: u64,
    /// Up to here the log is known to be pre-written; never above the truth.
    pub(crate) prewritten: u64,
    /// Raised at every unclean start.
    pub(crate) epoch: u32,
    /// Epochs and their first positions, oldest first.
    pub(crate) epochs: Vec<(u32, u64)>,
}

/// Why no superblock was found.
#[derive(Debug)]
pub(crate) enum SuperblockError {
    /// The file is not there.
    Missing,
    /// Neither slot is whole.
    Damaged,
    /// Whole, but of a kind that this program does not know. A sentence.
    Unknown(String),
    /// The disk.
    Io(io::Error),
}

impl Superblock {
    /// The slot's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(self.epochs.len() <= EPOCHS_MAX, "the epoch table is bounded");
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.extend_from_slice(MAGIC);
        put_u64(&mut out, self.sequence);
        put_u32(&mut out, FORMAT_VERSION);
        put_u64(&mut out, self.required_features);
        put_u64(&mut out, self.optional_features);
        put_u128(&mut out, self.directory);
        put_u32(&mut out, self.shard);
        put_u64(&mut out, self.first_position);
        put_u64(&mut out, self.file_bytes);
        put_u128(&mut out, self.boot);
        put_u32(&mut out, u32::from(self.clean));
        put_u64(&mut out, self.durable);
        put_u64(&mut out, self.unflushed_bytes_max);
        put_u64(&mut out, self.checksum_from);
        put_u64(&mut out, self.prewritten);
        put_u32(&mut out, self.epoch);
        put_u32(&mut out, self.epochs.len() as u32);
        for &(epoch, first) in &self.epochs {
            put_u32(&mut out, epoch);
            put_u64(&mut out, first);
        }
        out.resize(SLOT_BYTES - 4, 0);
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        assert_eq!(out.len(), SLOT_BYTES, "a slot is one sector of 4 KiB");
        out
    }

    /// Reads a slot; `None` when it is torn or was never written.
    fn decode(slot: &[u8]) -> Option<Result<Self, String>> {
        let (bytes, crc) = slot.split_at_checked(SLOT_BYTES - 4)?;
        if !bytes.starts_with(MAGIC) || crc32fast::hash(bytes).to_be_bytes() != crc {
            return None;
        }
        let mut reader = Reader::new(&bytes[MAGIC.len()..]);
        let sequence = reader.u64()?;
        let version = reader.u32()?;
        if version != FORMAT_VERSION {
            return Some(Err(format!(
                "the directory has format version {version}, this program knows {FORMAT_VERSION}: use the program \
                 that made it, or a newer one"
            )));
        }
        let required_features = reader.u64()?;
        let unknown = required_features & !REQUIRED_KNOWN;
        if unknown != 0 {
            return Some(Err(format!(
                "the directory needs features {unknown:#x} that this program does not have: use the program that \
                 made it, or a newer one"
            )));
        }
        let superblock = Self {
            sequence,
            required_features,
            optional_features: reader.u64()?,
            directory: reader.u128()?,
            shard: reader.u32()?,
            first_position: reader.u64()?,
            file_bytes: reader.u64()?,
            boot: reader.u128()?,
            clean: reader.u32()? != 0,
            durable: reader.u64()?,
            unflushed_bytes_max: reader.u64()?,
            checksum_from: reader.u64()?,
            prewritten: reader.u64()?,
            epoch: reader.u32()?,
            epochs: {
                let count = reader.u32()? as usize;
                if count > EPOCHS_MAX {
                    return None;
                }
                (0..count).map(|_| Some((reader.u32()?, reader.u64()?))).collect::<Option<_>>()?
            },
        };
        let sound = superblock.file_bytes > 0
            && superblock.first_position.is_multiple_of(superblock.file_bytes)
            && superblock.durable >= superblock.first_position;
        sound.then_some(Ok(superblock))
    }

    /// Begins the next epoch at `first`.
    pub(crate) fn raise_epoch(&mut self, first: u64) {
        self.epoch += 1;
        if self.epochs.len() == EPOCHS_MAX {
            self.epochs.remove(0);
        }
        self.epochs.push((self.epoch, first));
    }
}

/// Reads the slot that counts.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Superblock, SuperblockError> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(SuperblockError::Missing),
        other => other.map_err(SuperblockError::Io)?,
    };
    let len = file.len().map_err(SuperblockError::Io)?.min(2 * SLOT_BYTES as u64);
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).map_err(SuperblockError::Io)?;
    bytes.resize(2 * SLOT_BYTES, 0);
    choose(&bytes)
}

/// Picks the newest whole slot of the file's bytes.
fn choose(bytes: &[u8]) -> Result<Superblock, SuperblockError> {
    let mut best: Option<Superblock> = None;
    for slot in bytes.chunks_exact(SLOT_BYTES) {
        match Superblock::decode(slot) {
            // Whichever slot counts: a newer program has been here.
            Some(Err(sentence)) => return Err(SuperblockError::Unknown(sentence)),
            Some(Ok(s)) if best.as_ref().is_none_or(|b| b.sequence < s.sequence) => best = Some(s),
            _ => {}
        }
    }
    best.ok_or(SuperblockError::Damaged)
}

/// The file's bytes when it is made: one slot is whole, the other was never written.
pub(crate) fn new_file(superblock: &Superblock) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let at = slot_at(superblock.sequence) as usize;
    bytes[at..at + SLOT_BYTES].copy_from_slice(&superblock.encode());
    bytes
}

fn slot_at(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_BYTES as u64
}

/// Writes superblocks, slot by slot.
pub(crate) struct SuperblockFile {
    file: Arc<dyn File>,
    current: Superblock,
}

impl SuperblockFile {
    /// Opens the file for writing; `current` is what [`read`] gave. The file is made anew: the name or the slot that
    /// was read may be in the cache alone, after a sync that failed, and must not be what the next
    /// write relies on. One that `is_new` was made just now.
    pub(crate) fn renew(disk: &dyn Disk, path: &Path, current: Superblock, is_new: bool) -> io::Result<Self> {
        if !is_new {
            replace_file(disk, path, &new_file(&current))?;
        }
        Ok(Self { file: disk.open(path, OpenMode::Write)?, current })
    }

    /// What was written last.
    pub(crate) fn current(&self) -> &Superblock {
        &self.current
    }

    /// Changes the superblock and makes it durable.
    ///
    /// # Errors
    /// The disk's; what was durable before still is, and the log must end.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Superblock)) -> io::Result<()> {
        let mut next = self.current.clone();
        change(&mut next);
        next.sequence = self.current.sequence + 1;
        assert!(next.durable >= self.current.durable, "the durable watermark never goes back");
        assert!(next.first_position >= self.current.first_position, "the log's start never goes back");
        assert!(next.epoch >= self.current.epoch, "the epoch never goes back");
        self.file.write_all_at(&next.encode(), slot_at(next.sequence))?;
        self.file.sync_data()?;
        self.current = next;
        Ok(())
    }

    /// As [`update`](Self::update), for a repair that may lower the watermark.
    pub(crate) fn repair(&mut self, change: impl FnOnce(&mut Superblock)) -> io::Result<()> {
        let mut next = self.current.clone();
        change(&mut next);
        next.sequence = self.current.sequence + 1;
        self.file.write_all_at(&next.encode(), slot_at(next.sequence))?;
        self.file.sync_data()?;
        self.current = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock {
            sequence: 7,
            required_features: 0,
            optional_features: 5,
            directory: 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10,
            shard: 3,
            first_position: 0x20_0000,
            file_bytes: 0x10_0000,
            boot: 0x1112_1314_1516_1718_191A_1B1C_1D1E_1F20,
            clean: true,
            durable: 0x21_2345,
            unflushed_bytes_max: 0x100_0000,
            checksum_from: 0,
            prewritten: 0x30_0000,
            epoch: 2,
            epochs: vec![(1, 0), (2, 0x21_0000)],
        }
    }

    /// The bytes of `docs/format/superblock.md`.
    #[test]
    fn a_slot_has_the_documented_bytes() {
        let mut hex = String::new();
        let bytes = sample().encode();
        for byte in &bytes[..168] {
            hex.push_str(&format!("{byte:02x}"));
        }
        assert_eq!(
            hex,
            "4252414944534231\
             0000000000000007\
             00000001\
             0000000000000000\
             0000000000000005\
             0102030405060708090a0b0c0d0e0f10\
             00000003\
             0000000000200000\
             0000000000100000\
             1112131415161718191a1b1c1d1e1f20\
             00000001\
             0000000000212345\
             0000000001000000\
             0000000000000000\
             0000000000300000\
             00000002\
             00000002\
             000000010000000000000000\
             000000020000000000210000\
             000000000000000000000000"
        );
        assert_eq!(bytes[SLOT_BYTES - 4..], crc32fast::hash(&bytes[..SLOT_BYTES - 4]).to_be_bytes());
    }

    #[test]
    fn the_newest_whole_slot_counts_and_a_torn_one_does_not() {
        let old = sample();
        let mut new = sample();
        new.sequence = 8;
        new.durable += 10;
        let mut bytes = new_file(&old);
        bytes[..SLOT_BYTES].copy_from_slice(&new.encode());
        assert_eq!(choose(&bytes).unwrap(), new);
        for torn_at in [0, 9, 100, 2000, SLOT_BYTES - 1] {
            let mut torn = bytes.clone();
            torn[torn_at] ^= 1;
            assert_eq!(choose(&torn).unwrap(), old, "torn at {torn_at}");
            torn[SLOT_BYTES + torn_at] ^= 1;
            assert!(matches!(choose(&torn), Err(SuperblockError::Damaged)));
        }
    }

    #[test]
    fn an_unknown_required_feature_or_version_refuses_with_a_sentence() {
        let mut newer = sample();
        newer.required_features = 1 << 40;
        let Err(SuperblockError::Unknown(sentence)) = choose(&new_file(&newer)) else {
            panic!("a directory that needs an unknown feature was opened");
        };
        assert!(sentence.contains("0x10000000000"), "{sentence}");
        let mut slot = sample().encode();
        slot[19] = 2;
        let crc = crc32fast::hash(&slot[..SLOT_BYTES - 4]);
        slot[SLOT_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(Superblock::decode(&slot), Some(Err(_))));
    }

    #[test]
    fn the_epoch_table_keeps_the_newest() {
        let mut s = sample();
        for n in 0..300 {
            s.raise_epoch(0x21_0000 + n);
        }
        assert_eq!((s.epochs.len(), s.epoch), (EPOCHS_MAX, 302));
        assert_eq!(s.epochs.last(), Some(&(302, 0x21_0000 + 299)));
        assert_eq!(Superblock::decode(&s.encode()).unwrap().unwrap(), s);
    }
}
