"""kafka-python against the broker: the client that implements the protocol in Python, and takes paths of its own."""

import threading

import pytest
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

import wire
from broker import scaled
from kpy import CODECS, IS_OLD, admin, consumer, make_topic, producer, read_all, send_all, subscribed, take
from proxy import LosingProxy
from wait import until

#: Time of the first message, and the step to the next.
BEGIN_MS, STEP_MS = 1_700_000_000_000, 10

needs_new = pytest.mark.skipif(IS_OLD, reason="kafka-python 2.0 can not do this")


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_and_acks_level(address, name, codec, acks):
    make_topic(address, name)
    values = [f"{number:06} ".encode() * 20 for number in range(300)]
    offsets = send_all(address, name, values, acks=acks, compression_type=codec)
    if acks == 0:
        reader = subscribed(address, name, name)
        messages = take(reader, len(values))
        reader.close()
    else:
        assert offsets == list(range(len(values)))
        messages = read_all(address, name)
    assert [message.offset for message in messages] == list(range(len(values)))
    assert [message.value for message in messages] == values
    assert wire.codecs(address, name) == {codec or "none"}


def test_keys_headers_and_null_values(address, name):
    make_topic(address, name)
    sent = [
        (b"key", b"value", []),
        (b"tombstone", None, []),
        (None, b"no key", []),
        (b"", b"", []),
        (bytes(range(256)), b"\0", [("a", b"1"), ("a", b"2"), ("", b""), ("bin", bytes(range(256)))]),
    ]
    sender = producer(address)
    for key, value, headers in sent:
        sender.send(name, value, key, headers, partition=0)
    sender.flush(30)
    sender.close()
    assert [(m.key, m.value, list(m.headers)) for m in read_all(address, name)] == sent


def test_order_holds_in_each_partition(address, name):
    make_topic(address, name, 4)
    each = scaled(2000)
    sender = producer(address, acks="all", max_in_flight_requests_per_connection=1, compression_type="lz4")
    for number in range(each):
        for partition in range(4):
            sender.send(name, str(number).encode(), partition=partition)
    sender.flush(30)
    sender.close()
    for partition in range(4):
        assert [int(message.value) for message in read_all(address, name, partition)] == list(range(each))


@needs_new
def test_answers_that_are_lost_duplicate_nothing(address, name):
    make_topic(address, name)
    proxy = LosingProxy(address, lose_every=5)
    count = scaled(2000)
    sender = producer(proxy.address, batch_size=200, retry_backoff_ms=1, reconnect_backoff_ms=1, reconnect_backoff_max_ms=10)
    futures = [sender.send(name, str(number).encode(), partition=0) for number in range(count)]
    sender.flush(60)
    offsets = [future.get(30).offset for future in futures]
    sender.close()
    proxy.close()
    assert proxy.lost > 1
    assert [int(message.value) for message in read_all(address, name)] == list(range(count))
    assert offsets == list(range(count)), "a duplicate is answered with its first offset"


def test_a_message_above_the_topics_limit_is_refused(address, name):
    make_topic(address, name, max_message_bytes=2000)
    sender = producer(address, acks="all")
    with pytest.raises(errors.MessageSizeTooLargeError):
        sender.send(name, b"x" * 5000, partition=0).get(30)
    sender.close()
    # An idempotent producer of version 3 takes the refusal as its end.
    sender = producer(address, acks="all")
    assert sender.send(name, b"x" * 1000, partition=0).get(30).offset == 0
    sender.close()


def test_a_topic_is_made_by_writing_to_it(address, name):
    sender = producer(address)
    assert sender.send(name, b"first").get(30).offset == 0
    sender.close()


class Listener(ConsumerRebalanceListener):
    def __init__(self):
        self.owned = set()

    def on_partitions_revoked(self, revoked):
        self.owned -= set(revoked)

    def on_partitions_assigned(self, assigned):
        self.owned |= set(assigned)


class Member:
    """A member of a group with a thread of its own: old versions wait inside a poll until the whole group has joined."""

    def __init__(self, address, group, topics=(), pattern=None, **config):
        self.client = consumer(address, group, **config)
        for topic in topics:
            # See kpy.subscribed.
            until(f"{topic} is known", lambda topic=topic: self.client.partitions_for_topic(topic))
        self.listener = Listener()
        self.client.subscribe(topics=topics, pattern=pattern, listener=self.listener)
        self.left = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.left.is_set():
                # Version 3.0.12 loses the answer to a SyncGroup that comes while no poll waits for it, and then
                # takes itself for a member but sends no heartbeat. So no poll is shorter than a rebalance.
                self.client.poll(timeout_ms=1000)
        except Exception as failure:
            self.failure = failure
        finally:
            self.client.close()

    @property
    def owned(self):
        assert self.failure is None, self.failure
        return set(self.listener.owned)

    def close(self):
        self.left.set()
        self.thread.join(30)
        assert not self.thread.is_alive() and self.failure is None, self.failure


def settle(members, topic, partitions):
    wanted = {TopicPartition(topic, partition) for partition in range(partitions)}

    def shared():
        owned = [member.owned for member in members]
        return all(owned) and set().union(*owned) == wanted and sum(map(len, owned)) == len(wanted)

    until(lambda: f"shared: {[member.owned for member in members]}", shared)


def test_members_share_and_take_over(address, name):
    make_topic(address, name, 4)
    members = [Member(address, name, topics=[name])]
    settle(members, name, 4)
    members.append(Member(address, name, topics=[name]))
    settle(members, name, 4)
    assert sorted(len(member.owned) for member in members) == [2, 2]
    members.pop(0).close()
    settle(members, name, 4)
    members[0].close()


