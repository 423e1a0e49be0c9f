//! Which labels the keys of a selector mean, depending on where it stands (policy-semantics §3.2).

use super::super::selector::Selector;
use super::super::{NAME_KEY, NAMESPACE_KEY, ORCHESTRATOR_KEY, SERVICE_ACCOUNT_KEY};
use super::expression;
use crate::cluster::Labels;
use crate::label::{Expression, Key, LabelMatch, Labelled};

/// A selector over pods.
pub(super) fn of_pods(selector: &Selector) -> LabelMatch {
    matching(selector, pod_key)
}

/// A selector over namespaces.
pub(super) fn of_namespaces(selector: &Selector) -> LabelMatch {
    matching(selector, |key| match key {
        NAME_KEY => Key::Namespace,
        key => Key::Label(key.to_owned()),
    })
}

/// What a key means to a pod, or to a network set.
pub(super) fn pod_key(key: &str) -> Key {
    match key {
        NAMESPACE_KEY => Key::Namespace,
        SERVICE_ACCOUNT_KEY => Key::ServiceAccount,
        ORCHESTRATOR_KEY => Key::Constant("k8s"),
        key => Key::Label(key.to_owned()),
    }
}

/// All of these together.
pub(super) fn all(parts: impl IntoIterator<Item = Option<LabelMatch>>) -> LabelMatch {
    let given = parts.into_iter().flatten();
    let mut given: Vec<LabelMatch> = given.filter(|part| !part.is_everything()).collect();
    if given.len() == 1
        && let Some(only) = given.pop()
    {
        return only;
    }
    let words: Vec<&str> = given.iter().map(|part| part.words.as_str()).collect();
    LabelMatch {
        words: words.join(" "),
        expression: Expression::All(given.into_iter().map(|part| part.expression).collect()),
    }
}

/// A condition on labels in the words of the selector.
pub(super) fn matching(selector: &Selector, key: impl Fn(&str) -> Key) -> LabelMatch {
    let expression = with_keys(&expression(selector), &key);
    let everything = expression == Expression::default();
    LabelMatch {
        words: match everything {
            true => String::new(),
            false => selector.to_string(),
        },
        expression,
    }
}

/// The same condition on other keys.
pub(super) fn with_keys(expression: &Expression, key: &impl Fn(&str) -> Key) -> Expression {
    let of = |old: &Key| match old {
        Key::Label(name) => key(name),
        other => other.clone(),
    };
    let parts = |parts: &[Expression]| parts.iter().map(|part| with_keys(part, key)).collect();
    match expression {
        Expression::All(inner) => Expression::All(parts(inner)),
        Expression::Any(inner) => Expression::Any(parts(inner)),
        Expression::Not(inner) => Expression::Not(Box::new(with_keys(inner, key))),
        Expression::Has(k) => Expression::Has(of(k)),
        Expression::In(k, values) => Expression::In(of(k), values.clone()),
        Expression::Contains(k, text) => Expression::Contains(of(k), text.clone()),
        Expression::StartsWith(k, text) => Expression::StartsWith(of(k), text.clone()),
        Expression::EndsWith(k, text) => Expression::EndsWith(of(k), text.clone()),
    }
}

/// A network set or host endpoint, as selectors see it.
pub(super) struct SetLabels<'o> {
    pub(super) labels: &'o Labels,
    pub(super) namespace: Option<&'o str>,
}

impl Labelled for SetLabels<'_> {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Label(key) => self.labels.get(key).map(String::as_str),
            Key::Namespace => self.namespace,
            Key::NamespaceLabel(_) | Key::ServiceAccount | Key::Constant(_) => None,
        }
    }
}

/// A service account, as selectors see it.
pub(super) struct AccountLabels<'o> {
    pub(super) labels: &'o Labels,
    pub(super) name: &'o str,
}

impl Labelled for AccountLabels<'_> {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Label(key) => self.labels.get(key).map(String::as_str),
            Key::ServiceAccount => Some(self.name),
            Key::NamespaceLabel(_) | Key::Namespace | Key::Constant(_) => None,
        }
    }
}
