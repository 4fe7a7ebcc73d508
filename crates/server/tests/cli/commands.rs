//! The client commands against a broker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use crate::support::{Broker, Outcome, braidmq, run};
use serde_json::{Value, json};

fn bodies(out: &str) -> Vec<String> {
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_message_comes_back_with_all_that_was_said_about_it() {
    let broker = Broker::start();
    let sent = broker
        .call(&[
            "produce",
            "Gold",
            "-m",
            "hello",
            "-k",
            "k1",
            "-k",
            "k2",
            "-t",
            "A",
            "-p",
            "colour=blue",
            "-o",
            "json",
        ])
        .json();
    let (sent, id) = (&sent[0], sent[0]["id"].as_str().expect("an id"));
    assert_eq!((sent["status"].as_str(), sent["offset"].as_i64()), (Some("SEND_OK"), Some(0)));
    let read = broker.call(&["consume", "Gold", "-o", "json"]).json();
    let message = &read[0];
    assert_eq!(read.as_array().map(Vec::len), Some(1));
    for (member, expected) in [
        ("topic", json!("Gold")),
        ("broker", json!("braidmq")),
        ("queue", sent["queue"].clone()),
        ("offset", json!(0)),
        ("id", json!(id)),
        ("unique_key", sent["unique_key"].clone()),
        ("tag", json!("A")),
        ("keys", json!(["k1", "k2"])),
        ("body", json!("hello")),
        ("body_base64", Value::Null),
        ("reconsume_times", json!(0)),
    ] {
        assert_eq!(message[member], expected, "{member}");
    }
    assert_eq!(message["properties"]["colour"], "blue");

    let got = broker.call(&["message", "get", id, "-o", "json"]).json();
    assert_eq!(got, *message);
    for found in [
        broker.call(&["message", "find", "Gold", "--key", "k2", "-o", "json"]).json(),
        broker
            .call(&[
                "message",
                "find",
                "Gold",
                "--unique-key",
                sent["unique_key"].as_str().expect("text"),
                "-o",
                "json",
            ])
            .json(),
    ] {
        assert_eq!(found, json!([message]));
    }
    let mut absent = id.to_owned();
    absent.replace_range(31.., if id.ends_with('0') { "1" } else { "0" });
    for args in [
        &["message", "get", &absent, "-o", "json"][..],
        &["message", "find", "Gold", "--key", "k3", "-o", "json"],
        &["message", "find", "Gold", "--unique-key", "k1", "-o", "json"],
        &["message", "find", "Nope", "--key", "k1", "-o", "json"],
    ] {
        let outcome = broker.call(args);
        assert_eq!((outcome.code, outcome.error()["code"].as_str()), (3, Some("not_found")), "{args:?}");
    }
    assert_eq!(broker.call(&["message", "get", "7F00"]).code, 2);
}

#[test]
fn lines_of_standard_input_are_messages_in_order_within_a_queue() {
    let broker = Broker::start();
    let input: String = (0..500).map(|n| format!("line {n}\n")).collect();
    broker.call_with(&["produce", "Lines", "-q"], input.as_bytes()).ok();
    let out = broker.call(&["consume", "Lines", "--format", "%q %o %b\\n"]).ok();
    assert_eq!(out.lines().count(), 500);
    for queue in 0..4 {
        let lines = out.lines().filter_map(|line| line.strip_prefix(&format!("{queue} ")));
        let numbers: Vec<(usize, usize)> = lines
            .map(|line| {
                let (offset, body) = line.split_once(" line ").expect("a line");
                (offset.parse().expect("a number"), body.parse().expect("a number"))
            })
            .collect();
        assert!(
            numbers.iter().enumerate().all(|(at, (offset, _))| at == *offset),
            "queue {queue}: {numbers:?}"
        );
        assert!(numbers.is_sorted_by_key(|(_, body)| *body));
    }
    // Binary bodies come back as they are, and as base64 in JSON.
    broker.call_with(&["produce", "Bytes", "-q"], b"\xff\xfe\n").ok();
    let output = broker.command_for(&["consume", "Bytes", "--format", "%b"]).output().expect("it starts");
    assert_eq!(output.stdout, b"\xff\xfe");
    let message = broker.call(&["consume", "Bytes", "-o", "json"]).json();
    assert_eq!((&message[0]["body"], message[0]["body_base64"].as_str()), (&Value::Null, Some("//4=")));
}

#[test]
fn a_reader_begins_where_it_is_told_and_ends_where_it_is_told() {
    let broker = Broker::start();
    broker.call(&["topic", "create", "One", "--queues", "1"]).ok();
    for body in ["a", "b", "c", "d"] {
        let tag = if body < "c" { "early" } else { "late" };
        broker.call(&["produce", "One", "-m", body, "-t", tag, "-q"]).ok();
    }
    let stored =
        broker.call(&["consume", "One", "--from", "offset:2", "-n", "1", "--format", "time:%s"]).ok();
    for (args, expected) in [
        (&[][..], "abcd"),
        (&["--from", "start"], "abcd"),
        (&["--from", "end"], ""),
        (&["--from", "offset:1"], "bcd"),
        (&["--from", "offset:9"], ""),
        (&["--from", &stored], "cd"),
        (&["--from", "time:-1h"], "abcd"),
        (&["--from", "time:2999-01-01T00:00:00Z"], ""),
        (&["-n", "2"], "ab"),
        (&["--tag", "late"], "cd"),
        (&["--tag", "late || early"], "abcd"),
        (&["--tag", "never"], ""),
        (&["--queue", "0"], "abcd"),
    ] {
        let mut all = vec!["consume", "One", "--format", "%b"];
        all.extend_from_slice(args);
        assert_eq!(broker.call(&all).ok(), expected, "{args:?}");
    }
    assert_eq!(broker.call(&["consume", "One", "--queue", "1"]).code, 3);
    assert_eq!(broker.call(&["consume", "One", "--from", "middle"]).code, 2);
    assert_eq!(broker.call(&["consume", "One", "--format", "%z"]).code, 2);
}

#[test]
fn a_follower_gets_what_comes_later() {
    let broker = Broker::start();
    broker.call(&["produce", "Follow", "-m", "first", "-q"]).ok();
    let mut child = broker
        .command_for(&["consume", "Follow", "--follow", "-n", "3", "--format", "%b\\n"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    assert_eq!(next(), "first");
    for body in ["second", "third"] {
        broker.call(&["produce", "Follow", "-m", body, "-q"]).ok();
        assert_eq!(next(), body);
    }
    assert!(child.wait().expect("it ends").success());
}

/// A name server that passes one request on to a real one and then closes the connection, as one does with a connection that is idle.
/// It ends when the client has seen that.
fn name_server_that_closes(real: &str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut real = TcpStream::connect(real).expect("it listens");
    let serving = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a connection");
        pass_frame(&mut client, &mut real);
        pass_frame(&mut real, &mut client);
        client.shutdown(Shutdown::Write).expect("open");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("the client closes its end too");
        assert_eq!(rest, b"", "nothing else is asked");
    });
    (address, serving)
}

fn pass_frame(from: &mut TcpStream, to: &mut TcpStream) {
    let mut length = [0; 4];
    from.read_exact(&mut length).expect("a length");
    let mut frame = length.to_vec();
    from.take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut frame).expect("a frame");
    to.write_all(&frame).expect("writable");
}

