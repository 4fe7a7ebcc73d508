package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What docs/mapping.md promises, seen by the clients. */
@DisplayName("What one protocol sends, the other reads")
class PairsTest extends Story {
    private static final byte[] BINARY = new byte[256];

    static {
        IntStream.range(0, 256).forEach(i -> BINARY[i] = (byte) i);
    }

    private static Message full(String topic) {
        var message = new Message(topic, "TagA", "first second", BINARY);
        message.putUserProperty("mine", "w\u00e4rt");
        return message;
    }

    @Test
    @DisplayName("RocketMQ to RocketMQ, in a topic that Kafka made")
    void rocketmqToRocketmq() throws Exception {
        String topic = topic("r-r", 2);
        SendResult sent = rocketmq.send(full(topic), 1);
        MessageExt message = rocketmq.read(topic, 1, 1).get(0);
        assertEquals(0, message.getQueueOffset());
        assertEquals(sent.getMsgId(), message.getMsgId());
        assertEquals("TagA", message.getTags());
        assertEquals("first second", message.getKeys());
        assertEquals("w\u00e4rt", message.getUserProperty("mine"));
        assertArrayEquals(BINARY, message.getBody());
    }

    @Test
    @DisplayName("RocketMQ to Kafka: key, headers, time, offset, the body as it is")
    void rocketmqToKafka() throws Exception {
        String topic = topic("r-k", 2);
        var sent = new ArrayList<SendResult>();
        sent.add(rocketmq.send(full(topic), 1));
        var sharded = new Message(topic, "TagB", "some key", "sharded".getBytes(UTF_8));
        sharded.putUserProperty(MessageConst.PROPERTY_SHARDING_KEY, "shard");
        sent.add(rocketmq.send(sharded, 1));
        sent.add(rocketmq.send(new Message(topic, "plain".getBytes(UTF_8)), 1));
        var tombstone = new Message(topic, null, "dead", "not shown".getBytes(UTF_8));
        tombstone.putUserProperty("kafka.tombstone", "true");
        sent.add(rocketmq.send(tombstone, 1));
        // The client compresses what is above 4 KiB.
        byte[] large = "compressible ".repeat(2_000).getBytes(UTF_8);
        sent.add(rocketmq.send(new Message(topic, large), 1));

        List<ConsumerRecord<byte[], byte[]>> records = kafka.read(topic, 1, 5);
        List<MessageExt> messages = rocketmq.read(topic, 1, 5);
        for (int i = 0; i < 5; i++) {
            assertEquals(sent.get(i).getQueueOffset(), records.get(i).offset());
            assertEquals(sent.get(i).getMsgId(), KafkaClients.header(records.get(i), "rmq.UNIQ_KEY"));
            assertEquals(messages.get(i).getBornTimestamp(), records.get(i).timestamp());
            assertEquals(TimestampType.CREATE_TIME, records.get(i).timestampType());
        }
        assertEquals("first", new String(records.get(0).key(), UTF_8));
        assertEquals("first second", KafkaClients.header(records.get(0), "rmq.KEYS"));
        assertEquals("TagA", KafkaClients.header(records.get(0), "rmq.TAGS"));
        assertEquals("w\u00e4rt", KafkaClients.header(records.get(0), "mine"));
        assertArrayEquals(BINARY, records.get(0).value());
        assertEquals("shard", new String(records.get(1).key(), UTF_8));
        assertNull(records.get(2).key());
        assertNull(records.get(3).value());
        assertEquals("dead", new String(records.get(3).key(), UTF_8));
        assertArrayEquals(large, records.get(4).value());
        for (var record : records) {
            record.headers().forEach(header -> assertTrue(!header.key().startsWith("__BRAID") && !header.key().contains("CRC32"), header.key()));
        }
        var again = kafka.read(topic, 1, 5);
        for (int i = 0; i < 5; i++) {
            assertEquals(records.get(i).headers(), again.get(i).headers(), "the same at every read");
        }
    }

