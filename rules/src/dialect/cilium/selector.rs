//! Label selectors with sources before their keys, and what their keys mean.

use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::selector::selector_with_keys;
use crate::kubernetes::tree::shorten;
use crate::label::{Expression, Key, LabelMatch};
use crate::policy::{Entity, Namespaces, Pods};
use crate::selector::{Operator, Requirement, Selector};

/// The name of the pod's namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The same with the source that Cilium itself writes.
pub(super) const OWN_NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";
/// A label of the pod's namespace stands behind this.
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
/// The pod's service account.
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// The name of the cluster, which nobody told us.
const CLUSTER: &str = "io.cilium.k8s.policy.cluster";

/// No key is longer: a source, a DNS subdomain and a name.
const KEY_LENGTH_MAX: usize = 400;

/// Reads a selector whose keys may carry a source.
pub(super) fn selector(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Selector {
    selector_with_keys(field, check_key, notes)
}

fn check_key(field: &Field<'_, '_>, key: &str, notes: &mut Notes<'_>) {
    let name = key.split_once(':').map_or(key, |(_, name)| name);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if name.is_empty() || key.len() > KEY_LENGTH_MAX || !name.bytes().all(is_allowed) {
        let shown = shorten(key);
        notes.error(
            field,
            format!("`{shown}` is not a label key"),
            Some(
                "a label key is [source:][prefix/]name, the source k8s, any or reserved".to_owned(),
            ),
        );
    }
}

/// A selector of endpoints, taken apart.
pub(super) struct Endpoints {
    /// Pods by namespace and label.
    pub(super) pods: Pods,
    /// It speaks of the cluster's name, which is not known.
    pub(super) names_cluster: bool,
}

/// What a selector of endpoints selects, in a policy of `namespace`, or of none. Where it does not say which
/// namespaces, the policy's own is meant.
pub(super) fn endpoints(selector: &Selector, namespace: Option<&str>) -> Endpoints {
    let mut of_namespaces = Selector::default();
    let mut of_pods = Selector::default();
    let mut names_cluster = false;
    for requirement in requirements(selector) {
        match key_of(&requirement.key) {
            Key::Namespace | Key::NamespaceLabel(_) => of_namespaces.expressions.push(requirement),
            Key::Constant(_) => names_cluster |= requirement.operator != Operator::Exists,
            _ => of_pods.expressions.push(requirement),
        }
    }
    let namespaces = match (of_namespaces.expressions.as_slice(), namespace) {
        ([], Some(own)) => Namespaces::Named(own.to_owned()),
        ([one], _) if let Some(name) = only_name(one) => Namespaces::Named(name.to_owned()),
        _ => Namespaces::Matching(label_match(&of_namespaces, namespace_key)),
    };
    Endpoints {
        pods: Pods {
            namespaces,
            pods: label_match(&of_pods, key_of),
        },
        names_cluster,
    }
}

/// The subject of a policy: whatever it says, in the namespaced kind only pods of its namespace.
pub(super) fn subject(selector: &Selector, namespace: Option<&str>) -> Endpoints {
    let Some(own) = namespace else {
        return endpoints(selector, None);
    };
    // Cilium writes the policy's own namespace over what stands under this key, and warns.
    let mut selector = selector.clone();
    selector.labels.remove(OWN_NAMESPACE);
    let selector = &selector;
    let mut endpoints = endpoints(selector, namespace);
    // What it says of namespaces must hold as well, of a pod as seen from itself.
    let of_namespaces = |requirement: &Requirement| {
        matches!(
            key_of(&requirement.key),
            Key::Namespace | Key::NamespaceLabel(_)
        )
    };
    let within: Vec<Expression> = requirements(selector)
        .filter(of_namespaces)
        .map(|requirement| expression(&requirement, key_of))
        .collect();
    if !within.is_empty()
        && let Expression::All(parts) = &mut endpoints.pods.pods.expression
    {
        parts.extend(within);
        endpoints.pods.pods.words = selector.to_string();
    }
    endpoints.pods.namespaces = Namespaces::Named(own.to_owned());
    endpoints
}

/// Nodes with these labels.
pub(super) fn nodes(selector: &Selector) -> LabelMatch {
    label_match(selector, |key| Key::Label(without_source(key).to_owned()))
}

/// The entity that a selector of a reserved label means, if that is all it says.
pub(super) fn reserved(selector: &Selector) -> Option<Option<Entity>> {
    let mut requirements = requirements(selector);
    let one = requirements.next()?;
    if requirements.next().is_some() {
        return None;
    }
    let is_set = match &one.operator {
        Operator::Exists => true,
        Operator::In(values) => values.iter().any(String::is_empty),
        _ => false,
    };
    let word = one.key.strip_prefix("reserved:").filter(|_| is_set)?;
    super::read::entity(word)
}

/// Whether it speaks of reserved labels at all.
pub(super) fn speaks_of_reserved(selector: &Selector) -> bool {
    requirements(selector).any(|requirement| requirement.key.starts_with("reserved:"))
}

/// `matchLabels` and `matchExpressions` as one list.
fn requirements(selector: &Selector) -> impl Iterator<Item = Requirement> + '_ {
    let labels = selector.labels.iter().map(|(key, value)| Requirement {
        key: key.clone(),
        operator: Operator::In(vec![value.clone()]),
    });
    labels.chain(selector.expressions.iter().cloned())
}

