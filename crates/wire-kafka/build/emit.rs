//! Rust code from a parsed schema.
//!
//! Fields are read and written in the order of the schema, each behind the versions that have it; tagged fields follow in the tag
//! section. Everything that is the same for all messages is in `input` and `output`, so that a generated line is one call.

use std::fmt::Write as _;

use crate::schema::{Field, Half, Kind, Schema, Versions};

/// Appends a line without fear: a `String` takes all that is written.
macro_rules! line {
    ($out:expr, $($argument:tt)*) => {
        writeln!($out, $($argument)*).expect("a string takes every line")
    };
}

pub(crate) fn module(name: &str, schema: &Schema, out: &mut String) {
    let title = match schema.key {
        Some(key) => format!("{} (key {key}).", schema.name),
        None => format!("{}: data inside other messages.", schema.name),
    };
    line!(out, "/// {title}");
    line!(out, "#[allow(unused_variables, unused_imports, clippy::all)]");
    line!(out, "pub mod {name} {{");
    line!(out, "use std::borrow::Cow;");
    line!(out, "use crate::input::{{DecodeError, Input}};");
    line!(out, "use crate::output::*;");
    if let Some(key) = schema.key {
        line!(out, "/// The number that requests carry.");
        line!(out, "pub const KEY: i16 = {key};");
    }
    for half in &schema.halves {
        Struct { half, name: &half.name, fields: &half.fields, versions: half.versions }.emit(out);
        top(schema, half, out);
    }
    line!(out, "}}");
}

/// What a half has beyond any struct.
fn top(schema: &Schema, half: &Half, out: &mut String) {
    let Half { name, versions: (min, max), flexible, .. } = half;
    let anonymous = if borrows(&half.fields) { "<'a>" } else { "" };
    line!(out, "impl<'a> {name}{anonymous} {{");
    line!(out, "/// The lowest version.");
    line!(out, "pub const MIN: i16 = {min};");
    line!(out, "/// The highest version.");
    line!(out, "pub const MAX: i16 = {max};");
    line!(out, "/// The first version with compact lengths and tagged fields.");
    line!(out, "pub const FLEXIBLE: Option<i16> = {flexible:?};");
    line!(out, "/// Reads a body, and leaves what follows it in `input`.");
    line!(out, "///");
    line!(out, "/// # Errors");
    line!(out, "/// What [`DecodeError`] says; a version outside of `MIN..=MAX`.");
    line!(out, "pub fn decode(version: i16, input: &mut Input<'a>) -> Result<Self, DecodeError> {{");
    line!(out, "if !(Self::MIN..=Self::MAX).contains(&version) {{");
    line!(out, "return Err(DecodeError::Version(version));");
    line!(out, "}}");
    line!(out, "Self::read(version, input)");
    line!(out, "}}");
    line!(
        out,
        "/// Appends the body. What the version does not have is left out; a null that it cannot say is empty."
    );
    line!(out, "///");
    line!(out, "/// # Panics");
    line!(out, "/// With a version outside of `MIN..=MAX`.");
    line!(out, "pub fn encode(&self, version: i16, out: &mut Vec<u8>) {{");
    line!(
        out,
        "assert!((Self::MIN..=Self::MAX).contains(&version), \"{}: {name} {{version}}\");",
        schema.name
    );
    line!(out, "self.write(version, out);");
    line!(out, "}}");
    line!(out, "}}");
    line!(out, "impl<'a> crate::messages::Message<'a> for {name}{anonymous} {{");
    line!(out, "const NAME: &'static str = \"{}{name}\";", schema.name);
    line!(out, "const KEY: Option<i16> = {:?};", schema.key);
    line!(out, "const MIN: i16 = {min};");
    line!(out, "const MAX: i16 = {max};");
    line!(out, "const FLEXIBLE: Option<i16> = {flexible:?};");
    line!(out, "fn decode(version: i16, input: &mut Input<'a>) -> Result<Self, DecodeError> {{");
    line!(out, "Self::decode(version, input)");
    line!(out, "}}");
    line!(out, "fn encode(&self, version: i16, out: &mut Vec<u8>) {{");
    line!(out, "self.encode(version, out);");
    line!(out, "}}");
    line!(out, "}}");
}

struct Struct<'s> {
    half: &'s Half,
    name: &'s str,
    fields: &'s [Field],
    /// The versions that have it.
    versions: Versions,
}

