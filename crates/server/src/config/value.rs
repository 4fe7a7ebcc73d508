//! The types that a key can have, each with its text form.
//!
//! Every source (TOML, `--set`, a broker.conf) hands over text; [`Setting::parse`] is the one place that judges it, and
//! [`Setting::show`] gives text that parses to the same value again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use braid_broker::DelayTable;
use braid_store::FlushMode;

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In quotes.
    Text,
    /// An integer, or text with a unit.
    Bytes,
    /// An integer.
    Integer,
    /// `true` or `false`.
    Bool,
}

impl Shape {
    /// The value as it stands behind the `=` of a TOML file.
    pub fn toml(self, text: &str) -> String {
        let is_bare = match self {
            Shape::Text => false,
            Shape::Bytes => text.bytes().all(|byte| byte.is_ascii_digit()),
            Shape::Integer | Shape::Bool => true,
        };
        if is_bare { text.to_owned() } else { toml::Value::from(text).to_string() }
    }
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// How it is written in TOML.
    const SHAPE: Shape;
    /// What the documentation calls it.
    const KIND: &'static str;

    /// Reads the text form.
    ///
    /// # Errors
    /// A sentence part that follows "`key` ": what was expected.
    fn parse(text: &str) -> Result<Self, String>;

    /// The text form; [`parse`](Self::parse) gives the same value for it.
    fn show(&self) -> String;
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Bool;
    const KIND: &'static str = "`true` or `false`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("must be true or false, not `{text}`")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl Setting for Switch {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "`on` or `off`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Switch(true)),
            "off" => Ok(Switch(false)),
            _ => Err(format!("must be on or off, not `{text}`")),
        }
    }

    fn show(&self) -> String {
        if self.0 { "on" } else { "off" }.to_owned()
    }
}

impl Setting for SocketAddr {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "address:port";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        text.parse().map_err(|_| {
            format!("must be an IP address and a port, such as 127.0.0.1:9876 or [::1]:9876, not `{text}`")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// An address to listen on, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressOrOff(pub Option<SocketAddr>);

impl Setting for AddressOrOff {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "address:port, or `off`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(AddressOrOff(None)),
            _ => SocketAddr::parse(text)
                .map(|address| AddressOrOff(Some(address)))
                .map_err(|error| format!("{error}; `off` does not listen")),
        }
    }

    fn show(&self) -> String {
        self.0.map_or("off".to_owned(), |address| address.show())
    }
}

/// A host that is told to clients, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub Option<String>);

/// The longest host name, as in DNS.
const HOST_BYTES_MAX: usize = 253;

impl Setting for Host {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "host name or IP address, or empty";

    fn parse(text: &str) -> Result<Self, String> {
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() {
            return Ok(Host(None));
        }
        if text.len() > HOST_BYTES_MAX {
            return Err(format!("must be at most {HOST_BYTES_MAX} characters long"));
        }
        if text.parse::<IpAddr>().is_ok() || text.chars().all(is_host) {
            return Ok(Host(Some(text.to_owned())));
        }
        Err(format!("must be a host name or an IP address without a port, not `{text}`"))
    }

    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Units in the order in which a value is shown.
const UNITS: [(&str, u64); 6] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

impl Setting for Bytes {
    const SHAPE: Shape = Shape::Bytes;
    const KIND: &'static str = "bytes, such as 1048576 or \"64 MiB\"";

    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("must be a number of bytes, such as 1048576 or \"64 MiB\", not `{text}`");
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let factor = match unit.trim() {
            "" | "B" => 1,
            unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(bad)?.1,
        };
        number.checked_mul(factor).map(Bytes).ok_or_else(bad)
    }

    fn show(&self) -> String {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => format!("{} {name}", self.0 / factor),
            None => self.0.to_string(),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

/// A number of bytes, or whatever suits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesOrAuto(pub Option<u64>);

impl Setting for BytesOrAuto {
    const SHAPE: Shape = Shape::Bytes;
    const KIND: &'static str = "bytes, or \"auto\"";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(BytesOrAuto(None)),
            _ => Bytes::parse(text).map(|bytes| BytesOrAuto(Some(bytes.0))),
        }
    }

