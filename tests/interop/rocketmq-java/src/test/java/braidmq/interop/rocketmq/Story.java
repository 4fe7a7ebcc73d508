package braidmq.interop.rocketmq;

import braidmq.interop.Broker;
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
@Timeout(300)
abstract class Story {
    /** How long an event may take that normally takes milliseconds: a loaded machine, a rebalance of 20 s, two of them. */
    static final Duration PATIENCE = Duration.ofSeconds(90);

    private static Broker shared;

    final Clients clients;

    Story() {
        this(sharedBroker());
    }

    Story(Broker broker) {
        clients = new Clients(broker);
    }

    private static synchronized Broker sharedBroker() {
        if (shared == null) {
            shared = startBroker();
            Runtime.getRuntime().addShutdownHook(new Thread(Story::closeShared));
        }
        return shared;
    }

    static Broker startBroker() {
        try {
            return Broker.start(Broker.Settings.forTests());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void closeShared() {
        try {
            shared.close();
        } catch (IOException e) {
            System.err.println("the shared broker did not end well: " + e);
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
}
