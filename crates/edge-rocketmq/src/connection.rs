//! One client's connection: it belongs to one reactor from accept to close, and no other thread touches it.
//!
//! ```text
//!  socket ──read──► frames ──► requests ──► answers ──► outbox ──one write per turn──► socket
//!                     │                                   │
//!                 partial (only while a frame is cut)     full: the socket is not read
//! ```
//!
//! A connection that waits for requests holds no buffer: reads go into the reactor's one buffer, and only the beginning of
//! an unfinished frame is kept here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use braid_reactor::unmapped;
use braid_wire_rocketmq::command::Command;
use braid_wire_rocketmq::frame::{self, FRAME_BYTES_MAX, Frame, FrameError, Limits};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use crate::listen::Role;
use crate::options::{
    CALLS_MAX, HELD_BYTES_ALL_MAX, HELD_MS_MAX, OUT_BYTES_ALL_MAX, OUT_BYTES_MAX, PARTIAL_BYTES_ALL_MAX,
};
use crate::outbox::Outbox;
use crate::reactor::Reactor;

/// Bytes that one read takes at most.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// A connection's name in the whole process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId {
    /// Its reactor.
    pub(crate) reactor: u16,
    /// Its number there.
    pub(crate) number: u64,
}

/// Requests of ours that wait for the client's answer.
#[derive(Default)]
struct Calls {
    last_opaque: i32,
    waiting: HashMap<i32, oneshot::Sender<Command>>,
}

/// See the module.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) role: Role,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// The address at which the client reached us.
    pub(crate) local: SocketAddr,
    write: OwnedWriteHalf,
    out: RefCell<Outbox>,
    partial: RefCell<BytesMut>,
    /// What `partial` counts for in the reactor's sum.
    counted: Cell<usize>,
    /// A request that the log could not take yet; nothing is read until it did.
    held: RefCell<Option<Frame>>,
    /// Since when the held request waits.
    held_since_ms: Cell<Option<u64>>,
    /// Until then nothing is held any more: a request has waited in vain, and those behind it are not to wait as long again.
    impatient_until_ms: Cell<u64>,
    /// Wakes the connection's task: something waits for the socket, or the connection was closed.
    kick: Notify,
    closed: Cell<bool>,
    /// In the reactor's list of connections to flush.
    pub(crate) dirty: Cell<bool>,
    active_ms: Cell<u64>,
    calls: RefCell<Option<Box<Calls>>>,
}

impl Connection {
    /// # Errors
    /// When the socket is gone already.
    pub(crate) fn new(
        id: ConnectionId,
        role: Role,
        stream: TcpStream,
        now_ms: u64,
    ) -> io::Result<(Rc<Self>, OwnedReadHalf)> {
        stream.set_nodelay(true)?;
        let (remote, local) = (unmapped(stream.peer_addr()?), unmapped(stream.local_addr()?));
        let (read, write) = stream.into_split();
        let connection = Rc::new(Self {
            id,
            role,
            remote,
            local,
            write,
            out: RefCell::default(),
            partial: RefCell::default(),
            counted: Cell::new(0),
            held: RefCell::default(),
            held_since_ms: Cell::new(None),
            impatient_until_ms: Cell::new(0),
            kick: Notify::new(),
            closed: Cell::new(false),
            dirty: Cell::new(false),
            active_ms: Cell::new(now_ms),
            calls: RefCell::default(),
        });
        Ok((connection, read))
    }

    /// Serves the connection until either side ends it. Dropping the future ends it too.
    pub(crate) async fn serve(self: &Rc<Self>, reactor: &Rc<Reactor>, mut read: OwnedReadHalf) {
        while !self.closed.get() {
            let pending = !self.out.borrow().is_empty();
            tokio::select! {
                ready = self.write.writable(), if pending => match ready {
                    Ok(()) => self.flush(reactor),
                    Err(_) => self.close(),
                },
                received = self.receive(reactor, &mut read), if self.may_read(reactor) => match received {
                    Ok(0) => self.close(),
                    Ok(_) => self.run(reactor),
                    Err(_) => self.close(),
                },
                () = self.kick.notified() => {}
            }
            if self.has_backlog() && self.may_read(reactor) {
                self.run(reactor);
            }
        }
    }

