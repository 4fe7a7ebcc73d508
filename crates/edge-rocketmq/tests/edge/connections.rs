//! Connections that misbehave, and the end of all of them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use braid_edge_rocketmq::EdgeOptions;
use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::request;

use crate::support::{Client, Server, message, number, options, pull, records, until};

fn route_of_template() -> Command {
    crate::support::request(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")])
}

/// Sends bytes and expects the connection to be closed without an answer.
fn closes(mut client: Client, bytes: &[u8]) {
    client.stream.write_all(bytes).unwrap();
    assert!(client.next().is_none());
}

#[test]
fn garbage_closes_its_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut witness = server.client();
    let frame =
        |length: u32, word: u32, rest: &[u8]| [&length.to_be_bytes()[..], &word.to_be_bytes(), rest].concat();
    let cases = [
        ("a frame above the limit", frame((16 << 20) + 1, 0, b"")),
        ("a negative length", frame(u32::MAX, 0, b"")),
        ("too short a frame", frame(3, 0, b"")),
        ("an unknown type", frame(20, 7 << 24, b"")),
        ("a header beyond its frame", frame(10, 100, b"")),
        ("a header that is no JSON", frame(4 + 9, 9, b"{\"code\":?")),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        closes(server.client(), &bytes);
    }
    witness.produce("T", 0, "still served", "");
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    let mut out = bytes::BytesMut::new();
    Command { opaque: 1, ..message("T", 0, b"slow", "") }.encode(&mut out).unwrap();
    for byte in &out[..out.len() - 1] {
        client.stream.write_all(&[*byte]).unwrap();
    }
    // The last byte comes with the whole of the next frame.
    let mut rest = vec![out[out.len() - 1]];
    rest.extend_from_slice(&out);
    client.stream.write_all(&rest).unwrap();
    assert_eq!((client.next().unwrap().code, client.next().unwrap().code), (0, 0));
}

#[test]
fn silent_and_stuck_connections_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let quick = EdgeOptions { idle_ms: 400, stalled_ms: 200, ..options() };
    let server = Server::start_with(dir.path(), quick);
    let start = Instant::now();
    let mut idle = server.client();
    let mut stuck = server.client();
    stuck.stream.write_all(&[0, 0, 1, 0, 0]).unwrap();
    assert!(stuck.next().is_none());
    let stuck_after = start.elapsed();
    assert!(idle.next().is_none());
    assert!(stuck_after >= Duration::from_millis(200) && start.elapsed() >= Duration::from_millis(400));
    until("closing", || server.connections() == 0);
}

#[test]
fn a_client_that_takes_no_answers_is_not_read_and_then_closed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), EdgeOptions { stalled_ms: 1_000, ..options() });
    let mut producer = server.client();
    producer.produce("T", 0, &"x".repeat(200_000), "");
    let mut greedy = server.client();
    greedy.stream.set_nonblocking(true).unwrap();
    let mut frame = bytes::BytesMut::new();
    pull("g", "T", 0, 0, "*", 0).encode(&mut frame).unwrap();
    // It asks until the broker stops reading it, and takes nothing.
    let end = Instant::now() + crate::support::PATIENCE;
    let mut asked = 0;
    let closed = loop {
        assert!(Instant::now() < end, "it was never closed");
        match greedy.stream.write(&frame) {
            Ok(count) => asked += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => break true,
        }
    };
    assert!(closed && asked > frame.len());
    producer.produce("T", 0, "others are served", "");
}

#[test]
fn connections_above_the_limit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), EdgeOptions { connections_max: 2, ..options() });
    let (mut first, mut second) = (server.client(), server.name_server());
    first.produce("T", 0, "m", "");
    assert_eq!(second.ask(route_of_template()).code, 0);
    assert!(server.client().next().is_none());
    drop(second);
    until("room", || server.connections() == 1);
    server.client().produce("T", 0, "m", "");
}

#[test]
fn an_answer_waits_for_a_half_closed_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut client = server.client();
    client.produce("T", 0, "m", "");
    let opaque = client.send(pull("g", "T", 0, 0, "*", 0));
    assert_eq!(records(&client.answer(opaque).body).len(), 1);
    client.stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn stopping_answers_what_waits_and_sends_clients_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut parked = server.client();
    parked.produce("T", 0, "m", "");
    let waiting = parked.send(pull("g", "T", 0, 1, "*", 60_000));
    until("parking", || server.broker.waiters() == 1);
    let mut old = server.client();
    let mut sender = server.client();
    sender.produce("T", 1, "m", "");
    old.produce("T", 1, "m", "");
    let clients = std::thread::spawn(move || {
        let parked_answer = parked.answer(waiting);
        let again = parked.ask(pull("g", "T", 0, 1, "*", 60_000));
        let sent = sender.ask(message("T", 0, b"late", ""));
        let old = old.ask(Command { version: 373, ..message("T", 0, b"late", "") });
        (parked_answer, again, sent, old, parked.next().is_none())
    });
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
    let (parked, again, sent, old, closed) = clients.join().unwrap();
    assert_eq!((parked.code, number(&parked, "nextBeginOffset")), (19, 1));
    assert_eq!((again.code, sent.code, old.code, closed), (1500, 1500, 14, true));
}
