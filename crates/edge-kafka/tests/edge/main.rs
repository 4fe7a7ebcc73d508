//! The Kafka edge over real sockets: a whole broker in this process, and clients that speak frames.

mod connections;
mod support;
