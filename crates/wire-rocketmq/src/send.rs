//! The send path's header and answer, read and written without allocation.
//!
//! A send is the broker's most frequent request and its header is as long as its message, so it gets a reader of its own: one pass,
//! every text borrowed from the frame. Only texts with JSON escapes are copied, into the caller's [`Scratch`]; with Java clients that is
//! exactly `properties`, whose separators 0x01 and 0x02 JSON can't hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;

use crate::command::{EncodeError, FrameWriter, RequestHead};
use crate::frame::Frame;
use crate::header::{FieldError, ScanError, Scratch};
use crate::scan::{self, Slots};

/// The header of SEND_MESSAGE (10), SEND_MESSAGE_V2 (310) or SEND_BATCH_MESSAGE (320); also of the reply sends 324 and 325.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// Code, opaque, flag and form of the request.
    pub head: RequestHead,
    /// The group of the producer.
    pub producer_group: &'a str,
    /// Where to.
    pub topic: &'a str,
    /// The topic whose settings a topic made on first use copies; normally `TBW102`.
    pub default_topic: &'a str,
    /// How many queues a topic made on first use gets.
    pub default_topic_queue_nums: i32,
    /// The queue that the client chose; negative leaves it to the broker.
    pub queue_id: i32,
    /// Compression, transaction and address bits, as stored.
    pub sys_flag: i32,
    /// When the client made the message, in milliseconds.
    pub born_timestamp: i64,
    /// The application's own flag, passed through.
    pub flag: i32,
    /// `name 0x01 value 0x02 ...`, as sent; empty if absent.
    pub properties: &'a str,
    /// How often the message was consumed in vain; 0 if absent.
    pub reconsume_times: i32,
    /// Unit mode of the topic; false if absent.
    pub unit_mode: bool,
    /// Whether the body holds batch entries; false if absent.
    pub batch: bool,
    /// The group's limit of consumption attempts, if the client knows it.
    pub max_reconsume_times: Option<i32>,
    /// The broker that the client believes to talk to.
    pub broker_name: Option<&'a str>,
}

/// Long names in the order of the one-letter names `a` to `n`.
const NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];

fn place(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [letter @ b'a'..=b'n'] => Some(usize::from(letter - b'a')),
        [_] => None,
        _ => NAMES.iter().position(|known| *known == name),
    }
}

impl<'a> SendHeader<'a> {
    /// Reads the header of `frame`, whichever of the send codes it carries.
    ///
    /// # Errors
    /// [`ScanError::Unreadable`] if the connection has to be closed, [`ScanError::Field`] if the request can be answered.
    pub fn scan(frame: &'a Frame, scratch: &'a mut Scratch) -> Result<Self, ScanError> {
        let mut slots = Slots::new(&NAMES, place);
        let head = scan::header(frame.serialization, &frame.header, &mut slots)?.head;
        let slots = slots.resolve(scratch)?;
        Self::from_slots(head, &slots).map_err(|error| ScanError::Field { head, error })
    }

    fn from_slots(head: RequestHead, slots: &Slots<'a, 14>) -> Result<Self, FieldError> {
        Ok(SendHeader {
            head,
            producer_group: slots.text(0)?,
            topic: slots.text(1)?,
            default_topic: slots.text(2)?,
            default_topic_queue_nums: slots.number(3)?,
            queue_id: slots.number(4)?,
            sys_flag: slots.number(5)?,
            born_timestamp: slots.number(6)?,
            flag: slots.number(7)?,
            properties: slots.optional_text(8).unwrap_or_default(),
            reconsume_times: slots.optional_number(9)?.unwrap_or(0),
            unit_mode: slots.truth(10)?,
            max_reconsume_times: slots.optional_number(11)?,
            batch: slots.truth(12)?,
            broker_name: slots.optional_text(13),
        })
    }
}

/// What a send is answered with when the message is stored (codes 0, 10, 11 and 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendResponse<'a> {
    /// SUCCESS or one of the codes that say how safe the stored message is.
    pub code: i32,
    /// Text for people, if the code is not SUCCESS.
    pub remark: Option<&'a str>,
    /// The offset message id; of a batch, all of them with commas between ([`push_message_id`]).
    pub message_id: &'a str,
    /// The queue that took the message.
    pub queue_id: i32,
    /// The offset of the message, of a batch the first one.
    pub queue_offset: i64,
    /// The message's UNIQ_KEY, which clients show as transaction id.
    pub transaction_id: Option<&'a str>,
    /// The broker's region (`MSG_REGION`).
    pub region_id: &'a str,
    /// Whether clients may trace (`TRACE_ON`).
    pub trace_on: bool,
}

/// Appends the whole answer frame to the request `head`.
///
/// # Errors
/// [`EncodeError`] if the ids of a batch outgrow a header; `out` is then as it was.
pub fn encode_send_response(
    out: &mut BytesMut,
    head: &RequestHead,
    answer: &SendResponse<'_>,
) -> Result<(), EncodeError> {
    let mut writer = FrameWriter::response(out, head, answer.code, answer.remark);
    writer.int("queueId", answer.queue_id.into());
    if let Some(transaction_id) = answer.transaction_id {
        writer.text("transactionId", transaction_id);
    }
    writer.text("msgId", answer.message_id);
    writer.bool("TRACE_ON", answer.trace_on);
    writer.text("MSG_REGION", answer.region_id);
    writer.int("queueOffset", answer.queue_offset);
    writer.finish(0)
}

/// Appends the offset message id: upper-case hex of store address, port and position, 32 characters with IPv4 and 56 with IPv6.
pub fn push_message_id(out: &mut String, store_host: SocketAddr, position: u64) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut push = |bytes: &[u8]| {
        for byte in bytes {
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    };
    match store_host.ip() {
        IpAddr::V4(ip) => push(&ip.octets()),
        IpAddr::V6(ip) => push(&ip.octets()),
    }
    push(&u32::from(store_host.port()).to_be_bytes());
    push(&position.to_be_bytes());
}

/// Reads an offset message id; `None` if `id` is none.
pub fn parse_message_id(id: &str) -> Option<(SocketAddr, u64)> {
    let mut bytes = [0; 28];
    if !matches!(id.len(), 32 | 56) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(id.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    let (ip, rest) = match id.len() {
        32 => (IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)), &bytes[4..16]),
        _ => (IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)), &bytes[16..28]),
    };
    let port = u32::from_be_bytes(*rest.first_chunk()?);
    let position = u64::from_be_bytes(*rest.last_chunk()?);
    Some((SocketAddr::new(ip, u16::try_from(port).ok()?), position))
}
