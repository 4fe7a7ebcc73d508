//! What the broker refuses, in RocketMQ's codes.

use braid_broker::{Broker, Error, GroupError};
use braid_wire_rocketmq::body::BodyError;
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header::FieldError;

use crate::reply::Reply;

/// Where Apache's texts send people.
const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// The code that stands for a refusal.
pub(crate) fn code(error: &Error) -> i32 {
    match error {
        Error::NoTopic(_) => response::TOPIC_NOT_EXIST,
        Error::TopicExists(_) => response::TOPIC_EXIST_ALREADY,
        Error::SystemTopic(_) | Error::TopicTwin { .. } => response::INVALID_PARAMETER,
        Error::NotWritable(_) => response::NO_PERMISSION,
        Error::NoQueue { .. } => response::INVALID_PARAMETER,
        Error::OffsetOutOfRange { .. } => response::INVALID_PARAMETER,
        Error::NoGroup(_) => response::SUBSCRIPTION_GROUP_NOT_EXIST,
        Error::NoRecord(_) => response::SYSTEM_ERROR,
        Error::Invalid(_) => response::INVALID_PARAMETER,
        Error::IllegalMessage(_) => response::MESSAGE_ILLEGAL,
        // No message of RocketMQ's has a producer's numbers.
        Error::OutOfOrderSequence(_) | Error::StaleProducerEpoch(_) => response::MESSAGE_ILLEGAL,
        Error::Limit { .. } => response::SYSTEM_ERROR,
        Error::Busy(_) => response::SYSTEM_BUSY,
        Error::DiskFull(_) => response::SERVICE_NOT_AVAILABLE,
        Error::Closed(_) => response::SERVICE_NOT_AVAILABLE,
        Error::Group(_) => response::NO_PERMISSION,
        Error::State { .. } => response::SYSTEM_ERROR,
        Error::Storage(_) => response::SYSTEM_ERROR,
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let busy = matches!(error, Error::Busy(_));
        let unwritable = matches!(error, Error::DiskFull(_) | Error::Closed(_));
        Reply { busy, unwritable, ..Reply::error(code(&error), error.to_string()) }
    }
}

impl From<FieldError> for Reply {
    fn from(error: FieldError) -> Self {
        Reply::system_error(error.to_string())
    }
}

impl From<BodyError> for Reply {
    fn from(error: BodyError) -> Self {
        Reply::system_error(error.to_string())
    }
}

/// Whether this protocol may move a group's cursors: not while members of another one live in it.
///
/// # Errors
/// NO_PERMISSION with a sentence.
pub(crate) fn check_cursors_are_ours(broker: &Broker, group: &str) -> Result<(), Reply> {
    match broker.is_classic_group_live(group) {
        true => Err(Error::Group(GroupError::OtherMembers).into()),
        false => Ok(()),
    }
}

/// TOPIC_NOT_EXIST with Apache's sentence.
pub(crate) fn no_topic(topic: &str) -> Reply {
    Reply::error(response::TOPIC_NOT_EXIST, format!("topic[{topic}] not exist, apply first please! {FAQ}"))
}

/// TOPIC_NOT_EXIST as a name server says it.
pub(crate) fn no_route(topic: &str) -> Reply {
    Reply::error(
        response::TOPIC_NOT_EXIST,
        format!("No topic route info in name server for the topic: {topic}{FAQ}"),
    )
}

/// SUBSCRIPTION_GROUP_NOT_EXIST with Apache's sentence.
pub(crate) fn no_group(group: &str) -> Reply {
    Reply::error(
        response::SUBSCRIPTION_GROUP_NOT_EXIST,
        format!("subscription group [{group}] does not exist, {FAQ}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_apaches_codes() {
        let cases = [
            (Error::NoTopic("T".into()), 17),
            (Error::NotWritable("T".into()), 16),
            (Error::NoQueue { topic: "T".into(), queue_id: 9, queues: 4 }, 29),
            (Error::NoGroup("g".into()), 26),
            (Error::Group(GroupError::OtherMembers), 16),
            (Error::IllegalMessage("too long".into()), 13),
            (Error::Busy("slow".into()), 2),
            (Error::DiskFull("full".into()), 14),
            (Error::Closed("broken".into()), 14),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&error), expected, "{error}");
            assert!(Reply::from(error).remark.is_some_and(|text| !text.is_empty()));
        }
    }
}
