//! FindCoordinator (10), ListGroups (16), DescribeGroups (15) and DeleteGroups (42).

use std::borrow::Cow;
use std::collections::HashSet;

use braid_broker::{GroupListing, GroupOverview, GroupState, MemberOverview};
use braid_wire_kafka::messages::{delete_groups, describe_groups, find_coordinator, list_groups};
use braid_wire_kafka::{DecodeError, error_code};

use super::code;
use crate::dispatch::Call;
use crate::metadata::OPERATIONS_UNKNOWN;
use crate::reply::Outcome;
use crate::shared::NODE_ID;

/// What FindCoordinator calls a group.
const KIND_GROUP: i8 = 0;
/// The version of FindCoordinator from which it may be about several keys.
const MANY_KEYS: i16 = 4;
/// The version of DescribeGroups from which a group that does not exist is an error.
const NO_SUCH_GROUP: i16 = 6;
/// The type of all groups that there are.
const CLASSIC: &str = "classic";
/// What may be done with a group, as Kafka's bits: all that Kafka knows, since there are no users yet.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// Every group's coordinator is this node. There are no coordinators of transactions or of share groups: they are refused with an
/// error after which clients do not ask again.
pub(crate) fn find_coordinator(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: find_coordinator::Request<'_> = call.decode()?;
    let (host, port) = call.shared().advertised(call.connection);
    let is_served = request.key_type == KIND_GROUP;
    let refusal = || "this broker has coordinators of consumer groups only".into();
    let error_code = if is_served { error_code::NONE } else { error_code::INVALID_REQUEST };
    let (node_id, host, port) =
        if is_served { (NODE_ID, host, port.into()) } else { (-1, String::new(), -1) };
    let error_message: Option<Cow<'static, str>> = (!is_served).then(refusal);
    if call.head.version < MANY_KEYS {
        let host = host.into();
        let response = find_coordinator::Response {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..Default::default()
        };
        return Ok(call.reply(&response).into());
    }
    let coordinator = |key: &Cow<'_, str>| find_coordinator::ResponseCoordinator {
        key: key.to_string().into(),
        node_id,
        host: host.clone().into(),
        port,
        error_code,
        error_message: error_message.clone(),
    };
    let coordinators = request.coordinator_keys.iter().map(coordinator).collect();
    Ok(call.reply(&find_coordinator::Response { coordinators, ..Default::default() }).into())
}

/// Kafka's name of a state. A group whose members RocketMQ's heartbeats announce is stable as long as they are there.
fn state_name(state: GroupState, has_other_members: bool) -> &'static str {
    match state {
        GroupState::Empty if has_other_members => "Stable",
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
    }
}

/// Groups of both protocols, as far as the filters let them pass.
pub(crate) fn list(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: list_groups::Request<'_> = call.decode()?;
    let passes = |filter: &[Cow<'_, str>], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let listed = |group: GroupListing| {
        let state = state_name(group.state, group.has_other_members);
        let is_wanted = passes(&request.states_filter, state) && passes(&request.types_filter, CLASSIC);
        is_wanted.then(|| list_groups::ResponseGroup {
            group_id: group.name.into(),
            protocol_type: group.protocol_type.into(),
            group_state: state.into(),
            group_type: CLASSIC.into(),
        })
    };
    let groups = call.shared().broker.classic_groups().into_iter().filter_map(listed).collect();
    Ok(call.reply(&list_groups::Response { groups, ..Default::default() }).into())
}

/// Groups in full.
pub(crate) fn describe(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: describe_groups::Request<'_> = call.decode()?;
    let authorized_operations =
        if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_UNKNOWN };
    let describe = |name: &Cow<'_, str>| match call.shared().broker.classic_group(name) {
        Some(overview) => {
            describe_groups::ResponseGroup { authorized_operations, ..described(name, overview) }
        }
        None => missing(call.head.version, name, authorized_operations),
    };
    let groups = request.groups.iter().map(describe).collect();
    Ok(call.reply(&describe_groups::Response { groups, ..Default::default() }).into())
}

fn described(name: &str, overview: GroupOverview) -> describe_groups::ResponseGroup<'static> {
    let member = |member: MemberOverview| describe_groups::ResponseMember {
        member_id: member.id.into(),
        group_instance_id: member.instance_id.map(Cow::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata.to_vec().into(),
        member_assignment: member.assignment.to_vec().into(),
    };
    describe_groups::ResponseGroup {
        group_id: name.to_owned().into(),
        group_state: state_name(overview.state, overview.has_other_members).into(),
        protocol_type: overview.protocol_type.into(),
        protocol_data: overview.protocol.into(),
        members: overview.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn missing(version: i16, name: &str, operations: i32) -> describe_groups::ResponseGroup<'static> {
    let is_error = version >= NO_SUCH_GROUP;
    describe_groups::ResponseGroup {
        error_code: if is_error { error_code::GROUP_ID_NOT_FOUND } else { error_code::NONE },
        error_message: is_error.then(|| format!("Group {name} not found.").into()),
        group_id: name.to_owned().into(),
        group_state: state_name(GroupState::Dead, false).into(),
        authorized_operations: if is_error { OPERATIONS_UNKNOWN } else { operations },
        ..Default::default()
    }
}

/// Deletes groups that have no members, each with its own result; answered when all that is deleted is durably so.
pub(crate) fn delete(call: &Call<'_>) -> Result<Outcome, DecodeError> {
    let request: delete_groups::Request<'_> = call.decode()?;
    let broker = &call.shared().broker;
    let mut seen = HashSet::new();
    let mut last = None;
    let mut results = Vec::new();
    for name in &request.groups_names {
        if !seen.insert(name) {
            continue;
        }
        let error_code = match broker.delete_classic_group(name) {
            Ok(promise) => {
                last = Some(promise);
                error_code::NONE
            }
            Err(refusal) => code(&refusal),
        };
        results.push(delete_groups::ResponseResult { group_id: name.as_ref().into(), error_code });
    }
    let reply = call.reply(&delete_groups::Response { results, ..Default::default() });
    Ok(match last {
        Some(promise) => {
            call.reactor.appended();
            Outcome::Promised(promise.map(|()| reply))
        }
        None => reply.into(),
    })
}
