"""Groups of confluent-kafka (librdkafka): members join, leave, die, come back, and every message is consumed."""

import pathlib
import subprocess
import sys

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import NewPartitions

from broker import scaled
from confluent import Member, Sender, admin, consumer, make_topic, settle, take
from wait import until


def partitions_of(topic, count):
    return {(topic, partition) for partition in range(count)}


def fill(address, topic, partitions, each):
    sender = Sender(address)
    for number in range(each):
        for partition in range(partitions):
            sender.send(topic, str(number).encode(), partition=partition)
    sender.flush()


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_and_take_over(address, name, strategy):
    make_topic(address, name, 6)
    config = {"partition_assignment_strategy": strategy}
    members = [Member(address, name, [name], **config)]
    settle(members, partitions_of(name, 6))
    for _ in range(2):
        members.append(Member(address, name, [name], **config))
        settle(members, partitions_of(name, 6))
    assert sorted(len(member.owned) for member in members) == [2, 2, 2]
    while len(members) > 1:
        members.pop(0).close()
        settle(members, partitions_of(name, 6))
    members[0].close()


def test_cooperative_members_keep_what_they_can(address, name):
    make_topic(address, name, 4)
    config = {"partition_assignment_strategy": "cooperative-sticky"}
    first = Member(address, name, [name], **config)
    settle([first], partitions_of(name, 4))
    before = len(first.events)
    second = Member(address, name, [name], **config)
    settle([first, second], partitions_of(name, 4))
    revoked = [given for kind, given in first.events[before:] if kind == "revoke" and given]
    assert [len(given) for given in revoked] == [2], "two partitions move, the others are never given up"
    assert second.owned == revoked[0]
    for member in (first, second):
        assert all(kind != "lost" for kind, _ in member.events)
        member.close()


def test_every_message_once_while_members_come_and_go(address, name):
    partitions, each = 6, scaled(2000)
    make_topic(address, name, partitions)
    fill(address, name, partitions, each)
    members, gone = [], []
    wanted = partitions * each

    def read(count):
        goal = min(wanted, sum(len(member.taken) for member in members + gone) + count)

        def is_read():
            for member in members:
                member.poll()
            return sum(len(member.taken) for member in members + gone) >= goal

        until(lambda: f"{goal} messages are read, {[len(member.taken) for member in members + gone]}", is_read, 60)

    for step in range(4):
        members.append(Member(address, name, [name]))
        read(wanted // 8)
        if step % 2 == 1:
            leaver = members.pop(0)
            leaver.commit()
            leaver.close()
            gone.append(leaver)
    read(wanted)
    taken = [message for member in members + gone for message in member.taken]
    assert len(taken) == len(set(taken)), "no message twice: each member commits what it gives up"
    assert set(taken) == {(name, partition, offset) for partition in range(partitions) for offset in range(each)}
    for member in members:
        member.close()


def test_a_group_goes_on_where_it_committed(address, name):
    make_topic(address, name, 1)
    fill(address, name, 1, 100)
    first = consumer(address, name)
    first.subscribe([name])
    messages = take(first, 40)
    committed = first.commit(message=messages[24], asynchronous=False)
    assert [partition.offset for partition in committed] == [25]
    assert first.committed([TopicPartition(name, 0)], timeout=10)[0].offset == 25
    first.close()
    second = consumer(address, name)
    second.subscribe([name])
    assert [message.offset() for message in take(second, 75)] == list(range(25, 100))
    second.close()


def test_auto_commit_is_done_at_close(address, name):
    make_topic(address, name, 1)
    fill(address, name, 1, 30)
    first = consumer(address, name, enable_auto_commit=True)
    first.subscribe([name])
    take(first, 30)
    first.close()
    assert consumer(address, name).committed([TopicPartition(name, 0)], timeout=10)[0].offset == 30


def test_what_was_never_committed_has_no_offset(address, name):
    make_topic(address, name, 1)
    found = consumer(address, name).committed([TopicPartition(name, 0)], timeout=10)[0]
    assert (found.offset, found.error) == (confluent_kafka.OFFSET_INVALID, None)


def test_a_group_without_an_offset_obeys_its_reset_policy(address, name):
    make_topic(address, name, 1)
    fill(address, name, 1, 10)
    latest = Member(address, f"{name}-latest", [name], auto_offset_reset="latest")
    settle([latest], partitions_of(name, 1))
    position = until("the position is known", lambda: latest.poll() or latest.client.position([TopicPartition(name, 0)]))
    assert position[0].offset in (confluent_kafka.OFFSET_INVALID, 10)
    until("the end is found", lambda: latest.poll() or
          latest.client.get_watermark_offsets(TopicPartition(name, 0), cached=True)[1] == 10)
    fill(address, name, 1, 1)
    until("the new message is read", lambda: latest.poll() or latest.taken)
    assert latest.taken == [(name, 0, 10)]
    latest.close()


def test_a_static_member_comes_back_without_a_rebalance(address, name):
    make_topic(address, name, 4)
    first = Member(address, name, [name], group_instance_id="one")
    second = Member(address, name, [name], group_instance_id="two")
    settle([first, second], partitions_of(name, 4))
    before = list(first.events)
    owned = set(second.owned)
    second.close()
    back = Member(address, name, [name], group_instance_id="two")
    until("it is back", lambda: first.poll() or back.poll() or back.owned)
    assert back.owned == owned
    assert first.events == before, "the other member notices nothing"
    first.close()
    back.close()


def test_a_second_member_of_the_same_instance_fences_the_first(address, name):
    make_topic(address, name, 1)
    first = Member(address, name, [name], group_instance_id="one")
    settle([first], partitions_of(name, 1))
    second = Member(address, name, [name], group_instance_id="one")
    until("the second has its place", lambda: second.poll() or second.owned)

    def fenced():
        message = first.client.poll(0.05)
        second.poll()
        return message is not None and message.error() and message.error().code() == KafkaError._FATAL

    until("the first is fenced", fenced)
    second.close()


def test_a_pattern_finds_topics_that_come_later(address, name):
    make_topic(address, f"{name}-a", 2)
    make_topic(address, f"other-{name}", 1)
    member = Member(address, name, [f"^{name}-.*"])
    settle([member], partitions_of(f"{name}-a", 2))
    make_topic(address, f"{name}-b", 1)
    settle([member], partitions_of(f"{name}-a", 2) | partitions_of(f"{name}-b", 1))
    member.close()


def test_partitions_that_are_added_are_given_out(address, name):
    make_topic(address, name, 1)
    member = Member(address, name, [name])
    settle([member], partitions_of(name, 1))
    admin(address).create_partitions([NewPartitions(name, 3)])[name].result(10)
    settle([member], partitions_of(name, 3))
    member.close()


def test_a_member_that_dies_is_replaced(address, name):
    make_topic(address, name, 2)
    program = pathlib.Path(__file__).with_name("member.py")
    dying = subprocess.Popen([sys.executable, program, address, name, name], stdout=subprocess.PIPE, text=True)
    try:
        assert dying.stdout.readline().strip() == "[0, 1]"
        heir = Member(address, name, [name])
        until("both have one", lambda: heir.poll() or len(heir.owned) == 1)
    finally:
        dying.kill()
        dying.wait(10)
        dying.stdout.close()
    settle([heir], partitions_of(name, 2))
    heir.close()


def test_a_commit_of_a_group_that_has_members_needs_one(address, name):
    make_topic(address, name, 1)
    member = Member(address, name, [name])
    settle([member], partitions_of(name, 1))
    stranger = consumer(address, name)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        stranger.commit(offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
    member.close()
