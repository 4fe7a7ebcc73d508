//! The configuration as a typed tree, and the table of its keys.
//!
//! One declaration gives both: the structs that the server reads, and for each key its name, type, default and sentence, from which
//! `--set`, the TOML reader, `config print` and `docs/configuration.md` are driven.

use std::net::SocketAddr;

use braid_store::FlushMode;

use super::value::{
    AddressOrOff, Bytes, BytesOrAuto, DelayLevels, Host, LogLevel, Name, Path, Setting, Shape, Switch,
};

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// `section.key`, or the key alone.
    pub name: &'static str,
    /// What the documentation calls its type.
    pub kind: &'static str,
    /// How its value is written in TOML.
    pub shape: Shape,
    /// The text of its default.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Sets it from text.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// Its value as text.
    pub show: fn(&Config) -> String,
}

impl Key {
    /// The section, empty for a key that stands before all sections.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name inside its section.
    pub fn leaf(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, leaf)| leaf)
    }
}

/// The key of that name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn parse_default<T: Setting>(text: &str) -> T {
    T::parse(text).unwrap_or_else(|error| unreachable!("a default is wrong: {text} {error}"))
}

fn in_range<T: PartialOrd + Setting>(value: T, range: std::ops::RangeInclusive<T>) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("must be from {} to {}, not {}", range.start().show(), range.end().show(), value.show()))
}

macro_rules! setter {
    ($text:ident, $type:ty) => {
        <$type>::parse($text)
    };
    ($text:ident, $type:ty, $range:expr) => {
        <$type>::parse($text).and_then(|value| in_range(value, $range))
    };
}

macro_rules! config {
    (
        root { $($(#[doc = $root_doc:literal])+ $root:ident: $root_type:ty = $root_default:literal;)* }
        $($(#[doc = $about:literal])+ [$section:ident] $Section:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:literal $(, in $range:expr)?;)*
        })*
    ) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $key: $type,)*
            }
        )*

        /// The whole configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $root_doc])+ pub $root: $root_type,)*
            $($(#[doc = $about])+ pub $section: $Section,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Config {
                    $($root: parse_default($root_default),)*
                    $($section: $Section { $($key: parse_default($default),)* },)*
                }
            }
        }

        /// All keys, in the order of the documentation.
        pub static KEYS: &[Key] = &[
            $(Key {
                name: stringify!($root),
                kind: <$root_type as Setting>::KIND,
                shape: <$root_type as Setting>::SHAPE,
                default: $root_default,
                doc: concat!($($root_doc),+).trim_ascii(),
                set: |config, text| setter!(text, $root_type).map(|value| config.$root = value),
                show: |config| config.$root.show(),
            },)*
            $($(Key {
                name: concat!(stringify!($section), ".", stringify!($key)),
                kind: <$type as Setting>::KIND,
                shape: <$type as Setting>::SHAPE,
                default: $default,
                doc: concat!($($doc),+).trim_ascii(),
                set: |config, text| setter!(text, $type $(, $range)?).map(|value| config.$section.$key = value),
                show: |config| config.$section.$key.show(),
            },)*)*
        ];

        /// The sections with what they are about, in the order of the documentation.
        pub static SECTIONS: &[(&str, &str)] = &[$((stringify!($section), concat!($($about),+).trim_ascii()),)*];
    };
}

