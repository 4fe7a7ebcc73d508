//! UNIQ_KEYs for messages whose client sent none, made as RocketMQ's clients make theirs: tools read the time out of them.
//!
//! ```text
//!  upper-case hex of  ip 4 (or 16) │ process 2 │ start 4 │ ms since the month began 4 │ counter 2
//! ```

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use braid_io::Rng;

/// A key that no other message of this host has.
pub(crate) fn key(ip: IpAddr, now_ms: i64) -> String {
    static COUNTER: AtomicU16 = AtomicU16::new(0);
    /// Stands where Java has a class loader's hash: tells two starts with the same process number apart.
    static START: OnceLock<u32> = OnceLock::new();
    let start = *START.get_or_init(|| Rng::from_entropy().next_u64() as u32);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut key = String::with_capacity(56);
    let mut push = |bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(key, "{byte:02X}");
        }
    };
    match ip {
        IpAddr::V4(ip) => push(&ip.octets()),
        IpAddr::V6(ip) => push(&ip.octets()),
    }
    push(&(std::process::id() as u16).to_be_bytes());
    push(&start.to_be_bytes());
    push(&(now_ms.wrapping_sub(month_start_ms(now_ms)) as u32).to_be_bytes());
    push(&counter.to_be_bytes());
    key
}

/// When the month of a moment began, in UTC (days to civil dates after Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn month_start_ms(now_ms: i64) -> i64 {
    const DAY_MS: i64 = 86_400_000;
    let days = now_ms.div_euclid(DAY_MS);
    let of_era = (days + 719_468).rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    (days - day_of_month) * DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        const DAY_MS: i64 = 86_400_000;
        // 2024-02-29T12:00Z, 2023-11-14T22:13:20Z, 1970-01-01, 2000-03-01.
        for (now, first_day) in
            [(1_709_208_000_000, 19_754), (1_700_000_000_000, 19_662), (0, 0), (951_868_800_000, 11_017)]
        {
            assert_eq!(month_start_ms(now), first_day * DAY_MS, "{now}");
        }
    }

    #[test]
    fn keys_differ_and_have_the_clients_length() {
        let key = |ip: &str| super::key(ip.parse().unwrap(), 1_700_000_000_000);
        let (a, b) = (key("127.0.0.1"), key("127.0.0.1"));
        assert_ne!(a, b);
        assert_eq!((a.len(), &a[..8]), (32, "7F000001"));
        assert_eq!(key("::1").len(), 56);
    }
}
