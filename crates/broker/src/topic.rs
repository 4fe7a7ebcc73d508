//! Topics: their configuration, how it is kept, and how they come and go.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use braid_record::TOPIC_BYTES_MAX;
use braid_store::{Promise, QueueKey, TopicId, TopicInfo, TopicNumber};

use crate::broker::Broker;
use crate::codec::{ATTRIBUTES_BYTES_MAX, Reader, Writer, attributes_fit};
use crate::error::Error;
use crate::limits::TopicLimits;
use crate::statistics::Meter;
use crate::sync::{lock, read, write};

/// Prefix of the store's own topics, which are no topics to anyone else.
const INTERNAL_PREFIX: &str = "BRAID_SYS_";

const CONFIG_VERSION: u8 = 1;
const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const INHERITED: u8 = 4;
const ORDER: u8 = 8;

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

    /// Queues that exist: a queue that only consumers or only producers see counts too.
    pub fn queues(&self) -> u32 {
        self.read_queues.max(self.write_queues)
    }

    /// The bytes that the store keeps with the topic; the name is the store's own.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(self.readable, READABLE)
            | flag(self.writable, WRITABLE)
            | flag(self.inherited, INHERITED)
            | flag(self.order, ORDER);
        Writer::default()
            .u8(CONFIG_VERSION)
            .u8(flags)
            .u32(self.read_queues)
            .u32(self.write_queues)
            .u32(self.sys_flag as u32)
            .map(&self.attributes)
            .finish()
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        reader.version(CONFIG_VERSION)?;
        let flags = reader.u8()?;
        let config = Self {
            name: name.to_owned(),
            read_queues: reader.u32()?,
            write_queues: reader.u32()?,
            readable: flags & READABLE != 0,
            writable: flags & WRITABLE != 0,
            inherited: flags & INHERITED != 0,
            order: flags & ORDER != 0,
            sys_flag: reader.u32()? as i32,
            attributes: reader.map()?,
        };
        reader.end()?;
        Ok(config)
    }
}

/// A topic that exists. Immutable: a change of its configuration makes a new value.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The store's number.
    pub number: TopicNumber,
    /// Its 128-bit id.
    pub id: TopicId,
    /// Its configuration.
    pub config: TopicConfig,
    /// The limits that its attributes set.
    pub limits: TopicLimits,
    /// Counts what is stored in it.
    pub(crate) stored: Arc<Meter>,
}

impl Topic {
    fn new(number: TopicNumber, id: TopicId, config: TopicConfig, stored: Arc<Meter>) -> Self {
        let limits = TopicLimits::of(&config.name, &config.attributes);
        Self { number, id, config, limits, stored }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The key of one of its queues. That the queue is in range is the caller's to check.
    pub fn queue(&self, queue_id: u32) -> QueueKey {
        QueueKey { topic: self.number, queue_id }
    }
}

/// Topics that exist, as the store knows them.
#[derive(Debug)]
pub(crate) struct Topics {
    table: RwLock<Table>,
    /// Held while a topic is made, changed or deleted, so that table and log agree on the order.
    change: Mutex<DataVersion>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<String, Arc<Topic>>,
    by_number: HashMap<TopicNumber, Arc<Topic>>,
    by_id: HashMap<TopicId, TopicNumber>,
}

impl Table {
    fn insert(&mut self, topic: &Arc<Topic>) {
        self.by_name.insert(topic.name().to_owned(), Arc::clone(topic));
        self.by_number.insert(topic.number, Arc::clone(topic));
        self.by_id.insert(topic.id, topic.number);
    }
}

impl Topics {
    /// Takes over what the store knows.
    pub(crate) fn load(infos: Vec<TopicInfo>, now_ms: i64) -> Result<Self, Error> {
        let mut table = Table::default();
        for info in infos.into_iter().filter(|info| !info.name.starts_with(INTERNAL_PREFIX)) {
            let config = TopicConfig::decode(&info.name, &info.config)
                .map_err(|reason| Error::State { what: format!("topic {}", info.name), reason })?;
            let topic = Topic::new(info.number, info.id, config, Arc::default());
            table.insert(&Arc::new(topic));
        }
        let version = DataVersion { counter: 0, timestamp_ms: now_ms };
        Ok(Self { table: RwLock::new(table), change: Mutex::new(version) })
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

impl DataVersion {
    pub(crate) fn changed(&mut self, now_ms: i64) {
        self.counter += 1;
        self.timestamp_ms = now_ms;
    }
}

impl Broker {
    /// The topic of that name, if it exists now. Internal topics of the store are not among them.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.topics.table).by_name.get(name).cloned()
    }

    /// The topic with that number, if it exists now.
    pub fn topic_numbered(&self, number: TopicNumber) -> Option<Arc<Topic>> {
        read(&self.topics.table).by_number.get(&number).cloned()
    }

    /// The topic with that id, if it exists now.
    pub fn topic_with_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        let table = read(&self.topics.table);
        table.by_id.get(&id).and_then(|number| table.by_number.get(number)).cloned()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = read(&self.topics.table).by_name.values().cloned().collect();
        topics.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        topics
    }

