//! What a verdict names as its reason is the reason, in every tier and for every action.

use std::collections::BTreeMap;

use flowaudit_rules::evaluate::{Engine, evaluate};
use flowaudit_rules::policy::{Action, Direction, Policy, PolicyId, Rule};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::{Outcome, Reason, Side};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::common;
use crate::worlds::{World, world};

/// Policies by identity, so that a reason names one.
type Policies = BTreeMap<PolicyId, Policy>;

/// A rule that a reason names.
#[derive(Clone, Debug)]
struct Named {
    policy: PolicyId,
    rule: usize,
    action: Action,
}

fn side(world: &World, policies: &Policies, direction: Direction) -> Side {
    let set = PolicySet::from_policies(policies.values().cloned().collect());
    let verdict = evaluate(&set, &world.cluster, Engine::Felix, &world.connection());
    match direction {
        Direction::Egress => verdict.egress,
        Direction::Ingress => verdict.ingress,
    }
}

fn named(side: &Side) -> Vec<Named> {
    let named = side.reasons.iter().filter_map(|reason| match reason {
        Reason::Rule {
            kind,
            policy,
            rule,
            action,
            ..
        } => Some(Named {
            policy: PolicyId {
                kind: *kind,
                namespace: None,
                name: policy.clone(),
            },
            rule: *rule,
            action: *action,
        }),
        _ => None,
    });
    named.collect()
}

fn rules<'p>(policies: &'p mut Policies, named: &Named, direction: Direction) -> &'p mut Vec<Rule> {
    let policy = policies.get_mut(&named.policy).unwrap();
    let section = match direction {
        Direction::Ingress => &mut policy.ingress,
        Direction::Egress => &mut policy.egress,
    };
    &mut section.as_mut().unwrap().rules
}

fn check(world: &World, policies: &Policies, direction: Direction) -> Result<(), TestCaseError> {
    let before = side(world, policies, direction);
    let named = named(&before);
    if before.outcome == Outcome::Unspecified {
        return Ok(());
    }
    let decides = |named: &&Named| matches!(named.action, Action::Allow | Action::Deny);
    // The first rule that acts in its tier: whatever it is made to do happens.
    let first = named
        .iter()
        .filter(|named| !decides(named))
        .chain(named.iter().find(decides));
    for first in first {
        for (action, outcome) in [
            (Action::Allow, Outcome::Allowed),
            (Action::Deny, Outcome::Denied),
        ] {
            let mut others = policies.clone();
            rules(&mut others, first, direction)[first.rule].action = action;
            let after = side(world, &others, direction).outcome;
            prop_assert!(
                after == outcome || after == Outcome::Unspecified,
                "{first:?} made to {action:?}: {after}"
            );
        }
    }
    // Without all of those that decide, no rule of their tier decides the same.
    let mut without = policies.clone();
    let mut gone: Vec<&Named> = named.iter().filter(decides).collect();
    gone.sort_by_key(|named| named.rule);
    for named in gone.iter().rev() {
        rules(&mut without, named, direction).remove(named.rule);
    }
    if let Some(decided) = gone.first() {
        let after = side(world, &without, direction);
        let same = |named: &Named| {
            let tier = |policy: &PolicyId| policies.get(policy).map(|policy| &policy.tier);
            named.action == decided.action && tier(&named.policy) == tier(&decided.policy)
        };
        prop_assert!(
            !self::named(&after).iter().any(same),
            "{before:?} became {after:?}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_named_rule_is_what_decides(world in world(), policies in vec(common::policy(), 1..8)) {
        let policies: Policies = policies.into_iter().map(|policy| (policy.id.clone(), policy)).collect();
        for direction in [Direction::Egress, Direction::Ingress] {
            check(&world, &policies, direction)?;
        }
    }
}
