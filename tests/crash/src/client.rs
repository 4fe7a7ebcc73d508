//! A small blocking client of RocketMQ's remoting protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use braid_wire_rocketmq::frame::{self, Limits};
use braid_wire_rocketmq::{Command, Serialization};
use bytes::BytesMut;

/// A broker that is silent for longer is broken.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    serialization: Serialization,
    opaque: i32,
    output: BytesMut,
    input: BytesMut,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, serialization: Serialization) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)
            .with_context(|| format!("can't connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Client { stream, serialization, opaque: 0, output: BytesMut::new(), input: BytesMut::new() })
    }

    /// Puts a request behind those that wait to be written, and says which opaque its answer will have.
    pub(crate) fn push(&mut self, mut request: Command) -> Result<i32> {
        self.opaque += 1;
        request.opaque = self.opaque;
        request.serialization = self.serialization;
        request.encode(&mut self.output)?;
        Ok(self.opaque)
    }

    /// The opaque of the request that was pushed last.
    pub(crate) fn last_opaque(&self) -> i32 {
        self.opaque
    }

    /// Writes what was pushed.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next answer, `None` once the peer has closed the connection. A request of the broker's own is passed over.
    pub(crate) fn receive(&mut self) -> Result<Option<Command>> {
        loop {
            while let Some(frame) = frame::next(&mut self.input, &Limits::default())? {
                let command = Command::decode(&frame)?;
                if command.is_response() {
                    return Ok(Some(command));
                }
            }
            let mut chunk = [0; READ_BYTES];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(bytes) => self.input.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("no answer"),
            }
        }
    }

    /// Whether a whole answer may be waiting without another read.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// One request and its answer.
    pub(crate) fn call(&mut self, request: Command) -> Result<Command> {
        let opaque = self.push(request)?;
        self.flush()?;
        let Some(answer) = self.receive()? else { bail!("the broker closed the connection") };
        ensure!(answer.opaque == opaque, "answer {} to request {opaque}", answer.opaque);
        Ok(answer)
    }
}
