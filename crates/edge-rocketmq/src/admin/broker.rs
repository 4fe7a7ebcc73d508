//! The broker itself as administrators see it (26, 28).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use braid_broker::Rates;
use braid_io::disk::Space;
use braid_store::FlushMode;
use braid_wire_rocketmq::body::{Body, KvTable};
use braid_wire_rocketmq::header;

use super::data_version;
use crate::dispatch::Call;
use crate::options::COLD_JOBS_MAX;
use crate::reactor::Reactor;
use crate::reply::{Outcome, Reply};
use crate::shared::Shared;

/// What tools show as our version: the RocketMQ version whose number our answers carry.
const VERSION_TEXT: &str = "V5_4_0";

fn three(rates: Rates) -> String {
    format!("{:.2} {:.2} {:.2}", rates.last_10s, rates.last_60s, rates.last_600s)
}

/// GET_BROKER_RUNTIME_INFO (28). Where Apache has a pool of threads with a queue, there is none here: what a reactor reads
/// it does, and only questions to the disk may wait for a thread.
pub(crate) fn runtime(call: &Call<'_>) -> Result<Outcome, Reply> {
    let reactor = Rc::clone(call.reactor);
    let shared = Arc::clone(&call.reactor.shared);
    let asked = call.reactor.ask_disk(move || {
        let space = shared.disk.space(&shared.options.data_dir).ok();
        (shared.store.oldest_store_time(), shared.store.disk_ratio(), space)
    });
    Ok(Outcome::wait(async move {
        let (oldest, ratio, space) = asked.await?;
        let mut table = BTreeMap::new();
        log(&reactor.shared, oldest, ratio, space, &mut table);
        rates(&reactor.shared, &mut table);
        waits(&reactor, &mut table);
        delays(&reactor.shared, &mut table);
        Ok(Reply::body(KvTable { table }.encode()).into())
    }))
}

type Table = BTreeMap<String, String>;

fn enter<const N: usize>(table: &mut Table, entries: [(&str, String); N]) {
    table.extend(entries.map(|(key, value)| (key.to_owned(), value)));
}

fn up_ms(shared: &Shared) -> i64 {
    shared.clock.wall_ms().saturating_sub(shared.started_ms).max(0)
}

/// The broker as a whole, and its log on its disk.
fn log(shared: &Shared, oldest: Option<i64>, ratio: f64, space: Option<Space>, table: &mut Table) {
    let (first, end) = shared.store.log_range();
    let watermarks = shared.store.watermarks();
    let behind = |position: u64| end.0.saturating_sub(position).to_string();
    enter(
        table,
        [
            ("bootTimestamp", shared.started_ms.to_string()),
            ("brokerActive", (!shared.stopping.load(Ordering::Relaxed)).to_string()),
            ("brokerVersionDesc", VERSION_TEXT.into()),
            ("commitLogDiskRatio", ratio.to_string()),
            ("commitLogMaxOffset", end.0.to_string()),
            ("commitLogMinOffset", first.0.to_string()),
            ("consumeQueueDiskRatio", ratio.to_string()),
            ("dispatchBehindBytes", behind(watermarks.dispatched().0)),
            ("dispatchMaxBuffer", "0".into()),
            ("earliestMessageTimeStamp", oldest.unwrap_or(-1).to_string()),
            ("remainHowManyDataToFlush", format!("{} B", behind(watermarks.flushed().0))),
            ("runtime", up_time(up_ms(shared))),
            ("startAcceptSendRequestTimeStamp", "0".into()),
        ],
    );
    let commit_log = shared.options.data_dir.join("commitlog");
    table.insert(format!("commitLogDiskRatio_{}", commit_log.display()), ratio.to_string());
    if let Some(space) = space {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let text = format!("Total : {:.1} GiB, Free : {:.1} GiB.", gib(space.total), gib(space.free));
        table.insert("commitLogDirCapacity".to_owned(), text);
    }
}