    /// True when the policy names the topic among those that must exist.
    pub fn is_system_topic(&self, name: &str) -> bool {
        name == self.policy.delay_topic || self.policy.system_topics.iter().any(|topic| topic.name == name)
    }

    /// How often topics changed; for routes.
    pub fn topics_version(&self) -> DataVersion {
        *lock(&self.topics.change)
    }

    /// Makes a topic. It is usable at once; the promise comes due when its record is as safe as the store's mode says.
    ///
    /// # Errors
    /// `TopicExists`, `Invalid`, `Limit`, or why nothing could be appended.
    pub fn create_topic(&self, config: TopicConfig) -> Result<Promise<Arc<Topic>>, Error> {
        let mut version = lock(&self.topics.change);
        if self.topic(&config.name).is_some() {
            return Err(Error::TopicExists(config.name));
        }
        self.create_topic_locked(config, &mut version)
    }

    /// Makes a topic, or replaces its configuration when it exists. Nothing is appended when nothing changes; the
    /// promise waits for what is appended by now then.
    ///
    /// # Errors
    /// `Invalid`, `Limit`, or why nothing could be appended.
    pub fn put_topic(&self, config: TopicConfig) -> Result<Promise<Arc<Topic>>, Error> {
        let mut version = lock(&self.topics.change);
        let Some(old) = self.topic(&config.name) else {
            return self.create_topic_locked(config, &mut version);
        };
        self.configure_locked(old, config, &mut version)
    }

    /// Replaces a topic's configuration by what `change` makes of it; nobody else changes it in between. Nothing is appended
    /// when nothing changes, as in [`put_topic`](Self::put_topic).
    ///
    /// # Errors
    /// `NoTopic`, `Invalid`, or why nothing could be appended.
    ///
    /// # Panics
    /// If `change` gives the topic another name.
    pub fn change_topic(
        &self,
        name: &str,
        change: impl FnOnce(&mut TopicConfig),
    ) -> Result<Promise<Arc<Topic>>, Error> {
        let mut version = lock(&self.topics.change);
        let old = self.topic(name).ok_or_else(|| Error::NoTopic(name.to_owned()))?;
        let mut config = old.config.clone();
        change(&mut config);
        assert_eq!(config.name, name, "a topic keeps its name");
        self.configure_locked(old, config, &mut version)
    }

    fn configure_locked(
        &self,
        old: Arc<Topic>,
        config: TopicConfig,
        version: &mut DataVersion,
    ) -> Result<Promise<Arc<Topic>>, Error> {
        if old.config == config {
            return Ok(self.promise_of_all_appended(old));
        }
        self.check_topic(&config)?;
        let promise = self.store.configure_topic(old.number, &config.encode())?;
        let topic = Arc::new(Topic::new(old.number, old.id, config, Arc::clone(&old.stored)));
        write(&self.topics.table).insert(&topic);
        self.pin_if_limited(&topic);
        version.changed(self.clock.wall_ms());
        Ok(promise.map(|()| topic))
    }

    /// Deletes a topic with its messages and the cursors of all groups on it. Who is parked on it is woken.
    ///
    /// # Errors
    /// `NoTopic`, `SystemTopic`, or why nothing could be appended.
    pub fn delete_topic(&self, name: &str) -> Result<Promise<()>, Error> {
        let mut version = lock(&self.topics.change);
        let topic = self.topic(name).ok_or_else(|| Error::NoTopic(name.to_owned()))?;
        if self.is_system_topic(name) {
            return Err(Error::SystemTopic(name.to_owned()));
        }
        let promise = self.store.delete_topic(topic.number)?;
        let mut table = write(&self.topics.table);
        table.by_name.remove(name);
        table.by_number.remove(&topic.number);
        table.by_id.remove(&topic.id);
        drop(table);
        self.store.pin_topic(topic.number, false);
        version.changed(self.clock.wall_ms());
        drop(version);
        self.forget_cursors_on(topic.number);
        self.waiters.wake_topic(topic.number);
        Ok(promise)
    }

