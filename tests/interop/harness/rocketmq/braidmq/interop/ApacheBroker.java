package braidmq.interop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** Apache RocketMQ's name server and broker as two JVMs: the oracle of the suites. */
final class ApacheBroker implements Broker {
    private static final Duration START_LIMIT = Duration.ofSeconds(120);
    private static final List<String> JVM = List.of(
        "-XX:MaxDirectMemorySize=1g", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1",
        "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED");

    private final Path lib;
    private final Path root = Files.createTempDirectory("apache-interop");
    private final int nameServerPort = Processes.freePortGroup();
    private final int brokerPort = Processes.freePortGroup();
    private Process nameServer;
    private Process broker;

    ApacheBroker(Path lib, Settings settings) throws IOException {
        this.lib = lib;
        Files.writeString(root.resolve("namesrv.conf"), "listenPort=" + nameServerPort + "\n");
        Files.writeString(root.resolve("broker.conf"), configuration(settings));
        restart();
    }

    private String configuration(Settings settings) {
        return String.join("\n",
            "brokerClusterName=DefaultCluster", "brokerName=broker-a", "brokerId=0", "brokerRole=ASYNC_MASTER",
            "namesrvAddr=127.0.0.1:" + nameServerPort, "brokerIP1=127.0.0.1",
            "listenPort=" + brokerPort, "haListenPort=" + (brokerPort + 1),
            "storePathRootDir=" + root.resolve("store"), "storePathCommitLog=" + root.resolve("store/commitlog"),
            "flushDiskType=" + (settings.flush().equals("sync") ? "SYNC_FLUSH" : "ASYNC_FLUSH"),
            "mappedFileSizeCommitLog=" + settings.fileBytes(), "mappedFileSizeConsumeQueue=600000",
            "messageDelayLevel=" + settings.delayLevels(),
            // Two of Apache's periods, shortened so that no story waits for them.
            "flushConsumerOffsetInterval=500", "flushDelayOffsetInterval=500",
            // On a busy machine Apache would otherwise refuse sends that waited for 200 ms.
            "waitTimeMillsInSendQueue=10000",
            "maxMessageSize=4194304", "diskMaxUsedSpaceRatio=95", "");
    }

    @Override
    public void restart() throws IOException {
        nameServer = java("org.apache.rocketmq.namesrv.NamesrvStartup", "256m", "namesrv");
        awaitPort("the name server", nameServer, nameServerPort, root.resolve("namesrv.log"));
        broker = java("org.apache.rocketmq.broker.BrokerStartup", "768m", "broker");
        awaitPort("the broker", broker, brokerPort, root.resolve("broker.log"));
        try (var admin = new RouteProbe(nameServer())) {
            Await.until("the broker is registered", START_LIMIT, () -> admin.brokerAddress().equals(address()));
        }
    }

    private Process java(String mainClass, String heap, String name) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(JVM);
        command.addAll(List.of("-Xms" + heap, "-Xmx" + heap, "-Drocketmq.home.dir=" + root, "-Duser.home=" + root,
            "-cp", lib.resolve("*").toString(), mainClass, "-c", root.resolve(name + ".conf").toString()));
        return Processes.start(command, root, root.resolve(name + ".log"));
    }

    private static void awaitPort(String what, Process process, int port, Path log) throws IOException {
        try {
            Await.until(what + " listens", START_LIMIT, () -> !process.isAlive() || Processes.accepts(port));
        } catch (AssertionError e) {
            throw new IOException(e.getMessage() + "\n" + Processes.tail(log), e);
        }
        if (!process.isAlive()) {
            throw new IOException(what + " ended with " + process.exitValue() + "\n" + Processes.tail(log));
        }
    }

    @Override
    public String nameServer() {
        return "127.0.0.1:" + nameServerPort;
    }

    @Override
    public String address() {
        return "127.0.0.1:" + brokerPort;
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    @Override
    public void kill() throws IOException {
        Processes.kill(broker);
        Processes.kill(nameServer);
    }

    /** Apache writes positions every flushConsumerOffsetInterval, and for the first time ten seconds after its start. */
    @Override
    public Duration positionsDurableAfter() {
        return Duration.ofSeconds(11);
    }

    @Override
    public void close() throws IOException {
        Processes.stop(broker);
        Processes.stop(nameServer);
        Processes.deleteTree(root);
    }
}