    @ParameterizedTest(name = "{0}")
    @DisplayName("Kafka to RocketMQ: one message for each record of a batch")
    @ValueSource(strings = {"none", "gzip", "snappy", "lz4", "zstd"})
    void kafkaToRocketmq(String codec) throws Exception {
        String topic = topic("k-r", 2);
        long time = System.currentTimeMillis() - 5_000;
        List<Header> headers = List.of(new RecordHeader("plain", "text \u4e2d".getBytes(UTF_8)), new RecordHeader("twice", "one".getBytes(UTF_8)),
            new RecordHeader("twice", "two".getBytes(UTF_8)), new RecordHeader("binary", BINARY), new RecordHeader("null", (byte[]) null),
            new RecordHeader("empty", new byte[0]), new RecordHeader("rmq.TAGS", "TagK".getBytes(UTF_8)), new RecordHeader("TAGS", "mine".getBytes(UTF_8)));
        var sent = kafka.sendTogether(codec, List.of(
            new ProducerRecord<>(topic, 1, time, "key".getBytes(UTF_8), BINARY, headers),
            new ProducerRecord<>(topic, 1, time + 1, "two words".getBytes(UTF_8), "value".getBytes(UTF_8)),
            new ProducerRecord<byte[], byte[]>(topic, 1, time + 2, "tombstone".getBytes(UTF_8), (byte[]) null),
            new ProducerRecord<>(topic, 1, time + 3, null, new byte[0]),
            new ProducerRecord<>(topic, 1, time + 4, BINARY, "last".getBytes(UTF_8))));
        List<MessageExt> messages = rocketmq.read(topic, 1, 5);
        assertEquals(5, messages.size());
        for (int i = 0; i < 5; i++) {
            assertEquals(sent.get(i).offset(), messages.get(i).getQueueOffset());
            assertEquals(1, messages.get(i).getQueueId());
            assertEquals(time + i, messages.get(i).getBornTimestamp());
            assertEquals(topic, messages.get(i).getTopic());
            assertEquals(0, messages.get(i).getReconsumeTimes());
            assertTrue(messages.get(i).getMsgId().matches("[0-9A-F]{8}4B42[0-9A-F]{20}"), messages.get(i).getMsgId());
        }
        assertEquals(5, messages.stream().map(MessageExt::getMsgId).distinct().count());
        MessageExt first = messages.get(0);
        assertArrayEquals(BINARY, first.getBody());
        assertEquals("key", first.getKeys());
        assertEquals("TagK", first.getTags());
        assertEquals("text \u4e2d", first.getUserProperty("plain"));
        assertEquals("one", first.getUserProperty("twice"));
        assertEquals(Base64.getEncoder().encodeToString(BINARY), first.getUserProperty("binary;base64"));
        assertEquals("null", first.getUserProperty("null;null"));
        assertEquals("=", first.getUserProperty("empty;base64"));
        assertEquals("mine", first.getUserProperty("kafka.TAGS"));
        assertNull(messages.get(1).getKeys());
        assertEquals(Base64.getEncoder().encodeToString("two words".getBytes(UTF_8)), messages.get(1).getUserProperty("x-kafka-key"));
        assertEquals("true", messages.get(2).getUserProperty("kafka.tombstone"));
        assertNull(messages.get(2).getBody(), "how RocketMQ's client shows an empty body");
        assertNull(messages.get(3).getUserProperty("kafka.tombstone"));
        assertNull(messages.get(3).getBody());
        assertEquals("last", RocketClients.body(messages.get(4)));

        // A pull may begin in the middle of a batch, and ends where it was told to.
        var middle = rocketmq.pull(topic, 1, 1, 2);
        assertEquals(PullStatus.FOUND, middle.getPullStatus());
        assertEquals(List.of(1L, 2L), middle.getMsgFoundList().stream().map(MessageExt::getQueueOffset).toList());
        assertEquals(3, middle.getNextBeginOffset());
        assertEquals(messages.get(1).getMsgId(), middle.getMsgFoundList().get(0).getMsgId());
    }

