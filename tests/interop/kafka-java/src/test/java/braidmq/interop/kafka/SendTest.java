package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.ByteUtils;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@DisplayName("What is produced is consumed")
class SendTest extends Story {
    private static final int BATCH_HEADER_BYTES = 61;

    @ParameterizedTest(name = "{0}, acks {1}")
    @DisplayName("in every codec and at every level of acknowledgement")
    @CsvSource({"none,0", "none,1", "none,all", "gzip,0", "gzip,1", "gzip,all", "snappy,0", "snappy,1", "snappy,all",
        "lz4,0", "lz4,1", "lz4,all", "zstd,0", "zstd,1", "zstd,all"})
    void codecs(String codec, String acks) throws Exception {
        int count = 500;
        String topic = clients.topic("codec", 1);
        var producer = clients.producer("compression.type", codec, "acks", acks, "enable.idempotence", false,
            "linger.ms", 20, "batch.size", 4_000);
        List<RecordMetadata> answers = clients.send(producer, topic, 0, "value that repeats and repeats", count);
        var expected = acks.equals("0") ? LongStream.generate(() -> -1).limit(count) : LongStream.range(0, count);
        assertEquals(expected.boxed().toList(), answers.stream().map(RecordMetadata::offset).toList());
        var records = clients.read(new TopicPartition(topic, 0), count);
        assertEquals(IntStream.range(0, count).mapToObj(i -> "value that repeats and repeats-" + i).toList(), Clients.values(records));
        assertEquals(LongStream.range(0, count).boxed().toList(), records.stream().map(record -> record.offset()).toList());
    }

    @Test
    @DisplayName("in order, partition by partition, with five requests on their way")
    void order() throws Exception {
        int count = scaled(20_000);
        String topic = clients.topic("order", 3);
        var producer = clients.producer("batch.size", 1_000, "linger.ms", 1, "max.in.flight.requests.per.connection", 5);
        var answers = new ArrayList<Future<RecordMetadata>>();
        for (int i = 0; i < count; i++) {
            answers.add(producer.send(new ProducerRecord<>(topic, i % 3, null, Integer.toString(i).getBytes(UTF_8))));
        }
        producer.flush();
        for (int i = 0; i < count; i++) {
            assertEquals(i / 3, Clients.get(answers.get(i)).offset());
        }
        for (int partition = 0; partition < 3; partition++) {
            int first = partition;
            int here = (count - partition + 2) / 3;
            assertEquals(IntStream.range(0, here).mapToObj(i -> Integer.toString(i * 3 + first)).toList(),
                Clients.values(clients.read(new TopicPartition(topic, partition), here)));
        }
    }

    @Test
    @DisplayName("byte by byte: null and empty keys and values, headers that repeat, are null or binary")
    void content() throws Exception {
        String topic = clients.topic("content", 1);
        byte[] binary = new byte[256];
        IntStream.range(0, 256).forEach(i -> binary[i] = (byte) i);
        long time = System.currentTimeMillis() - 100_000;
        List<Header> headers = List.of(
            new RecordHeader("twice", "first".getBytes(UTF_8)), new RecordHeader("null", (byte[]) null),
            new RecordHeader("twice", "second".getBytes(UTF_8)), new RecordHeader("", new byte[0]),
            new RecordHeader("bin\u00e4r", binary));
        var sent = List.of(
            new ProducerRecord<byte[], byte[]>(topic, 0, time, "k".getBytes(UTF_8), "v".getBytes(UTF_8), headers),
            new ProducerRecord<byte[], byte[]>(topic, 0, time + 1, null, null),
            new ProducerRecord<byte[], byte[]>(topic, 0, time - 5_000, new byte[0], new byte[0]),
            new ProducerRecord<byte[], byte[]>(topic, 0, time + 7, binary, binary),
            new ProducerRecord<byte[], byte[]>(topic, 0, time + 8, "tombstone".getBytes(UTF_8), null, headers));
        for (String codec : List.of("none", "zstd")) {
            var producer = clients.producer("compression.type", codec, "linger.ms", 50);
            sent.forEach(producer::send);
            producer.flush();
        }
        var records = clients.read(new TopicPartition(topic, 0), 2 * sent.size());
        for (int i = 0; i < records.size(); i++) {
            var expected = sent.get(i % sent.size());
            var record = records.get(i);
            assertArrayEquals(expected.key(), record.key(), "key of " + i);
            assertArrayEquals(expected.value(), record.value(), "value of " + i);
            assertEquals(List.of(expected.headers().toArray()), List.of(record.headers().toArray()), "headers of " + i);
            assertEquals(expected.timestamp(), record.timestamp(), "time of " + i);
            assertEquals(TimestampType.CREATE_TIME, record.timestampType());
        }
        assertNull(records.get(0).headers().lastHeader("null").value());
    }

