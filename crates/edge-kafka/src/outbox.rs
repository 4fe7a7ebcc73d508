//! Answers on their way to one connection: coalesced, in order, with the log's bytes between ours.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::reply::Reply;

/// Slices of the log below this are copied: a copy costs less than an entry of a vectored write.
const COPY_BYTES: usize = 4 * 1024;
/// Slices that one write takes at most.
pub(crate) const SLICES_MAX: usize = 64;

#[derive(Debug)]
enum Part {
    /// Bytes of ours, to which more may be appended.
    Own(BytesMut),
    /// A slice of the log's tail, or of a read buffer.
    Log(Bytes),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Own(bytes) => bytes,
            Part::Log(bytes) => bytes,
        }
    }
}

/// Bytes that wait for a peer, in order. An empty one holds no memory to speak of.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    len: usize,
    /// When the peer last took bytes, or when the first of these were put in.
    moved_ms: u64,
}

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an answer behind the others; gives the bytes that came in.
    pub(crate) fn append(&mut self, now_ms: u64, reply: &Reply) -> usize {
        if self.len == 0 {
            self.moved_ms = now_ms;
        }
        let before = self.len;
        let mut from = 0;
        for (at, slice) in &reply.slices {
            self.own(&reply.bytes[from..*at]);
            from = *at;
            if slice.len() < COPY_BYTES {
                self.own(slice);
            } else {
                self.len += slice.len();
                self.parts.push_back(Part::Log(slice.clone()));
            }
        }
        self.own(&reply.bytes[from..]);
        self.len - before
    }

    fn own(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        match self.parts.back_mut() {
            Some(Part::Own(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push_back(Part::Own(BytesMut::from(bytes))),
        }
    }

    /// What is to be sent next; gives how many of the slices were set.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let parts = self.parts.iter().take(SLICES_MAX);
        parts.zip(slices.iter_mut()).map(|(part, slice)| *slice = IoSlice::new(part.bytes())).count()
    }

    /// The peer's socket took `count` bytes.
    pub(crate) fn took(&mut self, mut count: usize, now_ms: u64) {
        self.len -= count;
        self.moved_ms = now_ms;
        while count > 0 {
            let Some(part) = self.parts.front_mut() else { break };
            let len = part.bytes().len();
            if count < len {
                match part {
                    Part::Own(bytes) => bytes.advance(count),
                    Part::Log(bytes) => bytes.advance(count),
                }
                return;
            }
            count -= len;
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            self.parts.shrink_to(4);
        }
    }

    /// For how long bytes wait without one being taken.
    pub(crate) fn stalled_ms(&self, now_ms: u64) -> u64 {
        if self.is_empty() { 0 } else { now_ms.saturating_sub(self.moved_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(out: &Outbox) -> (usize, Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = out.slices(&mut slices);
        (count, slices[..count].iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn the_logs_bytes_stand_where_the_answer_says_and_small_ones_are_copied() {
        let mut out = Outbox::default();
        let large = Bytes::from(vec![7; COPY_BYTES]);
        let reply = Reply {
            bytes: b"abcd".to_vec(),
            slices: vec![(1, Bytes::from_static(b"xy")), (3, large.clone())],
            ..Reply::default()
        };
        assert_eq!(out.append(10, &reply), 6 + COPY_BYTES);
        out.append(20, &Reply { bytes: b"ef".to_vec(), ..Reply::default() });
        let expected = [b"axybc", &large[..], b"def"].concat();
        assert_eq!(content(&out), (3, expected.clone()));
        assert_eq!((out.len(), out.stalled_ms(30)), (expected.len(), 20));
        for step in [2, 4, COPY_BYTES - 1] {
            out.took(step, 40);
        }
        assert_eq!(content(&out).1, &expected[COPY_BYTES + 5..]);
        out.took(3, 60);
        assert!(out.is_empty() && out.parts.is_empty());
        assert_eq!(out.stalled_ms(90), 0);
    }
}
