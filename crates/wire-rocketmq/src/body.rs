//! Bodies: the JSON beans of RocketMQ's requests and answers as structs.
//!
//! Members that are absent or null take the value a Java bean starts with, unknown members are passed over, numbers may come as strings
//! and enums by ordinal (C++ clients do both). Members are written in alphabetical order, absent ones left out, as fastjson does.

mod client;
mod consume;
mod register;
mod route;
mod topic;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::command::Language;
use crate::fastjson::{JsonError, NumberKeys, Value, Writer};

pub use client::*;
pub use consume::*;
pub use register::*;
pub use route::*;
pub use topic::*;

/// Why a body can't be used. The request can be answered: the text is for the answer's remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not readable at all.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member has a value of the wrong kind.
    #[error("the body's {path} is not {expected}")]
    Wrong {
        /// Where, from the outside in.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A compressed body that does not inflate, or ends inside a field.
    #[error("the compressed body is damaged: {what}")]
    Compressed {
        /// What was wrong.
        what: &'static str,
    },
}

impl BodyError {
    pub(crate) fn wrong(expected: &'static str) -> Self {
        BodyError::Wrong { path: "value".to_owned(), expected }
    }

    /// The same error seen from one level further out.
    fn inside(self, name: &str) -> Self {
        match self {
            BodyError::Wrong { path, expected } if path == "value" => {
                BodyError::Wrong { path: name.to_owned(), expected }
            }
            BodyError::Wrong { path, expected } => {
                BodyError::Wrong { path: format!("{name}.{path}"), expected }
            }
            other => other,
        }
    }
}

/// Something that has a JSON form.
pub trait Json: Sized {
    /// Reads it from a value that is not null.
    ///
    /// # Errors
    /// [`BodyError::Wrong`] if the value is of another kind.
    fn read(value: &Value) -> Result<Self, BodyError>;

    /// Writes it.
    fn write(&self, writer: &mut Writer);

    /// Whether there is nothing to write, so that the member is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// A body as a whole.
pub trait Body: Json + Default {
    /// Reads a body; an empty one is the default.
    ///
    /// # Errors
    /// See [`BodyError`].
    fn decode(body: &[u8]) -> Result<Self, BodyError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match crate::fastjson::parse(body)? {
            Value::Null => Ok(Self::default()),
            value => Self::read(&value),
        }
    }

    /// Writes a body, keys of number maps in quotes.
    fn encode(&self) -> Bytes {
        self.encode_with(NumberKeys::Quoted)
    }

    /// Writes a body with number keys as told.
    fn encode_with(&self, number_keys: NumberKeys) -> Bytes {
        let mut writer = Writer::new(number_keys);
        self.write(&mut writer);
        Bytes::from(writer.finish())
    }
}

impl<T: Json + Default> Body for T {}

impl Json for String {
    fn read(value: &Value) -> Result<Self, BodyError> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Int(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            _ => Err(BodyError::wrong("a string")),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.text(self);
    }
}

impl Json for i64 {
    fn read(value: &Value) -> Result<Self, BodyError> {
        value.as_int().ok_or(BodyError::wrong("a whole number"))
    }

    fn write(&self, writer: &mut Writer) {
        writer.int(*self);
    }
}

impl Json for i32 {
    fn read(value: &Value) -> Result<Self, BodyError> {
        value.as_int().and_then(|number| number.try_into().ok()).ok_or(BodyError::wrong("a 32-bit number"))
    }

    fn write(&self, writer: &mut Writer) {
        writer.int((*self).into());
    }
}

impl Json for f64 {
    fn read(value: &Value) -> Result<Self, BodyError> {
        match value {
            Value::Int(number) => Ok(*number as f64),
            Value::Float(number) => Ok(*number),
            _ => Err(BodyError::wrong("a number")),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.float(*self);
    }
}

impl Json for bool {
    fn read(value: &Value) -> Result<Self, BodyError> {
        match value {
            Value::Bool(truth) => Ok(*truth),
            Value::Int(number @ (0 | 1)) => Ok(*number == 1),
            Value::Text(text) => crate::scan::parse_truth(text).ok_or(BodyError::wrong("a truth value")),
            _ => Err(BodyError::wrong("a truth value")),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.bool(*self);
    }
}

/// Any value, kept as it came.
impl Json for Value {
    fn read(value: &Value) -> Result<Self, BodyError> {
        Ok(value.clone())
    }

