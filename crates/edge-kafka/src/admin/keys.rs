//! The configuration keys of topics and of the broker: types, defaults, and which of them can be changed.
//!
//! Only what the broker really keeps to is listed. A key that could be set and were ignored would be a lie to whoever reads it back, so
//! Kafka's other keys are refused by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use braid_wire_kafka::error_code;

use super::Refusal;
use crate::options::{self, EdgeOptions};

/// Kafka's numbers of types, as answers have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Text,
    Int,
    Long,
    List,
}

impl Kind {
    pub(crate) fn number(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::List => 7,
        }
    }
}

/// What a key may be set to.
pub(crate) enum Allowed {
    /// A number from the first to the second.
    Numbers(i64, fn(&EdgeOptions) -> i64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Only what holds anyway, so that tools which set defaults explicitly are served.
    AsItIs,
}

/// A key of topics.
pub(crate) struct TopicKey {
    pub(crate) name: &'static str,
    /// The broker's key that gives the default.
    pub(crate) broker_name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) allowed: Allowed,
    pub(crate) default: fn(&EdgeOptions) -> String,
    pub(crate) documentation: &'static str,
}

/// A key of the broker; all are read from its configuration file and cannot be changed by clients.
pub(crate) struct BrokerKey {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value: fn(&EdgeOptions) -> String,
    pub(crate) documentation: &'static str,
}

const fn i64_max(_: &EdgeOptions) -> i64 {
    i64::MAX
}

/// By name.
pub(crate) const TOPIC_KEYS: &[TopicKey] = &[
    TopicKey {
        name: "cleanup.policy",
        broker_name: "log.cleanup.policy",
        kind: Kind::List,
        allowed: Allowed::AsItIs,
        default: |_| "delete".into(),
        documentation: "Old records are deleted; compaction is not served.",
    },
    TopicKey {
        name: "compression.type",
        broker_name: "compression.type",
        kind: Kind::Text,
        allowed: Allowed::AsItIs,
        default: |_| "producer".into(),
        documentation: "Batches are kept as their producers compressed them.",
    },
    TopicKey {
        name: "kafka.index.keys",
        broker_name: "kafka.index.keys",
        kind: Kind::Boolean,
        allowed: Allowed::Words(&["true", "false"]),
        default: |_| "false".into(),
        documentation: "Whether records are found by key without looking through their batches; each batch is decompressed for it.",
    },
    TopicKey {
        name: "max.message.bytes",
        broker_name: "message.max.bytes",
        kind: Kind::Int,
        allowed: Allowed::Numbers(0, |options| options.batch_bytes_max.into()),
        default: |options| options.message_bytes_max.to_string(),
        documentation: "The longest record batch, compressed as it is.",
    },
    TopicKey {
        name: "message.timestamp.after.max.ms",
        broker_name: "log.message.timestamp.after.max.ms",
        kind: Kind::Long,
        allowed: Allowed::Numbers(0, i64_max),
        default: |_| "3600000".into(),
        documentation: "How far a record's time may lie ahead of the broker's.",
    },
    TopicKey {
        name: "message.timestamp.before.max.ms",
        broker_name: "log.message.timestamp.before.max.ms",
        kind: Kind::Long,
        allowed: Allowed::Numbers(0, i64_max),
        default: |_| i64::MAX.to_string(),
        documentation: "How far a record's time may lie behind the broker's.",
    },
    TopicKey {
        name: "message.timestamp.type",
        broker_name: "log.message.timestamp.type",
        kind: Kind::Text,
        allowed: Allowed::Words(&["CreateTime", "LogAppendTime"]),
        default: |_| "CreateTime".into(),
        documentation: "Whether records keep their producers' times or get the broker's.",
    },
    TopicKey {
        name: "min.insync.replicas",
        broker_name: "min.insync.replicas",
        kind: Kind::Int,
        allowed: Allowed::AsItIs,
        default: |_| "1".into(),
        documentation: "There is one replica.",
    },
    TopicKey {
        name: "remote.storage.enable",
        broker_name: "remote.log.storage.system.enable",
        kind: Kind::Boolean,
        allowed: Allowed::AsItIs,
        default: |_| "false".into(),
        documentation: "Records are kept on the broker's own disk.",
    },
    TopicKey {
        name: "retention.bytes",
        broker_name: "log.retention.bytes",
        kind: Kind::Long,
        allowed: Allowed::Numbers(-1, i64_max),
        default: |_| "-1".into(),
        documentation: "Bytes that a partition keeps; -1 for any.",
    },
    TopicKey {
        name: "retention.ms",
        broker_name: "log.retention.ms",
        kind: Kind::Long,
        allowed: Allowed::Numbers(-1, i64_max),
        default: |options| options.retention_ms.to_string(),
        documentation: "Milliseconds for which records are kept; -1 for ever.",
    },
    TopicKey {
        name: "unclean.leader.election.enable",
        broker_name: "unclean.leader.election.enable",
        kind: Kind::Boolean,
        allowed: Allowed::AsItIs,
        default: |_| "false".into(),
        documentation: "A replica that lacks acknowledged records never leads.",
    },
];

