//! What the broker and the store are told of RocketMQ's names: retry and dead-letter topics, the delay topic, system
//! topics, property names, and how an index is derived from a message.

use braid_broker::{GroupConfig, Policy, PropertyNames, TopicConfig};
use braid_record::{RecordView, id, property};
use braid_store::Facts;

use crate::names::{
    BENCHMARK_TOPIC, DELAY_TOPIC, DLQ_PREFIX, HALF_TOPIC, OP_TOPIC, RETRY_PREFIX, SELF_TEST_TOPIC,
    SYSTEM_GROUPS, TEMPLATE_TOPIC,
};
use crate::options::EdgeOptions;

/// A property that names a delay level.
pub(crate) const DELAY: &str = "DELAY";
/// A property that says when a message is due, in seconds from now.
pub(crate) const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// The same in milliseconds.
pub(crate) const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// The same as a moment.
pub(crate) const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";

/// Queues of the topic that benchmarks use.
const BENCHMARK_QUEUES: u32 = 1_024;

/// The policy that [`Broker::open`](braid_broker::Broker::open) needs for RocketMQ. `delay_levels` is the number of levels
/// in force.
pub fn policy(options: &EdgeOptions, delay_levels: u32) -> Policy {
    Policy {
        is_reserved: crate::names::is_system_topic,
        twin_of: |new, exists| braid_crossing::names::conflict(new, exists),
        retry_topic: |group| format!("{RETRY_PREFIX}{group}"),
        dead_letter_topic: |group| format!("{DLQ_PREFIX}{group}"),
        delay_topic: DELAY_TOPIC.into(),
        discarded_topics: vec![HALF_TOPIC.into(), OP_TOPIC.into()],
        system_topics: system_topics(options, delay_levels),
        system_groups: SYSTEM_GROUPS.into_iter().map(GroupConfig::new).collect(),
        properties: PropertyNames {
            delay_level: DELAY,
            real_topic: "REAL_TOPIC",
            real_queue_id: "REAL_QID",
            retry_topic: "RETRY_TOPIC",
            origin_message_id: "ORIGIN_MESSAGE_ID",
            wait: "WAIT",
            dropped_when_delayed: &[TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS],
            dropped_when_delivered: &[DELAY, TIMER_DELIVER_MS, TIMER_DELAY_SEC],
        },
    }
}

/// Apache's topics of a new broker, those whose function we have.
fn system_topics(options: &EdgeOptions, delay_levels: u32) -> Vec<TopicConfig> {
    let template = |name: &str, queues| TopicConfig { inherited: true, ..TopicConfig::new(name, queues) };
    let mut topics = vec![
        TopicConfig::new(DELAY_TOPIC, delay_levels),
        TopicConfig::new(BENCHMARK_TOPIC, BENCHMARK_QUEUES),
        template(&options.cluster_name, 16),
        TopicConfig::new(SELF_TEST_TOPIC, 1),
    ];
    if options.broker_name != options.cluster_name {
        topics.push(template(&options.broker_name, 1));
    }
    if options.auto_create_topic {
        topics.push(template(TEMPLATE_TOPIC, options.default_topic_queue_nums));
    }
    topics
}

/// Derives index word and keys of RocketMQ's own messages: the payload kind `None`.
///
/// The index word is the tag hash; in the delay topic it is the level, so that a changed table of delays changes when
/// messages are due.
pub fn derive(record: &RecordView<'_>) -> Facts {
    let index_word = if record.topic() == DELAY_TOPIC {
        i64::from(record.queue_id()) + 1
    } else {
        record.property(property::TAGS).map_or(0, id::tags_code)
    };
    let mut keys: Vec<String> = record.property(property::UNIQ_KEY).map(str::to_owned).into_iter().collect();
    for key in record.property(property::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty()) {
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    Facts { index_word, keys, ..Facts::default() }
}

#[cfg(test)]
mod tests {
    use braid_record::Draft;

    use super::*;

    fn facts(topic: &str, queue_id: u32, properties: &[u8]) -> Facts {
        let host = "127.0.0.1:1".parse().unwrap();
        let draft = Draft {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties,
            kind: None,
            targets: &[],
            group_goes_on: false,
            batch: None,
        };
        let mut bytes = Vec::new();
        braid_record::encode(&draft, &mut bytes).unwrap();
        derive(&RecordView::parse(&bytes).unwrap())
    }

    #[test]
    fn tags_and_keys_are_derived_and_a_delayed_message_has_its_level() {
        let properties = b"UNIQ_KEY\x01U\x02TAGS\x01TagA\x02KEYS\x01k1  k2 U\x02";
        assert_eq!(
            facts("Gold", 3, properties),
            Facts {
                index_word: 2_598_919,
                keys: vec!["U".into(), "k1".into(), "k2".into()],
                ..Facts::default()
            }
        );
        assert_eq!(facts("Gold", 3, b""), Facts::default());
        assert_eq!(facts(DELAY_TOPIC, 3, b"TAGS\x01TagA\x02").index_word, 4);
    }

    #[test]
    fn the_template_is_there_only_when_topics_are_made_on_first_use() {
        let has = |auto_create_topic| {
            let options = EdgeOptions { auto_create_topic, ..EdgeOptions::default() };
            policy(&options, 18).system_topics.iter().any(|topic| topic.name == TEMPLATE_TOPIC)
        };
        assert!(has(true) && !has(false));
    }
}
