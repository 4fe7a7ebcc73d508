//! `braidmq store`: looks at, checks and repairs the directory of a stopped broker, under its lock.

use std::io;
use std::path::Path;
use std::sync::Arc;

use braid_io::{Disk, OsDisk};
use braid_store::tool::{self, Inspection, Verification};
use braid_store::{Damage, OpenError, RecoveryRow, StoreOptions};
use serde::Serialize;

use super::progress::Progress;
use crate::cli::StoreCommand;
use crate::config::size;
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, aligned, facts};

/// A damaged range.
#[derive(Debug, Serialize)]
struct DamageJson {
    from: u64,
    to: u64,
    reason: String,
    lost: Vec<LostJson>,
}

/// Messages that are lost with it, as far as the records around tell.
#[derive(Debug, Serialize)]
struct LostJson {
    topic: String,
    queue: u32,
    first_offset: u64,
    messages: u64,
}

impl DamageJson {
    fn of(damage: &Damage) -> Self {
        let lost = damage.lost.iter().map(|(topic, queue, first_offset, messages)| LostJson {
            topic: topic.clone(),
            queue: *queue,
            first_offset: *first_offset,
            messages: *messages,
        });
        DamageJson {
            from: damage.from.0,
            to: damage.to.0,
            reason: damage.reason.clone(),
            lost: lost.collect(),
        }
    }

    fn all(damage: &[Damage]) -> Vec<Self> {
        damage.iter().map(Self::of).collect()
    }

    fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("positions {} to {}: {}", self.from, self.to, self.reason)];
        sentences.extend(self.lost.iter().map(|lost| {
            format!(
                "lost: {} messages of {}, queue {}, from offset {}",
                lost.messages, lost.topic, lost.queue, lost.first_offset
            )
        }));
        sentences
    }
}

fn damage_facts(damage: &[DamageJson]) -> impl Iterator<Item = (&'static str, String)> {
    damage.iter().flat_map(DamageJson::sentences).map(|sentence| ("DAMAGE", sentence))
}

#[derive(Debug, Serialize)]
struct InspectJson {
    directory: String,
    shard: u32,
    format_version: u32,
    file_bytes: u64,
    first_position: u64,
    end_position: u64,
    durable_position: u64,
    snapshot_position: u64,
    clean: bool,
    /// The number of unclean starts and where each began.
    epochs: Vec<EpochJson>,
    unflushed_bytes_max: u64,
    files: Vec<u64>,
    topics: Vec<TopicJson>,
    recovery: Vec<&'static str>,
    damage: Vec<DamageJson>,
}

#[derive(Debug, Serialize)]
struct EpochJson {
    epoch: u32,
    first_position: u64,
}

#[derive(Debug, Serialize)]
struct TopicJson {
    topic: String,
    id: String,
    queues: Vec<QueueJson>,
}

#[derive(Debug, Serialize)]
struct QueueJson {
    queue: u32,
    min_offset: u64,
    max_offset: u64,
}

#[derive(Debug, Serialize)]
struct VerifyJson {
    sound: bool,
    files: u64,
    records: u64,
    bytes: u64,
    end_position: u64,
    recovery: Vec<&'static str>,
    damage: Vec<DamageJson>,
    derived_findings: u64,
    derived: Vec<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RepairJson {
    repaired: bool,
    end_position: u64,
    damage: Vec<DamageJson>,
    notes: Vec<String>,
}

/// Runs a `store` command.
pub fn run(command: &StoreCommand, out: &mut Out) -> CliResult {
    match command {
        StoreCommand::Inspect { data } => inspect(data, out),
        StoreCommand::Verify { data } => verify(data, out).map(drop),
        StoreCommand::Repair { data, accept_loss } => repair(data, *accept_loss, out),
    }
}

fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(dir);
    options.derivers = crate::start::derivers();
    options
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn open_error(error: OpenError, dir: &Path) -> CliError {
    let message = format!("{}: {error}", dir.display());
    match error {
        OpenError::Locked(_) => {
            CliError::new(Code::Conflict, error.to_string()).hint("stop the broker first")
        }
        OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            CliError::new(Code::NotFound, message).hint("--data names the data directory of a broker")
        }
        _ => CliError::new(Code::Failure, message),
    }
}

