//! Bounds and times, each with its default.

use crate::classic::ClassicOptions;
use crate::delay::DelayTable;

/// What the broker is told when it is opened.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// How long each delay level waits. Default: RocketMQ's 18 levels, 1 s to 2 h.
    pub delay: DelayTable,
    /// Most delayed messages that one turn delivers. Default 256.
    pub delay_batch_max: usize,
    /// True when a topic is made on first use, from a template that allows it. Default true.
    pub auto_create_topics: bool,
    /// True when a group is made on first use. Default true.
    pub auto_create_groups: bool,
    /// Milliseconds without a heartbeat after which a member is gone. Default 120,000.
    pub member_life_ms: u64,
    /// Milliseconds that a queue lock holds. Default 60,000.
    pub lock_life_ms: u64,
    /// Most milliseconds between a cursor's change and its record. Default 500.
    pub cursor_flush_ms: u64,
    /// Milliseconds between two looks at what topics with a retention of their own may give up. Default 60,000.
    pub retention_interval_ms: u64,
    /// Most parked readers of one queue. Default 16,384.
    pub waiters_per_queue_max: usize,
    /// Most parked readers. Default 131,072.
    pub waiters_max: usize,
    /// Most topics, those of the system included. Default 100,000.
    pub topics_max: usize,
    /// Most groups. Default 100,000.
    pub groups_max: usize,
    /// Most members (producers and consumers are counted apart) of one group. Default 10,000.
    pub members_per_group_max: usize,
    /// Most subscriptions of one group. Default 1,000.
    pub subscriptions_per_group_max: usize,
    /// Classic groups.
    pub classic: ClassicOptions,
    /// Most queues of one topic. Default 65,536; a target slot holds no more than 262,143.
    pub queues_per_topic_max: u32,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            delay: DelayTable::default(),
            delay_batch_max: 256,
            auto_create_topics: true,
            auto_create_groups: true,
            member_life_ms: 120_000,
            lock_life_ms: 60_000,
            cursor_flush_ms: 500,
            retention_interval_ms: 60_000,
            waiters_per_queue_max: 16_384,
            waiters_max: 131_072,
            topics_max: 100_000,
            groups_max: 100_000,
            members_per_group_max: 10_000,
            subscriptions_per_group_max: 1_000,
            classic: ClassicOptions::default(),
            queues_per_topic_max: 65_536,
        }
    }
}
