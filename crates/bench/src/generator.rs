//! The closed loop: a fixed number of requests in flight, the next one sent when an answer comes.
//!
//! One thread, raw epoll, no client library. Latency is taken for each turn of a connection (from the moment before its requests are
//! encoded to the moment after their answers were read), so a clock is read twice a turn and not for each message.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{BenchError, Doing, Result};
use crate::protocol::Protocol;
use crate::stats::Histogram;
use crate::usage::Usage;

/// Room for answers of a connection at first, and at most.
const INPUT_BYTES: usize = 128 << 10;
const INPUT_BYTES_MAX: usize = 4 << 20;
/// Events taken at once.
const EVENTS_MAX: usize = 256;
/// How long answers are waited for.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How much is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub window: usize,
}

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Span {
    /// Measure for this long, after a warm-up.
    Time {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
    /// This many requests; nothing is left out.
    Requests(u32),
}

/// What a span gave.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Messages acknowledged or delivered while it was measured.
    pub messages: u64,
    /// For how long it was measured.
    pub elapsed: Duration,
    /// From request to answer.
    pub latency: Histogram,
    /// Processor time of the generator while it was measured.
    pub generator_cpu: Duration,
    /// The server's usage at the begin and the end of the measurement.
    pub server: [Usage; 2],
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// What of `input` holds received bytes.
    filled: usize,
    out: Vec<u8>,
    sent: usize,
    /// Whether we wait for room to send.
    is_blocked: bool,
    in_flight: VecDeque<(u32, Instant)>,
}

/// Drives `protocol` against the server at `address`, whose process is `pid`. Tags go on from `next_tag`.
///
/// Everything in flight is answered when this returns.
///
/// # Errors
/// When a request is refused, an answer is wrong or missing, or the connection breaks.
pub fn drive(
    protocol: &mut dyn Protocol,
    address: SocketAddr,
    pid: u32,
    load: Load,
    span: Span,
    next_tag: &mut u32,
) -> Result<Measured> {
    let mut generator = Generator::connect(protocol, address, load, next_tag)?;
    let usage = || Usage::of(pid).doing("look at the server's process");
    let mut begin = (Instant::now(), usage()?, own_cpu());
    match span {
        Span::Requests(requests) => {
            generator.requests_left = requests;
            generator.fill()?;
        }
        Span::Time { warm_up, measured } => {
            generator.fill()?;
            generator.turn_until(begin.0 + warm_up)?;
            begin = (Instant::now(), usage()?, own_cpu());
            generator.forget();
            generator.turn_until(begin.0 + measured)?;
            generator.requests_left = 0;
        }
    }
    let mut ended = (generator.messages, Instant::now(), usage()?, own_cpu());
    let latency = generator.latency.clone();
    generator.drain()?;
    if matches!(span, Span::Requests(_)) {
        ended = (generator.messages, Instant::now(), usage()?, own_cpu());
    }
    let (messages, end, used, cpu) = ended;
    Ok(Measured {
        messages,
        elapsed: end - begin.0,
        latency,
        generator_cpu: cpu.saturating_sub(begin.2),
        server: [begin.1, used],
    })
}

/// Processor time of this thread.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // A thread's time is never negative, and its nanoseconds are below a second.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Generator<'a> {
    protocol: &'a mut dyn Protocol,
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection>,
    window: usize,
    next_tag: &'a mut u32,
    requests_left: u32,
    messages: u64,
    latency: Histogram,
    last_answer: Instant,
}

