package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import braidmq.interop.Await;
import braidmq.interop.KafkaBroker;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Official clients that lead to one broker, with names that no other story uses. Everything is the client's default
 * except what a story says, and: a group starts with the first record, a session is as short as a broker allows, and
 * metadata is asked for every half second instead of every five minutes.
 */
final class Clients implements AutoCloseable {
    private static final AtomicInteger SERIAL = new AtomicInteger();
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);
    private static final Duration CLOSE_LIMIT = Duration.ofSeconds(5);

    private final KafkaBroker broker;
    private final Deque<Runnable> closes = new ArrayDeque<>();
    private Admin admin;
    private boolean closed;

    Clients(KafkaBroker broker) {
        this.broker = broker;
    }

    KafkaBroker broker() {
        return broker;
    }

    /** A name that nothing else has. */
    String name(String label) {
        return label + "-" + RUN + "-" + SERIAL.incrementAndGet();
    }

    /** Makes a topic; {@code configs} are names and values in turn. */
    String topic(String label, int partitions, String... configs) throws Exception {
        String topic = name(label);
        var map = new HashMap<String, String>();
        for (int i = 0; i < configs.length; i += 2) {
            map.put(configs[i], configs[i + 1]);
        }
        create(topic, partitions, map);
        return topic;
    }

    void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        get(admin().createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
        awaitTopic(topic, partitions);
    }

    /**
     * Kafka answers before its broker has heard of the topic. A producer that begins too early may have its second
     * batch stored while the first is refused, and then it never ends: so every partition has to answer.
     */
    void awaitTopic(String topic, int partitions) throws Exception {
        var admin = admin();
        Await.until("metadata has " + topic, Story.PATIENCE,
            () -> Renamed.describe(admin, List.of(topic)).get(topic).partitions().size() == partitions);
        var latest = new HashMap<TopicPartition, OffsetSpec>();
        for (int partition = 0; partition < partitions; partition++) {
            latest.put(new TopicPartition(topic, partition), OffsetSpec.latest());
        }
        Await.until("all partitions of " + topic + " answer", Story.PATIENCE, () -> get(admin.listOffsets(latest).all()).size() == partitions);
    }

    Admin admin() {
        if (admin == null) {
            admin = Admin.create(common());
            closes.push(() -> admin.close(CLOSE_LIMIT));
        }
        return admin;
    }

    private Map<String, Object> common() {
        var config = new HashMap<String, Object>();
        config.put("bootstrap.servers", broker.bootstrap());
        config.put("metadata.max.age.ms", "500");
        return config;
    }

    /** Settings are names and values in turn. */
    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        var config = common();
        put(config, settings);
        var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        closes.push(() -> producer.close(Duration.ZERO));
        return producer;
    }

    /** A consumer of a group, or of none when {@code group} is null. */
    KafkaConsumer<byte[], byte[]> consumer(String group, Object... settings) {
        var config = common();
        if (group != null) {
            config.put("group.id", group);
        }
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("session.timeout.ms", "6000");
        config.put("heartbeat.interval.ms", "200");
        put(config, settings);
        var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        closes.push(() -> closeQuietly(consumer));
        return consumer;
    }

    private static void closeQuietly(KafkaConsumer<?, ?> consumer) {
        try {
            consumer.close(CLOSE_LIMIT);
        } catch (RuntimeException e) {
            // A fenced or wedged consumer says so once more; the story has seen what it had to see.
        }
    }

    private static void put(Map<String, Object> config, Object... settings) {
        for (int i = 0; i < settings.length; i += 2) {
            config.put((String) settings[i], settings[i + 1]);
        }
    }

    /** Values {@code label-0}, {@code label-1}, ... in this order to one partition; returns when all are acknowledged. */
    List<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, String topic, int partition, String label, int count) throws Exception {
        var answers = new ArrayList<Future<RecordMetadata>>();
        for (int i = 0; i < count; i++) {
            answers.add(producer.send(new ProducerRecord<>(topic, partition, null, (label + "-" + i).getBytes(UTF_8))));
        }
        producer.flush();
        var sent = new ArrayList<RecordMetadata>();
        for (var answer : answers) {
            sent.add(get(answer));
        }
        return sent;
    }

    /** All of a partition that is there now, which has to be {@code count} records. */
    List<ConsumerRecord<byte[], byte[]>> read(TopicPartition partition, int count) throws Exception {
        Await.until(() -> count + " records in " + partition + ": " + end(partition), Story.PATIENCE, () -> end(partition) - start(partition) >= count);
        try (var consumer = new KafkaConsumer<>(common(), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            return poll(consumer, (int) (end(partition) - start(partition)));
        }
    }

    /** Polls until {@code count} records have come. */
    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        var records = new ArrayList<ConsumerRecord<byte[], byte[]>>();
        Await.until(() -> records.size() + " of " + count + " records came", Story.PATIENCE, () -> {
            if (records.size() < count) {
                consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            }
            return records.size() >= count;
        });
        return records;
    }

    static List<String> values(Collection<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(record -> new String(record.value(), UTF_8)).toList();
    }

    long end(TopicPartition partition) {
        return offset(partition, OffsetSpec.latest());
    }

    long start(TopicPartition partition) {
        return offset(partition, OffsetSpec.earliest());
    }

    long offset(TopicPartition partition, OffsetSpec spec) {
        try {
            return get(admin().listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
        } catch (Exception e) {
            throw new IllegalStateException("no offset of " + partition, e);
        }
    }

    /** The result, or the cause of its failure as the client documents it. */
    static <T> T get(Future<T> future) throws Exception {
        try {
            return future.get(Story.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    /** What it fails with, or null. */
    static <T> Class<? extends Throwable> failure(Future<T> future) {
        try {
            get(future);
            return null;
        } catch (Exception e) {
            return e.getClass();
        }
    }

    /** Ends all clients; a broker that only they have used has opened none of their batches. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            assertNothingDecoded();
        }
        while (!closes.isEmpty()) {
            closes.pop().run();
        }
        admin = null;
    }

    private void assertNothingDecoded() {
        try {
            assertEquals(0, broker.decodedBatches(), "batches that were opened, though no RocketMQ client reads");
        } catch (IOException e) {
            throw new AssertionError("the broker doesn't say how many batches it has opened", e);
        }
    }
}
