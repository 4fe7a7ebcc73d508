//! Reading a stored message.

use std::borrow::Cow;
use std::io::Read as _;

use braid_record::{RecordView, property, sysflag};
use braid_wire_kafka::batch::{Compression, DECOMPRESSED_BYTES_MAX, decompress};

use super::system::{self, SHARDING_KEY};
use super::write::{DROPPED, TOMBSTONE, UNREADABLE};
use crate::message::{Attribute, Message, Origin};
use crate::text;

/// The most bytes that a compressed body may give.
pub const BODY_BYTES_MAX: usize = DECOMPRESSED_BYTES_MAX;

/// The bits of SYSFLAG that say how the body is compressed.
const COMPRESSION_TYPE_MASK: i32 = 0x700;
const LZ4: i32 = 0x100;
const ZSTD: i32 = 0x200;
/// Says how a body is compressed that is handed on as it is, because it could not be decompressed.
const COMPRESSION_HEADER: &[u8] = b"rmq.compression";

/// Reads a stored message. Everything in it has a meaning to somebody, so nothing fails: a body that does not decompress is
/// handed on as it is, and says so.
pub fn read<'m>(record: &RecordView<'m>) -> Message<'m> {
    let mut message = Message {
        timestamp: record.born_timestamp().max(-1),
        key: None,
        body: None,
        attributes: Vec::with_capacity(8),
    };
    let mut tombstone = false;
    let mut sharding_key = None;
    let mut keys = None;
    for (name, value) in property::iter(record.properties()) {
        if system::is_hidden(name) {
        } else if system::is_rocketmq(name) {
            if name == SHARDING_KEY.as_bytes() {
                sharding_key = Some(value);
            } else if name == property::KEYS.as_bytes() {
                keys = Some(value);
            }
            message.push(Origin::RocketMq, Cow::Borrowed(name), Some(Cow::Borrowed(value)));
        } else if name == TOMBSTONE.as_bytes() {
            tombstone = value == b"true";
        } else if let Some(key) = exact_key(name, value) {
            message.key = Some(Cow::Owned(key));
        } else if name == DROPPED.as_bytes() || name == UNREADABLE.as_bytes() {
            message.push(Origin::Application, Cow::Borrowed(name), Some(Cow::Borrowed(value)));
        } else {
            let (name, value) = text::of_property(name, value);
            message.push(Origin::Application, name, value);
        }
    }
    let first_word = || keys.and_then(|keys| keys.split(|&b| b == b' ').find(|word| !word.is_empty()));
    if message.key.is_none() {
        message.key = sharding_key.or_else(first_word).map(Cow::Borrowed);
    }
    if !tombstone {
        read_body(record, &mut message);
    }
    message
}

fn exact_key(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    (name == text::KEY_PROPERTY.as_bytes()).then(|| text::of_base64(value)).flatten()
}

fn read_body<'m>(record: &RecordView<'m>, message: &mut Message<'m>) {
    message.body = Some(Cow::Borrowed(record.body()));
    if record.sys_flag() & sysflag::COMPRESSED == 0 {
        return;
    }
    let (name, plain) = match record.sys_flag() & COMPRESSION_TYPE_MASK {
        LZ4 => ("lz4", decompress(Compression::Lz4, record.body(), BODY_BYTES_MAX).ok()),
        ZSTD => ("zstd", decompress(Compression::Zstd, record.body(), BODY_BYTES_MAX).ok()),
        // 0x300, or nothing from clients that knew one codec only.
        _ => ("zlib", inflate(record.body())),
    };
    match plain {
        Some(plain) => message.body = Some(Cow::Owned(plain)),
        None => message.push(
            Origin::Application,
            Cow::Borrowed(COMPRESSION_HEADER),
            Some(Cow::Borrowed(name.as_bytes())),
        ),
    }
}

fn inflate(body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let stream = flate2::bufread::ZlibDecoder::new(body);
    // One byte more than the limit tells a full body from one that goes on.
    stream.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= BODY_BYTES_MAX).then_some(plain)
}

impl<'m> Message<'m> {
    pub(crate) fn push(&mut self, origin: Origin, name: Cow<'m, [u8]>, value: Option<Cow<'m, [u8]>>) {
        self.attributes.push(Attribute { origin, name, value });
    }
}
