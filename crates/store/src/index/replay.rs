//! Reading the journal at opening: up to its last checkpoint that holds, and nothing behind it.
//!
//! Blocks are taken in order while each is whole, lies where it says, and follows the one that it names. Where that
//! ends, a later file may begin anew; a checkpoint holds when no block is missing since the first file that it needs.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use braid_io::{Disk, File, OpenMode};

use super::block::{self, BLOCK_BYTES_MAX, Block, Body};
use super::entry::{Packed, Sum};
use super::journal::{FileCount, file_name, file_of};
use super::queue::Extent;
use crate::catalog::{QueueKey, TopicNumber};

/// Longest journal file that is read; more is not ours.
const FILE_BYTES_READ_MAX: u64 = 256 << 20;

pub(super) type Queues = BTreeMap<QueueKey, Vec<Extent>>;

/// What the journal holds.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) queues: Queues,
    pub(super) files: BTreeMap<u32, (Arc<dyn File>, FileCount)>,
    pub(super) next_file: u32,
    pub(super) previous_crc: u32,
    /// Position covered and first file needed; `None` when nothing can be used.
    pub(super) checkpoint: Option<(u64, u64)>,
}

/// A checkpoint and where it ends.
#[derive(Clone, Copy)]
struct Found {
    covered: u64,
    first_file: u64,
    file: u32,
    end: u64,
    crc: u32,
}

enum Step {
    Extent(QueueKey, Extent),
    Cut(u64),
    Dropped(TopicNumber),
}

/// Blocks without a break.
struct Chain {
    first_file: u32,
    previous_crc: Option<u32>,
    queues: Queues,
    /// Steps behind the last checkpoint.
    waiting: Vec<Step>,
    found: Option<Found>,
}

impl Chain {
    fn from(first_file: u32) -> Self {
        Self { first_file, previous_crc: None, queues: Queues::new(), waiting: Vec::new(), found: None }
    }
}

/// Reads the journal, and removes what stands behind the last checkpoint, durably.
pub(super) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Loaded> {
    let mut names: Vec<u32> = disk.list(dir)?.iter().filter_map(|entry| file_of(&entry.name)).collect();
    names.sort_unstable();
    let Some((&first, &last)) = names.first().zip(names.last()) else { return Ok(Loaded::default()) };
    let mut handles = BTreeMap::new();
    let mut best: Option<Chain> = None;
    let mut chain = Chain::from(first);
    let mut expected = first;
    for &file in &names {
        if file != expected {
            keep(&mut best, std::mem::replace(&mut chain, Chain::from(file)));
        }
        expected = file.saturating_add(1);
        // A file that can't be read covers nothing, as a damaged one.
        let Ok(handle) = disk.open(&dir.join(file_name(file.into())), OpenMode::Write) else {
            keep(&mut best, std::mem::replace(&mut chain, Chain::from(expected)));
            continue;
        };
        let bytes = read_all(&*handle).unwrap_or_default();
        handles.insert(file, handle);
        if !read_blocks(&mut chain, file, &bytes, &handles) {
            keep(&mut best, std::mem::replace(&mut chain, Chain::from(expected)));
        }
    }
    keep(&mut best, chain);
    let loaded = match best.and_then(|chain| chain.found.map(|found| (chain, found))) {
        Some((chain, found)) => settle(disk, dir, &names, handles, chain, found)?,
        None => {
            remove(disk, dir, &names)?;
            Loaded { next_file: last.saturating_add(1), ..Loaded::default() }
        }
    };
    Ok(loaded)
}

/// A later chain with a checkpoint is the better one.
fn keep(best: &mut Option<Chain>, chain: Chain) {
    if chain.found.is_some() {
        *best = Some(chain);
    }
}

fn read_all(handle: &dyn File) -> io::Result<Vec<u8>> {
    let len = handle.len()?.min(FILE_BYTES_READ_MAX);
    let mut bytes = vec![0; len as usize];
    handle.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Takes a file's blocks; false when a break is found before the file's end.
fn read_blocks(chain: &mut Chain, file: u32, bytes: &[u8], handles: &BTreeMap<u32, Arc<dyn File>>) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let Some(block) = block::parse(&bytes[at..(at + BLOCK_BYTES_MAX).min(bytes.len())]) else {
            return false;
        };
        let follows = block.link.file == u64::from(file)
            && block.link.at == at as u64
            && chain.previous_crc.is_none_or(|crc| crc == block.link.previous_crc)
            && (at == 0) == matches!(block.body, Body::File);
        if !follows {
            return false;
        }
        chain.previous_crc = Some(block.crc);
        let end = (at + block.len) as u64;
        if !take(chain, &block, (file, at as u32), end, handles) {
            return false;
        }
        at += block.len;
    }
    at > 0
}

fn take(
    chain: &mut Chain,
    block: &Block<'_>,
    place: (u32, u32),
    end: u64,
    handles: &BTreeMap<u32, Arc<dyn File>>,
) -> bool {
    match block.body {
        Body::File => {}
        Body::Extent(head, packed) => {
            let sum = Sum::of(packed.entries(packed.len()));
            let extent = Extent::new(place, &head, packed.shape, packed.len(), sum);
            chain.waiting.push(Step::Extent(head.queue, extent));
        }
        Body::Cut { position } => chain.waiting.push(Step::Cut(position)),
        Body::Dropped { topic } => chain.waiting.push(Step::Dropped(topic)),
        Body::Checkpoint { covered, first_file } => {
            for step in std::mem::take(&mut chain.waiting) {
                if !apply(&mut chain.queues, step, handles) {
                    return false;
                }
            }
            if u64::from(chain.first_file) <= first_file {
                chain.found = Some(Found { covered, first_file, file: place.0, end, crc: block.crc });
            }
        }
    }
    true
}

