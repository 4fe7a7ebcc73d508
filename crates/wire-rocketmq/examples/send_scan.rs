//! The question: how many nanoseconds does the header of a Java client's send cost, read by the send path's reader and by the general
//! one, and its answer written? No disk is involved, so nothing here says anything about durability.
//!
//! `cargo run --release -p braid-wire-rocketmq --example send_scan`

use std::hint::black_box;
use std::time::Instant;

use braid_wire_rocketmq::header::Scratch;
use braid_wire_rocketmq::send::{SendHeader, SendResponse, encode_send_response};
use braid_wire_rocketmq::{Command, Frame, Serialization, frame};
use bytes::{Bytes, BytesMut};

const HEADER: &str = concat!(
    r#"{"code":310,"extFields":{"a":"pg1","b":"CapT","c":"TBW102","d":"4","e":"3","f":"0","g":"1795303057882","h":"0","#,
    r#""i":"KEYS\u0001sq\u0002UNIQ_KEY\u0001FD00000000000000000000000000000243945FFD2B276BFEC1DA000D\u0002WAIT\u0001true\u0002"#,
    r#"TAGS\u0001TagA\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":62,"#,
    r#""serializeTypeCurrentRPC":"JSON","version":479}"#
);
/// Short enough that most runs are not interrupted.
const ROUNDS: u32 = 2_000;
const RUNS: u32 = 1_000;

/// Prints the best of all runs: what the code costs when nothing disturbs it.
fn measure(what: &str, mut once: impl FnMut()) {
    let run = |once: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| once());
        start.elapsed() / ROUNDS
    };
    let best = (0..RUNS).map(|_| run(&mut once)).min().unwrap_or_default();
    println!("{what:<44} {best:>8.0?}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = Frame {
        serialization: Serialization::Json,
        header: Bytes::from_static(HEADER.as_bytes()),
        body: Bytes::new(),
    };
    let mut wire = BytesMut::new();
    Command { serialization: Serialization::Rocketmq, ..Command::decode(&json)? }.encode(&mut wire)?;
    let binary = frame::next(&mut wire, &frame::Limits::default())?.ok_or("half a frame")?;

    println!("a send's header of {} bytes in JSON, {} in binary", json.header.len(), binary.header.len());
    let mut scratch = Scratch::default();
    for (form, frame) in [("JSON", &json), ("binary", &binary)] {
        measure(&format!("{form}: SendHeader::scan"), || {
            black_box(SendHeader::scan(black_box(frame), &mut scratch)).ok();
        });
        measure(&format!("{form}: Command::decode"), || {
            black_box(Command::decode(black_box(frame))).ok();
        });
    }
    let head = SendHeader::scan(&json, &mut scratch)?.head;
    let answer = SendResponse {
        code: 0,
        remark: None,
        message_id: "7F00000100002A9F0000000000001452",
        queue_id: 3,
        queue_offset: 123_456_789,
        transaction_id: Some("FD00000000000000000000000000000243945FFD2B276BFEC1DA000D"),
        region_id: "DefaultRegion",
        trace_on: true,
    };
    let mut out = BytesMut::new();
    measure("JSON: encode_send_response", || {
        out.clear();
        encode_send_response(&mut out, black_box(&head), black_box(&answer)).ok();
    });
    Ok(())
}
