//! The one reader of command headers: a single pass over either header form that hands every ext field to a visitor.
//!
//! [`crate::command`] collects the fields, [`crate::send`] and [`crate::pull`] pick the ones they know, without allocating. The JSON
//! form is read as leniently as fastjson 1.2 reads it: members in any order, unknown members ignored, keys bare or in either quote,
//! numbers and booleans where strings belong, blanks and stray commas anywhere.

use std::str::FromStr;

use crate::command::{DecodeError, Language, RequestHead};
use crate::frame::Serialization;
use crate::header::{FieldError, Scratch};

/// How deep an ignored value may be nested inside a header.
const NESTING_MAX: usize = 64;
/// The most ext fields a header may carry; the largest header of the protocol has about twenty, signatures included.
pub(crate) const FIELDS_MAX: usize = 256;

/// A piece of header text as it stands on the wire, possibly with JSON escapes in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) text: &'a str,
    pub(crate) escaped: bool,
}

impl<'a> Raw<'a> {
    fn plain(text: &'a str) -> Self {
        Raw { text, escaped: false }
    }

    /// The text without escapes.
    pub(crate) fn to_text(self) -> Result<String, DecodeError> {
        if !self.escaped {
            return Ok(self.text.to_owned());
        }
        let mut out = String::with_capacity(self.text.len());
        unescape(self.text, &mut out)?;
        Ok(out)
    }
}

/// Receives the ext fields of one header in wire order; a field that comes twice is handed over twice and the later one counts.
pub(crate) trait Fields<'a> {
    fn field(&mut self, name: Raw<'a>, value: Raw<'a>);
}

/// What a header holds besides ext fields.
pub(crate) struct Scanned<'a> {
    pub(crate) head: RequestHead,
    pub(crate) remark: Option<Raw<'a>>,
}

/// Reads `header` once, front to back.
pub(crate) fn header<'a>(
    serialization: Serialization,
    header: &'a [u8],
    fields: &mut impl Fields<'a>,
) -> Result<Scanned<'a>, DecodeError> {
    match serialization {
        Serialization::Json => json(header, fields),
        Serialization::Rocketmq => binary(header, fields),
    }
}

// ---- JSON ----

fn json<'a>(header: &'a [u8], fields: &mut impl Fields<'a>) -> Result<Scanned<'a>, DecodeError> {
    let text = str::from_utf8(header).map_err(|_| DecodeError::NotUtf8)?;
    let mut cursor = Cursor { text, bytes: header, at: 0 };
    let mut head = RequestHead {
        code: 0,
        language: Language::Other,
        version: 0,
        opaque: 0,
        flag: 0,
        serialization: Serialization::Json,
    };
    let mut remark = None;
    cursor.blanks();
    cursor.expect(b'{')?;
    while let Some(name) = cursor.member()? {
        if name.text == "extFields" {
            ext_fields(&mut cursor, fields)?;
            continue;
        }
        let Some(value) = cursor.value()? else { continue };
        match name.text {
            "code" => head.code = integer("code", value)?,
            "flag" => head.flag = integer("flag", value)?,
            "opaque" => head.opaque = integer("opaque", value)?,
            "version" => head.version = integer("version", value)?,
            "language" => head.language = language(value)?,
            "remark" => remark = Some(value),
            _ => {}
        }
    }
    cursor.blanks();
    if cursor.at < header.len() {
        return Err(cursor.unexpected());
    }
    Ok(Scanned { head, remark })
}

fn ext_fields<'a>(cursor: &mut Cursor<'a>, fields: &mut impl Fields<'a>) -> Result<(), DecodeError> {
    if cursor.peek() != Some(b'{') {
        // `null` stands for "none"; anything else is not a map.
        return if cursor.value()?.is_none() { Ok(()) } else { Err(DecodeError::FieldsNotAMap) };
    }
    cursor.at += 1;
    let mut count = 0;
    while let Some(name) = cursor.member()? {
        count += 1;
        if count > FIELDS_MAX {
            return Err(DecodeError::TooManyFields);
        }
        if let Some(value) = cursor.value()? {
            fields.field(name, value);
        }
    }
    Ok(())
}

fn integer(field: &'static str, value: Raw<'_>) -> Result<i32, DecodeError> {
    value.text.parse().map_err(|_| DecodeError::NotANumber { field })
}

