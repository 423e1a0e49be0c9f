//! Cilium's policies in the common form: what allows adds up with NetworkPolicy, what denies goes before everything.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::selector::{self, Endpoints};
use super::{
    CidrGroup, CidrRule, CiliumPolicy, Icmp, Peers, Port, PortNumber, PortRule, Rule, Section,
    ServiceRef, Spec, Subject,
};
use crate::cidr::Block;
use crate::cluster::{Labels, Protocol, Service};
use crate::kubernetes::Body;
use crate::label::LabelMatch;
use crate::policy::{
    self, Action, AddressSet, Entity, Family, Kind, Order, Peer, Policy, PolicyId, Reach, Tier,
};
use crate::port::{PortClause, Traffic};
use crate::reading::Unspecified;

/// How often a selector is held against a Service or a group of blocks before the rest counts as not evaluated. A
/// cluster has some hundred such rules and some thousand of these; only a document made to hurt has many of both.
const LOOKS_MAX: usize = 500_000;

/// The policies that Cilium's objects among `bodies` become: for each spec one that denies and one that allows, where
/// it has something to say.
pub(crate) fn lower(bodies: &[&Body]) -> Vec<Policy> {
    let mut world = World {
        looks: Cell::new(LOOKS_MAX),
        ..World::default()
    };
    let mut policies: Vec<&CiliumPolicy> = Vec::new();
    for body in bodies {
        match body {
            Body::Cilium(policy) => policies.push(policy),
            Body::CiliumCidrGroup(group) => {
                world.groups.insert(&group.name, self::group(group));
            }
            Body::Service(service) => {
                let key = (service.namespace.as_str(), service.name.as_str());
                world.services.insert(key, service);
            }
            _ => {}
        }
    }
    let each = policies.into_iter().flat_map(|policy| {
        let lowering = Lowering {
            policy,
            world: &world,
        };
        policy
            .specs
            .iter()
            .flat_map(move |spec| lowering.spec(spec))
    });
    each.collect()
}

/// What policies name and do not hold themselves.
#[derive(Default)]
struct World<'w> {
    /// Every CiliumCIDRGroup, by name.
    groups: BTreeMap<&'w str, Group<'w>>,
    /// Every Service, by namespace and name.
    services: BTreeMap<(&'w str, &'w str), &'w Service>,
    /// How many of [`LOOKS_MAX`] are left.
    looks: Cell<usize>,
}

impl World<'_> {
    fn affords(&self, looks: usize) -> bool {
        let left = self.looks.get().checked_sub(looks);
        self.looks.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// A CiliumCIDRGroup. However many rules name it, its blocks are there once.
struct Group<'w> {
    labels: &'w Labels,
    blocks: Arc<AddressSet>,
}

fn group(group: &CidrGroup) -> Group<'_> {
    let name = format!("CiliumCIDRGroup {}", group.name);
    Group {
        labels: &group.labels,
        blocks: Arc::new(AddressSet::new(name, group.blocks.clone())),
    }
}

#[derive(Clone, Copy)]
struct Lowering<'l> {
    policy: &'l CiliumPolicy,
    world: &'l World<'l>,
}

