package kafkago

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Time of the first record, and the step to the next.
const beginMs, stepMs = 1_700_000_000_000, 10

func TestReadFromAnOffset(t *testing.T) {
	topic := topic(t, 1)
	fill(t, topic, 0, 500, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	for _, at := range []int64{0, 1, 250, 499} {
		consumer := client(t, from(topic, 0, kgo.NewOffset().At(at)))
		expectNumbers(t, read(t, consumer, 500-int(at)), int(at))
	}
	consumer := client(t, from(topic, 0, kgo.NewOffset().AtEnd().Relative(-7)))
	expectNumbers(t, read(t, consumer, 7), 493)
}

func TestSeekBackAndForth(t *testing.T) {
	topic := topic(t, 1)
	fill(t, topic, 0, 500)
	consumer := client(t, from(topic, 0, kgo.NewOffset().AtStart()))
	expectNumbers(t, read(t, consumer, 1), 0)
	for _, at := range []int64{499, 0, 250, 249, 251} {
		consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: at}}})
		expectNumbers(t, read(t, consumer, 1), int(at))
	}
}

func TestReadFromATime(t *testing.T) {
	topic := topic(t, 1)
	producer := client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var records []*kgo.Record
	for number := range int64(1000) {
		stamp := time.UnixMilli(beginMs + number*stepMs)
		records = append(records, &kgo.Record{Topic: topic, Timestamp: stamp, Value: []byte("x")})
	}
	must(t, producer.ProduceSync(limited(t), records...).FirstErr())
	for _, test := range []struct{ afterMs, offset int64 }{{0, 0}, {1, 1}, {1234, 124}, {9990, 999}} {
		consumer := client(t, from(topic, 0, kgo.NewOffset().AfterMilli(beginMs+test.afterMs)))
		first := read(t, consumer, 1)[0]
		if first.Offset != test.offset || first.Timestamp.UnixMilli() != beginMs+test.offset*stepMs {
			t.Errorf("%d ms after the first lies offset %d, expected %d", test.afterMs, first.Offset, test.offset)
		}
	}
}

// A reader that waits is woken by what arrives, long before its wait would end.
func TestAWaitingReaderIsWoken(t *testing.T) {
	topic := topic(t, 1)
	fetched := make(chan *kgo.Record)
	consumer := client(t, from(topic, 0, kgo.NewOffset().AtStart()), kgo.FetchMaxWait(60*time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		defer close(fetched)
		for ctx.Err() == nil {
			for _, record := range consumer.PollFetches(ctx).Records() {
				fetched <- record
			}
		}
	}()
	for range 20 {
		must(t, client(t).ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr())
		if record := <-fetched; record == nil {
			t.Fatal("the reader was not woken")
		}
	}
	cancel()
	for range fetched {
	}
}
