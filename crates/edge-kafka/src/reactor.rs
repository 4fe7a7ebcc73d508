//! One thread, one runtime, its connections: requests run to completion here, and nothing of it is shared.
//!
//! ```text
//!  ready sockets ──► their connections' tasks ──► requests ──► appends (memory)
//!                                                                │ woken once, behind the ready connections
//!                                             turn's end ──► one pwrite ──► flush thread told
//!  flush thread, other reactors ──► progress ──► promised answers redeemed ──► outboxes ──► one write per connection
//! ```
//!
//! Everything that waits is in a bounded place: answers in outboxes, promises behind the store's bound on unflushed bytes and in
//! their connections' lines, one waiting request in each connection's task, questions to the disk in a counted pool.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use braid_broker::{Waiter, Wake};
use braid_reactor::{End, PromiseLines, guarded};
use braid_store::{Health, Progress, Promise, WriteOutcome};
use braid_wire_kafka::error_code;
use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::connection::{Connection, Retry};
use crate::dispatch;
use crate::options::COLD_JOBS_MAX;
use crate::reply::{Outcome, Reply};
use crate::shared::Shared;

/// What a log line says when a request's handler panicked; tests look for it.
pub(crate) const PANIC_MARK: &str = "panic in a request";
/// How often connections are looked at for idleness and stalls, at most.
const SWEEP_MS: u64 = 1_000;
/// Milliseconds between two lines of a reactor about connections that are closed for what they sent.
const COMPLAIN_MS: u64 = 1_000;
/// How long accepting rests when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long requests that wait for others may take when the edge stops.
const FAREWELL: Duration = Duration::from_millis(300);
/// Between two tries of requests that the log could not take, when it makes no progress.
const HELD_STEP: Duration = Duration::from_millis(20);
/// How often the end of the work is looked for while stopping.
const DRAIN_STEP: Duration = Duration::from_millis(2);

/// What other threads ask of a reactor.
pub(crate) enum Mail {
    /// A connection that was accepted elsewhere.
    Accepted(TcpStream),
    /// Answer everything that waits, then end; at the latest at this moment.
    Stop(Instant),
}

/// How other threads reach a reactor.
pub(crate) struct ReactorHandle {
    mail: mpsc::Sender<Mail>,
    progress: Notify,
    /// Someone here waits for a watermark.
    interested: AtomicBool,
    /// Bells that were rung, by their numbers. At most one entry for each that hangs.
    rung: Mutex<Vec<u64>>,
}

impl ReactorHandle {
    pub(crate) fn new(mail: mpsc::Sender<Mail>) -> Self {
        Self { mail, progress: Notify::new(), interested: AtomicBool::new(false), rung: Mutex::default() }
    }

    /// Sends, if there is room.
    fn post(&self, mail: Mail) {
        // A reactor whose mailbox is full has no time for another connection: it is dropped.
        let _ = self.mail.try_send(mail);
    }

    /// Sends, waiting for room. Not for reactors.
    pub(crate) fn post_blocking(&self, mail: Mail) {
        let _ = self.mail.blocking_send(mail);
    }

    fn ring(&self, bell: u64) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).push(bell);
        self.progress.notify_one();
    }

    fn take_rung(&self) -> Vec<u64> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
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

/// What other threads ring to wake a request that waits on a reactor.
pub(crate) struct Bell {
    reactor: Arc<ReactorHandle>,
    number: u64,
}

impl Waiter for Bell {
    fn wake(self: Arc<Self>, _: Wake) {
        self.reactor.ring(self.number);
    }
}

/// The waiting side of a [`Bell`], which hangs until this is dropped.
pub(crate) struct Ringing {
    reactor: Rc<Reactor>,
    number: u64,
    rung: Rc<Notify>,
}

impl Ringing {
    /// What is handed to whoever rings.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        let reactor = &self.reactor.shared.reactors[usize::from(self.reactor.index)];
        Arc::new(Bell { reactor: Arc::clone(reactor), number: self.number })
    }

    /// Waits until the bell was rung since the last wait.
    pub(crate) async fn wait(&self) {
        self.rung.notified().await;
    }
}

impl Drop for Ringing {
    fn drop(&mut self) {
        self.reactor.bells.borrow_mut().remove(&self.number);
    }
}

/// Whose promise it is.
struct Ticket {
    connection: Rc<Connection>,
    /// A Produce, behind which others may have been begun.
    piped: bool,
}

