//! Reads a started broker for the judge through RocketMQ: extents, messages and cursors of every queue.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::header::{
    CreateTopic, GetMaxOffset, OffsetResponse, PullMessage, PullMessageResponse, QueryConsumerOffset,
    TopicQueue,
};
use braid_wire_rocketmq::{Command, ExtFields, Serialization, pull};

use crate::body::{self, Value};
use crate::client::Client;
use crate::ledger::{Ledger, Offset, QUEUES_PER_TOPIC, Queue, TOPICS, Violation, topic_name};

/// The group that commits cursors.
pub(crate) const GROUP: &str = "crash";
/// Messages asked for by one pull.
pub(crate) const PULL_MESSAGES: i32 = 32;

/// Checks everything, or what is newer than the last check, against the ledger. Gives the number of messages read.
///
/// # Errors
/// If the broker does not answer as a broker does; that it answers wrongly is a violation.
pub(crate) fn verify(
    address: SocketAddr,
    ledger: &mut Ledger,
    everything: bool,
) -> Result<(u64, Vec<Violation>)> {
    let mut client = Client::connect(address, Serialization::Json)?;
    make_topics(&mut client)?;
    let (mut read, mut violations) = (0, Vec::new());
    for queue in Queue::rocketmq() {
        let (min, end) = extent(&mut client, queue)?;
        let from = if everything { min } else { min.max(ledger.verified(queue)) };
        match messages(&mut client, queue, from, end)? {
            Ok(messages) => {
                read += messages.len() as u64;
                violations.extend(ledger.judge(queue, min, from, end, &messages));
            }
            Err(violation) => violations.push(violation),
        }
        violations.extend(ledger.judge_cursor(queue, cursor(&mut client, queue)?));
    }
    Ok((read, violations))
}

pub(crate) fn command(code: i32, ext_fields: ExtFields) -> Command {
    Command { ext_fields, ..Command::request(code) }
}

/// Makes the topics; a topic that is there already stays as it is.
fn make_topics(client: &mut Client) -> Result<()> {
    for index in 0..TOPICS {
        let header = CreateTopic {
            topic: topic_name(index),
            default_topic: Some("TBW102".to_owned()),
            read_queue_nums: QUEUES_PER_TOPIC as i32,
            write_queue_nums: QUEUES_PER_TOPIC as i32,
            perm: 6,
            topic_filter_type: Some("SINGLE_TAG".to_owned()),
            topic_sys_flag: Some(0),
            order: Some(false),
            ..CreateTopic::default()
        };
        answered(client.call(command(request::UPDATE_AND_CREATE_TOPIC, header.to_ext_fields()))?)?;
    }
    Ok(())
}

fn answered(answer: Command) -> Result<Command> {
    if answer.code != response::SUCCESS {
        let name = response::name(answer.code).unwrap_or("unknown");
        bail!("the broker answers {name} ({}): {}", answer.code, answer.remark.unwrap_or_default());
    }
    Ok(answer)
}

/// The queue's first offset and the one that its next message gets.
fn extent(client: &mut Client, queue: Queue) -> Result<(Offset, Offset)> {
    let min = TopicQueue { topic: queue.topic(), queue_id: queue.id() };
    let max = GetMaxOffset { topic: queue.topic(), queue_id: queue.id(), committed: Some(true) };
    let mut offset = |request| -> Result<Offset> {
        let answer = answered(client.call(request)?).with_context(|| format!("extent of {queue}"))?;
        Ok(OffsetResponse::from_ext_fields(&answer.ext_fields)?.offset)
    };
    let min = offset(command(request::GET_MIN_OFFSET, min.to_ext_fields()))?;
    Ok((min, offset(command(request::GET_MAX_OFFSET, max.to_ext_fields()))?))
}

