//! Pods that may connect out, but not ask the cluster's DNS where to.

use std::net::{IpAddr, Ipv4Addr};

use super::include::witness;
use super::world::{Declared, World};
use super::{Found, Lint, Needs, Severity, words};
use crate::cluster::{Cluster, ContainerPort, Labels, Pod, Protocol};
use crate::dialect::network_policy::Direction;
use crate::evaluate::{Connection, Party, evaluate};
use crate::policy_set::PolicySet;
use crate::verdict::Outcome;

pub(super) const WITHOUT_DNS: Lint = Lint {
    id: "egress-without-dns",
    severity: Severity::Medium,
    finds: "A policy that admits some egress, for pods that no policy lets ask the cluster's DNS: port 53 over UDP and TCP \
        to pods `k8s-app=kube-dns` of kube-system, or to the node-local cache at 169.254.20.10.",
    matters: "Names do not resolve, so what the policy admits is not reached either. With UDP only, long answers are lost.",
    wrong: "The pods connect by address only, or to a resolver elsewhere. Without pods in the input one is assumed that has \
        just the labels that the policy demands. Policies that admit nothing are not reported.",
    fix: "Add an egress rule `to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, \
        podSelector: {matchLabels: {k8s-app: kube-dns}}}]` with ports 53 UDP and 53 TCP, or one policy with it for all \
        pods of the namespace.",
    needs: Needs::Policies,
};

const DNS_PORT: u16 = 53;
const DNS_NAMESPACE: &str = "kube-system";
const DNS_LABEL: (&str, &str) = ("k8s-app", "kube-dns");
/// Where the node-local cache listens on every node of an ACK cluster that has it.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// Kinds of pods of one policy, and DNS pods, that are tried.
const CLIENTS_TRIED: usize = 16;
const SERVERS_TRIED: usize = 2;

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    let assumed = assumed_dns_pod();
    let mut servers: Vec<&Pod> = world.cluster.pods().iter().filter(|p| is_dns(p)).collect();
    servers.truncate(SERVERS_TRIED);
    if servers.is_empty() {
        servers.push(&assumed);
    }
    let resolvers: Vec<Party<'_>> = servers
        .iter()
        .map(|pod| Party::pod(pod))
        .chain([Party::external(NODE_LOCAL)])
        .collect();
    for declared in world.checked() {
        let rules = declared.policy.rules(Direction::Egress).unwrap_or_default();
        if rules.is_empty() {
            continue;
        }
        if !world.may_compare(world.policies_in(&declared.policy.namespace)) {
            return found.stopped(&[&WITHOUT_DNS], "the input holds too many policies");
        }
        for client in clients(world, declared) {
            let asks = |protocol| {
                resolvers.iter().any(|server| {
                    may_ask(
                        &world.set,
                        world.cluster,
                        world.engine,
                        &client,
                        server,
                        protocol,
                    )
                })
            };
            if report(found, declared, asks(Protocol::Udp), asks(Protocol::Tcp)) {
                break;
            }
        }
    }
}

/// Says so if something is missing.
fn report(found: &mut Found, declared: &Declared<'_>, udp: bool, tcp: bool) -> bool {
    let (severity, missing, so) = match (udp, tcp) {
        (true, true) => return false,
        (true, false) => (Severity::Low, "TCP 53", "long answers are lost"),
        (false, true) => (Severity::Medium, "UDP 53", "names hardly resolve"),
        (false, false) => (
            Severity::Medium,
            "neither UDP nor TCP 53",
            "names do not resolve",
        ),
    };
    let subject = words::subject(declared.policy);
    let admits = match missing.starts_with("neither") {
        true => format!("{missing} to the cluster's DNS is admitted for them"),
        false => format!("{missing} to the cluster's DNS is not admitted for them"),
    };
    let message = format!("isolates {subject} for egress, and {admits}: {so}");
    let fix = "admit UDP and TCP 53 to pods k8s-app=kube-dns of namespace kube-system";
    found.add_as(
        &WITHOUT_DNS,
        severity,
        (declared, "spec.egress"),
        message,
        fix,
    );
    true
}

fn may_ask(
    policies: &PolicySet,
    cluster: &Cluster,
    engine: crate::reading::Engine,
    client: &Pod,
    server: &Party<'_>,
    protocol: Protocol,
) -> bool {
    let connection = Connection {
        client: Party::pod(client),
        server: *server,
        port: DNS_PORT,
        protocol,
    };
    let verdict = evaluate(policies, cluster, engine, &connection);
    verdict.egress.outcome != Outcome::Denied
}

/// One pod of each sort that the policy selects; an assumed one where no pods are known.
fn clients(world: &World<'_>, declared: &Declared<'_>) -> Vec<Pod> {
    let policy = declared.policy;
    if !world.has_pods {
        let labels = witness(&policy.pod_selector);
        return labels
            .map(|labels| Pod {
                namespace: policy.namespace.clone(),
                name: "any".to_owned(),
                labels,
                ..Pod::default()
            })
            .into_iter()
            .filter(|pod| !is_dns(pod))
            .collect();
    }
    world
        .select(&policy.namespace, &policy.pod_selector)
        .filter(|group| !group.host_network)
        .filter_map(|group| group.pods.first())
        .filter(|pod| !is_dns(pod))
        .take(CLIENTS_TRIED)
        .map(|pod| (*pod).clone())
        .collect()
}

fn is_dns(pod: &Pod) -> bool {
    let (key, value) = DNS_LABEL;
    pod.namespace == DNS_NAMESPACE
        && pod.labels.get(key).is_some_and(|v| v == value)
        && !pod.is_finished()
}

/// CoreDNS as ACK installs it, for inputs without it.
fn assumed_dns_pod() -> Pod {
    let port = |name: &str, protocol| ContainerPort {
        name: Some(name.to_owned()),
        port: DNS_PORT,
        protocol,
        host_port: None,
        owner: crate::cluster::PortOwner::Container,
    };
    let (key, value) = DNS_LABEL;
    Pod {
        namespace: DNS_NAMESPACE.to_owned(),
        name: "coredns".to_owned(),
        labels: Labels::from([(key.to_owned(), value.to_owned())]),
        ports: vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)],
        ..Pod::default()
    }
}
