//! Groups: their configuration and how it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use braid_store::Promise;

use crate::broker::Broker;
use crate::error::Error;
use crate::topic::DataVersion;

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
}

impl Broker {
    /// The group of that name, if it is configured.
    pub fn group(&self, _name: &str) -> Option<Arc<GroupConfig>> {
        unimplemented!()
    }

    /// The group of that name; made with defaults when missing and allowed.
    ///
    /// # Errors
    /// `NoGroup` when groups are not made on first use, `Limit`, or why nothing could be appended.
    pub fn group_or_create(&self, _name: &str) -> Result<Arc<GroupConfig>, Error> {
        unimplemented!()
    }

    /// Makes a group, or replaces its configuration.
    ///
    /// # Errors
    /// `Invalid`, `Limit`, or why nothing could be appended.
    pub fn put_group(&self, _config: GroupConfig) -> Result<Promise<Arc<GroupConfig>>, Error> {
        unimplemented!()
    }

    /// Deletes a group, and its cursors when `with_cursors`.
    ///
    /// # Errors
    /// `NoGroup`, or why nothing could be appended.
    pub fn delete_group(&self, _name: &str, _with_cursors: bool) -> Result<Promise<()>, Error> {
        unimplemented!()
    }

    /// All configured groups, by name.
    pub fn groups(&self) -> Vec<Arc<GroupConfig>> {
        unimplemented!()
    }

    /// How often groups changed.
    pub fn groups_version(&self) -> DataVersion {
        unimplemented!()
    }
}
