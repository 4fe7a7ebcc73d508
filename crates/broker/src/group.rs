//! Groups: their configuration and how it is kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use braid_store::{Promise, StateChange};

use crate::broker::Broker;
use crate::codec::{ATTRIBUTES_BYTES_MAX, GROUP, Reader, Writer, attributes_fit};
use crate::error::Error;
use crate::sync::{lock, read, write};
use crate::topic::DataVersion;

/// Most bytes of a group's name: its retry topic must still be a topic's name.
pub(crate) const GROUP_BYTES_MAX: usize = 255;

const CONFIG_VERSION: u8 = 1;
const CONSUME_ENABLE: u8 = 1;
const FROM_MIN_ENABLE: u8 = 2;
const BROADCAST_ENABLE: u8 = 4;
const ORDERLY: u8 = 8;
const NOTIFY: u8 = 16;

/// How a group is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// False when the group may not consume.
    pub consume_enable: bool,
    /// True when a young queue is read from its start.
    pub consume_from_min_enable: bool,
    /// True when members may each read every queue.
    pub broadcast_enable: bool,
    /// True when the group consumes in order.
    pub orderly: bool,
    /// Queues of the retry topic; 0 drops what comes back.
    pub retry_queues: u32,
    /// How often a message is tried again before it is a dead letter.
    pub retry_max: u32,
    /// The replica to read from.
    pub broker_id: u64,
    /// The replica to read from when reading is slow.
    pub broker_id_when_slow: u64,
    /// True when members are told that others came or went.
    pub notify_members_changed: bool,
    /// The protocol's flags of the group, untouched.
    pub sys_flag: i32,
    /// Minutes that a consumer may hold a message.
    pub consume_timeout_minutes: u32,
    /// Further attributes, by name.
    pub attributes: BTreeMap<String, String>,
}

impl GroupConfig {
    /// A group as it is made on first use.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            consume_enable: true,
            consume_from_min_enable: true,
            broadcast_enable: true,
            orderly: false,
            retry_queues: 1,
            retry_max: 16,
            broker_id: 0,
            broker_id_when_slow: 1,
            notify_members_changed: true,
            sys_flag: 0,
            consume_timeout_minutes: 15,
            attributes: BTreeMap::new(),
        }
    }

    /// The bytes that are kept as the group's state; the name is the state's key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(self.consume_enable, CONSUME_ENABLE)
            | flag(self.consume_from_min_enable, FROM_MIN_ENABLE)
            | flag(self.broadcast_enable, BROADCAST_ENABLE)
            | flag(self.orderly, ORDERLY)
            | flag(self.notify_members_changed, NOTIFY);
        Writer::default()
            .u8(CONFIG_VERSION)
            .u8(flags)
            .u32(self.retry_queues)
            .u32(self.retry_max)
            .u64(self.broker_id)
            .u64(self.broker_id_when_slow)
            .u32(self.sys_flag as u32)
            .u32(self.consume_timeout_minutes)
            .map(&self.attributes)
            .finish()
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        reader.version(CONFIG_VERSION)?;
        let flags = reader.u8()?;
        let config = Self {
            name: name.to_owned(),
            consume_enable: flags & CONSUME_ENABLE != 0,
            consume_from_min_enable: flags & FROM_MIN_ENABLE != 0,
            broadcast_enable: flags & BROADCAST_ENABLE != 0,
            orderly: flags & ORDERLY != 0,
            notify_members_changed: flags & NOTIFY != 0,
            retry_queues: reader.u32()?,
            retry_max: reader.u32()?,
            broker_id: reader.u64()?,
            broker_id_when_slow: reader.u64()?,
            sys_flag: reader.u32()? as i32,
            consume_timeout_minutes: reader.u32()?,
            attributes: reader.map()?,
        };
        reader.end()?;
        Ok(config)
    }
}

/// Configured groups.
#[derive(Debug)]
pub(crate) struct Groups {
    table: RwLock<HashMap<String, Arc<GroupConfig>>>,
    /// Held while a group is made, changed or deleted, so that table and log agree on the order.
    change: Mutex<DataVersion>,
}

impl Groups {
    /// Takes over what was kept as state.
    pub(crate) fn load(entries: Vec<(Vec<u8>, Vec<u8>)>, now_ms: i64) -> Result<Self, Error> {
        let mut table = HashMap::new();
        for (key, value) in entries {
            let config = Reader::new(&key)
                .rest_as_text()
                .and_then(|name| GroupConfig::decode(&name, &value))
                .map_err(|reason| Error::State {
                    what: format!("group {}", String::from_utf8_lossy(&key)),
                    reason,
                })?;
            table.insert(config.name.clone(), Arc::new(config));
        }
        let version = DataVersion { counter: 0, timestamp_ms: now_ms };
        Ok(Self { table: RwLock::new(table), change: Mutex::new(version) })
    }
}

