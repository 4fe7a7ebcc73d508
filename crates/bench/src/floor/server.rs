//! The server: one thread, raw epoll, run to completion.
//!
//! One turn: one read for each ready socket, every whole request appended, one commit, one write for each connection.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::{ANSWER_BYTES, ECHO_BYTES, Mode, Options, PAYLOAD_BYTES_MAX, RECORD_BYTES, RECORDS, STRIDE};
use crate::error::{BenchError, Doing, Result};
use crate::generator::is_later;

/// Read from a socket at once.
const READ_BYTES: usize = 256 << 10;
const CONNECTIONS_MAX: usize = 1024;
const EVENTS_MAX: usize = 256;
/// Written at once while the log is made.
const CHUNK_BYTES: usize = 1 << 20;
/// Event data of what is no connection.
const LISTENER: u64 = u64::MAX;
const PARENT: u64 = u64::MAX - 1;

/// Serves until standard input ends, so that it never outlives who started it.
///
/// # Errors
/// When the log can't be made, the socket can't be bound, or a write fails.
pub fn serve(options: &Options) -> Result<()> {
    let mut log = Log::make(options)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("bind the floor's socket")?;
    listener.set_nonblocking(true).doing("set a socket to non-blocking")?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("make an epoll")?;
    let input = epoll::EventFlags::IN;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), input).doing("watch the listener")?;
    epoll::add(&epoll, io::stdin(), epoll::EventData::new_u64(PARENT), input)
        .doing("watch standard input (a pipe is needed)")?;
    let address = listener.local_addr().doing("look at the floor's socket")?;
    write_ready(&options.ready_file, address).doing("write the ready file")?;

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut touched = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait for requests"),
        }
        for event in &events {
            let epoll::Event { flags: _, data } = *event;
            match data.u64() {
                PARENT => return Ok(()),
                LISTENER => accept(&listener, &epoll, &mut connections)?,
                number => {
                    let slot = &mut connections[number as usize];
                    let Some(connection) = slot else { continue };
                    match connection.receive(&mut buffer, &mut log) {
                        Ok(()) => touched.push(number as usize),
                        Err(_closed) => *slot = None,
                    }
                }
            }
        }
        log.commit().doing("write the floor's log")?;
        for number in touched.drain(..) {
            let Some(connection) = &mut connections[number] else { continue };
            if connection.send(&epoll, number).is_err() {
                connections[number] = None;
            }
        }
    }
}

fn write_ready(path: &Path, address: SocketAddr) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let ready = serde_json::json!({"pid": std::process::id(), "listeners": {"floor": address.to_string()}});
    fs::write(&temporary, ready.to_string())?;
    fs::rename(temporary, path)
}

fn accept(
    listener: &TcpListener,
    epoll: &rustix::fd::OwnedFd,
    connections: &mut Vec<Option<Connection>>,
) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_later(&error) => return Ok(()),
            Err(error) => return Err(error).doing("accept a connection"),
        };
        let number = connections.iter().position(Option::is_none).unwrap_or(connections.len());
        if number == CONNECTIONS_MAX {
            continue;
        }
        stream.set_nodelay(true).doing("set TCP_NODELAY")?;
        stream.set_nonblocking(true).doing("set a socket to non-blocking")?;
        epoll::add(epoll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)
            .doing("watch a socket")?;
        let connection = Connection {
            stream,
            partial: Vec::new(),
            out: Vec::new(),
            sent: 0,
            is_blocked: false,
            cursor: 0,
        };
        match connections.get_mut(number) {
            Some(slot) => *slot = Some(connection),
            None => connections.push(Some(connection)),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The front of a request whose end has not come yet.
    partial: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    is_blocked: bool,
    /// The next message that a fetch gives.
    cursor: usize,
}