    @Test
    @DisplayName("with the broker's time where the topic says so")
    void logAppendTime() throws Exception {
        String topic = clients.topic("append-time", 1, "message.timestamp.type", "LogAppendTime");
        long before = System.currentTimeMillis();
        var producer = clients.producer("linger.ms", 50, "compression.type", "lz4");
        for (int i = 0; i < 10; i++) {
            producer.send(new ProducerRecord<>(topic, 0, 1_000L + i, null, new byte[] {(byte) i}));
        }
        producer.flush();
        for (var record : clients.read(new TopicPartition(topic, 0), 10)) {
            assertEquals(TimestampType.LOG_APPEND_TIME, record.timestampType());
            assertTrue(record.timestamp() >= before && record.timestamp() <= System.currentTimeMillis(), "the time at which it came");
        }
    }

    @ParameterizedTest(name = "{0} bytes")
    @DisplayName("up to the size that the topic allows, and not one byte more")
    @CsvSource({"10000", "1048588", "2500000"})
    void largest(int bytesMax) throws Exception {
        // The middle one is the default, which the topic doesn't name.
        String topic = bytesMax == 1048588 ? clients.topic("largest", 1) : clients.topic("largest", 1, "max.message.bytes", Integer.toString(bytesMax));
        var producer = clients.producer("max.request.size", 20_000_000, "batch.size", 0);
        byte[] largest = new byte[valueBytes(bytesMax)];
        largest[largest.length - 1] = 7;
        Clients.get(producer.send(new ProducerRecord<>(topic, 0, null, largest)));
        var refused = producer.send(new ProducerRecord<>(topic, 0, null, new byte[largest.length + 1]));
        assertEquals(RecordTooLargeException.class, Clients.failure(refused));
        Clients.get(producer.send(new ProducerRecord<>(topic, 0, null, "next".getBytes(UTF_8))));
        var records = clients.read(new TopicPartition(topic, 0), 2);
        assertEquals(List.of(0L, 1L), records.stream().map(record -> record.offset()).toList());
        assertArrayEquals(largest, records.get(0).value());
        assertEquals("next", new String(records.get(1).value(), UTF_8));
    }

    /** How long the value of a lone record is whose batch has {@code batchBytes}. */
    private static int valueBytes(int batchBytes) {
        for (int value = batchBytes - BATCH_HEADER_BYTES; ; value--) {
            // Attributes, the deltas of time and offset, the length -1 of a null key, no headers.
            int record = 5 + ByteUtils.sizeOfVarint(value) + value;
            if (BATCH_HEADER_BYTES + ByteUtils.sizeOfVarint(record) + record <= batchBytes) {
                return value;
            }
        }
    }

    @Test
    @DisplayName("compressed, though it would be too large if it were not")
    void largerBeforeCompression() throws Exception {
        String topic = clients.topic("shrinks", 1, "max.message.bytes", "10000");
        var producer = clients.producer("compression.type", "gzip", "max.request.size", 2_000_000);
        Clients.get(producer.send(new ProducerRecord<>(topic, 0, null, new byte[500_000])));
        assertEquals(500_000, clients.read(new TopicPartition(topic, 0), 1).get(0).value().length);
    }

    @Test
    @DisplayName("in a topic that nobody made, if the client allows it")
    void autoCreated() throws Exception {
        String topic = clients.name("made-by-sending");
        Clients.get(clients.producer().send(new ProducerRecord<>(topic, "first".getBytes(UTF_8))));
        assertEquals(List.of("first"), Clients.values(clients.read(new TopicPartition(topic, 0), 1)));
        String unmade = clients.name("never-made");
        var consumer = clients.consumer(null, "allow.auto.create.topics", false);
        var partitions = consumer.partitionsFor(unmade, Duration.ofSeconds(10));
        assertTrue(partitions == null || partitions.isEmpty(), "the client of 2.8 says null, later ones say none");
        assertEquals(false, Clients.get(clients.admin().listTopics().names()).contains(unmade));
    }
}
