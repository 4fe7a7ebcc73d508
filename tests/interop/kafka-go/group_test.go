package kafkago

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var balancers = []struct {
	name     string
	balancer kgo.GroupBalancer
}{
	{"range", kgo.RangeBalancer()},
	{"roundrobin", kgo.RoundRobinBalancer()},
	{"sticky", kgo.StickyBalancer()},
	{"cooperative-sticky", kgo.CooperativeStickyBalancer()},
}

const (
	etlPartitions = 6
	// Records in a partition that are sent before the groups are waited for.
	etlRound = 250
)

// Two groups copy a topic to a second and that to a third, while members join and leave; every record arrives once.
func TestCopyThroughGroups(t *testing.T) {
	for _, balancer := range balancers {
		t.Run(balancer.name, func(t *testing.T) {
			t.Parallel()
			name := unique(t)
			for _, suffix := range []string{"-a", "-b", "-c"} {
				makeTopic(t, name+suffix, etlPartitions)
			}
			copies := []*copying{
				startCopy(t, name+"-a", name+"-b", balancer.balancer),
				startCopy(t, name+"-b", name+"-c", balancer.balancer),
			}
			producer := client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
			each := 0
			for least := scaled(10_000); each < least || !copies[0].isRotated() || !copies[1].isRotated(); {
				var records []*kgo.Record
				for range etlRound {
					for partition := range int32(etlPartitions) {
						value := []byte(fmt.Sprintf("%d/%d", partition, each))
						records = append(records, &kgo.Record{Topic: name + "-a", Partition: partition, Value: value})
					}
					each++
				}
				must(t, producer.ProduceSync(limited(t), records...).FirstErr())
				// A round ahead is enough to keep everybody busy.
				copies[1].await(t, int64(etlPartitions*(each-etlRound)))
			}
			for _, copying := range copies {
				copying.await(t, int64(etlPartitions*each))
				copying.stop()
			}
			for _, suffix := range []string{"-b", "-c"} {
				expectAll(t, name+suffix, each)
			}
		})
	}
}

// copying is a group that copies a topic. One after the other three members join; each takes part before the one that
// came before it leaves.
type copying struct {
	copied  atomic.Int64
	rotated chan struct{}
	members sync.WaitGroup
	stop    func()
}

func startCopy(t *testing.T, source, target string, balancer kgo.GroupBalancer) *copying {
	copying := &copying{rotated: make(chan struct{})}
	ctx, cancel := context.WithCancel(limited(t))
	join := func() (func(), chan struct{}) {
		ctx, leave := context.WithCancel(ctx)
		begun := make(chan struct{})
		copying.members.Add(1)
		go copying.member(t, ctx, source, target, balancer, begun)
		return leave, begun
	}
	copying.stop = func() {
		cancel()
		copying.members.Wait()
	}
	copying.members.Add(1)
	go func() {
		defer copying.members.Done()
		leave, begun := join()
		for range 3 {
			next, nextBegun := join()
			for _, begun := range []chan struct{}{begun, nextBegun} {
				select {
				case <-begun:
				case <-ctx.Done():
					return
				}
			}
			leave()
			leave, begun = next, nextBegun
		}
		close(copying.rotated)
	}()
	return copying
}

func (copying *copying) isRotated() bool {
	select {
	case <-copying.rotated:
		return true
	default:
		return false
	}
}

func (copying *copying) await(t *testing.T, count int64) {
	t.Helper()
	what := func() string { return fmt.Sprintf("%d of %d records are copied", copying.copied.Load(), count) }
	for ctx := limited(t); copying.copied.Load() < count; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil || t.Failed() {
			t.Fatal(what())
		}
	}
}