fn inspect(dir: &Path, out: &mut Out) -> CliResult {
    let found = tool::inspect(&options(dir), disk()).map_err(|error| open_error(error, dir))?;
    let json = inspect_json(&found);
    out.object(&json, || inspect_text(&json))?;
    Ok(())
}

fn inspect_json(found: &Inspection) -> InspectJson {
    let queue = |(queue, offsets): &(u32, braid_store::QueueOffsets)| QueueJson {
        queue: *queue,
        min_offset: offsets.min,
        max_offset: offsets.max,
    };
    let topics = found.topics.iter().map(|(topic, queues)| TopicJson {
        topic: topic.name.clone(),
        id: format!("{:032x}", topic.id.0),
        queues: queues.iter().map(queue).collect(),
    });
    let epochs =
        found.epochs.iter().map(|(epoch, first)| EpochJson { epoch: *epoch, first_position: first.0 });
    InspectJson {
        directory: format!("{:032x}", found.directory),
        shard: found.shard,
        format_version: found.format_version,
        file_bytes: found.file_bytes,
        first_position: found.first.0,
        end_position: found.end.0,
        durable_position: found.durable.0,
        snapshot_position: found.snapshot.0,
        clean: found.clean,
        epochs: epochs.collect(),
        unflushed_bytes_max: found.unflushed_bytes_max,
        files: found.files.iter().map(|first| first.0).collect(),
        topics: topics.collect(),
        recovery: found.rows.iter().map(row_name).collect(),
        damage: DamageJson::all(&found.damage),
    }
}

fn inspect_text(json: &InspectJson) -> String {
    let mut pairs = vec![
        ("directory", json.directory.clone()),
        ("format", format!("version {}, shard {}", json.format_version, json.shard)),
        (
            "log",
            format!(
                "positions {} to {}, durable to {}",
                json.first_position, json.end_position, json.durable_position
            ),
        ),
        ("files", format!("{} of {}", json.files.len(), size(json.file_bytes))),
        ("snapshot", format!("covers the log up to {}", json.snapshot_position)),
        ("last stop", if json.clean { "in order" } else { "without order" }.to_owned()),
        ("unclean starts", json.epochs.last().map_or(0, |epoch| epoch.epoch).to_string()),
        ("a start takes", json.recovery.join(", ")),
    ];
    pairs.extend(damage_facts(&json.damage));
    let rows: Vec<Vec<String>> = json
        .topics
        .iter()
        .flat_map(|topic| {
            topic.queues.iter().map(|queue| {
                let offsets =
                    [queue.queue.to_string(), queue.min_offset.to_string(), queue.max_offset.to_string()];
                [vec![topic.topic.clone()], offsets.to_vec()].concat()
            })
        })
        .collect();
    format!("{}\n{}", facts(&pairs), aligned(&["TOPIC", "QUEUE", "MIN", "MAX"], &rows))
}

/// Reads everything; an error if anything is wrong.
fn verify(dir: &Path, out: &mut Out) -> CliResult {
    let found = read_all(dir)?;
    let json = verify_json(&found);
    out.object(&json, || verify_text(&json))?;
    if !found.damage.is_empty() {
        return Err(CliError::new(Code::Failure, format!("{} is damaged", dir.display())).hint(
            "a start serves reads only; `braidmq store repair --accept-loss` gives up what is damaged",
        ));
    }
    if found.derived_findings > 0 {
        let message =
            format!("the indexes of {} contradict the log {} times", dir.display(), found.derived_findings);
        return Err(
            CliError::new(Code::Failure, message).hint("delete braid/derived: the next start rebuilds it")
        );
    }
    Ok(())
}

