//! The pull path's header and the head of its answer, read and written without allocation.

use bytes::BytesMut;

use crate::command::{EncodeError, FrameWriter, RequestHead};
use crate::frame::Frame;
use crate::header::{FieldError, ScanError, Scratch};
use crate::scan::{self, Slots};

/// Pull sysFlag bit: `commit_offset` is to be taken as the group's cursor.
pub const SYS_FLAG_COMMIT_OFFSET: i32 = 1;
/// Pull sysFlag bit: wait for messages instead of answering "none".
pub const SYS_FLAG_SUSPEND: i32 = 2;
/// Pull sysFlag bit: the subscription is in the header; without it the group's heartbeat counts.
pub const SYS_FLAG_SUBSCRIPTION: i32 = 4;
/// Pull sysFlag bit: a class filter of ancient clients.
pub const SYS_FLAG_CLASS_FILTER: i32 = 8;
/// Pull sysFlag bit: sent by a lite pull consumer.
pub const SYS_FLAG_LITE_PULL: i32 = 16;

/// The header of PULL_MESSAGE (11) or LITE_PULL_MESSAGE (361).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullHeader<'a> {
    /// Code, opaque, flag and form of the request.
    pub head: RequestHead,
    /// The group that reads.
    pub consumer_group: &'a str,
    /// The topic to read.
    pub topic: &'a str,
    /// The queue to read.
    pub queue_id: i32,
    /// The first offset wanted.
    pub queue_offset: i64,
    /// The most messages wanted.
    pub max_msg_nums: i32,
    /// The `SYS_FLAG_*` bits of this module.
    pub sys_flag: i32,
    /// The group's cursor, if [`SYS_FLAG_COMMIT_OFFSET`] is set.
    pub commit_offset: i64,
    /// How long to wait for messages, in milliseconds, if [`SYS_FLAG_SUSPEND`] is set.
    pub suspend_timeout_millis: i64,
    /// The filter expression, if [`SYS_FLAG_SUBSCRIPTION`] is set.
    pub subscription: Option<&'a str>,
    /// The version of the client's subscription.
    pub sub_version: i64,
    /// `TAG` or `SQL92`; absent means `TAG`.
    pub expression_type: Option<&'a str>,
    /// The most bytes wanted.
    pub max_msg_bytes: Option<i32>,
    /// Who relays the pull; absent if the client itself asks.
    pub request_source: Option<i32>,
    /// The client behind a relay. (The name on the wire is misspelt, `proxyFrowardClientId`.)
    pub proxy_forward_client_id: Option<&'a str>,
    /// The broker that the client believes to talk to.
    pub broker_name: Option<&'a str>,
}

const NAMES: [&str; 15] = [
    "consumerGroup",
    "topic",
    "queueId",
    "queueOffset",
    "maxMsgNums",
    "sysFlag",
    "commitOffset",
    "suspendTimeoutMillis",
    "subscription",
    "subVersion",
    "expressionType",
    "maxMsgBytes",
    "requestSource",
    "proxyFrowardClientId",
    "bname",
];

fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

impl PullHeader<'_> {
    /// Whether one of the `SYS_FLAG_*` bits is set.
    pub fn has(&self, bit: i32) -> bool {
        self.sys_flag & bit != 0
    }
}

impl<'a> PullHeader<'a> {
    /// Reads the header of `frame`.
    ///
    /// # Errors
    /// [`ScanError::Unreadable`] if the connection has to be closed, [`ScanError::Field`] if the request can be answered.
    pub fn scan(frame: &'a Frame, scratch: &'a mut Scratch) -> Result<Self, ScanError> {
        let mut slots = Slots::new(&NAMES, place);
        let head = scan::header(frame.serialization, &frame.header, &mut slots)?.head;
        let slots = slots.resolve(scratch)?;
        Self::from_slots(head, &slots).map_err(|error| ScanError::Field { head, error })
    }

    fn from_slots(head: RequestHead, slots: &Slots<'a, 15>) -> Result<Self, FieldError> {
        Ok(PullHeader {
            head,
            consumer_group: slots.text(0)?,
            topic: slots.text(1)?,
            queue_id: slots.number(2)?,
            queue_offset: slots.number(3)?,
            max_msg_nums: slots.number(4)?,
            sys_flag: slots.number(5)?,
            commit_offset: slots.number(6)?,
            suspend_timeout_millis: slots.number(7)?,
            subscription: slots.optional_text(8),
            sub_version: slots.number(9)?,
            expression_type: slots.optional_text(10),
            max_msg_bytes: slots.optional_number(11)?,
            request_source: slots.optional_number(12)?,
            proxy_forward_client_id: slots.optional_text(13),
            broker_name: slots.optional_text(14),
        })
    }
}

/// What a pull is answered with, its body aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullResponse<'a> {
    /// SUCCESS, PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY or PULL_OFFSET_MOVED.
    pub code: i32,
    /// Apache's name of the outcome, such as `FOUND`.
    pub remark: Option<&'a str>,
    /// The broker id to ask next time; 0 is the master.
    pub suggest_which_broker_id: i64,
    /// Where to go on.
    pub next_begin_offset: i64,
    /// The queue's first offset.
    pub min_offset: i64,
    /// The offset that the queue's next message gets.
    pub max_offset: i64,
    /// The topic's sysFlag.
    pub topic_sys_flag: i32,
    /// The group's sysFlag.
    pub group_sys_flag: i32,
}

/// Appends prefix and header of the answer to the request `head`; the caller appends `body_bytes` of stored records behind it.
///
/// # Errors
/// [`EncodeError`] if the body is too long for a frame; `out` is then as it was.
pub fn encode_pull_response_head(
    out: &mut BytesMut,
    head: &RequestHead,
    answer: &PullResponse<'_>,
    body_bytes: usize,
) -> Result<(), EncodeError> {
    let mut writer = FrameWriter::response(out, head, answer.code, answer.remark);
    writer.int("suggestWhichBrokerId", answer.suggest_which_broker_id);
    writer.int("nextBeginOffset", answer.next_begin_offset);
    writer.int("minOffset", answer.min_offset);
    writer.int("maxOffset", answer.max_offset);
    writer.int("topicSysFlag", answer.topic_sys_flag.into());
    writer.int("groupSysFlag", answer.group_sys_flag.into());
    writer.finish(body_bytes)
}
