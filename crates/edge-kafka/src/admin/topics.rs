//! CreateTopics (19), DeleteTopics (20), CreatePartitions (37), with the checks of Kafka's controller in its order.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use braid_broker::{Error, Topic, TopicConfig};
use braid_wire_kafka::messages::{create_partitions, create_topics, delete_topics};
use braid_wire_kafka::{DecodeError, error_code};

use super::keys::{self, TOPIC_KEYS};
use super::{Changes, Refusal, parts, refusal, repeated, unknown_topic};
use crate::dispatch::Call;
use crate::names::{self, NO_ID, Taken};
use crate::reply::Outcome;
use crate::shared::{NODE_ID, Shared};

/// What stands for "as the broker is configured" in numbers of partitions and replicas.
const DEFAULT: i32 = -1;
/// Replicas that there are of each partition.
const REPLICAS: i16 = 1;
/// Versions of DeleteTopics that name topics in structs, by name or id.
const DELETE_BY_ID: i16 = 6;

/// CreateTopics.
pub(super) fn create(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use create_topics::{Request, Response, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let repeated = repeated(request.topics.iter().map(|topic| &*topic.name));
    let mut taken = Taken::by_all(&shared.broker);
    let mut changes = Changes::default();
    let topics = request.topics.iter().map(|wanted| {
        let plan = if repeated.contains(&*wanted.name) {
            Err((error_code::INVALID_REQUEST, "Duplicate topic name.".into()))
        } else {
            planned(shared, &taken, wanted)
        };
        let made = plan.and_then(|config| match request.validate_only {
            true => Ok((config, NO_ID)),
            false => {
                let topic = make(shared, config, &mut changes)?;
                taken.add(topic.name());
                Ok((topic.config.clone(), names::id(&topic)))
            }
        });
        match made {
            Ok((config, topic_id)) => ResponseTopic {
                name: wanted.name.clone(),
                topic_id,
                num_partitions: config.queues() as i32,
                replication_factor: REPLICAS,
                configs: Some(described(shared, &config)),
                ..Default::default()
            },
            Err((error_code, sentence)) => ResponseTopic {
                name: wanted.name.clone(),
                error_code,
                error_message: Some(sentence.into()),
                // None at all, not null: null is for configurations that may not be seen.
                configs: Some(Vec::new()),
                ..Default::default()
            },
        }
    });
    let response = Response { topics: topics.collect(), ..Default::default() };
    Ok(changes.answer(call.reply(&response)))
}

/// The configuration of a topic that is to be made.
fn planned(
    shared: &Shared,
    taken: &Taken,
    wanted: &create_topics::RequestTopic<'_>,
) -> Result<TopicConfig, Refusal> {
    names::check_new_among(&shared.broker, taken, &wanted.name)?;
    let mut attributes = BTreeMap::new();
    for config in &wanted.configs {
        let value = config.value.as_deref().ok_or_else(|| {
            let sentence = format!("Null value not supported for topic configs: {}", config.name);
            (error_code::INVALID_CONFIG, sentence)
        })?;
        attributes.insert(config.name.to_string(), keys::checked(&config.name, value, &shared.options)?);
    }
    let partitions = if wanted.assignments.is_empty() {
        check_replicas(shared, wanted.replication_factor)?;
        counted(shared, wanted.num_partitions)?
    } else {
        assigned(wanted)?
    };
    check_partitions_max(shared, partitions)?;
    Ok(TopicConfig { attributes, ..TopicConfig::new(&*wanted.name, partitions) })
}

fn check_replicas(shared: &Shared, factor: i16) -> Result<(), Refusal> {
    let sentence = match factor {
        REPLICAS => return Ok(()),
        factor if i32::from(factor) == DEFAULT => return Ok(()),
        ..=0 => "Replication factor must be larger than 0, or -1 to use the default value.".to_owned(),
        _ if shared.options.accept_any_replication_factor => return Ok(()),
        _ => format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only {REPLICAS} broker(s) are registered."
        ),
    };
    Err((error_code::INVALID_REPLICATION_FACTOR, sentence))
}

