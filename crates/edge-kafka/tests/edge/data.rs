//! Produce and Fetch.

use std::time::{Duration, Instant};

use braid_wire_kafka::batch::{BatchView, Compression, set_log_append_time};
use braid_wire_kafka::messages::{api_versions, fetch, metadata, produce};
use braid_wire_kafka::{error_code, keys};

use crate::support::{Client, Server, ask, batch, decode, from, numbered, options, records, to};

const ALL: i16 = -1;

/// Produces one batch; gives the partition's answer.
fn produce(
    client: &mut Client,
    topic: &str,
    partition: i32,
    batch: &[u8],
) -> produce::ResponsePartition<'static> {
    let mut response = ask!(client, produce, 9, to(topic, partition, ALL, batch));
    response.responses.remove(0).partition_responses.remove(0)
}

/// Fetches one partition without waiting.
fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64) -> fetch::ResponsePartition<'static> {
    let mut response = ask!(client, fetch, 12, from(topic, &[(partition, offset)]));
    response.responses.remove(0).partitions.remove(0)
}

fn values(partition: &fetch::ResponsePartition<'_>) -> Vec<(i64, String)> {
    let found = records(partition.records.as_deref().unwrap_or_default());
    found.into_iter().map(|(offset, value)| (offset, String::from_utf8(value).unwrap())).collect()
}

fn numbers(offsets: std::ops::Range<i64>) -> Vec<(i64, String)> {
    offsets.map(|offset| (offset, format!("v{offset}"))).collect()
}

#[test]
fn batches_come_back_as_they_were_sent_in_all_versions() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    let id = server.broker.topic("T").unwrap().id.0.to_be_bytes();
    let mut client = server.client();
    let mut next = 0;
    for version in 3..=13 {
        let batch = batch(&[format!("v{next}").as_bytes(), format!("v{}", next + 1).as_bytes()]);
        let mut request = to("T", 1, if version % 2 == 0 { 1 } else { ALL }, &batch);
        if version >= 13 {
            request.topic_data[0].topic_id = id;
        }
        let response = ask!(&mut client, produce, version, request);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.index, partition.error_code, partition.base_offset), (1, 0, next), "{version}");
        assert_eq!(partition.log_append_time_ms, -1);
        assert_eq!(partition.log_start_offset, if version >= 5 { 0 } else { -1 });
        next += 2;
    }
    let epoch = server.broker.store().epoch() as i32;
    for version in 4..=18 {
        let mut request = from("T", &[(1, 0), (0, 0)]);
        if version >= 13 {
            request.topics[0].topic_id = id;
        }
        request.isolation_level = (version % 2) as i8;
        let response = ask!(&mut client, fetch, version, request);
        let [full, empty] = &response.responses[0].partitions[..] else { panic!("{response:?}") };
        assert_eq!(values(full), numbers(0..next), "{version}");
        assert_eq!((full.error_code, full.high_watermark, full.last_stable_offset), (0, next, next));
        assert_eq!((empty.error_code, empty.high_watermark), (0, 0));
        assert_eq!(empty.records.as_deref(), Some(&[][..]));
        let aborted = (version % 2 == 1).then_some(0);
        assert_eq!(full.aborted_transactions.as_ref().map(Vec::len), aborted);
        let first = BatchView::parse(full.records.as_deref().unwrap()).unwrap();
        assert_eq!((first.leader_epoch(), first.count()), (epoch, 2));
    }
    assert_eq!(server.edge().counts().decoded_batches, 0);
}

#[test]
fn a_fetch_in_mid_batch_gives_the_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    produce(&mut client, "T", 0, &batch(&[b"v0", b"v1", b"v2"]));
    produce(&mut client, "T", 0, &batch(&[b"v3", b"v4"]));
    for (offset, first) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3)] {
        assert_eq!(values(&fetch(&mut client, "T", 0, offset)), numbers(first..5), "{offset}");
    }
    let end = fetch(&mut client, "T", 0, 5);
    assert_eq!((end.error_code, end.high_watermark, values(&end).len()), (0, 5, 0));
    for offset in [6, -1] {
        let beyond = fetch(&mut client, "T", 0, offset);
        assert_eq!((beyond.error_code, beyond.high_watermark), (error_code::OFFSET_OUT_OF_RANGE, -1));
    }
}