/// An unknown name is harmless (Java decodes it to null), a number outside the table is not (fastjson throws).
fn language(value: Raw<'_>) -> Result<Language, DecodeError> {
    match value.text.as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => {
            let code = integer("language", value)?;
            u8::try_from(code).ok().and_then(Language::from_code).ok_or(DecodeError::UnknownLanguage { code })
        }
        _ => Ok(Language::from_name(value.text)),
    }
}

/// Its steps are forced inline: they are a few nanoseconds each, and the compiler's own choice cost a send header 60 % more.
struct Cursor<'a> {
    text: &'a str,
    /// The same bytes as `text`.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte <= b' ') {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> DecodeError {
        DecodeError::Json { at: self.at }
    }

    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// The next member's name, its colon and the blanks before its value consumed; `None` at the closing brace, consumed too.
    #[inline(always)]
    fn member(&mut self) -> Result<Option<Raw<'a>>, DecodeError> {
        let name = loop {
            match self.peek() {
                Some(b'"') => break self.string(b'"')?,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(None);
                }
                Some(b',') => self.at += 1,
                Some(byte) if byte <= b' ' => self.at += 1,
                Some(b'\'') => break self.string(b'\'')?,
                _ => break self.bare()?,
            }
        };
        if self.peek() != Some(b':') {
            self.blanks();
            self.expect(b':')?;
        } else {
            self.at += 1;
        }
        self.blanks();
        Ok(Some(name))
    }

    /// A value as text, `None` for null. Objects and arrays are given as they stand, as fastjson does for a string member.
    #[inline(always)]
    fn value(&mut self) -> Result<Option<Raw<'a>>, DecodeError> {
        match self.peek() {
            Some(b'"') => self.string(b'"').map(Some),
            Some(b'\'') => self.string(b'\'').map(Some),
            Some(b'{' | b'[') => self.nested().map(Some),
            _ => {
                let bare = self.bare()?;
                Ok((bare.text != "null").then_some(bare))
            }
        }
    }

    /// A string whose opening quote is the current byte.
    #[inline(always)]
    fn string(&mut self, quote: u8) -> Result<Raw<'a>, DecodeError> {
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at = find_either(self.bytes, at, quote, b'\\')
                .ok_or(DecodeError::Json { at: self.bytes.len() })?;
            if self.bytes[at] == quote {
                break;
            }
            escaped = true;
            at += 2;
        }
        self.at = at + 1;
        let text = self.text.get(start..at).ok_or(DecodeError::Json { at: start })?;
        Ok(Raw { text, escaped })
    }

    /// A run of bytes that needs no quotes: a number, `true`, `false`, `null`, an unquoted key.
    #[inline(always)]
    fn bare(&mut self) -> Result<Raw<'a>, DecodeError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'+' | b'.')
        }) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected());
        }
        Ok(Raw::plain(&self.text[start..self.at]))
    }

    fn nested(&mut self) -> Result<Raw<'a>, DecodeError> {
        let start = self.at;
        let mut depth = 0;
        loop {
            match self.peek().ok_or_else(|| self.unexpected())? {
                quote @ (b'"' | b'\'') => {
                    self.string(quote)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth > NESTING_MAX {
                return Err(self.unexpected());
            }
            self.at += 1;
            if depth == 0 {
                return Ok(Raw::plain(&self.text[start..self.at]));
            }
        }
    }
}

/// The first place at or after `from` that holds `one` or `other`, eight bytes a step.
///
/// Header strings are a few bytes long; a library search spends more on getting started than they last.
#[inline(always)]
fn find_either(bytes: &[u8], from: usize, one: u8, other: u8) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (ones, others) = (LOW * u64::from(one), LOW * u64::from(other));
    let zero_bytes = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let hits = zero_bytes(word ^ ones) | zero_bytes(word ^ others);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| byte == one || byte == other).map(|found| at + found)
}

