//! A whole broker in this process on a port of its own, and a client that speaks frames.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use braid_broker::{Broker, BrokerOptions, ClassicOptions, Policy, PropertyNames};
use braid_edge_kafka::{Edge, EdgeOptions, RunningEdge};
use braid_io::{Disk, OsDisk, SystemClock};
use braid_store::{Store, StoreOptions};
use braid_wire_kafka::batch::{BatchHead, BatchView, BatchWriter, RecordDraft};
use braid_wire_kafka::messages::{Message, fetch, produce};
use braid_wire_kafka::{Input, RequestHeader, frame, header};
use bytes::{Bytes, BytesMut};

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a panic says that a test wants.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// A running broker; stopped when it is dropped.
pub(crate) struct Server {
    running: Option<Running>,
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    /// Its disk was broken on purpose.
    pub(crate) is_broken: bool,
}

struct Running {
    edge: RunningEdge,
    store_driver: Arc<braid_store::driver::Driver>,
    broker_driver: braid_broker::driver::Driver,
}

pub(crate) fn options() -> EdgeOptions {
    EdgeOptions { listen: "127.0.0.1:0".parse().unwrap(), reactors: 2, ..EdgeOptions::default() }
}

/// Names like those that RocketMQ's edge hands down.
fn policy() -> Policy {
    Policy {
        is_reserved: |topic| topic.starts_with("SYSTEM_"),
        twin_of: |new, exists| braid_crossing::names::conflict(new, exists),
        retry_topic: |group| format!("%RETRY%{group}"),
        dead_letter_topic: |group| format!("%DLQ%{group}"),
        delay_topic: "SCHEDULE_TOPIC_XXXX".into(),
        discarded_topics: Vec::new(),
        system_topics: Vec::new(),
        system_groups: Vec::new(),
        properties: PropertyNames {
            delay_level: "DELAY",
            real_topic: "REAL_TOPIC",
            real_queue_id: "REAL_QID",
            retry_topic: "RETRY_TOPIC",
            origin_message_id: "ORIGIN_MESSAGE_ID",
            wait: "WAIT",
            dropped_when_delayed: &[],
            dropped_when_delivered: &["DELAY"],
        },
    }
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, options())
    }

    pub(crate) fn start_with(dir: &Path, options: EdgeOptions) -> Self {
        Self::start_on(dir, options, Arc::new(OsDisk), |_| {})
    }

    /// As `start_with`, on a disk of the test's own and with settings of the store.
    pub(crate) fn start_on(
        dir: &Path,
        options: EdgeOptions,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut StoreOptions),
    ) -> Self {
        let mut store_options = StoreOptions::new(dir);
        store_options.file_bytes = 16 << 20;
        store_options.prewrite_bytes = 1 << 20;
        store_options.derivers = vec![
            (None, |_| braid_store::Facts::default()),
            (Some(braid_edge_kafka::PAYLOAD_KIND), braid_edge_kafka::derive),
        ];
        change(&mut store_options);
        let clock = Arc::new(SystemClock::default());
        let (store, report) = Store::open(store_options, disk, clock.clone()).unwrap();
        assert!(report.damage.is_empty());
        let store_driver = Arc::new(braid_store::driver::Driver::start(store.clone()).unwrap());
        let classic = ClassicOptions { initial_delay_ms: 0, ..ClassicOptions::default() };
        let broker_options = BrokerOptions { classic, ..BrokerOptions::default() };
        let broker = Broker::open(store.clone(), clock, broker_options, policy()).unwrap();
        store.write_turn();
        store_driver.written();
        let appended = {
            let (store, driver) = (store, Arc::clone(&store_driver));
            move || {
                store.write_turn();
                driver.written();
            }
        };
        let broker_driver = braid_broker::driver::Driver::start(Arc::clone(&broker), appended).unwrap();
        let edge =
            Edge::bind(options, Arc::clone(&broker), Arc::clone(&store_driver), Arc::default()).unwrap();
        let edge = edge.serve().unwrap();
        let address = edge.address();
        Self {
            running: Some(Running { edge, store_driver, broker_driver }),
            address,
            broker,
            is_broken: false,
        }
    }

    /// Makes a topic.
    pub(crate) fn topic(&self, name: &str, partitions: u32) {
        self.topic_with(name, partitions, &[]);
    }

    /// Makes a topic with settings of its own.
    pub(crate) fn topic_with(&self, name: &str, partitions: u32, attributes: &[(&str, &str)]) {
        let mut config = braid_broker::TopicConfig::new(name, partitions);
        config.attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        drop(self.broker.create_topic(config).unwrap());
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn edge(&self) -> &RunningEdge {
        &self.running.as_ref().unwrap().edge
    }

    /// Waits until so many connections are open.
    pub(crate) fn await_connections(&self, count: usize) {
        let until = std::time::Instant::now() + PATIENCE;
        while self.edge().connections() != count {
            assert!(std::time::Instant::now() < until, "there are {} connections", self.edge().connections());
            std::thread::yield_now();
        }
    }

    /// Stops as the server does.
    pub(crate) fn stop(&mut self) {
        let Some(Running { edge, store_driver, broker_driver }) = self.running.take() else { return };
        edge.shutdown(Duration::from_secs(3));
        broker_driver.stop();
        Arc::into_inner(store_driver).expect("the edge gave the driver back").stop();
        if let Err(error) = self.broker.store().close() {
            assert!(self.is_broken, "the store does not close: {error}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A connection that sends and reads whole frames.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new(), correlation_id: 0 }
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request with any key, version and body; gives its correlation id.
    pub(crate) fn send_raw(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> i32 {
        let (id, bytes) = self.request(api_key, api_version, body);
        self.send_bytes(&bytes);
        id
    }

    fn request(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> (i32, Vec<u8>) {
        self.correlation_id += 1;
        let mut out = Vec::new();
        let start = frame::begin(&mut out);
        let correlation_id = self.correlation_id;
        header::encode(
            &RequestHeader { api_key, api_version, correlation_id, client_id: Some("test") },
            &mut out,
        );
        out.extend_from_slice(body);
        frame::finish(&mut out, start, 0);
        (correlation_id, out)
    }

    /// As `send_raw`, if the other side still takes bytes.
    pub(crate) fn try_send_raw(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> Option<i32> {
        let (id, bytes) = self.request(api_key, api_version, body);
        self.stream.write_all(&bytes).ok().map(|()| id)
    }

    /// Reads until the last of these requests is answered; false when the other side closed.
    pub(crate) fn awaits(&mut self, ids: &[i32]) -> bool {
        loop {
            let Some(frame) = self.next() else { return false };
            let id = i32::from_be_bytes(*frame.first_chunk().expect("a correlation id"));
            assert!(ids.contains(&id));
            if Some(&id) == ids.last() {
                return true;
            }
        }
    }

    /// Sends without waiting; gives the correlation id.
    pub(crate) fn send<'m, M: Message<'m>>(&mut self, version: i16, request: &M) -> i32 {
        let mut body = Vec::new();
        request.encode(version, &mut body);
        self.send_raw(M::KEY.expect("a request"), version, &body)
    }

    /// The next frame; `None` when the other side closed.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = frame::next(&mut self.buffer, frame::FRAME_BYTES_MAX).unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The body of the next answer, which must be to this request.
    pub(crate) fn answer(&mut self, api_key: i16, version: i16, correlation_id: i32) -> Bytes {
        let frame = self.next().expect("the connection stays open");
        let (found, body) = header::decode_response(&frame, api_key, version).unwrap();
        assert_eq!(found, correlation_id, "answers come in the order of requests");
        frame.slice(body..)
    }
}

/// A batch with these values, at times from 1,000,000 on.
pub(crate) fn batch(values: &[&[u8]]) -> Vec<u8> {
    batch_with(BatchHead::default(), values)
}

pub(crate) fn batch_with(head: BatchHead, values: &[&[u8]]) -> Vec<u8> {
    let mut batch = BatchWriter::new(head);
    for (timestamp, value) in (1_000_000..).zip(values) {
        batch.push(&RecordDraft { timestamp, key: None, value: Some(value), headers: &[] });
    }
    batch.finish()
}

/// A producer's batch.
pub(crate) fn numbered(producer_id: i64, epoch: i16, sequence: i32, values: &[&[u8]]) -> Vec<u8> {
    let head =
        BatchHead { producer_id, producer_epoch: epoch, base_sequence: sequence, ..BatchHead::default() };
    batch_with(head, values)
}

/// The values of all records in a sequence of batches, with their offsets.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let batch = BatchView::parse(bytes).expect("a batch");
        assert_eq!(batch.stored_crc(), batch.computed_crc());
        let payload = batch.payload(1 << 20).expect("readable");
        for record in batch.records(&payload) {
            let record = record.expect("a record");
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            records.push((offset, record.value.unwrap_or_default().to_vec()));
        }
        bytes = &bytes[batch.len()..];
    }
    records
}

/// What is produced to one partition.
pub(crate) fn to<'a>(topic: &'a str, index: i32, acks: i16, records: &'a [u8]) -> produce::Request<'a> {
    let partition = produce::RequestPartition { index, records: Some(records.into()) };
    let topic =
        produce::RequestTopic { name: topic.into(), partition_data: vec![partition], ..Default::default() };
    produce::Request { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

/// A fetch of these partitions of a topic, from these offsets on.
pub(crate) fn from<'a>(topic: &'a str, partitions: &[(i32, i64)]) -> fetch::Request<'a> {
    let partitions = partitions.iter().map(|&(partition, fetch_offset)| fetch::RequestPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let topic =
        fetch::RequestTopic { topic: topic.into(), partitions: partitions.collect(), ..Default::default() };
    fetch::Request { max_bytes: 50 << 20, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

/// Decodes a whole body.
pub(crate) fn decode<'a, M: Message<'a>>(version: i16, body: &'a [u8]) -> M {
    let mut input = Input::new(body);
    let message = M::decode(version, &mut input).unwrap();
    input.end().unwrap();
    message
}

/// Sends a request and gives the answer: `ask!(&mut client, metadata, 12, Request { .. })`.
macro_rules! ask {
    ($client:expr, $module:ident, $version:expr, $request:expr) => {{
        let version: i16 = $version;
        let request: braid_wire_kafka::messages::$module::Request<'_> = $request;
        let client = $client;
        let correlation_id = client.send(version, &request);
        let key = braid_wire_kafka::messages::$module::KEY;
        let body = client.answer(key, version, correlation_id);
        let response: braid_wire_kafka::messages::$module::Response<'_> =
            crate::support::decode(version, &body);
        response.into_owned()
    }};
}
pub(crate) use ask;
