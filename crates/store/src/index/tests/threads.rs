//! One thread inserts, one keeps the index up, two read.

use std::sync::atomic::{AtomicU64, Ordering};

use braid_io::Rng;
use braid_io::sim::SimDisk;

use super::{TINY, fresh, key, plain};

#[test]
fn readers_see_right_entries_while_all_moves() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    let rounds = 3000_u64;
    let queues = 9;
    let (done, start) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..rounds {
                (0..queues).for_each(|q| index.insert(key(q, 0), plain(n, (n * 9 + u64::from(q)) * 100)));
                done.store(n + 1, Ordering::Release);
            }
        });
        scope.spawn(|| {
            loop {
                let n = done.load(Ordering::Acquire);
                index.checkpoint(n * 900).unwrap();
                let from = n.saturating_sub(200);
                index.trim(from * 900).unwrap();
                start.store(from, Ordering::Release);
                if n == rounds {
                    return;
                }
            }
        });
        for seed in 0..2 {
            let (index, done, start) = (&index, &done, &start);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                loop {
                    let n = done.load(Ordering::Acquire);
                    if n > 0 {
                        let (queue, offset) = (rng.below(queues.into()) as u32, rng.below(n));
                        let found = index.lookup(key(queue, 0), offset, 20, true).unwrap().unwrap();
                        for (entry, at) in found.iter().zip(offset..) {
                            // Trimming may go on between two blocks: then offsets are skipped, never wrong.
                            assert!(entry.first_offset >= at);
                            assert_eq!(
                                *entry,
                                plain(entry.first_offset, (entry.first_offset * 9 + u64::from(queue)) * 100)
                            );
                        }
                        // Nothing that trimming leaves alone is ever missing.
                        assert!(
                            !found.is_empty() || offset < done.load(Ordering::Acquire).saturating_sub(200)
                        );
                        let _ = start.load(Ordering::Acquire);
                    }
                    if n == rounds {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(index.offsets(key(0, 0)).unwrap().max, rounds);
}
