//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;
use crate::output::Format;

/// A message broker in one binary: RocketMQ clients connect to it unchanged.
///
/// Without a command it starts a broker that keeps its data in ./data and listens on 127.0.0.1.
///
/// Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 not found, 4 conflict, 5 not allowed, 6 unreachable,
/// 7 done in part. With --output json or jsonl errors are {"error":{"code","message","hint"}} on standard error.
#[derive(Debug, Parser)]
#[command(name = "braidmq", version, max_term_width = 110)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// Flags of `start`, for a command line without a command.
    #[command(flatten)]
    pub start: StartArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Name servers to ask, the first that answers counts
    #[arg(
        long,
        short = 's',
        global = true,
        value_name = "HOST:PORT[;...]",
        default_value = "127.0.0.1:9876",
        env = "BRAIDMQ_SERVER"
    )]
    pub server: String,
    /// How results are printed
    #[arg(long, short = 'o', global = true, value_enum, default_value_t)]
    pub output: Format,
    /// How long to wait for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// Where the configuration comes from.
#[derive(Debug, Args, Default, Clone)]
pub struct ConfigArgs {
    /// The configuration: a TOML file of ours, or a broker.conf of RocketMQ
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one key of the configuration; `braidmq config print` lists them
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// The data directory [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl ConfigArgs {
    /// The same as sources of the configuration.
    pub fn sources(&self) -> Sources {
        Sources { file: self.config.clone(), sets: self.sets.clone(), data: self.data.clone() }
    }
}

/// Flags of `start`.
#[derive(Debug, Args, Default)]
pub struct StartArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Written when the broker serves: JSON with its pid and the real address of every listener
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

impl StartArgs {
    /// Whether any of them was given.
    pub fn are_given(&self) -> bool {
        let ConfigArgs { config, sets, data } = &self.config;
        config.is_some() || !sets.is_empty() || data.is_some() || self.ready_file.is_some()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a broker (the default)
    Start(StartArgs),
    /// Send messages: those of --message, else one for each line of standard input
    Produce(ProduceArgs),
    /// Read messages of a topic
    Consume(ConsumeArgs),
    /// Topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Groups of consumers
    #[command(subcommand)]
    Group(GroupCommand),
    /// Single messages
    #[command(subcommand)]
    Message(MessageCommand),
    /// Say whether the server and its brokers answer
    Health(HealthArgs),
    /// A stopped broker's data directory
    #[command(subcommand)]
    Store(StoreCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure this broker beside a server that does nothing but append
    Bench(BenchArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Flags of `produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic
    pub topic: String,
    /// A message's body; may be given several times
    #[arg(long = "message", short = 'm', value_name = "TEXT")]
    pub messages: Vec<String>,
    /// A key to find the message by; may be given several times
    #[arg(long = "key", short = 'k')]
    pub keys: Vec<String>,
    /// The tag
    #[arg(long, short = 't')]
    pub tag: Option<String>,
    /// A property of the application; may be given several times
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
    /// Deliver after the delay of this level; 0 at once
    #[arg(long, value_name = "LEVEL", default_value_t = 0)]
    pub delay_level: u32,
    /// Send each message so many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Send to this queue of each broker alone; otherwise to all in turn
    #[arg(long)]
    pub queue: Option<u32>,
    /// Print no line for each message
    #[arg(long, short = 'q')]
    pub quiet: bool,
}

/// Flags of `consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic
    pub topic: String,
    /// Where to begin: start, end, offset:N, time:T (T: RFC 3339, milliseconds, or -10m) [default: the group's cursor, else start]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Wait for further messages at the end, until interrupted
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Read as a member of this group: share its queues, commit its cursor
    #[arg(long, short = 'g')]
    pub group: Option<String>,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "MESSAGES")]
    pub max: Option<u64>,
    /// Read this queue alone; may be given several times
    #[arg(long = "queue", value_name = "ID", conflicts_with = "group")]
    pub queues: Vec<u32>,
    /// Only messages with these tags
    #[arg(long, value_name = "A || B", default_value = "*")]
    pub tag: String,
    /// Print messages so: %b body, %t topic, %q queue, %o offset, %k keys, %g tag, %i id, %u unique key, %s store time, %%, \n, \t
    #[arg(long, value_name = "FORMAT", conflicts_with = "output")]
    pub format: Option<String>,
}

/// `topic ...`
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// All topics
    List {
        /// Those of the system too
        #[arg(long, short = 'a')]
        all: bool,
    },
    /// One topic's queues and offsets
    Get {
        /// The topic
        topic: String,
    },
    /// Make a topic
    Create {
        /// The topic
        topic: String,
        /// Its settings
        #[command(flatten)]
        settings: TopicSettings,
        /// It is no error if it exists
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Change a topic
    Set {
        /// The topic
        topic: String,
        /// Its settings
        #[command(flatten)]
        settings: TopicSettings,
    },
    /// Delete a topic and its messages
    Delete {
        /// The topic
        topic: String,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
        /// It is no error if it does not exist
        #[arg(long)]
        if_exists: bool,
    },
}

/// Settings of a topic.
#[derive(Debug, Args)]
pub struct TopicSettings {
    /// Queues on each broker [default for a new topic: 8]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queues: Option<u32>,
    /// What clients may do: rw, r, w, or none [default for a new topic: rw]
    #[arg(long, value_name = "PERM")]
    pub perm: Option<String>,
    /// Whether it is an ordered topic
    #[arg(long, value_name = "BOOL")]
    pub order: Option<bool>,
}

/// `group ...`
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// All groups
    List {
        /// Those of the system too
        #[arg(long, short = 'a')]
        all: bool,
    },
    /// One group's settings and members
    Get {
        /// The group
        group: String,
    },
    /// Make or change a group
    Set {
        /// The group
        group: String,
        /// How often a message is tried again before it is a dead letter
        #[arg(long, value_name = "TIMES")]
        retry_max: Option<i32>,
        /// Whether it may consume
        #[arg(long, value_name = "BOOL")]
        consume: Option<bool>,
        /// Whether its members may each read everything
        #[arg(long, value_name = "BOOL")]
        broadcast: Option<bool>,
        /// Whether it consumes in order
        #[arg(long, value_name = "BOOL")]
        orderly: Option<bool>,
    },
    /// Delete a group and its cursors
    Delete {
        /// The group
        group: String,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
        /// Keep its cursors
        #[arg(long)]
        keep_cursors: bool,
    },
    /// How far a group is behind, by queue
    Lag {
        /// The group
        group: String,
        /// This topic alone
        #[arg(long)]
        topic: Option<String>,
    },
    /// Set a group's cursors; its members follow at once
    Reset {
        /// The group
        group: String,
        /// The topic
        #[arg(long)]
        topic: String,
        /// Where to: start, end, offset:N, time:T (T: RFC 3339, milliseconds, or -10m)
        #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
        to: String,
        /// This queue alone; may be given several times
        #[arg(long = "queue", value_name = "ID")]
        queues: Vec<u32>,
        /// Show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// `message ...`
#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// The message of an id that a send was answered with
    Get {
        /// The id: 32 or 56 hexadecimal digits
        id: String,
    },
    /// Messages of a key
    Find {
        /// The topic
        topic: String,
        /// One of the message's keys
        #[arg(long, required_unless_present = "unique_key", conflicts_with = "unique_key")]
        key: Option<String>,
        /// The id that the producer gave the message (Java: getMsgId)
        #[arg(long)]
        unique_key: Option<String>,
        /// Most messages to find on each broker
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
        max: u32,
        /// Stored at or after this time
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        from: Option<String>,
        /// Stored at or before this time
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        to: Option<String>,
    },
}

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Wait so long for everything to be well
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
    pub wait: Option<u64>,
}

