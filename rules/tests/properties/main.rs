//! What must hold for every world: few labels, few namespaces, ports at the edges, nested blocks, so that things collide.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../case/mod.rs"]
mod case;
mod changes;
mod common;
mod explained;
mod found;
mod lint;
mod matrix;
mod sessions;
mod worlds;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::{Cluster, Labels};
use flowaudit_rules::dialect::network_policy::{Direction, NetworkPolicy};
use flowaudit_rules::evaluate::compiled::Compiled;
use flowaudit_rules::evaluate::{Engine, evaluate};
use flowaudit_rules::kubernetes::{Body, Object, Origin, read};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::selector::{Operator, Requirement};
use flowaudit_rules::verdict::{Judgement, Outcome, Reason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use worlds::{labels, policy, rule, selector, world};

/// A policy as the object that a cluster would hold.
fn object(policy: NetworkPolicy) -> Object {
    Object {
        group: "networking.k8s.io".into(),
        version: "v1".into(),
        kind: "NetworkPolicy".into(),
        namespace: Some(policy.namespace.clone()),
        name: policy.name.clone(),
        uid: String::new(),
        generation: None,
        resource_version: None,
        created: None,
        deletion: None,
        labels: Labels::new(),
        origin: Origin {
            file: "f".into(),
            line: 1,
        },
        body: Body::NetworkPolicy(policy),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn prepared_equals_plain(world in world()) {
        let policies = PolicySet::new(world.policies.clone());
        let plain = evaluate(&policies, &world.cluster, world.engine, &world.connection());
        let bulk = Bulk::new(&policies, &world.cluster, world.engine);
        prop_assert_eq!(&bulk.evaluate(&world.connection()), &plain);
        prop_assert_eq!(bulk.evaluate(&world.connection()), plain);
    }

    #[test]
    fn compiled_equals_plain(world in world()) {
        let policies = world.kept().into_iter().map(object).collect();
        let compiled: found::Other<'_> = &|policies, cluster, engine, connection| {
            Compiled::new(policies, cluster, engine).evaluate(connection)
        };
        found::Case::new(&world, policies).check(&found::cases(), "by-compiled", compiled)?;
    }

    #[test]
    fn compiled_and_prepared_equal_plain_in_every_dialect(
        world in world(),
        policies in vec(common::policy(), 1..8),
    ) {
        let policies = PolicySet::from_policies(policies);
        let connection = world.connection();
        let plain = evaluate(&policies, &world.cluster, world.engine, &connection);
        let compiled = Compiled::new(&policies, &world.cluster, world.engine);
        prop_assert_eq!(compiled.evaluate(&connection), Judgement::from(&plain));
        let bulk = Bulk::new(&policies, &world.cluster, world.engine);
        prop_assert_eq!(bulk.evaluate(&connection), plain);
    }

    #[test]
    fn order_does_not_matter(world in world(), seed in any::<u64>()) {
        let kept = world.kept();
        let mut turned = kept.clone();
        turned.reverse();
        let turns = usize::try_from(seed % 5).unwrap();
        if !turned.is_empty() {
            let turns = turns % turned.len();
            turned.rotate_left(turns);
        }
        for policy in &mut turned {
            for rules in [&mut policy.ingress, &mut policy.egress].into_iter().flatten() {
                rules.reverse();
                for rule in rules {
                    rule.peers.reverse();
                    rule.ports.reverse();
                }
            }
        }
        prop_assert_eq!(world.outcome(&kept), world.outcome(&turned));
    }

    /// Policies never deny: for a pod that is isolated already, another allow rule opens or changes nothing.
    #[test]
    fn another_rule_never_closes(world in world(), which in any::<Index>(), rule in rule(), inward in any::<bool>()) {
        // Cilium denies ICMP as soon as any rule has ports, so there another rule may close.
        let world = world.with_ports();
        let kept = world.kept();
        let mut wider = kept.clone();
        let policy = &mut wider[which.index(kept.len())];
        let rules = if inward { &mut policy.ingress } else { &mut policy.egress };
        if let Some(rules) = rules {
            rules.push(rule);
        }
        let (before, after) = (world.outcome(&kept), world.outcome(&wider));
        prop_assert!(before != Outcome::Allowed || after == Outcome::Allowed, "{before:?} became {after:?}");
        prop_assert!(after != Outcome::Denied || before == Outcome::Denied, "{before:?} became {after:?}");
    }

    /// The rules that a verdict names as admitting are the reason. (Without them a node port may still be open: its
    /// clients may come in as the pod's own node.)
    #[test]
    fn without_the_named_rules_a_side_is_no_longer_allowed(world in world()) {
        let world = world.with_ports();
        let mut kept = world.kept();
        let verdict = evaluate(&PolicySet::new(kept.clone()), &world.cluster, Engine::Felix, &world.connection());
        for (direction, side) in [(Direction::Ingress, &verdict.ingress), (Direction::Egress, &verdict.egress)] {
            let mut named: Vec<(&str, usize)> =
                side.reasons.iter().filter_map(|reason| Some((reason.policy()?, reason.rule()?))).collect();
            if named.is_empty() {
                continue;
            }
            prop_assert_ne!(side.outcome, Outcome::Denied);
            named.sort_unstable();
            for (key, rule) in named.into_iter().rev() {
                let policy = kept.iter_mut().find(|policy| policy.key() == key).unwrap();
                let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
                rules.as_mut().unwrap().remove(rule);
            }
            let without = evaluate(&PolicySet::new(kept.clone()), &world.cluster, Engine::Felix, &world.connection());
            let side = if direction == Direction::Ingress { without.ingress } else { without.egress };
            prop_assert_ne!(side.outcome, Outcome::Allowed);
        }
    }

    /// A denied side names every policy that isolates; without them it is allowed.
    #[test]
    fn without_the_named_policies_a_denied_connection_is_allowed(world in world()) {
        let kept = world.kept();
        let verdict = evaluate(&PolicySet::new(kept.clone()), &world.cluster, world.engine, &world.connection());
        let reasons = verdict.egress.reasons.iter().chain(&verdict.ingress.reasons);
        let named: Vec<&str> = reasons.filter_map(Reason::policy).collect();
        prop_assert_eq!(verdict.outcome == Outcome::Denied && named.is_empty(), false);
        if verdict.outcome == Outcome::Denied && world.engine == Engine::Felix {
            let rest: Vec<_> = kept.iter().filter(|policy| !named.contains(&policy.key().as_str())).cloned().collect();
            prop_assert_eq!(world.outcome(&rest), Outcome::Allowed);
        }
    }

    /// What an engine settles lies within what is open; what all agree on is not open.
    #[test]
    fn an_engine_answers_within_what_is_open(world in world()) {
        let mut world = world;
        world.engine = Engine::Unknown;
        let open = world.outcome(&world.policies);
        for engine in [Engine::Felix, Engine::Cilium] {
            world.engine = engine;
            let settled = world.outcome(&world.policies);
            prop_assert!(open == Outcome::Unspecified || settled == open, "{engine}: {settled:?}, open: {open:?}");
        }
    }

    #[test]
    fn a_verdict_is_consistent_with_itself(world in world()) {
        let policies = PolicySet::new(world.policies.clone());
        let verdict = evaluate(&policies, &world.cluster, world.engine, &world.connection());
        prop_assert_eq!(verdict.outcome == Outcome::Unspecified, !verdict.unspecified.is_empty());
        prop_assert_eq!(verdict.default_reading, verdict.egress.default_reading.and(verdict.ingress.default_reading));
        for side in [&verdict.egress, &verdict.ingress] {
            prop_assert!(!side.reasons.is_empty());
            prop_assert!(side.reasons.iter().all(|reason| !reason.to_string().contains('\n')));
            if side.outcome == Outcome::Denied {
                prop_assert!(verdict.outcome == Outcome::Denied);
                prop_assert!(side.isolated);
            }
        }
    }

    #[test]
    fn printing_and_reading_gives_the_same_policy(policy in policy()) {
        let object = object(policy);
        let printed = object.to_json();
        let again = read("f", &printed);
        prop_assert_eq!(&again.issues, &[], "{}", printed);
        prop_assert_eq!(&again.objects, &[object]);
        // The same text is YAML too.
        let mut yaml = read("f", &format!("# not JSON\n{printed}"));
        yaml.objects[0].origin.line = 1;
        prop_assert_eq!(again.objects, yaml.objects);
    }

    #[test]
    fn selectors_mean_what_their_table_says(selector in selector(), labels in labels()) {
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let has = |key: &str, value: &str| pairs.contains(&(key, value));
        let any = |key: &str, values: &[String]| values.iter().any(|value| has(key, value));
        let holds = |requirement: &Requirement| match &requirement.operator {
            Operator::In(values) => any(&requirement.key, values),
            Operator::NotIn(values) => !any(&requirement.key, values),
            Operator::Exists => pairs.iter().any(|(key, _)| *key == requirement.key),
            Operator::DoesNotExist => pairs.iter().all(|(key, _)| *key != requirement.key),
        };
        let expected = selector.labels.iter().all(|(k, v)| has(k, v)) && selector.expressions.iter().all(holds);
        prop_assert_eq!(selector.matches(&labels), expected);
    }

    #[test]
    fn reading_never_panics(text in "[-{}\\[\\]:,#&*!|>'\"%@ a-z0-9\n\t]{0,200}") {
        read("f", &text);
        flowaudit_rules::kubernetes::read_watch("f", &text);
        let policies = PolicySet::default();
        let cluster = Cluster::default();
        let _ = Bulk::new(&policies, &cluster, Engine::Unknown).answer(&text, &mut String::new());
    }

    #[test]
    fn a_policy_with_anything_in_it_never_panics(
        field in select(&["podSelector", "policyTypes", "ingress", "egress"][..]),
        text in "[-{}\\[\\]:, a-z0-9./\"]{0,60}",
    ) {
        let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";
        let manifest = read("f", &format!("{head}  {field}: {text}\n"));
        prop_assert!(manifest.objects.len() + manifest.issues.len() > 0);
    }
}