    /// The topic of that name; when there is none and `template` may be inherited from, it is made with
    /// `min(queues, template's write queues)` queues. A message that is appended afterwards is no safer than the topic's
    /// record, which stands before it in the log, so no promise is given.
    ///
    /// # Errors
    /// `NoTopic` when topics are not made on first use, the template is unknown or may not be inherited from.
    pub fn topic_or_create(
        &self,
        name: &str,
        template: &str,
        queues: u32,
        sys_flag: i32,
    ) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        let no_topic = || Error::NoTopic(name.to_owned());
        if !self.options.auto_create_topics {
            return Err(no_topic());
        }
        let template = self.topic(template).filter(|topic| topic.config.inherited).ok_or_else(no_topic)?;
        let queues = queues.min(template.config.write_queues).max(1);
        self.ensure_topic(TopicConfig {
            readable: template.config.readable,
            writable: template.config.writable,
            sys_flag,
            ..TopicConfig::new(name, queues)
        })
    }

    /// The retry topic of a group, made when missing with the group's number of retry queues.
    ///
    /// # Errors
    /// `NoGroup` when the group is unknown and may not be made, or why the topic could not be made.
    pub fn retry_topic(&self, group: &str) -> Result<Arc<Topic>, Error> {
        let name = (self.policy.retry_topic)(group);
        match self.topic(&name) {
            Some(topic) => Ok(topic),
            None => {
                let queues = self.group_or_create(group)?.retry_queues.max(1);
                self.ensure_topic(TopicConfig::new(name, queues))
            }
        }
    }

    /// The dead-letter topic of a group (one queue, readable and writable), made when missing.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn dead_letter_topic(&self, group: &str) -> Result<Arc<Topic>, Error> {
        self.ensure_topic(TopicConfig::new((self.policy.dead_letter_topic)(group), 1))
    }

    /// The topic of that name, made with this configuration when missing.
    pub(crate) fn ensure_topic(&self, config: TopicConfig) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.topic(&config.name) {
            return Ok(topic);
        }
        let mut version = lock(&self.topics.change);
        // Another thread may have made it while this one waited for the lock.
        if let Some(topic) = self.topic(&config.name) {
            return Ok(topic);
        }
        let name = config.name.clone();
        drop(self.create_topic_locked(config, &mut version)?);
        self.topic(&name).ok_or(Error::NoTopic(name))
    }

    fn create_topic_locked(
        &self,
        config: TopicConfig,
        version: &mut DataVersion,
    ) -> Result<Promise<Arc<Topic>>, Error> {
        self.check_topic(&config)?;
        if let Some(twin) = (self.policy.twin_of)(&config.name, &|name| self.topic(name).is_some()) {
            return Err(Error::TopicTwin { name: config.name, twin });
        }
        let topics_max = self.options.topics_max;
        if read(&self.topics.table).by_name.len() >= topics_max {
            return Err(Error::Limit { what: "topics", max: topics_max });
        }
        let promise = self.store.create_topic(&config.name, &config.encode())?;
        version.changed(self.clock.wall_ms());
        Ok(promise.map(|info| {
            let topic = Arc::new(Topic::new(info.number, info.id, config, Arc::default()));
            write(&self.topics.table).insert(&topic);
            self.pin_if_limited(&topic);
            topic
        }))
    }

    fn check_topic(&self, config: &TopicConfig) -> Result<(), Error> {
        let name = &config.name;
        let queues_max = self.options.queues_per_topic_max;
        if name.is_empty() || name.len() > TOPIC_BYTES_MAX {
            return Err(Error::Invalid(format!("a topic's name has 1 to {TOPIC_BYTES_MAX} bytes")));
        }
        if name.starts_with(INTERNAL_PREFIX) {
            return Err(Error::Invalid(format!(
                "topic names that begin with {INTERNAL_PREFIX} are reserved"
            )));
        }
        if config.queues() > queues_max {
            return Err(Error::Invalid(format!("a topic has at most {queues_max} queues")));
        }
        if !attributes_fit(&config.attributes) {
            return Err(Error::Invalid(format!(
                "a topic's attributes take at most {ATTRIBUTES_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_these_bytes_and_comes_back() {
        let config = TopicConfig {
            write_queues: 4,
            inherited: true,
            sys_flag: -2,
            attributes: BTreeMap::from([("k".to_owned(), "vw".to_owned())]),
            ..TopicConfig::new("T", 8)
        };
        let bytes = config.encode();
        let golden = [1, 7, 0, 0, 0, 8, 0, 0, 0, 4, 255, 255, 255, 254, 0, 1, 0, 1, b'k', 0, 2, b'v', b'w'];
        assert_eq!(bytes, golden);
        assert_eq!(TopicConfig::decode("T", &bytes), Ok(config));
        assert!(TopicConfig::decode("T", &bytes[..bytes.len() - 1]).is_err());
        assert!(TopicConfig::decode("T", &[&bytes[..], &[0]].concat()).is_err());
    }
}
