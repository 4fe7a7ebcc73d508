package braidmq.interop.kafkatools;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import braidmq.interop.KafkaBroker;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(180)
@DisplayName("Kafka's own programs")
class ToolsTest {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final String TOOLS = "org.apache.kafka.tools.";
    private static final double SCALE = Math.max(0.2, Double.parseDouble(System.getProperty("scale", "0.2")));
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private static KafkaBroker broker;

    @TempDir
    private Path directory;

    @BeforeAll
    static void start() throws Exception {
        broker = KafkaBroker.start(KafkaBroker.Settings.forTests());
        // Kafka's listener is there before its node is.
        Await.until("the broker answers", PATIENCE, () -> topics("--list").exit() == 0);
    }

    @AfterAll
    static void stop() throws Exception {
        broker.close();
    }

    private static Tool call(String tool, String... args) throws Exception {
        var all = new ArrayList<>(List.of("--bootstrap-server", broker.bootstrap()));
        all.addAll(Arrays.asList(args));
        return Tool.run(tool, all.toArray(String[]::new));
    }

    private static Tool topics(String... args) throws Exception {
        return call(TOOLS + "TopicCommand", args);
    }

    private static Tool configs(String... args) throws Exception {
        return call("kafka.admin.ConfigCommand", args);
    }

    private static Tool groups(String... args) throws Exception {
        return call(TOOLS + "consumer.group.ConsumerGroupCommand", args);
    }

    private static Tool offsets(String... args) throws Exception {
        return call(TOOLS + "GetOffsetShell", args);
    }

    private static String topic(String label, int partitions, String... more) throws Exception {
        String topic = label + "-" + RUN;
        var args = new ArrayList<>(List.of("--create", "--topic", topic, "--partitions", Integer.toString(partitions)));
        args.addAll(List.of(more));
        assertEquals(List.of("Created topic " + topic + "."), topics(args.toArray(String[]::new)).lines());
        until("its partitions answer", () -> offsets("--topic-partitions", topic).lines().size() == partitions);
        return topic;
    }

    private static void until(String what, Callable<Boolean> condition) {
        Await.until(what, PATIENCE, condition);
    }

    /** Types lines into the console producer. */
    private static void produce(String topic, List<String> lines, String... args) throws Exception {
        var all = new ArrayList<>(List.of("--bootstrap-server", broker.bootstrap(), "--topic", topic));
        all.addAll(List.of(args));
        Tool.runWith(String.join("\n", lines) + "\n", TOOLS + "ConsoleProducer", all.toArray(String[]::new)).lines();
    }

    private static List<String> consume(String topic, int count, String... args) throws Exception {
        var all = new ArrayList<>(List.of("--topic", topic, "--max-messages", Integer.toString(count), "--timeout-ms", "30000"));
        all.addAll(List.of(args));
        return call(TOOLS + "consumer.ConsoleConsumer", all.toArray(String[]::new)).lines();
    }

    @Test
    @DisplayName("kafka-topics makes, lists, describes, changes and deletes topics")
    void topicCommand() throws Exception {
        String topic = topic("topics", 3, "--config", "retention.ms=3600000", "--replication-factor", "1");
        assertTrue(topics("--list").lines().contains(topic));
        List<String> described = topics("--describe", "--topic", topic).lines();
        assertEquals(4, described.size());
        List<String> head = List.of(described.get(0).split("\t"));
        assertEquals("Topic: " + topic, head.get(0).trim());
        assertTrue(head.get(1).trim().matches("TopicId: [A-Za-z0-9_-]{22}"), head.get(1));
        assertEquals(List.of("PartitionCount: 3", "ReplicationFactor: 1"), head.subList(2, 4).stream().map(String::trim).toList());
        assertTrue(head.get(4).contains("retention.ms=3600000"), head.get(4));
        for (int i = 0; i < 3; i++) {
            assertEquals(List.of("Topic:", topic, "Partition:", Integer.toString(i), "Leader:", "0", "Replicas:", "0", "Isr:", "0"),
                List.of(described.get(i + 1).trim().split("\\s+")).subList(0, 10));
        }
        Tool again = topics("--create", "--topic", topic);
        assertEquals(1, again.exit());
        assertTrue(again.toString().contains("already exists"), again.toString());
        assertEquals(0, topics("--create", "--if-not-exists", "--topic", topic).exit());
        topics("--alter", "--topic", topic, "--partitions", "5").lines();
        until("five partitions", () -> topics("--describe", "--topic", topic).lines().size() == 6);
        assertEquals(1, topics("--alter", "--topic", topic, "--partitions", "2").exit());
        topics("--delete", "--topic", topic).lines();
        until("it is gone", () -> !topics("--list").lines().contains(topic));
        assertEquals(1, topics("--describe", "--topic", topic).exit());
        assertEquals(1, topics("--delete", "--topic", topic).exit());
    }

