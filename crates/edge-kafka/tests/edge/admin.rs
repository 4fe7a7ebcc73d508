//! Topics made, changed, described and deleted as Kafka's admin clients do it.

use braid_wire_kafka::messages::{
    alter_configs, create_partitions, create_topics, delete_topics, describe_cluster, describe_configs,
    describe_log_dirs, describe_topic_partitions, incremental_alter_configs, list_partition_reassignments,
    metadata,
};
use braid_wire_kafka::{error_code, keys};

use crate::support::{Client, Server, ask, batch, decode, options, to};

const NO_ID: [u8; 16] = [0; 16];

fn wanted(name: &str, partitions: i32, factor: i16) -> create_topics::RequestTopic<'_> {
    create_topics::RequestTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        ..Default::default()
    }
}

fn with_config<'a>(name: &'a str, key: &'a str, value: Option<&'a str>) -> create_topics::RequestTopic<'a> {
    let config = create_topics::RequestConfig { name: key.into(), value: value.map(Into::into) };
    create_topics::RequestTopic { configs: vec![config], ..wanted(name, -1, -1) }
}

fn assigned<'a>(name: &'a str, partitions: &[(i32, &[i32])]) -> create_topics::RequestTopic<'a> {
    let assignments = partitions.iter().map(|(partition_index, brokers)| create_topics::RequestAssignment {
        partition_index: *partition_index,
        broker_ids: brokers.to_vec(),
    });
    create_topics::RequestTopic { assignments: assignments.collect(), ..wanted(name, -1, -1) }
}

fn create(
    client: &mut Client,
    topics: Vec<create_topics::RequestTopic<'_>>,
) -> Vec<create_topics::ResponseTopic<'static>> {
    ask!(&mut *client, create_topics, 7, create_topics::Request { topics, ..Default::default() }).topics
}

fn partitions_of(client: &mut Client, name: &str) -> Result<usize, i16> {
    let topic = metadata::RequestTopic { name: Some(name.into()), ..Default::default() };
    let request = metadata::Request {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let response = ask!(&mut *client, metadata, 12, request);
    match response.topics[0].error_code {
        error_code::NONE => Ok(response.topics[0].partitions.len()),
        code => Err(code),
    }
}

#[test]
fn a_topic_is_made_grown_deleted_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();

    let made = create(client, vec![wanted("orders", 3, 1)]).remove(0);
    assert_eq!((made.error_code, made.error_message), (error_code::NONE, None));
    assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
    assert_ne!(made.topic_id, NO_ID);
    let configs = made.configs.unwrap();
    assert!(configs.iter().any(|config| config.name == "retention.ms" && config.config_source == 5));
    assert_eq!(partitions_of(client, "orders"), Ok(3));

    for version in 0..=3 {
        let count = 4 + i32::from(version);
        let topic = create_partitions::RequestTopic { name: "orders".into(), count, assignments: None };
        let request = create_partitions::Request { topics: vec![topic], ..Default::default() };
        let response = ask!(&mut *client, create_partitions, version, request);
        assert_eq!(response.results[0].error_code, error_code::NONE);
        assert_eq!(partitions_of(client, "orders"), Ok(count as usize));
    }

    let topic = delete_topics::RequestTopic { name: None, topic_id: made.topic_id };
    let request = delete_topics::Request { topics: vec![topic.clone()], ..Default::default() };
    let response = ask!(&mut *client, delete_topics, 6, request.clone());
    let deleted = &response.responses[0];
    assert_eq!((deleted.error_code, deleted.name.as_deref()), (error_code::NONE, Some("orders")));
    assert_eq!(partitions_of(client, "orders"), Err(error_code::UNKNOWN_TOPIC_OR_PARTITION));
    let again = ask!(&mut *client, delete_topics, 6, request);
    assert_eq!(again.responses[0].error_code, error_code::UNKNOWN_TOPIC_ID);

    let new = create(client, vec![wanted("orders", 1, 1)]).remove(0);
    assert_eq!(new.error_code, error_code::NONE);
    assert_ne!(new.topic_id, made.topic_id, "it is another topic");
    assert_eq!(partitions_of(client, "orders"), Ok(1));
}

