//! A message as every format can say it.

use std::borrow::Cow;

/// A message, borrowed from where it was read as far as its bytes are the same there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'m> {
    /// When the application made it, in milliseconds; -1 for unknown.
    pub timestamp: i64,
    /// What it is ordered and found by.
    pub key: Option<Cow<'m, [u8]>>,
    /// What it says; `None` is a tombstone, which is not the same as empty.
    pub body: Option<Cow<'m, [u8]>>,
    /// All else, in order. Names may repeat.
    pub attributes: Vec<Attribute<'m>>,
}

/// A named value of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'m> {
    /// Who gives the name its meaning.
    pub origin: Origin,
    /// The name, without any prefix of a format.
    pub name: Cow<'m, [u8]>,
    /// The value; `None` is null.
    pub value: Option<Cow<'m, [u8]>>,
}

/// Who gives an attribute's name its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The application.
    Application,
    /// RocketMQ: `TAGS`, `KEYS` and their like.
    RocketMq,
}

impl Message<'_> {
    /// The first attribute of that name.
    pub fn attribute(&self, origin: Origin, name: &str) -> Option<&Attribute<'_>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.origin == origin && *attribute.name == *name.as_bytes())
    }

    /// The value of RocketMQ's property of that name.
    pub(crate) fn rocketmq(&self, name: &str) -> Option<&[u8]> {
        self.attribute(Origin::RocketMq, name).and_then(|attribute| attribute.value.as_deref())
    }
}
