//! [`SimDisk`]: the traits [`Disk`] and [`File`] over the simulated tree.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::{Coverage, FaultKind, Faults};
use super::tree::{NodeId, Tree};
use crate::disk::{DirLock, Disk, Entry, File, OpenMode, Space};
use crate::rng::Rng;

/// Size of a disk without a capacity, for [`Disk::space`]: 1 TiB.
const UNLIMITED: u64 = 1 << 40;
/// How long a slow operation takes.
const SLOW_MS: u64 = 250;

/// A disk in memory whose every liberty is drawn from a seed. Clones are the same disk.
///
/// Calls from several threads are allowed, but only calls in one order give the same run again.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The boot outside which this handle is dead; `None` outlives every boot.
    boot: Option<u64>,
}

/// A fault asked for by name, which falls on the next operation that fits.
#[derive(Debug)]
struct Armed {
    kind: FaultKind,
    path_part: String,
    /// Operations that fit and pass before the fault falls.
    passes: u64,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    rng: Rng,
    faults: Faults,
    armed: Vec<Armed>,
    coverage: Coverage,
    trace: u64,
    /// Changing operations so far.
    changes: u64,
    /// The power goes off before the change with this number.
    off_at: Option<u64>,
    /// Raised by every crash and kill; handles of an earlier boot are dead.
    boot: u64,
    locks: BTreeSet<PathBuf>,
    delay_ms: u64,
}

/// What an operation is, for the trace.
#[derive(Debug, Clone, Copy)]
enum Op {
    Open = 1,
    List,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Lock,
    Read,
    Write,
    SyncData,
    SetLen,
    Crash,
    Kill,
}

impl Op {
    fn changes(self) -> bool {
        !matches!(self, Op::List | Op::Read | Op::Lock | Op::Crash | Op::Kill)
    }
}

impl SimDisk {
    /// An empty disk; `seed` decides all that it will do.
    pub fn new(seed: u64) -> Self {
        Self::with_tree(seed, Tree::new())
    }

