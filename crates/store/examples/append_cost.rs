//! What does the append section cost for a plain message, and what does an idempotent producer's batch add?
//!
//! `cargo run --release -p braid-store --example append_cost [DIR]` appends groups that were encoded before, in rounds
//! with a write turn (no sync) behind each that is not measured. DIR (default: a directory of the system's temporary
//! one) gets a log of some GiB. Each figure is nanoseconds of the round that a tenth of all rounds beat, since machines do
//! other work too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use braid_io::{OsDisk, SystemClock};
use braid_record::{Draft, RecordView};
use braid_store::{Facts, FlushMode, GroupBuilder, NewRecord, ProducerFacts, Store, StoreOptions, TopicInfo};

/// Appends between two write turns.
const BURST: usize = 64;
const BURSTS: usize = 4_000;
const KIND: &str = "numbered";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("braid-append-cost-{}", std::process::id()));
    let mut options = StoreOptions::new(&dir);
    options.flush = FlushMode::Async;
    options.unflushed_bytes_max = 64 << 20;
    options.derivers = vec![(None, |_| Facts::default()), (Some(KIND), derive)];
    let (store, _) = Store::open(options, Arc::new(OsDisk), Arc::new(SystemClock::default()))?;
    let topic = {
        let promise = store.create_topic("T", b"")?;
        store.write_turn();
        promise.redeem(store.watermarks()).map_err(|_| "the topic is not written")?
    };
    println!("plain message of 1 KiB                       {:>6} ns", measure(&store, &topic, None));
    println!("batch of 1 KiB, one producer                 {:>6} ns", measure(&store, &topic, Some(1)));
    println!("batch of 1 KiB, 10,000 producers in turn     {:>6} ns", measure(&store, &topic, Some(10_000)));
    println!("plain message of 1 KiB, 10,000 producers known{:>5} ns", measure(&store, &topic, None));
    drop(store);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Nanoseconds of one append; with `producers`, of batches that they send in turn.
fn measure(store: &Store, topic: &TopicInfo, producers: Option<u64>) -> u64 {
    // Ids that no other measurement has used.
    let first_id = u64::from(store.log_range().1.0 as u32);
    let mut sent = 0;
    let mut rounds = Vec::with_capacity(BURSTS);
    for _ in 0..BURSTS {
        let mut groups = Vec::with_capacity(BURST);
        for _ in 0..BURST {
            let numbers = producers.map(|count| (first_id + sent % count, (sent / count) as u32));
            groups.push(encode(store, topic, numbers));
            sent += 1;
        }
        let start = Instant::now();
        for group in groups {
            assert!(!store.append(group).expect("there is room").duplicate);
        }
        rounds.push(start.elapsed().as_nanos() as u64 / BURST as u64);
        store.write_turn();
        while store.flush_is_due() {
            store.flush_turn();
        }
        store.housekeeping();
    }
    rounds.sort_unstable();
    rounds[rounds.len() / 10]
}

fn encode(store: &Store, topic: &TopicInfo, numbers: Option<(u64, u32)>) -> braid_store::Group {
    let mut body = vec![7; 1024];
    if let Some((id, sequence)) = numbers {
        body[8..16].copy_from_slice(&id.to_be_bytes());
        body[16..20].copy_from_slice(&sequence.to_be_bytes());
    }
    let host = SocketAddr::from(([127, 0, 0, 1], 1));
    let draft = Draft {
        topic: &topic.name,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: b"",
        kind: numbers.map(|_| KIND),
        targets: &[],
        group_goes_on: false,
        batch: numbers.map(|_| 1),
    };
    let mut builder = GroupBuilder::new();
    builder.record(NewRecord { draft, topic: topic.number, count: 1, more_targets: &[] });
    store.group(builder).expect("the record is in order")
}

fn derive(record: &RecordView<'_>) -> Facts {
    let body = record.body();
    let number = |at: usize, len: usize| {
        body[at..at + len].iter().fold(0i64, |number, &byte| number << 8 | i64::from(byte))
    };
    let sequence = number(16, 4) as i32;
    let producer = ProducerFacts {
        producer_id: number(8, 8),
        epoch: 0,
        first_sequence: sequence,
        last_sequence: sequence,
    };
    Facts { producer: Some(producer), ..Facts::default() }
}
