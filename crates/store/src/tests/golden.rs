//! A directory of format version 1 is kept in `crates/store/golden/v1` and must be opened for ever; and what is written
//! today must have the same bytes. `BRAIDMQ_GOLDEN_WRITE=1` writes it anew, for a new format version's directory only.

use std::fs;

use braid_io::OsDisk;

use super::*;
use crate::append::Target;
use crate::report::RecoveryRow;
use crate::state::{StateChange, StateKind};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1");
/// The files of a directory that are not derived.
const FILES: [&str; 4] = [
    "commitlog/00000000000000032768",
    "commitlog/00000000000000040960",
    "braid/superblock",
    "braid/snapshot",
];

fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::for_simulation(dir, 8192, 11);
    options.first_position = 4 * 8192;
    options.shard = 2;
    options.derivers = vec![(None, derive)];
    options
}

fn open(dir: &Path) -> (Store, RecoveryReport) {
    Store::open(options(dir), Arc::new(OsDisk), Arc::new(SimClock::new(NOON_MS))).unwrap()
}

/// One of everything that the format has.
fn make(dir: &Path) {
    let (store, _) = open(dir);
    let (t, gone) = (topic(&store, "T"), topic(&store, "Gone"));
    send(&store, &gone, 0, b"dead");
    assert!(!store.delete_topic(gone.number).unwrap().is_due(store.watermarks()));
    let again = topic(&store, "Gone");
    let long = topic(&store, &"L".repeat(200));
    send(&store, &long, 1, b"a record of the second form");
    let mut builder = GroupBuilder::new();
    let set = StateChange { kind: StateKind(16), key: b"key".to_vec(), value: Some(b"value".to_vec()) };
    let unset = StateChange { kind: StateKind(17), key: b"key".to_vec(), value: None };
    let more = [Target { queue: queue(&again, 4), count: 7 }];
    let mut spread = record(&t, 0, b"spread over two queues");
    spread.draft.kind = Some("spread");
    builder.state(&[set, unset]);
    builder.record(NewRecord { count: 3, more_targets: &more, ..spread }).record(record(
        &t,
        1,
        b"last of a group",
    ));
    store.append(store.group(builder).unwrap()).unwrap();
    send(&store, &t, 0, &[7; 6000]);
    send(&store, &t, 0, b"in the second file");
    store.close().unwrap();
}

#[test]
fn what_is_written_has_the_bytes_of_the_golden_directory() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    for name in FILES {
        let (written, golden) = (fs::read(dir.path().join(name)).unwrap(), Path::new(GOLDEN).join(name));
        if std::env::var_os("BRAIDMQ_GOLDEN_WRITE").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &written).unwrap();
        }
        let golden = fs::read(golden).unwrap();
        // How often the superblock was written is no part of the format; its slots have golden bytes of their own.
        if name == "braid/superblock" {
            assert_eq!(golden.len(), written.len());
            continue;
        }
        let differs = golden.iter().zip(&written).position(|(a, b)| a != b);
        assert!(golden.len() == written.len() && differs.is_none(), "{name} differs at {differs:?}");
    }
    let mut names: Vec<String> = fs::read_dir(dir.path().join("commitlog"))
        .unwrap()
        .map(|entry| format!("commitlog/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    names.sort();
    assert_eq!(names, FILES[..2]);
}

#[test]
fn the_golden_directory_opens() {
    let dir = tempfile::tempdir().unwrap();
    for name in FILES {
        let to = dir.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(GOLDEN).join(name), to).unwrap();
    }
    let (store, report) = open(dir.path());
    assert_eq!(report.rows, [RecoveryRow::Clean]);
    let (t, again) = (store.topic("T").unwrap(), store.topic("Gone").unwrap());
    assert_eq!((t.number.0, again.number.0, &t.config[..]), (1, 3, &b"config"[..]));
    assert_eq!(store.offsets(queue(&again, 0)), None, "the records of the deleted topic stay dead");
    assert_eq!(
        all(&store, queue(&t, 0)),
        [b"spread over two queues".to_vec(), vec![7; 6000], b"in the second file".to_vec()]
    );
    assert_eq!(store.offsets(queue(&t, 0)).unwrap().max, 5);
    assert_eq!(store.offsets(queue(&again, 4)).unwrap().max, 7);
    assert_eq!(all(&store, queue(&again, 4)), [b"spread over two queues".to_vec()]);
    assert_eq!(all(&store, queue(&t, 1)), [b"last of a group".to_vec()]);
    let long = store.topic(&"L".repeat(200)).unwrap();
    assert_eq!(all(&store, queue(&long, 1)), [b"a record of the second form".to_vec()]);
    assert_eq!(store.state(StateKind(16)), [(b"key".to_vec(), b"value".to_vec())]);
    assert_eq!(store.state(StateKind(17)), []);
    assert_eq!(send(&store, &t, 0, b"on").records[0].offset, 5);
}
