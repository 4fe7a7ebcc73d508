//! DescribeLogDirs (35): how large each partition is. There is one directory; its log is shared by all partitions.

use std::collections::{BTreeMap, BTreeSet};

use braid_store::{QueueKey, Store, StoreError};
use braid_wire_kafka::messages::describe_log_dirs::{
    Request, RequestTopic, Response, ResponsePartition, ResponseResult, ResponseTopic,
};
use braid_wire_kafka::{DecodeError, error_code};

use crate::dispatch::Call;
use crate::names;
use crate::reply::Outcome;
use crate::shared::Shared;

/// A topic's partitions that were asked for, by the name that is shown.
struct Asked {
    name: String,
    partitions: Vec<(i32, QueueKey)>,
}

/// See the module. The sizes may lie on the disk, so the answer is waited for.
pub(super) fn describe(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: Request<'_> = call.decode()?;
    let (shared, head) = (call.shared(), call.head);
    let asked = match &request.topics {
        None => all(shared),
        Some(topics) => named(shared, topics),
    };
    let (store, log_dir) = (shared.store.clone(), shared.options.log_dir.clone());
    let measured = call.reactor.ask_disk(move || measure(&store, asked));
    Ok(Outcome::wait(async move {
        let mut result = match measured.await {
            Some(Ok(result)) => result,
            Some(Err(error)) => {
                tracing::warn!(%error, "the size of a partition can not be told");
                ResponseResult { error_code: error_code::KAFKA_STORAGE_ERROR, ..Default::default() }
            }
            None => ResponseResult { error_code: error_code::REQUEST_TIMED_OUT, ..Default::default() },
        };
        result.log_dir = log_dir.into();
        let response = Response { results: vec![result], ..Default::default() };
        head.reply(|version, out| response.encode(version, out)).into()
    }))
}

fn all(shared: &Shared) -> Vec<Asked> {
    let topics = shared.broker.topics().into_iter();
    let shown = topics.filter(|topic| !names::is_hidden(&shared.broker, topic));
    shown
        .map(|topic| Asked {
            name: names::shown(topic.name()).into_owned(),
            partitions: (0..topic.config.queues()).map(|id| (id as i32, topic.queue(id))).collect(),
        })
        .collect()
}

/// Topics by name with those of their partitions that exist; Kafka leaves out what does not, too.
fn named(shared: &Shared, topics: &[RequestTopic<'_>]) -> Vec<Asked> {
    let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        wanted.entry(&topic.topic).or_default().extend(&topic.partitions);
    }
    let asked = wanted.into_iter().filter_map(|(name, indexes)| {
        let topic = names::topic(&shared.broker, name)?;
        let queue = |index: i32| {
            let id = u32::try_from(index).ok().filter(|id| *id < topic.config.queues())?;
            Some((index, topic.queue(id)))
        };
        Some(Asked { name: name.to_owned(), partitions: indexes.into_iter().filter_map(queue).collect() })
    });
    asked.filter(|asked| !asked.partitions.is_empty()).collect()
}

/// The sizes of partitions, and of the disk.
fn measure(store: &Store, asked: Vec<Asked>) -> Result<ResponseResult<'static>, StoreError> {
    let topic = |asked: Asked| {
        let partition = |(partition_index, queue): (i32, QueueKey)| {
            Ok(ResponsePartition {
                partition_index,
                partition_size: store.queue_bytes(queue)?.cast_signed(),
                ..Default::default()
            })
        };
        let partitions: Result<_, StoreError> = asked.partitions.into_iter().map(partition).collect();
        Ok(ResponseTopic { name: asked.name.into(), partitions: partitions? })
    };
    let topics: Result<_, StoreError> = asked.into_iter().map(topic).collect();
    let space = store.disk_space().ok();
    let bytes = |of: Option<u64>| of.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1);
    Ok(ResponseResult {
        topics: topics?,
        total_bytes: bytes(space.map(|space| space.total)),
        usable_bytes: bytes(space.map(|space| space.free)),
        ..Default::default()
    })
}
