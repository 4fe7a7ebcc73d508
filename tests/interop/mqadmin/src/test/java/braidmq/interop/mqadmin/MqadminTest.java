package braidmq.interop.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import braidmq.interop.Broker;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Plays a fixed scenario, calls mqadmin's commands at its steps and compares what they print with the files in
 * expected/, which this same class wrote against Apache's broker ({@code -Dmqadmin.record=true}).
 */
@DisplayName("mqadmin prints what it prints against Apache's broker")
class MqadminTest {
    private static final Path EXPECTED = Path.of(System.getProperty("mqadmin.expected"));
    private static final Path PRINTED = Path.of(System.getProperty("mqadmin.printed"));
    private static final boolean RECORD = Boolean.getBoolean("mqadmin.record");
    /** mqadmin mostly waits for its own shutdown; so many run at a time. */
    private static final int AT_A_TIME = 6;

    private static final Masks MASKS = new Masks();
    private static final Map<Command, List<List<String>>> RESULTS = new LinkedHashMap<>();

    @BeforeAll
    static void playAndCall() throws Exception {
        try (Broker broker = Broker.start(Broker.Settings.forTests()); Scenario scenario = new Scenario(broker)) {
            String cluster = scenario.clusterName();
            MASKS.know(broker.nameServer(), "name server address");
            MASKS.know(broker.address(), "broker address");
            MASKS.know(cluster, "cluster");
            MASKS.know(scenario.brokerName(), "broker");
            call(broker,
                Command.of("updateTopic", "updateTopic", "-c", cluster, "-t", Scenario.TOPIC, "-r", "4", "-w", "4"),
                Command.of("updateTopic-broker", "updateTopic", "-b", broker.address(), "-t", "AdminOther", "-r", "2", "-w", "3", "-p", "4"),
                Command.of("updateTopic-order", "updateTopic", "-c", cluster, "-t", "AdminOrder", "-r", "2", "-w", "2", "-o", "true"),
                Command.of("updateTopic-bad-name", "updateTopic", "-b", broker.address(), "-t", "bad name", "-r", "2", "-w", "2"),
                Command.of("updateSubGroup", "updateSubGroup", "-c", cluster, "-g", Scenario.CONSUMERS),
                Command.of("updateSubGroup-broker", "updateSubGroup", "-b", broker.address(), "-g", "AdminOtherGroup", "-r", "3", "-q", "2"));

            scenario.play();
            for (int i = 0; i < scenario.sent.size(); i++) {
                MASKS.know(scenario.sent.get(i).getMsgId(), "unique key " + i);
                MASKS.know(scenario.sent.get(i).getOffsetMsgId(), "offset id " + i);
            }
            MASKS.know(Long.toString(scenario.between), "time between");
            call(broker,
                Command.of("topicList", "topicList"),
                Command.of("topicList-cluster", "topicList", "-c"),
                Command.of("topicRoute", "topicRoute", "-t", Scenario.TOPIC),
                Command.of("topicRoute-list", "topicRoute", "-t", Scenario.TOPIC, "-l"),
                Command.of("topicRoute-missing", "topicRoute", "-t", "Nowhere"),
                Command.of("topicStatus", "topicStatus", "-t", Scenario.TOPIC),
                Command.of("topicStatus-missing", "topicStatus", "-t", "Nowhere"),
                Command.of("clusterList", "clusterList"),
                Command.of("clusterList-more", "clusterList", "-m"),
                Command.of("brokerStatus", "brokerStatus", "-b", broker.address()),
                Command.of("consumerProgress", "consumerProgress"),
                Command.of("consumerProgress-group", "consumerProgress", "-g", Scenario.CONSUMERS),
                Command.of("consumerProgress-clients", "consumerProgress", "-g", Scenario.CONSUMERS, "-s", "true"),
                Command.of("consumerConnection", "consumerConnection", "-g", Scenario.CONSUMERS),
                Command.of("consumerConnection-missing", "consumerConnection", "-g", "Nobody"),
                Command.of("producerConnection", "producerConnection", "-g", Scenario.PRODUCERS, "-t", Scenario.TOPIC),
                Command.of("producerConnection-missing", "producerConnection", "-g", "Nobody", "-t", Scenario.TOPIC),
                Command.of("queryMsgById", "queryMsgById", "-t", Scenario.TOPIC, "-i", scenario.sent.get(5).getOffsetMsgId()),
                Command.of("queryMsgByKey", "queryMsgByKey", "-t", Scenario.TOPIC, "-k", "key-7"),
                Command.of("queryMsgByKey-missing", "queryMsgByKey", "-t", Scenario.TOPIC, "-k", "no-such-key"),
                Command.of("queryMsgByUniqueKey", "queryMsgByUniqueKey", "-t", Scenario.TOPIC, "-i", scenario.sent.get(3).getMsgId()));

            call(broker, Command.of("resetOffsetByTime", "resetOffsetByTime", "-t", Scenario.TOPIC, "-g", Scenario.CONSUMERS,
                "-s", Long.toString(scenario.between)));
            scenario.awaitConsumed(18);
            call(broker, Command.of("consumerProgress-after-reset", "consumerProgress", "-g", Scenario.CONSUMERS));

            scenario.stopConsumer();
            call(broker, Command.of("resetOffsetByTime-offline", "resetOffsetByTime", "-t", Scenario.TOPIC, "-g", Scenario.CONSUMERS, "-s", "0"));
            call(broker,
                Command.of("consumerProgress-offline", "consumerProgress", "-g", Scenario.CONSUMERS),
                Command.of("consumerConnection-offline", "consumerConnection", "-g", Scenario.CONSUMERS),
                Command.of("deleteTopic", "deleteTopic", "-c", cluster, "-t", "AdminOther"));
            call(broker,
                Command.of("topicList-after-delete", "topicList"),
                Command.of("topicRoute-after-delete", "topicRoute", "-t", "AdminOther"));
        }
    }