#[test]
fn a_follower_needs_its_brokers_and_not_the_name_server() {
    for group in [&[][..], &["--group", "g"]] {
        let broker = Broker::start();
        broker.call(&["topic", "create", "T", "--queues", "1"]).ok();
        let (name_server, serving) = name_server_that_closes(broker.listener("nameserver"));
        let mut child = braidmq()
            .args(["consume", "T", "--follow", "--format", "%b\\n", "--server", &name_server])
            .args(group)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        serving.join().expect("the route was asked for");
        broker.call(&["produce", "T", "-m", "later", "-q"]).ok();
        assert_eq!(lines.next().expect("it goes on").expect("readable"), "later", "{group:?}");

        let address = broker.listener("rocketmq").to_owned();
        drop(broker);
        let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
        assert_eq!(outcome.code, 6, "{outcome:?}");
        assert!(outcome.err.contains(&address), "{outcome:?}");
    }
}

#[test]
fn a_delayed_message_comes_when_it_is_due() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start_in(dir.path(), &["--set", "rocketmq.message_delay_level=1s"]);
    let sent = broker.call(&["produce", "Late", "-m", "x", "--delay-level", "1", "-o", "jsonl"]).json();
    assert_eq!(sent["status"], "SEND_OK");
    let message = broker.call(&["consume", "Late", "-f", "-n", "1", "-o", "jsonl"]).json();
    let time =
        |member: &str| message[member].as_str().expect("a time")[17..23].parse::<f64>().expect("seconds");
    assert!((time("stored") - time("born")).rem_euclid(60.0) >= 1.0, "{message}");
}

