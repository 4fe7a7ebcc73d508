//! From a request's code to its handler. What is not in these tables is refused by its number.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use braid_wire_rocketmq::codes::{request, response};
use braid_wire_rocketmq::command::{self, Command, DecodeError};
use braid_wire_rocketmq::{Frame, RequestHead};

use crate::connection::Connection;
use crate::listen::Role;
use crate::reactor::Reactor;
use crate::reply::{Outcome, Reply};
use crate::shared::Shared;
use crate::{admin, back, clients, locks, namesrv, offsets, pull, query, send};

/// A request as most handlers see it.
pub(crate) struct Call<'a> {
    pub(crate) reactor: &'a Rc<Reactor>,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) command: &'a Command,
}

impl Call<'_> {
    pub(crate) fn shared(&self) -> &Shared {
        &self.reactor.shared
    }
}

/// Answers one request, or refuses it.
type Handler = fn(&Call<'_>) -> Result<Outcome, Reply>;

/// Clients above V5_3_1 know GO_AWAY.
const VERSION_GO_AWAY: i32 = 475;

/// What a broker does.
const BROKER: &[(i32, Handler)] = &[
    (request::QUERY_MESSAGE, query::by_key),
    (request::QUERY_CONSUMER_OFFSET, offsets::cursor),
    (request::UPDATE_CONSUMER_OFFSET, offsets::commit),
    (request::UPDATE_AND_CREATE_TOPIC, admin::topics::put),
    (request::GET_ALL_TOPIC_CONFIG, admin::topics::all),
    (request::GET_BROKER_CONFIG, admin::broker::config),
    (request::GET_BROKER_RUNTIME_INFO, admin::broker::runtime),
    (request::SEARCH_OFFSET_BY_TIMESTAMP, offsets::at_time),
    (request::GET_MAX_OFFSET, offsets::max),
    (request::GET_MIN_OFFSET, offsets::min),
    (request::GET_EARLIEST_MSG_STORETIME, offsets::earliest_time),
    (request::VIEW_MESSAGE_BY_ID, query::by_position),
    (request::HEART_BEAT, clients::heartbeat),
    (request::UNREGISTER_CLIENT, clients::unregister),
    (request::CONSUMER_SEND_MSG_BACK, back::send_back),
    (request::GET_CONSUMER_LIST_BY_GROUP, clients::consumer_ids),
    (request::LOCK_BATCH_MQ, locks::lock),
    (request::UNLOCK_BATCH_MQ, locks::unlock),
    (request::CHECK_CLIENT_CONFIG, clients::check),
    (request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, admin::groups::put),
    (request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, admin::groups::all),
    (request::GET_TOPIC_STATS_INFO, admin::topics::statistics),
    (request::GET_CONSUMER_CONNECTION_LIST, admin::groups::consumers),
    (request::GET_PRODUCER_CONNECTION_LIST, admin::groups::producers),
    (request::DELETE_SUBSCRIPTIONGROUP, admin::groups::delete),
    (request::GET_CONSUME_STATS, admin::groups::progress),
    (request::DELETE_TOPIC_IN_BROKER, admin::topics::delete),
    (request::INVOKE_BROKER_TO_RESET_OFFSET, admin::reset::reset),
    (request::QUERY_TOPIC_CONSUME_BY_WHO, admin::topics::groups),
    (request::GET_CONSUMER_RUNNING_INFO, admin::groups::running),
    (request::GET_TOPIC_CONFIG, admin::topics::one),
    (request::GET_SUBSCRIPTIONGROUP_CONFIG, admin::groups::one),
];

/// What a name server does.
const NAME_SERVER: &[(i32, Handler)] = &[
    (request::PUT_KV_CONFIG, namesrv::kv::put),
    (request::GET_KV_CONFIG, namesrv::kv::get),
    (request::DELETE_KV_CONFIG, namesrv::kv::delete),
    (request::REGISTER_BROKER, namesrv::handlers::register),
    (request::UNREGISTER_BROKER, namesrv::handlers::unregister),
    (request::GET_ROUTEINFO_BY_TOPIC, namesrv::handlers::route),
    (request::GET_BROKER_CLUSTER_INFO, namesrv::handlers::cluster),
    (request::WIPE_WRITE_PERM_OF_BROKER, namesrv::handlers::wipe_write),
    (request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, namesrv::handlers::topics),
    (request::DELETE_TOPIC_IN_NAMESRV, namesrv::handlers::delete_topic),
    (request::GET_KVLIST_BY_NAMESPACE, namesrv::kv::list),
    (request::GET_TOPICS_BY_CLUSTER, namesrv::handlers::topics_of_cluster),
    (request::GET_SYSTEM_TOPIC_LIST_FROM_NS, namesrv::handlers::system_topics),
    (request::QUERY_DATA_VERSION, namesrv::handlers::data_version),
    (request::ADD_WRITE_PERM_OF_BROKER, namesrv::handlers::add_write),
    (request::BROKER_HEARTBEAT, namesrv::handlers::heartbeat),
];

/// Serves one frame: a request to its handler, an answer to who asked.
///
/// # Errors
/// When the header is unreadable and the connection must be closed.
pub(crate) fn handle(
    reactor: &Rc<Reactor>,
    connection: &Rc<Connection>,
    frame: &Frame,
) -> Result<(), DecodeError> {
    if connection.role != Role::NameServer {
        // The hot codes read their own headers, without allocation.
        match command::peek_code(frame)? {
            request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                return send::handle(reactor, connection, frame);
            }
            request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => {
                return pull::handle(reactor, connection, frame);
            }
            _ => {}
        }
    }
    let command = Command::decode(frame)?;
    if command.is_response() {
        connection.answered(command);
        return Ok(());
    }
    let head = command.head();
    let call = Call { reactor, connection, command: &command };
    match outcome(&call) {
        Outcome::Now(reply) if reply.busy && reactor.hold(connection, frame) => {}
        outcome => reactor.settle(connection, head, outcome),
    }
    Ok(())
}

