//! Reads BraidMQ's own configuration file: TOML in, (key, text, place) out.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{KEYS, Key, SECTIONS, key};
use super::problem::{Place, Problem, did_you_mean};
use super::value::Shape;

/// A key that a file sets.
#[derive(Debug)]
pub struct Entry {
    /// Which.
    pub key: &'static Key,
    /// Its value's text form.
    pub text: String,
    /// Where the value stands.
    pub place: Place,
}

/// Reads `content`; all problems are reported, not the first alone.
pub fn read(file: &str, content: &str) -> (Vec<Entry>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(content);
    let mut reader = Reader { file, content, entries: Vec::new(), problems: Vec::new() };
    for error in errors {
        let place = Place::of(file, content, error.span().unwrap_or(0..0));
        reader.problems.push(Problem::new(error.message()).at(place));
    }
    // What could not be parsed may look like another key; its consequences are not worth reporting.
    if reader.problems.is_empty() {
        reader.root(table.get_ref());
    }
    (reader.entries, reader.problems)
}

struct Reader<'a> {
    file: &'a str,
    content: &'a str,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn root(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let is_section = SECTIONS.iter().any(|(section, _)| section == name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if is_section => {
                    for (leaf, value) in inner {
                        self.key(&format!("{}.{}", name.get_ref(), leaf.get_ref()), leaf, value);
                    }
                }
                DeValue::Table(_) => self.unknown_section(name),
                _ if is_section => {
                    let message =
                        format!("`{0}` is a section: write [{0}] on a line of its own", name.get_ref());
                    self.problem(Problem::new(message), name);
                }
                _ => self.key(name.get_ref(), name, value),
            }
        }
    }

    fn key(&mut self, full: &str, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let Some(key) = key(full) else { return self.unknown_key(full, name) };
        match text_of(key, value.get_ref()) {
            Ok(text) => {
                let place = Place::of(self.file, self.content, value.span());
                self.entries.push(Entry { key, text, place });
            }
            Err(found) => {
                let problem = Problem::new(format!("`{full}` must be {}, not {found}", key.kind));
                self.problem(
                    problem.help(format!("for example {} = {}", key.leaf(), key.shape.toml(key.default))),
                    value,
                );
            }
        }
    }

    fn unknown_key(&mut self, full: &str, name: &Spanned<DeString<'_>>) {
        let mut problem = Problem::new(format!("unknown key `{full}`"));
        // A key in the wrong section is meant more often than a misspelt one.
        let elsewhere = KEYS.iter().find(|key| key.leaf() == name.get_ref().as_ref());
        if let Some(meant) = elsewhere.map(|key| key.name).or_else(|| did_you_mean(full, names())) {
            problem = problem.help(format!("did you mean `{meant}`?"));
        }
        self.problem(problem, name);
    }

    fn unknown_section(&mut self, name: &Spanned<DeString<'_>>) {
        let problem = Problem::new(format!("unknown section `{}`", name.get_ref()));
        let sections = SECTIONS.iter().map(|(section, _)| *section);
        let problem = match did_you_mean(name.get_ref(), sections.clone()) {
            Some(meant) => problem.help(format!("did you mean `[{meant}]`?")),
            None => problem.help(format!("the sections are {}", sections.collect::<Vec<_>>().join(", "))),
        };
        self.problem(problem, name);
    }

    fn problem<T>(&mut self, problem: Problem, at: &Spanned<T>) {
        self.problems.push(problem.at(Place::of(self.file, self.content, at.span())));
    }
}

/// The names of all keys.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// The text form of a value, or what was found instead.
fn text_of(key: &Key, value: &DeValue<'_>) -> Result<String, String> {
    match (key.shape, value) {
        (Shape::Text | Shape::Bytes, DeValue::String(text)) => Ok(text.to_string()),
        (Shape::Integer | Shape::Bytes, DeValue::Integer(number)) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            parsed.map(|number| number.to_string()).map_err(|_| "a number that long".to_owned())
        }
        (Shape::Bool, DeValue::Boolean(value)) => Ok(value.to_string()),
        // `rocketmq_fast = true` says what is meant.
        (Shape::Text, DeValue::Boolean(value))
            if key.kind == <super::value::Switch as super::value::Setting>::KIND =>
        {
            Ok(if *value { "on" } else { "off" }.to_owned())
        }
        (_, found) => Err(format!("{} {}", article(found.type_str()), found.type_str())),
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(content: &str) -> Vec<String> {
        read("b.toml", content).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_are_read_in_sections_and_dotted() {
        let content = "allow_anonymous = true\nlog.level = \"warn\"\n[store]\nfile_bytes = 0x10_0000\ntail_bytes_max = \"1 MiB\"\n\
                       [listen]\nrocketmq_fast = false\n";
        let (entries, problems) = read("b.toml", content);
        assert!(problems.is_empty(), "{problems:?}");
        let mut read: Vec<_> = entries.iter().map(|e| (e.key.name, e.text.as_str(), e.place.line)).collect();
        read.sort_unstable();
        let expected = [
            ("allow_anonymous", "true", 1),
            ("listen.rocketmq_fast", "off", 7),
            ("log.level", "warn", 2),
            ("store.file_bytes", "1048576", 4),
            ("store.tail_bytes_max", "1 MiB", 5),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn each_mistake_is_shown_with_line_caret_and_what_was_meant() {
        let cases = [
            (
                "[store]\n  flsh = \"sync\"\n",
                "unknown key `store.flsh`\n --> b.toml:2:3\n  |\n2 |   flsh = \"sync\"\n  |   ^^^^\n  = help: did you mean `store.flush`?",
            ),
            (
                "[store]\nhours = 3\n",
                "unknown key `store.hours`\n --> b.toml:2:1\n  |\n2 | hours = 3\n  | ^^^^^\n  = help: did you mean `retention.hours`?",
            ),
            (
                "[lisen]\nnameserver = \"\"\n",
                "unknown section `lisen`\n --> b.toml:1:2\n  |\n1 | [lisen]\n  |  ^^^^^\n  = help: did you mean `[listen]`?",
            ),
            ("colour = 1\n", "unknown key `colour`\n --> b.toml:1:1\n  |\n1 | colour = 1\n  | ^^^^^^"),
            (
                "[store]\nflush = 5\n",
                "`store.flush` must be `sync` or `async`, not an integer\n --> b.toml:2:9\n  |\n2 | flush = 5\n  |         ^\n  = help: for example flush = \"sync\"",
            ),
            (
                "store = 1\n",
                "`store` is a section: write [store] on a line of its own\n --> b.toml:1:1\n  |\n1 | store = 1\n  | ^^^^^",
            ),
        ];
        for (content, expected) in cases {
            assert_eq!(problems(content), [expected], "{content}");
        }
    }

    #[test]
    fn syntax_errors_and_doubled_keys_have_a_place() {
        for (content, line) in
            [("[store]\nflush = \n", 2), ("[store\n", 1), ("[log]\nlevel=\"info\"\nlevel=\"warn\"\n", 3)]
        {
            let (_, problems) = read("b.toml", content);
            assert_eq!(
                problems[0].place.as_ref().map(|place| place.line),
                Some(line),
                "{content}: {problems:?}"
            );
        }
    }

    #[test]
    fn all_problems_are_found_at_once() {
        assert_eq!(problems("a = 1\nb = 2\n[store]\nc = 3\n").len(), 3);
    }
}
