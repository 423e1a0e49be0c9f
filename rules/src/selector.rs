//! Label selectors: the first of the three matchers that every dialect uses (policy-semantics §1.4).

use std::fmt;

use crate::cluster::Labels;

/// A label selector. No requirement at all holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `matchLabels`: the label is there and has this value.
    pub labels: Labels,
    /// `matchExpressions`.
    pub expressions: Vec<Requirement>,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label it speaks of.
    pub key: String,
    /// What it demands of that label.
    pub operator: Operator,
}

/// What a [`Requirement`] demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and has one of these values.
    In(Vec<String>),
    /// The label is absent, or has none of these values.
    NotIn(Vec<String>),
    /// The label is there, with whatever value.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether an object with `labels` is selected. All requirements must hold; comparison is exact.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }

    /// The keys this selector speaks of, in its own order, each once.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        let expressions = self.expressions.iter().map(|e| e.key.as_str());
        for key in self.labels.keys().map(String::as_str).chain(expressions) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

impl Requirement {
    /// Whether `labels` satisfy this requirement.
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    /// `app=cart,tier in (a, b),!debug`: the form `kubectl -l` takes. Empty for the empty selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (key, value) in &self.labels {
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
        }
        for requirement in &self.expressions {
            write!(f, "{separator}{requirement}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) => write!(f, "{key} in ({})", values.join(", ")),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", values.join(", ")),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    fn one(operator: Operator) -> Selector {
        Selector {
            labels: Labels::new(),
            expressions: vec![Requirement {
                key: "k".into(),
                operator,
            }],
        }
    }

    /// The table of policy-semantics §1.4, line by line: absent, another value, the value, the empty value.
    #[track_caller]
    fn check(selector: &Selector, expected: [bool; 4]) {
        let objects = [
            labels(&[]),
            labels(&[("k", "w")]),
            labels(&[("k", "v")]),
            labels(&[("k", "")]),
        ];
        assert_eq!(
            objects.map(|object| selector.matches(&object)),
            expected,
            "{selector}"
        );
    }

    #[test]
    fn the_table() {
        let v = || vec!["v".to_owned()];
        check(
            &Selector {
                labels: labels(&[("k", "v")]),
                expressions: vec![],
            },
            [false, false, true, false],
        );
        check(&one(Operator::In(v())), [false, false, true, false]);
        check(&one(Operator::NotIn(v())), [true, true, false, true]);
        check(&one(Operator::Exists), [false, true, true, true]);
        check(&one(Operator::DoesNotExist), [true, false, false, false]);
        check(
            &one(Operator::In(vec![String::new()])),
            [false, false, false, true],
        );
        check(&Selector::default(), [true; 4]);
    }

    #[test]
    fn exact_and_case_sensitive() {
        let selector = Selector {
            labels: labels(&[("k", "v")]),
            expressions: vec![],
        };
        assert!(!selector.matches(&labels(&[("k", "V")])));
        assert!(!selector.matches(&labels(&[("K", "v")])));
    }

    #[test]
    fn all_requirements_must_hold() {
        let mut selector = one(Operator::Exists);
        selector.labels = labels(&[("a", "1")]);
        assert!(selector.matches(&labels(&[("a", "1"), ("k", "")])));
        assert!(!selector.matches(&labels(&[("a", "1")])));
        assert!(!selector.matches(&labels(&[("k", "")])));
    }

    #[test]
    fn prints_as_kubectl_takes_it() {
        let mut selector = one(Operator::NotIn(vec!["a".into(), "b".into()]));
        selector.labels = labels(&[("app", "cart")]);
        selector.expressions.push(Requirement {
            key: "x".into(),
            operator: Operator::DoesNotExist,
        });
        assert_eq!(selector.to_string(), "app=cart,k notin (a, b),!x");
    }
}
