//! Messages that came back: tried again later, or dead letters.

use std::net::SocketAddr;
use std::sync::Arc;

use braid_record::{RecordView, id, property};
use braid_store::{Position, Promise};
use bytes::Bytes;

use crate::broker::Broker;
use crate::error::Error;
use crate::group::GroupConfig;
use crate::produce::{Message, SendRequest, without_names};
use crate::topic::Topic;

/// The delay level of a message that comes back for the first time, when its consumer names none: 10 s by default.
const FIRST_RETRY_LEVEL: i32 = 3;

/// A consumer hands a message back.
#[derive(Debug, Clone, Copy)]
pub struct SendBack<'a> {
    /// Its group.
    pub group: &'a str,
    /// The message's name.
    pub position: Position,
    /// The message as its consumer was given it, when that is not what lies in the log: one out of a record of another
    /// protocol's. It is a stored message whose topic is as the consumer spells it.
    pub source: Option<&'a [u8]>,
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
    /// nothing had to be stored ([`SentBack::Dropped`]). The answer does not wait for the disk's flush: a cursor that
    /// passes the source stands behind the new record in the log.
    ///
    /// May wait for the disk to read the source.
    ///
    /// # Errors
    /// `NoGroup`, `NoRecord`, `NotWritable`, or why nothing could be appended.
    pub fn send_back(&self, request: &SendBack<'_>) -> Result<(SentBack, Option<Promise<()>>), Error> {
        let group = self.group_or_create(request.group)?;
        if group.retry_queues == 0 {
            return Ok((SentBack::Dropped, None));
        }
        let no_record = || Error::NoRecord(request.position.0);
        let record = match request.source {
            Some(_) => Bytes::new(),
            None => self.own_message(request.position)?.ok_or_else(no_record)?,
        };
        let source = RecordView::parse(request.source.unwrap_or(&record)).map_err(|_| no_record())?;

        let level = self.retry_level(&group, &source, request);
        let topic = match level {
            Some(_) => self.retry_topic(request.group)?,
            None => self.dead_letter_topic(request.group)?,
        };
        let queue_id = self.some_queue(&topic).unwrap_or(0);
        let properties = self.properties_of_returned(&source, request.position, level.unwrap_or(0));
        let message = Message {
            body: source.body(),
            properties: &properties,
            flag: source.flag(),
            sys_flag: source.sys_flag(),
            born_timestamp: source.born_timestamp(),
            born_host: source.born_host(),
            reconsume_times: source.reconsume_times().saturating_add(1),
        };
        let promise = self.send(&SendRequest {
            topic: &topic,
            queue_id,
            messages: &[message],
            store_host: request.store_host,
            wait: false,
        })?;
        let mut delay_level = None;
        let promise = promise.map(|sent| delay_level = sent.delay_level);
        let became = match level {
            Some(_) => SentBack::Retried { delay_level: delay_level.unwrap_or(0) },
            None => SentBack::DeadLettered,
        };
        Ok((became, Some(promise)))
    }

    /// The record of that name, if it is a message in the envelope's own form. Records of the store's own topics have names
    /// too, but they are no messages.
    fn own_message(&self, position: Position) -> Result<Option<Bytes>, Error> {
        let named = self.store.record_named(position)?.filter(|named| named.index.is_none());
        Ok(named.map(|named| named.record).filter(|record| {
            RecordView::parse(record)
                .is_ok_and(|view| view.kind().is_none() && self.topic(view.topic()).is_some())
        }))
    }

    /// Where a client's own send to its group's retry topic goes: to the dead letters when it came back more than
    /// `retry_max` times (the group's own, when `None`), or when the group holds queue locks.
    ///
    /// # Errors
    /// `NoGroup`, or why the topic could not be made.
    pub fn resend(&self, group: &str, reconsume_times: i32, retry_max: Option<i32>) -> Result<Resend, Error> {
        let config = self.group_or_create(group)?;
        if is_above(reconsume_times, retry_max, &config) || self.has_live_locks(group) {
            return Ok(Resend::DeadLetter(self.dead_letter_topic(group)?));
        }
        Ok(Resend::Retry(self.retry_topic(group)?))
    }

    /// The delay level before the next try; `None` for a dead letter.
    fn retry_level(
        &self,
        group: &GroupConfig,
        source: &RecordView<'_>,
        request: &SendBack<'_>,
    ) -> Option<i32> {
        let times = source.reconsume_times();
        let tried_enough = match request.retry_max {
            Some(max) => times >= max,
            None => i64::from(times) >= i64::from(group.retry_max),
        };
        match request.delay_level {
            _ if tried_enough => None,
            ..0 => None,
            0 => Some(FIRST_RETRY_LEVEL.saturating_add(times)),
            level => Some(level),
        }
    }

    fn properties_of_returned(&self, source: &RecordView<'_>, position: Position, level: i32) -> Vec<u8> {
        let names = &self.policy.properties;
        let own = property::without(source.properties(), property::is_reserved);
        let mut properties = without_names(&own, &[&[names.delay_level, names.wait]]).into_owned();
        property::push(&mut properties, names.delay_level, &level.to_string());
        property::push(&mut properties, names.wait, "false");
        if source.property(names.retry_topic).is_none() {
            property::push(&mut properties, names.retry_topic, source.topic());
        }
        if source.property(names.origin_message_id).is_none() {
            let id = id::message_id(source.store_host(), position.0);
            property::push(&mut properties, names.origin_message_id, &id);
        }
        properties
    }
}

fn is_above(times: i32, retry_max: Option<i32>, group: &GroupConfig) -> bool {
    match retry_max {
        Some(max) => times > max,
        None => i64::from(times) > i64::from(group.retry_max),
    }
}
