package braidmq.interop.kafkadiff;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.DescribeClusterRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/** Scripts about the protocol itself; what requests mean is in the other classes. */
final class Scripts {
    interface Script {
        void play(Session session) throws Exception;
    }

    /** What this broker serves; the rest is one request each, see {@link #notServed}. */
    private static final List<ApiKeys> SERVED = List.of(ApiKeys.PRODUCE, ApiKeys.FETCH, ApiKeys.LIST_OFFSETS, ApiKeys.METADATA,
        ApiKeys.OFFSET_COMMIT, ApiKeys.OFFSET_FETCH, ApiKeys.FIND_COORDINATOR, ApiKeys.JOIN_GROUP, ApiKeys.HEARTBEAT, ApiKeys.LEAVE_GROUP,
        ApiKeys.SYNC_GROUP, ApiKeys.DESCRIBE_GROUPS, ApiKeys.LIST_GROUPS, ApiKeys.API_VERSIONS, ApiKeys.CREATE_TOPICS, ApiKeys.DELETE_TOPICS,
        ApiKeys.DELETE_RECORDS, ApiKeys.INIT_PRODUCER_ID, ApiKeys.OFFSET_FOR_LEADER_EPOCH, ApiKeys.DESCRIBE_CONFIGS,
        ApiKeys.DESCRIBE_LOG_DIRS, ApiKeys.CREATE_PARTITIONS, ApiKeys.DELETE_GROUPS, ApiKeys.INCREMENTAL_ALTER_CONFIGS, ApiKeys.OFFSET_DELETE,
        ApiKeys.DESCRIBE_CLUSTER, ApiKeys.DESCRIBE_TOPIC_PARTITIONS, ApiKeys.ALTER_CONFIGS, ApiKeys.LIST_PARTITION_REASSIGNMENTS,
        ApiKeys.DESCRIBE_PRODUCERS);
    private static final List<ApiKeys> NOT_SERVED = List.of(ApiKeys.SASL_HANDSHAKE, ApiKeys.ADD_PARTITIONS_TO_TXN, ApiKeys.ADD_OFFSETS_TO_TXN,
        ApiKeys.END_TXN, ApiKeys.TXN_OFFSET_COMMIT, ApiKeys.DESCRIBE_ACLS, ApiKeys.CREATE_ACLS, ApiKeys.DELETE_ACLS,
        ApiKeys.SASL_AUTHENTICATE, ApiKeys.DESCRIBE_CLIENT_QUOTAS, ApiKeys.DESCRIBE_USER_SCRAM_CREDENTIALS, ApiKeys.CONSUMER_GROUP_HEARTBEAT,
        ApiKeys.SHARE_GROUP_HEARTBEAT);

    private Scripts() {
    }

    /** All of them, or those that {@code -Dscripts=one,two} names. */
    static Map<String, Script> all() {
        var all = new LinkedHashMap<String, Script>();
        all.put("handshake", Scripts::handshake);
        all.put("defaults", Scripts::defaults);
        all.put("versions", Scripts::versions);
        all.put("not-served", Scripts::notServed);
        all.put("frames", Scripts::frames);
        TopicScripts.addTo(all);
        RecordScripts.addTo(all);
        GroupScripts.addTo(all);
        String only = System.getProperty("scripts", "");
        all.keySet().removeIf(name -> !only.isEmpty() && !List.of(only.split(",")).contains(name));
        return all;
    }

    private static ApiVersionsRequestData client(String name, String version) {
        return new ApiVersionsRequestData().setClientSoftwareName(name).setClientSoftwareVersion(version);
    }

