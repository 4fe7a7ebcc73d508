//! Mutated records: whatever lies in a log, reading it neither panics nor looks beyond the bytes given, and nothing but the
//! record that was written passes its own checksum.
//!
//! A bounded mutator over a small corpus, for 30 seconds at `BRAIDMQ_TEST_SCALE=1`; `BRAIDMQ_SEED` runs one mutation.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use braid_io::Rng;
use braid_record::{Draft, RecordView, Stamp, TargetSlot, encode, peek, property};

const SECONDS_FULL: f64 = 30.0;
const SCALE_DEFAULT: f64 = 0.05;
/// Edits of one record at most.
const EDITS_MAX: u64 = 4;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// V1 and V2, both address families, every property of ours, lengths 0 and long.
fn corpus() -> Vec<Vec<u8>> {
    let (v4, v6): (SocketAddr, SocketAddr) =
        ("10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
    let slots: Vec<_> =
        (0..3).map(|topic| TargetSlot { topic, queue_id: 7, first_offset: 0, count: 1 + topic }).collect();
    let long = "t".repeat(200);
    let mut records = Vec::new();
    for (topic, body, born_host, store_host, targets) in [
        ("T", &b""[..], v4, v4, &[][..]),
        ("Orders", &[0x42; 300], v6, v4, &slots[..]),
        (long.as_str(), &[0xDA; 5_000], v4, v6, &slots[..1]),
    ] {
        let draft = Draft {
            topic,
            queue_id: 7,
            flag: -1,
            sys_flag: 0,
            born_timestamp: 1,
            born_host,
            store_host,
            reconsume_times: 3,
            prepared_transaction_offset: 0,
            body,
            properties: b"KEYS\x01a b\x02TAGS\x01x",
            kind: (!targets.is_empty()).then_some("k"),
            targets,
            group_goes_on: targets.len() > 1,
            batch: (targets.len() == 1).then_some(1),
        };
        let mut bytes = Vec::new();
        let encoded = encode(&draft, &mut bytes).unwrap();
        let offsets: Vec<u64> = (0..targets.len() as u64).map(|i| 40 + i).collect();
        let stamp = Stamp { queue_offset: 40, position: 4096, store_timestamp: 9, slot_offsets: &offsets };
        encoded.stamp(&mut bytes, &stamp);
        records.push(bytes);
    }
    records
}

#[test]
fn whatever_lies_in_a_log_is_read_without_harm() {
    let corpus = corpus();
    corpus.iter().for_each(|record| assert!(RecordView::check(record, 4096, true).is_ok()));
    if let Some(seed) = variable("BRAIDMQ_SEED") {
        return try_one(&corpus, seed);
    }
    let scale = variable("BRAIDMQ_TEST_SCALE").unwrap_or(SCALE_DEFAULT);
    let end = Instant::now() + Duration::from_secs_f64(SECONDS_FULL * scale);
    let mut seed = 0;
    while Instant::now() < end {
        for _ in 0..1_000 {
            try_one(&corpus, seed);
            seed += 1;
        }
    }
    println!("{seed} mutations");
}

fn try_one(corpus: &[Vec<u8>], seed: u64) {
    let mut rng = Rng::new(seed);
    let original = &corpus[rng.below(corpus.len() as u64) as usize];
    let mut bytes = original.clone();
    for _ in 0..=rng.below(EDITS_MAX) {
        mutate(&mut bytes, original, &mut rng);
    }
    let _ = peek(&bytes);
    if let Ok(view) = RecordView::parse(&bytes) {
        assert!(view.len() <= bytes.len(), "seed {seed}");
        let _ = (
            view.batch_count(),
            view.targets(),
            view.born_host(),
            view.store_host(),
            view.kind(),
            view.group_goes_on(),
        );
        let _ = property::iter(view.properties()).count();
    }
    for required in [true, false] {
        if let Ok(view) = RecordView::check(&bytes, 4096, required) {
            // A record without its checksum property may differ where the body's checksum does not look.
            assert!(
                !required || view.bytes() == &original[..],
                "seed {seed}: a changed record passed its checksum"
            );
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, original: &[u8], rng: &mut Rng) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    let until = (at + rng.below(40) as usize).min(bytes.len());
    match rng.below(6) {
        0 => bytes.truncate(at),
        1 => bytes[at..until].fill(0),
        2 => drop(bytes.drain(at..until)),
        3 => {
            // A length that lies: the size, the body's, the topic's or the properties'.
            let value = [0, 1, 0x7F, 0xFF][rng.below(4) as usize];
            if let Some(byte) = bytes.get_mut(at.min(100)) {
                *byte = value;
            }
        }
        4 => {
            let from = rng.below(original.len() as u64) as usize;
            let piece = original[from..(from + 40).min(original.len())].to_vec();
            drop(bytes.splice(at..until, piece));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}
