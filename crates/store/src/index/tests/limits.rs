//! Memory and disk stay inside their bounds.

use std::sync::Arc;

use braid_io::sim::SimDisk;

use super::super::{Entry, Limits, QueueIndex, block};
use super::{Log, TINY, Twist, dir, files, fresh, key, plain};

/// Bytes per idle queue with a few entries that the store promises.
const QUEUE_BYTES_MAX: u64 = 400;

#[test]
fn a_hundred_thousand_queues_of_ten_entries_take_400_bytes_each() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, Limits::default());
    let queues = 100_000;
    let mut position = 0;
    for offset in 0..10 {
        for queue in 0..queues {
            index.insert(key(queue / 8, queue % 8), plain(offset, position));
            position += 100;
        }
    }
    let before = index.memory_bytes() / u64::from(queues);
    index.checkpoint(position).unwrap();
    let after = index.memory_bytes() / u64::from(queues);
    println!("bytes per queue: {before} before the checkpoint, {after} after it");
    assert!(before <= QUEUE_BYTES_MAX, "{before} bytes per queue");
    assert!(after <= QUEUE_BYTES_MAX, "{after} bytes per queue after a checkpoint");
}

#[test]
fn tails_and_blocks_in_memory_stay_inside_their_bounds() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    let mut log = Log::default();
    for n in 0..20_000_u32 {
        let queue = key(n % 7, n % 3);
        index.insert(queue, log.append(queue, Twist::Plain));
        assert!(tail_bytes(&index) <= TINY.tail_bytes_max, "{} bytes", tail_bytes(&index));
    }
    // What the checkpoint has not made durable is on disk nevertheless; only the write buffer is in memory.
    let bound = TINY.tail_bytes_max + TINY.cache_bytes_max + 8 * TINY.write_bytes;
    let directory = index.queue_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert!((index.memory_bytes() as usize) < bound + 2 * directory + 64 * 1000, "{}", index.memory_bytes());
    log.check(&index, &mut braid_io::Rng::new(1));
}

fn tail_bytes(index: &QueueIndex) -> usize {
    index.tail_bytes.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn counted_bytes_come_back_to_nothing_when_all_topics_are_dropped() {
    let disk = SimDisk::new(1);
    let mut log = Log::default();
    let (index, _) = log.open(&disk, TINY).unwrap();
    for n in 0..500 {
        let queue = log.queue(n % 8);
        let twist = if n % 9 == 0 { Twist::Span(2) } else { Twist::Plain };
        index.insert(queue, log.append(queue, twist));
        if n % 50 == 0 {
            index.checkpoint(log.end).unwrap();
        }
    }
    index.trim(log.end / 2).unwrap();
    (0..8).for_each(|n| index.drop_topic(log.queue(n).topic));
    assert_eq!(tail_bytes(&index), 0);
    assert_eq!(index.queue_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(index.journal.writer().files.values().all(|count| count.live == 0));
    index.checkpoint(log.end).unwrap();
    assert_eq!(files(&disk).len(), 1, "files without anything live are removed");
}

/// One entry and one checkpoint at a time: partial extents are replaced, and replaced ones do not pile up.
#[test]
fn many_checkpoints_of_a_slow_queue_leave_few_extents_and_little_on_disk() {
    let disk = SimDisk::new(1);
    let limits = Limits { file_bytes: 20_000, ..Limits::default() };
    let index = fresh(&disk, limits);
    let slow = key(1, 0);
    for n in 0..3000 {
        index.insert(slow, plain(n, n * 100));
        index.checkpoint((n + 1) * 100).unwrap();
        let extents = index.shard(slow).queues[&slow].extents.len();
        assert!(extents <= 4 + 10, "{extents} extents after {n} entries");
    }
    let bytes: u64 = files(&disk).iter().map(|(_, len)| len).sum();
    let live = 3000 * 20;
    assert!(bytes < 2 * live + 4 * limits.file_bytes, "{bytes} bytes on disk");
    assert!(files(&disk)[0].0 > format!("{:020}", 0), "the first files are gone");
    let (again, covered) =
        QueueIndex::open_with(std::sync::Arc::new(disk.clone()), &super::dir(), 0, u64::MAX, limits).unwrap();
    assert_eq!(covered, 300_000);
    assert_eq!(again.lookup(slow, 0, 5000, true).unwrap().unwrap().len(), 3000);
}

#[test]
fn a_queue_in_use_stays_in_memory_while_others_are_evicted() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    let mut log = Log::default();
    let hot = key(1, 0);
    for n in 0..2000 {
        for queue in [hot, key(2 + n % 100, 0)] {
            index.insert(queue, log.append(queue, Twist::Plain));
        }
    }
    let short = {
        let shard = index.shard(hot);
        shard.queues[&hot].extents.iter().filter(|extent| extent.used() < TINY.dense_entries_max).count()
    };
    // The first eviction finds all queues in use, and may take any.
    assert!(short <= 1, "its tail was evicted {short} times before it was full");
    log.check(&index, &mut braid_io::Rng::new(1));
}

/// Tails of queues in turn are evicted while they are short; merged, they cost less memory.
#[test]
fn short_extents_of_many_queues_are_merged() {
    let disk = SimDisk::new(1);
    let limits = Limits {
        tail_bytes_max: 100_000,
        file_bytes: 1 << 20,
        write_bytes: 1 << 16,
        short_extents_max: 4000,
        ..Limits::default()
    };
    let index = fresh(&disk, limits);
    let mut log = Log::default();
    let mut extents_most = 0;
    for n in 0..300_000_u32 {
        let queue = key(n % 500, 0);
        index.insert(queue, log.append(queue, Twist::Plain));
        if n % 10_000 == 0 {
            index.checkpoint(log.end).unwrap();
            extents_most = extents_most.max(index.journal.writer().extents);
        }
    }
    // Without merging, 300,000 entries lie in extents of about 10.
    assert!(extents_most < 15_000, "{extents_most} extents");
    log.check(&index, &mut braid_io::Rng::new(1));
    let (again, _) = log.open(&disk, limits).unwrap();
    log.check(&again, &mut braid_io::Rng::new(1));
}

/// Queues that are short in themselves are not copied again and again.
#[test]
fn extents_that_cannot_be_merged_are_left_alone() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    let mut log = Log::default();
    for n in 0..400 {
        let queue = key(n, 0);
        index.insert(queue, log.append(queue, Twist::Plain));
    }
    for n in 0..100 {
        let queue = key(1000, n % 2);
        index.insert(queue, log.append(queue, Twist::Plain));
        index.checkpoint(log.end).unwrap();
    }
    let first = files(&disk)[0].0.clone();
    let last = files(&disk).last().unwrap().0.clone();
    for n in 0..10 {
        let queue = key(1000, n % 2);
        index.insert(queue, log.append(queue, Twist::Plain));
        index.checkpoint(log.end).unwrap();
    }
    assert_eq!(files(&disk)[0].0, first, "no file was copied");
    assert!(files(&disk).last().unwrap().0.parse::<u64>().unwrap() <= last.parse::<u64>().unwrap() + 1);
    log.check(&index, &mut braid_io::Rng::new(1));
}

