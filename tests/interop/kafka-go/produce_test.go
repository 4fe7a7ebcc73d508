package kafkago

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
	bits  uint8
}{
	{"none", kgo.NoCompression(), 0},
	{"gzip", kgo.GzipCompression(), 1},
	{"snappy", kgo.SnappyCompression(), 2},
	{"lz4", kgo.Lz4Compression(), 3},
	{"zstd", kgo.ZstdCompression(), 4},
}

var acksLevels = []struct {
	name    string
	options []kgo.Opt
}{
	{"none", []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}},
	{"leader", []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}},
	{"all", []kgo.Opt{kgo.DisableIdempotentWrite()}},
	{"idempotent", nil},
}

func TestEveryCodecAndAcksLevel(t *testing.T) {
	for _, codec := range codecs {
		for _, acks := range acksLevels {
			t.Run(codec.name+"/"+acks.name, func(t *testing.T) {
				t.Parallel()
				topic := topic(t, 1)
				producer := client(t, append([]kgo.Opt{kgo.ProducerBatchCompression(codec.codec), kgo.ProducerLinger(5 * time.Millisecond)}, acks.options...)...)
				var records []*kgo.Record
				for number := range 300 {
					value := bytes.Repeat([]byte(fmt.Sprintf("%06d ", number)), 20)
					records = append(records, &kgo.Record{Topic: topic, Value: value})
				}
				must(t, producer.ProduceSync(limited(t), records...).FirstErr())
				found := read(t, client(t, from(topic, 0, kgo.NewOffset().AtStart())), len(records))
				for at, record := range found {
					if !bytes.Equal(record.Value, records[at].Value) || record.Offset != int64(at) {
						t.Fatalf("%.20q at %d, expected %.20q at %d", record.Value, record.Offset, records[at].Value, at)
					}
					if record.Attrs.CompressionType() != codec.bits {
						t.Fatalf("stored with codec %d, sent with %d", record.Attrs.CompressionType(), codec.bits)
					}
				}
			})
		}
	}
}

func TestKeysHeadersAndNullValues(t *testing.T) {
	topic := topic(t, 1)
	binary := make([]byte, 256)
	for at := range binary {
		binary[at] = byte(at)
	}
	sent := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value")},
		{Key: []byte("tombstone"), Value: nil},
		{Key: nil, Value: []byte("no key")},
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: binary, Value: binary, Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "null"}, {Key: "", Value: []byte{}}, {Key: "b", Value: binary},
		}},
	}
	for _, record := range sent {
		record.Topic = topic
	}
	must(t, client(t).ProduceSync(limited(t), sent...).FirstErr())
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	for at, found := range read(t, client(t, from(topic, 0, kgo.NewOffset().AtStart())), len(sent)) {
		want := sent[at]
		if !same(found.Key, want.Key) || !same(found.Value, want.Value) || len(found.Headers) != len(want.Headers) {
			t.Fatalf("record %d is %v", at, found)
		}
		for number, header := range found.Headers {
			if header.Key != want.Headers[number].Key || !same(header.Value, want.Headers[number].Value) {
				t.Fatalf("header %d is %v, expected %v", number, header, want.Headers[number])
			}
		}
	}
}

func TestOrderHoldsInEachPartition(t *testing.T) {
	const partitions = 8
	each := scaled(10_000)
	topic := topic(t, partitions)
	producer := client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(4096))
	failed := make(chan error, partitions*each)
	for number := range each {
		for partition := range int32(partitions) {
			record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(fmt.Sprint(number))}
			producer.Produce(limited(t), record, func(_ *kgo.Record, err error) {
				if err != nil {
					failed <- err
				}
			})
		}
	}
	must(t, producer.Flush(limited(t)))
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	for partition := range int32(partitions) {
		expectNumbers(t, read(t, client(t, from(topic, partition, kgo.NewOffset().AtStart())), each), 0)
	}
}

func TestARecordAboveTheTopicsLimitIsRefused(t *testing.T) {
	topic := topic(t, 1, "max.message.bytes", "2000")
	producer := client(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	err := producer.ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: make([]byte, 5000)}).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		t.Fatalf("refused with %v", err)
	}
	must(t, client(t).ProduceSync(limited(t), &kgo.Record{Topic: topic, Value: make([]byte, 1000)}).FirstErr())
}

func TestAnUnknownTopicIsMadeOnlyWhenAskedFor(t *testing.T) {
	topic := unique(t)
	record := &kgo.Record{Topic: topic, Value: []byte("x")}
	err := client(t, kgo.UnknownTopicRetries(1)).ProduceSync(limited(t), record).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatalf("refused with %v", err)
	}
	record = &kgo.Record{Topic: topic, Value: []byte("x")}
	must(t, client(t, kgo.AllowAutoTopicCreation()).ProduceSync(limited(t), record).FirstErr())
}
