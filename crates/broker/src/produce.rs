//! Sending: messages become records of one group, and the answer waits for its watermark.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use braid_record::{Draft, property, sysflag};
use braid_store::{GroupBuilder, Level, NewRecord, Placed, Promise};

use crate::broker::Broker;
use crate::error::Error;
use crate::topic::Topic;

/// Delayed messages from this size on are encoded once more when they are sent, to see whether copy and progress will
/// fit into one log file. Smaller ones fit into any file that a store may have.
const FIT_CHECK_FROM_BYTES: usize = 16 * 1024;

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
    /// A batch that was appended before: the records are the originals.
    pub duplicate: bool,
}

/// A batch of messages in their protocol's own bytes, which becomes one record.
#[derive(Debug, Clone, Copy)]
pub struct BatchRequest<'a> {
    /// The topic.
    pub topic: &'a Arc<Topic>,
    /// The queue.
    pub queue_id: u32,
    /// The payload kind. The deriver of this kind tells the producer's numbers, if there are any.
    pub kind: &'static str,
    /// The batch. Its first [`BASE_OFFSET_BYTES`](braid_record::BASE_OFFSET_BYTES) are set to its first offset.
    pub batch: &'a [u8],
    /// Its messages, at least 1: so many offsets are taken.
    pub count: u32,
    /// Properties of the record, without reserved names: what its deriver shall know besides the batch.
    pub properties: &'a [u8],
    /// The client's milliseconds.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The address by which this broker is known to the producer.
    pub store_host: SocketAddr,
    /// False when the answer need not wait for the disk.
    pub wait: bool,
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
    pub fn send(&self, request: &SendRequest<'_>) -> Result<Promise<Sent>, Error> {
        let SendRequest { topic, queue_id, messages, store_host, wait } = *request;
        check_writable(topic, queue_id)?;
        match messages {
            [] => Err(Error::IllegalMessage("nothing was sent".to_owned())),
            [message] => match self.delay_level_of(topic, message) {
                Some(level) => self.put_delayed(topic, queue_id, message, store_host, wait, level),
                None => self.put(topic, queue_id, messages, store_host, wait, None),
            },
            _ if messages.iter().any(|message| self.delay_level_of(topic, message).is_some()) => {
                Err(Error::IllegalMessage("messages that are sent together have no delay level".to_owned()))
            }
            _ => self.put(topic, queue_id, messages, store_host, wait, None),
        }
    }

    /// Appends a batch as one record. When the deriver of its kind finds a producer's numbers in it, a batch that was
    /// appended before is answered with where it went, and the promise comes due when the original's does.
    ///
    /// # Errors
    /// `NotWritable`, `NoQueue`, `IllegalMessage` (too long, or no batch), `OutOfOrderSequence`, `StaleProducerEpoch`, or
    /// why nothing could be appended.
    pub fn append_batch(&self, request: &BatchRequest<'_>) -> Result<Promise<Sent>, Error> {
        let topic = request.topic;
        check_writable(topic, request.queue_id)?;
        let draft = Draft {
            topic: topic.name(),
            queue_id: request.queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: request.born_timestamp,
            born_host: request.born_host,
            store_host: request.store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: request.batch,
            properties: request.properties,
            kind: Some(request.kind),
            targets: &[],
            group_goes_on: false,
            batch: Some(request.count),
        };
        let mut builder = GroupBuilder::new();
        builder.record(NewRecord { draft, topic: topic.number, count: request.count, more_targets: &[] });
        self.append_all(topic, builder, u64::from(request.count), request.wait, None)
    }

    /// A queue that producers see, in turn: for a message that names none. `None` when the topic has none.
    pub fn some_queue(&self, topic: &Topic) -> Option<u32> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(topic.config.write_queues)
    }

    /// The level that a message is to wait for, clamped; `None` when it is not to wait.
    fn delay_level_of(&self, topic: &Topic, message: &Message<'_>) -> Option<u32> {
        let may_wait =
            matches!(message.sys_flag & sysflag::TRANSACTION_MASK, 0 | sysflag::TRANSACTION_COMMIT);
        if !may_wait || topic.name() == self.policy.delay_topic {
            return None;
        }
        let level = property::find_str(message.properties, self.policy.properties.delay_level)?;
        let level: i64 = level.parse().ok().filter(|&level| level > 0)?;
        Some(u32::try_from(level).unwrap_or(u32::MAX).min(self.options.delay.levels()))
    }

    fn put_delayed(
        &self,
        real: &Topic,
        real_queue_id: u32,
        message: &Message<'_>,
        store_host: SocketAddr,
        wait: bool,
        level: u32,
    ) -> Result<Promise<Sent>, Error> {
        let names = &self.policy.properties;
        let delay_topic = self
            .topic(&self.policy.delay_topic)
            .ok_or_else(|| Error::NoTopic(self.policy.delay_topic.clone()))?;
        let replaced = [names.delay_level, names.real_topic, names.real_queue_id];
        let kept = without_names(message.properties, &[&replaced, names.dropped_when_delayed]);
        let mut properties = kept.into_owned();
        property::push(&mut properties, names.delay_level, &level.to_string());
        property::push(&mut properties, names.real_topic, real.name());
        property::push(&mut properties, names.real_queue_id, &real_queue_id.to_string());
        let message = Message { properties: &properties, ..*message };
        if message.body.len() + properties.len() >= FIT_CHECK_FROM_BYTES {
            let copied = without_names(&properties, &[names.dropped_when_delivered]);
            let copy = Message { properties: &copied, ..message };
            let copy = draft(real.name(), real_queue_id, &copy, store_host);
            self.store.group(self.delivery(delay_topic.queue(level - 1), u64::MAX, Some((real, copy))))?;
        }
        self.put(&delay_topic, level - 1, &[message], store_host, wait, Some(level))
    }

    fn put(
        &self,
        topic: &Topic,
        queue_id: u32,
        messages: &[Message<'_>],
        store_host: SocketAddr,
        wait: bool,
        delay_level: Option<u32>,
    ) -> Result<Promise<Sent>, Error> {
        let mut builder = GroupBuilder::new();
        for message in messages {
            let draft = draft(topic.name(), queue_id, message, store_host);
            builder.record(NewRecord { draft, topic: topic.number, count: 1, more_targets: &[] });
        }
        self.append_all(topic, builder, messages.len() as u64, wait, delay_level)
    }

    fn append_all(
        &self,
        topic: &Topic,
        builder: GroupBuilder,
        messages: u64,
        wait: bool,
        delay_level: Option<u32>,
    ) -> Result<Promise<Sent>, Error> {
        let mut appended = self.store.append(self.store.group(builder)?)?;
        assert!(!appended.records.is_empty(), "each message became a record");
        if !appended.duplicate {
            self.count_stored(topic, messages, &appended.records);
        }
        let level = if wait { self.level() } else { Level::Written };
        let records = std::mem::take(&mut appended.records);
        let sent = Sent { records, delay_level, duplicate: appended.duplicate };
        Ok(appended.promise(level, sent))
    }

    pub(crate) fn count_stored(&self, topic: &Topic, messages: u64, records: &[Placed]) {
        let bytes = records.iter().map(|placed| u64::from(placed.size)).sum();
        self.statistics.stored.count(messages, bytes);
        topic.stored.count(messages, bytes);
    }
}

