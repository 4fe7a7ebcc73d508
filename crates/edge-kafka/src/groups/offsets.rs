//! OffsetCommit (8), OffsetFetch (9) and OffsetDelete (47): how far groups have come.
//!
//! What a partition is answered is found in two steps: names are looked up first, and what is not there has its answer; the rest
//! is the group's business.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use braid_broker::{CURSOR_METADATA_BYTES_MAX, Committed, Committer, Error, GroupError, NotedCommit, Topic};
use braid_store::QueueKey;
use braid_wire_kafka::messages::{offset_commit, offset_delete, offset_fetch};
use braid_wire_kafka::{DecodeError, error_code};

use super::code;
use crate::dispatch::Call;
use crate::names::{self, NO_ID};
use crate::reply::Outcome;
use crate::shared::Shared;
use crate::topics;

/// The version of OffsetCommit and OffsetFetch from which topics are named by id.
const BY_ID: i16 = 10;
/// The version of OffsetCommit from which a group that does not exist is called so.
const NO_SUCH_GROUP: i16 = 9;
/// The version of OffsetFetch from which it may be about several groups.
const MANY_GROUPS: i16 = 8;
/// What a client may commit instead of an offset: the partition's end, or its beginning.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// What stands for an offset or an epoch that there is not.
const NONE: i32 = -1;

/// The topic that is meant by name, or by id from some version on.
fn find(shared: &Shared, by_id: bool, name: &str, id: [u8; 16]) -> Result<Arc<Topic>, i16> {
    if by_id {
        return names::topic_with_id(&shared.broker, id).ok_or(error_code::UNKNOWN_TOPIC_ID);
    }
    names::topic(&shared.broker, name).ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Where a commit of one partition goes.
fn place<'a>(
    shared: &Shared,
    topic: &Result<Arc<Topic>, i16>,
    partition: &'a offset_commit::RequestPartition<'_>,
) -> Result<Result<NotedCommit<'a>, i16>, i16> {
    let topic = topic.as_ref().map_err(|code| *code)?;
    let queue = topics::queue(topic, partition.partition_index)?;
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > CURSOR_METADATA_BYTES_MAX {
        return Ok(Err(error_code::OFFSET_METADATA_TOO_LARGE));
    }
    // KafkaJS resets a group by committing what ListOffsets calls the two ends; Kafka keeps the number, we the offset that is meant.
    let ends = || shared.store.offsets(queue).unwrap_or_default();
    let offset = match partition.committed_offset {
        EARLIEST => ends().min,
        LATEST => ends().max,
        offset => match u64::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => return Ok(Err(error_code::OFFSET_OUT_OF_RANGE)),
        },
    };
    let epoch = partition.committed_leader_epoch;
    Ok(Ok(NotedCommit { queue, offset, leader_epoch: (epoch >= 0).then_some(epoch), metadata }))
}

/// See the module. Answered when the commits are durable.
pub(crate) fn commit(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: offset_commit::Request<'_> = call.decode()?;
    let version = call.head.version;
    let mut response = offset_commit::Response::default();
    let mut commits = Vec::new();
    // Partitions that are there: what is wrong with them counts only if the group lets the commit in.
    let mut known = Vec::new();
    for topic in &request.topics {
        let found = find(call.shared(), version >= BY_ID, &topic.name, topic.topic_id);
        let at_topic = response.topics.len();
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let error_code = match place(call.shared(), &found, partition) {
                Ok(commit) => {
                    known.push((at_topic, answers.len()));
                    match commit {
                        Ok(commit) => {
                            commits.push(commit);
                            error_code::NONE
                        }
                        Err(code) => code,
                    }
                }
                Err(code) => code,
            };
            let partition_index = partition.partition_index;
            answers.push(offset_commit::ResponsePartition { partition_index, error_code });
        }
        response.topics.push(offset_commit::ResponseTopic {
            name: topic.name.as_ref().into(),
            topic_id: topic.topic_id,
            partitions: answers,
        });
    }
    if known.is_empty() {
        return Ok(call.reply(&response).into());
    }
    let who = Committer {
        group: &request.group_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    match call.shared().broker.commit_as(&who, &commits) {
        Ok(promise) => {
            call.reactor.appended();
            let reply = call.reply(&response);
            Ok(match promise {
                Some(promise) => Outcome::Promised(promise.map(|()| reply)),
                None => reply.into(),
            })
        }
        // What was committed of it already is committed once more.
        Err(Error::Busy(_)) if call.try_again() => Ok(Outcome::Nothing),
        Err(refusal) => {
            let code = match refusal {
                Error::Group(GroupError::NoGroup) if version < NO_SUCH_GROUP => {
                    error_code::ILLEGAL_GENERATION
                }
                // The group's name is what is left that can be wrong.
                Error::Invalid(_) => error_code::INVALID_GROUP_ID,
                refusal => code(&refusal),
            };
            for (topic, partition) in known {
                response.topics[topic].partitions[partition].error_code = code;
            }
            Ok(call.reply(&response).into())
        }
    }
}

/// A partition's answer: offset, epoch and text; without a cursor they say so, and that is no error.
fn answer(
    partition_index: i32,
    committed: Option<Committed>,
    error_code: i16,
) -> offset_fetch::ResponseGroupPartition<'static> {
    let none = Committed { offset: 0, leader_epoch: None, metadata: String::new() };
    let is_there = committed.is_some();
    let committed = committed.unwrap_or(none);
    offset_fetch::ResponseGroupPartition {
        partition_index,
        committed_offset: if is_there { committed.offset as i64 } else { NONE.into() },
        committed_leader_epoch: committed.leader_epoch.unwrap_or(NONE),
        metadata: Some(committed.metadata.into()),
        error_code,
    }
}

