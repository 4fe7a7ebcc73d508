//! Keys in memory: entries in log order, chained by hash.

/// Slots of an empty table's first chain heads; a power of two.
const HEADS_MIN: usize = 1 << 10;

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    position: u64,
    /// One more than the index of the next older entry of the same slot; 0 for none.
    older: u32,
}

/// Positions by hash. Positions never go down from entry to entry.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    heads: Vec<u32>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first_position(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.position)
    }

    pub(super) fn last_position(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.position)
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.heads.capacity() * size_of::<u32>()
    }

    pub(super) fn insert(&mut self, hash: u64, position: u64) {
        assert!(self.last_position().is_none_or(|last| last <= position), "keys come in log order");
        if self.entries.len() >= self.heads.len() {
            self.grow();
        }
        let slot = hash as usize & (self.heads.len() - 1);
        self.entries.push(Entry { hash, position, older: self.heads[slot] });
        self.heads[slot] = u32::try_from(self.entries.len()).expect("tables are far shorter than 2^32");
    }

    fn grow(&mut self) {
        let slots = (self.heads.len() * 2).max(HEADS_MIN);
        self.heads.clear();
        self.heads.resize(slots, 0);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let slot = entry.hash as usize & (slots - 1);
            entry.older = self.heads[slot];
            self.heads[slot] = at as u32 + 1;
        }
    }

    /// The positions entered under `hash`, newest first.
    pub(super) fn positions(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let head = if self.heads.is_empty() { 0 } else { self.heads[hash as usize & (self.heads.len() - 1)] };
        let entry = move |at: u32| at.checked_sub(1).map(|at| self.entries[at as usize]);
        std::iter::successors(entry(head), move |older| entry(older.older))
            .filter(move |entry| entry.hash == hash)
            .map(|entry| entry.position)
    }

    /// Entries with positions in `range`.
    pub(super) fn in_range(&self, range: &std::ops::Range<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let from = self.entries.partition_point(|entry| entry.position < range.start);
        let to = self.entries.partition_point(|entry| entry.position < range.end);
        self.entries[from.min(to)..to].iter().map(|entry| (entry.hash, entry.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_newest_first_also_when_hashes_share_a_slot() {
        let mut table = Table::default();
        for position in 0..5000 {
            // Two hashes in each slot, whatever the number of slots.
            table.insert((position % 7) | (position % 2) << 60, position);
        }
        let found: Vec<u64> = table.positions(3 | 1 << 60).collect();
        let wanted: Vec<u64> = (0..5000).rev().filter(|p| p % 7 == 3 && p % 2 == 1).collect();
        assert_eq!(found, wanted);
        assert_eq!(table.positions(99).count(), 0);
        assert_eq!(Table::default().positions(1).count(), 0);
        assert_eq!(table.in_range(&(10..20)).count(), 10);
    }
}
