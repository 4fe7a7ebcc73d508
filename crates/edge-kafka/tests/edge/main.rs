//! The Kafka edge over real sockets: a whole broker in this process, and clients that speak frames.

#![allow(clippy::unwrap_used)]

mod connections;
mod data;
mod support;
