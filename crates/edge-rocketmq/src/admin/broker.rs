//! The broker itself as administrators see it (26, 28).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use braid_broker::Rates;
use braid_store::FlushMode;
use braid_wire_rocketmq::body::{Body, KvTable};
use braid_wire_rocketmq::command;
use braid_wire_rocketmq::header;

use super::data_version;
use crate::dispatch::Call;
use crate::reply::{Outcome, Reply};

/// What tools show as our version: the RocketMQ version that [`command::VERSION`] stands for.
const VERSION_TEXT: &str = "V5_4_0";

fn three(rates: Rates) -> String {
    format!("{:.2} {:.2} {:.2}", rates.last_10s, rates.last_60s, rates.last_600s)
}

/// GET_BROKER_RUNTIME_INFO (28). A key that Apache has and that says nothing here is left out, unless tools read it.
pub(crate) fn runtime(call: &Call<'_>) -> Result<Outcome, Reply> {
    let reactor = std::rc::Rc::clone(call.reactor);
    let store = call.shared().store.clone();
    let asked = call.reactor.ask_disk(move || (store.oldest_store_time(), store.disk_ratio()));
    Ok(Outcome::wait(async move {
        let (oldest, ratio) = asked.await?;
        Ok(Reply::body(KvTable { table: table(&reactor.shared, oldest, ratio) }.encode()).into())
    }))
}

fn table(shared: &crate::shared::Shared, oldest: Option<i64>, ratio: f64) -> BTreeMap<String, String> {
    let (broker, store) = (&shared.broker, &shared.store);
    let (first, end) = store.log_range();
    let (watermarks, statistics) = (store.watermarks(), broker.statistics());
    let (stored, fetched) = (statistics.stored(), statistics.fetched());
    let totals = stored.totals();
    let behind = |position: u64| end.0.saturating_sub(position).to_string();
    let up_ms = shared.clock.wall_ms().saturating_sub(shared.started_ms).max(0);
    let average = totals.bytes as f64 / totals.messages.max(1) as f64;
    let mut table: BTreeMap<String, String> = [
        ("bootTimestamp", shared.started_ms.to_string()),
        ("brokerActive", "true".into()),
        ("brokerVersion", command::VERSION.to_string()),
        ("brokerVersionDesc", VERSION_TEXT.into()),
        ("commitLogDiskRatio", ratio.to_string()),
        ("commitLogMaxOffset", end.0.to_string()),
        ("commitLogMinOffset", first.0.to_string()),
        ("consumeQueueDiskRatio", ratio.to_string()),
        ("dispatchBehindBytes", behind(watermarks.dispatched().0)),
        ("earliestMessageTimeStamp", oldest.unwrap_or(-1).to_string()),
        ("getFoundTps", three(fetched.rates())),
        ("getMissTps", three(Rates::default())),
        ("getTotalTps", three(fetched.rates())),
        ("getTransferredTps", three(fetched.rates())),
        ("msgGetTotalTodayNow", fetched.totals().messages.to_string()),
        ("msgPutTotalTodayNow", totals.messages.to_string()),
        ("pageCacheLockTimeMills", "0".into()),
        ("pullThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("pullThreadPoolQueueSize", broker.waiters().to_string()),
        ("putMessageAverageSize", average.to_string()),
        ("putMessageSizeTotal", totals.bytes.to_string()),
        ("putMessageTimesTotal", totals.messages.to_string()),
        ("putTps", three(stored.rates())),
        ("queryThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("remainHowManyDataToFlush", format!("{} B", behind(watermarks.flushed().0))),
        ("runtime", up_time(up_ms)),
        ("sendThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("startAcceptSendRequestTimeStamp", "0".into()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    // Tools subtract these from the totals: what was counted before this start is not known.
    for key in [
        "msgGetTotalYesterdayMorning",
        "msgGetTotalTodayMorning",
        "msgPutTotalYesterdayMorning",
        "msgPutTotalTodayMorning",
    ] {
        table.insert(key.to_owned(), "0".to_owned());
    }
    let delay_topic = broker.topic(&broker.policy().delay_topic);
    for (level, next) in broker.delay_progress() {
        let offsets = delay_topic.as_ref().and_then(|topic| store.offsets(topic.queue(level - 1)));
        let max = offsets.unwrap_or_default().max;
        table.insert(format!("scheduleMessageOffset_{level}"), format!("{next},{max}"));
    }
    table
}

/// Apache's form of an up time.
fn up_time(up_ms: i64) -> String {
    let seconds = up_ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

/// GET_BROKER_CONFIG (26): what is in force, by Apache's names.
pub(crate) fn config(call: &Call<'_>) -> Result<Outcome, Reply> {
    let shared = call.shared();
    let options = &shared.options;
    let flush = match shared.store.flush_mode() {
        FlushMode::Sync => "SYNC_FLUSH",
        FlushMode::Async => "ASYNC_FLUSH",
    };
    let advertised = shared.advertised(call.connection);
    let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
    let mut entries: BTreeMap<&str, String> = [
        ("autoCreateSubscriptionGroup", shared.broker.options().auto_create_groups.to_string()),
        ("autoCreateTopicEnable", options.auto_create_topic.to_string()),
        ("brokerClusterName", options.cluster_name.clone()),
        ("brokerIP1", host.to_owned()),
        ("brokerId", options.broker_id.to_string()),
        ("brokerName", options.broker_name.clone()),
        ("brokerPermission", "6".into()),
        ("brokerRole", "ASYNC_MASTER".into()),
        ("defaultTopicQueueNums", options.default_topic_queue_nums.to_string()),
        ("flushDiskType", flush.into()),
        ("listenPort", shared.addresses.main.port().to_string()),
        ("maxMessageSize", options.message_bytes_max.to_string()),
        ("messageDelayLevel", delay_levels(&shared.broker)),
        ("regionId", options.region.clone()),
        ("storePathRootDir", options.data_dir.display().to_string()),
        ("traceOn", options.trace_on.to_string()),
    ]
    .into();
    entries.extend(options.shown_config.iter().map(|(key, value)| (key.as_str(), value.clone())));
    let mut text = String::new();
    for (key, value) in entries {
        let _ = writeln!(text, "{key}={value}");
    }
    let version = data_version(shared.broker.topics_version()).encode();
    let version = String::from_utf8_lossy(&version).into_owned();
    let fields = header::GetBrokerConfigResponse { version }.to_ext_fields();
    Ok(Reply::body(text).with_fields(fields).into())
}

/// The delay table as it is configured: `1s 5s 2m`.
fn delay_levels(broker: &braid_broker::Broker) -> String {
    let table = broker.delay_table();
    let levels = (1..=table.levels()).map(|level| duration(table.milliseconds(level)));
    levels.collect::<Vec<_>>().join(" ")
}

/// A time in the largest unit that divides it.
fn duration(milliseconds: u64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if milliseconds > 0 && milliseconds.is_multiple_of(unit) {
            return format!("{}{name}", milliseconds / unit);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_apache_writes_them() {
        assert_eq!(up_time(93_784_500), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
        for (milliseconds, text) in
            [(1_000, "1s"), (90_000, "90s"), (7_200_000, "2h"), (86_400_000, "1d"), (250, "250ms")]
        {
            assert_eq!(duration(milliseconds), text);
        }
    }
}
