//! A classic group as state: what is needed so that its members go on after a restart. The layout is written down in
//! `docs/format/broker-state.md`.

use braid_store::StateChange;

use super::GroupState;
use super::machine::Machine;
use super::member::{Member, NEVER, Protocol};
use crate::codec::{CLASSIC_GROUP, Reader, Writer};
use crate::member::Moment;

const VERSION: u8 = 1;
/// More generations than can have been told between the last one that is durable and a power cut: each takes its members
/// two round trips, and what is written is flushed within half a second.
const PASSED_OVER: i32 = 1_000;
/// Starts after which a number may come again: a start that finds the same generation passes over another number of them.
const STARTS_TOLD_APART: u32 = 16;
/// Most bytes of a member's client id and host that are kept; they are for people.
const LABEL_BYTES_MAX: usize = 255;

/// The group's entry: set, or removed when there is no machine.
pub(super) fn change(name: &str, machine: Option<&Machine>) -> StateChange {
    StateChange { kind: CLASSIC_GROUP, key: name.as_bytes().to_vec(), value: machine.map(encode) }
}

/// What is kept of a group: its generation, and its members unless it is empty.
fn encode(machine: &Machine) -> Vec<u8> {
    let head = Writer::default()
        .u8(VERSION)
        .u32(machine.generation as u32)
        .u64(machine.since_ms as u64)
        .text(&machine.protocol_type)
        .text(&machine.protocol)
        .text(machine.leader.as_deref().unwrap_or_default())
        .u32(machine.members.len() as u32);
    let mut members: Vec<_> = machine.members.iter().collect();
    members.sort_unstable_by_key(|(_, member)| member.order);
    members.into_iter().fold(head, |out, (id, member)| encode_member(out, id, member)).finish()
}

fn encode_member(out: Writer, id: &str, member: &Member) -> Writer {
    let label = |text: &str| text[..text.floor_char_boundary(LABEL_BYTES_MAX)].to_owned();
    let head = out
        .text(id)
        .text(member.instance_id.as_deref().unwrap_or_default())
        .text(&label(&member.client_id))
        .text(&label(&member.client_host))
        .u64(member.session_ms)
        .u64(member.rebalance_ms)
        .blob(&member.assignment)
        .u16(member.protocols.len() as u16);
    member.protocols.iter().fold(head, |out, protocol| out.text(&protocol.name).blob(&protocol.metadata))
}

/// A kept group, its members heard of now. The store's epoch tells the starts apart that nobody ended in order.
pub(super) fn decode(bytes: &[u8], now: Moment, epoch: u32) -> Result<Machine, String> {
    let mut reader = Reader::new(bytes);
    reader.version(VERSION)?;
    let mut machine = Machine::new(now);
    machine.generation = reader.u32()? as i32;
    machine.passed_over = PASSED_OVER * (1 + epoch % STARTS_TOLD_APART) as i32;
    machine.since_ms = reader.u64()? as i64;
    machine.protocol_type = reader.text()?;
    machine.protocol = reader.text()?;
    machine.leader = Some(reader.text()?).filter(|leader| !leader.is_empty());
    for _ in 0..reader.u32()? {
        let (id, member) = decode_member(&mut reader)?;
        if machine.members.contains_key(&id) {
            return Err(format!("the member {id} is there twice"));
        }
        machine.restore(id, member, now);
    }
    reader.end()?;
    if !machine.members.is_empty() {
        machine.state = GroupState::Stable;
    }
    match &machine.leader {
        None if machine.members.is_empty() => Ok(machine),
        Some(leader) if machine.members.contains_key(leader) => Ok(machine),
        leader => Err(format!("its leader {leader:?} is none of its members")),
    }
}

fn decode_member(reader: &mut Reader<'_>) -> Result<(String, Member), String> {
    let id = reader.text()?;
    let instance_id = Some(reader.text()?).filter(|instance| !instance.is_empty());
    let mut member = Member {
        instance_id,
        client_id: reader.text()?,
        client_host: reader.text()?,
        session_ms: reader.u64()?,
        rebalance_ms: reader.u64()?,
        assignment: reader.blob()?.into(),
        protocols: Vec::new(),
        order: 0,
        newcomer: false,
        join: None,
        sync: None,
        due_ms: NEVER,
    };
    for _ in 0..reader.u16()? {
        member.protocols.push(Protocol { name: reader.text()?, metadata: reader.blob()?.into() });
    }
    Ok((id, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment { monotonic_ms: 10, wall_ms: 20 };

    /// A stable group of one static and one dynamic member, by hand.
    fn golden() -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9];
        bytes.extend_from_slice(b"\0\x02pt\0\x01p\0\x02m1\0\0\0\x02");
        bytes.extend_from_slice(b"\0\x02m1\0\x01i\0\x01c\0\x01h");
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 60]);
        bytes.extend_from_slice(b"\0\0\0\x02as\0\x01\0\x01p\0\0\0\x01x");
        bytes.extend_from_slice(b"\0\x02m2\0\0\0\x01c\0\x01h");
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 60]);
        bytes.extend_from_slice(b"\0\0\0\0\0\x01\0\x01p\0\0\0\0");
        bytes
    }

    #[test]
    fn a_group_has_these_bytes_and_comes_back_alive() {
        let machine = decode(&golden(), NOW, 0).unwrap();
        machine.assert_whole();
        assert_eq!((machine.state, machine.generation, machine.since_ms), (GroupState::Stable, 7, 9));
        assert_eq!(machine.members["m1"].instance_id.as_deref(), Some("i"));
        assert_eq!(machine.earliest_ms, 40, "sessions begin anew");
        assert_eq!(encode(&machine), golden());
    }

    #[test]
    fn every_shorter_value_and_every_other_leader_is_refused() {
        let golden = golden();
        for len in 0..golden.len() {
            assert!(decode(&golden[..len], NOW, 0).is_err(), "{len} of {} bytes", golden.len());
        }
        let mut other = golden;
        other[22] = b'9';
        assert!(decode(&other, NOW, 0).err().unwrap().contains("none of its members"));
    }

    #[test]
    fn an_empty_group_keeps_its_generation() {
        let mut machine = Machine::new(NOW);
        machine.generation = 5;
        let back = decode(&encode(&machine), NOW, 0).unwrap();
        assert_eq!((back.state, back.generation, back.since_ms), (GroupState::Empty, 5, 20));
    }
}
