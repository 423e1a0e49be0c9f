//! What is reported as shadowed may go: no verdict changes, in any world.

use std::collections::BTreeSet;

use flowaudit_rules::dialect::network_policy::{NetworkPolicy, Rule};
use flowaudit_rules::evaluate::{Engine, evaluate};
use flowaudit_rules::kubernetes::read_with_places;
use flowaudit_rules::lint::{Finding, Input, LINTS, lint};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::Verdict;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use crate::object;
use crate::worlds::{World, rule, world};

/// What a finding says may go.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    policy: String,
    is_ingress: bool,
    rule: usize,
    /// `None`: all of the rule. Else which list and which entry.
    entry: Option<(bool, usize)>,
}

impl Part {
    /// From `NetworkPolicy shop/p1` and `spec.ingress[0].from[1]`.
    fn of(finding: &Finding) -> Self {
        let key = finding
            .object
            .as_deref()
            .unwrap()
            .strip_prefix("NetworkPolicy ");
        let field = finding.field.as_deref().unwrap();
        let mut parts = field.strip_prefix("spec.").unwrap().split('.');
        let mut step = || {
            let (list, index) = parts.next()?.strip_suffix(']')?.split_once('[')?;
            Some((list.to_owned(), index.parse::<usize>().unwrap()))
        };
        let (section, rule) = step().unwrap();
        Self {
            policy: key.unwrap().to_owned(),
            is_ingress: section == "ingress",
            rule,
            entry: step().map(|(list, index)| (list == "ports", index)),
        }
    }

    fn rules<'p>(&self, policies: &'p mut [NetworkPolicy]) -> &'p mut Vec<Rule> {
        let policy = policies
            .iter_mut()
            .find(|p| p.key() == self.policy)
            .unwrap();
        let section = match self.is_ingress {
            true => &mut policy.ingress,
            false => &mut policy.egress,
        };
        section.as_mut().unwrap()
    }

    fn remove(&self, policies: &mut [NetworkPolicy]) {
        let rules = self.rules(policies);
        match self.entry {
            None => {
                rules.remove(self.rule);
            }
            Some((true, index)) => {
                rules[self.rule].ports.remove(index);
            }
            Some((false, index)) => {
                rules[self.rule].peers.remove(index);
            }
        }
    }
}

/// What is reported of these policies as shadowed or repeated.
fn shadowed(policies: &[NetworkPolicy], engine: Engine) -> Vec<Finding> {
    let mut input = Input::default();
    for policy in policies {
        let (manifest, places) = read_with_places("f", &object(policy.clone()).to_json());
        assert!(manifest.issues.is_empty());
        input.check(manifest, places);
    }
    let ids = [
        "duplicate-rule",
        "shadowed-rule",
        "shadowed-peer",
        "shadowed-port",
    ];
    assert!(ids.iter().all(|id| LINTS.iter().any(|lint| lint.id == *id)));
    let mut findings = lint(&input, engine).findings;
    findings.retain(|finding| ids.contains(&finding.lint.id));
    findings
}

/// The policies without all of that, the last first so that positions stay right.
fn without(policies: &[NetworkPolicy], findings: &[&Finding]) -> Vec<NetworkPolicy> {
    let mut left = policies.to_vec();
    let parts: BTreeSet<Part> = findings.iter().map(|finding| Part::of(finding)).collect();
    for part in parts.iter().rev() {
        part.remove(&mut left);
    }
    left
}

fn verdict(world: &World, policies: &[NetworkPolicy], engine: Engine) -> Verdict {
    let policies = PolicySet::new(policies.to_vec());
    evaluate(&policies, &world.cluster, engine, &world.connection())
}

#[track_caller]
fn check_same(world: &World, findings: &[&Finding], engine: Engine) -> Result<(), TestCaseError> {
    let policies = world.kept();
    let before = verdict(world, &policies, engine);
    let after = verdict(world, &without(&policies, findings), engine);
    prop_assert_eq!(before.outcome, after.outcome, "{:#?}", findings);
    prop_assert_eq!(
        before.default_reading,
        after.default_reading,
        "{:#?}",
        findings
    );
    for (before, after) in [
        (before.egress, after.egress),
        (before.ingress, after.ingress),
    ] {
        prop_assert_eq!(before.outcome, after.outcome, "{:#?}", findings);
        prop_assert_eq!(before.isolated, after.isolated, "{:#?}", findings);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions"))),
        ..ProptestConfig::default()
    })]

    /// On every engine, as long as the finding does not depend on one; all at once and one alone.
    #[test]
    fn what_is_shadowed_may_go(world in world(), which in any::<Index>()) {
        let findings = shadowed(&world.kept(), Engine::Unknown);
        let sure: Vec<&Finding> = findings.iter().filter(|finding| finding.depends_on.is_empty()).collect();
        check_same(&world, &sure, world.engine)?;
        if !sure.is_empty() {
            check_same(&world, &[sure[which.index(sure.len())]], world.engine)?;
        }
    }

    /// Felix reads every point so that they all hold.
    #[test]
    fn on_felix_all_of_it_may_go(world in world()) {
        let findings = shadowed(&world.kept(), Engine::Felix);
        prop_assert!(findings.iter().all(|finding| finding.depends_on.is_empty()));
        check_same(&world, &findings.iter().collect::<Vec<_>>(), Engine::Felix)?;
    }

    /// A rule that stands twice in a policy is always found.
    #[test]
    fn what_is_repeated_is_found(world in world(), which in any::<Index>(), rule in rule(), is_ingress in any::<bool>()) {
        let mut policies = world.kept();
        let at = which.index(policies.len());
        let policy = &mut policies[at];
        let section = if is_ingress { &mut policy.ingress } else { &mut policy.egress };
        section.get_or_insert_default().extend([rule.clone(), rule]);
        let last = section.as_ref().unwrap().len() - 1;
        let key = policy.key();
        let findings = shadowed(&policies, Engine::Unknown);
        let is_found = findings.iter().map(Part::of).any(|part| {
            part.policy == key && part.is_ingress == is_ingress && part.rule == last && part.entry.is_none()
        });
        prop_assert!(is_found, "{findings:#?}");
    }
}
