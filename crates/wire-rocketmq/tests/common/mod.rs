//! The recorded frames, for every test that replays or mutates them.

#![allow(dead_code, reason = "every test file that includes this module uses another part of it")]

use braid_wire_rocketmq::{Frame, Serialization, frame};
use bytes::{Bytes, BytesMut};

/// One recorded frame.
pub(crate) struct Recorded {
    /// Whether the client sent it.
    pub(crate) is_from_client: bool,
    /// The code of the request that it is or answers.
    pub(crate) code: i32,
    /// The header's text.
    pub(crate) header: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// The bytes that were on the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        wire.extend_from_slice(&((4 + self.header.len() + self.body.len()) as u32).to_be_bytes());
        wire.extend_from_slice(&(self.header.len() as u32).to_be_bytes());
        wire.extend_from_slice(self.header.as_bytes());
        wire.extend_from_slice(&self.body);
        wire
    }
}

/// All recorded frames.
pub(crate) fn recorded() -> Vec<Recorded> {
    let lines = include_str!("../data/frames.jsonl").lines();
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let hex = line["body"].as_str().unwrap();
            Recorded {
                is_from_client: line["dir"] == ">",
                code: line["code"].as_i64().unwrap() as i32,
                header: line["hdr"].as_str().unwrap().to_owned(),
                body: (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect(),
            }
        })
        .collect()
}

/// The one frame that `wire` consists of.
pub(crate) fn one_frame(wire: &[u8]) -> Frame {
    let mut buffer = BytesMut::from(wire);
    let frame = frame::next(&mut buffer, &frame::Limits::default()).unwrap().expect("a whole frame");
    assert!(buffer.is_empty(), "{} bytes behind the frame", buffer.len());
    frame
}

/// A frame with a JSON header and no body.
pub(crate) fn json_frame(header: &str) -> Frame {
    Frame {
        serialization: Serialization::Json,
        header: Bytes::copy_from_slice(header.as_bytes()),
        body: Bytes::new(),
    }
}
