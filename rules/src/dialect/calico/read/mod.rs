//! From the tree to Calico's objects, refusing what Calico refuses.

mod policy;
mod rule;
mod set;

use super::selector::Selector;
use super::{Resource, StagedPolicy};
use crate::dialect::network_policy;
use crate::kubernetes::Cause;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::metadata::Metadata;

/// The kinds of Calico that are read, and whether they live in a namespace.
pub(crate) fn is_namespaced(kind: &str) -> Option<bool> {
    match kind {
        "NetworkPolicy"
        | "StagedNetworkPolicy"
        | "StagedKubernetesNetworkPolicy"
        | "NetworkSet" => Some(true),
        "GlobalNetworkPolicy"
        | "StagedGlobalNetworkPolicy"
        | "GlobalNetworkSet"
        | "Tier"
        | "HostEndpoint" => Some(false),
        _ => None,
    }
}

/// Reads an object of one of these kinds. What is returned is only good if nothing was noted as an error.
pub(crate) fn resource(
    kind: &str,
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Option<Resource> {
    let spec = root.get("spec");
    spec.expect_map(notes);
    Some(match kind {
        "NetworkPolicy" | "GlobalNetworkPolicy" => {
            Resource::Policy(policy::policy(common, &spec, false, notes))
        }
        "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" => {
            let action = policy::staged_action(&spec, notes);
            let policy = policy::policy(common, &spec, true, notes);
            staged(root, action, StagedPolicy::Calico(policy), notes)
        }
        "StagedKubernetesNetworkPolicy" => {
            let action = policy::staged_action(&spec, notes);
            let more = &["stagedAction"];
            let policy = network_policy::read::network_policy_with(more, common, root, notes);
            staged(root, action, StagedPolicy::Kubernetes(policy), notes)
        }
        "Tier" => Resource::Tier(set::tier(common, root, &spec, notes)),
        "NetworkSet" | "GlobalNetworkSet" => {
            Resource::NetworkSet(set::network_set(common, &spec, notes))
        }
        "HostEndpoint" => Resource::HostEndpoint(set::host_endpoint(common, &spec, notes)),
        _ => return None,
    })
}

fn staged(
    root: &Field<'_, '_>,
    action: super::StagedAction,
    policy: StagedPolicy,
    notes: &mut Notes<'_>,
) -> Resource {
    notes.warn_of(
        Cause::NoEffect,
        &root.get("kind"),
        "is staged: the cluster does not enforce it, and no verdict takes it into account"
            .to_owned(),
        None,
    );
    Resource::Staged(super::Staged { action, policy })
}

/// A selector that may not be `global()`; `None` when absent or empty.
fn selector(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Selector> {
    let selector = any_selector(field, notes)?;
    if selector == Selector::Global {
        notes.error(
            field,
            "must not be `global()`".to_owned(),
            Some("only the namespaceSelector of a rule may".to_owned()),
        );
        return None;
    }
    Some(selector)
}

/// Any selector; `None` when absent or empty.
fn any_selector(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Selector> {
    let text = field.text(notes)?;
    if text.is_empty() {
        return None;
    }
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            notes.error(field, format!("is no selector: {error}"), error.help());
            None
        }
    }
}

/// A number that may be a fraction: `order`.
fn order(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<f64> {
    use crate::kubernetes::tree::Value;
    let order = match field.value()? {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
        _ => None,
    };
    if order.is_none() {
        notes.error(
            field,
            "must be a number".to_owned(),
            Some("lower goes first; leave it out to go last".to_owned()),
        );
    }
    order
}
