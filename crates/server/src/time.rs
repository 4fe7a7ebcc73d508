//! Times as people write them: RFC 3339 in UTC, milliseconds since 1970, or so long ago.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// `2026-01-31T23:59:59.123Z`; empty for 0 and less, which RocketMQ uses for "never".
pub fn show(ms: i64) -> String {
    if ms <= 0 {
        return String::new();
    }
    let (days, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads `2026-01-31T23:59:59[.123][Z|+01:00]` (UTC if no zone is named), `2026-01-31`, milliseconds since 1970, or `-90s`, `-10m`,
/// `-2h`, `-7d` before `now`.
pub fn parse(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = text.strip_prefix('-') {
        let (number, unit) = ago.split_at_checked(ago.len().checked_sub(1)?)?;
        let unit_ms = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            _ => return None,
        };
        return now.checked_sub(number.parse::<u32>().ok().map(i64::from)?.checked_mul(unit_ms)?);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let midnight = parse_date(date)?.checked_mul(DAY_MS)?;
    if time.is_empty() { Some(midnight) } else { midnight.checked_add(parse_time(time)?) }
}

fn parse_date(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text.split('-').map(digits).collect::<Option<_>>()?;
    let [year, month, day] = parts[..] else { return None };
    let days = days_of(year, month, day);
    // A day that does not exist comes back as another one.
    ((1970..=9999).contains(&year) && (1..=12).contains(&month) && date_of(days) == (year, month, day))
        .then_some(days)
}

/// Milliseconds behind midnight UTC; negative when the zone is ahead.
fn parse_time(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<i64> = clock.split(':').map(digits).collect::<Option<_>>()?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let milli = digits(&format!("{fraction:0<3}")[..3])?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000 + milli - zone_ms(zone)?)
}

fn zone_ms(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first() {
        None | Some(b'Z' | b'z') => return (zone.len() < 2).then_some(0),
        Some(b'+') => 1,
        Some(_) => -1,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Days since 1970 of a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of days since 1970, from the same source.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let now = 1_700_000_000_000;
        let cases = [
            ("1700000000000", Some(now)),
            ("2023-11-14T22:13:20Z", Some(now)),
            ("2023-11-14T23:13:20+01:00", Some(now)),
            ("2023-11-14 22:13:20.5", Some(now + 500)),
            ("2023-11-14T22:13:20.123456Z", Some(now + 123)),
            ("2024-02-29", Some(1_709_164_800_000)),
            ("2024-02-29T00:00", Some(1_709_164_800_000)),
            ("-10m", Some(now - 600_000)),
            ("-7d", Some(now - 7 * DAY_MS)),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-11-14T24:00:00Z", None),
            ("2023-11-14T22:13:20+1", None),
            ("2023-11-14T22:13:20Zulu", None),
            ("-m", None),
            ("-\u{e9}", None),
            ("-", None),
            ("yesterday", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, now), expected, "{text}");
        }
    }

    #[test]
    fn shown_times_are_read_again() {
        for ms in [1, 951_782_400_123, 1_709_164_799_999, 4_102_444_800_000] {
            assert_eq!(parse(&show(ms), 0), Some(ms), "{}", show(ms));
        }
        assert_eq!((show(951_782_400_123).as_str(), show(0).as_str()), ("2000-02-29T00:00:00.123Z", ""));
    }
}
