package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import braidmq.interop.Await;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A message is found")
class QueryTest extends Story {
    private String topic;
    private final List<SendResult> answers = new ArrayList<>();

    @BeforeEach
    void send() throws Exception {
        topic = clients.topic("query", 2);
        var producer = clients.producer();
        for (int i = 0; i < 20; i++) {
            var message = new Message(topic, "TagQ", ("m-" + i).getBytes(UTF_8));
            message.setKeys(List.of("pair-" + i / 2, "single-" + i));
            answers.add(producer.send(message));
        }
    }

    @Test
    @DisplayName("by each of its keys, together with the others that have the key")
    void byKey() throws Exception {
        assertEquals(List.of("m-7"), find("single-7"));
        assertEquals(List.of("m-14", "m-15"), find("pair-7"));
        assertThrows(MQClientException.class, () -> query("nobody-has-this"));
        long past = System.currentTimeMillis() - 7_200_000;
        assertThrows(MQClientException.class, () -> clients.admin().queryMessage(topic, "single-7", 32, past, past + 3_600_000),
            "not in a time before it was stored");
    }

    private List<String> find(String key) {
        var found = new TreeSet<String>();
        int expected = key.startsWith("pair") ? 2 : 1;
        Await.until("key " + key + " is indexed", PATIENCE, () -> {
            found.clear();
            query(key).forEach(message -> found.add(Inbox.body(message)));
            return found.size() >= expected;
        });
        return List.copyOf(found);
    }

    private List<MessageExt> query(String key) throws Exception {
        return clients.admin().queryMessage(topic, key, 32, 0, System.currentTimeMillis() + 60_000).getMessageList();
    }

    @Test
    @DisplayName("by the unique key that its producer gave it")
    void byUniqueKey() throws Exception {
        String id = answers.get(3).getMsgId();
        Await.until("id " + id + " is indexed", PATIENCE, () -> clients.admin().viewMessage(topic, id) != null);
        MessageExt message = clients.admin().viewMessage(topic, id);
        assertEquals("m-3", Inbox.body(message));
        assertEquals(id, message.getMsgId());
        assertEquals(answers.get(3).getQueueOffset(), message.getQueueOffset());
    }

    @Test
    @DisplayName("by the id that says where the broker put it")
    void byOffsetId() throws Exception {
        for (int i = 0; i < 20; i++) {
            MessageExt message = clients.admin().viewMessage(topic, answers.get(i).getOffsetMsgId());
            assertEquals("m-" + i, Inbox.body(message));
            assertEquals("TagQ", message.getTags());
            assertEquals(answers.get(i).getQueueOffset(), message.getQueueOffset());
            assertEquals(answers.get(i).getMessageQueue().getQueueId(), message.getQueueId());
        }
    }
}
