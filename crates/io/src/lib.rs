//! The rim of the product: disk, clock and randomness behind small traits.
//!
//! Everything above this crate is synchronous logic that takes bytes and `now` in and gives results out, so that a
//! simulated disk and a moved clock can drive the production code. All `unsafe` of the product lives here.
//!
//! * [`disk`]: the traits [`Disk`] and [`File`].
//! * [`os`]: the operating system's files ([`OsDisk`]).
//! * [`clock`]: wall and monotonic time.
//! * [`process`]: what a process has used of the processor.
//! * [`rng`]: a small seeded generator.
//! * `sim` (feature `sim`): a disk that loses, tears and replaces what was not synced, and a clock that tests move.

pub mod clock;
pub mod disk;
pub mod os;
pub mod process;
pub mod rng;
#[cfg(feature = "sim")]
pub mod sim;

pub use clock::{Clock, SystemClock};
pub use disk::{DirLock, Disk, Entry, File, OpenMode, Space};
pub use os::OsDisk;
pub use rng::Rng;
