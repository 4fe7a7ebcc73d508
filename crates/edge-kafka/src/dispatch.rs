//! From a request's key and version to its handler. What is not in these tables is not advertised, and closes its connection.
//!
//! A handler is a plain function that gets a [`Call`] and gives an [`Outcome`]: what can be answered at once is, an append is
//! answered by a promise, and only what waits for the disk or for other clients becomes a future, which the connection's own task
//! polls. So no request spawns a task. Further families of requests have tables of their own, named in [`TABLES`].

use std::rc::Rc;

use braid_wire_kafka::messages::{Message, api_versions};
use braid_wire_kafka::{DecodeError, Input, error_code, header, keys};
use bytes::Bytes;

use crate::admin;
use crate::connection::Connection;
use crate::reactor::Reactor;
use crate::reply::{Head, Outcome, Reply};
use crate::shared::Shared;
use crate::{fetch, groups, metadata, offsets, produce, producers};

/// A request as its handler sees it.
pub(crate) struct Call<'a> {
    pub(crate) reactor: &'a Rc<Reactor>,
    pub(crate) connection: &'a Rc<Connection>,
    /// What the answer repeats.
    pub(crate) head: Head,
    /// What the client calls itself.
    pub(crate) client_id: Option<&'a str>,
    /// The request behind its header.
    pub(crate) body: &'a [u8],
    /// The whole request, of which `body` is a part: for what must be kept without a copy.
    pub(crate) frame: &'a Bytes,
}

impl<'a> Call<'a> {
    pub(crate) fn shared(&self) -> &'a Shared {
        &self.reactor.shared
    }

    /// The request's content. What follows it is passed over, as Kafka does: librdkafka leaves bytes there.
    ///
    /// # Errors
    /// When it is malformed: hand that on, and the connection is closed.
    pub(crate) fn decode<M: Message<'a>>(&self) -> Result<M, DecodeError> {
        M::decode(self.head.version, &mut Input::new(self.body))
    }

    /// Begins the whole request anew once the log takes something again. False when it has waited long enough: refuse it.
    pub(crate) fn try_again(&self) -> bool {
        let frame = self.frame.clone();
        let may_wait = self.connection.may_hold(self.reactor, frame.len());
        if may_wait {
            let bytes = frame.len();
            let again = move |reactor: &Rc<Reactor>, connection: &Rc<Connection>| {
                handle(reactor, connection, &frame).1
            };
            self.reactor.hold(self.connection, bytes, Box::new(again));
        }
        may_wait
    }

    /// The answer with this content.
    pub(crate) fn reply<'m>(&self, message: &impl Message<'m>) -> Reply {
        self.head.message(message)
    }
}

/// Handles one request.
///
/// # Errors
/// When it is malformed: the connection is closed, as Kafka does.
pub(crate) type Handler = fn(&Call<'_>) -> Result<Outcome, DecodeError>;

/// An API that is served.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    pub(crate) key: i16,
    /// The lowest version that is served.
    pub(crate) min: i16,
    /// The highest.
    pub(crate) max: i16,
    pub(crate) handler: Handler,
}

/// An entry of a table of handlers.
pub(crate) const fn api(key: i16, min: i16, max: i16, handler: Handler) -> Api {
    Api { key, min, max, handler }
}

/// The data plane and what every client begins with; the most frequent first.
const HANDLERS: &[Api] = &[
    api(keys::PRODUCE, 3, 13, produce::handle),
    api(keys::FETCH, 4, 18, fetch::handle),
    api(keys::LIST_OFFSETS, 1, 11, offsets::list),
    api(keys::METADATA, 0, 13, metadata::handle),
    api(keys::API_VERSIONS, 0, API_VERSIONS_MAX, api_versions),
    api(keys::INIT_PRODUCER_ID, 0, 5, producers::init),
    api(keys::OFFSET_FOR_LEADER_EPOCH, 2, 4, offsets::for_leader_epoch),
    api(keys::DELETE_RECORDS, 0, 2, offsets::delete_records),
    api(keys::DESCRIBE_PRODUCERS, 0, 0, producers::describe),
];

