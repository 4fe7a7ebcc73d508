//! One thread, one runtime, its connections: requests run to completion here, and nothing of it is shared.
//!
//! ```text
//!  ready sockets ──► their connections' tasks ──► requests ──► appends (memory)
//!                                                                │ woken once, behind the ready connections
//!                                             turn's end ──► one pwrite ──► flush thread told
//!  flush thread, other reactors ──► progress ──► promised answers redeemed ──► outboxes ──► one write per connection
//! ```
//!
//! Everything that waits is in a bounded place: answers in outboxes, promises behind the store's bound on unflushed bytes,
//! pulls in the parking, questions to the disk in a counted pool, messages from other threads in a mailbox.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use braid_broker::Wake;
use braid_reactor::{End, PromiseLines, guarded};
use braid_store::{Health, Progress, Promise, QueueKey, WriteOutcome};
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::command::Command;
use braid_wire_rocketmq::header::Scratch;
use braid_wire_rocketmq::{Frame, RequestHead};
use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::connection::{Connection, ConnectionId};
use crate::dispatch;
use crate::listen::Role;
use crate::options::COLD_JOBS_MAX;
use crate::pull::Parking;
use crate::reply::{LocalFuture, Outcome, Reply};
use crate::send::Sent;
use crate::shared::Shared;

/// What a log line says when a request's handler panicked; tests look for it.
pub(crate) const PANIC_MARK: &str = "panic in a request";
/// How often connections are looked at for idleness and stalls, at most.
const SWEEP_MS: u64 = 1_000;
/// How long accepting rests when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long clients are told to go away, when they are still connected and nothing else is left to do.
const FAREWELL: Duration = Duration::from_millis(300);
/// Between two tries of requests that the log could not take, when it makes no progress.
const HELD_STEP: Duration = Duration::from_millis(20);
/// How often the end of the work is looked for while stopping.
const DRAIN_STEP: Duration = Duration::from_millis(2);

/// What other threads ask of a reactor.
pub(crate) enum Mail {
    /// A connection that was accepted elsewhere.
    Accepted(TcpStream, Role),
    /// A frame for one of its connections.
    Push(ConnectionId, Bytes),
    /// A request of ours to one of its clients.
    Call(ConnectionId, Box<Command>, oneshot::Sender<Command>),
    /// Let a group's parked pulls of these queues read again: its cursors were reset.
    Recheck(String, Vec<QueueKey>),
    /// End one of its connections.
    Close(ConnectionId),
    /// Answer everything that waits, then end; at the latest at this moment.
    Stop(Instant),
}

/// How other threads reach a reactor.
pub(crate) struct ReactorHandle {
    mail: mpsc::Sender<Mail>,
    progress: Notify,
    /// Someone here waits for a watermark.
    interested: AtomicBool,
    /// Parked pulls that were woken, by their numbers. At most one entry for each that is parked.
    woken: Mutex<Vec<(u64, Wake)>>,
}

impl ReactorHandle {
    pub(crate) fn new(mail: mpsc::Sender<Mail>) -> Self {
        Self { mail, progress: Notify::new(), interested: AtomicBool::new(false), woken: Mutex::default() }
    }

    /// Sends, if there is room; the mail again if not.
    pub(crate) fn post(&self, mail: Mail) -> Result<(), Mail> {
        self.mail.try_send(mail).map_err(|error| match error {
            mpsc::error::TrySendError::Full(mail) | mpsc::error::TrySendError::Closed(mail) => mail,
        })
    }

    /// Sends, waiting for room. Not for reactors.
    pub(crate) fn post_blocking(&self, mail: Mail) {
        let _ = self.mail.blocking_send(mail);
    }

