//! What does an entry of the queue index cost when 1, 10,000 or 100,000 queues take turns? And a key?
//!
//! `cargo run --release -p braid-store --example index_cost [DIR]` inserts in memory and lets eviction write to DIR
//! (default: a directory of the system's temporary one), as a running store does between two checkpoints; nothing is
//! synced inside the measured part, as nothing is in a running store's dispatch. Each figure is the median of rounds,
//! beside the cost of the same loop without an index: the price of making the entries. Beside the time that passed
//! stands the time that the thread had a processor, as the kernel counts it, for machines that do other work too.

// The index is no public API; the program takes the same files as the library.
#[allow(dead_code, unused_imports, reason = "the program uses a part of the index")]
#[path = "../src/index/mod.rs"]
mod index;
#[allow(dead_code, unused_imports, reason = "the program uses a part of the index")]
#[path = "../src/keys/mod.rs"]
mod keys;

mod catalog {
    pub(crate) use braid_store::{QueueKey, TopicNumber};
}

mod read {
    pub(crate) use braid_store::QueueOffsets;
}

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use braid_io::OsDisk;
use catalog::{QueueKey, TopicNumber};
use index::{Entry, QueueIndex};
use keys::KeyIndex;

const ENTRIES: u64 = 4_000_000;
const ROUNDS: usize = 5;
const RECORD_BYTES: u64 = 1024;

fn main() -> std::io::Result<()> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("braid-index-cost-{}", std::process::id()));
    println!("{ENTRIES} entries a round, {ROUNDS} rounds, no sync; ns per entry");
    println!("{:24}{:>8} {:>8}", "", "passed", "on cpu");
    let bare = || {
        time(|| {
            each(1, |queue, entry| {
                black_box((queue, entry));
            });
        })
    };
    print("without an index", median(|| Ok(bare()))?);
    for queues in [1, 10_000, 100_000] {
        print(&format!("{queues} queues"), median(|| queue_round(&dir.join("queues"), queues))?);
    }
    print("one key", median(|| key_round(&dir.join("keys")))?);
    let idle = idle_queue_bytes(&dir.join("idle"))?;
    println!("an idle queue with 10 entries takes {idle} bytes of memory");
    std::fs::remove_dir_all(&dir)
}

fn queue_round(dir: &Path, queues: u32) -> std::io::Result<Took> {
    let (index, _) = QueueIndex::open(Arc::new(OsDisk), dir, 0, u64::MAX)?;
    let took = time(|| each(queues, |queue, entry| index.insert(queue, entry)));
    let last = index.lookup(queue_of(0), ENTRIES / u64::from(queues) - 1, 1, true)?;
    assert!(last.is_some_and(|entries| entries.len() == 1), "the newest entry is found");
    std::fs::remove_dir_all(dir)?;
    Ok(took)
}

fn key_round(dir: &Path) -> std::io::Result<Took> {
    let (index, _) = KeyIndex::open(Arc::new(OsDisk), dir, 0, u64::MAX)?;
    let mut took = Took::default();
    let mut hash = 1_u64;
    // A checkpoint, which another thread makes, keeps memory short.
    for checkpoint in 1..=ENTRIES / 100_000 {
        let from = (checkpoint - 1) * 100_000;
        let part = time(|| {
            for n in from..from + 100_000 {
                hash = hash.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                index.insert(&[(hash, n * RECORD_BYTES)]);
            }
        });
        took = Took { passed: took.passed + part.passed, on_cpu: took.on_cpu + part.on_cpu };
        index.checkpoint(checkpoint * 100_000 * RECORD_BYTES)?;
    }
    std::fs::remove_dir_all(dir)?;
    Ok(took)
}

fn idle_queue_bytes(dir: &Path) -> std::io::Result<u64> {
    let queues = 100_000;
    let (index, _) = QueueIndex::open(Arc::new(OsDisk), dir, 0, u64::MAX)?;
    for n in 0..10 * queues {
        index.insert(queue_of((n % queues) as u32), entry_of(n / queues, n));
    }
    index.checkpoint(10 * queues * RECORD_BYTES)?;
    Ok(index.memory_bytes() / queues)
}

fn each(queues: u32, mut take: impl FnMut(QueueKey, Entry)) {
    for n in 0..ENTRIES {
        take(queue_of((n % u64::from(queues)) as u32), entry_of(n / u64::from(queues), n));
    }
}

fn queue_of(n: u32) -> QueueKey {
    QueueKey { topic: TopicNumber(n / 8), queue_id: n % 8 }
}

fn entry_of(offset: u64, n: u64) -> Entry {
    Entry {
        first_offset: offset,
        count: 1,
        position: n * RECORD_BYTES,
        size: RECORD_BYTES as u32,
        word: n as i64,
        newest_time: None,
    }
}

/// What a round took.
#[derive(Debug, Default, Clone, Copy)]
struct Took {
    passed: Duration,
    on_cpu: Duration,
}

fn time(work: impl FnOnce()) -> Took {
    let (start, on_cpu) = (Instant::now(), time_on_cpu());
    work();
    Took { passed: start.elapsed(), on_cpu: time_on_cpu().saturating_sub(on_cpu) }
}

/// How long this thread, the only one, had a processor; zero where the kernel does not tell.
fn time_on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn median(mut round: impl FnMut() -> std::io::Result<Took>) -> std::io::Result<Took> {
    let mut times = (0..ROUNDS).map(|_| round()).collect::<std::io::Result<Vec<_>>>()?;
    times.sort_unstable_by_key(|took| if took.on_cpu.is_zero() { took.passed } else { took.on_cpu });
    Ok(times[ROUNDS / 2])
}

fn print(what: &str, took: Took) {
    let nanos = |took: Duration| took.as_nanos() as f64 / ENTRIES as f64;
    println!("{what:24}{:8.1} {:8.1}", nanos(took.passed), nanos(took.on_cpu));
}
