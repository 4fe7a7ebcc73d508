//! A small blocking client of Kafka's protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use braid_wire_kafka::header::{self, RequestHeader};
use braid_wire_kafka::messages::Message;
use braid_wire_kafka::{Input, frame};
use bytes::{Bytes, BytesMut};

/// A broker that is silent for longer is broken.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
    output: Vec<u8>,
    input: BytesMut,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)
            .with_context(|| format!("can't connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Client { stream, correlation_id: 0, output: Vec::new(), input: BytesMut::new() })
    }

    /// Puts a request behind those that wait to be written, and says which correlation id its answer will have.
    pub(crate) fn push<'m, Q: Message<'m>>(&mut self, version: i16, request: &Q) -> i32 {
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: key::<Q>(),
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("crash"),
        };
        let start = frame::begin(&mut self.output);
        header::encode(&header, &mut self.output);
        request.encode(version, &mut self.output);
        frame::finish(&mut self.output, start, 0);
        self.correlation_id
    }

    /// Writes what was pushed.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next answer, `None` once the peer has closed the connection.
    pub(crate) fn receive(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(frame) = frame::next(&mut self.input, frame::FRAME_BYTES_MAX)? {
                return Ok(Some(frame));
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

    /// One request and the frame of its answer, for [`answer`].
    pub(crate) fn call<'m, Q: Message<'m>>(&mut self, version: i16, request: &Q) -> Result<Bytes> {
        let correlation_id = self.push(version, request);
        self.flush()?;
        let Some(frame) = self.receive()? else { bail!("the broker closed the connection") };
        expect(&frame, correlation_id)?;
        Ok(frame)
    }
}

fn key<'m, M: Message<'m>>() -> i16 {
    M::KEY.expect("a request and its response have a key")
}

/// Kafka answers in order: the next answer is that to the oldest request.
pub(crate) fn expect(frame: &[u8], correlation_id: i32) -> Result<()> {
    let said = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    ensure!(said == Some(correlation_id), "answer {said:?} to request {correlation_id}");
    Ok(())
}

/// Reads an answer; nothing may be left behind it.
pub(crate) fn answer<'a, R: Message<'a>>(version: i16, frame: &'a [u8]) -> Result<R> {
    let (_, body) = header::decode_response(frame, key::<R>(), version)?;
    let mut input = Input::new(&frame[body..]);
    let response =
        R::decode(version, &mut input).with_context(|| format!("{} version {version}", R::NAME))?;
    input.end()?;
    Ok(response)
}
