package braidmq.interop.kafkadiff;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * The differences that are meant, from {@code accepted.txt}: a line {@code # reason} and below it lines of two patterns,
 * for the request and for the line that differs, with {@code  |  } between them.
 */
final class Accepted {
    private record Rule(String text, Pattern request, Pattern line, String reason) {
    }

    private final List<Rule> rules = new ArrayList<>();
    private final Map<String, Integer> uses = new TreeMap<>();

    Accepted(Path file) throws IOException {
        String reason = null;
        for (String line : Files.readAllLines(file)) {
            if (line.startsWith("#")) {
                reason = line.substring(1).strip();
            } else if (!line.isBlank()) {
                String[] patterns = line.split(" \\| ", 2);
                rules.add(new Rule(line, Pattern.compile(patterns[0].strip()), Pattern.compile(patterns[1].strip()), reason));
                uses.put(line, 0);
            }
        }
    }

    /** Lines of the differences that no rule explains; {@code -} is Apache Kafka's, {@code +} BraidMQ's. */
    synchronized List<String> unexplained(String request, List<String> kafka, List<String> braid) {
        var unexplained = new ArrayList<String>();
        for (String line : missing(kafka, braid, "- ")) {
            if (!explained(request, line)) {
                unexplained.add(line);
            }
        }
        for (String line : missing(braid, kafka, "+ ")) {
            if (!explained(request, line)) {
                unexplained.add(line);
            }
        }
        return unexplained;
    }

    private static List<String> missing(List<String> from, List<String> in, String sign) {
        var there = new TreeSet<>(in);
        return from.stream().filter(line -> !there.contains(line)).map(line -> sign + line).toList();
    }

    private boolean explained(String request, String line) {
        boolean explained = false;
        for (Rule rule : rules) {
            if (rule.request.matcher(request).matches() && rule.line.matcher(line).matches()) {
                uses.merge(rule.text, 1, Integer::sum);
                explained = true;
            }
        }
        return explained;
    }

    /** Rules that explain nothing any more. */
    List<String> unused() {
        return uses.entrySet().stream().filter(use -> use.getValue() == 0).map(Map.Entry::getKey).toList();
    }

    /** What the differences are, one sentence each. */
    List<String> reasons() {
        return rules.stream().map(Rule::reason).distinct().toList();
    }

    int size() {
        return rules.size();
    }
}