impl Connection {
    /// Takes what is there; an error is the end of the connection.
    fn receive(&mut self, buffer: &mut [u8], log: &mut Log) -> io::Result<()> {
        let bytes = match self.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => bytes,
            Err(error) if is_later(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.partial.is_empty() {
            let rest = self.requests(&buffer[..bytes], log)?;
            self.partial.extend_from_slice(&buffer[bytes - rest..bytes]);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(&buffer[..bytes]);
            let rest = self.requests(&partial, log)?;
            partial.drain(..partial.len() - rest);
            self.partial = partial;
        }
        Ok(())
    }

    /// Serves all whole requests; how many bytes of `input` are left.
    fn requests(&mut self, mut input: &[u8], log: &mut Log) -> io::Result<usize> {
        while let Some((length, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if !(ECHO_BYTES..=PAYLOAD_BYTES_MAX).contains(&length) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            log.answer(payload, &mut self.cursor, &mut self.out);
            input = rest;
        }
        Ok(input.len())
    }

    fn send(&mut self, epoll: &rustix::fd::OwnedFd, number: usize) -> io::Result<()> {
        let was_blocked = std::mem::take(&mut self.is_blocked);
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_later(&error) => {
                    self.is_blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !self.is_blocked {
            self.out.clear();
            self.sent = 0;
        }
        if was_blocked != self.is_blocked {
            let room = if self.is_blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(epoll, &self.stream, data, epoll::EventFlags::IN | room)?;
        }
        Ok(())
    }
}

struct Log {
    mode: Mode,
    file: File,
    length: u64,
    /// Where the turn's payloads go.
    position: u64,
    /// The turn's payloads.
    turn: Vec<u8>,
    /// What a fetch copies from: the log as it lies in memory.
    image: Vec<u8>,
}

impl Log {
    /// Writes the whole file, so that no append makes the file system allocate.
    fn make(options: &Options) -> Result<Self> {
        let path = options.dir.join("floor.log");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let mut file = open.doing("make the floor's log")?;
        let length = options.log_bytes;
        let smallest = (STRIDE * RECORDS * RECORD_BYTES) as u64;
        if length < smallest {
            return Err(BenchError::Start {
                server: "the floor",
                reason: format!("its log must have at least {smallest} bytes, not {length}"),
            });
        }
        let chunk = vec![0xb5; CHUNK_BYTES];
        let mut left = length;
        while left > 0 {
            let bytes = left.min(chunk.len() as u64);
            file.write_all(&chunk[..bytes as usize]).doing("write the floor's log")?;
            left -= bytes;
        }
        file.sync_all().doing("write the floor's log")?;
        let image = if options.mode.piece_bytes() > 0 {
            fs::read(&path).doing("read the floor's log")?
        } else {
            Vec::new()
        };
        Ok(Log { mode: options.mode, file, length, position: 0, turn: Vec::new(), image })
    }

    fn answer(&mut self, payload: &[u8], cursor: &mut usize, out: &mut Vec<u8>) {
        let echo = &payload[..ECHO_BYTES];
        let piece = self.mode.piece_bytes();
        if piece > 0 {
            out.extend_from_slice(&((RECORDS * RECORD_BYTES) as u64).to_be_bytes());
            out.extend_from_slice(echo);
            let queue = u32::from_be_bytes([echo[4], echo[5], echo[6], echo[7]]) as usize % STRIDE;
            let per_queue = self.image.len() / (STRIDE * piece);
            for _ in 0..RECORDS * RECORD_BYTES / piece {
                let at = (*cursor % per_queue * STRIDE + queue) * piece;
                out.extend_from_slice(&self.image[at..at + piece]);
                *cursor += 1;
            }
            return;
        }
        debug_assert_eq!(ANSWER_BYTES, 8 + ECHO_BYTES);
        out.extend_from_slice(&(self.position + self.turn.len() as u64).to_be_bytes());
        out.extend_from_slice(echo);
        if self.mode == Mode::Nothing {
            self.position += payload.len() as u64;
        } else {
            self.turn.extend_from_slice(payload);
        }
    }

    /// Makes the turn as safe as the mode says.
    fn commit(&mut self) -> io::Result<()> {
        if self.turn.is_empty() {
            return Ok(());
        }
        // A turn that reaches the end of the log goes on at its front.
        let mut turn = &self.turn[..];
        while !turn.is_empty() {
            let at = self.position % self.length;
            let (now, later) = turn.split_at(turn.len().min((self.length - at) as usize));
            self.file.write_all_at(now, at)?;
            self.position += now.len() as u64;
            turn = later;
        }
        self.turn.clear();
        if self.mode == Mode::Sync { self.file.sync_data() } else { Ok(()) }
    }
}
