//! Topics and their queues, as the store knows them: by number, never by name alone.
//!
//! A name may be used again after its topic was deleted, so a record belongs to the incarnation that existed at the
//! record's position: created before it, not deleted before it. A rebuild asks the same question, and the records of a
//! deleted topic stay dead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::bytes::{Reader, put_u32, put_u128};

/// A topic's number in this directory, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicNumber(pub u32);

/// A topic's identity in the world (Kafka's topic id).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({:032x})", self.0)
    }
}

/// One queue of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The topic.
    pub topic: TopicNumber,
    /// The queue inside it.
    pub queue_id: u32,
}

/// A topic that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: TopicNumber,
    /// Its id.
    pub id: TopicId,
    /// What `broker` keeps with it; opaque here.
    pub config: Vec<u8>,
}

/// The topic of state records: always there, with number 0.
pub(crate) const STATE_TOPIC: &str = "BRAID_SYS_STATE";
/// The topic of the filler that a repair puts over damage. It never exists, so its records are dead.
pub(crate) const LOST_TOPIC: &str = "BRAID_SYS_LOST";
/// Number of [`STATE_TOPIC`].
pub(crate) const STATE_TOPIC_NUMBER: TopicNumber = TopicNumber(0);
/// Topics that may exist at a time.
pub(crate) const TOPICS_MAX: usize = 1 << 20;

/// One life of a topic's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) name: Arc<str>,
    pub(crate) number: TopicNumber,
    pub(crate) id: TopicId,
    /// Place of the record that made it.
    pub(crate) created: u64,
    /// Place of the record that ended it.
    pub(crate) deleted: Option<u64>,
    pub(crate) config: Vec<u8>,
}

impl Incarnation {
    fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.to_string(),
            number: self.number,
            id: self.id,
            config: self.config.clone(),
        }
    }

    fn lived_at(&self, position: u64) -> bool {
        self.created <= position && self.deleted.is_none_or(|end| position < end)
    }
}

/// All topics that exist, and the deleted ones whose records may still be in the log.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    by_number: BTreeMap<u32, Incarnation>,
    /// Numbers that a name had, oldest first.
    by_name: BTreeMap<Arc<str>, Vec<u32>>,
    next_number: u32,
    live: usize,
}

impl Catalog {
    /// A catalog that knows the state topic alone.
    pub(crate) fn new() -> Self {
        let mut catalog =
            Self { by_number: BTreeMap::new(), by_name: BTreeMap::new(), next_number: 0, live: 0 };
        catalog.insert(Incarnation {
            name: STATE_TOPIC.into(),
            number: STATE_TOPIC_NUMBER,
            id: TopicId(0),
            created: 0,
            deleted: None,
            config: Vec::new(),
        });
        catalog
    }

    /// Adds a life of a name, in the order of their creation.
    pub(crate) fn insert(&mut self, incarnation: Incarnation) {
        let number = incarnation.number.0;
        self.live += usize::from(incarnation.deleted.is_none());
        self.next_number = self.next_number.max(number + 1);
        self.by_name.entry(incarnation.name.clone()).or_default().push(number);
        let before = self.by_number.insert(number, incarnation);
        assert!(before.is_none(), "topic number {number} is used once");
    }

    pub(crate) fn next_number(&self) -> TopicNumber {
        TopicNumber(self.next_number)
    }

    /// Numbers below this were used, though nothing of them may be left.
    pub(crate) fn used_below(&mut self, number: u32) {
        self.next_number = self.next_number.max(number);
    }

    /// The life that a record of this name at this place belongs to.
    pub(crate) fn resolve(&self, name: &str, position: u64) -> Option<TopicNumber> {
        let numbers = self.by_name.get(name)?;
        numbers.iter().rev().find(|n| self.by_number[*n].lived_at(position)).map(|&n| TopicNumber(n))
    }

    /// True when a record at this place may be in the topic's queues.
    pub(crate) fn lived_at(&self, topic: TopicNumber, position: u64) -> bool {
        self.by_number.get(&topic.0).is_some_and(|i| i.lived_at(position))
    }

    /// The topic, if it exists now.
    pub(crate) fn live(&self, topic: TopicNumber) -> Option<&Incarnation> {
        self.by_number.get(&topic.0).filter(|i| i.deleted.is_none())
    }

    /// The topic of that name, if it exists now.
    pub(crate) fn named(&self, name: &str) -> Option<&Incarnation> {
        self.live(TopicNumber(*self.by_name.get(name)?.last()?))
    }

    pub(crate) fn info(&self, name: &str) -> Option<TopicInfo> {
        self.named(name).map(Incarnation::info)
    }

    pub(crate) fn infos(&self) -> Vec<TopicInfo> {
        self.by_name.keys().filter_map(|name| self.info(name)).collect()
    }

    /// All lives, in the order of their numbers.
    pub(crate) fn incarnations(&self) -> impl Iterator<Item = &Incarnation> {
        self.by_number.values()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live >= TOPICS_MAX || self.next_number > braid_record::target::TOPIC_NUMBER_MAX
    }

