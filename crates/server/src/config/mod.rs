//! Configuration: defaults, then one file, then `--set`, then flags; the last one wins.
//!
//! Anything that is not understood refuses to start, with its line. What a RocketMQ `broker.conf` asks for and BraidMQ does
//! differently is named in a warning, or refused when its loss would weaken safety, security or role ([`broker_conf`]).

mod broker_conf;
mod keys;
mod problem;
mod properties;
mod toml_file;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

pub use keys::{Config, KEYS, Key, SECTIONS};
pub use problem::{Place, Problem};

/// The largest configuration file that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the configuration file.
    File(Place),
    /// `--set`.
    Set,
    /// A flag of its own, such as `--data`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => write!(f, "{}:{}", place.file, place.line),
            Origin::Set => f.write_str("--set"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--set`, in order.
    pub sets: Vec<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

/// A configuration that may be used.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each came from, in the order of [`KEYS`].
    origins: Vec<Origin>,
    /// What the operator should know: settings of a broker.conf that act differently here or not at all.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Reads all sources and checks the whole.
    ///
    /// # Errors
    /// Every problem found.
    pub fn read(sources: &Sources) -> Result<Self, Vec<Problem>> {
        let mut loaded = Loaded {
            config: Config::default(),
            origins: vec![Origin::Default; KEYS.len()],
            warnings: Vec::new(),
        };
        let mut problems = Vec::new();
        if let Some(file) = &sources.file {
            match read_file(file) {
                Ok(content) => loaded.add_file(&file.to_string_lossy(), &content, &mut problems),
                Err(problem) => problems.push(problem),
            }
        }
        for set in &sources.sets {
            loaded.add_set(set).unwrap_or_else(|problem| problems.push(problem));
        }
        if let Some(dir) = &sources.data {
            let result = loaded.put("store.dir", &dir.to_string_lossy(), Origin::Flag("--data"));
            result.unwrap_or_else(|problem| problems.push(problem));
        }
        // Values that contradict one another are judged only when each of them is valid.
        if problems.is_empty() {
            loaded.check(&mut problems);
        }
        if problems.is_empty() { Ok(loaded) } else { Err(problems) }
    }

    /// Where a key's value came from.
    pub fn origin(&self, name: &str) -> &Origin {
        KEYS.iter().position(|key| key.name == name).map_or(&Origin::Default, |at| &self.origins[at])
    }

    fn add_file(&mut self, file: &str, content: &str, problems: &mut Vec<Problem>) {
        if broker_conf::looks_like(Path::new(file), content) {
            let read = broker_conf::read(file, content);
            problems.extend(read.problems);
            self.warnings.extend(read.warnings);
            for entry in read.entries {
                let result = self.put_entry(entry.key.name, &entry.text, entry.place);
                result.unwrap_or_else(|problem| problems.push(problem));
            }
            return;
        }
        let (entries, found) = toml_file::read(file, content);
        problems.extend(found);
        for entry in entries {
            let result = self.put_entry(entry.key.name, &entry.text, entry.place);
            result.unwrap_or_else(|problem| problems.push(problem));
        }
    }

    fn put_entry(&mut self, name: &str, text: &str, place: Place) -> Result<(), Problem> {
        let origin = Origin::File(place.clone());
        self.put(name, text, origin).map_err(|problem| problem.at(place))
    }

    fn add_set(&mut self, set: &str) -> Result<(), Problem> {
        let Some((name, text)) = set.split_once('=') else {
            return Err(
                Problem::new(format!("--set {set}: there is no `=`")).help("write --set section.key=value")
            );
        };
        self.put(name.trim(), text.trim(), Origin::Set)
            .map_err(|problem| Problem { message: format!("--set {set}: {}", problem.message), ..problem })
    }

    fn put(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), Problem> {
        let Some(at) = KEYS.iter().position(|key| key.name == name) else {
            let problem = Problem::new(format!("unknown key `{name}`"));
            let elsewhere = KEYS.iter().find(|key| key.leaf() == name).map(|key| key.name);
            return Err(match elsewhere.or_else(|| problem::did_you_mean(name, toml_file::names())) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help("`braidmq config print` lists all keys"),
            });
        };
        (KEYS[at].set)(&mut self.config, text).map_err(|error| Problem::new(format!("`{name}` {error}")))?;
        self.origins[at] = origin;
        Ok(())
    }

    /// A problem at the place that set `name`, if a file did.
    fn blame(&self, name: &str, problem: Problem) -> Problem {
        match self.origin(name) {
            Origin::File(place) => problem.at(place.clone()),
            _ => problem,
        }
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        self.check_listeners(problems);
        self.check_sizes(problems);
    }

    fn check_listeners(&self, problems: &mut Vec<Problem>) {
        let listen = &self.config.listen;
        let kafka = listen.kafka.0.map(|address| ("listen.kafka", address));
        for (name, address) in
            [("listen.nameserver", listen.nameserver), ("listen.rocketmq", listen.rocketmq)]
                .into_iter()
                .chain(kafka)
        {
            if !address.ip().is_loopback() && !self.config.allow_anonymous {
                let message = format!(
                    "`{name}` = {address} can be reached from other machines, and no users are configured"
                );
                let help = "set allow_anonymous = true if whoever reaches it may do everything, or bind it to 127.0.0.1";
                problems.push(self.blame(name, Problem::new(message).help(help)));
            }
        }
        let port = listen.rocketmq.port();
        let fast_port =
            (listen.rocketmq_fast.0 && port != 0).then(|| port.saturating_sub(FAST_PORT_DISTANCE));
        if fast_port == Some(0) {
            let message = format!(
                "`listen.rocketmq` has port {port}, which leaves no port for the fast listener (port - 2)"
            );
            problems.push(
                self.blame(
                    "listen.rocketmq",
                    Problem::new(message).help("set listen.rocketmq_fast = \"off\""),
                ),
            );
        }
        let same_host = listen.nameserver.ip() == listen.rocketmq.ip()
            || listen.nameserver.ip().is_unspecified()
            || listen.rocketmq.ip().is_unspecified();
        let nameserver_port = listen.nameserver.port();
        let clash =
            [(Some(port), "listen.rocketmq"), (fast_port, "the fast listener (listen.rocketmq minus 2)")]
                .into_iter()
                .find(|(taken, _)| same_host && nameserver_port != 0 && *taken == Some(nameserver_port));
        if let Some((_, other)) = clash {
            let message = format!("`listen.nameserver` has the port {nameserver_port} of {other}");
            problems.push(self.blame(
                "listen.nameserver",
                Problem::new(message).help("give each listener a port of its own"),
            ));
        }
    }

    fn check_sizes(&self, problems: &mut Vec<Problem>) {
        let retention = &self.config.retention;
        let percents =
            [retention.disk_clean_percent, retention.disk_force_percent, retention.disk_refuse_percent];
        if !percents.is_sorted() {
            let message = format!(
                "`retention.disk_clean_percent`, `disk_force_percent` and `disk_refuse_percent` must not fall, but are {}, {} and {}",
                percents[0], percents[1], percents[2]
            );
            problems.push(
                Problem::new(message).help("files expire first, then go by force, then writers are refused"),
            );
        }
        let (body, file) = (self.config.rocketmq.max_message_bytes, self.config.store.file_bytes);
        if body.0 >= file.0 && *self.origin("rocketmq.max_message_bytes") != Origin::Default {
            let message =
                format!("`rocketmq.max_message_bytes` = {body} does not fit into a log file of {file}");
            let problem = Problem::new(message).help("make it smaller, or store.file_bytes larger");
            problems.push(self.blame("rocketmq.max_message_bytes", problem));
        }
    }
}

/// RocketMQ's fast (VIP) port is always this far below the broker's.
pub const FAST_PORT_DISTANCE: u16 = 2;

/// Bytes in the largest unit that shows them exactly.
pub fn size(bytes: u64) -> String {
    value::Setting::show(&value::Bytes(bytes))
}

fn read_file(file: &Path) -> Result<String, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(format!("the configuration file {} can't be read: {error}", file.display()))
            .help("check the path that --config names")
    };
    let bytes = std::fs::metadata(file).map_err(failed)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(Problem::new(format!(
            "the configuration file {} has {bytes} bytes, more than the {CONFIG_BYTES_MAX} that are read",
            file.display()
        )));
    }
    std::fs::read_to_string(file).map_err(failed)
}

#[cfg(test)]
mod tests;
