package braidmq.interop.mqadmin;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * Turns what mqadmin printed into what two brokers have in common: lines of columns.
 *
 * <p>Values that the scenario knows (addresses, ids, times of its own) become {@code <names>}. Columns and keys whose
 * values no two runs share become {@code <masked>}. Everything that is masked is written down here, by name; what
 * remains is compared as it is.
 */
final class Masks {
    /** Between the columns of a line in expected/. */
    static final String COLUMN_SEPARATOR = " | ";

    /** By subcommand: columns of tables and keys of lists whose values differ between runs or between products. */
    private static final Map<String, Set<String>> VALUES = Map.of(
        "topicStatus", Set.of("Topic Put TPS"),
        "clusterList", Set.of("#InTPS(LOAD)", "#OutTPS(LOAD)", "#Timer(Progress)", "#PCWait(ms)", "#Hour", "#SPACE", "#Version"),
        "consumerProgress", Set.of("Consume TPS", "#TPS", "#Client IP"),
        "queryMsgById", Set.of("CommitLog Offset"),
        "queryMsgByUniqueKey", Set.of("CommitLog Offset"),
        "brokerStatus", Set.of(
            // Times, rates and latencies.
            "bootTimestamp", "earliestMessageTimeStamp", "runtime", "getFoundTps", "getMissTps", "getTotalTps",
            "getTransferredTps", "putTps", "getMessageEntireTimeMax", "putMessageEntireTimeMax", "putLatency99",
            "putLatency999", "putMessageDistributeTime", "pageCacheLockTimeMills",
            // The machine's disk.
            "commitLogDirCapacity", "commitLogDiskRatio", "commitLogDiskRatio_<store>", "consumeQueueDiskRatio",
            // Bytes: a record of ours also carries its check sum.
            "commitLogMaxOffset", "putMessageAverageSize", "putMessageSizeTotal", "remainHowManyDataToFlush",
            // How the product is built and configured.
            "brokerVersionDesc", "sendThreadPoolQueueCapacity", "pullThreadPoolQueueCapacity",
            "queryThreadPoolQueueCapacity", "litePullThreadPoolQueueCapacity"));

    /** By subcommand: rows that one of the two alone prints, since they tell of features that the other has not. */
    private static final Map<String, Set<String>> ROWS = Map.of(
        "topicList", Set.of("RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
            "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", "rmq_sys_REVIVE_LOG_<cluster>", "rmq_sys_SYNC_BROKER_MEMBER_<broker>",
            "rmq_sys_wheel_timer", "<cluster>_REPLY_TOPIC", "OFFSET_MOVED_EVENT"),
        "brokerStatus", Set.of("EndTransactionQueueSize", "EndTransactionThreadPoolQueueCapacity",
            "ackThreadPoolQueueCapacity", "ackThreadPoolQueueHeadWaitTimeMills", "ackThreadPoolQueueSize",
            "remainTransientStoreBufferNumbs", "timerCongestNum", "timerDequeueTps", "timerEnqueueTps",
            "timerOffsetBehind", "timerReadBehind",
            // Ours: what was made for readers of another protocol.
            "decodedBatches", "packedBatches"));

    /** Subcommands whose rows come in the order of a hash table. */
    private static final Set<String> UNORDERED = Set.of("topicList", "resetOffsetByTime");

    /** Where a client's own stack and the place of its message file would be. */
    private static final Pattern DROPPED_LINES = Pattern.compile("\\s+at .*|\\s+\\.\\.\\. \\d+ more|Message Body Path:.*|\\s*");
    private static final Pattern KEY_AND_VALUE = Pattern.compile("([A-Za-z][\\w <>]*?)\\s*:(?:\\s+(.*))?");
    private static final Pattern HEADING = Pattern.compile("#.*");

    private static final Map<Pattern, String> PATTERNS = patterns();

    private final Map<String, String> known = new LinkedHashMap<>();

    private static Map<Pattern, String> patterns() {
        var patterns = new LinkedHashMap<Pattern, String>();
        patterns.put(Pattern.compile("\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}(,\\d{3})?"), "<time>");
        patterns.put(Pattern.compile("\\S+@scenario-"), "<ip>@scenario-");
        patterns.put(Pattern.compile("\\d{13}@AdminTopic@K@[^@]+@<[^>]+>@\\d+"), "<index key>");
        patterns.put(Pattern.compile("commitLogDiskRatio_\\S+(?=:)"), "commitLogDiskRatio_<store>");
        patterns.put(Pattern.compile("127\\.0\\.0\\.1:\\d+"), "<client address>");
        return patterns;
    }

    /** From now on {@code value} is printed as {@code <name>}. A value that contains another has to be made known first. */
    void know(String value, String name) {
        known.put(value, "<" + name + ">");
    }

    /** What was printed, masked: a list of lines, each a list of columns. */
    List<List<String>> lines(String subcommand, String printed) {
        var masked = VALUES.getOrDefault(subcommand, Set.of());
        var dropped = ROWS.getOrDefault(subcommand, Set.of());
        var lines = new ArrayList<List<String>>();
        List<String> heading = List.of();
        for (String line : named(printed).split("\n")) {
            if (DROPPED_LINES.matcher(line).matches()) {
                continue;
            }
            List<String> columns;
            if (HEADING.matcher(line).matches()) {
                heading = Arrays.asList(line.strip().split("\\s+(?=#)"));
                columns = heading;
            } else {
                columns = row(line, heading, masked);
            }
            if (Collections.disjoint(columns, dropped)) {
                lines.add(columns);
            }
        }
        if (UNORDERED.contains(subcommand)) {
            // The rows between the heading, if there is one, and the exit code.
            lines.subList(lines.indexOf(heading) + 1, lines.size() - 1).sort(Comparator.comparing(List::toString));
        }
        return lines;
    }

    private String named(String printed) {
        String text = printed;
        for (var entry : known.entrySet()) {
            text = text.replace(entry.getKey(), entry.getValue());
        }
        for (var entry : PATTERNS.entrySet()) {
            text = entry.getKey().matcher(text).replaceAll(entry.getValue());
        }
        return text;
    }

    private static List<String> row(String line, List<String> heading, Set<String> masked) {
        var columns = new ArrayList<>(List.of(line.strip().split("\\s{2,}")));
        if (columns.size() == heading.size() && columns.size() > 1) {
            for (int i = 0; i < columns.size(); i++) {
                if (masked.contains(heading.get(i))) {
                    columns.set(i, "<masked>");
                }
            }
            return columns;
        }
        var pair = KEY_AND_VALUE.matcher(line);
        if (columns.size() <= 2 && pair.matches() && pair.group(2) != null) {
            String key = pair.group(1);
            String value = key.equals("Properties") ? properties(pair.group(2)) : pair.group(2).strip();
            return List.of(key, masked.contains(key) ? "<masked>" : value);
        }
        return columns;
    }

    /** A message's properties in the order of their names, without the check sum that records of ours carry. */
    private static String properties(String printed) {
        var properties = new TreeSet<>(List.of(printed.strip().replaceAll("^\\{|}$", "").split(", ")));
        properties.removeIf(property -> property.startsWith("__CRC32#="));
        return properties.toString();
    }
}