#[test]
fn every_version_makes_and_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    for version in 2..=7 {
        let request = create_topics::Request { topics: vec![wanted("t", 2, 1)], ..Default::default() };
        let response = ask!(&mut *client, create_topics, version, request);
        assert_eq!(response.topics[0].error_code, error_code::NONE, "{version}");
        assert_eq!(partitions_of(client, "t"), Ok(2));
        let topic = delete_topics::RequestTopic { name: Some("t".into()), topic_id: NO_ID };
        let request = delete_topics::Request {
            topic_names: vec!["t".into()],
            topics: vec![topic],
            ..Default::default()
        };
        let response = ask!(&mut *client, delete_topics, version - 1, request);
        assert_eq!(response.responses[0].error_code, error_code::NONE, "{version}");
        assert_eq!(partitions_of(client, "t"), Err(error_code::UNKNOWN_TOPIC_OR_PARTITION));
    }
}

#[test]
fn what_cannot_be_made_is_refused_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let strict = braid_edge_kafka::EdgeOptions { accept_any_replication_factor: false, ..options() };
    let server = Server::start_with(dir.path(), strict);
    let client = &mut server.client();
    create(client, vec![wanted("taken.name", 1, 1)]);
    let long = "x".repeat(250);
    let cases = [
        (wanted("taken.name", 1, 1), error_code::TOPIC_ALREADY_EXISTS, "already exists"),
        (wanted("taken_name", 1, 1), error_code::INVALID_TOPIC_EXCEPTION, "collides"),
        (wanted("", 1, 1), error_code::INVALID_TOPIC_EXCEPTION, "letters"),
        (wanted("a b", 1, 1), error_code::INVALID_TOPIC_EXCEPTION, "letters"),
        (wanted("SYSTEM_T", 1, 1), error_code::INVALID_TOPIC_EXCEPTION, "belongs to the system"),
        (wanted(&long, 1, 1), error_code::INVALID_TOPIC_EXCEPTION, "letters"),
        (wanted("p0", 0, 1), error_code::INVALID_PARTITIONS, "non-positive"),
        (wanted("p-2", -2, 1), error_code::INVALID_PARTITIONS, "non-positive"),
        (wanted("many", i32::MAX, 1), error_code::INVALID_PARTITIONS, "at most"),
        (wanted("r0", 1, 0), error_code::INVALID_REPLICATION_FACTOR, "larger than 0"),
        (wanted("r3", 1, 3), error_code::INVALID_REPLICATION_FACTOR, "only 1 broker"),
        (with_config("c1", "no.such", Some("1")), error_code::INVALID_CONFIG, "Unknown"),
        (with_config("c2", "retention.ms", Some("x")), error_code::INVALID_CONFIG, "LONG"),
        (with_config("c3", "retention.ms", None), error_code::INVALID_CONFIG, "Null"),
        (with_config("c4", "cleanup.policy", Some("compact")), error_code::INVALID_CONFIG, "only delete"),
        (assigned("a1", &[(0, &[1])]), error_code::INVALID_REPLICA_ASSIGNMENT, "broker 1"),
        (assigned("a2", &[(0, &[])]), error_code::INVALID_REPLICA_ASSIGNMENT, "empty"),
        (assigned("a3", &[(0, &[0, 0])]), error_code::INVALID_REPLICA_ASSIGNMENT, "more than once"),
        (assigned("a4", &[(0, &[0]), (2, &[0])]), error_code::INVALID_REPLICA_ASSIGNMENT, "consecutive"),
        (assigned("a5", &[(0, &[0]), (0, &[0])]), error_code::INVALID_REPLICA_ASSIGNMENT, "multiple"),
        (
            create_topics::RequestTopic { num_partitions: 1, ..assigned("a6", &[(0, &[0])]) },
            error_code::INVALID_REQUEST,
            "numPartitions",
        ),
        (
            create_topics::RequestTopic { replication_factor: 1, ..assigned("a7", &[(0, &[0])]) },
            error_code::INVALID_REQUEST,
            "replication factor",
        ),
    ];
    let mut all: Vec<_> = cases.iter().map(|(topic, ..)| topic.clone()).collect();
    all.extend([wanted("twice", 1, 1), wanted("good", 2, -1), wanted("twice", 1, 1)]);
    let mut answers = create(client, all);
    for (topic, code, part) in cases {
        let answer = answers.remove(0);
        assert_eq!((&answer.name, answer.error_code), (&topic.name, code), "{answer:?}");
        assert!(answer.error_message.as_deref().unwrap().contains(part), "{answer:?}");
        assert_eq!(answer.topic_id, NO_ID);
    }
    let codes: Vec<_> = answers.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes, [error_code::INVALID_REQUEST, error_code::NONE, error_code::INVALID_REQUEST]);
    assert_eq!(partitions_of(client, "good"), Ok(2));
    assert_eq!(partitions_of(client, "p0"), Err(error_code::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn defaults_assignments_and_dry_runs() {
    let dir = tempfile::tempdir().unwrap();
    let four = braid_edge_kafka::EdgeOptions { default_partitions: 4, ..options() };
    let server = Server::start_with(dir.path(), four);
    let client = &mut server.client();
    let made = create(client, vec![wanted("default", -1, -1), wanted("replicated", 2, 3)]);
    assert_eq!((made[0].error_code, made[0].num_partitions), (error_code::NONE, 4));
    assert_eq!(
        (made[1].error_code, made[1].replication_factor),
        (error_code::NONE, 1),
        "there is one replica"
    );
    let made = create(client, vec![assigned("assigned", &[(1, &[0]), (0, &[0])])]);
    assert_eq!((made[0].error_code, made[0].num_partitions), (error_code::NONE, 2));

    let topics = vec![wanted("dry", 5, 1), wanted("assigned", 1, 1)];
    let request = create_topics::Request { topics, validate_only: true, ..Default::default() };
    let tried = ask!(&mut *client, create_topics, 7, request).topics;
    assert_eq!((tried[0].error_code, tried[0].num_partitions), (error_code::NONE, 5));
    assert_eq!(tried[1].error_code, error_code::TOPIC_ALREADY_EXISTS);
    assert_eq!(partitions_of(client, "dry"), Err(error_code::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn partitions_only_become_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    create(client, vec![wanted("t", 2, 1), wanted("u", 2, 1)]);
    let assignment = |brokers: &[i32]| create_partitions::RequestAssignment { broker_ids: brokers.to_vec() };
    let cases = [
        ("t", 2, None, error_code::INVALID_PARTITIONS),
        ("t", 1, None, error_code::INVALID_PARTITIONS),
        ("t", -1, None, error_code::INVALID_PARTITIONS),
        ("t", i32::MAX, None, error_code::INVALID_PARTITIONS),
        ("none", 3, None, error_code::UNKNOWN_TOPIC_OR_PARTITION),
        ("t", 4, Some(vec![assignment(&[0])]), error_code::INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, Some(vec![assignment(&[7])]), error_code::INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, Some(vec![assignment(&[0])]), error_code::NONE),
    ];
    for (name, count, assignments, expected) in cases {
        let topic = create_partitions::RequestTopic { name: name.into(), count, assignments };
        let request = create_partitions::Request { topics: vec![topic], ..Default::default() };
        let response = ask!(&mut *client, create_partitions, 3, request);
        assert_eq!(response.results[0].error_code, expected, "{name} {count}: {response:?}");
    }
    assert_eq!(partitions_of(client, "t"), Ok(3));
    let topic = create_partitions::RequestTopic { name: "u".into(), count: 9, assignments: None };
    let dry =
        create_partitions::Request { topics: vec![topic.clone()], validate_only: true, ..Default::default() };
    assert_eq!(ask!(&mut *client, create_partitions, 3, dry).results[0].error_code, error_code::NONE);
    assert_eq!(partitions_of(client, "u"), Ok(2));
    let twice = create_partitions::Request { topics: vec![topic.clone(), topic], ..Default::default() };
    let results = ask!(&mut *client, create_partitions, 3, twice).results;
    assert!(results.iter().all(|result| result.error_code == error_code::INVALID_REQUEST));
}

#[test]
fn what_cannot_be_deleted_is_refused_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    let id = create(client, vec![wanted("t", 1, 1), wanted("good", 1, 1)])[0].topic_id;
    let named =
        |name: &'static str, topic_id| delete_topics::RequestTopic { name: Some(name.into()), topic_id };
    let topics = vec![
        named("t", id),
        delete_topics::RequestTopic { name: None, topic_id: NO_ID },
        named("none", NO_ID),
        named("twice", NO_ID),
        named("twice", NO_ID),
        delete_topics::RequestTopic { name: None, topic_id: [7; 16] },
        named("good", NO_ID),
    ];
    let response =
        ask!(&mut *client, delete_topics, 6, delete_topics::Request { topics, ..Default::default() });
    let codes: Vec<_> = response.responses.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes, [42, 42, 3, 42, 42, 100, 0]);
    assert_eq!(partitions_of(client, "t"), Ok(1));
    assert_eq!(partitions_of(client, "good"), Err(error_code::UNKNOWN_TOPIC_OR_PARTITION));
}

/// Value and source of a topic's key, and the sources of its synonyms.
fn described(client: &mut Client, topic: &str, key: &str) -> (String, i8, Vec<(String, i8)>) {
    let resource = describe_configs::RequestResource {
        resource_type: 2,
        resource_name: topic.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = describe_configs::Request {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let mut result = ask!(&mut *client, describe_configs, 4, request).results.remove(0);
    assert_eq!((result.error_code, result.configs.len()), (error_code::NONE, 1));
    let config = result.configs.remove(0);
    assert!(config.documentation.is_some());
    let synonyms = config.synonyms.iter().map(|synonym| (synonym.name.to_string(), synonym.source));
    (config.value.unwrap().into_owned(), config.config_source, synonyms.collect())
}

fn synonyms(expected: &[(&str, i8)]) -> Vec<(String, i8)> {
    expected.iter().map(|(name, source)| ((*name).to_owned(), *source)).collect()
}

fn set<'a>(
    topic: &'a str,
    changes: &[(i8, &'a str, Option<&'a str>)],
) -> incremental_alter_configs::Request<'a> {
    let configs =
        changes.iter().map(|(config_operation, name, value)| incremental_alter_configs::RequestConfig {
            name: (*name).into(),
            config_operation: *config_operation,
            value: value.map(Into::into),
        });
    let resource = incremental_alter_configs::RequestResource {
        resource_type: 2,
        resource_name: topic.into(),
        configs: configs.collect(),
    };
    incremental_alter_configs::Request { resources: vec![resource], validate_only: false }
}

#[test]
fn configurations_have_sources_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let set_by_owner = braid_edge_kafka::EdgeOptions { message_bytes_max: 2_000_000, ..options() };
    let mut server = Server::start_with(dir.path(), set_by_owner.clone());
    let client = &mut server.client();
    create(client, vec![with_config("t", "retention.ms", Some("1000"))]);

    let own = synonyms(&[("retention.ms", 1), ("log.retention.ms", 5)]);
    assert_eq!(described(client, "t", "retention.ms"), ("1000".into(), 1, own));
    let of_broker = synonyms(&[("message.max.bytes", 4)]);
    assert_eq!(described(client, "t", "max.message.bytes"), ("2000000".into(), 4, of_broker));
    let default = synonyms(&[("log.cleanup.policy", 5)]);
    assert_eq!(described(client, "t", "cleanup.policy"), ("delete".into(), 5, default));

    for version in 0..=1 {
        let value = (2_000 + version).to_string();
        let changes = [(0, "retention.ms", Some(value.as_str())), (0, "retention.bytes", Some("5"))];
        let response = ask!(&mut *client, incremental_alter_configs, version, set("t", &changes));
        assert_eq!(response.responses[0].error_code, error_code::NONE);
        assert_eq!(described(client, "t", "retention.ms").0, value);
    }
    let response =
        ask!(&mut *client, incremental_alter_configs, 1, set("t", &[(1, "retention.bytes", None)]));
    assert_eq!(response.responses[0].error_code, error_code::NONE);
    assert_eq!((described(client, "t", "retention.bytes")).1, 5);

    server.stop();
    let server = Server::start_with(dir.path(), set_by_owner);
    assert_eq!(described(&mut server.client(), "t", "retention.ms").0, "2001");
}

#[test]
fn alter_configs_replaces_all_of_kafkas_keys_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    create(client, vec![with_config("t", "retention.ms", Some("1000"))]);
    let of_another = |config: &mut braid_broker::TopicConfig| {
        config.attributes.insert("message.type".into(), "FIFO".into());
    };
    drop(server.broker.change_topic("t", of_another).unwrap());
    for version in 0..=2 {
        let config = alter_configs::RequestConfig {
            name: "max.message.bytes".into(),
            value: Some((10_000 + i32::from(version)).to_string().into()),
        };
        let resource = alter_configs::RequestResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![config],
        };
        let request = alter_configs::Request { resources: vec![resource], validate_only: false };
        let response = ask!(&mut *client, alter_configs, version, request);
        assert_eq!(response.responses[0].error_code, error_code::NONE);
    }
    assert_eq!(described(client, "t", "max.message.bytes").0, "10002");
    assert_eq!(described(client, "t", "retention.ms").1, 5);
    let attributes = &server.broker.topic("t").unwrap().config.attributes;
    assert_eq!(attributes.get("message.type").map(String::as_str), Some("FIFO"));
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    create(client, vec![wanted("t", 1, 1)]);
    let cases = [
        (set("t", &[(0, "retention.ms", Some("x"))]), error_code::INVALID_CONFIG),
        (
            set("t", &[(0, "retention.ms", Some("7")), (0, "segment.ms", Some("1"))]),
            error_code::INVALID_CONFIG,
        ),
        (set("t", &[(0, "no.such", Some("1"))]), error_code::INVALID_CONFIG),
        (set("t", &[(2, "retention.ms", Some("1"))]), error_code::INVALID_CONFIG),
        (set("t", &[(0, "retention.ms", None)]), error_code::INVALID_REQUEST),
        (set("t", &[(5, "retention.ms", Some("1"))]), error_code::INVALID_REQUEST),
        (
            set("t", &[(0, "retention.ms", Some("1")), (0, "retention.ms", Some("2"))]),
            error_code::INVALID_REQUEST,
        ),
        (set("none", &[(0, "retention.ms", Some("1"))]), error_code::UNKNOWN_TOPIC_OR_PARTITION),
        (set("a b", &[(0, "retention.ms", Some("1"))]), error_code::INVALID_TOPIC_EXCEPTION),
    ];
    for (request, expected) in cases {
        let response = ask!(&mut *client, incremental_alter_configs, 1, request.clone());
        assert_eq!(response.responses[0].error_code, expected, "{request:?}");
    }
    assert_eq!(described(client, "t", "retention.ms").1, 5, "nothing of a refused change is done");

    let mut twice = set("t", &[(0, "retention.ms", Some("7"))]);
    twice.resources.extend(twice.resources.clone());
    let responses = ask!(&mut *client, incremental_alter_configs, 1, twice).responses;
    assert!(responses.iter().all(|response| response.error_code == error_code::INVALID_REQUEST));
    let dry = incremental_alter_configs::Request {
        validate_only: true,
        ..set("t", &[(0, "retention.ms", Some("7"))])
    };
    assert_eq!(
        ask!(&mut *client, incremental_alter_configs, 1, dry).responses[0].error_code,
        error_code::NONE
    );
    assert_eq!(described(client, "t", "retention.ms").1, 5);
    for (resource_type, name) in
        [(4, "0"), (4, ""), (4, "9"), (4, "x"), (8, "0"), (16, "m"), (32, "g"), (0, "")]
    {
        let mut request = set(name, &[(0, "retention.ms", Some("7"))]);
        request.resources[0].resource_type = resource_type;
        let response = ask!(&mut *client, incremental_alter_configs, 1, request);
        assert_eq!(response.responses[0].error_code, error_code::INVALID_REQUEST, "{resource_type} {name}");
    }
}

