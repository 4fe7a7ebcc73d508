//! A small blocking RocketMQ client for the commands.
//!
//! Each server that is talked to has one connection and one thread that reads it; everything read comes out of one channel, so that a
//! command can wait for several servers at once and a push from a server is not lost while an answer is waited for.

mod cluster;
mod message;
mod peer;

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::{Command, Language};

pub use cluster::{
    PERM_READ, PERM_WRITE, Queue, body, is_system_group, is_system_topic, no_group, no_topic, read_queues,
    write_queues,
};
pub use message::{Message, records};
pub use peer::Event;

use crate::error::{CliError, CliResult, Code};
use peer::Peer;

/// Frames that were read and not yet looked at, over all connections; readers wait beyond it.
const EVENTS_MAX: usize = 64;

/// What came from a server.
pub struct Arrival {
    /// Which.
    pub server: String,
    /// Over which of the connections to it.
    connection: u64,
    /// What.
    pub event: Event,
}

/// Connections to name servers and brokers.
pub struct Client {
    name_servers: Vec<String>,
    timeout: Duration,
    peers: HashMap<String, Peer>,
    arrivals: Receiver<Arrival>,
    arrived: SyncSender<Arrival>,
    /// Arrivals that somebody who waited for an answer passed over.
    put_back: VecDeque<Arrival>,
    opaque: i32,
    connections: u64,
}

impl Client {
    /// A client of these name servers; nothing is connected yet.
    pub fn new(name_servers: &str, timeout: Duration) -> CliResult<Self> {
        let name_servers: Vec<String> = name_servers
            .split([';', ','])
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(str::to_owned)
            .collect();
        if name_servers.is_empty() {
            return Err(CliError::new(Code::Usage, "--server names no server")
                .hint("for example --server 127.0.0.1:9876"));
        }
        let (arrived, arrivals) = sync_channel(EVENTS_MAX);
        Ok(Client {
            name_servers,
            timeout,
            peers: HashMap::new(),
            arrivals,
            arrived,
            put_back: VecDeque::new(),
            opaque: 0,
            connections: 0,
        })
    }

    /// How long an answer is waited for.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks the first name server that answers.
    ///
    /// # Errors
    /// `Unreachable` if none does.
    pub fn ask_name_server(&mut self, request: Command) -> CliResult<Command> {
        let mut last = None;
        for server in self.name_servers.clone() {
            match self.ask(&server, request.clone()) {
                Err(error) if error.code == Code::Unreachable => last = Some(error),
                answered => return answered,
            }
        }
        let error = last.unwrap_or_else(|| CliError::new(Code::Unreachable, "no name server is known"));
        Err(error.hint("is a server running there? `braidmq` starts one; --server names another"))
    }

    /// Sends a request and waits for its answer, whatever its code.
    ///
    /// # Errors
    /// `Unreachable` if there is no answer in time.
    pub fn ask(&mut self, server: &str, request: Command) -> CliResult<Command> {
        let opaque = self.send(server, request)?;
        let deadline = Instant::now() + self.timeout;
        // What came before belongs to somebody else, in this order.
        let mut passed_over = std::mem::take(&mut self.put_back);
        let answer = loop {
            let Some(arrival) = self.receive(deadline) else {
                if let Some(peer) = self.peers.get_mut(server) {
                    peer.settle(opaque);
                }
                break Err(self.no_answer(server));
            };
            match arrival.event {
                Event::Command(command)
                    if arrival.server == server && command.is_response() && command.opaque == opaque =>
                {
                    break Ok(command);
                }
                Event::Closed(reason) if arrival.server == server => {
                    break Err(unreachable_server(server, reason));
                }
                event => passed_over.push_back(Arrival { event, ..arrival }),
            }
        };
        self.put_back = passed_over;
        answer
    }

    /// [`ask`](Self::ask), and an error if the answer's code is not SUCCESS.
    ///
    /// # Errors
    /// `Unreachable`, or what the answer says, with `what` was asked in front.
    pub fn ask_ok(&mut self, server: &str, request: Command, what: &str) -> CliResult<Command> {
        let answer = self.ask(server, request)?;
        if answer.code == response::SUCCESS { Ok(answer) } else { Err(answer_error(&answer).context(what)) }
    }