#[test]
fn limits_let_the_first_batch_through_whole_and_nothing_beyond_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 3);
    let mut client = server.client();
    let large = vec![b'x'; 5_000];
    for partition in 0..3 {
        for _ in 0..3 {
            produce(&mut client, "T", partition, &batch(&[&large]));
        }
    }
    let one = batch(&[&large]).len() as i32;
    let counts = |client: &mut Client, bytes: i32, partition_bytes: i32| -> Vec<usize> {
        let mut request = from("T", &[(0, 0), (1, 0), (2, 0)]);
        request.max_bytes = bytes;
        request.topics[0].partitions.iter_mut().for_each(|p| p.partition_max_bytes = partition_bytes);
        let response = ask!(client, fetch, 12, request);
        response.responses[0].partitions.iter().map(|p| values(p).len()).collect()
    };
    assert_eq!(counts(&mut client, 1 << 20, 1 << 20), [3, 3, 3]);
    assert_eq!(counts(&mut client, 1, 1), [1, 0, 0]);
    assert_eq!(counts(&mut client, 0, 0), [1, 0, 0]);
    assert_eq!(counts(&mut client, 1 << 20, 1), [1, 0, 0]);
    assert_eq!(counts(&mut client, 1 << 20, 2 * one), [2, 2, 2]);
    assert_eq!(counts(&mut client, 1 << 20, 2 * one - 1), [1, 1, 1]);
    assert_eq!(counts(&mut client, 4 * one, 1 << 20), [3, 1, 0]);
}

#[test]
fn a_fetch_waits_for_any_of_its_partitions_and_for_enough_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 3);
    let (mut reader, mut writer) = (server.client(), server.client());
    let long =
        |min_bytes| fetch::Request { max_wait_ms: 20_000, min_bytes, ..from("T", &[(0, 0), (1, 0), (2, 0)]) };
    let begun = Instant::now();
    let id = reader.send(12, &long(1));
    produce(&mut writer, "T", 2, &batch(&[b"v0"]));
    let body = reader.answer(keys::FETCH, 12, id);
    let response: fetch::Response<'_> = decode(12, &body);
    let counts: Vec<_> = response.responses[0].partitions.iter().map(|p| values(p).len()).collect();
    assert_eq!(counts, [0, 0, 1]);
    // Bytes of all partitions count, those that are there already too.
    let one = batch(&[b"v0"]).len() as i32;
    let id = reader.send(12, &long(3 * one));
    produce(&mut writer, "T", 0, &batch(&[b"v0"]));
    produce(&mut writer, "T", 1, &batch(&[b"v0"]));
    let body = reader.answer(keys::FETCH, 12, id);
    let response: fetch::Response<'_> = decode(12, &body);
    let counts: Vec<_> = response.responses[0].partitions.iter().map(|p| values(p).len()).collect();
    assert_eq!(counts, [1, 1, 1]);
    assert!(begun.elapsed() < Duration::from_secs(15), "it was woken, not late");
    // At the deadline what is there is the answer.
    let begun = Instant::now();
    let response = ask!(&mut reader, fetch, 12, fetch::Request { max_wait_ms: 200, ..long(4 * one) });
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(response.responses[0].partitions.iter().map(|p| values(p).len()).sum::<usize>(), 3);
    assert_eq!(server.broker.waiters(), 0);
}

#[test]
fn a_reader_that_goes_away_gives_its_places_back_and_one_that_pipelines_is_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 2);
    let long = fetch::Request { max_wait_ms: 20_000, ..from("T", &[(0, 0), (1, 0)]) };
    let mut gone = server.client();
    gone.send(12, &long);
    await_waiters(&server, 2);
    drop(gone);
    await_waiters(&server, 0);
    server.await_connections(0);
    let mut client = server.client();
    let first = client.send(12, &long);
    let second = client.send(0, &api_versions::Request::default());
    await_waiters(&server, 2);
    produce(&mut server.client(), "T", 1, &batch(&[b"v0"]));
    client.answer(keys::FETCH, 12, first);
    client.answer(keys::API_VERSIONS, 0, second);
    // Deleting a topic ends the wait for it.
    let last = client.send(12, &fetch::Request { max_wait_ms: 20_000, ..from("T", &[(0, 0)]) });
    await_waiters(&server, 1);
    drop(server.broker.delete_topic("T").unwrap());
    let body = client.answer(keys::FETCH, 12, last);
    let response: fetch::Response<'_> = decode(12, &body);
    assert_eq!(response.responses[0].partitions[0].error_code, error_code::UNKNOWN_TOPIC_OR_PARTITION);
}

