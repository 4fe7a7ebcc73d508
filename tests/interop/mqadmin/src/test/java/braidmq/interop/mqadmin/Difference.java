package braidmq.interop.mqadmin;

import java.util.ArrayList;
import java.util.List;

/** Says where two outputs of a command differ, so that a person can act on it. */
final class Difference {
    private Difference() {
    }

    /** A sentence per difference; empty when there is none. */
    static List<String> between(List<List<String>> expected, List<List<String>> printed) {
        var differences = new ArrayList<String>();
        if (firsts(expected).equals(firsts(printed))) {
            List<String> heading = List.of();
            for (int i = 0; i < expected.size(); i++) {
                heading = expected.get(i).get(0).startsWith("#") ? expected.get(i) : heading;
                columns(heading, expected.get(i), printed.get(i), differences);
            }
        } else {
            without(expected, printed).forEach(line -> differences.add("only Apache prints: " + line(line)));
            without(printed, expected).forEach(line -> differences.add("only printed here:  " + line(line)));
            if (differences.isEmpty()) {
                differences.add("the same lines in another order");
            }
        }
        return differences;
    }

    private static void columns(List<String> heading, List<String> expected, List<String> printed, List<String> differences) {
        if (expected.size() != printed.size()) {
            differences.add("Apache prints " + line(expected) + "\n       here it is " + line(printed));
            return;
        }
        for (int i = 0; i < expected.size(); i++) {
            if (!expected.get(i).equals(printed.get(i))) {
                String column = heading.size() == expected.size() ? ", column " + heading.get(i) : "";
                differences.add(expected.get(0) + column + ": Apache prints " + expected.get(i) + "\n       here it is " + printed.get(i));
            }
        }
    }

    private static List<String> firsts(List<List<String>> lines) {
        return lines.stream().map(line -> line.get(0)).toList();
    }

    private static List<List<String>> without(List<List<String>> lines, List<List<String>> others) {
        var left = new ArrayList<>(lines);
        others.forEach(left::remove);
        return left;
    }

    private static String line(List<String> columns) {
        return String.join(Masks.COLUMN_SEPARATOR, columns);
    }
}
