//! A simulated disk and clock that tests drive: everything that POSIX leaves open is decided by a seed.
//!
//! ```text
//!            write_at, set_len                 sync_data
//!   caller ───────────────────▶ live bytes ───────────────▶ durable bytes      per file
//!            open, rename, remove              sync_dir
//!   caller ───────────────────▶ live names ───────────────▶ durable names      per directory
//! ```
//!
//! [`SimDisk::crash`] is a power cut: of what is only live, each 512-byte sector and each directory operation is kept,
//! lost or damaged on its own. [`SimDisk::kill`] ends the process only: the live side stays. Both make every handle
//! and lock that was open useless. [`SimDisk::power_off_after`] lets the end come in the middle of an operation of the
//! code under test.
//!
//! What is assumed of a real disk, and so never broken here: a sector that is being rewritten keeps the bytes which
//! the write did not touch ("powersafe overwrite"), a rename is one step, and a name is never half of itself.

mod clock;
mod content;
mod disk;
mod faults;
#[cfg(test)]
mod tests;
mod tree;

pub use clock::SimClock;
pub use content::SECTOR;
pub use disk::SimDisk;
pub use faults::{Coverage, FaultKind, Faults};