impl Struct<'_> {
    fn emit(&self, out: &mut String) {
        for field in self.fields {
            if let Kind::Struct { name, fields } = &field.kind {
                Struct { half: self.half, name, fields, versions: field.versions }.emit(out);
            }
        }
        self.definition(out);
        self.default(out);
        let (name, generic) = (self.name, if borrows(self.fields) { "<'a>" } else { "" });
        line!(out, "impl<'a> {name}{generic} {{");
        self.read(out);
        self.write(out);
        self.owned_copy(out);
        line!(out, "}}");
    }

    fn definition(&self, out: &mut String) {
        line!(out, "/// Versions {}.", said(self.versions, self.half.versions));
        line!(out, "#[derive(Debug, Clone, PartialEq)]");
        line!(out, "pub struct {}{} {{", self.name, if borrows(self.fields) { "<'a>" } else { "" });
        for field in self.fields {
            let null = match field.null {
                Some(null) if null == field.versions => ", may be null".to_owned(),
                Some(null) => format!(", may be null in {}", said(null, self.half.versions)),
                None => String::new(),
            };
            let tag = field.tag.map(|tag| format!(", tag {tag}")).unwrap_or_default();
            line!(out, "/// Versions {}{null}{tag}.", said(field.versions, self.half.versions));
            line!(out, "pub {}: {},", field.name, whole_type(field));
        }
        line!(out, "}}");
    }

    fn default(&self, out: &mut String) {
        line!(out, "impl Default for {}{} {{", self.name, if borrows(self.fields) { "<'_>" } else { "" });
        line!(out, "fn default() -> Self {{");
        line!(out, "Self {{");
        for field in self.fields {
            line!(out, "{}: {},", field.name, default(field));
        }
        line!(out, "}}");
        line!(out, "}}");
        line!(out, "}}");
    }

    fn read(&self, out: &mut String) {
        let tagged: Vec<_> = self.fields.iter().filter(|field| field.tag.is_some()).collect();
        line!(out, "fn read(version: i16, input: &mut Input<'a>) -> Result<Self, DecodeError> {{");
        line!(out, "let flexible = {};", self.flexible());
        line!(out, "let {} value = Self {{", if tagged.is_empty() { "" } else { "mut" });
        for field in self.fields {
            match (field.tag, self.condition(field.versions)) {
                (Some(_), _) => line!(out, "{}: {},", field.name, default(field)),
                (None, None) => line!(out, "{}: {},", field.name, self.read_field(field)),
                (None, Some(condition)) => {
                    let (read, default) = (self.read_field(field), default(field));
                    line!(out, "{}: if {condition} {{ {read} }} else {{ {default} }},", field.name);
                }
            }
        }
        line!(out, "}};");
        line!(out, "if flexible {{");
        if tagged.is_empty() {
            line!(out, "input.skip_tags()?;");
        } else {
            line!(out, "for _ in 0..input.tags()? {{");
            line!(out, "let (tag, end) = input.tag()?;");
            line!(out, "match tag {{");
            for field in &tagged {
                let tag = field.tag.unwrap_or_default();
                let when =
                    self.condition(field.versions).map(|when| format!("if {when}")).unwrap_or_default();
                line!(out, "{tag} {when} => {{");
                line!(out, "value.{} = {};", field.name, self.read_field(field));
                line!(out, "input.tag_end(end)?;");
                line!(out, "}}");
            }
            line!(out, "_ => input.skip_tag(end),");
            line!(out, "}}");
            line!(out, "}}");
        }
        line!(out, "}}");
        line!(out, "Ok(value)");
        line!(out, "}}");
    }

    fn write(&self, out: &mut String) {
        let (tagged, plain): (Vec<_>, Vec<_>) = self.fields.iter().partition(|field| field.tag.is_some());
        line!(out, "fn write(&self, version: i16, out: &mut Vec<u8>) {{");
        line!(out, "let flexible = {};", self.flexible());
        for field in plain {
            match self.condition(field.versions) {
                None => line!(out, "{}", self.write_field(field)),
                Some(condition) => line!(out, "if {condition} {{ {} }}", self.write_field(field)),
            }
        }
        line!(out, "if flexible {{");
        let given = |field: &Field| {
            let when = self.condition(field.versions).map(|when| format!("{when} && ")).unwrap_or_default();
            format!("{when}self.{} != {}", field.name, default(field))
        };
        let count: Vec<_> = tagged.iter().map(|field| format!("u32::from({})", given(field))).collect();
        line!(
            out,
            "put_uvarint(out, {});",
            if count.is_empty() { "0".to_owned() } else { count.join(" + ") }
        );
        for field in tagged {
            let tag = field.tag.unwrap_or_default();
            line!(
                out,
                "if {} {{ put_tag(out, {tag}, |out| {{ {} }}); }}",
                given(field),
                self.write_field(field)
            );
        }
        line!(out, "}}");
        line!(out, "}}");
    }

    fn owned_copy(&self, out: &mut String) {
        if !borrows(self.fields) {
            return;
        }
        line!(out, "/// The same with copies of what it borrows.");
        line!(out, "pub fn into_owned(self) -> {}<'static> {{", self.name);
        line!(out, "{} {{", self.name);
        for field in self.fields {
            line!(out, "{}: {},", field.name, owned(field));
        }
        line!(out, "}}");
        line!(out, "}}");
    }

    fn flexible(&self) -> String {
        match self.half.flexible {
            None => "false".to_owned(),
            Some(first) if first <= self.versions.0 => "true".to_owned(),
            Some(first) => format!("version >= {first}"),
        }
    }

    /// What must hold for a version of this struct to have these; None if all have them.
    fn condition(&self, versions: Versions) -> Option<String> {
        let (first, last) = versions;
        match (first > self.versions.0, last < self.versions.1) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {first}")),
            (false, true) => Some(format!("version <= {last}")),
            (true, true) => Some(format!("({first}..={last}).contains(&version)")),
        }
    }

    fn read_field(&self, field: &Field) -> String {
        let Some(null) = field.null else { return read_value(field, self.half) };
        let nullable = read_nullable(field, self.half);
        let narrowed = Struct { versions: field.versions, ..*self };
        match narrowed.condition(null) {
            None => nullable,
            Some(condition) => {
                format!("if {condition} {{ {nullable} }} else {{ Some({}) }}", read_value(field, self.half))
            }
        }
    }

    fn write_field(&self, field: &Field) -> String {
        let place = format!("self.{}", field.name);
        let Some(null) = field.null else { return write_value(field, &place) };
        let nullable = write_nullable(field, &place);
        let narrowed = Struct { versions: field.versions, ..*self };
        match narrowed.condition(null) {
            None => nullable,
            Some(condition) => {
                let empty = write_value(field, &format!("{place}.as_deref().unwrap_or_default()"));
                format!("if {condition} {{ {nullable} }} else {{ {empty} }}")
            }
        }
    }
}

