//! One member of a classic group.

use std::sync::Arc;

use super::request::{JoinAnswer, JoinRequest, JoinedMember, SyncAnswer};

/// A time that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// What a member says in one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: String,
    pub(super) metadata: Arc<[u8]>,
}

/// An answer that waits, with the number that its connection knows it by.
pub(super) struct Parked<A> {
    pub(super) number: u64,
    pub(super) answer: A,
}

/// A member: dynamic, or static when it has an instance id.
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_ms: u64,
    pub(super) rebalance_ms: u64,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Arc<[u8]>,
    /// Its place in the order in which members came.
    pub(super) order: u64,
    /// True until it has been in a generation.
    pub(super) newcomer: bool,
    pub(super) join: Option<Parked<JoinAnswer>>,
    pub(super) sync: Option<Parked<SyncAnswer>>,
    /// When it is taken for gone, unless it is heard of or waits for us.
    pub(super) due_ms: u64,
}

impl Member {
    pub(super) fn new(request: &JoinRequest<'_>, order: u64) -> Self {
        let mut member = Self {
            instance_id: request.instance_id.map(str::to_owned),
            client_id: request.client_id.to_owned(),
            client_host: request.client_host.to_owned(),
            session_ms: 0,
            rebalance_ms: 0,
            protocols: Vec::new(),
            assignment: Arc::default(),
            order,
            newcomer: true,
            join: None,
            sync: None,
            due_ms: NEVER,
        };
        member.update(request);
        member
    }

    /// Takes over what it says now.
    pub(super) fn update(&mut self, request: &JoinRequest<'_>) {
        let protocol =
            |&(name, metadata): &(&str, &[u8])| Protocol { name: name.to_owned(), metadata: metadata.into() };
        self.protocols = request.protocols.iter().map(protocol).collect();
        self.session_ms = u64::try_from(request.session_ms).unwrap_or(0);
        self.rebalance_ms = u64::try_from(request.rebalance_ms).unwrap_or(0);
    }

    /// True when it says the same as before, in the same order.
    pub(super) fn says(&self, protocols: &[(&str, &[u8])]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|(own, (name, metadata))| own.name == *name && *own.metadata == **metadata)
    }

    /// The protocols that it says, each once.
    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        let names = self.protocols.iter().map(|protocol| protocol.name.as_str());
        names.enumerate().filter_map(|(at, name)| {
            let said = self.protocols[..at].iter().any(|earlier| earlier.name == name);
            (!said).then_some(name)
        })
    }

    pub(super) fn metadata(&self, protocol: &str) -> Arc<[u8]> {
        let found = self.protocols.iter().find(|own| own.name == protocol);
        found.map(|own| Arc::clone(&own.metadata)).unwrap_or_default()
    }

    pub(super) fn as_seen_by_leader(&self, id: &str, protocol: &str) -> JoinedMember {
        JoinedMember {
            id: id.to_owned(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// True when its silence is ours: it waits for an answer. A newcomer is given a time of its own instead.
    pub(super) fn waits_for_us(&self) -> bool {
        !self.newcomer && (self.join.is_some() || self.sync.is_some())
    }

    /// Bytes that count towards the group's.
    pub(super) fn bytes(&self) -> usize {
        self.assignment.len()
            + protocols_bytes(self.protocols.iter().map(|p| (p.name.len(), p.metadata.len())))
    }
}

/// What protocols count for in memory.
pub(super) fn protocols_bytes(sizes: impl Iterator<Item = (usize, usize)>) -> usize {
    sizes.map(|(name, metadata)| name + metadata).sum()
}
