"""What the tests of kafka-python share. Version 3 renamed much of its admin client; the differences are here."""

import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from wait import SECONDS_MAX, until

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
VERSION = tuple(int(part) for part in kafka.__version__.split(".")[:2])
IS_OLD = VERSION < (3, 0)


def admin(address):
    return KafkaAdminClient(bootstrap_servers=address)


def make_topic(address, name, partitions=1, **config):
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    client = admin(address)
    client.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    until(f"{name} is in the metadata", lambda: led_partitions(client, name) == partitions)
    client.close()
    return name


def led_partitions(client, topic):
    """How many partitions the metadata has a leader for."""
    (found,) = client.describe_topics([topic])
    return sum(partition["leader" if IS_OLD else "leader_id"] >= 0 for partition in found["partitions"])


def producer(address, **config):
    """Sends at any acks level; version 3 is idempotent unless told otherwise, and then insists on acks=all."""
    if not IS_OLD and config.get("acks", "all") != "all":
        config["enable_idempotence"] = False
    return KafkaProducer(bootstrap_servers=address, linger_ms=5, **config)


def send_all(address, topic, values, **config):
    """Sends one after the other to partition 0 and returns the offsets that were answered."""
    sender = producer(address, **config)
    futures = [sender.send(topic, value, partition=0) for value in values]
    sender.flush(SECONDS_MAX)
    sender.close()
    return [future.get(SECONDS_MAX).offset for future in futures]


def consumer(address, group=None, **config):
    defaults = {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500,
        "metadata_max_age_ms": 500,
        "fetch_max_wait_ms": 100,
    }
    return KafkaConsumer(bootstrap_servers=address, group_id=group, **{**defaults, **config})


def subscribed(address, group, topic):
    """A member that knows its topic's partitions: one that joins before it does assigns itself none."""
    one = consumer(address, group)
    until(f"{topic} is known", lambda: one.partitions_for_topic(topic))
    one.subscribe([topic])
    return one


def take(one, count, seconds=SECONDS_MAX):
    """The next ``count`` messages of a consumer."""
    taken = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages in {seconds} s"
        for messages in one.poll(timeout_ms=1000, max_records=count - len(taken)).values():
            taken.extend(messages)
    return taken


def read_all(address, topic, partition=0):
    """Every message of a partition up to its end."""
    at = TopicPartition(topic, partition)
    reader = consumer(address)
    reader.assign([at])
    begin, end = reader.beginning_offsets([at])[at], reader.end_offsets([at])[at]
    reader.seek(at, begin)
    messages = take(reader, end - begin)
    reader.close()
    return messages
