"""Just enough of Kafka's protocol to see what a client has really stored."""

import socket
import struct

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HEADER_BYTES = 61
FETCH, FETCH_VERSION = 1, 4


class Batch:
    """The header of a record batch, version 2."""

    def __init__(self, data):
        (self.base_offset, self.length, self.leader_epoch, self.magic, self.crc, self.attributes, self.last_delta,
         self.base_timestamp, self.max_timestamp, self.producer_id, self.producer_epoch, self.base_sequence,
         self.count) = struct.unpack_from(">qiibIhiqqqhii", data)
        self.codec = CODECS[self.attributes & 7]


def batches(address, topic, partition, offset=0):
    """Every batch of the partition from the one that holds ``offset``, by raw fetches."""
    host, port = address.rsplit(":", 1)
    found = []
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        while True:
            error, high_watermark, records = fetch(connection, topic, partition, offset)
            assert error == 0, f"fetch of {topic}-{partition} from {offset}: error {error}"
            for batch in split(records):
                found.append(batch)
                offset = batch.base_offset + batch.last_delta + 1
            if offset >= high_watermark:
                return found
            assert records, f"nothing at {offset}, and the high watermark is {high_watermark}"


def codecs(address, topic, partition=0):
    """The set of codecs of the stored batches."""
    return {batch.codec for batch in batches(address, topic, partition)}


def split(records):
    at = 0
    while at + HEADER_BYTES <= len(records):
        batch = Batch(records[at:])
        if at + 12 + batch.length > len(records):
            return
        yield batch
        at += 12 + batch.length


def fetch(connection, topic, partition, offset):
    name = topic.encode()
    body = struct.pack(">iiiibi", -1, 500, 1, 50 << 20, 0, 1)
    body += struct.pack(">h", len(name)) + name + struct.pack(">iiqi", 1, partition, offset, 8 << 20)
    header = struct.pack(">hhih", FETCH, FETCH_VERSION, 1, 4) + b"wire"
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    answer = exactly(connection, struct.unpack(">i", exactly(connection, 4))[0])
    at = 4 + 4 + 4 + 2 + len(name) + 4
    _, error, high_watermark, _, aborted = struct.unpack_from(">ihqqi", answer, at)
    at += 26 + 16 * max(aborted, 0)
    (size,) = struct.unpack_from(">i", answer, at)
    return error, high_watermark, answer[at + 4:at + 4 + max(size, 0)]


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, "the broker closed the connection"
        data += more
    return data
