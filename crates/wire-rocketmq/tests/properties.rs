//! Whatever is written is read back the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use braid_wire_rocketmq::batch::{self, Entry};
use braid_wire_rocketmq::fastjson::{self, Value, Writer};
use braid_wire_rocketmq::header::{Scratch, SendMessage, SendMessageV2};
use braid_wire_rocketmq::send::SendHeader;
use braid_wire_rocketmq::{Command, ExtFields, Language, Serialization};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use common::one_frame;

/// Any text, with what needs escapes more often than chance has it.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![Just('"'), Just('\\'), Just('\u{1}'), Just('\u{2}'), Just('\''), any::<char>()],
        0..20,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

fn ext_fields() -> impl Strategy<Value = ExtFields> {
    prop::collection::vec(("[a-zA-Z_]{1,12}", text()), 0..12).prop_map(ExtFields::from_iter)
}

prop_compose! {
    fn commands()(
        code in any::<i16>(),
        language in 0..14u8,
        version in any::<i16>(),
        opaque in any::<i32>(),
        flag in any::<i32>(),
        remark in prop::option::of(text()),
        ext_fields in ext_fields(),
        body in prop::collection::vec(any::<u8>(), 0..50),
    ) -> Command {
        Command {
            code: code.into(),
            language: Language::from_code(language).expect("14 languages"),
            version: version.into(),
            opaque,
            flag,
            remark,
            ext_fields,
            body: Bytes::from(body),
            serialization: Serialization::Json,
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("JSON has no such number", |number| number.is_finite())
            .prop_map(Value::Float),
        text().prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            "[a-z ]{0,6}".prop_map(Value::Text),
            prop::collection::vec(("[a-z]{1,3}".prop_map(Value::Text), inner.clone()), 1..3)
                .prop_map(Value::Map),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((key, inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn reencode(command: &Command) -> Command {
    let mut wire = BytesMut::new();
    command.encode(&mut wire).unwrap();
    Command::decode(&one_frame(&wire)).unwrap()
}

proptest! {
    #[test]
    fn commands_survive_json(command in commands()) {
        prop_assert_eq!(reencode(&command), command);
    }

    #[test]
    fn commands_survive_the_binary_form(mut command in commands()) {
        command.serialization = Serialization::Rocketmq;
        command.remark = command.remark.filter(|remark| !remark.is_empty());
        let fields: Vec<_> = command.ext_fields.iter().filter(|(_, value)| !value.is_empty()).collect();
        command.ext_fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        prop_assert_eq!(reencode(&command), command);
    }

    #[test]
    fn values_survive(value in values()) {
        let mut writer = Writer::default();
        writer.value(&value);
        let text = writer.finish();
        prop_assert_eq!(fastjson::parse(text.as_bytes()), Ok(value));
    }

    #[test]
    fn batches_survive(parts in prop::collection::vec((any::<i32>(), prop::collection::vec(any::<u8>(), 0..40), text()), 0..10)) {
        let entries: Vec<_> = parts.iter()
            .map(|(flag, body, properties)| Entry { flag: *flag, body, properties: properties.as_bytes() })
            .collect();
        let mut body = Vec::new();
        entries.iter().for_each(|entry| batch::push_entry(&mut body, entry));
        let read: Result<Vec<_>, _> = batch::entries(&body).collect();
        prop_assert_eq!(read, Ok(entries));
    }

    #[test]
    fn send_headers_survive(
        texts in prop::array::uniform4(text()),
        numbers in any::<[i32; 5]>(),
        born_timestamp in any::<i64>(),
        properties in text(),
        truths in any::<[bool; 2]>(),
        short in any::<bool>(),
    ) {
        let [producer_group, topic, default_topic, broker_name] = texts;
        let header = SendMessageV2 {
            producer_group, topic, default_topic, born_timestamp,
            default_topic_queue_nums: numbers[0], queue_id: numbers[1], sys_flag: numbers[2], flag: numbers[3],
            properties: Some(properties), reconsume_times: Some(numbers[4]), unit_mode: Some(truths[0]),
            max_reconsume_times: None, batch: Some(truths[1]), broker_name: Some(broker_name),
        };
        let long = SendMessage {
            producer_group: header.producer_group.clone(), topic: header.topic.clone(), default_topic: header.default_topic.clone(),
            default_topic_queue_nums: numbers[0], queue_id: numbers[1], sys_flag: numbers[2], flag: numbers[3], born_timestamp,
            properties: header.properties.clone(), reconsume_times: Some(numbers[4]), unit_mode: Some(truths[0]),
            max_reconsume_times: None, batch: Some(truths[1]), broker_name: header.broker_name.clone(),
        };
        let mut command = Command::request(if short { 310 } else { 10 });
        command.ext_fields = if short { header.to_ext_fields() } else { long.to_ext_fields() };
        let mut wire = BytesMut::new();
        command.encode(&mut wire).unwrap();
        let frame = one_frame(&wire);
        let mut scratch = Scratch::default();
        let read = SendHeader::scan(&frame, &mut scratch).unwrap();
        prop_assert_eq!(read.head, command.head());
        prop_assert_eq!((read.producer_group, read.topic, read.default_topic), (&*header.producer_group, &*header.topic, &*header.default_topic));
        prop_assert_eq!((read.properties, read.broker_name), (long.properties.as_deref().unwrap(), header.broker_name.as_deref()));
        prop_assert_eq!([read.default_topic_queue_nums, read.queue_id, read.sys_flag, read.flag, read.reconsume_times], numbers);
        prop_assert_eq!((read.born_timestamp, [read.unit_mode, read.batch]), (born_timestamp, truths));
    }
}