fn await_waiters(server: &Server, count: usize) {
    let until = Instant::now() + crate::support::PATIENCE;
    while server.broker.waiters() != count {
        assert!(Instant::now() < until, "{} wait", server.broker.waiters());
        std::thread::yield_now();
    }
}

#[test]
fn stopping_answers_whoever_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let id = client.send(12, &fetch::Request { max_wait_ms: 20_000, ..from("T", &[(0, 0)]) });
    await_waiters(&server, 1);
    server.stop();
    client.answer(keys::FETCH, 12, id);
    assert_eq!(client.next(), None);
}

#[test]
fn pipelined_batches_keep_their_order_and_are_answered_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let mut sent = Vec::new();
    for number in 0..500 {
        let good = batch(&[format!("v{number}").as_bytes()]);
        sent.push((client.send(9, &to("T", 0, ALL, &good)), true));
        if number % 50 == 0 {
            sent.push((client.send(9, &to("T", 0, ALL, b"no batch")), false));
        }
    }
    let question = client.send(0, &api_versions::Request::default());
    let mut next = 0;
    for (id, is_good) in sent {
        let body = client.answer(keys::PRODUCE, 9, id);
        let response: produce::Response<'_> = decode(9, &body);
        let partition = &response.responses[0].partition_responses[0];
        match is_good {
            true => {
                assert_eq!((partition.error_code, partition.base_offset), (0, next));
                next += 1;
            }
            false => assert_eq!((partition.error_code, partition.base_offset), (87, -1)),
        }
    }
    client.answer(keys::API_VERSIONS, 0, question);
    assert_eq!(values(&fetch(&mut client, "T", 0, 0)), numbers(0..500));
}

#[test]
fn what_is_wrong_with_a_batch_is_said_for_its_partition_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic_with("T", 8, &[("max.message.bytes", "1000")]);
    let good = batch(&[b"v0"]);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let large = batch(&[&[b'x'; 1_000]]);
    let mut append_time = good.clone();
    set_log_append_time(&mut append_time, 5);
    let twice = [&good[..], &good].concat();
    let cases: [(&str, &[u8], i16); 9] = [
        ("good", &good, 0),
        ("nothing", b"", error_code::INVALID_RECORD),
        ("magic 1", &changed(16, 1), error_code::INVALID_RECORD),
        ("a flipped bit", &changed(good.len() - 1, 0x55), error_code::CORRUPT_MESSAGE),
        ("two batches", &twice, error_code::INVALID_RECORD),
        ("a base offset", &changed(7, 1), error_code::INVALID_RECORD),
        ("too large", &large, error_code::MESSAGE_TOO_LARGE),
        ("the broker's time", &append_time, error_code::INVALID_TIMESTAMP),
        ("cut", &good[..good.len() - 1], error_code::CORRUPT_MESSAGE),
    ];
    let partition = |(index, (_, records, _)): (i32, &(&str, &[u8], i16))| produce::RequestPartition {
        index,
        records: Some(records.to_vec().into()),
    };
    let mut request = to("T", 0, ALL, &good);
    request.topic_data[0].partition_data = (0..).zip(&cases).map(partition).collect();
    let mut client = server.client();
    let response = ask!(&mut client, produce, 9, request);
    for ((what, _, expected), found) in cases.iter().zip(&response.responses[0].partition_responses) {
        // The last one names a partition that is not there.
        let expected = if found.index == 8 { &error_code::UNKNOWN_TOPIC_OR_PARTITION } else { expected };
        assert_eq!(found.error_code, *expected, "{what}: {:?}", found.error_message);
        assert_eq!(found.error_message.is_some(), ![0, 8].contains(&found.index), "{what}");
    }
    for partition in 0..8 {
        let stored = values(&fetch(&mut client, "T", partition, 0)).len();
        assert_eq!(stored, usize::from(partition == 0), "nothing of a refused batch is stored");
    }
    let absent = ask!(&mut client, produce, 9, to("absent", 0, ALL, &good));
    assert_eq!(absent.responses[0].partition_responses[0].error_code, 3);
    let by_id = ask!(&mut client, produce, 13, to("", 0, ALL, &good));
    assert_eq!(by_id.responses[0].partition_responses[0].error_code, error_code::UNKNOWN_TOPIC_ID);
    let acks = ask!(&mut client, produce, 9, to("T", 0, 2, &good));
    assert_eq!(acks.responses[0].partition_responses[0].error_code, error_code::INVALID_REQUIRED_ACKS);
    let transaction = produce::Request { transactional_id: Some("t".into()), ..to("T", 0, ALL, &good) };
    let refused = ask!(&mut client, produce, 9, transaction);
    assert_eq!(refused.responses[0].partition_responses[0].error_code, 53);
    let delay = ask!(&mut client, produce, 9, to("SCHEDULE_TOPIC_XXXX", 0, ALL, &good));
    assert_eq!(delay.responses[0].partition_responses[0].error_code, error_code::INVALID_TOPIC_EXCEPTION);
}

