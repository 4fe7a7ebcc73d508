//! Kafka's side of the rig, with the client side of our own codec: producers, groups, and the reading for the judge.
//!
//! Half of the connections are idempotent producers. They live on over kills: what the kill left unanswered is sent again, byte for
//! byte, to the restarted broker, which has to know whether it has it. Every second connection is a member of its group, and goes on as
//! that, too; the others commit as strangers.

pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod verify;
