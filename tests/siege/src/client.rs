//! As much of a RocketMQ client as a siege needs: one blocking connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use braid_wire_rocketmq::{Command, Frame, frame};
use bytes::{Bytes, BytesMut};

/// A request code that nobody handles.
const UNKNOWN_CODE: i32 = 99_999;
const SEND_MESSAGE: i32 = 10;
const PULL_MESSAGE: i32 = 11;

pub(crate) struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, deadline: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, deadline)?;
        stream.set_read_timeout(Some(deadline))?;
        stream.set_write_timeout(Some(deadline))?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Asks for something that does not exist; the answer says so.
    pub(crate) fn ask_unknown(&mut self) -> Result<()> {
        self.write(&Command::request(UNKNOWN_CODE))?;
        ensure!(self.answer()?.code == 3, "an unknown code must be answered with 3");
        Ok(())
    }

    /// Sends one message and gives its offset.
    pub(crate) fn send(&mut self, topic: &str, queue: u32, body: &[u8]) -> Result<u64> {
        let mut request = Command::request(SEND_MESSAGE);
        for (name, value) in [
            ("producerGroup", "siege"),
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "4"),
            ("queueId", &queue.to_string()),
            ("sysFlag", "0"),
            ("bornTimestamp", "1"),
            ("flag", "0"),
            ("properties", ""),
            ("reconsumeTimes", "0"),
        ] {
            request.ext_fields.insert(name.to_string(), value);
        }
        request.body = Bytes::copy_from_slice(body);
        self.write(&request)?;
        let answer = self.answer()?;
        ensure!(answer.code == 0, "send was answered {}: {:?}", answer.code, answer.remark);
        Ok(answer.ext_fields.get("queueOffset").context("no queueOffset")?.parse()?)
    }

    /// The records from `offset` on.
    pub(crate) fn pull(&mut self, topic: &str, queue: u32, offset: u64) -> Result<Bytes> {
        self.write(&pull_request(topic, queue, offset))?;
        let answer = self.answer()?;
        ensure!(answer.code == 0, "pull was answered {}: {:?}", answer.code, answer.remark);
        Ok(answer.body)
    }

    /// Asks `count` times for messages with one of these tags, and waits for none of them; returns when all were looked at.
    pub(crate) fn wait_for_tags(
        &mut self,
        topic: &str,
        queue: u32,
        offset: u64,
        tags: &str,
        count: usize,
    ) -> Result<()> {
        let mut request = pull_request(topic, queue, offset);
        for (name, value) in [
            // Bit 1: it may wait.
            ("sysFlag", "6"),
            ("suspendTimeoutMillis", "60000"),
            ("subscription", tags),
        ] {
            request.ext_fields.insert(name.to_string(), value);
        }
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes)?;
        for _ in 0..count {
            self.stream.write_all(&bytes)?;
        }
        self.write(&Command::request(UNKNOWN_CODE))?;
        // Those that may not wait are answered before.
        while self.answer()?.code != 3 {}
        Ok(())
    }

    /// Writes many pulls and reads nothing; ends early when the server takes no more.
    pub(crate) fn ask_and_never_read(&mut self, topic: &str, queue: u32, count: usize) -> Result<()> {
        self.stream.set_write_timeout(Some(Duration::from_millis(300)))?;
        let mut bytes = BytesMut::new();
        pull_request(topic, queue, 0).encode(&mut bytes)?;
        for _ in 0..count {
            if self.stream.write_all(&bytes).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, request: &Command) -> Result<()> {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    fn answer(&mut self) -> Result<Command> {
        let frame: Frame = loop {
            if let Some(frame) = frame::next(&mut self.received, &frame::Limits::default())? {
                break frame;
            }
            let mut chunk = [0; 64 << 10];
            let n = self.stream.read(&mut chunk).context("waiting for an answer")?;
            ensure!(n > 0, "the connection was closed");
            self.received.extend_from_slice(&chunk[..n]);
        };
        Ok(Command::decode(&frame)?)
    }
}

fn pull_request(topic: &str, queue: u32, offset: u64) -> Command {
    let mut request = Command::request(PULL_MESSAGE);
    for (name, value) in [
        ("consumerGroup", "siege"),
        ("topic", topic),
        ("queueId", &queue.to_string()),
        ("queueOffset", &offset.to_string()),
        ("maxMsgNums", "32"),
        // Bit 2: the subscription is in the request, so no heartbeat is needed.
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ] {
        request.ext_fields.insert(name.to_string(), value);
    }
    request
}
