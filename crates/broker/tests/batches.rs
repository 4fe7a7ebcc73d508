//! Batches that are one record, and producers whose retries are not appended twice.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod rig;

use braid_broker::{BatchRequest, Error, Sent};
use braid_record::RecordView;
use braid_store::{Facts, FlushMode, LOOK_INSIDE, Level, ProducerFacts, Promise};

use rig::{Rig, view};

const KIND: &str = "test-batch";

/// Of a batch `base offset 8, producer id 8, epoch 2, first sequence 4, count 4`.
pub fn derive(record: &RecordView<'_>) -> Facts {
    let body = record.body();
    let number = |at: usize, len: usize| {
        body[at..at + len].iter().fold(0i64, |number, &byte| number << 8 | i64::from(byte))
    };
    let (first, count) = (number(18, 4) as i32, number(22, 4) as i32);
    let producer = ProducerFacts {
        producer_id: number(8, 8),
        epoch: number(16, 2) as i16,
        first_sequence: first,
        last_sequence: first + count - 1,
    };
    Facts { index_word: LOOK_INSIDE, producer: Some(producer), ..Facts::default() }
}

fn append(rig: &Rig, producer_id: i64, epoch: i16, first: u32, count: u32) -> Result<Promise<Sent>, Error> {
    let mut batch = vec![0xFF; 8];
    batch.extend_from_slice(&producer_id.to_be_bytes());
    batch.extend_from_slice(&epoch.to_be_bytes());
    batch.extend_from_slice(&first.to_be_bytes());
    batch.extend_from_slice(&count.to_be_bytes());
    let topic = rig.topic("T");
    rig.broker.append_batch(&BatchRequest {
        topic: &topic,
        queue_id: 1,
        kind: KIND,
        batch: &batch,
        count,
        properties: b"",
        born_timestamp: 5,
        born_host: "192.0.2.1:9".parse().unwrap(),
        store_host: rig::host(),
        wait: true,
    })
}

fn rig() -> Rig {
    Rig::with_derivers(vec![(Some(KIND), derive)], FlushMode::Sync)
}

fn due(rig: &Rig, promise: Promise<Sent>) -> Sent {
    promise.redeem(rig.broker.store().watermarks()).expect("the turn made it durable")
}

#[test]
fn a_batch_is_one_record_with_its_offset_inside() {
    let rig = rig();
    rig.send("T", 1, b"before", b"");
    let sent = append(&rig, 7, 0, 0, 50).unwrap();
    rig.settle();
    let sent = due(&rig, sent);
    assert_eq!((sent.records[0].offset, sent.duplicate), (1, false));
    let records = rig.records(rig.topic("T").queue(1));
    assert_eq!(records.len(), 2);
    assert_eq!(view(&records[1]).body()[..8], 1u64.to_be_bytes());
    assert_eq!(view(&records[1]).batch_count(), Ok(Some(50)));
    assert_eq!(rig.broker.statistics().stored().totals().messages, 51);
}

#[test]
fn a_retry_is_answered_with_its_original_after_kill_and_power_cut() {
    let mut rig = rig();
    let original = append(&rig, 7, 0, 0, 50).unwrap();
    let retry = append(&rig, 7, 0, 0, 50).unwrap();
    assert_eq!((retry.end(), retry.level()), (original.end(), Level::Flushed));
    rig.settle();
    let original = due(&rig, original);
    for restart in [Rig::kill, Rig::crash] {
        let again = append(&rig, 7, 0, 0, 50).unwrap();
        let again = due(&rig, again);
        assert_eq!((again.duplicate, &again.records), (true, &original.records));
        assert!(matches!(append(&rig, 7, 0, 51, 1), Err(Error::OutOfOrderSequence(_))));
        assert!(matches!(append(&rig, 7, -1, 50, 1), Err(Error::StaleProducerEpoch(_))));
        let known = rig.broker.producers_of(rig.topic("T").queue(1));
        assert_eq!(known.iter().map(|p| (p.producer_id, p.last_sequence)).collect::<Vec<_>>(), [(7, 49)]);
        restart(&mut rig);
    }
}

#[test]
fn what_is_no_batch_is_refused() {
    let rig = rig();
    assert!(matches!(append(&rig, 7, 0, 0, 0), Err(Error::Invalid(_))));
    let topic = rig.topic("T");
    let request = BatchRequest {
        topic: &topic,
        queue_id: 1,
        kind: KIND,
        batch: b"1234567",
        count: 1,
        properties: b"",
        born_timestamp: 5,
        born_host: rig::host(),
        store_host: rig::host(),
        wait: true,
    };
    assert!(matches!(rig.broker.append_batch(&request), Err(Error::IllegalMessage(_))));
    let elsewhere = BatchRequest { queue_id: 4, ..request };
    assert!(matches!(rig.broker.append_batch(&elsewhere), Err(Error::NoQueue { .. })));
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut rig = rig();
    let mut last = -1;
    let give = |rig: &Rig| -> i64 {
        let promise = rig.broker.new_producer_id().unwrap();
        rig.settle();
        promise.redeem(rig.broker.store().watermarks()).unwrap()
    };
    for restart in [Rig::kill, Rig::crash, Rig::kill] {
        for _ in 0..3 {
            let id = give(&rig);
            assert!(id > last, "{id} came behind {last}");
            last = id;
        }
        restart(&mut rig);
    }
    // A block is one record, and an id waits for it.
    let promise = rig.broker.new_producer_id().unwrap();
    assert!(!promise.is_due(rig.broker.store().watermarks()));
    rig.settle();
    let end = rig.broker.store().watermarks().appended();
    let ids: Vec<i64> = (0..999).map(|_| give(&rig)).collect();
    assert_eq!(rig.broker.store().watermarks().appended(), end);
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(give(&rig), ids[998] + 1);
    assert!(rig.broker.store().watermarks().appended() > end);
}

/// An id that nobody was given, because its reservation did not survive, may be given: no batch of it can be there.
#[test]
fn a_reservation_that_a_power_cut_takes_was_never_answered() {
    let mut rig = rig();
    let promise = rig.broker.new_producer_id().unwrap();
    assert!(!promise.is_due(rig.broker.store().watermarks()));
    rig.crash();
    let again = rig.broker.new_producer_id().unwrap();
    rig.settle();
    assert!(again.redeem(rig.broker.store().watermarks()).is_ok());
}
