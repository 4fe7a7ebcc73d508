"""Topics, configurations, groups and records managed by confluent-kafka's AdminClient."""

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from confluent import Member, Sender, admin, consumer, known_partitions, make_topic, read_all, settle
from wait import until


def needs(method):
    return pytest.mark.skipif(not hasattr(AdminClient, method), reason=f"this client has no {method}")


def refusal(future):
    with pytest.raises(KafkaException) as refused:
        future.result(30)
    return refused.value.args[0].code()


def test_topics_are_made_listed_and_deleted(address, name):
    client = admin(address)
    make_topic(address, name, 3)
    assert known_partitions(client, name) == 3
    assert name in client.list_topics(timeout=10).topics
    client.delete_topics([name])[name].result(30)
    until("it is gone", lambda: name not in client.list_topics(timeout=10).topics)


def test_a_topic_of_an_old_name_is_empty(address, name):
    make_topic(address, name)
    sender = Sender(address)
    for _ in range(10):
        sender.send(name, b"old")
    sender.flush()
    client = admin(address)
    client.delete_topics([name])[name].result(30)
    until("it is gone", lambda: name not in client.list_topics(timeout=10).topics)
    make_topic(address, name)
    again = Sender(address)
    again.send(name, b"new")
    assert [report.offset() for report in again.flush()] == [0]
    assert [message.value() for message in read_all(address, name)[0]] == [b"new"]


@pytest.mark.parametrize("topic, partitions, replicas, config, code", [
    ("no/slash", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("..", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("x" * 250, 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("bad-key", 1, 1, {"no.such.key": "1"}, KafkaError.INVALID_CONFIG),
    ("bad-value", 1, 1, {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
])
def test_topics_that_can_not_be(address, name, topic, partitions, replicas, config, code):
    client = admin(address)
    topic = f"{topic}-{name}" if config else topic
    asked = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=config)
    assert refusal(client.create_topics([asked])[topic]) == code


def test_a_topic_that_is_there_is_not_made_again(address, name):
    make_topic(address, name)
    asked = NewTopic(name, num_partitions=1, replication_factor=1)
    assert refusal(admin(address).create_topics([asked])[name]) == KafkaError.TOPIC_ALREADY_EXISTS


def test_validation_alone_makes_nothing(address, name):
    client = admin(address)
    client.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)], validate_only=True)[name].result(30)
    assert name not in client.list_topics(timeout=10).topics


def test_a_topic_that_is_not_there_is_not_deleted(address, name):
    assert refusal(admin(address).delete_topics([name])[name]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_partitions_are_added_never_removed(address, name):
    client = admin(address)
    make_topic(address, name, 2)
    client.create_partitions([NewPartitions(name, 5)])[name].result(30)
    until("they are there", lambda: known_partitions(client, name) == 5)
    assert refusal(client.create_partitions([NewPartitions(name, 3)])[name]) == KafkaError.INVALID_PARTITIONS
    sender = Sender(address)
    sender.send(name, b"x", partition=4)
    assert [report.offset() for report in sender.flush()] == [0]


def configs(address, name):
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    return admin(address).describe_configs([resource])[resource].result(30)


def test_configurations_say_where_they_come_from(address, name):
    make_topic(address, name, retention_ms=86_400_000)
    found = configs(address, name)
    assert found["retention.ms"].value == "86400000"
    assert (found["retention.ms"].source, found["retention.ms"].is_default) == (1, False)
    assert found["max.message.bytes"].value == "1048588"
    assert found["max.message.bytes"].is_default
    for key in ("cleanup.policy", "compression.type", "retention.bytes", "min.insync.replicas", "message.timestamp.type"):
        assert key in found, sorted(found)


def test_a_configuration_of_an_unknown_topic_is_refused(address, name):
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    assert refusal(admin(address).describe_configs([resource])[resource]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_the_broker_describes_itself(address):
    node = next(iter(admin(address).list_topics(timeout=10).brokers))
    resource = ConfigResource(ConfigResource.Type.BROKER, str(node))
    assert admin(address).describe_configs([resource])[resource].result(30)


@needs("incremental_alter_configs")
def test_configurations_are_altered_one_by_one(address, name):
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry

    make_topic(address, name, retention_ms=86_400_000)

    def alter(key, value, operation):
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=operation))
        return admin(address).incremental_alter_configs([resource])[resource]

    alter("max.message.bytes", "5000", AlterConfigOpType.SET).result(30)
    until("it is altered", lambda: configs(address, name)["max.message.bytes"].value == "5000")
    assert configs(address, name)["retention.ms"].value == "86400000", "what was not named stays"
    sender = Sender(address)
    sender.send(name, b"x" * 6000)
    sender.producer.flush(30)
    assert [error.code() for error in sender.failed] == [KafkaError.MSG_SIZE_TOO_LARGE]
    alter("max.message.bytes", None, AlterConfigOpType.DELETE).result(30)
    until("it is the default again", lambda: configs(address, name)["max.message.bytes"].is_default)
    assert refusal(alter("no.such.key", "1", AlterConfigOpType.SET)) == KafkaError.INVALID_CONFIG
    assert refusal(alter("retention.ms", "soon", AlterConfigOpType.SET)) == KafkaError.INVALID_CONFIG


def test_configurations_are_replaced(address, name):
    make_topic(address, name, retention_ms=86_400_000)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config={"max.message.bytes": "4000"})
    admin(address).alter_configs([resource])[resource].result(30)
    until("it is altered", lambda: configs(address, name)["max.message.bytes"].value == "4000")
    assert configs(address, name)["retention.ms"].is_default, "what was not named is as if never set"


