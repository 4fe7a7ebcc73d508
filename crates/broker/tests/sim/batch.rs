//! Batches of the simulation: bytes that name their producer and what they are, and the deriver that reads them.

use braid_record::RecordView;
use braid_store::{Facts, LOOK_INSIDE, ProducerFacts};

/// The payload kind of batches.
pub const KIND: &str = "sim-batch";
/// Bytes in front of the padding.
const HEAD_BYTES: usize = 34;

/// A producer's numbers in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub producer_id: i64,
    pub epoch: i16,
    pub first: i32,
}

impl Numbers {
    /// The number of the last of `count` messages.
    pub fn last(&self, count: u32) -> i32 {
        self.first + count as i32 - 1
    }
}

/// A batch `base offset 8, producer id 8, epoch 2, first number 4, count 4, value 8, padding`.
pub fn encode(numbers: &Numbers, count: u32, value: u64, padding: usize) -> Vec<u8> {
    let mut batch = vec![0xFF; 8];
    batch.extend_from_slice(&numbers.producer_id.to_be_bytes());
    batch.extend_from_slice(&numbers.epoch.to_be_bytes());
    batch.extend_from_slice(&numbers.first.to_be_bytes());
    batch.extend_from_slice(&count.to_be_bytes());
    batch.extend_from_slice(&value.to_be_bytes());
    batch.resize(HEAD_BYTES + padding, value as u8);
    batch
}

fn number(bytes: &[u8], at: usize, len: usize) -> i64 {
    bytes[at..at + len].iter().fold(0, |number, &byte| number << 8 | i64::from(byte))
}

/// What a record of the simulation is: its first offset, its messages, its value, and its producer's numbers.
pub fn read(record: &RecordView<'_>) -> (u64, u32, u64, Option<Numbers>) {
    let body = record.body();
    let count = record.batch_count().expect("its properties are well formed");
    let Some(count) = count else {
        let text = std::str::from_utf8(body).expect("a plain message is text");
        let value = text.split(';').next().and_then(|value| value.parse().ok());
        return (record.queue_offset(), 1, value.expect("it begins with its value"), None);
    };
    let numbers = Numbers {
        producer_id: number(body, 8, 8),
        epoch: number(body, 16, 2) as i16,
        first: number(body, 18, 4) as i32,
    };
    assert_eq!(number(body, 22, 4) as u32, count, "the batch and the record count alike");
    let value = number(body, 26, 8) as u64;
    assert!(body[HEAD_BYTES..].iter().all(|&byte| byte == value as u8), "the padding is the batch's own");
    (number(body, 0, 8) as u64, count, value, Some(numbers))
}

/// The deriver of the kind.
pub fn derive(record: &RecordView<'_>) -> Facts {
    let body = record.body();
    let first = number(body, 18, 4) as i32;
    let producer = ProducerFacts {
        producer_id: number(body, 8, 8),
        epoch: number(body, 16, 2) as i16,
        first_sequence: first,
        last_sequence: first + number(body, 22, 4) as i32 - 1,
    };
    Facts { index_word: LOOK_INSIDE, producer: Some(producer), ..Facts::default() }
}
