//! The order of the tiers, for random sets of policies: held against the few lines in which policy-semantics §2 can be said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::{Outcome, Tier};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const CLIENTS: [&str; 3] = ["a", "b", "c"];

/// Action, and the client it speaks of.
type Rule = (&'static str, &'static str);

#[derive(Clone, Debug)]
struct Policies {
    /// By priority.
    admin: Vec<(u16, Vec<Rule>)>,
    /// Whom NetworkPolicies admit; `None` where none isolates.
    network_policies: Option<Vec<Vec<&'static str>>>,
    baseline: Vec<(u16, Vec<Rule>)>,
    /// Of which version the others are; the older has one baseline policy, without `Pass`.
    newer: bool,
}

fn rules(actions: &'static [&'static str]) -> impl Strategy<Value = Vec<Rule>> {
    vec((select(actions), select(&CLIENTS[..])), 1..4)
}

fn policies() -> impl Strategy<Value = Policies> {
    any::<bool>().prop_flat_map(|newer| {
        let admin = btree_map(0..=1000_u16, rules(&["Allow", "Deny", "Pass"]), 0..4);
        let network_policies = option::of(vec(vec(select(&CLIENTS[..]), 0..3), 1..3));
        let baseline = match newer {
            true => btree_map(0..=1000_u16, rules(&["Allow", "Deny", "Pass"]), 0..3).boxed(),
            false => btree_map(0..1_u16, rules(&["Allow", "Deny"]), 0..2).boxed(),
        };
        (admin, network_policies, baseline).prop_map(move |(admin, network_policies, baseline)| {
            Policies {
                admin: admin.into_iter().collect(),
                network_policies,
                baseline: baseline.into_iter().collect(),
                newer,
            }
        })
    })
}

impl Policies {
    /// What §2 says, and which tier says it.
    fn expected(&self, client: &str) -> (Outcome, Tier) {
        let first = |tier: &[(u16, Vec<Rule>)]| {
            let mut rules = tier.iter().flat_map(|(_, rules)| rules);
            rules.find(|rule| rule.1 == client).map(|rule| rule.0)
        };
        match first(&self.admin) {
            Some("Allow") => return (Outcome::Allowed, Tier::Admin),
            Some("Deny") => return (Outcome::Denied, Tier::Admin),
            _ => {}
        }
        if let Some(admitted) = &self.network_policies {
            return match admitted.iter().flatten().any(|a| *a == client) {
                true => (Outcome::Allowed, Tier::Policy),
                false => (Outcome::Denied, Tier::Policy),
            };
        }
        match first(&self.baseline) {
            Some("Allow") => (Outcome::Allowed, Tier::Baseline),
            Some("Deny") => (Outcome::Denied, Tier::Baseline),
            _ => (Outcome::Allowed, Tier::Default),
        }
    }

    /// As manifests, the last first where `reversed`. Names run against the priorities.
    fn manifests(&self, reversed: bool) -> String {
        let mut documents = Vec::new();
        let (version, kind) = match self.newer {
            true => ("v1alpha2", "ClusterNetworkPolicy"),
            false => ("v1alpha1", "AdminNetworkPolicy"),
        };
        for (tier, policies) in [("Admin", &self.admin), ("Baseline", &self.baseline)] {
            for (number, (priority, rules)) in policies.iter().enumerate() {
                let mut written = String::new();
                for (action, client) in rules {
                    let action = match (*action, self.newer) {
                        ("Allow", true) => "Accept",
                        (action, _) => action,
                    };
                    let pods = format!(
                        "{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: {client}}}}}}}"
                    );
                    write!(written, "{{action: {action}, from: [{{pods: {pods}}}]}}, ").unwrap();
                }
                let (kind, name, head) = match (self.newer, tier) {
                    (true, _) => (
                        kind,
                        format!("{tier}-{}", 9 - number).to_lowercase(),
                        format!("tier: {tier}, priority: {priority}, "),
                    ),
                    (false, "Baseline") => (
                        "BaselineAdminNetworkPolicy",
                        "default".to_owned(),
                        String::new(),
                    ),
                    (false, _) => (
                        kind,
                        format!("p{}", 9 - number),
                        format!("priority: {priority}, "),
                    ),
                };
                documents.push(format!(
                    "apiVersion: policy.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\n\
                     spec: {{{head}subject: {{namespaces: {{}}}}, ingress: [{written}]}}\n"
                ));
            }
        }
        for (number, admitted) in self.network_policies.iter().flatten().enumerate() {
            let peers = admitted.iter().map(|client| {
                format!("{{from: [{{podSelector: {{matchLabels: {{app: {client}}}}}}}]}}")
            });
            let peers = peers.collect::<Vec<_>>().join(", ");
            documents.push(format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: shop}}\n\
                 spec: {{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{peers}]}}\n"
            ));
        }
        if reversed {
            documents.reverse();
        }
        documents.join("---\n")
    }
}

fn world() -> String {
    let mut text = String::new();
    for (number, name) in CLIENTS.iter().chain(&["server"]).enumerate() {
        writeln!(
            text,
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n\
             status: {{podIP: 10.0.0.{number}}}\n---"
        )
        .unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tiers_go_in_their_order(policies in policies(), reversed in any::<bool>()) {
        let manifest = read("world.yaml", &(world() + &policies.manifests(reversed)));
        prop_assert_eq!(&manifest.issues, &[]);
        let (cluster, _) = Cluster::from_objects(&manifest.objects);
        let (set, _) = PolicySet::from_objects(&manifest.objects);
        let bulk = Bulk::new(&set, &cluster, Engine::Unknown);
        for client in CLIENTS {
            let connection = Connection {
                client: Party::pod(cluster.pod("shop", client).unwrap()),
                server: Party::pod(cluster.pod("shop", "server").unwrap()),
                port: 80,
                protocol: "TCP".parse().unwrap(),
            };
            let verdict = evaluate(&set, &cluster, Engine::Unknown, &connection);
            let found = (verdict.outcome, verdict.ingress.tier);
            prop_assert_eq!(found, policies.expected(client), "{}: {:?}", client, &policies);
            let isolated = policies.network_policies.is_some() || verdict.outcome == Outcome::Denied;
            prop_assert_eq!(verdict.ingress.isolated, isolated, "{}: {:?}", client, &policies);
            prop_assert_eq!(bulk.evaluate(&connection), verdict);
        }
    }
}
