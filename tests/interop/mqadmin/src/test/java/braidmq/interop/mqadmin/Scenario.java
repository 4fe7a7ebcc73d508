package braidmq.interop.mqadmin;

import static java.nio.charset.StandardCharsets.UTF_8;

import braidmq.interop.Await;
import braidmq.interop.Broker;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * What happens at the broker before the commands look at it: a producer that stays connected has sent 12 messages into
 * four queues, six before {@link #between} and six after; a consumer that stays connected has acknowledged all of them.
 */
final class Scenario implements AutoCloseable {
    static final String TOPIC = "AdminTopic";
    static final String CONSUMERS = "AdminConsumers";
    static final String PRODUCERS = "AdminProducers";
    private static final Duration LIMIT = Duration.ofSeconds(90);

    final List<SendResult> sent = new ArrayList<>();
    /** A time after the sixth message was stored and before the seventh was sent. */
    long between;

    private final DefaultMQAdminExt admin = new DefaultMQAdminExt(10_000);
    private final DefaultMQProducer producer = new DefaultMQProducer(PRODUCERS);
    private final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(CONSUMERS);
    private final AtomicInteger consumed = new AtomicInteger();

    Scenario(Broker broker) throws Exception {
        admin.setNamesrvAddr(broker.nameServer());
        admin.setInstanceName("scenario-admin");
        admin.start();
        producer.setNamesrvAddr(broker.nameServer());
        producer.setInstanceName("scenario-producer");
        consumer.setNamesrvAddr(broker.nameServer());
        consumer.setInstanceName("scenario-consumer");
        consumer.setPollNameServerInterval(1_000);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    }

    /** Name of the broker, as the name server tells it. */
    String brokerName() throws Exception {
        return admin.examineBrokerClusterInfo().getBrokerAddrTable().keySet().iterator().next();
    }

    /** Name of the broker's cluster. */
    String clusterName() throws Exception {
        return admin.examineBrokerClusterInfo().getClusterAddrTable().keySet().iterator().next();
    }

    /** Runs it; the topic and the group are there already. */
    void play() throws Exception {
        Await.until("a route to " + TOPIC, LIMIT, () -> admin.examineTopicRouteInfo(TOPIC).getQueueDatas().size() == 1);
        consumer.subscribe(TOPIC, "TagA || TagB");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            consumed.addAndGet(batch.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        producer.start();
        send(0, 6);
        between = System.currentTimeMillis() + 50;
        Await.until("the clock has moved on", LIMIT, () -> System.currentTimeMillis() > between + 50);
        send(6, 12);
        awaitConsumed(12);
        Await.until("the group has an offset in its retry topic too", LIMIT,
            () -> admin.examineConsumeStats(CONSUMERS).getOffsetTable().size() == 5);
        Await.until("keys are indexed", LIMIT,
            () -> admin.queryMessage(TOPIC, "key-11", 32, 0, System.currentTimeMillis() + 60_000).getMessageList().size() == 1);
    }

    private void send(int from, int to) throws Exception {
        for (int i = from; i < to; i++) {
            var message = new Message(TOPIC, i % 2 == 0 ? "TagA" : "TagB", "key-" + i, ("body-" + i).getBytes(UTF_8));
            sent.add(producer.send(message, (queues, ignored, queue) -> queues.get((Integer) queue), i % 4));
        }
    }

    /** Waits until the consumer has received this many messages since the start and the broker has all its offsets. */
    void awaitConsumed(int count) {
        Await.until(() -> consumed + " of " + count + " consumed and acknowledged", LIMIT,
            () -> consumed.get() >= count && lag() == 0);
    }

    private long lag() throws Exception {
        var table = admin.examineConsumeStats(CONSUMERS, TOPIC).getOffsetTable();
        return table.size() < 4 ? -1
            : table.values().stream().mapToLong(queue -> queue.getBrokerOffset() - queue.getConsumerOffset()).sum();
    }

    /** The consumer leaves; returns when the broker has noticed. */
    void stopConsumer() {
        consumer.shutdown();
        Await.until("the group is offline", LIMIT, () -> {
            try {
                admin.examineConsumerConnectionInfo(CONSUMERS);
                return false;
            } catch (Exception e) {
                return true;
            }
        });
    }

    @Override
    public void close() {
        consumer.shutdown();
        producer.shutdown();
        admin.shutdown();
    }
}