    fn write(&self, writer: &mut Writer) {
        writer.value(self);
    }
}

impl Json for Language {
    fn read(value: &Value) -> Result<Self, BodyError> {
        match value {
            Value::Text(name) => Ok(Language::from_name(name)),
            Value::Int(code) => {
                Ok(u8::try_from(*code).ok().and_then(Language::from_code).unwrap_or(Language::Other))
            }
            _ => Err(BodyError::wrong("a language")),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.text(self.name());
    }
}

impl<T: Json> Json for Option<T> {
    fn read(value: &Value) -> Result<Self, BodyError> {
        T::read(value).map(Some)
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Some(value) => value.write(writer),
            None => writer.null(),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Json> Json for Vec<T> {
    fn read(value: &Value) -> Result<Self, BodyError> {
        let Value::List(elements) = value else { return Err(BodyError::wrong("a list")) };
        let read = |(index, element)| T::read(element).map_err(|error| error.inside(&format!("[{index}]")));
        elements.iter().enumerate().filter(|(_, element)| **element != Value::Null).map(read).collect()
    }

    fn write(&self, writer: &mut Writer) {
        writer.begin_list();
        self.iter().for_each(|element| element.write(writer));
        writer.end_list();
    }
}

/// Something that can be the key of a map.
pub trait Key: Sized + Ord {
    /// Reads it from a key.
    ///
    /// # Errors
    /// [`BodyError::Wrong`] if the key is of another kind.
    fn read_key(key: &Value) -> Result<Self, BodyError>;
    /// Writes it, the colon included.
    fn write_key(&self, writer: &mut Writer);
}

impl Key for String {
    fn read_key(key: &Value) -> Result<Self, BodyError> {
        String::read(key)
    }

    fn write_key(&self, writer: &mut Writer) {
        writer.key(self);
    }
}

impl Key for i64 {
    fn read_key(key: &Value) -> Result<Self, BodyError> {
        i64::read(key)
    }

    fn write_key(&self, writer: &mut Writer) {
        writer.number_key(*self);
    }
}

impl Key for i32 {
    fn read_key(key: &Value) -> Result<Self, BodyError> {
        i32::read(key)
    }

    fn write_key(&self, writer: &mut Writer) {
        writer.number_key((*self).into());
    }
}

impl<K: Key, V: Json> Json for BTreeMap<K, V> {
    fn read(value: &Value) -> Result<Self, BodyError> {
        let Value::Map(members) = value else { return Err(BodyError::wrong("a map")) };
        let mut map = BTreeMap::new();
        for (key, value) in members {
            if *value != Value::Null {
                map.insert(K::read_key(key)?, V::read(value).map_err(|error| error.inside("{}"))?);
            }
        }
        Ok(map)
    }

    fn write(&self, writer: &mut Writer) {
        writer.begin_map();
        for (key, value) in self {
            key.write_key(writer);
            value.write(writer);
        }
        writer.end_map();
    }
}

/// Declares a bean: every member with its type, its name on the wire and, if it is not the type's own, what an absent one stands for.
macro_rules! bean {
    ($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty = $wire:literal $(or $default:expr)?,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $crate::body::bean!(@default $type $(, $default)?),)* }
            }
        }

        impl $crate::body::Json for $name {
            fn read(value: &$crate::fastjson::Value) -> Result<Self, $crate::body::BodyError> {
                let mut bean = Self::default();
                if !matches!(value, $crate::fastjson::Value::Map(_)) {
                    return Err($crate::body::BodyError::wrong(concat!("a ", stringify!($name))));
                }
                $($crate::body::read_member(&mut bean.$field, value, $wire)?;)*
                Ok(bean)
            }

            fn write(&self, writer: &mut $crate::fastjson::Writer) {
                writer.begin_map();
                $($crate::body::write_member(&self.$field, writer, $wire);)*
                writer.end_map();
            }
        }
    };
    (@default $type:ty) => { <$type>::default() };
    (@default $type:ty, $default:expr) => { $default };
}
pub(crate) use bean;

fn read_member<T: Json>(field: &mut T, bean: &Value, name: &str) -> Result<(), BodyError> {
    if let Some(value) = bean.member(name) {
        *field = T::read(value).map_err(|error| error.inside(name))?;
    }
    Ok(())
}

fn write_member<T: Json>(field: &T, writer: &mut Writer, name: &str) {
    if !field.is_absent() {
        writer.key(name);
        field.write(writer);
    }
}

/// Declares an enum that JSON carries by name; ordinals are accepted, in the order of the declaration.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            const ALL: &'static [$name] = &[$($name::$variant),*];

            /// Java's name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $wire,)* }
            }

            /// The constant that Java calls `name`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($wire => Some($name::$variant),)* _ => None }
            }
        }

        impl $crate::body::Json for $name {
            fn read(value: &$crate::fastjson::Value) -> Result<Self, $crate::body::BodyError> {
                let found = match value {
                    $crate::fastjson::Value::Text(name) => Self::from_name(name),
                    $crate::fastjson::Value::Int(ordinal) => {
                        usize::try_from(*ordinal).ok().and_then(|ordinal| Self::ALL.get(ordinal).copied())
                    }
                    _ => None,
                };
                found.ok_or($crate::body::BodyError::wrong(concat!("a ", stringify!($name))))
            }

            fn write(&self, writer: &mut $crate::fastjson::Writer) {
                writer.text(self.name());
            }
        }
    };
}
pub(crate) use named;

bean! {
    /// A queue of a topic at a broker, as RocketMQ names it (`MessageQueue`).
    #[derive(Eq, Hash)]
    MessageQueue {
        /// The broker (shard).
        broker_name: String = "brokerName",
        /// The queue's number.
        queue_id: i32 = "queueId",
        /// The topic.
        topic: String = "topic",
    }
}

/// Java's order: topic, broker, queue.
impl Ord for MessageQueue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_name = self.topic.cmp(&other.topic).then_with(|| self.broker_name.cmp(&other.broker_name));
        by_name.then(self.queue_id.cmp(&other.queue_id))
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Key for MessageQueue {
    /// The bean itself, or its JSON as a string, which is what a strict JSON writer makes of it.
    fn read_key(key: &Value) -> Result<Self, BodyError> {
        match key {
            Value::Text(text) => Self::decode(text.as_bytes()),
            _ => Self::read(key),
        }
    }

    fn write_key(&self, writer: &mut Writer) {
        writer.value_key(|writer| self.write(writer));
    }
}

bean! {
    /// The version of a table: who has the newer one (`DataVersion`).
    #[derive(Eq)]
    DataVersion {
        /// Raised with every change.
        counter: i64 = "counter",
        /// Raised with every change of role.
        state_version: i64 = "stateVersion",
        /// Milliseconds of the last change.
        timestamp: i64 = "timestamp",
    }
}

bean! {
    /// Names to texts: runtime information (28), KV lists (219), the answer of a registration (`KVTable`).
    #[derive(Eq)]
    KvTable {
        /// The entries.
        table: BTreeMap<String, String> = "table",
    }
}
