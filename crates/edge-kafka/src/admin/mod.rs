//! What administrators ask: topics made, changed and deleted; configurations; what the cluster looks like.
//!
//! Every item of a request is checked and carried out by itself and has an error of its own, as Kafka's controller does it; an answer
//! waits until all that was changed is as safe as the log makes it.

mod cluster;
mod configs;
mod describe;
mod keys;
mod log_dirs;
mod topics;

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use braid_broker::{Error, Topic};
use braid_store::Promise;
use braid_wire_kafka::{error_code, keys as api_keys};

use crate::dispatch::{Api, api};
use crate::error;
use crate::reply::{Outcome, Reply};

/// See the module.
pub(crate) const HANDLERS: &[Api] = &[
    api(api_keys::CREATE_TOPICS, 2, 7, topics::create),
    api(api_keys::DELETE_TOPICS, 1, 6, topics::delete),
    api(api_keys::CREATE_PARTITIONS, 0, 3, topics::create_partitions),
    api(api_keys::DESCRIBE_CONFIGS, 1, 4, describe::handle),
    api(api_keys::ALTER_CONFIGS, 0, 2, configs::alter),
    api(api_keys::INCREMENTAL_ALTER_CONFIGS, 0, 1, configs::alter_incrementally),
    api(api_keys::DESCRIBE_LOG_DIRS, 1, 5, log_dirs::describe),
    api(api_keys::DESCRIBE_CLUSTER, 0, 2, cluster::describe),
    api(api_keys::DESCRIBE_TOPIC_PARTITIONS, 0, 0, cluster::describe_partitions),
    api(api_keys::LIST_PARTITION_REASSIGNMENTS, 0, 0, cluster::list_reassignments),
];

/// Why an item of a request is refused: Kafka's code and a sentence.
type Refusal = (i16, String);

fn refusal(error: &Error) -> Refusal {
    (error::code(error), error.to_string())
}

fn unknown_topic(name: &str) -> Refusal {
    (error_code::UNKNOWN_TOPIC_OR_PARTITION, format!("the topic {name:?} does not exist"))
}

/// The code and the sentence of an item's answer.
fn parts(result: Result<(), Refusal>) -> (i16, Option<String>) {
    match result {
        Ok(()) => (error_code::NONE, None),
        Err((code, sentence)) => (code, Some(sentence)),
    }
}

/// Those that occur more than once.
fn repeated<T: Hash + Eq + Copy>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|item| !seen.insert(*item)).collect()
}

/// What was appended while a request was carried out. The last promise stands behind the others in the log.
#[derive(Default)]
struct Changes(Option<Promise<()>>);

impl Changes {
    fn add<T>(&mut self, promise: Promise<T>) {
        self.0 = Some(promise.map(|_| ()));
    }

    /// The topic of a promise that stands for it.
    fn add_topic(&mut self, promise: Promise<Arc<Topic>>) {
        self.add(promise);
    }

    /// The answer, once the changes are safe.
    fn answer(self, reply: Reply) -> Outcome {
        match self.0 {
            Some(promise) => Outcome::Promised(promise.map(|()| reply)),
            None => Outcome::Now(reply),
        }
    }
}