#[test]
fn the_brokers_configuration_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let three = braid_edge_kafka::EdgeOptions { default_partitions: 3, ..options() };
    let server = Server::start_with(dir.path(), three);
    let client = &mut server.client();
    let resource = |resource_type, name: &'static str| describe_configs::RequestResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    };
    for version in 1..=4 {
        let request = describe_configs::Request { resources: vec![resource(4, "0")], ..Default::default() };
        let result = ask!(&mut *client, describe_configs, version, request).results.remove(0);
        assert_eq!(result.error_code, error_code::NONE);
        let of = |name: &str| result.configs.iter().find(|config| config.name == name).expect("a key");
        assert_eq!(
            (of("num.partitions").value.as_deref(), of("num.partitions").config_source),
            (Some("3"), 4)
        );
        let source = of("message.max.bytes").config_source;
        assert_eq!((of("message.max.bytes").value.as_deref(), source), (Some("1048588"), 5));
        assert!(result.configs.iter().all(|config| config.read_only && config.synonyms.is_empty()));
        assert!(result.configs.is_sorted_by_key(|config| config.name.clone()));
    }
    let resources = vec![
        resource(4, ""),
        resource(4, "1"),
        resource(4, "x"),
        resource(2, "none"),
        resource(2, "a b"),
        resource(16, "metrics"),
    ];
    let request = describe_configs::Request { resources, ..Default::default() };
    let results = ask!(&mut *client, describe_configs, 4, request).results;
    let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 42, 42, 3, 17, 42]);
    assert!(results[0].configs.is_empty());
}

