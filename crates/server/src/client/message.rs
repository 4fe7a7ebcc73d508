//! Stored messages as commands show them.

use std::collections::BTreeMap;
use std::io::Read;

use braid_record::{RecordView, id, property, sysflag};
use serde::Serialize;

use crate::time;

/// The most bytes that a compressed body may have when it is not.
const INFLATED_BYTES_MAX: u64 = 64 << 20;
/// Where sysFlag says how a body is compressed: 0 and 3 zlib, 1 LZ4, 2 zstd.
const COMPRESSION_SHIFT: i32 = 8;
const COMPRESSION_MASK: i32 = 7;

/// A message as it is stored, for people and for JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The broker that has it.
    pub broker: String,
    /// The queue.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// The broker's id of it.
    pub id: String,
    /// The producer's id of it.
    pub unique_key: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Its keys.
    pub keys: Vec<String>,
    /// When the producer made it, RFC 3339.
    pub born: String,
    /// Who sent it.
    pub born_host: String,
    /// When the broker stored it, RFC 3339.
    pub stored: String,
    /// How often it came back.
    pub reconsume_times: i32,
    /// All other properties.
    pub properties: BTreeMap<String, String>,
    /// The body, if it is UTF-8.
    pub body: Option<String>,
    /// The body in base64, if it is not.
    pub body_base64: Option<String>,
    /// How the body in base64 is compressed, if we can't undo it.
    pub body_compression: Option<&'static str>,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Message {
    /// The message of a record.
    pub fn of(record: &RecordView<'_>, broker: &str) -> Self {
        let mut properties: BTreeMap<String, String> = property::iter(record.properties())
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| !property::is_reserved(name.as_bytes()))
            .collect();
        let keys = properties.remove(property::KEYS).unwrap_or_default();
        let (bytes, compression) = body_of(record);
        let utf8 =
            compression.is_none().then(|| std::str::from_utf8(&bytes).ok().map(str::to_owned)).flatten();
        Message {
            topic: record.topic().to_owned(),
            broker: broker.to_owned(),
            queue: record.queue_id(),
            offset: record.queue_offset(),
            id: id::message_id(record.store_host(), record.position()),
            unique_key: properties.remove(property::UNIQ_KEY),
            tag: properties.remove(property::TAGS),
            keys: keys.split(' ').filter(|key| !key.is_empty()).map(str::to_owned).collect(),
            born: time::show(record.born_timestamp()),
            born_host: record.born_host().to_string(),
            stored: time::show(record.store_timestamp()),
            reconsume_times: record.reconsume_times(),
            properties,
            body_base64: utf8.is_none().then(|| base64(&bytes)),
            body_compression: compression,
            body: utf8,
            bytes,
        }
    }

    /// The body's bytes.
    pub fn body_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body as a table shows it.
    pub fn body_text(&self) -> String {
        match (&self.body, self.body_compression) {
            (Some(text), _) => text.clone(),
            (None, Some(kind)) => format!("({} bytes of {kind})", self.bytes.len()),
            (None, None) => text(&self.bytes),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The body, inflated if it is compressed with zlib; otherwise what it is compressed with.
fn body_of(record: &RecordView<'_>) -> (Vec<u8>, Option<&'static str>) {
    let stored = record.body();
    if record.sys_flag() & sysflag::COMPRESSED == 0 {
        return (stored.to_vec(), None);
    }
    let kind = match record.sys_flag() >> COMPRESSION_SHIFT & COMPRESSION_MASK {
        0 | 3 => "zlib",
        1 => "lz4",
        2 => "zstd",
        _ => "unknown",
    };
    let mut plain = Vec::new();
    let mut inflater = flate2::read::ZlibDecoder::new(stored).take(INFLATED_BYTES_MAX + 1);
    let is_inflated = kind == "zlib" && inflater.read_to_end(&mut plain).is_ok();
    if is_inflated && plain.len() as u64 <= INFLATED_BYTES_MAX {
        (plain, None)
    } else {
        (stored.to_vec(), Some(kind))
    }
}

/// The records of an answer's body, one behind the other.
///
/// # Errors
/// What is wrong with the first that is none.
pub fn records(mut body: &[u8]) -> Result<Vec<RecordView<'_>>, String> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let size = body.first_chunk().map_or(usize::MAX, |size| u32::from_be_bytes(*size) as usize);
        let (record, rest) = body.split_at_checked(size).ok_or("the answer ends inside a message")?;
        records.push(
            RecordView::parse(record)
                .map_err(|error| format!("the answer has a damaged message: {error}"))?,
        );
        body = rest;
    }
    Ok(records)
}

/// Base64 with padding, RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_standard_says() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}", "w78="),
        ];
        for (plain, expected) in cases {
            assert_eq!(base64(plain.as_bytes()), expected);
        }
    }

    #[test]
    fn bodies_that_are_no_records_are_refused() {
        assert!(records(b"").is_ok_and(|records| records.is_empty()));
        for bad in [&b"\0"[..], b"\0\0\0\0", b"\0\0\0\x08\0\0\0\0", &[0xff; 64]] {
            assert!(records(bad).is_err(), "{bad:?}");
        }
    }
}
