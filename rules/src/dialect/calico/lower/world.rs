//! What Calico's policies refer to: tiers, network sets, host endpoints, service accounts, Services.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::super::selector::Selector;
use super::super::{HostEndpoint, NAME_KEY, NetworkSet, Resource};
use super::labels::{AccountLabels, SetLabels, matching};
use super::{BUILT_IN_TIERS, order};
use crate::cluster::{Labels, Namespace, Service};
use crate::kubernetes::Body;
use crate::label::{Expression, Key, LabelMatch};
use crate::policy::{AddressSet, Tier, TierDefault};

/// How many network sets, service accounts and ports of Services rules are held against before the rest counts as not evaluated.
/// A cluster has some hundred policies and sets; only a document made to hurt has thousands of both.
const LOOKS_MAX: usize = 4_000_000;

/// Everything that policies refer to, by name.
pub(super) struct World<'o> {
    tiers: HashMap<&'o str, Tier>,
    sets: Vec<Set<'o>>,
    namespaces: HashMap<&'o str, &'o Namespace>,
    services: HashMap<(&'o str, &'o str), &'o Service>,
    accounts: BTreeMap<(&'o str, &'o str), &'o Labels>,
    /// Whether some pod may have a service account of which nothing but the name is known.
    has_unknown_accounts: bool,
    host_endpoint: Option<&'o HostEndpoint>,
    /// How many of [`LOOKS_MAX`] are left.
    looks: Cell<usize>,
}

/// A network set or host endpoint: addresses with labels.
pub(super) struct Set<'o> {
    pub(super) labels: SetLabels<'o>,
    /// The namespace it lives in, by the labels that selectors see.
    pub(super) namespace: Option<Cow<'o, Namespace>>,
    pub(super) addresses: Arc<AddressSet>,
    pub(super) has_domains: bool,
}

/// Pods by the labels of their service account: which surely match, and of which that is not known.
pub(super) struct Accounts {
    pub(super) surely: LabelMatch,
    pub(super) perhaps: Option<LabelMatch>,
}

