//! Medians, spreads and percentiles.

use serde::Serialize;

/// A median with the extremes it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` of none, or when one is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, min, max })
    }
}

/// By how much two values differ, as a part of the smaller one.
pub fn difference(one: f64, other: f64) -> f64 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    if low > 0.0 { high / low - 1.0 } else { f64::INFINITY }
}

/// Steps in each doubling of the value: a percentile is at most 1/64 too high.
const STEPS_BITS: u32 = 6;
const STEPS: u64 = 1 << STEPS_BITS;
const BUCKETS: usize = ((64 - STEPS_BITS as usize) + 1) << STEPS_BITS;

/// Counts of nanoseconds in steps that grow with the value.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts `count` values of `nanoseconds`.
    pub fn add(&mut self, nanoseconds: u64, count: u64) {
        self.counts[bucket(nanoseconds)] += count;
        self.total += count;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The value that this part (0 to 1) of all values does not exceed, in nanoseconds, at most 1/64 too high; 0 of no values.
    pub fn percentile(&self, part: f64) -> u64 {
        let rank = ((self.total as f64 * part).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(bucket);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let doubling = value.ilog2() - STEPS_BITS;
    let step = (value >> doubling) - STEPS;
    ((u64::from(doubling + 1) << STEPS_BITS) + step) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (doubling, step) = (bucket >> STEPS_BITS, bucket & (STEPS - 1));
    match doubling {
        0 => step,
        _ => (STEPS + step).wrapping_shl(doubling as u32 - 1) + ((1 << (doubling - 1)) - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![3.0], Some((3.0, 3.0, 3.0))),
            (vec![9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0))),
            (vec![4.0, 1.0, 2.0, 8.0], Some((3.0, 1.0, 8.0))),
            (vec![], None),
            (vec![1.0, f64::NAN], None),
        ] {
            let expected = expected.map(|(median, min, max)| Spread { median, min, max });
            assert_eq!(Spread::of(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn differences_are_of_the_smaller() {
        assert_eq!(difference(2.0, 3.0), 0.5);
        assert_eq!(difference(3.0, 2.0), 0.5);
        assert_eq!(difference(7.0, 7.0), 0.0);
        assert_eq!(difference(0.0, 1.0), f64::INFINITY);
    }

    #[test]
    fn a_bucket_holds_what_it_says() {
        for shift in 0..63 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1, (1 << shift) / 3 * 4] {
                let high = upper(bucket(value));
                assert!(high >= value && high - value <= value / STEPS, "{value}: {high}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn percentiles_count() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), 0);
        histogram.add(10, 98);
        histogram.add(50, 1);
        histogram.add(60, 1);
        assert_eq!([0.0, 0.5, 0.98, 0.99, 1.0].map(|part| histogram.percentile(part)), [10, 10, 10, 50, 60]);
        histogram.clear();
        assert_eq!(histogram.percentile(1.0), 0);
    }
}
