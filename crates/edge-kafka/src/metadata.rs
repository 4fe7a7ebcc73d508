//! Metadata (3): the one node, topics with their partitions, and topics made because somebody asked for them.

use std::borrow::Cow;
use std::sync::Arc;

use braid_broker::{Error, Topic, TopicConfig};
use braid_store::Promise;
use braid_wire_kafka::messages::metadata::{
    Request, RequestTopic, Response, ResponseBroker, ResponsePartition, ResponseTopic,
};
use braid_wire_kafka::{DecodeError, error_code};

use crate::dispatch::Call;
use crate::error;
use crate::names::{self, NO_ID};
use crate::reply::Outcome;
use crate::shared::{NODE_ID, Shared};

/// What may be done with a topic, as Kafka's bits: all that Kafka knows, since there are no users yet.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same of the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// What stands for operations that were not asked for.
pub(crate) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// Versions from which topics may be asked for by their ids alone.
const BY_ID: i16 = 12;

/// See the module.
pub(crate) fn handle(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let (host, port) = shared.advertised(call.connection);
    let mut made = None;
    let topics = match &request.topics {
        // Version 0 can't say "all" otherwise.
        Some(topics) if !topics.is_empty() || call.head.version > 0 => {
            let may_make = request.allow_auto_topic_creation && shared.options.auto_create_topics;
            topics.iter().map(|topic| asked(call, topic, may_make, &mut made)).collect()
        }
        _ => all(shared),
    };
    let operations = |wanted: bool, operations| if wanted { operations } else { OPERATIONS_UNKNOWN };
    let with_operations = |topic: ResponseTopic<'static>| ResponseTopic {
        topic_authorized_operations: operations(
            request.include_topic_authorized_operations && topic.error_code == error_code::NONE,
            TOPIC_OPERATIONS,
        ),
        ..topic
    };
    let response = Response {
        brokers: vec![ResponseBroker { node_id: NODE_ID, host: host.into(), port: port.into(), rack: None }],
        cluster_id: Some(Cow::Borrowed(&shared.options.cluster_id)),
        controller_id: NODE_ID,
        topics: Vec::into_iter(topics).map(with_operations).collect(),
        cluster_authorized_operations: operations(
            request.include_cluster_authorized_operations,
            CLUSTER_OPERATIONS,
        ),
        ..Default::default()
    };
    let reply = call.reply(&response);
    Ok(match made {
        Some(promise) => Outcome::Promised(promise.map(|_| reply)),
        None => Outcome::Now(reply),
    })
}

/// Everything that is not hidden.
fn all(shared: &Shared) -> Vec<ResponseTopic<'static>> {
    let topics = shared.broker.topics();
    topics
        .iter()
        .filter(|topic| !names::is_hidden(&shared.broker, topic))
        .map(|topic| found(shared, topic, names::shown(topic.name()).into_owned()))
        .collect()
}

/// One topic that was asked for, which is made when that is allowed.
fn asked(
    call: &Call<'_>,
    wanted: &RequestTopic<'_>,
    may_make: bool,
    made: &mut Option<Promise<Arc<Topic>>>,
) -> ResponseTopic<'static> {
    let shared = call.shared();
    let missing = |error_code| ResponseTopic {
        error_code,
        name: wanted.name.as_ref().map(|name| name.clone().into_owned().into()),
        topic_id: wanted.topic_id,
        ..Default::default()
    };
    if wanted.topic_id != NO_ID {
        return match names::topic_with_id(&shared.broker, wanted.topic_id) {
            _ if call.head.version < BY_ID => missing(error_code::INVALID_REQUEST),
            Some(topic) => found(shared, &topic, names::shown(topic.name()).into_owned()),
            None => ResponseTopic { name: None, ..missing(error_code::UNKNOWN_TOPIC_ID) },
        };
    }
    let Some(name) = &wanted.name else { return missing(error_code::INVALID_REQUEST) };
    let topic = match names::topic(&shared.broker, name) {
        Some(topic) => topic,
        None if !names::is_legal(name) => return missing(error_code::INVALID_TOPIC_EXCEPTION),
        None if !may_make => return missing(error_code::UNKNOWN_TOPIC_OR_PARTITION),
        None => match make(call, name, made) {
            Ok(topic) => topic,
            Err(code) => return missing(code),
        },
    };
    found(shared, &topic, name.clone().into_owned())
}

/// Makes a topic with the default number of partitions.
fn make(call: &Call<'_>, name: &str, made: &mut Option<Promise<Arc<Topic>>>) -> Result<Arc<Topic>, i16> {
    let shared = call.shared();
    names::check_new(&shared.broker, name).map_err(|(code, _)| code)?;
    let config = TopicConfig::new(name, shared.options.default_partitions);
    match shared.broker.create_topic(config) {
        Ok(promise) => {
            call.reactor.appended();
            // The last one that is made stands behind the others in the log.
            *made = Some(promise);
        }
        // Another client was faster.
        Err(Error::TopicExists(_)) => {}
        Err(refusal) => {
            // Clients ask again and again: a warning each time would be theirs to fill the disk with.
            tracing::debug!(topic = name, error = %refusal, "a topic could not be made on first use");
            return Err(error::code(&refusal));
        }
    }
    shared.broker.topic(name).ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)
}

fn found(shared: &Shared, topic: &Topic, name: String) -> ResponseTopic<'static> {
    let leader_epoch = shared.leader_epoch();
    let partition = |partition_index| ResponsePartition {
        partition_index,
        leader_id: NODE_ID,
        leader_epoch,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        ..Default::default()
    };
    ResponseTopic {
        name: Some(name.into()),
        topic_id: names::id(topic),
        is_internal: names::is_internal(&shared.broker, topic),
        partitions: (0..topic.config.queues() as i32).map(partition).collect(),
        ..Default::default()
    }
}
