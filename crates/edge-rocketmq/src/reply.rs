//! Answers: what a handler gives back, and how it becomes a frame.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use braid_store::Promise;
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::{ExtFields, FrameWriter, RequestHead};
use bytes::{Bytes, BytesMut};

/// One answer, in whatever form its request had.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) code: i32,
    pub(crate) remark: Option<Cow<'static, str>>,
    pub(crate) fields: ExtFields,
    pub(crate) body: Bytes,
    /// The log could not take the request now; it may be tried again, since nothing of it was done.
    pub(crate) busy: bool,
    /// The log takes nothing until its disk has room, or until a restart.
    pub(crate) unwritable: bool,
}

impl Reply {
    /// SUCCESS without anything.
    pub(crate) fn ok() -> Self {
        Self::default()
    }

    /// A code with a text for people.
    pub(crate) fn error(code: i32, remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code, remark: Some(remark.into()), ..Self::default() }
    }

    /// SYSTEM_ERROR with a text for people.
    pub(crate) fn system_error(remark: impl Into<Cow<'static, str>>) -> Self {
        Self::error(response::SYSTEM_ERROR, remark)
    }

    /// SUCCESS with a custom header.
    pub(crate) fn fields(fields: ExtFields) -> Self {
        Self { fields, ..Self::default() }
    }

    /// SUCCESS with a body.
    pub(crate) fn body(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    pub(crate) fn with_fields(mut self, fields: ExtFields) -> Self {
        self.fields = fields;
        self
    }

    /// Appends the frame that answers `head`. An answer that no frame can hold becomes an error that says so.
    pub(crate) fn encode(&self, head: &RequestHead, out: &mut BytesMut) {
        let mut writer = FrameWriter::response(out, head, self.code, self.remark.as_deref());
        for (name, value) in self.fields.iter() {
            writer.text(name, value);
        }
        match writer.finish(self.body.len()) {
            Ok(()) => out.extend_from_slice(&self.body),
            Err(error) => {
                let text = format!("the answer can not be sent: {error}");
                let writer = FrameWriter::response(out, head, response::SYSTEM_ERROR, Some(&text));
                if let Err(error) = writer.finish(0) {
                    tracing::error!(%error, "an answer could not be written");
                }
            }
        }
    }
}

/// A future that stays on its reactor.
pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a handler made of a request.
pub(crate) enum Outcome {
    /// Answer now.
    Now(Reply),
    /// Answer when the promise holds.
    Promised(Promise<Reply>),
    /// Answer when the future ends: another client or the disk is asked.
    Wait(LocalFuture<Outcome>),
    /// The handler answered on its own, or will.
    Taken,
}

impl Outcome {
    /// Waits for another client or the disk; the future gives the answer, or the refusal.
    pub(crate) fn wait(future: impl Future<Output = Result<Outcome, Reply>> + 'static) -> Self {
        Outcome::Wait(Box::pin(async { future.await.unwrap_or_else(Outcome::Now) }))
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Outcome::Now(reply)
    }
}
