package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

/** The table of these stories is 3 s, 2 s and sixteen times 1 s. */
@DisplayName("A delayed message")
class DelayTest extends Story {
    private static final Map<Integer, Long> MILLIS_OF_LEVEL = Map.of(1, 3_000L, 2, 2_000L, 3, 1_000L);
    private static final int PER_LEVEL = 40;
    private static final int QUEUES = 2;

    @Test
    @DisplayName("comes when its level is over: never early, once, and as it was sent")
    void neverEarly(TestInfo story) throws Exception {
        String topic = clients.topic("delayed", QUEUES);
        var receivedAt = new ConcurrentHashMap<String, Long>();
        var inbox = consume(topic, receivedAt);
        var producer = clients.producer();
        // The first send of all looks up the route and connects, which would count as lateness.
        producer.send(new Message(clients.topic("warm-up", 1), new byte[1]));
        // A consumer that does not own the queues yet would make everything late by a rebalance.
        for (int queue = 0; queue < QUEUES; queue++) {
            producer.send(new Message(topic, ("owned-" + queue).getBytes(UTF_8)), (queues, message, index) -> queues.get((int) index), queue);
        }
        inbox.awaitSize(QUEUES);
        var due = new HashMap<String, Long>();
        for (int i = 0; i < PER_LEVEL; i++) {
            for (int level : MILLIS_OF_LEVEL.keySet()) {
                String body = "level-" + level + "-" + i;
                var message = new Message(topic, "TagD", "key-" + body, body.getBytes(UTF_8));
                message.setDelayTimeLevel(level);
                message.putUserProperty("mine", "kept");
                due.put(body, System.currentTimeMillis() + MILLIS_OF_LEVEL.get(level));
                producer.send(message);
            }
        }
        inbox.awaitSize(QUEUES + due.size());
        assertEquals(QUEUES + due.size(), inbox.size());
        var delayed = inbox.all().stream().filter(message -> !Inbox.body(message).startsWith("owned-")).toList();
        assertEquals(new TreeSet<>(due.keySet()), new TreeSet<>(delayed.stream().map(Inbox::body).toList()));

        var lateness = new ArrayList<Long>();
        for (MessageExt message : delayed) {
            String body = Inbox.body(message);
            assertTrue(message.getStoreTimestamp() >= due.get(body), body + " was moved to its topic early");
            assertTrue(receivedAt.get(body) >= due.get(body), body + " was delivered early");
            assertEquals(topic, message.getTopic());
            assertEquals("TagD", message.getTags());
            assertEquals("kept", message.getUserProperty("mine"));
            lateness.add(receivedAt.get(body) - due.get(body));
        }
        lateness.sort(null);
        say(story, "lateness from the start of the send call, ms: median " + lateness.get(lateness.size() / 2)
            + ", 99th percentile " + lateness.get(lateness.size() * 99 / 100) + ", most " + lateness.get(lateness.size() - 1));
    }

    @Test
    @DisplayName("with a level beyond the table gets the last one")
    void beyondTheTable() throws Exception {
        String topic = clients.topic("beyond", 1);
        var receivedAt = new ConcurrentHashMap<String, Long>();
        var inbox = consume(topic, receivedAt);
        var message = new Message(topic, "level-99".getBytes(UTF_8));
        message.setDelayTimeLevel(99);
        long before = System.currentTimeMillis();
        clients.producer().send(message);
        inbox.awaitSize(1);
        assertTrue(receivedAt.get("level-99") >= before + 1_000, "not early");
        assertEquals(List.of("level-99"), inbox.bodies());
    }

    private Inbox consume(String topic, Map<String, Long> receivedAt) throws Exception {
        var inbox = new Inbox();
        var consumer = clients.consumer(clients.name("delayed"), topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt message : batch) {
                receivedAt.putIfAbsent(Inbox.body(message), System.currentTimeMillis());
                inbox.put(message);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return inbox;
    }
}
