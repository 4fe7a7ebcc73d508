package braidmq.interop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** The {@code braidmq} binary in a temporary directory. The first start takes free ports, a restart takes the same. */
final class BraidProcess {
    private static final Duration START_LIMIT = Duration.ofSeconds(30);

    private final Path binary;
    private final List<String> settings;
    private final Path root = Files.createTempDirectory("braidmq-interop");
    private final Path log = root.resolve("broker.log");
    /** Each listener's name and address; port 0 until it has been started. */
    private final Map<String, String> listeners = new LinkedHashMap<>();
    private Process process;

    /**
     * Starts it and returns when it serves.
     *
     * @param listeners those that exist, without {@code listen.}
     * @param settings what {@code --set} takes
     */
    BraidProcess(Path binary, List<String> listeners, List<String> settings) throws IOException {
        this.binary = binary;
        this.settings = settings;
        listeners.forEach(listener -> this.listeners.put(listener, "127.0.0.1:0"));
        restart();
    }

    void restart() throws IOException {
        Path ready = root.resolve("ready.json");
        Files.deleteIfExists(ready);
        process = Processes.start(command(ready), root, log);
        String addresses = awaitReady(ready);
        for (var listener : listeners.entrySet()) {
            listener.setValue(address(addresses, listener.getKey()));
        }
    }

    private List<String> command(Path ready) {
        var command = new ArrayList<>(List.of(binary.toString(), "start",
            "--data", root.resolve("data").toString(), "--ready-file", ready.toString()));
        listeners.forEach((listener, address) -> command.addAll(List.of("--set", "listen." + listener + "=" + address)));
        settings.forEach(setting -> command.addAll(List.of("--set", setting)));
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

    private static String address(String ready, String listener) throws IOException {
        var matcher = Pattern.compile("\"" + listener + "\"\\s*:\\s*\"([^\"]+)\"").matcher(ready);
        if (!matcher.find()) {
            throw new IOException("the ready file names no listener " + listener + ": " + ready);
        }
        return matcher.group(1);
    }

    /** host:port of a listener. */
    String address(String listener) {
        return listeners.get(listener);
    }

    void kill() throws IOException {
        Processes.kill(process);
    }

    void close() throws IOException {
        Processes.stop(process);
        Processes.deleteTree(root);
    }
}
