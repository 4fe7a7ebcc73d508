//! A siege of the release binary: thousands of idle connections, half-open frames, garbage, frames past the limit,
//! clients that never read and pulls that wait with long tag lists, while one good client must go on being served.
//!
//! ```text
//! siege --binary target/release/braidmq [--connections 5000] [--seed 1]
//! ```
//!
//! After each wave the broker's resident memory must be at most [`RSS_BASE_BYTES`] + [`RSS_PER_CONNECTION_BYTES`] for each
//! open connection, the good client's requests must have been answered, and the log must not speak of a panic.

mod broker;
mod client;
mod kafka;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use braid_io::Rng;

use broker::Broker;
use client::Client;

/// What the broker may use apart from connections.
const RSS_BASE_BYTES: u64 = 64 << 20;
/// What each open connection may add.
const RSS_PER_CONNECTION_BYTES: u64 = 24 << 10;
/// Bytes of answers that may wait for one Kafka client.
const KAFKA_OUT_BYTES_MAX: u64 = 4 << 20;
/// Every wait in here ends after this long.
const DEADLINE: Duration = Duration::from_secs(20);
/// The frame limit of the protocol: what the length field may say.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;

fn main() -> Result<()> {
    let options = Options::parse()?;
    raise_file_limit()?;
    let broker = Broker::start(&options.binary)?;
    let mut siege = Siege { broker, seed: options.seed, passed: 0, failed: 0 };
    let address = siege.broker.address;

    let idle = siege
        .wave("idle connections", options.connections, || idle_connections(address, options.connections));
    let half_open =
        siege.wave("half-open frames", options.connections + 200, || half_open_frames(address, 200));
    drop(half_open);
    siege.wave("bad frames are closed", options.connections, || bad_frames_are_closed(address));
    let seed = siege.seed;
    siege.wave("garbage is closed", options.connections, || garbage_is_closed(address, seed));
    let deaf = siege
        .wave("clients that never read", options.connections + 8, || clients_that_never_read(address, 8));
    drop(deaf);
    let waiting = siege.wave("pulls that wait with long tag lists", options.connections + 9, || {
        pulls_with_long_tags(address)
    });
    drop((waiting, idle));
    kafka_waves(&mut siege);
    siege.finish()
}

/// The same and more against the Kafka listener.
fn kafka_waves(siege: &mut Siege) {
    let (address, seed) = (siege.broker.kafka, siege.seed);
    let half_open = siege.wave("Kafka: half-open frames", 200, || kafka::half_open_frames(address, 200));
    drop(half_open);
    siege.wave("Kafka: bad frames are closed", 8, || kafka::bad_frames_are_closed(address));
    siege.wave("Kafka: garbage is closed", 8, || kafka::garbage_is_closed(address, seed));
    siege.wave("Kafka: a topic of 10,000 partitions", 8, || kafka::a_topic_of_many_partitions(address));
    siege.wave("Kafka: a fetch of 5,000 partitions is woken", 8, || kafka::a_wide_fetch_is_woken(address));
    siege.wave("Kafka: members vanish while they wait", 8, || kafka::members_that_vanish(address, 200));
    // Each may leave so many bytes of answers waiting, in buffers of up to twice that.
    let deaf = 8 + 2 * 8 * (KAFKA_OUT_BYTES_MAX / RSS_PER_CONNECTION_BYTES) as usize;
    siege.wave("Kafka: clients that never read", deaf, || kafka::clients_that_never_read(address, 8));
}

struct Options {
    binary: PathBuf,
    connections: usize,
    seed: u64,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self { binary: PathBuf::new(), connections: 5_000, seed: 1 };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--binary" => options.binary = value.into(),
                "--connections" => options.connections = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                _ => bail!("unknown option {name}"),
            }
        }
        ensure!(options.binary.is_file(), "--binary PATH names the broker to besiege");
        Ok(options)
    }
}

/// Both ends of thousands of sockets: this process needs as many descriptors as the hard limit gives.
fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

struct Siege {
    broker: Broker,
    seed: u64,
    passed: u32,
    failed: u32,
}