def test_a_pattern_finds_topics_that_come_later(address, name):
    make_topic(address, f"{name}-a")
    member = Member(address, name, pattern=f"^{name}-.*")
    until("the first is found", lambda: len(member.owned) == 1)
    make_topic(address, f"{name}-b")
    until("the second is found", lambda: len(member.owned) == 2)
    member.close()


@needs_new
def test_a_static_member_comes_back_to_what_it_had(address, name):
    make_topic(address, name, 4)
    members = [Member(address, name, topics=[name], group_instance_id=instance) for instance in ("one", "two")]
    settle(members, name, 4)
    owned = members[1].owned
    members.pop().close()
    members.append(Member(address, name, topics=[name], group_instance_id="two"))
    settle(members, name, 4)
    assert members[1].owned == owned
    for member in members:
        member.close()


def test_a_group_goes_on_where_it_committed(address, name):
    make_topic(address, name)
    send_all(address, name, [b"x"] * 50)
    at = TopicPartition(name, 0)
    first = subscribed(address, name, name)
    take(first, 50)
    first.commit({at: offset_and_metadata(20, "half way")})
    assert first.committed(at) == 20
    assert first.committed(at, metadata=True).metadata == "half way"
    first.close()
    second = subscribed(address, name, name)
    assert [message.offset for message in take(second, 30)] == list(range(20, 50))
    second.close()


def offset_and_metadata(offset, metadata):
    return OffsetAndMetadata(offset, metadata) if IS_OLD else OffsetAndMetadata(offset, metadata, -1)


def test_find_by_time_and_seek(address, name):
    make_topic(address, name)
    sender = producer(address, batch_size=1 << 16)
    for number in range(500):
        sender.send(name, str(number).encode(), partition=0, timestamp_ms=BEGIN_MS + number * STEP_MS)
    sender.flush(30)
    sender.close()
    at = TopicPartition(name, 0)
    reader = consumer(address)
    reader.assign([at])
    for time_ms, offset in ((0, 0), (BEGIN_MS + 1, 1), (BEGIN_MS + 321 * STEP_MS, 321), (BEGIN_MS + 499 * STEP_MS, 499)):
        found = reader.offsets_for_times({at: time_ms})[at]
        assert (found.offset, found.timestamp) == (offset, BEGIN_MS + offset * STEP_MS)
    assert reader.offsets_for_times({at: BEGIN_MS + 500 * STEP_MS})[at] is None
    for offset in (499, 0, 250, 249):
        reader.seek(at, offset)
        assert int(take(reader, 1)[0].value) == offset
    assert (reader.beginning_offsets([at])[at], reader.end_offsets([at])[at]) == (0, 500)
    assert until("the fetch has told the end", lambda: (reader.poll(50), reader.highwater(at))[1]) == 500
    reader.close()


def test_admin_of_topics(address, name):
    client = admin(address)
    client.create_topics([NewTopic(name, 2, 1)])
    until("it is there", lambda: name in client.list_topics())
    with pytest.raises(errors.TopicAlreadyExistsError):
        client.create_topics([NewTopic(name, 2, 1)])
    client.create_partitions({name: NewPartitions(5)})
    until("partitions are added", lambda: partitions_of(client, name) == 5)
    client.delete_topics([name])
    until("it is gone", lambda: name not in client.list_topics())
    with pytest.raises(errors.UnknownTopicOrPartitionError):
        client.delete_topics([name])
    client.close()


def partitions_of(client, name):
    return len(client.describe_topics([name])[0]["partitions"])


@needs_new
def test_admin_of_configurations_and_records(address, name):
    make_topic(address, name, retention_ms=86_400_000)
    client = admin(address)

    def configs():
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        found = client.describe_configs([resource], config_filter="all")
        return next(iter(found.values()))[name]

    assert configs()["retention.ms"]["value"] == "86400000"
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": "3000"})])
    until("it is altered", lambda: configs()["max.message.bytes"]["value"] == "3000")
    assert configs()["retention.ms"]["value"] == "86400000"
    send_all(address, name, [b"x"] * 10)
    at = TopicPartition(name, 0)
    assert client.delete_records({at: 4})[at]["low_watermark"] == 4
    assert [message.offset for message in read_all(address, name)] == list(range(4, 10))
    client.close()


@needs_new
def test_admin_of_groups(address, name):
    make_topic(address, name)
    member = Member(address, name, topics=[name])
    settle([member], name, 1)
    client = admin(address)

    def states():
        return [group["group_state"] for group in client.list_groups() if group["group_id"] == name]

    # A member that learns of more partitions joins again.
    until(lambda: f"stable: {states()}", lambda: states() == ["Stable"])
    described = client.describe_groups([name])[name]
    assert len(described["members"]) == 1
    at = TopicPartition(name, 0)
    member.close()
    client.alter_group_offsets(name, {at: offset_and_metadata(3, "moved")})
    assert client.list_group_offsets({name: None})[name][at].offset == 3
    client.delete_groups([name])
    assert name not in [group["group_id"] for group in client.list_groups()]
    client.close()


if IS_OLD:  # Version 3 has the same under other names.

    def test_admin_of_groups_as_it_was(address, name):
        make_topic(address, name)
        member = Member(address, name, topics=[name])
        settle([member], name, 1)
        client = admin(address)
        assert (name, "consumer") in client.list_consumer_groups()
        assert client.describe_consumer_groups([name])[0].state == "Stable"
        at = TopicPartition(name, 0)
        member.close()
        consumer(address, name).commit({at: OffsetAndMetadata(5, "")})
        assert client.list_consumer_group_offsets(name)[at].offset == 5
        assert [error for _, error in client.delete_consumer_groups([name])] == [errors.NoError]
        client.close()