    private static void handshake(Session session) throws Exception {
        for (int version = 0; version <= 2; version++) {
            session.ask("", ApiKeys.API_VERSIONS, version, new ApiVersionsRequestData());
        }
        for (int version = 3; version <= 4; version++) {
            session.ask("", ApiKeys.API_VERSIONS, version, client("apache-kafka-java", "4.3.1"));
            session.ask("name with a blank", ApiKeys.API_VERSIONS, version, client("a b", "1"));
            session.ask("no name", ApiKeys.API_VERSIONS, version, client("", "1"));
            session.ask("version ends in a dot", ApiKeys.API_VERSIONS, version, client("a", "1."));
        }
        for (int version : new int[] {5, 99, 32767, -1}) {
            byte[] body = Wire.bytes(client("a", "1"), 3);
            byte[] request = Wire.join(Wire.header(2, ApiKeys.API_VERSIONS.id, version, 77, "diff"), body);
            session.raw("ApiVersions v" + version + ", which nobody knows", Wire.framed(request), ApiKeys.API_VERSIONS, 0, 77);
        }
        for (int version = 0; version <= 2; version++) {
            session.ask("", ApiKeys.DESCRIBE_CLUSTER, version, new DescribeClusterRequestData());
        }
        session.ask("of controllers", ApiKeys.DESCRIBE_CLUSTER, 1, new DescribeClusterRequestData().setEndpointType((byte) 2));
        session.ask("of nothing that there is", ApiKeys.DESCRIBE_CLUSTER, 1, new DescribeClusterRequestData().setEndpointType((byte) 9));
        session.ask("with operations", ApiKeys.DESCRIBE_CLUSTER, 0, new DescribeClusterRequestData().setIncludeClusterAuthorizedOperations(true));
    }

    /** The emptiest request of each key in each of its versions: every layout is read and answered. */
    private static void defaults(Session session) throws Exception {
        for (ApiKeys key : SERVED) {
            if (key == ApiKeys.API_VERSIONS) {
                continue;
            }
            for (short version = key.oldestVersion(); version <= key.latestVersion(); version++) {
                session.ask("with nothing in it", key, version, empty(key, version));
            }
        }
    }

    private static ApiMessage empty(ApiKeys key, int version) {
        ApiMessage body = key.messageType.newRequest();
        if (body instanceof ProduceRequestData produce) {
            // 0, the default, is not answered.
            produce.setAcks((short) -1);
        } else if (body instanceof FetchRequestData fetch) {
            fetch.setMaxWaitMs(0);
        } else if (body instanceof ApiVersionsRequestData versions && version >= 3) {
            versions.setClientSoftwareName("a").setClientSoftwareVersion("1");
        }
        return body;
    }

    /** One version above and one below what there is. */
    private static void versions(Session session) throws Exception {
        for (ApiKeys key : SERVED) {
            if (key == ApiKeys.API_VERSIONS) {
                continue;
            }
            int above = key.latestVersion() + 1;
            unknown(session, key + " v" + above + ", above the newest", key, above);
            if (key.oldestVersion() > 0) {
                int below = key.oldestVersion() - 1;
                unknown(session, key + " v" + below + ", below the oldest", key, below);
            }
        }
        for (int key : new int[] {4, 5, 6, 7, 82, 95, 999, 32767, -1}) {
            byte[] request = Wire.join(Wire.header(1, key, 0, 77, "diff"), new byte[16]);
            session.raw("key " + key + ", which nobody knows", Wire.framed(request), ApiKeys.API_VERSIONS, 0, 77);
        }
    }

    private static void unknown(Session session, String label, ApiKeys key, int version) throws Exception {
        byte[] request = Wire.join(Wire.header(1, key.id, version, 77, "diff"), new byte[16]);
        session.raw(label, Wire.framed(request), key, key.latestVersion(), 77);
    }

    private static void notServed(Session session) throws Exception {
        for (ApiKeys key : NOT_SERVED) {
            session.ask("with nothing in it", key, key.oldestVersion(), key.messageType.newRequest());
        }
    }

    private static byte[] size(int size) {
        return ByteBuffer.allocate(4).putInt(size).array();
    }

