//! The NetworkPolicy that would end a finding, as YAML a person can apply.
//!
//! Values that come from the cluster are written as JSON text, which is YAML too: whatever a label holds, it stays a
//! label.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_rules::cluster::NAME_LABEL;

use super::workload::{Subject, Workloads};

/// Which side of connections a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Who may reach the pods.
    Ingress,
    /// Whom the pods may reach.
    Egress,
}

impl Direction {
    /// `ingress`, `egress`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    /// As in `policyTypes`.
    pub fn policy_type(self) -> &'static str {
        match self {
            Direction::Ingress => "Ingress",
            Direction::Egress => "Egress",
        }
    }
}

/// Who was met, by the ports of the receiving side; protocols by IANA number.
pub type Observed = BTreeMap<Subject, BTreeSet<(i32, i32)>>;

/// A policy that isolates a workload for one direction and admits what was observed, nothing else.
///
/// Peers that a policy cannot name with certainty (unidentified addresses, protocols without ports) stand in a comment.
pub fn admit_observed(
    subject: &Subject,
    direction: Direction,
    observed: &Observed,
    workloads: &Workloads,
) -> String {
    let name = policy_name(&[name_of(subject), direction.as_str(), "observed"]);
    let always = match direction {
        Direction::Ingress => "",
        Direction::Egress => DNS_RULE,
    };
    admit(&name, subject, direction, always, observed, workloads)
}

fn admit(
    name: &str,
    subject: &Subject,
    direction: Direction,
    always: &str,
    observed: &Observed,
    workloads: &Workloads,
) -> String {
    let mut yaml = head(
        &subject.namespace,
        name,
        &selector(subject, workloads, 2),
        direction,
    );
    let mut left_out = Vec::new();
    let mut rules = always.to_owned();
    // Peers with the same ports make one rule.
    let mut by_ports: BTreeMap<Vec<(i32, i32)>, BTreeSet<String>> = BTreeMap::new();
    for (peer, ports) in observed {
        let named: Vec<(i32, i32)> = ports
            .iter()
            .copied()
            .filter(|(_, protocol)| word(*protocol).is_some())
            .collect();
        match peer_yaml(peer, subject, workloads) {
            Some(text) if !named.is_empty() => {
                by_ports.entry(named).or_default().insert(text);
            }
            _ => left_out.push(workloads.name(peer)),
        }
    }
    let key = if direction == Direction::Ingress {
        "from"
    } else {
        "to"
    };
    for (ports, peers) in &by_ports {
        rules.push_str(&format!("    - {key}:\n"));
        peers.iter().for_each(|peer| rules.push_str(peer));
        rules.push_str("      ports:\n");
        for (port, protocol) in ports {
            rules.push_str(&format!(
                "        - {{port: {port}, protocol: {}}}\n",
                word(*protocol).unwrap_or("TCP")
            ));
        }
    }
    if rules.is_empty() {
        yaml.push_str(&format!("  {}: []\n", direction.as_str()));
    } else {
        yaml.push_str(&format!("  {}:\n{rules}", direction.as_str()));
    }
    for peer in left_out {
        yaml.push_str(&format!(
            "# not admitted, because a policy cannot name it with certainty: {}\n",
            one_line(&peer)
        ));
    }
    yaml
}

/// A policy that isolates every pod of a namespace and admits nothing.
pub fn default_deny(namespace: &str, direction: Direction) -> String {
    // A namespace may well have a narrower policy called `default-deny-ingress`; this one must not replace it.
    let name = format!("default-deny-{}-all-pods", direction.as_str());
    let mut yaml = head(namespace, &name, "  podSelector: {}\n", direction);
    match direction {
        Direction::Ingress => yaml.push_str("  ingress: []\n"),
        Direction::Egress => yaml.push_str(&format!("  egress:\n{DNS_RULE}")),
    }
    yaml
}

