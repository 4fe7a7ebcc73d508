//! The built binary as people and scripts call it.

#![allow(unreachable_pub, reason = "a test exports nothing; `pub` says what a module offers to the others")]

mod bench;
mod commands;
mod kafka;
mod start;
mod store;
mod support;
