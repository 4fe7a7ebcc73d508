//! Sending: messages become records of one group, and the answer waits for its watermark.

use std::net::SocketAddr;
use std::sync::Arc;

use braid_store::{Placed, Promise};

use crate::broker::Broker;
use crate::error::Error;
use crate::topic::Topic;

/// One message as it is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The payload.
    pub body: &'a [u8],
    /// The property string, as it is to be stored: without reserved names.
    pub properties: &'a [u8],
    /// The application's flag.
    pub flag: i32,
    /// The record's flags, see [`braid_record::sysflag`].
    pub sys_flag: i32,
    /// The client's milliseconds.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// How often the message came back.
    pub reconsume_times: i32,
}

/// What is sent at once.
#[derive(Debug, Clone, Copy)]
pub struct SendRequest<'a> {
    /// The topic.
    pub topic: &'a Arc<Topic>,
    /// The queue.
    pub queue_id: u32,
    /// The messages; several stand or fall together. At least one.
    pub messages: &'a [Message<'a>],
    /// The address by which this broker is known to the producer.
    pub store_host: SocketAddr,
    /// False when the answer need not wait for the disk.
    pub wait: bool,
}

/// Where sent messages went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// One for each message. The offset of a delayed message is that in the delay topic's queue.
    pub records: Vec<Placed>,
    /// The delay level that was acted on, if any.
    pub delay_level: Option<u32>,
}

impl Broker {
    /// Appends messages. A message with a delay level goes to the delay topic, its real topic and queue kept in its
    /// properties; the level is clamped to the highest, and 0 or less is no level.
    ///
    /// The promise is at `Flushed` in sync mode unless `wait` is false, else at `Written`. An edge that gives up waiting
    /// for the flush answers with [`Promise::lowered`].
    ///
    /// # Errors
    /// `NotWritable`, `NoQueue`, `IllegalMessage` (too long; several messages with a delay level among them; a delayed
    /// message whose copy would not fit), or why nothing could be appended.
    pub fn send(&self, _request: &SendRequest<'_>) -> Result<Promise<Sent>, Error> {
        unimplemented!()
    }
}
