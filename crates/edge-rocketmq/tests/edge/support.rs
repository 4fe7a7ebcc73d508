//! A whole broker in this process on ports of its own, and a client that speaks frames.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use braid_broker::{BatchRequest, Broker, BrokerOptions, ClassicOptions};
use braid_crossing::kafka::batch::{BatchView, PAYLOAD_KIND};
use braid_edge_rocketmq::{Addresses, Edge, EdgeOptions, RunningEdge, derive, policy};
use braid_io::{Disk, OsDisk, SystemClock};
use braid_record::RecordView;
use braid_store::{Facts, LOOK_INSIDE, Store, StoreOptions};
use braid_wire_rocketmq::body::{Body, ConsumerData, HeartbeatData, SubscriptionData};
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::frame::{self, Limits};
use braid_wire_rocketmq::header::{PullMessage, SendMessageV2};
use braid_wire_rocketmq::{Command, ExtFields};
use bytes::BytesMut;

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the Kafka edge derives, as far as this one cares.
fn derive_batch(record: &RecordView<'_>) -> Facts {
    let newest_time = BatchView::parse(record.body()).ok().map(|batch| batch.max_timestamp());
    let keys = braid_crossing::keys::indexed(record);
    Facts { index_word: LOOK_INSIDE, newest_time, keys, ..Facts::default() }
}

/// A running broker; stopped when it is dropped.
pub(crate) struct Server {
    running: Option<Running>,
    pub(crate) addresses: Addresses,
    pub(crate) broker: Arc<Broker>,
}

struct Running {
    edge: RunningEdge,
    store_driver: Arc<braid_store::driver::Driver>,
    broker_driver: braid_broker::driver::Driver,
}