    fn show(&self) -> String {
        self.0.map_or("auto".to_owned(), |bytes| Bytes(bytes).show())
    }
}

impl Setting for u32 {
    const SHAPE: Shape = Shape::Integer;
    const KIND: &'static str = "whole number";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("must be a whole number from 0 to {}, not `{text}`", u32::MAX))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for FlushMode {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "`sync` or `async`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sync" => Ok(FlushMode::Sync),
            "async" => Ok(FlushMode::Async),
            _ => Err(format!("must be sync or async, not `{text}`")),
        }
    }

    fn show(&self) -> String {
        match self {
            FlushMode::Sync => "sync",
            FlushMode::Async => "async",
        }
        .to_owned()
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(pub tracing::level_filters::LevelFilter);

impl Setting for LogLevel {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "`off`, `error`, `warn`, `info`, `debug` or `trace`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" | "error" | "warn" | "info" | "debug" | "trace" => text.parse().map(LogLevel).ok(),
            _ => None,
        }
        .ok_or_else(|| format!("must be off, error, warn, info, debug or trace, not `{text}`"))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A name that clients see: RocketMQ allows letters, digits, `%`, `|`, `-` and `_` in names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

/// The longest cluster or broker name: RocketMQ's limit of topic names, since topics of these names exist.
const NAME_BYTES_MAX: usize = 127;

impl Setting for Name {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "name of letters, digits, `%`, `|`, `-`, `_`";

    fn parse(text: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_');
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_allowed) {
            return Ok(Name(text.to_owned()));
        }
        Err(format!("must be 1 to {NAME_BYTES_MAX} letters, digits, %, |, - or _, not `{text}`"))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub std::path::PathBuf);

impl Setting for Path {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must name a directory".to_owned());
        }
        Ok(Path(text.into()))
    }

    fn show(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

/// Delays by level: RocketMQ's `messageDelayLevel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels {
    text: String,
    /// The delays.
    pub table: DelayTable,
}

impl Setting for DelayLevels {
    const SHAPE: Shape = Shape::Text;
    const KIND: &'static str =
        "delays of level 1, 2, ...: numbers with `s`, `m`, `h` or `d`, blank separated";

    fn parse(text: &str) -> Result<Self, String> {
        match DelayTable::parse(text) {
            Ok(table) => Ok(DelayLevels { text: text.to_owned(), table }),
            Err(error) => Err(format!("can't be used: {error}")),
        }
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_units_and_shown_in_the_largest_that_fits() {
        let cases = [
            ("0", Some(0), "0"),
            ("1023", Some(1023), "1023"),
            ("64 MiB", Some(64 << 20), "64 MiB"),
            ("64mib", Some(64 << 20), "64 MiB"),
            ("1073741824", Some(1 << 30), "1 GiB"),
            ("3 GB", Some(3_000_000_000), "3 GB"),
            ("10B", Some(10), "10"),
            ("", None, ""),
            ("MiB", None, ""),
            ("1 parsec", None, ""),
            ("-1", None, ""),
            ("99999999999 GiB", None, ""),
        ];
        for (text, expected, shown) in cases {
            let parsed = Bytes::parse(text);
            assert_eq!(parsed.as_ref().ok().map(|bytes| bytes.0), expected, "{text}");
            if let Ok(bytes) = parsed {
                assert_eq!(bytes.show(), shown);
                assert_eq!(Bytes::parse(&bytes.show()), Ok(bytes));
            }
        }
    }

    #[test]
    fn delay_levels_are_read_as_rocketmq_writes_them() {
        let levels = DelayLevels::parse("1s 5s 2h").expect("valid");
        assert_eq!((levels.table.levels(), levels.table.milliseconds(3)), (3, 7_200_000));
        for text in ["", "1", "1s,5s", "-1s"] {
            assert!(
                DelayLevels::parse(text).is_err_and(|error| error.starts_with("can't be used: ")),
                "{text}"
            );
        }
    }

    #[test]
    fn hosts_and_names_have_no_ports_and_no_blanks() {
        for (text, is_host) in [
            ("", true),
            ("10.0.0.1", true),
            ("::1", true),
            ("mq.example.org", true),
            ("h:1", false),
            ("a b", false),
        ] {
            assert_eq!(Host::parse(text).is_ok(), is_host, "{text}");
        }
        for (text, is_name) in [("braidmq", true), ("", false), ("a b", false), ("%RETRY%g", true)] {
            assert_eq!(Name::parse(text).is_ok(), is_name, "{text}");
        }
        assert!(Name::parse(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(Name::parse(&"n".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