/// Appends `text` to `out` with JSON's escapes, and the few more that fastjson knows, resolved.
///
/// A surrogate without its partner becomes U+FFFD, as in every Java string that is written as UTF-8.
pub(crate) fn unescape(text: &str, out: &mut String) -> Result<(), DecodeError> {
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(slash) = find_either(bytes, done, b'\\', b'\\') {
        out.push_str(&text[done..slash]);
        let escape = *bytes.get(slash + 1).ok_or(DecodeError::BadEscape)?;
        done = slash + 2;
        match escape {
            b'u' => {
                let unit = hex_unit(bytes, done)?;
                done += 4;
                if unit < 0x80 {
                    out.push(char::from(unit as u8));
                } else {
                    out.push(character(unit, bytes, &mut done));
                }
            }
            b'"' | b'\\' | b'/' | b'\'' => out.push(char::from(escape)),
            b'n' => out.push('\n'),
            b't' => out.push('\t'),
            b'r' => out.push('\r'),
            b'b' => out.push('\u{8}'),
            b'f' | b'F' => out.push('\u{c}'),
            b'v' => out.push('\u{b}'),
            b'0'..=b'7' => out.push(char::from(escape - b'0')),
            b'x' => {
                let digits = text.get(done..done + 2).ok_or(DecodeError::BadEscape)?;
                out.push(char::from(u8::from_str_radix(digits, 16).map_err(|_| DecodeError::BadEscape)?));
                done += 2;
            }
            _ => return Err(DecodeError::BadEscape),
        }
    }
    out.push_str(&text[done..]);
    Ok(())
}

/// Four hex digits at `at`.
#[inline]
fn hex_unit(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    let digits: &[u8; 4] =
        bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(DecodeError::BadEscape)?;
    let mut unit = 0;
    for &digit in digits {
        let value = char::from(digit).to_digit(16).ok_or(DecodeError::BadEscape)?;
        unit = unit << 4 | value as u16;
    }
    Ok(unit)
}

/// The character that UTF-16 `unit` stands for, a following low surrogate consumed with it.
fn character(unit: u16, bytes: &[u8], done: &mut usize) -> char {
    if let Some(character) = char::from_u32(unit.into()) {
        return character;
    }
    let low =
        (bytes.get(*done..*done + 2) == Some(b"\\u")).then(|| hex_unit(bytes, *done + 2).ok()).flatten();
    match low.map(|low| char::decode_utf16([unit, low]).next()) {
        Some(Some(Ok(character))) => {
            *done += 6;
            character
        }
        _ => char::REPLACEMENT_CHARACTER,
    }
}

// ---- binary ----

fn binary<'a>(header: &'a [u8], fields: &mut impl Fields<'a>) -> Result<Scanned<'a>, DecodeError> {
    let mut reader = Reader { rest: header };
    let code = i32::from(i16::from_be_bytes(*reader.array()?));
    let [language] = *reader.array()?;
    let head = RequestHead {
        code,
        // Java maps an unknown byte to null; so do we.
        language: Language::from_code(language).unwrap_or(Language::Other),
        version: i32::from(i16::from_be_bytes(*reader.array()?)),
        opaque: i32::from_be_bytes(*reader.array()?),
        flag: i32::from_be_bytes(*reader.array()?),
        serialization: Serialization::Rocketmq,
    };
    let remark = reader.long_text()?;
    let remark = (!remark.is_empty()).then_some(Raw::plain(remark));
    let ext_bytes = u32::from_be_bytes(*reader.array()?) as usize;
    let mut ext = Reader { rest: reader.take(ext_bytes)? };
    let mut count = 0;
    while !ext.rest.is_empty() {
        count += 1;
        if count > FIELDS_MAX {
            return Err(DecodeError::TooManyFields);
        }
        let name_bytes = u16::from_be_bytes(*ext.array()?) as usize;
        let name = ext.text(name_bytes)?;
        let value = ext.long_text()?;
        // A name or value without a byte is Java's null, and a null field is an absent one.
        if !name.is_empty() && !value.is_empty() {
            fields.field(Raw::plain(name), Raw::plain(value));
        }
    }
    Ok(Scanned { head, remark })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(array)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn text(&mut self, bytes: usize) -> Result<&'a str, DecodeError> {
        str::from_utf8(self.take(bytes)?).map_err(|_| DecodeError::NotUtf8)
    }

    /// Text behind a four-byte length.
    fn long_text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = u32::from_be_bytes(*self.array()?) as usize;
        self.text(bytes)
    }
}

// ---- the hot headers ----

/// The fields of one known header, in fixed places.
pub(crate) struct Slots<'a, const N: usize> {
    /// What error texts call the fields.
    names: &'static [&'static str; N],
    /// The place of a field by its name on the wire.
    place: fn(&str) -> Option<usize>,
    values: [Option<Raw<'a>>; N],
}