    /// Applies a topic entry of a state record at `position`; gives the topic that ended by it.
    ///
    /// # Errors
    /// A sentence, when the entry contradicts what is known.
    pub(crate) fn apply(
        &mut self,
        name: &[u8],
        value: Option<&[u8]>,
        position: u64,
    ) -> Result<Option<TopicNumber>, String> {
        let name = std::str::from_utf8(name).map_err(|_| "a topic's name is not UTF-8".to_owned())?;
        let current = self.named(name).map(|i| i.number);
        let Some(value) = value else {
            let number = current.ok_or_else(|| format!("topic {name} is deleted and did not exist"))?;
            let incarnation = self.by_number.get_mut(&number.0).ok_or("a number without a topic")?;
            incarnation.deleted = Some(position);
            self.live -= 1;
            return Ok(Some(number));
        };
        let (number, id, config) =
            decode_topic(value).ok_or_else(|| format!("the entry of topic {name} is too short"))?;
        match current {
            Some(known) if known == number => {
                let incarnation = self.by_number.get_mut(&number.0).ok_or("a number without a topic")?;
                incarnation.config = config.to_vec();
            }
            Some(known) => return Err(format!("topic {name} has number {} and gets {}", known.0, number.0)),
            None if self.by_number.contains_key(&number.0) => {
                return Err(format!("topic {name} gets number {}, which was used", number.0));
            }
            None => self.insert(Incarnation {
                name: name.into(),
                number,
                id,
                created: position,
                deleted: None,
                config: config.to_vec(),
            }),
        }
        Ok(None)
    }

    /// Forgets deleted topics of which no record can be in the log any more.
    pub(crate) fn forget_below(&mut self, first_position: u64) {
        let gone: Vec<u32> = self
            .by_number
            .values()
            .filter(|i| i.deleted.is_some_and(|end| end < first_position))
            .map(|i| i.number.0)
            .collect();
        for number in gone {
            if let Some(incarnation) = self.by_number.remove(&number)
                && let Some(numbers) = self.by_name.get_mut(&incarnation.name)
            {
                numbers.retain(|&n| n != number);
                if numbers.is_empty() {
                    self.by_name.remove(&incarnation.name);
                }
            }
        }
    }
}

/// The value of a topic's state entry.
pub(crate) fn encode_topic(number: TopicNumber, id: TopicId, config: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(20 + config.len());
    put_u32(&mut value, number.0);
    put_u128(&mut value, id.0);
    value.extend_from_slice(config);
    value
}

fn decode_topic(value: &[u8]) -> Option<(TopicNumber, TopicId, &[u8])> {
    let mut reader = Reader::new(value);
    let (number, id) = (reader.u32()?, reader.u128()?);
    Some((TopicNumber(number), TopicId(id), &value[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[(&str, u32, u64)]) -> Catalog {
        let mut catalog = Catalog::new();
        for &(name, number, created) in names {
            let value = encode_topic(TopicNumber(number), TopicId(u128::from(number)), b"c");
            assert_eq!(catalog.apply(name.as_bytes(), Some(&value), created), Ok(None));
        }
        catalog
    }

    #[test]
    fn a_name_that_is_used_again_is_another_topic() {
        let mut catalog = with(&[("a", 1, 100)]);
        assert_eq!(catalog.apply(b"a", None, 200), Ok(Some(TopicNumber(1))));
        assert_eq!(catalog.named("a"), None);
        let value = encode_topic(catalog.next_number(), TopicId(9), b"");
        catalog.apply(b"a", Some(&value), 300).unwrap();
        for (position, number) in [(99, None), (100, Some(1)), (199, Some(1)), (200, None), (300, Some(2))] {
            assert_eq!(catalog.resolve("a", position), number.map(TopicNumber), "at {position}");
        }
        catalog.forget_below(201);
        assert_eq!(catalog.resolve("a", 150), None);
        assert_eq!(catalog.next_number(), TopicNumber(3), "numbers are never used twice");
    }

    #[test]
    fn contradicting_entries_are_refused() {
        let mut catalog = with(&[("a", 1, 100)]);
        assert!(catalog.apply(b"b", None, 200).is_err());
        let taken = encode_topic(TopicNumber(1), TopicId(1), b"");
        assert!(catalog.apply(b"b", Some(&taken), 200).is_err());
        assert!(catalog.apply(b"a", Some(&encode_topic(TopicNumber(5), TopicId(1), b"")), 200).is_err());
        assert!(catalog.apply(b"a", Some(b"short"), 200).is_err());
        assert!(catalog.apply(b"\xFF", Some(&taken), 200).is_err());
    }

    #[test]
    fn the_state_topic_is_always_there() {
        let catalog = Catalog::new();
        assert_eq!(catalog.resolve(STATE_TOPIC, 0), Some(STATE_TOPIC_NUMBER));
        assert_eq!(catalog.next_number(), TopicNumber(1));
        assert_eq!(catalog.infos().len(), 1);
    }
}
