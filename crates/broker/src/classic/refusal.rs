//! Why a classic group refuses.

/// A refusal of a classic group, by cause. Edges map it to their codes in one exhaustive `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// The group's name is empty or too long.
    #[error("a group's name has 1 to 255 bytes")]
    Name,
    /// The session timeout is out of its range.
    #[error("the session timeout is out of range")]
    SessionTimeout,
    /// There is no such member, or no such group.
    #[error("the group has no such member")]
    UnknownMember,
    /// The member must join again, with the id that is given.
    #[error("the member must join again with the id that it is given")]
    MemberIdRequired,
    /// The group has as many members, or as many bytes, as it may have.
    #[error("the group is full")]
    GroupFull,
    /// The group's protocol type is another, or no protocol suits all members.
    #[error("the member and the group have no protocol in common")]
    InconsistentProtocol,
    /// Members of another kind live in the group.
    #[error("members of another protocol are in the group")]
    OtherMembers,
    /// Another member has the same instance id now.
    #[error("another member has this instance id now")]
    FencedInstance,
    /// The generation is not the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// The group rebalances: join again.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// The group cannot be served now: try again.
    #[error("the group cannot be served now")]
    NotAvailable,
    /// Metadata, an assignment or an id is larger than allowed.
    #[error("metadata, assignment or id is too large")]
    TooLarge,
    /// There is no such group.
    #[error("there is no such group")]
    NoGroup,
    /// The group has members.
    #[error("the group has members")]
    NotEmpty,
    /// A member of the group reads the topic.
    #[error("members of the group read the topic")]
    Subscribed,
}

/// The refusal of a join, with the id that the answer carries: the new one, the given one, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefusal {
    /// Why.
    pub error: GroupError,
    /// The member's id; empty when it has none.
    pub member_id: String,
}