#[test]
fn topics_are_made_changed_and_deleted() {
    let broker = Broker::start();
    let code = |args: &[&str]| broker.call(args).code;
    assert_eq!(broker.call(&["topic", "list", "-o", "json"]).json(), json!([]));
    broker.call(&["topic", "create", "T", "--queues", "3"]).ok();
    assert_eq!(code(&["topic", "create", "T"]), 4);
    assert_eq!(
        broker.call(&["topic", "create", "T", "--if-not-exists", "-o", "json"]).json()["action"],
        "exists"
    );
    let expected = json!([{
        "topic": "T", "broker": "braidmq", "read_queues": 3, "write_queues": 3, "perm": "rw", "order": false,
    }]);
    assert_eq!(broker.call(&["topic", "list", "-o", "json"]).json(), expected);
    assert_eq!(
        broker.call(&["topic", "list"]).ok(),
        "TOPIC\tBROKER\tQUEUES\tPERM\tORDER\nT\tbraidmq\t3\trw\tfalse\n"
    );

    assert_eq!(code(&["topic", "set", "T"]), 2);
    assert_eq!(code(&["topic", "set", "T", "--perm", "x"]), 2);
    assert_eq!(code(&["topic", "set", "Nope", "--perm", "r"]), 3);
    broker.call(&["topic", "set", "T", "--perm", "r", "--queues", "5"]).ok();
    assert_eq!(code(&["produce", "T", "-m", "x"]), 5);
    broker.call(&["topic", "set", "T", "--perm", "rw"]).ok();
    broker.call(&["produce", "T", "-m", "x", "--count", "7", "-q"]).ok();
    let detail = broker.call(&["topic", "get", "T", "-o", "json"]).json();
    assert_eq!((detail["messages"].as_i64(), detail["queues"].as_array().map(Vec::len)), (Some(7), Some(5)));

    assert_eq!(code(&["topic", "delete", "T"]), 2, "nobody says yes");
    assert_eq!(broker.call(&["topic", "delete", "T", "--yes", "-o", "json"]).json()["action"], "deleted");
    assert_eq!(code(&["topic", "delete", "T", "--yes"]), 3);
    assert_eq!(
        broker.call(&["topic", "delete", "T", "-y", "--if-exists", "-o", "json"]).json()["action"],
        "absent"
    );
    assert_eq!(code(&["topic", "get", "T"]), 3);
    assert_eq!(code(&["consume", "T"]), 3);
    // Made again, it is empty.
    broker.call(&["topic", "create", "T"]).ok();
    assert_eq!(broker.call(&["consume", "T"]).ok(), "");
}

