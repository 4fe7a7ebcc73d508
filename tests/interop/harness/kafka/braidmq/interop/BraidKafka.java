package braidmq.interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** The {@code braidmq} binary, as Kafka's clients see it. */
final class BraidKafka implements KafkaBroker {
    /** RocketMQ's request for a broker's runtime information, which has the counters of both protocols. */
    private static final String RUNTIME_INFORMATION =
        "{\"code\":28,\"flag\":0,\"language\":\"JAVA\",\"opaque\":1,\"version\":0}";
    private static final Pattern DECODED_BATCHES = Pattern.compile("\"decodedBatches\":\"(\\d+)\"");

    private final BraidProcess process;

    BraidKafka(Path binary, Settings settings) throws IOException {
        var set = new ArrayList<>(List.of(
            "store.flush=sync",
            "store.file_bytes=" + (16 << 20),
            "kafka.initial_rebalance_delay_ms=" + settings.rebalanceDelayMs()));
        if (!settings.advertisedHost().isEmpty()) {
            set.add("listen.advertised=" + settings.advertisedHost());
        }
        process = new BraidProcess(binary, List.of("nameserver", "rocketmq", "kafka"), set);
    }

    @Override
    public String bootstrap() {
        return process.address("kafka");
    }

    @Override
    public boolean isApache() {
        return false;
    }

    @Override
    public boolean canBeKilled() {
        return true;
    }

    @Override
    public long decodedBatches() throws IOException {
        return RuntimeInfo.ask(process.address("rocketmq"), "decodedBatches");
    }

    @Override
    public void kill() throws IOException {
        process.kill();
    }

    @Override
    public void restart() throws IOException {
        process.restart();
    }

    @Override
    public long decodedBatches() throws IOException {
        String[] address = process.address("rocketmq").split(":");
        try (var socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            byte[] header = RUNTIME_INFORMATION.getBytes(UTF_8);
            var out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(4 + header.length);
            out.writeInt(header.length);
            out.write(header);
            out.flush();
            var in = new DataInputStream(socket.getInputStream());
            var answer = DECODED_BATCHES.matcher(new String(in.readNBytes(in.readInt()), UTF_8));
            if (!answer.find()) {
                throw new IOException("the runtime information doesn't count decoded batches");
            }
            return Long.parseLong(answer.group(1));
        }
    }

    @Override
    public void close() throws IOException {
        process.close();
    }
}
