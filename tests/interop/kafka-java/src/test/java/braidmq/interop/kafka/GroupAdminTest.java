package braidmq.interop.kafka;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("Who administers a group")
class GroupAdminTest extends Story {
    @Test
    @DisplayName("sets its offsets while nobody is in it, and not otherwise")
    void alterOffsets() throws Exception {
        String topic = clients.topic("alter", 1);
        String group = clients.name("alter");
        var partition = new TopicPartition(topic, 0);
        clients.send(clients.producer(), topic, 0, "value", 10);
        var admin = clients.admin();
        Clients.get(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(6))).all());
        var member = Member.of(clients.consumer(group), topic);
        member.awaitValues(Set.of("value-6", "value-9"));
        assertEquals(List.of("value-6", "value-7", "value-8", "value-9"), member.values());
        assertEquals(UnknownMemberIdException.class,
            Clients.failure(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(0))).partitionResult(partition)));
        assertEquals(GroupSubscribedToTopicException.class,
            Clients.failure(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).partitionResult(partition)));
        assertEquals(GroupNotEmptyException.class, Clients.failure(admin.deleteConsumerGroups(List.of(group)).all()));
        member.close();

        Clients.get(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all());
        assertFalse(Clients.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).containsKey(partition));
    }

    @Test
    @DisplayName("deletes it, and then it has never been")
    void delete() throws Exception {
        String topic = clients.topic("delete", 1);
        String group = clients.name("delete");
        var partition = new TopicPartition(topic, 0);
        var admin = clients.admin();
        Clients.get(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(0))).all());
        assertTrue(Clients.get(admin.listConsumerGroups().all()).stream().anyMatch(listed -> listed.groupId().equals(group)));
        var described = Clients.get(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group));
        assertEquals("Empty", described.state().toString());
        Clients.get(admin.deleteConsumerGroups(List.of(group)).all());
        assertFalse(Clients.get(admin.listConsumerGroups().all()).stream().anyMatch(listed -> listed.groupId().equals(group)));
        assertEquals(GroupIdNotFoundException.class, Clients.failure(admin.deleteConsumerGroups(List.of(group)).all()));
        assertTrue(Clients.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).isEmpty());
    }

    @Test
    @DisplayName("removes a static member by its instance id")
    void removeMember() throws Exception {
        String topic = clients.topic("remove", 2);
        String group = clients.name("remove");
        var leaves = Member.of(clients.consumer(group, "group.instance.id", "leaves", "session.timeout.ms", 60_000), topic);
        leaves.awaitOwns(2);
        var stays = Member.of(clients.consumer(group, "group.instance.id", "stays", "session.timeout.ms", 60_000), topic);
        stays.awaitOwns(1);
        leaves.close();
        Clients.get(clients.admin().removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("leaves")))).all());
        stays.awaitOwns(2);
        assertEquals(UnknownMemberIdException.class, Clients.failure(clients.admin().removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("leaves")))).memberResult(new MemberToRemove("leaves"))));
        stays.close();
    }
}