    /** Calls these side by side and keeps what they printed, masked. */
    private static void call(Broker broker, Command... commands) throws Exception {
        var pool = Executors.newFixedThreadPool(AT_A_TIME);
        try {
            var calls = new ArrayList<Callable<String>>();
            Arrays.stream(commands).forEach(command -> calls.add(() -> command.run(broker.nameServer(), PRINTED)));
            List<Future<String>> printed = pool.invokeAll(calls);
            for (int i = 0; i < commands.length; i++) {
                RESULTS.put(commands[i], MASKS.lines(commands[i].subcommand(), printed.get(i).get()));
            }
        } finally {
            pool.shutdown();
        }
    }

    @TestFactory
    Stream<DynamicTest> commands() {
        return RESULTS.entrySet().stream()
            .map(result -> dynamicTest(result.getKey().name(), () -> check(result.getKey(), result.getValue())));
    }

    private static void check(Command command, List<List<String>> lines) throws Exception {
        Path file = EXPECTED.resolve(command.name() + ".txt");
        if (RECORD) {
            Files.createDirectories(EXPECTED);
            Files.writeString(file, text(lines));
            return;
        }
        List<String> expected = Files.readAllLines(file);
        String where = String.join(" ", command.args());
        for (int i = 0; i < Math.min(expected.size(), lines.size()); i++) {
            List<String> expectedColumns = List.of(expected.get(i).split(" \\| "));
            for (int column = 0; column < Math.min(expectedColumns.size(), lines.get(i).size()); column++) {
                assertEquals(expectedColumns.get(column), lines.get(i).get(column),
                    where + "\nline " + (i + 1) + ", column " + (column + 1) + " of\n" + text(lines) + "\nexpected\n" + String.join("\n", expected));
            }
            assertEquals(expectedColumns.size(), lines.get(i).size(), where + ": columns of line " + (i + 1));
        }
        assertEquals(String.join("\n", expected), text(lines).stripTrailing(), where);
        assertTrue(lines.size() > 1, where + " printed nothing");
    }

    private static String text(List<List<String>> lines) {
        var text = new StringBuilder();
        lines.forEach(line -> text.append(String.join(" | ", line)).append('\n'));
        return text.toString();
    }
}