/// The only namespace that a requirement leaves.
fn only_name(requirement: &Requirement) -> Option<&str> {
    match (&requirement.operator, key_of(&requirement.key)) {
        (Operator::In(values), Key::Namespace) => match values.as_slice() {
            [one] => Some(one),
            _ => None,
        },
        _ => None,
    }
}

fn label_match(selector: &Selector, key_of: impl Fn(&str) -> Key + Copy) -> LabelMatch {
    let parts = requirements(selector).map(|requirement| expression(&requirement, key_of));
    LabelMatch {
        expression: Expression::All(parts.collect()),
        words: words(selector),
    }
}

/// The selector as its author wrote it, equalities as such.
fn words(selector: &Selector) -> String {
    let mut shown = Selector::default();
    for Requirement { key, operator } in requirements(selector) {
        match operator {
            Operator::In(mut values) if values.len() == 1 => {
                shown.labels.insert(key, values.remove(0));
            }
            operator => shown.expressions.push(Requirement { key, operator }),
        }
    }
    shown.to_string()
}

fn expression(requirement: &Requirement, key_of: impl Fn(&str) -> Key) -> Expression {
    let key = key_of(&requirement.key);
    let not = |part| Expression::Not(Box::new(part));
    match &requirement.operator {
        Operator::In(values) => Expression::In(key, values.clone()),
        Operator::NotIn(values) => not(Expression::In(key, values.clone())),
        Operator::Exists => Expression::Has(key),
        Operator::DoesNotExist => not(Expression::Has(key)),
    }
}

/// The key without the sources that pods' labels have.
fn without_source(key: &str) -> &str {
    key.strip_prefix("k8s:")
        .or_else(|| key.strip_prefix("any:"))
        .unwrap_or(key)
}

/// What a key means on a pod. Another source stays in front of it, where no label of a pod has one.
fn key_of(key: &str) -> Key {
    match without_source(key) {
        NAMESPACE => Key::Namespace,
        SERVICE_ACCOUNT => Key::ServiceAccount,
        CLUSTER => Key::Constant(CLUSTER),
        name => match name.strip_prefix(NAMESPACE_LABELS) {
            Some(label) => Key::NamespaceLabel(label.to_owned()),
            None => Key::Label(name.to_owned()),
        },
    }
}

/// What the same key means on the namespace itself.
fn namespace_key(key: &str) -> Key {
    match key_of(key) {
        Key::NamespaceLabel(label) => Key::Label(label),
        other => other,
    }
}
