package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InconsistentGroupProtocolException;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A group")
class GroupTest extends Story {
    private static Set<String> labelled(String label, int count) {
        return IntStream.range(0, count).mapToObj(i -> label + "-" + i).collect(Collectors.toCollection(TreeSet::new));
    }

    private static Set<String> pollAll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        return new TreeSet<>(KafkaClients.values(KafkaClients.poll(consumer, count)));
    }

    private DefaultMQPushConsumer push(String group, String topic, Inbox inbox) throws Exception {
        var consumer = rocketmq.consumer(group, topic, "*");
        consumer.registerMessageListener(inbox.listener());
        consumer.start();
        return consumer;
    }

    @Test
    @DisplayName("that consumed through RocketMQ goes on through Kafka")
    void toKafka() throws Exception {
        String topic = topic("to-kafka", 2);
        String group = Names.unique("to-kafka");
        kafka.send(topic, 0, "early-k", 20);
        rocketmq.send(topic, 1, "early-r", 20);
        var inbox = new Inbox();
        var push = push(group, topic, inbox);
        inbox.awaitSize(40);
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0);
        push.shutdown();
        kafka.send(topic, 0, "late-k", 10);
        rocketmq.send(topic, 1, "late-r", 10);

        var consumer = kafka.consumer(group);
        consumer.subscribe(List.of(topic));
        var expected = new TreeSet<>(labelled("late-k", 10));
        expected.addAll(labelled("late-r", 10));
        assertEquals(expected, pollAll(consumer, 20));
        consumer.commitSync();
        assertEquals(0, rocketmq.lag(group, topic));
    }

    @Test
    @DisplayName("that consumed through Kafka goes on through RocketMQ, from the middle of a batch")
    void toRocketmq() throws Exception {
        String topic = topic("to-rocketmq", 1);
        String group = Names.unique("to-rocketmq");
        kafka.send(topic, 0, "value", 20);
        var partition = new TopicPartition(topic, 0);
        var consumer = kafka.consumer(group);
        consumer.subscribe(List.of(topic));
        assertEquals(20, pollAll(consumer, 20).size());
        consumer.commitSync(Map.of(partition, new OffsetAndMetadata(13, "a note")));
        assertEquals(7, rocketmq.lag(group, topic));
        consumer.close();

        var inbox = new Inbox();
        push(group, topic, inbox);
        var expected = new TreeSet<>(labelled("value", 20));
        expected.removeAll(labelled("value", 13));
        inbox.awaitAll(expected);
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0);
        assertEquals(expected, new TreeSet<>(inbox.bodies()));
        var committed = KafkaClients.get(kafka.admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).get(partition);
        assertEquals(20, committed.offset());
        assertEquals("", committed.metadata(), "RocketMQ's commit has no note");
    }

    @Test
    @DisplayName("with a live Kafka member doesn't take a RocketMQ consumer, until the member has left")
    void kafkaFirst() throws Exception {
        String topic = topic("kafka-first", 1);
        String group = Names.unique("kafka-first");
        var consumer = kafka.consumer(group);
        consumer.subscribe(List.of(topic));
        Await.until("it is a member", PATIENCE, () -> {
            consumer.poll(Duration.ofMillis(100));
            return consumer.assignment().size() == 1;
        });
        var inbox = new Inbox();
        push(group, topic, inbox);
        kafka.send(topic, 0, "value", 10);
        var got = new HashSet<String>();
        // The RocketMQ client asks every second which queues are its own: it has asked several times by then.
        long until = System.nanoTime() + Duration.ofSeconds(4).toNanos();
        while (System.nanoTime() < until || got.size() < 10) {
            consumer.poll(Duration.ofMillis(100)).forEach(record -> got.add(new String(record.value(), UTF_8)));
            consumer.commitSync();
        }
        assertEquals(labelled("value", 10), new TreeSet<>(got));
        assertEquals(0, inbox.size(), "the second comer gets nothing");
        consumer.close();
        kafka.send(topic, 0, "later", 5);
        inbox.awaitAll(labelled("later", 5));
        assertEquals(labelled("later", 5), new TreeSet<>(inbox.bodies()));
    }

    @Test
    @DisplayName("with a live RocketMQ consumer doesn't take a Kafka member, until the consumer is gone")
    void rocketmqFirst() throws Exception {
        String topic = topic("rocketmq-first", 1);
        String group = Names.unique("rocketmq-first");
        kafka.send(topic, 0, "early", 3);
        var inbox = new Inbox();
        var push = push(group, topic, inbox);
        inbox.awaitAll(labelled("early", 3));
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0);

        var refused = kafka.consumer(group);
        refused.subscribe(List.of(topic));
        var refusal = assertThrows(KafkaException.class, () -> pollFor(refused));
        assertInstanceOf(InconsistentGroupProtocolException.class, refusal);
        var partition = new TopicPartition(topic, 0);
        var outsider = kafka.consumer(group);
        outsider.assign(List.of(partition));
        assertThrows(CommitFailedException.class, () -> outsider.commitSync(Map.of(partition, new OffsetAndMetadata(0))));
        kafka.send(topic, 0, "still", 2);
        inbox.awaitAll(labelled("still", 2));
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0);

        push.shutdown();
        kafka.send(topic, 0, "after", 4);
        var admitted = kafka.consumer(group);
        admitted.subscribe(List.of(topic));
        assertEquals(labelled("after", 4), pollAll(admitted, 4));
        assertTrue(KafkaClients.get(kafka.admin().describeConsumerGroups(List.of(group)).all()).get(group).members().size() == 1);
    }

    private static void pollFor(KafkaConsumer<?, ?> consumer) {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(200));
        }
    }

    @Test
    @DisplayName("is seen by both administrations")
    void administered() throws Exception {
        String topic = topic("seen", 1);
        String group = Names.unique("seen");
        kafka.send(topic, 0, "value", 10);
        var inbox = new Inbox();
        push(group, topic, inbox);
        inbox.awaitSize(10);
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0);
        assertTrue(KafkaClients.get(kafka.admin().listGroups().all()).stream().anyMatch(listed -> listed.groupId().equals(group)));
        assertEquals(10, KafkaClients.get(kafka.admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
            .get(new TopicPartition(topic, 0)).offset());
    }
}
