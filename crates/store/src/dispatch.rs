//! Dispatch: entering records into the indexes, in log order, which makes them visible.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::{QueueKey, TopicNumber};
use crate::index::{Entry, QueueIndex};
use crate::keys::KeyIndex;
use crate::progress::{DispatchListener, Dispatched};

/// Something that readers will see.
#[derive(Debug)]
pub(crate) enum Visible {
    Record {
        position: u64,
        entries: Entries,
        key_hashes: Vec<u64>,
    },
    TopicDeleted(TopicNumber),
    /// The queue begins at this offset from here on.
    QueueCut(QueueKey, u64),
}

/// A record's entries in its queues; nearly always one.
#[derive(Debug)]
pub(crate) enum Entries {
    One([(QueueKey, Entry); 1]),
    Many(Vec<(QueueKey, Entry)>),
}

impl Entries {
    pub(crate) fn of(mut entries: impl ExactSizeIterator<Item = (QueueKey, Entry)>) -> Self {
        if entries.len() == 1
            && let Some(one) = entries.next()
        {
            return Self::One([one]);
        }
        Self::Many(entries.collect())
    }

    pub(crate) fn as_slice(&self) -> &[(QueueKey, Entry)] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// What is written and waits to become visible, in log order. Owned by whoever holds the dispatch lock.
pub(crate) struct Dispatcher {
    waiting: VecDeque<(u64, Vec<Visible>)>,
    dispatched: u64,
    listeners: Vec<Arc<dyn DispatchListener>>,
    /// What became visible in this turn, for the listeners.
    news: Vec<Dispatched>,
}

impl Dispatcher {
    pub(crate) fn new(dispatched: u64) -> Self {
        Self { waiting: VecDeque::new(), dispatched, listeners: Vec::new(), news: Vec::new() }
    }

    pub(crate) fn listen(&mut self, listener: Arc<dyn DispatchListener>) {
        self.listeners.push(listener);
    }

    /// Tells the listeners what became visible since the last call; readers see it already.
    pub(crate) fn tell(&mut self) {
        if !self.news.is_empty() {
            self.listeners.iter().for_each(|listener| listener.dispatched(&self.news));
            self.news.clear();
        }
    }

    /// Adds what became written up to `end`.
    pub(crate) fn push(&mut self, end: u64, visible: Vec<Visible>) {
        let last = self.waiting.back().map_or(self.dispatched, |(end, _)| *end);
        assert!(end >= last, "dispatch follows the log's order");
        self.waiting.push_back((end, visible));
    }

    /// Enters all up to `limit` into the indexes; gives the end of what is visible now. `ended` collects deleted
    /// topics, with the position at which their end is durable.
    pub(crate) fn dispatch(
        &mut self,
        limit: u64,
        queues: &QueueIndex,
        keys: &KeyIndex,
        ended: &mut Vec<(u64, TopicNumber)>,
    ) -> u64 {
        while let Some((end, _)) = self.waiting.front()
            && *end <= limit
            && let Some((end, visible)) = self.waiting.pop_front()
        {
            for item in visible {
                match item {
                    Visible::Record { position, entries, key_hashes } => {
                        for &(queue, entry) in entries.as_slice() {
                            queues.insert(queue, entry);
                            if !self.listeners.is_empty() {
                                let next_offset = entry.next_offset();
                                self.news.push(Dispatched { queue, next_offset, index_word: entry.word });
                            }
                        }
                        enter_keys(keys, &key_hashes, position);
                    }
                    Visible::TopicDeleted(topic) => ended.push((end, topic)),
                    Visible::QueueCut(queue, start) => queues.raise_min(queue, start),
                }
            }
            self.dispatched = end;
        }
        self.dispatched
    }
}

/// Enters a record's keys.
pub(crate) fn enter_keys(keys: &KeyIndex, key_hashes: &[u64], position: u64) {
    match key_hashes {
        [] => {}
        [one] => keys.insert(&[(*one, position)]),
        many => keys.insert(&many.iter().map(|&hash| (hash, position)).collect::<Vec<_>>()),
    }
}
