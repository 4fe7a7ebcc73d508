package braidmq.interop.kafka;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("Who administers topics")
class AdminTest extends Story {
    private static NewTopic plain(String topic, int partitions) {
        return new NewTopic(topic, partitions, (short) 1);
    }

    @Test
    @DisplayName("makes one, deletes it and makes it again at once: it is another topic")
    void recreate() throws Exception {
        String topic = clients.name("again");
        var admin = clients.admin();
        var ids = new HashSet<Uuid>();
        var partition = new TopicPartition(topic, 0);
        for (int life = 0; life < 3; life++) {
            var created = admin.createTopics(List.of(plain(topic, life + 1)));
            Clients.get(created.all());
            assertEquals(life + 1, Clients.get(created.numPartitions(topic)));
            ids.add(Clients.get(created.topicId(topic)));
            clients.awaitTopic(topic, life + 1);
            assertEquals(0, clients.end(partition), "it begins empty");
            // A producer that stays would ask for its topic and so make it again.
            try (var producer = clients.producer()) {
                assertEquals(0, clients.send(producer, topic, 0, "life-" + life, 3).get(0).offset());
            }
            assertEquals(List.of("life-" + life + "-0", "life-" + life + "-1", "life-" + life + "-2"), Clients.values(clients.read(partition, 3)));
            Clients.get(admin.deleteTopics(List.of(topic)).all());
        }
        assertEquals(3, ids.size(), "an id each");
        assertFalse(ids.contains(Uuid.ZERO_UUID));
        Await.until("it is gone", PATIENCE, () -> !admin.listTopics().names().get().contains(topic));
    }

    @Test
    @DisplayName("is told why a topic can't be made, deleted or described")
    void refusals() throws Exception {
        String topic = clients.topic("there", 2);
        var admin = clients.admin();
        assertEquals(TopicExistsException.class, Clients.failure(admin.createTopics(List.of(plain(topic, 1))).all()));
        assertEquals(InvalidPartitionsException.class, Clients.failure(admin.createTopics(List.of(plain(clients.name("zero"), 0))).all()));
        assertEquals(InvalidTopicException.class, Clients.failure(admin.createTopics(List.of(plain("white space", 1))).all()));
        assertEquals(InvalidTopicException.class, Clients.failure(admin.createTopics(List.of(plain("x".repeat(250), 1))).all()));
        assertEquals(InvalidConfigurationException.class, Clients.failure(admin.createTopics(
            List.of(plain(clients.name("config"), 1).configs(Map.of("no.such.config", "1")))).all()));
        assertEquals(InvalidConfigurationException.class, Clients.failure(admin.createTopics(
            List.of(plain(clients.name("config"), 1).configs(Map.of("retention.ms", "soon")))).all()));
        String unknown = clients.name("unknown");
        assertEquals(UnknownTopicOrPartitionException.class, Clients.failure(admin.deleteTopics(List.of(unknown)).all()));
        try {
            Renamed.describe(admin, List.of(unknown));
            assertEquals("refused", "described");
        } catch (java.util.concurrent.ExecutionException e) {
            assertEquals(UnknownTopicOrPartitionException.class, e.getCause().getClass());
        }
        String only = clients.name("only-validated");
        Clients.get(admin.createTopics(List.of(plain(only, 3)), new CreateTopicsOptions().validateOnly(true)).all());
        assertFalse(Clients.get(admin.listTopics().names()).contains(only));
    }

    @Test
    @DisplayName("adds partitions and never takes one away")
    void partitions() throws Exception {
        String topic = clients.topic("more", 2);
        var admin = clients.admin();
        Clients.get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
        clients.awaitTopic(topic, 5);
        assertEquals(0, clients.send(clients.producer(), topic, 4, "in-the-new", 1).get(0).offset());
        assertEquals(InvalidPartitionsException.class, Clients.failure(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all()));
        assertEquals(InvalidPartitionsException.class, Clients.failure(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all()));
        assertEquals(UnknownTopicOrPartitionException.class,
            Clients.failure(admin.createPartitions(Map.of(clients.name("unknown"), NewPartitions.increaseTo(3))).all()));
    }

