package braidmq.interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.util.regex.Pattern;

/** RocketMQ's request 28, framed by hand so that Kafka's suites need no RocketMQ client. */
final class RuntimeInfo {
    private static final int LIMIT_MS = 10_000;
    private static final String REQUEST = "{\"code\":28,\"language\":\"JAVA\",\"version\":475,\"opaque\":1,\"flag\":0,\"extFields\":{}}";

    private RuntimeInfo() {
    }

    /** A number of the broker's runtime information. */
    static long ask(String address, String name) throws IOException {
        int colon = address.lastIndexOf(':');
        try (var socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)))) {
            socket.setSoTimeout(LIMIT_MS);
            byte[] header = REQUEST.getBytes(UTF_8);
            var output = new DataOutputStream(socket.getOutputStream());
            output.writeInt(4 + header.length);
            output.writeInt(header.length);
            output.write(header);
            output.flush();
            var input = new DataInputStream(socket.getInputStream());
            var answer = new byte[input.readInt()];
            input.readFully(answer);
            var found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"(\\d+)\"").matcher(new String(answer, UTF_8));
            if (!found.find()) {
                throw new IOException("the runtime information has no " + name + ": " + new String(answer, UTF_8));
            }
            return Long.parseLong(found.group(1));
        }
    }
}
