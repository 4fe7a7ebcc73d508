//! AlterConfigs (33) and IncrementalAlterConfigs (44): the keys of topics that the broker keeps to.

use std::collections::{BTreeMap, HashSet};

use braid_wire_kafka::messages::{alter_configs, incremental_alter_configs};
use braid_wire_kafka::{DecodeError, error_code};

use super::describe::{BROKER, TOPIC, check_node, unserved};
use super::keys::{self, Kind};
use super::{Changes, Refusal, parts, refusal, repeated, unknown_topic};
use crate::dispatch::Call;
use crate::names;
use crate::options::EdgeOptions;
use crate::reply::Outcome;

/// Kafka's numbers of what is done to a key.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A topic's attributes by name.
type Attributes = BTreeMap<String, String>;

/// AlterConfigs: the keys that are named are all that a topic has afterwards.
pub(super) fn alter(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use alter_configs::{Request, Response, ResponseResource};
    let request: Request<'_> = call.decode()?;
    let repeated = repeated_resources(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
    let mut changes = Changes::default();
    let responses = request.resources.iter().map(|resource| {
        let resource_key = (resource.resource_type, &*resource.resource_name);
        let result =
            one(call, resource_key, &repeated, request.validate_only, &mut changes, |old, options| {
                let mut attributes = old.clone();
                attributes.retain(|name, _| keys::topic_key(name).is_none());
                check_repeated(resource.configs.iter().map(|config| &*config.name))?;
                for config in &resource.configs {
                    let value = config.value.as_deref().ok_or_else(|| no_null(&config.name))?;
                    attributes.insert(config.name.to_string(), keys::checked(&config.name, value, options)?);
                }
                Ok(attributes)
            });
        let (error_code, sentence) = parts(result);
        ResponseResource {
            error_code,
            error_message: sentence.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        }
    });
    let response = Response { responses: responses.collect(), ..Default::default() };
    Ok(changes.answer(call.reply(&response)))
}

/// IncrementalAlterConfigs: only the keys that are named change.
pub(super) fn alter_incrementally(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    use incremental_alter_configs::{Request, Response, ResponseResource};
    let request: Request<'_> = call.decode()?;
    let repeated = repeated_resources(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
    let mut changes = Changes::default();
    let responses = request.resources.iter().map(|resource| {
        let resource_key = (resource.resource_type, &*resource.resource_name);
        let result =
            one(call, resource_key, &repeated, request.validate_only, &mut changes, |old, options| {
                let mut attributes = old.clone();
                check_repeated(resource.configs.iter().map(|config| &*config.name))?;
                for config in &resource.configs {
                    apply(
                        &mut attributes,
                        config.config_operation,
                        &config.name,
                        config.value.as_deref(),
                        options,
                    )?;
                }
                Ok(attributes)
            });
        let (error_code, sentence) = parts(result);
        ResponseResource {
            error_code,
            error_message: sentence.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        }
    });
    let response = Response { responses: responses.collect(), ..Default::default() };
    Ok(changes.answer(call.reply(&response)))
}

fn repeated_resources<'r>(all: impl Iterator<Item = (i8, &'r str)>) -> HashSet<(i8, &'r str)> {
    repeated(all)
}

fn check_repeated<'r>(names: impl Iterator<Item = &'r str>) -> Result<(), Refusal> {
    match repeated(names).iter().min() {
        None => Ok(()),
        Some(name) => {
            Err((error_code::INVALID_REQUEST, format!("Error due to duplicate config keys: {name}")))
        }
    }
}

fn no_null(name: &str) -> Refusal {
    (error_code::INVALID_REQUEST, format!("Null value not supported for : {name}"))
}

