//! Mutated records: whatever lies in a log, crossing it neither panics nor makes anything but whole records and whole
//! batches.
//!
//! A bounded mutator over a small corpus, for 30 seconds at `BRAIDMQ_TEST_SCALE=1`; `BRAIDMQ_SEED` runs one mutation.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

mod support;

use std::time::{Duration, Instant};

use braid_crossing::{Crossing, Packing, Seen};
use braid_io::Rng;
use braid_record::{Draft, RecordView, sysflag};
use braid_wire_kafka::batch::{BatchView, Compression, compress};
use bytes::Bytes;
use support::{KafkaRecord, batch, draft, stored, stored_batch};

const SECONDS_FULL: f64 = 30.0;
const SCALE_DEFAULT: f64 = 0.05;
/// Edits of one record at most.
const EDITS_MAX: u64 = 4;
const PACKING: Packing = Packing { records_max: 10, bytes_max: 1 << 16, leader_epoch: 0 };

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn corpus() -> Vec<Bytes> {
    let header = |name: &str, value: Option<&[u8]>| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec));
    let record = KafkaRecord {
        timestamp: 1_700_000_000_000,
        key: Some(b"key".to_vec()),
        value: Some(b"some value".to_vec()),
        headers: vec![
            header("rmq.TAGS", Some(b"TagA")),
            header("rmq.KEYS", Some(b"a b")),
            header("kafka.%41", Some(&[0xFF])),
            header("x;null", None),
        ],
    };
    let records =
        [record, KafkaRecord::default(), KafkaRecord { value: Some(Vec::new()), ..KafkaRecord::default() }];
    let batches = Compression::ALL.map(|codec| stored_batch(&batch(&records, codec), 3, 40));
    let properties =
        b"TAGS\x01TagA\x02KEYS\x01a b\x02__SHARDINGKEY\x01s\x02h;base64\x01/w==\x02kafka.%41\x01x\x02x-kafka-key\x01=";
    let plain = stored(&draft(b"body", properties), 40);
    let zstd = compress(Compression::Zstd, &[7; 500]);
    let packed =
        stored(&Draft { sys_flag: sysflag::COMPRESSED | 0x200, ..draft(&zstd, b"n;null\x01null\x02") }, 40);
    batches.into_iter().chain([plain, packed]).collect()
}

#[test]
fn whatever_lies_in_a_log_crosses_without_harm() {
    let corpus = corpus();
    if let Some(seed) = variable("BRAIDMQ_SEED") {
        return try_one(&corpus, seed);
    }
    let scale = variable("BRAIDMQ_TEST_SCALE").unwrap_or(SCALE_DEFAULT);
    let end = Instant::now() + Duration::from_secs_f64(SECONDS_FULL * scale);
    let mut seed = 0;
    while Instant::now() < end {
        for _ in 0..200 {
            try_one(&corpus, seed);
            seed += 1;
        }
    }
    println!("{seed} mutations");
}

fn try_one(corpus: &[Bytes], seed: u64) {
    let mut rng = Rng::new(seed);
    let original = &corpus[rng.below(corpus.len() as u64) as usize];
    let mut bytes = original.to_vec();
    for _ in 0..=rng.below(EDITS_MAX) {
        mutate(&mut bytes, original, &mut rng);
    }
    let record = Bytes::from(bytes);
    let crossing = Crossing::default();
    let _ = crossing.is_heavy(&record);
    if let Ok(batch) = crossing.open(&record) {
        let mut index = 0;
        while index < batch.count() && index < 1_000 {
            let mut out = Vec::new();
            let seen = Seen { topic: "T", topic_id: &[7; 16] };
            batch.write_rocketmq(index, 64, &seen, &mut out).unwrap();
            let view =
                RecordView::check(&out, 64, true).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(view.len(), out.len(), "seed {seed}");
            let _ = (batch.tag(index), batch.has_key(index, "a"));
            index = batch.behind(index);
        }
    }
    if let Ok(packed) = crossing.pack(&[record.clone(), record], &PACKING) {
        let view = BatchView::parse(&packed.batch).unwrap();
        assert_eq!(view.stored_crc(), view.computed_crc(), "seed {seed}");
        assert_eq!(view.records(view.stored_payload()).filter(Result::is_ok).count(), packed.count as usize);
    }
}

fn mutate(bytes: &mut Vec<u8>, original: &[u8], rng: &mut Rng) {
    // The head stays as it is most of the time, or little would be reached.
    let from = if rng.below(4) == 0 { 0 } else { 88.min(bytes.len()) };
    let at = from + rng.below((bytes.len() - from) as u64 + 1) as usize;
    let until = (at + rng.below(20) as usize).min(bytes.len());
    match rng.below(4) {
        0 => bytes[at..until].fill([0, 0xFF, 0x80, 1, 2][rng.below(5) as usize]),
        1 => {
            let len = until - at;
            let from = rng.below((original.len() - len) as u64 + 1) as usize;
            bytes[at..until].copy_from_slice(&original[from..from + len]);
        }
        2 if rng.below(8) == 0 => bytes.truncate(at),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}