impl Lowering<'_> {
    fn namespace(&self) -> Option<&str> {
        self.policy.namespace.as_deref()
    }

    fn spec(&self, spec: &Spec) -> Vec<Policy> {
        let (subject, is_clear) = match &spec.subject {
            Subject::Nodes(nodes) => (policy::Subject::Nodes(selector::nodes(nodes)), true),
            Subject::Endpoints(pods) => {
                let Endpoints {
                    pods,
                    names_cluster,
                } = selector::subject(pods, self.namespace());
                (policy::Subject::Pods(pods), !names_cluster)
            }
        };
        let part = |tier, section: &dyn Fn(&Section) -> Option<policy::Section>| Policy {
            id: PolicyId {
                kind: match self.policy.namespace {
                    Some(_) => Kind::CiliumNetworkPolicy,
                    None => Kind::CiliumClusterwideNetworkPolicy,
                },
                namespace: self.policy.namespace.clone(),
                name: self.policy.name.clone(),
            },
            tier,
            order: Order::NETWORK_POLICY,
            subject: subject.clone(),
            ingress: section(&spec.ingress),
            egress: section(&spec.egress),
            open: Some(match is_clear {
                true => Unspecified::CiliumOnly,
                false => Unspecified::NotEvaluated,
            }),
        };
        let parts = [
            part(Tier::FIRST, &|section| self.denying(section)),
            part(Tier::DEFAULT, &|section| self.allowing(section)),
        ];
        let says_something = |part: &Policy| part.ingress.is_some() || part.egress.is_some();
        parts.into_iter().filter(says_something).collect()
    }

    /// What denies; then what is required of peers, as a denial of everyone else.
    fn denying(&self, section: &Section) -> Option<policy::Section> {
        let deny = section.deny.iter().map(|rule| policy::Rule {
            action: Action::Deny,
            ..self.rule(rule)
        });
        let required = section.allow.iter().chain(&section.deny);
        let required = required.filter(|rule| !rule.requires.is_empty());
        let required = required.map(|rule| policy::Rule {
            action: Action::Deny,
            peers: vec![Peer::Not(Box::new(Peer::Any(
                rule.requires
                    .iter()
                    .map(|selector| self.endpoints(selector))
                    .collect(),
            )))],
            // New versions of Cilium know nothing of it.
            open: Some(Unspecified::NotEvaluated),
            ..policy::Rule::default()
        });
        let rules: Vec<policy::Rule> = deny.chain(required).collect();
        (!rules.is_empty()).then_some(policy::Section {
            rules,
            isolates: false,
        })
    }

    fn allowing(&self, section: &Section) -> Option<policy::Section> {
        let rules: Vec<policy::Rule> = section.allow.iter().map(|rule| self.rule(rule)).collect();
        let isolates = section.isolates();
        (isolates || !rules.is_empty()).then_some(policy::Section { rules, isolates })
    }

    fn rule(&self, rule: &Rule) -> policy::Rule {
        let is_empty = rule.ports.is_empty() && rule.icmps.is_empty();
        let peers = match &rule.peers {
            // The whole of `{}`: it isolates, and matches nothing.
            Peers::Unsaid if is_empty => vec![Peer::NOBODY],
            Peers::Unsaid => Vec::new(),
            Peers::Nobody => vec![Peer::NOBODY],
            Peers::Endpoints(list) => list.iter().map(|s| self.endpoints(s)).collect(),
            Peers::Nodes(list) => list.iter().map(node).collect(),
            Peers::Entities(list) => list.iter().map(|entity| self::entity(*entity)).collect(),
            Peers::Blocks(list) => list.iter().map(|cidr| self.cidr(cidr)).collect(),
            Peers::Services(list) => list.iter().map(|service| self.service(service)).collect(),
            Peers::Names(list) => list
                .iter()
                .map(|_| outside(Unspecified::DomainName))
                .collect(),
            Peers::Groups => vec![outside(Unspecified::NotEvaluated)],
        };
        let has_content = rule.ports.iter().any(|ports| !ports.content.is_empty());
        // Ports without a port: what Cilium makes of them is not written anywhere.
        let is_odd = rule.ports.iter().any(|ports| ports.ports.is_empty());
        policy::Rule {
            action: Action::Allow,
            peers,
            traffic: traffic(&rule.ports, &rule.icmps),
            open: if is_odd || rule.authentication {
                Some(Unspecified::NotEvaluated)
            } else if has_content {
                Some(Unspecified::ApplicationLayer)
            } else if !rule.icmps.is_empty() {
                Some(Unspecified::IcmpType)
            } else {
                None
            },
            ..policy::Rule::default()
        }
    }

    /// Pods, or what a reserved label stands for.
    fn endpoints(&self, selector: &crate::selector::Selector) -> Peer {
        if let Some(entity) = selector::reserved(selector) {
            return self::entity(entity);
        }
        if selector::speaks_of_reserved(selector) {
            return Peer::Open(Unspecified::NotEvaluated);
        }
        let Endpoints {
            pods,
            names_cluster,
        } = selector::endpoints(selector, self.namespace());
        match names_cluster {
            false => Peer::Pods(pods),
            true => Peer::All(vec![
                Peer::Pods(pods),
                Peer::Open(Unspecified::NotEvaluated),
            ]),
        }
    }

    fn cidr(&self, rule: &CidrRule) -> Peer {
        match rule {
            CidrRule::Block(cidr) => block(cidr),
            CidrRule::Group { name, except } => match self.world.groups.get(name.as_str()) {
                Some(group) => blocks_of(&[group], except),
                // It may only not have been read.
                None => outside(Unspecified::NotEvaluated),
            },
            CidrRule::Groups { selector, except } => {
                let all = self.world.groups.values();
                let selected: Vec<&Group<'_>> = match self.world.affords(all.len()) {
                    true => all.filter(|g| selector.matches(g.labels)).collect(),
                    false => Vec::new(),
                };
                match selected.is_empty() {
                    true => outside(Unspecified::NotEvaluated),
                    false => blocks_of(&selected, except),
                }
            }
        }
    }

    fn service(&self, service: &ServiceRef) -> Peer {
        match service {
            ServiceRef::Named {
                namespace: Some(namespace),
                name,
            } => {
                let known = self.world.services.get(&(namespace, name));
                self.pods_behind(known.copied(), namespace, name)
            }
            // Of which namespace is not written anywhere.
            ServiceRef::Named { .. } => Peer::Open(Unspecified::NotEvaluated),
            ServiceRef::Labelled {
                namespace,
                selector,
            } => {
                let in_namespace =
                    |s: &&&Service| namespace.as_ref().is_none_or(|n| *n == s.namespace);
                let services = self.world.services.values();
                let selected: Vec<Peer> = match self.world.affords(services.len()) {
                    true => services
                        .filter(in_namespace)
                        .filter(|service| selector.matches(&service.labels))
                        .map(|s| self.pods_behind(Some(s), &s.namespace, &s.name))
                        .collect(),
                    false => Vec::new(),
                };
                match selected.is_empty() {
                    // They may only not have been read.
                    true => Peer::Open(Unspecified::NotEvaluated),
                    false => Peer::Any(selected),
                }
            }
        }
    }

    /// Its selector is a selector of endpoints; without one its addresses count as blocks, which are not known here.
    fn pods_behind(&self, service: Option<&Service>, namespace: &str, name: &str) -> Peer {
        match service {
            Some(service) if service.selector.as_ref().is_some_and(|s| !s.is_empty()) => {
                Peer::Service {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }
            }
            Some(_) => outside(Unspecified::NotEvaluated),
            None => Peer::Open(Unspecified::NotEvaluated),
        }
    }
}

