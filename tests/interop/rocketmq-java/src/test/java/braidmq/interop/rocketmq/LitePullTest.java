package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A lite pull consumer")
class LitePullTest extends Story {

    @Test
    @DisplayName("seeks to an offset, to the begin and to the end")
    void seekByOffset() throws Exception {
        String topic = clients.topic("seek", 1);
        var producer = clients.producer();
        send(producer, topic, 0, 50);
        var consumer = clients.litePullConsumer(clients.name("seeker"));
        MessageQueue queue = assignOnlyQueue(consumer, topic);

        consumer.seek(queue, 30);
        assertEquals(names(30, 50), poll(consumer, 20));
        consumer.seekToBegin(queue);
        assertEquals(names(0, 50), poll(consumer, 50));
        consumer.seekToEnd(queue);
        send(producer, topic, 50, 55);
        assertEquals(names(50, 55), poll(consumer, 5));
    }

    @Test
    @DisplayName("seeks to a time: the first message stored then or later")
    void seekByTime() throws Exception {
        String topic = clients.topic("seek-time", 1);
        var producer = clients.producer();
        send(producer, topic, 0, 20);
        List<MessageExt> early = clients.read(topic, 20);
        long lastEarly = early.get(19).getStoreTimestamp();
        Await.until("the clock has moved on", PATIENCE, () -> System.currentTimeMillis() > lastEarly + 5);
        send(producer, topic, 20, 40);
        List<MessageExt> all = clients.read(topic, 40);
        var consumer = clients.litePullConsumer(clients.name("seeker"));
        MessageQueue queue = assignOnlyQueue(consumer, topic);

        assertEquals(20, consumer.offsetForTimestamp(queue, lastEarly + 1), "between the two halves");
        long exact = all.get(30).getStoreTimestamp();
        long first = all.stream().filter(message -> message.getStoreTimestamp() >= exact).findFirst().orElseThrow().getQueueOffset();
        assertEquals(first, consumer.offsetForTimestamp(queue, exact), "the first of that millisecond");
        assertEquals(0, consumer.offsetForTimestamp(queue, 0L), "before everything");
        assertEquals(40, consumer.offsetForTimestamp(queue, System.currentTimeMillis() + 3_600_000), "after everything");

        consumer.seek(queue, consumer.offsetForTimestamp(queue, lastEarly + 1));
        assertEquals(names(20, 40), poll(consumer, 20));
    }

    @Test
    @DisplayName("that subscribes and commits: the next one of its group goes on from there")
    void commit() throws Exception {
        String topic = clients.topic("commit", 2);
        String group = clients.name("committer");
        var producer = clients.producer();
        send(producer, topic, 0, 40);
        var first = clients.litePullConsumer(group);
        first.setAutoCommit(false);
        first.subscribe(topic, "*");
        first.start();
        assertEquals(names(0, 40), poll(first, 40));
        first.commitSync();
        Await.until("the broker has the commit", PATIENCE, () -> clients.lag(group, topic) == 0);
        first.shutdown();

        send(producer, topic, 40, 60);
        var second = clients.litePullConsumer(group);
        second.subscribe(topic, "*");
        second.start();
        assertEquals(names(40, 60), poll(second, 20));
    }

    private static MessageQueue assignOnlyQueue(DefaultLitePullConsumer consumer, String topic) throws Exception {
        consumer.start();
        var queues = consumer.fetchMessageQueues(topic);
        assertEquals(1, queues.size());
        consumer.assign(queues);
        return queues.iterator().next();
    }

    private static void send(DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int i = from; i < to; i++) {
            producer.send(new Message(topic, name(i).getBytes(UTF_8)));
        }
    }

    /** Polls until {@code count} messages have come; returns their bodies, sorted. */
    private static TreeSet<String> poll(DefaultLitePullConsumer consumer, int count) {
        var bodies = new ArrayList<String>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (bodies.size() < count) {
            assertTrue(System.nanoTime() < deadline, "only " + bodies + " of " + count + " came");
            consumer.poll(1_000).forEach(message -> bodies.add(Inbox.body(message)));
        }
        assertEquals(count, bodies.size(), () -> "no more and none twice: " + bodies);
        return new TreeSet<>(bodies);
    }

    private static TreeSet<String> names(int from, int to) {
        return new TreeSet<>(IntStream.range(from, to).mapToObj(LitePullTest::name).toList());
    }

    private static String name(int i) {
        return String.format("m-%03d", i);
    }
}
