//! A record of a Kafka batch: one reader, one writer.

use std::borrow::Cow;

/// Batches as such, for who makes them out of messages.
pub use braid_wire_kafka::batch;
use braid_wire_kafka::batch::{BatchWriter, Header, Record, RecordDraft};

use crate::message::{Attribute, Message, Origin};
use crate::rocketmq::system;
use crate::text;

/// Reads a record.
pub fn read<'m>(record: &Record<'m>) -> Message<'m> {
    Message {
        timestamp: record.timestamp.max(-1),
        key: record.key.map(Cow::Borrowed),
        body: record.value.map(Cow::Borrowed),
        attributes: record.headers.into_iter().map(read_header).collect(),
    }
}

fn read_header(header: Header<'_>) -> Attribute<'_> {
    let (origin, name) = match rocketmq_name(&header) {
        Some(name) => (Origin::RocketMq, name),
        None => (Origin::Application, header.key),
    };
    Attribute { origin, name: Cow::Borrowed(name), value: header.value.map(Cow::Borrowed) }
}

/// The name of RocketMQ's own property that a header sets, if it does.
pub(crate) fn rocketmq_name<'h>(header: &Header<'h>) -> Option<&'h [u8]> {
    let name = header.key.strip_prefix(system::PREFIX.as_bytes())?;
    (system::is_settable(name) && header.value.is_some_and(text::is_plain)).then_some(name)
}

/// Adds the message to a batch.
///
/// # Panics
/// As [`BatchWriter::push`].
pub fn write(message: &Message<'_>, batch: &mut BatchWriter) {
    let names: Vec<Cow<'_, [u8]>> = message.attributes.iter().map(header_name).collect();
    let headers: Vec<Header<'_>> = names
        .iter()
        .zip(&message.attributes)
        .map(|(key, attribute)| Header { key, value: attribute.value.as_deref() })
        .collect();
    batch.push(&RecordDraft {
        timestamp: message.timestamp,
        key: message.key.as_deref(),
        value: message.body.as_deref(),
        headers: &headers,
    });
}

fn header_name<'a>(attribute: &'a Attribute<'_>) -> Cow<'a, [u8]> {
    match attribute.origin {
        Origin::Application => Cow::Borrowed(&*attribute.name),
        Origin::RocketMq => match system::shown(&attribute.name) {
            Some(shown) => Cow::Borrowed(shown.as_bytes()),
            None => Cow::Owned([system::PREFIX.as_bytes(), &attribute.name].concat()),
        },
    }
}
