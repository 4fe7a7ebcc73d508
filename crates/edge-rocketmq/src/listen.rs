//! Opening the listeners: real addresses before anything is served, and no half of a pair.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::options::EdgeOptions;

/// The fast port is the main port less this, everywhere: old clients compute it.
pub(crate) const FAST_PORT_BELOW_MAIN: u16 = 2;
/// How often a pair of free ports is looked for.
const PAIR_ATTEMPTS: usize = 64;

/// What a listener's connections may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Name server codes.
    NameServer,
    /// Broker codes, on the main port.
    Main,
    /// Broker codes, on the port that old clients send to.
    Fast,
}

/// The real addresses of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The name server's.
    pub nameserver: Option<SocketAddr>,
    /// The broker's.
    pub main: SocketAddr,
    /// The broker's second one.
    pub fast: Option<SocketAddr>,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses.
    #[error("the {what} can not listen on {address}: {source}")]
    Listen {
        /// Whose listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// No port below the main one.
    #[error("the broker's port {0} leaves no port for the fast listener, which is always two below")]
    NoFastPort(u16),
    /// With port 0, no two free ports lay two apart.
    #[error("no free pair of ports was found for the broker on {0}")]
    NoFreePair(SocketAddr),
    /// The store's state of the edge can not be used.
    #[error("the edge's state can not be read: {0}")]
    State(String),
}

/// Opened sockets and their addresses.
pub(crate) struct Listeners {
    pub(crate) sockets: Vec<(Role, TcpListener)>,
    pub(crate) addresses: Addresses,
}

pub(crate) fn open(options: &EdgeOptions) -> Result<Listeners, BindError> {
    let mut sockets = Vec::new();
    let nameserver = match options.nameserver {
        None => None,
        Some(address) => {
            let (socket, address) = listen("name server", address)?;
            sockets.push((Role::NameServer, socket));
            Some(address)
        }
    };
    let (main, fast) = if options.fast {
        let ((main, main_address), (fast, fast_address)) = listen_pair(options.main)?;
        sockets.push((Role::Fast, fast));
        ((main, main_address), Some(fast_address))
    } else {
        (listen("broker", options.main)?, None)
    };
    sockets.push((Role::Main, main.0));
    Ok(Listeners { sockets, addresses: Addresses { nameserver, main: main.1, fast } })
}

type Opened = (TcpListener, SocketAddr);

fn listen_pair(wanted: SocketAddr) -> Result<(Opened, Opened), BindError> {
    if wanted.port() != 0 {
        let fast = fast_address(wanted)?;
        return Ok((listen("broker", wanted)?, listen("broker's fast listener", fast)?));
    }
    for _ in 0..PAIR_ATTEMPTS {
        let main = listen("broker", wanted)?;
        if let Ok(fast) = fast_address(main.1).and_then(|fast| listen("broker's fast listener", fast)) {
            return Ok((main, fast));
        }
    }
    Err(BindError::NoFreePair(wanted))
}

fn fast_address(main: SocketAddr) -> Result<SocketAddr, BindError> {
    match main.port().checked_sub(FAST_PORT_BELOW_MAIN) {
        None | Some(0) => Err(BindError::NoFastPort(main.port())),
        Some(port) => Ok(SocketAddr::new(main.ip(), port)),
    }
}

fn listen(what: &'static str, address: SocketAddr) -> Result<Opened, BindError> {
    braid_reactor::listen(address).map_err(|source| BindError::Listen { what, address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn a_free_pair_lies_two_apart() {
        let options = EdgeOptions { nameserver: Some(any()), main: any(), ..EdgeOptions::default() };
        let listeners = open(&options).unwrap();
        let addresses = listeners.addresses;
        assert_eq!(listeners.sockets.len(), 3);
        assert_eq!(addresses.fast.unwrap().port() + FAST_PORT_BELOW_MAIN, addresses.main.port());
        assert_ne!(addresses.nameserver.unwrap().port(), 0);
    }

    #[test]
    fn a_taken_port_refuses_the_start_with_its_name() {
        let (_held, address) = listen("test", any()).unwrap();
        let options = EdgeOptions { nameserver: Some(address), main: any(), ..EdgeOptions::default() };
        let text = open(&options).err().unwrap().to_string();
        assert!(text.contains("name server") && text.contains(&address.to_string()), "{text}");
        let options = EdgeOptions { nameserver: None, main: "127.0.0.1:2".parse().unwrap(), ..options };
        assert!(matches!(open(&options), Err(BindError::NoFastPort(2))));
    }
}
