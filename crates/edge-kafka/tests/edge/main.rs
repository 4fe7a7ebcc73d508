//! The Kafka edge over real sockets: a whole broker in this process, and clients that speak frames.
#![allow(clippy::unwrap_used, reason = "a test that can not go on ends")]

mod admin;
mod connections;
mod data;
mod faults;
mod groups;
mod offsets;
mod support;