impl<'a> Generator<'a> {
    fn connect(
        protocol: &'a mut dyn Protocol,
        address: SocketAddr,
        load: Load,
        next_tag: &'a mut u32,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("make an epoll")?;
        let mut connections = Vec::with_capacity(load.connections);
        for number in 0..load.connections {
            let mut stream = TcpStream::connect(address).doing("connect to the server")?;
            stream.set_nodelay(true).doing("set TCP_NODELAY")?;
            protocol.handshake(number, &mut stream)?;
            stream.set_nonblocking(true).doing("set a socket to non-blocking")?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)
                .doing("watch a socket")?;
            connections.push(Connection {
                stream,
                input: vec![0; INPUT_BYTES],
                filled: 0,
                out: Vec::new(),
                sent: 0,
                is_blocked: false,
                in_flight: VecDeque::with_capacity(load.window),
            });
        }
        Ok(Generator {
            protocol,
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
            connections,
            window: load.window,
            next_tag,
            requests_left: u32::MAX,
            messages: 0,
            latency: Histogram::default(),
            last_answer: Instant::now(),
        })
    }

    /// Begins a new count.
    fn forget(&mut self) {
        self.messages = 0;
        self.latency.clear();
    }

    fn fill(&mut self) -> Result<()> {
        (0..self.connections.len()).try_for_each(|number| self.ask(number, Instant::now()))
    }

    fn turn_until(&mut self, end: Instant) -> Result<()> {
        while self.turn()? < end {}
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        while self.in_flight() > 0 {
            self.turn()?;
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.connections.iter().map(|connection| connection.in_flight.len()).sum()
    }

    /// Serves what is ready; the time after it.
    fn turn(&mut self) -> Result<Instant> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&WAIT)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait for answers"),
        }
        if self.events.is_empty() {
            let now = Instant::now();
            if now - self.last_answer > SILENCE_MAX {
                return Err(BenchError::Silent {
                    requests: self.in_flight(),
                    seconds: SILENCE_MAX.as_secs(),
                });
            }
            return Ok(now);
        }
        let mut now = self.last_answer;
        for at in 0..self.events.len() {
            let epoll::Event { flags, data } = self.events[at];
            let number = data.u64() as usize;
            if flags.contains(epoll::EventFlags::OUT) {
                self.send(number)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.receive(number)?;
            }
            now = Instant::now();
            self.ask(number, now)?;
        }
        Ok(now)
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        if connection.filled == connection.input.len() {
            if connection.filled >= INPUT_BYTES_MAX {
                return Err(BenchError::Answer(format!("it is longer than {INPUT_BYTES_MAX} bytes")));
            }
            connection.input.resize(connection.filled * 2, 0);
        }
        match connection.stream.read(&mut connection.input[connection.filled..]) {
            Ok(0) => return Err(closed(io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => connection.filled += bytes,
            Err(error) if is_later(&error) => return Ok(()),
            Err(error) => return Err(closed(error)),
        }
        let now = Instant::now();
        self.last_answer = now;
        let mut at = 0;
        while let Some(answer) = self.protocol.decode(number, &connection.input[at..connection.filled])? {
            at += answer.bytes;
            let asked = take(&mut connection.in_flight, answer.tag)?;
            self.messages += u64::from(answer.messages);
            self.latency.add((now - asked).as_nanos() as u64, 1);
            if at == connection.filled {
                break;
            }
        }
        connection.input.copy_within(at..connection.filled, 0);
        connection.filled -= at;
        Ok(())
    }

    /// Fills the connection's window.
    fn ask(&mut self, number: usize, now: Instant) -> Result<()> {
        let connection = &mut self.connections[number];
        while connection.in_flight.len() < self.window && self.requests_left > 0 {
            self.requests_left -= u32::from(self.requests_left != u32::MAX);
            let tag = *self.next_tag;
            *self.next_tag = (tag + 1) % TAGS;
            self.protocol.encode(number, tag, &mut connection.out);
            connection.in_flight.push_back((tag, now));
        }
        if connection.is_blocked { Ok(()) } else { self.send(number) }
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        let was_blocked = connection.is_blocked;
        connection.is_blocked = false;
        while connection.sent < connection.out.len() {
            match connection.stream.write(&connection.out[connection.sent..]) {
                Ok(bytes) => connection.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_later(&error) => {
                    connection.is_blocked = true;
                    break;
                }
                Err(error) => return Err(closed(error)),
            }
        }
        if !connection.is_blocked {
            connection.out.clear();
            connection.sent = 0;
        }
        if was_blocked != connection.is_blocked {
            let room =
                if connection.is_blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.epoll, &connection.stream, data, epoll::EventFlags::IN | room)
                .doing("watch a socket")?;
        }
        Ok(())
    }
}

/// Tags are below this, so that every one has nine digits or less and fits a template.
pub const TAGS: u32 = 1_000_000_000;

/// The time at which the request of this tag was sent; answers mostly come in the order of requests.
fn take(in_flight: &mut VecDeque<(u32, Instant)>, tag: u32) -> Result<Instant> {
    let at = in_flight.iter().position(|(asked, _)| *asked == tag);
    let entry = at.and_then(|at| in_flight.remove(at));
    entry
        .map(|(_, asked)| asked)
        .ok_or_else(|| BenchError::Answer(format!("nothing was asked with tag {tag}")))
}

pub(crate) fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn closed(source: io::Error) -> BenchError {
    BenchError::Io { what: "the connection to the server broke".to_owned(), source }
}
