//! Bytes that Apache's broker and its clients exchange, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;

use braid_wire_rocketmq::command::DecodeError;
use braid_wire_rocketmq::header::{ScanError, Scratch};
use braid_wire_rocketmq::pull::{PullHeader, PullResponse, encode_pull_response_head};
use braid_wire_rocketmq::send::{
    SendHeader, SendResponse, encode_send_response, parse_message_id, push_message_id,
};
use braid_wire_rocketmq::{Command, ExtFields, Language, RequestHead, Serialization, batch, codes};
use bytes::BytesMut;

use common::{json_frame, one_frame};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// GET_ROUTEINFO_BY_TOPIC for topic Gold, as both forms of the same request.
fn gold(serialization: Serialization) -> (Command, Vec<u8>) {
    let command = Command {
        opaque: 3,
        version: 479,
        ext_fields: ExtFields::from_iter([("topic", "Gold")]),
        serialization,
        ..Command::request(codes::request::GET_ROUTEINFO_BY_TOPIC)
    };
    let json = concat!(
        r#"{"code":105,"flag":0,"language":"JAVA","opaque":3,"serializeTypeCurrentRPC":"JSON","#,
        r#""version":479,"extFields":{"topic":"Gold"}}"#
    );
    let wire = match serialization {
        Serialization::Json => [&hex("00000082 0000007e")[..], json.as_bytes()].concat(),
        Serialization::Rocketmq => hex("00000028 01000024 0069 00 01df 00000003 00000000 00000000
            0000000f 0005 746f706963 00000004 476f6c64"),
    };
    (command, wire)
}

#[test]
fn a_request_in_both_forms() {
    for serialization in [Serialization::Json, Serialization::Rocketmq] {
        let (command, wire) = gold(serialization);
        let mut out = BytesMut::new();
        command.encode(&mut out).unwrap();
        assert_eq!(out, wire);
        assert_eq!(Command::decode(&one_frame(&wire)).unwrap(), command);
    }
}

#[test]
fn answers_mirror_the_request_s_form() {
    for serialization in [Serialization::Json, Serialization::Rocketmq] {
        let (request, _) = gold(serialization);
        let answer =
            Command::response_to(&request, codes::response::TOPIC_NOT_EXIST, Some("no \"Gold\"\n".into()));
        let mut out = BytesMut::new();
        answer.encode(&mut out).unwrap();
        let read = Command::decode(&one_frame(&out)).unwrap();
        assert_eq!(
            (read.serialization, read.opaque, read.is_response(), read.is_oneway()),
            (serialization, 3, true, false)
        );
        assert_eq!(
            (read.code, read.remark.as_deref(), read.language),
            (17, Some("no \"Gold\"\n"), Language::Java)
        );
    }
}

#[test]
fn the_dialect_of_headers() {
    let command = Command::decode(&json_frame(
        " { 'opaque' : -7 , , version:\"63\", unknown:{\"a\":[1,\"}\"]}, body:null, language:'KLINGON',
            extFields : {n:1.50,\"t\":true,'q':'it\\'s',\"o\":{\"x\":[1]},z:null,\"u\":\"\\u4e2d\\u0001\",\"u\":\"2nd\"},
            \"remark\":null, code:10, } \n",
    ))
    .unwrap();
    assert_eq!((command.code, command.opaque, command.version, command.flag), (10, -7, 63, 0));
    assert_eq!((command.language, command.remark), (Language::Other, None));
    let expected = [("n", "1.50"), ("t", "true"), ("q", "it's"), ("o", "{\"x\":[1]}"), ("u", "2nd")];
    assert_eq!(command.ext_fields, ExtFields::from_iter(expected));
    let by_number = |number: &str| {
        Command::decode(&json_frame(&format!("{{\"language\":{number}}}"))).map(|c| c.language)
    };
    assert_eq!(by_number("12"), Ok(Language::Rust));
    assert_eq!(by_number("14"), Err(DecodeError::UnknownLanguage { code: 14 }));
    assert_eq!(by_number("-1"), Err(DecodeError::UnknownLanguage { code: -1 }));
}

#[test]
fn headers_that_close_the_connection() {
    let fields = |count: usize| format!("{{\"extFields\":{{{}}}}}", "a:1,".repeat(count));
    let deep = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        ("", DecodeError::Json { at: 0 }),
        ("[]", DecodeError::Json { at: 0 }),
        ("{", DecodeError::Json { at: 1 }),
        ("{\"code\":1", DecodeError::Json { at: 9 }),
        ("{\"code\":1}{", DecodeError::Json { at: 10 }),
        ("{\"remark\":\"abc}", DecodeError::Json { at: 15 }),
        ("{\"remark\":\"abc\\", DecodeError::Json { at: 15 }),
        ("{\"remark\":\"\\u00\"}", DecodeError::BadEscape),
        ("{\"extFields\":{\"a\":\"\\q\"}}", DecodeError::BadEscape),
        ("{\"code\":\"x\"}", DecodeError::NotANumber { field: "code" }),
        ("{\"opaque\":4294967296}", DecodeError::NotANumber { field: "opaque" }),
        ("{\"extFields\":[]}", DecodeError::FieldsNotAMap),
        (&fields(257), DecodeError::TooManyFields),
        (&deep(65), DecodeError::Json { at: 69 }),
    ];
    for (header, expected) in cases {
        assert_eq!(Command::decode(&json_frame(header)), Err(expected), "{header}");
    }
    assert!(Command::decode(&json_frame(&fields(256))).is_ok());
    assert!(Command::decode(&json_frame(&deep(64))).is_ok());
}

#[test]
fn binary_headers_cut_anywhere_are_refused() {
    let (_, wire) = gold(Serialization::Rocketmq);
    let mut frame = one_frame(&wire);
    let whole = frame.header.clone();
    for end in 0..whole.len() {
        frame.header = whole.slice(..end);
        assert_eq!(Command::decode(&frame), Err(DecodeError::Truncated), "cut at {end}");
    }
}

#[test]
fn what_does_not_fit_into_a_frame_is_not_written() {
    use braid_wire_rocketmq::command::EncodeError;
    let pop =
        Command { serialization: Serialization::Rocketmq, ..Command::request(codes::request::POP_MESSAGE) };
    let mut long = Command::request(1);
    long.remark = Some("x".repeat(1 << 24));
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(pop.encode(&mut out), Err(EncodeError::Beyond16Bits { what: "code", value: 200_050 }));
    assert!(matches!(long.encode(&mut out), Err(EncodeError::HeaderTooLong { .. })));
    let small = Command::request(1);
    let mut probe = BytesMut::new();
    small.encode(&mut probe).unwrap();
    let room = (16 << 20) - probe.len();
    assert_eq!(
        small.encode_head(room + 1, &mut out),
        Err(EncodeError::FrameTooLong { bytes: (16 << 20) + 1 })
    );
    assert_eq!(out, &b"before"[..], "nothing is left of a frame that failed");
    assert_eq!(small.encode_head(room, &mut out), Ok(()), "the limit itself fits");
}

const SEND_V2: &str = concat!(
    r#"{"code":310,"extFields":{"a":"pg1","b":"CapT","c":"TBW102","d":"4","e":"3","f":"0","g":"1795303057882","h":"0","#,
    r#""i":"a\u00017\u0002KEYS\u0001sq\u0002UNIQ_KEY\u0001FD00000000000000000000000000000243945FFD2B276BFEC1DA000D\u0002WAIT\u0001true\u0002"#,
    r#"TAGS\u0001TagA\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":62,"#,
    r#""serializeTypeCurrentRPC":"JSON","version":479}"#
);

#[test]
fn a_java_send_header() {
    let frame = json_frame(SEND_V2);
    let mut scratch = Scratch::default();
    // Twice, because the memory is used again.
    for _ in 0..2 {
        let header = SendHeader::scan(&frame, &mut scratch).unwrap();
        assert_eq!(
            header,
            SendHeader {
                head: RequestHead {
                    code: 310,
                    language: Language::Java,
                    version: 479,
                    opaque: 62,
                    flag: 0,
                    serialization: Serialization::Json,
                },
                producer_group: "pg1",
                topic: "CapT",
                default_topic: "TBW102",
                default_topic_queue_nums: 4,
                queue_id: 3,
                sys_flag: 0,
                born_timestamp: 1_795_303_057_882,
                flag: 0,
                properties: "a\u{1}7\u{2}KEYS\u{1}sq\u{2}UNIQ_KEY\u{1}FD00000000000000000000000000000243945FFD2B276BFEC1DA000D\u{2}\
                             WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
                reconsume_times: 0,
                unit_mode: false,
                batch: false,
                max_reconsume_times: None,
                broker_name: Some("broker-a"),
            }
        );
    }
}

#[test]
fn send_and_pull_headers_name_what_is_wrong() {
    let mut scratch = Scratch::default();
    let send = |from: &str, to: &str, scratch: &mut Scratch| match SendHeader::scan(
        &json_frame(&SEND_V2.replace(from, to)),
        scratch,
    ) {
        Err(ScanError::Field { head, error }) => (head.opaque, error.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        send(r#""b":"CapT","#, "", &mut scratch),
        (62, "the request header has no field topic".into())
    );
    assert_eq!(
        send(r#""e":"3""#, r#""e":"3x""#, &mut scratch),
        (62, "the request header's field queueId has the invalid value '3x'".into())
    );
    let unreadable = json_frame(&SEND_V2.replace("\\u0001", "\\q"));
    assert_eq!(
        SendHeader::scan(&unreadable, &mut scratch),
        Err(ScanError::Unreadable(DecodeError::BadEscape))
    );
    let pull =
        json_frame(r#"{"code":11,"opaque":5,"extFields":{"consumerGroup":"g","topic":"t","queueId":0}}"#);
    assert_eq!(
        PullHeader::scan(&pull, &mut scratch).unwrap_err().to_string(),
        "the request header has no field queueOffset"
    );
}

#[test]
fn a_send_s_answer() {
    let mut out = BytesMut::new();
    let head = RequestHead {
        code: 310,
        language: Language::Go,
        version: 317,
        opaque: -62,
        flag: 0,
        serialization: Serialization::Json,
    };
    let answer = SendResponse {
        code: 0,
        remark: None,
        message_id: "7F00000100002A9F0000000000001452",
        queue_id: 3,
        queue_offset: i64::MAX,
        transaction_id: Some("FD"),
        region_id: "DefaultRegion",
        trace_on: true,
    };
    encode_send_response(&mut out, &head, &answer).unwrap();
    let text = concat!(
        r#"{"code":0,"flag":1,"language":"JAVA","opaque":-62,"serializeTypeCurrentRPC":"JSON","version":493,"extFields":{"#,
        r#""queueId":"3","transactionId":"FD","msgId":"7F00000100002A9F0000000000001452","TRACE_ON":"true","#,
        r#""MSG_REGION":"DefaultRegion","queueOffset":"9223372036854775807"}}"#
    );
    assert_eq!(one_frame(&out).header, text);
}

#[test]
fn a_pull_s_answer_leaves_room_for_records() {
    for serialization in [Serialization::Json, Serialization::Rocketmq] {
        let head = RequestHead { serialization, ..gold(serialization).0.head() };
        let answer = PullResponse {
            code: codes::response::SUCCESS,
            remark: Some("FOUND"),
            suggest_which_broker_id: 0,
            next_begin_offset: 3,
            min_offset: 0,
            max_offset: 4,
            topic_sys_flag: 0,
            group_sys_flag: 0,
        };
        let mut out = BytesMut::new();
        encode_pull_response_head(&mut out, &head, &answer, 7).unwrap();
        out.extend_from_slice(b"records");
        let read = Command::decode(&one_frame(&out)).unwrap();
        assert_eq!((read.remark.as_deref(), &read.body[..]), (Some("FOUND"), &b"records"[..]));
        let expected = [
            ("suggestWhichBrokerId", "0"),
            ("nextBeginOffset", "3"),
            ("minOffset", "0"),
            ("maxOffset", "4"),
            ("topicSysFlag", "0"),
            ("groupSysFlag", "0"),
        ];
        assert_eq!(read.ext_fields, ExtFields::from_iter(expected));
    }
}

#[test]
fn message_ids() {
    let cases = [
        ("127.0.0.1:10911", 0x0624_8af0, "7F00000100002A9F0000000006248AF0"),
        ("[fd00::2]:1", u64::MAX, "FD00000000000000000000000000000200000001FFFFFFFFFFFFFFFF"),
    ];
    for (address, position, id) in cases {
        let address: SocketAddr = address.parse().unwrap();
        let mut out = String::new();
        push_message_id(&mut out, address, position);
        assert_eq!(out, id);
        assert_eq!(parse_message_id(id), Some((address, position)));
        assert_eq!(parse_message_id(&id.to_lowercase()), Some((address, position)));
    }
    for bad in ["", "7F", "7F00000100002A9F0000000006248AFX", "7F00000100012A9F0000000006248AF0"] {
        assert_eq!(parse_message_id(bad), None, "{bad}");
    }
}

#[test]
fn a_batch_entry() {
    let properties =
        format!("KEYS\u{1}b0\u{2}UNIQ_KEY\u{1}{}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}", "F".repeat(56));
    let mut out = Vec::new();
    batch::push_entry(
        &mut out,
        &batch::Entry { flag: 0, body: b"batch0", properties: properties.as_bytes() },
    );
    let expected = hex("0000007a 00000000 00000000 00000000 00000006 626174636830 005e");
    assert_eq!(out, [&expected[..], properties.as_bytes()].concat());
}