#[test]
fn the_cluster_is_one_node() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    let describe = |client: &mut Client, version, endpoint_type| {
        let request = describe_cluster::Request {
            include_cluster_authorized_operations: true,
            endpoint_type,
            ..Default::default()
        };
        let id = client.send(version, &request);
        let body = client.answer(keys::DESCRIBE_CLUSTER, version, id);
        let response: describe_cluster::Response<'_> = decode(version, &body);
        response.into_owned()
    };
    for version in 0..=2 {
        let response = describe(client, version, 1);
        assert_eq!((response.error_code, response.controller_id), (error_code::NONE, 0));
        let [broker] = &response.brokers[..] else { panic!("{response:?}") };
        assert_eq!((broker.broker_id, &*broker.host), (0, "127.0.0.1"));
        assert_eq!(broker.port, i32::from(server.address.port()));
        assert_ne!(response.cluster_authorized_operations, i32::MIN);
    }
    assert_eq!(describe(client, 2, 2).error_code, error_code::MISMATCHED_ENDPOINT_TYPE);
    assert_eq!(describe(client, 2, 9).error_code, error_code::UNSUPPORTED_ENDPOINT_TYPE);

    let request = list_partition_reassignments::Request::default();
    let response = ask!(&mut *client, list_partition_reassignments, 0, request);
    assert_eq!((response.error_code, response.topics.len()), (error_code::NONE, 0));
}

