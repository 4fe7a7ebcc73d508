//! When a flush is due, what is visible when, and what an error does.

use std::sync::Mutex;

use braid_io::sim::{FaultKind, Faults};

use super::*;
use crate::options::FlushMode;
use crate::progress::{DispatchListener, Dispatched, Level};
use crate::report::Health;
use crate::store::{FlushOutcome, WriteOutcome};

#[test]
fn in_sync_mode_a_record_is_visible_and_acknowledged_when_flushed() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let promise = append(&store, &t, 0, b"a").unwrap().promise(Level::Flushed, "flushed");
    let promise = promise.redeem(store.watermarks()).unwrap_err();
    assert_eq!(store.write_turn(), WriteOutcome::Done);
    assert!(store.flush_is_due() && store.offsets(queue(&t, 0)).is_none());
    let promise = promise.redeem(store.watermarks()).unwrap_err();
    assert!(matches!(store.flush_turn(), FlushOutcome::Flushed(_)));
    assert_eq!(promise.redeem(store.watermarks()).unwrap(), "flushed");
    assert_eq!(all(&store, queue(&t, 0)), [b"a".to_vec()]);
    assert_eq!(store.flush_turn(), FlushOutcome::Nothing);
}

#[test]
fn in_async_mode_a_flush_is_due_by_time_and_by_bytes() {
    let mut bench = Bench::new();
    bench.options.flush = FlushMode::Async;
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let write = |bytes: usize| {
        append(&store, &t, 0, &vec![0; bytes]).unwrap();
        assert_eq!(store.write_turn(), WriteOutcome::Done);
    };
    write(100);
    assert_eq!(store.offsets(queue(&t, 0)).unwrap().max, 1, "visible when written");
    bench.clock.advance(9_999);
    assert!(!store.flush_is_due(), "less than four pages wait for ten seconds");
    bench.clock.advance(1);
    assert!(store.flush_is_due());
    store.flush_turn();
    write(4 * 4096);
    bench.clock.advance(499);
    assert!(!store.flush_is_due(), "four pages wait for half a second");
    bench.clock.advance(1);
    assert!(store.flush_is_due());
    store.flush_turn();
    write(bench.options.unflushed_bytes_max as usize / 2 - 200);
    assert!(!store.flush_is_due());
    write(200);
    assert!(store.flush_is_due(), "half the bound is due at once");
}

#[test]
fn an_error_of_a_sync_ends_the_log_for_writers_only() {
    for kind in [FaultKind::SyncError, FaultKind::WriteError] {
        let bench = Bench::new();
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        send(&store, &t, 0, b"safe");
        let promise = append(&store, &t, 0, b"lost").unwrap().promise(Level::Flushed, ());
        bench.disk.fail_next(kind, "");
        store.write_turn();
        assert_eq!(store.flush_turn(), FlushOutcome::Closed);
        assert!(matches!(store.health(), Health::Failed(_)));
        // Nothing is retried: a second sync would say that all is well.
        assert_eq!((store.write_turn(), store.flush_turn()), (WriteOutcome::Closed, FlushOutcome::Closed));
        assert!(matches!(append(&store, &t, 0, b"no"), Err(AppendError::Closed(_))));
        assert!(promise.redeem(store.watermarks()).is_err());
        assert_eq!(all(&store, queue(&t, 0)), [b"safe".to_vec()], "readers go on");
        assert!(store.close().is_err());
    }
}

#[test]
fn a_full_disk_refuses_writers_until_there_is_room() {
    for prewrite_bytes in [FILE_BYTES, 0] {
        let mut bench = Bench::new();
        bench.options.retention.free_bytes_min = Some(0);
        bench.options.prewrite_bytes = prewrite_bytes;
        let (store, _) = bench.open();
        let t = topic(&store, "T");
        let space = bench.disk.space(Path::new(DIR)).unwrap();
        let used = Some(space.total - space.free);
        bench.disk.set_faults(Faults { capacity: used, ..Faults::default() });
        let refused = (0..1000).find_map(|_| {
            let refused = append(&store, &t, 0, &[1; 500]).err();
            store.write_turn();
            store.flush_turn();
            store.housekeeping();
            refused.filter(|error| !matches!(error, AppendError::Busy { .. }))
        });
        assert!(matches!(refused, Some(AppendError::DiskFull(_))), "{refused:?}");
        let written = store.offsets(queue(&t, 0)).unwrap().max;
        assert_eq!(all(&store, queue(&t, 0)).len() as u64, written, "readers go on");
        keep_house(&store, 10);
        assert!(matches!(store.health(), Health::DiskFull(_)), "nothing became free");
        bench.disk.set_faults(Faults::default());
        while store.housekeeping() < 100 {}
        assert_eq!(store.health(), Health::Serving);
        send(&store, &t, 0, b"again");
    }
}

#[test]
fn a_panic_in_a_turn_ends_the_log() {
    struct Trap;
    impl DispatchListener for Trap {
        fn dispatched(&self, _: &[Dispatched]) {
            panic!("trapped");
        }
    }
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    store.listen(Arc::new(Trap));
    let promise = append(&store, &t, 0, b"a").unwrap().promise(Level::Flushed, ());
    store.write_turn();
    assert_eq!(store.flush_turn(), FlushOutcome::Closed);
    assert_eq!(store.health(), Health::Failed("a panic in a flush turn: trapped".to_owned()));
    assert!(promise.redeem(store.watermarks()).is_err());
}

#[test]
fn listeners_hear_every_entry_once_and_see_it_then() {
    struct Ear(Mutex<Vec<Dispatched>>);
    impl DispatchListener for Ear {
        fn dispatched(&self, entries: &[Dispatched]) {
            self.0.lock().unwrap().extend_from_slice(entries);
        }
    }
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let ear = Arc::new(Ear(Mutex::default()));
    store.listen(ear.clone());
    append(&store, &t, 0, b"a").unwrap();
    append(&store, &t, 5, b"bcd").unwrap();
    append(&store, &t, 0, b"ef").unwrap();
    store.write_turn();
    assert!(ear.0.lock().unwrap().is_empty());
    store.flush_turn();
    let heard: Vec<_> =
        ear.0.lock().unwrap().iter().map(|d| (d.queue.queue_id, d.next_offset, d.index_word)).collect();
    assert_eq!(heard, [(0, 1, 1), (5, 1, 3), (0, 2, 2)]);
}

#[test]
fn threads_that_append_and_one_that_flushes_lose_nothing() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let t = topic(&store, "T");
    let driver = crate::driver::Driver::start(store.clone()).unwrap();
    let each = 300;
    std::thread::scope(|scope| {
        for writer in 0..4u32 {
            let (store, t, driver) = (&store, &t, &driver);
            scope.spawn(move || {
                for n in 0..each {
                    let body = format!("{writer}-{n}");
                    let appended = loop {
                        match append(store, t, writer, body.as_bytes()) {
                            Err(AppendError::Busy { .. }) => std::thread::yield_now(),
                            other => break other.unwrap(),
                        }
                    };
                    store.write_turn();
                    driver.written();
                    let promise = appended.promise(Level::Flushed, ());
                    while !promise.is_due(store.watermarks()) {
                        std::thread::yield_now();
                    }
                    drop(promise);
                }
            });
        }
    });
    driver.stop();
    for writer in 0..4 {
        let expected: Vec<Vec<u8>> = (0..each).map(|n| format!("{writer}-{n}").into_bytes()).collect();
        assert_eq!(all(&store, queue(&t, writer)), expected);
    }
}