/// A policy that would admit one peer on one port, for traffic that turns out to be wanted. `networks` are those of the
/// external addresses, where the peer is all of them together.
///
/// Policies add up, so it stands beside those there are; it is named by all it is about, so that applying it replaces
/// none of them. What a policy cannot say stands in a comment instead.
pub fn admit_peer(
    subject: &Subject,
    direction: Direction,
    peer: &Subject,
    networks: &BTreeSet<String>,
    port: (i32, i32),
    workloads: &Workloads,
) -> String {
    let peers = if peer.kind == "external" && peer.name.is_empty() {
        networks
            .iter()
            .map(|network| Subject {
                name: network.clone(),
                ..peer.clone()
            })
            .collect()
    } else {
        vec![peer.clone()]
    };
    let observed: Observed = peers
        .into_iter()
        .map(|peer| (peer, BTreeSet::from([port])))
        .collect();
    if word(port.1).is_none() {
        return format!(
            "# A NetworkPolicy admits TCP, UDP and SCTP; it cannot say what becomes of protocol {}.\n",
            port.1
        );
    }
    if observed
        .keys()
        .all(|peer| peer_yaml(peer, subject, workloads).is_none())
    {
        return format!(
            "# A NetworkPolicy selects pods and address ranges; it cannot name {} with certainty. An `ipBlock` of\n# its addresses may do where these stay the same; whether it holds for nodes depends on the engine.\n",
            one_line(&workloads.name(peer))
        );
    }
    let name = policy_name(&[
        name_of(subject),
        match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        },
        &peer.namespace,
        name_of(peer),
        word(port.1).unwrap_or_default(),
        &port.0.to_string(),
    ]);
    // What denies the traffic isolates the pods already: this admits the one thing and no more.
    admit(&name, subject, direction, "", &observed, workloads)
}

/// Without it an egress-isolated pod resolves no name and nothing else works.
const DNS_RULE: &str = "    - to:
        - namespaceSelector: {matchLabels: {\"kubernetes.io/metadata.name\": \"kube-system\"}}
          podSelector: {matchLabels: {\"k8s-app\": \"kube-dns\"}}
      ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
";

fn head(namespace: &str, name: &str, selector: &str, direction: Direction) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n{selector}  policyTypes: [{}]\n",
        quoted(name),
        quoted(namespace),
        direction.policy_type()
    )
}

fn selector(subject: &Subject, workloads: &Workloads, indent: usize) -> String {
    let indent = " ".repeat(indent);
    match workloads.of(subject) {
        Some(labels) if !labels.is_empty() => format!(
            "{indent}podSelector: {{matchLabels: {}}}\n",
            flow_map(labels)
        ),
        _ => format!(
            "{indent}# the inventory knows no labels that all pods of {} share\n{indent}podSelector: {{}}\n",
            one_line(&workloads.name(subject))
        ),
    }
}

/// To a policy the pods of another cluster are no pods.
fn peer_yaml(peer: &Subject, subject: &Subject, workloads: &Workloads) -> Option<String> {
    match peer.kind.as_str() {
        "pod" if peer.cluster == subject.cluster => {
            let namespace = BTreeMap::from([(NAME_LABEL.to_owned(), peer.namespace.clone())]);
            let pods = workloads.of(peer).filter(|labels| !labels.is_empty())?;
            Some(format!(
                "        - namespaceSelector: {{matchLabels: {}}}\n          podSelector: {{matchLabels: {}}}\n",
                flow_map(&namespace),
                flow_map(pods)
            ))
        }
        "external" => Some(format!(
            "        - ipBlock: {{cidr: {}}}\n",
            quoted(&peer.name)
        )),
        _ => None,
    }
}

fn flow_map(map: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

/// JSON text is YAML text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn word(protocol: i32) -> Option<&'static str> {
    match protocol {
        6 => Some("TCP"),
        17 => Some("UDP"),
        132 => Some("SCTP"),
        _ => None,
    }
}

/// What a policy's name calls a subject.
fn name_of(subject: &Subject) -> &str {
    [&subject.workload, &subject.name, &subject.kind]
        .into_iter()
        .find(|text| !text.is_empty())
        .map_or("", String::as_str)
}

/// A name the API server accepts, of parts that are cut so that it never is too long.
fn policy_name(parts: &[&str]) -> String {
    let mut words = Vec::new();
    for part in parts {
        let clean: String = part
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
                _ => '-',
            })
            .take(60)
            .collect();
        let clean = clean.trim_matches('-');
        if !clean.is_empty() {
            words.push(clean.to_owned());
        }
    }
    words.join("-")
}

