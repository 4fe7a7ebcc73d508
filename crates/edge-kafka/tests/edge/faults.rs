//! A disk that is slow or broken, and clients that take nothing, as other clients see them.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use braid_edge_kafka::EdgeOptions;
use braid_io::disk::{DirLock, Entry, File, OpenMode, Space};
use braid_io::{Disk, OsDisk};
use braid_wire_kafka::messages::{fetch, metadata, offset_commit, produce};
use braid_wire_kafka::{error_code, keys};

use crate::support::{Client, ON_PURPOSE, PATIENCE, Server, ask, batch, decode, from, options, records, to};

/// A door that may be shut.
#[derive(Default)]
struct Door {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
    }
}

/// What the disk does with the log's files.
#[derive(Default)]
struct Faults {
    syncs_fail: AtomicBool,
    /// Nothing is in the page cache.
    is_cold: AtomicBool,
    /// Reads of the page cache meet a mistake of ours.
    reads_panic: AtomicBool,
    syncs: Door,
    reads: Door,
}

/// The system's disk with these faults.
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
        self.faults.reads.pass();
        self.file.read_at(buf, at)
    }
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        assert!(!self.faults.reads_panic.load(Ordering::Relaxed), "{ON_PURPOSE}");
        match self.faults.is_cold.load(Ordering::Relaxed) {
            true => Ok(None),
            false => self.file.read_at_cached(buf, at),
        }
    }
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.pass();
        match self.faults.syncs_fail.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is broken")),
            false => self.file.sync_data(),
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

fn start(dir: &Path, options: EdgeOptions, unflushed_bytes_max: u64) -> (Server, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let server = Server::start_on(dir, options, disk, |store| {
        store.unflushed_bytes_max = unflushed_bytes_max;
        store.tail_bytes_max = 64 << 10;
    });
    (server, faults)
}

fn produced(client: &mut Client, id: i32) -> Vec<(i16, i64)> {
    let body = client.answer(keys::PRODUCE, 9, id);
    let response: produce::Response<'_> = decode(9, &body);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| (partition.error_code, partition.base_offset)).collect()
}

fn fetched(client: &mut Client, topic: &str, offset: i64) -> (i16, Vec<(i64, Vec<u8>)>) {
    let response = ask!(client, fetch, 12, from(topic, &[(0, offset)]));
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, records(partition.records.as_deref().unwrap_or_default()))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_flush_that_takes_too_long_is_said_and_the_batch_stays() {
    let dir = tempfile::tempdir().unwrap();
    let short = EdgeOptions { flush_timeout_ms: 1_000, ..options() };
    let (server, faults) = start(dir.path(), short, 16 << 20);
    server.topic("T", 1);
    let mut client = server.client();
    let id = client.send(9, &to("T", 0, -1, &batch(&[b"before"])));
    assert_eq!(produced(&mut client, id), [(0, 0)]);
    faults.syncs.shut(true);
    let id = client.send(9, &to("T", 0, 1, &batch(&[b"slow"])));
    // The reactors are free meanwhile.
    assert_eq!(fetched(&mut server.client(), "T", 0).1.len(), 1);
    assert_eq!(produced(&mut client, id), [(error_code::REQUEST_TIMED_OUT, 1)]);
    assert_eq!(fetched(&mut client, "T", 1).1, [], "nobody sees what a crash can still take back");
    faults.syncs.shut(false);
    let waits = fetch::Request { max_wait_ms: 15_000, ..from("T", &[(0, 1)]) };
    let response = ask!(&mut client, fetch, 12, waits);
    let found = records(response.responses[0].partitions[0].records.as_deref().unwrap());
    assert_eq!(found, [(1, b"slow".to_vec())]);
}

#[test]
fn a_broken_disk_ends_producing_and_not_fetching() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, faults) = start(dir.path(), options(), 16 << 20);
    server.is_broken = true;
    server.topic("T", 1);
    let mut client = server.client();
    let id = client.send(9, &to("T", 0, -1, &batch(&[b"kept"])));
    assert_eq!(produced(&mut client, id), [(0, 0)]);
    faults.syncs_fail.store(true, Ordering::Relaxed);
    // Whether this batch is there after a restart is not known, so no answer is true.
    client.send(9, &to("T", 0, -1, &batch(&[b"lost"])));
    assert_eq!(client.next(), None);
    let mut client = server.client();
    let id = client.send(9, &to("T", 0, -1, &batch(&[b"refused"])));
    assert_eq!(produced(&mut client, id), [(error_code::KAFKA_STORAGE_ERROR, -1)]);
    assert_eq!(fetched(&mut client, "T", 0).1, [(0, b"kept".to_vec())]);
}

