package braidmq.interop.kafkadiff;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.kafka.common.protocol.ApiKeys;

/** An answer as lines that can be compared: {@code path = value}, without what has to differ between two brokers. */
final class Masks {
    /** Times, sentences, what a broker has of its own. */
    private static final Set<String> LEFT_OUT = Set.of("throttleTimeMs", "errorMessage", "totalBytes", "usableBytes", "logDir",
        "documentation", "finalizedFeaturesEpoch", "offsetLag", "clientHost", "batchIndexErrorMessage");
    /** Present or not is compared, the value is not. */
    private static final Map<String, String> PRESENCE = Map.of("clusterId", "id", "topicId", "id", "producerId", "producer id",
        "batchProducerId", "producer id", "sessionId", "session", "partitionSize", "bytes");
    /** An epoch is compared as known (>= 0) or unknown; its number is the broker's own. */
    private static final Set<String> EPOCHS = Set.of("leaderEpoch", "committedLeaderEpoch", "currentLeaderEpoch", "partitionLeaderEpoch");
    /** Arrays whose elements are named by this field; their order is the broker's affair. */
    private static final List<String> NAMES = List.of("name", "topicName", "topic", "topicId", "groupId", "key", "resourceName", "apiKey",
        "memberId", "partitionIndex", "partition", "index", "errorCode", "offsets");
    /** A name that a broker made: the client's or the instance's id and a UUID. */
    private static final Pattern MEMBER_ID = Pattern.compile("(.*)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
    /** Names at the limit of what is allowed. */
    private static final Pattern LONG = Pattern.compile("x{20,}");
    private static final String ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA";
    private static final long THIS_CENTURY_MS = 1_750_000_000_000L;

    private final String host;
    private final int port;
    /** Topics and groups of other scripts, and the broker's own, are no part of an answer about all. */
    private final String mine;
    private final Map<String, String> members = new HashMap<>();

    Masks(String address, String mine) {
        this.host = address.substring(0, address.lastIndexOf(':'));
        this.port = Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
        this.mine = mine;
    }

    List<String> lines(ApiKeys key, JsonNode answer) {
        var lines = new ArrayList<String>();
        add(lines, "", "", answer);
        lines.replaceAll(line -> LONG.matcher(line).replaceAll("xx.."));
        return lines;
    }

    private void add(List<String> lines, String path, String field, JsonNode value) {
        if (LEFT_OUT.contains(field)) {
            return;
        }
        if (value.has("apiKey") && value.has("maxVersion")) {
            lines.add(path + " = " + value.get("minVersion") + " to " + value.get("maxVersion"));
        } else if (value.has("value") && value.has("readOnly")) {
            addConfig(lines, path, value);
        } else if (value.isObject()) {
            var fields = new TreeSet<String>();
            value.fieldNames().forEachRemaining(fields::add);
            fields.forEach(name -> add(lines, path + "/" + name, name, value.get(name)));
        } else if (value.isArray()) {
            addElements(lines, path, value);
        } else {
            lines.add(path + " = " + masked(field, value));
        }
    }

    /** A configuration on one line, its synonyms on theirs. */
    private void addConfig(List<String> lines, String path, JsonNode config) {
        JsonNode source = config.has("configSource") ? config.get("configSource") : config.path("isDefault");
        String type = config.has("configType") ? ", type " + config.get("configType") : "";
        lines.add(path + " = " + config.get("value").asText() + ", source " + source.asText() + (config.get("readOnly").asBoolean() ? ", read only" : "")
            + (config.get("isSensitive").asBoolean() ? ", sensitive" : "") + type);
        if (config.has("synonyms")) {
            addElements(lines, path + "/synonyms", config.get("synonyms"));
        }
    }

    /** Elements with names go by name, others by number. */
    private void addElements(List<String> lines, String path, JsonNode array) {
        var named = new TreeMap<String, JsonNode>();
        for (int i = 0; i < array.size(); i++) {
            JsonNode element = array.get(i);
            String name = name(element);
            if (name == null || named.containsKey(name)) {
                name = (name == null ? "" : name + " ") + String.format("#%03d", i);
            }
            if (!isForeign(element)) {
                named.put(name, element);
            }
        }
        if (named.isEmpty()) {
            lines.add(path + " = []");
        }
        named.forEach((name, element) -> add(lines, path + "/" + name, element.isValueNode() ? "" : name, element));
    }

    private String name(JsonNode element) {
        for (String field : NAMES) {
            JsonNode name = element.get(field);
            if (name != null && !name.isNull() && !name.asText().isEmpty()) {
                if (field.equals("topicId")) {
                    return name.asText().equals(ZERO_ID) ? "zero id" : "id";
                }
                if (field.equals("apiKey")) {
                    return ApiKeys.hasId(name.asInt()) ? ApiKeys.forId(name.asInt()).name() : name.asText();
                }
                return field.equals("memberId") ? masked(field, name) : name.asText().replace(mine, "~");
            }
        }
        return null;
    }

    private boolean isForeign(JsonNode element) {
        for (String field : List.of("name", "groupId")) {
            JsonNode name = element.get(field);
            boolean isListed = element.has("isInternal") || element.has("protocolType") && element.has("groupType") || element.has("groupState") && !element.has("members")
                || element.has("protocolType") && element.size() <= 3;
            if (name != null && isListed && name.isTextual() && !name.asText().contains(mine) && element.path("errorCode").asInt() == 0) {
                return true;
            }
        }
        return false;
    }

    private String masked(String field, JsonNode value) {
        if (value.isNull()) {
            return "null";
        }
        String text = value.asText();
        if (field.equals("host") && text.equals(host) || field.equals("port") && value.asInt() == port) {
            return "<the broker's>";
        }
        if (PRESENCE.containsKey(field)) {
            boolean absent = text.isEmpty() || text.equals(ZERO_ID) || value.isNumber() && value.asLong() <= 0 && !(field.contains("roducerId") && value.asLong() == 0);
            return absent ? text : "<" + PRESENCE.get(field) + ">";
        }
        if (EPOCHS.contains(field) && value.asLong() >= 0) {
            return "<epoch>";
        }
        if (value.isNumber() && value.asLong() > THIS_CENTURY_MS) {
            return "<now>";
        }
        if (value.isTextual()) {
            var member = MEMBER_ID.matcher(text);
            if (member.matches()) {
                return members.computeIfAbsent(text, id -> "<" + member.group(1).replace(mine, "~") + " " + (members.size() + 1) + ">");
            }
            return "\"" + text.replace(mine, "~") + "\"";
        }
        return text;
    }
}
