//! Walking a log from a record boundary to its end, and telling a tear from damage: the recovery table itself.
//!
//! The table is `docs/format/recovery.md`. The rule behind it: bytes below the durable watermark were promised, so
//! whatever is wrong there is damage and nothing is cut; above it, at most `unflushed_bytes_max` bytes were ever written
//! and not synced, so a whole record further behind a bad place than that proves that the bad place had been synced too.

use crate::files::log_file_name;
use crate::progress::Position;
use crate::recovery::io_error;
use crate::replay::Replay;
use crate::report::{Damage, OpenError, RecoveryRow};
use crate::scan::{At, LogScan};

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) end: u64,
    /// End of the bytes behind it that are not zero; the log's end if all are.
    pub(crate) nonzero_end: u64,
}

/// Walks from a record boundary to the log's end.
pub(crate) struct Walk<'a> {
    pub(crate) scan: LogScan,
    pub(crate) replay: Replay<'a>,
    /// All below was promised.
    pub(crate) durable: u64,
    /// Where a clean stop left the log's end.
    pub(crate) stopped_at: Option<u64>,
    pub(crate) unflushed_bytes_max: u64,
    pub(crate) rows: Vec<RecoveryRow>,
    /// Missing files, then what the walk met.
    pub(crate) damage: Vec<Damage>,
}

/// How the walk goes on behind a bad place.
enum Next {
    Skip(u64),
    End(LogEnd),
}

