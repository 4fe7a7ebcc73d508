//! A disk that is slow or broken, as clients see it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use braid_edge_rocketmq::EdgeOptions;
use braid_io::disk::{DirLock, Entry, File, OpenMode, Space};
use braid_io::{Disk, OsDisk};
use braid_wire_rocketmq::codes::request;

use crate::support::{PATIENCE, Server, message, number, options, pull, records, remark, request, until};

/// What the disk does with a sync.
#[derive(Default)]
struct Faults {
    fails: AtomicBool,
    hangs: Mutex<bool>,
    released: Condvar,
}

impl Faults {
    fn hang(&self, hang: bool) {
        *self.hangs.lock().unwrap() = hang;
        self.released.notify_all();
    }
}

/// The system's disk, whose syncs may hang or fail.
struct FaultyDisk(Arc<Faults>);

struct FaultyFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = OsDisk.open(path, mode)?;
        // Only the log's own files, under the name that they are made with too: what is kept beside them goes on.
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_log = name.contains("log-file") || path.parent().is_some_and(|dir| dir.ends_with("commitlog"));
        Ok(if is_log { Arc::new(FaultyFile { file, faults: Arc::clone(&self.0) }) } else { file })
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        OsDisk.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        OsDisk.lock(path)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        self.file.read_at_cached(buf, at)
    }
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut hangs = self.faults.hangs.lock().unwrap();
        while *hangs {
            hangs = self.faults.released.wait(hangs).unwrap();
        }
        drop(hangs);
        if self.faults.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.file.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn a_flush_that_takes_too_long_is_said_and_the_message_stays() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let short = EdgeOptions { sync_flush_timeout_ms: 3_000, ..options() };
    let server = Server::start_on(dir.path(), short, Arc::new(FaultyDisk(Arc::clone(&faults))));
    let mut client = server.client();
    client.produce("T", 0, "before", "");
    faults.hang(true);
    let appended = || server.broker.store().watermarks().appended();
    let before = appended();
    let waiting = client.send(message("T", 0, b"slow", ""));
    until("the append", || appended() > before);
    // The reactors are free meanwhile: others read what is flushed, and are told of what is only written.
    let mut other = server.client();
    assert_eq!(records(&other.ask(pull("g", "T", 0, 0, "*", 0)).body).len(), 1);
    let eager = other.ask(message("T", 0, b"eager", "WAIT\u{1}false\u{2}"));
    assert_eq!((eager.code, number(&eager, "queueOffset")), (0, 2));
    let late = client.answer(waiting);
    assert_eq!((late.code, number(&late, "queueOffset")), (10, 1));
    assert!(late.ext_fields.get("msgId").is_some());
    let invisible = other.ask(pull("g", "T", 0, 1, "*", 0));
    assert_eq!(invisible.code, 19, "nobody sees what a crash can still take back");
    faults.hang(false);
    let got = other.ask(pull("g", "T", 0, 1, "*", 15_000));
    assert_eq!(records(&got.body)[0], (1, "slow".to_owned()));
}

#[test]
fn a_broken_disk_ends_sends_and_not_reads() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let mut server = Server::start_on(dir.path(), options(), Arc::new(FaultyDisk(Arc::clone(&faults))));
    let mut client = server.client();
    client.produce("T", 0, "kept", "");
    faults.fails.store(true, Ordering::Relaxed);
    let lost = client.ask(message("T", 0, b"lost", ""));
    assert_eq!(lost.code, 14, "{lost:?}");
    assert!(remark(&lost).contains("closed"), "{lost:?}");
    assert_eq!(client.ask(message("T", 0, b"refused", "")).code, 14);
    let commit = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(request(request::UPDATE_CONSUMER_OFFSET, &commit)).code, 14);
    let got = client.ask(pull("TOOLS_CONSUMER", "T", 0, 0, "*", 0));
    assert_eq!(records(&got.body), [(0, "kept".to_owned())]);
    // Readers that were never here before: their group can not be kept, and they read all the same.
    let got = client.ask(pull("new", "T", 0, 0, "*", 0));
    assert_eq!(records(&got.body), [(0, "kept".to_owned())], "{got:?}");
    client.heartbeat("new", &[("T", "*")]);
    assert_eq!(server.broker.member_ids("new"), ["client-1"]);
    let mut relying = pull("new", "T", 0, 0, "*", 0);
    relying.ext_fields.insert("sysFlag", "0");
    let got = client.ask(relying);
    assert_eq!(records(&got.body), [(0, "kept".to_owned())], "{got:?}");
    assert!(server.broker.group("new").is_none() && server.broker.topic("%RETRY%new").is_none());
    server.end();
}

/// Sends that came faster than the disk takes them were refused with SYSTEM_BUSY, which a client counts as a failed try.
#[test]
fn more_than_may_wait_for_the_disk_waits_in_the_socket() {
    const MESSAGES: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_store(dir.path(), options(), Arc::new(OsDisk), 64 << 10);
    let mut client = server.client();
    // 1.6 MB at once, of which 64 KiB may wait for the disk.
    let body = vec![b'x'; 4_000];
    let asked: Vec<i32> = (0..MESSAGES).map(|_| client.send(message("T", 0, &body, ""))).collect();
    for (i, opaque) in asked.into_iter().enumerate() {
        let sent = client.answer(opaque);
        assert_eq!((sent.code, number(&sent, "queueOffset")), (0, i as i64), "{sent:?}");
    }
}

#[test]
fn a_disk_that_takes_nothing_is_busy_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let server = Server::start_store(dir.path(), options(), disk, 64 << 10);
    let mut client = server.client();
    client.produce("T", 0, "before", "");
    faults.hang(true);
    let body = vec![b'x'; 30_000];
    let asked: Vec<i32> = (0..3).map(|_| client.send(message("T", 0, &body, ""))).collect();
    let refused = client.answer(asked[2]);
    assert_eq!(refused.code, 2, "{refused:?}");
    faults.hang(false);
    assert_eq!(client.answer(asked[0]).code, 0);
    assert_eq!(number(&client.produce("T", 0, "after", ""), "queueOffset"), 3);
}

/// Each of many sends behind one another waited its own two seconds, and the connection's pulls behind all of them.
#[test]
fn patience_ends_once_for_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let server = Server::start_store(dir.path(), options(), disk, 64 << 10);
    let mut client = server.client();
    client.produce("T", 0, "before", "");
    faults.hang(true);
    let body = vec![b'x'; 30_000];
    let asked: Vec<i32> = (0..8).map(|_| client.send(message("T", 0, &body, ""))).collect();
    let began = Instant::now();
    let read = client.send(pull("TOOLS_CONSUMER", "T", 0, 0, "*", 0));
    // Two sends wait for the flush, six find no room; the pull comes behind them all.
    let answers: Vec<_> = (0..7).map(|_| client.next().unwrap()).collect();
    let answered = began.elapsed();
    assert!(answered < PATIENCE / 2, "the pull waited {answered:?} behind sends that the log could not take");
    let refused: Vec<_> = answers[..6].iter().map(|answer| (answer.opaque, answer.code)).collect();
    assert_eq!(refused, asked[2..].iter().map(|opaque| (*opaque, 2)).collect::<Vec<_>>());
    assert_eq!(answers[6].opaque, read);
    assert_eq!(records(&answers[6].body), [(0, "before".to_owned())]);
    faults.hang(false);
    assert_eq!(client.answer(asked[0]).code, 0);
}
