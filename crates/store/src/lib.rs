//! The commit log and what is derived from it: queue index, key index, recovery.
//!
//! `store` knows the envelope (a RocketMQ stored message) and nothing of any protocol. It is synchronous and
//! deterministic: time comes from a [`Clock`](braid_io::Clock), bytes go to a [`Disk`](braid_io::Disk), and threads are
//! started by [`driver`] alone, so that tests drive the same code step by step.
//!
//! ```text
//!  append ──► appended (memory) ──write_turn──► written ──flush_turn──► flushed = committed ──► dispatched (visible)
//! ```
//!
//! * [`Store`]: the handle; cheap to clone, usable from every thread.
//! * [`Group`], [`Promise`]: what goes in, and the answer that waits for its watermark.
//! * [`ReadRequest`], [`Read`]: what comes out, by (queue, offset).
//! * [`StateChange`]: state that is not messages, kept in the same log.
//! * [`driver`]: the two threads of a running store. [`tool`]: what the command line does with a stopped one.

mod append;
mod appender;
mod bytes;
mod catalog;
mod dispatch;
pub mod driver;
mod epoch;
mod files;
mod health;
mod housekeeping;
mod index;
mod keys;
mod lookup;
#[cfg(feature = "mutants")]
pub mod mutant;
mod options;
mod producers;
mod progress;
mod read;
mod recovery;
mod replay;
mod report;
mod rescue;
mod retention;
mod scan;
mod shard;
mod signal;
mod snapshot;
mod state;
mod store;
mod superblock;
mod tail;
#[cfg(test)]
mod tests;
pub mod tool;
mod turns;
mod walk;

pub use append::{AppendError, Appended, Group, GroupBuilder, NewRecord, Placed, Target};
pub use catalog::{QueueKey, TopicId, TopicInfo, TopicNumber};
pub use options::{
    Deriver, FILE_BYTES_MAX, FILE_BYTES_MIN, Facts, FlushMode, LOOK_INSIDE, ProducerFacts, RetentionOptions,
    StoreOptions, UNFLUSHED_BYTES_MIN,
};
pub use producers::ProducerInfo;
pub use progress::{DispatchListener, Dispatched, Level, Position, Progress, Promise, Watermarks};
pub use read::{Boundary, ColdRead, Named, QueueOffsets, Read, ReadRequest, ReadResult, ReadStatus, Timed};
pub use report::{Damage, Health, OpenError, RecoveryReport, RecoveryRow, StoreError};
pub use retention::{CutQueue, PressureListener};
pub use state::{STATE_KEY_BYTES_MAX, StateChange, StateKind};
pub use store::{FlushOutcome, Store, WriteOutcome};
