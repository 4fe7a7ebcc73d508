//! What a started broker says: where it listens, where its data is, how safe an acknowledgement is, and what to type next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use braid_edge_rocketmq::Addresses;
use braid_store::{FlushMode, Health, RecoveryReport, RecoveryRow};
use serde::Serialize;

use super::Running;
use super::limits::OpenFiles;
use super::ready::Listeners;
use crate::config::{Loaded, Origin};
use crate::error::CliResult;
use crate::output::{Out, facts};

/// The banner, as JSON too.
#[derive(Serialize)]
pub struct Banner {
    version: &'static str,
    pid: u32,
    started_in_ms: u64,
    listeners: Listeners,
    /// What clients are told to connect to.
    advertised: String,
    data: PathBuf,
    /// `sync` or `async`.
    flush: &'static str,
    safety: &'static str,
    recovery: Vec<String>,
    read_only: bool,
    open_files: Option<u64>,
    #[serde(skip)]
    addresses: Addresses,
    #[serde(skip)]
    kafka: Option<SocketAddr>,
    #[serde(skip)]
    files: OpenFiles,
    #[serde(skip)]
    flush_origin: String,
    /// How this binary was called, so that the lines to copy work from the same directory.
    #[serde(skip)]
    program: String,
}

impl Banner {
    /// Collects everything.
    pub fn new(loaded: &Loaded, running: &Running, files: OpenFiles, took: Duration) -> Self {
        let config = &loaded.config;
        let addresses = running.edge.addresses();
        let advertised = match &config.listen.advertised.0 {
            Some(host) => format!("{host}:{}", addresses.main.port()),
            None => "the address at which they reach the server".to_owned(),
        };
        let (flush, safety) = match config.store.flush {
            FlushMode::Sync => {
                ("sync", "acknowledged when on the disk: a killed process and a power cut lose nothing")
            }
            FlushMode::Async => (
                "async",
                "acknowledged when the operating system has it: a killed process loses nothing, a power cut up to the last second",
            ),
        };
        let flush_origin = match loaded.origin("store.flush") {
            Origin::Default => String::new(),
            origin => format!(", as {origin} says"),
        };
        let dir = &config.store.dir.0;
        Banner {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started_in_ms: took.as_millis() as u64,
            listeners: Listeners::of(&addresses, running.kafka_address()),
            advertised,
            data: std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
            flush,
            safety,
            recovery: recovery(&running.report),
            read_only: matches!(running.store.health(), Health::ReadOnly(_)),
            open_files: files.is,
            addresses,
            kafka: running.kafka_address(),
            files,
            flush_origin,
            program: std::env::args()
                .next()
                .filter(|name| is_plain(name))
                .unwrap_or_else(|| "braidmq".to_owned()),
        }
    }

    /// Prints it.
    pub fn print(&self, out: &mut Out) -> CliResult {
        out.object(self, || self.text())?;
        Ok(())
    }

    fn text(&self) -> String {
        let mut pairs = Vec::new();
        if let Some(nameserver) = self.addresses.nameserver {
            pairs.push(("name server", format!("{nameserver}  point RocketMQ clients here")));
        }
        pairs.push(("broker", format!("{}  clients are told {}", self.addresses.main, self.advertised)));
        if let Some(fast) = self.addresses.fast {
            pairs.push(("fast port", format!("{fast}  for old clients with a VIP channel")));
        }
        if let Some(kafka) = self.kafka {
            pairs.push(("Kafka", format!("{kafka}  point Kafka clients here")));
        }
        pairs.push(("data", self.data.display().to_string()));
        pairs.push(("safety", format!("{}: {}{}", self.flush, self.safety, self.flush_origin)));
        pairs.extend(self.recovery.iter().map(|sentence| ("recovery", sentence.clone())));
        pairs.push(("open files", self.files_text()));
        if self.read_only {
            pairs.push((
                "READ ONLY",
                "messages can be read, none is taken; `braidmq store repair` says what would be lost"
                    .to_owned(),
            ));
        }
        let reachable = |address: SocketAddr| SocketAddr::new(reachable(address.ip()), address.port());
        let nameserver = self.addresses.nameserver.map(reachable);
        let server = match nameserver {
            Some(address) if address.to_string() != "127.0.0.1:9876" => format!(" --server {address}"),
            _ => String::new(),
        };
        let namesrv = nameserver.map_or_else(|| "...".to_owned(), |address| address.to_string());
        let facts: String = facts(&pairs).lines().map(|line| format!("  {line}\n")).collect();
        format!(
            "BraidMQ {} is ready after {} ms (pid {})\n\n{facts}\nA first message:\n\n  \
             {program} produce Hello --message \"hello, world\"{server}\n  \
             {program} consume Hello --from start{server}\n\nJava, with org.apache.rocketmq:rocketmq-client:\n\n  \
             var producer = new DefaultMQProducer(\"hello\");\n  producer.setNamesrvAddr(\"{namesrv}\");\n  producer.start();\n  \
             producer.send(new Message(\"Hello\", \"hello, world\".getBytes()));\n",
            self.version,
            self.started_in_ms,
            self.pid,
            program = self.program
        )
    }