    @Test
    @DisplayName("kafka-configs describes and alters topics, and describes the broker")
    void configCommand() throws Exception {
        String topic = topic("configs", 1, "--config", "retention.ms=3600000");
        String[] entity = {"--entity-type", "topics", "--entity-name", topic};
        Tool all = configs(with(entity, "--describe", "--all"));
        assertTrue(all.columns("retention.ms=3600000").contains("sensitive=false"));
        assertTrue(all.out().contains("DYNAMIC_TOPIC_CONFIG:retention.ms=3600000"), all.out());
        all.columns("cleanup.policy=delete");
        all.columns("max.message.bytes=1048588");
        assertEquals("Completed updating config for topic " + topic + ".",
            configs(with(entity, "--alter", "--add-config", "max.message.bytes=20000,message.timestamp.type=LogAppendTime")).lines().get(0));
        until("the change shows", () -> configs(with(entity, "--describe")).out().contains("max.message.bytes=20000"));
        configs(with(entity, "--describe")).columns("message.timestamp.type=LogAppendTime");
        configs(with(entity, "--alter", "--delete-config", "max.message.bytes")).lines();
        until("the default shows", () -> configs(with(entity, "--describe", "--all")).out().contains("max.message.bytes=1048588"));
        Tool unknown = configs(with(entity, "--alter", "--add-config", "no.such=1"));
        assertEquals(1, unknown.exit());
        assertTrue(unknown.toString().contains("no.such"), unknown.toString());
        Tool server = configs("--entity-type", "brokers", "--entity-name", "0", "--describe", "--all");
        assertTrue(server.lines().size() > 5, server.out());
        server.columns("message.max.bytes=1048588");
    }

    private static String[] with(String[] first, String... more) {
        var all = new ArrayList<>(List.of(first));
        all.addAll(List.of(more));
        return all.toArray(String[]::new);
    }

    @Test
    @DisplayName("kafka-console-producer and -consumer pass on keys, headers, offsets and null values")
    void console() throws Exception {
        String topic = topic("console", 1);
        produce(topic, List.of("h1:a,h2:b\tkey-1\tvalue 1", "h1:c\tkey-2\tNULL", "h3:\tkey-3\tv\u00e4lue 3"),
            "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=NULL",
            "--compression-codec", "zstd");
        assertEquals(List.of("Offset:0\th1:a,h2:b\tkey-1\tvalue 1", "Offset:1\th1:c\tkey-2\tnull", "Offset:2\th3:\tkey-3\tv\u00e4lue 3"),
            consume(topic, 3, "--from-beginning", "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true",
                "--formatter-property", "print.offset=true"));
        assertEquals(List.of("null"), consume(topic, 1, "--partition", "0", "--offset", "1"));
        produce(topic, IntStream.range(0, 2_000).mapToObj(i -> "line " + i).toList(), "--compression-codec", "gzip");
        assertEquals(List.of("line 1995", "line 1996", "line 1997", "line 1998", "line 1999"), consume(topic, 5, "--partition", "0", "--offset", "1998"));
    }

    @Test
    @DisplayName("kafka-get-offsets tells first, last, newest and by time")
    void getOffsets() throws Exception {
        String topic = topic("offsets", 2);
        long before = System.currentTimeMillis();
        produce(topic, List.of("k:1", "k:2", "k:3"), "--reader-property", "parse.key=true", "--reader-property", "key.separator=:");
        List<String> last = offsets("--topic", topic).lines();
        int full = last.contains(topic + ":0:3") ? 0 : 1;
        assertEquals(List.of(topic + ":" + full + ":3", topic + ":" + (1 - full) + ":0"), last.stream().sorted(
            (a, b) -> b.substring(b.length() - 1).compareTo(a.substring(a.length() - 1))).toList());
        assertEquals(List.of(topic + ":0:0", topic + ":1:0"), offsets("--topic", topic, "--time", "earliest").lines());
        assertEquals(List.of(topic + ":" + full + ":0"), offsets("--topic-partitions", topic + ":" + full, "--time", Long.toString(before)).lines());
        String newest = offsets("--topic-partitions", topic + ":" + full, "--time", "max-timestamp").lines().get(0);
        assertTrue(newest.matches(topic + ":" + full + ":[012]"), newest);
    }

