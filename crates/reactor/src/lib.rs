//! What the reactors of all edges have in common, without any protocol's words: listening sockets, answers that wait for a
//! watermark, futures whose panic ends one connection only.
//!
//! Deliberately absent: the reactors themselves. How requests follow one another on a connection is the protocol's, and with it
//! almost everything of a reactor.

mod guard;
mod listen;
mod promised;

pub use guard::guarded;
pub use listen::{listen, unmapped};
pub use promised::{End, PromiseLines};
