package braidmq.interop.kafka;

import java.util.Collection;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;

/** Calls that are named differently in the clients of 4.x and of 2.8. */
final class Renamed {
    private Renamed() {
    }

    static Map<String, TopicDescription> describe(Admin admin, Collection<String> topics) throws Exception {
        return admin.describeTopics(topics).allTopicNames().get();
    }
}