pub(crate) fn query_cursor(queue: Queue) -> Command {
    let header = QueryConsumerOffset {
        consumer_group: GROUP.to_owned(),
        topic: queue.topic(),
        queue_id: queue.id(),
        set_zero_if_not_found: Some(false),
    };
    command(request::QUERY_CONSUMER_OFFSET, header.to_ext_fields())
}

/// The cursor in an answer to [`query_cursor`].
pub(crate) fn cursor_of(answer: Command) -> Result<Option<Offset>> {
    if answer.code == response::QUERY_NOT_FOUND {
        return Ok(None);
    }
    Ok(Some(OffsetResponse::from_ext_fields(&answered(answer)?.ext_fields)?.offset))
}

fn cursor(client: &mut Client, queue: Queue) -> Result<Option<Offset>> {
    cursor_of(client.call(query_cursor(queue))?).with_context(|| format!("cursor of {queue}"))
}

pub(crate) fn pull_from(queue: Queue, offset: Offset) -> Command {
    let header = PullMessage {
        consumer_group: GROUP.to_owned(),
        topic: queue.topic(),
        queue_id: queue.id(),
        queue_offset: offset,
        max_msg_nums: PULL_MESSAGES,
        sys_flag: pull::SYS_FLAG_SUBSCRIPTION,
        subscription: Some("*".to_owned()),
        expression_type: Some("TAG".to_owned()),
        ..PullMessage::default()
    };
    command(request::PULL_MESSAGE, header.to_ext_fields())
}

/// All messages of `queue` from `from` to `end`, or what is wrong with one of the answers.
fn messages(
    client: &mut Client,
    queue: Queue,
    from: Offset,
    end: Offset,
) -> Result<Result<Vec<(Offset, Value)>, Violation>> {
    let (mut next, mut messages) = (from, Vec::new());
    while next < end {
        let answer = client.call(pull_from(queue, next))?;
        match pulled(queue, &answer) {
            Ok((found, begin)) if begin > next && !found.is_empty() => {
                messages.extend(found);
                next = begin;
            }
            Ok((found, begin)) => {
                let what = format!(
                    "a pull at {next} below {end} gives {} messages and goes on at {begin}",
                    found.len()
                );
                return Ok(Err(Violation::Malformed { queue, what }));
            }
            Err(what) => {
                return Ok(Err(Violation::Malformed { queue, what: format!("a pull at {next}: {what}") }));
            }
        }
    }
    Ok(Ok(messages))
}

/// The messages in the answer of a pull, and where to go on.
pub(crate) fn pulled(queue: Queue, answer: &Command) -> Result<(Vec<(Offset, Value)>, Offset), String> {
    if answer.code != response::SUCCESS {
        let name = response::name(answer.code).unwrap_or("unknown");
        return Err(format!(
            "answered {name} ({}) {}",
            answer.code,
            answer.remark.as_deref().unwrap_or_default()
        ));
    }
    let header =
        PullMessageResponse::from_ext_fields(&answer.ext_fields).map_err(|error| error.to_string())?;
    let mut messages = Vec::new();
    let mut rest = &answer.body[..];
    while !rest.is_empty() {
        let stored = Stored::read(rest).ok_or_else(|| format!("no whole record in {} bytes", rest.len()))?;
        if stored.topic != queue.topic().as_bytes() || stored.queue_id != queue.id() {
            return Err(format!("a record of {}/{}", String::from_utf8_lossy(stored.topic), stored.queue_id));
        }
        let value = body::value(stored.body).ok_or_else(|| {
            format!("the body at {} ({} bytes) is not as it was sent", stored.offset, stored.body.len())
        })?;
        messages.push((stored.offset, value));
        rest = &rest[stored.bytes..];
    }
    Ok((messages, header.next_begin_offset))
}

/// A stored message, as far as the rig looks at it. It has a reader of its own, so that a mistake in the broker's codec can't hide
/// itself; `rocketmq` clients know the layout as `MessageDecoder.decode`.
struct Stored<'a> {
    bytes: usize,
    queue_id: i32,
    offset: Offset,
    body: &'a [u8],
    topic: &'a [u8],
}

