package braidmq.interop.kafkadiff;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Scripts about records: producing, fetching, looking for and deleting them. */
final class RecordScripts {
    private static final Uuid NO_ID_THERE = new Uuid(4711, 4711);
    private static final int FETCH_BY_ID = 13;
    private static final int PRODUCE_BY_ID = 13;

    private RecordScripts() {
    }

    static void addTo(Map<String, Scripts.Script> all) {
        all.put("produce", RecordScripts::produce);
        all.put("bad-batches", RecordScripts::badBatches);
        all.put("topic-limits", RecordScripts::topicLimits);
        all.put("producers", RecordScripts::producers);
        all.put("fetch", RecordScripts::fetch);
        all.put("list-offsets", RecordScripts::listOffsets);
        all.put("epochs", RecordScripts::epochs);
        all.put("delete-records", RecordScripts::deleteRecords);
    }

    private static ProduceRequestData production(int acks, String topic, Uuid id, int partition, byte[] records) {
        var data = new ProduceRequestData.TopicProduceData().setPartitionData(List.of(new ProduceRequestData.PartitionProduceData()
            .setIndex(partition).setRecords(records == null ? null : MemoryRecords.readableRecords(ByteBuffer.wrap(records)))));
        var topics = new ProduceRequestData.TopicProduceDataCollection();
        topics.add(id == null ? data.setName(topic) : data.setTopicId(id));
        return new ProduceRequestData().setAcks((short) acks).setTimeoutMs(5_000).setTopicData(topics);
    }

    private static ProduceRequestData production(String topic, byte[] records) {
        return production(-1, topic, null, 0, records);
    }

