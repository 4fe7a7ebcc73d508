"""kcat 1.7 with librdkafka 2.0.2, as Debian 12 has it: an old client that decides by the advertised versions what it may do."""

import json
import os
import shutil
import subprocess

import pytest

import wire
from wait import until

KCAT = os.environ.get("KCAT") or shutil.which("kcat") or shutil.which("kafkacat")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SECONDS_MAX = 60


def kcat(address, *arguments, given=None):
    """Runs kcat to its end and returns what it printed."""
    command = [KCAT, "-b", address, *arguments]
    ended = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS_MAX)
    assert ended.returncode == 0, f"{command}: {ended.stderr.decode()}"
    return ended.stdout.decode()


def produce(address, topic, lines, *arguments):
    kcat(address, "-P", "-t", topic, "-p", "0", *arguments, given="".join(f"{line}\n" for line in lines).encode())


def test_metadata(address, name):
    produce(address, name, ["x"])
    found = json.loads(kcat(address, "-L", "-J", "-t", name))
    assert [broker["name"] for broker in found["brokers"]] == [address]
    (topic,) = found["topics"]
    assert topic["topic"] == name
    assert [(p["partition"], p["leader"]) for p in topic["partitions"]] == [(0, found["brokers"][0]["id"])]
    everything = json.loads(kcat(address, "-L", "-J"))
    assert name in {topic["topic"] for topic in everything["topics"]}


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_really_stored(address, name, codec, acks):
    """librdkafka before 2.11 sends uncompressed, without a word, where Produce's lowest version is above 0."""
    lines = [f"{number:05} " + "abcdefgh" * 20 for number in range(200)]
    produce(address, name, lines, "-z", codec, "-X", f"acks={acks}", "-X", "linger.ms=50")
    found = kcat(address, "-C", "-t", name, "-p", "0", "-o", "beginning", "-c", str(len(lines)), "-q")
    assert found.splitlines() == lines
    assert wire.codecs(address, name) == {codec}


def test_keys_headers_nulls_and_times(address, name):
    kcat(address, "-P", "-t", name, "-p", "0", "-K", ":", "-Z", "-H", "a=1", "-H", "a=2", "-H", "b=", given=b"k1:v1\nk2:\n:v3\n")
    form = r"%o|%K|%k|%S|%s|%h|%T\n"
    found = kcat(address, "-C", "-t", name, "-p", "0", "-o", "beginning", "-e", "-q", "-f", form).splitlines()
    fields = [line.split("|") for line in found]
    assert [(f[0], f[2], f[3], f[4]) for f in fields] == [("0", "k1", "2", "v1"), ("1", "k2", "-1", ""), ("2", "", "2", "v3")]
    assert fields[2][1] == "-1"
    assert {f[5] for f in fields} == {"a=1,a=2,b="}
    assert all(int(f[6]) > 1_600_000_000_000 for f in fields)


def test_read_from_anywhere(address, name):
    produce(address, name, map(str, range(100)), "-z", "lz4")

    def read(*where):
        return [int(line) for line in kcat(address, "-C", "-t", name, "-p", "0", *where, "-e", "-q").split()]

    assert read("-o", "0") == list(range(100))
    assert read("-o", "57") == list(range(57, 100))
    assert read("-o", "-5") == list(range(95, 100))
    assert read("-o", "beginning", "-c", "3") == [0, 1, 2]
    assert read("-o", "end") == []


def test_a_group_shares_and_goes_on(address, name):
    produce(address, name, map(str, range(50)))
    options = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "-e", "-q"]
    assert [int(line) for line in kcat(address, "-G", name, *options, name).split()] == list(range(50))
    produce(address, name, map(str, range(50, 60)))
    assert [int(line) for line in kcat(address, "-G", name, *options, name).split()] == list(range(50, 60))


def test_an_idempotent_producer(address, name):
    lines = [str(number) for number in range(1000)]
    produce(address, name, lines, "-X", "enable.idempotence=true", "-X", "batch.num.messages=10", "-X", "linger.ms=1")
    assert kcat(address, "-C", "-t", name, "-o", "beginning", "-e", "-q").split() == lines
    batches = wire.batches(address, name, 0)
    assert len({batch.producer_id for batch in batches}) == 1 and batches[0].producer_id >= 0


def test_offsets_by_time(address, name):
    form = ["-C", "-t", name, "-o", "beginning", "-e", "-q", "-f", r"%o %T\n"]
    for line in ("one", "two", "three"):
        produce(address, name, [line])
        before = int(kcat(address, *form).split()[-1])
        # The next one gets a later time.
        until("a millisecond has passed", lambda: int(subprocess.check_output(["date", "+%s%3N"])) > before)
    times = [line.split() for line in kcat(address, *form).splitlines()]
    for offset, time in times:
        assert kcat(address, "-Q", "-t", f"{name}:0:{time}").split() == [name, "[0]", "offset", offset]
    later = str(int(times[-1][1]) + 1)
    assert kcat(address, "-Q", "-t", f"{name}:0:{later}").split()[-1] in ("-1", "3")


def test_an_unknown_topic_is_told(address, name):
    ended = subprocess.run([KCAT, "-b", address, "-C", "-t", name, "-e"], capture_output=True, timeout=SECONDS_MAX)
    assert ended.returncode != 0
    assert b"Unknown topic or partition" in ended.stderr or b"Broker: Unknown" in ended.stderr, ended.stderr
