//! The waves against the Kafka listener, and as much of a Kafka client as they need: one blocking connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use braid_io::Rng;
use braid_wire_kafka::batch::{BatchHead, BatchView, BatchWriter, RecordDraft};
use braid_wire_kafka::messages::{
    Message, create_topics, describe_groups, fetch, join_group, metadata, produce,
};
use braid_wire_kafka::{Input, RequestHeader, error_code, frame, header, keys};
use bytes::{Bytes, BytesMut};

use crate::{DEADLINE, expect_closed};

/// The topic of many partitions.
const WIDE: &str = "Wide";
const WIDE_PARTITIONS: i32 = 10_000;
/// Partitions of the fetch that waits.
const FETCHED_PARTITIONS: i32 = 5_000;
/// How long a fetch or a produce request of a wave waits at most.
const WAIT_MS: i32 = 15_000;
/// Between two looks at something that comes about in its own time.
const POLL: Duration = Duration::from_millis(20);

const CREATE_TOPICS_VERSION: i16 = 7;
const METADATA_VERSION: i16 = 12;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// The last version whose members come in one step.
const JOIN_VERSION: i16 = 3;
const DESCRIBE_VERSION: i16 = 4;

pub(crate) struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The body of the next answer, which must be to a request of this key and version.
    fn answer(&mut self, api_key: i16, version: i16) -> Result<Bytes> {
        let frame = loop {
            if let Some(frame) = frame::next(&mut self.received, frame::FRAME_BYTES_MAX)? {
                break frame;
            }
            let mut chunk = [0; 64 << 10];
            let count = self.stream.read(&mut chunk).context("waiting for an answer")?;
            ensure!(count > 0, "the connection was closed");
            self.received.extend_from_slice(&chunk[..count]);
        };
        let (_, body) = header::decode_response(&frame, api_key, version)?;
        Ok(frame.slice(body..))
    }

    fn ask<'a>(&mut self, api_key: i16, version: i16, message: &impl Message<'a>) -> Result<Bytes> {
        self.send(&request(api_key, version, message))?;
        self.answer(api_key, version)
    }

    /// Produces one record and gives its offset.
    fn produce(&mut self, topic: &str, partition: i32, value: &[u8]) -> Result<i64> {
        let body = self.ask(keys::PRODUCE, PRODUCE_VERSION, &produce_request(topic, partition, value))?;
        let answer = produce::Response::decode(PRODUCE_VERSION, &mut Input::new(&body))?;
        let partition = &answer.responses[0].partition_responses[0];
        ensure!(partition.error_code == error_code::NONE, "produce was answered {}", partition.error_code);
        Ok(partition.base_offset)
    }

    /// The value of the record at an offset.
    fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Vec<u8>> {
        let ask = fetch_request(topic, &[(partition, offset)]);
        let body = self.ask(keys::FETCH, FETCH_VERSION, &ask)?;
        let answer = fetch::Response::decode(FETCH_VERSION, &mut Input::new(&body))?;
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == error_code::NONE, "fetch was answered {}", partition.error_code);
        let view = BatchView::parse(partition.records.as_deref().context("no records")?)?;
        ensure!(view.base_offset() == offset, "another offset was fetched");
        let payload = view.payload(1 << 20)?;
        let record = view.records(&payload).next().context("no record")??;
        Ok(record.value.context("no value")?.to_vec())
    }

    /// A topic's partitions, made on first use.
    fn metadata(&mut self, topic: &str) -> Result<usize> {
        self.send(&metadata_request(topic))?;
        let body = self.answer(keys::METADATA, METADATA_VERSION)?;
        let answer = metadata::Response::decode(METADATA_VERSION, &mut Input::new(&body))?;
        let topic = &answer.topics[0];
        ensure!(topic.error_code == error_code::NONE, "metadata was answered {}", topic.error_code);
        ensure!(
            topic.partitions.iter().all(|partition| partition.leader_id >= 0),
            "a partition without leader"
        );
        Ok(topic.partitions.len())
    }
}

/// A frame that asks this.
fn request<'a>(api_key: i16, version: i16, message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out);
    let head = RequestHeader { api_key, api_version: version, correlation_id: 7, client_id: Some("siege") };
    header::encode(&head, &mut out);
    message.encode(version, &mut out);
    frame::finish(&mut out, start, 0);
    out
}