    @Test
    @DisplayName("Kafka to Kafka, in a topic that RocketMQ made")
    void kafkaToKafka() throws Exception {
        String topic = Names.unique("k-k");
        rocketmq.admin().createAndUpdateTopicConfig(rocketmq.address(), new org.apache.rocketmq.common.TopicConfig(topic, 3, 3, 6));
        rocketmq.awaitRoute(topic);
        assertEquals(3, KafkaClients.get(kafka.admin().describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size());
        kafka.sendTogether("zstd", List.of(new ProducerRecord<>(topic, 2, "k".getBytes(UTF_8), BINARY), new ProducerRecord<byte[], byte[]>(topic, 2, null, null)));
        var records = kafka.read(topic, 2, 2);
        assertArrayEquals(BINARY, records.get(0).value());
        assertNull(records.get(1).value());
        assertEquals(List.of(0L, 1L), records.stream().map(ConsumerRecord::offset).toList());
    }

    @Test
    @DisplayName("in one queue in turn, and both see the same at the same offsets")
    void mixed() throws Exception {
        String topic = topic("mixed", 1);
        var expected = new ArrayList<String>();
        for (int round = 0; round < 6; round++) {
            kafka.send(topic, 0, "kafka" + round, 7);
            rocketmq.send(topic, 0, "rocketmq" + round, 5);
            for (int i = 0; i < 7; i++) {
                expected.add("kafka" + round + "-" + i);
            }
            for (int i = 0; i < 5; i++) {
                expected.add("rocketmq" + round + "-" + i);
            }
        }
        var records = kafka.read(topic, 0, expected.size());
        var messages = rocketmq.read(topic, 0, expected.size());
        assertEquals(expected, KafkaClients.values(records));
        assertEquals(expected, RocketClients.bodies(messages));
        List<Long> offsets = LongStream.range(0, expected.size()).boxed().toList();
        assertEquals(offsets, records.stream().map(ConsumerRecord::offset).toList());
        assertEquals(offsets, messages.stream().map(MessageExt::getQueueOffset).toList());
        var consumer = kafka.consumer(null);
        var partition = new TopicPartition(topic, 0);
        consumer.assign(List.of(partition));
        for (int from : new int[] {3, 7, 9, 12, 40, 71}) {
            consumer.seek(partition, from);
            assertEquals(expected.subList(from, expected.size()), KafkaClients.values(KafkaClients.poll(consumer, expected.size() - from)));
            assertEquals(expected.get(from), RocketClients.body(rocketmq.pull(topic, 0, from, 1).getMsgFoundList().get(0)));
        }
    }

    @Test
    @DisplayName("thousands of them, each at its offset")
    void many() throws Exception {
        int count = (int) (20_000 * SCALE);
        String topic = topic("many", 1);
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < count; i++) {
            records.add(new ProducerRecord<>(topic, 0, ("key-" + i).getBytes(UTF_8), ("value-" + i).getBytes(UTF_8)));
        }
        kafka.sendTogether("lz4", records);
        int batch = 1_000;
        for (int i = 0; i < count; i += batch) {
            var messages = new ArrayList<Message>();
            for (int k = i; k < i + batch; k++) {
                messages.add(new Message(topic, null, "key-" + k, ("value-" + k).getBytes(UTF_8)));
            }
            rocketmq.producer().send(messages, rocketmq.queue(topic, 0), 10_000);
        }
        var read = kafka.read(topic, 0, 2 * count);
        var messages = rocketmq.read(topic, 0, 2 * count);
        for (int i = 0; i < 2 * count; i++) {
            assertEquals(i, read.get(i).offset());
            assertEquals("value-" + i % count, new String(read.get(i).value(), UTF_8));
            assertEquals("key-" + i % count, new String(read.get(i).key(), UTF_8));
            assertEquals(i, messages.get(i).getQueueOffset());
            assertEquals("value-" + i % count, RocketClients.body(messages.get(i)));
            assertEquals("key-" + i % count, messages.get(i).getKeys());
        }
    }

    @Test
    @DisplayName("under the names that each can spell")
    void names() throws Exception {
        String dotted = Names.unique("dot.ted");
        String alias = dotted.replace(".", "%2E");
        kafka.create(dotted, 1);
        rocketmq.awaitRoute(alias);
        kafka.send(dotted, 0, "from-kafka", 1);
        rocketmq.send(alias, 0, "from-rocketmq", 1);
        assertEquals(List.of("from-kafka-0", "from-rocketmq-0"), KafkaClients.values(kafka.read(dotted, 0, 2)));
        assertEquals(List.of("from-kafka-0", "from-rocketmq-0"), RocketClients.bodies(rocketmq.read(alias, 0, 2)));
    }

    @Test
    @DisplayName("until one of them deletes the topic")
    void deleted() throws Exception {
        String topic = topic("deleted", 1);
        kafka.send(topic, 0, "old", 3);
        KafkaClients.get(kafka.admin().deleteTopics(List.of(topic)).all());
        kafka.create(topic, 1);
        rocketmq.awaitRoute(topic);
        rocketmq.send(topic, 0, "new", 1);
        assertEquals(List.of("new-0"), KafkaClients.values(kafka.read(topic, 0, 1)));
        assertEquals(List.of("new-0"), RocketClients.bodies(rocketmq.read(topic, 0, 1)));
    }
}