fn counted(shared: &Shared, partitions: i32) -> Result<u32, Refusal> {
    match partitions {
        DEFAULT => Ok(shared.options.default_partitions),
        ..=0 => {
            let sentence = "Number of partitions was set to an invalid non-positive value.";
            Err((error_code::INVALID_PARTITIONS, sentence.into()))
        }
        partitions => Ok(partitions.unsigned_abs()),
    }
}

fn check_partitions_max(shared: &Shared, partitions: u32) -> Result<(), Refusal> {
    let max = shared.broker.options().queues_per_topic_max;
    if partitions <= max {
        return Ok(());
    }
    Err((error_code::INVALID_PARTITIONS, format!("a topic has at most {max} partitions, not {partitions}")))
}

/// The number of partitions that a client assigned to brokers itself.
fn assigned(wanted: &create_topics::RequestTopic<'_>) -> Result<u32, Refusal> {
    let both = |what| {
        let sentence = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err((error_code::INVALID_REQUEST, sentence))
    };
    if i32::from(wanted.replication_factor) != DEFAULT {
        return both("replication factor");
    }
    if wanted.num_partitions != DEFAULT {
        return both("numPartitions");
    }
    let wrong = |sentence: String| Err((error_code::INVALID_REPLICA_ASSIGNMENT, sentence));
    let mut seen = HashSet::new();
    for assignment in &wanted.assignments {
        if !seen.insert(assignment.partition_index) {
            let index = assignment.partition_index;
            return wrong(format!("Found multiple manual partition assignments for partition {index}"));
        }
        check_brokers(&assignment.broker_ids)?;
    }
    let count = wanted.assignments.len() as i32;
    if let Some(index) = (0..count).find(|index| !seen.contains(index)) {
        let sentence = "partitions should be a consecutive 0-based integer sequence";
        return wrong(format!("{sentence}: partition {index} is missing"));
    }
    Ok(count.unsigned_abs())
}

/// Brokers that a client chose for a partition: there is one.
fn check_brokers(brokers: &[i32]) -> Result<(), Refusal> {
    let sentence = match brokers {
        [NODE_ID] => return Ok(()),
        [] => "The manual partition assignment includes an empty replica list.".to_owned(),
        brokers => match brokers.iter().find(|broker| **broker != NODE_ID) {
            Some(other) => format!(
                "The manual partition assignment includes broker {other}, but no such broker is registered."
            ),
            None => {
                format!("The manual partition assignment includes the broker {NODE_ID} more than once.")
            }
        },
    };
    Err((error_code::INVALID_REPLICA_ASSIGNMENT, sentence))
}

fn make(shared: &Shared, config: TopicConfig, changes: &mut Changes) -> Result<Arc<Topic>, Refusal> {
    let name = config.name.clone();
    let promise = shared.broker.create_topic(config).map_err(|error| refusal(&error))?;
    changes.add_topic(promise);
    shared.broker.topic(&name).ok_or_else(|| unknown_topic(&name))
}

fn described(shared: &Shared, config: &TopicConfig) -> Vec<create_topics::ResponseConfig<'static>> {
    let usual = crate::options::EdgeOptions::default();
    let entry = |key: &'static keys::TopicKey| {
        let (value, is_own) = key.value(&config.attributes, &shared.options);
        create_topics::ResponseConfig {
            name: key.name.into(),
            read_only: !key.can_change(),
            config_source: super::describe::topic_source(key, is_own, &shared.options, &usual),
            value: Some(value.into_owned().into()),
            is_sensitive: false,
        }
    };
    TOPIC_KEYS.iter().map(entry).collect()
}