    fn files_text(&self) -> String {
        let number =
            |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        if self.files.was == self.files.is {
            number(self.files.is)
        } else {
            format!("{}, raised from {}", number(self.files.is), number(self.files.was))
        }
    }
}

/// Whether a shell takes a word as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+'))
}

/// An address that a client on this machine can type.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

/// What recovery found, as sentences.
fn recovery(report: &RecoveryReport) -> Vec<String> {
    let mut sentences: Vec<String> = report
        .rows
        .iter()
        .map(|row| match row {
            RecoveryRow::New => "a new directory".to_owned(),
            RecoveryRow::Clean => "stopped cleanly last time".to_owned(),
            RecoveryRow::CleanEnd => "ended without order last time; the log's end is whole".to_owned(),
            RecoveryRow::TornTail => format!("the last write was torn; {} bytes were cut", report.cut_bytes),
            RecoveryRow::Hole => {
                format!(
                    "the last writes reached the disk in part; {} bytes were cut from the first gap on",
                    report.cut_bytes
                )
            }
            RecoveryRow::IncompleteGroup => {
                format!("the last group of records was incomplete; {} bytes were cut", report.cut_bytes)
            }
            RecoveryRow::DamageBelowWatermark => {
                "DAMAGE: records that were on the disk are not readable".to_owned()
            }
            RecoveryRow::ShorterThanWatermark => {
                "DAMAGE: the log is shorter than what was on the disk".to_owned()
            }
            RecoveryRow::MissingFile => "DAMAGE: a log file is missing".to_owned(),
            RecoveryRow::NoSuperblock => "DAMAGE: the superblock is not readable".to_owned(),
        })
        .collect();
    for damage in &report.damage {
        sentences.push(format!("positions {} to {}: {}", damage.from.0, damage.to.0, damage.reason));
        for (topic, queue, first, count) in &damage.lost {
            sentences.push(format!("lost: {count} messages of {topic}, queue {queue}, from offset {first}"));
        }
    }
    sentences.extend(report.notes.iter().cloned());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_where_how_safe_and_what_to_type() {
        let address = |text: &str| text.parse().expect("an address");
        let addresses = Addresses {
            nameserver: Some(address("0.0.0.0:9877")),
            main: address("0.0.0.0:10911"),
            fast: Some(address("0.0.0.0:10909")),
        };
        let banner = Banner {
            version: "1.2.3",
            pid: 7,
            started_in_ms: 12,
            listeners: Listeners::of(&addresses, None),
            advertised: "mq.example.org:10911".to_owned(),
            data: "/var/lib/braidmq".into(),
            flush: "async",
            safety: "acknowledged when the operating system has it",
            recovery: vec!["a new directory".to_owned()],
            read_only: false,
            open_files: Some(4096),
            addresses,
            kafka: Some(address("0.0.0.0:9092")),
            files: OpenFiles { was: Some(1024), is: Some(4096) },
            flush_origin: ", as broker.conf:3 says".to_owned(),
            program: "target/release/braidmq".to_owned(),
        };
        let expected = "BraidMQ 1.2.3 is ready after 12 ms (pid 7)\n\n  \
            name server  0.0.0.0:9877  point RocketMQ clients here\n  \
            broker       0.0.0.0:10911  clients are told mq.example.org:10911\n  \
            fast port    0.0.0.0:10909  for old clients with a VIP channel\n  \
            Kafka        0.0.0.0:9092  point Kafka clients here\n  \
            data         /var/lib/braidmq\n  \
            safety       async: acknowledged when the operating system has it, as broker.conf:3 says\n  \
            recovery     a new directory\n  \
            open files   4096, raised from 1024\n\n\
            A first message:\n\n  \
            target/release/braidmq produce Hello --message \"hello, world\" --server 127.0.0.1:9877\n  \
            target/release/braidmq consume Hello --from start --server 127.0.0.1:9877\n\n\
            Java, with org.apache.rocketmq:rocketmq-client:\n\n  \
            var producer = new DefaultMQProducer(\"hello\");\n  producer.setNamesrvAddr(\"127.0.0.1:9877\");\n  \
            producer.start();\n  producer.send(new Message(\"Hello\", \"hello, world\".getBytes()));\n";
        assert_eq!(banner.text(), expected);
        let damaged = Banner { read_only: true, ..banner }.text();
        assert!(damaged.contains("READ ONLY"), "{damaged}");
    }

    #[test]
    fn every_row_of_the_recovery_table_has_a_sentence() {
        let report = RecoveryReport {
            rows: vec![RecoveryRow::TornTail, RecoveryRow::DamageBelowWatermark],
            cut_bytes: 77,
            damage: vec![braid_store::Damage {
                from: braid_store::Position(10),
                to: braid_store::Position(20),
                reason: "wrong checksum".to_owned(),
                lost: vec![("T".to_owned(), 2, 5, 3)],
            }],
            notes: vec!["a note".to_owned()],
            ..RecoveryReport::default()
        };
        let expected = [
            "the last write was torn; 77 bytes were cut",
            "DAMAGE: records that were on the disk are not readable",
            "positions 10 to 20: wrong checksum",
            "lost: 3 messages of T, queue 2, from offset 5",
            "a note",
        ];
        assert_eq!(recovery(&report), expected);
    }
}