impl Broker {
    /// The group of that name, if it is configured.
    pub fn group(&self, name: &str) -> Option<Arc<GroupConfig>> {
        read(&self.groups.table).get(name).cloned()
    }

    /// The group of that name; made with defaults when missing and allowed. No promise is given: whatever is appended
    /// afterwards is no safer than the group's record, which stands before it in the log.
    ///
    /// # Errors
    /// `NoGroup` when groups are not made on first use, `Limit`, or why nothing could be appended.
    pub fn group_or_create(&self, name: &str) -> Result<Arc<GroupConfig>, Error> {
        if let Some(group) = self.group(name) {
            return Ok(group);
        }
        if !self.options.auto_create_groups {
            return Err(Error::NoGroup(name.to_owned()));
        }
        self.ensure_group(GroupConfig::new(name))
    }

    /// Makes a group, or replaces its configuration. Nothing is appended when nothing changes; the promise waits for
    /// what is appended by now then.
    ///
    /// # Errors
    /// `Invalid`, `Limit`, or why nothing could be appended.
    pub fn put_group(&self, config: GroupConfig) -> Result<Promise<Arc<GroupConfig>>, Error> {
        let mut version = lock(&self.groups.change);
        match self.group(&config.name) {
            Some(old) if *old == config => Ok(self.promise_of_all_appended(old)),
            _ => self.put_group_locked(config, &mut version),
        }
    }

    /// Deletes a group, and its cursors when `with_cursors`. They are two appends, the cursors' first.
    ///
    /// # Errors
    /// `NoGroup`, or why nothing could be appended.
    pub fn delete_group(&self, name: &str, with_cursors: bool) -> Result<Promise<()>, Error> {
        let mut version = lock(&self.groups.change);
        if self.group(name).is_none() {
            return Err(Error::NoGroup(name.to_owned()));
        }
        if with_cursors {
            self.delete_cursors(name, None)?;
        }
        let change = StateChange { kind: GROUP, key: name.as_bytes().to_vec(), value: None };
        let appended = self.append_state(&[change])?;
        write(&self.groups.table).remove(name);
        version.changed(self.clock.wall_ms());
        Ok(appended.promise(self.level(), ()))
    }

    /// All configured groups, by name.
    pub fn groups(&self) -> Vec<Arc<GroupConfig>> {
        let mut groups: Vec<_> = read(&self.groups.table).values().cloned().collect();
        groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    /// How often groups changed.
    pub fn groups_version(&self) -> DataVersion {
        *lock(&self.groups.change)
    }

    /// The group of that name, made with this configuration when missing.
    pub(crate) fn ensure_group(&self, config: GroupConfig) -> Result<Arc<GroupConfig>, Error> {
        let mut version = lock(&self.groups.change);
        if let Some(group) = self.group(&config.name) {
            return Ok(group);
        }
        let name = config.name.clone();
        drop(self.put_group_locked(config, &mut version)?);
        self.group(&name).ok_or(Error::NoGroup(name))
    }

    fn put_group_locked(
        &self,
        config: GroupConfig,
        version: &mut DataVersion,
    ) -> Result<Promise<Arc<GroupConfig>>, Error> {
        if config.name.is_empty() || config.name.len() > GROUP_BYTES_MAX {
            return Err(Error::Invalid(format!("a group's name has 1 to {GROUP_BYTES_MAX} bytes")));
        }
        if !attributes_fit(&config.attributes) {
            return Err(Error::Invalid(format!(
                "a group's attributes take at most {ATTRIBUTES_BYTES_MAX} bytes"
            )));
        }
        let groups_max = self.options.groups_max;
        if self.group(&config.name).is_none() && read(&self.groups.table).len() >= groups_max {
            return Err(Error::Limit { what: "groups", max: groups_max });
        }
        let key = config.name.as_bytes().to_vec();
        let appended =
            self.append_state(&[StateChange { kind: GROUP, key, value: Some(config.encode()) }])?;
        let group = Arc::new(config);
        write(&self.groups.table).insert(group.name.clone(), Arc::clone(&group));
        version.changed(self.clock.wall_ms());
        Ok(appended.promise(self.level(), group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_these_bytes_and_comes_back() {
        let config = GroupConfig { orderly: true, broadcast_enable: false, ..GroupConfig::new("g") };
        let bytes = config.encode();
        let golden = [
            &[1, 27, 0, 0, 0, 1, 0, 0, 0, 16][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 15, 0, 0],
        ];
        assert_eq!(bytes, golden.concat());
        assert_eq!(GroupConfig::decode("g", &bytes), Ok(config));
        assert!(GroupConfig::decode("g", &[2]).unwrap_err().contains("version is 2"));
    }

    #[test]
    fn a_state_that_is_not_understood_names_its_group() {
        let error = Groups::load(vec![(b"g".to_vec(), vec![9])], 0).unwrap_err();
        assert!(error.to_string().starts_with("the stored state of group g cannot be read"), "{error}");
    }
}
