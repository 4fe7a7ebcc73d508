//! Planted defects for tests of the tests: each breaks a promise that a test must find broken.
//!
//! Only builds with the feature `mutants` have them, and only a test or the server's environment chooses one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

/// One planted defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// The written watermark is published before `pwrite`: a killed process loses acknowledged records.
    AckBeforeWrite = 1,
    /// The flushed watermark is published without `fdatasync`: a power cut loses acknowledged records.
    AckBeforeFlush = 2,
    /// Directories are never synced: a power cut loses whole log files.
    SkipDirectorySync = 3,
    /// Snapshots forget the producers: a retry behind a restart is appended twice.
    ForgetProducers = 4,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AckBeforeWrite, Self::AckBeforeFlush, Self::SkipDirectorySync, Self::ForgetProducers];

    /// The name by which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeWrite => "ack-before-write",
            Self::AckBeforeFlush => "ack-before-flush",
            Self::SkipDirectorySync => "skip-directory-sync",
            Self::ForgetProducers => "forget-producers",
        }
    }

    /// The mutant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

static IN_PROCESS: AtomicU8 = AtomicU8::new(0);

thread_local! {
    static IN_THREAD: Cell<Option<Option<Mutant>>> = const { Cell::new(None) };
}

/// Chooses a mutant for the whole process, by name; false when there is none of that name.
pub fn choose(name: &str) -> bool {
    let mutant = Mutant::named(name);
    if let Some(mutant) = mutant {
        IN_PROCESS.store(mutant as u8, Ordering::SeqCst);
    }
    mutant.is_some()
}

/// Runs `body` with a mutant (or none) in this thread alone, whatever the process has chosen: for simulations, which
/// run the store in one thread while other tests run beside them.
pub fn with<T>(mutant: Option<Mutant>, body: impl FnOnce() -> T) -> T {
    struct Reset(Option<Option<Mutant>>);
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_THREAD.set(self.0);
        }
    }
    let _reset = Reset(IN_THREAD.replace(Some(mutant)));
    body()
}

/// True when this defect is in force.
pub(crate) fn is(mutant: Mutant) -> bool {
    match IN_THREAD.get() {
        Some(here) => here == Some(mutant),
        None => IN_PROCESS.load(Ordering::Relaxed) == mutant as u8,
    }
}
