package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("The members of a group share its messages")
class ClusteringTest extends Story {

    @Test
    @DisplayName("each message goes to one of them while nobody comes or goes")
    void shared(TestInfo story) throws Exception {
        String topic = clients.topic("shared", 4);
        String group = clients.name("cluster");
        var first = new Inbox();
        var second = new Inbox();
        awaitBalanced(topic, start(group, topic, first.listener()), start(group, topic, second.listener()));

        Set<String> sent = send(clients.producer(), topic, "m", 400);
        Await.until("all is consumed", PATIENCE, () -> first.size() + second.size() >= 400);
        var together = new ArrayList<>(first.bodies());
        together.addAll(second.bodies());
        assertEquals(400, together.size());
        assertEquals(sent, new TreeSet<>(together));
        assertTrue(first.size() > 0 && second.size() > 0, first.size() + " and " + second.size());
        Await.until("all is acknowledged", PATIENCE, () -> clients.lag(group, topic) == 0);
        say(story, first.size() + " and " + second.size());
    }

    @Test
    @DisplayName("one leaves: the other takes over its queues and nothing is missing")
    void oneLeaves(TestInfo story) throws Exception {
        String topic = clients.topic("leaving", 4);
        String group = clients.name("cluster");
        var stays = new Inbox();
        var leaves = new Inbox();
        var staying = start(group, topic, stays.listener());
        var leaving = start(group, topic, leaves.listener());
        awaitBalanced(topic, staying, leaving);

        var producer = clients.producer();
        Set<String> sent = send(producer, topic, "before", 200);
        leaves.awaitSize(1);
        leaving.shutdown();
        sent.addAll(send(producer, topic, "after", 200));
        Await.until("the other one has all four queues", PATIENCE, () -> Clients.queuesOf(staying, topic).size() == 4);
        Await.until(() -> "all is consumed: " + stays.size() + " and " + leaves.size() + " of " + sent.size(), PATIENCE, () -> {
            var seen = new HashSet<>(stays.bodies());
            seen.addAll(leaves.bodies());
            return seen.equals(sent);
        });
        say(story, "stayed " + stays.size() + ", left " + leaves.size() + ", of them twice "
            + (stays.size() + leaves.size() - sent.size()));
    }

    @Test
    @DisplayName("one is killed with messages in its hands: the other receives them again")
    void oneIsKilled(TestInfo story) throws Exception {
        String topic = clients.topic("killed", 4);
        String group = clients.name("cluster");
        var survives = new Inbox();
        var survivor = start(group, topic, survives.listener());
        Await.until("the survivor alone has all four queues", PATIENCE, () -> Clients.queuesOf(survivor, topic).size() == 4);
        try (var victim = new StuckConsumer(clients.broker().nameServer(), group, topic)) {
            Await.until("the survivor has given two queues away", PATIENCE, () -> Clients.queuesOf(survivor, topic).size() == 2);
            Set<String> sent = send(clients.producer(), topic, "m", 400);
            // The victim acknowledges nothing, so everything it got has to come again.
            victim.awaitReceived(10);
            victim.kill();
            Set<String> lost = victim.received();
            assertTrue(sent.containsAll(lost));
            survives.awaitAll(sent);
            Await.until("all is acknowledged", PATIENCE, () -> clients.lag(group, topic) == 0);
            assertEquals(4, Clients.queuesOf(survivor, topic).size());
            say(story, "the victim died with " + lost.size() + " messages, the survivor consumed " + survives.size() + " of " + sent.size());
        }
    }

    private DefaultMQPushConsumer start(String group, String topic, MessageListenerConcurrently listener) throws Exception {
        var consumer = clients.consumer(group, topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    /** Waits until each of the two has two of the four queues, and none has one that the other has. */
    private static void awaitBalanced(String topic, DefaultMQPushConsumer first, DefaultMQPushConsumer second) {
        Await.until("four queues are shared evenly", PATIENCE, () -> {
            var together = new HashSet<>(Clients.queuesOf(first, topic));
            together.addAll(Clients.queuesOf(second, topic));
            return together.size() == 4 && Clients.queuesOf(first, topic).size() == 2 && Clients.queuesOf(second, topic).size() == 2;
        });
    }

    private static Set<String> send(DefaultMQProducer producer, String topic, String label, int count) throws Exception {
        var sent = new TreeSet<String>();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, (label + "-" + i).getBytes(UTF_8)));
            sent.add(label + "-" + i);
        }
        return sent;
    }
}
