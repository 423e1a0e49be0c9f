//! An object as canonical JSON: one line, keys in order, only what we use. Reading it gives the same object.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{Body, Object};
use crate::cluster::{EndpointSlice, Node, Owner, Pod, PortOwner, Service, TargetPort};
use crate::dialect::{ack, admin_policy, calico, cilium, network_policy};
use crate::selector::{Operator, Selector};
use crate::terway;

impl Object {
    /// Canonical JSON on one line: what we use of the object and nothing else, so that two versions of an object
    /// differ exactly when something differs that could matter.
    pub fn to_json(&self) -> String {
        let api_version = if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        let owner = match &self.body {
            Body::Pod(pod) => pod.owner.as_ref(),
            Body::Controller(owner) => owner.as_ref(),
            _ => None,
        };
        let (spec, status) = match &self.body {
            Body::Node(node) => node_parts(node),
            Body::Pod(pod) => pod_parts(pod),
            Body::Service(service) => service_parts(service),
            Body::NetworkPolicy(policy) => (network_policy::print::spec(policy), Value::Null),
            Body::AdminPolicy(policy) => (admin_policy::print::spec(policy), Value::Null),
            Body::AckGlobalNetworkPolicy(policy) => (ack::print::spec(policy), Value::Null),
            Body::Calico(resource) => (calico::print::spec(resource), Value::Null),
            Body::CiliumCidrGroup(group) => (cilium::print::group(group), Value::Null),
            Body::TerwayNode(node) => terway::binding::print_node(node),
            Body::NodeRuntime(runtime) => {
                (Value::Null, terway::binding::print_node_runtime(runtime))
            }
            Body::PodEni(_)
            | Body::EndpointSlice(_)
            | Body::Namespace(_)
            | Body::Controller(_)
            | Body::ServiceAccount(_)
            | Body::Cilium(_)
            | Body::Terway(_)
            | Body::Other => (Value::Null, Value::Null),
        };
        let (annotations, spec, status) = match &self.body {
            Body::PodEni(pod_eni) => terway::binding::print_pod_eni(pod_eni),
            _ => (Value::Null, spec, status),
        };
        let (endpoints, ports) = match &self.body {
            Body::EndpointSlice(slice) => slice_parts(slice),
            _ => (None, None),
        };
        let specs = match &self.body {
            Body::Cilium(policy) => cilium::print::specs(policy),
            _ => Value::Null,
        };
        prune(json!({
            "apiVersion": api_version,
            "kind": self.kind,
            "metadata": prune(json!({
                "name": some_text(&self.name),
                "namespace": self.namespace,
                "uid": some_text(&self.uid),
                "generation": self.generation,
                "resourceVersion": self.resource_version,
                "creationTimestamp": self.created.map(time),
                "deletionTimestamp": self.deletion.map(time),
                "labels": if self.labels.is_empty() { Value::Null } else { json!(self.labels) },
                "annotations": annotations,
                "ownerReferences": owner.map(|owner| [controller(owner)]),
            })),
            "data": match &self.body {
                Body::Terway(terway) => terway::print(terway),
                _ => Value::Null,
            },
            "endpoints": endpoints,
            "ports": ports,
            "spec": some_map(spec),
            "specs": specs,
            "status": some_map(status),
        }))
        .to_string()
    }
}

/// The same map without the entries that are null.
pub(crate) fn prune(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect(),
        other => other,
    }
}

/// A label selector; the empty one is `{}`.
pub(crate) fn selector(selector: &Selector) -> Value {
    let expressions: Vec<Value> = selector
        .expressions
        .iter()
        .map(|requirement| {
            let (operator, values) = match &requirement.operator {
                Operator::In(values) => ("In", Some(values)),
                Operator::NotIn(values) => ("NotIn", Some(values)),
                Operator::Exists => ("Exists", None),
                Operator::DoesNotExist => ("DoesNotExist", None),
            };
            prune(json!({ "key": requirement.key, "operator": operator, "values": values }))
        })
        .collect();
    prune(json!({
        "matchLabels": if selector.labels.is_empty() { Value::Null } else { json!(selector.labels) },
        "matchExpressions": some_list(expressions),
    }))
}

fn some_text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn some_list(list: Vec<Value>) -> Option<Vec<Value>> {
    Some(list).filter(|list| !list.is_empty())
}

