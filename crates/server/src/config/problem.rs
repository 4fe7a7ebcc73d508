//! What is wrong with a configuration, with the line and a caret under it, and what was meant.

use std::fmt;
use std::ops::Range;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// How many characters are marked, at least 1.
    pub chars: usize,
}

impl Place {
    /// The place of a byte range of a file's content.
    pub fn of(file: &str, content: &str, range: Range<usize>) -> Self {
        let start = floor(content, range.start);
        let line_start = content[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = content[start..].find('\n').map_or(content.len(), |at| start + at);
        let end = floor(content, range.end).clamp(start, line_end);
        Place {
            file: file.to_owned(),
            line: content[..start].matches('\n').count() + 1,
            column: content[line_start..start].chars().count() + 1,
            text: content[line_start..line_end].trim_end_matches('\r').to_owned(),
            chars: content[start..end].chars().count().max(1),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(content: &str, at: usize) -> usize {
    let mut at = at.min(content.len());
    while !content.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What, as a sentence without a full stop.
    pub message: String,
    /// Where, if it came from a file.
    pub place: Option<Place>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem that stands nowhere in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), place: None, help: None }
    }

    /// Says where.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            // Tabs stay tabs, so that the caret stands under its word whatever their width.
            let indent: String = place
                .text
                .chars()
                .take(place.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n{gutter}--> {}:{}:{}", place.file, place.line, place.column)?;
            write!(
                f,
                "\n{gutter} |\n{number} | {}\n{gutter} | {indent}{}",
                place.text,
                "^".repeat(place.chars)
            )?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}

/// The known name that `name` was probably meant to be.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let name = fold(name);
    // A third of the letters may be wrong; more is a guess that misleads.
    let allowed = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (distance(&name, &fold(known)), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Letters to insert, drop, replace or swap with their neighbour to come from `a` to `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word() {
        let content = "a = 1\n\tb\u{e9} = \"x\"\r\nc";
        let place = Place::of("f.toml", content, 7..10);
        assert_eq!(
            (place.line, place.column, place.chars, place.text.as_str()),
            (2, 2, 2, "\tb\u{e9} = \"x\"")
        );
        let shown = Problem::new("wrong").at(place).help("do it").to_string();
        assert_eq!(shown, "wrong\n --> f.toml:2:2\n  |\n2 | \tb\u{e9} = \"x\"\n  | \t^^\n  = help: do it");
    }

    #[test]
    fn a_range_at_or_behind_the_end_is_the_last_line() {
        for range in [17..18, 99..120] {
            let place = Place::of("f", "a = 1\nbb = 2\nc", range);
            assert_eq!((place.line, place.chars), (3, 1));
        }
        assert_eq!(Place::of("f", "", 0..0).line, 1);
    }

    #[test]
    fn guesses_are_near_or_not_made() {
        let known = ["store.flush", "store.file_bytes", "listen.rocketmq", "allow_anonymous"];
        let cases = [
            ("stroe.flush", Some("store.flush")),
            ("store.flsh", Some("store.flush")),
            ("Store.FileBytes", Some("store.file_bytes")),
            ("listen.rocketMQ", Some("listen.rocketmq")),
            ("allow-anonymous", Some("allow_anonymous")),
            ("colour", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(did_you_mean(name, known), expected, "{name}");
        }
    }
}