#[test]
fn partitions_are_described_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = &mut server.client();
    create(client, vec![wanted("a", 3, 1), wanted("b", 2, 1), wanted("c", 1, 1)]);
    let ask_from = |client: &mut Client, names: &[&'static str], limit, from: Option<(&str, i32)>| {
        let named = |name: &&'static str| describe_topic_partitions::RequestTopic { name: (*name).into() };
        let request = describe_topic_partitions::Request {
            topics: names.iter().map(named).collect(),
            response_partition_limit: limit,
            cursor: from.map(|(name, partition_index)| describe_topic_partitions::RequestCursor {
                topic_name: name.to_owned().into(),
                partition_index,
            }),
        };
        let response = ask!(&mut *client, describe_topic_partitions, 0, request);
        let topics: Vec<_> = response
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
                (topic.name.clone().unwrap().into_owned(), topic.error_code, partitions.collect::<Vec<_>>())
            })
            .collect();
        let next = response.next_cursor.map(|next| (next.topic_name.into_owned(), next.partition_index));
        (topics, next)
    };
    let topic = |name: &str, code, partitions: &[i32]| (name.to_owned(), code, partitions.to_vec());
    assert_eq!(
        ask_from(client, &[], 2_000, None),
        (vec![topic("a", 0, &[0, 1, 2]), topic("b", 0, &[0, 1]), topic("c", 0, &[0])], None)
    );
    assert_eq!(ask_from(client, &[], 2, None), (vec![topic("a", 0, &[0, 1])], Some(("a".into(), 2))));
    assert_eq!(
        ask_from(client, &[], 2, Some(("a", 2))),
        (vec![topic("a", 0, &[2]), topic("b", 0, &[0])], Some(("b".into(), 1)))
    );
    assert_eq!(ask_from(client, &[], 1, Some(("b", 1))), (vec![topic("b", 0, &[1])], Some(("c".into(), 0))));
    assert_eq!(
        ask_from(client, &["c", "none", "c", "a b"], 0, None),
        (vec![topic("a b", 17, &[]), topic("c", 0, &[0])], Some(("none".into(), 0)))
    );
    assert_eq!(ask_from(client, &["none"], 9, None), (vec![topic("none", 3, &[])], None));
    assert_eq!(ask_from(client, &["a"], 9, Some(("a", -1))), (vec![topic("a", 42, &[])], None));
    assert_eq!(ask_from(client, &["a"], 9, Some(("a", 7))), (vec![topic("a", 0, &[])], None));
}

