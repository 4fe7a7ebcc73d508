// Topics, configurations, offsets and groups managed by KafkaJS.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import kafkajs from 'kafkajs'
import { address, admin, consume, makeTopic, numbers, read, send, unique, until } from './suite.js'

test('topics are made, listed, described and deleted', () => admin(async client => {
  const topic = await makeTopic('topic', 3)
  assert.equal(await client.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false, 'it is there already')
  assert.ok((await client.listTopics()).includes(topic))
  const { topics: [{ partitions }] } = await client.fetchTopicMetadata({ topics: [topic] })
  assert.deepEqual(partitions.map(partition => partition.partitionId).sort(), [0, 1, 2])
  await client.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  await until('partitions are added', async () =>
    (await client.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 5)
  await client.deleteTopics({ topics: [topic] })
  await until('it is gone', async () => !(await client.listTopics()).includes(topic))
}))

test('a bad topic is refused', () => admin(client =>
  assert.rejects(client.createTopics({ topics: [{ topic: 'no/slash', numPartitions: 1 }] }),
    error => error.errors[0].type === 'INVALID_TOPIC_EXCEPTION')))

test('configurations are described and altered', () => admin(async client => {
  const topic = await makeTopic('config', 1, { 'retention.ms': 86_400_000 })
  const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }
  const value = async key => {
    const { resources: [{ configEntries }] } = await client.describeConfigs({ includeSynonyms: false, resources: [resource] })
    return configEntries.find(({ configName }) => configName === key).configValue
  }
  assert.equal(await value('retention.ms'), '86400000')
  await client.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: 'max.message.bytes', value: '3000' }] }] })
  await until('it is altered', async () => await value('max.message.bytes') === '3000')
}))

test('offsets are listed by time', () => admin(async client => {
  const topic = await makeTopic('times')
  const messages = numbers(100).map((message, at) => ({ ...message, timestamp: String(1_700_000_000_000 + 10 * at) }))
  await send(topic, messages)
  const by = async time => (await client.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
  assert.equal(await by(0), '0')
  assert.equal(await by(1_700_000_000_421), '43')
  assert.equal(await by(1_700_000_000_990), '99')
  assert.equal(await by(1_700_000_000_991), '100', 'KafkaJS asks for the end where there is nothing')
  const [{ high, low }] = await client.fetchTopicOffsets(topic)
  assert.deepEqual([low, high], ['0', '100'])
}))

test('records are deleted up to an offset', async () => {
  const topic = await makeTopic('records')
  await send(topic, numbers(50))
  await admin(async client => {
    assert.equal((await client.fetchTopicOffsets(topic))[0].low, '0')
    await client.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '30' }] })
    assert.equal((await client.fetchTopicOffsets(topic))[0].low, '30')
  })
  assert.deepEqual((await read(topic, 20)).map(m => Number(m.value)), Array.from({ length: 20 }, (_, number) => 30 + number))
})

test('groups are listed, described, reset and deleted', () => admin(async client => {
  const topic = await makeTopic('groups')
  await send(topic, numbers(10))
  const groupId = unique('groups')
  const member = await consume(groupId, { topics: [topic] })
  await until('all are read', () => member.messages.length === 10)
  assert.ok((await client.listGroups()).groups.some(group => group.groupId === groupId && group.protocolType === 'consumer'))
  const { groups: [described] } = await client.describeGroups([groupId])
  assert.deepEqual([described.state, described.members.length, described.members[0].clientId], ['Stable', 1, 'interop'])
  await assert.rejects(client.deleteGroups([groupId]), error => error.groups[0].error.type === 'NON_EMPTY_GROUP')
  await member.stop()
  await client.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '4' }] })
  assert.equal((await client.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset, '4')
  await client.resetOffsets({ groupId, topic, earliest: true })
  const again = await consume(groupId, { topics: [topic] })
  await until('all are read again', () => again.messages.length === 10)
  await again.stop()
  await client.deleteGroups([groupId])
  assert.ok(!(await client.listGroups()).groups.some(group => group.groupId === groupId))
}))

test('the cluster is described', () => admin(async client => {
  const { brokers, controller, clusterId } = await client.describeCluster()
  assert.deepEqual(brokers.map(({ host, port }) => `${host}:${port}`), [address])
  assert.equal(controller, brokers[0].nodeId)
  assert.ok(clusterId)
}))