    /// Another disk with a copy of all that is here, synced and not, and nobody who uses it.
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::with_tree(seed, self.state().tree.clone());
        copy.kill();
        copy
    }

    fn with_tree(seed: u64, tree: Tree) -> Self {
        let state = State {
            tree,
            rng: Rng::new(seed),
            faults: Faults::default(),
            armed: Vec::new(),
            coverage: Coverage::default(),
            trace: seed,
            changes: 0,
            off_at: None,
            boot: 0,
            locks: BTreeSet::new(),
            delay_ms: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), boot: None }
    }

    /// A handle for one process: dead after the next crash or kill, so that what is left of a killed process can do
    /// nothing to the disk any more.
    pub fn process(&self) -> SimDisk {
        let boot = Some(self.state().boot);
        Self { state: Arc::clone(&self.state), boot }
    }

    /// Cuts the power and starts the machine again: unsynced bytes and names are kept, lost or damaged as drawn, every
    /// open handle and lock is dead, and a disk that was off is on. Rates and armed faults stay.
    pub fn crash(&self) {
        let state = &mut *self.state();
        state.tree.crash(&mut state.rng, &mut state.coverage);
        state.restart(Op::Crash);
    }

    /// Ends the process that used the disk, and not the machine: nothing unsynced is lost, but every open handle and
    /// lock is dead, and a disk that was off is on.
    pub fn kill(&self) {
        let state = &mut *self.state();
        state.tree.kill(&mut state.rng);
        state.restart(Op::Kill);
    }

    /// Lets `changes` more changing operations pass, and then lets every operation fail, until [`crash`](Self::crash)
    /// or [`kill`](Self::kill) says what that end was.
    pub fn power_off_after(&self, changes: u64) {
        let mut state = self.state();
        state.off_at = Some(state.changes + changes);
    }

    /// Takes back a [`power_off_after`](Self::power_off_after) that has not come yet; a disk that is off stays off.
    pub fn power_stays_on(&self) {
        let mut state = self.state();
        if !state.is_off() {
            state.off_at = None;
        }
    }

    /// True when the power went off and neither crash nor kill followed.
    pub fn is_off(&self) -> bool {
        self.state().is_off()
    }

    /// Sets the rates and the capacity from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Lets the next operation fail that `kind` can fall on and whose path contains `path_part`.
    pub fn fail_next(&self, kind: FaultKind, path_part: &str) {
        self.fail_after(0, kind, path_part);
    }

    /// As [`fail_next`](Self::fail_next), but `passes` such operations come through first.
    pub fn fail_after(&self, passes: u64, kind: FaultKind, path_part: &str) {
        self.state().armed.push(Armed { kind, path_part: path_part.to_owned(), passes });
    }

    /// Forgets faults that were asked for and have not fallen yet.
    pub fn disarm(&self) {
        self.state().armed.clear();
    }

    /// As [`disarm`](Self::disarm), for one kind.
    pub fn disarm_kind(&self, kind: FaultKind) {
        self.state().armed.retain(|armed| armed.kind != kind);
    }

    /// Flips one bit of the stored byte at `offset`, as a device does that decays. `UnexpectedEof` beyond the end.
    pub fn rot(&self, path: &Path, offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let bit = state.rng.below(8);
        state.coverage.count(FaultKind::BitRot.name());
        state.damage(path, offset, |byte| byte ^ (1 << bit))
    }

    /// Replaces stored bytes without a write of the program, as misbehaving hardware or another program does.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        bytes.iter().zip(offset..).try_for_each(|(&byte, at)| state.damage(path, at, |_| byte))
    }

    /// The bytes of a file as its readers see them; no fault falls on this.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let node = state.tree.find(path)?;
        Ok(state.tree.content(node)?.live().to_vec())
    }

    /// What readers see of `[at, at + len)` of a file; `None` when it is not there. No fault falls on this.
    pub fn live_bytes(&self, path: &Path, at: u64, len: usize) -> Option<Vec<u8>> {
        let mut state = self.state();
        let node = state.tree.find(path).ok()?;
        let at = usize::try_from(at).ok()?;
        let content = state.tree.content(node).ok()?;
        content.live().get(at..at.checked_add(len)?).map(<[u8]>::to_vec)
    }

    /// What the device itself holds of `[at, at + len)` of the file that has this name there; `None` when a crash could
    /// leave no such name, or a shorter file. For the question "was it durable when it was acknowledged?".
    pub fn durable_bytes(&self, path: &Path, at: u64, len: usize) -> Option<Vec<u8>> {
        let state = self.state();
        let content = state.tree.durable_content(path)?;
        let at = usize::try_from(at).ok()?;
        content.durable().get(at..at.checked_add(len)?).map(<[u8]>::to_vec)
    }

    /// True when a crash now would change nothing.
    pub fn is_synced(&self) -> bool {
        self.state().tree.is_synced()
    }

    /// The faults taken so far, and what crashes did.
    pub fn coverage(&self) -> Coverage {
        self.state().coverage.clone()
    }

    /// A number made of every operation so far: its kind, path, place, bytes and result. Two runs of one seed that
    /// did the same have the same.
    pub fn trace_hash(&self) -> u64 {
        self.state().trace
    }

    /// Changing operations so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Milliseconds that slow operations would have taken. No clock moves by itself.
    pub fn delay_ms(&self) -> u64 {
        self.state().delay_ms
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the code under test may pass through a call; no call leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation: power, slowness, the work, and the trace of its result.
    fn run<T>(
        &self,
        op: Op,
        path: &Path,
        detail: [u64; 2],
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        if self.boot.is_some_and(|boot| boot != state.boot) {
            return Err(io::Error::other("the simulated process or machine of this handle ended"));
        }
        let result = state.begin(op, path).and_then(|()| work(&mut state));
        let outcome = match &result {
            Ok(_) => 0,
            Err(e) => 1 + e.kind() as u64,
        };
        state.note(op, path, detail[0], detail[1], outcome);
        result
    }
}

impl State {
    fn is_off(&self) -> bool {
        self.off_at.is_some_and(|at| self.changes >= at)
    }

