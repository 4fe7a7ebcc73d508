//! Random operations on index and list at once.

use braid_io::Rng;
use braid_io::sim::SimDisk;
use proptest::prelude::*;

use super::super::Limits;
use super::{Log, TINY, Twist};

#[derive(Debug, Clone)]
enum Op {
    Insert {
        queue: u32,
        twist: Twist,
        times: u32,
    },
    Flush,
    Checkpoint,
    /// To the boundary at this part of the log.
    Trim(f64),
    Drop(u32),
    /// A queue, at this part of its offsets.
    Cut(u32, f64),
    Reopen,
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    let twist = prop_oneof![
        8 => Just(Twist::Plain),
        2 => (2..300u32).prop_map(Twist::Span),
        1 => Just(Twist::Span(1 << 31)),
        1 => Just(Twist::Timed),
        1 => (1..5u64).prop_map(Twist::Gap),
    ];
    prop_oneof![
        12 => (0..8u32, twist, 1..12u32).prop_map(|(queue, twist, times)| Op::Insert { queue, twist, times }),
        2 => Just(Op::Flush),
        3 => Just(Op::Checkpoint),
        1 => (0.0..1.0).prop_map(Op::Trim),
        1 => (0..8u32).prop_map(Op::Drop),
        1 => (0..8u32, 0.0..1.1).prop_map(|(queue, part)| Op::Cut(queue, part)),
        1 => Just(Op::Reopen),
        1 => Just(Op::Check),
    ]
}

fn run(ops: &[Op], limits: Limits) {
    let disk = SimDisk::new(1);
    let mut rng = Rng::new(ops.len() as u64);
    let mut log = Log::default();
    let (mut index, _) = log.open(&disk, limits).unwrap();
    for op in ops {
        match op {
            Op::Insert { queue, twist, times } => {
                for _ in 0..*times {
                    let queue = log.queue(*queue);
                    index.insert(queue, log.append(queue, *twist));
                }
            }
            Op::Flush => log.flushed = log.end,
            Op::Checkpoint => index.checkpoint(log.flushed).unwrap(),
            Op::Trim(part) => {
                // Retention follows the flushed end, and never goes back.
                let wanted = (log.flushed as f64 * part) as u64;
                let boundary = log.boundaries.iter().rev().find(|boundary| **boundary <= wanted);
                log.start = log.start.max(boundary.copied().unwrap_or(0));
                index.trim(log.start).unwrap();
            }
            Op::Drop(queue) => {
                let topic = log.queue(*queue).topic;
                log.drop_topic(topic);
                index.drop_topic(topic);
            }
            Op::Cut(queue, part) => {
                let queue = log.queue(*queue);
                let Some(&next) = log.next.get(&queue) else { continue };
                let start = ((next as f64 * part) as u64).min(next);
                // A queue does not begin in a gap: the offset after it was never given.
                let mut left =
                    log.records.iter().filter(|(of, entry)| *of == queue && entry.next_offset() > start);
                let start = left.next().map_or(start, |(_, entry)| start.max(entry.first_offset));
                index.raise_min(queue, start);
                let before = log.starts.entry(queue).or_insert(0);
                *before = start.max(*before);
            }
            Op::Reopen => {
                drop(index);
                index = log.open(&disk, limits).unwrap().0;
            }
            Op::Check => log.check(&index, &mut rng),
        }
    }
    log.check(&index, &mut rng);
    index.checkpoint(log.end).unwrap();
    log.check(&index, &mut rng);
    let (index, covered) = log.open(&disk, limits).unwrap();
    assert_eq!(covered, log.end);
    log.check(&index, &mut rng);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_with_tiny_bounds_agrees_with_a_list(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops, TINY);
    }

    #[test]
    fn an_index_that_holds_all_in_memory_agrees_with_a_list(ops in prop::collection::vec(op(), 1..60)) {
        run(&ops, Limits::default());
    }
}
