package braidmq.interop;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Child processes of the suite, their ports and their directories. */
final class Processes {
    private Processes() {
    }

    /** Starts a process whose output is appended to {@code log}; it is killed at the latest when this JVM ends. */
    static Process start(List<String> command, Path directory, Path log) throws IOException {
        var builder = new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true);
        builder.redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
        builder.redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()));
        Process process = builder.start();
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        return process;
    }

    /** SIGKILL, and waits until the process is gone. */
    static void kill(Process process) throws IOException {
        process.destroyForcibly();
        awaitEnd(process);
    }

    /** SIGTERM; SIGKILL for one that does not end within ten seconds. */
    static void stop(Process process) throws IOException {
        process.destroy();
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                kill(process);
            }
        } catch (InterruptedException e) {
            throw new IOException("interrupted while stopping a process", e);
        }
    }

    private static void awaitEnd(Process process) throws IOException {
        try {
            if (!process.waitFor(30, TimeUnit.SECONDS)) {
                throw new IOException("process " + process.pid() + " survives SIGKILL");
            }
        } catch (InterruptedException e) {
            throw new IOException("interrupted while killing a process", e);
        }
    }

    /** A port such that it, the two below it and the one above it are free: Apache's broker takes port-2, port and port+1. */
    static int freePortGroup() throws IOException {
        for (int attempt = 0; attempt < 100; attempt++) {
            int port;
            try (var probe = new ServerSocket(0)) {
                port = probe.getLocalPort();
            }
            if (isFree(port - 2) && isFree(port - 1) && isFree(port) && isFree(port + 1)) {
                return port;
            }
        }
        throw new IOException("no group of four free ports found");
    }

    private static boolean isFree(int port) {
        try (var probe = new ServerSocket(port)) {
            return probe.isBound();
        } catch (IOException | IllegalArgumentException e) {
            return false;
        }
    }

    static boolean accepts(int port) {
        try (var socket = new Socket()) {
            socket.connect(new InetSocketAddress("127.0.0.1", port), 1000);
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /** The end of a log file, for an error message. */
    static String tail(Path log) {
        try {
            var lines = Files.readAllLines(log);
            return String.join("\n", lines.subList(Math.max(0, lines.size() - 30), lines.size()));
        } catch (IOException e) {
            return "(no output: " + e.getMessage() + ")";
        }
    }

    static void deleteTree(Path root) throws IOException {
        if (Files.exists(root)) {
            try (var paths = Files.walk(root)) {
                for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                    Files.deleteIfExists(path);
                }
            }
        }
    }
}
