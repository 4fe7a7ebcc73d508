//! What administrators ask: mqadmin, the Dashboard, exporters.

pub(crate) mod broker;
pub(crate) mod groups;
pub(crate) mod reset;
pub(crate) mod topics;

use braid_broker::DataVersion;
use braid_wire_rocketmq::body;

/// How often a table changed, in RocketMQ's words.
fn data_version(version: DataVersion) -> body::DataVersion {
    body::DataVersion { counter: version.counter as i64, state_version: 0, timestamp: version.timestamp_ms }
}

/// One page of a table that is asked for in pieces; everything when no page is named.
fn page<T>(all: Vec<T>, first: Option<i32>, count: Option<i32>) -> Vec<T> {
    let first = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(0);
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    all.into_iter().skip(first).take(count.unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn pages_cover_a_table() {
        let all = || vec![1, 2, 3, 4, 5];
        assert_eq!(page(all(), None, None), all());
        assert_eq!(page(all(), Some(0), Some(2)), [1, 2]);
        assert_eq!(page(all(), Some(4), Some(2)), [5]);
        assert_eq!(page(all(), Some(5), Some(2)), [0; 0]);
        assert_eq!(page(all(), Some(-1), Some(-1)), all());
    }
}
