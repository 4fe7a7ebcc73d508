//! One connection: requests are written by its owner, everything that comes is read by its thread.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::frame::{self, Limits};
use bytes::BytesMut;

use super::Arrival;

/// Bytes that one read asks for.
const READ_BYTES: usize = 64 << 10;

/// What came over a connection.
pub enum Event {
    /// An answer or a request.
    Command(Command),
    /// The connection ended, for this reason, and requests that went over it will not be answered.
    Closed(String),
    /// The connection ended and nothing waited on it: servers close what is idle. The next request connects anew.
    Ended,
}

/// One connection. Dropping it closes it and ends its thread.
pub struct Peer {
    /// Tells it from earlier connections to the same server.
    pub connection: u64,
    stream: TcpStream,
    out: BytesMut,
    /// Requests that were sent and not answered, by opaque.
    waits: HashSet<i32>,
    /// The reading thread has read its last.
    ended: Arc<AtomicBool>,
}

impl Peer {
    /// Connects and starts the reading thread, which hands what it reads to `arrived`.
    ///
    /// # Errors
    /// When no address of the name takes the connection in time.
    pub fn connect(
        server: &str,
        connection: u64,
        timeout: Duration,
        arrived: SyncSender<Arrival>,
    ) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in server.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Self::start(server, connection, stream, timeout, arrived),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start(
        server: &str,
        connection: u64,
        stream: TcpStream,
        timeout: Duration,
        arrived: SyncSender<Arrival>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(timeout))?;
        let reader = stream.try_clone()?;
        let server = server.to_owned();
        let ended = Arc::new(AtomicBool::new(false));
        let says_ended = Arc::clone(&ended);
        thread::Builder::new().name(format!("read {server}")).spawn(move || {
            let reason = read_all(&server, connection, reader, &arrived);
            says_ended.store(true, Ordering::Release);
            // The client may be gone already; then nobody asks.
            let _ = arrived.send(Arrival { server, connection, event: Event::Closed(reason) });
        })?;
        Ok(Peer { connection, stream, out: BytesMut::new(), waits: HashSet::new(), ended })
    }

    /// Writes one request, and waits for its answer from now on.
    ///
    /// # Errors
    /// When the connection does not take it in time, or the command is too long for a frame.
    pub fn send(&mut self, command: &Command) -> io::Result<()> {
        self.out.clear();
        command.encode(&mut self.out).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.stream.write_all(&self.out)?;
        self.waits.insert(command.opaque);
        Ok(())
    }

    /// The request was answered, or nobody waits for its answer any longer.
    pub fn settle(&mut self, opaque: i32) {
        self.waits.remove(&opaque);
    }

    /// Nothing waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.waits.is_empty()
    }

    /// Nothing more will come, whether or not all that came was looked at.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be closed by the other side already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Reads until the connection ends; gives the reason.
fn read_all(server: &str, connection: u64, mut stream: TcpStream, arrived: &SyncSender<Arrival>) -> String {
    let mut buffer = BytesMut::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        match frame::next(&mut buffer, &Limits::default()) {
            Err(error) => return error.to_string(),
            Ok(Some(frame)) => {
                let command = match Command::decode(&frame) {
                    Ok(command) => command,
                    Err(error) => return error.to_string(),
                };
                let event = Event::Command(command);
                if arrived.send(Arrival { server: server.to_owned(), connection, event }).is_err() {
                    return "nobody listens".to_owned();
                }
            }
            Ok(None) => match stream.read(&mut piece) {
                Ok(0) => return "the server closed the connection".to_owned(),
                Ok(bytes) => buffer.extend_from_slice(&piece[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.to_string(),
            },
        }
    }
}
