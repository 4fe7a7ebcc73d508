//! Starting and ending a broker, as scripts see it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::support::{Broker, Outcome, run};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn the_ready_file_names_pid_and_listeners_and_the_fast_port_lies_two_below() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("ready.json");
    fs::write(&path, "left by an earlier start").expect("written");
    let broker = Broker::start_in(dir.path(), &["--ready-file", path.to_str().expect("UTF-8")]);
    let ready: Value = serde_json::from_str(&fs::read_to_string(&path).expect("written")).expect("JSON");
    assert_eq!(ready["pid"], broker.banner["pid"]);
    assert_eq!(ready["listeners"], broker.banner["listeners"]);
    let port = |name: &str| {
        broker.listener(name).rsplit_once(':').expect("a port").1.parse::<u16>().expect("a number")
    };
    assert_eq!(port("rocketmq_fast") + 2, port("rocketmq"));
    assert_ne!(port("nameserver"), 0);
}

#[test]
fn the_fast_listener_can_be_left_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start_in(dir.path(), &["--set", "listen.rocketmq_fast=off"]);
    assert_eq!(broker.banner["listeners"]["rocketmq_fast"], Value::Null);
}

#[test]
fn the_kafka_listener_can_be_left_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start_in(dir.path(), &[]);
    assert!(TcpStream::connect(broker.listener("kafka")).is_ok());
    drop(broker);
    let broker = Broker::start_in(dir.path(), &["--set", "listen.kafka=off"]);
    assert_eq!(broker.banner["listeners"]["kafka"], Value::Null);
}

#[test]
fn a_signal_ends_in_order_and_a_kill_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut expected: Vec<String> = Vec::new();
    for (round, (signal, recovery)) in [
        (Signal::TERM, "a new directory"),
        (Signal::INT, "stopped cleanly last time"),
        (Signal::KILL, "stopped cleanly last time"),
        (Signal::TERM, "ended without order last time; the log's end is whole"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut broker = Broker::start_in(dir.path(), &[]);
        assert_eq!(broker.banner["recovery"][0], recovery, "round {round}");
        let message = format!("round {round}");
        broker.call(&["produce", "T", "-m", &message]).ok();
        expected.push(message);
        let consumed = broker.call(&["consume", "T", "--format", "%b\\n"]).ok();
        let mut lines: Vec<&str> = consumed.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
        let asked = Instant::now();
        let status = broker.end(signal);
        match signal {
            Signal::KILL => assert_eq!(status.signal(), Some(9)),
            _ => assert!(status.success(), "{status}"),
        }
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

/// `timeout` signals the broker, and then its whole process group: that is one wish, and no reason to end without order.
#[test]
fn a_doubled_signal_still_ends_in_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = Broker::start_in(dir.path(), &[]);
    broker.signal(Signal::TERM);
    assert!(broker.end(Signal::TERM).success());
    assert_eq!(Broker::start_in(dir.path(), &[]).banner["recovery"][0], "stopped cleanly last time");
}

#[test]
fn a_taken_port_refuses_the_start_and_a_second_start_finds_the_directory_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let set = format!("listen.nameserver={address}");
    let refused = Outcome::of(Broker::command(dir.path(), &["--set", &set]).output().expect("it starts"));
    assert_eq!(refused.code, 4, "{refused:?}");
    let line = refused.err.lines().last().expect("an error");
    let error: Value = serde_json::from_str(line).expect("JSON");
    assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains(&address)), "{line}");
    let broker = Broker::start_in(dir.path(), &[]);
    assert_eq!(broker.banner["recovery"][0], "stopped cleanly last time");
}

#[test]
fn a_directory_that_is_in_use_is_a_conflict() {
    let broker = Broker::start();
    let second = Outcome::of(Broker::command(broker.dir(), &[]).output().expect("it starts"));
    assert_eq!(second.code, 4, "{second:?}");
    assert!(second.err.contains("in use by another process"), "{second:?}");
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("b.toml");
    let path = file.to_str().expect("UTF-8");
    let data = dir.path().join("data");
    let start = || run(&["start", "--data", data.to_str().expect("UTF-8"), "--config", path]);
    fs::write(&file, "[store]\nflsh = \"async\"\n").expect("written");
    let refused = start();
    let expected = format!(
        "error: unknown key `store.flsh`\n --> {path}:2:1\n  |\n2 | flsh = \"async\"\n  | ^^^^\n  = help: did you mean `store.flush`?\n"
    );
    assert_eq!((refused.code, refused.err), (2, expected));
    fs::write(&file, "[listen]\nrocketmq = \"0.0.0.0:10911\"\n").expect("written");
    let refused = start();
    assert!(refused.code == 2 && refused.err.contains("allow_anonymous = true"), "{refused:?}");
    assert!(!data.exists());
}

#[test]
fn a_broker_conf_starts_a_broker_of_its_names() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("broker.conf");
    fs::write(
        &file,
        "brokerClusterName = C1\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\nfileReservedTime = 48\n\
         brokerRole = ASYNC_MASTER\nflushDiskType = ASYNC_FLUSH\nautoCreateTopicEnable = false\n",
    )
    .expect("written");
    let path = file.to_str().expect("UTF-8");
    let broker = Broker::start_in(dir.path(), &["--config", path]);
    assert_eq!(broker.banner["flush"], "async");
    let health = broker.call(&["health", "-o", "json"]).json();
    assert_eq!((health[0]["broker"].as_str(), health[0]["active"].as_bool()), (Some("broker-a"), Some(true)));
    let refused = broker.call(&["produce", "NotThere", "-m", "x", "-o", "json"]);
    assert_eq!((refused.code, refused.error()["code"].as_str()), (3, Some("not_found")));
    // What can't be honoured refuses to start.
    fs::write(&file, "brokerName = broker-a\naclEnable = true\n").expect("written");
    let refused = run(&["config", "check", path]);
    assert!(refused.code == 2 && refused.err.contains("aclEnable = true can't be honoured"), "{refused:?}");
}

/// A test that asks for a planted defect must not go on with a build that has none.
#[cfg(not(feature = "mutants"))]
#[test]
fn a_build_without_mutants_refuses_to_pretend() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let command = &mut Broker::command(dir.path(), &[]);
    let refused = Outcome::of(command.env("BRAIDMQ_MUTANT", "ack-before-write").output().expect("it starts"));
    assert!(refused.code == 2 && refused.err.contains("this build has no mutants"), "{refused:?}");
}
