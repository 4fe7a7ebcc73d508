"""What the tests of confluent-kafka share: clients with short timers, and waits that end with what they waited for."""

import functools
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from wait import SECONDS_MAX, until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
POLL_SECONDS = 0.1
MESSAGES_A_STEP = 50


@functools.cache
def admin(address):
    """One for all tests: its answers come only while it lives."""
    return AdminClient({"bootstrap.servers": address})


def make_topic(address, name, partitions=1, **config):
    """Makes a topic and waits until the metadata has it; names in ``config`` are written with underscores."""
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    client = admin(address)
    client.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)])[name].result(30)
    until(f"{name} is in the metadata", lambda: known_partitions(client, name) == partitions)
    return name


def known_partitions(client, topic):
    found = client.list_topics(topic, timeout=10).topics[topic]
    return 0 if found.error else len(found.partitions)


class Sender:
    """A producer that keeps every delivery report."""

    def __init__(self, address, **config):
        config = {key.replace("_", "."): value for key, value in config.items()}
        self.delivered = []
        self.failed = []
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 5, **config})

    def report(self, error, message):
        (self.failed if error else self.delivered).append(error or message)

    def send(self, topic, value=None, key=None, partition=0, **more):
        while True:
            try:
                return self.producer.produce(topic, value, key, partition, on_delivery=self.report, **more)
            except BufferError:
                self.producer.poll(POLL_SECONDS)

    def flush(self, seconds=SECONDS_MAX):
        """Waits for every report; all have to be good."""
        left = self.producer.flush(seconds)
        assert left == 0, f"{left} messages are not reported after {seconds} s"
        assert not self.failed, f"{len(self.failed)} of {len(self.failed) + len(self.delivered)}: {self.failed[0]}"
        return self.delivered


def consumer(address, group, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    defaults = {
        "bootstrap.servers": address,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "topic.metadata.refresh.interval.ms": 500,
        "fetch.wait.max.ms": 100,
    }
    return Consumer({**defaults, **config})


def take(one, count, seconds=SECONDS_MAX):
    """The next ``count`` messages of a consumer."""
    taken = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages in {seconds} s"
        for message in one.consume(count - len(taken), POLL_SECONDS):
            assert not message.error(), message.error()
            taken.append(message)
    return taken


def read_all(address, topic, partitions=1):
    """Every message of a topic up to its high watermarks, by partition."""
    reader = consumer(address, f"{topic}-reader", enable_partition_eof=True)
    reader.assign([TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING) for partition in range(partitions)])
    messages = {partition: [] for partition in range(partitions)}
    ended = set()
    deadline = time.monotonic() + SECONDS_MAX
    while len(ended) < partitions:
        assert time.monotonic() < deadline, f"{len(ended)} of {partitions} partitions are read"
        for message in reader.consume(1000, POLL_SECONDS):
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
            else:
                messages[message.partition()].append(message)
    reader.close()
    return messages


class Member:
    """A member of a group: remembers its rebalances and what it was given."""

    def __init__(self, address, group, topics, **config):
        self.events = []
        self.owned = set()
        self.taken = []
        self.cooperative = config.get("partition_assignment_strategy") == "cooperative-sticky"
        self.client = consumer(address, group, **config)
        self.client.subscribe(topics, on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost)

    def assigned(self, client, partitions):
        given = {(p.topic, p.partition) for p in partitions}
        self.events.append(("assign", given))
        if self.cooperative:
            client.incremental_assign(partitions)
        self.owned = self.owned | given if self.cooperative else given

    def revoked(self, client, partitions):
        taken = {(p.topic, p.partition) for p in partitions}
        self.events.append(("revoke", taken))
        if self.cooperative:
            # What version 1.9 does by itself where the callback does not waits for ever, now and then, while it closes.
            client.incremental_unassign(partitions)
        elif self.taken:
            self.commit()
        self.owned -= taken

    def lost(self, client, partitions):
        self.events.append(("lost", {(p.topic, p.partition) for p in partitions}))
        self.owned.clear()

    def commit(self):
        try:
            self.client.commit(asynchronous=False)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def poll(self):
        """One step; what messages bring is kept. An error of the group ends the test."""
        for message in self.client.consume(MESSAGES_A_STEP, 0.02):
            assert not message.error(), message.error()
            self.taken.append((message.topic(), message.partition(), message.offset()))

    def close(self):
        self.client.close()


def settle(members, partitions, seconds=SECONDS_MAX):
    """Polls all members until together they own each of the partitions once, and nobody owns nothing who could own one."""
    def shared():
        for member in members:
            member.poll()
        owned = [member.owned for member in members]
        together = set().union(*owned)
        fair = all(owned) or len(members) > len(partitions)
        return together == set(partitions) and sum(map(len, owned)) == len(together) and fair

    until(lambda: f"{partitions} are shared: {[member.events for member in members]}", shared, seconds)