/// Kafka's other topic keys, by name.
const NOT_SERVED: &[&str] = &[
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
];

/// By name.
pub(crate) const BROKER_KEYS: &[BrokerKey] = &[
    BrokerKey {
        name: "auto.create.topics.enable",
        kind: Kind::Boolean,
        value: |options| options.auto_create_topics.to_string(),
        documentation: "A topic is made when a client asks for it.",
    },
    BrokerKey {
        name: "broker.id",
        kind: Kind::Int,
        value: |_| crate::shared::NODE_ID.to_string(),
        documentation: "The one node.",
    },
    BrokerKey {
        name: "connections.max.idle.ms",
        kind: Kind::Long,
        value: |options| options.idle_ms.to_string(),
        documentation: "A connection without a byte for so long is closed.",
    },
    BrokerKey {
        name: "default.replication.factor",
        kind: Kind::Int,
        value: |_| "1".into(),
        documentation: "There is one replica.",
    },
    BrokerKey {
        name: "delete.topic.enable",
        kind: Kind::Boolean,
        value: |_| "true".into(),
        documentation: "Topics can be deleted.",
    },
    BrokerKey {
        name: "fetch.max.bytes",
        kind: Kind::Int,
        value: |_| options::FETCH_BYTES_MAX.to_string(),
        documentation: "The most record bytes of one fetch.",
    },
    BrokerKey {
        name: "group.initial.rebalance.delay.ms",
        kind: Kind::Int,
        value: |options| options.initial_rebalance_delay_ms.to_string(),
        documentation: "The first rebalance of a group waits so long for more members.",
    },
    BrokerKey {
        name: "log.dirs",
        kind: Kind::Text,
        value: |options| options.log_dir.clone(),
        documentation: "The data directory.",
    },
    BrokerKey {
        name: "max.connections",
        kind: Kind::Int,
        value: |options| options.connections_max.to_string(),
        documentation: "The most connections at a time.",
    },
    BrokerKey {
        name: "node.id",
        kind: Kind::Int,
        value: |_| crate::shared::NODE_ID.to_string(),
        documentation: "The one node.",
    },
    BrokerKey {
        name: "num.partitions",
        kind: Kind::Int,
        value: |options| options.default_partitions.to_string(),
        documentation: "Partitions of a topic whose maker names no number.",
    },
    BrokerKey {
        name: "offsets.retention.minutes",
        kind: Kind::Int,
        value: |options| options.offsets_retention_minutes.to_string(),
        documentation: "Offsets of a group without members are kept for so long.",
    },
    BrokerKey {
        name: "socket.request.max.bytes",
        kind: Kind::Int,
        value: |_| options::FRAME_BYTES_MAX.to_string(),
        documentation: "The longest request.",
    },
];

/// The key of that name.
pub(crate) fn topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.binary_search_by_key(&name, |key| key.name).ok().map(|at| &TOPIC_KEYS[at])
}

impl TopicKey {
    /// Whether anything but the default can be set.
    pub(crate) fn can_change(&self) -> bool {
        !matches!(self.allowed, Allowed::AsItIs)
    }