impl<'a> Stored<'a> {
    const MAGIC_V1: u32 = 0xdaa3_20a7;
    const MAGIC_V2: u32 = 0xdaa3_20ab;
    const SYS_FLAG_BORN_HOST_V6: i32 = 1 << 4;
    const SYS_FLAG_STORE_HOST_V6: i32 = 1 << 5;

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let total = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        let mut fields = Fields { rest: bytes.get(4..total)? };
        let magic = fields.u32()?;
        fields.skip(4)?; // body CRC
        let queue_id = fields.u32()? as i32;
        fields.skip(4)?; // flag
        let offset = fields.u64()? as i64;
        fields.skip(8)?; // position
        let sys_flag = fields.u32()? as i32;
        let host = |bit| if sys_flag & bit == 0 { 8 } else { 20 };
        fields.skip(8 + host(Self::SYS_FLAG_BORN_HOST_V6))?;
        fields.skip(8 + host(Self::SYS_FLAG_STORE_HOST_V6))?;
        fields.skip(4 + 8)?; // reconsume times, prepared position
        let body_bytes = fields.u32()? as usize;
        let body = fields.take(body_bytes)?;
        let topic_bytes = match magic {
            Self::MAGIC_V1 => usize::from(fields.take(1)?[0]),
            Self::MAGIC_V2 => usize::from(u16::from_be_bytes(*fields.take(2)?.first_chunk()?)),
            _ => return None,
        };
        let topic = fields.take(topic_bytes)?;
        let properties_bytes = usize::from(u16::from_be_bytes(*fields.take(2)?.first_chunk()?));
        fields.skip(properties_bytes)?;
        fields.rest.is_empty().then_some(Stored { bytes: total, queue_id, offset, body, topic })
    }
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(drop)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as Apache's broker wrote it (topic Gold, body `hello`), properties shortened.
    fn gold() -> Vec<u8> {
        let mut record = Vec::new();
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&Stored::MAGIC_V1.to_be_bytes());
        record.extend_from_slice(&0x3610_a686u32.to_be_bytes());
        record.extend_from_slice(&3i32.to_be_bytes());
        record.extend_from_slice(&7i32.to_be_bytes());
        record.extend_from_slice(&41i64.to_be_bytes());
        record.extend_from_slice(&0x0624_8af0u64.to_be_bytes());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&1_700_000_000_000u64.to_be_bytes());
        record.extend_from_slice(&[127, 0, 0, 1, 0, 0, 0xb1, 0]);
        record.extend_from_slice(&1_795_000_000_000u64.to_be_bytes());
        record.extend_from_slice(&[127, 0, 0, 1, 0, 0, 0x2a, 0x9f]);
        record.extend_from_slice(&[0; 12]);
        record.extend_from_slice(b"\0\0\0\x05hello\x04Gold\0\x0aTAGS\x01TagA\x02");
        let total = record.len() as u32;
        record[..4].copy_from_slice(&total.to_be_bytes());
        record
    }

    #[test]
    fn a_stored_record_is_read() {
        let mut bytes = gold();
        bytes.extend_from_slice(b"the next one");
        let stored = Stored::read(&bytes).expect("a whole record");
        assert_eq!(
            (stored.queue_id, stored.offset, stored.body, stored.topic),
            (3, 41, &b"hello"[..], &b"Gold"[..])
        );
        assert_eq!(stored.bytes, bytes.len() - 12);
    }

    #[test]
    fn half_a_record_is_none() {
        let bytes = gold();
        for end in 0..bytes.len() {
            assert!(Stored::read(&bytes[..end]).is_none(), "cut at {end}");
        }
        let mut other_magic = bytes;
        other_magic[7] ^= 1;
        assert!(Stored::read(&other_magic).is_none());
    }
}
