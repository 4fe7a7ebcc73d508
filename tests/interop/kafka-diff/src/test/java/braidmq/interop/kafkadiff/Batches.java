package braidmq.interop.kafkadiff;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Crc32C;

/** Record batches, right and wrong. The numbers are positions in the header of a batch, in bytes. */
final class Batches {
    static final int BASE_OFFSET = 0;
    static final int LENGTH = 8;
    static final int MAGIC = 16;
    static final int CRC = 17;
    static final int ATTRIBUTES = 21;
    static final int LAST_OFFSET_DELTA = 23;
    static final int BASE_TIMESTAMP = 27;
    static final int MAX_TIMESTAMP = 35;
    static final int PRODUCER_ID = 43;
    static final int PRODUCER_EPOCH = 51;
    static final int BASE_SEQUENCE = 53;
    static final int COUNT = 57;
    static final int HEADER_BYTES = 61;
    /** When all that doesn't say otherwise was made. */
    static final long TIME = 1_700_000_000_000L;

    private Batches() {
    }

    static byte[] plain(int count) {
        return compressed(CompressionType.NONE, count);
    }

    static byte[] compressed(CompressionType codec, int count) {
        return at(TIME, codec, count);
    }

    /** Records a second apart. */
    static byte[] at(long time, CompressionType codec, int count) {
        return bytes(MemoryRecords.withRecords(RecordBatch.MAGIC_VALUE_V2, 0, Compression.of(codec).build(), TimestampType.CREATE_TIME,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, RecordBatch.NO_PARTITION_LEADER_EPOCH,
            false, records(time, count)));
    }

    private static SimpleRecord[] records(long time, int count) {
        var records = new SimpleRecord[count];
        for (int i = 0; i < count; i++) {
            records[i] = new SimpleRecord(time + i * 1_000L, ("key-" + i).getBytes(UTF_8), ("value-" + i).getBytes(UTF_8));
        }
        return records;
    }

    static byte[] idempotent(long producerId, int epoch, int sequence, int count) {
        return bytes(MemoryRecords.withIdempotentRecords(RecordBatch.MAGIC_VALUE_V2, 0, Compression.NONE, producerId, (short) epoch,
            sequence, RecordBatch.NO_PARTITION_LEADER_EPOCH, records(TIME, count)));
    }

    /** In the format before the batch: magic 0 or 1. */
    static byte[] old(byte magic) {
        return bytes(MemoryRecords.withRecords(magic, 0, Compression.NONE, TimestampType.CREATE_TIME, records(TIME, 1)));
    }

    static byte[] of(SimpleRecord... records) {
        return bytes(MemoryRecords.withRecords(Compression.NONE, records));
    }

    private static byte[] bytes(MemoryRecords records) {
        ByteBuffer buffer = records.buffer().duplicate();
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    /** A change that the checksum covers. */
    static byte[] changed(byte[] batch, Consumer<ByteBuffer> change) {
        byte[] changed = damaged(batch, change);
        ByteBuffer.wrap(changed).putInt(CRC, (int) Crc32C.compute(changed, ATTRIBUTES, changed.length - ATTRIBUTES));
        return changed;
    }

    /** A change that the checksum doesn't know of. */
    static byte[] damaged(byte[] batch, Consumer<ByteBuffer> change) {
        byte[] damaged = batch.clone();
        change.accept(ByteBuffer.wrap(damaged));
        return damaged;
    }

    /** A batch whose records are these bytes. */
    static byte[] withRecords(byte[] records, int count, int codec) {
        byte[] batch = Wire.join(java.util.Arrays.copyOf(plain(1), HEADER_BYTES), records);
        return changed(batch, bytes -> bytes.putInt(LENGTH, batch.length - 12).putShort(ATTRIBUTES, (short) codec)
            .putInt(LAST_OFFSET_DELTA, count - 1).putInt(COUNT, count));
    }
}