impl Siege {
    /// Runs one wave, then asks whether the broker still serves and stays within its memory.
    fn wave<T>(&mut self, name: &str, connections: usize, attack: impl FnOnce() -> Result<T>) -> Option<T> {
        let outcome = attack().and_then(|held| {
            self.others_are_served()?;
            let rss = self.broker.rss_bytes()?;
            let bound = RSS_BASE_BYTES + RSS_PER_CONNECTION_BYTES * connections as u64;
            ensure!(rss <= bound, "{} MiB resident, {} MiB are allowed", rss >> 20, bound >> 20);
            Ok((held, rss, bound))
        });
        match outcome {
            Ok((held, rss, bound)) => {
                self.passed += 1;
                println!("ok    {name}: {} MiB resident of {} MiB allowed", rss >> 20, bound >> 20);
                Some(held)
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {name}: {error:#}");
                None
            }
        }
    }

    fn others_are_served(&self) -> Result<()> {
        let mut good = Client::connect(self.broker.address, DEADLINE)?;
        for i in 0..50 {
            let offset =
                good.send("Siege", 0, format!("good {i}").as_bytes()).context("the good client's send")?;
            let body = good.pull("Siege", 0, offset).context("the good client's pull")?;
            ensure!(
                body.windows(6).any(|w| w == b"good 0") || body.windows(5).any(|w| w == b"good "),
                "the good client did not get its message back"
            );
        }
        kafka::good_client(self.broker.kafka)
    }

    fn finish(mut self) -> Result<()> {
        match self.broker.stop() {
            Ok(log) if !log.to_lowercase().contains("panic") => self.passed += 1,
            Ok(log) => {
                self.failed += 1;
                let line = log.lines().find(|line| line.to_lowercase().contains("panic")).unwrap_or_default();
                println!("FAIL  the log speaks of a panic: {line}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  stopping: {error:#}");
            }
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        ensure!(self.failed == 0, "the siege was lost");
        Ok(())
    }
}

/// Connections that each asked one thing, so that their buffers were used, and then keep silent.
fn idle_connections(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for i in 0..count {
        let mut client = Client::connect(address, DEADLINE).with_context(|| format!("connection {i}"))?;
        client.ask_unknown().with_context(|| format!("connection {i}"))?;
        clients.push(client);
    }
    Ok(clients)
}

/// Frames that announce the largest length and stop after a few bytes: nothing may be reserved for them.
fn half_open_frames(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|i| {
            let mut stream = TcpStream::connect(address)?;
            let mut frame = FRAME_BYTES_MAX.to_be_bytes().to_vec();
            frame.extend_from_slice(&(1000u32 + i as u32).to_be_bytes());
            frame.extend_from_slice(b"{\"code\":310");
            stream.write_all(&frame[..4 + i % 15])?;
            Ok(stream)
        })
        .collect()
}

fn bad_frames_are_closed(address: SocketAddr) -> Result<()> {
    let frames: [(&str, Vec<u8>); 6] = [
        (
            "one byte past the frame limit",
            [(FRAME_BYTES_MAX + 1).to_be_bytes(), 10u32.to_be_bytes()].concat(),
        ),
        ("a negative length", [0xFFFF_FFFFu32.to_be_bytes(), 10u32.to_be_bytes()].concat()),
        ("a frame without room for its header length", [2u32.to_be_bytes(), [0; 4]].concat()),
        ("a header longer than its frame", [[0, 0, 0, 12], [0, 0, 0, 99], *b"{\"co", *b"de\":"].concat()),
        ("an unknown serialization", [[0, 0, 0, 8], [7, 0, 0, 4], *b"{}  "].concat()),
        ("a header that is no JSON", [[0, 0, 0, 8], [0, 0, 0, 4], *b"]]]]"].concat()),
    ];
    for (what, bytes) in frames {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&bytes)?;
        expect_closed(stream).with_context(|| what.to_string())?;
    }
    Ok(())
}

fn garbage_is_closed(address: SocketAddr, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    for i in 0..200 {
        let mut stream = TcpStream::connect(address)?;
        let len = 64 + rng.below(64 << 10) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        // The first byte decides whether this looks like a huge frame (to be closed at once) or a small one.
        bytes[0] = if i % 2 == 0 { 0xFE } else { 0 };
        bytes[1] = if i % 2 == 0 { bytes[1] } else { 0 };
        // The server may close while this is still being sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        expect_closed(stream).with_context(|| format!("garbage {i}, seed {seed}"))?;
    }
    Ok(())
}

/// The other side must end the connection; an answer before that is allowed.
fn expect_closed(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => bail!("the connection was not closed: {e}"),
        }
    }
}

/// Pulls that wait, each with as many tags as it may name, and some with far more, which may not wait.
fn pulls_with_long_tags(address: SocketAddr) -> Result<Vec<Client>> {
    Client::connect(address, DEADLINE)?.send("Quiet", 0, b"x")?;
    let tags = |count: usize| vec!["t".repeat(58); count].join("||");
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(address, DEADLINE)?;
        client.wait_for_tags("Quiet", 0, 1, &tags(256), 1_000)?;
        waiting.push(client);
    }
    // Kept as they are, these would be a gigabyte.
    let mut client = Client::connect(address, DEADLINE)?;
    client.wait_for_tags("Quiet", 0, 1, &tags(20_000), 100)?;
    waiting.push(client);
    Ok(waiting)
}

/// Clients that ask for far more than a socket holds, and read nothing.
fn clients_that_never_read(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let mut writer = Client::connect(address, DEADLINE)?;
    let body = vec![b'x'; 60 << 10];
    for _ in 0..100 {
        writer.send("Flood", 0, &body)?;
    }
    let mut deaf = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(address, DEADLINE)?;
        // 4,000 pulls of up to 32 messages of 60 KiB would be 7 GiB of answers.
        client.ask_and_never_read("Flood", 0, 4_000)?;
        deaf.push(client);
    }
    Ok(deaf)
}
