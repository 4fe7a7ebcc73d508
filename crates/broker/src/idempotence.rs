//! Ids of idempotent producers. (What they appended is the store's to know.)
//!
//! Ids are given out of blocks. A block's record stands in the log before any batch of its producers, so whatever of
//! them survives, the block does too; a start begins behind the last block, and what was left of that is never given.

use std::sync::Mutex;

use braid_store::{Appended, Position, ProducerInfo, Promise, QueueKey, StateChange};

use crate::broker::Broker;
use crate::codec::{PRODUCER_IDS, Reader, Writer};
use crate::error::Error;
use crate::sync::lock;

/// Ids that one state record reserves, as Kafka's controller does.
const BLOCK_IDS: i64 = 1000;
const VERSION: u8 = 1;

/// Ids that may be given.
#[derive(Debug)]
pub(crate) struct ProducerIds(Mutex<Block>);

#[derive(Debug, Clone, Copy)]
struct Block {
    /// The next id.
    next: i64,
    /// The first id behind the block.
    end: i64,
    /// End of the block's record in the log.
    reserved_at: Position,
}

impl ProducerIds {
    /// Begins behind all blocks that were ever reserved.
    pub(crate) fn load(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Self, Error> {
        let mut next = 0;
        for (_, value) in entries {
            let end =
                decode(&value).map_err(|reason| Error::State { what: "producer ids".to_owned(), reason })?;
            next = end.max(next);
        }
        Ok(Self(Mutex::new(Block { next, end: next, reserved_at: Position(0) })))
    }
}

fn encode(end: i64) -> Vec<u8> {
    Writer::default().u8(VERSION).u64(end as u64).finish()
}

fn decode(value: &[u8]) -> Result<i64, String> {
    let mut reader = Reader::new(value);
    reader.version(VERSION)?;
    let end = reader.u64()? as i64;
    reader.end()?;
    Ok(end)
}

impl Broker {
    /// An id that no producer was ever given in this directory. The promise comes due when the id's reservation is as safe
    /// as the store's mode says.
    ///
    /// # Errors
    /// Why nothing could be appended.
    pub fn new_producer_id(&self) -> Result<Promise<i64>, Error> {
        // Held over the append, so that two threads never reserve the same block.
        let mut block = lock(&self.producer_ids.0);
        if block.next == block.end {
            let end = block
                .end
                .checked_add(BLOCK_IDS)
                .ok_or(Error::Limit { what: "producer ids", max: usize::MAX })?;
            let change = StateChange { kind: PRODUCER_IDS, key: Vec::new(), value: Some(encode(end)) };
            block.reserved_at = self.append_state(&[change])?.end;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        let reserved = Appended { end: block.reserved_at, records: Vec::new(), duplicate: false };
        Ok(reserved.promise(self.level(), id))
    }

    /// The idempotent producers that are known in a queue, by id.
    pub fn producers_of(&self, queue: QueueKey) -> Vec<ProducerInfo> {
        self.store.producers_of(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_has_these_bytes_and_comes_back() {
        let bytes = encode(2000);
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 7, 0xD0]);
        assert_eq!(decode(&bytes), Ok(2000));
        assert!(decode(&bytes[..8]).is_err() && decode(&[2; 9]).is_err());
    }
}
