//! The operating system's files, by positioned reads and writes. Nothing is mapped into memory: a store through a
//! mapping dies with SIGBUS on a full disk and hides write errors.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{DirLock, Disk, Entry, File, OpenMode, Space};

/// The real disk.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsDisk;

struct OsFile(fs::File);

struct OsLock(#[allow(dead_code, reason = "held for its drop: closing the file ends the lock")] fs::File);

impl DirLock for OsLock {}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::CreateTruncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: meta.is_dir(),
                len: if meta.is_dir() { 0 } else { meta.len() },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space { total: stat.f_blocks * stat.f_frsize, free: stat.f_bavail * stat.f_frsize })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        lock_first_byte(&file)?;
        if file.metadata()?.len() == 0 {
            FileExt::write_all_at(&file, b"lock", 0)?;
        }
        Ok(Box::new(OsLock(file)))
    }
}

/// Takes the fcntl write lock on byte 0; `WouldBlock` when another process has it.
fn lock_first_byte(file: &fs::File) -> io::Result<()> {
    let request = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open for the whole call, and `request` is a valid `flock` that the kernel only reads.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &request) };
    if answer == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        _ => Err(error),
    }
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        let slices = &mut [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0, slices, at, rustix::io::ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(Some(n)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            // A file system without this flag: the plain read, which may wait.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.read_at(buf, at).map(Some),
            Err(e) => Err(e.into()),
        }
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.0.write_at(buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn forget_cached(&self, at: u64, len: u64) {
        // Advice only: a refusal changes nothing.
        let _ =
            rustix::fs::fadvise(&self.0, at, std::num::NonZeroU64::new(len), rustix::fs::Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_was_written_where_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsDisk.open(&path, OpenMode::CreateNew).unwrap();
        file.write_all_at(b"abc", 5).unwrap();
        file.sync_data().unwrap();
        let mut buf = [9; 8];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"\0\0\0\0\0abc");
        assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
        assert_eq!(
            OsDisk.open(&path, OpenMode::CreateNew).err().unwrap().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn the_lock_file_holds_the_text_that_java_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = OsDisk.lock(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"lock");
    }

    #[test]
    fn replace_leaves_only_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        crate::disk::replace_file(&OsDisk, &path, b"one").unwrap();
        crate::disk::replace_file(&OsDisk, &path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(OsDisk.list(dir.path()).unwrap().len(), 1);
    }
}
