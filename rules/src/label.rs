//! Label expressions: what the selectors of every dialect become, with the words their author used.

use std::fmt;

use crate::cluster::{NAME_LABEL, Namespace, Node, Pod};
use crate::selector::{Operator, Selector};

/// A selector of any dialect. Displays as its author would write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelMatch {
    /// What it demands.
    pub expression: Expression,
    /// The selector in the words of its dialect; empty where it selects everything.
    pub words: String,
}

/// A condition on labels. Dialects bound how deep they nest it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// All of these hold; nothing at all holds for everything.
    All(Vec<Expression>),
    /// One of these holds; nothing at all holds for nothing.
    Any(Vec<Expression>),
    /// This does not hold.
    Not(Box<Expression>),
    /// The label is there, with whatever value.
    Has(Key),
    /// The label is there and has one of these values.
    In(Key, Vec<String>),
    /// The label is there and its value contains this text.
    Contains(Key, String),
    /// The label is there and its value begins with this text.
    StartsWith(Key, String),
    /// The label is there and its value ends with this text.
    EndsWith(Key, String),
}

/// Which label. Dialects see more than an object's own labels; each reads its spellings into these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A label of the object itself.
    Label(String),
    /// A label of the object's namespace.
    NamespaceLabel(String),
    /// The name of the object's namespace; of a namespace its own.
    Namespace,
    /// The service account of a pod.
    ServiceAccount,
    /// A label that every pod carries with this value.
    Constant(&'static str),
}

/// What has labels.
pub trait Labelled {
    /// The value under `key`, if there is one.
    fn value(&self, key: &Key) -> Option<&str>;
}

impl Default for Expression {
    /// Holds for everything.
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Expression {
    /// Whether `object` fulfils it.
    pub fn holds(&self, object: &impl Labelled) -> bool {
        let value_is =
            |key: &Key, holds: &dyn Fn(&str) -> bool| object.value(key).is_some_and(holds);
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(object)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(object)),
            Self::Not(part) => !part.holds(object),
            Self::Has(key) => object.value(key).is_some(),
            Self::In(key, values) => value_is(key, &|value| values.iter().any(|v| v == value)),
            Self::Contains(key, text) => value_is(key, &|value| value.contains(text.as_str())),
            Self::StartsWith(key, text) => value_is(key, &|value| value.starts_with(text.as_str())),
            Self::EndsWith(key, text) => value_is(key, &|value| value.ends_with(text.as_str())),
        }
    }

    /// Calls `see` with every key it speaks of, in its own order.
    pub fn each_key<'e>(&'e self, see: &mut impl FnMut(&'e Key)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.each_key(see);
                }
            }
            Self::Not(part) => part.each_key(see),
            Self::Has(key)
            | Self::In(key, _)
            | Self::Contains(key, _)
            | Self::StartsWith(key, _)
            | Self::EndsWith(key, _) => see(key),
        }
    }
}

impl LabelMatch {
    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.expression == Expression::default()
    }

    /// Whether `object` is selected.
    pub fn matches(&self, object: &impl Labelled) -> bool {
        self.expression.holds(object)
    }
}

impl fmt::Display for LabelMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<&Selector> for LabelMatch {
    fn from(selector: &Selector) -> Self {
        let key = |key: &String| Key::Label(key.clone());
        let labels = selector.labels.iter();
        let mut parts: Vec<Expression> = labels
            .map(|(k, value)| Expression::In(key(k), vec![value.clone()]))
            .collect();
        for requirement in &selector.expressions {
            let key = key(&requirement.key);
            let not = |part| Expression::Not(Box::new(part));
            parts.push(match &requirement.operator {
                Operator::In(values) => Expression::In(key, values.clone()),
                Operator::NotIn(values) => not(Expression::In(key, values.clone())),
                Operator::Exists => Expression::Has(key),
                Operator::DoesNotExist => not(Expression::Has(key)),
            });
        }
        Self {
            expression: Expression::All(parts),
            words: selector.to_string(),
        }
    }
}

/// A pod together with the namespace it lives in; `None` when nothing is known of that but its name.
#[derive(Clone, Copy, Debug)]
pub struct PodInNamespace<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its namespace.
    pub namespace: Option<&'a Namespace>,
}

