//! Pods, nodes, namespaces and Services: from the tree to the cluster model.

use std::net::{IpAddr, Ipv4Addr};

use super::field::{Field, Notes};
use super::metadata::{self, Metadata};
use super::names::NAME_LENGTH_MAX;
use super::tree::Value;
use crate::cidr;
use crate::cluster::{
    ContainerPort, EndpointSlice, Namespace, Node, Phase, Pod, PodTimes, PortOwner, Protocol,
    Service, ServicePort, SliceEndpoint, SlicePort, Target, TargetPort, endpoint_slice,
};

pub(crate) fn namespace(common: &Metadata) -> Namespace {
    Namespace {
        name: common.name.clone(),
        uid: common.uid.clone(),
        labels: common.labels.clone(),
        created: common.created,
    }
    .with_name_label()
}

pub(crate) fn node(common: &Metadata, root: &Field<'_, '_>, notes: &mut Notes<'_>) -> Node {
    let status = root.get("status");
    let spec = root.get("spec");
    let mut addresses = Vec::new();
    for entry in status.get("addresses").items(notes) {
        if matches!(
            entry.get("type").text(notes),
            Some("InternalIP" | "ExternalIP")
        ) {
            addresses.extend(address(&entry.get("address"), notes));
        }
    }
    Node {
        name: common.name.clone(),
        uid: common.uid.clone(),
        labels: common.labels.clone(),
        addresses,
        instance_id: spec
            .get("providerID")
            .short_text(NAME_LENGTH_MAX, notes)
            .and_then(instance_id),
        created: common.created,
    }
}

/// `cn-hangzhou.i-bp1…`, with or without a scheme before it, gives `i-bp1…`.
fn instance_id(provider_id: &str) -> Option<String> {
    let last = provider_id.rsplit(['.', '/']).next()?;
    last.starts_with("i-").then(|| last.to_owned())
}

pub(crate) fn pod(common: &Metadata, root: &Field<'_, '_>, notes: &mut Notes<'_>) -> Pod {
    let spec = root.get("spec");
    let status = root.get("status");
    spec.expect_map(notes);
    status.expect_map(notes);
    let short = |field: Field<'_, '_>, notes: &mut Notes<'_>| {
        let text = field.short_text(NAME_LENGTH_MAX, notes);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let own = addresses(&status, "podIPs", "podIP", notes);
    let of_host = addresses(&status, "hostIPs", "hostIP", notes);
    // Where only the status was sent, the addresses tell.
    let shares = own.iter().any(|address| of_host.contains(address));
    let mut ports = Vec::new();
    container_ports(&spec.get("containers"), false, &mut ports, notes);
    container_ports(&spec.get("initContainers"), true, &mut ports, notes);
    Pod {
        namespace: common.namespace.clone().unwrap_or_default(),
        name: common.name.clone(),
        uid: common.uid.clone(),
        labels: common.labels.clone(),
        addresses: own,
        host_addresses: of_host,
        ports,
        host_network: spec.get("hostNetwork").bool(notes).unwrap_or(false) || shares,
        node: short(spec.get("nodeName"), notes),
        service_account: short(spec.get("serviceAccountName"), notes)
            .or_else(|| short(spec.get("serviceAccount"), notes)),
        phase: match status.get("phase").text(notes) {
            Some("Pending") => Phase::Pending,
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            _ => Phase::Unknown,
        },
        ready: condition(&status, "Ready", notes).map(|(is_true, _)| is_true),
        owner: common.owner.clone(),
        times: pod_times(common, &status, notes),
    }
}

/// All of the list `many`, else the single `one`.
fn addresses(status: &Field<'_, '_>, many: &str, one: &str, notes: &mut Notes<'_>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for entry in status.get(many).items(notes) {
        let text = matches!(entry.value(), Some(Value::Text(_)));
        let ip = entry.get("ip");
        found.extend(address(if text { &entry } else { &ip }, notes));
    }
    if found.is_empty() {
        found.extend(address(&status.get(one), notes));
    }
    found
}

