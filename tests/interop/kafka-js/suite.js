// What the tests share. BRAIDMQ_KAFKA is the address (host:port) of the broker under test, BRAIDMQ_TEST_SCALE scales the
// counts (1 is full).

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import kafkajs from 'kafkajs'

const SECONDS_MAX = 30

export const address = process.env.BRAIDMQ_KAFKA
if (!address) throw new Error('BRAIDMQ_KAFKA names no broker')

export const scaled = count => Math.floor(count * Math.max(0.2, Number(process.env.BRAIDMQ_TEST_SCALE ?? 0.2)))

export const kafka = new kafkajs.Kafka({
  brokers: [address],
  clientId: 'interop',
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 8 },
})

/** A name that no other test has. */
export const unique = what => `${what.replaceAll(/[^a-zA-Z0-9]+/g, '-')}-${randomBytes(4).toString('hex')}`

/** Asks until the condition holds; for what sends no event. */
export async function until(what, condition) {
  const deadline = Date.now() + SECONDS_MAX * 1000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${SECONDS_MAX} s: ${what}`)
    await pause(20)
  }
}

/** Runs `work` with a connected client and disconnects it in any case. */
export async function using(client, work) {
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.disconnect()
  }
}

export const admin = work => using(kafka.admin(), work)

/** Makes a topic and returns its name. */
export async function makeTopic(what, numPartitions = 1, configs = {}) {
  const topic = unique(what)
  const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value: String(value) }))
  await admin(async client => {
    const asked = { topic, numPartitions, replicationFactor: 1, configEntries }
    await client.createTopics({ waitForLeaders: false, topics: [asked] })
    const known = async () => (await client.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
    await until(`${topic} is in the metadata`, () => known().then(count => count === numPartitions, () => false))
  })
  return topic
}

export const numbers = count => Array.from({ length: count }, (_, number) => ({ value: String(number), partition: 0 }))

/** Sends messages in one request and returns KafkaJS's answer. */
export const send = (topic, messages, options = {}, settings = {}) =>
  using(kafka.producer(settings), producer => producer.send({ topic, messages, ...options }))

/** A member of a group that keeps what it reads; `stop` it in the end. */
export async function consume(groupId, subscription, settings = {}, run = {}) {
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 6000, heartbeatInterval: 300, rebalanceTimeout: 10_000, metadataMaxAge: 500, maxWaitTimeInMs: 100,
    ...settings,
  })
  const member = { consumer, messages: [], owned: [], joins: 0, stop: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.joins += 1
    member.owned = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
      partitions.map(partition => `${topic}/${partition}`))
  })
  await consumer.connect()
  await consumer.subscribe({ fromBeginning: true, ...subscription })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => { member.messages.push({ topic, partition, ...message }) },
    ...run,
  })
  return member
}

/** Reads the first `count` messages of a topic. */
export async function read(topic, count) {
  const member = await consume(`${topic}-reader`, { topics: [topic] })
  try {
    await until(`${count} messages of ${topic}`, () => member.messages.length >= count)
    return member.messages
  } finally {
    await member.stop()
  }
}
