//! `braidmq health`: does the name server answer, and does every broker that it knows?

use std::thread;
use std::time::{Duration, Instant};

use braid_wire_rocketmq::Command;
use braid_wire_rocketmq::body::KvTable;
use braid_wire_rocketmq::codes::request;
use serde::Serialize;

use crate::cli::HealthArgs;
use crate::client::{Client, body};
use crate::error::{CliError, CliResult, Code};
use crate::output::{Out, Row};

/// How often a server that does not answer yet is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// A broker that answers.
#[derive(Debug, Serialize)]
struct BrokerRow {
    broker: String,
    address: String,
    version: String,
    /// Whether it takes messages now.
    active: bool,
}

impl Row for BrokerRow {
    const COLUMNS: &'static [&'static str] = &["BROKER", "ADDRESS", "VERSION", "ACTIVE"];

    fn cells(&self) -> Vec<String> {
        vec![self.broker.clone(), self.address.clone(), self.version.clone(), self.active.to_string()]
    }
}

/// Runs `health`.
pub fn run(args: &HealthArgs, client: &mut Client, out: &mut Out) -> CliResult {
    let deadline = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let brokers = loop {
        match look(client) {
            Ok(brokers) => break brokers,
            Err(error) if deadline.is_none_or(|deadline| Instant::now() >= deadline) => {
                return Err(late(error, args.wait));
            }
            Err(_) => thread::sleep(RETRY_EVERY),
        }
    };
    out.list(&brokers)?;
    Ok(())
}

fn late(error: CliError, waited: Option<u64>) -> CliError {
    match waited {
        Some(seconds) => error.context(format!("not well after {seconds} s")),
        None => error,
    }
}

fn look(client: &mut Client) -> CliResult<Vec<BrokerRow>> {
    let mut rows = Vec::new();
    for (broker, address) in client.masters()? {
        let answer = client.ask_ok(
            &address,
            Command::request(request::GET_BROKER_RUNTIME_INFO),
            &format!("broker {broker}"),
        )?;
        let table = body::<KvTable>(&answer)?.table;
        let text = |key: &str| table.get(key).cloned().unwrap_or_default();
        rows.push(BrokerRow {
            broker,
            address,
            version: text("brokerVersionDesc"),
            // Apache before 5.0 does not say; it would not answer either.
            active: table.get("brokerActive").is_none_or(|active| active == "true"),
        });
    }
    let idle: Vec<&str> = rows.iter().filter(|row| !row.active).map(|row| row.broker.as_str()).collect();
    if !idle.is_empty() {
        let message = format!("broker {} answers, but takes no messages", idle.join(", "));
        return Err(CliError::new(Code::Failure, message).hint("its log says why"));
    }
    Ok(rows)
}
