//! `--format`: a message as the caller wants it.

use crate::client::Message;
use crate::error::{CliError, CliResult, Code};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Body,
    Topic,
    Queue,
    Offset,
    Keys,
    Tag,
    Id,
    UniqueKey,
    Stored,
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a format.
    ///
    /// # Errors
    /// `Usage` for a letter that means nothing.
    pub fn parse(text: &str) -> CliResult<Self> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if !matches!(c, '%' | '\\') {
                plain.push(c);
                continue;
            }
            let piece = match (c, chars.next()) {
                ('%', Some('b')) => Piece::Body,
                ('%', Some('t')) => Piece::Topic,
                ('%', Some('q')) => Piece::Queue,
                ('%', Some('o')) => Piece::Offset,
                ('%', Some('k')) => Piece::Keys,
                ('%', Some('g')) => Piece::Tag,
                ('%', Some('i')) => Piece::Id,
                ('%', Some('u')) => Piece::UniqueKey,
                ('%', Some('s')) => Piece::Stored,
                (sign, Some(itself)) if sign == itself => Piece::Text(itself.to_string()),
                ('\\', Some('n')) => Piece::Text("\n".to_owned()),
                ('\\', Some('t')) => Piece::Text("\t".to_owned()),
                ('\\', Some('0')) => Piece::Text("\0".to_owned()),
                (sign, other) => {
                    let letter = other.map(String::from).unwrap_or_default();
                    return Err(CliError::new(Code::Usage, format!("--format: `{sign}{letter}` means nothing"))
                        .hint("%b body, %t topic, %q queue, %o offset, %k keys, %g tag, %i id, %u unique key, %s store time, %%, \\n, \\t, \\0, \\\\"));
                }
            };
            if let Piece::Text(text) = piece {
                plain += &text;
            } else {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(piece);
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The message in this form; the body's bytes are as they were sent.
    pub fn fill(&self, message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Body => out.extend_from_slice(message.body_bytes()),
                Piece::Topic => out.extend_from_slice(message.topic.as_bytes()),
                Piece::Queue => out.extend_from_slice(message.queue.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(message.offset.to_string().as_bytes()),
                Piece::Keys => out.extend_from_slice(message.keys.join(" ").as_bytes()),
                Piece::Tag => out.extend_from_slice(message.tag.as_deref().unwrap_or("").as_bytes()),
                Piece::Id => out.extend_from_slice(message.id.as_bytes()),
                Piece::UniqueKey => {
                    out.extend_from_slice(message.unique_key.as_deref().unwrap_or("").as_bytes())
                }
                Piece::Stored => out.extend_from_slice(message.stored.as_bytes()),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_unknown_letters_named() {
        let template = Template::parse("%q:%o 100%%\\t%b\\n").expect("valid");
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(
            template.0,
            [Piece::Queue, text(":"), Piece::Offset, text(" 100%\t"), Piece::Body, text("\n")]
        );
        for bad in ["%x", "%", "\\", "\\q"] {
            assert!(Template::parse(bad).is_err_and(|error| error.message.contains(bad)), "{bad}");
        }
        assert_eq!(Template::parse("").expect("valid").0, []);
    }
}
