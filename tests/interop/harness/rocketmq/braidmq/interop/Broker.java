package braidmq.interop;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A broker under test, together with the name server that leads to it.
 *
 * <p>System properties say which one it is, so that the same stories run against BraidMQ and against their oracle:
 * <ul>
 * <li>{@code braidmq.binary}: path of a {@code braidmq} executable; it is started in a temporary directory;</li>
 * <li>{@code apache.lib}: directory with the jars of Apache RocketMQ's name server and broker; both are started;</li>
 * <li>{@code namesrv.address}: a name server that already runs; it can be neither killed nor configured.</li>
 * </ul>
 */
public interface Broker extends AutoCloseable {

    /** What a test may ask of its broker. Delay levels are a space separated table such as {@code 1s 5s 10s}. */
    record Settings(String delayLevels, String flush, long fileBytes) {
        /**
         * Short levels, so that 16 tries take seconds: 1 to 3 differ (the delay stories use them), 3 to 18 are the
         * waits between tries. Whole seconds, since Apache's table knows nothing shorter.
         */
        static final String SHORT_DELAY_LEVELS = "3s 2s" + " 1s".repeat(16);

        /** Short delays, synchronous flush, log files of 16 MiB. */
        public static Settings forTests() {
            return new Settings(SHORT_DELAY_LEVELS, "sync", 16L << 20);
        }
    }

    /** Starts the broker that the system properties name and returns when it serves. */
    static Broker start(Settings settings) throws IOException {
        String binary = System.getProperty("braidmq.binary", "");
        String lib = System.getProperty("apache.lib", "");
        String nameServer = System.getProperty("namesrv.address", "");
        if (!binary.isEmpty()) {
            return new BraidBroker(Path.of(binary), settings);
        } else if (!lib.isEmpty()) {
            return new ApacheBroker(Path.of(lib), settings);
        } else if (!nameServer.isEmpty()) {
            return new ForeignBroker(nameServer);
        }
        throw new IllegalStateException("say what to test: -Dbraidmq.binary=PATH, -Dapache.lib=DIR or -Dnamesrv.address=HOST:PORT");
    }

    /** host:port for a client's {@code namesrvAddr}. */
    String nameServer();

    /** host:port of the broker's main listener. */
    String address();

    /** Whether {@link #kill()} and {@link #restart()} work. */
    boolean canBeKilled();

    /** SIGKILL: nothing is flushed, no goodbye is sent. Returns when the process is gone. */
    void kill() throws IOException;

    /** Starts again on the same ports and the same data after {@link #kill()}; returns when it serves. */
    void restart() throws IOException;

    /** After how long a consumer's position, reported by a request that is not answered, survives a kill. */
    Duration positionsDurableAfter();

    @Override
    void close() throws IOException;
}
