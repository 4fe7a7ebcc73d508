//! The ready file: where the broker really listens, for whoever started it.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process;

use braid_edge_rocketmq::Addresses;
use serde::Serialize;

/// The ready file's content.
#[derive(Serialize)]
struct Ready<'a> {
    pid: u32,
    listeners: &'a Listeners,
}

/// The real addresses of all listeners.
#[derive(Serialize)]
pub struct Listeners {
    #[serde(skip_serializing_if = "Option::is_none")]
    nameserver: Option<String>,
    rocketmq: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rocketmq_fast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<String>,
}

impl Listeners {
    /// As text.
    pub fn of(addresses: &Addresses, kafka: Option<SocketAddr>) -> Self {
        Listeners {
            nameserver: addresses.nameserver.map(|address| address.to_string()),
            rocketmq: addresses.main.to_string(),
            rocketmq_fast: addresses.fast.map(|address| address.to_string()),
            kafka: kafka.map(|address| address.to_string()),
        }
    }
}

/// Takes away what an earlier start left: the file means "serves now".
///
/// # Errors
/// When it is there and can't be removed.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the file; whoever sees it sees all of it.
///
/// # Errors
/// When the directory does not take it.
pub fn write(path: &Path, listeners: &Listeners) -> io::Result<()> {
    let ready = Ready { pid: process::id(), listeners };
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}.tmp", process::id()));
    let temporary = path.with_file_name(name);
    let mut file = fs::File::create(&temporary)?;
    serde_json::to_writer(&mut file, &ready)?;
    file.write_all(b"\n")?;
    drop(file);
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_every_listener_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("ready.json");
        remove_stale(&path).expect("nothing to remove is no error");
        fs::write(&path, "old").expect("written");
        let address = |text: &str| text.parse().expect("an address");
        let addresses = Addresses {
            nameserver: Some(address("127.0.0.1:9876")),
            main: address("127.0.0.1:10911"),
            fast: None,
        };
        write(&path, &Listeners::of(&addresses, Some(address("127.0.0.1:9092")))).expect("written");
        let listeners =
            r#"{"nameserver":"127.0.0.1:9876","rocketmq":"127.0.0.1:10911","kafka":"127.0.0.1:9092"}"#;
        let expected = format!("{{\"pid\":{},\"listeners\":{listeners}}}\n", process::id());
        assert_eq!(fs::read_to_string(&path).expect("readable"), expected);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
        remove_stale(&path).expect("removed");
        assert!(!path.exists());
    }
}
