package braidmq.interop.rocketmq;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("What the broker can't take it refuses with Apache's error")
class RefusalTest extends Story {
    private static final int SEND_MESSAGE_V2 = 310;
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int INVALID_PARAMETER = 29;

    @Test
    @DisplayName("a body above 4 MiB: code 13, and nothing is stored")
    void oversize() throws Exception {
        String topic = clients.topic("oversize", 1);
        var producer = clients.producer();
        producer.setMaxMessageSize(8 << 20);
        // Random enough not to shrink below the limit when the client compresses it.
        byte[] body = new byte[5 << 20];
        new java.util.Random(1).nextBytes(body);
        var refusal = assertThrows(MQBrokerException.class, () -> producer.send(new Message(topic, body)));
        assertEquals(MESSAGE_ILLEGAL, refusal.getResponseCode());
        assertTrue(refusal.getErrorMessage().contains("the message is illegal"), refusal.getErrorMessage());
        assertEquals(SendStatus.SEND_OK, producer.send(new Message(topic, "small".getBytes(UTF_8))).getSendStatus());
        assertEquals(1, clients.read(topic, 1).size());
    }

    @Test
    @DisplayName("properties above 32 KiB: code 13, and nothing is stored")
    void oversizeProperties() throws Exception {
        String topic = clients.topic("properties", 1);
        var producer = clients.producer();
        var message = new Message(topic, "small".getBytes(UTF_8));
        message.putUserProperty("much", "x".repeat(33_000));
        var refusal = assertThrows(MQBrokerException.class, () -> producer.send(message));
        assertEquals(MESSAGE_ILLEGAL, refusal.getResponseCode());
        assertEquals(SendStatus.SEND_OK, producer.send(new Message(topic, "small".getBytes(UTF_8))).getSendStatus());
        assertEquals(1, clients.read(topic, 1).size());
    }

    @Test
    @DisplayName("a bad topic name: the client refuses it itself, and the broker does too when asked past the client")
    void badTopicName() throws Exception {
        var producer = clients.producer();
        assertThrows(MQClientException.class, () -> producer.send(new Message("no blanks", new byte[1])));
        var answer = sendRaw("no blanks");
        assertEquals(INVALID_PARAMETER, answer.getCode(), answer.getRemark());
        assertTrue(answer.getRemark().contains("illegal characters"), answer.getRemark());

        var tooLong = sendRaw("n".repeat(128));
        assertEquals(INVALID_PARAMETER, tooLong.getCode(), tooLong.getRemark());
        assertTrue(tooLong.getRemark().contains("longer than topic max length"), tooLong.getRemark());
    }

    /** A send of one byte as the client frames it, but with a topic that the client would not let through. */
    private RemotingCommand sendRaw(String topic) throws Exception {
        var client = new NettyRemotingClient(new NettyClientConfig());
        client.start();
        try {
            var request = RemotingCommand.createRequestCommand(SEND_MESSAGE_V2, null);
            request.setExtFields(new HashMap<>(Map.of("a", "raw", "b", topic, "c", "TBW102", "d", "4", "e", "0", "f", "0",
                "g", Long.toString(System.currentTimeMillis()), "h", "0", "i", "", "j", "0")));
            request.getExtFields().put("k", "false");
            request.getExtFields().put("m", "false");
            request.setBody(new byte[] {1});
            return client.invokeSync(clients.broker().address(), request, 10_000);
        } finally {
            client.shutdown();
        }
    }
}
