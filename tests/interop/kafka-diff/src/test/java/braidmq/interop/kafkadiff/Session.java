package braidmq.interop.kafkadiff;

import braidmq.interop.Await;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfigCollection;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/** One script played against one broker. What is asked with a label is compared; the rest prepares. */
final class Session implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    private final String address;
    private final String script;
    private final Map<String, List<String>> answers;
    private final Masks masks;
    private final Map<String, Wire> wires = new HashMap<>();

    Session(String address, String script, Map<String, List<String>> answers) {
        this.address = address;
        this.script = script;
        this.answers = answers;
        this.masks = new Masks(address, "diff-" + script);
    }

    /** A topic's or group's name that no other script has. */
    String name(String label) {
        return "diff-" + script + "-" + label;
    }

    /** The connection of this name, opened when it isn't open. */
    Wire wire(String name) throws IOException {
        Wire wire = wires.get(name);
        if (wire == null) {
            wire = new Wire(address);
            wires.put(name, wire);
        }
        return wire;
    }

    void disconnect(String name) throws IOException {
        Wire wire = wires.remove(name);
        if (wire != null) {
            wire.close();
        }
    }

    /** Asks and notes the answer, or that there was none. */
    JsonNode ask(String label, ApiKeys key, int version, ApiMessage body) throws IOException {
        return ask("main", label, key, version, body);
    }

    JsonNode ask(String connection, String label, ApiKeys key, int version, ApiMessage body) throws IOException {
        return note(connection, key + " v" + version + " " + label, key, () -> wire(connection).ask(key, version, body));
    }

    /** Sends without waiting; {@link #answer} waits. */
    void send(String connection, ApiKeys key, int version, ApiMessage body) throws IOException {
        Wire wire = wire(connection);
        wire.write(Wire.framed(wire.request(key, version, body)));
    }

    JsonNode answer(String connection, String label, ApiKeys key, int version) throws IOException {
        Wire wire = wire(connection);
        return note(connection, key + " v" + version + " " + label, key, () -> wire.answer(key, version, wire.lastCorrelation()));
    }

    /** Sends these very bytes and notes what comes back, read as an answer to {@code key}. */
    void raw(String label, byte[] bytes, ApiKeys key, int version, int correlation) throws IOException {
        Wire wire = wire("main");
        note("main", label, key, () -> {
            wire.write(bytes);
            return wire.answer(key, version, correlation);
        });
    }

    private JsonNode note(String connection, String label, ApiKeys key, Callable<JsonNode> ask) throws IOException {
        List<String> lines;
        JsonNode answer = null;
        try {
            answer = ask.call();
            lines = masks.lines(key, answer);
        } catch (Wire.Closed e) {
            disconnect(connection);
            lines = List.of("/ = closed");
        } catch (Wire.Silence e) {
            disconnect(connection);
            lines = List.of("/ = no answer");
        } catch (Wire.Garbled e) {
            disconnect(connection);
            lines = List.of("/ = garbled: " + e.getMessage());
        } catch (IOException e) {
            throw e;
        } catch (Exception e) {
            throw new IOException(e);
        }
        String full = script + ": " + label.replace("diff-" + script, "~");
        if (answers.put(full, lines) != null) {
            throw new IllegalStateException("two requests are called " + full);
        }
        return answer;
    }

    /** Asks without noting; a lost connection is a failure of the script. */
    JsonNode prepare(ApiKeys key, int version, ApiMessage body) throws IOException {
        return wire("main").ask(key, version, body);
    }

    /** Asks until {@code good} likes the answer: Kafka answers some things before it has them. */
    void until(String what, Callable<Boolean> good) {
        Await.until(script + ": " + what, PATIENCE, good);
    }

    /** Makes a topic and returns its id when every partition answers. */
    String topic(String label, int partitions, String... configs) throws IOException {
        var map = new CreatableTopicConfigCollection();
        for (int i = 0; i < configs.length; i += 2) {
            map.add(new CreatableTopicConfig().setName(configs[i]).setValue(configs[i + 1]));
        }
        var topics = new CreateTopicsRequestData.CreatableTopicCollection();
        topics.add(new CreatableTopic().setName(name(label)).setNumPartitions(partitions).setReplicationFactor((short) 1).setConfigs(map));
        JsonNode made = prepare(ApiKeys.CREATE_TOPICS, 7, new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(10_000));
        if (made.at("/topics/0/errorCode").asInt() != 0) {
            throw new IOException("no topic: " + made);
        }
        awaitTopic(name(label), partitions);
        return made.at("/topics/0/topicId").asText();
    }

    void awaitTopic(String topic, int partitions) {
        until(topic + " answers", () -> {
            var asked = new java.util.ArrayList<ListOffsetsRequestData.ListOffsetsPartition>();
            for (int i = 0; i < partitions; i++) {
                asked.add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(i).setTimestamp(-1));
            }
            JsonNode offsets = prepare(ApiKeys.LIST_OFFSETS, 7, new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
                new ListOffsetsRequestData.ListOffsetsTopic().setName(topic).setPartitions(asked))));
            for (JsonNode partition : offsets.at("/topics/0/partitions")) {
                if (partition.get("errorCode").asInt() != 0) {
                    return false;
                }
            }
            JsonNode metadata = prepare(ApiKeys.METADATA, 9, new MetadataRequestData().setAllowAutoTopicCreation(false)
                .setTopics(List.of(new MetadataRequestData.MetadataRequestTopic().setName(topic))));
            return metadata.at("/topics/0/partitions").size() == partitions;
        });
    }

    @Override
    public void close() throws IOException {
        for (Wire wire : wires.values()) {
            wire.close();
        }
    }
}
