package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import braidmq.interop.Await;
import braidmq.interop.KafkaBroker;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("The broker is killed")
class CrashTest extends Story {
    private static final int ANSWERED_PER_LIFE = 300;

    CrashTest() {
        super(startBroker(KafkaBroker.Settings.forTests()));
        assumeTrue(clients.broker().canBeKilled(), "needs a broker of its own: -Dbraidmq.binary or -Dkafka.lib");
    }

    @AfterEach
    void endBroker() {
        clients.close();
        end(clients.broker());
    }

    @Test
    @DisplayName("under idempotent producers and a group: nothing is lost, doubled or out of order")
    void idempotent(TestInfo story) throws Exception {
        int kills = Math.max(2, scaled(8));
        KafkaBroker broker = clients.broker();
        String topic = clients.topic("crash", 2);
        String group = clients.name("survivor");
        var member = Member.of(clients.consumer(group), topic);
        member.awaitOwns(2);
        var stopped = new AtomicBoolean();
        var answered = new AtomicInteger();
        var loads = IntStream.range(0, 2).mapToObj(partition -> new Load(clients, topic, partition, stopped, answered)).toList();
        loads.forEach(Load::start);
        for (int kill = 0; kill <= kills; kill++) {
            int goal = answered.get() + ANSWERED_PER_LIFE;
            Await.until(() -> answered.get() + " of " + goal + " are acknowledged", PATIENCE, () -> answered.get() >= goal);
            if (kill < kills) {
                broker.kill();
                broker.restart();
            }
        }
        stopped.set(true);
        int sent = 0;
        for (Load load : loads) {
            load.join(PATIENCE.toMillis());
            for (int i = 0; i < load.answers.size(); i++) {
                assertEquals(i, Clients.get(load.answers.get(i)).offset(), "where the answer says that it is");
            }
            var partition = new TopicPartition(topic, load.partition);
            assertEquals(IntStream.range(0, load.answers.size()).mapToObj(i -> load.partition + "-" + i).toList(),
                Clients.values(clients.read(partition, load.answers.size())));
            sent += load.answers.size();
            member.awaitValues(IntStream.range(0, load.answers.size()).mapToObj(i -> load.partition + "-" + i).collect(Collectors.toSet()));
        }
        member.close();
        say(story, kills + " kills, " + sent + " records, consumed " + member.values().size());
    }

    /** One thread with an idempotent producer that never gives up. */
    private static final class Load extends Thread {
        private final List<Future<RecordMetadata>> answers = new ArrayList<>();
        private final Clients clients;
        private final String topic;
        private final int partition;
        private final AtomicBoolean stopped;
        private final AtomicInteger answered;

        Load(Clients clients, String topic, int partition, AtomicBoolean stopped, AtomicInteger answered) {
            super("load");
            this.clients = clients;
            this.topic = topic;
            this.partition = partition;
            this.stopped = stopped;
            this.answered = answered;
        }

        @Override
        public void run() {
            try (var producer = clients.producer("enable.idempotence", true, "batch.size", 500, "linger.ms", 1,
                "delivery.timeout.ms", 120_000, "request.timeout.ms", 10_000, "buffer.memory", 100_000, "max.block.ms", 120_000,
                "reconnect.backoff.max.ms", 100)) {
                for (int i = 0; !stopped.get(); i++) {
                    byte[] value = (partition + "-" + i).getBytes(UTF_8);
                    answers.add(producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
                        if (error == null) {
                            answered.incrementAndGet();
                        }
                    }));
                }
                producer.flush();
            }
        }
    }

    @Test
    @DisplayName("and everything that was acknowledged is as it was: topics, ids, configurations, offsets, what was deleted")
    void remembers() throws Exception {
        String topic = clients.topic("remembered", 3, "retention.ms", "7200000");
        String group = clients.name("remembered");
        var partition = new TopicPartition(topic, 1);
        clients.send(clients.producer(), topic, 1, "value", 20);
        var consumer = clients.consumer(group);
        consumer.assign(List.of(partition));
        consumer.commitSync(Map.of(partition, new OffsetAndMetadata(11, "note")));
        Clients.get(clients.admin().deleteRecords(Map.of(partition, org.apache.kafka.clients.admin.RecordsToDelete.beforeOffset(5))).all());
        String cluster = Clients.get(clients.admin().describeCluster().clusterId());
        clients.broker().kill();
        clients.broker().restart();

        clients.awaitTopic(topic, 3);
        assertEquals(cluster, Clients.get(clients.admin().describeCluster().clusterId()));
        var committed = clients.consumer(group).committed(Set.of(partition)).get(partition);
        assertEquals(11, committed.offset());
        assertEquals("note", committed.metadata());
        assertEquals(20, clients.end(partition));
        if (!clients.broker().isApache()) {
            // Kafka checkpoints the start of a log once a minute, and forgets it in a crash.
            assertEquals(5, clients.start(partition));
        }
        var resource = new org.apache.kafka.common.config.ConfigResource(org.apache.kafka.common.config.ConfigResource.Type.TOPIC, topic);
        assertEquals("7200000", Clients.get(clients.admin().describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value());
        assertTrue(Clients.get(clients.admin().listConsumerGroups().all()).stream().anyMatch(listed -> listed.groupId().equals(group)));
        assertEquals(20, clients.send(clients.producer(), topic, 1, "next", 1).get(0).offset());
    }
}
