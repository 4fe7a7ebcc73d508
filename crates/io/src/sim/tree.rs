//! Names and what they stand for: directories with a live and a durable side.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::content::Content;
use super::faults::{Coverage, FaultKind};
use crate::rng::Rng;

/// A file or directory, whatever its names.
pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;

/// Files that lost their last name stay a while as the source of stale bytes, as freed blocks do.
const GRAVEYARD_MAX: usize = 4;

/// One unsynced change of one directory.
#[derive(Debug, Clone)]
enum DirOp {
    Add { name: String, node: NodeId },
    Remove { name: String },
    Rename { from: String, to: String, node: NodeId },
}

#[derive(Debug, Clone)]
struct Pending {
    op: DirOp,
    /// The halves of a rename between two directories have one number: the journal holds both or none.
    pair: Option<u64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Dir {
    live: BTreeMap<String, NodeId>,
    durable: BTreeMap<String, NodeId>,
    pending: Vec<Pending>,
}

impl DirOp {
    fn apply(&self, names: &mut BTreeMap<String, NodeId>) {
        match self {
            DirOp::Add { name, node } => {
                names.insert(name.clone(), *node);
            }
            DirOp::Remove { name } => {
                names.remove(name);
            }
            DirOp::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Dir {
    fn change(&mut self, op: DirOp, pair: Option<u64>) {
        op.apply(&mut self.live);
        self.pending.push(Pending { op, pair });
    }
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File { content: Content, opens: u64 },
    Dir(Dir),
}

/// All names and files of a disk.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
    next_pair: u64,
    graveyard: Vec<Vec<u8>>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(Dir::default()))]);
        Self { nodes, next: ROOT + 1, next_pair: 0, graveyard: Vec::new() }
    }

    /// The node of a path, or `NotFound`.
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in names(path)? {
            let found = self.dir(node)?.live.get(name);
            node = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The file that has this path when only what is durable counts.
    pub(super) fn durable_content(&self, path: &Path) -> Option<&Content> {
        let mut node = ROOT;
        for name in names(path).ok()? {
            let Some(Node::Dir(dir)) = self.nodes.get(&node) else { return None };
            node = *dir.durable.get(name)?;
        }
        match self.nodes.get(&node) {
            Some(Node::File { content, .. }) => Some(content),
            _ => None,
        }
    }

    pub(super) fn dir(&self, node: NodeId) -> io::Result<&Dir> {
        match self.nodes.get(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File { .. }) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> io::Result<&mut Dir> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File { .. }) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&mut self, node: NodeId) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&node) {
            Some(Node::File { content, .. }) => Ok(content),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Name, length and kind of each entry of a directory.
    pub(super) fn entries(&self, node: NodeId) -> io::Result<Vec<(String, bool, u64)>> {
        let entries = self.dir(node)?.live.iter().map(|(name, node)| match self.nodes.get(node) {
            Some(Node::File { content, .. }) => (name.clone(), false, content.len()),
            _ => (name.clone(), true, 0),
        });
        Ok(entries.collect())
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.create(path, Node::File { content: Content::default(), opens: 0 })
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut so_far = std::path::PathBuf::from("/");
        for name in names(path)? {
            so_far.push(name);
            match self.find(&so_far) {
                Ok(node) => {
                    self.dir(node)?;
                }
                Err(_) => {
                    self.create(&so_far, Node::Dir(Dir::default()))?;
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (parent, name) = self.place(path)?;
        if self.dir(parent)?.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.dir_mut(parent)?.change(DirOp::Add { name, node: id }, None);
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_dir, from) = self.place(from)?;
        let (to_dir, to) = self.place(to)?;
        let source_is_dir = self.dir(node).is_ok();
        if let Some(target) = self.dir(to_dir)?.live.get(&to)
            && (source_is_dir || self.dir(*target).is_ok())
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if from_dir == to_dir {
            if from != to {
                self.dir_mut(from_dir)?.change(DirOp::Rename { from, to, node }, None);
            }
        } else {
            let pair = Some(self.next_pair);
            self.next_pair += 1;
            self.dir_mut(to_dir)?.change(DirOp::Add { name: to, node }, pair);
            self.dir_mut(from_dir)?.change(DirOp::Remove { name: from }, pair);
        }
        self.bury();
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        self.content(node)?;
        let (parent, name) = self.place(path)?;
        self.dir_mut(parent)?.change(DirOp::Remove { name }, None);
        self.bury();
        Ok(())
    }

    /// Removes every name below, each a step of its own as a real removal is, and then the directory's.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        let below: Vec<String> = self.dir(node)?.live.keys().cloned().collect();
        for name in below {
            let child = path.join(&name);
            if self.dir(self.find(&child)?).is_ok() {
                self.remove_dir_all(&child)?;
            } else {
                self.remove_file(&child)?;
            }
        }
        let (parent, name) = self.place(path)?;
        self.dir_mut(parent)?.change(DirOp::Remove { name }, None);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, node: NodeId) -> io::Result<()> {
        let dir = self.dir_mut(node)?;
        dir.pending.clear();
        dir.durable = dir.live.clone();
        self.bury();
        Ok(())
    }

    /// A sync that failed: each operation has reached the device or never will.
    pub(super) fn fail_sync_dir(&mut self, node: NodeId, rng: &mut Rng) -> io::Result<()> {
        let dir = self.dir_mut(node)?;
        for pending in std::mem::take(&mut dir.pending) {
            if rng.one_in(2) {
                pending.op.apply(&mut dir.durable);
            }
        }
        self.bury();
        Ok(())
    }

    pub(super) fn opened(&mut self, node: NodeId) {
        if let Some(Node::File { opens, .. }) = self.nodes.get_mut(&node) {
            *opens += 1;
        }
    }

    pub(super) fn closed(&mut self, node: NodeId) {
        if let Some(Node::File { opens, .. }) = self.nodes.get_mut(&node) {
            *opens = opens.saturating_sub(1);
            if *opens == 0 {
                self.bury();
            }
        }
    }

    /// Room taken by all files that still have a live name or an open handle.
    pub(super) fn room(&self) -> u64 {
        let named = self.named(|dir| &dir.live);
        let files = self.nodes.iter().map(|(id, node)| match node {
            Node::File { content, opens } if *opens > 0 || named.contains(id) => content.room(),
            _ => 0,
        });
        files.sum()
    }

    /// True when nothing would be lost by a crash now.
    pub(super) fn is_synced(&self) -> bool {
        self.nodes.values().all(|node| match node {
            Node::File { content, .. } => content.is_synced(),
            Node::Dir(dir) => dir.pending.is_empty(),
        })
    }

    pub(super) fn kill(&mut self, rng: &mut Rng) {
        for node in self.nodes.values_mut() {
            if let Node::File { content, opens } = node {
                *opens = 0;
                content.kill(rng);
            }
        }
        self.bury();
    }

    pub(super) fn crash(&mut self, rng: &mut Rng, coverage: &mut Coverage) {
        let mut pairs: BTreeMap<u64, bool> = BTreeMap::new();
        for node in self.nodes.values_mut() {
            let Node::Dir(dir) = node else { continue };
            // Often all of a directory is kept, or all lost: the journal commits in steps.
            let all = match rng.below(4) {
                0 => Some(true),
                1 => Some(false),
                _ => None,
            };
            for pending in std::mem::take(&mut dir.pending) {
                let drawn = all.unwrap_or_else(|| rng.one_in(2));
                let kept = pending.pair.map_or(drawn, |pair| *pairs.entry(pair).or_insert(drawn));
                coverage.count(if kept { FaultKind::DirOpKept } else { FaultKind::DirOpLost }.name());
                if kept {
                    pending.op.apply(&mut dir.durable);
                }
            }
            dir.live = dir.durable.clone();
        }
        let sources = self.stale_sources();
        for node in self.nodes.values_mut() {
            if let Node::File { content, opens } = node {
                *opens = 0;
                let stale = if sources.is_empty() {
                    &[][..]
                } else {
                    &sources[rng.below(sources.len() as u64) as usize]
                };
                content.crash(stale, rng, coverage);
            }
        }
        self.bury();
    }

    /// Bytes that a block which changes hands may still hold: those of removed files first, and of some others.
    fn stale_sources(&self) -> Vec<Vec<u8>> {
        let mut sources = self.graveyard.clone();
        let others = self.nodes.values().filter_map(|node| match node {
            Node::File { content, .. } if !content.durable().is_empty() => Some(content.durable().to_vec()),
            _ => None,
        });
        sources.extend(others.take(GRAVEYARD_MAX));
        sources
    }

    fn named<'a>(
        &'a self,
        side: impl Fn(&'a Dir) -> &'a BTreeMap<String, NodeId>,
    ) -> std::collections::BTreeSet<NodeId> {
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            Node::File { .. } => None,
        });
        dirs.flat_map(|dir| side(dir).values().copied()).collect()
    }

    /// Frees what no name (live, durable or still to be synced) and no handle can reach.
    fn bury(&mut self) {
        let mut reached = std::collections::BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(node) = todo.pop() {
            let Some(Node::Dir(dir)) = self.nodes.get(&node) else { continue };
            let added = dir.pending.iter().filter_map(|pending| match &pending.op {
                DirOp::Add { node, .. } | DirOp::Rename { node, .. } => Some(*node),
                DirOp::Remove { .. } => None,
            });
            for child in dir.live.values().chain(dir.durable.values()).copied().chain(added) {
                if reached.insert(child) {
                    todo.push(child);
                }
            }
        }
        let dead: Vec<NodeId> = self.nodes.keys().copied().filter(|id| !reached.contains(id)).collect();
        for id in dead {
            if matches!(self.nodes.get(&id), Some(Node::File { opens, .. }) if *opens > 0) {
                continue;
            }
            if let Some(Node::File { content, .. }) = self.nodes.remove(&id)
                && !content.live().is_empty()
            {
                self.graveyard.push(content.live().to_vec());
                if self.graveyard.len() > GRAVEYARD_MAX {
                    self.graveyard.remove(0);
                }
            }
        }
    }

    /// The directory of a path, which must be there, and the last name.
    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let mut dir = ROOT;
        for name in names {
            let found = self.dir(dir)?.live.get(name);
            dir = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(dir)?;
        Ok((dir, last))
    }
}

/// The names of a path from the root; a relative path starts at the root too.
fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
