package braidmq.interop.mqadmin;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import braidmq.interop.Broker;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

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

    static Set<Command> commands() {
        return RESULTS.keySet();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("commands")
    void printsTheSame(Command command) throws IOException {
        List<List<String>> printed = RESULTS.get(command);
        assertTrue(printed.size() > 1, "it prints something before its exit code");
        Path file = EXPECTED.resolve(command.name() + ".txt");
        if (RECORD) {
            Files.createDirectories(EXPECTED);
            Files.write(file, printed.stream().map(line -> String.join(Masks.COLUMN_SEPARATOR, line)).toList());
        }
        var expected = Files.readAllLines(file).stream()
            .map(line -> List.of(line.split(Pattern.quote(Masks.COLUMN_SEPARATOR)))).toList();
        var differences = Difference.between(expected, printed);
        if (!differences.isEmpty()) {
            fail(command + "\n" + String.join("\n", differences));
        }
    }
}
