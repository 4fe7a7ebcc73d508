package braidmq.interop.kafkadiff;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.ListGroupsRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetDeleteRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.protocol.ApiKeys;

/** Scripts about groups and their offsets. */
final class GroupScripts {
    private static final int SESSION_MS = 30_000;
    private static final int COMMIT_BY_ID = 10;

    private GroupScripts() {
    }

    static void addTo(Map<String, Scripts.Script> all) {
        all.put("coordinator", GroupScripts::coordinator);
        all.put("join", GroupScripts::join);
        all.put("join-refused", GroupScripts::joinRefused);
        all.put("rebalance", GroupScripts::rebalance);
        all.put("static", GroupScripts::staticMembers);
        all.put("leave", GroupScripts::leave);
        all.put("commit", GroupScripts::commit);
        all.put("commit-live", GroupScripts::commitLive);
        all.put("offset-fetch", GroupScripts::offsetFetch);
        all.put("group-admin", GroupScripts::admin);
    }

    private static FindCoordinatorRequestData find(int version, int type, String... keys) {
        var find = new FindCoordinatorRequestData();
        if (version >= 1) {
            find.setKeyType((byte) type);
        }
        return version >= 4 ? find.setCoordinatorKeys(List.of(keys)) : find.setKey(keys[0]);
    }

    /** Kafka makes the topic of its groups when the first one is asked for. */
    private static void awaitCoordinator(Session session) {
        session.until("there are groups", () -> {
            JsonNode found = session.prepare(ApiKeys.FIND_COORDINATOR, 4, find(4, 0, session.name("g")));
            JsonNode ended = session.prepare(ApiKeys.OFFSET_FETCH, 5, new OffsetFetchRequestData().setGroupId(session.name("g")).setTopics(null));
            return found.at("/coordinators/0/errorCode").asInt() == 0 && ended.get("errorCode").asInt() == 0;
        });
    }

    private static void coordinator(Session session) throws Exception {
        awaitCoordinator(session);
        for (int version = 0; version <= 6; version++) {
            session.ask("of a group", ApiKeys.FIND_COORDINATOR, version, find(version, 0, session.name("g")));
            session.ask("of a group without a name", ApiKeys.FIND_COORDINATOR, version, find(version, 0, ""));
        }
        session.ask("of three", ApiKeys.FIND_COORDINATOR, 4, find(4, 0, session.name("a"), session.name("b"), ""));
        for (int version : new int[] {1, 4, 6}) {
            session.ask("of what isn't there", ApiKeys.FIND_COORDINATOR, version, find(version, 9, session.name("a")));
            session.ask("of a share", ApiKeys.FIND_COORDINATOR, version, find(version, 2, session.name("a")));
        }
    }

    /** A member as a client has it: what it says in each request. */
    private static final class Joiner {
        private final String group;
        private String member = "";
        private String instance = null;
        private int generation = -1;
        private List<String> protocols = List.of("range");
        private String type = "consumer";
        private int sessionMs = SESSION_MS;

        Joiner(String group) {
            this.group = group;
        }

        JoinGroupRequestData join(int version) {
            var named = new JoinGroupRequestData.JoinGroupRequestProtocolCollection();
            protocols.forEach(protocol -> named.add(new JoinGroupRequestProtocol().setName(protocol).setMetadata(subscription("diff-topic"))));
            var join = new JoinGroupRequestData().setGroupId(group).setMemberId(member).setSessionTimeoutMs(sessionMs)
                .setRebalanceTimeoutMs(version >= 1 ? SESSION_MS : -1).setProtocolType(type).setProtocols(named);
            return version >= 5 ? join.setGroupInstanceId(instance) : join;
        }

        SyncGroupRequestData sync(int version, String... assignments) {
            var all = new ArrayList<SyncGroupRequestData.SyncGroupRequestAssignment>();
            for (int i = 0; i < assignments.length; i += 2) {
                all.add(new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(assignments[i]).setAssignment(assignments[i + 1].getBytes(UTF_8)));
            }
            var sync = new SyncGroupRequestData().setGroupId(group).setMemberId(member).setGenerationId(generation).setAssignments(all);
            if (version >= 5) {
                sync.setProtocolType(type).setProtocolName(protocols.isEmpty() ? null : protocols.get(0));
            }
            return version >= 3 ? sync.setGroupInstanceId(instance) : sync;
        }