/// Whether a value holds text or bytes.
fn borrows(fields: &[Field]) -> bool {
    fields.iter().any(|field| match &field.kind {
        Kind::String | Kind::Bytes => true,
        Kind::Struct { fields, .. } => borrows(fields),
        _ => false,
    })
}

/// "3+" or "3-5".
fn said((first, last): Versions, (_, end): Versions) -> String {
    match (last == end, first == last) {
        (true, _) => format!("{first}+"),
        (false, true) => format!("{first}"),
        (false, false) => format!("{first}-{last}"),
    }
}

fn element_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::I8 => "i8".to_owned(),
        Kind::I16 => "i16".to_owned(),
        Kind::I32 => "i32".to_owned(),
        Kind::I64 => "i64".to_owned(),
        Kind::String => "Cow<'a, str>".to_owned(),
        Kind::Bytes => "Cow<'a, [u8]>".to_owned(),
        Kind::Uuid => "[u8; 16]".to_owned(),
        Kind::Struct { name, fields } => format!("{name}{}", if borrows(fields) { "<'a>" } else { "" }),
    }
}

fn whole_type(field: &Field) -> String {
    let element = element_type(&field.kind);
    let value = if field.array { format!("Vec<{element}>") } else { element };
    if field.null.is_some() { format!("Option<{value}>") } else { value }
}

fn default(field: &Field) -> String {
    if field.null.is_some() {
        return "None".to_owned();
    }
    if field.array {
        return "Vec::new()".to_owned();
    }
    match (&field.kind, &field.default) {
        (Kind::String, _) => "Cow::Borrowed(\"\")".to_owned(),
        (Kind::Bytes, _) => "Cow::Borrowed(&[][..])".to_owned(),
        (Kind::Uuid, _) => "[0u8; 16]".to_owned(),
        (Kind::Struct { name, .. }, _) => format!("{name}::default()"),
        (_, Some(value)) => value.clone(),
        (Kind::Bool, None) => "false".to_owned(),
        (_, None) => "0".to_owned(),
    }
}

fn read_value(field: &Field, half: &Half) -> String {
    if field.array {
        let minimum = element_bytes_min(&field.kind, field.versions, half);
        return format!("input.array(flexible, {minimum}, |input| {})?", read_element(&field.kind));
    }
    format!("{}?", read_element(&field.kind))
}

fn read_nullable(field: &Field, half: &Half) -> String {
    if field.array {
        let minimum = element_bytes_min(&field.kind, field.versions, half);
        return format!("input.nullable_array(flexible, {minimum}, |input| {})?", read_element(&field.kind));
    }
    match &field.kind {
        Kind::String => "input.nullable_string(flexible)?".to_owned(),
        Kind::Bytes => "input.nullable_bytes(flexible)?".to_owned(),
        Kind::Struct { name, .. } => {
            format!("if input.present()? {{ Some({name}::read(version, input)?) }} else {{ None }}")
        }
        _ => panic!("{} cannot be null", field.name),
    }
}

