package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import braidmq.interop.Await;
import java.util.TreeSet;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("An operator sets a group's offsets to a time")
class ResetOffsetTest extends Story {

    @Test
    @DisplayName("and the running consumer receives what was stored since, again")
    void backToATime(TestInfo story) throws Exception {
        String topic = clients.topic("reset", 4);
        String group = clients.name("reset");
        var inbox = new Inbox();
        var consumer = clients.consumer(group, topic, "*");
        consumer.registerMessageListener(inbox.listener());
        consumer.start();
        var producer = clients.producer();
        send(producer, topic, "early");
        long lastEarly = clients.read(topic, 60).stream().mapToLong(message -> message.getStoreTimestamp()).max().orElseThrow();
        Await.until("the clock has moved on", PATIENCE, () -> System.currentTimeMillis() > lastEarly + 5);
        TreeSet<String> late = send(producer, topic, "late");
        inbox.awaitSize(120);
        Await.until("all is acknowledged", PATIENCE, () -> clients.lag(group, topic) == 0);

        inbox.clear();
        long start = System.nanoTime();
        var offsets = clients.admin().resetOffsetByTimestamp(topic, group, lastEarly + 1, true);
        assertEquals(4, offsets.size(), "every queue is answered");
        offsets.forEach((queue, offset) -> assertEquals(15, offset, queue.toString()));
        inbox.awaitAll(late);
        Await.until("all is acknowledged again", PATIENCE, () -> clients.lag(group, topic) == 0);
        assertEquals(late, new TreeSet<>(inbox.bodies()), "nothing older came");
        say(story, "all " + late.size() + " came again within " + (System.nanoTime() - start) / 1_000_000 + " ms");
    }

    /** 60 messages, 15 into each queue. */
    private static TreeSet<String> send(DefaultMQProducer producer, String topic, String label) throws Exception {
        var sent = new TreeSet<String>();
        for (int i = 0; i < 60; i++) {
            String body = label + "-" + i;
            producer.send(new Message(topic, body.getBytes(UTF_8)), (queues, message, queue) -> queues.get((Integer) queue), i % 4);
            sent.add(body);
        }
        return sent;
    }
}
