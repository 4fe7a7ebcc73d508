//! Idempotent producers: InitProducerId (22), DescribeProducers (61).

use braid_broker::Error;
use braid_wire_kafka::messages::{describe_producers, init_producer_id};
use braid_wire_kafka::produce::TopicRef;
use braid_wire_kafka::{DecodeError, error_code};

use crate::dispatch::Call;
use crate::reply::Outcome;
use crate::{error, topics};

/// InitProducerId: an id that nobody was ever given. A producer that has one already gets a new one too, as from Kafka.
pub(crate) fn init(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: init_producer_id::Request<'_> = call.decode()?;
    let refused = |error_code| {
        let response = init_producer_id::Response { error_code, producer_epoch: -1, ..Default::default() };
        Ok(call.reply(&response).into())
    };
    match request.transactional_id.as_deref() {
        // Both or none.
        None if (request.producer_id >= 0) != (request.producer_epoch >= 0) => {
            return refused(error_code::INVALID_REQUEST);
        }
        None => {}
        Some("") => return refused(error_code::INVALID_REQUEST),
        // Of what clients give up at once, this says best that it is the transaction which is not wanted.
        Some(_) => return refused(error_code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    }
    match call.shared().broker.new_producer_id() {
        Ok(promise) => {
            call.reactor.appended();
            let head = call.head;
            Ok(Outcome::Promised(promise.map(|producer_id| {
                let response =
                    init_producer_id::Response { producer_id, producer_epoch: 0, ..Default::default() };
                head.reply(|version, out| response.encode(version, out))
            })))
        }
        Err(Error::Busy(_)) if call.try_again() => Ok(Outcome::Nothing),
        // Old clients take any other code as final; Kafka's own broker says this, too, while it has no ids at hand.
        Err(Error::Busy(_)) => refused(error_code::COORDINATOR_LOAD_IN_PROGRESS),
        Err(refusal) => {
            tracing::warn!(error = %refusal, "a producer got no id");
            refused(error::code(&refusal))
        }
    }
}

/// DescribeProducers: who has written to a partition and is remembered.
pub(crate) fn describe(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use describe_producers::{Request, Response, ResponseActiveProducer, ResponsePartition, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let topics = request.topics.iter().map(|topic| {
        let found = topics::find(shared, TopicRef::Name(&topic.name));
        let partitions = topic.partition_indexes.iter().map(|&partition_index| {
            let queue =
                found.as_ref().map_err(|code| *code).and_then(|topic| topics::queue(topic, partition_index));
            let (error_code, producers) = match queue {
                Ok(queue) => (error_code::NONE, shared.broker.producers_of(queue)),
                Err(code) => (code, Vec::new()),
            };
            let active_producers = producers.into_iter().map(|producer| ResponseActiveProducer {
                producer_id: producer.producer_id,
                producer_epoch: producer.epoch.into(),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: -1,
                ..Default::default()
            });
            ResponsePartition {
                partition_index,
                error_code,
                error_message: None,
                active_producers: active_producers.collect(),
            }
        });
        ResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
    });
    let response = Response { topics: topics.collect(), ..Default::default() };
    Ok(call.reply(&response).into())
}
