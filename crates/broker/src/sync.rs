//! Locks that outlive a panic: a request that panics ends its connection, not the broker. What the locks guard is kept
//! whole by its methods, which change it only where nothing can panic.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the broker's thread before its time.
#[derive(Debug)]
pub(crate) struct News {
    rung: Mutex<bool>,
    bell: Condvar,
    /// The earliest monotonic millisecond at which somebody wants to be woken, since the last turn began.
    earliest_ms: AtomicU64,
}

impl Default for News {
    fn default() -> Self {
        Self { rung: Mutex::new(false), bell: Condvar::new(), earliest_ms: AtomicU64::new(u64::MAX) }
    }
}

impl News {
    /// Ends the wait that is going on, or the next one.
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_all();
    }

    /// Waits until rung or until `ms` have passed.
    pub(crate) fn wait(&self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        let mut rung = lock(&self.rung);
        while !*rung {
            let now = Instant::now();
            if now >= until {
                break;
            }
            rung = self.bell.wait_timeout(rung, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }

    /// A turn begins: whoever asks from here on for a time is either seen by this turn or rings.
    pub(crate) fn begin_turn(&self) {
        self.earliest_ms.store(u64::MAX, Ordering::SeqCst);
    }

    /// Somebody wants to be woken at this monotonic time: rings when no earlier time is known.
    pub(crate) fn wanted_at(&self, ms: u64) {
        if self.earliest_ms.fetch_min(ms, Ordering::SeqCst) > ms {
            self.ring();
        }
    }

    /// The turn found this time itself and will wait no longer than until then.
    pub(crate) fn planned(&self, ms: u64) {
        self.earliest_ms.fetch_min(ms, Ordering::SeqCst);
    }
}