    private static void frames(Session session) throws Exception {
        byte[] good = Wire.join(Wire.header(1, ApiKeys.METADATA.id, 4, 77, "diff"),
            Wire.bytes(new MetadataRequestData().setTopics(List.of()), 4));
        var sizes = Map.of("size 0", 0, "size -1", -1, "size of the smallest number", Integer.MIN_VALUE,
            "size above 100 MiB", 104_857_601, "size of the largest number", Integer.MAX_VALUE);
        for (var size : new java.util.TreeMap<>(sizes).entrySet()) {
            session.raw(size.getKey(), size(size.getValue()), ApiKeys.METADATA, 4, 77);
        }
        session.raw("what a browser says", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".getBytes(UTF_8), ApiKeys.METADATA, 4, 77);
        for (int bytes = 1; bytes < 8; bytes += 3) {
            session.raw("a request of " + bytes + " bytes", Wire.framed(java.util.Arrays.copyOf(good, bytes)), ApiKeys.METADATA, 4, 77);
        }
        session.raw("a header without client id", Wire.framed(java.util.Arrays.copyOf(good, 8)), ApiKeys.METADATA, 4, 77);
        session.raw("a header that ends in its client id", Wire.framed(java.util.Arrays.copyOf(good, 12)), ApiKeys.METADATA, 4, 77);
        session.raw("a client id of -2 bytes", Wire.framed(Batches.damaged(good, b -> b.putShort(8, (short) -2))), ApiKeys.METADATA, 4, 77);
        session.raw("a client id of 32767 bytes", Wire.framed(Batches.damaged(good, b -> b.putShort(8, (short) 32767))), ApiKeys.METADATA, 4, 77);
        byte[] anonymous = Wire.join(Wire.header(1, ApiKeys.METADATA.id, 4, -5, null), Wire.bytes(new MetadataRequestData().setTopics(List.of()), 4));
        session.raw("no client id, and correlation id -5", Wire.framed(anonymous), ApiKeys.METADATA, 4, -5);
        session.raw("bytes after the end", Wire.framed(Wire.join(good, new byte[] {1, 2, 3})), ApiKeys.METADATA, 4, 77);
        byte[] header = Wire.header(1, ApiKeys.METADATA.id, 4, 77, "diff");
        session.raw("an array of -2 elements", Wire.framed(Wire.join(header, size(-2), new byte[] {0})), ApiKeys.METADATA, 4, 77);
        session.raw("an array of two thousand million elements", Wire.framed(Wire.join(header, size(2_000_000_000), new byte[] {0})), ApiKeys.METADATA, 4, 77);
        session.raw("an array that is not there", Wire.framed(header), ApiKeys.METADATA, 4, 77);
        session.raw("a string that is longer than the frame",
            Wire.framed(Wire.join(header, size(1), new byte[] {0x7f, (byte) 0xff, 'a', 0})), ApiKeys.METADATA, 4, 77);
        session.raw("a null where none may be", Wire.framed(Wire.join(header, size(1), new byte[] {(byte) 0xff, (byte) 0xff, 0})), ApiKeys.METADATA, 4, 77);
        byte[] flexible = Wire.header(2, ApiKeys.METADATA.id, 9, 77, "diff");
        session.raw("a varint without an end",
            Wire.framed(Wire.join(flexible, new byte[] {-1, -1, -1, -1, -1, -1, -1, -1})), ApiKeys.METADATA, 9, 77);
        session.raw("a compact array longer than the frame", Wire.framed(Wire.join(flexible, new byte[] {-1, -1, -1, 7, 0, 0, 0, 0})), ApiKeys.METADATA, 9, 77);
        byte[] unknownTag = Wire.join(flexible, new byte[] {1, 0, 0, 0, 1, 99, 3, 'a', 'b', 'c'});
        session.raw("a tagged field that nobody knows", Wire.framed(unknownTag), ApiKeys.METADATA, 9, 77);
        byte[] tagBeyond = Wire.join(flexible, new byte[] {1, 0, 0, 0, 1, 99, 100, 'a'});
        session.raw("a tagged field that is longer than the frame", Wire.framed(tagBeyond), ApiKeys.METADATA, 9, 77);
        byte[] tagInHeader = Wire.join(java.util.Arrays.copyOf(flexible, flexible.length - 1), new byte[] {1, 42, 2, 'h', 'i'}, new byte[] {1, 0, 0, 0, 0});
        session.raw("a tagged field in the header that nobody knows", Wire.framed(tagInHeader), ApiKeys.METADATA, 9, 77);
        session.raw("two requests in one piece, the first answer", Wire.join(Wire.framed(good), Wire.framed(anonymous)), ApiKeys.METADATA, 4, 77);
        session.raw("two requests in one piece, the second answer", new byte[0], ApiKeys.METADATA, 4, -5);
        byte[] framed = Wire.framed(good);
        for (int i = 0; i < framed.length - 1; i++) {
            session.wire("main").write(new byte[] {framed[i]});
        }
        session.raw("a request that comes byte by byte", new byte[] {framed[framed.length - 1]}, ApiKeys.METADATA, 4, 77);
        session.wire("main").write(size(100));
        session.wire("main").write(new byte[50]);
        session.wire("main").endOutput();
        session.raw("half a request and then the end", new byte[0], ApiKeys.METADATA, 4, 77);
    }
}
