//! The edge over real sockets, with raw frames: what clients see, code by code.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

mod administration;
mod connections;
mod crossing;
mod faults;
mod groups;
mod messages;
mod mixed;
mod name_server;
mod support;
