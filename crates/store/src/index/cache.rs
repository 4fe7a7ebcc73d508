//! Blocks of the journal in memory: those that are not written yet, and the ones read or sealed last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::{Mix, lock};

/// Memory of one slot besides its block, about: table, queue and the allocator's own.
const SLOT_BYTES: usize = 64;

/// A block's name: its file and its place there.
pub(super) type Place = (u32, u32);

#[derive(Debug)]
struct Slot {
    block: Arc<[u8]>,
    /// Not written yet: this is the only copy.
    pinned: bool,
    /// Asked for since the hand passed last.
    used: bool,
}

#[derive(Debug, Default)]
struct Slots {
    slots: HashMap<Place, Slot, Mix>,
    /// The clock's hand goes round here; may name slots that are gone.
    order: VecDeque<Place>,
    bytes: usize,
}

/// A bounded map from place to block, with a second chance for what is in use. Pinned blocks may exceed the bound;
/// the journal's write buffer bounds them.
#[derive(Debug)]
pub(super) struct BlockCache {
    slots: Mutex<Slots>,
    bytes_max: usize,
}

impl BlockCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { slots: Mutex::default(), bytes_max }
    }

    pub(super) fn get(&self, place: Place) -> Option<Arc<[u8]>> {
        let mut slots = lock(&self.slots);
        let slot = slots.slots.get_mut(&place)?;
        slot.used = true;
        Some(Arc::clone(&slot.block))
    }

    pub(super) fn insert(&self, place: Place, block: Arc<[u8]>, pinned: bool) {
        let mut slots = lock(&self.slots);
        slots.bytes += block.len() + SLOT_BYTES;
        match slots.slots.insert(place, Slot { block, pinned, used: false }) {
            Some(old) => slots.bytes -= old.block.len() + SLOT_BYTES,
            None => slots.order.push_back(place),
        }
        self.shrink(&mut slots);
    }

    /// The block is written: it may go when it is not `kept` for readers, or later.
    pub(super) fn unpin(&self, place: Place, kept: bool) {
        let mut slots = lock(&self.slots);
        if kept {
            if let Some(slot) = slots.slots.get_mut(&place) {
                slot.pinned = false;
            }
        } else if let Some(slot) = slots.slots.remove(&place) {
            slots.bytes -= slot.block.len() + SLOT_BYTES;
        }
        self.shrink(&mut slots);
    }

    pub(super) fn bytes(&self) -> usize {
        lock(&self.slots).bytes
    }

    fn shrink(&self, slots: &mut Slots) {
        // Names of slots that are gone are swept here too, so that the order never outgrows the slots by much.
        let mut visits = 2 * slots.order.len();
        while (slots.bytes > self.bytes_max || slots.order.len() > 2 * slots.slots.len() + 16) && visits > 0 {
            visits -= 1;
            let Some(place) = slots.order.pop_front() else { return };
            let Some(slot) = slots.slots.get_mut(&place) else { continue };
            if slot.pinned || slot.used {
                slot.used = false;
                slots.order.push_back(place);
            } else if slots.bytes > self.bytes_max {
                slots.bytes -= slot.block.len() + SLOT_BYTES;
                slots.slots.remove(&place);
            } else {
                slots.order.push_back(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: usize) -> Arc<[u8]> {
        vec![n as u8; 1000 - SLOT_BYTES].into()
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = BlockCache::new(10_000);
        for n in 0..100 {
            cache.insert((0, n), block(n as usize), false);
            cache.get((0, 0)).expect("in use all the time");
            assert!(cache.bytes() <= 10_000);
        }
        assert!(cache.get((0, 99)).is_some());
        assert!(cache.get((0, 50)).is_none());
    }

    #[test]
    fn unwritten_blocks_never_go() {
        let cache = BlockCache::new(10_000);
        (0..20).for_each(|n| cache.insert((0, n), block(0), true));
        assert!((0..20).all(|n| cache.get((0, n)).is_some()));
        (0..20).for_each(|n| cache.unpin((0, n), n % 2 == 0));
        assert!(cache.bytes() <= 10_000);
        assert!((0..20).all(|n| n % 2 == 0 || cache.get((0, n)).is_none()));
        // Names without a slot don't pile up.
        for n in 20..2000 {
            cache.insert((0, n), block(0), true);
            cache.unpin((0, n), false);
        }
        assert!(lock(&cache.slots).order.len() < 100);
    }
}
