//! How names and values that RocketMQ's properties cannot hold are spelled there, and read back.
//!
//! A property is text between 0x01 and 0x02, with a name and a value that are not empty. See "Headers and properties" in
//! `docs/mapping.md`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rocketmq::system;

/// Behind a name whose value is in base64.
const BASE64_SUFFIX: &[u8] = b";base64";
/// Behind a name whose value is null.
const NULL_SUFFIX: &[u8] = b";null";
/// The value that stands for null.
const NULL: &[u8] = b"null";
/// The base64 of nothing is empty, which no property can be.
const EMPTY: &[u8] = b"=";
/// In front of names that mean something else to RocketMQ, or nothing.
pub(crate) const ESCAPE_PREFIX: &str = "kafka.";
/// The property with a key that is no word.
pub(crate) const KEY_PROPERTY: &str = "x-kafka-key";

/// The base64 of a value, as a property can hold it.
pub(crate) fn base64(value: &[u8]) -> Vec<u8> {
    if value.is_empty() { EMPTY.to_vec() } else { STANDARD.encode(value).into_bytes() }
}

/// The value of such base64.
pub(crate) fn of_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text == EMPTY { Some(Vec::new()) } else { STANDARD.decode(text).ok() }
}

/// An application's header as a property.
pub(crate) fn to_property<'h>(name: &'h [u8], value: Option<&'h [u8]>) -> (Cow<'h, [u8]>, Cow<'h, [u8]>) {
    let spelled = spell_name(name);
    let marked = |suffix: &[u8]| Cow::Owned([&*spelled, suffix].concat());
    match value {
        None => (marked(NULL_SUFFIX), Cow::Borrowed(NULL)),
        Some(value) if is_text(value) && !is_marked(name) => (spelled, Cow::Borrowed(value)),
        Some(value) => (marked(BASE64_SUFFIX), Cow::Owned(base64(value))),
    }
}

/// The header that a property stands for.
pub(crate) fn of_property<'p>(name: &'p [u8], value: &'p [u8]) -> (Cow<'p, [u8]>, Option<Cow<'p, [u8]>>) {
    if let Some(bare) = name.strip_suffix(NULL_SUFFIX)
        && value == NULL
    {
        return (unspell_name(bare), None);
    }
    if let Some(bare) = name.strip_suffix(BASE64_SUFFIX)
        && let Some(value) = of_base64(value)
    {
        return (unspell_name(bare), Some(Cow::Owned(value)));
    }
    (unspell_name(name), Some(Cow::Borrowed(value)))
}

fn is_marked(name: &[u8]) -> bool {
    name.ends_with(BASE64_SUFFIX) || name.ends_with(NULL_SUFFIX)
}

/// True for what a property's value can be, as it is.
fn is_text(value: &[u8]) -> bool {
    !value.is_empty() && !value.iter().any(|&b| b == 1 || b == 2) && std::str::from_utf8(value).is_ok()
}

/// True for text without control characters: what RocketMQ's own properties may be set to from outside.
pub(crate) fn is_plain(value: &[u8]) -> bool {
    !value.is_empty() && !value.iter().any(u8::is_ascii_control) && std::str::from_utf8(value).is_ok()
}

/// True for what can be one word of `KEYS`.
pub(crate) fn is_word(value: &[u8]) -> bool {
    is_plain(value) && !value.contains(&b' ')
}

fn spell_name(name: &[u8]) -> Cow<'_, [u8]> {
    let meant = system::is_rocketmq(name) || system::is_hidden(name) || name == KEY_PROPERTY.as_bytes();
    if is_plain(name) && !meant && !name.starts_with(ESCAPE_PREFIX.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let mut spelled = ESCAPE_PREFIX.as_bytes().to_vec();
    for piece in name.utf8_chunks() {
        for char in piece.valid().chars() {
            if char.is_ascii_control() || char == '%' {
                push_escaped(&mut spelled, char as u8);
            } else {
                spelled.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        piece.invalid().iter().for_each(|&byte| push_escaped(&mut spelled, byte));
    }
    Cow::Owned(spelled)
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn unspell_name(spelled: &[u8]) -> Cow<'_, [u8]> {
    let Some(escaped) = spelled.strip_prefix(ESCAPE_PREFIX.as_bytes()) else { return Cow::Borrowed(spelled) };
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            name.push(byte);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, behind)| {
            let number = |digit: u8| char::from(digit).to_digit(16);
            Some((number(digits[0])? << 4 | number(digits[1])?, behind))
        });
        // No spelling of ours: an application's own property.
        let Some((number, behind)) = digits else { return Cow::Borrowed(spelled) };
        name.push(number as u8);
        rest = behind;
    }
    Cow::Owned(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_spelled_as_documented() {
        let check = |name: &[u8], value: Option<&[u8]>, spelled: (&str, &str)| {
            let (property, text) = to_property(name, value);
            assert_eq!((&*property, &*text), (spelled.0.as_bytes(), spelled.1.as_bytes()));
            let (back, back_value) = of_property(&property, &text);
            assert_eq!((&*back, back_value.as_deref()), (name, value), "{spelled:?}");
        };
        check(b"trace", Some(b"x y"), ("trace", "x y"));
        check("\u{e9}".as_bytes(), Some("\u{e9}".as_bytes()), ("\u{e9}", "\u{e9}"));
        check(b"bin", Some(&[0xFF, 1]), ("bin;base64", "/wE="));
        check(b"bin", Some(b""), ("bin;base64", "="));
        check(b"bin", None, ("bin;null", "null"));
        check(b"bin", Some(b"null"), ("bin", "null"));
        check(b"x;null", Some(b"null"), ("x;null;base64", "bnVsbA=="));
        check(b"x;base64", None, ("x;base64;null", "null"));
        check(b"x;base64", Some(b"v"), ("x;base64;base64", "dg=="));
        check(b"TAGS", Some(b"v"), ("kafka.TAGS", "v"));
        check(b"__CRC32#", Some(b"v"), ("kafka.__CRC32#", "v"));
        check(b"x-kafka-key", Some(b"v"), ("kafka.x-kafka-key", "v"));
        check(b"kafka.tombstone", Some(b"true"), ("kafka.kafka.tombstone", "true"));
        check(b"", Some(b"v"), ("kafka.", "v"));
        check(b"a\x01b%\xFF", None, ("kafka.a%01b%25%FF;null", "null"));
        check(b"100%", Some(b"v"), ("100%", "v"));
        check(b"rmq.UNIQ_KEY", Some(b"v"), ("rmq.UNIQ_KEY", "v"));
    }

    #[test]
    fn what_only_looks_like_a_spelling_is_left_alone() {
        for (name, value) in
            [("x;base64", "not base64!"), ("x;null", "0"), ("kafka.%zz", "v"), ("kafka.%4", "v")]
        {
            let (back, back_value) = of_property(name.as_bytes(), value.as_bytes());
            assert_eq!((&*back, back_value.as_deref()), (name.as_bytes(), Some(value.as_bytes())));
        }
    }
}
