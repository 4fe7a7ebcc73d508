package braidmq.interop.kafka;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import braidmq.interop.Await;
import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

@DisplayName("A group")
class GroupTest extends Story {
    private static final String COOPERATIVE = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

    private Set<String> sendToAll(String topic, int partitions, String label, int each) throws Exception {
        var producer = clients.producer();
        var sent = new TreeSet<String>();
        for (int partition = 0; partition < partitions; partition++) {
            clients.send(producer, topic, partition, label + partition, each);
            for (int i = 0; i < each; i++) {
                sent.add(label + partition + "-" + i);
            }
        }
        return sent;
    }

    @Test
    @DisplayName("shares the partitions among who joins, and gives them on when someone leaves")
    void joinAndLeave() throws Exception {
        String topic = clients.topic("share", 4);
        String group = clients.name("share");
        var first = Member.of(clients.consumer(group), topic);
        first.awaitOwns(4);
        var second = Member.of(clients.consumer(group), topic);
        first.awaitOwns(2);
        second.awaitOwns(2);
        var third = Member.of(clients.consumer(group), topic);
        Await.until("three share four", PATIENCE, () -> sizes(first, second, third).equals(List.of(1, 1, 2)));
        var all = new HashSet<TopicPartition>();
        List.of(first, second, third).forEach(member -> all.addAll(member.owned()));
        assertEquals(4, all.size(), "nobody shares a partition");

        Set<String> sent = sendToAll(topic, 4, "shared", 50);
        Await.until("all three together have all", PATIENCE, () -> {
            var got = new HashSet<String>();
            List.of(first, second, third).forEach(member -> got.addAll(member.values()));
            return got.equals(sent);
        });
        assertEquals(sent.size(), first.values().size() + second.values().size() + third.values().size(), "each value once");

        third.close();
        first.awaitOwns(2);
        second.awaitOwns(2);
        second.close();
        first.awaitOwns(4);
        Set<String> late = sendToAll(topic, 4, "late", 5);
        first.awaitValues(late);
        first.close();
    }

    private static List<Integer> sizes(Member... members) {
        return List.of(members).stream().map(member -> member.owned().size()).sorted().toList();
    }

    @Test
    @DisplayName("takes the partitions of a member that has died without a word")
    void crash(TestInfo story) throws Exception {
        String topic = clients.topic("dies", 4);
        String group = clients.name("dies");
        try (var stranger = new Stranger(clients.broker().bootstrap(), group, topic, "-")) {
            assertEquals(4, stranger.awaitOwns());
            var heir = Member.of(clients.consumer(group), topic);
            heir.awaitOwns(2);
            stranger.kill();
            long begun = System.nanoTime();
            heir.awaitOwns(4);
            say(story, "after " + Duration.ofNanos(System.nanoTime() - begun).toMillis() + " ms, its session had 6000");
            heir.close();
        }
    }

    @Test
    @DisplayName("does not rebalance when a static member comes back")
    void staticMember() throws Exception {
        String topic = clients.topic("static", 4);
        String group = clients.name("static");
        var other = Member.of(clients.consumer(group, "group.instance.id", "other", "session.timeout.ms", 30_000), topic);
        other.awaitOwns(4);
        var first = Member.of(clients.consumer(group, "group.instance.id", "one", "session.timeout.ms", 30_000), topic);
        first.awaitOwns(2);
        other.awaitOwns(2);
        Set<TopicPartition> before = first.owned();
        int generation = other.generation();
        List<String> diary = other.diary();
        first.close();

        var again = Member.of(clients.consumer(group, "group.instance.id", "one", "session.timeout.ms", 30_000), topic);
        again.awaitOwns(2);
        assertEquals(before, again.owned());
        assertNotEquals(first.id(), again.id(), "the member's id is new");
        Set<String> sent = sendToAll(topic, 4, "static", 5);
        Await.until("both together have all", PATIENCE, () -> {
            var got = new HashSet<>(other.values());
            got.addAll(again.values());
            return got.equals(sent);
        });
        assertEquals(diary, other.diary(), "the other one noticed nothing");
        assertEquals(generation, other.generation());
        again.close();
        other.close();
    }

