package braidmq.interop;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** The {@code braidmq} binary with both listeners in view: what goes in through one comes out of the other. */
public final class BothProtocols implements AutoCloseable {
    /** RocketMQ's waits between tries are whole seconds; a failed message comes again after the third. */
    private static final String SHORT_DELAY_LEVELS = "1s" + " 1s".repeat(17);

    private final BraidProcess process;

    public BothProtocols() throws IOException {
        process = new BraidProcess(Path.of(System.getProperty("braidmq.binary")), List.of("nameserver", "rocketmq", "kafka"), List.of(
            "store.flush=sync",
            "store.file_bytes=" + (16 << 20),
            "kafka.initial_rebalance_delay_ms=0",
            "rocketmq.message_delay_level=" + SHORT_DELAY_LEVELS));
    }

    /** host:port for a RocketMQ client's {@code namesrvAddr}. */
    public String nameServer() {
        return process.address("nameserver");
    }

    /** host:port of RocketMQ's main listener. */
    public String rocketmq() {
        return process.address("rocketmq");
    }

    /** host:port for a Kafka client's {@code bootstrap.servers}. */
    public String kafka() {
        return process.address("kafka");
    }

    /** How many record batches were opened for RocketMQ's clients since the start. */
    public long decodedBatches() throws IOException {
        return RuntimeInfo.ask(rocketmq(), "decodedBatches");
    }

    /** How many batches were made for Kafka's clients of what RocketMQ's had sent. */
    public long packedBatches() throws IOException {
        return RuntimeInfo.ask(rocketmq(), "packedBatches");
    }

    /** SIGKILL and a new start on the same ports and data; returns when it serves. */
    public void killAndRestart() throws IOException {
        process.kill();
        process.restart();
    }

    @Override
    public void close() throws IOException {
        process.close();
    }
}
