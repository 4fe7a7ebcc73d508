package braidmq.interop.rocketmq;

import braidmq.interop.Await;
import braidmq.interop.Broker;
import java.lang.reflect.Method;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Official clients that lead to one broker, with names that no other story uses. Everything is the client's default
 * except: a client asks for routes every second instead of every 30, a new group starts with the first message, and a
 * push consumer reports its offsets every 500 ms instead of every 5 s.
 */
final class Clients implements AutoCloseable {
    private static final AtomicInteger SERIAL = new AtomicInteger();
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private final Broker broker;
    private final Deque<Runnable> shutdowns = new ArrayDeque<>();
    private DefaultMQAdminExt admin;

    Clients(Broker broker) {
        this.broker = broker;
    }

    Broker broker() {
        return broker;
    }

    /** A name that nothing else has. */
    String name(String label) {
        return label + "-" + RUN + "-" + SERIAL.incrementAndGet();
    }

    /** Makes a topic at the broker; the name server leads to it when this returns. */
    String topic(String label, int queues) throws Exception {
        String topic = name(label);
        admin().createAndUpdateTopicConfig(broker.address(), new TopicConfig(topic, queues, queues, 6));
        awaitRoute(topic);
        return topic;
    }

    void awaitRoute(String topic) throws Exception {
        var admin = admin();
        Await.until("a route to " + topic, Story.PATIENCE, () -> !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
    }

    DefaultMQAdminExt admin() throws Exception {
        if (admin == null) {
            admin = new DefaultMQAdminExt(10_000);
            configure(admin);
            admin.start();
            shutdowns.push(admin::shutdown);
        }
        return admin;
    }

    /** A started producer that tries each send once, so that what the broker answered is what the story sees. */
    DefaultMQProducer producer() throws Exception {
        var producer = new DefaultMQProducer(name("producer"));
        configure(producer);
        producer.setSendMsgTimeout(10_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.start();
        shutdowns.push(producer::shutdown);
        return producer;
    }

    /** A push consumer, subscribed but not started: the story gives it a listener and starts it. */
    DefaultMQPushConsumer consumer(String group, String topic, String tags) throws Exception {
        var consumer = new DefaultMQPushConsumer(group);
        configure(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.setAwaitTerminationMillisWhenShutdown(5_000);
        consumer.subscribe(topic, tags);
        shutdowns.push(consumer::shutdown);
        return consumer;
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        var consumer = new DefaultLitePullConsumer(group);
        configure(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        shutdowns.push(consumer::shutdown);
        return consumer;
    }

    private void configure(ClientConfig client) {
        client.setNamesrvAddr(broker.nameServer());
        client.setInstanceName(name("instance"));
        client.setPollNameServerInterval(1_000);
        // 4.9.8 prefers the "VIP channel" by default only if a system property says so; say no in both versions.
        client.setVipChannelEnabled(false);
    }

    /** BROADCASTING; the enum lives in another package in 4.9.8 than in 5.x. */
    static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        Method setter = Arrays.stream(DefaultMQPushConsumer.class.getMethods())
            .filter(method -> method.getName().equals("setMessageModel")).findFirst().orElseThrow();
        Object broadcasting = Arrays.stream(setter.getParameterTypes()[0].getEnumConstants())
            .filter(value -> value.toString().equals("BROADCASTING")).findFirst().orElseThrow();
        setter.invoke(consumer, broadcasting);
    }

    /** The queues of {@code topic} that a running consumer pulls from at this moment. */
    static Set<MessageQueue> queuesOf(DefaultMQPushConsumer consumer, String topic) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(topic)).collect(Collectors.toSet());
    }

    /** The messages of all queues of a topic: those that are there, counted from the oldest to the newest offset. */
    long countIn(String topic) throws Exception {
        long count = 0;
        for (var range : admin().examineTopicStats(topic).getOffsetTable().values()) {
            count += range.getMaxOffset() - range.getMinOffset();
        }
        return count;
    }

    /** How many messages a group has yet to acknowledge in a topic, or -1 while it has no offset there. */
    long lag(String group, String topic) throws Exception {
        long lag = -1;
        for (var entry : admin().examineConsumeStats(group, topic).getOffsetTable().entrySet()) {
            if (entry.getKey().getTopic().equals(topic)) {
                lag = Math.max(lag, 0) + entry.getValue().getBrokerOffset() - entry.getValue().getConsumerOffset();
            }
        }
        return lag;
    }

    /** Waits until {@code count} messages are in the topic, then reads all that is there, queue by queue. */
    List<MessageExt> read(String topic, int count) throws Exception {
        awaitRoute(topic);
        Await.until(count + " messages in " + topic, Story.PATIENCE, () -> countIn(topic) >= count);
        var reader = new DefaultMQPullConsumer(name("reader"));
        configure(reader);
        reader.start();
        try {
            var messages = new ArrayList<MessageExt>();
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
                messages.addAll(readQueue(reader, queue));
            }
            return messages;
        } finally {
            reader.shutdown();
        }
    }

    private static List<MessageExt> readQueue(DefaultMQPullConsumer reader, MessageQueue queue) throws Exception {
        var messages = new ArrayList<MessageExt>();
        long end = reader.maxOffset(queue);
        long next = reader.minOffset(queue);
        while (next < end) {
            var result = reader.pull(queue, "*", next, 32);
            if (result.getPullStatus() != PullStatus.FOUND) {
                throw new AssertionError(queue + " at " + next + " of " + end + ": " + result);
            }
            messages.addAll(result.getMsgFoundList());
            next = result.getNextBeginOffset();
        }
        return messages;
    }

    @Override
    public void close() {
        while (!shutdowns.isEmpty()) {
            shutdowns.pop().run();
        }
        admin = null;
    }
}
