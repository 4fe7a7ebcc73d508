//! Epochs: stretches of the log between unclean starts.
//!
//! A reader that has seen an epoch can ask where it ended: what it holds beyond that was taken back by a crash. The table
//! is the superblock's; while the log is open it does not change.

/// The superblock's table, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Epochs {
    current: u32,
    table: Vec<(u32, u64)>,
}

/// Where an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpochEnd {
    /// Where a later one begins.
    At(u64),
    /// Nowhere yet.
    Open,
}

impl Epochs {
    pub(crate) fn new(current: u32, table: &[(u32, u64)]) -> Self {
        assert!(table.iter().all(|&(epoch, _)| epoch <= current), "the table ends with the epoch in force");
        Self { current, table: table.to_vec() }
    }

    /// The epoch in force.
    pub(crate) fn current(&self) -> u32 {
        self.current
    }

    /// The largest epoch up to `asked` and where it ends; `None` for one that has not begun. Of epochs before the oldest
    /// known one it is only known that they end where that begins.
    pub(crate) fn end_of(&self, asked: u32) -> Option<(u32, EpochEnd)> {
        if asked > self.current {
            return None;
        }
        let later = self.table.iter().filter(|(epoch, _)| *epoch > asked);
        // A repair may have given up the start of an epoch, so that a later one begins below it.
        let end = later.map(|&(_, first)| first).min().map_or(EpochEnd::Open, EpochEnd::At);
        let known = self.table.iter().rev().map(|&(epoch, _)| epoch).find(|&epoch| epoch <= asked);
        Some((known.unwrap_or(asked), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = Epochs::new(7, &[(2, 100), (3, 100), (5, 400), (6, 300), (7, 300)]);
        for (asked, expected) in [
            (0, Some((0, EpochEnd::At(100)))),
            (2, Some((2, EpochEnd::At(100)))),
            (3, Some((3, EpochEnd::At(300)))),
            (4, Some((3, EpochEnd::At(300)))),
            (5, Some((5, EpochEnd::At(300)))),
            (6, Some((6, EpochEnd::At(300)))),
            (7, Some((7, EpochEnd::Open))),
            (8, None),
        ] {
            assert_eq!(epochs.end_of(asked), expected, "epoch {asked}");
        }
        assert_eq!(epochs.current(), 7);
    }
}
