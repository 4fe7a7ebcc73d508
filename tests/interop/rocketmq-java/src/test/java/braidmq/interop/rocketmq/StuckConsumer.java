package braidmq.interop.rocketmq;

import braidmq.interop.Await;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/**
 * A group member in a JVM of its own that takes messages and never finishes one, to be killed with them in its hands.
 * The child prints a line per message; the parent collects the lines.
 */
final class StuckConsumer implements AutoCloseable {
    private final Process process;
    private final Set<String> received = new ConcurrentSkipListSet<>();
    private final Thread collector;

    StuckConsumer(String nameServer, String group, String topic) throws IOException {
        process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx128m",
            "-XX:TieredStopAtLevel=1", "-Duser.home=" + System.getProperty("user.home"),
            "-cp", System.getProperty("java.class.path"), StuckConsumer.class.getName(), nameServer, group, topic)
            .redirectErrorStream(true).start();
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        collector = new Thread(this::collect, "stuck-consumer-output");
        collector.start();
    }

    private void collect() {
        try (var lines = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith("GOT ")) {
                    received.add(line.substring("GOT ".length()));
                }
            }
        } catch (IOException e) {
            // The pipe breaks when the process is killed; what came before counts.
        }
    }

    void awaitReceived(int count) {
        Await.until(() -> "the child received " + received.size() + " of " + count, Story.PATIENCE,
            () -> received.size() >= count);
    }

    /** Bodies of what the child had received; complete after {@link #kill()}. */
    Set<String> received() {
        return Set.copyOf(received);
    }

    /** SIGKILL. Returns when the process is gone and its output is read to the end. */
    void kill() throws Exception {
        process.destroyForcibly();
        if (!process.waitFor(30, TimeUnit.SECONDS)) {
            throw new IOException("the child survives SIGKILL");
        }
        collector.join();
    }

    @Override
    public void close() throws Exception {
        kill();
    }

    /** The child. Arguments: name server, group, topic. */
    public static void main(String[] args) throws Exception {
        var never = new CountDownLatch(1);
        var consumer = new DefaultMQPushConsumer(args[1]);
        consumer.setNamesrvAddr(args[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(args[2], "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(message -> System.out.println("GOT " + Inbox.body(message)));
            try {
                never.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        never.await();
    }
}
