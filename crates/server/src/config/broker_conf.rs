//! Understands a RocketMQ `broker.conf`, so that whoever has one can start with it.
//!
//! Three fates of a key: it sets one of ours; its loss would weaken safety, security or role, and it refuses to start; or it has no
//! effect here, and a warning names it. A broker.conf never widens a listener: it has no way to say `allow_anonymous`.

use std::path::Path;

use super::keys::{Key, key};
use super::problem::{Place, Problem, did_you_mean};
use super::properties::{self, Property};
use super::toml_file::Entry;

/// What a broker.conf says.
#[derive(Debug, Default)]
pub struct Read {
    /// Our keys that it sets.
    pub entries: Vec<Entry>,
    /// What refuses the start.
    pub problems: Vec<Problem>,
    /// What acts differently here, or not at all.
    pub warnings: Vec<String>,
}

/// What becomes of a key.
enum Fate {
    /// Sets this key of ours to what the function makes of the value.
    Sets(&'static str, fn(&str) -> Result<String, String>),
    /// Refuses to start, for this reason, unless the value asks for nothing that is missing here.
    Refuses(fn(&str) -> bool, &'static str),
    /// Has no effect for a reason worth a sentence of its own, unless the value asks for what happens anyway.
    Differs(fn(&str) -> bool, &'static str),
    /// Tunes a machinery that does not exist here.
    Idle,
}

use Fate::{Differs, Idle, Refuses, Sets};

const NO_USERS: &str = "BraidMQ has no users and no access control yet, so everybody could do everything";
const ONE_NODE: &str = "BraidMQ runs as a single master and neither sends nor receives a replica yet";

/// The keys with a fate that is known. Names and defaults: `BrokerConfig`, `MessageStoreConfig`, `NettyServerConfig`, `AuthConfig`.
static FATES: &[(&str, Fate)] = &[
    // --- what we have too ---
    (
        "listenPort",
        Sets("listen.rocketmq", |text| {
            text.parse::<u16>()
                .map(|port| format!("127.0.0.1:{port}"))
                .map_err(|_| format!("must be a port, not `{text}`"))
        }),
    ),
    ("brokerName", Sets("rocketmq.broker_name", same)),
    ("brokerClusterName", Sets("rocketmq.cluster_name", same)),
    ("brokerIP1", Sets("listen.advertised", same)),
    (
        "flushDiskType",
        Sets("store.flush", |text| match text {
            "SYNC_FLUSH" => Ok("sync".to_owned()),
            "ASYNC_FLUSH" => Ok("async".to_owned()),
            _ => Err(format!("must be SYNC_FLUSH or ASYNC_FLUSH, not `{text}`")),
        }),
    ),
    ("storePathRootDir", Sets("store.dir", same)),
    ("mappedFileSizeCommitLog", Sets("store.file_bytes", same)),
    ("fileReservedTime", Sets("retention.hours", same)),
    ("diskMaxUsedSpaceRatio", Sets("retention.disk_clean_percent", same)),
    ("diskSpaceCleanForciblyRatio", Sets("retention.disk_force_percent", same)),
    ("diskSpaceWarningLevelRatio", Sets("retention.disk_refuse_percent", same)),
    ("messageDelayLevel", Sets("rocketmq.message_delay_level", same)),
    ("autoCreateTopicEnable", Sets("rocketmq.auto_create_topic", truth)),
    ("autoCreateSubscriptionGroup", Sets("rocketmq.auto_create_group", truth)),
    ("defaultTopicQueueNums", Sets("rocketmq.default_topic_queues", same)),
    ("maxMessageSize", Sets("rocketmq.max_message_bytes", same)),
    ("orderMessageEnable", Sets("rocketmq.order_message", truth)),
    ("syncFlushTimeout", Sets("store.flush_timeout_ms", same)),
    ("regionId", Sets("rocketmq.region", same)),
    // --- what must not be lost ---
    ("aclEnable", Refuses(is_false, NO_USERS)),
    ("authenticationEnabled", Refuses(is_false, NO_USERS)),
    ("authorizationEnabled", Refuses(is_false, NO_USERS)),
    ("migrateAuthFromV1Enabled", Refuses(is_false, NO_USERS)),
    (
        "tlsServerMode",
        Refuses(
            |text| text == "disabled",
            "BraidMQ does not speak TLS yet, so clients would talk in the clear",
        ),
    ),
    (
        "tls.server.mode",
        Refuses(
            |text| text == "disabled",
            "BraidMQ does not speak TLS yet, so clients would talk in the clear",
        ),
    ),
    ("tlsEnable", Refuses(is_false, "BraidMQ does not speak TLS yet, so clients would talk in the clear")),
    ("brokerRole", Refuses(|text| text == "ASYNC_MASTER", ONE_NODE)),
    ("brokerId", Refuses(|text| text == "0", ONE_NODE)),
    ("haMasterAddress", Refuses(str::is_empty, ONE_NODE)),
    ("enableControllerMode", Refuses(is_false, ONE_NODE)),
    ("enableDLegerCommitLog", Refuses(is_false, ONE_NODE)),
    ("enableSlaveActingMaster", Refuses(is_false, ONE_NODE)),
    ("duplicationEnable", Refuses(is_false, ONE_NODE)),
    ("allAckInSyncStateSet", Refuses(is_false, ONE_NODE)),
    ("inSyncReplicas", Refuses(at_most_one, ONE_NODE)),
    ("minInSyncReplicas", Refuses(at_most_one, ONE_NODE)),
    ("totalReplicas", Refuses(at_most_one, ONE_NODE)),
    (
        "brokerPermission",
        Refuses(
            |text| text == "6",
            "BraidMQ always serves reads and writes of the whole broker; set the permission per topic",
        ),
    ),
    (
        "storeType",
        Refuses(
            |text| text == "default",
            "BraidMQ keeps its own indexes; a RocksDB store can't be read or written",
        ),
    ),
    (
        "messageStorePlugIn",
        Refuses(
            str::is_empty,
            "BraidMQ has no store plug-ins, so messages would not reach the tier that it names",
        ),
    ),
    (
        "cleanFileForciblyEnable",
        Refuses(
            is_true,
            "BraidMQ deletes unexpired files when the disk runs full; set retention.disk_force_percent to 100 in a TOML file instead",
        ),
    ),
    (
        "bindAddress",
        Refuses(
            is_wildcard_or_loopback,
            "a broker.conf does not choose the address that BraidMQ binds; set listen.rocketmq in a TOML file or with --set",
        ),
    ),
    // --- what differs ---
    (
        "namesrvAddr",
        Differs(
            is_own_name_server,
            "BraidMQ is the name server of its own clients and registers nowhere else: point them at listen.nameserver",
        ),
    ),
    ("deleteWhen", Differs(never, "files go when they expire, not at an hour of the day")),
    ("brokerIP2", Differs(never, "there is no replication, so no address for it")),
    (
        "storePathCommitLog",
        Differs(never, "the log lies in commitlog/ of the data directory (storePathRootDir)"),
    ),
    ("storePathConsumeQueue", Differs(never, "indexes lie in braid/derived/ of the data directory")),
    ("storePathIndex", Differs(never, "indexes lie in braid/derived/ of the data directory")),
    ("flushIntervalCommitLog", Differs(|text| text == "500", "an async log is flushed every 500 ms")),
    (
        "flushCommitLogLeastPages",
        Differs(|text| text == "4", "an async log is flushed when 4 pages are dirty"),
    ),
    (
        "flushCommitLogThoroughInterval",
        Differs(|text| text == "10000", "an async log is flushed after 10 s in any case"),
    ),
    ("enablePropertyFilter", Differs(is_false, "SQL filters are refused")),
    (
        "timerWheelEnable",
        Differs(is_false, "only delay levels are served; other delayed messages are refused"),
    ),
    (
        "traceTopicEnable",
        Differs(is_false, "there is no trace topic of its own; traces go to a topic like any other"),
    ),
    ("rejectTransactionMessage", Differs(is_true, "transactional messages are refused anyway")),
    ("enableMultiDispatch", Differs(is_false, "messages enter one queue each")),
    ("enableLmq", Differs(is_false, "light message queues are not there")),
    ("longPollingEnable", Differs(is_true, "pulls that find nothing always wait")),
    ("clusterTopicEnable", Differs(is_true, "the topic of the cluster's name is always there")),
    ("brokerTopicEnable", Differs(is_true, "the topic of the broker's name is always there")),
    // --- machinery that is not there: threads, pools, pages, statistics ---
    ("rocketmqHome", Idle),
    ("transientStorePoolEnable", Idle),
    ("transientStorePoolSize", Idle),
    ("fastFailIfNoBufferInStorePool", Idle),
    ("warmMapedFileEnable", Idle),
    ("useReentrantLockWhenPutMessage", Idle),
    ("sendMessageThreadPoolNums", Idle),
    ("pullMessageThreadPoolNums", Idle),
    ("queryMessageThreadPoolNums", Idle),
    ("adminBrokerThreadPoolNums", Idle),
    ("clientManageThreadPoolNums", Idle),
    ("consumerManageThreadPoolNums", Idle),
    ("heartbeatThreadPoolNums", Idle),
    ("endTransactionThreadPoolNums", Idle),
    ("sendThreadPoolQueueCapacity", Idle),
    ("pullThreadPoolQueueCapacity", Idle),
    ("waitTimeMillsInSendQueue", Idle),
    ("waitTimeMillsInPullQueue", Idle),
    ("osPageCacheBusyTimeOutMills", Idle),
    ("brokerFastFailureEnable", Idle),
    ("serverWorkerThreads", Idle),
    ("serverSelectorThreads", Idle),
    ("serverCallbackExecutorThreads", Idle),
    ("serverChannelMaxIdleTimeSeconds", Idle),
    ("serverSocketSndBufSize", Idle),
    ("serverSocketRcvBufSize", Idle),
    ("useEpollNativeSelector", Idle),
    ("haListenPort", Idle),
    ("haSendHeartbeatInterval", Idle),
    ("slaveReadEnable", Idle),
    ("offsetCheckInSlave", Idle),
    ("mappedFileSizeConsumeQueue", Idle),
    ("maxHashSlotNum", Idle),
    ("maxIndexNum", Idle),
    ("messageIndexEnable", Idle),
    ("messageIndexSafe", Idle),
    ("flushIntervalConsumeQueue", Idle),
    ("flushConsumeQueueLeastPages", Idle),
    ("flushConsumeQueueThoroughInterval", Idle),
    ("checkTransactionMessageEnable", Idle),
    ("transactionTimeOut", Idle),
    ("transactionCheckMax", Idle),
    ("transactionCheckInterval", Idle),
    ("maxTransferBytesOnMessageInMemory", Idle),
    ("maxTransferCountOnMessageInMemory", Idle),
    ("maxTransferBytesOnMessageInDisk", Idle),
    ("maxTransferCountOnMessageInDisk", Idle),
    ("accessMessageInMemoryMaxRatio", Idle),
    ("destroyMapedFileIntervalForcibly", Idle),
    ("redeleteHangedFileInterval", Idle),
    ("deleteCommitLogFilesInterval", Idle),
    ("cleanResourceInterval", Idle),
    ("fetchNamesrvAddrByAddressServer", Idle),
    ("registerBrokerTimeoutMills", Idle),
    ("traceOn", Idle),
    ("msgTraceTopicName", Idle),
    ("highSpeedMode", Idle),
    ("commercialEnable", Idle),
    ("accountStatsEnable", Idle),
    ("diskFallRecorded", Idle),
    ("metricsExporterType", Idle),
    ("metricsPromExporterPort", Idle),
    ("timerPrecisionMs", Idle),
    ("isEnableBatchPush", Idle),
    ("popPollingSize", Idle),
    ("enablePopLog", Idle),
];

fn same(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Java takes everything but "true" for false; a word that is neither is a mistake that nobody wants to find later.
fn truth(text: &str) -> Result<String, String> {
    if is_true(text) || text.eq_ignore_ascii_case("false") {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("is neither true nor false: `{text}`"))
    }
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

fn is_false(text: &str) -> bool {
    !is_true(text)
}

fn never(_: &str) -> bool {
    false
}

fn at_most_one(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number <= 1)
}

/// Apache's default is the wildcard; we bind loopback for it, and say so in the banner.
fn is_wildcard_or_loopback(text: &str) -> bool {
    matches!(text, "0.0.0.0" | "127.0.0.1" | "localhost" | "::")
}

fn is_own_name_server(text: &str) -> bool {
    matches!(text, "127.0.0.1:9876" | "localhost:9876" | "")
}

/// Whether a file is a broker.conf: its content tells, its name where the content does not.
pub fn looks_like(file: &Path, content: &str) -> bool {
    let lines = || content.lines().map(str::trim_start);
    // No properties file has a line that begins with a bracket, and hardly any TOML file of ours has none.
    if lines().any(|line| line.starts_with('[')) {
        return false;
    }
    let has_apache_key = properties::parse(content).iter().any(|property| fate(&property.key).is_some());
    let extension = file.extension().and_then(|extension| extension.to_str());
    has_apache_key || matches!(extension, Some("conf" | "properties"))
}

fn fate(name: &str) -> Option<&'static Fate> {
    FATES.iter().find(|(known, _)| *known == name).map(|(_, fate)| fate)
}

/// Reads a broker.conf; as in Java, the last value of a key counts.
pub fn read(file: &str, content: &str) -> Read {
    let mut read = Read::default();
    let mut unused = Vec::new();
    let all = properties::parse(content);
    for (at, property) in all.iter().enumerate() {
        if !all[at + 1..].iter().any(|later| later.key == property.key) {
            take(file, content, property, &mut read, &mut unused);
        }
    }
    settle_disk_ratios(&mut read);
    if !unused.is_empty() {
        read.warnings.push(format!("{file}: these keys have no effect here: {}", unused.join(", ")));
    }
    read
}

fn take(file: &str, content: &str, property: &Property, read: &mut Read, unused: &mut Vec<String>) {
    let Property { key: name, value, .. } = property;
    let key_place = || Place::of(file, content, property.key_range.clone());
    match fate(name) {
        Some(Sets(ours, convert)) => {
            let key: &'static Key = key(ours).unwrap_or_else(|| unreachable!("{ours} is no key"));
            let place = Place::of(file, content, property.value_range.clone());
            match convert(value) {
                Ok(text) => read.entries.push(Entry { key, text, place }),
                Err(error) => read.problems.push(Problem::new(format!("`{name}` {error}")).at(place)),
            }
        }
        Some(Refuses(is_harmless, because)) if !is_harmless(value) => {
            let problem = Problem::new(format!("{name} = {value} can't be honoured: {because}"));
            read.problems.push(problem.at(key_place()).help("take the line out if that is acceptable"));
        }
        Some(Differs(is_same, sentence)) if !is_same(value) => {
            read.warnings
                .push(format!("{file}:{}: {name} = {value} has no effect: {sentence}", key_place().line));
        }
        Some(Refuses(..) | Differs(..)) => {}
        Some(Idle) => unused.push(name.clone()),
        None => unused.push(match did_you_mean(name, FATES.iter().map(|(known, _)| *known)) {
            Some(meant) => format!("{name} (did you mean {meant}?)"),
            None => name.clone(),
        }),
    }
}

/// Many a broker.conf has `diskMaxUsedSpaceRatio = 88`, above the ratio from which Apache deletes by force anyway.
fn settle_disk_ratios(read: &mut Read) {
    let names =
        ["retention.disk_clean_percent", "retention.disk_force_percent", "retention.disk_refuse_percent"];
    let percent = |read: &Read, name: &str| {
        let set = read.entries.iter().rfind(|entry| entry.key.name == name).map(|entry| entry.text.as_str());
        set.or_else(|| key(name).map(|key| key.default)).and_then(|text| text.parse::<u32>().ok())
    };
    let [Some(clean), Some(force), Some(_)] = names.map(|name| percent(read, name)) else { return };
    if clean > force {
        let entry = read.entries.iter_mut().rfind(|entry| entry.key.name == names[0]);
        if let Some(entry) = entry {
            entry.text = force.to_string();
            read.warnings.push(format!(
                "{}:{}: diskMaxUsedSpaceRatio = {clean} acts as {force}: from there on files go by force",
                entry.place.file, entry.place.line
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_fates_and_each_target_exists() {
        for (at, (name, fate)) in FATES.iter().enumerate() {
            assert!(!FATES[at + 1..].iter().any(|(other, _)| other == name), "{name}");
            if let Sets(ours, _) = fate {
                assert!(key(ours).is_some(), "{ours}");
            }
        }
    }

    #[test]
    fn a_broker_conf_is_told_from_toml_by_content_then_by_name() {
        let cases = [
            ("broker.conf", "brokerName = a\n", true),
            ("anything", "# c\nflushDiskType=ASYNC_FLUSH\n", true),
            ("broker.properties", "somethingElse = 1\n", true),
            ("braidmq.conf", "[store]\nflush = \"sync\"\n", false),
            ("braidmq.toml", "allow_anonymous = true\n", false),
            ("braidmq.toml", "", false),
        ];
        for (file, content, expected) in cases {
            assert_eq!(looks_like(Path::new(file), content), expected, "{file} {content:?}");
        }
    }

    #[test]
    fn keys_that_we_have_are_taken_over() {
        let content = "brokerClusterName = C1\nbrokerName=broker-a\nbrokerId=0\nlistenPort=20911\nflushDiskType=ASYNC_FLUSH\n\
            storePathRootDir=/var/mq\nfileReservedTime=48\nbrokerIP1=10.1.2.3\nmappedFileSizeCommitLog=1048576\n\
            maxMessageSize=65536\nautoCreateTopicEnable=FALSE\nautoCreateSubscriptionGroup=true\nmessageDelayLevel=1s 2s\n\
            defaultTopicQueueNums=4\norderMessageEnable=true\nbrokerRole=ASYNC_MASTER\n";
        let read = read("broker.conf", content);
        assert!(read.problems.is_empty() && read.warnings.is_empty(), "{read:?}");
        let taken: Vec<_> = read.entries.iter().map(|entry| (entry.key.name, entry.text.as_str())).collect();
        let expected = [
            ("rocketmq.cluster_name", "C1"),
            ("rocketmq.broker_name", "broker-a"),
            ("listen.rocketmq", "127.0.0.1:20911"),
            ("store.flush", "async"),
            ("store.dir", "/var/mq"),
            ("retention.hours", "48"),
            ("listen.advertised", "10.1.2.3"),
            ("store.file_bytes", "1048576"),
            ("rocketmq.max_message_bytes", "65536"),
            ("rocketmq.auto_create_topic", "false"),
            ("rocketmq.auto_create_group", "true"),
            ("rocketmq.message_delay_level", "1s 2s"),
            ("rocketmq.default_topic_queues", "4"),
            ("rocketmq.order_message", "true"),
        ];
        assert_eq!(taken, expected);
    }

    #[test]
    fn what_must_not_be_lost_refuses_and_its_harmless_value_does_not() {
        let cases = [
            ("aclEnable=true", "aclEnable=false"),
            ("authenticationEnabled=True", "authenticationEnabled=false"),
            ("authorizationEnabled=true", "authorizationEnabled=no"),
            ("brokerRole=SLAVE", "brokerRole=ASYNC_MASTER"),
            ("brokerRole=SYNC_MASTER", "brokerRole=ASYNC_MASTER"),
            ("brokerId=1", "brokerId=0"),
            ("enableControllerMode=true", "enableControllerMode=false"),
            ("enableDLegerCommitLog=true", "enableDLegerCommitLog=false"),
            ("tlsServerMode=enforcing", "tlsServerMode=disabled"),
            ("tlsServerMode=permissive", "tlsServerMode=disabled"),
            ("storeType=defaultRocksDB", "storeType=default"),
            ("inSyncReplicas=2", "inSyncReplicas=1"),
            ("cleanFileForciblyEnable=false", "cleanFileForciblyEnable=true"),
            ("bindAddress=10.0.0.1", "bindAddress=0.0.0.0"),
        ];
        for (refused, harmless) in cases {
            let problems = read("broker.conf", &format!("brokerName=a\n{refused}\n")).problems;
            assert_eq!(problems.len(), 1, "{refused}");
            assert_eq!(problems[0].place.as_ref().map(|place| (place.line, place.column)), Some((2, 1)));
            let quiet = read("broker.conf", harmless);
            assert!(quiet.problems.is_empty() && quiet.warnings.is_empty(), "{harmless}: {quiet:?}");
        }
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let content =
            "deleteWhen=04\nnamesrvAddr=10.0.0.1:9876\nsendMessageThreadPoolNums=16\nlistenPrt=1\nxyzzy=1\n";
        let warnings = read("broker.conf", content).warnings;
        let expected = [
            "broker.conf:1: deleteWhen = 04 has no effect: files go when they expire, not at an hour of the day",
            "broker.conf:2: namesrvAddr = 10.0.0.1:9876 has no effect: BraidMQ is the name server of its own clients and registers \
             nowhere else: point them at listen.nameserver",
            "broker.conf: these keys have no effect here: sendMessageThreadPoolNums, listenPrt (did you mean listenPort?), xyzzy",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn the_last_value_counts_and_wrong_ones_have_a_place() {
        let read_twice = read("broker.conf", "brokerName=a\nbrokerName=b\n");
        assert_eq!(read_twice.entries.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["b"]);
        let unclear = read("broker.conf", "autoCreateTopicEnable = maybe\n").problems;
        assert!(unclear[0].message.contains("neither true nor false"), "{unclear:?}");
        let wrong = read("broker.conf", "listenPort = seven\n").problems;
        assert_eq!(
            wrong[0].to_string(),
            "`listenPort` must be a port, not `seven`\n --> broker.conf:1:14\n  |\n1 | listenPort = seven\n  |              ^^^^^"
        );
    }

    #[test]
    fn a_clean_ratio_above_the_force_ratio_acts_as_that() {
        let read = read("broker.conf", "diskMaxUsedSpaceRatio=88\n");
        assert_eq!(read.entries[0].text, "85");
        assert_eq!(read.warnings.len(), 1);
    }
}
