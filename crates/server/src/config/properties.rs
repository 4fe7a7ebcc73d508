//! Java's properties format, as far as `java.util.Properties` reads it.

use std::ops::Range;

/// One line (or several, continued) that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved, blanks at its end removed as RocketMQ does.
    pub value: String,
    /// The key's bytes in the file.
    pub key_range: Range<usize>,
    /// The value's bytes in the file; continued lines included.
    pub value_range: Range<usize>,
}

/// All properties in order. There is no wrong properties file: every line means something.
pub fn parse(content: &str) -> Vec<Property> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let end = logical_end(content, at);
        if let Some(property) = parse_line(content, at..end) {
            all.push(property);
        }
        at = end + 1;
    }
    all
}

/// The end of the logical line that begins at `start`: a line whose end is escaped goes on, a comment never does.
fn logical_end(content: &str, start: usize) -> usize {
    let mut at = start;
    loop {
        let end = content[at..].find('\n').map_or(content.len(), |found| at + found);
        let line = content[at..end].trim_end_matches('\r');
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let is_comment = at == start && line.trim_start().starts_with(['#', '!']);
        if backslashes.is_multiple_of(2) || is_comment || end == content.len() {
            return end;
        }
        at = end + 1;
    }
}

fn parse_line(content: &str, range: Range<usize>) -> Option<Property> {
    let line = &content[range.clone()];
    let key_start = line.find(|c: char| !c.is_whitespace())?;
    if line[key_start..].starts_with(['#', '!']) {
        return None;
    }
    let mut key_end = line.len();
    let mut escaped = false;
    for (at, c) in line[key_start..].char_indices() {
        if !escaped && (matches!(c, '=' | ':') || c.is_whitespace()) {
            key_end = key_start + at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let rest = line[key_end..].trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    let value_start = line.len() - value.len();
    let value_end = value_start + value.trim_end().len();
    Some(Property {
        key: unescape(&line[key_start..key_end]),
        value: unescape(&line[value_start..value_end]).trim_end().to_owned(),
        key_range: range.start + key_start..range.start + key_end,
        value_range: range.start + value_start..range.start + value_end,
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                out.push(
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'),
                );
            }
            // A continued line: the line end and the next line's indentation are no part of the value.
            Some(end @ ('\r' | '\n')) => {
                let rest = chars.as_str();
                let rest = if end == '\r' { rest.strip_prefix('\n').unwrap_or(rest) } else { rest };
                chars = rest.trim_start_matches([' ', '\t', '\u{c}']).chars();
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let cases: [(&str, &[(&str, &str)]); 10] = [
            ("a=b", &[("a", "b")]),
            ("  a = b  \r\nc:d\ne f", &[("a", "b"), ("c", "d"), ("e", "f")]),
            ("# a=b\n! c=d\n\n   \n", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("a=b=c:d", &[("a", "b=c:d")]),
            ("a=1,\\\n   2,\\\r\n   3\nb=4", &[("a", "1,2,3"), ("b", "4")]),
            ("# comment \\\na=b", &[("a", "b")]),
            ("k\\=1 = \\u0041\\t", &[("k=1", "A")]),
            ("a=\\", &[("a", "")]),
        ];
        for (content, expected) in cases {
            let parsed = parse(content);
            let pairs: Vec<_> = parsed.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
            assert_eq!(pairs, expected, "{content:?}");
        }
    }

    #[test]
    fn ranges_point_at_key_and_value() {
        let content = "# x\n  listenPort = 10911 \n";
        let property = &parse(content)[0];
        assert_eq!(&content[property.key_range.clone()], "listenPort");
        assert_eq!(&content[property.value_range.clone()], "10911");
    }
}
