package braidmq.interop.kafka;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.time.Duration;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("A transactional producer")
class TransactionTest extends Story {
    @Test
    @DisplayName("is refused at once, with a reason")
    void refused(TestInfo story) {
        assumeFalse(clients.broker().isApache(), "Apache Kafka has transactions");
        var producer = clients.producer("transactional.id", clients.name("transaction"), "max.block.ms", 20_000);
        long begun = System.nanoTime();
        var refusal = assertThrows(KafkaException.class, producer::initTransactions);
        assertTrue(System.nanoTime() - begun < Duration.ofSeconds(10).toNanos(), "it does not wait until it gives up");
        assertFalse(refusal instanceof TimeoutException, "a reason, not a timeout: " + refusal);
        say(story, refusal.getClass().getSimpleName() + ": " + refusal.getMessage());
    }
}
