package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("A consumer reads")
class FetchTest extends Story {
    private static final long TIME = 1_700_000_000_000L;

    /** One batch of {@code count} records, a second apart. */
    private void sendBatch(String topic, int from, int count, String codec) throws Exception {
        var producer = clients.producer("linger.ms", 10_000, "batch.size", 1_000_000, "compression.type", codec);
        for (int i = from; i < from + count; i++) {
            producer.send(new ProducerRecord<>(topic, 0, TIME + i * 1_000L, null, Integer.toString(i).getBytes(UTF_8)));
        }
        producer.flush();
        producer.close();
    }

    @ParameterizedTest(name = "{0}")
    @DisplayName("from the middle of a batch")
    @ValueSource(strings = {"none", "lz4"})
    void midBatch(String codec) throws Exception {
        String topic = clients.topic("mid-batch", 1);
        var partition = new TopicPartition(topic, 0);
        sendBatch(topic, 0, 100, codec);
        sendBatch(topic, 100, 100, codec);
        var consumer = clients.consumer(null);
        consumer.assign(List.of(partition));
        for (int from : new int[] {0, 1, 57, 99, 100, 101, 199}) {
            consumer.seek(partition, from);
            assertEquals(IntStream.range(from, 200).mapToObj(Integer::toString).toList(), Clients.values(Clients.poll(consumer, 200 - from)));
        }
        consumer.seek(partition, 200);
        assertTrue(consumer.poll(Duration.ofMillis(300)).isEmpty());
        assertEquals(200, consumer.position(partition));
    }

    @ParameterizedTest(name = "{0}")
    @DisplayName("from a time, to the record exactly")
    @ValueSource(strings = {"none", "zstd"})
    void byTime(String codec) throws Exception {
        String topic = clients.topic("by-time", 1);
        var partition = new TopicPartition(topic, 0);
        sendBatch(topic, 0, 50, codec);
        sendBatch(topic, 50, 50, codec);
        var consumer = clients.consumer(null);
        for (int i : new int[] {0, 1, 33, 49, 50, 51, 99}) {
            assertEquals(i, at(consumer, partition, TIME + i * 1_000L).offset());
            assertEquals(TIME + i * 1_000L, at(consumer, partition, TIME + i * 1_000L).timestamp());
            assertEquals(i, at(consumer, partition, TIME + i * 1_000L - 999).offset(), "the next one after a time between two");
        }
        assertEquals(0, at(consumer, partition, 0).offset());
        assertNull(at(consumer, partition, TIME + 99_001));
        consumer.assign(List.of(partition));
        consumer.seek(partition, at(consumer, partition, TIME + 73_000).offset());
        assertEquals("73", Clients.values(Clients.poll(consumer, 1)).get(0));
    }

    private static OffsetAndTimestamp at(org.apache.kafka.clients.consumer.KafkaConsumer<?, ?> consumer, TopicPartition partition, long time) {
        return consumer.offsetsForTimes(Map.of(partition, time)).get(partition);
    }

    @Test
    @DisplayName("a batch that is larger than all its limits")
    void largerThanLimits() throws Exception {
        String topic = clients.topic("limits", 1);
        var partition = new TopicPartition(topic, 0);
        var producer = clients.producer("batch.size", 200_000, "linger.ms", 10_000);
        for (int i = 0; i < 300; i++) {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[1_000]));
        }
        producer.flush();
        var consumer = clients.consumer(null, "max.partition.fetch.bytes", 100, "fetch.max.bytes", 200, "max.poll.records", 7);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        var records = Clients.poll(consumer, 300);
        assertEquals(IntStream.range(0, 300).mapToObj(Long::valueOf).toList(), records.stream().map(record -> record.offset()).toList());
    }

    @Test
    @DisplayName("many partitions under a small limit, and none of them starves")
    void noneStarves() throws Exception {
        int partitions = 12;
        int each = 40;
        String topic = clients.topic("starve", partitions);
        var producer = clients.producer("batch.size", 1_000, "linger.ms", 5);
        for (int i = 0; i < partitions * each; i++) {
            producer.send(new ProducerRecord<>(topic, i % partitions, null, new byte[900]));
        }
        producer.flush();
        var consumer = clients.consumer(null, "fetch.max.bytes", 4_000, "max.partition.fetch.bytes", 2_000);
        var all = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList();
        consumer.assign(all);
        consumer.seekToBeginning(all);
        var counts = new HashMap<Integer, Integer>();
        Clients.poll(consumer, partitions * each).forEach(record -> counts.merge(record.partition(), 1, Integer::sum));
        assertEquals(partitions, counts.size());
        counts.forEach((partition, count) -> assertEquals(each, count, "partition " + partition));
    }

    @Test
    @DisplayName("at once what comes while it waits")
    void longPoll() throws Exception {
        String topic = clients.topic("long-poll", 1);
        var partition = new TopicPartition(topic, 0);
        var consumer = clients.consumer(null, "fetch.max.wait.ms", 20_000, "request.timeout.ms", 40_000);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        assertTrue(consumer.poll(Duration.ofMillis(300)).isEmpty(), "now its fetch is parked");
        long begun = System.nanoTime();
        clients.send(clients.producer(), topic, 0, "wakes", 1);
        assertEquals(List.of("wakes-0"), Clients.values(Clients.poll(consumer, 1)));
        assertTrue(System.nanoTime() - begun < Duration.ofSeconds(10).toNanos(), "long before the fetch would have ended by itself");
    }

    @Test
    @DisplayName("from where its reset says when it has no offset or a wrong one")
    void resets() throws Exception {
        String topic = clients.topic("resets", 1);
        var partition = new TopicPartition(topic, 0);
        clients.send(clients.producer(), topic, 0, "early", 10);

        var earliest = clients.consumer(clients.name("earliest"), "auto.offset.reset", "earliest");
        earliest.assign(List.of(partition));
        assertEquals("early-0", Clients.values(Clients.poll(earliest, 1)).get(0));
        earliest.seek(partition, 1_000);
        assertEquals("early-0", Clients.values(Clients.poll(earliest, 1)).get(0));

        var latest = clients.consumer(clients.name("latest"), "auto.offset.reset", "latest");
        latest.assign(List.of(partition));
        assertEquals(10, latest.position(partition));
        clients.send(clients.producer(), topic, 0, "late", 1);
        assertEquals(List.of("late-0"), Clients.values(Clients.poll(latest, 1)));

        var none = clients.consumer(clients.name("none"), "auto.offset.reset", "none");
        none.assign(List.of(partition));
        assertThrows(NoOffsetForPartitionException.class, () -> none.poll(Duration.ofSeconds(10)));
        none.seek(partition, 1_000);
        var refused = assertThrows(OffsetOutOfRangeException.class, () -> pollFor(none));
        assertEquals(Map.of(partition, 1_000L), refused.offsetOutOfRangePartitions());
    }

    private static void pollFor(org.apache.kafka.clients.consumer.KafkaConsumer<?, ?> consumer) {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(200));
        }
    }

    @Test
    @DisplayName("with read_committed what it reads without, where nobody has transactions")
    void readCommitted() throws Exception {
        String topic = clients.topic("committed", 1);
        var partition = new TopicPartition(topic, 0);
        clients.send(clients.producer(), topic, 0, "plain", 20);
        var consumer = clients.consumer(null, "isolation.level", "read_committed");
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        assertEquals(20, Clients.poll(consumer, 20).size());
        assertEquals(Map.of(partition, 20L), consumer.endOffsets(List.of(partition)));
    }
}