    /// A connection whose answers are not taken, or whose last request waits for the log, is not asked for more.
    fn may_read(&self, reactor: &Reactor) -> bool {
        let waiting = self.out.borrow().len();
        self.held.borrow().is_none()
            && waiting < OUT_BYTES_MAX
            && (waiting == 0 || reactor.out_bytes.get() < OUT_BYTES_ALL_MAX)
    }

    /// Keeps a request that the log could not take; false when it has waited long enough, or too many bytes wait already.
    pub(crate) fn hold(&self, reactor: &Reactor, frame: &Frame) -> bool {
        let now_ms = reactor.now_ms();
        let since_ms = self.held_since_ms.get().unwrap_or(now_ms);
        let waited = now_ms.saturating_sub(since_ms) >= HELD_MS_MAX;
        let bytes = reactor.held_bytes.get() + held_bytes(frame);
        if waited || now_ms < self.impatient_until_ms.get() || bytes > HELD_BYTES_ALL_MAX {
            if waited {
                self.impatient_until_ms.set(now_ms + HELD_MS_MAX);
            }
            self.held_since_ms.set(None);
            return false;
        }
        reactor.held_bytes.set(bytes);
        self.held_since_ms.set(Some(since_ms));
        self.held.replace(Some(on_its_own(frame)));
        true
    }

    /// Tries the held request again, and goes on reading when it is through.
    pub(crate) fn retry_held(self: &Rc<Self>, reactor: &Rc<Reactor>) {
        let Some(frame) = self.take_held(reactor) else { return };
        if self.closed.get() {
            return;
        }
        reactor.handle(self, &frame);
        if self.held.borrow().is_none() {
            self.held_since_ms.set(None);
            self.kick.notify_one();
        }
    }

    fn take_held(&self, reactor: &Reactor) -> Option<Frame> {
        let frame = self.held.take()?;
        reactor.held_bytes.set(reactor.held_bytes.get() - held_bytes(&frame));
        Some(frame)
    }

    /// Reads once, into the reactor's buffer if no frame is unfinished; gives the bytes read.
    async fn receive(&self, reactor: &Reactor, read: &mut OwnedReadHalf) -> io::Result<usize> {
        poll_fn(|context| {
            let mut scratch = reactor.scratch.borrow_mut();
            let mut partial = self.partial.borrow_mut();
            let buffer = if partial.is_empty() {
                scratch.clear();
                &mut *scratch
            } else {
                &mut *partial
            };
            buffer.reserve(READ_BYTES.min(missing(buffer)));
            pin!(read.read_buf(buffer)).poll(context)
        })
        .await
    }

    /// Hands all complete frames to their handlers, then sends what they answered, with one write.
    fn run(self: &Rc<Self>, reactor: &Rc<Reactor>) {
        self.active_ms.set(reactor.now_ms());
        let mut partial = self.partial.take();
        let from_partial = !partial.is_empty();
        let mut scratch = reactor.scratch.take();
        let buffer = if from_partial { &mut partial } else { &mut scratch };
        let cut = self.requests(reactor, buffer);
        // What is left is the beginning of a frame, or whole ones that wait until answers are taken.
        let rest = if buffer.is_empty() {
            BytesMut::new()
        } else if from_partial {
            std::mem::take(buffer)
        } else {
            BytesMut::from(&buffer[..])
        };
        scratch.clear();
        reactor.scratch.replace(scratch);
        self.count_partial(reactor, rest.capacity());
        self.partial.replace(rest);
        if let Err(error) = cut {
            tracing::debug!(client = %self.remote, %error, "a connection is closed");
            self.close();
        }
        if reactor.partial_bytes.get() > PARTIAL_BYTES_ALL_MAX && self.counted.get() > READ_BYTES {
            tracing::warn!(client = %self.remote, "a connection is closed: too many bytes of unfinished frames");
            self.close();
        }
        self.flush(reactor);
    }

    /// Keeps the reactor's sum of unfinished frames.
    fn count_partial(&self, reactor: &Reactor, bytes: usize) {
        reactor.partial_bytes.set(reactor.partial_bytes.get() - self.counted.get() + bytes);
        self.counted.set(bytes);
    }

    fn requests(self: &Rc<Self>, reactor: &Rc<Reactor>, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let limits = Limits { frame_bytes_max: FRAME_BYTES_MAX };
        while !self.closed.get() && self.may_read(reactor) {
            let Some(frame) = frame::next(buffer, &limits)? else { break };
            reactor.handle(self, &frame);
        }
        Ok(())
    }