        HeartbeatRequestData heartbeat(int version) {
            var heartbeat = new HeartbeatRequestData().setGroupId(group).setMemberId(member).setGenerationId(generation);
            return version >= 3 ? heartbeat.setGroupInstanceId(instance) : heartbeat;
        }

        /** Takes over what an answer to a join says. */
        Joiner joined(JsonNode answer) {
            member = answer.get("memberId").asText();
            generation = answer.get("generationId").asInt();
            return this;
        }

        /** Alone in its group, and stable. */
        Joiner settle(Session session) throws Exception {
            JsonNode asked = session.prepare(ApiKeys.JOIN_GROUP, 5, join(5));
            if (asked.get("errorCode").asInt() == 79) {
                member = asked.get("memberId").asText();
                asked = session.prepare(ApiKeys.JOIN_GROUP, 5, join(5));
            }
            joined(asked);
            JsonNode synced = session.prepare(ApiKeys.SYNC_GROUP, 3, sync(3, member, "assigned"));
            if (asked.get("errorCode").asInt() != 0 || synced.get("errorCode").asInt() != 0) {
                throw new IllegalStateException("not settled: " + asked + synced);
            }
            return this;
        }
    }

    private static byte[] subscription(String topic) {
        ByteBuffer bytes = ConsumerProtocol.serializeSubscription(new Subscription(List.of(topic)));
        var subscription = new byte[bytes.remaining()];
        bytes.get(subscription);
        return subscription;
    }

    private static void join(Session session) throws Exception {
        awaitCoordinator(session);
        for (int version = 0; version <= 9; version++) {
            var joiner = new Joiner(session.name("v" + version));
            JsonNode joined = session.ask("as a new member", ApiKeys.JOIN_GROUP, version, joiner.join(version));
            if (version >= 4) {
                joiner.member = joined.get("memberId").asText();
                joined = session.ask("with the id it was given", ApiKeys.JOIN_GROUP, version, joiner.join(version));
            }
            joiner.joined(joined);
            int sync = Math.min(version, 5);
            session.ask("as leader, after join v" + version, ApiKeys.SYNC_GROUP, sync, joiner.sync(sync, joiner.member, "assigned"));
            session.ask("once more, after join v" + version, ApiKeys.SYNC_GROUP, sync, joiner.sync(sync, joiner.member, "other"));
            int heartbeat = Math.min(version, 4);
            session.ask("after join v" + version, ApiKeys.HEARTBEAT, heartbeat, joiner.heartbeat(heartbeat));
            joiner.generation += 1;
            session.ask("of the next generation, after join v" + version, ApiKeys.HEARTBEAT, heartbeat, joiner.heartbeat(heartbeat));
            session.ask("of the next generation, after join v" + version, ApiKeys.SYNC_GROUP, sync, joiner.sync(sync));
            joiner.generation -= 2;
            session.ask("of the last generation, after join v" + version, ApiKeys.HEARTBEAT, heartbeat, joiner.heartbeat(heartbeat));
            int describe = Math.min(version, 6);
            session.ask("after join v" + version, ApiKeys.DESCRIBE_GROUPS, describe, new DescribeGroupsRequestData().setGroups(List.of(joiner.group)));
        }
        var again = new Joiner(session.name("again")).settle(session);
        session.ask("as leader of a stable group", ApiKeys.JOIN_GROUP, 5, again.join(5));
    }

