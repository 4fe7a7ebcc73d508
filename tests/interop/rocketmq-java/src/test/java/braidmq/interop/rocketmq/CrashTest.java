package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import braidmq.interop.Await;
import braidmq.interop.Broker;
import java.io.IOException;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.Timeout;

/** Longer than other stories may take: Apache's broker needs half a minute to start on a busy machine. */
@Timeout(600)
@DisplayName("The broker is killed")
class CrashTest extends Story {
    private static final int KILLS = 3;
    private static final int ANSWERED_PER_LIFE = 300;

    CrashTest() {
        super(startBroker());
    }

    @AfterEach
    void endBroker() throws IOException {
        clients.close();
        clients.broker().close();
    }

    @Test
    @DisplayName("while a producer sends: a running consumer resumes and gets every acknowledged message")
    void runningConsumerResumes(TestInfo story) throws Exception {
        Broker broker = clients.broker();
        assumeTrue(broker.canBeKilled(), "needs a broker of its own: -Dbraidmq.binary or -Dapache.lib");
        String topic = clients.topic("crash", 4);
        String group = clients.name("survivor");
        var inbox = new Inbox();
        var consumer = clients.consumer(group, topic, "*");
        consumer.registerMessageListener(inbox.listener());
        consumer.start();

        var load = new Load(clients.producer(), topic);
        load.start();
        for (int kill = 0; kill < KILLS; kill++) {
            load.awaitMoreAnswers(ANSWERED_PER_LIFE);
            broker.kill();
            broker.restart();
        }
        load.awaitMoreAnswers(ANSWERED_PER_LIFE);
        Map<String, SendResult> answered = load.stop();

        inbox.awaitAll(answered.keySet());
        var copies = new ConcurrentHashMap<String, Integer>();
        for (MessageExt message : clients.read(topic, answered.size())) {
            copies.merge(Inbox.body(message), 1, Integer::sum);
            SendResult answer = answered.get(Inbox.body(message));
            if (answer != null) {
                assertEquals(answer.getMessageQueue().getQueueId(), message.getQueueId());
                assertEquals(answer.getQueueOffset(), message.getQueueOffset());
            }
        }
        assertTrue(copies.keySet().containsAll(answered.keySet()), "what was acknowledged is there");
        copies.forEach((body, count) -> assertEquals(1, count, body + " was sent once and stored " + count + " times"));
        Await.until("the group has caught up", PATIENCE, () -> clients.lag(group, topic) == 0);
        say(story, KILLS + " kills, " + answered.size() + " acknowledged, " + (copies.size() - answered.size())
            + " stored without an answer, consumed " + inbox.size());
    }

    @Test
    @DisplayName("and a consumer that starts afterwards goes on from the group's last position")
    void newConsumerGoesOn(TestInfo story) throws Exception {
        Broker broker = clients.broker();
        assumeTrue(broker.canBeKilled(), "needs a broker of its own: -Dbraidmq.binary or -Dapache.lib");
        String topic = clients.topic("position", 4);
        String group = clients.name("goes-on");
        var producer = clients.producer();
        var before = new Inbox();
        var first = clients.consumer(group, topic, "*");
        first.registerMessageListener(before.listener());
        first.start();
        Set<String> early = send(producer, topic, "early", 100);
        before.awaitAll(early);
        first.shutdown();
        Await.until("the broker has the group's position", PATIENCE, () -> clients.lag(group, topic) == 0);

        // A position that was reported one-way becomes durable a little later, and not before that is it promised.
        Set<String> late = new TreeSet<>();
        long durable = System.nanoTime() + broker.positionsDurableAfter().toNanos();
        for (int i = 0; System.nanoTime() < durable; i++) {
            late.addAll(send(producer, topic, "late-" + i, 1));
        }
        broker.kill();
        broker.restart();

        var after = new Inbox();
        var second = clients.consumer(group, topic, "*");
        second.registerMessageListener(after.listener());
        second.start();
        after.awaitAll(late);
        Await.until("the group has caught up", PATIENCE, () -> clients.lag(group, topic) == 0);
        var again = new HashSet<>(after.bodies());
        again.retainAll(early);
        assertEquals(Set.of(), again, "acknowledged before the kill, so not delivered after it");
        say(story, early.size() + " before the kill, " + after.size() + " after it");
    }

    private static Set<String> send(DefaultMQProducer producer, String topic, String label, int count) throws Exception {
        var sent = new TreeSet<String>();
        for (int i = 0; i < count; i++) {
            String body = label + "-" + i;
            producer.send(new Message(topic, body.getBytes(UTF_8)));
            sent.add(body);
        }
        return sent;
    }

    /** One thread that sends a new value at a time and remembers what was answered with SEND_OK. A failed value is never sent again. */
    private static final class Load {
        private final Map<String, SendResult> answered = new ConcurrentHashMap<>();
        private final AtomicBoolean stopped = new AtomicBoolean();
        private final CountDownLatch ended = new CountDownLatch(1);
        private final DefaultMQProducer producer;
        private final String topic;

        Load(DefaultMQProducer producer, String topic) {
            this.producer = producer;
            this.topic = topic;
        }

        void start() {
            new Thread(this::run, "load").start();
        }

        private void run() {
            for (int i = 0; !stopped.get(); i++) {
                String body = "value-" + i;
                try {
                    SendResult answer = producer.send(new Message(topic, body.getBytes(UTF_8)), 2_000);
                    if (answer.getSendStatus() == SendStatus.SEND_OK) {
                        answered.put(body, answer);
                    }
                } catch (Exception e) {
                    // Not acknowledged: it may be stored or not, and the next value follows.
                }
            }
            ended.countDown();
        }

        void awaitMoreAnswers(int count) {
            int goal = answered.size() + count;
            Await.until(() -> answered.size() + " of " + goal + " sends were answered", PATIENCE, () -> answered.size() >= goal);
        }

        Map<String, SendResult> stop() throws InterruptedException {
            stopped.set(true);
            assertTrue(ended.await(30, TimeUnit.SECONDS), "the producer ends");
            return answered;
        }
    }
}
