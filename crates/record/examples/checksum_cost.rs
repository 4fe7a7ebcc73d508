//! From which length on does it pay to join a checksum that is known, instead of summing the bytes again? The answer is
//! `JOIN_FROM_BYTES`. Run with `--release`; prints nanoseconds of one stamp for bodies of growing length.

use std::hint::black_box;
use std::time::Instant;

use braid_record::{Draft, Stamp, TargetSlot, encode};

const ROUNDS: u32 = 200_000;

fn main() {
    for len in [128, 256, 512, 1024, 1536, 2000, 2048, 4096, 8192, 16_384, 65_536] {
        println!("{len:>6} bytes: message {:>5.0} ns, batch {:>5.0} ns", cost(len, false), cost(len, true));
    }
}

fn cost(len: usize, batch: bool) -> f64 {
    let body = vec![7; len];
    let host = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let slots = [TargetSlot { topic: 1, queue_id: 0, first_offset: 0, count: 50 }];
    let draft = Draft {
        topic: "Orders",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: b"",
        kind: batch.then_some("kafka"),
        targets: if batch { &slots } else { &[] },
        group_goes_on: false,
        batch: batch.then_some(50),
    };
    let mut bytes = Vec::new();
    let encoded = encode(&draft, &mut bytes).expect("the draft is in order");
    let start = Instant::now();
    for round in 0..u64::from(ROUNDS) {
        let stamp = Stamp {
            queue_offset: round,
            position: round,
            store_timestamp: 2,
            slot_offsets: if batch { &[round] } else { &[] },
        };
        encoded.stamp(black_box(&mut bytes), black_box(&stamp));
    }
    start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}