    private static void joinRefused(Session session) throws Exception {
        awaitCoordinator(session);
        for (int version : new int[] {0, 5, 9}) {
            session.ask("without a group", ApiKeys.JOIN_GROUP, version, new Joiner("").join(version));
            for (int ms : new int[] {0, 5_999, 1_800_001}) {
                var impatient = new Joiner(session.name("timeout"));
                impatient.sessionMs = ms;
                session.ask("a session of " + ms + " ms", ApiKeys.JOIN_GROUP, version, impatient.join(version));
            }
            var unknown = new Joiner(session.name("unknown"));
            unknown.member = "nobody";
            session.ask("as nobody, in a group that isn't there", ApiKeys.JOIN_GROUP, version, unknown.join(version));
            var plain = new Joiner(session.name("no-protocol"));
            plain.protocols = List.of();
            session.ask("without a protocol", ApiKeys.JOIN_GROUP, version, plain.join(version));
            var untyped = new Joiner(session.name("no-type"));
            untyped.type = "";
            session.ask("without a type", ApiKeys.JOIN_GROUP, version, untyped.join(version));
        }
        var first = new Joiner(session.name("first")).settle(session);
        var other = new Joiner(session.name("first"));
        other.protocols = List.of("roundrobin");
        session.ask("with no protocol in common", ApiKeys.JOIN_GROUP, 5, other.join(5));
        var typed = new Joiner(session.name("first"));
        typed.type = "connect";
        session.ask("with another type", ApiKeys.JOIN_GROUP, 5, typed.join(5));
        var nobody = new Joiner(session.name("first"));
        nobody.member = "nobody";
        nobody.generation = first.generation;
        session.ask("as nobody, in a group that is there", ApiKeys.JOIN_GROUP, 5, nobody.join(5));
        for (int version = 0; version <= 4; version++) {
            session.ask("of nobody", ApiKeys.HEARTBEAT, version, nobody.heartbeat(version));
            session.ask("in a group that isn't there", ApiKeys.HEARTBEAT, version, new Joiner(session.name("unknown")).heartbeat(version));
            session.ask("without a group", ApiKeys.HEARTBEAT, version, new Joiner("").heartbeat(version));
        }
        for (int version = 0; version <= 5; version++) {
            session.ask("of nobody", ApiKeys.SYNC_GROUP, version, nobody.sync(version));
            session.ask("in a group that isn't there", ApiKeys.SYNC_GROUP, version, new Joiner(session.name("unknown")).sync(version));
            session.ask("without a group", ApiKeys.SYNC_GROUP, version, new Joiner("").sync(version));
        }
        session.ask("with another type", ApiKeys.SYNC_GROUP, 5, first.sync(5).setProtocolType("connect"));
        session.ask("with another protocol", ApiKeys.SYNC_GROUP, 5, first.sync(5).setProtocolName("roundrobin"));
        session.ask("without type and protocol", ApiKeys.SYNC_GROUP, 5, first.sync(5).setProtocolType(null).setProtocolName(null));
        var instance = new Joiner(session.name("first"));
        instance.member = first.member;
        instance.generation = first.generation;
        instance.instance = "nobody's";
        session.ask("with an instance that nobody has", ApiKeys.HEARTBEAT, 4, instance.heartbeat(4));
        session.ask("with an instance that nobody has", ApiKeys.SYNC_GROUP, 5, instance.sync(5));
        session.ask("with an instance that isn't the member's", ApiKeys.JOIN_GROUP, 5, instance.join(5));
    }

