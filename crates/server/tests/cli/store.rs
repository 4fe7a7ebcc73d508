//! The directory of a stopped broker.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Broker, Outcome, run};

/// A directory with some messages, stopped in order.
fn filled(dir: &Path) -> PathBuf {
    let mut broker = Broker::start_in(dir, &[]);
    broker.call(&["topic", "create", "T", "--queues", "1"]).ok();
    broker.call(&["produce", "T", "-m", "0123456789", "--count", "100", "-q"]).ok();
    assert!(broker.end(Signal::TERM).success());
    dir.join("data")
}

fn store(command: &str, data: &Path, args: &[&str]) -> Outcome {
    let mut all = vec!["store", command, "-o", "json", "--data", data.to_str().expect("UTF-8")];
    all.extend_from_slice(args);
    run(&all)
}

fn messages(dir: &Path) -> Vec<String> {
    let broker = Broker::start_in(dir, &[]);
    broker.call(&["consume", "T", "--format", "%o\\n"]).ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_sound_directory_is_described_and_nothing_is_repaired() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = filled(dir.path());
    let found = store("inspect", &data, &[]).json();
    assert_eq!(
        (&found["clean"], &found["recovery"], &found["damage"]),
        (&json!(true), &json!(["clean"]), &json!([]))
    );
    let topic = found["topics"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|topic| topic["topic"] == "T")
        .expect("the topic");
    assert_eq!(topic["queues"], json!([{"queue": 0, "min_offset": 0, "max_offset": 100}]));
    let found = store("verify", &data, &[]).json();
    assert_eq!((&found["sound"], &found["derived_findings"]), (&json!(true), &json!(0)));
    assert!(found["records"].as_u64().is_some_and(|records| records > 100));
    for args in [&[][..], &["--accept-loss"]] {
        assert_eq!(store("repair", &data, args).json()["repaired"], false);
    }
    let table = run(&["store", "inspect", "--data", data.to_str().expect("UTF-8")]).ok();
    assert!(table.contains("last stop") && table.contains("in order"), "{table}");
    assert_eq!(messages(dir.path()).len(), 100);
}

#[test]
fn damage_is_found_and_given_up_only_when_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = filled(dir.path());
    let message = |offset: u64| {
        // The body of the 51st message: found by its bytes, so that the test needs no codec.
        let log = data.join("commitlog").join("00000000000000000000");
        let content = fs::read(&log).expect("readable");
        let at = content
            .windows(10)
            .enumerate()
            .filter(|(_, w)| w == b"0123456789")
            .nth(offset as usize)
            .expect("there")
            .0;
        (log, at as u64)
    };
    let (log, at) = message(50);
    let file = fs::OpenOptions::new().write(true).open(log).expect("writable");
    file.write_all_at(b"X", at).expect("written");
    drop(file);

    let refused = store("verify", &data, &[]);
    assert_eq!((refused.code, refused.error()["code"].as_str()), (1, Some("failure")), "{refused:?}");
    let found: Value = serde_json::from_str(&refused.out).expect("JSON");
    let damage = found["damage"].as_array().expect("a list");
    let (from, to) =
        (damage[0]["from"].as_u64().expect("a number"), damage[0]["to"].as_u64().expect("a number"));
    assert!(damage.len() == 1 && found["sound"] == false && (from..to).contains(&at), "{found}");

    let refused = store("repair", &data, &[]);
    assert_eq!((refused.code, refused.error()["code"].as_str()), (4, Some("conflict")), "{refused:?}");
    assert_eq!(store("verify", &data, &[]).code, 1, "nothing was changed");
    assert_eq!(store("repair", &data, &["--accept-loss"]).json()["repaired"], true);
    assert_eq!(store("verify", &data, &[]).json()["sound"], true);
    let offsets = messages(dir.path());
    let expected: Vec<String> =
        (0..100).filter(|offset| *offset != 50).map(|offset| offset.to_string()).collect();
    assert_eq!(offsets, expected);
}

#[test]
fn a_directory_in_use_and_no_directory_are_told_apart() {
    let broker = Broker::start();
    for command in ["inspect", "verify", "repair"] {
        let outcome = store(command, &broker.dir().join("data"), &[]);
        assert_eq!((outcome.code, outcome.error()["code"].as_str()), (4, Some("conflict")), "{outcome:?}");
        let outcome = store(command, &broker.dir().join("none"), &[]);
        assert_eq!((outcome.code, outcome.error()["code"].as_str()), (3, Some("not_found")), "{outcome:?}");
        assert!(!broker.dir().join("none").exists());
    }
}
