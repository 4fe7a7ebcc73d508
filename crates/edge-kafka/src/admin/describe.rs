//! DescribeConfigs (32): every key with its value, where that comes from, and what would hold without it.

use std::borrow::Cow;

use braid_broker::Topic;
use braid_wire_kafka::messages::describe_configs::{
    Request, RequestResource, Response, ResponseConfig, ResponseResult, ResponseSynonym,
};
use braid_wire_kafka::{DecodeError, error_code};

use super::keys::{BROKER_KEYS, BrokerKey, TOPIC_KEYS, TopicKey};
use super::{Refusal, unknown_topic};
use crate::dispatch::Call;
use crate::names;
use crate::options::EdgeOptions;
use crate::reply::Outcome;
use crate::shared::{NODE_ID, Shared};

/// Kafka's numbers of resources.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Kafka's numbers of where a value comes from.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_FILE: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Versions from which answers have types and documentation.
const TYPES: i16 = 3;

/// See the module.
pub(super) fn handle(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: Request<'_> = call.decode()?;
    let wishes = Wishes {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation && call.head.version >= TYPES,
    };
    let results = request.resources.iter().map(|resource| one(call.shared(), resource, wishes)).collect();
    Ok(call.reply(&Response { results, ..Default::default() }).into())
}

#[derive(Clone, Copy)]
struct Wishes {
    synonyms: bool,
    documentation: bool,
}

fn one<'r>(shared: &Shared, resource: &RequestResource<'r>, wishes: Wishes) -> ResponseResult<'r> {
    let described = ResponseResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    };
    match entries(shared, resource, wishes) {
        Ok(configs) => ResponseResult { configs, ..described },
        Err((error_code, sentence)) => {
            ResponseResult { error_code, error_message: Some(sentence.into()), ..described }
        }
    }
}

fn entries<'r>(
    shared: &Shared,
    resource: &RequestResource<'r>,
    wishes: Wishes,
) -> Result<Vec<ResponseConfig<'r>>, Refusal> {
    let options = &shared.options;
    let wanted = |name: &str| match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(keys) => keys.iter().any(|key| key == name),
    };
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            names::check_legal(name)?;
            let topic = names::topic(&shared.broker, name).ok_or_else(|| unknown_topic(name))?;
            let keys = TOPIC_KEYS.iter().filter(|key| wanted(key.name));
            Ok(keys.map(|key| topic_entry(key, &topic, options, wishes)).collect())
        }
        // The settings of all brokers together: there are none beside each broker's own.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => {
            check_node(name)?;
            let keys = BROKER_KEYS.iter().filter(|key| wanted(key.name)).map(Key::Broker);
            let limits = TOPIC_KEYS.iter().filter(|key| wanted(key.broker_name)).map(Key::DefaultOfTopics);
            let mut entries: Vec<_> =
                keys.chain(limits).map(|key| broker_entry(&key, options, wishes)).collect();
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
        other => Err(unserved(other)),
    }
}

/// A resource that has no configuration here.
pub(super) fn unserved(resource_type: i8) -> Refusal {
    (error_code::INVALID_REQUEST, format!("resources of type {resource_type} have no configuration here"))
}

/// # Errors
/// INVALID_REQUEST for all names but the node's.
pub(super) fn check_node(name: &str) -> Result<(), Refusal> {
    let sentence = match name.parse::<i32>() {
        Ok(NODE_ID) => return Ok(()),
        Ok(other) => {
            format!("Unexpected broker id, expected {NODE_ID} or empty string, but received {other}")
        }
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err((error_code::INVALID_REQUEST, sentence))
}

fn topic_entry<'r>(
    key: &'static TopicKey,
    topic: &Topic,
    options: &EdgeOptions,
    wishes: Wishes,
) -> ResponseConfig<'r> {
    let (value, is_own) = key.value(&topic.config.attributes, options);
    let (default, usual) = ((key.default)(options), EdgeOptions::default());
    let synonym = |name: &'static str, value: &str, source| ResponseSynonym {
        name: name.into(),
        value: Some(value.to_owned().into()),
        source,
    };
    let own = is_own.then(|| synonym(key.name, &value, SOURCE_TOPIC));
    let inherited = synonym(key.broker_name, &default, topic_source(key, false, options, &usual));
    ResponseConfig {
        name: key.name.into(),
        value: Some(value.clone().into_owned().into()),
        read_only: !key.can_change(),
        config_source: topic_source(key, is_own, options, &usual),
        is_sensitive: false,
        synonyms: if wishes.synonyms { own.into_iter().chain([inherited]).collect() } else { Vec::new() },
        config_type: key.kind.number(),
        documentation: wishes.documentation.then_some(Cow::Borrowed(key.documentation)),
    }
}

/// Where a topic's value comes from: the topic itself, who runs the broker, or nobody.
pub(super) fn topic_source(key: &TopicKey, is_own: bool, options: &EdgeOptions, usual: &EdgeOptions) -> i8 {
    if is_own { SOURCE_TOPIC } else { source(&(key.default)(options), &(key.default)(usual)) }
}

/// A key of the broker: its own, or what topics without one get.
enum Key {
    Broker(&'static BrokerKey),
    DefaultOfTopics(&'static TopicKey),
}

fn broker_entry<'r>(key: &Key, options: &EdgeOptions, wishes: Wishes) -> ResponseConfig<'r> {
    let (name, kind, value, documentation) = match key {
        Key::Broker(key) => (key.name, key.kind, key.value, key.documentation),
        Key::DefaultOfTopics(key) => (key.broker_name, key.kind, key.default, key.documentation),
    };
    let usual = value(&EdgeOptions::default());
    let value = value(options);
    let config_source = source(&value, &usual);
    let synonym = |value: &str, source| ResponseSynonym {
        name: name.into(),
        value: Some(value.to_owned().into()),
        source,
    };
    let set = (config_source == SOURCE_FILE).then(|| synonym(&value, SOURCE_FILE));
    let synonyms = set.into_iter().chain([synonym(&usual, SOURCE_DEFAULT)]);
    ResponseConfig {
        name: name.into(),
        synonyms: if wishes.synonyms { synonyms.collect() } else { Vec::new() },
        value: Some(value.into()),
        read_only: true,
        config_source,
        is_sensitive: false,
        config_type: kind.number(),
        documentation: wishes.documentation.then_some(Cow::Borrowed(documentation)),
    }
}

/// Where a value of the broker comes from: who runs it, or nobody.
fn source(value: &str, usual: &str) -> i8 {
    if value == usual { SOURCE_DEFAULT } else { SOURCE_FILE }
}
