//! Sockets that listen, and the addresses at their ends.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the system may hold for us before they are accepted.
const BACKLOG: i32 = 4_096;

/// Opens a listening socket that does not block; gives its real address too, which differs when port 0 was asked for.
///
/// # Errors
/// What the system answers.
pub fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// An IPv4 address that an IPv6 socket shows in IPv6 form, as IPv4.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_ipv4() {
        let shown = |text: &str| unmapped(text.parse().unwrap()).to_string();
        assert_eq!(shown("[::ffff:10.0.0.1]:7"), "10.0.0.1:7");
        assert_eq!(shown("[::1]:7"), "[::1]:7");
    }

    #[test]
    fn port_0_becomes_a_real_one_and_a_taken_port_is_refused() {
        let (_held, address) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