/// A `Result`.
fn read_element(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "input.bool()".to_owned(),
        Kind::I8 => "input.i8()".to_owned(),
        Kind::I16 => "input.i16()".to_owned(),
        Kind::I32 => "input.i32()".to_owned(),
        Kind::I64 => "input.i64()".to_owned(),
        Kind::Uuid => "input.uuid()".to_owned(),
        Kind::String => "input.string(flexible)".to_owned(),
        Kind::Bytes => "input.bytes(flexible)".to_owned(),
        Kind::Struct { name, .. } => format!("{name}::read(version, input)"),
    }
}

fn write_value(field: &Field, place: &str) -> String {
    if field.array {
        return format!("put_array(out, &{place}, flexible, |out, item| {{ {} }});", write_item(&field.kind));
    }
    match &field.kind {
        Kind::Bool => format!("put_bool(out, {place});"),
        Kind::I8 => format!("put_i8(out, {place});"),
        Kind::I16 => format!("put_i16(out, {place});"),
        Kind::I32 => format!("put_i32(out, {place});"),
        Kind::I64 => format!("put_i64(out, {place});"),
        Kind::Uuid => format!("out.extend_from_slice(&{place});"),
        Kind::String => format!("put_string(out, &{place}, flexible);"),
        Kind::Bytes => format!("put_bytes(out, &{place}, flexible);"),
        Kind::Struct { .. } => format!("{place}.write(version, out);"),
    }
}

fn write_nullable(field: &Field, place: &str) -> String {
    if field.array {
        return format!(
            "put_nullable_array(out, {place}.as_deref(), flexible, |out, item| {{ {} }});",
            write_item(&field.kind)
        );
    }
    match &field.kind {
        Kind::String => format!("put_nullable_string(out, {place}.as_deref(), flexible);"),
        Kind::Bytes => format!("put_nullable_bytes(out, {place}.as_deref(), flexible);"),
        Kind::Struct { .. } => format!(
            "match &{place} {{ None => put_i8(out, -1), Some(value) => {{ put_i8(out, 1); value.write(version, out); }} }}"
        ),
        _ => panic!("{} cannot be null", field.name),
    }
}

/// `item` is a reference to the element.
fn write_item(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "put_bool(out, *item);".to_owned(),
        Kind::I8 => "put_i8(out, *item);".to_owned(),
        Kind::I16 => "put_i16(out, *item);".to_owned(),
        Kind::I32 => "put_i32(out, *item);".to_owned(),
        Kind::I64 => "put_i64(out, *item);".to_owned(),
        Kind::Uuid => "out.extend_from_slice(item);".to_owned(),
        Kind::String => "put_string(out, item, flexible);".to_owned(),
        Kind::Bytes => "put_bytes(out, item, flexible);".to_owned(),
        Kind::Struct { .. } => "item.write(version, out);".to_owned(),
    }
}

fn owned(field: &Field) -> String {
    let place = format!("self.{}", field.name);
    let element = |item: &str| match &field.kind {
        Kind::String | Kind::Bytes => Some(format!("Cow::Owned({item}.into_owned())")),
        Kind::Struct { fields, .. } if borrows(fields) => Some(format!("{item}.into_owned()")),
        _ => None,
    };
    let Some(item) = element("item") else { return place };
    match (field.array, field.null.is_some()) {
        (true, true) => {
            format!("{place}.map(|items| items.into_iter().map(|item| {item}).collect())")
        }
        (true, false) => format!("{place}.into_iter().map(|item| {item}).collect()"),
        (false, true) => format!("{place}.map(|item| {item})"),
        (false, false) => element(&place).unwrap_or(place),
    }
}

/// The fewest bytes that an element takes in any version: a count that promises more than is left is refused at once.
fn element_bytes_min(kind: &Kind, (first, last): Versions, half: &Half) -> usize {
    let smallest = (first..=last).map(|version| value_bytes_min(kind, version, half)).min();
    smallest.unwrap_or_default().max(1)
}

fn value_bytes_min(kind: &Kind, version: i16, half: &Half) -> usize {
    let flexible = half.flexible.is_some_and(|first| version >= first);
    match kind {
        Kind::Bool | Kind::I8 => 1,
        Kind::I16 => 2,
        Kind::I32 => 4,
        Kind::I64 => 8,
        Kind::Uuid => 16,
        Kind::String => {
            if flexible {
                1
            } else {
                2
            }
        }
        Kind::Bytes => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct { fields, .. } => {
            let present = fields.iter().filter(|field| field.tag.is_none() && field.in_version(version));
            let sizes = present.map(|field| match (field.array, field.null_in_version(version)) {
                (true, _) => {
                    if flexible {
                        1
                    } else {
                        4
                    }
                }
                (false, true) if matches!(field.kind, Kind::Struct { .. }) => 1,
                (false, _) => value_bytes_min(&field.kind, version, half),
            });
            sizes.sum::<usize>() + usize::from(flexible)
        }
    }
}
