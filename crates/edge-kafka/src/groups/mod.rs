//! Consumer groups: who is in them, how far they have come, and what administrators see of them.
//!
//! The rules are the broker's (its classic groups); here is what each version of the protocol makes of them. There is one
//! coordinator, this node, for every group.

mod admin;
mod members;
mod offsets;

use braid_broker::{Broker, Error, GroupError};
use braid_wire_kafka::{consumer_protocol, error_code, keys};

use crate::dispatch::{Api, api};
use crate::{error, names};

/// Requests about groups.
pub(crate) const HANDLERS: &[Api] = &[
    api(keys::HEARTBEAT, 0, 4, members::heartbeat),
    api(keys::OFFSET_COMMIT, 2, 10, offsets::commit),
    api(keys::OFFSET_FETCH, 1, 10, offsets::fetch),
    api(keys::FIND_COORDINATOR, 0, 6, admin::find_coordinator),
    api(keys::JOIN_GROUP, 0, 9, members::join),
    api(keys::SYNC_GROUP, 0, 5, members::sync),
    api(keys::LEAVE_GROUP, 0, 5, members::leave),
    api(keys::LIST_GROUPS, 0, 5, admin::list),
    api(keys::DESCRIBE_GROUPS, 0, 6, admin::describe),
    api(keys::DELETE_GROUPS, 0, 2, admin::delete),
    api(keys::OFFSET_DELETE, 0, 0, offsets::delete),
];

/// Topics that a member of a group says it reads; for [`Broker::read_subscriptions_with`]. Other kinds of groups say nothing
/// that could be read.
pub(crate) fn subscriptions(broker: &Broker, protocol_type: &str, metadata: &[u8]) -> Option<Vec<String>> {
    if protocol_type != consumer_protocol::PROTOCOL_TYPE {
        return None;
    }
    let (_, subscription) = consumer_protocol::decode_subscription(metadata).ok()?;
    // A topic that does not exist yet is not read yet.
    let topics = subscription.topics.iter().filter_map(|name| names::topic(broker, name));
    Some(topics.map(|topic| topic.name().to_owned()).collect())
}

/// The code of a refused commit or deletion. What the log can't take now is the coordinator's trouble: clients try again.
fn code(error: &Error) -> i16 {
    match error {
        Error::Group(error) => error::group_code(*error),
        Error::Busy(_) | Error::DiskFull(_) | Error::Closed(_) => error::group_code(GroupError::NotAvailable),
        Error::Limit { .. } => error_code::UNKNOWN_SERVER_ERROR,
        other => error::code(other),
    }
}
