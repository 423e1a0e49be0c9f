//! A compiled world that changes answers as one that is compiled anew, and as the plain evaluator.

use std::collections::BTreeMap;

use flowaudit_rules::cluster::{Cluster, Labels, Namespace, Pod, Protocol};
use flowaudit_rules::evaluate::compiled::Compiled;
use flowaudit_rules::evaluate::{Connection, evaluate};
use flowaudit_rules::policy::{Policy, PolicyId};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::Judgement;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;

use crate::case;
use crate::common;
use crate::worlds::{End, NAMESPACES, PORTS, World, end, labels, pod, protocol, world};

/// One change of a world.
#[derive(Clone, Debug)]
enum Change {
    /// One object and what it becomes: nothing, or several parts.
    Policy(Policy, Vec<Policy>),
    /// The policy that stands there goes.
    NoPolicy(Index),
    /// A pod comes, or another of its name.
    Pod(Pod),
    /// The pod that stands there goes.
    NoPod(Index),
    /// The pod that stands there gets other labels.
    PodLabels(Index, Labels),
    /// A namespace gets other labels.
    NamespaceLabels(&'static str, Labels),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (common::policy(), vec(common::policy(), 0..3)).prop_map(|(policy, parts)| Change::Policy(policy, parts)),
        1 => any::<Index>().prop_map(Change::NoPolicy),
        2 => (pod(), 0..9_u8).prop_map(|(mut pod, number)| {
            pod.name = format!("pod{number}");
            Change::Pod(pod)
        }),
        2 => any::<Index>().prop_map(Change::NoPod),
        2 => (any::<Index>(), labels()).prop_map(|(which, labels)| Change::PodLabels(which, labels)),
        2 => (select(&NAMESPACES[..]), labels()).prop_map(|(name, labels)| Change::NamespaceLabels(name, labels)),
    ]
}

/// What the world should hold, kept apart from what is tested.
struct Model {
    policies: BTreeMap<PolicyId, Vec<Policy>>,
    pods: BTreeMap<String, Pod>,
}

impl Model {
    fn set(&self) -> PolicySet {
        PolicySet::from_policies(self.policies.values().flatten().cloned().collect())
    }

    /// Makes the change here and there; returns the pod that came or is another now.
    fn apply(&mut self, change: &Change, compiled: &mut Compiled<'_>) -> Option<String> {
        let pod_at = |which: &Index, compiled: &Compiled<'_>| {
            let pods = compiled.cluster().pods();
            (!pods.is_empty()).then(|| which.get(pods).clone())
        };
        match change {
            Change::Policy(policy, parts) => {
                let id = &policy.id;
                let of_it = |part: &Policy| Policy {
                    id: id.clone(),
                    ..part.clone()
                };
                let parts: Vec<Policy> = parts.iter().map(of_it).collect();
                self.policies.insert(id.clone(), parts.clone());
                compiled.set_policy(id, parts);
            }
            Change::NoPolicy(which) => {
                let ids: Vec<PolicyId> = self.policies.keys().cloned().collect();
                if !ids.is_empty() {
                    let id = which.get(&ids);
                    self.policies.remove(id);
                    compiled.set_policy(id, Vec::new());
                }
            }
            Change::Pod(pod) => {
                self.pods.insert(pod.key(), pod.clone());
                compiled.set_pod(pod.clone());
                return Some(pod.key());
            }
            Change::NoPod(which) => {
                if let Some(pod) = pod_at(which, compiled) {
                    self.pods.remove(&pod.key());
                    compiled.remove_pod(&pod.namespace, &pod.name);
                }
            }
            Change::PodLabels(which, labels) => {
                if let Some(mut pod) = pod_at(which, compiled) {
                    pod.labels = labels.clone();
                    let key = pod.key();
                    self.pods.insert(key.clone(), pod.clone());
                    compiled.set_pod(pod);
                    return Some(key);
                }
            }
            Change::NamespaceLabels(name, labels) => compiled.set_namespace(Namespace {
                name: (*name).to_owned(),
                labels: labels.clone(),
                ..Namespace::default()
            }),
        }
        None
    }
}