/// Changes one resource: `change` says what becomes of a topic's attributes.
fn one(
    call: &Call<'_>,
    (resource_type, name): (i8, &str),
    repeated: &HashSet<(i8, &str)>,
    validate_only: bool,
    changes: &mut Changes,
    change: impl Fn(&Attributes, &EdgeOptions) -> Result<Attributes, Refusal>,
) -> Result<(), Refusal> {
    if repeated.contains(&(resource_type, name)) {
        return Err((error_code::INVALID_REQUEST, "Each resource must appear at most once.".into()));
    }
    let shared = call.shared();
    match resource_type {
        TOPIC => {}
        BROKER => {
            if !name.is_empty() {
                check_node(name)?;
            }
            let sentence = "the broker's settings are those of its configuration file and of its start";
            return Err((error_code::INVALID_REQUEST, sentence.into()));
        }
        other => return Err(unserved(other)),
    }
    names::check_legal(name)?;
    let topic = names::topic(&shared.broker, name).ok_or_else(|| unknown_topic(name))?;
    let attributes = change(&topic.config.attributes, &shared.options)?;
    if validate_only || attributes == topic.config.attributes {
        return Ok(());
    }
    // Another client may have changed other keys since: only what this request said is done to them, which was checked above.
    let promise = shared.broker.change_topic(topic.name(), |config| {
        if let Ok(attributes) = change(&config.attributes, &shared.options) {
            config.attributes = attributes;
        }
    });
    changes.add_topic(promise.map_err(|error| match &error {
        // The one check of the broker's that can fail: attributes that take too much room.
        braid_broker::Error::Invalid(sentence) => (error_code::INVALID_CONFIG, sentence.clone()),
        other => refusal(other),
    })?);
    Ok(())
}

/// Does one operation.
fn apply(
    attributes: &mut Attributes,
    operation: i8,
    name: &str,
    value: Option<&str>,
    options: &EdgeOptions,
) -> Result<(), Refusal> {
    if !(SET..=SUBTRACT).contains(&operation) {
        return Err((error_code::INVALID_REQUEST, format!("Unknown op type {operation}")));
    }
    if operation == DELETE {
        keys::known(name)?;
        attributes.remove(name);
        return Ok(());
    }
    let value = value.ok_or_else(|| no_null(name))?;
    if operation == SET {
        attributes.insert(name.to_owned(), keys::checked(name, value, options)?);
        return Ok(());
    }
    let key = keys::known(name)?;
    if key.kind != Kind::List {
        let verb = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
        let sentence = format!("Can't {verb} to key {name} because its type is not LIST.");
        return Err((error_code::INVALID_CONFIG, sentence));
    }
    let old = key.value(attributes, options).0.into_owned();
    let is_part = |part: &&str| !part.is_empty();
    let mut list: Vec<&str> = old.split(',').filter(is_part).collect();
    for part in value.split(',').map(str::trim).filter(is_part) {
        list.retain(|other| *other != part);
        if operation == APPEND {
            list.push(part);
        }
    }
    attributes.insert(name.to_owned(), keys::checked(name, &list.join(","), options)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        before: &[(&str, &str)],
        operation: (i8, &str, Option<&str>),
        expected: Result<&[(&str, &str)], i16>,
    ) {
        let map = |pairs: &[(&str, &str)]| -> Attributes {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut attributes = map(before);
        let (kind, name, value) = operation;
        let done = apply(&mut attributes, kind, name, value, &EdgeOptions::default());
        assert_eq!(done.map(|()| attributes).map_err(|(code, _)| code), expected.map(map), "{operation:?}");
    }

    #[test]
    fn operations() {
        let old = &[("message.type", "NORMAL"), ("retention.ms", "1")][..];
        let set = &[("message.type", "NORMAL"), ("retention.ms", "2")][..];
        check(old, (SET, "retention.ms", Some("2")), Ok(set));
        check(old, (SET, "retention.ms", None), Err(error_code::INVALID_REQUEST));
        check(old, (SET, "retention.ms", Some("x")), Err(error_code::INVALID_CONFIG));
        check(old, (SET, "message.type", Some("FIFO")), Err(error_code::INVALID_CONFIG));
        check(old, (DELETE, "retention.ms", None), Ok(&old[..1]));
        check(old, (DELETE, "retention.bytes", None), Ok(old));
        check(old, (DELETE, "message.type", None), Err(error_code::INVALID_CONFIG));
        check(old, (APPEND, "retention.ms", Some("2")), Err(error_code::INVALID_CONFIG));
        check(&[], (APPEND, "cleanup.policy", Some("delete")), Ok(&[("cleanup.policy", "delete")]));
        check(&[], (APPEND, "cleanup.policy", Some("compact")), Err(error_code::INVALID_CONFIG));
        check(&[], (SUBTRACT, "cleanup.policy", Some("delete")), Err(error_code::INVALID_CONFIG));
        check(old, (9, "retention.ms", Some("2")), Err(error_code::INVALID_REQUEST));
    }
}
