//! The bytes of every kind of block, as `docs/format/queue-index.md` shows them.

use super::super::block::{self, Body, ExtentHead, Kind, Link};
use super::super::entry::{Entry, Run};
use super::super::{Limits, block::Block};
use super::{key, plain};

const LINK: Link = Link { file: 3, at: 36, previous_crc: 0x0102_0304 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(kind: Kind, run: &Run, expected: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    block::write(&mut bytes, LINK, kind, |out| run.encode(0..run.len(), out));
    assert_eq!(hex(&bytes), expected.replace([' ', '\n'], ""));
    let block = block::parse(&bytes).expect("what was written is read");
    assert_eq!((block.link, block.len), (LINK, bytes.len()));
    for at in 0..bytes.len() {
        assert!(block::parse(&bytes[..at]).is_none(), "cut at {at}");
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        assert!(block::parse(&bad).is_none(), "flipped at {at}");
    }
    bytes
}

fn extent(run: &Run) -> Kind {
    let (first, last) = (run.get(0), run.get(run.len() - 1));
    let head = ExtentHead {
        queue: key(7, 2),
        first_offset: first.first_offset,
        next_offset: last.next_offset(),
        first_position: first.position,
        last_position: last.position,
    };
    Kind::Extent { head, shape: run.shape(), count: run.len() }
}

fn run_of(entries: &[Entry]) -> Run {
    let mut run = Run::EMPTY;
    entries.iter().for_each(|entry| run.push(entry, false, &Limits::default()));
    run
}

fn entries(block: &Block<'_>) -> Vec<Entry> {
    match &block.body {
        Body::Extent(_, packed) => (0..packed.len()).map(|at| packed.get(at)).collect(),
        other => panic!("{other:?} is no extent"),
    }
}

#[test]
fn marks() {
    check(
        Kind::File,
        &Run::EMPTY,
        "42514958 01 01 0000 00000024 0000000000000003 0000000000000024 01020304 0da2c5cb",
    );
    check(
        Kind::Checkpoint { covered: 4096, first_file: 2 },
        &Run::EMPTY,
        "\
        42514958 01 04 0000 00000034 0000000000000003 0000000000000024 01020304
        0000000000001000 0000000000000002 b0fcea6d",
    );
    check(
        Kind::Cut { position: 4096 },
        &Run::EMPTY,
        "42514958 01 05 0000 0000002c 0000000000000003 0000000000000024 01020304 0000000000001000 1c0bc421",
    );
    check(
        Kind::Dropped { topic: crate::catalog::TopicNumber(7) },
        &Run::EMPTY,
        "42514958 01 06 0000 00000028 0000000000000003 0000000000000024 01020304 00000007 948996be",
    );
}

#[test]
fn a_dense_extent() {
    let given = [plain(41, 0x700000), plain(42, 0x700400)];
    let run = run_of(&given);
    let bytes = check(
        extent(&run),
        &run,
        "\
        42514958 01 02 0000 00000078 0000000000000003 0000000000000024 01020304
        00000007 00000002 0000000000000029 00000002 000000000000002b 0000000000700000 0000000000700400
        0000000000700000 00000064 ffffffffffffffd7
        0000000000700400 00000064 ffffffffffffffd6
        81d1be25",
    );
    assert_eq!(entries(&block::parse(&bytes).unwrap()), given);
}

#[test]
fn a_wide_extent() {
    let batch = Entry { count: 300, newest_time: Some(1_700_000_000_000), ..plain(41, 0x700000) };
    let given = [batch, Entry { word: 5, ..plain(341, 0x700400) }];
    let run = run_of(&given);
    let bytes = check(
        extent(&run),
        &run,
        "\
        42514958 01 03 0000 000000a0 0000000000000003 0000000000000024 01020304
        00000007 00000002 0000000000000029 00000002 0000000000000156 0000000000700000 0000000000700400
        0000000000000029 0000012c 0000000000700000 00000064 ffffffffffffffd7 0000018bcfe56800
        0000000000000155 00000001 0000000000700400 00000064 0000000000000005 8000000000000000
        45f0a638",
    );
    assert_eq!(entries(&block::parse(&bytes).unwrap()), given);
}