    fn restart(&mut self, op: Op) {
        self.boot += 1;
        self.locks.clear();
        self.off_at = None;
        self.note(op, Path::new(""), 0, 0, 0);
    }

    fn begin(&mut self, op: Op, path: &Path) -> io::Result<()> {
        if self.is_off() {
            return Err(io::Error::other("the simulated machine is off"));
        }
        if op.changes() {
            self.changes += 1;
        }
        if self.falls(FaultKind::Slow, path) {
            self.delay_ms += SLOW_MS;
        }
        Ok(())
    }

    /// Whether a fault of this kind falls on an operation at `path`; counted when it does.
    fn falls(&mut self, kind: FaultKind, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let mut falls = false;
        for (at, armed) in self.armed.iter_mut().enumerate() {
            if armed.kind != kind || !text.contains(&armed.path_part) {
                continue;
            }
            if armed.passes > 0 {
                armed.passes -= 1;
                continue;
            }
            self.armed.remove(at);
            falls = true;
            break;
        }
        let rate = self.faults.rate(kind);
        if !falls && rate > 0 && text.contains(&self.faults.only) {
            falls = self.rng.below(1_000_000) < u64::from(rate);
        }
        if falls {
            self.coverage.count(kind.name());
        }
        falls
    }

    fn free(&self) -> u64 {
        self.faults.capacity.unwrap_or(UNLIMITED).saturating_sub(self.tree.room())
    }

