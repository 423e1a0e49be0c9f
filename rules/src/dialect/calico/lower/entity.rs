//! One end of a rule as a condition on an end of a connection (policy-semantics §3.3).

use ipnet::IpNet;

use super::super::CalicoPolicy;
use super::super::rule::Entity;
use super::super::selector::Selector;
use super::labels;
use super::world::{Set, World};
use crate::cidr::Block;
use crate::cluster::Labels;
use crate::label::{Expression, Key, LabelMatch};
use crate::policy::{Namespaces, Peer, Pods, Reach};
use crate::reading::Unspecified;

/// What the end must be, as alternatives; empty restricts nothing.
pub(super) fn lower(world: &World<'_>, policy: &CalicoPolicy, entity: &Entity) -> Vec<Peer> {
    let mut parts = Vec::new();
    if !entity.nets.is_empty() {
        parts.push(any(entity.nets.iter().map(addresses).collect()));
    }
    if !entity.not_nets.is_empty() {
        let nets = entity.not_nets.iter().map(addresses).collect();
        parts.push(Peer::Not(Box::new(any(nets))));
    }
    if let Some(scope) = Scope::of(policy, entity) {
        parts.push(any(members(world, &scope, Wanted::of(entity))));
    } else if let (Some(namespace), Some(_)) = (&policy.namespace, &entity.not_selector) {
        // Felix keeps a rule with nothing but a notSelector to the policy's namespace, the documentation does not.
        let mut alternatives = members(world, &Scope::Own(namespace), Wanted::default());
        alternatives.push(Peer::Open(Unspecified::NotSelectorOutside));
        parts.push(any(alternatives));
    }
    if let Some(selector) = &entity.not_selector {
        let wanted = Wanted {
            selector: Some(selector),
            ..Wanted::default()
        };
        let excluded = any(members(world, &Scope::Any, wanted));
        parts.push(Peer::Not(Box::new(excluded)));
    }
    if let Some(service) = &entity.service {
        let namespace = service.namespace.as_ref().or(policy.namespace.as_ref());
        let namespace = namespace.cloned().unwrap_or_default();
        let known = world.service(&namespace, &service.name);
        parts.push(match known {
            // Its endpoints are kept by hand, and not known.
            Some(known) if known.selector.is_none() => Peer::Open(Unspecified::NotEvaluated),
            _ => Peer::Service {
                namespace,
                name: service.name.clone(),
            },
        });
    }
    match parts.pop() {
        None => Vec::new(),
        Some(Peer::Any(alternatives)) if parts.is_empty() && !alternatives.is_empty() => {
            alternatives
        }
        Some(last) if parts.is_empty() => vec![last],
        Some(last) => {
            parts.push(last);
            vec![Peer::All(parts)]
        }
    }
}

/// Among whom a selector looks.
enum Scope<'p> {
    /// All pods, network sets and host endpoints.
    Any,
    /// Those of the policy's namespace.
    Own(&'p str),
    /// Those of namespaces with these labels.
    Matching(&'p Selector),
    /// Those without a namespace.
    Global,
}

impl<'p> Scope<'p> {
    /// `None` when the end is not restricted to endpoints at all.
    fn of(policy: &'p CalicoPolicy, entity: &'p Entity) -> Option<Self> {
        let speaks_of_endpoints = entity.selector.is_some() || entity.service_accounts.is_some();
        match (&entity.namespace_selector, &policy.namespace) {
            (Some(Selector::Global), _) => Some(Self::Global),
            (Some(selector), _) => Some(Self::Matching(selector)),
            (None, Some(namespace)) if speaks_of_endpoints => Some(Self::Own(namespace)),
            (None, None) if speaks_of_endpoints => Some(Self::Any),
            (None, _) => None,
        }
    }

    /// The pods among them; `None` when there are none.
    fn namespaces(&self) -> Option<Namespaces> {
        match self {
            Self::Any => Some(Namespaces::Matching(LabelMatch::default())),
            Self::Own(name) => Some(Namespaces::Named((*name).to_owned())),
            Self::Matching(selector) => Some(Namespaces::Matching(labels::of_namespaces(selector))),
            Self::Global => None,
        }
    }

    fn has(&self, set: &Set<'_>) -> bool {
        match (self, &set.namespace) {
            (Self::Any, _) => true,
            (Self::Own(name), Some(namespace)) => namespace.name == *name,
            (Self::Matching(selector), Some(namespace)) => {
                labels::of_namespaces(selector).matches(namespace.as_ref())
            }
            (Self::Global, namespace) => namespace.is_none(),
            (Self::Own(_) | Self::Matching(_), None) => false,
        }
    }
}

/// Who is looked for.
#[derive(Clone, Copy, Default)]
struct Wanted<'e> {
    selector: Option<&'e Selector>,
    account_names: &'e [String],
    account_selector: Option<&'e Selector>,
}

