//! Writing a stored message.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;

use braid_record::{
    CRC_PROPERTY_BYTES, Draft, EncodeError, PROPERTIES_BYTES_MAX, Stamp, encode, id, property,
};

use super::system::SHARDING_KEY;
use crate::message::{Message, Origin};
use crate::text;

/// Says `true` when the message is a tombstone.
pub const TOMBSTONE: &str = "kafka.tombstone";
/// Says how many properties found no room.
pub const DROPPED: &str = "kafka.dropped";
/// Says why a batch is handed on whole.
pub const UNREADABLE: &str = "kafka.unreadable";

/// Bytes kept free for [`DROPPED`] with any number.
const DROPPED_BYTES: usize = DROPPED.len() + 2 + 10;
const ROOM: usize = PROPERTIES_BYTES_MAX - CRC_PROPERTY_BYTES - DROPPED_BYTES;

/// What a stored message says of where it is.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The topic, as RocketMQ spells it.
    pub topic: &'a str,
    /// The queue.
    pub queue_id: u32,
    /// The offset in it.
    pub offset: u64,
    /// The message's name.
    pub position: u64,
    /// When the message was born, if it does not say so itself.
    pub born_timestamp: i64,
    /// Where it was born.
    pub born_host: SocketAddr,
    /// When it was stored.
    pub store_timestamp: i64,
    /// Where it was stored.
    pub store_host: SocketAddr,
    /// Its unique key.
    pub unique_key: &'a str,
}

/// Appends the message as a whole record, with its checksums.
///
/// # Errors
/// When the topic's name or the body has a length that no record can have; `out` is unchanged then.
pub fn write(message: &Message<'_>, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let properties = properties(message, envelope.unique_key);
    let born = if message.timestamp == -1 { envelope.born_timestamp } else { message.timestamp };
    let draft = Draft {
        topic: envelope.topic,
        queue_id: envelope.queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: born,
        born_host: envelope.born_host,
        store_host: envelope.store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: message.body.as_deref().unwrap_or_default(),
        properties: &properties,
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    };
    let at = out.len();
    let encoded = encode(&draft, out)?;
    let stamp = Stamp {
        queue_offset: envelope.offset,
        position: envelope.position,
        store_timestamp: envelope.store_timestamp,
        slot_offsets: &[],
    };
    encoded.stamp(&mut out[at..], &stamp);
    Ok(())
}

/// The property string: what RocketMQ itself gives a meaning first, so that it is there when room is short.
fn properties(message: &Message<'_>, unique_key: &str) -> Vec<u8> {
    let mut properties = Properties::default();
    properties.push(property::UNIQ_KEY, unique_key.as_bytes());
    if message.body.is_none() {
        properties.push(TOMBSTONE, b"true");
    }
    for name in [UNREADABLE, property::TAGS, SHARDING_KEY] {
        if let Some(value) = message.rocketmq(name) {
            properties.push(name, value);
        }
    }
    if let Some(keys) = keys(message) {
        properties.push(property::KEYS, &keys);
    }
    if let Some(key) = exact_key(message) {
        properties.push(text::KEY_PROPERTY, &text::base64(key));
    }
    let mut seen = HashSet::new();
    for attribute in message.attributes.iter().filter(|attribute| attribute.origin == Origin::Application) {
        // The first of a name wins. What comes again is not counted as left out for want of room.
        if seen.insert(&*attribute.name) {
            let (name, value) = text::to_property(&attribute.name, attribute.value.as_deref());
            properties.push_bytes(&name, &value);
        }
    }
    properties.finish()
}

/// The words by which the message is found: its key, when it is a word, then RocketMQ's own.
pub(crate) fn keys<'m>(message: &'m Message<'_>) -> Option<Cow<'m, [u8]>> {
    let own = message.rocketmq(property::KEYS);
    let word = message.key.as_deref().filter(|key| text::is_word(key) && !is_sharding_key(message, key));
    match (word, own) {
        (None, own) => own.map(Cow::Borrowed),
        (Some(word), None) => Some(Cow::Borrowed(word)),
        (Some(word), Some(own)) if first_word(own) == Some(word) => Some(Cow::Borrowed(own)),
        (Some(word), Some(own)) => Some(Cow::Owned([word, b" ", own].concat())),
    }
}

/// The key, when a reader could not tell it from the other properties.
fn exact_key<'m>(message: &'m Message<'_>) -> Option<&'m [u8]> {
    let key = message.key.as_deref()?;
    let told = match message.rocketmq(SHARDING_KEY) {
        Some(sharding_key) => sharding_key == key,
        None => text::is_word(key),
    };
    (!told).then_some(key)
}

fn is_sharding_key(message: &Message<'_>, key: &[u8]) -> bool {
    message.rocketmq(SHARDING_KEY) == Some(key)
}

fn first_word(keys: &[u8]) -> Option<&[u8]> {
    keys.split(|&b| b == b' ').find(|word| !word.is_empty())
}

/// Whether a query by this key would find the message, had it been indexed as a RocketMQ message.
pub fn has_key(message: &Message<'_>, key: &str) -> bool {
    keys(message).is_some_and(|keys| keys.split(|&b| b == b' ').any(|word| word == key.as_bytes()))
}

/// The hash of the message's tag, as RocketMQ's index has it; 0 without one.
pub fn tag(message: &Message<'_>) -> i64 {
    let tags = message.rocketmq(property::TAGS).and_then(|tags| std::str::from_utf8(tags).ok());
    tags.map_or(0, id::tags_code)
}

/// A property string that is never too long.
#[derive(Default)]
struct Properties {
    bytes: Vec<u8>,
    dropped: u32,
}

impl Properties {
    fn push(&mut self, name: &str, value: &[u8]) {
        self.push_bytes(name.as_bytes(), value);
    }

    fn push_bytes(&mut self, name: &[u8], value: &[u8]) {
        if self.bytes.len() + name.len() + value.len() + 2 > ROOM {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(property::NAME_END);
        self.bytes.extend_from_slice(value);
        self.bytes.push(property::VALUE_END);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.dropped > 0 {
            property::push(&mut self.bytes, DROPPED, &self.dropped.to_string());
        }
        self.bytes
    }
}