    fn damage(&mut self, path: &Path, at: u64, change: impl Fn(u8) -> u8) -> io::Result<()> {
        let node = self.tree.find(path)?;
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        if self.tree.content(node)?.damage(at, change) {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn note(&mut self, op: Op, path: &Path, at: u64, bytes: u64, outcome: u64) {
        let name = hash_bytes(path.as_os_str().as_encoded_bytes());
        for word in [op as u64, name, at, bytes, outcome] {
            self.trace = mix(self.trace, word);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.run(Op::Open, path, [mode as u64, 0], |state| {
            let node = match (state.tree.find(path), mode) {
                (Ok(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Ok(node), _) => node,
                (Err(e), OpenMode::CreateNew | OpenMode::CreateTruncate)
                    if e.kind() == io::ErrorKind::NotFound =>
                {
                    if state.falls(FaultKind::NoSpace, path) {
                        return Err(no_space());
                    }
                    state.tree.create_file(path)?
                }
                (Err(e), _) => return Err(e),
            };
            let content = state.tree.content(node)?;
            if mode == OpenMode::CreateTruncate {
                content.set_len(0);
            }
            state.tree.opened(node);
            let disk = SimDisk { boot: Some(state.boot), ..self.clone() };
            let file = SimFile { disk, path: path.to_owned(), node, writes: mode != OpenMode::Read };
            Ok(Arc::new(file) as Arc<dyn File>)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.run(Op::List, dir, [0, 0], |state| {
            let node = state.tree.find(dir)?;
            let entries = state.tree.entries(node)?;
            Ok(entries.into_iter().map(|(name, is_dir, len)| Entry { name, is_dir, len }).collect())
        })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.run(Op::CreateDir, dir, [0, 0], |state| state.tree.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let detail = [hash_bytes(to.as_os_str().as_encoded_bytes()), 0];
        self.run(Op::Rename, from, detail, |state| state.tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.run(Op::RemoveFile, path, [0, 0], |state| state.tree.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.run(Op::RemoveDir, dir, [0, 0], |state| match state.tree.remove_dir_all(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.run(Op::SyncDir, dir, [0, 0], |state| {
            let node = state.tree.find(dir)?;
            if state.falls(FaultKind::DirSyncError, dir) {
                state.tree.fail_sync_dir(node, &mut state.rng)?;
                return Err(device_error());
            }
            state.tree.sync_dir(node)
        })
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state();
        Ok(Space { total: state.faults.capacity.unwrap_or(UNLIMITED), free: state.free() })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.run(Op::Lock, path, [0, 0], |state| {
            if state.locks.contains(path) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if state.tree.find(path).is_err() {
                let node = state.tree.create_file(path)?;
                let State { tree, rng, .. } = state;
                tree.content(node)?.write(b"lock", 0, rng);
            }
            state.locks.insert(path.to_owned());
            let disk = SimDisk { boot: Some(state.boot), ..self.clone() };
            let lock = SimLock { disk, path: path.to_owned() };
            Ok(Box::new(lock) as Box<dyn DirLock>)
        })
    }
}

/// An open file; its disk handle is of the boot that opened it.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    node: NodeId,
    writes: bool,
}

impl SimFile {
    fn run<T>(
        &self,
        op: Op,
        detail: [u64; 2],
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.run(op, &self.path, detail, |state| {
            if op.changes() && !self.writes {
                return Err(io::Error::from_raw_os_error(libc::EBADF));
            }
            work(state)
        })
    }

    fn read(&self, state: &mut State, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if state.falls(FaultKind::ReadError, &self.path) {
            return Err(device_error());
        }
        let mut len = buf.len();
        if len > 1 && state.falls(FaultKind::ShortRead, &self.path) {
            len = 1 + state.rng.below(len as u64 - 1) as usize;
        }
        let n = state.tree.content(self.node)?.read(&mut buf[..len], at);
        state.trace = mix(state.trace, n as u64);
        Ok(n)
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.run(Op::Read, [at, buf.len() as u64], |state| self.read(state, buf, at))
    }

    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        self.run(Op::Read, [at, buf.len() as u64], |state| {
            if state.falls(FaultKind::ColdRead, &self.path) {
                return Ok(None);
            }
            self.read(state, buf, at).map(Some)
        })
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.run(Op::Write, [at, hash_bytes(buf)], |state| {
            if state.falls(FaultKind::NoSpace, &self.path) {
                return Err(no_space());
            }
            let fails = state.falls(FaultKind::WriteError, &self.path);
            let mut len = buf.len();
            if fails {
                len = state.rng.below(len as u64 + 1) as usize;
            } else if len > 1 && state.falls(FaultKind::ShortWrite, &self.path) {
                len = 1 + state.rng.below(len as u64 - 1) as usize;
            }
            let start = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
            if state.faults.capacity.is_some() {
                let free = state.free();
                let fitting = state.tree.content(self.node)?.fitting(start, len, free);
                if fitting < len {
                    state.coverage.count(FaultKind::NoSpace.name());
                    if fitting == 0 {
                        return Err(no_space());
                    }
                    len = fitting;
                }
            }
            let State { tree, rng, .. } = state;
            tree.content(self.node)?.write(&buf[..len], start, rng);
            if fails {
                return Err(device_error());
            }
            Ok(len)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(Op::SyncData, [0, 0], |state| {
            let fails = state.falls(FaultKind::SyncError, &self.path);
            let rate = state.faults.misdirected_write;
            let misdirects = !fails
                && (rate > 0 || state.armed.iter().any(|armed| armed.kind == FaultKind::MisdirectedWrite))
                && state.falls(FaultKind::MisdirectedWrite, &self.path);
            let State { tree, rng, .. } = state;
            let content = tree.content(self.node)?;
            if fails {
                content.fail_sync(rng);
                return Err(device_error());
            }
            if misdirects {
                content.misdirect_sync(rng);
            } else {
                content.sync();
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(Op::SetLen, [len, 0], |state| {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
            state.tree.content(self.node)?.set_len(len);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.run(Op::List, [0, 0], |state| Ok(state.tree.content(self.node)?.len()))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if self.disk.boot == Some(state.boot) {
            state.tree.closed(self.node);
        }
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if self.disk.boot == Some(state.boot) {
            state.locks.remove(&self.path);
        }
    }
}

fn device_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

/// Mixes one word into a running hash (the finaliser of SplitMix64).
fn mix(hash: u64, word: u64) -> u64 {
    let mut z = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A hash of some bytes for the trace, in steps of eight.
fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = bytes.len() as u64;
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    for byte in rest {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    hash
}