fn produce_request<'a>(topic: &'a str, partition: i32, value: &[u8]) -> produce::Request<'a> {
    let mut writer = BatchWriter::new(BatchHead::default());
    writer.push(&RecordDraft { timestamp: 1, key: None, value: Some(value), headers: &[] });
    produce::Request {
        acks: -1,
        timeout_ms: WAIT_MS,
        topic_data: vec![produce::RequestTopic {
            name: topic.into(),
            partition_data: vec![produce::RequestPartition {
                index: partition,
                records: Some(writer.finish().into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request<'a>(topic: &'a str, partitions: &[(i32, i64)]) -> fetch::Request<'a> {
    let partition = |&(partition, fetch_offset): &(i32, i64)| fetch::RequestPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    fetch::Request {
        replica_id: -1,
        max_wait_ms: WAIT_MS,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![fetch::RequestTopic {
            topic: topic.into(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn metadata_request(topic: &str) -> Vec<u8> {
    let topics = vec![metadata::RequestTopic { name: Some(topic.into()), ..Default::default() }];
    let ask =
        metadata::Request { topics: Some(topics), allow_auto_topic_creation: true, ..Default::default() };
    request(keys::METADATA, METADATA_VERSION, &ask)
}

/// What a good client does: it produces and gets its records back.
pub(crate) fn good_client(address: SocketAddr) -> Result<()> {
    let mut good = Client::connect(address)?;
    good.metadata("SiegeKafka").context("the good Kafka client's metadata")?;
    for i in 0..50 {
        let value = format!("good {i}");
        let offset =
            good.produce("SiegeKafka", 0, value.as_bytes()).context("the good Kafka client's produce")?;
        let fetched = good.fetch("SiegeKafka", 0, offset).context("the good Kafka client's fetch")?;
        ensure!(fetched == value.as_bytes(), "the good Kafka client did not get its record back");
    }
    Ok(())
}

/// Frames that announce the largest length and send a part of it: nothing may be reserved for them.
pub(crate) fn half_open_frames(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|i| {
            let mut stream = TcpStream::connect(address)?;
            let mut part = (frame::FRAME_BYTES_MAX as u32).to_be_bytes().to_vec();
            part.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0]);
            stream.write_all(&part[..4 + i % 12])?;
            Ok(stream)
        })
        .collect()
}

pub(crate) fn bad_frames_are_closed(address: SocketAddr) -> Result<()> {
    let framed = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let frames: [(&str, Vec<u8>); 7] = [
        ("one byte past the frame limit", (frame::FRAME_BYTES_MAX as u32 + 1).to_be_bytes().to_vec()),
        ("a negative length", (-1i32).to_be_bytes().to_vec()),
        ("an empty frame", framed(&[])),
        ("a frame that ends in its header", framed(&[0, 3, 0, 1, 0, 0])),
        ("a key that nobody has", framed(&[0x7f, 0xff, 0, 0, 0, 0, 0, 7, 0xff, 0xff])),
        ("a version that nobody has", framed(&[0, 3, 0x7f, 0xff, 0, 0, 0, 7, 0xff, 0xff, 0, 0])),
        (
            "an array longer than its frame",
            framed(&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        ),
    ];
    for (what, bytes) in frames {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&bytes)?;
        expect_closed(stream).with_context(|| what.to_string())?;
    }
    Ok(())
}

pub(crate) fn garbage_is_closed(address: SocketAddr, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    for i in 0..200 {
        let mut stream = TcpStream::connect(address)?;
        let len = 64 + rng.below(64 << 10) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        // Every other one begins as a request of a key and a version that exist, in a frame that is whole.
        if i % 2 == 0 {
            let body = (len - 4) as u32;
            bytes[..4].copy_from_slice(&body.to_be_bytes());
            bytes[4..8].copy_from_slice(&[0, rng.below(50) as u8, 0, rng.below(14) as u8]);
            bytes[12..14].copy_from_slice(&[0xff, 0xff]);
        }
        // The server may close while this is still being sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        expect_closed(stream).with_context(|| format!("garbage {i}, seed {seed}"))?;
    }
    Ok(())
}

/// A topic of 10,000 partitions is made while another client goes on, and described whole.
pub(crate) fn a_topic_of_many_partitions(address: SocketAddr) -> Result<()> {
    let ask = create_topics::Request {
        topics: vec![create_topics::RequestTopic {
            name: WIDE.into(),
            num_partitions: WIDE_PARTITIONS,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: WAIT_MS,
        ..Default::default()
    };
    let mut client = Client::connect(address)?;
    let body = client.ask(keys::CREATE_TOPICS, CREATE_TOPICS_VERSION, &ask)?;
    let answer = create_topics::Response::decode(CREATE_TOPICS_VERSION, &mut Input::new(&body))?;
    let made = &answer.topics[0];
    ensure!(made.error_code == error_code::NONE, "{}: {:?}", made.error_code, made.error_message);
    ensure!(client.metadata(WIDE)? == WIDE_PARTITIONS as usize, "partitions are missing");
    Ok(())
}

/// A fetch of 5,000 empty partitions waits, and a record in the last of them ends the wait.
pub(crate) fn a_wide_fetch_is_woken(address: SocketAddr) -> Result<()> {
    let partitions: Vec<_> = (0..FETCHED_PARTITIONS).map(|partition| (partition, 0)).collect();
    let (mut waiting, mut producer) = (Client::connect(address)?, Client::connect(address)?);
    waiting.send(&request(keys::FETCH, FETCH_VERSION, &fetch_request(WIDE, &partitions)))?;
    producer.produce(WIDE, FETCHED_PARTITIONS - 1, b"woken")?;
    let body = waiting.answer(keys::FETCH, FETCH_VERSION)?;
    let answer = fetch::Response::decode(FETCH_VERSION, &mut Input::new(&body))?;
    let has_records =
        |partition: &fetch::ResponsePartition<'_>| partition.records.as_ref().is_some_and(|r| !r.is_empty());
    let given = answer.responses.iter().flat_map(|topic| &topic.partitions).filter(|p| has_records(p));
    let given: Vec<i32> = given.map(|partition| partition.partition_index).collect();
    ensure!(given == [FETCHED_PARTITIONS - 1], "records of {given:?} were given");
    Ok(())
}

/// Members that are gone before their group is complete: their parked requests must not stay.
pub(crate) fn members_that_vanish(address: SocketAddr, count: usize) -> Result<()> {
    let ask = join_group::Request {
        group_id: "vanishing".into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        protocol_type: "consumer".into(),
        protocols: vec![join_group::RequestProtocol { name: "range".into(), metadata: vec![0; 1000].into() }],
        ..Default::default()
    };
    let join = request(keys::JOIN_GROUP, JOIN_VERSION, &ask);
    for _ in 0..count {
        Client::connect(address)?.send(&join)?;
    }
    let begun = Instant::now();
    let mut client = Client::connect(address)?;
    loop {
        let ask = describe_groups::Request { groups: vec!["vanishing".into()], ..Default::default() };
        let body = client.ask(keys::DESCRIBE_GROUPS, DESCRIBE_VERSION, &ask)?;
        let answer = describe_groups::Response::decode(DESCRIBE_VERSION, &mut Input::new(&body))?;
        let group = &answer.groups[0];
        if group.members.is_empty() && matches!(&*group.group_state, "Empty" | "Dead") {
            return Ok(());
        }
        if begun.elapsed() > DEADLINE {
            bail!("{} members are left in state {}", group.members.len(), group.group_state);
        }
        std::thread::sleep(POLL);
    }
}

/// Clients that ask for far more than a socket holds, and read nothing.
pub(crate) fn clients_that_never_read(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let mut writer = Client::connect(address)?;
    writer.metadata("FloodKafka")?;
    for _ in 0..100 {
        writer.produce("FloodKafka", 0, &vec![b'x'; 60 << 10])?;
    }
    let fetch = request(keys::FETCH, FETCH_VERSION, &fetch_request("FloodKafka", &[(0, 0)]));
    let describe = metadata_request(WIDE);
    let mut deaf = Vec::new();
    for i in 0..count {
        let mut client = Client::connect(address)?;
        client.stream.set_write_timeout(Some(Duration::from_millis(300)))?;
        // 4,000 fetches of a MiB, or as many descriptions of 10,000 partitions, would be gigabytes of answers.
        let ask = if i % 2 == 0 { &fetch } else { &describe };
        for _ in 0..4_000 {
            if client.send(ask).is_err() {
                break;
            }
        }
        deaf.push(client);
    }
    Ok(deaf)
}
