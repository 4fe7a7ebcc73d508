//! The edge over real sockets, with raw frames: what clients see, code by code.

mod administration;
mod connections;
mod groups;
mod messages;
mod name_server;
mod support;
