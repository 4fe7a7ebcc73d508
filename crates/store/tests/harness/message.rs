//! Messages of the tests, and the bytes that must be stored for them.

use std::net::SocketAddr;

use braid_io::Rng;
use braid_record::{Draft, RecordView, Stamp, TargetSlot, encode, property};
use braid_store::{Facts, NewRecord, Placed, ProducerFacts, QueueKey, Target};

use super::oracle::Record;

/// The payload kind of the records that span offsets.
pub const SPAN_KIND: &str = "span";
/// The payload kind of batches.
pub const BATCH_KIND: &str = "batch";
/// The property with a producer's numbers: `id epoch first last`.
const PRODUCER: &str = "PRODUCER";

/// A record before it is appended.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub queue: QueueKey,
    pub body: Vec<u8>,
    pub key: Option<String>,
    pub tag: Option<String>,
    pub born_timestamp: i64,
    pub v6: bool,
    pub count: u32,
    pub more: Vec<Target>,
    /// The body is a batch: its first 8 bytes are its first offset.
    pub batch: bool,
    pub producer: Option<ProducerFacts>,
}

impl Message {
    /// A message of one queue whose body starts with `value` and is `len` bytes long, or as long as the value.
    pub fn new(topic: &str, queue: QueueKey, value: u64, len: usize, rng: &mut Rng) -> Self {
        let mut body = format!("value {value};").into_bytes();
        while body.len() < len {
            body.extend_from_slice(&rng.next_u64().to_le_bytes());
        }
        body.truncate(len.max(format!("value {value};").len()));
        Self {
            topic: topic.to_owned(),
            queue,
            body,
            key: None,
            tag: None,
            born_timestamp: 1_700_000_000_000 + value as i64,
            v6: value.is_multiple_of(5),
            count: 1,
            more: Vec::new(),
            batch: false,
            producer: None,
        }
    }

    /// Makes a batch of one message that goes on where `before` ends: the same producer, the same queue.
    pub fn follow(&mut self, before: &Self) {
        self.batch = true;
        self.topic.clone_from(&before.topic);
        self.queue = before.queue;
        self.producer = before.producer.map(|facts| {
            let next = (i64::from(facts.last_sequence) + 1).rem_euclid(1 << 31) as i32;
            ProducerFacts { first_sequence: next, last_sequence: next, ..facts }
        });
    }

    pub fn properties(&self) -> Vec<u8> {
        let mut properties = Vec::new();
        if let Some(key) = &self.key {
            property::push(&mut properties, property::KEYS, key);
        }
        if let Some(tag) = &self.tag {
            property::push(&mut properties, property::TAGS, tag);
        }
        if let Some(facts) = &self.producer {
            let ProducerFacts { producer_id, epoch, first_sequence, last_sequence } = facts;
            let numbers = format!("{producer_id} {epoch} {first_sequence} {last_sequence}");
            property::push(&mut properties, PRODUCER, &numbers);
        }
        properties
    }

    fn kind(&self) -> Option<&'static str> {
        if self.batch { Some(BATCH_KIND) } else { self.spans().then_some(SPAN_KIND) }
    }

    fn spans(&self) -> bool {
        self.count > 1 || !self.more.is_empty()
    }

    fn draft<'a>(&'a self, properties: &'a [u8]) -> Draft<'a> {
        Draft {
            topic: &self.topic,
            queue_id: self.queue.queue_id,
            flag: 7,
            sys_flag: 0,
            born_timestamp: self.born_timestamp,
            born_host: host(self.v6, 40_000),
            store_host: host(false, 10_911),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body: &self.body,
            properties,
            kind: self.kind(),
            targets: &[],
            group_goes_on: false,
            batch: self.batch.then_some(self.count),
        }
    }

    pub fn new_record<'a>(&'a self, properties: &'a [u8]) -> NewRecord<'a> {
        NewRecord {
            draft: self.draft(properties),
            topic: self.queue.topic,
            count: self.count,
            more_targets: &self.more,
        }
    }

    /// What must lie in the log for this message at the place that the store gave it.
    pub fn stored(&self, placed: &Placed, group_goes_on: bool) -> Record {
        let own = (self.queue, placed.offset, self.count);
        let more = self.more.iter().zip(&placed.more_offsets).map(|(t, first)| (t.queue, *first, t.count));
        let targets: Vec<_> = std::iter::once(own).chain(more).collect();
        let slots: Vec<TargetSlot> = targets
            .iter()
            .map(|&(queue, first_offset, count)| TargetSlot {
                topic: queue.topic.0,
                queue_id: queue.queue_id,
                first_offset,
                count,
            })
            .collect();
        let slots = if self.spans() { &slots[..] } else { &[] };
        let slot_offsets: Vec<u64> = slots.iter().map(|slot| slot.first_offset).collect();
        let properties = self.properties();
        let mut bytes = Vec::new();
        let draft = Draft { targets: slots, group_goes_on, ..self.draft(&properties) };
        let encoded = encode(&draft, &mut bytes).expect("the store took this draft");
        let stamp = Stamp {
            queue_offset: placed.offset,
            position: placed.position.0,
            store_timestamp: placed.store_timestamp,
            slot_offsets: &slot_offsets,
        };
        encoded.stamp(&mut bytes, &stamp);
        assert_eq!(bytes.len(), placed.size as usize, "the store placed another size than the record has");
        Record {
            position: placed.position.0,
            targets,
            bytes: bytes.into(),
            key: self.key.clone(),
            word: self.tag.as_deref().map_or(0, tag_word),
            time: placed.store_timestamp,
            newest: if self.kind().is_some() {
                span_time(self.born_timestamp)
            } else {
                placed.store_timestamp
            },
            producer: self.producer,
        }
    }
}

/// The newest time of a message that has a kind: any function of its birth does that goes back and forth.
pub fn span_time(born_timestamp: i64) -> i64 {
    1_790_000_000_000 + born_timestamp * 7_919 % 4_001 * 1_000
}

/// The tests' deriver: the tag's word, the keys, a time for those of a kind, and the producer's numbers.
pub fn derive(record: &RecordView<'_>) -> Facts {
    Facts {
        index_word: record.property(property::TAGS).map_or(0, tag_word),
        keys: record.property(property::KEYS).map(str::to_owned).into_iter().collect(),
        newest_time: record.kind().map(|_| span_time(record.born_timestamp())),
        producer: record.property(PRODUCER).map(numbers),
    }
}

fn numbers(text: &str) -> ProducerFacts {
    let mut numbers = text.split(' ').map(|number| number.parse::<i64>().expect("the tests write numbers"));
    let mut next = || numbers.next().expect("the tests write four");
    ProducerFacts {
        producer_id: next(),
        epoch: next() as i16,
        first_sequence: next() as i32,
        last_sequence: next() as i32,
    }
}

/// Any function of the tag does; this one keeps tags apart.
pub fn tag_word(tag: &str) -> i64 {
    tag.bytes().fold(17, |word, byte| word * 31 + i64::from(byte))
}

fn host(v6: bool, port: u16) -> SocketAddr {
    if v6 { ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port).into() } else { ([192, 0, 2, 1], port).into() }
}
