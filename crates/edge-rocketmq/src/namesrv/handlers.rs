//! The name server's requests, over the tables and our own broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use braid_broker::TopicConfig;
use braid_wire_rocketmq::body::{
    Body, BrokerData, ClusterInfo, DataVersion, KvTable, QueueData, RegisterBrokerBody, TopicList,
    TopicRouteData, body_crc32,
};
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::command::ExtFields;
use braid_wire_rocketmq::header;

use super::kv::ORDER_TOPICS;
use super::routes::{PERM_READ_WRITE, PERM_WRITE};
use crate::dispatch::Call;
use crate::error;
use crate::names::{self, OWN_PREFIX};
use crate::reply::{Outcome, Reply};

/// Register bodies come in a wrapper from V3_0_11 on.
const VERSION_REGISTER_BODY: i32 = 37;

/// Permission bits as RocketMQ writes them.
pub(crate) fn perm(config: &TopicConfig) -> i32 {
    4 * i32::from(config.readable) + 2 * i32::from(config.writable) + i32::from(config.inherited)
}

/// Our own broker, as the client on this connection reaches it.
fn own_broker(call: &Call<'_>) -> BrokerData {
    let options = &call.shared().options;
    BrokerData {
        broker_addrs: BTreeMap::from([(options.broker_id, call.shared().advertised(call.connection))]),
        broker_name: options.broker_name.clone(),
        cluster: options.cluster_name.clone(),
        enable_acting_master: false,
        zone_name: None,
    }
}

fn own_queues(call: &Call<'_>, topic: &str) -> Option<QueueData> {
    let shared = call.shared();
    let topic = shared.topic(topic)?;
    let mask = if shared.nameserver.routes().own_write_wiped() { !PERM_WRITE } else { !0 };
    Some(QueueData {
        broker_name: shared.options.broker_name.clone(),
        perm: perm(&topic.config) & mask,
        read_queue_nums: topic.config.read_queues as i32,
        topic_sys_flag: topic.config.sys_flag,
        write_queue_nums: topic.config.write_queues as i32,
    })
}

fn fields<'a>(call: &Call<'a>) -> &'a ExtFields {
    &call.command.ext_fields
}

/// GET_ROUTEINFO_BY_TOPIC (105).
pub(crate) fn route(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::GetRouteInfo::from_ext_fields(fields(call))?;
    let shared = call.shared();
    let mut route = TopicRouteData::default();
    if let Some(queues) = own_queues(call, &header.topic).filter(|_| !header.topic.starts_with(OWN_PREFIX)) {
        route.queue_datas.push(queues);
        route.broker_datas.push(own_broker(call));
    }
    {
        let routes = shared.nameserver.routes();
        for queues in routes.queues(&header.topic) {
            if let Some(broker) = routes.broker(&queues.broker_name) {
                route.queue_datas.push(queues);
                route.broker_datas.push(broker);
            }
        }
    }
    if header.zone_mode == Some(true) {
        keep_zone(&mut route, header.zone_name.as_deref().unwrap_or_default());
    }
    if route.queue_datas.is_empty() {
        return Err(error::no_route(&header.topic));
    }
    if shared.options.order_message_enable {
        route.order_topic_conf = shared.nameserver.kv.value(ORDER_TOPICS, &header.topic);
    }
    let standard_only = header.accept_standard_json_only == Some(true);
    let keys = TopicRouteData::number_keys(call.command.version, standard_only);
    Ok(Reply::body(route.encode_with(keys)).into())
}

/// Keeps the brokers of one zone, and those without a master.
fn keep_zone(route: &mut TopicRouteData, zone: &str) {
    route.broker_datas.retain(|broker| {
        !broker.broker_addrs.contains_key(&0)
            || broker.zone_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(zone))
    });
    let brokers = &route.broker_datas;
    route.queue_datas.retain(|queues| brokers.iter().any(|broker| broker.broker_name == queues.broker_name));
}

/// REGISTER_BROKER (103), of a broker elsewhere.
pub(crate) fn register(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::RegisterBroker::from_ext_fields(fields(call))?;
    let shared = call.shared();
    let body = &call.command.body;
    if header.body_crc32.is_some_and(|crc| crc != 0 && crc != body_crc32(body)) {
        return Err(Reply::system_error("crc32 not match"));
    }
    let own = &shared.options;
    if header.broker_name == own.broker_name && header.broker_id == own.broker_id {
        return Err(Reply::system_error(format!(
            "the name {} with id {} belongs to the broker of this process",
            own.broker_name, own.broker_id
        )));
    }
    if call.command.version < VERSION_REGISTER_BODY {
        return Err(Reply::error(
            response::VERSION_NOT_SUPPORTED,
            "brokers before V3_0_11 are not supported",
        ));
    }
    let body = if header.compressed == Some(true) {
        RegisterBrokerBody::decode_compressed(body, call.command.version)?
    } else {
        RegisterBrokerBody::decode(body)?
    };
    let registered = shared
        .nameserver
        .routes()
        .register(&header, &body.topic_config_serialize_wrapper, call.connection.id, call.reactor.now_ms())
        .map_err(|refused| Reply::system_error(refused.to_string()))?;
    let fields = header::RegisterBrokerResponse {
        ha_server_addr: registered.ha_address,
        master_addr: registered.master_address,
    }
    .to_ext_fields();
    let order = shared.nameserver.kv.namespace(ORDER_TOPICS);
    let body = order.map(|table| KvTable { table }.encode()).unwrap_or_default();
    Ok(Reply::body(body).with_fields(fields).into())
}

/// UNREGISTER_BROKER (104).
pub(crate) fn unregister(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::BrokerIdentity::from_ext_fields(fields(call))?;
    call.shared().nameserver.routes().unregister(&header.cluster_name, &header.broker_addr);
    Ok(Reply::ok().into())
}