#[test]
fn a_busy_log_holds_requests_and_takes_each_batch_once_and_in_order() {
    const REQUESTS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let (server, faults) = start(dir.path(), options(), 64 << 10);
    server.topic("T", 3);
    let mut client = server.client();
    faults.syncs.shut(true);
    // Far more than may wait for the disk; the log fills up in the middle of a request.
    let batches: Vec<_> =
        (0..REQUESTS).map(|number| batch(&[format!("{number:04000}").as_bytes()])).collect();
    let ids: Vec<_> = batches
        .iter()
        .map(|batch| {
            let mut request = to("T", 0, -1, batch);
            let one = request.topic_data[0].partition_data[0].clone();
            let all = (0..3).map(|index| produce::RequestPartition { index, ..one.clone() });
            request.topic_data[0].partition_data = all.collect();
            client.send(9, &request)
        })
        .collect();
    // Others are served.
    ask!(&mut server.client(), metadata, 1, metadata::Request::default());
    faults.syncs.shut(false);
    for (number, id) in (0..).zip(ids) {
        assert_eq!(produced(&mut client, id), [(0, number); 3]);
    }
    let (code, found) = fetched(&mut client, "T", 0);
    assert_eq!((code, found.len()), (0, REQUESTS));
    let numbers = found.iter().map(|(_, value)| std::str::from_utf8(value).unwrap().parse::<i64>().unwrap());
    assert!(numbers.eq(0..REQUESTS as i64));
}

#[test]
fn commits_wait_for_a_busy_log_and_are_refused_when_it_stays_busy() {
    let dir = tempfile::tempdir().unwrap();
    let (server, faults) = start(dir.path(), options(), 64 << 10);
    server.topic("T", 1);
    let queue = server.broker.topic("T").unwrap().queue(0);
    let commit = || {
        let partition = offset_commit::RequestPartition { committed_offset: 7, ..Default::default() };
        let topic = offset_commit::RequestTopic {
            name: "T".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        offset_commit::Request {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        }
    };
    let code = |body: &[u8]| {
        let response: offset_commit::Response<'_> = decode(8, body);
        response.topics[0].partitions[0].error_code
    };
    let mut client = server.client();
    for stays in [false, true] {
        faults.syncs.shut(true);
        while server.broker.commit("other", queue, 1, true).is_ok() {}
        let id = client.send(8, &commit());
        if stays {
            let refused = code(&client.answer(keys::OFFSET_COMMIT, 8, id));
            assert_eq!(refused, error_code::COORDINATOR_NOT_AVAILABLE);
            faults.syncs.shut(false);
        } else {
            // Others are served meanwhile.
            ask!(&mut server.client(), metadata, 1, metadata::Request::default());
            faults.syncs.shut(false);
            assert_eq!(code(&client.answer(keys::OFFSET_COMMIT, 8, id)), 0);
            assert_eq!(server.broker.cursor("g", queue), Some(7));
        }
    }
}

#[test]
fn a_log_that_stays_busy_refuses_in_terms_after_which_clients_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, faults) = start(dir.path(), options(), 64 << 10);
    server.topic("T", 1);
    faults.syncs.shut(true);
    let mut client = server.client();
    let large = batch(&[&[b'x'; 30_000]]);
    let ids: Vec<_> = (0..8).map(|_| client.send(9, &to("T", 0, -1, &large))).collect();
    let codes: Vec<_> = ids.into_iter().flat_map(|id| produced(&mut client, id)).collect();
    assert!(codes.iter().all(|(code, _)| *code == error_code::REQUEST_TIMED_OUT), "{codes:?}");
    assert!(codes.iter().any(|(_, offset)| *offset == -1), "{codes:?}");
    faults.syncs.shut(false);
}

#[test]
fn what_must_be_read_from_the_disk_stops_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (server, faults) = start(dir.path(), options(), 16 << 20);
    server.topic("T", 3);
    let mut client = server.client();
    let value = vec![b'x'; 10_000];
    for partition in 0..3 {
        for _ in 0..20 {
            let id = client.send(9, &to("T", partition, -1, &batch(&[&value])));
            produced(&mut client, id);
        }
    }
    faults.is_cold.store(true, Ordering::Relaxed);
    faults.reads.shut(true);
    let id = client.send(12, &from("T", &[(0, 0), (1, 0), (2, 0)]));
    // The same thread serves others, more than there are reactors.
    for _ in 0..4 {
        ask!(&mut server.client(), metadata, 1, metadata::Request::default());
    }
    faults.reads.shut(false);
    let body = client.answer(keys::FETCH, 12, id);
    let response: fetch::Response<'_> = decode(12, &body);
    let counts: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|partition| records(partition.records.as_deref().unwrap()).len())
        .collect();
    assert_eq!(counts, [20, 20, 20]);
    assert!(server.edge().counts().fetches_cold > 0);
}

