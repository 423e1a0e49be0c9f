//! What is kept of each object while it is watched: shared words instead of objects, because 50,000 pods have few words.

use std::collections::HashSet;
use std::sync::Arc;

use crate::inventory::sighting::Shape;

/// Words that are kept once. Those that nobody uses any more are let go of now and then.
#[derive(Debug, Default)]
pub(super) struct Words {
    all: HashSet<Arc<str>>,
    kept: usize,
}

/// Below this many words nothing is let go of.
const WORDS_MIN: usize = 4096;

impl Words {
    /// The shared copy of a word.
    pub(super) fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.all.get(text) {
            return Arc::clone(word);
        }
        if self.all.len() >= WORDS_MIN.max(2 * self.kept) {
            self.all.retain(|word| Arc::strong_count(word) > 1);
            self.kept = self.all.len();
        }
        let word: Arc<str> = text.into();
        self.all.insert(Arc::clone(&word));
        word
    }

    fn option(&mut self, text: Option<&String>) -> Option<Arc<str>> {
        text.map(|text| self.word(text))
    }

    /// The name of an object within its kind.
    pub(super) fn name(&mut self, namespace: Option<&str>, name: &str) -> Name {
        Name {
            namespace: namespace.map(|namespace| self.word(namespace)),
            name: name.into(),
        }
    }

    /// The same as [`Shape`], in shared words.
    pub(super) fn look(&mut self, shape: &Shape) -> Look {
        Look {
            labels: self.option(shape.labels.as_ref()),
            host_network: shape.host_network,
            node: self.option(shape.node.as_ref()),
            container_ports: self.option(shape.container_ports.as_ref()),
            service_account: self.option(shape.service_account.as_ref()),
            owner: shape
                .owner
                .as_ref()
                .map(|(kind, name)| (self.word(kind), self.word(name))),
        }
    }
}

/// The name of an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
}

/// What a holder is like: [`Shape`] in shared words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    labels: Option<Arc<str>>,
    pub(super) host_network: bool,
    pub(super) node: Option<Arc<str>>,
    container_ports: Option<Arc<str>>,
    service_account: Option<Arc<str>>,
    owner: Option<(Arc<str>, Arc<str>)>,
}

impl Look {
    pub(super) fn shape(&self) -> Shape {
        let text = |word: &Option<Arc<str>>| word.as_deref().map(str::to_owned);
        Shape {
            labels: text(&self.labels),
            host_network: self.host_network,
            node: text(&self.node),
            container_ports: text(&self.container_ports),
            service_account: text(&self.service_account),
            owner: self
                .owner
                .as_ref()
                .map(|(kind, name)| (kind.to_string(), name.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_once_and_let_go_of() {
        let mut words = Words::default();
        let one = words.word("app=web");
        assert!(Arc::ptr_eq(&one, &words.word("app=web")));
        for n in 0..10 * WORDS_MIN {
            words.word(&n.to_string());
        }
        assert!(words.all.len() <= WORDS_MIN + 1, "{}", words.all.len());
        assert!(Arc::ptr_eq(&one, &words.word("app=web")));
    }
}