/// One group's cursors in the partitions that are asked for, or all of them.
fn group(
    shared: &Shared,
    version: i16,
    wanted: &offset_fetch::RequestGroup<'_>,
) -> offset_fetch::ResponseGroup<'static> {
    let topics = match &wanted.topics {
        Some(topics) => topics.iter().map(|topic| some(shared, version, &wanted.group_id, topic)).collect(),
        None => all(shared, &wanted.group_id),
    };
    offset_fetch::ResponseGroup { group_id: wanted.group_id.to_string().into(), topics, ..Default::default() }
}

fn some(
    shared: &Shared,
    version: i16,
    group: &str,
    topic: &offset_fetch::RequestGroupTopic<'_>,
) -> offset_fetch::ResponseGroupTopic<'static> {
    let found = find(shared, version >= BY_ID, &topic.name, topic.topic_id);
    // A name that is not there has no cursor, as any other; an id can only be an error.
    let error_code = match &found {
        Err(code) if version >= BY_ID => *code,
        _ => error_code::NONE,
    };
    let partition = |&index: &i32| {
        let queue = found.as_ref().ok().and_then(|topic| topics::queue(topic, index).ok());
        answer(index, queue.and_then(|queue| shared.broker.committed(group, queue)), error_code)
    };
    offset_fetch::ResponseGroupTopic {
        name: topic.name.to_string().into(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}

fn all(shared: &Shared, group: &str) -> Vec<offset_fetch::ResponseGroupTopic<'static>> {
    let mut topics: BTreeMap<String, offset_fetch::ResponseGroupTopic<'static>> = BTreeMap::new();
    for cursor in shared.broker.cursors_of(group) {
        if names::is_hidden(&shared.broker, &cursor.topic) {
            continue;
        }
        let topic = topics.entry(cursor.topic.name().to_owned()).or_insert_with(|| {
            let name = names::shown(cursor.topic.name()).into_owned().into();
            offset_fetch::ResponseGroupTopic {
                name,
                topic_id: names::id(&cursor.topic),
                ..Default::default()
            }
        });
        topic.partitions.push(answer(cursor.queue_id as i32, Some(cursor.committed), error_code::NONE));
    }
    topics.into_values().collect()
}

/// See the module. There is nothing unstable: nobody commits in a transaction.
pub(crate) fn fetch(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: offset_fetch::Request<'_> = call.decode()?;
    let (shared, version) = (call.shared(), call.head.version);
    if version >= MANY_GROUPS {
        let groups = request.groups.iter().map(|wanted| group(shared, version, wanted)).collect();
        return Ok(call.reply(&offset_fetch::Response { groups, ..Default::default() }).into());
    }
    let topic = |topic: &offset_fetch::RequestTopic<'_>| offset_fetch::RequestGroupTopic {
        name: topic.name.to_string().into(),
        topic_id: NO_ID,
        partition_indexes: topic.partition_indexes.clone(),
    };
    let wanted = offset_fetch::RequestGroup {
        group_id: request.group_id.clone(),
        topics: request.topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    };
    let found = group(shared, version, &wanted);
    let partition =
        |partition: offset_fetch::ResponseGroupPartition<'static>| offset_fetch::ResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        };
    let topic = |topic: offset_fetch::ResponseGroupTopic<'static>| offset_fetch::ResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    let topics = found.topics.into_iter().map(topic).collect();
    Ok(call.reply(&offset_fetch::Response { topics, ..Default::default() }).into())
}

/// See the module. Answered when the deletion is durable.
pub(crate) fn delete(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: offset_delete::Request<'_> = call.decode()?;
    let shared = call.shared();
    let refused = |error_code| {
        let response = offset_delete::Response { error_code, ..Default::default() };
        Ok(call.reply(&response).into())
    };
    if request.group_id.is_empty() {
        return refused(error_code::INVALID_GROUP_ID);
    }
    let mut response = offset_delete::Response::default();
    let (mut queues, mut known): (Vec<QueueKey>, Vec<_>) = (Vec::new(), Vec::new());
    for topic in &request.topics {
        let found = find(shared, false, &topic.name, NO_ID);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let queue = found
                .as_ref()
                .map_err(|code| *code)
                .and_then(|topic| topics::queue(topic, partition.partition_index));
            let error_code = match queue {
                Ok(queue) => {
                    known.push((response.topics.len(), partitions.len()));
                    queues.push(queue);
                    error_code::NONE
                }
                Err(code) => code,
            };
            let partition_index = partition.partition_index;
            partitions.push(offset_delete::ResponsePartition { partition_index, error_code });
        }
        let name = Cow::Borrowed(topic.name.as_ref());
        response.topics.push(offset_delete::ResponseTopic { name, partitions });
    }
    match shared.broker.delete_group_cursors(&request.group_id, &queues) {
        Ok((results, promise)) => {
            for ((topic, partition), result) in known.into_iter().zip(results) {
                if let Err(error) = result {
                    response.topics[topic].partitions[partition].error_code = crate::error::group_code(error);
                }
            }
            call.reactor.appended();
            let reply = call.reply(&response);
            Ok(Outcome::Promised(promise.map(|()| reply)))
        }
        Err(Error::Busy(_)) if call.try_again() => Ok(Outcome::Nothing),
        Err(refusal) => refused(code(&refusal)),
    }
}