/// All that is served.
const TABLES: &[&[Api]] = &[HANDLERS, groups::HANDLERS, admin::HANDLERS];

/// The highest version of the request that all clients send first.
const API_VERSIONS_MAX: i16 = 4;

fn find(key: i16) -> Option<&'static Api> {
    TABLES.iter().copied().flatten().find(|api| api.key == key)
}

/// Handles one request. True for a Produce, whose answer may be waited for while the next one is begun.
pub(crate) fn handle(reactor: &Rc<Reactor>, connection: &Rc<Connection>, frame: &Bytes) -> (bool, Outcome) {
    let (head, body_at) = match header::decode(frame) {
        Ok(decoded) => decoded,
        Err(error) => return (false, Outcome::Close(format!("a request's header: {error}").into())),
    };
    let (key, version) = (head.api_key, head.api_version);
    let piped = key == keys::PRODUCE;
    let call = Call {
        reactor,
        connection,
        head: Head { key, version, correlation_id: head.correlation_id },
        client_id: head.client_id,
        body: &frame[body_at..],
        frame,
    };
    let outcome = match find(key) {
        Some(api) if (api.min..=api.max).contains(&version) => (api.handler)(&call)
            .unwrap_or_else(|error| Outcome::Close(format!("{} {version}: {error}", name(key)).into())),
        // The one request whose answer every client can read.
        Some(_) if key == keys::API_VERSIONS => unknown_version(&call).into(),
        Some(api) => Outcome::Close(
            format!("{} {version} is asked for, {} to {} are served", name(key), api.min, api.max).into(),
        ),
        None => Outcome::Close(format!("{} {version} is not served", name(key)).into()),
    };
    (piped, outcome)
}

/// Kafka's name of a key.
fn name(key: i16) -> &'static str {
    keys::find(key).map_or("an unknown key", |api| api.name)
}

/// The range of versions that clients are told. Old librdkafka decides from Produce versions below those that anybody sends whether
/// it may compress, so they are named although they are not served.
fn advertised(api: &Api) -> api_versions::ResponseApiKey {
    let min = if api.key == keys::PRODUCE { 0 } else { api.min };
    api_versions::ResponseApiKey { api_key: api.key, min_version: min, max_version: api.max }
}

/// ApiVersions: what is served.
fn api_versions(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: api_versions::Request<'_> = call.decode()?;
    if call.head.version >= 3
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        let refused =
            api_versions::Response { error_code: error_code::INVALID_REQUEST, ..Default::default() };
        return Ok(call.reply(&refused).into());
    }
    let mut api_keys: Vec<_> = TABLES.iter().copied().flatten().map(advertised).collect();
    api_keys.sort_unstable_by_key(|api| api.api_key);
    Ok(call.reply(&api_versions::Response { api_keys, ..Default::default() }).into())
}

/// UNSUPPORTED_VERSION in the layout of version 0, with the range from which the client picks (KIP-511).
fn unknown_version(call: &Call<'_>) -> Reply {
    let api_keys = find(keys::API_VERSIONS).map(advertised).into_iter().collect();
    let response = api_versions::Response {
        error_code: error_code::UNSUPPORTED_VERSION,
        api_keys,
        ..Default::default()
    };
    Head { version: 0, ..call.head }.reply(|version, out| response.encode(version, out))
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_kafkas() {
        for (name, expected) in [
            ("librdkafka", true),
            ("apache-kafka-java", true),
            ("4.3.1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(is_software_name(name), expected, "{name}");
        }
    }

    #[test]
    fn every_key_is_served_once_and_in_versions_that_the_protocol_has() {
        let mut served: Vec<_> = TABLES.iter().copied().flatten().collect();
        served.sort_unstable_by_key(|api| api.key);
        for pair in served.windows(2) {
            assert_ne!(pair[0].key, pair[1].key, "{}", name(pair[0].key));
        }
        for api in served {
            let known = keys::find(api.key).unwrap();
            assert!(known.has(api.min) && known.has(api.max) && api.min <= api.max, "{}", known.name);
            assert_eq!(api.min, known.min, "clients rely on old versions of {}", known.name);
        }
    }
}
