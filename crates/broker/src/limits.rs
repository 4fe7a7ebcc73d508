//! A topic's own limits: attributes under the names that Kafka gave them, read once.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Attribute: milliseconds for which messages are kept, -1 without end.
pub const RETENTION_MS: &str = "retention.ms";
/// Attribute: bytes that a queue keeps, -1 without bound.
pub const RETENTION_BYTES: &str = "retention.bytes";
/// Attribute: longest batch.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// Attribute: whose time messages carry.
pub const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// Attribute: how far a producer's time may lie in the past.
pub const TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
/// Attribute: how far a producer's time may lie in the future.
pub const TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";

/// Attribute: whether the keys inside batches are entered into the key index.
pub const INDEX_KEYS: &str = "kafka.index.keys";

/// Whose time the messages of a topic carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, from the moment of the append.
    LogAppendTime,
}

/// A bound that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// At most this.
    UpTo(u64),
    /// No bound; written as -1.
    None,
}

/// A topic's own limits. What a topic does not say is `None`: the broker's own default holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicLimits {
    /// Milliseconds for which messages are kept, by store time.
    pub retention_ms: Option<Bound>,
    /// Bytes of records that each queue keeps.
    pub retention_bytes: Option<Bound>,
    /// Bytes of the longest batch.
    pub max_message_bytes: Option<u32>,
    /// Whose time messages carry.
    pub timestamp_type: TimestampType,
    /// Milliseconds that a producer's time may lie before the broker's.
    pub timestamp_before_max_ms: Option<u64>,
    /// Milliseconds that a producer's time may lie after the broker's.
    pub timestamp_after_max_ms: Option<u64>,
    /// True when the keys inside batches are entered into the key index, which looks into each of them.
    pub index_keys: bool,
}

impl TopicLimits {
    /// Reads a topic's attributes. They were checked by the edge that set them: what cannot be read is left out and
    /// logged.
    pub(crate) fn of(topic: &str, attributes: &BTreeMap<String, String>) -> Self {
        let mut limits = Self::default();
        for (name, value) in attributes {
            let read = match name.as_str() {
                RETENTION_MS => put(&mut limits.retention_ms, bound(value)),
                RETENTION_BYTES => put(&mut limits.retention_bytes, bound(value)),
                MAX_MESSAGE_BYTES => put(&mut limits.max_message_bytes, number(value)),
                TIMESTAMP_TYPE => timestamp_type(value).map(|of| limits.timestamp_type = of),
                TIMESTAMP_BEFORE_MAX_MS => put(&mut limits.timestamp_before_max_ms, number(value)),
                TIMESTAMP_AFTER_MAX_MS => put(&mut limits.timestamp_after_max_ms, number(value)),
                INDEX_KEYS => number(value).map(|on| limits.index_keys = on),
                _ => Some(()),
            };
            if read.is_none() {
                tracing::warn!(topic, name, value, "an attribute of a topic cannot be read; it is left out");
            }
        }
        limits
    }

    /// True when the topic keeps its messages for another time, or up to another size, than the log keeps its files.
    pub fn has_own_retention(&self) -> bool {
        self.retention_ms.is_some() || matches!(self.retention_bytes, Some(Bound::UpTo(_)))
    }
}

fn put<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    *field = value;
    field.is_some().then_some(())
}

fn number<T: FromStr>(value: &str) -> Option<T> {
    value.trim().parse().ok()
}

fn bound(value: &str) -> Option<Bound> {
    match number::<i64>(value)? {
        -1 => Some(Bound::None),
        value => u64::try_from(value).ok().map(Bound::UpTo),
    }
}

fn timestamp_type(value: &str) -> Option<TimestampType> {
    match value.trim() {
        "CreateTime" => Some(TimestampType::CreateTime),
        "LogAppendTime" => Some(TimestampType::LogAppendTime),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(attributes: &[(&str, &str)]) -> TopicLimits {
        let attributes = attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        TopicLimits::of("T", &attributes.collect())
    }

    #[test]
    fn attributes_are_read_under_kafkas_names() {
        let all = limits(&[
            ("retention.ms", "60000"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "1000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "9223372036854775807"),
            ("message.timestamp.after.max.ms", "0"),
            ("kafka.index.keys", "true"),
            ("somebody.elses", "x"),
        ]);
        let expected = TopicLimits {
            retention_ms: Some(Bound::UpTo(60_000)),
            retention_bytes: Some(Bound::None),
            max_message_bytes: Some(1000),
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: Some(i64::MAX as u64),
            timestamp_after_max_ms: Some(0),
            index_keys: true,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for (name, value) in [
            ("retention.ms", "-2"),
            ("retention.ms", "soon"),
            ("retention.bytes", ""),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "4294967296"),
            ("message.timestamp.type", "logappendtime"),
            ("message.timestamp.after.max.ms", "-1"),
            ("kafka.index.keys", "yes"),
        ] {
            assert_eq!(limits(&[(name, value)]), TopicLimits::default(), "{name}={value}");
        }
    }

    #[test]
    fn a_topic_has_its_own_retention_when_it_says_how_long_or_how_much() {
        for (attributes, own) in [
            (&[][..], false),
            (&[("retention.bytes", "-1")], false),
            (&[("max.message.bytes", "1")], false),
            (&[("retention.bytes", "0")], true),
            (&[("retention.ms", "-1")], true),
            (&[("retention.ms", "0")], true),
        ] {
            assert_eq!(limits(attributes).has_own_retention(), own, "{attributes:?}");
        }
    }
}
