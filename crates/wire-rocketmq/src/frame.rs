//! Frames: cutting a byte stream into headers and bodies.
//!
//! ```text
//!  0        4        5               8                  8+h              4+L
//!  ┌────────┬────────┬───────────────┬──────────────────┬─────────────────┐
//!  │   L    │  type  │ header length │  header (h)      │  body           │
//!  └────────┴────────┴───────────────┴──────────────────┴─────────────────┘
//! ```
//!
//! `L` counts everything behind itself. Type 0 is a JSON header, type 1 RocketMQ's own binary header.

use bytes::{Buf, Bytes, BytesMut};

/// The longest frame, prefix not counted: RocketMQ's `com.rocketmq.remoting.frameMaxLength`.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest header that the 24-bit length field can name.
pub const HEADER_BYTES_MAX: usize = (1 << 24) - 1;
/// The length field itself.
pub(crate) const LENGTH_BYTES: usize = 4;
/// The length field and the word with type and header length.
pub(crate) const PREFIX_BYTES: usize = 8;

/// How a header is written. An answer uses the form of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Serialization {
    /// Type 0: one JSON object. Every client speaks it, most by default.
    #[default]
    Json,
    /// Type 1: fixed fields and a length-prefixed map.
    Rocketmq,
}

impl Serialization {
    /// The type byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            Serialization::Json => 0,
            Serialization::Rocketmq => 1,
        }
    }
}

/// One frame, cut out of the stream without copying: header and body share the buffer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// How the header is written.
    pub serialization: Serialization,
    /// The header's bytes, not yet looked at.
    pub header: Bytes,
    /// The body's bytes; no body and an empty body are the same.
    pub body: Bytes,
}

/// What a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest `L` accepted, in bytes.
    pub frame_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { frame_bytes_max: FRAME_BYTES_MAX }
    }
}

/// Why a stream can't be cut into frames any further. The connection has to be closed: there is no way to find the next frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is above the limit (a negative length reads as a huge one).
    #[error("frame of {length} bytes is longer than the limit of {max}")]
    TooLong {
        /// The announced length.
        length: u64,
        /// The limit in force.
        max: usize,
    },
    /// The announced length has no room for the header word.
    #[error("frame length {length} leaves no room for the header length")]
    TooShort {
        /// The announced length.
        length: u64,
    },
    /// The type byte is neither 0 nor 1.
    #[error("unknown header type {byte}")]
    UnknownSerialization {
        /// The byte found.
        byte: u8,
    },
    /// The header is announced to be longer than the frame.
    #[error("header of {header} bytes does not fit into a frame of {length}")]
    HeaderBeyondFrame {
        /// The announced header length.
        header: usize,
        /// The announced frame length.
        length: usize,
    },
}

/// Takes the next whole frame off the front of `buffer`, or `None` if more bytes are needed.
///
/// Nothing is reserved and nothing is consumed before the frame is complete, so a peer that announces much and sends little costs
/// only what it sent. A wrong length or type is reported as soon as its bytes are there.
///
/// # Errors
/// See [`FrameError`]; the buffer is left as it was.
pub fn next(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_be_bytes(*bytes)) else {
        return Ok(None);
    };
    if length as usize > limits.frame_bytes_max {
        return Err(FrameError::TooLong { length: length.into(), max: limits.frame_bytes_max });
    }
    let length = length as usize;
    if length < PREFIX_BYTES - LENGTH_BYTES {
        return Err(FrameError::TooShort { length: length as u64 });
    }
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let serialization = match prefix[4] {
        0 => Serialization::Json,
        1 => Serialization::Rocketmq,
        byte => return Err(FrameError::UnknownSerialization { byte }),
    };
    let header_bytes = u32::from_be_bytes([0, prefix[5], prefix[6], prefix[7]]) as usize;
    if header_bytes > length - (PREFIX_BYTES - LENGTH_BYTES) {
        return Err(FrameError::HeaderBeyondFrame { header: header_bytes, length });
    }
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    let mut rest = buffer.split_to(LENGTH_BYTES + length).freeze();
    rest.advance(PREFIX_BYTES);
    let header = rest.split_to(header_bytes);
    Ok(Some(Frame { serialization, header, body: rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(length: u32, kind: u8, header_bytes: u32, rest: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&(u32::from(kind) << 24 | header_bytes).to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn bad_prefixes_are_refused() {
        let limits = Limits { frame_bytes_max: 100 };
        let cases: [(BytesMut, FrameError); 6] = [
            (raw(101, 0, 0, b""), FrameError::TooLong { length: 101, max: 100 }),
            (raw(u32::MAX, 0, 0, b""), FrameError::TooLong { length: u32::MAX.into(), max: 100 }),
            (raw(3, 0, 0, b""), FrameError::TooShort { length: 3 }),
            (raw(4, 2, 0, b""), FrameError::UnknownSerialization { byte: 2 }),
            (raw(10, 0, 7, b""), FrameError::HeaderBeyondFrame { header: 7, length: 10 }),
            (raw(10, 1, 0xff_ffff, b""), FrameError::HeaderBeyondFrame { header: 0xff_ffff, length: 10 }),
        ];
        for (mut bytes, expected) in cases {
            let before = bytes.clone();
            assert_eq!(next(&mut bytes, &limits), Err(expected));
            assert_eq!(bytes, before, "an error consumes nothing");
        }
    }

    #[test]
    fn the_limit_itself_is_accepted() {
        let limits = Limits { frame_bytes_max: 100 };
        let mut bytes = raw(100, 0, 6, &[7; 96]);
        let frame = next(&mut bytes, &limits).unwrap().expect("a whole frame");
        assert_eq!((frame.header.len(), frame.body.len()), (6, 90));
        assert!(bytes.is_empty());
    }

    #[test]
    fn frames_come_out_whatever_the_pieces() {
        let mut stream = Vec::new();
        for header_bytes in 0..5u32 {
            stream.extend_from_slice(&raw(
                4 + header_bytes + 2,
                (header_bytes % 2) as u8,
                header_bytes,
                &vec![9; header_bytes as usize + 2],
            ));
        }
        for step in 1..stream.len() {
            let (mut buffer, mut seen) = (BytesMut::new(), 0);
            for piece in stream.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = next(&mut buffer, &Limits::default()).unwrap() {
                    assert_eq!((frame.header.len(), frame.body.len()), (seen, 2));
                    seen += 1;
                }
            }
            assert_eq!((seen, buffer.len()), (5, 0), "step {step}");
        }
    }
}
