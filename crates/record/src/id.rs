//! Message ids that name a record by host and position, and the tag hash of RocketMQ's index.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The id that a broker gives a stored message: upper-case hex of host, port (4 bytes) and position (8 bytes).
pub fn message_id(store_host: SocketAddr, position: u64) -> String {
    let mut bytes = Vec::with_capacity(28);
    match store_host.ip() {
        IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
    bytes.extend_from_slice(&u32::from(store_host.port()).to_be_bytes());
    bytes.extend_from_slice(&position.to_be_bytes());
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
        }
    }
    text
}

/// Host and position of a message id; `None` when it is not one.
pub fn parse_message_id(id: &str) -> Option<(SocketAddr, u64)> {
    if !matches!(id.len(), 32 | 56) || !id.is_ascii() {
        return None;
    }
    let bytes: Vec<u8> = (0..id.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&id[i..i + 2], 16).ok())
        .collect::<Option<_>>()?;
    let (ip, rest) = match bytes.len() {
        16 => (IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?)), &bytes[4..]),
        _ => (IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?)), &bytes[16..]),
    };
    let port = u16::try_from(u32::from_be_bytes(rest[..4].try_into().ok()?)).ok()?;
    Some((SocketAddr::new(ip, port), u64::from_be_bytes(rest[4..].try_into().ok()?)))
}

/// Java's `String.hashCode` over UTF-16 units, sign-extended: RocketMQ's tags code. 0 for no tags.
pub fn tags_code(tags: &str) -> i64 {
    i64::from(tags.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_match_what_the_real_broker_gave() {
        let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
        let id = message_id(host, 0x0624_8AF0);
        assert_eq!(id, "7F00000100002A9F0000000006248AF0");
        assert_eq!(parse_message_id(&id), Some((host, 0x0624_8AF0)));
        let v6: SocketAddr = "[::1]:10911".parse().unwrap();
        assert_eq!(parse_message_id(&message_id(v6, 9)), Some((v6, 9)));
        for bad in ["", "7F", "7F00000100002A9F0000000006248AFG", "é00000100002A9F0000000006248AF0"] {
            assert_eq!(parse_message_id(bad), None);
        }
    }

    #[test]
    fn tags_hash_as_java_hashes() {
        for (tags, code) in [("", 0), ("TagA", 2_598_919), ("*", 42)] {
            assert_eq!(tags_code(tags), code, "{tags}");
        }
        // Overflows 32 bits and comes out negative, as in Java.
        assert!(tags_code("polygenelubricants") == i64::from(i32::MIN));
    }
}
