package braidmq.interop.mqadmin;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** One call of mqadmin, in a JVM of its own as an operator starts it; {@code name} is also its file in expected/. */
record Command(String name, List<String> args) {
    private static final int LIMIT_SECONDS = 60;

    static Command of(String name, String... args) {
        return new Command(name, List.of(args));
    }

    /** The subcommand, which decides what is masked. */
    String subcommand() {
        return args.get(0);
    }

    /** Runs it; the last line of what is returned is the exit code. */
    String run(String nameServer, Path directory) throws IOException, InterruptedException {
        Files.createDirectories(directory);
        Path output = directory.resolve(name + ".raw");
        var line = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.timezone=UTC",
            "-Duser.home=" + System.getProperty("user.home"), "-cp", System.getProperty("java.class.path"),
            "org.apache.rocketmq.tools.command.MQAdminStartup"));
        line.addAll(args);
        line.addAll(List.of("-n", nameServer));
        Process process = new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(output.toFile()).start();
        if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IOException(String.join(" ", args) + " does not end:\n" + Files.readString(output));
        }
        String printed = Files.readString(output).stripTrailing();
        return (printed.isEmpty() ? "" : printed + "\n") + "exit " + process.exitValue();
    }

    /** As an operator types it, without the name server. */
    @Override
    public String toString() {
        return String.join(" ", args);
    }
}