#[test]
fn a_batch_that_nobody_waits_for_is_stored_without_an_answer_and_a_refused_one_closes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    client.send(9, &to("T", 0, 0, &batch(&[b"v0"])));
    let all = metadata::Request::default();
    assert_eq!(ask!(&mut client, metadata, 1, all).topics.len(), 1, "the next answer is the next request's");
    let id = client.send(12, &fetch::Request { max_wait_ms: 20_000, ..from("T", &[(0, 0)]) });
    let body = client.answer(keys::FETCH, 12, id);
    let response: fetch::Response<'_> = decode(12, &body);
    assert_eq!(values(&response.responses[0].partitions[0]), numbers(0..1));
    client.send(9, &to("T", 7, 0, &batch(&[b"v0"])));
    assert_eq!(client.next(), None);
    let mut old = server.client();
    old.send_raw(keys::PRODUCE, 2, &[]);
    assert_eq!(old.next(), None, "Produce below 3 is advertised, and closes");
    let mut old = server.client();
    old.send_raw(keys::FETCH, 3, &[]);
    assert_eq!(old.next(), None, "Fetch below 4 closes");
}

#[test]
fn every_codec_passes_through_and_zstd_needs_version_7() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 5);
    let mut client = server.client();
    for (partition, compression) in (0..).zip(Compression::ALL) {
        let head = braid_wire_kafka::batch::BatchHead { compression, ..Default::default() };
        let sent = crate::support::batch_with(head, &[b"v0", b"v1"]);
        let old = ask!(&mut client, produce, 6, to("T", partition, ALL, &sent));
        let code = old.responses[0].partition_responses[0].error_code;
        match compression {
            Compression::Zstd => {
                assert_eq!(code, error_code::UNSUPPORTED_COMPRESSION_TYPE);
                assert_eq!(produce(&mut client, "T", partition, &sent).error_code, 0);
            }
            _ => assert_eq!(code, 0),
        }
        let found = fetch(&mut client, "T", partition, 0);
        assert_eq!(values(&found), numbers(0..2), "{compression:?}");
        let stored = found.records.as_deref().unwrap();
        assert_eq!(stored[16..], sent[16..], "all but offset and epoch is the producer's");
    }
    assert_eq!(server.edge().counts().decoded_batches, 0);
}

/// A compressed batch is not unpacked, so what its head claims is all that is known.
#[test]
fn a_batch_claims_as_many_records_as_a_target_can_hold_and_no_more() {
    const MOST: i32 = braid_record::target::COUNT_MAX as i32;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let queue = server.broker.topic("T").unwrap().queue(0);
    let mut client = server.client();
    let head = braid_wire_kafka::batch::BatchHead { compression: Compression::Gzip, ..Default::default() };
    let mut claim = |count: i32| {
        let mut batch = crate::support::batch_with(head, &[b"v0"]);
        batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = BatchView::parse(&batch).unwrap().computed_crc();
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        produce(&mut client, "T", 0, &batch).error_code
    };
    assert_eq!(claim(MOST + 1), error_code::INVALID_RECORD);
    assert_eq!(server.broker.store().log_end(queue), 0);
    assert_eq!(claim(MOST), error_code::NONE);
    assert_eq!(server.broker.store().log_end(queue), MOST as u64);
}