    /** Two members, on a connection each, since a join waits for the other. */
    private static void rebalance(Session session) throws Exception {
        awaitCoordinator(session);
        var first = new Joiner(session.name("two"));
        first.protocols = List.of("range", "roundrobin");
        first.settle(session);
        var second = new Joiner(session.name("two"));
        second.protocols = List.of("roundrobin", "range");
        second.member = session.ask("second", "the second, without an id", ApiKeys.JOIN_GROUP, 5, second.join(5)).get("memberId").asText();
        session.send("second", ApiKeys.JOIN_GROUP, 5, second.join(5));
        session.until("the first is told", () -> session.prepare(ApiKeys.HEARTBEAT, 4, first.heartbeat(4)).get("errorCode").asInt() == 27);
        session.ask("of the first while it has to rejoin", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        session.ask("of the first while it has to rejoin", ApiKeys.SYNC_GROUP, 5, first.sync(5));
        session.ask("while it rebalances", ApiKeys.DESCRIBE_GROUPS, 5, new DescribeGroupsRequestData().setGroups(List.of(first.group)));
        session.ask("of the first while it has to rejoin", ApiKeys.OFFSET_COMMIT, 8, committed(session, first, 8, 5));
        first.joined(session.ask("the first again", ApiKeys.JOIN_GROUP, 5, first.join(5)));
        second.joined(session.answer("second", "the second, with an id", ApiKeys.JOIN_GROUP, 5));
        session.send("second", ApiKeys.SYNC_GROUP, 3, second.sync(3));
        session.ask("of the first before it synced", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        session.ask("of the first before it synced", ApiKeys.OFFSET_COMMIT, 8, committed(session, first, 8, 6));
        session.ask("the leader with one assignment of two", ApiKeys.SYNC_GROUP, 3, first.sync(3, first.member, "for the first"));
        session.answer("second", "the second, for whom there is none", ApiKeys.SYNC_GROUP, 3);
        session.ask("stable again", ApiKeys.DESCRIBE_GROUPS, 5, new DescribeGroupsRequestData().setGroups(List.of(first.group)));
        session.ask("second", "the follower, as before", ApiKeys.JOIN_GROUP, 5, second.join(5));
        session.ask("the leader's heartbeat after that", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        session.disconnect("second");
        session.ask("the second leaves", ApiKeys.LEAVE_GROUP, 2, new LeaveGroupRequestData().setGroupId(second.group).setMemberId(second.member));
        session.ask("of the first when the second has left", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        first.joined(session.ask("the first, alone", ApiKeys.JOIN_GROUP, 5, first.join(5)));
    }

    private static void staticMembers(Session session) throws Exception {
        awaitCoordinator(session);
        var first = new Joiner(session.name("s"));
        first.instance = "one";
        JsonNode joined = session.ask("a new static member", ApiKeys.JOIN_GROUP, 5, first.join(5));
        first.joined(joined);
        session.ask("of the static member", ApiKeys.SYNC_GROUP, 5, first.sync(5, first.member, "assigned"));
        session.ask("of the static member", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        session.ask("with a static member", ApiKeys.DESCRIBE_GROUPS, 5, new DescribeGroupsRequestData().setGroups(List.of(first.group)));
        var again = new Joiner(session.name("s"));
        again.instance = "one";
        for (int version : new int[] {5, 9}) {
            again.member = "";
            JsonNode rejoined = session.ask("the same instance comes back", ApiKeys.JOIN_GROUP, version, again.join(version));
            again.joined(rejoined);
            session.ask("of the one that came back with join v" + version, ApiKeys.SYNC_GROUP, 5, again.sync(5));
        }
        session.ask("of the one that was replaced", ApiKeys.HEARTBEAT, 4, first.heartbeat(4));
        session.ask("of the one that was replaced", ApiKeys.SYNC_GROUP, 5, first.sync(5));
        session.ask("of the one that was replaced", ApiKeys.JOIN_GROUP, 5, first.join(5));
        session.ask("of the one that was replaced", ApiKeys.OFFSET_COMMIT, 8, committed(session, first, 8, 5));
        session.ask("the one that was replaced leaves", ApiKeys.LEAVE_GROUP, 5, leaving(first.group, first.member, "one"));
        session.ask("of the one that replaced it", ApiKeys.HEARTBEAT, 4, again.heartbeat(4));
        session.ask("by instance", ApiKeys.LEAVE_GROUP, 5, leaving(first.group, "", "one"));
        session.ask("by an instance that isn't there", ApiKeys.LEAVE_GROUP, 5, leaving(first.group, "", "one"));
    }

    private static LeaveGroupRequestData leaving(String group, String... membersAndInstances) {
        var members = new ArrayList<LeaveGroupRequestData.MemberIdentity>();
        for (int i = 0; i < membersAndInstances.length; i += 2) {
            members.add(new LeaveGroupRequestData.MemberIdentity().setMemberId(membersAndInstances[i]).setGroupInstanceId(membersAndInstances[i + 1]));
        }
        return new LeaveGroupRequestData().setGroupId(group).setMembers(members);
    }

    private static void leave(Session session) throws Exception {
        awaitCoordinator(session);
        for (int version = 0; version <= 2; version++) {
            var joiner = new Joiner(session.name("v" + version)).settle(session);
            session.ask("as nobody", ApiKeys.LEAVE_GROUP, version, new LeaveGroupRequestData().setGroupId(joiner.group).setMemberId("nobody"));
            session.ask("", ApiKeys.LEAVE_GROUP, version, new LeaveGroupRequestData().setGroupId(joiner.group).setMemberId(joiner.member));
            session.ask("again", ApiKeys.LEAVE_GROUP, version, new LeaveGroupRequestData().setGroupId(joiner.group).setMemberId(joiner.member));
            session.ask("without a group", ApiKeys.LEAVE_GROUP, version, new LeaveGroupRequestData().setGroupId("").setMemberId("nobody"));
        }
        for (int version = 3; version <= 5; version++) {
            var joiner = new Joiner(session.name("v" + version)).settle(session);
            session.ask("the member and nobody", ApiKeys.LEAVE_GROUP, version, leaving(joiner.group, joiner.member, null, "nobody", null));
            session.ask("nobody at all", ApiKeys.LEAVE_GROUP, version, leaving(joiner.group));
            session.ask("of a group that isn't there", ApiKeys.LEAVE_GROUP, version, leaving(session.name("unknown"), "nobody", null));
            session.ask("when it is empty, after leave v" + version, ApiKeys.DESCRIBE_GROUPS, 5, new DescribeGroupsRequestData().setGroups(List.of(joiner.group)));
        }
        var pending = new Joiner(session.name("pending"));
        pending.member = session.prepare(ApiKeys.JOIN_GROUP, 5, pending.join(5)).get("memberId").asText();
        session.ask("one that only has its id", ApiKeys.LEAVE_GROUP, 5, leaving(pending.group, pending.member, null));
        session.ask("with an id that was given back", ApiKeys.JOIN_GROUP, 5, pending.join(5));
    }

    private static OffsetCommitRequestData committed(Session session, Joiner joiner, int version, long offset) {
        var commit = commit(joiner.group, session.name("t"), null, 0, offset, "note").setMemberId(joiner.member)
            .setGenerationIdOrMemberEpoch(joiner.generation);
        return version >= 7 ? commit.setGroupInstanceId(joiner.instance) : commit;
    }

    private static OffsetCommitRequestData commit(String group, String topic, Uuid id, int partition, long offset, String metadata) {
        var data = new OffsetCommitRequestData.OffsetCommitRequestTopic().setPartitions(List.of(
            new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(offset).setCommittedMetadata(metadata)));
        return new OffsetCommitRequestData().setGroupId(group).setTopics(List.of(id == null ? data.setName(topic) : data.setTopicId(id)));
    }

    private static OffsetFetchRequestData fetched(int version, String group, String topic, Uuid id, int... partitions) {
        var indexes = java.util.stream.IntStream.of(partitions).boxed().toList();
        if (version < 8) {
            return new OffsetFetchRequestData().setGroupId(group).setTopics(topic == null ? null
                : List.of(new OffsetFetchRequestData.OffsetFetchRequestTopic().setName(topic).setPartitionIndexes(indexes)));
        }
        var of = new OffsetFetchRequestData.OffsetFetchRequestTopics().setPartitionIndexes(indexes);
        return new OffsetFetchRequestData().setGroups(List.of(new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group)
            .setTopics(topic == null ? null : List.of(version >= COMMIT_BY_ID ? of.setTopicId(id) : of.setName(topic)))));
    }

    private static void commit(Session session) throws Exception {
        awaitCoordinator(session);
        Uuid id = Uuid.fromString(session.topic("t", 2));
        String t = session.name("t");
        for (int version = 2; version <= 10; version++) {
            Uuid named = version >= COMMIT_BY_ID ? id : null;
            String group = session.name("v" + version);
            session.ask("of nobody in particular", ApiKeys.OFFSET_COMMIT, version, commit(group, t, named, 0, 40 + version, "note " + version));
            session.ask("of a partition that isn't there", ApiKeys.OFFSET_COMMIT, version, commit(group, t, named, 9, 1, ""));
            session.ask("of a topic that isn't there", ApiKeys.OFFSET_COMMIT, version,
                commit(group, session.name("unknown"), named == null ? null : new Uuid(4711, 4711), 0, 1, ""));
            session.ask("of a member in a group without", ApiKeys.OFFSET_COMMIT, version, commit(group, t, named, 0, 1, "").setMemberId("nobody").setGenerationIdOrMemberEpoch(3));
            session.ask("after commit v" + version, ApiKeys.OFFSET_FETCH, 5, fetched(5, group, t, null, 0, 1));
        }
        String group = session.name("more");
        session.ask("metadata of 4096", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 1, "x".repeat(4_096)));
        session.ask("metadata of 4097", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 1, "x".repeat(4_097)));
        session.ask("metadata null", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 1, 1, null));
        session.ask("after metadata null", ApiKeys.OFFSET_FETCH, 5, fetched(5, group, t, null, 1));
        for (int offset : new int[] {-1, -2}) {
            session.ask("offset " + offset, ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 1, offset, ""));
        }
        session.ask("a negative offset", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 1, -5, ""));
        session.ask("an offset behind the end", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 1, 1_000_000, ""));
        session.ask("without a group", ApiKeys.OFFSET_COMMIT, 8, commit("", t, null, 1, 1, ""));
        session.ask("nothing", ApiKeys.OFFSET_COMMIT, 8, new OffsetCommitRequestData().setGroupId(group));
        var epoch = commit(group, t, null, 0, 7, "");
        epoch.topics().get(0).partitions().get(0).setCommittedLeaderEpoch(0);
        session.ask("with an epoch", ApiKeys.OFFSET_COMMIT, 8, epoch);
        session.ask("after one with an epoch", ApiKeys.OFFSET_FETCH, 5, fetched(5, group, t, null, 0));
        session.ask("with a generation and without a member", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 7, "").setGenerationIdOrMemberEpoch(2));
        session.ask("with an instance that nobody has", ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 7, "").setGroupInstanceId("nobody's"));
        session.ask("with a time to keep", ApiKeys.OFFSET_COMMIT, 4, commit(group, t, null, 0, 8, "").setRetentionTimeMs(1_000_000));
    }

    private static void commitLive(Session session) throws Exception {
        awaitCoordinator(session);
        Uuid id = Uuid.fromString(session.topic("t", 1));
        var joiner = new Joiner(session.name("live")).settle(session);
        String t = session.name("t");
        for (int version = 2; version <= 9; version++) {
            session.ask("of the member", ApiKeys.OFFSET_COMMIT, version, committed(session, joiner, version, version));
            session.ask("of nobody, though there is a member", ApiKeys.OFFSET_COMMIT, version, commit(joiner.group, t, null, 0, 1, ""));
            session.ask("of somebody else", ApiKeys.OFFSET_COMMIT, version, committed(session, joiner, version, 1).setMemberId("nobody"));
            session.ask("of another generation", ApiKeys.OFFSET_COMMIT, version,
                committed(session, joiner, version, 1).setGenerationIdOrMemberEpoch(joiner.generation + 1));
        }
        session.ask("of the member", ApiKeys.OFFSET_COMMIT, 10, commit(joiner.group, t, id, 0, 10, "").setMemberId(joiner.member)
            .setGenerationIdOrMemberEpoch(joiner.generation));
        session.ask("what it has now", ApiKeys.OFFSET_FETCH, 5, fetched(5, joiner.group, t, null, 0));
        var fetch = fetched(9, joiner.group, t, null, 0);
        fetch.groups().get(0).setMemberId("nobody").setMemberEpoch(3);
        session.ask("of somebody else", ApiKeys.OFFSET_FETCH, 9, fetch);
    }

    private static void offsetFetch(Session session) throws Exception {
        awaitCoordinator(session);
        Uuid id = Uuid.fromString(session.topic("t", 3));
        String t = session.name("t");
        String group = session.name("g2");
        session.prepare(ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 5, "five"));
        session.prepare(ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 2, 7, ""));
        for (int version = 1; version <= 10; version++) {
            Uuid named = version >= COMMIT_BY_ID ? id : null;
            session.ask("two that are there and one that isn't", ApiKeys.OFFSET_FETCH, version, fetched(version, group, t, named, 0, 1, 2));
            session.ask("of a group that isn't there", ApiKeys.OFFSET_FETCH, version, fetched(version, session.name("unknown"), t, named, 0));
            session.ask("of a topic that isn't there", ApiKeys.OFFSET_FETCH, version,
                fetched(version, group, session.name("unknown"), named == null ? null : new Uuid(4711, 4711), 0));
            session.ask("of a partition that isn't there", ApiKeys.OFFSET_FETCH, version, fetched(version, group, t, named, 77));
            session.ask("without a group", ApiKeys.OFFSET_FETCH, version, fetched(version, "", t, named, 0));
            if (version >= 2) {
                session.ask("all", ApiKeys.OFFSET_FETCH, version, fetched(version, group, null, null));
                session.ask("all of a group that isn't there", ApiKeys.OFFSET_FETCH, version, fetched(version, session.name("unknown"), null, null));
            }
            if (version >= 7) {
                session.ask("that is stable", ApiKeys.OFFSET_FETCH, version, fetched(version, group, t, named, 0).setRequireStable(true));
            }
        }
        var many = fetched(8, group, t, null, 0);
        many.setGroups(List.of(many.groups().get(0), fetched(8, session.name("unknown"), t, null, 0).groups().get(0), fetched(8, "", null, null).groups().get(0)));
        session.ask("of three groups", ApiKeys.OFFSET_FETCH, 8, many);
    }

    private static OffsetDeleteRequestData forgotten(String group, String topic, int partition) {
        var partitions = List.of(new OffsetDeleteRequestData.OffsetDeleteRequestPartition().setPartitionIndex(partition));
        var topics = new OffsetDeleteRequestData.OffsetDeleteRequestTopicCollection();
        topics.add(new OffsetDeleteRequestData.OffsetDeleteRequestTopic().setName(topic).setPartitions(partitions));
        return new OffsetDeleteRequestData().setGroupId(group).setTopics(topics);
    }

    private static void admin(Session session) throws Exception {
        awaitCoordinator(session);
        session.topic("t", 2);
        String t = session.name("t");
        var live = new Joiner(session.name("live")).settle(session);
        String empty = session.name("empty");
        session.prepare(ApiKeys.OFFSET_COMMIT, 8, commit(empty, t, null, 0, 5, ""));
        for (int version = 0; version <= 6; version++) {
            session.ask("three and one that isn't there", ApiKeys.DESCRIBE_GROUPS, version,
                new DescribeGroupsRequestData().setGroups(List.of(live.group, empty, session.name("unknown"))));
        }
        session.ask("without a name", ApiKeys.DESCRIBE_GROUPS, 5, new DescribeGroupsRequestData().setGroups(List.of("")));
        session.ask("without a name", ApiKeys.DESCRIBE_GROUPS, 6, new DescribeGroupsRequestData().setGroups(List.of("")));
        session.ask("with operations", ApiKeys.DESCRIBE_GROUPS, 5,
            new DescribeGroupsRequestData().setGroups(List.of(empty)).setIncludeAuthorizedOperations(true));
        for (int version = 0; version <= 5; version++) {
            session.ask("all", ApiKeys.LIST_GROUPS, version, new ListGroupsRequestData());
        }
        for (String state : List.of("Stable", "empty", "DEAD", "Bored")) {
            session.ask("in state " + state, ApiKeys.LIST_GROUPS, 4, new ListGroupsRequestData().setStatesFilter(List.of(state)));
        }
        session.ask("in two states", ApiKeys.LIST_GROUPS, 5, new ListGroupsRequestData().setStatesFilter(List.of("Stable", "Empty")));
        for (String type : List.of("classic", "Consumer", "share", "nothing")) {
            session.ask("of type " + type, ApiKeys.LIST_GROUPS, 5, new ListGroupsRequestData().setTypesFilter(List.of(type)));
        }
        session.ask("of a group that isn't there", ApiKeys.OFFSET_DELETE, 0, forgotten(session.name("unknown"), t, 0));
        session.ask("of a topic that isn't there", ApiKeys.OFFSET_DELETE, 0, forgotten(empty, session.name("unknown"), 0));
        session.ask("of a partition that isn't there", ApiKeys.OFFSET_DELETE, 0, forgotten(empty, t, 77));
        session.ask("of a live group, another topic", ApiKeys.OFFSET_DELETE, 0, forgotten(live.group, t, 0));
        session.ask("of a live group, its topic", ApiKeys.OFFSET_DELETE, 0, forgotten(live.group, "diff-topic", 0));
        session.ask("one", ApiKeys.OFFSET_DELETE, 0, forgotten(empty, t, 0));
        session.ask("after that", ApiKeys.OFFSET_FETCH, 5, fetched(5, empty, t, null, 0));
        for (int version = 0; version <= 2; version++) {
            String group = session.name("v" + version);
            session.prepare(ApiKeys.OFFSET_COMMIT, 8, commit(group, t, null, 0, 5, ""));
            session.ask("an empty one, a live one and one that isn't there", ApiKeys.DELETE_GROUPS, version,
                new DeleteGroupsRequestData().setGroupsNames(List.of(group, live.group, session.name("unknown"))));
            session.ask("after delete v" + version, ApiKeys.OFFSET_FETCH, 5, fetched(5, group, t, null, 0));
        }
        session.ask("without a name", ApiKeys.DELETE_GROUPS, 2, new DeleteGroupsRequestData().setGroupsNames(List.of("")));
    }
}
