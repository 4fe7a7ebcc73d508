//! Where in a queue: the grammar of `--from` and `--to`, and its resolution against a broker.

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::codes::request;
use braid_wire_rocketmq::header;

use crate::client::{Client, Queue};
use crate::error::{CliError, CliResult, Code};
use crate::time;

/// A place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first message that is kept.
    Start,
    /// Behind the last message.
    End,
    /// An offset.
    Offset(u64),
    /// The first message stored at or after a time, in milliseconds.
    Time(i64),
}

impl Place {
    /// Reads `start`, `end`, `offset:N` or `time:T`.
    ///
    /// # Errors
    /// `Usage`.
    pub fn parse(text: &str) -> CliResult<Self> {
        let parsed = match text.split_once(':') {
            None if text == "start" => Some(Place::Start),
            None if text == "end" => Some(Place::End),
            Some(("offset", number)) => {
                number.parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok()).map(Place::Offset)
            }
            Some(("time", when)) => time::parse(when, time::now_ms()).map(Place::Time),
            _ => None,
        };
        parsed.ok_or_else(|| {
            CliError::new(Code::Usage, format!("`{text}` is no place in a queue")).hint(
                "write start, end, offset:N or time:T, where T is 2026-01-31T12:00:00Z, milliseconds since 1970, or -10m",
            )
        })
    }

    /// The offset that the place has in a queue now.
    ///
    /// # Errors
    /// `Unreachable`, or what the broker answers.
    pub fn resolve(self, client: &mut Client, topic: &str, queue: &Queue) -> CliResult<u64> {
        match self {
            Place::Start => min_offset(client, topic, queue),
            Place::End => max_offset(client, topic, queue),
            Place::Offset(offset) => Ok(offset),
            Place::Time(timestamp) => {
                let mut ask = Command::request(request::SEARCH_OFFSET_BY_TIMESTAMP);
                ask.ext_fields = header::SearchOffset {
                    topic: topic.to_owned(),
                    queue_id: queue.id,
                    timestamp,
                    boundary_type: None,
                }
                .to_ext_fields();
                offset(client, queue, ask)
            }
        }
    }
}

/// The first offset of a queue.
///
/// # Errors
/// `Unreachable`, or what the broker answers.
pub fn min_offset(client: &mut Client, topic: &str, queue: &Queue) -> CliResult<u64> {
    let mut ask = Command::request(request::GET_MIN_OFFSET);
    ask.ext_fields = header::TopicQueue { topic: topic.to_owned(), queue_id: queue.id }.to_ext_fields();
    offset(client, queue, ask)
}

/// The offset that a queue's next message gets.
///
/// # Errors
/// `Unreachable`, or what the broker answers.
pub fn max_offset(client: &mut Client, topic: &str, queue: &Queue) -> CliResult<u64> {
    let mut ask = Command::request(request::GET_MAX_OFFSET);
    ask.ext_fields =
        header::GetMaxOffset { topic: topic.to_owned(), queue_id: queue.id, committed: None }.to_ext_fields();
    offset(client, queue, ask)
}

fn offset(client: &mut Client, queue: &Queue, ask: Command) -> CliResult<u64> {
    let answer = client.ask_ok(&queue.address, ask, &format!("offset in queue {}", queue.id))?;
    offset_of(&answer)
}

/// The offset that an answer names; below 0 is "none", which is 0.
///
/// # Errors
/// `Failure` if it names none.
pub fn offset_of(answer: &Command) -> CliResult<u64> {
    let header = header::OffsetResponse::from_ext_fields(&answer.ext_fields).map_err(|error| {
        CliError::new(Code::Failure, format!("the server's answer can't be read: {error}"))
    })?;
    Ok(u64::try_from(header.offset).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_everything_else_is_explained() {
        let cases = [
            ("start", Some(Place::Start)),
            ("end", Some(Place::End)),
            ("offset:7", Some(Place::Offset(7))),
            ("offset:9223372036854775807", Some(Place::Offset(i64::MAX as u64))),
            ("time:1700000000000", Some(Place::Time(1_700_000_000_000))),
            ("time:2023-11-14T22:13:20Z", Some(Place::Time(1_700_000_000_000))),
            ("offset:9223372036854775808", None),
            ("offset:-1", None),
            ("offset:", None),
            ("time:soon", None),
            ("middle", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let parsed = Place::parse(text);
            assert_eq!(parsed.as_ref().ok(), expected.as_ref(), "{text}");
            assert!(parsed.is_ok() || parsed.is_err_and(|error| error.code == Code::Usage));
        }
    }
}