/// A probe, its ends by their place in the world as it is then.
type Probe = (End, End, u16, Protocol);

fn probe() -> impl Strategy<Value = Probe> {
    let protocol = prop_oneof![6 => protocol(), 1 => Just(Protocol::Other(1))];
    (end(), end(), select(&PORTS[..]), protocol)
}

/// Everything that can be said of a changed world equals what a new one says.
fn check(
    world: &World,
    model: &Model,
    compiled: &Compiled<'_>,
    changed: Option<String>,
    probes: &[Probe],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(compiled.policies(), &model.set());
    let cluster = compiled.cluster();
    let pods: BTreeMap<String, Pod> = cluster
        .pods()
        .iter()
        .map(|pod| (pod.key(), pod.clone()))
        .collect();
    prop_assert_eq!(&pods, &model.pods);
    let anew = Cluster::new(
        cluster.namespaces().values().cloned().collect(),
        world.cluster.nodes().to_vec(),
        cluster.pods().to_vec(),
        cluster.services().to_vec(),
    );
    prop_assert_eq!(anew.nodes(), cluster.nodes());
    for (service, same) in cluster.services().iter().zip(anew.services()) {
        let behind: Vec<&Pod> = cluster.backends(service).collect();
        prop_assert_eq!(behind, anew.backends(same).collect::<Vec<_>>());
    }
    for address in cluster.pods().iter().flat_map(|pod| &pod.addresses) {
        prop_assert_eq!(cluster.holders(*address), anew.holders(*address));
    }
    for node in ["n1", "n2"] {
        let hosted: Vec<&Pod> = cluster.host_pods(node).collect();
        prop_assert_eq!(hosted, anew.host_pods(node).collect::<Vec<_>>());
    }
    let policies = model.set();
    let fresh = Compiled::new(&policies, &anew, world.engine);
    prop_assert_eq!(fresh.class_count(), compiled.class_count());
    let same = |ends: [&str; 2], port, protocol| {
        let connection = |cluster| {
            let [client, server] = ends.map(|end| case::party(end, cluster));
            Connection {
                client,
                server,
                port,
                protocol,
            }
        };
        let plain = evaluate(&policies, &anew, world.engine, &connection(&anew));
        let plain = Judgement::from(&plain);
        prop_assert_eq!(&fresh.evaluate(&connection(&anew)), &plain);
        prop_assert_eq!(&compiled.evaluate(&connection(cluster)), &plain);
        Ok(())
    };
    let name = |end: &End| match end {
        End::Pod(index) if anew.pods().is_empty() => format!("198.51.100.{}", index.index(9)),
        End::Pod(index) => index.get(anew.pods()).key(),
        End::Address(address) => (*address).to_owned(),
    };
    for (client, server, port, protocol) in probes {
        same([&name(client), &name(server)], *port, *protocol)?;
        // Whatever became of a pod, all others are asked about it.
        for (pod, other) in changed
            .iter()
            .flat_map(|pod| model.pods.keys().map(move |o| (pod, o)))
        {
            same([pod, other], *port, *protocol)?;
            same([other, pod], *port, *protocol)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_changed_world_answers_as_a_new_one(
        world in world(),
        policies in vec(common::policy(), 0..6),
        changes in vec((change(), vec(probe(), 2)), 1..12),
    ) {
        let mut by_id: BTreeMap<PolicyId, Vec<Policy>> = BTreeMap::new();
        for policy in policies {
            by_id.entry(policy.id.clone()).or_default().push(policy);
        }
        let pods = world.cluster.pods().iter().map(|pod| (pod.key(), pod.clone()));
        let mut model = Model { policies: by_id, pods: pods.collect() };
        let mut compiled = Compiled::owning(model.set(), world.cluster.clone(), world.engine);
        for (change, probes) in &changes {
            let changed = model.apply(change, &mut compiled);
            check(&world, &model, &compiled, changed, probes)?;
        }
    }
}