    /// A topic's value, and whether it is the topic's own.
    pub(crate) fn value<'c>(
        &self,
        attributes: &'c BTreeMap<String, String>,
        options: &EdgeOptions,
    ) -> (Cow<'c, str>, bool) {
        match attributes.get(self.name) {
            Some(own) => (own.into(), true),
            None => ((self.default)(options).into(), false),
        }
    }

    fn check(&self, value: &str, options: &EdgeOptions) -> Result<(), String> {
        match self.allowed {
            Allowed::Numbers(min, max) => {
                let kind = if self.kind == Kind::Int { "INT" } else { "LONG" };
                let number: i64 = value.parse().map_err(|_| format!("Not a number of type {kind}"))?;
                let max = max(options);
                match number {
                    _ if number < min => Err(format!("Value must be at least {min}")),
                    _ if number > max => Err(format!("Value must be no more than {max}")),
                    _ => Ok(()),
                }
            }
            Allowed::Words(words) if words.contains(&value) => Ok(()),
            Allowed::Words(words) => Err(format!("String must be one of: {}", words.join(", "))),
            Allowed::AsItIs if value == (self.default)(options) => Ok(()),
            Allowed::AsItIs => Err(format!("only {} is served", (self.default)(options))),
        }
    }
}

/// Checks that a topic may have this value; gives it as it is kept.
///
/// # Errors
/// INVALID_CONFIG with a sentence.
pub(crate) fn checked(name: &str, value: &str, options: &EdgeOptions) -> Result<String, Refusal> {
    let key = known(name)?;
    let value = value.trim();
    match key.check(value, options) {
        Ok(()) => Ok(value.to_owned()),
        Err(reason) => {
            let sentence = format!("Invalid value {value} for configuration {name}: {reason}");
            Err((error_code::INVALID_CONFIG, sentence))
        }
    }
}

/// The key of that name.
///
/// # Errors
/// INVALID_CONFIG with a sentence, which tells keys that Kafka has from those that nobody has.
pub(crate) fn known(name: &str) -> Result<&'static TopicKey, Refusal> {
    topic_key(name).ok_or_else(|| {
        let sentence = match NOT_SERVED.binary_search(&name) {
            Ok(_) => format!("{name} is not served: the broker would not keep to it"),
            Err(_) => format!("Unknown topic config name: {name}"),
        };
        (error_code::INVALID_CONFIG, sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_defaults_are_allowed() {
        assert!(TOPIC_KEYS.is_sorted_by_key(|key| key.name));
        assert!(BROKER_KEYS.is_sorted_by_key(|key| key.name));
        assert!(NOT_SERVED.is_sorted());
        let options = EdgeOptions::default();
        for key in TOPIC_KEYS {
            assert_eq!(key.check(&(key.default)(&options), &options), Ok(()), "{}", key.name);
            assert!(NOT_SERVED.binary_search(&key.name).is_err());
        }
    }

    fn check(name: &str, value: &str, expected: Result<&str, &str>) {
        let found = checked(name, value, &EdgeOptions::default());
        match expected {
            Ok(kept) => assert_eq!(found.as_deref(), Ok(kept)),
            Err(part) => {
                let (code, sentence) = found.expect_err(name);
                assert_eq!(code, error_code::INVALID_CONFIG);
                assert!(sentence.contains(part), "{sentence}");
            }
        }
    }

    #[test]
    fn values_are_checked() {
        check("retention.ms", " 1000 ", Ok("1000"));
        check("retention.ms", "-1", Ok("-1"));
        check("retention.ms", "-2", Err("Value must be at least -1"));
        check("retention.ms", "soon", Err("Not a number of type LONG"));
        check("retention.ms", "9223372036854775808", Err("Not a number"));
        check("max.message.bytes", "1073741824", Err("no more than"));
        check("message.timestamp.type", "LogAppendTime", Ok("LogAppendTime"));
        check("message.timestamp.type", "logappendtime", Err("one of: CreateTime, LogAppendTime"));
        check("cleanup.policy", "delete", Ok("delete"));
        check("cleanup.policy", "compact", Err("only delete is served"));
        check("segment.ms", "1", Err("segment.ms is not served"));
        check("no.such.key", "1", Err("Unknown topic config name: no.such.key"));
    }
}
