//! What the broker refuses, in Kafka's codes.

use braid_broker::Error;
use braid_wire_kafka::error_code;

/// The code that stands for a refusal.
pub(crate) fn code(error: &Error) -> i16 {
    match error {
        Error::NoTopic(_) | Error::NoQueue { .. } => error_code::UNKNOWN_TOPIC_OR_PARTITION,
        Error::TopicExists(_) => error_code::TOPIC_ALREADY_EXISTS,
        Error::SystemTopic(_) => error_code::INVALID_TOPIC_EXCEPTION,
        Error::NotWritable(_) => error_code::TOPIC_AUTHORIZATION_FAILED,
        Error::NoGroup(_) => error_code::GROUP_ID_NOT_FOUND,
        Error::NoRecord(_) => error_code::OFFSET_OUT_OF_RANGE,
        Error::Invalid(_) => error_code::INVALID_REQUEST,
        Error::IllegalMessage(_) => error_code::INVALID_RECORD,
        Error::OutOfOrderSequence(_) => error_code::OUT_OF_ORDER_SEQUENCE_NUMBER,
        Error::StaleProducerEpoch(_) => error_code::INVALID_PRODUCER_EPOCH,
        Error::Limit { .. } => error_code::POLICY_VIOLATION,
        // Clients try again after each of these.
        Error::Busy(_) => error_code::REQUEST_TIMED_OUT,
        Error::DiskFull(_) | Error::Closed(_) => error_code::KAFKA_STORAGE_ERROR,
        Error::State { .. } => error_code::UNKNOWN_SERVER_ERROR,
        Error::Storage(_) => error_code::KAFKA_STORAGE_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_kafkas_codes() {
        let cases = [
            (Error::NoTopic("T".into()), 3),
            (Error::NoQueue { topic: "T".into(), queue_id: 9, queues: 4 }, 3),
            (Error::TopicExists("T".into()), 36),
            (Error::NotWritable("T".into()), 29),
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
