//! The property names that are RocketMQ's own.

use braid_record::property;

/// The property that names a message's place in an order.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";

/// In front of RocketMQ's own names, where Kafka sees them.
pub const PREFIX: &str = "rmq.";

/// RocketMQ's own names (`MessageConst` of 5.4), as Kafka sees them, sorted.
const SHOWN: [&str; 60] = [
    "rmq.1ST_POP_TIME",
    "rmq.ARRIVE_TIME",
    "rmq.BORN_TIMESTAMP",
    "rmq.BUYER_ID",
    "rmq.CHECK_IMMUNITY_TIME_IN_SECONDS",
    "rmq.CLUSTER",
    "rmq.CONSUME_START_TIME",
    "rmq.CORRECTION_FLAG",
    "rmq.CORRELATION_ID",
    "rmq.DELAY",
    "rmq.DLQ_ORIGIN_MESSAGE_ID",
    "rmq.DLQ_ORIGIN_TOPIC",
    "rmq.DUP_INFO",
    "rmq.EXTEND_UNIQ_INFO",
    "rmq.INNER_MULTI_DISPATCH",
    "rmq.INNER_MULTI_QUEUE_OFFSET",
    "rmq.INSTANCE_ID",
    "rmq.KEYS",
    "rmq.MAX_OFFSET",
    "rmq.MAX_RECONSUME_TIMES",
    "rmq.MIN_OFFSET",
    "rmq.MQ2_FLAG",
    "rmq.MSG_REGION",
    "rmq.MSG_TYPE",
    "rmq.ORIGIN_MESSAGE_ID",
    "rmq.PGROUP",
    "rmq.POP_CK",
    "rmq.POP_CK_OFFSET",
    "rmq.PROPERTY_FORWARD_QUEUE_ID",
    "rmq.PUSH_REPLY_TIME",
    "rmq.REAL_QID",
    "rmq.REAL_TOPIC",
    "rmq.RECONSUME_TIME",
    "rmq.REDIRECT",
    "rmq.REPLY_TO_CLIENT",
    "rmq.RETRY_TOPIC",
    "rmq.TAGS",
    "rmq.TIMER_DELAY_LEVEL",
    "rmq.TIMER_DELAY_MS",
    "rmq.TIMER_DELAY_SEC",
    "rmq.TIMER_DELIVER_MS",
    "rmq.TIMER_DEL_UNIQKEY",
    "rmq.TIMER_DEQUEUE_MS",
    "rmq.TIMER_ENQUEUE_MS",
    "rmq.TIMER_OUT_MS",
    "rmq.TIMER_ROLL_TIMES",
    "rmq.TRACE_CONTEXT",
    "rmq.TRACE_ON",
    "rmq.TRANSACTION_CHECK_TIMES",
    "rmq.TRANSFER_FLAG",
    "rmq.TRAN_MSG",
    "rmq.TRAN_PREPARED_QUEUE_OFFSET",
    "rmq.TTL",
    "rmq.UNIQ_KEY",
    "rmq.WAIT",
    "rmq._SYS_MSG_PRIORITY_",
    "rmq.__BORNHOST",
    "rmq.__LITE_TOPIC",
    "rmq.__SHARDINGKEY",
    "rmq.__transactionId__",
];

/// RocketMQ's own name as Kafka sees it; `None` when the name is an application's.
pub(crate) fn shown(name: &[u8]) -> Option<&'static str> {
    SHOWN.binary_search_by(|shown| shown.as_bytes()[PREFIX.len()..].cmp(name)).ok().map(|at| SHOWN[at])
}

/// True for RocketMQ's own names.
pub(crate) fn is_rocketmq(name: &[u8]) -> bool {
    shown(name).is_some()
}

/// True for names that the broker keeps for itself: no client of any protocol sees them or sets them.
pub(crate) fn is_hidden(name: &[u8]) -> bool {
    property::is_reserved(name)
        || matches!(name, b"INNER_NUM" | b"INNER_BASE")
        || name.starts_with(b"__RMQ.TRANSIENT.")
}

/// The names that a record of another protocol may set.
pub(crate) fn is_settable(name: &[u8]) -> bool {
    [property::TAGS, property::KEYS, SHARDING_KEY].iter().any(|settable| settable.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_finds_each_of_its_names() {
        for name in SHOWN {
            assert_eq!(shown(&name.as_bytes()[PREFIX.len()..]), Some(name));
        }
        for name in ["", "TAG", "TAGSX", "tags", "rmq.TAGS", "zzz"] {
            assert_eq!(shown(name.as_bytes()), None, "{name}");
        }
        assert!(is_settable(b"TAGS") && !is_settable(b"DELAY"));
        assert!(
            is_hidden(b"__BRAIDK")
                && is_hidden(b"__CRC32#")
                && is_hidden(b"INNER_NUM")
                && !is_hidden(b"TAGS")
        );
    }
}
