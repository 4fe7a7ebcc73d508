//! Frames: four bytes of length, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// What Kafka's brokers take at most (`socket.request.max.bytes`).
pub const FRAME_BYTES_MAX: usize = 100 << 20;

/// Bytes of the length.
pub const PREFIX_BYTES: usize = 4;

/// Why a stream can't be cut into frames any more: the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length is negative.
    #[error("a frame of {0} bytes makes no sense")]
    Negative(i32),
    /// The length is above the limit.
    #[error("a frame of {bytes} bytes is longer than the {max} allowed")]
    TooLong {
        /// What the frame says.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
}

/// Cuts the next frame out of `buffer` without its length: None if it has not arrived whole, and then room for the rest is reserved,
/// but never for more than `max` bytes of it.
///
/// # Errors
/// What [`FrameError`] says; nothing is consumed then.
pub fn next(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buffer.first_chunk() else { return Ok(None) };
    let said = i32::from_be_bytes(*prefix);
    let bytes = usize::try_from(said).map_err(|_| FrameError::Negative(said))?;
    if bytes > max {
        return Err(FrameError::TooLong { bytes, max });
    }
    let missing = (PREFIX_BYTES + bytes).saturating_sub(buffer.len());
    if missing > 0 {
        // Room grows with what arrives: a length alone must not make a hundred megabytes of memory.
        buffer.reserve(missing.min(buffer.len().max(RESERVE_BYTES_MIN)));
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

/// How much room a frame that has begun gets at least.
const RESERVE_BYTES_MIN: usize = 64 << 10;

/// Begins a frame: keeps room for the length, which [`finish`] fills in.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    start
}

/// Ends the frame that began at `start`, with `more` bytes that follow outside of `out`.
///
/// # Panics
/// If the frame is longer than `i32::MAX`, or `start` is not what [`begin`] gave.
pub fn finish(out: &mut [u8], start: usize, more: usize) {
    let bytes =
        i32::try_from(out.len() - start - PREFIX_BYTES + more).expect("a frame that its length can say");
    out[start..start + PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &[u8], expected: Result<Option<&[u8]>, FrameError>, left: usize) {
        let mut buffer = BytesMut::from(wire);
        let found = next(&mut buffer, 8);
        assert_eq!(
            found.as_ref().map(|frame| frame.as_deref()),
            expected.as_ref().map(|frame| *frame),
            "{wire:?}"
        );
        assert_eq!(buffer.len(), left, "{wire:?}");
    }

    #[test]
    fn frames_are_cut() {
        check(&[], Ok(None), 0);
        check(&[0, 0, 0], Ok(None), 3);
        check(&[0, 0, 0, 0], Ok(Some(&[])), 0);
        check(&[0, 0, 0, 2, 7], Ok(None), 5);
        check(&[0, 0, 0, 2, 7, 8, 9], Ok(Some(&[7, 8])), 1);
        check(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8], Ok(Some(&[1, 2, 3, 4, 5, 6, 7, 8])), 0);
        check(&[0, 0, 0, 9, 1], Err(FrameError::TooLong { bytes: 9, max: 8 }), 5);
        check(&[0xff, 0xff, 0xff, 0xff], Err(FrameError::Negative(-1)), 4);
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut buffer = BytesMut::from(&(100i32 << 20).to_be_bytes()[..]);
        assert_eq!(next(&mut buffer, FRAME_BYTES_MAX), Ok(None));
        assert!(buffer.capacity() <= 2 * RESERVE_BYTES_MIN, "{}", buffer.capacity());
    }

    #[test]
    fn lengths_are_filled_in() {
        let mut out = vec![1];
        let start = begin(&mut out);
        out.extend_from_slice(&[2, 3]);
        finish(&mut out, start, 5);
        assert_eq!(out, [1, 0, 0, 0, 7, 2, 3]);
    }
}
