//! Messages that came back: tried again later, or dead letters.

use std::net::SocketAddr;
use std::sync::Arc;

use braid_store::{Position, Promise};

use crate::broker::Broker;
use crate::error::Error;
use crate::topic::Topic;

/// A consumer hands a message back.
#[derive(Debug, Clone, Copy)]
pub struct SendBack<'a> {
    /// Its group.
    pub group: &'a str,
    /// The record's name.
    pub position: Position,
    /// 0: by how often it came back; above: that level; below: a dead letter at once.
    pub delay_level: i32,
    /// How often it is tried again before it is a dead letter, when the client says so; else the group's own.
    pub retry_max: Option<i32>,
    /// The address by which this broker is known to the consumer.
    pub store_host: SocketAddr,
}

/// What became of a message that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentBack {
    /// It is tried again after this delay level.
    Retried {
        /// The level, after clamping.
        delay_level: u32,
    },
    /// It is a dead letter.
    DeadLettered,
    /// The group keeps no messages that came back.
    Dropped,
}

/// Where a message goes that a client itself sent to its group's retry topic.
#[derive(Debug, Clone)]
pub enum Resend {
    /// To the retry topic.
    Retry(Arc<Topic>),
    /// To the dead-letter topic, queue 0, with the delay level property set to -1.
    DeadLetter(Arc<Topic>),
}

impl Broker {
    /// Takes a message back: a new record in the group's retry topic (delayed) or dead-letter topic, with the source's
    /// body, tags and birth, one more return counted, its first topic and first id kept. `None` as promise means that
    /// nothing had to be stored ([`SentBack::Dropped`]).
    ///
    /// May wait for the disk.
    ///
    /// # Errors
    /// `NoGroup`, `NoRecord`, `NotWritable`, or why nothing could be appended.
    pub fn send_back(&self, _request: &SendBack<'_>) -> Result<(SentBack, Option<Promise<()>>), Error> {
        unimplemented!()
    }

    /// Where a client's own send to its group's retry topic goes: to the dead letters when it came back more than
    /// `retry_max` times (the group's own, when `None`), or when the group holds queue locks.
    ///
    /// # Errors
    /// `NoGroup`, or why the topic could not be made.
    pub fn resend(
        &self,
        _group: &str,
        _reconsume_times: i32,
        _retry_max: Option<i32>,
    ) -> Result<Resend, Error> {
        unimplemented!()
    }
}