#[test]
fn a_checkpoint_that_has_nothing_to_say_writes_nothing() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    index.insert(key(1, 0), plain(0, 0));
    index.checkpoint(100).unwrap();
    let changes = disk.changes();
    index.checkpoint(100).unwrap();
    assert_eq!(disk.changes(), changes);
}

#[test]
fn files_below_the_log_start_are_removed() {
    let disk = SimDisk::new(1);
    let index = fresh(&disk, TINY);
    let mut log = Log::default();
    for n in 0..2000 {
        let queue = key(n % 5, 0);
        index.insert(queue, log.append(queue, Twist::Plain));
        if n % 100 == 99 {
            index.checkpoint(log.end).unwrap();
        }
    }
    let before = files(&disk).len();
    log.start = log.end - 3000;
    index.trim(log.start).unwrap();
    let after = files(&disk).len();
    assert!(after <= 3 && after < before / 2, "{before} files before, {after} after");
    log.check(&index, &mut braid_io::Rng::new(1));
}

/// What is asked by time and by size is found by what memory knows of each block: one or two are read.
#[test]
fn look_ups_by_time_and_size_read_few_blocks_of_a_long_queue() {
    const ENTRIES: u64 = 40_000;
    let disk = SimDisk::new(1);
    let queue = key(1, 0);
    let index = fresh(&disk, Limits::default());
    for n in 0..ENTRIES {
        let newest_time = (n % 1000 != 0).then_some((n * 7919 % ENTRIES) as i64);
        index.insert(queue, Entry { newest_time, ..plain(n, n * 100) });
    }
    index.checkpoint(ENTRIES * 100).unwrap();
    drop(index);
    let newest = (0..ENTRIES).find(|n| n * 7919 % ENTRIES == ENTRIES - 1).unwrap();
    type LookUp<'a> = (&'static str, &'a dyn Fn(&QueueIndex) -> u64, u64);
    let look_ups: [LookUp<'_>; 7] = [
        ("first newer", &|i| i.first_timed(queue, ENTRIES as i64 - 1).unwrap().unwrap().first_offset, newest),
        ("none newer", &|i| i.first_timed(queue, ENTRIES as i64).unwrap().map_or(7, |_| 0), 7),
        ("newest", &|i| i.newest_timed(queue).unwrap().unwrap().first_offset, newest),
        ("last untimed", &|i| i.last_untimed(queue).unwrap().unwrap().first_offset, ENTRIES - 1000),
        ("bytes", &|i| i.bytes(queue).unwrap(), ENTRIES * 100),
        ("offset of size", &|i| i.offset_of_size(queue, 1_234_567).unwrap(), ENTRIES - 12_345),
        ("first at", &|i| i.first_at(queue, 1_234_567).unwrap().unwrap(), 12_346),
    ];
    for (what, look_up, expected) in look_ups {
        let (index, _) =
            QueueIndex::open_with(Arc::new(disk.clone()), &dir(), 0, u64::MAX, Limits::default()).unwrap();
        assert_eq!(look_up(&index), expected, "{what}");
        let read = index.journal.cache.bytes();
        assert!(read <= 3 * block::BLOCK_BYTES_MAX, "{what}: {read} bytes were read");
    }
}