fn some_map(value: Value) -> Value {
    if value == Value::Object(Map::new()) {
        Value::Null
    } else {
        value
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn controller(owner: &Owner) -> Value {
    json!({ "kind": owner.kind, "name": owner.name, "controller": true })
}

fn texts(addresses: &[IpAddr]) -> Option<Vec<Value>> {
    some_list(
        addresses
            .iter()
            .map(|address| json!(address.to_string()))
            .collect(),
    )
}

fn ips(addresses: &[IpAddr]) -> Option<Vec<Value>> {
    some_list(
        addresses
            .iter()
            .map(|address| json!({ "ip": address.to_string() }))
            .collect(),
    )
}

fn node_parts(node: &Node) -> (Value, Value) {
    let addresses = node.addresses.iter();
    let addresses =
        addresses.map(|address| json!({ "type": "InternalIP", "address": address.to_string() }));
    let status = json!({ "addresses": some_list(addresses.collect()) });
    (
        prune(json!({ "providerID": node.instance_id })),
        prune(status),
    )
}

fn pod_parts(pod: &Pod) -> (Value, Value) {
    // One container of each kind carries all its ports: who declared which is not part of the model.
    let container = |owner: PortOwner| {
        let ports = pod
            .ports
            .iter()
            .filter(|port| port.owner == owner)
            .map(|port| {
                prune(json!({
                    "name": port.name,
                    "containerPort": port.port,
                    "protocol": port.protocol.to_string(),
                    "hostPort": port.host_port,
                }))
            });
        some_list(ports.collect()).map(|ports| {
            let restart = (owner == PortOwner::RestartableInit).then_some("Always");
            prune(json!({ "ports": ports, "restartPolicy": restart }))
        })
    };
    let containers: Vec<Value> = container(PortOwner::Container).into_iter().collect();
    let init = [PortOwner::RestartableInit, PortOwner::Init];
    let init: Vec<Value> = init.into_iter().filter_map(container).collect();
    let spec = prune(json!({
        "containers": some_list(containers),
        "initContainers": some_list(init),
        "hostNetwork": pod.host_network.then_some(true),
        "nodeName": pod.node,
        "serviceAccountName": pod.service_account,
    }));
    let times = &pod.times;
    let condition = |name: &str, is_true: bool, at: Option<DateTime<Utc>>| {
        let status = if is_true { "True" } else { "False" };
        prune(json!({ "type": name, "status": status, "lastTransitionTime": at.map(time) }))
    };
    let since = |name, at: Option<DateTime<Utc>>| at.map(|at| condition(name, true, Some(at)));
    let conditions: Vec<Value> = [
        since("PodScheduled", times.scheduled),
        since("PodReadyToStartContainers", times.ready_to_start),
        pod.ready.map(|ready| condition("Ready", ready, None)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let started = times.started.map(time);
    let state = match times.finished {
        Some(finished) => Some(json!({
            "terminated": prune(json!({ "startedAt": started, "finishedAt": time(finished) })),
        })),
        None => started.map(|started| json!({ "running": { "startedAt": started } })),
    };
    let phase = match pod.phase {
        crate::cluster::Phase::Unknown => None,
        phase => Some(phase.as_str()),
    };
    let status = prune(json!({
        "phase": phase,
        "podIPs": ips(&pod.addresses),
        "hostIPs": ips(&pod.host_addresses),
        "conditions": some_list(conditions),
        "containerStatuses": state.map(|state| [json!({ "state": state })]),
    }));
    (spec, status)
}

fn service_parts(service: &Service) -> (Value, Value) {
    let ports = service.ports.iter().map(|port| {
        prune(json!({
            "name": port.name,
            "protocol": port.protocol.to_string(),
            "port": port.port,
            "targetPort": match &port.target {
                TargetPort::Number(number) => json!(number),
                TargetPort::Name(name) => json!(name),
            },
            "nodePort": port.node_port,
        }))
    });
    let spec = prune(json!({
        "selector": service.selector,
        "clusterIPs": texts(&service.cluster_addresses),
        "ports": some_list(ports.collect()),
    }));
    let ingress = ips(&service.load_balancer_addresses);
    let status =
        prune(json!({ "loadBalancer": ingress.map(|ingress| json!({ "ingress": ingress })) }));
    (spec, status)
}

/// Endpoints and ports.
fn slice_parts(slice: &EndpointSlice) -> (Option<Vec<Value>>, Option<Vec<Value>>) {
    let endpoints = slice.endpoints.iter().map(|endpoint| {
        let conditions = prune(json!({
            "ready": (!endpoint.ready).then_some(false),
            "serving": (!endpoint.serving).then_some(false),
            "terminating": endpoint.terminating.then_some(true),
        }));
        prune(json!({
            "addresses": texts(&endpoint.addresses),
            "conditions": some_map(conditions),
            "nodeName": endpoint.node,
            "targetRef": endpoint.target.as_ref().map(|target| prune(json!({
                "kind": some_text(&target.kind), "namespace": target.namespace, "name": some_text(&target.name),
                "uid": some_text(&target.uid),
            }))),
        }))
    });
    let ports = slice.ports.iter().map(|port| {
        prune(
            json!({ "name": port.name, "port": port.port, "protocol": port.protocol.to_string() }),
        )
    });
    (some_list(endpoints.collect()), some_list(ports.collect()))
}
