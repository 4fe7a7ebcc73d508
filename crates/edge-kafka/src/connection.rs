//! One client's connection: it belongs to one reactor from accept to close, and no other thread touches it.
//!
//! ```text
//!  socket ──read──► frames ──► requests, one after the other ──► answers ──► outbox ──one write per turn──► socket
//!                     │            │                                           │
//!                 partial     Produce: its answer waits in line,           full: the socket is not read
//!                             the next Produce begins meanwhile;
//!                             anything else is finished first
//! ```
//!
//! Answers leave in the order of their requests: those of Produce because appends are proved in order, all others because nothing
//! else is begun meanwhile. While a request waits, a little is read ahead, so that a client that goes away is noticed.
//!
//! A connection that waits for requests holds no buffer: reads go into the reactor's one buffer, and only the beginning of
//! an unfinished request is kept here.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use braid_reactor::unmapped;
use braid_wire_kafka::frame::{self, FrameError};
use braid_wire_kafka::keys;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::options::{
    AHEAD_BYTES_MAX, FRAME_BYTES_MAX, HELD_BYTES_ALL_MAX, HELD_MS_MAX, LINE_MAX, OUT_BYTES_ALL_MAX,
    OUT_BYTES_MAX, PARTIAL_BYTES_ALL_MAX,
};
use crate::outbox::{Outbox, SLICES_MAX};
use crate::reactor::Reactor;
use crate::reply::{LocalFuture, Outcome, Reply};

/// Bytes that one read takes at most.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Bytes of a request before its key.
const KEY_AT: usize = 4;
/// Bytes of the key.
const KEY_BYTES: usize = 2;

/// A request that the log could not take to its end, and how it goes on.
struct Held {
    bytes: usize,
    retry: Retry,
}

/// Goes on with a request that the log could not take.
pub(crate) type Retry = Box<dyn FnOnce(&Rc<Reactor>, &Rc<Connection>) -> Outcome>;

/// See the module.
pub(crate) struct Connection {
    /// Its number on its reactor; never used twice.
    pub(crate) number: u64,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// The address at which the client reached us.
    pub(crate) local: SocketAddr,
    write: OwnedWriteHalf,
    out: RefCell<Outbox>,
    partial: RefCell<BytesMut>,
    /// What `partial` counts for in the reactor's sum.
    counted: Cell<usize>,
    /// Produce requests whose answers are promised.
    line: Cell<usize>,
    /// A request of another kind is not answered yet: nothing is begun.
    alone: Cell<bool>,
    /// What that request waits for, until the connection's task takes it.
    begun: RefCell<Option<LocalFuture<Outcome>>>,
    /// A request that the log could not take yet; nothing is begun until it did.
    held: RefCell<Option<Held>>,
    /// Since when the held request waits.
    held_since_ms: Cell<Option<u64>>,
    /// Until then nothing is held any more: a request has waited in vain, and those behind it are not to wait as long again.
    impatient_until_ms: Cell<u64>,
    /// Wakes the connection's task: there is something to do, or the connection was closed.
    kick: Notify,
    closed: Cell<bool>,
    /// In the reactor's list of connections to flush.
    pub(crate) dirty: Cell<bool>,
    active_ms: Cell<u64>,
}

impl Connection {
    /// # Errors
    /// When the socket is gone already.
    pub(crate) fn new(number: u64, stream: TcpStream, now_ms: u64) -> io::Result<(Rc<Self>, OwnedReadHalf)> {
        stream.set_nodelay(true)?;
        let (remote, local) = (unmapped(stream.peer_addr()?), unmapped(stream.local_addr()?));
        let (read, write) = stream.into_split();
        let connection = Rc::new(Self {
            number,
            remote,
            local,
            write,
            out: RefCell::default(),
            partial: RefCell::default(),
            counted: Cell::new(0),
            line: Cell::new(0),
            alone: Cell::new(false),
            begun: RefCell::default(),
            held: RefCell::default(),
            held_since_ms: Cell::new(None),
            impatient_until_ms: Cell::new(0),
            kick: Notify::new(),
            closed: Cell::new(false),
            dirty: Cell::new(false),
            active_ms: Cell::new(now_ms),
        });
        Ok((connection, read))
    }

