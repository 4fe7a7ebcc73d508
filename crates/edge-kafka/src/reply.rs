//! Answers: what a handler gives back, and how it becomes a frame.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use braid_store::Promise;
use braid_wire_kafka::header;
use braid_wire_kafka::messages::Message;
use bytes::Bytes;

/// Bytes of a frame before its length counts.
const LENGTH_BYTES: usize = 4;

/// What an answer must know of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

impl Head {
    /// The answer's frame: header, then what `write` appends for the request's version.
    pub(crate) fn reply(self, write: impl FnOnce(i16, &mut Vec<u8>)) -> Reply {
        let mut reply = self.begin();
        write(self.version, &mut reply.bytes);
        reply.finish();
        reply
    }

    /// The answer with this content.
    pub(crate) fn message<'m>(self, message: &impl Message<'m>) -> Reply {
        self.reply(|version, out| message.encode(version, out))
    }

    /// A frame with its header; [`Reply::finish`] must follow.
    pub(crate) fn begin(self) -> Reply {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        header::encode_response(self.correlation_id, self.key, self.version, &mut bytes);
        Reply { bytes, ..Reply::default() }
    }
}

/// One answer: a frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// The frame without the log's bytes.
    pub(crate) bytes: Vec<u8>,
    /// The log's bytes, each with the place in `bytes` before which it stands.
    pub(crate) slices: Vec<(usize, Bytes)>,
    /// Where error codes stand that a promise which is not kept replaces.
    pub(crate) codes: Vec<u32>,
    /// It is true whatever becomes of the promise in which it waits.
    pub(crate) is_certain: bool,
}

impl Reply {
    /// How many bytes of the log it has.
    pub(crate) fn log_bytes(&self) -> usize {
        self.slices.iter().map(|(_, slice)| slice.len()).sum()
    }

    /// Writes the frame's length. To be called once, at the end.
    pub(crate) fn finish(&mut self) {
        let length = self.bytes.len() - LENGTH_BYTES + self.log_bytes();
        self.bytes[..LENGTH_BYTES].copy_from_slice(&(length as i32).to_be_bytes());
    }

    /// The answer when what was promised did not come true: all its promised codes are `code`. `None` when it has none and can't
    /// say so.
    pub(crate) fn broken(mut self, code: i16) -> Option<Self> {
        for &at in &self.codes {
            self.bytes[at as usize..at as usize + 2].copy_from_slice(&code.to_be_bytes());
        }
        (self.is_certain || !self.codes.is_empty()).then_some(self)
    }
}

/// A future that stays on its reactor.
pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a handler made of a request.
pub(crate) enum Outcome {
    /// Answer now.
    Now(Reply),
    /// Answer when the promise holds: something was appended. An answer whose [codes](Reply::codes) are noted says so when it does
    /// not hold; the connection of another is closed then.
    Promised(Promise<Reply>),
    /// Answer when the future ends: the disk or other clients are waited for. The connection begins no other request meanwhile;
    /// when it is closed, the future is dropped and must leave nothing behind.
    Wait(LocalFuture<Outcome>),
    /// No answer: acks = 0, or the log is busy and the request is held.
    Nothing,
    /// The connection is closed; the reason is for the log.
    Close(Cow<'static, str>),
}

impl Outcome {
    /// Waits for the disk or other clients.
    pub(crate) fn wait(future: impl Future<Output = Outcome> + 'static) -> Self {
        Outcome::Wait(Box::pin(future))
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Outcome::Now(reply)
    }
}
