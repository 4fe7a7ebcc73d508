//! What the cluster looks like: DescribeCluster (60), DescribeTopicPartitions (75), ListPartitionReassignments (46).

use std::collections::BTreeSet;
use std::sync::Arc;

use braid_broker::Topic;
use braid_wire_kafka::messages::{describe_cluster, describe_topic_partitions, list_partition_reassignments};
use braid_wire_kafka::{DecodeError, error_code};

use crate::dispatch::Call;
use crate::metadata::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN, TOPIC_OPERATIONS};
use crate::names;
use crate::reply::Outcome;
use crate::shared::{NODE_ID, Shared};

/// Kafka's numbers of what a client wants to know the endpoints of.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// Partitions of one DescribeTopicPartitions, whatever the client asks for: Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2_000;

/// DescribeCluster.
pub(super) fn describe(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use describe_cluster::{Request, Response, ResponseBroker};
    let request: Request = call.decode()?;
    let shared = call.shared();
    let refused = |error_code, sentence: String| Response {
        error_code,
        error_message: Some(sentence.into()),
        ..Default::default()
    };
    let response = match request.endpoint_type {
        BROKERS => {
            let (host, port) = shared.advertised(call.connection);
            let wanted = request.include_cluster_authorized_operations;
            Response {
                cluster_id: shared.options.cluster_id.as_str().into(),
                controller_id: NODE_ID,
                brokers: vec![ResponseBroker {
                    broker_id: NODE_ID,
                    host: host.into(),
                    port: port.into(),
                    ..Default::default()
                }],
                cluster_authorized_operations: if wanted { CLUSTER_OPERATIONS } else { OPERATIONS_UNKNOWN },
                ..Default::default()
            }
        }
        CONTROLLERS => refused(
            error_code::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".into(),
        ),
        other => refused(error_code::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}")),
    };
    Ok(call.reply(&response).into())
}

/// DescribeTopicPartitions: topics by name, up to a number of partitions, from where the answer before ended.
pub(super) fn describe_partitions(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use describe_topic_partitions::{Request, Response, ResponseCursor, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let cursor = request.cursor.as_ref();
    if cursor.is_some_and(|cursor| cursor.partition_index < 0) {
        // The answer has no place for an error of the whole request.
        let refused = |topic: &describe_topic_partitions::RequestTopic<'_>| ResponseTopic {
            error_code: error_code::INVALID_REQUEST,
            name: Some(topic.name.to_string().into()),
            ..Default::default()
        };
        let topics = request.topics.iter().map(refused).collect();
        return Ok(call.reply(&Response { topics, ..Default::default() }).into());
    }
    let asked: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    let all = if asked.is_empty() { shown_topics(shared) } else { Vec::new() };
    let mut names: Vec<&str> = if asked.is_empty() {
        all.iter().map(|(name, _)| &**name).collect()
    } else {
        asked.into_iter().collect()
    };
    names.retain(|name| cursor.is_none_or(|cursor| *name >= &*cursor.topic_name));

    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let mut response = Response::default();
    for name in names {
        let first =
            cursor.filter(|cursor| cursor.topic_name == name).map_or(0, |cursor| cursor.partition_index);
        if left == 0 {
            response.next_cursor =
                Some(ResponseCursor { topic_name: name.to_owned().into(), partition_index: 0 });
            break;
        }
        let (topic, next) = partitions_of(shared, name, first, left);
        left -= topic.partitions.len();
        response.topics.push(topic);
        if let Some(partition_index) = next {
            response.next_cursor =
                Some(ResponseCursor { topic_name: name.to_owned().into(), partition_index });
            break;
        }
    }
    Ok(call.reply(&response).into())
}

/// Topics that are not hidden, by the names that are shown.
fn shown_topics(shared: &Shared) -> Vec<(String, Arc<Topic>)> {
    let topics = shared.broker.topics().into_iter();
    let shown = topics.filter(|topic| !names::is_hidden(&shared.broker, topic));
    let mut shown: Vec<_> = shown.map(|topic| (names::shown(topic.name()).into_owned(), topic)).collect();
    shown.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    shown
}

/// Up to `max` partitions of a topic, and the next one if there are more.
fn partitions_of(
    shared: &Shared,
    name: &str,
    first: i32,
    max: usize,
) -> (describe_topic_partitions::ResponseTopic<'static>, Option<i32>) {
    use describe_topic_partitions::{ResponsePartition, ResponseTopic};
    let described = ResponseTopic { name: Some(name.to_owned().into()), ..Default::default() };
    let Some(topic) = names::topic(&shared.broker, name) else {
        let legal = names::is_legal(name);
        let error_code =
            if legal { error_code::UNKNOWN_TOPIC_OR_PARTITION } else { error_code::INVALID_TOPIC_EXCEPTION };
        return (ResponseTopic { error_code, ..described }, None);
    };
    let (leader_epoch, count) = (shared.leader_epoch(), topic.config.queues() as i32);
    let end = count.min(first.saturating_add(max as i32));
    let partition = |partition_index| ResponsePartition {
        partition_index,
        leader_id: NODE_ID,
        leader_epoch,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    };
    let described = ResponseTopic {
        topic_id: names::id(&topic),
        is_internal: names::is_internal(&shared.broker, &topic),
        partitions: (first..end).map(partition).collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..described
    };
    (described, (end < count).then_some(end))
}

/// ListPartitionReassignments: partitions have one replica, which is never moved, so none is under way.
pub(super) fn list_reassignments(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let _: list_partition_reassignments::Request<'_> = call.decode()?;
    Ok(call.reply(&list_partition_reassignments::Response::default()).into())
}