/// How much is stored and read, and how fast.
fn rates(shared: &Shared, table: &mut Table) {
    let (statistics, metrics) = (shared.broker.statistics(), &shared.metrics);
    let (stored, fetched) = (statistics.stored(), statistics.fetched());
    let (put, got) = (stored.totals(), fetched.totals());
    // Reads that found nothing have no window: their rate is since the start, all three times.
    let missed = metrics.reads_missed() as f64 * 1_000.0 / up_ms(shared).max(1) as f64;
    let missed = Rates { last_10s: missed, last_60s: missed, last_600s: missed };
    let both = |a: Rates, b: Rates| Rates {
        last_10s: a.last_10s + b.last_10s,
        last_60s: a.last_60s + b.last_60s,
        last_600s: a.last_600s + b.last_600s,
    };
    enter(
        table,
        [
            ("decodedBatches", shared.crossing.decoded_batches().to_string()),
            ("packedBatches", shared.crossing.packed_batches().to_string()),
            ("getFoundTps", three(fetched.rates())),
            ("getMessageEntireTimeMax", metrics.read_ms_max().to_string()),
            ("getMissTps", three(missed)),
            ("getTotalTps", three(both(fetched.rates(), missed))),
            ("getTransferredTps", three(fetched.rates())),
            ("msgGetTotalTodayNow", got.messages.to_string()),
            ("msgPutTotalTodayNow", put.messages.to_string()),
            ("putLatency99", metrics.send_ms_quantile(0.99).to_string()),
            ("putLatency999", metrics.send_ms_quantile(0.999).to_string()),
            ("putMessageAverageSize", (put.bytes as f64 / put.messages.max(1) as f64).to_string()),
            ("putMessageDistributeTime", metrics.send_distribution()),
            ("putMessageEntireTimeMax", metrics.send_ms_max().to_string()),
            ("putMessageFailedTimes", metrics.sends_failed().to_string()),
            ("putMessageSizeTotal", put.bytes.to_string()),
            ("putMessageTimesTotal", put.messages.to_string()),
            ("putTps", three(stored.rates())),
        ],
    );
    // Tools subtract these from the totals: what was counted before this start is not known.
    for what in ["msgGetTotal", "msgPutTotal"] {
        for day in ["YesterdayMorning", "TodayMorning"] {
            table.insert(format!("{what}{day}"), "0".to_owned());
        }
    }
}

/// What waits for a thread: questions to the disk, of which a query or a pull may be one; a send never is.
fn waits(reactor: &Reactor, table: &mut Table) {
    let jobs = reactor.cold_jobs().to_string();
    for (pool, waiting, capacity) in [
        ("send", "0", 0),
        ("pull", jobs.as_str(), COLD_JOBS_MAX),
        ("litePull", jobs.as_str(), COLD_JOBS_MAX),
        ("query", jobs.as_str(), COLD_JOBS_MAX),
    ] {
        table.insert(format!("{pool}ThreadPoolQueueSize"), waiting.to_owned());
        table.insert(format!("{pool}ThreadPoolQueueCapacity"), capacity.to_string());
        table.insert(format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), "0".to_owned());
    }
    // No append waits for a page: the log is written, not mapped.
    table.insert("pageCacheLockTimeMills".to_owned(), "0".to_owned());
}

/// The progress of each delay level that was ever used.
fn delays(shared: &Shared, table: &mut Table) {
    let delay_topic = shared.broker.topic(&shared.broker.policy().delay_topic);
    for (level, next) in shared.broker.delay_progress() {
        let offsets = delay_topic.as_ref().and_then(|topic| shared.store.offsets(topic.queue(level - 1)));
        let end = offsets.unwrap_or_default().max;
        if end > 0 {
            table.insert(format!("scheduleMessageOffset_{level}"), format!("{next},{end}"));
        }
    }
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