@needs("list_consumer_groups")
def test_groups_are_listed_described_and_deleted(address, name):
    make_topic(address, name, 2)
    client = admin(address)
    member = Member(address, name, [name], client_id="somebody")
    settle([member], {(name, 0), (name, 1)})
    member.client.commit(offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    listed = {group.group_id: group for group in client.list_consumer_groups().result(30).valid}
    assert listed[name].state == confluent_kafka.ConsumerGroupState.STABLE
    described = client.describe_consumer_groups([name])[name].result(30)
    assert [one.client_id for one in described.members] == ["somebody"]
    assigned = described.members[0].assignment.topic_partitions
    assert sorted((one.topic, one.partition) for one in assigned) == [(name, 0), (name, 1)]
    assert described.partition_assignor == "range"
    assert refusal(client.delete_consumer_groups([name])[name]) == KafkaError.NON_EMPTY_GROUP
    member.close()
    until("it is empty", lambda: client.describe_consumer_groups([name])[name].result(30).state ==
          confluent_kafka.ConsumerGroupState.EMPTY)
    client.delete_consumer_groups([name])[name].result(30)
    assert refusal(client.delete_consumer_groups([name])[name]) == KafkaError.GROUP_ID_NOT_FOUND
    assert name not in {group.group_id for group in client.list_consumer_groups().result(30).valid}


@needs("alter_consumer_group_offsets")
def test_offsets_of_a_group_are_listed_and_altered(address, name):
    from confluent_kafka import ConsumerGroupTopicPartitions

    make_topic(address, name, 2)
    client = admin(address)
    wanted = [TopicPartition(name, 0, 7), TopicPartition(name, 1, 11)]
    client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, wanted)])[name].result(30)
    found = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(30)
    assert sorted((one.topic, one.partition, one.offset) for one in found.topic_partitions) == [(name, 0, 7), (name, 1, 11)]
    assert [one.offset for one in consumer(address, name).committed(wanted, timeout=10)] == [7, 11]


@needs("delete_records")
def test_records_are_deleted_up_to_an_offset(address, name):
    make_topic(address, name)
    sender = Sender(address, linger_ms=100)
    for number in range(100):
        sender.send(name, str(number).encode())
    sender.flush()
    client = admin(address)
    partition = TopicPartition(name, 0, 42)
    assert client.delete_records([partition])[partition].result(30).low_watermark == 42
    assert consumer(address, name).get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (42, 100)
    assert [message.offset() for message in read_all(address, name)[0]] == list(range(42, 100))
    beyond = TopicPartition(name, 0, 101)
    assert refusal(client.delete_records([beyond])[beyond]) == KafkaError.OFFSET_OUT_OF_RANGE
    everything = TopicPartition(name, 0, confluent_kafka.OFFSET_END)
    assert client.delete_records([everything])[everything].result(30).low_watermark == 100
    assert consumer(address, name).get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (100, 100)


@needs("describe_cluster")
def test_the_cluster_is_described(address):
    found = admin(address).describe_cluster().result(30)
    assert found.cluster_id
    assert [f"{node.host}:{node.port}" for node in found.nodes] == [address]
    assert found.controller.id == found.nodes[0].id


@needs("describe_topics")
def test_topics_are_described_with_ids(address, name):
    from confluent_kafka import TopicCollection

    make_topic(address, name, 2)
    client = admin(address)

    def described():
        return client.describe_topics(TopicCollection([name]))[name].result(30)

    first = described()
    assert [partition.id for partition in first.partitions] == [0, 1]
    assert str(first.topic_id) == str(described().topic_id)
    client.delete_topics([name])[name].result(30)
    until("it is gone", lambda: name not in client.list_topics(timeout=10).topics)
    make_topic(address, name)
    assert str(described().topic_id) != str(first.topic_id)
