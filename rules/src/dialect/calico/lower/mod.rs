//! Calico's objects in the common form (policy-semantics §3.1, §3.3, §3.4).
//!
//! They are lowered together: policies name tiers, and their selectors see network sets, host endpoints and service
//! accounts beside the pods.

mod entity;
mod labels;
mod rule;
mod world;

use std::collections::HashSet;

use super::selector::Selector;
use super::{CalicoPolicy, HostEndpoint, Resource};
use crate::kubernetes::{Body, Cause, Issue, Object, Severity};
use crate::label::{Expression, LabelMatch};
use crate::policy::{
    Action, Direction, Kind, Namespaces, Order, Pods, Policy, PolicyId, Rule, Section, Subject,
    Tier, TierDefault,
};
use crate::reading::Unspecified;
use world::World;

/// The policies that Calico's objects among `bodies` become, all of them together.
pub(crate) fn lower(bodies: &[&Body]) -> Vec<Policy> {
    let is_calico = |body: &&Body| matches!(body, Body::Calico(_));
    if !bodies.iter().any(is_calico) {
        return Vec::new();
    }
    let world = World::new(bodies);
    let mut policies = Vec::new();
    for body in bodies {
        if let Body::Calico(resource) = body
            && let Resource::Policy(policy) = resource.as_ref()
        {
            policies.extend(self::policy(&world, policy));
        }
    }
    policies.extend(world.first_host_endpoint().map(host_endpoint));
    policies
}

/// What is odd about how Calico's objects go together: policies in tiers that are not there.
pub(crate) fn issues(objects: &[Object]) -> Vec<Issue> {
    let resources = objects.iter().filter_map(|object| match &object.body {
        Body::Calico(resource) => Some((object, resource.as_ref())),
        _ => None,
    });
    let mut tiers: HashSet<&str> = BUILT_IN_TIERS
        .iter()
        .map(|tier| tier.name.as_ref())
        .collect();
    tiers.extend(
        resources
            .clone()
            .filter_map(|(_, resource)| match resource {
                Resource::Tier(tier) => Some(tier.name.as_str()),
                _ => None,
            }),
    );
    let lost = resources.filter_map(|(object, resource)| match resource {
        Resource::Policy(policy) if !tiers.contains(policy.tier.as_str()) => {
            Some(unknown_tier(object, &policy.tier))
        }
        _ => None,
    });
    lost.collect()
}

/// Those that every cluster has (§3.1).
static BUILT_IN_TIERS: [Tier; 3] = [Tier::ADMIN, Tier::DEFAULT, Tier::BASELINE];

fn unknown_tier(object: &Object, tier: &str) -> Issue {
    Issue {
        severity: Severity::Warning,
        cause: Cause::NotEvaluated,
        file: object.origin.file.clone(),
        line: Some(object.origin.line),
        object: Some(object.title()),
        field: Some("spec.tier".to_owned()),
        message: format!("there is no tier `{tier}`, so it cannot be told what the policy does"),
        help: Some("add the Tier to what is read".to_owned()),
    }
}

/// One policy. It becomes two where it cannot be told of every pod whether the policy selects it.
fn policy(world: &World<'_>, policy: &CalicoPolicy) -> Vec<Policy> {
    // On host endpoints only (§3.4). What only has applyOnForward is for pods like any other.
    if policy.host.do_not_track || policy.host.pre_dnat {
        return Vec::new();
    }
    let section = |rules: &Vec<super::Rule>, direction| Section {
        rules: rules
            .iter()
            .map(|rule| self::rule::lower(world, policy, rule, direction))
            .collect(),
        isolates: true,
    };
    let selects = subject(world, policy);
    let tier = world.tier(&policy.tier);
    let common = Policy {
        id: PolicyId {
            kind: match policy.namespace {
                Some(_) => Kind::CalicoNetworkPolicy,
                None => Kind::CalicoGlobalNetworkPolicy,
            },
            namespace: policy.namespace.clone(),
            name: policy.name.clone(),
        },
        open: tier.is_none().then_some(Unspecified::NotEvaluated),
        // Where a tier stands that is not known cannot be told; first, it can change everything.
        tier: tier.unwrap_or_else(|| Tier {
            order: Order(f64::NEG_INFINITY),
            name: policy.tier.clone().into(),
            default: TierDefault::Deny,
        }),
        order: order(policy.order),
        ingress: policy
            .ingress
            .as_ref()
            .map(|r| section(r, Direction::Ingress)),
        egress: policy
            .egress
            .as_ref()
            .map(|r| section(r, Direction::Egress)),
        subject: Subject::Pods(selects.surely),
    };
    let perhaps = selects.perhaps.map(|pods| Policy {
        subject: Subject::Pods(pods),
        open: Some(Unspecified::ServiceAccountLabels),
        ..common.clone()
    });
    std::iter::once(common).chain(perhaps).collect()
}

