package braidmq.interop.kafkadiff;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.CreatePartitionsRequestData;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsAssignment;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableReplicaAssignment;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.DeleteTopicsRequestData;
import org.apache.kafka.common.message.DeleteTopicsRequestData.DeleteTopicState;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeLogDirsRequestData;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.protocol.ApiKeys;

/** Scripts about topics: what there is, making, changing and deleting. */
final class TopicScripts {
    static final byte TOPIC = 2;
    static final byte BROKER = 4;

    private TopicScripts() {
    }

    static void addTo(Map<String, Scripts.Script> all) {
        all.put("metadata", TopicScripts::metadata);
        all.put("create", TopicScripts::create);
        all.put("delete", TopicScripts::delete);
        all.put("partitions", TopicScripts::partitions);
        all.put("describe-configs", TopicScripts::describeConfigs);
        all.put("alter-configs", TopicScripts::alterConfigs);
        all.put("log-dirs", TopicScripts::logDirs);
        all.put("describe-partitions", TopicScripts::describePartitions);
    }

    private static MetadataRequestData metadataOf(String... topics) {
        return new MetadataRequestData().setTopics(new ArrayList<>(Arrays.stream(topics).map(topic -> new MetadataRequestTopic().setName(topic)).toList()));
    }

    private static void metadata(Session session) throws Exception {
        String id = session.topic("a", 3);
        session.topic("b", 1);
        String unknown = session.name("unknown");
        for (int version = 0; version <= 13; version++) {
            session.ask("of one", ApiKeys.METADATA, version, metadataOf(session.name("a")));
            session.ask("of all", ApiKeys.METADATA, version, new MetadataRequestData().setTopics(version == 0 ? List.of() : null));
        }
        for (int version = 4; version <= 13; version++) {
            session.ask("of one that isn't there", ApiKeys.METADATA, version, metadataOf(unknown).setAllowAutoTopicCreation(false));
        }
        session.ask("of two and one that isn't there", ApiKeys.METADATA, 9,
            metadataOf(session.name("b"), unknown, session.name("a")).setAllowAutoTopicCreation(false));
        session.ask("of one twice", ApiKeys.METADATA, 9, metadataOf(session.name("b"), session.name("b")));
        for (String bad : List.of("white space", "", ".", "..", "a/b", "x".repeat(250), "\u00e4")) {
            session.ask("of the name '" + (bad.length() > 50 ? "of 250" : bad) + "'", ApiKeys.METADATA, 9, metadataOf(bad).setAllowAutoTopicCreation(true));
        }
        session.ask("with operations", ApiKeys.METADATA, 8, metadataOf(session.name("a")).setIncludeTopicAuthorizedOperations(true)
            .setIncludeClusterAuthorizedOperations(true));
        for (int version = 12; version <= 13; version++) {
            session.ask("by id", ApiKeys.METADATA, version, byId(Uuid.fromString(id)));
            session.ask("by an id that isn't there", ApiKeys.METADATA, version, byId(new Uuid(4711, 4711)));
        }
        session.ask("by id in a version that can't yet", ApiKeys.METADATA, 10, byId(Uuid.fromString(id)));
        session.prepare(ApiKeys.METADATA, 4, metadataOf(session.name("made")).setAllowAutoTopicCreation(true));
        session.awaitTopic(session.name("made"), 1);
        session.ask("made it", ApiKeys.METADATA, 9, metadataOf(session.name("made")).setAllowAutoTopicCreation(false));
    }

    private static MetadataRequestData byId(Uuid id) {
        return new MetadataRequestData().setTopics(new ArrayList<>(List.of(new MetadataRequestTopic().setTopicId(id).setName(null))));
    }

    private static CreateTopicsRequestData creation(CreatableTopic... topics) {
        var all = new CreateTopicsRequestData.CreatableTopicCollection();
        Arrays.stream(topics).forEach(all::mustAdd);
        return new CreateTopicsRequestData().setTopics(all).setTimeoutMs(10_000);
    }

    private static CreatableTopic plain(String name) {
        return new CreatableTopic().setName(name).setNumPartitions(2).setReplicationFactor((short) 1);
    }

