//! What the store is told of Kafka's batches.

use braid_record::RecordView;
use braid_store::{Facts, LOOK_INSIDE, ProducerFacts};
use braid_wire_kafka::batch::BatchView;

/// Derives what indexes need of a record that holds a Kafka batch: the payload kind
/// [`PAYLOAD_KIND`](braid_wire_kafka::batch::PAYLOAD_KIND).
pub fn derive(record: &RecordView<'_>) -> Facts {
    let batch = BatchView::parse(record.body()).ok();
    let newest_time = batch.as_ref().map(BatchView::max_timestamp);
    let producer =
        batch.filter(|batch| batch.producer_id() >= 0 && batch.base_sequence() >= 0).map(|batch| {
            let first_sequence = batch.base_sequence();
            // Behind i32::MAX comes 0.
            let last_sequence =
                (first_sequence as u32).wrapping_add(batch.last_offset_delta() as u32) & i32::MAX as u32;
            ProducerFacts {
                producer_id: batch.producer_id(),
                epoch: batch.producer_epoch(),
                first_sequence,
                last_sequence: last_sequence as i32,
            }
        });
    Facts { index_word: LOOK_INSIDE, keys: braid_crossing::keys::indexed(record), newest_time, producer }
}

#[cfg(test)]
mod tests {
    use braid_record::Draft;
    use braid_wire_kafka::batch::{BatchHead, BatchWriter, PAYLOAD_KIND, RecordDraft};

    use super::*;

    fn facts(head: BatchHead, times: &[i64]) -> Facts {
        let mut batch = BatchWriter::new(head);
        for &timestamp in times {
            batch.push(&RecordDraft { timestamp, key: None, value: Some(b"v"), headers: &[] });
        }
        let body = batch.finish();
        let host = "127.0.0.1:1".parse().unwrap();
        let draft = Draft {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: b"",
            kind: Some(PAYLOAD_KIND),
            targets: &[],
            group_goes_on: false,
            batch: None,
        };
        let mut bytes = Vec::new();
        braid_record::encode(&draft, &mut bytes).unwrap();
        derive(&RecordView::parse(&bytes).unwrap())
    }

    #[test]
    fn the_newest_time_and_the_producers_numbers_are_derived() {
        let plain = facts(BatchHead::default(), &[5, 9, 7]);
        let expected = Facts { index_word: LOOK_INSIDE, newest_time: Some(9), ..Facts::default() };
        assert_eq!(plain, expected);
        let head = BatchHead {
            producer_id: 7,
            producer_epoch: 2,
            base_sequence: i32::MAX - 1,
            ..BatchHead::default()
        };
        let numbered =
            ProducerFacts { producer_id: 7, epoch: 2, first_sequence: i32::MAX - 1, last_sequence: 0 };
        assert_eq!(facts(head, &[5, 9, 7]), Facts { producer: Some(numbered), ..expected });
    }
}