#[cfg(test)]
mod tests {
    use flowaudit_lake::table::endpoints::EndpointRow;
    use flowaudit_rules::cluster::{Cluster, Pod, Protocol};
    use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
    use flowaudit_rules::kubernetes;
    use flowaudit_rules::policy_set::PolicySet;
    use flowaudit_rules::verdict::Outcome;

    use super::*;

    fn pod(name: &str, labels: &str) -> EndpointRow {
        EndpointRow {
            addr: "10.0.0.1".into(),
            vpc_id: None,
            valid_from_us: 0,
            valid_to_us: None,
            from_slack_ms: Some(0),
            to_slack_ms: None,
            kind: "pod".into(),
            cluster: "c".into(),
            namespace: Some("shop".into()),
            name: format!("{name}-1"),
            uid: None,
            workload_kind: Some("Deployment".into()),
            workload: Some(name.into()),
            labels: Some(labels.into()),
            host_network: false,
            node: None,
            container_ports: None,
            service_account: None,
            eni_id: None,
            evidence: "snapshot".into(),
        }
    }

    fn workload(name: &str) -> Subject {
        Subject {
            kind: "pod".into(),
            cluster: "c".into(),
            namespace: "shop".into(),
            workload_kind: "Deployment".into(),
            workload: name.into(),
            name: String::new(),
        }
    }