/// DeleteTopics.
pub(super) fn delete(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use delete_topics::{Request, Response, ResponseTopic};
    let request: Request<'_> = call.decode()?;
    let shared = call.shared();
    let mut changes = Changes::default();
    // Early versions have names only.
    let wanted: Vec<(Option<&str>, [u8; 16])> = if call.head.version < DELETE_BY_ID {
        request.topic_names.iter().map(|name| (Some(&**name), NO_ID)).collect()
    } else {
        request.topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id)).collect()
    };
    let repeated_names = repeated(wanted.iter().filter_map(|(name, _)| *name));
    let repeated_ids = repeated(wanted.iter().map(|(_, id)| *id).filter(|id| *id != NO_ID));
    let responses = wanted.iter().map(|&(name, id)| {
        let found = match (name, id) {
            (Some(_), id) if id != NO_ID => {
                Err((error_code::INVALID_REQUEST, "You may not specify both topic name and topic id.".into()))
            }
            (None, NO_ID) => {
                Err((error_code::INVALID_REQUEST, "Neither topic name nor id were specified.".into()))
            }
            (Some(name), _) if repeated_names.contains(name) => {
                Err((error_code::INVALID_REQUEST, "Duplicate topic name.".into()))
            }
            (None, id) if repeated_ids.contains(&id) => {
                Err((error_code::INVALID_REQUEST, "Duplicate topic id.".into()))
            }
            (Some(name), _) => names::topic(&shared.broker, name).ok_or_else(|| unknown_topic(name)),
            (None, id) => names::topic_with_id(&shared.broker, id)
                .ok_or_else(|| (error_code::UNKNOWN_TOPIC_ID, "there is no topic with this id".into())),
        };
        let shown_name = match (&found, name) {
            (_, Some(name)) => Some(name.to_owned()),
            (Ok(topic), None) => Some(names::shown(topic.name()).into_owned()),
            (Err(_), None) => None,
        };
        let topic_id = found.as_ref().map_or(id, |topic| names::id(topic));
        let deleted = found.and_then(|topic| {
            let promise = shared.broker.delete_topic(topic.name()).map_err(|error| refusal(&error))?;
            changes.add(promise);
            Ok(())
        });
        let (error_code, sentence) = parts(deleted);
        ResponseTopic {
            name: shown_name.map(Into::into),
            topic_id,
            error_code,
            error_message: sentence.map(Into::into),
        }
    });
    let response = Response { responses: responses.collect(), ..Default::default() };
    Ok(changes.answer(call.reply(&response)))
}

/// CreatePartitions.
pub(super) fn create_partitions(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use create_partitions::{Request, Response, ResponseResult};
    let request: Request<'_> = call.decode()?;
    let repeated = repeated(request.topics.iter().map(|topic| &*topic.name));
    let mut changes = Changes::default();
    let results = request.topics.iter().map(|wanted| {
        let grown = if repeated.contains(&*wanted.name) {
            Err((error_code::INVALID_REQUEST, "Duplicate topic name.".into()))
        } else {
            grow(call.shared(), wanted, request.validate_only, &mut changes)
        };
        let (error_code, sentence) = parts(grown);
        ResponseResult { name: wanted.name.clone(), error_code, error_message: sentence.map(Into::into) }
    });
    let response = Response { results: results.collect(), ..Default::default() };
    Ok(changes.answer(call.reply(&response)))
}

fn grow(
    shared: &Shared,
    wanted: &create_partitions::RequestTopic<'_>,
    validate_only: bool,
    changes: &mut Changes,
) -> Result<(), Refusal> {
    let topic = names::topic(&shared.broker, &wanted.name).ok_or_else(|| unknown_topic(&wanted.name))?;
    let (name, present) = (&wanted.name, topic.config.queues());
    let more = match u32::try_from(wanted.count) {
        Ok(count) if count > present => count - present,
        Ok(count) if count == present => {
            let sentence = format!("Topic already has {present} partition(s).");
            return Err((error_code::INVALID_PARTITIONS, sentence));
        }
        _ => {
            let sentence = format!(
                "The topic {name} currently has {present} partition(s); {} would not be an increase.",
                wanted.count
            );
            return Err((error_code::INVALID_PARTITIONS, sentence));
        }
    };
    check_partitions_max(shared, present + more)?;
    if let Some(assignments) = &wanted.assignments {
        if assignments.len() != more as usize {
            let sentence = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err((error_code::INVALID_REPLICA_ASSIGNMENT, sentence));
        }
        assignments.iter().try_for_each(|assignment| check_brokers(&assignment.broker_ids))?;
    }
    if validate_only {
        return Ok(());
    }
    let promise = shared.broker.change_topic(topic.name(), |config| {
        // Never fewer: another client may have been faster.
        config.read_queues = config.read_queues.max(present + more);
        config.write_queues = config.write_queues.max(present + more);
    });
    changes.add_topic(promise.map_err(|error| match &error {
        Error::Invalid(sentence) => (error_code::INVALID_PARTITIONS, sentence.clone()),
        other => refusal(other),
    })?);
    Ok(())
}