    @Test
    @DisplayName("fences the older one of two members with one instance id")
    void fenced() throws Exception {
        String topic = clients.topic("fenced", 1);
        String group = clients.name("fenced");
        var older = Member.of(clients.consumer(group, "group.instance.id", "same"), topic);
        older.awaitOwns(1);
        var newer = Member.of(clients.consumer(group, "group.instance.id", "same"), topic);
        newer.awaitOwns(1);
        Await.until("the older one is told", PATIENCE, () -> older.failure() != null);
        assertInstanceOf(FencedInstanceIdException.class, older.failure());
        clients.send(clients.producer(), topic, 0, "for-newer", 3);
        newer.awaitValues(Set.of("for-newer-0", "for-newer-1", "for-newer-2"));
        newer.close();
    }

    @Test
    @DisplayName("that is cooperative revokes only what moves, in two rebalances")
    void cooperative() throws Exception {
        String topic = clients.topic("cooperative", 4);
        String group = clients.name("cooperative");
        var first = Member.of(clients.consumer(group, "partition.assignment.strategy", COOPERATIVE), topic);
        first.awaitOwns(4);
        int generation = first.generation();
        var second = Member.of(clients.consumer(group, "partition.assignment.strategy", COOPERATIVE), topic);
        second.awaitOwns(2);
        first.awaitOwns(2);
        Await.until("both have the last generation", PATIENCE, () -> first.generation() == second.generation());
        assertEquals(generation + 2, first.generation(), "one rebalance to take, one to give");
        List<String> revoked = first.diary().stream().filter(entry -> entry.length() > 1 && entry.startsWith("-")).toList();
        assertEquals(1, revoked.size(), "it revoked once: " + first.diary());
        assertEquals(2, revoked.get(0).split(",").length);
        second.close();
        first.awaitOwns(4);
        first.close();
    }

    @Test
    @DisplayName("of a pattern gets topics that are made later")
    void pattern() throws Exception {
        String prefix = clients.name("pattern");
        clients.create(prefix + "-a", 1, Map.of());
        clients.create("not-" + prefix, 1, Map.of());
        var member = new Member(clients.consumer(clients.name("pattern")),
            start -> start.consumer().subscribe(Pattern.compile(Pattern.quote(prefix) + "-.*"), start.listener()));
        member.awaitOwns(1);
        clients.create(prefix + "-b", 2, Map.of());
        member.awaitOwns(3);
        assertEquals(Set.of(prefix + "-a", prefix + "-b"), member.owned().stream().map(TopicPartition::topic).collect(Collectors.toSet()));
        clients.send(clients.producer(), prefix + "-b", 1, "late", 1);
        member.awaitValues(Set.of("late-0"));
        member.close();
    }

    @Test
    @DisplayName("gets the partitions that are added to its topic")
    void morePartitions() throws Exception {
        String topic = clients.topic("grows", 1);
        var member = Member.of(clients.consumer(clients.name("grows")), topic);
        member.awaitOwns(1);
        Clients.get(clients.admin().createPartitions(Map.of(topic, org.apache.kafka.clients.admin.NewPartitions.increaseTo(3))).all());
        member.awaitOwns(3);
        member.close();
    }