    private static CreatableTopic with(CreatableTopic topic, String... configs) {
        for (int i = 0; i < configs.length; i += 2) {
            topic.configs().add(new CreatableTopicConfig().setName(configs[i]).setValue(configs[i + 1]));
        }
        return topic;
    }

    private static CreatableTopic assigned(String name, int[][] partitions) {
        var topic = new CreatableTopic().setName(name).setNumPartitions(-1).setReplicationFactor((short) -1);
        for (int i = 0; i < partitions.length; i++) {
            topic.assignments().add(new CreatableReplicaAssignment().setPartitionIndex(partitions[i][0])
                .setBrokerIds(IntStream.of(partitions[i]).skip(1).boxed().toList()));
        }
        return topic;
    }

    private static void create(Session session) throws Exception {
        for (int version = 2; version <= 7; version++) {
            session.ask("a new one", ApiKeys.CREATE_TOPICS, version, creation(plain(session.name("v" + version))));
            session.ask("one that is there", ApiKeys.CREATE_TOPICS, version, creation(plain(session.name("v" + version))));
        }
        session.ask("to see whether it would work", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("dry"))).setValidateOnly(true));
        session.ask("to see whether it would work, and it is there", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("v2"))).setValidateOnly(true));
        for (String bad : List.of("white space", "", ".", "..", "a/b", "a,b", "x".repeat(250), "\u00e4")) {
            session.ask("the name '" + (bad.length() > 50 ? "of 250" : bad) + "'", ApiKeys.CREATE_TOPICS, 5, creation(plain(bad)));
        }
        session.ask("a name of 249", ApiKeys.CREATE_TOPICS, 5,
            creation(plain((session.name("long") + "x".repeat(249)).substring(0, 249))).setValidateOnly(true));
        session.ask("a name with a dot", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("dot.ted"))));
        session.until("the dotted one is there", () -> session.prepare(ApiKeys.METADATA, 9, metadataOf(session.name("dot.ted"))
            .setAllowAutoTopicCreation(false)).at("/topics/0/partitions").size() == 2);
        session.ask("a name that collides with it", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("dot_ted"))));
        for (int partitions : new int[] {0, -2}) {
            session.ask(partitions + " partitions", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("p")).setNumPartitions(partitions)));
        }
        for (int factor : new int[] {0, -2}) {
            session.ask("replication factor " + factor, ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("r")).setReplicationFactor((short) factor)));
        }
        session.ask("replication factor 3", ApiKeys.CREATE_TOPICS, 5,
            creation(plain(session.name("r3")).setReplicationFactor((short) 3)).setValidateOnly(true));
        session.ask("defaults", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("default")).setNumPartitions(-1).setReplicationFactor((short) -1)));
        session.ask("defaults in a version without", ApiKeys.CREATE_TOPICS, 3,
            creation(plain(session.name("default3")).setNumPartitions(-1).setReplicationFactor((short) -1)));
        session.ask("a configuration", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("conf")), "retention.ms", "1000", "max.message.bytes", "5000")));
        session.ask("a configuration that nobody knows", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("c")), "no.such", "1")));
        session.ask("a value that is no number", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("c")), "retention.ms", "soon")));
        session.ask("a value that is out of range", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("c")), "max.message.bytes", "-1")));
        session.ask("a value that is none of those", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("c")), "message.timestamp.type", "Never")));
        session.ask("a value that is null", ApiKeys.CREATE_TOPICS, 5, creation(with(plain(session.name("c")), "retention.ms", null)));
        session.ask("a configuration twice", ApiKeys.CREATE_TOPICS, 5, creation(duplicate(session)));
        session.ask("an assignment", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("as"), new int[][] {{0, 0}, {1, 0}})));
        session.ask("an assignment and a count", ApiKeys.CREATE_TOPICS, 5,
            creation(assigned(session.name("x"), new int[][] {{0, 0}}).setNumPartitions(1).setReplicationFactor((short) 1)));
        session.ask("an assignment to a broker that isn't there", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("x"), new int[][] {{0, 7}})));
        session.ask("an assignment with a hole", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("x"), new int[][] {{0, 0}, {2, 0}})));
        session.ask("an assignment of one partition twice", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("x"), new int[][] {{0, 0}, {0, 0}})));
        session.ask("an assignment to nobody", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("x"), new int[][] {{0}})));
        session.ask("an assignment to one broker twice", ApiKeys.CREATE_TOPICS, 5, creation(assigned(session.name("x"), new int[][] {{0, 0, 0}})));
        session.ask("one twice in one request", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("twin")), plain(session.name("twin"))));
        session.ask("a good one and a bad one", ApiKeys.CREATE_TOPICS, 5, creation(plain(session.name("good")), plain("bad name")));
        session.awaitTopic(session.name("good"), 2);
        session.ask("all that was made", ApiKeys.METADATA, 9, new MetadataRequestData().setTopics(null));
    }

    private static CreatableTopic duplicate(Session session) {
        // The collection of a topic's configurations keeps two of a name.
        return with(plain(session.name("c")), "retention.ms", "1000", "retention.ms", "2000");
    }

    private static DeleteTopicsRequestData deletion(String... names) {
        return new DeleteTopicsRequestData().setTopicNames(new ArrayList<>(List.of(names))).setTimeoutMs(10_000);
    }

    private static DeleteTopicState byName(String name) {
        return new DeleteTopicState().setName(name);
    }

    private static DeleteTopicState byUuid(Uuid id) {
        return new DeleteTopicState().setName(null).setTopicId(id);
    }

    private static DeleteTopicsRequestData states(DeleteTopicState... states) {
        return new DeleteTopicsRequestData().setTopics(new ArrayList<>(List.of(states))).setTimeoutMs(10_000);
    }

    private static void delete(Session session) throws Exception {
        for (int version = 1; version <= 5; version++) {
            session.topic("v" + version, 2);
            session.ask("", ApiKeys.DELETE_TOPICS, version, deletion(session.name("v" + version)));
            session.ask("that is gone", ApiKeys.DELETE_TOPICS, version, deletion(session.name("unknown")));
        }
        session.topic("v6", 1);
        session.ask("by name", ApiKeys.DELETE_TOPICS, 6, states(byName(session.name("v6"))));
        String id = session.topic("id", 1);
        session.ask("by id", ApiKeys.DELETE_TOPICS, 6, states(byUuid(Uuid.fromString(id))));
        session.ask("by an id that isn't there", ApiKeys.DELETE_TOPICS, 6, states(byUuid(new Uuid(4711, 4711))));
        session.ask("by a name that isn't there", ApiKeys.DELETE_TOPICS, 6, states(byName(session.name("unknown"))));
        session.ask("by neither", ApiKeys.DELETE_TOPICS, 6, states(new DeleteTopicState().setName(null)));
        String both = session.topic("both", 1);
        session.ask("by both", ApiKeys.DELETE_TOPICS, 6, states(new DeleteTopicState().setName(session.name("both")).setTopicId(Uuid.fromString(both))));
        session.ask("one twice", ApiKeys.DELETE_TOPICS, 5, deletion(session.name("both"), session.name("both")));
        session.ask("a good one and a bad one", ApiKeys.DELETE_TOPICS, 5, deletion(session.name("both"), session.name("unknown")));
        session.until("the last deletion shows", () -> session.prepare(ApiKeys.METADATA, 9, metadataOf(session.name("both"))
            .setAllowAutoTopicCreation(false)).at("/topics/0/errorCode").asInt() == 3);
        session.ask("what is left", ApiKeys.METADATA, 9, new MetadataRequestData().setTopics(null));
    }

    private static CreatePartitionsRequestData more(boolean dry, CreatePartitionsTopic... topics) {
        var all = new CreatePartitionsRequestData.CreatePartitionsTopicCollection();
        Arrays.stream(topics).forEach(all::mustAdd);
        return new CreatePartitionsRequestData().setTopics(all).setTimeoutMs(10_000).setValidateOnly(dry);
    }

    private static CreatePartitionsTopic count(String name, int count) {
        return new CreatePartitionsTopic().setName(name).setCount(count).setAssignments(null);
    }

    private static void partitions(Session session) throws Exception {
        session.topic("a", 2);
        String a = session.name("a");
        for (int version = 0; version <= 3; version++) {
            session.ask("one more", ApiKeys.CREATE_PARTITIONS, version, more(false, count(a, 3 + version)));
            session.awaitTopic(a, 3 + version);
        }
        session.ask("to see whether it would work", ApiKeys.CREATE_PARTITIONS, 3, more(true, count(a, 50)));
        for (int count : new int[] {6, 5, 0, -1}) {
            session.ask("to " + count + " of 6", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(a, count)));
        }
        session.ask("of one that isn't there", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(session.name("unknown"), 5)));
        session.ask("with an assignment", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(a, 7).setAssignments(
            List.of(new CreatePartitionsAssignment().setBrokerIds(List.of(0))))));
        session.awaitTopic(a, 7);
        session.ask("with an assignment to a broker that isn't there", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(a, 8).setAssignments(
            List.of(new CreatePartitionsAssignment().setBrokerIds(List.of(7))))));
        session.ask("with too few assignments", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(a, 9).setAssignments(
            List.of(new CreatePartitionsAssignment().setBrokerIds(List.of(0))))));
        session.ask("of one twice", ApiKeys.CREATE_PARTITIONS, 3, more(false, count(a, 20), count(a, 21)));
        session.ask("what it has now", ApiKeys.METADATA, 9, metadataOf(a).setAllowAutoTopicCreation(false));
    }

    private static DescribeConfigsRequestData described(int type, String name, String... keys) {
        return new DescribeConfigsRequestData().setResources(List.of(new DescribeConfigsResource().setResourceType((byte) type).setResourceName(name)
            .setConfigurationKeys(keys.length == 0 ? null : List.of(keys))));
    }

    private static void describeConfigs(Session session) throws Exception {
        session.topic("a", 1, "retention.ms", "3600000", "max.message.bytes", "20000");
        String a = session.name("a");
        for (int version = 1; version <= 4; version++) {
            session.ask("two that are set", ApiKeys.DESCRIBE_CONFIGS, version, described(TOPIC, a, "retention.ms", "max.message.bytes"));
        }
        for (String key : List.of("cleanup.policy", "compression.type", "retention.bytes", "segment.bytes", "segment.ms", "message.timestamp.type",
            "message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "delete.retention.ms", "flush.ms", "flush.messages",
            "file.delete.delay.ms", "index.interval.bytes", "min.compaction.lag.ms", "preallocate", "unclean.leader.election.enable", "segment.jitter.ms")) {
            session.ask(key, ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, a, key));
        }
        session.ask("with synonyms", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, a, "retention.ms").setIncludeSynonyms(true));
        session.ask("of all topic keys", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, a));
        session.ask("one that nobody knows", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, a, "no.such", "retention.ms"));
        session.ask("of a topic that isn't there", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, session.name("unknown")));
        session.ask("of a name that can't be one", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, "white space"));
        session.ask("of no name", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, ""));
        session.ask("of the broker, one key", ApiKeys.DESCRIBE_CONFIGS, 4, described(BROKER, "0", "message.max.bytes"));
        session.ask("of the broker, how many partitions", ApiKeys.DESCRIBE_CONFIGS, 4, described(BROKER, "0", "num.partitions"));
        session.ask("of a broker that isn't there", ApiKeys.DESCRIBE_CONFIGS, 4, described(BROKER, "7"));
        session.ask("of a broker with a name", ApiKeys.DESCRIBE_CONFIGS, 4, described(BROKER, "first"));
        session.ask("of a kind that isn't there", ApiKeys.DESCRIBE_CONFIGS, 4, described(77, "a"));
        session.ask("of two, one isn't there", ApiKeys.DESCRIBE_CONFIGS, 4, new DescribeConfigsRequestData().setResources(List.of(
            described(TOPIC, a, "retention.ms").resources().get(0), described(TOPIC, session.name("unknown"), "retention.ms").resources().get(0))));
    }

    private static IncrementalAlterConfigsRequestData altered(int type, String name, String key, int operation, String value) {
        var resource = new AlterConfigsResource().setResourceType((byte) type).setResourceName(name);
        resource.configs().add(new AlterableConfig().setName(key).setConfigOperation((byte) operation).setValue(value));
        var request = new IncrementalAlterConfigsRequestData();
        request.resources().add(resource);
        return request;
    }

    private static void alterConfigs(Session session) throws Exception {
        session.topic("a", 1);
        String a = session.name("a");
        for (int version = 0; version <= 1; version++) {
            session.ask("sets", ApiKeys.INCREMENTAL_ALTER_CONFIGS, version, altered(TOPIC, a, "retention.ms", 0, "700" + version));
            String expected = "700" + version;
            session.until("the change is there", () -> valueOf(session, a, "retention.ms").equals(expected));
        }
        session.ask("deletes", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 1, null));
        session.until("the change is there", () -> !valueOf(session, a, "retention.ms").startsWith("700"));
        session.ask("deletes what isn't set", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 1, null));
        session.ask("deletes what nobody knows", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "no.such", 1, null));
        session.ask("sets what nobody knows", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "no.such", 0, "1"));
        session.ask("sets no number", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 0, "soon"));
        session.ask("sets out of range", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "max.message.bytes", 0, "-1"));
        session.ask("sets null", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 0, null));
        session.ask("appends to a number", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 2, "1"));
        session.ask("does what nobody knows", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 9, "1"));
        session.ask("to see whether it would work", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, a, "retention.ms", 0, "9").setValidateOnly(true));
        session.ask("a topic that isn't there", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(TOPIC, session.name("unknown"), "retention.ms", 0, "9"));
        session.ask("a broker that isn't there", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(BROKER, "7", "message.max.bytes", 0, "9"));
        session.ask("a kind that isn't there", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, altered(77, "a", "retention.ms", 0, "9"));
        var twice = altered(TOPIC, a, "retention.ms", 0, "9");
        twice.resources().iterator().next().configs().mustAdd(new AlterableConfig().setName("retention.ms").setConfigOperation((byte) 0).setValue("10"));
        session.ask("one key twice", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, twice);
        session.ask("what is set now", ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, a, "retention.ms", "max.message.bytes"));
    }

    private static String valueOf(Session session, String topic, String key) throws Exception {
        JsonNode described = session.prepare(ApiKeys.DESCRIBE_CONFIGS, 4, described(TOPIC, topic, key));
        return described.at("/results/0/configs/0/value").asText();
    }

    private static DescribeLogDirsRequestData logDirsOf(String topic, Integer... partitions) {
        var all = new DescribeLogDirsRequestData.DescribableLogDirTopicCollection();
        all.add(new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic(topic).setPartitions(List.of(partitions)));
        return new DescribeLogDirsRequestData().setTopics(all);
    }

    private static void logDirs(Session session) throws Exception {
        session.topic("a", 2);
        for (int version = 1; version <= ApiKeys.DESCRIBE_LOG_DIRS.latestVersion(); version++) {
            session.ask("of one topic", ApiKeys.DESCRIBE_LOG_DIRS, version, logDirsOf(session.name("a"), 0, 1));
        }
        session.ask("of one partition", ApiKeys.DESCRIBE_LOG_DIRS, 4, logDirsOf(session.name("a"), 1));
        session.ask("of a partition that isn't there", ApiKeys.DESCRIBE_LOG_DIRS, 4, logDirsOf(session.name("a"), 9));
        session.ask("of a topic that isn't there", ApiKeys.DESCRIBE_LOG_DIRS, 4, logDirsOf(session.name("unknown"), 0));
        session.ask("of nothing", ApiKeys.DESCRIBE_LOG_DIRS, 4, new DescribeLogDirsRequestData());
    }

    private static DescribeTopicPartitionsRequestData partitionsOf(int limit, String... topics) {
        return new DescribeTopicPartitionsRequestData().setResponsePartitionLimit(limit).setTopics(
            Arrays.stream(topics).map(topic -> new DescribeTopicPartitionsRequestData.TopicRequest().setName(topic)).toList());
    }

    private static void describePartitions(Session session) throws Exception {
        session.topic("a", 3);
        session.topic("b", 2);
        String a = session.name("a");
        String b = session.name("b");
        session.ask("of two", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2000, b, a));
        session.ask("of one that isn't there", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2000, session.name("unknown"), a));
        session.ask("two at a time", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2, a, b));
        session.ask("from a cursor", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2, a, b).setCursor(
            new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(2)));
        session.ask("from a cursor behind the last", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2, a, b).setCursor(
            new DescribeTopicPartitionsRequestData.Cursor().setTopicName(session.name("z")).setPartitionIndex(0)));
        session.ask("from a negative cursor", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, partitionsOf(2, a, b).setCursor(
            new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(-1)));
    }
}