    @Test
    @DisplayName("kafka-consumer-groups describes, resets, forgets and deletes")
    void consumerGroups() throws Exception {
        String topic = topic("groups", 1);
        String group = "tools-" + RUN;
        produce(topic, IntStream.range(0, 20).mapToObj(i -> "line " + i).toList());
        assertEquals(12, consume(topic, 12, "--group", group, "--from-beginning").size());
        assertTrue(groups("--list").lines().contains(group));
        assertEquals("Empty", groups("--list", "--state").columns(group).get(1));
        assertEquals(List.of(group, topic, "0", "12", "20", "8", "-", "-", "-"), offsetsOf(group, topic));
        assertTrue(groups("--describe", "--group", group, "--state").columns(group).contains("Empty"));

        Tool dry = groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--dry-run");
        assertEquals("0", last(dry.columns(group, topic, "0")));
        assertEquals("12", offsetsOf(group, topic).get(3));
        for (var reset : Map.of("--to-earliest", List.of("0"), "--to-latest", List.of("20"), "--to-offset 7", List.of("7"),
            "--to-datetime 2020-01-01T00:00:00.000", List.of("0")).entrySet()) {
            var args = new ArrayList<>(List.of("--reset-offsets", "--group", group, "--topic", topic, "--execute"));
            args.addAll(List.of(reset.getKey().split(" ")));
            assertEquals(reset.getValue().get(0), last(groups(args.toArray(String[]::new)).columns(group, topic, "0")), reset.getKey());
            assertEquals(reset.getValue().get(0), offsetsOf(group, topic).get(3), reset.getKey());
        }
        groups("--reset-offsets", "--group", group, "--topic", topic + ":0", "--to-offset", "5", "--execute").lines();
        groups("--reset-offsets", "--group", group, "--topic", topic, "--shift-by", "3", "--execute").lines();
        assertEquals(List.of("8", "20", "12"), offsetsOf(group, topic).subList(3, 6));
        assertEquals(List.of("line 8"), consume(topic, 1, "--group", group));

        try (var member = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", broker.bootstrap(), "group.id", group, "client.id", "watched",
            "group.instance.id", "its-instance"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            member.subscribe(List.of(topic));
            until("it is a member", () -> {
                member.poll(Duration.ofMillis(100));
                return member.assignment().size() == 1;
            });
            assertEquals(List.of("watched", "1"), groups("--describe", "--group", group, "--members").columns(group).subList(4, 6));
            assertEquals("watched", offsetsOf(group, topic).get(8));
            Tool refused = groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute");
            assertTrue(refused.toString().contains("not inactive") || refused.toString().contains("inactive, but"), refused.toString());
            Tool live = groups("--delete", "--group", group);
            assertTrue(live.toString().contains("GroupNotEmptyException") || live.toString().contains("not empty"), live.toString());
        }
        // A static member stays when its consumer closes.
        call(TOOLS + "consumer.group.ConsumerGroupCommand", "--describe", "--group", group, "--members").columns(group);
        leave(group);
        groups("--delete-offsets", "--group", group, "--topic", topic).lines();
        assertFalse(groups("--describe", "--group", group).out().contains(topic));
        produceCommit(group, topic);
        assertTrue(groups("--delete", "--group", group).out().contains("successful"));
        assertFalse(groups("--list").lines().contains(group));
        Tool unknown = groups("--describe", "--group", group);
        assertTrue(unknown.toString().contains("not found") || unknown.toString().contains("does not exist"), unknown.toString());
    }

    private static void leave(String group) throws Exception {
        try (var admin = org.apache.kafka.clients.admin.Admin.create(Map.of("bootstrap.servers", broker.bootstrap()))) {
            admin.removeMembersFromConsumerGroup(group, new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions()).all().get();
        }
    }

    private static void produceCommit(String group, String topic) throws Exception {
        groups("--reset-offsets", "--group", group, "--topic", topic, "--to-latest", "--execute").lines();
    }

    private static List<String> offsetsOf(String group, String topic) throws Exception {
        return groups("--describe", "--group", group).columns(group, topic, "0");
    }

    private static String last(List<String> columns) {
        // The last column, NEW-LEADER-EPOCH or the like, is missing in some versions: the offset is the fourth.
        return columns.get(3);
    }

    @Test
    @DisplayName("kafka-delete-records moves the start")
    void deleteRecords() throws Exception {
        String topic = topic("deleted", 1);
        produce(topic, List.of("a", "b", "c", "d"));
        Path file = directory.resolve("offsets.json");
        Files.writeString(file, "{\"partitions\": [{\"topic\": \"" + topic + "\", \"partition\": 0, \"offset\": 3}], \"version\": 1}");
        Tool deleted = call(TOOLS + "DeleteRecordsCommand", "--offset-json-file", file.toString());
        assertTrue(deleted.lines().stream().anyMatch(line -> line.equals("partition: " + topic + "-0\tlow_watermark: 3")), deleted.out());
        assertEquals(List.of(topic + ":0:3"), offsets("--topic", topic, "--time", "earliest").lines());
        assertEquals(List.of("d"), consume(topic, 1, "--from-beginning"));
    }

