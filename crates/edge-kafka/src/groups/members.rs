//! JoinGroup (11), SyncGroup (14), Heartbeat (12) and LeaveGroup (13).
//!
//! A join or sync that has to wait parks in the broker, and its connection's task waits for the answer. When the connection is
//! closed the task ends, and takes the parked call back with it: a member that is gone keeps nobody waiting.

use std::borrow::Cow;
use std::rc::Rc;

use braid_broker::{
    Answer, GroupError, JoinRefusal, JoinRequest, Joined, Leaving, ParkedCall, SyncRequest, Synced,
};
use braid_store::Promise;
use braid_wire_kafka::messages::{heartbeat, join_group, leave_group, sync_group};
use braid_wire_kafka::{DecodeError, error_code};
use tokio::sync::oneshot;

use crate::dispatch::Call;
use crate::error::group_code;
use crate::reactor::Reactor;
use crate::reply::{Head, Outcome};

/// The version of JoinGroup from which the others' patience is told apart from the session's.
const REBALANCE_TIMEOUT: i16 = 1;
/// The version of JoinGroup from which a new member is given its id before it is let in.
const ID_FIRST: i16 = 4;
/// The version of JoinGroup from which the answer may be without a protocol.
const NULL_PROTOCOL: i16 = 7;
/// The version of JoinGroup from which a leader may be told that the assignment stands.
const SKIP_ASSIGNMENT: i16 = 9;
/// The version of SyncGroup from which a member says what it believes the group's protocol to be.
const SYNC_PROTOCOL: i16 = 5;
/// The version of LeaveGroup from which several members may leave at once.
const LEAVE_MANY: i16 = 3;

/// A call that may be parked: taken back when this is dropped.
struct Waiting {
    reactor: Rc<Reactor>,
    call: Option<ParkedCall>,
}

impl Waiting {
    /// The answer is there: nothing is to be taken back.
    fn is_over(&mut self) {
        self.call = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.reactor.shared.broker.group_call_vanished(&call);
            // Others may go on without it, which is kept.
            self.reactor.appended();
        }
    }
}

/// Asks the broker and answers: at once when it has answered, else when it does. `gone` is the answer when nobody ever will.
fn ask<T: Send + 'static>(
    call: &Call<'_>,
    ask: impl FnOnce(Answer<T>) -> Option<ParkedCall>,
    answer: impl FnOnce(T) -> Outcome + 'static,
    gone: T,
) -> Outcome {
    let (give, mut given) = oneshot::channel();
    // Whoever does not wait any more needs no answer.
    let parked = ask(Box::new(move |result| drop(give.send(result))));
    call.reactor.appended();
    match given.try_recv() {
        Ok(result) => return answer(result),
        Err(oneshot::error::TryRecvError::Closed) => return answer(gone),
        Err(oneshot::error::TryRecvError::Empty) => {}
    }
    let mut waiting = Waiting { reactor: Rc::clone(call.reactor), call: parked };
    Outcome::wait(async move {
        let result = given.await.unwrap_or(gone);
        waiting.is_over();
        answer(result)
    })
}

fn instance<'a>(id: Option<&'a Cow<'_, str>>) -> Option<&'a str> {
    id.map(|id| &**id)
}