// member copies what it is given, commits that, and only then lets the group rebalance.
func (copying *copying) member(t *testing.T, ctx context.Context, source, target string, balancer kgo.GroupBalancer, begun chan struct{}) {
	defer copying.members.Done()
	member, err := kgo.NewClient(
		kgo.SeedBrokers(address()), kgo.ConsumerGroup(source), kgo.ConsumeTopics(source), kgo.Balancers(balancer),
		kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		t.Error(err)
		return
	}
	defer member.CloseAllowingRebalance()
	// A member that is told to leave finishes what it has begun.
	finish := limited(t)
	for isFirst := true; ctx.Err() == nil; {
		fetches := member.PollRecords(ctx, 200)
		var copies []*kgo.Record
		fetches.EachRecord(func(record *kgo.Record) {
			copies = append(copies, &kgo.Record{Topic: target, Partition: record.Partition, Value: record.Value})
		})
		if err := member.ProduceSync(finish, copies...).FirstErr(); err != nil {
			t.Errorf("copy to %s: %v", target, err)
			return
		}
		if err := member.CommitRecords(finish, fetches.Records()...); err != nil {
			t.Errorf("commit of %s: %v", source, err)
			return
		}
		member.AllowRebalance()
		copying.copied.Add(int64(len(copies)))
		if isFirst && len(copies) > 0 {
			isFirst = false
			close(begun)
		}
	}
}

// expectAll checks that each partition has its numbers once, in order, and nothing else.
func expectAll(t *testing.T, topic string, each int) {
	t.Helper()
	ends, err := admin(t).ListEndOffsets(limited(t), topic)
	must(t, err)
	for partition := range int32(etlPartitions) {
		if end, _ := ends.Lookup(topic, partition); end.Offset != int64(each) {
			t.Errorf("%s/%d ends at %d, expected %d", topic, partition, end.Offset, each)
		}
		consumer := client(t, from(topic, partition, kgo.NewOffset().AtStart()))
		for number, record := range read(t, consumer, each) {
			if want := fmt.Sprintf("%d/%d", partition, number); string(record.Value) != want {
				t.Fatalf("%s/%d has %s at %d, expected %s", topic, partition, record.Value, record.Offset, want)
			}
		}
	}
}

func TestAGroupGoesOnWhereItCommitted(t *testing.T) {
	topic := topic(t, 1)
	fill(t, topic, 0, 100)
	group := []kgo.Opt{kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit()}
	first := client(t, group...)
	records := read(t, first, 60)
	must(t, first.CommitRecords(limited(t), records[39]))
	first.Close()
	expectNumbers(t, read(t, client(t, group...), 60), 40)
}

func TestAPatternFindsTopicsThatComeLater(t *testing.T) {
	name := unique(t)
	makeTopic(t, name+"-1", 1)
	fill(t, name+"-1", 0, 3)
	consumer := client(t, kgo.ConsumerGroup(name), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+regexp.QuoteMeta(name)+"-.*"),
		kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100*time.Millisecond))
	expectNumbers(t, read(t, consumer, 3), 0)
	makeTopic(t, name+"-2", 1)
	fill(t, name+"-2", 0, 3)
	later := read(t, consumer, 3)
	expectNumbers(t, later, 0)
	if later[0].Topic != name+"-2" {
		t.Fatalf("read %s", later[0].Topic)
	}
}

// A static member that comes back within its session gets what it had, and nobody else notices.
func TestAStaticMemberComesBack(t *testing.T) {
	topic := topic(t, 4)
	join := func(instance string, assigned chan []int32) *kgo.Client {
		member := client(t, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.InstanceID(instance),
			kgo.Balancers(kgo.StickyBalancer()), kgo.HeartbeatInterval(200*time.Millisecond),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) { assigned <- given[topic] }))
		go func() {
			for !member.PollFetches(context.Background()).IsClientClosed() {
			}
		}()
		return member
	}
	one, two := make(chan []int32, 16), make(chan []int32, 16)
	join("one", one)
	second := join("two", two)
	next(t, one, 2)
	had := next(t, two, 2)
	second.Close()
	join("two", two)
	if has := next(t, two, 2); !slices.Equal(has, had) {
		t.Errorf("it had %v and now has %v", had, has)
	}
	if len(one) != 0 {
		t.Errorf("the other member was given %v", <-one)
	}
}

// next waits for an assignment of so many partitions.
func next(t *testing.T, assigned chan []int32, partitions int) []int32 {
	t.Helper()
	ctx := limited(t)
	for {
		select {
		case given := <-assigned:
			if len(given) == partitions {
				slices.Sort(given)
				return given
			}
		case <-ctx.Done():
			t.Fatalf("no assignment of %d partitions", partitions)
		}
	}
}