/// An address. One that cannot be read, or that nobody can have alone, is reported and left out, not the object it stands in.
pub(crate) fn address(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpAddr> {
    let text = field
        .short_text(64, notes)
        .filter(|text| !text.is_empty())?;
    let parsed = cidr::parse_address(text).map(|address| address.to_canonical());
    let is_held = |address: &IpAddr| {
        let nobodys = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        !nobodys && *address != IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    let wrong = match &parsed {
        None => "not an address",
        Some(address) if !is_held(address) => "no address that one alone can have",
        Some(_) => return parsed,
    };
    let message = format!("`{text}` is {wrong} and was left out");
    notes.warn(field, message, None);
    None
}

fn container_ports(
    containers: &Field<'_, '_>,
    init: bool,
    ports: &mut Vec<ContainerPort>,
    notes: &mut Notes<'_>,
) {
    for container in containers.items(notes) {
        let restartable = container.get("restartPolicy").text(notes) == Some("Always");
        let owner = match (init, restartable) {
            (false, _) => PortOwner::Container,
            (true, true) => PortOwner::RestartableInit,
            (true, false) => PortOwner::Init,
        };
        for entry in container.get("ports").items(notes) {
            let number = entry.get("containerPort");
            if number.is_absent() {
                notes.error(&number, "is missing".to_owned(), None);
            }
            let name = entry.get("name").short_text(NAME_LENGTH_MAX, notes);
            let protocol = protocol(&entry.get("protocol"), notes);
            let host_port = entry.get("hostPort");
            let host_port = match host_port.value() {
                None | Some(Value::Int(0)) => None,
                Some(_) => host_port.port(notes),
            };
            if let (Some(port), Some(protocol)) = (number.port(notes), protocol) {
                ports.push(ContainerPort {
                    name: name.filter(|name| !name.is_empty()).map(str::to_owned),
                    port,
                    protocol,
                    host_port,
                    owner,
                });
            }
        }
    }
}

/// One of the three protocols that have ports; TCP when absent.
pub(crate) fn protocol(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Protocol> {
    if field.is_absent() {
        return Some(Protocol::Tcp);
    }
    match field.text(notes)? {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        other => {
            let shown = super::tree::shorten(other);
            notes.error(
                field,
                format!("`{shown}` is not a protocol here"),
                Some("write TCP, UDP or SCTP, in capitals".to_owned()),
            );
            None
        }
    }
}

/// Whether a condition is true, and since when it is what it is.
fn condition(
    status: &Field<'_, '_>,
    wanted: &str,
    notes: &mut Notes<'_>,
) -> Option<(bool, Option<chrono::DateTime<chrono::Utc>>)> {
    let conditions = status.get("conditions");
    for condition in conditions.items(notes) {
        if condition.get("type").text(notes) == Some(wanted) {
            let is_true = condition.get("status").text(notes) == Some("True");
            return Some((
                is_true,
                metadata::time(&condition.get("lastTransitionTime"), notes),
            ));
        }
    }
    None
}

fn pod_times(common: &Metadata, status: &Field<'_, '_>, notes: &mut Notes<'_>) -> PodTimes {
    let since = |wanted, notes: &mut Notes<'_>| {
        condition(status, wanted, notes)
            .filter(|(is_true, _)| *is_true)
            .and_then(|(_, at)| at)
    };
    let mut times = PodTimes {
        created: common.created,
        deletion: common.deletion,
        labelled: common.labelled.filter(|at| common.created < Some(*at)),
        scheduled: since("PodScheduled", notes),
        ready_to_start: since("PodReadyToStartContainers", notes),
        ..PodTimes::default()
    };
    let (mut regular, mut unfinished) = (0, 0);
    let (mut running_since, mut last_started) = (None, None);
    for (list, is_init) in [
        ("containerStatuses", false),
        ("initContainerStatuses", true),
    ] {
        for container in status.get(list).items(notes) {
            let state = container.get("state");
            let (running, terminated) = (state.get("running"), state.get("terminated"));
            let started = metadata::time(&running.get("startedAt"), notes);
            running_since = running_since.into_iter().chain(started).min();
            let started = metadata::time(&terminated.get("startedAt"), notes);
            last_started = last_started.max(started);
            let finished = metadata::time(&terminated.get("finishedAt"), notes);
            times.finished = times.finished.into_iter().chain(finished).max();
            // An init container that has not run yet keeps no address; one that runs does.
            regular += usize::from(!is_init);
            unfinished += usize::from(if is_init {
                !running.is_absent()
            } else {
                finished.is_none()
            });
        }
    }
    if regular == 0 || unfinished > 0 {
        times.finished = None;
    }
    // What ran before a sandbox was rebuilt says nothing of the address that the pod has since.
    times.started = running_since.or(last_started);
    times
}

pub(crate) fn service(common: &Metadata, root: &Field<'_, '_>, notes: &mut Notes<'_>) -> Service {
    let spec = root.get("spec");
    let status = root.get("status");
    spec.expect_map(notes);
    let mut cluster_addresses = Vec::new();
    for entry in spec.get("clusterIPs").items(notes) {
        cluster_addresses.extend(cluster_address(&entry, notes));
    }
    if cluster_addresses.is_empty() {
        cluster_addresses.extend(cluster_address(&spec.get("clusterIP"), notes));
    }
    let mut load_balancer_addresses = Vec::new();
    for entry in status.get("loadBalancer").get("ingress").items(notes) {
        load_balancer_addresses.extend(address(&entry.get("ip"), notes));
    }
    for entry in spec.get("externalIPs").items(notes) {
        load_balancer_addresses.extend(address(&entry, notes));
    }
    let selector = spec.get("selector");
    let mut ports = Vec::new();
    for entry in spec.get("ports").items(notes) {
        ports.extend(service_port(&entry, notes));
    }
    Service {
        namespace: common.namespace.clone().unwrap_or_default(),
        name: common.name.clone(),
        uid: common.uid.clone(),
        labels: common.labels.clone(),
        selector: (!selector.is_absent()).then(|| metadata::labels(&selector, notes)),
        cluster_addresses,
        load_balancer_addresses,
        ports,
        created: common.created,
    }
}

/// A ClusterIP; headless Services write `None` there.
fn cluster_address(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpAddr> {
    if matches!(field.value(), Some(Value::Text(text)) if text == "None") {
        return None;
    }
    address(field, notes)
}

fn service_port(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<ServicePort> {
    let number = entry.get("port");
    if number.is_absent() {
        notes.error(&number, "is missing".to_owned(), None);
    }
    let port = number.port(notes);
    let protocol = protocol(&entry.get("protocol"), notes);
    let target = entry.get("targetPort");
    let target = match target.value() {
        None | Some(Value::Int(0)) => port.map(TargetPort::Number),
        Some(Value::Text(name)) if name.is_empty() => port.map(TargetPort::Number),
        Some(Value::Text(_)) => target
            .short_text(NAME_LENGTH_MAX, notes)
            .map(|name| TargetPort::Name(name.to_owned())),
        Some(_) => target.port(notes).map(TargetPort::Number),
    };
    let node_port = entry.get("nodePort");
    let node_port = match node_port.value() {
        None | Some(Value::Int(0)) => None,
        Some(_) => node_port.port(notes),
    };
    Some(ServicePort {
        name: entry
            .get("name")
            .short_text(NAME_LENGTH_MAX, notes)
            .map(str::to_owned),
        protocol: protocol?,
        port: port?,
        target: target?,
        node_port,
    })
}

pub(crate) fn endpoint_slice(
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> EndpointSlice {
    let short = |field: Field<'_, '_>, notes: &mut Notes<'_>| {
        let text = field.short_text(NAME_LENGTH_MAX, notes);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // Slices of names (`addressType: FQDN`) say nothing of addresses.
    let is_of_names = root.get("addressType").text(notes) == Some("FQDN");
    let mut endpoints = Vec::new();
    for entry in root.get("endpoints").items(notes) {
        let mut addresses = Vec::new();
        if !is_of_names {
            for item in entry.get("addresses").items(notes) {
                addresses.extend(address(&item, notes));
            }
        }
        let conditions = entry.get("conditions");
        let target = entry.get("targetRef");
        endpoints.push(SliceEndpoint {
            addresses,
            ready: conditions.get("ready").bool(notes).unwrap_or(true),
            serving: conditions.get("serving").bool(notes).unwrap_or(true),
            terminating: conditions.get("terminating").bool(notes).unwrap_or(false),
            node: short(entry.get("nodeName"), notes),
            target: (!target.is_absent()).then(|| Target {
                kind: short(target.get("kind"), notes).unwrap_or_default(),
                namespace: short(target.get("namespace"), notes),
                name: short(target.get("name"), notes).unwrap_or_default(),
                uid: short(target.get("uid"), notes).unwrap_or_default(),
            }),
        });
    }
    let mut ports = Vec::new();
    for entry in root.get("ports").items(notes) {
        let number = entry.get("port");
        let port = match number.value() {
            None | Some(Value::Int(0)) => None,
            Some(_) => number.port(notes),
        };
        ports.extend(
            protocol(&entry.get("protocol"), notes).map(|protocol| SlicePort {
                name: short(entry.get("name"), notes),
                port,
                protocol,
            }),
        );
    }
    EndpointSlice {
        namespace: common.namespace.clone().unwrap_or_default(),
        service: common.labels.get(endpoint_slice::SERVICE_LABEL).cloned(),
        endpoints,
        ports,
    }
}