/// An answer with the code of a hot request.
pub(crate) fn answered(connection: &Connection, frame: &Frame) -> Result<(), DecodeError> {
    connection.answered(Command::decode(frame)?);
    Ok(())
}

fn outcome(call: &Call<'_>) -> Outcome {
    let command = call.command;
    if let Some(refusal) = refused_while_stopping(call.shared(), &command.head()) {
        return refusal.into();
    }
    #[cfg(test)]
    if command.code == tests::PANICS {
        panic!("a handler with a mistake");
    }
    let table = match call.connection.role {
        Role::NameServer => NAME_SERVER,
        Role::Main | Role::Fast => BROKER,
    };
    match table.iter().find(|(code, _)| *code == command.code) {
        Some((_, handler)) => handler(call).unwrap_or_else(Outcome::Now),
        None => not_supported(command.code).into(),
    }
}

fn not_supported(code: i32) -> Reply {
    Reply::error(response::REQUEST_CODE_NOT_SUPPORTED, format!(" request type {code} not supported"))
}

/// While the broker stops, clients that know it are told to go away, others that it is not available.
pub(crate) fn refused_while_stopping(shared: &Shared, head: &RequestHead) -> Option<Reply> {
    if !shared.stopping.load(Ordering::Relaxed) {
        return None;
    }
    Some(if head.version > VERSION_GO_AWAY {
        Reply::error(response::GO_AWAY, "please go away")
    } else {
        Reply::error(response::SERVICE_NOT_AVAILABLE, "the broker is stopping")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Server;

    /// A request whose handler panics.
    pub(super) const PANICS: i32 = -77;

    #[test]
    fn a_panic_ends_its_connection_only() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let (mut victim, mut witness) = (server.client(), server.client());
        witness.produce("T", 0, "before", "");
        victim.produce("T", 0, "mine", "");
        victim.send(Command::request(PANICS));
        assert!(victim.next().is_none());
        witness.produce("T", 0, "after", "");
        server.client().produce("T", 0, "a new one", "");
    }

    #[test]
    fn each_code_has_one_handler() {
        for table in [BROKER, NAME_SERVER] {
            let mut codes: Vec<i32> = table.iter().map(|(code, _)| *code).collect();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), table.len());
        }
    }
}
