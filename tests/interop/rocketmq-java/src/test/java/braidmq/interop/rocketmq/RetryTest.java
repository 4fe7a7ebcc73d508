package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

/** The broker of these stories waits one second between tries instead of ten seconds to two hours. */
@DisplayName("A message that a consumer can't handle")
class RetryTest extends Story {
    private static final int MESSAGES = 5;

    @Test
    @DisplayName("comes 16 more times and is then in the dead letter queue, once")
    void toTheDeadLetterQueue(TestInfo story) throws Exception {
        String topic = clients.topic("poison", 2);
        String group = clients.name("fails");
        var tries = new Inbox();
        var consumer = clients.consumer(group, topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(tries::put);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        var producer = clients.producer();
        var firstIds = new TreeMap<String, String>();
        for (int i = 0; i < MESSAGES; i++) {
            var message = new Message(topic, "TagP", "key-" + i, ("poison-" + i).getBytes(UTF_8));
            message.putUserProperty("mine", "kept");
            firstIds.put("poison-" + i, producer.send(message).getOffsetMsgId());
        }

        String deadLetters = "%DLQ%" + group;
        List<MessageExt> dead = clients.read(deadLetters, MESSAGES);
        Map<String, List<Integer>> numbers = tries.all().stream().collect(Collectors.groupingBy(Inbox::body, TreeMap::new,
            Collectors.mapping(MessageExt::getReconsumeTimes, Collectors.toList())));
        List<Integer> zeroTo16 = IntStream.rangeClosed(0, 16).boxed().toList();
        assertEquals(firstIds.keySet(), numbers.keySet());
        numbers.forEach((body, seen) -> assertEquals(zeroTo16, seen, body));
        assertEquals(17 * MESSAGES, tries.size());
        for (MessageExt again : tries.all()) {
            assertEquals(topic, again.getTopic(), "the listener sees the first topic, not the group's retry topic");
            assertEquals("kept", again.getUserProperty("mine"));
            assertEquals("TagP", again.getTags());
        }

        assertEquals(MESSAGES, dead.size());
        assertEquals(firstIds.keySet(), new TreeSet<>(dead.stream().map(Inbox::body).toList()));
        for (MessageExt letter : dead) {
            assertEquals(17, letter.getReconsumeTimes());
            assertEquals(topic, letter.getProperty(MessageConst.PROPERTY_RETRY_TOPIC));
            assertEquals(firstIds.get(Inbox.body(letter)), letter.getProperty(MessageConst.PROPERTY_ORIGIN_MESSAGE_ID));
            assertEquals("kept", letter.getUserProperty("mine"));
            assertEquals("TagP", letter.getTags());
        }
        Await.until("the group has nothing left to do", PATIENCE, () -> clients.lag(group, topic) == 0);
        assertEquals(MESSAGES, clients.countIn(deadLetters));
        say(story, MESSAGES + " messages, " + tries.size() + " tries, " + dead.size() + " dead letters");
    }

    @Test
    @DisplayName("twice: it succeeds at the third try and does not come again")
    void thirdTry() throws Exception {
        String topic = clients.topic("third-try", 2);
        String group = clients.name("fails-twice");
        var tries = new Inbox();
        var consumer = clients.consumer(group, topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(tries::put);
            boolean fails = batch.get(0).getReconsumeTimes() < 2;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        String id = clients.producer().send(new Message(topic, "once more".getBytes(UTF_8))).getMsgId();
        tries.awaitSize(3);
        String retryTopic = "%RETRY%" + group;
        Await.until("all is acknowledged", PATIENCE, () -> clients.lag(group, topic) == 0 && clients.lag(group, retryTopic) == 0);
        assertEquals(List.of(0, 1, 2), tries.all().stream().map(MessageExt::getReconsumeTimes).toList());
        assertTrue(tries.all().stream().allMatch(message -> message.getMsgId().equals(id)), "its id stays the same");
        assertEquals(2, clients.countIn(retryTopic));
    }

    @Test
    @DisplayName("more often than its group allows: the dead letter queue gets it after that many")
    void ownLimit() throws Exception {
        String topic = clients.topic("own-limit", 1);
        String group = clients.name("gives-up");
        var tries = new Inbox();
        var consumer = clients.consumer(group, topic, "*");
        consumer.setMaxReconsumeTimes(2);
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(tries::put);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        clients.producer().send(new Message(topic, "hopeless".getBytes(UTF_8)));
        assertEquals(List.of("hopeless"), clients.read("%DLQ%" + group, 1).stream().map(Inbox::body).toList());
        assertEquals(List.of(0, 1, 2), tries.all().stream().map(MessageExt::getReconsumeTimes).toList());
    }
}
