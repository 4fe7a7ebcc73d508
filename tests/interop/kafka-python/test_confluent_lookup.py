"""Where things are, as confluent-kafka (librdkafka) asks for it: by time, at the ends, by seeking; lag is exact."""

import confluent_kafka
import pytest
from confluent_kafka import OFFSET_END, TopicPartition

from confluent import Member, Sender, admin, consumer, make_topic, settle, take
from wait import until

#: Time of the first message, and the step to the next.
BEGIN_MS, STEP_MS = 1_700_000_000_000, 10


@pytest.fixture
def timed(address, name):
    """A topic whose 1000 messages lie in a few large batches, a step apart."""
    make_topic(address, name)
    sender = Sender(address, compression_type="gzip", linger_ms=200, batch_num_messages=300)
    for number in range(1000):
        sender.send(name, str(number).encode(), timestamp=BEGIN_MS + number * STEP_MS)
    sender.flush()
    return name


@pytest.mark.parametrize("time_ms, offset", [
    (0, 0),
    (BEGIN_MS, 0),
    (BEGIN_MS + 1, 1),
    (BEGIN_MS + 123 * STEP_MS, 123),
    (BEGIN_MS + 567 * STEP_MS - 3, 567),
    (BEGIN_MS + 999 * STEP_MS, 999),
    (BEGIN_MS + 999 * STEP_MS + 1, OFFSET_END),
])
def test_by_time(address, timed, time_ms, offset):
    found = consumer(address, timed).offsets_for_times([TopicPartition(timed, 0, time_ms)], timeout=10)
    assert [partition.offset for partition in found] == [offset]


def test_read_from_a_time(address, timed):
    reader = consumer(address, timed)
    begin = reader.offsets_for_times([TopicPartition(timed, 0, BEGIN_MS + 700 * STEP_MS)], timeout=10)
    reader.assign(begin)
    assert [int(message.value()) for message in take(reader, 300)] == list(range(700, 1000))
    reader.close()


def test_seek_back_and_forth(address, timed):
    reader = consumer(address, timed)
    reader.assign([TopicPartition(timed, 0, 0)])
    take(reader, 1)
    for offset in (999, 0, 500, 499, 501):
        reader.seek(TopicPartition(timed, 0, offset))
        assert take(reader, 1)[0].offset() == offset
    reader.close()


def test_watermarks_and_lag_are_exact(address, name):
    make_topic(address, name, 2)
    sender = Sender(address)
    for number in range(90):
        sender.send(name, b"x", partition=number % 3 // 2)
    sender.flush()
    reader = consumer(address, name)
    ends = [reader.get_watermark_offsets(TopicPartition(name, partition), timeout=10) for partition in range(2)]
    assert ends == [(0, 60), (0, 30)]
    reader.assign([TopicPartition(name, 0, 0)])
    taken = take(reader, 17)
    reader.commit(message=taken[-1], asynchronous=False)
    committed = reader.committed([TopicPartition(name, 0)], timeout=10)[0].offset
    assert ends[0][1] - committed == 43
    # What a fetch brings along agrees with what was asked for.
    until("the fetch has told the end", lambda: reader.poll(0.05) and
          reader.get_watermark_offsets(TopicPartition(name, 0), cached=True)[1] == 60)
    reader.close()


def test_an_offset_that_is_not_there_is_reset(address, timed):
    reader = consumer(address, timed, auto_offset_reset="earliest")
    reader.assign([TopicPartition(timed, 0, 5000)])
    assert take(reader, 1)[0].offset() == 0
    reader.close()


def test_an_offset_that_is_not_there_is_an_error_where_asked_for(address, timed):
    reader = consumer(address, timed, auto_offset_reset="error")
    reader.assign([TopicPartition(timed, 0, 5000)])
    error = until("the consumer is told", lambda: (message := reader.poll(0.2)) and message.error())
    assert error.code() == confluent_kafka.KafkaError._AUTO_OFFSET_RESET
    reader.close()


def test_the_end_of_a_partition_is_told(address, timed):
    reader = consumer(address, timed, enable_partition_eof=True)
    reader.assign([TopicPartition(timed, 0, 998)])
    seen = []
    until("the end is told", lambda: (message := reader.poll(0.2)) and (
        seen.append((message.offset(), bool(message.error()))) or message.error()))
    assert seen == [(998, False), (999, False), (1000, True)]
    reader.close()


def test_group_lag_by_a_stranger(address, timed):
    member = Member(address, timed, [timed])
    settle([member], {(timed, 0)})
    until("500 are read", lambda: member.poll() or len(member.taken) >= 500)
    member.client.commit(offsets=[TopicPartition(timed, 0, 500)], asynchronous=False)
    stranger = consumer(address, timed)
    committed = stranger.committed([TopicPartition(timed, 0)], timeout=10)[0].offset
    high = stranger.get_watermark_offsets(TopicPartition(timed, 0), timeout=10)[1]
    assert (committed, high) == (500, 1000)
    member.close()


@pytest.mark.skipif(not hasattr(confluent_kafka.admin.AdminClient, "list_offsets"), reason="this client has no list_offsets")
def test_list_offsets(address, timed):
    from confluent_kafka.admin import OffsetSpec

    def ask(spec):
        partition = TopicPartition(timed, 0)
        found = admin(address).list_offsets({partition: spec})[partition].result(10)
        return found.offset, found.timestamp

    assert ask(OffsetSpec.earliest())[0] == 0
    assert ask(OffsetSpec.latest())[0] == 1000
    assert ask(OffsetSpec.max_timestamp()) == (999, BEGIN_MS + 999 * STEP_MS)
    assert ask(OffsetSpec.for_timestamp(BEGIN_MS + 5)) == (1, BEGIN_MS + STEP_MS)
    assert ask(OffsetSpec.for_timestamp(BEGIN_MS + 999 * STEP_MS + 1))[0] == -1