#[test]
fn a_mistake_in_one_request_ends_its_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (server, faults) = start(dir.path(), EdgeOptions { reactors: 1, ..options() }, 16 << 20);
    server.topic("T", 1);
    let mut client = server.client();
    for _ in 0..20 {
        let id = client.send(9, &to("T", 0, -1, &batch(&[&[b'x'; 10_000]])));
        produced(&mut client, id);
    }
    faults.reads_panic.store(true, Ordering::Relaxed);
    let mut unlucky = server.client();
    unlucky.send(12, &from("T", &[(0, 0)]));
    assert_eq!(unlucky.next(), None);
    let id = client.send(9, &to("T", 0, -1, &batch(&[b"still here"])));
    assert_eq!(produced(&mut client, id), [(0, 20)]);
    faults.reads_panic.store(false, Ordering::Relaxed);
    assert_eq!(fetched(&mut client, "T", 0).1.len(), 21);
}

#[test]
fn large_batches_pass_and_a_client_that_takes_no_answers_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let stalled = EdgeOptions { stalled_ms: 2_000, ..options() };
    let (server, _) = start(dir.path(), stalled, 16 << 20);
    server.topic("T", 1);
    let mut client = server.client();
    let value = vec![b'x'; 1_000_000];
    for offset in 0..10 {
        let id = client.send(9, &to("T", 0, -1, &batch(&[&value])));
        assert_eq!(produced(&mut client, id), [(0, offset)]);
    }
    let whole = fetch::Request { max_bytes: i32::MAX, ..from("T", &[(0, 0)]) };
    let mut deaf = server.client();
    for _ in 0..40 {
        let mut request = whole.clone();
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        deaf.send(12, &request);
    }
    let (code, found) = fetched(&mut client, "T", 9);
    assert_eq!((code, found.len(), found[0].1.len()), (0, 1, 1_000_000));
    until("the end of the deaf client", || server.edge().connections() == 1);
}

#[test]
fn fetches_from_a_slow_disk_hold_no_more_than_they_may_and_all_are_served() {
    const BATCHES: i64 = 20;
    const BATCH_BYTES: usize = 500_000;
    const BOUND: usize = 4 << 20;
    const CLIENTS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let narrow = EdgeOptions {
        reactors: 1,
        fetch_bytes_all_max: BOUND,
        batch_bytes_max: BATCH_BYTES as u32 + 10_000,
        ..options()
    };
    let (server, faults) = start(dir.path(), narrow, 16 << 20);
    server.topic("T", 1);
    let mut producer = server.client();
    let value = vec![b'x'; BATCH_BYTES];
    for offset in 0..BATCHES {
        let id = producer.send(9, &to("T", 0, -1, &batch(&[&value])));
        assert_eq!(produced(&mut producer, id), [(0, offset)]);
    }
    faults.is_cold.store(true, Ordering::Relaxed);
    faults.reads.shut(true);
    let whole = |offset, max_wait_ms| {
        let mut request = fetch::Request { max_wait_ms, max_bytes: i32::MAX, ..from("T", &[(0, offset)]) };
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        request
    };
    let begun: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = server.client();
            let id = client.send(12, &whole(0, 15_000));
            (client, id)
        })
        .collect();
    until("a fetch without room", || server.edge().counts().fetches_without_room > 0);
    // Whoever does not wait for long is told that there is something, and whoever waits for records is not concerned.
    for (offset, code) in [(0, 0), (BATCHES, 0), (BATCHES + 1, error_code::OFFSET_OUT_OF_RANGE)] {
        let response = ask!(&mut producer, fetch, 12, whole(offset, 100));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, code);
        assert_eq!(partition.records.as_deref().unwrap_or_default(), []);
        assert!(code != 0 || partition.high_watermark == BATCHES);
    }
    // One goes away; what the disk does for it is counted until it is done.
    let mut begun = begun.into_iter();
    drop(begun.next());
    faults.reads.shut(false);
    // Nobody takes anything until an answer waits for its client.
    until("an answer that nobody takes", || server.edge().counts().fetched_bytes > 0);
    std::thread::scope(|threads| {
        for (mut client, mut id) in begun {
            threads.spawn(move || {
                let mut offset = 0;
                loop {
                    let body = client.answer(keys::FETCH, 12, id);
                    let response: fetch::Response<'_> = decode(12, &body);
                    let partition = &response.responses[0].partitions[0];
                    assert_eq!(partition.error_code, 0);
                    let mut bytes = partition.records.as_deref().unwrap_or_default();
                    assert!(!bytes.is_empty(), "it waited long enough");
                    while !bytes.is_empty() {
                        let batch = braid_wire_kafka::batch::BatchView::parse(bytes).unwrap();
                        assert_eq!(batch.base_offset(), offset);
                        offset += 1;
                        bytes = &bytes[batch.len()..];
                    }
                    if offset == BATCHES {
                        break;
                    }
                    id = client.send(12, &whole(offset, 15_000));
                }
            });
        }
    });
    let most = server.edge().counts().fetch_bytes_most as usize;
    assert!((BOUND / 2..=BOUND + BATCH_BYTES + 10_000).contains(&most), "{most} bytes were held");
}