/// See the module.
pub(crate) fn join(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: join_group::Request<'_> = call.decode()?;
    let version = call.head.version;
    let protocols: Vec<(&str, &[u8])> =
        request.protocols.iter().map(|protocol| (&*protocol.name, &*protocol.metadata)).collect();
    let client_host = format!("/{}", call.connection.remote.ip());
    let wants = JoinRequest {
        group: &request.group_id,
        member_id: &request.member_id,
        instance_id: instance(request.group_instance_id.as_ref()),
        client_id: call.client_id.unwrap_or_default(),
        client_host: &client_host,
        session_ms: request.session_timeout_ms,
        rebalance_ms: match version {
            ..REBALANCE_TIMEOUT => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: &request.protocol_type,
        protocols: &protocols,
        id_first: version >= ID_FIRST,
        may_skip_assignment: version >= SKIP_ASSIGNMENT,
    };
    let gone = JoinRefusal { error: GroupError::NotAvailable, member_id: request.member_id.to_string() };
    let broker = &call.shared().broker;
    let head = call.head;
    Ok(ask(call, |answer| broker.join_group(&wants, answer), move |result| joined(head, result), Err(gone)))
}

fn joined(head: Head, result: Result<Joined, JoinRefusal>) -> Outcome {
    let response = match result {
        Ok(joined) => {
            let member = |member: braid_broker::JoinedMember| join_group::ResponseMember {
                member_id: member.id.into(),
                group_instance_id: member.instance_id.map(Cow::from),
                metadata: member.metadata.to_vec().into(),
            };
            join_group::Response {
                generation_id: joined.generation,
                protocol_type: Some(joined.protocol_type.into()),
                protocol_name: Some(joined.protocol.into()),
                leader: joined.leader.into(),
                skip_assignment: joined.skip_assignment,
                member_id: joined.member_id.into(),
                members: joined.members.into_iter().map(member).collect(),
                ..Default::default()
            }
        }
        Err(refusal) => join_group::Response {
            error_code: group_code(refusal.error),
            generation_id: -1,
            protocol_name: (head.version < NULL_PROTOCOL).then(Cow::default),
            member_id: refusal.member_id.into(),
            ..Default::default()
        },
    };
    head.message(&response).into()
}

/// See the module.
pub(crate) fn sync(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: sync_group::Request<'_> = call.decode()?;
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.head.version >= SYNC_PROTOCOL && !named {
        let error_code = error_code::INCONSISTENT_GROUP_PROTOCOL;
        return Ok(call.reply(&sync_group::Response { error_code, ..Default::default() }).into());
    }
    let assignments: Vec<(&str, &[u8])> =
        request.assignments.iter().map(|share| (&*share.member_id, &*share.assignment)).collect();
    let wants = SyncRequest {
        group: &request.group_id,
        member_id: &request.member_id,
        instance_id: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: instance(request.protocol_type.as_ref()),
        protocol: instance(request.protocol_name.as_ref()),
        assignments: &assignments,
    };
    let broker = &call.shared().broker;
    let head = call.head;
    let gone = Err(GroupError::NotAvailable);
    Ok(ask(call, |answer| broker.sync_group(&wants, answer), move |result| synced(head, result), gone))
}

fn synced(head: Head, result: Result<Promise<Synced>, GroupError>) -> Outcome {
    match result {
        Ok(promise) => Outcome::Promised(promise.map(|synced| {
            head.message(&sync_group::Response {
                protocol_type: Some(synced.protocol_type.into()),
                protocol_name: Some(synced.protocol.into()),
                assignment: synced.assignment.to_vec().into(),
                ..Default::default()
            })
        })),
        Err(error) => {
            let response = sync_group::Response { error_code: group_code(error), ..Default::default() };
            head.message(&response).into()
        }
    }
}

/// See the module.
pub(crate) fn heartbeat(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: heartbeat::Request<'_> = call.decode()?;
    let result = call.shared().broker.heartbeat_group(
        &request.group_id,
        &request.member_id,
        instance(request.group_instance_id.as_ref()),
        request.generation_id,
    );
    let error_code = result.map_or_else(group_code, |()| error_code::NONE);
    Ok(call.reply(&heartbeat::Response { error_code, ..Default::default() }).into())
}

/// See the module.
pub(crate) fn leave(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: leave_group::Request<'_> = call.decode()?;
    let is_one = call.head.version < LEAVE_MANY;
    let leaving: Vec<Leaving<'_>> = match is_one {
        true => vec![Leaving { member_id: &request.member_id, instance_id: None }],
        false => request
            .members
            .iter()
            .map(|member| Leaving {
                member_id: &member.member_id,
                instance_id: instance(member.group_instance_id.as_ref()),
            })
            .collect(),
    };
    let result = call.shared().broker.leave_group(&request.group_id, &leaving);
    call.reactor.appended();
    let code = |result: &Result<(), GroupError>| result.map_or_else(group_code, |()| error_code::NONE);
    let response = match result {
        Err(error) => leave_group::Response { error_code: group_code(error), ..Default::default() },
        Ok(results) if is_one => leave_group::Response {
            error_code: results.first().map_or(error_code::NONE, code),
            ..Default::default()
        },
        Ok(results) => {
            let members = leaving.iter().zip(&results).map(|(leaving, result)| leave_group::ResponseMember {
                member_id: leaving.member_id.into(),
                group_instance_id: leaving.instance_id.map(Cow::from),
                error_code: code(result),
            });
            leave_group::Response { members: members.collect(), ..Default::default() }
        }
    };
    Ok(call.reply(&response).into())
}
