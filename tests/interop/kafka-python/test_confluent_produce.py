"""confluent-kafka (librdkafka) sends, and what it sent is there: in every codec, at every acks level, in order, once."""

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

import wire
from broker import scaled
from confluent import CODECS, Sender, admin, consumer, known_partitions, make_topic, read_all, take
from proxy import LosingProxy
from wait import until

#: How many messages are not yet reported when the broker is killed, at most.
IN_FLIGHT_AT_A_KILL = 100


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_and_acks_level(address, name, codec, acks):
    make_topic(address, name)
    sender = Sender(address, acks=acks, compression_type=codec)
    values = [f"{number:06} ".encode() * 50 for number in range(500)]
    for number, value in enumerate(values):
        sender.send(name, value, key=str(number).encode())
    reports = sender.flush()
    if acks == 0:
        # No answer says that they are stored.
        reader = consumer(address, name)
        reader.subscribe([name])
        messages = take(reader, len(values))
        reader.close()
    else:
        assert [report.offset() for report in reports] == list(range(len(values)))
        messages = read_all(address, name)[0]
    assert [message.offset() for message in messages] == list(range(len(values)))
    assert [message.value() for message in messages] == values
    assert [message.key() for message in messages] == [str(number).encode() for number in range(len(values))]
    assert wire.codecs(address, name) == {codec}


def test_keys_headers_and_null_values(address, name):
    make_topic(address, name)
    headers = [("a", b"1"), ("a", b"2"), ("b", None), ("", b""), ("bin", bytes(range(256)))]
    sent = [
        (b"key", b"value", None),
        (b"tombstone", None, None),
        (None, b"no key", None),
        (None, None, None),
        (b"", b"", None),
        (bytes(range(256)), bytes(range(255, -1, -1)), headers),
        ("Schlüssel".encode(), "日本語".encode(), [("ключ", "значение".encode())]),
    ]
    sender = Sender(address)
    for key, value, headers in sent:
        sender.send(name, value, key, headers=headers)
    sender.flush()
    found = [(m.key(), m.value(), m.headers()) for m in read_all(address, name)[0]]
    assert found == sent


def test_timestamps_come_back(address, name):
    make_topic(address, name)
    stamps = [1, 1_600_000_000_000, 1_500_000_000_000, 1_700_000_000_123]
    sender = Sender(address)
    for stamp in stamps:
        sender.send(name, b"x", timestamp=stamp)
    sender.flush()
    found = [message.timestamp() for message in read_all(address, name)[0]]
    assert found == [(confluent_kafka.TIMESTAMP_CREATE_TIME, stamp) for stamp in stamps]


def test_the_broker_stamps_where_the_topic_says_so(address, name):
    make_topic(address, name, message_timestamp_type="LogAppendTime")
    sender = Sender(address, compression_type="lz4")
    for _ in range(3):
        sender.send(name, b"x", timestamp=1_000)
    reports = sender.flush()
    messages = read_all(address, name)[0]
    kinds = {message.timestamp()[0] for message in messages}
    assert kinds == {confluent_kafka.TIMESTAMP_LOG_APPEND_TIME}
    assert min(message.timestamp()[1] for message in messages) > 1_700_000_000_000
    assert [report.timestamp()[1] for report in reports] == [message.timestamp()[1] for message in messages]


def test_order_holds_in_each_partition(address, name):
    partitions, each = 8, scaled(5000)
    make_topic(address, name, partitions)
    # Without idempotence a retry may overtake what is in flight.
    sender = Sender(address, compression_type="zstd", linger_ms=1, enable_idempotence=True)
    for number in range(each):
        for partition in range(partitions):
            sender.send(name, f"{partition}/{number}".encode(), partition=partition)
    sender.flush()
    for partition, messages in read_all(address, name, partitions).items():
        assert [message.value() for message in messages] == [f"{partition}/{number}".encode() for number in range(each)]
        assert [message.offset() for message in messages] == list(range(each))