config! {
    root {
        /// Serve listeners that are not on a loopback address although no users are configured: whoever reaches them may read, write
        /// and delete everything.
        allow_anonymous: bool = "false";
    }

    /// Where clients connect.
    [listen] Listen {
        /// The name server of RocketMQ clients. Port 0 takes a free one.
        nameserver: SocketAddr = "127.0.0.1:9876";
        /// The broker of RocketMQ clients. Port 0 takes a free one.
        rocketmq: SocketAddr = "127.0.0.1:10911";
        /// Serve RocketMQ's fast (VIP) port too, always the broker's port minus 2; some old clients send there. A port that is taken
        /// refuses the start; with port 0 a free pair is taken.
        rocketmq_fast: Switch = "on";
        /// Kafka clients. Port 0 takes a free one; `off` serves none.
        kafka: AddressOrOff = "127.0.0.1:9092";
        /// Most connections at the same time of each protocol; further ones are closed at once. Never more than the limit of open files
        /// leaves room for.
        connections_max: u32 = "60000", in 1..=1_000_000;
        /// Threads that serve connections, of each protocol. 0: one for each core.
        threads: u32 = "0", in 0..=1_024;
        /// The host that clients are told to connect to. Empty: the address at which the client reached the server.
        advertised: Host = "";
    }

    /// The commit log.
    [store] Store {
        /// The data directory. `--data` sets it too.
        dir: Path = "data";
        /// When a message is acknowledged: `sync`, when it is on the disk; `async`, when the operating system has it (a killed process
        /// loses nothing, a power cut up to `store.unflushed_bytes_max`).
        flush: FlushMode = "sync";
        /// Milliseconds that a send waits for the disk before it is answered FLUSH_DISK_TIMEOUT (Kafka: REQUEST_TIMED_OUT).
        flush_timeout_ms: u32 = "5000", in 1..=600_000;
        /// Length of a log file. Fixed when the directory is made; the default is RocketMQ's.
        file_bytes: Bytes = "1 GiB", in Bytes(1 << 20)..=Bytes(1 << 30);
        /// Most bytes that are written and not yet on the disk; writers wait for the disk beyond it.
        unflushed_bytes_max: Bytes = "16 MiB", in Bytes(64 << 10)..=Bytes(1 << 30);
        /// Bytes of the newest messages that are kept in memory for readers.
        tail_bytes_max: Bytes = "16 MiB", in Bytes(64 << 10)..=Bytes(16 << 30);
        /// Bytes of log that are written ahead of its end, so that an append never makes the file system allocate.
        prewrite_bytes: Bytes = "64 MiB", in Bytes(0)..=Bytes(1 << 30);
    }

    /// How long messages are kept.
    [retention] Retention {
        /// Hours after its newest message for which a log file is kept.
        hours: u32 = "72", in 1..=876_000;
        /// Percent of the disk in use from which files that expired while no broker ran go at once; below it they go one a minute. Those that expired by a jump of the clock go one a minute up to `retention.disk_force_percent`. Acts only below `disk.free_min`.
        disk_clean_percent: u32 = "75", in 1..=100;
        /// Percent of the disk in use from which the oldest files go although they have not expired. Acts only below `disk.free_min`.
        disk_force_percent: u32 = "85", in 1..=100;
        /// Percent of the disk in use from which writers are refused. Acts only below `disk.free_min`.
        disk_refuse_percent: u32 = "90", in 1..=100;
        /// True: files go from `retention.disk_force_percent` on although topics with a retention of their own still need them. False: those files stay, and writers are refused from `retention.disk_refuse_percent` on.
        pressure_takes_all: bool = "false";
    }

    /// The disk that holds the data directory.
    [disk] Disk {
        /// Free bytes above which the percentages of `retention` never act. `auto`: 10 GiB, or four log files if that is less.
        free_min: BytesOrAuto = "auto";
    }

    /// What RocketMQ clients see.
    [rocketmq] Rocketmq {
        /// The cluster's name.
        cluster_name: Name = "DefaultCluster";
        /// The broker's name.
        broker_name: Name = "braidmq";
        /// The region that stored messages and answers to sends name.
        region: Name = "DefaultRegion";
        /// The delay of each delay level.
        message_delay_level: DelayLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        /// Make a topic when the first message for it arrives.
        auto_create_topic: bool = "true";
        /// Make a group when its first consumer arrives.
        auto_create_group: bool = "true";
        /// Most queues of a topic that is made on first use.
        default_topic_queues: u32 = "8", in 1..=1024;
        /// The longest message body.
        max_message_bytes: Bytes = "4 MiB", in Bytes(1)..=Bytes(15 << 20);
        /// Name the queues of ordered topics (`ORDER_TOPIC_CONFIG` in the name server's table) in routes.
        order_message: bool = "false";
    }

    /// What Kafka clients see.
    [kafka] Kafka {
        /// Make a topic when a client asks for it, unless the client says that it shall not be made.
        auto_create_topics: bool = "true";
        /// Partitions of a topic whose maker names no number.
        default_partitions: u32 = "1", in 1..=1_000;
        /// Milliseconds for which the first rebalance of a group without members waits for more of them.
        initial_rebalance_delay_ms: u32 = "3000", in 0..=300_000;
        /// Make topics with a replication factor above 1 too, with the one replica that there is; else they are refused.
        accept_any_replication_factor: bool = "true";
        /// Minutes for which a group's offsets are kept after its last member left, if a Kafka client committed them last.
        offsets_retention_minutes: u32 = "10080", in 1..=5_256_000;
        /// The longest record batch, of a topic without `max.message.bytes` of its own.
        max_message_bytes: Bytes = "1048588", in Bytes(1_024)..=Bytes(15 << 20);
    }

    /// The server's log, on standard error.
    [log] Log {
        /// How much is logged.
        level: LogLevel = "info";
    }
}

impl Config {
    /// Every key's value as text, in the order of [`KEYS`].
    pub fn texts(&self) -> impl Iterator<Item = (&'static Key, String)> {
        KEYS.iter().map(|key| (key, (key.show)(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_shows_as_it_is_written() {
        let mut config = Config::default();
        for key in KEYS {
            (key.set)(&mut config, key.default).unwrap_or_else(|error| panic!("{} {error}", key.name));
            assert_eq!((key.show)(&config), key.default, "{}", key.name);
            assert!(
                !key.doc.is_empty()
                    && SECTIONS.iter().any(|(name, _)| *name == key.section() || key.section().is_empty())
            );
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn ranges_hold_at_the_bound_and_refuse_one_past_it() {
        let cases = [
            ("store.file_bytes", "1048576", true),
            ("store.file_bytes", "1048575", false),
            ("store.file_bytes", "1 GiB", true),
            ("store.file_bytes", "1073741825", false),
            ("retention.hours", "0", false),
            ("retention.disk_clean_percent", "100", true),
            ("retention.disk_clean_percent", "101", false),
            ("rocketmq.max_message_bytes", "15 MiB", true),
            ("rocketmq.max_message_bytes", "15728641", false),
        ];
        for (name, text, is_valid) in cases {
            let result = (key(name).unwrap().set)(&mut Config::default(), text);
            assert_eq!(result.is_ok(), is_valid, "{name} = {text}: {result:?}");
        }
    }
}