impl<'o> World<'o> {
    pub(super) fn new(bodies: &[&'o Body]) -> Self {
        let mut world = Self {
            tiers: HashMap::new(),
            sets: Vec::new(),
            namespaces: HashMap::new(),
            services: HashMap::new(),
            accounts: BTreeMap::new(),
            has_unknown_accounts: true,
            host_endpoint: None,
            looks: Cell::new(LOOKS_MAX),
        };
        let mut used: HashSet<(&str, &str)> = HashSet::new();
        let mut sets: BTreeMap<(Option<&str>, &str), &NetworkSet> = BTreeMap::new();
        let mut endpoints: BTreeMap<&str, &HostEndpoint> = BTreeMap::new();
        for body in bodies {
            match body {
                Body::Namespace(namespace) => {
                    world.namespaces.insert(&namespace.name, namespace);
                }
                Body::Service(service) => {
                    let key = (service.namespace.as_str(), service.name.as_str());
                    world.services.insert(key, service);
                }
                Body::ServiceAccount(account) => {
                    let key = (account.namespace.as_str(), account.name.as_str());
                    world.accounts.insert(key, &account.labels);
                }
                Body::Pod(pod) => {
                    let account = pod.service_account.as_deref().unwrap_or("default");
                    used.insert((&pod.namespace, account));
                }
                Body::Calico(resource) => match resource.as_ref() {
                    Resource::Tier(tier) => {
                        world.tiers.insert(&tier.name, self::tier(tier));
                    }
                    Resource::NetworkSet(set) => {
                        sets.insert((set.namespace.as_deref(), &set.name), set);
                    }
                    Resource::HostEndpoint(endpoint) => {
                        endpoints.insert(&endpoint.name, endpoint);
                    }
                    Resource::Policy(_) | Resource::Staged(_) => {}
                },
                _ => {}
            }
        }
        // These are as they are, whatever an object of the name says.
        for tier in &BUILT_IN_TIERS {
            world.tiers.insert(&tier.name, tier.clone());
        }
        // Where no pods are shown, nothing is known of them.
        let mut used = used.iter().peekable();
        world.has_unknown_accounts =
            used.peek().is_none() || used.any(|account| !world.accounts.contains_key(account));
        world.host_endpoint = endpoints.values().next().copied();
        let sets = sets.into_values().map(|set| world.network_set(set));
        let endpoints = endpoints.into_values().map(host_endpoint);
        world.sets = sets.chain(endpoints).collect();
        world
    }

    fn network_set(&self, set: &'o NetworkSet) -> Set<'o> {
        let namespace = set.namespace.as_deref();
        let title = match namespace {
            Some(namespace) => format!("NetworkSet {namespace}/{}", set.name),
            None => format!("GlobalNetworkSet {}", set.name),
        };
        Set {
            labels: SetLabels {
                labels: &set.labels,
                namespace,
            },
            namespace: namespace.map(|name| match self.namespaces.get(name) {
                Some(namespace) => Cow::Borrowed(*namespace),
                None => Cow::Owned(Namespace::named(name)),
            }),
            addresses: Arc::new(AddressSet::new(title, set.nets.clone())),
            has_domains: !set.domains.is_empty(),
        }
    }

    pub(super) fn tier(&self, name: &str) -> Option<Tier> {
        self.tiers.get(name).cloned()
    }

    /// The network sets and host endpoints; `None` when too many were looked at already.
    pub(super) fn sets(&self) -> Option<&[Set<'o>]> {
        self.affords(self.sets.len()).then_some(&self.sets)
    }

    /// Whether so many more may be looked at.
    pub(super) fn affords(&self, looks: usize) -> bool {
        let left = self.looks.get().checked_sub(looks);
        self.looks.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&'o Service> {
        self.services.get(&(namespace, name)).copied()
    }

    pub(super) fn first_host_endpoint(&self) -> Option<&'o HostEndpoint> {
        self.host_endpoint
    }

    /// The pods whose service account fulfils `selector`.
    pub(super) fn accounts(&self, selector: &Selector) -> Accounts {
        let mut by_name = matching(selector, |key| match key {
            NAME_KEY => Key::ServiceAccount,
            key => Key::Label(key.to_owned()),
        });
        by_name.words = match by_name.is_everything() {
            true => String::new(),
            false => format!("whose service account has {selector}"),
        };
        let mut speaks_of_labels = false;
        by_name
            .expression
            .each_key(&mut |key| speaks_of_labels |= matches!(key, Key::Label(_)));
        if !speaks_of_labels {
            // The name is all it takes, and that every pod tells.
            return Accounts {
                surely: by_name,
                perhaps: None,
            };
        }
        if !self.affords(self.accounts.len()) {
            return Accounts {
                surely: LabelMatch {
                    expression: Expression::Any(Vec::new()),
                    words: by_name.words,
                },
                perhaps: Some(LabelMatch::default()),
            };
        }
        let holds = |(key, labels): &(&(&str, &str), &&Labels)| {
            by_name.expression.holds(&AccountLabels {
                labels,
                name: key.1,
            })
        };
        let matching = self.accounts.iter().filter(holds).map(|(key, _)| *key);
        let surely = one_of(matching);
        let perhaps = self.has_unknown_accounts.then(|| LabelMatch {
            expression: Expression::Not(Box::new(one_of(self.accounts.keys().copied()))),
            words: "with a service account of unknown labels".to_owned(),
        });
        Accounts {
            surely: LabelMatch {
                expression: surely,
                words: by_name.words,
            },
            perhaps,
        }
    }
}

fn tier(tier: &super::super::Tier) -> Tier {
    Tier {
        order: order(tier.order),
        name: tier.name.clone().into(),
        default: match tier.default_passes {
            true => TierDefault::Pass,
            false => TierDefault::Deny,
        },
    }
}

fn host_endpoint(endpoint: &HostEndpoint) -> Set<'_> {
    let addresses = endpoint.addresses.iter().copied();
    let title = format!("HostEndpoint {}", endpoint.name);
    Set {
        labels: SetLabels {
            labels: &endpoint.labels,
            namespace: None,
        },
        namespace: None,
        addresses: Arc::new(AddressSet::new(title, addresses.map(IpNet::from).collect())),
        has_domains: false,
    }
}

/// A pod with one of these service accounts, each a namespace and a name, in order.
fn one_of<'o>(accounts: impl Iterator<Item = (&'o str, &'o str)>) -> Expression {
    let mut by_namespace: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (namespace, name) in accounts {
        let names = by_namespace.entry(namespace).or_default();
        names.push(name.to_owned());
    }
    let parts = by_namespace.into_iter().map(|(namespace, names)| {
        Expression::All(vec![
            Expression::In(Key::Namespace, vec![namespace.to_owned()]),
            Expression::In(Key::ServiceAccount, names),
        ])
    });
    Expression::Any(parts.collect())
}
