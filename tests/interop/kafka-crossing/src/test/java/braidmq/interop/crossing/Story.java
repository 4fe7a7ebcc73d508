package braidmq.interop.crossing;

import braidmq.interop.BothProtocols;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Timeout;

/**
 * What the stories share: one broker, and clients of both kinds that end with the story. Each story uses topics and groups
 * of its own, so stories run side by side.
 */
@Timeout(180)
abstract class Story {
    static final Duration PATIENCE = Duration.ofSeconds(60);
    /** By how much counts are multiplied; a run never counts less than a fifth of what a full one does. */
    static final double SCALE = Math.max(0.2, Double.parseDouble(System.getProperty("scale", "0.2")));

    private static BothProtocols shared;

    final BothProtocols broker;
    final RocketClients rocketmq;
    final KafkaClients kafka;

    Story() {
        this(sharedBroker());
    }

    Story(BothProtocols broker) {
        this.broker = broker;
        rocketmq = new RocketClients(broker);
        kafka = new KafkaClients(broker);
    }

    private static synchronized BothProtocols sharedBroker() {
        if (shared == null) {
            shared = startBroker();
            Runtime.getRuntime().addShutdownHook(new Thread(Story::end));
        }
        return shared;
    }

    static BothProtocols startBroker() {
        try {
            return new BothProtocols();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void end() {
        try {
            shared.close();
        } catch (IOException e) {
            System.err.println("the broker did not end well: " + e);
        }
    }

    /** Makes a topic through Kafka; RocketMQ's clients find it when this returns. */
    String topic(String label, int partitions) throws Exception {
        String topic = Names.unique(label);
        kafka.create(topic, partitions);
        rocketmq.awaitRoute(topic);
        return topic;
    }

    @AfterEach
    void endClients() {
        rocketmq.close();
        kafka.close();
    }
}
