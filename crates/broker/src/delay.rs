//! Delay levels: messages that wait in the delay topic, one queue per level, until they are due.

use crate::broker::Broker;
use crate::error::Error;

/// Most delay levels.
pub const LEVELS_MAX: usize = 64;

/// How long each level waits; the first level is number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayTable {
    milliseconds: Vec<u64>,
}

impl Default for DelayTable {
    /// `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`
    fn default() -> Self {
        unimplemented!()
    }
}

impl DelayTable {
    /// Reads a table like `1s 5s 2m 1h 1d`.
    ///
    /// # Errors
    /// A sentence that names the wrong word.
    pub fn parse(_text: &str) -> Result<Self, String> {
        unimplemented!()
    }

    /// The number of levels, which is the highest level; at least 1.
    pub fn levels(&self) -> u32 {
        self.milliseconds.len() as u32
    }

    /// How long a level waits; a level above the highest waits as long as the highest.
    ///
    /// # Panics
    /// For level 0, which is none.
    pub fn milliseconds(&self, _level: u32) -> u64 {
        unimplemented!()
    }
}

impl Broker {
    /// Delivers delayed messages that are due at `now_ms` (wall time), a bounded number, and gives the wall time at
    /// which it wants to be called again: `now_ms` when more are due, `None` when nothing waits. A message is due when
    /// its store time and its level's current delay have passed. Copy and progress are one append.
    ///
    /// Called by [`Broker::turn`]. May wait for the disk.
    ///
    /// # Errors
    /// Why nothing could be appended or read; nothing is lost, and the next call goes on.
    pub fn deliver_due(&self, _now_ms: i64) -> Result<Option<i64>, Error> {
        unimplemented!()
    }

    /// The delay table in force.
    pub fn delay_table(&self) -> &DelayTable {
        unimplemented!()
    }

    /// For each level: the next offset of the delay topic's queue that is to be delivered.
    pub fn delay_progress(&self) -> Vec<(u32, u64)> {
        unimplemented!()
    }
}