    @Test
    @DisplayName("reads and changes configurations, with where each value comes from")
    void configs() throws Exception {
        String topic = clients.topic("configs", 1, "retention.ms", "3600000");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = describe(resource);
        assertEquals("3600000", config.get("retention.ms").value());
        assertEquals(ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source());
        for (var entry : Map.of("max.message.bytes", "1048588", "message.timestamp.type", "CreateTime", "retention.bytes", "-1").entrySet()) {
            ConfigEntry described = config.get(entry.getKey());
            assertEquals(entry.getValue(), described.value(), entry.getKey());
            assertEquals(true, described.isDefault(), entry.getKey());
            assertEquals(false, described.isReadOnly(), entry.getKey());
        }
        assertEquals("delete", config.get("cleanup.policy").value());
        assertEquals("producer", config.get("compression.type").value());
        assertEquals("1", config.get("min.insync.replicas").value());

        alter(resource, "max.message.bytes", "20000", OpType.SET);
        alter(resource, "retention.ms", "", OpType.DELETE);
        // Kafka's broker answers before it has heard of it itself.
        Await.until("the changes are there", PATIENCE, () -> describe(resource).get("max.message.bytes").value().equals("20000"));
        assertTrue(describe(resource).get("retention.ms").isDefault(), "it is the broker's again");
        assertEquals(InvalidConfigurationException.class, Clients.failure(
            clients.admin().incrementalAlterConfigs(Map.of(resource, List.of(op("no.such.config", "1", OpType.SET)))).all()));
        assertEquals(InvalidConfigurationException.class, Clients.failure(
            clients.admin().incrementalAlterConfigs(Map.of(resource, List.of(op("retention.ms", "soon", OpType.SET)))).all()));
        var synonyms = Clients.get(clients.admin().describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true)).all())
            .get(resource).get("max.message.bytes").synonyms();
        assertEquals("20000", synonyms.get(0).value());
        assertEquals(ConfigSource.DYNAMIC_TOPIC_CONFIG, synonyms.get(0).source());
        assertEquals(ConfigSource.DEFAULT_CONFIG, synonyms.get(synonyms.size() - 1).source());

        var broker = new ConfigResource(ConfigResource.Type.BROKER, "0");
        assertFalse(describe(broker).entries().isEmpty());
        assertEquals(UnknownTopicOrPartitionException.class, Clients.failure(clients.admin().describeConfigs(
            List.of(new ConfigResource(ConfigResource.Type.TOPIC, clients.name("unknown")))).all()));
    }

    private Config describe(ConfigResource resource) throws Exception {
        return Clients.get(clients.admin().describeConfigs(List.of(resource)).all()).get(resource);
    }

    private void alter(ConfigResource resource, String key, String value, OpType type) throws Exception {
        Clients.get(clients.admin().incrementalAlterConfigs(Map.of(resource, List.of(op(key, value, type)))).all());
    }

    private static AlterConfigOp op(String key, String value, OpType type) {
        return new AlterConfigOp(new ConfigEntry(key, value), type);
    }

    @Test
    @DisplayName("deletes the oldest records")
    void deleteRecords() throws Exception {
        String topic = clients.topic("cut", 1);
        var partition = new TopicPartition(topic, 0);
        clients.send(clients.producer(), topic, 0, "value", 20);
        var admin = clients.admin();
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(7))).lowWatermarks().get(partition);
        assertEquals(7, Clients.get(deleted).lowWatermark());
        assertEquals(7, clients.start(partition));
        assertEquals("value-7", Clients.values(clients.read(partition, 13)).get(0));
        assertEquals(OffsetOutOfRangeException.class, Clients.failure(
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(21))).lowWatermarks().get(partition)));
        assertEquals(7, Clients.get(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(3))).lowWatermarks().get(partition)).lowWatermark(),
            "never back");
        assertEquals(20, Clients.get(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(partition)).lowWatermark());
        assertEquals(20, clients.start(partition));
        assertEquals(20, clients.end(partition));
        assertEquals(20, clients.send(clients.producer(), topic, 0, "next", 1).get(0).offset());
    }

    @Test
    @DisplayName("asks for offsets: first, last, by time")
    void listOffsets() throws Exception {
        String topic = clients.topic("list", 3);
        long before = System.currentTimeMillis();
        clients.send(clients.producer(), topic, 1, "value", 5);
        for (int partition = 0; partition < 3; partition++) {
            var asked = new TopicPartition(topic, partition);
            assertEquals(0, clients.start(asked));
            assertEquals(partition == 1 ? 5 : 0, clients.end(asked));
            assertEquals(partition == 1 ? 0 : -1, clients.offset(asked, OffsetSpec.forTimestamp(before)));
            assertEquals(-1, clients.offset(asked, OffsetSpec.forTimestamp(before + 3_600_000)));
        }
    }

    @Test
    @DisplayName("sees one node, which leads everything")
    void cluster() throws Exception {
        var cluster = clients.admin().describeCluster();
        var nodes = Clients.get(cluster.nodes());
        assertEquals(1, nodes.size());
        var node = nodes.iterator().next();
        assertEquals(clients.broker().bootstrap(), node.host() + ":" + node.port());
        assertEquals(node, Clients.get(cluster.controller()));
        String id = Clients.get(cluster.clusterId());
        assertEquals(22, id.length(), id);
        assertEquals(id, Clients.get(clients.admin().describeCluster().clusterId()));
        String topic = clients.topic("led", 3);
        var partitions = Renamed.describe(clients.admin(), List.of(topic)).get(topic).partitions();
        assertEquals(List.of(0, 1, 2), partitions.stream().map(partition -> partition.partition()).toList());
        partitions.forEach(partition -> {
            assertEquals(node, partition.leader());
            assertEquals(List.of(node), partition.replicas());
            assertEquals(List.of(node), partition.isr());
        });
    }

    @Test
    @DisplayName("sees how much the directory holds of a partition")
    void logDirs() throws Exception {
        String topic = clients.topic("sized", 2);
        clients.send(clients.producer("compression.type", "none"), topic, 1, "x".repeat(1_000), 100);
        var described = Clients.get(clients.admin().describeLogDirs(List.of(0)).allDescriptions()).get(0);
        assertEquals(1, described.size());
        var replicas = described.values().iterator().next().replicaInfos();
        assertTrue(replicas.get(new TopicPartition(topic, 1)).size() >= 100_000, "at least what was sent");
        assertEquals(0, replicas.get(new TopicPartition(topic, 0)).size());
    }

    @Test
    @DisplayName("makes thousands of partitions in one call, finds and deletes them")
    void many(TestInfo story) throws Exception {
        int topics = Math.max(2, scaled(10));
        int each = 500;
        var names = IntStream.range(0, topics).mapToObj(i -> clients.name("many")).toList();
        long begun = System.nanoTime();
        Clients.get(clients.admin().createTopics(names.stream().map(name -> plain(name, each)).toList()).all());
        long made = System.nanoTime();
        names.forEach(name -> Await.until(name + " is there", PATIENCE,
            () -> Renamed.describe(clients.admin(), List.of(name)).get(name).partitions().size() == each));
        long described = System.nanoTime();
        say(story, topics * each + " partitions, made in " + (made - begun) / 1_000_000 + " ms, described in " + (described - made) / 1_000_000 + " ms");
        var last = new TopicPartition(names.get(topics - 1), each - 1);
        until(last);
        assertEquals(0, clients.send(clients.producer(), last.topic(), last.partition(), "last", 1).get(0).offset());
        Clients.get(clients.admin().deleteTopics(names).all());
    }

    /** Kafka takes a while until each of so many partitions answers. */
    private void until(TopicPartition partition) {
        Await.until(partition + " answers", PATIENCE, () -> clients.end(partition) == 0);
    }
}
