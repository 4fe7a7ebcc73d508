//! Property strings: `name 0x01 value 0x02`, repeated. The last 0x02 may be missing, as some clients send it.

use std::borrow::Cow;

/// Between a name and its value.
pub const NAME_END: u8 = 1;
/// Behind a value.
pub const VALUE_END: u8 = 2;

/// Application keys, blank separated.
pub const KEYS: &str = "KEYS";
/// Application tag.
pub const TAGS: &str = "TAGS";
/// The client's own id of a message.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// Messages in a batch, as Apache's broker reads it; ours has leading zeros.
pub const INNER_NUM: &str = "INNER_NUM";
/// Offset of a batch's first message, as Apache's broker reads it; ours has leading zeros.
pub const INNER_BASE: &str = "INNER_BASE";
/// Digits of our [`INNER_NUM`].
pub(crate) const INNER_NUM_DIGITS: usize = 5;
/// Digits of our [`INNER_BASE`].
pub(crate) const INNER_BASE_DIGITS: usize = 20;
/// The checksum over the whole record, always last.
pub const CRC32: &str = "__CRC32#";
/// Prefix of all names that are ours.
pub const RESERVED_PREFIX: &str = "__BRAID";
/// Our name for the payload kind; absent means RocketMQ's own message.
pub const KIND: &str = "__BRAIDK";
/// Our name for the fixed-width list of targets.
pub const TARGETS: &str = "__BRAIDT";
/// Our mark on every record of an atomic group but the last.
pub const GROUP_GOES_ON: &str = "__BRAIDG";

/// The pairs of a property string, in order. Malformed pieces (no name end, empty name or value) are passed over, as
/// RocketMQ's own parser does.
pub fn iter(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    properties.split(|&b| b == VALUE_END).filter_map(|pair| {
        let at = memchr::memchr(NAME_END, pair)?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// The value of `name`; the last one counts, as in a map.
pub fn find<'a>(properties: &'a [u8], name: &str) -> Option<&'a [u8]> {
    iter(properties).filter(|(n, _)| *n == name.as_bytes()).last().map(|(_, value)| value)
}

/// The value of `name` as text; `None` when absent or not UTF-8.
pub fn find_str<'a>(properties: &'a [u8], name: &str) -> Option<&'a str> {
    find(properties, name).and_then(|value| std::str::from_utf8(value).ok())
}

/// True for names that only this codec may write.
pub fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(RESERVED_PREFIX.as_bytes()) || name == CRC32.as_bytes()
}

/// The properties without the pairs whose name `unwanted` picks; borrowed when none was there.
pub fn without<'a>(properties: &'a [u8], unwanted: impl Fn(&[u8]) -> bool) -> Cow<'a, [u8]> {
    let name_of = |pair: &'a [u8]| &pair[..memchr::memchr(NAME_END, pair).unwrap_or(pair.len())];
    let mut pieces = properties.split_inclusive(|&b| b == VALUE_END);
    if !pieces.any(|piece| unwanted(name_of(piece.strip_suffix(&[VALUE_END]).unwrap_or(piece)))) {
        return Cow::Borrowed(properties);
    }
    let mut kept = Vec::with_capacity(properties.len());
    for piece in properties.split_inclusive(|&b| b == VALUE_END) {
        if !unwanted(name_of(piece.strip_suffix(&[VALUE_END]).unwrap_or(piece))) {
            kept.extend_from_slice(piece);
        }
    }
    Cow::Owned(kept)
}

/// Appends one pair; a separator is put in first when the string does not end in one.
pub fn push(properties: &mut Vec<u8>, name: &str, value: &str) {
    if properties.last().is_some_and(|&b| b != VALUE_END) {
        properties.push(VALUE_END);
    }
    properties.extend_from_slice(name.as_bytes());
    properties.push(NAME_END);
    properties.extend_from_slice(value.as_bytes());
    properties.push(VALUE_END);
}

/// Sets `name` to `value`, dropping what it was before.
pub fn set(properties: &mut Vec<u8>, name: &str, value: &str) {
    if let Cow::Owned(kept) = without(properties, |n| n == name.as_bytes()) {
        *properties = kept;
    }
    push(properties, name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_and_without_the_last_separator() {
        for text in [&b"a\x01b\x02TAGS\x01x y\x02"[..], b"a\x01b\x02TAGS\x01x y"] {
            assert_eq!(iter(text).count(), 2);
            assert_eq!(find_str(text, TAGS), Some("x y"));
            assert_eq!(find(text, "b"), None);
        }
        assert_eq!(iter(b"\x02\x02novalue\x02\x01x\x02n\x01\x02").count(), 0);
    }

    #[test]
    fn unwanted_names_go_and_the_rest_keeps_its_bytes() {
        let text = b"a\x01b\x02__CRC32#\x01123\x02c\x01d";
        assert_eq!(&*without(text, is_reserved), b"a\x01b\x02c\x01d");
        assert!(matches!(without(b"a\x01b\x02", is_reserved), Cow::Borrowed(_)));
        assert_eq!(&*without(b"__BRAIDX\x01junk", is_reserved), b"");
        // A reserved word without a value is a malformed piece, and goes too.
        assert_eq!(&*without(b"__BRAIDX\x02a\x01b\x02", is_reserved), b"a\x01b\x02");
    }

    #[test]
    fn set_replaces_and_push_separates() {
        let mut p = b"a\x01b".to_vec();
        push(&mut p, "c", "d");
        set(&mut p, "a", "e");
        assert_eq!(p, b"c\x01d\x02a\x01e\x02");
    }
}
