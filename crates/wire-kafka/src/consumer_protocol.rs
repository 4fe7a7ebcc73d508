//! What members of a group with the protocol type "consumer" put into JoinGroup's metadata and SyncGroup's assignment: a version, then
//! a struct in the classic encoding.
//!
//! A newer version only appends fields, so what has one is read as the newest that is known here, and what follows is passed over.

pub use crate::messages::consumer_protocol::{Assignment, AssignmentTopic, Subscription, SubscriptionTopic};

use crate::input::{DecodeError, Input};
use crate::output::put_i16;

/// The protocol type of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";

/// Reads a member's metadata: the version that it says, and the subscription.
///
/// # Errors
/// What [`DecodeError`] says; a negative version.
pub fn decode_subscription(bytes: &[u8]) -> Result<(i16, Subscription<'_>), DecodeError> {
    let mut input = Input::new(bytes);
    let version = input.i16()?;
    Ok((version, Subscription::decode(version.min(Subscription::MAX), &mut input)?))
}

/// Appends a member's metadata.
///
/// # Panics
/// With a version that does not exist.
pub fn encode_subscription(subscription: &Subscription<'_>, version: i16, out: &mut Vec<u8>) {
    put_i16(out, version);
    subscription.encode(version, out);
}

/// Reads a member's assignment: the version that it says, and the assignment.
///
/// # Errors
/// What [`DecodeError`] says; a negative version.
pub fn decode_assignment(bytes: &[u8]) -> Result<(i16, Assignment<'_>), DecodeError> {
    let mut input = Input::new(bytes);
    let version = input.i16()?;
    Ok((version, Assignment::decode(version.min(Assignment::MAX), &mut input)?))
}

/// Appends a member's assignment.
///
/// # Panics
/// With a version that does not exist.
pub fn encode_assignment(assignment: &Assignment<'_>, version: i16, out: &mut Vec<u8>) {
    put_i16(out, version);
    assignment.encode(version, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 with one topic "t", no user data, and the partition 2 of "t" owned.
    const SUBSCRIPTION: &[u8] =
        b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02";

    #[test]
    fn subscription() {
        let (version, subscription) = decode_subscription(SUBSCRIPTION).expect("a subscription");
        assert_eq!((version, subscription.topics.as_slice()), (1, &["t".into()][..]));
        assert_eq!((&subscription.user_data, subscription.generation_id), (&None, -1));
        assert_eq!(
            subscription.owned_partitions,
            [SubscriptionTopic { topic: "t".into(), partitions: vec![2] }]
        );
        let mut out = Vec::new();
        encode_subscription(&subscription, 1, &mut out);
        assert_eq!(out, SUBSCRIPTION);
    }

    #[test]
    fn versions_of_the_future_are_read_as_the_newest() {
        let mut out = Vec::new();
        let subscription =
            Subscription { topics: vec!["t".into()], rack_id: Some("r".into()), ..Default::default() };
        encode_subscription(&subscription, Subscription::MAX, &mut out);
        out.extend_from_slice(b"more");
        out[1] = 9;
        assert_eq!(decode_subscription(&out), Ok((9, subscription)));
        assert_eq!(decode_subscription(b"\xff\xff"), Err(DecodeError::Version(-1)));
        assert_eq!(decode_subscription(b"\0"), Err(DecodeError::Truncated));
    }

    #[test]
    fn assignment() {
        let topics = vec![AssignmentTopic { topic: "t".into(), partitions: vec![0, 1] }];
        let assignment = Assignment { assigned_partitions: topics, user_data: None };
        let mut out = Vec::new();
        encode_assignment(&assignment, 0, &mut out);
        assert_eq!(out, b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff");
        assert_eq!(decode_assignment(&out), Ok((0, assignment)));
    }
}
