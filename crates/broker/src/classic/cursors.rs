//! What members of classic groups commit, who may, and when it is forgotten.

use std::collections::HashSet;
use std::sync::Arc;

use braid_store::{Promise, QueueKey, TopicNumber};

use super::machine::{Act, Machine};
use super::table::instance;
use super::{GroupError, GroupState, kept};
use crate::broker::Broker;
use crate::cursor::NotedCommit;
use crate::error::Error;

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    /// The group.
    pub group: &'a str,
    /// The member; empty for a client that is none.
    pub member_id: &'a str,
    /// Its instance id, when it is static.
    pub instance_id: Option<&'a str>,
    /// The generation that it is in; negative for a client that is no member.
    pub generation: i32,
}

/// From when on a group's cursors are forgotten.
enum Expiry {
    /// Those older than their life.
    ByCommit,
    /// None younger than this time, however old their commits: somebody used them until then.
    NotBefore(i64),
    /// Those older than their life whose topics nobody in the group reads.
    Unread(HashSet<TopicNumber>),
    /// None.
    Never,
}

impl Broker {
    /// Tells how to read what members subscribe to, once. Without it nobody knows: cursors of groups with members are
    /// not deleted.
    pub fn read_subscriptions_with(&self, read: super::ReadSubscriptions) {
        // The first word counts.
        let _ = self.classic.subscriptions.set(read);
    }