/// See the module.
pub(crate) struct Reactor {
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    /// Where reads go; see [`Connection`].
    pub(crate) scratch: RefCell<BytesMut>,
    /// Where batches are stamped; see `produce`.
    pub(crate) stamped: RefCell<Vec<u8>>,
    /// Bytes that wait in all outboxes.
    pub(crate) out_bytes: Cell<usize>,
    /// Bytes of all unfinished requests.
    pub(crate) partial_bytes: Cell<usize>,
    /// Requests that wait in their connections' tasks.
    pub(crate) waiting: Cell<usize>,
    /// Bytes of requests that wait for records.
    pub(crate) parked_bytes: Cell<usize>,
    /// Bytes that fetches hold; see [`HeldBytes`].
    fetch_bytes: Cell<usize>,
    /// Fetches that wait for room.
    without_room: Cell<usize>,
    /// Calls the one of them that waits longest.
    room: Notify,
    bells: RefCell<HashMap<u64, Rc<Notify>>>,
    bells_made: Cell<u64>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    connections_made: Cell<u64>,
    promises: RefCell<PromiseLines<Ticket, Reply>>,
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
    /// When it may next be said why a connection is closed.
    complain_ms: Cell<u64>,
    /// How often it was not said since.
    unsaid: Cell<u64>,
}

/// Runs a reactor until it is told to stop; the body of its thread.
pub(crate) fn run(
    shared: Arc<Shared>,
    index: u16,
    mail: mpsc::Receiver<Mail>,
    listener: Option<TcpListener>,
    runtime: tokio::runtime::Runtime,
) {
    let promises = RefCell::new(PromiseLines::new(shared.options.flush_timeout_ms));
    let reactor = Rc::new(Reactor {
        index,
        shared,
        scratch: RefCell::default(),
        stamped: RefCell::default(),
        out_bytes: Cell::new(0),
        partial_bytes: Cell::new(0),
        waiting: Cell::new(0),
        parked_bytes: Cell::new(0),
        fetch_bytes: Cell::new(0),
        without_room: Cell::new(0),
        room: Notify::new(),
        bells: RefCell::default(),
        bells_made: Cell::new(0),
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
        complain_ms: Cell::new(0),
        unsaid: Cell::new(0),
    });
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        reactor.spawn_steady("turn end", Reactor::turn_ends);
        reactor.spawn_steady("progress", Reactor::progress);
        reactor.spawn_steady("timers", Reactor::timers);
        reactor.spawn_steady("patience", Reactor::patience);
        reactor.spawn_steady("sweep", Reactor::sweep);
        let accepting =
            listener.map(|listener| tokio::task::spawn_local(Rc::clone(&reactor).accept(listener)));
        let until = Rc::clone(&reactor).mail(mail).await;
        if let Some(task) = accepting {
            task.abort();
        }
        reactor.drain(until).await;
    });
    drop(local);
    runtime.shutdown_timeout(Duration::ZERO);
}