#[test]
fn a_topic_with_the_brokers_time_stamps_its_batches() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic_with("T", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut client = server.client();
    let answer = produce(&mut client, "T", 0, &batch(&[b"v0"]));
    assert!(answer.log_append_time_ms > 1_000_000);
    let found = fetch(&mut client, "T", 0, 0);
    let view = BatchView::parse(found.records.as_deref().unwrap()).unwrap();
    assert!(view.is_log_append_time() && view.stored_crc() == view.computed_crc());
    assert_eq!(view.max_timestamp(), answer.log_append_time_ms);
}

#[test]
fn a_producers_retries_are_stored_once_and_gaps_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let mut send = |epoch, sequence, values: &[&[u8]]| {
        let answer = produce(&mut client, "T", 0, &numbered(7, epoch, sequence, values));
        (answer.error_code, answer.base_offset)
    };
    assert_eq!(send(0, 0, &[b"v0", b"v1"]), (0, 0));
    assert_eq!(send(0, 0, &[b"v0", b"v1"]), (0, 0), "a duplicate has the first offset");
    assert_eq!(send(0, 2, &[b"v2"]), (0, 2));
    assert_eq!(send(0, 4, &[b"v4"]), (error_code::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(send(1, 0, &[b"v3"]), (0, 3));
    assert_eq!(send(0, 3, &[b"v3"]), (error_code::INVALID_PRODUCER_EPOCH, -1));
    assert_eq!(values(&fetch(&mut client, "T", 0, 0)), numbers(0..4));
}

#[test]
fn a_client_that_knows_another_leader_or_a_session_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    let epoch = server.broker.store().epoch() as i32;
    for (known, expected) in [
        (-1, 0),
        (epoch, 0),
        (epoch - 1, error_code::FENCED_LEADER_EPOCH),
        (epoch + 1, error_code::UNKNOWN_LEADER_EPOCH),
    ] {
        let mut request = from("T", &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = known;
        let response = ask!(&mut client, fetch, 12, request);
        // Epoch 0 is below -1's meaning of "unknown" nowhere.
        let expected = if known < 0 { 0 } else { expected };
        assert_eq!(response.responses[0].partitions[0].error_code, expected, "{known} of {epoch}");
    }
    let wants_session = fetch::Request { session_epoch: 0, ..from("T", &[(0, 0)]) };
    let response = ask!(&mut client, fetch, 12, wants_session);
    assert_eq!((response.error_code, response.session_id, response.responses.len()), (0, 0, 1));
    let has_session = fetch::Request { session_id: 5, session_epoch: 3, ..from("T", &[(0, 0)]) };
    let response = ask!(&mut client, fetch, 12, has_session);
    assert_eq!(response.error_code, error_code::FETCH_SESSION_ID_NOT_FOUND);
    assert!(response.responses.is_empty());
}

#[test]
fn five_thousand_partitions_are_fetched_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let topics: Vec<String> = (0..5).map(|number| format!("T{number}")).collect();
    topics.iter().for_each(|topic| server.topic(topic, 1_000));
    let all: Vec<_> = (0..1_000).map(|partition| (partition, 0)).collect();
    let topics = topics.iter().flat_map(|topic| from(topic, &all).topics).collect();
    let request = fetch::Request { max_wait_ms: 20_000, topics, ..from("", &[]) };
    let mut client = server.client();
    let id = client.send(12, &request);
    await_waiters(&server, 5_000);
    produce(&mut server.client(), "T3", 777, &batch(&[b"v0"]));
    let body = client.answer(keys::FETCH, 12, id);
    let response: fetch::Response<'_> = decode(12, &body);
    let found: Vec<_> = response
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |p| (topic.topic.as_ref(), p)))
        .filter(|(_, partition)| !values(partition).is_empty())
        .map(|(topic, partition)| (topic, partition.partition_index))
        .collect();
    assert_eq!(found, [("T3", 777)]);
    await_waiters(&server, 0);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    server.topic("T", 1);
    let mut client = server.client();
    for number in 0..20 {
        produce(&mut client, "T", 0, &batch(&[format!("v{number}").as_bytes()]));
    }
    server.stop();
    let server = Server::start_with(dir.path(), options());
    let mut client = server.client();
    assert_eq!(values(&fetch(&mut client, "T", 0, 0)), numbers(0..20));
    assert_eq!(produce(&mut client, "T", 0, &batch(&[b"v20"])).base_offset, 20);
}
