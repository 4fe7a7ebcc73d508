// Groups of KafkaJS: members join, leave and go on where they were.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { admin, consume, makeTopic, numbers, send, unique, until } from './suite.js'

const all = (topic, partitions) => Array.from({ length: partitions }, (_, partition) => `${topic}/${partition}`)

const settled = (members, wanted) => until(`shared: ${wanted}`, () => {
  const owned = members.flatMap(member => member.owned)
  return members.every(member => member.owned.length > 0) && owned.length === wanted.length &&
    wanted.every(one => owned.includes(one))
})

test('members share and take over', async () => {
  const topic = await makeTopic('share', 6)
  const group = unique('share')
  const members = [await consume(group, { topics: [topic] })]
  await settled(members, all(topic, 6))
  members.push(await consume(group, { topics: [topic] }))
  await settled(members, all(topic, 6))
  assert.deepEqual(members.map(member => member.owned.length), [3, 3])
  await members.shift().stop()
  await settled(members, all(topic, 6))
  await members[0].stop()
})

test('a group goes on where it committed', async () => {
  const topic = await makeTopic('resume')
  await send(topic, numbers(100))
  const group = unique('resume')
  const first = await consume(group, { topics: [topic] }, {}, { autoCommit: false })
  await until('all are read', () => first.messages.length === 100)
  await first.consumer.commitOffsets([{ topic, partition: 0, offset: '40', metadata: 'here' }])
  await first.stop()
  await admin(async client => {
    const [{ partitions: [partition] }] = await client.fetchOffsets({ groupId: group, topics: [topic] })
    assert.deepEqual([partition.offset, partition.metadata], ['40', 'here'])
  })
  const second = await consume(group, { topics: [topic] })
  await until('the rest is read', () => second.messages.length === 60)
  assert.deepEqual(second.messages.map(m => Number(m.value)), Array.from({ length: 60 }, (_, number) => 40 + number))
  await second.stop()
})

test('a pattern subscribes to every topic that fits', async () => {
  const name = unique('pattern')
  const topics = [await makeTopic(`${name}-a`), await makeTopic(`${name}-b`)]
  const member = await consume(name, { topics: [new RegExp(`^${name}-.*`)] })
  await settled([member], topics.map(topic => `${topic}/0`))
  await member.stop()
})

test('a seek is obeyed', async () => {
  const topic = await makeTopic('seek')
  await send(topic, numbers(100))
  const member = await consume(unique('seek'), { topics: [topic] })
  await until('all are read', () => member.messages.length === 100)
  member.consumer.seek({ topic, partition: 0, offset: '93' })
  await until('the last are read again', () => member.messages.length === 107)
  assert.deepEqual(member.messages.slice(100).map(m => Number(m.value)), [93, 94, 95, 96, 97, 98, 99])
  await member.stop()
})

test('lag is exact', async () => {
  const topic = await makeTopic('lag', 2)
  await send(topic, numbers(50))
  const group = unique('lag')
  const member = await consume(group, { topics: [topic] }, {}, { autoCommitThreshold: 1 })
  await until('all are read and committed', async () => {
    const [{ partitions }] = await admin(client => client.fetchOffsets({ groupId: group, topics: [topic] }))
    return partitions.some(({ partition, offset }) => partition === 0 && offset === '50')
  })
  await member.stop()
  await send(topic, numbers(7))
  await admin(async client => {
    const ends = await client.fetchTopicOffsets(topic)
    const [{ partitions }] = await client.fetchOffsets({ groupId: group, topics: [topic] })
    const at = (list, partition) => Number(list.find(entry => entry.partition === partition).offset)
    assert.equal(at(ends, 0) - at(partitions, 0), 7)
    assert.equal(at(ends, 1), 0)
  })
})
