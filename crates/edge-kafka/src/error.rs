//! What the broker refuses, in Kafka's codes.

use braid_broker::{Error, GroupError};
use braid_wire_kafka::error_code;

/// The code that stands for a refusal.
pub(crate) fn code(error: &Error) -> i16 {
    match error {
        Error::NoTopic(_) | Error::NoQueue { .. } => error_code::UNKNOWN_TOPIC_OR_PARTITION,
        Error::TopicExists(_) => error_code::TOPIC_ALREADY_EXISTS,
        Error::SystemTopic(_) | Error::TopicTwin { .. } => error_code::INVALID_TOPIC_EXCEPTION,
        Error::NotWritable(_) => error_code::TOPIC_AUTHORIZATION_FAILED,
        Error::NoGroup(_) => error_code::GROUP_ID_NOT_FOUND,
        Error::NoRecord(_) | Error::OffsetOutOfRange { .. } => error_code::OFFSET_OUT_OF_RANGE,
        Error::Invalid(_) => error_code::INVALID_REQUEST,
        Error::IllegalMessage(_) => error_code::INVALID_RECORD,
        Error::OutOfOrderSequence(_) => error_code::OUT_OF_ORDER_SEQUENCE_NUMBER,
        Error::StaleProducerEpoch(_) => error_code::INVALID_PRODUCER_EPOCH,
        Error::Group(error) => group_code(*error),
        Error::Limit { .. } => error_code::POLICY_VIOLATION,
        // Clients try again after each of these.
        Error::Busy(_) => error_code::REQUEST_TIMED_OUT,
        Error::DiskFull(_) | Error::Closed(_) => error_code::KAFKA_STORAGE_ERROR,
        Error::State { .. } => error_code::UNKNOWN_SERVER_ERROR,
        Error::Storage(_) => error_code::KAFKA_STORAGE_ERROR,
    }
}

/// The code that stands for a group's refusal of a member.
pub(crate) fn group_code(error: GroupError) -> i16 {
    match error {
        GroupError::Name => error_code::INVALID_GROUP_ID,
        GroupError::SessionTimeout => error_code::INVALID_SESSION_TIMEOUT,
        GroupError::UnknownMember => error_code::UNKNOWN_MEMBER_ID,
        GroupError::MemberIdRequired => error_code::MEMBER_ID_REQUIRED,
        GroupError::GroupFull => error_code::GROUP_MAX_SIZE_REACHED,
        GroupError::InconsistentProtocol | GroupError::OtherMembers => {
            error_code::INCONSISTENT_GROUP_PROTOCOL
        }
        GroupError::FencedInstance => error_code::FENCED_INSTANCE_ID,
        GroupError::IllegalGeneration => error_code::ILLEGAL_GENERATION,
        GroupError::RebalanceInProgress => error_code::REBALANCE_IN_PROGRESS,
        GroupError::NotAvailable => error_code::COORDINATOR_NOT_AVAILABLE,
        GroupError::TooLarge => error_code::INVALID_REQUEST,
        GroupError::NoGroup => error_code::GROUP_ID_NOT_FOUND,
        GroupError::NotEmpty => error_code::NON_EMPTY_GROUP,
        GroupError::Subscribed => error_code::GROUP_SUBSCRIBED_TO_TOPIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_refuse_with_kafkas_codes() {
        let cases = [
            (GroupError::Name, 24),
            (GroupError::SessionTimeout, 26),
            (GroupError::UnknownMember, 25),
            (GroupError::MemberIdRequired, 79),
            (GroupError::GroupFull, 81),
            (GroupError::InconsistentProtocol, 23),
            (GroupError::OtherMembers, 23),
            (GroupError::FencedInstance, 82),
            (GroupError::IllegalGeneration, 22),
            (GroupError::RebalanceInProgress, 27),
            (GroupError::NotAvailable, 15),
            (GroupError::TooLarge, 42),
            (GroupError::NoGroup, 69),
            (GroupError::NotEmpty, 68),
            (GroupError::Subscribed, 86),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&Error::Group(error)), expected, "{error}");
        }
    }

    #[test]
    fn refusals_have_kafkas_codes() {
        let cases = [
            (Error::NoTopic("T".into()), 3),
            (Error::NoQueue { topic: "T".into(), queue_id: 9, queues: 4 }, 3),
            (Error::TopicExists("T".into()), 36),
            (Error::NotWritable("T".into()), 29),
            (Error::OffsetOutOfRange { offset: 9, max: 4 }, 1),
            (Error::IllegalMessage("too long".into()), 87),
            (Error::OutOfOrderSequence("gap".into()), 45),
            (Error::StaleProducerEpoch("old".into()), 47),
            (Error::Busy("slow".into()), 7),
            (Error::DiskFull("full".into()), 56),
            (Error::Closed("broken".into()), 56),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&error), expected, "{error}");
        }
    }
}