impl<'a, const N: usize> Fields<'a> for Slots<'a, N> {
    fn field(&mut self, name: Raw<'a>, value: Raw<'a>) {
        // No known name needs an escape, and nobody writes one in it.
        if let Some(place) = (self.place)(name.text) {
            self.values[place] = Some(value);
        }
    }
}

impl<'a, const N: usize> Slots<'a, N> {
    pub(crate) fn new(names: &'static [&'static str; N], place: fn(&str) -> Option<usize>) -> Self {
        Slots { names, place, values: [None; N] }
    }

    /// Resolves the escapes of every field into `scratch`, so that all texts can be borrowed.
    pub(crate) fn resolve(mut self, scratch: &'a mut Scratch) -> Result<Self, DecodeError> {
        let mut ends = [0; N];
        scratch.text.clear();
        for (value, end) in self.values.iter().zip(&mut ends) {
            if let Some(Raw { text, escaped: true }) = value {
                unescape(text, &mut scratch.text)?;
            }
            *end = scratch.text.len();
        }
        let scratch: &'a str = &scratch.text;
        let mut start = 0;
        for (value, end) in self.values.iter_mut().zip(ends) {
            if let Some(value) = value.as_mut().filter(|value| value.escaped) {
                *value = Raw::plain(&scratch[start..end]);
            }
            start = end;
        }
        Ok(self)
    }

    pub(crate) fn optional_text(&self, place: usize) -> Option<&'a str> {
        self.values[place].map(|value| value.text)
    }

    pub(crate) fn text(&self, place: usize) -> Result<&'a str, FieldError> {
        self.optional_text(place).ok_or(FieldError::Missing { field: self.names[place] })
    }

    /// A number; a field that is there without text counts as absent.
    pub(crate) fn optional_number<T: FromStr>(&self, place: usize) -> Result<Option<T>, FieldError> {
        let Some(text) = self.optional_text(place).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| FieldError::invalid(self.names[place], text))
    }

    pub(crate) fn number<T: FromStr>(&self, place: usize) -> Result<T, FieldError> {
        self.optional_number(place)?.ok_or(FieldError::Missing { field: self.names[place] })
    }

    pub(crate) fn truth(&self, place: usize) -> Result<bool, FieldError> {
        match self.optional_text(place) {
            None | Some("") => Ok(false),
            Some(text) => parse_truth(text).ok_or_else(|| FieldError::invalid(self.names[place], text)),
        }
    }
}

/// A truth value as any client writes it: Java and Go use words, C++ uses digits.
pub(crate) fn parse_truth(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_agrees_with_the_plain_loop() {
        let bytes: Vec<u8> = (0..200u32).map(|i| (i * 37 % 11) as u8 * 23).collect();
        for from in 0..=bytes.len() + 1 {
            for (one, other) in [(0, 23), (46, 46), (230, 1), (2, 3)] {
                let expected = (from..bytes.len()).find(|&at| bytes[at] == one || bytes[at] == other);
                assert_eq!(find_either(&bytes, from, one, other), expected, "from {from} for {one} {other}");
            }
        }
    }

    #[test]
    fn escapes_resolve_as_in_java() {
        let cases: [(&str, Option<&str>); 15] = [
            ("plain", Some("plain")),
            (r"a\u0001b\u0002", Some("a\u{1}b\u{2}")),
            (r#"\"\\\/\'"#, Some("\"\\/'")),
            (r"\n\t\r\b\f\v", Some("\n\t\r\u{8}\u{c}\u{b}")),
            (r"\x41\7", Some("A\u{7}")),
            (r"\u4e2d\u6587", Some("中文")),
            (r"\uD83D\uDE00!", Some("😀!")),
            (r"\ud83d!", Some("\u{fffd}!")),
            (r"\ud83d\u0041", Some("\u{fffd}A")),
            (r"\ude00", Some("\u{fffd}")),
            (r"\u12", None),
            (r"\uzzzz", None),
            (r"\q", None),
            (r"\x4é", None),
            (r"\xe9", Some("é")),
        ];
        for (input, expected) in cases {
            let mut out = String::new();
            let result = unescape(input, &mut out);
            assert_eq!(result.ok().map(|()| out.as_str()), expected, "{input}");
        }
    }
}
