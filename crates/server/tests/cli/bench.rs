//! `braidmq bench`: that it runs and reads back what it sent. How fast is no test's business.

use serde_json::Value;

use crate::support::run;

#[test]
fn every_row_is_measured_and_read_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = dir.path().to_str().expect("UTF-8");
    let out = run(&["bench", "-o", "jsonl", "--seconds", "0.2", "--repetitions", "1", "--dir", place]).ok();
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = rows.iter().map(|row| row["row"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        ["G1", "G2", "batch", "G4a", "G4b", "G5", "G1k", "G2k", "G3a", "G3b", "G4c", "G5k", "G10"]
    );
    for row in &rows {
        assert!(row["verified"].as_u64() > Some(0), "nothing was read back: {row}");
        let groups = row["groups"].as_array().expect("a list");
        assert_eq!(groups.len(), 1, "{row}");
        for window in ["before", "ours", "after"] {
            assert!(groups[0][window]["messages"].as_u64() > Some(0), "nothing was acknowledged: {row}");
        }
        assert!(row["cpu_ratio"]["median"].as_f64() > Some(0.0), "{row}");
        assert_eq!(row["durability"] == "sync", row["floor"] == "sync", "unlike safe: {row}");
    }
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 0, "the servers' directories are left");
}

#[test]
fn rows_that_do_not_exist_are_named() {
    let outcome = run(&["bench", "-o", "json", "--rows", "G1,G99"]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    let error = outcome.error();
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("no row G99") && message.contains("G10"), "{message}");
}

#[test]
fn windows_have_bounds() {
    for (seconds, is_valid) in
        [("0.05", true), ("0.049", false), ("600", true), ("600.1", false), ("x", false)]
    {
        let outcome = run(&["bench", "--rows", "none", "--seconds", seconds]);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert_eq!(outcome.err.contains("no row none"), is_valid, "{seconds}: {outcome:?}");
    }
}
