package kafkago

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func expectError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("refused with %v, expected %v", err, want)
	}
}

func TestTopicsAreMadeChangedAndDeleted(t *testing.T) {
	admin, topic := admin(t), topic(t, 2)
	_, err := admin.CreateTopic(limited(t), 2, 1, nil, topic)
	expectError(t, err, kerr.TopicAlreadyExists)
	_, err = admin.CreateTopic(limited(t), 1, 1, nil, "no/slash")
	expectError(t, err, kerr.InvalidTopicException)
	_, err = admin.UpdatePartitions(limited(t), 5, topic)
	must(t, err)
	await(t, "partitions are added", func() bool {
		found, err := admin.ListTopics(limited(t), topic)
		return err == nil && len(found[topic].Partitions) == 5
	})
	added, err := admin.UpdatePartitions(limited(t), 3, topic)
	must(t, err)
	expectError(t, added[topic].Err, kerr.InvalidPartitions)
	before, err := admin.ListTopics(limited(t), topic)
	must(t, err)
	_, err = admin.DeleteTopic(limited(t), topic)
	must(t, err)
	await(t, "it is gone", func() bool {
		found, err := admin.ListTopics(limited(t))
		return err == nil && !found.Has(topic)
	})
	_, err = admin.DeleteTopic(limited(t), topic)
	expectError(t, err, kerr.UnknownTopicOrPartition)
	makeTopic(t, topic, 1)
	// Another client, since this one remembers for a while what it knew of the topic.
	after, err := kadm.NewClient(client(t)).ListTopics(limited(t), topic)
	must(t, err)
	if after[topic].ID == before[topic].ID || after[topic].ID == (kadm.TopicID{}) {
		t.Errorf("the topic ids are %v and %v", before[topic].ID, after[topic].ID)
	}
}

func TestConfigurationsAreAltered(t *testing.T) {
	admin, topic := admin(t), topic(t, 1, "retention.ms", "86400000")
	value := func(key string) (string, bool) {
		found, err := admin.DescribeTopicConfigs(limited(t), topic)
		must(t, err)
		for _, config := range found[0].Configs {
			if config.Key == key {
				return config.MaybeValue(), config.Source.String() == "DYNAMIC_TOPIC_CONFIG"
			}
		}
		t.Fatalf("no %s in %v", key, found)
		return "", false
	}
	if found, own := value("retention.ms"); found != "86400000" || !own {
		t.Errorf("retention.ms is %s, the topic's own: %v", found, own)
	}
	size := "3000"
	altered, err := admin.AlterTopicConfigs(limited(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &size}}, topic)
	must(t, err)
	must(t, altered[0].Err)
	await(t, "max.message.bytes is altered", func() bool { found, own := value("max.message.bytes"); return found == size && own })
	altered, err = admin.AlterTopicConfigs(limited(t), []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "max.message.bytes"}}, topic)
	must(t, err)
	must(t, altered[0].Err)
	await(t, "max.message.bytes is the default", func() bool { found, own := value("max.message.bytes"); return found == "1048588" && !own })
	altered, err = admin.AlterTopicConfigs(limited(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "no.such.key", Value: &size}}, topic)
	must(t, err)
	expectError(t, altered[0].Err, kerr.InvalidConfig)
}

func TestRecordsAreDeletedUpToAnOffset(t *testing.T) {
	admin, topic := admin(t), topic(t, 1)
	fill(t, topic, 0, 100)
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, 42, -1)
	deleted, err := admin.DeleteRecords(limited(t), offsets)
	must(t, err)
	if found, _ := deleted.Lookup(topic, 0); found.Err != nil || found.LowWatermark != 42 {
		t.Errorf("deleted: %v", found)
	}
	starts, err := admin.ListStartOffsets(limited(t), topic)
	must(t, err)
	if start, _ := starts.Lookup(topic, 0); start.Offset != 42 {
		t.Errorf("the partition begins at %d", start.Offset)
	}
	expectNumbers(t, read(t, client(t, from(topic, 0, kgo.NewOffset().AtStart())), 58), 42)
}

func TestGroupsAreDescribedAndLagIsExact(t *testing.T) {
	admin, topic := admin(t), topic(t, 2)
	fill(t, topic, 0, 50)
	fill(t, topic, 1, 30)
	group := unique(t)
	member := client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ClientID("somebody"))
	read(t, member, 80)
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, 20, -1)
	offsets.AddOffset(topic, 1, 30, -1)
	expectError(t, admin.CommitAllOffsets(limited(t), group, offsets), kerr.UnknownMemberID)
	described, err := admin.DescribeGroups(limited(t), group)
	must(t, err)
	found := described[group]
	if found.State != "Stable" || len(found.Members) != 1 || found.Members[0].ClientID != "somebody" {
		t.Fatalf("described as %+v", found)
	}
	deleted, err := admin.DeleteGroups(limited(t), group)
	must(t, err)
	expectError(t, deleted[group].Err, kerr.NonEmptyGroup)
	member.Close()
	await(t, "the group is empty", func() bool {
		described, err := admin.DescribeGroups(limited(t), group)
		return err == nil && described[group].State == "Empty"
	})
	must(t, admin.CommitAllOffsets(limited(t), group, offsets))
	lags, err := admin.Lag(limited(t), group)
	must(t, err)
	lag := lags[group].Lag
	if lag[topic][0].Lag != 30 || lag[topic][1].Lag != 0 || lags[group].Lag.Total() != 30 {
		t.Errorf("lag is %+v", lag)
	}
	removed, err := admin.DeleteOffsets(limited(t), group, kadm.TopicsSet{topic: {0: {}}})
	must(t, err)
	must(t, removed[topic][0])
	left, err := admin.FetchOffsets(limited(t), group)
	must(t, err)
	if _, there := left.Lookup(topic, 0); there {
		t.Error("the offset of partition 0 is still there")
	}
	deleted, err = admin.DeleteGroups(limited(t), group)
	must(t, err)
	must(t, deleted[group].Err)
	listed, err := admin.ListGroups(limited(t))
	must(t, err)
	if slices.Contains(listed.Groups(), group) {
		t.Error("the group is still listed")
	}
}

func TestOffsetsAreListed(t *testing.T) {
	admin, topic := admin(t), topic(t, 2)
	fill(t, topic, 1, 10)
	ends, err := admin.ListEndOffsets(limited(t), topic)
	must(t, err)
	for partition, want := range []int64{0, 10} {
		if end, _ := ends.Lookup(topic, int32(partition)); end.Offset != want || end.Err != nil {
			t.Errorf("partition %d ends at %+v, expected %d", partition, end, want)
		}
	}
	if unknown, err := admin.ListEndOffsets(limited(t), unique(t)); err == nil {
		expectError(t, unknown.Error(), kerr.UnknownTopicOrPartition)
	}
}

func TestTheClusterIsDescribed(t *testing.T) {
	metadata, err := admin(t).BrokerMetadata(limited(t))
	must(t, err)
	if metadata.Cluster == "" || len(metadata.Brokers) != 1 || metadata.Controller != metadata.Brokers[0].NodeID {
		t.Errorf("%+v", metadata)
	}
}
