//! Names that belong to a protocol, handed down by its edge.

use crate::group::GroupConfig;
use crate::topic::TopicConfig;

/// The name, among those for which `exists` holds, that `new` would be mistaken for.
pub type TwinOf = fn(new: &str, exists: &dyn Fn(&str) -> bool) -> Option<String>;

/// What the edge decides once, before the broker is opened.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The topic that holds a group's messages which came back and are to be tried again.
    pub retry_topic: fn(group: &str) -> String,
    /// The topic that holds a group's messages which nobody could consume.
    pub dead_letter_topic: fn(group: &str) -> String,
    /// The topic that holds delayed messages: queue = level - 1.
    pub delay_topic: String,
    /// Real topics of delayed messages that are never delivered to (half messages of transactions).
    pub discarded_topics: Vec<String>,
    /// Names of topics that belong to a protocol's own machinery, whether they exist or not: no client of another protocol makes them or
    /// writes to them.
    pub is_reserved: fn(topic: &str) -> bool,
    /// The topic, among those that exist, which a client could not tell from a new one of this name. Asked under the lock under which
    /// topics are made.
    pub twin_of: TwinOf,
    /// Topics that must exist: made at open when missing. The delay topic, with as many queues as there are levels, and
    /// the template topics are among them.
    pub system_topics: Vec<TopicConfig>,
    /// Groups that must exist: made at open when missing.
    pub system_groups: Vec<GroupConfig>,
    /// Names inside property strings.
    pub properties: PropertyNames,
}

/// Property names that delay, retry and dead letters read and write.
#[derive(Debug, Clone, Copy)]
pub struct PropertyNames {
    /// The delay level, a decimal number.
    pub delay_level: &'static str,
    /// The topic a delayed message is for.
    pub real_topic: &'static str,
    /// The queue a delayed message is for.
    pub real_queue_id: &'static str,
    /// The first topic of a message that came back.
    pub retry_topic: &'static str,
    /// The first id of a message that came back.
    pub origin_message_id: &'static str,
    /// Whether the sender waits for the disk.
    pub wait: &'static str,
    /// Dropped from a message that has a delay level: other ways to say when it is due.
    pub dropped_when_delayed: &'static [&'static str],
    /// Dropped from the copy that is delivered when a delayed message is due.
    pub dropped_when_delivered: &'static [&'static str],
}
