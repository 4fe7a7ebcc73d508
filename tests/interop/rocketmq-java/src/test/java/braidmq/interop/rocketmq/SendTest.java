package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A producer sends")
class SendTest extends Story {

    @Test
    @DisplayName("synchronously: the answer names the place where the message is then read, whole")
    void sync() throws Exception {
        String topic = clients.topic("sync", 4);
        var producer = clients.producer();
        var answers = new HashMap<String, SendResult>();
        for (int i = 0; i < 100; i++) {
            var message = new Message(topic, "TagA", "key-" + i, ("body-" + i).getBytes(UTF_8));
            message.putUserProperty("colour", "blå-" + i);
            message.setFlag(i);
            answers.put("body-" + i, producer.send(message));
        }

        List<MessageExt> stored = clients.read(topic, 100);
        assertEquals(100, stored.size());
        for (MessageExt message : stored) {
            SendResult answer = answers.get(Inbox.body(message));
            String i = Inbox.body(message).substring("body-".length());
            assertEquals(SendStatus.SEND_OK, answer.getSendStatus());
            assertEquals(answer.getMessageQueue().getQueueId(), message.getQueueId());
            assertEquals(answer.getQueueOffset(), message.getQueueOffset());
            assertEquals(answer.getMsgId(), message.getMsgId());
            assertEquals("TagA", message.getTags());
            assertEquals("key-" + i, message.getKeys());
            assertEquals("blå-" + i, message.getUserProperty("colour"));
            assertEquals(Integer.parseInt(i), message.getFlag());
            assertTrue(message.getStoreTimestamp() >= message.getBornTimestamp(), "stored after it was born");
        }
        assertDense(stored);
    }

    @Test
    @DisplayName("asynchronously: every callback comes, and once")
    void async() throws Exception {
        String topic = clients.topic("async", 4);
        var producer = clients.producer();
        var answers = new ConcurrentHashMap<String, SendResult>();
        var failures = new ConcurrentHashMap<String, Throwable>();
        var done = new CountDownLatch(500);
        for (int i = 0; i < 500; i++) {
            String body = "body-" + i;
            producer.send(new Message(topic, body.getBytes(UTF_8)), new SendCallback() {
                @Override
                public void onSuccess(SendResult answer) {
                    if (answers.put(body, answer) != null) {
                        failures.put(body, new AssertionError("answered twice"));
                    }
                    done.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failures.put(body, e);
                    done.countDown();
                }
            });
        }
        assertTrue(done.await(PATIENCE.toSeconds(), TimeUnit.SECONDS), "callbacks missing: " + done.getCount());
        assertEquals(Map.of(), failures);

        List<MessageExt> stored = clients.read(topic, 500);
        assertEquals(500, stored.size());
        for (MessageExt message : stored) {
            assertEquals(answers.get(Inbox.body(message)).getQueueOffset(), message.getQueueOffset());
        }
        assertDense(stored);
    }

    @Test
    @DisplayName("one-way: all arrives on a healthy connection though nothing is answered")
    void oneway() throws Exception {
        String topic = clients.topic("oneway", 2);
        var producer = clients.producer();
        var sent = new TreeSet<String>();
        for (int i = 0; i < 200; i++) {
            producer.sendOneway(new Message(topic, ("body-" + i).getBytes(UTF_8)));
            sent.add("body-" + i);
        }
        List<MessageExt> stored = clients.read(topic, 200);
        assertEquals(200, stored.size());
        assertEquals(sent, new TreeSet<>(stored.stream().map(Inbox::body).toList()));
    }

    @Test
    @DisplayName("a batch: one answer, neighbouring offsets, each message with its own id, keys and properties")
    void batch() throws Exception {
        String topic = clients.topic("batch", 4);
        var batch = new ArrayList<Message>();
        for (int i = 0; i < 50; i++) {
            var message = new Message(topic, "Tag" + i % 3, "key-" + i, ("body-" + i).getBytes(UTF_8));
            message.putUserProperty("index", Integer.toString(i));
            batch.add(message);
        }
        SendResult answer = clients.producer().send(batch);
        assertEquals(SendStatus.SEND_OK, answer.getSendStatus());
        String[] ids = answer.getMsgId().split(",");
        String[] offsetIds = answer.getOffsetMsgId().split(",");
        assertEquals(50, ids.length);
        assertEquals(50, offsetIds.length);

        List<MessageExt> stored = clients.read(topic, 50);
        assertEquals(50, stored.size());
        for (int i = 0; i < 50; i++) {
            MessageExt message = stored.get(i);
            assertEquals("body-" + i, Inbox.body(message));
            assertEquals(answer.getMessageQueue().getQueueId(), message.getQueueId());
            assertEquals(answer.getQueueOffset() + i, message.getQueueOffset());
            assertEquals(ids[i], message.getMsgId());
            assertEquals("Tag" + i % 3, message.getTags());
            assertEquals("key-" + i, message.getKeys());
            assertEquals(Integer.toString(i), message.getUserProperty("index"));
            assertEquals("body-" + i, Inbox.body(clients.admin().viewMessage(topic, offsetIds[i])));
        }
    }

    @Test
    @DisplayName("a large body, which the client compresses: it comes back as it was")
    void compressed() throws Exception {
        String topic = clients.topic("compressed", 1);
        byte[] body = "0123456789abcdef".repeat(20_000).getBytes(UTF_8);
        SendResult answer = clients.producer().send(new Message(topic, body));
        MessageExt stored = clients.read(topic, 1).get(0);
        assertArrayEquals(body, stored.getBody());
        assertTrue(stored.getStoreSize() < body.length / 10, "stored compressed: " + stored.getStoreSize() + " bytes");
        assertNotNull(answer.getOffsetMsgId());
    }

    @Test
    @DisplayName("to a topic that nobody made: it is made with four queues")
    void topicOnFirstUse() throws Exception {
        String topic = clients.name("first-use");
        var producer = clients.producer();
        for (int i = 0; i < 8; i++) {
            assertEquals(SendStatus.SEND_OK, producer.send(new Message(topic, new byte[] {(byte) i})).getSendStatus());
        }
        assertEquals(8, clients.read(topic, 8).size());
        var queues = clients.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0);
        assertEquals(4, queues.getReadQueueNums());
        assertEquals(4, queues.getWriteQueueNums());
        assertEquals(6, queues.getPerm());
    }

    /** The offsets of each queue are 0, 1, 2 and so on without a gap. */
    private static void assertDense(List<MessageExt> stored) {
        var next = new HashMap<Integer, Long>();
        for (MessageExt message : stored) {
            long expected = next.merge(message.getQueueId(), 1L, Long::sum) - 1;
            assertEquals(expected, message.getQueueOffset(), "queue " + message.getQueueId());
        }
    }
}