/// BROKER_HEARTBEAT (904).
pub(crate) fn heartbeat(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::BrokerHeartbeat::from_ext_fields(fields(call))?;
    let now_ms = call.reactor.now_ms();
    call.shared().nameserver.routes().heartbeat(&header.cluster_name, &header.broker_addr, now_ms);
    Ok(Reply::ok().into())
}

/// QUERY_DATA_VERSION (322): whether a broker must register anew. The question is a sign of life too.
pub(crate) fn data_version(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::BrokerIdentity::from_ext_fields(fields(call))?;
    let theirs = DataVersion::decode(&call.command.body)?;
    let mut routes = call.shared().nameserver.routes();
    let ours = routes.version(&header.cluster_name, &header.broker_addr).cloned();
    let changed = ours.as_ref() != Some(&theirs);
    if !changed {
        routes.heartbeat(&header.cluster_name, &header.broker_addr, call.reactor.now_ms());
    }
    let body = ours.map(|ours| ours.encode()).unwrap_or_default();
    Ok(Reply::body(body).with_fields(header::QueryDataVersionResponse { changed }.to_ext_fields()).into())
}

/// GET_BROKER_CLUSTER_INFO (106).
pub(crate) fn cluster(call: &Call<'_>) -> Result<Outcome, Reply> {
    let mut info = ClusterInfo::default();
    let brokers = call.shared().nameserver.routes().brokers();
    for broker in brokers.into_iter().chain([own_broker(call)]) {
        let names = info.cluster_addr_table.entry(broker.cluster.clone()).or_default();
        if !names.contains(&broker.broker_name) {
            names.push(broker.broker_name.clone());
        }
        match info.broker_addr_table.get_mut(&broker.broker_name) {
            Some(known) => known.broker_addrs.extend(broker.broker_addrs),
            None => {
                info.broker_addr_table.insert(broker.broker_name.clone(), broker);
            }
        }
    }
    Ok(Reply::body(info.encode()).into())
}

fn own_topics(call: &Call<'_>) -> impl Iterator<Item = String> {
    let topics = call.shared().broker.topics();
    let shown = |name: &str| names::listed(name).map(Cow::into_owned);
    topics
        .into_iter()
        .filter_map(move |topic| shown(topic.name()))
        .filter(|name| !name.starts_with(OWN_PREFIX))
}

/// GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206).
pub(crate) fn topics(call: &Call<'_>) -> Result<Outcome, Reply> {
    let mut topics = call.shared().nameserver.routes().topics(None);
    topics.extend(own_topics(call));
    Ok(topic_list(topics, None))
}

/// GET_TOPICS_BY_CLUSTER (224).
pub(crate) fn topics_of_cluster(call: &Call<'_>) -> Result<Outcome, Reply> {
    let cluster = header::TopicsByCluster::from_ext_fields(fields(call))?.cluster;
    let mut topics = call.shared().nameserver.routes().topics(Some(&cluster));
    if cluster == call.shared().options.cluster_name {
        topics.extend(own_topics(call));
    }
    Ok(topic_list(topics, None))
}

/// GET_SYSTEM_TOPIC_LIST_FROM_NS (304): the clusters and brokers, whose names are topics, and one broker's address.
pub(crate) fn system_topics(call: &Call<'_>) -> Result<Outcome, Reply> {
    let own = own_broker(call);
    let address = own.broker_addrs.values().next().cloned();
    let mut names = std::collections::BTreeSet::new();
    for broker in call.shared().nameserver.routes().brokers().into_iter().chain([own]) {
        names.extend([broker.cluster, broker.broker_name]);
    }
    Ok(topic_list(names, address))
}

fn topic_list(topics: impl IntoIterator<Item = String>, broker_addr: Option<String>) -> Outcome {
    Reply::body(TopicList { broker_addr, topic_list: topics.into_iter().collect() }.encode()).into()
}

/// DELETE_TOPIC_IN_NAMESRV (216). Our own broker's topics are deleted at the broker; their route goes with them.
pub(crate) fn delete_topic(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::Topic::from_ext_fields(fields(call))?;
    let shared = call.shared();
    let cluster = header.cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
    let here = cluster.is_none_or(|cluster| cluster == shared.options.cluster_name);
    if here && shared.topic(&header.topic).is_some() {
        return Err(Reply::system_error(format!(
            "topic[{}] exists on broker {}: delete it there, and its route goes with it",
            header.topic, shared.options.broker_name
        )));
    }
    shared.nameserver.routes().delete_topic(&header.topic, cluster);
    Ok(Reply::ok().into())
}

/// WIPE_WRITE_PERM_OF_BROKER (205).
pub(crate) fn wipe_write(call: &Call<'_>) -> Result<Outcome, Reply> {
    change_write(call, true, "wipeTopicCount")
}

/// ADD_WRITE_PERM_OF_BROKER (327).
pub(crate) fn add_write(call: &Call<'_>) -> Result<Outcome, Reply> {
    change_write(call, false, "addTopicCount")
}

fn change_write(call: &Call<'_>, wipe: bool, counted: &'static str) -> Result<Outcome, Reply> {
    let name = header::BrokerNameOnly::from_ext_fields(fields(call))?.broker_name;
    let shared = call.shared();
    let mut routes = shared.nameserver.routes();
    let change = |perm: i32| if wipe { perm & !PERM_WRITE } else { PERM_READ_WRITE };
    let mut count = routes.change_perm(&name, change);
    if name == shared.options.broker_name {
        routes.wipe_own_write(wipe);
        count += shared.broker.topics().len();
    }
    Ok(Reply::fields([(counted, count.to_string())].into_iter().collect()).into())
}