    fn has_backlog(&self) -> bool {
        let partial = self.partial.borrow();
        partial.len() >= 4 && missing(&partial) == 0
    }

    /// Appends a frame to what is sent at the end of the turn.
    pub(crate) fn push(self: &Rc<Self>, reactor: &Reactor, write: impl FnOnce(&mut BytesMut)) {
        if self.closed.get() {
            return;
        }
        let count = self.out.borrow_mut().append(reactor.now_ms(), write);
        reactor.out_bytes.set(reactor.out_bytes.get() + count);
        reactor.flush_later(self);
    }

    /// Sends as much as the socket takes; the rest waits for it.
    pub(crate) fn flush(&self, reactor: &Reactor) {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            match self.write.try_write(out.bytes()) {
                Ok(0) => return self.close(),
                Ok(count) => {
                    out.took(count, reactor.now_ms());
                    reactor.out_bytes.set(reactor.out_bytes.get() - count);
                    self.active_ms.set(reactor.now_ms());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.kick.notify_one();
                    return;
                }
                Err(_) => return self.close(),
            }
        }
    }

    /// Sends a request of ours; the answer goes to `answer`, whose sender is dropped when there will be none.
    pub(crate) fn call(
        self: &Rc<Self>,
        reactor: &Reactor,
        mut command: Command,
        answer: oneshot::Sender<Command>,
    ) {
        {
            let mut calls = self.calls.borrow_mut();
            let calls = calls.get_or_insert_default();
            calls.waiting.retain(|_, waiting| !waiting.is_closed());
            if calls.waiting.len() >= CALLS_MAX {
                return;
            }
            calls.last_opaque = calls.last_opaque.wrapping_add(1);
            command.opaque = calls.last_opaque;
            calls.waiting.insert(command.opaque, answer);
        }
        self.push(reactor, |out| {
            if let Err(error) = command.encode(out) {
                tracing::warn!(%error, "a request to a client could not be written");
            }
        });
    }

    /// The client's answer to a request of ours; one that nobody waits for is dropped.
    pub(crate) fn answered(&self, command: Command) {
        let waiting =
            self.calls.borrow_mut().as_mut().and_then(|calls| calls.waiting.remove(&command.opaque));
        if let Some(waiting) = waiting {
            let _ = waiting.send(command);
        }
    }

    /// Ends the connection at the end of the turn.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.kick.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Bytes that wait for the client.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.out.borrow().len()
    }

    /// Gives back what the connection counts for in its reactor's sums. For the reactor, once, at the end.
    pub(crate) fn settle(&self, reactor: &Reactor) {
        self.closed.set(true);
        reactor.out_bytes.set(reactor.out_bytes.get() - self.out.borrow().len());
        self.count_partial(reactor, 0);
        self.partial.take();
        self.take_held(reactor);
        self.calls.take();
    }

    /// Why the connection should end now, if it should: nothing said for too long, or nothing taken.
    pub(crate) fn overdue(&self, now_ms: u64, idle_ms: u64, stalled_ms: u64) -> Option<&'static str> {
        let silent = now_ms.saturating_sub(self.active_ms.get());
        if self.out.borrow().stalled_ms(now_ms) >= stalled_ms {
            Some("it takes no answers")
        } else if silent >= stalled_ms && !self.partial.borrow().is_empty() {
            Some("a frame was left unfinished")
        } else if silent >= idle_ms {
            Some("idle")
        } else {
            None
        }
    }
}

/// What a held frame counts for.
fn held_bytes(frame: &Frame) -> usize {
    frame.header.len() + frame.body.len()
}

/// The frame without the buffer that it was cut from, which is larger unless the frame is large itself.
fn on_its_own(frame: &Frame) -> Frame {
    if held_bytes(frame) >= READ_BYTES {
        return frame.clone();
    }
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    Frame { header: copy(&frame.header), body: copy(&frame.body), ..frame.clone() }
}

/// How many bytes the frame at the front of `buffer` needs still, as far as that is known.
fn missing(buffer: &BytesMut) -> usize {
    match buffer.first_chunk::<4>() {
        None => READ_BYTES,
        Some(length) => (u32::from_be_bytes(*length) as usize).saturating_add(4).saturating_sub(buffer.len()),
    }
}
