package braidmq.interop;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The {@code braidmq} binary, as Kafka's clients see it. */
final class BraidKafka implements KafkaBroker {
    private final BraidProcess process;

    BraidKafka(Path binary, Settings settings) throws IOException {
        var set = new ArrayList<>(List.of(
            "store.flush=sync",
            "store.file_bytes=" + (16 << 20),
            "kafka.initial_rebalance_delay_ms=" + settings.rebalanceDelayMs()));
        if (!settings.advertisedHost().isEmpty()) {
            set.add("listen.advertised=" + settings.advertisedHost());
        }
        process = new BraidProcess(binary, List.of("nameserver", "rocketmq", "kafka"), set);
    }

    @Override
    public String bootstrap() {
        return process.address("kafka");
    }

    @Override
    public boolean isApache() {
        return false;
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    @Override
    public long decodedBatches() throws IOException {
        return RuntimeInfo.ask(process.address("rocketmq"), "decodedBatches");
    }

    @Override
    public void kill() throws IOException {
        process.kill();
    }

    @Override
    public void restart() throws IOException {
        process.restart();
    }

    @Override
    public void close() throws IOException {
        process.close();
    }
}
