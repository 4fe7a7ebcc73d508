//! Replays frames of official clients: every header and body is read, and what is written back says the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use braid_wire_rocketmq::body::{
    Body, CheckClient, ConsumeType, ConsumerList, HeartbeatData, LockBatch, LockedBatch, MessageModel,
    TopicRouteData,
};
use braid_wire_rocketmq::fastjson::NumberKeys;
use braid_wire_rocketmq::header::{self, Scratch};
use braid_wire_rocketmq::pull::PullHeader;
use braid_wire_rocketmq::send::SendHeader;
use braid_wire_rocketmq::{Command, ExtFields, Language, Serialization, batch, command};
use bytes::BytesMut;

use common::{Recorded, one_frame, recorded};

fn decode(recorded: &Recorded) -> Command {
    Command::decode(&one_frame(&recorded.wire())).unwrap()
}

fn reencode(command: &Command) -> Command {
    let mut wire = BytesMut::new();
    command.encode(&mut wire).unwrap();
    Command::decode(&one_frame(&wire)).unwrap()
}

#[test]
fn headers_say_what_another_json_reader_reads() {
    let frames = recorded();
    assert!(frames.len() > 50, "only {} frames", frames.len());
    for recorded in frames {
        let ours = decode(&recorded);
        let theirs: serde_json::Value = serde_json::from_str(&recorded.header).unwrap();
        assert_eq!(theirs["code"], ours.code);
        assert_eq!(theirs["flag"], ours.flag);
        assert_eq!(theirs["opaque"], ours.opaque);
        assert_eq!(theirs["version"], ours.version);
        assert_eq!(theirs["language"], ours.language.name());
        assert_eq!(theirs["remark"].as_str(), ours.remark.as_deref());
        let fields: ExtFields = theirs["extFields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect();
        assert_eq!(fields, ours.ext_fields);
        assert_eq!(ours.body, recorded.body);
        assert_eq!(command::peek_code(&one_frame(&recorded.wire())), Ok(ours.code));
        assert_eq!(command::peek_head(&one_frame(&recorded.wire())), Ok(ours.head()));
    }
}

#[test]
fn frames_survive_both_forms() {
    for recorded in recorded() {
        let command = decode(&recorded);
        assert_eq!(reencode(&command), command);

        // The binary form has no empty texts: they are absent ones.
        let mut expected = Command { serialization: Serialization::Rocketmq, ..command };
        expected.remark = expected.remark.filter(|remark| !remark.is_empty());
        let fields = expected.ext_fields.iter().filter(|(_, value)| !value.is_empty());
        expected.ext_fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(reencode(&expected), expected);
    }
}

#[test]
fn the_fast_readers_agree_with_the_general_one() {
    let (mut sends, mut pulls) = (0, 0);
    for recorded in recorded().iter().filter(|recorded| recorded.is_from_client) {
        let mut command = decode(recorded);
        for serialization in [Serialization::Json, Serialization::Rocketmq] {
            command.serialization = serialization;
            let mut wire = BytesMut::new();
            command.encode(&mut wire).unwrap();
            let frame = one_frame(&wire);
            match recorded.code {
                10 | 310 | 320 => {
                    sends += 1;
                    assert_eq!(
                        long_send(&command),
                        fast_send(&SendHeader::scan(&frame, &mut Scratch::default()).unwrap())
                    );
                }
                11 | 361 => {
                    pulls += 1;
                    let slow = header::PullMessage::from_ext_fields(&command.ext_fields).unwrap();
                    let fast = fast_pull(&PullHeader::scan(&frame, &mut Scratch::default()).unwrap());
                    // An empty text is an absent one in the binary form.
                    let subscription = slow
                        .subscription
                        .filter(|text| serialization == Serialization::Json || !text.is_empty());
                    assert_eq!(header::PullMessage { subscription, ..slow }, fast);
                }
                _ => {}
            }
        }
    }
    assert!(sends >= 10 && pulls >= 6, "{sends} sends and {pulls} pulls");
}

/// The send header in its long form, whichever names it came in.
fn long_send(command: &Command) -> header::SendMessage {
    if command.code == 10 {
        return header::SendMessage::from_ext_fields(&command.ext_fields).unwrap();
    }
    let short = header::SendMessageV2::from_ext_fields(&command.ext_fields).unwrap();
    header::SendMessage {
        producer_group: short.producer_group,
        topic: short.topic,
        default_topic: short.default_topic,
        default_topic_queue_nums: short.default_topic_queue_nums,
        queue_id: short.queue_id,
        sys_flag: short.sys_flag,
        born_timestamp: short.born_timestamp,
        flag: short.flag,
        properties: Some(short.properties.unwrap_or_default()),
        reconsume_times: short.reconsume_times,
        unit_mode: short.unit_mode,
        batch: short.batch,
        max_reconsume_times: short.max_reconsume_times,
        broker_name: short.broker_name,
    }
}

fn fast_send(header: &SendHeader<'_>) -> header::SendMessage {
    header::SendMessage {
        producer_group: header.producer_group.into(),
        topic: header.topic.into(),
        default_topic: header.default_topic.into(),
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(header.properties.into()),
        reconsume_times: Some(header.reconsume_times),
        unit_mode: Some(header.unit_mode),
        batch: Some(header.batch),
        max_reconsume_times: header.max_reconsume_times,
        broker_name: header.broker_name.map(Into::into),
    }
}

fn fast_pull(header: &PullHeader<'_>) -> header::PullMessage {
    header::PullMessage {
        consumer_group: header.consumer_group.into(),
        topic: header.topic.into(),
        queue_id: header.queue_id,
        queue_offset: header.queue_offset,
        max_msg_nums: header.max_msg_nums,
        sys_flag: header.sys_flag,
        commit_offset: header.commit_offset,
        suspend_timeout_millis: header.suspend_timeout_millis,
        subscription: header.subscription.map(Into::into),
        sub_version: header.sub_version,
        expression_type: header.expression_type.map(Into::into),
        max_msg_bytes: header.max_msg_bytes,
        broker_name: header.broker_name.map(Into::into),
    }
}

/// Reads `body` and writes it again; what Java wrote has to come out byte for byte.
fn same_bytes<T: Body>(recorded: &Recorded, number_keys: NumberKeys) -> T {
    let body = T::decode(&recorded.body).unwrap();
    assert_eq!(body.encode_with(number_keys), recorded.body, "{}", String::from_utf8_lossy(&recorded.body));
    body
}

#[test]
fn java_bodies_come_out_byte_for_byte() {
    let mut seen = Vec::new();
    for recorded in recorded() {
        let command = decode(&recorded);
        if command.language != Language::Java || recorded.body.is_empty() {
            continue;
        }
        match (recorded.code, recorded.is_from_client) {
            (34, true) => drop(same_bytes::<HeartbeatData>(&recorded, NumberKeys::Quoted)),
            (38, false) => drop(same_bytes::<ConsumerList>(&recorded, NumberKeys::Quoted)),
            (41 | 42, true) => drop(same_bytes::<LockBatch>(&recorded, NumberKeys::Quoted)),
            (41, false) => drop(same_bytes::<LockedBatch>(&recorded, NumberKeys::Quoted)),
            (46, true) => drop(same_bytes::<CheckClient>(&recorded, NumberKeys::Quoted)),
            // Apache answers clients before 4.9.4 with bare number keys.
            (105, false) => {
                let quoted = recorded.body.windows(2).any(|pair| pair == b"{\"0"[1..].as_ref());
                drop(same_bytes::<TopicRouteData>(
                    &recorded,
                    if quoted { NumberKeys::Quoted } else { NumberKeys::Bare },
                ));
            }
            _ => continue,
        }
        seen.push(recorded.code);
    }
    for code in [34, 38, 41, 42, 46, 105] {
        assert!(seen.contains(&code), "no recorded body of {code}");
    }
}

#[test]
fn the_cpp_client_s_heartbeat_is_understood() {
    let beat = recorded().into_iter().find(|recorded| recorded.code == 34 && recorded.header.contains("CPP"));
    let body = HeartbeatData::decode(&beat.expect("a heartbeat of the C++ client").body).unwrap();
    let group = &body.consumer_data_set[0];
    assert_eq!(group.consume_type, Some(ConsumeType::Passively), "given as ordinal 1");
    assert_eq!(group.message_model, Some(MessageModel::Clustering), "given as ordinal 1");
    assert_eq!(group.subscription_data_set[0].expression_type, "TAG", "not given at all");
    assert!(group.subscription_data_set[0].sub_version > 0, "given as a string");
}

#[test]
fn recorded_batches_split() {
    let bodies = |recorded: &Recorded| {
        let entries: Vec<_> = batch::entries(&recorded.body).map(Result::unwrap).collect();
        let mut again = Vec::new();
        entries.iter().for_each(|entry| batch::push_entry(&mut again, entry));
        assert_eq!(again, recorded.body);
        entries.len()
    };
    let counts: Vec<_> =
        recorded().iter().filter(|frame| frame.code == 320 && frame.is_from_client).map(bodies).collect();
    assert_eq!(counts, [3, 2], "three from Java, two from Go");
}
