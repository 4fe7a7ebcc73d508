//! `braidmq bench`: how fast is the broker on this machine, and how far is it from what the machine can do?
//!
//! ```text
//!   core A                                        core B
//!  ┌───────────────────────────┐   loopback TCP  ┌──────────────────────────────┐
//!  │ floor server, then braidmq│ ◄─────────────► │ generator: one thread, epoll,│
//!  │ then the floor again      │                 │ requests encoded beforehand  │
//!  └───────────────────────────┘                 └──────────────────────────────┘
//! ```
//!
//! The *floor* is a server that does only what no broker can avoid: it reads a request, appends it to a log and answers. Every figure of
//! the broker stands beside the floor's of the same minute, and their ratio is what is worth quoting: a busy machine slows both.
//!
//! * [`floor`]: the floor server and how to talk to it.
//! * [`rocketmq`]: sends and pulls of the RocketMQ protocol. [`kafka`]: produce and fetch of Kafka's.
//! * [`protocol`], [`generator`]: what a protocol has to offer, and the closed loop that drives it.
//! * [`server`], [`usage`]: starting, pinning and watching servers.
//! * [`stats`], [`rows`], [`run()`], [`report`]: what is measured, in which order, and what it says.
//!
//! Nothing here knows client libraries, and nothing is measured that was not also read back: an acknowledged message that is missing
//! ends the run with an error.

pub mod error;
pub mod floor;
pub mod generator;
pub mod kafka;
pub mod protocol;
pub mod report;
pub mod rocketmq;
pub mod rows;
pub mod run;
pub mod server;
pub mod stats;
pub mod usage;

pub use error::BenchError;
pub use report::RowReport;
pub use run::{Options, run};
