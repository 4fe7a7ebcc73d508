package braidmq.interop.kafka;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member in a process of its own, so that it can die without a word. */
final class Stranger implements AutoCloseable {
    private static final String OWNS = "owns ";

    private final Process process;
    private final BufferedReader output;

    Stranger(String bootstrap, String group, String topic, String instance) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"),
            Stranger.class.getName(), bootstrap, group, topic, instance));
        process = new ProcessBuilder(command).redirectErrorStream(true).start();
        output = new BufferedReader(new InputStreamReader(process.getInputStream()));
    }

    /** Waits until it has been given partitions and returns how many. */
    int awaitOwns() throws IOException {
        var said = new ArrayList<String>();
        for (String line = output.readLine(); line != null; line = output.readLine()) {
            said.add(line);
            if (line.startsWith(OWNS)) {
                return Integer.parseInt(line.substring(OWNS.length()));
            }
        }
        throw new AssertionError("it ended: " + said);
    }

    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor(30, TimeUnit.SECONDS);
    }

    @Override
    public void close() throws InterruptedException {
        kill();
    }

    /** bootstrap, group, topic, group instance id or "-". */
    public static void main(String[] args) {
        var config = new java.util.HashMap<String, Object>(Map.of("bootstrap.servers", args[0], "group.id", args[1],
            "session.timeout.ms", "6000", "heartbeat.interval.ms", "200"));
        if (!args[3].equals("-")) {
            config.put("group.instance.id", args[3]);
        }
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[2]));
            int owned = -1;
            while (true) {
                consumer.poll(Duration.ofMillis(100));
                if (consumer.assignment().size() != owned && !consumer.assignment().isEmpty()) {
                    owned = consumer.assignment().size();
                    System.out.println(OWNS + owned);
                }
            }
        }
    }
}