    @Test
    @DisplayName("kafka-broker-api-versions can use what it finds")
    void apiVersions() throws Exception {
        Tool versions = call(TOOLS + "BrokerApiVersionsCommand");
        assertTrue(versions.lines().get(0).startsWith(broker.bootstrap() + " (id: 0 rack: null"), versions.out());
        for (String usable : List.of("Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]", "ListOffsets(2): 1 to 11 [usable: 11]",
            "Metadata(3): 0 to 13 [usable: 13]", "JoinGroup(11): 0 to 9 [usable: 9]", "InitProducerId(22): 0 to 5 [usable: 5]")) {
            assertTrue(versions.out().contains(usable) || versions.out().replace("to 6 [usable: 6]", "to 5 [usable: 5]").contains(usable), usable + " in\n" + versions.out());
        }
        assertFalse(versions.out().contains("ERROR"), versions.out());
    }

    @Test
    @DisplayName("kafka-log-dirs tells how much there is")
    void logDirs() throws Exception {
        String topic = topic("sized", 2);
        produce(topic, IntStream.range(0, 100).mapToObj(i -> "x".repeat(100)).toList());
        Tool described = call(TOOLS + "LogDirsCommand", "--describe", "--topic-list", topic);
        String json = described.lines().stream().filter(line -> line.startsWith("{")).findFirst().orElseThrow();
        JsonNode dirs = new ObjectMapper().readTree(json).at("/brokers/0/logDirs");
        assertEquals(1, dirs.size());
        assertTrue(dirs.at("/0/error").isNull());
        long bytes = 0;
        for (JsonNode partition : dirs.at("/0/partitions")) {
            assertTrue(partition.get("partition").asText().startsWith(topic + "-"), partition.toString());
            assertFalse(partition.get("isFuture").asBoolean());
            bytes += partition.get("size").asLong();
        }
        assertEquals(2, dirs.at("/0/partitions").size());
        assertTrue(bytes >= 10_000, bytes + " bytes");
    }

    @Test
    @DisplayName("kafka-producer-perf-test and kafka-consumer-perf-test count what they send and get")
    void performance() throws Exception {
        int records = (int) (200_000 * SCALE);
        String topic = topic("perf", 2);
        Tool produced = Tool.run(TOOLS + "ProducerPerformance", "--topic", topic, "--num-records", Integer.toString(records), "--record-size", "100",
            "--throughput", "-1", "--producer-props", "bootstrap.servers=" + broker.bootstrap(), "acks=all", "compression.type=lz4");
        String summary = produced.lines().get(produced.lines().size() - 1);
        assertTrue(summary.startsWith(records + " records sent, "), summary);
        Tool consumed = call(TOOLS + "ConsumerPerformance", "--topic", topic, "--num-records", Integer.toString(records), "--timeout", "30000");
        List<String> columns = List.of(consumed.lines().get(consumed.lines().size() - 1).split(", "));
        assertEquals(records, Integer.parseInt(columns.get(4)), consumed.out());
        System.out.println("  kafka-producer-perf-test: " + summary);
    }

    @Test
    @DisplayName("VerifiableProducer and VerifiableConsumer agree")
    void verifiable() throws Exception {
        int records = (int) (10_000 * SCALE);
        String topic = topic("verified", 2);
        var json = new ObjectMapper();
        Tool produced = Tool.fork(TOOLS + "VerifiableProducer", "--bootstrap-server", broker.bootstrap(), "--topic", topic, "--max-messages", Integer.toString(records), "--acks", "-1", "--value-prefix", "7");
        int acknowledged = 0;
        for (String line : json(produced)) {
            JsonNode said = json.readTree(line);
            if (said.get("name").asText().equals("producer_send_success")) {
                assertTrue(said.get("value").asText().startsWith("7."), line);
                acknowledged++;
            }
            assertNotEquals("producer_send_error", said.get("name").asText(), line);
        }
        assertEquals(records, acknowledged);
        Tool consumed = Tool.fork(TOOLS + "VerifiableConsumer", "--bootstrap-server", broker.bootstrap(), "--topic", topic, "--group-id", "verified-" + RUN, "--max-messages", Integer.toString(records),
            "--session-timeout", "6000");
        int received = 0;
        boolean committed = false;
        for (String line : json(consumed)) {
            JsonNode said = json.readTree(line);
            received += said.get("name").asText().equals("records_consumed") ? said.get("count").asInt() : 0;
            committed |= said.get("name").asText().equals("offsets_committed") && said.get("success").asBoolean();
        }
        assertEquals(records, received);
        assertTrue(committed, "and it committed");
    }

    /** Warnings come among the lines that are meant. */
    private static List<String> json(Tool tool) throws Exception {
        return tool.lines().stream().filter(line -> line.startsWith("{")).toList();
    }
}
