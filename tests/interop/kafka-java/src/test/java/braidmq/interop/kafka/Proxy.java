package braidmq.interop.kafka;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Stands between clients and a broker, passes everything on, and cuts connections when it is told to. */
final class Proxy implements AutoCloseable {
    private final ServerSocket listener;
    private final InetSocketAddress broker;
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private final AtomicInteger cuts = new AtomicInteger();

    /** Listens on {@code host} with the broker's own port. */
    Proxy(String host, String broker) throws IOException {
        int port = Integer.parseInt(broker.substring(broker.lastIndexOf(':') + 1));
        this.broker = new InetSocketAddress(broker.substring(0, broker.lastIndexOf(':')), port);
        listener = new ServerSocket(port, 50, InetAddress.getByName(host));
        start(this::accept);
    }

    private void accept() {
        try {
            while (true) {
                Socket client = listener.accept();
                sockets.add(client);
                Socket server = new Socket();
                sockets.add(server);
                try {
                    server.connect(broker);
                    start(() -> pass(client, server));
                    start(() -> pass(server, client));
                } catch (IOException e) {
                    end(client);
                    end(server);
                }
            }
        } catch (IOException e) {
            // The listener was closed.
        }
    }

    private static void start(Runnable run) {
        var thread = new Thread(run, "proxy");
        thread.setDaemon(true);
        thread.start();
    }

    private void pass(Socket from, Socket to) {
        var buffer = new byte[16_384];
        try (InputStream input = from.getInputStream(); OutputStream output = to.getOutputStream()) {
            for (int count = input.read(buffer); count >= 0; count = input.read(buffer)) {
                output.write(buffer, 0, count);
                output.flush();
            }
        } catch (IOException e) {
            // Cut, or one side has closed: both ends go.
        } finally {
            end(from);
            end(to);
        }
    }

    private void end(Socket socket) {
        sockets.remove(socket);
        try {
            socket.close();
        } catch (IOException e) {
            // It was closed already.
        }
    }

    /** Resets every connection; what was on its way is lost. */
    void cut() {
        for (Socket socket : Set.copyOf(sockets)) {
            try {
                socket.setSoLinger(true, 0);
            } catch (IOException e) {
                // It was closed already.
            }
            end(socket);
        }
        cuts.incrementAndGet();
    }

    int cuts() {
        return cuts.get();
    }

    @Override
    public void close() throws IOException {
        listener.close();
        cut();
    }
}
