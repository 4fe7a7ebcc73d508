//! Kafka's variable-length integers: zigzag, seven bits a byte, the lowest first.
//!
//! Source: Kafka's protocol guide, "Protocol Primitive Types" (VARINT, VARLONG), which follow Protocol Buffers.

/// Longest encoding of a 32-bit integer.
const VARINT_BYTES_MAX: u32 = 5;
/// Longest encoding of a 64-bit integer.
const VARLONG_BYTES_MAX: u32 = 10;

/// Bytes that [`put_varlong`] writes for `value`; the same for [`put_varint`] of an `i32`.
pub fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a 32-bit integer.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends a 64-bit integer.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes a 32-bit integer off the front of `bytes`; `None` when they end inside it or it is too long.
pub fn take_varint(bytes: &mut &[u8]) -> Option<i32> {
    take(bytes, VARINT_BYTES_MAX).and_then(|value| i32::try_from(value).ok())
}

/// Takes a 64-bit integer off the front of `bytes`; `None` when they end inside it or it is too long.
pub fn take_varlong(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes, VARLONG_BYTES_MAX)
}

fn take(bytes: &mut &[u8], bytes_max: u32) -> Option<i64> {
    let mut raw = 0u64;
    for at in 0..bytes_max {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit.
        if at == VARLONG_BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        raw |= bits << (7 * at);
        if byte < 0x80 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_guide_s_values() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (-64, &[127]),
            (64, &[0x80, 1]),
            (300, &[0xD8, 4]),
            (i64::from(i32::MAX), &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i64::from(i32::MIN), &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i64::MIN, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!((out.as_slice(), varlong_len(value)), (bytes, bytes.len()), "{value}");
            assert_eq!(take_varlong(&mut &out[..]), Some(value));
            assert_eq!(take_varint(&mut &out[..]), i32::try_from(value).ok(), "{value}");
            assert_eq!(take_varlong(&mut &out[..out.len() - 1]), None, "{value} cut short");
        }
        assert_eq!(take_varint(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0x1F][..]), None, "33 bits");
        assert_eq!(take_varlong(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2][..]), None);
        assert_eq!(take_varlong(&mut &[0x80; 11][..]), None);
    }
}
