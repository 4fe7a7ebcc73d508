//! The list of queues that a record enters, as fixed-width text inside a property.
//!
//! A slot is [`SLOT_BYTES`] characters of a 64-letter alphabet, most significant first: topic number (5 characters),
//! queue id (3), first offset (9), count (5). The width never depends on the values, so offsets are stamped in place
//! inside the append section, and 1,000 slots fit into a record's properties.

/// Characters of one slot.
pub const SLOT_BYTES: usize = TOPIC_CHARS + QUEUE_CHARS + OFFSET_CHARS + COUNT_CHARS;
/// Highest topic number that a slot can hold.
pub const TOPIC_NUMBER_MAX: u32 = (1 << (6 * TOPIC_CHARS)) - 1;
/// Highest queue id that a slot can hold.
pub const QUEUE_ID_MAX: u32 = (1 << (6 * QUEUE_CHARS)) - 1;
/// Highest offset that a slot can hold.
pub const OFFSET_MAX: u64 = (1 << (6 * OFFSET_CHARS)) - 1;
/// Highest count that a slot can hold.
pub const COUNT_MAX: u32 = (1 << (6 * COUNT_CHARS)) - 1;

const TOPIC_CHARS: usize = 5;
const QUEUE_CHARS: usize = 3;
const OFFSET_CHARS: usize = 9;
const COUNT_CHARS: usize = 5;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One queue that a record enters, and the offsets that it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetSlot {
    /// The store's number of the topic.
    pub topic: u32,
    /// The queue inside the topic.
    pub queue_id: u32,
    /// The first offset that the record takes.
    pub first_offset: u64,
    /// How many offsets it takes, at least 1.
    pub count: u32,
}

impl TargetSlot {
    /// Appends the slot's characters.
    ///
    /// # Panics
    /// When a field is above its maximum, which callers check at their edge.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(self.topic <= TOPIC_NUMBER_MAX && self.queue_id <= QUEUE_ID_MAX, "{self:?} is out of range");
        assert!(
            self.first_offset <= OFFSET_MAX && (1..=COUNT_MAX).contains(&self.count),
            "{self:?} is out of range"
        );
        for (value, chars) in [
            (u64::from(self.topic), TOPIC_CHARS),
            (u64::from(self.queue_id), QUEUE_CHARS),
            (self.first_offset, OFFSET_CHARS),
            (u64::from(self.count), COUNT_CHARS),
        ] {
            let at = out.len();
            out.resize(at + chars, 0);
            put(&mut out[at..], value);
        }
    }

    /// Sets the first offset of the slot that `slot` holds.
    pub(crate) fn stamp(slot: &mut [u8], first_offset: u64) {
        assert!(first_offset <= OFFSET_MAX, "offset {first_offset} is out of range");
        put(&mut slot[TOPIC_CHARS + QUEUE_CHARS..][..OFFSET_CHARS], first_offset);
    }

    fn read(slot: &[u8]) -> Option<Self> {
        let (topic, rest) = slot.split_at(TOPIC_CHARS);
        let (queue_id, rest) = rest.split_at(QUEUE_CHARS);
        let (offset, count) = rest.split_at(OFFSET_CHARS);
        let slot = Self {
            topic: take(topic)? as u32,
            queue_id: take(queue_id)? as u32,
            first_offset: take(offset)?,
            count: take(count)? as u32,
        };
        (slot.count > 0).then_some(slot)
    }
}

/// The slots of a targets property; `None` when its length or a character is wrong.
pub fn parse(value: &[u8]) -> Option<Vec<TargetSlot>> {
    if value.is_empty() || !value.len().is_multiple_of(SLOT_BYTES) {
        return None;
    }
    value.chunks_exact(SLOT_BYTES).map(TargetSlot::read).collect()
}

fn put(chars: &mut [u8], mut value: u64) {
    for char in chars.iter_mut().rev() {
        *char = ALPHABET[(value & 63) as usize];
        value >>= 6;
    }
}

fn take(chars: &[u8]) -> Option<u64> {
    chars.iter().try_fold(0, |value, &char| {
        let digit = match char {
            b'A'..=b'Z' => char - b'A',
            b'a'..=b'z' => char - b'a' + 26,
            b'0'..=b'9' => char - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        Some((value << 6) | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_as_they_were_up_to_their_limits() {
        let slots = [
            TargetSlot { topic: 0, queue_id: 0, first_offset: 0, count: 1 },
            TargetSlot {
                topic: TOPIC_NUMBER_MAX,
                queue_id: QUEUE_ID_MAX,
                first_offset: OFFSET_MAX,
                count: COUNT_MAX,
            },
        ];
        let mut text = Vec::new();
        slots.iter().for_each(|slot| slot.write(&mut text));
        assert_eq!(text.len(), 2 * SLOT_BYTES);
        assert_eq!(parse(&text).unwrap(), slots);
        TargetSlot::stamp(&mut text[..SLOT_BYTES], 77);
        assert_eq!(parse(&text).unwrap()[0].first_offset, 77);
        text[3] = b'!';
        assert_eq!(parse(&text), None);
        assert_eq!(parse(&text[1..]), None);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_queue_id_past_its_limit_is_never_written() {
        TargetSlot { topic: 0, queue_id: QUEUE_ID_MAX + 1, first_offset: 0, count: 1 }.write(&mut Vec::new());
    }
}
