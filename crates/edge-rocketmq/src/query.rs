//! Looking messages up: by key (12) and by position (33).

use braid_record::RecordView;
use braid_store::Position;
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header::{self, QueryMessageResponse};
use bytes::{Bytes, BytesMut};

use crate::dispatch::Call;
use crate::error;
use crate::reply::{Outcome, Reply};

/// The most messages of one answer: Apache's `maxMsgsNumBatch`.
const RECORDS_MAX: usize = 64;
/// The most bytes of one answer.
const BYTES_MAX: usize = 8 << 20;

/// QUERY_MESSAGE (12), by KEYS or UNIQ_KEY; newest first.
pub(crate) fn by_key(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::QueryMessage::from_ext_fields(&call.command.ext_fields)?;
    let shared = call.shared();
    let topic = shared.broker.topic(&header.topic).ok_or_else(|| error::no_topic(&header.topic))?;
    let unique = header.unique_key_query == Some(true);
    // As Apache: a look-up by unique key takes as many as there may be, whatever its number says.
    let records_max =
        if unique { RECORDS_MAX } else { usize::try_from(header.max_num).unwrap_or(0).clamp(1, RECORDS_MAX) };
    let store = shared.store.clone();
    let found = call.reactor.ask_disk(move || {
        let (from, to) = (header.begin_timestamp, header.end_timestamp);
        store.query_key(topic.number, &header.key, from, to, records_max)
    });
    Ok(Outcome::wait(async move {
        let records = found.await?.map_err(braid_broker::Error::from)?;
        let newest = records.first().and_then(|record| RecordView::parse(record).ok());
        let fields = QueryMessageResponse {
            index_last_update_timestamp: newest.map_or(0, |record| record.store_timestamp()),
            index_last_update_phyoffset: newest.map_or(0, |record| record.position() as i64),
        }
        .to_ext_fields();
        if records.is_empty() {
            let refusal =
                Reply::error(response::QUERY_NOT_FOUND, "can not find message, maybe time range not correct");
            return Err(refusal.with_fields(fields));
        }
        Ok(Reply::body(joined(&records)).with_fields(fields).into())
    }))
}

/// As many whole records as an answer holds, at least one.
fn joined(records: &[Bytes]) -> Bytes {
    let mut body = BytesMut::new();
    for record in records {
        if !body.is_empty() && body.len() + record.len() > BYTES_MAX {
            break;
        }
        body.extend_from_slice(record);
    }
    body.freeze()
}

/// VIEW_MESSAGE_BY_ID (33): the record whose name is this position.
pub(crate) fn by_position(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::ViewMessage::from_ext_fields(&call.command.ext_fields)?;
    let offset = header.offset;
    let missing = move || Reply::system_error(format!("can not find message by the offset, {offset}"));
    let position = u64::try_from(offset).map_err(|_| missing())?;
    let store = call.shared().store.clone();
    let found = call.reactor.ask_disk(move || store.record_named(Position(position)));
    Ok(Outcome::wait(async move {
        let named = found.await?.map_err(braid_broker::Error::from)?;
        // A message inside a record is not in this protocol's form.
        let named = named.filter(|named| named.index.is_none()).ok_or_else(missing)?;
        Ok(Reply::body(named.record).into())
    }))
}