    @Test
    @DisplayName("may commit while it rebalances, but not from a generation that is gone")
    void commitDuringRebalance() throws Exception {
        String topic = clients.topic("commits", 2);
        String group = clients.name("commits");
        sendToAll(topic, 2, "value", 10);
        var outcome = new AtomicReference<Object>();
        var revoked = new CountDownLatch(1);
        var consumer = clients.consumer(group);
        var first = new Member(consumer, start -> start.consumer().subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                start.listener().onPartitionsAssigned(partitions);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                start.listener().onPartitionsRevoked(partitions);
                if (revoked.getCount() > 0) {
                    try {
                        start.consumer().commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7, "while it rebalances")));
                        outcome.set("committed");
                    } catch (RuntimeException e) {
                        outcome.set(e);
                    }
                    revoked.countDown();
                }
            }
        }));
        first.awaitOwns(2);
        first.awaitValues(Set.of("value0-9", "value1-9"));
        var second = Member.of(clients.consumer(group), topic);
        assertTrue(revoked.await(PATIENCE.toSeconds(), TimeUnit.SECONDS));
        assertEquals("committed", outcome.get());
        second.awaitOwns(1);
        first.close();
        second.close();

        // A member that the group has thrown out, here because it did not poll in time, is told when it commits.
        var slow = clients.consumer(group, "max.poll.interval.ms", 1_000);
        slow.subscribe(List.of(topic));
        Await.until("it is a member", PATIENCE, () -> {
            slow.poll(Duration.ofMillis(100));
            return slow.assignment().size() == 2;
        });
        var heir = Member.of(clients.consumer(group), topic);
        heir.awaitOwns(2);
        assertThrows(CommitFailedException.class, () -> slow.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))));
        heir.close();
    }

    @Test
    @DisplayName("keeps offsets with their metadata and tells the exact lag")
    void offsets() throws Exception {
        String topic = clients.topic("offsets", 2);
        String group = clients.name("offsets");
        sendToAll(topic, 2, "value", 10);
        var zero = new TopicPartition(topic, 0);
        var one = new TopicPartition(topic, 1);
        var consumer = clients.consumer(group);
        consumer.assign(List.of(zero, one));
        consumer.seekToBeginning(List.of(zero, one));
        var epoch = Clients.poll(consumer, 1).get(0).leaderEpoch();
        String metadata = "where it is: \u00e4\u4e2d " + "x".repeat(500);
        consumer.commitSync(Map.of(zero, new OffsetAndMetadata(4, epoch, metadata)));
        var committed = consumer.committed(Set.of(zero, one));
        assertEquals(4, committed.get(zero).offset());
        assertEquals(metadata, committed.get(zero).metadata());
        assertEquals(epoch, committed.get(zero).leaderEpoch());
        assertTrue(epoch.isPresent());
        assertEquals(null, committed.get(one));

        var async = new CountDownLatch(1);
        consumer.commitAsync(Map.of(one, new OffsetAndMetadata(10, "")), (offsets, error) -> async.countDown());
        Await.until("the commit is answered", PATIENCE, () -> {
            consumer.poll(Duration.ofMillis(50));
            return async.getCount() == 0;
        });
        Map<TopicPartition, OffsetAndMetadata> listed = Clients.get(clients.admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        assertEquals(6, clients.end(zero) - listed.get(zero).offset(), "lag of partition 0");
        assertEquals(0, clients.end(one) - listed.get(one).offset(), "lag of partition 1");
        assertEquals("", listed.get(one).metadata());

        var later = clients.consumer(group);
        later.assign(List.of(zero, one));
        assertEquals(IntStream.range(4, 10).mapToObj(i -> "value0-" + i).toList(), Clients.values(Clients.poll(later, 6)));
    }

    @Test
    @DisplayName("is described: state, protocol, members and what they own")
    void described() throws Exception {
        String topic = clients.topic("described", 3);
        String group = clients.name("described");
        var member = Member.of(clients.consumer(group, "client.id", "its-client", "group.instance.id", "its-instance",
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RoundRobinAssignor"), topic);
        member.awaitOwns(3);
        var description = Clients.get(clients.admin().describeConsumerGroups(List.of(group)).describedGroups().get(group));
        assertEquals("Stable", description.state().toString());
        assertEquals("roundrobin", description.partitionAssignor());
        assertEquals(false, description.isSimpleConsumerGroup());
        assertEquals(1, description.members().size());
        MemberDescription described = description.members().iterator().next();
        assertEquals("its-client", described.clientId());
        assertEquals("its-instance", described.groupInstanceId().orElseThrow());
        assertEquals(member.id(), described.consumerId());
        assertEquals("/127.0.0.1", described.host());
        assertEquals(member.owned(), described.assignment().topicPartitions());
        assertTrue(Clients.get(clients.admin().listConsumerGroups().all()).stream().anyMatch(listed -> listed.groupId().equals(group)));
        member.close();
    }
}