    /// Serves the connection until either side ends it. Dropping the future ends it too, and with it what its request waits for.
    pub(crate) async fn serve(self: &Rc<Self>, reactor: &Rc<Reactor>, mut read: OwnedReadHalf) {
        let mut request: Option<LocalFuture<Outcome>> = None;
        while !self.closed.get() {
            if request.is_none() {
                request = self.begun.take();
            }
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
                outcome = ended(&mut request) => {
                    request = None;
                    self.alone.set(false);
                    reactor.waiting.set(reactor.waiting.get() - 1);
                    reactor.settle(self, false, outcome);
                },
                () = self.kick.notified() => {}
            }
            if self.has_backlog(reactor) {
                self.run(reactor);
            }
        }
        if request.is_some() || self.begun.take().is_some() {
            reactor.waiting.set(reactor.waiting.get() - 1);
        }
    }

    /// A connection whose answers are not taken, or whose request waits for the log, is not asked for more. One whose request
    /// waits for something else is asked for a little, to see whether it still lives.
    fn may_read(&self, reactor: &Reactor) -> bool {
        let waiting = self.out.borrow().len();
        let free = !self.alone.get() && self.line.get() < LINE_MAX;
        self.held.borrow().is_none()
            && waiting < OUT_BYTES_MAX
            && (waiting == 0 || reactor.out_bytes.get() < OUT_BYTES_ALL_MAX)
            && (free && missing(&self.partial.borrow()) > 0 || self.partial.borrow().len() < AHEAD_BYTES_MAX)
    }

    /// Whether the request at the front of `buffer` may be begun now.
    fn may_begin(&self, reactor: &Reactor, buffer: &[u8]) -> bool {
        let waiting = self.out.borrow().len();
        let key = buffer.get(KEY_AT..KEY_AT + KEY_BYTES);
        let produces = key == Some(&keys::PRODUCE.to_be_bytes()[..]);
        let in_turn = self.line.get() == 0 || produces && self.line.get() < LINE_MAX;
        in_turn
            && !self.alone.get()
            && !self.closed.get()
            && self.held.borrow().is_none()
            && waiting < OUT_BYTES_MAX
            && (waiting == 0 || reactor.out_bytes.get() < OUT_BYTES_ALL_MAX)
            && !reactor.shared.stopping.load(Ordering::Relaxed)
    }

    /// Whether answers are promised that are not given yet.
    pub(crate) fn has_line(&self) -> bool {
        self.line.get() > 0
    }

    /// Notes that a request was begun whose answer comes later. True for one behind which a Produce may be begun.
    pub(crate) fn begin(&self, piped: bool) {
        if piped {
            self.line.set(self.line.get() + 1);
        } else {
            self.alone.set(true);
        }
    }

    /// Lets the connection's task wait for a request.
    pub(crate) fn wait_for(&self, request: LocalFuture<Outcome>) {
        self.alone.set(true);
        self.begun.replace(Some(request));
        self.kick.notify_one();
    }

    /// A request that was begun is over.
    pub(crate) fn end(&self, piped: bool) {
        if piped {
            self.line.set(self.line.get() - 1);
        } else {
            self.alone.set(false);
        }
        if !self.partial.borrow().is_empty() {
            self.kick.notify_one();
        }
    }

    /// Whether a request of this length that the log can't take now may wait for it; false when it has waited long enough, or too
    /// many bytes wait already.
    pub(crate) fn may_hold(&self, reactor: &Reactor, bytes: usize) -> bool {
        let now_ms = reactor.now_ms();
        let since_ms = self.held_since_ms.get().unwrap_or(now_ms);
        let waited = now_ms.saturating_sub(since_ms) >= HELD_MS_MAX;
        let all = reactor.held_bytes.get() + bytes;
        if waited || now_ms < self.impatient_until_ms.get() || all > HELD_BYTES_ALL_MAX {
            if waited {
                self.impatient_until_ms.set(now_ms + HELD_MS_MAX);
            }
            self.held_since_ms.set(None);
            return false;
        }
        self.held_since_ms.set(Some(since_ms));
        true
    }

    /// Keeps a request of this length until the log takes it.
    pub(crate) fn hold(&self, reactor: &Reactor, bytes: usize, retry: Retry) {
        reactor.held_bytes.set(reactor.held_bytes.get() + bytes);
        self.held.replace(Some(Held { bytes, retry }));
    }

    /// Goes on with the held request, and with those behind it when it is through.
    pub(crate) fn retry_held(self: &Rc<Self>, reactor: &Rc<Reactor>) {
        let Some(Held { retry, .. }) = self.take_held(reactor) else { return };
        if self.closed.get() {
            return;
        }
        reactor.resume(self, retry);
        if self.held.borrow().is_none() {
            self.held_since_ms.set(None);
            self.kick.notify_one();
        }
    }

    fn take_held(&self, reactor: &Reactor) -> Option<Held> {
        let held = self.held.take()?;
        reactor.held_bytes.set(reactor.held_bytes.get() - held.bytes);
        Some(held)
    }

    /// Reads once, into the reactor's buffer if no request is unfinished; gives the bytes read.
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
            buffer.reserve(match missing(buffer) {
                // A whole request waits: what comes is behind it.
                0 => AHEAD_BYTES_MAX,
                missing => READ_BYTES.min(missing),
            });
            pin!(read.read_buf(buffer)).poll(context)
        })
        .await
    }

    /// Hands all requests that may be begun to their handlers, then sends what they answered, with one write.
    fn run(self: &Rc<Self>, reactor: &Rc<Reactor>) {
        self.active_ms.set(reactor.now_ms());
        let mut partial = self.partial.take();
        let from_partial = !partial.is_empty();
        let mut scratch = reactor.scratch.take();
        let buffer = if from_partial { &mut partial } else { &mut scratch };
        let cut = self.requests(reactor, buffer);
        // What is left is the beginning of a request, or whole ones that wait for their turn.
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
            reactor.complain(self, &error);
            self.close();
        }
        if reactor.partial_bytes.get() > PARTIAL_BYTES_ALL_MAX && self.counted.get() > READ_BYTES {
            tracing::warn!(client = %self.remote, "a connection is closed: too many bytes of unfinished requests");
            self.close();
        }
        self.flush(reactor);
    }

    /// Keeps the reactor's sum of unfinished requests.
    fn count_partial(&self, reactor: &Reactor, bytes: usize) {
        reactor.partial_bytes.set(reactor.partial_bytes.get() - self.counted.get() + bytes);
        self.counted.set(bytes);
    }

    fn requests(self: &Rc<Self>, reactor: &Rc<Reactor>, buffer: &mut BytesMut) -> Result<(), FrameError> {
        while self.may_begin(reactor, buffer) {
            let Some(frame) = frame::next(buffer, FRAME_BYTES_MAX)? else { break };
            reactor.handle(self, &frame);
        }
        Ok(())
    }

    /// Whether a whole request waits whose turn has come.
    fn has_backlog(&self, reactor: &Reactor) -> bool {
        let partial = self.partial.borrow();
        partial.len() >= KEY_AT && missing(&partial) == 0 && self.may_begin(reactor, &partial)
    }

    /// Appends an answer to what is sent at the end of the turn.
    pub(crate) fn push(self: &Rc<Self>, reactor: &Reactor, reply: &Reply) {
        if self.closed.get() {
            return;
        }
        let count = self.out.borrow_mut().append(reactor.now_ms(), reply);
        reactor.out_bytes.set(reactor.out_bytes.get() + count);
        reactor.flush_later(self);
    }

    /// Sends as much as the socket takes; the rest waits for it.
    pub(crate) fn flush(&self, reactor: &Reactor) {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = out.slices(&mut slices);
            let written = match count {
                1 => self.write.try_write(&slices[0]),
                _ => self.write.try_write_vectored(&slices[..count]),
            };
            match written {
                Ok(0) => return self.close(),
                Ok(count) => {
                    out.took(count, reactor.now_ms());
                    reactor.gave_out(count);
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

    /// Ends the connection at the end of the turn.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.kick.notify_one();
    }

    /// Gives back what the connection counts for in its reactor's sums. For the reactor, once, at the end.
    pub(crate) fn settle(&self, reactor: &Reactor) {
        self.closed.set(true);
        reactor.gave_out(self.out.borrow().len());
        self.out.take();
        self.count_partial(reactor, 0);
        self.partial.take();
        self.take_held(reactor);
        self.begun.take();
    }

    /// Why the connection should end now, if it should: nothing said for too long, or nothing taken.
    pub(crate) fn overdue(&self, now_ms: u64, idle_ms: u64, stalled_ms: u64) -> Option<&'static str> {
        let silent = now_ms.saturating_sub(self.active_ms.get());
        let waits = self.alone.get() || self.line.get() > 0 || self.held.borrow().is_some();
        if self.out.borrow().stalled_ms(now_ms) >= stalled_ms {
            Some("it takes no answers")
        } else if waits {
            None
        } else if silent >= stalled_ms && !self.partial.borrow().is_empty() {
            Some("a request was left unfinished")
        } else if silent >= idle_ms {
            Some("idle")
        } else {
            None
        }
    }
}

/// The outcome of the request that is waited for; never, when there is none.
async fn ended(request: &mut Option<LocalFuture<Outcome>>) -> Outcome {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

/// The frame without the buffer that it was cut from, which is larger unless the frame is large itself.
pub(crate) fn on_its_own(frame: &Bytes) -> Bytes {
    if frame.len() >= READ_BYTES { frame.clone() } else { Bytes::copy_from_slice(frame) }
}

/// How many bytes the request at the front of `buffer` needs still, as far as that is known.
fn missing(buffer: &BytesMut) -> usize {
    match buffer.first_chunk::<4>() {
        None => READ_BYTES,
        // Refused when it is cut.
        Some(length) if i32::from_be_bytes(*length) < 0 => 0,
        Some(length) => (u32::from_be_bytes(*length) as usize)
            .min(FRAME_BYTES_MAX + 1)
            .saturating_add(4)
            .saturating_sub(buffer.len()),
    }
}
