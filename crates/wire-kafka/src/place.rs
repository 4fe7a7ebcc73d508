//! What Produce and Fetch have in common: how a topic is named, who leads, where a node listens.

use crate::input::{DecodeError, Input};
use crate::output::{put_i32, put_length, put_nullable_string, put_string, put_tag, put_uvarint};

/// A topic as a version names it: early versions by name, late ones by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id; zero is no topic's.
    Id([u8; 16]),
}

impl<'a> TopicRef<'a> {
    pub(crate) fn read(by_id: bool, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        if by_id { input.uuid().map(Self::Id) } else { input.str(flexible).map(Self::Name) }
    }

    /// # Panics
    /// If the version names topics in the other way: an answer repeats what the request said.
    pub(crate) fn write(self, by_id: bool, flexible: bool, out: &mut Vec<u8>) {
        match (self, by_id) {
            (Self::Name(name), false) => put_string(out, name, flexible),
            (Self::Id(id), true) => out.extend_from_slice(&id),
            _ => panic!("{self:?} where the version has ids: {by_id}"),
        }
    }
}

/// Who leads a partition, told to who asked the wrong node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The node.
    pub id: i32,
    /// The epoch of its leadership.
    pub epoch: i32,
}

impl Leader {
    pub(crate) fn put_tag(self, tag: u32, out: &mut Vec<u8>) {
        put_tag(out, tag, |out| {
            put_i32(out, self.id);
            put_i32(out, self.epoch);
            put_uvarint(out, 0);
        });
    }
}

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeEndpoint<'a> {
    /// The node.
    pub node_id: i32,
    /// Its host name or address.
    pub host: &'a str,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<&'a str>,
}

/// The tag section of an answer whose only tag, 0, is the endpoints of nodes that it names.
pub(crate) fn put_endpoints(nodes: &[NodeEndpoint<'_>], out: &mut Vec<u8>) {
    put_uvarint(out, u32::from(!nodes.is_empty()));
    if nodes.is_empty() {
        return;
    }
    put_tag(out, 0, |out| {
        put_length(out, Some(nodes.len()), true);
        for node in nodes {
            put_i32(out, node.node_id);
            put_string(out, node.host, true);
            put_i32(out, node.port);
            put_nullable_string(out, node.rack, true);
            put_uvarint(out, 0);
        }
    });
}

/// Counts down what an answer promised, so that a writer that forgets an item is found at once.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    topics: usize,
    partitions: usize,
}

impl Promised {
    pub(crate) fn topics(topics: usize) -> Self {
        Self { topics, partitions: 0 }
    }

    pub(crate) fn topic(&mut self, partitions: usize) {
        assert_eq!(self.partitions, 0, "the topic before lacks partitions");
        self.topics = self.topics.checked_sub(1).expect("as many topics as the answer promised");
        self.partitions = partitions;
    }

    pub(crate) fn partition(&mut self) {
        self.partitions = self.partitions.checked_sub(1).expect("as many partitions as the topic promised");
    }

    pub(crate) fn is_last_partition(&self) -> bool {
        self.partitions == 0
    }

    pub(crate) fn end(&self) {
        assert_eq!((self.topics, self.partitions), (0, 0), "topics and partitions that the answer lacks");
    }
}