def test_one_large_message_between_small_ones(address, name):
    make_topic(address, name)
    values = [b"small", bytes(900_000), b"small again", b"\xff" * 1_000_000, b"end"]
    sender = Sender(address, message_max_bytes=1_048_000)
    for value in values:
        sender.send(name, value)
    sender.flush()
    assert [message.value() for message in read_all(address, name)[0]] == values


def test_answers_that_are_lost_duplicate_nothing(address, name):
    """An idempotent producer asks again for what the broker has done already, again and again."""
    make_topic(address, name, 2)
    proxy = LosingProxy(address, lose_every=5)
    count = scaled(10_000)
    sender = Sender(proxy.address, enable_idempotence=True, linger_ms=1, batch_num_messages=20,
                    reconnect_backoff_ms=1, reconnect_backoff_max_ms=10, retry_backoff_ms=1)
    for number in range(count):
        sender.send(name, str(number).encode(), partition=number % 2)
    sender.flush(60)
    proxy.close()
    assert proxy.lost > 10, f"only {proxy.lost} answers were lost"
    for partition, messages in read_all(address, name, 2).items():
        assert [int(message.value()) for message in messages] == list(range(partition, count, 2))
    stored = {(message.partition(), message.value()): message.offset()
              for messages in read_all(address, name, 2).values() for message in messages}
    # librdkafka knows no offset for what was reported as a duplicate; where it names one, it is the true one.
    for report in sender.delivered:
        if report.offset() >= 0:
            assert stored[report.partition(), report.value()] == report.offset()


def test_kills_lose_and_duplicate_nothing(own_broker, name):
    kills, between = scaled(10), 400
    make_topic(own_broker.address, name)
    sender = Sender(own_broker.address, enable_idempotence=True, linger_ms=1, batch_num_messages=10,
                    reconnect_backoff_ms=1, reconnect_backoff_max_ms=50, retry_backoff_ms=1)
    sent = 0
    for kill in range(1, kills + 1):
        goal = len(sender.delivered) + between
        while len(sender.delivered) < goal:
            if sent < goal + IN_FLIGHT_AT_A_KILL:
                sender.send(name, str(sent).encode())
                sent += 1
            sender.producer.poll(0 if sent < goal else 0.01)
        own_broker.kill()
        own_broker.start()
    sender.flush(60)
    messages = read_all(own_broker.address, name)[0]
    assert [int(message.value()) for message in messages] == list(range(sent))


def test_a_message_above_the_topics_limit_is_refused(address, name):
    make_topic(address, name, max_message_bytes=2000)
    sender = Sender(address)
    sender.send(name, b"x" * 5000)
    sender.producer.flush(30)
    assert [error.code() for error in sender.failed] == [KafkaError.MSG_SIZE_TOO_LARGE]
    sender.failed.clear()
    sender.send(name, b"x" * 1000)
    assert [report.offset() for report in sender.flush()] == [0]


def test_a_topic_is_made_by_writing_to_it(address, name):
    sender = Sender(address)
    sender.producer.produce(name, b"first", on_delivery=sender.report)
    assert [report.offset() for report in sender.flush()] == [0]
    assert known_partitions(admin(address), name) >= 1


def test_a_consumer_makes_no_topic(address, name):
    reader = consumer(address, name)
    reader.subscribe([name])
    error = until("the consumer is told", lambda: (message := reader.poll(0.2)) and message.error())
    reader.close()
    assert error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_an_unknown_partition_is_refused(address, name):
    make_topic(address, name, 2)
    sender = Sender(address)
    # Whether the call or the report says it depends on when the client learned how many there are.
    try:
        sender.send(name, b"x", partition=7)
        sender.producer.flush(30)
        error = sender.failed[0]
    except confluent_kafka.KafkaException as refused:
        error = refused.args[0]
    assert error.code() == KafkaError._UNKNOWN_PARTITION
