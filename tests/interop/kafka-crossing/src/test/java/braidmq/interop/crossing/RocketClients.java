package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;

import braidmq.interop.Await;
import braidmq.interop.BothProtocols;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** RocketMQ's side of a story, configured as in the suite of its own. */
final class RocketClients {
    private final BothProtocols broker;
    private final Deque<Runnable> shutdowns = new ArrayDeque<>();
    private DefaultMQAdminExt admin;
    private DefaultMQPullConsumer reader;
    private DefaultMQProducer producer;
    private String brokerName;

    RocketClients(BothProtocols broker) {
        this.broker = broker;
    }

    String address() {
        return broker.rocketmq();
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

    void awaitRoute(String topic) throws Exception {
        var admin = admin();
        Await.until("a route to " + topic, Story.PATIENCE, () -> !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
    }

    MessageQueue queue(String topic, int id) throws Exception {
        if (brokerName == null) {
            brokerName = admin().examineBrokerClusterInfo().getBrokerAddrTable().keySet().iterator().next();
        }
        return new MessageQueue(topic, brokerName, id);
    }

    DefaultMQProducer producer() throws Exception {
        if (producer == null) {
            producer = new DefaultMQProducer(Names.unique("producer"));
            configure(producer);
            producer.setSendMsgTimeout(10_000);
            producer.setRetryTimesWhenSendFailed(0);
            producer.start();
            shutdowns.push(producer::shutdown);
        }
        return producer;
    }

    SendResult send(Message message, int queue) throws Exception {
        return producer().send(message, queue(message.getTopic(), queue));
    }

    List<SendResult> send(String topic, int queue, String label, int count) throws Exception {
        var sent = new ArrayList<SendResult>();
        for (int i = 0; i < count; i++) {
            sent.add(send(new Message(topic, (label + "-" + i).getBytes(UTF_8)), queue));
        }
        return sent;
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

    private void configure(ClientConfig client) {
        client.setNamesrvAddr(broker.nameServer());
        client.setInstanceName(Names.unique("instance"));
        client.setPollNameServerInterval(1_000);
        client.setHeartbeatBrokerInterval(1_000);
        client.setVipChannelEnabled(false);
    }

    /** One pull from an offset, as a consumer without a group's position does it. */
    PullResult pull(String topic, int queue, long offset, int count) throws Exception {
        if (reader == null) {
            reader = new DefaultMQPullConsumer(Names.unique("reader"));
            configure(reader);
            reader.start();
            shutdowns.push(reader::shutdown);
        }
        return reader.pull(queue(topic, queue), "*", offset, count);
    }

    /** Waits until the queue has {@code count} messages and returns all that are there. */
    List<MessageExt> read(String topic, int queue, int count) throws Exception {
        var asked = queue(topic, queue);
        var admin = admin();
        Await.until(count + " messages in " + asked, Story.PATIENCE, () -> admin.maxOffset(asked) - admin.minOffset(asked) >= count);
        var messages = new ArrayList<MessageExt>();
        long end = admin.maxOffset(asked);
        long next = admin.minOffset(asked);
        while (next < end) {
            PullResult result = pull(topic, queue, next, 32);
            if (result.getPullStatus() != PullStatus.FOUND || result.getNextBeginOffset() <= next) {
                throw new AssertionError(asked + " at " + next + " of " + end + ": " + result);
            }
            messages.addAll(result.getMsgFoundList());
            next = result.getNextBeginOffset();
        }
        return messages;
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

    static String body(MessageExt message) {
        return new String(message.getBody(), UTF_8);
    }

    static List<String> bodies(Collection<MessageExt> messages) {
        return messages.stream().map(RocketClients::body).toList();
    }

    void close() {
        while (!shutdowns.isEmpty()) {
            shutdowns.pop().run();
        }
        admin = null;
        reader = null;
        producer = null;
    }
}
