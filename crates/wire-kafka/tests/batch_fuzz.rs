//! Mutated batches: whatever a client sends, checking, walking and decompressing it neither panics nor takes more memory
//! than its limit.
//!
//! A bounded mutator over batches of real clients, for 30 seconds at `BRAIDMQ_TEST_SCALE=1`; `BRAIDMQ_SEED` runs one
//! mutation.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

use std::time::{Duration, Instant};

use braid_io::Rng;
use braid_wire_kafka::batch::{BatchView, Compression, Rules, decompress, validate};

const SECONDS_FULL: f64 = 30.0;
const SCALE_DEFAULT: f64 = 0.05;
/// Edits of one batch at most.
const EDITS_MAX: u64 = 4;
/// Plain bytes that a mutated batch may give.
const LIMIT: usize = 64 * 1024;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn corpus() -> Vec<Vec<u8>> {
    let lines = include_str!("batches/clients.txt").lines().filter(|line| !line.starts_with('#'));
    let unhex = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    lines.map(|line| unhex(line.rsplit(' ').next().unwrap())).collect()
}

#[test]
fn whatever_a_client_sends_is_read_without_harm() {
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

fn try_one(corpus: &[Vec<u8>], seed: u64) {
    let mut rng = Rng::new(seed);
    let original = &corpus[rng.below(corpus.len() as u64) as usize];
    let mut bytes = original.clone();
    for _ in 0..=rng.below(EDITS_MAX) {
        mutate(&mut bytes, original, &mut rng);
    }
    // Half of the mutations get a checksum that holds, or nothing behind it would ever be reached.
    if rng.below(2) == 0 && bytes.len() > 21 {
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let rules = Rules { look_inside: true, ..Rules::new(1_700_000_000_000) };
    let verdict = validate(&bytes, &rules);
    if let Err(error) = &verdict {
        assert!(matches!(error.code(), 2 | 10 | 32 | 76 | 87), "seed {seed}: {error}");
    }
    if let Ok(view) = BatchView::parse(&bytes) {
        assert!(view.len() <= bytes.len(), "seed {seed}");
        if let Ok(payload) = view.payload(LIMIT) {
            assert!(payload.len() <= LIMIT.max(bytes.len()), "seed {seed}");
            let records = view.records(&payload);
            assert!(records.count_max() <= payload.len() / 7, "seed {seed}");
            let headers = records.flatten().map(|record| record.headers.into_iter().count());
            assert!(headers.sum::<usize>() <= payload.len(), "seed {seed}");
        }
    }
    for codec in Compression::ALL {
        if let Ok(plain) = decompress(codec, bytes.get(61..).unwrap_or_default(), LIMIT) {
            assert!(plain.len() <= LIMIT, "seed {seed}: {codec:?}");
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, original: &[u8], rng: &mut Rng) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    let until = (at + rng.below(20) as usize).min(bytes.len());
    match rng.below(6) {
        0 => bytes.truncate(at),
        1 => bytes[at..until].fill([0, 0xFF, 0x80][rng.below(3) as usize]),
        2 => drop(bytes.drain(at..until)),
        3 => {
            // A length that lies: the batch's, the count, a record's or a header's.
            let value = [0, 1, 0x7F, 0xFF][rng.below(4) as usize];
            if let Some(byte) = bytes.get_mut([8, 11, 57, 60, 61, 62, 66][rng.below(7) as usize]) {
                *byte = value;
            }
        }
        4 => {
            let from = rng.below(original.len() as u64) as usize;
            let piece = original[from..(from + 20).min(original.len())].to_vec();
            drop(bytes.splice(at..until, piece));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}
