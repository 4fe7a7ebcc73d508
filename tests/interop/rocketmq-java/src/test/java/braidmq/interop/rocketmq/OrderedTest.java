package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("Messages of one order stay in order")
class OrderedTest extends Story {
    private static final int ORDERS = 16;
    private static final int STEPS = 25;

    @Test
    @DisplayName("sent by a queue selector, consumed by two orderly consumers that share the queues")
    void twoConsumers(TestInfo story) throws Exception {
        String topic = clients.topic("ordered", 4);
        String group = clients.name("orderly");
        var inboxes = List.of(new Inbox(), new Inbox());
        var consumers = new ArrayList<DefaultMQPushConsumer>();
        for (Inbox inbox : inboxes) {
            var consumer = clients.consumer(group, topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
                batch.forEach(inbox::put);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            consumer.start();
            consumers.add(consumer);
        }
        // An orderly consumer has a queue only once the broker has given it the lock.
        Await.until("each consumer holds the locks of two queues", PATIENCE,
            () -> consumers.stream().allMatch(consumer -> Clients.queuesOf(consumer, topic).size() == 2));
        var producer = clients.producer();
        for (int step = 0; step < STEPS; step++) {
            sendRound(producer, topic, step);
        }
        Await.until(() -> STEPS * ORDERS + " messages, have " + inboxes.stream().map(Inbox::size).toList(), PATIENCE,
            () -> inboxes.stream().mapToInt(Inbox::size).sum() >= STEPS * ORDERS);

        assertEquals(List.of(STEPS * ORDERS / 2, STEPS * ORDERS / 2), inboxes.stream().map(Inbox::size).toList());
        var expected = IntStream.range(0, STEPS).mapToObj(Integer::toString).toList();
        for (Inbox inbox : inboxes) {
            assertQueueOrder(inbox.all());
            inbox.all().stream().collect(Collectors.groupingBy(MessageExt::getKeys, Collectors.mapping(Inbox::body, Collectors.toList())))
                .forEach((order, steps) -> assertEquals(expected, steps, order));
        }
        say(story, STEPS + " steps of " + ORDERS + " orders, consumed " + inboxes.stream().map(Inbox::size).toList());
    }

    /** One step of every order; an order always goes to the same queue. */
    private static void sendRound(DefaultMQProducer producer, String topic, int step) throws Exception {
        for (int order = 0; order < ORDERS; order++) {
            var message = new Message(topic, "", "order-" + order, Integer.toString(step).getBytes(UTF_8));
            var answer = producer.send(message, (queues, sent, id) -> queues.get((Integer) id % queues.size()), order);
            assertEquals(order % 4, answer.getMessageQueue().getQueueId());
        }
    }

    private static void assertQueueOrder(List<MessageExt> received) {
        var last = new HashMap<Integer, Long>();
        for (MessageExt message : received) {
            Long before = last.put(message.getQueueId(), message.getQueueOffset());
            assertTrue(before == null || before < message.getQueueOffset(),
                "queue " + message.getQueueId() + ": " + message.getQueueOffset() + " came after " + before);
        }
    }

    @Test
    @DisplayName("and a step that fails holds its queue back until it succeeds")
    void failedStepHoldsTheQueue() throws Exception {
        String topic = clients.topic("suspended", 1);
        var attempts = new Inbox();
        var failuresLeft = new AtomicInteger(3);
        var consumer = clients.consumer(clients.name("orderly"), topic, "*");
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            attempts.put(batch.get(0));
            boolean fails = Inbox.body(batch.get(0)).equals("5") && failuresLeft.getAndDecrement() > 0;
            return fails ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        var producer = clients.producer();
        for (int step = 0; step < 10; step++) {
            producer.send(new Message(topic, Integer.toString(step).getBytes(UTF_8)));
        }
        attempts.awaitSize(13);
        assertEquals(List.of("0", "1", "2", "3", "4", "5", "5", "5", "5", "6", "7", "8", "9"), attempts.bodies());
    }
}