    /// A parked pull may go on. For the thread that dispatches.
    pub(crate) fn wake(&self, pull: u64, wake: Wake) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push((pull, wake));
        self.progress.notify_one();
    }

    fn take_woken(&self) -> Vec<(u64, Wake)> {
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for ReactorHandle {
    fn progressed(&self) {
        // Pairs with the fence in `Reactor::promise`: either we see the interest, or it sees the watermark.
        fence(Ordering::SeqCst);
        if self.interested.load(Ordering::Relaxed) {
            self.progress.notify_one();
        }
    }
}

/// The right to answer one request, once.
pub(crate) struct Ticket {
    pub(crate) connection: Rc<Connection>,
    pub(crate) head: RequestHead,
}

/// What is answered once its append is as safe as promised.
pub(crate) enum Answer {
    /// A stored message.
    Sent(Sent),
    /// Anything else.
    Reply(Reply),
}

/// See the module.
pub(crate) struct Reactor {
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    /// Where reads go; see [`Connection`].
    pub(crate) scratch: RefCell<BytesMut>,
    /// Where the hot headers' escaped texts go.
    pub(crate) text: RefCell<Scratch>,
    /// Bytes that wait in all outboxes.
    pub(crate) out_bytes: Cell<usize>,
    /// Bytes of all unfinished frames.
    pub(crate) partial_bytes: Cell<usize>,
    /// Pulls that wait for messages.
    pub(crate) parking: Parking,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    connections_made: Cell<u64>,
    promises: RefCell<PromiseLines<Ticket, Answer>>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    /// Connections with a request that the log could not take yet.
    held: RefCell<Vec<Rc<Connection>>>,
    /// Bytes of these requests.
    pub(crate) held_bytes: Cell<usize>,
    held_some: Notify,
    turn_end: Notify,
    appended: Cell<bool>,
    cold_jobs: Cell<usize>,
    timer_changed: Notify,
}

/// Runs a reactor until it is told to stop; the body of its thread.
pub(crate) fn run(
    shared: Arc<Shared>,
    index: u16,
    mail: mpsc::Receiver<Mail>,
    listeners: Vec<(Role, TcpListener)>,
    runtime: tokio::runtime::Runtime,
) {
    let promises = RefCell::new(PromiseLines::new(shared.options.sync_flush_timeout_ms));
    let reactor = Rc::new(Reactor {
        index,
        shared,
        scratch: RefCell::default(),
        text: RefCell::default(),
        out_bytes: Cell::new(0),
        partial_bytes: Cell::new(0),
        parking: Parking::default(),
        connections: RefCell::default(),
        connections_made: Cell::new(0),
        promises,
        dirty: RefCell::default(),
        held: RefCell::default(),
        held_bytes: Cell::new(0),
        held_some: Notify::new(),
        turn_end: Notify::new(),
        appended: Cell::new(false),
        cold_jobs: Cell::new(0),
        timer_changed: Notify::new(),
    });
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        reactor.spawn_steady("turn end", Reactor::turn_ends);
        reactor.spawn_steady("progress", Reactor::progress);
        reactor.spawn_steady("timers", Reactor::timers);
        reactor.spawn_steady("patience", Reactor::patience);
        reactor.spawn_steady("sweep", Reactor::sweep);
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|(role, listener)| tokio::task::spawn_local(Rc::clone(&reactor).accept(role, listener)))
            .collect();
        let until = Rc::clone(&reactor).mail(mail).await;
        accepting.iter().for_each(|task| task.abort());
        reactor.drain(until).await;
    });
    drop(local);
    runtime.shutdown_timeout(Duration::ZERO);
}