#[test]
fn partitions_have_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let at = braid_edge_kafka::EdgeOptions { log_dir: "/data/braid".into(), ..options() };
    let server = Server::start_with(dir.path(), at);
    let client = &mut server.client();
    create(client, vec![wanted("a", 2, 1), wanted("b", 1, 1)]);
    let batch = batch(&[b"some bytes"]);
    let response = ask!(&mut *client, produce, 9, to("a", 1, -1, &batch));
    assert_eq!(response.responses[0].partition_responses[0].error_code, error_code::NONE);

    let sizes = |client: &mut Client, version, topics| {
        let request = describe_log_dirs::Request { topics };
        let mut response = ask!(&mut *client, describe_log_dirs, version, request);
        assert_eq!((response.error_code, response.results.len()), (error_code::NONE, 1));
        let result = response.results.remove(0);
        assert_eq!((result.error_code, &*result.log_dir), (error_code::NONE, "/data/braid"));
        if version >= 4 {
            assert!(result.total_bytes >= result.usable_bytes && result.usable_bytes > 0);
        }
        let mut found = Vec::new();
        for topic in result.topics {
            for partition in topic.partitions {
                found.push((topic.name.to_string(), partition.partition_index, partition.partition_size));
            }
        }
        found
    };
    for version in 1..=5 {
        let all = sizes(client, version, None);
        let [(_, 0, 0), (a, 1, size), (_, 0, 0)] = &all[..] else { panic!("{all:?}") };
        assert!(a == "a" && *size > batch.len() as i64, "{all:?}");
    }
    let topic = |name: &'static str, partitions: &[i32]| describe_log_dirs::RequestTopic {
        topic: name.into(),
        partitions: partitions.to_vec(),
    };
    let some = vec![topic("a", &[1, 1, -1, 2]), topic("none", &[0]), topic("a", &[0])];
    let found = sizes(client, 5, Some(some));
    let indexes: Vec<_> = found.iter().map(|(name, index, _)| (name.as_str(), *index)).collect();
    assert_eq!(indexes, [("a", 0), ("a", 1)]);
    assert_eq!(sizes(client, 5, Some(Vec::new())), []);
}