impl Reactor {
    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.clock.monotonic_ms()
    }

    fn handle_of_this(&self) -> &ReactorHandle {
        &self.shared.reactors[usize::from(self.index)]
    }

    // --- requests ------------------------------------------------------------------------------------------------

    /// Runs one request's handler. A panic ends its connection only.
    pub(crate) fn handle(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Bytes) {
        self.shared.metrics.requests.add(1);
        self.run_guarded(connection, || dispatch::handle(self, connection, frame));
    }

    /// Goes on with a Produce that the log could not take to its end.
    pub(crate) fn resume(self: &Rc<Self>, connection: &Rc<Connection>, retry: Retry) {
        self.run_guarded(connection, || (true, retry(self, connection)));
    }

    fn run_guarded(self: &Rc<Self>, connection: &Rc<Connection>, run: impl FnOnce() -> (bool, Outcome)) {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok((piped, outcome)) => self.settle(connection, piped, outcome),
            Err(_) => panicked(connection),
        }
    }

    /// Keeps a Produce of this length that the log could not take to its end; see [`Connection::may_hold`].
    pub(crate) fn hold(self: &Rc<Self>, connection: &Rc<Connection>, bytes: usize, retry: Retry) {
        connection.hold(self, bytes, retry);
        self.held.borrow_mut().push(Rc::clone(connection));
        self.handle_of_this().interested.store(true, Ordering::Relaxed);
        self.held_some.notify_one();
    }

    /// Tries all requests again that the log could not take.
    fn retry_held(self: &Rc<Self>) {
        let held = self.held.take();
        held.iter().for_each(|connection| connection.retry_held(self));
    }

    /// Does with a handler's outcome what it says. `piped` is a Produce.
    pub(crate) fn settle(self: &Rc<Self>, connection: &Rc<Connection>, piped: bool, outcome: Outcome) {
        match outcome {
            Outcome::Now(mut reply) if piped && connection.has_line() => {
                // Its answer keeps its place behind those that are promised.
                reply.is_certain = true;
                let promise = self.shared.broker.promise_of_all_appended(reply);
                self.promise(connection, piped, promise);
            }
            Outcome::Now(reply) => connection.push(self, &reply),
            Outcome::Promised(promise) => self.promise(connection, piped, promise),
            Outcome::Wait(request) => {
                self.waiting.set(self.waiting.get() + 1);
                connection.wait_for(request);
            }
            Outcome::Nothing => {}
            Outcome::Close(why) => {
                self.complain(connection, &why);
                connection.close();
            }
        }
    }

    /// Says why a connection is closed; once in a while, since whoever sends garbage must not fill the server's own log.
    pub(crate) fn complain(&self, connection: &Connection, why: &dyn std::fmt::Display) {
        let now_ms = self.now_ms();
        if now_ms >= self.complain_ms.get() {
            self.complain_ms.set(now_ms + COMPLAIN_MS);
            let unsaid = self.unsaid.take();
            tracing::info!(client = %connection.remote, unsaid, "a connection is closed: {why}");
        } else {
            self.unsaid.set(self.unsaid.get() + 1);
            tracing::debug!(client = %connection.remote, "a connection is closed: {why}");
        }
    }

    /// Answers when the promise holds.
    fn promise(&self, connection: &Rc<Connection>, piped: bool, promise: Promise<Reply>) {
        connection.begin(piped);
        let mut promises = self.promises.borrow_mut();
        let first = promises.is_empty();
        promises.push(promise, Ticket { connection: Rc::clone(connection), piped }, self.now_ms());
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
            let Some((ticket, end, _)) = next else { break };
            let reply = match end {
                End::Proved(reply) => Some(reply),
                End::FlushTimedOut(reply) => reply.broken(error_code::REQUEST_TIMED_OUT),
            };
            self.keep_promise(&ticket, reply);
        }
        if self.promises.borrow().is_empty() {
            let waits = !self.held.borrow().is_empty();
            self.handle_of_this().interested.store(waits, Ordering::Relaxed);
        } else if let Health::Failed(reason) = store.health() {
            tracing::warn!(%reason, "the log is closed for writing: promised answers are refused");
            let abandoned = self.promises.borrow_mut().abandon();
            for ticket in abandoned {
                // What was appended may be there after a restart: nobody may be told that it is, or that it is not.
                self.keep_promise(&ticket, None);
            }
        }
    }

    /// Gives a promised answer, or closes the connection of one that can not be given.
    fn keep_promise(&self, ticket: &Ticket, reply: Option<Reply>) {
        match reply {
            Some(reply) => ticket.connection.push(self, &reply),
            None => ticket.connection.close(),
        }
        ticket.connection.end(ticket.piped);
    }

    /// Something to wait for that other threads ring.
    pub(crate) fn hang_bell(self: &Rc<Self>) -> Ringing {
        let number = self.bells_made.replace(self.bells_made.get() + 1);
        let rung = Rc::new(Notify::new());
        self.bells.borrow_mut().insert(number, Rc::clone(&rung));
        Ringing { reactor: Rc::clone(self), number, rung }
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

    async fn accept(self: Rc<Self>, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the Kafka listener could not be served");
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
                        self.adopt(stream);
                    } else if let Ok(stream) = stream.into_std() {
                        reactors[turn].post(Mail::Accepted(stream));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Takes a connection and serves it.
    fn adopt(self: &Rc<Self>, stream: tokio::net::TcpStream) {
        let count = self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        if count > self.shared.options.connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(connections = count - 1, "a connection is refused: the limit is reached");
            return;
        }
        let number = self.connections_made.replace(self.connections_made.get() + 1);
        let Ok((connection, read)) = Connection::new(number, stream, self.now_ms()) else {
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
        connection.settle(self);
        self.connections.borrow_mut().remove(&connection.number);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
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
            if self.without_room.get() > 0 && self.room() > 0 {
                self.room.notify_one();
            }
        }
    }

    async fn progress(self: Rc<Self>) {
        loop {
            self.handle_of_this().progress.notified().await;
            self.redeem();
            self.retry_held();
            let rung = self.handle_of_this().take_rung();
            if !rung.is_empty() {
                let bells = self.bells.borrow();
                rung.iter().filter_map(|number| bells.get(number)).for_each(|rung| rung.notify_one());
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
        }
    }

    /// Reads the mailbox until it says stop; gives the moment by which all must be done.
    async fn mail(self: Rc<Self>, mut mail: mpsc::Receiver<Mail>) -> Instant {
        while let Some(message) = mail.recv().await {
            match message {
                Mail::Accepted(stream) => match tokio::net::TcpStream::from_std(stream) {
                    Ok(stream) => self.adopt(stream),
                    Err(error) => tracing::warn!(%error, "a connection could not be served"),
                },
                Mail::Stop(until) => return until,
            }
        }
        Instant::now()
    }

    /// Answers parked fetches and accepted batches, and ends the connections.
    async fn drain(self: &Rc<Self>, until: Instant) {
        // Parked fetches were woken by `Broker::stop_parking`.
        self.appended();
        let farewell = until.min(Instant::now() + FAREWELL);
        while Instant::now() < until {
            let busy = !self.promises.borrow().is_empty()
                || !self.held.borrow().is_empty()
                || self.out_bytes.get() > 0
                || self.cold_jobs.get() > 0
                || (Instant::now() < farewell && self.waiting.get() > 0);
            if !busy {
                break;
            }
            sleep(DRAIN_STEP).await;
        }
        let connections: Vec<_> = self.connections.borrow().values().cloned().collect();
        connections.iter().for_each(|connection| connection.close());
        tokio::task::yield_now().await;
    }

    // --- room for fetches ----------------------------------------------------------------------------------------

    /// Bytes that fetches may still read.
    fn room(&self) -> usize {
        let used = self.out_bytes.get() + self.fetch_bytes.get();
        self.shared.options.fetch_bytes_all_max.saturating_sub(used)
    }

    /// As `room`, for a fetch that comes behind those that wait, unless it was called.
    pub(crate) fn room_for(&self, was_called: bool) -> usize {
        if was_called || self.without_room.get() == 0 { self.room() } else { 0 }
    }

    /// Waits for room, behind the others. False when there was none by the deadline.
    ///
    /// Whoever was called says so with [`Reactor::call_next`] when it has taken what it needs.
    pub(crate) async fn wait_for_room(&self, deadline: Instant) -> bool {
        struct Waits<'a>(&'a Cell<usize>);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        self.shared.metrics.fetches_without_room.add(1);
        self.without_room.set(self.without_room.get() + 1);
        let _waits = Waits(&self.without_room);
        timeout_at(deadline, self.room.notified()).await.is_ok()
    }

    /// At the end of the turn, whoever waits for room is called if there is some.
    pub(crate) fn call_next(&self) {
        if self.without_room.get() > 0 {
            self.turn_end.notify_one();
        }
    }

    /// So many bytes left an outbox.
    pub(crate) fn gave_out(&self, count: usize) {
        self.out_bytes.set(self.out_bytes.get() - count);
        self.call_next();
    }

    // --- the disk ------------------------------------------------------------------------------------------------

    /// Asks something that may wait for the disk, on a thread that may. `None` when too much is asked already, or the question
    /// panicked.
    pub(crate) fn ask_disk<T: Send + 'static>(
        self: &Rc<Self>,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let asked = self.ask_disk_keeping((), question);
        async move { asked.await.map(|(answer, ())| answer) }
    }

    /// As `ask_disk`; `kept` lives as long as the question, whether or not somebody still waits for the answer.
    pub(crate) fn ask_disk_keeping<T: Send + 'static, K: 'static>(
        self: &Rc<Self>,
        kept: K,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<(T, K)>> + 'static {
        let reactor = Rc::clone(self);
        async move {
            if reactor.cold_jobs.get() >= COLD_JOBS_MAX {
                return None;
            }
            reactor.cold_jobs.set(reactor.cold_jobs.get() + 1);
            // Counted until it ends, whether or not somebody still waits.
            let counted = Counted(Rc::clone(&reactor));
            let asked = tokio::task::spawn_blocking(question);
            let answer = tokio::task::spawn_local(async move {
                let answer = asked.await;
                drop(counted);
                answer.map(|answer| (answer, kept))
            });
            match answer.await {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(error)) | Err(error) => {
                    tracing::error!(%error, "{PANIC_MARK}");
                    None
                }
            }
        }
    }
}

/// Bytes that a fetch holds, in its reactor's sum until this is dropped.
pub(crate) struct HeldBytes {
    reactor: Rc<Reactor>,
    bytes: usize,
}

impl HeldBytes {
    pub(crate) fn new(reactor: &Rc<Reactor>, bytes: usize) -> Self {
        let mut held = Self { reactor: Rc::clone(reactor), bytes: 0 };
        held.add(bytes);
        held
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        let sum = &self.reactor.fetch_bytes;
        sum.set(sum.get() + bytes);
        let all = sum.get() + self.reactor.out_bytes.get();
        self.reactor.shared.metrics.fetch_bytes_most.see(all as u64);
    }

    /// Holds nothing any more.
    pub(crate) fn clear(&mut self) {
        let sum = &self.reactor.fetch_bytes;
        sum.set(sum.get() - std::mem::take(&mut self.bytes));
        self.reactor.call_next();
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One of the questions to the disk.
struct Counted(Rc<Reactor>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.cold_jobs.set(self.0.cold_jobs.get() - 1);
    }
}

fn panicked(connection: &Connection) {
    tracing::error!(client = %connection.remote, "{PANIC_MARK}: its connection is closed");
    connection.close();
}
