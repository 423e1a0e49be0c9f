//! NetworkPolicy and GlobalNetworkPolicy.

use super::super::{CalicoPolicy, DEFAULT_TIER, HostSwitches, Rule, StagedAction};
use super::rule::rules;
use super::{order, selector};
use crate::kubernetes::Cause;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::names::is_dns_label;
use crate::kubernetes::tree::shorten;
use crate::policy::Direction;

/// The fields of the spec of a NetworkPolicy.
const FIELDS: [&str; 9] = [
    "tier",
    "order",
    "selector",
    "serviceAccountSelector",
    "types",
    "ingress",
    "egress",
    "performanceHints",
    "stagedAction",
];

/// Those that a GlobalNetworkPolicy has beside them.
const GLOBAL_FIELDS: [&str; 4] = [
    "namespaceSelector",
    "doNotTrack",
    "preDNAT",
    "applyOnForward",
];

/// Reads a policy. `is_staged` is whether it has a `stagedAction` as well.
pub(super) fn policy(
    common: &Metadata,
    spec: &Field<'_, '_>,
    is_staged: bool,
    notes: &mut Notes<'_>,
) -> CalicoPolicy {
    let is_global = common.namespace.is_none();
    let mut fields = FIELDS.to_vec();
    fields.retain(|field| is_staged || *field != "stagedAction");
    if is_global {
        fields.extend(GLOBAL_FIELDS);
    }
    spec.expect_keys(&fields, notes);

    let tier = tier_name(&spec.get("tier"), notes);
    let name = name_in_tier(&tier, &common.name);
    let scope = match is_global {
        true => Scope::Global,
        false => Scope::Namespaced,
    };
    let ingress = rules(&spec.get("ingress"), Direction::Ingress, scope, notes);
    let egress = rules(&spec.get("egress"), Direction::Egress, scope, notes);
    let types = types(&spec.get("types"), notes).unwrap_or(Types {
        // Without types: what there are rules for, and ingress when there are none at all (§3.1).
        ingress: !ingress.is_empty() || egress.is_empty(),
        egress: !egress.is_empty(),
    });
    for (section, rules, in_effect) in [
        ("ingress", &ingress, types.ingress),
        ("egress", &egress, types.egress),
    ] {
        if !rules.is_empty() && !in_effect {
            notes.warn_of(
                Cause::NoEffect,
                &spec.get(section),
                "has no effect, because types does not list it".to_owned(),
                Some("add it to types, or remove the rules".to_owned()),
            );
        }
    }
    let host = host_switches(spec, &types, &egress, notes);
    CalicoPolicy {
        namespace: common.namespace.clone(),
        name,
        tier,
        order: order(&spec.get("order"), notes),
        selector: selector(&spec.get("selector"), notes),
        service_account_selector: selector(&spec.get("serviceAccountSelector"), notes),
        namespace_selector: match is_global {
            true => selector(&spec.get("namespaceSelector"), notes),
            false => None,
        },
        ingress: types.ingress.then_some(ingress),
        egress: types.egress.then_some(egress),
        host,
    }
}

/// Whether the rules are those of one namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// NetworkPolicy.
    Namespaced,
    /// GlobalNetworkPolicy.
    Global,
}

/// `stagedAction`; absent is `Set`.
pub(super) fn staged_action(spec: &Field<'_, '_>, notes: &mut Notes<'_>) -> StagedAction {
    let field = spec.get("stagedAction");
    let actions = [
        StagedAction::Set,
        StagedAction::Delete,
        StagedAction::Learn,
        StagedAction::Ignore,
    ];
    let Some(text) = field.text(notes) else {
        return StagedAction::Set;
    };
    let action = actions.into_iter().find(|action| action.as_str() == text);
    if action.is_none() {
        notes.error(
            &field,
            format!("`{}` is no staged action", shorten(text)),
            Some("write Set, Delete, Learn or Ignore".to_owned()),
        );
    }
    action.unwrap_or(StagedAction::Set)
}

fn tier_name(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> String {
    let text = field.text(notes).unwrap_or_default();
    if text.is_empty() {
        return DEFAULT_TIER.to_owned();
    }
    if !is_dns_label(text) {
        notes.error(
            field,
            format!("`{}` is not the name of a tier", shorten(text)),
            Some(
                "use at most 63 of a-z, 0-9 and -, with a letter or digit at both ends".to_owned(),
            ),
        );
    }
    text.to_owned()
}

/// One policy may be called `deny-all` and `default.deny-all`, by group and version of Calico: without the name of
/// the tier `default`, and with that of any other.
fn name_in_tier(tier: &str, name: &str) -> String {
    let bare = name
        .strip_prefix(tier)
        .and_then(|rest| rest.strip_prefix('.'));
    match (bare, tier == DEFAULT_TIER) {
        (Some(bare), true) => bare.to_owned(),
        (None, true) | (Some(_), false) => name.to_owned(),
        (None, false) => format!("{tier}.{name}"),
    }
}

struct Types {
    ingress: bool,
    egress: bool,
}

/// `types`; `None` when absent or empty, so that the default applies.
fn types(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Types> {
    let mut types = Types {
        ingress: false,
        egress: false,
    };
    let mut is_given = false;
    for entry in field.items(notes) {
        is_given = true;
        let text = entry.text(notes);
        let listed = match text {
            Some("Ingress") => &mut types.ingress,
            Some("Egress") => &mut types.egress,
            _ => {
                let shown = shorten(text.unwrap_or_default());
                notes.error(
                    &entry,
                    format!("`{shown}` is not a policy type"),
                    Some("write Ingress or Egress".to_owned()),
                );
                continue;
            }
        };
        if std::mem::replace(listed, true) {
            notes.error(
                &entry,
                "is listed twice".to_owned(),
                Some("list Ingress and Egress once each".to_owned()),
            );
        }
    }
    is_given.then_some(types)
}

/// The switches of §3.4 and what goes with which.
fn host_switches(
    spec: &Field<'_, '_>,
    types: &Types,
    egress: &[Rule],
    notes: &mut Notes<'_>,
) -> HostSwitches {
    let (do_not_track, pre_dnat) = (spec.get("doNotTrack"), spec.get("preDNAT"));
    let mut is_on = |field: &Field<'_, '_>| field.bool(notes).unwrap_or(false);
    let host = HostSwitches {
        do_not_track: is_on(&do_not_track),
        pre_dnat: is_on(&pre_dnat),
        apply_on_forward: is_on(&spec.get("applyOnForward")),
    };
    if host.do_not_track && host.pre_dnat {
        notes.error(
            &pre_dnat,
            "must not stand beside doNotTrack".to_owned(),
            Some("make two policies of it".to_owned()),
        );
    }
    for (field, is_on) in [
        (&do_not_track, host.do_not_track),
        (&pre_dnat, host.pre_dnat),
    ] {
        if is_on && !host.apply_on_forward {
            notes.error(
                field,
                "needs applyOnForward".to_owned(),
                Some("add `applyOnForward: true`".to_owned()),
            );
        }
    }
    if host.pre_dnat && (types.egress || !egress.is_empty()) {
        notes.error(
            &pre_dnat,
            "is for ingress only".to_owned(),
            Some("remove the egress rules and the type Egress".to_owned()),
        );
    }
    host
}
