package braidmq.interop.kafkadiff;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import braidmq.interop.Await;
import braidmq.interop.KafkaBroker;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.ListGroupsRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Plays the same scripts of raw requests against both brokers and compares the answers, field by field. A script that
 * breaks off on one of them leaves the rest of its requests without an answer, which shows. {@code -Dkafka.diff.self=true}
 * compares Apache Kafka with itself: then nothing may differ.
 */
@DisplayName("BraidMQ answers what Apache Kafka answers")
class DiffTest {
    private static final Duration START_LIMIT = Duration.ofSeconds(60);
    private static final int REQUESTS_MIN = 200;
    private static final Path PRINTED = Path.of(System.getProperty("printed"));

    private static final Map<String, List<String>> KAFKA = new LinkedHashMap<>();
    private static final Map<String, List<String>> BRAID = new LinkedHashMap<>();
    private static final Map<String, String> BROKEN = new LinkedHashMap<>();
    private static Accepted accepted;

    @BeforeAll
    static void play() throws Exception {
        accepted = new Accepted(Path.of(System.getProperty("accepted")));
        boolean self = Boolean.getBoolean("kafka.diff.self");
        var pool = Executors.newFixedThreadPool(2);
        try {
            var plays = new ArrayList<Callable<Void>>();
            plays.add(() -> play("Apache Kafka", () -> KafkaBroker.startApache(KafkaBroker.Settings.forTests()), KAFKA));
            plays.add(() -> play("BraidMQ", () -> self ? KafkaBroker.startApache(KafkaBroker.Settings.forTests())
                : KafkaBroker.startBraid(KafkaBroker.Settings.forTests()), BRAID));
            for (Future<Void> played : pool.invokeAll(plays)) {
                played.get();
            }
        } finally {
            pool.shutdown();
        }
        print("kafka.txt", KAFKA);
        print("braidmq.txt", BRAID);
        var differences = new LinkedHashMap<String, List<String>>();
        KAFKA.forEach((request, answer) -> differences.put(request, accepted.unexplained(request, answer, braid(request))));
        differences.values().removeIf(List::isEmpty);
        print("differences.txt", differences);
        System.out.println("  compared: " + KAFKA.size() + " requests in " + Scripts.all().size() + " scripts, " + accepted.size()
            + " rules for accepted differences");
    }

    private static Void play(String who, Callable<KafkaBroker> start, Map<String, List<String>> answers) throws Exception {
        try (KafkaBroker broker = start.call()) {
            awaitNode(broker);
            for (var script : Scripts.all().entrySet()) {
                try (var session = new Session(broker.bootstrap(), script.getKey(), answers)) {
                    script.getValue().play(session);
                } catch (Exception | AssertionError e) {
                    synchronized (BROKEN) {
                        BROKEN.put(script.getKey() + " on " + who, e + at(e));
                    }
                }
            }
        }
        return null;
    }

    private static String at(Throwable e) {
        for (StackTraceElement frame : e.getStackTrace()) {
            if (frame.getFileName() != null && frame.getFileName().endsWith("Scripts.java")) {
                return " at " + frame;
            }
        }
        return "";
    }

    /** Kafka listens before its node is part of its cluster, and makes the topic of its groups when the first one is asked for. */
    private static void awaitNode(KafkaBroker broker) {
        Await.until("the node is in its metadata and coordinates groups", START_LIMIT, () -> {
            try (var wire = new Wire(broker.bootstrap())) {
                return wire.ask(ApiKeys.METADATA, 4, new MetadataRequestData().setTopics(List.of())).get("brokers").size() == 1
                    && (!broker.isApache() || wire.ask(ApiKeys.FIND_COORDINATOR, 0, new FindCoordinatorRequestData().setKey("diff")).get("errorCode").asInt() == 0
                        && wire.ask(ApiKeys.LIST_GROUPS, 0, new ListGroupsRequestData()).get("errorCode").asInt() == 0);
            }
        });
    }

    private static List<String> braid(String request) {
        return BRAID.getOrDefault(request, List.of("/ = the script had broken off"));
    }

    /** For whoever looks for the reason of a difference. */
    private static void print(String file, Map<String, List<String>> answers) throws Exception {
        Files.createDirectories(PRINTED);
        var lines = new ArrayList<String>();
        answers.forEach((request, answer) -> {
            lines.add(request);
            answer.forEach(line -> lines.add("    " + line));
        });
        Files.write(PRINTED.resolve(file), lines);
    }

    static Set<String> requests() {
        return KAFKA.keySet();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("requests")
    @DisplayName("answers the same")
    void sameAnswer(String request) {
        List<String> unexplained = accepted.unexplained(request, KAFKA.get(request), braid(request));
        if (!unexplained.isEmpty()) {
            fail(request + "\n" + String.join("\n", unexplained));
        }
    }

    @Test
    @DisplayName("plays every script to its end")
    void scriptsEnd() {
        assertEquals(Map.of(), BROKEN);
        assertEquals(KAFKA.keySet(), BRAID.keySet());
        assertTrue(KAFKA.size() >= REQUESTS_MIN, KAFKA.size() + " requests");
    }

    @Test
    @DisplayName("differs in all that is accepted as a difference")
    void rulesAreUsed() {
        if (!Boolean.getBoolean("kafka.diff.self")) {
            assertEquals(List.of(), accepted.unused());
        }
    }

    @Test
    @DisplayName("and users are told of every difference")
    void documented() throws Exception {
        var lines = Files.readAllLines(Path.of(System.getProperty("documentation")));
        assertEquals(List.of(), accepted.reasons().stream().filter(reason -> !lines.contains("* " + reason)).toList());
    }
}
