package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;

import braidmq.interop.Await;
import braidmq.interop.BothProtocols;
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

/** Kafka's side of a story. A group starts with the first record and its session is as short as a broker allows. */
final class KafkaClients {
    private static final Duration CLOSE_LIMIT = Duration.ofSeconds(5);

    private final BothProtocols broker;
    private final Deque<Runnable> closes = new ArrayDeque<>();
    private Admin admin;

    KafkaClients(BothProtocols broker) {
        this.broker = broker;
    }

    Admin admin() {
        if (admin == null) {
            admin = Admin.create(common());
            closes.push(() -> admin.close(CLOSE_LIMIT));
        }
        return admin;
    }

    private Map<String, Object> common() {
        return new HashMap<>(Map.of("bootstrap.servers", broker.kafka(), "metadata.max.age.ms", "500"));
    }

    void create(String topic, int partitions) throws Exception {
        get(admin().createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all());
    }

    /** Settings are names and values in turn. */
    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        var config = common();
        put(config, settings);
        var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        closes.push(() -> producer.close(Duration.ZERO));
        return producer;
    }

    /** All of these in one batch per partition. The producer doesn't stay: it would make a deleted topic again by asking for it. */
    List<RecordMetadata> sendTogether(String codec, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        var producer = producer("linger.ms", 10_000, "batch.size", 900_000, "compression.type", codec);
        var answers = new ArrayList<Future<RecordMetadata>>();
        records.forEach(record -> answers.add(producer.send(record)));
        producer.close();
        var sent = new ArrayList<RecordMetadata>();
        for (var answer : answers) {
            sent.add(get(answer));
        }
        return sent;
    }

    /** Values {@code label-0}, {@code label-1}, ... in one batch. */
    List<RecordMetadata> send(String topic, int partition, String label, int count) throws Exception {
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < count; i++) {
            records.add(new ProducerRecord<>(topic, partition, null, (label + "-" + i).getBytes(UTF_8)));
        }
        return sendTogether("none", records);
    }

    /** A consumer of a group, or of none when {@code group} is null. */
    KafkaConsumer<byte[], byte[]> consumer(String group) {
        var config = common();
        if (group != null) {
            config.put("group.id", group);
        }
        put(config, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "session.timeout.ms", "6000", "heartbeat.interval.ms", "200");
        var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        closes.push(() -> consumer.close(CLOSE_LIMIT));
        return consumer;
    }

    private static void put(Map<String, Object> config, Object... settings) {
        for (int i = 0; i < settings.length; i += 2) {
            config.put((String) settings[i], settings[i + 1]);
        }
    }

    /** Waits until the partition has {@code count} records and returns all that are there. */
    List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, int count) throws Exception {
        var from = new TopicPartition(topic, partition);
        Await.until(count + " records in " + from, Story.PATIENCE, () -> offset(from, OffsetSpec.latest()) - offset(from, OffsetSpec.earliest()) >= count);
        int there = (int) (offset(from, OffsetSpec.latest()) - offset(from, OffsetSpec.earliest()));
        try (var consumer = new KafkaConsumer<>(common(), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(from));
            consumer.seekToBeginning(List.of(from));
            return poll(consumer, there);
        }
    }

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

    static String header(ConsumerRecord<?, ?> record, String name) {
        var header = record.headers().lastHeader(name);
        return header == null ? null : new String(header.value(), UTF_8);
    }

    long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return get(admin().listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    /** The result, or the cause of its failure as the client documents it. */
    static <T> T get(Future<T> future) throws Exception {
        try {
            return future.get(Story.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    void close() {
        while (!closes.isEmpty()) {
            closes.pop().run();
        }
        admin = null;
    }
}
