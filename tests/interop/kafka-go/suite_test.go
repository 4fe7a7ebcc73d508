// Package kafkago tries franz-go, the Go client, on a Kafka listener.
//
// BRAIDMQ_KAFKA is the address (host:port) of the broker under test, BRAIDMQ_TEST_SCALE scales the counts (1 is full).
package kafkago

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// testLimit is how long one test may take.
const testLimit = 90 * time.Second

// scaled is the count of a full run at the scale of this one, at least a fifth.
func scaled(count int) int {
	scale, err := strconv.ParseFloat(os.Getenv("BRAIDMQ_TEST_SCALE"), 64)
	if err != nil || scale < 0.2 {
		scale = 0.2
	}
	return int(float64(count) * scale)
}

func address() string {
	address := os.Getenv("BRAIDMQ_KAFKA")
	if address == "" {
		panic("BRAIDMQ_KAFKA names no broker")
	}
	return address
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

// client is closed when the test ends.
func client(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	options = append([]kgo.Opt{kgo.SeedBrokers(address()), kgo.FetchMaxWait(200 * time.Millisecond)}, options...)
	client, err := kgo.NewClient(options...)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func admin(t *testing.T) *kadm.Client {
	return kadm.NewClient(client(t))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unique is a name that no other test has.
func unique(t *testing.T) string {
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()) + "-" + hex.EncodeToString(random)
}

// topic makes one of an own name with these configurations (key, value, key, value).
func topic(t *testing.T, partitions int32, configs ...string) string {
	t.Helper()
	name := unique(t)
	makeTopic(t, name, partitions, configs...)
	return name
}

func makeTopic(t *testing.T, name string, partitions int32, configs ...string) {
	t.Helper()
	given := map[string]*string{}
	for at := 0; at < len(configs); at += 2 {
		given[configs[at]] = &configs[at+1]
	}
	_, err := admin(t).CreateTopic(limited(t), partitions, 1, given, name)
	must(t, err)
	await(t, name+" is in the metadata", func() bool {
		found, err := admin(t).ListTopics(limited(t), name)
		return err == nil && len(found[name].Partitions) == int(partitions) && found[name].Err == nil
	})
}

// await asks until the condition holds; for what tells nobody when it has happened.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fill sends values "0", "1", ... to one partition, and checks where the answers say they are.
func fill(t *testing.T, topic string, partition int32, count int, options ...kgo.Opt) {
	t.Helper()
	options = append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)
	producer := client(t, options...)
	records := make([]*kgo.Record, count)
	for number := range records {
		records[number] = &kgo.Record{Topic: topic, Partition: partition, Value: []byte(strconv.Itoa(number))}
	}
	for number, result := range producer.ProduceSync(limited(t), records...) {
		must(t, result.Err)
		if result.Record.Offset != int64(number) {
			t.Fatalf("value %d was answered with offset %d", number, result.Record.Offset)
		}
	}
}

// read takes the next records of a client.
func read(t *testing.T, consumer *kgo.Client, count int) []*kgo.Record {
	t.Helper()
	ctx := limited(t)
	var records []*kgo.Record
	for len(records) < count {
		fetches := consumer.PollRecords(ctx, count-len(records))
		for _, failed := range fetches.Errors() {
			t.Fatalf("%s/%d after %d of %d records: %v", failed.Topic, failed.Partition, len(records), count, failed.Err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// from reads a partition directly, from an offset.
func from(topic string, partition int32, offset kgo.Offset) kgo.Opt {
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: offset}})
}

func expectNumbers(t *testing.T, records []*kgo.Record, first int) {
	t.Helper()
	for at, record := range records {
		if want := fmt.Sprint(first + at); string(record.Value) != want || record.Offset != int64(first+at) {
			t.Fatalf("value %q at offset %d, expected %s at %d", record.Value, record.Offset, want, first+at)
		}
	}
}
