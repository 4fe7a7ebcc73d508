//! The newest bytes of the log, in memory, for readers. A slice of a segment is reference counted, so a reader's bytes
//! outlive the segment.

use std::collections::VecDeque;

use bytes::Bytes;

/// Segments in log order; between two of them may lie filler, never a record.
#[derive(Debug)]
pub(crate) struct Tail {
    segments: VecDeque<(u64, Bytes)>,
    bytes: u64,
    bytes_max: u64,
}

impl Tail {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { segments: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the bytes at `start`.
    pub(crate) fn push(&mut self, start: u64, bytes: Bytes) {
        if let Some((last, segment)) = self.segments.back() {
            assert!(last + segment.len() as u64 <= start, "segments come in log order");
        }
        self.bytes += bytes.len() as u64;
        self.segments.push_back((start, bytes));
    }

    /// Lets the oldest segments go that end at or below `written`, as far as there are too many bytes.
    pub(crate) fn evict(&mut self, written: u64) {
        while self.bytes > self.bytes_max
            && let Some((start, segment)) = self.segments.front()
            && start + segment.len() as u64 <= written
        {
            self.bytes -= segment.len() as u64;
            self.segments.pop_front();
        }
    }

    /// The bytes `[position, position + size)`, if they are in here.
    pub(crate) fn get(&self, position: u64, size: usize) -> Option<Bytes> {
        let at = self.segments.partition_point(|(start, _)| *start <= position).checked_sub(1)?;
        let (start, segment) = &self.segments[at];
        let from = usize::try_from(position - start).ok()?;
        let to = from.checked_add(size)?;
        (to <= segment.len()).then(|| segment.slice(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_come_from_the_segment_that_holds_them() {
        let mut tail = Tail::new(6);
        tail.push(10, Bytes::from_static(b"abcd"));
        tail.push(20, Bytes::from_static(b"efgh"));
        for (position, size, expected) in [
            (10, 4, Some(&b"abcd"[..])),
            (12, 2, Some(b"cd")),
            (12, 3, None),
            (9, 1, None),
            (14, 1, None),
            (20, 1, Some(b"e")),
            (24, 1, None),
        ] {
            assert_eq!(tail.get(position, size).as_deref(), expected, "at {position}");
        }
        tail.evict(13);
        assert!(tail.get(10, 4).is_some(), "what is not written stays");
        tail.evict(24);
        assert!(tail.get(10, 4).is_none() && tail.get(20, 4).is_some());
    }
}
