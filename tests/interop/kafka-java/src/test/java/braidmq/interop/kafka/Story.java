package braidmq.interop.kafka;

import braidmq.interop.KafkaBroker;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.Timeout;

/**
 * What the stories share: one broker for all that don't kill it, and clients that end with the story.
 * Each story uses topics and groups of its own, so stories run side by side.
 */
@Timeout(180)
abstract class Story {
    /** How long an event may take that normally takes milliseconds: a loaded machine, a session of six seconds that ends. */
    static final Duration PATIENCE = Duration.ofSeconds(60);
    /** By how much counts are multiplied; a run never counts less than a fifth of what a full one does. */
    static final double SCALE = Math.max(0.2, Double.parseDouble(System.getProperty("scale", "0.2")));

    private static KafkaBroker shared;

    final Clients clients;

    Story() {
        this(sharedBroker());
    }

    Story(KafkaBroker broker) {
        clients = new Clients(broker);
    }

    private static synchronized KafkaBroker sharedBroker() {
        if (shared == null) {
            shared = startBroker(KafkaBroker.Settings.forTests());
            Runtime.getRuntime().addShutdownHook(new Thread(() -> end(shared)));
        }
        return shared;
    }

    static KafkaBroker startBroker(KafkaBroker.Settings settings) {
        try {
            return KafkaBroker.start(settings);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void end(KafkaBroker broker) {
        try {
            broker.close();
        } catch (IOException e) {
            System.err.println("a broker did not end well: " + e);
        }
    }

    @AfterEach
    void endClients() {
        clients.close();
    }

    /** One line of facts for whoever reads the run's output. */
    static void say(TestInfo story, String facts) {
        System.out.println("  " + story.getDisplayName() + ": " + facts);
    }

    /** {@code full} in a full run, fewer in a short one. */
    static int scaled(int full) {
        return (int) Math.ceil(full * SCALE);
    }
}
