package braidmq.interop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** The {@code braidmq} binary in a temporary directory. The first start takes free ports, a restart takes the same. */
final class BraidBroker implements Broker {
    private static final Duration START_LIMIT = Duration.ofSeconds(30);

    private final Path binary;
    private final Settings settings;
    private final Path root = Files.createTempDirectory("braidmq-interop");
    private final Path log = root.resolve("broker.log");
    private Process process;
    private String nameServer = "127.0.0.1:0";
    private String address = "127.0.0.1:0";

    BraidBroker(Path binary, Settings settings) throws IOException {
        this.binary = binary;
        this.settings = settings;
        restart();
    }

    @Override
    public void restart() throws IOException {
        Path ready = root.resolve("ready.json");
        Files.deleteIfExists(ready);
        process = Processes.start(command(ready), root, log);
        String listeners = awaitReady(ready);
        nameServer = listener(listeners, "nameserver");
        address = listener(listeners, "rocketmq");
    }

    private List<String> command(Path ready) {
        var command = new ArrayList<>(List.of(binary.toString(), "start",
            "--data", root.resolve("data").toString(), "--ready-file", ready.toString()));
        for (String setting : List.of(
            "listen.nameserver=" + nameServer,
            "listen.rocketmq=" + address,
            "listen.kafka=127.0.0.1:0",
            "store.flush=" + settings.flush(),
            "store.file_bytes=" + settings.fileBytes(),
            "rocketmq.message_delay_level=" + settings.delayLevels())) {
            command.add("--set");
            command.add(setting);
        }
        return command;
    }

    private String awaitReady(Path ready) throws IOException {
        try {
            Await.until("braidmq serves", START_LIMIT,
                () -> !process.isAlive() || Files.exists(ready) && Files.readString(ready).stripTrailing().endsWith("}"));
            if (process.isAlive()) {
                return Files.readString(ready);
            }
            throw new IOException("braidmq ended with " + process.exitValue() + "\n" + Processes.tail(log));
        } catch (AssertionError e) {
            Processes.kill(process);
            throw new IOException(e.getMessage() + "\n" + Processes.tail(log), e);
        }
    }

    private static String listener(String ready, String name) throws IOException {
        var matcher = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]+)\"").matcher(ready);
        if (!matcher.find()) {
            throw new IOException("the ready file names no listener " + name + ": " + ready);
        }
        return matcher.group(1);
    }

    @Override
    public String nameServer() {
        return nameServer;
    }

    @Override
    public String address() {
        return address;
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    @Override
    public void kill() throws IOException {
        Processes.kill(process);
    }

    @Override
    public Duration positionsDurableAfter() {
        return Duration.ofMillis(1_200);
    }

    @Override
    public void close() throws IOException {
        Processes.stop(process);
        Processes.deleteTree(root);
    }
}
