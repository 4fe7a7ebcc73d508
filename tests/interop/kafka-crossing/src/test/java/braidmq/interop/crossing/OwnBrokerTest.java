package braidmq.interop.crossing;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** Stories about the broker as a whole, each with one of its own. */
@DisplayName("A broker")
class OwnBrokerTest extends Story {
    OwnBrokerTest() {
        super(startBroker());
    }

    @AfterEach
    void endBroker() throws IOException {
        endClients();
        broker.close();
    }

    @Test
    @DisplayName("opens a batch for a RocketMQ reader and for nobody else")
    void opensOnlyWhatCrosses() throws Exception {
        String topic = topic("opened", 2);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            kafka.sendTogether(codec, List.of(new ProducerRecord<>(topic, 0, null, codec.getBytes(UTF_8))));
        }
        rocketmq.send(topic, 1, "sent", 3);
        rocketmq.read(topic, 1, 3);
        assertEquals(5, kafka.read(topic, 0, 5).size());
        assertEquals(0, broker.decodedBatches());
        assertEquals(0, broker.packedBatches());
        assertEquals(3, kafka.read(topic, 1, 3).size());
        assertTrue(broker.packedBatches() > 0, "a RocketMQ message has crossed");
        assertEquals(0, broker.decodedBatches());
        assertEquals(5, rocketmq.read(topic, 0, 5).size());
        assertTrue(broker.decodedBatches() >= 5, "five batches have crossed: " + broker.decodedBatches());
    }

    @Test
    @DisplayName("that is killed gives both protocols what it gave them before")
    void killed() throws Exception {
        String topic = topic("killed", 1);
        kafka.send(topic, 0, "kafka", 10);
        rocketmq.send(topic, 0, "rocketmq", 10);
        List<ConsumerRecord<byte[], byte[]>> records = kafka.read(topic, 0, 20);
        List<MessageExt> messages = rocketmq.read(topic, 0, 20);
        endClients();
        broker.killAndRestart();

        rocketmq.awaitRoute(topic);
        assertEquals(records.stream().map(OwnBrokerTest::facts).toList(), kafka.read(topic, 0, 20).stream().map(OwnBrokerTest::facts).toList());
        assertEquals(messages.stream().map(OwnBrokerTest::facts).toList(), rocketmq.read(topic, 0, 20).stream().map(OwnBrokerTest::facts).toList());
        assertEquals(20, kafka.send(topic, 0, "next", 1).get(0).offset());
    }

    private static List<Object> facts(ConsumerRecord<byte[], byte[]> record) {
        return List.of(record.offset(), record.timestamp(), List.of(record.headers().toArray()), new String(record.value(), UTF_8));
    }

    private static List<Object> facts(MessageExt message) {
        return List.of(message.getQueueOffset(), message.getBornTimestamp(), message.getMsgId(), message.getProperties(), RocketClients.body(message));
    }
}
