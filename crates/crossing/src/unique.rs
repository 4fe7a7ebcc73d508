//! RocketMQ's unique keys for records of Kafka batches: computed, so that they need no index and are the same at every read.
//!
//! ```text
//!  upper-case hex of  topic id 4 │ "KB" 2 │ queue 3 │ offset 7
//! ```
//!
//! They have the length and the alphabet of the keys that RocketMQ's clients make. A tool that takes one for a message id reads a port above
//! 65,535 in it and goes on to look for a unique key, as it does with a client's.

use std::fmt::Write as _;

/// Stands where a client has its process number.
const MARK: [u8; 2] = *b"KB";
const KEY_CHARS: usize = 32;
const QUEUE_MAX: u32 = 0xFF_FFFF;
const OFFSET_MAX: u64 = (1 << 56) - 1;

/// The unique key of the message at an offset of a queue.
///
/// # Panics
/// When the queue has more than 24 bits or the offset more than 56, which no queue of the log has.
pub fn key(topic_id: &[u8; 16], queue_id: u32, offset: u64) -> String {
    assert!(queue_id <= QUEUE_MAX && offset <= OFFSET_MAX, "queue {queue_id}, offset {offset}");
    let mut key = String::with_capacity(KEY_CHARS);
    let pieces = [&topic_id[..4], &MARK, &queue_id.to_be_bytes()[1..], &offset.to_be_bytes()[1..]];
    for byte in pieces.concat() {
        // Writing to a string does not fail.
        let _ = write!(key, "{byte:02X}");
    }
    key
}

/// Queue and offset of a key that [`key`] made for this topic.
pub fn parse(key: &str, topic_id: &[u8; 16]) -> Option<(u32, u64)> {
    if key.len() != KEY_CHARS || !key.bytes().all(|char| char.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(key, 16).ok()?;
    let bytes = number.to_be_bytes();
    if bytes[..4] != topic_id[..4] || bytes[4..6] != MARK {
        return None;
    }
    Some(((number >> 56) as u32 & QUEUE_MAX, number as u64 & OFFSET_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_up_to_their_bounds() {
        let topic = *b"\x01\x02\x03\x04aaaaaaaaaaaa";
        assert_eq!(key(&topic, 2, 41), "010203044B4200000200000000000029");
        for (queue_id, offset) in [(0, 0), (2, 41), (QUEUE_MAX, OFFSET_MAX)] {
            let key = key(&topic, queue_id, offset);
            assert_eq!(parse(&key, &topic), Some((queue_id, offset)));
            assert_eq!(parse(&key, b"other topic's id"), None);
            assert_eq!(parse(&key[1..], &topic), None);
        }
        for bad in ["", "7F00000100002A9F0000000006248AF0", "+10203044B4200000200000000000029"] {
            assert_eq!(parse(bad, &topic), None, "{bad}");
        }
        // What a tool reads as a port is none.
        assert!(u32::from_str_radix(&key(&topic, 0, 0)[8..16], 16).unwrap() > u32::from(u16::MAX));
    }
}
