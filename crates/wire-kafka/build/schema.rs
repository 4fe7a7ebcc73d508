//! The notation of `schema/*.kschema`, parsed.
//!
//! ```text
//! api 3 Metadata                             the key and the name; "data Name" for what is no request
//!
//! request 0-13 flexible 9                    a half: its versions and the first flexible one, if any
//!     topics [RequestTopic] null 1+          name, type, versions (all of the parent's if left out),
//!         topic_id uuid 10+                  null with the versions that may be null (all if left out),
//!         name string null 10+               the tag, and the default where it is not zero, empty or null
//!     allow_auto_topic_creation bool 4+ = true
//! ```
//!
//! Indentation by four spaces makes the fields of a struct. `#` begins a comment.

use std::fmt::Debug;
use std::str::FromStr;

/// First and last version.
pub(crate) type Versions = (i16, i16);

pub(crate) struct Schema {
    /// None for data that is no request.
    pub(crate) key: Option<i16>,
    pub(crate) name: String,
    pub(crate) halves: Vec<Half>,
}

pub(crate) struct Half {
    /// The name of the top struct.
    pub(crate) name: String,
    pub(crate) versions: Versions,
    /// The first flexible version.
    pub(crate) flexible: Option<i16>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) array: bool,
    pub(crate) versions: Versions,
    /// The versions in which it may be null.
    pub(crate) null: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
}

pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    String,
    Bytes,
    Uuid,
    Struct { name: String, fields: Vec<Field> },
}

impl Field {
    pub(crate) fn in_version(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }

    pub(crate) fn null_in_version(&self, version: i16) -> bool {
        self.null.is_some_and(|(first, last)| (first..=last).contains(&version))
    }
}

struct Line<'t> {
    depth: usize,
    words: Vec<&'t str>,
}

/// Parses a file. A mistake in it ends the build with the line's words.
pub(crate) fn parse(text: &str) -> Schema {
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    let mut rest = lines.as_slice();
    let head = &take(&mut rest).words;
    let (key, name) = match head.as_slice() {
        ["api", key, name] => (Some(number(key)), *name),
        ["data", name] => (None, *name),
        other => panic!("the first line is api or data, not {other:?}"),
    };
    let mut halves = Vec::new();
    while !rest.is_empty() {
        halves.push(half(&mut rest));
    }
    Schema { key, name: name.to_owned(), halves }
}

fn line(text: &str) -> Option<Line<'_>> {
    let text = text.split('#').next().unwrap_or_default().trim_end();
    let spaces = text.len() - text.trim_start().len();
    assert!(spaces.is_multiple_of(4), "four spaces a level: {text:?}");
    (!text.is_empty()).then(|| Line { depth: spaces / 4, words: text.split_whitespace().collect() })
}

fn take<'l, 't>(rest: &mut &'l [Line<'t>]) -> &'l Line<'t> {
    let (first, others) = rest.split_first().expect("a schema has lines");
    *rest = others;
    first
}

fn half(rest: &mut &[Line<'_>]) -> Half {
    let head = take(rest);
    let (name, versions, flexible) = match head.words.as_slice() {
        [name, versions] => (*name, *versions, None),
        [name, versions, "flexible", first] => (*name, *versions, Some(number(first))),
        other => panic!("a half is name, versions and flexible, not {other:?}"),
    };
    assert_eq!(head.depth, 0, "{name} begins a line");
    let versions = range(versions, (0, i16::MAX));
    let mut capital = name.to_owned();
    capital[..1].make_ascii_uppercase();
    Half { name: capital, versions, flexible, fields: fields(rest, 1, versions) }
}

fn fields(rest: &mut &[Line<'_>], depth: usize, parent: Versions) -> Vec<Field> {
    let mut found = Vec::new();
    while rest.first().is_some_and(|line| line.depth == depth) {
        found.push(field(rest, depth, parent));
    }
    assert!(found.iter().filter_map(|field| field.tag).is_sorted(), "tags go up, as they do on the wire");
    found
}

fn field(rest: &mut &[Line<'_>], depth: usize, parent: Versions) -> Field {
    let words = take(rest).words.as_slice();
    let [name, kind, options @ ..] = words else { panic!("name and type: {words:?}") };
    let mut options = options.iter().peekable();
    let is_range = |word: &&&str| word.starts_with(|first: char| first.is_ascii_digit());
    let versions = options.next_if(is_range).map_or(parent, |word| range(word, parent));
    let null = options
        .next_if(|word| **word == "null")
        .map(|_| options.next_if(is_range).map_or(versions, |word| range(word, versions)));
    let tag =
        options.next_if(|word| **word == "tag").map(|_| number(options.next().expect("a tag's number")));
    let default =
        options.next_if(|word| **word == "=").map(|_| options.next().expect("a default").to_string());
    assert!(options.next().is_none(), "words left over: {words:?}");

    let element = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']'));
    let parsed = match element.unwrap_or(kind) {
        "bool" => Kind::Bool,
        "i8" => Kind::I8,
        "i16" => Kind::I16,
        "i32" => Kind::I32,
        "i64" => Kind::I64,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "uuid" => Kind::Uuid,
        name => Kind::Struct { name: name.to_owned(), fields: fields(rest, depth + 1, versions) },
    };
    Field { name: (*name).to_owned(), kind: parsed, array: element.is_some(), versions, null, tag, default }
}

/// "3", "3-5" or "3+", which ends where the parent ends.
fn range(word: &str, parent: Versions) -> Versions {
    let (first, last) = match (word.strip_suffix('+'), word.split_once('-')) {
        (Some(first), _) => (number(first), parent.1),
        (None, Some((first, last))) => (number(first), number(last)),
        (None, None) => (number(word), number(word)),
    };
    assert!(parent.0 <= first && first <= last && last <= parent.1, "{word} lies outside {parent:?}");
    (first, last)
}

fn number<T: FromStr<Err: Debug>>(word: &str) -> T {
    word.parse().unwrap_or_else(|error| panic!("{word} is no number: {error:?}"))
}
