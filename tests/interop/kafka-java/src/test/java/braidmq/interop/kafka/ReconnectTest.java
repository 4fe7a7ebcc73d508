package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import braidmq.interop.KafkaBroker;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

/** The broker tells its clients an address at which a proxy listens, which resets their connections now and then. */
@DisplayName("Connections break")
class ReconnectTest extends Story {
    private static final String PROXY_HOST = "127.0.0.2";
    private static final int RECORDS_BETWEEN_CUTS = 200;

    private final Proxy proxy;

    ReconnectTest() throws Exception {
        super(startBroker(new KafkaBroker.Settings(PROXY_HOST, 0)));
        assumeTrue(clients.broker().canBeKilled(), "needs a broker of its own: -Dbraidmq.binary or -Dkafka.lib");
        proxy = new Proxy(PROXY_HOST, clients.broker().bootstrap());
    }

    @AfterEach
    void endBroker() throws Exception {
        clients.close();
        proxy.close();
        end(clients.broker());
    }

    @Test
    @DisplayName("under an idempotent producer: nothing is lost, doubled or out of order")
    void idempotent(TestInfo story) throws Exception {
        int count = scaled(20_000);
        String topic = clients.topic("broken", 1);
        var producer = clients.producer("enable.idempotence", true, "linger.ms", 1, "batch.size", 500,
            "reconnect.backoff.ms", 1, "reconnect.backoff.max.ms", 20, "retry.backoff.ms", 1);
        var answers = new ArrayList<Future<RecordMetadata>>();
        for (int i = 0; i < count; i++) {
            answers.add(producer.send(new ProducerRecord<>(topic, 0, null, Integer.toString(i).getBytes(UTF_8))));
            if (i % RECORDS_BETWEEN_CUTS == RECORDS_BETWEEN_CUTS - 1) {
                // Some are answered by now, some are on their way.
                Clients.get(answers.get(i - RECORDS_BETWEEN_CUTS / 2));
                proxy.cut();
            }
        }
        producer.flush();
        for (int i = 0; i < count; i++) {
            assertEquals(i, Clients.get(answers.get(i)).offset(), "where the answer says that " + i + " is");
        }
        assertEquals(IntStream.range(0, count).mapToObj(Integer::toString).toList(), Clients.values(clients.read(new TopicPartition(topic, 0), count)));
        assertTrue(proxy.cuts() >= count / RECORDS_BETWEEN_CUTS);
        say(story, count + " records, " + proxy.cuts() + " cuts");
    }

    @Test
    @DisplayName("under a group's member: it goes on where it was, without a rebalance")
    void member() throws Exception {
        String topic = clients.topic("broken-member", 2);
        var member = Member.of(clients.consumer(clients.name("broken"), "reconnect.backoff.ms", 1, "reconnect.backoff.max.ms", 20), topic);
        member.awaitOwns(2);
        List<String> diary = member.diary();
        var expected = new java.util.TreeSet<String>();
        for (int round = 0; round < 5; round++) {
            clients.send(clients.producer(), topic, round % 2, "round-" + round, 20);
            for (int i = 0; i < 20; i++) {
                expected.add("round-" + round + "-" + i);
            }
            member.awaitValues(expected);
            proxy.cut();
        }
        assertEquals(expected.size(), member.values().size());
        assertEquals(diary, member.diary());
        member.close();
    }
}
