package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** Clients of 2.8 can't ask for this. */
@DisplayName("The newest record")
class NewestTest extends Story {
    @Test
    @DisplayName("is found, though it isn't the last")
    void newest() throws Exception {
        String topic = clients.topic("newest", 1);
        for (long time : new long[] {1_000, 2_000, 9_000, 3_000}) {
            var producer = clients.producer("linger.ms", 10_000);
            producer.send(new ProducerRecord<>(topic, 0, time - 1, null, "before".getBytes(UTF_8)));
            producer.send(new ProducerRecord<>(topic, 0, time, null, "itself".getBytes(UTF_8)));
            producer.flush();
        }
        assertEquals(5, clients.offset(new TopicPartition(topic, 0), OffsetSpec.maxTimestamp()));
        assertEquals(-1, clients.offset(new TopicPartition(clients.topic("empty", 1), 0), OffsetSpec.maxTimestamp()));
    }
}
