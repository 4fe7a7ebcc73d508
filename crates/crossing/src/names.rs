//! Topic names that one protocol cannot spell.
//!
//! | made by | name inside | Kafka sees | RocketMQ sees |
//! | --- | --- | --- | --- |
//! | Kafka | `a.b` | `a.b` | `a%2Eb` |
//! | RocketMQ | `%RETRY%g` | `.25.RETRY.25.g` | `%RETRY%g` |
//!
//! RocketMQ allows `[%|a-zA-Z0-9_-]`, Kafka `[a-zA-Z0-9._-]`, so no name needs both escapes. Among the names of one protocol an alias
//! belongs to one name only. Across protocols `a.25.b`, made by Kafka, would look like the alias of `a%b`, made by RocketMQ: the name
//! inside wins, and [`conflict`] tells so before the second one is made.

use std::borrow::Cow;

const PERCENT: &str = ".25.";
const BAR: &str = ".7C.";
const DOT: &str = "%2E";

/// The name that Kafka clients see.
pub fn to_kafka(inside: &str) -> Cow<'_, str> {
    if inside.contains(['%', '|']) {
        Cow::Owned(inside.replace('%', PERCENT).replace('|', BAR))
    } else {
        Cow::Borrowed(inside)
    }
}

/// The name that RocketMQ clients see.
pub fn to_rocketmq(inside: &str) -> Cow<'_, str> {
    if inside.contains('.') { Cow::Owned(inside.replace('.', DOT)) } else { Cow::Borrowed(inside) }
}

/// The name inside whose Kafka alias this is; `None` when it is no alias, only perhaps a name.
pub fn of_kafka_alias(shown: &str) -> Option<String> {
    if !shown.contains('.') {
        return None;
    }
    let mut inside = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(at) = rest.find('.') {
        inside.push_str(&rest[..at]);
        rest = &rest[at..];
        // A dot that begins no escape is no part of a name that RocketMQ could make.
        let (byte, behind) = rest
            .strip_prefix(PERCENT)
            .map(|behind| ('%', behind))
            .or_else(|| rest.strip_prefix(BAR).map(|behind| ('|', behind)))?;
        inside.push(byte);
        rest = behind;
    }
    inside.push_str(rest);
    Some(inside)
}

/// The name inside whose RocketMQ alias this is; `None` when it is no alias, only perhaps a name.
pub fn of_rocketmq_alias(shown: &str) -> Option<String> {
    if !shown.contains(DOT) {
        return None;
    }
    let inside = shown.replace(DOT, ".");
    // What Kafka could make has no other per cent sign and no bar.
    (!inside.contains(['%', '|'])).then_some(inside)
}

/// The topic that a Kafka client means. `exists` knows the names inside.
pub fn resolve_kafka<'n>(shown: &'n str, exists: impl Fn(&str) -> bool) -> Option<Cow<'n, str>> {
    resolve(shown, of_kafka_alias, exists)
}

/// The topic that a RocketMQ client means. `exists` knows the names inside.
pub fn resolve_rocketmq<'n>(shown: &'n str, exists: impl Fn(&str) -> bool) -> Option<Cow<'n, str>> {
    resolve(shown, of_rocketmq_alias, exists)
}

fn resolve<'n>(
    shown: &'n str,
    of_alias: impl Fn(&str) -> Option<String>,
    exists: impl Fn(&str) -> bool,
) -> Option<Cow<'n, str>> {
    if exists(shown) {
        return Some(Cow::Borrowed(shown));
    }
    of_alias(shown).filter(|inside| exists(inside)).map(Cow::Owned)
}

/// The existing topic that could not be told from a new one of this name in one of the protocols.
pub fn conflict(new: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let others = [
        of_kafka_alias(new),
        of_rocketmq_alias(new),
        Some(to_kafka(new).into_owned()),
        Some(to_rocketmq(new).into_owned()),
    ];
    others.into_iter().flatten().find(|other| other != new && exists(other))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn aliases_are_as_documented() {
        for (inside, kafka, rocketmq) in [
            ("Orders_1-x", "Orders_1-x", "Orders_1-x"),
            ("a.b", "a.b", "a%2Eb"),
            ("%RETRY%g", ".25.RETRY.25.g", "%RETRY%g"),
            ("a|b", "a.7C.b", "a|b"),
            ("%%|", ".25..25..7C.", "%%|"),
        ] {
            assert_eq!((&*to_kafka(inside), &*to_rocketmq(inside)), (kafka, rocketmq));
            let only = |name: &str| name == inside;
            assert_eq!(resolve_kafka(kafka, only).as_deref(), Some(inside));
            assert_eq!(resolve_rocketmq(rocketmq, only).as_deref(), Some(inside));
        }
        for no_alias in ["a", "a.b", ".25", "a.25.b.c", "..25."] {
            assert_eq!(of_kafka_alias(no_alias), None, "{no_alias}");
        }
        for no_alias in ["a", "a%b", "a%2eb", "%RETRY%a%2Eb", "a|%2E"] {
            assert_eq!(of_rocketmq_alias(no_alias), None, "{no_alias}");
        }
    }

    /// All strings of up to `length_max` pieces.
    fn strings(pieces: &[&str], length_max: u32) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length_max {
            last = last
                .iter()
                .flat_map(|name| pieces.iter().map(move |piece| format!("{name}{piece}")))
                .collect();
            all.extend_from_slice(&last);
        }
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn among_names_of_one_protocol_no_two_have_one_alias() {
        let of_rocketmq = strings(&["%", "|", "25", "7C", "2E", "a"], 5);
        let mut seen = HashMap::new();
        for name in &of_rocketmq {
            assert_eq!(seen.insert(to_kafka(name).into_owned(), name), None, "{name}");
            let alias = to_kafka(name);
            assert_eq!(of_kafka_alias(&alias), (alias != *name).then(|| name.clone()));
        }
        let of_kafka = strings(&[".", "25", "7C", "2E", "a"], 5);
        let mut seen = HashMap::new();
        for name in &of_kafka {
            assert_eq!(seen.insert(to_rocketmq(name).into_owned(), name), None, "{name}");
            let alias = to_rocketmq(name);
            assert_eq!(of_rocketmq_alias(&alias), (alias != *name).then(|| name.clone()));
        }
        // Across the two, whatever is not refused is told apart.
        for first in &strings(&["%", "|", "25", "7C", "2E", "a"], 3) {
            for second in &strings(&[".", "25", "7C", "2E", "a"], 3) {
                let same = first != second
                    && (to_kafka(first) == to_kafka(second) || to_rocketmq(first) == to_rocketmq(second));
                let refused = |new: &str, old: &str| conflict(new, |name| name == old).is_some();
                assert_eq!(
                    (refused(first, second), refused(second, first)),
                    (same, same),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn a_name_inside_wins_over_an_alias() {
        let both = |name: &str| name == "a.25.b" || name == "a%b";
        assert_eq!(resolve_kafka("a.25.b", both).as_deref(), Some("a.25.b"));
        assert_eq!(resolve_kafka("a.25.c", both), None);
        assert_eq!(conflict("a%b", |name| name == "a.25.b").as_deref(), Some("a.25.b"));
        assert_eq!(conflict("a.b", |name| name == "a%2Eb").as_deref(), Some("a%2Eb"));
        assert_eq!(conflict("a.b", |name| name == "a.b"), None, "itself");
    }
}
