//! The oracle is worth what it notices: each of these runs is told one thing that is not true, and must fail for it.

use braid_store::{Level, QueueKey};

use super::batch::Numbers;
use super::run::{run, steps};
use super::state::{Change, Cursor, Generation, Record, Share};
use super::world::{CLASSIC_GROUPS, End, OTHER_GROUP, World};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// A queue, and where the log ends: all of it is durable.
fn settled(world: &mut World) -> (QueueKey, u64) {
    world.settle();
    world.redeem();
    let queue = world.some_queue().expect("a topic was made");
    (queue, world.appended())
}

/// Tells the oracle of a change that nobody made, as acknowledged.
fn forge(world: &mut World, end: u64, change: Change) {
    let event = world.oracle.append(end, end, change);
    world.oracle.tell(event, Level::Flushed);
}

/// Runs seeds with a lie; gives what they failed for. A run without it passes.
#[track_caller]
fn notices(word: &str, lie: fn(&mut World)) {
    for seed in SEEDS {
        let life = |world: &mut World, lie: Option<fn(&mut World)>| {
            world.open(End::Kill);
            while world.oracle.live.topics.is_empty() {
                world.create_topic();
            }
            steps(world);
            world.settle();
            if let Some(lie) = lie {
                lie(world);
            }
            world.restart(End::Kill);
        };
        if let Err(failure) = run(seed, |world| life(world, None)) {
            panic!("seed {seed} fails without a lie: {}", failure.message);
        }
        match run(seed, |world| life(world, Some(lie))) {
            Ok(_) => panic!("seed {seed}: nobody noticed a lie"),
            Err(failure) => assert!(failure.message.contains(word), "{}", failure.message),
        }
    }
}

#[test]
fn a_commit_that_never_was_is_missed() {
    notices("CURSOR", |world| {
        let (queue, end) = settled(world);
        let cursor =
            Cursor { offset: 0, leader_epoch: Some(1), metadata: "x".into(), reset: false, noted_ms: None };
        forge(world, end, Change::Cursors(vec![((OTHER_GROUP.to_owned(), queue), Some(cursor))]));
    });
}

#[test]
fn what_was_acknowledged_must_lie_in_the_log() {
    notices("LOST", |world| {
        let (_, end) = settled(world);
        forge(world, end + 1, Change::ProducerId(-1));
    });
}

#[test]
fn a_batch_that_never_was_is_missed() {
    notices("the end of", |world| {
        let (queue, end) = settled(world);
        let offset = world.oracle.live.queues.get(&queue).map_or(0, |known| known.end());
        let record = Record { offset, count: 3, value: 0, numbers: None, time_ms: 0 };
        forge(world, end, Change::Record(queue, record));
    });
}

#[test]
fn a_generation_that_never_was_is_missed() {
    notices("GROUP", |world| {
        let (_, end) = settled(world);
        let share = Share { id: "nobody".to_owned(), instance_id: None, assignment: Vec::new() };
        let generation = Generation { number: 1_000, members: vec![share] };
        forge(world, end, Change::Group(CLASSIC_GROUPS[0].to_owned(), Some(generation)));
    });
}

#[test]
fn a_generation_of_another_number_is_missed() {
    notices("GROUP", |world| {
        let is_stable = |world: &World| {
            let mut groups = CLASSIC_GROUPS.into_iter().filter_map(|group| {
                let generation = world.oracle.live.generation(group)?.clone();
                (!generation.members.is_empty() && !world.moving.contains(group))
                    .then_some((group, generation))
            });
            groups.next()
        };
        let mut found = is_stable(world);
        while found.is_none() {
            world.rebalance();
            found = is_stable(world);
        }
        let (group, mut generation) = found.expect("the loop ends with one");
        generation.number += 1;
        let (_, end) = settled(world);
        forge(world, end, Change::Group(group.to_owned(), Some(generation)));
    });
}

#[test]
fn a_start_that_goes_back_is_noticed() {
    notices("BACK", |world| {
        let (queue, end) = settled(world);
        forge(world, end, Change::Start(queue, 1_000_000));
    });
}

#[test]
fn an_epoch_that_goes_back_is_noticed() {
    notices("BACK: the epoch", |world| world.epoch += 10);
}

#[test]
fn a_producer_id_that_is_given_again_is_noticed() {
    notices("TWICE", |world| {
        world.oracle.given.extend(0..20_000);
        world.new_producer_id();
        settled(world);
    });
}

#[test]
fn a_retry_that_is_taken_for_another_batch_is_noticed() {
    notices("TWICE: a new batch", |world| {
        let (queue, _) = settled(world);
        let numbers = Numbers { producer_id: 9_999, epoch: 0, first: 0 };
        world.append(queue, numbers, 2);
        world.oracle.live.queues.get_mut(&queue).expect("it has a record").records.pop();
        world.append(queue, numbers, 2);
    });
}