    private static void produce(Session session) throws Exception {
        Uuid id = Uuid.fromString(session.topic("a", 2));
        String a = session.name("a");
        for (int version = 3; version < PRODUCE_BY_ID; version++) {
            session.ask("one batch", ApiKeys.PRODUCE, version, production(a, Batches.plain(3)));
        }
        session.ask("one batch", ApiKeys.PRODUCE, PRODUCE_BY_ID, production(-1, a, id, 0, Batches.plain(3)));
        session.ask("an id that isn't there", ApiKeys.PRODUCE, PRODUCE_BY_ID, production(-1, a, NO_ID_THERE, 0, Batches.plain(3)));
        for (CompressionType codec : CompressionType.values()) {
            session.ask("codec " + codec, ApiKeys.PRODUCE, 9, production(a, Batches.compressed(codec, 20)));
        }
        session.ask("zstd in a version without it", ApiKeys.PRODUCE, 6, production(a, Batches.compressed(CompressionType.ZSTD, 20)));
        session.ask("acks 1", ApiKeys.PRODUCE, 9, production(1, a, null, 0, Batches.plain(1)));
        for (int acks : new int[] {2, -2, 32767}) {
            session.ask("acks " + acks, ApiKeys.PRODUCE, 9, production(acks, a, null, 0, Batches.plain(1)));
        }
        for (int version : new int[] {3, 9}) {
            session.ask("a topic that isn't there", ApiKeys.PRODUCE, version, production(session.name("unknown"), Batches.plain(1)));
            session.ask("a partition that isn't there", ApiKeys.PRODUCE, version, production(-1, a, null, 9, Batches.plain(1)));
            session.ask("a negative partition", ApiKeys.PRODUCE, version, production(-1, a, null, -1, Batches.plain(1)));
        }
        session.ask("a name that can't be one", ApiKeys.PRODUCE, 9, production("white space", Batches.plain(1)));
        var two = production(a, Batches.plain(1));
        two.topicData().iterator().next().setPartitionData(List.of(
            new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(Batches.plain(2)))),
            new ProduceRequestData.PartitionProduceData().setIndex(9).setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(Batches.plain(2)))),
            new ProduceRequestData.PartitionProduceData().setIndex(1).setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(Batches.plain(2))))));
        session.ask("two good partitions and a bad one", ApiKeys.PRODUCE, 9, two);
        session.ask("a transactional id that nobody has", ApiKeys.PRODUCE, 9, production(a, Batches.plain(1)).setTransactionalId("nobody"));

        session.wire("main").write(Wire.framed(session.wire("main").request(ApiKeys.PRODUCE, 9, production(0, a, null, 0, Batches.plain(1)))));
        session.ask("after a batch with acks 0: only this is answered", ApiKeys.METADATA, 4,
            new MetadataRequestData().setTopics(List.of()).setAllowAutoTopicCreation(false));
        session.wire("main").write(Wire.framed(session.wire("main").request(ApiKeys.PRODUCE, 9, production(0, a, null, 9, Batches.plain(1)))));
        session.raw("after a bad batch with acks 0", new byte[0], ApiKeys.METADATA, 4, 77);
        session.ask("what is there now", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -1));
    }

    /** What a broker has to find in a batch. Nothing of it may be stored, which the last request shows. */
    private static void badBatches(Session session) throws Exception {
        session.topic("a", 1);
        String a = session.name("a");
        byte[] good = Batches.plain(3);
        bad(session, a, "empty records", new byte[0]);
        bad(session, a, "half a header", java.util.Arrays.copyOf(good, 30));
        bad(session, a, "a batch without its end", java.util.Arrays.copyOf(good, good.length - 5));
        bad(session, a, "a batch and bytes behind it", Wire.join(good, new byte[5]));
        bad(session, a, "two batches", Wire.join(good, good));
        bad(session, a, "magic 0", Batches.old((byte) 0));
        bad(session, a, "magic 1", Batches.old((byte) 1));
        bad(session, a, "magic 3", Batches.damaged(good, b -> b.put(Batches.MAGIC, (byte) 3)));
        bad(session, a, "magic -1", Batches.damaged(good, b -> b.put(Batches.MAGIC, (byte) -1)));
        bad(session, a, "a wrong checksum", Batches.damaged(good, b -> b.putInt(Batches.CRC, 1)));
        bad(session, a, "a changed byte", Batches.damaged(good, b -> b.put(good.length - 3, (byte) 'X')));
        bad(session, a, "a length that is too small", Batches.damaged(good, b -> b.putInt(Batches.LENGTH, 20)));
        bad(session, a, "a negative length", Batches.damaged(good, b -> b.putInt(Batches.LENGTH, -20)));
        bad(session, a, "a length that is too large", Batches.damaged(good, b -> b.putInt(Batches.LENGTH, 1_000_000)));
        changed(session, a, "base offset 5", b -> b.putLong(Batches.BASE_OFFSET, 5));
        changed(session, a, "a negative base offset", b -> b.putLong(Batches.BASE_OFFSET, -1));
        changed(session, a, "count 0", b -> b.putInt(Batches.COUNT, 0));
        changed(session, a, "a negative count", b -> b.putInt(Batches.COUNT, -3));
        changed(session, a, "one more in the count", b -> b.putInt(Batches.COUNT, 4));
        changed(session, a, "one fewer in the count", b -> b.putInt(Batches.COUNT, 2));
        changed(session, a, "a last offset that is too large", b -> b.putInt(Batches.LAST_OFFSET_DELTA, 9));
        changed(session, a, "a negative last offset", b -> b.putInt(Batches.LAST_OFFSET_DELTA, -1));
        changed(session, a, "one more in both counts", b -> b.putInt(Batches.COUNT, 4).putInt(Batches.LAST_OFFSET_DELTA, 3));
        changed(session, a, "one fewer in both counts", b -> b.putInt(Batches.COUNT, 2).putInt(Batches.LAST_OFFSET_DELTA, 1));
        changed(session, a, "a thousand million in both counts",
            b -> b.putInt(Batches.COUNT, 1_000_000_000).putInt(Batches.LAST_OFFSET_DELTA, 999_999_999));
        changed(session, a, "control", b -> b.putShort(Batches.ATTRIBUTES, (short) 0x20));
        changed(session, a, "transactional, without a transaction", b -> b.putShort(Batches.ATTRIBUTES, (short) 0x10));
        changed(session, a, "the append time's bit", b -> b.putShort(Batches.ATTRIBUTES, (short) 0x08));
        changed(session, a, "a producer without sequence", b -> b.putLong(Batches.PRODUCER_ID, 4711).putShort(Batches.PRODUCER_EPOCH, (short) 0));
        changed(session, a, "a producer without epoch", b -> b.putLong(Batches.PRODUCER_ID, 4711).putInt(Batches.BASE_SEQUENCE, 0));
        for (int codec = 1; codec <= 7; codec++) {
            short attributes = (short) codec;
            changed(session, a, "codec " + codec + ", and the records are plain", b -> b.putShort(Batches.ATTRIBUTES, attributes));
        }
        byte[] zipped = Batches.compressed(CompressionType.GZIP, 50);
        bad(session, a, "gzip without its end", Batches.changed(java.util.Arrays.copyOf(zipped, zipped.length - 12),
            b -> b.putInt(Batches.LENGTH, zipped.length - 24)));
        bad(session, a, "gzip, one more in both counts", Batches.changed(zipped, b -> b.putInt(Batches.COUNT, 51).putInt(Batches.LAST_OFFSET_DELTA, 50)));
        byte[] record = {18, 0, 0, 0, 1, 8, 'a', 'b', 'c', 'd'};
        bad(session, a, "a record that claims more bytes than there are", Batches.withRecords(record, 1, 0));
        bad(session, a, "a record of negative length", Batches.withRecords(new byte[] {3, 0, 0, 0, 1, 1, 0}, 1, 0));
        bad(session, a, "a key longer than its record", Batches.withRecords(new byte[] {12, 0, 0, 0, 100, 1, 0}, 1, 0));
        bad(session, a, "a negative count of headers", Batches.withRecords(new byte[] {12, 0, 0, 0, 1, 1, 3}, 1, 0));
        bad(session, a, "a header with a null key", Batches.withRecords(new byte[] {16, 0, 0, 0, 1, 1, 2, 1, 1}, 1, 0));
        bad(session, a, "a second record with the first one's offset",
            Batches.withRecords(new byte[] {12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}, 2, 0));
        bad(session, a, "an offset that skips one", Batches.withRecords(new byte[] {12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0}, 2, 0));
        bad(session, a, "attributes of a record", Batches.withRecords(new byte[] {12, 1, 0, 0, 1, 1, 0}, 1, 0));
        session.ask("what is there now", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -1));
    }

    private static void changed(Session session, String topic, String label, Consumer<ByteBuffer> change) throws IOException {
        bad(session, topic, label, Batches.changed(Batches.plain(3), change));
    }

    private static void bad(Session session, String topic, String label, byte[] batch) throws IOException {
        session.ask(label, ApiKeys.PRODUCE, 9, production(topic, batch));
    }

    private static void topicLimits(Session session) throws Exception {
        session.topic("small", 1, "max.message.bytes", "1000");
        session.topic("appended", 1, "message.timestamp.type", "LogAppendTime");
        String small = session.name("small");
        byte[] most = new byte[1_000];
        byte[] batch = Batches.of(new SimpleRecord(Batches.TIME, (byte[]) null, java.util.Arrays.copyOf(most, 1_000 - 61 - 9)));
        session.ask("a batch of " + batch.length + " bytes, at most 1000", ApiKeys.PRODUCE, 9, production(small, batch));
        byte[] larger = Batches.of(new SimpleRecord(Batches.TIME, (byte[]) null, java.util.Arrays.copyOf(most, 1_000 - 61 - 8)));
        session.ask("a batch of " + larger.length + " bytes, at most 1000", ApiKeys.PRODUCE, 9, production(small, larger));
        session.ask("a batch for the append time", ApiKeys.PRODUCE, 9, production(session.name("appended"), Batches.plain(3)));
        session.ask("a compressed batch for the append time", ApiKeys.PRODUCE, 9, production(session.name("appended"), Batches.compressed(CompressionType.LZ4, 3)));
        session.topic("times", 1);
        long now = System.currentTimeMillis();
        session.ask("two hours from now", ApiKeys.PRODUCE, 9, production(session.name("times"), Batches.at(now + 7_200_000, CompressionType.NONE, 1)));
        session.ask("a negative time", ApiKeys.PRODUCE, 9, production(session.name("times"), Batches.at(-1, CompressionType.NONE, 1)));
        session.topic("recent", 1, "message.timestamp.before.max.ms", "60000");
        session.ask("an hour ago, at most a minute", ApiKeys.PRODUCE, 9,
            production(session.name("recent"), Batches.at(now - 3_600_000, CompressionType.NONE, 2)));
        session.ask("now, at most a minute ago", ApiKeys.PRODUCE, 9, production(session.name("recent"), Batches.at(now, CompressionType.NONE, 2)));
        session.ask("where they are", ApiKeys.LIST_OFFSETS, 7, offsets(session.name("recent"), 0, -1));
    }

    private static void producers(Session session) throws Exception {
        session.until("there are producer ids",
            () -> session.prepare(ApiKeys.INIT_PRODUCER_ID, 4, new InitProducerIdRequestData().setTransactionalId(null)).get("errorCode").asInt() == 0);
        for (int version = 0; version <= 5; version++) {
            session.ask("without transactions", ApiKeys.INIT_PRODUCER_ID, version, new InitProducerIdRequestData().setTransactionalId(null));
            session.ask("with an empty transactional id", ApiKeys.INIT_PRODUCER_ID, version, new InitProducerIdRequestData().setTransactionalId(""));
        }
        session.ask("with an id and an epoch it has", ApiKeys.INIT_PRODUCER_ID, 4,
            new InitProducerIdRequestData().setTransactionalId(null).setProducerId(1).setProducerEpoch((short) 3));
        session.ask("with an id and no epoch", ApiKeys.INIT_PRODUCER_ID, 4,
            new InitProducerIdRequestData().setTransactionalId(null).setProducerId(1));
        JsonNode made = session.prepare(ApiKeys.INIT_PRODUCER_ID, 4, new InitProducerIdRequestData().setTransactionalId(null));
        long id = made.get("producerId").asLong();
        session.topic("a", 1);
        sequence(session, "first", id, 0, 0, 2);
        sequence(session, "the same again", id, 0, 0, 2);
        sequence(session, "the next", id, 0, 2, 3);
        sequence(session, "a hole", id, 0, 9, 1);
        sequence(session, "half of what was there", id, 0, 2, 1);
        sequence(session, "what was there and more", id, 0, 2, 4);
        for (int i = 0; i < 5; i++) {
            sequence(session, "number " + i + " of five more", id, 0, 5 + i, 1);
        }
        sequence(session, "the oldest that is remembered", id, 0, 5, 1);
        sequence(session, "one that is forgotten", id, 0, 2, 3);
        sequence(session, "a new epoch that doesn't begin at 0", id, 1, 5, 1);
        sequence(session, "a new epoch", id, 1, 0, 1);
        sequence(session, "the old epoch", id, 0, 10, 1);
        sequence(session, "an epoch that was left out", id, 7, 0, 1);
        sequence(session, "a producer that nobody knows, from the middle", id + 500, 0, 100, 1);
        sequence(session, "a producer near the end of all sequences", id + 501, 0, Integer.MAX_VALUE - 1, 1);
        sequence(session, "a batch that goes over the end", id + 501, 0, Integer.MAX_VALUE, 3);
        sequence(session, "the same again over the end", id + 501, 0, Integer.MAX_VALUE, 3);
        sequence(session, "what follows after the end", id + 501, 0, 2, 1);
        sequence(session, "the first after the end once more", id + 501, 0, 0, 1);
        session.ask("what is there now", ApiKeys.LIST_OFFSETS, 7, offsets(session.name("a"), 0, -1));
    }

    private static void sequence(Session session, String label, long id, int epoch, int sequence, int count) throws IOException {
        session.ask(label, ApiKeys.PRODUCE, 9, production(session.name("a"), Batches.idempotent(id, epoch, sequence, count)));
    }

    /** The parts of a fetch that scripts change. */
    private static final class Fetch {
        private final FetchRequestData.FetchPartition partition = new FetchRequestData.FetchPartition().setPartitionMaxBytes(1 << 20);
        private final FetchRequestData.FetchTopic topic = new FetchRequestData.FetchTopic().setPartitions(new ArrayList<>(List.of(partition)));
        private final FetchRequestData request = new FetchRequestData().setMaxWaitMs(0).setMinBytes(1).setTopics(new ArrayList<>(List.of(topic)));

        static Fetch of(String name, Uuid id, int version, long offset) {
            var fetch = new Fetch();
            if (version < FETCH_BY_ID) {
                fetch.topic.setTopic(name);
            } else {
                fetch.topic.setTopicId(id);
            }
            fetch.partition.setFetchOffset(offset);
            return fetch;
        }
    }

    private static void fetch(Session session) throws Exception {
        Uuid id = Uuid.fromString(session.topic("a", 2));
        String a = session.name("a");
        for (CompressionType codec : CompressionType.values()) {
            session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.compressed(codec, 10)));
        }
        for (int version = 4; version <= 18; version++) {
            session.ask("from the first", ApiKeys.FETCH, version, Fetch.of(a, id, version, 0).request);
        }
        for (int version : new int[] {4, 11, 12, 13, 17}) {
            session.ask("from the middle of a batch", ApiKeys.FETCH, version, Fetch.of(a, id, version, 25).request);
            session.ask("from the end", ApiKeys.FETCH, version, Fetch.of(a, id, version, 50).request);
            session.ask("from behind the end", ApiKeys.FETCH, version, Fetch.of(a, id, version, 51).request);
            session.ask("from before the first", ApiKeys.FETCH, version, Fetch.of(a, id, version, -1).request);
            var partition = Fetch.of(a, id, version, 0);
            partition.partition.setPartition(9);
            session.ask("of a partition that isn't there", ApiKeys.FETCH, version, partition.request);
            session.ask("of a topic that isn't there", ApiKeys.FETCH, version, Fetch.of(session.name("unknown"), NO_ID_THERE, version, 0).request);
            var committed = Fetch.of(a, id, version, 0);
            committed.request.setIsolationLevel((byte) 1);
            session.ask("of what is committed", ApiKeys.FETCH, version, committed.request);
            var small = Fetch.of(a, id, version, 15);
            small.partition.setPartitionMaxBytes(1);
            session.ask("at most one byte of a partition", ApiKeys.FETCH, version, small.request);
            var least = Fetch.of(a, id, version, 15);
            least.request.setMaxBytes(1);
            session.ask("at most one byte", ApiKeys.FETCH, version, least.request);
            var none = Fetch.of(a, id, version, 15);
            none.partition.setPartitionMaxBytes(0);
            session.ask("at most no byte of a partition", ApiKeys.FETCH, version, none.request);
        }
        for (int version : new int[] {9, 12, 16}) {
            for (int epoch : new int[] {1000, -1}) {
                var known = Fetch.of(a, id, version, 0);
                known.partition.setCurrentLeaderEpoch(epoch);
                session.ask("in epoch " + epoch, ApiKeys.FETCH, version, known.request);
            }
        }
        var waits = Fetch.of(a, id, 12, 50);
        waits.request.setMaxWaitMs(300).setMinBytes(1);
        session.ask("and waits in vain", ApiKeys.FETCH, 12, waits.request);
        var lots = Fetch.of(a, id, 12, 0);
        lots.request.setMaxWaitMs(300).setMinBytes(10_000_000);
        session.ask("and waits for more than there is", ApiKeys.FETCH, 12, lots.request);
        session.send("waits", ApiKeys.FETCH, 12, parked(a));
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.plain(2)));
        session.answer("waits", "and is woken", ApiKeys.FETCH, 12);
        var session0 = Fetch.of(a, id, 12, 0);
        session0.request.setSessionId(0).setSessionEpoch(0);
        session.ask("and asks for a session", ApiKeys.FETCH, 12, session0.request);
        var unknown = Fetch.of(a, id, 12, 0);
        unknown.request.setSessionId(4711).setSessionEpoch(3);
        session.ask("in a session that isn't there", ApiKeys.FETCH, 12, unknown.request);
        session.ask("of nothing", ApiKeys.FETCH, 12, new FetchRequestData().setMaxWaitMs(0));
        var both = Fetch.of(a, id, 12, 0);
        both.partition.setPartitionMaxBytes(200);
        both.topic.partitions().add(new FetchRequestData.FetchPartition().setPartition(9).setFetchOffset(0).setPartitionMaxBytes(200));
        both.topic.partitions().add(new FetchRequestData.FetchPartition().setPartition(1).setFetchOffset(0).setPartitionMaxBytes(200));
        session.ask("of a good, an empty and an unknown partition", ApiKeys.FETCH, 12, both.request);
        session.topic("sized", 1);
        session.prepare(ApiKeys.PRODUCE, 9, production(session.name("sized"), Batches.of(new SimpleRecord(Batches.TIME, "k".getBytes(UTF_8), new byte[5_000]))));
        session.prepare(ApiKeys.PRODUCE, 9, production(session.name("sized"), Batches.of(new SimpleRecord(Batches.TIME, "k".getBytes(UTF_8), new byte[50]))));
        var large = Fetch.of(session.name("sized"), null, 12, 0);
        large.partition.setPartitionMaxBytes(100);
        session.ask("of a batch that is larger than its limit", ApiKeys.FETCH, 12, large.request);
    }

    private static FetchRequestData parked(String topic) {
        var fetch = Fetch.of(topic, null, 12, 50);
        return fetch.request.setMaxWaitMs(10_000).setMinBytes(1);
    }

    private static ListOffsetsRequestData offsets(String topic, int partition, long time) {
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(new ListOffsetsTopic().setName(topic)
            .setPartitions(new ArrayList<>(List.of(new ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(time))))));
    }

    private static void listOffsets(Session session) throws Exception {
        session.topic("a", 2);
        String a = session.name("a");
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.at(Batches.TIME + 100_000, CompressionType.NONE, 10)));
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.at(Batches.TIME, CompressionType.GZIP, 10)));
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.at(Batches.TIME + 200_000, CompressionType.ZSTD, 10)));
        for (int version = 1; version <= 11; version++) {
            session.ask("first", ApiKeys.LIST_OFFSETS, version, offsets(a, 0, -2));
            session.ask("last", ApiKeys.LIST_OFFSETS, version, offsets(a, 0, -1));
            session.ask("by time", ApiKeys.LIST_OFFSETS, version, offsets(a, 0, Batches.TIME + 203_500));
        }
        for (int version : new int[] {6, 7, 8, 9, 11}) {
            for (int time = -7; time <= -3; time++) {
                session.ask("for " + time, ApiKeys.LIST_OFFSETS, version, offsets(a, 0, time));
            }
        }
        for (long time : new long[] {0, Batches.TIME, Batches.TIME + 104_000, Batches.TIME + 109_000, Batches.TIME + 109_001, Batches.TIME + 209_000,
            Batches.TIME + 209_001, Long.MAX_VALUE, Long.MIN_VALUE}) {
            session.ask("by time " + (time > Batches.TIME / 2 && time < Long.MAX_VALUE ? "T+" + (time - Batches.TIME) : time), ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, time));
        }
        session.ask("first of an empty one", ApiKeys.LIST_OFFSETS, 7, offsets(a, 1, -2));
        session.ask("last of an empty one", ApiKeys.LIST_OFFSETS, 7, offsets(a, 1, -1));
        session.ask("newest of an empty one", ApiKeys.LIST_OFFSETS, 7, offsets(a, 1, -3));
        session.ask("by time of an empty one", ApiKeys.LIST_OFFSETS, 7, offsets(a, 1, 0));
        for (int version : new int[] {1, 7}) {
            session.ask("of a topic that isn't there", ApiKeys.LIST_OFFSETS, version, offsets(session.name("unknown"), 0, -1));
            session.ask("of a partition that isn't there", ApiKeys.LIST_OFFSETS, version, offsets(a, 9, -1));
            session.ask("of a negative partition", ApiKeys.LIST_OFFSETS, version, offsets(a, -1, -1));
        }
        var future = offsets(a, 0, -1);
        future.topics().get(0).partitions().get(0).setCurrentLeaderEpoch(1000);
        session.ask("in an epoch to come", ApiKeys.LIST_OFFSETS, 7, future);
        var committed = offsets(a, 0, -1).setIsolationLevel((byte) 1);
        session.ask("last that is committed", ApiKeys.LIST_OFFSETS, 7, committed);
        var twice = offsets(a, 0, -1);
        twice.topics().get(0).partitions().add(new ListOffsetsPartition().setPartitionIndex(0).setTimestamp(-2));
        session.ask("of one partition twice", ApiKeys.LIST_OFFSETS, 7, twice);
    }

    private static OffsetForLeaderEpochRequestData epoch(String topic, int partition, int current, int epoch) {
        var topics = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection();
        topics.add(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic(topic).setPartitions(
            List.of(new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(partition).setCurrentLeaderEpoch(current).setLeaderEpoch(epoch))));
        return new OffsetForLeaderEpochRequestData().setTopics(topics);
    }

    private static void epochs(Session session) throws Exception {
        session.topic("a", 1);
        String a = session.name("a");
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.plain(7)));
        JsonNode metadata = session.prepare(ApiKeys.METADATA, 9, new MetadataRequestData().setTopics(
            List.of(new MetadataRequestData.MetadataRequestTopic().setName(a))));
        int now = metadata.at("/topics/0/partitions/0/leaderEpoch").asInt();
        for (int version = 2; version <= 4; version++) {
            // Version 2 has no replica id; later ones ask as a consumer.
            session.ask("the epoch of now", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(a, 0, -1, now), version));
            session.ask("an epoch to come", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(a, 0, -1, now + 100), version));
            session.ask("no epoch", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(a, 0, -1, -1), version));
            session.ask("with a current epoch to come", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(a, 0, now + 100, now), version));
            session.ask("of a topic that isn't there", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(session.name("unknown"), 0, -1, now), version));
            session.ask("of a partition that isn't there", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asConsumer(epoch(a, 9, -1, now), version));
        }
    }

    private static OffsetForLeaderEpochRequestData asConsumer(OffsetForLeaderEpochRequestData request, int version) {
        return version < 3 ? request : request.setReplicaId(-1);
    }

    private static DeleteRecordsRequestData deletion(String topic, int partition, long offset) {
        return new DeleteRecordsRequestData().setTimeoutMs(5_000).setTopics(List.of(new DeleteRecordsRequestData.DeleteRecordsTopic().setName(topic)
            .setPartitions(List.of(new DeleteRecordsRequestData.DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset)))));
    }

    private static void deleteRecords(Session session) throws Exception {
        session.topic("a", 1);
        String a = session.name("a");
        session.prepare(ApiKeys.PRODUCE, 9, production(a, Batches.plain(20)));
        for (int version = 0; version <= 2; version++) {
            session.ask("some", ApiKeys.DELETE_RECORDS, version, deletion(a, 0, 3 + version));
            session.ask("more than there are", ApiKeys.DELETE_RECORDS, version, deletion(a, 0, 21));
            session.ask("of a topic that isn't there", ApiKeys.DELETE_RECORDS, version, deletion(session.name("unknown"), 0, 1));
        }
        session.ask("what is gone", ApiKeys.DELETE_RECORDS, 2, deletion(a, 0, 1));
        session.ask("to -2", ApiKeys.DELETE_RECORDS, 2, deletion(a, 0, -2));
        session.ask("of a partition that isn't there", ApiKeys.DELETE_RECORDS, 2, deletion(a, 9, 1));
        session.ask("first", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -2));
        session.ask("from before the first", ApiKeys.FETCH, 12, Fetch.of(a, null, 12, 2).request);
        session.ask("from the first, in the middle of a batch", ApiKeys.FETCH, 12, Fetch.of(a, null, 12, 5).request);
        session.ask("by a time before the first", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, Batches.TIME));
        session.ask("all", ApiKeys.DELETE_RECORDS, 2, deletion(a, 0, -1));
        session.ask("first, when all are gone", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -2));
        session.ask("last, when all are gone", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -1));
        session.ask("newest, when all are gone", ApiKeys.LIST_OFFSETS, 7, offsets(a, 0, -3));
    }
}
