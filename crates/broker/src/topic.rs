//! Topics: their configuration, how it is kept, and how they come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use braid_store::{Promise, QueueKey, TopicId, TopicNumber};

use crate::broker::Broker;
use crate::error::Error;

/// How a topic is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its name; what names may look like is the edge's to check.
    pub name: String,
    /// Queues that consumers see.
    pub read_queues: u32,
    /// Queues that producers see.
    pub write_queues: u32,
    /// True when consumers may read.
    pub readable: bool,
    /// True when producers may write.
    pub writable: bool,
    /// True when topics that are made on first use may be made after this one.
    pub inherited: bool,
    /// True when the topic's order across brokers is configured.
    pub order: bool,
    /// The protocol's flags of the topic, untouched.
    pub sys_flag: i32,
    /// Further attributes, by name.
    pub attributes: BTreeMap<String, String>,
}

impl TopicConfig {
    /// A topic with this many queues, readable and writable, without attributes.
    pub fn new(name: impl Into<String>, queues: u32) -> Self {
        Self {
            name: name.into(),
            read_queues: queues,
            write_queues: queues,
            readable: true,
            writable: true,
            inherited: false,
            order: false,
            sys_flag: 0,
            attributes: BTreeMap::new(),
        }
    }
}

/// A topic that exists. Immutable: a change of its configuration makes a new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The store's number.
    pub number: TopicNumber,
    /// Its 128-bit id.
    pub id: TopicId,
    /// Its configuration.
    pub config: TopicConfig,
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The key of one of its queues. That the queue is in range is the caller's to check.
    pub fn queue(&self, queue_id: u32) -> QueueKey {
        QueueKey { topic: self.number, queue_id }
    }
}

/// How often a table changed, and when it last did. Counters start anew with each start; the time tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataVersion {
    /// Changes since the start.
    pub counter: u64,
    /// Wall milliseconds of the last change, or of the start.
    pub timestamp_ms: i64,
}

impl Broker {
    /// The topic of that name, if it exists now. Internal topics of the store are not among them.
    pub fn topic(&self, _name: &str) -> Option<Arc<Topic>> {
        unimplemented!()
    }

    /// The topic with that number, if it exists now.
    pub fn topic_numbered(&self, _number: TopicNumber) -> Option<Arc<Topic>> {
        unimplemented!()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        unimplemented!()
    }

    /// True when the policy names the topic among those that must exist.
    pub fn is_system_topic(&self, _name: &str) -> bool {
        unimplemented!()
    }

    /// How often topics changed; for routes.
    pub fn topics_version(&self) -> DataVersion {
        unimplemented!()
    }

    /// Makes a topic. It is usable at once; the promise comes due when its record is as safe as the store's mode says.
    ///
    /// # Errors
    /// `TopicExists`, `Invalid`, `Limit`, or why nothing could be appended.
    pub fn create_topic(&self, _config: TopicConfig) -> Result<Promise<Arc<Topic>>, Error> {
        unimplemented!()
    }

    /// Makes a topic, or replaces its configuration when it exists. Nothing is appended when nothing changes, and the
    /// promise is due at once then.
    ///
    /// # Errors
    /// `Invalid`, `Limit`, or why nothing could be appended.
    pub fn put_topic(&self, _config: TopicConfig) -> Result<Promise<Arc<Topic>>, Error> {
        unimplemented!()
    }

    /// Deletes a topic with its messages and the cursors of all groups on it.
    ///
    /// # Errors
    /// `NoTopic`, `SystemTopic`, or why nothing could be appended.
    pub fn delete_topic(&self, _name: &str) -> Result<Promise<()>, Error> {
        unimplemented!()
    }

    /// The topic of that name; when there is none and `template` may be inherited from, it is made with
    /// `min(queues, template's write queues)` queues. A message that is appended afterwards is no safer than the topic's
    /// record, which stands before it in the log, so no promise is given.
    ///
    /// # Errors
    /// `NoTopic` when topics are not made on first use, the template is unknown or may not be inherited from.
    pub fn topic_or_create(
        &self,
        _name: &str,
        _template: &str,
        _queues: u32,
        _sys_flag: i32,
    ) -> Result<Arc<Topic>, Error> {
        unimplemented!()
    }

    /// The retry topic of a group, made when missing with the group's number of retry queues.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn retry_topic(&self, _group: &str) -> Result<Arc<Topic>, Error> {
        unimplemented!()
    }

    /// The dead-letter topic of a group (one queue, readable and writable), made when missing.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn dead_letter_topic(&self, _group: &str) -> Result<Arc<Topic>, Error> {
        unimplemented!()
    }
}
