//! Writing the log's end once more after an unclean stop, because the page cache may hold bytes that the device lacks.
//!
//! A failed `fdatasync` leaves pages that look written and are not, and no later sync tries them again. A process that
//! starts after that reads such bytes as if nothing were wrong. So whatever may have been unsynced is written again
//! before it counts as durable. Overwriting in place could itself be torn by a power cut, and part of these bytes may
//! be durable and acknowledged, so a copy is made first, in `braid/rescue`; a start that finds the copy writes it back.

use std::io;
use std::path::Path;

use braid_io::{Disk, File, OpenMode, disk::replace_file};

use crate::bytes::{Reader, put_u32, put_u64, put_u128};
use crate::files::sync_dir;

const MAGIC: &[u8; 8] = b"BRAIDRE1";

/// Bytes that belong at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rescue {
    pub(crate) directory: u128,
    pub(crate) position: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Rescue {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 40);
        out.extend_from_slice(MAGIC);
        put_u128(&mut out, self.directory);
        put_u64(&mut out, self.position);
        out.extend_from_slice(&self.bytes);
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if !body.starts_with(MAGIC) || crc32fast::hash(body).to_be_bytes() != *crc {
            return None;
        }
        let mut reader = Reader::new(&body[MAGIC.len()..]);
        let (directory, position) = (reader.u128()?, reader.u64()?);
        Some(Self { directory, position, bytes: body[MAGIC.len() + 24..].to_vec() })
    }

    /// Makes the copy, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        replace_file(disk, path, &self.encode())
    }

    /// Writes the bytes to where they belong, durably.
    pub(crate) fn apply(&self, file: &dyn File, base: u64) -> io::Result<()> {
        assert!(self.position >= base, "the bytes lie in this file");
        file.write_all_at(&self.bytes, self.position - base)?;
        file.sync_data()
    }
}

/// Reads a copy that a start left behind; `None` when there is none that is whole.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Rescue>> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Rescue::decode(&bytes))
}

/// Removes the copy. Should it come back after a power cut, it lies below the durable watermark and is ignored.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => {
            other?;
            sync_dir(disk, path.parent().unwrap_or(path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_comes_back_whole_or_not_at_all() {
        let rescue = Rescue { directory: 7, position: 4096, bytes: b"records".to_vec() };
        let bytes = rescue.encode();
        assert_eq!(Rescue::decode(&bytes), Some(rescue));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 4;
            assert_eq!(Rescue::decode(&torn), None, "flipped at {at}");
            assert_eq!(Rescue::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
