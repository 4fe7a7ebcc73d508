package braidmq.interop;

import java.io.IOException;
import java.nio.file.Path;

/**
 * A broker under test that speaks Kafka.
 *
 * <p>System properties say which one it is, so that the same stories run against BraidMQ and against their oracle:
 * <ul>
 * <li>{@code braidmq.binary}: path of a {@code braidmq} executable; it is started in a temporary directory;</li>
 * <li>{@code kafka.lib}: directory with the jars of Apache Kafka; it is started as one process;</li>
 * <li>{@code kafka.bootstrap}: a broker that already runs; it can be neither killed nor configured.</li>
 * </ul>
 */
public interface KafkaBroker extends AutoCloseable {

    /**
     * What a test may ask of its broker.
     *
     * @param advertisedHost where clients are told to find it, or "" for where they reached it; the port stays the same
     * @param rebalanceDelayMs how long the first rebalance of a group waits for more members
     */
    record Settings(String advertisedHost, int rebalanceDelayMs) {
        /** Found where it is; a group's first member doesn't wait for others. */
        public static Settings forTests() {
            return new Settings("", 0);
        }
    }

    /** Starts the broker that the system properties name and returns when it serves. */
    static KafkaBroker start(Settings settings) throws IOException {
        String binary = System.getProperty("braidmq.binary", "");
        String lib = System.getProperty("kafka.lib", "");
        String bootstrap = System.getProperty("kafka.bootstrap", "");
        if (!binary.isEmpty()) {
            return startBraid(settings);
        } else if (!bootstrap.isEmpty()) {
            return new ForeignKafka(bootstrap);
        } else if (!lib.isEmpty()) {
            return startApache(settings);
        }
        throw new IllegalStateException("say what to test: -Dbraidmq.binary=PATH, -Dkafka.lib=DIR or -Dkafka.bootstrap=HOST:PORT");
    }

    /** Starts BraidMQ, whatever else could be tested. */
    static KafkaBroker startBraid(Settings settings) throws IOException {
        return new BraidKafka(Path.of(System.getProperty("braidmq.binary")), settings);
    }

    /** Starts Apache Kafka, the oracle. */
    static KafkaBroker startApache(Settings settings) throws IOException {
        return new ApacheKafka(Path.of(System.getProperty("kafka.lib")), settings);
    }

    /** host:port at which the broker listens; not what it tells its clients when {@link Settings#advertisedHost} is set. */
    String bootstrap();

    /** Whether this is Apache's broker: a story that shows a difference asks. */
    boolean isApache();

    /** Whether {@link #kill()} and {@link #restart()} work, and settings were heard. */
    boolean canBeKilled();

    /** How many record batches were opened since the start, which only a reader of another protocol needs. */
    long decodedBatches() throws IOException;

    /** SIGKILL: nothing is flushed, no goodbye is sent. Returns when the process is gone. */
    void kill() throws IOException;

    /** Starts again on the same port and the same data after {@link #kill()}; returns when it serves. */
    void restart() throws IOException;

    @Override
    void close() throws IOException;
}
