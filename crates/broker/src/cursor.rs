//! Cursors: how far each group has come in each queue.

use std::sync::Arc;

use braid_store::{Promise, QueueKey};

use crate::broker::Broker;
use crate::error::Error;
use crate::topic::Topic;

/// A group's place in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The next offset that the group wants.
    pub offset: u64,
    /// True when the place was set from outside and the group's reader has not been told yet.
    pub reset: bool,
}

/// A cursor with its queue, for lists.
#[derive(Debug, Clone)]
pub struct QueueCursor {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The queue inside it.
    pub queue_id: u32,
    /// The next offset that the group wants.
    pub offset: u64,
}

impl Broker {
    /// Sets a group's cursor. With `durable` its record is appended now and the promise comes due when it is as safe as
    /// the store's mode says; otherwise the cursor is marked, and written with others within
    /// [`cursor_flush_ms`](crate::BrokerOptions::cursor_flush_ms).
    ///
    /// A commit while a reset waits for the group's reader is ignored: it names a place from before
    /// (see [`reset_cursor`](Self::reset_cursor)); the promise is `None` then too.
    ///
    /// # Errors
    /// `NoTopic`, or (durable only) why nothing could be appended; the cursor is unchanged then.
    pub fn commit(
        &self,
        _group: &str,
        _queue: QueueKey,
        _offset: u64,
        _durable: bool,
    ) -> Result<Option<Promise<()>>, Error> {
        unimplemented!()
    }

    /// A group's cursor in a queue.
    pub fn cursor(&self, _group: &str, _queue: QueueKey) -> Option<u64> {
        unimplemented!()
    }

    /// Sets a group's cursor from outside: durable, and the group's next read is answered with the new place
    /// ([`take_reset`](Self::take_reset)); commits are ignored until then.
    ///
    /// # Errors
    /// `NoTopic`, or why nothing could be appended.
    pub fn reset_cursor(&self, _group: &str, _queue: QueueKey, _offset: u64) -> Result<Promise<()>, Error> {
        unimplemented!()
    }

    /// True while a reset waits for the group's reader.
    pub fn has_reset(&self, _group: &str, _queue: QueueKey) -> bool {
        unimplemented!()
    }

    /// The place to which the cursor was reset, given once: to be asked at the start of every read.
    pub fn take_reset(&self, _group: &str, _queue: QueueKey) -> Option<u64> {
        unimplemented!()
    }

    /// All cursors of a group on topics that exist, by topic and queue.
    pub fn cursors_of(&self, _group: &str) -> Vec<QueueCursor> {
        unimplemented!()
    }

    /// Groups that have a cursor, by name; they need not be configured.
    pub fn groups_with_cursors(&self) -> Vec<String> {
        unimplemented!()
    }

    /// Forgets a group's cursors, or only those on one topic.
    ///
    /// # Errors
    /// Why nothing could be appended; the cursors are unchanged then.
    pub fn delete_cursors(&self, _group: &str, _topic: Option<&Topic>) -> Result<Option<Promise<()>>, Error> {
        unimplemented!()
    }

    /// Appends the cursors that changed since the last call, many to a record; gives their number. They stay marked when
    /// nothing could be appended. Called by [`Broker::turn`] and at the end.
    ///
    /// # Errors
    /// Why nothing could be appended.
    pub fn flush_cursors(&self) -> Result<usize, Error> {
        unimplemented!()
    }
}
