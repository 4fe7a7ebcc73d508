package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import braidmq.interop.Await;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A Kafka record that a RocketMQ consumer can't handle")
class RetryTest extends Story {
    private List<ProducerRecord<byte[], byte[]>> batch(String topic, int count) {
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < count; i++) {
            records.add(new ProducerRecord<>(topic, 0, ("key-" + i).getBytes(UTF_8), ("value-" + i).getBytes(UTF_8)));
        }
        return records;
    }

    @Test
    @DisplayName("comes again, it and no other of its batch")
    void comesAgain() throws Exception {
        String topic = topic("retry", 1);
        String group = Names.unique("retry");
        kafka.sendTogether("zstd", batch(topic, 10));
        var tries = new Inbox();
        var consumer = rocketmq.consumer(group, topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(tries::put);
            boolean fails = List.of("value-3", "value-7").contains(RocketClients.body(messages.get(0))) && messages.get(0).getReconsumeTimes() < 2;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        tries.awaitSize(14);
        Await.until("all is acknowledged", PATIENCE, () -> rocketmq.lag(group, topic) == 0 && rocketmq.lag(group, "%RETRY%" + group) == 0);
        var counts = new TreeMap<String, List<Integer>>();
        tries.all().forEach(message -> counts.computeIfAbsent(RocketClients.body(message), body -> new ArrayList<>()).add(message.getReconsumeTimes()));
        assertEquals(10, counts.size());
        counts.forEach((body, times) -> assertEquals(List.of("value-3", "value-7").contains(body) ? List.of(0, 1, 2) : List.of(0), times, body));
        for (MessageExt message : tries.all()) {
            assertEquals(topic, message.getTopic());
            assertEquals(RocketClients.body(message).replace("value", "key"), message.getKeys());
        }
        String id = tries.all().stream().filter(message -> RocketClients.body(message).equals("value-3")).map(MessageExt::getMsgId).distinct()
            .reduce((a, b) -> "its id changes: " + a + " " + b).orElseThrow();
        assertEquals(32, id.length(), id);
    }

    @Test
    @DisplayName("is in the dead letter queue in the end, where Kafka finds it too")
    void deadLetter() throws Exception {
        String topic = topic("dead", 1);
        String group = Names.unique("dead");
        kafka.sendTogether("none", batch(topic, 5));
        var consumer = rocketmq.consumer(group, topic, "*");
        consumer.setMaxReconsumeTimes(1);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> RocketClients.body(messages.get(0)).equals("value-2")
            ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.start();
        rocketmq.awaitRoute("%DLQ%" + group);
        MessageExt dead = rocketmq.read("%DLQ%" + group, 0, 1).get(0);
        assertEquals("value-2", RocketClients.body(dead));
        assertEquals("key-2", dead.getKeys());
        var record = kafka.read(".25.DLQ.25." + group, 0, 1).get(0);
        assertEquals("value-2", new String(record.value(), UTF_8));
        assertEquals("key-2", new String(record.key(), UTF_8));
    }

    @Test
    @DisplayName("is found by its id, by its unique key and by its key")
    void found() throws Exception {
        String topic = topic("found", 1);
        kafka.sendTogether("lz4", batch(topic, 20));
        for (MessageExt message : rocketmq.read(topic, 0, 20)) {
            String offsetId = ((org.apache.rocketmq.common.message.MessageClientExt) message).getOffsetMsgId();
            MessageExt byId = rocketmq.admin().viewMessage(topic, offsetId);
            assertEquals(RocketClients.body(message), RocketClients.body(byId));
            assertEquals(message.getQueueOffset(), byId.getQueueOffset());
            assertEquals(message.getKeys(), byId.getKeys());
            MessageExt byUniqueKey = rocketmq.admin().viewMessage(topic, message.getMsgId());
            assertNotNull(byUniqueKey, message.getMsgId());
            assertEquals(RocketClients.body(message), RocketClients.body(byUniqueKey));
        }
        var byKey = rocketmq.admin().queryMessage(topic, "key-13", 32, 0, System.currentTimeMillis() + 60_000).getMessageList();
        assertEquals(List.of("value-13"), RocketClients.bodies(byKey));
    }

    @Test
    @DisplayName("is chosen by its tag")
    void tags() throws Exception {
        String topic = topic("tags", 1);
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < 30; i++) {
            var record = new ProducerRecord<byte[], byte[]>(topic, 0, null, ("value-" + i).getBytes(UTF_8));
            if (i % 3 < 2) {
                record.headers().add("rmq.TAGS", (i % 3 == 0 ? "TagA" : "TagB").getBytes(UTF_8));
            }
            records.add(record);
        }
        kafka.sendTogether("gzip", records);
        var tagged = new org.apache.rocketmq.common.message.Message(topic, "TagA", "rocketmq-a".getBytes(UTF_8));
        rocketmq.send(tagged, 0);
        rocketmq.send(new org.apache.rocketmq.common.message.Message(topic, "TagC", "rocketmq-c".getBytes(UTF_8)), 0);
        String group = Names.unique("tags");
        var inbox = new Inbox();
        var consumer = rocketmq.consumer(group, topic, "TagA");
        consumer.registerMessageListener(inbox.listener());
        consumer.start();
        inbox.awaitSize(11);
        Await.until("it has seen all", PATIENCE, () -> rocketmq.lag(group, topic) == 0);
        var expected = new java.util.TreeSet<String>();
        for (int i = 0; i < 30; i += 3) {
            expected.add("value-" + i);
        }
        expected.add("rocketmq-a");
        assertEquals(expected, new java.util.TreeSet<>(inbox.bodies()));
        assertEquals(11, inbox.size());
    }
}