impl Reactor {
    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.clock.monotonic_ms()
    }

    pub(crate) fn handle_of_this(&self) -> &ReactorHandle {
        &self.shared.reactors[usize::from(self.index)]
    }

    // --- requests ------------------------------------------------------------------------------------------------

    /// Runs one request's handler. A panic ends its connection only.
    pub(crate) fn handle(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Frame) {
        let run = || dispatch::handle(self, connection, frame);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(client = %connection.remote, %error, "a connection is closed");
                connection.close();
            }
            Err(_) => panicked(connection),
        }
    }

    /// Puts off a request that the log could not take now; false when it has waited long enough and is to be refused.
    pub(crate) fn hold(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Frame) -> bool {
        if !connection.hold(self, frame) {
            return false;
        }
        self.held.borrow_mut().push(Rc::clone(connection));
        self.handle_of_this().interested.store(true, Ordering::Relaxed);
        self.held_some.notify_one();
        true
    }

    /// Tries all requests again that the log could not take.
    fn retry_held(self: &Rc<Self>) {
        let held = self.held.take();
        held.iter().for_each(|connection| connection.retry_held(self));
    }

    /// Does with a handler's outcome what it says.
    pub(crate) fn settle(self: &Rc<Self>, connection: &Rc<Connection>, head: RequestHead, outcome: Outcome) {
        match outcome {
            Outcome::Now(reply) => self.answer(&Ticket { connection: Rc::clone(connection), head }, &reply),
            Outcome::Promised(promise) => {
                self.promise(Ticket { connection: Rc::clone(connection), head }, promise.map(Answer::Reply));
            }
            Outcome::Wait(reply) => {
                self.answer_later(Ticket { connection: Rc::clone(connection), head }, reply);
            }
            Outcome::Taken => {}
        }
    }

    /// Writes an answer, unless none is wanted.
    pub(crate) fn answer(&self, ticket: &Ticket, reply: &Reply) {
        if !ticket.head.is_oneway() {
            ticket.connection.push(self, |out| reply.encode(&ticket.head, out));
        }
    }

    /// Answers when `reply` is there. A panic in it ends the connection only.
    fn answer_later(self: &Rc<Self>, ticket: Ticket, outcome: LocalFuture<Outcome>) {
        let Ticket { connection, head } = ticket;
        self.spawn_request(Rc::clone(&connection), async move |reactor| {
            let outcome = outcome.await;
            reactor.settle(&connection, head, outcome);
        });
    }

    /// Goes on with a request while others are served. A panic ends its connection only.
    pub(crate) fn spawn_request<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        connection: Rc<Connection>,
        request: impl FnOnce(Rc<Reactor>) -> F,
    ) {
        let request = request(Rc::clone(self));
        tokio::task::spawn_local(async move {
            if guarded(request).await.is_none() {
                panicked(&connection);
            }
        });
    }

    /// Answers when the promise holds. An append must have been made in this turn, or before.
    pub(crate) fn promise(&self, ticket: Ticket, promise: Promise<Answer>) {
        let mut promises = self.promises.borrow_mut();
        let first = promises.is_empty();
        promises.push(promise, ticket, self.now_ms());
        drop(promises);
        self.handle_of_this().interested.store(true, Ordering::Relaxed);
        // Pairs with the fence in `progressed`.
        fence(Ordering::SeqCst);
        self.appended();
        if first {
            self.timer_changed.notify_one();
        }
    }

    /// Something was appended: it is written at the end of the turn.
    pub(crate) fn appended(&self) {
        self.appended.set(true);
        self.turn_end.notify_one();
    }

    /// Answers all whose watermark passed.
    fn redeem(self: &Rc<Self>) {
        let store = &self.shared.store;
        loop {
            let next = self.promises.borrow_mut().pop(store.watermarks(), self.now_ms());
            let Some((ticket, end, waited_ms)) = next else { break };
            let (answer, timed_out) = match end {
                End::Proved(answer) => (answer, false),
                End::FlushTimedOut(answer) => (answer, true),
            };
            match answer {
                Answer::Sent(sent) => {
                    self.shared.metrics.sent(waited_ms);
                    sent.answer(self, &ticket, timed_out);
                }
                Answer::Reply(_) if timed_out => self.answer(&ticket, &flush_timed_out()),
                Answer::Reply(reply) => self.answer(&ticket, &reply),
            }
        }
        if self.promises.borrow().is_empty() {
            let waits = !self.held.borrow().is_empty();
            self.handle_of_this().interested.store(waits, Ordering::Relaxed);
        } else if let Health::Failed(reason) = store.health() {
            let text = format!("the log is closed for writing: {reason}");
            let abandoned = self.promises.borrow_mut().abandon();
            for ticket in abandoned {
                self.answer(&ticket, &Reply::error(response::SERVICE_NOT_AVAILABLE, text.clone()));
            }
        }
    }

    // --- sockets -------------------------------------------------------------------------------------------------

    /// The connection's outbox is sent at the end of the turn.
    pub(crate) fn flush_later(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(connection));
            self.turn_end.notify_one();
        }
    }

    fn flush_dirty(&self) {
        let dirty = self.dirty.take();
        for connection in &dirty {
            connection.dirty.set(false);
            connection.flush(self);
        }
    }

    async fn accept(self: Rc<Self>, role: Role, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(?role, %error, "a listener could not be served");
                return;
            }
        };
        let mut turn = 0;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let reactors = &self.shared.reactors;
                    turn = (turn + 1) % reactors.len();
                    if turn == usize::from(self.index) {
                        self.adopt(stream, role);
                    } else if let Ok(stream) = stream.into_std() {
                        // A reactor whose mailbox is full has no time for another connection: it is dropped.
                        let _ = reactors[turn].post(Mail::Accepted(stream, role));
                    }
                }
                Err(error) => {
                    tracing::warn!(?role, %error, "a connection could not be accepted");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Takes a connection and serves it.
    fn adopt(self: &Rc<Self>, stream: tokio::net::TcpStream, role: Role) {
        let count = self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        if count > self.shared.options.connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(connections = count - 1, "a connection is refused: the limit is reached");
            return;
        }
        let number = self.connections_made.replace(self.connections_made.get() + 1);
        let id = ConnectionId { reactor: self.index, number };
        let Ok((connection, read)) = Connection::new(id, role, stream, self.now_ms()) else {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        self.connections.borrow_mut().insert(number, Rc::clone(&connection));
        let reactor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if guarded(connection.serve(&reactor, read)).await.is_none() {
                panicked(&connection);
            }
            reactor.forget(&connection);
        });
    }

    fn forget(self: &Rc<Self>, connection: &Rc<Connection>) {
        // Its clients are gone before those who wait for their answers learn that none will come.
        self.shared.connection_closed(connection.id);
        connection.settle(self);
        self.connections.borrow_mut().remove(&connection.id.number);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.parking.forget(&self.shared.broker, connection.id);
    }

    // --- the reactor's own tasks ---------------------------------------------------------------------------------

    /// Starts a task of the reactor's own. A mistake in it must not leave everybody waiting: it begins anew.
    fn spawn_steady<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        name: &'static str,
        task: fn(Rc<Self>) -> F,
    ) {
        let reactor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while guarded(task(Rc::clone(&reactor))).await.is_none() {
                tracing::error!(task = name, "{PANIC_MARK}: a task of the reactor begins anew");
            }
        });
    }

    /// Wakes behind the connections that were ready with the one that woke it, so that one write serves them all.
    async fn turn_ends(self: Rc<Self>) {
        loop {
            self.turn_end.notified().await;
            if self.appended.replace(false) {
                let outcome = self.shared.store.write_turn();
                match outcome {
                    WriteOutcome::Done | WriteOutcome::NeedsFlush => self.shared.driver.written(),
                    WriteOutcome::InOtherHands | WriteOutcome::Closed => {}
                }
                self.redeem();
            }
            self.flush_dirty();
        }
    }

    async fn progress(self: Rc<Self>) {
        loop {
            self.handle_of_this().progress.notified().await;
            self.redeem();
            self.retry_held();
            for (pull, wake) in self.handle_of_this().take_woken() {
                self.parking.woken(&self, pull, wake);
            }
            self.flush_dirty();
        }
    }

    /// Tries held requests again when the log makes no progress, so that patience ends.
    async fn patience(self: Rc<Self>) {
        loop {
            if self.held.borrow().is_empty() {
                self.held_some.notified().await;
            }
            sleep(HELD_STEP).await;
            self.retry_held();
            self.flush_dirty();
        }
    }

    /// Ends waits for a flush that last too long.
    async fn timers(self: Rc<Self>) {
        loop {
            let next = self.promises.borrow().deadline_ms();
            match next {
                None => self.timer_changed.notified().await,
                Some(deadline_ms) => {
                    let wait = Duration::from_millis(deadline_ms.saturating_sub(self.now_ms()));
                    tokio::select! {
                        () = sleep_until(Instant::now() + wait) => {
                            self.redeem();
                            self.flush_dirty();
                        }
                        () = self.timer_changed.notified() => {}
                    }
                }
            }
        }
    }

    async fn sweep(self: Rc<Self>) {
        let options = &self.shared.options;
        let step =
            Duration::from_millis(SWEEP_MS.min(options.idle_ms / 4).min(options.stalled_ms / 4).max(1));
        loop {
            sleep(step).await;
            let now_ms = self.now_ms();
            for connection in self.connections.borrow().values() {
                if let Some(why) = connection.overdue(now_ms, options.idle_ms, options.stalled_ms) {
                    tracing::debug!(client = %connection.remote, why, "a connection is closed");
                    connection.close();
                }
            }
            if self.index == 0 {
                self.shared.sweep(now_ms);
            }
        }
    }

    /// Reads the mailbox until it says stop; gives the moment by which all must be done.
    async fn mail(self: Rc<Self>, mut mail: mpsc::Receiver<Mail>) -> Instant {
        while let Some(message) = mail.recv().await {
            match message {
                Mail::Accepted(stream, role) => match tokio::net::TcpStream::from_std(stream) {
                    Ok(stream) => self.adopt(stream, role),
                    Err(error) => tracing::warn!(%error, "a connection could not be served"),
                },
                Mail::Push(id, frame) => {
                    if let Some(connection) = self.connection(id) {
                        connection.push(&self, |out| out.extend_from_slice(&frame));
                    }
                }
                Mail::Call(id, command, answer) => {
                    if let Some(connection) = self.connection(id) {
                        connection.call(&self, *command, answer);
                    }
                }
                Mail::Recheck(group, queues) => self.parking.recheck(&self, &group, &queues),
                Mail::Close(id) => {
                    if let Some(connection) = self.connection(id) {
                        connection.close();
                    }
                }
                Mail::Stop(until) => return until,
            }
        }
        Instant::now()
    }

    fn connection(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id.number).cloned()
    }

    /// Answers parked pulls and accepted sends, tells clients to go, and ends their connections.
    async fn drain(self: &Rc<Self>, until: Instant) {
        // Parked pulls were woken by `Broker::stop_parking`.
        self.appended();
        let farewell = until.min(Instant::now() + FAREWELL);
        while Instant::now() < until {
            let busy = !self.promises.borrow().is_empty()
                || !self.held.borrow().is_empty()
                || self.out_bytes.get() > 0
                || self.cold_jobs.get() > 0
                || (Instant::now() < farewell && !self.connections.borrow().is_empty());
            if !busy {
                break;
            }
            sleep(DRAIN_STEP).await;
        }
        let connections: Vec<_> = self.connections.borrow().values().cloned().collect();
        connections.iter().for_each(|connection| connection.close());
        tokio::task::yield_now().await;
    }

    // --- the disk ------------------------------------------------------------------------------------------------

    /// How many questions to the disk wait or are being answered.
    pub(crate) fn cold_jobs(&self) -> usize {
        self.cold_jobs.get()
    }

    /// Asks something that may wait for the disk, on a thread that may.
    ///
    /// # Errors
    /// The answer to give when too much is asked already, or the question panicked.
    pub(crate) fn ask_disk<T: Send + 'static>(
        self: &Rc<Self>,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Reply>> + 'static {
        let reactor = Rc::clone(self);
        async move {
            if reactor.cold_jobs.get() >= COLD_JOBS_MAX {
                return Err(Reply::error(
                    response::SYSTEM_BUSY,
                    "[OVERLOAD]system busy, start flow control for a while",
                ));
            }
            reactor.cold_jobs.set(reactor.cold_jobs.get() + 1);
            let answer = tokio::task::spawn_blocking(question).await;
            reactor.cold_jobs.set(reactor.cold_jobs.get() - 1);
            answer.map_err(|error| {
                tracing::error!(%error, "{PANIC_MARK}");
                Reply::system_error("the request failed inside the broker")
            })
        }
    }
}

fn panicked(connection: &Connection) {
    tracing::error!(client = %connection.remote, "{PANIC_MARK}: its connection is closed");
    connection.close();
}

fn flush_timed_out() -> Reply {
    Reply::error(
        response::FLUSH_DISK_TIMEOUT,
        "the disk did not confirm in time; the change is kept in the log",
    )
}
