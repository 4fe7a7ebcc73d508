//! The rows of the table: a question each.

use crate::floor::Mode;
use crate::generator::Load;

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The operating system has the message: it survives the process, not a power cut.
    Async,
    /// The message is on the disk.
    Sync,
}

impl Durability {
    /// As `store.flush` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Async => "async",
            Durability::Sync => "sync",
        }
    }
}

/// What is asked of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Sends; so many messages in each request.
    Send(u32),
    /// Pulls of answers of 64 KiB.
    Pull,
    /// Kafka's produce requests with one batch of so many records of so many bytes.
    Produce {
        /// Records of a batch.
        records: u32,
        /// Bytes of a record's value.
        value_bytes: usize,
    },
    /// Kafka's fetches, answered with whole batches, 64 KiB of values.
    Fetch,
}

/// The distance from the floor that the project aims at; `None` where there is no aim.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Target {
    /// Processor time per message: at most this many times the floor's.
    pub cpu_max: Option<f64>,
    /// Messages per second: at least this part of the floor's.
    pub rate_min: Option<f64>,
    /// Median latency: at most this many times the floor's.
    pub p50_max: Option<f64>,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What is done, for the table.
    pub about: &'static str,
    /// What is asked.
    pub work: Work,
    /// How much is in flight.
    pub load: Load,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// What the project aims at.
    pub target: Target,
}

const fn load(connections: usize, window: usize) -> Load {
    Load { connections, window }
}

const NO_TARGET: Target = Target { cpu_max: None, rate_min: None, p50_max: None };

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        name: "G1",
        about: "send 1 KiB, 64 connections x 1",
        work: Work::Send(1),
        load: load(64, 1),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.5), ..NO_TARGET },
    },
    Row {
        name: "G2",
        about: "send 1 KiB, 8 connections x 32",
        work: Work::Send(1),
        load: load(8, 32),
        durability: Durability::Async,
        target: Target { cpu_max: Some(3.0), ..NO_TARGET },
    },
    Row {
        name: "batch",
        about: "send batches of 16 x 1 KiB, 8 connections x 4",
        work: Work::Send(16),
        load: load(8, 4),
        durability: Durability::Async,
        target: NO_TARGET,
    },
    Row {
        name: "G4a",
        about: "send 1 KiB, 64 connections x 1",
        work: Work::Send(1),
        load: load(64, 1),
        durability: Durability::Sync,
        target: Target { cpu_max: Some(1.5), rate_min: Some(0.8), p50_max: None },
    },
    Row {
        name: "G4b",
        about: "send 1 KiB, 8 connections x 32",
        work: Work::Send(1),
        load: load(8, 32),
        durability: Durability::Sync,
        target: Target { cpu_max: Some(2.5), rate_min: Some(0.8), p50_max: None },
    },
    Row {
        name: "G5",
        about: "pull 1 KiB scattered over 64 queues, 64 KiB answers, 8 connections x 1",
        work: Work::Pull,
        load: load(8, 1),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.54), ..NO_TARGET },
    },
    Row {
        name: "G1k",
        about: "Kafka: produce one record of 1 KiB, 64 connections x 1",
        work: Work::Produce { records: 1, value_bytes: 1024 },
        load: load(64, 1),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.43), ..NO_TARGET },
    },
    Row {
        name: "G2k",
        about: "Kafka: produce one record of 1 KiB, 8 connections x 32",
        work: Work::Produce { records: 1, value_bytes: 1024 },
        load: load(8, 32),
        durability: Durability::Async,
        target: Target { cpu_max: Some(2.2), ..NO_TARGET },
    },
    Row {
        name: "G3a",
        about: "Kafka: produce batches of 16 x 1 KiB, 8 connections x 4",
        work: Work::Produce { records: 16, value_bytes: 1024 },
        load: load(8, 4),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.45), ..NO_TARGET },
    },
    Row {
        name: "G3b",
        about: "Kafka: produce batches of 160 x 100 bytes, 8 connections x 4",
        work: Work::Produce { records: 160, value_bytes: 100 },
        load: load(8, 4),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.45), ..NO_TARGET },
    },
    Row {
        name: "G4c",
        about: "Kafka: produce batches of 16 x 1 KiB, 8 connections x 4",
        work: Work::Produce { records: 16, value_bytes: 1024 },
        load: load(8, 4),
        durability: Durability::Sync,
        target: Target { cpu_max: Some(1.6), rate_min: Some(0.8), p50_max: None },
    },
    Row {
        name: "G5k",
        about: "Kafka: fetch batches of 16 x 1 KiB scattered over 64 partitions, 8 connections x 1",
        work: Work::Fetch,
        load: load(8, 1),
        durability: Durability::Async,
        target: Target { cpu_max: Some(1.5), ..NO_TARGET },
    },
    Row {
        name: "G10",
        about: "send 1 KiB, 1 connection x 1",
        work: Work::Send(1),
        load: load(1, 1),
        durability: Durability::Async,
        target: Target { p50_max: Some(1.15), ..NO_TARGET },
    },
];

impl Row {
    /// What the floor does meanwhile.
    pub fn floor_mode(&self) -> Mode {
        match (self.work, self.durability) {
            (Work::Pull, _) => Mode::Fetch,
            (Work::Fetch, _) => Mode::FetchBatches,
            (Work::Send(_) | Work::Produce { .. }, Durability::Async) => Mode::Write,
            (Work::Send(_) | Work::Produce { .. }, Durability::Sync) => Mode::Sync,
        }
    }

    /// The listener of the broker that is asked.
    pub fn listener(&self) -> &'static str {
        match self.work {
            Work::Send(_) | Work::Pull => "rocketmq",
            Work::Produce { .. } | Work::Fetch => "kafka",
        }
    }
}

/// The rows of these names, in the order of the table; a name stands for all rows that begin with it and a letter (`G4` for `G4a` and
/// `G4b`). No names are all rows.
///
/// # Errors
/// The first name that no row has.
pub fn chosen(names: &[String]) -> Result<Vec<Row>, String> {
    let is_named = |row: &Row, name: &str| {
        row.name.eq_ignore_ascii_case(name)
            || row.name.strip_prefix(name).is_some_and(|rest| matches!(rest.as_bytes(), [b'a'..=b'z']))
    };
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| is_named(row, name))) {
        return Err(unknown.clone());
    }
    let rows = ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| is_named(row, name)));
    Ok(rows.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
            chosen(&asked).map(|rows| rows.iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["G2k", "g1"]), Ok(vec!["G1", "G2k"]));
        assert_eq!(names(&["G2"]), Ok(vec!["G2", "G2k"]));
        assert_eq!(names(&["G4"]), Ok(vec!["G4a", "G4b", "G4c"]));
        assert_eq!(names(&[]).map(|all| all.len()), Ok(ROWS.len()));
        for unknown in ["G", "G6", ""] {
            assert_eq!(names(&["G1", unknown]), Err(unknown.to_owned()));
        }
    }
}