impl<'e> Wanted<'e> {
    fn of(entity: &'e Entity) -> Self {
        let accounts = entity.service_accounts.as_ref();
        Self {
            selector: entity.selector.as_ref(),
            account_names: accounts.map_or(&[], |accounts| &accounts.names),
            account_selector: accounts.and_then(|accounts| accounts.selector.as_ref()),
        }
    }
}

/// The pods, network sets and host endpoints that are wanted.
fn members(world: &World<'_>, scope: &Scope<'_>, wanted: Wanted<'_>) -> Vec<Peer> {
    let mut members = Vec::new();
    let selector = wanted.selector.map(labels::of_pods);
    if let Some(namespaces) = scope.namespaces() {
        let names = (!wanted.account_names.is_empty()).then(|| LabelMatch {
            expression: Expression::In(Key::ServiceAccount, wanted.account_names.to_vec()),
            words: format!("with service account {}", wanted.account_names.join(" or ")),
        });
        let pods = |account: Option<LabelMatch>| {
            Peer::Pods(Pods {
                namespaces: namespaces.clone(),
                pods: labels::all([selector.clone(), names.clone(), account]),
            })
        };
        match wanted.account_selector.map(|s| world.accounts(s)) {
            None => members.push(pods(None)),
            Some(accounts) => {
                members.push(pods(Some(accounts.surely)));
                members.extend(accounts.perhaps.map(|account| {
                    let open = Peer::Open(Unspecified::ServiceAccountLabels);
                    Peer::All(vec![pods(Some(account)), open])
                }));
            }
        }
    }
    // What is no pod has no service account, and none of the labels of one.
    let none = Labels::new();
    let no_account = labels::AccountLabels {
        labels: &none,
        name: "",
    };
    let is_open_to_sets = wanted.account_names.is_empty()
        && wanted
            .account_selector
            .is_none_or(|selector| super::expression(selector).holds(&no_account));
    let Some(sets) = world.sets() else {
        members.push(Peer::Open(Unspecified::NotEvaluated));
        return members;
    };
    let sets = sets.iter().filter(|set| {
        is_open_to_sets
            && scope.has(set)
            && selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&set.labels))
    });
    for set in sets {
        if !set.addresses.is_empty() {
            members.push(Peer::AddressSet(set.addresses.clone()));
        }
        if set.has_domains {
            members.push(Peer::Open(Unspecified::DomainName));
        }
    }
    members
}

fn addresses(net: &IpNet) -> Peer {
    Peer::Addresses {
        block: Block {
            cidr: *net,
            except: Vec::new(),
        },
        reach: Reach::Everyone,
    }
}

/// One of these, which may be a single one.
fn any(mut peers: Vec<Peer>) -> Peer {
    match peers.pop() {
        Some(only) if peers.is_empty() => only,
        Some(last) => {
            peers.push(last);
            Peer::Any(peers)
        }
        None => Peer::NOBODY,
    }
}