impl Labelled for PodInNamespace<'_> {
    fn value(&self, key: &Key) -> Option<&str> {
        let name = self.pod.namespace.as_str();
        match key {
            Key::Label(key) => self.pod.labels.get(key).map(String::as_str),
            Key::NamespaceLabel(key) if key == NAME_LABEL => Some(name),
            Key::NamespaceLabel(key) => self.namespace?.labels.get(key).map(String::as_str),
            Key::Namespace => Some(name),
            // The API server fills it in; hand-written manifests leave it out.
            Key::ServiceAccount => Some(self.pod.service_account.as_deref().unwrap_or("default")),
            Key::Constant(value) => Some(value),
        }
    }
}

impl Labelled for Namespace {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Label(key) | Key::NamespaceLabel(key) => self.labels.get(key).map(String::as_str),
            Key::Namespace => Some(&self.name),
            Key::ServiceAccount | Key::Constant(_) => None,
        }
    }
}

impl Labelled for Node {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Label(key) => self.labels.get(key).map(String::as_str),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Labels;
    use crate::selector::Requirement;

    fn pod(labels: &[(&str, &str)]) -> Pod {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Pod {
            namespace: "shop".into(),
            labels: labels.collect(),
            ..Pod::default()
        }
    }

    /// Absent, another value, the value, the empty value.
    #[track_caller]
    fn check(expression: Expression, expected: [bool; 4]) {
        let pods = [
            pod(&[]),
            pod(&[("k", "xvy")]),
            pod(&[("k", "v")]),
            pod(&[("k", "")]),
        ];
        let holds = pods.each_ref().map(|pod| {
            expression.holds(&PodInNamespace {
                pod,
                namespace: None,
            })
        });
        assert_eq!(holds, expected, "{expression:?}");
    }

    #[test]
    fn every_operator() {
        let k = || Key::Label("k".into());
        let v = || "v".to_owned();
        check(Expression::Has(k()), [false, true, true, true]);
        check(
            Expression::In(k(), vec![v(), "w".into()]),
            [false, false, true, false],
        );
        check(Expression::Contains(k(), v()), [false, true, true, false]);
        check(
            Expression::StartsWith(k(), "x".into()),
            [false, true, false, false],
        );
        check(Expression::EndsWith(k(), v()), [false, false, true, false]);
        let has = || Expression::Has(k());
        let is_v = || Expression::In(k(), vec![v()]);
        let not = |part| Expression::Not(Box::new(part));
        check(not(is_v()), [true, true, false, true]);
        check(Expression::All(vec![]), [true; 4]);
        check(Expression::Any(vec![]), [false; 4]);
        check(
            Expression::All(vec![has(), not(is_v())]),
            [false, true, false, true],
        );
        check(
            Expression::Any(vec![not(has()), is_v()]),
            [true, false, true, false],
        );
    }

    #[test]
    fn what_is_seen_beyond_own_labels() {
        let pod = pod(&[("a", "own")]);
        let mut namespace = Namespace::named("shop");
        namespace.labels.insert("a".into(), "of-namespace".into());
        let seen = PodInNamespace {
            pod: &pod,
            namespace: Some(&namespace),
        };
        let alone = PodInNamespace {
            namespace: None,
            ..seen
        };
        let of_namespace = |key: &str| Key::NamespaceLabel(key.into());
        assert_eq!(seen.value(&Key::Label("a".into())), Some("own"));
        assert_eq!(seen.value(&of_namespace("a")), Some("of-namespace"));
        assert_eq!(alone.value(&of_namespace("a")), None);
        assert_eq!(alone.value(&of_namespace(NAME_LABEL)), Some("shop"));
        assert_eq!(seen.value(&Key::Namespace), Some("shop"));
        assert_eq!(seen.value(&Key::ServiceAccount), Some("default"));
        assert_eq!(seen.value(&Key::Constant("k8s")), Some("k8s"));
        assert_eq!(namespace.value(&Key::Namespace), Some("shop"));
        assert_eq!(namespace.value(&Key::ServiceAccount), None);
    }

    #[test]
    fn a_kubernetes_selector_keeps_its_words_and_keys() {
        let selector = Selector {
            labels: Labels::from([("app".to_owned(), "cart".to_owned())]),
            expressions: vec![Requirement {
                key: "x".into(),
                operator: Operator::DoesNotExist,
            }],
        };
        let lowered = LabelMatch::from(&selector);
        assert_eq!(lowered.to_string(), "app=cart,!x");
        let mut keys = Vec::new();
        lowered.expression.each_key(&mut |key| keys.push(key));
        assert_eq!(keys, [&Key::Label("app".into()), &Key::Label("x".into())]);
        assert!(LabelMatch::from(&Selector::default()).is_everything());
        assert!(!lowered.is_everything());
    }
}
