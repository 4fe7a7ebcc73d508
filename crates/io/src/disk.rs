//! What the store may ask of a disk.
//!
//! The contract is POSIX's weak one: bytes written are volatile until [`File::sync_data`] returned, and names made,
//! renamed or removed are volatile until [`Disk::sync_dir`] of their directory returned.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; fails when the name exists.
    CreateNew,
    /// A file for reading and writing, made empty when it exists.
    CreateTruncate,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name inside its directory; names that are not UTF-8 are given lossily.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// Room on the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system in bytes.
    pub total: u64,
    /// Bytes that this process may still use.
    pub free: u64,
}

/// A held lock on a directory; it ends when this value is dropped.
pub trait DirLock: Send + Sync {}

/// Files and directories.
pub trait Disk: Send + Sync + 'static {
    /// Opens or makes a file. # Errors: as the operating system gives them; `AlreadyExists` and `NotFound` are exact.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// The names of a directory, in name order. `NotFound` when there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Makes a directory and its parents; no error when it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames within one file system, replacing `to`; volatile until both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all below it; no error when it does not exist.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the lock of a store directory: an fcntl write lock on the first byte of `path`, as Java's
    /// `FileChannel.tryLock(0, 1, false)` takes it; the file is made with the text `lock` when missing.
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
}

/// An open file. All positions are in bytes from its start; calls from several threads are allowed.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes at `at`; 0 at the end of the file. May give fewer than asked.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// As `read_at`, but gives `None` instead of waiting for the device. A disk that cannot tell answers `Some`.
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>>;
    /// Writes up to `buf.len()` bytes at `at`. May write fewer than given.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;
    /// Makes all bytes written so far (and the length) durable. An error means that they may be lost for ever.
    fn sync_data(&self) -> io::Result<()>;
    /// Sets the length; bytes that come new read as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Tells the system that `[at, at+len)` will not be read soon, so that its cache may let it go.
    fn forget_cached(&self, _at: u64, _len: u64) {}

    /// Reads exactly `buf.len()` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    at += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`, continuing after short writes.
    fn write_all_at(&self, mut buf: &[u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = &buf[n..];
                    at += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Replaces the file `path` by `bytes` so that a crash leaves the old or the new content, never a mix: a temporary
/// file beside it is written and synced, renamed over it, and the directory is synced.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(".tmp");
    let tmp = dir.join(name);
    let file = disk.open(&tmp, OpenMode::CreateTruncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(dir)
}
