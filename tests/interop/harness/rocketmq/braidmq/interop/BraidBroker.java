package braidmq.interop;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/** The {@code braidmq} binary, as RocketMQ's clients see it. */
final class BraidBroker implements Broker {
    private final BraidProcess process;

    BraidBroker(Path binary, Settings settings) throws IOException {
        process = new BraidProcess(binary, List.of("nameserver", "rocketmq", "kafka"), List.of(
            "store.flush=" + settings.flush(),
            "store.file_bytes=" + settings.fileBytes(),
            "rocketmq.message_delay_level=" + settings.delayLevels()));
    }

    @Override
    public void restart() throws IOException {
        process.restart();
    }

    @Override
    public String nameServer() {
        return process.address("nameserver");
    }

    @Override
    public String address() {
        return process.address("rocketmq");
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    @Override
    public void kill() throws IOException {
        process.kill();
    }

    @Override
    public Duration positionsDurableAfter() {
        return Duration.ofMillis(1_200);
    }

    @Override
    public void close() throws IOException {
        process.close();
    }
}
