//! REGISTER_BROKER's body, plain and compressed.
//!
//! ```text
//!  zlib of   len 4 | data version JSON
//!            topics 4 | len 4 | "name readQueues writeQueues perm filterType attributesJSON" | ...
//!            len 4 | filter server list JSON
//!            mappings 4 | len 4 | mapping JSON | ...           (brokers from 5.0.0 on)
//! ```

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Body, BodyError, Json, TopicConfig, TopicConfigTable, bean};
use crate::fastjson::{self, Value, Writer};

/// The version from which the compressed form ends with the static topics (V5_0_0).
pub const VERSION_TOPIC_MAPPINGS: i32 = 413;
/// The most bytes that a compressed registration may inflate to.
pub const INFLATED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most topics in one compressed registration: a few inflated bytes become a few hundred in memory.
pub const REGISTERED_TOPICS_MAX: u32 = 200_000;

bean! {
    /// REGISTER_BROKER (103).
    RegisterBrokerBody {
        /// Filter servers of ancient brokers.
        filter_server_list: Vec<String> = "filterServerList",
        /// The broker's topics.
        topic_config_serialize_wrapper: TopicConfigTable = "topicConfigSerializeWrapper",
    }
}

/// CRC-32 with the top bit cleared, as the header's `bodyCrc32` has it.
pub fn body_crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7fff_ffff) as i32
}

impl RegisterBrokerBody {
    /// Reads the compressed form that a broker of `version` sends.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn decode_compressed(body: &[u8], version: i32) -> Result<Self, BodyError> {
        let mut plain = Vec::new();
        ZlibDecoder::new(body)
            .take(INFLATED_BYTES_MAX + 1)
            .read_to_end(&mut plain)
            .map_err(|_| BodyError::Compressed { what: "it does not inflate" })?;
        if plain.len() as u64 > INFLATED_BYTES_MAX {
            return Err(BodyError::Compressed { what: "it inflates to too much" });
        }
        let mut fields = Fields { rest: &plain };
        let mut table =
            TopicConfigTable { data_version: Body::decode(fields.bytes()?)?, ..Default::default() };
        let topics = fields.number()?;
        if topics > REGISTERED_TOPICS_MAX {
            return Err(BodyError::Compressed { what: "it has too many topics" });
        }
        for _ in 0..topics {
            let topic = topic_from_text(fields.text()?)?;
            table.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        let filter_server_list = match fields.bytes()? {
            [] => Vec::new(),
            list => match fastjson::parse(list)? {
                Value::Null => Vec::new(),
                list => Vec::read(&list)?,
            },
        };
        if version >= VERSION_TOPIC_MAPPINGS {
            table.topic_queue_mapping_info_map = Some(read_mappings(&mut fields)?);
        }
        Ok(RegisterBrokerBody { filter_server_list, topic_config_serialize_wrapper: table })
    }

    /// Writes the compressed form of a broker of `version`.
    pub fn encode_compressed(&self, version: i32) -> Bytes {
        let table = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        push_field(&mut plain, &table.data_version.encode());
        push_number(&mut plain, table.topic_config_table.len());
        for topic in table.topic_config_table.values() {
            push_field(&mut plain, topic_to_text(topic).as_bytes());
        }
        push_field(&mut plain, json(&self.filter_server_list).as_bytes());
        if version >= VERSION_TOPIC_MAPPINGS {
            let mappings = match &table.topic_queue_mapping_info_map {
                Some(Value::Map(mappings)) => mappings.as_slice(),
                _ => &[],
            };
            push_number(&mut plain, mappings.len());
            for (_, mapping) in mappings {
                push_field(&mut plain, json(mapping).as_bytes());
            }
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let compressed = encoder.write_all(&plain).and_then(|()| encoder.finish());
        Bytes::from(compressed.expect("writing into memory does not fail"))
    }
}

/// The static topics, as a map by their own `topic` member, which is how the plain form has them.
fn read_mappings(fields: &mut Fields<'_>) -> Result<Value, BodyError> {
    let mut mappings = Vec::new();
    for _ in 0..fields.number()? {
        let mapping = fastjson::parse(fields.bytes()?)?;
        let topic = mapping
            .member("topic")
            .and_then(Value::as_text)
            .ok_or(BodyError::Compressed { what: "a static topic has no name" })?;
        mappings.push((Value::Text(topic.to_owned()), mapping));
    }
    Ok(Value::Map(mappings))
}

fn json(value: &impl Json) -> String {
    let mut writer = Writer::default();
    value.write(&mut writer);
    writer.finish()
}

fn topic_to_text(topic: &TopicConfig) -> String {
    let TopicConfig {
        topic_name,
        read_queue_nums,
        write_queue_nums,
        perm,
        topic_filter_type,
        attributes,
        ..
    } = topic;
    format!(
        "{topic_name} {read_queue_nums} {write_queue_nums} {perm} {topic_filter_type} {}",
        json(attributes)
    )
}

/// Names hold no blanks; the attributes, absent before 5.0, may.
fn topic_from_text(text: &str) -> Result<TopicConfig, BodyError> {
    let mut parts = text.splitn(6, ' ');
    let mut part = || parts.next().ok_or(BodyError::Compressed { what: "a topic has too few parts" });
    let number = |text: &str| {
        text.parse().map_err(|_| BodyError::Compressed { what: "a topic has a number without digits" })
    };
    let mut topic = TopicConfig {
        topic_name: part()?.to_owned(),
        read_queue_nums: number(part()?)?,
        write_queue_nums: number(part()?)?,
        perm: number(part()?)?,
        topic_filter_type: part()?.to_owned(),
        ..Default::default()
    };
    if let Some(attributes) = parts.next().filter(|text| !text.trim().is_empty()) {
        match fastjson::parse(attributes.as_bytes())? {
            Value::Null => {}
            attributes => topic.attributes = Json::read(&attributes)?,
        }
    }
    Ok(topic)
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u32).to_be_bytes());
}

fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    push_number(out, field.len());
    out.extend_from_slice(field);
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u32, BodyError> {
        let (number, rest) =
            self.rest.split_first_chunk().ok_or(BodyError::Compressed { what: "it ends inside a number" })?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Result<&'a [u8], BodyError> {
        let length = self.number()? as usize;
        let (field, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BodyError::Compressed { what: "it ends inside a field" })?;
        self.rest = rest;
        Ok(field)
    }

    fn text(&mut self) -> Result<&'a str, BodyError> {
        str::from_utf8(self.bytes()?).map_err(|_| BodyError::Compressed { what: "a topic is not UTF-8" })
    }
}
