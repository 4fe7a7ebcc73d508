//! A broker on a simulated disk and clock, with names of its own in place of a protocol's.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;

use braid_broker::{
    Broker, BrokerOptions, Error, GroupConfig, Message, Policy, PropertyNames, SendRequest, Sent, Topic,
    TopicConfig,
};
use braid_io::Clock;
use braid_io::sim::{SimClock, SimDisk};
use braid_record::{RecordView, id, property};
use braid_store::{Facts, FlushMode, Promise, QueueKey, Read, ReadRequest, Store, StoreOptions};
use bytes::Bytes;

pub const START_MS: i64 = 1_700_000_000_000;
pub const DELAY_TOPIC: &str = "LATER";
pub const TEMPLATE: &str = "TEMPLATE";
pub const HALF_TOPIC: &str = "HALF";

/// A payload kind and its deriver.
pub type KindDeriver = (Option<&'static str>, braid_store::Deriver);

pub fn policy() -> Policy {
    Policy {
        is_reserved: |_| false,
        twin_of: |new, exists| Some(format!("Twin of {new}")).filter(|twin| exists(twin)),
        retry_topic: |group| format!("RETRY-{group}"),
        dead_letter_topic: |group| format!("DEAD-{group}"),
        delay_topic: DELAY_TOPIC.to_owned(),
        discarded_topics: vec![HALF_TOPIC.to_owned()],
        system_topics: vec![
            TopicConfig { inherited: true, ..TopicConfig::new(TEMPLATE, 8) },
            TopicConfig::new(HALF_TOPIC, 1),
        ],
        system_groups: vec![GroupConfig::new("TOOLS")],
        properties: PropertyNames {
            delay_level: "DELAY",
            real_topic: "REAL_TOPIC",
            real_queue_id: "REAL_QID",
            retry_topic: "RETRY_TOPIC",
            origin_message_id: "ORIGIN_MESSAGE_ID",
            wait: "WAIT",
            dropped_when_delayed: &["TIMER_DELAY_SEC"],
            dropped_when_delivered: &["DELAY"],
        },
    }
}

pub fn host() -> SocketAddr {
    ([127, 0, 0, 1], 10911).into()
}

/// A message as a producer gives it.
pub fn message<'a>(body: &'a [u8], properties: &'a [u8]) -> Message<'a> {
    Message {
        body,
        properties,
        flag: 7,
        sys_flag: 0,
        born_timestamp: START_MS - 1,
        born_host: ([127, 0, 0, 1], 4711).into(),
        reconsume_times: 0,
    }
}

pub struct Rig {
    pub disk: SimDisk,
    pub clock: SimClock,
    pub options: BrokerOptions,
    pub flush: FlushMode,
    pub derivers: Vec<KindDeriver>,
    pub broker: Arc<Broker>,
}

fn open(
    disk: &SimDisk,
    clock: &SimClock,
    options: &BrokerOptions,
    flush: FlushMode,
    derivers: &[KindDeriver],
) -> Arc<Broker> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let tags: braid_store::Deriver = |record| Facts {
        index_word: record.property(property::TAGS).map_or(0, id::tags_code),
        ..Facts::default()
    };
    let mut store_options = StoreOptions::for_simulation("/data", 1 << 20, 7);
    store_options.flush = flush;
    store_options.unflushed_bytes_max = 16 << 20;
    store_options.derivers = vec![(None, tags)];
    store_options.derivers.extend_from_slice(derivers);
    let (store, report) = Store::open(store_options, Arc::new(disk.process()), Arc::clone(&clock)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    Broker::open(store, clock, options.clone(), policy()).unwrap()
}

impl Rig {
    pub fn new() -> Self {
        Self::with(1, BrokerOptions::default(), FlushMode::Sync)
    }

    pub fn with(seed: u64, options: BrokerOptions, flush: FlushMode) -> Self {
        Self::with_all(seed, options, flush, Vec::new())
    }

    /// With derivers of kinds other than RocketMQ's.
    pub fn with_derivers(derivers: Vec<KindDeriver>, flush: FlushMode) -> Self {
        Self::with_all(1, BrokerOptions::default(), flush, derivers)
    }

    fn with_all(seed: u64, options: BrokerOptions, flush: FlushMode, derivers: Vec<KindDeriver>) -> Self {
        let (disk, clock) = (SimDisk::new(seed), SimClock::new(START_MS));
        let broker = open(&disk, &clock, &options, flush, &derivers);
        let rig = Self { disk, clock, options, flush, derivers, broker };
        rig.settle();
        rig
    }

    /// Writes, flushes and dispatches all that is appended, and makes room ahead.
    pub fn settle(&self) {
        let store = self.broker.store();
        for _ in 0..2 {
            store.write_turn();
            store.flush_turn();
            store.housekeeping();
        }
    }

    /// Fills the room that the log has, and makes no more: what is appended next is refused for now.
    pub fn fill_room(&self, topic: &str) {
        for len in [10_000, 0] {
            while match self.append(topic, 0, message(&vec![b'f'; len], b"")) {
                Ok(_) => true,
                Err(Error::Busy(_)) => false,
                Err(other) => panic!("{other}"),
            } {}
        }
    }

    /// Ends the process, whatever it was at, and starts it again. Nothing that was written is lost.
    pub fn kill(&mut self) {
        self.disk.kill();
        self.broker = open(&self.disk, &self.clock, &self.options, self.flush, &self.derivers);
    }

    /// Cuts the power, and starts again.
    pub fn crash(&mut self) {
        self.disk.crash();
        self.broker = open(&self.disk, &self.clock, &self.options, self.flush, &self.derivers);
    }

    pub fn topic(&self, name: &str) -> Arc<Topic> {
        self.broker.topic_or_create(name, TEMPLATE, 4, 0).unwrap()
    }

    pub fn append(&self, topic: &str, queue_id: u32, message: Message<'_>) -> Result<Promise<Sent>, Error> {
        let topic = self.topic(topic);
        let messages = &[message];
        self.broker.send(&SendRequest { topic: &topic, queue_id, messages, store_host: host(), wait: true })
    }

    /// Sends and waits for the answer.
    pub fn send(&self, topic: &str, queue_id: u32, body: &[u8], properties: &[u8]) -> Sent {
        let promise = self.append(topic, queue_id, message(body, properties)).unwrap();
        self.settle();
        promise.redeem(self.broker.store().watermarks()).expect("the turn made it durable")
    }

    /// All visible records of a queue.
    pub fn records(&self, queue: QueueKey) -> Vec<Bytes> {
        let store = self.broker.store();
        let offsets = store.offsets(queue).unwrap_or_default();
        let mut records = Vec::new();
        let mut offset = offsets.min;
        while offset < offsets.max {
            let request = ReadRequest {
                queue,
                offset,
                records_max: 100,
                bytes_max: 1 << 20,
                entries_max: 100,
                filter: None,
            };
            let result = match store.read(&request).unwrap() {
                Read::Ready(result) => result,
                Read::Cold(cold) => cold.complete().unwrap(),
            };
            assert!(result.next_offset > offset, "{:?} at {offset}", result.status);
            offset = result.next_offset;
            records.extend(result.records);
        }
        records
    }

    /// All visible records of a topic, queue by queue; none when it does not exist.
    pub fn all(&self, topic: &str) -> Vec<Bytes> {
        let Some(topic) = self.broker.topic(topic) else { return Vec::new() };
        (0..topic.config.queues()).flat_map(|queue_id| self.records(topic.queue(queue_id))).collect()
    }

    pub fn bodies(&self, topic: &str) -> Vec<String> {
        self.all(topic)
            .iter()
            .map(|record| String::from_utf8(view(record).body().to_vec()).unwrap())
            .collect()
    }

    /// Delivers what is due now, and makes it visible.
    pub fn deliver(&self) -> Option<i64> {
        loop {
            let delivered = self.broker.deliver_due(self.clock.wall_ms());
            self.settle();
            match delivered {
                Ok(next) => return next,
                Err(Error::Busy(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

pub fn view(record: &Bytes) -> RecordView<'_> {
    RecordView::parse(record).unwrap()
}

/// A property string from pairs.
pub fn properties(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    pairs.iter().for_each(|(name, value)| property::push(&mut text, name, value));
    text
}

/// The properties of a record that are not the codec's own, sorted by name.
pub fn pairs(record: &Bytes) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut pairs: Vec<_> = property::iter(view(record).properties())
        .filter(|(name, _)| *name != property::CRC32.as_bytes())
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    pairs.sort();
    pairs
}
