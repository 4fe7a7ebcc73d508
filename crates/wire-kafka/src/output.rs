//! Writing: appends values to a buffer, in the classic or the compact encoding (see [`crate::input`]).
//!
//! # Panics
//! Bytes or arrays with more than `i32::MAX` elements: the protocol has no way to say their length, and no frame could hold them.

/// The longest text that the classic encoding can say, in bytes.
pub const CLASSIC_TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// One byte.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(value.into());
}

/// One byte.
pub fn put_i8(out: &mut Vec<u8>, value: i8) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Two bytes.
pub fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Four bytes.
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Eight bytes.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Seven bits a byte, least significant first.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that [`put_uvarint`] takes.
pub fn uvarint_length(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// The length of bytes or of an array; None is null.
pub fn put_length(out: &mut Vec<u8>, length: Option<usize>, flexible: bool) {
    let length = length.map(|length| i32::try_from(length).expect("a length that fits the protocol"));
    match (length, flexible) {
        (None, true) => out.push(0),
        (None, false) => put_i32(out, -1),
        (Some(length), true) => put_uvarint(out, length.unsigned_abs() + 1),
        (Some(length), false) => put_i32(out, length),
    }
}

/// The bytes that [`put_length`] takes.
pub fn length_length(length: Option<usize>, flexible: bool) -> usize {
    match (length, flexible) {
        (_, false) => 4,
        (None, true) => 1,
        (Some(length), true) => uvarint_length(u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1)),
    }
}

/// Text. What is longer than the classic encoding can say is cut there, between two characters.
pub fn put_string(out: &mut Vec<u8>, value: &str, flexible: bool) {
    if flexible {
        put_length(out, Some(value.len()), true);
        return out.extend_from_slice(value.as_bytes());
    }
    let value = &value[..value.floor_char_boundary(CLASSIC_TEXT_BYTES_MAX)];
    put_i16(out, i16::try_from(value.len()).expect("it was cut to what fits"));
    out.extend_from_slice(value.as_bytes());
}

/// Text, or null.
pub fn put_nullable_string(out: &mut Vec<u8>, value: Option<&str>, flexible: bool) {
    match value {
        Some(value) => put_string(out, value, flexible),
        None if flexible => out.push(0),
        None => put_i16(out, -1),
    }
}

/// Bytes.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8], flexible: bool) {
    put_length(out, Some(value.len()), flexible);
    out.extend_from_slice(value);
}

/// Bytes, or null.
pub fn put_nullable_bytes(out: &mut Vec<u8>, value: Option<&[u8]>, flexible: bool) {
    match value {
        Some(value) => put_bytes(out, value, flexible),
        None => put_length(out, None, flexible),
    }
}

/// An array, each element by `element`.
pub fn put_array<T>(
    out: &mut Vec<u8>,
    items: &[T],
    flexible: bool,
    mut element: impl FnMut(&mut Vec<u8>, &T),
) {
    put_length(out, Some(items.len()), flexible);
    for item in items {
        element(out, item);
    }
}

/// An array, or null.
pub fn put_nullable_array<T>(
    out: &mut Vec<u8>,
    items: Option<&[T]>,
    flexible: bool,
    element: impl FnMut(&mut Vec<u8>, &T),
) {
    match items {
        Some(items) => put_array(out, items, flexible, element),
        None => put_length(out, None, flexible),
    }
}

/// A tagged field: the tag, the length of what `value` appends, and that.
pub fn put_tag(out: &mut Vec<u8>, tag: u32, value: impl FnOnce(&mut Vec<u8>)) {
    let mut field = Vec::new();
    value(&mut field);
    put_uvarint(out, tag);
    put_uvarint(out, u32::try_from(field.len()).expect("a field that fits a frame"));
    out.extend_from_slice(&field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters_where_its_length_cannot_be_said() {
        let long = format!("a{}", "ß".repeat(CLASSIC_TEXT_BYTES_MAX / 2 + 9));
        let mut out = Vec::new();
        put_string(&mut out, &long, false);
        assert_eq!(out.len(), 2 + CLASSIC_TEXT_BYTES_MAX);
        out.clear();
        put_string(&mut out, &long[1..], false);
        assert_eq!(
            out[..2],
            (CLASSIC_TEXT_BYTES_MAX as i16 - 1).to_be_bytes(),
            "half a character is not written"
        );
        out.clear();
        put_string(&mut out, &long, true);
        assert_eq!(out.len(), 3 + long.len());
    }

    #[test]
    fn lengths_are_as_long_as_they_say() {
        for length in
            [None, Some(0), Some(0x7e), Some(0x7f), Some(0x3ffe), Some(0x3fff), Some(i32::MAX as usize)]
        {
            for flexible in [false, true] {
                let mut out = Vec::new();
                put_length(&mut out, length, flexible);
                assert_eq!(out.len(), length_length(length, flexible), "{length:?} {flexible}");
            }
        }
    }
}