    /// Commits as a member of a classic group, or as a client that is in no group; durable. The promise is `None` when
    /// there was nothing to commit.
    ///
    /// # Errors
    /// `Group` when it may not commit: `NoGroup` when a member names a group that does not exist, `UnknownMember` also
    /// for a client without a group while anybody is in it. Also `NoTopic`, `NoQueue`,
    /// `Limit`, `Invalid`, or why nothing could be appended.
    pub fn commit_as(
        &self,
        who: &Committer<'_>,
        commits: &[NotedCommit<'_>],
    ) -> Result<Option<Promise<()>>, Error> {
        let instance_id = instance(who.instance_id);
        let _gate = (who.generation < 0).then(|| self.classic.gate(who.group));
        if who.generation < 0 && self.shares_queues(who.group) {
            return Err(GroupError::UnknownMember.into());
        }
        let Some(slot) = self.classic.slot(who.group) else {
            return match who.generation {
                ..0 => self.commit_noted(who.group, commits),
                _ if self.has_cursors(who.group) => Err(GroupError::UnknownMember.into()),
                _ => Err(GroupError::NoGroup.into()),
            };
        };
        // The group stays as it is until the commits are appended.
        let (result, due) = self.work(&slot, |machine, act| {
            machine.check_commit(who.member_id, instance_id, who.generation, act)?;
            self.commit_noted(who.group, commits)
        });
        due.give();
        result
    }

    /// Deletes a classic group that has no members, with its cursors, whoever committed them. What a group of this name is
    /// configured to be otherwise stays.
    ///
    /// # Errors
    /// `Group` with `NoGroup` or `NotEmpty`, or why nothing could be appended.
    pub fn delete_classic_group(&self, group: &str) -> Result<Promise<()>, Error> {
        let _gate = self.classic.gate(group);
        let slot = self.classic.slot(group);
        if slot.is_none() && !self.has_cursors(group) {
            return Err(GroupError::NoGroup.into());
        }
        let has_members = slot.as_ref().is_some_and(|slot| slot.look(|machine| !machine.members.is_empty()));
        if has_members || self.is_group_online(group) {
            return Err(GroupError::NotEmpty.into());
        }
        // Members come in through the gate only.
        self.delete_cursors(group, None)?;
        if let Some(slot) = slot {
            self.append_state(&[kept::change(group, None)])?;
            let (_, due) = self.work(&slot, |machine, act| machine.end(act));
            due.give();
        }
        Ok(self.promise_of_all_appended(()))
    }

    /// Deletes a group's cursors in these queues; those that are not there are deleted already. Each has its own result;
    /// the promise is for those that were deleted.
    ///
    /// # Errors
    /// `Group` with `NoGroup`, or `NotEmpty` when it has members of whom nobody knows what they read; or why nothing
    /// could be appended.
    #[allow(clippy::type_complexity, reason = "a list and a promise")]
    pub fn delete_group_cursors(
        &self,
        group: &str,
        queues: &[QueueKey],
    ) -> Result<(Vec<Result<(), GroupError>>, Promise<()>), Error> {
        let slot = self.classic.slot(group);
        if slot.is_none() && !self.has_cursors(group) {
            return Err(GroupError::NoGroup.into());
        }
        let mut read: HashSet<TopicNumber> = HashSet::new();
        if slot.is_some_and(|slot| slot.look(|machine| !machine.members.is_empty())) {
            read = self.topics_read_by(group).ok_or(GroupError::NotEmpty)?;
        }
        if self.is_group_online(group) {
            read.extend(
                queues.iter().map(|queue| queue.topic).filter(|topic| self.is_subscribed(group, *topic)),
            );
        }
        let result = |queue: &QueueKey| match read.contains(&queue.topic) {
            true => Err(GroupError::Subscribed),
            false => Ok(()),
        };
        let results: Vec<_> = queues.iter().map(result).collect();
        let free = queues.iter().copied().filter(|queue| !read.contains(&queue.topic)).collect();
        self.delete_cursors_in(group, &free)?;
        Ok((results, self.promise_of_all_appended(())))
    }

    fn is_subscribed(&self, group: &str, topic: TopicNumber) -> bool {
        let name = self.topic_numbered(topic).map(|topic| topic.name().to_owned());
        name.is_some_and(|name| self.subscription(group, &name).is_some())
    }

    /// Topics that a classic group's members read; `None` when it cannot be told.
    fn topics_read_by(&self, group: &str) -> Option<HashSet<TopicNumber>> {
        let read = self.classic.subscriptions.get()?;
        let slot = self.classic.slot(group)?;
        let (protocol_type, words): (String, Vec<Arc<[u8]>>) = slot.look(|machine| {
            let words = machine.members.values().map(|member| member.metadata(&machine.protocol));
            (machine.protocol_type.clone(), words.collect())
        });
        let mut topics = HashSet::new();
        for word in words {
            let names = read(self, &protocol_type, &word)?;
            topics.extend(names.iter().filter_map(|name| self.topic(name)).map(|topic| topic.number));
        }
        Some(topics)
    }

    /// Forgets cursors that classic members committed and nobody uses any more, and groups without members and cursors.
    /// Groups whose members heartbeats announce are left alone. Called by [`Broker::turn`].
    ///
    /// # Errors
    /// Why something could not be appended; it is tried again at the next call.
    pub fn expire_group_cursors(&self) -> Result<(), Error> {
        let now_ms = self.clock.wall_ms();
        let life_ms = self.options.classic.cursor_life_ms;
        for group in self.groups_with_cursors() {
            if self.is_group_online(&group) {
                continue;
            }
            let before_ms = now_ms.saturating_sub(life_ms);
            let promise = match self.expiry(&group) {
                Expiry::ByCommit => self.expire_noted(&group, before_ms, |_| true)?,
                Expiry::NotBefore(since_ms) if since_ms >= before_ms => None,
                Expiry::NotBefore(_) => self.expire_noted(&group, before_ms, |_| true)?,
                Expiry::Unread(read) => {
                    self.expire_noted(&group, before_ms, |topic| !read.contains(&topic))?
                }
                Expiry::Never => None,
            };
            if promise.is_some() {
                tracing::info!(group, "cursors that nobody used for long are forgotten");
            }
        }
        for slot in self.classic.slots() {
            let _gate = self.classic.gate(&slot.name);
            let is_idle = slot.look(|machine| machine.state == GroupState::Empty && !machine.is_live());
            if is_idle && !self.has_cursors(&slot.name) {
                self.append_state(&[kept::change(&slot.name, None)])?;
                let (_, due) = self.work(&slot, |machine: &mut Machine, act: &mut Act<'_>| machine.end(act));
                due.give();
            }
        }
        Ok(())
    }

    fn expiry(&self, group: &str) -> Expiry {
        let Some(slot) = self.classic.slot(group) else { return Expiry::ByCommit };
        let (state, since_ms, is_simple) =
            slot.look(|machine| (machine.state, machine.since_ms, machine.protocol_type.is_empty()));
        match state {
            GroupState::Empty if is_simple => Expiry::ByCommit,
            GroupState::Empty => Expiry::NotBefore(since_ms),
            GroupState::Stable => self.topics_read_by(group).map_or(Expiry::Never, Expiry::Unread),
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Dead => {
                Expiry::Never
            }
        }
    }
}
