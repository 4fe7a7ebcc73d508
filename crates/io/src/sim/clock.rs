//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;

#[derive(Debug, Clone, Copy)]
struct Times {
    wall_ms: i64,
    monotonic_ms: u64,
}

/// Wall and monotonic time, moved by the test alone. Clones share the time.
#[derive(Debug, Clone)]
pub struct SimClock {
    times: Arc<Mutex<Times>>,
}

impl SimClock {
    /// A clock whose wall shows `wall_ms` and whose monotonic time is 0.
    pub fn new(wall_ms: i64) -> Self {
        Self { times: Arc::new(Mutex::new(Times { wall_ms, monotonic_ms: 0 })) }
    }

    /// Lets `ms` pass on both clocks.
    pub fn advance(&self, ms: u64) {
        self.change(|times| {
            times.wall_ms = times.wall_ms.saturating_add_unsigned(ms);
            times.monotonic_ms = times.monotonic_ms.saturating_add(ms);
        });
    }

    /// Sets the wall clock forward (or back, when negative) without time passing, as an administrator or NTP does.
    pub fn jump_wall(&self, by_ms: i64) {
        self.change(|times| times.wall_ms = times.wall_ms.saturating_add(by_ms));
    }

    /// Sets the wall clock to `wall_ms` without time passing.
    pub fn set_wall(&self, wall_ms: i64) {
        self.change(|times| times.wall_ms = wall_ms);
    }

    fn change(&self, change: impl FnOnce(&mut Times)) {
        // The times are plain numbers: a panic elsewhere cannot have left them half changed.
        change(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> i64 {
        self.times().wall_ms
    }

    fn monotonic_ms(&self) -> u64 {
        self.times().monotonic_ms
    }
}