#[test]
fn a_group_remembers_how_far_it_is() {
    let broker = Broker::start();
    broker.call(&["topic", "create", "T", "--queues", "2"]).ok();
    for queue in ["0", "1"] {
        broker.call(&["produce", "T", "-m", "x", "--count", "5", "--queue", queue, "-q"]).ok();
    }
    let consume = |args: &[&str]| {
        let mut all = vec!["consume", "T", "--group", "g", "--format", "%q:%o\\n"];
        all.extend_from_slice(args);
        bodies(&broker.call(&all).ok())
    };
    let lag = || broker.call(&["group", "lag", "g", "-o", "json"]).json();
    assert_eq!(broker.call(&["group", "lag", "g"]).code, 3);
    assert_eq!(consume(&["-n", "3"]).len(), 3);
    assert_eq!(lag()["lag"], 7);
    assert_eq!(consume(&[]).len(), 7);
    assert_eq!(consume(&[]), [""; 0]);
    assert_eq!(lag()["lag"], 0);

    let reset = |args: &[&str]| {
        let mut all = vec!["group", "reset", "g", "--topic", "T", "-o", "json"];
        all.extend_from_slice(args);
        broker.call(&all)
    };
    let planned = reset(&["--to", "offset:3", "--dry-run"]).json();
    assert_eq!(
        (&planned[0]["from"], &planned[0]["to"], &planned[0]["delta"]),
        (&json!(5), &json!(3), &json!(-2))
    );
    assert_eq!(lag()["lag"], 0);
    assert_eq!(reset(&["--to", "start"]).code, 2, "nobody says yes");
    reset(&["--to", "offset:3", "--queue", "1", "--yes"]).ok();
    assert_eq!(lag()["lag"], 2);
    assert_eq!(consume(&[]), ["1:3", "1:4"]);
    reset(&["--to", "start", "-y"]).ok();
    assert_eq!(consume(&["--from", "end"]), [""; 0]);
    reset(&["--to", "time:-1h", "-y"]).ok();
    assert_eq!(consume(&[]).len(), 10);
    assert_eq!(reset(&["--to", "start", "-y", "--queue", "7"]).code, 3);

    broker.call(&["group", "set", "g", "--retry-max", "3", "--broadcast", "false"]).ok();
    let detail = broker.call(&["group", "get", "g", "-o", "json"]).json();
    assert_eq!((&detail["brokers"][0]["retry_max"], &detail["members"]), (&json!(3), &json!([])));
    let names: Vec<String> = broker.call(&["group", "list"]).ok().lines().map(str::to_owned).collect();
    assert_eq!(names[1..], ["g\tbraidmq\t3\ttrue\tfalse\tfalse"]);
    broker.call(&["group", "delete", "g", "-y"]).ok();
    assert_eq!(broker.call(&["group", "get", "g"]).code, 3);
    assert_eq!(consume(&[]).len(), 10, "a group made anew begins at the start");
}