/// False when the step contradicts what stands before it.
fn apply(queues: &mut Queues, step: Step, handles: &BTreeMap<u32, Arc<dyn File>>) -> bool {
    match step {
        Step::Extent(queue, extent) => replace(queues.entry(queue).or_default(), extent),
        Step::Dropped(topic) => {
            queues.retain(|queue, _| queue.topic != topic);
            true
        }
        Step::Cut(position) => cut(queues, position, &mut |queue, extent| {
            let handle = handles.get(&extent.place().0).ok_or(io::ErrorKind::NotFound)?;
            used_below(&**handle, queue, extent, position)
        })
        .is_ok(),
    }
}

/// Puts an extent in the place of those that it covers.
fn replace(extents: &mut Vec<Extent>, extent: Extent) -> bool {
    let from = extents.partition_point(|old| old.next_offset() <= extent.first_offset);
    let to = extents.partition_point(|old| old.first_offset < extent.next_offset());
    let covers = extents[from..to]
        .iter()
        .all(|old| old.first_offset >= extent.first_offset && old.next_offset() <= extent.next_offset());
    if covers {
        extents.splice(from..to, [extent]);
    }
    covers
}

/// How much of an extent is left.
pub(super) struct Left {
    used: usize,
    /// The offset behind the entries.
    next_offset: u64,
    sum: Sum,
}

/// Forgets entries at and above `position`. `left` looks into a block that lies on both sides. True when there were any.
pub(super) fn cut(
    queues: &mut Queues,
    position: u64,
    left: &mut dyn FnMut(QueueKey, &Extent) -> io::Result<Left>,
) -> io::Result<bool> {
    let mut any = false;
    for (queue, extents) in queues.iter_mut() {
        let kept = extents.partition_point(|extent| extent.first_position < position);
        any |= kept < extents.len();
        extents.truncate(kept);
        if let Some(last) = extents.last_mut().filter(|last| last.last_position >= position) {
            let Left { used, next_offset, sum } = left(*queue, last)?;
            any |= used < last.used();
            last.cut(used, next_offset, position, sum);
        }
    }
    queues.retain(|_, extents| !extents.is_empty());
    Ok(any)
}

/// Reads an extent's block and counts its entries below `position`, at least one.
pub(super) fn used_below(
    handle: &dyn File,
    queue: QueueKey,
    extent: &Extent,
    position: u64,
) -> io::Result<Left> {
    let mut bytes = vec![0; extent.block_bytes()];
    handle.read_exact_at(&mut bytes, extent.place().1.into())?;
    match block::parse(&bytes).map(|block| block.body) {
        Some(Body::Extent(head, packed)) if head.queue == queue => {
            left_below(&packed, extent, position).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn left_below(packed: &Packed<'_>, extent: &Extent, position: u64) -> Option<Left> {
    let used = packed.index_at(position, extent.used());
    (used > 0).then(|| Left {
        used,
        next_offset: packed.get(used - 1).next_offset(),
        sum: Sum::of(packed.entries(used)),
    })
}

/// Leaves on disk what the checkpoint needs and nothing else, and counts it.
fn settle(
    disk: &dyn Disk,
    dir: &Path,
    names: &[u32],
    mut handles: BTreeMap<u32, Arc<dyn File>>,
    chain: Chain,
    found: Found,
) -> io::Result<Loaded> {
    let last = handles.get(&found.file).expect("the checkpoint was read from it");
    if last.len()? > found.end {
        last.set_len(found.end)?;
        last.sync_data()?;
    }
    // What the checkpoint does not need stays until the next one, which will be durable: this one may be known only
    // because a process ended and not the machine.
    let in_chain = |file: &u32| (chain.first_file..=found.file).contains(file);
    let others: Vec<u32> = names.iter().copied().filter(|file| !in_chain(file)).collect();
    remove(disk, dir, &others)?;
    handles.retain(|file, _| in_chain(file));
    let mut files = BTreeMap::new();
    for (file, handle) in handles {
        let bytes = handle.len()?;
        files.insert(file, (handle, FileCount { bytes, live: 0 }));
    }
    for extent in chain.queues.values().flatten() {
        let (_, count) = files.get_mut(&extent.place().0).expect("the chain was read from these files");
        count.live += extent.block_bytes() as u64;
    }
    Ok(Loaded {
        queues: chain.queues,
        files,
        next_file: found.file.saturating_add(1),
        previous_crc: found.crc,
        checkpoint: Some((found.covered, found.first_file)),
    })
}

/// Removes files so that no crash brings them back.
fn remove(disk: &dyn Disk, dir: &Path, files: &[u32]) -> io::Result<()> {
    for file in files {
        disk.remove_file(&dir.join(file_name((*file).into())))?;
    }
    if files.is_empty() { Ok(()) } else { disk.sync_dir(dir) }
}