/// `store ...`
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// What the directory holds
    Inspect {
        /// The data directory
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
    /// Check every record and every index
    Verify {
        /// The data directory
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
    /// Make a damaged directory writable again
    Repair {
        /// The data directory
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
        /// Give up the records that are damaged
        #[arg(long)]
        accept_loss: bool,
    },
}

/// Flags of `bench`.
///
/// Starts its own brokers, on free ports of 127.0.0.1 and with data of their own; the broker that runs here already is not touched.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// These rows alone: G1, G2, batch, G4a, G4b, G5, G10; of Kafka's protocol G1k, G2k, G3a, G3b, G4c, G5k
    #[arg(long, value_name = "ROW,...", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// How long each window is measured; half as long is warmed up before
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Windows of the broker in each row, each between two of the floor
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// Where the servers get their directories, which are removed at the end: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Set one key of the measured broker's configuration: what does it cost? May be given several times
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// Let the floor keep no log in the rows without fsync: what the log itself costs
    #[arg(long)]
    pub floor_without_log: bool,
    /// Be the floor, for a bench that runs.
    #[arg(long, hide = true, value_name = "MODE")]
    pub floor: Option<String>,
    /// The floor's ready file.
    #[arg(long, hide = true, value_name = "PATH")]
    pub floor_ready_file: Option<PathBuf>,
    /// Length of the floor's log.
    #[arg(long, hide = true, default_value_t = 256 << 20)]
    pub floor_log_bytes: u64,
}

/// The shortest and the longest window.
const WINDOW_SECONDS: std::ops::RangeInclusive<f64> = 0.05..=600.0;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if WINDOW_SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("must be from {} to {}", WINDOW_SECONDS.start(), WINDOW_SECONDS.end()))
}

/// `config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force, as a TOML file
    Print {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// Print the defaults, with what each key does
        #[arg(long = "default", conflicts_with_all = ["config", "sets", "data"])]
        is_default: bool,
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Check a configuration without starting
    Check {
        /// The file to check
        file: Option<PathBuf>,
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
    },
}
