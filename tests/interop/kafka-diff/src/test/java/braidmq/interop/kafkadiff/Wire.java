package braidmq.interop.kafkadiff;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.ResponseHeader;
import org.apache.kafka.network.RequestConvertToJson;

/** One connection. Requests are framed here, so that a script can frame them wrongly. */
final class Wire implements AutoCloseable {
    /** Nothing that is asked here takes longer; the longest long poll is shorter. */
    private static final int ANSWER_LIMIT_MS = 15_000;
    private static final String CLIENT_ID = "diff";
    private static final int CORRELATION_FIRST = 7_000_000;

    private final Socket socket = new Socket();
    private final DataInputStream input;
    private int correlation = CORRELATION_FIRST;

    /** The broker has closed the connection instead of answering. */
    static final class Closed extends IOException {
        Closed(IOException cause) {
            super("closed", cause);
        }
    }

    /** There was no answer; the connection is open. */
    static final class Silence extends IOException {
        Silence() {
            super("no answer");
        }
    }

    /** The broker answered something that the client can't read. */
    static final class Garbled extends IOException {
        Garbled(String why, Throwable cause) {
            super(why, cause);
        }
    }

    Wire(String address) throws IOException {
        int colon = address.lastIndexOf(':');
        socket.connect(new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))));
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(ANSWER_LIMIT_MS);
        input = new DataInputStream(socket.getInputStream());
    }

    /** Header and body, without the size in front. */
    byte[] request(ApiKeys key, int version, ApiMessage body) {
        return join(header(key.requestHeaderVersion((short) version), key.id, version, ++correlation, CLIENT_ID), bytes(body, version));
    }

    static byte[] header(int headerVersion, int key, int version, int correlation, String clientId) {
        var header = new RequestHeaderData().setRequestApiKey((short) key).setRequestApiVersion((short) version)
            .setCorrelationId(correlation).setClientId(clientId);
        return bytes(header, headerVersion);
    }

    static byte[] bytes(org.apache.kafka.common.protocol.Message message, int version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static byte[] join(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }

    static byte[] framed(byte[] request) {
        return join(ByteBuffer.allocate(4).putInt(request.length).array(), request);
    }

    void write(byte[] bytes) throws IOException {
        try {
            socket.getOutputStream().write(bytes);
            socket.getOutputStream().flush();
        } catch (SocketException e) {
            throw new Closed(e);
        }
    }

    /** No more bytes will come from us. */
    void endOutput() throws IOException {
        socket.shutdownOutput();
    }

    int lastCorrelation() {
        return correlation;
    }

    /** The answer's bytes, without the size. */
    byte[] read() throws IOException {
        try {
            var bytes = new byte[input.readInt()];
            input.readFully(bytes);
            return bytes;
        } catch (SocketTimeoutException e) {
            throw new Silence();
        } catch (EOFException | SocketException e) {
            throw new Closed(e);
        }
    }

    JsonNode ask(ApiKeys key, int version, ApiMessage body) throws IOException {
        write(framed(request(key, version, body)));
        return answer(key, version, correlation);
    }

    JsonNode answer(ApiKeys key, int version, int correlation) throws IOException {
        return parse(key, version, correlation, read());
    }

    static JsonNode parse(ApiKeys key, int version, int correlation, byte[] bytes) throws Garbled {
        try {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            var header = ResponseHeader.parse(buffer, key.responseHeaderVersion((short) version));
            if (header.correlationId() != correlation) {
                throw new Garbled("correlation id " + header.correlationId() + " instead of " + correlation, null);
            }
            AbstractResponse response = AbstractResponse.parseResponse(key, new ByteBufferAccessor(buffer), (short) version);
            if (buffer.hasRemaining()) {
                throw new Garbled(buffer.remaining() + " bytes too many", null);
            }
            JsonNode json = RequestConvertToJson.response(response, (short) version);
            if (response.data() instanceof FetchResponseData fetched) {
                addBatches(fetched, json);
            }
            return json;
        } catch (RuntimeException e) {
            throw new Garbled("unreadable: " + e, e);
        }
    }

    /** What is in the records, which the conversion leaves out. */
    private static void addBatches(FetchResponseData fetched, JsonNode json) {
        for (int topic = 0; topic < fetched.responses().size(); topic++) {
            var partitions = fetched.responses().get(topic).partitions();
            for (int i = 0; i < partitions.size(); i++) {
                ArrayNode batches = ((ObjectNode) json.get("responses").get(topic).get("partitions").get(i)).putArray("batches");
                if (partitions.get(i).records() instanceof MemoryRecords records) {
                    records.batches().forEach(batch -> batches.add(batch(batch)));
                }
            }
        }
    }

    private static JsonNode batch(RecordBatch batch) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("offsets", batch.baseOffset() + "-" + batch.lastOffset());
        json.put("magic", batch.magic());
        json.put("codec", batch.compressionType().toString());
        json.put("checksum", batch.checksum());
        json.put("valid", batch.isValid());
        json.put("maxTimestamp", batch.maxTimestamp());
        json.put("timestampType", batch.timestampType().toString());
        json.put("batchProducerId", batch.producerId());
        json.put("baseSequence", batch.baseSequence());
        return json;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