fn read_all(dir: &Path) -> CliResult<Verification> {
    const MEBIBYTE: u64 = 1 << 20;
    let mut bar = None;
    let mut progress = |done: u64, total: u64| {
        bar.get_or_insert_with(|| Progress::new(Some(total / MEBIBYTE), false)).at(done / MEBIBYTE, "MiB");
    };
    tool::verify(&options(dir), disk(), &mut progress).map_err(|error| open_error(error, dir))
}

fn verify_json(found: &Verification) -> VerifyJson {
    VerifyJson {
        sound: found.is_sound(),
        files: found.files,
        records: found.records,
        bytes: found.bytes,
        end_position: found.end.0,
        recovery: found.rows.iter().map(row_name).collect(),
        damage: DamageJson::all(&found.damage),
        derived_findings: found.derived_findings,
        derived: found.derived.clone(),
        notes: found.notes.clone(),
    }
}

fn verify_text(json: &VerifyJson) -> String {
    let mut pairs = vec![
        ("read", format!("{} records in {} bytes of {} files", json.records, json.bytes, json.files)),
        ("end", json.end_position.to_string()),
        ("a start takes", json.recovery.join(", ")),
        ("verdict", if json.sound { "sound" } else { "NOT SOUND" }.to_owned()),
    ];
    pairs.extend(damage_facts(&json.damage));
    pairs.extend(json.derived.iter().map(|sentence| ("index", sentence.clone())));
    pairs.extend(json.notes.iter().map(|sentence| ("note", sentence.clone())));
    facts(&pairs)
}

/// Without `--accept-loss` it says what would be given up and touches nothing.
fn repair(dir: &Path, accept_loss: bool, out: &mut Out) -> CliResult {
    if !accept_loss {
        let found = read_all(dir)?;
        let json = RepairJson {
            repaired: false,
            end_position: found.end.0,
            damage: DamageJson::all(&found.damage),
            notes: found.notes,
        };
        out.object(&json, || repair_text(&json))?;
        if json.damage.is_empty() {
            return Ok(());
        }
        return Err(CliError::new(
            Code::Conflict,
            "nothing was repaired: what is damaged would be given up for ever",
        )
        .hint("--accept-loss does it; copy the directory first"));
    }
    let done = tool::repair(&options(dir), disk()).map_err(|error| open_error(error, dir))?;
    let json = RepairJson {
        repaired: !done.damage.is_empty(),
        end_position: done.end.0,
        damage: DamageJson::all(&done.damage),
        notes: done.notes,
    };
    out.object(&json, || repair_text(&json))?;
    Ok(())
}

fn repair_text(json: &RepairJson) -> String {
    let verdict = match (json.repaired, json.damage.is_empty()) {
        (true, _) => "repaired; the next start takes messages again",
        (false, true) => "nothing is damaged",
        (false, false) => "damaged",
    };
    let mut pairs = vec![("verdict", verdict.to_owned()), ("end", json.end_position.to_string())];
    pairs.extend(damage_facts(&json.damage));
    pairs.extend(json.notes.iter().map(|sentence| ("note", sentence.clone())));
    facts(&pairs)
}

/// A row of the recovery table, as scripts read it.
fn row_name(row: &RecoveryRow) -> &'static str {
    match row {
        RecoveryRow::New => "new",
        RecoveryRow::Clean => "clean",
        RecoveryRow::CleanEnd => "clean_end",
        RecoveryRow::TornTail => "torn_tail",
        RecoveryRow::Hole => "hole",
        RecoveryRow::IncompleteGroup => "incomplete_group",
        RecoveryRow::DamageBelowWatermark => "damage_below_watermark",
        RecoveryRow::ShorterThanWatermark => "shorter_than_watermark",
        RecoveryRow::MissingFile => "missing_file",
        RecoveryRow::NoSuperblock => "no_superblock",
    }
}
