//! CONSUMER_SEND_MSG_BACK (36): a consumer hands a message back, to be tried again later or to be a dead letter.

use std::sync::Arc;

use braid_broker::SendBack;
use braid_store::Position;
use braid_wire_rocketmq::header;

use crate::clients::make_group;
use crate::dispatch::Call;
use crate::error;
use crate::inside;
use crate::reply::{Outcome, Reply};

/// Clients from V3_4_9 on say how often a message is to be tried.
const VERSION_SAYS_RETRY_MAX: i32 = 121;

/// See the module. The message is looked up in the log, which may wait for the disk.
pub(crate) fn send_back(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::ConsumerSendMessageBack::from_ext_fields(&call.command.ext_fields)?;
    let Ok(position) = u64::try_from(header.offset) else {
        return Err(Reply::system_error(format!("look message by offset failed, {}", header.offset)));
    };
    make_group(call.reactor, &header.group)?;
    let retry_max = header.max_reconsume_times.filter(|_| call.command.version >= VERSION_SAYS_RETRY_MAX);
    let store_host = call.shared().store_host(call.connection);
    let (broker, crossing) = (Arc::clone(&call.shared().broker), Arc::clone(&call.shared().crossing));
    let group = header.group.clone();
    let sent = call.reactor.ask_disk(move || {
        let position = Position(position);
        let named = broker.store().record_named(position)?.filter(|named| inside::is_foreign(&named.record));
        let source = match named {
            None => None,
            Some(named) => {
                let missing = || braid_broker::Error::NoRecord(position.0);
                Some(inside::named(&crossing, &broker, named).ok_or_else(missing)?)
            }
        };
        broker.send_back(&SendBack {
            group: &group,
            position,
            source: source.as_deref(),
            delay_level: header.delay_level,
            retry_max,
            store_host,
        })
    });
    let (reactor, group) = (std::rc::Rc::clone(call.reactor), header.group);
    Ok(Outcome::wait(async move {
        let sent = sent.await?.map_err(|error| match error {
            braid_broker::Error::NoRecord(position) => {
                Reply::system_error(format!("look message by offset failed, {position}"))
            }
            braid_broker::Error::NoGroup(_) => error::no_group(&group),
            other => other.into(),
        })?;
        match sent {
            (_, Some(promise)) => {
                reactor.appended();
                Ok(Outcome::Promised(promise.map(|()| Reply::ok())))
            }
            (_, None) => Ok(Reply::ok().into()),
        }
    }))
}
