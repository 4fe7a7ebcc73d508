//! Counters for administrators: totals, and rates over the last 10 s, 60 s and 600 s.

use crate::broker::Broker;

/// Messages and bytes since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Messages per second over the last 10, 60 and 600 seconds (or since the start, when that is less).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Over 10 s.
    pub last_10s: f64,
    /// Over 60 s.
    pub last_60s: f64,
    /// Over 600 s.
    pub last_600s: f64,
}

/// One counted thing.
#[derive(Debug, Default)]
pub struct Meter {}

impl Meter {
    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        unimplemented!()
    }

    /// Rates.
    pub fn rates(&self) -> Rates {
        unimplemented!()
    }
}

/// All counters.
#[derive(Debug)]
pub struct Statistics {}

impl Statistics {
    /// Everything stored (delayed messages and messages that came back included).
    pub fn stored(&self) -> &Meter {
        unimplemented!()
    }

    /// Everything handed to consumers.
    pub fn fetched(&self) -> &Meter {
        unimplemented!()
    }

    /// What was stored in a topic.
    pub fn stored_in(&self, _topic: &str) -> (Totals, Rates) {
        unimplemented!()
    }

    /// What a group fetched of a topic.
    pub fn fetched_by(&self, _group: &str, _topic: &str) -> (Totals, Rates) {
        unimplemented!()
    }

    /// Counts what a group was given of a topic: called by the edge with each answer.
    pub fn count_fetched(&self, _group: &str, _topic: &str, _messages: u64, _bytes: u64) {
        unimplemented!()
    }
}

impl Broker {
    /// The counters.
    pub fn statistics(&self) -> &Statistics {
        unimplemented!()
    }
}
