package braidmq.interop;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** Apache Kafka in one JVM, broker and controller: the oracle of the suites. */
final class ApacheKafka implements KafkaBroker {
    private static final Duration START_LIMIT = Duration.ofSeconds(120);
    private static final List<String> JVM = List.of("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1");

    private final Path lib;
    private final Path root = Files.createTempDirectory("kafka-interop");
    private final Path log = root.resolve("kafka.log");
    private final Path properties = root.resolve("server.properties");
    private final int port = freePort();
    private Process process;

    ApacheKafka(Path lib, Settings settings) throws IOException {
        this.lib = lib;
        Files.writeString(properties, configuration(settings, freePort()));
        Files.writeString(root.resolve("log4j2.properties"), String.join("\n",
            "appender.file.type=File", "appender.file.name=file", "appender.file.fileName=" + root.resolve("server.log"),
            "appender.file.layout.type=PatternLayout", "appender.file.layout.pattern=%d %p %m (%c)%n",
            "rootLogger.level=warn", "rootLogger.appenderRef.file.ref=file", ""));
        format();
        restart();
    }

    /** Node 0, as BraidMQ's virtual cluster has it; as few internal partitions as there can be, so that it starts quickly. */
    private String configuration(Settings settings, int controllerPort) {
        String host = settings.advertisedHost().isEmpty() ? "127.0.0.1" : settings.advertisedHost();
        return String.join("\n",
            "process.roles=broker,controller", "node.id=0",
            "controller.quorum.voters=0@127.0.0.1:" + controllerPort,
            "listeners=PLAINTEXT://127.0.0.1:" + port + ",CONTROLLER://127.0.0.1:" + controllerPort,
            "advertised.listeners=PLAINTEXT://" + host + ":" + port,
            "inter.broker.listener.name=PLAINTEXT", "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs=" + root.resolve("data"),
            "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1",
            "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
            "transaction.state.log.num.partitions=1",
            "share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
            "group.initial.rebalance.delay.ms=" + settings.rebalanceDelayMs(),
            "log.cleaner.enable=false", "");
    }

    private void format() throws IOException {
        var command = List.of("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAABQ", "-c", properties.toString());
        Process format = java(command);
        try {
            Await.until("the directory is formatted", START_LIMIT, () -> !format.isAlive());
        } finally {
            Processes.kill(format);
        }
        if (format.exitValue() != 0) {
            throw new IOException("StorageTool ended with " + format.exitValue() + "\n" + Processes.tail(log));
        }
    }

    @Override
    public void restart() throws IOException {
        Files.writeString(log, "");
        process = java(List.of("kafka.Kafka", properties.toString()));
        try {
            Await.until("Apache Kafka serves", START_LIMIT, () -> !process.isAlive() || Processes.accepts(port));
        } catch (AssertionError e) {
            Processes.kill(process);
            throw new IOException(e.getMessage() + "\n" + Processes.tail(log), e);
        }
        if (!process.isAlive()) {
            throw new IOException("Apache Kafka ended with " + process.exitValue() + "\n" + Processes.tail(log));
        }
    }

    private Process java(List<String> arguments) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(JVM);
        command.addAll(List.of("-Dlog4j2.configurationFile=" + root.resolve("log4j2.properties"),
            "-cp", lib.resolve("*").toString()));
        command.addAll(arguments);
        return Processes.start(command, root, log);
    }

    private static int freePort() throws IOException {
        try (var probe = new ServerSocket(0)) {
            return probe.getLocalPort();
        }
    }

    @Override
    public String bootstrap() {
        return "127.0.0.1:" + port;
    }

    @Override
    public boolean isApache() {
        return true;
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    /** It has no readers of another protocol. */
    @Override
    public long decodedBatches() {
        return 0;
    }

    @Override
    public void kill() throws IOException {
        Processes.kill(process);
    }

    /** It takes seconds to stop in order, and nobody looks at it again. */
    @Override
    public void close() throws IOException {
        Processes.kill(process);
        Processes.deleteTree(root);
    }
}
