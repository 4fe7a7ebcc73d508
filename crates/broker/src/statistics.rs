//! Counters for administrators: totals, and rates over the last 10 s, 60 s and 600 s.
//!
//! Counting is an atomic addition; rates are computed from samples that [`Broker::turn`] takes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::broker::Broker;
use crate::sync::{lock, read, write};

/// Milliseconds between two samples.
pub(crate) const SAMPLE_MS: u64 = 10_000;
/// Samples that are kept: those of 600 s and the one before.
const SAMPLES_MAX: usize = 61;
/// Most pairs of group and topic that are counted apart; others count in the totals only.
const PAIRS_MAX: usize = 20_000;

/// Messages and bytes since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Messages per second over the last 10, 60 and 600 seconds before the last sample (or since the first, when that is
/// less). Samples are 10 s apart.
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
pub struct Meter {
    messages: AtomicU64,
    bytes: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    messages: u64,
}

impl Meter {
    pub(crate) fn count(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        Totals { messages: self.messages.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Rates.
    pub fn rates(&self) -> Rates {
        let samples = lock(&self.samples);
        let rate = |window_ms: u64| -> f64 {
            let Some(last) = samples.back() else { return 0.0 };
            let from_ms = last.at_ms.saturating_sub(window_ms);
            let Some(first) = samples.iter().find(|sample| sample.at_ms >= from_ms) else { return 0.0 };
            let ms = last.at_ms - first.at_ms;
            if ms == 0 { 0.0 } else { (last.messages - first.messages) as f64 * 1000.0 / ms as f64 }
        };
        Rates { last_10s: rate(10_000), last_60s: rate(60_000), last_600s: rate(600_000) }
    }

    fn sample(&self, at_ms: u64) {
        let messages = self.messages.load(Ordering::Relaxed);
        let mut samples = lock(&self.samples);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { at_ms, messages });
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Statistics {
    pub(crate) stored: Meter,
    fetched: Meter,
    /// By group, then by topic.
    fetched_by: RwLock<HashMap<String, HashMap<String, Arc<Meter>>>>,
}

impl Statistics {
    /// Everything stored (delayed messages and messages that came back included).
    pub fn stored(&self) -> &Meter {
        &self.stored
    }

    /// Everything handed to consumers.
    pub fn fetched(&self) -> &Meter {
        &self.fetched
    }

    /// What a group fetched of a topic.
    pub fn fetched_by(&self, group: &str, topic: &str) -> (Totals, Rates) {
        self.pair(group, topic).map(|meter| (meter.totals(), meter.rates())).unwrap_or_default()
    }

    /// Counts what a group was given of a topic: called by the edge with each answer.
    pub fn count_fetched(&self, group: &str, topic: &str, messages: u64, bytes: u64) {
        self.fetched.count(messages, bytes);
        if let Some(meter) = self.pair(group, topic) {
            meter.count(messages, bytes);
            return;
        }
        let mut groups = write(&self.fetched_by);
        if groups.values().map(HashMap::len).sum::<usize>() < PAIRS_MAX {
            let topics = groups.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().count(messages, bytes);
        }
    }

    fn pair(&self, group: &str, topic: &str) -> Option<Arc<Meter>> {
        read(&self.fetched_by).get(group)?.get(topic).cloned()
    }

    fn sample(&self, at_ms: u64) {
        self.stored.sample(at_ms);
        self.fetched.sample(at_ms);
        for meter in read(&self.fetched_by).values().flat_map(HashMap::values) {
            meter.sample(at_ms);
        }
    }
}

impl Broker {
    /// The counters.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What was stored in a topic's own queues since the start.
    pub fn stored_in(&self, topic: &str) -> (Totals, Rates) {
        self.topic(topic).map(|topic| (topic.stored.totals(), topic.stored.rates())).unwrap_or_default()
    }

    /// Takes a sample of every counter.
    pub(crate) fn sample(&self, at_ms: u64) {
        self.statistics.sample(at_ms);
        self.topics().iter().filter(|topic| topic.stored.totals() != Totals::default()).for_each(|topic| {
            topic.stored.sample(at_ms);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_of_samples() {
        let meter = Meter::default();
        assert_eq!(meter.rates(), Rates::default());
        meter.sample(0);
        assert_eq!(meter.rates(), Rates::default(), "one sample is no time");
        for at in 1..=100 {
            meter.count(if at > 99 { 500 } else { 100 }, 1);
            meter.sample(at * SAMPLE_MS);
        }
        let rates = meter.rates();
        assert_eq!((rates.last_10s, rates.last_60s), (50.0, 1000.0 / 60.0));
        assert_eq!(rates.last_600s, (59.0 * 100.0 + 500.0) / 600.0);
        assert_eq!(lock(&meter.samples).len(), SAMPLES_MAX);
        assert_eq!(meter.totals(), Totals { messages: 99 * 100 + 500, bytes: 100 });
    }

    #[test]
    fn pairs_are_counted_up_to_their_bound() {
        let statistics = Statistics::default();
        for number in 0..=PAIRS_MAX {
            statistics.count_fetched("g", &number.to_string(), 2, 10);
        }
        assert_eq!(statistics.fetched().totals().messages, 2 * (PAIRS_MAX as u64 + 1));
        assert_eq!(statistics.fetched_by("g", "0").0, Totals { messages: 2, bytes: 10 });
        assert_eq!(statistics.fetched_by("g", &PAIRS_MAX.to_string()).0, Totals::default());
    }
}