pub(crate) fn options() -> EdgeOptions {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    EdgeOptions { nameserver: Some(any), main: any, reactors: 2, ..EdgeOptions::default() }
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, options())
    }

    pub(crate) fn start_with(dir: &Path, options: EdgeOptions) -> Self {
        Self::start_on(dir, options, Arc::new(OsDisk))
    }

    pub(crate) fn start_on(dir: &Path, options: EdgeOptions, disk: Arc<dyn Disk>) -> Self {
        Self::start_store(dir, options, disk, 16 << 20)
    }

    /// As `start_on`, with a bound on what may wait for the disk.
    pub(crate) fn start_store(
        dir: &Path,
        options: EdgeOptions,
        disk: Arc<dyn Disk>,
        unflushed_bytes_max: u64,
    ) -> Self {
        let options = EdgeOptions { data_dir: dir.to_owned(), ..options };
        let mut store_options = StoreOptions::new(dir);
        store_options.file_bytes = 16 << 20;
        store_options.prewrite_bytes = 1 << 20;
        store_options.unflushed_bytes_max = unflushed_bytes_max;
        store_options.derivers = vec![(None, derive), (Some(PAYLOAD_KIND), derive_batch)];
        let clock = Arc::new(SystemClock::default());
        let (store, report) = Store::open(store_options, Arc::clone(&disk), clock.clone()).unwrap();
        assert!(report.damage.is_empty());
        let store_driver = Arc::new(braid_store::driver::Driver::start(store.clone()).unwrap());
        let broker_options = BrokerOptions {
            auto_create_topics: options.auto_create_topic,
            auto_create_groups: options.auto_create_group,
            classic: ClassicOptions { initial_delay_ms: 0, ..ClassicOptions::default() },
            ..BrokerOptions::default()
        };
        let levels = broker_options.delay.levels();
        let broker = Broker::open(store.clone(), clock, broker_options, policy(&options, levels)).unwrap();
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
        let edge = Edge::bind(options, Arc::clone(&broker), Arc::clone(&store_driver), disk).unwrap();
        let edge = edge.serve().unwrap();
        let addresses = edge.addresses();
        Self { running: Some(Running { edge, store_driver, broker_driver }), addresses, broker }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addresses.main)
    }

    pub(crate) fn name_server(&self) -> Client {
        Client::connect(self.addresses.nameserver.unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.running.as_ref().unwrap().edge.connections()
    }

    /// Appends a batch as the Kafka edge does, and waits until it is visible; gives its first offset.
    pub(crate) fn append_batch(&self, topic: &str, queue_id: u32, batch: &[u8]) -> u64 {
        self.append_batch_with(topic, queue_id, batch, b"")
    }

    /// As `append_batch`, with properties of the record.
    pub(crate) fn append_batch_with(
        &self,
        topic: &str,
        queue_id: u32,
        batch: &[u8],
        properties: &[u8],
    ) -> u64 {
        let topic = self.broker.topic(topic).unwrap();
        let view = BatchView::parse(batch).unwrap();
        let host = "10.9.8.7:9092".parse().unwrap();
        let request = BatchRequest {
            topic: &topic,
            queue_id,
            kind: PAYLOAD_KIND,
            batch,
            count: view.count() as u32,
            properties,
            born_timestamp: view.max_timestamp(),
            born_host: host,
            store_host: self.addresses.main,
            wait: true,
        };
        let promise = self.broker.append_batch(&request).unwrap();
        let store = self.broker.store();
        store.write_turn();
        self.running.as_ref().unwrap().store_driver.written();
        let mut waiting = Some(promise);
        let mut first = None;
        until("the batch's promise", || {
            match waiting.take().map(|promise| promise.redeem(store.watermarks())) {
                Some(Ok(sent)) => first = Some(sent.records[0].offset),
                Some(Err(promise)) => waiting = Some(promise),
                None => {}
            }
            first.is_some()
        });
        let first = first.unwrap();
        let end = first + view.count() as u64;
        until("the batch's dispatch", || store.offsets(topic.queue(queue_id)).is_some_and(|o| o.max >= end));
        first
    }

    /// Stops as the server does.
    pub(crate) fn stop(&mut self) {
        if self.end() {
            self.broker.store().close().unwrap();
        }
    }

    /// Ends all threads, and leaves the store as it is; false when that was done before.
    pub(crate) fn end(&mut self) -> bool {
        let Some(Running { edge, store_driver, broker_driver }) = self.running.take() else { return false };
        edge.shutdown(Duration::from_secs(3));
        broker_driver.stop();
        Arc::into_inner(store_driver).expect("the edge gave the driver back").stop();
        true
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
    opaque: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new(), opaque: 0 }
    }

    /// Sends without waiting; gives the opaque.
    pub(crate) fn send(&mut self, mut command: Command) -> i32 {
        self.opaque += 1;
        command.opaque = self.opaque;
        self.send_as_it_is(&command);
        self.opaque
    }

    pub(crate) fn send_as_it_is(&mut self, command: &Command) {
        let mut out = BytesMut::new();
        command.encode(&mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// The next frame, whatever it is; `None` when the other side closed.
    pub(crate) fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(frame) = frame::next(&mut self.buffer, &Limits::default()).unwrap() {
                return Some(Command::decode(&frame).unwrap());
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Sends and waits for the answer, passing over what is not it.
    pub(crate) fn ask(&mut self, command: Command) -> Command {
        let opaque = self.send(command);
        self.answer(opaque)
    }

    pub(crate) fn answer(&mut self, opaque: i32) -> Command {
        loop {
            let command = self.next().expect("the connection stays open");
            if command.is_response() && command.opaque == opaque {
                return command;
            }
        }
    }

    /// The next request of the broker's own with this code.
    pub(crate) fn told(&mut self, code: i32) -> Command {
        loop {
            let command = self.next().expect("the connection stays open");
            if !command.is_response() && command.code == code {
                return command;
            }
        }
    }

    /// Sends one message and expects it to be stored; gives its offset.
    pub(crate) fn produce(&mut self, topic: &str, queue_id: i32, body: &str, properties: &str) -> Command {
        let answer = self.ask(message(topic, queue_id, body.as_bytes(), properties));
        assert_eq!((answer.code, answer.remark.as_deref()), (0, None), "{answer:?}");
        answer
    }

    pub(crate) fn heartbeat(&mut self, group: &str, topics: &[(&str, &str)]) -> Command {
        let answer = self.ask(heartbeat("client-1", group, topics, 1));
        assert_eq!(answer.code, 0, "{answer:?}");
        answer
    }
}

/// A request with these fields.
pub(crate) fn request(code: i32, fields: &[(&'static str, &str)]) -> Command {
    Command { ext_fields: fields.iter().copied().collect(), ..Command::request(code) }
}

/// A request with a body.
pub(crate) fn request_with(code: i32, fields: ExtFields, body: impl Into<bytes::Bytes>) -> Command {
    Command { ext_fields: fields, body: body.into(), ..Command::request(code) }
}

/// A send as Java's client sends it.
pub(crate) fn message(topic: &str, queue_id: i32, body: &[u8], properties: &str) -> Command {
    let header = SendMessageV2 {
        producer_group: "pg".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        flag: 7,
        properties: Some(properties.into()),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        ..SendMessageV2::default()
    };
    request_with(request::SEND_MESSAGE_V2, header.to_ext_fields(), body.to_vec())
}

/// A pull that says itself what it wants.
pub(crate) fn pull(
    group: &str,
    topic: &str,
    queue_id: i32,
    offset: i64,
    expression: &str,
    wait_ms: i64,
) -> Command {
    let header = PullMessage {
        consumer_group: group.into(),
        topic: topic.into(),
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: 4 | if wait_ms > 0 { 2 } else { 0 },
        suspend_timeout_millis: wait_ms,
        subscription: Some(expression.into()),
        sub_version: 1,
        ..PullMessage::default()
    };
    request_with(request::PULL_MESSAGE, header.to_ext_fields(), "")
}

/// A consumer's heartbeat.
pub(crate) fn heartbeat(client_id: &str, group: &str, topics: &[(&str, &str)], version: i64) -> Command {
    let subscription = |(topic, expression): &(&str, &str)| SubscriptionData {
        topic: topic.to_string(),
        sub_string: expression.to_string(),
        sub_version: version,
        ..SubscriptionData::default()
    };
    let data = HeartbeatData {
        client_id: client_id.into(),
        consumer_data_set: vec![ConsumerData {
            group_name: group.into(),
            subscription_data_set: topics.iter().map(subscription).collect(),
            ..ConsumerData::default()
        }],
        ..HeartbeatData::default()
    };
    request_with(request::HEART_BEAT, ExtFields::new(), data.encode())
}

/// The records of a pull's body, as (offset, body).
pub(crate) fn records(body: &[u8]) -> Vec<(u64, String)> {
    let mut rest = body;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let record = RecordView::parse(rest).unwrap();
        records.push((record.queue_offset(), String::from_utf8_lossy(record.body()).into_owned()));
        rest = &rest[record.len()..];
    }
    records
}

/// A field of an answer as a number.
pub(crate) fn number(answer: &Command, field: &str) -> i64 {
    answer.ext_fields.get(field).unwrap_or_else(|| panic!("no {field} in {answer:?}")).parse().unwrap()
}

/// An answer's remark, which must be there.
pub(crate) fn remark(answer: &Command) -> &str {
    answer.remark.as_deref().unwrap_or_else(|| panic!("no remark in {answer:?}"))
}

/// Waits for a condition that an event elsewhere brings about.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}
