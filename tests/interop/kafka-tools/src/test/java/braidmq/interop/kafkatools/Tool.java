package braidmq.interop.kafkatools;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.utils.Exit;

/**
 * One call of a program's main class in this JVM, which is a second faster than a JVM of its own. Each call loads the
 * class anew, since some of them count in static fields. Output is the JVM's, so that calls must not overlap.
 */
record Tool(int exit, String out, String err) {
    private static final int FORK_LIMIT_SECONDS = 90;
    private static final String PACKAGE = "org.apache.kafka.tools.";

    /** What {@code System.exit} would do. */
    private static final class Ended extends Error {
        private final int exit;

        Ended(int exit) {
            super("exit " + exit, null, false, false);
            this.exit = exit;
        }
    }

    /** The tools of this jar are loaded by this loader, all else by its parent. */
    private static final class Fresh extends URLClassLoader {
        Fresh(URL jar) {
            super(new URL[] {jar}, Tool.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                if (loaded == null) {
                    loaded = name.startsWith(PACKAGE) && findResource(name.replace('.', '/') + ".class") != null
                        ? findClass(name) : super.loadClass(name, false);
                }
                return loaded;
            }
        }
    }

    static Tool run(String mainClass, String... args) throws Exception {
        return runWith("", mainClass, args);
    }

    /** {@code input} is what the program finds on its standard input. */
    static synchronized Tool runWith(String input, String mainClass, String... args) throws Exception {
        var out = new ByteArrayOutputStream();
        var err = new ByteArrayOutputStream();
        PrintStream stdout = System.out;
        PrintStream stderr = System.err;
        var stdin = System.in;
        var ended = new Ended[1];
        Exit.setExitProcedure((code, message) -> end(ended, code));
        Exit.setHaltProcedure((code, message) -> end(ended, code));
        var hooks = new ArrayList<Runnable>();
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setOut(new PrintStream(out, true, UTF_8));
        System.setErr(new PrintStream(err, true, UTF_8));
        System.setIn(new ByteArrayInputStream(input.getBytes(UTF_8)));
        ClassLoader context = Thread.currentThread().getContextClassLoader();
        try (Fresh loader = new Fresh(Class.forName(PACKAGE + "TopicCommand").getProtectionDomain().getCodeSource().getLocation())) {
            Thread.currentThread().setContextClassLoader(loader);
            try {
                loader.loadClass(mainClass).getMethod("main", String[].class).invoke(null, (Object) args);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Ended) && ended[0] == null) {
                    e.getCause().printStackTrace(System.err);
                    ended[0] = new Ended(1);
                }
            }
            // The console producer sends the rest when its JVM ends.
            hooks.forEach(Runnable::run);
        } finally {
            Thread.currentThread().setContextClassLoader(context);
            System.setOut(stdout);
            System.setErr(stderr);
            System.setIn(stdin);
            Exit.resetExitProcedure();
            Exit.resetHaltProcedure();
            Exit.resetShutdownHookAdder();
        }
        return new Tool(ended[0] == null ? 0 : ended[0].exit, out.toString(UTF_8), err.toString(UTF_8));
    }

    /** A call in a JVM of its own, for programs that say the rest when their JVM ends. */
    static Tool fork(String mainClass, String... args) throws Exception {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"), mainClass));
        command.addAll(List.of(args));
        Path output = Files.createTempFile("kafka-tool", ".txt");
        try {
            Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile()).start();
            if (!process.waitFor(FORK_LIMIT_SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError(mainClass + " does not end:\n" + Files.readString(output));
            }
            return new Tool(process.exitValue(), Files.readString(output), "");
        } finally {
            Files.delete(output);
        }
    }

    private static void end(Ended[] ended, int code) {
        if (ended[0] == null) {
            // A program may catch what it throws and exit once more; the first word counts.
            ended[0] = new Ended(code);
        }
        throw ended[0];
    }

    /** Its output, line by line, when it went well. */
    List<String> lines() throws IOException {
        if (exit != 0) {
            throw new AssertionError("exit " + exit + "\n" + out + err);
        }
        return out.lines().filter(line -> !line.isBlank()).toList();
    }

    /** The columns of the line that begins with these words. */
    List<String> columns(String... first) throws IOException {
        for (String line : lines()) {
            List<String> columns = List.of(line.trim().split("\\s+"));
            if (columns.size() >= first.length && columns.subList(0, first.length).equals(List.of(first))) {
                return columns;
            }
        }
        throw new AssertionError("no line " + String.join(" ", first) + " in\n" + out + err);
    }

    @Override
    public String toString() {
        return "exit " + exit + "\n" + out + err;
    }
}
