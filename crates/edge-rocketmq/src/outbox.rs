//! Answers on their way to one connection: coalesced, bounded by their reader, freed when idle.

use bytes::{Buf, BytesMut};

/// A buffer of more than this is given back when it is empty, so that idle connections cost next to nothing.
const KEPT_BYTES_MAX: usize = 2 * 1024;

/// Bytes that wait for a peer, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: BytesMut,
    /// When the peer last took bytes, or when the first of these were put in.
    moved_ms: u64,
}

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Lets `write` append whole frames; gives the bytes that came in.
    pub(crate) fn append(&mut self, now_ms: u64, write: impl FnOnce(&mut BytesMut)) -> usize {
        if self.bytes.is_empty() {
            self.moved_ms = now_ms;
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.bytes.len() - before
    }

    /// What is to be sent next.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The peer's socket took `count` bytes.
    pub(crate) fn took(&mut self, count: usize, now_ms: u64) {
        self.bytes.advance(count);
        self.moved_ms = now_ms;
        if self.bytes.is_empty() {
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes = BytesMut::new();
            } else {
                self.bytes.clear();
            }
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

    #[test]
    fn a_stall_is_counted_from_the_first_byte_or_the_last_progress() {
        let mut out = Outbox::default();
        assert_eq!(out.stalled_ms(1_000), 0);
        assert_eq!(out.append(10, |bytes| bytes.extend_from_slice(b"abcd")), 4);
        out.append(20, |bytes| bytes.extend_from_slice(b"ef"));
        assert_eq!((out.len(), out.stalled_ms(30)), (6, 20));
        out.took(5, 40);
        assert_eq!((out.bytes(), out.stalled_ms(50)), (&b"f"[..], 10));
        out.took(1, 60);
        assert_eq!((out.is_empty(), out.stalled_ms(90)), (true, 0));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut out = Outbox::default();
        let sent = out.append(0, |bytes| bytes.extend_from_slice(&[0; 100_000]));
        out.took(sent, 1);
        assert_eq!(out.bytes.capacity(), 0);
    }
}