    /// Sends a request and gives its opaque; the answer comes from [`next`](Self::next). Connects if there is no connection, or only one
    /// that the server closed while nothing waited on it.
    ///
    /// # Errors
    /// `Unreachable` if it can not be sent.
    pub fn send(&mut self, server: &str, mut request: Command) -> CliResult<i32> {
        self.opaque = self.opaque.wrapping_add(1);
        request.opaque = self.opaque;
        request.language = Language::Rust;
        if let Some(Peer { connection, .. }) =
            self.peers.get(server).filter(|peer| peer.has_ended() && peer.is_idle())
        {
            // In place of what its thread says, which will be about no current connection any longer.
            let (server, connection) = (server.to_owned(), *connection);
            self.peers.remove(&server);
            self.put_back.push_back(Arrival { server, connection, event: Event::Ended });
        }
        if !self.peers.contains_key(server) {
            self.connections += 1;
            let peer = Peer::connect(server, self.connections, self.timeout, self.arrived.clone())
                .map_err(|reason| unreachable_server(server, reason.to_string()))?;
            self.peers.insert(server.to_owned(), peer);
        }
        let sent = match self.peers.get_mut(server) {
            Some(peer) => peer.send(&request),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        if let Err(reason) = sent {
            self.peers.remove(server);
            return Err(unreachable_server(server, reason.to_string()));
        }
        Ok(request.opaque)
    }

    /// What comes next from any server; `None` at the deadline.
    pub fn next(&mut self, deadline: Instant) -> Option<Arrival> {
        if let Some(arrival) = self.put_back.pop_front() {
            return Some(arrival);
        }
        self.receive(deadline)
    }

    fn receive(&mut self, deadline: Instant) -> Option<Arrival> {
        loop {
            let mut arrival =
                match self.arrivals.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(arrival) => arrival,
                    // The client holds a sender itself, so the channel never closes.
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
                };
            let current = self.peers.get_mut(&arrival.server);
            match (&arrival.event, current.filter(|peer| peer.connection == arrival.connection)) {
                (Event::Command(command), Some(peer)) if command.is_response() => peer.settle(command.opaque),
                (Event::Command(_), _) => {}
                (Event::Closed(_) | Event::Ended, Some(peer)) => {
                    if peer.is_idle() {
                        arrival.event = Event::Ended;
                    }
                    self.peers.remove(&arrival.server);
                }
                // The end of a connection that was given up before.
                (Event::Closed(_) | Event::Ended, None) => continue,
            }
            return Some(arrival);
        }
    }

    fn no_answer(&self, server: &str) -> CliError {
        let seconds = self.timeout.as_secs();
        unreachable_server(server, format!("no answer within {seconds} s")).hint("--timeout allows more")
    }
}

fn unreachable_server(server: &str, reason: String) -> CliError {
    CliError::new(Code::Unreachable, format!("{server} can't be reached: {reason}"))
}

/// What an answer that is not SUCCESS means.
pub fn answer_error(answer: &Command) -> CliError {
    let code = match answer.code {
        response::NO_PERMISSION => Code::Unauthorised,
        response::TOPIC_NOT_EXIST
        | response::QUERY_NOT_FOUND
        | response::SUBSCRIPTION_NOT_EXIST
        | response::SUBSCRIPTION_GROUP_NOT_EXIST
        | response::CONSUMER_NOT_ONLINE => Code::NotFound,
        response::TOPIC_EXIST_ALREADY => Code::Conflict,
        // It is about to stop.
        response::GO_AWAY => Code::Unreachable,
        _ => Code::Failure,
    };
    let name = response::name(answer.code).map_or_else(|| answer.code.to_string(), str::to_owned);
    match answer.remark.as_deref().map(str::trim).filter(|remark| !remark.is_empty()) {
        Some(remark) => CliError::new(code, format!("the server says {name}: {remark}")),
        None => CliError::new(code, format!("the server says {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    use braid_wire_rocketmq::codes::request;
    use braid_wire_rocketmq::frame::{self, Limits};
    use bytes::BytesMut;

    use super::*;

    /// Answers one request over each connection and closes it, `connections` times.
    fn server_that_closes(connections: usize) -> (String, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let serve = move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut received = BytesMut::new();
                let frame = loop {
                    if let Some(frame) = frame::next(&mut received, &Limits::default()).expect("a frame") {
                        break frame;
                    }
                    let mut piece = [0; 1024];
                    let bytes = stream.read(&mut piece).expect("readable");
                    assert_ne!(bytes, 0, "a whole request");
                    received.extend_from_slice(&piece[..bytes]);
                };
                let ask = Command::decode(&frame).expect("a command");
                let mut out = BytesMut::new();
                Command::response_to(&ask, response::SUCCESS, None).encode(&mut out).expect("short");
                stream.write_all(&out).expect("writable");
                stream.shutdown(Shutdown::Both).expect("open");
            }
        };
        (address, thread::spawn(serve))
    }

    #[test]
    fn what_a_server_closes_while_nothing_waits_is_connected_anew() {
        let (server, serving) = server_that_closes(3);
        let mut client = Client::new(&server, Duration::from_secs(60)).expect("valid");
        let ask = || Command::request(request::GET_BROKER_CLUSTER_INFO);
        let soon = || Instant::now() + Duration::from_secs(60);
        client.ask_name_server(ask()).expect("answered");
        // The end was seen before the next request, or it is found by it; whoever looks is told once.
        assert!(matches!(client.next(soon()), Some(Arrival { event: Event::Ended, .. })));
        client.ask_name_server(ask()).expect("answered");
        while !client.peers[&server].has_ended() {
            thread::yield_now();
        }
        client.ask_name_server(ask()).expect("answered");
        assert!(matches!(client.next(soon()), Some(Arrival { event: Event::Ended, .. })));
        serving.join().expect("three connections");
        // Nobody is there any longer.
        while !client.peers[&server].has_ended() {
            thread::yield_now();
        }
        let error = client.ask_name_server(ask()).expect_err("nobody answers");
        assert_eq!(error.code, Code::Unreachable);
    }

    #[test]
    fn what_a_server_closes_while_an_answer_is_waited_for_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = listener.local_addr().expect("bound").to_string();
        let mut client = Client::new(&server, Duration::from_secs(60)).expect("valid");
        client.send(&server, Command::request(request::PULL_MESSAGE)).expect("sent");
        drop(listener.accept().expect("a connection"));
        let arrival = client.next(Instant::now() + Duration::from_secs(60)).expect("before the deadline");
        assert!(matches!(arrival.event, Event::Closed(_)));
    }
}