impl Walk<'_> {
    /// Finds files that must be there and are not.
    pub(crate) fn check_files(&mut self, first: u64) -> Result<(), OpenError> {
        let file_bytes = self.scan.file_end(first) - self.scan.base_of(first);
        let last = self.scan.bases().next_back();
        let mut base = first;
        while base < self.durable {
            if self.scan.file(base).is_none() {
                let in_the_middle = last.is_some_and(|last| last > base);
                self.rows.push(if in_the_middle {
                    RecoveryRow::MissingFile
                } else {
                    RecoveryRow::ShorterThanWatermark
                });
                self.damage.push(Damage {
                    from: Position(base),
                    to: Position((base + file_bytes).min(self.durable)),
                    reason: format!("the log file {} is missing", log_file_name(base)),
                    lost: Vec::new(),
                });
            }
            base += file_bytes;
        }
        // Files are made one after the other, so a gap above the watermark is damage just the same.
        if let Some(last) = last {
            while base < last {
                if self.scan.file(base).is_none() {
                    self.rows.push(RecoveryRow::MissingFile);
                    self.damage.push(Damage {
                        from: Position(base),
                        to: Position(base + file_bytes),
                        reason: format!("the log file {} is missing", log_file_name(base)),
                        lost: Vec::new(),
                    });
                }
                base += file_bytes;
            }
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, start: u64) -> Result<LogEnd, OpenError> {
        let reading = || io_error("reading the log");
        let mut at = start;
        loop {
            if self.stopped_at == Some(at) && self.replay.open_group().is_none() {
                let nothing_behind = match self.scan.at(at).map_err(reading())? {
                    At::NoFile => true,
                    At::Bad(_) => self.scan.bytes(at, 8).map_err(reading())? == [0; 8],
                    At::Record(_) | At::Filler => false,
                };
                if nothing_behind {
                    self.rows.push(RecoveryRow::Clean);
                    return Ok(LogEnd { end: at, nonzero_end: at });
                }
            }
            let next = match self.scan.at(at).map_err(reading())? {
                At::Record(size) => {
                    let bytes = self.scan.bytes(at, size).map_err(reading())?;
                    self.replay.record(at, bytes).map_err(OpenError::Format)?;
                    Next::Skip(at + size as u64)
                }
                At::Filler if self.replay.open_group().is_none() => {
                    self.replay.file_ended(self.scan.base_of(at));
                    Next::Skip(self.scan.file_end(at))
                }
                At::Filler => self.judge(at, "a filler inside a group of records".to_owned())?,
                At::NoFile => match self.scan.next_base(at) {
                    // Told by `check_files`.
                    Some(base) => {
                        self.after_damage()?;
                        Next::Skip(base)
                    }
                    None => self.end_at(at, at, None)?,
                },
                At::Bad(reason) => self.judge(at, reason)?,
            };
            match next {
                Next::Skip(to) => {
                    assert!(to > at, "a walk goes forward");
                    at = to;
                }
                Next::End(end) => return Ok(end),
            }
        }
    }

    /// What is damaged is passed over; what was complete before it and what verifies behind it is served.
    fn after_damage(&mut self) -> Result<(), OpenError> {
        self.replay.damaged = true;
        self.replay.keep_group().map_err(OpenError::Format)
    }

    /// Ends a walk: gives what is damaged, in log order. A gap in a queue belongs to the last damage before the record
    /// that showed it; those before any are an older repair's.
    pub(crate) fn take_damage(&mut self) -> Vec<Damage> {
        let mut damage = std::mem::take(&mut self.damage);
        damage.sort_by_key(|damage| damage.from);
        for lost in std::mem::take(&mut self.replay.lost) {
            let before = damage.partition_point(|damage| damage.from.0 < lost.shown_at);
            if let Some(last) = before.checked_sub(1) {
                damage[last].lost.push(lost.offsets);
            }
        }
        damage
    }

    fn judge(&mut self, at: u64, reason: String) -> Result<Next, OpenError> {
        let promised = at < self.durable;
        let replay = &self.replay;
        let behind = self
            .scan
            .search(at, self.durable, self.unflushed_bytes_max, promised, &|position, view| {
                replay.may_follow(position, view)
            })
            .map_err(io_error("reading the log"))?;
        let nearest = behind.nearest.filter(|&nearest| nearest > at);
        let farthest_end = behind.farthest_end.filter(|&end| end > at);
        // Synced bytes are a prefix, and at most the bound lies behind them.
        let proved = !promised && farthest_end.is_some_and(|end| end - at > self.unflushed_bytes_max);
        match (nearest, farthest_end) {
            (Some(nearest), _) if promised || proved => {
                self.damaged(at, nearest, reason)?;
                Ok(Next::Skip(nearest))
            }
            // All that is behind is of no topic that is known: damage to the end, which is for the operator to give up.
            (None, Some(end)) if proved => {
                self.damaged(at, end, reason)?;
                Ok(Next::End(LogEnd { end: at, nonzero_end: behind.nonzero_end }))
            }
            (_, Some(_)) if !promised => self.end_at(at, behind.nonzero_end, Some(RecoveryRow::Hole)),
            _ if behind.nonzero_end > at => self.end_at(at, behind.nonzero_end, Some(RecoveryRow::TornTail)),
            _ => self.end_at(at, at, None),
        }
    }

    fn damaged(&mut self, from: u64, to: u64, reason: String) -> Result<(), OpenError> {
        self.rows.push(RecoveryRow::DamageBelowWatermark);
        self.damage.push(Damage { from: Position(from), to: Position(to), reason, lost: Vec::new() });
        self.after_damage()
    }

    /// The log ends at `at`, or before an incomplete group. `torn` says what lies behind, if it is not zeros.
    fn end_at(&mut self, at: u64, nonzero_end: u64, torn: Option<RecoveryRow>) -> Result<Next, OpenError> {
        let group = self.replay.open_group();
        let end = group.unwrap_or(at);
        if end < self.durable {
            self.rows.push(RecoveryRow::ShorterThanWatermark);
            if !self.damage.iter().any(|damage| damage.from.0 <= at && at < damage.to.0) {
                self.damage.push(Damage {
                    from: Position(at),
                    to: Position(self.durable.max(at)),
                    reason: "the log ends before its durable watermark".to_owned(),
                    lost: Vec::new(),
                });
            }
            self.after_damage()?;
            return Ok(Next::End(LogEnd { end: at, nonzero_end: nonzero_end.max(at) }));
        }
        if group.is_some() {
            self.rows.push(RecoveryRow::IncompleteGroup);
            self.replay.drop_group();
        }
        match (torn, group) {
            (Some(row), _) => self.rows.push(row),
            (None, None) => self.rows.push(RecoveryRow::CleanEnd),
            (None, Some(_)) => {}
        }
        Ok(Next::End(LogEnd { end, nonzero_end: nonzero_end.max(at) }))
    }
}
