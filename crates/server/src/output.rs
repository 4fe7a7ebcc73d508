//! Results on standard output: a table for people, JSON for programs.
//!
//! A table is aligned on a terminal and tab-separated in a pipe. `json` is one document, `jsonl` one document a line; both have the
//! same members, which stay as they are (`docs/cli.md`).

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns on a terminal, tab-separated in a pipe.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// A row of a table that is also a JSON object.
pub trait Row: Serialize {
    /// Headings.
    const COLUMNS: &'static [&'static str];
    /// One cell for each heading.
    fn cells(&self) -> Vec<String>;
}

/// Where results go.
pub struct Out {
    format: Format,
    is_terminal: bool,
    writer: Box<dyn Write>,
}

impl Out {
    /// Standard output.
    pub fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let lock: StdoutLock<'static> = stdout.lock();
        Out { format, is_terminal, writer: Box::new(BufWriter::new(lock)) }
    }

    /// The format in force.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether somebody reads along.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints all rows.
    ///
    /// # Errors
    /// When standard output does not take them.
    pub fn list<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
                let table =
                    if self.is_terminal { aligned(R::COLUMNS, &cells) } else { tabbed(R::COLUMNS, &cells) };
                self.writer.write_all(table.as_bytes())?;
            }
            Format::Json => writeln!(self.writer, "{}", json(&rows))?,
            Format::Jsonl => {
                for row in rows {
                    writeln!(self.writer, "{}", json(row))?;
                }
            }
        }
        self.writer.flush()
    }

    /// Prints one object: its JSON, or `text`.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn object(&mut self, object: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Table => writeln!(self.writer, "{}", text().trim_end_matches('\n'))?,
            Format::Json | Format::Jsonl => writeln!(self.writer, "{}", json(object))?,
        }
        self.writer.flush()
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When standard output does not take them.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Hands on what was printed so far.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Prints rows as they come.
    pub fn stream<R: Row>(&mut self) -> Stream<'_, R> {
        Stream { out: self, rows: 0, row: std::marker::PhantomData }
    }
}

/// Rows that are printed as they come. [`Stream::end`] must be called for the JSON document to be whole.
pub struct Stream<'a, R> {
    out: &'a mut Out,
    rows: u64,
    row: std::marker::PhantomData<R>,
}

/// The width of a column whose later cells are not known yet, the last column aside.
const STREAM_COLUMN_CHARS: usize = 8;

impl<R: Row> Stream<'_, R> {
    /// Prints one row.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn row(&mut self, row: &R) -> io::Result<()> {
        let is_first = self.rows == 0;
        self.rows += 1;
        let Out { format, is_terminal, writer } = &mut *self.out;
        match format {
            Format::Json => {
                writer.write_all(if is_first { b"[" } else { b",\n" })?;
                writer.write_all(json(row).as_bytes())
            }
            Format::Jsonl => writeln!(writer, "{}", json(row)),
            Format::Table => {
                if is_first {
                    let headings: Vec<String> = R::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
                    writeln!(writer, "{}", stream_line(&headings, *is_terminal))?;
                }
                writeln!(writer, "{}", stream_line(&row.cells(), *is_terminal))
            }
        }
    }

    /// Hands on what was printed so far.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether somebody reads along.
    pub fn is_terminal(&self) -> bool {
        self.out.is_terminal
    }

    /// Closes the document.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn end(self) -> io::Result<()> {
        if self.out.format == Format::Json {
            self.out.writer.write_all(if self.rows == 0 { b"[]\n" } else { b"]\n" })?;
        }
        self.out.flush()
    }
}

fn stream_line(cells: &[String], is_terminal: bool) -> String {
    if !is_terminal {
        return cells.iter().map(|cell| one_field(cell)).collect::<Vec<_>>().join("\t");
    }
    let (last, others) = cells.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    let mut line = String::new();
    for cell in others {
        line += &format!("{:<STREAM_COLUMN_CHARS$}  ", printable(cell));
    }
    line + &printable(last)
}

fn json(value: &impl Serialize) -> String {
    // Only maps with keys that are no text fail, and no row has any.
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// Columns as wide as their widest cell, two blanks between; numbers to the right.
pub fn aligned(columns: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([columns[at].chars().count()]).max().unwrap_or(0)
    };
    let is_number = |at: usize| {
        let is_digits = |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || c == '-');
        !rows.is_empty() && rows.iter().all(|row| is_digits(&row[at]))
    };
    let shapes: Vec<(usize, bool)> = (0..columns.len()).map(|at| (width(at), is_number(at))).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((width, is_number), cell) in shapes.iter().zip(cells) {
            line += &if *is_number { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    };
    let mut table = line(&mut columns.iter().copied());
    for row in &rows {
        table += &line(&mut row.iter().map(String::as_str));
    }
    table
}

/// A heading line and a line per row, tabs between; tabs and line ends inside a cell become `\t` and `\n`.
pub fn tabbed(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = columns.join("\t") + "\n";
    for row in rows {
        table += &(row.iter().map(|cell| one_field(cell)).collect::<Vec<_>>().join("\t") + "\n");
    }
    table
}

fn one_field(cell: &str) -> String {
    if !cell.contains(['\t', '\n', '\r', '\\']) {
        return cell.to_owned();
    }
    cell.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// Nothing that moves a terminal's cursor or changes its colours reaches it.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `name   value` lines for one object.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {}\n", printable(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_for_people_and_tabbed_for_pipes() {
        let rows = [vec!["a".to_owned(), "7".to_owned()], vec!["long\u{1b}[1m".to_owned(), "123".to_owned()]];
        assert_eq!(aligned(&["NAME", "N"], &rows), "NAME        N\na           7\nlong\u{fffd}[1m  123\n");
        let rows = [vec!["a\tb".to_owned(), "c\nd\\".to_owned()]];
        assert_eq!(tabbed(&["X", "Y"], &rows), "X\tY\na\\tb\tc\\nd\\\\\n");
        assert_eq!(aligned(&["X"], &[]), "X\n");
    }

    #[test]
    fn facts_line_up() {
        assert_eq!(facts(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