/// What is outside the cluster, as far as something unknown goes.
fn outside(point: Unspecified) -> Peer {
    Peer::All(vec![Peer::Entity(Entity::World), Peer::Open(point)])
}

/// What is outside the cluster in the blocks of these groups, less exceptions.
fn blocks_of(groups: &[&Group<'_>], except: &[IpNet]) -> Peer {
    let sets = groups
        .iter()
        .map(|group| Peer::AddressSet(Arc::clone(&group.blocks)));
    let mut parts = vec![Peer::Entity(Entity::World), Peer::Any(sets.collect())];
    let except = except.iter().map(|&cidr| {
        block(&Block {
            cidr,
            except: Vec::new(),
        })
    });
    let except: Vec<Peer> = except.collect();
    if !except.is_empty() {
        parts.push(Peer::Not(Box::new(Peer::Any(except))));
    }
    Peer::All(parts)
}

fn block(block: &Block) -> Peer {
    Peer::Addresses {
        block: block.clone(),
        reach: Reach::Outside,
    }
}

fn entity(entity: Option<Entity>) -> Peer {
    entity.map_or(Peer::NOBODY, Peer::Entity)
}

/// Other nodes, where Cilium was told to look at their labels.
fn node(selector: &crate::selector::Selector) -> Peer {
    let nodes: LabelMatch = selector::nodes(selector);
    Peer::All(vec![
        Peer::Nodes(nodes),
        Peer::Entity(Entity::RemoteNode),
        Peer::Open(Unspecified::NodeLabels),
    ])
}

fn traffic(ports: &[PortRule], icmps: &[Icmp]) -> Vec<Traffic> {
    let ports = ports.iter().flat_map(|rule| &rule.ports);
    let ports = ports.map(|Port { number, protocol }| Traffic {
        protocol: *protocol,
        port: match number {
            PortNumber::Any => None,
            PortNumber::Range(first, last) => Some(PortClause::Range(*first, *last)),
            PortNumber::Named(name) => Some(PortClause::Named(name.clone())),
        },
    });
    let icmps = icmps.iter().map(|icmp| Traffic {
        protocol: Some(Protocol::Other(match icmp.family {
            Family::V4 => 1,
            Family::V6 => 58,
        })),
        port: None,
    });
    ports.chain(icmps).collect()
}
