//! Keys of the messages inside a batch, for the key index, when their topic asks for it.
//!
//! The log's index of keys is derived from its records alone, so a record whose keys are to be indexed says so itself: its topic may change
//! its mind later, and a rebuilt index is the same as the first.

use std::collections::HashSet;

use braid_record::{RecordView, property};
use braid_wire_kafka::batch::{BatchView, DECOMPRESSED_BYTES_MAX};

use crate::{kafka, rocketmq};

/// The property string of a record whose keys are to be indexed.
pub const MARK: &[u8] = b"kafka.index.keys\x01true\x02";
/// The most different keys of one batch that are indexed, the first ones.
pub const KEYS_MAX: usize = 4_096;

const NAME: &str = "kafka.index.keys";

/// The different keys of the messages in a record that carries the mark, the words of RocketMQ's `KEYS` each by itself; none of another
/// record, nor of a batch that can't be read.
pub fn indexed(record: &RecordView<'_>) -> Vec<String> {
    if property::find(record.properties(), NAME) != Some(b"true") {
        return Vec::new();
    }
    let Ok(batch) = BatchView::parse(record.body()) else { return Vec::new() };
    let Ok(payload) = batch.payload(DECOMPRESSED_BYTES_MAX) else { return Vec::new() };
    let mut seen = HashSet::new();
    let mut indexed = Vec::new();
    for record in batch.records(&payload).map_while(Result::ok) {
        let message = kafka::read(&record);
        let keys = rocketmq::keys(&message);
        let words =
            keys.iter().flat_map(|keys| keys.split(|&byte| byte == b' ')).filter(|word| !word.is_empty());
        for word in words.filter_map(|word| std::str::from_utf8(word).ok()) {
            if indexed.len() == KEYS_MAX {
                return indexed;
            }
            if seen.insert(word.to_owned()) {
                indexed.push(word.to_owned());
            }
        }
    }
    indexed
}