/// Whom a policy selects: surely, and perhaps.
struct Selects {
    surely: Pods,
    perhaps: Option<Pods>,
}

fn subject(world: &World<'_>, policy: &CalicoPolicy) -> Selects {
    let namespaces = match (&policy.namespace, &policy.namespace_selector) {
        (Some(namespace), _) => Namespaces::Named(namespace.clone()),
        (None, Some(selector)) => Namespaces::Matching(labels::of_namespaces(selector)),
        (None, None) => Namespaces::Matching(LabelMatch::default()),
    };
    let pods = policy.selector.as_ref().map(labels::of_pods);
    let accounts = policy.service_account_selector.as_ref();
    let accounts = accounts.map(|selector| world.accounts(selector));
    let with = |account: Option<LabelMatch>| Pods {
        namespaces: namespaces.clone(),
        pods: labels::all([pods.clone(), account]),
    };
    match accounts {
        None => Selects {
            surely: with(None),
            perhaps: None,
        },
        Some(accounts) => Selects {
            surely: with(Some(accounts.surely)),
            perhaps: accounts.perhaps.map(|account| with(Some(account))),
        },
    }
}

fn order(order: Option<f64>) -> Order {
    // Zero has one sign only.
    order.map_or(Order::LAST, |order| Order(order + 0.0))
}

/// As long as there are host endpoints, it cannot be told what happens at the addresses of nodes (§3.4).
fn host_endpoint(endpoint: &HostEndpoint) -> Policy {
    let section = || {
        Some(Section {
            rules: vec![Rule {
                action: Action::Deny,
                ..Rule::default()
            }],
            isolates: true,
        })
    };
    Policy {
        id: PolicyId {
            kind: Kind::CalicoHostEndpoint,
            namespace: None,
            name: endpoint.name.clone(),
        },
        tier: Tier::DEFAULT,
        order: Order::LAST,
        subject: Subject::Nodes(LabelMatch::default()),
        ingress: section(),
        egress: section(),
        open: None,
    }
}

/// The condition that a selector is. `global()` has no place here, the reader sees to that.
fn expression(selector: &Selector) -> Expression {
    match selector {
        Selector::Labels(expression) => expression.clone(),
        Selector::Global => Expression::Any(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use crate::cluster::Cluster;
    use crate::evaluate::{Connection, Engine, Party, evaluate};
    use crate::kubernetes::read;
    use crate::policy_set::PolicySet;
    use crate::verdict::Outcome;

    /// One pod, this many network sets, and a policy with this many rules, each about one port and a selector that
    /// matches the last set alone.
    fn outcome(sets: usize, rules: usize) -> Outcome {
        let mut text = String::from(
            "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, status: {podIP: 10.0.0.1}}\n",
        );
        for n in 1..=sets {
            write!(
                text,
                "---\n{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {{name: s{n}, labels: {{n: '{n}'}}}}, spec: {{nets: [198.51.100.7]}}}}\n"
            )
            .unwrap();
        }
        text.push_str("---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n");
        for port in 1..=rules {
            writeln!(
                text,
                "  - {{action: Allow, protocol: TCP, source: {{selector: n == '{sets}'}}, destination: {{ports: [{port}]}}}}"
            )
            .unwrap();
        }
        let manifest = read("p.yaml", &text);
        assert_eq!(manifest.issues, []);
        let (cluster, _) = Cluster::from_objects(&manifest.objects);
        let (policies, _) = PolicySet::from_objects(&manifest.objects);
        let connection = Connection {
            client: Party::external("198.51.100.7".parse().unwrap()),
            server: Party::pod(cluster.pod("shop", "web").unwrap()),
            port: u16::try_from(rules).unwrap(),
            protocol: "TCP".parse().unwrap(),
        };
        evaluate(&policies, &cluster, Engine::Felix, &connection).outcome
    }

    #[test]
    fn what_is_looked_at_is_bounded_and_the_rest_is_open() {
        assert_eq!(outcome(2000, 2000), Outcome::Allowed);
        assert_eq!(outcome(2000, 2001), Outcome::Unspecified);
    }
}
