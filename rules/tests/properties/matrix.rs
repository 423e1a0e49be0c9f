//! A cell of the matrix says of a workload what the evaluator says of each of its pods.

use flowaudit_rules::cluster::{Cluster, Owner, Owners, Pod};
use flowaudit_rules::evaluate::{Connection, Party, evaluate};
use flowaudit_rules::matrix::{Ask, Cell, Reach, matrix};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::Outcome;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::worlds::{World, world};

/// The same world, its pods spread over few workloads.
fn with_workloads(world: &World) -> Cluster {
    let mut pods = world.cluster.pods().to_vec();
    for (number, pod) in pods.iter_mut().enumerate() {
        pod.owner = Some(Owner {
            kind: "StatefulSet".into(),
            name: ["left", "right"][number % 2].into(),
        });
    }
    let namespaces = world.cluster.namespaces().values().cloned().collect();
    let nodes = world.cluster.nodes().to_vec();
    Cluster::new(namespaces, nodes, pods, world.cluster.services().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_cell_is_what_every_pair_of_pods_gets(world in world()) {
        let cluster = with_workloads(&world);
        let policies = PolicySet::new(world.policies.clone());
        let ask = Ask {
            ports: vec![(world.port, world.protocol)],
            judgements_max: 10_000,
            ..Ask::default()
        };
        let matrix = matrix(&policies, &cluster, &Owners::default(), world.engine, &ask).unwrap();
        let pods = || cluster.pods().iter().filter(|pod| !pod.host_network);
        for cell in &matrix.cells {
            let of = |pod: &Pod, of: &flowaudit_rules::matrix::WorkloadId| {
                pod.namespace == of.namespace && pod.owner.as_ref().is_some_and(|owner| owner.name == of.name)
            };
            let mut seen = Vec::new();
            for client in pods().filter(|pod| of(pod, &cell.client)) {
                for server in pods().filter(|pod| of(pod, &cell.server) && pod.name != client.name) {
                    let connection = Connection {
                        client: Party::pod(client),
                        server: Party::pod(server),
                        port: world.port,
                        protocol: world.protocol,
                    };
                    seen.push(evaluate(&policies, &cluster, world.engine, &connection).outcome);
                }
            }
            check(cell, &seen)?;
        }
        prop_assert!(matrix.not_all_asked.is_empty());
    }
}

fn check(cell: &Cell, seen: &[Outcome]) -> Result<(), TestCaseError> {
    prop_assert!(!seen.is_empty());
    let all = |outcome| seen.iter().all(|seen| *seen == outcome);
    let holds = match cell.verdict {
        Reach::Allowed => all(Outcome::Allowed),
        Reach::Denied => all(Outcome::Denied),
        Reach::Unspecified => all(Outcome::Unspecified),
        Reach::Mixed => seen.iter().any(|outcome| *outcome != seen[0]),
    };
    prop_assert!(holds, "{cell:?}: {seen:?}");
    Ok(())
}