fn check_writable(topic: &Topic, queue_id: u32) -> Result<(), Error> {
    let config = &topic.config;
    if !config.writable {
        return Err(Error::NotWritable(config.name.clone()));
    }
    if queue_id >= config.queues() {
        let (topic, queues) = (config.name.clone(), config.queues());
        return Err(Error::NoQueue { topic, queue_id, queues });
    }
    Ok(())
}

/// A record's draft from a message and its place.
pub(crate) fn draft<'a>(
    topic: &'a str,
    queue_id: u32,
    message: &Message<'a>,
    store_host: SocketAddr,
) -> Draft<'a> {
    Draft {
        topic,
        queue_id,
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_timestamp: message.born_timestamp,
        born_host: message.born_host,
        store_host,
        reconsume_times: message.reconsume_times,
        prepared_transaction_offset: 0,
        body: message.body,
        properties: message.properties,
        kind: None,
        targets: &[],
        group_goes_on: false,
        batch: None,
    }
}

/// Properties less the names in any of the lists.
pub(crate) fn without_names<'a>(properties: &'a [u8], lists: &[&[&str]]) -> Cow<'a, [u8]> {
    let unwanted = |name: &[u8]| lists.iter().any(|names| names.iter().any(|n| n.as_bytes() == name));
    property::without(properties, unwanted)
}
