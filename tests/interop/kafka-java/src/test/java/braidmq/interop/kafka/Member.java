package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;

import braidmq.interop.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/** A consumer with a thread of its own that polls all the time, and a diary of what the group did with it. */
final class Member implements AutoCloseable {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Thread thread;
    private final AtomicBoolean ending = new AtomicBoolean();
    private final AtomicReference<RuntimeException> failure = new AtomicReference<>();
    private final List<String> values = new ArrayList<>();
    private final Set<TopicPartition> owned = new TreeSet<>((a, b) -> a.toString().compareTo(b.toString()));
    private final List<String> diary = new ArrayList<>();
    private volatile int generation = -1;
    private volatile String id = "";

    /** What a member does with each poll's records, on its own thread. */
    Member(KafkaConsumer<byte[], byte[]> consumer, Consumer<Start> subscribe) {
        this.consumer = consumer;
        subscribe.accept(new Start(consumer, new Diary()));
        thread = new Thread(this::run, "member");
        thread.setDaemon(true);
        thread.start();
    }

    /** A member that subscribes to these topics and commits after each poll that brought something. */
    static Member of(KafkaConsumer<byte[], byte[]> consumer, String... topics) {
        return new Member(consumer, start -> start.consumer.subscribe(List.of(topics), start.listener));
    }

    record Start(KafkaConsumer<byte[], byte[]> consumer, ConsumerRebalanceListener listener) {
    }

    private void run() {
        try {
            while (!ending.get()) {
                var records = consumer.poll(Duration.ofMillis(100));
                if (!records.isEmpty()) {
                    consumer.commitAsync();
                    synchronized (this) {
                        for (ConsumerRecord<byte[], byte[]> record : records) {
                            values.add(new String(record.value(), UTF_8));
                        }
                    }
                }
            }
        } catch (WakeupException e) {
            // It was told to end.
        } catch (RuntimeException e) {
            failure.set(e);
        } finally {
            try {
                consumer.close();
            } catch (RuntimeException e) {
                failure.compareAndSet(null, e);
            }
        }
    }

    private final class Diary implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            synchronized (Member.this) {
                generation = consumer.groupMetadata().generationId();
                id = consumer.groupMetadata().memberId();
                owned.addAll(partitions);
                diary.add("+" + numbers(partitions));
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            synchronized (Member.this) {
                owned.removeAll(partitions);
                diary.add("-" + numbers(partitions));
            }
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            synchronized (Member.this) {
                owned.removeAll(partitions);
                diary.add("lost " + numbers(partitions));
            }
        }
    }

    private static String numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).sorted().map(Object::toString).collect(Collectors.joining(","));
    }

    synchronized Set<TopicPartition> owned() {
        return Set.copyOf(owned);
    }

    /** What was assigned (+) and revoked (-), partition numbers, in order; also calls without a partition. */
    synchronized List<String> diary() {
        return List.copyOf(diary);
    }

    synchronized List<String> values() {
        return List.copyOf(values);
    }

    int generation() {
        return generation;
    }

    /** Which the broker gave it. */
    String id() {
        return id;
    }

    /** What ended its thread, or null. */
    RuntimeException failure() {
        return failure.get();
    }

    void awaitOwns(int count) {
        Await.until(() -> "the member owns " + count + " partitions: " + owned() + ", " + failure.get(), Story.PATIENCE,
            () -> owned().size() == count);
    }

    void awaitValues(Set<String> expected) {
        Await.until(() -> "the member has " + expected.size() + " values: " + values().size() + ", " + failure.get(), Story.PATIENCE,
            () -> Set.copyOf(values()).containsAll(expected));
    }

    /** Ends in order: a dynamic member leaves its group. */
    @Override
    public void close() {
        ending.set(true);
        consumer.wakeup();
        try {
            thread.join(Story.PATIENCE.toMillis());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
