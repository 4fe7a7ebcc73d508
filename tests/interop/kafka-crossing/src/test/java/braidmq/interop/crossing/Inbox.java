package braidmq.interop.crossing;

import braidmq.interop.Await;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** What one consumer or several received, in the order in which it came. */
final class Inbox {
    private final List<MessageExt> messages = new ArrayList<>();

    /** A listener that keeps everything and acknowledges it. */
    MessageListenerConcurrently listener() {
        return (batch, context) -> {
            batch.forEach(this::put);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    synchronized void put(MessageExt message) {
        messages.add(message);
        notifyAll();
    }

    synchronized List<MessageExt> all() {
        return List.copyOf(messages);
    }

    synchronized int size() {
        return messages.size();
    }

    List<String> bodies() {
        return all().stream().map(Inbox::body).toList();
    }

    synchronized void clear() {
        messages.clear();
    }

    /** Waits until {@code count} messages have come. */
    synchronized void awaitSize(int count) throws InterruptedException {
        long deadline = System.nanoTime() + Story.PATIENCE.toNanos();
        while (messages.size() < count) {
            long left = (deadline - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                throw new AssertionError("only " + messages.size() + " of " + count + " messages came within " + Story.PATIENCE.toSeconds() + " s");
            }
            wait(left);
        }
    }

    /** Waits until each of these bodies has come at least once. */
    void awaitAll(Set<String> expected) {
        Await.until(() -> missing(expected), Story.PATIENCE, () -> new HashSet<>(bodies()).containsAll(expected));
    }

    private String missing(Set<String> expected) {
        var missing = new TreeSet<>(expected);
        missing.removeAll(bodies());
        return missing.size() + " of " + expected.size() + " messages did not come: "
            + missing.stream().limit(10).toList();
    }

    static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }
}
