//! A session of bulk answers writes what the plain evaluator says, byte for byte, however much of it was remembered.

use flowaudit_rules::bulk::{Bulk, Session};
use flowaudit_rules::policy::Policy;
use flowaudit_rules::policy_set::PolicySet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::common;
use crate::worlds::{PORTS, World, world};

const ADDRESSES: [&str; 5] = [
    "172.21.0.1",
    "192.168.0.1",
    "198.51.100.7",
    "10.0.0.1",
    "2001:db8:9::1",
];

/// Every end asks every other. Pods of one class share what is remembered.
fn check(world: &World, policies: &PolicySet) -> Result<(), TestCaseError> {
    let bulk = Bulk::new(policies, &world.cluster, world.engine);
    let mut session = bulk.session();
    let pods = world.cluster.pods().iter().map(|pod| pod.key());
    let ends: Vec<String> = pods.chain(ADDRESSES.map(String::from)).collect();
    for port in [world.port, PORTS[2]] {
        for client in &ends {
            for server in &ends {
                let protocol = world.protocol;
                let probe = format!(
                    r#"{{"src":"{client}","dst":"{server}","port":{port},"protocol":"{protocol}"}}"#
                );
                check_one(&probe, &bulk, &mut session)?;
            }
        }
    }
    Ok(())
}

fn check_one(
    probe: &str,
    bulk: &Bulk<'_>,
    session: &mut Session<'_, '_>,
) -> Result<(), TestCaseError> {
    let (mut plain, mut quick) = (String::new(), String::new());
    let is_answered = bulk.answer(probe, &mut plain);
    prop_assert_eq!(session.answer(probe, &mut quick), is_answered);
    prop_assert_eq!(&quick, &plain, "{}", probe);
    let read: serde_json::Value = serde_json::from_str(&quick).unwrap();
    prop_assert!(read.get("verdict").is_some() || read.get("error").is_some());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_session_writes_what_the_plain_evaluator_says(world in world(), common in vec(common::policy(), 0..6)) {
        check(&world, &PolicySet::new(world.policies.clone()))?;
        let policies = world.policies.iter().map(Policy::from).chain(common);
        check(&world, &PolicySet::from_policies(policies.collect()))?;
    }
}