/// Two members of a group read each message once, and the one that stays takes over what the other leaves.
#[test]
fn members_share_queues() {
    let broker = Broker::start();
    broker.call(&["topic", "create", "T", "--queues", "2"]).ok();
    let member = |count: &str| {
        let mut child = broker
            .command_for(&["consume", "T", "--group", "g", "--follow", "-n", count, "--format", "%q\\n"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        (child, lines)
    };
    let members = |wanted: usize| loop {
        let detail = broker.call(&["group", "get", "g", "-o", "json"]);
        if detail.code == 0
            && detail.json()["members"].as_array().is_some_and(|members| members.len() == wanted)
        {
            break;
        }
    };
    let (mut first, mut first_lines) = member("2");
    members(1);
    let (mut second, mut second_lines) = member("2");
    members(2);
    let send = |queue: &str| broker.call(&["produce", "T", "-m", "x", "--queue", queue, "-q"]).ok();
    // Both queues get messages until both members have had theirs: the second one's share moves to it meanwhile.
    let mut seen = Vec::new();
    send("0");
    send("1");
    seen.push(first_lines.next().expect("a line").expect("readable"));
    send("0");
    send("1");
    seen.push(first_lines.next().expect("a line").expect("readable"));
    assert!(first.wait().expect("it ends").success());
    send("0");
    send("1");
    for _ in 0..2 {
        seen.push(second_lines.next().expect("a line").expect("readable"));
    }
    assert!(second.wait().expect("it ends").success());
    assert_eq!(seen.len(), 4);
    let lag = broker.call(&["group", "lag", "g", "-o", "json"]).json();
    assert_eq!(lag["lag"], 2, "each message was printed and committed once: {lag}");
}

#[test]
fn errors_are_documents_with_codes() {
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .to_string();
    for (args, code, name) in [
        (&["--server", &free, "health"][..], 6, "unreachable"),
        (&["--server", &free, "health", "--wait", "0"], 6, "unreachable"),
        (&["--server", "", "topic", "list"], 2, "usage"),
        (&["produce"], 2, "usage"),
        (&["nonsense"], 2, "usage"),
        (&["--data", "x", "topic", "list"], 2, "usage"),
        (&["config", "check", "/no/such/file"], 2, "usage"),
    ] {
        let mut all = args.to_vec();
        all.extend_from_slice(&["-o", "json"]);
        let outcome = run(&all);
        assert_eq!(
            (outcome.code, outcome.error()["code"].as_str()),
            (code, Some(name)),
            "{args:?}: {outcome:?}"
        );
        assert_eq!(outcome.out, "");
    }
}

#[test]
fn a_reader_of_the_results_may_leave() {
    let broker = Broker::start();
    broker.call(&["produce", "T", "-m", &"x".repeat(1000), "--count", "1000", "-q"]).ok();
    let mut child = broker
        .command_for(&["consume", "T"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
}

#[test]
fn a_message_that_is_too_long_ends_the_sending() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start_in(dir.path(), &["--set", "rocketmq.max_message_bytes=1000"]);
    let mut input = b"short\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 1001));
    input.extend(b"\nnever sent\n");
    let outcome = broker.call_with(&["produce", "T", "-o", "json"], &input);
    assert_eq!((outcome.code, outcome.error()["code"].as_str()), (7, Some("partial")), "{outcome:?}");
    let sent: Value = serde_json::from_str(&outcome.out).expect("the document is whole");
    assert!(sent.as_array().is_some_and(|sent| !sent.is_empty()));
    let at_bound = "x".repeat(1000);
    broker.call(&["produce", "T", "-m", &at_bound, "-q"]).ok();
}

#[test]
fn configuration_and_completion_need_no_server() {
    let keys = run(&["config", "print", "--set", "store.flush=async", "-o", "json"]).json();
    let flush =
        keys.as_array().expect("a list").iter().find(|key| key["key"] == "store.flush").expect("the key");
    assert_eq!((flush["value"].as_str(), flush["origin"].as_str()), (Some("async"), Some("--set")));
    let printed = run(&["config", "print", "--origin", "--set", "store.flush=async"]).ok();
    assert!(
        printed.contains("flush = \"async\"  # --set\n") && printed.contains("level = \"info\"  # default\n"),
        "{printed}"
    );
    assert!(run(&["config", "print", "--default"]).ok().contains("\n# flush = \"sync\"\n"));
    assert!(run(&["config", "check"]).ok().contains("valid"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completion", shell]).ok().contains("braidmq"), "{shell}");
    }
    let mut help = braidmq();
    help.arg("--help");
    assert!(Outcome::of(help.output().expect("it starts")).ok().contains("Exit codes: 0 done"));
    std::io::stdout().flush().expect("flushed");
}

/// Every command is described in `docs/cli.md`.
#[test]
fn the_document_has_every_command() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let document = std::fs::read_to_string(path).expect("docs/cli.md");
    let mut missing = Vec::new();
    let mut check = |words: &[&str]| {
        let mut all = words.to_vec();
        all.push("--help");
        let help = run(&all).ok();
        let commands =
            help.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
        let names: Vec<String> = commands
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect();
        for name in &names {
            let call = [&["braidmq"], words, &[name.as_str()]].concat().join(" ");
            if !document.contains(&format!("`{call}")) {
                missing.push(call);
            }
        }
        names
    };
    for group in check(&[]) {
        check(&[&group]);
    }
    assert!(missing.is_empty(), "docs/cli.md does not describe {missing:?}");
}
