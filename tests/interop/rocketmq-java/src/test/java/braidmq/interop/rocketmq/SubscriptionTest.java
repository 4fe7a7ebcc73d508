package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import braidmq.interop.Await;
import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A subscription decides what a consumer gets")
class SubscriptionTest extends Story {

    @Test
    @DisplayName("tags: those named and no others, and the offset moves past the others too")
    void tags() throws Exception {
        String topic = clients.topic("tags", 2);
        String both = clients.name("tag-a-or-b");
        String one = clients.name("tag-c");
        String all = clients.name("tag-any");
        var bothInbox = consume(both, topic, "TagA || TagB");
        var oneInbox = consume(one, topic, "TagC");
        var allInbox = consume(all, topic, "*");
        var producer = clients.producer();
        for (int i = 0; i < 40; i++) {
            for (String tag : List.of("TagA", "TagB", "TagC", "TagD")) {
                producer.send(new Message(topic, tag, (tag + "-" + i).getBytes(UTF_8)));
            }
            producer.send(new Message(topic, ("untagged-" + i).getBytes(UTF_8)));
        }
        allInbox.awaitSize(200);
        for (String group : List.of(both, one, all)) {
            Await.until("group " + group + " is past the last message", PATIENCE, () -> clients.lag(group, topic) == 0);
        }
        assertEquals(80, bothInbox.size());
        assertEquals(new TreeSet<>(List.of("TagA", "TagB")), tagsIn(bothInbox));
        assertEquals(40, oneInbox.size());
        assertEquals(new TreeSet<>(List.of("TagC")), tagsIn(oneInbox));
        assertEquals(200, allInbox.size());
    }

    @Test
    @DisplayName("two tags of one hash code: the client's own check keeps them apart")
    void tagsOfOneHash() throws Exception {
        assertEquals("Aa".hashCode(), "BB".hashCode());
        String topic = clients.topic("one-hash", 1);
        String group = clients.name("one-hash");
        var inbox = consume(group, topic, "Aa");
        var producer = clients.producer();
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, "BB", ("BB-" + i).getBytes(UTF_8)));
            producer.send(new Message(topic, "Aa", ("Aa-" + i).getBytes(UTF_8)));
        }
        inbox.awaitSize(10);
        Await.until("the group is past the last message", PATIENCE, () -> clients.lag(group, topic) == 0);
        assertEquals(10, inbox.size());
        assertEquals(new TreeSet<>(List.of("Aa")), tagsIn(inbox));
    }

    @Test
    @DisplayName("broadcast: every member gets every message, and the broker keeps no offset for them")
    void broadcast() throws Exception {
        String topic = clients.topic("broadcast", 4);
        String group = clients.name("broadcast");
        var inboxes = List.of(new Inbox(), new Inbox(), new Inbox());
        for (Inbox inbox : inboxes) {
            var consumer = clients.consumer(group, topic, "*");
            Clients.broadcast(consumer);
            consumer.registerMessageListener(inbox.listener());
            consumer.start();
        }
        var sent = new TreeSet<String>();
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 100; i++) {
            producer.send(new Message(topic, ("m-" + i).getBytes(UTF_8)));
            sent.add("m-" + i);
        }
        for (Inbox inbox : inboxes) {
            inbox.awaitSize(100);
            assertEquals(100, inbox.size());
            assertEquals(sent, new TreeSet<>(inbox.bodies()));
        }
    }

    private Inbox consume(String group, String topic, String tags) throws Exception {
        var inbox = new Inbox();
        var consumer = clients.consumer(group, topic, tags);
        consumer.registerMessageListener(inbox.listener());
        consumer.start();
        return inbox;
    }

    private static TreeSet<String> tagsIn(Inbox inbox) {
        var tags = new TreeSet<String>();
        inbox.all().forEach(message -> tags.add(message.getTags()));
        return tags;
    }
}