    /// They have an address there, which no selector finds.
    #[test]
    fn pods_of_another_cluster_are_not_selected() {
        let elsewhere = EndpointRow {
            cluster: "d".into(),
            ..pod("cart", r#"{"app":"cart"}"#)
        };
        let workloads = Workloads::new(&[pod("cart", r#"{"app":"cart"}"#), elsewhere]);
        let told = |cluster: &str| {
            let peer = Subject {
                cluster: cluster.into(),
                ..workload("cart")
            };
            let (subject, networks) = (workload("redis"), BTreeSet::new());
            let port = (6379, 6);
            admit_peer(
                &subject,
                Direction::Ingress,
                &peer,
                &networks,
                port,
                &workloads,
            )
        };
        assert!(told("c").contains(r#"{"app": "cart"}"#), "{}", told("c"));
        assert!(told("d").contains("cannot name shop/cart"), "{}", told("d"));
    }

    fn rules_pod(name: &str, address: &str, labels: &[(&str, &str)]) -> Pod {
        Pod {
            addresses: vec![address.parse().unwrap()],
            namespace: "shop".into(),
            name: name.into(),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..Pod::default()
        }
    }

    #[test]
    fn the_policy_admits_what_was_observed_and_nothing_else() {
        // Values that YAML would take for something else than text.
        let odd = r#"{"app":"yes","pod-template-hash":"1","note":"1.0"}"#;
        let workloads = Workloads::new(&[pod("web", odd), pod("cart", r#"{"app":"cart"}"#)]);
        let observed = Observed::from([
            (workload("cart"), BTreeSet::from([(8080, 6), (0, 1)])),
            (
                Subject {
                    kind: "external".into(),
                    name: "198.51.100.0/24".into(),
                    ..Subject::default()
                },
                BTreeSet::from([(8080, 6)]),
            ),
            (
                Subject {
                    kind: "ambiguous".into(),
                    name: "10.0.0.9".into(),
                    ..Subject::default()
                },
                BTreeSet::from([(8080, 6)]),
            ),
        ]);
        let yaml = admit_observed(&workload("web"), Direction::Ingress, &observed, &workloads);
        assert!(
            yaml.contains(
                "# not admitted, because a policy cannot name it with certainty: 10.0.0.9"
            ),
            "{yaml}"
        );
        let manifest = kubernetes::read("remedy", &yaml);
        assert!(manifest.issues.is_empty(), "{yaml}\n{:?}", manifest.issues);
        let (policies, _) = PolicySet::from_objects(&manifest.objects);
        let server = rules_pod(
            "web-1",
            "10.0.0.1",
            &[("app", "yes"), ("note", "1.0"), ("pod-template-hash", "2")],
        );
        let (cart, other) = (
            rules_pod("cart-1", "10.0.0.2", &[("app", "cart")]),
            rules_pod("other-1", "10.0.0.3", &[]),
        );
        let cluster = Cluster::new(
            vec![],
            vec![],
            vec![server.clone(), cart.clone(), other.clone()],
            vec![],
        );
        let check = |client: Party<'_>, port, expected| {
            let connection = Connection {
                client,
                server: Party::pod(&server),
                port,
                protocol: Protocol::Tcp,
            };
            assert_eq!(
                evaluate(&policies, &cluster, Engine::Felix, &connection).outcome,
                expected,
                "{yaml}"
            );
        };
        check(Party::pod(&cart), 8080, Outcome::Allowed);
        check(Party::pod(&cart), 8081, Outcome::Denied);
        check(Party::pod(&other), 8080, Outcome::Denied);
        check(
            Party::external("198.51.100.77".parse().unwrap()),
            8080,
            Outcome::Allowed,
        );
        check(
            Party::external("198.51.101.77".parse().unwrap()),
            8080,
            Outcome::Denied,
        );
    }

    #[test]
    fn all_external_addresses_are_their_networks() {
        let workloads = Workloads::new(&[pod("web", r#"{"app":"web"}"#)]);
        let external = Subject {
            kind: "external".into(),
            ..Subject::default()
        };
        let networks = BTreeSet::from(["192.0.2.0/24".to_owned(), "2001:db8::/64".to_owned()]);
        let yaml = admit_peer(
            &workload("web"),
            Direction::Egress,
            &external,
            &networks,
            (443, 6),
            &workloads,
        );
        assert!(yaml.contains("name: \"web-to-external-tcp-443\""), "{yaml}");
        let manifest = kubernetes::read("remedy", &yaml);
        assert!(manifest.issues.is_empty(), "{yaml}\n{:?}", manifest.issues);
        for network in &networks {
            assert!(yaml.contains(&format!("cidr: \"{network}\"")), "{yaml}");
        }
        assert!(!yaml.contains("kube-dns"), "it admits nothing else: {yaml}");
    }

    #[test]
    fn what_admits_different_traffic_has_different_names() {
        let workloads = Workloads::new(&[
            pod("cart", r#"{"app":"cart"}"#),
            pod("web", r#"{"app":"web"}"#),
            pod("redis", r#"{"app":"redis"}"#),
            EndpointRow {
                namespace: Some("bookstore".into()),
                ..pod("cart", r#"{"app":"cart"}"#)
            },
        ]);
        let elsewhere = Subject {
            namespace: "bookstore".into(),
            ..workload("cart")
        };
        let peers = [&workload("cart"), &workload("web"), &elsewhere];
        let mut names = BTreeSet::new();
        for direction in [Direction::Ingress, Direction::Egress] {
            for peer in peers {
                for port in [(53, 17), (53, 6), (80, 6)] {
                    let none = BTreeSet::new();
                    let yaml =
                        admit_peer(&workload("redis"), direction, peer, &none, port, &workloads);
                    let name = yaml.lines().find(|line| line.starts_with("  name: "));
                    names.insert(name.map(str::to_owned));
                }
            }
        }
        assert_eq!(names.len(), 2 * 3 * 3, "{names:?}");
        assert!(!names.contains(&None));
    }

    #[test]
    fn what_no_policy_can_say_is_said_in_words() {
        let workloads = Workloads::new(&[pod("web", r#"{"app":"web"}"#)]);
        let node = Subject {
            kind: "node".into(),
            name: "node-a".into(),
            ..Subject::default()
        };
        let (none, web) = (BTreeSet::new(), workload("web"));
        let of = |peer, port| admit_peer(&web, Direction::Ingress, peer, &none, port, &workloads);
        for (text, says) in [
            (of(&node, (80, 6)), "cannot name node node-a"),
            (of(&web, (0, 1)), "what becomes of protocol 1"),
        ] {
            assert!(text.contains(says), "{text}");
            assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        }
    }

    #[test]
    fn every_remedy_is_an_object_the_api_server_takes() {
        let workloads = Workloads::new(&[]);
        for direction in [Direction::Ingress, Direction::Egress] {
            for yaml in [
                default_deny("shop", direction),
                admit_observed(&workload("Wéb_1"), direction, &Observed::new(), &workloads),
            ] {
                let manifest = kubernetes::read("remedy", &yaml);
                assert!(
                    manifest.issues.is_empty() && manifest.objects.len() == 1,
                    "{yaml}\n{:?}",
                    manifest.issues
                );
            }
        }
    }
}
