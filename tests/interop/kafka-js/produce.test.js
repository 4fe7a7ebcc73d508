// KafkaJS sends, and what it sent is there.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import kafkajs from 'kafkajs'
import { kafka, makeTopic, numbers, read, scaled, send, unique, using } from './suite.js'

for (const acks of [0, 1, -1]) {
  for (const [name, compression] of [['none', kafkajs.CompressionTypes.None], ['gzip', kafkajs.CompressionTypes.GZIP]]) {
    test(`acks ${acks}, codec ${name}`, async () => {
      const topic = await makeTopic('codec')
      const messages = numbers(300)
      const answer = await send(topic, messages, { acks, compression })
      if (acks !== 0) assert.equal(answer[0].baseOffset, '0')
      const found = await read(topic, messages.length)
      assert.deepEqual(found.map(m => [String(m.value), m.offset]), messages.map((m, at) => [m.value, String(at)]))
    })
  }
}

test('keys, headers and null values come back', async () => {
  const topic = await makeTopic('shapes')
  const binary = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const timestamp = '1700000000123'
  await send(topic, [
    { key: 'key', value: 'value', timestamp },
    { key: 'tombstone', value: null, timestamp },
    { key: null, value: 'no key', timestamp },
    { key: binary, value: binary, timestamp, headers: { one: 'a', many: ['b', 'c'], binary } },
  ].map(message => ({ partition: 0, ...message })))
  const found = await read(topic, 4)
  assert.deepEqual(found.map(m => m.key && m.key.toString('hex')),
    [Buffer.from('key'), Buffer.from('tombstone'), null, binary].map(k => k && k.toString('hex')))
  assert.deepEqual(found.map(m => m.value && m.value.toString('hex')),
    [Buffer.from('value'), null, Buffer.from('no key'), binary].map(v => v && v.toString('hex')))
  assert.deepEqual(found.map(m => m.timestamp), Array(4).fill(timestamp))
  const { one, many, binary: header } = found[3].headers
  assert.deepEqual([String(one), many.map(String), Buffer.compare(header, binary)], ['a', ['b', 'c'], 0])
})

test('order holds over many requests of an idempotent producer', async () => {
  const topic = await makeTopic('order')
  const count = scaled(2000)
  await using(kafka.producer({ idempotent: true, maxInFlightRequests: 1 }), async producer => {
    for (let at = 0; at < count; at += 10) {
      const messages = numbers(count).slice(at, at + 10)
      const [answer] = await producer.send({ topic, messages })
      assert.equal(answer.baseOffset, String(at))
    }
  })
  const found = await read(topic, count)
  assert.deepEqual(found.map(m => Number(m.value)), Array.from({ length: count }, (_, number) => number))
})

test('a message above the limit of its topic is refused', async () => {
  const topic = await makeTopic('limit', 1, { 'max.message.bytes': 2000 })
  await assert.rejects(send(topic, [{ value: Buffer.alloc(5000), partition: 0 }]), { type: 'MESSAGE_TOO_LARGE' })
  await send(topic, [{ value: Buffer.alloc(1000), partition: 0 }])
})

test('a topic is made by writing to it', async () => {
  const [answer] = await send(unique('made'), [{ value: 'first' }])
  assert.equal(answer.baseOffset, '0')
})
