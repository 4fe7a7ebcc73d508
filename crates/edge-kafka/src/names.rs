//! Topics by the names that Kafka's clients know.
//!
//! A topic has one name, the one it was made with. RocketMQ's names may have `%` and `|`, which Kafka's clients refuse to speak, so these
//! are shown as `.25.` and `.7C.`. A topic whose own name is what was asked for always wins over an alias.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use braid_broker::{Broker, Error, Topic};
use braid_store::TopicId;
use braid_wire_kafka::error_code;

/// The longest name that Kafka knows.
const NAME_BYTES_MAX: usize = 249;
/// The id of no topic.
pub(crate) const NO_ID: [u8; 16] = [0; 16];

/// A topic's name as Kafka's clients see it.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    braid_crossing::names::to_kafka(name)
}

/// The topic that a client means by a name.
pub(crate) fn topic(broker: &Broker, name: &str) -> Option<Arc<Topic>> {
    broker.topic(name).or_else(|| broker.topic(&braid_crossing::names::of_kafka_alias(name)?))
}

/// The topic with that id.
pub(crate) fn topic_with_id(broker: &Broker, id: [u8; 16]) -> Option<Arc<Topic>> {
    broker.topic_with_id(TopicId(u128::from_be_bytes(id)))
}

/// A topic's id as the protocol has it.
pub(crate) fn id(topic: &Topic) -> [u8; 16] {
    topic.id.0.to_be_bytes()
}

/// Whether Kafka's clients can speak a name.
pub(crate) fn is_legal(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(is_legal)
}

/// A directory's identity as Kafka's cluster ids look: 22 characters of URL-safe base64.
pub fn cluster_id(directory: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // The last of them holds the two bits that are left, and four zeros.
    let digit = |at: u32| match at {
        21 => (directory << 4) & 63,
        _ => (directory >> (122 - 6 * at)) & 63,
    };
    (0..22).map(|at| char::from(DIGITS[digit(at) as usize])).collect()
}

/// Refuses a name for a new topic: illegal, what another topic is shown as, or the same as another's but for `.` and `_`, which Kafka
/// has not told apart in its metrics.
///
/// # Errors
/// Kafka's code, with a sentence.
pub(crate) fn check_new(broker: &Broker, name: &str) -> Result<(), (i16, String)> {
    check_legal(name)?;
    check_free(broker, name)?;
    if name.contains(['.', '_']) { Taken::by_all(broker).check(name) } else { Ok(()) }
}

/// The same for many names: what they might be mistaken for is gathered once.
pub(crate) fn check_new_among(broker: &Broker, taken: &Taken, name: &str) -> Result<(), (i16, String)> {
    check_legal(name)?;
    check_free(broker, name)?;
    taken.check(name)
}

/// # Errors
/// INVALID_TOPIC_EXCEPTION, with a sentence.
pub(crate) fn check_legal(name: &str) -> Result<(), (i16, String)> {
    if is_legal(name) {
        return Ok(());
    }
    let sentence =
        format!("the name {name:?} is not 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'");
    Err((error_code::INVALID_TOPIC_EXCEPTION, sentence))
}

fn check_free(broker: &Broker, name: &str) -> Result<(), (i16, String)> {
    if (broker.policy().is_reserved)(name) {
        return Err((error_code::INVALID_TOPIC_EXCEPTION, format!("the topic {name} belongs to the system")));
    }
    if broker.topic(name).is_some() {
        return Err((error_code::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
    }
    if let Some(twin) = (broker.policy().twin_of)(name, &|name| broker.topic(name).is_some()) {
        let refusal = Error::TopicTwin { name: name.to_owned(), twin };
        return Err((error_code::INVALID_TOPIC_EXCEPTION, refusal.to_string()));
    }
    Ok(())
}

/// Names of topics by what is left of them when `.` and `_` are the same.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashMap<String, String>);

impl Taken {
    /// The names of all topics that have one of these characters.
    pub(crate) fn by_all(broker: &Broker) -> Self {
        let mut taken = Self::default();
        broker.topics().iter().for_each(|topic| taken.add(topic.name()));
        taken
    }

    /// One more.
    pub(crate) fn add(&mut self, name: &str) {
        if name.contains(['.', '_']) {
            self.0.insert(name.replace('.', "_"), name.to_owned());
        }
    }

    fn check(&self, name: &str) -> Result<(), (i16, String)> {
        match self.0.get(&name.replace('.', "_")) {
            Some(other) => {
                let sentence = format!("Topic '{name}' collides with existing topic: {other}");
                Err((error_code::INVALID_TOPIC_EXCEPTION, sentence))
            }
            None => Ok(()),
        }
    }
}

/// Whether a topic belongs to the other protocol's machinery: what lies in it is known by its place, or means something there, so that
/// no client of ours may write to it.
pub(crate) fn is_machinery(broker: &Broker, topic: &Topic) -> bool {
    let policy = broker.policy();
    policy.delay_topic == topic.name()
        || policy.discarded_topics.iter().any(|name| name == topic.name())
        || (policy.is_reserved)(topic.name())
}

/// Whether a topic belongs to the other protocol's system, and is named only to those who ask for it.
pub(crate) fn is_hidden(broker: &Broker, topic: &Topic) -> bool {
    is_machinery(broker, topic) || broker.is_system_topic(topic.name()) || !is_legal(&shown(topic.name()))
}

/// Whether a topic is shown as an internal one, which consumers of a pattern pass over: what RocketMQ groups retry and gave up.
pub(crate) fn is_internal(broker: &Broker, topic: &Topic) -> bool {
    let policy = broker.policy();
    let belongs = |of: fn(&str) -> String| topic.name().starts_with(&of(""));
    belongs(policy.retry_topic) || belongs(policy.dead_letter_topic) || broker.is_system_topic(topic.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_base64() {
        assert_eq!(cluster_id(0), "A".repeat(22));
        assert_eq!(cluster_id(u128::MAX), format!("{}w", "_".repeat(21)));
        assert_eq!(cluster_id(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn names_are_kafkas() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        for (name, expected) in [
            ("a", true),
            ("A.b_c-9", true),
            (longest.as_str(), true),
            (&format!("{longest}x"), false),
            ("", false),
            (".", false),
            ("..", false),
            ("...", true),
            ("a%b", false),
            ("ä", false),
        ] {
            assert_eq!(is_legal(name), expected, "{name}");
        }
    }
}
