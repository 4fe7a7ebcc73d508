//! Names that RocketMQ gives a meaning, and what names may look like.

use std::borrow::Cow;

/// In front of a group's name: its retry topic.
pub(crate) const RETRY_PREFIX: &str = "%RETRY%";
/// In front of a group's name: its dead-letter topic.
pub(crate) const DLQ_PREFIX: &str = "%DLQ%";
/// Holds delayed messages; queue = level - 1.
pub(crate) const DELAY_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Whose settings a topic made on first use inherits.
pub(crate) const TEMPLATE_TOPIC: &str = "TBW102";
/// A topic of every broker, from its earliest days.
pub(crate) const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// A topic of every broker, for tests of it.
pub(crate) const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Half messages of transactions.
pub(crate) const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// What was decided on half messages.
pub(crate) const OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where clients send traces.
pub(crate) const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// In front of names of our own.
pub(crate) const OWN_PREFIX: &str = "BRAID_SYS_";

/// Topics that clients may not send to (`TopicValidator.NOT_ALLOWED_SEND_TOPIC_SET`).
const NOT_SENDABLE: [&str; 7] = [
    DELAY_TOPIC,
    HALF_TOPIC,
    OP_TOPIC,
    "TRANS_CHECK_MAX_TIME_TOPIC",
    SELF_TEST_TOPIC,
    "OFFSET_MOVED_EVENT",
    "rmq_sys_wheel_timer",
];

/// Topics of Apache's system that a user may not create or delete (`TopicValidator.SYSTEM_TOPIC_SET`).
const SYSTEM: [&str; 10] = [
    TEMPLATE_TOPIC,
    DELAY_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    OP_TOPIC,
    "TRANS_CHECK_MAX_TIME_TOPIC",
    SELF_TEST_TOPIC,
    "OFFSET_MOVED_EVENT",
    "rmq_sys_wheel_timer",
];

/// Groups of Apache's tools, made at the start.
pub(crate) const SYSTEM_GROUPS: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

/// Longest topic name that a client may make, in characters.
pub(crate) const TOPIC_CHARS_MAX: usize = 127;
/// Longest name of a retry or dead-letter topic.
pub(crate) const RETRY_TOPIC_CHARS_MAX: usize = 255;
/// Longest name of a group that an administrator may make, in characters.
pub(crate) const GROUP_CHARS_MAX: usize = 120;
/// Longest name of a group that may be made on first use, which Apache's brokers take too: its retry topic's name still fits.
pub(crate) const FIRST_USE_GROUP_CHARS_MAX: usize = RETRY_TOPIC_CHARS_MAX - RETRY_PREFIX.len();

/// A topic's name as RocketMQ's clients see it.
pub(crate) fn shown(inside: &str) -> Cow<'_, str> {
    braid_crossing::names::to_rocketmq(inside)
}

/// The name inside whose alias this is, if it is one; RocketMQ's limit on names holds for aliases too.
pub(crate) fn of_alias(shown: &str) -> Option<String> {
    if shown.len() > TOPIC_CHARS_MAX {
        return None;
    }
    braid_crossing::names::of_rocketmq_alias(shown)
}

/// A topic's name as RocketMQ's clients see it in lists: `None` when its alias is too long to be used.
pub(crate) fn listed(inside: &str) -> Option<Cow<'_, str>> {
    Some(shown(inside)).filter(|shown| matches!(shown, Cow::Borrowed(_)) || shown.len() <= TOPIC_CHARS_MAX)
}

/// Checks a topic's name, with Apache's sentences.
///
/// # Errors
/// The sentence.
pub(crate) fn check_topic(name: &str) -> Result<(), String> {
    let of_a_group = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    if name.trim().is_empty() {
        Err("The specified topic is blank.".to_owned())
    } else if !name.bytes().all(is_legal) {
        Err(format!(
            "The specified topic: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ))
    } else if of_a_group && name.len() > RETRY_TOPIC_CHARS_MAX {
        Err(format!(
            "The specified topic is DLQ or Retry topic: {name}, and it's longer than topic max length: \
             {RETRY_TOPIC_CHARS_MAX}"
        ))
    } else if !of_a_group && name.len() > TOPIC_CHARS_MAX {
        Err(format!("The specified topic: {name}, is longer than topic max length: {TOPIC_CHARS_MAX}"))
    } else {
        Ok(())
    }
}

/// Checks a group's name, with Apache's sentences; `chars_max` depends on who asks.
///
/// # Errors
/// The sentence.
pub(crate) fn check_group(name: &str, chars_max: usize) -> Result<(), String> {
    if name.trim().is_empty() {
        Err("The specified group is blank.".to_owned())
    } else if !name.bytes().all(is_legal) {
        Err(format!(
            "The specified group: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ))
    } else if name.len() > chars_max {
        Err(format!("The specified group: {name}, is longer than group max length: {chars_max}"))
    } else {
        Ok(())
    }
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-')
}

/// Whether clients may send to a topic of that name at all.
pub(crate) fn may_send_to(topic: &str) -> bool {
    !NOT_SENDABLE.contains(&topic) && !topic.starts_with(OWN_PREFIX)
}

/// Whether a topic is one of the system's, which users neither make nor delete.
pub(crate) fn is_system_topic(topic: &str) -> bool {
    SYSTEM.contains(&topic) || topic.starts_with("rmq_sys_") || topic.starts_with(OWN_PREFIX)
}

/// Whether a group is one of the system's.
pub(crate) fn is_system_group(group: &str) -> bool {
    SYSTEM_GROUPS.contains(&group) || group.starts_with("CID_RMQ_SYS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_checked_at_their_bounds() {
        let long = |count| "a".repeat(count);
        assert_eq!(check_topic("Orders_1-%|"), Ok(()));
        assert_eq!(check_topic(&long(TOPIC_CHARS_MAX)), Ok(()));
        assert!(check_topic(&long(TOPIC_CHARS_MAX + 1)).is_err_and(|text| text.contains("longer")));
        assert_eq!(check_topic(&format!("{RETRY_PREFIX}{}", long(248))), Ok(()));
        assert!(check_topic(&format!("{RETRY_PREFIX}{}", long(249))).is_err());
        for (name, part) in
            [("", "blank"), (" ", "blank"), ("a b", "illegal"), ("é", "illegal"), ("a/b", "illegal")]
        {
            assert!(check_topic(name).is_err_and(|text| text.contains(part)), "{name}");
        }
        for max in [GROUP_CHARS_MAX, FIRST_USE_GROUP_CHARS_MAX] {
            assert_eq!(check_group(&long(max), max), Ok(()));
            assert!(check_group(&long(max + 1), max).is_err_and(|text| text.ends_with(&max.to_string())));
        }
        assert!(check_group("a b", GROUP_CHARS_MAX).is_err_and(|text| text.contains("illegal")));
        assert!(!may_send_to(DELAY_TOPIC) && !may_send_to("BRAID_SYS_STATE") && may_send_to(TEMPLATE_TOPIC));
    }
}
