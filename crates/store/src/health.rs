//! The store's health: one way down. A log that failed stays failed until the directory is opened again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::append::AppendError;
use crate::report::Health;

const SERVING: u8 = 0;
const DISK_FULL: u8 = 1;
const READ_ONLY: u8 = 2;
const FAILED: u8 = 3;

/// Places of damage that are remembered as told.
const DAMAGE_TOLD_MAX: usize = 64;

/// Takes a lock. A panic that poisoned it has failed the log, and readers go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The health, cheap to ask for on every append.
#[derive(Debug)]
pub(crate) struct HealthCell {
    rank: AtomicU8,
    health: Mutex<Health>,
    /// Where readers met damage, the newest last.
    damage_told: Mutex<VecDeque<u64>>,
}

impl HealthCell {
    pub(crate) fn new(health: Health) -> Self {
        Self { rank: AtomicU8::new(rank(&health)), health: Mutex::new(health), damage_told: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Sets the health, unless it is worse already. True when it changed.
    pub(crate) fn worsen(&self, health: Health) -> bool {
        let mut current = lock(&self.health);
        if rank(&health) < rank(&current) || *current == health || rank(&current) == FAILED {
            return false;
        }
        self.rank.store(rank(&health), Ordering::Release);
        *current = health;
        true
    }

    /// Space is free again: a full disk serves again, anything worse stays. True when it changed.
    pub(crate) fn space_is_free(&self) -> bool {
        let mut current = lock(&self.health);
        if rank(&current) != DISK_FULL {
            return false;
        }
        *current = Health::Serving;
        self.rank.store(SERVING, Ordering::Release);
        true
    }

    /// True when the damaged record at this position was not asked about lately: a reader that is stuck there comes again
    /// and again, and the operator is told once.
    pub(crate) fn is_news_of_damage(&self, position: u64) -> bool {
        let mut told = lock(&self.damage_told);
        if told.contains(&position) {
            return false;
        }
        if told.len() == DAMAGE_TOLD_MAX {
            told.pop_front();
        }
        told.push_back(position);
        true
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.rank.load(Ordering::Acquire) == SERVING
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.rank.load(Ordering::Acquire) == FAILED
    }

    /// True when nothing may be written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.rank.load(Ordering::Acquire) >= READ_ONLY
    }

    /// Whether writers are let in.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&self) -> Result<(), AppendError> {
        if self.is_serving() {
            return Ok(());
        }
        match self.get() {
            Health::Serving => Ok(()),
            Health::DiskFull(why) => Err(AppendError::DiskFull(why)),
            Health::ReadOnly(why) | Health::Failed(why) => Err(AppendError::Closed(why)),
        }
    }
}

fn rank(health: &Health) -> u8 {
    match health {
        Health::Serving => SERVING,
        Health::DiskFull(_) => DISK_FULL,
        Health::ReadOnly(_) => READ_ONLY,
        Health::Failed(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_news_once_per_place_of_the_last_few() {
        let cell = HealthCell::new(Health::Serving);
        assert!(cell.is_news_of_damage(7) && !cell.is_news_of_damage(7));
        assert!((100..100 + DAMAGE_TOLD_MAX as u64).all(|position| cell.is_news_of_damage(position)));
        assert!(cell.is_news_of_damage(7), "the list is bounded");
    }

    #[test]
    fn only_a_full_disk_comes_back() {
        let cell = HealthCell::new(Health::Serving);
        assert!(cell.worsen(Health::DiskFull("a".into())));
        assert!(matches!(cell.admit(), Err(AppendError::DiskFull(_))));
        assert!(cell.space_is_free() && cell.is_serving());
        assert!(cell.worsen(Health::Failed("b".into())));
        assert!(!cell.worsen(Health::DiskFull("c".into())) && !cell.space_is_free());
        assert!(!cell.worsen(Health::Failed("d".into())), "the first cause is the one to report");
        assert_eq!(cell.get(), Health::Failed("b".into()));
    }
}
