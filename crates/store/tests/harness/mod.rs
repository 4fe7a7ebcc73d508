//! What the store's tests share: an oracle that knows what must be there, and a world that drives the store over the
//! simulated disk.
//!
//! * [`oracle`]: the list of all appends, the model that follows from it, and the comparison with a store.
//! * [`message`]: made-up messages and the bytes that the store has to make of them.
//! * [`world`]: one seed: disk, clock, store and oracle, and every step that can be taken.
//! * [`run`]: whole seeds, in parallel, with a line that replays a failure.
//! * [`damage`]: how a seed ends: damage to what was durable, which must never go unseen.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

pub mod damage;
pub mod message;
pub mod oracle;
pub mod run;
pub mod world;
