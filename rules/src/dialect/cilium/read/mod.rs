//! From the tree to Cilium's policies, refusing what the API server or Cilium refuses.

mod port;
mod rule;

use ipnet::IpNet;

use super::selector::{OWN_NAMESPACE, selector};
use super::{CidrGroup, CiliumPolicy, Section, Spec, Subject};
use crate::cidr;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::tree::shorten;
use crate::policy::{Direction, Entity};
use rule::{EGRESS, INGRESS};

const SPEC_FIELDS: [&str; 10] = [
    "endpointSelector",
    "nodeSelector",
    "ingress",
    "ingressDeny",
    "egress",
    "egressDeny",
    "enableDefaultDeny",
    "description",
    "labels",
    "log",
];

/// Reads a policy of either kind. What is returned is only good if nothing was noted as an error.
pub(crate) fn policy(
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> CiliumPolicy {
    let (one, many) = (root.get("spec"), root.get("specs"));
    let mut policy = CiliumPolicy {
        namespace: common.namespace.clone(),
        name: common.name.clone(),
        specs: Vec::new(),
    };
    if one.is_absent() && many.is_absent() {
        let help = "give `spec`, or several under `specs`";
        notes.error(&one, "is missing".to_owned(), Some(help.to_owned()));
    }
    if !one.is_absent() {
        policy.specs.extend(spec(&one, common, notes));
    }
    for entry in many.items(notes) {
        policy.specs.extend(spec(&entry, common, notes));
    }
    policy
}

/// Reads a CiliumCIDRGroup.
pub(crate) fn cidr_group(
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> CidrGroup {
    let spec = root.get("spec");
    spec.expect_map(notes);
    let mut blocks = Vec::new();
    for entry in spec.get("externalCIDRs").items(notes) {
        blocks.extend(block(&entry, false, notes));
    }
    CidrGroup {
        name: common.name.clone(),
        labels: common.labels.clone(),
        blocks,
    }
}

fn spec(field: &Field<'_, '_>, common: &Metadata, notes: &mut Notes<'_>) -> Option<Spec> {
    field.expect_map(notes);
    field.expect_keys(&SPEC_FIELDS, notes);
    let subject = subject(field, common, notes);
    let of_nodes = matches!(subject, Some(Subject::Nodes(_)));
    let defaults = field.get("enableDefaultDeny");
    defaults.expect_map(notes);
    defaults.expect_keys(&["ingress", "egress"], notes);
    let mut section = |direction, keys: [&'static str; 3]| {
        let names = match direction {
            Direction::Ingress => &INGRESS,
            Direction::Egress => &EGRESS,
        };
        let mut rules = |key: &'static str, is_deny| {
            let list = field.get(key);
            let entries: Vec<Field<'_, '_>> = list.items(notes).collect();
            let rules = entries
                .iter()
                .map(|entry| rule::rule(entry, names, is_deny, of_nodes, notes));
            rules.collect::<Vec<_>>()
        };
        let [allow, deny, default_deny] = keys;
        Section {
            allow: rules(allow, false),
            deny: rules(deny, true),
            default_deny: defaults.get(default_deny).bool(notes),
        }
    };
    let ingress = section(Direction::Ingress, ["ingress", "ingressDeny", "ingress"]);
    let egress = section(Direction::Egress, ["egress", "egressDeny", "egress"]);
    Some(Spec {
        subject: subject?,
        ingress,
        egress,
    })
}

fn subject(field: &Field<'_, '_>, common: &Metadata, notes: &mut Notes<'_>) -> Option<Subject> {
    let (endpoints, nodes) = (field.get("endpointSelector"), field.get("nodeSelector"));
    match (endpoints.is_absent(), nodes.is_absent()) {
        (true, true) => {
            let help = "write `endpointSelector: {}` to mean every pod";
            notes.error(&endpoints, "is missing".to_owned(), Some(help.to_owned()));
            None
        }
        (false, false) => {
            let help = "a policy is either for pods or for nodes; make two specs of it";
            notes.error(
                &nodes,
                "must not stand beside an endpointSelector".to_owned(),
                Some(help.to_owned()),
            );
            None
        }
        (false, true) => {
            let selector = selector(&endpoints, notes);
            let other = selector.labels.get(OWN_NAMESPACE);
            if let (Some(own), Some(other)) = (&common.namespace, other)
                && own != other
            {
                let help = "use CiliumClusterwideNetworkPolicy to concern pods of other namespaces";
                let shown = shorten(other);
                notes.warn(
                    &endpoints,
                    format!("names the namespace `{shown}`, but a policy concerns its own namespace only"),
                    Some(help.to_owned()),
                );
            }
            Some(Subject::Endpoints(selector))
        }
        (true, false) => {
            if common.namespace.is_some() {
                let help = "policies for nodes are of kind CiliumClusterwideNetworkPolicy";
                notes.error(
                    &nodes,
                    "must not stand in a policy of one namespace".to_owned(),
                    Some(help.to_owned()),
                );
            }
            Some(Subject::Nodes(selector(&nodes, notes)))
        }
    }
}

/// The entity of a word; `Some(None)` is the one that never exists.
pub(super) fn entity(word: &str) -> Option<Option<Entity>> {
    Some(Some(match word {
        "host" => Entity::Host,
        "remote-node" => Entity::RemoteNode,
        "kube-apiserver" => Entity::KubeApiserver,
        "cluster" => Entity::Cluster,
        "world" => Entity::World,
        "world-ipv4" => Entity::WorldIpv4,
        "world-ipv6" => Entity::WorldIpv6,
        "all" => Entity::All,
        "init" => Entity::Internal("init"),
        "health" => Entity::Internal("health"),
        "unmanaged" => Entity::Internal("unmanaged"),
        "ingress" => Entity::Internal("ingress"),
        "none" => return Some(None),
        _ => return None,
    }))
}

/// An address block; where allowed also a bare address.
fn block(field: &Field<'_, '_>, needs_length: bool, notes: &mut Notes<'_>) -> Option<IpNet> {
    if field.is_absent() {
        let help = "write address/length, such as 10.0.0.0/8";
        notes.error(field, "is missing".to_owned(), Some(help.to_owned()));
        return None;
    }
    let text = field.text(notes)?;
    let alone = || cidr::parse_address(text).filter(|_| !needs_length);
    let parsed = cidr::parse(text).or_else(|| alone().map(IpNet::from));
    if parsed.is_none() {
        let shown = shorten(text);
        notes.error(
            field,
            format!("`{shown}` is not an address block"),
            Some(
                "write address/length, such as 10.0.0.0/8, or /32 for a single address".to_owned(),
            ),
        );
    }
    parsed
}
